/*
 * The dirtiest log first: of those above their min.cleanable.dirty.ratio, or whose max.compaction.lag.ms has passed,
 * the one with the largest part that was not compacted. A hand does a pass in steps and lets its worker go after some
 * of them; a hand without work looks again after log.cleaner.backoff.ms. The rate
 * (log.cleaner.io.max.bytes.per.second) is of all together.
 */
#include "log/file.h"
#include "storage/cleaner_internal.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/logger.h"
#include "log/compaction.h"
#include "storage/manager_internal.h"

enum {
    STEPS_AT_A_TIME = 16, /* of a pass, before the worker is let go */
    SMALLEST_CHUNK = 64 * 1024,
    SAY_EACH_MS = 10000, /* how far a pass is */
};

/* Of the configuration. */
struct settings {
    int threads;
    int64_t backoff_ms;
    double bytes_per_second;
    struct compact_limits limits; /* of each thread */
};

/* One pass after the other: what is a thread in the configuration's terms. */
struct hand {
    struct cleaner *cleaner;
    int number;
    struct timer timer;
    struct job job;
    struct compaction *pass; /* NULL: between two */
    struct plog *log;        /* whose pass it is, with a reference */
    int64_t wait_ms;         /* until it goes on */
    bool resting;            /* there are fewer threads now */
    int64_t began_ms;        /* the pass */
    int64_t said_ms;         /* how far it is, or that it has begun; monotonic as well */
    struct plog *shown;      /* for those who look: the log, without a reference, and how far the pass is */
    int done_percent;        /* both under the cleaner's lock */
};

struct cleaner {
    struct log_manager *manager;
    struct loop *loop;
    struct workers *workers;
    struct hand **hands;
    int hand_count;
    bool running; /* the loop's */
    atomic_bool stopping;
    struct lock lock; /* guards the following, the list of hands, and what they show */
    struct settings settings;
    struct cleaner_figures last; /* but for idle_ms; of the last pass of any thread */
    int64_t looked_ms;           /* for the dirtiest log */
    struct meter bytes;          /* that were read and written */
    int64_t paid_until_us;       /* when what was read and written is within the rate, on the monotonic clock */
};

/* ---- Settings ---- */

static struct settings settings_of(const struct broker_config *config)
{
    int threads = MAX(config->log_cleaner_threads, 1);
    int64_t chunk = config->log_cleaner_io_buffer_size / threads / 2; /* one half reads, the other writes */
    return (struct settings){
        .threads = threads,
        .backoff_ms = config->log_cleaner_backoff_ms,
        .bytes_per_second = config->log_cleaner_io_max_bytes_per_second,
        .limits = {.map_bytes = (size_t)MIN(config->log_cleaner_dedupe_buffer_size / threads, (int64_t)INT32_MAX),
                   .load_factor = config->log_cleaner_io_buffer_load_factor,
                   .chunk = (size_t)MAX(chunk, (int64_t)SMALLEST_CHUNK)}};
}

static struct settings current_settings(struct cleaner *c)
{
    lock_take(&c->lock);
    struct settings s = c->settings;
    lock_release(&c->lock);
    return s;
}

/* How long to wait after so many bytes. The pass of one log waits for what the others have used, too. */
static int64_t throttle_ms(struct cleaner *c, int64_t bytes)
{
    static const double unlimited = 1e15;
    ensure(bytes >= 0);
    meter_mark(&c->bytes, bytes);
    int64_t now = clock_mono_us(), wait = 0;
    lock_take(&c->lock);
    if (c->settings.bytes_per_second < unlimited) {
        double cost = (double)bytes * 1e6 / MAX(c->settings.bytes_per_second, 1.0);
        c->paid_until_us = MAX(c->paid_until_us, now) + (int64_t)cost;
        wait = (c->paid_until_us - now) / 1000;
    }
    lock_release(&c->lock);
    return wait;
}

/* ---- The choice ---- */

struct choice {
    int64_t now;
    struct plog *log; /* with a reference */
    double ratio;
    double dirtiest;    /* of all, also of those that are not due */
    int64_t overdue_ms; /* the longest of all */
};

static void cleaner_compare(void *ctx, struct plog *log)
{
    struct choice *best = ctx;
    struct cleanable todo;
    if (!plog_cleanable(log, best->now, &todo))
        return;
    best->dirtiest = MAX(best->dirtiest, todo.ratio);
    best->overdue_ms = MAX(best->overdue_ms, todo.overdue_ms);
    if (!todo.due || (best->log != NULL && todo.ratio <= best->ratio))
        return;
    plog_unref(best->log);
    plog_ref(log);
    best->log = log;
    best->ratio = todo.ratio;
}

static void note_look(struct cleaner *c, const struct choice *best)
{
    lock_take(&c->lock);
    c->looked_ms = clock_mono_ms();
    c->last.dirty_percent = (int64_t)(100 * best->dirtiest);
    if (best->log != NULL)
        c->last.delay_seconds = best->overdue_ms / 1000;
    lock_release(&c->lock);
}

static void show(struct hand *hand, struct plog *log, int done_percent)
{
    struct cleaner *c = hand->cleaner;
    lock_take(&c->lock);
    hand->shown = log;
    hand->done_percent = done_percent;
    lock_release(&c->lock);
}

static bool take_filthiest(struct hand *hand)
{
    struct cleaner *c = hand->cleaner;
    struct settings s = current_settings(c);
    ensure(hand->pass == NULL && hand->log == NULL);
    for (;;) {
        struct choice best = {.now = clock_wall_ms()};
        log_manager_each(c->manager, cleaner_compare, &best);
        note_look(c, &best);
        manager_save_clean_ends(c->manager);
        if (best.log == NULL)
            return false;
        hand->pass = compaction_new(best.log, &s.limits, best.now);
        hand->began_ms = hand->said_ms = clock_mono_ms();
        hand->log = best.log;
        if (hand->pass != NULL) {
            /* Gaps in what recovery looks at are taken for losses: compaction stays below that. */
            manager_save_recovery_points(c->manager);
            show(hand, hand->log, 0);
            return true;
        }
        plog_unref(best.log); /* another hand was faster */
        hand->log = NULL;
    }
}

/* ---- The work ---- */

static void note_pass(struct hand *hand)
{
    struct cleaner *c = hand->cleaner;
    struct compaction_figures f = compaction_read(hand->pass);
    lock_take(&c->lock);
    c->last.map_percent = f.map_percent;
    c->last.pass_seconds = (clock_mono_ms() - hand->began_ms) / 1000;
    c->last.recopy_percent = f.bytes_before > 0 ? 100 * f.bytes_after / f.bytes_before : 0;
    lock_release(&c->lock);
}

/* Retention leaves a log alone while it is compacted. */
static void end_pass(struct hand *hand)
{
    note_pass(hand);
    show(hand, NULL, 0);
    compaction_free(hand->pass);
    hand->pass = NULL;
    manager_save_clean_ends(hand->cleaner->manager);
    plog_apply_retention(hand->log, clock_wall_ms());
    plog_unref(hand->log);
    hand->log = NULL;
}

static int64_t backoff_ms(struct cleaner *c)
{
    return MAX(current_settings(c).backoff_ms, (int64_t)1);
}

static void say_percent(struct hand *hand, int done_percent)
{
    int64_t now = clock_mono_ms();
    if (now - hand->said_ms < SAY_EACH_MS)
        return;
    hand->said_ms = now;
    log_info("Compacting %s-%" PRId32 ": %d %% of this pass is done", plog_topic(hand->log), plog_partition(hand->log),
             done_percent);
}

/* Returns how long to wait before the next: without a descriptor the same would begin again at once, and end so. */
static int64_t do_step(struct hand *hand)
{
    int64_t bytes = 0;
    file_clear_error();
    enum compact_result result = compaction_step(hand->pass, &bytes);
    bool starved = result != COMPACT_MORE && result != COMPACT_DONE && file_ran_out();
    int64_t rest = throttle_ms(hand->cleaner, bytes);
    if (result == COMPACT_MORE) {
        int percent = compaction_read(hand->pass).done_percent;
        show(hand, hand->log, percent);
        say_percent(hand, percent);
    } else {
        end_pass(hand);
    }
    return starved ? MAX(rest, backoff_ms(hand->cleaner)) : rest;
}

static void cleaner_run_job(struct job *job)
{
    struct hand *hand = CONTAINER_OF(job, struct hand, job);
    struct cleaner *c = hand->cleaner;
    hand->wait_ms = 0;
    for (int i = 0; i < STEPS_AT_A_TIME && hand->wait_ms == 0 && !atomic_load(&c->stopping); i++) {
        if (hand->pass != NULL || take_filthiest(hand))
            hand->wait_ms = do_step(hand);
        else
            hand->wait_ms = backoff_ms(c);
    }
}

static void cleaner_go_on(struct hand *hand)
{
    ensure(!hand->resting && loop_is_mine(hand->cleaner->loop));
    workers_submit(hand->cleaner->workers, &hand->job);
}

static void done(struct message *msg)
{
    struct hand *hand = CONTAINER_OF(msg, struct hand, job.done);
    struct cleaner *c = hand->cleaner;
    if (!c->running)
        return;
    hand->resting = hand->pass == NULL && hand->number >= c->settings.threads;
    if (hand->wait_ms > 0 && !hand->resting)
        timer_start(&hand->timer, hand->wait_ms);
    else if (!hand->resting)
        cleaner_go_on(hand);
}

static void due(struct timer *t)
{
    cleaner_go_on(CONTAINER_OF(t, struct hand, timer));
}

void cleaner_run(struct cleaner *c)
{
    struct hand hand = {.cleaner = c};
    while (take_filthiest(&hand))
        while (hand.pass != NULL)
            do_step(&hand);
}

/* ---- Beginning and end ---- */

static void add_hand(struct cleaner *c)
{
    struct hand *hand = xcalloc(1, sizeof(*hand));
    hand->cleaner = c;
    hand->number = c->hand_count;
    hand->job = (struct job){.done = {.deliver = done}, .home = c->loop, .run = cleaner_run_job};
    timer_init(&hand->timer, c->loop, due);
    timer_start(&hand->timer, c->settings.backoff_ms);
    lock_take(&c->lock);
    c->hands = xrealloc(c->hands, (size_t)(c->hand_count + 1) * sizeof(*c->hands));
    c->hands[c->hand_count++] = hand;
    lock_release(&c->lock);
}

void cleaner_count(struct cleaner *c, struct metrics *m)
{
    meter_init(&c->bytes, m, "bytes");
}

void cleaner_read(struct cleaner *c, struct cleaner_figures *out)
{
    lock_take(&c->lock);
    *out = c->last;
    out->idle_ms = clock_mono_ms() - c->looked_ms;
    lock_release(&c->lock);
}

int cleaner_passes(struct cleaner *c, struct cleaner_pass out[CLEANER_MOST_PASSES])
{
    int n = 0;
    lock_take(&c->lock);
    for (int i = 0; i < c->hand_count && n < CLEANER_MOST_PASSES; i++) {
        if (c->hands[i]->shown == NULL)
            continue;
        plog_ref(c->hands[i]->shown);
        out[n++] = (struct cleaner_pass){c->hands[i]->shown, c->hands[i]->done_percent};
    }
    lock_release(&c->lock);
    return n;
}

const struct meter *cleaner_throttle(const struct cleaner *c)
{
    return &c->bytes;
}

struct cleaner *cleaner_new(struct log_manager *m, const struct broker_config *config)
{
    struct cleaner *c = xcalloc(1, sizeof(*c));
    c->manager = m;
    c->looked_ms = clock_mono_ms();
    lock_init(&c->lock, RANK_CLEANER);
    c->settings = settings_of(config);
    atomic_init(&c->stopping, false);
    return c;
}

void cleaner_start(struct cleaner *c, struct loop *loop, struct workers *workers)
{
    log_info("Starting the log cleaner");
    c->loop = loop;
    c->workers = workers;
    c->running = true;
    while (c->hand_count < c->settings.threads)
        add_hand(c);
}

void cleaner_configure(struct cleaner *c, const struct broker_config *config)
{
    lock_take(&c->lock);
    c->settings = settings_of(config);
    lock_release(&c->lock);
    for (int i = 0; i < c->hand_count && c->running; i++) {
        struct hand *hand = c->hands[i];
        if (!hand->resting || hand->number >= c->settings.threads)
            continue;
        hand->resting = false;
        cleaner_go_on(hand);
    }
    while (c->running && c->hand_count < c->settings.threads)
        add_hand(c);
}

void cleaner_stop(struct cleaner *c)
{
    c->running = false;
    atomic_store(&c->stopping, true);
    for (int i = 0; i < c->hand_count; i++)
        timer_stop(&c->hands[i]->timer);
}

void cleaner_free(struct cleaner *c)
{
    if (c == NULL)
        return;
    for (int i = 0; i < c->hand_count; i++) {
        compaction_free(c->hands[i]->pass);
        plog_unref(c->hands[i]->log);
        free(c->hands[i]);
    }
    free(c->hands);
    meter_deinit(&c->bytes);
    lock_deinit(&c->lock);
    free(c);
}
