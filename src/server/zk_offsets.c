/*
 * Offsets of clients older than the group coordinator: version 0 of OffsetCommit and OffsetFetch keeps them in
 * ZooKeeper, at /consumers/GROUP/offsets/TOPIC/PARTITION. On the control loop.
 */
#include <inttypes.h>

#include "base/strbuf.h"
#include "server/server_internal.h"
#include "server/zk_offsets_internal.h"

/* Of one request, which may name the same partition any number of times, of a group with a long name: others wait
 * behind these. */
enum { MOST_OPERATIONS = 100000, MOST_BYTES = 64 << 20 };

static bool may_ask_more(const struct zk_batch *b)
{
    return b->count < MOST_OPERATIONS && b->arena.used < MOST_BYTES;
}

#define GROUP_FORMAT ZNODE_CONSUMERS "/%.*s"
#define TOPIC_FORMAT GROUP_FORMAT "/offsets/%.*s"

static const char *offset_path(struct strbuf *path, struct str group, struct str topic, int32_t partition)
{
    strbuf_clear(path);
    strbuf_printf(path, TOPIC_FORMAT "/%" PRId32, STR_ARGS(group), STR_ARGS(topic), partition);
    return path->p;
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

static void create_node(struct zk_batch *b, const struct strbuf *path)
{
    zk_create(b, path->p, (struct bytes){NULL, 0}, ZK_PERSISTENT);
}

/* The nodes on the way to a topic's offsets: whichever of them are there already stay as they are. */
static void add_way(struct zk_batch *b, struct strbuf *path, struct str group, struct str topic)
{
    strbuf_clear(path);
    if (b->count == 0) {
        strbuf_printf(path, GROUP_FORMAT, STR_ARGS(group));
        create_node(b, path);
        strbuf_puts(path, "/offsets");
        create_node(b, path);
        strbuf_clear(path);
    }
    strbuf_printf(path, TOPIC_FORMAT, STR_ARGS(group), STR_ARGS(topic));
    create_node(b, path);
}

static void add_commit(struct zk_batch *b, const char *path, int64_t offset,
                       struct offset_commit_response_partition *out)
{
    struct bytes data = int_encode(&b->arena, offset);
    zk_create(b, path, data, ZK_PERSISTENT);
    zk_set(b, path, data, ZK_ANY_VERSION)->owner = out;
}

static enum kafka_error commit_problem(const struct zk_commit *c, const struct offset_commit_request_partition *p)
{
    if (str_utf16_length(p->committed_metadata) > c->request->s->config->offset_metadata_max_bytes)
        return ERR_OFFSET_METADATA_TOO_LARGE;
    return ERR_NONE;
}

/* `legal`: there can be a node of the group's name. */
static void zk_offsets_add_topic(struct zk_batch *b, struct strbuf *path, const struct zk_commit *c, int32_t t,
                                 bool legal)
{
    const struct offset_commit_request_topic *topic = &c->in->topics.items[t];
    bool has_way = false;
    for (int32_t i = 0; i < topic->partitions.len; i++) {
        const struct offset_commit_request_partition *p = &topic->partitions.items[i];
        struct offset_commit_response_partition *o = &c->out->topics.items[t].partitions.items[i];
        if (o->error_code == ERR_NONE)
            o->error_code = (int16_t)(legal && may_ask_more(b) ? commit_problem(c, p) : ERR_UNKNOWN_SERVER_ERROR);
        if (o->error_code != ERR_NONE)
            continue;
        if (!has_way)
            add_way(b, path, c->in->group_id, topic->name);
        has_way = true;
        add_commit(b, offset_path(path, c->in->group_id, topic->name, p->partition_index), p->committed_offset, o);
    }
}

void zk_offsets_commit(struct zk_commit *c)
{
    struct zk_batch *b = zk_batch_new(on_committed);
    struct strbuf path = {0};
    bool legal = zk_name_is_legal(c->in->group_id);
    b->ctx = c;
    for (int32_t t = 0; t < c->in->topics.len; t++)
        zk_offsets_add_topic(b, &path, c, t, legal);
    strbuf_deinit(&path);
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
    struct strbuf path = {0};
    struct str group = f->in->group_id;
    bool legal = zk_name_is_legal(group);
    b->ctx = f;
    for (int32_t t = 0; t < f->out->topics.len; t++) {
        struct offset_fetch_response_topic *topic = &f->out->topics.items[t];
        for (int32_t i = 0; i < topic->partitions.len; i++) {
            struct offset_fetch_response_partition *o = &topic->partitions.items[i];
            if (o->error_code != ERR_NONE)
                continue;
            if (!legal || !may_ask_more(b))
                o->error_code = ERR_UNKNOWN_SERVER_ERROR;
            else if (view_partition(view_current(), topic->name, o->partition_index) == NULL)
                o->error_code = ERR_UNKNOWN_TOPIC_OR_PARTITION;
            else
                zk_get(b, offset_path(&path, group, topic->name, o->partition_index), false)->owner = o;
        }
    }
    strbuf_deinit(&path);
    submit(f->request, b);
}
