#include "group/group_metrics.h"

enum { GROUP_IDS = 16, STATES = 5 };

static int64_t figure(const struct group_metrics *g, enum group_figure which)
{
    return atomic_load_explicit(&g->figures[which], memory_order_relaxed);
}

static void yield_groups(struct group_metrics *g, struct bean_walk *w)
{
    static const char *const names[] = {"NumGroupsEmpty", "NumGroupsPreparingRebalance", "NumGroupsCompletingRebalance",
                                        "NumGroupsStable", "NumGroupsDead"};
    struct bean_name name = {"kafka.coordinator.group", "GroupMetadataManager", NULL, {{0}}};
    int64_t all = 0;
    for (int i = 0; i < STATES; i++) {
        name.name = names[i];
        all += figure(g, GROUPS_BY_STATE + (enum group_figure)i);
        yield_gauge(w, g->ids + i, &name, bean_long(figure(g, GROUPS_BY_STATE + (enum group_figure)i)));
    }
    name.name = "NumGroups";
    yield_gauge(w, g->ids + STATES, &name, bean_long(all));
    name.name = "NumOffsets";
    yield_gauge(w, g->ids + STATES + 1, &name, bean_long(figure(g, GROUPS_OFFSETS)));
}

/* Members whose silence is waited for, and groups whose members are. */
static void yield_waiting_members(struct group_metrics *g, struct bean_walk *w)
{
    const struct {
        const char *what;
        int64_t count;
    } rows[] = {{"Heartbeat", figure(g, GROUPS_MEMBERS)},
                {"Rebalance", figure(g, GROUPS_BY_STATE + (enum group_figure)1)}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct bean_name name = {"kafka.server",
                                 "DelayedOperationPurgatory",
                                 "NumDelayedOperations",
                                 {{"delayedOperation", str_of(rows[i].what)}}};
        yield_gauge(w, g->ids + STATES + 2 + 2 * (int64_t)i, &name, bean_long(rows[i].count));
        name.name = "PurgatorySize";
        yield_gauge(w, g->ids + STATES + 3 + 2 * (int64_t)i, &name, bean_long(rows[i].count));
    }
}

static void yield_happenings(struct group_metrics *g, struct bean_walk *w)
{
    struct window_values v[GROUP_HAPPENINGS], loads;
    window_read(&g->loads, &loads);
    for (int i = 0; i < GROUP_HAPPENINGS; i++)
        window_read(&g->happenings[i], &v[i]);
    const struct {
        const char *name;
        double value;
    } rows[] = {{"group-completed-rebalance-count", (double)v[GROUPS_REBALANCES].total},
                {"group-completed-rebalance-rate", v[GROUPS_REBALANCES].per_second},
                {"offset-commit-count", (double)v[GROUPS_COMMITS].total},
                {"offset-commit-rate", v[GROUPS_COMMITS].per_second},
                {"offset-deletion-count", (double)v[GROUPS_DELETIONS].total},
                {"offset-deletion-rate", v[GROUPS_DELETIONS].per_second},
                {"offset-expiration-count", (double)v[GROUPS_EXPIRATIONS].total},
                {"offset-expiration-rate", v[GROUPS_EXPIRATIONS].per_second},
                {"partition-load-time-avg", loads.mean},
                {"partition-load-time-max", loads.most}};
    struct bean_attribute attributes[ARRAY_LEN(rows)];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        attributes[i] = (struct bean_attribute){rows[i].name, "double", bean_double(rows[i].value)};
    yield_client(w, g->ids + STATES + 6, &(struct bean_name){"kafka.server", "group-coordinator-metrics", NULL, {{0}}},
                 &(struct bean_attributes){attributes, ARRAY_LEN(rows)});
}

static void group_metrics_visit(void *ctx, struct bean_walk *w)
{
    yield_groups(ctx, w);
    yield_waiting_members(ctx, w);
    yield_happenings(ctx, w);
}

void group_metrics_init(struct group_metrics *g, struct metrics *m)
{
    if (m == NULL)
        return;
    g->metrics = m;
    g->ids = metrics_ids(m, GROUP_IDS);
    for (int i = 0; i < GROUP_HAPPENINGS; i++)
        window_init(&g->happenings[i], m);
    window_init(&g->loads, m);
    g->source = (struct bean_source){.visit = group_metrics_visit, .ctx = g};
    metrics_add_source(m, &g->source);
}

void group_metrics_deinit(struct group_metrics *g)
{
    if (g->metrics == NULL)
        return;
    metrics_remove_source(g->metrics, &g->source);
    for (int i = 0; i < GROUP_HAPPENINGS; i++)
        window_deinit(&g->happenings[i]);
    window_deinit(&g->loads);
}
