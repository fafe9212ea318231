/* What DescribeConfigs shows: the value that counts, where it comes from, and what lies under it.
 */
#include "config/config_internal.h"

static const char *const *description_names_of(const char *name, const struct config_key *key, const char *out[3])
{
    if (key != NULL && key->synonyms != NULL && strcmp(key->name, name) == 0)
        return key->synonyms;
    out[0] = name;
    out[1] = key != NULL && strcmp(key->name, name) != 0 ? key->name : NULL;
    return out;
}

static const struct config_entry *description_entry_of(const struct broker_config *config, const char *name,
                                                       enum config_source source)
{
    for (int i = 0; i < config->entry_count; i++)
        if (config->entries[i].source == source && strcmp(config->entries[i].name, name) == 0)
            return &config->entries[i];
    return NULL;
}

static const char *description_text_of(const struct broker_config *config, const char *name, enum config_source source)
{
    if (source == CONFIG_DEFAULT) {
        const struct config_key *key = config_broker_key(name);
        bool exact = key != NULL && strcmp(key->name, name) == 0;
        return exact && key->dynamic != CONFIG_ONLY_AT_RUN_TIME ? key->default_text : NULL;
    }
    const struct config_entry *entry = description_entry_of(config, name, source);
    return entry ? entry->value : NULL;
}

/*
 * All sources, and in each all names that mean the same. What comes before the first entry of
 * `name` itself does not count: a key is not shown as set because its synonym is.
 */
static void add_synonyms(const struct broker_config *config, const char *name, struct config_description *out)
{
    const struct config_key *key = config_broker_key(name);
    const char *own[3] = {NULL};
    const char *const *names = description_names_of(name, key, own);
    bool found = false;
    for (int source = CONFIG_DYNAMIC_BROKER; source <= CONFIG_DEFAULT; source++) {
        for (const char *const *n = names; *n != NULL; n++) {
            const char *text = description_text_of(config, *n, (enum config_source)source);
            found = found || (text != NULL && strcmp(*n, name) == 0);
            if (text == NULL || !found)
                continue;
            ensure(out->synonym_count < CONFIG_MOST_SYNONYMS);
            out->synonyms[out->synonym_count++] = (struct config_synonym){
                .name = *n,
                .value = out->sensitive ? NULL : text,
                .source = (enum config_source)source,
            };
        }
    }
}

static void describe_key(const struct config_key *key, struct config_description *out)
{
    out->doc = key ? key->doc : NULL;
    out->type = key ? key->type : CONFIG_UNKNOWN;
    out->sensitive = key == NULL || key->type == CONFIG_PASSWORD;
    out->source = CONFIG_DEFAULT;
}

static void take_source(struct config_description *out)
{
    if (out->synonym_count > 0)
        out->source = out->synonyms[0].source;
}

/* A synonym that was set at run time takes the effect from what the file says. */
static bool is_masked(const struct broker_config *config, const struct config_entry *entry)
{
    const char *own[3] = {NULL};
    for (const char *const *n = description_names_of(entry->name, entry->key, own); *n != NULL; n++) {
        const struct config_entry *other = config_entry(config, *n);
        if (other != NULL && other->source < entry->source && own[0] == NULL)
            return true;
    }
    return false;
}

bool config_describe(const struct broker_config *config, const char *name, struct arena *a,
                     struct config_description *out)
{
    const struct config_key *key = config_broker_key(name);
    const struct config_entry *entry = config_entry(config, name);
    bool exact = key != NULL && strcmp(key->name, name) == 0;
    if (entry == NULL && !exact)
        return false;
    *out = (struct config_description){.name = entry ? entry->name : key->name};
    describe_key(key, out);
    if (!exact) /* Apache explains no key of a single listener */
        out->doc = NULL;
    out->read_only = !exact || key->dynamic == CONFIG_READ_ONLY || key->dynamic == CONFIG_ONLY_AT_RUN_TIME;
    const char *text = entry && !is_masked(config, entry) ? entry->value : key ? key->default_text : NULL;
    if (text != NULL && !out->sensitive)
        out->value = value_normalize(key, text, a);
    add_synonyms(config, name, out);
    take_source(out);
    return true;
}

static bool description_is_shown(const struct broker_config *config, const struct config_key *key)
{
    return !key->internal && config_entry(config, key->name) == NULL;
}

struct config_list config_names(const struct broker_config *config, struct arena *a)
{
    size_t count;
    const struct config_key *keys = config_broker_keys(&count);
    const char **names = ARENA_ARRAY(a, const char *, count + (size_t)config->entry_count);
    struct config_list list = {.items = names};
    for (size_t i = 0; i < count; i++)
        if (description_is_shown(config, &keys[i]))
            names[list.count++] = keys[i].name;
    for (int i = 0; i < config->entry_count; i++) /* of two sources the first counts */
        if (config_entry(config, config->entries[i].name) == &config->entries[i])
            names[list.count++] = config->entries[i].name;
    return list;
}

/* ---- Topics ---- */

/* A broker's value may be written in another unit, so it is shown from the field. */
static const char *topic_default(const struct broker_config *config, const struct config_key *key, struct arena *a)
{
    if (key->broker_key == NULL)
        return key->default_text;
    const struct config_key *broker_key = config_broker_key(key->broker_key);
    const char *text = config_raw(config, broker_key->name);
    if (key->type == CONFIG_LIST)
        return value_normalize(broker_key, text ? text : broker_key->default_text, a);
    struct strbuf out = {0};
    value_format(broker_key, config, &out);
    text = arena_cstr(a, (struct str){out.p, (int32_t)out.len});
    strbuf_deinit(&out);
    return text;
}

bool topic_config_describe(const struct broker_config *config, const struct config_pair *own, size_t count,
                           const char *name, struct arena *a, struct config_description *out)
{
    const struct config_key *key = config_topic_key(name);
    const char *text = NULL;
    for (size_t i = 0; i < count; i++)
        if (strcmp(own[i].key, name) == 0)
            text = own[i].value;
    if (key == NULL)
        return false;
    *out = (struct config_description){.name = key->name};
    describe_key(key, out);
    out->value = text ? value_normalize(key, text, a) : topic_default(config, key, a);
    if (text != NULL)
        out->synonyms[out->synonym_count++] = (struct config_synonym){key->name, out->value, CONFIG_DYNAMIC_TOPIC};
    if (key->broker_key != NULL)
        add_synonyms(config, key->broker_key, out);
    take_source(out);
    return true;
}
