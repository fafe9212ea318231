/* Blocks of producer ids for brokers (cluster/producer_id_blocks.h). A controller that is none any more harms nobody.
 */
#include "cluster/producer_id_blocks.h"
#include "controller/controller_internal.h"

static struct producer_ids_call *ids_call(struct controller *c)
{
    return CONTAINER_OF(c->running->call, struct producer_ids_call, call);
}

static void read_producer_ids(struct controller *c);

static void on_producer_ids_written(struct controller *c, struct zk_batch *b)
{
    enum zk_result result = b->first->result;
    bool overtaken = producer_ids_were_overtaken(b);
    zk_batch_free(b);
    if (overtaken)
        read_producer_ids(c);
    else
        call_answer(c, result == ZK_OK ? ERR_NONE : ERR_UNKNOWN_SERVER_ERROR);
}

static void on_producer_ids_read(struct controller *c, struct zk_batch *read)
{
    struct producer_ids_call *call = ids_call(c);
    struct producer_id_block next;
    struct zk_batch *b = ctl_batch();
    bool ok = producer_ids_take(read, call->broker_id, b, &next);
    zk_batch_free(read);
    if (!ok) {
        zk_batch_free(b);
        call_answer(c, ERR_UNKNOWN_SERVER_ERROR);
        return;
    }
    call->first = next.first;
    call->count = (int32_t)(next.last - next.first + 1);
    ctl_submit(c, b, on_producer_ids_written);
}

static void read_producer_ids(struct controller *c)
{
    struct zk_batch *b = ctl_batch();
    producer_ids_read(b);
    ctl_submit(c, b, on_producer_ids_read);
}

static void allocate_producer_ids(struct controller *c, struct event *e UNUSED)
{
    struct producer_ids_call *call = ids_call(c);
    const struct ctl_broker *b = context_broker(c, call->broker_id);
    if (b == NULL)
        call_answer(c, ERR_BROKER_ID_NOT_REGISTERED);
    else if (b->registration.epoch != call->broker_epoch)
        call_answer(c, ERR_STALE_BROKER_EPOCH);
    else
        read_producer_ids(c);
}

void controller_allocate_producer_ids(struct controller *c, struct producer_ids_call *call)
{
    ctl_post_call(c, "AllocateProducerIds", allocate_producer_ids, &call->call, ERR_NOT_CONTROLLER);
}
