/*
 * A broker registers after it has looked whether another one advertises its address. If its id is taken, that may be
 *
 *     by this session             the answer to our own creation was lost: it is done
 *     by a session before it      the node is as old as the epoch that we had: it is deleted, and ours created
 *     by anybody else's           perhaps by this broker before it crashed: its end is waited for, for a session's time
 *                                 out; after that somebody else has the id, and the start ends
 *
 * What ZooKeeper refuses for any other reason ends a start. A broker that was registered before tries again once a
 * second: what forbids it may be mended, and it serves meanwhile.
 *
 * When the session expires meanwhile, the call ends with that, and is made again with the next one.
 */
#include "cluster/registration.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/logger.h"

enum { RETRY_MS = 100, REFUSED_RETRY_MS = 1000 };

static void registration_finish(struct zk_batch *b, bool ok)
{
    struct registration_call *call = b->ctx;
    zk_batch_free(b);
    call->done(call, ok);
}

/* Then the call ends here: with the next session it has to be made again. */
static bool has_expired(struct zk_batch *b)
{
    struct registration_call *call = b->ctx;
    call->expired = false;
    for (const struct zk_op *op = b->first; op != NULL; op = op->next)
        call->expired |= op->result == ZK_SESSION_EXPIRED;
    if (!call->expired)
        return false;
    fail_set(&call->fail, "The ZooKeeper session has expired");
    registration_finish(b, false);
    return true;
}

/* ---- Paths and cluster id ---- */

static const char *const persistent_paths[] = {
    "/consumers",        "/brokers",           ZNODE_BROKER_IDS,   ZNODE_TOPICS,
    ZNODE_CONFIG,        ZNODE_CONFIG_CHANGES, "/admin",           ZNODE_DELETE_TOPICS,
    ZNODE_BROKER_SEQID,  ZNODE_ISR_CHANGES,    ZNODE_PRODUCER_IDS, ZNODE_LOG_DIR_EVENTS,
    ZNODE_CONFIG_TOPICS, ZNODE_CONFIG_CLIENTS, ZNODE_CONFIG_USERS, ZNODE_CONFIG_BROKERS,
    ZNODE_CONFIG_IPS,    ZNODE_CLUSTER,
};

static void on_cluster_id(struct zk_batch *b)
{
    struct registration_call *call = b->ctx;
    const struct zk_op *read = zk_find(b, ZK_GET, ZNODE_CLUSTER_ID);
    const char *id;
    if (has_expired(b))
        return;
    bool ok = read->result == ZK_OK && cluster_id_decode(&b->arena, read->value, &id);
    if (ok)
        snprintf(call->cluster_id, sizeof(call->cluster_id), "%s", id);
    else
        fail_set(&call->fail, "Cannot read %s in ZooKeeper", ZNODE_CLUSTER_ID);
    registration_finish(b, ok);
}

static void on_paths(struct zk_batch *b)
{
    struct registration_call *call = b->ctx;
    if (has_expired(b))
        return;
    for (const struct zk_op *op = b->first; op != NULL; op = op->next) {
        if (op->kind != ZK_CREATE || op->result == ZK_OK || op->result == ZK_NODE_EXISTS)
            continue;
        fail_set(&call->fail, "Cannot create %s in ZooKeeper", op->path);
        registration_finish(b, false);
        return;
    }
    bool have_id = zk_find(b, ZK_GET, ZNODE_CLUSTER_ID)->result == ZK_OK;
    zk_batch_free(b);
    b = zk_batch_new(on_cluster_id);
    b->ctx = call;
    if (!have_id) {
        char id[UUID_TEXT_LEN + 1];
        uuid_format(uuid_random(), id);
        zk_create(b, ZNODE_CLUSTER_ID, cluster_id_encode(&b->arena, id), ZK_PERSISTENT);
    }
    zk_get(b, ZNODE_CLUSTER_ID, false);
    zk_submit(call->zk, b);
}

void registration_prepare(struct registration_call *call)
{
    struct zk_batch *b = zk_batch_new(on_paths);
    b->ctx = call;
    for (size_t i = 0; i < ARRAY_LEN(persistent_paths); i++)
        zk_create(b, persistent_paths[i], (struct bytes){NULL, 0}, ZK_PERSISTENT);
    zk_get(b, ZNODE_CLUSTER_ID, false);
    zk_submit(call->zk, b);
}

static void on_sequence(struct zk_batch *b)
{
    struct registration_call *call = b->ctx;
    if (has_expired(b))
        return;
    bool ok = b->first->result == ZK_OK;
    if (ok)
        call->broker_id += b->first->stat.version;
    else
        fail_set(&call->fail, "Cannot generate a broker id from %s in ZooKeeper", ZNODE_BROKER_SEQID);
    registration_finish(b, ok);
}

void registration_generate_id(struct registration_call *call, int32_t reserved_max)
{
    struct zk_batch *b = zk_batch_new(on_sequence);
    b->ctx = call;
    call->broker_id = reserved_max;
    zk_set(b, ZNODE_BROKER_SEQID, (struct bytes){(const uint8_t *)"", 0}, ZK_ANY_VERSION);
    zk_submit(call->zk, b);
}

/* ---- Registration ---- */

static void register_now(struct registration_call *call);

static void registration_on_retry(struct timer *t)
{
    register_now(CONTAINER_OF(t, struct registration_call, retry));
}

static void try_again_in(struct registration_call *call, int64_t ms)
{
    call->waiting = true;
    timer_init(&call->retry, call->loop, registration_on_retry);
    timer_start(&call->retry, ms);
}

static void on_refused(struct zk_batch *b, const char *verb, enum zk_result result)
{
    struct registration_call *call = b->ctx;
    char path[ZNODE_PATH_ROOM];
    fail_set(&call->fail, "Cannot %s %s in ZooKeeper%s", verb, broker_path(path, call->self.id),
             result == ZK_NO_AUTH   ? ": its ACL, or that of " ZNODE_BROKER_IDS ", forbids it to this broker"
             : result == ZK_NO_NODE ? ": " ZNODE_BROKER_IDS " is missing"
                                    : "");
    if (call->epoch == 0) {
        registration_finish(b, false);
        return;
    }
    zk_batch_free(b);
    if (!call->refused)
        log_warn("%s. This broker tries again once a second, and is not in the cluster before", call->fail.text);
    call->refused = true;
    try_again_in(call, REFUSED_RETRY_MS);
}

static void on_removed(struct zk_batch *b)
{
    enum zk_result result = b->first->result;
    if (has_expired(b))
        return;
    if (result != ZK_OK && result != ZK_NO_NODE) {
        on_refused(b, "delete", result);
        return;
    }
    struct registration_call *call = b->ctx;
    zk_batch_free(b);
    register_now(call);
}

static void wait_for_its_end(struct registration_call *call)
{
    if (!call->waiting)
        log_info("Broker id %" PRId32 " is still registered by another session: waiting for its end", call->self.id);
    call->patience_ms -= RETRY_MS;
    try_again_in(call, RETRY_MS);
}

/* The id is taken: by an earlier session of ours, by this one (the answer was lost), or by somebody else. */
static void on_conflict(struct zk_batch *b)
{
    struct registration_call *call = b->ctx;
    struct zk_op *node = b->first;
    int64_t owner = node->stat.ephemeral_owner;
    char path[ZNODE_PATH_ROOM];
    if (has_expired(b))
        return;
    if (node->result == ZK_NO_NODE) {
        zk_batch_free(b);
        register_now(call);
    } else if (node->result == ZK_OK && owner == zk_session_id(call->zk)) {
        call->epoch = node->stat.czxid;
        registration_finish(b, true);
    } else if (node->result == ZK_OK && call->epoch != 0 && node->stat.czxid == call->epoch) {
        zk_batch_free(b);
        b = zk_batch_new(on_removed);
        b->ctx = call;
        zk_delete(b, broker_path(path, call->self.id), ZK_ANY_VERSION);
        zk_submit(call->zk, b);
    } else if (node->result == ZK_OK && call->patience_ms > 0) {
        zk_batch_free(b);
        wait_for_its_end(call);
    } else if (node->result != ZK_OK) {
        on_refused(b, "read", node->result);
    } else {
        fail_set(&call->fail,
                 "A broker with id %" PRId32 " is already registered in ZooKeeper (%s, session 0x%" PRIx64
                 "): is it running, or has its session not yet expired?",
                 call->self.id, broker_path(path, call->self.id), owner);
        registration_finish(b, false);
    }
}

static void registration_on_registered(struct zk_batch *b)
{
    struct registration_call *call = b->ctx;
    char path[ZNODE_PATH_ROOM];
    const struct zk_op *node = b->first, *data = node->next;
    if (node->result == ZK_OK && data->result == ZK_OK) {
        call->epoch = data->stat.czxid;
        registration_finish(b, true);
        return;
    }
    if (has_expired(b))
        return;
    enum zk_result why = node->result == ZK_UNDONE ? data->result : node->result;
    if (why != ZK_NODE_EXISTS) {
        on_refused(b, "create", why);
        return;
    }
    zk_batch_free(b);
    b = zk_batch_new(on_conflict);
    b->ctx = call;
    zk_get(b, broker_path(path, call->self.id), false);
    zk_submit(call->zk, b);
}

/* Creation without data, then the data: Kafka's order, so that the node's version is 1. */
static void register_now(struct registration_call *call)
{
    struct zk_batch *b = zk_batch_new(registration_on_registered);
    char path[ZNODE_PATH_ROOM];
    b->ctx = call;
    broker_path(path, call->self.id);
    zk_create(b, path, (struct bytes){NULL, 0}, ZK_EPHEMERAL)->with_next = true;
    zk_set(b, path, registration_encode(&b->arena, &call->self, clock_wall_ms()), 0);
    zk_submit(call->zk, b);
}

static bool same_endpoint(const struct registration *a, const struct registration *b)
{
    for (int32_t i = 0; i < a->endpoint_count; i++)
        for (int32_t k = 0; k < b->endpoint_count; k++)
            if (a->endpoints[i].port == b->endpoints[k].port && strcmp(a->endpoints[i].host, b->endpoints[k].host) == 0)
                return true;
    return false;
}

static void on_others(struct zk_batch *b)
{
    struct registration_call *call = b->ctx;
    for (const struct zk_op *read = b->first; read != NULL; read = read->next) {
        struct registration other;
        int32_t id = (int32_t)strtol(strrchr(read->path, '/') + 1, NULL, 10);
        if (read->kind != ZK_GET || read->result != ZK_OK || id == call->self.id)
            continue;
        if (registration_decode(&b->arena, id, read->value, &other) && same_endpoint(&other, &call->self)) {
            fail_set(&call->fail, "Broker %" PRId32 " is registered with one of this broker's advertised listeners",
                     id);
            registration_finish(b, false);
            return;
        }
    }
    zk_batch_free(b);
    register_now(call);
}

static void on_broker_list(struct zk_batch *b)
{
    struct registration_call *call = b->ctx;
    struct zk_batch *reads = zk_batch_new(on_others);
    const struct zk_op *list = b->first;
    char path[ZNODE_PATH_ROOM];
    int32_t id;
    reads->ctx = call;
    for (int32_t i = 0; list->result == ZK_OK && i < list->child_count; i++)
        if (broker_id_parse(list->children[i], &id))
            zk_get(reads, broker_path(path, id), false);
    zk_batch_free(b);
    if (reads->count == 0)
        on_others(reads);
    else
        zk_submit(call->zk, reads);
}

void registration_make(struct registration_call *call)
{
    call->refused = false;
    struct zk_batch *b = zk_batch_new(on_broker_list);
    b->ctx = call;
    zk_children(b, ZNODE_BROKER_IDS, false);
    zk_submit(call->zk, b);
}

/* ---- Log directories ---- */

static void on_reported(struct zk_batch *b)
{
    if (b->first->result != ZK_OK && b->first->result != ZK_SESSION_EXPIRED)
        log_error("The controller cannot be told of a failed log directory: %s cannot be written in ZooKeeper",
                  ZNODE_LOG_DIR_EVENTS);
    zk_batch_free(b);
}

void registration_report_log_dir(struct zk *zk, int32_t broker_id)
{
    struct zk_batch *b = zk_batch_new(on_reported);
    zk_create(b, ZNODE_LOG_DIR_EVENTS "/log_dir_event_", log_dir_event_encode(&b->arena, broker_id), ZK_SEQUENTIAL);
    zk_submit(zk, b);
}
