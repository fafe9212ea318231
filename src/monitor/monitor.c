/*
 * Who looks is a thread that answers HTTP; the questions are the loop's. Whoever finds a look that is fresh takes it.
 * Else he says what he wants, has the loop begin a round, and waits: for that one round, however many wait. While a
 * round is under way nobody begins another; its end does, if somebody wants more than it has.
 */
#include "monitor/monitor.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/lock.h"
#include "cluster/broker_link.h"
#include "monitor/round.h"

enum {
    FRESH_MS = 5000,          /* so long what was seen is as good as new */
    PATIENCE_MS = 8000,       /* with the brokers, when nothing is known: who scrapes gives up after 10 s */
    SHORT_PATIENCE_MS = 2000, /* when something is, so that a broker that hangs makes no scrape slow */
    STALE_MS = 60000,         /* from then on it says nothing */
};

struct monitor {
    struct monitor_options options;
    struct message begin;
    struct broker_links *links; /* the loop's, as is the round */
    struct round *round;
    struct look *before[LOOK_ALL + 1]; /* the newest of each, for the round */
    struct lock lock;                  /* guards what follows */
    pthread_cond_t news;
    struct look *newest[LOOK_ALL + 1];
    int64_t taken_mono[LOOK_ALL + 1];
    bool wanted[LOOK_ALL + 1]; /* by somebody who waits */
    bool posted, busy, closed;
    int judging; /* those who ask for settings of topics */
};

static void on_round_done(void *ctx, struct look *look);

/* Begins one if somebody waits, the greatest that is waited for. */
static void begin_round(struct monitor *m)
{
    lock_take(&m->lock);
    m->posted = false;
    bool all = m->wanted[LOOK_ALL], any = all || m->wanted[LOOK_OWN];
    bool begins = any && !m->busy && !m->closed;
    m->busy |= begins;
    if (begins)
        m->wanted[LOOK_OWN] = m->wanted[LOOK_ALL] = false;
    for (int i = 0; begins && i <= LOOK_ALL; i++) {
        look_unref(m->before[i]);
        m->before[i] = m->newest[i];
        if (m->before[i] != NULL)
            look_ref(m->before[i]);
    }
    lock_release(&m->lock);
    if (!begins)
        return;
    round_free(m->round);
    m->round = NULL;
    struct round *r = round_begin(&m->options, m->links, all ? LOOK_ALL : LOOK_OWN, m->before, on_round_done, m);
    m->round = r;
}

static void monitor_on_begin(struct message *message)
{
    begin_round(CONTAINER_OF(message, struct monitor, begin));
}

static void post_begin(struct monitor *m)
{
    ensure(lock_is_held(&m->lock));
    if (!m->posted && !m->closed)
        loop_post(m->options.loop, &m->begin);
    m->posted = true;
}

static void keep_look(struct monitor *m, enum look_scope scope, struct look *look)
{
    ensure(lock_is_held(&m->lock));
    look_unref(m->newest[scope]);
    look_ref(look);
    m->newest[scope] = look;
    m->taken_mono[scope] = clock_mono_ms();
}

/* The round is freed when the next begins: this may be called from within it. */
static void on_round_done(void *ctx, struct look *look)
{
    struct monitor *m = ctx;
    lock_take(&m->lock);
    ensure(m->busy);
    m->busy = false;
    keep_look(m, look->scope, look);
    if (look->scope == LOOK_ALL)
        keep_look(m, LOOK_OWN, look);
    if (m->wanted[LOOK_ALL] || m->wanted[LOOK_OWN])
        post_begin(m);
    pthread_cond_broadcast(&m->news);
    lock_release(&m->lock);
    look_unref(look);
}

static bool is_older(const struct monitor *m, enum look_scope scope, int64_t ms)
{
    ensure(lock_is_held(&m->lock));
    return m->newest[scope] == NULL || clock_mono_ms() - m->taken_mono[scope] > ms;
}

struct look *monitor_look(struct monitor *m, enum look_scope scope)
{
    lock_take(&m->lock);
    int64_t now = clock_mono_ms();
    int64_t deadline = now + (is_older(m, scope, STALE_MS) ? PATIENCE_MS : SHORT_PATIENCE_MS);
    while (!m->closed && now < deadline && is_older(m, scope, FRESH_MS)) {
        m->wanted[scope] = true;
        if (!m->busy)
            post_begin(m);
        lock_wait_for(&m->lock, &m->news, deadline - now);
        now = clock_mono_ms();
    }
    struct look *look = m->closed || is_older(m, scope, STALE_MS) ? NULL : m->newest[scope];
    if (look != NULL)
        look_ref(look);
    lock_release(&m->lock);
    return look;
}

/* ---- Whether the broker may stop ---- */

enum { MOST_REASONS = 1000 };

struct objections {
    struct strbuf *text;
    int64_t count;
};

static void object(struct objections *o, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void object(struct objections *o, const char *fmt, ...)
{
    char line[512];
    va_list args;
    if (o->count++ >= MOST_REASONS)
        return;
    va_start(args, fmt);
    vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    strbuf_printf(o->text, "%s\n", line);
}

static void look_at_topic(const struct monitor *m, const struct view_topic *t, struct objections *o)
{
    struct topic_config config;
    bool known = false;
    for (int32_t i = 0; i < t->partition_count; i++) {
        const struct view_partition *p = &t->partitions[i];
        if (!int_list_has(p->replicas, m->options.broker_id))
            continue;
        if (!known)
            m->options.topic_config(m->options.ctx, t->name, &config);
        known = true;
        int32_t rest = p->isr.n - int_list_has(p->isr, m->options.broker_id);
        if (rest < config.min_insync_replicas)
            object(o,
                   "%s-%" PRId32 ": %" PRId32 " of %" PRId32
                   " replicas would be in sync, min.insync.replicas is %" PRId32,
                   t->name, p->index, rest, p->replicas.n, config.min_insync_replicas);
    }
}

static void look_at_moves(const struct monitor *m, const struct look *look, struct objections *o)
{
    if (look == NULL || look->move_count < 0)
        object(o, "The controller has not said what is being reassigned");
    for (int32_t i = 0; look != NULL && i < look->move_count; i++) {
        const struct look_topic *t = look_topic(look, look->moves[i].topic);
        const struct view_partition *p = t != NULL ? view_topic_partition(t->topic, look->moves[i].partition) : NULL;
        if (p != NULL && int_list_has(p->replicas, m->options.broker_id))
            object(o, "%s-%" PRId32 ": is being reassigned", t->topic->name, p->index);
    }
}

/* What is being reassigned now is not to be told by what was. */
static bool is_late(struct monitor *m, enum look_scope scope)
{
    lock_take(&m->lock);
    bool late = is_older(m, scope, 2 * FRESH_MS);
    lock_release(&m->lock);
    return late;
}

static bool begin_judging(struct monitor *m)
{
    lock_take(&m->lock);
    bool ok = !m->closed;
    m->judging += ok;
    lock_release(&m->lock);
    return ok;
}

static void end_judging(struct monitor *m)
{
    lock_take(&m->lock);
    ensure(m->judging > 0);
    m->judging--;
    pthread_cond_broadcast(&m->news);
    lock_release(&m->lock);
}

bool monitor_may_stop(struct monitor *m, struct strbuf *why)
{
    struct objections o = {.text = why};
    if (!begin_judging(m)) {
        object(&o, "The broker stops already");
        return false;
    }
    struct look *look = monitor_look(m, LOOK_OWN);
    if (look != NULL && is_late(m, LOOK_OWN)) {
        look_unref(look);
        look = NULL;
    }
    struct view *v = view_board_latest(m->options.board);
    look_at_moves(m, look, &o);
    for (int32_t i = 0; i < v->topic_count; i++)
        look_at_topic(m, v->by_name[i], &o);
    if (o.count > MOST_REASONS)
        strbuf_printf(why, "and %" PRId64 " more\n", o.count - MOST_REASONS);
    view_unref(v);
    look_unref(look);
    end_judging(m);
    return o.count == 0;
}

/* ---- Life ---- */

struct monitor *monitor_new(const struct monitor_options *options)
{
    struct monitor *m = xcalloc(1, sizeof(*m));
    m->options = *options;
    m->begin.deliver = monitor_on_begin;
    m->links = broker_links_new(options->loop, options->route, options->config, "barnabas-monitor", NULL);
    lock_init(&m->lock, RANK_MONITOR);
    pthread_cond_init(&m->news, NULL);
    return m;
}

void monitor_close(struct monitor *m)
{
    lock_take(&m->lock);
    m->closed = true;
    pthread_cond_broadcast(&m->news);
    while (m->judging > 0)
        lock_wait(&m->lock, &m->news);
    lock_release(&m->lock);
}

void monitor_stop(struct monitor *m)
{
    broker_links_close(m->links);
}

void monitor_free(struct monitor *m)
{
    if (m == NULL)
        return;
    ensure(m->judging == 0);
    round_free(m->round);
    broker_links_free(m->links);
    for (int i = 0; i <= LOOK_ALL; i++)
        look_unref(m->before[i]);
    for (int i = 0; i <= LOOK_ALL; i++)
        look_unref(m->newest[i]);
    pthread_cond_destroy(&m->news);
    lock_deinit(&m->lock);
    free(m);
}
