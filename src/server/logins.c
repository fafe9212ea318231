#include "server/logins.h"

#include <inttypes.h>

#include "security/sasl_settings.h"

struct logins {
    const struct broker_config *config;
    struct listener_logins *listeners;
    struct arena memory;
};

static int64_t max_reauth_ms(const struct broker_config *config, const struct listener *listener, const char *mechanism)
{
    return strtoll(config_listener_raw(config, listener->name, mechanism, "connections.max.reauth.ms"), NULL, 10);
}

static bool make_mechanism(struct logins *l, const struct listener *listener, struct str name,
                           const struct sasl_accounts *accounts, struct mechanism_login *out, struct fail *fail)
{
    enum sasl_mechanism mechanism;
    if (!sasl_mechanism_parse(name, &mechanism))
        return fail_set(fail, "sasl.enabled.mechanisms of listener %s: this broker does not know %.*s", listener->name,
                        STR_ARGS(name));
    if (!sasl_login_of(l->config, listener, mechanism, SASL_SERVER, &l->memory, &out->login, fail))
        return false;
    out->login.accounts = accounts;
    out->max_reauth_ms = max_reauth_ms(l->config, listener, sasl_mechanism_name(mechanism));
    return true;
}

static bool make_listener(struct logins *l, const struct listener *listener, const struct sasl_accounts *accounts,
                          struct listener_logins *out, struct fail *fail)
{
    const char *text = config_listener_raw(l->config, listener->name, NULL, "sasl.enabled.mechanisms");
    struct config_list enabled = text_split(text, true, &l->memory);
    struct mechanism_login *mechanisms = ARENA_ARRAY(&l->memory, struct mechanism_login, SASL_MECHANISM_COUNT);
    const char **names = ARENA_ARRAY(&l->memory, const char *, SASL_MECHANISM_COUNT);
    const char *rules = config_listener_raw(l->config, listener->name, NULL, "ssl.principal.mapping.rules");
    *out = (struct listener_logins){
        .sasl = security_protocol_has_sasl(listener->protocol), .mechanisms = mechanisms, .names = names};
    out->subject_rules = principal_rules_parse(rules, fail);
    if (out->subject_rules == NULL)
        return fail_wrap(fail, "ssl.principal.mapping.rules of listener %s", listener->name);
    if (!out->sasl)
        return true;
    for (int k = 0; k < enabled.count; k++) {
        struct str name = str_of(enabled.items[k]);
        for (int i = 0; i < out->count; i++)
            if (str_is(name, names[i]))
                return fail_set(fail, "sasl.enabled.mechanisms of listener %s names %s twice", listener->name,
                                names[i]);
        struct mechanism_login *m = &mechanisms[out->count++];
        if (!make_mechanism(l, listener, name, accounts, m, fail))
            return false;
        names[out->count - 1] = sasl_mechanism_name(m->login.mechanism);
    }
    return out->count > 0 || fail_set(fail, "sasl.enabled.mechanisms of listener %s names none", listener->name);
}

struct logins *logins_new(const struct broker_config *config, const struct sasl_accounts *accounts, struct fail *fail)
{
    struct logins *l = xcalloc(1, sizeof(*l));
    l->config = config;
    l->listeners = xcalloc((size_t)config->listeners.count, sizeof(*l->listeners));
    for (int i = 0; i < config->listeners.count; i++) {
        if (!make_listener(l, &config->listeners.items[i], accounts, &l->listeners[i], fail)) {
            logins_free(l);
            return NULL;
        }
    }
    return l;
}

void logins_free(struct logins *l)
{
    if (l == NULL)
        return;
    for (int i = 0; i < l->config->listeners.count; i++) {
        principal_rules_free(l->listeners[i].subject_rules);
        for (int k = 0; k < l->listeners[i].count; k++)
            sasl_login_deinit(&l->listeners[i].mechanisms[k].login);
    }
    arena_deinit(&l->memory);
    free(l->listeners);
    free(l);
}

const struct listener_logins *logins_of(const struct logins *l, const struct listener *listener)
{
    ptrdiff_t i = listener - l->config->listeners.items;
    ensure(i >= 0 && i < l->config->listeners.count);
    return &l->listeners[i];
}
