/*
 * Finding and reading by offset: the segment by its base, a place in it by the offset index (the last entry not
 * above), then batch headers from there on. What is found is a region of the file with a reference to it; the lock is
 * held to find the segment, not to look at batches. Unless the caller may block, only what is in the page cache is
 * looked at.
 */
#include <limits.h>

#include "base/clock.h"
#include "log/file.h"
#include "log/plog_internal.h"

/* What a reader brings into the page cache at a time, when the place it looks at is only on disk. */
enum { WARM_UP = 64 * 1024 };

struct place {
    struct segment *segment;
    struct position at;
};

struct cold_spot { /* what has to come from disk before the look-up can go on */
    struct file_ref *file;
    int64_t pos;
};

static enum find_result note_cold(struct segment *s, int64_t pos, struct cold_spot *cold)
{
    ensure(pos >= 0 && pos <= s->size);
    if (cold->file == NULL && s->file != NULL) {
        file_ref_get(s->file);
        *cold = (struct cold_spot){s->file, pos};
    }
    return FIND_COLD;
}

/* The batch that holds `offset`, or the next one there is. */
static enum find_result find_place(struct plog *log, int64_t offset, struct place *out, struct cold_spot *cold)
{
    ensure(lock_is_held(&log->lock) && offset >= 0);
    for (size_t i = plog_segment_index(log, offset); i < log->segment_count; i++) {
        struct segment *s = log->segments[i];
        enum find_result result = segment_find(s, log->path, offset, true, &out->at);
        out->segment = s;
        if (result == FIND_COLD)
            return note_cold(s, out->at.pos, cold);
        if (result != FIND_END)
            return result;
    }
    return FIND_END;
}

/* Where readers of `s` must stop so that they see nothing at or above `upper`. */
static enum find_result upper_position(struct plog *log, struct segment *s, int64_t upper, int64_t *out,
                                       struct cold_spot *cold)
{
    struct position at;
    ensure(lock_is_held(&log->lock));
    *out = s->size;
    if (upper >= (int64_t)atomic_load(&log->end))
        return FIND_OK;
    enum find_result result = segment_find(s, log->path, upper, true, &at);
    if (result == FIND_OK)
        *out = at.pos;
    if (result == FIND_COLD)
        return note_cold(s, at.pos, cold);
    return result == FIND_END ? FIND_OK : result;
}

/*
 * An offset that nothing before `pos` has reached, by what is known without reading: at most `upper`, and above
 * `offset`, which lies before it.
 */
static int64_t bound_at(struct plog *log, const struct segment *s, int64_t pos, int64_t offset, int64_t upper)
{
    size_t i = plog_segment_index(log, s->base_offset);
    struct offset_entry next;
    int64_t behind = offset_index_from(&s->offsets, pos, &next) ? s->base_offset + next.delta : -1;
    ensure(lock_is_held(&log->lock) && log->segments[i] == s);
    if (i + 1 < log->segment_count)
        upper = MIN(upper, log->segments[i + 1]->base_offset);
    return behind > offset ? MIN(upper, behind) : upper;
}

static enum find_result read_locked(struct plog *log, int64_t offset, int32_t max_bytes, bool at_least_one,
                                    int64_t upper, struct plog_slice *out, struct cold_spot *cold)
{
    ensure(lock_is_held(&log->lock));
    struct place place;
    int64_t stop;
    enum find_result result = find_place(log, offset, &place, cold);
    if (result == FIND_OK)
        result = upper_position(log, place.segment, upper, &stop, cold);
    if (result != FIND_OK)
        return result == FIND_END ? FIND_OK : result;
    ensure(stop >= 0 && stop <= place.segment->size);
    int64_t room = stop - place.at.pos, want = max_bytes;
    if (room <= 0)
        return FIND_OK;
    out->first_incomplete = want < place.at.batch_size;
    if (at_least_one && out->first_incomplete) {
        want = place.at.batch_size;
        out->first_incomplete = false;
    }
    int64_t len = MIN(room, want);
    if (len <= 0)
        return FIND_OK;
    ensure(place.at.pos >= 0 && place.at.pos + len <= place.segment->size);
    file_ref_get(place.segment->file);
    out->region = (struct file_region){place.segment->file, place.at.pos, (int32_t)len};
    out->bound = bound_at(log, place.segment, place.at.pos + len, place.at.last_offset, upper);
    return FIND_OK;
}

/* False: what is needed cannot be read, which whoever does not wait is never told. Of what lies behind it, nobody asks.
 */
static bool read_warm_up(struct cold_spot *cold)
{
    char scratch[4096];
    for (int64_t done = 0; done < WARM_UP; done += (int64_t)sizeof(scratch)) {
        ssize_t n = file_read_at(cold->file->fd, scratch, sizeof(scratch), cold->pos + done, "a segment");
        if (n <= 0)
            return n == 0 || done > 0;
    }
    return true;
}

static enum kafka_error try_read(struct plog *log, int64_t offset, int32_t max_bytes, bool at_least_one, int64_t upper,
                                 struct plog_slice *out, struct cold_spot *cold)
{
    enum find_result result = FIND_OK;
    enum kafka_error error = ERR_NONE;
    *out = (struct plog_slice){0};
    file_clear_error();
    lock_take(&log->lock);
    if (!plog_is_readable(log))
        error = ERR_KAFKA_STORAGE_ERROR;
    else if (offset < (int64_t)atomic_load(&log->start) || offset > (int64_t)atomic_load(&log->end))
        error = ERR_OFFSET_OUT_OF_RANGE;
    else if (offset < MIN(upper, (int64_t)atomic_load(&log->end)))
        result = read_locked(log, offset, max_bytes, at_least_one, upper, out, cold);
    lock_release(&log->lock);
    if (result == FIND_ERROR) {
        plog_failed_to_read(log, "read failed");
        return ERR_KAFKA_STORAGE_ERROR;
    }
    ensure(result == FIND_OK || out->region.file == NULL); /* or nobody would let go of it */
    out->cold = result == FIND_COLD;
    return result == FIND_CORRUPT ? ERR_CORRUPT_MESSAGE : error;
}

enum kafka_error plog_read(struct plog *log, int64_t offset, int32_t max_bytes, bool at_least_one, int64_t upper,
                           bool may_block, struct plog_slice *out)
{
    for (;;) {
        struct cold_spot cold = {0};
        enum kafka_error error = try_read(log, offset, max_bytes, at_least_one, upper, out, &cold);
        bool readable = !out->cold || !may_block || cold.file == NULL || read_warm_up(&cold);
        file_ref_put(cold.file);
        if (!readable) {
            *out = (struct plog_slice){0};
            plog_failed_to_read(log, "read failed");
            return ERR_KAFKA_STORAGE_ERROR;
        }
        if (!out->cold || !may_block)
            return error;
    }
}

enum kafka_error plog_read_bytes(struct plog *log, int64_t offset, int32_t max_bytes, int64_t upper, struct strbuf *out)
{
    struct plog_slice slice;
    enum kafka_error error = plog_read(log, offset, max_bytes, true, upper, true, &slice);
    if (error != ERR_NONE || slice.region.len == 0)
        return error;
    size_t before = out->len;
    char *at = strbuf_extend(out, (size_t)slice.region.len);
    ssize_t n = file_read_at(slice.region.file->fd, at, (size_t)slice.region.len, slice.region.pos, log->home->path);
    file_ref_put(slice.region.file);
    out->len = before + (size_t)MAX(n, (ssize_t)0);
    if (n < 0)
        plog_failed(log, "read failed");
    return n == slice.region.len ? ERR_NONE : ERR_KAFKA_STORAGE_ERROR;
}

/* ---- Aborted transactions ---- */

struct aborted_search {
    int64_t from, to;
    struct txn_entry *found;
    size_t count, cap;
    bool complete; /* what is aborted later began above `to` */
};

static void search_aborts(struct aborted_search *s, const struct strbuf *file)
{
    for (size_t at = 0; at + TXN_ENTRY <= file->len && !s->complete; at += TXN_ENTRY) {
        struct txn_entry e = txn_entry_get((const uint8_t *)file->p + at);
        if (e.last_offset >= s->from && e.first_offset < s->to) {
            s->found = xgrow(s->found, s->count + 1, &s->cap, sizeof(*s->found));
            s->found[s->count++] = e;
        }
        s->complete = e.last_stable_offset >= s->to;
    }
}

static bool search_segment_aborts(struct plog *log, struct segment *s, struct aborted_search *search)
{
    struct strbuf file = {0};
    char path[PATH_ROOM];
    ensure(lock_is_held(&log->lock));
    enum file_result found = FILE_FOUND;
    if (s->aborts.len == 0 && !s->no_aborts) {
        found = file_load(segment_path(path, log->path, s->base_offset, ".txnindex"), &file);
        s->no_aborts = found == FILE_MISSING;
    }
    search_aborts(search, s->aborts.len > 0 ? &s->aborts : &file);
    strbuf_deinit(&file);
    return found != FILE_FAILED;
}

bool plog_txn_entries(struct plog *log, int64_t segment, int64_t from, int64_t to, struct txn_entry **out,
                      size_t *count)
{
    ensure(lock_is_held(&log->lock));
    struct aborted_search search = {.from = from, .to = to};
    bool ok = true;
    for (size_t i = plog_segment_index(log, segment); i < log->segment_count && !search.complete && ok; i++)
        ok = search_segment_aborts(log, log->segments[i], &search);
    if (search.count > 0)
        qsort(search.found, search.count, sizeof(*search.found), txn_entry_order);
    *out = search.found;
    *count = search.count;
    return ok;
}

enum kafka_error plog_aborted(struct plog *log, int64_t from, int64_t to, struct arena *a, struct aborted_txn **out,
                              int32_t *count)
{
    struct txn_entry *found = NULL;
    size_t n = 0;
    file_clear_error();
    lock_take(&log->lock);
    /* A segment that retention has taken meanwhile is still read by who has its file; its index is gone. */
    bool begins_behind = from < plog_start_offset(log);
    bool ok = plog_is_readable(log) && (begins_behind || plog_txn_entries(log, from, from, to, &found, &n));
    lock_release(&log->lock);
    if (!ok)
        plog_failed_to_read(log, "a transaction index cannot be read");
    *out = ARENA_ARRAY(a, struct aborted_txn, n);
    *count = (int32_t)n;
    for (size_t i = 0; i < n; i++)
        (*out)[i] = (struct aborted_txn){found[i].producer_id, found[i].first_offset};
    free(found);
    return !ok ? ERR_KAFKA_STORAGE_ERROR : begins_behind ? ERR_OFFSET_OUT_OF_RANGE : ERR_NONE;
}

/* ---- By segment (ListOffsets version 0) ---- */

static int64_t last_written_ms(const struct plog *log, struct segment *s)
{
    return segment_written_ms(s, log->path);
}

int32_t plog_segment_offsets(struct plog *log, int64_t timestamp, int32_t most, struct arena *a, int64_t **out)
{
    enum { LATEST = -1, EARLIEST = -2 };
    lock_take(&log->lock);
    size_t count = log->segment_count;
    int64_t *starts = ARENA_ARRAY(a, int64_t, count + 1), start = atomic_load(&log->start);
    for (size_t i = 0; i < count; i++)
        starts[i] = MAX(log->segments[i]->base_offset, start);
    size_t known = count;
    if (count > 0 && plog_active(log)->size > 0)
        starts[known++] = atomic_load(&log->end);
    size_t above = timestamp == EARLIEST ? MIN(known, (size_t)1) : known; /* those below this one count */
    while (timestamp >= 0 && above > 0) {
        int64_t written = above > count ? clock_wall_ms() : last_written_ms(log, log->segments[above - 1]);
        if (written <= timestamp)
            break;
        above--;
    }
    lock_release(&log->lock);
    int32_t n = 0;
    *out = ARENA_ARRAY(a, int64_t, above + 1);
    while (above > 0 && n < most)
        (*out)[n++] = starts[--above];
    return n;
}
