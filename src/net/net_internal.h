/* What the files of net/ share. */
#ifndef BARNABAS_NET_INTERNAL_H
#define BARNABAS_NET_INTERNAL_H

#include <stdatomic.h>
#include <sys/socket.h>

#include "net/addresses.h"
#include "net/net.h"
#include "net/transport.h"

enum { SCRATCH_SIZE = 64 << 10, PEER_ROOM = 64 };

/* Connections that may be let in, at so many a second; what a second has saved up may come at once. */
struct creation_rate {
    atomic_int per_second; /* the rest is loop 0's */
    double tokens;
    int64_t refilled_ms;
};

/* One network thread: its connections, least recently used first. */
struct net_loop {
    struct loop *loop;
    struct loop_thread thread;
    struct net_server *server;
    struct connection *connections; /* utlist, head is the longest idle */
    struct timer idle_timer;
    struct timer resume_timer; /* runs while connections are paused */
    uint8_t scratch[SCRATCH_SIZE];
    bool closing;
};

struct net_server {
    const struct broker_config *config;
    struct workers *workers;
    struct workers *shakers; /* for TLS handshakes; set before anything is accepted, if a listener has any */
    atomic_int handshakes;   /* under way on them */
    struct net_handler handler;
    struct net_loop *loops;
    int loop_count;
    struct acceptor *acceptors;
    int acceptor_count;
    int most_descriptors; /* that may be in use when a connection is let in */
    struct ip_counts *ips;
    struct creation_rate rate; /* max.connection.creation.rate */
    atomic_int connection_count, max_connections;
    atomic_int_fast64_t accepted;     /* connections since the start */
    atomic_int open_exchanges;        /* that are being worked on: not the parked ones */
    atomic_int live_exchanges;        /* all */
    atomic_int_fast64_t live_bytes;   /* of their requests */
    atomic_int_fast64_t unsent_bytes; /* of memory, in answers that peers have not taken yet */
};

/* connection.c: takes the socket and `tls`, which may be NULL; on the loop's thread. */
void connection_open(struct net_loop *l, const struct listener *listener, int fd, struct ssl_st *tls,
                     const struct sockaddr_storage *addr, int64_t serial);
void connections_close_all(struct net_loop *l);
void connections_idle_check(struct timer *t);
void connections_resume(struct timer *t);

/* acceptor.c */
bool acceptors_bind(struct net_server *s, struct fail *fail);
void acceptors_watch(struct net_server *s, bool on); /* on loop 0's thread */
void acceptors_free(struct net_server *s);
/* A connection has gone: its place is free. */
void acceptors_release(struct net_server *s, const struct listener *listener, const struct sockaddr_storage *addr);

/* send.c */
enum send_result { SEND_DONE, SEND_BLOCKED, SEND_COLD, SEND_FAILED };

struct send_progress {
    size_t mem_at, splice; /* next memory byte, next region */
    int32_t region_at;     /* bytes of that region that are out */
    int32_t warm_to;       /* of that region: known to be in the page cache up to here */
};

/* Sends what the socket takes. SEND_COLD: the next bytes of the current region are not in memory. */
enum send_result outgoing_send(struct transport *t, const struct outgoing *o, struct send_progress *p);
/* What errno says of a call that sent nothing: SEND_BLOCKED or SEND_FAILED. */
enum send_result send_trouble(void);
/* Reads a piece of a file into the page cache, without looking at it. May block. */
void region_warm_up(const struct file_region *region);

#endif
