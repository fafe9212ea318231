/* ControlledShutdown: a broker asks the controller to lead nothing any more (KIP-49). */
#include "protocol/msg/controlled_shutdown.h"
#include "server/authorize.h"

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

static void controlled_shutdown_handle(struct request *r)
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
    if (allowed_as_broker(r)) {
        request_hop(r, r->s->control_loop, ask_for_relief);
        return;
    }
    s->error = ERR_CLUSTER_AUTHORIZATION_FAILED;
    answer_relief(r);
}

const struct api_entry api_controlled_shutdown = {
    .key = API_CONTROLLED_SHUTDOWN, .min = 0, .max = 3, .handle = controlled_shutdown_handle};
