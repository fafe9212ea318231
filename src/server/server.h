/*
 * The APIs: one file for each family, which decodes a request, asks a part below, and encodes the answer.
 * The table of their entries is what is dispatched, and what ApiVersions advertises.
 */
#ifndef BARNABAS_SERVER_H
#define BARNABAS_SERVER_H

#include "cluster/controller_link.h"
#include "cluster/member.h"
#include "cluster/view.h"
#include "controller/controller.h"
#include "group/group.h"
#include "net/net.h"
#include "replica/replica.h"
#include "transaction/transaction.h"
#include "transaction/verifier.h"

struct services;

struct topic_log { /* an internal topic, as its coordinator reaches it (topic_log.c) */
    struct services *services;
    const char *topic;
    struct append_lane *lanes;
};

/* The parts of the broker that handlers ask. Made and owned by broker/broker.c; const once requests are served. */
struct services {
    const struct broker_config *config;
    struct workers *workers;
    struct workers *order_worker; /* one thread, on which orders of the controller are obeyed */
    struct order_lane *order_lane;
    struct loop *control_loop;               /* ZooKeeper, controller, administration */
    struct loop *coordinator_loop;           /* groups and transactions */
    struct zk *zk;                           /* control loop only */
    struct controller *controller;           /* control loop only */
    struct controller_link *controller_link; /* control loop only */
    struct config_watch *config_watch;       /* control loop only */
    struct group_coordinator *groups;        /* coordinator loop only */
    struct txn_coordinator *transactions;    /* the same */
    struct verifier *verifier;               /* the same */
    struct topic_log offsets_log, transactions_log;
    atomic_bool verify_transactions;  /* transaction.partition.verification.enable */
    struct broker_settings *settings; /* `config` with what was set at run time over it */
    struct topic_configs *topic_configs;
    struct log_manager *logs;
    struct replica_manager *replicas;
    struct view_board *board;
    struct fetch_sessions *fetch_sessions;
    struct producer_ids *producer_ids;
    struct missing_partitions *missing_partitions;
    struct wake_queue *const *wake_queues; /* by network loop */
    struct wake_queue *coordinator_wakes;
    struct net_server *net;
    char cluster_id[64];
    int32_t broker_id;
    _Atomic int64_t broker_epoch; /* changes when the broker registers again */
};

/* What net_server_new() takes. */
struct net_handler server_handler(struct services *s);

/* Parts with state that only the APIs need. */
struct fetch_sessions *fetch_sessions_new(int slots);
void fetch_sessions_free(struct fetch_sessions *f);
struct producer_ids *producer_ids_new(struct services *s);
void producer_ids_free(struct producer_ids *p);
/* Any thread. False when there is none at the moment; then the controller is asked for more. */
bool producer_ids_draw(struct producer_ids *p, int64_t *id);

struct order_lane *order_lane_new(void);
void order_lane_free(struct order_lane *lane);

struct missing_partitions *missing_partitions_new(struct services *s);
void missing_partitions_free(struct missing_partitions *m); /* when ZooKeeper answers no more */
/*
 * Coordinator loop. Whether a partition that the view does not have was deleted; false also while that is being asked,
 * so who needs to know calls again.
 */
bool missing_partition_is_gone(struct missing_partitions *m, struct str topic, int32_t index);

/* The seam between a coordinator and its topic; `log` stays where it is. */
struct state_log topic_log_seam(struct topic_log *log);
void topic_log_deinit(struct topic_log *log); /* when the workers have stopped */

#endif
