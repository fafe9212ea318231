/* TLS handshakes on workers, so that those who come in a crowd hold up no loop, and with it nobody who is there. */
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdatomic.h>

#include "net/transport.h"
#include "security/tls.h"

struct handshake {
    struct job job;
    struct transport lent, *owner; /* NULL: abandoned */
    atomic_int *pending;
    struct handshake_result result;
    void (*done)(void *ctx, const struct handshake_result *result);
    void *ctx;
};

static void shake(struct transport *t, struct handshake_result *result)
{
    ERR_clear_error(); /* of who was on this thread before */
    int rc = SSL_do_handshake(t->tls), error = SSL_get_error(t->tls, rc);
    if (rc == 1) {
        t->shaken = t->has_more = true;
        t->by_kernel = BIO_get_ktls_send(SSL_get_wbio(t->tls)) > 0;
        result->state = HANDSHAKE_DONE;
    } else if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
        result->state = error == SSL_ERROR_WANT_READ ? HANDSHAKE_READ : HANDSHAKE_WRITE;
    } else {
        result->state = HANDSHAKE_FAILED;
        t->broken = true;
        tls_explain(t->tls, &result->why);
    }
}

static void handshake_run(struct job *job)
{
    struct handshake *h = CONTAINER_OF(job, struct handshake, job);
    shake(&h->lent, &h->result);
}

static void handshake_on_done(struct message *m)
{
    struct handshake *h = CONTAINER_OF(m, struct handshake, job.done);
    int before = h->pending != NULL ? atomic_fetch_sub(h->pending, 1) : 1;
    ensure(before > 0);
    if (h->owner != NULL) {
        ensure(h->owner->fd < 0); /* it was lent, and nobody has opened another meanwhile */
        *h->owner = h->lent;
        h->done(h->ctx, &h->result);
    } else {
        transport_close(&h->lent);
    }
    free(h);
}

struct handshake *handshake_start(struct transport *t, struct workers *workers, struct loop *loop, atomic_int *pending,
                                  void (*done)(void *ctx, const struct handshake_result *result), void *ctx)
{
    ensure(loop_is_mine(loop) && t->fd >= 0 && t->tls != NULL && !t->shaken);
    struct handshake *h = xcalloc(1, sizeof(*h));
    *h = (struct handshake){.job = {.run = handshake_run, .home = loop, .done = {.deliver = handshake_on_done}},
                            .lent = *t,
                            .owner = t,
                            .pending = pending,
                            .done = done,
                            .ctx = ctx};
    *t = (struct transport){.fd = -1};
    if (pending != NULL)
        atomic_fetch_add(pending, 1);
    if (workers != NULL) {
        workers_submit(workers, &h->job);
        return h;
    }
    handshake_run(&h->job);
    loop_post(loop, &h->job.done);
    return h;
}

void handshake_abandon(struct handshake *h)
{
    if (h != NULL)
        h->owner = NULL;
}
