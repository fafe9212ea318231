/* What is counted of groups: kafka.coordinator.group:type=GroupMetadataManager,
 * kafka.server:type=group-coordinator-metrics. */
#ifndef BARNABAS_GROUP_METRICS_H
#define BARNABAS_GROUP_METRICS_H

#include "metrics/bean.h"
#include "metrics/window.h"

enum group_figure { /* how many there are now; the first ones by enum group_state */
                    GROUPS_BY_STATE,
                    GROUPS_MEMBERS = 5,
                    GROUPS_OFFSETS,
                    GROUP_FIGURES,
};

enum group_happening { /* how often */
                       GROUPS_COMMITS,
                       GROUPS_DELETIONS,
                       GROUPS_EXPIRATIONS,
                       GROUPS_REBALANCES,
                       GROUP_HAPPENINGS,
};

/* All zeroes may be counted in, and nobody hears of it. */
struct group_metrics {
    struct metrics *metrics;
    struct bean_source source;
    int64_t ids;
    atomic_int_fast64_t figures[GROUP_FIGURES]; /* written on the coordinator loop */
    struct window happenings[GROUP_HAPPENINGS];
    struct window loads; /* of partitions, in milliseconds */
};

void group_metrics_init(struct group_metrics *g, struct metrics *m);
void group_metrics_deinit(struct group_metrics *g);

static inline void group_metrics_change(struct group_metrics *g, enum group_figure which, int64_t change)
{
    atomic_fetch_add_explicit(&g->figures[which], change, memory_order_relaxed);
}

#endif
