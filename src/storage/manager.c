/*
 * The log directories and the table of logs: what is in it, deleting, moving to another directory, closing.
 *
 * The table has a reference to each log, and of a partition two at most: the current one, and a future one that is to
 * take its place. A log is renamed before its files go: from then on nothing finds it, whatever becomes of the process.
 *
 * A directory fails when whoever uses a file of it finds out, on any thread. It is offline at once, and its owner is
 * told; he has its partitions let go of, and then calls log_manager_abandon_dir(). Nothing is added to it meanwhile:
 * who has made a log looks, with the table locked, whether the directory is still live.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/logger.h"
#include "log/file.h"
#include "storage/cleaner_internal.h"
#include "storage/manager_internal.h"

enum {
    LONGEST_FILE_NAME = 255,
    MOST_CLOSERS = 16,          /* threads that close logs */
    DELETE_SUFFIX = 1 + 32 + 7, /* ".", 32 hex digits, "-delete" */
};

/* ---- Directories ---- */

static struct log_dir *find_dir(struct log_manager *m, const char *path)
{
    for (int i = 0; i < m->dir_count; i++)
        if (strcmp(m->dirs[i].path, path) == 0)
            return &m->dirs[i];
    return NULL;
}

bool log_manager_has_offline_dir(const struct log_manager *m)
{
    for (int i = 0; i < m->dir_count; i++)
        if (!log_dir_is_live(&m->dirs[i]))
            return true;
    return false;
}

bool log_manager_need_live_dir(const struct log_manager *m, struct fail *fail)
{
    struct strbuf list = {0};
    for (int i = 0; i < m->dir_count; i++) {
        if (log_dir_is_live(&m->dirs[i])) {
            strbuf_deinit(&list);
            return true;
        }
        strbuf_puts(&list, i > 0 ? ", " : "");
        strbuf_puts(&list, m->dirs[i].path);
    }
    fail_set(fail, "Shutdown broker because all log dirs in %s have failed", list.p);
    strbuf_deinit(&list);
    return false;
}

/* By its text, and by what it is: a link may lead to a directory that is listed. */
static bool is_listed_once(struct log_manager *m, const struct log_dir *d, struct fail *fail)
{
    bool once = find_dir(m, d->path) == d;
    for (int i = 0; once && i < m->dir_count - 1; i++)
        once = !log_dir_is_same(&m->dirs[i], d);
    return once || fail_set(fail, "Duplicate log directory found: %s", d->path);
}

/* ---- What its logs tell it ---- */

static void host_failed(void *ctx, const char *home, const char *what)
{
    manager_dir_failed(ctx, home, what);
}

/* ---- Life ---- */

static bool open_dir(struct log_manager *m, const char *path, struct fail *fail)
{
    struct log_dir *d = &m->dirs[m->dir_count++];
    bool ok = log_dir_open(d, path, fail);
    d->home.host = &m->host;
    return ok && is_listed_once(m, d, fail);
}

struct log_manager *log_manager_new(const struct log_manager_options *options, struct fail *fail)
{
    struct log_manager *m = xcalloc(1, sizeof(*m));
    m->options = *options;
    m->config = options->config;
    m->host = (struct plog_host){.failed = host_failed,
                                 .recovered = manager_count_recovered,
                                 .remove_later = manager_remove_later,
                                 .flush_later = manager_flush_later,
                                 .write_back_later = manager_write_back_later,
                                 .settle_cuts = manager_settle_cuts,
                                 .settle_cuts_soon = manager_settle_cuts_soon,
                                 .files_wanted = manager_close_files_soon,
                                 .halted = &m->halted,
                                 .flushes = &m->flushes,
                                 .ctx = m};
    lock_init(&m->lock, RANK_LOG_MANAGER);
    lock_init(&m->removal_lock, RANK_REMOVALS);
    m->most_files = file_limit() / 2; /* the others are for connections, and what is open for a moment */
    atomic_init(&m->halted, false);
    atomic_init(&m->incomplete, false);
    atomic_init(&m->clean_end_gone, false);
    atomic_init(&m->settling.awaited, false);
    atomic_init(&m->closing.awaited, false);
    atomic_init(&m->producer_expiration_ms, m->config->producer_id_expiration_ms);
    atomic_init(&m->delete_delay_ms, m->config->log_segment_delete_delay_ms);
    if (m->config->log_cleaner_enable)
        m->cleaner = cleaner_new(m, m->config);
    m->dirs = xcalloc((size_t)m->config->log_dirs.count, sizeof(*m->dirs));
    for (int i = 0; i < m->config->log_dirs.count; i++) {
        if (!open_dir(m, m->config->log_dirs.items[i], fail)) {
            log_manager_free(m);
            return NULL;
        }
    }
    if (log_manager_need_live_dir(m, fail)) {
        storage_metrics_init(m);
        return m;
    }
    log_manager_free(m);
    return NULL;
}

const char *log_manager_dir(const struct log_manager *m, int i)
{
    return i < m->dir_count ? m->dirs[i].path : NULL;
}

struct log_dir *manager_dir(struct log_manager *m, const char *root)
{
    struct log_dir *d = find_dir(m, root);
    ensure(d != NULL); /* logs lie in log directories only */
    return d;
}

void manager_dir_failed(struct log_manager *m, const char *root, const char *what)
{
    struct log_dir *d = manager_dir(m, root);
    if (log_dir_take_offline(d, what) && m->options.dir_failed != NULL)
        m->options.dir_failed(m->options.ctx, d->path, what);
}

enum kafka_error log_manager_space(struct log_manager *m, const char *dir, int64_t *total, int64_t *usable)
{
    if (!log_dir_is_live(manager_dir(m, dir)))
        return ERR_KAFKA_STORAGE_ERROR;
    return dir_space(dir, total, usable) ? ERR_NONE : ERR_UNKNOWN_SERVER_ERROR;
}

/* ---- The table ---- */

static struct log_dir *dir_of(struct log_manager *m, const struct plog *log)
{
    for (int i = 0; i < m->dir_count; i++)
        if (plog_home(log) == &m->dirs[i].home)
            return &m->dirs[i];
    unreachable("a log outside of the log directories");
}

struct log_key manager_key_of(const char *topic, int32_t partition, bool future)
{
    struct log_key key = {.partition = partition, .future = future};
    snprintf(key.topic, sizeof(key.topic), "%s", topic);
    return key;
}

struct log_entry *manager_find(struct log_manager *m, const char *topic, int32_t partition, bool future)
{
    ensure(lock_is_held(&m->lock));
    struct log_key key = manager_key_of(topic, partition, future);
    struct log_entry *e;
    HASH_FIND(hh, m->logs, &key, log_key_size(&key), e);
    return e;
}

/* The entry of this very log; NULL if it is not in the table. */
static struct log_entry *manager_entry_of(struct log_manager *m, const struct plog *log)
{
    struct log_entry *e = manager_find(m, plog_topic(log), plog_partition(log), plog_is_future(log));
    return e != NULL && e->log == log ? e : NULL;
}

void manager_add(struct log_manager *m, struct plog *log)
{
    ensure(lock_is_held(&m->lock));
    ensure(manager_find(m, plog_topic(log), plog_partition(log), plog_is_future(log)) == NULL);
    ensure(plog_home(log)->host == &m->host);
    struct log_entry *e = xcalloc(1, sizeof(*e));
    e->key = manager_key_of(plog_topic(log), plog_partition(log), plog_is_future(log));
    e->log = log;
    HASH_ADD(hh, m->logs, key, log_key_size(&e->key), e);
    topic_index_add(&m->by_topic, e->key.topic, &e->of_topic);
    dir_of(m, log)->in_table++;
}

/* The log's reference is the caller's from now on. */
static struct plog *take_from_table(struct log_manager *m, struct log_entry *e)
{
    ensure(lock_is_held(&m->lock));
    struct plog *log = e->log;
    HASH_DEL(m->logs, e);
    topic_index_remove(&m->by_topic, &e->of_topic);
    free(e);
    int left = --dir_of(m, log)->in_table;
    ensure(left >= 0);
    return log;
}

static struct plog *get_log(struct log_manager *m, const char *topic, int32_t partition, bool future)
{
    lock_take(&m->lock);
    struct log_entry *e = manager_find(m, topic, partition, future);
    struct plog *log = e != NULL ? e->log : NULL;
    if (log != NULL)
        plog_ref(log);
    lock_release(&m->lock);
    return log;
}

struct plog *log_manager_get(struct log_manager *m, const char *topic, int32_t partition)
{
    return get_log(m, topic, partition, false);
}

struct plog *log_manager_get_future(struct log_manager *m, const char *topic, int32_t partition)
{
    return get_log(m, topic, partition, true);
}

struct plog **manager_logs(struct log_manager *m, size_t *count)
{
    lock_take(&m->lock);
    struct plog **logs = xcalloc(HASH_COUNT(m->logs) + 1, sizeof(struct plog *));
    *count = 0;
    for (struct log_entry *e = m->logs; e != NULL; e = e->hh.next) {
        plog_ref(e->log);
        logs[(*count)++] = e->log;
    }
    lock_release(&m->lock);
    return logs;
}

void log_manager_each(struct log_manager *m, void (*visit)(void *ctx, struct plog *log), void *ctx)
{
    size_t count;
    struct plog **logs = manager_logs(m, &count);
    for (size_t i = 0; i < count; i++) {
        visit(ctx, logs[i]);
        plog_unref(logs[i]);
    }
    free(logs);
}

/* ---- Directories that have failed ---- */

static struct plog **take_logs_in(struct log_manager *m, const char *dir, size_t *count)
{
    struct log_entry *e, *tmp;
    lock_take(&m->lock);
    struct plog **logs = xcalloc(HASH_COUNT(m->logs) + 1, sizeof(struct plog *));
    *count = 0;
    HASH_ITER (hh, m->logs, e, tmp)
        if (strcmp(plog_dir(e->log), dir) == 0)
            logs[(*count)++] = take_from_table(m, e);
    ensure(manager_dir(m, dir)->in_table == 0); /* to one that is offline none is added any more */
    lock_release(&m->lock);
    return logs;
}

void log_manager_abandon_dir(struct log_manager *m, const char *dir)
{
    struct log_dir *d = manager_dir(m, dir);
    size_t count;
    ensure(!log_dir_is_live(d));
    struct plog **logs = take_logs_in(m, dir, &count);
    for (size_t i = 0; i < count; i++) {
        plog_abandon(logs[i]);
        plog_unref(logs[i]);
    }
    free(logs);
    log_dir_release(d);
    log_warn("Stopped serving %zu logs in %s", count, dir);
}

/* ---- Deleting ---- */

/* A random part of a name that no other has. */
static void random_hex(char hex[33])
{
    struct uuid id = uuid_random();
    for (size_t i = 0; i < sizeof(id.b); i++)
        snprintf(hex + 2 * i, 3, "%02x", id.b[i]);
}

static char *delete_name(const struct plog *log)
{
    char hex[33], tail[24];
    random_hex(hex);
    int tail_len = snprintf(tail, sizeof(tail), "-%" PRId32, plog_partition(log));
    int room = LONGEST_FILE_NAME - DELETE_SUFFIX - tail_len;
    return xasprintf("%s/%.*s%s.%s-delete", plog_dir(log), room, plog_topic(log), tail, hex);
}

/* After it was taken out of the table. */
static enum kafka_error delete_later(struct log_manager *m, struct plog *log)
{
    ensure(plog_home(log)->host == &m->host);
    if (plog_end_writes(log) >= 0)
        atomic_store(&m->clean_end_gone, true);
    char *name = delete_name(log);
    bool ok = plog_rename(log, name);
    struct log_dir *d = manager_dir(m, plog_dir(log));
    atomic_store(&d->stale_lines, true);
    atomic_store(&d->unsynced, true);
    if (ok) {
        log_info("Log for partition %s-%" PRId32 " is renamed to %s and is scheduled for deletion", plog_topic(log),
                 plog_partition(log), name);
        manager_remove_dir_later(m, name, log);
    } else {
        manager_dir_failed(m, plog_dir(log), "a log cannot be deleted");
    }
    free(name);
    return ok ? ERR_NONE : ERR_KAFKA_STORAGE_ERROR;
}

enum kafka_error log_manager_delete(struct log_manager *m, struct plog *log)
{
    lock_take(&m->lock);
    struct log_entry *e = manager_entry_of(m, log);
    if (e != NULL)
        take_from_table(m, e);
    lock_release(&m->lock);
    if (e == NULL)
        return ERR_NONE;
    enum kafka_error error = delete_later(m, log);
    plog_unref(log);
    return error;
}

void log_manager_sync_deletions(struct log_manager *m)
{
    for (int i = 0; i < m->dir_count; i++) {
        struct log_dir *d = &m->dirs[i];
        if (atomic_exchange(&d->unsynced, false) && log_dir_is_live(d) && !dir_sync(d->path))
            manager_dir_failed(m, d->path, "it cannot be synced");
    }
}

/* ---- Moving ---- */

enum kafka_error log_manager_check_dir(struct log_manager *m, const char *dir)
{
    const struct log_dir *d = find_dir(m, dir);
    if (d == NULL)
        return ERR_LOG_DIR_NOT_FOUND;
    return log_dir_is_live(d) ? ERR_NONE : ERR_KAFKA_STORAGE_ERROR;
}

void log_manager_prefer_dir(struct log_manager *m, const char *topic, int32_t partition, const char *dir)
{
    struct preference *p = xcalloc(1, sizeof(*p));
    lock_take(&m->lock);
    manager_take_preference(m, topic, partition);
    p->key = manager_key_of(topic, partition, false);
    p->dir = manager_dir(m, dir);
    HASH_ADD(hh, m->preferences, key, log_key_size(&p->key), p);
    lock_release(&m->lock);
}

static int future_name(char *out, size_t room, const char *topic, int32_t partition)
{
    char hex[33];
    random_hex(hex);
    return snprintf(out, room, "%s-%" PRId32 ".%s-future", topic, partition, hex);
}

bool log_manager_can_move(const char *topic, int32_t partition)
{
    return future_name(NULL, 0, topic, partition) <= LONGEST_FILE_NAME;
}

enum kafka_error log_manager_create_future(struct log_manager *m, struct plog *current, const char *dir,
                                           struct plog **out)
{
    char name[LONGEST_FILE_NAME + 1];
    struct topic_config config = plog_config(current);
    int len = future_name(name, sizeof(name), plog_topic(current), plog_partition(current));
    ensure(len <= LONGEST_FILE_NAME && strcmp(dir, plog_dir(current)) != 0);
    struct log_dir *d = manager_dir(m, dir);
    lock_take(&m->lock);
    bool may =
        manager_find(m, plog_topic(current), plog_partition(current), true) == NULL && !log_manager_has_offline_dir(m);
    if (may)
        manager_reserve(m, d);
    lock_release(&m->lock);
    *out = may ? manager_make(m, d, plog_topic(current), plog_partition(current), &config, name) : NULL;
    return *out != NULL ? manager_give_id(out, plog_topic_id(current)) : ERR_KAFKA_STORAGE_ERROR;
}

/* With the manager's lock held. */
static void take_over(struct log_manager *m, struct log_entry *current, struct log_entry *future, bool compacted_alike)
{
    struct plog *old = take_from_table(m, current), *log = take_from_table(m, future);
    ensure(old != log && plog_is_future(log) && !plog_is_future(old));
    int64_t clean_end = plog_end_writes(old);
    plog_succeed(log, compacted_alike ? clean_end : -1);
    manager_add(m, log);
}

enum kafka_error log_manager_promote(struct log_manager *m, struct plog *current, struct plog *future,
                                     bool compacted_alike)
{
    bool ok = false;
    lock_take(&m->lock);
    struct log_entry *from = manager_entry_of(m, current), *to = manager_entry_of(m, future);
    if (from != NULL && to != NULL && !plog_is_offline(future)) {
        ok = plog_rename(future, NULL);
        if (ok)
            take_over(m, from, to, compacted_alike);
        else
            manager_dir_failed(m, plog_dir(future), "a log cannot be renamed");
    }
    lock_release(&m->lock);
    if (ok)
        manager_settle_cuts_soon(m);
    return ok ? ERR_NONE : ERR_KAFKA_STORAGE_ERROR;
}

/*
 * The new name is to be on the disk before the old one goes; and the old one is to be gone from the disk, or a start
 * after a power failure finds a log in two directories, and does not know which of them to take.
 */
void log_manager_retire(struct log_manager *m, struct plog *old, struct plog *successor)
{
    if (dir_sync(plog_dir(successor))) {
        delete_later(m, old);
        log_manager_sync_deletions(m);
    } else
        manager_dir_failed(m, plog_dir(successor), "it cannot be synced");
    plog_unref(old); /* the table's */
}

struct closing_all {
    struct log_manager *manager;
    logs_closed_fn tell;
    void *ctx;
    int logs;
    atomic_int closed;
};

struct closing {
    struct job job;
    struct closing_all *all;
    struct plog *log; /* with a reference */
};

static void close_one(struct job *job)
{
    struct closing *c = CONTAINER_OF(job, struct closing, job);
    struct closing_all *all = c->all;
    if (!plog_close(c->log))
        manager_dir_failed(all->manager, plog_dir(c->log), "cannot be closed cleanly");
    plog_unref(c->log);
    free(c);
    int closed = atomic_fetch_add(&all->closed, 1) + 1;
    if (all->tell != NULL)
        all->tell(all->ctx, closed, all->logs);
}

/* Many at once: a disk's journal takes the syncs of all together. */
static void close_all(struct log_manager *m, logs_closed_fn tell, void *ctx)
{
    size_t count;
    struct plog **logs = manager_logs(m, &count);
    struct closing_all all = {m, tell, ctx, (int)count, 0};
    struct workers *w = workers_new("closer", (int)MIN(MAX(count, (size_t)1), (size_t)MOST_CLOSERS));
    for (size_t i = 0; i < count; i++) {
        struct closing *c = xcalloc(1, sizeof(*c));
        *c = (struct closing){{.run = close_one}, &all, logs[i]};
        workers_submit(w, &c->job);
    }
    workers_free(w);
    free(logs);
}

void log_manager_close(struct log_manager *m, logs_closed_fn tell, void *ctx)
{
    ensure(!atomic_load(&m->incomplete)); /* or the files would forget what was not loaded */
    cleaner_free(m->cleaner);
    m->cleaner = NULL;
    close_all(m, tell, ctx);
    log_manager_write_checkpoints(m);
    manager_save_clean_ends(m);
    for (int i = 0; i < m->dir_count; i++)
        if (log_dir_is_live(&m->dirs[i]) && !log_dir_mark_clean(&m->dirs[i]))
            log_warn("The next start will check all logs in %s", m->dirs[i].path);
}

void log_manager_end_appends(struct log_manager *m)
{
    for (int i = 0; i < m->dir_count; i++)
        if (m->dirs[i].appenders != NULL)
            workers_stop(m->dirs[i].appenders);
}

/* They end soon, as logs that are closed have nothing for them. */
static void free_threads(struct log_manager *m)
{
    for (int i = 0; i < m->dir_count; i++) {
        workers_free(m->dirs[i].writer);
        workers_free(m->dirs[i].appenders);
        m->dirs[i].writer = m->dirs[i].appenders = NULL;
    }
}

void log_manager_free(struct log_manager *m)
{
    if (m == NULL)
        return;
    free_threads(m);
    storage_metrics_deinit(m);
    cleaner_free(m->cleaner);
    struct log_entry *e, *tmp;
    lock_take(&m->lock);
    HASH_ITER (hh, m->logs, e, tmp)
        plog_unref(take_from_table(m, e));
    lock_release(&m->lock);
    struct preference *p, *next;
    HASH_ITER (hh, m->preferences, p, next) {
        HASH_DEL(m->preferences, p);
        free(p);
    }
    manager_forget_removals(m);
    manager_forget_settings(m);
    ensure(m->by_topic.table == NULL);
    for (int i = 0; i < m->dir_count; i++) {
        ensure(m->dirs[i].in_table == 0 && m->dirs[i].in_the_making == 0);
        log_dir_deinit(&m->dirs[i]);
    }
    free(m->dirs);
    lock_deinit(&m->removal_lock);
    lock_deinit(&m->lock);
    free(m);
}
