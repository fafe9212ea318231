/*
 * What only several keys together can get wrong: the checks that Apache's KafkaConfig makes of a
 * broker that uses ZooKeeper, in its order.
 */
#include <inttypes.h>

#include "config/config_internal.h"

static bool check_mode(const struct broker_config *c, struct fail *fail)
{
    if (config_has_text(c, "process.roles"))
        return config_refuse(c, fail, "process.roles",
                             "this broker uses ZooKeeper and knows no KRaft mode; leave it empty");
    if (config_has_text(c, "controller.listener.names"))
        return config_refuse(c, fail, "controller.listener.names", "must be empty without KRaft");
    if (c->zookeeper_connect == NULL)
        return config_refuse(c, fail, "zookeeper.connect", "is missing and has no default");
    return true;
}

static bool check_id(const struct broker_config *c, struct fail *fail)
{
    if (c->node_id != c->broker_id)
        return config_refuse(c, fail, "node.id", "must be the same as broker.id (%d)", c->broker_id);
    if (!c->broker_id_generation_enable && c->broker_id < 0)
        return config_refuse(c, fail, "broker.id", "must be at least 0 while broker.id.generation.enable is false");
    if (c->broker_id < -1)
        return config_refuse(c, fail, "broker.id", "must be at least -1");
    if (c->broker_id_generation_enable && c->broker_id > c->reserved_broker_max_id)
        return config_refuse(c, fail, "broker.id", "must not be above reserved.broker.max.id (%d)",
                             c->reserved_broker_max_id);
    return true;
}

/* The key of a group of synonyms that was set, for the message. */
static const char *set_one_of(const struct broker_config *c, const char *name)
{
    const char *const *synonyms = config_broker_key(name)->synonyms;
    for (; *synonyms != NULL; synonyms++)
        if (config_entry(c, *synonyms) != NULL)
            return *synonyms;
    return name;
}

static bool check_logs(const struct broker_config *c, struct fail *fail)
{
    if (c->log_roll_ms < 1)
        return config_refuse(c, fail, set_one_of(c, "log.roll.ms"), "must be at least 1 ms");
    if (c->log_roll_jitter_ms < 0)
        return config_refuse(c, fail, set_one_of(c, "log.roll.jitter.ms"), "must be at least 0");
    if (c->log_retention_ms == 0)
        return config_refuse(c, fail, set_one_of(c, "log.retention.ms"), "must be at least 1 ms, or -1 for no limit");
    if (c->log_dirs.count == 0)
        return config_refuse(c, fail, "log.dirs", "there must be a directory for the logs");
    if (c->log_cleaner_threads == 0)
        return config_refuse(c, fail, "log.cleaner.threads", "must be at least 1");
    if (c->log_cleaner_dedupe_buffer_size / c->log_cleaner_threads <= 1024 * 1024)
        return config_refuse(c, fail, "log.cleaner.dedupe.buffer.size",
                             "must be more than 1 MiB for each of log.cleaner.threads (%d)", c->log_cleaner_threads);
    if (c->log_cleaner_min_compaction_lag_ms > c->log_cleaner_max_compaction_lag_ms)
        return config_refuse(c, fail, "log.cleaner.min.compaction.lag.ms",
                             "must not be above log.cleaner.max.compaction.lag.ms (%" PRId64 ")",
                             c->log_cleaner_max_compaction_lag_ms);
    if (ibp_magic(c->inter_broker_protocol_version) < ibp_magic(c->log_message_format_version))
        return config_refuse(c, fail, "log.message.format.version",
                             "is newer than inter.broker.protocol.version=%s knows",
                             ibp_name(c->inter_broker_protocol_version));
    if (ibp_magic(c->log_message_format_version) < 2)
        return config_refuse(c, fail, "log.message.format.version",
                             "this broker writes the format of 0.11.0 and later only: first set that, or 3.0 as is the "
                             "default, on all brokers of Apache Kafka, and restart them one after the other");
    return true;
}

static bool check_replication(const struct broker_config *c, struct fail *fail)
{
    if (c->replica_fetch_wait_max_ms > c->replica_socket_timeout_ms)
        return config_refuse(c, fail, "replica.fetch.wait.max.ms", "must not be above replica.socket.timeout.ms (%d)",
                             c->replica_socket_timeout_ms);
    if (c->replica_fetch_wait_max_ms > c->replica_lag_time_max_ms)
        return config_refuse(c, fail, "replica.fetch.wait.max.ms",
                             "must not be above replica.lag.time.max.ms (%" PRId64 ")", c->replica_lag_time_max_ms);
    return true;
}

#define RACK_AWARE "org.apache.kafka.common.replica.RackAwareReplicaSelector"
#define LEADER_ONLY "org.apache.kafka.common.replica.LeaderSelector"

static bool check_between_brokers(const struct broker_config *c, struct fail *fail)
{
    const char *control = c->control_plane_listener_name;
    bool found = false;
    if (c->inter_broker_protocol_version < IBP_2_8_IV0)
        return config_refuse(c, fail, "inter.broker.protocol.version",
                             "2.8 is the oldest version that this broker can speak with others: first raise it to "
                             "2.8 or later on all brokers of Apache Kafka, and restart them one after the other");
    for (int i = 0; control != NULL && i < c->advertised_listeners.count; i++)
        found |= strcmp(c->advertised_listeners.items[i].name, control) == 0;
    if (c->replica_selector_class != NULL && strcmp(c->replica_selector_class, RACK_AWARE) != 0 &&
        strcmp(c->replica_selector_class, LEADER_ONLY) != 0)
        return config_refuse(c, fail, "replica.selector.class", "is known as " RACK_AWARE " or " LEADER_ONLY " only");
    if (control != NULL && !found)
        return config_refuse(c, fail, "control.plane.listener.name", "must be one of advertised.listeners");
    if (control != NULL && strcmp(control, c->inter_broker_listener_name) == 0)
        return config_refuse(c, fail, "control.plane.listener.name", "must not be the listener between brokers");
    return true;
}

static bool check_groups(const struct broker_config *c, struct fail *fail)
{
    if (c->offsets_commit_required_acks < -1 || c->offsets_commit_required_acks > c->offsets_topic_replication_factor)
        return config_refuse(c, fail, "offsets.commit.required.acks",
                             "must be at least -1 and not above offsets.topic.replication.factor (%d)",
                             c->offsets_topic_replication_factor);
    if (c->offsets_topic_compression_codec < 0 || c->offsets_topic_compression_codec > 4)
        return config_refuse(c, fail, "offsets.topic.compression.codec", "no codec has this number (allowed: 0 to 4)");
    if ((c->group_coordinator_rebalance_protocols & GROUP_PROTOCOL_CLASSIC) == 0)
        return config_refuse(c, fail, "group.coordinator.rebalance.protocols", "classic cannot be left out");
    if ((c->group_coordinator_rebalance_protocols & GROUP_PROTOCOL_CONSUMER) != 0)
        return config_refuse(c, fail, "group.coordinator.rebalance.protocols", "the consumer protocol needs KRaft");
    return true;
}

static bool config_check_list_has(const char *text, const char *word)
{
    struct arena a = {0};
    struct config_list list = text_split(text, true, &a);
    bool found = false;
    for (int i = 0; i < list.count && !found; i++)
        found = strcmp(list.items[i], word) == 0;
    arena_deinit(&a);
    return found;
}

/* Brokers log in there by one mechanism, whatever listener it is. */
static bool check_own_login(const struct broker_config *c, const char *listener, struct fail *fail)
{
    const struct listener *l = config_listener(&c->listeners, listener);
    const char *mechanism = c->sasl_mechanism_inter_broker_protocol;
    if (l == NULL || !security_protocol_has_sasl(l->protocol) ||
        config_check_list_has(config_listener_raw(c, listener, NULL, "sasl.enabled.mechanisms"), mechanism))
        return true;
    return config_refuse(c, fail, "sasl.mechanism.inter.broker.protocol",
                         "%s must be among sasl.enabled.mechanisms of listener %s", mechanism, listener);
}

static bool check_connections(const struct broker_config *c, struct fail *fail)
{
    if (!check_own_login(c, c->inter_broker_listener_name, fail) ||
        (c->control_plane_listener_name != NULL && !check_own_login(c, c->control_plane_listener_name, fail)))
        return false;
    if (c->queued_max_request_bytes > 0 && c->queued_max_request_bytes < c->socket_request_max_bytes)
        return config_refuse(c, fail, "queued.max.request.bytes", "must not be below socket.request.max.bytes (%d)",
                             c->socket_request_max_bytes);
    if (c->max_connections_per_ip == 0 && c->max_connections_per_ip_overrides.count == 0)
        return config_refuse(c, fail, "max.connections.per.ip", "can be 0 only with max.connections.per.ip.overrides");
    if (c->connections_max_idle_ms >= 0 && c->connection_failed_authentication_delay_ms >= c->connections_max_idle_ms)
        return config_refuse(c, fail, "connection.failed.authentication.delay.ms",
                             "must be below connections.max.idle.ms (%" PRId64 ")", c->connections_max_idle_ms);
    return true;
}

bool config_check(const struct broker_config *c, struct fail *fail)
{
    return check_mode(c, fail) && check_id(c, fail) && check_logs(c, fail) && check_replication(c, fail) &&
           check_between_brokers(c, fail) && check_groups(c, fail) && check_connections(c, fail);
}
