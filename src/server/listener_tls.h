/*
 * What each listener encrypts with, and brokers among themselves: made when the broker starts, and anew when their
 * stores are changed while it runs (KIP-226, KIP-978).
 */
#ifndef BARNABAS_LISTENER_TLS_H
#define BARNABAS_LISTENER_TLS_H

#include "net/net.h"

struct listener_tls;
/* Refused: a listener cannot be protected as the configuration says, which outlives this. */
struct listener_tls *listener_tls_new(const struct broker_config *config, struct fail *fail);
void listener_tls_free(struct listener_tls *t);
/* To connections that are made from now on: that come, that go to other brokers, and to their control planes. */
void listener_tls_apply(struct listener_tls *t, struct net_server *net, struct client_route *between,
                        struct client_route *control);
/*
 * Whether a running broker could go on with the stores of that configuration. The text is Apache's. Any thread that may
 * wait: files are read, keys opened, and hands shaken.
 */
bool listener_tls_check(struct listener_tls *t, const struct broker_config *next, struct fail *fail) NODISCARD;
/* The same, and goes on with them; files that were rewritten are read, too. One at a time. False: nothing is different.
 */
bool listener_tls_renew(struct listener_tls *t, const struct broker_config *next);

#endif
