/*
 * ZooKeeper: one tree, sessions that end when nothing is heard of them, watches that fire once and in order,
 * transactions that happen as a whole. What has no answer when a connection is lost is sent again as it was, as
 * cluster/zk.c does.
 */
#include <inttypes.h>
#include <stdio.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/hash.h"
#include "cluster/zk.h"
#include "sim.h"

enum { RETRY_US = 100000, TICK_US = 100000 };

struct process sim_zookeeper = {.name = "zookeeper", .number = MAX_PROCESSES - 1, .alive = true};

/* ---- The tree ---- */

struct node {
    char *path;
    uint8_t *data;
    int32_t len; /* -1: null */
    int32_t version, children_version, next_sequence, child_count;
    int64_t czxid, mzxid, pzxid, ctime_ms, mtime_ms, owner;
    UT_hash_handle hh;
};

enum watch_kind { WATCH_DATA, WATCH_CHILDREN };

struct watch_key {
    int32_t kind;
    char path[384];
};

struct watcher {
    int64_t session;
    struct watcher *next;
};

struct watched { /* a node that somebody watches */
    struct watch_key key;
    struct watcher *watchers;
    UT_hash_handle hh;
};

struct notice { /* a watch that fired, until it has arrived */
    char *path;
    struct notice *prev, *next;
};

struct session {
    int64_t id;
    struct zk *client; /* NULL: nobody is there */
    int64_t heard_us, timeout_us;
    struct notice *notices;
    UT_hash_handle hh;
};

static struct node *tree;
static struct session *sessions;
static struct watched *watches;
static int64_t zxid, next_session = 0x1000;
static struct ensemble_counts counts;

static void push_notices(struct session *s);

static struct node *find_node(const char *path)
{
    struct node *n;
    HASH_FIND_STR(tree, path, n);
    return n;
}

static char *parent_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));
}

static struct watched *find_watched(const char *path, enum watch_kind kind, bool make)
{
    struct watch_key key;
    struct watched *w;
    memset(&key, 0, sizeof(key));
    key.kind = (int32_t)kind;
    snprintf(key.path, sizeof(key.path), "%s", path);
    HASH_FIND(hh, watches, &key, sizeof(key), w);
    if (w != NULL || !make)
        return w;
    w = xcalloc(1, sizeof(*w));
    w->key = key;
    HASH_ADD(hh, watches, key, sizeof(w->key), w);
    return w;
}

static void drop_watched(struct watched *w)
{
    HASH_DEL(watches, w);
    free(w);
}

static void fire(const char *path, enum watch_kind kind)
{
    struct watched *w = find_watched(path, kind, false);
    struct watcher *x, *next, *list = w != NULL ? w->watchers : NULL;
    if (w != NULL)
        drop_watched(w);
    LL_FOREACH_SAFE (list, x, next) {
        struct session *s;
        HASH_FIND(hh, sessions, &x->session, sizeof(int64_t), s);
        free(x);
        if (s == NULL)
            continue;
        struct notice *n = xcalloc(1, sizeof(*n));
        n->path = xstrdup(path);
        DL_APPEND(s->notices, n);
        push_notices(s);
    }
}

static void watch(struct session *s, const char *path, enum watch_kind kind)
{
    struct watched *w = find_watched(path, kind, true);
    struct watcher *x;
    LL_FOREACH (w->watchers, x)
        if (x->session == s->id)
            return;
    x = xcalloc(1, sizeof(*x));
    x->session = s->id;
    LL_APPEND(w->watchers, x);
}

static void forget_watches(const struct session *s)
{
    struct watched *w, *next_watched;
    struct watcher *x, *next;
    HASH_ITER (hh, watches, w, next_watched) {
        LL_FOREACH_SAFE (w->watchers, x, next) {
            if (x->session != s->id)
                continue;
            LL_DELETE(w->watchers, x);
            free(x);
        }
        if (w->watchers == NULL)
            drop_watched(w);
    }
}

static void set_data(struct node *n, struct bytes data)
{
    free(n->data);
    n->len = data.p != NULL ? data.len : -1;
    n->data = xmalloc((size_t)MAX(data.len, 1));
    if (data.p != NULL)
        memcpy(n->data, data.p, (size_t)data.len);
    n->mzxid = zxid;
    n->mtime_ms = clock_wall_ms();
}

static struct node *make_node(const char *path, struct bytes data, int64_t owner)
{
    struct node *n = xcalloc(1, sizeof(*n));
    n->path = xstrdup(path);
    n->owner = owner;
    n->czxid = n->pzxid = zxid;
    n->ctime_ms = clock_wall_ms();
    set_data(n, data);
    HASH_ADD_KEYPTR(hh, tree, n->path, strlen(n->path), n);
    char *up = parent_of(path);
    struct node *parent = find_node(up);
    if (parent != NULL) {
        parent->child_count++;
        parent->children_version++;
        parent->pzxid = zxid;
    }
    fire(path, WATCH_DATA);
    fire(up, WATCH_CHILDREN);
    free(up);
    return n;
}

static void drop_node(struct node *n)
{
    char *up = parent_of(n->path);
    struct node *parent = find_node(up);
    HASH_DEL(tree, n);
    if (parent != NULL) {
        parent->child_count--;
        parent->children_version++;
        parent->pzxid = zxid;
    }
    fire(n->path, WATCH_DATA);
    fire(n->path, WATCH_CHILDREN);
    fire(up, WATCH_CHILDREN);
    free(up);
    free(n->data);
    free(n->path);
    free(n);
}

void ensemble_put(const char *path, const char *data)
{
    struct bytes bytes = {(const uint8_t *)data, data != NULL ? (int32_t)strlen(data) : 0};
    struct node *n = find_node(path);
    zxid++;
    if (n == NULL) {
        make_node(path, bytes, 0);
        return;
    }
    set_data(n, bytes);
    n->version++;
    fire(path, WATCH_DATA);
}

void ensemble_delete(const char *path)
{
    struct node *n = find_node(path);
    zxid++;
    if (n != NULL)
        drop_node(n);
}

const char *ensemble_get(const char *path)
{
    static char text[4096];
    const struct node *n = find_node(path);
    if (n == NULL)
        return NULL;
    snprintf(text, sizeof(text), "%.*s", n->len > 0 ? n->len : 0, (const char *)n->data);
    return text;
}

/* ---- Operations ---- */

struct outcome {
    enum zk_result result;
    bool fenced;
    struct zk_stat stat;
    struct bytes value; /* heap */
    char **children;    /* heap */
    int32_t child_count;
    char *created; /* heap */
};

static struct zk_stat stat_of(const struct node *n)
{
    return (struct zk_stat){.version = n->version,
                            .czxid = n->czxid,
                            .mzxid = n->mzxid,
                            .ctime_ms = n->ctime_ms,
                            .ephemeral_owner = n->owner,
                            .pzxid = n->pzxid,
                            .mtime_ms = n->mtime_ms,
                            .children_version = n->children_version,
                            .data_length = MAX(n->len, 0),
                            .child_count = n->child_count};
}

static enum zk_result would(const struct zk_op *op, const char *path, bool parent_comes)
{
    const struct node *n = find_node(path);
    char *up = parent_of(path);
    bool orphan = strcmp(up, "/") != 0 && find_node(up) == NULL && !parent_comes;
    free(up);
    switch (op->kind) {
    case ZK_CREATE:
        return orphan ? ZK_NO_NODE : n != NULL && op->mode != ZK_SEQUENTIAL ? ZK_NODE_EXISTS : ZK_OK;
    case ZK_SET:
    case ZK_DELETE:
    case ZK_CHECK:
    case ZK_PROTECT:
    case ZK_SET_ACL:
        if (n == NULL)
            return ZK_NO_NODE;
        if (op->version != ZK_ANY_VERSION && op->version != n->version)
            return ZK_BAD_VERSION;
        return op->kind == ZK_DELETE && n->child_count > 0 ? ZK_NOT_EMPTY : ZK_OK;
    case ZK_GET:
    case ZK_CHILDREN:
    case ZK_EXISTS:
    case ZK_GET_ACL:
        return n != NULL ? ZK_OK : ZK_NO_NODE;
    }
    unreachable("an operation of no kind");
}

static void list_children(const char *path, struct outcome *o)
{
    size_t len = strlen(path);
    for (struct node *n = tree; n != NULL; n = n->hh.next) {
        if (strncmp(n->path, path, len) != 0 || n->path[len] != '/' || strchr(n->path + len + 1, '/') != NULL)
            continue;
        o->children = xrealloc(o->children, sizeof(char *) * (size_t)(o->child_count + 1));
        o->children[o->child_count++] = xstrdup(n->path + len + 1);
    }
}

static void apply(struct session *s, const struct zk_op *op, struct outcome *o)
{
    struct node *n = find_node(op->path);
    char path[512];
    snprintf(path, sizeof(path), "%s", op->path);
    switch (op->kind) {
    case ZK_CREATE:
        if (op->mode == ZK_SEQUENTIAL) {
            char *up = parent_of(path);
            struct node *parent = find_node(up);
            snprintf(path, sizeof(path), "%s%010d", op->path, parent->next_sequence++);
            free(up);
        }
        n = make_node(path, op->data, op->mode == ZK_EPHEMERAL ? s->id : 0);
        o->stat = stat_of(n);
        o->created = xstrdup(path);
        break;
    case ZK_SET:
        set_data(n, op->data);
        n->version++;
        o->stat = stat_of(n);
        fire(op->path, WATCH_DATA);
        break;
    case ZK_DELETE:
        drop_node(n);
        break;
    case ZK_CHILDREN:
        list_children(op->path, o);
        o->stat = stat_of(n);
        break;
    case ZK_GET:
        o->value = (struct bytes){n->len >= 0 ? xmalloc((size_t)MAX(n->len, 1)) : NULL, MAX(n->len, 0)};
        if (n->len > 0)
            memcpy((uint8_t *)(uintptr_t)o->value.p, n->data, (size_t)n->len);
        o->stat = stat_of(n);
        break;
    case ZK_EXISTS:
        o->stat = stat_of(n);
        break;
    case ZK_CHECK:
    case ZK_PROTECT: /* there are no ACLs here */
    case ZK_GET_ACL:
    case ZK_SET_ACL:
        break;
    }
}

static bool is_fenced(const struct zk_op *op)
{
    const struct node *fence = op->fence_path != NULL ? find_node(op->fence_path) : NULL;
    return op->fence_path != NULL && (fence == NULL || fence->version != op->fence_version);
}

/* Whether an operation before it makes the node that it needs. */
static bool is_prepared(const struct zk_op *ops, size_t i)
{
    char *up = parent_of(ops[i].path);
    bool found = false;
    for (size_t k = 0; k < i && !found; k++)
        found = ops[k].kind == ZK_CREATE && strcmp(ops[k].path, up) == 0;
    free(up);
    return found;
}

static void count_operations(const struct zk_op *ops, size_t count)
{
    counts.requests++;
    for (size_t i = 0; i < count; i++) {
        bool writes = ops[i].kind == ZK_CREATE || ops[i].kind == ZK_SET || ops[i].kind == ZK_DELETE;
        counts.writes += writes;
        counts.reads += !writes;
        counts.bytes += (int64_t)strlen(ops[i].path) + MAX(ops[i].data.len, 0);
    }
}

struct ensemble_counts ensemble_count(void)
{
    return counts;
}

/* All of them or none. */
static void execute(struct session *s, const struct zk_op *ops, size_t count, struct outcome *out)
{
    bool ok = true;
    for (size_t i = 0; i < count; i++) {
        bool same_before = i > 0 && strcmp(ops[i].path, ops[i - 1].path) == 0 && ops[i - 1].kind == ZK_CREATE;
        out[i].fenced = is_fenced(&ops[i]);
        out[i].result = out[i].fenced                          ? ZK_BAD_VERSION
                        : same_before && ops[i].kind == ZK_SET ? ZK_OK
                                                               : would(&ops[i], ops[i].path, is_prepared(ops, i));
        ok &= out[i].result == ZK_OK;
    }
    for (size_t i = 0; i < count; i++) {
        const struct zk_op *op = &ops[i];
        if (op->watch &&
            (op->kind == ZK_CHILDREN ? out[i].result == ZK_OK : out[i].result == ZK_OK || op->kind == ZK_EXISTS))
            watch(s, op->path, op->kind == ZK_CHILDREN ? WATCH_CHILDREN : WATCH_DATA);
        if (!ok && out[i].result == ZK_OK)
            out[i].result = ZK_UNDONE;
    }
    if (!ok)
        return;
    bool writes = false;
    for (size_t i = 0; i < count; i++)
        writes |= ops[i].kind == ZK_CREATE || ops[i].kind == ZK_SET || ops[i].kind == ZK_DELETE;
    zxid += writes;
    for (size_t i = 0; i < count; i++)
        apply(s, &ops[i], &out[i]);
}

/* ---- Sessions ---- */

static void end_session(struct session *s)
{
    struct node *n, *next_node;
    struct notice *t, *next_notice;
    HASH_DEL(sessions, s);
    forget_watches(s);
    zxid++;
    HASH_ITER (hh, tree, n, next_node)
        if (n->owner == s->id)
            drop_node(n);
    DL_FOREACH_SAFE (s->notices, t, next_notice) {
        free(t->path);
        free(t);
    }
    free(s);
}

static void tick(void *arg UNUSED)
{
    struct session *s, *next;
    HASH_ITER (hh, sessions, s, next)
        if (sim_now_us() - s->heard_us > s->timeout_us)
            end_session(s);
    sim_after(NULL, TICK_US, tick, NULL);
}

void ensemble_init(void)
{
    ensemble_put("/", NULL);
    sim_after(NULL, TICK_US, tick, NULL);
}

void ensemble_expire(const char *path)
{
    const struct node *n = find_node(path);
    struct session *s = NULL;
    if (n != NULL)
        HASH_FIND(hh, sessions, &n->owner, sizeof(int64_t), s);
    if (s != NULL)
        end_session(s);
}

/* ---- The client's side ---- */

struct request {
    struct zk *zk;
    struct zk_batch *batch;
    struct zk_op *first;
    size_t count;
    bool sent;
    struct request *prev, *next;
};

struct zk {
    struct zk_options options;
    struct process *process;
    int64_t session_id, answered_us;
    int64_t connection;          /* counts them: what belongs to an earlier one is lost */
    int64_t broken;              /* the connection that has lost a packet: nothing comes through it any more */
    int64_t in_at_us, out_at_us; /* of the last packet on the way: none overtakes another */
    bool connected, closed, connecting;
    struct request *requests;
    struct timer ping;
};

static struct zk *clients[MAX_PROCESSES];

struct packet {
    struct zk *zk;
    int64_t connection, session;
    struct request *request; /* NULL: a ping, or a notice */
    struct notice *notice;
    struct arena arena; /* of the operations: the sender may forget its own meanwhile */
    struct zk_op *ops;
    size_t count;
    struct outcome *outcomes;
};

static void send_waiting(struct zk *zk);
static void connect_soon(struct zk *zk, int64_t us);

static struct session *session_of(const struct packet *p)
{
    struct session *s;
    HASH_FIND(hh, sessions, &p->session, sizeof(int64_t), s);
    return s;
}

static bool is_lost(const struct packet *p, const struct process *from, const struct process *to)
{
    if (network_is_cut(from, to))
        p->zk->broken = p->connection;
    return p->zk->connection != p->connection || p->zk->broken == p->connection;
}

static bool is_reachable(const struct zk *zk)
{
    return sim_zookeeper.alive && !network_is_cut(zk->process, &sim_zookeeper) &&
           !network_is_cut(&sim_zookeeper, zk->process);
}

static void packet_free(struct packet *p)
{
    for (size_t i = 0; p->outcomes != NULL && i < p->count; i++) {
        free((void *)(uintptr_t)p->outcomes[i].value.p);
        for (int32_t k = 0; k < p->outcomes[i].child_count; k++)
            free(p->outcomes[i].children[k]);
        free(p->outcomes[i].children);
        free(p->outcomes[i].created);
    }
    free(p->outcomes);
    arena_deinit(&p->arena);
    free(p);
}

static int64_t in_order(int64_t *last)
{
    int64_t soonest = sim_now_us() + network_latency_us();
    *last = MAX(*last + 1, soonest);
    return *last - sim_now_us();
}

static void take_outcome(struct zk_batch *b, struct zk_op *op, struct outcome *o)
{
    op->result = o->result;
    op->fenced = o->fenced;
    op->stat = o->stat;
    op->value = (struct bytes){o->value.p != NULL ? arena_copy(&b->arena, o->value.p, (size_t)o->value.len) : NULL,
                               o->value.len};
    op->children = ARENA_ARRAY(&b->arena, struct str, MAX(o->child_count, 1));
    op->child_count = o->child_count;
    for (int32_t i = 0; i < o->child_count; i++)
        op->children[i] = arena_str(&b->arena, str_of(o->children[i]));
    if (o->created != NULL)
        op->created = arena_cstr(&b->arena, str_of(o->created));
}

static void finish_request(struct request *r)
{
    struct zk_batch *b = r->batch;
    DL_DELETE(r->zk->requests, r);
    b->finished += r->count;
    free(r);
    if (b->finished == b->count)
        b->done(b);
}

static void on_client(void *arg)
{
    struct packet *p = arg;
    struct zk *zk = p->zk;
    if (zk->closed || is_lost(p, &sim_zookeeper, zk->process)) {
        packet_free(p);
        return;
    }
    zk->answered_us = sim_now_us();
    struct loop *outer = sim_enter(zk->options.loop);
    if (p->request != NULL) {
        struct request *r = p->request;
        struct zk_op *op = r->first;
        for (size_t i = 0; i < r->count; i++, op = op->next)
            take_outcome(r->batch, op, &p->outcomes[i]);
        finish_request(r);
    } else if (p->notice != NULL) {
        struct session *s = session_of(p);
        if (s != NULL) {
            char *path = xstrdup(p->notice->path);
            DL_DELETE(s->notices, p->notice);
            free(p->notice->path);
            free(p->notice);
            zk->options.changed(zk->options.ctx, path);
            free(path);
        }
    }
    sim_enter(outer);
    packet_free(p);
}

static void to_client(struct packet *p)
{
    sim_after(p->zk->process, in_order(&p->zk->out_at_us), on_client, p);
}

static void push_notice(struct session *s, struct notice *n)
{
    struct packet *p = xcalloc(1, sizeof(*p));
    *p = (struct packet){.zk = s->client, .connection = s->client->connection, .session = s->id, .notice = n};
    to_client(p);
}

/* Only the newest: those before it are on their way already. */
static void push_notices(struct session *s)
{
    if (s->client != NULL && s->client->connected && s->client->session_id == s->id)
        push_notice(s, s->notices->prev);
}

static void on_server(void *arg)
{
    struct packet *p = arg;
    struct session *s = session_of(p);
    if (s == NULL || is_lost(p, p->zk->process, &sim_zookeeper)) {
        packet_free(p);
        return;
    }
    s->heard_us = sim_now_us();
    if (p->request != NULL) {
        p->outcomes = xcalloc(p->count, sizeof(*p->outcomes));
        count_operations(p->ops, p->count);
        execute(s, p->ops, p->count, p->outcomes);
    }
    to_client(p);
}

static void copy_op(struct packet *p, struct zk_op *op)
{
    op->path = arena_cstr(&p->arena, str_of(op->path));
    if (op->data.p != NULL)
        op->data.p = arena_copy(&p->arena, op->data.p, (size_t)op->data.len);
}

static void to_server(struct zk *zk, struct request *r)
{
    struct packet *p = xcalloc(1, sizeof(*p));
    *p = (struct packet){.zk = zk, .connection = zk->connection, .session = zk->session_id, .request = r};
    if (r != NULL) {
        p->count = r->count;
        p->ops = ARENA_ARRAY(&p->arena, struct zk_op, r->count);
        const struct zk_op *op = r->first;
        for (size_t i = 0; i < r->count; i++, op = op->next) {
            p->ops[i] = *op;
            copy_op(p, &p->ops[i]);
        }
    }
    /* The world's: it arrives whatever happens to its sender. */
    sim_after(NULL, in_order(&zk->in_at_us), on_server, p);
}

static void send_waiting(struct zk *zk)
{
    struct request *r;
    if (!zk->connected)
        return;
    DL_FOREACH (zk->requests, r) {
        if (r->sent)
            continue;
        r->sent = true;
        to_server(zk, r);
    }
}

static void lose_connection(struct zk *zk)
{
    struct request *r;
    zk->connected = false;
    zk->connection++;
    DL_FOREACH (zk->requests, r)
        r->sent = false;
    if (zk->options.connection != NULL)
        zk->options.connection(zk->options.ctx, false);
    connect_soon(zk, RETRY_US);
}

static void on_ping(struct timer *t)
{
    struct zk *zk = CONTAINER_OF(t, struct zk, ping);
    int64_t timeout_us = (int64_t)zk->options.session_timeout_ms * 1000;
    if (zk->closed)
        return;
    if (zk->connected && sim_now_us() - zk->answered_us > timeout_us * 2 / 3)
        lose_connection(zk);
    else if (zk->connected)
        to_server(zk, NULL);
    timer_start(t, zk->options.session_timeout_ms / 6);
}

static void fail_all(struct zk *zk)
{
    while (zk->requests != NULL) {
        struct request *r = zk->requests;
        struct zk_op *op = r->first;
        for (size_t i = 0; i < r->count; i++, op = op->next)
            op->result = ZK_SESSION_EXPIRED;
        finish_request(r);
    }
}

static void fail_later(void *arg)
{
    struct zk *zk = arg;
    struct loop *outer = sim_enter(zk->options.loop);
    fail_all(zk);
    sim_enter(outer);
}

static void start_over(struct zk *zk)
{
    zk->session_id = 0;
    zk->connected = false;
    zk->connection++;
    fail_all(zk);
    if (!zk->closed)
        zk->options.session_expired(zk->options.ctx);
    if (!zk->closed)
        connect_soon(zk, RETRY_US);
}

static struct session *new_session(struct zk *zk)
{
    struct session *s = xcalloc(1, sizeof(*s));
    s->id = next_session++;
    s->timeout_us = (int64_t)zk->options.session_timeout_ms * 1000;
    HASH_ADD(hh, sessions, id, sizeof(s->id), s);
    return s;
}

static void try_to_connect(void *arg)
{
    struct zk *zk = arg;
    struct session *s = NULL;
    zk->connecting = false;
    if (zk->closed)
        return;
    if (!is_reachable(zk)) {
        connect_soon(zk, RETRY_US);
        return;
    }
    struct loop *outer = sim_enter(zk->options.loop);
    HASH_FIND(hh, sessions, &zk->session_id, sizeof(int64_t), s);
    if (s == NULL && zk->session_id != 0) {
        start_over(zk);
        sim_enter(outer);
        return;
    }
    bool fresh = s == NULL;
    if (fresh)
        s = new_session(zk);
    s->client = zk;
    s->heard_us = zk->answered_us = sim_now_us();
    zk->session_id = s->id;
    zk->connected = true;
    zk->connection++;
    struct notice *n;
    DL_FOREACH (s->notices, n)
        push_notice(s, n);
    if (zk->options.connection != NULL)
        zk->options.connection(zk->options.ctx, true);
    if (fresh)
        zk->options.session_started(zk->options.ctx);
    send_waiting(zk);
    sim_enter(outer);
}

static void connect_soon(struct zk *zk, int64_t us)
{
    if (zk->connecting)
        return;
    zk->connecting = true;
    sim_after(zk->process, us, try_to_connect, zk);
}

struct zk *zk_new(const struct zk_options *options)
{
    struct zk *zk = xcalloc(1, sizeof(*zk));
    zk->options = *options;
    zk->process = sim_process;
    clients[zk->process->number] = zk;
    timer_init(&zk->ping, options->loop, on_ping);
    timer_start(&zk->ping, options->session_timeout_ms / 6);
    connect_soon(zk, network_latency_us());
    return zk;
}

static void finish_empty(void *arg)
{
    struct zk_batch *b = arg;
    b->done(b);
}

void zk_submit(struct zk *zk, struct zk_batch *b)
{
    ensure(b->done != NULL);
    b->finished = 0;
    if (b->count == 0)
        sim_after(zk->process, 1, finish_empty, b);
    for (struct zk_op *op = b->first; op != NULL; op = op->next) {
        struct request *r = xcalloc(1, sizeof(*r));
        *r = (struct request){.zk = zk, .batch = b, .first = op, .count = 1};
        for (; op->with_next; op = op->next)
            r->count++;
        DL_APPEND(zk->requests, r);
    }
    if (zk->closed)
        sim_after(zk->process, 1, fail_later, zk);
    else
        send_waiting(zk);
}

static void close_session(void *arg)
{
    int64_t id = (int64_t)(intptr_t)arg;
    struct session *s;
    HASH_FIND(hh, sessions, &id, sizeof(id), s);
    if (s != NULL)
        end_session(s);
}

static void detach(struct zk *zk)
{
    struct session *s;
    HASH_FIND(hh, sessions, &zk->session_id, sizeof(int64_t), s);
    if (s != NULL)
        s->client = NULL;
    if (clients[zk->process->number] == zk)
        clients[zk->process->number] = NULL;
}

void zk_close(struct zk *zk)
{
    if (zk->closed)
        return;
    zk->closed = true;
    timer_stop(&zk->ping);
    detach(zk);
    if (zk->connected && is_reachable(zk))
        sim_after(NULL, network_latency_us(), close_session, (void *)(intptr_t)zk->session_id);
    zk->connected = false;
    fail_all(zk);
}

void zk_free(struct zk *zk)
{
    if (zk != NULL)
        zk_close(zk); /* its memory is kept: packets may name it */
}

int64_t zk_session_id(const struct zk *zk)
{
    return zk->session_id;
}

bool zk_is_connected(const struct zk *zk)
{
    return zk->connected;
}

const char *zk_trouble(const struct zk *zk UNUSED)
{
    return "";
}

bool ensemble_owns(const struct process *p, const char *path)
{
    const struct node *n = find_node(path);
    const struct zk *zk = clients[p->number];
    return n != NULL && zk != NULL && zk->connected && n->owner == zk->session_id;
}

void ensemble_forget(struct process *p)
{
    struct zk *zk = clients[p->number];
    if (zk == NULL)
        return;
    zk->connection++;
    detach(zk);
}

void ensemble_restart(void)
{
    for (int i = 0; i < MAX_PROCESSES; i++) {
        struct zk *zk = clients[i];
        if (zk == NULL || !zk->connected)
            continue;
        struct loop *outer = sim_enter(zk->options.loop);
        lose_connection(zk);
        sim_enter(outer);
    }
}
