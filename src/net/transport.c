#include "net/transport.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/tls_send_internal.h"
#include "security/tls.h"

void transport_open(struct transport *t, int fd, struct ssl_st *tls)
{
    ensure(fd >= 0);
    *t = (struct transport){.fd = fd, .tls = tls};
    if (tls != NULL)
        SSL_set_fd(tls, fd);
}

void transport_cipher(const struct transport *t, struct str *cipher, struct str *protocol)
{
    ensure(t->tls != NULL && t->shaken);
    const char *name = SSL_CIPHER_standard_name(SSL_get_current_cipher(t->tls));
    *cipher = name != NULL ? str_of(name) : STR_LIT("unknown");
    *protocol = str_of(SSL_get_version(t->tls));
}

void transport_close(struct transport *t)
{
    if (t->fd < 0)
        return;
    if (t->tls != NULL) {
        if (t->shaken && !t->broken && t->unsent.len == 0)
            SSL_shutdown(t->tls);
        SSL_free(t->tls);
        ERR_clear_error();
    }
    strbuf_deinit(&t->unsent);
    close(t->fd);
    *t = (struct transport){.fd = -1};
}

/* ---- Receiving by TLS ---- */

/*
 * SSL_get_error() goes by what has gone wrong on the thread, with whomever: what another connection has left there is
 * not this one's trouble. Nor does OpenSSL say a second time what has failed for good. False: it has.
 */
bool transport_tls_begin(struct transport *t)
{
    ensure(t->shaken);
    ERR_clear_error();
    errno = EPROTO;
    return !t->broken;
}

static ssize_t tls_trouble(struct transport *t, int rc)
{
    int saved = errno, error = SSL_get_error(t->tls, rc);
    if (error == SSL_ERROR_ZERO_RETURN)
        return 0;
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
        errno = EAGAIN;
        return -1;
    }
    t->broken = true;
    errno = error == SSL_ERROR_SYSCALL && saved != 0 ? saved : EPROTO;
    ERR_clear_error();
    return -1;
}

/* What was done before comes first; the trouble comes again the next time, or is remembered. */
ssize_t transport_tls_stop(struct transport *t, int rc, size_t done)
{
    ssize_t trouble = tls_trouble(t, rc);
    return done > 0 ? (ssize_t)done : trouble;
}

static ssize_t tls_read_some(struct transport *t, const struct iovec *io, int count)
{
    size_t total = 0;
    if (!transport_tls_begin(t))
        return -1;
    t->has_more = true;
    for (int i = 0; i < count; i++) {
        for (size_t at = 0, n; at < io[i].iov_len; at += n, total += n) {
            int rc = SSL_read_ex(t->tls, (uint8_t *)io[i].iov_base + at, io[i].iov_len - at, &n);
            if (rc == 1)
                continue;
            int error = SSL_get_error(t->tls, rc);
            t->write_first = error == SSL_ERROR_WANT_WRITE;
            t->has_more = error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE;
            return transport_tls_stop(t, rc, total);
        }
    }
    return (ssize_t)total;
}

/* The kernel would go on with the old keys after new ones are agreed on, which the peer could not read. */
static ssize_t tls_read(struct transport *t, const struct iovec *io, int count)
{
    ssize_t n = tls_read_some(t, io, count);
    if (!t->by_kernel || !tls_keys_are_renewed(t->tls))
        return n;
    t->broken = true;
    errno = EPROTO;
    return -1;
}

/* ---- Either ---- */

/* OpenSSL would keep the address of what it could not send. The kernel takes what it would take without TLS. */
static bool encrypts_here(const struct transport *t)
{
    return t->tls != NULL && !t->by_kernel;
}

/* Also what was not sent: it says so. */
static ssize_t note_written(struct transport *t, ssize_t n)
{
    t->written += MAX(n, (ssize_t)0);
    return n;
}

ssize_t transport_read(struct transport *t, const struct iovec *io, int count)
{
    ensure(t->fd >= 0);
    t->calls++;
    if (t->tls != NULL)
        return tls_read(t, io, count);
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)io, .msg_iovlen = (size_t)count};
    return recvmsg(t->fd, &message, MSG_DONTWAIT);
}

ssize_t transport_write(struct transport *t, const struct iovec *io, int count, bool more_follows)
{
    ensure(t->fd >= 0);
    t->calls++;
    if (encrypts_here(t))
        return note_written(t, tls_write(t, io, count, more_follows));
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)io, .msg_iovlen = (size_t)count};
    return note_written(t, sendmsg(t->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT | (more_follows ? MSG_MORE : 0)));
}

ssize_t transport_send_file(struct transport *t, int file, off_t pos, size_t len)
{
    ensure(t->fd >= 0 && len > 0);
    t->calls++;
    return note_written(t, encrypts_here(t) ? tls_send_file(t, file, pos, len) : sendfile(t->fd, file, &pos, len));
}

bool transport_kernel_has_tls(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool yes = fd >= 0 && setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) != 0 && errno == ENOTCONN;
    if (fd >= 0)
        close(fd);
    return yes;
}
