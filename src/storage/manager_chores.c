/* What the manager does from time to time, and behind what others do: removals, flushes, retention. */
#include <errno.h>

#include "base/clock.h"
#include "base/logger.h"
#include "log/file.h"
#include "storage/cleaner_internal.h"
#include "storage/manager_internal.h"

enum { REMOVAL_CHECK_MS = 1000, INDEXES_CHECK_MS = 300000, FILES_CHECK_MS = 1000 };
enum { APPENDERS = 2 };
enum {
    MOST_MAPS = 20000
}; /* of indexes: Linux has 65530 for a process by default, which threads and memory need, too */

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
    add_removal(m, (struct removal){.dir = xstrdup(path), .log = log, .base = -1}, atomic_load(&m->delete_delay_ms));
}

void manager_remove_later(void *ctx, const char *dir, int64_t base, int64_t delay_ms)
{
    add_removal(ctx, (struct removal){.dir = xstrdup(dir), .base = base}, delay_ms);
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
    bool ok = whole ? dir_remove_tree(r->dir) : plog_remove_segment(r->dir, r->base);
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

static void run_flush(struct job *job)
{
    struct flush_job *f = CONTAINER_OF(job, struct flush_job, job);
    enum plog_flushed result;
    plog_save_snapshots(f->log);
    while ((result = plog_flush_some(f->log, f->up_to, f->cuts)) == FLUSH_GOES_ON)
        ;
    if (result == FLUSH_FAILED)
        plog_failed(f->log, "flush failed");
    plog_unref(f->log);
    free(f);
}

void manager_flush_later(void *ctx, struct plog *log, int64_t up_to, int64_t cuts)
{
    const struct log_manager *m = ctx;
    if (m->options.workers == NULL)
        return;
    struct flush_job *f = xcalloc(1, sizeof(*f));
    *f = (struct flush_job){{.run = run_flush}, log, up_to, cuts};
    plog_ref(log);
    workers_submit(m->options.workers, &f->job);
}

/* ---- Writing back ---- */

struct write_back_job {
    struct job job;
    struct workers *writer; /* of its directory */
    struct plog *log;
};

/* Some of it, and then those come who wait as well. */
static void run_write_back(struct job *job)
{
    struct write_back_job *w = CONTAINER_OF(job, struct write_back_job, job);
    if (plog_write_back_some(w->log)) {
        workers_submit(w->writer, job);
        return;
    }
    plog_unref(w->log);
    free(w);
}

void manager_write_back_later(void *ctx, struct plog *log)
{
    struct workers *writer = manager_dir(ctx, plog_home(log)->path)->writer;
    if (writer == NULL)
        return;
    struct write_back_job *w = xcalloc(1, sizeof(*w));
    *w = (struct write_back_job){{.run = run_write_back}, writer, log};
    plog_ref(log);
    workers_submit(writer, &w->job);
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
    atomic_store(&m->delete_delay_ms, now->log_segment_delete_delay_ms);
    if (m->cleaner != NULL)
        cleaner_configure(m->cleaner, now);
}

static void flush_one(void *ctx UNUSED, struct plog *log)
{
    plog_flush_if_due(log);
}

static void flush_due_logs(struct log_manager *m)
{
    log_manager_each(m, flush_one, NULL);
}

static void expire_one(void *ctx, struct plog *log)
{
    plog_expire_producers(log, *(const int64_t *)ctx);
}

static void expire_producers(struct log_manager *m)
{
    int64_t since = clock_wall_ms() - atomic_load(&m->producer_expiration_ms);
    log_manager_each(m, expire_one, &since);
}

static void unload_indexes(void *ctx UNUSED, struct plog *log)
{
    plog_unload_indexes(log);
}

/* Of older segments: whoever read all of a log once would otherwise have left two maps for each. */
void manager_unload_indexes(struct log_manager *m)
{
    log_manager_each(m, unload_indexes, NULL);
}

/* ---- Descriptors and maps: a process has only so many, and logs may be more ---- */

static bool files_are_many(const struct log_manager *m)
{
    return file_refs_open() > m->most_files;
}

static void close_unused(void *ctx, struct plog *log)
{
    if (files_are_many(ctx))
        plog_close_unused_files(log);
}

/* With a sync for each: one that is not on the disk yet may only be closed then. */
static void flush_and_close(void *ctx, struct plog *log)
{
    if (files_are_many(ctx) && !plog_close_unused_files(log) && plog_flush_beside(log))
        plog_close_unused_files(log);
}

/* First those that nobody has used for a second; where that is not enough, those that nobody uses this moment. */
void log_manager_close_files(struct log_manager *m)
{
    static void (*const steps[])(void *ctx, struct plog *log) = {close_unused, close_unused, flush_and_close};
    for (size_t i = 0; i < ARRAY_LEN(steps) && files_are_many(m); i++)
        log_manager_each(m, steps[i], m);
    if (file_maps() > MOST_MAPS)
        manager_unload_indexes(m);
}

void manager_close_files_soon(void *ctx)
{
    struct log_manager *m = ctx;
    manager_run_soon(m, &m->closing, log_manager_close_files);
}

/* ---- Running them ---- */

static void run_errand(struct job *job)
{
    struct errand *e = CONTAINER_OF(job, struct errand, job);
    struct log_manager *m = e->manager;
    void (*work)(struct log_manager * m) = e->work;
    atomic_store(&e->awaited, false); /* it is nobody's from here on: who needs it now may submit it again */
    work(m);
}

void manager_run_soon(struct log_manager *m, struct errand *e, void (*work)(struct log_manager *m))
{
    if (m->options.workers == NULL || atomic_exchange(&e->awaited, true))
        return;
    e->manager = m;
    e->work = work;
    e->job = (struct job){.run = run_errand};
    workers_submit(m->options.workers, &e->job);
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

static void manager_start_threads(struct log_dir *d)
{
    d->writer = workers_new("log-writer", 1);
    d->appenders = workers_new("log-append", APPENDERS);
}

struct workers *log_manager_appenders(struct log_manager *m, const struct plog *log)
{
    struct workers *appenders = manager_dir(m, plog_home(log)->path)->appenders;
    ensure(appenders != NULL); /* log_manager_start() */
    return appenders;
}

void log_manager_start(struct log_manager *m)
{
    const struct broker_config *c = m->config;
    ensure(m->options.loop != NULL && m->options.workers != NULL);
    m->started = true;
    for (int i = 0; i < m->dir_count; i++)
        manager_start_threads(&m->dirs[i]);
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
    chore_start(m, CHORE_FILES, FILES_CHECK_MS, FILES_CHECK_MS, log_manager_close_files);
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
