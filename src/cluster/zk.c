/* The real ZooKeeper session: zookeeper_st's handle, driven by our loop; its way to the servers is zk_bridge's. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <utlist.h>
#include <zookeeper/zookeeper.h>

#include "base/logger.h"
#include "cluster/zk.h"
#include "cluster/zk_bridge_internal.h"

enum { RETRY_MS = 1000, MAX_TOGETHER = 8, PAUSE_MS = 100, NEVER = -1, ENDPOINT_ROOM = 32 };

/* So often a request is sent, and so many connections in a row break that nothing came of, before all is given up. */
enum { MOST_SENDS = 10, MOST_BARREN = 20 };

/* What goes out as one: an operation, or several in a multi. */
struct request {
    struct zk_batch *batch;
    struct zk_op *first; /* of the batch's operations; the others follow it */
    size_t count;
    bool sent;
    int sends;
    struct zk *zk;
    zoo_op_t *multi;
    zoo_op_result_t *results;
    struct Stat *stats;
    char (*created)[1024];
    int multi_count;
    struct request *prev, *next;
};

struct zk {
    struct zk_options options;
    zhandle_t *handle;
    struct zk_bridge *bridge;
    char *chroot;
    struct watch watch;
    struct timer timer;
    int fd;
    struct request *requests; /* utlist, in order; those in flight have `sent` */
    int in_flight;
    int64_t session_id;
    int failures;           /* since the last pause */
    int barren;             /* connections in a row that have ended without an answer */
    int64_t answers_before; /* this connection */
    struct fail given_up;   /* why the session ends, if not by the servers' word */
    bool connected, chroot_made, expired, pumping, closing, closed;
};

static void pump(struct zk *zk);

/* ---- Results ---- */

static enum zk_result zk_result_of(int rc, const char *what, const char *path)
{
    switch (rc) {
    case ZOK:
        return ZK_OK;
    case ZNONODE:
        return ZK_NO_NODE;
    case ZNODEEXISTS:
        return ZK_NODE_EXISTS;
    case ZBADVERSION:
        return ZK_BAD_VERSION;
    case ZNOTEMPTY:
        return ZK_NOT_EMPTY;
    case ZSESSIONEXPIRED:
    case ZCLOSING:
    case ZINVALIDSTATE:
        return ZK_SESSION_EXPIRED;
    case ZNOAUTH:
        return ZK_NO_AUTH;
    default:
        log_error("ZooKeeper %s of %s failed: %s", what, path, zerror(rc));
        return ZK_FAILED;
    }
}

static const char *kind_name(enum zk_kind kind)
{
    static const char *const names[] = {"read", "listing", "look-up", "creation", "write", "deletion", "check"};
    return names[kind];
}

static struct zk_stat stat_of(const struct Stat *s)
{
    if (s == NULL)
        return (struct zk_stat){0};
    return (struct zk_stat){.version = s->version,
                            .czxid = s->czxid,
                            .mzxid = s->mzxid,
                            .ctime_ms = s->ctime,
                            .ephemeral_owner = s->ephemeralOwner,
                            .pzxid = s->pzxid,
                            .mtime_ms = s->mtime,
                            .children_version = s->cversion,
                            .acl_version = s->aversion,
                            .data_length = s->dataLength,
                            .child_count = s->numChildren};
}

static const char *without_chroot(const struct zk *zk, const char *path)
{
    size_t n = strlen(zk->chroot);
    return strncmp(path, zk->chroot, n) == 0 ? (path[n] ? path + n : "/") : path;
}

static void zk_request_free(struct request *r)
{
    free(r->multi);
    free(r->results);
    free(r->stats);
    free(r->created);
    free(r);
}

static struct zk_op *op_of(struct request *r)
{
    return r->first;
}

static void zk_finish_request(struct request *r)
{
    struct zk_batch *b = r->batch;
    DL_DELETE(r->zk->requests, r);
    b->finished += r->count;
    zk_request_free(r);
    if (b->finished == b->count)
        b->done(b);
}

static void zk_give_up(struct zk *zk, const char *why)
{
    if (!zk->expired)
        fail_set(&zk->given_up, "%s", why);
    zk->expired = true;
}

/* True if the operation has to be sent again; then nothing is finished. */
static bool lost(struct request *r, int rc)
{
    struct zk *zk = r->zk;
    r->sent = false;
    zk->in_flight--;
    bool again = (rc == ZCONNECTIONLOSS || rc == ZOPERATIONTIMEOUT) && !zk->closing;
    if (again && r->sends >= MOST_SENDS) {
        struct fail why;
        fail_set(&why, "the %s of %s was sent %d times, and each time the connection broke", kind_name(op_of(r)->kind),
                 op_of(r)->path, r->sends);
        zk_give_up(zk, why.text);
    }
    return again;
}

static void finish_single(struct request *r, int rc)
{
    struct zk_op *op = op_of(r);
    op->result = r->zk->closing ? ZK_SESSION_EXPIRED : zk_result_of(rc, kind_name(op->kind), op->path);
    zk_finish_request(r);
}

static void on_data(int rc, const char *value, int len, const struct Stat *stat, const void *ctx)
{
    struct request *r = (struct request *)(uintptr_t)ctx;
    if (lost(r, rc))
        return;
    struct zk_op *op = op_of(r);
    if (rc == ZOK) {
        op->stat = stat_of(stat);
        op->value =
            (struct bytes){len < 0 ? NULL : arena_copy(&r->batch->arena, value, (size_t)MAX(len, 0)), MAX(len, 0)};
    }
    finish_single(r, rc);
}

static void on_strings(int rc, const struct String_vector *names, const struct Stat *stat, const void *ctx)
{
    struct request *r = (struct request *)(uintptr_t)ctx;
    if (lost(r, rc))
        return;
    struct zk_op *op = op_of(r);
    op->stat = stat_of(stat);
    if (rc == ZOK) {
        op->child_count = names->count;
        op->children = ARENA_ARRAY(&r->batch->arena, struct str, names->count);
        for (int i = 0; i < names->count; i++)
            op->children[i] = arena_str(&r->batch->arena, str_of(names->data[i]));
    }
    finish_single(r, rc);
}

static void on_stat(int rc, const struct Stat *stat, const void *ctx)
{
    struct request *r = (struct request *)(uintptr_t)ctx;
    if (lost(r, rc))
        return;
    if (rc == ZOK)
        op_of(r)->stat = stat_of(stat);
    finish_single(r, rc);
}

static void zk_on_created(int rc, const char *path, const struct Stat *stat, const void *ctx)
{
    struct request *r = (struct request *)(uintptr_t)ctx;
    if (lost(r, rc))
        return;
    if (rc == ZOK) {
        op_of(r)->stat = stat_of(stat);
        op_of(r)->created = arena_cstr(&r->batch->arena, str_of(without_chroot(r->zk, path)));
    }
    finish_single(r, rc);
}

static void on_void(int rc, const void *ctx)
{
    struct request *r = (struct request *)(uintptr_t)ctx;
    if (!lost(r, rc))
        finish_single(r, rc);
}

static void take_multi_result(struct request *r, struct zk_op *op, const zoo_op_result_t *res, struct Stat *stat,
                              const char *created)
{
    /* The operations beside the one that failed report that they were not tried. */
    int err = res->err == ZRUNTIMEINCONSISTENCY ? ZOK : res->err;
    op->result = zk_result_of(err, kind_name(op->kind), op->path);
    if (op->kind == ZK_SET)
        op->stat = stat_of(stat);
    if (op->kind == ZK_CREATE && err == ZOK)
        op->created = arena_cstr(&r->batch->arena, str_of(without_chroot(r->zk, created)));
}

static void on_multi(int rc, const void *ctx)
{
    struct request *r = (struct request *)(uintptr_t)ctx;
    if (lost(r, rc))
        return;
    bool whole = rc == ZOK || r->results[0].err != 0 || rc == ZNONODE || rc == ZNODEEXISTS || rc == ZBADVERSION ||
                 rc == ZNOTEMPTY || rc == ZNOAUTH;
    int at = 0;
    struct zk_op *op = op_of(r);
    for (size_t i = 0; i < r->count; i++, op = op->next) {
        if (op->fence_path != NULL)
            op->fenced = r->results[at++].err == ZBADVERSION;
        if (!whole || r->zk->closing)
            op->result = r->zk->closing ? ZK_SESSION_EXPIRED : zk_result_of(rc, "transaction with", op->path);
        else
            take_multi_result(r, op, &r->results[at], &r->stats[at], r->created[at]);
        if (op->fenced)
            op->result = ZK_BAD_VERSION;
        at++;
    }
    zk_finish_request(r);
}

/* ---- Sending ---- */

static int create_flags(enum zk_create_mode mode)
{
    return mode == ZK_EPHEMERAL ? ZOO_EPHEMERAL : mode == ZK_SEQUENTIAL ? ZOO_SEQUENCE : 0;
}

static const char *data_of(const struct zk_op *op)
{
    return (const char *)op->data.p;
}

static int data_len(const struct zk_op *op)
{
    return op->data.p == NULL ? -1 : op->data.len;
}

static char *full_path(struct request *r, const char *path)
{
    return arena_cstr(&r->batch->arena, arena_printf(&r->batch->arena, "%s%s", r->zk->chroot, path));
}

static int send_single(struct request *r)
{
    struct zk_op *op = op_of(r);
    zhandle_t *h = r->zk->handle;
    const char *path = full_path(r, op->path);
    switch (op->kind) {
    case ZK_GET:
        return zoo_aget(h, path, op->watch, on_data, r);
    case ZK_CHILDREN:
        return zoo_aget_children2(h, path, op->watch, on_strings, r);
    case ZK_EXISTS:
        return zoo_aexists(h, path, op->watch, on_stat, r);
    case ZK_CREATE:
        return zoo_acreate2(h, path, data_of(op), data_len(op), &ZOO_OPEN_ACL_UNSAFE, create_flags(op->mode),
                            zk_on_created, r);
    case ZK_SET:
        return zoo_aset(h, path, data_of(op), data_len(op), op->version, on_stat, r);
    case ZK_DELETE:
        return zoo_adelete(h, path, op->version, on_void, r);
    default:
        unreachable("a check outside of a multi");
    }
}

static void fill_op(struct request *r, const struct zk_op *op, int at)
{
    const char *path = full_path(r, op->path);
    zoo_op_t *o = &r->multi[at];
    switch (op->kind) {
    case ZK_CREATE:
        zoo_create_op_init(o, path, data_of(op), data_len(op), &ZOO_OPEN_ACL_UNSAFE, create_flags(op->mode),
                           r->created[at], (int)sizeof(r->created[at]));
        return;
    case ZK_SET:
        zoo_set_op_init(o, path, data_of(op), data_len(op), op->version, &r->stats[at]);
        return;
    case ZK_DELETE:
        zoo_delete_op_init(o, path, op->version);
        return;
    case ZK_CHECK:
        zoo_check_op_init(o, path, op->version);
        return;
    default:
        unreachable("reads are not sent in a multi");
    }
}

static int send_multi(struct request *r)
{
    int at = 0;
    if (r->multi == NULL) {
        r->multi = xcalloc(2 * r->count, sizeof(*r->multi));
        r->results = xcalloc(2 * r->count, sizeof(*r->results));
        r->stats = xcalloc(2 * r->count, sizeof(*r->stats));
        r->created = xcalloc(2 * r->count, sizeof(*r->created));
        const struct zk_op *op = op_of(r);
        for (size_t i = 0; i < r->count; i++, op = op->next) {
            if (op->fence_path != NULL)
                zoo_check_op_init(&r->multi[at++], full_path(r, op->fence_path), op->fence_version);
            fill_op(r, op, at++);
        }
        r->multi_count = at;
    }
    memset(r->results, 0, sizeof(*r->results) * 2 * r->count);
    return zoo_amulti(r->zk->handle, r->multi_count, r->multi, r->results, on_multi, r);
}

static bool is_multi(const struct request *r)
{
    const struct zk_op *op = r->first;
    return r->count > 1 || op->fence_path != NULL || op->kind == ZK_CHECK;
}

static void refuse_request(struct request *r, enum zk_result why, const char *text)
{
    struct zk_op *op = op_of(r);
    log_error("The %s of %s is not sent to ZooKeeper: %s", kind_name(op->kind), op->path, text);
    for (size_t i = 0; i < r->count; i++, op = op->next)
        op->result = why;
    zk_finish_request(r);
}

static bool is_too_large(struct request *r)
{
    size_t size = 0;
    const struct zk_op *op = op_of(r);
    for (size_t i = 0; i < r->count; i++, op = op->next)
        size += strlen(op->path) + (size_t)op->data.len;
    return size > ZK_LARGEST_DATA;
}

/* What the library does not take now, it takes when its state has changed. */
static bool is_for_good(int rc)
{
    return rc == ZBADARGUMENTS || rc == ZMARSHALLINGERROR || rc == ZUNIMPLEMENTED;
}

/* False if it has to wait. */
static bool send_request(struct zk *zk, struct request *r)
{
    if (is_too_large(r)) {
        refuse_request(r, ZK_TOO_LARGE, "it is too large");
        return true;
    }
    int rc = is_multi(r) ? send_multi(r) : send_single(r);
    if (is_for_good(rc)) {
        refuse_request(r, ZK_FAILED, zerror(rc)); /* as the path can be none */
        return true;
    }
    if (rc != ZOK) {
        log_debug("ZooKeeper took no request: %s", zerror(rc));
        return false;
    }
    r->sent = true;
    r->sends++;
    zk->in_flight++;
    return true;
}

static void send_waiting(struct zk *zk)
{
    struct request *r, *tmp;
    if (!zk->connected || !zk->chroot_made || zk->expired || zk->closing)
        return;
    DL_FOREACH_SAFE (zk->requests, r, tmp) {
        if (zk->in_flight >= zk->options.max_in_flight)
            return;
        if (r->sent)
            continue;
        if (!send_request(zk, r))
            return; /* the handle's state will change and bring us back */
        if (zk->closed)
            return; /* by somebody who was told */
    }
}

void zk_submit(struct zk *zk, struct zk_batch *b)
{
    ensure(loop_is_mine(zk->options.loop));
    ensure(b->count > 0 && b->done != NULL);
    for (struct zk_op *op = b->first; op != NULL; op = op->next) {
        struct request *r = xcalloc(1, sizeof(*r));
        *r = (struct request){.batch = b, .first = op, .count = 1, .zk = zk};
        for (; op->with_next; op = op->next) {
            r->count++;
            ensure(r->count <= MAX_TOGETHER && op->next != NULL);
        }
        DL_APPEND(zk->requests, r);
    }
    if (!zk->pumping && (zk->handle != NULL || zk->closed))
        timer_start(&zk->timer, 0);
}

/* ---- The session ---- */

static void fail_all(struct zk *zk)
{
    while (zk->requests != NULL) {
        struct request *r = zk->requests;
        struct zk_op *op = op_of(r);
        for (size_t i = 0; i < r->count; i++, op = op->next)
            op->result = ZK_SESSION_EXPIRED;
        zk_finish_request(r);
    }
    zk->in_flight = 0;
}

static void on_chroot(int rc, const char *path UNUSED, const void *ctx)
{
    struct zk *zk = (struct zk *)(uintptr_t)ctx;
    if (rc == ZOK || rc == ZNODEEXISTS)
        return;
    if (rc != ZCONNECTIONLOSS && rc != ZCLOSING && rc != ZSESSIONEXPIRED)
        log_error("Cannot create the ZooKeeper root %s: %s", zk->chroot, zerror(rc));
}

/* Every part of the chroot; the requests behind it are answered after it. */
static void make_chroot(struct zk *zk)
{
    char *path = xstrdup(zk->chroot);
    for (char *slash = path; slash != NULL && *slash;) {
        slash = strchr(slash + 1, '/');
        if (slash != NULL)
            *slash = '\0';
        zoo_acreate(zk->handle, path, NULL, -1, &ZOO_OPEN_ACL_UNSAFE, 0, on_chroot, zk);
        if (slash != NULL)
            *slash = '/';
    }
    free(path);
    zk->chroot_made = true;
}

static void on_connected(struct zk *zk)
{
    int64_t id = zoo_client_id(zk->handle)->client_id;
    bool fresh = id != zk->session_id;
    zk->connected = true;
    zk->failures = 0;
    zk->answers_before = zk_bridge_answers(zk->bridge);
    zk->session_id = id;
    if (!zk->chroot_made)
        make_chroot(zk);
    log_info("Connected to ZooKeeper, session 0x%" PRIx64, id);
    if (zk->options.connection != NULL)
        zk->options.connection(zk->options.ctx, true);
    if (fresh)
        zk->options.session_started(zk->options.ctx);
}

static void on_event(zhandle_t *h UNUSED, int type, int state, const char *path, void *ctx)
{
    struct zk *zk = ctx;
    if (zk->closing)
        return;
    if (type != ZOO_SESSION_EVENT) {
        if (type != ZOO_NOTWATCHING_EVENT)
            zk->options.changed(zk->options.ctx, without_chroot(zk, path));
        return;
    }
    if (state == ZOO_CONNECTED_STATE) {
        on_connected(zk);
    } else if (state == ZOO_EXPIRED_SESSION_STATE) {
        zk->expired = true;
    } else if (zk->connected) {
        zk->connected = false;
        log_warn("The connection to ZooKeeper is lost");
        zk->barren = zk_bridge_answers(zk->bridge) > zk->answers_before ? 0 : zk->barren + 1;
        if (zk->barren >= MOST_BARREN)
            zk_give_up(zk, "the servers have hung up again and again before they answered anything");
        if (zk->options.connection != NULL)
            zk->options.connection(zk->options.ctx, false);
    }
}

static void log_line(const char *line)
{
    const char *text = strchr(line, '@'); /* after date, process and level comes "function@line: text" */
    log_debug("zookeeper: %s", text ? text : line);
}

static void open_handle(struct zk *zk)
{
    struct fail fail;
    int port;
    char endpoint[ENDPOINT_ROOM];
    if (!zk_bridge_open(zk->bridge, &port, &fail)) {
        log_error("Cannot connect to ZooKeeper: %s", fail.text);
        return;
    }
    snprintf(endpoint, sizeof(endpoint), "127.0.0.1:%d", port);
    zk->handle = zookeeper_init2(endpoint, on_event, zk->options.session_timeout_ms, NULL, zk, 0, log_line);
    if (zk->handle == NULL)
        log_error("Cannot use ZooKeeper's client library: %s", strerror(errno));
    else
        zoo_set_servers_resolution_delay(zk->handle, NEVER);
}

static void close_handle(struct zk *zk)
{
    zk->closing = true;
    watch_set(&zk->watch, WATCH_NONE);
    zk->fd = -1;
    if (zk->handle != NULL) {
        zk_bridge_say_end(zk->bridge);
        zookeeper_close(zk->handle); /* ends what is in flight with ZCLOSING */
    }
    zk_bridge_finish(zk->bridge, zk->handle != NULL && zk->connected);
    zk->handle = NULL;
    zk->connected = false;
    zk->closing = false;
}

static void start_over(struct zk *zk)
{
    if (zk->given_up.text[0] != '\0')
        log_error("ZooKeeper session 0x%" PRIx64 " is given up: %s", zk->session_id, zk->given_up.text);
    else
        log_warn("ZooKeeper session 0x%" PRIx64 " has expired", zk->session_id);
    zk->given_up.text[0] = '\0';
    zk->expired = false;
    zk->barren = 0;
    close_handle(zk);
    fail_all(zk);
    if (zk->closed)
        return; /* by somebody who was told */
    zk->options.session_expired(zk->options.ctx);
    if (!zk->closed)
        open_handle(zk);
}

/* After each server was tried there is a pause; the library would try for ever, as fast as it can. */
static bool must_pause(struct zk *zk)
{
    if (zk->connected || zk->failures < zk_bridge_server_count(zk->bridge))
        return false;
    zk->failures = 0;
    watch_set(&zk->watch, WATCH_NONE);
    zk->fd = -1;
    timer_start(&zk->timer, PAUSE_MS);
    return true;
}

static void on_socket(struct watch *w, int events)
{
    struct zk *zk = CONTAINER_OF(w, struct zk, watch);
    int zoo_events = (events & WATCH_READ ? ZOOKEEPER_READ : 0) | (events & WATCH_WRITE ? ZOOKEEPER_WRITE : 0);
    zk->pumping = true;
    int rc = zookeeper_process(zk->handle, zoo_events);
    zk->pumping = false;
    if (rc != ZOK && rc != ZNOTHING && !zk->connected && !zk->expired)
        zk->failures++;
    pump(zk);
}

static void watch_socket(struct zk *zk, int fd, int interest)
{
    /* While the library goes from host to host, a new socket may have the number of the last one. */
    if (fd != zk->fd || fd < 0 || !zk->connected) {
        watch_set(&zk->watch, WATCH_NONE);
        zk->fd = fd;
        zk_bridge_expect(zk->bridge, fd);
        if (fd >= 0)
            watch_init(&zk->watch, zk->options.loop, fd, on_socket);
    }
    if (fd >= 0)
        watch_set(&zk->watch,
                  (interest & ZOOKEEPER_READ ? WATCH_READ : 0) | (interest & ZOOKEEPER_WRITE ? WATCH_WRITE : 0));
}

/* Sends what waits, then asks the library what it waits for. */
static void pump(struct zk *zk)
{
    if (zk->closed)
        return;
    if (zk->expired)
        start_over(zk);
    if (zk->closed)
        return;
    if (zk->handle == NULL) {
        open_handle(zk);
        if (zk->handle == NULL) {
            timer_start(&zk->timer, RETRY_MS);
            return;
        }
    }
    if (must_pause(zk))
        return;
    zk->pumping = true;
    send_waiting(zk);
    int fd = -1, interest = 0;
    struct timeval tv = {RETRY_MS / 1000, 0};
    int rc = zookeeper_interest(zk->handle, &fd, &interest, &tv);
    zk->pumping = false;
    int64_t wait = (int64_t)tv.tv_sec * 1000 + (tv.tv_usec + 999) / 1000;
    if (rc != ZOK) {
        /* The socket has changed or is gone: give the library a turn soon, it reports through the watcher. */
        watch_set(&zk->watch, WATCH_NONE);
        zk->fd = -1;
        wait = MIN(wait, (int64_t)100);
        zookeeper_process(zk->handle, 0);
    } else {
        watch_socket(zk, fd, interest);
    }
    timer_start(&zk->timer, MAX(wait, (int64_t)1));
}

static void finish_closing(struct zk *zk)
{
    close_handle(zk);
    fail_all(zk);
}

static void zk_on_timer(struct timer *t)
{
    struct zk *zk = CONTAINER_OF(t, struct zk, timer);
    if (zk->closed) {
        finish_closing(zk);
        return;
    }
    if (zk->handle != NULL) {
        zk->pumping = true;
        zookeeper_process(zk->handle, 0);
        zk->pumping = false;
    }
    pump(zk);
}

struct zk *zk_new(const struct zk_options *options)
{
    struct zk *zk = xcalloc(1, sizeof(*zk));
    const char *slash = strchr(options->connect, '/');
    size_t hosts = slash ? (size_t)(slash - options->connect) : strlen(options->connect);
    zk->options = *options;
    zk->fd = -1;
    char *servers = xstrndup(options->connect, hosts);
    zk->bridge = zk_bridge_new(options->loop, options->resolvers, servers, options->session_timeout_ms);
    free(servers);
    zk->chroot = xstrdup(slash && slash[1] ? slash : "");
    zk->chroot_made = zk->chroot[0] == '\0';
    zoo_set_debug_level(ZOO_LOG_LEVEL_WARN);
    timer_init(&zk->timer, options->loop, zk_on_timer);
    timer_start(&zk->timer, 0);
    return zk;
}

void zk_close(struct zk *zk)
{
    ensure(loop_is_mine(zk->options.loop));
    if (zk->closed)
        return;
    zk->closed = true;
    if (zk->pumping)
        timer_start(&zk->timer, 0); /* not from within the library */
    else
        finish_closing(zk);
}

void zk_free(struct zk *zk)
{
    if (zk == NULL)
        return;
    zk->closed = true;
    finish_closing(zk);
    timer_stop(&zk->timer);
    zk_bridge_free(zk->bridge);
    free(zk->chroot);
    free(zk);
}

int64_t zk_session_id(const struct zk *zk)
{
    return zk->session_id;
}

bool zk_is_connected(const struct zk *zk)
{
    return zk->connected;
}
