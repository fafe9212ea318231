/* What the configuration says of logging in by SASL, on a listener. */
#ifndef BARNABAS_SASL_SETTINGS_H
#define BARNABAS_SASL_SETTINGS_H

#include "config/config.h"
#include "security/sasl.h"

/*
 * The module that counts for one mechanism of a listener: that of listener.name.LISTENER.MECHANISM.sasl.jaas.config, or
 * else the section LISTENER.KafkaServer or KafkaServer of the file that the property java.security.auth.login.config
 * names in KAFKA_OPTS. In the arena.
 */
bool sasl_login_of(const struct broker_config *config, const struct listener *listener, enum sasl_mechanism mechanism,
                   struct arena *a, struct sasl_login *out, struct fail *fail) NODISCARD;
/* The same of a client: the value of sasl.jaas.config, or NULL for the section KafkaClient of that file. */
bool sasl_client_login_of(const char *jaas, enum sasl_mechanism mechanism, struct arena *a, struct sasl_login *out,
                          struct fail *fail) NODISCARD;

#endif
