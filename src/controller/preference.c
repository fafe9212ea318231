/*
 * Elections that are not needed but wanted: leadership goes back to the first replica of each partition, by request,
 * by the old tool's znode, or because the leaders are out of balance; and elections out of sync, by request.
 */
#include <inttypes.h>

#include "base/logger.h"
#include "cluster/config_watch.h"
#include "controller/controller_internal.h"

enum { FIRST_CHECK_MS = 5000 };

/* ---- By request ---- */

static struct elect_call *elect_of(struct controller *c)
{
    return CONTAINER_OF(c->running->call, struct elect_call, call);
}

static enum kafka_error is_electable(struct controller *c, const struct ctl_partition *p, enum election_type type)
{
    int32_t leader = p != NULL ? p->leadership.leader : -1;
    if (p == NULL || !p->known || p->replicas.n == 0)
        return ERR_UNKNOWN_TOPIC_OR_PARTITION;
    if (p->topic->deleting)
        return ERR_INVALID_TOPIC_EXCEPTION;
    if (type == ELECTION_PREFERRED ? leader == p->replicas.v[0] : broker_is_live(c, leader))
        return ERR_ELECTION_NOT_NEEDED;
    return ERR_NONE;
}

static void answer_elect(struct controller *c)
{
    struct elect_call *call = elect_of(c);
    for (int32_t i = 0; i < call->count; i++) {
        struct elect_item *item = &call->items[i];
        const struct ctl_partition *p = context_partition(c, item->topic, item->partition);
        if (item->error != ERR_NONE)
            continue;
        item->error = p->outcome;
        item->leader = p->leadership.leader;
    }
    call_answer(c, ERR_NONE);
}

static void preference_elect(struct controller *c, struct event *e UNUSED)
{
    struct elect_call *call = elect_of(c);
    ensure(call->items != NULL || call->count == 0);
    for (int32_t i = 0; i < call->count; i++) {
        struct elect_item *item = &call->items[i];
        struct ctl_partition *p = context_partition(c, item->topic, item->partition);
        item->error = is_electable(c, p, call->type);
        if (item->error == ERR_NONE)
            partition_set_add(&c->work, p);
    }
    partitions_online(c, call->type == ELECTION_PREFERRED ? ELECT_PREFERRED : ELECT_UNCLEAN, answer_elect);
}

void controller_elect(struct controller *c, struct elect_call *call)
{
    ctl_post_call(c, "ReplicaLeaderElection", preference_elect, &call->call, ERR_NOT_CONTROLLER);
}

/* ---- By /admin/preferred_replica_election ---- */

static void on_request_removed(struct controller *c, struct zk_batch *b)
{
    zk_batch_free(b);
    event_done(c);
}

static void remove_request(struct controller *c)
{
    struct zk_batch *b = ctl_batch();
    ctl_fence(c, zk_delete(b, ZNODE_PREFERRED_ELECTION, ZK_ANY_VERSION));
    zk_exists(b, ZNODE_PREFERRED_ELECTION, true);
    ctl_submit(c, b, on_request_removed);
}

static void on_preferred(struct controller *c, struct zk_batch *b)
{
    struct partition_list_znode list = {0};
    struct zk_op *read = zk_find(b, ZK_GET, ZNODE_PREFERRED_ELECTION);
    if (read->result == ZK_OK && partition_list_decode(&b->arena, read->path, read->value, &list)) {
        for (int32_t i = 0; i < list.count; i++) {
            struct ctl_partition *p = context_partition(c, str_of(list.entries[i].topic), list.entries[i].partition);
            if (is_electable(c, p, ELECTION_PREFERRED) == ERR_NONE)
                partition_set_add(&c->work, p);
        }
    }
    bool there = read->result == ZK_OK;
    zk_batch_free(b);
    partitions_online(c, ELECT_PREFERRED, there ? remove_request : event_done_step);
}

void preferred_election_requested(struct controller *c, struct event *e UNUSED)
{
    struct zk_batch *b = ctl_batch();
    zk_exists(b, ZNODE_PREFERRED_ELECTION, true);
    zk_get(b, ZNODE_PREFERRED_ELECTION, false);
    ctl_submit(c, b, on_preferred);
}

/* ---- By the balance ---- */

static bool counts(const struct ctl_partition *p)
{
    return p->known && p->replicas.n > 0 && !p->topic->deleting;
}

static bool can_go_home(struct controller *c, const struct ctl_partition *p)
{
    int32_t home = p->replicas.v[0];
    return p->leadership.leader != home && replica_is_online(c, p, home) && int_list_has(p->leadership.isr, home);
}

static bool is_out_of_balance(const struct controller *c, const struct ctl_broker *b)
{
    return (int64_t)b->deprived * 100 >
           (int64_t)b->preferred * c->options.config->leader_imbalance_per_broker_percentage;
}

static void collect_unbalanced(struct controller *c, struct ctl_partition *p)
{
    if (counts(p) && can_go_home(c, p) && is_out_of_balance(c, context_broker(c, p->replicas.v[0])))
        partition_set_add(&c->work, p);
}

static void bring_home(struct controller *c)
{
    if (c->work.n > 0)
        log_info("Leaders are out of balance: %zu partitions go back to their preferred replica", c->work.n);
    timer_start(&c->rebalance, c->options.config->leader_imbalance_check_interval_seconds * 1000);
    partitions_online(c, ELECT_PREFERRED, event_done_step);
}

/* Where the first replica is not there, nobody goes home. */
static void weigh(struct controller *c, struct ctl_partition *p)
{
    struct ctl_broker *home = counts(p) ? context_broker(c, p->replicas.v[0]) : NULL;
    if (home == NULL)
        return;
    home->preferred++;
    home->deprived += p->leadership.leader != home->id;
}

static void on_weighed(struct controller *c)
{
    ctl_walk(c, collect_unbalanced, bring_home);
}

static void rebalance(struct controller *c, struct event *e UNUSED)
{
    for (struct ctl_broker *b = c->brokers; b != NULL; b = b->next)
        b->preferred = b->deprived = 0;
    ctl_walk(c, weigh, on_weighed);
}

static void on_rebalance_time(struct timer *t)
{
    struct controller *c = CONTAINER_OF(t, struct controller, rebalance);
    event_post(c, "AutoPreferredReplicaLeaderElection", rebalance);
}

void rebalance_start(struct controller *c)
{
    timer_init(&c->rebalance, c->options.loop, on_rebalance_time);
    if (c->options.config->auto_leader_rebalance_enable)
        timer_start(&c->rebalance, FIRST_CHECK_MS);
}

/* ---- By a topic's new setting ---- */

static void elect_unclean(struct controller *c, struct event *e)
{
    struct ctl_topic *t = context_topic(c, str_of(e->text));
    for (int32_t i = 0; t != NULL && !t->deleting && i < t->count; i++)
        if (t->partitions[i]->state == PARTITION_NEW || t->partitions[i]->state == PARTITION_OFFLINE)
            partition_set_add(&c->work, t->partitions[i]);
    partitions_online(c, ELECT_OFFLINE, event_done_step);
}

static void elect_collected(struct controller *c)
{
    partitions_online(c, ELECT_OFFLINE, event_done_step);
}

static void elect_unclean_everywhere(struct controller *c, struct event *e UNUSED)
{
    ctl_walk(c, collect_electable, elect_collected);
}

void controller_defaults_configured(struct controller *c)
{
    struct topic_config config;
    topic_configs_get(c->options.topic_configs, "", &config);
    if (c->active && config.unclean_leader_election_enable)
        event_post_once(c, "UncleanLeaderElectionEnable", elect_unclean_everywhere);
}

void controller_topic_configured(struct controller *c, const char *topic)
{
    struct topic_config config;
    topic_configs_get(c->options.topic_configs, topic, &config);
    if (!c->active || !config.unclean_leader_election_enable)
        return;
    struct event *e = event_new("TopicUncleanLeaderElectionEnable", elect_unclean);
    e->text = xstrdup(topic);
    event_add(c, e);
}
