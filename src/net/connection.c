/*
 * One client's connection, on one network loop: frames in, one exchange for each.
 *
 *   reading   the socket is read until a frame is whole, a large one straight into its place; then it is an exchange.
 *             queued.max.request.bytes counts a frame from its first byte: when there is no room, those that are begun
 *             go on, and no other begins.
 *   serving   the server answers now or later. Unless the request may overlap with those before it, nothing more is
 *             read until it is answered. queued.max.requests counts exchanges in this state.
 *   sending   answers leave in order (answers.c). A peer that takes nothing for connections.max.idle.ms is closed.
 *
 * A frame that is malformed, too large or unknown closes the connection with a log line, once what came before it is
 * answered. When the connection ends while an exchange is served, that is orphaned: its owner is told, and its answer
 * goes nowhere.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <unistd.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/logger.h"
#include "net/connection_internal.h"

enum { LENGTH_SIZE = 4, MAX_OVERLAP = 32, RESUME_MS = 5, MOST_READS = 4, MOST_UNFOLDED_BYTES = 128 << 20 };

static struct log_limit closing_lines, failed_handshakes;

void connection_unref(struct connection *c)
{
    ensure(c->refs > 0);
    ensure(loop_is_mine(c->owner->loop));
    if (--c->refs > 0)
        return;
    ensure(c->closed && c->first == NULL);
    if (c->context_free != NULL)
        c->context_free(c->context);
    free(c);
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

/* Among others from now on; NULL: among none. */
static void connection_count_mute(struct connection *c, atomic_int *count)
{
    if (c->muted_in != NULL)
        atomic_fetch_sub(c->muted_in, 1);
    if (count != NULL)
        atomic_fetch_add(count, 1);
    c->muted_in = count;
}

static void connection_set_paused(struct connection *c, bool paused)
{
    if (c->paused == paused)
        return;
    c->paused = paused;
    if (paused)
        DL_APPEND2(c->owner->paused, c, paused_prev, paused_next);
    else
        DL_DELETE2(c->owner->paused, c, paused_prev, paused_next);
}

void connection_close(struct connection *c)
{
    if (c->closed)
        return;
    ensure(loop_is_mine(c->owner->loop) && c->refs > 0);
    c->closed = true;
    c->refs++;
    watch_set(&c->watch, WATCH_NONE);
    timer_stop(&c->again);
    timer_stop(&c->mute);
    connection_count_mute(c, NULL);
    handshake_abandon(c->handshake);
    transport_close(&c->transport);
    connection_set_paused(c, false);
    DL_DELETE(c->owner->connections, c);
    traffic_add(c->traffic, TRAFFIC_CLOSED, 1);
    connection_count_leave(c->owner, c->software);
    connection_count_leave(c->owner, c->cipher);
    c->software = c->cipher = NULL;
    if (c->frame != NULL)
        atomic_fetch_sub(&c->owner->server->live_bytes, c->frame_len);
    free(c->frame);
    free(c->rest);
    c->frame = c->rest = NULL;
    c->rest_len = 0;
    atomic_fetch_sub(&c->owner->server->unsent_bytes, (int64_t)c->unsent);
    c->unsent = 0;
    /* Open exchanges are still being served; their answers are dropped as they come. */
    for (struct exchange *x = c->first, *next; x != NULL; x = next) {
        next = x->next;
        if (x->answered)
            exchange_drop(x);
    }
    acceptors_release(c->owner->server, c->listener, &c->addr);
    tell_abandoned(c);
    connection_unref(c); /* the list's */
    connection_unref(c);
}

static void connection_complain(struct connection *c, const char *why)
{
    log_warn_limited(&closing_lines, "Closing connection from %s on listener %s: %s", c->peer, c->listener->name, why);
}

void connection_close_for(struct connection *c, const char *why)
{
    if (!c->closed)
        connection_complain(c, why);
    connection_close(c);
}

void connection_touch(struct connection *c, int64_t now_us)
{
    if (c->closed)
        return;
    int64_t now = now_us / 1000;
    if (now == c->last_active || c->next == NULL) {
        c->last_active = now; /* the last of the list stays the last */
        return;
    }
    c->last_active = now;
    DL_DELETE(c->owner->connections, c);
    DL_APPEND(c->owner->connections, c);
}

/* ---- Requests ---- */

static bool may_start(struct connection *c, const uint8_t *frame, int32_t len, bool *overlap)
{
    const struct net_server *s = c->owner->server;
    *overlap = s->handler.may_overlap(s->handler.ctx, c, frame, len);
    if (c->muted)
        return false;
    return c->open == 0 || (c->overlapping && *overlap && !c->held && c->open < MAX_OVERLAP);
}

static void start_exchange(struct connection *c, uint8_t *frame, int32_t len, bool overlap)
{
    struct net_server *s = c->owner->server;
    ensure(!c->closed && (c->open == 0 || (overlap && c->overlapping)));
    struct exchange *x = xcalloc(1, sizeof(*x));
    x->conn = c;
    x->frame = frame;
    x->frame_len = len;
    x->received_us = clock_mono_us();
    /* It was there when the loop woke up, unless another of its connection's has kept it from being read, or begun. */
    x->whole_us = c->fresh ? loop_turn_us() : x->received_us;
    c->fresh = false;
    /* A request may unfold to a few times its size, not to whatever it claims. */
    arena_init(&x->arena, MIN((size_t)len * 16 + (1 << 20), (size_t)MOST_UNFOLDED_BYTES));
    c->overlapping = overlap;
    c->refs++;
    c->open++;
    traffic_add(c->traffic, TRAFFIC_RECEIVED, 1);
    ensure(c->open <= MAX_OVERLAP);
    *c->last = x;
    c->last = &x->next;
    atomic_fetch_add(&s->open_exchanges, 1);
    atomic_fetch_add(&s->live_exchanges, 1);
    s->handler.serve(s->handler.ctx, x);
}

/* Starts the frame that is complete; false if it has to wait for those before it. */
static bool take_frame(struct connection *c)
{
    bool overlap;
    ensure(c->frame != NULL && c->frame_have == c->frame_len);
    if (!may_start(c, c->frame, c->frame_len, &overlap))
        return false;
    uint8_t *frame = c->frame;
    c->frame = NULL;
    start_exchange(c, frame, c->frame_len, overlap);
    return true;
}

/* Before the size of the first frame is looked at. */
static void begin_serving(struct connection *c)
{
    const struct net_handler *handler = &c->owner->server->handler;
    if (!c->begun && handler->begin != NULL)
        handler->begin(handler->ctx, c);
    c->begun = true;
}

static bool begin_frame(struct connection *c, const uint8_t *length)
{
    ensure(c->frame == NULL);
    begin_serving(c);
    int32_t len = (int32_t)be32_get(length), limit = c->largest_frame;
    if (len < 0 || len > limit) {
        char why[96];
        snprintf(why, sizeof(why), "invalid receive (size = %" PRId32 " larger than %" PRId32 ")", len, limit);
        connection_close_for(c, len < 0 ? "invalid receive (negative size)" : why);
        return false;
    }
    c->frame = xmalloc((size_t)MAX(len, 1));
    c->frame_len = len;
    c->frame_have = 0;
    atomic_fetch_add(&c->owner->server->live_bytes, len);
    return true;
}

static void pause_reading(struct connection *c)
{
    ensure(loop_is_mine(c->owner->loop) && !c->closed);
    connection_set_paused(c, true);
    watch_set(&c->watch, c->watch.events & ~WATCH_READ);
    if (!timer_is_running(&c->owner->resume_timer))
        timer_start(&c->owner->resume_timer, RESUME_MS);
}

static bool has_too_many_bytes(const struct net_server *s)
{
    int64_t most = s->config->queued_max_request_bytes;
    return most > 0 && atomic_load_explicit(&s->live_bytes, memory_order_relaxed) >= most;
}

/* Eats bytes that were read. Returns how many; the rest waits for its turn. */
static int32_t eat(struct connection *c, const uint8_t *p, int32_t len)
{
    int32_t at = 0;
    while (!c->closed && !c->ending) {
        if (c->frame != NULL && c->frame_have == c->frame_len) {
            if (!take_frame(c))
                return at;
            continue;
        }
        if (c->frame == NULL) {
            if (len - at < LENGTH_SIZE)
                return at;
            if (has_too_many_bytes(c->owner->server)) {
                pause_reading(c);
                return at;
            }
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
    ensure(len >= 0 && len <= SCRATCH_SIZE);
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

/* A frame that is begun is counted already: it goes on, or its bytes would never be given back. */
static bool has_to_pause(const struct connection *c)
{
    const struct net_server *s = c->owner->server;
    return atomic_load_explicit(&s->open_exchanges, memory_order_relaxed) >= s->config->queued_max_requests ||
           (c->frame == NULL && has_too_many_bytes(s));
}

/* Bytes are those of frames: hands were shaken, where that is asked for. */
static bool is_talking_frames(const struct connection *c)
{
    return c->transport.tls == NULL ? c->handshake == NULL : c->transport.shaken;
}

static bool wants_more(const struct connection *c)
{
    return !c->closed && !c->paused && !c->muted && !c->ending && !is_stalled(c) && c->rest_len < SCRATCH_SIZE / 2;
}

/* What was read and not used yet, then what comes now: from the start of the scratch on. */
static ssize_t read_frames(struct connection *c, bool *filled)
{
    uint8_t *scratch = c->owner->scratch;
    int32_t have = c->rest_len;
    ensure(have < SCRATCH_SIZE);
    if (have > 0)
        memcpy(scratch, c->rest, (size_t)have);
    struct iovec io = {scratch + have, (size_t)(SCRATCH_SIZE - have)};
    ssize_t n = transport_read(&c->transport, &io, 1);
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
    ensure(wanted > 0 && c->rest_len == 0);
    struct iovec io[] = {{c->frame + c->frame_have, (size_t)wanted}, {scratch, SCRATCH_SIZE}};
    ssize_t n = transport_read(&c->transport, io, ARRAY_LEN(io));
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
        c->fresh = true;
        ssize_t n = in_body ? read_body(c, &filled) : read_frames(c, &filled);
        c->fresh = false;
        traffic_add(c->traffic, TRAFFIC_BYTES_IN, MAX(n, (ssize_t)0));
        if (n > 0)
            connection_touch(c, loop_callback_us());
        else if (n == 0 || (errno != EAGAIN && errno != EINTR))
            connection_close(c);
    }
    c->reading = false;
}

static void update_watch(struct connection *c)
{
    ensure(!c->closed && is_talking_frames(c));
    int events = 0;
    if (wants_more(c))
        events |= WATCH_READ;
    if (wants_more(c) && c->transport.write_first)
        events |= WATCH_WRITE;
    if (wants_more(c) && c->transport.has_more)
        timer_start(&c->again, 0);
    if (c->first != NULL && c->first->answered && c->warming == NULL)
        events |= WATCH_WRITE;
    watch_set(&c->watch, events);
}

static void connection_count_transport(struct connection *c)
{
    const struct transport *t = &c->transport;
    if (c->closed)
        return;
    traffic_add(c->traffic, TRAFFIC_BYTES_OUT, t->written - c->counted_out);
    traffic_add(c->traffic, TRAFFIC_CALLS, t->calls - c->counted_calls);
    c->counted_out = t->written;
    c->counted_calls = t->calls;
}

/* Starts what was read already and had to wait. False if it still has to. */
static bool eat_rest(struct connection *c)
{
    bool was_stalled = is_stalled(c);
    ensure(!c->reading);
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

void connection_progress(struct connection *c)
{
    bool going = true;
    ensure(loop_is_mine(c->owner->loop) && !c->reading);
    c->refs++;
    while (going && connection_send_answers(c) && !c->closed)
        going = (is_stalled(c) || c->rest_len > 0) && eat_rest(c);
    connection_count_transport(c);
    if (!c->closed && c->ending && c->first == NULL)
        connection_close(c);
    if (!c->closed && connection_account_unsent(c))
        update_watch(c);
    connection_unref(c);
}

/* ---- Shaking hands ---- */

/* In Kafka's words, which those look for who ban addresses. */
static void note_failed_handshake(struct connection *c, const char *why)
{
    char id[128];
    connection_id(c, id, sizeof(id));
    log_info_limited(&failed_handshakes, "Failed authentication with %s (channelId=%s) (SSL handshake failed: %s)",
                     c->host, id, why);
    connection_note_login(c, NOTE_LOGIN_FAILED);
}

static void connection_on_shaken(void *ctx, const struct handshake_result *result)
{
    struct connection *c = ctx;
    c->handshake = NULL;
    ensure(!c->closed);
    switch (result->state) {
    case HANDSHAKE_DONE:
        traffic_add(c->traffic, c->transport.by_kernel ? TRAFFIC_TLS_BY_KERNEL : TRAFFIC_TLS_BY_BROKER, 1);
        connection_note_cipher(c);
        if (!security_protocol_has_sasl(c->listener->protocol))
            connection_note_login(c, NOTE_LOGIN_OK);
        connection_touch(c, loop_callback_us());
        update_watch(c);
        break;
    case HANDSHAKE_READ:
    case HANDSHAKE_WRITE:
        watch_set(&c->watch, result->state == HANDSHAKE_READ ? WATCH_READ : WATCH_WRITE);
        break;
    case HANDSHAKE_FAILED:
        note_failed_handshake(c, result->why.text);
        connection_close(c);
    }
}

static void connection_shake_hands(struct connection *c)
{
    struct net_server *s = c->owner->server;
    watch_set(&c->watch, WATCH_NONE);
    c->handshake = handshake_start(&c->transport, s->shakers, c->owner->loop, &s->handshakes, connection_on_shaken, c);
}

/* ---- Events ---- */

static void serve_peer(struct connection *c, bool may_read)
{
    c->refs++;
    if (may_read && has_to_pause(c))
        pause_reading(c);
    else if (may_read && !is_stalled(c))
        read_requests(c);
    if (!c->closed)
        connection_progress(c);
    connection_unref(c);
}

static void connection_on_ready(struct watch *w, int events)
{
    struct connection *c = CONTAINER_OF(w, struct connection, watch);
    if (is_talking_frames(c))
        serve_peer(c, events & WATCH_READ || (c->transport.write_first && wants_more(c)));
    else
        connection_shake_hands(c);
}

static void connection_on_again(struct timer *t)
{
    struct connection *c = CONTAINER_OF(t, struct connection, again);
    serve_peer(c, wants_more(c));
}

static void connection_on_mute_over(struct timer *t)
{
    struct connection *c = CONTAINER_OF(t, struct connection, mute);
    c->muted = false;
    connection_count_mute(c, NULL);
    connection_touch(c, loop_callback_us());
    connection_progress(c);
}

void exchange_mute(struct exchange *x, int32_t ms, atomic_int *count)
{
    struct connection *c = x->conn;
    int64_t until = clock_mono_ms() + ms;
    ensure(loop_is_mine(c->owner->loop) && ms >= 0);
    if (c->closed || (c->muted && until <= c->muted_until))
        return;
    c->muted = true;
    c->muted_until = until;
    connection_count_mute(c, count);
    timer_start(&c->mute, ms);
}

void connections_resume(struct timer *t)
{
    struct net_loop *l = CONTAINER_OF(t, struct net_loop, resume_timer);
    struct connection *c;
    int count = 0;
    DL_FOREACH2 (l->paused, c, paused_next)
        count++;
    while (count-- > 0 && (c = l->paused) != NULL) { /* who has to pause again is behind them */
        connection_set_paused(c, false);
        if (has_to_pause(c))
            pause_reading(c);
        else
            connection_progress(c); /* what was read already may begin a frame; only who was read from is paused */
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
    int on = 1, fd = c->transport.fd;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    if (config->socket_send_buffer_bytes >= 0)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &config->socket_send_buffer_bytes, sizeof(int));
}

void connection_open(struct net_loop *l, const struct listener *listener, int fd, struct ssl_st *tls,
                     const struct sockaddr_storage *addr, int64_t serial)
{
    ensure(loop_is_mine(l->loop));
    struct connection *c = xcalloc(1, sizeof(*c));
    c->serial = serial;
    c->owner = l;
    c->listener = listener;
    c->traffic = &l->traffic[listener - l->server->config->listeners.items];
    c->software = software_unknown(l, (int)(listener - l->server->config->listeners.items));
    traffic_add(c->traffic, TRAFFIC_OPENED, 1);
    c->refs = 1;
    c->largest_frame = l->server->config->socket_request_max_bytes;
    c->last = &c->first;
    c->addr = *addr;
    c->last_active = clock_mono_ms();
    transport_open(&c->transport, fd, tls);
    name_peer(c);
    connection_set_options(c);
    watch_init(&c->watch, l->loop, fd, connection_on_ready);
    timer_init(&c->again, l->loop, connection_on_again);
    timer_init(&c->mute, l->loop, connection_on_mute_over);
    DL_APPEND(l->connections, c);
    if (l->closing)
        connection_close(c);
    else if (is_talking_frames(c))
        update_watch(c);
    else
        watch_set(&c->watch, WATCH_READ);
}

void connections_close_all(struct net_loop *l)
{
    ensure(loop_is_mine(l->loop));
    l->closing = true;
    while (l->connections != NULL)
        connection_close(l->connections);
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
        connection_close(c);
    }
    timer_start(t, 1000);
}

static struct connection *find_unused(struct net_loop *l, const struct listener *spared)
{
    struct connection *c, *busy = NULL;
    ensure(loop_is_mine(l->loop));
    DL_FOREACH (l->connections, c) {
        if (c->listener == spared)
            continue;
        if (is_idle(c))
            return c;
        busy = busy != NULL ? busy : c;
    }
    return busy;
}

bool connections_last_use(struct net_loop *l, const struct listener *spared, struct last_use *out)
{
    const struct connection *c = find_unused(l, spared);
    if (c != NULL)
        *out = (struct last_use){is_idle(c), c->last_active};
    return c != NULL;
}

void connections_close_unused(struct net_loop *l, const struct listener *spared)
{
    struct connection *c = find_unused(l, spared);
    if (c == NULL)
        return;
    log_info_limited(&closing_lines,
                     "Closing connection from %s on listener %s: it is needed least, and there are more than "
                     "max.connections=%d",
                     c->peer, c->listener->name, atomic_load(&l->server->max_connections));
    connection_close(c);
}

struct ssl_st *connection_tls(const struct connection *c)
{
    ensure(loop_is_mine(c->owner->loop));
    return c->transport.tls;
}

void connection_limit_frames(struct connection *c, int32_t most)
{
    ensure(loop_is_mine(c->owner->loop));
    c->largest_frame = most;
}

const struct listener *connection_listener(const struct connection *c)
{
    return c->listener;
}

const char *connection_peer(const struct connection *c)
{
    return c->peer;
}

void connection_id(const struct connection *c, char *out, size_t size)
{
    char host[NI_MAXHOST] = "", port[NI_MAXSERV] = "";
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);
    if (c->closed || getsockname(c->transport.fd, (struct sockaddr *)(void *)&address, &len) != 0 ||
        getnameinfo((struct sockaddr *)(void *)&address, len, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        host[0] = port[0] = '\0';
    snprintf(out, size, "%s:%s-%s-%" PRId64, host, port, c->peer, c->serial);
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
