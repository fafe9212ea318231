/* The parts that serve, made when the logs are open and it is known who may do what; nothing of them runs yet. */
#include "broker/broker_internal.h"
#include "coordinator/election.h"
#include "replica/fetch_session.h"
#include "replica/replication.h"
#include "server/gathering.h"
#include "transaction/producer_ids.h"

/* ---- Callbacks ---- */

void parts_topic_overrides(void *ctx, const char *topic, struct topic_config *config)
{
    struct broker *b = ctx;
    topic_configs_get(b->services.topic_configs, topic, config);
}

static void role_changed(void *ctx, struct partition *p)
{
    struct broker *b = ctx;
    replication_look(b->replication, p);
    election_tell(group_topic(b->services.groups), p);
    election_tell(txn_topic(b->services.transactions), p);
}

/* The controller leaves out of its metadata who is not there; it judges for itself who is about to leave. */
static bool may_join_isr(void *ctx, int32_t broker)
{
    struct broker *b = ctx;
    struct view *v = view_board_latest(b->services.board);
    bool alive = view_broker(v, broker) != NULL;
    view_unref(v);
    return alive;
}

static void isr_wanted(void *ctx, struct partition *p)
{
    struct broker *b = ctx;
    replication_isr_wanted(b->replication, p);
}

static void move_wanted(void *ctx, struct partition *p)
{
    struct broker *b = ctx;
    replication_move_wanted(b->replication, p);
}

static int64_t own_broker_epoch(void *ctx)
{
    struct broker *b = ctx;
    return b->services.broker_epoch;
}

static bool is_throttled(void *ctx, const char *topic, int32_t partition, bool as_leader)
{
    struct broker *b = ctx;
    const char *key = as_leader ? "leader.replication.throttled.replicas" : "follower.replication.throttled.replicas";
    return topic_configs_throttle(b->services.topic_configs, topic, key, partition, b->services.broker_id);
}

static void controller_elected(void *ctx)
{
    delegation_clean(ctx);
}

/* ---- Making them ---- */

static void make_links(struct broker *b)
{
    const struct client_kind forwarding = {"forwarding-metrics", {{"BrokerId", b->services.broker_id}}};
    const struct client_kind isr_changes = {"alter-partition-metrics", {{"BrokerId", b->services.broker_id}}};
    b->services.controller_link = controller_link_new(b->control, &b->route, b->config, &forwarding);
    b->isr_link = controller_link_new(b->control, &b->route, b->config, &isr_changes);
}

static void make_replication(struct broker *b)
{
    b->replication = replication_new(&(struct replication_options){.metrics = b->services.metrics,
                                                                   .config = b->config,
                                                                   .broker_id = b->services.broker_id,
                                                                   .control = b->control,
                                                                   .workers = b->services.workers,
                                                                   .route = &b->route,
                                                                   .link = b->isr_link,
                                                                   .broker_epoch = own_broker_epoch,
                                                                   .ctx = b});
}

static void make_views(struct broker *b)
{
    int n = net_server_loop_count(b->services.net), lanes = replication_loop_count(b->replication);
    struct loop **loops = xcalloc((size_t)(n + 3 + lanes), sizeof(*loops));
    b->services.loop_shares = b->loop_shares = xcalloc((size_t)n + 1, sizeof(*b->loop_shares));
    for (int i = 0; i < n; i++) {
        loops[i] = net_server_loop(b->services.net, i);
        b->loop_shares[i] =
            (struct loop_share){loops[i], wake_queue_new(loops[i]), gathering_new(loops[i], b->services.logs)};
    }
    loops[n] = b->control;
    loops[n + 1] = b->services.coordinator_loop;
    for (int i = 0; i < lanes; i++)
        loops[n + 2 + i] = replication_loop(b->replication, i);
    int count = n + 2 + lanes;
    if (monitoring_loop(b) != NULL)
        loops[count++] = monitoring_loop(b);
    b->services.board = view_board_new(loops, count);
    if (b->services.acls != NULL)
        acl_board_set_loops(b->services.acls, loops, count);
    free(loops);
}

static void make_producer_ids(struct broker *b)
{
    b->services.producer_ids = producer_ids_new(
        &(struct producer_ids_options){.control = b->control,
                                       .link = b->services.controller_link,
                                       .zk = b->services.zk,
                                       .by_controller = b->config->inter_broker_protocol_version >= IBP_3_0_IV0,
                                       .broker_id = b->services.broker_id,
                                       .timeout_ms = b->config->request_timeout_ms,
                                       .broker_epoch = own_broker_epoch,
                                       .ctx = b});
}

static void make_replicas(struct broker *b)
{
    b->services.replicas = replica_manager_new(&(struct replica_options){.config = b->config,
                                                                         .logs = b->services.logs,
                                                                         .metrics = b->services.metrics,
                                                                         .broker_id = b->services.broker_id,
                                                                         .topic_config = parts_topic_overrides,
                                                                         .role_changed = role_changed,
                                                                         .may_join_isr = may_join_isr,
                                                                         .isr_wanted = isr_wanted,
                                                                         .move_wanted = move_wanted,
                                                                         .throttled = is_throttled,
                                                                         .ctx = b});
}

static void make_controller(struct broker *b)
{
    b->services.controller = controller_new(&(struct controller_options){.loop = b->control,
                                                                         .route = protection_control_route(b),
                                                                         .zk = b->services.zk,
                                                                         .config = b->config,
                                                                         .broker_id = b->services.broker_id,
                                                                         .topic_configs = b->services.topic_configs,
                                                                         .metrics = b->services.metrics,
                                                                         .elected = controller_elected,
                                                                         .ctx = b});
}

bool parts_make(struct broker *b, struct fail *fail)
{
    struct net_handler handler = server_handler(&b->services);
    b->services.net = net_server_new(b->config, b->services.workers, &handler, fail);
    if (b->services.net == NULL)
        return false;
    live_settings_find_hosts(b);
    net_server_count(b->services.net, b->services.metrics);
    protection_apply(b);
    tickets_start(b);
    make_links(b);
    make_replication(b);
    make_views(b);
    b->services.fetch_sessions =
        fetch_sessions_new(b->config->max_incremental_fetch_session_cache_slots, b->services.metrics);
    make_producer_ids(b);
    make_replicas(b);
    coordination_set_out(b);
    make_controller(b);
    return true;
}
