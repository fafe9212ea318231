/*
 * What is counted of the transaction coordinator: markers without a leader to go to, ends of transactions that are to
 * be written again, and how long it took to load a partition. Changed on the coordinator's loop, read by any thread.
 */
#ifndef BARNABAS_TXN_METRICS_H
#define BARNABAS_TXN_METRICS_H

#include <stdatomic.h>

#include "metrics/bean.h"
#include "metrics/window.h"

struct txn_metrics {
    struct metrics *metrics; /* NULL: nobody counts */
    struct bean_source source;
    int64_t ids;
    atomic_int homeless, stalled;
    struct window loads; /* milliseconds */
};

void txn_metrics_init(struct txn_metrics *t, struct metrics *m);
void txn_metrics_deinit(struct txn_metrics *t);

#endif
