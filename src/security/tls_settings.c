/* The keys ssl.* of one listener: their values become a struct tls_settings. */
#include "security/tls.h"

struct settings_reader {
    const struct broker_config *config;
    const struct listener *listener;
    struct arena *a;
    struct fail *fail;
    bool failed;
};

static const char *settings_text(struct settings_reader *r, const char *key)
{
    const char *text = NULL;
    if (!r->failed && !config_listener_value(r->config, r->listener->name, key, r->a, &text, r->fail))
        r->failed = true;
    return text;
}

/* With SASL the client has said who it is, so that its certificate has to be asked for by the listener itself
 * (KIP-684). */
static enum client_auth settings_client_auth(struct settings_reader *r)
{
    static const char key[] = "ssl.client.auth";
    const struct config_set *set = config_broker_key(key)->set;
    const char *text = settings_text(r, key);
    if (r->listener->protocol == SECURITY_PROTOCOL_SASL_SSL && !config_listener_has(r->config, r->listener->name, key))
        return CLIENT_AUTH_NONE;
    for (int i = 0; text != NULL && i < set->count; i++)
        if (strcmp(set->values[i].text, text) == 0)
            return (enum client_auth)set->values[i].number;
    return CLIENT_AUTH_REQUIRED; /* of what was refused */
}

static bool settings_check_host(struct settings_reader *r)
{
    static const char key[] = "ssl.endpoint.identification.algorithm";
    const char *text = settings_text(r, key);
    if (text == NULL || *text == '\0')
        return false;
    if (!r->failed && strcasecmp(text, "https") != 0)
        r->failed = !fail_set(r->fail, "%s=%s of listener %s: it is https, or empty to have no host's name checked",
                              key, text, r->listener->name);
    return true;
}

bool tls_settings_of(const struct broker_config *config, const struct listener *listener, struct arena *a,
                     struct tls_settings *out, struct fail *fail)
{
    struct settings_reader r = {config, listener, a, fail, false};
    *out = (struct tls_settings){
        .keys = {.type = settings_text(&r, "ssl.keystore.type"),
                 .location = settings_text(&r, "ssl.keystore.location"),
                 .password = settings_text(&r, "ssl.keystore.password"),
                 .key_password = settings_text(&r, "ssl.key.password"),
                 .key = settings_text(&r, "ssl.keystore.key"),
                 .certificates = settings_text(&r, "ssl.keystore.certificate.chain")},
        .trust = {.type = settings_text(&r, "ssl.truststore.type"),
                  .location = settings_text(&r, "ssl.truststore.location"),
                  .password = settings_text(&r, "ssl.truststore.password"),
                  .certificates = settings_text(&r, "ssl.truststore.certificates")},
        .enabled_protocols = settings_text(&r, "ssl.enabled.protocols"),
        .cipher_suites = settings_text(&r, "ssl.cipher.suites"),
        .client_auth = settings_client_auth(&r),
        .check_host = settings_check_host(&r),
    };
    return !r.failed;
}
