/* Settings that change while the broker runs: those of topics, and those of brokers that can (KIP-226). */
#include "broker/broker_internal.h"

#include "base/logger.h"

void live_settings_topic_changed(void *ctx, const char *topic)
{
    struct broker *b = ctx;
    struct topic_config config;
    topic_configs_get(b->services.topic_configs, topic, &config);
    log_manager_configure(b->services.logs, topic, &config);
    if (b->services.replicas != NULL)
        replica_topic_configured(b->services.replicas, topic);
    if (b->services.controller != NULL)
        controller_topic_configured(b->services.controller, topic);
}

/* What was set at run time, now or before the start, and has no effect. */
void live_settings_warn(struct broker *b)
{
    const struct broker_config *now = broker_settings_hold(b->services.settings);
    for (int i = 0; i < now->entry_count; i++) {
        const struct config_entry *e = &now->entries[i];
        const char *at_start = config_raw(b->config, e->name);
        if (e->source == CONFIG_STATIC || config_is_live(e->name))
            continue;
        if (e->key == NULL || e->key->state != CONFIG_WORKS)
            log_warn("%s was set at run time, which has no effect on this broker", e->name);
        else if (at_start == NULL || strcmp(at_start, e->value) != 0)
            log_warn("%s was set at run time, which has no effect on this broker before it is started again", e->name);
    }
    broker_settings_release(now);
}

static void change_limits(struct job *job)
{
    struct broker *b = CONTAINER_OF(job, struct broker, limits);
    const struct broker_config *now = broker_settings_hold(b->services.settings);
    net_server_configure(b->services.net, now);
    broker_settings_release(now);
}

static void submit_limits(struct broker *b)
{
    if (b->limits_busy) {
        b->limits_again = true;
        return;
    }
    b->limits_busy = true;
    b->limits_again = false;
    workers_submit(b->services.workers, &b->limits);
}

static void on_limits_changed(struct message *m)
{
    struct broker *b = CONTAINER_OF(m, struct broker, limits.done);
    b->limits_busy = false;
    if (b->limits_again && !b->leaving)
        submit_limits(b);
}

/* What follows the settings as they change; all else keeps what it was started with. */
void live_settings_apply(struct broker *b)
{
    const struct broker_config *now = broker_settings_hold(b->services.settings);
    replica_set_throttles(b->services.replicas, now->leader_replication_throttled_rate,
                          now->follower_replication_throttled_rate,
                          now->replica_alter_log_dirs_io_max_bytes_per_second);
    log_manager_configure_all(b->services.logs);
    log_manager_take_settings(b->services.logs, now);
    atomic_store(&b->services.verify_transactions, now->transaction_partition_verification_enable);
    workers_resize(b->services.workers, now->num_io_threads);
    protection_follow(b, now);
    broker_settings_release(now);
    controller_defaults_configured(b->services.controller);
    submit_limits(b);
}

void live_settings_changed(void *ctx, bool different)
{
    struct broker *b = ctx;
    if (b->services.controller == NULL)
        return; /* nothing has started yet */
    if (different) {
        log_info("The settings of this broker have changed");
        live_settings_warn(b);
    }
    live_settings_apply(b);
}

void live_settings_init(struct broker *b)
{
    b->limits = (struct job){.run = change_limits, .home = b->control, .done = {.deliver = on_limits_changed}};
}
