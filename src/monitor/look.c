#include "monitor/look.h"

#include <stdlib.h>

#include "base/hash.h"

void look_ref(struct look *l)
{
    atomic_fetch_add(&l->refs, 1);
}

void look_unref(struct look *l)
{
    if (l == NULL)
        return;
    int before = atomic_fetch_sub(&l->refs, 1);
    ensure(before > 0);
    if (before > 1)
        return;
    view_unref(l->view);
    arena_deinit(&l->memory);
    free(l);
}

struct look_broker *look_broker(const struct look *l, int32_t id)
{
    for (int32_t i = 0; i < l->broker_count; i++)
        if (l->brokers[i].broker->id == id)
            return &l->brokers[i];
    return NULL;
}

struct look_topic *look_topic(const struct look *l, struct str name)
{
    int32_t low = 0, high = l->view->topic_count;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        int order = str_cmp(str_of(l->topics[middle].topic->name), name);
        if (order == 0)
            return &l->topics[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

struct look_partition *look_partition(const struct look_topic *t, int32_t partition)
{
    const struct view_partition *p = view_topic_partition(t->topic, partition);
    return p != NULL ? &t->partitions[p - t->topic->partitions] : NULL;
}

int64_t look_end(const struct look_group_topic *t, const struct look_commit *c)
{
    const struct look_partition *p = t->topic != NULL ? look_partition(t->topic, c->partition) : NULL;
    return p != NULL ? p->end : LOOK_UNKNOWN;
}

/* ---- Groups ---- */

int look_group_order(const void *a, const void *b)
{
    const struct look_group *x = a, *y = b;
    int order = (x->coordinator > y->coordinator) - (x->coordinator < y->coordinator);
    return order != 0 ? order : str_cmp(x->id, y->id);
}

struct look_group *look_group(const struct look *l, int32_t coordinator, struct str id)
{
    struct look_group key = {.coordinator = coordinator, .id = id};
    return l->group_count > 0 ? bsearch(&key, l->groups, (size_t)l->group_count, sizeof(key), look_group_order) : NULL;
}

/* ---- What groups have to do with topics: as many as anybody likes, who makes up a member's assignment ---- */

/* Where the topic's place is, or is to be. */
static int32_t *look_place(const struct look_group *g, int32_t room, struct str name)
{
    uint64_t mask = 2 * (uint64_t)room - 1;
    for (uint64_t at = hash_bytes(name.p, (size_t)name.len) & mask;; at = (at + 1) & mask) {
        int32_t place = g->places[at];
        if (place == 0 || str_eq(g->topics[place - 1].name, name))
            return &g->places[at];
    }
}

/* For twice as many. */
static void grow_group(struct look *l, struct look_group *g)
{
    int32_t room = MAX(2 * g->topic_count, 1);
    struct look_group_topic *more = ARENA_ARRAY(&l->memory, struct look_group_topic, room);
    if (g->topic_count > 0)
        memcpy(more, g->topics, sizeof(*more) * (size_t)g->topic_count);
    g->topics = more;
    g->places = ARENA_ARRAY(&l->memory, int32_t, 2 * (size_t)room);
    for (int32_t i = 0; i < g->topic_count; i++)
        *look_place(g, room, more[i].name) = i + 1;
    g->topic_room = room;
}

/* From 1; 0: it is not there. */
static int32_t look_topic_number(const struct look_group *g, struct str name)
{
    return g->topic_room > 0 ? *look_place(g, g->topic_room, name) : 0;
}

const struct look_group_topic *look_find_group_topic(const struct look_group *g, struct str name)
{
    int32_t known = look_topic_number(g, name);
    return known > 0 ? &g->topics[known - 1] : NULL;
}

struct look_group_topic *look_group_topic(struct look *l, struct look_group *g, struct str name)
{
    int32_t known = look_topic_number(g, name);
    if (known > 0)
        return &g->topics[known - 1];
    if (g->topic_count == g->topic_room)
        grow_group(l, g);
    int32_t *place = look_place(g, g->topic_room, name);
    struct look_group_topic *t = &g->topics[g->topic_count++];
    *t = (struct look_group_topic){.name = arena_str(&l->memory, name), .topic = look_topic(l, name)};
    *place = g->topic_count;
    return t;
}
