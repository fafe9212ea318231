/*
 * LeaderAndIsr: the controller tells which partitions to lead, and which to follow from whom.
 *
 *     order_enter        one order of the controller's at a time (order_lane.c)
 *     begin_leadership   an order of an old controller, or to the broker that this was before, ends here
 *     refresh_settings   on the control loop: the settings of topics whose logs are to be made are read
 *     apply_orders       on the orders' worker: the epochs again, as a newer controller may have spoken meanwhile; logs
 *                        are made, many at once; then each partition is led or followed as told
 *     answer_orders      and the lane is free for the next
 */
#include "protocol/msg/leader_and_isr.h"
#include "base/logger.h"
#include "base/str_set.h"
#include "server/authorize.h"

static struct log_limit refusals;

struct leadership {
    struct order order;
    struct leader_and_isr_request request;
    struct leader_and_isr_response response;
};

/* What it says of a partition, and where the answer to that goes. */
struct told {
    struct leader_order *orders;
    struct leader_and_isr_partition_error **answers;
    int32_t n;
};

static void add_order(struct told *told, struct str topic, struct uuid id,
                      const struct leader_and_isr_partition_state *in, struct leader_and_isr_partition_error *out)
{
    leader_and_isr_partition_error_init(out);
    out->topic_name = topic;
    out->partition_index = in->partition_index;
    told->answers[told->n] = out;
    told->orders[told->n++] = (struct leader_order){.topic = topic,
                                                    .topic_id = id,
                                                    .index = in->partition_index,
                                                    .controller_epoch = in->controller_epoch,
                                                    .leader = in->leader,
                                                    .leader_epoch = in->leader_epoch,
                                                    .partition_epoch = in->partition_epoch,
                                                    .isr = INT_LIST(in->isr),
                                                    .replicas = INT_LIST(in->replicas),
                                                    .adding = INT_LIST(in->adding_replicas),
                                                    .removing = INT_LIST(in->removing_replicas),
                                                    .is_new = in->is_new};
}

static int32_t count_states(const struct leader_and_isr_request *in)
{
    int32_t n = MAX(in->ungrouped_partition_states.len, 0);
    for (int32_t t = 0; t < in->topic_states.len; t++)
        n += MAX(in->topic_states.items[t].partition_states.len, 0);
    return n;
}

/* Before version 2 partitions came without their topic; from version 5 on answers are grouped by topic, too. */
static void list_orders(struct request *r, struct told *told)
{
    struct leadership *l = r->state;
    struct leader_and_isr_request *in = &l->request;
    bool by_id = r->version >= 5;
    int32_t n = count_states(in);
    *told = (struct told){.orders = ARENA_ARRAY(r->arena, struct leader_order, MAX(n, 1)),
                          .answers = ARENA_ARRAY(r->arena, struct leader_and_isr_partition_error *, MAX(n, 1))};
    ARRAY_MAKE(r->arena, l->response.partition_errors, by_id ? 0 : n);
    ARRAY_MAKE(r->arena, l->response.topics, MAX(in->topic_states.len, 0));
    for (int32_t i = 0; i < in->ungrouped_partition_states.len; i++)
        add_order(told, in->ungrouped_partition_states.items[i].topic_name, UUID_ZERO,
                  &in->ungrouped_partition_states.items[i], &l->response.partition_errors.items[told->n]);
    for (int32_t t = 0; t < in->topic_states.len; t++) {
        const struct leader_and_isr_topic_state *topic = &in->topic_states.items[t];
        struct leader_and_isr_topic_error *out = &l->response.topics.items[t];
        leader_and_isr_topic_error_init(out);
        out->topic_id = topic->topic_id;
        ARRAY_MAKE(r->arena, out->partition_errors, by_id ? MAX(topic->partition_states.len, 0) : 0);
        for (int32_t i = 0; i < topic->partition_states.len; i++)
            add_order(told, topic->topic_name, by_id ? topic->topic_id : UUID_ZERO, &topic->partition_states.items[i],
                      by_id ? &out->partition_errors.items[i] : &l->response.partition_errors.items[told->n]);
    }
    ensure(told->n == n);
}

static void apply_orders(struct request *r)
{
    struct leadership *l = r->state;
    struct leader_and_isr_request *in = &l->request;
    struct told told;
    l->response.error_code = controller_check(r, in->broker_epoch, in->controller_epoch); /* again: time has passed */
    if (l->response.error_code != ERR_NONE)
        return;
    list_orders(r, &told);
    replica_make_logs(r->s->replicas, told.orders, told.n);
    for (int32_t i = 0; i < told.n; i++) {
        const struct leader_order *o = &told.orders[i];
        enum kafka_error error = replica_apply_leader(r->s->replicas, o);
        told.answers[i]->error_code = error;
        if (error != ERR_NONE && error != ERR_STALE_CONTROLLER_EPOCH)
            log_warn_limited(&refusals, "Cannot lead or follow %.*s-%d as told: %s", STR_ARGS(o->topic), o->index,
                             error_name(error));
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

/* Whether its log is to be made, as far as is known yet. */
static bool wants_log(const struct request *r, struct str topic, const struct leader_and_isr_partition_state *state)
{
    if (state->is_new || !topic_name_is_legal(topic))
        return state->is_new;
    struct plog *log = log_manager_get(r->s->logs, arena_cstr(r->arena, topic), state->partition_index);
    if (log != NULL)
        plog_unref(log);
    return log == NULL;
}

/* A new topic's settings come without a notification: they are read before its log is made. */
static void refresh_settings(struct request *r)
{
    struct leadership *l = r->state;
    const struct leader_and_isr_request *in = &l->request;
    int32_t flat = MAX(in->ungrouped_partition_states.len, 0), n = 0;
    struct str *topics = ARENA_ARRAY(r->arena, struct str, MAX(flat + MAX(in->topic_states.len, 0), 1));
    struct str_set seen = {0};
    for (int32_t i = 0; i < flat; i++) {
        const struct leader_and_isr_partition_state *state = &in->ungrouped_partition_states.items[i];
        if (wants_log(r, state->topic_name, state) && str_set_add(&seen, r->arena, state->topic_name))
            topics[n++] = state->topic_name;
    }
    for (int32_t t = 0; t < in->topic_states.len; t++) {
        const struct leader_and_isr_topic_state *topic = &in->topic_states.items[t];
        bool any = false;
        for (int32_t i = 0; i < topic->partition_states.len && !any; i++)
            any = wants_log(r, topic->topic_name, &topic->partition_states.items[i]);
        if (any)
            topics[n++] = topic->topic_name;
    }
    str_set_deinit(&seen);
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
