/*
 * UpdateMetadata: the controller tells of brokers and partitions; this broker's view of the cluster follows.
 *
 * The answer waits until every loop has the new view, and until the groups have forgotten what was deleted: when the
 * controller goes on, nothing here says any more what was before.
 */
#include "protocol/msg/update_metadata.h"
#include "base/topic_key.h"
#include "server/authorize.h"

static void update_metadata_take_state(struct view_change *change, struct partition_change *room, struct str topic,
                                       struct uuid id, const struct update_metadata_partition_state *in)
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
        if (partition_number_is_possible(in->ungrouped_partition_states.items[i].partition_index))
            update_metadata_take_state(change, room, in->ungrouped_partition_states.items[i].topic_name, UUID_ZERO,
                                       &in->ungrouped_partition_states.items[i]);
    for (int32_t t = 0; t < in->topic_states.len; t++)
        for (int32_t i = 0; i < in->topic_states.items[t].partition_states.len; i++)
            if (partition_number_is_possible(in->topic_states.items[t].partition_states.items[i].partition_index))
                update_metadata_take_state(change, room, in->topic_states.items[t].topic_name,
                                           in->topic_states.items[t].topic_id,
                                           &in->topic_states.items[t].partition_states.items[i]);
    change->partitions = room;
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
        const char *name = security_protocol_name(in->endpoints.items[i].security_protocol);
        const char *protocol = name != NULL ? name : "PLAINTEXT";
        out->endpoints[i] =
            (struct endpoint){r->version >= 3 ? arena_cstr(r->arena, in->endpoints.items[i].listener) : protocol,
                              protocol, arena_cstr(r->arena, in->endpoints.items[i].host), in->endpoints.items[i].port};
    }
}

/* None: they are those that are known. The controller goes on with what it has to say, and names them in the end. */
static void take_brokers(struct request *r, const struct update_metadata_request *in, struct view_change *change)
{
    int32_t n = MAX(in->live_brokers.len, 0);
    if (n == 0)
        return;
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

/* The same holds of settings, which are read again for a new topic before it has a log. */
static void forget_settings(struct request *r)
{
    static const struct config_znode none;
    const struct metadata_update *u = r->state;
    struct view *v = view_board_latest(r->s->board);
    for (int32_t i = 0; i < u->deleted_count; i++) {
        struct str topic = u->deleted[i].topic;
        bool again = i > 0 && str_eq(topic, u->deleted[i - 1].topic);
        if (!again && view_topic(v, topic) == NULL)
            topic_configs_take(r->s->topic_configs, arena_cstr(r->arena, topic), &none);
    }
    view_unref(v);
}

static void metadata_seen(struct message *m)
{
    struct request *r = CONTAINER_OF(m, struct request, message);
    const struct metadata_update *u = r->state;
    forget_settings(r);
    if (u->deleted_count > 0)
        request_hop(r, r->s->coordinator_loop, forget_offsets);
    else
        answer_metadata_update(r);
}

static void update_metadata_note_deleted(struct metadata_update *u, struct arena *a, const struct view_change *change)
{
    u->deleted = ARENA_ARRAY(a, struct group_partition, MAX(change->partition_count, 1));
    for (int32_t i = 0; i < change->partition_count; i++) {
        const struct partition_change *p = &change->partitions[i];
        if (p->state.leader == LEADER_DELETED)
            u->deleted[u->deleted_count++] = (struct group_partition){p->topic, p->partition};
    }
}

static void update_metadata_handle(struct request *r)
{
    struct update_metadata_request request;
    struct metadata_update *u = ARENA_NEW(r->arena, struct metadata_update);
    if (!DECODE(r, update_metadata_request, &request))
        return;
    r->state = u;
    u->error = allowed_as_broker(r) ? controller_check(r, request.broker_epoch, request.controller_epoch)
                                    : ERR_CLUSTER_AUTHORIZATION_FAILED;
    if (u->error != ERR_NONE) {
        answer_metadata_update(r);
        return;
    }
    struct view_change change = {.controller_id = request.controller_id,
                                 .controller_epoch = request.controller_epoch,
                                 .source = connection_serial(r->x->conn)};
    take_partitions(r, &request, &change);
    take_brokers(r, &request, &change);
    update_metadata_note_deleted(u, r->arena, &change);
    r->message.deliver = metadata_seen;
    view_board_apply(r->s->board, &change, exchange_loop(r->x), &r->message);
}

const struct api_entry api_update_metadata = {
    .key = API_UPDATE_METADATA, .min = 0, .max = 8, .handle = update_metadata_handle};
