/*
 * What this broker asks other brokers, itself among them, over the listener between brokers. To each broker there is
 * one connection, made when it is needed, and one request under way, in the order of the calls. Belongs to one loop,
 * which must be one of those that get views.
 */
#ifndef BARNABAS_CLUSTER_BROKER_LINK_H
#define BARNABAS_CLUSTER_BROKER_LINK_H

#include "base/arena.h"
#include "base/bytes.h"
#include "base/loop.h"
#include "base/workers.h"
#include "config/config.h"
#include "protocol/error.h"

struct client_kind;
struct client_route;
struct broker_links;

/* Embedded by who asks; it and the messages stay there until done() was called. */
struct broker_call {
    int16_t key;
    int16_t least; /* version that will do */
    int16_t most;  /* that will do; 0: any */
    const void *request;
    void *response; /* room for the message; what it points to lies in `arena` */
    struct arena *arena;
    /*
     * ERR_NONE: `response` is filled. ERR_UNSUPPORTED_VERSION, or ERR_NETWORK_EXCEPTION: nobody knows where the broker
     * is, the connection failed, there was no answer within request.timeout.ms, or the links are closed. Perhaps from
     * within the sending.
     */
    void (*done)(struct broker_call *call, enum kafka_error error);
    struct broker_call *prev, *next; /* the link's */
    int16_t version;                 /* that was spoken */
};

/* `kind` is that of their clients, to be counted (net/net.h); NULL: nobody counts. */
struct broker_links *broker_links_new(struct loop *loop, struct client_route *route, const struct broker_config *config,
                                      const char *client_id, const struct client_kind *kind);
/* Fails what is open, and whatever comes later, with ERR_NETWORK_EXCEPTION. Once and for all. */
void broker_links_close(struct broker_links *l);
void broker_links_free(struct broker_links *l); /* closes first */
void broker_links_send(struct broker_links *l, int32_t broker, struct broker_call *call);

#endif
