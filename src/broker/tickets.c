/*
 * Tickets from caches, by which this broker goes to ZooKeeper or to other brokers, are renewed as they get old: a
 * broker runs longer than a ticket lives, and logs in again whenever a connection is made anew. Those of key tables are
 * had by the table when they are needed.
 *
 * Every so often a resolver's thread looks at the caches, one job at a time, which may outlive the control loop.
 */
#include <stdatomic.h>

#include "base/chance.h"
#include "base/logger.h"
#include "broker/broker_internal.h"
#include "cluster/zk_protection.h"
#include "security/kerberos.h"
#include "security/ticket_cache.h"

enum { MOST_CACHES = 3, LEAST_PERIOD_MS = 1000, CHANCES = 1000 };

struct ticket_place {
    char *cache;
    struct fail told; /* why it failed the last time, which is told once */
};

struct tickets {
    struct workers *workers;
    struct timer look;
    struct job job;
    atomic_bool under_way;
    int64_t period_ms;
    double part, jitter; /* of a ticket's life */
    struct ticket_place places[MOST_CACHES];
    int count;
};

static void renew_at(struct ticket_place *p, double part)
{
    struct fail why;
    const char *name = *p->cache != '\0' ? p->cache : "the usual cache";
    enum ticket_renewal done = ticket_cache_renew(p->cache, part, &why);
    if (done == RENEWAL_DONE)
        log_info("The tickets of %s are renewed", name);
    else if (done == RENEWAL_FAILED && strcmp(why.text, p->told.text) != 0)
        log_warn("The tickets of %s cannot be renewed, and there will be no login when they are at their end: %s", name,
                 why.text);
    p->told = done == RENEWAL_FAILED ? why : (struct fail){{0}};
}

static void renew_all(struct job *job)
{
    struct tickets *t = CONTAINER_OF(job, struct tickets, job);
    for (int i = 0; i < t->count; i++)
        renew_at(&t->places[i], t->part + t->jitter * (double)chance_below(CHANCES) / CHANCES);
    atomic_store(&t->under_way, false);
}

static void on_look_at_tickets(struct timer *timer)
{
    struct tickets *t = CONTAINER_OF(timer, struct tickets, look);
    if (!atomic_exchange(&t->under_way, true))
        workers_submit(t->workers, &t->job);
    timer_start(timer, t->period_ms);
}

static void tickets_add(struct tickets *t, const struct sasl_login *login)
{
    const char *cache = login->kerberos != NULL ? login->kerberos->cache : NULL;
    for (int i = 0; cache != NULL && i < t->count; i++)
        if (strcmp(t->places[i].cache, cache) == 0)
            return;
    if (cache != NULL)
        t->places[t->count++].cache = xstrdup(cache);
}

void tickets_start(struct broker *b)
{
    const struct broker_config *c = b->config;
    struct tickets *t = b->tickets = xcalloc(1, sizeof(*t));
    t->workers = b->resolvers;
    t->job.run = renew_all;
    t->period_ms = MAX(c->sasl_kerberos_min_time_before_relogin, (int64_t)LEAST_PERIOD_MS);
    t->part = c->sasl_kerberos_ticket_renew_window_factor;
    t->jitter = c->sasl_kerberos_ticket_renew_jitter;
    timer_init(&t->look, b->control, on_look_at_tickets);
    tickets_add(t, &b->login);
    tickets_add(t, &b->control_login);
    tickets_add(t, &b->zk_protection->tickets);
    if (t->count > 0)
        timer_start(&t->look, 0);
}

void tickets_stop(struct broker *b)
{
    if (b->tickets != NULL)
        timer_stop(&b->tickets->look);
}

void tickets_free(struct broker *b)
{
    struct tickets *t = b->tickets;
    if (t == NULL)
        return;
    for (int i = 0; i < t->count; i++)
        free(t->places[i].cache);
    free(t);
}
