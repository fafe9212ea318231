/*
 * What keeps a broker from starting, as it would serve with less protection than was asked for: parts of Java's that it
 * does not have, and keys of single listeners that nobody would look at. Kafka starts with the latter, and the listener
 * has what all others have.
 */
#include <strings.h>

#include "config/config_internal.h"

static bool check_parts_of_java(const struct broker_config *c, struct fail *fail)
{
    if (config_has_text(c, "authorizer.class.name") && strcmp(c->authorizer_class_name, CONFIG_ACL_AUTHORIZER) != 0)
        return config_refuse(c, fail, "authorizer.class.name",
                             "this broker has " CONFIG_ACL_AUTHORIZER " only; leave it empty to serve whoever comes");
    if (c->remote_log_storage_system_enable)
        return config_refuse(c, fail, "remote.log.storage.system.enable",
                             "this broker has no remote storage: it would begin each log at what is here, and what is "
                             "there would be deleted");
    if (config_has_text(c, "client.quota.callback.class"))
        return config_refuse(
            c, fail, "client.quota.callback.class",
            "this broker runs no Java; without it quotas are those of ZooKeeper, which %s would replace",
            c->client_quota_callback_class);
    return true;
}

/* ---- Principals ---- */

#define BUILDER_KEY "principal.builder.class"
#define BUILDER "org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder"

bool config_builder_is_known(const char *text)
{
    struct str name = str_trim(str_of(text));
    return name.len == 0 || str_is(name, BUILDER);
}

static bool check_builders(const struct broker_config *c, struct fail *fail)
{
    for (int i = 0; i < c->listeners.count; i++) {
        const char *listener = c->listeners.items[i].name;
        const char *builder = config_listener_raw(c, listener, NULL, BUILDER_KEY);
        if (!config_builder_is_known(builder))
            return config_refuse(c, fail, BUILDER_KEY,
                                 "listener %s: it names a part of Java that this broker does not have, and whoever "
                                 "comes would be somebody else than it would say (%s)",
                                 listener, builder);
    }
    return true;
}

/* ---- Keys of single listeners ---- */

static bool is_of_security(const char *key)
{
    return strncmp(key, "ssl.", 4) == 0 || strncmp(key, "sasl.", 5) == 0 || strcmp(key, BUILDER_KEY) == 0 ||
           config_behind_mechanism(key) != NULL || config_is_for_mechanism(key);
}

/* The one that the key is for, which is written in lower case; or that it would be for if it were. */
static const struct listener *listener_of(const struct broker_config *c, const char *name, bool *exactly,
                                          const char **key)
{
    for (int i = 0; i < c->listeners.count; i++) {
        const struct listener *l = &c->listeners.items[i];
        size_t len = strlen(l->name);
        if (strncasecmp(name, l->name, len) != 0 || name[len] != '.')
            continue;
        *exactly = true;
        for (size_t k = 0; k < len; k++)
            *exactly &= name[k] < 'A' || name[k] > 'Z';
        *key = name + len + 1;
        return l;
    }
    *key = strchr(name, '.');
    *key = *key != NULL ? *key + 1 : "";
    return NULL;
}

/* The ports of barnabas.http.listeners have their keys as a listener of this name would. */
static bool is_for_http(const char *name)
{
    return strncmp(name, "http.", 5) == 0;
}

static bool check_key(const struct broker_config *c, const struct config_entry *entry, const char *rest,
                      struct fail *fail)
{
    bool exactly = true;
    const char *key;
    const struct listener *l = listener_of(c, rest, &exactly, &key);
    if (!is_of_security(key))
        return true;
    if (l == NULL && !is_for_http(rest))
        return config_refuse(c, fail, entry->name, "there is no such listener");
    if (!exactly)
        return config_refuse(c, fail, entry->name, "the name of a listener is written in lower case there");
    if (entry->key == NULL)
        return config_refuse(c, fail, entry->name, "there is no such key");
    if (strcmp(key, entry->key->name) != 0 && config_behind_mechanism(key) == NULL)
        return config_refuse(c, fail, entry->name, "there is no such mechanism");
    return true;
}

/* As they were given: what is set at run time may be for other brokers, too. */
static bool check_keys_of_listeners(const struct broker_config *c, struct fail *fail)
{
    static const char prefix[] = "listener.name.";
    for (int i = 0; i < c->entry_count; i++) {
        const struct config_entry *entry = &c->entries[i];
        if (entry->source == CONFIG_STATIC && strncmp(entry->name, prefix, sizeof(prefix) - 1) == 0 &&
            !check_key(c, entry, entry->name + sizeof(prefix) - 1, fail))
            return false;
    }
    return true;
}

bool config_check_protection(const struct broker_config *c, struct fail *fail)
{
    return check_parts_of_java(c, fail) && check_builders(c, fail) && check_keys_of_listeners(c, fail);
}
