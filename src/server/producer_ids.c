/* InitProducerId for idempotent producers: ids from blocks that the controller hands out (KIP-730). */
#include <pthread.h>

#include "protocol/msg/init_producer_id.h"
#include "server/server_internal.h"

struct producer_id_request {
    struct request *request;
    struct producer_id_request *next;
    struct init_producer_id_response response;
};

struct producer_ids {
    struct services *services;
    pthread_mutex_t lock;
    int64_t next, end; /* of the block in use */
    /* The control loop's: a question under way, and who waits for its answer. */
    bool asking;
    struct producer_ids_call call;
    struct producer_id_request *waiting;
};

struct producer_ids *producer_ids_new(struct services *s)
{
    struct producer_ids *p = xcalloc(1, sizeof(*p));
    p->services = s;
    pthread_mutex_init(&p->lock, NULL);
    return p;
}

void producer_ids_free(struct producer_ids *p)
{
    if (p == NULL)
        return;
    pthread_mutex_destroy(&p->lock);
    free(p);
}

static bool draw(struct producer_ids *p, struct init_producer_id_response *response)
{
    pthread_mutex_lock(&p->lock);
    bool ok = p->next < p->end;
    if (ok) {
        response->producer_id = p->next++;
        response->producer_epoch = 0;
    }
    pthread_mutex_unlock(&p->lock);
    return ok;
}

static void answer(struct request *r)
{
    struct producer_id_request *st = r->state;
    ANSWER(r, init_producer_id_response, &st->response);
}

static void take_block(struct controller_call *call, enum kafka_error error)
{
    struct producer_ids *p =
        CONTAINER_OF(CONTAINER_OF(call, struct producer_ids_call, call), struct producer_ids, call);
    struct producer_id_request *waiting = p->waiting;
    p->asking = false;
    p->waiting = NULL;
    if (error == ERR_NONE) {
        pthread_mutex_lock(&p->lock);
        p->next = p->call.first;
        p->end = p->call.first + p->call.count;
        pthread_mutex_unlock(&p->lock);
    }
    while (waiting != NULL) {
        struct producer_id_request *st = waiting;
        waiting = st->next;
        if (!draw(p, &st->response))
            st->response.error_code = ERR_COORDINATOR_LOAD_IN_PROGRESS; /* the client asks again */
        request_return(st->request, answer);
    }
}

static void wait_for_block(struct request *r)
{
    struct producer_ids *p = r->s->producer_ids;
    struct producer_id_request *st = r->state;
    if (draw(p, &st->response)) { /* it came meanwhile */
        request_return(r, answer);
        return;
    }
    st->next = p->waiting;
    p->waiting = st;
    if (p->asking)
        return;
    p->asking = true;
    p->call = (struct producer_ids_call){
        .call = {.done = take_block}, .broker_id = r->s->broker_id, .broker_epoch = r->s->broker_epoch};
    controller_allocate_producer_ids(r->s->controller, &p->call);
}

static void handle(struct request *r)
{
    struct init_producer_id_request request;
    struct producer_id_request *st = ARENA_NEW(r->arena, struct producer_id_request);
    if (!DECODE(r, init_producer_id_request, &request))
        return;
    r->state = st;
    st->request = r;
    init_producer_id_response_init(&st->response);
    st->response.producer_epoch = -1;
    if (request.transactional_id.p != NULL) {
        /* No transaction coordinator yet: said once and for good, or the client would ask for ever. */
        st->response.error_code =
            request.transactional_id.len == 0 ? ERR_INVALID_REQUEST : ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
    } else if (!draw(r->s->producer_ids, &st->response)) {
        request_hop(r, r->s->control_loop, wait_for_block);
        return;
    }
    answer(r);
}

const struct api_entry api_init_producer_id = {.key = API_INIT_PRODUCER_ID, .min = 0, .max = 5, .handle = handle};
