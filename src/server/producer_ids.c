/* InitProducerId for idempotent producers: ids from blocks that the controller hands out (KIP-730). */

#include "base/lock.h"
#include "base/logger.h"
#include "protocol/msg/allocate_producer_ids.h"
#include "protocol/msg/api.h"
#include "protocol/msg/init_producer_id.h"
#include "server/server_internal.h"

enum { FEW_LEFT = 100 };

struct producer_id_request {
    struct request *request;
    struct producer_id_request *next;
    struct init_producer_id_response response;
};

struct id_block {
    int64_t next, end;
};

struct producer_ids {
    struct services *services;
    struct lock lock;
    struct id_block block, spare;
    bool posted;        /* `ask`, for a spare before it is needed */
    bool asking;        /* the controller; changed on the control loop only */
    struct message ask; /* to the control loop */
    /* The control loop's: the question under way, and who waits for its answer. */
    struct link_call call;
    struct allocate_producer_ids_request request;
    struct allocate_producer_ids_response response;
    struct arena arena; /* of the response */
    struct producer_id_request *waiting;
};

static void deliver_ask(struct message *m);

struct producer_ids *producer_ids_new(struct services *s)
{
    struct producer_ids *p = xcalloc(1, sizeof(*p));
    p->services = s;
    p->ask.deliver = deliver_ask;
    lock_init(&p->lock);
    return p;
}

void producer_ids_free(struct producer_ids *p)
{
    if (p == NULL)
        return;
    lock_deinit(&p->lock);
    arena_deinit(&p->arena);
    free(p);
}

static bool is_short(const struct producer_ids *p)
{
    return p->spare.next == p->spare.end && p->block.end - p->block.next < FEW_LEFT;
}

/* Asks for the next block before this one is at its end, so that nobody waits. */
bool producer_ids_draw(struct producer_ids *p, int64_t *id)
{
    lock_take(&p->lock);
    if (p->block.next == p->block.end) {
        p->block = p->spare;
        p->spare = (struct id_block){0};
    }
    bool ok = p->block.next < p->block.end;
    if (ok)
        *id = p->block.next++;
    bool ask = !p->posted && !p->asking && is_short(p);
    p->posted |= ask;
    lock_release(&p->lock);
    if (ask)
        loop_post(p->services->control_loop, &p->ask);
    return ok;
}

static bool draw(struct producer_ids *p, struct init_producer_id_response *response)
{
    bool ok = producer_ids_draw(p, &response->producer_id);
    if (ok)
        response->producer_epoch = 0;
    return ok;
}

static void answer(struct request *r)
{
    struct producer_id_request *st = r->state;
    ANSWER(r, init_producer_id_response, &st->response);
}

static void keep_block(struct producer_ids *p)
{
    struct id_block block = {p->response.producer_id_start,
                             p->response.producer_id_start + p->response.producer_id_len};
    lock_take(&p->lock);
    if (p->block.next == p->block.end)
        p->block = block;
    else
        p->spare = block;
    lock_release(&p->lock);
}

static void set_asking(struct producer_ids *p, bool asking)
{
    lock_take(&p->lock);
    p->asking = asking;
    lock_release(&p->lock);
}

static void on_block(struct link_call *call, enum kafka_error error)
{
    struct producer_ids *p = CONTAINER_OF(call, struct producer_ids, call);
    struct producer_id_request *waiting = p->waiting;
    p->waiting = NULL;
    if (error == ERR_NONE)
        error = (enum kafka_error)p->response.error_code;
    if (error == ERR_NONE)
        keep_block(p);
    else
        log_warn("The controller gave no block of producer ids: %s", error_name((int16_t)error));
    set_asking(p, false);
    while (waiting != NULL) {
        struct producer_id_request *st = waiting;
        waiting = st->next;
        if (!draw(p, &st->response))
            st->response.error_code = ERR_COORDINATOR_LOAD_IN_PROGRESS; /* the client asks again */
        request_return(st->request, answer);
    }
}

static void ask(struct producer_ids *p)
{
    if (p->asking)
        return;
    set_asking(p, true);
    allocate_producer_ids_request_init(&p->request);
    p->request.broker_id = p->services->broker_id;
    p->request.broker_epoch = p->services->broker_epoch;
    arena_deinit(&p->arena);
    p->call = (struct link_call){.key = API_ALLOCATE_PRODUCER_IDS,
                                 .request = &p->request,
                                 .response = &p->response,
                                 .arena = &p->arena,
                                 .timeout_ms = p->services->config->request_timeout_ms,
                                 .done = on_block};
    controller_link_send(p->services->controller_link, &p->call);
}

static void deliver_ask(struct message *m)
{
    struct producer_ids *p = CONTAINER_OF(m, struct producer_ids, ask);
    lock_take(&p->lock);
    p->posted = false;
    bool needed = is_short(p); /* what somebody waited for may have brought it meanwhile */
    lock_release(&p->lock);
    if (needed)
        ask(p);
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
    ask(p);
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
    if ((request.producer_id == NO_PRODUCER_ID) != (request.producer_epoch == NO_PRODUCER_EPOCH)) {
        st->response.error_code = ERR_INVALID_REQUEST;
    } else if (request.transactional_id.p != NULL) {
        init_transactional_producer(r, &request);
        return;
    } else if (!draw(r->s->producer_ids, &st->response)) {
        request_hop(r, r->s->control_loop, wait_for_block);
        return;
    }
    answer(r);
}

const struct api_entry api_init_producer_id = {.key = API_INIT_PRODUCER_ID, .min = 0, .max = 5, .handle = handle};
