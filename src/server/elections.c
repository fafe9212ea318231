/*
 * ElectLeaders (KIP-183, KIP-460): a question to the controller, answered when this broker's own metadata shows the new
 * leaders.
 */
#include <inttypes.h>

#include "protocol/msg/elect_leaders.h"
#include "server/authorize.h"

struct electing {
    struct request *r;
    struct elect_leaders_request request;
    struct elect_call call;
    enum kafka_error error;
    struct view_wait wait;
};

/* ---- The answer ---- */

static struct str elect_leaders_why(struct request *r, const struct electing *e, const struct elect_item *item)
{
    const char *strategy = e->call.type == ELECTION_PREFERRED ? "PreferredReplicaPartitionLeaderElectionStrategy"
                                                              : "OfflinePartitionLeaderElectionStrategy(true)";
    switch (item->error) {
    case ERR_NONE:
    case ERR_CLUSTER_AUTHORIZATION_FAILED:
    case ERR_NOT_CONTROLLER:
        return STR_NULL;
    case ERR_PREFERRED_LEADER_NOT_AVAILABLE:
    case ERR_ELIGIBLE_LEADERS_NOT_AVAILABLE:
        return arena_printf(r->arena, "Failed to elect leader for partition %.*s-%" PRId32 " under strategy %s",
                            STR_ARGS(item->topic), item->partition, strategy);
    case ERR_INVALID_TOPIC_EXCEPTION:
        return STR_LIT("The topic is being deleted");
    case ERR_UNKNOWN_TOPIC_OR_PARTITION:
        return STR_LIT("The partition does not exist.");
    default:
        return str_of(error_message((int16_t)item->error));
    }
}

/* Who asked for all is told only of those that were elected, or failed. */
static int32_t drop_not_needed(struct electing *e)
{
    int32_t kept = 0;
    for (int32_t i = 0; i < e->call.count; i++)
        if (e->request.topic_partitions.len >= 0 || e->call.items[i].error != ERR_ELECTION_NOT_NEEDED)
            e->call.items[kept++] = e->call.items[i];
    return kept;
}

static void elect_leaders_answer(struct request *r)
{
    struct electing *e = r->state;
    struct elect_leaders_response response;
    int32_t count = drop_not_needed(e);
    const struct elect_item *items = e->call.items;
    elect_leaders_response_init(&response);
    response.error_code = r->version >= 1 ? (int16_t)e->error : 0;
    ARRAY_MAKE(r->arena, response.replica_election_results, count);
    response.replica_election_results.len = 0;
    for (int32_t i = 0, same; i < count; i = same) {
        struct elect_leaders_replica_election_result *t =
            &response.replica_election_results.items[response.replica_election_results.len++];
        for (same = i + 1; same < count && str_eq(items[same].topic, items[i].topic);)
            same++;
        elect_leaders_replica_election_result_init(t);
        t->topic = items[i].topic;
        ARRAY_MAKE(r->arena, t->partition_result, same - i);
        for (int32_t k = i; k < same; k++) {
            struct elect_leaders_partition_result *p = &t->partition_result.items[k - i];
            elect_leaders_partition_result_init(p);
            p->partition_id = items[k].partition;
            p->error_code = (int16_t)items[k].error;
            p->error_message = elect_leaders_why(r, e, &items[k]);
        }
    }
    ANSWER(r, elect_leaders_response, &response);
}

/* ---- Waiting for the metadata ---- */

static bool elect_leaders_is_visible(const struct elect_item *item)
{
    const struct view_partition *p = view_partition(view_current(), item->topic, item->partition);
    return item->error != ERR_NONE || (p != NULL && p->leader == item->leader);
}

static bool elect_leaders_all_visible(struct request *r)
{
    const struct electing *e = r->state;
    for (int32_t i = 0; i < e->call.count; i++)
        if (!elect_leaders_is_visible(&e->call.items[i]))
            return false;
    return true;
}

static void elect_leaders_waited(struct request *r)
{
    struct electing *e = r->state;
    for (int32_t i = 0; i < e->call.count; i++)
        if (!elect_leaders_is_visible(&e->call.items[i]))
            e->call.items[i].error = ERR_REQUEST_TIMED_OUT;
    elect_leaders_answer(r);
}

static void elect_leaders_wait_until_visible(struct request *r)
{
    struct electing *e = r->state;
    e->wait = (struct view_wait){.visible = elect_leaders_all_visible, .over = elect_leaders_waited};
    view_wait(r, &e->wait, e->request.timeout_ms);
}

/* ---- The question ---- */

static void elected(struct controller_call *call, enum kafka_error error)
{
    struct electing *e = CONTAINER_OF(CONTAINER_OF(call, struct elect_call, call), struct electing, call);
    for (int32_t i = 0; error != ERR_NONE && i < e->call.count; i++)
        e->call.items[i].error = error; /* of each: as a whole the request is fine */
    request_return(e->r, elect_leaders_wait_until_visible);
}

static void elect_leaders_ask(struct request *r)
{
    struct electing *e = r->state;
    controller_elect(r->s->controller, &e->call);
}

static void elect_leaders_list_items(struct request *r, struct electing *e)
{
    int32_t count = 0;
    for (int32_t t = 0; t < e->request.topic_partitions.len; t++)
        count += e->request.topic_partitions.items[t].partitions.len;
    e->call.items = ARENA_ARRAY(r->arena, struct elect_item, MAX(count, 1));
    for (int32_t t = 0; t < e->request.topic_partitions.len; t++) {
        const struct elect_leaders_topic_partitions *topic = &e->request.topic_partitions.items[t];
        for (int32_t i = 0; i < topic->partitions.len; i++)
            e->call.items[e->call.count++] =
                (struct elect_item){.topic = topic->topic, .partition = topic->partitions.items[i]};
    }
}

/* Whoever asks for all means those that he is told of by Metadata. */
static void elect_leaders_list_all(struct request *r, struct electing *e)
{
    const struct view *v = view_current();
    int32_t count = 0;
    for (int32_t t = 0; t < v->topic_count; t++)
        count += v->by_name[t]->partition_count;
    e->call.items = ARENA_ARRAY(r->arena, struct elect_item, MAX(count, 1));
    for (int32_t t = 0; t < v->topic_count; t++) {
        const struct view_topic *topic = v->by_name[t];
        struct str name = arena_str(r->arena, str_of(topic->name));
        for (int32_t i = 0; i < topic->partition_count; i++)
            e->call.items[e->call.count++] =
                (struct elect_item){.topic = name, .partition = topic->partitions[i].index};
    }
}

static void elect_leaders_refuse(struct electing *e, enum kafka_error error)
{
    e->error = error;
    for (int32_t i = 0; i < e->call.count; i++)
        e->call.items[i].error = error;
    elect_leaders_answer(e->r);
}

static void elect_leaders_handle(struct request *r)
{
    struct electing *e = ARENA_NEW(r->arena, struct electing);
    if (!DECODE(r, elect_leaders_request, &e->request))
        return;
    e->r = r;
    e->call = (struct elect_call){.call = {.done = elected}};
    e->call.type = r->version >= 1 ? (enum election_type)e->request.election_type : ELECTION_PREFERRED;
    r->state = e;
    bool all = e->request.topic_partitions.len < 0;
    if (!all)
        elect_leaders_list_items(r, e);
    if (!allowed_cluster(r, ACL_ALTER)) {
        elect_leaders_refuse(e, ERR_CLUSTER_AUTHORIZATION_FAILED);
        return;
    }
    if (all)
        elect_leaders_list_all(r, e);
    if (e->call.type != ELECTION_PREFERRED && e->call.type != ELECTION_UNCLEAN)
        elect_leaders_refuse(e, ERR_INVALID_REQUEST);
    else
        request_hop(r, r->s->control_loop, elect_leaders_ask);
}

const struct api_entry api_elect_leaders = {
    .key = API_ELECT_LEADERS, .min = 0, .max = 2, .handle = elect_leaders_handle};
