/*
 * What is found out about contexts before they serve: when a broker starts, and when key stores are changed while it
 * runs (KIP-226). Messages are for who runs the broker; those about changes go to who asked for them, in Apache's
 * words.
 */
#ifndef BARNABAS_TLS_CHECK_H
#define BARNABAS_TLS_CHECK_H

#include "security/tls.h"

/* Both ends of a listener; the client's only where brokers use it among themselves. Zeroed: none. */
struct tls_ends {
    struct tls_context *server, *client;
};
bool tls_ends_make(const struct tls_settings *settings, bool among_brokers, struct tls_ends *out,
                   struct fail *fail) NODISCARD;
void tls_ends_unref(struct tls_ends *ends);

/*
 * What a broker starts a listener with, which is one of SSL or SASL_SSL; refused unless its stores can be read, its
 * server has a key, its rules for principals are rules. And if brokers use it among themselves, a broker with these
 * settings would be let in by another one, whatever the hosts are called. The settings' texts are in the arena. After a
 * refusal there are no ends to give back.
 */
bool tls_listener_start(const struct broker_config *config, const struct listener *listener, struct arena *a,
                        struct tls_settings *settings, struct tls_ends *ends, struct fail *fail) NODISCARD;

/* Whether a client of the one gets on with a server of the other: they shake hands in memory. Hosts are not checked. */
bool tls_check_pair(struct tls_context *server, struct tls_context *client, struct fail *fail) NODISCARD;

/*
 * Whether new connections may be opened with another context, of which only the stores are new: its certificates have
 * the names of the old ones (ssl.allow.dn.changes waives that) and their alternative names, perhaps with more
 * (ssl.allow.san.changes), entry by entry, and no store comes or goes. Where brokers use the listener among themselves,
 * old and new have to be a pair both ways, too.
 */
bool tls_check_change(const struct tls_context *old, const struct tls_context *next, bool allow_names,
                      bool allow_alternatives, struct fail *fail) NODISCARD;
/* Whether the two name the same stores in the same words, so that only the files can have changed. */
bool tls_stores_eq(const struct tls_settings *a, const struct tls_settings *b);
/* Whether a file that the context was made of is another one now. */
bool tls_is_rewritten(const struct tls_context *context);

#endif
