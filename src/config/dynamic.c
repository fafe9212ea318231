/* Changes at run time (KIP-226): which are allowed, and the configuration that they lead to. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "config/config_internal.h"
#include "config/variables.h"

/* Of the keys for one listener only these can be set for all brokers at once. */
static const char *const cluster_listener_keys[] = {
    "max.connections",
    "max.connection.creation.rate",
    "num.network.threads",
};

/* Counts that may not change to less than half or more than double at once. */
static const char *const thread_keys[] = {
    "background.threads",
    "log.cleaner.threads",
    "num.io.threads",
    "num.network.threads",
    "num.recovery.threads.per.data.dir",
    "num.replica.fetchers",
};

static bool is_for_listener(const char *name, const struct config_key *key)
{
    return strcmp(name, key->name) != 0;
}

/* Keys and certificates can be changed for a listener only. */
static bool needs_listener(const struct config_key *key)
{
    return strncmp(key->name, "ssl.keystore.", strlen("ssl.keystore.")) == 0 ||
           strncmp(key->name, "ssl.truststore.", strlen("ssl.truststore.")) == 0 ||
           strcmp(key->name, "ssl.key.password") == 0;
}

static bool is_per_broker(const char *name, const struct config_key *key)
{
    if (!is_for_listener(name, key))
        return key->dynamic == CONFIG_PER_BROKER;
    for (size_t i = 0; i < ARRAY_LEN(cluster_listener_keys); i++)
        if (strcmp(key->name, cluster_listener_keys[i]) == 0)
            return false;
    return true;
}

bool config_check_dynamic(const char *name, const char *value, bool per_broker, struct fail *fail)
{
    const struct config_key *key = config_broker_key(name);
    if (value == NULL)
        return fail_set(fail, "Null value not supported for broker configs: %s", name);
    if (key == NULL) /* whoever set it knows what it is for */
        return true;
    if (!is_for_listener(name, key) && key->dynamic == CONFIG_READ_ONLY)
        return fail_set(fail, "Cannot update these configs dynamically: Set(%s)", name);
    if (!is_for_listener(name, key) && needs_listener(key))
        return fail_set(
            fail,
            "These security configs can be dynamically updated only per-listener using the listener prefix: "
            "HashSet(%s)",
            name);
    if (strcmp(key->name, "principal.builder.class") == 0 && !config_builder_is_known(value))
        return fail_set(fail, "Invalid value %s for configuration %s: Class %s could not be found.", value, name,
                        value); /* or the broker would not start with it */
    struct arena a = {0};
    struct config_value parsed;
    struct fail why;
    enum value_result result = value_parse(key, value, &a, &parsed, &why);
    if (result != VALUE_OK)
        value_refuse(name, value, &parsed, &why, fail);
    arena_deinit(&a);
    if (result != VALUE_OK)
        return false;
    if (!per_broker && is_per_broker(name, key))
        return fail_set(
            fail, "Cannot update these configs at default cluster level, broker id must be specified: Set(%s)", name);
    return true;
}

static int64_t count_of(const struct broker_config *config, const char *name)
{
    const char *text = config_raw(config, name);
    return strtoll(text != NULL ? text : config_broker_key(name)->default_text, NULL, 10);
}

/* Apache puts its reason where the value belongs. */
static bool refuse_change(struct fail *fail, const char *why)
{
    return fail_set(
        fail,
        "Invalid value org.apache.kafka.common.config.ConfigException: %s for configuration Invalid dynamic "
        "configuration",
        why);
}

static bool refuse_count(struct fail *fail, const char *name, int64_t old, int64_t new)
{
    struct fail why;
    if (strcmp(name, "log.cleaner.threads") == 0)
        fail_set(&why, "Log cleaner threads cannot be %s the current value %" PRId64,
                 new < old ? "reduced to less than half" : "increased to more than double", old);
    else if (new < 1)
        fail_set(&why, "Dynamic thread count update validation failed for %s=%" PRId64 ", value should be at least 1",
                 name, new);
    else
        fail_set(&why,
                 "Dynamic thread count update validation failed for %s=%" PRId64 ", value should %s the current value "
                 "%" PRId64,
                 name, new, new < old ? "be at least half" : "not be greater than double", old);
    return refuse_change(fail, why.text);
}

static int64_t limit_of(const struct broker_config *config, const char *listener, const char *name)
{
    return strtoll(config_listener_raw(config, listener, NULL, name), NULL, 10);
}

/* At start they may be 0; but nobody who would set them again could come in. */
static bool check_ways_in(const struct broker_config *now, const struct broker_config *next, struct fail *fail)
{
    static const char *const keys[] = {"max.connections", "max.connection.creation.rate"};
    for (int l = 0; l < next->listeners.count; l++) {
        const char *listener = next->listeners.items[l].name;
        for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
            struct fail why;
            int64_t limit = limit_of(next, listener, keys[i]);
            if (limit > 0 || limit == limit_of(now, listener, keys[i]))
                continue;
            fail_set(&why, "Invalid %s %" PRId64, keys[i], limit);
            return refuse_change(fail, why.text);
        }
    }
    return true;
}

bool config_check_change(const struct broker_config *now, const struct broker_config *next, struct fail *fail)
{
    for (size_t i = 0; i < ARRAY_LEN(thread_keys); i++) {
        int64_t old = count_of(now, thread_keys[i]), new = count_of(next, thread_keys[i]);
        if (new != old && (new < 1 || new < old / 2 || new > old * 2))
            return refuse_count(fail, thread_keys[i], old, new);
    }
    return check_ways_in(now, next, fail);
}

bool config_is_password(const char *name)
{
    const struct config_key *key = config_broker_key(name);
    if (key != NULL)
        return key->type == CONFIG_PASSWORD;
    size_t count, len = strlen(name);
    const struct config_key *all = config_broker_keys(&count);
    for (size_t i = 0; i < count; i++) { /* one that a broker takes at run time, behind a prefix that nobody knows */
        size_t tail = strlen(all[i].name);
        if (all[i].type == CONFIG_PASSWORD && all[i].dynamic == CONFIG_PER_BROKER && len > tail &&
            strcmp(name + len - tail, all[i].name) == 0)
            return true;
    }
    return false;
}

static bool is_same_or_synonym(const char *name, const char *broker_key)
{
    const char *const *synonyms = config_broker_key(broker_key)->synonyms;
    bool same = strcmp(name, broker_key) == 0;
    for (; !same && synonyms != NULL && *synonyms != NULL; synonyms++)
        same = strcmp(name, *synonyms) == 0;
    return same;
}

bool config_is_live(const char *name)
{
    size_t n;
    const struct config_key *keys = config_topic_keys(&n);
    for (size_t i = 0; i < n; i++)
        if (keys[i].state == CONFIG_WORKS && keys[i].broker_key != NULL && is_same_or_synonym(name, keys[i].broker_key))
            return true;
    const struct config_key *key = config_broker_key(name);
    return key != NULL &&
           (key->live == CONFIG_LIVE_PER_LISTENER || (key->live == CONFIG_LIVE && strcmp(key->name, name) == 0));
}

/* By the providers of the file: what is set at run time is not to name others. */
static const char *static_setting(const void *base, const char *name)
{
    const struct broker_config *config = base;
    for (int i = 0; i < config->entry_count; i++)
        if (config->entries[i].source == CONFIG_STATIC && strcmp(config->entries[i].name, name) == 0)
            return config->entries[i].value;
    return NULL;
}

static void dynamic_add(struct broker_config *out, const struct broker_config *base, const struct config_pair *pairs,
                        size_t count, enum config_source source, config_warn_fn warn, void *ctx)
{
    const struct variables v = {static_setting, base};
    for (size_t i = 0; i < count; i++) {
        struct fail why;
        bool ok = config_check_dynamic(pairs[i].key, pairs[i].value, source == CONFIG_DYNAMIC_BROKER, &why);
        const char *value = ok ? variables_replace(&v, pairs[i].value, &out->memory, &why) : NULL;
        if (value != NULL) {
            config_add(out, (struct config_entry){.name = pairs[i].key, .value = value, .source = source});
            continue;
        }
        struct fail line;
        fail_set(&line, "set at run time for %s: %s is ignored: %s",
                 source == CONFIG_DYNAMIC_BROKER ? "this broker" : "all brokers", pairs[i].key, why.text);
        if (warn != NULL)
            warn(ctx, line.text);
    }
}

bool config_derive(struct broker_config *out, const struct broker_config *base, const struct config_pair *cluster,
                   size_t cluster_count, const struct config_pair *broker, size_t broker_count, config_warn_fn warn,
                   void *ctx, struct fail *fail)
{
    config_start(out, base->file, (size_t)base->entry_count + cluster_count + broker_count);
    dynamic_add(out, base, broker, broker_count, CONFIG_DYNAMIC_BROKER, warn, ctx);
    dynamic_add(out, base, cluster, cluster_count, CONFIG_DYNAMIC_CLUSTER, warn, ctx);
    for (int i = 0; i < base->entry_count; i++)
        if (base->entries[i].source == CONFIG_STATIC)
            config_add(out, base->entries[i]);
    return config_fill(out, fail);
}
