/*
 * Metrics as Kafka's clients keep them, which its brokers use for connections and quotas: a sum and a number of events
 * over all time, and their rate, mean and most over a window of two samples of 30 s.
 *
 * Threads count, each for itself; the registry's tick takes what is new into the window once a second, which is as
 * exact as these values are. The arithmetic is that of base/rate.h. Without an event in the window a rate is 0, and
 * there is no mean and no most (NaN).
 */
#ifndef BARNABAS_WINDOW_H
#define BARNABAS_WINDOW_H

#include "metrics/counter.h"

struct metrics;

enum { WINDOW_SAMPLES = 2 };

struct window_sample {
    int64_t start_us, last_us; /* of its first and last event */
    int64_t sum, events, most;
};

/* All zeroes may be recorded to, and reads as nothing. */
struct window {
    struct counter sum, events;
    _Atomic int64_t most;             /* since the last tick */
    int64_t (*total)(const void *of); /* what it follows, instead of being told; NULL: it is told */
    const void *of;
    struct metrics *metrics;
    struct window *prev, *next; /* the registry's, as what follows */
    int64_t seen_sum, seen_events, now_us;
    struct window_sample samples[WINDOW_SAMPLES];
    int current;
};

void window_init(struct window *w, struct metrics *metrics);
/* One of amounts that are summed up elsewhere: each second, what has been added there meanwhile is an event. */
void window_init_of(struct window *w, struct metrics *metrics, int64_t (*total)(const void *of), const void *of);
void window_deinit(struct window *w);

/* Any thread; the most is right if only one records. */
static inline void window_record(struct window *w, int64_t amount)
{
    counter_add(&w->sum, amount);
    counter_add(&w->events, 1);
    if (amount > atomic_load_explicit(&w->most, memory_order_relaxed))
        atomic_store_explicit(&w->most, amount, memory_order_relaxed);
}

struct window_values {
    int64_t total, count;    /* of all time */
    double rate, per_second; /* events and amounts a second */
    double mean, most;       /* amounts */
};
void window_read(struct window *w, struct window_values *out);

#endif
