/* Letting go of old records: retention and DeleteRecords. */
#include <inttypes.h>

#include "base/logger.h"
#include "storage/file_internal.h"
#include "storage/plog_internal.h"

/* Lets go of a segment whose files are marked as deleted. */
static bool discard(struct plog *log, struct segment *s)
{
    bool ok = true;
    if (log->manager != NULL)
        manager_remove_later(log->manager, log->path, s->base_offset, log->config.file_delete_delay_ms);
    else
        ok = segment_delete_files(s->base_offset, log->path, ".deleted");
    segment_free(s);
    return ok;
}

bool plog_drop_oldest(struct plog *log, size_t count)
{
    ensure(lock_is_held(&log->lock));
    ensure(count < log->segment_count);
    bool ok = true;
    for (size_t i = 0; i < count; i++) {
        struct segment *s = log->segments[i];
        ok = segment_mark_deleted(s, log->path, true) && ok;
        ok = discard(log, s) && ok;
    }
    memmove(log->segments, log->segments + count, (log->segment_count - count) * sizeof(*log->segments));
    log->segment_count -= count;
    return ok;
}

/*
 * Each step leaves names from which loading finds its way, back or forth (plog_load.c): as long as anything is called
 * ".cleaned", nothing has happened; from then on the old files are in the way and go. That their order on the disk is
 * the order of the renames is the file system's journal's part.
 */
bool plog_swap_in(struct plog *log, size_t first, size_t count, struct segment *cleaned)
{
    ensure(lock_is_held(&log->lock));
    struct segment **old = log->segments + first;
    ensure(count > 0 && first + count < log->segment_count && old[0]->base_offset == cleaned->base_offset);
    log->touched = true;
    if (!segment_rename(cleaned->base_offset, log->path, ".cleaned", ".swap")) {
        segment_free(cleaned);
        return false;
    }
    bool ok = true;
    for (size_t i = 0; i < count; i++) {
        /* A snapshot is of what lies before its segment: that of the first stays true. */
        ok = segment_mark_deleted(old[i], log->path, i > 0) && ok;
        ok = discard(log, old[i]) && ok;
    }
    ok = ok && segment_rename(cleaned->base_offset, log->path, ".swap", "");
    old[0] = cleaned;
    memmove(old + 1, old + count, (log->segment_count - first - count) * sizeof(struct segment *));
    log->segment_count -= count - 1;
    return ok;
}

static bool advance_start(struct plog *log, int64_t offset)
{
    if (offset <= (int64_t)atomic_load(&log->start))
        return true;
    atomic_store(&log->start, offset);
    if (atomic_load(&log->high_watermark) < offset)
        atomic_store(&log->high_watermark, offset);
    return !epochs_truncate_from_start(&log->epochs, offset) || plog_write_epochs(log);
}

enum kafka_error plog_advance_start(struct plog *log, int64_t offset)
{
    enum kafka_error error = ERR_NONE;
    lock_take(&log->lock);
    if (offset > (int64_t)atomic_load(&log->high_watermark))
        error = ERR_OFFSET_OUT_OF_RANGE;
    else if (!plog_is_writable(log) || !advance_start(log, offset))
        error = ERR_KAFKA_STORAGE_ERROR;
    lock_release(&log->lock);
    if (error == ERR_KAFKA_STORAGE_ERROR)
        plog_failed(log, "its start cannot be moved");
    return error;
}

struct retention {
    int64_t now, excess; /* bytes above retention.bytes */
    bool by_age;
};

int64_t plog_largest_timestamp(struct plog *log, struct segment *s)
{
    ensure(lock_is_held(&log->lock));
    if (segment_load_indexes(s, log->path, false) && s->max_timestamp != NO_TIMESTAMP)
        return s->max_timestamp;
    return segment_open_file(s, log->path, false) ? file_mtime_ms(s->file->fd) : INT64_MAX;
}

/* Why the segment may go, or NULL. */
static const char *reason_to_delete(struct plog *log, struct segment *s, int64_t end, struct retention *r)
{
    if (end <= (int64_t)atomic_load(&log->start))
        return "below the log start offset";
    if (!(log->config.cleanup_policy & CLEANUP_POLICY_DELETE))
        return NULL;
    if (log->config.retention_bytes >= 0 && r->excess >= s->size) {
        r->excess -= s->size;
        return "retention.bytes";
    }
    if (log->config.retention_ms >= 0 && r->now - plog_largest_timestamp(log, s) > log->config.retention_ms)
        return "retention.ms";
    return NULL;
}

static int64_t total_size(const struct plog *log)
{
    int64_t size = 0;
    for (size_t i = 0; i < log->segment_count; i++)
        size += log->segments[i]->size;
    return size;
}

/* How many of the oldest segments may go. The active one is only counted when it holds something. */
static size_t count_deletable(struct plog *log, int64_t now)
{
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
        log_info("Deleting segment %020" PRId64 " (%" PRId64 " bytes) of %s: %s", s->base_offset, s->size, log->path,
                 why);
    }
    return count;
}

int plog_apply_retention(struct plog *log, int64_t now)
{
    lock_take(&log->lock);
    size_t count = !plog_is_writable(log) || log->compacting ? 0 : count_deletable(log, now);
    bool ok = true;
    if (count > 0 && count == log->segment_count)
        ok = plog_roll(log, atomic_load(&log->end));
    if (ok && count > 0)
        ok = plog_drop_oldest(log, count) && advance_start(log, log->segments[0]->base_offset);
    lock_release(&log->lock);
    if (!ok)
        plog_failed(log, "retention failed");
    return (int)count;
}
