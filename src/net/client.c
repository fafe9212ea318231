/* The asking side of a connection. */
#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/logger.h"
#include "net/net.h"

enum { LARGEST_ANSWER = 1 << 30, CORRELATION_AT = 8, CLOCK_TICK_MS = 50 };

struct client {
    struct loop *loop;
    char *host;
    int port, fd;
    struct watch watch;
    struct timer connecting;
    struct timer deadline; /* of the oldest call */
    bool connected, in_use, doomed;
    int32_t next_id;
    struct strbuf out;
    size_t out_at;
    uint8_t head[4];
    int head_have;
    uint8_t *frame;
    int32_t frame_len, frame_have;
    struct client_call *first, **last;
};

static void on_ready(struct watch *w, int events);
static void connect_now(struct timer *t);

static void arm_deadline(struct client *c)
{
    if (c->first == NULL)
        timer_stop(&c->deadline);
    else
        timer_start(&c->deadline, MAX(c->first->deadline - clock_mono_ms(), (int64_t)0));
}

static void close_socket(struct client *c)
{
    timer_stop(&c->connecting);
    if (c->fd >= 0) {
        watch_set(&c->watch, WATCH_NONE);
        close(c->fd);
    }
    c->fd = -1;
    c->connected = false;
    c->head_have = 0;
    free(c->frame);
    c->frame = NULL;
    strbuf_clear(&c->out);
    c->out_at = 0;
}

static struct client_call *take_call(struct client *c)
{
    struct client_call *call = c->first;
    c->first = call->next;
    if (c->first == NULL)
        c->last = &c->first;
    return call;
}

static void release(struct client *c)
{
    if (!c->doomed)
        return;
    close_socket(c);
    timer_stop(&c->deadline);
    strbuf_deinit(&c->out);
    free(c->host);
    free(c);
}

/* Calls back with `in_use` set, so that client_free() from there waits. False when the client is gone. */
static bool fail_calls(struct client *c)
{
    bool outer = c->in_use;
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
    ensure(loop_is_mine(c->loop));
    close_socket(c);
    timer_stop(&c->deadline);
    fail_calls(c);
}

static void on_deadline(struct timer *t)
{
    struct client *c = CONTAINER_OF(t, struct client, deadline);
    if (c->first != NULL && c->first->deadline > clock_mono_ms()) {
        arm_deadline(c);
        return;
    }
    log_debug("No answer from %s:%d in time", c->host, c->port);
    client_disconnect(c);
}

struct client *client_new(struct loop *loop, const char *host, int port)
{
    struct client *c = xcalloc(1, sizeof(*c));
    c->loop = loop;
    c->host = xstrdup(host);
    c->port = port;
    c->fd = -1;
    c->last = &c->first;
    timer_init(&c->connecting, loop, connect_now);
    timer_init(&c->deadline, loop, on_deadline);
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
    c->doomed = true;
    close_socket(c);
    timer_stop(&c->deadline);
    if (!c->in_use)
        fail_calls(c); /* which frees, as it is doomed */
}

/* Names are looked up in place: brokers are few and their names local. */
static bool start_connecting(struct client *c)
{
    char port[8];
    int on = 1;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list;
    snprintf(port, sizeof(port), "%d", c->port);
    if (getaddrinfo(c->host, port, &hints, &list) != 0)
        return false;
    for (struct addrinfo *ai = list; ai != NULL && c->fd < 0; ai = ai->ai_next) {
        int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd >= 0 && connect(fd, ai->ai_addr, ai->ai_addrlen) != 0 && errno != EINPROGRESS) {
            close(fd);
            fd = -1;
        }
        c->fd = fd;
    }
    freeaddrinfo(list);
    if (c->fd < 0)
        return false;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    watch_init(&c->watch, c->loop, c->fd, on_ready);
    watch_set(&c->watch, WATCH_WRITE);
    return true;
}

/* By a timer: it may take some time, which a visitor of the loop does not have. */
static void connect_now(struct timer *t)
{
    struct client *c = CONTAINER_OF(t, struct client, connecting);
    if (!start_connecting(c)) {
        log_debug("Cannot connect to %s:%d", c->host, c->port);
        client_disconnect(c);
    }
}

static bool flush_out(struct client *c)
{
    while (c->out_at < c->out.len) {
        ssize_t n = send(c->fd, c->out.p + c->out_at, c->out.len - c->out_at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        if (n < 0)
            return false;
        c->out_at += (size_t)n;
    }
    if (c->out_at == c->out.len) {
        strbuf_clear(&c->out);
        c->out_at = 0;
    }
    watch_set(&c->watch, WATCH_READ | (c->out.len > 0 ? WATCH_WRITE : 0));
    return true;
}

static void soon(struct client *c)
{
    timer_start(&c->deadline, 0);
}

void client_send(struct client *c, struct strbuf *frame, struct client_call *call)
{
    ensure(loop_is_mine(c->loop));
    ensure(frame->len >= CORRELATION_AT + 4 && call->done != NULL && !c->doomed);
    call->correlation_id = c->next_id++;
    call->deadline = clock_mono_ms() + call->timeout_ms;
    call->next = NULL;
    be32_put(frame->p + CORRELATION_AT, (uint32_t)call->correlation_id);
    strbuf_add(&c->out, frame->p, frame->len);
    strbuf_deinit(frame);
    *c->last = call;
    c->last = &call->next;
    if (c->fd < 0 && !timer_is_running(&c->connecting))
        timer_start(&c->connecting, 0);
    if (c->connected && !flush_out(c)) {
        call->deadline = 0; /* fails from the loop, not from within this call */
        c->first->deadline = 0;
        soon(c);
    } else if (c->first == call) {
        arm_deadline(c);
    }
}

/* 1: there may be more; 0: wait; -1: broken. */
static int read_frame(struct client *c)
{
    void *to = c->frame != NULL ? c->frame + c->frame_have : c->head + c->head_have;
    size_t want = c->frame != NULL ? (size_t)(c->frame_len - c->frame_have) : sizeof(c->head) - (size_t)c->head_have;
    ssize_t n = want == 0 ? 0 : recv(c->fd, to, want, MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    if (n == 0 && want > 0)
        return -1;
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
    if (c->frame_len < 4 || c->frame_len > LARGEST_ANSWER)
        return -1;
    c->frame = xmalloc((size_t)c->frame_len);
    return 1;
}

/* Gives a complete answer to its call. -1 if there is none, or the client is gone. */
static int deliver(struct client *c)
{
    uint8_t *frame = c->frame;
    struct bytes answer = {frame, c->frame_len};
    c->frame = NULL;
    if (c->first == NULL || c->first->correlation_id != (int32_t)be32_get(frame)) {
        log_warn("Answer from %s:%d to a question that was not asked", c->host, c->port);
        free(frame);
        return -1;
    }
    struct client_call *call = take_call(c);
    arm_deadline(c);
    call->done(call, answer);
    free(frame);
    return c->doomed || c->fd < 0 ? -1 : 1;
}

static int read_answers(struct client *c)
{
    int rc;
    while ((rc = read_frame(c)) > 0)
        if (c->frame != NULL && c->frame_have == c->frame_len && (rc = deliver(c)) < 0)
            break;
    return rc;
}

static bool finish_connecting(struct client *c)
{
    int error = 0;
    socklen_t len = sizeof(error);
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error != 0) {
        log_debug("Cannot connect to %s:%d: %s", c->host, c->port, strerror(error));
        return false;
    }
    c->connected = true;
    return true;
}

static void on_ready(struct watch *w, int events)
{
    struct client *c = CONTAINER_OF(w, struct client, watch);
    c->in_use = true;
    bool ok = c->connected || finish_connecting(c);
    if (ok && events & WATCH_WRITE)
        ok = flush_out(c);
    if (ok && events & WATCH_READ)
        ok = read_answers(c) >= 0;
    if (!ok && !c->doomed)
        client_disconnect(c);
    c->in_use = false;
    if (c->doomed)
        release(c);
}
