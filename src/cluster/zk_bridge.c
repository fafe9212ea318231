#include "cluster/zk_bridge_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "base/chance.h"
#include "base/clock.h"
#include "base/logger.h"
#include "cluster/zk_frames_internal.h"
#include "cluster/zk_login_internal.h"
#include "cluster/zk_servers_internal.h"
#include "net/addresses.h"
#include "net/transport.h"

enum {
    PIECE = 64 << 10,
    MOST_WAITING = 4 << 20, /* for the other side to take it */
    LARGEST_FRAME = 1 << 30,
    WATCHES_TOGETHER = 128 << 10,
    LEAST_PATIENCE_MS = 300,
    LAST_WORDS_MS = 1000,
};

/* One side's connection: the library's is near, the server's is far. */
struct side {
    struct zk_bridge *bridge;
    struct transport line;
    struct watch watch;
    struct strbuf in;  /* a frame that is not there as a whole */
    struct strbuf out; /* to be sent */
    size_t out_at;
    bool greeted; /* its first frame has come, the handshake: it has no header */
};

/* Whose turn it is to say something, while the broker logs in on the far side's connection. */
enum login_stage { LOGIN_NONE, LOGIN_OURS, LOGIN_THEIRS };

struct zk_bridge {
    struct loop *loop;
    struct workers *resolvers;
    struct zk_protection *protection; /* with a reference; NULL: none */
    void (*refused)(void *ctx, const struct fail *why);
    void *ctx;
    struct zk_server *servers;
    int count, next, tried; /* next: to be tried; tried: for this connection of the library's */
    int64_t patience_ms;    /* with one address */
    int listen_fd, expected_port;
    struct watch listen;
    struct side near, far;
    bool carrying; /* the far side is connected, and hands are shaken */
    bool shakes;   /* it is connected, and shakes hands */
    struct handshake *handshake;
    struct zk_login *login; /* NULL: nobody logs in */
    enum login_stage stage;
    struct strbuf greeting; /* the server's, which the library gets when the login is done */
    struct fail trouble;    /* why the last server did not serve; empty: none is known */
    struct fail refusal;    /* why a login was refused, while `refused` is to be called */
    bool server_gone;       /* what it has said is still to be taken */
    struct lookup *lookup;
    struct addresses addresses;
    size_t next_address;
    struct timer patience;
    int64_t answers;
};

static void connect_further(struct zk_bridge *b);

/* ---- The two connections ---- */

static void side_close(struct side *s)
{
    if (s->line.fd >= 0)
        watch_set(&s->watch, WATCH_NONE);
    transport_close(&s->line);
    s->greeted = false;
    strbuf_deinit(&s->in);
    strbuf_deinit(&s->out);
    s->out_at = 0;
}

/* Each attempt would say it again, ten times a second: once is enough for the same. */
static void note_trouble(struct zk_bridge *b, const struct fail *why)
{
    if (strcmp(b->trouble.text, why->text) != 0)
        log_warn("%s", why->text);
    b->trouble = *why;
}

/* The library has waited long enough for the greeting, while the login was at others than ZooKeeper. */
static void note_held_up(struct zk_bridge *b)
{
    struct fail why;
    fail_set(&why, "Logging in to ZooKeeper as %s takes too long: a KDC or a name service does not answer",
             b->protection->who);
    note_trouble(b, &why);
}

static void drop_far(struct zk_bridge *b)
{
    timer_stop(&b->patience);
    lookup_abandon(b->lookup);
    b->lookup = NULL;
    addresses_clear(&b->addresses);
    b->next_address = 0;
    b->carrying = b->server_gone = b->shakes = false;
    handshake_abandon(b->handshake);
    b->handshake = NULL;
    zk_login_stop(b->login);
    b->stage = LOGIN_NONE;
    strbuf_deinit(&b->greeting);
    side_close(&b->far);
}

static void drop_both(struct zk_bridge *b)
{
    drop_far(b);
    side_close(&b->near);
}

static size_t waiting(const struct side *s)
{
    return s->out.len - s->out_at;
}

static const struct zk_server *server_of(const struct zk_bridge *b)
{
    return &b->servers[(b->next + b->count - 1) % b->count];
}

static struct side *other_of(struct side *s)
{
    return s == &s->bridge->near ? &s->bridge->far : &s->bridge->near;
}

/* A side is read from as long as the other one takes what comes. */
static void watch_side(struct side *s)
{
    bool reads = waiting(other_of(s)) < MOST_WAITING && !(s == &s->bridge->far && s->bridge->server_gone);
    if (s->line.fd >= 0)
        watch_set(&s->watch, (reads ? WATCH_READ : 0) | (waiting(s) > 0 || s->line.write_first ? WATCH_WRITE : 0));
}

static void watch_sides(struct zk_bridge *b)
{
    watch_side(&b->near);
    if (b->carrying)
        watch_side(&b->far);
}

static bool flush_side(struct side *s)
{
    while (waiting(s) > 0) {
        struct iovec io = {s->out.p + s->out_at, waiting(s)};
        ssize_t n = transport_write(&s->line, &io, 1, false);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return true;
        if (n < 0)
            return false;
        s->out_at += (size_t)n;
    }
    strbuf_clear(&s->out);
    s->out_at = 0;
    return true;
}

/* ---- Logging in ---- */

/*
 * With the first frame from the server the session is there, and the library would send requests in it. It gets the
 * frame when the server knows who they come from:
 *
 *     server  its greeting, which is kept
 *     bridge  a token; the server's one; and so on, each in a frame of kind SASL, until both are content
 *     then the greeting goes to the library
 */
enum { SASL_XID = 1, SASL_KIND = 102 };

static void login_send(struct zk_bridge *b, struct str token)
{
    struct strbuf *out = &b->far.out;
    zk_frame_add_int(out, 4 + 4 + 4 + token.len);
    zk_frame_add_int(out, SASL_XID);
    zk_frame_add_int(out, SASL_KIND);
    zk_frame_add_int(out, token.len);
    strbuf_add(out, token.p, (size_t)token.len);
}

static bool login_refuse(struct zk_bridge *b, const char *why)
{
    fail_set(&b->refusal, "ZooKeeper's server %s:%d does not let %s in: %s", server_of(b)->host, server_of(b)->port,
             b->protection->who, why);
    return false;
}

/* What it does not say more of. */
static const char *usual_reason(const struct zk_bridge *b)
{
    return b->protection->tickets.kerberos != NULL ? "it does not take this ticket, or knows no tickets"
                                                   : "user or password are wrong, or it knows no passwords";
}

/* xid, zxid, error, token. */
static bool login_advance(struct zk_bridge *b, struct bytes frame)
{
    enum { ERROR_AT = ZK_FRAME_HEAD + 4 + 8, TOKEN_AT = ERROR_AT + 4 };
    struct bytes rest = {frame.p + TOKEN_AT, frame.len - TOKEN_AT};
    int32_t len = -1;
    if (b->stage == LOGIN_OURS || frame.len < TOKEN_AT || (int32_t)be32_get(frame.p + ZK_FRAME_HEAD) != SASL_XID)
        return login_refuse(b, "its answer is malformed");
    if (be32_get(frame.p + ERROR_AT) != 0)
        return login_refuse(b, usual_reason(b));
    if (rest.len > 0 && (!zk_frame_take_int(&rest, &len) || len > rest.len))
        return login_refuse(b, "its answer is malformed");
    b->stage = LOGIN_OURS;
    zk_login_answer(b->login, len >= 0 ? (struct bytes){rest.p, len} : (struct bytes){0});
    return true;
}

/* Of a session that has expired, which is all that the server says, the time-out is 0. */
static bool greets_session(struct bytes greeting)
{
    enum { TIMEOUT_AT = ZK_FRAME_HEAD + 4 };
    return greeting.len >= TIMEOUT_AT + 4 && (int32_t)be32_get(greeting.p + TIMEOUT_AT) > 0;
}

/* Whether the frame was one for the bridge itself; `ok` is false when the connection has to end. */
static bool login_takes(struct zk_bridge *b, struct bytes frame, bool *ok)
{
    if (b->stage != LOGIN_NONE) {
        *ok = login_advance(b, frame);
        return true;
    }
    if (b->far.greeted || b->login == NULL || !greets_session(frame))
        return false;
    strbuf_add(&b->greeting, frame.p, (size_t)frame.len);
    b->stage = LOGIN_OURS;
    zk_login_begin(b->login, server_of(b)->host, &b->addresses.items[b->next_address - 1]);
    return true;
}

/* ---- Carrying ---- */

static bool bridge_carry(struct side *from, struct bytes frame)
{
    struct zk_bridge *b = from->bridge;
    struct side *to = other_of(from);
    bool is_far = from == &b->far, ok = true;
    if (is_far && login_takes(b, frame, &ok)) {
        from->greeted = true;
        return ok;
    }
    if (is_far) {
        b->answers += from->greeted;
        b->trouble.text[0] = '\0';
    }
    if (is_far || !from->greeted || !zk_watches_cut(frame, WATCHES_TOGETHER, &to->out))
        strbuf_add(&to->out, frame.p, (size_t)frame.len);
    from->greeted = true;
    return true;
}

/* False if what comes are no frames, or the server lets nobody in. */
static bool carry_whole(struct side *from)
{
    size_t at = 0;
    while (from->in.len - at >= ZK_FRAME_HEAD) {
        int64_t len = (int32_t)be32_get(from->in.p + at);
        if (len < 0 || len > LARGEST_FRAME)
            return false;
        if ((int64_t)(from->in.len - at) < ZK_FRAME_HEAD + len)
            break;
        if (!bridge_carry(from, (struct bytes){(const uint8_t *)from->in.p + at, (int32_t)(ZK_FRAME_HEAD + len)}))
            return false;
        at += (size_t)(ZK_FRAME_HEAD + len);
    }
    if (at > 0)
        memmove(from->in.p, from->in.p + at, from->in.len - at);
    from->in.len -= at;
    return true;
}

/* 1: it has given something; 0: nothing for now; -1: its end. */
static int read_side(struct side *s)
{
    size_t before = s->in.len;
    struct iovec io = {strbuf_extend(&s->in, PIECE), PIECE};
    ssize_t n = transport_read(&s->line, &io, 1);
    s->in.len = before + (size_t)MAX(n, (ssize_t)0);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    return n > 0 && carry_whole(s) ? 1 : -1;
}

/* All that TLS has decrypted, too, of which the socket would not tell. */
static int read_far(struct zk_bridge *b)
{
    int rc;
    do
        rc = read_side(&b->far);
    while (rc > 0 && b->far.line.has_more);
    return rc;
}

/* The server's connection is over: the library is told what was said before. */
static void server_has_gone(struct zk_bridge *b)
{
    b->server_gone = true;
    watch_set(&b->far.watch, WATCH_NONE);
    if (!flush_side(&b->near) || waiting(&b->near) == 0)
        drop_both(b);
    else
        watch_side(&b->near);
}

/* ---- Connecting to a server ---- */

static void set_no_delay(int fd)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

/* At the end of what a callback does, as who is told may close the session. */
static void tell_refusal(struct zk_bridge *b)
{
    struct fail why = b->refusal;
    if (why.text[0] == '\0')
        return;
    b->refusal.text[0] = '\0';
    note_trouble(b, &why);
    if (b->refused != NULL)
        b->refused(b->ctx, &why);
}

static void exchange_far(struct zk_bridge *b, int events)
{
    bool reads = (events & WATCH_READ) || b->far.line.write_first;
    if (!flush_side(&b->far) || (reads && read_far(b) < 0)) {
        server_has_gone(b);
        return;
    }
    if (!flush_side(&b->near) || !flush_side(&b->far)) {
        drop_both(b);
        return;
    }
    watch_sides(b);
}

static void on_login_turn(void *ctx, const struct zk_login_turn *turn)
{
    struct zk_bridge *b = ctx;
    if (turn->state == ZK_LOGIN_REFUSED) {
        login_refuse(b, turn->why.text);
        server_has_gone(b);
    } else if (turn->state == ZK_LOGIN_SAYS) {
        b->stage = LOGIN_THEIRS;
        login_send(b, turn->token);
        exchange_far(b, 0);
    } else {
        b->stage = LOGIN_NONE;
        strbuf_add(&b->near.out, b->greeting.p, b->greeting.len);
        strbuf_deinit(&b->greeting);
        exchange_far(b, 0);
    }
    tell_refusal(b);
}

static void begin_carrying(struct zk_bridge *b)
{
    timer_stop(&b->patience);
    b->shakes = false;
    b->carrying = true;
    exchange_far(b, WATCH_READ);
    tell_refusal(b);
}

static void on_shaken(void *ctx, const struct handshake_result *result)
{
    struct zk_bridge *b = ctx;
    b->handshake = NULL;
    if (result->state == HANDSHAKE_DONE) {
        begin_carrying(b);
    } else if (result->state == HANDSHAKE_FAILED) {
        struct fail why;
        fail_set(&why, "ZooKeeper's server %s:%d and this broker do not agree on TLS: %s", server_of(b)->host,
                 server_of(b)->port, result->why.text);
        note_trouble(b, &why);
        connect_further(b);
    } else {
        watch_set(&b->far.watch, result->state == HANDSHAKE_READ ? WATCH_READ : WATCH_WRITE);
    }
}

static void shake_on(struct zk_bridge *b)
{
    watch_set(&b->far.watch, WATCH_NONE);
    b->shakes = true;
    b->handshake = handshake_start(&b->far.line, b->resolvers, b->loop, NULL, on_shaken, b);
}

static bool has_connected(const struct side *s)
{
    int error = 0;
    socklen_t len = sizeof(error);
    return getsockopt(s->line.fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0;
}

static void on_far_ready(struct watch *w, int events)
{
    struct side *s = CONTAINER_OF(w, struct side, watch);
    struct zk_bridge *b = s->bridge;
    if (b->carrying) {
        exchange_far(b, events);
        tell_refusal(b);
    } else if (!b->shakes && !has_connected(s)) {
        connect_further(b);
    } else if (s->line.tls != NULL) {
        shake_on(b);
    } else {
        begin_carrying(b);
    }
}

static bool bridge_connect_to(struct zk_bridge *b, const struct sockaddr_storage *address)
{
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    set_no_delay(fd);
    if (connect(fd, (const struct sockaddr *)address, address_len(address)) != 0 && errno != EINPROGRESS) {
        close(fd);
        return false;
    }
    struct tls_context *tls = b->protection != NULL ? b->protection->tls : NULL;
    transport_open(&b->far.line, fd, tls != NULL ? tls_open(tls, server_of(b)->host) : NULL);
    watch_init(&b->far.watch, b->loop, fd, on_far_ready);
    watch_set(&b->far.watch, WATCH_WRITE);
    timer_start(&b->patience, b->patience_ms);
    return true;
}

static bool connect_next_address(struct zk_bridge *b)
{
    while (b->next_address < b->addresses.count)
        if (bridge_connect_to(b, &b->addresses.items[b->next_address++]))
            return true;
    return false;
}

static void on_addresses(void *ctx, struct addresses *found)
{
    struct zk_bridge *b = ctx;
    b->lookup = NULL;
    b->addresses = *found;
    *found = (struct addresses){0};
    connect_further(b);
}

/* Whether an address of the next server is being tried, or asked for. */
static bool begin_next_server(struct zk_bridge *b)
{
    const struct zk_server *s = &b->servers[b->next];
    b->next = (b->next + 1) % b->count;
    b->tried++;
    addresses_clear(&b->addresses);
    b->next_address = 0;
    if (addresses_find(&b->addresses, s->host, s->port, b->resolvers != NULL) || b->resolvers == NULL)
        return connect_next_address(b);
    b->lookup = lookup_start(b->loop, b->resolvers, s->host, s->port, on_addresses, b);
    timer_start(&b->patience, b->patience_ms);
    return true;
}

/* To the next address, or the next server; when all were tried, the library is told by hanging up. */
static void connect_further(struct zk_bridge *b)
{
    timer_stop(&b->patience);
    handshake_abandon(b->handshake);
    b->handshake = NULL;
    b->shakes = false;
    if (b->far.line.fd >= 0)
        watch_set(&b->far.watch, WATCH_NONE);
    transport_close(&b->far.line);
    if (connect_next_address(b))
        return;
    while (b->tried < b->count)
        if (begin_next_server(b))
            return;
    drop_both(b);
}

static void on_patience_over(struct timer *t)
{
    struct zk_bridge *b = CONTAINER_OF(t, struct zk_bridge, patience);
    log_debug("ZooKeeper's server %s:%d cannot be reached: it takes too long", server_of(b)->host, server_of(b)->port);
    lookup_abandon(b->lookup);
    b->lookup = NULL;
    connect_further(b);
}

/* ---- The library ---- */

static void send_last_words(struct zk_bridge *b)
{
    int64_t end = clock_mono_ms() + LAST_WORDS_MS, left;
    while (b->carrying && !b->server_gone && flush_side(&b->far) && waiting(&b->far) > 0 &&
           (left = end - clock_mono_ms()) > 0)
        poll(&(struct pollfd){.fd = b->far.line.fd, .events = POLLOUT}, 1, (int)left);
}

static void on_near_ready(struct watch *w, int events)
{
    struct side *s = CONTAINER_OF(w, struct side, watch);
    struct zk_bridge *b = s->bridge;
    if (!flush_side(s) || (b->server_gone && waiting(s) == 0)) {
        drop_both(b);
        return;
    }
    if ((events & WATCH_READ) && read_side(s) < 0) {
        if (b->stage == LOGIN_OURS)
            note_held_up(b);
        send_last_words(b);
        drop_both(b);
        return;
    }
    if (b->carrying && !b->server_gone && !flush_side(&b->far)) {
        server_has_gone(b);
        return;
    }
    watch_sides(b);
}

static bool is_expected(const struct zk_bridge *b, const struct sockaddr_in *peer)
{
    return b->expected_port > 0 && ntohs(peer->sin_port) == b->expected_port &&
           peer->sin_addr.s_addr == htonl(INADDR_LOOPBACK);
}

static void bridge_on_incoming(struct watch *w, int events UNUSED)
{
    struct zk_bridge *b = CONTAINER_OF(w, struct zk_bridge, listen);
    struct sockaddr_in peer = {0};
    socklen_t len = sizeof(peer);
    int fd = accept4(b->listen_fd, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    if (!is_expected(b, &peer)) {
        log_warn(
            "A connection to the internal ZooKeeper port on 127.0.0.1 did not come from this broker, and was closed");
        close(fd);
        return;
    }
    drop_both(b);
    set_no_delay(fd);
    transport_open(&b->near.line, fd, NULL);
    watch_init(&b->near.watch, b->loop, fd, on_near_ready);
    watch_set(&b->near.watch, WATCH_READ);
    b->tried = 0;
    connect_further(b);
}

void zk_bridge_expect(struct zk_bridge *b, int fd)
{
    struct sockaddr_in own = {0};
    socklen_t len = sizeof(own);
    bool ok = fd >= 0 && getsockname(fd, (struct sockaddr *)&own, &len) == 0 && own.sin_family == AF_INET;
    b->expected_port = ok ? ntohs(own.sin_port) : 0;
}

/* The session is over, and its ephemeral nodes are gone, when the server has hung up. */
static void await_hang_up(struct zk_bridge *b)
{
    int64_t end = clock_mono_ms() + LAST_WORDS_MS, left;
    char unread[4096];
    while (b->carrying && !b->server_gone && (left = end - clock_mono_ms()) > 0) {
        ssize_t n = transport_read(&b->far.line, &(struct iovec){unread, sizeof(unread)}, 1);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return;
        if (n < 0)
            poll(&(struct pollfd){.fd = b->far.line.fd, .events = POLLIN}, 1, (int)left);
    }
}

void zk_bridge_say_end(struct zk_bridge *b)
{
    if (b->near.line.fd >= 0)
        shutdown(b->near.line.fd, SHUT_WR);
}

void zk_bridge_finish(struct zk_bridge *b, bool session_ends)
{
    int more = 1;
    while (b->near.line.fd >= 0 && more > 0)
        more = read_side(&b->near);
    send_last_words(b);
    if (session_ends)
        await_hang_up(b);
    drop_both(b);
}

/* ---- Life ---- */

static bool listen_here(struct zk_bridge *b)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    enum { BACKLOG = 16 };
    return bind(b->listen_fd, (const struct sockaddr *)&here, sizeof(here)) == 0 && listen(b->listen_fd, BACKLOG) == 0;
}

bool zk_bridge_open(struct zk_bridge *b, int *port, struct fail *fail)
{
    struct sockaddr_in here = {0};
    socklen_t len = sizeof(here);
    if (b->listen_fd < 0) {
        b->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (b->listen_fd < 0 || !listen_here(b)) {
            fail_set(fail, "no socket on 127.0.0.1: %s", strerror(errno));
            if (b->listen_fd >= 0)
                close(b->listen_fd);
            b->listen_fd = -1;
            return false;
        }
        watch_init(&b->listen, b->loop, b->listen_fd, bridge_on_incoming);
        watch_set(&b->listen, WATCH_READ);
    }
    int rc = getsockname(b->listen_fd, (struct sockaddr *)&here, &len);
    ensure(rc == 0);
    *port = ntohs(here.sin_port);
    return true;
}

struct zk_bridge *zk_bridge_new(const struct zk_options *options, const char *hosts)
{
    struct zk_bridge *b = xcalloc(1, sizeof(*b));
    b->loop = options->loop;
    b->resolvers = options->resolvers;
    b->protection = zk_protection_ref(options->protection);
    if (b->protection != NULL && b->protection->who != NULL)
        b->login = zk_login_new(b->protection, b->loop, b->resolvers, on_login_turn, b);
    b->refused = options->refused;
    b->ctx = options->ctx;
    b->listen_fd = b->near.line.fd = b->far.line.fd = -1;
    b->near.bridge = b->far.bridge = b;
    b->servers = zk_servers_parse(hosts, &b->count);
    if (b->count > 0)
        b->next = (int)chance_below((uint64_t)b->count); /* so that not all brokers are at the same server */
    b->patience_ms = MAX((int64_t)options->session_timeout_ms / 2 / MAX(b->count, 1), (int64_t)LEAST_PATIENCE_MS);
    timer_init(&b->patience, b->loop, on_patience_over);
    return b;
}

void zk_bridge_free(struct zk_bridge *b)
{
    if (b == NULL)
        return;
    drop_both(b);
    if (b->listen_fd >= 0) {
        watch_set(&b->listen, WATCH_NONE);
        close(b->listen_fd);
    }
    zk_servers_free(b->servers, b->count);
    zk_login_free(b->login);
    zk_protection_unref(b->protection);
    free(b);
}

int zk_bridge_server_count(const struct zk_bridge *b)
{
    return b->count;
}

int64_t zk_bridge_answers(const struct zk_bridge *b)
{
    return b->answers;
}

const char *zk_bridge_trouble(const struct zk_bridge *b)
{
    return b->trouble.text;
}
