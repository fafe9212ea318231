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
#include "storage/log_dir_internal.h"
#include "storage/plog_internal.h"

enum {
    FIRST_RETENTION_MS = 30000,
    REMOVAL_CHECK_MS = 1000,
    LONGEST_FILE_NAME = 255,
    MOST_CLOSERS = 16,          /* threads that close logs */
    DELETE_SUFFIX = 1 + 32 + 7, /* ".", 32 hex digits, "-delete" */
    FUTURE_SUFFIX = 1 + 32 + 7, /* the same with "-future" */
};

struct log_key {
    int32_t partition;
    int32_t future;  /* bool; without padding */
    char topic[252]; /* zero-filled: the whole key is hashed */
};

struct log_entry {
    struct log_key key;
    struct plog *log;
    UT_hash_handle hh;
};

struct preference { /* where a log is to be created */
    struct log_key key;
    struct log_dir *dir;
    UT_hash_handle hh;
};

/* A file or directory that goes when its time has come. */
struct removal {
    char *dir;
    struct plog *log; /* a reference to the one in it, if it is a whole log that was deleted while it was in use */
    int64_t base;     /* of a segment's ".deleted" files; -1: the whole directory */
    int64_t due;      /* monotonic */
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
    struct log_dir *dirs;
    int dir_count;
    pthread_mutex_t lock; /* guards the tables; taken before that of a log */
    struct log_entry *logs;
    struct preference *preferences;
    pthread_mutex_t removal_lock; /* taken with any other lock held */
    struct removal *removals;
    struct chore chores[CHORES];
    struct cleaner *cleaner; /* NULL: log.cleaner.enable is off */
    bool started;
    atomic_bool clean_end_gone;     /* of a log that was deleted */
    pthread_mutex_t clean_end_lock; /* one writes their checkpoint at a time */
};

/* ---- Directories ---- */

static struct log_dir *find_dir(struct log_manager *m, const char *path)
{
    for (int i = 0; i < m->dir_count; i++)
        if (strcmp(m->dirs[i].path, path) == 0)
            return &m->dirs[i];
    return NULL;
}

static bool has_offline_dir(const struct log_manager *m)
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

static bool is_listed_once(struct log_manager *m, const struct log_dir *d, struct fail *fail)
{
    return find_dir(m, d->path) == d || fail_set(fail, "Duplicate log directory found: %s", d->path);
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
    if (m->config->log_cleaner_enable)
        m->cleaner = cleaner_new(m, m->config);
    m->dirs = xcalloc((size_t)m->config->log_dirs.count, sizeof(*m->dirs));
    for (int i = 0; i < m->config->log_dirs.count; i++) {
        m->dir_count = i + 1;
        if (!log_dir_open(&m->dirs[i], m->config->log_dirs.items[i], fail) || !is_listed_once(m, &m->dirs[i], fail)) {
            log_manager_free(m);
            return NULL;
        }
    }
    if (log_manager_need_live_dir(m, fail))
        return m;
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

/* ---- Whose they are ---- */

static bool check_identity(const struct meta_properties *one, const char *path, struct meta_properties *known,
                           struct fail *fail)
{
    if (one->cluster_id[0] && known->cluster_id[0] && strcmp(one->cluster_id, known->cluster_id) != 0)
        return fail_set(fail,
                        "Invalid cluster.id in: %s. Expected %s, but read %s: the directory is of another cluster, or "
                        "zookeeper.connect names another one.",
                        path, known->cluster_id, one->cluster_id);
    if (one->broker_id >= 0 && known->broker_id >= 0 && one->broker_id != known->broker_id)
        return fail_set(fail,
                        "Stored node id %" PRId32 " doesn't match previous node id %" PRId32
                        " in %s: broker.id must be that of the data, and the same in all log directories.",
                        one->broker_id, known->broker_id, path);
    if (one->cluster_id[0])
        snprintf(known->cluster_id, sizeof(known->cluster_id), "%s", one->cluster_id);
    if (one->broker_id >= 0)
        known->broker_id = one->broker_id;
    return true;
}

static bool read_identity(struct log_manager *m, struct log_dir *d, struct meta_properties *known, struct fail *fail)
{
    char *path = xasprintf("%s/meta.properties", d->path);
    bool ok = true;
    switch (meta_properties_read(path, &d->meta)) {
    case META_READ:
        d->identified = true;
        ok = check_identity(&d->meta, path, known, fail);
        break;
    case META_MISSING:
        break;
    case META_UNREADABLE:
        manager_dir_failed(m, d->path, "its meta.properties cannot be read");
        break;
    case META_WRONG_VERSION:
        ok = fail_set(fail, "Found unexpected version in %s. Brokers with ZooKeeper have version 0.", path);
        break;
    }
    free(path);
    return ok;
}

bool log_manager_identity(struct log_manager *m, const struct meta_properties *expected, struct meta_properties *out,
                          struct fail *fail)
{
    *out = *expected;
    for (int i = 0; i < m->dir_count; i++)
        if (log_dir_is_live(&m->dirs[i]) && !read_identity(m, &m->dirs[i], out, fail))
            return false;
    return log_manager_need_live_dir(m, fail);
}

static bool says(const struct log_dir *d, const struct meta_properties *meta)
{
    return d->identified && d->meta.broker_id == meta->broker_id && strcmp(d->meta.cluster_id, meta->cluster_id) == 0;
}

bool log_manager_identify(struct log_manager *m, const struct meta_properties *meta, struct fail *fail)
{
    for (int i = 0; i < m->dir_count; i++) {
        struct log_dir *d = &m->dirs[i];
        if (!log_dir_is_live(d) || says(d, meta))
            continue;
        char *path = xasprintf("%s/meta.properties", d->path);
        if (!meta_properties_write(path, meta))
            manager_dir_failed(m, d->path, "its meta.properties cannot be written");
        free(path);
    }
    return log_manager_need_live_dir(m, fail);
}

/* ---- The table ---- */

static struct log_key key_of(const char *topic, int32_t partition, bool future)
{
    struct log_key key = {.partition = partition, .future = future};
    snprintf(key.topic, sizeof(key.topic), "%s", topic);
    return key;
}

static struct log_entry *find_entry(struct log_manager *m, const char *topic, int32_t partition, bool future)
{
    struct log_key key = key_of(topic, partition, future);
    struct log_entry *e;
    HASH_FIND(hh, m->logs, &key, sizeof(key), e);
    return e;
}

/* The entry of this very log; NULL if it is not in the table. */
static struct log_entry *entry_of(struct log_manager *m, const struct plog *log)
{
    struct log_entry *e = find_entry(m, log->topic, log->partition, plog_is_future(log));
    return e != NULL && e->log == log ? e : NULL;
}

static void add_log(struct log_manager *m, struct plog *log)
{
    struct log_entry *e = xcalloc(1, sizeof(*e));
    e->key = key_of(log->topic, log->partition, plog_is_future(log));
    e->log = log;
    HASH_ADD(hh, m->logs, key, sizeof(e->key), e);
}

static struct plog *get_log(struct log_manager *m, const char *topic, int32_t partition, bool future)
{
    pthread_mutex_lock(&m->lock);
    struct log_entry *e = find_entry(m, topic, partition, future);
    struct plog *log = e != NULL ? e->log : NULL;
    if (log != NULL)
        plog_ref(log);
    pthread_mutex_unlock(&m->lock);
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
    struct log_dir *dir;
    char *topic, *name; /* `name` of a future log's directory, else NULL */
    int32_t partition;
    atomic_bool *twice; /* some log was found in two directories */
};

/* Splits "topic-3" at its last dash; of `len` bytes. */
static bool parse_dir_name(const char *name, size_t len, char **topic, int32_t *partition)
{
    const char *dash = memrchr(name, '-', len);
    char *end;
    if (dash == NULL || dash == name || dash[1] < '0' || dash[1] > '9')
        return false;
    errno = 0;
    long n = strtol(dash + 1, &end, 10);
    if (end != name + len || errno != 0 || n > INT32_MAX || dash - name > 249)
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

static void take_loaded(struct load_job *l, struct plog *log)
{
    log_debug("Loaded log %s with start %" PRId64 ", end %" PRId64, log->path, plog_start_offset(log),
              plog_end_offset(log));
    pthread_mutex_lock(&l->manager->lock);
    struct log_entry *other = find_entry(l->manager, log->topic, log->partition, plog_is_future(log));
    if (other == NULL)
        add_log(l->manager, log);
    pthread_mutex_unlock(&l->manager->lock);
    if (other == NULL)
        return;
    log_error("Duplicate log directories for %s-%" PRId32 " are found in both %s and %s", log->topic, log->partition,
              other->log->path, log->path);
    atomic_store(l->twice, true);
    plog_unref(log);
}

static void run_load(struct job *job)
{
    struct load_job *l = CONTAINER_OF(job, struct load_job, job);
    struct log_dir *d = l->dir;
    struct plog_origin origin = {.recovery_point = offsets_file_find(&d->recovery, l->topic, l->partition),
                                 .start_offset = offsets_file_find(&d->start, l->topic, l->partition),
                                 .high_watermark = offsets_file_find(&d->hw, l->topic, l->partition),
                                 .clean_end = offsets_file_find(&d->cleaner, l->topic, l->partition),
                                 .clean = d->was_clean,
                                 .name = l->name};
    struct topic_config config = config_for(l->manager, l->topic);
    struct plog *log =
        log_dir_is_live(d) ? plog_load(l->manager, d->path, l->topic, l->partition, &config, &origin) : NULL;
    if (log != NULL)
        take_loaded(l, log);
    else
        manager_dir_failed(l->manager, d->path, "a log cannot be loaded");
    free(l->topic);
    free(l->name);
    free(l);
}

static void add_removal(struct log_manager *m, struct removal what, int64_t delay_ms)
{
    struct removal *r = xcalloc(1, sizeof(*r));
    *r = what;
    r->due = clock_mono_ms() + delay_ms;
    pthread_mutex_lock(&m->removal_lock);
    LL_PREPEND(m->removals, r);
    pthread_mutex_unlock(&m->removal_lock);
}

/* `log` is in it, and let go of then; NULL: it was not loaded. */
static void remove_dir_later(struct log_manager *m, const char *path, struct plog *log)
{
    if (log != NULL)
        plog_ref(log);
    add_removal(m, (struct removal){.dir = xstrdup(path), .log = log, .base = -1},
                m->config->log_segment_delete_delay_ms);
}

static bool has_suffix(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = strlen(suffix);
    return n > m && strcmp(s + n - m, suffix) == 0;
}

/* "topic-3.0123...-future"; its time has come when its partition is led or followed again. */
static bool parse_future_name(const char *name, struct load_job *l)
{
    size_t n = strlen(name), tail = FUTURE_SUFFIX;
    if (!has_suffix(name, "-future") || n <= tail || name[n - tail] != '.' ||
        !parse_dir_name(name, n - tail, &l->topic, &l->partition))
        return false;
    l->name = xstrdup(name);
    return true;
}

static void load_entry(struct log_manager *m, struct log_dir *d, const char *name, struct workers *pool,
                       atomic_bool *twice)
{
    char *path = xasprintf("%s/%s", d->path, name);
    struct load_job *l = xcalloc(1, sizeof(*l));
    *l = (struct load_job){.job = {.run = run_load}, .manager = m, .dir = d, .twice = twice};
    if (has_suffix(name, "-delete") && strchr(name, '.') != NULL) {
        remove_dir_later(m, path, NULL);
    } else if (has_suffix(name, "-stray")) {
        log_warn("Leaving %s alone", path);
    } else if (name[0] != '.' &&
               (parse_future_name(name, l) || parse_dir_name(name, strlen(name), &l->topic, &l->partition))) {
        workers_submit(pool, &l->job);
        l = NULL;
    }
    free(l);
    free(path);
}

static void load_dir(struct log_manager *m, struct log_dir *d, atomic_bool *twice)
{
    struct names names;
    if (!dir_list(d->path, &names)) {
        manager_dir_failed(m, d->path, "it cannot be read");
        return;
    }
    if (log_dir_begin_load(d)) {
        struct workers *pool = workers_new(MAX(m->config->num_recovery_threads_per_data_dir, 1));
        for (size_t i = 0; i < names.n; i++)
            load_entry(m, d, names.v[i], pool, twice);
        workers_free(pool);
    } else {
        manager_dir_failed(m, d->path, "its mark of a clean shutdown cannot be taken away");
    }
    names_free(&names);
}

bool log_manager_load(struct log_manager *m, struct fail *fail)
{
    int64_t start = clock_mono_ms();
    atomic_bool twice = false;
    for (int i = 0; i < m->dir_count; i++) {
        struct log_dir *d = &m->dirs[i];
        if (log_dir_is_live(d))
            load_dir(m, d, &twice);
        if (!log_dir_is_live(d))
            log_manager_abandon_dir(m, d->path);
    }
    if (atomic_load(&twice))
        return fail_set(fail,
                        "A log is in two directories: one of them must be taken away by hand. Perhaps a directory "
                        "failed while a replica was moved from one to the other.");
    log_info("Loaded %u logs in %" PRId64 " ms", HASH_COUNT(m->logs), clock_mono_ms() - start);
    return log_manager_need_live_dir(m, fail);
}

/* ---- Directories that have failed ---- */

static struct plog **take_logs_in(struct log_manager *m, const char *dir, size_t *count)
{
    struct log_entry *e, *tmp;
    pthread_mutex_lock(&m->lock);
    struct plog **logs = xcalloc(HASH_COUNT(m->logs) + 1, sizeof(struct plog *));
    *count = 0;
    HASH_ITER (hh, m->logs, e, tmp) {
        if (strcmp(e->log->root, dir) != 0)
            continue;
        HASH_DEL(m->logs, e);
        logs[(*count)++] = e->log;
        free(e);
    }
    pthread_mutex_unlock(&m->lock);
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

/* ---- Opening and deleting ---- */

static struct log_dir *emptiest_dir(struct log_manager *m)
{
    struct log_dir *best = NULL;
    int fewest = INT32_MAX;
    for (int i = 0; i < m->dir_count; i++) {
        int count = 0;
        for (struct log_entry *e = m->logs; e != NULL; e = e->hh.next)
            count += e->log->home == &m->dirs[i];
        if (log_dir_is_live(&m->dirs[i]) && count < fewest) {
            fewest = count;
            best = &m->dirs[i];
        }
    }
    return best;
}

static struct plog *create_in(struct log_manager *m, struct log_dir *d, const char *topic, int32_t partition,
                              const struct topic_config *config, const char *name)
{
    struct plog_origin fresh = {
        .recovery_point = -1, .start_offset = -1, .high_watermark = -1, .clean_end = -1, .clean = true, .name = name};
    struct plog *log = log_dir_is_live(d) ? plog_load(m, d->path, topic, partition, config, &fresh) : NULL;
    if (log == NULL) {
        manager_dir_failed(m, d->path, "a log cannot be created");
        return NULL;
    }
    add_log(m, log);
    log_info("Created log for partition %s-%" PRId32 " in %s", topic, partition, log->path);
    return log;
}

static struct log_dir *take_preference(struct log_manager *m, const char *topic, int32_t partition)
{
    struct log_key key = key_of(topic, partition, false);
    struct preference *p;
    HASH_FIND(hh, m->preferences, &key, sizeof(key), p);
    if (p == NULL)
        return NULL;
    struct log_dir *d = p->dir;
    HASH_DEL(m->preferences, p);
    free(p);
    return d;
}

/* With the lock held. A directory in which it cannot be made is offline, and the next one tried. */
static struct plog *create_log(struct log_manager *m, const char *topic, int32_t partition,
                               const struct topic_config *config)
{
    struct plog *log = NULL;
    struct log_dir *d = take_preference(m, topic, partition);
    if (d != NULL)
        return create_in(m, d, topic, partition, config, NULL);
    while (log == NULL && (d = emptiest_dir(m)) != NULL)
        log = create_in(m, d, topic, partition, config, NULL);
    return log;
}

enum kafka_error log_manager_open(struct log_manager *m, const char *topic, int32_t partition, struct uuid topic_id,
                                  bool is_new, const struct topic_config *config, struct plog **out)
{
    pthread_mutex_lock(&m->lock);
    struct log_entry *e = find_entry(m, topic, partition, false);
    *out = NULL;
    if (e != NULL)
        *out = e->log;
    else if (is_new || !has_offline_dir(m))
        *out = create_log(m, topic, partition, config);
    if (*out != NULL)
        plog_ref(*out);
    pthread_mutex_unlock(&m->lock);
    if (*out == NULL)
        return ERR_KAFKA_STORAGE_ERROR;
    enum kafka_error error = plog_adopt_topic_id(*out, topic_id);
    if (error == ERR_KAFKA_STORAGE_ERROR)
        plog_failed(*out, "its topic id cannot be written");
    if (error != ERR_NONE) {
        plog_unref(*out);
        *out = NULL;
    }
    return error;
}

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
    int tail_len = snprintf(tail, sizeof(tail), "-%" PRId32, log->partition);
    int room = LONGEST_FILE_NAME - DELETE_SUFFIX - tail_len;
    return xasprintf("%s/%.*s%s.%s-delete", log->root, room, log->topic, tail, hex);
}

/* Gives its directory that name, on the disk and here. */
static bool move_log(struct plog *log, const char *name)
{
    pthread_mutex_lock(&log->lock);
    bool ok = file_rename(log->path, name);
    if (ok) {
        free(log->path);
        log->path = xstrdup(name);
    }
    pthread_mutex_unlock(&log->lock);
    return ok;
}

/* After it was taken out of the table. */
static enum kafka_error delete_later(struct log_manager *m, struct plog *log)
{
    pthread_mutex_lock(&log->lock);
    log->closed = true;
    if (log->clean_end >= 0)
        atomic_store(&m->clean_end_gone, true);
    pthread_mutex_unlock(&log->lock);
    char *name = delete_name(log);
    bool ok = move_log(log, name);
    if (ok) {
        log_info("Log for partition %s-%" PRId32 " is renamed to %s and is scheduled for deletion", log->topic,
                 log->partition, name);
        remove_dir_later(m, name, log);
    } else {
        manager_dir_failed(m, log->root, "a log cannot be deleted");
    }
    free(name);
    return ok ? ERR_NONE : ERR_KAFKA_STORAGE_ERROR;
}

enum kafka_error log_manager_delete(struct log_manager *m, struct plog *log)
{
    pthread_mutex_lock(&m->lock);
    struct log_entry *e = entry_of(m, log);
    if (e != NULL)
        HASH_DEL(m->logs, e);
    pthread_mutex_unlock(&m->lock);
    if (e == NULL)
        return ERR_NONE;
    enum kafka_error error = delete_later(m, log);
    free(e);
    plog_unref(log);
    return error;
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
    pthread_mutex_lock(&m->lock);
    take_preference(m, topic, partition);
    p->key = key_of(topic, partition, false);
    p->dir = manager_dir(m, dir);
    HASH_ADD(hh, m->preferences, key, sizeof(p->key), p);
    pthread_mutex_unlock(&m->lock);
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
    int len = future_name(name, sizeof(name), current->topic, current->partition);
    ensure(len <= LONGEST_FILE_NAME && strcmp(dir, current->root) != 0);
    pthread_mutex_lock(&m->lock);
    struct log_entry *e = find_entry(m, current->topic, current->partition, true);
    *out = NULL;
    if (e == NULL && !has_offline_dir(m))
        *out = create_in(m, manager_dir(m, dir), current->topic, current->partition, &config, name);
    if (*out != NULL)
        plog_ref(*out);
    pthread_mutex_unlock(&m->lock);
    return *out != NULL ? plog_adopt_topic_id(*out, plog_topic_id(current)) : ERR_KAFKA_STORAGE_ERROR;
}

/* With the manager's lock held: it is compacted from where the old one was. */
static void take_over(struct log_entry *current, struct log_entry *future)
{
    struct plog *old = current->log, *log = future->log;
    pthread_mutex_lock(&old->lock);
    int64_t clean_end = old->clean_end;
    old->closed = true;
    pthread_mutex_unlock(&old->lock);
    pthread_mutex_lock(&log->lock);
    log->clean_end = clean_end;
    log->clean_end_unsaved = clean_end >= 0;
    atomic_store(&log->future, false);
    pthread_mutex_unlock(&log->lock);
    current->log = log;
    free(future);
}

enum kafka_error log_manager_promote(struct log_manager *m, struct plog *current, struct plog *future)
{
    char *name = xasprintf("%s/%s-%" PRId32, future->root, future->topic, future->partition);
    bool ok = false;
    pthread_mutex_lock(&m->lock);
    struct log_entry *from = entry_of(m, current), *to = entry_of(m, future);
    if (from != NULL && to != NULL && !plog_is_offline(future)) {
        ok = move_log(future, name);
        if (ok) {
            HASH_DEL(m->logs, to);
            take_over(from, to);
        } else {
            manager_dir_failed(m, future->root, "a log cannot be renamed");
        }
    }
    pthread_mutex_unlock(&m->lock);
    free(name);
    return ok ? ERR_NONE : ERR_KAFKA_STORAGE_ERROR;
}

/* The new name is to be on the disk before the old one goes. */
void log_manager_retire(struct log_manager *m, struct plog *old, struct plog *successor)
{
    if (dir_sync(successor->root))
        delete_later(m, old);
    else
        manager_dir_failed(m, successor->root, "it cannot be synced");
    plog_unref(old); /* the table's */
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
    add_removal(m, (struct removal){.dir = xstrdup(dir), .base = base}, delay_ms);
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
    plog_unref(r->log);
    free(r);
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

static void remove_now(struct log_manager *m, const struct removal *r)
{
    struct log_dir *d = dir_around(m, r->dir);
    if (r->log != NULL)
        plog_abandon(r->log);
    if (!log_dir_is_live(d) || !file_exists(r->dir))
        return;
    bool whole = r->base < 0;
    if (!(whole ? dir_remove_tree(r->dir) : segment_delete_files(r->base, r->dir, ".deleted")))
        manager_dir_failed(m, d->path, "files cannot be deleted");
    else if (whole)
        log_info("Deleted %s", r->dir);
}

static void run_removals(struct log_manager *m)
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
    char *dir = xstrdup(log->path);
    pthread_mutex_unlock(&log->lock);
    for (size_t i = 0; i < n; i++) {
        ok = file_sync(files[i]->fd, dir) && segment_sync_indexes(bases[i], dir) && ok;
        file_ref_put(files[i]);
    }
    pthread_mutex_lock(&log->lock);
    bool same = strcmp(dir, log->path) == 0; /* else its indexes were not where they were looked for */
    free(dir);
    ok = ok && (!plog_is_writable(log) || plog_save_epochs(log));
    if (ok && all && same && f->cuts == log->cuts)
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
    int64_t start = atomic_load(&log->start), base = log->segment_count > 0 ? log->segments[0]->base_offset : start;
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
        if (!log_dir_is_live(&m->dirs[d]))
            continue;
        for (size_t i = 0; i < count; i++) {
            int64_t v = logs[i]->home == &m->dirs[d] ? value(logs[i]) : -1;
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
    write_checkpoint(m, CHECKPOINT_RECOVERY, recovery_point_of);
}

static void write_starts(struct log_manager *m)
{
    write_checkpoint(m, CHECKPOINT_START, start_to_note);
}

static void write_hws(struct log_manager *m)
{
    write_checkpoint(m, CHECKPOINT_HW, hw_of);
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
        write_checkpoint(m, CHECKPOINT_CLEANER, take_clean_end);
    pthread_mutex_unlock(&m->clean_end_lock);
}

void log_manager_write_checkpoints(struct log_manager *m)
{
    write_recovery_points(m);
    write_starts(m);
    write_hws(m);
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

void log_manager_configure_cleaner(struct log_manager *m, const struct broker_config *now)
{
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
    int64_t since = clock_wall_ms() - m->config->producer_id_expiration_ms;
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
    for (int i = 0; i < m->dir_count; i++)
        if (log_dir_is_live(&m->dirs[i]) && !log_dir_mark_clean(&m->dirs[i]))
            log_warn("The next start will check all logs in %s", m->dirs[i].path);
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
    struct preference *p, *next;
    HASH_ITER (hh, m->preferences, p, next) {
        HASH_DEL(m->preferences, p);
        free(p);
    }
    while (m->removals != NULL) {
        struct removal *r = m->removals;
        LL_DELETE(m->removals, r);
        removal_free(r);
    }
    for (int i = 0; i < m->dir_count; i++)
        log_dir_deinit(&m->dirs[i]);
    free(m->dirs);
    pthread_mutex_destroy(&m->clean_end_lock);
    pthread_mutex_destroy(&m->removal_lock);
    pthread_mutex_destroy(&m->lock);
    free(m);
}
