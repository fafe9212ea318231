/*
 * The transaction coordinator (KIP-98): who holds a transactional id, what partitions its transaction includes, and
 * that each of them gets the marker that ends it. State lives in memory and, in Apache's record formats, in the
 * partitions of
 * __transaction_state that this broker leads. What was decided is completed by whoever leads the partition next.
 *
 * Everything runs on the loop of the coordinators. A request is a call: `done` is called once, on that loop, perhaps
 * much later, perhaps from within.
 */
#ifndef BARNABAS_TRANSACTION_H
#define BARNABAS_TRANSACTION_H

#include "cluster/broker_link.h"
#include "config/config.h"
#include "coordinator/state_topic.h"

struct hearing;
struct txn_coordinator;

enum { TXN_NO_LEADER = -1, TXN_NO_PARTITION = -2 };

struct txn_options {
    struct loop *loop;
    struct hearing *hearing; /* of the network, by which producers are heard of (coordinator/patience.h) */
    const struct broker_config *config;
    struct state_log log;     /* of __transaction_state */
    int64_t (*wall_ms)(void); /* clock_wall_ms in the real program */
    /* False when there is none at the moment; some are under way then. */
    bool (*draw_producer_id)(void *ctx, int64_t *id);
    /* The broker that a partition's marker is sent to; TXN_NO_LEADER for now, TXN_NO_PARTITION any more. */
    int32_t (*leader_of)(void *ctx, struct str topic, int32_t index);
    void (*send)(void *ctx, int32_t broker, struct broker_call *call); /* broker_links_send() */
    void *ctx;
    struct metrics *metrics; /* NULL: nobody counts */
};

struct txn_coordinator *txn_coordinator_new(const struct txn_options *options);
void txn_coordinator_free(struct txn_coordinator *tc); /* after what it sends by was closed */

/* __transaction_state, to be told who leads its partitions, and how many there are. */
/* A line of the log: how many transactions there are in which state. */
void txn_tell_state(struct txn_coordinator *tc);
struct state_topic *txn_topic(struct txn_coordinator *tc);

/* ---- Requests ---- */

struct txn_producer { /* who asks; strings stay until the call is done */
    struct str transactional_id;
    int64_t id;
    int16_t epoch;
};

struct txn_partition_ref {
    struct str topic;
    int32_t index;
};

struct txn_call {
    void (*done)(struct txn_call *call, enum kafka_error error);
    int64_t producer_id; /* of txn_init_producer(), when there is no error */
    int16_t producer_epoch;
};

/* InitProducerId with a transactional id. Id and epoch of `who` are those that it has (KIP-360), or both -1. */
void txn_init_producer(struct txn_coordinator *tc, const struct txn_producer *who, int32_t timeout_ms,
                       struct txn_call *call);
/* AddPartitionsToTxn, AddOffsetsToTxn. */
void txn_add_partitions(struct txn_coordinator *tc, const struct txn_producer *who,
                        const struct txn_partition_ref *partitions, int32_t count, struct txn_call *call);
void txn_end(struct txn_coordinator *tc, const struct txn_producer *who, bool commit, struct txn_call *call);
/* Whether the open transaction includes the partition (KIP-890): ERR_TRANSACTION_ABORTABLE if not. */
enum kafka_error txn_verify(struct txn_coordinator *tc, const struct txn_producer *who,
                            const struct txn_partition_ref *partition);

struct describe_transactions_request;
struct describe_transactions_response;
struct list_transactions_request;
struct list_transactions_response;

void txn_describe(struct txn_coordinator *tc, const struct describe_transactions_request *request,
                  struct describe_transactions_response *response, struct arena *a);
void txn_list(struct txn_coordinator *tc, const struct list_transactions_request *request,
              struct list_transactions_response *response, struct arena *a);

#endif
