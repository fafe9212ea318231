/*
 * The asking side of a connection.
 *
 *     nothing ─ first call ─► looking up ─► connecting ─► shaking hands, with TLS ─► logging in, with SASL ─► connected
 *
 * Calls that are made before it is connected wait in `out`, and their deadlines run. An address that cannot be reached,
 * or not in time, is followed by the host's next one; when none is left, and when the connection breaks, all open calls
 * fail, and the next call begins anew. Who is refused, by certificate or password, would be at another address, too:
 * the calls fail at once.
 *
 * Whoever is called back may free the client, disconnect it, or call again. While a callback runs `in_use` is set, so
 * that the memory goes when the last of them has returned.
 */
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <unistd.h>

#include "base/chance.h"
#include "base/clock.h"
#include "base/logger.h"
#include "net/client_login.h"
#include "net/net_internal.h"

enum { LARGEST_ANSWER = 1 << 30, LARGEST_GREETING = 1 << 20, CORRELATION_AT = 8 };

/* Of a login's lifetime, in hundredths: when it is to be renewed. */
enum { RENEW_FROM = 85, RENEW_SPREAD = 10 };

static struct log_limit refusals;

struct client {
    struct client_options options;
    char *host;
    int port;
    struct transport transport;
    struct handshake *handshake; /* under way on a worker */
    struct client_login *login;  /* goes on; NULL: there is none, or it is over */
    struct strbuf greeting;      /* what it has to say */
    size_t greeting_at;
    char *refusal;    /* why nobody was let in */
    bool refused;     /* it has failed, which the caller of what asked it is to find out */
    int64_t renew_ms; /* when the connection is too old to be used, monotonic; 0: never */
    struct watch watch;
    struct lookup *lookup; /* under way */
    struct addresses addresses;
    size_t next_address;   /* to be tried */
    struct timer setup;    /* how long the address that is being tried has */
    int failures;          /* to connect, since the last connection */
    struct timer deadline; /* of the oldest call */
    bool has_socket, connected, in_use, doomed;
    int32_t next_id;
    struct strbuf out;
    size_t out_at;
    uint8_t head[4];
    int head_have;
    uint8_t *frame;
    int32_t frame_len, frame_have;
    struct client_call *first, **last;
};

static void client_on_ready(struct watch *w, int events);
static void on_setup_over(struct timer *t);

static void arm_deadline(struct client *c)
{
    if (c->first == NULL)
        timer_stop(&c->deadline);
    else
        timer_start(&c->deadline, MAX(c->first->deadline - clock_mono_ms(), (int64_t)0));
}

static void note_socket(struct client *c, bool is_there)
{
    if (c->has_socket != is_there)
        client_count_socket(c->options.counts, is_there);
    c->has_socket = is_there;
}

static void close_socket(struct client *c)
{
    timer_stop(&c->setup);
    if (c->transport.fd >= 0)
        watch_set(&c->watch, WATCH_NONE);
    handshake_abandon(c->handshake);
    client_login_abandon(c->login);
    c->handshake = NULL;
    c->login = NULL;
    c->refused = false;
    c->renew_ms = 0;
    strbuf_clear(&c->greeting);
    transport_close(&c->transport);
    note_socket(c, false);
    if (c->connected)
        addresses_clear(&c->addresses); /* it may have moved */
    c->connected = false;
}

static void drop_connection(struct client *c)
{
    close_socket(c);
    c->head_have = 0;
    free(c->frame);
    c->frame = NULL;
    strbuf_clear(&c->out);
    c->out_at = 0;
}

static struct client_call *take_call(struct client *c)
{
    struct client_call *call = c->first;
    ensure(call != NULL);
    c->first = call->next;
    if (c->first == NULL)
        c->last = &c->first;
    return call;
}

static void release(struct client *c)
{
    if (!c->doomed)
        return;
    ensure(!c->in_use && c->first == NULL);
    drop_connection(c);
    timer_stop(&c->deadline);
    lookup_abandon(c->lookup);
    addresses_clear(&c->addresses);
    strbuf_deinit(&c->out);
    strbuf_deinit(&c->greeting);
    free(c->refusal);
    free(c->host);
    free(c);
}

/* Calls back with `in_use` set, so that client_free() from there waits. False when the client is gone. */
static bool fail_calls(struct client *c)
{
    bool outer = c->in_use;
    ensure(loop_is_mine(c->options.loop));
    c->in_use = true;
    struct client_call *calls = c->first;
    c->first = NULL;
    c->last = &c->first;
    while (calls != NULL) {
        struct client_call *call = calls;
        calls = call->next;
        call->done(call, (struct bytes){NULL, 0});
    }
    c->in_use = outer;
    if (!outer && c->doomed) {
        release(c);
        return false;
    }
    return true;
}

void client_disconnect(struct client *c)
{
    ensure(loop_is_mine(c->options.loop));
    drop_connection(c);
    timer_stop(&c->deadline);
    fail_calls(c);
}

static void client_on_deadline(struct timer *t)
{
    struct client *c = CONTAINER_OF(t, struct client, deadline);
    if (c->first != NULL && c->first->deadline > clock_mono_ms()) {
        arm_deadline(c);
        return;
    }
    log_debug("No answer from %s:%d in time", c->host, c->port);
    client_disconnect(c);
}

/* ---- The way to others ---- */

void client_route_init(struct client_route *r, struct workers *resolvers, struct workers *shakers)
{
    *r = (struct client_route){.resolvers = resolvers, .shakers = shakers};
    lock_init(&r->lock, RANK_CLIENT_ROUTE);
}

void client_route_deinit(struct client_route *r)
{
    tls_context_unref(r->tls);
    lock_deinit(&r->lock);
}

void client_route_set_tls(struct client_route *r, struct tls_context *context)
{
    lock_take(&r->lock);
    struct tls_context *old = r->tls;
    r->tls = context;
    lock_release(&r->lock);
    tls_context_unref(old);
}

/* With a reference; NULL: there is none. */
static struct tls_context *client_route_tls(struct client_route *r)
{
    lock_take(&r->lock);
    struct tls_context *context = r->tls != NULL ? tls_context_ref(r->tls) : NULL;
    lock_release(&r->lock);
    return context;
}

/* ---- A client ---- */

struct client_options client_options_of(const struct broker_config *config, struct loop *loop,
                                        struct client_route *route)
{
    return (struct client_options){.loop = loop,
                                   .route = route,
                                   .setup_timeout_ms = config->socket_connection_setup_timeout_ms,
                                   .setup_timeout_max_ms = config->socket_connection_setup_timeout_max_ms};
}

struct client *client_new(const struct client_options *options, const char *host, int port)
{
    struct client *c = xcalloc(1, sizeof(*c));
    c->options = *options;
    c->host = xstrdup(host);
    c->port = port;
    c->transport.fd = -1;
    c->last = &c->first;
    timer_init(&c->setup, options->loop, on_setup_over);
    timer_init(&c->deadline, options->loop, client_on_deadline);
    return c;
}

bool client_goes_to(const struct client *c, const char *host, int port)
{
    return c->port == port && strcmp(c->host, host) == 0;
}

void client_free(struct client *c)
{
    if (c == NULL)
        return;
    ensure(loop_is_mine(c->options.loop) && !c->doomed);
    c->doomed = true;
    drop_connection(c);
    timer_stop(&c->deadline);
    if (!c->in_use)
        fail_calls(c); /* which frees, as it is doomed */
}

/* ---- Connecting ---- */

/* Doubled by each failure, give or take a fifth, so that not all try again in the same moment. */
static int64_t setup_patience(const struct client *c)
{
    int64_t ms = c->options.setup_timeout_ms, most = c->options.setup_timeout_max_ms;
    if (ms >= most)
        return most;
    for (int i = 0; i < c->failures && ms < most; i++)
        ms = ms <= most / 2 ? ms * 2 : most;
    int64_t least = ms - ms / 5, spread = (int64_t)chance_below((uint64_t)ms / 5 * 2);
    return spread < most - least ? least + spread : most;
}

static void client_set_options(const struct client *c, int fd)
{
    int on = 1, room = c->options.receive_buffer_bytes;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (room > 0) /* before connecting, when the window is agreed on */
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
}

static int client_connect_to(const struct client *c, const struct sockaddr_storage *address)
{
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    client_set_options(c, fd);
    if (connect(fd, (const struct sockaddr *)address, address_len(address)) == 0 || errno == EINPROGRESS)
        return fd;
    log_debug("Cannot connect to %s:%d: %s", c->host, c->port, strerror(errno));
    close(fd);
    return -1;
}

static bool is_connecting(const struct client *c)
{
    return c->lookup != NULL || c->handshake != NULL || (c->transport.fd >= 0 && !c->connected);
}

/* False when no address is left. */
static bool connect_next(struct client *c)
{
    int fd = -1;
    ensure(!is_connecting(c) && !c->connected);
    while (fd < 0 && c->next_address < c->addresses.count)
        fd = client_connect_to(c, &c->addresses.items[c->next_address++]);
    if (fd < 0) {
        addresses_clear(&c->addresses);
        return false;
    }
    transport_open(&c->transport, fd, NULL);
    note_socket(c, true);
    watch_init(&c->watch, c->options.loop, fd, client_on_ready);
    watch_set(&c->watch, WATCH_WRITE);
    if (c->options.setup_timeout_ms > 0)
        timer_start(&c->setup, setup_patience(c));
    return true;
}

static void connect_elsewhere(struct client *c)
{
    c->failures++;
    close_socket(c);
    if (!connect_next(c))
        client_disconnect(c);
}

static void on_setup_over(struct timer *t)
{
    struct client *c = CONTAINER_OF(t, struct client, setup);
    log_debug("Cannot connect to %s:%d: it takes too long", c->host, c->port);
    connect_elsewhere(c);
}

static void take_addresses(struct client *c, struct addresses *found)
{
    addresses_clear(&c->addresses);
    c->addresses = *found;
    c->next_address = 0;
    *found = (struct addresses){0};
    if (c->addresses.count == 0)
        log_debug("%s has no address", c->host);
}

static void client_on_looked_up(void *ctx, struct addresses *found)
{
    struct client *c = ctx;
    ensure(c->lookup != NULL && !c->connected && !c->doomed);
    c->lookup = NULL;
    take_addresses(c, found);
    if (c->first != NULL && !connect_next(c))
        client_disconnect(c);
}

/* False when that has failed already. */
static bool begin_connecting(struct client *c)
{
    ensure(!is_connecting(c));
    struct addresses found;
    if (c->next_address < c->addresses.count)
        return connect_next(c);
    struct workers *resolvers = c->options.route != NULL ? c->options.route->resolvers : NULL;
    if (!addresses_find(&found, c->host, c->port, resolvers != NULL)) {
        if (resolvers != NULL)
            c->lookup = lookup_start(c->options.loop, resolvers, c->host, c->port, client_on_looked_up, c);
        return c->lookup != NULL;
    }
    take_addresses(c, &found);
    return connect_next(c);
}

/* ---- Calls ---- */

/* Of calls and their answers: what is said before, to log in, is counted neither here nor by Kafka. */
static void count_transfer(struct client *c, enum traffic_sum way, ssize_t n)
{
    if (!c->connected || n <= 0)
        return;
    client_count(c->options.counts, way, n);
    client_count(c->options.counts, TRAFFIC_CALLS, 1);
}

static bool flush(struct client *c, struct strbuf *out, size_t *at)
{
    ensure(*at <= out->len);
    while (*at < out->len) {
        struct iovec io = {out->p + *at, out->len - *at};
        ssize_t n = transport_write(&c->transport, &io, 1, false);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        if (n < 0)
            return false;
        *at += (size_t)n;
        count_transfer(c, TRAFFIC_BYTES_OUT, n);
    }
    if (*at == out->len) {
        strbuf_clear(out);
        *at = 0;
    }
    watch_set(&c->watch, WATCH_READ | (out->len > 0 || c->transport.write_first ? WATCH_WRITE : 0));
    return true;
}

static bool flush_out(struct client *c)
{
    ensure(c->connected);
    if (!flush(c, &c->out, &c->out_at))
        return false;
    for (struct client_call *call = c->out.len == 0 ? c->first : NULL; call != NULL; call = call->next) {
        if (call->unsent > 0)
            client_count_sent(c->options.counts, call->unsent);
        call->unsent = 0;
    }
    return true;
}

/*
 * The broker closes a connection whose login has run out (KIP-368). So long before that, one that waits for nothing is
 * given up, and the next call makes another. However busy a client is, that moment comes with each answer, as who asks
 * has one call at a time; and a call that went out before the end of a login is answered after it, too.
 */
static bool is_worn_out(const struct client *c)
{
    return c->connected && c->renew_ms > 0 && c->first == NULL && clock_mono_ms() >= c->renew_ms;
}

void client_send(struct client *c, struct strbuf *frame, struct client_call *call)
{
    ensure(loop_is_mine(c->options.loop));
    ensure(frame->len >= CORRELATION_AT + 4 && call->done != NULL && !c->doomed);
    ensure((c->first == NULL) == (c->last == &c->first));
    if (is_worn_out(c))
        drop_connection(c);
    call->correlation_id = c->next_id++;
    call->deadline = clock_mono_ms() + call->timeout_ms;
    call->next = NULL;
    call->unsent = (int32_t)frame->len;
    be32_put(frame->p + CORRELATION_AT, (uint32_t)call->correlation_id);
    strbuf_add(&c->out, frame->p, frame->len);
    strbuf_deinit(frame);
    *c->last = call;
    c->last = &call->next;
    bool ok = c->connected ? flush_out(c) : is_connecting(c) || begin_connecting(c);
    if (!ok)
        c->first->deadline = 0; /* fails from the loop, not from within this call */
    if (!ok || c->first == call)
        arm_deadline(c);
}

/* 1: there may be more; 0: wait; -1: broken. */
static int read_frame(struct client *c)
{
    void *to = c->frame != NULL ? c->frame + c->frame_have : c->head + c->head_have;
    size_t want = c->frame != NULL ? (size_t)(c->frame_len - c->frame_have) : sizeof(c->head) - (size_t)c->head_have;
    struct iovec io = {to, want};
    ensure(want > 0); /* what is whole has been taken */
    ssize_t n = transport_read(&c->transport, &io, 1);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    if (n == 0)
        return -1;
    count_transfer(c, TRAFFIC_BYTES_IN, n);
    if (c->frame != NULL) {
        c->frame_have += (int32_t)n;
        return 1;
    }
    c->head_have += (int)n;
    if (c->head_have < (int)sizeof(c->head))
        return 1;
    c->frame_len = (int32_t)be32_get(c->head);
    c->frame_have = 0;
    c->head_have = 0;
    if (c->frame_len < 4 || c->frame_len > (c->connected ? LARGEST_ANSWER : LARGEST_GREETING))
        return -1;
    c->frame = xmalloc((size_t)c->frame_len);
    return 1;
}

/*
 * Gives a complete answer to its call. -1 if there is none. Who is told may end the connection, or have it replaced by
 * one that is not there yet: then nothing more is to be read.
 */
static int client_deliver(struct client *c)
{
    uint8_t *frame = c->frame;
    ensure(frame != NULL && c->frame_have == c->frame_len && c->frame_len >= 4);
    struct bytes answer = {frame, c->frame_len};
    c->frame = NULL;
    if (c->first == NULL || c->first->correlation_id != (int32_t)be32_get(frame)) {
        log_warn("%s:%d sent a response that belongs to no request", c->host, c->port);
        free(frame);
        return -1;
    }
    struct client_call *call = take_call(c);
    client_count(c->options.counts, TRAFFIC_RECEIVED, 1);
    arm_deadline(c);
    call->done(call, answer);
    free(frame);
    return c->connected ? 1 : 0;
}

static int read_answers(struct client *c)
{
    int rc;
    while ((rc = read_frame(c)) > 0)
        if (c->frame != NULL && c->frame_have == c->frame_len && (rc = client_deliver(c)) <= 0)
            break;
    return rc;
}

/* ---- From a socket to a connection that takes calls ---- */

const char *client_refusal(const struct client *c)
{
    return c->refusal;
}

static bool become_connected(struct client *c)
{
    free(c->refusal);
    c->refusal = NULL;
    c->connected = true;
    if (c->transport.tls != NULL || (c->options.route != NULL && c->options.route->login != NULL)) {
        client_count(c->options.counts, TRAFFIC_LOGINS, 1);
        client_count(c->options.counts, TRAFFIC_LOGINS_FOR_GOOD, 1);
    }
    return flush_out(c);
}

static bool client_refuse(struct client *c, const char *what, const char *why)
{
    struct fail refusal;
    fail_set(&refusal, "%s%s", what, why);
    client_count(c->options.counts, TRAFFIC_LOGINS_FAILED, 1);
    log_error_limited(&refusals, "Connection to %s:%d failed authentication due to: %s", c->host, c->port,
                      refusal.text);
    free(c->refusal);
    c->refusal = xstrdup(refusal.text);
    return false;
}

/* Serves what came, with `in_use` set; the client may be gone after it. */
static void client_turn(struct client *c, bool ok)
{
    ensure(c->in_use && loop_is_mine(c->options.loop));
    if (!ok && !c->doomed)
        client_disconnect(c);
    c->in_use = false;
    if (c->doomed)
        fail_calls(c); /* and frees it */
}

/* ---- Logging in ---- */

static void set_lifetime(struct client *c, int64_t lifetime_ms)
{
    int64_t hundredths = RENEW_FROM + (int64_t)chance_below(RENEW_SPREAD);
    if (lifetime_ms > 0)
        c->renew_ms = clock_mono_ms() + lifetime_ms / 100 * hundredths;
}

static bool take_login_turn(struct client *c, struct login_turn *turn)
{
    ensure(c->login != NULL && !c->connected);
    switch (turn->state) {
    case LOGIN_GOES_ON:
        strbuf_add(&c->greeting, turn->frame.p, turn->frame.len);
        return flush(c, &c->greeting, &c->greeting_at);
    case LOGIN_DONE:
        set_lifetime(c, turn->lifetime_ms);
        client_login_abandon(c->login);
        c->login = NULL;
        return become_connected(c);
    case LOGIN_FAILED:
        break;
    }
    return client_refuse(c, "", turn->why.text);
}

/* From within a turn of the client's, or from the loop. */
static void client_on_login(void *ctx, struct login_turn *turn)
{
    struct client *c = ctx;
    bool outer = c->in_use;
    c->in_use = true;
    bool ok = take_login_turn(c, turn);
    if (outer)
        c->refused |= !ok;
    else
        client_turn(c, ok);
}

static bool begin_login(struct client *c)
{
    const struct client_route *route = c->options.route;
    if (route == NULL || route->login == NULL)
        return become_connected(c);
    c->greeting_at = 0;
    c->login = client_login_new(route->login, c->host, c->options.loop, route->login_workers, client_on_login, c);
    client_login_start(c->login);
    return !c->refused;
}

/* What comes while the login goes on is an answer to its last frame, and nothing else. */
static bool serve_login(struct client *c, int events)
{
    int rc = 1;
    if (events & WATCH_WRITE && !flush(c, &c->greeting, &c->greeting_at))
        return false;
    while (rc > 0 && (c->frame == NULL || c->frame_have < c->frame_len))
        rc = read_frame(c);
    if (rc <= 0)
        return rc == 0;
    uint8_t *frame = c->frame;
    c->frame = NULL;
    watch_set(&c->watch, WATCH_NONE); /* until there is something to be said */
    client_login_answer(c->login, (struct bytes){frame, c->frame_len});
    free(frame);
    return !c->refused;
}

/* ---- Encryption ---- */

/* False: this is no connection, nor will it be one at another address. */
static bool shake_hands_on(struct client *c, const struct handshake_result *result)
{
    if (result->state == HANDSHAKE_DONE)
        return begin_login(c);
    if (result->state == HANDSHAKE_FAILED)
        return client_refuse(c, "SSL handshake failed: ", result->why.text);
    watch_set(&c->watch, result->state == HANDSHAKE_READ ? WATCH_READ : WATCH_WRITE);
    return true;
}

static void client_on_shaken(void *ctx, const struct handshake_result *result)
{
    struct client *c = ctx;
    c->handshake = NULL;
    c->in_use = true;
    client_turn(c, shake_hands_on(c, result));
}

static bool client_shake_hands(struct client *c)
{
    ensure(c->handshake == NULL && !c->connected);
    watch_set(&c->watch, WATCH_NONE);
    c->handshake =
        handshake_start(&c->transport, c->options.route->shakers, c->options.loop, NULL, client_on_shaken, c);
    return true;
}

static bool is_reached(const struct client *c)
{
    int error = 0;
    socklen_t len = sizeof(error);
    if (getsockopt(c->transport.fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0)
        return true;
    log_debug("Cannot connect to %s:%d: %s", c->host, c->port, strerror(error));
    return false;
}

/* The socket says that it is connected, or will not be. */
static bool finish_connecting(struct client *c)
{
    if (!is_reached(c)) {
        connect_elsewhere(c);
        return true;
    }
    timer_stop(&c->setup);
    c->failures = 0;
    client_count(c->options.counts, TRAFFIC_OPENED, 1);
    struct tls_context *tls = c->options.route != NULL ? client_route_tls(c->options.route) : NULL;
    if (tls == NULL)
        return begin_login(c);
    transport_open(&c->transport, c->transport.fd, tls_open(tls, c->host));
    tls_context_unref(tls);
    return c->transport.tls != NULL && client_shake_hands(c);
}

static bool client_serve(struct client *c, int events)
{
    bool readable = events & WATCH_READ || c->transport.write_first;
    return (!(events & WATCH_WRITE) || flush_out(c)) && (!readable || read_answers(c) >= 0);
}

static void client_on_ready(struct watch *w, int events)
{
    struct client *c = CONTAINER_OF(w, struct client, watch);
    c->in_use = true;
    if (c->connected)
        client_turn(c, client_serve(c, events));
    else if (c->login != NULL)
        client_turn(c, serve_login(c, events));
    else
        client_turn(c, c->transport.tls != NULL ? client_shake_hands(c) : finish_connecting(c));
}
