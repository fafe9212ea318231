#include "cluster/znodes.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/logger.h"
#include "base/topic_key.h"
#include "cluster/znodes_internal.h"

enum { TOPIC_VERSION = 3, REGISTRATION_VERSION = 5, CONTROLLER_VERSION = 2, FEATURE_VERSION = 2, FEATURE_ENABLED = 1 };

/* ---- JSON ---- */

struct bytes znode_dump(struct arena *a, json_t *json)
{
    char *text = json_dumps(json, JSON_COMPACT);
    ensure(text != NULL);
    struct bytes data = {arena_copy(a, text, strlen(text)), (int32_t)strlen(text)};
    free(text);
    json_decref(json);
    return data;
}

static json_t *znode_parse(const char *path, struct bytes data)
{
    json_error_t error;
    json_t *json = data.p == NULL ? NULL : json_loadb((const char *)data.p, (size_t)data.len, 0, &error);
    if (json_is_object(json))
        return json;
    log_error("Malformed znode %s: %s", path,
              data.p == NULL ? "it is empty"
              : json == NULL ? error.text
                             : "not an object");
    json_decref(json);
    return NULL;
}

static bool znode_complain(const char *path, json_t *json)
{
    log_error("Malformed znode %s: a field is missing or of the wrong type", path);
    json_decref(json);
    return false;
}

static bool get_int(const json_t *object, const char *key, int32_t *out)
{
    const json_t *v = json_object_get(object, key);
    if (!json_is_integer(v) || json_integer_value(v) < INT32_MIN || json_integer_value(v) > INT32_MAX)
        return false;
    *out = (int32_t)json_integer_value(v);
    return true;
}

/* One that has another after it. */
static bool get_epoch(const json_t *object, const char *key, int32_t *out)
{
    return get_int(object, key, out) && *out >= 0 && *out < INT32_MAX;
}

static int32_t int_or(const json_t *object, const char *key, int32_t fallback)
{
    int32_t v;
    return get_int(object, key, &v) ? v : fallback;
}

static bool get_list(struct arena *a, const json_t *array, struct int_list *out)
{
    size_t n = json_array_size(array);
    if (!json_is_array(array) || n > INT32_MAX)
        return false;
    *out = (struct int_list){ARENA_ARRAY(a, int32_t, n), (int32_t)n};
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(array, i);
        if (!json_is_integer(v) || json_integer_value(v) < INT32_MIN || json_integer_value(v) > INT32_MAX)
            return false;
        out->v[i] = (int32_t)json_integer_value(v);
    }
    return true;
}

static json_t *list_json(struct int_list list)
{
    json_t *array = json_array();
    for (int32_t i = 0; i < list.n; i++)
        json_array_append_new(array, json_integer(list.v[i]));
    return array;
}

static const char *znode_copy_text(struct arena *a, const json_t *text)
{
    return arena_cstr(a, str_of(json_string_value(text)));
}

static json_t *ms_text(int64_t ms)
{
    char text[24];
    snprintf(text, sizeof(text), "%" PRId64, ms);
    return json_string(text);
}

/* ---- Paths ---- */

static char *path_printf(char buf[ZNODE_PATH_ROOM], const char *fmt, ...) PRINTF_LIKE(2, 3);

static char *path_printf(char buf[ZNODE_PATH_ROOM], const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(buf, ZNODE_PATH_ROOM, fmt, args);
    va_end(args);
    ensure(n > 0 && n < ZNODE_PATH_ROOM);
    return buf;
}

char *topic_path(char buf[ZNODE_PATH_ROOM], const char *topic)
{
    return path_printf(buf, ZNODE_TOPICS "/%s", topic);
}

char *partitions_path(char buf[ZNODE_PATH_ROOM], const char *topic)
{
    return path_printf(buf, ZNODE_TOPICS "/%s/partitions", topic);
}

char *partition_path(char buf[ZNODE_PATH_ROOM], const char *topic, int32_t partition)
{
    return path_printf(buf, ZNODE_TOPICS "/%s/partitions/%" PRId32, topic, partition);
}

char *state_path(char buf[ZNODE_PATH_ROOM], const char *topic, int32_t partition)
{
    return path_printf(buf, ZNODE_TOPICS "/%s/partitions/%" PRId32 "/state", topic, partition);
}

char *broker_path(char buf[ZNODE_PATH_ROOM], int32_t id)
{
    return path_printf(buf, ZNODE_BROKER_IDS "/%" PRId32, id);
}

char *delete_topic_path(char buf[ZNODE_PATH_ROOM], const char *topic)
{
    return path_printf(buf, ZNODE_DELETE_TOPICS "/%s", topic);
}

char *config_path(char buf[ZNODE_PATH_ROOM], const char *type, const char *name)
{
    return path_printf(buf, ZNODE_CONFIG "/%s/%s", type, name);
}

/* ---- Brokers ---- */

struct bytes registration_encode(struct arena *a, const struct registration *r, int64_t now)
{
    json_t *map = json_object(), *endpoints = json_array();
    const char *host = NULL;
    int32_t port = -1;
    for (int32_t i = 0; i < r->endpoint_count; i++) {
        const struct endpoint *e = &r->endpoints[i];
        bool ipv6 = strchr(e->host, ':') != NULL;
        json_object_set_new(map, e->listener, json_string(e->protocol));
        json_array_append_new(endpoints,
                              json_sprintf(ipv6 ? "%s://[%s]:%d" : "%s://%s:%d", e->listener, e->host, (int)e->port));
        if (host == NULL && strcmp(e->protocol, "PLAINTEXT") == 0) {
            host = e->host;
            port = e->port;
        }
    }
    json_t *json = json_pack("{s:o, s:o, s:o}", "features", json_object(), "listener_security_protocol_map", map,
                             "endpoints", endpoints);
    if (r->rack != NULL)
        json_object_set_new(json, "rack", json_string(r->rack));
    json_object_set_new(json, "jmx_port", json_integer(-1));
    json_object_set_new(json, "port", json_integer(port));
    json_object_set_new(json, "host", host ? json_string(host) : json_null());
    json_object_set_new(json, "version", json_integer(REGISTRATION_VERSION));
    json_object_set_new(json, "timestamp", ms_text(now));
    return znode_dump(a, json);
}

static bool port_is_legal(long port)
{
    return port >= -1 && port <= 65535;
}

/* "NAME://host:port", the host perhaps in brackets. */
static bool parse_endpoint(struct arena *a, const char *text, const json_t *map, struct endpoint *out)
{
    const char *sep = strstr(text, "://"), *colon = strrchr(text, ':');
    if (sep == NULL || colon < sep + 3)
        return false;
    const char *host = sep + 3, *end = colon;
    if (*host == '[' && end > host && end[-1] == ']') {
        host++;
        end--;
    }
    char *stop;
    long port = strtol(colon + 1, &stop, 10);
    if (*stop != '\0' || !port_is_legal(port))
        return false;
    out->listener = arena_cstr(a, (struct str){text, (int32_t)(sep - text)});
    out->host = arena_cstr(a, (struct str){host, (int32_t)(end - host)});
    out->port = (int32_t)port;
    const json_t *protocol = json_object_get(map, out->listener);
    out->protocol = json_is_string(protocol) ? znode_copy_text(a, protocol) : out->listener;
    return true;
}

static bool decode_endpoints(struct arena *a, const json_t *json, struct registration *out)
{
    const json_t *list = json_object_get(json, "endpoints"),
                 *map = json_object_get(json, "listener_security_protocol_map");
    size_t n = json_array_size(list);
    out->endpoints = ARENA_ARRAY(a, struct endpoint, MAX(n, (size_t)1));
    if (n == 0) { /* version 1 */
        const json_t *host = json_object_get(json, "host");
        int32_t port;
        if (!json_is_string(host) || !get_int(json, "port", &port) || !port_is_legal(port))
            return false;
        out->endpoints[0] = (struct endpoint){"PLAINTEXT", "PLAINTEXT", znode_copy_text(a, host), port};
        out->endpoint_count = 1;
        return true;
    }
    for (size_t i = 0; i < n; i++) {
        const json_t *text = json_array_get(list, i);
        if (!json_is_string(text) || !parse_endpoint(a, json_string_value(text), map, &out->endpoints[i]))
            return false;
    }
    out->endpoint_count = (int32_t)n;
    return true;
}

bool registration_decode(struct arena *a, int32_t id, struct bytes data, struct registration *out)
{
    char path[ZNODE_PATH_ROOM];
    json_t *json = znode_parse(broker_path(path, id), data);
    if (json == NULL)
        return false;
    *out = (struct registration){.id = id};
    const json_t *rack = json_object_get(json, "rack");
    if (int_or(json, "version", 0) < 1 || !decode_endpoints(a, json, out))
        return znode_complain(path, json);
    if (json_is_string(rack))
        out->rack = znode_copy_text(a, rack);
    json_decref(json);
    return true;
}

struct bytes controller_encode(struct arena *a, int32_t broker_id, int64_t now)
{
    return znode_dump(a, json_pack("{s:i, s:i, s:o, s:i}", "version", CONTROLLER_VERSION, "brokerid", (int)broker_id,
                                   "timestamp", ms_text(now), "kraftControllerEpoch", -1));
}

bool controller_decode(struct bytes data, int32_t *broker_id)
{
    json_t *json = znode_parse(ZNODE_CONTROLLER, data);
    if (json == NULL)
        return false;
    if (!get_int(json, "brokerid", broker_id))
        return znode_complain(ZNODE_CONTROLLER, json);
    json_decref(json);
    return true;
}

struct bytes cluster_id_encode(struct arena *a, const char *id)
{
    return znode_dump(a, json_pack("{s:s, s:s}", "version", "1", "id", id));
}

bool cluster_id_decode(struct arena *a, struct bytes data, const char **id)
{
    json_t *json = znode_parse(ZNODE_CLUSTER_ID, data);
    if (json == NULL)
        return false;
    const json_t *v = json_object_get(json, "id");
    if (!json_is_string(v))
        return znode_complain(ZNODE_CLUSTER_ID, json);
    *id = znode_copy_text(a, v);
    json_decref(json);
    return true;
}

struct bytes feature_encode(struct arena *a)
{
    return znode_dump(a,
                      json_pack("{s:{}, s:i, s:i}", "features", "version", FEATURE_VERSION, "status", FEATURE_ENABLED));
}

bool feature_is_disabled(struct bytes data)
{
    json_t *json = znode_parse(ZNODE_FEATURE, data);
    bool disabled = json != NULL && int_or(json, "status", FEATURE_ENABLED) != FEATURE_ENABLED;
    json_decref(json);
    return disabled;
}

struct bytes int_encode(struct arena *a, int64_t value)
{
    struct str text = arena_printf(a, "%" PRId64, value);
    return (struct bytes){(const uint8_t *)text.p, text.len};
}

bool int_decode(struct bytes data, int64_t *value)
{
    char text[24], *end;
    if (data.len <= 0 || data.len >= (int32_t)sizeof(text))
        return false;
    memcpy(text, data.p, (size_t)data.len);
    text[data.len] = '\0';
    *value = strtoll(text, &end, 10);
    return *end == '\0';
}

/* ---- Topics ---- */

static bool is_legal_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
}

bool topic_name_is_legal(struct str name)
{
    for (int32_t i = 0; i < name.len; i++)
        if (!is_legal_char(name.p[i]))
            return false;
    return name.len > 0 && name.len <= LONGEST_TOPIC_NAME && !str_is(name, ".") && !str_is(name, "..");
}

int32_t topic_number(const struct topic_znode *t, int32_t i)
{
    return t->numbers != NULL ? t->numbers[i] : i;
}

static json_t *lists_json(const struct topic_znode *t, const struct int_list *lists, bool keep_empty)
{
    json_t *object = json_object();
    for (int32_t i = 0; lists != NULL && i < t->partition_count; i++) {
        char key[12];
        snprintf(key, sizeof(key), "%" PRId32, topic_number(t, i));
        if (lists[i].n > 0 || keep_empty)
            json_object_set_new(object, key, list_json(lists[i]));
    }
    return object;
}

static size_t lists_size(const struct topic_znode *t, const struct int_list *lists)
{
    size_t size = 0;
    for (int32_t i = 0; lists != NULL && i < t->partition_count; i++) {
        size += (size_t)snprintf(NULL, 0, "\"%" PRId32 "\":[],", topic_number(t, i));
        for (int32_t k = 0; k < lists[i].n; k++)
            size += (size_t)snprintf(NULL, 0, k > 0 ? ",%" PRId32 : "%" PRId32, lists[i].v[k]);
    }
    return size;
}

size_t topic_encoded_size(const struct topic_znode *t)
{
    enum { ALL_ELSE = 128 };
    return ALL_ELSE + lists_size(t, t->replicas) + lists_size(t, t->adding) + lists_size(t, t->removing);
}

struct bytes topic_encode(struct arena *a, const struct topic_znode *t)
{
    json_t *json = json_object();
    json_object_set_new(json, "partitions", lists_json(t, t->replicas, true));
    if (!uuid_is_zero(t->id)) {
        char id[UUID_TEXT_LEN + 1];
        uuid_format(t->id, id);
        json_object_set_new(json, "topic_id", json_string(id));
    }
    json_object_set_new(json, "adding_replicas", lists_json(t, t->adding, false));
    json_object_set_new(json, "removing_replicas", lists_json(t, t->removing, false));
    json_object_set_new(json, "version", json_integer(uuid_is_zero(t->id) ? TOPIC_VERSION - 1 : TOPIC_VERSION));
    return znode_dump(a, json);
}

/* One partition of a topic's node, while they are put in order. */
struct assigned {
    int32_t number;
    struct int_list replicas, adding, removing;
};

static int znode_by_number(const void *a, const void *b)
{
    const struct assigned *x = a, *y = b;
    return (x->number > y->number) - (x->number < y->number);
}

static bool znode_get_number(const char *key, int32_t *out)
{
    size_t digits = strspn(key, "0123456789");
    long long value = digits > 0 && digits <= 10 && key[digits] == '\0' ? strtoll(key, NULL, 10) : -1;
    *out = (int32_t)value;
    return value >= 0 && value <= INT32_MAX;
}

bool broker_id_parse(struct str name, int32_t *id)
{
    char text[12];
    return (size_t)snprintf(text, sizeof(text), "%.*s", STR_ARGS(name)) < sizeof(text) && znode_get_number(text, id);
}

static bool get_list_of(struct arena *a, const json_t *object, const char *key, struct int_list *out)
{
    const json_t *list = json_object_get(object, key);
    if (list == NULL)
        return true;
    if (!get_list(a, list, out))
        return false;
    int_list_make_unique(out);
    return true;
}

/* The partitions of the node by their numbers, of which each is there once. */
static bool decode_partitions(struct arena *a, const json_t *json, struct assigned *list, int32_t n)
{
    const json_t *partitions = json_object_get(json, "partitions");
    const json_t *adding = json_object_get(json, "adding_replicas"),
                 *removing = json_object_get(json, "removing_replicas");
    const char *key;
    json_t *value;
    struct assigned *x = list;
    json_object_foreach((json_t *)(uintptr_t)partitions, key, value)
    {
        if (!znode_get_number(key, &x->number) || !partition_number_is_possible(x->number) ||
            !get_list_of(a, partitions, key, &x->replicas) || !get_list_of(a, adding, key, &x->adding) ||
            !get_list_of(a, removing, key, &x->removing))
            return false;
        x++;
    }
    qsort(list, (size_t)n, sizeof(*list), znode_by_number);
    for (int32_t i = 1; i < n; i++)
        if (list[i].number == list[i - 1].number)
            return false;
    return true;
}

bool topic_decode(struct arena *a, const char *topic, struct bytes data, struct topic_znode *out)
{
    char path[ZNODE_PATH_ROOM];
    json_t *json = znode_parse(topic_path(path, topic), data);
    if (json == NULL)
        return false;
    const json_t *partitions = json_object_get(json, "partitions"), *id = json_object_get(json, "topic_id");
    int32_t n = (int32_t)json_object_size(partitions);
    struct assigned *list = ARENA_ARRAY(a, struct assigned, MAX(n, 1));
    *out = (struct topic_znode){.partition_count = n};
    out->numbers = ARENA_ARRAY(a, int32_t, MAX(n, 1));
    out->replicas = ARENA_ARRAY(a, struct int_list, MAX(n, 1));
    out->adding = ARENA_ARRAY(a, struct int_list, MAX(n, 1));
    out->removing = ARENA_ARRAY(a, struct int_list, MAX(n, 1));
    bool ok = decode_partitions(a, json, list, n);
    for (int32_t i = 0; ok && i < n; i++) {
        out->numbers[i] = list[i].number;
        out->replicas[i] = list[i].replicas;
        out->adding[i] = list[i].adding;
        out->removing[i] = list[i].removing;
    }
    if (json_is_string(id))
        ok = ok && uuid_parse(str_of(json_string_value(id)), &out->id);
    if (!ok)
        return znode_complain(path, json);
    json_decref(json);
    return true;
}

struct bytes partition_encode(struct arena *a, const struct partition_znode *p)
{
    json_t *json =
        json_pack("{s:i, s:i, s:i, s:i, s:o}", "controller_epoch", (int)p->controller_epoch, "leader", (int)p->leader,
                  "version", 1, "leader_epoch", (int)p->leader_epoch, "isr", list_json(p->isr));
    if (p->recovery_state != 0)
        json_object_set_new(json, "leader_recovery_state", json_integer(p->recovery_state));
    return znode_dump(a, json);
}

bool partition_decode(struct arena *a, const char *topic, int32_t partition, struct bytes data,
                      struct partition_znode *out)
{
    char path[ZNODE_PATH_ROOM];
    json_t *json = znode_parse(state_path(path, topic, partition), data);
    if (json == NULL)
        return false;
    *out = (struct partition_znode){0};
    if (!get_int(json, "leader", &out->leader) || !get_epoch(json, "leader_epoch", &out->leader_epoch) ||
        !get_int(json, "controller_epoch", &out->controller_epoch) ||
        !get_list(a, json_object_get(json, "isr"), &out->isr))
        return znode_complain(path, json);
    out->recovery_state = int_or(json, "leader_recovery_state", 0);
    json_decref(json);
    return true;
}

/* ---- Configuration and notifications ---- */

struct config_znode config_copy(struct arena *a, const struct config_znode *from)
{
    struct config_znode to = {ARENA_ARRAY(a, struct config_pair, MAX(from->count, 1)), from->count};
    for (int32_t i = 0; i < from->count; i++)
        to.entries[i] = (struct config_pair){arena_cstr(a, str_of(from->entries[i].key)),
                                             arena_cstr(a, str_of(from->entries[i].value))};
    return to;
}

bool config_is_same(const struct config_znode *a, const struct config_znode *b)
{
    if (a->count != b->count)
        return false;
    for (int32_t i = 0; i < a->count; i++)
        if (strcmp(a->entries[i].key, b->entries[i].key) != 0 || strcmp(a->entries[i].value, b->entries[i].value) != 0)
            return false;
    return true;
}

struct config_pair *config_find(const struct config_znode *pairs, const char *key)
{
    for (int32_t i = 0; i < pairs->count; i++)
        if (strcmp(pairs->entries[i].key, key) == 0)
            return &pairs->entries[i];
    return NULL;
}

const char *entity_name_encode(struct arena *a, struct str name)
{
    char *out = arena_alloc(a, 3 * (size_t)name.len + 1), *to = out;
    for (int32_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.p[i];
        if (isalnum(c) || (c != '\0' && strchr(".-_", c) != NULL))
            *to++ = (char)c;
        else
            to += snprintf(to, 4, "%%%02X", c);
    }
    return out;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10 : -1;
}

struct str entity_name_decode(struct arena *a, struct str coded)
{
    char *out = arena_alloc(a, (size_t)coded.len + 1), *to = out;
    for (int32_t i = 0; i < coded.len; i++) {
        bool escape = coded.p[i] == '%' && coded.len - i > 2;
        int high = escape ? hex_digit(coded.p[i + 1]) : -1, low = escape ? hex_digit(coded.p[i + 2]) : -1;
        *to++ = high >= 0 && low >= 0 ? (char)(high * 16 + low) : coded.p[i];
        i += high >= 0 && low >= 0 ? 2 : 0;
    }
    return (struct str){out, (int32_t)(to - out)};
}

struct bytes config_encode(struct arena *a, const struct config_znode *c)
{
    json_t *entries = json_object();
    for (int32_t i = 0; i < c->count; i++)
        json_object_set_new(entries, c->entries[i].key, json_string(c->entries[i].value));
    return znode_dump(a, json_pack("{s:i, s:o}", "version", 1, "config", entries));
}

bool config_decode(struct arena *a, const char *path, struct bytes data, struct config_znode *out)
{
    *out = (struct config_znode){0};
    if (data.p == NULL)
        return true;
    json_t *json = znode_parse(path, data);
    if (json == NULL)
        return false;
    json_t *entries = json_object_get(json, "config"), *value;
    const char *key;
    out->entries = ARENA_ARRAY(a, struct config_pair, MAX(json_object_size(entries), (size_t)1));
    json_object_foreach(entries, key, value)
    {
        if (!json_is_string(value))
            return znode_complain(path, json);
        out->entries[out->count++] = (struct config_pair){arena_cstr(a, str_of(key)), znode_copy_text(a, value)};
    }
    json_decref(json);
    return true;
}

struct bytes config_change_encode(struct arena *a, const char *entity_path)
{
    return znode_dump(a, json_pack("{s:i, s:s}", "version", 2, "entity_path", entity_path));
}

bool config_change_decode(struct arena *a, struct bytes data, const char **entity_path)
{
    json_t *json = znode_parse(ZNODE_CONFIG_CHANGES, data);
    if (json == NULL)
        return false;
    const json_t *path = json_object_get(json, "entity_path"), *type = json_object_get(json, "entity_type"),
                 *name = json_object_get(json, "entity_name");
    if (json_is_string(path))
        *entity_path = znode_copy_text(a, path);
    else if (json_is_string(type) && json_is_string(name)) /* version 1 */
        *entity_path = arena_printf(a, "%s/%s", json_string_value(type), json_string_value(name)).p;
    else
        return znode_complain(ZNODE_CONFIG_CHANGES, json);
    json_decref(json);
    return true;
}

struct bytes partition_list_encode(struct arena *a, const struct partition_list_znode *list, bool with_replicas)
{
    json_t *partitions = json_array();
    for (int32_t i = 0; i < list->count; i++) {
        const struct topic_partition_entry *e = &list->entries[i];
        json_t *entry = json_pack("{s:s, s:i}", "topic", e->topic, "partition", (int)e->partition);
        if (with_replicas)
            json_object_set_new(entry, "replicas", list_json(e->replicas));
        json_array_append_new(partitions, entry);
    }
    return znode_dump(a, json_pack("{s:i, s:o}", "version", 1, "partitions", partitions));
}

bool partition_list_decode(struct arena *a, const char *path, struct bytes data, struct partition_list_znode *out)
{
    json_t *json = znode_parse(path, data), *entry;
    size_t i;
    if (json == NULL)
        return false;
    json_t *partitions = json_object_get(json, "partitions");
    *out = (struct partition_list_znode){
        ARENA_ARRAY(a, struct topic_partition_entry, MAX(json_array_size(partitions), (size_t)1)), 0};
    json_array_foreach(partitions, i, entry)
    {
        struct topic_partition_entry *e = &out->entries[out->count++];
        const json_t *topic = json_object_get(entry, "topic"), *replicas = json_object_get(entry, "replicas");
        if (!json_is_string(topic) || !get_int(entry, "partition", &e->partition) ||
            (replicas != NULL && !get_list(a, replicas, &e->replicas)))
            return znode_complain(path, json);
        int_list_make_unique(&e->replicas);
        e->topic = znode_copy_text(a, topic);
    }
    json_decref(json);
    return true;
}

struct bytes log_dir_event_encode(struct arena *a, int32_t broker_id)
{
    enum { VERSION = 1, DIR_FAILURE = 1 };
    return znode_dump(a,
                      json_pack("{s:i, s:i, s:i}", "version", VERSION, "broker", (int)broker_id, "event", DIR_FAILURE));
}

bool log_dir_event_decode(struct bytes data, int32_t *broker_id)
{
    json_t *json = znode_parse(ZNODE_LOG_DIR_EVENTS, data);
    if (json == NULL)
        return false;
    if (!get_int(json, "broker", broker_id))
        return znode_complain(ZNODE_LOG_DIR_EVENTS, json);
    json_decref(json);
    return true;
}

struct bytes producer_ids_encode(struct arena *a, const struct producer_id_block *b)
{
    return znode_dump(a, json_pack("{s:i, s:i, s:o, s:o}", "version", 1, "broker", (int)b->broker_id, "block_start",
                                   ms_text(b->first), "block_end", ms_text(b->last)));
}

static bool get_long_text(const json_t *json, const char *key, int64_t *out)
{
    const char *text = json_string_value(json_object_get(json, key));
    return text != NULL && int_decode((struct bytes){(const uint8_t *)text, (int32_t)strlen(text)}, out);
}

bool producer_ids_decode(struct bytes data, struct producer_id_block *out)
{
    json_t *json = znode_parse(ZNODE_PRODUCER_IDS, data);
    if (json == NULL)
        return false;
    if (!get_int(json, "broker", &out->broker_id) || !get_long_text(json, "block_start", &out->first) ||
        !get_long_text(json, "block_end", &out->last))
        return znode_complain(ZNODE_PRODUCER_IDS, json);
    json_decref(json);
    return true;
}
