/*
 * A connection reads on the loop, at most so long from a request's first byte to its last. Then a worker has it, with
 * its socket, until the answer is made; the loop only notes what comes meanwhile, that the server stops, say. What the
 * peer has not taken by then the loop sends. What has come behind the request is the next one.
 *
 * When all places are taken, those go that have done nothing for the longest time, if they are not being answered. Half
 * of the places at most are for answers that take long, so that who asks whether the broker lives always finds one.
 * Those who are answered shortly have one worker, which waits for none of them.
 */
#include "http/http_server.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/logger.h"
#include "http/http_answer.h"
#include "net/listening.h"
#include "security/tls.h"

enum {
    WORKERS = 2,
    MOST_LONG = HTTP_MOST_CONNECTIONS / 2,
    BACKLOG = 64,
    ACCEPTS_AT_ONCE = 16,
    REQUEST_MS = 15000, /* from a request's first byte to its last, handshake included */
    IDLE_MS = 120000,   /* between requests */
    READ_STEP = 4096,
    REST_MS = 100,
};

static struct log_limit troubles;

struct http_port {
    struct http_server *server;
    struct http_listener at;
    struct watch watch;
    struct timer rest; /* out of descriptors */
    int fd;
};

struct http_connection {
    struct http_server *server;
    struct http_port *port;
    struct transport transport;
    struct handshake *handshake;
    struct watch watch;
    struct timer timer;
    struct strbuf in;
    bool is_long;       /* its answer may take long, and counts as one of these */
    bool answering;     /* a worker has the transport, and what follows */
    bool sending;       /* what is left of an answer */
    bool told_to_go_on; /* with the body */
    bool ends;          /* after the answer under way */
    struct job job;
    struct http_request request;
    struct arena arena;
    size_t taken;
    int refused; /* with this status, without a look at the request */
    bool goes_on, gone;
    int64_t begun_ms; /* to be answered */
    struct http_rest rest;
    struct http_connection *prev, *next; /* the one that did something longest ago is the first */
};

struct http_server {
    struct loop_thread thread;
    struct workers *workers, *quick;
    struct http_port *ports;
    int port_count;
    http_handler handler;
    http_is_quick is_quick;
    void *ctx;
    struct http_connection *connections;
    int connection_count, long_count;
    struct http_load load;
    struct message stop;
    bool stopping;
    struct lock lock; /* guards the ports' contexts, each with a reference */
};

static struct ssl_st *http_open_tls(struct http_port *port)
{
    lock_take(&port->server->lock);
    struct ssl_st *tls = port->at.tls != NULL ? tls_open(port->at.tls, NULL) : NULL;
    lock_release(&port->server->lock);
    return tls;
}

void http_server_set_tls(struct http_server *s, struct tls_context *tls)
{
    lock_take(&s->lock);
    for (int i = 0; i < s->port_count; i++) {
        struct tls_context *old = s->ports[i].at.tls;
        if (old == NULL)
            continue;
        s->ports[i].at.tls = tls_context_ref(tls);
        tls_context_unref(old);
    }
    lock_release(&s->lock);
}

/* ---- Connections ---- */

static void http_uncount(struct http_connection *c)
{
    c->server->long_count -= c->is_long;
    ensure(c->server->long_count >= 0);
    c->is_long = false;
}

static void http_free(struct http_connection *c)
{
    ensure(!c->answering); /* or a worker has what is freed here */
    http_uncount(c);
    http_rest_drop(&c->rest);
    handshake_abandon(c->handshake);
    watch_set(&c->watch, WATCH_NONE);
    timer_stop(&c->timer);
    transport_close(&c->transport);
    strbuf_deinit(&c->in);
    arena_deinit(&c->arena);
    DL_DELETE(c->server->connections, c);
    c->server->connection_count--;
    ensure(c->server->connection_count >= 0);
    free(c);
}

/* At once, or when the worker has come back. */
static void http_drop(struct http_connection *c)
{
    if (c->answering)
        c->ends = true;
    else
        http_free(c);
}

static void http_on_time(struct timer *t)
{
    http_drop(CONTAINER_OF(t, struct http_connection, timer));
}

static void note_use(struct http_connection *c)
{
    DL_DELETE(c->server->connections, c);
    DL_APPEND(c->server->connections, c);
}

static void http_go_on(struct http_connection *c);

/* ---- Answering ---- */

enum { BUSY = 503 };

static void http_run(struct job *job)
{
    struct http_connection *c = CONTAINER_OF(job, struct http_connection, job);
    struct http_answer answer;
    if (c->is_long)
        atomic_fetch_sub(&c->server->load.queued, 1);
    if (c->refused != 0)
        c->request = (struct http_request){.keep_alive = false};
    http_answer_begin(&answer, &c->transport, &c->rest, &c->request, c->is_long);
    if (c->refused == BUSY)
        http_say_text(&answer, c->refused, "Too many others are being answered.");
    else if (c->refused != 0)
        http_say_text(&answer, c->refused, "This cannot be understood, or is too large.");
    else
        c->server->handler(c->server->ctx, &c->port->at, &c->request, &answer);
    c->goes_on = http_answer_end(&answer) && c->refused == 0;
    c->gone = answer.broken;
}

/* All of the answer is out. */
static void http_end_answer(struct http_connection *c)
{
    c->sending = false;
    http_uncount(c);
    http_rest_drop(&c->rest);
    if (!c->goes_on) {
        http_free(c);
        return;
    }
    ensure(c->taken <= c->in.len);
    memmove(c->in.p, c->in.p + c->taken, c->in.len - c->taken);
    c->in.len -= c->taken;
    arena_deinit(&c->arena);
    c->arena = (struct arena){0};
    c->told_to_go_on = false;
    timer_start(&c->timer, c->in.len > 0 ? REQUEST_MS : IDLE_MS);
    http_go_on(c);
}

/* `moved`: some of it has gone out, or it begins. */
static void http_send_rest(struct http_connection *c, bool moved)
{
    size_t before = http_rest_size(&c->rest);
    if (!http_rest_send(&c->rest, &c->transport)) {
        http_free(c);
        return;
    }
    size_t left = http_rest_size(&c->rest);
    if (left == 0) {
        watch_set(&c->watch, WATCH_NONE);
        http_end_answer(c);
        return;
    }
    c->sending = true;
    watch_set(&c->watch, WATCH_WRITE);
    if (moved || left < before)
        timer_start(&c->timer,
                    MIN((int64_t)HTTP_SILENCE_MS, MAX(c->begun_ms + HTTP_DEADLINE_MS - clock_mono_ms(), (int64_t)0)));
}

static void http_on_answered(struct message *m)
{
    struct http_connection *c = CONTAINER_OF(m, struct http_connection, job.done);
    ensure(c->answering);
    c->answering = false;
    if (c->gone || c->ends || c->server->stopping)
        http_free(c);
    else
        http_send_rest(c, true);
}

static void http_answer(struct http_connection *c, int refused)
{
    struct http_server *s = c->server;
    ensure(!c->answering && !c->sending && !c->ends);
    bool takes_long = refused == 0 && !s->is_quick(s->ctx, &c->port->at, &c->request);
    c->is_long = takes_long && s->long_count < MOST_LONG;
    s->long_count += c->is_long;
    c->refused = takes_long && !c->is_long ? BUSY : refused;
    c->answering = true;
    c->begun_ms = clock_mono_ms();
    if (c->is_long)
        atomic_fetch_add(&s->load.queued, 1);
    watch_set(&c->watch, WATCH_NONE);
    timer_stop(&c->timer);
    c->job = (struct job){.run = http_run, .home = s->thread.loop, .done = {.deliver = http_on_answered}};
    workers_submit(c->is_long ? s->workers : s->quick, &c->job);
}

/* ---- Reading ---- */

/* RFC 9110, 10.1.1. A few bytes, into a socket whose buffer is empty. */
static void tell_to_go_on(struct http_connection *c)
{
    static char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct iovec io = {text, sizeof(text) - 1};
    if (c->told_to_go_on)
        return;
    c->told_to_go_on = true;
    if (transport_write(&c->transport, &io, 1, false) != (ssize_t)io.iov_len)
        log_debug("A client of the HTTP server did not take the word to go on");
}

/* Whether there is to be read on. */
static bool look_at_request(struct http_connection *c)
{
    int status = 400;
    if (c->in.len == 0)
        return true;
    arena_deinit(&c->arena);
    c->arena = (struct arena){0};
    switch (http_request_parse((struct bytes){(uint8_t *)c->in.p, (int32_t)c->in.len}, &c->arena, &c->request,
                               &c->taken, &status)) {
    case HTTP_COMPLETE:
        http_answer(c, 0);
        return false;
    case HTTP_REFUSED:
        http_answer(c, status);
        return false;
    case HTTP_INCOMPLETE:
        if (c->request.awaits_continue)
            tell_to_go_on(c);
        return true;
    }
    return false;
}

/* False: the connection has ended. */
static bool http_read_more(struct http_connection *c)
{
    char *room = strbuf_extend(&c->in, READ_STEP);
    struct iovec io = {room, READ_STEP};
    ssize_t n = transport_read(&c->transport, &io, 1);
    int error = errno;
    bool first = c->in.len == READ_STEP && n > 0;
    c->in.len -= READ_STEP - (n > 0 ? (size_t)n : 0);
    if (first)
        timer_start(&c->timer, REQUEST_MS);
    if (n > 0)
        note_use(c);
    return n > 0 || (n < 0 && (error == EAGAIN || error == EINTR));
}

static void http_go_on(struct http_connection *c)
{
    while (look_at_request(c)) {
        size_t before = c->in.len;
        if (!http_read_more(c)) {
            http_free(c);
            return;
        }
        if (c->in.len == before) {
            watch_set(&c->watch, c->transport.write_first ? WATCH_WRITE : WATCH_READ);
            return;
        }
    }
}

static void http_shake(struct http_connection *c);

static void http_on_ready(struct watch *w, int events UNUSED)
{
    struct http_connection *c = CONTAINER_OF(w, struct http_connection, watch);
    if (c->transport.tls != NULL && !c->transport.shaken)
        http_shake(c);
    else if (c->sending)
        http_send_rest(c, false);
    else
        http_go_on(c);
}

/* ---- Shaking hands ---- */

static void http_on_shaken(void *ctx, const struct handshake_result *result)
{
    struct http_connection *c = ctx;
    c->handshake = NULL;
    switch (result->state) {
    case HANDSHAKE_DONE:
        http_go_on(c);
        return;
    case HANDSHAKE_READ:
    case HANDSHAKE_WRITE:
        watch_set(&c->watch, result->state == HANDSHAKE_READ ? WATCH_READ : WATCH_WRITE);
        return;
    case HANDSHAKE_FAILED:
        log_debug("A client of the HTTP server failed to shake hands: %s", result->why.text);
        http_free(c);
    }
}

static void http_shake(struct http_connection *c)
{
    ensure(c->handshake == NULL && !c->answering);
    watch_set(&c->watch, WATCH_NONE);
    c->handshake = handshake_start(&c->transport, c->server->quick, c->server->thread.loop, NULL, http_on_shaken, c);
}

/* ---- Accepting ---- */

/* Those that are being answered stay: they have an end of their own. */
static void make_room(struct http_server *s)
{
    struct http_connection *c, *next;
    DL_FOREACH_SAFE (s->connections, c, next) {
        if (s->connection_count < HTTP_MOST_CONNECTIONS)
            return;
        if (!c->answering && !c->sending)
            http_free(c);
    }
}

static void http_accept(struct http_port *port, int fd)
{
    struct http_server *s = port->server;
    int on = 1;
    make_room(s);
    if (s->connection_count >= HTTP_MOST_CONNECTIONS) {
        close(fd);
        return;
    }
    struct ssl_st *tls = http_open_tls(port);
    struct http_connection *c = xcalloc(1, sizeof(*c));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    c->server = s;
    c->port = port;
    c->rest.load = &s->load;
    transport_open(&c->transport, fd, tls);
    watch_init(&c->watch, s->thread.loop, fd, http_on_ready);
    timer_init(&c->timer, s->thread.loop, http_on_time);
    timer_start(&c->timer, REQUEST_MS);
    DL_APPEND(s->connections, c);
    s->connection_count++;
    if (tls != NULL)
        http_shake(c);
    else
        watch_set(&c->watch, WATCH_READ);
}

static void http_on_rested(struct timer *t)
{
    watch_set(&CONTAINER_OF(t, struct http_port, rest)->watch, WATCH_READ);
}

static void http_on_incoming(struct watch *w, int events UNUSED)
{
    struct http_port *port = CONTAINER_OF(w, struct http_port, watch);
    for (int i = 0; i < ACCEPTS_AT_ONCE; i++) {
        int fd = accept4(port->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            http_accept(port, fd);
        } else if (errno != EINTR && errno != ECONNABORTED) {
            if (errno == EAGAIN || errno == EWOULDBLOCK)
                return;
            log_warn_limited(&troubles, "The HTTP server cannot accept a connection: %s", strerror(errno));
            watch_set(&port->watch, WATCH_NONE);
            timer_start(&port->rest, REST_MS);
            return;
        }
    }
}

/* ---- Life ---- */

static bool open_port(struct http_server *s, const struct http_listener *at, struct fail *fail)
{
    struct http_port *port = &s->ports[s->port_count];
    const char *why;
    *port = (struct http_port){.server = s, .at = *at};
    port->fd = listen_at(at->host, at->port, BACKLOG, -1, &why);
    if (port->fd < 0)
        return fail_set(fail, "The HTTP server failed to bind to %s:%d: %s.", at->host, at->port, why);
    s->port_count++;
    if (port->at.tls != NULL)
        tls_context_ref(port->at.tls);
    watch_init(&port->watch, s->thread.loop, port->fd, http_on_incoming);
    timer_init(&port->rest, s->thread.loop, http_on_rested);
    watch_set(&port->watch, WATCH_READ);
    return true;
}

static void free_ports(struct http_server *s)
{
    for (int i = 0; i < s->port_count; i++) {
        tls_context_unref(s->ports[i].at.tls);
        close(s->ports[i].fd);
    }
    free(s->ports);
    lock_deinit(&s->lock);
}

struct http_server *http_server_new(const struct http_listener *listeners, int count, http_handler handler,
                                    http_is_quick is_quick, void *ctx, struct fail *fail)
{
    struct http_server *s = xcalloc(1, sizeof(*s));
    struct loop *loop = loop_new("http");
    s->thread.loop = loop;
    lock_init(&s->lock, RANK_HTTP_TLS);
    s->handler = handler;
    s->is_quick = is_quick;
    s->ctx = ctx;
    s->ports = xcalloc((size_t)count, sizeof(*s->ports));
    for (int i = 0; i < count; i++)
        if (!open_port(s, &listeners[i], fail)) {
            for (int k = 0; k < s->port_count; k++)
                watch_set(&s->ports[k].watch, WATCH_NONE);
            free_ports(s);
            loop_free(loop);
            free(s);
            return NULL;
        }
    s->workers = workers_new("http-worker", WORKERS);
    workers_give_way(s->workers);
    s->quick = workers_new("http-quick", 1);
    loop_thread_start(&s->thread, loop);
    return s;
}

int http_server_port(const struct http_server *s, int listener)
{
    return listening_port(s->ports[listener].fd);
}

/* On its loop: nobody comes any more, and all go. */
static void http_on_stop(struct message *m)
{
    struct http_server *s = CONTAINER_OF(m, struct http_server, stop);
    struct http_connection *c, *next;
    s->stopping = true;
    for (int i = 0; i < s->port_count; i++) {
        watch_set(&s->ports[i].watch, WATCH_NONE);
        timer_stop(&s->ports[i].rest);
    }
    DL_FOREACH_SAFE (s->connections, c, next) {
        if (c->answering)
            shutdown(c->transport.fd, SHUT_RDWR); /* or who does not read would be waited for */
        http_drop(c);
    }
}

void http_server_free(struct http_server *s)
{
    if (s == NULL)
        return;
    s->stop.deliver = http_on_stop;
    loop_post(s->thread.loop, &s->stop);
    struct loop *loop = s->thread.loop;
    loop_thread_join(&s->thread); /* which delivers what was posted before */
    workers_stop(s->workers);
    workers_stop(s->quick);
    while (loop_drain(loop))
        ;
    ensure(s->connections == NULL);
    free_ports(s);
    workers_free(s->workers);
    workers_free(s->quick);
    loop_free(loop);
    free(s);
}
