/*
 * How the bytes of a connection go over its socket: as they are, or by TLS (Kafka's name for this is the transport
 * layer). One thread at a time; a handshake is lent to a worker, as a step of it takes a processor for a millisecond.
 */
#ifndef BARNABAS_NET_TRANSPORT_H
#define BARNABAS_NET_TRANSPORT_H

#include <stdatomic.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/fail.h"
#include "base/strbuf.h"
#include "base/workers.h"

struct ssl_st; /* OpenSSL's SSL */

struct transport {
    int fd;               /* not blocking; -1: none, or lent */
    struct ssl_st *tls;   /* NULL: bytes go as they are */
    bool shaken;          /* hands, where there is TLS: bytes may come and go */
    bool by_kernel;       /* which encrypts what is sent, files without copying (kTLS): it is sent as without TLS */
    bool has_more;        /* TLS may have received what was not asked for yet, of which the socket will not tell */
    bool write_first;     /* TLS has to send something before it can read on */
    bool broken;          /* TLS failed: it says nothing more to its peer */
    struct strbuf unsent; /* records that the socket has not taken yet */
    size_t ahead;         /* so much of what comes again is in these */
    int64_t written;      /* bytes, as they were before they were encrypted */
    int64_t calls;        /* to read or write */
};

/* Takes both; `tls` may be NULL. */
void transport_open(struct transport *t, int fd, struct ssl_st *tls);
/* Says farewell to the peer if it can at once. Nothing to close is no mistake. */
void transport_close(struct transport *t);

/* As recvmsg() and sendmsg() without waiting: -1 and errno, which is EAGAIN when the socket has to be waited for. What
 * was to be sent and was not has to come again, perhaps with more behind it. */
ssize_t transport_read(struct transport *t, const struct iovec *io, int count);
ssize_t transport_write(struct transport *t, const struct iovec *io, int count, bool more_follows);
/* As sendfile(), which says 0 when the file is shorter. */
ssize_t transport_send_file(struct transport *t, int file, off_t pos, size_t len);

/* What it is encrypted with once hands are shaken, by the names that Java has: TLS_AES_128_GCM_SHA256, TLSv1.3. */
void transport_cipher(const struct transport *t, struct str *cipher, struct str *protocol);

/* Whether the kernel could encrypt (kTLS), suites permitting. */
bool transport_kernel_has_tls(void);

/* ---- Shaking hands ---- */

enum handshake_state { HANDSHAKE_DONE, HANDSHAKE_READ, HANDSHAKE_WRITE /* wait for the socket */, HANDSHAKE_FAILED };

struct handshake_result {
    enum handshake_state state;
    struct fail why; /* of HANDSHAKE_FAILED */
};

/* A handshake under way on a worker. */
struct handshake;
/*
 * Takes a handshake as far as it goes without waiting for the peer, in place if `workers` is NULL; then `done`, on the
 * loop, with `t` as it was. Until then `t` is lent, and the socket not to be watched. `pending`, NULL or not, counts
 * those that are under way, abandoned or not.
 */
struct handshake *handshake_start(struct transport *t, struct workers *workers, struct loop *loop, atomic_int *pending,
                                  void (*done)(void *ctx, const struct handshake_result *result), void *ctx);
void handshake_abandon(struct handshake *h); /* `done` is not called, and what was lent is closed. NULL is none. */

#endif
