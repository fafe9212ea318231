/*
 * TLS as the settings of a listener describe it: a context is made once of its key store, its trust store and the rest
 * of ssl.*, and each connection gets an SSL of it. Contexts never change and are counted, so any thread may use one
 * while another takes its place for new connections. An SSL belongs to the thread of its connection.
 *
 * Contexts behave as Java's do where OpenSSL by itself would not: each certificate of the trust store is an anchor, an
 * end without close_notify is an end, nobody renegotiates. Versions are 1.2 and 1.3.
 *
 * OpenSSL's queue of errors is empty after each of these functions.
 */
#ifndef BARNABAS_TLS_H
#define BARNABAS_TLS_H

#include "config/config.h"
#include "security/keystore.h"
#include "security/principal.h"

struct tls_settings {
    struct keystore_source keys, trust; /* without one to trust, the system's authorities are trusted */
    const char *enabled_protocols;      /* Java's names with commas between; NULL or "": all that there are */
    const char *cipher_suites;          /* the same; NULL or "": OpenSSL's own choice */
    const char *principal_rules;        /* of a server: for principal_rules_parse() */
    enum client_auth client_auth;       /* of a server */
    bool check_host;                    /* of a client: the certificate has to name the host that it went to */
    bool ktls;                          /* of a server: the kernel encrypts, where it can */
};

/*
 * What counts for one of the configuration's listeners. Refuses what is no value of its key, and Java's own settings
 * that nothing here can follow. Texts are in the arena.
 */
bool tls_settings_of(const struct broker_config *config, const struct listener *listener, struct arena *a,
                     struct tls_settings *out, struct fail *fail) NODISCARD;

/* The same while it runs: what it was started with, and the stores of the settings that count now. */
bool tls_settings_renewed(const struct broker_config *at_start, const struct broker_config *now,
                          const struct listener *listener, struct arena *a, struct tls_settings *out,
                          struct fail *fail) NODISCARD;

/* The keys of the stores, the versions and the suites alone: `get` says what a key is, or NULL. The rest is zeroed. */
void tls_settings_take(const char *(*get)(void *ctx, const char *key), void *ctx, struct tls_settings *out);

enum tls_side { TLS_SERVER, TLS_CLIENT };
struct tls_context;

/* NULL: refused. A server needs keys; a client shows those that it has. */
struct tls_context *tls_context_new(const struct tls_settings *settings, enum tls_side side, struct fail *fail);
struct tls_context *tls_context_ref(struct tls_context *context);
void tls_context_unref(struct tls_context *context); /* NULL is fine */
/* When the first ends of the certificates that it shows, in seconds since 1970; 0: it shows none. */
int64_t tls_context_end(const struct tls_context *context);

/*
 * Whatever context is made by whom in this process from now on, as by a library that has names of its own, has the
 * versions and the suites of the settings, if these name any.
 */
bool tls_adopt_suites(const struct tls_settings *settings, struct fail *fail) NODISCARD;

/*
 * For a new connection, with nothing bound to it; SSL_free() ends it, and it keeps what it needs of the context. `host`
 * is where a client wants to go, a name or an address; NULL: it takes any certificate that it trusts.
 */
SSL *tls_open(struct tls_context *context, const char *host);
/* Why a handshake, or anything else, has failed: takes it out of the queue of errors. Without an error there: "closed".
 */
void tls_explain(SSL *ssl, struct fail *fail);
/* Whether the peer has renewed its keys (TLS 1.3), of which the kernel does not hear where it encrypts; known if
 * `ktls`. */
bool tls_keys_are_renewed(SSL *ssl);
/* The peer's subject as subject_text() writes it; NULL: it has shown no certificate. */
const char *tls_peer_subject(SSL *ssl, struct arena *a);
/* Who a server's client is: the name that the rules give its subject, or ANONYMOUS without one. False: no rule fits. */
bool tls_peer_principal(SSL *ssl, const struct principal_rules *rules, struct arena *a, struct principal *out,
                        struct fail *fail) NODISCARD;

#endif
