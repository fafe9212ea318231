/*
 * The beans of the broker's parts against those of Apache's brokers, in beans.tsv: names with their keys in order,
 * kinds, attributes and their types. What is told of is in the table, and not among what is left out.
 */
#include "test.h"

#include "base/clock.h"
#include "cluster/quotas.h"
#include "cluster/zk_metrics.h"
#include "controller/controller.h"
#include "group/group_metrics.h"
#include "net/net.h"
#include "replica/fetch_session.h"
#include "replica/fetcher_metrics.h"
#include "replica/replica_internal.h"
#include "replica_test.h"
#include "server/request_metrics.h"
#include "server/waiting_metrics.h"
#include "transaction/txn_metrics.h"
#include "transaction/verifier.h"

struct row {
    char *name, *kind, *attributes, *left_out;
    int seen;
};

struct table {
    struct row rows[400];
    int count;
    char *text;
};

static void table_load(struct table *t)
{
    FILE *f = fopen(TEST_BEANS, "r");
    char line[8192];
    *t = (struct table){0};
    assert_non_null(f);
    while (fgets(line, sizeof(line), f) != NULL) {
        if (line[0] == '#')
            continue;
        char *at = strtok(line, "\n");
        struct row *r = &t->rows[t->count++];
        char **fields[] = {&r->name, &r->kind, &r->attributes, &r->left_out};
        for (size_t i = 0; i < ARRAY_LEN(fields); i++)
            *fields[i] = xstrdup(strsep(&at, "\t"));
    }
    fclose(f);
}

static void table_free(struct table *t)
{
    for (int i = 0; i < t->count; i++) {
        free(t->rows[i].name);
        free(t->rows[i].kind);
        free(t->rows[i].attributes);
        free(t->rows[i].left_out);
    }
}

/* The name as the table has it: values but those of type and name are *. */
static void general_name(const struct bean *b, struct strbuf *out)
{
    strbuf_printf(out, "%s:", b->domain);
    for (int i = 0; i < b->key_count; i++) {
        bool fixed = strcmp(b->keys[i].key, "type") == 0 || strcmp(b->keys[i].key, "name") == 0;
        strbuf_printf(out, "%s%s=%.*s", i > 0 ? "," : "", b->keys[i].key,
                      STR_ARGS(fixed ? b->keys[i].value : STR_LIT("*")));
    }
}

static bool look_up(void *ctx, const struct bean *b)
{
    struct table *t = ctx;
    struct bean_attribute a[BEAN_MOST_ATTRIBUTES];
    struct strbuf name = {0}, attributes = {0};
    struct row *found = NULL;
    general_name(b, &name);
    int n = bean_read(b, a);
    for (int i = 0; i < n; i++)
        strbuf_printf(&attributes, "%s%s:%s", i > 0 ? " " : "", a[i].name, a[i].type);
    for (int i = 0; i < t->count; i++)
        if (strcmp(t->rows[i].name, name.p) == 0)
            found = &t->rows[i];
    if (found == NULL)
        fail_msg("%s is not in the table", name.p);
    assert_string_equal(found->kind, bean_kind_name(b->kind));
    assert_string_equal(found->attributes, attributes.p);
    assert_string_equal(found->left_out, "");
    found->seen++;
    strbuf_deinit(&name);
    strbuf_deinit(&attributes);
    return true;
}

static int lane(void *ctx UNUSED, struct partition *p UNUSED)
{
    return 0;
}

static struct net_server *listen_somewhere(struct broker_config *config, struct metrics *m)
{
    const char *overrides[] = {"zookeeper.connect=localhost:2181", "listeners=PLAINTEXT://127.0.0.1:0"};
    struct config_options options = {.overrides = overrides, .override_count = ARRAY_LEN(overrides)};
    struct fail fail;
    struct net_handler handler = {0};
    assert_true(config_load(config, &options, &fail));
    struct net_server *net = net_server_new(config, NULL, &handler, &fail);
    assert_non_null(net);
    net_server_count(net, m);
    return net;
}

/* Those that the broker makes. */
static const struct client_kind client_kinds[] = {
    {"AddPartitionsManager-channel-metrics", {{0}}},
    {"alter-partition-metrics", {{"BrokerId", 1}}},
    {"controller-channel-metrics", {{"broker-id", 2}}},
    {"forwarding-metrics", {{"BrokerId", 1}}},
    {"replica-fetcher-metrics", {{"broker-id", 2}, {"fetcher-id", 0}}},
    {"txn-marker-channel-metrics", {{0}}},
};

static int count_seen(const struct table *t, const char *start)
{
    int n = 0;
    for (int i = 0; i < t->count; i++)
        n += t->rows[i].seen > 0 && strncmp(t->rows[i].name, start, strlen(start)) == 0;
    return n;
}

static void all_beans_are_those_of_apache(void **state UNUSED)
{
    struct table *t = xcalloc(1, sizeof(*t));
    struct metrics *m = metrics_new(clock_mono_us);
    struct test_replicas r;
    struct broker_config config;
    struct zk_metrics zk = {0}, of_authorizer = {0};
    struct group_metrics groups = {0};
    struct txn_metrics transactions = {0};
    struct client_counts *clients[ARRAY_LEN(client_kinds)];
    struct loop *loop = loop_new("test");
    table_load(t);
    test_replicas_init_counted(&r, m);
    struct partition *p = test_replicas_lead(&r, "a,b", 0);
    struct throttle *throttles[] = {&r.manager->leader_throttle, &r.manager->follower_throttle,
                                    &r.manager->move_throttle};
    for (size_t i = 0; i < ARRAY_LEN(throttles); i++)
        throttle_touch(throttles[i], clock_mono_ms());
    for (int i = 0; i < TOPIC_METER_COUNT; i++)
        partition_mark(p, (enum topic_meter)i, 1);
    partition_count_expired(p);
    struct request_metrics *requests = request_metrics_new(m);
    struct waiting_metrics *waiting = waiting_metrics_new(m);
    struct net_server *net = listen_somewhere(&config, m);
    struct fetch_sessions *sessions = fetch_sessions_new(10, m);
    struct fetcher_metrics *fetchers = fetcher_metrics_new(m, r.manager, lane, NULL);
    struct fetcher_counts *fetcher = fetcher_counts_new(fetchers, 0, 2, "host", 9092);
    struct quotas *quotas = quotas_new((struct rate_window){11, 1000}, (struct rate_window){11, 1000});
    struct verifier *verifier = verifier_new(&(struct verifier_options){.metrics = m});
    struct controller *controller =
        controller_new(&(struct controller_options){.loop = loop, .config = &config, .metrics = m});
    quotas_count(quotas, m);
    zk_metrics_init(&zk, m, false);
    zk_metrics_init(&of_authorizer, m, true);
    group_metrics_init(&groups, m);
    txn_metrics_init(&transactions, m);
    struct client_route route = {.metrics = client_metrics_new(m)};
    for (size_t i = 0; i < ARRAY_LEN(client_kinds); i++)
        clients[i] = client_counts_new(&route, loop, &client_kinds[i]);
    metrics_visit(m, NULL, look_up, t);
    assert_int_equal(count_seen(t, "kafka.cluster:type=Partition"), 6);
    assert_int_equal(count_seen(t, "kafka.server:type=BrokerTopicMetrics"), 28);
    assert_int_equal(count_seen(t, "kafka.server:type=DelayedProduceMetrics"), 2);
    assert_int_equal(count_seen(t, "kafka.server:type=ReplicaManager"), 12);
    assert_int_equal(count_seen(t, "kafka.controller:"), 33); /* all but those of channels */
    assert_int_equal(count_seen(t, "kafka.security:"), 7);
    assert_int_equal(count_seen(t, "kafka.coordinator.transaction:"), 2);
    for (size_t i = 0; i < ARRAY_LEN(client_kinds); i++)
        client_counts_free(clients[i]);
    client_metrics_free(route.metrics);
    controller_free(controller);
    verifier_free(verifier);
    quotas_free(quotas);
    fetcher_counts_free(fetcher);
    fetcher_metrics_free(fetchers);
    fetch_sessions_free(sessions);
    net_server_free(net);
    waiting_metrics_free(waiting);
    request_metrics_free(requests);
    partition_unref(p);
    test_replicas_deinit(&r);
    txn_metrics_deinit(&transactions);
    group_metrics_deinit(&groups);
    zk_metrics_deinit(&zk);
    zk_metrics_deinit(&of_authorizer);
    config_deinit(&config);
    loop_free(loop);
    metrics_free(m);
    table_free(t);
    free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_beans_are_those_of_apache)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
