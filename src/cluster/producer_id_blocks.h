/*
 * Blocks of producer ids: /latest_producer_id_block has the last one that was given out. It is read and set by its
 * version, and who was overtaken reads again. The controller does that for the brokers (KIP-730); before 3.0 each did
 * it for itself.
 */
#ifndef BARNABAS_CLUSTER_PRODUCER_ID_BLOCKS_H
#define BARNABAS_CLUSTER_PRODUCER_ID_BLOCKS_H

#include "cluster/zk.h"
#include "cluster/znodes.h"

/* Reads the last block: the only operation of that batch. */
void producer_ids_read(struct zk_batch *b);
/*
 * Adds what takes the next one to a batch that has nothing else, for this broker. False if what was read is no block,
 * or there are no more ids.
 */
bool producer_ids_take(const struct zk_batch *read, int32_t broker_id, struct zk_batch *b,
                       struct producer_id_block *out) NODISCARD;
/* Another one was quicker: it is to be read again. */
bool producer_ids_were_overtaken(const struct zk_batch *taken);

#endif
