/*
 * Settings that change while the broker runs: those of topics, and those of brokers that can (KIP-226).
 *
 * Limits on connections may name hosts, which have to be looked up. All other limits count at once, and each of these
 * as its host is found.
 */
#include "broker/broker_internal.h"

#include "base/logger.h"
#include "exporter/exporter.h"

void live_settings_topic_changed(void *ctx, const char *topic)
{
    struct broker *b = ctx;
    log_manager_configure(b->services.logs, topic);
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

static void take_limits(struct broker *b, const struct broker_config *now)
{
    ensure(loop_is_mine(b->control));
    net_server_configure(b->services.net, now, &b->ip_rates);
}

static void on_limits_due(struct message *m)
{
    struct broker *b = CONTAINER_OF(m, struct broker, limits_due);
    b->limits_are_due = false;
    if (b->leaving)
        return;
    const struct broker_config *now = broker_settings_hold(b->services.settings);
    take_limits(b, now);
    broker_settings_release(now);
}

/* Once for all that changes in this turn. */
static void take_limits_soon(void *ctx)
{
    struct broker *b = ctx;
    if (b->services.net == NULL || b->leaving || b->limits_are_due)
        return;
    b->limits_are_due = true;
    loop_post(b->control, &b->limits_due);
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
    protection_follow(b);
    exporter_follow(b->exporter, now);
    take_limits(b, now);
    broker_settings_release(now);
    controller_defaults_configured(b->services.controller);
}

void live_settings_renew(struct broker *b)
{
    if (b->services.controller == NULL || b->leaving)
        return;
    protection_follow(b);
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

/* Of an address, how many connections a second it may make. */
static void limit_address(struct broker *b, struct str coded, const struct config_znode *pairs)
{
    struct arena a = {0};
    const char *host = str_is(coded, CONFIG_OF_ALL_BROKERS) ? NULL : arena_cstr(&a, entity_name_decode(&a, coded));
    const struct config_pair *pair = config_find(pairs, "connection_creation_rate");
    int32_t rate = -1;
    if (pair != NULL && (!str_to_int32(str_of(pair->value), &rate) || rate < 0))
        log_warn("connection_creation_rate of ips/%.*s in ZooKeeper is \"%s\", which is no limit: it is ignored",
                 STR_ARGS(coded), pair->value);
    if (ip_rates_set(&b->ip_rates, host, rate))
        take_limits_soon(b);
    arena_deinit(&a);
}

void live_settings_entity_changed(void *ctx, const char *entity, const struct config_znode *pairs)
{
    struct broker *b = ctx;
    scram_users_take(b->services.scram_users, entity, pairs);
    quotas_take(b->services.quotas, entity, pairs);
    if (strncmp(entity, "ips/", 4) == 0)
        limit_address(b, str_of(entity + 4), pairs);
}

void live_settings_init(struct broker *b)
{
    b->limits_due.deliver = on_limits_due;
}

void live_settings_find_hosts(struct broker *b)
{
    net_server_find_hosts_by(b->services.net, b->control, b->resolvers, take_limits_soon, b);
}
