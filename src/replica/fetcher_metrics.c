#include "replica/fetcher_metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <utlist.h>

#include "replica/replica_internal.h"

enum { MANAGER_GAUGES = 4 };

struct fetcher_counts {
    struct fetcher_metrics *of;
    int64_t ids;
    atomic_int refs;
    char client_id[40], port[8];
    char *host;
    struct meter requests, bytes;
    struct fetcher_counts *prev, *next;
};

struct fetcher_metrics {
    struct metrics *metrics;
    struct replica_manager *replicas;
    int (*lane)(void *ctx, struct partition *p);
    void *ctx;
    struct bean_source source;
    int64_t ids;
    atomic_int failed; /* partitions that are followed */
    struct lock lock;  /* guards the list */
    struct fetcher_counts *fetchers;
};

static void fetcher_client_id(char *out, size_t size, int lane, int32_t leader)
{
    snprintf(out, size, "ReplicaFetcherThread-%d-%" PRId32, lane, leader);
}

/* ---- The ways to leaders ---- */

static void fetcher_counts_unref(struct fetcher_counts *c)
{
    if (atomic_fetch_sub(&c->refs, 1) > 1)
        return;
    meter_deinit(&c->requests);
    meter_deinit(&c->bytes);
    free(c->host);
    free(c);
}

struct fetcher_counts *fetcher_counts_new(struct fetcher_metrics *m, int lane, int32_t leader, const char *host,
                                          int port)
{
    if (m == NULL)
        return NULL;
    struct fetcher_counts *c = xcalloc(1, sizeof(*c));
    c->of = m;
    c->ids = metrics_ids(m->metrics, 2);
    c->host = xstrdup(host);
    atomic_init(&c->refs, 1);
    fetcher_client_id(c->client_id, sizeof(c->client_id), lane, leader);
    snprintf(c->port, sizeof(c->port), "%u", (unsigned)port & 0xffff);
    meter_init(&c->requests, m->metrics, "requests");
    meter_init(&c->bytes, m->metrics, "bytes");
    lock_take(&m->lock);
    DL_APPEND(m->fetchers, c);
    lock_release(&m->lock);
    return c;
}

void fetcher_counts_free(struct fetcher_counts *c)
{
    if (c == NULL)
        return;
    struct fetcher_metrics *m = c->of;
    lock_take(&m->lock);
    DL_DELETE(m->fetchers, c);
    lock_release(&m->lock);
    fetcher_counts_unref(c);
}

void fetcher_count_request(struct fetcher_counts *c)
{
    if (c != NULL)
        meter_mark(&c->requests, 1);
}

void fetcher_count_bytes(struct fetcher_counts *c, int64_t bytes)
{
    if (c != NULL)
        meter_mark(&c->bytes, bytes);
}

static void yield_fetcher(struct bean_walk *w, const struct fetcher_counts *c)
{
    struct bean_name name = {
        "kafka.server",
        "FetcherStats",
        "RequestsPerSec",
        {{"clientId", str_of(c->client_id)}, {"brokerHost", str_of(c->host)}, {"brokerPort", str_of(c->port)}}};
    yield_meter(w, c->ids, &name, &c->requests);
    name.name = "BytesPerSec";
    yield_meter(w, c->ids + 1, &name, &c->bytes);
}

/* Returns the least rate of requests; 0 if there are none. */
static double yield_fetchers(struct fetcher_metrics *m, struct bean_walk *w)
{
    struct fetcher_counts *c, **list = NULL;
    size_t count = 0, cap = 0;
    double least = 0;
    lock_take(&m->lock);
    DL_FOREACH (m->fetchers, c) {
        list = xgrow(list, count + 1, &cap, sizeof(struct fetcher_counts *));
        atomic_fetch_add(&c->refs, 1);
        list[count++] = c;
    }
    lock_release(&m->lock);
    for (size_t i = 0; i < count; i++) {
        double rate = meter_average(&list[i]->requests, METER_1_MINUTE);
        least = i == 0 ? rate : MIN(least, rate);
        yield_fetcher(w, list[i]);
        fetcher_counts_unref(list[i]);
    }
    free(list);
    return least;
}

/* ---- Partitions that are followed, or moved ---- */

void fetcher_count_failed(struct fetcher_metrics *m, int change)
{
    if (m == NULL)
        return;
    int before = atomic_fetch_add_explicit(&m->failed, change, memory_order_relaxed);
    ensure(before + change >= 0);
}

struct lags {
    int64_t followed, moved; /* the most */
};

static void look_at_lag(struct fetcher_metrics *m, struct bean_walk *w, struct partition *p, struct lags *lags)
{
    char client_id[40], number[12];
    lock_take(&p->lock);
    int32_t leader = !p->leads && !p->stopped ? p->leader : -1;
    int64_t lag = partition_lag(p);
    int64_t moved = p->future != NULL ? plog_end_offset(p->log) - plog_end_offset(p->future) : 0;
    lock_release(&p->lock);
    lags->moved = MAX(lags->moved, moved);
    if (leader < 0)
        return;
    lags->followed = MAX(lags->followed, lag);
    fetcher_client_id(client_id, sizeof(client_id), m->lane(m->ctx, p), leader);
    snprintf(number, sizeof(number), "%d", p->key.index);
    struct bean_name name = {
        "kafka.server",
        "FetcherLagMetrics",
        "ConsumerLag",
        {{"clientId", str_of(client_id)}, {"topic", str_of(p->key.topic)}, {"partition", str_of(number)}}};
    yield_gauge(w, p->bean_ids + PARTITION_BEAN_IDS - 1, &name, bean_long(lag));
}

static void yield_fetcher_manager(struct bean_walk *w, int64_t ids, const char *type, const char *client_id,
                                  int64_t lag, double rate, int failed)
{
    struct bean_name name = {"kafka.server", type, "MaxLag", {{"clientId", str_of(client_id)}}};
    yield_gauge(w, ids, &name, bean_long(lag));
    name.name = "MinFetchRate";
    yield_gauge(w, ids + 1, &name, bean_double(rate));
    name.name = "FailedPartitionsCount";
    yield_gauge(w, ids + 2, &name, bean_long(failed));
    name.name = "DeadThreadCount";
    yield_gauge(w, ids + 3, &name, bean_long(0));
}

static void fetcher_metrics_visit(void *ctx, struct bean_walk *w)
{
    struct fetcher_metrics *m = ctx;
    struct lags lags = {0};
    size_t count;
    if (!walk_wants(w, "kafka.server", "FetcherLagMetrics") && !walk_wants(w, "kafka.server", "FetcherStats") &&
        !walk_wants(w, "kafka.server", "ReplicaFetcherManager") &&
        !walk_wants(w, "kafka.server", "ReplicaAlterLogDirsManager"))
        return;
    double rate = yield_fetchers(m, w);
    struct partition **list = replica_all_partitions(m->replicas, &count);
    for (size_t i = 0; i < count; i++) {
        look_at_lag(m, w, list[i], &lags);
        partition_unref(list[i]);
    }
    free(list);
    yield_fetcher_manager(w, m->ids, "ReplicaFetcherManager", "Replica", lags.followed, rate,
                          atomic_load_explicit(&m->failed, memory_order_relaxed));
    yield_fetcher_manager(w, m->ids + MANAGER_GAUGES, "ReplicaAlterLogDirsManager", "ReplicaAlterLogDirs", lags.moved,
                          0, 0);
}

/* ---- Life ---- */

struct fetcher_metrics *fetcher_metrics_new(struct metrics *metrics, struct replica_manager *replicas,
                                            int (*lane)(void *ctx, struct partition *p), void *ctx)
{
    if (metrics == NULL)
        return NULL;
    struct fetcher_metrics *m = xcalloc(1, sizeof(*m));
    m->metrics = metrics;
    m->replicas = replicas;
    m->lane = lane;
    m->ctx = ctx;
    m->ids = metrics_ids(metrics, 2 * MANAGER_GAUGES);
    lock_init(&m->lock, RANK_FETCHER_COUNTS);
    m->source = (struct bean_source){.visit = fetcher_metrics_visit, .ctx = m};
    metrics_add_source(metrics, &m->source);
    return m;
}

void fetcher_metrics_free(struct fetcher_metrics *m)
{
    if (m == NULL)
        return;
    metrics_remove_source(m->metrics, &m->source);
    ensure(m->fetchers == NULL);
    lock_deinit(&m->lock);
    free(m);
}
