/* Transactions that ran out of time are aborted; transactional ids that nobody uses any more are forgotten. */
#include <inttypes.h>

#include "base/logger.h"
#include "cluster/internal_topics.h"
#include "transaction/transaction_internal.h"

enum { BATCH_ROOM = 16384 };

/* ---- Time-outs ---- */

struct timed_out {
    struct txn_call call;
    struct str id; /* heap */
};

static void on_aborted(struct txn_call *call, enum kafka_error error)
{
    struct timed_out *x = CONTAINER_OF(call, struct timed_out, call);
    if (error == ERR_NONE)
        log_info("The transaction of %.*s has run out of time and is aborted", STR_ARGS(x->id));
    else
        log_warn("The transaction of %.*s has run out of time and cannot be aborted yet: %s", STR_ARGS(x->id),
                 error_name((int16_t)error));
    str_free(x->id);
    free(x);
}

static bool txn_expiry_is_late(const struct txn *t, int64_t now)
{
    return !t->pending && t->now.status == TXN_ONGOING && t->now.epoch < INT16_MAX &&
           saturating_sub(now, t->now.start_ms) > t->now.timeout_ms && state_partition_check(t->home) == ERR_NONE;
}

static void abort_if_late(struct txn *t, int64_t now)
{
    struct txn_change fence;
    if (!txn_expiry_is_late(t, now))
        return;
    struct timed_out *x = xcalloc(1, sizeof(*x));
    *x = (struct timed_out){{.done = on_aborted}, str_dup(t->id)};
    txn_prepare_fence(t, &fence);
    txn_abort(t, &fence, &x->call);
}

/* A partition's at a time, as below. What producers had to say when it begins was heard. */
static void abort_late(struct timer *timer)
{
    struct txn_coordinator *tc = CONTAINER_OF(timer, struct txn_coordinator, abort_timer);
    const struct state_partition *p = state_topic_next(tc->topic, &tc->abort_at);
    int64_t now = txn_now(tc);
    ensure(loop_is_mine(tc->options.loop));
    for (struct txn *t = p != NULL ? txns_of(p) : NULL; t != NULL; t = t->home_next)
        abort_if_late(t, now);
    if (p != NULL)
        timer_start(timer, 0);
    else
        patience_start(&tc->abort_patience,
                       tc->options.config->transaction_abort_timed_out_transaction_cleanup_interval_ms);
}

static void txn_expiry_begin_aborts(struct patience *p)
{
    struct txn_coordinator *tc = CONTAINER_OF(p, struct txn_coordinator, abort_patience);
    abort_late(&tc->abort_timer);
}

/* ---- Ids ---- */

struct burial {
    struct state_append append;
    struct txn_coordinator *coordinator;
    struct state_partition *home;
    int64_t term;
    struct str *ids; /* heap, each */
    size_t count, cap;
};

static bool is_dying(const struct txn *t)
{
    return t->pending && t->pending_status == TXN_DEAD;
}

static void bury(struct burial *b, struct str id, enum kafka_error error)
{
    struct txn *t = b->home->term == b->term ? txn_find(b->coordinator, id) : NULL;
    if (t == NULL || !is_dying(t))
        return;
    if (error == ERR_NONE)
        txn_forget(t);
    else
        txn_give_up_change(t);
}

static void on_buried(struct state_append *append, enum kafka_error error)
{
    struct burial *b = CONTAINER_OF(append, struct burial, append);
    if (error != ERR_NONE)
        log_warn("Expired transactional ids in " TRANSACTION_STATE_TOPIC "-%" PRId32 " cannot be removed yet: %s",
                 b->home->number, error_name((int16_t)error));
    for (size_t i = 0; i < b->count; i++) {
        bury(b, b->ids[i], error);
        str_free(b->ids[i]);
    }
    free(b->ids);
    free(b);
}

static bool txn_expiry_is_expired(const struct txn *t, int64_t now)
{
    bool idle =
        t->now.status == TXN_EMPTY || t->now.status == TXN_COMPLETE_COMMIT || t->now.status == TXN_COMPLETE_ABORT;
    return idle && !t->pending && state_partition_check(t->home) == ERR_NONE &&
           saturating_sub(now, t->now.update_ms) >= t->coordinator->options.config->transactional_id_expiration_ms;
}

/* From `t` on, what has expired, as much as fits into a batch. Returns the first one that was not looked at. */
static struct txn *bury_some(struct txn *t, int64_t now)
{
    struct batch_builder batch;
    struct txn_coordinator *tc = t->coordinator;
    struct burial *b = xcalloc(1, sizeof(*b));
    *b = (struct burial){.append = {.done = on_buried, .timeout_ms = tc->options.config->request_timeout_ms},
                         .coordinator = tc,
                         .home = t->home,
                         .term = t->home->term};
    batch_builder_init(&batch, 0);
    for (; t != NULL && batch_builder_size(&batch) < BATCH_ROOM; t = t->home_next) {
        if (!txn_expiry_is_expired(t, now))
            continue;
        txn_prepare_dead(t);
        txn_record_gone(&batch, t, now);
        b->ids = xgrow(b->ids, b->count + 1, &b->cap, sizeof(*b->ids));
        b->ids[b->count++] = str_dup(t->id);
    }
    if (b->count > 0) {
        state_append(b->home, &batch, &b->append);
    } else {
        batch_builder_deinit(&batch);
        free(b);
    }
    return t;
}

/* A partition's at a time: others are served in between, as there may be a million of them. */
static void expire_ids(struct timer *timer)
{
    struct txn_coordinator *tc = CONTAINER_OF(timer, struct txn_coordinator, expiry_timer);
    const struct state_partition *p = state_topic_next(tc->topic, &tc->expiry_at);
    int64_t now = txn_now(tc);
    ensure(loop_is_mine(tc->options.loop));
    for (struct txn *t = p != NULL ? txns_of(p) : NULL; t != NULL;)
        t = bury_some(t, now); /* which are gone when that is written, and not sooner */
    timer_start(timer, p != NULL ? 0 : tc->options.config->transaction_remove_expired_transaction_cleanup_interval_ms);
}

void expiry_init(struct txn_coordinator *tc)
{
    const struct broker_config *c = tc->options.config;
    timer_init(&tc->abort_timer, tc->options.loop, abort_late);
    patience_init(&tc->abort_patience, tc->options.hearing, txn_expiry_begin_aborts);
    timer_init(&tc->expiry_timer, tc->options.loop, expire_ids);
    patience_start(&tc->abort_patience, c->transaction_abort_timed_out_transaction_cleanup_interval_ms);
    timer_start(&tc->expiry_timer, c->transaction_remove_expired_transaction_cleanup_interval_ms);
}

void expiry_deinit(struct txn_coordinator *tc)
{
    patience_stop(&tc->abort_patience);
    timer_stop(&tc->abort_timer);
    timer_stop(&tc->expiry_timer);
}
