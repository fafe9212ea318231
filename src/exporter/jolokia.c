/*
 * Beans as Jolokia tells them (protocol 7.2), for tools that have no JMX: read, list, search and version, by GET or by
 * POST of one request or a list of them. Errors are told inside an answer of 200, as there. Nothing can be changed.
 */
#include <jansson.h>
#include <math.h>

#include "base/clock.h"
#include "exporter/exporter_internal.h"

/*
 * Of one body, whatever number of requests is in it: what is told of them lies in memory until all is said, and what is
 * looked at takes a worker's time even if nothing is told of it.
 */
enum { MOST_BEANS = 20000, MOST_SEEN = 2000000, MOST_REQUESTS = 1000, MOST_ATTRIBUTES = 1000 };

struct allowance {
    int64_t beans; /* that may still be told */
    struct bean_budget seen;
};

struct asking {
    struct metrics *metrics;
    struct bean_pattern pattern;
    const json_t *attributes; /* a text, a list of texts, or NULL: all */
    bool sorted;              /* keys in the names of beans */
    json_t *value;
    int64_t count;
    struct allowance *left;
    bool too_many;
};

/* ---- Values ---- */

static json_t *json_of(const struct bean_value *v)
{
    switch (v->kind) {
    case VALUE_LONG:
        return json_integer(v->number);
    case VALUE_DOUBLE:
        return isfinite(v->real) ? json_real(v->real) : json_null();
    case VALUE_BOOL:
        return json_boolean(v->truth);
    case VALUE_TEXT:
        break;
    }
    json_t *text = json_stringn(v->text.p, (size_t)v->text.len);
    return text != NULL ? text : json_null(); /* no UTF-8 */
}

static bool asks_for(const json_t *attributes, const char *name)
{
    if (attributes == NULL || (json_is_array(attributes) && json_array_size(attributes) == 0))
        return true;
    if (json_is_string(attributes))
        return strcmp(json_string_value(attributes), name) == 0;
    for (size_t i = 0; i < json_array_size(attributes); i++) {
        const char *text = json_string_value(json_array_get(attributes, i));
        if (text != NULL && strcmp(text, name) == 0)
            return true;
    }
    return false;
}

static json_t *attributes_of(const struct bean *b, const json_t *wanted)
{
    struct bean_attribute all[BEAN_MOST_ATTRIBUTES];
    int count = bean_read(b, all);
    json_t *out = json_object();
    for (int i = 0; i < count; i++)
        if (asks_for(wanted, all[i].name))
            json_object_set_new(out, all[i].name, json_of(&all[i].value));
    return out;
}

/* ---- What is done with each bean ---- */

static bool count_bean(struct asking *q)
{
    q->count++;
    q->too_many = --q->left->beans < 0;
    return !q->too_many;
}

/* Names that are no UTF-8, as clients may choose them, cannot be told in JSON. */
static void set_by_name(json_t *to, const struct strbuf *name, json_t *value)
{
    (void)json_object_set_new(to, name->p, value);
}

static bool read_bean(void *ctx, const struct bean *b)
{
    struct asking *q = ctx;
    struct strbuf name = {0};
    if (!count_bean(q))
        return false;
    json_t *found = attributes_of(b, q->attributes);
    if (q->pattern.exact) {
        json_decref(q->value);
        q->value = json_is_string(q->attributes) && json_object_size(found) == 1
                       ? json_incref(json_object_get(found, json_string_value(q->attributes)))
                       : json_incref(found);
    } else if (json_object_size(found) > 0) {
        bean_text(b, q->sorted, &name);
        set_by_name(q->value, &name, json_incref(found));
    }
    json_decref(found);
    strbuf_deinit(&name);
    return true;
}

static bool search_bean(void *ctx, const struct bean *b)
{
    struct asking *q = ctx;
    struct strbuf name = {0};
    if (!count_bean(q))
        return false;
    bean_text(b, q->sorted, &name);
    json_array_append_new(q->value, json_stringn(name.p, name.len));
    strbuf_deinit(&name);
    return true;
}

/* domain: {keys: {attr: {...}, class, desc}} */
static bool list_bean(void *ctx, const struct bean *b)
{
    struct asking *q = ctx;
    struct strbuf name = {0};
    struct bean_attribute all[BEAN_MOST_ATTRIBUTES];
    if (!count_bean(q))
        return false;
    json_t *domain = json_object_get(q->value, b->domain), *attributes = json_object();
    if (domain == NULL) {
        domain = json_object();
        json_object_set_new(q->value, b->domain, domain);
    }
    int count = bean_read(b, all);
    for (int i = 0; i < count; i++)
        json_object_set_new(
            attributes, all[i].name,
            json_pack("{s:b, s:s, s:s}", "rw", 0, "type", all[i].type, "desc", "An attribute of a bean of Kafka's"));
    bean_text(b, q->sorted, &name);
    const char *keys = strchr(name.p, ':') + 1;
    (void)json_object_set_new(domain, keys,
                              json_pack("{s:{}, s:o, s:s, s:s}", "op", "attr", attributes, "class",
                                        bean_kind_name(b->kind), "desc", "A bean of Kafka's"));
    strbuf_deinit(&name);
    return true;
}

/* ---- A request ---- */

static json_t *jolokia_told(json_t *request, json_t *value)
{
    return json_pack("{s:O, s:o, s:I, s:i}", "request", request, "value", value, "timestamp",
                     (json_int_t)(clock_wall_ms() / 1000), "status", 200);
}

static json_t *jolokia_failed(json_t *request, int status, const char *type, const char *text, const char *what)
{
    json_t *error = json_sprintf("%s : %s%s", type, text, what);
    return json_pack("{s:O, s:s, s:o, s:i}", "request", request, "error_type", type, "error",
                     error != NULL ? error : json_string(type), "status", status);
}

static const char illegal[] = "java.lang.IllegalArgumentException", illegal_state[] = "java.lang.IllegalStateException",
                  not_found[] = "javax.management.InstanceNotFoundException",
                  no_attribute[] = "javax.management.AttributeNotFoundException";

/* All that match, by `take`, into `q->value`; NULL, or the error. */
static json_t *visit(struct asking *q, json_t *request, const char *name, bean_visit_fn take)
{
    const char *why;
    if (name == NULL)
        return jolokia_failed(request, 400, illegal, "No MBean name", "");
    if (!bean_pattern_parse(str_of(name), &q->pattern, &why))
        return jolokia_failed(request, 400, "javax.management.MalformedObjectNameException", why, "");
    metrics_visit_within(q->metrics, &q->pattern, &q->left->seen, take, q);
    if (q->too_many)
        return jolokia_failed(request, 500, illegal_state,
                              "More beans than are told at once, of all that is asked together: ", name);
    if (q->left->seen.over)
        return jolokia_failed(request, 500, illegal_state,
                              "More beans than are looked at for one answer, with all that is asked together: ", name);
    return NULL;
}

static json_t *do_read(struct asking *q, json_t *request)
{
    const char *name = json_string_value(json_object_get(request, "mbean"));
    q->attributes = json_object_get(request, "attribute");
    if (json_array_size(q->attributes) > MOST_ATTRIBUTES) /* each is compared with each of a bean's */
        return jolokia_failed(request, 400, illegal, "Too many attributes", "");
    q->value = json_object();
    json_t *error = visit(q, request, name, read_bean);
    if (error == NULL && q->count == 0)
        error = q->pattern.exact ? jolokia_failed(request, 404, not_found, name, "")
                                 : jolokia_failed(request, 404, not_found, "No MBean with pattern ", name);
    if (error == NULL && q->pattern.exact && json_is_object(q->value) && json_object_size(q->value) == 0)
        error = jolokia_failed(request, 404, no_attribute, "No such attribute", "");
    return error;
}

/* "kafka.log", or "kafka.log/name=Size,..." deeper, of which the domain counts. */
static json_t *do_list(struct asking *q, json_t *request)
{
    const char *path = json_string_value(json_object_get(request, "path"));
    struct strbuf pattern = {0};
    bool one = path != NULL && *path != '\0' && strchr(path, '/') == NULL;
    strbuf_printf(&pattern, "%s:*", one ? path : "*");
    q->value = json_object();
    json_t *error = visit(q, request, pattern.p, list_bean);
    if (error == NULL && one) {
        json_t *domain = json_incref(json_object_get(q->value, path));
        json_decref(q->value);
        q->value = domain != NULL ? domain : json_object();
    }
    strbuf_deinit(&pattern);
    return error;
}

static json_t *do_search(struct asking *q, json_t *request)
{
    q->value = json_array();
    return visit(q, request, json_string_value(json_object_get(request, "mbean")), search_bean);
}

static json_t *version(void)
{
    return json_pack("{s:s, s:s, s:{s:s, s:s}, s:{s:s, s:s, s:s}}", "agent", "1.7.1", "protocol", "7.2", "config",
                     "agentType", "jvm", "agentContext", "/jolokia", "info", "product", "barnabas", "vendor",
                     "barnabas", "version", BARNABAS_VERSION);
}

static bool is_true(const json_t *value, bool otherwise)
{
    const char *text = json_string_value(value);
    return text != NULL ? strcasecmp(text, "true") == 0 : json_is_boolean(value) ? json_is_true(value) : otherwise;
}

static json_t *do_request(struct metrics *m, json_t *request, bool sorted, struct allowance *left)
{
    const char *type = json_string_value(json_object_get(request, "type"));
    json_t *config = json_object_get(request, "config"), *error;
    struct asking q = {
        .metrics = m, .sorted = is_true(json_object_get(config, "canonicalNaming"), sorted), .left = left};
    if (!json_is_object(request) || type == NULL)
        return jolokia_failed(request, 400, illegal, "No type given", "");
    if (strcasecmp(type, "version") == 0)
        return jolokia_told(request, version());
    if (strcasecmp(type, "read") == 0)
        error = do_read(&q, request);
    else if (strcasecmp(type, "list") == 0)
        error = do_list(&q, request);
    else if (strcasecmp(type, "search") == 0)
        error = do_search(&q, request);
    else if (strcasecmp(type, "write") == 0 || strcasecmp(type, "exec") == 0)
        return jolokia_failed(request, 403, "java.lang.SecurityException", "Nothing can be changed: ", type);
    else
        return jolokia_failed(request, 400, illegal, "Invalid type ", type);
    if (error != NULL) {
        json_decref(q.value);
        return error;
    }
    return jolokia_told(request, q.value);
}

/* ---- As it comes ---- */

/* The next part of a path: !/ is a slash in it, and !x any other x. */
static struct str next_part(struct str *path, struct arena *a)
{
    char *out = arena_alloc(a, (size_t)path->len + 1);
    int32_t n = 0, i = 0;
    for (; i < path->len && path->p[i] != '/'; i++) {
        if (path->p[i] == '!' && i + 1 < path->len)
            i++;
        out[n++] = path->p[i];
    }
    i += i < path->len;
    *path = (struct str){path->p + i, path->len - i};
    return (struct str){out, n};
}

static void set_text(json_t *to, const char *key, struct str text)
{
    json_t *value = text.len > 0 ? json_stringn(text.p, (size_t)text.len) : NULL;
    if (value != NULL)
        json_object_set_new(to, key, value);
}

/* read/BEAN/ATTRIBUTE,ATTRIBUTE, list/DOMAIN, search/BEAN, version */
static json_t *request_of_path(struct str path, struct arena *a)
{
    json_t *request = json_object();
    struct str type = next_part(&path, a);
    set_text(request, "type", type.len > 0 ? type : STR_LIT("version"));
    if (str_is(type, "list")) {
        set_text(request, "path", path);
        return request;
    }
    set_text(request, "mbean", next_part(&path, a));
    struct str attributes = next_part(&path, a);
    if (memchr(attributes.p, ',', (size_t)attributes.len) == NULL) {
        set_text(request, "attribute", attributes);
        return request;
    }
    json_t *list = json_array();
    char *save = NULL;
    for (char *name = strtok_r(arena_cstr(a, attributes), ",", &save); name != NULL;
         name = strtok_r(NULL, ",", &save)) {
        json_t *text = json_string(name);
        if (text != NULL)
            json_array_append_new(list, text);
    }
    json_object_set_new(request, "attribute", list);
    return request;
}

static bool sorts_names(const struct http_request *request, struct arena *a)
{
    struct str query = request->query, name, value;
    bool sorted = true;
    while (http_query_next(&query, a, &name, &value))
        if (str_is(name, "canonicalNaming"))
            sorted = !str_is(value, "false");
    return sorted;
}

static json_t *answer_posted(struct metrics *m, const struct http_request *request, bool sorted, struct allowance *left)
{
    json_error_t error;
    json_t *asked = json_loadb(request->body.p, (size_t)request->body.len, JSON_REJECT_DUPLICATES, &error);
    if (asked == NULL || json_array_size(asked) > MOST_REQUESTS) {
        json_decref(asked);
        json_t *nothing = json_null(),
               *answer = jolokia_failed(nothing, 400, illegal, "This is no JSON, or too much", "");
        return answer;
    }
    json_t *answer;
    if (json_is_array(asked)) {
        answer = json_array();
        for (size_t i = 0; i < json_array_size(asked); i++)
            json_array_append_new(answer, do_request(m, json_array_get(asked, i), sorted, left));
    } else {
        answer = do_request(m, asked, sorted, left);
    }
    json_decref(asked);
    return answer;
}

static bool is_awaited(void *answer)
{
    return http_is_awaited(answer);
}

void jolokia_answer(struct metrics *m, struct str rest, const struct http_request *request, struct http_answer *answer)
{
    struct arena a = {0};
    bool sorted = sorts_names(request, &a);
    struct allowance left = {MOST_BEANS, {.left = MOST_SEEN, .goes_on = is_awaited, .ctx = answer}};
    json_t *said;
    if (request->method == HTTP_POST) {
        said = answer_posted(m, request, sorted, &left);
    } else {
        while (rest.len > 0 && *rest.p == '/')
            rest = (struct str){rest.p + 1, rest.len - 1};
        json_t *asked = request_of_path(rest, &a);
        said = do_request(m, asked, sorted, &left);
        json_decref(asked);
    }
    char *text = said != NULL ? json_dumps(said, JSON_COMPACT) : NULL;
    json_decref(said);
    arena_deinit(&a);
    if (text == NULL) {
        http_say_text(answer, 500, "This cannot be told.");
        return;
    }
    http_status(answer, 200, "text/plain; charset=utf-8");
    http_say(answer, text, strlen(text));
    free(text);
}
