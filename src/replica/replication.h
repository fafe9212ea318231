/*
 * Replication as a whole: the loops on which this broker follows others, the asking for changes of the ISRs that it
 * leads, and the copying from one log directory to another. Orders come from replica_options' callbacks, on any thread.
 */
#ifndef BARNABAS_REPLICA_REPLICATION_H
#define BARNABAS_REPLICA_REPLICATION_H

#include "base/workers.h"
#include "cluster/controller_link.h"
#include "replica/replica.h"

struct replication;

struct metrics;

struct replication_options {
    struct metrics *metrics; /* NULL: nobody counts */
    const struct broker_config *config;
    int32_t broker_id;
    struct loop *control;
    struct workers *workers;            /* for moving logs between directories */
    struct client_route *route;         /* to the leaders */
    struct controller_link *link;       /* on the control loop */
    int64_t (*broker_epoch)(void *ctx); /* any thread */
    void *ctx;
};

struct replication *replication_new(const struct replication_options *options);
/* Its loops must get views; nothing runs before replication_start(). */
int replication_loop_count(const struct replication *r);
struct loop *replication_loop(const struct replication *r, int i);
void replication_start(struct replication *r, struct replica_manager *replicas); /* control loop */
void replication_stop(struct replication *r);                                    /* control loop: no more requests */
void replication_free(struct replication *r);                                    /* after the link is gone */

void replication_look(struct replication *r, struct partition *p); /* its role may have changed */
void replication_isr_wanted(struct replication *r, struct partition *p);
void replication_move_wanted(struct replication *r, struct partition *p); /* its log, to another directory */

#endif
