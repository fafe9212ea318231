/*
 * Finding records by their time. The log is locked to look at one segment's indexes after the other, and not while
 * batches are read and unpacked: who appends does not wait for that.
 */
#include "log/plog_internal.h"
#include "log/scan_internal.h"

enum { CHUNK = 64 * 1024 };

struct time_search {
    struct plog *log;
    int64_t timestamp;
    bool exact;      /* the record of this very timestamp, instead of the first at or after it */
    int64_t next;    /* segments that begin below were looked at */
    int64_t highest; /* of the timestamps that were looked at, and where the segment with it begins */
    int64_t highest_base;
};

/* A part of a segment in which it may be. The file stays, whatever becomes of the segment. */
struct piece {
    struct file_ref *file;
    int64_t pos, size;
};

static bool batch_matches(const struct time_search *t, const struct batch *b)
{
    return t->exact ? b->max_timestamp == t->timestamp : b->max_timestamp >= t->timestamp;
}

static bool record_matches(const struct time_search *t, const struct record *r)
{
    return t->exact ? r->timestamp == t->timestamp : r->timestamp >= t->timestamp;
}

/* ---- With the log locked: one segment ---- */

/* NULL when all were looked at. */
static struct segment *next_segment(struct time_search *t)
{
    struct plog *log = t->log;
    size_t i = plog_segment_index(log, t->next);
    ensure(lock_is_held(&log->lock));
    if (i < log->segment_count && log->segments[i]->base_offset < t->next)
        i++;
    if (i >= log->segment_count)
        return NULL;
    ensure(log->segments[i]->base_offset >= t->next);
    t->next = log->segments[i]->base_offset + 1;
    return log->segments[i];
}

static bool find_largest(struct plog *log, struct segment *s)
{
    return s->max_timestamp != NO_TIMESTAMP || segment_load_indexes(s, log->path, false);
}

static bool find_piece(struct time_search *t, struct segment *s, struct piece *out)
{
    struct plog *log = t->log;
    if (!segment_load_indexes(s, log->path, false) || !segment_open_file(s, log->path, false))
        return false;
    int32_t delta = time_index_find(&s->times, MAX(t->timestamp, (int64_t)0) - 1).delta;
    *out = (struct piece){s->file, segment_look_up(s, delta), s->size};
    file_ref_get(out->file);
    return true;
}

/* ERR_NONE without a piece: it is not there. */
static enum kafka_error look_at_next(struct time_search *t, bool *more, struct piece *out)
{
    *out = (struct piece){0};
    lock_take(&t->log->lock);
    bool ok = plog_is_readable(t->log);
    struct segment *s = ok ? next_segment(t) : NULL;
    ok = ok && (s == NULL || find_largest(t->log, s));
    *more = ok && s != NULL;
    if (*more && s->max_timestamp > t->highest) {
        t->highest = s->max_timestamp;
        t->highest_base = s->base_offset;
    }
    if (*more && s->max_timestamp >= t->timestamp)
        ok = find_piece(t, s, out);
    lock_release(&t->log->lock);
    return ok ? ERR_NONE : ERR_KAFKA_STORAGE_ERROR;
}

/* ---- Without: its batches ---- */

/* False: it cannot be read to its end, and nothing was found before. */
static bool search_batch(const struct time_search *t, const struct batch *b, bool *found, struct timestamp_offset *out)
{
    struct arena a;
    struct record r;
    int rc = 0;
    int64_t start = plog_start_offset(t->log);
    arena_init(&a, (size_t)1 << 30);
    struct record_iter *it = record_iter_new(b, &a);
    while (!*found && (rc = record_iter_next(it, &r)) > 0)
        *found = r.offset >= start && record_matches(t, &r);
    record_iter_free(it);
    if (*found)
        *out = (struct timestamp_offset){r.timestamp, r.offset, b->leader_epoch};
    arena_deinit(&a);
    return rc >= 0;
}

static enum kafka_error search_piece(const struct time_search *t, const struct piece *piece,
                                     struct timestamp_offset *out)
{
    struct scan scan;
    struct batch b;
    bool found = false, ok = true;
    ensure(!lock_is_held(&t->log->lock));
    scan_init(&scan, piece->file->fd, t->log->home->path, piece->pos, piece->size, CHUNK);
    while (!found && ok && scan_next_head(&scan, &b) == BATCH_OK) {
        if (b.last_offset < plog_start_offset(t->log) || !batch_matches(t, &b))
            continue;
        ok = scan_whole(&scan, &b) && search_batch(t, &b, &found, out);
    }
    enum kafka_error error = ERR_NONE;
    if (scan.failed)
        error = ERR_KAFKA_STORAGE_ERROR;
    else if (!ok || (!found && scan.pos < scan.size))
        error = ERR_CORRUPT_MESSAGE;
    scan_deinit(&scan);
    return error;
}

static enum kafka_error time_search_in(struct time_search *t, struct timestamp_offset *out)
{
    enum kafka_error error = ERR_NONE;
    for (bool more = true; error == ERR_NONE && more && out->offset < 0;) {
        struct piece piece;
        error = look_at_next(t, &more, &piece);
        if (piece.file != NULL)
            error = search_piece(t, &piece, out);
        file_ref_put(piece.file);
    }
    return error;
}

static int64_t cuts_of(struct plog *log)
{
    lock_take(&log->lock);
    int64_t cuts = log->cuts;
    lock_release(&log->lock);
    return cuts;
}

/* What is cut while it is read looks damaged: then it is looked for again. */
static enum kafka_error search_from(struct plog *log, int64_t base, int64_t timestamp, bool exact,
                                    struct timestamp_offset *out)
{
    enum kafka_error error;
    int64_t cuts;
    file_clear_error();
    do {
        struct time_search t = {.log = log, .timestamp = timestamp, .exact = exact, .next = base};
        *out = (struct timestamp_offset){NO_TIMESTAMP, -1, NO_LEADER_EPOCH};
        cuts = cuts_of(log);
        error = time_search_in(&t, out);
    } while (error == ERR_CORRUPT_MESSAGE && cuts != cuts_of(log));
    if (error == ERR_KAFKA_STORAGE_ERROR)
        plog_failed_to_read(log, "a search by time failed");
    return error;
}

enum kafka_error plog_offset_for_time(struct plog *log, int64_t timestamp, struct timestamp_offset *out)
{
    return search_from(log, 0, timestamp, false, out);
}

enum kafka_error plog_offset_of_max_time(struct plog *log, struct timestamp_offset *out)
{
    struct time_search t = {.log = log, .timestamp = INT64_MAX, .highest = NO_TIMESTAMP};
    *out = (struct timestamp_offset){NO_TIMESTAMP, -1, NO_LEADER_EPOCH};
    file_clear_error();
    enum kafka_error error = time_search_in(&t, out);
    if (error == ERR_KAFKA_STORAGE_ERROR)
        plog_failed_to_read(log, "a search by time failed");
    if (error != ERR_NONE || t.highest == NO_TIMESTAMP)
        return error;
    return search_from(log, t.highest_base, t.highest, true, out);
}
