/* What the properties of a client say of encryption and of logging in, by the names that Java's clients have. */
#ifndef BARNABAS_TOOLS_KIT_CLIENT_SECURITY_H
#define BARNABAS_TOOLS_KIT_CLIENT_SECURITY_H

#include "security/sasl_settings.h"
#include "security/tls.h"

struct client_security {
    bool encrypts, logs_in;
    struct tls_settings tls;
    struct sasl_login login;
};

/* `get` says what a property is, or NULL. Texts are the properties' or in the arena. */
bool client_security_read(const char *(*get)(const void *properties, const char *name), const void *properties,
                          struct arena *a, struct client_security *out, struct fail *fail) NODISCARD;

/* A store in PEM, in the arena: the keys that are in it, and the certificates. NULL: there are none. */
bool client_security_pem(const struct keystore_source *source, enum keystore_use use, struct arena *a,
                         const char **keys, const char **certificates, struct fail *fail) NODISCARD;

#endif
