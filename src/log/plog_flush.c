/*
 * Syncing. The recovery point is where a log is on the disk for sure: recovery after a crash begins there. It moves
 * when segments and what is derived of them (indexes, producer snapshots, leader epochs) are synced. Derived files are
 * synced before the recovery point passes them; above it, recovery rebuilds them from the batches.
 *
 * Behind a roll, plog_flush_some() syncs older segments without the lock, a few at a time: their files are held by
 * references, and what has become of the log meanwhile is looked at before its recovery point moves. A log that was
 * cut since takes nothing from a flush of before, as what is written now is not what was synced.
 */
#include <inttypes.h>

#include "base/clock.h"
#include "log/file.h"
#include "log/plog_internal.h"

/* ---- Of the whole ---- */

static void count_flush(const struct plog_home *home, int64_t began_us)
{
    if (home->host != NULL && home->host->flushes != NULL)
        timing_record(home->host->flushes, clock_mono_us() - began_us);
}

static bool sync_segment(struct plog *log, struct segment *s)
{
    int64_t began_us = clock_mono_us();
    bool ok =
        segment_sync(s, log->path) && (s == plog_active(log) || segment_sync_indexes(s->base_offset, log->path, ""));
    count_flush(log->home, began_us);
    return ok;
}

bool plog_flush_locked(struct plog *log, int64_t up_to)
{
    ensure(lock_is_held(&log->lock));
    ensure(up_to <= (int64_t)atomic_load(&log->end));
    if (up_to <= log->recovery_point)
        return true;
    bool new_names = false;
    for (size_t i = plog_segment_index(log, log->recovery_point); i < log->segment_count; i++) {
        struct segment *s = log->segments[i];
        if (s->base_offset >= up_to)
            break;
        new_names |= s->base_offset >= log->recovery_point || !s->no_aborts;
        if (!sync_segment(log, s))
            return false;
    }
    if ((new_names && !dir_sync(log->path)) || !plog_save_epochs(log))
        return false;
    log->recovery_point = up_to;
    log->last_flush_ms = clock_mono_ms();
    return true;
}

enum kafka_error plog_flush(struct plog *log)
{
    lock_take(&log->lock);
    bool ok = !plog_is_writable(log) || plog_flush_locked(log, atomic_load(&log->end));
    lock_release(&log->lock);
    if (!ok)
        plog_failed(log, "flush failed");
    return ok ? ERR_NONE : ERR_KAFKA_STORAGE_ERROR;
}

/* ---- Behind a roll ---- */

/* Some of what is to be synced, without the lock: the files cannot go away under their references. */
struct flush_list {
    struct file_ref *files[8]; /* NULL: not open */
    int64_t bases[8];
    size_t n;
    int64_t end;       /* offset up to which it goes */
    int64_t open_base; /* of the active segment, if that is among them: its indexes are not in their files yet */
    char *dir;         /* as it is called now */
    bool new_names;
};

/* With the log's lock held. */
static void list_unsynced(struct plog *log, int64_t up_to, struct flush_list *out)
{
    ensure(lock_is_held(&log->lock));
    *out = (struct flush_list){.dir = xstrdup(log->path), .end = up_to, .open_base = -1};
    for (size_t i = plog_segment_index(log, log->recovery_point); i < log->segment_count; i++) {
        struct segment *s = log->segments[i];
        if (s->base_offset >= up_to)
            break;
        if (out->n == ARRAY_LEN(out->files)) {
            out->end = s->base_offset;
            break;
        }
        out->new_names |= s->base_offset >= log->recovery_point || !s->no_aborts;
        if (s == plog_active(log))
            out->open_base = s->base_offset;
        if (s->file != NULL)
            file_ref_get(s->file);
        out->bases[out->n] = s->base_offset;
        out->files[out->n++] = s->file;
    }
    ensure(out->n <= ARRAY_LEN(out->files) && out->end <= up_to);
}

static bool sync_listed(const struct flush_list *list, const struct plog_home *home)
{
    bool ok = true;
    for (size_t i = 0; i < list->n; i++) {
        int64_t began_us = clock_mono_us();
        ok = ok && segment_sync_file(list->bases[i], list->dir, list->files[i]) &&
             (list->bases[i] == list->open_base || segment_sync_indexes(list->bases[i], list->dir, ""));
        count_flush(home, began_us);
        file_ref_put(list->files[i]);
    }
    return ok && (!list->new_names || dir_sync(list->dir));
}

/* What a flush saves of leader epochs, and where; `path` NULL: nothing. */
struct epochs_copy {
    char *path, *aside, *dir;
    struct strbuf text;
    int64_t changes;
};

static void copy_epochs(struct plog *log, struct epochs_copy *out)
{
    *out = (struct epochs_copy){0};
    lock_take(&log->lock);
    if (log->epochs_unsaved && !log->epochs_saving && plog_is_writable(log)) {
        out->dir = xstrdup(log->path);
        out->path = xasprintf("%s/leader-epoch-checkpoint", log->path);
        out->aside = xasprintf("%s.flush.tmp", out->path);
        out->changes = log->epoch_changes;
        epochs_put(&out->text, &log->epochs);
        log->epochs_saving = true;
    }
    lock_release(&log->lock);
}

static bool is_as_copied(const struct plog *log, const struct epochs_copy *copy)
{
    ensure(lock_is_held(&log->lock));
    return log->epoch_changes == copy->changes && strcmp(log->path, copy->dir) == 0;
}

/* Only the renaming with the lock: what was written since with it held must not be taken back. */
static bool put_epochs_in_place(struct plog *log, const struct epochs_copy *copy, bool *in_place)
{
    lock_take(&log->lock);
    *in_place = is_as_copied(log, copy);
    bool ok = !*in_place || file_rename(copy->aside, copy->path);
    lock_release(&log->lock);
    return ok;
}

/*
 * The checkpoint of leader epochs: waiting for the disk with the lock held would hold up those who append. Whatever
 * changes meanwhile is left to who comes next, and to who moves the recovery point.
 */
static bool save_epochs_beside(struct plog *log)
{
    struct epochs_copy copy;
    bool in_place = false;
    copy_epochs(log, &copy);
    if (copy.path == NULL)
        return true;
    bool ok = file_write_aside(copy.aside, copy.text.p, copy.text.len) && put_epochs_in_place(log, &copy, &in_place) &&
              (!in_place || dir_sync(copy.dir));
    if (!in_place)
        file_remove(copy.aside);
    lock_take(&log->lock);
    ensure(log->epochs_saving);
    log->epochs_saving = false;
    if (ok && in_place && is_as_copied(log, &copy))
        log->epochs_unsaved = false;
    lock_release(&log->lock);
    strbuf_deinit(&copy.text);
    free(copy.path);
    free(copy.aside);
    free(copy.dir);
    return ok;
}

/* With the log's lock held. A log that was renamed meanwhile may have been looked for in vain, and is left as it was.
 */
static enum plog_flushed take_flushed(struct plog *log, const struct flush_list *list, int64_t up_to, int64_t cuts,
                                      bool synced)
{
    ensure(lock_is_held(&log->lock));
    if (!plog_is_writable(log) || strcmp(list->dir, log->path) != 0)
        return FLUSH_OVER;
    if (!synced || !plog_save_epochs(log))
        return file_ran_out() ? FLUSH_OVER : FLUSH_FAILED; /* the one takes nothing away, and comes again */
    if (cuts != log->cuts)
        return FLUSH_OVER;
    ensure(list->end <= up_to && up_to <= (int64_t)atomic_load(&log->end));
    /* One that became full meanwhile has got its indexes behind our back: once more, with these. */
    bool still_open = list->open_base < 0 || list->open_base == plog_active(log)->base_offset;
    log->recovery_point = MAX(log->recovery_point, still_open ? list->end : list->open_base);
    plog_check(log);
    return log->recovery_point < up_to ? FLUSH_GOES_ON : FLUSH_OVER;
}

enum plog_flushed plog_flush_some(struct plog *log, int64_t up_to, int64_t cuts)
{
    struct flush_list list;
    file_clear_error();
    lock_take(&log->lock);
    list_unsynced(log, up_to, &list);
    lock_release(&log->lock);
    bool synced = sync_listed(&list, log->home) && save_epochs_beside(log);
    lock_take(&log->lock);
    enum plog_flushed result = take_flushed(log, &list, up_to, cuts, synced);
    lock_release(&log->lock);
    free(list.dir);
    return result;
}

/* Up to an offset that is there, or, with -1, to the end. */
static enum plog_flushed flush_beside(struct plog *log, int64_t up_to)
{
    lock_take(&log->lock);
    int64_t end = atomic_load(&log->end), cuts = log->cuts;
    up_to = up_to < 0 ? end : up_to;
    bool needed = plog_is_writable(log) && up_to <= end && log->recovery_point < up_to;
    lock_release(&log->lock);
    enum plog_flushed result = needed ? FLUSH_GOES_ON : FLUSH_OVER;
    while (result == FLUSH_GOES_ON)
        result = plog_flush_some(log, up_to, cuts);
    if (result == FLUSH_FAILED)
        plog_failed(log, "flush failed");
    return result;
}

bool plog_flush_beside(struct plog *log)
{
    return flush_beside(log, -1) != FLUSH_FAILED;
}

/* It is over, too, when the log was cut or renamed meanwhile, or a descriptor was missing: what counts is what is so.
 */
static bool flush_up_to(struct plog *log, int64_t offset)
{
    ensure(offset >= 0 && !lock_is_held(&log->lock));
    flush_beside(log, offset);
    lock_take(&log->lock);
    bool flushed = log->recovery_point >= offset && offset <= (int64_t)atomic_load(&log->end);
    if (flushed)
        log->last_flush_ms = clock_mono_ms();
    lock_release(&log->lock);
    return flushed;
}

bool plog_flush_to(struct plog *log, int64_t offset)
{
    return flush_up_to(log, offset);
}

void plog_flush_if_due(struct plog *log)
{
    lock_take(&log->lock);
    bool due = clock_mono_ms() - log->last_flush_ms >= log->config.flush_ms;
    int64_t end = atomic_load(&log->end);
    lock_release(&log->lock);
    if (due)
        flush_up_to(log, end); /* or at the next time */
}
