#include "security/login_settings.h"

struct login_settings login_settings_of(const struct broker_config *config, const struct listener *listener,
                                        const char *mechanism, struct arena *a)
{
    return (struct login_settings){.config = config,
                                   .listener = listener->name,
                                   .mechanism = mechanism,
                                   .place = arena_printf(a, "listener %s", listener->name).p};
}

struct login_settings login_settings_of_client(const char *(*property)(const void *properties, const char *key),
                                               const void *properties)
{
    return (struct login_settings){.property = property, .properties = properties, .place = "the client"};
}

static const char *client_text(const struct login_settings *s, const char *key)
{
    const struct config_key *row = config_broker_key(key); /* clients have the defaults of brokers */
    const char *text = s->property(s->properties, key);
    ensure(row != NULL);
    return text != NULL ? text : row->default_text;
}

const char *login_text(const struct login_settings *s, const char *key)
{
    const char *text =
        s->config != NULL ? config_listener_raw(s->config, s->listener, s->mechanism, key) : client_text(s, key);
    return text != NULL && *text != '\0' ? text : NULL;
}

int64_t login_number(const struct login_settings *s, const char *key)
{
    const char *text = login_text(s, key);
    return text != NULL ? strtoll(text, NULL, 10) : 0;
}

double login_fraction(const struct login_settings *s, const char *key)
{
    const char *text = login_text(s, key);
    return text != NULL ? strtod(text, NULL) : 0;
}

const char *login_own_text(const struct login_settings *s, const char *key)
{
    return s->config != NULL ? config_mechanism_raw(s->config, s->listener, s->mechanism, key)
                             : s->property(s->properties, key);
}
