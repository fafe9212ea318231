/*
 * What is set for a login, wherever that is written: in a broker's configuration for a listener, or in the properties
 * of a tool. Keys are those of Kafka, without a listener's prefix.
 */
#ifndef BARNABAS_LOGIN_SETTINGS_H
#define BARNABAS_LOGIN_SETTINGS_H

#include "config/config.h"

struct login_settings {
    const struct broker_config *config; /* with it a listener, whose keys count before those of all */
    const char *listener;
    const char *mechanism; /* whose keys count before those of the listener; NULL: it has none of its own */
    const char *(*property)(const void *properties, const char *key); /* without a configuration; NULL: not set */
    const void *properties;
    const char *place; /* for messages: where it is set */
};

struct login_settings login_settings_of(const struct broker_config *config, const struct listener *listener,
                                        const char *mechanism, struct arena *a);
struct login_settings login_settings_of_client(const char *(*property)(const void *properties, const char *key),
                                               const void *properties);

/* What counts, its default if nothing is set. NULL: nothing, or an empty text. */
const char *login_text(const struct login_settings *s, const char *key);
int64_t login_number(const struct login_settings *s, const char *key); /* 0: nothing */
double login_fraction(const struct login_settings *s, const char *key);
/* What is set for the mechanism, or by the tool, alone. NULL: nothing; "" is something. */
const char *login_own_text(const struct login_settings *s, const char *key);

#endif
