/*
 * The last offset of each key, in one block of memory of fixed size: what compaction asks whether a record is the
 * newest of its key. Keys are known by a hash of 128 bits with a random seed, as Kafka's cleaner knows them by MD5: two
 * keys with the same hash would lose one of them, and nobody can choose keys so.
 */
#ifndef BARNABAS_LOG_OFFSET_MAP_INTERNAL_H
#define BARNABAS_LOG_OFFSET_MAP_INTERNAL_H

#include "base/bytes.h"

enum { OFFSET_MAP_ENTRY = 24 }; /* bytes a key */

struct offset_map;

/* `load_factor`: how much of the memory is to be used; fuller holds more keys and finds them more slowly. */
struct offset_map *offset_map_new(size_t bytes, double load_factor);
void offset_map_free(struct offset_map *map); /* NULL allowed */

struct offset_key { /* as the map knows it */
    uint64_t high, low;
};

/* Calls for the memory where the key lies, which takes a while: whoever has several makes all of them before the first
 * is looked up. */
struct offset_key offset_map_key(const struct offset_map *map, struct bytes key);
/* Notes a later offset of the key; false when the map is full, whether the key is in it or not. */
bool offset_map_put(struct offset_map *map, struct offset_key key, int64_t offset) NODISCARD;
int64_t offset_map_get(const struct offset_map *map, struct offset_key key); /* -1: not there */
size_t offset_map_count(const struct offset_map *map);
size_t offset_map_room(const struct offset_map *map); /* for how many keys */

#endif
