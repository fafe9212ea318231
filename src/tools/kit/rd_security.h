/* How librdkafka protects its connections and logs in, by the properties of Java's clients. */
#ifndef BARNABAS_TOOLS_KIT_RD_SECURITY_H
#define BARNABAS_TOOLS_KIT_RD_SECURITY_H

#include "tools/kit/rd_client.h"

/* A process has one login, which is that of the last call. */
bool rd_security_set(rd_kafka_conf_t *conf, const struct rd_props *p, struct fail *fail) NODISCARD;
/* Of a client that was made with it. */
void rd_security_begin(rd_kafka_t *rk);

#endif
