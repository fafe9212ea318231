/*
 * What there is to say is kept back until it is more than one piece. If it ends before that, its length is known and
 * stands in the head. Else it goes out in chunks, zipped if the client takes that; to a client of HTTP/1.0, which knows
 * no chunks, until the connection ends.
 */
#include "http/http_answer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"

/* The same for those whom a worker waits for, when others wait for the worker. */
enum { SHORT_SILENCE_MS = 2000, SHORT_DEADLINE_MS = 10000, LOOK_MS = 200, GZIP_WINDOW = 15 + 16 };

static const char *reason_of(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {{200, "OK"},
                   {204, "No Content"},
                   {400, "Bad Request"},
                   {401, "Unauthorized"},
                   {403, "Forbidden"},
                   {404, "Not Found"},
                   {405, "Method Not Allowed"},
                   {408, "Request Timeout"},
                   {409, "Conflict"},
                   {413, "Content Too Large"},
                   {431, "Request Header Fields Too Large"},
                   {500, "Internal Server Error"},
                   {501, "Not Implemented"},
                   {503, "Service Unavailable"},
                   {505, "HTTP Version Not Supported"}};
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "-";
}

/* ---- The socket ---- */

static void http_note_sent(struct http_rest *r, size_t n)
{
    ensure(n <= http_rest_size(r));
    r->at += n;
    atomic_fetch_sub(&r->load->kept, n);
    if (r->at < r->bytes.len / 2)
        return;
    r->bytes.len -= r->at;
    memmove(r->bytes.p, r->bytes.p + r->at, r->bytes.len);
    r->at = 0;
}

bool http_rest_send(struct http_rest *r, struct transport *t)
{
    while (http_rest_size(r) > 0) {
        struct iovec io = {r->bytes.p + r->at, http_rest_size(r)};
        ssize_t n = transport_write(t, &io, 1, false);
        if (n > 0)
            http_note_sent(r, (size_t)n);
        else if (n < 0 && errno == EAGAIN)
            return true;
        else if (n == 0 || errno != EINTR)
            return false;
    }
    return true;
}

void http_rest_drop(struct http_rest *r)
{
    if (http_rest_size(r) > 0)
        http_note_sent(r, http_rest_size(r));
    strbuf_deinit(&r->bytes);
    r->at = 0;
}

/* Who comes later and is kept waiting shortens the time for those that a worker waits for. */
static bool wait_writable(struct http_answer *a)
{
    int64_t since = clock_mono_ms();
    struct pollfd fd = {.fd = a->transport->fd, .events = POLLOUT};
    for (;;) {
        int ready = poll(&fd, 1, LOOK_MS);
        if (ready != 0)
            return ready == 1 || errno == EINTR;
        bool hurries = atomic_load(&a->rest->load->queued) > 0;
        int64_t now = clock_mono_ms();
        if (now - since >= (hurries ? SHORT_SILENCE_MS : HTTP_SILENCE_MS) ||
            now - a->begun_ms >= (hurries ? SHORT_DEADLINE_MS : HTTP_DEADLINE_MS))
            return false;
    }
}

static bool is_too_much(const struct http_answer *a)
{
    return http_rest_size(a->rest) > 0 && (!a->may_stay || atomic_load(&a->rest->load->kept) > HTTP_MOST_KEPT);
}

/* For the next http_flush(). */
static void answer_put(struct http_answer *a, const void *data, size_t len)
{
    if (a->broken)
        return;
    strbuf_add(&a->rest->bytes, data, len);
    atomic_fetch_add(&a->rest->load->kept, len);
}

static void http_flush(struct http_answer *a)
{
    if (a->broken)
        return;
    a->broken = !http_rest_send(a->rest, a->transport);
    while (!a->broken && is_too_much(a))
        a->broken = !a->may_stay || !wait_writable(a) || !http_rest_send(a->rest, a->transport);
}

/* ---- What is said ---- */

static void send_piece(struct http_answer *a)
{
    char size[24];
    ensure(a->said && a->piece.len <= HTTP_PIECE);
    if (a->piece.len == 0)
        return;
    if (a->in_chunks)
        answer_put(a, size, (size_t)snprintf(size, sizeof(size), "%zx\r\n", a->piece.len));
    answer_put(a, a->piece.p, a->piece.len);
    if (a->in_chunks)
        answer_put(a, "\r\n", 2);
    http_flush(a);
    strbuf_clear(&a->piece);
}

static void add(struct http_answer *a, const char *p, size_t len)
{
    while (len > 0 && !a->broken) {
        size_t n = MIN(len, HTTP_PIECE - a->piece.len);
        strbuf_add(&a->piece, p, n);
        p += n;
        len -= n;
        if (a->piece.len == HTTP_PIECE)
            send_piece(a);
    }
}

static void add_zipped(struct http_answer *a, const void *p, size_t len, int flush)
{
    char out[4096];
    a->zip.next_in = (Bytef *)(uintptr_t)p;
    a->zip.avail_in = (uInt)len;
    do {
        a->zip.next_out = (Bytef *)out;
        a->zip.avail_out = sizeof(out);
        int rc = deflate(&a->zip, flush);
        ensure(rc != Z_STREAM_ERROR);
        add(a, out, sizeof(out) - a->zip.avail_out);
    } while (a->zip.avail_out == 0 && !a->broken);
}

/* How long the answer is: so many bytes, or one of these. */
enum { LENGTH_OPEN = -1, NO_BODY = -2 };

static void send_head(struct http_answer *a, int64_t length)
{
    ensure(a->begun && !a->said && length >= NO_BODY);
    if (length != LENGTH_OPEN)
        a->in_chunks = a->zips = false;
    else if (!a->in_chunks)
        a->keep_alive = false; /* its end is that of the connection */
    if (a->zips)
        strbuf_puts(&a->head, "Content-Encoding: gzip\r\n");
    if (length >= 0)
        strbuf_printf(&a->head, "Content-Length: %lld\r\n", (long long)length);
    else if (a->in_chunks)
        strbuf_puts(&a->head, "Transfer-Encoding: chunked\r\n");
    strbuf_printf(&a->head, "Connection: %s\r\n\r\n", a->keep_alive ? "keep-alive" : "close");
    answer_put(a, a->head.p, a->head.len);
    a->said = true;
}

void http_answer_begin(struct http_answer *a, struct transport *t, struct http_rest *rest,
                       const struct http_request *request, bool may_stay)
{
    *a = (struct http_answer){.transport = t,
                              .rest = rest,
                              .may_stay = may_stay,
                              .head_only = request->method == HTTP_HEAD,
                              .in_chunks = !request->old,
                              .keep_alive = request->keep_alive,
                              .zips = request->takes_gzip,
                              .begun_ms = clock_mono_ms()};
}

void http_status(struct http_answer *a, int status, const char *content_type)
{
    ensure(!a->begun && status >= 200 && status < 600);
    a->begun = true;
    a->status = status;
    strbuf_printf(&a->head,
                  "HTTP/1.1 %d %s\r\nServer: barnabas\r\nCache-Control: no-store\r\n"
                  "X-Content-Type-Options: nosniff\r\n",
                  status, reason_of(status));
    if (content_type != NULL)
        http_header(a, "Content-Type", content_type);
}

void http_header(struct http_answer *a, const char *name, const char *value)
{
    ensure(a->begun && !a->said);
    strbuf_printf(&a->head, "%s: %s\r\n", name, value);
}

bool http_say(struct http_answer *a, const void *p, size_t len)
{
    ensure(a->begun);
    if (len == 0 || a->broken || a->head_only)
        return !a->broken;
    if (!a->said && a->piece.len + len <= HTTP_PIECE) { /* it may be all */
        strbuf_add(&a->piece, p, len);
        return true;
    }
    if (!a->said) {
        struct strbuf early = a->piece;
        a->piece = (struct strbuf){0};
        a->zips =
            a->zips && deflateInit2(&a->zip, Z_BEST_SPEED, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) == Z_OK;
        send_head(a, LENGTH_OPEN);
        http_say(a, early.p, early.len);
        strbuf_deinit(&early);
    }
    if (a->zips)
        add_zipped(a, p, len, Z_NO_FLUSH);
    else
        add(a, p, len);
    return !a->broken;
}

/* Who has closed his side may still listen, but HTTP's clients have no reason to. */
bool http_is_awaited(struct http_answer *a)
{
    struct pollfd fd = {.fd = a->transport->fd, .events = POLLRDHUP};
    a->broken |= poll(&fd, 1, 0) > 0;
    return !a->broken;
}

bool http_is_from_here(const struct http_answer *a)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } peer = {.any.sa_family = AF_UNSPEC};
    socklen_t len = sizeof(peer);
    enum { LOOPBACK = 127 }; /* 127.0.0.0/8 */
    if (getpeername(a->transport->fd, &peer.any, &len) != 0)
        return false;
    if (peer.any.sa_family == AF_INET)
        return ntohl(peer.v4.sin_addr.s_addr) >> 24 == LOOPBACK;
    const struct in6_addr *v6 = &peer.v6.sin6_addr;
    return peer.any.sa_family == AF_INET6 &&
           (IN6_IS_ADDR_LOOPBACK(v6) || (IN6_IS_ADDR_V4MAPPED(v6) && v6->s6_addr[12] == LOOPBACK));
}

void http_say_text(struct http_answer *a, int status, const char *fmt, ...)
{
    struct strbuf text = {0};
    char line[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    http_status(a, status, "text/plain; charset=utf-8");
    strbuf_printf(&text, "%s\n", line);
    http_say(a, text.p, text.len);
    strbuf_deinit(&text);
}

bool http_answer_end(struct http_answer *a)
{
    if (!a->begun)
        http_status(a, 500, NULL);
    if (!a->said) {
        send_head(a, a->head_only || a->status == 204 ? NO_BODY : (int64_t)a->piece.len);
    } else if (a->zips) {
        add_zipped(a, NULL, 0, Z_FINISH);
        deflateEnd(&a->zip);
    }
    send_piece(a);
    if (a->in_chunks)
        answer_put(a, "0\r\n\r\n", 5);
    http_flush(a);
    strbuf_deinit(&a->head);
    strbuf_deinit(&a->piece);
    return !a->broken && a->keep_alive;
}
