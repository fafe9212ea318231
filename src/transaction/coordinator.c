/*
 * Which transactional ids this broker serves, and what their producers ask.
 *
 * What is to become of an id is first written to its partition of __transaction_state, then true: txn_prepare_...()
 * makes the change, txn_take_change() applies it when its record is committed. One change of an id at a time. With
 * PrepareCommit or PrepareAbort in the log the end is decided: it is answered, and markers go to all partitions until
 * each has its own (markers.c); then CompleteCommit or CompleteAbort is written. Who loads a partition goes on where a
 * prepared transaction stands; what was begun in an earlier term ends in nothing.
 */
#include "transaction/transaction_internal.h"

#include <inttypes.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/logger.h"
#include "cluster/internal_topics.h"

/* ---- The table ---- */

int64_t txn_now(const struct txn_coordinator *tc)
{
    return tc->options.wall_ms();
}

struct txn *txn_find(const struct txn_coordinator *tc, struct str id)
{
    ensure(loop_is_mine(tc->options.loop));
    struct txn *t;
    HASH_FIND(hh, tc->txns, id.p, (size_t)id.len, t);
    return t;
}

struct txn *txns_of(const struct state_partition *p)
{
    return p->keys;
}

struct txn *txn_make(struct txn_coordinator *tc, struct state_partition *home, struct str id)
{
    ensure(loop_is_mine(tc->options.loop));
    ensure(txn_find(tc, id) == NULL && home->ownership != NOT_OWNED);
    struct txn *t = xcalloc(1, sizeof(*t));
    t->coordinator = tc;
    t->home = home;
    t->id = str_dup(id);
    HASH_ADD_KEYPTR(hh, tc->txns, t->id.p, (size_t)t->id.len, t);
    struct txn *all = txns_of(home);
    DL_APPEND2(all, t, home_prev, home_next);
    home->keys = all;
    return t;
}

void txn_forget(struct txn *t)
{
    ensure(loop_is_mine(t->coordinator->options.loop));
    HASH_DEL(t->coordinator->txns, t);
    struct txn *all = txns_of(t->home);
    DL_DELETE2(all, t, home_prev, home_next);
    t->home->keys = all;
    txn_clear_partitions(t);
    str_free(t->id);
    free(t);
}

/* ---- Loading ---- */

/* What was decided and not completed by who led before. */
static void finish_prepared(struct txn *t)
{
    if (t->now.status != TXN_PREPARE_COMMIT && t->now.status != TXN_PREPARE_ABORT)
        return;
    txn_prepare_complete(t, txn_now(t->coordinator), &t->completion);
    markers_send(t);
}

static void txn_on_loaded(void *ctx, struct state_partition *p)
{
    struct txn_coordinator *tc = ctx;
    int count = 0;
    ensure(loop_is_mine(tc->options.loop) && p->ownership == OWNED);
    window_record(&tc->metrics.loads, (clock_mono_us() - p->load_began_us) / 1000);
    for (struct txn *t = txns_of(p); t != NULL; t = t->home_next) {
        count++;
        finish_prepared(t);
    }
    log_info("Finished loading %d transactional ids from " TRANSACTION_STATE_TOPIC "-%" PRId32 " in epoch %" PRId32,
             count, p->number, p->leader_epoch);
}

static void txn_on_unloaded(void *ctx, struct state_partition *p)
{
    struct txn_coordinator *tc = ctx;
    struct txn *t, *next;
    ensure(loop_is_mine(tc->options.loop) && p->ownership == NOT_OWNED);
    DL_FOREACH_SAFE2 (txns_of(p), t, next, home_next)
        txn_forget(t);
}

struct state_topic *txn_topic(struct txn_coordinator *tc)
{
    return tc->topic;
}

/* ---- Changes on their way into the log ---- */

void txn_store_init(struct txn_store *s, const struct txn *t, const struct txn_change *change,
                    void (*done)(struct txn_store *s, enum kafka_error error))
{
    ensure(t->pending && t->pending_status == change->to.status);
    *s = (struct txn_store){.coordinator = t->coordinator,
                            .home = t->home,
                            .term = t->home->term,
                            .id = str_dup(t->id),
                            .change = *change,
                            .done = done};
}

void txn_store_deinit(struct txn_store *s)
{
    str_free(s->id);
}

struct txn *txn_store_target(const struct txn_store *s)
{
    bool same = s->home->term == s->term && s->home->ownership == OWNED;
    return same ? txn_find(s->coordinator, s->id) : NULL;
}

static enum kafka_error store_error(enum kafka_error error)
{
    bool too_large = error == ERR_MESSAGE_TOO_LARGE || error == ERR_RECORD_LIST_TOO_LARGE;
    return too_large ? ERR_UNKNOWN_SERVER_ERROR : state_append_error(error);
}

static void txn_on_stored(struct state_append *append, enum kafka_error error)
{
    struct txn_store *s = CONTAINER_OF(append, struct txn_store, append);
    struct txn *t = txn_store_target(s);
    error = store_error(error);
    if (t == NULL) {
        enum kafka_error gone = state_partition_check(s->home);
        error = error == ERR_NONE ? (gone != ERR_NONE ? gone : ERR_NOT_COORDINATOR) : error;
    } else if (error == ERR_NONE) {
        txn_take_change(t, &s->change);
    } else {
        log_info("Transactional id %.*s does not become %s: %s", STR_ARGS(s->id), txn_status_name(s->change.to.status),
                 error_name((int16_t)error));
        if (!s->persistent)
            txn_give_up_change(t);
    }
    s->done(s, error);
}

void txn_store_begin(struct txn_store *s)
{
    struct batch_builder b;
    struct txn *t = txn_store_target(s);
    ensure(t != NULL);
    ensure(t->pending && s->home == t->home);
    batch_builder_init(&b, 0);
    txn_record(&b, t, &s->change, txn_now(s->coordinator));
    s->append.done = txn_on_stored;
    s->append.timeout_ms = s->change.to.timeout_ms;
    state_append(s->home, &b, &s->append);
}

/* A change that somebody waits for. */
struct asked {
    struct txn_store store;
    struct txn_call *call;
};

static void on_asked_stored(struct txn_store *s, enum kafka_error error)
{
    struct asked *x = CONTAINER_OF(s, struct asked, store);
    struct txn_call *call = x->call;
    if (error == ERR_NONE) {
        call->producer_id = s->change.to.producer_id;
        call->producer_epoch = s->change.to.epoch;
    }
    txn_store_deinit(s);
    free(x);
    call->done(call, error);
}

static void txn_store(struct txn *t, const struct txn_change *change,
                      void (*done)(struct txn_store *s, enum kafka_error error), struct txn_call *call)
{
    struct asked *x = xcalloc(1, sizeof(*x));
    txn_store_init(&x->store, t, change, done);
    x->call = call;
    txn_store_begin(&x->store);
}

/* Whether the id is served here, and the transaction if there is one. */
static enum kafka_error txn_look_up(struct txn_coordinator *tc, struct str id, struct txn **out)
{
    *out = NULL;
    if (id.len <= 0)
        return ERR_INVALID_REQUEST;
    enum kafka_error error = state_partition_check(state_topic_find(tc->topic, id));
    if (error == ERR_NONE)
        *out = txn_find(tc, id);
    return error;
}

/* ---- InitProducerId ---- */

static bool is_ending(const struct txn *t)
{
    return t->now.status == TXN_PREPARE_COMMIT || t->now.status == TXN_PREPARE_ABORT;
}

/* That a producer may go on from what it has; of a new id any producer may, whose own was forgotten. */
static bool may_go_on(const struct txn *t, const struct txn_producer *who)
{
    return who->id == NO_PRODUCER_ID || t->now.epoch == NO_PRODUCER_EPOCH || who->id == t->now.producer_id ||
           (who->id == t->now.last_producer_id && txn_epoch_is_exhausted(who->epoch));
}

static enum kafka_error prepare_init(struct txn *t, const struct txn_producer *who, int32_t timeout_ms,
                                     struct txn_change *out)
{
    const struct txn_options *o = &t->coordinator->options;
    bool says = who->id != NO_PRODUCER_ID;
    int64_t id, now = txn_now(t->coordinator);
    if (t->pending)
        return ERR_CONCURRENT_TRANSACTIONS;
    if (!may_go_on(t, who))
        return ERR_PRODUCER_FENCED;
    if (is_ending(t))
        return ERR_CONCURRENT_TRANSACTIONS;
    if (t->now.status == TXN_ONGOING && t->now.epoch == INT16_MAX)
        return ERR_UNKNOWN_SERVER_ERROR; /* nobody was given that epoch: the record is not what a coordinator wrote */
    if (t->now.status == TXN_ONGOING) {
        txn_prepare_fence(t, out);
        return ERR_NONE;
    }
    if (txn_epoch_is_exhausted(t->now.epoch) && (!says || who->epoch == t->now.epoch)) {
        if (!o->draw_producer_id(o->ctx, &id))
            return ERR_COORDINATOR_LOAD_IN_PROGRESS;
        txn_prepare_new_producer_id(t, id, timeout_ms, says, now, out);
        return ERR_NONE;
    }
    return txn_prepare_next_epoch(t, timeout_ms, says ? who->epoch : NO_PRODUCER_EPOCH, now, out);
}

static struct txn *make_new(struct txn_coordinator *tc, struct str id, int32_t timeout_ms)
{
    int64_t producer_id;
    if (!tc->options.draw_producer_id(tc->options.ctx, &producer_id))
        return NULL;
    struct txn *t = txn_make(tc, state_topic_find(tc->topic, id), id);
    t->now = (struct txn_fields){.producer_id = producer_id,
                                 .last_producer_id = NO_PRODUCER_ID,
                                 .epoch = NO_PRODUCER_EPOCH,
                                 .last_epoch = NO_PRODUCER_EPOCH,
                                 .timeout_ms = timeout_ms,
                                 .start_ms = -1,
                                 .update_ms = txn_now(tc)};
    return t;
}

/* The transaction of an earlier producer is aborted; then the next one is to ask again. */
struct fencing {
    struct txn_call abort;
    struct txn_call *call;
};

static void on_fenced(struct txn_call *abort, enum kafka_error error)
{
    struct fencing *f = CONTAINER_OF(abort, struct fencing, abort);
    struct txn_call *call = f->call;
    free(f);
    call->done(call, error == ERR_NONE ? ERR_CONCURRENT_TRANSACTIONS : error);
}

static void fence(struct txn *t, const struct txn_change *change, struct txn_call *call)
{
    struct fencing *f = xcalloc(1, sizeof(*f));
    ensure(change->to.status == TXN_PREPARE_FENCE);
    *f = (struct fencing){{.done = on_fenced}, call};
    txn_abort(t, change, &f->abort);
}

static bool is_valid_timeout(const struct txn_coordinator *tc, int32_t timeout_ms)
{
    return timeout_ms > 0 && timeout_ms <= tc->options.config->transaction_max_timeout_ms;
}

void txn_init_producer(struct txn_coordinator *tc, const struct txn_producer *who, int32_t timeout_ms,
                       struct txn_call *call)
{
    ensure(loop_is_mine(tc->options.loop));
    struct txn_change change;
    struct txn *t;
    enum kafka_error error = txn_look_up(tc, who->transactional_id, &t);
    if (who->transactional_id.len > 0 && !is_valid_timeout(tc, timeout_ms))
        error = ERR_INVALID_TRANSACTION_TIMEOUT;
    if (error == ERR_NONE && t == NULL && (t = make_new(tc, who->transactional_id, timeout_ms)) == NULL)
        error = ERR_COORDINATOR_LOAD_IN_PROGRESS;
    if (error == ERR_NONE)
        error = prepare_init(t, who, timeout_ms, &change);
    if (error != ERR_NONE)
        call->done(call, error);
    else if (change.to.status == TXN_PREPARE_FENCE)
        fence(t, &change, call);
    else
        txn_store(t, &change, on_asked_stored, call);
}

/* ---- Partitions ---- */

static bool has_all(const struct txn *t, const struct txn_partition_ref *partitions, int32_t count)
{
    struct topic_key id;
    for (int32_t i = 0; i < count; i++)
        if (!topic_key_make(partitions[i].topic, partitions[i].index, &id) || !txn_has_partition(t, &id))
            return false;
    return true;
}

static enum kafka_error txn_check_producer(const struct txn *t, const struct txn_producer *who)
{
    if (t == NULL || t->now.producer_id != who->id)
        return ERR_INVALID_PRODUCER_ID_MAPPING;
    return t->now.epoch != who->epoch ? ERR_PRODUCER_FENCED : ERR_NONE;
}

void txn_add_partitions(struct txn_coordinator *tc, const struct txn_producer *who,
                        const struct txn_partition_ref *partitions, int32_t count, struct txn_call *call)
{
    ensure(loop_is_mine(tc->options.loop));
    struct txn *t;
    struct txn_change change;
    enum kafka_error error = txn_look_up(tc, who->transactional_id, &t);
    if (error == ERR_NONE)
        error = txn_check_producer(t, who);
    if (error == ERR_NONE && (t->pending || is_ending(t)))
        error = ERR_CONCURRENT_TRANSACTIONS;
    if (error != ERR_NONE || (t->now.status == TXN_ONGOING && has_all(t, partitions, count))) {
        call->done(call, error);
        return;
    }
    txn_prepare_added(t, partitions, count, txn_now(tc), &change);
    txn_store(t, &change, on_asked_stored, call);
}

enum kafka_error txn_verify(struct txn_coordinator *tc, const struct txn_producer *who,
                            const struct txn_partition_ref *partition)
{
    ensure(loop_is_mine(tc->options.loop));
    struct txn *t;
    enum kafka_error error = txn_look_up(tc, who->transactional_id, &t);
    if (error == ERR_NONE)
        error = txn_check_producer(t, who);
    if (error == ERR_NONE && is_ending(t))
        error = ERR_CONCURRENT_TRANSACTIONS;
    return error == ERR_NONE && !has_all(t, partition, 1) ? ERR_TRANSACTION_ABORTABLE : error;
}

/* ---- EndTxn ---- */

/* To a request to end what does not run: NONE if it has ended so. */
static enum kafka_error already(const struct txn *t, bool commit)
{
    if (t->now.status == (commit ? TXN_COMPLETE_COMMIT : TXN_COMPLETE_ABORT))
        return ERR_NONE;
    if (t->now.status == (commit ? TXN_PREPARE_COMMIT : TXN_PREPARE_ABORT))
        return ERR_CONCURRENT_TRANSACTIONS;
    return ERR_INVALID_TXN_STATE;
}

/* The decision is in the log: it is answered, and carried out from here on. */
static void on_decided(struct txn_store *s, enum kafka_error error)
{
    struct asked *x = CONTAINER_OF(s, struct asked, store);
    struct txn_call *call = x->call;
    struct txn *t = error == ERR_NONE ? txn_store_target(s) : NULL;
    if (t != NULL)
        txn_prepare_complete(t, txn_now(s->coordinator), &t->completion);
    txn_store_deinit(s);
    free(x);
    call->done(call, error);
    if (t != NULL)
        markers_send(t);
}

void txn_end(struct txn_coordinator *tc, const struct txn_producer *who, bool commit, struct txn_call *call)
{
    ensure(loop_is_mine(tc->options.loop));
    struct txn *t;
    struct txn_change change;
    enum kafka_error error = txn_look_up(tc, who->transactional_id, &t);
    if (error == ERR_NONE)
        error = txn_check_producer(t, who);
    if (error == ERR_NONE && t->pending)
        error = ERR_CONCURRENT_TRANSACTIONS;
    if (error != ERR_NONE || t->now.status != TXN_ONGOING) {
        call->done(call, error != ERR_NONE ? error : already(t, commit));
        return;
    }
    txn_prepare_end(t, commit, txn_now(tc), &change);
    txn_store(t, &change, on_decided, call);
}

static void on_abort_decided(struct txn_store *s, enum kafka_error error)
{
    struct txn *t = error != ERR_NONE ? txn_store_target(s) : NULL;
    if (t != NULL) {
        t->fence_failed = true;
        log_warn(
            "The epoch of transactional id %.*s was raised to %d to fence its producer, which could not be written: "
            "%s",
            STR_ARGS(t->id), t->now.epoch, error_name((int16_t)error));
    }
    on_decided(s, error);
}

void txn_abort(struct txn *t, const struct txn_change *fence, struct txn_call *call)
{
    ensure(loop_is_mine(t->coordinator->options.loop));
    struct txn_change change;
    ensure(t->pending && t->pending_status == TXN_PREPARE_FENCE);
    t->pending = false;
    t->now.epoch = fence->to.epoch;
    t->now.last_epoch = NO_PRODUCER_EPOCH;
    txn_prepare_end(t, false, txn_now(t->coordinator), &change);
    txn_store(t, &change, on_abort_decided, call);
}

/* ---- Life ---- */

struct txn_coordinator *txn_coordinator_new(const struct txn_options *options)
{
    struct txn_coordinator *tc = xcalloc(1, sizeof(*tc));
    const struct broker_config *c = options->config;
    tc->options = *options;
    tc->topic = state_topic_new(&(struct state_options){.topic = TRANSACTION_STATE_TOPIC,
                                                        .loop = options->loop,
                                                        .log = options->log,
                                                        .load_buffer_size = c->transaction_state_log_load_buffer_size,
                                                        .loads_one_count = true,
                                                        .take = txn_records_take,
                                                        .loaded = txn_on_loaded,
                                                        .unloaded = txn_on_unloaded,
                                                        .ctx = tc},
                                c->transaction_state_log_num_partitions);
    txn_metrics_init(&tc->metrics, options->metrics);
    markers_init(tc);
    expiry_init(tc);
    return tc;
}

void txn_coordinator_free(struct txn_coordinator *tc)
{
    struct txn *t, *next;
    if (tc == NULL)
        return;
    expiry_deinit(tc);
    markers_deinit(tc);
    HASH_ITER (hh, tc->txns, t, next)
        txn_forget(t);
    state_topic_free(tc->topic);
    txn_metrics_deinit(&tc->metrics);
    free(tc);
}
