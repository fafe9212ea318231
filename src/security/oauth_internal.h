/* What both sides of OAUTHBEARER need of a configuration. */
#ifndef BARNABAS_OAUTH_INTERNAL_H
#define BARNABAS_OAUTH_INTERNAL_H

#include "security/http.h"
#include "security/oauth.h"

/* The class that is named for OAUTHBEARER, one of those with that end; "": none. False: another one. */
bool oauth_handler(const struct login_settings *s, const char *key, const char *secured, const char *unsecured,
                   bool *is_secured, struct fail *fail) NODISCARD;
/* The URL of that key, which has to be set, and to be one of those that KAFKA_OPTS allows, if it allows any. */
const char *oauth_url(const struct login_settings *s, const char *key, struct fail *fail);
/* ssl.truststore.* among the module's options. `trust` has nothing if they say nothing. */
bool oauth_trust(const struct jaas_module *module, struct keystore *trust, struct fail *fail) NODISCARD;

#endif
