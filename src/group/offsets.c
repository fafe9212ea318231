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

void offset_value_free(struct offset_value *v)
{
    free((char *)(uintptr_t)v->metadata.p);
}

void offset_value_assign(struct offset_value *to, const struct offset_value *from)
{
    char *metadata = from->metadata.p ? str_dup(from->metadata) : xstrdup("");
    offset_value_free(to);
    *to = *from;
    to->metadata = (struct str){metadata, from->metadata.len};
}

void offset_put(struct group *g, const struct offset_id *id, const struct offset_value *v)
{
    struct offset_entry *e;
    HASH_FIND(hh, g->offsets, id, sizeof(*id), e);
    if (e != NULL && e->value.at > v->at)
        return;
    if (e == NULL) {
        e = xcalloc(1, sizeof(*e));
        e->id = *id;
        HASH_ADD(hh, g->offsets, id, sizeof(e->id), e);
    }
    offset_value_assign(&e->value, v);
}

void offset_drop(struct group *g, struct offset_entry *e)
{
    HASH_DEL(g->offsets, e);
    offset_value_free(&e->value);
    free(e);
}

/* ---- Commit ---- */

struct commit {
    struct state_append append;
    struct group_coordinator *coordinator;
    struct group_transaction txn; /* producer_id NO_PRODUCER_ID: none */
    struct group_call *call;
    const struct offset_commit_request *request;
    struct offset_commit_response *response;
    int64_t now, expire_ms;
};

static enum kafka_error commit_error(enum kafka_error error)
{
    bool too_large = error == ERR_MESSAGE_TOO_LARGE || error == ERR_RECORD_LIST_TOO_LARGE;
    return too_large ? ERR_INVALID_COMMIT_OFFSET_SIZE : state_append_error(error);
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

/* False if the partition has a name that no topic can have. */
static bool value_of(const struct commit *c, struct str topic, const struct offset_commit_request_partition *in,
                     struct offset_id *id, struct offset_value *v)
{
    bool has_time = c->call->client.version == 1 && in->commit_timestamp >= 0;
    *v = (struct offset_value){.offset = in->committed_offset,
                               .leader_epoch = in->committed_leader_epoch,
                               .commit_ms = has_time ? in->commit_timestamp : c->now,
                               .expire_ms = c->expire_ms,
                               .at = c->append.offset,
                               .metadata = in->committed_metadata};
    return offset_id_make(topic, in->partition_index, id);
}

static bool is_transactional(const struct commit *c)
{
    return c->txn.producer_id != NO_PRODUCER_ID;
}

static void add_record(struct commit *c, struct str topic, const struct offset_commit_request_partition *in,
                       struct offset_commit_response_partition *out, void *arg)
{
    struct group *g = group_find(c->coordinator, c->request->group_id);
    struct offset_id id;
    struct offset_value v;
    if (in->committed_metadata.len > c->coordinator->options.config->offset_metadata_max_bytes) {
        out->error_code = ERR_OFFSET_METADATA_TOO_LARGE;
        return;
    }
    if (!value_of(c, topic, in, &id, &v)) {
        out->error_code = ERR_UNKNOWN_TOPIC_OR_PARTITION;
        return;
    }
    if (is_transactional(c))
        txn_offset_put(g, c->txn.producer_id, &id, &v);
    record_offset(arg, g, &id, &v, c->now);
}

static void keep(struct commit *c, struct str topic, const struct offset_commit_request_partition *in,
                 struct offset_commit_response_partition *out, void *arg)
{
    struct group *g = arg;
    struct offset_id id;
    struct offset_value v;
    (void)out;
    if (!value_of(c, topic, in, &id, &v))
        return;
    if (!is_transactional(c)) {
        offset_put(g, &id, &v);
        return;
    }
    /* If the transaction has ended meanwhile, its marker may be before this in the log: it is not taken up again. */
    struct txn_offset *o = txn_offset_find(g, c->txn.producer_id, &id);
    if (o != NULL && o->value.offset == v.offset)
        o->value.at = v.at;
}

static void give_up(struct commit *c, struct str topic, const struct offset_commit_request_partition *in,
                    struct offset_commit_response_partition *out, void *arg)
{
    struct group *g = arg;
    struct offset_id id;
    (void)out;
    struct txn_offset *o =
        offset_id_make(topic, in->partition_index, &id) ? txn_offset_find(g, c->txn.producer_id, &id) : NULL;
    if (o != NULL)
        txn_offset_drop(o);
}

static void on_stored(struct state_append *append, enum kafka_error error)
{
    struct commit *c = CONTAINER_OF(append, struct commit, append);
    struct group *g = group_find(c->coordinator, c->request->group_id);
    error = commit_error(error);
    if (error == ERR_NONE && g == NULL)
        error = group_check(c->coordinator, c->request->group_id, true);
    if (error == ERR_NONE && g != NULL)
        each_commit(c, keep, g);
    if (error != ERR_NONE && g != NULL && is_transactional(c))
        each_commit(c, give_up, g);
    if (error != ERR_NONE)
        each_commit(c, set_error, &error);
    c->call->done(c->call);
}

/* Old clients say nothing of the group in a transaction: then there is nothing to check (KIP-447). */
static enum kafka_error check_transactional_committer(const struct group *g,
                                                      const struct offset_commit_request *request)
{
    int32_t generation = request->generation_id_or_member_epoch;
    if (generation < 0 &&
        (g->state == GROUP_EMPTY || (request->member_id.len == 0 && request->group_instance_id.p == NULL)))
        return ERR_NONE;
    enum kafka_error error = member_check(g, request->member_id, request->group_instance_id);
    return error == ERR_NONE && generation != g->generation ? ERR_ILLEGAL_GENERATION : error;
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

static enum kafka_error find_group(const struct commit *c, struct group **g)
{
    const struct offset_commit_request *request = c->request;
    enum kafka_error error = group_check(c->coordinator, request->group_id, true);
    if (error != ERR_NONE)
        return error;
    *g = group_find(c->coordinator, request->group_id);
    if (*g == NULL && request->generation_id_or_member_epoch >= 0 && !is_transactional(c))
        return ERR_ILLEGAL_GENERATION;
    if (*g == NULL)
        *g = group_make(c->coordinator, request->group_id);
    return is_transactional(c) ? check_transactional_committer(*g, request) : check_committer(*g, request);
}

static void begin_batch(const struct commit *c, struct batch_builder *b)
{
    batch_builder_init(b, is_transactional(c) ? ATTR_TRANSACTIONAL : 0);
    b->head.base_sequence = 0; /* as Apache writes them, although nobody counts them */
    if (!is_transactional(c))
        return;
    b->head.producer_id = c->txn.producer_id;
    b->head.producer_epoch = c->txn.producer_epoch;
}

static void store(struct commit *c)
{
    struct batch_builder b;
    struct group *g;
    enum kafka_error error = find_group(c, &g);
    if (error != ERR_NONE) {
        each_commit(c, set_error, &error);
        c->call->done(c->call);
        return;
    }
    begin_batch(c, &b);
    each_commit(c, add_record, &b);
    if (b.head.count > 0) {
        group_append(g, &b, &c->append);
        return;
    }
    batch_builder_deinit(&b);
    c->call->done(c->call);
}

static struct commit *commit_new(struct group_coordinator *gc, const struct offset_commit_request *request,
                                 struct offset_commit_response *response, struct group_call *call)
{
    struct commit *c = ARENA_NEW(call->arena, struct commit);
    *c = (struct commit){.append = {.done = on_stored, .offset = -1},
                         .coordinator = gc,
                         .txn = {.producer_id = NO_PRODUCER_ID},
                         .call = call,
                         .request = request,
                         .response = response,
                         .now = group_now(gc),
                         .expire_ms = -1};
    return c;
}

void group_commit(struct group_coordinator *gc, const struct offset_commit_request *request,
                  struct offset_commit_response *response, struct group_call *call)
{
    struct commit *c = commit_new(gc, request, response, call);
    if (call->client.version >= 2 && call->client.version <= 4 && request->retention_time_ms >= 0)
        c->expire_ms = c->now + request->retention_time_ms;
    store(c);
}

void group_commit_in_transaction(struct group_coordinator *gc, const struct group_transaction *txn,
                                 const struct offset_commit_request *request, struct offset_commit_response *response,
                                 struct group_call *call)
{
    struct commit *c = commit_new(gc, request, response, call);
    c->txn = *txn;
    c->append.guard = txn->guard;
    store(c);
}

/* ---- Fetch ---- */

struct found_offset {
    enum kafka_error error;
    int64_t offset;
    int32_t leader_epoch;
    struct str metadata;
};

/* `e` NULL: nothing was committed. */
static struct found_offset found(struct arena *a, const struct offset_entry *e)
{
    if (e == NULL)
        return (struct found_offset){ERR_NONE, -1, -1, STR_LIT("")};
    return (struct found_offset){ERR_NONE, e->value.offset, e->value.leader_epoch, arena_str(a, e->value.metadata)};
}

/* `stable`: not while an open transaction may change it (KIP-447). */
static struct found_offset find_offset(struct arena *a, const struct group *g, struct str topic, int32_t partition,
                                       bool stable)
{
    struct offset_id id;
    struct offset_entry *e = NULL;
    if (g == NULL || !offset_id_make(topic, partition, &id))
        return found(a, NULL);
    if (stable && txn_offset_is_open(g, &id))
        return (struct found_offset){ERR_UNSTABLE_OFFSET_COMMIT, -1, -1, STR_LIT("")};
    HASH_FIND(hh, g->offsets, &id, sizeof(id), e);
    return found(a, e);
}

/* The shapes of one group (to version 7) and of several (from 8) differ in their names only. */
#define FILL_PARTITION(o, index, x)                     \
    do {                                                \
        (o)->partition_index = (index);                 \
        (o)->committed_offset = (x).offset;             \
        (o)->committed_leader_epoch = (x).leader_epoch; \
        (o)->metadata = (x).metadata;                   \
        (o)->error_code = (x).error;                    \
    } while (0)

#define FILL_ASKED(a, g, in_topics, out_topics, stable)                                                              \
    do {                                                                                                             \
        ARRAY_MAKE((a), (out_topics), MAX((in_topics).len, 0));                                                      \
        for (int32_t t_ = 0; t_ < (in_topics).len; t_++) {                                                           \
            struct str name_ = (in_topics).items[t_].name;                                                           \
            (out_topics).items[t_].name = name_;                                                                     \
            ARRAY_MAKE((a), (out_topics).items[t_].partitions, MAX((in_topics).items[t_].partition_indexes.len, 0)); \
            for (int32_t i_ = 0; i_ < (in_topics).items[t_].partition_indexes.len; i_++) {                           \
                int32_t index_ = (in_topics).items[t_].partition_indexes.items[i_];                                  \
                struct found_offset x_ = find_offset((a), (g), name_, index_, (stable));                             \
                FILL_PARTITION(&(out_topics).items[t_].partitions.items[i_], index_, x_);                            \
            }                                                                                                        \
        }                                                                                                            \
    } while (0)

/* All offsets of the group, a topic entry for each: clients put them together. */
#define FILL_ALL(a, g, out_topics, stable)                                                              \
    do {                                                                                                \
        ARRAY_MAKE((a), (out_topics), (g) ? (int32_t)HASH_COUNT((g)->offsets) : 0);                     \
        (out_topics).len = 0;                                                                           \
        for (const struct offset_entry *e_ = (g) ? (g)->offsets : NULL; e_ != NULL; e_ = e_->hh.next) { \
            int32_t n_ = (out_topics).len++;                                                            \
            struct str name_ = arena_str((a), str_of(e_->id.topic));                                    \
            struct found_offset x_ = find_offset((a), (g), name_, e_->id.partition, (stable));          \
            (out_topics).items[n_].name = name_;                                                        \
            ARRAY_MAKE((a), (out_topics).items[n_].partitions, 1);                                      \
            FILL_PARTITION(&(out_topics).items[n_].partitions.items[0], e_->id.partition, x_);          \
        }                                                                                               \
    } while (0)

/* Old clients look for the error of the whole in each partition. */
static void spread_error(struct offset_fetch_response *response, enum kafka_error error)
{
    for (int32_t t = 0; t < response->topics.len; t++)
        for (int32_t i = 0; i < response->topics.items[t].partitions.len; i++)
            response->topics.items[t].partitions.items[i].error_code = error;
}

static void fetch_one(struct group_coordinator *gc, const struct offset_fetch_request *request,
                      struct offset_fetch_response *response, struct group_call *call)
{
    enum kafka_error error = group_check(gc, request->group_id, true);
    const struct group *g = error == ERR_NONE ? group_find(gc, request->group_id) : NULL;
    response->error_code = error;
    if (request->topics.len < 0 && error == ERR_NONE) {
        FILL_ALL(call->arena, g, response->topics, request->require_stable);
        return;
    }
    FILL_ASKED(call->arena, g, request->topics, response->topics, request->require_stable);
    if (error != ERR_NONE && call->client.version < 2)
        spread_error(response, error);
    else if (error != ERR_NONE)
        response->topics.len = 0;
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
            FILL_ALL(call->arena, g, o->topics, request->require_stable);
        else
            FILL_ASKED(call->arena, g, in->topics, o->topics, request->require_stable);
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
    if (e->value.expire_ms >= 0)
        return now >= e->value.expire_ms;
    int64_t since = g->protocol_type != NULL ? MAX(g->state_since, e->value.commit_ms) : e->value.commit_ms;
    return now - since >= retention;
}

struct expiry {
    struct state_append append;
    char *id;
};

static void on_expired(struct state_append *append, enum kafka_error error)
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
        if (!is_expired(g, e, now) || txn_offset_is_open(g, &e->id))
            continue;
        record_offset_gone(&b, g, &e->id, now);
        offset_drop(g, e);
    }
    bool gone = g->offsets == NULL && g->txn_offsets == NULL;
    if (gone && g->generation > 0)
        record_group_gone(&b, g, now);
    if (b.head.count > 0) {
        struct expiry *x = xcalloc(1, sizeof(*x));
        *x = (struct expiry){{.done = on_expired}, xstrdup(g->id)};
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
