#include "log/index_internal.h"

#include <errno.h>

#include "base/logger.h"
#include "record/record.h"

_Static_assert(OFFSET_ENTRY == 4 + 4 && TIME_ENTRY == 8 + 4, "entries are as on disk");

static const uint8_t *entry_at(const struct index *x, size_t i)
{
    ensure(i < x->count);
    return x->mem + i * x->entry_size;
}

static int32_t delta_at(const struct index *x, size_t i)
{
    return (int32_t)be32_get(entry_at(x, i) + (x->entry_size == TIME_ENTRY ? 8 : 0));
}

static int64_t timestamp_at(const struct index *x, size_t i)
{
    return (int64_t)be64_get(entry_at(x, i));
}

static bool read_to_heap(struct index *x, int fd, size_t size, const char *path)
{
    x->cap = MAX(x->count, (size_t)8);
    ensure(size == x->count * x->entry_size);
    x->mem = xmalloc(x->cap * x->entry_size);
    return file_read_at(fd, x->mem, size, 0, path) == (ssize_t)size;
}

/* There are only so many maps in a process (vm.max_map_count): what cannot be mapped is read. */
static bool map(struct index *x, int fd, size_t size, const char *path)
{
    if (size == 0)
        return true;
    x->mem = file_map(fd, size);
    return x->mem != NULL || read_to_heap(x, fd, size, path);
}

/* Both are of the size of an entry. An offset index has none for the first batch. */
static bool are_in_order(const uint8_t *first, const uint8_t *last, uint8_t entry_size)
{
    if (entry_size == OFFSET_ENTRY)
        return (int32_t)be32_get(first) > 0 && (int32_t)be32_get(last) >= (int32_t)be32_get(first) &&
               (int32_t)be32_get(last + 4) > 0;
    return (int32_t)be32_get(last + 8) >= (int32_t)be32_get(first + 8) && be64_get(last) >= be64_get(first);
}

static bool is_mapped(const struct index *x)
{
    return x->cap == 0 && x->mem != NULL;
}

struct sanity {
    const struct index *x;
    bool sane;
};

static void check_sanity(void *ctx)
{
    struct sanity *s = ctx;
    const struct index *x = s->x;
    s->sane = x->count == 0 || are_in_order(entry_at(x, 0), entry_at(x, x->count - 1), x->entry_size);
}

static bool looks_sane(const struct index *x)
{
    struct sanity s = {.x = x};
    if (!is_mapped(x))
        check_sanity(&s);
    else if (!file_map_look(check_sanity, &s))
        return false;
    return s.sane;
}

static bool file_looks_sane(int fd, int64_t size, uint8_t entry_size, const char *path)
{
    static const uint8_t zeros[TIME_ENTRY];
    uint8_t first[TIME_ENTRY], last[TIME_ENTRY];
    return size >= 0 && size % entry_size == 0 &&
           (size == 0 || (file_read_at(fd, first, entry_size, 0, path) == entry_size &&
                          file_read_at(fd, last, entry_size, size - entry_size, path) == entry_size &&
                          are_in_order(first, last, entry_size) && memcmp(last, zeros, entry_size) != 0));
}

bool index_is_sound(const char *path, uint8_t entry_size)
{
    int fd = file_open(path, false);
    bool ok = fd >= 0 && file_looks_sane(fd, file_size(fd), entry_size, path);
    file_close(fd);
    return ok;
}

enum file_result index_load(struct index *x, const char *path, bool for_append)
{
    uint8_t entry_size = x->entry_size;
    ensure(entry_size == OFFSET_ENTRY || entry_size == TIME_ENTRY);
    ensure(!x->loaded && x->mem == NULL);
    file_clear_error();
    int fd = file_open(path, false);
    if (fd < 0)
        return file_last_error() == ENOENT ? FILE_MISSING : FILE_FAILED;
    int64_t size = file_size(fd);
    *x = (struct index){.entry_size = entry_size, .count = (size_t)MAX(size, 0) / entry_size};
    x->saved = x->count;
    x->loaded = true;
    bool ok = size >= 0 && size % entry_size == 0 &&
              (for_append ? read_to_heap(x, fd, (size_t)size, path) : map(x, fd, (size_t)size, path)) && looks_sane(x);
    file_close(fd);
    if (ok)
        return FILE_FOUND;
    index_deinit(x);
    return file_last_error() == 0 ? FILE_MISSING : FILE_FAILED;
}

void index_init(struct index *x, uint8_t entry_size)
{
    ensure(entry_size == OFFSET_ENTRY || entry_size == TIME_ENTRY);
    *x = (struct index){.entry_size = entry_size, .loaded = true};
}

void index_deinit(struct index *x)
{
    ensure(x->cap == 0 || x->count <= x->cap);
    if (x->cap > 0)
        free(x->mem);
    else if (x->mem != NULL)
        file_unmap(x->mem, x->count * x->entry_size);
    *x = (struct index){.entry_size = x->entry_size};
}

bool index_save(struct index *x, const char *path)
{
    ensure(x->loaded && (x->cap > 0 || x->count == 0) && x->saved <= x->count);
    int fd = file_open(path, true);
    if (fd < 0)
        return false;
    size_t from = x->saved * x->entry_size, to = x->count * x->entry_size;
    bool ok = file_size(fd) == (int64_t)from || file_truncate(fd, (int64_t)from, path);
    ok = ok && file_write_at(fd, x->mem ? x->mem + from : NULL, to - from, (int64_t)from, path);
    file_close(fd);
    if (ok)
        x->saved = x->count;
    return ok;
}

bool index_replace(struct index *x, const char *path)
{
    ensure(x->loaded && x->saved <= x->count);
    if (!file_replace(path, x->mem, x->count * x->entry_size))
        return false;
    x->saved = x->count;
    return true;
}

void index_clear(struct index *x)
{
    uint8_t entry_size = x->entry_size;
    index_deinit(x);
    index_init(x, entry_size);
}

static uint8_t *index_add(struct index *x)
{
    ensure(x->loaded && (x->cap > 0 || x->count == 0));
    x->mem = xgrow(x->mem, x->count + 1, &x->cap, x->entry_size);
    return x->mem + x->count++ * x->entry_size;
}

void offset_index_add(struct index *x, int32_t delta, int32_t position)
{
    ensure(x->entry_size == OFFSET_ENTRY && delta >= 0);
    ensure(x->count == 0 || delta > delta_at(x, x->count - 1));
    uint8_t *p = index_add(x);
    be32_put(p, (uint32_t)delta);
    be32_put(p + 4, (uint32_t)position);
}

void time_index_add(struct index *x, int64_t timestamp, int32_t delta)
{
    ensure(x->entry_size == TIME_ENTRY);
    if (timestamp <= (x->count > 0 ? timestamp_at(x, x->count - 1) : NO_TIMESTAMP))
        return;
    uint8_t *p = index_add(x);
    be64_put(p, (uint64_t)timestamp);
    be32_put(p + 8, (uint32_t)delta);
}

/* What entries are in order by. */
enum index_key { BY_DELTA, BY_POSITION, BY_TIME };

static int64_t key_at(const struct index *x, enum index_key by, size_t i)
{
    switch (by) {
    case BY_DELTA:
        return delta_at(x, i);
    case BY_POSITION:
        return be32_get(entry_at(x, i) + 4);
    case BY_TIME:
        return timestamp_at(x, i);
    }
    unreachable("an index that is ordered by something else");
}

/* How many entries have a key of at most `key`. */
static size_t count_up_to(const struct index *x, enum index_key by, int64_t key)
{
    size_t lo = 0, hi = x->count;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (key_at(x, by, mid) <= key)
            lo = mid + 1;
        else
            hi = mid;
    }
    ensure(lo <= x->count);
    return lo;
}

/* An entry that is looked for, and what is found. */
struct search {
    const struct index *x;
    bool last, first_above; /* the last one; the first with a key above `key`; or the last with one of at most that */
    enum index_key by;
    int64_t key;
    bool found;
    struct offset_entry offset;
    struct time_entry time;
};

static const struct time_entry no_time = {NO_TIMESTAMP, 0};

static void run_search(void *ctx)
{
    struct search *s = ctx;
    const struct index *x = s->x;
    size_t n = s->last ? x->count : count_up_to(x, s->by, s->key) + s->first_above;
    s->found = n > 0 && n <= x->count;
    if (!s->found)
        return;
    if (x->entry_size == TIME_ENTRY)
        s->time = (struct time_entry){timestamp_at(x, n - 1), delta_at(x, n - 1)};
    else
        s->offset = (struct offset_entry){delta_at(x, n - 1), (int32_t)be32_get(entry_at(x, n - 1) + 4)};
}

/* Where the disk fails, nothing is found: who then reads the log from its beginning, comes to know. */
static struct search index_search(struct search s)
{
    s.time = no_time;
    if (!is_mapped(s.x))
        run_search(&s);
    else if (!file_map_look(run_search, &s))
        return (struct search){.time = no_time};
    return s;
}

struct offset_entry offset_index_find(const struct index *x, int32_t delta)
{
    ensure(x->entry_size == OFFSET_ENTRY);
    return index_search((struct search){.x = x, .key = delta}).offset;
}

bool offset_index_from(const struct index *x, int64_t position, struct offset_entry *out)
{
    ensure(x->entry_size == OFFSET_ENTRY);
    struct search s =
        index_search((struct search){.x = x, .first_above = true, .by = BY_POSITION, .key = position - 1});
    *out = s.offset;
    return s.found;
}

struct time_entry time_index_find(const struct index *x, int64_t timestamp)
{
    ensure(x->entry_size == TIME_ENTRY);
    return index_search((struct search){.x = x, .by = BY_TIME, .key = timestamp}).time;
}

struct offset_entry offset_index_last(const struct index *x)
{
    ensure(x->entry_size == OFFSET_ENTRY);
    return index_search((struct search){.x = x, .last = true}).offset;
}

struct time_entry time_index_last(const struct index *x)
{
    ensure(x->entry_size == TIME_ENTRY);
    return index_search((struct search){.x = x, .last = true}).time;
}

static void truncate_to(struct index *x, int32_t delta)
{
    ensure(x->loaded && (x->cap > 0 || x->count == 0));
    while (x->count > 0 && delta_at(x, x->count - 1) >= delta)
        x->count--;
    x->saved = MIN(x->saved, x->count);
}

void offset_index_truncate(struct index *x, int32_t delta)
{
    ensure(x->entry_size == OFFSET_ENTRY);
    truncate_to(x, delta);
}

void time_index_truncate(struct index *x, int32_t delta)
{
    ensure(x->entry_size == TIME_ENTRY);
    truncate_to(x, delta);
}
