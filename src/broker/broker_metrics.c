/* What is told of the broker as a whole: kafka.server:type=KafkaServer, KafkaRequestHandlerPool, app-info. */
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "broker/broker_internal.h"
#include "metrics/meter.h"
#include "server/request_metrics.h"
#include "server/waiting_metrics.h"

enum { METRICS_TICK_MS = 1000, IDS = 16 };

struct broker_metrics {
    struct broker *broker;
    struct bean_source source;
    struct timer tick;
    int64_t ids, started_wall_ms;
    struct meter idle; /* of workers, in nanoseconds, by their number */
    int64_t idle_us;   /* what is in it */
};

/* ---- Each second ---- */

static void count_idle(struct broker_metrics *m)
{
    struct workers *w = m->broker->services.workers;
    if (w == NULL)
        return;
    int64_t idle_us = workers_idle_us(w), threads = MAX(workers_count(w), 1);
    meter_mark(&m->idle, MAX(idle_us - m->idle_us, INT64_C(0)) * 1000 / threads);
    m->idle_us = idle_us;
}

static void broker_on_tick(struct timer *t)
{
    struct broker_metrics *m = CONTAINER_OF(t, struct broker_metrics, tick);
    count_idle(m);
    metrics_tick(m->broker->services.metrics);
    timer_start(t, METRICS_TICK_MS);
}

/* ---- As beans ---- */

/* What a broker in that state knows of itself may be looked at: it was known before the state was. */
static bool knows(const struct broker_metrics *m, enum broker_state state)
{
    return atomic_load(&m->broker->services.state) >= (int)state;
}

/* A line of /proc/self/io: what the process has had read from disks, or written to them. */
static int64_t disk_bytes(const char *what)
{
    char line[128];
    int64_t found = -1, n;
    size_t len = strlen(what);
    FILE *f = fopen("/proc/self/io", "re");
    while (f != NULL && fgets(line, sizeof(line), f) != NULL)
        if (strncmp(line, what, len) == 0 && sscanf(line + len, ": %" SCNd64, &n) == 1)
            found = n;
    if (f != NULL)
        fclose(f);
    return found;
}

static void yield_kafka_server(struct broker_metrics *m, struct bean_walk *w)
{
    const struct services *s = &m->broker->services;
    const struct {
        const char *name;
        struct bean_value value;
    } gauges[] = {{"BrokerState", bean_long(atomic_load(&s->state))},
                  {"ClusterId", bean_string(str_of(knows(m, BROKER_RECOVERY) ? s->cluster_id : ""))},
                  {"linux-disk-read-bytes", bean_long(disk_bytes("read_bytes"))},
                  {"linux-disk-write-bytes", bean_long(disk_bytes("write_bytes"))},
                  {"yammer-metrics-count", bean_long(metrics_bean_counts(s->metrics).brokers)}};
    for (size_t i = 0; i < ARRAY_LEN(gauges); i++)
        yield_gauge(w, m->ids + (int64_t)i, &(struct bean_name){"kafka.server", "KafkaServer", gauges[i].name, {{0}}},
                    gauges[i].value);
}

/* Tools show the version of Kafka that this is like, as its clients ask for that. */
static void yield_app_infos(struct broker_metrics *m, struct bean_walk *w)
{
    char id[12];
    snprintf(id, sizeof(id), "%d", knows(m, BROKER_RECOVERY) ? m->broker->services.broker_id : -1);
    struct str version = STR_LIT("3.9.1"), commit = STR_LIT("barnabas-" BARNABAS_VERSION);
    const struct bean_attribute client[] = {{"commit-id", "double", bean_string(commit)},
                                            {"start-time-ms", "double", bean_long(m->started_wall_ms)},
                                            {"version", "double", bean_string(version)}};
    const struct bean_attribute info[] = {{"CommitId", "java.lang.String", bean_string(commit)},
                                          {"StartTimeMs", "java.lang.Long", bean_long(m->started_wall_ms)},
                                          {"Version", "java.lang.String", bean_string(version)}};
    struct bean_attribute count = {"count", "double",
                                   bean_double((double)metrics_bean_counts(m->broker->services.metrics).of_clients)};
    struct bean_name name = {"kafka.server", "app-info", NULL, {{0}}};
    yield_client(w, m->ids + 5, &name, &(struct bean_attributes){client, ARRAY_LEN(client)});
    name.tags[0] = (struct bean_tag){"id", str_of(id)};
    if (knows(m, BROKER_RECOVERY))
        yield_app_info(w, m->ids + 6, &name, &(struct bean_attributes){info, ARRAY_LEN(info)});
    yield_client(w, m->ids + 7, &(struct bean_name){"kafka.server", "kafka-metrics-count", NULL, {{0}}},
                 &(struct bean_attributes){&count, 1});
}

static void broker_metrics_visit(void *ctx, struct bean_walk *w)
{
    struct broker_metrics *m = ctx;
    struct bean_name idle = {"kafka.server", "KafkaRequestHandlerPool", "RequestHandlerAvgIdlePercent", {{0}}};
    if (walk_wants(w, BEAN_OWN_DOMAIN, "Broker"))
        yield_gauge(w, m->ids + 10, &(struct bean_name){BEAN_OWN_DOMAIN, "Broker", "Registered", {{0}}},
                    bean_long(atomic_load(&m->broker->registered)));
    if (!walk_wants(w, "kafka.server", NULL))
        return;
    yield_meter(w, m->ids + 8, &idle, &m->idle);
    if (walk_wants(w, "kafka.server", "KafkaServer"))
        yield_kafka_server(m, w);
    yield_app_infos(m, w);
    if (knows(m, BROKER_RUNNING) && walk_wants(w, "kafka.server", "MetadataLoader")) {
        struct view *v = view_board_latest(m->broker->services.board);
        yield_gauge(w, m->ids + 9, &(struct bean_name){"kafka.server", "MetadataLoader", "CurrentControllerId", {{0}}},
                    bean_long(v->controller_id));
        view_unref(v);
    }
}

/* ---- Life ---- */

void broker_metrics_start(struct broker *b)
{
    struct metrics *metrics = b->services.metrics = metrics_new(clock_mono_us);
    struct broker_metrics *m = b->metrics = xcalloc(1, sizeof(*m));
    b->services.request_metrics = request_metrics_new(metrics);
    b->services.waiting = waiting_metrics_new(metrics);
    m->broker = b;
    m->ids = metrics_ids(metrics, IDS);
    m->started_wall_ms = clock_wall_ms();
    meter_init(&m->idle, metrics, "percent");
    m->idle.per_nanosecond = true;
    timer_init(&m->tick, b->control, broker_on_tick);
    timer_start(&m->tick, METRICS_TICK_MS);
    m->source = (struct bean_source){.visit = broker_metrics_visit, .ctx = m};
    metrics_add_source(metrics, &m->source);
}

void broker_metrics_stop(struct broker *b)
{
    struct broker_metrics *m = b->metrics;
    metrics_remove_source(b->services.metrics, &m->source);
    timer_stop(&m->tick);
    meter_deinit(&m->idle);
    request_metrics_free(b->services.request_metrics);
    waiting_metrics_free(b->services.waiting);
    metrics_free(b->services.metrics);
    free(m);
}
