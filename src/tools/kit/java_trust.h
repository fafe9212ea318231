/* Whom a tool trusts that asks over HTTPS: the store that -Djavax.net.ssl.trustStore in KAFKA_OPTS names, as Java does.
 */
#ifndef BARNABAS_TOOLS_KIT_JAVA_TRUST_H
#define BARNABAS_TOOLS_KIT_JAVA_TRUST_H

#include "base/arena.h"
#include "base/fail.h"
#include "security/keystore.h"

/* `out` stays as it is if the URL is none of HTTPS, or no store is named. False: the store cannot be read. */
bool java_trust_load(const char *url, struct arena *a, struct keystore *out, struct fail *fail) NODISCARD;

#endif
