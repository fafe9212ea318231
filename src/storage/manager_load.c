/*
 * Starting: whose the log directories are, and loading what is in them.
 *
 *     identity   what the directories' meta.properties say has to agree, and to be this broker's and this cluster's
 *     begin      checkpoints are read, and the mark of a clean shutdown is taken away, before anything is written
 *     logs       all directories at once, each by num.recovery.threads.per.data.dir threads; after a crash they are
 *                read again from their recovery points on
 *     end        recovery points are written; directories that have failed on the way are abandoned
 *
 * Who stops the broker meanwhile has the rest skipped. Then nothing is written at the end: checkpoints are those of
 * what is in the table, and would lose the lines of all other logs. What was recovered by then is recovered again.
 *
 * A log that is in two directories ends the start: which of them is right, somebody has to say. "-delete" is what was
 * still to be removed; "-stray" is left alone, and so is what has no name of a log's, or is the log of a KRaft quorum,
 * as a migration that was called off leaves it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/logger.h"
#include "base/topic_key.h"
#include "log/file.h"
#include "storage/manager_internal.h"

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

/* ---- Loading ---- */

enum { PROGRESS_MS = 5000 };

struct dir_load { /* of one directory */
    const char *path;
    struct workers *pool;
    size_t total;
    atomic_size_t done;
    _Atomic int64_t said_ms; /* when a line was written last */
};

struct load_trouble {    /* because of which the broker is not to start */
    atomic_bool twice;   /* some log is in two directories */
    atomic_bool starved; /* there are more files than may be open */
};

struct load_job {
    struct job job;
    struct log_manager *manager;
    struct log_dir *dir;
    char *topic, *name; /* `name` of a future log's directory, else NULL */
    int32_t partition;
    struct load_trouble *trouble;
    struct dir_load *of;
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
    if (end != name + len || errno != 0 || n > INT32_MAX || dash - name > LONGEST_TOPIC_NAME)
        return false;
    *topic = xstrndup(name, (size_t)(dash - name));
    *partition = (int32_t)n;
    return true;
}

struct topic_config manager_settings_of(const struct log_manager *m, const char *topic)
{
    struct topic_config config;
    topic_config_defaults(m->config, &config);
    if (m->options.topic_overrides != NULL)
        m->options.topic_overrides(m->options.ctx, topic, &config);
    return config;
}

static void take_loaded(struct load_job *l, struct plog *log)
{
    log_debug("Loaded log %s with start %" PRId64 ", end %" PRId64, plog_path(log), plog_start_offset(log),
              plog_end_offset(log));
    lock_take(&l->manager->lock);
    struct log_entry *other = manager_find(l->manager, plog_topic(log), plog_partition(log), plog_is_future(log));
    if (other == NULL)
        manager_add(l->manager, log);
    lock_release(&l->manager->lock);
    if (other == NULL)
        return;
    log_error("Duplicate log directories for %s-%" PRId32 " are found in both %s and %s", plog_topic(log),
              plog_partition(log), plog_path(other->log), plog_path(log));
    atomic_store(&l->trouble->twice, true);
    plog_unref(log);
}

/* A line now and then: after a crash, with much to be read, there would be none for a long time. */
static void say_progress(struct dir_load *of)
{
    size_t done = atomic_fetch_add(&of->done, 1) + 1;
    int64_t now = clock_mono_ms(), said = atomic_load(&of->said_ms);
    if (now - said >= PROGRESS_MS && atomic_compare_exchange_strong(&of->said_ms, &said, now))
        log_info("Loaded %zu of %zu logs in %s", done, of->total, of->path);
}

static void note_not_loaded(struct load_job *l)
{
    if (atomic_load(&l->manager->halted))
        return; /* it is none of the disk's failures */
    if (log_dir_is_live(l->dir) && file_ran_out())
        atomic_store(&l->trouble->starved, true);
    else
        manager_dir_failed(l->manager, l->dir->path, "a log cannot be loaded");
}

/* One for each thread, so that there is always a free one. */
static struct load_lane *take_lane(struct log_dir *d)
{
    for (int i = 0; i < d->lane_count; i++) {
        bool taken = false;
        if (atomic_compare_exchange_strong(&d->lanes[i].taken, &taken, true))
            return &d->lanes[i];
    }
    unreachable("more threads that load than there are");
}

static void leave_lane(struct load_lane *lane)
{
    atomic_store(&lane->segments, 0);
    atomic_store(&lane->taken, false);
}

static void run_load(struct job *job)
{
    struct load_job *l = CONTAINER_OF(job, struct load_job, job);
    struct log_dir *d = l->dir;
    struct load_lane *lane = take_lane(d);
    struct plog_origin origin = {.recovery_point = offsets_file_find(&d->recovery, l->topic, l->partition),
                                 .start_offset = offsets_file_find(&d->start, l->topic, l->partition),
                                 .high_watermark = offsets_file_find(&d->hw, l->topic, l->partition),
                                 .clean_end = offsets_file_find(&d->cleaner, l->topic, l->partition),
                                 .clean = d->was_clean,
                                 .name = l->name,
                                 .to_recover = &lane->segments};
    struct topic_config config = manager_settings_of(l->manager, l->topic);
    bool wanted = log_dir_is_live(d) && !atomic_load(&l->manager->halted);
    struct plog *log = wanted ? plog_load(&d->home, l->topic, l->partition, &config, &origin) : NULL;
    if (log != NULL)
        take_loaded(l, log);
    else
        note_not_loaded(l);
    leave_lane(lane);
    int before = atomic_fetch_sub(&d->to_load, 1);
    ensure(before > 0);
    say_progress(l->of);
    free(l->topic);
    free(l->name);
    free(l);
}

static bool has_suffix(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = strlen(suffix);
    return n > m && strcmp(s + n - m, suffix) == 0;
}

/* Splits "topic-3.0123...-future" or "-delete", which `mark` is. */
static bool parse_marked_name(const char *name, const char *mark, char **topic, int32_t *partition)
{
    size_t n = strlen(name), tail = FUTURE_SUFFIX;
    return has_suffix(name, mark) && n > tail && name[n - tail] == '.' &&
           strspn(name + n - tail + 1, "0123456789abcdef") == tail - 1 - strlen(mark) &&
           parse_dir_name(name, n - tail, topic, partition);
}

static bool manager_load_is_deleted(const char *name)
{
    char *topic = NULL;
    int32_t partition;
    bool is = parse_marked_name(name, "-delete", &topic, &partition);
    free(topic);
    return is;
}

/* Its records are no topic's, and what becomes of them is the quorum's business. */
static bool is_of_quorum(const char *name)
{
    size_t n = strlen(CLUSTER_METADATA_TOPIC);
    return strncmp(name, CLUSTER_METADATA_TOPIC, n) == 0 && name[n] == '-' && strchr(name + n + 1, '-') == NULL;
}

/* NULL: it is none of a log's names. The time of a future log comes when its partition is led or followed again. */
static struct load_job *make_job(struct log_manager *m, struct log_dir *d, const char *name)
{
    struct load_job *l = xcalloc(1, sizeof(*l));
    *l = (struct load_job){.job = {.run = run_load}, .manager = m, .dir = d};
    if (parse_marked_name(name, "-future", &l->topic, &l->partition))
        l->name = xstrdup(name);
    else if (name[0] == '.' || has_suffix(name, "-stray") || is_of_quorum(name) ||
             !parse_dir_name(name, strlen(name), &l->topic, &l->partition)) {
        free(l);
        l = NULL;
    }
    return l;
}

static void manager_load_remove_later(struct log_manager *m, const struct log_dir *d, const char *name)
{
    char *path = xasprintf("%s/%s", d->path, name);
    manager_remove_dir_later(m, path, NULL);
    free(path);
}

/* Names in a log directory that are not a broker's, some of them for a line. */
struct foreign {
    struct strbuf names;
    size_t count;
};

static void note_foreign(struct foreign *foreign, const char *name)
{
    enum { MOST_NAMED = 10 };
    if (name[0] == '.' || strcmp(name, "lost+found") == 0)
        return;
    if (foreign->count++ < MOST_NAMED)
        strbuf_printf(&foreign->names, "%s%s", foreign->count > 1 ? ", " : "", name);
}

static void note_foreign_files(const struct log_dir *d, struct foreign *foreign)
{
    struct names files;
    if (!dir_list_files(d->path, &files))
        return;
    for (size_t i = 0; i < files.n; i++)
        if (strncmp(files.v[i], "meta.properties", strlen("meta.properties")) != 0 &&
            strstr(files.v[i], "-offset-checkpoint") == NULL)
            note_foreign(foreign, files.v[i]);
    names_free(&files);
}

static void say_foreign(const struct log_dir *d, struct foreign *foreign)
{
    note_foreign_files(d, foreign);
    if (foreign->count > 0)
        log_info("Left alone in %s, as they are not a broker's: %zu names, among them %s", d->path, foreign->count,
                 foreign->names.p);
    strbuf_deinit(&foreign->names);
}

/* Of the folders there; a file is no log, whatever its name. */
static void submit_all(struct log_manager *m, struct log_dir *d, const struct names *folders, struct dir_load *of,
                       struct load_trouble *trouble)
{
    struct load_job **jobs = xcalloc(folders->n + 1, sizeof(struct load_job *));
    struct foreign foreign = {0};
    for (size_t i = 0; i < folders->n; i++) {
        if (manager_load_is_deleted(folders->v[i]))
            manager_load_remove_later(m, d, folders->v[i]);
        else if ((jobs[of->total] = make_job(m, d, folders->v[i])) != NULL)
            of->total++;
        else
            note_foreign(&foreign, folders->v[i]);
    }
    say_foreign(d, &foreign);
    atomic_store(&d->logs, (int)of->total);
    atomic_store(&d->to_load, (int)of->total);
    atomic_store(&d->loading, true);
    for (size_t i = 0; i < of->total; i++) {
        jobs[i]->trouble = trouble;
        jobs[i]->of = of;
        workers_submit(of->pool, &jobs[i]->job);
    }
    free(jobs);
}

static void begin_load(struct log_manager *m, struct log_dir *d, struct dir_load *of, struct load_trouble *trouble)
{
    struct names folders;
    if (!dir_list_folders(d->path, &folders)) {
        manager_dir_failed(m, d->path, "it cannot be read");
        return;
    }
    of->path = d->path;
    of->said_ms = clock_mono_ms();
    ensure(d->lanes == NULL); /* a directory is loaded once */
    d->lane_count = MAX(m->config->num_recovery_threads_per_data_dir, 1);
    d->lanes = xcalloc((size_t)d->lane_count, sizeof(*d->lanes));
    d->lane_ids = m->counted ? metrics_ids(m->options.metrics, d->lane_count) : 0;
    of->pool = workers_new("loader", d->lane_count);
    if (log_dir_begin_load(d))
        submit_all(m, d, &folders, of, trouble);
    else
        manager_dir_failed(m, d->path,
                           "its checkpoints cannot be read, or its mark of a clean shutdown not be taken away");
    names_free(&folders);
}

/* All directories at once: they are disks of their own. */
static void load_dirs(struct log_manager *m, struct load_trouble *trouble)
{
    struct dir_load *loads = xcalloc((size_t)m->dir_count, sizeof(*loads));
    for (int i = 0; i < m->dir_count; i++)
        if (log_dir_is_live(&m->dirs[i]) && !atomic_load(&m->halted))
            begin_load(m, &m->dirs[i], &loads[i], trouble);
    for (int i = 0; i < m->dir_count; i++)
        if (loads[i].pool != NULL)
            workers_free(loads[i].pool);
    for (int i = 0; i < m->dir_count; i++) {
        ensure(atomic_load(&loads[i].done) == loads[i].total);
        atomic_store(&m->dirs[i].loading, false);
    }
    free(loads);
}

void manager_count_recovered(void *ctx, int64_t bytes)
{
    struct log_manager *m = ctx;
    atomic_fetch_add(&m->recovered_bytes, bytes);
}

void log_manager_progress(const struct log_manager *m, struct load_progress *out)
{
    *out = (struct load_progress){.recovered_bytes = atomic_load(&m->recovered_bytes)};
    for (int i = 0; i < m->dir_count; i++) {
        int logs = atomic_load(&m->dirs[i].logs);
        out->logs += logs;
        out->loaded += logs - atomic_load(&m->dirs[i].to_load);
    }
}

void log_manager_halt_load(struct log_manager *m)
{
    atomic_store(&m->halted, true);
}

bool log_manager_load(struct log_manager *m, struct fail *fail)
{
    int64_t start = clock_mono_ms();
    struct load_trouble trouble = {0};
    atomic_store(&m->incomplete, true);
    load_dirs(m, &trouble);
    for (int i = 0; i < m->dir_count; i++)
        if (!log_dir_is_live(&m->dirs[i]))
            log_manager_abandon_dir(m, m->dirs[i].path);
    if (atomic_load(&m->halted)) {
        log_info("Loaded %u logs, and leave the others for the next start", HASH_COUNT(m->logs));
        return fail_set(fail, "The broker was stopped while its logs were loaded.");
    }
    if (atomic_load(&trouble.starved))
        return fail_set(fail,
                        "The logs have more files than a process may have open here: raise the limit (ulimit -n).");
    atomic_store(&m->incomplete, false);
    manager_save_recovery_points(m); /* before anything is written where one lies above its log's end */
    if (atomic_load(&trouble.twice))
        return fail_set(fail,
                        "A log is in two directories: one of them must be taken away by hand. Perhaps a directory "
                        "failed while a replica was moved from one to the other.");
    log_info("Loaded %u logs in %" PRId64 " ms", HASH_COUNT(m->logs), clock_mono_ms() - start);
    return log_manager_need_live_dir(m, fail);
}
