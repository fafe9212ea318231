/* The keys ssl.* of one listener: their values become a struct tls_settings. */
#include "security/tls.h"

#include <stdio.h>
#include <strings.h>

struct settings_reader {
    const struct broker_config *config;
    const struct listener *listener;
    struct arena *a;
    struct fail *fail;
    bool failed;
};

static const char *settings_text(struct settings_reader *r, const char *key)
{
    return config_listener_text(r->config, r->listener->name, key, r->a);
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
    for (int i = 0; i < set->count; i++)
        if (strcmp(set->values[i].text, text) == 0)
            return (enum client_auth)set->values[i].number;
    unreachable("a value that is not in the set of its key");
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

/* ---- What only Java can follow ---- */

/* A value that is the default, or that does not change what comes of it, is fine; any other asks for what is not there.
 */
static const struct java_setting {
    const char *key;
    const char *const *values; /* NULL-terminated */
} java_settings[] = {
    {"ssl.engine.factory.class",
     (const char *const[]){"org.apache.kafka.common.security.ssl.DefaultSslEngineFactory", NULL}},
    {"ssl.protocol",
     (const char *const[]){"TLS", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3", "SSL", "SSLv2", "SSLv3", NULL}},
    {"ssl.provider", (const char *const[]){"SunJSSE", NULL}},
    {"ssl.keymanager.algorithm", (const char *const[]){"SunX509", "NewSunX509", "PKIX", NULL}},
    {"ssl.trustmanager.algorithm", (const char *const[]){"PKIX", "SunPKIX", "SunX509", "X509", "X.509", NULL}},
    {"ssl.secure.random.implementation",
     (const char *const[]){"SHA1PRNG", "NativePRNG", "NativePRNGBlocking", "NativePRNGNonBlocking", "DRBG", NULL}},
    {"security.providers", (const char *const[]){NULL}},
};

static void settings_check_java(struct settings_reader *r, const struct java_setting *setting)
{
    const char *text = settings_text(r, setting->key);
    bool fine = text == NULL || *text == '\0';
    for (const char *const *value = setting->values; !fine && *value != NULL; value++)
        fine = strcasecmp(*value, text) == 0;
    if (!fine && !r->failed)
        r->failed = !fail_set(r->fail, "%s=%s of listener %s: it names a part of Java that this broker does not have",
                              setting->key, text, r->listener->name);
}

/* ---- All together ---- */

void tls_settings_take(const char *(*get)(void *ctx, const char *key), void *ctx, struct tls_settings *out)
{
    *out = (struct tls_settings){.keys = {.type = get(ctx, "ssl.keystore.type"),
                                          .location = get(ctx, "ssl.keystore.location"),
                                          .password = get(ctx, "ssl.keystore.password"),
                                          .key_password = get(ctx, "ssl.key.password"),
                                          .key = get(ctx, "ssl.keystore.key"),
                                          .certificates = get(ctx, "ssl.keystore.certificate.chain")},
                                 .trust = {.type = get(ctx, "ssl.truststore.type"),
                                           .location = get(ctx, "ssl.truststore.location"),
                                           .password = get(ctx, "ssl.truststore.password"),
                                           .certificates = get(ctx, "ssl.truststore.certificates")},
                                 .enabled_protocols = get(ctx, "ssl.enabled.protocols"),
                                 .cipher_suites = get(ctx, "ssl.cipher.suites")};
}

static const char *settings_get(void *ctx, const char *key)
{
    return settings_text(ctx, key);
}

bool tls_settings_of(const struct broker_config *config, const struct listener *listener, struct arena *a,
                     struct tls_settings *out, struct fail *fail)
{
    struct settings_reader r = {config, listener, a, fail, false};
    tls_settings_take(settings_get, &r, out);
    out->principal_rules = settings_text(&r, "ssl.principal.mapping.rules");
    out->client_auth = settings_client_auth(&r);
    out->check_host = settings_check_host(&r);
    out->ktls = strcmp(settings_text(&r, "ssl.ktls"), "auto") == 0;
    for (size_t i = 0; i < ARRAY_LEN(java_settings); i++)
        settings_check_java(&r, &java_settings[i]);
    return !r.failed;
}

bool tls_settings_renewed(const struct broker_config *at_start, const struct broker_config *now,
                          const struct listener *listener, struct arena *a, struct tls_settings *out, struct fail *fail)
{
    struct tls_settings theirs;
    if (!tls_settings_of(at_start, listener, a, out, fail) || !tls_settings_of(now, listener, a, &theirs, fail))
        return false;
    out->keys = theirs.keys;
    out->trust = theirs.trust;
    return true;
}
