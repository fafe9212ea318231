/*
 * What is sent in a ZooKeeper session, and what comes of it. Each operation of a batch is a request, or several are one
 * (a multi): an operation with its fence, and those that are to happen together.
 *
 * When all goes well requests leave in order, several at a time, and the answer to the last one ends its batch. One
 * that was under way as the connection broke goes out again, in its old place; if that has happened too often it is
 * taken for the cause, and the session is given up. What no server would take, or the library refuses for good, is not
 * sent: it ends with an error, and those behind it go on.
 */
#include <stdio.h>
#include <string.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/logger.h"
#include "cluster/zk_internal.h"
#include "cluster/zk_protection.h"

/* MOST_SENDS: so often a request is sent before the session is given up. */
enum { MOST_SENDS = 10, GENTLE_PIECE = 100 };

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
    case ZINVALIDACL:
        return ZK_INVALID_ACL;
    default:
        log_error("ZooKeeper %s of %s failed: %s", what, path, zerror(rc));
        return ZK_FAILED;
    }
}

static const char *kind_name(enum zk_kind kind)
{
    static const char *const names[] = {"read",     "listing", "look-up",    "creation",    "write",
                                        "deletion", "check",   "protection", "ACL look-up", "ACL write"};
    ensure((size_t)kind < ARRAY_LEN(names));
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

/* Of a gentle batch only a piece, as all requests leave in their order. */
static void zk_enqueue(struct zk *zk, struct zk_batch *b)
{
    ensure(b->finished == b->begun && b->rest != NULL);
    size_t most = b->gentle ? b->begun + GENTLE_PIECE : b->count;
    for (; b->rest != NULL && b->begun < most; b->rest = b->rest->next) {
        struct request *r = xcalloc(1, sizeof(*r));
        *r = (struct request){.batch = b, .first = b->rest, .count = 1, .zk = zk};
        for (; b->rest->with_next; b->rest = b->rest->next) {
            r->count++;
            ensure(r->count <= ZK_MOST_TOGETHER && b->rest->next != NULL);
        }
        b->begun += r->count;
        DL_APPEND(zk->requests, r);
    }
    if (!zk->pumping && (zk->handle != NULL || zk->closed))
        timer_start(&zk->timer, 0);
}

static void zk_finish_request(struct request *r)
{
    struct zk_batch *b = r->batch;
    struct zk *zk = r->zk;
    ensure(!r->sent && b->finished + r->count <= b->begun && b->begun <= b->count);
    DL_DELETE(zk->requests, r);
    b->finished += r->count;
    zk_request_free(r);
    if (b->finished == b->count)
        b->done(b);
    else if (b->finished == b->begun)
        zk_enqueue(zk, b);
}

/* True if the operation has to be sent again; then nothing is finished. */
static bool lost(struct request *r, int rc)
{
    struct zk *zk = r->zk;
    ensure(loop_is_mine(zk->options.loop) && r->sent && zk->in_flight > 0);
    r->sent = false;
    zk->in_flight--;
    histogram_record(&zk->metrics.latency, clock_mono_us() - r->sent_us);
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
        op_of(r)->created = arena_cstr(&r->batch->arena, str_of(zk_without_chroot(r->zk, path)));
    }
    finish_single(r, rc);
}

static const struct zk_acl *copy_acls(struct zk_batch *b, const struct ACL_vector *from)
{
    struct zk_acl *acls = ARENA_ARRAY(&b->arena, struct zk_acl, MAX(from->count, 1));
    for (int32_t i = 0; i < from->count; i++)
        acls[i] = (struct zk_acl){from->data[i].perms, arena_cstr(&b->arena, str_of(from->data[i].id.scheme)),
                                  arena_cstr(&b->arena, str_of(from->data[i].id.id))};
    return acls;
}

static void on_acl(int rc, struct ACL_vector *acl, struct Stat *stat, const void *ctx)
{
    struct request *r = (struct request *)(uintptr_t)ctx;
    if (lost(r, rc))
        return;
    struct zk_op *op = op_of(r);
    if (rc == ZOK) {
        op->stat = stat_of(stat);
        op->acls = copy_acls(r->batch, acl);
        op->acl_count = acl->count;
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
        op->created = arena_cstr(&r->batch->arena, str_of(zk_without_chroot(r->zk, created)));
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
        else if (rc != ZOK && op->result == ZK_OK)
            op->result = ZK_UNDONE;
        at++;
    }
    ensure(at == r->multi_count);
    zk_finish_request(r);
}

/* ---- Sending ---- */

static int create_flags(enum zk_create_mode mode)
{
    bool ephemeral = mode == ZK_EPHEMERAL || mode == ZK_EPHEMERAL_SEQUENTIAL;
    bool sequential = mode == ZK_SEQUENTIAL || mode == ZK_EPHEMERAL_SEQUENTIAL;
    return (ephemeral ? ZOO_EPHEMERAL : 0) | (sequential ? ZOO_SEQUENCE : 0);
}

/* "auth" is whoever the server knows the session to be. */
static const struct ACL_vector *default_acl(const char *path, bool own)
{
    static char scheme[] = "auth", nobody[] = "", world[] = "world", anyone[] = "anyone";
    static struct ACL acls[] = {{0x1f, {scheme, nobody}}, {0x01, {world, anyone}}}; /* all, and to read */
    static const struct ACL_vector own_and_read = {2, acls}, own_only = {1, acls};
    if (!own || strcmp(path, "/consumers") == 0)
        return &ZOO_OPEN_ACL_UNSAFE;
    return zk_path_is_secret(path) ? &own_only : &own_and_read;
}

const struct ACL_vector *zk_acl_of(const struct zk *zk, const char *path)
{
    const struct zk_protection *p = zk->options.protection;
    return default_acl(path, p != NULL && p->own_znodes);
}

static struct ACL_vector *acl_given(struct request *r, const struct zk_op *op)
{
    struct ACL_vector *v = ARENA_NEW(&r->batch->arena, struct ACL_vector);
    *v = (struct ACL_vector){op->acl_count, ARENA_ARRAY(&r->batch->arena, struct ACL, MAX(op->acl_count, 1))};
    for (int32_t i = 0; i < op->acl_count; i++)
        v->data[i] = (struct ACL){op->acls[i].permissions,
                                  {(char *)(uintptr_t)op->acls[i].scheme, (char *)(uintptr_t)op->acls[i].id}};
    return v;
}

static const struct ACL_vector *acl_made_with(struct request *r, const struct zk_op *op)
{
    return op->acls != NULL ? acl_given(r, op) : zk_acl_of(r->zk, op->path);
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
    const char *chroot = r->zk->chroot;
    if (*chroot != '\0' && strcmp(path, "/") == 0)
        path = "";
    return arena_cstr(&r->batch->arena, arena_printf(&r->batch->arena, "%s%s", chroot, path));
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
        return zoo_acreate2(h, path, data_of(op), data_len(op), acl_made_with(r, op), create_flags(op->mode),
                            zk_on_created, r);
    case ZK_SET:
        return zoo_aset(h, path, data_of(op), data_len(op), op->version, on_stat, r);
    case ZK_DELETE:
        return zoo_adelete(h, path, op->version, on_void, r);
    case ZK_PROTECT:
        return zoo_aset_acl(h, path, ZK_ANY_VERSION, (struct ACL_vector *)(uintptr_t)default_acl(op->path, op->own),
                            on_void, r);
    case ZK_GET_ACL:
        return zoo_aget_acl(h, path, on_acl, r);
    case ZK_SET_ACL:
        return zoo_aset_acl(h, path, op->version, acl_given(r, op), on_void, r);
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
        zoo_create_op_init(o, path, data_of(op), data_len(op), acl_made_with(r, op), create_flags(op->mode),
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
        ensure(r->count <= (size_t)at && (size_t)at <= 2 * r->count);
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
    ensure(!r->sent);
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
    if (r->sends == 0)
        r->sent_us = clock_mono_us();
    r->sent = true;
    r->sends++;
    zk->in_flight++;
    return true;
}

void zk_send_waiting(struct zk *zk)
{
    struct request *r, *tmp;
    ensure(loop_is_mine(zk->options.loop));
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
    ensure(b->finished == 0 && b->begun == 0); /* a batch is submitted once */
    b->rest = b->first;
    zk_enqueue(zk, b);
}

void zk_fail_all(struct zk *zk)
{
    ensure(loop_is_mine(zk->options.loop) && zk->handle == NULL);
    while (zk->requests != NULL) {
        struct request *r = zk->requests;
        struct zk_op *op = op_of(r);
        r->sent = false;
        for (size_t i = 0; i < r->count; i++, op = op->next)
            op->result = ZK_SESSION_EXPIRED;
        zk_finish_request(r);
    }
    zk->in_flight = 0;
}
