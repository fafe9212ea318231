/* What the configuration says of logging in by SASL, on a listener. */
#ifndef BARNABAS_SASL_SETTINGS_H
#define BARNABAS_SASL_SETTINGS_H

#include "security/login_settings.h"
#include "security/sasl.h"

enum sasl_side { SASL_SERVER, SASL_CLIENT };

/*
 * How one mechanism of a listener is logged in by, or how this broker does so itself on others' listeners of that name.
 * The module that counts for one mechanism of a listener: that of listener.name.LISTENER.MECHANISM.sasl.jaas.config, or
 * else the section LISTENER.KafkaServer or KafkaServer of the file that the property java.security.auth.login.config
 * names in KAFKA_OPTS. In the arena. Classes of Java's that would do something else are refused.
 */
bool sasl_login_of(const struct broker_config *config, const struct listener *listener, enum sasl_mechanism mechanism,
                   enum sasl_side side, struct arena *a, struct sasl_login *out, struct fail *fail) NODISCARD;
void sasl_login_deinit(struct sasl_login *login); /* zeroed is fine */
/* The same of a tool, by sasl.jaas.config or the section KafkaClient of that file. */
bool sasl_client_login_of(const struct login_settings *settings, enum sasl_mechanism mechanism, struct arena *a,
                          struct sasl_login *out, struct fail *fail) NODISCARD;
/* A section of that file. NULL in `out`: it has none of that name, or there is no file. */
bool sasl_file_section(const char *name, struct arena *a, const struct jaas_section **out, struct fail *fail) NODISCARD;

#endif
