/* What connection.c and answers.c share: a connection, on its loop's thread. */
#ifndef BARNABAS_NET_CONNECTION_INTERNAL_H
#define BARNABAS_NET_CONNECTION_INTERNAL_H

#include "net/net_internal.h"

struct warm_up;

struct connection {
    struct net_loop *owner;
    const struct listener *listener;
    struct traffic *traffic;            /* of its listener, on its loop */
    struct connection_count *software;  /* NULL: it is not counted */
    struct connection_count *cipher;    /* the same */
    int64_t counted_out, counted_calls; /* of what its transport has written, and how often it was called */
    int64_t serial;
    struct transport transport;
    struct handshake *handshake; /* under way on a worker */
    struct watch watch;
    struct timer again; /* there is more to read, of which the socket will not tell */
    struct timer mute;  /* it has used more than it may, and pauses */
    int refs;           /* the connection itself, each exchange, a warm-up under way */
    bool closed, overlapping;
    bool begun;           /* the server knows of it */
    bool held;            /* nothing starts before the exchange that was started last says so */
    bool muted;           /* its timer `mute` runs */
    bool paused;          /* too many requests are being served already */
    bool ending;          /* closed when its answers are sent; nothing more is read */
    bool fresh;           /* no frame of what was read last was started yet */
    int gathers;          /* nothing is sent before they have ended */
    bool reading;         /* answers that come now are sent together when what was read is used up */
    int64_t muted_until;  /* while it is muted */
    atomic_int *muted_in; /* where it counts as muted; NULL: nowhere */
    int64_t last_active;
    struct connection *prev, *next;               /* of the loop's list */
    struct connection *paused_prev, *paused_next; /* likewise, of those that are paused */

    int32_t largest_frame;
    uint8_t *frame; /* being read */
    int32_t frame_len, frame_have;
    uint8_t *rest; /* bytes read behind the last frame that was taken */
    int32_t rest_len;

    struct exchange *first, **last; /* in the order of requests */
    int open;
    size_t unsent;                 /* what it has in the server's unsent_bytes */
    struct send_progress progress; /* of the first */
    struct warm_up *warming;

    struct sockaddr_storage addr;
    char peer[PEER_ROOM], host[1 + ADDRESS_ROOM];
    void *context;
    void (*context_free)(void *);
};

/* ---- connection.c ---- */

void connection_unref(struct connection *c);
/* Both do nothing if it is closed already. Exchanges that are being served stay until they are answered. */
void connection_close(struct connection *c);
void connection_close_for(struct connection *c, const char *why); /* with a log line */
void connection_touch(struct connection *c, int64_t now_us);      /* it is not idle */
/* After anything has changed: send, start what was waiting, wait for what comes next. */
void connection_progress(struct connection *c);

/* ---- answers.c ---- */

/* Sends what is answered, up to the first exchange that is not. False when the connection is gone. */
bool connection_send_answers(struct connection *c);
/* Keeps account of what lies in memory for the peer. False: that is too much in all, and the connection is gone. */
bool connection_account_unsent(struct connection *c);
/* An exchange that is answered, of a connection that is closed: its answer goes nowhere. */
void exchange_drop(struct exchange *x);

#endif
