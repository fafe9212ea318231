/* The way of Kafka before 2.4: the controller takes what stands in /admin/reassign_partitions. */
#include <inttypes.h>

#include "controller/admin.h"
#include "tools/kit/zk_nodes.h"
#include "tools/reassign/reassign.h"

struct by_znodes {
    struct reassign_backend base;
    struct zk_session *session;
};

static struct zk_session *session_of(struct reassign_backend *b)
{
    return CONTAINER_OF(b, struct by_znodes, base)->session;
}

/* ---- How it is ---- */

static bool decode_topics(struct reassign_backend *b, const struct zk_batch *batch, const struct str *topics,
                          int32_t count, struct placements *out, struct fail *fail)
{
    int32_t parts = 0;
    struct topic_znode *found = ARENA_ARRAY(&b->arena, struct topic_znode, count + 1);
    const struct zk_op *read;
    ZK_OWNED_FOREACH (batch, read) {
        const struct str *topic = read->owner;
        struct topic_znode *z = &found[topic - topics];
        const char *name = arena_cstr(&b->arena, *topic);
        bool there;
        if (!zk_nodes_read(read, &there, fail))
            return false;
        if (!there)
            continue;
        if (!topic_decode(&b->arena, name, read->value, z))
            return fail_set(fail, "The znode of topic %s cannot be read", name);
        parts += z->partition_count;
    }
    *out = (struct placements){ARENA_ARRAY(&b->arena, struct placement, parts + 1), 0};
    for (int32_t i = 0; i < count; i++)
        for (int32_t p = 0; p < found[i].partition_count; p++)
            out->v[out->n++] = (struct placement){
                .topic = topics[i], .partition = topic_number(&found[i], p), .replicas = found[i].replicas[p]};
    placements_sort(out);
    return true;
}

static bool reassign_describe_by_znodes(struct reassign_backend *b, const struct str *topics, int32_t count,
                                        struct placements *out, struct fail *fail)
{
    char path[ZNODE_PATH_ROOM];
    for (int32_t i = 0; i < count; i++) {
        struct str problem = topic_name_problem(&b->arena, topics[i]);
        if (problem.p != NULL)
            return fail_set(fail, "%.*s", STR_ARGS(problem));
    }
    struct zk_batch *batch = zk_session_batch(session_of(b));
    for (int32_t i = 0; i < count; i++)
        zk_get(batch, topic_path(path, arena_cstr(&b->arena, topics[i])), false)->owner = (void *)(uintptr_t)&topics[i];
    if (count > 0)
        zk_session_run(session_of(b), batch);
    bool ok = decode_topics(b, batch, topics, count, out, fail);
    zk_batch_free(batch);
    return ok;
}

static bool brokers_by_znodes(struct reassign_backend *b, struct registration **out, int32_t *count, struct fail *fail)
{
    return zk_nodes_brokers(session_of(b), &b->arena, out, count, fail);
}

static bool ongoing_by_znodes(struct reassign_backend *b, struct placements *out, struct fail *fail)
{
    struct partition_list_znode list = {0};
    struct zk_batch *batch = zk_session_batch(session_of(b));
    zk_get(batch, ZNODE_REASSIGN, false);
    zk_session_run(session_of(b), batch);
    bool there, ok = zk_nodes_read(batch->first, &there, fail);
    if (ok && there && !partition_list_decode(&b->arena, ZNODE_REASSIGN, batch->first->value, &list))
        ok = fail_set(fail, "The znode " ZNODE_REASSIGN " cannot be read");
    zk_batch_free(batch);
    *out = (struct placements){ARENA_ARRAY(&b->arena, struct placement, list.count + 1), list.count};
    for (int32_t i = 0; i < list.count; i++)
        out->v[i] = (struct placement){.topic = str_of(list.entries[i].topic),
                                       .partition = list.entries[i].partition,
                                       .replicas = list.entries[i].replicas};
    placements_sort(out);
    return ok;
}

/* ---- Changes ---- */

static bool start_by_znodes(struct reassign_backend *b, struct placements *targets, struct fail *fail)
{
    struct partition_list_znode list = {ARENA_ARRAY(&b->arena, struct topic_partition_entry, targets->n + 1),
                                        targets->n};
    for (int32_t i = 0; i < targets->n; i++)
        list.entries[i] = (struct topic_partition_entry){.topic = arena_cstr(&b->arena, targets->v[i].topic),
                                                         .partition = targets->v[i].partition,
                                                         .replicas = targets->v[i].replicas};
    struct zk_batch *batch = zk_session_batch(session_of(b));
    zk_create(batch, ZNODE_REASSIGN, partition_list_encode(&batch->arena, &list, true), ZK_PERSISTENT);
    zk_session_run(session_of(b), batch);
    bool ok = batch->first->result == ZK_OK;
    zk_batch_free(batch);
    return ok || fail_set(fail, "ZooKeeper refused to create " ZNODE_REASSIGN);
}

static const struct config_pair *reassign_by_znodes_find_pair(const struct config_pair *pairs, int32_t count,
                                                              const char *key)
{
    for (int32_t i = 0; i < count; i++)
        if (strcmp(pairs[i].key, key) == 0)
            return &pairs[i];
    return NULL;
}

/* What is as it should be is left alone: each write makes all brokers read. */
static bool change_one(struct reassign_backend *b, const struct config_change *c, struct fail *fail)
{
    struct config_znode old, new = {0};
    bool there, changed = false;
    const char *type = c->topic.p != NULL ? "topics" : "brokers",
               *name = c->topic.p != NULL ? arena_cstr(&b->arena, c->topic)
                                          : arena_printf(&b->arena, "%" PRId32, c->broker).p;
    if (!zk_nodes_read_config(session_of(b), &b->arena, type, name, &old, &there, fail))
        return false;
    new.entries = ARENA_ARRAY(&b->arena, struct config_pair, old.count + c->pair_count + 1);
    for (int32_t i = 0; i < old.count; i++)
        if (reassign_by_znodes_find_pair(c->pairs, c->pair_count, old.entries[i].key) == NULL)
            new.entries[new.count++] = old.entries[i];
        else
            changed = true;
    for (int32_t i = 0; i < c->pair_count; i++)
        if (c->pairs[i].value != NULL) {
            new.entries[new.count++] = c->pairs[i];
            changed = true;
        }
    return !changed || zk_nodes_write_config(session_of(b), type, name, &new, there, fail);
}

static bool reassign_configure_by_znodes(struct reassign_backend *b, const struct config_change *changes, int32_t count,
                                         struct fail *fail)
{
    bool ok = true;
    for (int32_t i = 0; i < count; i++)
        ok &= change_one(b, &changes[i], ok ? fail : NULL);
    return ok;
}

/* ---- Life ---- */

static void reassign_close_by_znodes(struct reassign_backend *b)
{
    zk_session_close(session_of(b));
    arena_deinit(&b->arena);
    free(CONTAINER_OF(b, struct by_znodes, base));
}

struct reassign_backend *reassign_by_znodes(const char *connect, struct fail *fail)
{
    struct zk_session *session = zk_session_open(connect, NULL, fail);
    if (session == NULL)
        return NULL;
    struct by_znodes *self = xcalloc(1, sizeof(*self));
    self->session = session;
    self->base = (struct reassign_backend){.describe = reassign_describe_by_znodes,
                                           .brokers = brokers_by_znodes,
                                           .ongoing = ongoing_by_znodes,
                                           .start = start_by_znodes,
                                           .configure = reassign_configure_by_znodes,
                                           .close = reassign_close_by_znodes};
    return &self->base;
}
