/* What the manager does from time to time, and behind what others do: removals, flushes, retention. */
#include <errno.h>

#include "base/clock.h"
#include "base/logger.h"
#include "storage/cleaner_internal.h"
#include "storage/file_internal.h"
#include "storage/manager_internal.h"

enum { REMOVAL_CHECK_MS = 1000, INDEXES_CHECK_MS = 300000 };

/* ---- Removals ---- */

static void add_removal(struct log_manager *m, struct removal what, int64_t delay_ms)
{
    struct removal *r = xcalloc(1, sizeof(*r));
    *r = what;
    r->due = clock_mono_ms() + delay_ms;
    ensure(what.dir != NULL && (what.log == NULL || what.base < 0));
    lock_take(&m->removal_lock);
    LL_PREPEND(m->removals, r);
    lock_release(&m->removal_lock);
}

void manager_remove_dir_later(struct log_manager *m, const char *path, struct plog *log)
{
    if (log != NULL)
        plog_ref(log);
    add_removal(m, (struct removal){.dir = xstrdup(path), .log = log, .base = -1},
                m->config->log_segment_delete_delay_ms);
}

void manager_remove_later(struct log_manager *m, const char *dir, int64_t base, int64_t delay_ms)
{
    add_removal(m, (struct removal){.dir = xstrdup(dir), .base = base}, delay_ms);
}

static struct removal *take_due_removal(struct log_manager *m)
{
    int64_t now = clock_mono_ms();
    lock_take(&m->removal_lock);
    struct removal *r = m->removals;
    while (r != NULL && r->due > now)
        r = r->next;
    if (r != NULL)
        LL_DELETE(m->removals, r);
    lock_release(&m->removal_lock);
    return r;
}

static void removal_free(struct removal *r)
{
    free(r->dir);
    plog_unref(r->log);
    free(r);
}

void manager_forget_removals(struct log_manager *m)
{
    while (m->removals != NULL) {
        struct removal *r = m->removals;
        LL_DELETE(m->removals, r);
        removal_free(r);
    }
}

/* The log directory that a path lies in. */
static struct log_dir *dir_around(struct log_manager *m, const char *path)
{
    for (int i = 0; i < m->dir_count; i++) {
        size_t n = strlen(m->dirs[i].path);
        if (strncmp(path, m->dirs[i].path, n) == 0 && path[n] == '/' && strchr(path + n + 1, '/') == NULL)
            return &m->dirs[i];
    }
    unreachable("a log outside of the log directories");
}

/* Not who something belongs to, or what is in its way. */
static bool is_failure_of_disk(int error)
{
    static const int errors[] = {EACCES,  EPERM,  EBUSY,   EEXIST,       ENOTEMPTY,
                                 ENOTDIR, EISDIR, ETXTBSY, ENAMETOOLONG, ELOOP};
    for (size_t i = 0; i < ARRAY_LEN(errors); i++)
        if (error == errors[i])
            return false;
    return true;
}

static void remove_now(struct log_manager *m, const struct removal *r)
{
    struct log_dir *d = dir_around(m, r->dir);
    if (r->log != NULL)
        plog_abandon(r->log);
    if (!log_dir_is_live(d) || file_look(r->dir) == FILE_MISSING)
        return;
    bool whole = r->base < 0;
    bool ok = whole ? dir_remove_tree(r->dir) : segment_delete_files(r->base, r->dir, ".deleted");
    if (ok && whole)
        log_info("Deleted %s", r->dir);
    else if (!ok && is_failure_of_disk(file_last_error()))
        manager_dir_failed(m, d->path, "files cannot be deleted");
    else if (!ok)
        log_warn("What is left of %s stays there until the next start", r->dir);
}

void manager_run_removals(struct log_manager *m)
{
    for (struct removal *r; (r = take_due_removal(m)) != NULL; removal_free(r))
        remove_now(m, r);
}

/* ---- Flushing behind a roll ---- */

struct flush_job {
    struct job job;
    struct plog *log;
    int64_t up_to, cuts;
};

/* Some of what is to be synced, without the lock: the files cannot go away under their references. */
struct flush_list {
    struct file_ref *files[8];
    int64_t bases[8];
    size_t n;
    int64_t end; /* offset up to which it goes */
    char *dir;   /* as it is called now */
    bool new_names;
};

/* With the log's lock held. */
static void list_unsynced(struct plog *log, int64_t up_to, struct flush_list *out)
{
    ensure(lock_is_held(&log->lock));
    *out = (struct flush_list){.dir = xstrdup(log->path), .end = up_to};
    for (size_t i = plog_segment_index(log, log->recovery_point); i < log->segment_count; i++) {
        struct segment *s = log->segments[i];
        if (s->base_offset >= up_to)
            break;
        if (out->n == ARRAY_LEN(out->files)) {
            out->end = s->base_offset;
            break;
        }
        out->new_names |= s->base_offset >= log->recovery_point || !s->no_aborts;
        if (s->file == NULL)
            continue;
        file_ref_get(s->file);
        out->bases[out->n] = s->base_offset;
        out->files[out->n++] = s->file;
    }
}

static bool sync_listed(const struct flush_list *list)
{
    bool ok = true;
    for (size_t i = 0; i < list->n; i++) {
        ok = file_sync(list->files[i]->fd, list->dir) && segment_sync_indexes(list->bases[i], list->dir, "") && ok;
        file_ref_put(list->files[i]);
    }
    return ok && (!list->new_names || dir_sync(list->dir));
}

enum flushed { FLUSH_GOES_ON, FLUSH_OVER, FLUSH_FAILED };

/* With the log's lock held. A log that was renamed meanwhile may have been looked for in vain, and is left as it was.
 */
static enum flushed take_flushed(struct plog *log, const struct flush_job *f, const struct flush_list *list,
                                 bool synced)
{
    if (!plog_is_writable(log) || strcmp(list->dir, log->path) != 0)
        return FLUSH_OVER;
    if (!synced || !plog_save_epochs(log))
        return FLUSH_FAILED;
    if (f->cuts != log->cuts)
        return FLUSH_OVER;
    ensure(list->end <= f->up_to && f->up_to <= (int64_t)atomic_load(&log->end));
    log->recovery_point = MAX(log->recovery_point, list->end);
    plog_check(log);
    return log->recovery_point < f->up_to ? FLUSH_GOES_ON : FLUSH_OVER;
}

static enum flushed flush_some(const struct flush_job *f)
{
    struct plog *log = f->log;
    struct flush_list list;
    lock_take(&log->lock);
    list_unsynced(log, f->up_to, &list);
    lock_release(&log->lock);
    bool synced = sync_listed(&list);
    lock_take(&log->lock);
    enum flushed result = take_flushed(log, f, &list, synced);
    lock_release(&log->lock);
    free(list.dir);
    return result;
}

static void run_flush(struct job *job)
{
    struct flush_job *f = CONTAINER_OF(job, struct flush_job, job);
    enum flushed result;
    while ((result = flush_some(f)) == FLUSH_GOES_ON)
        ;
    if (result == FLUSH_FAILED)
        plog_failed(f->log, "flush failed");
    plog_unref(f->log);
    free(f);
}

void manager_flush_later(struct log_manager *m, struct plog *log, int64_t up_to)
{
    if (m->options.workers == NULL)
        return;
    struct flush_job *f = xcalloc(1, sizeof(*f));
    *f = (struct flush_job){{.run = run_flush}, log, up_to, log->cuts};
    plog_ref(log);
    workers_submit(m->options.workers, &f->job);
}

/* ---- Chores ---- */

/* A future log begins where the current one does, and lets go of what that lets go of once it is in its place. */
static void retain_one(void *ctx, struct plog *log)
{
    if (!plog_is_future(log))
        plog_apply_retention(log, *(int64_t *)ctx);
}

void log_manager_run_retention(struct log_manager *m)
{
    int64_t now = clock_wall_ms();
    log_manager_each(m, retain_one, &now);
}

void log_manager_run_cleaner(struct log_manager *m)
{
    if (m->cleaner != NULL)
        cleaner_run(m->cleaner);
}

void log_manager_settle(struct log_manager *m, const struct broker_config *config)
{
    m->config = config;
    log_manager_take_settings(m, config);
}

void log_manager_take_settings(struct log_manager *m, const struct broker_config *now)
{
    atomic_store(&m->producer_expiration_ms, now->producer_id_expiration_ms);
    if (m->cleaner != NULL)
        cleaner_configure(m->cleaner, now);
}

static void flush_if_due(void *ctx UNUSED, struct plog *log)
{
    lock_take(&log->lock);
    bool due = clock_mono_ms() - log->last_flush_ms >= log->config.flush_ms;
    lock_release(&log->lock);
    if (due)
        plog_flush(log);
}

static void flush_due_logs(struct log_manager *m)
{
    log_manager_each(m, flush_if_due, NULL);
}

static void expire_one(void *ctx, struct plog *log)
{
    int64_t since = *(const int64_t *)ctx;
    lock_take(&log->lock);
    producers_expire_begin(&log->producers, since);
    while (producers_expire_step(&log->producers, since)) {
        lock_release(&log->lock);
        lock_take(&log->lock);
    }
    lock_release(&log->lock);
}

static void expire_producers(struct log_manager *m)
{
    int64_t since = clock_wall_ms() - atomic_load(&m->producer_expiration_ms);
    log_manager_each(m, expire_one, &since);
}

static void unload_indexes(void *ctx UNUSED, struct plog *log)
{
    lock_take(&log->lock);
    for (size_t i = 0; i + 1 < log->segment_count; i++)
        segment_unload_unused(log->segments[i]);
    lock_release(&log->lock);
}

/* Of older segments: whoever read all of a log once would otherwise have left two maps for each. */
void manager_unload_indexes(struct log_manager *m)
{
    log_manager_each(m, unload_indexes, NULL);
}

static void chore_run(struct job *job)
{
    struct chore *c = CONTAINER_OF(job, struct chore, job);
    c->work(c->manager);
}

static void chore_done(struct message *msg)
{
    struct chore *c = CONTAINER_OF(msg, struct chore, job.done);
    if (c->manager->started)
        timer_start(&c->timer, c->period_ms);
}

static void chore_due(struct timer *t)
{
    struct chore *c = CONTAINER_OF(t, struct chore, timer);
    workers_submit(c->manager->options.workers, &c->job);
}

static void chore_start(struct log_manager *m, int which, int64_t first_ms, int64_t period_ms,
                        void (*work)(struct log_manager *m))
{
    struct chore *c = &m->chores[which];
    c->manager = m;
    c->period_ms = period_ms;
    c->work = work;
    c->job = (struct job){.done = {.deliver = chore_done}, .home = m->options.loop, .run = chore_run};
    timer_init(&c->timer, m->options.loop, chore_due);
    timer_start(&c->timer, first_ms);
}

void log_manager_start(struct log_manager *m)
{
    const struct broker_config *c = m->config;
    ensure(m->options.loop != NULL && m->options.workers != NULL);
    m->started = true;
    int64_t first = c->log_initial_task_delay_ms;
    chore_start(m, CHORE_RETENTION, first, c->log_retention_check_interval_ms, log_manager_run_retention);
    chore_start(m, CHORE_RECOVERY_POINTS, first, c->log_flush_offset_checkpoint_interval_ms,
                manager_save_recovery_points);
    chore_start(m, CHORE_STARTS, first, c->log_flush_start_offset_checkpoint_interval_ms, manager_save_starts);
    chore_start(m, CHORE_HW, c->replica_high_watermark_checkpoint_interval_ms,
                c->replica_high_watermark_checkpoint_interval_ms, manager_save_high_watermarks);
    if (c->log_flush_scheduler_interval_ms < INT32_MAX)
        chore_start(m, CHORE_FLUSH, MIN(first, c->log_flush_scheduler_interval_ms), /* a promise does not wait */
                    c->log_flush_scheduler_interval_ms, flush_due_logs);
    chore_start(m, CHORE_PRODUCERS, c->producer_id_expiration_check_interval_ms,
                c->producer_id_expiration_check_interval_ms, expire_producers);
    chore_start(m, CHORE_REMOVAL, REMOVAL_CHECK_MS, REMOVAL_CHECK_MS, manager_run_removals);
    chore_start(m, CHORE_INDEXES, INDEXES_CHECK_MS, INDEXES_CHECK_MS, manager_unload_indexes);
    if (m->cleaner != NULL)
        cleaner_start(m->cleaner, m->options.loop, m->options.workers);
}

void log_manager_stop(struct log_manager *m)
{
    m->started = false;
    for (int i = 0; i < CHORES; i++)
        timer_stop(&m->chores[i].timer);
    if (m->cleaner != NULL)
        cleaner_stop(m->cleaner);
}
