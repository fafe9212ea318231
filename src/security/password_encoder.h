/*
 * Passwords as Kafka keeps them in ZooKeeper (KIP-226): encrypted with a key that PBKDF2 makes of the brokers' secret,
 * in one text together with all that is needed, besides the secret, to decrypt it.
 */
#ifndef BARNABAS_PASSWORD_ENCODER_H
#define BARNABAS_PASSWORD_ENCODER_H

#include "base/arena.h"
#include "base/fail.h"

struct password_encoder {
    const char *secret;
    const char *key_factory;        /* PBKDF2WithHmacSHA512; NULL: this one */
    const char *cipher;             /* AES/CBC/PKCS5Padding or AES/GCM/NoPadding */
    int32_t key_length, iterations; /* the length is in bits */
};

/* In the arena. False when nobody here knows the algorithms. */
bool password_encode(const struct password_encoder *e, const char *password, struct arena *a, const char **out,
                     struct fail *fail) NODISCARD;
/* The same way back. Of the encoder only the secret counts; all else is in the text. */
bool password_decode(const struct password_encoder *e, const char *encoded, struct arena *a, const char **out,
                     struct fail *fail) NODISCARD;

#endif
