/*
 * Where a setting comes from, the first that has it:
 *
 *     authorizer.zookeeper.ssl.KEY    of the authorizer's session only
 *     zookeeper.ssl.KEY               in server.properties, or a tool's file
 *     -Dzookeeper.ssl.keY=...         in KAFKA_OPTS, under the names that ZooKeeper has for them
 */
#include "cluster/zk_protection.h"

#include <stdio.h>
#include <strings.h>

#include "config/java_options.h"
#include "config/properties.h"
#include "security/kerberos.h"
#include "security/sasl_settings.h"

static const char netty_socket[] = "org.apache.zookeeper.ClientCnxnSocketNetty";
static const char digest_module[] = "org.apache.zookeeper.server.auth.DigestLoginModule";
static const char kerberos_module[] = "com.sun.security.auth.module.Krb5LoginModule";
static const char digest_uri[] = "zookeeper/zk-sasl-md5";

/* ---- Where settings are ---- */

struct zk_settings {
    const struct broker_config *config; /* or: */
    const struct properties *file;
    bool authorizer;
    struct arena *a;
};

static const char *look(const struct zk_settings *s, const char *name)
{
    const char *text = s->config != NULL ? config_raw(s->config, name)
                       : s->file != NULL ? properties_get(s->file, name)
                                         : NULL;
    return text != NULL ? text_trim(text, s->a) : NULL;
}

/* One setting under its three names. */
static const struct zk_key {
    const char *name, *authorizer, *java;
} zk_keys[] = {
    {"zookeeper.ssl.client.enable", "authorizer.zookeeper.ssl.client.enable", "zookeeper.client.secure"},
    {"zookeeper.clientCnxnSocket", "authorizer.zookeeper.clientCnxnSocket", "zookeeper.clientCnxnSocket"},
    {"zookeeper.ssl.keystore.location", "authorizer.zookeeper.ssl.keystore.location",
     "zookeeper.ssl.keyStore.location"},
    {"zookeeper.ssl.keystore.password", "authorizer.zookeeper.ssl.keystore.password",
     "zookeeper.ssl.keyStore.password"},
    {"zookeeper.ssl.keystore.type", "authorizer.zookeeper.ssl.keystore.type", "zookeeper.ssl.keyStore.type"},
    {"zookeeper.ssl.truststore.location", "authorizer.zookeeper.ssl.truststore.location",
     "zookeeper.ssl.trustStore.location"},
    {"zookeeper.ssl.truststore.password", "authorizer.zookeeper.ssl.truststore.password",
     "zookeeper.ssl.trustStore.password"},
    {"zookeeper.ssl.truststore.type", "authorizer.zookeeper.ssl.truststore.type", "zookeeper.ssl.trustStore.type"},
    {"zookeeper.ssl.protocol", "authorizer.zookeeper.ssl.protocol", "zookeeper.ssl.protocol"},
    {"zookeeper.ssl.enabled.protocols", "authorizer.zookeeper.ssl.enabled.protocols", "zookeeper.ssl.enabledProtocols"},
    {"zookeeper.ssl.cipher.suites", "authorizer.zookeeper.ssl.cipher.suites", "zookeeper.ssl.ciphersuites"},
    {"zookeeper.ssl.endpoint.identification.algorithm", "authorizer.zookeeper.ssl.endpoint.identification.algorithm",
     "zookeeper.ssl.hostnameVerification"},
    {"zookeeper.ssl.crl.enable", "authorizer.zookeeper.ssl.crl.enable", "zookeeper.ssl.crl"},
    {"zookeeper.ssl.ocsp.enable", "authorizer.zookeeper.ssl.ocsp.enable", "zookeeper.ssl.ocsp"},
};

static const struct zk_key *zk_key_of(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(zk_keys); i++)
        if (strcmp(zk_keys[i].name, name) == 0)
            return &zk_keys[i];
    unreachable("a key that is none of TLS to ZooKeeper");
}

/* NULL: it is set nowhere. */
static const char *setting(const struct zk_settings *s, const char *name)
{
    const struct zk_key *key = zk_key_of(name);
    const char *text = s->authorizer ? look(s, key->authorizer) : NULL;
    if (text == NULL)
        text = look(s, key->name);
    return text != NULL ? text : java_property(key->java, s->a);
}

static bool setting_is_on(const struct zk_settings *s, const char *key)
{
    const char *text = setting(s, key);
    return text != NULL && strcasecmp(text, "true") == 0;
}

/* ---- TLS ---- */

static bool has_end(const char *text, const char *end)
{
    size_t len = strlen(text), n = strlen(end);
    return len >= n && strcasecmp(text + len - n, end) == 0;
}

/* JKS and PKCS12 are told apart by what is in the file; PEM goes by its type, or the file's name. */
static const char *store_type(const char *type, const char *location)
{
    return type != NULL && *type != '\0' ? type : location != NULL && has_end(location, ".pem") ? "PEM" : NULL;
}

static struct keystore_source store_of(const struct zk_settings *s, const char *which)
{
    const char *location = setting(s, arena_printf(s->a, "zookeeper.ssl.%s.location", which).p);
    const char *type = store_type(setting(s, arena_printf(s->a, "zookeeper.ssl.%s.type", which).p), location);
    const char *password = setting(s, arena_printf(s->a, "zookeeper.ssl.%s.password", which).p);
    /* ZooKeeper's clients open the key in a PEM file with the store's password; to certificates it does nothing. */
    bool pem = type != NULL && strcmp(type, "PEM") == 0;
    return (struct keystore_source){
        .type = type, .location = location, .password = pem ? NULL : password, .key_password = pem ? password : NULL};
}

/* The property says true or false where the key names an algorithm. */
static bool host_is_checked(const struct zk_settings *s, bool *out, struct fail *fail)
{
    static const char key[] = "zookeeper.ssl.endpoint.identification.algorithm";
    const char *text = setting(s, key);
    *out = text == NULL || (*text != '\0' && strcasecmp(text, "false") != 0);
    return !*out || text == NULL || strcasecmp(text, "https") == 0 || strcasecmp(text, "true") == 0 ||
           fail_set(fail, "%s=%s: it is https, or empty to have no host's name checked", key, text);
}

static bool check_possible(const struct zk_settings *s, struct fail *fail)
{
    static const char *const lists[] = {"zookeeper.ssl.crl.enable", "zookeeper.ssl.ocsp.enable"};
    const char *socket = setting(s, "zookeeper.clientCnxnSocket");
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        if (setting_is_on(s, lists[i]))
            return fail_set(fail, "%s=true: this broker cannot ask whether a certificate was revoked", lists[i]);
    return (socket != NULL && strcmp(socket, netty_socket) == 0) ||
           fail_set(fail, "zookeeper.ssl.client.enable=true needs zookeeper.clientCnxnSocket=%s, as with Apache Kafka",
                    netty_socket);
}

static bool shows_certificate(const struct zk_settings *s)
{
    return setting_is_on(s, "zookeeper.ssl.client.enable") && setting(s, "zookeeper.ssl.keystore.location") != NULL;
}

static bool open_tls(const struct zk_settings *s, struct tls_context **out, struct fail *fail)
{
    if (!setting_is_on(s, "zookeeper.ssl.client.enable"))
        return true;
    const char *protocol = setting(s, "zookeeper.ssl.protocol");
    const char *protocols = setting(s, "zookeeper.ssl.enabled.protocols");
    protocol = protocol != NULL && *protocol != '\0' ? protocol : "TLSv1.2";
    struct tls_settings tls = {.keys = store_of(s, "keystore"),
                               .trust = store_of(s, "truststore"),
                               .enabled_protocols = protocols != NULL && *protocols != '\0' ? protocols : protocol,
                               .cipher_suites = setting(s, "zookeeper.ssl.cipher.suites")};
    if (!check_possible(s, fail) || !host_is_checked(s, &tls.check_host, fail))
        return false;
    *out = tls_context_new(&tls, TLS_CLIENT, fail);
    return *out != NULL || fail_wrap(fail, "TLS to ZooKeeper");
}

/* ---- SASL ---- */

static bool take_password(struct zk_protection *p, const struct jaas_module *module, struct fail *fail)
{
    p->password = (struct digest_login){jaas_option(module, "username"), jaas_option(module, "password"), digest_uri};
    if (p->password.user == NULL || p->password.password == NULL)
        return fail_set(fail, "there is no username, or no password");
    p->who = arena_printf(&p->memory, "user %s", p->password.user).p;
    return true;
}

/* What a server is called by Kerberos, whatever the name is that it is found by. */
struct server_principal {
    const char *service, *host, *realm; /* host NULL: its own; realm NULL: that of the host */
};

/* SERVICE/HOST, or SERVICE/HOST@REALM */
static bool split_server_principal(const char *text, struct arena *a, struct server_principal *out, struct fail *fail)
{
    char *service = arena_cstr(a, str_of(text)), *host = strchr(service, '/');
    char *realm = host != NULL ? strchr(host, '@') : NULL;
    if (host == NULL || host == service || host[1] == '\0' || host + 1 == realm)
        return fail_set(fail, "-Dzookeeper.server.principal=%s is not SERVICE/HOST, nor SERVICE/HOST@REALM", text);
    *host = '\0';
    if (realm != NULL)
        *realm = '\0';
    *out = (struct server_principal){service, host + 1, realm != NULL && realm[1] != '\0' ? realm + 1 : out->realm};
    return true;
}

static bool find_server_principal(struct arena *a, struct server_principal *out, struct fail *fail)
{
    const char *whole = java_property("zookeeper.server.principal", a);
    const char *service = java_property("zookeeper.sasl.client.username", a);
    *out = (struct server_principal){.service = service != NULL ? service : "zookeeper",
                                     .realm = java_property("zookeeper.server.realm", a)};
    return whole == NULL || split_server_principal(whole, a, out, fail);
}

static bool property_is_off(const char *name, struct arena *a)
{
    const char *text = java_property(name, a);
    return text != NULL && strcasecmp(text, "true") != 0;
}

static bool take_tickets(struct zk_protection *p, const struct jaas_module *module, struct fail *fail)
{
    struct server_principal server;
    const char *own = jaas_option(module, "principal");
    if (!find_server_principal(&p->memory, &server, fail))
        return false;
    p->host = server.host;
    p->canonical = !property_is_off("zookeeper.sasl.client.canonicalize.hostname", &p->memory);
    p->who = own != NULL ? arena_printf(&p->memory, "principal %s", own).p : "the owner of its tickets";
    p->tickets = (struct sasl_login){.mechanism = SASL_GSSAPI, .module = *module};
    p->tickets.kerberos = kerberos_client_to(server.service, server.realm, module, fail);
    return p->tickets.kerberos != NULL;
}

static bool take_login(struct zk_protection *p, const struct jaas_section *section, struct fail *fail)
{
    const struct jaas_module *module = section->count > 0 ? &section->modules[0] : NULL;
    if (module != NULL && strcmp(module->name, digest_module) == 0)
        return take_password(p, module, fail);
    if (module != NULL && strcmp(module->name, kerberos_module) == 0)
        return take_tickets(p, module, fail);
    return fail_set(fail, "%s is none of %s and %s, which this broker can log in to ZooKeeper by",
                    module != NULL ? module->name : "an empty section", digest_module, kerberos_module);
}

static bool find_login(struct zk_protection *p, struct fail *fail)
{
    struct arena *a = &p->memory;
    const char *name = java_property("zookeeper.sasl.clientconfig", a);
    const char *enabled = java_property("zookeeper.sasl.client", a);
    const struct jaas_section *section;
    if (!sasl_file_section(name != NULL ? name : "Client", a, &section, fail))
        return false;
    if (section == NULL)
        return true;
    if (property_is_off("zookeeper.sasl.client", a))
        return fail_set(fail,
                        "the JAAS file has the section %s, and -Dzookeeper.sasl.client=%s in KAFKA_OPTS says that"
                        " nobody logs in to ZooKeeper",
                        section->name, enabled);
    return take_login(p, section, fail) || fail_wrap(fail, "the section %s of the JAAS file", section->name);
}

/* ---- All together ---- */

static bool check_znodes(const struct zk_protection *p, const struct zk_settings *s, struct fail *fail)
{
    return !p->own_znodes || p->who != NULL || shows_certificate(s) ||
           fail_set(fail, "zookeeper.set.acl is true, but ZooKeeper is not told who this broker is: there is neither a "
                          "section Client in a JAAS file, nor TLS with zookeeper.ssl.keystore.location");
}

static struct zk_protection *make_protection(struct zk_settings *s, struct fail *fail)
{
    struct zk_protection *p = xcalloc(1, sizeof(*p));
    atomic_init(&p->refs, 1);
    s->a = &p->memory;
    if (find_login(p, fail) && open_tls(s, &p->tls, fail)) {
        p->own_znodes = s->config != NULL ? s->config->zookeeper_set_acl : p->who != NULL || shows_certificate(s);
        if (check_znodes(p, s, fail))
            return p;
    }
    zk_protection_unref(p);
    return NULL;
}

struct zk_protection *zk_protection_of(const struct broker_config *config, bool authorizer, struct fail *fail)
{
    struct zk_settings s = {.config = config, .authorizer = authorizer};
    return make_protection(&s, fail);
}

struct zk_protection *zk_protection_of_tool(const char *tls_file, struct fail *fail)
{
    struct arena memory = {0};
    struct properties file = {0};
    struct zk_settings s = {.file = &file};
    struct zk_protection *p = NULL;
    if (tls_file == NULL || properties_read(tls_file, &memory, &file, fail))
        p = make_protection(&s, fail);
    arena_deinit(&memory);
    return p;
}

struct zk_protection *zk_protection_ref(struct zk_protection *p)
{
    if (p != NULL)
        atomic_fetch_add(&p->refs, 1);
    return p;
}

void zk_protection_unref(struct zk_protection *p)
{
    if (p == NULL)
        return;
    int before = atomic_fetch_sub(&p->refs, 1);
    ensure(before > 0);
    if (before > 1)
        return;
    sasl_login_deinit(&p->tickets);
    tls_context_unref(p->tls);
    arena_deinit(&p->memory);
    free(p);
}

bool zk_path_is_secret(const char *path)
{
    static const char *const roots[] = {"/config/users", "/config/brokers", "/delegation_token/tokens"};
    for (size_t i = 0; i < ARRAY_LEN(roots); i++)
        if (strncmp(path, roots[i], strlen(roots[i])) == 0)
            return true;
    return false;
}
