/* Offsets that were committed in transactions: set aside until a marker in the group's partition says what of them. */
#include <utlist.h>

#include "base/logger.h"
#include "group/group_internal.h"

static struct txn_producer *txn_offsets_find_producer(const struct group_coordinator *gc, int64_t id)
{
    struct txn_producer *p;
    HASH_FIND(hh, gc->txn_producers, &id, sizeof(id), p);
    return p;
}

static struct txn_producer *find_or_add_producer(struct group_coordinator *gc, int64_t id)
{
    struct txn_producer *p = txn_offsets_find_producer(gc, id);
    if (p != NULL)
        return p;
    p = xcalloc(1, sizeof(*p));
    p->id = id;
    HASH_ADD(hh, gc->txn_producers, id, sizeof(p->id), p);
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

static void count_open(struct group *g, const struct topic_key *id, int by)
{
    struct txn_open *open = txn_offsets_find_open(g, id);
    if (open == NULL) {
        open = xcalloc(1, sizeof(*open));
        open->id = *id;
        HASH_ADD(hh, g->txn_open, id, topic_key_size(id), open);
    }
    open->count += by;
    ensure(open->count >= 0);
    if (open->count > 0)
        return;
    HASH_DEL(g->txn_open, open);
    free(open);
}

static struct txn_offset *txn_offset_find_or_add(struct group *g, int64_t producer_id, const struct topic_key *id,
                                                 int64_t commit)
{
    struct txn_offset *o = txn_offset_find(g, producer_id, id);
    if (o != NULL)
        return o;
    struct txn_producer *p = find_or_add_producer(g->coordinator, producer_id);
    o = xcalloc(1, sizeof(*o));
    o->group = g;
    o->key = txn_offsets_key_of(producer_id, id);
    o->value.at = -1;
    o->first_commit = commit;
    DL_APPEND(p->offsets, o);
    HASH_ADD(hh, g->txn_offsets, key, sizeof(o->key), o);
    count_open(g, id, 1);
    return o;
}

void txn_offset_put(struct group *g, int64_t producer_id, const struct topic_key *id, const struct offset_value *v)
{
    struct txn_offset *o = txn_offset_find_or_add(g, producer_id, id, atomic_load(&g->coordinator->commits_begun));
    if (v->at >= o->value.at) /* the same: one request has named it twice */
        offset_value_assign(&o->value, v);
}

void txn_offset_begin(struct group *g, int64_t producer_id, const struct topic_key *id, int64_t commit)
{
    txn_offset_find_or_add(g, producer_id, id, commit)->pending++;
}

void txn_offset_end(struct group *g, int64_t producer_id, const struct topic_key *id, int64_t commit,
                    const struct offset_value *v)
{
    struct txn_offset *o = txn_offset_find(g, producer_id, id);
    if (o == NULL || o->first_commit > commit) /* which is the next transaction's */
        return;
    ensure(o->pending > 0);
    o->pending--;
    if (v != NULL)
        txn_offset_put(g, producer_id, id, v);
    if (o->pending == 0 && o->value.at < 0)
        txn_offset_drop(o);
}

void txn_offset_drop(struct txn_offset *o)
{
    struct group *g = o->group;
    struct txn_producer *p = txn_offsets_find_producer(g->coordinator, o->key.producer_id);
    DL_DELETE(p->offsets, o);
    HASH_DEL(g->txn_offsets, o);
    count_open(g, &o->key.id, -1);
    offset_value_free(&o->value);
    free(o);
    if (p->offsets == NULL) {
        HASH_DEL(g->coordinator->txn_producers, p);
        free(p);
    }
}

void txn_offsets_drop_partition(struct group *g, const struct topic_key *id)
{
    struct txn_offset *o, *next;
    if (!txn_offset_is_open(g, id))
        return;
    HASH_ITER (hh, g->txn_offsets, o, next)
        if (memcmp(&o->key.id, id, sizeof(*id)) == 0)
            txn_offset_drop(o);
}

void txn_offsets_drop_all(struct group *g)
{
    struct txn_offset *o, *next;
    HASH_ITER (hh, g->txn_offsets, o, next)
        txn_offset_drop(o);
}

int64_t group_commits_begun(const struct group_coordinator *gc)
{
    return atomic_load(&gc->commits_begun);
}

void group_transaction_ended(struct group_coordinator *gc, int32_t partition, int64_t producer_id, bool committed,
                             int64_t as_of)
{
    const struct txn_producer *p = txn_offsets_find_producer(gc, producer_id);
    struct txn_offset *o, *next;
    if (p == NULL)
        return;
    DL_FOREACH_SAFE (p->offsets, o, next) {
        if (o->group->home->number != partition || o->first_commit > as_of) /* which is the next transaction's */
            continue;
        if (committed && o->value.at >= 0)
            offset_put(o->group, &o->key.id, &o->value);
        else if (committed)
            log_warn("Group %.*s: the log has the end of a transaction, but not the offset that was committed in it",
                     STR_ARGS(o->group->id));
        txn_offset_drop(o); /* frees the list's owner with its last one, for which `next` is NULL */
    }
}
