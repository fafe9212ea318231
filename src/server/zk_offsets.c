/*
 * Offsets of clients older than the group coordinator: version 0 of OffsetCommit and OffsetFetch keeps them in
 * ZooKeeper, at /consumers/GROUP/offsets/TOPIC/PARTITION. On the control loop.
 */
#include <inttypes.h>
#include <stdio.h>

#include "server/server_internal.h"
#include "server/zk_offsets_internal.h"

/* Of one request, which may name the same partition any number of times: others wait behind these. */
enum { MOST_OPERATIONS = 100000 };

static char *offset_path(struct arena *a, struct str group, struct str topic, int32_t partition)
{
    struct str path =
        arena_printf(a, ZNODE_CONSUMERS "/%.*s/offsets/%.*s/%" PRId32, STR_ARGS(group), STR_ARGS(topic), partition);
    return arena_cstr(a, path);
}

static enum kafka_error error_of(enum zk_result result)
{
    switch (result) {
    case ZK_OK:
        return ERR_NONE;
    case ZK_SESSION_EXPIRED:
        return ERR_COORDINATOR_NOT_AVAILABLE;
    default:
        return ERR_UNKNOWN_SERVER_ERROR;
    }
}

/* Without anything to ask for, the answer is there already. */
static void submit(struct request *r, struct zk_batch *b)
{
    if (b->count > 0)
        zk_submit(r->s->zk, b);
    else
        b->done(b);
}

/* ---- Commit ---- */

static void on_committed(struct zk_batch *b)
{
    struct zk_commit *c = b->ctx;
    const struct zk_op *set;
    ZK_OWNED_FOREACH (b, set) {
        struct offset_commit_response_partition *o = set->owner;
        o->error_code = (int16_t)error_of(set->result);
    }
    zk_batch_free(b);
    c->done(c->request);
}

/* The nodes on the way, then the offset: whichever of them are there already stay as they are. */
static void add_commit(struct zk_batch *b, struct str group, struct str topic, int32_t partition, int64_t offset,
                       struct offset_commit_response_partition *out)
{
    struct bytes nothing = {NULL, 0}, data = int_encode(&b->arena, offset);
    char *path = offset_path(&b->arena, group, topic, partition);
    for (char *slash = strchr(path + sizeof(ZNODE_CONSUMERS), '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        zk_create(b, path, nothing, ZK_PERSISTENT);
        *slash = '/';
    }
    zk_create(b, path, data, ZK_PERSISTENT);
    zk_set(b, path, data, ZK_ANY_VERSION)->owner = out;
}

static enum kafka_error commit_problem(const struct zk_commit *c, const struct offset_commit_request_partition *p)
{
    if (!zk_name_is_legal(c->in->group_id))
        return ERR_UNKNOWN_SERVER_ERROR;
    if (str_utf16_length(p->committed_metadata) > c->request->s->config->offset_metadata_max_bytes)
        return ERR_OFFSET_METADATA_TOO_LARGE;
    return ERR_NONE;
}

void zk_offsets_commit(struct zk_commit *c)
{
    struct zk_batch *b = zk_batch_new(on_committed);
    b->ctx = c;
    for (int32_t t = 0; t < c->in->topics.len; t++) {
        const struct offset_commit_request_topic *topic = &c->in->topics.items[t];
        for (int32_t i = 0; i < topic->partitions.len; i++) {
            const struct offset_commit_request_partition *p = &topic->partitions.items[i];
            struct offset_commit_response_partition *o = &c->out->topics.items[t].partitions.items[i];
            if (o->error_code == ERR_NONE)
                o->error_code = (int16_t)(b->count < MOST_OPERATIONS ? commit_problem(c, p) : ERR_UNKNOWN_SERVER_ERROR);
            if (o->error_code == ERR_NONE)
                add_commit(b, c->in->group_id, topic->name, p->partition_index, p->committed_offset, o);
        }
    }
    submit(c->request, b);
}

/* ---- Fetch ---- */

static void on_fetched(struct zk_batch *b)
{
    struct zk_fetch *f = b->ctx;
    const struct zk_op *op;
    ZK_OWNED_FOREACH (b, op) {
        struct offset_fetch_response_partition *o = op->owner;
        if (op->result == ZK_NO_NODE || (op->result == ZK_OK && !int_decode(op->value, &o->committed_offset)))
            o->error_code = ERR_UNKNOWN_TOPIC_OR_PARTITION; /* as this version says that there is none */
        else
            o->error_code = (int16_t)error_of(op->result);
    }
    zk_batch_free(b);
    f->done(f->request);
}

void zk_offsets_fetch(struct zk_fetch *f)
{
    struct zk_batch *b = zk_batch_new(on_fetched);
    struct arena *a = f->request->arena;
    b->ctx = f;
    ARRAY_MAKE(a, f->out->topics, MAX(f->in->topics.len, 0));
    for (int32_t t = 0; t < f->in->topics.len; t++) {
        const struct offset_fetch_request_topic *topic = &f->in->topics.items[t];
        struct offset_fetch_response_topic *out = &f->out->topics.items[t];
        offset_fetch_response_topic_init(out);
        out->name = topic->name;
        ARRAY_MAKE(a, out->partitions, MAX(topic->partition_indexes.len, 0));
        for (int32_t i = 0; i < topic->partition_indexes.len; i++) {
            struct offset_fetch_response_partition *o = &out->partitions.items[i];
            offset_fetch_response_partition_init(o);
            o->partition_index = topic->partition_indexes.items[i];
            o->committed_offset = -1;
            o->metadata = STR_LIT("");
            if (!zk_name_is_legal(f->in->group_id) || b->count >= MOST_OPERATIONS)
                o->error_code = ERR_UNKNOWN_SERVER_ERROR;
            else if (view_partition(view_current(), topic->name, o->partition_index) == NULL)
                o->error_code = ERR_UNKNOWN_TOPIC_OR_PARTITION;
            else
                zk_get(b, offset_path(&b->arena, f->in->group_id, topic->name, o->partition_index), false)->owner = o;
        }
    }
    submit(f->request, b);
}
