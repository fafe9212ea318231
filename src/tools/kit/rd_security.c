#include "tools/kit/rd_security.h"

#include "security/kerberos.h"
#include "security/oauth.h"
#include "tools/kit/client_security.h"

/* What librdkafka asks for again while it runs, on threads of its own. Its one argument for callbacks is the tools'. */
static struct own_login {
    struct arena memory;
    struct client_security security;
    bool by_tokens;
} own;

static bool set_security(rd_kafka_conf_t *conf, const char *name, const char *value, struct fail *fail)
{
    char why[512];
    return value == NULL || rd_kafka_conf_set(conf, name, value, why, sizeof(why)) == RD_KAFKA_CONF_OK ||
           fail_set(fail, "%s", why);
}

/* Whatever the stores are, librdkafka gets them as PEM; what else it has no words for, by way of OpenSSL. */
static bool set_tls(rd_kafka_conf_t *conf, const struct tls_settings *tls, struct arena *a, struct fail *fail)
{
    const char *key, *chain, *none, *anchors;
    return client_security_pem(&tls->keys, KEYSTORE_KEYS, a, &key, &chain, fail) &&
           client_security_pem(&tls->trust, KEYSTORE_TRUST, a, &none, &anchors, fail) &&
           set_security(conf, "ssl.key.pem", key, fail) && set_security(conf, "ssl.certificate.pem", chain, fail) &&
           set_security(conf, "ssl.ca.pem", anchors, fail) &&
           set_security(conf, "ssl.endpoint.identification.algorithm", tls->check_host ? "https" : "none", fail) &&
           tls_adopt_suites(tls, fail);
}

/* ---- Logging in ---- */

static bool set_password(rd_kafka_conf_t *conf, const struct sasl_login *login, struct fail *fail)
{
    const char *user = jaas_option(&login->module, "username"), *password = jaas_option(&login->module, "password");
    const char *by_token = jaas_option(&login->module, "tokenauth");
    if (by_token != NULL && strcasecmp(by_token, "true") == 0) /* or the broker would look for a user of that name */
        return fail_set(fail, "sasl.jaas.config: this command does not log in by a delegation token (tokenauth=true); "
                              "those for topics, groups, settings, ACLs and tokens do");
    if (user == NULL || password == NULL)
        return fail_set(fail, "sasl.jaas.config: the login module has no username or no password");
    return set_security(conf, "sasl.username", user, fail) && set_security(conf, "sasl.password", password, fail);
}

/* Cyrus' library finds the tickets; there is nothing for the command to do that librdkafka runs from time to time. */
static bool set_tickets(rd_kafka_conf_t *conf, const struct kerberos *kerberos, struct fail *fail)
{
    return kerberos_adopt(kerberos, fail) &&
           set_security(conf, "sasl.kerberos.service.name", kerberos->service, fail) &&
           set_security(conf, "sasl.kerberos.kinit.cmd", "true", fail);
}

enum { MOST_EXTENSIONS = 32 };

/* KEY=VALUE\x01 of each, as names and values by turns. */
static size_t split_extensions(struct str text, struct arena *a, const char *out[static 2 * MOST_EXTENSIONS])
{
    size_t n = 0;
    char *save = NULL;
    for (char *item = strtok_r(arena_cstr(a, text), "\x01", &save); item != NULL && n < 2 * MOST_EXTENSIONS;
         item = strtok_r(NULL, "\x01", &save)) {
        char *equals = strchr(item, '=');
        *equals = '\0';
        out[n++] = item;
        out[n++] = equals + 1;
    }
    return n;
}

static void on_token_wanted(rd_kafka_t *rk, const char *config UNUSED, void *opaque UNUSED)
{
    struct arena a = {0};
    struct oauth_source *source = own.security.login.source;
    const char *extensions[2 * MOST_EXTENSIONS];
    struct str token;
    int64_t expires_ms;
    struct fail fail;
    char why[512];
    bool ok = oauth_source_token(source, &a, &token, &expires_ms, &fail);
    if (ok) {
        size_t n = split_extensions(oauth_source_extensions(source), &a, extensions);
        ok = rd_kafka_oauthbearer_set_token(rk, arena_cstr(&a, token), expires_ms, "the token's", extensions, n, why,
                                            sizeof(why)) == RD_KAFKA_RESP_ERR_NO_ERROR ||
             fail_set(&fail, "%s", why);
    }
    if (!ok)
        rd_kafka_oauthbearer_set_token_failure(rk, fail.text); /* it asks again, and tells what failed */
    arena_deinit(&a);
}

/* The first one now: without it nothing can be done, and that is better said at once. */
static bool set_tokens(rd_kafka_conf_t *conf, struct fail *fail)
{
    struct str token;
    int64_t expires_ms;
    if (!oauth_source_token(own.security.login.source, &own.memory, &token, &expires_ms, fail))
        return false;
    own.by_tokens = true;
    rd_kafka_conf_set_oauthbearer_token_refresh_cb(conf, on_token_wanted);
    rd_kafka_conf_enable_sasl_queue(conf, 1); /* a tool that waits for something does not answer */
    return true;
}

static bool set_login(rd_kafka_conf_t *conf, const struct sasl_login *login, struct fail *fail)
{
    if (!set_security(conf, "sasl.mechanism", sasl_mechanism_name(login->mechanism), fail))
        return false;
    switch (login->mechanism) {
    case SASL_GSSAPI:
        return set_tickets(conf, login->kerberos, fail);
    case SASL_OAUTHBEARER:
        return set_tokens(conf, fail);
    default:
        return set_password(conf, login, fail);
    }
}

/* ---- All of it ---- */

/* A copy, as the properties may go before the client does. */
static const char *own_property(const void *properties, const char *name)
{
    const char *text = rd_props_get(properties, name);
    return text != NULL ? arena_cstr(&own.memory, str_of(text)) : NULL;
}

bool rd_security_set(rd_kafka_conf_t *conf, const struct rd_props *p, struct fail *fail)
{
    sasl_login_deinit(&own.security.login);
    arena_deinit(&own.memory);
    own = (struct own_login){0};
    return client_security_read(own_property, p, &own.memory, &own.security, fail) &&
           (!own.security.encrypts || set_tls(conf, &own.security.tls, &own.memory, fail)) &&
           (!own.security.logs_in || set_login(conf, &own.security.login, fail));
}

void rd_security_begin(rd_kafka_t *rk)
{
    if (own.by_tokens)
        rd_kafka_error_destroy(rd_kafka_sasl_background_callbacks_enable(rk));
}
