/*
 * Logging in by SASL (RFC 4422): one conversation, as either side has it. A step takes what the peer said and gives
 * what is to be said to it; nothing here knows of connections or frames. A step may take milliseconds, and read files:
 * it is for a worker. One thread at a time.
 */
#ifndef BARNABAS_SASL_H
#define BARNABAS_SASL_H

#include "base/arena.h"
#include "base/fail.h"
#include "security/jaas.h"
#include "security/scram.h"
#include "security/token.h"

enum sasl_mechanism {
    SASL_PLAIN,         /* RFC 4616 */
    SASL_SCRAM_SHA_256, /* RFC 5802, KIP-84 */
    SASL_SCRAM_SHA_512,
    SASL_OAUTHBEARER, /* RFC 7628, KIP-255 */
    SASL_GSSAPI,      /* RFC 4752, KIP-12 */
    SASL_MECHANISM_COUNT,
};

const char *sasl_mechanism_name(enum sasl_mechanism mechanism);
/* Names are as they are registered, in upper case. False: there is none, or not here. */
bool sasl_mechanism_parse(struct str name, enum sasl_mechanism *out) NODISCARD;

/* What is known of a delegation token that somebody comes with. */
struct sasl_token_login {
    struct scram_credential credential;
    struct str owner;        /* the name of a principal of type User */
    int64_t expires_ms;      /* since 1970 */
    struct token_life *life; /* with a reference for who has asked */
};

/* Who may come, asked by any thread. */
struct sasl_accounts {
    /* False: no such user, or none that has this mechanism. */
    bool (*scram)(void *ctx, enum scram_mechanism mechanism, struct str user, struct arena *a,
                  struct scram_credential *out);
    /* The same of a delegation token that is good, by its id (KIP-48); NULL: there are none. */
    bool (*token)(void *ctx, enum scram_mechanism mechanism, struct str id, struct arena *a,
                  struct sasl_token_login *out);
    void *ctx;
};

/* What somebody logs in by, or lets others log in by. Not changed while a conversation refers to it. */
struct sasl_login {
    enum sasl_mechanism mechanism;
    struct jaas_module module;
    const struct sasl_accounts *accounts; /* of a server */
    struct oauth_validator *validator;    /* of a server with OAUTHBEARER */
    struct oauth_source *source;          /* of a client with it */
    struct kerberos *kerberos;            /* of either with GSSAPI */
};

enum sasl_outcome {
    SASL_GOES_ON,
    SASL_DONE,
    SASL_REFUSED,
};

struct sasl_step {
    enum sasl_outcome outcome;
    struct bytes
        answer; /* for the peer, in the step's arena; p == NULL: nothing is to be said, not even an empty token */
    const char *refusal; /* why not, for the peer, as Apache's words have it; NULL: no more than that it is so */
    const char *reason;  /* for the log */
    bool silent;         /* refused for now only, which the peer is not told: it may try again */
};

/* Who has come; lives as long as the conversation. */
struct sasl_identity {
    struct str name;          /* of the principal, whose type is User */
    int64_t expires_ms;       /* since 1970; 0: never */
    struct token_life *token; /* by which it has come, so that a session can end with it; NULL: by none */
};

struct sasl_server;
struct sasl_server *sasl_server_new(const struct sasl_login *login);
void sasl_server_step(struct sasl_server *s, struct bytes token, struct arena *a, struct sasl_step *out);
const struct sasl_identity *sasl_server_identity(const struct sasl_server *s); /* after SASL_DONE */
void sasl_server_free(struct sasl_server *s);

struct sasl_client;
/* `host` is the server's, for mechanisms that name it. */
struct sasl_client *sasl_client_new(const struct sasl_login *login, const char *host);
/* The first challenge is empty. */
void sasl_client_step(struct sasl_client *c, struct bytes challenge, struct arena *a, struct sasl_step *out);
void sasl_client_free(struct sasl_client *c);

#endif
