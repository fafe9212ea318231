/*
 * The offsets of all logs that are in files of their directories: written from time to time, and after cuts.
 *
 *     recovery-point-offset-checkpoint   what is below is on the disk for sure: recovery begins there
 *     log-start-offset-checkpoint        where logs begin that do not begin with a segment
 *     replication-offset-checkpoint      high watermarks, to begin with after a restart
 *     cleaner-offset-checkpoint          how far logs were compacted
 *
 * One that is too low costs time. One that is too high is dangerous, and what is high today may be too high tomorrow:
 * a follower that has cut its log from 1500 to 1200 while the file says 1500 would, after a crash, take whatever it
 * fetched in place of those 300 for recovered, or for compacted, so that no key of them would ever be looked at. So a
 * log that was cut takes no records before all are written but the high watermarks, which are looked at beside the end;
 * nor does a new one, as long as they may have a line of an earlier log of its name.
 */
#include "storage/manager_internal.h"

static int64_t high_watermark_of(struct plog *log)
{
    return plog_high_watermark(log);
}

struct checkpoint {
    const char *name;
    int64_t (*value)(struct plog *log); /* -1: no line */
};

static const struct checkpoint recovery_points = {CHECKPOINT_RECOVERY, plog_recovery_point};
static const struct checkpoint starts = {CHECKPOINT_START, plog_start_to_note};
static const struct checkpoint high_watermarks = {CHECKPOINT_HW, high_watermark_of};
static const struct checkpoint clean_ends = {CHECKPOINT_CLEANER, plog_take_clean_end};

/* With the directory's checkpoints locked. */
static bool write_in(struct log_manager *m, const struct log_dir *d, const struct checkpoint *c)
{
    size_t count;
    struct offsets_file f = {0};
    struct plog **logs = manager_logs(m, &count);
    ensure(lock_is_held(&d->checkpoint_lock));
    for (size_t i = 0; i < count; i++) {
        int64_t v = plog_home(logs[i]) == &d->home ? c->value(logs[i]) : -1;
        if (v >= 0)
            offsets_file_add(&f, plog_topic(logs[i]), plog_partition(logs[i]), v);
        plog_unref(logs[i]);
    }
    free(logs);
    char *path = xasprintf("%s/%s", d->path, c->name);
    bool ok = offsets_file_write(path, &f);
    if (!ok)
        manager_dir_failed(m, d->path, "cannot write a checkpoint");
    free(path);
    offsets_file_free(&f);
    return ok;
}

static void write_checkpoint(struct log_manager *m, const struct checkpoint *c)
{
    for (int i = 0; i < m->dir_count; i++) {
        struct log_dir *d = &m->dirs[i];
        lock_take(&d->checkpoint_lock);
        if (log_dir_is_live(d))
            (void)write_in(m, d, c);
        lock_release(&d->checkpoint_lock);
    }
}

void manager_save_recovery_points(struct log_manager *m)
{
    write_checkpoint(m, &recovery_points);
}

void manager_save_starts(struct log_manager *m)
{
    write_checkpoint(m, &starts);
}

void manager_save_high_watermarks(struct log_manager *m)
{
    write_checkpoint(m, &high_watermarks);
}

static void find_unsaved(void *ctx, struct plog *log)
{
    *(bool *)ctx |= plog_clean_end_is_unsaved(log);
}

void manager_save_clean_ends(struct log_manager *m)
{
    bool unsaved = atomic_exchange(&m->clean_end_gone, false);
    log_manager_each(m, find_unsaved, &unsaved);
    if (unsaved)
        write_checkpoint(m, &clean_ends);
}

void log_manager_write_checkpoints(struct log_manager *m)
{
    manager_save_recovery_points(m);
    manager_save_starts(m);
    manager_save_high_watermarks(m);
}

/* ---- After cuts ---- */

/* A log whose last cut the checkpoints are to have. */
struct cut_log {
    struct plog *log; /* with a reference */
    int64_t cuts;
};

static size_t list_unsettled(struct log_manager *m, const struct log_dir *d, struct cut_log **out)
{
    size_t count, n = 0;
    struct plog **logs = manager_logs(m, &count);
    *out = xcalloc(count + 1, sizeof(**out));
    for (size_t i = 0; i < count; i++) {
        int64_t cuts;
        if (plog_home(logs[i]) == &d->home && plog_is_unsettled(logs[i], &cuts))
            (*out)[n++] = (struct cut_log){logs[i], cuts};
        else
            plog_unref(logs[i]);
    }
    free(logs);
    return n;
}

static void note_settled(const struct cut_log *cut, bool ok)
{
    if (ok)
        plog_settled(cut->log, cut->cuts);
    plog_unref(cut->log);
}

static void settle_in(struct log_manager *m, struct log_dir *d)
{
    struct cut_log *list;
    ensure(lock_is_held(&d->checkpoint_lock)); /* no cut falls between the list of them and the files */
    size_t n = list_unsettled(m, d, &list);
    if (n > 0) {
        atomic_store(&d->stale_lines, false); /* before the logs are listed: one may be deleted meanwhile */
        bool ok = write_in(m, d, &recovery_points) && write_in(m, d, &starts) && write_in(m, d, &clean_ends);
        if (!ok)
            atomic_store(&d->stale_lines, true);
        for (size_t i = 0; i < n; i++)
            note_settled(&list[i], ok);
    }
    free(list);
}

void manager_settle_cuts(void *ctx, const struct plog_home *home)
{
    struct log_manager *m = ctx;
    struct log_dir *d = manager_dir(m, home->path);
    if (atomic_load(&m->incomplete))
        return; /* who appends has it done then */
    lock_take(&d->checkpoint_lock);
    if (log_dir_is_live(d))
        settle_in(m, d);
    lock_release(&d->checkpoint_lock);
}

static void settle_all(struct log_manager *m)
{
    for (int i = 0; i < m->dir_count; i++)
        manager_settle_cuts(m, &m->dirs[i].home);
}

void manager_settle_cuts_soon(void *ctx)
{
    struct log_manager *m = ctx;
    manager_run_soon(m, &m->settling, settle_all);
}
