/*
 * How a broker ends: no request is served any more, then nothing is written any more, then the logs are closed. All
 * threads but the control loop's are gone before anything is freed that they may have used; what they have left in the
 * mailboxes is delivered while everything is still there.
 */
#include <unistd.h>

#include "broker/broker_internal.h"
#include "cluster/missing_partitions.h"
#include "exporter/exporter.h"
#include "replica/fetch_session.h"
#include "replica/lost_dirs.h"
#include "replica/replication.h"
#include "server/gathering.h"
#include "transaction/producer_ids.h"

static void deliver_leftovers(struct broker *b)
{
    struct services *s = &b->services;
    bool any = true;
    while (any) {
        any = loop_drain(b->control);
        any |= loop_drain(s->coordinator_loop);
        for (int i = 0; s->net != NULL && i < net_server_loop_count(s->net); i++)
            any |= loop_drain(net_server_loop(s->net, i));
        for (int i = 0; b->replication != NULL && i < replication_loop_count(b->replication); i++)
            any |= loop_drain(replication_loop(b->replication, i));
        if (b->monitor_loop != NULL)
            any |= loop_drain(b->monitor_loop);
    }
}

static void stop_threads(struct broker *b)
{
    struct services *s = &b->services;
    if (b->exit_code == 0)
        supervisor_stopping(b, "Stopping: closing the logs");
    view_board_close(s->board);
    if (s->net != NULL)
        net_server_stop(s->net);
    loop_thread_join(&b->coordinator);
    monitoring_stop(b);
    replication_stop(b->replication);
    if (s->logs != NULL)
        log_manager_end_appends(s->logs);
    workers_stop(s->order_worker);
    workers_stop(s->workers);
    /* Before what logs them in: a KDC that hangs would take its time for each login that still waits for a thread. */
    controller_link_close(s->controller_link);
    controller_link_close(b->isr_link);
    coordination_close_links(b);
    protection_stop(b); /* what its threads post is delivered below */
    zk_close(s->zk);
    authorization_close(b);
    state_report_stop(b->report); /* as loops go now */
    b->report = NULL;
}

void broker_finish(struct broker *b)
{
    struct services *s = &b->services;
    int loops = s->net != NULL ? net_server_loop_count(s->net) : 0;
    stop_threads(b);
    deliver_leftovers(b);
    net_server_free(s->net);
    controller_link_free(s->controller_link);
    controller_link_free(b->isr_link);
    coordination_free(b);
    controller_free(s->controller);
    replication_free(b->replication);
    if (b->all_loaded) /* also if it never served: they may have taken hours to recover */
        log_manager_close(s->logs, supervisor_logs_closed, b);
    supervisor_free(b);
    loop_drain(b->control);                 /* directories that have failed in closing */
    fetch_sessions_free(s->fetch_sessions); /* which tell partitions of what was fetched last */
    replica_manager_free(s->replicas);
    log_manager_free(s->logs);
    zk_free(s->zk); /* tells who still waits */
    authorization_free(b);
    delegation_free(b);
    config_watch_free(s->config_watch);
    topic_configs_free(s->topic_configs);
    broker_settings_free(s->settings);
    scram_users_free(s->scram_users);
    quotas_free(s->quotas);
    ip_rates_clear(&b->ip_rates);
    producer_ids_free(s->producer_ids);
    for (int i = 0; i < loops; i++) {
        wake_queue_free(b->loop_shares[i].wakes);
        gathering_free(b->loop_shares[i].gathering);
    }
    wake_queue_free(s->coordinator_wakes);
    free(b->loop_shares);
    free(b->endpoints);
    free(b->own_host);
    controlled_shutdown_deinit(&b->shutdown);
    loop_free(s->coordinator_loop);
    missing_partitions_free(b->missing_partitions); /* now that the last answer of ZooKeeper is delivered */
    watch_set(&b->signals, WATCH_NONE);
    close(b->signal_fd);
    order_lane_free(s->order_lane);
    workers_free(s->order_worker);
    workers_free(s->workers);
    lost_dirs_free(b->lost_dirs);
    exporter_stop(b->exporter); /* which tells until here that the broker is on its way out */
    monitoring_free(b);
    client_metrics_free(b->route.metrics);
    broker_metrics_stop(b);
    tickets_stop(b);
    loop_drain(b->control);
    view_board_free(s->board);
    protection_free(b);
    if (b->config != b->given)
        broker_settings_release(b->config);
    workers_free(b->resolvers); /* last, as it may have to wait for a name service that hangs */
    loop_free(b->control);      /* to which they may have posted what nobody waits for any more */
    tickets_free(b);
}
