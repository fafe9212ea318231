/* What the files of metrics/ share: the registry. */
#ifndef BARNABAS_METRICS_INTERNAL_H
#define BARNABAS_METRICS_INTERNAL_H

#include <pthread.h>

#include "base/lock.h"
#include "metrics/histogram.h"
#include "metrics/window.h"

struct metrics {
    int64_t (*now_us)(void);
    atomic_int_fast64_t next_id;
    struct lock lock; /* guards all that follows, and how far what is in the lists has ticked */
    pthread_cond_t visited;
    int visits;                  /* under way */
    struct bean_source *sources; /* utlist, as the others */
    size_t source_count;
    struct bean_counts counts;
    struct meter *meters;
    struct histogram *histograms;
    struct window *windows;
};

/* All under the lock. */
void meter_tick(struct meter *m, int64_t now_us);
void histogram_tick(struct histogram *h, int64_t now_us);
void window_tick(struct window *w, int64_t now_us);

/* The attributes of each kind; see bean_read(). */
int meter_attributes(const struct meter *m, struct bean_attribute *out);
int histogram_attributes(const struct histogram *h, struct bean_attribute *out);
int timing_attributes(const struct timing *t, struct bean_attribute *out);

#endif
