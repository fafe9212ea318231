#include "page/status_internal.h"

#include "base/clock.h"

struct str status_text(struct status *s, struct str text)
{
    struct strbuf clean = {0};
    if (text.p == NULL)
        return STR_NULL;
    strbuf_utf8(&clean, text);
    struct str copy = {arena_cstr(&s->memory, (struct str){clean.p, (int32_t)clean.len}), (int32_t)clean.len};
    strbuf_deinit(&clean);
    return copy;
}

/* As Apache's BrokerState numbers them. */
const char *status_state_name(int state)
{
    switch (state) {
    case 0:
        return "not running";
    case 1:
        return "starting";
    case 2:
        return "recovering its logs";
    case 3:
        return "running";
    case 6:
        return "handing its leaderships over";
    case 7:
        return "stopping";
    default:
        return "unknown";
    }
}

static void gather_settings(struct status *s, const struct broker_config *config)
{
    s->settings = ARENA_ARRAY(&s->memory, struct status_setting, config->entry_count + 1);
    for (int i = 0; i < config->entry_count; i++) {
        const struct config_entry *e = &config->entries[i];
        const char *usual = e->key != NULL ? e->key->default_text : NULL;
        if (config_raw(config, e->name) != e->value || (usual != NULL && strcmp(usual, e->value) == 0))
            continue; /* another entry counts more */
        bool secret = config_entry_is_secret(e);
        s->settings[s->setting_count++] = (struct status_setting){status_text(s, str_of(e->name)),
                                                                  secret ? STR_NULL : status_text(s, str_of(e->value))};
    }
}

static void gather_lines(struct status *s)
{
    s->line_count = recent_lines_read(s->lines);
}

struct status *status_gather(const struct status_matter *from)
{
    struct status *s = xcalloc(1, sizeof(*s));
    s->now_ms = clock_wall_ms();
    s->broker_id = s->controller = STATUS_UNKNOWN;
    status_gather_broker(s, from);
    if (from->look != NULL)
        status_gather_cluster(s, from);
    gather_settings(s, from->config);
    gather_lines(s);
    status_judge(s);
    return s;
}

void status_free(struct status *s)
{
    arena_deinit(&s->memory);
    free(s);
}
