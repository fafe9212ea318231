/*
 * The controller: the one broker of the cluster that watches ZooKeeper, elects partition leaders, and
 * tells every broker what it leads and follows (Kafka's classic controller, KIP-515 and before).
 *
 * It lives on the control loop. Every broker has one of these; it is active on the broker that won the race
 * for /controller. What happens becomes an event in a queue; events are worked on one at a time, each as
 * a chain of steps between answers from ZooKeeper. All writes are fenced by the controller epoch: as soon
 * as one is refused, or the session has gone, this controller drops all it knows.
 */
#ifndef BARNABAS_CONTROLLER_H
#define BARNABAS_CONTROLLER_H

#include "cluster/zk.h"
#include "cluster/znodes.h"
#include "config/config.h"
#include "metrics/bean.h"
#include "protocol/error.h"

struct controller;
struct topic_configs; /* cluster/config_watch.h */

struct controller_options {
    struct loop *loop;
    struct client_route *route; /* to the brokers */
    struct zk *zk;
    const struct broker_config *config;
    int32_t broker_id;
    struct topic_configs *topic_configs;
    struct metrics *metrics;    /* NULL: nobody counts */
    void (*elected)(void *ctx); /* this broker is the controller now */
    void *ctx;
};

struct controller *controller_new(const struct controller_options *options);
void controller_free(struct controller *c);

/* This broker is registered in ZooKeeper: watch /controller, and race for it. */
void controller_start(struct controller *c);
/* Everything is forgotten; waiting requests fail with ERR_NOT_CONTROLLER. To be started again with the next session. */
void controller_stop(struct controller *c, const char *why);
/* A watch has fired. */
void controller_changed(struct controller *c, const char *path);

/* Settings of the topic have changed. */
void controller_topic_configured(struct controller *c, const char *topic);
/* What topics have that do not set it themselves may be different now. */
void controller_defaults_configured(struct controller *c);

bool controller_is_active(const struct controller *c);
int32_t controller_epoch(const struct controller *c);

/* ---- Requests. Each answers once by its callback, on the control loop. ---- */

struct controller_call {
    void (*done)(struct controller_call *call, enum kafka_error error);
    struct controller_call *next;
};

/* A block of producer ids (KIP-730); `first` and `count` are set on success. */
struct producer_ids_call {
    struct controller_call call;
    int32_t broker_id;
    int64_t broker_epoch;
    int64_t first;
    int32_t count;
};
void controller_allocate_producer_ids(struct controller *c, struct producer_ids_call *call);

/* Leaders ask for other ISRs (KIP-497). `request` and `response` are messages of `version`; the answer's memory is the
 * arena's. */
struct alter_partition_request;
struct alter_partition_response;
struct alter_partition_call {
    struct controller_call call;
    int16_t version;
    const struct alter_partition_request *request;
    struct alter_partition_response *response;
    struct arena *arena;
    int32_t next_topic, next_partition; /* the controller's own: how far it has come */
};
void controller_alter_partitions(struct controller *c, struct alter_partition_call *call);

/* A broker asks to be relieved before it stops. `remaining`: partitions it still leads that have other replicas. */
struct shutdown_call {
    struct controller_call call;
    int32_t broker_id;
    int64_t broker_epoch;
    struct arena *arena; /* of the answer */
    struct topic_partition_entry *remaining;
    int32_t remaining_count;
};
void controller_controlled_shutdown(struct controller *c, struct shutdown_call *call);

/* Partitions get other replicas (KIP-455). ERR_NOT_CONTROLLER, or each item has its own error. */
struct reassign_item {
    struct str topic;
    int32_t partition;
    struct int_list target;
    bool cancel; /* back to where it was */
    enum kafka_error error;
    struct str message; /* in the call's arena; null if there is none */
};
struct reassign_call {
    struct controller_call call;
    struct reassign_item *items;
    int32_t count;
    struct arena *arena;
};
void controller_reassign(struct controller *c, struct reassign_call *call);

struct reassignment {
    struct str topic;
    int32_t partition;
    struct int_list replicas, adding, removing;
};
struct list_reassignments_call {
    struct controller_call call;
    const struct topic_partition_entry *asked; /* NULL: all */
    int32_t asked_count;
    struct arena *arena; /* of the answer */
    struct reassignment *found;
    int32_t found_count;
};
void controller_list_reassignments(struct controller *c, struct list_reassignments_call *call);

/* Elections that somebody asks for (KIP-183, KIP-460). ERR_NOT_CONTROLLER, or each item has its own error. */
enum election_type { ELECTION_PREFERRED = 0, ELECTION_UNCLEAN = 1 };
struct elect_item {
    struct str topic;
    int32_t partition;
    enum kafka_error error;
    int32_t leader; /* that was elected */
};
struct elect_call {
    struct controller_call call;
    enum election_type type;
    struct elect_item *items;
    int32_t count;
};
void controller_elect(struct controller *c, struct elect_call *call);

#endif
