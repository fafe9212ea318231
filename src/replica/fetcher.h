/*
 * The following half of replication: fetches from leaders, appends what comes, cuts back what the leader does not have
 * (KIP-101, KIP-279, KIP-595's truncation by fetch), with fetch sessions (KIP-227), so that partitions where nothing
 * happens cost nothing. One of these per replication loop; partitions are spread over them.
 */
#ifndef BARNABAS_REPLICA_FETCHER_H
#define BARNABAS_REPLICA_FETCHER_H

#include "base/loop.h"
#include "replica/replica.h"

struct fetchers;

struct fetchers_options {
    struct loop *loop;          /* one of those that get views */
    struct client_route *route; /* to the leaders */
    const struct broker_config *config;
    int lane; /* its loop's number, among those that follow */
    int32_t broker_id;
    int64_t (*broker_epoch)(void *ctx); /* of this broker's registration; any thread */
    void *ctx;
};

struct fetchers *fetchers_new(const struct fetchers_options *options);
/* After its loop has ended; orders that are still in its mailbox are dropped when the loop is freed. */
void fetchers_close(struct fetchers *f);
void fetchers_free(struct fetchers *f); /* after the loop is freed */

struct fetcher_metrics;
/* It counts from now on. Before its loop runs. */
void fetchers_count(struct fetchers *f, struct fetcher_metrics *m);
/* The partition's role may have changed: it follows whom partition_role() names. Any thread. */
void fetchers_look(struct fetchers *f, struct partition *p);

#endif
