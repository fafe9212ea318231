/*
 * OffsetCommit and TxnOffsetCommit: who may commit, the records, and what of them is kept when they are stored.
 *
 * An offset counts once its record is committed. Until then it is pending, which keeps it and its group from expiring
 * and from being called stable. In a transaction it is kept aside until the marker is there.
 */
#include <inttypes.h>

#include "base/logger.h"
#include "group/group_internal.h"

struct commit {
    struct state_append append;
    struct group_coordinator *coordinator;
    struct group_transaction txn; /* producer_id NO_PRODUCER_ID: none */
    struct group_call *call;
    const struct offset_commit_request *request;
    struct offset_commit_response *response;
    int64_t number; /* of all */
    int64_t now, expire_ms;
    int64_t group; /* its number */
};

enum kafka_error group_commit_error(enum kafka_error error)
{
    switch (error) {
    case ERR_NETWORK_EXCEPTION: /* which clients do not expect here; this makes them try again */
        return ERR_COORDINATOR_LOAD_IN_PROGRESS;
    case ERR_MESSAGE_TOO_LARGE:
    case ERR_RECORD_LIST_TOO_LARGE:
        return ERR_INVALID_COMMIT_OFFSET_SIZE;
    case ERR_REQUEST_TIMED_OUT: /* the coordinator is there, and need not be looked for */
        return error;
    default:
        return state_append_error(error);
    }
}

/* Calls `each` for every partition that has not been refused; returns how many there were. */
static void each_commit(struct commit *c,
                        void (*each)(struct commit *c, struct str topic,
                                     const struct offset_commit_request_partition *in,
                                     struct offset_commit_response_partition *out, void *arg),
                        void *arg)
{
    for (int32_t t = 0; t < c->request->topics.len; t++) {
        const struct offset_commit_request_topic *topic = &c->request->topics.items[t];
        for (int32_t i = 0; i < topic->partitions.len; i++) {
            struct offset_commit_response_partition *out = &c->response->topics.items[t].partitions.items[i];
            if (out->error_code == ERR_NONE)
                each(c, topic->name, &topic->partitions.items[i], out, arg);
        }
    }
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
static bool commit_value_of(const struct commit *c, struct str topic, const struct offset_commit_request_partition *in,
                            struct topic_key *id, struct offset_value *v)
{
    bool has_time = c->call->client.version == 1 && in->commit_timestamp >= 0;
    *v = (struct offset_value){.offset = in->committed_offset,
                               .leader_epoch = in->committed_leader_epoch,
                               .commit_ms = has_time ? in->commit_timestamp : c->now,
                               .expire_ms = c->expire_ms,
                               .at = c->append.offset,
                               .metadata = in->committed_metadata};
    return topic_key_make(topic, in->partition_index, id);
}

static bool is_transactional(const struct commit *c)
{
    return c->txn.producer_id != NO_PRODUCER_ID;
}

static void add_record(struct commit *c, struct str topic, const struct offset_commit_request_partition *in,
                       struct offset_commit_response_partition *out, void *arg)
{
    struct group *g = group_find(c->coordinator, c->request->group_id);
    struct topic_key id;
    struct offset_value v;
    if (str_utf16_length(in->committed_metadata) > c->coordinator->options.config->offset_metadata_max_bytes) {
        out->error_code = ERR_OFFSET_METADATA_TOO_LARGE;
        return;
    }
    if (!commit_value_of(c, topic, in, &id, &v)) {
        out->error_code = ERR_UNKNOWN_TOPIC_OR_PARTITION;
        return;
    }
    if (is_transactional(c))
        txn_offset_begin(g, c->txn.producer_id, &id, c->number);
    else
        pending_commit_put(g, &id, c);
    record_offset(arg, g, &id, &v, c->now);
}

/* Unless its partition was deleted meanwhile. */
static void commit_keep(struct commit *c, struct str topic, const struct offset_commit_request_partition *in,
                        struct offset_commit_response_partition *out, void *arg)
{
    struct group *g = arg;
    struct topic_key id;
    struct offset_value v;
    (void)out;
    if (!commit_value_of(c, topic, in, &id, &v))
        return;
    if (is_transactional(c))
        txn_offset_end(g, c->txn.producer_id, &id, c->number, &v);
    else if (pending_commit_find(g, &id) != NULL)
        offset_put(g, &id, &v);
}

static void commit_settle_offsets(struct commit *c, struct str topic, const struct offset_commit_request_partition *in,
                                  struct offset_commit_response_partition *out, void *arg)
{
    struct topic_key id;
    (void)out;
    if (topic_key_make(topic, in->partition_index, &id))
        pending_commit_over(arg, &id, c);
}

static void commit_give_up(struct commit *c, struct str topic, const struct offset_commit_request_partition *in,
                           struct offset_commit_response_partition *out, void *arg)
{
    struct group *g = arg;
    struct topic_key id;
    (void)out;
    if (topic_key_make(topic, in->partition_index, &id))
        txn_offset_end(g, c->txn.producer_id, &id, c->number, NULL);
}

/* The group that it was sent for: what was loaded since has seen it, or will, and what was deleted has it no more. */
static struct group *group_of(const struct commit *c)
{
    struct group *g = group_find(c->coordinator, c->request->group_id);
    return g != NULL && g->number == c->group ? g : NULL;
}

static void commit_on_stored(struct state_append *append, enum kafka_error error)
{
    struct commit *c = CONTAINER_OF(append, struct commit, append);
    struct group *g = group_of(c);
    error = group_commit_error(error);
    if (error == ERR_NONE && g == NULL)
        error = group_check(c->coordinator, c->request->group_id, true);
    if (error == ERR_NONE && g != NULL)
        each_commit(c, commit_keep, g);
    if (error != ERR_NONE && g != NULL && is_transactional(c))
        each_commit(c, commit_give_up, g);
    if (g != NULL)
        each_commit(c, commit_settle_offsets, g);
    if (error == ERR_NONE) /* of however many partitions: Kafka counts what is appended */
        window_record(&c->coordinator->metrics.happenings[GROUPS_COMMITS], 1);
    if (error != ERR_NONE)
        each_commit(c, set_error, &error);
    group_note_void(g); /* of what is not stored, or its partition was deleted */
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
    enum kafka_error error = group_check(c->coordinator, request->group_id, !is_transactional(c));
    if (error != ERR_NONE)
        return error;
    *g = group_find(c->coordinator, request->group_id);
    if (*g == NULL && request->generation_id_or_member_epoch >= 0 && !is_transactional(c))
        return ERR_ILLEGAL_GENERATION;
    if (*g == NULL)
        *g = group_make(c->coordinator, request->group_id);
    return is_transactional(c) ? check_transactional_committer(*g, request) : check_committer(*g, request);
}

static void warn_of_mixture(struct group *g, bool transactional)
{
    bool was_mixed = g->commits_seen == (COMMITS_OF_MEMBERS | COMMITS_IN_TRANSACTIONS);
    g->commits_seen |= transactional ? COMMITS_IN_TRANSACTIONS : COMMITS_OF_MEMBERS;
    if (!was_mixed && g->commits_seen == (COMMITS_OF_MEMBERS | COMMITS_IN_TRANSACTIONS))
        log_warn(
            "Group %.*s commits offsets both in transactions and outside of them: the later one counts, whichever it is",
            STR_ARGS(g->id));
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

static void commit_store(struct commit *c)
{
    struct batch_builder b;
    struct group *g = NULL;
    enum kafka_error error = find_group(c, &g);
    if (error != ERR_NONE) {
        group_note_void(g);
        each_commit(c, set_error, &error);
        c->call->done(c->call);
        return;
    }
    c->group = g->number;
    warn_of_mixture(g, is_transactional(c));
    begin_batch(c, &b);
    each_commit(c, add_record, &b);
    if (b.head.count > 0) {
        group_append(g, &b, &c->append);
        return;
    }
    batch_builder_deinit(&b);
    group_note_void(g);
    c->call->done(c->call);
}

static struct commit *commit_new(struct group_coordinator *gc, const struct offset_commit_request *request,
                                 struct offset_commit_response *response, struct group_call *call)
{
    struct commit *c = ARENA_NEW(call->arena, struct commit);
    *c = (struct commit){.append = {.done = commit_on_stored, .offset = -1},
                         .coordinator = gc,
                         .txn = {.producer_id = NO_PRODUCER_ID},
                         .call = call,
                         .request = request,
                         .response = response,
                         .number = ++gc->commits_begun,
                         .now = group_now(gc),
                         .expire_ms = -1};
    return c;
}

void group_commit(struct group_coordinator *gc, const struct offset_commit_request *request,
                  struct offset_commit_response *response, struct group_call *call)
{
    struct commit *c = commit_new(gc, request, response, call);
    if (call->client.version >= 2 && call->client.version <= 4 && request->retention_time_ms >= 0)
        c->expire_ms = saturating_add(c->now, request->retention_time_ms);
    commit_store(c);
}

void group_commit_in_transaction(struct group_coordinator *gc, const struct group_transaction *txn,
                                 const struct offset_commit_request *request, struct offset_commit_response *response,
                                 struct group_call *call)
{
    struct commit *c = commit_new(gc, request, response, call);
    c->txn = *txn;
    c->append.guard = txn->guard;
    commit_store(c);
}
