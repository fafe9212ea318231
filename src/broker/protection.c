/*
 * What protects a broker: the TLS contexts of its listeners, who may log in where, and as whom it goes to others. All
 * of it is made before a listener is opened, and what cannot protect does not start.
 */
#include "broker/broker_internal.h"

#include <unistd.h>

#include "security/tls_check.h"

enum { MOST_SHAKERS = 4 };

static bool has_tls(const struct listener *l)
{
    return l->protocol == SECURITY_PROTOCOL_SSL || l->protocol == SECURITY_PROTOCOL_SASL_SSL;
}

static bool has_sasl(const struct listener *l)
{
    return l->protocol == SECURITY_PROTOCOL_SASL_PLAINTEXT || l->protocol == SECURITY_PROTOCOL_SASL_SSL;
}

static struct tls_context *make_context(const struct broker_config *config, const struct listener *l,
                                        enum tls_side side, struct fail *fail)
{
    struct arena a = {0};
    struct tls_settings settings;
    struct tls_context *context = NULL;
    if (tls_settings_of(config, l, &a, &settings, fail))
        context = tls_context_new(&settings, side, fail);
    if (context == NULL)
        fail_wrap(fail, "Listener %s cannot be encrypted", l->name);
    arena_deinit(&a);
    return context;
}

static bool protect_listener(struct broker *b, int i, struct fail *fail)
{
    const struct listener *l = &b->config->listeners.items[i];
    if (!has_tls(l))
        return true;
    if (!tls_check_listener(b->config, l, fail))
        return fail_wrap(fail, "Listener %s cannot be encrypted", l->name);
    b->contexts[i] = make_context(b->config, l, TLS_SERVER, fail);
    return b->contexts[i] != NULL;
}

static bool protect_route(struct broker *b, struct fail *fail)
{
    const struct listener *l = config_listener(&b->config->listeners, b->config->inter_broker_listener_name);
    if (has_tls(l)) {
        struct tls_context *context = make_context(b->config, l, TLS_CLIENT, fail);
        if (context == NULL)
            return false;
        client_route_set_tls(&b->route, context);
    }
    if (!has_sasl(l))
        return true;
    enum sasl_mechanism mechanism;
    struct str name = str_of(b->config->sasl_mechanism_inter_broker_protocol);
    if (!sasl_mechanism_parse(name, &mechanism))
        return fail_set(fail, "sasl.mechanism.inter.broker.protocol: this broker does not know %.*s", STR_ARGS(name));
    b->route.login = &b->login;
    return sasl_login_of(b->config, l, mechanism, &b->protection, &b->login, fail);
}

static bool find_scram_user(void *ctx, enum scram_mechanism mechanism, struct str user, struct arena *a,
                            struct scram_credential *out)
{
    struct broker *b = ctx;
    return scram_users_find(b->services.scram_users, mechanism, user, a, out);
}

bool protection_make(struct broker *b, struct fail *fail)
{
    const struct listener_list *listeners = &b->config->listeners;
    bool needed = false;
    for (int i = 0; i < listeners->count; i++)
        needed |= listeners->items[i].protocol != SECURITY_PROTOCOL_PLAINTEXT;
    if (needed)
        b->shakers = workers_new("handshake", (int)MIN(MAX(sysconf(_SC_NPROCESSORS_ONLN), 1L), (long)MOST_SHAKERS));
    b->route.shakers = b->services.shakers = b->shakers;
    b->contexts = xcalloc((size_t)listeners->count, sizeof(*b->contexts));
    for (int i = 0; i < listeners->count; i++)
        if (!protect_listener(b, i, fail))
            return false;
    b->accounts = (struct sasl_accounts){.scram = find_scram_user, .ctx = b};
    b->services.logins = logins_new(b->config, &b->accounts, fail);
    return b->services.logins != NULL && protect_route(b, fail);
}

void protection_apply(struct broker *b)
{
    if (b->shakers != NULL)
        net_server_set_shakers(b->services.net, b->shakers);
    for (int i = 0; i < b->config->listeners.count; i++)
        if (b->contexts[i] != NULL)
            net_server_set_tls(b->services.net, i, b->contexts[i]);
}

void protection_free(struct broker *b)
{
    for (int i = 0; b->contexts != NULL && i < b->config->listeners.count; i++)
        tls_context_unref(b->contexts[i]);
    free(b->contexts);
    logins_free(b->services.logins);
    client_route_deinit(&b->route);
    arena_deinit(&b->protection);
    workers_free(b->shakers);
}
