/*
 * The network loops and their life. What is a loop's own, its connections and timers, is touched on its thread only:
 * from elsewhere it gets an order, which is a message.
 */
#include <stdio.h>

#include "net/net_internal.h"

struct order { /* something to be done on a loop's thread */
    struct message message;
    struct net_loop *loop;
};

static void net_post(struct net_loop *l, void (*what)(struct message *))
{
    struct order *o = xcalloc(1, sizeof(*o));
    o->message.deliver = what;
    o->loop = l;
    loop_post(l->loop, &o->message);
}

static struct net_loop *net_take_order(struct message *m)
{
    struct order *o = CONTAINER_OF(m, struct order, message);
    struct net_loop *l = o->loop;
    free(o);
    return l;
}

struct net_server *net_server_new(const struct broker_config *config, struct workers *workers,
                                  const struct net_handler *handler, struct fail *fail)
{
    struct net_server *s = xcalloc(1, sizeof(*s));
    s->config = config;
    s->workers = workers;
    s->handler = *handler;
    s->loop_count = config->num_network_threads;
    s->loops = xcalloc((size_t)s->loop_count, sizeof(*s->loops));
    for (int i = 0; i < s->loop_count; i++) {
        char name[24];
        snprintf(name, sizeof(name), "network-%d", i);
        s->loops[i].loop = loop_new(name);
        s->loops[i].server = s;
        timer_init(&s->loops[i].idle_timer, s->loops[i].loop, connections_idle_check);
        timer_init(&s->loops[i].resume_timer, s->loops[i].loop, connections_resume);
    }
    for (int i = 0; i < s->loop_count; i++)
        s->loops[i].traffic = xcalloc((size_t)config->listeners.count, sizeof(*s->loops[i].traffic));
    if (acceptors_bind(s, fail))
        return s;
    net_server_free(s);
    return NULL;
}

int net_server_loop_count(const struct net_server *s)
{
    return s->loop_count;
}

struct loop *net_server_loop(const struct net_server *s, int i)
{
    ensure(i >= 0 && i < s->loop_count);
    return s->loops[i].loop;
}

static void start_timers(struct message *m)
{
    connections_idle_check(&net_take_order(m)->idle_timer);
}

void net_server_run_loops(struct net_server *s)
{
    for (int i = 0; i < s->loop_count; i++) {
        net_post(&s->loops[i], start_timers);
        loop_thread_start(&s->loops[i].thread, s->loops[i].loop);
    }
}

static void start_accepting(struct message *m)
{
    acceptors_watch(net_take_order(m)->server, true);
}

void net_server_start(struct net_server *s)
{
    net_post(&s->loops[0], start_accepting);
}

static void stop_serving(struct message *m)
{
    struct net_loop *l = net_take_order(m);
    if (l == &l->server->loops[0])
        acceptors_watch(l->server, false);
    timer_stop(&l->idle_timer);
    timer_stop(&l->resume_timer);
    connections_close_all(l);
}

void net_server_close_connections(struct net_server *s)
{
    for (int i = 0; i < s->loop_count; i++)
        net_post(&s->loops[i], stop_serving);
}

bool net_server_is_quiet(const struct net_server *s)
{
    return atomic_load(&s->live_exchanges) == 0 && atomic_load(&s->connection_count) == 0 &&
           atomic_load(&s->handshakes) == 0;
}

void net_server_stop(struct net_server *s)
{
    for (int i = 0; i < s->loop_count; i++)
        loop_thread_join(&s->loops[i].thread);
}

void net_server_free(struct net_server *s)
{
    if (s == NULL)
        return;
    net_server_stop(s);
    net_metrics_free(s); /* or who visits them now would look at loops that are gone */
    for (int i = 0; i < s->loop_count; i++)
        loop_free(s->loops[i].loop);
    for (int i = 0; i < s->loop_count; i++)
        free(s->loops[i].traffic);
    acceptors_free(s);
    free(s->loops);
    free(s);
}
