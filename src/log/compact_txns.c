/*
 * Transactions in compaction. Nothing above the last stable offset is compacted, so that of each transaction that is
 * met the transaction index knows beforehand whether it was aborted: its data goes at once, and its marker when the
 * data is gone. A commit's marker stays as long as there is data, too, which consumers would take for open without it.
 */

#include "base/hash.h"
#include "log/compact_internal.h"

struct open_txn {
    int64_t producer_id;
    bool aborted, committed; /* as what data of it is met until its marker comes */
    bool has_data;           /* of the aborted one */
    struct txn_entry entry;  /* likewise */
    UT_hash_handle hh;
};

static struct open_txn *open_txns_find(const struct compact_txns *t, int64_t producer_id)
{
    struct open_txn *x;
    HASH_FIND(hh, t->open, &producer_id, sizeof(producer_id), x);
    return x;
}

static struct open_txn *open_txns_find_or_add(struct compact_txns *t, int64_t producer_id)
{
    struct open_txn *x = open_txns_find(t, producer_id);
    if (x != NULL)
        return x;
    x = xcalloc(1, sizeof(*x));
    x->producer_id = producer_id;
    HASH_ADD(hh, t->open, producer_id, sizeof(x->producer_id), x);
    return x;
}

static void drop(struct compact_txns *t, struct open_txn *x)
{
    HASH_DEL(t->open, x);
    free(x);
}

void compact_txns_deinit(struct compact_txns *t)
{
    struct open_txn *x, *tmp;
    HASH_ITER (hh, t->open, x, tmp)
        drop(t, x);
    free(t->aborted);
    strbuf_deinit(&t->index);
    *t = (struct compact_txns){0};
}

void compact_txns_add(struct compact_txns *t, const struct txn_entry *entries, size_t count)
{
    ensure(t->next <= t->count && t->count <= t->cap);
    if (count == 0)
        return;
    size_t left = t->count - t->next;
    if (left > 0)
        memmove(t->aborted, t->aborted + t->next, left * sizeof(*entries));
    t->aborted = xgrow(t->aborted, left + count, &t->cap, sizeof(*entries));
    memcpy(t->aborted + left, entries, count * sizeof(*entries));
    t->count = left + count;
    t->next = 0;
    qsort(t->aborted, t->count, sizeof(*entries), txn_entry_order);
}

/* Aborted transactions that begin up to `offset` are open now. */
static void open_up_to(struct compact_txns *t, int64_t offset)
{
    for (; t->next < t->count && t->aborted[t->next].first_offset <= offset; t->next++) {
        struct open_txn *x = open_txns_find_or_add(t, t->aborted[t->next].producer_id);
        if (x->aborted)
            continue;
        x->aborted = true;
        x->has_data = false;
        x->entry = t->aborted[t->next];
    }
}

bool compact_txns_data(struct compact_txns *t, const struct batch *b)
{
    open_up_to(t, b->last_offset);
    if (!batch_is_transactional(b))
        return false;
    struct open_txn *x = open_txns_find_or_add(t, b->producer_id);
    if (x->aborted)
        x->has_data = true;
    else
        x->committed = true;
    return x->aborted;
}

/* The end of an aborted transaction. Whether data of it was met. */
static bool end_aborted(struct compact_txns *t, struct open_txn *x)
{
    bool had_data = x->aborted && x->has_data;
    if (had_data)
        txn_entry_put(&t->index, &x->entry);
    x->aborted = false;
    return had_data;
}

static bool end_committed(struct open_txn *x)
{
    bool had_data = x->committed;
    x->committed = false;
    return had_data;
}

bool compact_txns_marker(struct compact_txns *t, const struct batch *b)
{
    open_up_to(t, b->last_offset);
    struct txn_marker marker;
    bool is_marker = txn_marker_read(b, &marker);
    if (!is_marker && b->count > 0)
        return false;
    struct open_txn *x = open_txns_find(t, b->producer_id);
    if (!is_marker || x == NULL)
        return true;
    bool had_data = marker.commit ? end_committed(x) : end_aborted(t, x);
    if (!x->aborted && !x->committed)
        drop(t, x);
    return !had_data;
}
