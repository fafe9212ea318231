/*
 * What is counted of the controller: kafka.controller. Its thread looks at all partitions some time after an event has
 * changed something, and leaves figures that others read; where this broker is not the controller they are 0.
 */
#include <stdio.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/lock.h"
#include "controller/controller_internal.h"
#include "metrics/histogram.h"

enum { RECOUNT_MS = 50, CHANNEL_IDS = 2 };

/* ---- Kinds of events: their number is the state of a controller that is at work on one ---- */

static const struct {
    const char *event, *timer;
    int state;
} kinds[] = {
    {"Startup", "ControllerChangeRateAndTimeMs", 1},
    {"ControllerChange", "ControllerChangeRateAndTimeMs", 1},
    {"Reelect", "ControllerChangeRateAndTimeMs", 1},
    {"BrokerChange", "LeaderElectionRateAndTimeMs", 2},
    {"BrokerModifications", "LeaderElectionRateAndTimeMs", 2},
    {"BrokerFailure", "LeaderElectionRateAndTimeMs", 2},
    {"TopicChange", "TopicChangeRateAndTimeMs", 3},
    {"PartitionModifications", "TopicChangeRateAndTimeMs", 3},
    {"TopicDeletion", "TopicDeletionRateAndTimeMs", 4},
    {"TopicDeletionStopReplicaResponseReceived", "TopicDeletionRateAndTimeMs", 4},
    {"ZkPartitionReassignment", "PartitionReassignmentRateAndTimeMs", 5},
    {"ApiPartitionReassignment", "PartitionReassignmentRateAndTimeMs", 5},
    {"PartitionReassignmentIsrChange", "PartitionReassignmentRateAndTimeMs", 5},
    {"AutoPreferredReplicaLeaderElection", "AutoLeaderBalanceRateAndTimeMs", 6},
    {"ReplicaLeaderElection", "ManualLeaderBalanceRateAndTimeMs", 7},
    {"ControlledShutdown", "ControlledShutdownRateAndTimeMs", 8},
    {"IsrChangeNotification", "IsrChangeRateAndTimeMs", 9},
    {"AlterPartition", "IsrChangeRateAndTimeMs", 9},
    {"LeaderAndIsrResponseReceived", "LeaderAndIsrResponseReceivedRateAndTimeMs", 10},
    {"LogDirEventNotification", "LogDirChangeRateAndTimeMs", 11},
    {NULL, "ControllerShutdownRateAndTimeMs", 12},
    {"UncleanLeaderElectionEnable", "UncleanLeaderElectionEnableRateAndTimeMs", 13},
    {"TopicUncleanLeaderElectionEnable", "TopicUncleanLeaderElectionEnableRateAndTimeMs", 14},
    {"ListPartitionReassignments", "ListPartitionReassignmentRateAndTimeMs", 15},
    {NULL, "UpdateFeaturesRateAndTimeMs", 17},
};
enum { STATES = 18 };

/* Of what the thread has found. */
enum figure {
    FIGURE_ACTIVE,
    FIGURE_TOPICS,
    FIGURE_PARTITIONS,
    FIGURE_OFFLINE,
    FIGURE_ELSEWHERE,
    FIGURE_BROKERS,
    FIGURE_TOPICS_GOING,
    FIGURE_REPLICAS_GOING,
    FIGURE_TOPICS_STUCK,
    FIGURE_REPLICAS_STUCK,
    FIGURE_STATE,
    FIGURE_QUEUE,
    FIGURE_FENCED,    /* always 0 */
    FIGURE_MIGRATION, /* the same */
    FIGURES,
};

static const struct {
    const char *type, *name;
} figure_names[] = {
    [FIGURE_ACTIVE] = {"KafkaController", "ActiveControllerCount"},
    [FIGURE_TOPICS] = {"KafkaController", "GlobalTopicCount"},
    [FIGURE_PARTITIONS] = {"KafkaController", "GlobalPartitionCount"},
    [FIGURE_OFFLINE] = {"KafkaController", "OfflinePartitionsCount"},
    [FIGURE_ELSEWHERE] = {"KafkaController", "PreferredReplicaImbalanceCount"},
    [FIGURE_BROKERS] = {"KafkaController", "ActiveBrokerCount"},
    [FIGURE_TOPICS_GOING] = {"KafkaController", "TopicsToDeleteCount"},
    [FIGURE_REPLICAS_GOING] = {"KafkaController", "ReplicasToDeleteCount"},
    [FIGURE_TOPICS_STUCK] = {"KafkaController", "TopicsIneligibleToDeleteCount"},
    [FIGURE_REPLICAS_STUCK] = {"KafkaController", "ReplicasIneligibleToDeleteCount"},
    [FIGURE_STATE] = {"KafkaController", "ControllerState"},
    [FIGURE_QUEUE] = {"ControllerEventManager", "EventQueueSize"},
    [FIGURE_FENCED] = {"KafkaController", "FencedBrokerCount"},
    [FIGURE_MIGRATION] = {"KafkaController", "ZkMigrationState"},
};

/* Of the way to one broker. */
struct channel_counts {
    struct controller_metrics *of;
    int32_t broker;
    int64_t ids;
    atomic_int refs;
    atomic_int queue;
    struct timing times;
    struct channel_counts *prev, *next;
};

struct controller_metrics {
    struct controller *controller;
    struct metrics *metrics;
    struct bean_source source;
    int64_t ids;
    struct timer recount;
    int64_t pause_ms; /* before it */
    int64_t event_began_us;
    _Atomic int64_t figures[FIGURES];
    struct timing times[STATES];
    struct histogram waits; /* of events, in the queue */
    struct meter unclean;
    struct lock lock; /* guards the list */
    struct channel_counts *channels;
};

static void set_figure(struct controller_metrics *m, enum figure which, int64_t value)
{
    atomic_store_explicit(&m->figures[which], value, memory_order_relaxed);
}

/* ---- Counting, on the control loop ---- */

static int kind_of(const char *event)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (kinds[i].event != NULL && strcmp(kinds[i].event, event) == 0)
            return kinds[i].state;
    return 0;
}

static int64_t controller_count_replicas(const struct ctl_partition *p, enum replica_state state)
{
    int64_t n = 0;
    for (int32_t i = 0; i < p->replicas.n; i++)
        n += p->replica_states[i] == state;
    return n;
}

static void count_going(const struct ctl_partition *p, int64_t *figures)
{
    figures[FIGURE_REPLICAS_GOING] += p->replicas.n - controller_count_replicas(p, REPLICA_DELETED);
    figures[FIGURE_REPLICAS_STUCK] += controller_count_replicas(p, REPLICA_INELIGIBLE);
}

/* One that is only being added may not lead before it is in sync, and is not missed. */
static bool is_led_elsewhere(const struct ctl_partition *p, int32_t leader)
{
    if (p->replicas.n == 0)
        return false;
    int32_t first = p->replicas.v[0];
    if (int_list_has(p->adding, first))
        return p->known && int_list_has(p->leadership.isr, first);
    return first != leader;
}

static void count_staying(const struct ctl_partition *p, int64_t *figures)
{
    int32_t leader = p->known ? p->leadership.leader : -1;
    figures[FIGURE_OFFLINE] += p->state == PARTITION_OFFLINE || (leader < 0 && p->state != PARTITION_NEW);
    figures[FIGURE_ELSEWHERE] += is_led_elsewhere(p, leader);
}

static void count_topic(const struct ctl_topic *t, int64_t *figures)
{
    int64_t stuck = figures[FIGURE_REPLICAS_STUCK];
    figures[FIGURE_TOPICS]++;
    figures[FIGURE_PARTITIONS] += t->count;
    figures[FIGURE_TOPICS_GOING] += t->deleting;
    for (int32_t i = 0; i < t->count; i++)
        (t->deleting ? count_going : count_staying)(t->partitions[i], figures);
    figures[FIGURE_TOPICS_STUCK] += figures[FIGURE_REPLICAS_STUCK] > stuck;
}

static void recount(struct controller_metrics *m)
{
    const struct controller *c = m->controller;
    int64_t figures[FIGURES] = {[FIGURE_ACTIVE] = c->active};
    for (const struct ctl_topic *t = c->topics; t != NULL; t = t->hh.next)
        count_topic(t, figures);
    for (const struct ctl_broker *b = c->brokers; b != NULL; b = b->next)
        figures[FIGURE_BROKERS]++;
    for (int i = FIGURE_ACTIVE; i < FIGURE_STATE; i++)
        set_figure(m, (enum figure)i, figures[i]);
}

/* Where there is much to be counted, that is done more seldom, so that it takes no more than a twentieth of the time.
 */
static void controller_on_recount(struct timer *t)
{
    enum { SHARE = 20 };
    struct controller_metrics *m = CONTAINER_OF(t, struct controller_metrics, recount);
    int64_t begun_us = clock_mono_us();
    recount(m);
    m->pause_ms = MAX((clock_mono_us() - begun_us) * SHARE / 1000, (int64_t)RECOUNT_MS);
}

void controller_count_office(struct controller *c)
{
    if (c->metrics != NULL)
        recount(c->metrics);
}

void controller_count_queued(struct controller *c, int change)
{
    if (c->metrics != NULL)
        atomic_fetch_add(&c->metrics->figures[FIGURE_QUEUE], change);
}

void controller_count_begun(struct controller *c, const struct event *e)
{
    struct controller_metrics *m = c->metrics;
    if (m == NULL)
        return;
    m->event_began_us = clock_mono_us();
    histogram_record(&m->waits, m->event_began_us - e->posted_us);
    set_figure(m, FIGURE_STATE, kind_of(e->name));
}

void controller_count_done(struct controller *c, const struct event *e)
{
    struct controller_metrics *m = c->metrics;
    if (m == NULL)
        return;
    timing_record(&m->times[kind_of(e->name)], clock_mono_us() - m->event_began_us);
    set_figure(m, FIGURE_STATE, 0);
    if (!timer_is_running(&m->recount))
        timer_start(&m->recount, m->pause_ms);
}

void controller_count_unclean(struct controller *c)
{
    if (c->metrics != NULL)
        meter_mark(&c->metrics->unclean, 1);
}

/* ---- Channels ---- */

static void channel_counts_unref(struct channel_counts *n)
{
    if (atomic_fetch_sub(&n->refs, 1) > 1)
        return;
    timing_deinit(&n->times);
    free(n);
}

struct channel_counts *channel_counts_new(struct controller *c, int32_t broker)
{
    struct controller_metrics *m = c->metrics;
    if (m == NULL)
        return NULL;
    struct channel_counts *n = xcalloc(1, sizeof(*n));
    n->of = m;
    n->broker = broker;
    n->ids = metrics_ids(m->metrics, CHANNEL_IDS);
    atomic_init(&n->refs, 1);
    timing_init(&n->times, m->metrics);
    lock_take(&m->lock);
    DL_APPEND(m->channels, n);
    lock_release(&m->lock);
    return n;
}

void channel_counts_free(struct channel_counts *n)
{
    if (n == NULL)
        return;
    struct controller_metrics *m = n->of;
    lock_take(&m->lock);
    DL_DELETE(m->channels, n);
    lock_release(&m->lock);
    channel_counts_unref(n);
}

void channel_count_queued(struct channel_counts *n, int change)
{
    if (n != NULL)
        atomic_fetch_add(&n->queue, change);
}

void channel_count_sent(struct channel_counts *n, int64_t queued_us)
{
    if (n != NULL)
        timing_record(&n->times, clock_mono_us() - queued_us);
}

/* ---- As beans ---- */

static void yield_channels(struct controller_metrics *m, struct bean_walk *w)
{
    struct channel_counts *n, **list = NULL;
    size_t count = 0, cap = 0;
    int64_t all = 0;
    lock_take(&m->lock);
    DL_FOREACH (m->channels, n) {
        list = xgrow(list, count + 1, &cap, sizeof(struct channel_counts *));
        atomic_fetch_add(&n->refs, 1);
        list[count++] = n;
    }
    lock_release(&m->lock);
    for (size_t i = 0; i < count; i++) {
        char id[12];
        int64_t queue = atomic_load(&list[i]->queue);
        snprintf(id, sizeof(id), "%d", list[i]->broker);
        struct bean_name name = {
            "kafka.controller", "ControllerChannelManager", "QueueSize", {{"broker-id", str_of(id)}}};
        all += queue;
        yield_gauge(w, list[i]->ids, &name, bean_long(queue));
        name.name = "RequestRateAndQueueTimeMs";
        yield_timing(w, list[i]->ids + 1, &name, &list[i]->times);
        channel_counts_unref(list[i]);
    }
    free(list);
    yield_gauge(w, m->ids, &(struct bean_name){"kafka.controller", "ControllerChannelManager", "TotalQueueSize", {{0}}},
                bean_long(all));
}

static void yield_stats(struct controller_metrics *m, struct bean_walk *w)
{
    struct bean_name name = {"kafka.controller", "ControllerStats", "UncleanLeaderElectionsPerSec", {{0}}};
    yield_meter(w, m->ids + 1, &name, &m->unclean);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (i > 0 && kinds[i].state == kinds[i - 1].state)
            continue;
        name.name = kinds[i].timer;
        yield_timing(w, m->ids + 3 + FIGURES + kinds[i].state, &name, &m->times[kinds[i].state]);
    }
}

static void controller_metrics_visit(void *ctx, struct bean_walk *w)
{
    struct controller_metrics *m = ctx;
    struct bean_name waits = {"kafka.controller", "ControllerEventManager", "EventQueueTimeMs", {{0}}};
    if (!walk_wants(w, "kafka.controller", NULL))
        return;
    for (int i = 0; i < FIGURES; i++) {
        struct bean_name name = {"kafka.controller", figure_names[i].type, figure_names[i].name, {{0}}};
        yield_gauge(w, m->ids + 3 + i, &name, bean_long(atomic_load_explicit(&m->figures[i], memory_order_relaxed)));
    }
    yield_histogram(w, m->ids + 2, &waits, &m->waits);
    yield_stats(m, w);
    yield_channels(m, w);
}

/* ---- Life ---- */

void controller_metrics_new(struct controller *c)
{
    if (c->options.metrics == NULL)
        return;
    struct controller_metrics *m = c->metrics = xcalloc(1, sizeof(*m));
    m->controller = c;
    m->metrics = c->options.metrics;
    m->ids = metrics_ids(m->metrics, 3 + FIGURES + STATES);
    lock_init(&m->lock, RANK_CONTROLLER_COUNTS);
    timer_init(&m->recount, c->options.loop, controller_on_recount);
    m->pause_ms = RECOUNT_MS;
    for (int i = 0; i < STATES; i++)
        timing_init(&m->times[i], m->metrics);
    histogram_init(&m->waits, m->metrics, HISTOGRAM_WHOLE_MS);
    meter_init(&m->unclean, m->metrics, "elections");
    m->source = (struct bean_source){.visit = controller_metrics_visit, .ctx = m};
    metrics_add_source(m->metrics, &m->source);
}

void controller_metrics_free(struct controller *c)
{
    struct controller_metrics *m = c->metrics;
    if (m == NULL)
        return;
    ensure(m->channels == NULL);
    metrics_remove_source(m->metrics, &m->source);
    timer_stop(&m->recount);
    for (int i = 0; i < STATES; i++)
        timing_deinit(&m->times[i]);
    histogram_deinit(&m->waits);
    meter_deinit(&m->unclean);
    lock_deinit(&m->lock);
    free(m);
    c->metrics = NULL;
}
