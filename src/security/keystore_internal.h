/* The forms of stores. Each reader adds what it finds to the store; what it added stays there when it fails. */
#ifndef BARNABAS_KEYSTORE_INTERNAL_H
#define BARNABAS_KEYSTORE_INTERNAL_H

#include <openssl/x509.h>

#include "base/strbuf.h"
#include "security/keystore.h"

/* Takes over the key and the chain. */
void keystore_add(struct keystore *store, const char *alias, EVP_PKEY *key, STACK_OF(X509) * chain);
/* The message, and behind it what OpenSSL says, whose queue of errors is empty then. Returns false. */
bool keystore_fail(struct fail *fail, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* The certificate that the bytes are, and nothing else; NULL: they are none. */
X509 *certificate_decode(struct bytes der);
/* A key that is not encrypted, in PKCS#8; NULL: it is none. */
EVP_PKEY *private_key_decode(struct bytes der);
/* One that is, also with ciphers of older programs; NULL: the password is wrong, or it is none. */
EVP_PKEY *private_key_decrypt(const X509_SIG *sealed, const char *password);

/* Without a password the file is not checked, and what is encrypted is passed over; without one for keys, keys are. */
bool keystore_read_jks(struct bytes content, const char *password, const char *key_password, struct keystore *out,
                       struct fail *fail);
bool keystore_read_pkcs12(struct bytes content, const char *password, const char *key_password, struct keystore *out,
                          struct fail *fail);

/* Key and certificates are two texts, or one and the same. */
bool keystore_read_pem_keys(const char *key, const char *certificates, const char *key_password, struct keystore *out,
                            struct fail *fail);
bool keystore_read_pem_trust(const char *certificates, struct keystore *out, struct fail *fail);

#endif
