/*
 * Which partitions a request names more than once. From the last entry to the first, each looks for its name in a table
 * of those behind it: a request may have a hundred thousand entries, which cannot be compared with one another.
 */
#include <xxhash.h>

#include "server/server_internal.h"

/* Where an entry with that name is in the table, or would be: open addressing, and never more than half full. */
static uint32_t find_slot(const struct named_partition *named, const int32_t *slots, uint32_t mask,
                          const struct named_partition *wanted)
{
    uint64_t hash = XXH3_64bits_withSeed(wanted->topic.p, (size_t)wanted->topic.len, (uint32_t)wanted->index);
    uint32_t at = (uint32_t)hash & mask;
    for (; slots[at] != 0; at = (at + 1) & mask) {
        const struct named_partition *there = &named[slots[at] - 1];
        if (there->index == wanted->index && str_eq(there->topic, wanted->topic))
            break;
    }
    return at;
}

bool *named_again(struct arena *a, const struct named_partition *named, int32_t count)
{
    bool *again = ARENA_ARRAY(a, bool, MAX(count, 1));
    uint32_t size = 2;
    while (size < 2 * (uint32_t)count)
        size *= 2;
    int32_t *slots = ARENA_ARRAY(a, int32_t, size); /* numbers of entries from 1 on; 0: free */
    for (int32_t i = count - 1; i >= 0; i--) {
        uint32_t at = find_slot(named, slots, size - 1, &named[i]);
        again[i] = slots[at] != 0;
        slots[at] = i + 1;
    }
    return again;
}
