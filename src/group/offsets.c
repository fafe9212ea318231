/* Committed offsets: commit, fetch, expiry (KIP-211). */
#include <inttypes.h>

#include "base/logger.h"
#include "group/group_internal.h"
#include "protocol/msg/offset_fetch.h"

/* ---- The table ---- */

bool offset_id_make(struct str topic, int32_t partition, struct offset_id *out)
{
    if (topic.len <= 0 || topic.len >= (int32_t)sizeof(out->topic))
        return false;
    *out = (struct offset_id){.partition = partition};
    memcpy(out->topic, topic.p, (size_t)topic.len);
    return true;
}

void offset_put(struct group *g, const struct offset_id *id, int64_t offset, int32_t leader_epoch, struct str metadata,
                int64_t commit_ms, int64_t expire_ms)
{
    struct offset_entry *e;
    HASH_FIND(hh, g->offsets, id, sizeof(*id), e);
    if (e == NULL) {
        e = xcalloc(1, sizeof(*e));
        e->id = *id;
        HASH_ADD(hh, g->offsets, id, sizeof(e->id), e);
    }
    free(e->metadata);
    e->metadata = metadata.p ? str_dup(metadata) : xstrdup("");
    e->offset = offset;
    e->leader_epoch = leader_epoch;
    e->commit_ms = commit_ms;
    e->expire_ms = expire_ms;
}

void offset_drop(struct group *g, struct offset_entry *e)
{
    HASH_DEL(g->offsets, e);
    free(e->metadata);
    free(e);
}

/* ---- Commit ---- */

struct commit {
    struct group_append append;
    struct group_coordinator *coordinator;
    struct group_call *call;
    const struct offset_commit_request *request;
    struct offset_commit_response *response;
    int64_t now, expire_ms;
};

static enum kafka_error commit_error(enum kafka_error error)
{
    switch (error) {
    case ERR_UNKNOWN_TOPIC_OR_PARTITION:
    case ERR_NOT_ENOUGH_REPLICAS:
    case ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND:
    case ERR_REQUEST_TIMED_OUT:
        return ERR_COORDINATOR_NOT_AVAILABLE;
    case ERR_NOT_LEADER_OR_FOLLOWER:
    case ERR_KAFKA_STORAGE_ERROR:
        return ERR_NOT_COORDINATOR;
    case ERR_MESSAGE_TOO_LARGE:
    case ERR_RECORD_LIST_TOO_LARGE:
        return ERR_INVALID_COMMIT_OFFSET_SIZE;
    default:
        return error;
    }
}

/* Calls `each` for every partition that has not been refused; returns how many there were. */
static int each_commit(struct commit *c,
                       void (*each)(struct commit *c, struct str topic,
                                    const struct offset_commit_request_partition *in,
                                    struct offset_commit_response_partition *out, void *arg),
                       void *arg)
{
    int n = 0;
    for (int32_t t = 0; t < c->request->topics.len; t++) {
        const struct offset_commit_request_topic *topic = &c->request->topics.items[t];
        for (int32_t i = 0; i < topic->partitions.len; i++) {
            struct offset_commit_response_partition *out = &c->response->topics.items[t].partitions.items[i];
            if (out->error_code != ERR_NONE)
                continue;
            each(c, topic->name, &topic->partitions.items[i], out, arg);
            n++;
        }
    }
    return n;
}

static void set_error(struct commit *c, struct str topic, const struct offset_commit_request_partition *in,
                      struct offset_commit_response_partition *out, void *arg)
{
    (void)c;
    (void)topic;
    (void)in;
    out->error_code = *(const enum kafka_error *)arg;
}

static int64_t commit_time(const struct commit *c, const struct offset_commit_request_partition *in)
{
    return c->call->client.version == 1 && in->commit_timestamp >= 0 ? in->commit_timestamp : c->now;
}

static void add_record(struct commit *c, struct str topic, const struct offset_commit_request_partition *in,
                       struct offset_commit_response_partition *out, void *arg)
{
    struct group *g = group_find(c->coordinator, c->request->group_id);
    struct offset_entry e = {.offset = in->committed_offset,
                             .leader_epoch = in->committed_leader_epoch,
                             .commit_ms = commit_time(c, in),
                             .expire_ms = c->expire_ms};
    if (in->committed_metadata.len > c->coordinator->options.config->offset_metadata_max_bytes) {
        out->error_code = ERR_OFFSET_METADATA_TOO_LARGE;
        return;
    }
    if (!offset_id_make(topic, in->partition_index, &e.id)) {
        out->error_code = ERR_UNKNOWN_TOPIC_OR_PARTITION;
        return;
    }
    e.metadata = in->committed_metadata.p ? str_dup(in->committed_metadata) : xstrdup("");
    record_offset(arg, g, &e, c->now);
    free(e.metadata);
}

static void keep(struct commit *c, struct str topic, const struct offset_commit_request_partition *in,
                 struct offset_commit_response_partition *out, void *arg)
{
    struct group *g = arg;
    struct offset_id id;
    (void)out;
    if (offset_id_make(topic, in->partition_index, &id))
        offset_put(g, &id, in->committed_offset, in->committed_leader_epoch, in->committed_metadata, commit_time(c, in),
                   c->expire_ms);
}

static void on_stored(struct group_append *append, enum kafka_error error)
{
    struct commit *c = CONTAINER_OF(append, struct commit, append);
    struct group *g = group_find(c->coordinator, c->request->group_id);
    error = commit_error(error);
    if (error == ERR_NONE && g == NULL)
        error = group_check(c->coordinator, c->request->group_id, true);
    if (error == ERR_NONE && g != NULL)
        each_commit(c, keep, g);
    else if (error != ERR_NONE)
        each_commit(c, set_error, &error);
    c->call->done(c->call);
}

static enum kafka_error check_committer(struct group *g, const struct offset_commit_request *request)
{
    int32_t generation = request->generation_id_or_member_epoch;
    if (generation < 0 && g->state == GROUP_EMPTY)
        return ERR_NONE; /* offsets kept for somebody who assigns partitions itself */
    if (generation < 0 && request->member_id.len == 0 && request->group_instance_id.p == NULL)
        return ERR_UNKNOWN_MEMBER_ID;
    enum kafka_error error = member_check(g, request->member_id, request->group_instance_id);
    if (error != ERR_NONE)
        return error;
    if (generation != g->generation)
        return ERR_ILLEGAL_GENERATION;
    if (g->state == GROUP_COMPLETING)
        return ERR_REBALANCE_IN_PROGRESS;
    member_keep_alive(member_find(g, request->member_id));
    return ERR_NONE;
}

void group_commit(struct group_coordinator *gc, const struct offset_commit_request *request,
                  struct offset_commit_response *response, struct group_call *call)
{
    struct commit *c = ARENA_NEW(call->arena, struct commit);
    *c = (struct commit){{on_stored}, gc, call, request, response, group_now(gc), -1};
    enum kafka_error error = group_check(gc, request->group_id, true);
    struct group *g = error == ERR_NONE ? group_find(gc, request->group_id) : NULL;
    if (error == ERR_NONE && g == NULL && request->generation_id_or_member_epoch >= 0)
        error = ERR_ILLEGAL_GENERATION;
    else if (error == ERR_NONE && g == NULL)
        g = group_make(gc, request->group_id);
    if (error == ERR_NONE)
        error = check_committer(g, request);
    if (error != ERR_NONE) {
        each_commit(c, set_error, &error);
        call->done(call);
        return;
    }
    if (call->client.version >= 2 && call->client.version <= 4 && request->retention_time_ms >= 0)
        c->expire_ms = c->now + request->retention_time_ms;
    struct batch_builder b;
    batch_builder_init(&b, 0);
    b.head.base_sequence = 0; /* as Apache writes them, although there is no producer id */
    each_commit(c, add_record, &b);
    if (b.head.count > 0) {
        group_append(g, &b, &c->append);
        return;
    }
    batch_builder_deinit(&b);
    call->done(call);
}

/* ---- Fetch ---- */

static const struct offset_entry *find_offset(const struct group *g, struct str topic, int32_t partition)
{
    struct offset_id id;
    struct offset_entry *e = NULL;
    if (g != NULL && offset_id_make(topic, partition, &id))
        HASH_FIND(hh, g->offsets, &id, sizeof(id), e);
    return e;
}

struct found_offset {
    int64_t offset;
    int32_t leader_epoch;
    struct str metadata;
};

static struct found_offset found(struct arena *a, const struct offset_entry *e)
{
    if (e == NULL)
        return (struct found_offset){-1, -1, STR_LIT("")};
    return (struct found_offset){e->offset, e->leader_epoch, arena_str(a, str_of(e->metadata))};
}

/* The shapes of one group (to version 7) and of several (from 8) differ in their names only. */
#define FILL_PARTITION(o, index, x, error)              \
    do {                                                \
        (o)->partition_index = (index);                 \
        (o)->committed_offset = (x).offset;             \
        (o)->committed_leader_epoch = (x).leader_epoch; \
        (o)->metadata = (x).metadata;                   \
        (o)->error_code = (error);                      \
    } while (0)

#define FILL_ASKED(prefix, a, g, in_topics, out_topics, error)                                                       \
    do {                                                                                                             \
        ARRAY_MAKE((a), (out_topics), MAX((in_topics).len, 0));                                                      \
        for (int32_t t_ = 0; t_ < (in_topics).len; t_++) {                                                           \
            (out_topics).items[t_].name = (in_topics).items[t_].name;                                                \
            ARRAY_MAKE((a), (out_topics).items[t_].partitions, MAX((in_topics).items[t_].partition_indexes.len, 0)); \
            for (int32_t i_ = 0; i_ < (in_topics).items[t_].partition_indexes.len; i_++) {                           \
                int32_t index_ = (in_topics).items[t_].partition_indexes.items[i_];                                  \
                struct found_offset x_ = found((a), find_offset((g), (in_topics).items[t_].name, index_));           \
                FILL_PARTITION(&(out_topics).items[t_].partitions.items[i_], index_, x_, (error));                   \
            }                                                                                                        \
        }                                                                                                            \
    } while (0)

/* All offsets of the group, a topic entry for each: clients put them together. */
#define FILL_ALL(a, g, out_topics)                                                                       \
    do {                                                                                                 \
        ARRAY_MAKE((a), (out_topics), (g) ? (int32_t)HASH_COUNT((g)->offsets) : 0);                      \
        (out_topics).len = 0;                                                                            \
        for (const struct offset_entry *e_ = (g) ? (g)->offsets : NULL; e_ != NULL; e_ = e_->hh.next) {  \
            int32_t n_ = (out_topics).len++;                                                             \
            struct found_offset x_ = found((a), e_);                                                     \
            (out_topics).items[n_].name = arena_str((a), str_of(e_->id.topic));                          \
            ARRAY_MAKE((a), (out_topics).items[n_].partitions, 1);                                       \
            FILL_PARTITION(&(out_topics).items[n_].partitions.items[0], e_->id.partition, x_, ERR_NONE); \
        }                                                                                                \
    } while (0)

static void fetch_one(struct group_coordinator *gc, const struct offset_fetch_request *request,
                      struct offset_fetch_response *response, struct group_call *call)
{
    enum kafka_error error = group_check(gc, request->group_id, true);
    const struct group *g = error == ERR_NONE ? group_find(gc, request->group_id) : NULL;
    response->error_code = error;
    if (request->topics.len < 0 && error == ERR_NONE) {
        FILL_ALL(call->arena, g, response->topics);
    } else {
        enum kafka_error each = call->client.version < 2 ? error : ERR_NONE;
        FILL_ASKED(offset_fetch, call->arena, g, request->topics, response->topics, each);
        if (error != ERR_NONE && call->client.version >= 2)
            response->topics.len = 0;
    }
}

static void fetch_several(struct group_coordinator *gc, const struct offset_fetch_request *request,
                          struct offset_fetch_response *response, struct group_call *call)
{
    ARRAY_MAKE(call->arena, response->groups, MAX(request->groups.len, 0));
    for (int32_t i = 0; i < request->groups.len; i++) {
        const struct offset_fetch_request_group *in = &request->groups.items[i];
        struct offset_fetch_response_group *o = &response->groups.items[i];
        offset_fetch_response_group_init(o);
        o->group_id = in->group_id;
        o->error_code = group_check(gc, in->group_id, true);
        const struct group *g = o->error_code == ERR_NONE ? group_find(gc, in->group_id) : NULL;
        if (o->error_code != ERR_NONE)
            ARRAY_MAKE(call->arena, o->topics, 0);
        else if (in->topics.len < 0)
            FILL_ALL(call->arena, g, o->topics);
        else
            FILL_ASKED(offset_fetch, call->arena, g, in->topics, o->topics, ERR_NONE);
    }
}

void group_fetch_offsets(struct group_coordinator *gc, const struct offset_fetch_request *request,
                         struct offset_fetch_response *response, struct group_call *call)
{
    if (call->client.version >= 8)
        fetch_several(gc, request, response, call);
    else
        fetch_one(gc, request, response, call);
    call->done(call);
}

/* ---- Expiry ---- */

/* When the offset's time began: with the last member's leaving, or, without members ever, with the commit. */
static bool is_expired(const struct group *g, const struct offset_entry *e, int64_t now)
{
    int64_t retention = (int64_t)g->coordinator->options.config->offsets_retention_minutes * 60000;
    if (e->expire_ms >= 0)
        return now >= e->expire_ms;
    int64_t since = g->protocol_type != NULL ? MAX(g->state_since, e->commit_ms) : e->commit_ms;
    return now - since >= retention;
}

struct expiry {
    struct group_append append;
    char *id;
};

static void on_expired(struct group_append *append, enum kafka_error error)
{
    struct expiry *x = CONTAINER_OF(append, struct expiry, append);
    if (error != ERR_NONE) /* they come back when the group is loaded, and expire again */
        log_warn("Tombstones for group %s could not be written: %s", x->id, error_name(error));
    free(x->id);
    free(x);
}

static void expire_group(struct group *g, int64_t now)
{
    struct offset_entry *e, *next;
    struct batch_builder b;
    if (g->state != GROUP_EMPTY || g->pending != NULL)
        return;
    batch_builder_init(&b, 0);
    HASH_ITER (hh, g->offsets, e, next) {
        if (!is_expired(g, e, now))
            continue;
        record_offset_gone(&b, g, &e->id, now);
        offset_drop(g, e);
    }
    bool gone = g->offsets == NULL;
    if (gone && g->generation > 0)
        record_group_gone(&b, g, now);
    if (b.head.count > 0) {
        struct expiry *x = xcalloc(1, sizeof(*x));
        *x = (struct expiry){{on_expired}, xstrdup(g->id)};
        group_append(g, &b, &x->append);
    } else {
        batch_builder_deinit(&b);
    }
    if (gone)
        group_forget(g);
}

void offsets_expire(struct timer *t)
{
    struct group_coordinator *gc = CONTAINER_OF(t, struct group_coordinator, expiry);
    struct group *g, *next;
    HASH_ITER (hh, gc->groups, g, next)
        if (group_check(gc, str_of(g->id), true) == ERR_NONE)
            expire_group(g, group_now(gc));
    timer_start(t, gc->options.config->offsets_retention_check_interval_ms);
}
