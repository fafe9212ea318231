/*
 * Snapshots of producers beside the segments, so that a start need not read the whole log to know them.
 *
 * Kafka 3.9 writes one within the lock when a segment is full, and has it synced later. With a million producers that
 * keeps everybody from appending for as long as 46 MB take. So here a roll only begins a snapshot
 * (producers_snapshot.c), which a worker fills, writes and syncs afterwards. If the broker is killed before, the one
 * before it is used, and more of the log is read again. That one must be there: what takes snapshots away, as retention
 * and compaction do, has those that were begun written first (plog_settle_snapshots()). A cut drops those that lie
 * above it, and has the rest written, as the state comes back from the newest of them.
 *
 * Should segments become full faster than snapshots of so many producers can be written, some get none. Retention does
 * not make one of these the first, as what was known before it would be nowhere.
 *
 * Files of snapshots are written and removed with the log's `files` held.
 */
#include <utlist.h>

#include "log/plog_internal.h"

/* What was begun and is not written yet: beside more than this, which is of a thousand producers, no other is begun. */
enum { MOST_BEGUN_BYTES = 1 << 16 };

void plog_begin_snapshot(struct plog *log, int64_t offset)
{
    ensure(lock_is_held(&log->lock));
    if (log->snapshot_end == offset || log->snapshot_bytes > MOST_BEGUN_BYTES)
        return;
    ensure(log->producers.map_end_offset <= offset); /* between the two there may be a gap, but no batch */
    log->snapshot_end = offset;
    struct producers_copy *copy = producers_copy_begin(&log->producers, offset);
    LL_APPEND(log->snapshots, copy);
    log->snapshot_bytes += copy->room;
}

static void snapshot_drop(struct plog *log, struct producers_copy *copy)
{
    LL_DELETE(log->snapshots, copy);
    ensure(log->snapshot_bytes >= copy->room);
    log->snapshot_bytes -= copy->room;
    ensure(log->snapshots != NULL || log->snapshot_bytes == 0);
    producers_copy_free(copy);
}

void plog_drop_snapshots(struct plog *log, int64_t above)
{
    struct producers_copy *copy, *next;
    producers_copy_finish(&log->producers);
    LL_FOREACH_SAFE (log->snapshots, copy, next)
        if (copy->offset > above)
            snapshot_drop(log, copy);
}

static bool snapshot_write(struct plog *log, struct producers_copy *copy, bool sync)
{
    char path[PATH_ROOM];
    ensure(lock_is_held(&log->files));
    return producers_copy_write(copy, segment_path(path, log->path, copy->offset, ".snapshot"), sync);
}

/* The disk may keep these or not, as long as they are seen to be whole. */
bool plog_write_snapshots(struct plog *log)
{
    ensure(lock_is_held(&log->files) && lock_is_held(&log->lock));
    producers_copy_finish(&log->producers);
    while (log->snapshots != NULL) {
        if (!snapshot_write(log, log->snapshots, false))
            return false;
        snapshot_drop(log, log->snapshots);
    }
    return true;
}

static void snapshot_fill(struct plog *log)
{
    while (producers_copy_step(&log->producers))
        lock_give_way(&log->lock);
}

/* Only who holds `files` takes any off the list, so the first of them stays while it is written. */
bool plog_settle_snapshots(struct plog *log)
{
    bool ok = true;
    ensure(lock_is_held(&log->files) && !lock_is_held(&log->lock));
    lock_take(&log->lock);
    while (ok && log->snapshots != NULL && plog_is_writable(log)) {
        snapshot_fill(log);
        struct producers_copy *copy = log->snapshots;
        lock_release(&log->lock);
        ok = snapshot_write(log, copy, true);
        lock_take(&log->lock);
        if (ok)
            snapshot_drop(log, copy);
    }
    lock_release(&log->lock);
    return ok;
}

void plog_save_snapshots(struct plog *log)
{
    file_clear_error();
    lock_take(&log->files);
    bool ok = plog_settle_snapshots(log);
    lock_release(&log->files);
    if (!ok && !file_ran_out()) /* for want of a descriptor it waits for the next one */
        plog_failed(log, "a snapshot of producers cannot be written");
}
