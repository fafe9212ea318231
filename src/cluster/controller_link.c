#include "cluster/controller_link.h"

#include <utlist.h>

#include "base/clock.h"
#include "cluster/broker_link.h"
#include "cluster/view.h"

enum { RETRY_MS = 50 };

struct controller_link {
    struct broker_links *links;
    struct loop *loop;
    struct broker_call call; /* of the first in the queue */
    struct timer retry;
    struct link_call *queue;
    bool waiting, doomed;
};

static void controller_link_send_first(struct controller_link *l);

static void controller_link_finish_first(struct controller_link *l, enum kafka_error error)
{
    struct link_call *call = l->queue;
    DL_DELETE(l->queue, call);
    call->done(call, error);
}

static void controller_link_try_later(struct controller_link *l)
{
    int64_t now = clock_mono_ms();
    while (l->queue != NULL && l->queue->deadline != 0 && l->queue->deadline <= now)
        controller_link_finish_first(l, ERR_REQUEST_TIMED_OUT);
    if (l->queue != NULL)
        timer_start(&l->retry, RETRY_MS);
}

static void controller_link_on_retry(struct timer *t)
{
    controller_link_send_first(CONTAINER_OF(t, struct controller_link, retry));
}

static void controller_link_on_answer(struct broker_call *call, enum kafka_error error)
{
    struct controller_link *l = CONTAINER_OF(call, struct controller_link, call);
    ensure(l->waiting);
    l->waiting = false;
    if (l->doomed)
        return;
    if (error == ERR_NETWORK_EXCEPTION) {
        controller_link_try_later(l);
        return;
    }
    l->queue->version = call->version;
    controller_link_finish_first(l, error);
    controller_link_send_first(l);
}

static void controller_link_send_first(struct controller_link *l)
{
    if (l->waiting || l->doomed || l->queue == NULL)
        return;
    l->waiting = true;
    l->call = (struct broker_call){.key = l->queue->key,
                                   .most = l->queue->most,
                                   .request = l->queue->request,
                                   .response = l->queue->response,
                                   .arena = l->queue->arena,
                                   .done = controller_link_on_answer};
    broker_links_send(l->links, view_current()->controller_id, &l->call); /* -1 is nowhere */
}

/* ---- Life ---- */

struct controller_link *controller_link_new(struct loop *loop, struct client_route *route,
                                            const struct broker_config *config, const struct client_kind *kind)
{
    struct controller_link *l = xcalloc(1, sizeof(*l));
    l->loop = loop;
    l->links = broker_links_new(loop, route, config, "controller-link", kind);
    timer_init(&l->retry, loop, controller_link_on_retry);
    return l;
}

void controller_link_close(struct controller_link *l)
{
    if (l == NULL)
        return;
    l->doomed = true;
    timer_stop(&l->retry);
    broker_links_close(l->links);
    while (l->queue != NULL)
        controller_link_finish_first(l, ERR_NETWORK_EXCEPTION);
}

void controller_link_free(struct controller_link *l)
{
    if (l == NULL)
        return;
    controller_link_close(l);
    broker_links_free(l->links);
    free(l);
}

void controller_link_send(struct controller_link *l, struct link_call *call)
{
    if (l->doomed) {
        call->done(call, ERR_NETWORK_EXCEPTION);
        return;
    }
    ensure(loop_current() == l->loop);
    call->deadline = call->timeout_ms > 0 ? clock_mono_ms() + call->timeout_ms : 0;
    DL_APPEND(l->queue, call);
    controller_link_send_first(l);
}
