/*
 * AlterConfigs and IncrementalAlterConfigs (KIP-133, KIP-339): settings of topics and brokers, written to ZooKeeper
 * with a notification for all brokers. A topic's go through any broker, a broker's through itself. The levels of a
 * broker's loggers (KIP-412) live only as long as it runs, and take effect at once.
 *
 * AlterConfigs is IncrementalAlterConfigs that sets every key it names and forgets all others.
 */
#include <inttypes.h>

#include "base/logger.h"
#include "base/str_set.h"
#include "protocol/msg/alter_configs.h"
#include "protocol/msg/incremental_alter_configs.h"
#include "server/authorize.h"

enum { RESOURCE_TOPIC = 2, RESOURCE_BROKER = 4, RESOURCE_LOGGER = 8, MOST_ATTEMPTS = 10 };

/* More keys than any resource has: they are looked up in lists. */
enum { MOST_KEYS = 1000 };

enum alteration { ALTER_SET, ALTER_DELETE, ALTER_APPEND, ALTER_SUBTRACT };

/* One resource: what is asked for, and what became of it. */
struct altered {
    int8_t type;
    struct str name;
    struct incremental_alter_configs_alterable_config *entries;
    int32_t count;
    enum kafka_error error;
    struct str message;
    bool denied; /* a broker's: they are looked at before that is said */
    bool done;
    const char *kind, *entity; /* below /config */
    struct config_znode pairs;
};

struct altering {
    struct request *r;
    bool incremental, validate_only;
    struct altered *items;
    int32_t count, attempts;
    struct zk_batch *read; /* what there is, as long as that is planned by */
};

static void alter_configs_settle(struct altered *x, enum kafka_error error, struct str message)
{
    x->error = error;
    x->message = message;
    x->done = true;
}

/* ---- What can be said without looking anything up ---- */

static bool has_double_keys(const struct altered *x, struct arena *a)
{
    struct str_set seen = {0};
    bool twice = false;
    for (int32_t i = 0; i < x->count && !twice; i++)
        twice = !str_set_add(&seen, a, x->entries[i].name);
    str_set_deinit(&seen);
    return twice;
}

/* Names and values are C strings from here on. */
static bool has_zero_bytes(const struct altered *x)
{
    bool any = str_has_zero(x->name);
    for (int32_t i = 0; i < x->count; i++)
        any |= str_has_zero(x->entries[i].name) || str_has_zero(x->entries[i].value);
    return any;
}

/* The first of those that have no value and need one, as many as are said; null: there are none. */
static struct str null_values(const struct altered *x, struct arena *a)
{
    struct strbuf list = {0};
    struct str names = STR_NULL;
    for (int32_t i = 0; i < x->count && list.len < MOST_SAID; i++) {
        const struct incremental_alter_configs_alterable_config *e = &x->entries[i];
        if (e->value.p != NULL || e->config_operation == ALTER_DELETE)
            continue;
        names = names.p == NULL ? STR_LIT("") : STR_LIT(", ");
        strbuf_str(&list, names);
        strbuf_str(&list, str_head(e->name, MOST_SAID));
    }
    if (names.p != NULL)
        names = arena_str(a, (struct str){list.p != NULL ? list.p : "", (int32_t)list.len});
    strbuf_deinit(&list);
    return names;
}

static void check_broker(struct altering *al, struct altered *x)
{
    struct arena *a = al->r->arena;
    int32_t id;
    x->kind = "brokers";
    x->entity = x->name.len == 0 ? CONFIG_OF_ALL_BROKERS : arena_cstr(a, x->name);
    if (x->name.len == 0)
        return;
    if (!str_to_int32(x->name, &id))
        alter_configs_settle(
            x, ERR_INVALID_REQUEST,
            arena_printf(a, "Node id must be an integer, but it is: %.*s", STR_ARGS(str_head(x->name, MOST_SAID))));
    else if (id != al->r->s->broker_id)
        alter_configs_settle(x, ERR_INVALID_REQUEST,
                             arena_printf(a, "Unexpected %s %" PRId32 ", but received %.*s",
                                          x->type == RESOURCE_LOGGER ? "node id. Expected" : "broker id, expected",
                                          al->r->s->broker_id, STR_ARGS(x->name)));
}

static void alter_configs_check_topic(struct altering *al, struct altered *x)
{
    x->kind = "topics";
    x->entity = arena_cstr(al->r->arena, x->name);
    if (!allowed(al->r, ACL_ALTER_CONFIGS, ACL_TOPIC, x->name))
        alter_configs_settle(x, ERR_TOPIC_AUTHORIZATION_FAILED, STR_NULL);
    else if (x->name.len == 0)
        alter_configs_settle(x, ERR_INVALID_REQUEST, STR_LIT("Default topic resources are not allowed."));
    else if (view_topic(view_current(), x->name) == NULL)
        alter_configs_settle(
            x, ERR_UNKNOWN_TOPIC_OR_PARTITION,
            arena_printf(al->r->arena, "The topic '%.*s' does not exist.", STR_ARGS(str_head(x->name, MOST_SAID))));
}

/* ---- Loggers ---- */

static bool check_logger(struct altered *x, struct arena *a, const struct incremental_alter_configs_alterable_config *e)
{
    const char *name = arena_cstr(a, e->name);
    enum log_level level;
    switch (e->config_operation) {
    case ALTER_APPEND:
    case ALTER_SUBTRACT:
        alter_configs_settle(x, ERR_INVALID_REQUEST,
                             arena_printf(a, "%s operation is not allowed for the BROKER_LOGGER resource",
                                          e->config_operation == ALTER_APPEND ? "APPEND" : "SUBTRACT"));
        return false;
    case ALTER_SET:
    case ALTER_DELETE:
        break;
    default:
        alter_configs_settle(x, ERR_INVALID_REQUEST,
                             arena_printf(a, "Unknown operation type %d is not allowed for the BROKER_LOGGER resource",
                                          e->config_operation));
        return false;
    }
    if (!logger_exists(name))
        alter_configs_settle(x, ERR_INVALID_CONFIG, arena_printf(a, "Logger %s does not exist!", name));
    else if (e->config_operation == ALTER_SET && !logger_parse_level(arena_cstr(a, e->value), &level))
        alter_configs_settle(
            x, ERR_INVALID_CONFIG,
            arena_printf(a,
                         "Cannot set the log level of %s to %.*s as it is not a supported log level. Valid log levels "
                         "are DEBUG, ERROR, FATAL, INFO, TRACE, WARN",
                         name, STR_ARGS(e->value)));
    else if (e->config_operation == ALTER_DELETE && strcmp(name, LOGGER_ROOT) == 0)
        alter_configs_settle(x, ERR_INVALID_REQUEST,
                             STR_LIT("Removing the log level of the root logger is not allowed"));
    return !x->done;
}

static void alter_logger(struct arena *a, const struct incremental_alter_configs_alterable_config *e)
{
    enum log_level level;
    const char *name = arena_cstr(a, e->name);
    if (e->config_operation == ALTER_DELETE) {
        logger_unset(name);
        log_warn("Unset the log level of %s", name);
    } else if (logger_parse_level(arena_cstr(a, e->value), &level)) {
        logger_set(name, level);
        log_warn("Updated the log level of %s to %s", name, logger_level_name(level));
    }
}

/* All or none, at once. */
static void alter_loggers(struct altering *al, struct altered *x)
{
    if (!allowed_cluster(al->r, ACL_ALTER_CONFIGS)) {
        alter_configs_settle(x, ERR_CLUSTER_AUTHORIZATION_FAILED, STR_NULL);
        return;
    }
    check_broker(al, x);
    if (x->name.len == 0)
        alter_configs_settle(x, ERR_INVALID_REQUEST, STR_LIT("Node id must be an integer, but it is: "));
    for (int32_t i = 0; i < x->count && !x->done; i++)
        check_logger(x, al->r->arena, &x->entries[i]);
    for (int32_t i = 0; i < x->count && !x->done && !al->validate_only; i++)
        alter_logger(al->r->arena, &x->entries[i]);
    if (!x->done)
        alter_configs_settle(x, ERR_NONE, STR_NULL);
}

static void check_broker_form(struct altering *al, struct altered *x)
{
    check_broker(al, x);
    x->denied = !x->done && !allowed_cluster(al->r, ACL_ALTER_CONFIGS);
}

static void alter_configs_check_form(struct altering *al, struct altered *x)
{
    struct arena *a = al->r->arena;
    struct str nulls = STR_NULL;
    if (x->count <= MOST_KEYS)
        nulls = null_values(x, a);
    else
        alter_configs_settle(x, ERR_INVALID_REQUEST,
                             arena_printf(a, "More than %d config keys for one resource", MOST_KEYS));
    if (x->done)
        return;
    if (has_double_keys(x, a))
        alter_configs_settle(x, ERR_INVALID_REQUEST, STR_LIT("Error due to duplicate config keys"));
    else if (has_zero_bytes(x))
        alter_configs_settle(x, ERR_INVALID_CONFIG,
                             STR_LIT("The name of a resource, or of a config or its value, holds a zero byte"));
    else if (nulls.p != NULL)
        alter_configs_settle(x, ERR_INVALID_REQUEST,
                             arena_printf(a, "Null value not supported for : %.*s", STR_ARGS(nulls)));
    else if (x->type == RESOURCE_TOPIC)
        alter_configs_check_topic(al, x);
    else if (x->type == RESOURCE_BROKER)
        check_broker_form(al, x);
    else if (x->type == RESOURCE_LOGGER && al->incremental)
        alter_loggers(al, x);
    else
        alter_configs_settle(x, ERR_INVALID_REQUEST, arena_printf(a, "Unknown resource type %d", x->type));
}

static void alter_configs_refuse_repeated(struct altering *al)
{
    struct arena *a = al->r->arena;
    struct str *resources = ARENA_ARRAY(a, struct str, MAX(al->count, 1));
    for (int32_t i = 0; i < al->count; i++)
        resources[i] = arena_printf(a, "%d %.*s", al->items[i].type, STR_ARGS(al->items[i].name));
    struct str_set twice = str_set_of_repeated(a, resources, al->count);
    for (int32_t i = 0; i < al->count; i++)
        if (str_set_has(&twice, resources[i]))
            alter_configs_settle(&al->items[i], ERR_INVALID_REQUEST,
                                 STR_LIT("Each resource must appear at most once."));
    str_set_deinit(&twice);
}

static void check_forms(struct altering *al)
{
    alter_configs_refuse_repeated(al);
    for (int32_t i = 0; i < al->count; i++)
        if (!al->items[i].done)
            alter_configs_check_form(al, &al->items[i]);
}

/* ---- From what is set to what is to be set ---- */

static void set_pair(struct config_znode *pairs, const char *key, const char *value)
{
    struct config_pair *p = config_find(pairs, key);
    if (p == NULL)
        p = &pairs->entries[pairs->count++];
    *p = (struct config_pair){key, value};
}

static bool alter_configs_list_has(const char *list, const char *item, size_t len)
{
    for (const char *p = list; p != NULL; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL)
        if (strcspn(p, ",") == len && strncmp(p, item, len) == 0)
            return true;
    return false;
}

/* The items of `from` that `other` does not have, behind what is in `out`. */
static void add_missing(struct strbuf *out, const char *from, const char *other)
{
    ensure(from != NULL);
    for (const char *p = from; *p != '\0';) {
        size_t len = strcspn(p, ",");
        if (len > 0 && !alter_configs_list_has(other, p, len)) {
            if (out->len > 0)
                strbuf_add(out, ",", 1);
            strbuf_add(out, p, len);
        }
        p += len + (p[len] == ',');
    }
}

static bool change_list(struct altered *x, struct arena *a, const char *key, const char *value, bool append)
{
    const struct config_key *row = x->type == RESOURCE_TOPIC ? config_topic_key(key) : config_broker_key(key);
    struct strbuf list = {0};
    if (row == NULL)
        alter_configs_settle(x, ERR_INVALID_CONFIG, arena_printf(a, "Unknown config name: %s", key));
    else if (row->type != CONFIG_LIST)
        alter_configs_settle(
            x, ERR_INVALID_CONFIG,
            arena_printf(a, "Config value %s is not allowed for config key: %s", append ? "append" : "subtract", key));
    if (x->done)
        return false;
    const struct config_pair *p = config_find(&x->pairs, key);
    const char *old = p != NULL ? p->value : row->default_text != NULL ? row->default_text : "";
    if (append) {
        strbuf_add(&list, old, strlen(old));
        add_missing(&list, value, old);
    } else {
        add_missing(&list, old, value);
    }
    set_pair(&x->pairs, key, arena_cstr(a, (struct str){list.p != NULL ? list.p : "", (int32_t)list.len}));
    strbuf_deinit(&list);
    return true;
}

static bool apply_entry(struct altered *x, struct arena *a, const struct incremental_alter_configs_alterable_config *e)
{
    const char *key = arena_cstr(a, e->name), *value = e->value.p != NULL ? arena_cstr(a, e->value) : NULL;
    struct config_pair *p = config_find(&x->pairs, key);
    switch (e->config_operation) {
    case ALTER_SET:
        set_pair(&x->pairs, key, value);
        return true;
    case ALTER_DELETE:
        if (p != NULL)
            *p = x->pairs.entries[--x->pairs.count];
        return true;
    case ALTER_APPEND:
    case ALTER_SUBTRACT:
        ensure(value != NULL); /* null values were refused */
        return change_list(x, a, key, value, e->config_operation == ALTER_APPEND);
    default:
        alter_configs_settle(x, ERR_INVALID_REQUEST,
                             arena_printf(a, "Unknown operations type %d", e->config_operation));
        return false;
    }
}

/* Apache puts the resource before what its parser says; what it finds itself goes out as it is. */
static bool is_said_alone(const char *why)
{
    static const char *const starts[] = {"Unknown topic config name: ", "conflict topic config setting ",
                                         "It is invalid to set "};
    for (size_t i = 0; i < ARRAY_LEN(starts); i++)
        if (strncmp(why, starts[i], strlen(starts[i])) == 0)
            return true;
    return false;
}

static void check_topic_pairs(struct altering *al, struct altered *x)
{
    struct fail fail;
    struct arena *a = al->r->arena;
    const struct broker_config *config = broker_settings_hold(al->r->s->settings);
    bool ok = topic_config_check(config, x->pairs.entries, (size_t)x->pairs.count, &fail);
    broker_settings_release(config);
    if (ok)
        return;
    alter_configs_settle(
        x, ERR_INVALID_CONFIG,
        is_said_alone(fail.text)
            ? arena_printf(a, "%s", fail.text)
            : arena_printf(a, "Invalid config value for resource ConfigResource(type=TOPIC, name='%s'): %s", x->entity,
                           fail.text));
}

/* What is in the file may be in the way; but where that is, is nobody's business who asks by a request. */
static const char *without_folder(const struct altering *al, const char *why)
{
    const char *file = al->r->s->config->file, *slash = strrchr(file, '/');
    bool told = slash != NULL && strncmp(why, file, strlen(file)) == 0;
    return told ? why + (slash + 1 - file) : why;
}

static void check_broker_pairs(struct altering *al, struct altered *x)
{
    struct arena *a = al->r->arena;
    struct broker_config whole;
    struct fail fail;
    bool own = x->name.len > 0, ok = true;
    struct config_znode other = broker_settings_own(al->r->s->settings, own ? SETTINGS_OF_ALL : SETTINGS_OF_THIS, a);
    const struct config_znode *all = own ? &other : &x->pairs, *one = own ? &x->pairs : &other;
    for (int32_t i = 0; ok && i < x->pairs.count; i++)
        ok = config_check_dynamic(x->pairs.entries[i].key, x->pairs.entries[i].value, own, &fail);
    ok = ok && config_derive(&whole, al->r->s->config, all->entries, (size_t)all->count, one->entries,
                             (size_t)one->count, NULL, NULL, &fail);
    if (ok) {
        const struct broker_config *now = broker_settings_hold(al->r->s->settings);
        ok = config_check_change(now, &whole, &fail) && listener_tls_check(al->r->s->tls, &whole, &fail);
        broker_settings_release(now);
        config_deinit(&whole);
    }
    if (!ok)
        alter_configs_settle(x, ERR_INVALID_REQUEST, arena_printf(a, "%s", without_folder(al, fail.text)));
}

/* From here on x->pairs is what ZooKeeper is to have. */
static void alter_configs_seal(struct altering *al, struct altered *x)
{
    struct arena *a = al->r->arena;
    struct config_znode open = x->pairs;
    struct fail fail;
    if (!broker_settings_seal(al->r->s->settings, &open, a, &x->pairs, &fail))
        alter_configs_settle(
            x, ERR_INVALID_CONFIG,
            arena_printf(a, "Invalid config value for resource ConfigResource(type=BROKER, name='%.*s'): %s",
                         STR_ARGS(x->name), fail.text));
}

/* What others have written there and no broker takes goes with the next change, as by Apache's, and forbids none. */
static bool stays(const struct altered *x, const struct config_pair *now)
{
    struct fail why;
    if (x->type != RESOURCE_BROKER || config_check_dynamic(now->key, now->value, x->name.len > 0, &why))
        return true;
    log_warn("%s is not kept in ZooKeeper: %s", now->key, why.text);
    return false;
}

/* x->pairs: what is set now, and then what is to be set. */
static bool plan(struct altering *al, struct altered *x, const struct config_znode *now)
{
    struct arena *a = al->r->arena;
    struct config_znode opened;
    if (x->type == RESOURCE_BROKER) {
        opened = broker_settings_open(al->r->s->settings, now, a);
        now = &opened;
    }
    x->pairs = (struct config_znode){ARENA_ARRAY(a, struct config_pair, now->count + x->count + 1), 0};
    for (int32_t i = 0; al->incremental && i < now->count; i++)
        if (stays(x, &now->entries[i]))
            set_pair(&x->pairs, now->entries[i].key, now->entries[i].value);
    for (int32_t i = 0; i < x->count; i++)
        if (!apply_entry(x, a, &x->entries[i]))
            return false;
    if (x->type == RESOURCE_TOPIC)
        check_topic_pairs(al, x);
    else
        check_broker_pairs(al, x);
    if (x->type == RESOURCE_BROKER && !x->done && !x->denied && !al->validate_only)
        alter_configs_seal(al, x); /* which hashes a password thousands of times */
    return !x->done;
}

/* ---- The answer ---- */

/* Both APIs answer with the same bytes; AlterConfigs only counts one version more. */
static void alter_configs_answer(struct request *r)
{
    const struct altering *al = r->state;
    struct incremental_alter_configs_response response;
    struct writer w;
    incremental_alter_configs_response_init(&response);
    ARRAY_MAKE(r->arena, response.responses, al->count);
    for (int32_t i = 0; i < al->count; i++) {
        struct incremental_alter_configs_alter_configs_resource_response *o = &response.responses.items[i];
        incremental_alter_configs_alter_configs_resource_response_init(o);
        o->error_code = (int16_t)al->items[i].error;
        o->error_message = al->items[i].message;
        o->resource_type = al->items[i].type;
        o->resource_name = al->items[i].name;
    }
    answer_begin(r, &w);
    incremental_alter_configs_response_write(&w, al->incremental ? r->version : (int16_t)MAX(r->version - 1, 0),
                                             &response);
    answer_send(r, &w);
}

/* ---- ZooKeeper, on the control loop ---- */

static void alter_configs_read_all(struct request *r);

static const char *entity_below_config(struct arena *a, const struct altered *x)
{
    return arena_printf(a, "%s/%s", x->kind, x->entity).p;
}

static void alter_configs_take_result(struct altering *al, struct altered *x, const struct zk_op *op)
{
    switch (config_write_result(op)) {
    case CONFIG_WRITTEN:
        alter_configs_settle(x, ERR_NONE, STR_NULL);
        config_watch_written(al->r->s->config_watch, entity_below_config(al->r->arena, x), &x->pairs);
        break;
    case CONFIG_TOO_LARGE:
        alter_configs_settle(x, ERR_INVALID_CONFIG, STR_LIT("The configuration is larger than ZooKeeper takes"));
        break;
    case CONFIG_UNWRITTEN:
        alter_configs_settle(x, ERR_UNKNOWN_SERVER_ERROR, STR_LIT("ZooKeeper cannot be asked now"));
        break;
    case CONFIG_OVERTAKEN:
        break;
    }
}

static void alter_configs_on_written(struct zk_batch *b)
{
    struct altering *al = b->ctx;
    const struct zk_op *op;
    bool again = false;
    ZK_OWNED_FOREACH (b, op) {
        struct altered *x = op->owner;
        alter_configs_take_result(al, x, op);
        again |= !x->done;
    }
    zk_batch_free(b);
    if (again)
        alter_configs_read_all(al->r); /* somebody else has changed it meanwhile */
    else
        request_return(al->r, alter_configs_answer);
}

static void alter_configs_add_write(struct zk_batch *b, struct altered *x, const struct zk_op *read)
{
    char path[ZNODE_PATH_ROOM];
    struct zk_op *write;
    struct bytes data = config_encode(&b->arena, &x->pairs);
    config_path(path, x->kind, x->entity);
    if (read->result == ZK_OK)
        write = zk_set(b, path, data, read->stat.version);
    else
        write = zk_create(b, path, data, ZK_PERSISTENT);
    config_write_notified(b, write, x, entity_below_config(&b->arena, x));
}

static void alter_configs_write_all(struct request *r)
{
    struct altering *al = r->state;
    struct zk_batch *b = zk_batch_new(alter_configs_on_written), *read = al->read;
    const struct zk_op *o;
    ZK_OWNED_FOREACH (read, o) {
        struct altered *x = o->owner;
        if (!x->done)
            alter_configs_add_write(b, x, o);
    }
    al->read = NULL;
    zk_batch_free(read);
    request_submit(r, b, al, alter_configs_answer);
}

static void alter_configs_planned(struct request *r)
{
    request_hop(r, r->s->control_loop, alter_configs_write_all);
}

/* On a worker: passwords are opened and sealed, key stores read and tried. */
static void alter_configs_plan_all(struct request *r)
{
    struct altering *al = r->state;
    const struct zk_op *o;
    ZK_OWNED_FOREACH (al->read, o) {
        struct altered *x = o->owner;
        struct config_znode now;
        if (!config_read(r->arena, o, &now))
            alter_configs_settle(x, ERR_UNKNOWN_SERVER_ERROR,
                                 arena_printf(r->arena, "%s cannot be read in ZooKeeper", o->path));
        else if (plan(al, x, &now) && (x->denied || al->validate_only))
            alter_configs_settle(x, x->denied ? ERR_CLUSTER_AUTHORIZATION_FAILED : ERR_NONE, STR_NULL);
    }
}

static void alter_configs_find_worker(struct request *r)
{
    request_work(r, alter_configs_plan_all, alter_configs_planned);
}

static void alter_configs_on_read(struct zk_batch *read)
{
    struct altering *al = read->ctx;
    al->read = read;
    request_return(al->r, alter_configs_find_worker);
}

static void alter_configs_read_all(struct request *r)
{
    struct altering *al = r->state;
    struct zk_batch *b = zk_batch_new(alter_configs_on_read);
    char path[ZNODE_PATH_ROOM];
    al->attempts++;
    for (int32_t i = 0; i < al->count; i++) {
        struct altered *x = &al->items[i];
        if (!x->done && al->attempts > MOST_ATTEMPTS)
            alter_configs_settle(x, ERR_UNKNOWN_SERVER_ERROR, STR_LIT("Others keep changing it"));
        else if (!x->done)
            zk_get(b, config_path(path, x->kind, x->entity), false)->owner = x;
    }
    request_submit(r, b, al, alter_configs_answer);
}

/* ---- The requests ---- */

static void alter_configs_begin(struct request *r)
{
    check_forms(r->state);
    request_hop(r, r->s->control_loop, alter_configs_read_all);
}

static struct altering *altering_new(struct request *r, bool incremental, bool validate_only, int32_t count)
{
    struct altering *al = ARENA_NEW(r->arena, struct altering);
    *al = (struct altering){.r = r,
                            .incremental = incremental,
                            .validate_only = validate_only,
                            .items = ARENA_ARRAY(r->arena, struct altered, MAX(count, 1)),
                            .count = MAX(count, 0)};
    r->state = al;
    return al;
}

static void handle_all(struct request *r)
{
    struct alter_configs_request q;
    if (!DECODE(r, alter_configs_request, &q))
        return;
    struct altering *al = altering_new(r, false, q.validate_only, q.resources.len);
    for (int32_t i = 0; i < al->count; i++) {
        const struct alter_configs_resource *in = &q.resources.items[i];
        int32_t count = MAX(in->configs.len, 0);
        struct incremental_alter_configs_alterable_config *entries =
            ARENA_ARRAY(r->arena, struct incremental_alter_configs_alterable_config, MAX(count, 1));
        for (int32_t k = 0; k < count; k++)
            entries[k] = (struct incremental_alter_configs_alterable_config){.name = in->configs.items[k].name,
                                                                             .value = in->configs.items[k].value};
        al->items[i] =
            (struct altered){.type = in->resource_type, .name = in->resource_name, .entries = entries, .count = count};
    }
    alter_configs_begin(r);
}

static void handle_some(struct request *r)
{
    struct incremental_alter_configs_request q;
    if (!DECODE(r, incremental_alter_configs_request, &q))
        return;
    struct altering *al = altering_new(r, true, q.validate_only, q.resources.len);
    for (int32_t i = 0; i < al->count; i++) {
        const struct incremental_alter_configs_alter_configs_resource *in = &q.resources.items[i];
        al->items[i] = (struct altered){.type = in->resource_type,
                                        .name = in->resource_name,
                                        .entries = in->configs.items,
                                        .count = MAX(in->configs.len, 0)};
    }
    alter_configs_begin(r);
}

const struct api_entry api_alter_configs = {.key = API_ALTER_CONFIGS, .min = 0, .max = 2, .handle = handle_all};
const struct api_entry api_incremental_alter_configs = {
    .key = API_INCREMENTAL_ALTER_CONFIGS, .min = 0, .max = 1, .handle = handle_some};
