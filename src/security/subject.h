/*
 * The name in a certificate, as X500Principal.getName() of Java writes it. Principals of TLS clients and ACLs are made
 * of that text, so it has to be the same to the byte; what OpenSSL calls RFC 2253 is another form.
 */
#ifndef BARNABAS_SUBJECT_H
#define BARNABAS_SUBJECT_H

#include <openssl/types.h>

#include "base/arena.h"

/* In the arena; "" of a name without parts. */
const char *subject_text(const X509_NAME *name, struct arena *a);

#endif
