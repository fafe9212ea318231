/*
 * What a log remembers of those who write to it (KIP-98): the last five batches of each producer, its epoch, the
 * transaction that is open, so that a batch that comes again is known, and one that comes too early is refused.
 *
 * By an example: the last batch of producer 9 had sequences 5 to 9. One with 10 to 12 is next. One with 5 to 9 is a
 * duplicate, and answered with the offset it has. One with 12 to 14 is out of order, as 10 and 11 are missing. One of
 * a higher epoch must begin at 0; one of a lower epoch is fenced. After 2147483647 comes 0.
 *
 * The state is in memory; a snapshot beside each segment says what it was where the segment begins, and the rest is
 * read from the batches. What of it lies below the high watermark decides the last stable offset: the first offset of
 * the oldest transaction that is open, or whose marker is not committed.
 */
#include "base/hash.h"
#include "log/producers_internal.h"

#include <utlist.h>

#include "base/logger.h"

/* A producer's transaction, of which nothing is in the log yet, that the coordinator was asked of. */
struct verification {
    int64_t id;
    int64_t guard;
    int64_t began;
    int32_t lowest_sequence; /* that was seen: what follows it may not get ahead of it */
    int16_t epoch;
    UT_hash_handle hh;
};

enum { EXPIRED_AT_ONCE = 1000 }; /* for as long as these take, an append may have to wait */

static void producers_forget(struct producers *p, struct producer *x)
{
    producers_copy_one(p, x);
    if (p->to_expire == x)
        p->to_expire = x->hh.next;
    if (p->to_copy == x)
        p->to_copy = x->hh.next;
    HASH_DEL(p->by_id, x);
    free(x->batches);
    free(x);
}

static void forget_all(struct producers *p)
{
    struct producer *x, *tmp;
    HASH_ITER (hh, p->by_id, x, tmp)
        producers_forget(p, x);
    p->open = NULL;
    free(p->decided);
    p->decided = NULL;
    p->decided_count = p->decided_cap = 0;
}

static void forget_verification(struct producers *p, struct verification *v)
{
    HASH_DEL(p->verifications, v);
    free(v);
}

void producers_deinit(struct producers *p)
{
    struct verification *v, *tmp;
    p->copy = NULL;
    forget_all(p);
    HASH_ITER (hh, p->verifications, v, tmp)
        forget_verification(p, v);
}

void producers_clear(struct producers *p, int64_t map_end_offset)
{
    ensure(map_end_offset >= 0);
    forget_all(p);
    p->map_end_offset = map_end_offset;
    ensure(p->by_id == NULL && p->open == NULL);
}

static struct producer *producers_find(const struct producers *p, int64_t id)
{
    struct producer *x;
    HASH_FIND(hh, p->by_id, &id, sizeof(id), x);
    return x;
}

static struct producer *producers_find_or_add(struct producers *p, int64_t id)
{
    struct producer *x = producers_find(p, id);
    if (x != NULL)
        return x;
    x = xcalloc(1, sizeof(*x));
    x->id = id;
    x->epoch = NO_PRODUCER_EPOCH;
    x->coordinator_epoch = -1;
    x->txn_first_offset = -1;
    x->lap = p->lap;
    HASH_ADD(hh, p->by_id, id, sizeof(x->id), x);
    return x;
}

static int32_t first_sequence(const struct producer_batch *b)
{
    int64_t first = (int64_t)b->last_sequence - b->offset_delta;
    return (int32_t)(first < 0 ? first + INT32_MAX + 1 : first);
}

static bool producers_follows(int32_t last, int32_t next)
{
    return next == (int64_t)last + 1 || (next == 0 && last == INT32_MAX);
}

static bool find_duplicate(const struct producer *x, const struct batch *b, struct producer_batch *dup)
{
    for (int i = 0; i < x->batch_count; i++) {
        const struct producer_batch *old = &x->batches[i];
        if (first_sequence(old) == b->base_sequence && old->last_sequence == batch_last_sequence(b)) {
            *dup = *old;
            return true;
        }
    }
    return false;
}

/* ---- Verification (KIP-890) ---- */

static struct verification *find_verification(const struct producers *p, int64_t id)
{
    struct verification *v;
    HASH_FIND(hh, p->verifications, &id, sizeof(id), v);
    return v;
}

static bool has_open_txn(const struct producer *x)
{
    return x != NULL && x->txn_first_offset >= 0;
}

int64_t producers_begin_verification(struct producers *p, int64_t id, int16_t epoch, int32_t sequence, int64_t now)
{
    struct verification *v = find_verification(p, id);
    if (has_open_txn(producers_find(p, id)))
        return GUARD_OPEN;
    if (v == NULL) {
        v = xcalloc(1, sizeof(*v));
        *v = (struct verification){
            .id = id, .guard = ++p->last_guard, .began = now, .lowest_sequence = sequence, .epoch = epoch};
        HASH_ADD(hh, p->verifications, id, sizeof(v->id), v);
    }
    if (epoch > v->epoch || (epoch == v->epoch && sequence < v->lowest_sequence)) {
        v->epoch = epoch;
        v->lowest_sequence = sequence;
    }
    ensure(v->guard != GUARD_NONE && v->guard != GUARD_OPEN);
    return v->guard;
}

static bool is_verified(const struct producers *p, const struct producer *x, const struct batch *b, int64_t guard)
{
    if (!batch_is_transactional(b) || guard == GUARD_NONE || has_open_txn(x))
        return true;
    const struct verification *v = find_verification(p, b->producer_id);
    return v != NULL && v->guard == guard;
}

/* ---- What may be appended ---- */

static enum kafka_error check_sequence(const struct producers *p, const struct producer *x, const struct batch *b)
{
    const struct verification *v = find_verification(p, b->producer_id);
    if (v != NULL && b->base_sequence > v->lowest_sequence)
        return ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    if (x == NULL || x->epoch == NO_PRODUCER_EPOCH)
        return ERR_NONE; /* nothing known, perhaps expired: any sequence may follow (KIP-360) */
    if (b->producer_epoch > x->epoch)
        return b->base_sequence == 0 ? ERR_NONE : ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    bool in_turn = x->batch_count > 0
                       ? producers_follows(x->batches[x->batch_count - 1].last_sequence, b->base_sequence)
                       : b->base_sequence <= x->due;
    return in_turn ? ERR_NONE : ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
}

enum kafka_error producers_check(const struct producers *p, const struct prepared *prepared, const struct batch *b,
                                 struct producer_batch *dup, bool *is_dup)
{
    *is_dup = false;
    if (!batch_has_producer(b))
        return ERR_NONE;
    const struct producer *x = producers_find(p, b->producer_id);
    *is_dup = !prepared->by_coordinator && x != NULL && b->producer_epoch == x->epoch && find_duplicate(x, b, dup);
    if (*is_dup)
        return ERR_NONE;
    if (!is_verified(p, x, b, prepared->guard))
        return ERR_INVALID_TXN_STATE;
    if (x != NULL && b->producer_epoch < x->epoch)
        return ERR_INVALID_PRODUCER_EPOCH;
    enum kafka_error error = prepared->by_coordinator ? ERR_NONE : check_sequence(p, x, b);
    return error == ERR_NONE && has_open_txn(x) && !batch_is_transactional(b) ? ERR_INVALID_TXN_STATE : error;
}

int32_t producers_last_sequence(const struct producers *p, int64_t id)
{
    const struct producer *x = producers_find(p, id);
    return x != NULL && x->batch_count > 0 ? x->batches[x->batch_count - 1].last_sequence : NO_SEQUENCE;
}

void producers_note_refused(struct producers *p, const struct batch *b, int64_t now)
{
    if (!batch_has_producer(b) || producers_find(p, b->producer_id) != NULL)
        return;
    struct producer *x = producers_find_or_add(p, b->producer_id);
    x->epoch = b->producer_epoch;
    x->refused_only = true;
    x->due = b->base_sequence;
    x->last_timestamp = now;
}

static void producers_make_room(struct producer *x)
{
    ensure(x->batch_count <= x->batch_room);
    if (x->batch_count == PRODUCER_BATCHES) {
        memmove(x->batches, x->batches + 1, sizeof(*x->batches) * (PRODUCER_BATCHES - 1));
        x->batch_count--;
    } else if (x->batch_count == x->batch_room) {
        x->batch_room = x->batch_room == 0 ? 1 : PRODUCER_BATCHES;
        x->batches = xrealloc(x->batches, sizeof(*x->batches) * x->batch_room);
    }
}

static void remember(struct producer *x, struct producer_batch b)
{
    producers_make_room(x);
    ensure(x->batch_count < x->batch_room && x->batch_room <= PRODUCER_BATCHES);
    x->batches[x->batch_count++] = b;
}

static struct producer_batch batch_of(const struct batch *b)
{
    return (struct producer_batch){batch_last_sequence(b), (int32_t)(b->last_offset - b->base_offset), b->last_offset,
                                   b->max_timestamp};
}

bool producers_may_recall(struct producers *p, int64_t id, int64_t *first_known)
{
    struct producer *x = producers_find(p, id);
    if (x == NULL || !x->from_snapshot || x->batch_count == 0)
        return false;
    x->from_snapshot = false;
    *first_known = x->batches[0].last_offset - x->batches[0].offset_delta;
    return true;
}

void producers_recall(struct producers *p, int64_t id, const struct batch *batches, int count)
{
    struct producer *x = producers_find(p, id);
    ensure(x != NULL);
    ensure(count >= 0 && count <= PRODUCER_BATCHES);
    struct producer_batch known[PRODUCER_BATCHES];
    int known_count = x->batch_count;
    if (known_count > 0)
        memcpy(known, x->batches, sizeof(*known) * (size_t)known_count);
    x->batch_count = 0;
    for (int i = 0; i < count; i++)
        if (batches[i].producer_epoch == x->epoch)
            remember(x, batch_of(&batches[i]));
    for (int i = 0; i < known_count; i++)
        remember(x, known[i]);
}

static void set_epoch(struct producer *x, int16_t epoch)
{
    if (x->epoch == epoch)
        return;
    x->epoch = epoch;
    x->batch_count = 0;
    x->due = 0;
}

/* ---- The end of transactions ---- */

enum kafka_error producers_check_marker(const struct producers *p, const struct batch *b, int32_t coordinator_epoch)
{
    const struct producer *x = producers_find(p, b->producer_id);
    int32_t known = x != NULL ? x->coordinator_epoch : -1;
    if (x != NULL && b->producer_epoch < x->epoch)
        return ERR_INVALID_PRODUCER_EPOCH;
    return coordinator_epoch < known ? ERR_TRANSACTION_COORDINATOR_FENCED : ERR_NONE;
}

static int by_beginning(const struct producer *a, const struct producer *b)
{
    return (a->txn_first_offset > b->txn_first_offset) - (a->txn_first_offset < b->txn_first_offset);
}

static void begin_txn(struct producers *p, struct producer *x, int64_t first_offset)
{
    ensure(x->txn_first_offset < 0 && first_offset >= 0);
    x->txn_first_offset = first_offset;
    if (p->open == NULL || first_offset >= p->open->open_prev->txn_first_offset) /* as always behind sound snapshots */
        DL_APPEND2(p->open, x, open_prev, open_next);
    else
        DL_INSERT_INORDER2(p->open, x, by_beginning, open_prev, open_next);
}

static int64_t first_open_txn(const struct producers *p)
{
    return p->open != NULL ? p->open->txn_first_offset : INT64_MAX;
}

/* The transaction ends here, but is settled when this is committed. Where no data was met there was none. */
static bool end_txn(struct producers *p, struct producer *x, const struct batch *b, bool commit,
                    struct txn_entry *aborted)
{
    int64_t first = x->txn_first_offset;
    if (first < 0)
        return false;
    ensure(p->open != NULL && p->open->txn_first_offset <= first);
    DL_DELETE2(p->open, x, open_prev, open_next);
    x->txn_first_offset = -1;
    p->decided = xgrow(p->decided, p->decided_count + 1, &p->decided_cap, sizeof(*p->decided));
    p->decided[p->decided_count++] = (struct txn_span){first, b->last_offset};
    *aborted = (struct txn_entry){x->id, first, b->last_offset, MIN(first_open_txn(p), b->last_offset + 1)};
    return !commit;
}

static bool note_control(struct producers *p, struct producer *x, const struct batch *b, struct txn_entry *aborted)
{
    struct txn_marker marker;
    x->last_timestamp = b->max_timestamp;
    if (!txn_marker_read(b, &marker))
        return false;
    x->due = 0; /* whatever was refused before it */
    x->coordinator_epoch = marker.coordinator_epoch;
    return end_txn(p, x, b, marker.commit, aborted);
}

bool producers_note(struct producers *p, const struct batch *b, struct txn_entry *aborted)
{
    p->map_end_offset = b->last_offset + 1;
    if (!batch_has_producer(b))
        return false;
    struct producer *x = producers_find_or_add(p, b->producer_id);
    producers_copy_one(p, x);
    set_epoch(x, b->producer_epoch);
    x->refused_only = false;
    struct verification *v = batch_is_transactional(b) ? find_verification(p, b->producer_id) : NULL;
    if (v != NULL)
        forget_verification(p, v);
    if (batch_is_control(b))
        return note_control(p, x, b, aborted);
    x->last_timestamp = b->max_timestamp;
    remember(x, batch_of(b));
    if (batch_is_transactional(b) && x->txn_first_offset < 0)
        begin_txn(p, x, b->base_offset);
    return false;
}

bool producers_commit(struct producers *p, int64_t high_watermark)
{
    size_t n = 0;
    while (n < p->decided_count && p->decided[n].last < high_watermark)
        n++;
    if (n == 0)
        return false;
    memmove(p->decided, p->decided + n, (p->decided_count - n) * sizeof(*p->decided));
    ensure(n <= p->decided_count);
    p->decided_count -= n;
    return true;
}

size_t producers_last_batches(const struct producers *p, struct producer_last **out)
{
    size_t count = 0;
    *out = xcalloc(HASH_COUNT(p->by_id) + 1, sizeof(**out));
    for (const struct producer *x = p->by_id; x != NULL; x = x->hh.next) {
        if (x->refused_only)
            continue;
        int64_t last = x->batch_count > 0 ? x->batches[x->batch_count - 1].last_offset : -1;
        (*out)[count++] = (struct producer_last){x->id, last, x->epoch};
    }
    return count;
}

static int producers_by_id(const void *a, const void *b)
{
    const struct producer_last *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

void producers_sort_last_batches(struct producer_last *v, size_t count)
{
    qsort(v, count, sizeof(*v), producers_by_id);
}

int64_t producers_oldest_open_ms(const struct producers *p)
{
    int64_t oldest = INT64_MAX;
    for (const struct producer *x = p->open; x != NULL; x = x->open_next)
        oldest = MIN(oldest, x->last_timestamp);
    return oldest;
}

size_t producers_count(const struct producers *p)
{
    return HASH_COUNT(p->by_id);
}

int32_t producers_describe(const struct producers *p, struct arena *a, struct producer_state **out)
{
    int32_t count = 0;
    *out = ARENA_ARRAY(a, struct producer_state, HASH_COUNT(p->by_id) + 1);
    for (const struct producer *x = p->by_id; x != NULL; x = x->hh.next) {
        if (x->refused_only)
            continue;
        (*out)[count++] = (struct producer_state){
            .id = x->id,
            .epoch = x->epoch,
            .last_sequence = x->batch_count > 0 ? x->batches[x->batch_count - 1].last_sequence : NO_SEQUENCE,
            .last_timestamp = x->last_timestamp,
            .coordinator_epoch = x->coordinator_epoch,
            .txn_first_offset = x->txn_first_offset};
    }
    return count;
}

int64_t producers_first_unstable(const struct producers *p)
{
    int64_t first = first_open_txn(p);
    for (size_t i = 0; i < p->decided_count; i++)
        first = MIN(first, p->decided[i].first);
    return first;
}

void producers_expire_begin(struct producers *p, int64_t since)
{
    struct verification *v, *next;
    HASH_ITER (hh, p->verifications, v, next)
        if (v->began < since)
            forget_verification(p, v);
    p->to_expire = p->by_id;
}

bool producers_expire_step(struct producers *p, int64_t since)
{
    for (int i = 0; i < EXPIRED_AT_ONCE && p->to_expire != NULL; i++) {
        struct producer *x = p->to_expire;
        p->to_expire = x->hh.next;
        if (x->txn_first_offset < 0 && x->last_timestamp < since)
            producers_forget(p, x);
    }
    ensure(p->to_expire == NULL || HASH_COUNT(p->by_id) > 0);
    return p->to_expire != NULL;
}

void producers_restore(struct producers *p, const struct producer_state *state, const struct producer_batch *last)
{
    struct producer *x = producers_find_or_add(p, state->id);
    x->epoch = state->epoch;
    x->last_timestamp = state->last_timestamp;
    x->coordinator_epoch = state->coordinator_epoch;
    if (x->txn_first_offset < 0 && state->txn_first_offset >= 0) {
        x->txn_first_offset = state->txn_first_offset;
        DL_APPEND2(p->open, x, open_prev, open_next);
    }
    x->batch_count = 0;
    x->from_snapshot = true;
    if (last->last_offset >= 0)
        remember(x, *last);
}

void producers_restored(struct producers *p)
{
    DL_SORT2(p->open, by_beginning, open_prev, open_next);
}
