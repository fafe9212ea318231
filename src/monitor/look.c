#include "monitor/look.h"

#include <stdlib.h>

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
