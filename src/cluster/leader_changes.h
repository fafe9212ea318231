/*
 * Leaders that changed of late, as the controller has told this broker. Those that went from one broker to another at
 * about the same time count as one change. Who keeps them guards them.
 */
#ifndef BARNABAS_CLUSTER_LEADER_CHANGES_H
#define BARNABAS_CLUSTER_LEADER_CHANGES_H

#include "base/topic_key.h"

enum { LEADER_CHANGES_KEPT = 20 };

struct leader_change {
    int64_t ms;                         /* wall clock, when the first of them was told */
    int32_t from, to;                   /* brokers; LEADER_NONE */
    int32_t partitions;                 /* how many */
    char topic[LONGEST_TOPIC_NAME + 1]; /* of the first of them */
    int32_t partition;
};

struct leader_changes {
    struct leader_change ring[LEADER_CHANGES_KEPT];
    int64_t count; /* of all that there were */
};

void leader_changes_note(struct leader_changes *e, int64_t now_ms, int32_t from, int32_t to, struct str topic,
                         int32_t partition);
/* The newest first. Returns how many. */
int leader_changes_read(const struct leader_changes *e, struct leader_change out[LEADER_CHANGES_KEPT]);

#endif
