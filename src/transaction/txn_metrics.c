#include "transaction/txn_metrics.h"

static void txn_metrics_visit(void *ctx, struct bean_walk *w)
{
    static const char domain[] = "kafka.coordinator.transaction", type[] = "TransactionMarkerChannelManager";
    struct txn_metrics *t = ctx;
    struct window_values loads;
    window_read(&t->loads, &loads);
    const struct bean_attribute attributes[] = {{"partition-load-time-avg", "double", bean_double(loads.mean)},
                                                {"partition-load-time-max", "double", bean_double(loads.most)}};
    yield_gauge(w, t->ids, &(struct bean_name){domain, type, "UnknownDestinationQueueSize", {{0}}},
                bean_long(atomic_load(&t->homeless)));
    yield_gauge(w, t->ids + 1, &(struct bean_name){domain, type, "LogAppendRetryQueueSize", {{0}}},
                bean_long(atomic_load(&t->stalled)));
    yield_client(w, t->ids + 2, &(struct bean_name){"kafka.server", "transaction-coordinator-metrics", NULL, {{0}}},
                 &(struct bean_attributes){attributes, ARRAY_LEN(attributes)});
}

void txn_metrics_init(struct txn_metrics *t, struct metrics *m)
{
    if (m == NULL)
        return;
    t->metrics = m;
    t->ids = metrics_ids(m, 3);
    window_init(&t->loads, m);
    t->source = (struct bean_source){.visit = txn_metrics_visit, .ctx = t};
    metrics_add_source(m, &t->source);
}

void txn_metrics_deinit(struct txn_metrics *t)
{
    if (t->metrics == NULL)
        return;
    metrics_remove_source(t->metrics, &t->source);
    window_deinit(&t->loads);
}
