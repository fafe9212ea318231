#include "tools/clients/verifiable.h"

#include "base/clock.h"
#include "base/strbuf.h"

/* ---- Events ---- */

json_t *verifiable_event_new(const char *name)
{
    json_t *event = json_object();
    json_object_set_new(event, "timestamp", json_integer(clock_wall_ms()));
    json_object_set_new(event, "name", json_string(name));
    return event;
}

void event_print(json_t *event)
{
    char *text = json_dumps(event, JSON_COMPACT);
    ensure(text != NULL);
    puts(text);
    fflush(stdout); /* who reads it waits for it */
    free(text);
    json_decref(event);
}

void event_print_plain(const char *name)
{
    event_print(verifiable_event_new(name));
}

json_t *event_text(const void *text, size_t len)
{
    static const char replacement[] = "\xef\xbf\xbd";
    struct strbuf b = {0};
    if (text == NULL)
        return json_null();
    json_t *json = json_stringn(text, len);
    if (json != NULL)
        return json;
    for (const unsigned char *at = text; at < (const unsigned char *)text + len; at++) {
        if (*at < 0x80)
            strbuf_add(&b, at, 1);
        else
            strbuf_puts(&b, replacement);
    }
    json = json_stringn(b.p, b.len);
    strbuf_deinit(&b);
    return json;
}

/* ---- Options ---- */

const char *verifiable_bootstrap(const struct options *o)
{
    const char *server = options_get(o, "bootstrap-server"), *list = options_get(o, "broker-list");
    if (server != NULL && list != NULL) {
        options_complain(o, "argument --broker-list: not allowed with argument --bootstrap-server");
        return NULL;
    }
    if (server == NULL && list == NULL)
        options_complain(o, "one of the arguments --bootstrap-server --broker-list is required");
    return server != NULL ? server : list;
}

bool verifiable_need(const struct options *o, const char *name)
{
    if (options_has(o, name))
        return true;
    options_complain(o, "argument --%s is required", name);
    return false;
}

int verifiable_parse(struct options *o, const struct option_spec *specs, int spec_count, int argc, char **argv,
                     const char *purpose)
{
    static char help[] = "--help";
    char *only_help[] = {argv[0], help, NULL};
    bool none = argc < 2;
    return options_parse(o, OPTIONS_ARGPARSE, specs, spec_count, none ? 2 : argc, none ? only_help : argv, purpose);
}
