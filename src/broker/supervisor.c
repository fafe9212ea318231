/*
 * What the service manager hears of a broker that it has started (base/notify.h):
 *
 *     starting    what it is at, and each time that it has got further, more time: recovery may take minutes
 *     running     READY=1; once in a while a line of figures, which a worker makes, as it looks at partitions
 *     reloading   RELOADING=1, then READY=1
 *     stopping    STOPPING=1, and more time with each step, and while logs are closed, which may be very many
 *
 * And the watchdog: at a third of its time each loop is sent a ping, and WATCHDOG=1 goes out when all have answered.
 * One that does not answer is named, in the log and in the status, before the manager ends the process for that.
 *
 * Workers are not asked, nor the threads of directories: that they wait for a disk, as syncs, cold reads and appends to
 * a full segment do, is no reason to end a broker that has other disks. A loop that waits is one, whatever it waits
 * for: an append to a segment with room is its own write into the kernel's memory, and does not come back while the
 * kernel has it wait for a disk that hangs. All on the control loop, which answers for itself by being here.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/logger.h"
#include "base/notify.h"
#include "broker/broker_internal.h"
#include "metrics/bean_ask.h"

enum { TICK_MS = 1000, FIGURES_TICKS = 10, MORE_TIME_US = 60 * 1000000, TEXT_ROOM = 256 };

struct ping {
    struct message out, back;
    struct loop *loop;
    struct supervisor *from;
    bool answered;
};

struct supervisor {
    struct broker *broker;
    struct timer tick;
    int ticks;               /* since the last figures */
    char said[TEXT_ROOM];    /* the status */
    struct job figures;      /* are being made */
    char figured[TEXT_ROOM]; /* by it */
    bool figuring;
    struct timer round; /* of pings */
    int64_t round_ms;   /* 0: there is no watchdog */
    struct ping **pings;
    size_t ping_count, ping_cap, unanswered;
    _Atomic int64_t tell_closed_at; /* when the next notice of logs that are closed is due */
};

/* ---- Status ---- */

static void say_status(struct supervisor *s, const char *with, const char *text)
{
    snprintf(s->said, sizeof(s->said), "%s", text);
    for (char *p = s->said; *p != '\0'; p++)
        if (*p == '\n')
            *p = ' '; /* what follows would be a notice of its own */
    notify_say("%sSTATUS=%s", with, s->said);
}

static void describe_start(const struct broker *b, char text[TEXT_ROOM])
{
    struct load_progress at;
    if (b->services.logs == NULL) {
        snprintf(text, TEXT_ROOM, "Connecting to ZooKeeper at %s", b->config->zookeeper_connect);
        return;
    }
    log_manager_progress(b->services.logs, &at);
    if (b->services.controller != NULL)
        snprintf(text, TEXT_ROOM, "Registering in ZooKeeper");
    else if (at.recovered_bytes > 0)
        snprintf(text, TEXT_ROOM, "Recovering: %d of %d logs, %" PRId64 " MB read again", at.loaded, at.logs,
                 at.recovered_bytes >> 20);
    else
        snprintf(text, TEXT_ROOM, "Loading: %d of %d logs", at.loaded, at.logs);
}

void supervisor_look(struct broker *b)
{
    struct supervisor *s = b->supervisor;
    char text[TEXT_ROOM], more_time[64];
    if (s == NULL || b->serving || b->stopping || b->leaving)
        return;
    describe_start(b, text);
    if (strcmp(text, s->said) == 0)
        return; /* no further than it was: the time that it has is running */
    snprintf(more_time, sizeof(more_time), "EXTEND_TIMEOUT_USEC=%d\n", MORE_TIME_US);
    say_status(s, more_time, text);
}

static void make_figures(struct job *job)
{
    struct supervisor *s = CONTAINER_OF(job, struct supervisor, figures);
    struct metrics *m = s->broker->services.metrics;
    double leads, has, lacking, in, out;
    bean_sum(m, "kafka.server:type=ReplicaManager,name=LeaderCount", "Value", &leads);
    bean_sum(m, "kafka.server:type=ReplicaManager,name=PartitionCount", "Value", &has);
    bean_sum(m, "kafka.server:type=ReplicaManager,name=UnderReplicatedPartitions", "Value", &lacking);
    bean_sum(m, "kafka.server:type=BrokerTopicMetrics,name=BytesInPerSec", "OneMinuteRate", &in);
    bean_sum(m, "kafka.server:type=BrokerTopicMetrics,name=BytesOutPerSec", "OneMinuteRate", &out);
    snprintf(s->figured, sizeof(s->figured),
             "Serving: leads %.0f of its %.0f partitions, %.0f under-replicated; %.1f MB/s in, %.1f MB/s out", leads,
             has, lacking, in / 1e6, out / 1e6);
}

static bool is_serving(const struct broker *b)
{
    return b->serving && !b->stopping && !b->leaving;
}

static void on_figures(struct message *m)
{
    struct supervisor *s = CONTAINER_OF(m, struct supervisor, figures.done);
    ensure(s->figuring);
    s->figuring = false;
    if (is_serving(s->broker) && s->unanswered == 0)
        say_status(s, "", s->figured);
}

static void order_figures(struct supervisor *s)
{
    if (s->figuring)
        return; /* no worker has had the time */
    s->figuring = true;
    s->ticks = 0;
    s->figures = (struct job){.run = make_figures, .home = s->broker->control, .done = {.deliver = on_figures}};
    workers_submit(s->broker->services.workers, &s->figures);
}

static void supervisor_on_tick(struct timer *t)
{
    struct supervisor *s = CONTAINER_OF(t, struct supervisor, tick);
    supervisor_look(s->broker);
    if (is_serving(s->broker) && ++s->ticks >= FIGURES_TICKS)
        order_figures(s);
    timer_start(t, TICK_MS);
}

/* ---- The watchdog ---- */

static void on_ping(struct message *m)
{
    struct ping *p = CONTAINER_OF(m, struct ping, out);
    loop_post(p->from->broker->control, &p->back);
}

static void feed(struct supervisor *s)
{
    ensure(s->unanswered == 0);
    notify_say("WATCHDOG=1");
}

static void on_ping_back(struct message *m)
{
    struct ping *p = CONTAINER_OF(m, struct ping, back);
    struct supervisor *s = p->from;
    ensure(!p->answered && s->unanswered > 0);
    p->answered = true;
    if (--s->unanswered == 0)
        feed(s);
}

static void name_silent(struct supervisor *s)
{
    struct strbuf names = {0};
    for (size_t i = 0; i < s->ping_count; i++)
        if (!s->pings[i]->answered)
            strbuf_printf(&names, "%s%s", names.len > 0 ? ", " : "", loop_name(s->pings[i]->loop));
    log_warn("Loops do not answer the watchdog: %s", names.p);
    char text[TEXT_ROOM];
    snprintf(text, sizeof(text), "Loops do not answer: %s", names.p);
    say_status(s, "", text);
    strbuf_deinit(&names);
}

static void on_round(struct timer *t)
{
    struct supervisor *s = CONTAINER_OF(t, struct supervisor, round);
    timer_start(t, s->round_ms);
    if (s->unanswered > 0) {
        name_silent(s);
        return;
    }
    s->unanswered = s->ping_count;
    for (size_t i = 0; i < s->ping_count; i++) {
        s->pings[i]->answered = false;
        loop_post(s->pings[i]->loop, &s->pings[i]->out);
    }
    if (s->ping_count == 0)
        feed(s);
}

void supervisor_add(struct broker *b, struct loop *loop)
{
    struct supervisor *s = b->supervisor;
    if (s == NULL)
        return;
    ensure(loop != b->control && s->unanswered == 0);
    struct ping *p = xcalloc(1, sizeof(*p));
    *p = (struct ping){{.deliver = on_ping}, {.deliver = on_ping_back}, loop, s, true};
    s->pings = xgrow(s->pings, s->ping_count + 1, &s->ping_cap, sizeof(struct ping *));
    s->pings[s->ping_count++] = p;
}

/* ---- Life ---- */

void supervisor_start(struct broker *b)
{
    if (!notify_is_heard())
        return;
    struct supervisor *s = b->supervisor = xcalloc(1, sizeof(*s));
    s->broker = b;
    timer_init(&s->tick, b->control, supervisor_on_tick);
    timer_start(&s->tick, TICK_MS);
    timer_init(&s->round, b->control, on_round);
    s->round_ms = notify_watchdog_us() > 0 ? MAX(notify_watchdog_us() / 3000, INT64_C(1)) : 0;
    if (s->round_ms > 0)
        timer_start(&s->round, s->round_ms);
    supervisor_look(b);
}

void supervisor_ready(struct broker *b)
{
    if (b->supervisor == NULL)
        return;
    say_status(b->supervisor, "READY=1\n", "Serving");
    order_figures(b->supervisor);
}

void supervisor_reload_begins(struct broker *b)
{
    if (b->supervisor != NULL && is_serving(b))
        notify_say("RELOADING=1\nMONOTONIC_USEC=%" PRId64, clock_mono_us());
}

void supervisor_reload_ends(struct broker *b)
{
    if (b->supervisor != NULL && is_serving(b))
        notify_say("READY=1");
}

void supervisor_stopping(struct broker *b, const char *step)
{
    char with[64];
    if (b->supervisor == NULL)
        return;
    snprintf(with, sizeof(with), "STOPPING=1\nEXTEND_TIMEOUT_USEC=%d\n", MORE_TIME_US);
    say_status(b->supervisor, with, step);
}

/* One in a while, from whichever thread comes first. */
void supervisor_logs_closed(void *broker, int closed, int logs)
{
    struct supervisor *s = ((struct broker *)broker)->supervisor;
    if (s == NULL)
        return;
    int64_t now = clock_mono_us(), due = atomic_load(&s->tell_closed_at);
    if (now >= due && atomic_compare_exchange_strong(&s->tell_closed_at, &due, now + TICK_MS * 1000))
        notify_say("EXTEND_TIMEOUT_USEC=%d\nSTATUS=Stopping: closed %d of %d logs", MORE_TIME_US, closed, logs);
}

void supervisor_free(struct broker *b)
{
    struct supervisor *s = b->supervisor;
    if (s == NULL)
        return;
    timer_stop(&s->tick);
    timer_stop(&s->round);
    for (size_t i = 0; i < s->ping_count; i++)
        free(s->pings[i]);
    free(s->pings);
    free(s);
    b->supervisor = NULL;
}
