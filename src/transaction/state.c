/* A transaction's states and what leads from one to another. */
#include "transaction/transaction_internal.h"

const char *txn_status_name(enum txn_status status)
{
    static const char *const names[] = {"Empty",          "Ongoing",       "PrepareCommit", "PrepareAbort",
                                        "CompleteCommit", "CompleteAbort", "Dead",          "PrepareEpochFence"};
    _Static_assert(ARRAY_LEN(names) == TXN_STATUS_COUNT, "each has its name");
    ensure((size_t)status < ARRAY_LEN(names));
    return names[status];
}

/* ---- Partitions ---- */

static struct txn_partition *txn_state_find_partition(const struct txn *t, const struct topic_key *id)
{
    struct txn_partition *p;
    HASH_FIND(hh, t->partitions, id, sizeof(*id), p);
    return p;
}

bool txn_has_partition(const struct txn *t, const struct topic_key *id)
{
    return txn_state_find_partition(t, id) != NULL;
}

void txn_put_partition(struct txn *t, const struct topic_key *id)
{
    if (txn_has_partition(t, id))
        return;
    struct txn_partition *p = xcalloc(1, sizeof(*p));
    p->id = *id;
    HASH_ADD(hh, t->partitions, id, sizeof(p->id), p);
}

void txn_drop_partition(struct txn *t, const struct topic_key *id)
{
    struct txn_partition *p = txn_state_find_partition(t, id);
    if (p == NULL)
        return;
    HASH_DEL(t->partitions, p);
    free(p);
}

void txn_clear_partitions(struct txn *t)
{
    struct txn_partition *p, *next;
    HASH_ITER (hh, t->partitions, p, next) {
        HASH_DEL(t->partitions, p);
        free(p);
    }
}

static int by_topic_and_index(const void *a, const void *b)
{
    const struct txn_partition_ref *x = a, *y = b;
    return partition_order(x->topic, x->index, y->topic, y->index);
}

struct txn_partition_ref *txn_sorted_partitions(const struct txn *t, const struct txn_change *with, struct arena *a,
                                                int32_t *count)
{
    int32_t added = with != NULL ? with->added_count : 0, n = 0, unique = 0;
    struct txn_partition_ref *refs =
        ARENA_ARRAY(a, struct txn_partition_ref, HASH_COUNT(t->partitions) + (size_t)added + 1);
    for (const struct txn_partition *p = t->partitions; p != NULL; p = p->hh.next)
        refs[n++] = (struct txn_partition_ref){str_of(p->id.topic), p->id.index};
    for (int32_t i = 0; i < added; i++)
        refs[n++] = with->added[i];
    qsort(refs, (size_t)n, sizeof(*refs), by_topic_and_index);
    for (int32_t i = 0; i < n; i++)
        if (unique == 0 || by_topic_and_index(&refs[unique - 1], &refs[i]) != 0)
            refs[unique++] = refs[i];
    ensure(unique <= n && (size_t)n == HASH_COUNT(t->partitions) + (size_t)added);
    *count = unique;
    return refs;
}

/* ---- Preparing ---- */

bool txn_epoch_is_exhausted(int16_t epoch)
{
    return epoch >= INT16_MAX - 1;
}

static void txn_state_prepare(struct txn *t, enum txn_status to, struct txn_change *out)
{
    enum { NONE = 0, EMPTY = 1 << TXN_EMPTY, ONGOING = 1 << TXN_ONGOING };
    enum { COMPLETED = 1 << TXN_COMPLETE_COMMIT | 1 << TXN_COMPLETE_ABORT };
    static const int from[TXN_STATUS_COUNT] = {
        [TXN_EMPTY] = EMPTY | COMPLETED,
        [TXN_ONGOING] = ONGOING | EMPTY | COMPLETED,
        [TXN_PREPARE_COMMIT] = ONGOING,
        [TXN_PREPARE_ABORT] = ONGOING,
        [TXN_COMPLETE_COMMIT] = 1 << TXN_PREPARE_COMMIT,
        [TXN_COMPLETE_ABORT] = 1 << TXN_PREPARE_ABORT,
        [TXN_DEAD] = EMPTY | COMPLETED,
        [TXN_PREPARE_FENCE] = ONGOING,
    };
    ensure(loop_is_mine(t->coordinator->options.loop));
    ensure(!t->pending && (from[to] & 1 << t->now.status) != 0);
    t->pending = true;
    t->pending_status = to;
    *out = (struct txn_change){.to = t->now};
    out->to.status = to;
}

/* What a producer is told that begins anew. */
static void prepare_empty(struct txn *t, int32_t timeout_ms, int64_t now, struct txn_change *out)
{
    txn_state_prepare(t, TXN_EMPTY, out);
    out->to.last_producer_id = t->now.producer_id;
    out->to.timeout_ms = timeout_ms;
    out->to.start_ms = -1;
    out->to.update_ms = now;
}

enum kafka_error txn_prepare_next_epoch(struct txn *t, int32_t timeout_ms, int16_t expected_epoch, int64_t now,
                                        struct txn_change *out)
{
    bool says = expected_epoch != NO_PRODUCER_EPOCH && t->now.epoch != NO_PRODUCER_EPOCH;
    bool is_retry = says && expected_epoch != t->now.epoch; /* of what was done, but its answer got lost */
    if (is_retry && expected_epoch != t->now.last_epoch)
        return ERR_PRODUCER_FENCED;
    ensure(is_retry || !txn_epoch_is_exhausted(t->now.epoch));
    prepare_empty(t, timeout_ms, now, out);
    if (!is_retry) {
        out->to.epoch = (int16_t)(t->now.epoch + 1);
        out->to.last_epoch = says ? t->now.epoch : NO_PRODUCER_EPOCH;
    }
    return ERR_NONE;
}

void txn_prepare_new_producer_id(struct txn *t, int64_t id, int32_t timeout_ms, bool keep_last_epoch, int64_t now,
                                 struct txn_change *out)
{
    prepare_empty(t, timeout_ms, now, out);
    out->to.producer_id = id;
    out->to.epoch = 0;
    out->to.last_epoch = keep_last_epoch ? t->now.epoch : NO_PRODUCER_EPOCH;
}

void txn_prepare_fence(struct txn *t, struct txn_change *out)
{
    ensure(t->now.epoch < INT16_MAX);
    txn_state_prepare(t, TXN_PREPARE_FENCE, out);
    out->to.epoch = t->fence_failed ? t->now.epoch : (int16_t)(t->now.epoch + 1);
    out->to.last_epoch = NO_PRODUCER_EPOCH;
}

void txn_prepare_added(struct txn *t, const struct txn_partition_ref *added, int32_t count, int64_t now,
                       struct txn_change *out)
{
    txn_state_prepare(t, TXN_ONGOING, out);
    out->added = added;
    out->added_count = count;
    if (t->now.status != TXN_ONGOING)
        out->to.start_ms = now;
    out->to.update_ms = now;
}

void txn_prepare_end(struct txn *t, bool commit, int64_t now, struct txn_change *out)
{
    txn_state_prepare(t, commit ? TXN_PREPARE_COMMIT : TXN_PREPARE_ABORT, out);
    out->to.update_ms = now;
}

void txn_prepare_complete(struct txn *t, int64_t now, struct txn_change *out)
{
    ensure(t->now.status == TXN_PREPARE_COMMIT || t->now.status == TXN_PREPARE_ABORT);
    t->fence_failed = false; /* what had to be written was */
    txn_state_prepare(t, t->now.status == TXN_PREPARE_COMMIT ? TXN_COMPLETE_COMMIT : TXN_COMPLETE_ABORT, out);
    out->to.update_ms = now;
}

void txn_prepare_dead(struct txn *t)
{
    struct txn_change change;
    txn_state_prepare(t, TXN_DEAD, &change);
}

/* ---- Afterwards ---- */

static bool is_complete(enum txn_status s)
{
    return s == TXN_COMPLETE_COMMIT || s == TXN_COMPLETE_ABORT;
}

void txn_take_change(struct txn *t, const struct txn_change *change)
{
    struct topic_key id;
    ensure(t->pending && t->pending_status == change->to.status);
    ensure(change->added_count == 0 || change->to.status == TXN_ONGOING);
    t->now = change->to;
    t->pending = false;
    if (is_complete(change->to.status))
        txn_clear_partitions(t);
    for (int32_t i = 0; i < change->added_count; i++)
        if (topic_key_make(change->added[i].topic, change->added[i].index, &id))
            txn_put_partition(t, &id);
}

void txn_give_up_change(struct txn *t)
{
    ensure(t->pending);
    t->pending = false;
}
