/* The log directories: locks, loading, checkpoints, retention, deletion. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/file.h>
#include <uthash.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/logger.h"
#include "storage/cleaner_internal.h"
#include "storage/file_internal.h"
#include "storage/plog_internal.h"

enum {
    FIRST_RETENTION_MS = 30000,
    REMOVAL_CHECK_MS = 1000,
    LONGEST_FILE_NAME = 255,
    MOST_CLOSERS = 16,          /* threads that close logs */
    DELETE_SUFFIX = 1 + 32 + 7, /* ".", 32 hex digits, "-delete" */
};

static const char clean_mark[] = ".kafka_cleanshutdown";
static const char clean_mark_text[] = "{\"version\":0,\"brokerEpoch\":-1}";
static const char recovery_file[] = "recovery-point-offset-checkpoint";
static const char start_file[] = "log-start-offset-checkpoint";
static const char hw_file[] = "replication-offset-checkpoint";
static const char cleaner_file[] = "cleaner-offset-checkpoint";

struct data_dir {
    char *path;
    int lock_fd;
    bool was_clean, failed;
    struct offsets_file recovery, start, hw, cleaner; /* as read at start */
};

struct log_key {
    int32_t partition;
    char topic[252]; /* zero-filled: the whole key is hashed */
};

struct log_entry {
    struct log_key key;
    struct plog *log;
    UT_hash_handle hh;
};

/* A file or directory that goes when its time has come. */
struct removal {
    char *dir;
    int64_t base; /* of a segment's ".deleted" files; -1: the whole directory */
    int64_t due;  /* monotonic */
    struct removal *next;
};

/* A timer whose work is done by a worker, one run at a time. */
struct chore {
    struct timer timer;
    struct job job;
    struct log_manager *manager;
    int64_t period_ms;
    void (*work)(struct log_manager *m);
};

enum {
    CHORE_RETENTION,
    CHORE_RECOVERY_POINTS,
    CHORE_STARTS,
    CHORE_HW,
    CHORE_FLUSH,
    CHORE_PRODUCERS,
    CHORE_REMOVAL,
    CHORES
};

struct log_manager {
    struct log_manager_options options;
    const struct broker_config *config;
    struct data_dir *dirs;
    int dir_count;
    pthread_mutex_t lock; /* guards the table and the flags of directories; taken before that of a log */
    struct log_entry *logs;
    pthread_mutex_t removal_lock; /* taken with any other lock held */
    struct removal *removals;
    struct chore chores[CHORES];
    struct cleaner *cleaner; /* NULL: log.cleaner.enable is off */
    bool started;
    atomic_int producer_expiration_ms; /* producer.id.expiration.ms, as it is now */
    atomic_bool clean_end_gone;        /* of a log that was deleted */
    pthread_mutex_t clean_end_lock;    /* one writes their checkpoint at a time */
};

/* ---- Directories ---- */

static bool lock_dir(struct data_dir *d, struct fail *fail)
{
    char *path = xasprintf("%s/.lock", d->path);
    d->lock_fd = file_lock(path);
    bool ok = d->lock_fd >= 0;
    if (!ok)
        fail_set(fail,
                 "Failed to acquire lock on file .lock in %s: %s. A Kafka instance in another process or "
                 "thread is using this directory.",
                 d->path, strerror(errno));
    free(path);
    return ok;
}

static bool open_dir(struct data_dir *d, const char *path, struct fail *fail)
{
    *d = (struct data_dir){.path = xstrdup(path), .lock_fd = -1};
    if (!dir_make(path))
        return fail_set(fail, "Cannot use log directory %s: %s", path, strerror(errno));
    return lock_dir(d, fail);
}

struct log_manager *log_manager_new(const struct log_manager_options *options, struct fail *fail)
{
    struct log_manager *m = xcalloc(1, sizeof(*m));
    m->options = *options;
    m->config = options->config;
    pthread_mutex_init(&m->lock, NULL);
    pthread_mutex_init(&m->removal_lock, NULL);
    pthread_mutex_init(&m->clean_end_lock, NULL);
    atomic_init(&m->clean_end_gone, false);
    atomic_init(&m->producer_expiration_ms, m->config->producer_id_expiration_ms);
    if (m->config->log_cleaner_enable)
        m->cleaner = cleaner_new(m, m->config);
    m->dirs = xcalloc((size_t)m->config->log_dirs.count, sizeof(*m->dirs));
    for (int i = 0; i < m->config->log_dirs.count; i++) {
        m->dir_count = i + 1;
        if (!open_dir(&m->dirs[i], m->config->log_dirs.items[i], fail)) {
            log_manager_free(m);
            return NULL;
        }
    }
    return m;
}

const char *log_manager_dir(const struct log_manager *m, int i)
{
    return i < m->dir_count ? m->dirs[i].path : NULL;
}

static struct data_dir *dir_of(struct log_manager *m, const char *root)
{
    for (int i = 0; i < m->dir_count; i++)
        if (strcmp(m->dirs[i].path, root) == 0)
            return &m->dirs[i];
    unreachable("a log outside of the log directories");
}

void manager_dir_failed(struct log_manager *m, const char *root, const char *what)
{
    struct data_dir *d = dir_of(m, root);
    pthread_mutex_lock(&m->lock);
    bool first = !d->failed;
    d->failed = true;
    pthread_mutex_unlock(&m->lock);
    if (first && m->options.dir_failed != NULL)
        m->options.dir_failed(m->options.ctx, root, what);
}

static bool dir_is_good(struct log_manager *m, struct data_dir *d)
{
    pthread_mutex_lock(&m->lock);
    bool good = !d->failed;
    pthread_mutex_unlock(&m->lock);
    return good;
}

/* ---- The table ---- */

static struct log_key key_of(const char *topic, int32_t partition)
{
    struct log_key key = {.partition = partition};
    snprintf(key.topic, sizeof(key.topic), "%s", topic);
    return key;
}

static struct log_entry *find_entry(struct log_manager *m, const char *topic, int32_t partition)
{
    struct log_key key = key_of(topic, partition);
    struct log_entry *e;
    HASH_FIND(hh, m->logs, &key, sizeof(key), e);
    return e;
}

static void add_log(struct log_manager *m, struct plog *log)
{
    struct log_entry *e = xcalloc(1, sizeof(*e));
    e->key = key_of(log->topic, log->partition);
    e->log = log;
    HASH_ADD(hh, m->logs, key, sizeof(e->key), e);
}

struct plog *log_manager_get(struct log_manager *m, const char *topic, int32_t partition)
{
    pthread_mutex_lock(&m->lock);
    struct log_entry *e = find_entry(m, topic, partition);
    if (e != NULL)
        plog_ref(e->log);
    pthread_mutex_unlock(&m->lock);
    return e != NULL ? e->log : NULL;
}

/* All logs, each with a reference, so that the table need not stay locked while they are worked on. */
static struct plog **snapshot_logs(struct log_manager *m, size_t *count)
{
    pthread_mutex_lock(&m->lock);
    struct plog **logs = xcalloc(HASH_COUNT(m->logs) + 1, sizeof(struct plog *));
    *count = 0;
    for (struct log_entry *e = m->logs; e != NULL; e = e->hh.next) {
        plog_ref(e->log);
        logs[(*count)++] = e->log;
    }
    pthread_mutex_unlock(&m->lock);
    return logs;
}

void log_manager_each(struct log_manager *m, void (*visit)(void *ctx, struct plog *log), void *ctx)
{
    size_t count;
    struct plog **logs = snapshot_logs(m, &count);
    for (size_t i = 0; i < count; i++) {
        visit(ctx, logs[i]);
        plog_unref(logs[i]);
    }
    free(logs);
}

/* ---- Loading ---- */

struct load_job {
    struct job job;
    struct log_manager *manager;
    struct data_dir *dir;
    char *topic;
    int32_t partition;
    atomic_int *failures;
};

/* Splits "topic-3" at its last dash. */
static bool parse_dir_name(const char *name, char **topic, int32_t *partition)
{
    const char *dash = strrchr(name, '-');
    char *end;
    if (dash == NULL || dash == name || dash[1] < '0' || dash[1] > '9')
        return false;
    errno = 0;
    long n = strtol(dash + 1, &end, 10);
    if (*end != '\0' || errno != 0 || n > INT32_MAX || dash - name > 249)
        return false;
    *topic = xstrndup(name, (size_t)(dash - name));
    *partition = (int32_t)n;
    return true;
}

static struct topic_config config_for(struct log_manager *m, const char *topic)
{
    struct topic_config config;
    topic_config_defaults(m->config, &config);
    if (m->options.topic_overrides != NULL)
        m->options.topic_overrides(m->options.ctx, topic, &config);
    return config;
}

static void run_load(struct job *job)
{
    struct load_job *l = CONTAINER_OF(job, struct load_job, job);
    struct data_dir *d = l->dir;
    struct plog_origin origin = {.recovery_point = offsets_file_find(&d->recovery, l->topic, l->partition),
                                 .start_offset = offsets_file_find(&d->start, l->topic, l->partition),
                                 .high_watermark = offsets_file_find(&d->hw, l->topic, l->partition),
                                 .clean_end = offsets_file_find(&d->cleaner, l->topic, l->partition),
                                 .clean = d->was_clean};
    struct topic_config config = config_for(l->manager, l->topic);
    struct plog *log = plog_load(l->manager, d->path, l->topic, l->partition, &config, &origin);
    if (log == NULL) {
        atomic_fetch_add(l->failures, 1);
    } else {
        log_debug("Loaded log %s with start %" PRId64 ", end %" PRId64, log->path, plog_start_offset(log),
                  plog_end_offset(log));
        pthread_mutex_lock(&l->manager->lock);
        add_log(l->manager, log);
        pthread_mutex_unlock(&l->manager->lock);
    }
    free(l->topic);
    free(l);
}

static void remove_dir_later(struct log_manager *m, const char *path)
{
    manager_remove_later(m, path, -1, m->config->log_segment_delete_delay_ms);
}

static void read_checkpoints(struct data_dir *d)
{
    static const char *const names[] = {recovery_file, start_file, hw_file, cleaner_file};
    struct offsets_file *files[] = {&d->recovery, &d->start, &d->hw, &d->cleaner};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char *path = xasprintf("%s/%s", d->path, names[i]);
        if (!offsets_file_read(path, files[i]))
            log_warn("Treating %s as empty", path);
        free(path);
    }
}

static void take_clean_mark(struct data_dir *d)
{
    char *mark = xasprintf("%s/%s", d->path, clean_mark);
    d->was_clean = file_exists(mark);
    if (d->was_clean) {
        log_info("Skipping recovery of logs in %s, as it was closed cleanly", d->path);
        file_remove(mark);
    } else {
        log_info("Recovering logs in %s, as no clean shutdown mark was found", d->path);
    }
    free(mark);
}

static bool has_suffix(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = strlen(suffix);
    return n > m && strcmp(s + n - m, suffix) == 0;
}

static void load_entry(struct log_manager *m, struct data_dir *d, const char *name, struct workers *pool,
                       atomic_int *failures)
{
    char *path = xasprintf("%s/%s", d->path, name);
    struct load_job *l = xcalloc(1, sizeof(*l));
    if (has_suffix(name, "-delete") && strchr(name, '.') != NULL) {
        remove_dir_later(m, path);
    } else if (has_suffix(name, "-future") || has_suffix(name, "-stray")) {
        log_warn("Leaving %s alone", path);
    } else if (name[0] != '.' && parse_dir_name(name, &l->topic, &l->partition)) {
        *l = (struct load_job){{.run = run_load}, m, d, l->topic, l->partition, failures};
        workers_submit(pool, &l->job);
        l = NULL;
    }
    free(l);
    free(path);
}

static bool load_dir(struct log_manager *m, struct data_dir *d, struct fail *fail)
{
    struct names names;
    atomic_int failures = 0;
    if (!dir_list(d->path, &names))
        return fail_set(fail, "Cannot read log directory %s: %s", d->path, strerror(errno));
    take_clean_mark(d);
    read_checkpoints(d);
    struct workers *pool = workers_new(MAX(m->config->num_recovery_threads_per_data_dir, 1));
    for (size_t i = 0; i < names.n; i++)
        load_entry(m, d, names.v[i], pool, &failures);
    workers_free(pool);
    names_free(&names);
    if (atomic_load(&failures) > 0)
        return fail_set(fail, "%d logs in %s could not be loaded; the log says why", atomic_load(&failures), d->path);
    return true;
}

bool log_manager_load(struct log_manager *m, struct fail *fail)
{
    int64_t start = clock_mono_ms();
    for (int i = 0; i < m->dir_count; i++)
        if (!load_dir(m, &m->dirs[i], fail))
            return false;
    log_info("Loaded %u logs in %" PRId64 " ms", HASH_COUNT(m->logs), clock_mono_ms() - start);
    return true;
}

/* ---- Opening and deleting ---- */

static struct data_dir *emptiest_dir(struct log_manager *m)
{
    struct data_dir *best = NULL;
    int fewest = INT32_MAX;
    for (int i = 0; i < m->dir_count; i++) {
        int count = 0;
        for (struct log_entry *e = m->logs; e != NULL; e = e->hh.next)
            count += e->log->root != NULL && strcmp(e->log->root, m->dirs[i].path) == 0;
        if (!m->dirs[i].failed && count < fewest) {
            fewest = count;
            best = &m->dirs[i];
        }
    }
    return best;
}

static struct plog *create_locked(struct log_manager *m, const char *topic, int32_t partition,
                                  const struct topic_config *config)
{
    struct data_dir *d = emptiest_dir(m);
    struct plog_origin fresh = {
        .recovery_point = -1, .start_offset = -1, .high_watermark = -1, .clean_end = -1, .clean = true};
    struct plog *log = d == NULL ? NULL : plog_load(m, d->path, topic, partition, config, &fresh);
    if (log != NULL) {
        add_log(m, log);
        log_info("Created log for partition %s-%" PRId32 " in %s", topic, partition, log->path);
    }
    return log;
}

enum kafka_error log_manager_open(struct log_manager *m, const char *topic, int32_t partition, struct uuid topic_id,
                                  const struct topic_config *config, struct plog **out)
{
    pthread_mutex_lock(&m->lock);
    struct log_entry *e = find_entry(m, topic, partition);
    *out = e != NULL ? e->log : create_locked(m, topic, partition, config);
    if (*out != NULL)
        plog_ref(*out);
    pthread_mutex_unlock(&m->lock);
    if (*out == NULL)
        return ERR_KAFKA_STORAGE_ERROR;
    enum kafka_error error = plog_adopt_topic_id(*out, topic_id);
    if (error != ERR_NONE) {
        plog_unref(*out);
        *out = NULL;
    }
    return error;
}

static char *delete_name(const struct plog *log)
{
    struct uuid id = uuid_random();
    char hex[33];
    for (size_t i = 0; i < sizeof(id.b); i++)
        snprintf(hex + 2 * i, 3, "%02x", id.b[i]);
    char tail[24];
    int tail_len = snprintf(tail, sizeof(tail), "-%" PRId32, log->partition);
    int room = LONGEST_FILE_NAME - DELETE_SUFFIX - tail_len;
    return xasprintf("%s/%.*s%s.%s-delete", log->root, room, log->topic, tail, hex);
}

enum kafka_error log_manager_delete(struct log_manager *m, struct plog *log)
{
    pthread_mutex_lock(&m->lock);
    struct log_entry *e = find_entry(m, log->topic, log->partition);
    if (e != NULL && e->log == log)
        HASH_DEL(m->logs, e);
    else
        e = NULL;
    pthread_mutex_unlock(&m->lock);
    if (e == NULL)
        return ERR_NONE;
    char *name = delete_name(log);
    pthread_mutex_lock(&log->lock);
    log->closed = true;
    if (log->clean_end >= 0)
        atomic_store(&m->clean_end_gone, true);
    bool ok = file_rename(log->path, name);
    if (ok) {
        free(log->path);
        log->path = xstrdup(name);
    }
    pthread_mutex_unlock(&log->lock);
    if (ok) {
        log_info("Log for partition %s-%" PRId32 " is renamed to %s and is scheduled for deletion", log->topic,
                 log->partition, name);
        remove_dir_later(m, name);
    } else {
        plog_failed(log, "cannot be deleted");
    }
    free(name);
    free(e);
    plog_unref(log);
    return ok ? ERR_NONE : ERR_KAFKA_STORAGE_ERROR;
}

static void configure(struct plog *log, const struct topic_config *config)
{
    pthread_mutex_lock(&log->lock);
    log->config = *config;
    pthread_mutex_unlock(&log->lock);
}

void log_manager_configure(struct log_manager *m, const char *topic, const struct topic_config *config)
{
    pthread_mutex_lock(&m->lock);
    for (struct log_entry *e = m->logs; e != NULL; e = e->hh.next)
        if (strcmp(e->log->topic, topic) == 0)
            configure(e->log, config);
    pthread_mutex_unlock(&m->lock);
}

void log_manager_configure_all(struct log_manager *m)
{
    pthread_mutex_lock(&m->lock);
    for (struct log_entry *e = m->logs; e != NULL; e = e->hh.next) {
        struct topic_config config;
        m->options.topic_overrides(m->options.ctx, e->log->topic, &config);
        configure(e->log, &config);
    }
    pthread_mutex_unlock(&m->lock);
}

void manager_remove_later(struct log_manager *m, const char *dir, int64_t base, int64_t delay_ms)
{
    struct removal *r = xcalloc(1, sizeof(*r));
    *r = (struct removal){.dir = xstrdup(dir), .base = base, .due = clock_mono_ms() + delay_ms};
    pthread_mutex_lock(&m->removal_lock);
    LL_PREPEND(m->removals, r);
    pthread_mutex_unlock(&m->removal_lock);
}

static struct removal *take_due_removal(struct log_manager *m)
{
    int64_t now = clock_mono_ms();
    pthread_mutex_lock(&m->removal_lock);
    struct removal *r = m->removals;
    while (r != NULL && r->due > now)
        r = r->next;
    if (r != NULL)
        LL_DELETE(m->removals, r);
    pthread_mutex_unlock(&m->removal_lock);
    return r;
}

static void removal_free(struct removal *r)
{
    free(r->dir);
    free(r);
}

static void run_removals(struct log_manager *m)
{
    for (struct removal *r; (r = take_due_removal(m)) != NULL; removal_free(r)) {
        bool ok = r->base < 0 ? dir_remove_tree(r->dir) : segment_delete_files(r->base, r->dir, ".deleted");
        if (ok && r->base < 0)
            log_info("Deleted %s", r->dir);
    }
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
    struct plog *log = f->log;
    struct file_ref *files[8];
    int64_t bases[ARRAY_LEN(files)];
    size_t n = 0;
    bool ok = true;
    /* The disk is waited for without the lock; the files cannot go away under their references. */
    pthread_mutex_lock(&log->lock);
    for (size_t i = plog_segment_index(log, log->recovery_point); i < log->segment_count && n < ARRAY_LEN(files); i++) {
        struct segment *s = log->segments[i];
        if (s->base_offset >= f->up_to)
            break;
        if (s->file != NULL) {
            file_ref_get(s->file);
            bases[n] = s->base_offset;
            files[n++] = s->file;
        }
    }
    bool all = n < ARRAY_LEN(files);
    pthread_mutex_unlock(&log->lock);
    for (size_t i = 0; i < n; i++) {
        ok = file_sync(files[i]->fd, log->path) && segment_sync_indexes(bases[i], log->path) && ok;
        file_ref_put(files[i]);
    }
    pthread_mutex_lock(&log->lock);
    ok = ok && plog_save_epochs(log);
    if (ok && all && f->cuts == log->cuts)
        log->recovery_point = MAX(log->recovery_point, f->up_to);
    pthread_mutex_unlock(&log->lock);
    if (!ok)
        plog_failed(log, "flush failed");
    plog_unref(log);
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

/* ---- Checkpoints ---- */

static int64_t recovery_point_of(struct plog *log)
{
    pthread_mutex_lock(&log->lock);
    int64_t point = log->recovery_point;
    pthread_mutex_unlock(&log->lock);
    return point;
}

/* Only logs that do not start with a segment need a line. */
static int64_t start_to_note(struct plog *log)
{
    pthread_mutex_lock(&log->lock);
    int64_t start = atomic_load(&log->start), base = log->segments[0]->base_offset;
    pthread_mutex_unlock(&log->lock);
    return start > base ? start : -1;
}

static int64_t hw_of(struct plog *log)
{
    return plog_high_watermark(log);
}

static void write_checkpoint(struct log_manager *m, const char *name, int64_t (*value)(struct plog *log))
{
    size_t count;
    struct plog **logs = snapshot_logs(m, &count);
    for (int d = 0; d < m->dir_count; d++) {
        struct offsets_file f = {0};
        if (!dir_is_good(m, &m->dirs[d]))
            continue;
        for (size_t i = 0; i < count; i++) {
            int64_t v = strcmp(logs[i]->root, m->dirs[d].path) == 0 ? value(logs[i]) : -1;
            if (v >= 0)
                offsets_file_add(&f, logs[i]->topic, logs[i]->partition, v);
        }
        char *path = xasprintf("%s/%s", m->dirs[d].path, name);
        if (!offsets_file_write(path, &f))
            manager_dir_failed(m, m->dirs[d].path, "cannot write a checkpoint");
        free(path);
        offsets_file_free(&f);
    }
    for (size_t i = 0; i < count; i++)
        plog_unref(logs[i]);
    free(logs);
}

static void write_recovery_points(struct log_manager *m)
{
    write_checkpoint(m, recovery_file, recovery_point_of);
}

static void write_starts(struct log_manager *m)
{
    write_checkpoint(m, start_file, start_to_note);
}

static void write_hws(struct log_manager *m)
{
    write_checkpoint(m, hw_file, hw_of);
}

static int64_t take_clean_end(struct plog *log)
{
    pthread_mutex_lock(&log->lock);
    int64_t end = log->clean_end;
    log->clean_end_unsaved = false;
    pthread_mutex_unlock(&log->lock);
    return end;
}

static void find_unsaved(void *ctx, struct plog *log)
{
    pthread_mutex_lock(&log->lock);
    *(bool *)ctx |= log->clean_end_unsaved;
    pthread_mutex_unlock(&log->lock);
}

void manager_save_clean_ends(struct log_manager *m)
{
    pthread_mutex_lock(&m->clean_end_lock);
    bool unsaved = atomic_exchange(&m->clean_end_gone, false);
    log_manager_each(m, find_unsaved, &unsaved);
    if (unsaved)
        write_checkpoint(m, cleaner_file, take_clean_end);
    pthread_mutex_unlock(&m->clean_end_lock);
}

void log_manager_write_checkpoints(struct log_manager *m)
{
    write_recovery_points(m);
    write_starts(m);
    write_hws(m);
}

/* ---- Chores ---- */

static void retain_one(void *ctx, struct plog *log)
{
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

void log_manager_take_settings(struct log_manager *m, const struct broker_config *now)
{
    atomic_store(&m->producer_expiration_ms, now->producer_id_expiration_ms);
    if (m->cleaner != NULL)
        cleaner_configure(m->cleaner, now);
}

static void flush_if_due(void *ctx UNUSED, struct plog *log)
{
    pthread_mutex_lock(&log->lock);
    bool due = clock_mono_ms() - log->last_flush_ms >= log->config.flush_ms;
    pthread_mutex_unlock(&log->lock);
    if (due)
        plog_flush(log);
}

static void flush_due_logs(struct log_manager *m)
{
    log_manager_each(m, flush_if_due, NULL);
}

static void expire_one(void *ctx, struct plog *log)
{
    pthread_mutex_lock(&log->lock);
    producers_expire(&log->producers, *(int64_t *)ctx);
    pthread_mutex_unlock(&log->lock);
}

static void expire_producers(struct log_manager *m)
{
    int64_t since = clock_wall_ms() - atomic_load(&m->producer_expiration_ms);
    log_manager_each(m, expire_one, &since);
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
    chore_start(m, CHORE_RETENTION, FIRST_RETENTION_MS, c->log_retention_check_interval_ms, log_manager_run_retention);
    chore_start(m, CHORE_RECOVERY_POINTS, c->log_flush_offset_checkpoint_interval_ms,
                c->log_flush_offset_checkpoint_interval_ms, write_recovery_points);
    chore_start(m, CHORE_STARTS, c->log_flush_start_offset_checkpoint_interval_ms,
                c->log_flush_start_offset_checkpoint_interval_ms, write_starts);
    chore_start(m, CHORE_HW, c->replica_high_watermark_checkpoint_interval_ms,
                c->replica_high_watermark_checkpoint_interval_ms, write_hws);
    if (c->log_flush_scheduler_interval_ms < INT32_MAX)
        chore_start(m, CHORE_FLUSH, c->log_flush_scheduler_interval_ms, c->log_flush_scheduler_interval_ms,
                    flush_due_logs);
    chore_start(m, CHORE_PRODUCERS, c->producer_id_expiration_check_interval_ms,
                c->producer_id_expiration_check_interval_ms, expire_producers);
    chore_start(m, CHORE_REMOVAL, REMOVAL_CHECK_MS, REMOVAL_CHECK_MS, run_removals);
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

struct closing {
    struct job job;
    struct log_manager *manager;
    struct plog *log; /* with a reference */
};

static void close_one(struct job *job)
{
    struct closing *c = CONTAINER_OF(job, struct closing, job);
    if (!plog_close(c->log))
        manager_dir_failed(c->manager, c->log->root, "cannot be closed cleanly");
    plog_unref(c->log);
    free(c);
}

/* Many at once: a disk's journal takes the syncs of all together. */
static void close_all(struct log_manager *m)
{
    size_t count;
    struct plog **logs = snapshot_logs(m, &count);
    struct workers *w = workers_new((int)MIN(MAX(count, (size_t)1), (size_t)MOST_CLOSERS));
    for (size_t i = 0; i < count; i++) {
        struct closing *c = xcalloc(1, sizeof(*c));
        *c = (struct closing){{.run = close_one}, m, logs[i]};
        workers_submit(w, &c->job);
    }
    workers_free(w);
    free(logs);
}

void log_manager_close(struct log_manager *m)
{
    cleaner_free(m->cleaner);
    m->cleaner = NULL;
    close_all(m);
    log_manager_write_checkpoints(m);
    manager_save_clean_ends(m);
    for (int i = 0; i < m->dir_count; i++) {
        if (!dir_is_good(m, &m->dirs[i]))
            continue;
        char *mark = xasprintf("%s/%s", m->dirs[i].path, clean_mark);
        if (!file_replace(mark, clean_mark_text, sizeof(clean_mark_text) - 1))
            log_error("Without %s the next start will check all logs", mark);
        free(mark);
    }
}

static void dir_deinit(struct data_dir *d)
{
    if (d->lock_fd >= 0) {
        char *lock = xasprintf("%s/.lock", d->path);
        file_remove(lock);
        free(lock);
        file_close(d->lock_fd);
    }
    offsets_file_free(&d->recovery);
    offsets_file_free(&d->start);
    offsets_file_free(&d->hw);
    offsets_file_free(&d->cleaner);
    free(d->path);
}

void log_manager_free(struct log_manager *m)
{
    if (m == NULL)
        return;
    cleaner_free(m->cleaner);
    struct log_entry *e, *tmp;
    HASH_ITER (hh, m->logs, e, tmp) {
        HASH_DEL(m->logs, e);
        plog_unref(e->log);
        free(e);
    }
    while (m->removals != NULL) {
        struct removal *r = m->removals;
        LL_DELETE(m->removals, r);
        removal_free(r);
    }
    for (int i = 0; i < m->dir_count; i++)
        dir_deinit(&m->dirs[i]);
    free(m->dirs);
    pthread_mutex_destroy(&m->clean_end_lock);
    pthread_mutex_destroy(&m->removal_lock);
    pthread_mutex_destroy(&m->lock);
    free(m);
}
