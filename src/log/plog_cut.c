/*
 * Cutting a log back. An example: segments begin at 0, 100 and 200, the log ends at 250 and has its recovery point at
 * 200; the leader says that all above 150 is not its own. The segment of 200 goes, the one of 100 is cut at 150 and is
 * the active one from now on; recovery point and high watermark come down to 150, epochs that begin at or above 150
 * are dropped, and producers are what the newest snapshot below says, brought up to 150 by reading.
 *
 * It may end below what was asked for: behind the last batch that stays, or at a header that is damaged where the place
 * is looked for. Whoever cuts fetches from the log's end on, and so asks where that is.
 *
 * What is taken away must be gone from the disk before anything is written in its place: a power failure could mix the
 * old with the new, each sound by itself. So files are removed or cut and synced here, and a recovery point or a start
 * in the directory's checkpoints that lies above the new end is lowered before the next append (`unsettled`).
 */
#include <inttypes.h>

#include "base/logger.h"
#include "log/file.h"
#include "log/plog_internal.h"

static bool drop_last_segment(struct plog *log)
{
    struct segment *s = plog_active(log);
    bool ok = segment_delete_files(s->base_offset, log->path, "");
    segment_free(s);
    log->segment_count--;
    return ok;
}

/*
 * Removes the snapshots above, for good: one that came back would be taken for what was written since. Finds the newest
 * of the others, which may have to be written yet; -1 if there is none.
 */
static bool drop_snapshots(struct plog *log, int64_t above, int64_t *newest)
{
    struct names names;
    char path[PATH_ROOM];
    bool any = false;
    ensure(lock_is_held(&log->lock));
    log->snapshot_end = *newest = -1;
    plog_drop_snapshots(log, above);
    if (!plog_write_snapshots(log) || !dir_list_files(log->path, &names))
        return false;
    for (size_t i = 0; i < names.n; i++) {
        int64_t at = segment_parse_name(names.v[i], ".snapshot");
        if (at > above)
            any |= file_remove(segment_path(path, log->path, at, ".snapshot"));
        else
            *newest = MAX(*newest, at);
    }
    names_free(&names);
    return !any || dir_sync(log->path);
}

/* Snapshots above the new end describe what is gone; the state comes back from the last one below. */
static bool rewind_producers(struct plog *log, int64_t offset)
{
    char path[PATH_ROOM];
    int64_t newest;
    enum file_result found = FILE_MISSING;
    ensure(lock_is_held(&log->lock) && offset >= 0);
    if (!drop_snapshots(log, offset, &newest))
        return false;
    if (newest >= 0)
        found = producers_load(&log->producers, segment_path(path, log->path, newest, ".snapshot"), newest);
    if (found == FILE_MISSING)
        producers_clear(&log->producers, log->segments[0]->base_offset);
    ensure(log->producers.map_end_offset <= MAX(offset, log->segments[0]->base_offset));
    return found != FILE_FAILED && plog_replay_producers(log, offset);
}

/* Also where no record goes: an epoch may begin at the end, and never have been its leader's. */
static bool truncate_epochs(struct plog *log, int64_t offset)
{
    ensure(lock_is_held(&log->lock));
    return !epochs_truncate_from_end(&log->epochs, offset) || plog_write_epochs(log);
}

/* What comes to stand where something was compacted has not been. */
static void lower_clean_end(struct plog *log)
{
    ensure(lock_is_held(&log->lock));
    int64_t base = plog_active(log)->base_offset;
    log->clean_end_unsaved |= log->clean_end > base;
    log->clean_end = MIN(log->clean_end, base);
}

/* The last ones go first, and on the disk before anything takes their place. */
static bool drop_segments(struct plog *log, size_t first)
{
    ensure(lock_is_held(&log->lock));
    bool any = log->segment_count > first;
    while (log->segment_count > first)
        if (!drop_last_segment(log))
            return false;
    return !any || dir_sync(log->path);
}

static void note_cut(struct plog *log, int64_t offset)
{
    ensure(lock_is_held(&log->lock));
    ensure(offset >= 0);
    log->cuts++;
    log->cut_to = MIN(log->cut_to, offset);
}

int64_t plog_take_cut(struct plog *log)
{
    lock_take(&log->lock);
    int64_t cut = log->cut_to;
    log->cut_to = INT64_MAX;
    lock_release(&log->lock);
    return cut;
}

void plog_return_cut(struct plog *log, int64_t cut)
{
    lock_take(&log->lock);
    log->cut_to = MIN(log->cut_to, cut);
    lock_release(&log->lock);
}

/* All that is read, while nothing is done yet. */
static bool find_cut(struct plog *log, struct segment *s, int64_t offset, struct cut *out)
{
    file_clear_error();
    bool ok = segment_open_file(s, log->path, false) && segment_load_indexes(s, log->path, true) &&
              segment_find_cut(s, log->path, offset, out) == FIND_OK;
    log->starved = !ok && file_ran_out();
    if (ok && out->damaged)
        log_error("%s is cut at offset %" PRId64 ", before the damage that lies between there and %" PRId64, log->path,
                  out->end, offset);
    return ok;
}

static bool truncate_locked(struct plog *log, int64_t offset)
{
    ensure(lock_is_held(&log->lock));
    log->touched = true;
    if (offset >= (int64_t)atomic_load(&log->end))
        return truncate_epochs(log, offset);
    if (offset < log->segments[0]->base_offset)
        return plog_truncate_fully_locked(log, offset);
    size_t last = plog_segment_index(log, offset);
    struct cut at;
    if (!find_cut(log, log->segments[last], offset, &at))
        return false;
    int64_t start = atomic_load(&log->start);
    if (at.end < MIN(start, offset)) /* nothing that is sound is left */
        return plog_truncate_fully_locked(log, MIN(start, offset));
    if (!drop_segments(log, last + 1) || !segment_truncate(plog_active(log), log->path, at))
        return false;
    offset = at.end;
    ensure(plog_active(log)->base_offset <= offset);
    atomic_store(&log->end, offset);
    if (offset < start) /* a leader was elected that had less than was deleted here */
        atomic_store(&log->start, offset);
    log->recovery_point = MIN(log->recovery_point, offset);
    note_cut(log, offset);
    lower_clean_end(log);
    plog_set_high_watermark_locked(log, atomic_load(&log->high_watermark));
    if (!truncate_epochs(log, offset))
        return false;
    bool ok = rewind_producers(log, offset);
    producers_commit(&log->producers, atomic_load(&log->high_watermark));
    plog_update_unstable(log);
    if (ok)
        plog_check(log);
    return ok;
}

bool plog_truncate_fully_locked(struct plog *log, int64_t new_start)
{
    ensure(lock_is_held(&log->lock));
    int64_t none;
    if (!drop_segments(log, 0) || !drop_snapshots(log, -1, &none) || !plog_insert_segment(log, segment_new(new_start)))
        return false;
    producers_clear(&log->producers, new_start);
    plog_update_unstable(log);
    atomic_store(&log->start, new_start);
    atomic_store(&log->end, new_start);
    atomic_store(&log->high_watermark, new_start);
    log->recovery_point = new_start;
    note_cut(log, new_start);
    lower_clean_end(log);
    log->epochs.n = 0;
    plog_check(log);
    return plog_write_epochs(log);
}

static enum kafka_error cut_log(struct plog *log, bool (*how)(struct plog *log, int64_t offset), int64_t offset)
{
    if (offset < 0 || offset > LARGEST_OFFSET)
        return ERR_OFFSET_OUT_OF_RANGE;
    lock_take(&log->files);
    lock_take(&log->lock);
    int64_t before = MAX(log->recovery_point, (int64_t)atomic_load(&log->start));
    bool ok = plog_is_writable(log) && how(log, offset);
    const struct plog_host *host = log->home->host;
    bool lowered = ok && (int64_t)atomic_load(&log->end) < before && host != NULL;
    if (lowered)
        atomic_store(&log->unsettled, true);
    lock_release(&log->lock);
    lock_release(&log->files);
    if (lowered)
        host->settle_cuts_soon(host->ctx);
    if (!ok)
        plog_failed_to_grow(log, "truncation failed");
    return ok ? ERR_NONE : ERR_KAFKA_STORAGE_ERROR;
}

enum kafka_error plog_truncate(struct plog *log, int64_t offset)
{
    return cut_log(log, truncate_locked, offset);
}

enum kafka_error plog_truncate_fully(struct plog *log, int64_t new_start)
{
    return cut_log(log, plog_truncate_fully_locked, new_start);
}
