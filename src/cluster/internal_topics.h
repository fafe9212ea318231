/* The topics in which the coordinators have their state: made by the brokers themselves, when first needed. */
#ifndef BARNABAS_CLUSTER_INTERNAL_TOPICS_H
#define BARNABAS_CLUSTER_INTERNAL_TOPICS_H

#include "base/bytes.h"

#define GROUP_METADATA_TOPIC "__consumer_offsets"
#define TRANSACTION_STATE_TOPIC "__transaction_state"

static inline bool topic_is_internal(struct str name)
{
    return str_is(name, GROUP_METADATA_TOPIC) || str_is(name, TRANSACTION_STATE_TOPIC);
}

#endif
