/*
 * What protects a broker: the TLS contexts of its listeners, who may log in where, and as whom it goes to others. All
 * of it is made before a listener is opened, and what cannot protect does not start.
 */
#include "broker/broker_internal.h"

#include "exporter/exporter.h"

/* Also on a single processor, as one may wait for an identity provider, or for a KDC. */
enum { SHAKERS = 4, OWN_LOGINS = 4 };

static bool make_own_login(struct broker *b, const char *listener, struct client_route *route, struct sasl_login *login,
                           struct fail *fail)
{
    const struct listener *l = config_listener(&b->config->listeners, listener);
    enum sasl_mechanism mechanism;
    struct str name = str_of(b->config->sasl_mechanism_inter_broker_protocol);
    if (!security_protocol_has_sasl(l->protocol))
        return true;
    if (!sasl_mechanism_parse(name, &mechanism))
        return fail_set(fail, "sasl.mechanism.inter.broker.protocol: this broker does not know %.*s", STR_ARGS(name));
    route->login = login;
    return sasl_login_of(b->config, l, mechanism, SASL_CLIENT, &b->protection, login, fail);
}

static bool make_own_logins(struct broker *b, struct fail *fail)
{
    const struct broker_config *c = b->config;
    return make_own_login(b, c->inter_broker_listener_name, &b->route, &b->login, fail) &&
           (c->control_plane_listener_name == NULL ||
            make_own_login(b, c->control_plane_listener_name, &b->control_route, &b->control_login, fail));
}

/* Not the shakers: while a KDC hangs, those who come would wait until the library gives it up, for half a minute each
 * time. */
static void make_own_workers(struct broker *b)
{
    if (b->route.login != NULL || b->control_route.login != NULL)
        b->own_logins = workers_new("logins", OWN_LOGINS);
    b->route.login_workers = b->control_route.login_workers = b->own_logins;
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
    if (needed) {
        b->shakers = workers_new("handshake", SHAKERS);
        workers_give_way(b->shakers); /* who is connected comes before who wants to be */
    }
    b->route.shakers = b->control_route.shakers = b->services.shakers = b->shakers;
    b->services.tls = listener_tls_new(b->config, fail);
    b->accounts = (struct sasl_accounts){.scram = find_scram_user, .token = find_token_of, .ctx = b};
    if (b->services.tls != NULL)
        b->services.logins = logins_new(b->config, &b->accounts, fail);
    bool ok = b->services.logins != NULL && make_own_logins(b, fail);
    make_own_workers(b);
    return ok;
}

struct client_route *protection_control_route(struct broker *b)
{
    return b->config->control_plane_listener_name != NULL ? &b->control_route : &b->route;
}

static void apply_tls(struct broker *b)
{
    listener_tls_apply(b->services.tls, b->services.net, &b->route, protection_control_route(b));
}

void protection_apply(struct broker *b)
{
    if (b->shakers != NULL)
        net_server_set_shakers(b->services.net, b->shakers);
    apply_tls(b);
}

static void renew_stores(struct job *job)
{
    struct broker *b = CONTAINER_OF(job, struct broker, stores);
    const struct broker_config *now = broker_settings_hold(b->services.settings);
    b->stores_changed = listener_tls_renew(b->services.tls, now);
    exporter_renew(b->exporter, now);
    broker_settings_release(now);
}

static void on_stores_renewed(struct message *m)
{
    struct broker *b = CONTAINER_OF(m, struct broker, stores.done);
    ensure(b->stores_busy);
    b->stores_busy = false;
    if (b->leaving)
        return;
    if (b->stores_changed)
        apply_tls(b);
    if (b->stores_again)
        protection_follow(b);
}

/* A worker reads the stores, which may lie on a disk that hangs. */
void protection_follow(struct broker *b)
{
    ensure(loop_is_mine(b->control));
    b->stores_again = b->stores_busy;
    if (b->stores_busy)
        return;
    b->stores_busy = true;
    b->stores = (struct job){.run = renew_stores, .home = b->control, .done = {.deliver = on_stores_renewed}};
    workers_submit(b->services.workers, &b->stores);
}

void protection_stop(struct broker *b)
{
    if (b->shakers != NULL)
        workers_stop(b->shakers);
    if (b->own_logins != NULL)
        workers_stop(b->own_logins);
}

void protection_free(struct broker *b)
{
    listener_tls_free(b->services.tls);
    logins_free(b->services.logins);
    client_route_deinit(&b->route);
    client_route_deinit(&b->control_route);
    sasl_login_deinit(&b->login);
    sasl_login_deinit(&b->control_login);
    arena_deinit(&b->protection);
    workers_free(b->shakers);
    workers_free(b->own_logins);
}
