/*
 * What protects a broker: the TLS contexts of its listeners, who may log in where, and as whom it goes to others. All
 * of it is made before a listener is opened, and what cannot protect does not start.
 */
#include "broker/broker_internal.h"

/* Also on a single processor, as one may wait for an identity provider, or for a KDC. */
enum { SHAKERS = 4 };

static bool make_own_login(struct broker *b, struct fail *fail)
{
    const struct listener *l = config_listener(&b->config->listeners, b->config->inter_broker_listener_name);
    enum sasl_mechanism mechanism;
    struct str name = str_of(b->config->sasl_mechanism_inter_broker_protocol);
    if (!security_protocol_has_sasl(l->protocol))
        return true;
    if (!sasl_mechanism_parse(name, &mechanism))
        return fail_set(fail, "sasl.mechanism.inter.broker.protocol: this broker does not know %.*s", STR_ARGS(name));
    b->route.login = &b->login;
    return sasl_login_of(b->config, l, mechanism, SASL_CLIENT, &b->protection, &b->login, fail);
}

static bool find_scram_user(void *ctx, enum scram_mechanism mechanism, struct str user, struct arena *a,
                            struct scram_credential *out)
{
    struct broker *b = ctx;
    return scram_users_find(b->services.scram_users, mechanism, user, a, out);
}

static bool find_token_of(void *ctx, enum scram_mechanism mechanism, struct str id, struct arena *a,
                          struct sasl_token_login *out)
{
    struct broker *b = ctx;
    return b->services.tokens != NULL && tokens_login(b->services.tokens, mechanism, id, a, out);
}

bool protection_make(struct broker *b, struct fail *fail)
{
    const struct listener_list *listeners = &b->config->listeners;
    bool needed = false;
    for (int i = 0; i < listeners->count; i++)
        needed |= listeners->items[i].protocol != SECURITY_PROTOCOL_PLAINTEXT;
    if (needed)
        b->shakers = workers_new("handshake", SHAKERS);
    b->route.shakers = b->services.shakers = b->shakers;
    b->services.tls = listener_tls_new(b->config, fail);
    b->accounts = (struct sasl_accounts){.scram = find_scram_user, .token = find_token_of, .ctx = b};
    if (b->services.tls != NULL)
        b->services.logins = logins_new(b->config, &b->accounts, fail);
    return b->services.logins != NULL && make_own_login(b, fail);
}

void protection_apply(struct broker *b)
{
    if (b->shakers != NULL)
        net_server_set_shakers(b->services.net, b->shakers);
    listener_tls_apply(b->services.tls, b->services.net, &b->route);
}

void protection_follow(struct broker *b, const struct broker_config *now)
{
    if (listener_tls_renew(b->services.tls, now))
        listener_tls_apply(b->services.tls, b->services.net, &b->route);
}

void protection_free(struct broker *b)
{
    listener_tls_free(b->services.tls);
    logins_free(b->services.logins);
    client_route_deinit(&b->route);
    sasl_login_deinit(&b->login);
    arena_deinit(&b->protection);
    workers_free(b->shakers);
}
