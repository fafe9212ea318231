#include "security/oauth_internal.h"

#include "config/java_options.h"

static const char package[] = "org.apache.kafka.common.security.oauthbearer.";

/* Since Kafka 3.4 the classes are a package higher than they were before. */
static bool is_class(const char *text, const char *name)
{
    size_t len = sizeof(package) - 1;
    if (strncmp(text, package, len) != 0)
        return false;
    const char *rest = text + len, *old = "secured.";
    return strcmp(rest, name) == 0 || (strncmp(rest, old, strlen(old)) == 0 && strcmp(rest + strlen(old), name) == 0);
}

bool oauth_handler(const struct login_settings *s, const char *key, const char *secured, const char *unsecured,
                   bool *is_secured, struct fail *fail)
{
    const char *text = login_own_text(s, key);
    *is_secured = text != NULL && is_class(text, secured);
    return text == NULL || *is_secured || is_class(text, unsecured) ||
           fail_set(fail, "%s of OAUTHBEARER on %s: what is known here is %s%s, and not %s", key, s->place, package,
                    secured, text);
}

static bool is_allowed_url(const char *list, const char *url)
{
    size_t len = strlen(url);
    for (const char *p = list, *comma; p != NULL; p = comma != NULL ? comma + 1 : NULL) {
        comma = strchr(p, ',');
        p += strspn(p, " ");
        size_t n = comma != NULL ? (size_t)(comma - p) : strlen(p);
        if (n == len && strncmp(p, url, n) == 0)
            return true;
    }
    return false;
}

const char *oauth_url(const struct login_settings *s, const char *key, struct fail *fail)
{
    static const char property[] = "org.apache.kafka.sasl.oauthbearer.allowed.urls";
    static const char *const schemes[] = {"https://", "http://", "file:/"};
    struct arena a = {0};
    const char *url = login_text(s, key), *allowed = java_property(property, &a);
    bool known = false, listed = allowed == NULL || (url != NULL && is_allowed_url(allowed, url));
    for (size_t i = 0; url != NULL && i < ARRAY_LEN(schemes); i++)
        known |= strncmp(url, schemes[i], strlen(schemes[i])) == 0;
    if (url == NULL)
        fail_set(fail, "%s is not set for OAUTHBEARER on %s", key, s->place);
    else if (!known)
        fail_set(fail, "%s=%s is no URL of https, http or file", key, url);
    else if (!listed)
        fail_set(fail, "%s=%s is not among those that %s in KAFKA_OPTS allows", key, url, property);
    arena_deinit(&a);
    return known && listed ? url : NULL;
}

bool oauth_trust(const struct jaas_module *module, struct keystore *trust, struct fail *fail)
{
    struct keystore_source source = {.type = jaas_option(module, "ssl.truststore.type"),
                                     .location = jaas_option(module, "ssl.truststore.location"),
                                     .password = jaas_option(module, "ssl.truststore.password"),
                                     .certificates = jaas_option(module, "ssl.truststore.certificates")};
    *trust = (struct keystore){0};
    return !keystore_is_set(&source) || keystore_load(&source, KEYSTORE_TRUST, trust, fail);
}
