/*
 * Values that stand somewhere else (KIP-297, KIP-421, KIP-993): with
 *
 *     config.providers=vault
 *     config.providers.vault.class=org.apache.kafka.common.config.provider.FileConfigProvider
 *     ssl.key.password=${vault:/etc/kafka/secrets.properties:key}
 *
 * the password is what /etc/kafka/secrets.properties has for `key`. Kafka's three providers are known: of the lines of
 * a file of properties, of the files of a directory, and of environment variables. What names no provider is no
 * variable.
 *
 * Other than with Kafka a variable that stands for nothing is an error: as itself it would be a password that anybody
 * can guess.
 */
#ifndef BARNABAS_VARIABLES_H
#define BARNABAS_VARIABLES_H

#include "config/properties.h"

/* Where the providers' own settings are found: the value of a name, or NULL. */
struct variables {
    const char *(*get)(const void *ctx, const char *name);
    const void *ctx;
};

/* Whether a key is one of theirs: config.providers, or of one of them. */
bool variables_is_setting(const char *name);
/* The value with what its variables stand for; in the arena, or `value` itself where it has none. NULL: it cannot. */
const char *variables_replace(const struct variables *v, const char *value, struct arena *a, struct fail *fail);
/* Whether each of config.providers is one of those. */
bool variables_check(const struct variables *v, struct fail *fail);
/* Both for a file of properties, which names the providers as well; and values lose the blanks around them, as Java's
 * clients take them. Errors name the key. */
bool variables_replace_all(struct properties *p, struct arena *a, struct fail *fail);

#endif
