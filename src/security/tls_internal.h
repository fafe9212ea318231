/* What the files about TLS share. */
#ifndef BARNABAS_TLS_INTERNAL_H
#define BARNABAS_TLS_INTERNAL_H

#include <openssl/ssl.h>
#include <stdatomic.h>

#include "security/keystore_internal.h"
#include "security/tls.h"

struct tls_context {
    atomic_int refs;
    enum tls_side side;
    bool check_host;
    SSL_CTX *ctx;
    struct keystore keys, trust; /* empty: none */
};

/* tls_suites.c: sets what may be agreed on. Refuses names that nobody knows, and choices that leave nothing. */
bool suites_set(SSL_CTX *ctx, const char *protocols, const char *suites, struct fail *fail);

#endif
