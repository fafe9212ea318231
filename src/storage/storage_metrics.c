/* What is counted of log directories and of what runs beside the logs: kafka.log, but for the logs themselves. */
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "storage/manager_internal.h"

enum { DIR_IDS = 4, FIXED_IDS = 16 };

static bool yield_number(struct bean_walk *w, int64_t id, const char *type, const char *name, int64_t value)
{
    return yield_gauge(w, id, &(struct bean_name){"kafka.log", type, name, {{0}}}, bean_long(value));
}

static bool yield_of_dir(struct bean_walk *w, int64_t id, struct bean_name name, const char *key,
                         const struct log_dir *d, int64_t value)
{
    name.tags[0] = (struct bean_tag){key, str_of(d->path)};
    return yield_gauge(w, id, &name, bean_long(value));
}

/* ---- The cleaner ---- */

struct uncleanable {
    const char *dir;
    int64_t count, bytes;
};

static void add_uncleanable(void *ctx, struct plog *log)
{
    struct uncleanable *sum = ctx;
    if (!plog_is_uncleanable(log) || strcmp(plog_dir(log), sum->dir) != 0)
        return;
    sum->count++;
    sum->bytes += plog_size(log);
}

static void yield_passes(struct log_manager *m, struct bean_walk *w)
{
    struct cleaner_pass passes[CLEANER_MOST_PASSES];
    int n = walk_wants(w, BEAN_OWN_DOMAIN, "LogCleaner") ? cleaner_passes(m->cleaner, passes) : 0;
    for (int i = 0; i < n; i++) {
        char partition[16];
        snprintf(partition, sizeof(partition), "%" PRId32, plog_partition(passes[i].log));
        struct bean_name name = {"barnabas",
                                 "LogCleaner",
                                 "CompactionPercent",
                                 {{"topic", str_of(plog_topic(passes[i].log))}, {"partition", str_of(partition)}}};
        yield_gauge(w, m->pass_ids + i, &name, bean_long(passes[i].done_percent));
        plog_unref(passes[i].log);
    }
}

static void yield_cleaner(struct log_manager *m, struct bean_walk *w)
{
    struct cleaner_figures f;
    cleaner_read(m->cleaner, &f);
    yield_passes(m, w);
    yield_number(w, m->bean_ids + 1, "LogCleaner", "DeadThreadCount", 0);
    yield_number(w, m->bean_ids + 2, "LogCleaner", "cleaner-recopy-percent", f.recopy_percent);
    yield_number(w, m->bean_ids + 3, "LogCleaner", "max-buffer-utilization-percent", f.map_percent);
    yield_number(w, m->bean_ids + 4, "LogCleaner", "max-clean-time-secs", f.pass_seconds);
    yield_number(w, m->bean_ids + 5, "LogCleaner", "max-compaction-delay-secs", f.delay_seconds);
    yield_number(w, m->bean_ids + 6, "LogCleanerManager", "max-dirty-percent", f.dirty_percent);
    yield_number(w, m->bean_ids + 7, "LogCleanerManager", "time-since-last-run-ms", f.idle_ms);
    yield_meter(w, m->bean_ids + 8, &(struct bean_name){"kafka.utils", "Throttler", "cleaner-io", {{0}}},
                cleaner_throttle(m->cleaner));
    for (int i = 0; i < m->dir_count && walk_wants(w, "kafka.log", "LogCleanerManager"); i++) {
        struct uncleanable sum = {m->dirs[i].path, 0, 0};
        struct bean_name name = {"kafka.log", "LogCleanerManager", "uncleanable-bytes", {{0}}};
        log_manager_each(m, add_uncleanable, &sum);
        yield_of_dir(w, m->dir_ids + i * DIR_IDS + 2, name, "logDirectory", &m->dirs[i], sum.bytes);
        name.name = "uncleanable-partitions-count";
        yield_of_dir(w, m->dir_ids + i * DIR_IDS + 3, name, "logDirectory", &m->dirs[i], sum.count);
    }
}

/* ---- Directories ---- */

static void yield_lanes(const struct log_dir *d, struct bean_walk *w)
{
    for (int i = 0; i < d->lane_count; i++) {
        char number[12];
        snprintf(number, sizeof(number), "%d", i);
        struct bean_name name = {"kafka.log",
                                 "LogManager",
                                 "remainingSegmentsToRecover",
                                 {{"dir", str_of(d->path)}, {"threadNum", str_of(number)}}};
        yield_gauge(w, d->lane_ids + i, &name,
                    bean_long(atomic_load_explicit(&d->lanes[i].segments, memory_order_relaxed)));
    }
}

static void yield_dirs(struct log_manager *m, struct bean_walk *w)
{
    int64_t offline = 0;
    for (int i = 0; i < m->dir_count; i++) {
        const struct log_dir *d = &m->dirs[i];
        int64_t to_load = atomic_load_explicit(&d->to_load, memory_order_relaxed);
        int64_t is_offline = !log_dir_is_live(d);
        struct bean_name name = {"kafka.log", "LogManager", "LogDirectoryOffline", {{0}}};
        offline += is_offline;
        yield_of_dir(w, m->dir_ids + i * DIR_IDS, name, "logDirectory", d, is_offline);
        name.name = "remainingLogsToRecover";
        if (!atomic_load(&d->loading))
            continue;
        yield_of_dir(w, m->dir_ids + i * DIR_IDS + 1, name, "dir", d, to_load);
        yield_lanes(d, w);
    }
    yield_number(w, m->bean_ids, "LogManager", "OfflineLogDirectoryCount", offline);
}

static void storage_metrics_visit(void *ctx, struct bean_walk *w)
{
    struct log_manager *m = ctx;
    struct bean_name flushes = {"kafka.log", "LogFlushStats", "LogFlushRateAndTimeMs", {{0}}};
    yield_dirs(m, w);
    yield_timing(w, m->bean_ids + 9, &flushes, &m->flushes);
    if (m->cleaner != NULL)
        yield_cleaner(m, w);
}

/* ---- Life ---- */

void storage_metrics_init(struct log_manager *m)
{
    struct metrics *metrics = m->options.metrics;
    if (metrics == NULL)
        return;
    m->bean_ids = metrics_ids(metrics, FIXED_IDS);
    m->dir_ids = metrics_ids(metrics, m->dir_count * DIR_IDS);
    m->pass_ids = metrics_ids(metrics, CLEANER_MOST_PASSES);
    timing_init(&m->flushes, metrics);
    if (m->cleaner != NULL)
        cleaner_count(m->cleaner, metrics);
    m->source = (struct bean_source){.visit = storage_metrics_visit, .ctx = m};
    metrics_add_source(metrics, &m->source);
    m->counted = true;
}

void storage_metrics_deinit(struct log_manager *m)
{
    if (!m->counted)
        return;
    metrics_remove_source(m->options.metrics, &m->source);
    timing_deinit(&m->flushes);
}
