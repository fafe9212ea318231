/*
 * What is counted of requests that wait for something, where Kafka has its purgatories:
 * kafka.server:type=DelayedOperationPurgatory, DelayedFetchMetrics and the like. Those of members are
 * told by group/group_metrics.c.
 */
#ifndef BARNABAS_WAITING_METRICS_H
#define BARNABAS_WAITING_METRICS_H

#include "metrics/bean.h"

enum waiting_kind {
    WAITING_PRODUCE,
    WAITING_FETCH,
    WAITING_DELETE_RECORDS,
    WAITING_TOPIC,
    WAITING_ELECT_LEADER,
    WAITING_ALTER_ACLS,
    WAITING_REMOTE_FETCH,
    WAITING_KINDS,
};

struct waiting_metrics;
struct waiting_metrics *waiting_metrics_new(struct metrics *m);
void waiting_metrics_free(struct waiting_metrics *w);
/* So many more requests wait, and so many more places are taken on what they wait for; negative: fewer. NULL allowed.
 */
void waiting_count(struct waiting_metrics *w, enum waiting_kind kind, int requests, int places);
/* One has waited for as long as it may, for so many places still. `by_follower`: of a fetch, which counts as one. */
void waiting_expired(struct waiting_metrics *w, enum waiting_kind kind, int places, bool by_follower);

#endif
