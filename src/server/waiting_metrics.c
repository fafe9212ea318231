#include "server/waiting_metrics.h"

#include "metrics/meter.h"

static const char *const waiting_names[] = {[WAITING_PRODUCE] = "Produce",
                                            [WAITING_FETCH] = "Fetch",
                                            [WAITING_DELETE_RECORDS] = "DeleteRecords",
                                            [WAITING_TOPIC] = "topic",
                                            [WAITING_ELECT_LEADER] = "ElectLeader",
                                            [WAITING_ALTER_ACLS] = "AlterAcls",
                                            [WAITING_REMOTE_FETCH] = "RemoteFetch"};

struct waiting_metrics {
    struct metrics *metrics;
    struct bean_source source;
    int64_t ids;
    struct counter requests[WAITING_KINDS], places[WAITING_KINDS];
    struct meter followers, consumers, producers, deleters; /* that waited for as long as they may */
};

void waiting_count(struct waiting_metrics *w, enum waiting_kind kind, int requests, int places)
{
    if (w == NULL)
        return;
    counter_add(&w->requests[kind], requests);
    counter_add(&w->places[kind], places);
}

void waiting_expired(struct waiting_metrics *w, enum waiting_kind kind, int places, bool by_follower)
{
    if (w == NULL)
        return;
    if (kind == WAITING_FETCH)
        meter_mark(by_follower ? &w->followers : &w->consumers, 1);
    else if (kind == WAITING_PRODUCE)
        meter_mark(&w->producers, places);
    else if (kind == WAITING_DELETE_RECORDS)
        meter_mark(&w->deleters, places);
}

static void waiting_metrics_visit(void *ctx, struct bean_walk *walk)
{
    struct waiting_metrics *w = ctx;
    struct bean_name fetch = {"kafka.server", "DelayedFetchMetrics", "ExpiresPerSec", {{"fetcherType", STR_NULL}}};
    for (int i = 0; i < WAITING_KINDS; i++) {
        struct bean_name name = {"kafka.server",
                                 "DelayedOperationPurgatory",
                                 "NumDelayedOperations",
                                 {{"delayedOperation", str_of(waiting_names[i])}}};
        yield_gauge(walk, w->ids + 2 * i, &name, bean_long(counter_read(&w->requests[i])));
        name.name = "PurgatorySize";
        yield_gauge(walk, w->ids + 2 * i + 1, &name, bean_long(counter_read(&w->places[i])));
    }
    int64_t ids = w->ids + INT64_C(2) * WAITING_KINDS;
    fetch.tags[0].value = STR_LIT("follower");
    yield_meter(walk, ids, &fetch, &w->followers);
    fetch.tags[0].value = STR_LIT("consumer");
    yield_meter(walk, ids + 1, &fetch, &w->consumers);
    yield_meter(walk, ids + 2, &(struct bean_name){"kafka.server", "DelayedProduceMetrics", "ExpiresPerSec", {{0}}},
                &w->producers);
    yield_meter(walk, ids + 3,
                &(struct bean_name){"kafka.server", "DelayedDeleteRecordsMetrics", "ExpiresPerSec", {{0}}},
                &w->deleters);
}

struct waiting_metrics *waiting_metrics_new(struct metrics *m)
{
    struct waiting_metrics *w = xcalloc(1, sizeof(*w));
    w->metrics = m;
    w->ids = metrics_ids(m, 2 * WAITING_KINDS + 4);
    for (int i = 0; i < WAITING_KINDS; i++) {
        counter_init(&w->requests[i]);
        counter_init(&w->places[i]);
    }
    meter_init(&w->followers, m, "requests");
    meter_init(&w->consumers, m, "requests");
    meter_init(&w->producers, m, "requests");
    meter_init(&w->deleters, m, "requests");
    w->source = (struct bean_source){.visit = waiting_metrics_visit, .ctx = w};
    metrics_add_source(m, &w->source);
    return w;
}

void waiting_metrics_free(struct waiting_metrics *w)
{
    metrics_remove_source(w->metrics, &w->source);
    for (int i = 0; i < WAITING_KINDS; i++) {
        counter_deinit(&w->requests[i]);
        counter_deinit(&w->places[i]);
    }
    meter_deinit(&w->followers);
    meter_deinit(&w->consumers);
    meter_deinit(&w->producers);
    meter_deinit(&w->deleters);
    free(w);
}
