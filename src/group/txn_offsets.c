/*
 * Offsets that were committed in transactions: set aside until a marker in the group's partition says what of them.
 *
 * What a marker ends is decided by the log, so that who loads it later comes to the same: whatever the producer has
 * committed in front of it. News of either may come in another order than they have there. With the commits A at 5 and
 * B at 11, and a marker at 10: if that is heard of before A, it is kept until A is known to be at 5, and in front of
 * it; and B stays open, whichever of the two was heard of first.
 */
#include <utlist.h>

#include "group/group_internal.h"

static struct txn_producer *txn_offsets_find_producer(const struct group_coordinator *gc, int64_t id, int32_t home)
{
    struct txn_producer_key key = {id, home};
    struct txn_producer *p;
    HASH_FIND(hh, gc->txn_producers, &key, sizeof(key), p);
    return p;
}

static struct txn_producer *find_or_add_producer(struct group_coordinator *gc, int64_t id, int32_t home)
{
    struct txn_producer *p = txn_offsets_find_producer(gc, id, home);
    if (p != NULL)
        return p;
    p = xcalloc(1, sizeof(*p));
    p->key = (struct txn_producer_key){id, home};
    HASH_ADD(hh, gc->txn_producers, key, sizeof(p->key), p);
    return p;
}

static struct txn_offset_key txn_offsets_key_of(int64_t producer_id, const struct topic_key *id)
{
    return (struct txn_offset_key){producer_id, *id};
}

_Static_assert(sizeof(struct txn_offset_key) == sizeof(int64_t) + sizeof(struct topic_key), "no padding to be hashed");

struct txn_offset *txn_offset_find(const struct group *g, int64_t producer_id, const struct topic_key *id)
{
    struct txn_offset_key key = txn_offsets_key_of(producer_id, id);
    struct txn_offset *o;
    HASH_FIND(hh, g->txn_offsets, &key, sizeof(key), o);
    return o;
}

static struct txn_open *txn_offsets_find_open(const struct group *g, const struct topic_key *id)
{
    struct txn_open *open;
    HASH_FIND(hh, g->txn_open, id, topic_key_size(id), open);
    return open;
}

bool txn_offset_is_open(const struct group *g, const struct topic_key *id)
{
    return txn_offsets_find_open(g, id) != NULL;
}

static void enter_open(struct txn_offset *o)
{
    struct group *g = o->group;
    struct txn_open *open = txn_offsets_find_open(g, &o->key.id);
    if (open == NULL) {
        open = xcalloc(1, sizeof(*open));
        open->id = o->key.id;
        HASH_ADD(hh, g->txn_open, id, topic_key_size(&open->id), open);
    }
    o->open = open;
    DL_APPEND2(open->offsets, o, open_prev, open_next);
}

static void leave_open(struct txn_offset *o)
{
    struct txn_open *open = o->open;
    DL_DELETE2(open->offsets, o, open_prev, open_next);
    if (open->offsets != NULL)
        return;
    HASH_DEL(o->group->txn_open, open);
    free(open);
}

static struct txn_offset *txn_offset_find_or_add(struct group *g, int64_t producer_id, const struct topic_key *id,
                                                 int64_t commit)
{
    struct txn_offset *o = txn_offset_find(g, producer_id, id);
    if (o != NULL)
        return o;
    struct txn_producer *p = find_or_add_producer(g->coordinator, producer_id, g->home->number);
    o = xcalloc(1, sizeof(*o));
    o->group = g;
    o->producer = p;
    o->key = txn_offsets_key_of(producer_id, id);
    o->value.at = -1;
    o->first_commit = commit;
    DL_APPEND(p->offsets, o);
    HASH_ADD(hh, g->txn_offsets, key, sizeof(o->key), o);
    enter_open(o);
    return o;
}

void txn_offset_put(struct group *g, int64_t producer_id, const struct topic_key *id, const struct offset_value *v)
{
    struct txn_offset *o = txn_offset_find_or_add(g, producer_id, id, g->coordinator->commits_begun);
    if (v->at >= o->value.at) /* the same: one request has named it twice */
        offset_value_assign(&o->value, v);
}

void txn_offset_begin(struct group *g, int64_t producer_id, const struct topic_key *id, int64_t commit)
{
    struct txn_offset *o = txn_offset_find_or_add(g, producer_id, id, commit);
    o->pending++;
    o->producer->pending++;
}

/* ---- Markers ---- */

/* Those that were heard of while commits are under way: nobody has as many in that time. */
static void keep_verdict(struct txn_producer *p, struct txn_verdict verdict)
{
    int i = p->verdict_count;
    if (i == TXN_VERDICTS) {
        i--;
        memmove(p->verdicts, p->verdicts + 1, (size_t)i * sizeof(p->verdicts[0]));
    }
    p->verdict_count = i + 1;
    for (; i > 0 && p->verdicts[i - 1].at > verdict.at; i--)
        p->verdicts[i] = p->verdicts[i - 1];
    p->verdicts[i] = verdict;
}

/* The first marker behind it; NULL: its transaction is open. */
static const struct txn_verdict *verdict_on(const struct txn_producer *p, const struct offset_value *v)
{
    for (int i = 0; i < p->verdict_count; i++)
        if (p->verdicts[i].at > v->at)
            return &p->verdicts[i];
    return NULL;
}

static void forget_pending(struct txn_producer *p, int count)
{
    ensure(p->pending >= count);
    p->pending -= count;
    if (p->pending == 0)
        p->verdict_count = 0;
}

void txn_offset_end(struct group *g, int64_t producer_id, const struct topic_key *id, int64_t commit,
                    const struct offset_value *v)
{
    struct txn_offset *o = txn_offset_find(g, producer_id, id);
    if (o == NULL || o->first_commit > commit) /* which is the next transaction's */
        return;
    ensure(o->pending > 0);
    const struct txn_verdict *verdict = v != NULL ? verdict_on(o->producer, v) : NULL;
    if (v != NULL && verdict == NULL)
        txn_offset_put(g, producer_id, id, v);
    else if (verdict != NULL && verdict->committed)
        offset_put(g, id, v);
    o->pending--;
    forget_pending(o->producer, 1);
    if (o->pending == 0 && o->value.at < 0)
        txn_offset_drop(o);
}

void txn_offset_drop(struct txn_offset *o)
{
    struct group *g = o->group;
    struct txn_producer *p = o->producer;
    forget_pending(p, o->pending);
    DL_DELETE(p->offsets, o);
    HASH_DEL(g->txn_offsets, o);
    leave_open(o);
    offset_value_free(&o->value);
    free(o);
    if (p->offsets == NULL) {
        HASH_DEL(g->coordinator->txn_producers, p);
        free(p);
    }
}

void txn_offsets_drop_partition(struct group *g, const struct topic_key *id)
{
    const struct txn_open *open = txn_offsets_find_open(g, id);
    struct txn_offset *o, *next;
    if (open == NULL)
        return;
    DL_FOREACH_SAFE2 (open->offsets, o, next, open_next)
        txn_offset_drop(o); /* frees the list's owner with its last one */
}

void txn_offsets_drop_all(struct group *g)
{
    struct txn_offset *o, *next;
    HASH_ITER (hh, g->txn_offsets, o, next)
        txn_offset_drop(o);
}

/* What was committed of it in front of the marker. Commits under way are judged when they are over. */
static void txn_offset_judge(struct txn_offset *o, bool committed, int64_t at)
{
    if (o->value.at > at)
        return;
    if (o->value.at >= 0 && committed)
        offset_put(o->group, &o->key.id, &o->value);
    o->value.at = -1;
    if (o->pending > 0)
        return;
    struct group *g = o->group;
    txn_offset_drop(o); /* frees the list's owner with its last one */
    group_note_void(g);
}

void group_transaction_ended(struct group_coordinator *gc, int32_t partition, int64_t producer_id, bool committed,
                             int64_t at)
{
    struct txn_producer *p = txn_offsets_find_producer(gc, producer_id, partition);
    struct txn_offset *o, *next;
    ensure(loop_is_mine(gc->options.loop));
    if (p == NULL)
        return;
    if (p->pending > 0)
        keep_verdict(p, (struct txn_verdict){at, committed});
    DL_FOREACH_SAFE (p->offsets, o, next)
        txn_offset_judge(o, committed, at);
}
