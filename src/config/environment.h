/*
 * Settings from the environment, as the image apache/kafka takes them, for images that have no shell to make a file of
 * them: KAFKA_LOG_DIRS=/data is log.dirs=/data. Behind KAFKA_, _ stands for a dot, __ for an underscore, ___ for a
 * dash.
 *
 *     KAFKA_..._FILE                    the value is what is in that file, without the end of its line
 *     KAFKA_SSL_KEYSTORE_FILENAME       a name in the folder of secrets: ssl.keystore.location; likewise TRUSTSTORE
 *     KAFKA_SSL_KEYSTORE_CREDENTIALS    a name there: what is in it is ssl.keystore.password; likewise TRUSTSTORE, KEY
 *     KAFKA_ADVERTISED_LISTENERS        without KAFKA_LISTENERS, those are the same on all addresses
 *     KAFKA_LOG4J_ROOT_LOGLEVEL, KAFKA_LOG4J_LOGGERS    levels: environment_set_levels()
 *     KAFKA_OPTS, KAFKA_HEAP_OPTS ...   are for scripts, and no settings
 */
#ifndef BARNABAS_ENVIRONMENT_H
#define BARNABAS_ENVIRONMENT_H

#include "base/arena.h"
#include "base/fail.h"

#define ENVIRONMENT_SECRETS "/etc/kafka/secrets"

struct environment_settings {
    const char **pairs; /* "key=value", in the arena */
    size_t count;
};

/* `variables` ends with NULL, as environ does. False: a file cannot be read. */
bool environment_read(char *const *variables, const char *secrets, struct arena *a, struct environment_settings *out,
                      struct fail *fail) NODISCARD;
/* Of loggers that there are; what else is asked for is told of. */
void environment_set_levels(char *const *variables);

#endif
