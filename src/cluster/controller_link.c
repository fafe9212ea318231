#include "cluster/controller_link.h"

#include <inttypes.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/logger.h"
#include "cluster/view.h"
#include "net/net.h"
#include "protocol/frame.h"
#include "protocol/msg/api.h"

enum { RETRY_MS = 50 };

struct controller_link {
    struct loop *loop;
    const struct broker_config *config;
    int32_t peer; /* the broker that `client` goes to; -1: none */
    struct client *client;
    struct client_call call;
    struct timer retry;
    struct link_call *queue;
    bool waiting, knows_versions, doomed;
    struct spoken spoken; /* by the peer */
};

static void send_first(struct controller_link *l);

static void finish_first(struct controller_link *l, enum kafka_error error)
{
    struct link_call *call = l->queue;
    DL_DELETE(l->queue, call);
    call->done(call, error);
}

static void try_later(struct controller_link *l)
{
    int64_t now = clock_mono_ms();
    while (l->queue != NULL && l->queue->deadline != 0 && l->queue->deadline <= now)
        finish_first(l, ERR_REQUEST_TIMED_OUT);
    if (l->queue != NULL)
        timer_start(&l->retry, RETRY_MS);
}

static void on_retry(struct timer *t)
{
    send_first(CONTAINER_OF(t, struct controller_link, retry));
}

/* ---- The peer ---- */

static void forget_peer(struct controller_link *l)
{
    struct client *old = l->client;
    l->client = NULL;
    l->peer = -1;
    l->knows_versions = false;
    client_free(old);
}

/* False when nobody is known to be the controller, or not where. */
static bool find_peer(struct controller_link *l)
{
    const struct view *v = view_current();
    const struct registration *b = view_broker(v, v->controller_id);
    const struct endpoint *e = b != NULL ? registration_endpoint(b, l->config->inter_broker_listener_name) : NULL;
    if (e == NULL)
        return false;
    if (l->client != NULL && l->peer == b->id && client_goes_to(l->client, e->host, e->port))
        return true;
    forget_peer(l);
    l->peer = b->id;
    l->client = client_new(l->loop, e->host, e->port);
    return true;
}

/* ---- Requests ---- */

static void post(struct controller_link *l, int16_t key, int16_t version, const void *request,
                 void (*done)(struct client_call *call, struct bytes response))
{
    struct strbuf frame;
    request_frame(&frame, key, version, STR_LIT("controller-link"), request);
    l->waiting = true;
    l->call = (struct client_call){.done = done, .timeout_ms = l->config->request_timeout_ms};
    client_send(l->client, &frame, &l->call);
}

static void on_versions(struct client_call *call, struct bytes frame)
{
    struct controller_link *l = CONTAINER_OF(call, struct controller_link, call);
    struct arena a = {0};
    struct api_versions_response response;
    l->waiting = false;
    if (l->doomed || l->client == NULL)
        return;
    if (frame.p == NULL || !response_frame_read(frame, API_API_VERSIONS, 0, &response, &a)) {
        arena_deinit(&a);
        try_later(l);
        return;
    }
    spoken_take(&l->spoken, &response);
    l->knows_versions = true;
    arena_deinit(&a);
    send_first(l);
}

static void on_answer(struct client_call *call, struct bytes frame)
{
    struct controller_link *l = CONTAINER_OF(call, struct controller_link, call);
    l->waiting = false;
    if (l->doomed || l->client == NULL || l->queue == NULL)
        return;
    struct link_call *first = l->queue;
    if (frame.p == NULL || !response_frame_copy(frame, first->key, first->version, first->response, first->arena)) {
        l->knows_versions = false; /* another broker may answer at that address */
        try_later(l);
        return;
    }
    finish_first(l, ERR_NONE);
    send_first(l);
}

static void send_first(struct controller_link *l)
{
    if (l->waiting || l->doomed)
        return;
    while (l->queue != NULL) {
        struct api_versions_request versions;
        if (!find_peer(l)) {
            try_later(l);
            return;
        }
        if (!l->knows_versions) {
            api_versions_request_init(&versions);
            post(l, API_API_VERSIONS, 0, &versions, on_versions);
            return;
        }
        l->queue->version = spoken_version(&l->spoken, l->queue->key, 0);
        if (l->queue->version >= 0) {
            post(l, l->queue->key, l->queue->version, l->queue->request, on_answer);
            return;
        }
        finish_first(l, ERR_UNSUPPORTED_VERSION);
    }
}

/* ---- Life ---- */

struct controller_link *controller_link_new(struct loop *loop, const struct broker_config *config)
{
    struct controller_link *l = xcalloc(1, sizeof(*l));
    l->loop = loop;
    l->config = config;
    l->peer = -1;
    timer_init(&l->retry, loop, on_retry);
    return l;
}

void controller_link_free(struct controller_link *l)
{
    if (l == NULL)
        return;
    l->doomed = true;
    timer_stop(&l->retry);
    forget_peer(l);
    while (l->queue != NULL)
        finish_first(l, ERR_NETWORK_EXCEPTION);
    free(l);
}

void controller_link_send(struct controller_link *l, struct link_call *call)
{
    ensure(loop_current() == l->loop);
    call->deadline = call->timeout_ms > 0 ? clock_mono_ms() + call->timeout_ms : 0;
    DL_APPEND(l->queue, call);
    send_first(l);
}
