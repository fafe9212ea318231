/* The inside of the transaction coordinator, shared by the files of its folder. Coordinator loop only. */
#ifndef BARNABAS_TRANSACTION_INTERNAL_H
#define BARNABAS_TRANSACTION_INTERNAL_H

#include "base/hash.h"
#include "base/topic_key.h"
#include "coordinator/patience.h"
#include "transaction/transaction.h"
#include "transaction/txn_metrics.h"

/* The numbers are those of the records. */
enum txn_status {
    TXN_EMPTY,
    TXN_ONGOING,
    TXN_PREPARE_COMMIT,
    TXN_PREPARE_ABORT,
    TXN_COMPLETE_COMMIT,
    TXN_COMPLETE_ABORT,
    TXN_DEAD,          /* its id is being forgotten; never written */
    TXN_PREPARE_FENCE, /* its producer is being shut out, to be aborted then; never written */
    TXN_STATUS_COUNT
};

struct txn_partition {
    struct topic_key id;
    UT_hash_handle hh;
};

struct txn_fields {
    enum txn_status status;
    int64_t producer_id, last_producer_id;
    int16_t epoch, last_epoch; /* last_epoch: of the producer that was told `epoch`, for its retry; -1: not known */
    int32_t timeout_ms;
    int64_t start_ms, update_ms; /* start_ms -1: has not begun */
};

/* What a transaction is to become once that is in the log. */
struct txn_change {
    struct txn_fields to;
    const struct txn_partition_ref *added; /* to TXN_ONGOING */
    int32_t added_count;
};

struct txn {
    struct txn_coordinator *coordinator;
    struct state_partition *home;
    struct txn *home_prev, *home_next; /* others of that one */
    struct str id;                     /* heap; a client may put any byte into it */
    struct txn_fields now;
    struct txn_partition *partitions; /* of the transaction; while it ends, those that want their marker */
    bool pending;                     /* a change is under way */
    enum txn_status pending_status;
    bool fence_failed; /* its epoch was raised, and that could not be written: it need not be raised again */
    bool finishing;    /* markers are sent, and `completion` is written when all are there */
    struct txn_change completion;
    UT_hash_handle hh;
};

struct txn_coordinator {
    struct txn_options options;
    struct state_topic *topic;
    struct txn *txns; /* by id */
    struct patience abort_patience;
    struct timer abort_timer, expiry_timer;
    int32_t abort_at, expiry_at; /* the partition whose ids either looks at next; 0: none has been yet */
    /* Of markers.c: */
    struct marker_peer *peers;
    struct marker_order *homeless;
    struct completion *stalled;
    struct timer retry;
    struct txn_metrics metrics;
};

/* ---- state.c: one transaction by itself ---- */

bool txn_has_partition(const struct txn *t, const struct topic_key *id);
void txn_put_partition(struct txn *t, const struct topic_key *id);
void txn_drop_partition(struct txn *t, const struct topic_key *id);
void txn_clear_partitions(struct txn *t);
/* Those of the transaction and those that are added, by topic and index, in the arena. */
struct txn_partition_ref *txn_sorted_partitions(const struct txn *t, const struct txn_change *with, struct arena *a,
                                                int32_t *count);
const char *txn_status_name(enum txn_status status);

/* No higher epoch is given to a producer, so that there is always one more to fence it with. */
bool txn_epoch_is_exhausted(int16_t epoch);
/* Each prepares a change, which is pending from then on. The transaction must be in a state that leads there. */
/* ERR_PRODUCER_FENCED. `expected_epoch`: that the producer says it has; -1: it says nothing. */
enum kafka_error txn_prepare_next_epoch(struct txn *t, int32_t timeout_ms, int16_t expected_epoch, int64_t now,
                                        struct txn_change *out);
void txn_prepare_new_producer_id(struct txn *t, int64_t id, int32_t timeout_ms, bool keep_last_epoch, int64_t now,
                                 struct txn_change *out);
void txn_prepare_fence(struct txn *t, struct txn_change *out);
void txn_prepare_added(struct txn *t, const struct txn_partition_ref *added, int32_t count, int64_t now,
                       struct txn_change *out);
void txn_prepare_end(struct txn *t, bool commit, int64_t now, struct txn_change *out);
void txn_prepare_complete(struct txn *t, int64_t now, struct txn_change *out);
void txn_prepare_dead(struct txn *t);
void txn_take_change(struct txn *t, const struct txn_change *change); /* it is in the log */
void txn_give_up_change(struct txn *t);

/* ---- records.c ---- */

void txn_record(struct batch_builder *b, const struct txn *t, const struct txn_change *change, int64_t now);
void txn_record_gone(struct batch_builder *b, const struct txn *t, int64_t now);
/* Takes a batch that was read. */
void txn_records_take(void *coordinator, struct state_partition *p, const struct batch *b);

/* ---- coordinator.c ---- */

int64_t txn_now(const struct txn_coordinator *tc);
struct txn *txn_find(const struct txn_coordinator *tc, struct str id);
struct txn *txn_make(struct txn_coordinator *tc, struct state_partition *home, struct str id);
void txn_forget(struct txn *t);
struct txn *txns_of(const struct state_partition *p); /* linked by `home_next` */

/* A change on its way into the log. */
struct txn_store {
    struct state_append append;
    struct txn_coordinator *coordinator;
    struct state_partition *home;
    int64_t term;  /* of the home */
    struct str id; /* heap */
    struct txn_change change;
    bool persistent; /* stays pending when the log is not available, to be tried again */
    /* With the transaction changed, or not; it may be gone. */
    void (*done)(struct txn_store *s, enum kafka_error error);
};
void txn_store_init(struct txn_store *s, const struct txn *t, const struct txn_change *change,
                    void (*done)(struct txn_store *s, enum kafka_error error));
void txn_store_begin(struct txn_store *s);
void txn_store_deinit(struct txn_store *s);
/* The transaction, if its home is still owned as it was. */
struct txn *txn_store_target(const struct txn_store *s);

/* As txn_end(), by the coordinator itself: shuts out the producer, whose epoch was raised by txn_prepare_fence(). */
void txn_abort(struct txn *t, const struct txn_change *fence, struct txn_call *call);

/* ---- markers.c ---- */

void markers_init(struct txn_coordinator *tc);
void markers_deinit(struct txn_coordinator *tc);
/* Sends markers to all partitions of a transaction that was prepared to end, then completes it. */
void markers_send(struct txn *t);

/* ---- expiry.c ---- */

void expiry_init(struct txn_coordinator *tc);
void expiry_deinit(struct txn_coordinator *tc);

#endif
