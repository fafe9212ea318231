#include "security/kerberos.h"

#include <gssapi/gssapi_ext.h>
#include <gssapi/gssapi_krb5.h>
#include <krb5.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/logger.h"
#include "config/java_options.h"

/* ---- Errors ---- */

static void add_status(struct fail *fail, OM_uint32 code, int type)
{
    OM_uint32 minor, more = 0;
    gss_buffer_desc text = GSS_C_EMPTY_BUFFER;
    if (gss_display_status(&minor, code, type, GSS_C_NO_OID, &more, &text) != GSS_S_COMPLETE)
        return;
    size_t at = strlen(fail->text);
    if (at < sizeof(fail->text))
        snprintf(fail->text + at, sizeof(fail->text) - at, "%s%.*s", at > 0 ? ": " : "", (int)text.length,
                 (const char *)text.value);
    gss_release_buffer(&minor, &text);
}

bool kerberos_explain(OM_uint32 major, OM_uint32 minor, struct fail *fail)
{
    fail->text[0] = '\0';
    add_status(fail, major, GSS_C_GSS_CODE);
    if (minor != 0)
        add_status(fail, minor, GSS_C_MECH_CODE);
    return false;
}

/* ---- Settings ---- */

static bool option_is_true(const struct jaas_module *module, const char *key)
{
    const char *value = jaas_option(module, key);
    return value != NULL && strcasecmp(value, "true") == 0;
}

/* While the broker starts: nothing else looks at the environment meanwhile, or it has been changed before. */
static void take_configuration(void)
{
    static const char variable[] = "KRB5_CONFIG";
    struct arena a = {0};
    const char *file = java_property("java.security.krb5.conf", &a), *now = getenv(variable);
    if (file != NULL && (now == NULL || strcmp(now, file) != 0))
        setenv(variable, file, 1);
    arena_deinit(&a);
}

static bool import_name(const char *text, gss_OID type, gss_name_t *out, struct fail *fail)
{
    OM_uint32 minor, major;
    gss_buffer_desc name = {strlen(text), (void *)(uintptr_t)text};
    major = gss_import_name(&minor, &name, type, out);
    return major == GSS_S_COMPLETE || kerberos_explain(major, minor, fail);
}

static bool take_options(struct kerberos *k, const struct jaas_module *module, struct fail *fail)
{
    const char *principal = jaas_option(module, "principal"), *keytab = jaas_option(module, "keyTab");
    const char *cache = jaas_option(module, "ticketCache");
    take_configuration();
    if (option_is_true(module, "useKeyTab") && keytab != NULL)
        k->keytab = strncmp(keytab, "file:", 5) == 0 ? keytab + 5 : keytab;
    else if (option_is_true(module, "useTicketCache"))
        k->cache = cache != NULL ? cache : "";
    bool any = principal == NULL || strcmp(principal, "*") == 0;
    return any || import_name(principal, (gss_OID)(uintptr_t)GSS_KRB5_NT_PRINCIPAL_NAME, &k->name, fail) ||
           fail_wrap(fail, "the principal %s of the JAAS configuration", principal);
}

static char *find_realm(struct fail *fail)
{
    krb5_context context;
    char *realm = NULL, *copy = NULL;
    krb5_error_code rc = krb5_init_context(&context);
    if (rc != 0) {
        fail_set(fail, "the configuration of Kerberos cannot be read (error %d)", (int)rc);
        return NULL;
    }
    if (krb5_get_default_realm(context, &realm) == 0) {
        copy = xstrdup(realm);
        krb5_free_default_realm(context, realm);
    }
    krb5_free_context(context);
    return copy != NULL ? copy : xstrdup("");
}

static bool make_rules(struct kerberos *k, const struct login_settings *settings, struct fail *fail)
{
    static const char key[] = "sasl.kerberos.principal.to.local.rules";
    char *realm = find_realm(fail);
    if (realm == NULL)
        return false;
    k->rules = kerberos_rules_parse(login_text(settings, key), realm, fail);
    free(realm);
    return k->rules != NULL || fail_wrap(fail, "%s of %s", key, settings->place);
}

/* ---- Servers ---- */

static bool open_keys(struct kerberos *k, struct fail *fail)
{
    OM_uint32 minor, major;
    gss_key_value_element_desc where = {"keytab", k->keytab};
    gss_key_value_set_desc store = {1, &where};
    gss_OID_set_desc mechanisms = {1, (gss_OID)(uintptr_t)gss_mech_krb5};
    major = gss_acquire_cred_from(&minor, k->name, GSS_C_INDEFINITE, &mechanisms, GSS_C_ACCEPT, &store, &k->keys, NULL,
                                  NULL);
    if (major == GSS_S_COMPLETE)
        return true;
    kerberos_explain(major, minor, fail);
    return fail_wrap(fail, "the key table %s", k->keytab);
}

struct kerberos *kerberos_server_new(const struct login_settings *settings, const struct jaas_module *module,
                                     struct fail *fail)
{
    struct kerberos *k = xcalloc(1, sizeof(*k));
    bool ok = take_options(k, module, fail);
    if (ok && k->keytab == NULL)
        ok = fail_set(fail, "the JAAS configuration of GSSAPI on %s needs useKeyTab=true and keyTab", settings->place);
    if (ok && open_keys(k, fail) && make_rules(k, settings, fail))
        return k;
    kerberos_free(k);
    return NULL;
}

/* ---- Clients ---- */

static bool has_source(const struct kerberos *k, struct fail *fail)
{
    return k->keytab != NULL || k->cache != NULL ||
           fail_set(fail, "the JAAS configuration of GSSAPI has neither useKeyTab=true and keyTab nor useTicketCache");
}

struct kerberos *kerberos_client_new(const struct login_settings *settings, const struct jaas_module *module,
                                     struct fail *fail)
{
    struct kerberos *k = xcalloc(1, sizeof(*k));
    const char *own = jaas_option(module, "serviceName");
    bool ok = take_options(k, module, fail);
    k->service = own != NULL ? own : login_text(settings, "sasl.kerberos.service.name");
    if (ok && k->service == NULL)
        ok = fail_set(fail, "No serviceName defined in either JAAS or Kafka config");
    if (ok && has_source(k, fail))
        return k;
    kerberos_free(k);
    return NULL;
}

static krb5_error_code find_key(krb5_context context, krb5_keytab table, const char *principal)
{
    krb5_principal name;
    krb5_keytab_entry entry;
    if (principal == NULL || strcmp(principal, "*") == 0)
        return krb5_kt_have_content(context, table);
    krb5_error_code rc = krb5_parse_name(context, principal, &name);
    if (rc != 0)
        return rc;
    rc = krb5_kt_get_entry(context, table, name, 0, 0, &entry);
    if (rc == 0)
        krb5_free_keytab_entry_contents(context, &entry);
    krb5_free_principal(context, name);
    return rc;
}

/* Whether it has a key, of that principal if one is named; if it is a good one, only the KDC could say. */
static bool check_table(const char *path, const char *principal, struct fail *fail)
{
    krb5_context context;
    krb5_keytab table;
    krb5_error_code rc = krb5_init_context(&context);
    if (rc != 0)
        return fail_set(fail, "the configuration of Kerberos cannot be read (error %d)", (int)rc);
    rc = krb5_kt_resolve(context, path, &table);
    if (rc == 0) {
        rc = find_key(context, table, principal);
        krb5_kt_close(context, table);
    }
    if (rc != 0) {
        const char *why = krb5_get_error_message(context, rc);
        fail_set(fail, "the key table %s: %s", path, why);
        krb5_free_error_message(context, why);
    }
    krb5_free_context(context);
    return rc == 0;
}

struct kerberos *kerberos_client_to(const char *service, const char *realm, const struct jaas_module *module,
                                    struct fail *fail)
{
    struct kerberos *k = xcalloc(1, sizeof(*k));
    k->service = service;
    k->realm = realm;
    k->to_the_letter = true;
    if (take_options(k, module, fail) && has_source(k, fail) &&
        (k->keytab == NULL || check_table(k->keytab, jaas_option(module, "principal"), fail)))
        return k;
    kerberos_free(k);
    return NULL;
}

/* Tickets that are had by a key table lie in memory, where the library finds them the next time, or renews them. */
static const char *cache_name(const struct kerberos *k, struct arena *a)
{
    return k->cache != NULL ? k->cache : arena_printf(a, "MEMORY:barnabas-%p", (const void *)k).p;
}

bool kerberos_tickets(const struct kerberos *k, gss_cred_id_t *out, struct fail *fail)
{
    OM_uint32 minor, major;
    struct arena a = {0};
    const char *cache = cache_name(k, &a);
    gss_key_value_element_desc where[] = {{"ccache", cache}, {"client_keytab", k->keytab}};
    gss_key_value_set_desc store = {k->keytab != NULL ? 2 : *cache != '\0' ? 1 : 0, where};
    gss_OID_set_desc mechanisms = {1, (gss_OID)(uintptr_t)gss_mech_krb5};
    *out = GSS_C_NO_CREDENTIAL;
    major =
        gss_acquire_cred_from(&minor, k->name, GSS_C_INDEFINITE, &mechanisms, GSS_C_INITIATE, &store, out, NULL, NULL);
    arena_deinit(&a);
    if (major == GSS_S_COMPLETE)
        return true;
    kerberos_explain(major, minor, fail);
    return fail_wrap(fail, "no tickets by %s", k->keytab != NULL ? k->keytab : "those that are there");
}

bool kerberos_adopt(const struct kerberos *k, struct fail *fail)
{
    OM_uint32 minor;
    gss_cred_id_t tickets;
    struct arena a = {0};
    const char *cache = cache_name(k, &a);
    bool ok = kerberos_tickets(k, &tickets, fail); /* which are in the cache now, as the principal's */
    if (ok && *cache != '\0')
        setenv("KRB5CCNAME", cache, 1);
    if (ok && k->keytab != NULL)
        setenv("KRB5_CLIENT_KTNAME", k->keytab, 1); /* they are renewed by it */
    gss_release_cred(&minor, &tickets);
    arena_deinit(&a);
    return ok;
}

/* An address has no keys: its name counts, as for Java. */
static void name_of_host(const char *host, char name[NI_MAXHOST])
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM}, *found = NULL;
    snprintf(name, NI_MAXHOST, "%s", host);
    if (getaddrinfo(host, NULL, &hints, &found) != 0)
        return;
    if (getnameinfo(found->ai_addr, found->ai_addrlen, name, NI_MAXHOST, NULL, 0, NI_NAMEREQD) != 0)
        snprintf(name, NI_MAXHOST, "%s", host);
    freeaddrinfo(found);
}

/* An empty one is for the KDC to find. */
static const char *realm_of_host(const char *host, struct arena *a)
{
    krb5_context context;
    char **realms = NULL;
    const char *realm = "";
    if (krb5_init_context(&context) != 0)
        return realm;
    if (krb5_get_host_realm(context, host, &realms) == 0) {
        realm = arena_cstr(a, str_of(realms[0]));
        krb5_free_host_realm(context, realms);
    }
    krb5_free_context(context);
    return realm;
}

bool kerberos_target(const struct kerberos *k, const char *host, gss_name_t *out, struct fail *fail)
{
    char name[NI_MAXHOST];
    struct arena a = {0};
    bool ok;
    *out = GSS_C_NO_NAME;
    if (k->to_the_letter) {
        const char *realm = k->realm != NULL ? k->realm : realm_of_host(host, &a);
        const char *principal = arena_printf(&a, "%s/%s@%s", k->service, host, realm).p;
        ok = import_name(principal, (gss_OID)(uintptr_t)GSS_KRB5_NT_PRINCIPAL_NAME, out, fail);
    } else {
        name_of_host(host, name);
        ok = import_name(arena_printf(&a, "%s@%s", k->service, name).p, GSS_C_NT_HOSTBASED_SERVICE, out, fail);
    }
    arena_deinit(&a);
    return ok;
}

void kerberos_free(struct kerberos *k)
{
    OM_uint32 minor;
    if (k == NULL)
        return;
    gss_release_cred(&minor, &k->keys);
    gss_release_name(&minor, &k->name);
    kerberos_rules_free(k->rules);
    free(k);
}
