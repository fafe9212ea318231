#include "server/listener_tls.h"

#include <stdatomic.h>

#include "base/lock.h"
#include "base/logger.h"
#include "net/transport.h"
#include "security/tls_check.h"

/* Of one listener; does not change any more once others can see it. */
struct encryption {
    atomic_int refs;
    const struct listener *listener;
    struct arena memory;
    struct tls_settings settings;
    struct tls_ends ends; /* none: it is not encrypted */
};

struct listener_tls {
    const struct broker_config *config;
    struct lock lock; /* guards which those are: */
    struct encryption **items;
};

static struct encryption *encryption_new(const struct listener *l)
{
    struct encryption *e = xcalloc(1, sizeof(*e));
    atomic_init(&e->refs, 1);
    e->listener = l;
    return e;
}

static void encryption_unref(struct encryption *e)
{
    if (e == NULL || atomic_fetch_sub(&e->refs, 1) > 1)
        return;
    tls_ends_unref(&e->ends);
    arena_deinit(&e->memory);
    free(e);
}

/* With a reference. */
static struct encryption *encryption_of(struct listener_tls *t, int i)
{
    lock_take(&t->lock);
    struct encryption *e = t->items[i];
    atomic_fetch_add(&e->refs, 1);
    lock_release(&t->lock);
    return e;
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

/* KIP-684: so that nobody has to show a certificate who did not before. */
static void warn_of_client_auth(const struct broker_config *config, const struct listener *l)
{
    static const char key[] = "ssl.client.auth";
    const char *set = config_raw(config, key);
    if (set == NULL || strcmp(set, "none") == 0 || l->protocol != SECURITY_PROTOCOL_SASL_SSL ||
        config_listener_has(config, l->name, key))
        return;
    log_warn(
        "%s=%s does not count for listener %s, where clients log in by SASL: the same key with the listener's prefix "
        "would",
        key, set, l->name);
}

static bool make_encryption(const struct listener_tls *t, struct encryption *e, struct fail *fail)
{
    const struct listener *l = e->listener;
    if (!security_protocol_has_tls(l->protocol))
        return true;
    if (!tls_listener_start(t->config, l, &e->memory, &e->settings, &e->ends, fail))
        return fail_wrap(fail, "Listener %s cannot be encrypted", l->name);
    tell_who_encrypts(e);
    warn_of_client_auth(t->config, l);
    return true;
}

struct listener_tls *listener_tls_new(const struct broker_config *config, struct fail *fail)
{
    struct listener_tls *t = xcalloc(1, sizeof(*t));
    t->config = config;
    lock_init(&t->lock, RANK_LISTENER_TLS);
    t->items = xcalloc((size_t)config->listeners.count, sizeof(*t->items));
    for (int i = 0; i < config->listeners.count; i++) {
        t->items[i] = encryption_new(&config->listeners.items[i]);
        if (!make_encryption(t, t->items[i], fail)) {
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
        encryption_unref(t->items[i]);
    lock_deinit(&t->lock);
    free(t->items);
    free(t);
}

void listener_tls_apply(struct listener_tls *t, struct net_server *net, struct client_route *between,
                        struct client_route *control)
{
    for (int i = 0; i < t->config->listeners.count; i++) {
        struct encryption *e = encryption_of(t, i);
        if (e->ends.server != NULL)
            net_server_set_tls(net, i, e->ends.server);
        if (e->ends.client != NULL)
            client_route_set_tls(strcmp(e->listener->name, t->config->inter_broker_listener_name) == 0 ? between
                                                                                                       : control,
                                 tls_context_ref(e->ends.client));
        encryption_unref(e);
    }
}

/* ---- Changes ---- */

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

/* What takes the place of `old`, or NULL: that stays, or, with `fail`, cannot be replaced. */
static struct encryption *make_next(const struct listener_tls *t, const struct encryption *old,
                                    const struct broker_config *config, bool *ok, struct fail *fail)
{
    *ok = true;
    if (old->ends.server == NULL)
        return NULL;
    struct encryption *next = encryption_new(old->listener);
    *ok = tls_settings_renewed(t->config, config, old->listener, &next->memory, &next->settings, fail);
    bool same = *ok && tls_stores_eq(&old->settings, &next->settings) && !tls_is_rewritten(old->ends.server);
    *ok = same || (*ok && tls_ends_make(&next->settings, old->ends.client != NULL, &next->ends, fail) &&
                   may_follow(t, old, next, fail));
    if (!same && *ok)
        return next;
    encryption_unref(next);
    return NULL;
}

bool listener_tls_check(struct listener_tls *t, const struct broker_config *config, struct fail *fail)
{
    bool ok = true;
    struct fail why;
    for (int i = 0; ok && i < t->config->listeners.count; i++) {
        struct encryption *old = encryption_of(t, i);
        encryption_unref(make_next(t, old, config, &ok, &why));
        encryption_unref(old);
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
        bool ok;
        struct fail why;
        struct encryption *old = encryption_of(t, i), *next = make_next(t, old, config, &ok, &why);
        if (!ok)
            log_error("Listener %s goes on with the stores that it had: %s", old->listener->name, why.text);
        if (next != NULL) {
            log_info("Listener %s: new connections use the stores as they are now", old->listener->name);
            lock_take(&t->lock);
            ensure(t->items[i] == old); /* one renews at a time */
            t->items[i] = next;
            lock_release(&t->lock);
            encryption_unref(old);
            changed = true;
        }
        encryption_unref(old);
    }
    return changed;
}
