#include "transaction/producer_ids.h"

#include "base/lock.h"
#include "base/logger.h"
#include "cluster/producer_id_blocks.h"
#include "protocol/msg/allocate_producer_ids.h"
#include "protocol/msg/api.h"

enum { FEW_LEFT = 100 };

struct id_block {
    int64_t next, end;
};

struct producer_ids {
    struct producer_ids_options options;
    struct lock lock;
    struct id_block block, spare;
    bool posted;        /* `ask`, for a spare before it is needed */
    bool asking;        /* the controller, or ZooKeeper; changed on the control loop only */
    struct message ask; /* to the control loop */
    /* The control loop's: the question under way, and who waits for its answer. */
    struct link_call call;
    struct allocate_producer_ids_request request;
    struct allocate_producer_ids_response response;
    struct arena arena;             /* of the response */
    struct producer_id_block taken; /* in ZooKeeper, once that is written */
    struct producer_id_call *waiting;
};

static void deliver_ask(struct message *m);

struct producer_ids *producer_ids_new(const struct producer_ids_options *options)
{
    struct producer_ids *p = xcalloc(1, sizeof(*p));
    p->options = *options;
    p->ask.deliver = deliver_ask;
    lock_init(&p->lock, RANK_PRODUCER_IDS);
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
    ensure(lock_is_held(&p->lock));
    return p->spare.next == p->spare.end && p->block.end - p->block.next < FEW_LEFT;
}

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
        loop_post(p->options.control, &p->ask);
    return ok;
}

static void keep_block(struct producer_ids *p, struct id_block block)
{
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

static void producer_ids_answer(struct producer_ids *p)
{
    struct producer_id_call *waiting = p->waiting;
    p->waiting = NULL;
    ensure(p->asking && loop_is_mine(p->options.control));
    set_asking(p, false);
    while (waiting != NULL) {
        struct producer_id_call *c = waiting;
        int64_t id;
        waiting = c->next;
        c->done(c, producer_ids_draw(p, &id) ? id : -1);
    }
}

/* ---- From ZooKeeper ---- */

static void read_last_block(struct producer_ids *p);

static void refused_by_zookeeper(struct producer_ids *p)
{
    log_warn("No block of producer ids could be taken from " ZNODE_PRODUCER_IDS);
    producer_ids_answer(p);
}

static void on_block_taken(struct zk_batch *b)
{
    struct producer_ids *p = b->ctx;
    bool ok = b->first->result == ZK_OK, overtaken = producer_ids_were_overtaken(b);
    zk_batch_free(b);
    if (overtaken) {
        read_last_block(p);
    } else if (!ok) {
        refused_by_zookeeper(p);
    } else {
        keep_block(p, (struct id_block){p->taken.first, p->taken.last + 1});
        producer_ids_answer(p);
    }
}

static void on_last_block(struct zk_batch *read)
{
    struct producer_ids *p = read->ctx;
    struct zk_batch *b = zk_batch_new(on_block_taken);
    bool ok = producer_ids_take(read, p->options.broker_id, b, &p->taken);
    b->ctx = p;
    zk_batch_free(read);
    if (ok) {
        zk_submit(p->options.zk, b);
    } else {
        zk_batch_free(b);
        refused_by_zookeeper(p);
    }
}

static void read_last_block(struct producer_ids *p)
{
    struct zk_batch *b = zk_batch_new(on_last_block);
    b->ctx = p;
    producer_ids_read(b);
    zk_submit(p->options.zk, b);
}

/* ---- From the controller ---- */

static void on_block(struct link_call *call, enum kafka_error error)
{
    struct producer_ids *p = CONTAINER_OF(call, struct producer_ids, call);
    const struct allocate_producer_ids_response *r = &p->response;
    if (error == ERR_UNSUPPORTED_VERSION) {
        read_last_block(p);
        return;
    }
    if (error == ERR_NONE)
        error = (enum kafka_error)r->error_code;
    if (error == ERR_NONE)
        keep_block(p, (struct id_block){r->producer_id_start, r->producer_id_start + r->producer_id_len});
    else
        log_warn("The controller gave no block of producer ids: %s", error_name((int16_t)error));
    producer_ids_answer(p);
}

static void ask_for_block(struct producer_ids *p)
{
    allocate_producer_ids_request_init(&p->request);
    p->request.broker_id = p->options.broker_id;
    p->request.broker_epoch = p->options.broker_epoch(p->options.ctx);
    arena_deinit(&p->arena);
    p->call = (struct link_call){.key = API_ALLOCATE_PRODUCER_IDS,
                                 .request = &p->request,
                                 .response = &p->response,
                                 .arena = &p->arena,
                                 .timeout_ms = p->options.timeout_ms,
                                 .done = on_block};
    controller_link_send(p->options.link, &p->call);
}

static void producer_ids_ask(struct producer_ids *p)
{
    ensure(loop_is_mine(p->options.control));
    if (p->asking)
        return;
    set_asking(p, true);
    if (p->options.by_controller)
        ask_for_block(p);
    else
        read_last_block(p);
}

static void deliver_ask(struct message *m)
{
    struct producer_ids *p = CONTAINER_OF(m, struct producer_ids, ask);
    lock_take(&p->lock);
    p->posted = false;
    bool needed = is_short(p); /* what somebody waited for may have brought it meanwhile */
    lock_release(&p->lock);
    if (needed)
        producer_ids_ask(p);
}

void producer_ids_wait(struct producer_ids *p, struct producer_id_call *call)
{
    int64_t id;
    ensure(loop_is_mine(p->options.control));
    if (producer_ids_draw(p, &id)) { /* it came meanwhile */
        call->done(call, id);
        return;
    }
    call->next = p->waiting;
    p->waiting = call;
    producer_ids_ask(p);
}
