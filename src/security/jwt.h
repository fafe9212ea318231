/*
 * JSON Web Tokens (RFC 7519) in their compact form (RFC 7515), and the public keys that sign them (RFC 7517): RS, PS
 * and ES with 256, 384 and 512 bits (RFC 7518). Everything in a token is what its sender says, until its signature is
 * verified.
 */
#ifndef BARNABAS_JWT_H
#define BARNABAS_JWT_H

#include <jansson.h>

#include "base/arena.h"
#include "base/fail.h"

struct jwt {
    json_t *header, *claims;
    struct str signed_text;
    struct bytes signature; /* may be empty */
};

/* On failure there is nothing to give back. Texts lie in the token and in the arena. */
bool jwt_parse(struct str token, struct arena *a, struct jwt *out, struct fail *fail) NODISCARD;
void jwt_deinit(struct jwt *token);

/* NULL: there is none, or it is no text. */
const char *jwt_text(const json_t *object, const char *name);
/* A claim that is a time, in seconds; false if it is none. */
bool jwt_time(const struct jwt *token, const char *claim, double *out) NODISCARD;
/* Seconds since 1970 as milliseconds, within what can be counted. */
int64_t jwt_ms(double seconds);

/* ---- Keys ---- */

struct jwks; /* does not change */
/* NULL: it is no set of keys, or has none that could sign. Keys of other kinds are passed over. */
struct jwks *jwks_parse(struct bytes text, struct fail *fail);
void jwks_free(struct jwks *keys);

enum jwt_verdict { JWT_SIGNED, JWT_KEY_UNKNOWN, JWT_REFUSED };
/* By the key that the token names, or by any if it names none. `fail` says why not. */
enum jwt_verdict jwt_verify(const struct jwt *token, const struct jwks *keys, struct fail *fail);

#endif
