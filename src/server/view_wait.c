/*
 * Requests that are answered when this broker's own metadata shows what they have changed: a client that has made a
 * topic asks the same broker for its leaders next, and would be told that there is no such topic.
 */
#include "server/server_internal.h"
#include "server/waiting_metrics.h"

static void view_wait_stop_waiting(struct view_wait *w)
{
    struct request *r = w->r;
    view_unwatch(&w->watcher);
    timer_stop(&w->patience);
    r->x->abandoned = NULL;
    waiting_count(r->s->waiting, WAITING_TOPIC, -1, -1);
    w->over(r);
}

static void on_view(struct view_watcher *watcher)
{
    struct view_wait *w = CONTAINER_OF(watcher, struct view_wait, watcher);
    if (w->visible(w->r))
        view_wait_stop_waiting(w);
}

static void on_timeout(struct timer *t)
{
    view_wait_stop_waiting(CONTAINER_OF(t, struct view_wait, patience));
}

static void view_wait_on_abandoned(struct exchange *x)
{
    struct request *r = x->context;
    view_wait_stop_waiting(r->waiting);
}

void view_wait(struct request *r, struct view_wait *w, int32_t timeout_ms)
{
    ensure(loop_is_mine(exchange_loop(r->x))); /* whose view it is that shows it */
    w->r = r;
    if (w->visible(r)) {
        w->over(r);
        return;
    }
    request_park(r);
    waiting_count(r->s->waiting, WAITING_TOPIC, 1, 1);
    r->waiting = w;
    r->x->abandoned = view_wait_on_abandoned;
    w->watcher.changed = on_view;
    view_watch(&w->watcher);
    timer_init(&w->patience, exchange_loop(r->x), on_timeout);
    if (exchange_is_orphan(r->x)) /* while it was elsewhere, so that nobody tells of it any more */
        view_wait_on_abandoned(r->x);
    else
        timer_start(&w->patience, MAX(timeout_ms, 0));
}
