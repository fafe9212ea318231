/*
 * What this broker asks the controller, whichever broker that is: one request at a time, in order, each tried until it
 * is answered, over the listener between brokers. The controller of the same broker is asked in the same way.
 * Belongs to one loop, which must be one of those that get views.
 */
#ifndef BARNABAS_CLUSTER_CONTROLLER_LINK_H
#define BARNABAS_CLUSTER_CONTROLLER_LINK_H

#include "base/arena.h"
#include "base/loop.h"
#include "base/workers.h"
#include "config/config.h"
#include "protocol/error.h"

struct client_kind;
struct client_route;
struct controller_link;

/* Embedded by who asks; it and the messages stay there until done() was called. */
struct link_call {
    int16_t key;
    int16_t most; /* version that will do; 0: any */
    const void *request;
    void *response; /* room for the message; what it points to lies in `arena` */
    struct arena *arena;
    int64_t timeout_ms; /* 0: tries for ever */
    /*
     * ERR_NONE: `response` is filled, and holds the controller's own errors, as ERR_NOT_CONTROLLER. Otherwise
     * ERR_REQUEST_TIMED_OUT, ERR_UNSUPPORTED_VERSION, or ERR_NETWORK_EXCEPTION when the link is closed, then perhaps
     * from within the sending.
     */
    void (*done)(struct link_call *call, enum kafka_error error);
    struct link_call *prev, *next; /* the link's */
    int64_t deadline;
    int16_t version; /* that was spoken */
};

/* `kind` as of broker_links_new(). */
struct controller_link *controller_link_new(struct loop *loop, struct client_route *route,
                                            const struct broker_config *config, const struct client_kind *kind);
/* Fails what is open, and whatever comes later, with ERR_NETWORK_EXCEPTION. Once and for all. */
void controller_link_close(struct controller_link *l);
void controller_link_free(struct controller_link *l); /* closes first */
void controller_link_send(struct controller_link *l, struct link_call *call);

#endif
