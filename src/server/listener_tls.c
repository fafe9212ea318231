#include "server/listener_tls.h"

#include "base/logger.h"
#include "net/transport.h"
#include "security/tls_check.h"

struct encryption {
    const struct listener *listener;
    struct arena memory;
    struct tls_settings settings;
    struct tls_ends ends; /* none: it is not encrypted */
};

struct listener_tls {
    const struct broker_config *config;
    struct encryption *items;
};

static void encryption_deinit(struct encryption *e)
{
    tls_ends_unref(&e->ends);
    arena_deinit(&e->memory);
}

static void tell_who_encrypts(const struct encryption *e)
{
    if (!e->settings.ktls)
        log_info("What listener %s sends is encrypted by this broker: ssl.ktls is off", e->listener->name);
    else if (!transport_kernel_has_tls())
        log_info("What listener %s sends is encrypted by this broker: the kernel's module tls is not loaded",
                 e->listener->name);
    else
        log_info("What listener %s sends is encrypted by the kernel, where that knows the suite", e->listener->name);
}

static bool make_encryption(struct listener_tls *t, const struct listener *l, struct encryption *e, struct fail *fail)
{
    e->listener = l;
    if (!security_protocol_has_tls(l->protocol))
        return true;
    if (!tls_listener_start(t->config, l, &e->memory, &e->settings, &e->ends, fail))
        return fail_wrap(fail, "Listener %s cannot be encrypted", l->name);
    tell_who_encrypts(e);
    return true;
}

struct listener_tls *listener_tls_new(const struct broker_config *config, struct fail *fail)
{
    struct listener_tls *t = xcalloc(1, sizeof(*t));
    t->config = config;
    t->items = xcalloc((size_t)config->listeners.count, sizeof(*t->items));
    for (int i = 0; i < config->listeners.count; i++) {
        if (!make_encryption(t, &config->listeners.items[i], &t->items[i], fail)) {
            listener_tls_free(t);
            return NULL;
        }
    }
    return t;
}

void listener_tls_free(struct listener_tls *t)
{
    if (t == NULL)
        return;
    for (int i = 0; i < t->config->listeners.count; i++)
        encryption_deinit(&t->items[i]);
    free(t->items);
    free(t);
}

void listener_tls_apply(const struct listener_tls *t, struct net_server *net, struct client_route *between,
                        struct client_route *control)
{
    for (int i = 0; i < t->config->listeners.count; i++) {
        const struct encryption *e = &t->items[i];
        if (e->ends.server != NULL)
            net_server_set_tls(net, i, e->ends.server);
        if (e->ends.client != NULL)
            client_route_set_tls(strcmp(e->listener->name, t->config->inter_broker_listener_name) == 0 ? between
                                                                                                       : control,
                                 tls_context_ref(e->ends.client));
    }
}

/* ---- Changes ---- */

/* The settings that the broker was started with, and the stores of the other configuration. */
static bool next_settings(const struct listener_tls *t, const struct listener *l, const struct broker_config *config,
                          struct arena *a, struct tls_settings *out, struct fail *fail)
{
    struct tls_settings theirs;
    if (!tls_settings_of(t->config, l, a, out, fail) || !tls_settings_of(config, l, a, &theirs, fail))
        return false;
    out->keys = theirs.keys;
    out->trust = theirs.trust;
    return true;
}

static bool listener_is_true(const struct broker_config *config, const struct listener *l, const char *key)
{
    return strcmp(config_listener_raw(config, l->name, NULL, key), "true") == 0;
}

static bool may_follow(const struct listener_tls *t, const struct encryption *old, const struct encryption *next,
                       struct fail *fail)
{
    if (!tls_check_change(old->ends.server, next->ends.server,
                          listener_is_true(t->config, old->listener, "ssl.allow.dn.changes"),
                          listener_is_true(t->config, old->listener, "ssl.allow.san.changes"), fail))
        return false;
    return old->ends.client == NULL || (tls_check_pair(old->ends.server, next->ends.client, fail) &&
                                        tls_check_pair(next->ends.server, old->ends.client, fail));
}

/* What takes the place of `old`; without a server if that is to stay. */
static bool make_next(const struct listener_tls *t, const struct encryption *old, const struct broker_config *config,
                      struct encryption *next, struct fail *fail)
{
    *next = (struct encryption){.listener = old->listener};
    if (old->ends.server == NULL)
        return true;
    bool ok = next_settings(t, old->listener, config, &next->memory, &next->settings, fail);
    bool same = ok && tls_stores_eq(&old->settings, &next->settings) && !tls_is_rewritten(old->ends.server);
    return same || (ok && tls_ends_make(&next->settings, old->ends.client != NULL, &next->ends, fail) &&
                    may_follow(t, old, next, fail));
}

bool listener_tls_check(const struct listener_tls *t, const struct broker_config *config, struct fail *fail)
{
    bool ok = true;
    struct fail why;
    for (int i = 0; ok && i < t->config->listeners.count; i++) {
        struct encryption next;
        ok = make_next(t, &t->items[i], config, &next, &why);
        encryption_deinit(&next);
    }
    return ok || fail_set(fail,
                          "Invalid value org.apache.kafka.common.config.ConfigException: Validation of dynamic config "
                          "update of SSLFactory failed: %s for configuration Invalid dynamic configuration",
                          why.text);
}

bool listener_tls_renew(struct listener_tls *t, const struct broker_config *config)
{
    bool changed = false;
    for (int i = 0; i < t->config->listeners.count; i++) {
        struct encryption next;
        struct fail why;
        bool ok = make_next(t, &t->items[i], config, &next, &why);
        if (!ok)
            log_error("Listener %s goes on with the stores that it had: %s", t->items[i].listener->name, why.text);
        if (!ok || next.ends.server == NULL) {
            encryption_deinit(&next);
            continue;
        }
        log_info("Listener %s: new connections use the stores as they are now", t->items[i].listener->name);
        encryption_deinit(&t->items[i]);
        t->items[i] = next;
        changed = true;
    }
    return changed;
}
