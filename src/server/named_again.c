/*
 * Which partitions a request names more than once. From the last entry to the first, each looks for its name in a table
 * of those behind it: a request may have a hundred thousand entries, which cannot be compared with one another.
 */
#include "base/hash.h"
#include "server/server_internal.h"

/* A topic's name may be as long as half of the request: each is gone through once, not for each of its partitions. */
static bool is_same_text(struct str a, struct str b)
{
    return a.p == b.p && a.len == b.len;
}

struct named_table { /* open addressing, and never more than half full */
    const struct named_partition *named;
    int32_t *slots; /* numbers of entries from 1 on; 0: free */
    uint32_t mask;
    struct str topic; /* whose name was hashed last */
    uint64_t topic_hash;
};

static uint32_t named_first_slot(struct named_table *t, const struct named_partition *wanted)
{
    if (!is_same_text(t->topic, wanted->topic)) {
        t->topic = wanted->topic;
        t->topic_hash = hash_bytes(wanted->topic.p, (size_t)wanted->topic.len);
    }
    return (uint32_t)hash_pair(t->topic_hash, (uint32_t)wanted->index) & t->mask;
}

/* Where an entry with that name is in the table, or would be. */
static uint32_t find_slot(struct named_table *t, const struct named_partition *wanted)
{
    uint32_t at = named_first_slot(t, wanted);
    for (; t->slots[at] != 0; at = (at + 1) & t->mask) {
        const struct named_partition *there = &t->named[t->slots[at] - 1];
        if (there->index == wanted->index &&
            (is_same_text(there->topic, wanted->topic) || str_eq(there->topic, wanted->topic)))
            break;
    }
    return at;
}

/* `also_last`: of those that are the same, the last is marked like the others. */
static bool *mark_repeated(struct arena *a, const struct named_partition *named, int32_t count, bool also_last)
{
    bool *marked = ARENA_ARRAY(a, bool, MAX(count, 1));
    uint32_t size = 2;
    while (size < 2 * (uint32_t)count)
        size *= 2;
    struct named_table t = {.named = named, .slots = ARENA_ARRAY(a, int32_t, size), .mask = size - 1};
    for (int32_t i = count - 1; i >= 0; i--) {
        uint32_t at = find_slot(&t, &named[i]);
        marked[i] = t.slots[at] != 0;
        if (marked[i] && also_last)
            marked[t.slots[at] - 1] = true;
        t.slots[at] = i + 1;
    }
    return marked;
}

bool *named_again(struct arena *a, const struct named_partition *named, int32_t count)
{
    return mark_repeated(a, named, count, false);
}

bool *named_twice(struct arena *a, const struct named_partition *named, int32_t count)
{
    return mark_repeated(a, named, count, true);
}
