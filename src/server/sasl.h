/* SaslHandshake, SaslAuthenticate, and tokens without a frame of Kafka's (KIP-12, KIP-43, KIP-152). */
#ifndef BARNABAS_SERVER_SASL_H
#define BARNABAS_SERVER_SASL_H

#include "server/session.h"

/* A frame that is a token and nothing else, as SaslHandshake in version 0 has announced it. */
void sasl_take_token(struct session *session, struct exchange *x);
/*
 * Whether a first frame that is no request is taken as a token of GSSAPI, as clients of Kafka 0.9 begin with. If so, it
 * is dealt with.
 */
bool sasl_takes_old_token(struct session *session, struct exchange *x) NODISCARD;

#endif
