/*
 * What is told of partitions: kafka.server:type=ReplicaManager, kafka.cluster:type=Partition, kafka.log:type=Log.
 * Gauges are read off the partitions when somebody asks, one after the other, each with its lock for a moment. Where
 * this broker does not lead they are 0, so that the sum over brokers is right.
 */
#include <stdio.h>

#include "base/clock.h"
#include "replica/replica_internal.h"

enum { PARTITION_GAUGES = 6, LOG_GAUGES = 4, MANAGER_IDS = 12, THROTTLES = 3 };
/* Behind the gauges. */
enum { EXPIRED_ID = PARTITION_GAUGES + 2 * LOG_GAUGES };
_Static_assert((int)EXPIRED_ID < (int)PARTITION_BEAN_IDS, "too few ids");

/* ---- One partition ---- */

struct partition_state {
    bool leads, under_replicated, under_min_isr, at_min_isr, reassigning;
    int32_t isr, replicas;
    struct plog *log, *future; /* with a reference; the latter may be NULL */
};

static struct partition_state partition_look(struct partition *p)
{
    struct partition_state s = {0};
    lock_take(&p->lock);
    s.log = p->log;
    s.future = p->future;
    plog_ref(s.log);
    if (s.future != NULL)
        plog_ref(s.future);
    if (p->leads) {
        s.leads = true;
        s.isr = p->isr.n;
        s.replicas = p->replicas.n - p->adding.n; /* as many as there are to be in the end, and are now */
        s.under_replicated = s.isr < s.replicas;
        s.under_min_isr = s.isr < followers_min_isr(p);
        s.at_min_isr = s.isr == followers_min_isr(p);
        s.reassigning = p->reassigning;
    }
    lock_release(&p->lock);
    return s;
}

static void partition_state_deinit(struct partition_state *s)
{
    plog_unref(s->log);
    plog_unref(s->future);
}

static void yield_log(struct bean_walk *w, const struct bean_name *name, int64_t ids, struct plog *log)
{
    const struct named_number gauges[LOG_GAUGES] = {{"LogEndOffset", plog_end_offset(log)},
                                                    {"LogStartOffset", plog_start_offset(log)},
                                                    {"NumLogSegments", plog_segment_count(log)},
                                                    {"Size", plog_size(log)}};
    yield_gauges(w, ids, name, gauges, LOG_GAUGES);
}

/* Which beans of partitions: asked once for all of them. */
struct wanted_beans {
    bool partition, log, expired;
};

static struct wanted_beans partition_beans_wanted(const struct bean_walk *w)
{
    return (struct wanted_beans){.partition = walk_wants(w, "kafka.cluster", "Partition"),
                                 .log = walk_wants(w, "kafka.log", "Log"),
                                 .expired = walk_wants(w, "kafka.server", "DelayedProduceMetrics")};
}

/* As with Kafka's it is there from the first time on. */
static void yield_expired(struct partition *p, struct bean_walk *w, struct str number)
{
    const struct meter *m = lazy_meter_get(&p->expired);
    struct bean_name name = {"kafka.server",
                             "DelayedProduceMetrics",
                             "ExpiresPerSec",
                             {{"topic", str_of(p->key.topic)}, {"partition", number}}};
    if (m != NULL)
        yield_meter(w, p->bean_ids + EXPIRED_ID, &name, m);
}

static void yield_partition(struct partition *p, struct bean_walk *w, const struct wanted_beans *wanted,
                            const struct partition_state *s)
{
    char number[12];
    snprintf(number, sizeof(number), "%d", p->key.index);
    struct bean_name name = {
        "kafka.cluster", "Partition", NULL, {{"topic", str_of(p->key.topic)}, {"partition", str_of(number)}}};
    const struct named_number gauges[PARTITION_GAUGES] = {
        {"AtMinIsr", s->at_min_isr},
        {"InSyncReplicasCount", s->isr},
        {"LastStableOffsetLag", plog_high_watermark(s->log) - plog_last_stable_offset(s->log)},
        {"ReplicasCount", s->replicas},
        {"UnderMinIsr", s->under_min_isr},
        {"UnderReplicated", s->under_replicated}};
    if (wanted->partition)
        yield_gauges(w, p->bean_ids, &name, gauges, PARTITION_GAUGES);
    name.domain = "kafka.log";
    name.type = "Log";
    if (wanted->log) {
        yield_log(w, &name, p->bean_ids + PARTITION_GAUGES, s->log);
        name.tags[2] = (struct bean_tag){"is-future", STR_LIT("true")};
        if (s->future != NULL)
            yield_log(w, &name, p->bean_ids + PARTITION_GAUGES + LOG_GAUGES, s->future);
    }
    if (wanted->expired)
        yield_expired(p, w, str_of(number));
}

/* If but one is asked for it is looked up; true then. */
static bool visit_named(struct replica_manager *rm, struct bean_walk *w, const struct wanted_beans *beans)
{
    const struct bean_pattern *wanted = walk_pattern(w);
    char room[2][LONGEST_TOPIC_NAME + 2];
    int32_t index;
    if (wanted == NULL)
        return false;
    struct str topic = bean_pattern_value(wanted, "topic", room[0], sizeof(room[0]));
    struct str number = bean_pattern_value(wanted, "partition", room[1], sizeof(room[1]));
    if (topic.p == NULL || number.p == NULL || !str_to_int32(number, &index))
        return false;
    struct partition *p = replica_partition(rm, topic, index);
    if (p != NULL) {
        struct partition_state s = partition_look(p);
        yield_partition(p, w, beans, &s);
        partition_state_deinit(&s);
    }
    partition_unref(p);
    return true;
}

/* ---- All of them ---- */

struct manager_sums {
    int64_t leads, under_replicated, under_min_isr, at_min_isr, reassigning, late, producers;
};

static void sum_partition(const struct partition_state *s, int64_t now, int64_t late_after_ms,
                          struct manager_sums *sums)
{
    struct plog_producer_counts producers = plog_count_producers(s->log);
    sums->leads += s->leads;
    sums->under_replicated += s->under_replicated;
    sums->under_min_isr += s->under_min_isr;
    sums->at_min_isr += s->at_min_isr;
    sums->reassigning += s->reassigning;
    sums->late += s->leads && now - producers.oldest_open_ms > late_after_ms;
    sums->producers += producers.count;
}

static int64_t count_offline(struct replica_manager *rm)
{
    shared_lock_read(&rm->table_lock);
    int64_t n = HASH_COUNT(rm->offline);
    shared_lock_release(&rm->table_lock);
    return n;
}

static void yield_manager(struct replica_manager *rm, struct bean_walk *w, const struct manager_sums *sums,
                          size_t partitions)
{
    struct bean_name name = {"kafka.server", "ReplicaManager", NULL, {{0}}};
    int64_t offline = count_offline(rm);
    const struct named_number gauges[] = {
        {"AtMinIsrPartitionCount", sums->at_min_isr},
        {"LeaderCount", sums->leads},
        {"OfflineReplicaCount", offline},
        {"PartitionCount", (int64_t)partitions + offline},
        {"PartitionsWithLateTransactionsCount", sums->late},
        {"ProducerIdCount", sums->producers},
        {"ReassigningPartitions", sums->reassigning},
        {"UnderMinIsrPartitionCount", sums->under_min_isr},
        {"UnderReplicatedPartitions", sums->under_replicated},
    };
    yield_gauges(w, rm->bean_ids, &name, gauges, ARRAY_LEN(gauges));
    const struct {
        const char *name;
        const struct meter *meter;
    } meters[] = {{"FailedIsrUpdatesPerSec", &rm->isr_failures},
                  {"IsrExpandsPerSec", &rm->isr_expands},
                  {"IsrShrinksPerSec", &rm->isr_shrinks}};
    for (size_t i = 0; i < ARRAY_LEN(meters); i++) {
        name.name = meters[i].name;
        yield_meter(w, rm->bean_ids + (int64_t)(ARRAY_LEN(gauges) + i), &name, meters[i].meter);
    }
}

static void yield_throttles(struct replica_manager *rm, struct bean_walk *w)
{
    struct throttle *const throttles[THROTTLES] = {&rm->leader_throttle, &rm->follower_throttle, &rm->move_throttle};
    static const char *const types[THROTTLES] = {"LeaderReplication", "FollowerReplication", "AlterLogDirsReplication"};
    for (int i = 0; i < THROTTLES; i++) {
        struct bean_name name = {"kafka.server", types[i], NULL, {{0}}};
        double rate;
        if (!walk_wants(w, name.domain, name.type) || !throttle_read(throttles[i], clock_mono_ms(), &rate))
            continue;
        struct bean_attribute a = {"byte-rate", "double", bean_double(rate)};
        yield_client(w, rm->bean_ids + MANAGER_IDS + i, &name, &(struct bean_attributes){&a, 1});
    }
}

static void replica_metrics_visit(void *ctx, struct bean_walk *w)
{
    struct replica_manager *rm = ctx;
    size_t count;
    struct manager_sums sums = {0};
    bool manager = walk_wants(w, "kafka.server", "ReplicaManager");
    const struct wanted_beans beans = partition_beans_wanted(w);
    bool each = beans.partition || beans.log || beans.expired;
    broker_counts_visit(&rm->counts, w);
    yield_throttles(rm, w);
    if ((!manager && !each) || (each && visit_named(rm, w, &beans)))
        return;
    int64_t late_after_ms = rm->options.config->transaction_max_timeout_ms + INT64_C(5) * 60 * 1000;
    struct partition **list = replica_all_partitions(rm, &count);
    for (size_t i = 0; i < count; i++) {
        if (!walk_is_over(w)) {
            struct partition_state s = partition_look(list[i]);
            if (each)
                yield_partition(list[i], w, &beans, &s);
            if (manager)
                sum_partition(&s, clock_wall_ms(), late_after_ms, &sums);
            partition_state_deinit(&s);
        }
        partition_unref(list[i]);
    }
    free(list);
    if (manager)
        yield_manager(rm, w, &sums, count);
}

void replica_metrics_init(struct replica_manager *rm)
{
    struct metrics *m = rm->options.metrics;
    broker_counts_init(&rm->counts, m);
    if (m == NULL)
        return;
    rm->bean_ids = metrics_ids(m, MANAGER_IDS + THROTTLES);
    meter_init(&rm->isr_shrinks, m, "shrinks");
    meter_init(&rm->isr_expands, m, "expands");
    meter_init(&rm->isr_failures, m, "failedUpdates");
    rm->source = (struct bean_source){.visit = replica_metrics_visit, .ctx = rm};
    metrics_add_source(m, &rm->source);
}

void replica_metrics_close(struct replica_manager *rm)
{
    if (rm->options.metrics != NULL)
        metrics_remove_source(rm->options.metrics, &rm->source);
}

void replica_metrics_deinit(struct replica_manager *rm)
{
    meter_deinit(&rm->isr_shrinks);
    meter_deinit(&rm->isr_expands);
    meter_deinit(&rm->isr_failures);
    broker_counts_deinit(&rm->counts);
}

void partition_mark(struct partition *p, enum topic_meter which, int64_t n)
{
    topic_counts_mark(&p->manager->counts, p->counts, which, n);
}

void partition_count_expired(struct partition *p)
{
    if (p->manager->options.metrics != NULL)
        lazy_meter_mark(&p->expired, p->manager->options.metrics, "requests", 1);
}

void partition_count_sent(struct partition *p, int32_t replica, int64_t bytes)
{
    partition_mark(p, BROKER_REPLICATION_OUT, bytes);
    if (!atomic_load(&p->reassigning))
        return;
    lock_take(&p->lock);
    bool is_new = int_list_has(p->adding, replica);
    lock_release(&p->lock);
    if (is_new)
        partition_mark(p, BROKER_REASSIGNMENT_OUT, bytes);
}

void partition_count_leadership(struct partition *p)
{
    ensure(lock_is_held(&p->lock));
    if (p->leads == p->counted)
        return;
    p->counted = p->leads;
    topic_counts_lead(p->counts, p->leads ? 1 : -1);
}
