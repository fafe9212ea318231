/*
 * The group coordinator of the classic protocol: members join, the leader assigns, offsets are committed. State
 * lives in memory and, in Apache's record formats, in the partitions of __consumer_offsets that this broker
 * leads; it is loaded when leadership comes and dropped when it goes.
 *
 * Everything runs on the coordinator loop. A request is a call: the decoded message goes in, the response is
 * filled into the call's arena, `done` is called once, on the coordinator loop, perhaps much later.
 */
#ifndef BARNABAS_GROUP_H
#define BARNABAS_GROUP_H

#include "base/arena.h"
#include "base/loop.h"
#include "config/config.h"
#include "coordinator/state_topic.h"

struct group_coordinator;
struct hearing;
struct metrics;

struct group_client {
    struct str client_id;   /* of the request header, may be null */
    struct str client_host; /* as Kafka shows it: "/127.0.0.1" */
    int16_t version;        /* of the request: some answers depend on it */
};

struct group_call {
    void (*done)(struct group_call *call);
    struct arena *arena; /* of the response; alive until done() */
    struct group_client client;
    struct group_call *next; /* the coordinator's */
};

struct group_options {
    struct loop *loop;
    struct hearing *hearing; /* of the network, by which members are heard of (coordinator/patience.h) */
    const struct broker_config *config;
    struct metrics *metrics;  /* NULL: nobody counts */
    struct state_log log;     /* of __consumer_offsets */
    int64_t (*wall_ms)(void); /* clock_wall_ms in the real program */
};

struct group_coordinator *group_coordinator_new(const struct group_options *options);
void group_coordinator_free(struct group_coordinator *gc); /* open calls are dropped without an answer */

/* __consumer_offsets, to be told who leads its partitions, and how many there are. */
struct state_topic *group_topic(struct group_coordinator *gc);

struct group_partition {
    struct str topic;
    int32_t index;
};
/* Partitions were deleted: their offsets go, of all groups. */
void group_partitions_deleted(struct group_coordinator *gc, const struct group_partition *partitions, int32_t count);
/*
 * A marker that ends a producer's transaction is in that partition of __consumer_offsets, at the offset `at`: what the
 * producer has committed in front of it counts from now on, or never. What is behind it, as said of it late, is the
 * next transaction's.
 */
void group_transaction_ended(struct group_coordinator *gc, int32_t partition, int64_t producer_id, bool committed,
                             int64_t at);

/* ---- Requests: see the message of that name ---- */

struct join_group_request;
struct join_group_response;
struct sync_group_request;
struct sync_group_response;
struct heartbeat_request;
struct heartbeat_response;
struct leave_group_request;
struct leave_group_response;
struct offset_commit_request;
struct offset_commit_response;
struct offset_fetch_request;
struct offset_fetch_response;
struct describe_groups_request;
struct describe_groups_response;
struct list_groups_request;
struct list_groups_response;
struct delete_groups_request;
struct delete_groups_response;
struct offset_delete_request;
struct offset_delete_response;

void group_join(struct group_coordinator *gc, const struct join_group_request *request,
                struct join_group_response *response, struct group_call *call);
void group_sync(struct group_coordinator *gc, const struct sync_group_request *request,
                struct sync_group_response *response, struct group_call *call);
/* Else it is refused, whoever asks, and whatever may be known of the group. */
bool group_sync_is_complete(const struct sync_group_request *request, int16_t version);
void group_heartbeat(struct group_coordinator *gc, const struct heartbeat_request *request,
                     struct heartbeat_response *response, struct group_call *call);
void group_leave(struct group_coordinator *gc, const struct leave_group_request *request,
                 struct leave_group_response *response, struct group_call *call);
/* Partitions that the caller has refused already (unknown ones) have an error in the response and are left alone. */
void group_commit(struct group_coordinator *gc, const struct offset_commit_request *request,
                  struct offset_commit_response *response, struct group_call *call);
/*
 * The same within a transaction (TxnOffsetCommit): the offsets are kept aside until it ends. `guard`: as
 * plog_begin_verification() gave it.
 */
struct group_transaction {
    int64_t producer_id, guard;
    int16_t producer_epoch;
};
void group_commit_in_transaction(struct group_coordinator *gc, const struct group_transaction *txn,
                                 const struct offset_commit_request *request, struct offset_commit_response *response,
                                 struct group_call *call);
/* What an error of the append of offsets, or of the verification before it, means to who commits. */
enum kafka_error group_commit_error(enum kafka_error error);
void group_fetch_offsets(struct group_coordinator *gc, const struct offset_fetch_request *request,
                         struct offset_fetch_response *response, struct group_call *call);
void group_describe(struct group_coordinator *gc, const struct describe_groups_request *request,
                    struct describe_groups_response *response, struct group_call *call);
void group_list(struct group_coordinator *gc, const struct list_groups_request *request,
                struct list_groups_response *response, struct group_call *call);
void group_delete(struct group_coordinator *gc, const struct delete_groups_request *request,
                  struct delete_groups_response *response, struct group_call *call);
/* The response has all partitions of the request; those with an error already are left alone. */
void group_delete_offsets(struct group_coordinator *gc, const struct offset_delete_request *request,
                          struct offset_delete_response *response, struct group_call *call);

#endif
