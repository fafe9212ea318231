/* Kafka's UUIDs: 16 bytes, shown as 22 characters of unpadded base64url (KIP-516). */
#ifndef BARNABAS_UUID_H
#define BARNABAS_UUID_H

#include "base/bytes.h"

#define UUID_TEXT_LEN 22

struct uuid {
    uint8_t b[16];
};

extern const struct uuid UUID_ZERO; /* "no id" */

/* A random version 4 UUID whose text does not start with '-', as Kafka draws topic ids. */
struct uuid uuid_random(void);
void uuid_format(struct uuid id, char out[UUID_TEXT_LEN + 1]);
bool uuid_parse(struct str text, struct uuid *out) NODISCARD;

static inline bool uuid_eq(struct uuid a, struct uuid b)
{
    return memcmp(&a, &b, sizeof(a)) == 0;
}

static inline bool uuid_is_zero(struct uuid id)
{
    return uuid_eq(id, UUID_ZERO);
}

/* Whether they may be of the same: where one is not known, nothing speaks against it. */
static inline bool uuid_agree(struct uuid a, struct uuid b)
{
    return uuid_is_zero(a) || uuid_is_zero(b) || uuid_eq(a, b);
}

#endif
