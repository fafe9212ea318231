/*
 * The network side of a broker: listeners, connections and their framing, on network loops; and the client
 * side of a connection, for those who talk to other brokers.
 *
 * A frame is an i32 length and that many bytes. A request frame becomes an `exchange`, which is given to the
 * server on the connection's loop. The server answers it, on the same loop, now or later and in any order
 * among exchanges; the connection sends answers in the order of the requests.
 *
 * Memory is bounded: while an exchange is open, its connection reads no further, unless the server says
 * that the next request may overlap with those before it.
 */
#ifndef BARNABAS_NET_H
#define BARNABAS_NET_H

#include <stdatomic.h>

#include <netinet/in.h>
#include <sys/socket.h>

#include "base/arena.h"
#include "base/fail.h"
#include "base/hash.h"
#include "base/lock.h"
#include "base/region.h"
#include "base/strbuf.h"
#include "base/workers.h"
#include "config/config.h"
#include "metrics/bean.h"
#include "security/sasl.h"
#include "security/tls.h"

/* ---- What is sent: memory, with regions of files in between ---- */

struct splice {
    size_t at; /* the region goes out before the memory byte at this position */
    struct file_region region;
};

struct outgoing {
    struct strbuf mem;
    struct splice *splices; /* ascending by `at`; each holds a reference to its file */
    size_t splice_count, splice_cap;
};

void outgoing_deinit(struct outgoing *o);
void outgoing_splice(struct outgoing *o, size_t at, struct file_region region); /* takes the reference */
size_t outgoing_size(const struct outgoing *o);

/* ---- Serving ---- */

struct net_server;
struct connection;

/* What the server will want to know of an exchange when its answer is sent, in microseconds; the server's own. */
struct exchange_account {
    const void *of; /* NULL: it is not counted */
    int64_t queue_us, local_us, remote_us;
    int64_t answered_us;          /* when */
    int64_t rebuild_us, unfolded; /* of records in another format */
    int32_t body_len, throttle_ms;
    int16_t key, version;
    char *log; /* what is to be logged of it; NULL: nothing */
};

struct exchange {
    struct connection *conn; /* stays valid, even if the peer has gone */
    struct arena arena;      /* freed with the frame when the exchange is answered */
    uint8_t *frame;          /* the request without its length, may be patched */
    int32_t frame_len;
    int64_t received_us;         /* when it was begun to be served; monotonic */
    int64_t whole_us;            /* when all of it was there, as far as is known */
    int64_t sending_us, sent_us; /* when its answer began to be sent, and was */
    struct exchange_account account;
    void *context; /* the server's */
    /* Set by a server that waits: the peer has gone, so that it may stop waiting. It still has to end the exchange. */
    void (*abandoned)(struct exchange *x);

    struct exchange *next; /* the rest belongs to the connection */
    struct outgoing out;
    bool answered, silent, parked;
};

struct net_handler {
    /* Of a new connection, once its hands are shaken if that is asked for, before anything is read; NULL: nothing to
     * do. */
    void (*begin)(void *ctx, struct connection *conn);
    void (*serve)(void *ctx, struct exchange *x);
    /* The answer is sent, or will not be; of an exchange that has an account. NULL: nobody wants to know. */
    void (*ended)(void *ctx, const struct exchange *x);
    /* Whether this request may be served while earlier ones that were allowed to overlap are open. */
    bool (*may_overlap)(void *ctx, struct connection *conn, const uint8_t *frame, int32_t len);
    void *ctx;
};

/*
 * Answers with a whole frame, length included; takes what `out` holds. What is left of the exchange is between the
 * connection and its peer: however long that takes to read, it keeps nobody else from being served.
 */
void exchange_answer(struct exchange *x, struct outgoing *out);
/* Ends it without an answer (acks=0). */
void exchange_finish(struct exchange *x);
/* Closes the connection, with a line in the log that says why (rate-limited). */
void exchange_abort(struct exchange *x, const char *why);
/* As exchange_answer(); when the peer has it, the connection is closed. Nothing more is read. */
void exchange_answer_last(struct exchange *x, struct outgoing *out);
/* It waits for something that may take long: it no longer counts against queued.max.requests. */
void exchange_park(struct exchange *x);
/* What overlaps with it and comes later on its connection is not started before it is released, which it has to be. */
void exchange_hold(struct exchange *x);
void exchange_release(struct exchange *x);
/*
 * Between the two nothing is sent to the exchange's connection: what is answered in the meantime leaves together. As
 * often as it was begun it has to be ended, in the same turn of the loop; so long there is the connection.
 */
struct connection *connection_gather(const struct exchange *x);
void connection_gathered(struct connection *c);
/*
 * From now on nothing more of its connection is read or started for that long (KIP-219); the longest of several counts.
 * Answers leave all the same. When the time is over the connection is as if it had just been used; longer than
 * connections.max.idle.ms it is not kept. So long it counts in `count`, which outlives the server; NULL: nobody counts.
 */
void exchange_mute(struct exchange *x, int32_t ms, atomic_int *count);
/* The peer has closed the connection: an answer would go nowhere. */
bool exchange_is_orphan(const struct exchange *x);
struct loop *exchange_loop(const struct exchange *x);

int64_t connection_serial(const struct connection *c); /* later ones have higher ones */
const struct listener *connection_listener(const struct connection *c);
const char *connection_peer(const struct connection *c); /* "host:port", for the log */
/* "local:port-host:port-number", as Kafka names it. On its loop. */
void connection_id(const struct connection *c, char *out, size_t size);
const char *connection_peer_host(const struct connection *c); /* "/host" as Kafka shows it */
/* NULL: it is not encrypted. For questions, on its loop. */
struct ssl_st *connection_tls(const struct connection *c);
/* From the next frame on; socket.request.max.bytes is the limit of who says nothing. */
void connection_limit_frames(struct connection *c, int32_t most);
/* For those who count, on its loop: its peer has logged in, or failed to, or was closed as its login had run out. */
enum login_news {
    NOTE_LOGIN_OK,
    NOTE_LOGIN_OK_FOR_GOOD,
    NOTE_LOGIN_FAILED,
    NOTE_LOGIN_OK_AGAIN,
    NOTE_LOGIN_FAILED_AGAIN,
    NOTE_LOGIN_EXPIRED
};
void connection_note_login(struct connection *c, enum login_news news);
/* The same: by what software the peer is made. */
void connection_note_software(struct connection *c, struct str name, struct str version);
/* What was noted, or "unknown"; the connection's texts. */
void connection_software(const struct connection *c, struct str *name, struct str *version);
/* A place for the server to keep what belongs to the connection; freed with it. */
void **connection_context(struct connection *c, void (*free_fn)(void *));

/* Binds all listeners of the configuration. Nothing is accepted before net_server_start(). */
struct net_server *net_server_new(const struct broker_config *config, struct workers *workers,
                                  const struct net_handler *handler, struct fail *fail);
int net_server_loop_count(const struct net_server *s);
struct loop *net_server_loop(const struct net_server *s, int i);
/* The port that listener `i` got, also where the configuration says 0. */
int net_server_port(const struct net_server *s, int i);
void net_server_run_loops(struct net_server *s); /* threads run, mailboxes work, nothing is accepted yet */
void net_server_start(struct net_server *s);     /* accepts on all listeners */
/* How many connections a second each address may make (connection_creation_rate, KIP-612). */
struct ip_rate {
    char *host; /* a name, or an address; empty: all that are not named */
    int per_second;
    UT_hash_handle hh;
};
struct ip_rates { /* all zeroes is valid and empty */
    struct ip_rate *table;
};
/* The host's, or that of all others, for NULL; negative: it has none. False: it was the same. */
bool ip_rates_set(struct ip_rates *r, const char *host, int per_second);
void ip_rates_clear(struct ip_rates *r);
/*
 * Takes over the limits on connections (max.connections*), and those rates, if there are any. On the owner's thread.
 * Those of hosts whose names have to be looked up count as soon as that is done and this is called again.
 */
void net_server_configure(struct net_server *s, const struct broker_config *config, const struct ip_rates *rates);
/*
 * How names are looked up from now on, which is done in place before; found() says on the loop, which is the owner's,
 * that one was.
 */
void net_server_find_hosts_by(struct net_server *s, struct loop *loop, struct workers *resolvers,
                              void (*found)(void *ctx), void *ctx);
/* It counts, for that registry, which outlives it. Before its loops run. */
void net_server_count(struct net_server *s, struct metrics *m);
/* On which threads TLS handshakes are made. Before it is started. */
void net_server_set_shakers(struct net_server *s, struct workers *shakers);
/*
 * What new connections of listener `i` are encrypted with from now on; NULL: they are not. Each connection refers to
 * it. Any thread.
 */
void net_server_set_tls(struct net_server *s, int i, struct tls_context *context);
/* Stops accepting and closes all connections; the loops still deliver messages. */
void net_server_close_connections(struct net_server *s);
/* No request is being served any more. */
bool net_server_is_quiet(const struct net_server *s);
void net_server_stop(struct net_server *s); /* joins the loops' threads */
void net_server_free(struct net_server *s);

/*
 * What a broker without a host in its listener is called, the same as by Java's InetAddress: the name of the first
 * address of this machine's name, or that address. May ask the name service and wait. The caller's to free; NULL: there
 * is no address.
 */
char *own_host_name(struct fail *fail);

/* ---- Asking ---- */

struct client;

struct client_call {
    /*
     * Called once on the client's loop: `response` is the frame without its length, or p == NULL when the
     * connection failed or the time was over.
     */
    void (*done)(struct client_call *call, struct bytes response);
    int64_t timeout_ms;
    struct client_call *next; /* the client's */
    int64_t deadline;
    int32_t correlation_id;
    int32_t unsent; /* the size of its frame, until all of that has been sent */
};

/* How somebody goes to others, the same for all its clients, which it outlives. */
struct client_route {
    struct workers *resolvers;      /* where hosts are looked up, which may take its time; NULL: in place */
    struct workers *shakers;        /* where hands are shaken; NULL: in place */
    struct workers *login_workers;  /* where the steps of its logins are taken, which may ask a KDC; NULL: in place */
    const struct sasl_login *login; /* by which it logs in; NULL: it need not */
    struct client_metrics *metrics; /* where it is counted; NULL: nobody wants to know */
    struct lock lock;               /* guards what follows */
    struct tls_context *tls;        /* NULL: nothing is encrypted */
};
void client_route_init(struct client_route *r, struct workers *resolvers, struct workers *shakers);
void client_route_deinit(struct client_route *r);
/* Takes the reference. For connections that are made from now on. Any thread. */
void client_route_set_tls(struct client_route *r, struct tls_context *context);

struct client_options {
    struct loop *loop;                              /* whose the client is */
    struct client_route *route;                     /* NULL: in place, as it is, without a login */
    int64_t setup_timeout_ms, setup_timeout_max_ms; /* to connect to an address, doubled by failures up to the most
                                                       (KIP-601); 0: only calls have a time-out */
    int32_t receive_buffer_bytes;                   /* SO_RCVBUF; <= 0: the kernel's choice */
    struct client_counts *counts;                   /* outlive the client; NULL: nobody counts */
};
/* Of a client that speaks to another broker. */
struct client_options client_options_of(const struct broker_config *config, struct loop *loop,
                                        struct client_route *route);

/*
 * Connects on the first call, and again after a failure. A host's addresses are tried one after the other, and looked
 * up again when none is left or a connection was lost; open calls fail when none is left.
 */
struct client *client_new(const struct client_options *options, const char *host, int port);
bool client_goes_to(const struct client *c, const char *host, int port);
/* Why the connection that was tried last was not let in, by either side; NULL: that was not it. */
const char *client_refusal(const struct client *c);
/* Fails what is open with p == NULL, closes. May be called from within done(). */
void client_free(struct client *c);
/*
 * Sends a whole frame, length included, whose request header starts with key, version and correlation id;
 * the client sets the id. Answers come in the order of the calls. Takes what `out` holds. Where logins end, who has
 * calls open at every moment, and not one after the other, loses them with the connection.
 */
void client_send(struct client *c, struct strbuf *frame, struct client_call *call);
/* Closes the connection; open calls fail. */
void client_disconnect(struct client *c);

/* ---- What is counted of clients ---- */

/*
 * Clients of one kind, which are told of in one bean of kafka.server, as Kafka has one for each of its selectors:
 *
 *     replica-fetcher-metrics,broker-id=2,fetcher-id=0      connections, bytes, requests, the time of the loop
 */
enum { CLIENT_KIND_TAGS = 2 };
struct client_kind {
    const char *type; /* outlives the clients, as the keys do */
    struct {
        const char *key; /* NULL: no more */
        int32_t value;
    } tags[CLIENT_KIND_TAGS];
};

struct client_metrics;
struct client_metrics *client_metrics_new(struct metrics *m);
void client_metrics_free(struct client_metrics *m); /* after all that counts in it; NULL is fine */

struct client_counts;
/* The bean is there from now on. NULL if the route counts nothing. The clients are all of that loop, which outlives
 * what is counted. Any thread. */
struct client_counts *client_counts_new(const struct client_route *route, struct loop *loop,
                                        const struct client_kind *kind);
void client_counts_free(struct client_counts *c); /* when its clients have gone, and with it the bean; NULL is fine */

#endif
