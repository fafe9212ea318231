/*
 * Key stores and trust stores as a configuration names them: files that Java's keytool makes (JKS, PKCS12), and PEM
 * (KIP-651), in a file or in the configuration itself. As in Java 9 and later, JKS and PKCS12 are told apart by what is
 * in the file, whatever its type is said to be; a file in PEM has to be called that.
 *
 * What is in a store is foreign: whatever does not fit is refused with a message for who runs the broker. A store that
 * is loaded does not change. The libraries' queue of errors is empty after each of these functions.
 */
#ifndef BARNABAS_KEYSTORE_H
#define BARNABAS_KEYSTORE_H

#include <openssl/types.h>
#include <time.h>

#include "base/arena.h"
#include "base/fail.h"

/* What a configuration says of one store. NULL: not set. The texts belong to whoever filled it in. */
struct keystore_source {
    const char *type, *location, *password;
    const char *key_password;       /* of a private key; NULL: the store's */
    const char *key, *certificates; /* in PEM, in place of a file; of a trust store only certificates */
};

enum keystore_use { KEYSTORE_KEYS, KEYSTORE_TRUST };

struct keystore_entry {
    char *alias;
    EVP_PKEY *key;          /* NULL: this is a certificate that is trusted */
    STACK_OF(X509) * chain; /* the certificate of the key first, then those that signed it; never empty */
};

struct keystore {
    struct keystore_entry *entries;
    int count;
    char *location; /* the file it is from, or NULL; what follows is that file's when it was read */
    struct timespec modified;
    int64_t size;
};

/* Whether anything is set that names a store, or should. */
bool keystore_is_set(const struct keystore_source *source);
/* Reads the store; one without keys, or nothing to trust, is refused. After a failure there is nothing to give back. */
bool keystore_load(const struct keystore_source *source, enum keystore_use use, struct keystore *out,
                   struct fail *fail) NODISCARD;
void keystore_deinit(struct keystore *store);
/* Whether its file is another one than was read. A file that is not there now is not another one. */
bool keystore_is_rewritten(const struct keystore *store);

#endif
