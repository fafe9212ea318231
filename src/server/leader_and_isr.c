/* LeaderAndIsr: the controller tells which partitions to lead, and which to follow from whom. */
#include "protocol/msg/leader_and_isr.h"
#include "base/logger.h"
#include "server/authorize.h"

static struct log_limit refusals;

struct leadership {
    struct order order;
    struct leader_and_isr_request request;
    struct leader_and_isr_response response;
};

static void apply_order(struct request *r, struct str topic, struct uuid id,
                        const struct leader_and_isr_partition_state *in, struct leader_and_isr_partition_error *out)
{
    struct leader_order order = {.topic = topic,
                                 .topic_id = id,
                                 .index = in->partition_index,
                                 .controller_epoch = in->controller_epoch,
                                 .leader = in->leader,
                                 .leader_epoch = in->leader_epoch,
                                 .partition_epoch = in->partition_epoch,
                                 .isr = INT_LIST(in->isr),
                                 .replicas = INT_LIST(in->replicas),
                                 .is_new = in->is_new};
    leader_and_isr_partition_error_init(out);
    out->topic_name = topic;
    out->partition_index = in->partition_index;
    out->error_code = replica_apply_leader(r->s->replicas, &order);
    if (out->error_code != ERR_NONE && out->error_code != ERR_STALE_CONTROLLER_EPOCH)
        log_warn_limited(&refusals, "Cannot lead or follow %.*s-%d as told: %s", STR_ARGS(topic), in->partition_index,
                         error_name(out->error_code));
}

static void apply_orders(struct request *r)
{
    struct leadership *l = r->state;
    struct leader_and_isr_request *in = &l->request;
    bool grouped = r->version >= 2, by_id = r->version >= 5;
    int32_t flat = 0;
    l->response.error_code = controller_check(r, in->broker_epoch, in->controller_epoch); /* again: time has passed */
    if (l->response.error_code != ERR_NONE)
        return;
    if (!grouped) {
        ARRAY_MAKE(r->arena, l->response.partition_errors, MAX(in->ungrouped_partition_states.len, 0));
        for (int32_t i = 0; i < in->ungrouped_partition_states.len; i++)
            apply_order(r, in->ungrouped_partition_states.items[i].topic_name, UUID_ZERO,
                        &in->ungrouped_partition_states.items[i], &l->response.partition_errors.items[i]);
        return;
    }
    for (int32_t t = 0; t < in->topic_states.len; t++)
        flat += MAX(in->topic_states.items[t].partition_states.len, 0);
    ARRAY_MAKE(r->arena, l->response.partition_errors, by_id ? 0 : flat);
    ARRAY_MAKE(r->arena, l->response.topics, MAX(in->topic_states.len, 0));
    flat = 0;
    for (int32_t t = 0; t < in->topic_states.len; t++) {
        const struct leader_and_isr_topic_state *topic = &in->topic_states.items[t];
        struct leader_and_isr_topic_error *out = &l->response.topics.items[t];
        leader_and_isr_topic_error_init(out);
        out->topic_id = topic->topic_id;
        ARRAY_MAKE(r->arena, out->partition_errors, MAX(topic->partition_states.len, 0));
        for (int32_t i = 0; i < topic->partition_states.len; i++)
            apply_order(r, topic->topic_name, by_id ? topic->topic_id : UUID_ZERO, &topic->partition_states.items[i],
                        by_id ? &out->partition_errors.items[i] : &l->response.partition_errors.items[flat++]);
    }
}

static void leader_and_isr_answer(struct request *r)
{
    struct leadership *l = r->state;
    if (l->response.error_code != ERR_NONE) {
        ARRAY_MAKE(r->arena, l->response.partition_errors, 0);
        ARRAY_MAKE(r->arena, l->response.topics, 0);
    }
    ANSWER(r, leader_and_isr_response, &l->response);
}

static void answer_orders(struct request *r)
{
    struct order_lane *lane = r->s->order_lane;
    leader_and_isr_answer(r);
    order_leave(lane);
}

static void orders_prepared(struct message *m)
{
    struct request *r = CONTAINER_OF(m, struct request, message);
    request_work_on(r, r->s->order_worker, apply_orders, answer_orders);
}

/* A new topic's settings come without a notification: they are read before its log is made. */
static void refresh_settings(struct request *r)
{
    struct leadership *l = r->state;
    const struct leader_and_isr_request *in = &l->request;
    struct str *topics = ARENA_ARRAY(r->arena, struct str, MAX(in->topic_states.len, 1));
    int32_t n = 0;
    for (int32_t t = 0; t < in->topic_states.len; t++) {
        bool any_new = false;
        for (int32_t i = 0; i < in->topic_states.items[t].partition_states.len; i++)
            any_new |= in->topic_states.items[t].partition_states.items[i].is_new;
        if (any_new)
            topics[n++] = in->topic_states.items[t].topic_name;
    }
    r->message.deliver = orders_prepared;
    config_watch_refresh(r->s->config_watch, topics, n, exchange_loop(r->x), &r->message);
}

static void begin_leadership(struct request *r)
{
    struct leadership *l = r->state;
    l->response.error_code = controller_check(r, l->request.broker_epoch, l->request.controller_epoch);
    if (l->response.error_code == ERR_NONE)
        request_hop(r, r->s->control_loop, refresh_settings);
    else
        answer_orders(r);
}

static void leader_and_isr_handle(struct request *r)
{
    struct leadership *l = ARENA_NEW(r->arena, struct leadership);
    if (!DECODE(r, leader_and_isr_request, &l->request))
        return;
    leader_and_isr_response_init(&l->response);
    r->state = l;
    if (allowed_as_broker(r)) {
        order_enter(&l->order, r, begin_leadership);
        return;
    }
    l->response.error_code = ERR_CLUSTER_AUTHORIZATION_FAILED;
    leader_and_isr_answer(r);
}

const struct api_entry api_leader_and_isr = {
    .key = API_LEADER_AND_ISR, .min = 0, .max = 7, .handle = leader_and_isr_handle};
