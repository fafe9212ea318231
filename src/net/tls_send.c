/*
 * Sending by TLS. OpenSSL gives each record of 16 KB to the socket by a call of its own, and over loopback or a fast
 * network the call costs as much as the encryption. So records are gathered in room of the thread, by a BIO that keeps
 * what it is given, and go to the socket together.
 *
 * What the socket does not take stays with the connection, as bytes of records that cannot be made again. What is in
 * these is not said to be sent, so that the caller brings it again, as it must after EAGAIN; it is skipped then. An
 * example: of four records the socket takes two and a half. The bytes of two are said to be sent; `ahead` are those of
 * the other two, which come again with the next call, after one and a half records that are sent first.
 */
#include "net/tls_send_internal.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LARGEST_RECORD = 16 << 10, RECORDS = 4, MOST_OVERHEAD = 256 };

static _Thread_local struct {
    bool on; /* records are kept, instead of sent */
    size_t len;
    uint8_t records[RECORDS * (LARGEST_RECORD + MOST_OVERHEAD)];
    uint8_t plain[RECORDS * LARGEST_RECORD]; /* what was read of a file, or small pieces together */
} room;

/* ---- The socket ---- */

static ssize_t send_now(const struct transport *t, const void *data, size_t len, bool more_follows)
{
    return send(t->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT | (more_follows ? MSG_MORE : 0));
}

static bool socket_is_full(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

static ssize_t give_up_tls(struct transport *t)
{
    t->broken = !socket_is_full();
    return -1;
}

/* Whether nothing is left of the calls before. */
static bool send_unsent(struct transport *t)
{
    size_t at = 0;
    while (at < t->unsent.len) {
        ssize_t n = send_now(t, t->unsent.p + at, t->unsent.len - at, false);
        if (n < 0)
            break;
        at += (size_t)n;
    }
    if (at < t->unsent.len) {
        memmove(t->unsent.p, t->unsent.p + at, t->unsent.len - at);
        t->unsent.len -= at;
        return false;
    }
    strbuf_deinit(&t->unsent);
    return true;
}

/* ---- What OpenSSL writes to ---- */

/* What it sends by itself, such as the answer to new keys, must not get in between the halves of a record. */
static int gatherer_write(BIO *bio, const char *data, int len)
{
    const struct transport *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (room.on && room.len + (size_t)len <= sizeof(room.records)) {
        memcpy(room.records + room.len, data, (size_t)len);
        room.len += (size_t)len;
        return len;
    }
    bool blocked = room.on || t->unsent.len > 0;
    ssize_t n = blocked ? -1 : send_now(t, data, (size_t)len, false);
    if (blocked || (n < 0 && socket_is_full()))
        BIO_set_retry_write(bio);
    return (int)n;
}

static long gatherer_control(BIO *bio UNUSED, int what, long arg UNUSED, void *ptr UNUSED)
{
    return what == BIO_CTRL_FLUSH; /* there is nothing to flush, which is success; of all else it knows nothing */
}

static BIO_METHOD *gatherer;
static pthread_once_t gatherer_once = PTHREAD_ONCE_INIT;

static void make_gatherer(void)
{
    gatherer = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "records together");
    bool ok = gatherer != NULL && BIO_meth_set_write(gatherer, gatherer_write) == 1 &&
              BIO_meth_set_ctrl(gatherer, gatherer_control) == 1;
    ensure(ok);
}

/* In the place of the socket, which it was as long as hands were shaken. */
static void take_gatherer(struct transport *t)
{
    pthread_once(&gatherer_once, make_gatherer);
    if (BIO_method_type(SSL_get_wbio(t->tls)) == BIO_TYPE_SOCKET) {
        BIO *bio = BIO_new(gatherer);
        ensure(bio != NULL);
        BIO_set_data(bio, t);
        BIO_set_init(bio, 1);
        SSL_set0_wbio(t->tls, bio);
    }
}

/* ---- What is to be sent ---- */

struct source {
    const struct iovec *io; /* NULL: a file */
    int count;
    int file;
    off_t pos;
    size_t len; /* of all */
};

struct piece {
    const uint8_t *p;
    ssize_t len; /* 0: the end; -1 and errno: it cannot be read */
};

/* As it lies there, or several small pieces together. */
static struct piece next_of_memory(const struct source *s, size_t skip)
{
    size_t have = 0;
    for (int i = 0; i < s->count && have < sizeof(room.plain); i++) {
        const uint8_t *p = s->io[i].iov_base;
        size_t len = s->io[i].iov_len;
        if (skip >= len) {
            skip -= len;
            continue;
        }
        p += skip;
        len -= skip;
        skip = 0;
        if (have == 0 && (len >= sizeof(room.plain) || i == s->count - 1))
            return (struct piece){p, (ssize_t)MIN(len, sizeof(room.plain))};
        size_t n = MIN(len, sizeof(room.plain) - have);
        memcpy(room.plain + have, p, n);
        have += n;
    }
    return (struct piece){room.plain, (ssize_t)have};
}

/* What is behind the first `skip` bytes, as much as fits into the records of one call. */
static struct piece next_piece(const struct source *s, size_t skip)
{
    ensure(skip <= s->len);
    size_t wanted = MIN(s->len - skip, sizeof(room.plain));
    if (wanted == 0)
        return (struct piece){NULL, 0};
    if (s->io != NULL)
        return next_of_memory(s, skip);
    return (struct piece){room.plain, pread(s->file, room.plain, wanted, s->pos + (off_t)skip)};
}

/* ---- Records ---- */

struct gathered {
    size_t plain, sent; /* bytes that are in records; and those in records that the socket has taken whole */
    size_t ends[RECORDS], plains[RECORDS];
    int count, trouble; /* `trouble`: what OpenSSL said, if not 1 */
};

static void encrypt(struct transport *t, struct piece piece, struct gathered *g)
{
    size_t n;
    *g = (struct gathered){.trouble = 1};
    room.on = true;
    room.len = 0;
    while (g->count < RECORDS && g->plain < (size_t)piece.len) {
        size_t len = MIN((size_t)piece.len - g->plain, (size_t)LARGEST_RECORD);
        g->trouble = SSL_write_ex(t->tls, piece.p + g->plain, len, &n);
        if (g->trouble != 1)
            break;
        g->plain += n;
        g->plains[g->count] = n;
        g->ends[g->count++] = room.len;
    }
    room.on = false;
}

/* Keeps what the socket does not take. False: it is broken. */
static bool send_gathered(struct transport *t, struct gathered *g, bool more_follows)
{
    ssize_t n = send_now(t, room.records, room.len, more_follows);
    if (n < 0 && !socket_is_full())
        return false;
    size_t taken = n > 0 ? (size_t)n : 0;
    for (int i = 0; i < g->count && g->ends[i] <= taken; i++)
        g->sent += g->plains[i];
    t->ahead = g->plain - g->sent;
    if (taken < room.len)
        strbuf_add(&t->unsent, room.records + taken, room.len - taken);
    return true;
}

static ssize_t send_records(struct transport *t, const struct source *s, bool more_follows)
{
    ensure(t->ahead <= s->len);
    if (!transport_tls_begin(t))
        return -1;
    take_gatherer(t);
    if (!send_unsent(t))
        return give_up_tls(t);
    size_t total = t->ahead;
    t->ahead = 0;
    for (;;) {
        struct gathered g;
        struct piece piece = next_piece(s, total);
        if (piece.len <= 0)
            return total > 0 ? (ssize_t)total : piece.len;
        encrypt(t, piece, &g);
        if (g.count == 0)
            return transport_tls_stop(t, g.trouble, total);
        if (!send_gathered(t, &g, more_follows && total + g.plain == s->len))
            return give_up_tls(t);
        total += g.sent;
        if (t->unsent.len > 0) {
            errno = EAGAIN;
            return total > 0 ? (ssize_t)total : -1;
        }
    }
}

ssize_t tls_write(struct transport *t, const struct iovec *io, int count, bool more_follows)
{
    struct source s = {.io = io, .count = count};
    for (int i = 0; i < count; i++)
        s.len += io[i].iov_len;
    return send_records(t, &s, more_follows);
}

ssize_t tls_send_file(struct transport *t, int file, off_t pos, size_t len)
{
    return send_records(t, &(struct source){.file = file, .pos = pos, .len = len}, false);
}
