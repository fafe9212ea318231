#include "log/offset_map_internal.h"

#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/chance.h"

struct entry {
    struct offset_key key;
    int64_t next; /* the offset and one; 0: a free slot, as fresh memory is */
};

_Static_assert(sizeof(struct entry) == OFFSET_MAP_ENTRY, "what the configured memory holds is reckoned by this");

struct offset_map {
    struct entry *slots;
    size_t slot_count, count, room;
    uint64_t seed;
};

/* Keys lie all over the map: with small pages each search begins with looking for its page, which takes the longest. */
static void prefer_large_pages(void *p, size_t size)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), end = ((uintptr_t)p + size) & ~(page - 1);
    uintptr_t begin = ((uintptr_t)p + page - 1) & ~(page - 1);
    if (begin < end)
        (void)madvise((void *)begin, end - begin, MADV_HUGEPAGE);
}

struct offset_map *offset_map_new(size_t bytes, double load_factor)
{
    struct offset_map *map = xcalloc(1, sizeof(*map));
    map->slot_count = MAX(bytes / OFFSET_MAP_ENTRY, (size_t)2);
    map->room = (size_t)((double)map->slot_count * load_factor);
    map->room = MIN(MAX(map->room, (size_t)1), map->slot_count - 1); /* a search ends at a free slot */
    ensure(map->room > 0 && map->room < map->slot_count);
    map->slots = xcalloc(map->slot_count, sizeof(*map->slots));
    prefer_large_pages(map->slots, map->slot_count * sizeof(*map->slots));
    chance_fill(&map->seed, sizeof(map->seed));
    return map;
}

void offset_map_free(struct offset_map *map)
{
    if (map == NULL)
        return;
    free(map->slots);
    free(map);
}

/* Where its search begins. */
static size_t first_slot(const struct offset_map *map, struct offset_key key)
{
    return (size_t)(((unsigned __int128)key.high * map->slot_count) >> 64);
}

struct offset_key offset_map_key(const struct offset_map *map, struct bytes key)
{
    XXH128_hash_t hash = XXH3_128bits_withSeed(key.p, (size_t)key.len, map->seed);
    struct offset_key out = {hash.high64, hash.low64};
    __builtin_prefetch(&map->slots[first_slot(map, out)]);
    return out;
}

static bool is_same(struct offset_key a, struct offset_key b)
{
    return a.high == b.high && a.low == b.low;
}

/* The key's slot, or the free one where it would go. */
static struct entry *offset_map_find(const struct offset_map *map, struct offset_key key)
{
    size_t at = first_slot(map, key);
    while (map->slots[at].next != 0 && !is_same(map->slots[at].key, key))
        at = at + 1 < map->slot_count ? at + 1 : 0;
    return &map->slots[at];
}

bool offset_map_put(struct offset_map *map, struct offset_key key, int64_t offset)
{
    ensure(offset >= 0 && offset < INT64_MAX);
    ensure(map->count <= map->room);
    if (map->count == map->room)
        return false;
    struct entry *e = offset_map_find(map, key);
    if (e->next == 0) {
        e->key = key;
        map->count++;
    }
    e->next = offset + 1;
    return true;
}

int64_t offset_map_get(const struct offset_map *map, struct offset_key key)
{
    return offset_map_find(map, key)->next - 1;
}

size_t offset_map_count(const struct offset_map *map)
{
    return map->count;
}

size_t offset_map_room(const struct offset_map *map)
{
    return map->room;
}
