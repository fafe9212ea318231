/*
 * Topics are made, grown and marked for deletion by writing to ZooKeeper, by whichever broker is asked; the
 * controller sees it there. This is that writing, with the checks before it. On the control loop.
 */
#ifndef BARNABAS_CONTROLLER_ADMIN_H
#define BARNABAS_CONTROLLER_ADMIN_H

#include "cluster/view.h"
#include "cluster/zk.h"
#include "config/config.h"
#include "protocol/error.h"

/* Null when the name is fine, else why it is not. */
struct str topic_name_problem(struct arena *a, struct str name);

struct topic_request {
    struct str name;
    int32_t partitions;      /* -1: num.partitions; of partitions_create(): the new total */
    int32_t factor;          /* -1: default.replication.factor */
    struct int_list *manual; /* by partition; NULL: placed */
    int32_t manual_count;
    struct config_pair *configs;
    int32_t config_count;
    /* What is wrong with what is said of it, for topics_create(): told unless it is there, which comes first. */
    enum kafka_error flaw;
    struct str flaw_message;
    bool manual_has_gap; /* or a partition twice: `manual` is not whole */

    enum kafka_error error;
    struct str message; /* null if there is none */
    struct uuid id;
};

struct topics_request {
    struct arena *arena; /* of the results */
    struct zk *zk;
    const struct broker_config *config;
    const struct view *view; /* of the loop that asks; with a reference */
    struct topic_request *topics;
    int32_t count;
    bool validate_only;
    int64_t replicas; /* that were asked for so far */
    /* Before so many partitions of a topic are made or deleted; false: its client has changed too many. NULL: nobody
     * counts. */
    bool (*may_change)(struct topics_request *r, int32_t partitions);
    void (*done)(struct topics_request *r);
};

void topics_create(struct topics_request *r);
void partitions_create(struct topics_request *r);
void topics_delete(struct topics_request *r);

#endif
