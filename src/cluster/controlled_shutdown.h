/*
 * The end of a broker that other brokers are to miss as little as can be: it asks the controller to move its
 * leaderships away, controlled.shutdown.max.retries times, and then stops whatever the answer was.
 * Belongs to the loop of its controller_link.
 */
#ifndef BARNABAS_CLUSTER_CONTROLLED_SHUTDOWN_H
#define BARNABAS_CLUSTER_CONTROLLED_SHUTDOWN_H

#include "cluster/controller_link.h"
#include "protocol/msg/controlled_shutdown.h"

struct controlled_shutdown { /* embedded by who asks; zeroed before the start */
    /* `clean`: this broker leads nothing any more that others could lead. Called once, unless the link goes first. */
    void (*done)(struct controlled_shutdown *self, bool clean);
    struct controller_link *link;
    const struct broker_config *config;
    int32_t tries_left;
    struct timer pause;
    struct controlled_shutdown_request request;
    struct controlled_shutdown_response response;
    struct arena arena;
    struct link_call call;
};

void controlled_shutdown_start(struct controlled_shutdown *s, struct loop *loop, struct controller_link *link,
                               const struct broker_config *config, int32_t broker_id, int64_t broker_epoch);
void controlled_shutdown_deinit(struct controlled_shutdown *s); /* after the link is gone */

#endif
