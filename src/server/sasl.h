/* SaslHandshake, SaslAuthenticate, and tokens without a frame of Kafka's (KIP-12, KIP-43, KIP-152). */
#ifndef BARNABAS_SERVER_SASL_H
#define BARNABAS_SERVER_SASL_H

#include "server/session.h"

/* A frame that is a token and nothing else, as SaslHandshake in version 0 has announced it. */
void sasl_take_token(struct session *session, struct exchange *x);

#endif
