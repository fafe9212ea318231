/*
 * One client's connection, on one network loop: frames in, answers out, in the order of the requests.
 *
 *   reading   the socket is read until a frame is whole, a large one straight into its place; then it is an exchange.
 *   serving   the server answers now or later. Unless the request may overlap with those before it, nothing more is
 *             read until it is answered. queued.max.requests counts exchanges in this state.
 *   sending   answers in order: memory with sendmsg, file regions with sendfile; a region that is not in the page
 *             cache is read by a worker first. A peer that takes nothing for connections.max.idle.ms is closed.
 *
 * A frame that is malformed, too large or unknown closes the connection with a log line, once what came before it is
 * answered. When the connection ends while an exchange is served, that is orphaned: its owner is told, and its answer
 * goes nowhere.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <unistd.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/logger.h"
#include "net/net_internal.h"

enum { LENGTH_SIZE = 4, MAX_OVERLAP = 32, RESUME_MS = 5, MOST_TOGETHER = 16, MOST_READS = 4 };
enum { MOST_UNFOLDED_BYTES = 128 << 20, MOST_UNSENT_BYTES = 1 << 30, LARGE_UNSENT_BYTES = 64 << 10 };

struct connection {
    struct net_loop *owner;
    const struct listener *listener;
    int64_t serial;
    struct watch watch;
    int fd;
    int refs; /* the connection itself, each exchange, a warm-up under way */
    bool closed, overlapping;
    bool held;    /* nothing starts before the exchange that was started last says so */
    bool paused;  /* too many requests are being served already */
    bool reading; /* answers that come now are sent together when what was read is used up */
    int64_t last_active;
    struct connection *prev, *next; /* of the loop's list */

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

struct warm_up {
    struct job job;
    struct connection *conn;
    struct file_region region;
};

static struct log_limit closing_lines;

static void connection_progress(struct connection *c);

static void unref(struct connection *c)
{
    ensure(c->refs > 0);
    if (--c->refs > 0)
        return;
    ensure(c->closed && c->first == NULL);
    if (c->context_free != NULL)
        c->context_free(c->context);
    free(c);
}

static void exchange_free(struct exchange *x)
{
    struct connection *c = x->conn;
    ensure(x->answered && x->parked);
    outgoing_deinit(&x->out);
    atomic_fetch_sub(&c->owner->server->live_exchanges, 1);
    free(x);
    unref(c);
}

/* The request is done with, though its answer may have to wait for a peer that reads slowly. */
static void connection_request_free(struct exchange *x)
{
    struct net_server *s = x->conn->owner->server;
    exchange_park(x);
    atomic_fetch_sub(&s->live_bytes, x->frame_len);
    free(x->frame);
    x->frame = NULL;
    x->frame_len = 0;
    x->context = NULL;
    arena_deinit(&x->arena);
}

static void take_first(struct connection *c)
{
    struct exchange *x = c->first;
    c->first = x->next;
    if (c->first == NULL)
        c->last = &c->first;
    c->open--;
    c->progress = (struct send_progress){0};
    exchange_free(x);
}

static void tell_abandoned(struct connection *c)
{
    for (struct exchange *x = c->first; x != NULL;) {
        void (*abandoned)(struct exchange *) = x->abandoned;
        x->abandoned = NULL;
        if (abandoned == NULL) {
            x = x->next;
            continue;
        }
        abandoned(x);
        x = c->first; /* the list may have changed */
    }
}

static void close_connection(struct connection *c)
{
    if (c->closed)
        return;
    c->closed = true;
    c->refs++;
    watch_set(&c->watch, WATCH_NONE);
    close(c->fd);
    DL_DELETE(c->owner->connections, c);
    free(c->frame);
    free(c->rest);
    c->frame = c->rest = NULL;
    c->rest_len = 0;
    atomic_fetch_sub(&c->owner->server->unsent_bytes, (int64_t)c->unsent);
    c->unsent = 0;
    /* Open exchanges are still being served; their answers are dropped as they come. */
    for (struct exchange *x = c->first, *next; x != NULL; x = next) {
        next = x->next;
        if (!x->answered)
            continue;
        struct exchange **link = &c->first;
        while (*link != x)
            link = &(*link)->next;
        *link = next;
        c->open--;
        exchange_free(x);
    }
    c->last = &c->first;
    while (*c->last != NULL)
        c->last = &(*c->last)->next;
    acceptors_release(c->owner->server, c->listener, &c->addr);
    tell_abandoned(c);
    unref(c); /* the list's */
    unref(c);
}

static void connection_complain(struct connection *c, const char *why)
{
    log_warn_limited(&closing_lines, "Closing connection from %s on listener %s: %s", c->peer, c->listener->name, why);
}

static void close_with_reason(struct connection *c, const char *why)
{
    if (!c->closed)
        connection_complain(c, why);
    close_connection(c);
}

static void touch(struct connection *c)
{
    if (c->closed)
        return;
    int64_t now = clock_mono_ms();
    if (now == c->last_active || c->next == NULL) {
        c->last_active = now; /* the last of the list stays the last */
        return;
    }
    c->last_active = now;
    DL_DELETE(c->owner->connections, c);
    DL_APPEND(c->owner->connections, c);
}

/* ---- Answers ---- */

static void warm_up_run(struct job *job)
{
    struct warm_up *w = CONTAINER_OF(job, struct warm_up, job);
    region_warm_up(&w->region);
}

static void warm_up_done(struct message *m)
{
    struct warm_up *w = CONTAINER_OF(m, struct warm_up, job.done);
    struct connection *c = w->conn;
    c->warming = NULL;
    file_ref_put(w->region.file);
    if (!c->closed) {
        /* Sent now whatever the cache says, or memory pressure could turn this into a loop. */
        c->progress.warm_to = c->progress.region_at + w->region.len;
        connection_progress(c);
    }
    free(w);
    unref(c);
}

static void connection_warm_up(struct connection *c)
{
    const struct file_region *r = &c->first->out.splices[c->progress.splice].region;
    struct warm_up *w = xcalloc(1, sizeof(*w));
    w->conn = c;
    w->region =
        (struct file_region){r->file, r->pos + c->progress.region_at, MIN(r->len - c->progress.region_at, 1 << 20)};
    w->job = (struct job){.run = warm_up_run, .home = c->owner->loop, .done = {.deliver = warm_up_done}};
    file_ref_get(r->file);
    c->warming = w;
    c->refs++;
    workers_submit(c->owner->server->workers, &w->job);
}

static bool is_plain(const struct exchange *x)
{
    return x->answered && x->out.splice_count == 0;
}

/* Answers that lie in memory whole go out with one call. */
static enum send_result send_together(struct connection *c)
{
    struct iovec io[MOST_TOGETHER];
    size_t count = 0, room = 0;
    for (struct exchange *x = c->first; x != NULL && is_plain(x) && count < MOST_TOGETHER; x = x->next) {
        size_t from = count == 0 ? c->progress.mem_at : 0;
        io[count] = (struct iovec){x->out.mem.p + from, x->silent ? 0 : x->out.mem.len - from};
        room += io[count++].iov_len;
    }
    struct msghdr message = {.msg_iov = io, .msg_iovlen = count};
    ssize_t sent = room > 0 ? sendmsg(c->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
    if (sent < 0)
        return send_trouble();
    for (size_t i = 0; i < count; i++) {
        if ((size_t)sent < io[i].iov_len) {
            c->progress.mem_at += (size_t)sent;
            return SEND_BLOCKED;
        }
        sent -= (ssize_t)io[i].iov_len;
        take_first(c);
    }
    return SEND_DONE;
}

static enum send_result connection_send_first(struct connection *c)
{
    enum send_result result = outgoing_send(c->fd, &c->first->out, &c->progress);
    if (result == SEND_DONE)
        take_first(c);
    return result;
}

/* The peer has taken something: it is not idle, however slowly it reads. */
static bool has_moved(const struct connection *c, const struct exchange *first, const struct send_progress *before)
{
    return c->first != first || c->progress.mem_at != before->mem_at || c->progress.splice != before->splice ||
           c->progress.region_at != before->region_at;
}

/* Sends what is answered, up to the first exchange that is not. False when the connection is gone. */
static bool send_answers(struct connection *c)
{
    while (c->first != NULL && c->first->answered && c->warming == NULL) {
        const struct exchange *first = c->first;
        struct send_progress before = c->progress;
        enum send_result result = is_plain(c->first) ? send_together(c) : connection_send_first(c);
        if (result == SEND_FAILED) {
            close_connection(c);
            return false;
        }
        if (has_moved(c, first, &before))
            touch(c);
        if (result == SEND_COLD)
            connection_warm_up(c);
        if (result != SEND_DONE)
            return true;
    }
    return true;
}

static size_t unsent_memory(const struct connection *c)
{
    size_t n = 0;
    for (const struct exchange *x = c->first; x != NULL && x->answered; x = x->next)
        n += x->out.mem.len;
    return n;
}

/* Keeps account of what lies in memory for the peer. False: that is too much in all, and the connection is gone. */
static bool account_unsent(struct connection *c)
{
    struct net_server *s = c->owner->server;
    size_t now = unsent_memory(c);
    int64_t all = atomic_fetch_add(&s->unsent_bytes, (int64_t)now - (int64_t)c->unsent) + (int64_t)(now - c->unsent);
    bool more = now > c->unsent;
    c->unsent = now;
    if (!more || all <= MOST_UNSENT_BYTES || now < LARGE_UNSENT_BYTES)
        return true;
    close_with_reason(c, "too much memory is taken by answers that nobody reads");
    return false;
}

void exchange_answer(struct exchange *x, struct outgoing *out)
{
    struct connection *c = x->conn;
    ensure(loop_current() == c->owner->loop && !x->answered && x->abandoned == NULL);
    x->answered = true;
    x->out = *out;
    *out = (struct outgoing){0};
    connection_request_free(x);
    if (!c->closed) {
        if (!c->reading)
            connection_progress(c);
        return;
    }
    struct exchange **link = &c->first;
    while (*link != x)
        link = &(*link)->next;
    *link = x->next;
    if (x->next == NULL)
        c->last = link;
    c->open--;
    exchange_free(x);
}

void exchange_finish(struct exchange *x)
{
    ensure(loop_is_mine(x->conn->owner->loop));
    struct outgoing nothing = {0};
    x->silent = true;
    exchange_answer(x, &nothing);
}

void exchange_abort(struct exchange *x, const char *why)
{
    ensure(loop_is_mine(x->conn->owner->loop));
    x->abandoned = NULL;
    close_with_reason(x->conn, why);
    exchange_finish(x);
}

void exchange_park(struct exchange *x)
{
    ensure(loop_is_mine(x->conn->owner->loop));
    if (x->parked)
        return;
    x->parked = true;
    atomic_fetch_sub(&x->conn->owner->server->open_exchanges, 1);
}

void exchange_hold(struct exchange *x)
{
    ensure(!x->conn->held);
    x->conn->held = true;
}

void exchange_release(struct exchange *x)
{
    struct connection *c = x->conn;
    ensure(loop_current() == c->owner->loop && c->held);
    c->held = false;
    if (!c->closed && !c->reading)
        connection_progress(c);
}

bool exchange_is_orphan(const struct exchange *x)
{
    return x->conn->closed;
}

struct loop *exchange_loop(const struct exchange *x)
{
    return x->conn->owner->loop;
}

/* ---- Requests ---- */

static bool may_start(const struct connection *c, const uint8_t *frame, int32_t len, bool *overlap)
{
    const struct net_server *s = c->owner->server;
    *overlap = s->handler.may_overlap(s->handler.ctx, frame, len);
    return c->open == 0 || (c->overlapping && *overlap && !c->held && c->open < MAX_OVERLAP);
}

static void start_exchange(struct connection *c, uint8_t *frame, int32_t len, bool overlap)
{
    struct net_server *s = c->owner->server;
    struct exchange *x = xcalloc(1, sizeof(*x));
    x->conn = c;
    x->frame = frame;
    x->frame_len = len;
    x->received_us = clock_mono_us();
    /* A request may unfold to a few times its size, not to whatever it claims. */
    arena_init(&x->arena, MIN((size_t)len * 16 + (1 << 20), (size_t)MOST_UNFOLDED_BYTES));
    c->overlapping = overlap;
    c->refs++;
    c->open++;
    *c->last = x;
    c->last = &x->next;
    atomic_fetch_add(&s->open_exchanges, 1);
    atomic_fetch_add(&s->live_exchanges, 1);
    atomic_fetch_add(&s->live_bytes, len);
    s->handler.serve(s->handler.ctx, x);
}

/* Starts the frame that is complete; false if it has to wait for those before it. */
static bool take_frame(struct connection *c)
{
    bool overlap;
    if (!may_start(c, c->frame, c->frame_len, &overlap))
        return false;
    uint8_t *frame = c->frame;
    c->frame = NULL;
    start_exchange(c, frame, c->frame_len, overlap);
    return true;
}

static bool begin_frame(struct connection *c, const uint8_t *length)
{
    int32_t len = (int32_t)be32_get(length), limit = c->owner->server->config->socket_request_max_bytes;
    if (len < 0 || len > limit) {
        char why[96];
        snprintf(why, sizeof(why), "invalid receive (size = %" PRId32 " larger than %" PRId32 ")", len, limit);
        close_with_reason(c, len < 0 ? "invalid receive (negative size)" : why);
        return false;
    }
    c->frame = xmalloc((size_t)MAX(len, 1));
    c->frame_len = len;
    c->frame_have = 0;
    return true;
}

/* Eats bytes that were read. Returns how many; the rest waits for its turn. */
static int32_t eat(struct connection *c, const uint8_t *p, int32_t len)
{
    int32_t at = 0;
    while (!c->closed) {
        if (c->frame != NULL && c->frame_have == c->frame_len) {
            if (!take_frame(c))
                return at;
            continue;
        }
        if (c->frame == NULL) {
            if (len - at < LENGTH_SIZE)
                return at;
            if (begin_frame(c, p + at))
                at += LENGTH_SIZE;
            continue;
        }
        int32_t n = MIN(len - at, c->frame_len - c->frame_have);
        if (n == 0)
            return at;
        memcpy(c->frame + c->frame_have, p + at, (size_t)n);
        c->frame_have += n;
        at += n;
    }
    return at;
}

static void keep_rest(struct connection *c, const uint8_t *p, int32_t len)
{
    uint8_t *old = c->rest;
    c->rest = NULL;
    c->rest_len = 0;
    if (len > 0 && !c->closed) {
        c->rest = xmalloc((size_t)len);
        memcpy(c->rest, p, (size_t)len);
        c->rest_len = len;
    }
    free(old);
}

/* A complete frame that may not start yet: nothing more is read. */
static bool is_stalled(const struct connection *c)
{
    return c->frame != NULL && c->frame_have == c->frame_len;
}

static bool is_overloaded(const struct net_server *s)
{
    int64_t most = s->config->queued_max_request_bytes;
    return atomic_load_explicit(&s->open_exchanges, memory_order_relaxed) >= s->config->queued_max_requests ||
           (most > 0 && atomic_load_explicit(&s->live_bytes, memory_order_relaxed) >= most);
}

static void pause_reading(struct connection *c)
{
    c->paused = true;
    watch_set(&c->watch, c->watch.events & ~WATCH_READ);
    if (!timer_is_running(&c->owner->resume_timer))
        timer_start(&c->owner->resume_timer, RESUME_MS);
}

static bool wants_more(const struct connection *c)
{
    return !c->closed && !c->paused && !is_stalled(c) && c->rest_len < SCRATCH_SIZE / 2;
}

/* What was read and not used yet, then what comes now: from the start of the scratch on. */
static ssize_t read_frames(struct connection *c, bool *filled)
{
    uint8_t *scratch = c->owner->scratch;
    int32_t have = c->rest_len;
    if (have > 0)
        memcpy(scratch, c->rest, (size_t)have);
    ssize_t n = recv(c->fd, scratch + have, (size_t)(SCRATCH_SIZE - have), MSG_DONTWAIT);
    if (n <= 0)
        return n;
    *filled = n == SCRATCH_SIZE - have;
    keep_rest(c, NULL, 0);
    int32_t len = have + (int32_t)n, eaten = eat(c, scratch, len);
    keep_rest(c, scratch + eaten, len - eaten);
    return n;
}

/* The body of a frame goes straight to its place, what follows to the scratch. */
static ssize_t read_body(struct connection *c, bool *filled)
{
    uint8_t *scratch = c->owner->scratch;
    int32_t wanted = c->frame_len - c->frame_have;
    struct iovec io[] = {{c->frame + c->frame_have, (size_t)wanted}, {scratch, SCRATCH_SIZE}};
    struct msghdr message = {.msg_iov = io, .msg_iovlen = ARRAY_LEN(io)};
    ssize_t n = recvmsg(c->fd, &message, MSG_DONTWAIT);
    if (n <= 0)
        return n;
    *filled = n == wanted + SCRATCH_SIZE;
    c->frame_have += (int32_t)MIN(n, (ssize_t)wanted);
    int32_t more = (int32_t)MAX(n - wanted, (ssize_t)0), eaten = eat(c, scratch, more);
    keep_rest(c, scratch + eaten, more - eaten);
    return n;
}

static void read_requests(struct connection *c)
{
    bool filled = true;
    c->reading = true;
    for (int i = 0; i < MOST_READS && filled && wants_more(c); i++) {
        bool in_body = c->frame != NULL && c->rest_len == 0;
        filled = false;
        ssize_t n = in_body ? read_body(c, &filled) : read_frames(c, &filled);
        if (n > 0)
            touch(c);
        else if (n == 0 || (errno != EAGAIN && errno != EINTR))
            close_connection(c);
    }
    c->reading = false;
}

static void update_watch(struct connection *c)
{
    int events = 0;
    if (wants_more(c))
        events |= WATCH_READ;
    if (c->first != NULL && c->first->answered && c->warming == NULL)
        events |= WATCH_WRITE;
    watch_set(&c->watch, events);
}

/* Starts what was read already and had to wait. False if it still has to. */
static bool eat_rest(struct connection *c)
{
    bool was_stalled = is_stalled(c);
    uint8_t *rest = c->rest;
    int32_t len = c->rest_len;
    c->rest = NULL;
    c->rest_len = 0;
    c->reading = true;
    int32_t eaten = eat(c, rest, len);
    c->reading = false;
    keep_rest(c, rest + eaten, len - eaten);
    free(rest);
    return eaten > 0 || (was_stalled && !is_stalled(c));
}

/* After anything has changed: send, start what was waiting, wait for what comes next. */
static void connection_progress(struct connection *c)
{
    bool going = true;
    c->refs++;
    while (going && send_answers(c) && !c->closed)
        going = (is_stalled(c) || c->rest_len > 0) && eat_rest(c);
    if (!c->closed && account_unsent(c))
        update_watch(c);
    unref(c);
}

static void connection_on_ready(struct watch *w, int events)
{
    struct connection *c = CONTAINER_OF(w, struct connection, watch);
    c->refs++;
    if (events & WATCH_READ && is_overloaded(c->owner->server))
        pause_reading(c);
    else if (events & WATCH_READ && !is_stalled(c))
        read_requests(c);
    if (!c->closed)
        connection_progress(c);
    unref(c);
}

void connections_resume(struct timer *t)
{
    struct net_loop *l = CONTAINER_OF(t, struct net_loop, resume_timer);
    struct connection *c;
    DL_FOREACH (l->connections, c) {
        if (!c->paused)
            continue;
        c->paused = false;
        update_watch(c);
    }
}

/* ---- Life ---- */

static void name_peer(struct connection *c)
{
    c->host[0] = '/';
    address_text(&c->addr, c->host + 1);
    snprintf(c->peer, sizeof(c->peer), "%s:%d", c->host + 1, address_port(&c->addr));
}

static void connection_set_options(struct connection *c)
{
    const struct broker_config *config = c->owner->server->config;
    int on = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(c->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    if (config->socket_send_buffer_bytes >= 0)
        setsockopt(c->fd, SOL_SOCKET, SO_SNDBUF, &config->socket_send_buffer_bytes, sizeof(int));
}

void connection_open(struct net_loop *l, const struct listener *listener, int fd, const struct sockaddr_storage *addr,
                     int64_t serial)
{
    struct connection *c = xcalloc(1, sizeof(*c));
    c->serial = serial;
    c->owner = l;
    c->listener = listener;
    c->fd = fd;
    c->refs = 1;
    c->last = &c->first;
    c->addr = *addr;
    c->last_active = clock_mono_ms();
    name_peer(c);
    connection_set_options(c);
    watch_init(&c->watch, l->loop, fd, connection_on_ready);
    DL_APPEND(l->connections, c);
    if (l->closing)
        close_connection(c);
    else
        update_watch(c);
}

void connections_close_all(struct net_loop *l)
{
    l->closing = true;
    while (l->connections != NULL)
        close_connection(l->connections);
}

/*
 * A connection that waits for its answer is not idle (KAFKA-3205 fared badly with another rule). One whose peer does
 * not take its answer is, unless that waits for our disk.
 */
static bool is_idle(const struct connection *c)
{
    return c->first == NULL || (c->first->answered && c->warming == NULL);
}

void connections_idle_check(struct timer *t)
{
    struct net_loop *l = CONTAINER_OF(t, struct net_loop, idle_timer);
    int64_t limit = l->server->config->connections_max_idle_ms, now = clock_mono_ms();
    struct connection *c, *tmp;
    DL_FOREACH_SAFE (l->connections, c, tmp) {
        if (limit < 0 || now - c->last_active < limit)
            break;
        if (!is_idle(c))
            continue;
        if (c->first != NULL)
            connection_complain(c, "it has not read its answer for connections.max.idle.ms");
        else
            log_debug("Closing connection from %s: idle for %" PRId64 " ms", c->peer, now - c->last_active);
        close_connection(c);
    }
    timer_start(t, 1000);
}

const struct listener *connection_listener(const struct connection *c)
{
    return c->listener;
}

const char *connection_peer(const struct connection *c)
{
    return c->peer;
}

int64_t connection_serial(const struct connection *c)
{
    return c->serial;
}

const char *connection_peer_host(const struct connection *c)
{
    return c->host;
}

void **connection_context(struct connection *c, void (*free_fn)(void *))
{
    c->context_free = free_fn;
    return &c->context;
}
