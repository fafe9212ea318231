#include "server/request_log.h"

#include <ctype.h>
#include <inttypes.h>

#include "base/logger.h"
#include "protocol/msg/alter_configs.h"
#include "protocol/msg/incremental_alter_configs.h"
#include "server/deprecated_requests.h"
#include "server/request_metrics.h"
#include "server/session.h"

LOG_PLACE(requests, LOGGER_REQUESTS)

enum { LENGTH_BYTES = 4, RESOURCE_TOPIC = 2, RESOURCE_BROKER = 4, RESOURCE_LOGGER = 8, NAME_ROOM = 64 };

static enum log_level level_of_request(int16_t key, int16_t version)
{
    return is_deprecated_request(key, version) ? LEVEL_INFO : LEVEL_DEBUG;
}

bool request_log_is_on(const struct request *r)
{
    return log_is_on(&requests, LEVEL_INFO) && log_is_on(&requests, level_of_request((int16_t)r->api->key, r->version));
}

/* ---- Secrets ---- */

static bool may_be_secret(int8_t resource, struct str name, struct arena *a)
{
    const char *text = arena_cstr(a, name);
    if (resource == RESOURCE_LOGGER)
        return false;
    const struct config_key *key = resource == RESOURCE_TOPIC    ? config_topic_key(text)
                                   : resource == RESOURCE_BROKER ? config_broker_key(text)
                                                                 : NULL;
    return key == NULL || key->type == CONFIG_PASSWORD;
}

static void hide_value(int8_t resource, struct str name, struct str *value, struct arena *a)
{
    if (value->p != NULL && may_be_secret(resource, name, a))
        *value = STR_LIT("[hidden]");
}

/* Values of settings that are no passwords are shown; what is not known may be one. */
static void hide_secrets(int16_t key, void *request, struct arena *a)
{
    struct alter_configs_request *whole = key == API_ALTER_CONFIGS ? request : NULL;
    struct incremental_alter_configs_request *some = key == API_INCREMENTAL_ALTER_CONFIGS ? request : NULL;
    for (int32_t i = 0; whole != NULL && i < whole->resources.len; i++)
        for (int32_t k = 0; k < whole->resources.items[i].configs.len; k++) {
            struct alter_configs_alterable_config *c = &whole->resources.items[i].configs.items[k];
            hide_value(whole->resources.items[i].resource_type, c->name, &c->value, a);
        }
    for (int32_t i = 0; some != NULL && i < some->resources.len; i++)
        for (int32_t k = 0; k < some->resources.items[i].configs.len; k++) {
            struct incremental_alter_configs_alterable_config *c = &some->resources.items[i].configs.items[k];
            hide_value(some->resources.items[i].resource_type, c->name, &c->value, a);
        }
}

/* ---- Texts ---- */

static void put_json_text(struct strbuf *out, const char *name, struct str text)
{
    strbuf_printf(out, "\"%s\":", name);
    json_print_text(out, text);
}

/* LIST_OFFSETS for ListOffsets, as Kafka's ApiKeys has it. */
static void put_api_name(struct strbuf *out, const char *name)
{
    strbuf_puts(out, "\"requestApiKeyName\":\"");
    for (const char *c = name; *c != '\0'; c++) {
        char upper[2] = {'_', (char)toupper((unsigned char)*c)};
        bool begins = c > name && isupper((unsigned char)*c);
        strbuf_add(out, begins ? upper : upper + 1, begins ? 2 : 1);
    }
    strbuf_puts(out, "\"");
}

static void put_header(struct strbuf *out, const struct request *r)
{
    int16_t key = (int16_t)r->api->key;
    strbuf_printf(out, "{\"isForwarded\":false,\"requestHeader\":{\"requestApiKey\":%d,\"requestApiVersion\":%d,", key,
                  r->version);
    strbuf_printf(out, "\"correlationId\":%" PRId32 ",", r->correlation_id);
    put_json_text(out, "clientId", r->client_id);
    strbuf_puts(out, ",");
    put_api_name(out, api_spec(key)->name);
    strbuf_puts(out, is_deprecated_request(key, r->version) ? ",\"requestApiVersionDeprecated\":true}" : "}");
}

/* A message that was encoded is read again: there is one place to do so, and time is of no concern here. */
static void put_encoded(struct strbuf *out, const struct request *r, const struct message_type *type,
                        struct bytes encoded)
{
    struct arena a = {0};
    struct reader reader;
    void *message = arena_alloc(&a, type->size);
    const struct api_spec *spec = api_spec((int16_t)r->api->key);
    bool known = r->version >= spec->min_version && r->version <= spec->max_version;
    reader_init(&reader, encoded, &a);
    message_init(type, message);
    if (known && message_read(type, &reader, r->version, message)) {
        if (type == spec->request)
            hide_secrets((int16_t)r->api->key, message, &a);
        message_print(type, out, r->version, message);
    } else {
        strbuf_puts(out, "\"\"");
    }
    arena_deinit(&a);
}

/* The body follows what was read of the frame before it was decoded. */
static struct bytes body_of(const struct request *r)
{
    return (struct bytes){r->x->frame + (r->x->frame_len - r->body_len), r->body_len};
}

void request_log_answer(struct request *r, const void *message, const struct writer *w)
{
    int16_t key = (int16_t)r->api->key;
    const struct message_type *type = api_spec(key)->response;
    struct strbuf out = {0};
    if (!request_log_is_on(r) || r->logged_answer != NULL || r->flavor == REQUEST_OF_LOGIN ||
        (w != NULL && w->splice_count > 0))
        return;
    if (message != NULL) {
        message_print(type, &out, r->version, message);
    } else {
        ensure(w != NULL && w->buf.p != NULL);
        int32_t header = LENGTH_BYTES + (api_response_header_version(key, r->version) > 0 ? 5 : 4);
        put_encoded(&out, r, type, (struct bytes){(const uint8_t *)w->buf.p + header, (int32_t)w->buf.len - header});
    }
    r->logged_answer = arena_cstr(r->arena, (struct str){out.p, (int32_t)out.len});
    strbuf_deinit(&out);
}

char *request_log_take(struct request *r)
{
    struct strbuf out = {0};
    struct str software, version;
    char connection[128];
    if (!request_log_is_on(r))
        return NULL;
    const struct principal *who = &connection_session(r->s, r->x->conn)->principal; /* nobody, before a login */
    connection_software(r->x->conn, &software, &version);
    connection_id(r->x->conn, connection, sizeof(connection));
    put_header(&out, r);
    strbuf_puts(&out, ",\"request\":");
    put_encoded(&out, r, api_spec((int16_t)r->api->key)->request, body_of(r));
    strbuf_printf(&out, ",\"response\":%s,", r->logged_answer != NULL ? r->logged_answer : "\"\"");
    put_json_text(&out, "connection", str_of(connection));
    strbuf_add(&out, "", 1); /* the times go here */
    put_json_text(&out, "securityProtocol",
                  str_of(security_protocol_name((int16_t)connection_listener(r->x->conn)->protocol)));
    struct str principal = arena_printf(r->arena, "%.*s:%.*s", STR_ARGS(who->type), STR_ARGS(who->name));
    strbuf_puts(&out, ",");
    put_json_text(&out, "principal", principal);
    strbuf_puts(&out, ",");
    put_json_text(&out, "listener", str_of(request_listener(r)));
    strbuf_puts(&out, ",\"clientInformation\":{");
    put_json_text(&out, "softwareName", software);
    strbuf_puts(&out, ",");
    put_json_text(&out, "softwareVersion", version);
    strbuf_puts(&out, "}}");
    return strbuf_take(&out);
}

static void put_time(struct strbuf *out, const char *name, int64_t us)
{
    strbuf_printf(out, ",\"%s\":%" PRId64 ".%03d", name, us / 1000, (int)(us % 1000));
}

void request_log_end(const struct exchange *x, char *taken)
{
    const struct exchange_account *a = &x->account;
    struct strbuf out = {0};
    if (taken == NULL)
        return;
    strbuf_printf(&out, "Completed request:%s", taken);
    put_time(&out, "totalTimeMs", x->sent_us - x->whole_us);
    put_time(&out, "requestQueueTimeMs", a->queue_us);
    put_time(&out, "localTimeMs", a->local_us);
    put_time(&out, "remoteTimeMs", a->remote_us);
    strbuf_printf(&out, ",\"throttleTimeMs\":%" PRId32, a->throttle_ms);
    put_time(&out, "responseQueueTimeMs", x->sending_us - a->answered_us);
    put_time(&out, "sendTimeMs", x->sent_us - x->sending_us);
    strbuf_printf(&out, ",%s", taken + strlen(taken) + 1);
    logger_write_text(level_of_request(a->key, a->version), &requests, __LINE__, (struct str){out.p, (int32_t)out.len});
    strbuf_deinit(&out);
    free(taken);
}
