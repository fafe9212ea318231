/*
 * What is counted of following: kafka.server:type=ReplicaFetcherManager, FetcherStats and FetcherLagMetrics, and of
 * moves between directories, ReplicaAlterLogDirsManager. A loop's way to one leader is what Kafka has a thread for:
 * ReplicaFetcherThread-LOOP-LEADER.
 */
#ifndef BARNABAS_FETCHER_METRICS_H
#define BARNABAS_FETCHER_METRICS_H

#include "replica/replica.h"

struct fetcher_metrics;
struct fetcher_counts; /* of the way to one leader; NULL: nobody counts */

/* `lane` is by which loop a partition is followed. Any thread. */
struct fetcher_metrics *fetcher_metrics_new(struct metrics *m, struct replica_manager *replicas,
                                            int (*lane)(void *ctx, struct partition *p), void *ctx);
void fetcher_metrics_free(struct fetcher_metrics *m); /* NULL allowed */

struct fetcher_counts *fetcher_counts_new(struct fetcher_metrics *m, int lane, int32_t leader, const char *host,
                                          int port);
void fetcher_counts_free(struct fetcher_counts *c);
/* So many more partitions, or fewer, rest as their logs could not be appended to or cut. NULL: nobody counts. */
void fetcher_count_failed(struct fetcher_metrics *m, int change);
void fetcher_count_request(struct fetcher_counts *c);
void fetcher_count_bytes(struct fetcher_counts *c, int64_t bytes); /* of records that were appended */

#endif
