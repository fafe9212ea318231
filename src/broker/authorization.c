/*
 * Permissions: what the settings say of them, and the session with ZooKeeper in which their lists are followed. As with
 * Apache's authorizer that is one of its own, with servers of its own if it is told so. All on the control loop.
 */
#include "broker/broker_internal.h"

#include <inttypes.h>

#include "base/logger.h"
#include "cluster/zk_protection.h"

struct authorization {
    struct broker *broker;
    struct zk *zk;
    struct zk_protection *protection;
    struct arena memory; /* the policy's */
    struct timer patience;
    void (*ready)(struct broker *b, const struct fail *fail);
};

static void authorization_loaded(void *ctx, const struct fail *fail)
{
    struct authorization *a = ctx;
    a->ready(a->broker, fail);
}

static void authorization_session_started(void *ctx)
{
    struct authorization *a = ctx;
    timer_stop(&a->patience);
    acl_watch_start(a->broker->services.acl_watch);
}

static void authorization_changed(void *ctx, const char *path)
{
    struct authorization *a = ctx;
    acl_watch_changed(a->broker->services.acl_watch, path);
}

static void authorization_session_expired(void *ctx UNUSED)
{
    log_warn(
        "The ZooKeeper session of the authorizer has expired: the ACLs that are known count until there is another");
}

static const char *authorizer_servers(const struct broker_config *c)
{
    return c->authorizer_zookeeper_url != NULL ? c->authorizer_zookeeper_url : c->zookeeper_connect;
}

static int32_t set_or(int32_t own, int32_t general)
{
    return own >= 0 ? own : general;
}

static int32_t authorizer_patience_ms(const struct broker_config *c)
{
    return set_or(c->authorizer_zookeeper_connection_timeout_ms, c->zookeeper_connection_timeout_ms);
}

static void on_no_acls(struct timer *t)
{
    struct authorization *a = CONTAINER_OF(t, struct authorization, patience);
    const struct broker_config *c = a->broker->config;
    struct fail fail;
    const char *why = zk_trouble(a->zk);
    fail_set(&fail,
             "Timed out waiting for connection to ZooKeeper server %s, which has the ACLs, after %" PRId32 " ms%s%s",
             authorizer_servers(c), authorizer_patience_ms(c), *why ? ": " : "", why);
    a->ready(a->broker, &fail);
}

static void authorization_refused(void *ctx, const struct fail *why)
{
    struct authorization *a = ctx;
    if (zk_session_id(a->zk) == 0)
        a->ready(a->broker, why);
}

static void follow_acls(struct authorization *a)
{
    const struct broker_config *c = a->broker->config;
    struct services *s = &a->broker->services;
    a->zk = zk_new(&(struct zk_options){
        .loop = s->control_loop,
        .resolvers = a->broker->resolvers,
        .metrics = s->metrics,
        .of_authorizer = true,
        .connect = authorizer_servers(c),
        .session_timeout_ms = set_or(c->authorizer_zookeeper_session_timeout_ms, c->zookeeper_session_timeout_ms),
        .max_in_flight = set_or(c->authorizer_zookeeper_max_in_flight_requests, c->zookeeper_max_in_flight_requests),
        .changed = authorization_changed,
        .session_started = authorization_session_started,
        .session_expired = authorization_session_expired,
        .protection = a->protection,
        .refused = authorization_refused,
        .ctx = a});
    s->acls = acl_board_new();
    s->acl_watch = acl_watch_new(&(struct acl_watch_options){
        .loop = s->control_loop, .zk = a->zk, .board = s->acls, .loaded = authorization_loaded, .ctx = a});
    timer_init(&a->patience, s->control_loop, on_no_acls);
    timer_start(&a->patience, authorizer_patience_ms(c));
}

bool authorization_policy(const struct broker_config *c, struct arena *a, struct acl_policy *out, struct fail *fail)
{
    *out = (struct acl_policy){.allow_everyone_if_no_acl_found = c->allow_everyone_if_no_acl_found};
    return acl_policy_parse(a, c->super_users, out, fail) || fail_wrap(fail, "super.users=%s", c->super_users);
}

void authorization_start(struct broker *b, void (*ready)(struct broker *b, const struct fail *fail))
{
    const struct broker_config *c = b->config;
    struct fail fail;
    if (c->authorizer_class_name[0] == '\0') {
        ready(b, NULL);
        return;
    }
    struct authorization *a = b->authorization = xcalloc(1, sizeof(*a));
    a->broker = b;
    a->ready = ready;
    bool ok = authorization_policy(c, &a->memory, &b->services.acl_policy, &fail);
    a->protection = ok ? zk_protection_of(c, true, &fail) : NULL;
    if (a->protection != NULL)
        follow_acls(a);
    else
        ready(b, &fail);
}

void authorization_close(struct broker *b)
{
    if (b->authorization == NULL || b->authorization->zk == NULL)
        return;
    timer_stop(&b->authorization->patience);
    zk_close(b->authorization->zk);
}

void authorization_free(struct broker *b)
{
    struct authorization *a = b->authorization;
    if (a == NULL)
        return;
    zk_free(a->zk);
    acl_watch_free(b->services.acl_watch);
    acl_board_free(b->services.acls);
    zk_protection_unref(a->protection);
    arena_deinit(&a->memory);
    free(a);
}
