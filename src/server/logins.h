/* How clients say who they are, listener by listener: what the configuration asks for, made ready. */
#ifndef BARNABAS_LOGINS_H
#define BARNABAS_LOGINS_H

#include "config/config.h"
#include "security/principal.h"
#include "security/sasl.h"

struct mechanism_login {
    struct sasl_login login;
    int64_t max_reauth_ms; /* connections.max.reauth.ms; 0: a login never runs out by itself (KIP-368) */
};

struct listener_logins {
    struct principal_rules *subject_rules; /* whom a certificate names */
    bool sasl;                             /* nobody is served before such a login */
    struct mechanism_login *mechanisms;
    int count;
    const char *const *names; /* of the mechanisms, in the order of sasl.enabled.mechanisms */
};

/* Immutable. Made for as long as the broker runs. */
struct logins;
/* Refused, if a mechanism is not one that is known here, or cannot be logged in by. */
struct logins *logins_new(const struct broker_config *config, const struct sasl_accounts *accounts, struct fail *fail);
void logins_free(struct logins *l);
const struct listener_logins *logins_of(const struct logins *l, const struct listener *listener);

#endif
