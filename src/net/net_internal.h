/* What the files of net/ share. */
#ifndef BARNABAS_NET_INTERNAL_H
#define BARNABAS_NET_INTERNAL_H

#include <stdatomic.h>
#include <sys/socket.h>

#include "base/rate.h"
#include "net/addresses.h"
#include "net/host_names.h"
#include "net/net.h"
#include "net/traffic_internal.h"
#include "net/transport.h"

enum { SCRATCH_SIZE = 64 << 10, PEER_ROOM = 64 };

/* How fast connections may be let in, over the time that quotas look at (KIP-612). */
struct creation_rate {
    atomic_int per_second; /* the rest is loop 0's */
    struct rate rate;
    int64_t rests_until_ms;
};

/* One network thread: its connections, least recently used first. */
struct net_loop {
    struct loop *loop;
    struct loop_thread thread;
    struct net_server *server;
    struct connection *connections; /* utlist, head is the longest idle */
    struct connection *paused;      /* utlist: those of which nothing is read, as too many requests are being served */
    struct timer idle_timer;
    struct timer resume_timer; /* runs while connections are paused */
    uint8_t scratch[SCRATCH_SIZE];
    bool closing;
    struct traffic *traffic; /* by listener */
    struct loop_time time;
    atomic_int unsent_answers;
    int64_t newest_us; /* the last time that is known here: at which an exchange was answered, or answers were sent */
};

struct net_metrics;

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
    int most_descriptors;        /* that may be in use when a connection is let in */
    struct net_metrics *metrics; /* NULL: nobody wants to know */
    struct ip_counts *ips;
    struct host_names *host_names; /* of limits: their owner's thread alone has them */
    struct room *room;
    struct creation_rate rate; /* max.connection.creation.rate */
    atomic_int connection_count, max_connections;
    atomic_int_fast64_t accepted;     /* connections since the start */
    atomic_int open_exchanges;        /* that are being worked on: not the parked ones */
    atomic_int live_exchanges;        /* all */
    atomic_int_fast64_t live_bytes;   /* of their requests, and of frames that are being read */
    atomic_int_fast64_t unsent_bytes; /* of memory, in answers that peers have not taken yet */
};

/* connection.c: takes the socket and `tls`, which may be NULL; on the loop's thread. */
void connection_open(struct net_loop *l, const struct listener *listener, int fd, struct ssl_st *tls,
                     const struct sockaddr_storage *addr, int64_t serial);
void connections_close_all(struct net_loop *l);
void connections_idle_check(struct timer *t);
/* Which of a loop's connections can be done without most, of those that did not come by the listener `spared`: one that
 * waits for nothing, and which has done so for the longest time. */
struct last_use {
    bool idle;
    int64_t at_ms;
};
static inline bool last_use_is_before(struct last_use a, struct last_use b)
{
    return a.idle != b.idle ? a.idle : a.at_ms < b.at_ms;
}
bool connections_last_use(struct net_loop *l, const struct listener *spared, struct last_use *out); /* false: none */
void connections_close_unused(struct net_loop *l, const struct listener *spared);
void connections_resume(struct timer *t);

/* room.c, on loop 0 but for the first and the last: there are too many, not for who comes by the listener `spared`. */
struct room *room_new(struct net_server *s);
void room_spare(struct room *r, const struct listener *l);
void room_make(struct room *r);
void room_make_soon(struct room *r); /* any thread */
void room_free(struct room *r);

/* net_metrics.c */

/* Of which client software a connection is, until it says so, or what it is encrypted with; and when it has gone. NULL:
 * nobody counts it. */
struct connection_count;
struct connection_count *software_unknown(struct net_loop *l, int listener);
void connection_note_cipher(struct connection *c);
void connection_count_leave(struct net_loop *l, struct connection_count *count);
void net_metrics_accepted(struct net_server *s, int listener);
void net_metrics_blocked(struct net_server *s, int listener, int64_t ms); /* as there are too many connections */
/* It would have been let in sooner but for the rate of all, or of its address: then it is not, for so long. */
void net_metrics_delayed(struct net_server *s, int listener, int64_t ms);
void net_metrics_delayed_address(struct net_server *s, int listener, int64_t ms);
void net_metrics_free(struct net_server *s);

/* client_metrics.c; does nothing where nobody counts. On the clients' loop. */
void client_count(struct client_counts *c, enum traffic_sum which, int64_t n);
void client_count_sent(struct client_counts *c, int64_t size); /* a whole frame, its length included */
void client_count_socket(struct client_counts *c, bool is_there);

/* acceptor.c */
bool acceptors_bind(struct net_server *s, struct fail *fail);
void acceptors_watch(struct net_server *s, bool on); /* on loop 0's thread */
void acceptors_free(struct net_server *s);
int64_t acceptor_certificate_end(struct net_server *s, int listener); /* tls_context_end(); 0: it encrypts nothing */
/* How fast those addresses have come of late whom a limit bounds; the caller's to free. Any thread. */
struct address_rate {
    char address[ADDRESS_ROOM];
    int64_t bean_id;
    double per_second;
};
struct address_rate *acceptors_address_rates(struct net_server *s, struct metrics *m, size_t *count);
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
