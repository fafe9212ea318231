/* The sending half of a transport that is encrypted here. */
#ifndef BARNABAS_NET_TLS_SEND_INTERNAL_H
#define BARNABAS_NET_TLS_SEND_INTERNAL_H

#include "net/transport.h"

/* As transport_write() and transport_send_file(). */
ssize_t tls_write(struct transport *t, const struct iovec *io, int count, bool more_follows);
ssize_t tls_send_file(struct transport *t, int file, off_t pos, size_t len);

/* ---- transport.c: around each call of OpenSSL ---- */

/* False: it has failed before, with errno. */
bool transport_tls_begin(struct transport *t);
/* Of one that gave `rc`, after `done` bytes: these, or -1 and errno; 0 when the peer has ended it. */
ssize_t transport_tls_stop(struct transport *t, int rc, size_t done);

#endif
