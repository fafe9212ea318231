/*
 * How a coordinator reaches the partitions of its internal topic: the seam of state_topic.h, over replicas.
 *
 * What is appended to one partition reaches it in the order it was asked for, as what is last there is true. An append
 * is done on the loop, as a producer's is, unless it is going to wait for the disk, as its segment is full, or the last
 * one to its partition has: then a worker does it, taking all that waits at once, until the disk is quick again. So a
 * disk that becomes slow holds up the loop once, and then only who writes to it. Reads are for workers.
 */
#ifndef BARNABAS_COORDINATOR_TOPIC_LOG_H
#define BARNABAS_COORDINATOR_TOPIC_LOG_H

#include "base/workers.h"
#include "coordinator/state_topic.h"

struct replica_manager;
struct topic_log;
struct wake_queue;

struct topic_log_options {
    const char *topic;        /* stays */
    struct loop *loop;        /* the coordinators' */
    struct wake_queue *wakes; /* of that loop */
    struct workers *workers;
};

struct topic_log *topic_log_new(const struct topic_log_options *options);
void topic_log_set_replicas(struct topic_log *log, struct replica_manager *replicas); /* before anything is elected */
void topic_log_free(struct topic_log *log); /* when the workers have stopped */
struct state_log topic_log_seam(struct topic_log *log);

#endif
