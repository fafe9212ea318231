/*
 * AlterConfigs and IncrementalAlterConfigs (KIP-133, KIP-339): settings of topics and brokers, written to ZooKeeper
 * with a notification for all brokers. A topic's go through any broker, a broker's through itself.
 */
#include <errno.h>
#include <inttypes.h>

#include "protocol/msg/alter_configs.h"
#include "protocol/msg/incremental_alter_configs.h"
#include "server/server_internal.h"

enum { RESOURCE_TOPIC = 2, RESOURCE_BROKER = 4, MOST_ATTEMPTS = 10 };

enum alteration { ALTER_SET, ALTER_DELETE, ALTER_APPEND, ALTER_SUBTRACT };

struct alter_entry {
    struct str name, value;
    int8_t operation;
};

/* One resource: what is asked for, and what became of it. */
struct altered {
    int8_t type;
    struct str name;
    struct alter_entry *entries;
    int32_t count;
    enum kafka_error error;
    struct str message;
    bool done;
    const char *kind, *entity; /* below /config */
    struct config_znode pairs;
};

struct altering {
    struct request *r;
    bool incremental, validate_only;
    struct altered *items;
    int32_t count, attempts;
    union {
        struct alter_configs_request all;
        struct incremental_alter_configs_request some;
    } request;
};

static void settle(struct altered *x, enum kafka_error error, struct str message)
{
    x->error = error;
    x->message = message;
    x->done = true;
}

/* ---- What can be said without looking anything up ---- */

static bool has_double_keys(const struct altered *x)
{
    for (int32_t i = 0; i < x->count; i++)
        for (int32_t k = 0; k < i; k++)
            if (str_eq(x->entries[i].name, x->entries[k].name))
                return true;
    return false;
}

static struct str null_values(const struct altered *x, struct arena *a)
{
    struct str list = STR_NULL;
    for (int32_t i = 0; i < x->count; i++) {
        const struct alter_entry *e = &x->entries[i];
        if (e->value.p != NULL || e->operation == ALTER_DELETE)
            continue;
        list = list.p == NULL ? e->name : arena_printf(a, "%.*s, %.*s", STR_ARGS(list), STR_ARGS(e->name));
    }
    return list;
}

static void check_broker(struct altering *al, struct altered *x)
{
    struct arena *a = al->r->arena;
    char *end, *text = arena_cstr(a, x->name);
    x->kind = "brokers";
    x->entity = x->name.len == 0 ? CONFIG_OF_ALL_BROKERS : text;
    if (x->name.len == 0)
        return;
    errno = 0;
    long id = strtol(text, &end, 10);
    if (*end != '\0' || errno != 0)
        settle(x, ERR_INVALID_REQUEST, arena_printf(a, "Node id must be an integer, but it is: %s", text));
    else if (id != al->r->s->broker_id)
        settle(
            x, ERR_INVALID_REQUEST,
            arena_printf(a, "Unexpected broker id, expected %" PRId32 ", but received %s", al->r->s->broker_id, text));
}

static void check_topic(struct altering *al, struct altered *x)
{
    x->kind = "topics";
    x->entity = arena_cstr(al->r->arena, x->name);
    if (x->name.len == 0)
        settle(x, ERR_INVALID_REQUEST, STR_LIT("Default topic resources are not allowed."));
    else if (view_topic(view_current(), x->name) == NULL)
        settle(x, ERR_UNKNOWN_TOPIC_OR_PARTITION,
               arena_printf(al->r->arena, "The topic '%s' does not exist.", x->entity));
}

static void check_form(struct altering *al, struct altered *x)
{
    struct arena *a = al->r->arena;
    struct str nulls = null_values(x, a);
    if (has_double_keys(x))
        settle(x, ERR_INVALID_REQUEST, STR_LIT("Error due to duplicate config keys"));
    else if (nulls.p != NULL)
        settle(x, ERR_INVALID_REQUEST, arena_printf(a, "Null value not supported for : %.*s", STR_ARGS(nulls)));
    else if (x->type == RESOURCE_TOPIC)
        check_topic(al, x);
    else if (x->type == RESOURCE_BROKER)
        check_broker(al, x);
    else
        settle(x, ERR_INVALID_REQUEST, arena_printf(a, "Unknown resource type %d", x->type));
}

static void check_forms(struct altering *al)
{
    for (int32_t i = 0; i < al->count; i++)
        for (int32_t k = 0; k < i; k++)
            if (al->items[i].type == al->items[k].type && str_eq(al->items[i].name, al->items[k].name)) {
                settle(&al->items[i], ERR_INVALID_REQUEST, STR_LIT("Each resource must appear at most once."));
                settle(&al->items[k], ERR_INVALID_REQUEST, STR_LIT("Each resource must appear at most once."));
            }
    for (int32_t i = 0; i < al->count; i++)
        if (!al->items[i].done)
            check_form(al, &al->items[i]);
}

/* ---- From what is set to what is to be set ---- */

static struct config_pair *find_pair(struct config_znode *pairs, const char *key)
{
    for (int32_t i = 0; i < pairs->count; i++)
        if (strcmp(pairs->entries[i].key, key) == 0)
            return &pairs->entries[i];
    return NULL;
}

static void set_pair(struct config_znode *pairs, const char *key, const char *value)
{
    struct config_pair *p = find_pair(pairs, key);
    if (p == NULL)
        p = &pairs->entries[pairs->count++];
    *p = (struct config_pair){key, value};
}

static bool list_has(const char *list, const char *item, size_t len)
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
        if (len > 0 && !list_has(other, p, len)) {
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
        settle(x, ERR_INVALID_CONFIG, arena_printf(a, "Unknown config name: %s", key));
    else if (row->type != CONFIG_LIST)
        settle(
            x, ERR_INVALID_CONFIG,
            arena_printf(a, "Config value %s is not allowed for config key: %s", append ? "append" : "subtract", key));
    if (x->done)
        return false;
    const struct config_pair *p = find_pair(&x->pairs, key);
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

static bool apply_entry(struct altered *x, struct arena *a, const struct alter_entry *e)
{
    const char *key = arena_cstr(a, e->name), *value = e->value.p != NULL ? arena_cstr(a, e->value) : NULL;
    struct config_pair *p = find_pair(&x->pairs, key);
    switch (e->operation) {
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
        return change_list(x, a, key, value, e->operation == ALTER_APPEND);
    default:
        settle(x, ERR_INVALID_REQUEST, arena_printf(a, "Unknown operations type %d", e->operation));
        return false;
    }
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
    bool unknown = strncmp(fail.text, "Unknown topic config", strlen("Unknown topic config")) == 0;
    settle(x, ERR_INVALID_CONFIG,
           unknown ? arena_printf(a, "%s", fail.text)
                   : arena_printf(a, "Invalid config value for resource ConfigResource(type=TOPIC, name='%s'): %s",
                                  x->entity, fail.text));
}

static void check_broker_pairs(struct altering *al, struct altered *x)
{
    struct arena *a = al->r->arena;
    struct broker_config whole;
    struct fail fail;
    bool own = x->name.len > 0, ok = true;
    struct config_znode other = broker_settings_own(al->r->s->settings, own ? SETTINGS_OF_ALL : SETTINGS_OF_THIS, a);
    const struct config_znode *all = own ? &other : &x->pairs, *one = own ? &x->pairs : &other;
    for (int32_t i = 0; ok && i < x->pairs.count; i++) {
        const struct config_key *key = config_broker_key(x->pairs.entries[i].key);
        if (key != NULL && key->type == CONFIG_PASSWORD)
            ok = fail_set(&fail, "%s is a password, which this broker does not keep in ZooKeeper", key->name);
        else
            ok = config_check_dynamic(x->pairs.entries[i].key, x->pairs.entries[i].value, own, &fail);
    }
    ok = ok && config_derive(&whole, al->r->s->config, all->entries, (size_t)all->count, one->entries,
                             (size_t)one->count, NULL, NULL, &fail);
    if (ok)
        config_deinit(&whole);
    else
        settle(x, ERR_INVALID_REQUEST, arena_printf(a, "%s", fail.text));
}

/* x->pairs: what is set now, and then what is to be set. */
static bool plan(struct altering *al, struct altered *x, const struct config_znode *now)
{
    struct arena *a = al->r->arena;
    x->pairs = (struct config_znode){ARENA_ARRAY(a, struct config_pair, now->count + x->count + 1), 0};
    for (int32_t i = 0; al->incremental && i < now->count; i++)
        set_pair(&x->pairs, now->entries[i].key, now->entries[i].value);
    for (int32_t i = 0; i < x->count; i++)
        if (!apply_entry(x, a, &x->entries[i]))
            return false;
    if (x->type == RESOURCE_TOPIC)
        check_topic_pairs(al, x);
    else
        check_broker_pairs(al, x);
    return !x->done;
}

/* ---- The answer ---- */

static void answer_all(struct request *r)
{
    struct altering *al = r->state;
    struct alter_configs_response response;
    alter_configs_response_init(&response);
    ARRAY_MAKE(r->arena, response.responses, al->count);
    for (int32_t i = 0; i < al->count; i++) {
        struct alter_configs_resource_response *o = &response.responses.items[i];
        alter_configs_resource_response_init(o);
        o->error_code = (int16_t)al->items[i].error;
        o->error_message = al->items[i].message;
        o->resource_type = al->items[i].type;
        o->resource_name = al->items[i].name;
    }
    ANSWER(r, alter_configs_response, &response);
}

static void answer_some(struct request *r)
{
    struct altering *al = r->state;
    struct incremental_alter_configs_response response;
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
    ANSWER(r, incremental_alter_configs_response, &response);
}

static void answer(struct request *r)
{
    const struct altering *al = r->state;
    if (al->incremental)
        answer_some(r);
    else
        answer_all(r);
}

/* ---- ZooKeeper, on the control loop ---- */

static void read_all(struct request *r);

/* The first that is not done from `i` on: batches have an operation, or two, for each of them. */
static struct altered *next_open(struct altering *al, int32_t *i)
{
    while (*i < al->count && al->items[*i].done)
        (*i)++;
    return *i < al->count ? &al->items[(*i)++] : NULL;
}

/* Nothing to do in ZooKeeper: all is decided. */
static void submit_or_answer(struct altering *al, struct zk_batch *b)
{
    b->ctx = al;
    if (b->count > 0) {
        zk_submit(al->r->s->zk, b);
        return;
    }
    zk_batch_free(b);
    request_return(al->r, answer);
}

static void on_written(struct zk_batch *b)
{
    struct altering *al = b->ctx;
    struct altered *x;
    int32_t i = 0;
    bool again = false;
    for (size_t op = 0; op < b->count && (x = next_open(al, &i)) != NULL; op += 2) {
        enum zk_result result = b->ops[op].result;
        if (result == ZK_OK && b->ops[op + 1].result == ZK_OK)
            settle(x, ERR_NONE, STR_NULL);
        else if (result != ZK_BAD_VERSION && result != ZK_NODE_EXISTS && result != ZK_NO_NODE)
            settle(x, ERR_UNKNOWN_SERVER_ERROR, STR_LIT("ZooKeeper cannot be asked now"));
        again |= !x->done;
    }
    zk_batch_free(b);
    if (again)
        read_all(al->r); /* somebody else has changed it meanwhile */
    else
        request_return(al->r, answer);
}

static void add_write(struct zk_batch *b, const struct altered *x, const struct zk_op *read)
{
    char path[ZNODE_PATH_ROOM];
    struct bytes data = config_encode(&b->arena, &x->pairs);
    config_path(path, x->kind, x->entity);
    if (read->result == ZK_OK)
        zk_set(b, path, data, read->stat.version)->with_next = true;
    else
        zk_create(b, path, data, ZK_PERSISTENT)->with_next = true;
    struct str entity = arena_printf(&b->arena, "%s/%s", x->kind, x->entity);
    zk_create(b, ZNODE_CONFIG_CHANGES "/config_change_", config_change_encode(&b->arena, entity.p), ZK_SEQUENTIAL);
}

static void on_read(struct zk_batch *read)
{
    struct altering *al = read->ctx;
    struct zk_batch *b = zk_batch_new(on_written);
    struct altered *x;
    int32_t i = 0;
    for (size_t op = 0; op < read->count && (x = next_open(al, &i)) != NULL; op++) {
        const struct zk_op *o = &read->ops[op];
        struct config_znode now = {0};
        bool known =
            o->result == ZK_NO_NODE || (o->result == ZK_OK && config_decode(al->r->arena, o->path, o->value, &now));
        if (!known)
            settle(x, ERR_UNKNOWN_SERVER_ERROR, arena_printf(al->r->arena, "%s cannot be read in ZooKeeper", o->path));
        else if (plan(al, x, &now) && al->validate_only)
            settle(x, ERR_NONE, STR_NULL);
        if (!x->done)
            add_write(b, x, o);
    }
    zk_batch_free(read);
    submit_or_answer(al, b);
}

static void read_all(struct request *r)
{
    struct altering *al = r->state;
    struct zk_batch *b = zk_batch_new(on_read);
    struct altered *x;
    char path[ZNODE_PATH_ROOM];
    al->attempts++;
    for (int32_t i = 0; (x = next_open(al, &i)) != NULL;)
        if (al->attempts > MOST_ATTEMPTS)
            settle(x, ERR_UNKNOWN_SERVER_ERROR, STR_LIT("Others keep changing it"));
        else
            zk_get(b, config_path(path, x->kind, x->entity), false);
    submit_or_answer(al, b);
}

/* ---- The requests ---- */

static void begin(struct request *r)
{
    check_forms(r->state);
    request_hop(r, r->s->control_loop, read_all);
}

static struct altering *altering_new(struct request *r)
{
    struct altering *al = ARENA_NEW(r->arena, struct altering);
    al->r = r;
    r->state = al;
    return al;
}

static void handle_all(struct request *r)
{
    struct altering *al = altering_new(r);
    struct alter_configs_request *q = &al->request.all;
    if (!DECODE(r, alter_configs_request, q))
        return;
    al->validate_only = q->validate_only;
    al->count = MAX(q->resources.len, 0);
    al->items = ARENA_ARRAY(r->arena, struct altered, MAX(al->count, 1));
    for (int32_t i = 0; i < al->count; i++) {
        const struct alter_configs_resource *in = &q->resources.items[i];
        struct altered *x = &al->items[i];
        x->type = in->resource_type;
        x->name = in->resource_name;
        x->count = MAX(in->configs.len, 0);
        x->entries = ARENA_ARRAY(r->arena, struct alter_entry, MAX(x->count, 1));
        for (int32_t k = 0; k < x->count; k++)
            x->entries[k] = (struct alter_entry){in->configs.items[k].name, in->configs.items[k].value, ALTER_SET};
    }
    begin(r);
}

static void handle_some(struct request *r)
{
    struct altering *al = altering_new(r);
    struct incremental_alter_configs_request *q = &al->request.some;
    if (!DECODE(r, incremental_alter_configs_request, q))
        return;
    al->incremental = true;
    al->validate_only = q->validate_only;
    al->count = MAX(q->resources.len, 0);
    al->items = ARENA_ARRAY(r->arena, struct altered, MAX(al->count, 1));
    for (int32_t i = 0; i < al->count; i++) {
        const struct incremental_alter_configs_alter_configs_resource *in = &q->resources.items[i];
        struct altered *x = &al->items[i];
        x->type = in->resource_type;
        x->name = in->resource_name;
        x->count = MAX(in->configs.len, 0);
        x->entries = ARENA_ARRAY(r->arena, struct alter_entry, MAX(x->count, 1));
        for (int32_t k = 0; k < x->count; k++)
            x->entries[k] = (struct alter_entry){in->configs.items[k].name, in->configs.items[k].value,
                                                 in->configs.items[k].config_operation};
    }
    begin(r);
}

const struct api_entry api_alter_configs = {.key = API_ALTER_CONFIGS, .min = 0, .max = 2, .handle = handle_all};
const struct api_entry api_incremental_alter_configs = {
    .key = API_INCREMENTAL_ALTER_CONFIGS, .min = 0, .max = 1, .handle = handle_some};
