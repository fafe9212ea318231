/* What mechanisms have to bring. */
#ifndef BARNABAS_SASL_INTERNAL_H
#define BARNABAS_SASL_INTERNAL_H

#include "security/sasl.h"

struct sasl_server {
    const struct sasl_login *login;
    struct arena memory;
    struct sasl_identity identity;
    int stage;   /* how many steps were taken */
    void *state; /* the mechanism's, in the memory */
};

struct sasl_client {
    const struct sasl_login *login;
    const char *host;
    struct arena memory;
    int stage;
    void *state;
};

struct sasl_mechanism_kind {
    const char *name;
    void (*serve)(struct sasl_server *s, struct bytes token, struct arena *a, struct sasl_step *out);
    void (*ask)(struct sasl_client *c, struct bytes challenge, struct arena *a, struct sasl_step *out);
    void (*end)(void *state); /* of what either side's state has outside of its memory; NULL: nothing */
};

extern const struct sasl_mechanism_kind sasl_plain, sasl_scram_sha_256, sasl_scram_sha_512, sasl_oauthbearer,
    sasl_gssapi;

/* Of a name that a peer has sent, so much is said again. */
enum { MOST_NAME_SAID = 1000 };

/* How a step ends. */
void sasl_say(struct sasl_step *out, enum sasl_outcome outcome, struct bytes answer);
void sasl_refuse(struct sasl_step *out, const char *refusal, const char *reason);
/* The comparison takes as long whatever is equal. */
bool sasl_is_secret(struct str given, const char *secret);

#endif
