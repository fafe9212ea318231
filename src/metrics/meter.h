/*
 * How often, and how fast: a count with its averages of 1, 5 and 15 minutes, as Kafka's brokers have them (Yammer's
 * metrics 2.2). Every five seconds
 *
 *     now = what came since the last tick / 5 s      the first time the average is that, and then it moves towards it:
 *     average += (1 - e^(-5 / (60 minutes))) * (now - average)
 *
 * so an average is 0 for the first five seconds, and never quite 0 again. The mean is the count by the time since the
 * meter was made.
 */
#ifndef BARNABAS_METER_H
#define BARNABAS_METER_H

#include "metrics/bean.h"
#include "metrics/counter.h"

enum meter_average { METER_1_MINUTE, METER_5_MINUTES, METER_15_MINUTES, METER_AVERAGES };

/* All zeroes may be marked, and reads as nothing. */
struct meter {
    struct counter counter;
    const char *event;   /* what is counted: "bytes" */
    bool per_nanosecond; /* its rates are */
    struct metrics *metrics;
    struct meter *prev, *next; /* the registry's, as what follows */
    int64_t born_us, due_us, ticked;
    bool has_ticked;
    _Atomic double averages[METER_AVERAGES]; /* each second */
};

void meter_init(struct meter *m, struct metrics *metrics, const char *event);
/* Does nothing to one that is all zeroes. */
void meter_deinit(struct meter *m);

/* Any thread. */
static inline void meter_mark(const struct meter *m, int64_t n)
{
    counter_add(&m->counter, n);
}

static inline int64_t meter_count(const struct meter *m)
{
    return counter_read(&m->counter);
}

/* One that is made when it is first marked, and until then is not there. All zeroes. */
struct lazy_meter {
    _Atomic(struct meter *) made;
};
/* Any thread, several at once. */
void lazy_meter_mark(struct lazy_meter *l, struct metrics *metrics, const char *event, int64_t n);
void lazy_meter_deinit(struct lazy_meter *l);

static inline const struct meter *lazy_meter_get(const struct lazy_meter *l)
{
    return atomic_load_explicit(&l->made, memory_order_acquire);
}

double meter_average(const struct meter *m, enum meter_average which);
double meter_mean(const struct meter *m);

#endif
