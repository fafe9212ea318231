#include "cluster/producer_id_blocks.h"

enum { PRODUCER_ID_BLOCK = 1000 };

void producer_ids_read(struct zk_batch *b)
{
    zk_get(b, ZNODE_PRODUCER_IDS, false);
}

static bool read_last(const struct zk_op *op, struct producer_id_block *last)
{
    *last = (struct producer_id_block){-1, -1, -1};
    if (op->result != ZK_OK)
        return op->result == ZK_NO_NODE;
    return op->value.p == NULL || producer_ids_decode(op->value, last);
}

bool producer_ids_take(const struct zk_batch *read, int32_t broker_id, struct zk_batch *b,
                       struct producer_id_block *out)
{
    const struct zk_op *op = read->first;
    struct producer_id_block last;
    if (!read_last(op, &last) || last.last < -1 || last.last > INT64_MAX - PRODUCER_ID_BLOCK)
        return false;
    *out = (struct producer_id_block){last.last + 1, last.last + PRODUCER_ID_BLOCK, broker_id};
    struct bytes data = producer_ids_encode(&b->arena, out);
    if (op->result == ZK_NO_NODE)
        zk_create(b, ZNODE_PRODUCER_IDS, data, ZK_PERSISTENT);
    else
        zk_set(b, ZNODE_PRODUCER_IDS, data, op->stat.version);
    return true;
}

bool producer_ids_were_overtaken(const struct zk_batch *taken)
{
    enum zk_result result = taken->first->result;
    return result == ZK_BAD_VERSION || result == ZK_NODE_EXISTS;
}
