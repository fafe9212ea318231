/* kafka-configs for topics, brokers and their loggers: DescribeConfigs, AlterConfigs and IncrementalAlterConfigs. */
#include <inttypes.h>
#include <stdio.h>

#include "controller/admin.h"
#include "protocol/error.h"
#include "protocol/msg/alter_configs.h"
#include "protocol/msg/describe_configs.h"
#include "protocol/msg/incremental_alter_configs.h"
#include "tools/configs/configs.h"

enum { OP_SET, OP_DELETE };
enum { RESOURCE_TOPIC = 2, RESOURCE_BROKER = 4, RESOURCE_LOGGER = 8, RESOURCE_METRICS = 16 };

struct settings {
    struct describe_configs_resource_result *v;
    int32_t n;
};

static int8_t resource_type(const char *type)
{
    return strcmp(type, ENTITY_TOPICS) == 0    ? RESOURCE_TOPIC
           : strcmp(type, ENTITY_BROKERS) == 0 ? RESOURCE_BROKER
           : strcmp(type, ENTITY_LOGGERS) == 0 ? RESOURCE_LOGGER
                                               : RESOURCE_METRICS;
}

/* Brokers know their own settings only; what all of them have, and topics, any of them knows. */
static int32_t who_knows(int8_t type, const char *name)
{
    return (type == RESOURCE_BROKER || type == RESOURCE_LOGGER) && *name != '\0' ? atoi(name) : ASK_ANY;
}

static bool resource_configs_check_topic(struct config_command *c, int8_t type, const char *name, struct fail *fail)
{
    struct str problem = STR_NULL;
    if (type == RESOURCE_TOPIC && *name != '\0')
        problem = topic_name_problem(&c->arena, str_of(name));
    if (problem.p == NULL)
        return true;
    struct str text = ask_exception_text(&c->arena, ERR_INVALID_TOPIC_EXCEPTION, problem);
    c->thrown = true;
    return fail_set(fail, "%.*s", STR_ARGS(text));
}

/* ---- Describing ---- */

static int resource_configs_by_name(const void *a, const void *b)
{
    return str_cmp(((const struct describe_configs_resource_result *)a)->name,
                   ((const struct describe_configs_resource_result *)b)->name);
}

/* Whether the entity has it itself, and not from somewhere else. */
static bool resource_configs_is_own(int8_t type, const char *name, const struct describe_configs_resource_result *s)
{
    static const int8_t own[] = {
        [RESOURCE_TOPIC] = CONFIG_DYNAMIC_TOPIC, [RESOURCE_BROKER] = CONFIG_DYNAMIC_BROKER, [RESOURCE_METRICS] = 7};
    if (type == RESOURCE_LOGGER)
        return true;
    return s->config_source == (type == RESOURCE_BROKER && *name == '\0' ? CONFIG_DYNAMIC_CLUSTER : own[type]);
}

/* Into that arena. */
static bool get_settings(struct config_command *c, int8_t type, const char *name, bool all, struct settings *out,
                         struct arena *arena, struct fail *fail)
{
    struct describe_configs_request request;
    struct describe_configs_response response;
    if (!resource_configs_check_topic(c, type, name, fail))
        return false;
    describe_configs_request_init(&request);
    request.include_synonyms = true;
    ARRAY_MAKE(arena, request.resources, 1);
    describe_configs_resource_init(&request.resources.items[0]);
    request.resources.items[0].resource_type = type;
    request.resources.items[0].resource_name = str_of(name);
    request.resources.items[0].configuration_keys.len = -1;
    if (!config_ask_into(c, who_knows(type, name), API_DESCRIBE_CONFIGS, &request, &response, arena, fail))
        return false;
    *out = (struct settings){ARENA_ARRAY(arena, struct describe_configs_resource_result, 1), 0};
    for (int32_t i = 0; i < response.results.len; i++) {
        const struct describe_configs_result *r = &response.results.items[i];
        if (r->error_code != ERR_NONE)
            return config_refused(c, r->error_code, r->error_message, fail);
        out->v = r->configs.len > 0 ? r->configs.items : out->v;
        for (int32_t k = 0; k < r->configs.len; k++)
            if (all || resource_configs_is_own(type, name, &r->configs.items[k]))
                out->v[out->n++] = r->configs.items[k];
    }
    qsort(out->v, (size_t)out->n, sizeof(*out->v), resource_configs_by_name);
    return true;
}

static const char *source_name(int8_t source)
{
    static const char *const names[] = {"UNKNOWN",
                                        "DYNAMIC_TOPIC_CONFIG",
                                        "DYNAMIC_BROKER_CONFIG",
                                        "DYNAMIC_DEFAULT_BROKER_CONFIG",
                                        "STATIC_BROKER_CONFIG",
                                        "DEFAULT_CONFIG",
                                        "DYNAMIC_BROKER_LOGGER_CONFIG",
                                        "DYNAMIC_CLIENT_METRICS_CONFIG",
                                        "DYNAMIC_GROUP_CONFIG"};
    return source >= 0 && (size_t)source < ARRAY_LEN(names) ? names[source] : names[0];
}

static struct str resource_configs_text_or_null(struct str s)
{
    return s.p != NULL ? s : STR_LIT("null");
}

static void print_setting(const struct describe_configs_resource_result *s)
{
    printf("  %.*s=%.*s sensitive=%s synonyms={", STR_ARGS(s->name), STR_ARGS(resource_configs_text_or_null(s->value)),
           s->is_sensitive ? "true" : "false");
    for (int32_t i = 0; i < s->synonyms.len; i++) {
        const struct describe_configs_synonym *y = &s->synonyms.items[i];
        printf("%s%s:%.*s=%.*s", i > 0 ? ", " : "", source_name(y->source), STR_ARGS(y->name),
               STR_ARGS(resource_configs_text_or_null(y->value)));
    }
    puts("}");
}

/* What is told of one entity is not kept while the next is asked for: there may be very many. */
static bool resource_configs_describe_one(struct config_command *c, const char *name, struct fail *fail)
{
    const char *type = c->types[0];
    struct arena arena = {0};
    struct settings all;
    if (*name == '\0')
        printf("Default configs for %s in the cluster are:\n", type);
    else
        printf("%s configs for %.*s %s are:\n", c->all ? "All" : "Dynamic", (int)strlen(type) - 1, type, name);
    bool ok = get_settings(c, resource_type(type), name, c->all, &all, &arena, fail);
    for (int32_t i = 0; ok && i < all.n; i++)
        print_setting(&all.v[i]);
    arena_deinit(&arena);
    return ok;
}

static int resource_configs_by_topic(const void *a, const void *b)
{
    return str_cmp(((const struct metadata_response_topic *)a)->name,
                   ((const struct metadata_response_topic *)b)->name);
}

static bool describe_topics(struct config_command *c, const struct metadata_response *m, struct fail *fail)
{
    bool ok = true;
    qsort(m->topics.items, (size_t)m->topics.len, sizeof(*m->topics.items), resource_configs_by_topic);
    for (int32_t i = 0; ok && i < m->topics.len; i++)
        ok = resource_configs_describe_one(c, arena_cstr(&c->arena, m->topics.items[i].name), fail);
    return ok;
}

static bool describe_brokers(struct config_command *c, const struct metadata_response *m, struct fail *fail)
{
    bool ok = true;
    for (int32_t i = 0; ok && i < m->brokers.len; i++)
        ok = resource_configs_describe_one(c, arena_printf(&c->arena, "%" PRId32, m->brokers.items[i].node_id).p, fail);
    return ok && resource_configs_describe_one(c, "", fail);
}

static bool describe_all(struct config_command *c, struct fail *fail)
{
    struct metadata_response m;
    bool topics = resource_type(c->types[0]) == RESOURCE_TOPIC;
    if (resource_type(c->types[0]) == RESOURCE_METRICS)
        return config_refused(c, ERR_UNSUPPORTED_VERSION,
                              STR_LIT("The broker does not support LIST_CLIENT_METRICS_RESOURCES"), fail);
    if (!ask_metadata(c->asker, NULL, topics ? -1 : 0, &m, &c->arena, fail)) {
        c->thrown = true;
        return false;
    }
    return topics ? describe_topics(c, &m, fail) : describe_brokers(c, &m, fail);
}

/* ---- Altering ---- */

static const struct describe_configs_resource_result *find_setting(const struct settings *all, const char *name)
{
    for (int32_t i = 0; i < all->n; i++)
        if (str_is(all->v[i].name, name))
            return &all->v[i];
    return NULL;
}

static void note_unknown(struct config_command *c, const struct settings *known, const char *name, struct str *list)
{
    if (find_setting(known, name) == NULL)
        *list = arena_printf(&c->arena, "%.*s%s%s", STR_ARGS(*list), list->len > 0 ? "," : "", name);
}

/* What is deleted must be there; a logger must be known even to be set. */
static bool check_known(struct config_command *c, int8_t type, const struct settings *known, struct fail *fail)
{
    struct str unknown = STR_NULL;
    for (int32_t i = 0; i < c->drop_count; i++)
        note_unknown(c, known, c->drop[i], &unknown);
    for (int32_t i = 0; type == RESOURCE_LOGGER && i < c->add_count; i++)
        note_unknown(c, known, c->add[i].key, &unknown);
    return unknown.len == 0 || fail_set(fail, "Invalid %s: %.*s",
                                        type == RESOURCE_LOGGER ? "broker logger(s)" : "config(s)", STR_ARGS(unknown));
}

static bool change_some(struct config_command *c, int8_t type, const char *name, struct fail *fail)
{
    struct incremental_alter_configs_request request;
    struct incremental_alter_configs_response response;
    incremental_alter_configs_request_init(&request);
    ARRAY_MAKE(&c->arena, request.resources, 1);
    struct incremental_alter_configs_alter_configs_resource *r = &request.resources.items[0];
    incremental_alter_configs_alter_configs_resource_init(r);
    r->resource_type = type;
    r->resource_name = str_of(name);
    ARRAY_MAKE(&c->arena, r->configs, c->add_count + c->drop_count);
    for (int32_t i = 0; i < r->configs.len; i++) {
        struct incremental_alter_configs_alterable_config *o = &r->configs.items[i];
        bool set = i < c->add_count;
        incremental_alter_configs_alterable_config_init(o);
        o->name = str_of(set ? c->add[i].key : c->drop[i - c->add_count]);
        o->value = str_of(set ? c->add[i].value : "");
        o->config_operation = set ? OP_SET : OP_DELETE;
    }
    if (!config_ask(c, who_knows(type, name), API_INCREMENTAL_ALTER_CONFIGS, &request, &response, fail))
        return false;
    for (int32_t i = 0; i < response.responses.len; i++)
        if (response.responses.items[i].error_code != ERR_NONE)
            return config_refused(c, response.responses.items[i].error_code, response.responses.items[i].error_message,
                                  fail);
    return true;
}

/* All that the broker is to have from now on. A value that it hides must be given again. */
static bool fill_broker(struct config_command *c, const struct settings *old, struct alter_configs_resource *r,
                        struct fail *fail)
{
    struct str hidden = STR_NULL;
    ARRAY_MAKE(&c->arena, r->configs, old->n + c->add_count);
    r->configs.len = 0;
    for (int32_t i = 0; i < old->n + c->add_count; i++) {
        bool is_old = i < old->n;
        struct str key = is_old ? old->v[i].name : str_of(c->add[i - old->n].key),
                   value = is_old ? old->v[i].value : str_of(c->add[i - old->n].value);
        bool leave_out = is_old && config_added(c, arena_cstr(&c->arena, key)) != NULL;
        for (int32_t k = 0; k < c->drop_count; k++)
            leave_out |= str_is(key, c->drop[k]);
        if (leave_out)
            continue;
        if (value.p == NULL)
            hidden = arena_printf(&c->arena, "%.*s%s%.*s", STR_ARGS(hidden), hidden.len > 0 ? ", " : "", STR_ARGS(key));
        alter_configs_alterable_config_init(&r->configs.items[r->configs.len]);
        r->configs.items[r->configs.len].name = key;
        r->configs.items[r->configs.len++].value = value;
    }
    return hidden.len == 0 || fail_set(fail,
                                       "All sensitive broker config entries must be specified for --alter, missing "
                                       "entries: Set(%.*s)",
                                       STR_ARGS(hidden));
}

static bool change_broker(struct config_command *c, const struct settings *old, const char *name, struct fail *fail)
{
    struct alter_configs_request request;
    struct alter_configs_response response;
    alter_configs_request_init(&request);
    ARRAY_MAKE(&c->arena, request.resources, 1);
    struct alter_configs_resource *r = &request.resources.items[0];
    alter_configs_resource_init(r);
    r->resource_type = RESOURCE_BROKER;
    r->resource_name = str_of(name);
    if (!fill_broker(c, old, r, fail) ||
        !config_ask(c, who_knows(RESOURCE_BROKER, name), API_ALTER_CONFIGS, &request, &response, fail))
        return false;
    for (int32_t i = 0; i < response.responses.len; i++)
        if (response.responses.items[i].error_code != ERR_NONE)
            return config_refused(c, response.responses.items[i].error_code, response.responses.items[i].error_message,
                                  fail);
    return true;
}

static bool resource_configs_alter(struct config_command *c, struct fail *fail)
{
    const char *type_name = c->types[0], *name = c->names[0];
    int8_t type = resource_type(type_name);
    struct settings old;
    if (!get_settings(c, type, name, false, &old, &c->arena, fail) || !check_known(c, type, &old, fail))
        return false;
    if (type == RESOURCE_BROKER ? !change_broker(c, &old, name, fail) : !change_some(c, type, name, fail))
        return false;
    if (*name != '\0')
        printf("Completed updating config for %.*s %s.\n", (int)strlen(type_name) - 1, type_name, name);
    else
        printf("Completed updating default config for %s in the cluster.\n", type_name);
    return true;
}

bool configs_of_resources(struct config_command *c, struct fail *fail)
{
    if (c->alter)
        return resource_configs_alter(c, fail);
    return c->name_count > 0 ? resource_configs_describe_one(c, c->names[0], fail) : describe_all(c, fail);
}
