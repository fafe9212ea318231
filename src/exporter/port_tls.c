#include "exporter/port_tls.h"

#include <stdatomic.h>

#include "base/logger.h"
#include "security/tls_check.h"

static const struct listener http_listener = {.name = "HTTP", .protocol = SECURITY_PROTOCOL_SSL};

struct port_tls {
    const struct broker_config *config;
    struct arena memory;
    struct tls_settings settings;
    struct tls_context *context;
    _Atomic int64_t end; /* of its certificate; 0: there is none */
    struct metrics *metrics;
    struct bean_source source;
    int64_t bean_ids;
};

static void take_context(struct port_tls *t, struct tls_context *context)
{
    tls_context_unref(t->context);
    t->context = context;
    atomic_store(&t->end, context != NULL ? tls_context_end(context) : 0);
}

struct port_tls *port_tls_new(const struct broker_config *config, struct fail *fail)
{
    struct port_tls *t = xcalloc(1, sizeof(*t));
    t->config = config;
    if (tls_settings_of(config, &http_listener, &t->memory, &t->settings, fail))
        take_context(t, tls_context_new(&t->settings, TLS_SERVER, fail));
    if (t->context != NULL)
        return t;
    fail_wrap(fail, "barnabas.http.ssl.enable");
    port_tls_free(t);
    return NULL;
}

void port_tls_free(struct port_tls *t)
{
    if (t == NULL)
        return;
    if (t->metrics != NULL)
        metrics_remove_source(t->metrics, &t->source);
    tls_context_unref(t->context);
    arena_deinit(&t->memory);
    free(t);
}

struct tls_context *port_tls_context(const struct port_tls *t)
{
    return t->context;
}

static void visit_certificate(void *ctx, struct bean_walk *w)
{
    struct port_tls *t = ctx;
    const struct bean_name name = {
        BEAN_OWN_DOMAIN, "Certificate", "NotAfter", {{"listener", str_of(http_listener.name)}}};
    int64_t end = atomic_load(&t->end);
    if (end != 0)
        yield_gauge(w, t->bean_ids, &name, bean_long(end));
}

void port_tls_count(struct port_tls *t, struct metrics *metrics)
{
    ensure(t->metrics == NULL);
    t->metrics = metrics;
    t->bean_ids = metrics_ids(metrics, 1);
    t->source = (struct bean_source){.visit = visit_certificate, .ctx = t};
    metrics_add_source(metrics, &t->source);
}

bool port_tls_renew(struct port_tls *t, const struct broker_config *now)
{
    struct arena a = {0};
    struct tls_settings settings;
    struct tls_context *next = NULL;
    struct fail fail;
    bool read = tls_settings_renewed(t->config, now, &http_listener, &a, &settings, &fail);
    bool same = read && tls_stores_eq(&t->settings, &settings) && !tls_is_rewritten(t->context);
    if (read && !same)
        next = tls_context_new(&settings, TLS_SERVER, &fail);
    if (next == NULL) {
        if (!same)
            log_error("The HTTP server goes on with the stores that it had: %s", fail.text);
        arena_deinit(&a);
        return false;
    }
    log_info("The HTTP server: new connections use the stores as they are now");
    arena_deinit(&t->memory);
    t->memory = a;
    t->settings = settings;
    take_context(t, next);
    return true;
}
