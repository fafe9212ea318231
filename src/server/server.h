/*
 * The APIs: one file for each family, which decodes a request, asks a part below, and encodes the answer.
 * The table of their entries is what is dispatched, and what ApiVersions advertises.
 */
#ifndef BARNABAS_SERVER_H
#define BARNABAS_SERVER_H

#include "cluster/acl_watch.h"
#include "cluster/config_watch.h"
#include "cluster/controller_link.h"
#include "cluster/quotas.h"
#include "cluster/scram_users.h"
#include "cluster/token_watch.h"
#include "cluster/view.h"
#include "controller/controller.h"
#include "group/group.h"
#include "net/net.h"
#include "replica/replica.h"
#include "server/listener_tls.h"
#include "server/logins.h"
#include "transaction/transaction.h"
#include "transaction/verifier.h"

struct services;
struct request_metrics;
struct waiting_metrics;

/* What a broker is at, in Kafka's numbers. */
enum broker_state {
    BROKER_NOT_RUNNING = 0,
    BROKER_STARTING = 1,
    BROKER_RECOVERY = 2,
    BROKER_RUNNING = 3,
    BROKER_PENDING_CONTROLLED_SHUTDOWN = 6,
    BROKER_SHUTTING_DOWN = 7,
};

/* What serving on one network loop needs of its own. */
struct loop_share {
    struct loop *loop;
    struct wake_queue *wakes;
    struct gathering *gathering;
};

/* The parts of the broker that handlers ask. Made and owned by broker/; const once requests are served. */
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
    atomic_bool verify_transactions;         /* transaction.partition.verification.enable */
    struct broker_settings *settings;        /* `config` with what was set at run time over it */
    struct acl_board *acls;                  /* NULL: there is no authorizer, and everybody may do everything */
    struct acl_policy acl_policy;
    struct acl_watch *acl_watch; /* control loop only */
    struct topic_configs *topic_configs;
    struct log_manager *logs;
    struct replica_manager *replicas;
    struct view_board *board;
    struct fetch_sessions *fetch_sessions;
    struct producer_ids *producer_ids;
    const struct loop_share *loop_shares; /* one for each network loop */
    struct wake_queue *coordinator_wakes;
    struct net_server *net;
    struct scram_users *scram_users;
    struct tokens *tokens;           /* NULL: there are no delegation tokens */
    struct token_watch *token_watch; /* control loop only */
    struct quotas *quotas;
    struct listener_tls *tls; /* control loop only */
    struct logins *logins;    /* who may come on which listener */
    struct workers *shakers;  /* where logins are made; NULL where none are */
    struct metrics *metrics;
    atomic_int state;                        /* enum broker_state */
    struct waiting_metrics *waiting;         /* NULL: as the next */
    struct request_metrics *request_metrics; /* NULL: requests are not counted */
    char cluster_id[64];
    int32_t broker_id;
    _Atomic int64_t broker_epoch; /* changes when the broker registers again */
};

/* What net_server_new() takes. */
struct net_handler server_handler(struct services *s);

/* Parts with state that only the APIs need. */
struct order_lane *order_lane_new(void);
void order_lane_free(struct order_lane *lane);

#endif
