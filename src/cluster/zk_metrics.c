#include "cluster/zk_metrics.h"

#include "base/clock.h"

static const struct {
    const char *name, *event;
} news_rows[] = {
#define ZK_NEWS_ROW(id, name, event) {name, event},
    ZK_NEWS(ZK_NEWS_ROW)
#undef ZK_NEWS_ROW
};

/* A session outlives its connections, until it expires. */
static void note_session(struct zk_metrics *z, enum zk_news what)
{
    int64_t none = 0;
    if (what == ZK_NEWS_CONNECTED)
        atomic_compare_exchange_strong(&z->session_us, &none, clock_mono_us());
    else if (what == ZK_NEWS_EXPIRED)
        atomic_store(&z->session_us, 0);
}

void zk_metrics_tell(struct zk_metrics *z, enum zk_news what)
{
    meter_mark(&z->news[what], 1);
    if (what == ZK_NEWS_CONNECTED)
        atomic_store(&z->connected, true);
    else if (what == ZK_NEWS_DISCONNECTED || what == ZK_NEWS_EXPIRED)
        atomic_store(&z->connected, false);
    note_session(z, what);
}

static void yield_session_age(struct zk_metrics *z, struct bean_walk *w)
{
    int64_t since = atomic_load(&z->session_us);
    yield_gauge(w, z->ids + ZK_NEWS_COUNT + 2, &(struct bean_name){BEAN_OWN_DOMAIN, "ZooKeeper", "SessionAge", {{0}}},
                bean_long(since != 0 ? clock_mono_us() - since : 0));
}

static void zk_metrics_visit(void *ctx, struct bean_walk *w)
{
    struct zk_metrics *z = ctx;
    struct bean_name name = z->of_authorizer ? (struct bean_name){"kafka.security", "AclAuthorizer", NULL, {{0}}}
                                             : (struct bean_name){"kafka.server", "SessionExpireListener", NULL, {{0}}};
    for (int i = 0; i < ZK_NEWS_COUNT; i++) {
        name.name = news_rows[i].name;
        yield_meter(w, z->ids + i, &name, &z->news[i]);
    }
    name.name = "SessionState";
    yield_gauge(w, z->ids + ZK_NEWS_COUNT, &name,
                bean_string(atomic_load(&z->connected) ? STR_LIT("CONNECTED") : STR_LIT("CONNECTING")));
    if (z->of_authorizer)
        return;
    yield_session_age(z, w);
    yield_histogram(w, z->ids + ZK_NEWS_COUNT + 1,
                    &(struct bean_name){"kafka.server", "ZooKeeperClientMetrics", "ZooKeeperRequestLatencyMs", {{0}}},
                    &z->latency);
}

void zk_metrics_init(struct zk_metrics *z, struct metrics *m, bool of_authorizer)
{
    if (m == NULL)
        return;
    z->metrics = m;
    z->of_authorizer = of_authorizer;
    z->ids = metrics_ids(m, ZK_NEWS_COUNT + 3);
    for (int i = 0; i < ZK_NEWS_COUNT; i++)
        meter_init(&z->news[i], m, news_rows[i].event);
    histogram_init(&z->latency, m, HISTOGRAM_WHOLE_MS);
    z->source = (struct bean_source){.visit = zk_metrics_visit, .ctx = z};
    metrics_add_source(m, &z->source);
}

void zk_metrics_deinit(struct zk_metrics *z)
{
    if (z->metrics == NULL)
        return;
    metrics_remove_source(z->metrics, &z->source);
    for (int i = 0; i < ZK_NEWS_COUNT; i++)
        meter_deinit(&z->news[i]);
    histogram_deinit(&z->latency);
}
