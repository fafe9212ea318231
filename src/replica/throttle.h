/*
 * How fast replicas are copied that an operator has throttled (KIP-73): bytes in samples of a length, averaged over the
 * last so many. Any thread.
 *
 * It is told of as Kafka's sensors are: from when it first mattered until nothing has been copied for an hour.
 */
#ifndef BARNABAS_REPLICA_THROTTLE_H
#define BARNABAS_REPLICA_THROTTLE_H

#include <stdatomic.h>

#include "base/base.h"
#include "base/lock.h"

enum { THROTTLE_MOST_SAMPLES = 128 };

struct throttle {
    atomic_int_fast64_t mattered_ms; /* the last time; 0: never */
    struct lock lock;                /* guards what follows */
    int64_t limit;                   /* bytes a second */
    int64_t sample_ms, sample_count;
    int64_t newest; /* the number of the last sample, in units of sample_ms since the clock's start */
    int64_t bytes[THROTTLE_MOST_SAMPLES];
};

void throttle_init(struct throttle *t, int32_t sample_count, int32_t sample_seconds);
void throttle_deinit(struct throttle *t);
void throttle_set_limit(struct throttle *t, int64_t bytes_a_second);
/* `now` is the monotonic clock's, in ms. */
void throttle_note(struct throttle *t, int64_t bytes, int64_t now);
bool throttle_is_spent(struct throttle *t, int64_t now);
/* It matters now, as somebody is served who could be throttled. */
void throttle_touch(struct throttle *t, int64_t now);
/* How many bytes a second. False: nobody need be told. */
bool throttle_read(struct throttle *t, int64_t now, double *bytes_a_second);

#endif
