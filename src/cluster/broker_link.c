/*
 * The first request to a broker waits for its answer to ApiVersions, and so does the next one after a failure: at the
 * same address there may be a broker of another version by then. A broker that moves gets another connection with the
 * next request. What fails is told to the caller, and not tried again.
 */
#include "cluster/broker_link.h"

#include <utlist.h>

#include "base/hash.h"
#include "cluster/view.h"
#include "net/net.h"
#include "protocol/frame.h"
#include "protocol/msg/api.h"

struct broker_link {
    struct broker_links *all;
    int32_t broker;
    struct client *client; /* NULL: none yet */
    struct client_call call;
    struct broker_call *queue; /* the first is under way while `waiting` */
    bool waiting, knows_versions;
    struct spoken spoken; /* by the peer */
    UT_hash_handle hh;
};

struct broker_links {
    struct client_options clients;
    const struct broker_config *config;
    const char *client_id;
    struct broker_link *by_broker;
    bool doomed;
};

static void broker_link_send_first(struct broker_link *l);

static void broker_link_finish_first(struct broker_link *l, enum kafka_error error)
{
    struct broker_call *call = l->queue;
    DL_DELETE(l->queue, call);
    call->done(call, error);
}

static void finish_first_and_go_on(struct broker_link *l, enum kafka_error error)
{
    broker_link_finish_first(l, error);
    broker_link_send_first(l);
}

/* ---- The peer ---- */

static void forget_peer(struct broker_link *l)
{
    struct client *old = l->client;
    l->client = NULL;
    l->knows_versions = false;
    client_free(old);
}

/* False when nobody knows where it is. */
static bool find_peer(struct broker_link *l)
{
    const struct registration *b = view_broker(view_current(), l->broker);
    const struct endpoint *e = b != NULL ? registration_endpoint(b, l->all->config->inter_broker_listener_name) : NULL;
    if (e == NULL)
        return false;
    if (l->client != NULL && client_goes_to(l->client, e->host, e->port))
        return true;
    forget_peer(l);
    l->client = client_new(&l->all->clients, e->host, e->port);
    return true;
}

/* ---- Requests ---- */

static void broker_link_post(struct broker_link *l, int16_t key, int16_t version, const void *request,
                             void (*done)(struct client_call *call, struct bytes response))
{
    struct strbuf frame;
    ensure(!l->waiting && !l->all->doomed);
    request_frame(&frame, key, version, str_of(l->all->client_id), request);
    l->waiting = true;
    l->call = (struct client_call){.done = done, .timeout_ms = l->all->config->request_timeout_ms};
    client_send(l->client, &frame, &l->call);
}

static void on_versions(struct client_call *call, struct bytes frame)
{
    struct broker_link *l = CONTAINER_OF(call, struct broker_link, call);
    struct arena a = {0};
    struct api_versions_response response;
    l->waiting = false;
    if (l->all->doomed)
        return;
    l->knows_versions = frame.p != NULL && response_frame_read(frame, API_API_VERSIONS, 0, &response, &a);
    if (l->knows_versions)
        spoken_take(&l->spoken, &response);
    arena_deinit(&a);
    if (l->knows_versions)
        broker_link_send_first(l);
    else
        finish_first_and_go_on(l, ERR_NETWORK_EXCEPTION);
}

static void broker_link_on_answer(struct client_call *call, struct bytes frame)
{
    struct broker_link *l = CONTAINER_OF(call, struct broker_link, call);
    struct broker_call *first = l->queue;
    l->waiting = false;
    if (l->all->doomed)
        return;
    bool ok = frame.p != NULL && response_frame_copy(frame, first->key, first->version, first->response, first->arena);
    if (!ok)
        l->knows_versions = false; /* another broker may answer at that address */
    finish_first_and_go_on(l, ok ? ERR_NONE : ERR_NETWORK_EXCEPTION);
}

static int16_t broker_link_choose_version(const struct broker_link *l, const struct broker_call *call)
{
    return spoken_version_between(&l->spoken, call->key, call->least, call->most > 0 ? call->most : INT16_MAX);
}

static void broker_link_send_first(struct broker_link *l)
{
    while (!l->waiting && !l->all->doomed && l->queue != NULL) {
        struct api_versions_request versions;
        struct broker_call *first = l->queue;
        if (!find_peer(l)) {
            broker_link_finish_first(l, ERR_NETWORK_EXCEPTION);
        } else if (!l->knows_versions) {
            api_versions_request_init(&versions);
            broker_link_post(l, API_API_VERSIONS, 0, &versions, on_versions);
        } else if ((first->version = broker_link_choose_version(l, first)) < 0) {
            broker_link_finish_first(l, ERR_UNSUPPORTED_VERSION);
        } else {
            broker_link_post(l, first->key, first->version, first->request, broker_link_on_answer);
        }
    }
}

void broker_links_send(struct broker_links *all, int32_t broker, struct broker_call *call)
{
    struct broker_link *l;
    if (all->doomed) {
        call->done(call, ERR_NETWORK_EXCEPTION);
        return;
    }
    ensure(loop_current() == all->clients.loop);
    HASH_FIND_INT(all->by_broker, &broker, l);
    if (l == NULL) {
        l = xcalloc(1, sizeof(*l));
        l->all = all;
        l->broker = broker;
        HASH_ADD_INT(all->by_broker, broker, l);
    }
    DL_APPEND(l->queue, call);
    broker_link_send_first(l);
}

/* ---- Life ---- */

struct broker_links *broker_links_new(struct loop *loop, struct client_route *route, const struct broker_config *config,
                                      const char *client_id, const struct client_kind *kind)
{
    struct broker_links *l = xcalloc(1, sizeof(*l));
    *l = (struct broker_links){
        .clients = client_options_of(config, loop, route), .config = config, .client_id = client_id};
    if (kind != NULL)
        l->clients.counts = client_counts_new(route, loop, kind);
    return l;
}

void broker_links_close(struct broker_links *all)
{
    struct broker_link *l, *tmp;
    if (all == NULL)
        return;
    all->doomed = true;
    HASH_ITER (hh, all->by_broker, l, tmp) {
        forget_peer(l);
        while (l->queue != NULL)
            broker_link_finish_first(l, ERR_NETWORK_EXCEPTION);
    }
}

void broker_links_free(struct broker_links *all)
{
    struct broker_link *l, *tmp;
    if (all == NULL)
        return;
    broker_links_close(all);
    HASH_ITER (hh, all->by_broker, l, tmp) {
        HASH_DEL(all->by_broker, l);
        free(l);
    }
    client_counts_free(all->clients.counts);
    free(all);
}
