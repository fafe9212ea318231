/* SCRAM credentials (RFC 5802) as Kafka makes and keeps them: never the password itself. */
#ifndef BARNABAS_SCRAM_H
#define BARNABAS_SCRAM_H

#include "base/arena.h"

/* The numbers of the protocol. */
enum scram_mechanism { SCRAM_UNKNOWN, SCRAM_SHA_256, SCRAM_SHA_512 };

enum { SCRAM_MIN_ITERATIONS = 4096, SCRAM_DEFAULT_ITERATIONS = 4096 };

/* "SCRAM-SHA-256" or "SCRAM-SHA-512"; NULL and SCRAM_UNKNOWN for all else. */
const char *scram_mechanism_name(int8_t mechanism);
enum scram_mechanism scram_mechanism_of(const char *name);

struct bytes scram_random_salt(struct arena *a);
struct bytes scram_salted_password(enum scram_mechanism m, struct bytes password, struct bytes salt, int32_t iterations,
                                   struct arena *a);
/* What a user's znode has under the mechanism's name. */
const char *scram_credential_text(enum scram_mechanism m, struct bytes password, struct bytes salt, int32_t iterations,
                                  struct arena *a);

#endif
