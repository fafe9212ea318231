/* On which brokers the replicas of new partitions lie. */
#ifndef BARNABAS_PLACEMENT_H
#define BARNABAS_PLACEMENT_H

#include "cluster/znodes.h"
#include "protocol/error.h"

/*
 * As Kafka does it: the leader of each partition is the next broker, its followers are shifted by a step that grows
 * each round; racks alternate where brokers have one (KIP-36). `start` -1: at random. Returns an error with a message,
 * or fills `out` with partitions `first` to `first + count - 1`.
 *
 * By an example: of brokers 1, 2 and 3 a topic has partition 0 on [2, 3], and gets two more. Then `first` is 1, and
 * `start` the place of broker 2, which is 1. Partition 1 is led by the broker at place (1 + 1) % 3, which is 3, and
 * followed by the one that is 1 + 1 % 2 places further, which is 2: [3, 2]. Partition 2 is on [1, 3]. With partition 3
 * a round is over, and the step is 2.
 */
enum kafka_error replicas_place(struct arena *a, const struct registration *brokers, int32_t broker_count,
                                int32_t count, int32_t factor, int32_t start, int32_t first, struct int_list *out,
                                struct str *message);

#endif
