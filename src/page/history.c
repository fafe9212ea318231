#include "page/history.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/lock.h"
#include "metrics/bean_ask.h"

/* What a series is read from. Counts become rates; where several beans match, shares are averaged. */
static const struct history_source {
    const char *pattern, *attribute;
    bool counts;
    const char *without; /* what matches this, too, does not count */
} sources[HISTORY_SERIES] = {
    [HISTORY_BYTES_IN] = {"kafka.server:type=BrokerTopicMetrics,name=BytesInPerSec", "Count", true, NULL},
    [HISTORY_BYTES_OUT] = {"kafka.server:type=BrokerTopicMetrics,name=BytesOutPerSec", "Count", true, NULL},
    [HISTORY_RECORDS_IN] = {"kafka.server:type=BrokerTopicMetrics,name=MessagesInPerSec", "Count", true, NULL},
    /* Each fetch is among those of its kind as well. */
    [HISTORY_REQUESTS] = {"kafka.network:type=RequestMetrics,name=RequestsPerSec,*", "Count", true,
                          "kafka.network:type=RequestMetrics,name=RequestsPerSec,request=Fetch,*"},
    [HISTORY_PRODUCE_MEDIAN_MS] = {"kafka.network:type=RequestMetrics,name=TotalTimeMs,request=Produce",
                                   "50thPercentile", false, NULL},
    [HISTORY_PRODUCE_MS] = {"kafka.network:type=RequestMetrics,name=TotalTimeMs,request=Produce", "99thPercentile",
                            false, NULL},
    [HISTORY_FETCH_MEDIAN_MS] = {"kafka.network:type=RequestMetrics,name=TotalTimeMs,request=FetchConsumer",
                                 "50thPercentile", false, NULL},
    [HISTORY_FETCH_MS] = {"kafka.network:type=RequestMetrics,name=TotalTimeMs,request=FetchConsumer", "99thPercentile",
                          false, NULL},
    [HISTORY_NETWORK_IDLE] = {"kafka.network:type=SocketServer,name=NetworkProcessorAvgIdlePercent", "Value", false,
                              NULL},
    [HISTORY_HANDLER_IDLE] = {"kafka.server:type=KafkaRequestHandlerPool,name=RequestHandlerAvgIdlePercent",
                              "OneMinuteRate", false, NULL},
};

struct history {
    struct metrics *metrics;
    struct loop_thread thread;
    struct timer timer;
    double counts[HISTORY_SERIES];               /* at the last step */
    int64_t counted_ms;                          /* when that was; 0: there was none */
    struct loop_sleep slept[HISTORY_MOST_LOOPS]; /* then */
    int slept_count;
    int64_t slept_us; /* when, to the microsecond */
    struct lock lock; /* guards what follows */
    float points[HISTORY_SERIES][HISTORY_POINTS];
    int64_t taken;
    struct history_loop loops[HISTORY_MOST_LOOPS];
    int loop_count;
};

static double resident_bytes(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f != NULL && fscanf(f, "%*s %ld", &pages) != 1)
        pages = 0;
    if (f != NULL)
        fclose(f);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static double history_look(struct history *h, int which, int64_t now)
{
    const struct history_source *s = &sources[which];
    double value = 0, less = 0, before = h->counts[which];
    if (s->pattern == NULL)
        return resident_bytes();
    int found = bean_sum(h->metrics, s->pattern, s->attribute, &value);
    if (s->without != NULL) {
        found -= bean_sum(h->metrics, s->without, s->attribute, &less);
        value -= less;
    }
    if (!s->counts)
        return found > 0 ? value / found : 0;
    h->counts[which] = value;
    return h->counted_ms > 0 && now > h->counted_ms ? MAX(value - before, 0) * 1000 / (double)(now - h->counted_ms) : 0;
}

static double idle_since(const struct history *h, const struct loop_sleep *now, int64_t now_us)
{
    for (int i = 0; i < h->slept_count; i++)
        if (strcmp(h->slept[i].name, now->name) == 0 && now_us > h->slept_us)
            return MIN(1, (double)(now->idle_us - h->slept[i].idle_us) / (double)(now_us - h->slept_us));
    return NAN;
}

static void look_at_loops(struct history *h)
{
    struct loop_sleep now[HISTORY_MOST_LOOPS];
    int count = loops_asleep(now, HISTORY_MOST_LOOPS);
    int64_t now_us = clock_mono_us();
    lock_take(&h->lock);
    for (int i = 0; i < count; i++) {
        memcpy(h->loops[i].name, now[i].name, LOOP_NAME_ROOM);
        h->loops[i].idle = idle_since(h, &now[i], now_us);
    }
    h->loop_count = count;
    lock_release(&h->lock);
    memcpy(h->slept, now, (size_t)count * sizeof(*now));
    h->slept_count = count;
    h->slept_us = now_us;
}

/* The first time rates are not known yet: nothing is kept. */
static void history_step(struct timer *t)
{
    struct history *h = CONTAINER_OF(t, struct history, timer);
    float now[HISTORY_SERIES];
    int64_t now_ms = clock_mono_ms();
    bool first = h->counted_ms == 0;
    for (int i = 0; i < HISTORY_SERIES; i++)
        now[i] = (float)history_look(h, i, now_ms);
    h->counted_ms = now_ms;
    look_at_loops(h);
    lock_take(&h->lock);
    for (int i = 0; i < HISTORY_SERIES && !first; i++)
        h->points[i][h->taken % HISTORY_POINTS] = now[i];
    h->taken += !first;
    lock_release(&h->lock);
    timer_start(t, first ? HISTORY_STEP_MS / 10 : HISTORY_STEP_MS);
}

int history_read(struct history *h, enum history_series which, float out[HISTORY_POINTS])
{
    lock_take(&h->lock);
    int count = (int)MIN(h->taken, HISTORY_POINTS);
    for (int i = 0; i < count; i++)
        out[i] = h->points[which][(h->taken - count + i) % HISTORY_POINTS];
    lock_release(&h->lock);
    return count;
}

int history_read_loops(struct history *h, struct history_loop out[HISTORY_MOST_LOOPS])
{
    lock_take(&h->lock);
    int count = h->loop_count;
    memcpy(out, h->loops, (size_t)count * sizeof(*out));
    lock_release(&h->lock);
    return count;
}

struct history *history_new(struct metrics *metrics)
{
    struct history *h = xcalloc(1, sizeof(*h));
    h->metrics = metrics;
    lock_init(&h->lock, RANK_HISTORY);
    struct loop *loop = loop_new("history");
    timer_init(&h->timer, loop, history_step);
    timer_start(&h->timer, 0);
    loop_thread_start(&h->thread, loop);
    return h;
}

void history_free(struct history *h)
{
    if (h == NULL)
        return;
    struct loop *loop = h->thread.loop;
    loop_thread_join(&h->thread);
    timer_stop(&h->timer);
    loop_free(loop);
    lock_deinit(&h->lock);
    free(h);
}
