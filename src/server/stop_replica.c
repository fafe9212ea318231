/*
 * StopReplica: the controller takes replicas away from this broker, with or without their logs. An order as
 * LeaderAndIsr is one, carried out in turn with those on the orders' worker. From version 3 on each partition says by
 * itself whether its log is to go, and in which leader epoch it was decided; before that the request does for all.
 */
#include "protocol/msg/stop_replica.h"
#include "server/authorize.h"

struct stopping {
    struct order order;
    struct stop_replica_request request;
    struct stop_replica_response response;
};

static void stop_one(struct request *r, struct str topic, int32_t index, int32_t leader_epoch, bool delete_it)
{
    struct stopping *s = r->state;
    struct stop_replica_partition_error *out = &s->response.partition_errors.items[s->response.partition_errors.len++];
    stop_replica_partition_error_init(out);
    out->topic_name = topic;
    out->partition_index = index;
    out->error_code = replica_stop(r->s->replicas, topic, index, leader_epoch, delete_it);
}

static int32_t count_stops(const struct request *r, const struct stop_replica_request *in)
{
    int32_t n = r->version == 0 ? MAX(in->ungrouped_partitions.len, 0) : 0;
    for (int32_t t = 0; t < in->topics.len; t++)
        n += MAX(in->topics.items[t].partition_indexes.len, 0);
    for (int32_t t = 0; t < in->topic_states.len; t++)
        n += MAX(in->topic_states.items[t].partition_states.len, 0);
    return n;
}

static void stop_named(struct request *r, const struct stop_replica_request *in)
{
    for (int32_t i = 0; r->version == 0 && i < in->ungrouped_partitions.len; i++)
        stop_one(r, in->ungrouped_partitions.items[i].topic_name, in->ungrouped_partitions.items[i].partition_index, -1,
                 in->delete_partitions);
    for (int32_t t = 0; t < in->topics.len; t++)
        for (int32_t i = 0; i < in->topics.items[t].partition_indexes.len; i++)
            stop_one(r, in->topics.items[t].name, in->topics.items[t].partition_indexes.items[i], -1,
                     in->delete_partitions);
    for (int32_t t = 0; t < in->topic_states.len; t++) {
        const struct stop_replica_topic_state *topic = &in->topic_states.items[t];
        for (int32_t i = 0; i < topic->partition_states.len; i++)
            stop_one(r, topic->topic_name, topic->partition_states.items[i].partition_index,
                     topic->partition_states.items[i].leader_epoch, topic->partition_states.items[i].delete_partition);
    }
}

static void stop_all(struct request *r)
{
    struct stopping *s = r->state;
    const struct stop_replica_request *in = &s->request;
    s->response.error_code = controller_check(r, in->broker_epoch, in->controller_epoch);
    ARRAY_MAKE(r->arena, s->response.partition_errors, count_stops(r, in));
    s->response.partition_errors.len = 0;
    if (s->response.error_code != ERR_NONE)
        return;
    stop_named(r, in);
    log_manager_sync_deletions(r->s->logs); /* once it is told, the controller never says so again */
}

static void answer_stops(struct request *r)
{
    struct stopping *s = r->state;
    struct order_lane *lane = r->s->order_lane;
    ANSWER(r, stop_replica_response, &s->response);
    order_leave(lane);
}

static void begin_stopping(struct request *r)
{
    request_work_on(r, r->s->order_worker, stop_all, answer_stops);
}

static void stop_replica_handle(struct request *r)
{
    struct stopping *s = ARENA_NEW(r->arena, struct stopping);
    if (!DECODE(r, stop_replica_request, &s->request))
        return;
    stop_replica_response_init(&s->response);
    r->state = s;
    if (allowed_as_broker(r)) {
        order_enter(&s->order, r, begin_stopping);
        return;
    }
    s->response.error_code = ERR_CLUSTER_AUTHORIZATION_FAILED;
    ARRAY_MAKE(r->arena, s->response.partition_errors, 0);
    ANSWER(r, stop_replica_response, &s->response);
}

const struct api_entry api_stop_replica = {.key = API_STOP_REPLICA, .min = 0, .max = 4, .handle = stop_replica_handle};
