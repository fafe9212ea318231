/* The rows of broker.tbl and topic.tbl, and finding them. */
#include <math.h>

#include "config/config_internal.h"
#include "config/gen/keys.h"

const struct config_key *config_broker_keys(size_t *count)
{
    *count = ARRAY_LEN(broker_keys);
    return broker_keys;
}

const struct config_key *config_topic_keys(size_t *count)
{
    *count = ARRAY_LEN(topic_keys);
    return topic_keys;
}

static int key_compare(const void *name, const void *key)
{
    return strcmp(name, ((const struct config_key *)key)->name);
}

static const struct config_key *key_find(const struct config_key *keys, size_t count, const char *name)
{
    return bsearch(name, keys, count, sizeof(*keys), key_compare);
}

/* Keys that are set for one mechanism of a listener: listener.name.NAME.MECHANISM.KEY. */
static const char *const mechanism_keys[] = {
    "sasl.jaas.config",          "sasl.login.callback.handler.class",
    "sasl.login.class",          "sasl.server.callback.handler.class",
    "connections.max.reauth.ms",
};

static const char *const mechanisms[] = {"gssapi", "plain", "scram-sha-256", "scram-sha-512", "oauthbearer"};

const char *config_behind_mechanism(const char *key)
{
    for (size_t i = 0; i < ARRAY_LEN(mechanisms); i++) {
        size_t len = strlen(mechanisms[i]);
        if (strncmp(key, mechanisms[i], len) == 0 && key[len] == '.')
            return key + len + 1;
    }
    return NULL;
}

/* Of a mechanism that is known, whatever is about logging in: each has keys of its own. */
static const char *without_mechanism(const char *name)
{
    size_t len = strlen(name);
    const char *behind = config_behind_mechanism(name);
    if (behind != NULL && strncmp(behind, "sasl.", 5) == 0)
        return behind;
    for (size_t i = 0; i < ARRAY_LEN(mechanism_keys); i++) {
        size_t tail = strlen(mechanism_keys[i]);
        if (len > tail && name[len - tail - 1] == '.' && strcmp(name + len - tail, mechanism_keys[i]) == 0)
            return mechanism_keys[i];
    }
    return name;
}

bool config_is_for_mechanism(const char *name)
{
    return without_mechanism(name) != name;
}

const struct config_key *config_broker_key(const char *name)
{
    static const char prefix[] = "listener.name.";
    if (strncmp(name, prefix, sizeof(prefix) - 1) == 0) {
        const char *dot = strchr(name + sizeof(prefix) - 1, '.');
        if (dot == NULL)
            return NULL;
        name = without_mechanism(dot + 1);
    }
    return key_find(broker_keys, ARRAY_LEN(broker_keys), name);
}

const struct config_key *config_topic_key(const char *name)
{
    return key_find(topic_keys, ARRAY_LEN(topic_keys), name);
}

const char *security_protocol_name(int16_t number)
{
    for (int i = 0; i < set_security_protocol.count; i++)
        if (set_security_protocol.values[i].number == number)
            return set_security_protocol.values[i].text;
    return NULL;
}

bool security_protocol_has_tls(enum security_protocol protocol)
{
    return protocol == SECURITY_PROTOCOL_SSL || protocol == SECURITY_PROTOCOL_SASL_SSL;
}

bool security_protocol_has_sasl(enum security_protocol protocol)
{
    return protocol == SECURITY_PROTOCOL_SASL_PLAINTEXT || protocol == SECURITY_PROTOCOL_SASL_SSL;
}

bool security_protocol_parse(const char *name, enum security_protocol *out)
{
    for (int i = 0; i < set_security_protocol.count; i++) {
        if (strcmp(set_security_protocol.values[i].text, name) == 0) {
            *out = (enum security_protocol)set_security_protocol.values[i].number;
            return true;
        }
    }
    return false;
}
