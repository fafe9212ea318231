/*
 * Writes logs, breaks off in the middle, and looks what is left.
 *
 *     crash [--seeds N] [--from S]     until one fails
 *     crash --seed S [--trace]         one again, exactly
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>

#include "append_alone.h"
#include "base/logger.h"
#include "crash.h"
#include "disk/disk.h"
#include "log/plog_internal.h"
#include "storage/checkpoint_internal.h"
#include "storage/storage.h"

#define FOLDER "/disk"

enum { LOGS = 2, OPERATIONS = 150 };

struct world {
    struct broker_config config;
    struct workers *workers;
    struct log_manager *manager;
    struct plog *logs[LOGS];
    struct model *models[LOGS];
    int32_t epochs[LOGS];
    int64_t committed[LOGS]; /* the highest high watermark that there was */
    int64_t lowered[LOGS];   /* what the last cut was to; -1: it is settled */
    bool compacted;
};

static bool trace;

static void say(const char *what, int64_t detail)
{
    if (trace)
        printf("== %s %" PRId64 "\n", what, detail);
}

/* ---- A life of the log manager ---- */

static const char *const topics[LOGS] = {"a", "b"};

static void configure(struct world *w)
{
    char texts[8][80];
    const char *overrides[ARRAY_LEN(texts) + 3];
    size_t n = 0, i = 0;
    overrides[n++] = "broker.id=1";
    overrides[n++] = "zookeeper.connect=nowhere";
    overrides[n++] = "log.dirs=" FOLDER;
    snprintf(texts[i++], sizeof(texts[0]), "log.segment.bytes=%" PRIu32, 1500 + crash_random(6000));
    snprintf(texts[i++], sizeof(texts[0]), "log.index.interval.bytes=%" PRIu32, crash_random(1000));
    snprintf(texts[i++], sizeof(texts[0]), "log.cleanup.policy=%s", w->compacted ? "compact" : "delete");
    snprintf(texts[i++], sizeof(texts[0]), "log.retention.bytes=%" PRIu32, 10000 + crash_random(30000));
    snprintf(texts[i++], sizeof(texts[0]), "log.retention.ms=%d", -1);
    snprintf(texts[i++], sizeof(texts[0]), "log.cleaner.min.cleanable.ratio=%s", "0.05");
    snprintf(texts[i++], sizeof(texts[0]), "log.flush.interval.messages=%" PRIu32,
             crash_chance(5) ? 1 + crash_random(30) : INT32_MAX);
    snprintf(texts[i++], sizeof(texts[0]), "log.preallocate=%s", crash_chance(4) ? "true" : "false");
    for (size_t k = 0; k < i; k++)
        overrides[n++] = texts[k];
    struct config_options options = {.overrides = overrides, .override_count = n};
    struct fail fail;
    if (!config_load(&w->config, &options, &fail))
        violation("%s", fail.text);
}

/* What it still does has no effect. */
static void bury(struct world *w)
{
    disk_stop_after(0);
    workers_stop(w->workers);
    for (int i = 0; i < LOGS; i++) {
        plog_unref(w->logs[i]);
        w->logs[i] = NULL;
    }
    log_manager_free(w->manager);
    w->manager = NULL;
}

static bool open_log(struct world *w, int i)
{
    struct topic_config config;
    struct uuid id = {{(uint8_t)(i + 1)}};
    topic_config_defaults(&w->config, &config);
    return log_manager_open(w->manager, topics[i], 0, id, true, &config, &w->logs[i]) == ERR_NONE;
}

static bool open_logs(struct world *w)
{
    for (int i = 0; i < LOGS; i++)
        if (!open_log(w, i))
            return false;
    return true;
}

/* False when the disk has failed meanwhile. */
static bool begin_life(struct world *w)
{
    struct log_manager_options options = {.config = &w->config, .workers = w->workers};
    struct fail fail = {0};
    w->manager = log_manager_new(&options, &fail);
    bool ok = w->manager != NULL && log_manager_load(w->manager, &fail) && open_logs(w);
    if (!ok && !disk_has_stopped())
        violation("the logs cannot be loaded: %s", fail.text);
    return ok && !disk_has_stopped();
}

static void check(struct world *w, bool restarted)
{
    for (int i = 0; i < LOGS; i++) {
        say("check", i);
        model_check(w->models[i], w->logs[i], restarted);
    }
}

/* ---- What is done to a log ---- */

/* The disk may fail within each of these, and none says so. */
typedef void (*operation)(struct world *w, int i);

static void append(struct world *w, int i, struct strbuf bytes, int32_t count)
{
    struct plog *log = w->logs[i];
    struct append_result result;
    struct prepared p = {.bytes = {(uint8_t *)bytes.p, (int32_t)bytes.len}, .offsets = count};
    enum kafka_error error = crash_chance(2) ? append_alone(log, &p, w->epochs[i], &result)
                                             : plog_append_follower(log, p.bytes, w->epochs[i], &result);
    if (!disk_has_stopped() && (error != ERR_NONE || result.duplicate))
        violation("an append to %s gets %s", topics[i], error_name((int16_t)error));
    model_appended(w->models[i], model_last_made(w->models[i]), error == ERR_NONE);
    strbuf_deinit(&bytes);
}

static void write_batch(struct world *w, int i)
{
    int32_t count;
    enum model_kind kind = (enum model_kind)crash_random(3);
    struct strbuf bytes = model_make_batch(w->models[i], kind, w->epochs[i], plog_end_offset(w->logs[i]), &count);
    append(w, i, bytes, count);
}

static void write_batches_together(struct world *w, int i)
{
    enum { MOST = 5 };
    struct model *m = w->models[i];
    struct strbuf bytes[MOST];
    struct prepared prepared[MOST];
    struct leader_append appends[MOST], *all[MOST];
    int32_t made[MOST], count, n = 2 + (int32_t)crash_random(MOST - 1);
    int64_t end = plog_end_offset(w->logs[i]);
    for (int32_t k = 0; k < n; k++, end += count) {
        bytes[k] = model_make_batch(m, (enum model_kind)crash_random(3), w->epochs[i], end, &count);
        made[k] = model_last_made(m);
        prepared[k] = (struct prepared){.bytes = {(uint8_t *)bytes[k].p, (int32_t)bytes[k].len}, .offsets = count};
        appends[k] = (struct leader_append){.records = &prepared[k]};
        all[k] = &appends[k];
    }
    plog_append_leader(w->logs[i], all, n, w->epochs[i]);
    for (int32_t k = 0; k < n; k++) {
        if (!disk_has_stopped() && (appends[k].error != ERR_NONE || appends[k].result.duplicate))
            violation("an append to %s, of %d together, gets %s", topics[i], n, error_name((int16_t)appends[k].error));
        model_appended(m, made[k], appends[k].error == ERR_NONE);
        strbuf_deinit(&bytes[k]);
    }
}

static void write_marker(struct world *w, int i)
{
    struct strbuf bytes = model_make_marker(w->models[i], w->epochs[i], plog_end_offset(w->logs[i]));
    if (bytes.len > 0)
        append(w, i, bytes, 1);
}

static void flush(struct world *w, int i)
{
    (void)plog_flush(w->logs[i]);
}

static void run_jobs(struct world *w, int i UNUSED)
{
    crash_run_jobs(w->workers);
}

static void close_files(struct world *w, int i UNUSED)
{
    log_manager_close_files(w->manager);
}

static void write_checkpoints(struct world *w, int i UNUSED)
{
    log_manager_write_checkpoints(w->manager);
}

static void begin_epoch(struct world *w, int i)
{
    w->epochs[i] += 1 + (int32_t)crash_random(2);
    plog_assign_epoch(w->logs[i], w->epochs[i], plog_end_offset(w->logs[i]));
}

/*
 * A follower cuts its log because another leads, whose records are of a newer epoch; never within a batch, and where
 * compaction goes, never what is committed. One that leads out of sync may have less than was deleted here.
 */
static void cut(struct world *w, int i)
{
    int64_t start = plog_start_offset(w->logs[i]), end = plog_end_offset(w->logs[i]);
    if (w->compacted)
        start = MAX(start, w->committed[i]);
    else if (crash_chance(5))
        start = 0;
    if (start > end)
        return;
    int64_t offset = crash_chance(2) ? end - crash_random((uint32_t)MIN(end - start, (int64_t)20) + 1)
                                     : start + crash_random((uint32_t)(end - start) + 1);
    offset = model_boundary(w->models[i], offset);
    if (offset < start)
        return;
    say("cut to", offset);
    if (offset < plog_start_offset(w->logs[i]))
        model_cut_below_start(w->models[i]);
    else
        model_cut(w->models[i], offset);
    (void)plog_truncate(w->logs[i], offset);
    w->lowered[i] = offset;
    begin_epoch(w, i);
}

/* A follower is so far behind that its leader has deleted what it would need. */
static void begin_anew(struct world *w, int i)
{
    int64_t offset = plog_end_offset(w->logs[i]) + crash_random(30);
    say("begin anew at", offset);
    model_cut(w->models[i], 0);
    model_started(w->models[i], offset);
    (void)plog_truncate_fully(w->logs[i], offset);
    w->committed[i] = 0;
    begin_epoch(w, i);
}

/* The topic is deleted, for good, and then there is another one of its name. */
static void make_anew(struct world *w, int i)
{
    disk_go_on();
    enum kafka_error error = log_manager_delete(w->manager, w->logs[i]);
    plog_unref(w->logs[i]);
    log_manager_sync_deletions(w->manager);
    bool ok = error == ERR_NONE && open_log(w, i);
    ensure(ok);
    model_free(w->models[i]);
    w->models[i] = model_new(w->compacted);
    w->committed[i] = 0;
    w->lowered[i] = -1;
    begin_epoch(w, i);
}

static void commit(struct world *w, int i)
{
    int64_t end = plog_end_offset(w->logs[i]), hw = plog_high_watermark(w->logs[i]);
    hw = MAX(hw, model_boundary(w->models[i], hw + crash_random((uint32_t)(end - hw) + 1)));
    plog_set_high_watermark(w->logs[i], hw);
    w->committed[i] = MAX(w->committed[i], hw);
}

static void retain(struct world *w, int i UNUSED)
{
    log_manager_run_retention(w->manager);
}

static void delete_records(struct world *w, int i)
{
    int64_t start = plog_start_offset(w->logs[i]), stable = plog_last_stable_offset(w->logs[i]);
    if (stable > start)
        (void)plog_advance_start(w->logs[i], start + crash_random((uint32_t)(stable - start) + 1));
}

static void compact(struct world *w, int i UNUSED)
{
    log_manager_run_cleaner(w->manager);
}

static const struct {
    const char *name;
    operation run;
    uint32_t weight;
} operations[] = {
    {"write a batch to", write_batch, 100},
    {"write batches to", write_batches_together, 30},
    {"write a marker to", write_marker, 16},
    {"flush", flush, 6},
    {"jobs", run_jobs, 12},
    {"checkpoints", write_checkpoints, 8},
    {"cut", cut, 6},
    {"begin anew", begin_anew, 1},
    {"delete and make", make_anew, 1},
    {"begin an epoch of", begin_epoch, 8},
    {"commit", commit, 24},
    {"files", close_files, 6},
    {"retention", retain, 6},
    {"delete records of", delete_records, 2},
    {"compact", compact, 6},
};

static size_t choose_operation(void)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < ARRAY_LEN(operations); i++)
        sum += operations[i].weight;
    uint32_t at = crash_random(sum);
    size_t i = 0;
    while (at >= operations[i].weight)
        at -= operations[i++].weight;
    return i;
}

static void operate(struct world *w)
{
    size_t what = choose_operation();
    int i = (int)crash_random(LOGS);
    say(operations[what].name, i);
    operations[what].run(w, i);
    if (trace)
        printf("   %s: start %" PRId64 ", sure %" PRId64 ", end %" PRId64 "%s\n", topics[i],
               plog_start_offset(w->logs[i]), w->logs[i]->recovery_point, plog_end_offset(w->logs[i]),
               disk_has_stopped() ? ", stopped" : "");
    crash_wait(crash_random(50));
    for (int k = 0; k < LOGS; k++) {
        if (w->lowered[k] >= 0 && !disk_has_stopped() && !atomic_load(&w->logs[k]->unsettled)) {
            model_start_lowered(w->models[k], w->lowered[k]);
            w->lowered[k] = -1;
        }
        model_started(w->models[k], plog_start_offset(w->logs[k]));
        if (!disk_has_stopped())
            model_synced(w->models[k], w->logs[k]->recovery_point);
    }
}

/* ---- What goes wrong ---- */

static bool ends_with(const char *name, const char *suffix)
{
    size_t n = strlen(name), m = strlen(suffix);
    return n >= m && strcmp(name + n - m, suffix) == 0;
}

/* What may be missing or damaged without a record being lost. */
static bool can_be_made_again(const char *name)
{
    static const char *const suffixes[] = {".index",
                                           ".timeindex",
                                           ".txnindex",
                                           ".snapshot",
                                           "recovery-point-offset-checkpoint",
                                           "log-start-offset-checkpoint",
                                           "replication-offset-checkpoint",
                                           "cleaner-offset-checkpoint"};
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++)
        if (ends_with(name, suffixes[i]))
            return true;
    return false;
}

static void choose_file(const char *dir, char chosen[256], uint32_t *seen)
{
    struct names files;
    bool ok = dir_list(dir, &files);
    ensure(ok);
    for (size_t i = 0; i < files.n; i++)
        if (can_be_made_again(files.v[i]) && crash_chance(++*seen))
            snprintf(chosen, 256, "%s/%s", dir, files.v[i]);
    names_free(&files);
}

/* Half an entry of an index, or entries that are zeros: others that are missing nobody could notice. */
static void damage(const char *path)
{
    enum { ENTRIES = 24 * 17 }; /* of any size */
    int fd = file_open(path, false);
    uint32_t size = (uint32_t)file_size(fd), at = crash_random(size + 1);
    bool ok = crash_chance(2) ? file_truncate(fd, at | 1, path)
                              : file_truncate(fd, at - at % ENTRIES, path) && file_truncate(fd, size, path);
    ok = ok && file_sync(fd, path);
    ensure(ok);
    file_close(fd);
}

static void lose_a_file(void)
{
    char chosen[256] = "", dir[80];
    uint32_t seen = 0;
    choose_file(FOLDER, chosen, &seen);
    for (int i = 0; i < LOGS; i++) {
        snprintf(dir, sizeof(dir), FOLDER "/%s-0", topics[i]);
        choose_file(dir, chosen, &seen);
    }
    if (*chosen == '\0')
        return;
    if (trace)
        printf("== damage %s\n", chosen);
    if (strstr(chosen, "checkpoint") != NULL || (crash_chance(2) && !ends_with(chosen, ".txnindex")))
        file_remove(chosen);
    else
        damage(chosen);
    bool ok = dir_sync(FOLDER); /* and for good */
    ensure(ok);
}

static void close_well(struct world *w)
{
    say("close", 0);
    for (int i = 0; i < LOGS; i++)
        crash_run_jobs(w->workers);
    log_manager_close(w->manager, NULL, NULL);
    for (int i = 0; i < LOGS && !disk_has_stopped(); i++)
        model_synced(w->models[i], plog_end_offset(w->logs[i]));
}

static void end_life(struct world *w)
{
    uint32_t how = crash_random(3);
    if (how == 0 && !disk_has_stopped()) {
        if (crash_chance(2))
            disk_stop_after((int)crash_random(60));
        close_well(w);
    }
    bury(w);
    disk_go_on();
    if (how == 2 || crash_chance(4)) {
        say("power", 0);
        disk_lose_power(FOLDER, crash_random);
    } else {
        say("kill", 0);
    }
    if (crash_chance(3))
        lose_a_file();
}

static void look_for_points(struct world *w)
{
    struct offsets_file points;
    bool ok = offsets_file_read(FOLDER "/recovery-point-offset-checkpoint", &points);
    ensure(ok);
    for (int i = 0; i < LOGS; i++)
        if (offsets_file_find(&points, topics[i], 0) < 0)
            model_has_no_point(w->models[i]);
    offsets_file_free(&points);
}

static void restart(struct world *w)
{
    for (;;) {
        end_life(w);
        look_for_points(w);
        if (crash_chance(4))
            disk_stop_after((int)crash_random(40));
        say("start", 0);
        if (begin_life(w))
            break;
    }
    disk_go_on();
    check(w, true);
    for (int i = 0; i < LOGS; i++) {
        w->lowered[i] = -1;
        begin_epoch(w, i);
    }
}

/* ---- A run ---- */

static void run_seed(uint64_t seed)
{
    struct world w = {0};
    crash_seed(seed);
    w.compacted = crash_chance(3);
    configure(&w);
    w.workers = workers_new("worker", 1);
    for (int i = 0; i < LOGS; i++)
        w.models[i] = model_new(w.compacted);
    bool ok = begin_life(&w);
    ensure(ok);
    for (int i = 0; i < OPERATIONS; i++) {
        if (crash_chance(15))
            disk_stop_after((int)crash_random(30));
        operate(&w);
        if (disk_has_stopped() || crash_chance(15))
            restart(&w);
        disk_go_on();
    }
    check(&w, false);
    bury(&w);
    for (int i = 0; i < LOGS; i++)
        model_free(w.models[i]);
    workers_free(w.workers);
    config_deinit(&w.config);
    disk_remove_all();
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"seeds", required_argument, NULL, 'n'},
                                            {"from", required_argument, NULL, 'f'},
                                            {"seed", required_argument, NULL, 's'},
                                            {"trace", no_argument, NULL, 't'},
                                            {0}};
    uint64_t from = 1, count = 1000;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'n')
            count = strtoull(optarg, NULL, 10);
        else if (c == 'f' || c == 's')
            from = strtoull(optarg, NULL, 10);
        else if (c == 't')
            trace = true;
        else
            return 2;
        if (c == 's')
            count = 1;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    logger_set(LOGGER_ROOT, trace ? LEVEL_INFO : LEVEL_FATAL);
    for (uint64_t seed = from; seed < from + count; seed++)
        run_seed(seed);
    printf("%" PRIu64 " seeds, 0 failed\n", count);
    return 0;
}
