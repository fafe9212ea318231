/*
 * kafka-jmx: prints what a broker counts, once or again and again. Apache's broker tells it by JMX, ours by Jolokia
 * over HTTP: a URL of JMX stands for /jolokia at that host and port.
 */
#include <inttypes.h>
#include <jansson.h>
#include <time.h>

#include "base/clock.h"
#include "config/config.h"
#include "logging/date_format.h"
#include "metrics/bean.h"
#include "security/http.h"
#include "tools/kit/java_time.h"
#include "tools/kit/java_trust.h"
#include "tools/kit/tool.h"

static const struct option_spec specs[] = {
    {"attributes", OPTION_VALUE, "String: name",
     "The list of attributes to include in the query. This is a comma-separated list. If no attributes are specified "
     "all objects will be queried.",
     NULL},
    {"date-format", OPTION_VALUE, "String: format",
     "The date format to use for formatting the time field, as Java's SimpleDateFormat has it.", NULL},
    {"jmx-auth-prop", OPTION_VALUE, "String: jmx-auth-prop",
     "A mechanism to pass property in the form 'username=password' when the broker has barnabas.http.users.", NULL},
    {"jmx-ssl-enable", OPTION_VALUE, "Boolean: ssl-enable",
     "Whether to go by HTTPS. What is trusted is the system's, or -Djavax.net.ssl.trustStore in KAFKA_OPTS.", "false"},
    {"jmx-url", OPTION_VALUE, "String: service-url",
     "Where to ask: service:jmx:rmi:///jndi/rmi://HOST:PORT/jmxrmi for http://HOST:PORT/jolokia, or such a URL itself.",
     "service:jmx:rmi:///jndi/rmi://:9999/jmxrmi"},
    {"object-name", OPTION_VALUES, "String: name",
     "A JMX object name to use as a query. This can contain wild cards, and this option can be given multiple times to "
     "specify more than one query. If no objects are specified all objects will be queried.",
     NULL},
    {"one-time", OPTION_OPTIONAL, "Boolean: one-time", "Flag to indicate run once only.", "false"},
    {"report-format", OPTION_VALUE, "String: report-format",
     "output format name: either 'original', 'properties', 'csv', 'tsv'", "original"},
    {"reporting-interval", OPTION_VALUE, "Integer: ms",
     "Interval in MS with which to poll jmx stats. Value of -1 equivalent to setting one-time to true", "2000"},
    {"wait", OPTION_FLAG, NULL,
     "Wait for requested JMX objects to become available before starting output. Only supported when the list of "
     "objects is non-empty and contains no object name patterns.",
     NULL},
};

enum { PATIENCE_MS = 10000, PAUSE_MS = 100, LARGEST_ANSWER = 1 << 28 };

struct jmx {
    struct options o;
    const char *said_url, *url, *user, *password;
    struct keystore trust;
    const char **queries; /* names of beans, or patterns of some */
    int query_count;
    bool patterns; /* whether one of them is a pattern */
    char **wanted; /* attributes; NULL: all */
    int wanted_count;
    const char *format, *date_format;
    int64_t interval_ms;
    json_t *found; /* the beans that were there at first, and how many attributes of each are to be told */
    char **keys;   /* BEAN:ATTRIBUTE of all that were there at first, in order */
    size_t key_count;
    struct arena arena;
};

/* ---- Where to ask ---- */

static const char *jolokia_of(struct arena *a, const char *scheme, const char *host_port, size_t len)
{
    const char *host = len == 0 || *host_port == ':' ? "localhost" : "";
    return arena_printf(a, "%s://%s%.*s/jolokia", scheme, host, (int)len, host_port).p;
}

static bool read_url(struct jmx *j, struct fail *fail)
{
    static const char jmx[] = "service:jmx:", rmi[] = "/jndi/rmi://";
    const char *said = options_get(&j->o, "jmx-url"), *tls = options_get(&j->o, "jmx-ssl-enable"), *at;
    const char *scheme = strcasecmp(tls, "true") == 0 ? "https" : "http";
    j->said_url = said;
    if (strncmp(said, "http://", 7) == 0 || strncmp(said, "https://", 8) == 0) {
        const char *host = strstr(said, "://") + 3, *path = strchr(host, '/');
        bool bare = path == NULL || path[1] == '\0';
        j->url =
            bare ? arena_printf(&j->arena, "%.*s/jolokia", (int)strcspn(host, "/") + (int)(host - said), said).p : said;
        return true;
    }
    if (strncmp(said, jmx, strlen(jmx)) != 0)
        return fail_set(fail, "Service URL must start with service:jmx:");
    at = strstr(said, rmi);
    if (at == NULL)
        return fail_set(fail, "%s has no %sHOST:PORT/jmxrmi in it", said, rmi);
    at += strlen(rmi);
    j->url = jolokia_of(&j->arena, scheme, at, strcspn(at, "/"));
    return true;
}

static bool read_user(struct jmx *j, struct fail *fail)
{
    const char *text = options_get(&j->o, "jmx-auth-prop"), *equals = text != NULL ? strchr(text, '=') : NULL;
    if (text == NULL)
        return true;
    if (equals == NULL)
        return fail_set(fail, "--jmx-auth-prop has to be username=password");
    j->user = arena_cstr(&j->arena, (struct str){text, (int32_t)(equals - text)});
    j->password = equals + 1;
    return true;
}

/* ---- What to ask ---- */

static bool read_queries(struct jmx *j, struct fail *fail)
{
    const struct option_value *names = options_all(&j->o, "object-name");
    j->query_count = MAX(names->count, 1);
    j->queries = ARENA_ARRAY(&j->arena, const char *, j->query_count);
    j->queries[0] = "*:*";
    for (int i = 0; i < names->count; i++)
        j->queries[i] = names->values[i];
    for (int i = 0; i < j->query_count; i++) {
        struct bean_pattern pattern;
        const char *why;
        if (!bean_pattern_parse(str_of(j->queries[i]), &pattern, &why))
            return fail_set(fail, "javax.management.MalformedObjectNameException: %s", why);
        j->patterns |= !pattern.exact && names->count > 0;
    }
    return true;
}

static void read_attributes(struct jmx *j)
{
    const char *text = options_get(&j->o, "attributes");
    char *save = NULL;
    if (text == NULL)
        return;
    j->wanted = ARENA_ARRAY(&j->arena, char *, strlen(text) + 1);
    for (char *name = strtok_r(arena_cstr(&j->arena, str_of(text)), ",", &save); name != NULL;
         name = strtok_r(NULL, ",", &save))
        j->wanted[j->wanted_count++] = name;
}

static bool jmx_wants(const struct jmx *j, const char *attribute)
{
    for (int i = 0; i < j->wanted_count; i++)
        if (strcmp(j->wanted[i], attribute) == 0)
            return true;
    return j->wanted == NULL;
}

/* ---- Questions ---- */

static json_t *jmx_ask(struct jmx *j, json_t *request, struct fail *fail)
{
    struct arena a = {0};
    struct bytes answer;
    char *text = json_dumps(request, JSON_COMPACT);
    struct http_question question = {.url = j->url,
                                     .form = text,
                                     .user = j->user,
                                     .password = j->password,
                                     .trust = j->trust.count > 0 ? &j->trust : NULL,
                                     .largest = LARGEST_ANSWER};
    json_t *out = NULL;
    json_decref(request);
    if (http_ask(&question, &a, &answer, fail)) {
        json_error_t error;
        out = json_loadb((const char *)answer.p, (size_t)answer.len, 0, &error);
        if (out == NULL)
            fail_set(fail, "%s does not speak Jolokia's protocol", j->url);
    }
    free(text);
    arena_deinit(&a);
    return out;
}

static void jmx_pause(int64_t ms)
{
    struct timespec time = {ms / 1000, (long)(ms % 1000) * 1000000};
    if (ms > 0)
        nanosleep(&time, NULL);
}

static bool jmx_connect(struct jmx *j, struct fail *fail)
{
    int64_t began = clock_mono_ms();
    do {
        struct fail why;
        fprintf(stderr, "Trying to connect to JMX url: %s\n", j->said_url);
        json_t *version = jmx_ask(j, json_pack("{s:s}", "type", "version"), &why);
        if (version != NULL) {
            json_decref(version);
            return true;
        }
        fprintf(stderr, "Could not connect to JMX url: %s. Exception: %s.\n", j->said_url, why.text);
        jmx_pause(PAUSE_MS);
    } while (clock_mono_ms() - began < PATIENCE_MS);
    return fail_set(fail, "Could not connect to JMX url %s after %d ms.", j->said_url, PATIENCE_MS);
}

/* One answer to a query into `beans`: name to attributes. That nothing is there is no error. */
static bool jmx_take_answer(const char *query, const json_t *answer, json_t *beans, struct fail *fail)
{
    enum { NOT_THERE = 404 };
    struct bean_pattern pattern;
    const char *why, *error = json_string_value(json_object_get(answer, "error"));
    json_t *value = json_object_get(answer, "value");
    if (json_integer_value(json_object_get(answer, "status")) == NOT_THERE)
        return true;
    if (!json_is_object(value) || !bean_pattern_parse(str_of(query), &pattern, &why))
        return fail_set(fail, "%s", error != NULL ? error : "This is no answer of Jolokia's");
    if (pattern.exact)
        json_object_set(beans, query, value);
    else
        json_object_update(beans, value);
    return true;
}

/* All beans that the queries match, with all of their attributes. NULL: they cannot be had. */
static json_t *read_beans(struct jmx *j, struct fail *fail)
{
    json_t *requests = json_array();
    for (int i = 0; i < j->query_count; i++)
        json_array_append_new(requests, json_pack("{s:s, s:s, s:{s:s}}", "type", "read", "mbean", j->queries[i],
                                                  "config", "canonicalNaming", "false"));
    json_t *answers = jmx_ask(j, requests, fail);
    if (answers == NULL)
        return NULL;
    json_t *beans = json_object();
    bool ok = true;
    for (int i = 0; ok && i < j->query_count; i++)
        ok = jmx_take_answer(j->queries[i], json_array_get(answers, (size_t)i), beans, fail);
    json_decref(answers);
    if (ok)
        return beans;
    json_decref(beans);
    return NULL;
}

/* ---- What is there at first ---- */

/* A bean may be asked for with its keys in any order; it is told with them in the order that it has. */
static bool learn_names(struct jmx *j, struct fail *fail)
{
    json_t *requests = json_array();
    for (int i = 0; i < j->query_count; i++)
        json_array_append_new(requests, json_pack("{s:s, s:s, s:{s:s}}", "type", "search", "mbean", j->queries[i],
                                                  "config", "canonicalNaming", "false"));
    json_t *answers = jmx_ask(j, requests, fail);
    for (int i = 0; i < j->query_count; i++) {
        struct bean_pattern pattern;
        const char *why,
            *name = json_string_value(json_array_get(json_object_get(json_array_get(answers, (size_t)i), "value"), 0));
        if (name != NULL && bean_pattern_parse(str_of(j->queries[i]), &pattern, &why) && pattern.exact)
            j->queries[i] = arena_cstr(&j->arena, str_of(name));
    }
    json_decref(answers);
    return answers != NULL;
}

/* With --wait, and only names: until all of them are there. */
static json_t *await_beans(struct jmx *j, struct fail *fail)
{
    bool waits = options_has(&j->o, "wait") && options_has(&j->o, "object-name") && !j->patterns;
    int64_t began = clock_mono_ms();
    struct strbuf missing = {0};
    json_t *beans = NULL;
    for (;;) {
        beans = read_beans(j, fail);
        strbuf_clear(&missing);
        for (int i = 0; beans != NULL && i < j->query_count; i++)
            if (json_object_get(beans, j->queries[i]) == NULL)
                strbuf_printf(&missing, "%s%s", missing.len > 0 ? "," : "", j->queries[i]);
        if (beans == NULL || !waits || missing.len == 0 || clock_mono_ms() - began >= PATIENCE_MS)
            break;
        if (json_object_size(beans) > 0)
            fputs("Could not find all object names, retrying\n", stderr);
        json_decref(beans);
        jmx_pause(PAUSE_MS);
    }
    if (beans != NULL && waits && missing.len > 0) {
        fail_set(fail, "Could not find all requested object names after %d ms. Missing %s", PATIENCE_MS, missing.p);
        json_decref(beans);
        beans = NULL;
    }
    strbuf_deinit(&missing);
    return beans;
}

static int jmx_by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Java takes attributes that were asked of a bean by name for there, and prints nothing while one is not. */
static void remember_bean(struct jmx *j, const char *bean, json_t *attributes, size_t *cap)
{
    const char *name;
    json_t *value;
    json_int_t count = 0;
    json_object_foreach(attributes, name, value)
    {
        if (!jmx_wants(j, name))
            continue;
        count++;
        j->keys = xgrow(j->keys, j->key_count + 1, cap, sizeof(*j->keys));
        j->keys[j->key_count++] = xasprintf("%s:%s", bean, name);
    }
    if (j->wanted != NULL && !j->patterns && options_has(&j->o, "object-name"))
        count = j->wanted_count;
    if (count > 0 || j->wanted == NULL)
        json_object_set_new(j->found, bean, json_integer(count));
}

static bool remember_beans(struct jmx *j, struct fail *fail)
{
    const char *bean;
    json_t *attributes, *beans = await_beans(j, fail);
    size_t cap = 0;
    if (beans == NULL)
        return false;
    j->found = json_object();
    json_object_foreach(beans, bean, attributes) remember_bean(j, bean, attributes, &cap);
    json_decref(beans);
    if (j->key_count > 0)
        qsort(j->keys, j->key_count, sizeof(*j->keys), jmx_by_text);
    if (json_object_size(j->found) > 0)
        return true;
    struct strbuf names = {0};
    for (int i = 0; i < j->query_count; i++)
        strbuf_printf(&names, "%s%s", i > 0 ? ", " : "", j->queries[i]);
    fail_set(fail, "No matched attributes for the queried objects [%s].", names.p);
    strbuf_deinit(&names);
    return false;
}

static int64_t count_expected(const struct jmx *j)
{
    const char *bean;
    json_t *count;
    int64_t sum = 0;
    json_object_foreach(j->found, bean, count) sum += json_integer_value(count);
    return sum;
}

/* ---- Rows ---- */

/* As Java has it; numbers that are none are not told by Jolokia. */
static void jmx_add_value(struct strbuf *out, const json_t *value)
{
    if (json_is_integer(value))
        strbuf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_real(value))
        config_format_double(json_real_value(value), out);
    else if (json_is_boolean(value))
        strbuf_puts(out, json_is_true(value) ? "true" : "false");
    else if (json_is_string(value))
        strbuf_puts(out, json_string_value(value));
    else
        strbuf_puts(out, "NaN");
}

static void print_field(const struct jmx *j, bool first, const char *key, const char *value)
{
    if (strcmp(j->format, "properties") == 0)
        printf("%s=%s\n", key, value);
    else if (strcmp(j->format, "csv") == 0)
        printf("%s,\"%s\"\n", key, value);
    else if (strcmp(j->format, "tsv") == 0)
        printf("%s\t%s\n", key, value);
    else
        printf("%s%s", first ? "" : ",", value);
}

static void jmx_print_row(const struct jmx *j, const json_t *values)
{
    struct strbuf text = {0};
    if (j->date_format != NULL)
        date_format_put(j->date_format, clock_wall_ms(), false, &text);
    else
        strbuf_printf(&text, "%" PRId64, clock_wall_ms());
    print_field(j, true, "time", text.p);
    for (size_t i = 0; i < j->key_count; i++) {
        strbuf_clear(&text);
        strbuf_puts(&text, "");
        jmx_add_value(&text, json_object_get(values, j->keys[i]));
        print_field(j, false, j->keys[i], text.p);
    }
    if (strcmp(j->format, "original") == 0)
        putchar('\n');
    fflush(stdout);
    strbuf_deinit(&text);
}

static void jmx_print_header(const struct jmx *j)
{
    if (strcmp(j->format, "original") != 0 || (int64_t)j->key_count != count_expected(j))
        return;
    printf("\"time\"");
    for (size_t i = 0; i < j->key_count; i++)
        printf(",\"%s\"", j->keys[i]);
    putchar('\n');
}

/* BEAN:ATTRIBUTE to the value, of the beans that were there at first. */
static json_t *read_values(struct jmx *j, struct fail *fail)
{
    const char *bean, *name;
    json_t *count, *value, *beans = read_beans(j, fail);
    if (beans == NULL)
        return NULL;
    json_t *out = json_object();
    bool ok = true;
    json_object_foreach(j->found, bean, count)
    {
        json_t *attributes = json_object_get(beans, bean);
        ok = ok && (attributes != NULL || fail_set(fail, "%s", bean));
        json_object_foreach(attributes, name, value)
        {
            char *key = xasprintf("%s:%s", bean, name);
            if (jmx_wants(j, name))
                json_object_set(out, key, value);
            free(key);
        }
    }
    json_decref(beans);
    if (ok)
        return out;
    json_decref(out);
    return NULL;
}

static bool print_rows(struct jmx *j, struct fail *fail)
{
    int64_t expected = count_expected(j);
    jmx_print_header(j);
    for (bool again = true; again;) {
        int64_t began = clock_mono_ms();
        json_t *values = read_values(j, fail);
        if (values == NULL)
            return false;
        if ((int64_t)json_object_size(values) == expected)
            jmx_print_row(j, values);
        json_decref(values);
        again = j->interval_ms >= 0 && !options_has(&j->o, "one-time");
        if (again)
            jmx_pause(j->interval_ms - (clock_mono_ms() - began));
    }
    return true;
}

/* ---- The tool ---- */

static void read_format(struct jmx *j)
{
    static const char *const formats[] = {"properties", "csv", "tsv"};
    const char *said = options_get(&j->o, "report-format");
    j->format = "original";
    for (size_t i = 0; i < ARRAY_LEN(formats); i++)
        if (strcasecmp(said, formats[i]) == 0)
            j->format = formats[i];
    j->date_format = options_get(&j->o, "date-format");
}

static bool jmx_run(struct jmx *j, struct fail *fail)
{
    if (!options_number(&j->o, "reporting-interval", INT32_MIN, INT32_MAX, &j->interval_ms))
        return false;
    read_format(j);
    read_attributes(j);
    return (j->date_format == NULL || java_date_format_check(j->date_format, fail)) && read_url(j, fail) &&
           read_user(j, fail) && java_trust_load(j->url, &j->arena, &j->trust, fail) && jmx_connect(j, fail) &&
           read_queries(j, fail) && learn_names(j, fail) && remember_beans(j, fail) && print_rows(j, fail);
}

int tool_jmx(int argc, char **argv)
{
    struct jmx j = {.interval_ms = 2000};
    struct fail fail = {.text = ""};
    int code = OPTIONS_PARSE(&j.o, specs, argc, argv, "Dump JMX values to standard output.");
    if (code < 0) {
        code = jmx_run(&j, &fail) ? 0 : 1;
        if (fail.text[0] != '\0')
            fprintf(stderr, "%s\n", fail.text);
    }
    for (size_t i = 0; i < j.key_count; i++)
        free(j.keys[i]);
    free(j.keys);
    json_decref(j.found);
    keystore_deinit(&j.trust);
    arena_deinit(&j.arena);
    options_free(&j.o);
    return code;
}
