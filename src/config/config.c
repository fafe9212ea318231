/*
 * Loading: the file and the command line become entries, the entries and the defaults fields.
 *
 * Entries keep what was said, and where, for messages and for DescribeConfigs; of one name there may be several, from
 * different sources, of which the first counts. Fields are what counts: first the defaults are stored, then the entries
 * from the last to the first, each over what was there, then what follows from other keys.
 */
#include "config/config.h"

#include <stdarg.h>
#include <stdio.h>

#include "config/config_internal.h"
#include "config/variables.h"

struct warner {
    config_warn_fn warn;
    void *ctx;
};

static void config_warn(const struct warner *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void config_warn(const struct warner *w, const char *fmt, ...)
{
    if (w->warn == NULL)
        return;
    va_list args;
    struct fail line;
    va_start(args, fmt);
    vsnprintf(line.text, sizeof(line.text), fmt, args);
    va_end(args);
    w->warn(w->ctx, line.text);
}

/* ---- Entries ---- */

const struct config_entry *config_entry(const struct broker_config *config, const char *name)
{
    for (int i = 0; i < config->entry_count; i++)
        if (strcmp(config->entries[i].name, name) == 0)
            return &config->entries[i];
    return NULL;
}

bool config_entry_is_secret(const struct config_entry *entry)
{
    return entry->key == NULL || entry->key->type == CONFIG_PASSWORD;
}

const char *config_raw(const struct broker_config *config, const char *name)
{
    const struct config_entry *entry = config_entry(config, name);
    return entry ? entry->value : NULL;
}

bool config_has_text(const struct broker_config *config, const char *name)
{
    const char *text = config_raw(config, name);
    return text != NULL && text[strspn(text, " \t")] != '\0';
}

static const char *listener_raw(const struct broker_config *config, const char *listener, const char *mechanism,
                                const char *name)
{
    char full[512];
    snprintf(full, sizeof(full), "listener.name.%s.%s%s%s", listener, mechanism ? mechanism : "", mechanism ? "." : "",
             name);
    for (char *c = full; c < full + strlen(full) - strlen(name); c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c - 'A' + 'a');
    return config_raw(config, full);
}

const char *config_listener_raw(const struct broker_config *config, const char *listener, const char *mechanism,
                                const char *name)
{
    const struct config_key *key = config_broker_key(name);
    ensure(key != NULL);
    const char *text = mechanism ? listener_raw(config, listener, mechanism, name) : NULL;
    if (text == NULL)
        text = listener_raw(config, listener, NULL, name);
    if (text == NULL)
        text = config_raw(config, name);
    return text ? text : key->default_text;
}

const char *config_mechanism_raw(const struct broker_config *config, const char *listener, const char *mechanism,
                                 const char *name)
{
    return listener_raw(config, listener, mechanism, name);
}

const char *config_listener_text(const struct broker_config *config, const char *listener, const char *name,
                                 struct arena *a)
{
    const char *text = config_listener_raw(config, listener, NULL, name);
    return text ? value_normalize(config_broker_key(name), text, a) : NULL;
}

bool config_listener_has(const struct broker_config *config, const char *listener, const char *name)
{
    return listener_raw(config, listener, NULL, name) != NULL;
}

void config_start(struct broker_config *config, const char *file, size_t most_entries)
{
    *config = (struct broker_config){0};
    config->file = arena_cstr(&config->memory, str_of(file));
    config->entries = ARENA_ARRAY(&config->memory, struct config_entry, most_entries);
}

void config_add(struct broker_config *config, struct config_entry entry)
{
    entry.name = arena_cstr(&config->memory, str_of(entry.name));
    entry.value = arena_cstr(&config->memory, str_of(entry.value));
    entry.key = config_broker_key(entry.name);
    for (int i = 0; i < config->entry_count; i++) {
        struct config_entry *old = &config->entries[i];
        if (old->source == entry.source && strcmp(old->name, entry.name) == 0) {
            *old = entry;
            return;
        }
    }
    config->entries[config->entry_count++] = entry;
}

static void add_override(struct broker_config *config, const char *pair)
{
    char *name = xstrdup(pair), *equals = strchr(name, '=');
    if (equals != NULL)
        *equals = '\0';
    config_add(config, (struct config_entry){.name = name, .value = equals ? equals + 1 : "", .source = CONFIG_STATIC});
    free(name);
}

/* Whichever of broker.id and node.id is not set follows the other. */
static void pair_ids(struct broker_config *config)
{
    static const char *const names[] = {"broker.id", "node.id"};
    for (int i = 0; i < 2; i++) {
        const struct config_entry *set = config_entry(config, names[i]);
        if (set != NULL && config_entry(config, names[1 - i]) == NULL) {
            struct config_entry other = *set;
            other.name = names[1 - i];
            config_add(config, other);
            return;
        }
    }
}

/*
 * A key of Kafka's, or one that could be somebody's. Any other name is what is left of a value of several lines whose
 * ends lack their backslashes: each line of a private key, say. It is shown to nobody, in no log and no answer.
 */
static bool is_name_of_key(const char *name)
{
    return strchr(name, '.') != NULL || config_broker_key(name) != NULL;
}

static void add_all(struct broker_config *config, const struct properties *properties,
                    const struct config_options *options)
{
    size_t most = (size_t)properties->count + options->override_count + 1; /* an id's pair */
    config_start(config, options->file ? options->file : "command line", most);
    for (int i = 0; i < properties->count; i++) {
        const struct property *p = &properties->items[i];
        if (is_name_of_key(p->key))
            config_add(config, (struct config_entry){
                                   .name = p->key, .value = p->value, .source = CONFIG_STATIC, .line = p->line});
    }
    for (size_t i = 0; i < options->override_count; i++)
        add_override(config, options->overrides[i]);
    pair_ids(config);
}

/* ---- Messages ---- */

/* "server.properties:12", or where else the entry comes from. */
static void entry_place(const struct broker_config *config, const struct config_entry *entry, char *out, size_t size)
{
    if (entry->source == CONFIG_DYNAMIC_BROKER)
        snprintf(out, size, "set at run time for this broker");
    else if (entry->source == CONFIG_DYNAMIC_CLUSTER)
        snprintf(out, size, "set at run time for all brokers");
    else if (entry->line > 0)
        snprintf(out, size, "%s:%d", config->file, entry->line);
    else
        snprintf(out, size, "--override");
}

static const char *shown(const struct config_entry *entry)
{
    return entry->key == NULL || entry->key->type == CONFIG_PASSWORD ? "[hidden]" : entry->value;
}

bool config_refuse(const struct broker_config *config, struct fail *fail, const char *name, const char *fmt, ...)
{
    const struct config_entry *entry = config_entry(config, name);
    struct fail why;
    va_list args;
    va_start(args, fmt);
    vsnprintf(why.text, sizeof(why.text), fmt, args);
    va_end(args);
    if (entry == NULL)
        return fail_set(fail, "%s: %s: %s", config->file, name, why.text);
    char place[512];
    entry_place(config, entry, place, sizeof(place));
    return fail_set(fail, "%s: %s=%s: %s", place, name, shown(entry), why.text);
}

static void warn_of(const struct broker_config *config, const struct config_entry *entry, const struct warner *w)
{
    char place[512];
    entry_place(config, entry, place, sizeof(place));
    const struct config_key *key = entry->key;
    if (key != NULL && key->dynamic == CONFIG_ONLY_AT_RUN_TIME)
        config_warn(w, "%s: %s has no effect: it can be set at run time only", place, entry->name);
    else if (key == NULL)
        config_warn(w, "%s: %s is not a known key and has no effect", place, entry->name);
    else if (key->state == CONFIG_NOT_YET)
        config_warn(w, "%s: %s has no effect yet", place, entry->name);
    else if (key->state == CONFIG_NO_EFFECT)
        config_warn(w, "%s: %s has no effect: %s", place, entry->name, key->no_effect_because);
}

static void warn_of_format(struct broker_config *config, const struct warner *w)
{
    const char *format = config_raw(config, "log.message.format.version");
    enum ibp version;
    if (format != NULL && config->inter_broker_protocol_version >= IBP_3_0_IV1 &&
        ibp_parse(text_trim(format, &config->memory), &version) && ibp_magic(version) < 2)
        config_warn(w, "log.message.format.version=%s has no effect with inter.broker.protocol.version=%s", format,
                    ibp_name(config->inter_broker_protocol_version));
}

static void warn_of_nameless(const struct broker_config *config, const struct properties *properties,
                             const struct warner *w)
{
    for (int i = 0; i < properties->count; i++)
        if (!is_name_of_key(properties->items[i].key))
            config_warn(w, "%s:%d: this line has no key, and no effect; does the one before it lack a backslash?",
                        config->file, properties->items[i].line);
}

static void warn_of_all(struct broker_config *config, const struct properties *properties, const struct warner *w)
{
    warn_of_nameless(config, properties, w);
    for (int i = 0; i < config->entry_count; i++)
        if (!variables_is_setting(config->entries[i].name))
            warn_of(config, &config->entries[i], w);
    if (config_entry(config, "offsets.commit.required.acks") != NULL)
        config_warn(w, "offsets.commit.required.acks is deprecated, and gone in Apache Kafka 4.0");
    warn_of_format(config, w);
}

/* ---- Fields ---- */

static bool fill_entry(struct broker_config *config, const struct config_entry *entry, struct fail *fail)
{
    struct config_value value;
    struct fail why = {0};
    const struct config_key *key = entry->key;
    enum value_result result = value_parse(key, entry->value, &config->memory, &value, &why);
    if (result == VALUE_MALFORMED && key->allowed != NULL)
        return config_refuse(config, fail, entry->name, "%s (allowed: %s)", why.text, key->allowed);
    if (result != VALUE_OK)
        return config_refuse(config, fail, entry->name, "%s", why.text);
    if (strcmp(entry->name, key->name) == 0) /* not for a single listener */
        value_store(key, &value, config);
    return true;
}

static void fill_defaults(struct broker_config *config)
{
    size_t count;
    const struct config_key *keys = config_broker_keys(&count);
    for (size_t i = 0; i < count; i++) {
        struct config_value value;
        struct fail why;
        const char *text = keys[i].default_text;
        if (text != NULL)
            ensure(value_parse(&keys[i], text, &config->memory, &value, &why) == VALUE_OK);
        value_store(&keys[i], text ? &value : NULL, config);
    }
}

/* Backwards, as what counts more comes first. */
static bool fill_entries(struct broker_config *config, struct fail *fail)
{
    for (int i = config->entry_count - 1; i >= 0; i--)
        if (config->entries[i].key != NULL && !fill_entry(config, &config->entries[i], fail))
            return false;
    return true;
}

static bool is_set(const struct broker_config *config, const char *name)
{
    return config_entry(config, name) != NULL;
}

static void resolve_times(struct broker_config *c)
{
    static const int64_t minute = 60 * 1000, hour = 60 * minute;
    if (!is_set(c, "log.retention.ms"))
        c->log_retention_ms =
            is_set(c, "log.retention.minutes") ? c->log_retention_minutes * minute : c->log_retention_hours * hour;
    c->log_retention_ms = MAX(c->log_retention_ms, -1);
    if (!is_set(c, "log.roll.ms"))
        c->log_roll_ms = c->log_roll_hours * hour;
    if (!is_set(c, "log.roll.jitter.ms"))
        c->log_roll_jitter_ms = c->log_roll_jitter_hours * hour;
    if (!is_set(c, "log.flush.interval.ms"))
        c->log_flush_interval_ms = c->log_flush_scheduler_interval_ms;
    if (!is_set(c, "zookeeper.connection.timeout.ms"))
        c->zookeeper_connection_timeout_ms = c->zookeeper_session_timeout_ms;
    if (c->log_message_timestamp_before_max_ms == INT64_MAX)
        c->log_message_timestamp_before_max_ms = c->log_message_timestamp_difference_max_ms;
    if (c->log_message_timestamp_after_max_ms == INT64_MAX)
        c->log_message_timestamp_after_max_ms = c->log_message_timestamp_difference_max_ms;
}

/* What follows from other keys. */
static void config_resolve(struct broker_config *c)
{
    resolve_times(c);
    if (!is_set(c, "log.dirs"))
        c->log_dirs = text_split(c->log_dir, true, &c->memory);
    if (!is_set(c, "num.replica.alter.log.dirs.threads"))
        c->num_replica_alter_log_dirs_threads = c->log_dirs.count;
    if (c->delegation_token_secret_key == NULL)
        c->delegation_token_secret_key = c->delegation_token_master_key;
    if (c->inter_broker_protocol_version >= IBP_3_0_IV1)
        c->log_message_format_version = IBP_3_0_IV1;
}

bool config_fill(struct broker_config *config, struct fail *fail)
{
    fill_defaults(config);
    bool ok = fill_entries(config, fail);
    if (ok) {
        config_resolve(config);
        ok = listeners_resolve(config, fail) && config_check(config, fail);
    }
    if (!ok)
        config_deinit(config);
    return ok;
}

static const char *get_entry(const void *ctx, const char *name)
{
    return config_raw(ctx, name);
}

/* Before anything is made of the values. */
static bool replace_variables(struct broker_config *c, struct fail *fail)
{
    const struct variables v = {get_entry, c};
    if (!variables_check(&v, fail))
        return fail_wrap(fail, "%s", c->file);
    for (int i = 0; i < c->entry_count; i++) {
        const char *value = variables_replace(&v, c->entries[i].value, &c->memory, fail);
        if (value == NULL) {
            char place[512];
            entry_place(c, &c->entries[i], place, sizeof(place));
            return fail_wrap(fail, "%s: %s", place, c->entries[i].name);
        }
        c->entries[i].value = value;
    }
    return true;
}

/* ---- Public ---- */

bool config_load(struct broker_config *out, const struct config_options *options, struct fail *fail)
{
    struct arena a = {0};
    struct properties properties = {0};
    *out = (struct broker_config){0};
    bool ok = options->file == NULL || properties_read(options->file, &a, &properties, fail);
    if (ok) {
        add_all(out, &properties, options);
        ok = replace_variables(out, fail);
        if (!ok)
            config_deinit(out);
        ok = ok && config_fill(out, fail);
    }
    const struct warner w = {options->warn, options->ctx};
    if (ok && properties.latin1_line > 0)
        config_warn(&w, "%s:%d: read as Latin-1, as Java reads it; what would be UTF-8 is to be written as \\uXXXX",
                    options->file, properties.latin1_line);
    if (ok)
        warn_of_all(out, &properties, &w);
    arena_deinit(&a);
    return ok;
}

void config_deinit(struct broker_config *config)
{
    arena_deinit(&config->memory);
    *config = (struct broker_config){0};
}
