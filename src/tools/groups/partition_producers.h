/* Who has written to partitions of late, and has a transaction open in them: DescribeProducers (KIP-664). */
#ifndef BARNABAS_TOOLS_GROUPS_PARTITION_PRODUCERS_H
#define BARNABAS_TOOLS_GROUPS_PARTITION_PRODUCERS_H

#include "protocol/msg/describe_producers.h"
#include "tools/kit/ask.h"

struct producers_place {
    struct str topic;
    int32_t partition, leader; /* -1: there is none now */
    bool told;                 /* of */
};

struct producers_query {
    struct asker *asker;
    int32_t broker; /* that is asked; -1: the leaders */
    /* Called once for each partition; what the answer points to is gone afterwards. */
    void (*take)(void *arg, const struct producers_place *at, const struct describe_producers_partition_response *p);
    void *arg;
};

/*
 * Leaders that are away or change are looked for, and asked, again, as long as ask_patience_ms() says. False: of some
 * partition nothing could be learned, or never will be. The places' order changes.
 */
bool partition_producers_learn(const struct producers_query *q, struct producers_place *v, int32_t n,
                               struct fail *fail) NODISCARD;

#endif
