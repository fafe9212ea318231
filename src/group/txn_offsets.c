/* Offsets that were committed in transactions: set aside until a marker in the group's partition says what of them. */
#include <utlist.h>

#include "base/logger.h"
#include "group/group_internal.h"

static struct txn_producer *find_producer(const struct group_coordinator *gc, int64_t id)
{
    struct txn_producer *p;
    HASH_FIND(hh, gc->txn_producers, &id, sizeof(id), p);
    return p;
}

static struct txn_producer *find_or_add_producer(struct group_coordinator *gc, int64_t id)
{
    struct txn_producer *p = find_producer(gc, id);
    if (p != NULL)
        return p;
    p = xcalloc(1, sizeof(*p));
    p->id = id;
    HASH_ADD(hh, gc->txn_producers, id, sizeof(p->id), p);
    return p;
}

static bool same_id(const struct topic_key *a, const struct topic_key *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

struct txn_offset *txn_offset_find(const struct group *g, int64_t producer_id, const struct topic_key *id)
{
    struct txn_offset *o;
    DL_FOREACH2 (g->txn_offsets, o, group_next)
        if (o->producer_id == producer_id && same_id(&o->id, id))
            return o;
    return NULL;
}

bool txn_offset_is_open(const struct group *g, const struct topic_key *id)
{
    const struct txn_offset *o;
    DL_FOREACH2 (g->txn_offsets, o, group_next)
        if (same_id(&o->id, id))
            return true;
    return false;
}

void txn_offset_put(struct group *g, int64_t producer_id, const struct topic_key *id, const struct offset_value *v)
{
    struct txn_offset *o = txn_offset_find(g, producer_id, id);
    if (o == NULL) {
        struct txn_producer *p = find_or_add_producer(g->coordinator, producer_id);
        o = xcalloc(1, sizeof(*o));
        o->group = g;
        o->producer_id = producer_id;
        o->id = *id;
        DL_APPEND(p->offsets, o);
        DL_APPEND2(g->txn_offsets, o, group_prev, group_next);
    }
    offset_value_assign(&o->value, v);
}

void txn_offset_drop(struct txn_offset *o)
{
    struct group_coordinator *gc = o->group->coordinator;
    struct txn_producer *p = find_producer(gc, o->producer_id);
    DL_DELETE(p->offsets, o);
    DL_DELETE2(o->group->txn_offsets, o, group_prev, group_next);
    offset_value_free(&o->value);
    free(o);
    if (p->offsets == NULL) {
        HASH_DEL(gc->txn_producers, p);
        free(p);
    }
}

void txn_offsets_drop_partition(struct group *g, const struct topic_key *id)
{
    struct txn_offset *o, *next;
    for (o = g->txn_offsets; o != NULL; o = next) {
        next = o->group_next;
        if (same_id(&o->id, id))
            txn_offset_drop(o);
    }
}

void txn_offsets_drop_all(struct group *g)
{
    while (g->txn_offsets != NULL)
        txn_offset_drop(g->txn_offsets);
}

void group_transaction_ended(struct group_coordinator *gc, int32_t partition, int64_t producer_id, bool committed)
{
    const struct txn_producer *p = find_producer(gc, producer_id);
    struct txn_offset *o, *next;
    if (p == NULL)
        return;
    DL_FOREACH_SAFE (p->offsets, o, next) {
        if (group_partition(o->group)->number != partition)
            continue;
        if (committed && o->value.at >= 0)
            offset_put(o->group, &o->id, &o->value);
        else if (committed)
            log_warn("An offset that group %.*s has committed in a transaction is not in the log, but its end is",
                     STR_ARGS(o->group->id));
        txn_offset_drop(o); /* frees the list's owner with its last one, for which `next` is NULL */
    }
}
