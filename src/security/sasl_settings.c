#include "security/sasl_settings.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>

#include "config/java_options.h"

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
    return mechanism == SASL_PLAIN ? "org.apache.kafka.common.security.plain.PlainLoginModule"
                                   : "org.apache.kafka.common.security.scram.ScramLoginModule";
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

static bool parse_login(const char *key, const char *text, struct arena *a, struct sasl_login *out, struct fail *fail)
{
    return (jaas_parse(text, a, &out->module, fail) && check_module(out->mechanism, &out->module, fail)) ||
           fail_wrap(fail, "Invalid value [hidden] for configuration %s", key);
}

bool sasl_client_login_of(const char *jaas, enum sasl_mechanism mechanism, struct arena *a, struct sasl_login *out,
                          struct fail *fail)
{
    *out = (struct sasl_login){.mechanism = mechanism};
    return jaas != NULL ? parse_login("sasl.jaas.config", jaas, a, out, fail)
                        : find_in_file(NULL, "KafkaClient", mechanism, a, &out->module, fail);
}

bool sasl_login_of(const struct broker_config *config, const struct listener *listener, enum sasl_mechanism mechanism,
                   struct arena *a, struct sasl_login *out, struct fail *fail)
{
    const char *name = lower_case(listener->name, a), *own = lower_case(sasl_mechanism_name(mechanism), a);
    const char *key = arena_printf(a, "listener.name.%s.%s.sasl.jaas.config", name, own).p;
    const char *text = config_raw(config, key);
    *out = (struct sasl_login){.mechanism = mechanism};
    if (text != NULL)
        return parse_login(key, text, a, out, fail);
    return find_in_file(arena_printf(a, "%s.KafkaServer", name).p, "KafkaServer", mechanism, a, &out->module, fail);
}
