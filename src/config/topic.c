/* The configuration of a topic: the broker's, with the topic's own keys over it. */
#include <inttypes.h>

#include "config/config_internal.h"

void topic_config_defaults(const struct broker_config *broker, struct topic_config *out)
{
    struct topic_config *topic = out;
    *topic = (struct topic_config){0};
#include "config/gen/topic_defaults.h"
}

bool topic_config_set(struct topic_config *topic, const char *name, const char *value, struct fail *fail)
{
    const struct config_key *key = config_topic_key(name);
    if (key == NULL)
        return fail_set(fail, "Unknown topic config name: %s", name);
    if (value == NULL)
        return fail_set(fail, "Null value not supported for topic configs: %s", name);
    struct arena a = {0};
    struct config_value parsed;
    struct fail why;
    bool ok = value_parse(key, value, &a, &parsed, &why) == VALUE_OK;
    if (ok)
        value_store(key, &parsed, topic); /* no field of a topic keeps a text */
    else
        value_refuse(name, value, &parsed, &why, fail);
    arena_deinit(&a);
    return ok;
}

bool topic_config_load(const struct broker_config *broker, const struct config_pair *own, size_t count,
                       struct topic_config *out, struct fail *fail)
{
    bool ok = true;
    topic_config_defaults(broker, out);
    for (size_t i = 0; i < count; i++)
        ok = topic_config_set(out, own[i].key, own[i].value, ok ? fail : NULL) && ok;
    if (broker->inter_broker_protocol_version >= IBP_3_0_IV1)
        out->message_format_version = broker->log_message_format_version;
    return ok;
}

static bool topic_config_check_names(const struct config_pair *own, size_t count, struct fail *fail)
{
    for (size_t i = 0; i < count; i++)
        if (config_topic_key(own[i].key) == NULL)
            return fail_set(fail, "Unknown topic config name: %s", own[i].key);
    return true;
}

/* How the keys go together, as Apache checks it for a cluster with ZooKeeper. */
static bool check_together(const struct topic_config *t, struct fail *fail)
{
    if (t->min_compaction_lag_ms > t->max_compaction_lag_ms)
        return fail_set(fail,
                        "conflict topic config setting min.compaction.lag.ms (%" PRId64
                        ") > max.compaction.lag.ms (%" PRId64 ")",
                        t->min_compaction_lag_ms, t->max_compaction_lag_ms);
    if (t->remote_log_delete_on_disable || t->remote_log_copy_disable)
        return fail_set(fail, "It is invalid to set `remote.log.delete.on.disable` or `remote.log.copy.disable` under "
                              "Zookeeper's mode.");
    if (t->remote_storage_enable)
        return fail_set(fail, "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with "
                              "remote log storage.");
    return true;
}

bool topic_config_check(const struct broker_config *broker, const struct config_pair *own, size_t count,
                        struct fail *fail)
{
    struct topic_config topic;
    return topic_config_check_names(own, count, fail) && topic_config_load(broker, own, count, &topic, fail) &&
           check_together(&topic, fail);
}
