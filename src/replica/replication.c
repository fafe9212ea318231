#include "replica/replication.h"

#include <stdio.h>

#include "base/clock.h"
#include "replica/fetcher.h"
#include "replica/fetcher_metrics.h"
#include "replica/isr_changes.h"
#include "replica/mover.h"

enum { GROW_MS = 500 };

struct lane { /* one loop, with its share of the partitions */
    struct loop *loop;
    struct loop_thread thread;
    struct fetchers *fetchers;
};

struct replication {
    struct replication_options options;
    struct lane *lanes;
    int lane_count;
    struct isr_changes *isr_changes;
    struct mover *mover;
    struct replica_manager *replicas;
    struct fetcher_metrics *metrics;
    struct timer shrink, grow;
    bool running;
};

static void on_shrink(struct timer *t)
{
    struct replication *r = CONTAINER_OF(t, struct replication, shrink);
    replica_shrink_isrs(r->replicas, clock_mono_ms());
    timer_start(t, MAX(r->options.config->replica_lag_time_max_ms / 2, (int64_t)1));
}

static void on_grow(struct timer *t)
{
    struct replication *r = CONTAINER_OF(t, struct replication, grow);
    replica_grow_isrs(r->replicas);
    timer_start(t, GROW_MS);
}

struct replication *replication_new(const struct replication_options *options)
{
    struct replication *r = xcalloc(1, sizeof(*r));
    r->options = *options;
    r->lane_count = MAX(options->config->num_replica_fetchers, 1);
    r->lanes = xcalloc((size_t)r->lane_count, sizeof(*r->lanes));
    for (int i = 0; i < r->lane_count; i++) {
        char name[24];
        snprintf(name, sizeof(name), "replication-%d", i);
        r->lanes[i].loop = loop_new(name);
        struct fetchers_options fetchers = {.loop = r->lanes[i].loop,
                                            .route = options->route,
                                            .config = options->config,
                                            .lane = i,
                                            .broker_id = options->broker_id,
                                            .broker_epoch = options->broker_epoch,
                                            .ctx = options->ctx};
        r->lanes[i].fetchers = fetchers_new(&fetchers);
    }
    struct isr_changes_options changes = {options->control, options->link, options->broker_id, options->broker_epoch,
                                          options->ctx};
    r->isr_changes = isr_changes_new(&changes);
    r->mover = mover_new(options->control, options->workers, options->config->num_replica_alter_log_dirs_threads);
    timer_init(&r->shrink, options->control, on_shrink);
    timer_init(&r->grow, options->control, on_grow);
    return r;
}

int replication_loop_count(const struct replication *r)
{
    return r->lane_count;
}

struct loop *replication_loop(const struct replication *r, int i)
{
    ensure(i >= 0 && i < r->lane_count);
    return r->lanes[i].loop;
}

static int replication_lane_number(void *ctx, struct partition *p)
{
    const struct replication *r = ctx;
    uint32_t h = 2166136261U; /* FNV-1a */
    for (const char *c = partition_topic(p); *c != '\0'; c++)
        h = (h ^ (uint8_t)*c) * 16777619U;
    return (int)((h + (uint32_t)partition_index(p)) % (uint32_t)r->lane_count);
}

void replication_start(struct replication *r, struct replica_manager *replicas)
{
    ensure(!r->running);
    ensure(loop_is_mine(r->options.control));
    r->replicas = replicas;
    r->running = true;
    r->metrics = fetcher_metrics_new(r->options.metrics, replicas, replication_lane_number, r);
    for (int i = 0; i < r->lane_count; i++)
        fetchers_count(r->lanes[i].fetchers, r->metrics);
    for (int i = 0; i < r->lane_count; i++)
        loop_thread_start(&r->lanes[i].thread, r->lanes[i].loop);
    on_shrink(&r->shrink);
    on_grow(&r->grow);
}

void replication_stop(struct replication *r)
{
    if (r == NULL)
        return;
    ensure(loop_is_mine(r->options.control));
    timer_stop(&r->shrink);
    timer_stop(&r->grow);
    isr_changes_close(r->isr_changes);
    mover_close(r->mover);
    for (int i = 0; r->running && i < r->lane_count; i++)
        loop_thread_join(&r->lanes[i].thread);
    r->running = false;
}

void replication_free(struct replication *r)
{
    if (r == NULL)
        return;
    ensure(!r->running);
    for (int i = 0; i < r->lane_count; i++) {
        fetchers_close(r->lanes[i].fetchers);
        loop_free(r->lanes[i].loop);
        fetchers_free(r->lanes[i].fetchers);
    }
    fetcher_metrics_free(r->metrics);
    isr_changes_free(r->isr_changes);
    mover_free(r->mover);
    free(r->lanes);
    free(r);
}

void replication_look(struct replication *r, struct partition *p)
{
    fetchers_look(r->lanes[replication_lane_number(r, p)].fetchers, p);
}

void replication_isr_wanted(struct replication *r, struct partition *p)
{
    isr_changes_want(r->isr_changes, p);
}

void replication_move_wanted(struct replication *r, struct partition *p)
{
    mover_add(r->mover, p);
}
