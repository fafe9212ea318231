/* A log's life: what it is, what holds of it, and its end. Appending, cutting, flushing, reading have files of their
 * own. */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>

#include "base/chance.h"
#include "base/clock.h"
#include "base/logger.h"
#include "log/file.h"
#include "log/plog_internal.h"

void plog_ref(struct plog *log)
{
    int before = atomic_fetch_add(&log->refs, 1);
    ensure(before > 0);
}

static void free_segments(struct plog *log)
{
    for (size_t i = 0; i < log->segment_count; i++)
        segment_free(log->segments[i]);
    free(log->segments);
    log->segments = NULL;
    log->segment_count = log->segment_cap = 0;
}

void plog_unref(struct plog *log)
{
    if (log == NULL)
        return;
    int before = atomic_fetch_sub(&log->refs, 1);
    ensure(before > 0);
    if (before > 1)
        return;
    free_segments(log);
    plog_drop_snapshots(log, -1);
    producers_deinit(&log->producers);
    epochs_free(&log->epochs);
    lock_deinit(&log->lock);
    lock_deinit(&log->files);
    free(log->topic);
    free(log->path);
    free(log);
}

const char *plog_topic(const struct plog *log)
{
    return log->topic;
}

int32_t plog_partition(const struct plog *log)
{
    return log->partition;
}

const char *plog_dir(const struct plog *log)
{
    return log->home->path;
}

struct uuid plog_topic_id(const struct plog *log)
{
    return atomic_load(&log->has_topic_id) ? log->topic_id : UUID_ZERO;
}

int64_t plog_start_offset(const struct plog *log)
{
    return atomic_load(&log->start);
}

int64_t plog_end_offset(const struct plog *log)
{
    return atomic_load(&log->end);
}

int64_t plog_high_watermark(const struct plog *log)
{
    return atomic_load(&log->high_watermark);
}

int64_t plog_last_stable_offset(const struct plog *log)
{
    int64_t hw = atomic_load(&log->high_watermark), unstable = atomic_load(&log->first_unstable);
    return MIN(hw, MAX(unstable, (int64_t)atomic_load(&log->start)));
}

bool plog_is_future(const struct plog *log)
{
    return atomic_load(&log->future);
}

struct topic_config plog_config(struct plog *log)
{
    lock_take(&log->lock);
    struct topic_config config = log->config;
    lock_release(&log->lock);
    return config;
}

int64_t plog_segment_count(struct plog *log)
{
    lock_take(&log->lock);
    int64_t n = (int64_t)log->segment_count;
    lock_release(&log->lock);
    return n;
}

struct plog_producer_counts plog_count_producers(struct plog *log)
{
    lock_take(&log->lock);
    struct plog_producer_counts counts = {(int64_t)producers_count(&log->producers),
                                          producers_oldest_open_ms(&log->producers)};
    lock_release(&log->lock);
    return counts;
}

int64_t plog_size(const struct plog *log)
{
    struct plog *l = (struct plog *)(uintptr_t)log;
    int64_t size = 0;
    lock_take(&l->lock);
    for (size_t i = 0; i < l->segment_count; i++)
        size += l->segments[i]->size;
    lock_release(&l->lock);
    return size;
}

bool plog_set_high_watermark_locked(struct plog *log, int64_t offset)
{
    ensure(lock_is_held(&log->lock));
    ensure((int64_t)atomic_load(&log->start) <= (int64_t)atomic_load(&log->end));
    offset = MIN(offset, (int64_t)atomic_load(&log->end));
    offset = MAX(offset, (int64_t)atomic_load(&log->start));
    if (producers_commit(&log->producers, offset))
        plog_update_unstable(log);
    return atomic_exchange(&log->high_watermark, offset) != offset;
}

bool plog_set_high_watermark(struct plog *log, int64_t offset)
{
    lock_take(&log->lock);
    bool moved = plog_set_high_watermark_locked(log, offset);
    lock_release(&log->lock);
    return moved;
}

bool plog_is_offline(const struct plog *log)
{
    return atomic_load(&log->home->offline);
}

bool plog_is_writable(const struct plog *log)
{
    ensure(lock_is_held(&log->lock));
    return !log->closed && !log->torn && !plog_is_offline(log);
}

bool plog_is_readable(const struct plog *log)
{
    ensure(lock_is_held(&log->lock));
    return log->segment_count > 0 && !plog_is_offline(log);
}

/* Of a log that is no more, and of those in a directory that has failed already, nothing is said. */
void plog_failed(struct plog *log, const char *what)
{
    lock_take(&log->lock);
    bool news = !log->closed && !plog_is_offline(log);
    if (news)
        log_error("Log %s failed: %s", log->path, what);
    lock_release(&log->lock);
    const struct plog_host *host = log->home->host;
    if (news && host != NULL)
        host->failed(host->ctx, log->home->path, what);
}

static void note_starved(struct plog *log, const char *what_not)
{
    static struct log_limit limit;
    const struct plog_host *host = log->home->host;
    log_warn_limited(&limit, "%s-%" PRId32 " %s for now: the process has as many files open as it may (ulimit -n)",
                     log->topic, log->partition, what_not);
    if (host != NULL)
        host->files_wanted(host->ctx);
}

void plog_failed_to_read(struct plog *log, const char *what)
{
    if (file_ran_out())
        note_starved(log, "cannot be read");
    else
        plog_failed(log, what);
}

void plog_failed_to_grow(struct plog *log, const char *what)
{
    lock_take(&log->lock);
    bool starved = log->starved && !log->torn;
    log->starved = false;
    lock_release(&log->lock);
    if (starved)
        note_starved(log, "takes nothing more");
    else
        plog_failed(log, what);
}

static void check_segments(const struct plog *log)
{
    ensure(log->segment_count > 0 && log->segment_count <= log->segment_cap);
    for (size_t i = 0; i < log->segment_count; i++) {
        const struct segment *s = log->segments[i];
        ensure(s->size >= 0 && s->size <= INT32_MAX);
        ensure(i == 0 || log->segments[i - 1]->base_offset < s->base_offset);
    }
    const struct segment *active = log->segments[log->segment_count - 1];
    ensure(active->offsets.loaded && active->times.loaded && !active->indexes_filed);
}

static void check_epochs(const struct plog *log)
{
    const struct epochs *e = &log->epochs;
    for (size_t i = 1; i < e->n; i++)
        ensure(e->v[i - 1].epoch < e->v[i].epoch && e->v[i - 1].start_offset < e->v[i].start_offset);
    ensure(e->n == 0 || e->v[0].epoch >= 0);
    ensure(e->n == 0 || e->v[e->n - 1].start_offset <= (int64_t)atomic_load(&log->end));
}

void plog_check(const struct plog *log)
{
    ensure(lock_is_held(&log->lock));
    int64_t start = atomic_load(&log->start), end = atomic_load(&log->end), hw = atomic_load(&log->high_watermark);
    check_segments(log);
    check_epochs(log);
    ensure(start >= 0 && start <= hw && hw <= end);
    ensure(log->segments[0]->base_offset <= start);
    ensure(log->segments[log->segment_count - 1]->base_offset <= end);
    ensure(log->recovery_point >= 0 && log->recovery_point <= end);
    ensure(log->clean_end <= MAX(log->recovery_point, start));
    ensure(log->snapshot_end <= end);
    ensure(log->producers.map_end_offset == end);
}

struct segment *plog_active(const struct plog *log)
{
    ensure(lock_is_held(&log->lock));
    ensure(log->segment_count > 0);
    return log->segments[log->segment_count - 1];
}

size_t plog_segment_index(const struct plog *log, int64_t offset)
{
    ensure(lock_is_held(&log->lock));
    size_t lo = 0, hi = log->segment_count;
    while (hi - lo > 1) {
        size_t mid = (lo + hi) / 2;
        if (log->segments[mid]->base_offset <= offset)
            lo = mid;
        else
            hi = mid;
    }
    ensure(log->segment_count == 0 || lo < log->segment_count);
    return lo;
}

bool plog_insert_segment(struct plog *log, struct segment *s)
{
    ensure(lock_is_held(&log->lock));
    ensure(log->segment_count == 0 || plog_active(log)->base_offset < s->base_offset);
    log->segments = xgrow(log->segments, log->segment_count + 1, &log->segment_cap, sizeof(*log->segments));
    log->segments[log->segment_count++] = s;
    log->touched = true;
    s->no_aborts = true;
    index_init(&s->offsets, OFFSET_ENTRY);
    index_init(&s->times, TIME_ENTRY);
    if (!segment_open_file(s, log->path, true))
        return false;
    if (log->config.preallocate)
        file_reserve(s->file->fd, log->config.segment_bytes);
    return segment_save_indexes(s, log->path, false);
}

bool plog_write_epochs(struct plog *log)
{
    ensure(lock_is_held(&log->lock));
    char path[PATH_ROOM];
    snprintf(path, sizeof(path), "%s/leader-epoch-checkpoint", log->path);
    log->epoch_changes++;
    log->epochs_unsaved = !epochs_write(path, &log->epochs);
    return !log->epochs_unsaved;
}

bool plog_save_epochs(struct plog *log)
{
    ensure(lock_is_held(&log->lock));
    return !log->epochs_unsaved || plog_write_epochs(log);
}

void plog_update_unstable(struct plog *log)
{
    ensure(lock_is_held(&log->lock));
    atomic_store(&log->first_unstable, producers_first_unstable(&log->producers));
}

bool plog_note_batch(struct plog *log, const struct batch *b, struct txn_entry *aborted)
{
    ensure(lock_is_held(&log->lock));
    bool is_abort = producers_note(&log->producers, b, aborted);
    if (batch_is_transactional(b) || batch_is_control(b))
        plog_update_unstable(log);
    return is_abort;
}

/* ---- Leader epochs ---- */

void plog_note_epoch(struct plog *log, int32_t epoch, int64_t offset)
{
    ensure(lock_is_held(&log->lock));
    ensure(offset >= 0);
    if (epoch >= 0 && epochs_assign(&log->epochs, epoch, offset)) {
        log->epochs_unsaved = true;
        log->epoch_changes++;
    }
}

void plog_assign_epoch(struct plog *log, int32_t epoch, int64_t start_offset)
{
    lock_take(&log->lock);
    if (plog_is_writable(log))
        plog_note_epoch(log, epoch, start_offset);
    lock_release(&log->lock);
}

int32_t plog_latest_epoch(struct plog *log)
{
    lock_take(&log->lock);
    int32_t epoch = log->epochs.n > 0 ? log->epochs.v[log->epochs.n - 1].epoch : NO_LEADER_EPOCH;
    lock_release(&log->lock);
    return epoch;
}

int32_t plog_epoch_of(struct plog *log, int64_t offset)
{
    lock_take(&log->lock);
    int32_t epoch = epochs_at(&log->epochs, offset);
    lock_release(&log->lock);
    return epoch;
}

void plog_epoch_end(struct plog *log, int32_t epoch, int32_t *found_epoch, int64_t *end_offset)
{
    lock_take(&log->lock);
    epochs_end(&log->epochs, epoch, atomic_load(&log->end), found_epoch, end_offset);
    lock_release(&log->lock);
}

/* ---- For its host ---- */

const struct plog_home *plog_home(const struct plog *log)
{
    return log->home;
}

const char *plog_path(const struct plog *log)
{
    return log->path;
}

void plog_configure(struct plog *log, const struct topic_config *config)
{
    lock_take(&log->lock);
    log->config = *config;
    lock_release(&log->lock);
}

bool plog_rename(struct plog *log, const char *path)
{
    lock_take(&log->files);
    lock_take(&log->lock);
    char *name =
        path != NULL ? xstrdup(path) : xasprintf("%s/%s-%" PRId32, log->home->path, log->topic, log->partition);
    bool ok = file_rename(log->path, name);
    if (ok) {
        free(log->path);
        log->path = name;
    } else {
        free(name);
    }
    lock_release(&log->lock);
    lock_release(&log->files);
    return ok;
}

int64_t plog_end_writes(struct plog *log)
{
    lock_take(&log->lock);
    int64_t clean_end = log->clean_end;
    log->closed = true;
    lock_release(&log->lock);
    return clean_end;
}

void plog_succeed(struct plog *log, int64_t clean_end)
{
    ensure(plog_is_future(log));
    lock_take(&log->lock);
    log->clean_end = clean_end;
    log->clean_end_unsaved = clean_end >= 0;
    atomic_store(&log->future, false);
    log->cuts++;                         /* who settles it this very moment does so under its old name */
    atomic_store(&log->unsettled, true); /* the checkpoints are written in the directory that has its new name */
    lock_release(&log->lock);
}

int64_t plog_recovery_point(struct plog *log)
{
    lock_take(&log->lock);
    int64_t point = log->recovery_point;
    lock_release(&log->lock);
    return point;
}

int64_t plog_start_to_note(struct plog *log)
{
    lock_take(&log->lock);
    int64_t start = atomic_load(&log->start), base = log->segment_count > 0 ? log->segments[0]->base_offset : start;
    lock_release(&log->lock);
    return start > base ? start : -1;
}

bool plog_clean_end_is_unsaved(struct plog *log)
{
    lock_take(&log->lock);
    bool unsaved = log->clean_end_unsaved;
    lock_release(&log->lock);
    return unsaved;
}

int64_t plog_take_clean_end(struct plog *log)
{
    lock_take(&log->lock);
    int64_t end = log->clean_end;
    log->clean_end_unsaved = false;
    lock_release(&log->lock);
    return end;
}

bool plog_is_unsettled(struct plog *log, int64_t *cuts)
{
    if (!atomic_load(&log->unsettled))
        return false;
    lock_take(&log->lock);
    *cuts = log->cuts;
    lock_release(&log->lock);
    return true;
}

void plog_unsettle(struct plog *log)
{
    atomic_store(&log->unsettled, true);
}

void plog_settled(struct plog *log, int64_t cuts)
{
    lock_take(&log->lock);
    if (log->cuts == cuts)
        atomic_store(&log->unsettled, false);
    lock_release(&log->lock);
}

/* Whoever appends comes in between, as there may be a million of them. */
void plog_expire_producers(struct plog *log, int64_t since)
{
    lock_take(&log->lock);
    producers_expire_begin(&log->producers, since);
    while (producers_expire_step(&log->producers, since))
        lock_give_way(&log->lock);
    lock_release(&log->lock);
}

void plog_unload_indexes(struct plog *log)
{
    lock_take(&log->lock);
    for (size_t i = 0; i + 1 < log->segment_count; i++)
        segment_unload_unused(log->segments[i]);
    lock_release(&log->lock);
}

/* What is not on the disk yet stays open, so that an error in writing it out is told to who syncs it. */
bool plog_close_unused_files(struct plog *log)
{
    bool all = true;
    lock_take(&log->files); /* what compaction has swapped in has not its name yet, to be opened by */
    lock_take(&log->lock);
    for (size_t i = 0; i < log->segment_count; i++) {
        struct segment *s = log->segments[i];
        int64_t end = i + 1 < log->segment_count ? log->segments[i + 1]->base_offset : (int64_t)atomic_load(&log->end);
        if (end <= log->recovery_point)
            segment_close_unused(s);
        else
            all &= s->file == NULL;
    }
    lock_release(&log->lock);
    lock_release(&log->files);
    return all;
}

/* ---- Its end ---- */

/* Also where nothing is new: what a crash has kept from being cut for good will not be looked at again. */
static bool close_segment(struct plog *log, struct segment *s)
{
    return !log->touched || (segment_save_indexes(s, log->path, true) && segment_sync(s, log->path) &&
                             segment_sync_indexes(s->base_offset, log->path, ""));
}

/* In a log that nothing was ever appended to, there is nothing of producers, and no snapshot. */
static bool close_producers(struct plog *log)
{
    int64_t end = atomic_load(&log->end);
    bool is_bare =
        log->snapshot_end < 0 && end == log->segments[0]->base_offset && producers_count(&log->producers) == 0;
    if (!plog_write_snapshots(log)) /* those of before, beside which there may be no room for this one */
        return false;
    if (!is_bare)
        plog_begin_snapshot(log, end);
    return plog_write_snapshots(log);
}

bool plog_close(struct plog *log)
{
    lock_take(&log->files);
    lock_take(&log->lock);
    bool ok = true;
    if (plog_is_writable(log)) {
        /* Epochs that are in no checkpoint then have no batch: loading would leave them out. */
        ok = plog_flush_locked(log, atomic_load(&log->end)) && close_segment(log, plog_active(log)) &&
             close_producers(log);
        log->closed = true;
    }
    lock_release(&log->lock);
    lock_release(&log->files);
    return ok;
}

void plog_abandon(struct plog *log)
{
    lock_take(&log->files);
    lock_take(&log->lock);
    log->closed = true;
    free_segments(log);
    lock_release(&log->lock);
    lock_release(&log->files);
}
