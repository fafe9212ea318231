/* InitProducerId: for idempotent producers here, for transactional ones in transactions.c. */
#include "protocol/msg/init_producer_id.h"
#include "server/authorize.h"
#include "transaction/producer_ids.h"

struct producer_id_request {
    struct request *request;
    struct producer_id_call call;
    struct init_producer_id_response response;
};

static void init_producer_id_answer(struct request *r)
{
    struct producer_id_request *st = r->state;
    ANSWER(r, init_producer_id_response, &st->response);
}

static void init_producer_id_give_id(struct producer_id_request *st, int64_t id)
{
    st->response.producer_id = id;
    st->response.producer_epoch = 0;
}

static void on_id(struct producer_id_call *call, int64_t id)
{
    struct producer_id_request *st = CONTAINER_OF(call, struct producer_id_request, call);
    if (id >= 0)
        init_producer_id_give_id(st, id);
    else
        st->response.error_code = ERR_COORDINATOR_LOAD_IN_PROGRESS; /* the client asks again */
    request_return(st->request, init_producer_id_answer);
}

static void wait_for_id(struct request *r)
{
    struct producer_id_request *st = r->state;
    st->call.done = on_id;
    producer_ids_wait(r->s->producer_ids, &st->call);
}

/* An idempotent producer needs no permission of its own if it may write to any topic (KIP-679). */
static enum kafka_error may_produce(struct request *r, struct str transactional_id)
{
    if (transactional_id.p != NULL)
        return allowed(r, ACL_WRITE, ACL_TRANSACTIONAL_ID, transactional_id)
                   ? ERR_NONE
                   : ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
    return allowed_cluster_quietly(r, ACL_IDEMPOTENT_WRITE) || allowed_somewhere(r, ACL_WRITE, ACL_TOPIC)
               ? ERR_NONE
               : ERR_CLUSTER_AUTHORIZATION_FAILED;
}

static void init_producer_id_handle(struct request *r)
{
    struct init_producer_id_request request;
    struct producer_id_request *st = ARENA_NEW(r->arena, struct producer_id_request);
    int64_t id;
    if (!DECODE(r, init_producer_id_request, &request))
        return;
    r->state = st;
    st->request = r;
    init_producer_id_response_init(&st->response);
    st->response.producer_epoch = -1;
    st->response.error_code = (int16_t)may_produce(r, request.transactional_id);
    if (st->response.error_code != ERR_NONE) {
        init_producer_id_answer(r);
        return;
    }
    if ((request.producer_id == NO_PRODUCER_ID) != (request.producer_epoch == NO_PRODUCER_EPOCH)) {
        st->response.error_code = ERR_INVALID_REQUEST;
    } else if (request.transactional_id.p != NULL) {
        init_transactional_producer(r, &request);
        return;
    } else if (producer_ids_draw(r->s->producer_ids, &id)) {
        init_producer_id_give_id(st, id);
    } else {
        request_hop(r, r->s->control_loop, wait_for_id);
        return;
    }
    init_producer_id_answer(r);
}

const struct api_entry api_init_producer_id = {
    .key = API_INIT_PRODUCER_ID, .min = 0, .max = 5, .handle = init_producer_id_handle};
