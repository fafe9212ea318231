#include "security/sasl_settings.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>

#include "config/java_options.h"
#include "security/kerberos.h"
#include "security/oauth.h"

enum { LARGEST_JAAS_FILE = 1 << 20 };

static const char file_property[] = "java.security.auth.login.config";

static const char *lower_case(const char *text, struct arena *a)
{
    char *copy = arena_cstr(a, str_of(text));
    for (char *p = copy; *p != '\0'; p++)
        *p = (char)tolower((unsigned char)*p);
    return copy;
}

/* Java's classes for them. A module of another class logs in by other rules, which are not known here. */
static const char *module_class(enum sasl_mechanism mechanism)
{
    switch (mechanism) {
    case SASL_PLAIN:
        return "org.apache.kafka.common.security.plain.PlainLoginModule";
    case SASL_GSSAPI:
        return "com.sun.security.auth.module.Krb5LoginModule";
    case SASL_OAUTHBEARER:
        return "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule";
    default:
        return "org.apache.kafka.common.security.scram.ScramLoginModule";
    }
}

static bool check_module(enum sasl_mechanism mechanism, const struct jaas_module *module, struct fail *fail)
{
    const char *expected = module_class(mechanism);
    return strcmp(module->name, expected) == 0 ||
           fail_set(fail, "%s is by %s, not by %s", sasl_mechanism_name(mechanism), expected, module->name);
}

static bool read_file(const char *path, struct arena *a, struct jaas_file *out, struct fail *fail)
{
    FILE *f = fopen(path, "r");
    if (f == NULL)
        return fail_set(fail, "cannot read %s: %s", path, strerror(errno));
    char *text = xcalloc(1, LARGEST_JAAS_FILE + 1);
    size_t n = fread(text, 1, LARGEST_JAAS_FILE, f);
    bool ok = feof(f) && !ferror(f) && memchr(text, '\0', n) == NULL;
    fclose(f);
    if (!ok)
        fail_set(fail, "cannot read %s: it is too large, or no text", path);
    else if (!jaas_parse_file(text, java_property, a, out, fail))
        ok = fail_wrap(fail, "%s", path);
    OPENSSL_cleanse(text, n);
    free(text);
    return ok;
}

/* The section may have a module for each mechanism: Java takes the first that is the mechanism's. */
static const struct jaas_module *module_for(const struct jaas_section *section, enum sasl_mechanism mechanism)
{
    for (size_t i = 0; i < section->count; i++)
        if (strcmp(section->modules[i].name, module_class(mechanism)) == 0)
            return &section->modules[i];
    return NULL;
}

bool sasl_file_section(const char *name, struct arena *a, const struct jaas_section **out, struct fail *fail)
{
    const char *path = java_property(file_property, a);
    struct jaas_file file = {0};
    *out = NULL;
    if (path != NULL && !read_file(path, a, &file, fail))
        return false;
    *out = jaas_section(&file, name);
    return true;
}

/* `own` is looked for first; NULL: there is only the one that all share. */
static bool find_in_file(const char *own, const char *shared, enum sasl_mechanism mechanism, struct arena *a,
                         struct jaas_module *out, struct fail *fail)
{
    const char *path = java_property(file_property, a);
    struct jaas_file file = {0};
    if (path != NULL && !read_file(path, a, &file, fail))
        return false;
    const struct jaas_section *section = own != NULL ? jaas_section(&file, own) : NULL;
    section = section != NULL ? section : jaas_section(&file, shared);
    if (section == NULL)
        return fail_set(fail, "Could not find a '%s'%s%s%s entry in the JAAS configuration. System property '%s' is %s",
                        shared, own ? " or '" : "", own ? own : "", own ? "'" : "", file_property,
                        path ? path : "not set");
    const struct jaas_module *module = module_for(section, mechanism);
    if (module == NULL)
        return fail_set(fail, "%s: the section %s has no %s", path, section->name, module_class(mechanism));
    *out = *module;
    return true;
}

static bool parse_module(const char *key, const char *text, enum sasl_mechanism mechanism, struct arena *a,
                         struct jaas_module *out, struct fail *fail)
{
    return (jaas_parse(text, a, out, fail) && check_module(mechanism, out, fail)) ||
           fail_wrap(fail, "Invalid value [hidden] for configuration %s", key);
}

/* What a mechanism needs beside its module. */
static bool prepare(struct sasl_login *login, const struct login_settings *settings, enum sasl_side side,
                    struct fail *fail)
{
    bool serves = side == SASL_SERVER;
    switch (login->mechanism) {
    case SASL_GSSAPI:
        login->kerberos = serves ? kerberos_server_new(settings, &login->module, fail)
                                 : kerberos_client_new(settings, &login->module, fail);
        return login->kerberos != NULL;
    case SASL_OAUTHBEARER:
        if (serves)
            login->validator = oauth_validator_new(settings, &login->module, fail);
        else
            login->source = oauth_source_new(settings, &login->module, fail);
        return login->validator != NULL || login->source != NULL;
    default:
        return true;
    }
}

bool sasl_client_login_of(const struct login_settings *settings, enum sasl_mechanism mechanism, struct arena *a,
                          struct sasl_login *out, struct fail *fail)
{
    const char *jaas = login_own_text(settings, "sasl.jaas.config");
    *out = (struct sasl_login){.mechanism = mechanism};
    return (jaas != NULL ? parse_module("sasl.jaas.config", jaas, mechanism, a, &out->module, fail)
                         : find_in_file(NULL, "KafkaClient", mechanism, a, &out->module, fail)) &&
           prepare(out, settings, SASL_CLIENT, fail);
}

static bool find_module(const struct broker_config *config, const struct listener *listener,
                        enum sasl_mechanism mechanism, struct arena *a, struct jaas_module *out, struct fail *fail)
{
    const char *name = lower_case(listener->name, a), *own = lower_case(sasl_mechanism_name(mechanism), a);
    const char *key = arena_printf(a, "listener.name.%s.%s.sasl.jaas.config", name, own).p;
    const char *text = config_raw(config, key);
    if (text != NULL)
        return parse_module(key, text, mechanism, a, out, fail);
    return find_in_file(arena_printf(a, "%s.KafkaServer", name).p, "KafkaServer", mechanism, a, out, fail);
}

/* Who has set a class of his own wants other checks than those that are made here. */
static bool check_classes(const struct broker_config *config, const struct listener *listener,
                          enum sasl_mechanism mechanism, struct fail *fail)
{
    static const char *const keys[] = {"sasl.server.callback.handler.class", "sasl.login.callback.handler.class",
                                       "sasl.login.class"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        const char *class = config_mechanism_raw(config, listener->name, sasl_mechanism_name(mechanism), keys[i]);
        if (class != NULL && *class != '\0' && (mechanism != SASL_OAUTHBEARER || i == 2))
            return fail_set(fail, "%s of %s on listener %s: this broker cannot run Java's %s", keys[i],
                            sasl_mechanism_name(mechanism), listener->name, class);
    }
    return true;
}

bool sasl_login_of(const struct broker_config *config, const struct listener *listener, enum sasl_mechanism mechanism,
                   enum sasl_side side, struct arena *a, struct sasl_login *out, struct fail *fail)
{
    const char *own = mechanism == SASL_GSSAPI ? NULL : sasl_mechanism_name(mechanism);
    struct login_settings settings = login_settings_of(config, listener, own, a);
    *out = (struct sasl_login){.mechanism = mechanism};
    return check_classes(config, listener, mechanism, fail) &&
           find_module(config, listener, mechanism, a, &out->module, fail) && prepare(out, &settings, side, fail);
}

void sasl_login_deinit(struct sasl_login *login)
{
    oauth_validator_free(login->validator);
    oauth_source_free(login->source);
    kerberos_free(login->kerberos);
    *login = (struct sasl_login){0};
}
