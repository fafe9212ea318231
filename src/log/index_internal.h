/*
 * Offset and time index of a segment: sorted entries of fixed size, big-endian as on disk.
 *
 *   .index      i32 offset - base, i32 position       .timeindex  i64 timestamp, i32 offset - base
 *
 * The index of a segment that is still appended to lives on the heap and reaches its file in steps:
 * after a crash it is rebuilt from the log in any case. That of an older segment is mapped when it is
 * first asked, and let go of when nobody has asked it for a while.
 */
#ifndef BARNABAS_LOG_INDEX_INTERNAL_H
#define BARNABAS_LOG_INDEX_INTERNAL_H

#include "base/bytes.h"
#include "log/file.h"

enum { OFFSET_ENTRY = 8, TIME_ENTRY = 12 };

struct index {
    uint8_t *mem;
    size_t count, cap; /* entries; cap 0: mem is mapped, or NULL and not loaded */
    size_t saved;      /* entries that the file holds */
    uint8_t entry_size;
    bool loaded;
};

/* Reads or maps the file. FILE_MISSING also if it is of odd size, or its last entry is below its first. */
enum file_result index_load(struct index *x, const char *path, bool for_append) NODISCARD;
/*
 * Whether index_load() would succeed, and the last entry is not all zeros, as a power failure leaves them. (By right
 * one is, if all records are of the time 0.)
 */
bool index_is_sound(const char *path, uint8_t entry_size) NODISCARD;
void index_init(struct index *x, uint8_t entry_size); /* empty, for appending */
void index_deinit(struct index *x);
bool index_save(struct index *x, const char *path) NODISCARD; /* what is not yet in the file */
/* The whole file anew, and on the disk: it is believed from now on. */
bool index_replace(struct index *x, const char *path) NODISCARD;
void index_clear(struct index *x);

void offset_index_add(struct index *x, int32_t delta, int32_t position);
void time_index_add(struct index *x, int64_t timestamp, int32_t delta);

struct offset_entry {
    int32_t delta, position;
};

struct time_entry {
    int64_t timestamp;
    int32_t delta;
};

/* The first entry at `position` or behind it, so that all before is below; false if there is none. */
bool offset_index_from(const struct index *x, int64_t position, struct offset_entry *out);
/* The last entry not above the target; zeroes (and timestamp NO_TIMESTAMP) if all are above. */
struct offset_entry offset_index_find(const struct index *x, int32_t delta);
struct time_entry time_index_find(const struct index *x, int64_t timestamp);
struct offset_entry offset_index_last(const struct index *x);
struct time_entry time_index_last(const struct index *x);
/* Drops entries at or above `delta`. */
void offset_index_truncate(struct index *x, int32_t delta);
void time_index_truncate(struct index *x, int32_t delta);

#endif
