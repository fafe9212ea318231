/* Letting go of old records: retention and DeleteRecords. */
#include <inttypes.h>

#include "base/logger.h"
#include "log/file.h"
#include "log/plog_internal.h"

struct retired plog_retire(struct plog *log, size_t first, size_t count)
{
    ensure(lock_is_held(&log->files) && lock_is_held(&log->lock));
    ensure(first + count < log->segment_count); /* the active one stays */
    struct retired old = {.count = count, .delay_ms = log->config.file_delete_delay_ms};
    old.segments = xcalloc(count, sizeof(*old.segments));
    struct segment **from = log->segments + first;
    memcpy(old.segments, from, count * sizeof(*from));
    memmove(from, from + count, (log->segment_count - first - count) * sizeof(*from));
    log->segment_count -= count;
    log->touched = true;
    return old;
}

struct retired plog_swap_in(struct plog *log, size_t first, size_t count, struct segment *cleaned)
{
    ensure(count > 0 && log->segments[first]->base_offset == cleaned->base_offset);
    ensure(!cleaned->indexes_filed && cleaned->offsets.loaded && cleaned->times.loaded);
    struct retired old = plog_retire(log, first + 1, count - 1);
    old.segments = xrealloc(old.segments, count * sizeof(*old.segments));
    memmove(old.segments + 1, old.segments, old.count++ * sizeof(*old.segments));
    old.segments[0] = log->segments[first];
    cleaned->no_snapshot = old.segments[0]->no_snapshot;
    log->segments[first] = cleaned;
    ensure(old.count == count);
    plog_check(log);
    return old;
}

/*
 * A snapshot is of what lies before its segment: that of the first stays true if another segment takes its place.
 * Before others go, those that came after them are there.
 */
static bool mark_deleted(struct plog *log, const struct retired *old, bool replaced)
{
    ensure(lock_is_held(&log->files));
    bool ok = old->count == 0 || plog_settle_snapshots(log);
    for (size_t i = 0; i < old->count; i++)
        ok = segment_mark_deleted(old->segments[i], log->path, !replaced || i > 0) && ok;
    return ok;
}

static bool clean_remove_later(struct plog *log, struct retired *old)
{
    const struct plog_host *host = log->home->host;
    bool ok = true;
    ensure(lock_is_held(&log->files));
    for (size_t i = 0; i < old->count; i++) {
        struct segment *s = old->segments[i];
        if (host != NULL)
            host->remove_later(host->ctx, log->path, s->base_offset, old->delay_ms);
        else
            ok = segment_delete_files(s->base_offset, log->path, ".deleted") && ok;
        segment_free(s);
    }
    free(old->segments);
    *old = (struct retired){0};
    return ok;
}

bool plog_let_go(struct plog *log, struct retired *old)
{
    ensure(lock_is_held(&log->files));
    ensure(!lock_is_held(&log->lock)); /* who appends does not wait for renames */
    bool ok = mark_deleted(log, old, false);
    return clean_remove_later(log, old) && ok;
}

/*
 * Each step leaves names from which loading finds its way, back or forth (plog_load.c): as long as anything is called
 * ".cleaned", nothing has happened; from then on the old files are in the way and go. That their order on the disk is
 * the order of the renames is the file system's journal's part.
 */
bool plog_swap_files(struct plog *log, int64_t base, struct retired *old)
{
    ensure(lock_is_held(&log->files));
    ensure(!lock_is_held(&log->lock));
    bool ok = segment_rename(base, log->path, ".cleaned", ".swap") && mark_deleted(log, old, true) &&
              segment_rename(base, log->path, ".swap", "");
    return clean_remove_later(log, old) && ok;
}

static void advance_start(struct plog *log, int64_t offset)
{
    ensure(lock_is_held(&log->lock));
    ensure(offset <= (int64_t)atomic_load(&log->high_watermark)); /* only what is committed is let go of */
    if (offset <= (int64_t)atomic_load(&log->start))
        return;
    atomic_store(&log->start, offset);
    epochs_truncate_from_start(&log->epochs, offset); /* which loading does as well, so nothing is to be saved */
}

enum kafka_error plog_advance_start(struct plog *log, int64_t offset)
{
    enum kafka_error error = ERR_NONE;
    lock_take(&log->lock);
    if (offset > (int64_t)atomic_load(&log->high_watermark))
        error = ERR_OFFSET_OUT_OF_RANGE;
    else if (!plog_is_writable(log))
        error = ERR_KAFKA_STORAGE_ERROR;
    else
        advance_start(log, offset);
    lock_release(&log->lock);
    return error;
}

struct retention {
    int64_t now, excess; /* bytes above retention.bytes, of what stays so far */
};

int64_t plog_largest_timestamp(struct plog *log, struct segment *s)
{
    ensure(lock_is_held(&log->lock));
    if (s->max_timestamp == NO_TIMESTAMP && !segment_load_indexes(s, log->path, false))
        return INT64_MAX;
    if (s->max_timestamp != NO_TIMESTAMP)
        return s->max_timestamp;
    return segment_written_ms(s, log->path);
}

/* Why the segment may go, or NULL. */
static const char *reason_to_delete(struct plog *log, struct segment *s, int64_t end, const struct retention *r)
{
    ensure(lock_is_held(&log->lock));
    if (end <= (int64_t)atomic_load(&log->start))
        return "below the log start offset";
    if (!(log->config.cleanup_policy & CLEANUP_POLICY_DELETE))
        return NULL;
    if (log->config.retention_bytes >= 0 && r->excess >= s->size)
        return "retention.bytes";
    if (log->config.retention_ms >= 0 && r->now - plog_largest_timestamp(log, s) > log->config.retention_ms)
        return "retention.ms";
    return NULL;
}

static int64_t total_size(const struct plog *log)
{
    int64_t size = 0;
    ensure(lock_is_held(&log->lock));
    for (size_t i = 0; i < log->segment_count; i++)
        size += log->segments[i]->size;
    return size;
}

/* How many of the oldest segments may go. The active one is only counted when it holds something. */
static size_t count_deletable(struct plog *log, int64_t now)
{
    ensure(lock_is_held(&log->lock) && !log->compacting);
    struct retention r = {.now = now, .excess = total_size(log) - log->config.retention_bytes};
    size_t count = 0;
    for (; count < log->segment_count; count++) {
        struct segment *s = log->segments[count];
        bool active = count + 1 == log->segment_count;
        int64_t end = active ? (int64_t)atomic_load(&log->end) : log->segments[count + 1]->base_offset;
        if (end > (int64_t)atomic_load(&log->high_watermark) || (active && s->size == 0))
            break;
        const char *why = reason_to_delete(log, s, end, &r);
        if (why == NULL)
            break;
        r.excess -= s->size; /* whatever the reason */
        log_info("Deleting segment %020" PRId64 " (%" PRId64 " bytes) of %s: %s", s->base_offset, s->size, log->path,
                 why);
    }
    return count;
}

/* How many may go, of the oldest; with a segment behind them. */
static bool find_deletable(struct plog *log, int64_t now, size_t *count)
{
    lock_take(&log->lock);
    *count = !plog_is_writable(log) || log->compacting ? 0 : count_deletable(log, now);
    bool ok = *count == 0 || *count < log->segment_count || plog_roll(log, atomic_load(&log->end));
    lock_release(&log->lock);
    return ok;
}

/* Who holds `files` finds them where they were. */
static struct retired take_deletable(struct plog *log, size_t *count)
{
    struct retired old = {0};
    lock_take(&log->lock);
    ensure(lock_is_held(&log->files) && *count < log->segment_count);
    while (*count > 0 && log->segments[*count]->no_snapshot)
        --*count;
    if (!plog_is_writable(log) || log->compacting) /* by now */
        *count = 0;
    if (*count > 0) {
        old = plog_retire(log, 0, *count);
        advance_start(log, log->segments[0]->base_offset);
        plog_check(log);
    }
    lock_release(&log->lock);
    return old;
}

int plog_apply_retention(struct plog *log, int64_t now)
{
    struct retired old = {0};
    size_t count;
    file_clear_error();
    lock_take(&log->files);
    bool ok = find_deletable(log, now, &count), settled = ok && (count == 0 || plog_settle_snapshots(log));
    if (settled && count > 0) {
        old = take_deletable(log, &count);
        settled = plog_let_go(log, &old);
    }
    lock_release(&log->files);
    if (!ok)
        plog_failed_to_grow(log, "retention failed");
    else if (!settled && !file_ran_out()) /* for want of a descriptor all stays as it was */
        plog_failed(log, "retention failed");
    return settled ? (int)count : 0;
}

bool plog_remove_segment(const char *dir, int64_t base)
{
    return segment_delete_files(base, dir, ".deleted");
}
