/*
 * The APIs of the group coordinator: carried to its loop, and the answer back. Permissions are asked for before and
 * after, on the connection's loop: of groups before, as the coordinator is to do nothing for who may not; of what an
 * answer lists after, as only then it is known.
 */
#include "base/str_set.h"
#include "cluster/internal_topics.h"
#include "protocol/msg/delete_groups.h"
#include "protocol/msg/describe_groups.h"
#include "protocol/msg/heartbeat.h"
#include "protocol/msg/join_group.h"
#include "protocol/msg/leave_group.h"
#include "protocol/msg/list_groups.h"
#include "protocol/msg/offset_commit.h"
#include "protocol/msg/offset_delete.h"
#include "protocol/msg/offset_fetch.h"
#include "protocol/msg/sync_group.h"
#include "protocol/msg/txn_offset_commit.h"
#include "server/authorize.h"
#include "server/zk_offsets_internal.h"

/* One of these APIs: its messages, and the function of the coordinator that serves it. */
struct group_request {
    struct group_call call;
    struct request *r;
    union {
        struct join_group_request join;
        struct sync_group_request sync;
        struct heartbeat_request heartbeat;
        struct leave_group_request leave;
        struct offset_commit_request commit;
        struct offset_fetch_request fetch;
        struct describe_groups_request describe;
        struct list_groups_request list;
        struct delete_groups_request remove;
        struct offset_delete_request forget;
    } in;
    union {
        struct join_group_response join;
        struct sync_group_response sync;
        struct heartbeat_response heartbeat;
        struct leave_group_response leave;
        struct offset_commit_response commit;
        struct offset_fetch_response fetch;
        struct describe_groups_response describe;
        struct list_groups_response list;
        struct delete_groups_response remove;
        struct offset_delete_response forget;
    } out;
    union {
        struct zk_commit commit;
        struct zk_fetch fetch;
    } old; /* version 0 of both */
    void (*answer)(struct request *r);
    struct str *denied; /* groups that the coordinator is not asked about */
    int32_t denied_count;
};

static struct group_request *group_request_new(struct request *r, void (*answer)(struct request *r))
{
    struct group_request *g = ARENA_NEW(r->arena, struct group_request);
    g->r = r;
    g->answer = answer;
    r->state = g;
    return g;
}

static void on_served(struct group_call *call)
{
    struct group_request *g = CONTAINER_OF(call, struct group_request, call);
    request_return(g->r, g->answer);
}

static struct group_coordinator *groups_api_coordinator_of(const struct request *r)
{
    const struct view_topic *topic = view_topic(view_current(), STR_LIT(GROUP_METADATA_TOPIC));
    if (topic != NULL)
        state_topic_set_count(group_topic(r->s->groups), view_topic_width(topic));
    return r->s->groups;
}

static void groups_api_carry(struct group_request *g, void (*serve)(struct request *r))
{
    struct request *r = g->r;
    g->call.done = on_served;
    g->call.arena = r->arena;
    g->call.client = (struct group_client){r->client_id, str_of(connection_peer_host(r->x->conn)), r->version};
    request_park(r);
    request_visit(r, r->s->coordinator_loop, serve);
}

/* ---- Permissions ---- */

static bool may_join(struct group_request *g)
{
    if (allowed(g->r, ACL_READ, ACL_GROUP, g->in.join.group_id))
        return true;
    g->out.join.error_code = ERR_GROUP_AUTHORIZATION_FAILED;
    g->out.join.protocol_name = g->r->version >= 7 ? STR_NULL : STR_LIT("");
    return false;
}

/* The coordinator refuses what does not name its protocol. */
static bool may_sync(struct group_request *g)
{
    if (!group_sync_is_complete(&g->in.sync, g->r->version) || allowed(g->r, ACL_READ, ACL_GROUP, g->in.sync.group_id))
        return true;
    g->out.sync.error_code = ERR_GROUP_AUTHORIZATION_FAILED;
    return false;
}

static bool may_beat(struct group_request *g)
{
    if (allowed(g->r, ACL_READ, ACL_GROUP, g->in.heartbeat.group_id))
        return true;
    g->out.heartbeat.error_code = ERR_GROUP_AUTHORIZATION_FAILED;
    return false;
}

static bool may_leave(struct group_request *g)
{
    if (allowed(g->r, ACL_READ, ACL_GROUP, g->in.leave.group_id))
        return true;
    g->out.leave.error_code = ERR_GROUP_AUTHORIZATION_FAILED;
    return false;
}

/* Takes those that are denied out of the list, each once. */
static void set_denied_aside(struct group_request *g, enum acl_operation o, struct str *groups, int32_t *count)
{
    struct arena *a = g->r->arena;
    struct str_set seen = {0};
    int32_t kept = 0;
    if (!has_authorizer(g->r))
        return;
    g->denied = ARENA_ARRAY(a, struct str, MAX(*count, 1));
    for (int32_t i = 0; i < *count; i++) {
        struct str group = groups[i];
        if (str_set_has(&seen, group))
            continue;
        if (allowed(g->r, o, ACL_GROUP, group)) {
            groups[kept++] = group;
        } else {
            str_set_add_copy(&seen, a, group);
            g->denied[g->denied_count++] = group;
        }
    }
    *count = MIN(*count, kept);
    str_set_deinit(&seen);
}

static bool may_describe(struct group_request *g)
{
    set_denied_aside(g, ACL_DESCRIBE, g->in.describe.groups.items, &g->in.describe.groups.len);
    return true;
}

static bool may_delete(struct group_request *g)
{
    set_denied_aside(g, ACL_DELETE, g->in.remove.groups_names.items, &g->in.remove.groups_names.len);
    return true;
}

static bool may_ask(struct group_request *g UNUSED)
{
    return true;
}

static void add_nothing(struct group_request *g UNUSED)
{
}

/* Denied ones come first. */
static void complete_description(struct group_request *g)
{
    struct arena *a = g->r->arena;
    struct describe_groups_response described = g->out.describe;
    int32_t known = described.groups.len, n = g->denied_count;
    for (int32_t i = 0; g->in.describe.include_authorized_operations && i < known; i++) {
        struct describe_groups_described_group *o = &described.groups.items[i];
        if (o->error_code == ERR_NONE && o->group_id.p != NULL)
            o->authorized_operations = authorized_operations(g->r, ACL_GROUP, o->group_id);
    }
    if (n == 0)
        return;
    ARRAY_MAKE(a, g->out.describe.groups, n + known);
    for (int32_t i = 0; i < n; i++) {
        struct describe_groups_described_group *o = &g->out.describe.groups.items[i];
        describe_groups_described_group_init(o);
        o->group_id = g->denied[i];
        o->error_code = ERR_GROUP_AUTHORIZATION_FAILED;
    }
    for (int32_t i = 0; i < known; i++)
        g->out.describe.groups.items[n + i] = described.groups.items[i];
}

static void complete_deletion(struct group_request *g)
{
    struct delete_groups_response deleted = g->out.remove;
    int32_t known = deleted.results.len;
    if (g->denied_count == 0)
        return;
    ARRAY_MAKE(g->r->arena, g->out.remove.results, known + g->denied_count);
    for (int32_t i = 0; i < known; i++)
        g->out.remove.results.items[i] = deleted.results.items[i];
    for (int32_t i = 0; i < g->denied_count; i++) {
        struct delete_groups_deletable_group_result *o = &g->out.remove.results.items[known + i];
        delete_groups_deletable_group_result_init(o);
        o->group_id = g->denied[i];
        o->error_code = ERR_GROUP_AUTHORIZATION_FAILED;
    }
}

/* Who may describe the cluster may see all groups. */
static void leave_out_groups(struct group_request *g)
{
    int32_t kept = 0;
    if (!has_authorizer(g->r) || allowed_cluster_quietly(g->r, ACL_DESCRIBE))
        return;
    for (int32_t i = 0; i < g->out.list.groups.len; i++)
        if (allowed_to_see(g->r, ACL_DESCRIBE, ACL_GROUP, g->out.list.groups.items[i].group_id))
            g->out.list.groups.items[kept++] = g->out.list.groups.items[i];
    g->out.list.groups.len = kept;
}

/*
 * The three functions of an API that differ in nothing but its name. may_fn() says whether the coordinator is to be
 * asked, or has said in the response why not; complete_fn() puts in, or leaves out, what permissions are about.
 */
#define GROUP_API(api, KEY, version, field, may_fn, serve_fn, complete_fn)             \
    static void answer_##field(struct request *r)                                      \
    {                                                                                  \
        struct group_request *g = r->state;                                            \
        complete_fn(g);                                                                \
        ANSWER(r, api##_response, &g->out.field);                                      \
    }                                                                                  \
    static void serve_##field(struct request *r)                                       \
    {                                                                                  \
        struct group_request *g = r->state;                                            \
        serve_fn(groups_api_coordinator_of(r), &g->in.field, &g->out.field, &g->call); \
    }                                                                                  \
    static void handle_##field(struct request *r)                                      \
    {                                                                                  \
        struct group_request *g = group_request_new(r, answer_##field);                \
        if (!DECODE(r, api##_request, &g->in.field))                                   \
            return;                                                                    \
        api##_response_init(&g->out.field);                                            \
        if (may_fn(g))                                                                 \
            groups_api_carry(g, serve_##field);                                        \
        else                                                                           \
            answer_##field(r);                                                         \
    }                                                                                  \
    const struct api_entry api_##api = {.key = KEY, .min = 0, .max = version, .handle = handle_##field}

GROUP_API(join_group, API_JOIN_GROUP, 9, join, may_join, group_join, add_nothing);
GROUP_API(sync_group, API_SYNC_GROUP, 5, sync, may_sync, group_sync, add_nothing);
GROUP_API(heartbeat, API_HEARTBEAT, 4, heartbeat, may_beat, group_heartbeat, add_nothing);
GROUP_API(leave_group, API_LEAVE_GROUP, 5, leave, may_leave, group_leave, add_nothing);
GROUP_API(describe_groups, API_DESCRIBE_GROUPS, 5, describe, may_describe, group_describe, complete_description);
GROUP_API(list_groups, API_LIST_GROUPS, 5, list, may_ask, group_list, leave_out_groups);
GROUP_API(delete_groups, API_DELETE_GROUPS, 2, remove, may_delete, group_delete, complete_deletion);

/* ---- Version 0 of OffsetCommit and OffsetFetch: from the control loop, which asks ZooKeeper ---- */

static void on_zookeeper(struct request *r)
{
    struct group_request *g = r->state;
    request_return(r, g->answer);
}

static void fetch_from_zookeeper(struct request *r)
{
    struct group_request *g = r->state;
    g->old.fetch = (struct zk_fetch){r, &g->in.fetch, &g->out.fetch, on_zookeeper};
    zk_offsets_fetch(&g->old.fetch);
}

static void commit_to_zookeeper(struct request *r)
{
    struct group_request *g = r->state;
    g->old.commit = (struct zk_commit){r, &g->in.commit, &g->out.commit, on_zookeeper};
    zk_offsets_commit(&g->old.commit);
}

/* ---- OffsetFetch ---- */

/* A partition of which nothing is said but the error, or nothing yet. */
#define DENY_OFFSET(o, error)             \
    do {                                  \
        (o)->error_code = (error);        \
        (o)->committed_offset = -1;       \
        (o)->committed_leader_epoch = -1; \
        (o)->metadata = STR_LIT("");      \
    } while (0)

/* What was asked for by name is denied by name; of all offsets those are left out that may not be seen. */
#define DENY_TOPICS(r, named, out_topics)                                                                  \
    do {                                                                                                   \
        int32_t kept_ = 0;                                                                                 \
        for (int32_t t_ = 0; t_ < (out_topics).len; t_++) {                                                \
            struct str name_ = (out_topics).items[t_].name;                                                \
            int32_t n_ = (out_topics).items[t_].partitions.len;                                            \
            bool yes_ = allowed_topic((r), ACL_DESCRIBE, name_, n_);                                       \
            for (int32_t i_ = 0; !yes_ && i_ < n_; i_++)                                                   \
                DENY_OFFSET(&(out_topics).items[t_].partitions.items[i_], ERR_TOPIC_AUTHORIZATION_FAILED); \
            if (yes_ || (named))                                                                           \
                (out_topics).items[kept_++] = (out_topics).items[t_];                                      \
        }                                                                                                  \
        (out_topics).len = kept_;                                                                          \
    } while (0)

/* Version 1 has no room for an error of the whole, and Kafka says nothing then. */
static void deny_group_offsets(const struct request *r, struct offset_fetch_response *out)
{
    out->error_code = ERR_GROUP_AUTHORIZATION_FAILED;
    if (r->version >= 1)
        out->topics.len = 0;
    for (int32_t t = 0; t < out->topics.len; t++)
        for (int32_t i = 0; i < out->topics.items[t].partitions.len; i++)
            DENY_OFFSET(&out->topics.items[t].partitions.items[i], ERR_GROUP_AUTHORIZATION_FAILED);
}

static void deny_offsets(struct request *r, const struct offset_fetch_request *in, struct offset_fetch_response *out)
{
    if (r->version < 8 && !allowed(r, ACL_DESCRIBE, ACL_GROUP, in->group_id))
        deny_group_offsets(r, out);
    else if (r->version < 8)
        DENY_TOPICS(r, in->topics.len >= 0, out->topics);
    for (int32_t i = 0; i < out->groups.len; i++) {
        struct offset_fetch_response_group *o = &out->groups.items[i];
        if (allowed(r, ACL_DESCRIBE, ACL_GROUP, o->group_id)) {
            DENY_TOPICS(r, in->groups.items[i].topics.len >= 0, o->topics);
        } else {
            o->error_code = ERR_GROUP_AUTHORIZATION_FAILED;
            o->topics.len = 0;
        }
    }
}

static void answer_fetch(struct request *r)
{
    struct group_request *g = r->state;
    if (has_authorizer(r))
        deny_offsets(r, &g->in.fetch, &g->out.fetch);
    ANSWER(r, offset_fetch_response, &g->out.fetch);
}

static void serve_fetch(struct request *r)
{
    struct group_request *g = r->state;
    group_fetch_offsets(groups_api_coordinator_of(r), &g->in.fetch, &g->out.fetch, &g->call);
}

static void answer_old_fetch(struct request *r)
{
    struct group_request *g = r->state;
    ANSWER(r, offset_fetch_response, &g->out.fetch);
}

/* Version 0 names each partition: what is denied is known before anybody is asked. Whether there is more. */
static bool prepare_old_fetch(struct request *r, const struct offset_fetch_request *in,
                              struct offset_fetch_response *out)
{
    bool any = false, denied = !allowed(r, ACL_DESCRIBE, ACL_GROUP, in->group_id);
    ARRAY_MAKE(r->arena, out->topics, MAX(in->topics.len, 0));
    for (int32_t t = 0; t < in->topics.len; t++) {
        const struct offset_fetch_request_topic *topic = &in->topics.items[t];
        struct offset_fetch_response_topic *o = &out->topics.items[t];
        enum kafka_error problem = denied ? ERR_GROUP_AUTHORIZATION_FAILED : ERR_NONE;
        offset_fetch_response_topic_init(o);
        o->name = topic->name;
        ARRAY_MAKE(r->arena, o->partitions, MAX(topic->partition_indexes.len, 0));
        if (!denied && !allowed_topic(r, ACL_DESCRIBE, topic->name, o->partitions.len))
            problem = ERR_TOPIC_AUTHORIZATION_FAILED;
        for (int32_t i = 0; i < o->partitions.len; i++) {
            offset_fetch_response_partition_init(&o->partitions.items[i]);
            o->partitions.items[i].partition_index = topic->partition_indexes.items[i];
            DENY_OFFSET(&o->partitions.items[i], (int16_t)problem);
        }
        any |= problem == ERR_NONE && o->partitions.len > 0;
    }
    return any;
}

#define BARE_INDEX(i) (*(i))

static void offset_fetch_drop_repeated(struct request *r, struct offset_fetch_request *in)
{
    DROP_NAMED_AGAIN(r->arena, in->topics, TOPIC_NAME, partition_indexes, BARE_INDEX);
    for (int32_t i = 0; i < in->groups.len; i++)
        DROP_NAMED_AGAIN(r->arena, in->groups.items[i].topics, TOPIC_NAME, partition_indexes, BARE_INDEX);
}

static void handle_offset_fetch(struct request *r)
{
    struct group_request *g = group_request_new(r, answer_fetch);
    if (!DECODE(r, offset_fetch_request, &g->in.fetch))
        return;
    offset_fetch_response_init(&g->out.fetch);
    if (r->version > 0) {
        offset_fetch_drop_repeated(r, &g->in.fetch);
        groups_api_carry(g, serve_fetch);
        return;
    }
    g->answer = answer_old_fetch;
    if (prepare_old_fetch(r, &g->in.fetch, &g->out.fetch))
        request_hop(r, r->s->control_loop, fetch_from_zookeeper);
    else
        answer_old_fetch(r);
}

const struct api_entry api_offset_fetch = {.key = API_OFFSET_FETCH, .min = 0, .max = 9, .handle = handle_offset_fetch};

/* ---- OffsetCommit: partitions that nobody knows are refused here ---- */

static void answer_commit(struct request *r)
{
    struct group_request *g = r->state;
    ANSWER(r, offset_commit_response, &g->out.commit);
}

static void serve_commit(struct request *r)
{
    struct group_request *g = r->state;
    group_commit(groups_api_coordinator_of(r), &g->in.commit, &g->out.commit, &g->call);
}

/*
 * Whether any partition is known and allowed: else there is nothing to trouble a coordinator with. `denied`: the error
 * of the whole.
 */
static bool prepare_commit(struct request *r, const struct offset_commit_request *in, enum kafka_error denied,
                           struct offset_commit_response *out)
{
    bool any = false;
    ARRAY_MAKE(r->arena, out->topics, MAX(in->topics.len, 0));
    for (int32_t t = 0; t < in->topics.len; t++) {
        const struct offset_commit_request_topic *topic = &in->topics.items[t];
        struct offset_commit_response_topic *o = &out->topics.items[t];
        offset_commit_response_topic_init(o);
        o->name = topic->name;
        ARRAY_MAKE(r->arena, o->partitions, MAX(topic->partitions.len, 0));
        enum kafka_error problem = denied;
        if (denied == ERR_NONE && !allowed_topic(r, ACL_READ, topic->name, o->partitions.len))
            problem = ERR_TOPIC_AUTHORIZATION_FAILED;
        for (int32_t i = 0; i < topic->partitions.len; i++) {
            int32_t index = topic->partitions.items[i].partition_index;
            offset_commit_response_partition_init(&o->partitions.items[i]);
            o->partitions.items[i].partition_index = index;
            if (problem != ERR_NONE)
                o->partitions.items[i].error_code = (int16_t)problem;
            else if (view_partition(view_current(), topic->name, index) == NULL)
                o->partitions.items[i].error_code = ERR_UNKNOWN_TOPIC_OR_PARTITION;
            else
                any = true;
        }
    }
    return any;
}

static enum kafka_error may_commit(const struct request *r, struct str group)
{
    return allowed(r, ACL_READ, ACL_GROUP, group) ? ERR_NONE : ERR_GROUP_AUTHORIZATION_FAILED;
}

static void handle_commit(struct request *r)
{
    struct group_request *g = group_request_new(r, answer_commit);
    if (!DECODE(r, offset_commit_request, &g->in.commit))
        return;
    offset_commit_response_init(&g->out.commit);
    if (r->version > 0)
        DROP_NAMED_AGAIN(r->arena, g->in.commit.topics, TOPIC_NAME, partitions, PARTITION_INDEX);
    if (!prepare_commit(r, &g->in.commit, may_commit(r, g->in.commit.group_id), &g->out.commit))
        answer_commit(r);
    else if (r->version == 0)
        request_hop(r, r->s->control_loop, commit_to_zookeeper);
    else
        groups_api_carry(g, serve_commit);
}

const struct api_entry api_offset_commit = {.key = API_OFFSET_COMMIT, .min = 0, .max = 9, .handle = handle_commit};

/* ---- OffsetDelete: the same ---- */

static void answer_offset_delete(struct request *r)
{
    struct group_request *g = r->state;
    ANSWER(r, offset_delete_response, &g->out.forget);
}

static void serve_offset_delete(struct request *r)
{
    struct group_request *g = r->state;
    group_delete_offsets(groups_api_coordinator_of(r), &g->in.forget, &g->out.forget, &g->call);
}

static void prepare_offset_delete(struct request *r, const struct offset_delete_request *in,
                                  struct offset_delete_response *out)
{
    struct arena *a = r->arena;
    ARRAY_MAKE(a, out->topics, MAX(in->topics.len, 0));
    for (int32_t t = 0; t < in->topics.len; t++) {
        const struct offset_delete_request_topic *topic = &in->topics.items[t];
        struct offset_delete_response_topic *o = &out->topics.items[t];
        o->name = topic->name;
        ARRAY_MAKE(a, o->partitions, MAX(topic->partitions.len, 0));
        bool denied = !allowed_topic(r, ACL_READ, topic->name, o->partitions.len);
        for (int32_t i = 0; i < topic->partitions.len; i++) {
            int32_t index = topic->partitions.items[i].partition_index;
            bool known = view_partition(view_current(), topic->name, index) != NULL;
            o->partitions.items[i].partition_index = index;
            o->partitions.items[i].error_code = denied  ? ERR_TOPIC_AUTHORIZATION_FAILED
                                                : known ? ERR_NONE
                                                        : ERR_UNKNOWN_TOPIC_OR_PARTITION;
        }
    }
}

static void handle_offset_delete(struct request *r)
{
    struct group_request *g = group_request_new(r, answer_offset_delete);
    if (!DECODE(r, offset_delete_request, &g->in.forget))
        return;
    offset_delete_response_init(&g->out.forget);
    if (!allowed(r, ACL_DELETE, ACL_GROUP, g->in.forget.group_id)) {
        g->out.forget.error_code = ERR_GROUP_AUTHORIZATION_FAILED;
        answer_offset_delete(r);
        return;
    }
    prepare_offset_delete(r, &g->in.forget, &g->out.forget);
    groups_api_carry(g, serve_offset_delete);
}

const struct api_entry api_offset_delete = {
    .key = API_OFFSET_DELETE, .min = 0, .max = 0, .handle = handle_offset_delete};

/* ---- TxnOffsetCommit: the same within a transaction, which is verified first (KIP-890) ---- */

enum { KNOWS_ABORTABLE_SINCE = 4, KNOWS_LOADING_SINCE = 2 };

struct txn_commit {
    struct group_request g;
    struct group_transaction txn;
    struct txn_offset_commit_request in;
    struct verification verification;
    struct txn_partition_ref partition; /* of the group */
    enum kafka_error verdict;
};

static struct txn_commit *txn_commit_of(struct request *r)
{
    return CONTAINER_OF((struct group_request *)r->state, struct txn_commit, g);
}

static void answer_txn_commit(struct request *r)
{
    const struct offset_commit_response *from = &((struct group_request *)r->state)->out.commit;
    struct txn_offset_commit_response response;
    txn_offset_commit_response_init(&response);
    ARRAY_MAKE(r->arena, response.topics, from->topics.len);
    for (int32_t t = 0; t < from->topics.len; t++) {
        struct txn_offset_commit_response_topic *o = &response.topics.items[t];
        o->name = from->topics.items[t].name;
        ARRAY_MAKE(r->arena, o->partitions, from->topics.items[t].partitions.len);
        for (int32_t i = 0; i < o->partitions.len; i++) {
            const struct offset_commit_response_partition *p = &from->topics.items[t].partitions.items[i];
            bool loading = p->error_code == ERR_COORDINATOR_LOAD_IN_PROGRESS;
            o->partitions.items[i].partition_index = p->partition_index;
            o->partitions.items[i].error_code =
                loading && r->version < KNOWS_LOADING_SINCE ? ERR_COORDINATOR_NOT_AVAILABLE : p->error_code;
        }
    }
    ANSWER(r, txn_offset_commit_response, &response);
}

static void commit_in_transaction(struct request *r)
{
    struct txn_commit *c = txn_commit_of(r);
    group_commit_in_transaction(groups_api_coordinator_of(r), &c->txn, &c->g.in.commit, &c->g.out.commit, &c->g.call);
}

static void refuse_txn_commit(struct txn_commit *c, enum kafka_error error)
{
    struct offset_commit_response *out = &c->g.out.commit;
    for (int32_t t = 0; t < out->topics.len; t++)
        for (int32_t i = 0; i < out->topics.items[t].partitions.len; i++)
            if (out->topics.items[t].partitions.items[i].error_code == ERR_NONE)
                out->topics.items[t].partitions.items[i].error_code = error;
    request_return(c->g.r, answer_txn_commit);
}

static void on_txn_verified(struct verification *v)
{
    struct txn_commit *c = CONTAINER_OF(v, struct txn_commit, verification);
    if (c->verdict == ERR_NONE)
        commit_in_transaction(c->g.r);
    else
        refuse_txn_commit(c, group_commit_error(c->verdict));
}

/* The guard that the commit needs; false if the group does not live here. */
static bool begin_verification(struct txn_commit *c)
{
    struct services *s = c->g.r->s;
    struct partition *p = replica_partition(s->replicas, c->partition.topic, c->partition.index);
    bool leads = p != NULL && partition_check_leader(p, -1) == ERR_NONE;
    if (leads)
        c->txn.guard = plog_begin_verification(partition_log(p), c->in.producer_id, c->in.producer_epoch, NO_SEQUENCE);
    partition_unref(p);
    return leads;
}

static void serve_txn_commit(struct request *r)
{
    struct txn_commit *c = txn_commit_of(r);
    const struct view_topic *topic = view_topic(view_current(), STR_LIT(GROUP_METADATA_TOPIC));
    if (c->in.group_id.len == 0) { /* which no coordinator need be asked about */
        refuse_txn_commit(c, ERR_INVALID_GROUP_ID);
        return;
    }
    if (!atomic_load(&r->s->verify_transactions) || topic == NULL) {
        commit_in_transaction(r);
        return;
    }
    c->partition = (struct txn_partition_ref){
        STR_LIT(GROUP_METADATA_TOPIC),
        state_topic_number_of(group_topic(r->s->groups), c->in.group_id, view_topic_width(topic))};
    if (!begin_verification(c)) {
        refuse_txn_commit(c, ERR_NOT_COORDINATOR);
    } else if (c->txn.guard == GUARD_OPEN) {
        commit_in_transaction(r);
    } else {
        c->verification =
            (struct verification){.who = {c->in.transactional_id, c->in.producer_id, c->in.producer_epoch},
                                  .partitions = &c->partition,
                                  .errors = &c->verdict,
                                  .count = 1,
                                  .knows_abortable = r->version >= KNOWS_ABORTABLE_SINCE,
                                  .done = on_txn_verified};
        verifier_ask(r->s->verifier, &c->verification);
    }
}

/* The request in the words of OffsetCommit. */
static void groups_api_fill_commit(struct txn_commit *c, struct arena *a)
{
    struct offset_commit_request *to = &c->g.in.commit;
    offset_commit_request_init(to);
    to->group_id = c->in.group_id;
    to->generation_id_or_member_epoch = c->in.generation_id;
    to->member_id = c->in.member_id;
    to->group_instance_id = c->in.group_instance_id;
    ARRAY_MAKE(a, to->topics, MAX(c->in.topics.len, 0));
    for (int32_t t = 0; t < c->in.topics.len; t++) {
        const struct txn_offset_commit_request_topic *in = &c->in.topics.items[t];
        struct offset_commit_request_topic *o = &to->topics.items[t];
        o->name = in->name;
        ARRAY_MAKE(a, o->partitions, MAX(in->partitions.len, 0));
        for (int32_t i = 0; i < in->partitions.len; i++) {
            struct offset_commit_request_partition *p = &o->partitions.items[i];
            offset_commit_request_partition_init(p);
            p->partition_index = in->partitions.items[i].partition_index;
            p->committed_offset = in->partitions.items[i].committed_offset;
            p->committed_leader_epoch = in->partitions.items[i].committed_leader_epoch;
            p->committed_metadata = in->partitions.items[i].committed_metadata;
        }
    }
}

static void handle_txn_commit(struct request *r)
{
    struct txn_commit *c = ARENA_NEW(r->arena, struct txn_commit);
    c->g.r = r;
    c->g.answer = answer_txn_commit;
    r->state = &c->g;
    if (!DECODE(r, txn_offset_commit_request, &c->in))
        return;
    c->txn = (struct group_transaction){.producer_id = c->in.producer_id, .producer_epoch = c->in.producer_epoch};
    DROP_NAMED_AGAIN(r->arena, c->in.topics, TOPIC_NAME, partitions, PARTITION_INDEX);
    groups_api_fill_commit(c, r->arena);
    offset_commit_response_init(&c->g.out.commit);
    enum kafka_error denied = allowed(r, ACL_WRITE, ACL_TRANSACTIONAL_ID, c->in.transactional_id)
                                  ? may_commit(r, c->in.group_id)
                                  : ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
    if (prepare_commit(r, &c->g.in.commit, denied, &c->g.out.commit))
        groups_api_carry(&c->g, serve_txn_commit);
    else
        answer_txn_commit(r);
}

const struct api_entry api_txn_offset_commit = {
    .key = API_TXN_OFFSET_COMMIT, .min = 0, .max = 4, .handle = handle_txn_commit};
