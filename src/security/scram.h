/* SCRAM credentials (RFC 5802) as Kafka makes and keeps them (KIP-84): never the password itself. */
#ifndef BARNABAS_SCRAM_H
#define BARNABAS_SCRAM_H

#include "base/arena.h"

/* The numbers of the protocol. */
enum scram_mechanism { SCRAM_UNKNOWN, SCRAM_SHA_256, SCRAM_SHA_512, SCRAM_MECHANISMS };

enum { SCRAM_MIN_ITERATIONS = 4096, SCRAM_DEFAULT_ITERATIONS = 4096, SCRAM_MAX_ITERATIONS = 16384 };

/* All in an arena; the keys are as long as the mechanism's hashes. */
struct scram_credential {
    struct bytes salt, stored_key, server_key;
    int32_t iterations;
};

/* "SCRAM-SHA-256" or "SCRAM-SHA-512"; NULL and SCRAM_UNKNOWN for all else. */
const char *scram_mechanism_name(int8_t mechanism);
enum scram_mechanism scram_mechanism_of(const char *name);

struct bytes scram_random_salt(struct arena *a);
struct bytes scram_salted_password(enum scram_mechanism m, struct bytes password, struct bytes salt, int32_t iterations,
                                   struct arena *a);
struct scram_credential scram_credential_of(enum scram_mechanism m, struct bytes salted_password, struct bytes salt,
                                            int32_t iterations, struct arena *a);
/* With a new salt. */
struct scram_credential scram_credential_make(enum scram_mechanism m, struct str password, int32_t iterations,
                                              struct arena *a);
/* What a user's znode has under the mechanism's name. */
const char *scram_credential_text(const struct scram_credential *c, struct arena *a);
/* False: it is none of this mechanism. */
bool scram_credential_parse(enum scram_mechanism m, struct str text, struct arena *a,
                            struct scram_credential *out) NODISCARD;

/* The functions of RFC 5802. */
struct bytes scram_hmac(enum scram_mechanism m, struct bytes key, struct str text, struct arena *a);
struct bytes scram_hash(enum scram_mechanism m, struct bytes data, struct arena *a);
struct bytes scram_client_key(enum scram_mechanism m, struct bytes salted_password, struct arena *a);
/* ClientKey XOR ClientSignature, or the one out of the other two. */
struct bytes scram_xor(struct bytes a, struct bytes b, struct arena *memory);

#endif
