/*
 * The leader's side of verification (KIP-890): whether a transaction includes the partitions that somebody wants to
 * write to is asked of its coordinator. Questions for one broker gather while one request is under way. Coordinator
 * loop only.
 */
#ifndef BARNABAS_TRANSACTION_VERIFIER_H
#define BARNABAS_TRANSACTION_VERIFIER_H

#include "transaction/transaction.h"

struct metrics;
struct verifier;

struct verification { /* with what it points to, until it is done */
    struct txn_producer who;
    const struct txn_partition_ref *partitions;
    enum kafka_error *errors; /* of each: the answers */
    int32_t count;
    bool knows_abortable;                 /* the producer knows ERR_TRANSACTION_ABORTABLE */
    int64_t asked_us;                     /* the verifier's, as what follows */
    void (*done)(struct verification *v); /* perhaps from within the question */
    bool alone;                           /* it is not asked together with others of the producer */
    struct verification *prev, *next;     /* the verifier's */
};

struct verifier_options {
    /* The broker that coordinates a transactional id; TXN_NO_LEADER. */
    int32_t (*coordinator_of)(void *ctx, struct str transactional_id);
    void (*send)(void *ctx, int32_t broker, struct broker_call *call); /* broker_links_send() */
    void *ctx;
    struct metrics *metrics; /* NULL: nobody counts */
};

struct verifier *verifier_new(const struct verifier_options *options);
void verifier_free(struct verifier *v); /* after what it sends by was closed */
void verifier_ask(struct verifier *v, struct verification *question);

#endif
