/* Looks at the cluster for the exporter, and metrics for Cruise Control: on a loop of their own, if either is wanted.
 */
#include "broker/broker_internal.h"

#include "config/config.h"
#include "exporter/exporter.h"
#include "monitor/cruise_control.h"

static void monitoring_topic_config(void *ctx, const char *topic, struct topic_config *out)
{
    struct broker *b = ctx;
    topic_configs_get(b->services.topic_configs, topic, out);
}

struct loop *monitoring_loop(struct broker *b)
{
    if (b->monitor_loop == NULL && (b->exporter != NULL || cruise_control_is_wanted(b->config)))
        b->monitor_loop = loop_new("monitor");
    return b->monitor_loop;
}

void monitoring_start(struct broker *b)
{
    struct loop *loop = b->monitor_loop;
    if (loop == NULL)
        return;
    b->monitor = monitor_new(&(struct monitor_options){.loop = loop,
                                                       .route = &b->route,
                                                       .config = b->config,
                                                       .board = b->services.board,
                                                       .broker_id = b->services.broker_id,
                                                       .cluster_id = b->services.cluster_id,
                                                       .topic_config = monitoring_topic_config,
                                                       .ctx = b});
    if (cruise_control_is_wanted(b->config)) {
        b->cruise_control = cruise_control_new(&(struct cruise_control_options){.loop = loop,
                                                                                .route = &b->route,
                                                                                .config = b->config,
                                                                                .metrics = b->services.metrics,
                                                                                .broker_id = b->services.broker_id});
        cruise_control_begin(b->cruise_control);
    }
    loop_thread_start(&b->monitor_thread, loop);
    if (b->exporter != NULL)
        exporter_set_monitor(b->exporter, b->monitor);
}

void monitoring_stop(struct broker *b)
{
    if (b->monitor == NULL)
        return;
    monitor_close(b->monitor);
    loop_thread_join(&b->monitor_thread);
    monitor_stop(b->monitor);
    cruise_control_stop(b->cruise_control);
}

void monitoring_free(struct broker *b)
{
    cruise_control_free(b->cruise_control);
    monitor_free(b->monitor);
    loop_free(b->monitor_loop);
}
