/* AlterPartition: a leader asks the controller to change an ISR (KIP-497). */
#include "protocol/msg/alter_partition.h"
#include "server/authorize.h"

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

static void alter_partition_done(struct controller_call *call, enum kafka_error error)
{
    struct altering *a = CONTAINER_OF(CONTAINER_OF(call, struct alter_partition_call, call), struct altering, call);
    a->response.error_code = (int16_t)error;
    if (error != ERR_NONE)
        ARRAY_MAKE(a->r->arena, a->response.topics, 0);
    request_return(a->r, answer_alter);
}

static void alter_partition_ask(struct request *r)
{
    struct altering *a = r->state;
    controller_alter_partitions(r->s->controller, &a->call);
}

static void alter_partition_handle(struct request *r)
{
    struct altering *a = ARENA_NEW(r->arena, struct altering);
    if (!DECODE(r, alter_partition_request, &a->request))
        return;
    alter_partition_response_init(&a->response);
    a->r = r;
    a->call = (struct alter_partition_call){.call = {.done = alter_partition_done},
                                            .version = r->version,
                                            .request = &a->request,
                                            .response = &a->response,
                                            .arena = r->arena};
    r->state = a;
    if (!allowed_as_broker(r)) {
        a->response.error_code = ERR_CLUSTER_AUTHORIZATION_FAILED;
        ARRAY_MAKE(r->arena, a->response.topics, 0);
        answer_alter(r);
        return;
    }
    request_park(r);
    request_hop(r, r->s->control_loop, alter_partition_ask);
}

const struct api_entry api_alter_partition = {
    .key = API_ALTER_PARTITION, .min = 0, .max = 3, .handle = alter_partition_handle};
