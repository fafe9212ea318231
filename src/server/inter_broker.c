/* What the controller tells brokers, and what brokers ask it. */
#include "base/logger.h"
#include "protocol/msg/allocate_producer_ids.h"
#include "protocol/msg/alter_partition.h"
#include "protocol/msg/controlled_shutdown.h"
#include "protocol/msg/leader_and_isr.h"
#include "protocol/msg/stop_replica.h"
#include "protocol/msg/update_metadata.h"
#include "server/server_internal.h"

/* Whether the sender is the controller, and means this broker: not the one that it was before it registered again. */
static enum kafka_error check_sender(const struct request *r, int64_t broker_epoch, int32_t controller_epoch)
{
    if (broker_epoch >= 0 && broker_epoch < r->s->broker_epoch)
        return ERR_STALE_BROKER_EPOCH;
    return replica_check_controller(r->s->replicas, controller_epoch);
}

static struct log_limit refusals;

#define INT_LIST(array) ((struct int_list){(array).items, MAX((array).len, 0)})

/* ---- LeaderAndIsr ---- */

struct leadership {
    struct order order;
    struct leader_and_isr_request request;
    struct leader_and_isr_response response;
};

typedef struct leader_and_isr_partition_state order_state;
typedef struct leader_and_isr_partition_error order_error;

static void apply_order(struct request *r, struct str topic, struct uuid id, const order_state *in, order_error *out)
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
    l->response.error_code = check_sender(r, in->broker_epoch, in->controller_epoch); /* again: time has passed */
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

static void answer_orders(struct request *r)
{
    struct leadership *l = r->state;
    struct order_lane *lane = r->s->order_lane;
    if (l->response.error_code != ERR_NONE) {
        ARRAY_MAKE(r->arena, l->response.partition_errors, 0);
        ARRAY_MAKE(r->arena, l->response.topics, 0);
    }
    ANSWER(r, leader_and_isr_response, &l->response);
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
    l->response.error_code = check_sender(r, l->request.broker_epoch, l->request.controller_epoch);
    if (l->response.error_code == ERR_NONE)
        request_hop(r, r->s->control_loop, refresh_settings);
    else
        answer_orders(r);
}

static void handle_leader_and_isr(struct request *r)
{
    struct leadership *l = ARENA_NEW(r->arena, struct leadership);
    if (!DECODE(r, leader_and_isr_request, &l->request))
        return;
    leader_and_isr_response_init(&l->response);
    r->state = l;
    order_enter(&l->order, r, begin_leadership);
}

const struct api_entry api_leader_and_isr = {
    .key = API_LEADER_AND_ISR, .min = 0, .max = 7, .handle = handle_leader_and_isr};

/* ---- StopReplica ---- */

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

static void stop_all(struct request *r)
{
    struct stopping *s = r->state;
    const struct stop_replica_request *in = &s->request;
    s->response.error_code = check_sender(r, in->broker_epoch, in->controller_epoch);
    ARRAY_MAKE(r->arena, s->response.partition_errors, count_stops(r, in));
    s->response.partition_errors.len = 0;
    if (s->response.error_code != ERR_NONE)
        return;
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

static void handle_stop_replica(struct request *r)
{
    struct stopping *s = ARENA_NEW(r->arena, struct stopping);
    if (!DECODE(r, stop_replica_request, &s->request))
        return;
    stop_replica_response_init(&s->response);
    r->state = s;
    order_enter(&s->order, r, begin_stopping);
}

const struct api_entry api_stop_replica = {.key = API_STOP_REPLICA, .min = 0, .max = 4, .handle = handle_stop_replica};

/* ---- UpdateMetadata ---- */

typedef struct update_metadata_partition_state metadata_state;

static void take_state(struct view_change *change, struct partition_change *room, struct str topic, struct uuid id,
                       const metadata_state *in)
{
    room[change->partition_count++] = (struct partition_change){.topic = topic,
                                                                .topic_id = id,
                                                                .partition = in->partition_index,
                                                                .state = {.leader = in->leader,
                                                                          .leader_epoch = in->leader_epoch,
                                                                          .controller_epoch = in->controller_epoch,
                                                                          .partition_epoch = in->zk_version,
                                                                          .isr = INT_LIST(in->isr),
                                                                          .replicas = INT_LIST(in->replicas),
                                                                          .offline = INT_LIST(in->offline_replicas)}};
}

static void take_partitions(struct request *r, const struct update_metadata_request *in, struct view_change *change)
{
    int32_t n = MAX(in->ungrouped_partition_states.len, 0);
    for (int32_t t = 0; t < in->topic_states.len; t++)
        n += MAX(in->topic_states.items[t].partition_states.len, 0);
    struct partition_change *room = ARENA_ARRAY(r->arena, struct partition_change, MAX(n, 1));
    for (int32_t i = 0; i < in->ungrouped_partition_states.len; i++)
        if (in->ungrouped_partition_states.items[i].partition_index >= 0)
            take_state(change, room, in->ungrouped_partition_states.items[i].topic_name, UUID_ZERO,
                       &in->ungrouped_partition_states.items[i]);
    for (int32_t t = 0; t < in->topic_states.len; t++)
        for (int32_t i = 0; i < in->topic_states.items[t].partition_states.len; i++)
            if (in->topic_states.items[t].partition_states.items[i].partition_index >= 0)
                take_state(change, room, in->topic_states.items[t].topic_name, in->topic_states.items[t].topic_id,
                           &in->topic_states.items[t].partition_states.items[i]);
    change->partitions = room;
}

static const char *protocol_name(int16_t id)
{
    static const char *const names[] = {"PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"};
    return id >= 0 && (size_t)id < ARRAY_LEN(names) ? names[id] : "PLAINTEXT";
}

static void take_endpoints(struct request *r, const struct update_metadata_broker *in, struct registration *out)
{
    if (r->version == 0) {
        out->endpoints = ARENA_NEW(r->arena, struct endpoint);
        out->endpoint_count = 1;
        *out->endpoints = (struct endpoint){"PLAINTEXT", "PLAINTEXT", arena_cstr(r->arena, in->v0_host), in->v0_port};
        return;
    }
    out->endpoints = ARENA_ARRAY(r->arena, struct endpoint, MAX(in->endpoints.len, 1));
    out->endpoint_count = MAX(in->endpoints.len, 0);
    for (int32_t i = 0; i < in->endpoints.len; i++) {
        const char *protocol = protocol_name(in->endpoints.items[i].security_protocol);
        out->endpoints[i] =
            (struct endpoint){r->version >= 3 ? arena_cstr(r->arena, in->endpoints.items[i].listener) : protocol,
                              protocol, arena_cstr(r->arena, in->endpoints.items[i].host), in->endpoints.items[i].port};
    }
}

static void take_brokers(struct request *r, const struct update_metadata_request *in, struct view_change *change)
{
    int32_t n = MAX(in->live_brokers.len, 0);
    struct registration *list = ARENA_ARRAY(r->arena, struct registration, MAX(n, 1));
    for (int32_t i = 0; i < n; i++) {
        list[i].id = in->live_brokers.items[i].id;
        list[i].rack = in->live_brokers.items[i].rack.p ? arena_cstr(r->arena, in->live_brokers.items[i].rack) : NULL;
        take_endpoints(r, &in->live_brokers.items[i], &list[i]);
    }
    change->brokers = list;
    change->broker_count = n;
}

struct metadata_update {
    enum kafka_error error;
    struct group_partition *deleted;
    int32_t deleted_count;
};

static void answer_metadata_update(struct request *r)
{
    const struct metadata_update *u = r->state;
    struct update_metadata_response response;
    update_metadata_response_init(&response);
    response.error_code = u->error;
    ANSWER(r, update_metadata_response, &response);
}

/* Offsets of what is no more go before the controller is answered: a topic of that name may come again. */
static void forget_offsets(struct request *r)
{
    const struct metadata_update *u = r->state;
    group_partitions_deleted(r->s->groups, u->deleted, u->deleted_count);
    request_return(r, answer_metadata_update);
}

static void metadata_seen(struct message *m)
{
    struct request *r = CONTAINER_OF(m, struct request, message);
    const struct metadata_update *u = r->state;
    if (u->deleted_count > 0)
        request_hop(r, r->s->coordinator_loop, forget_offsets);
    else
        answer_metadata_update(r);
}

static void note_deleted(struct metadata_update *u, struct arena *a, const struct view_change *change)
{
    u->deleted = ARENA_ARRAY(a, struct group_partition, MAX(change->partition_count, 1));
    for (int32_t i = 0; i < change->partition_count; i++) {
        const struct partition_change *p = &change->partitions[i];
        if (p->state.leader == LEADER_DELETED)
            u->deleted[u->deleted_count++] = (struct group_partition){p->topic, p->partition};
    }
}

static void handle_update_metadata(struct request *r)
{
    struct update_metadata_request request;
    struct metadata_update *u = ARENA_NEW(r->arena, struct metadata_update);
    if (!DECODE(r, update_metadata_request, &request))
        return;
    r->state = u;
    u->error = check_sender(r, request.broker_epoch, request.controller_epoch);
    if (u->error != ERR_NONE) {
        answer_metadata_update(r);
        return;
    }
    struct view_change change = {.controller_id = request.controller_id,
                                 .controller_epoch = request.controller_epoch,
                                 .source = connection_serial(r->x->conn)};
    take_partitions(r, &request, &change);
    take_brokers(r, &request, &change);
    note_deleted(u, r->arena, &change);
    r->message.deliver = metadata_seen;
    view_board_apply(r->s->board, &change, exchange_loop(r->x), &r->message);
}

const struct api_entry api_update_metadata = {
    .key = API_UPDATE_METADATA, .min = 0, .max = 8, .handle = handle_update_metadata};

/* ---- ControlledShutdown ---- */

struct relief {
    struct request *r;
    struct shutdown_call call;
    enum kafka_error error;
};

static void answer_relief(struct request *r)
{
    struct relief *s = r->state;
    struct controlled_shutdown_response response;
    controlled_shutdown_response_init(&response);
    response.error_code = s->error;
    ARRAY_MAKE(r->arena, response.remaining_partitions, s->call.remaining_count);
    for (int32_t i = 0; i < s->call.remaining_count; i++) {
        struct controlled_shutdown_remaining_partition *o = &response.remaining_partitions.items[i];
        controlled_shutdown_remaining_partition_init(o);
        o->topic_name = str_of(s->call.remaining[i].topic);
        o->partition_index = s->call.remaining[i].partition;
    }
    ANSWER(r, controlled_shutdown_response, &response);
}

static void relieved(struct controller_call *call, enum kafka_error error)
{
    struct relief *s = CONTAINER_OF(CONTAINER_OF(call, struct shutdown_call, call), struct relief, call);
    s->error = error;
    request_return(s->r, answer_relief);
}

static void ask_for_relief(struct request *r)
{
    struct relief *s = r->state;
    controller_controlled_shutdown(r->s->controller, &s->call);
}

static void handle_controlled_shutdown(struct request *r)
{
    struct controlled_shutdown_request request;
    struct relief *s = ARENA_NEW(r->arena, struct relief);
    if (!DECODE(r, controlled_shutdown_request, &request))
        return;
    s->r = r;
    s->call = (struct shutdown_call){.call = {.done = relieved},
                                     .broker_id = request.broker_id,
                                     .broker_epoch = request.broker_epoch,
                                     .arena = r->arena};
    r->state = s;
    request_hop(r, r->s->control_loop, ask_for_relief);
}

const struct api_entry api_controlled_shutdown = {
    .key = API_CONTROLLED_SHUTDOWN, .min = 0, .max = 3, .handle = handle_controlled_shutdown};

/* ---- AllocateProducerIds ---- */

struct allocation {
    struct request *r;
    struct producer_ids_call call;
    enum kafka_error error;
};

static void answer_allocation(struct request *r)
{
    struct allocation *a = r->state;
    struct allocate_producer_ids_response response;
    allocate_producer_ids_response_init(&response);
    response.error_code = a->error;
    if (a->error == ERR_NONE) {
        response.producer_id_start = a->call.first;
        response.producer_id_len = a->call.count;
    }
    ANSWER(r, allocate_producer_ids_response, &response);
}

static void allocated(struct controller_call *call, enum kafka_error error)
{
    struct allocation *a = CONTAINER_OF(CONTAINER_OF(call, struct producer_ids_call, call), struct allocation, call);
    a->error = error;
    request_return(a->r, answer_allocation);
}

static void allocate(struct request *r)
{
    struct allocation *a = r->state;
    controller_allocate_producer_ids(r->s->controller, &a->call);
}

static void handle_allocate_producer_ids(struct request *r)
{
    struct allocate_producer_ids_request request;
    struct allocation *a = ARENA_NEW(r->arena, struct allocation);
    if (!DECODE(r, allocate_producer_ids_request, &request))
        return;
    a->r = r;
    a->call = (struct producer_ids_call){
        .call = {.done = allocated}, .broker_id = request.broker_id, .broker_epoch = request.broker_epoch};
    r->state = a;
    request_hop(r, r->s->control_loop, allocate);
}

const struct api_entry api_allocate_producer_ids = {
    .key = API_ALLOCATE_PRODUCER_IDS, .min = 0, .max = 0, .handle = handle_allocate_producer_ids};

/* ---- AlterPartition ---- */

struct altering {
    struct request *r;
    struct alter_partition_request request;
    struct alter_partition_response response;
    struct alter_partition_call call;
};

static void answer_alter(struct request *r)
{
    struct altering *a = r->state;
    ANSWER(r, alter_partition_response, &a->response);
}

static void altered(struct controller_call *call, enum kafka_error error)
{
    struct altering *a = CONTAINER_OF(CONTAINER_OF(call, struct alter_partition_call, call), struct altering, call);
    a->response.error_code = (int16_t)error;
    if (error != ERR_NONE)
        ARRAY_MAKE(a->r->arena, a->response.topics, 0);
    request_return(a->r, answer_alter);
}

static void alter(struct request *r)
{
    struct altering *a = r->state;
    controller_alter_partitions(r->s->controller, &a->call);
}

static void handle_alter_partition(struct request *r)
{
    struct altering *a = ARENA_NEW(r->arena, struct altering);
    if (!DECODE(r, alter_partition_request, &a->request))
        return;
    alter_partition_response_init(&a->response);
    a->r = r;
    a->call = (struct alter_partition_call){.call = {.done = altered},
                                            .version = r->version,
                                            .request = &a->request,
                                            .response = &a->response,
                                            .arena = r->arena};
    r->state = a;
    exchange_park(r->x);
    request_hop(r, r->s->control_loop, alter);
}

const struct api_entry api_alter_partition = {
    .key = API_ALTER_PARTITION, .min = 0, .max = 3, .handle = handle_alter_partition};
