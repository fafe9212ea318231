/* AllocateProducerIds: a broker asks the controller for a block of producer ids (KIP-730). */
#include "protocol/msg/allocate_producer_ids.h"
#include "server/authorize.h"

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

static void allocate_ids_handle(struct request *r)
{
    struct allocate_producer_ids_request request;
    struct allocation *a = ARENA_NEW(r->arena, struct allocation);
    if (!DECODE(r, allocate_producer_ids_request, &request))
        return;
    a->r = r;
    a->call = (struct producer_ids_call){
        .call = {.done = allocated}, .broker_id = request.broker_id, .broker_epoch = request.broker_epoch};
    r->state = a;
    if (allowed_cluster(r, ACL_CLUSTER_ACTION)) {
        request_hop(r, r->s->control_loop, allocate);
        return;
    }
    a->error = ERR_CLUSTER_AUTHORIZATION_FAILED;
    answer_allocation(r);
}

const struct api_entry api_allocate_producer_ids = {
    .key = API_ALLOCATE_PRODUCER_IDS, .min = 0, .max = 0, .handle = allocate_ids_handle};
