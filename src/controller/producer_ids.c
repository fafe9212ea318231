/*
 * Blocks of producer ids for brokers: /latest_producer_id_block has the last one that was given out. It is read and set
 * by its version; who was overtaken, as by a controller that does not know it is none any more, reads again.
 */
#include "controller/controller_internal.h"

enum { PRODUCER_ID_BLOCK = 1000 };

static struct producer_ids_call *ids_call(struct controller *c)
{
    return CONTAINER_OF(c->running->call, struct producer_ids_call, call);
}

static void read_producer_ids(struct controller *c);

static void on_producer_ids_written(struct controller *c, struct zk_batch *b)
{
    enum zk_result result = b->first->result;
    zk_batch_free(b);
    if (result == ZK_BAD_VERSION || result == ZK_NODE_EXISTS)
        read_producer_ids(c);
    else
        call_answer(c, result == ZK_OK ? ERR_NONE : ERR_UNKNOWN_SERVER_ERROR);
}

static void on_producer_ids_read(struct controller *c, struct zk_batch *b)
{
    struct producer_ids_call *call = ids_call(c);
    struct producer_id_block last = {-1, -1, -1};
    struct zk_op *op = b->first;
    bool ok = op->result == ZK_OK || op->result == ZK_NO_NODE;
    if (op->result == ZK_OK && op->value.p != NULL)
        ok = producer_ids_decode(op->value, &last);
    int32_t version = op->stat.version;
    bool missing = op->result == ZK_NO_NODE;
    zk_batch_free(b);
    if (!ok || last.last > INT64_MAX - PRODUCER_ID_BLOCK) {
        call_answer(c, ERR_UNKNOWN_SERVER_ERROR);
        return;
    }
    struct producer_id_block next = {last.last + 1, last.last + PRODUCER_ID_BLOCK, call->broker_id};
    call->first = next.first;
    call->count = PRODUCER_ID_BLOCK;
    b = ctl_batch();
    struct bytes data = producer_ids_encode(&b->arena, &next);
    if (missing)
        zk_create(b, ZNODE_PRODUCER_IDS, data, ZK_PERSISTENT);
    else
        zk_set(b, ZNODE_PRODUCER_IDS, data, version);
    ctl_submit(c, b, on_producer_ids_written);
}

static void read_producer_ids(struct controller *c)
{
    struct zk_batch *b = ctl_batch();
    zk_get(b, ZNODE_PRODUCER_IDS, false);
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
