/* kafka-log-dirs: what brokers have in their log directories. */
#include <inttypes.h>
#include <jansson.h>

#include "protocol/error.h"
#include "protocol/msg/describe_log_dirs.h"
#include "tools/kit/ask.h"
#include "tools/kit/tool.h"

static const struct option_spec specs[] = {
    {"bootstrap-server", OPTION_VALUE, "server(s)", "REQUIRED: the server(s) to use for bootstrapping.", NULL},
    {"describe", OPTION_FLAG, NULL, "REQUIRED: describe the log directories of the brokers.", NULL},
    {"broker-list", OPTION_VALUE, "broker list", "The brokers to ask, as \"0,1,2\"; all of the cluster if not given.",
     ""},
    {"topic-list", OPTION_VALUE, "topic list", "The topics to show, as \"topic1,topic2\"; all if not given.", ""},
    {"command-config", OPTION_VALUE, "config file", "Property file with configs for the admin client.", NULL},
};

struct brokers { /* ids, ascending, each once */
    int32_t *v;
    int32_t n;
};

static int log_dirs_tool_by_id(const void *a, const void *b)
{
    return (*(const int32_t *)a > *(const int32_t *)b) - (*(const int32_t *)a < *(const int32_t *)b);
}

static void sort_once(struct brokers *b)
{
    int32_t kept = 0;
    if (b->n > 0)
        qsort(b->v, (size_t)b->n, sizeof(*b->v), log_dirs_tool_by_id);
    for (int32_t i = 0; i < b->n; i++)
        if (kept == 0 || b->v[kept - 1] != b->v[i])
            b->v[kept++] = b->v[i];
    b->n = kept;
}

static bool log_dirs_tool_parse_brokers(struct arena *a, const char *list, struct brokers *out, struct fail *fail)
{
    char *copy = arena_cstr(a, str_of(list)), *save = NULL;
    *out = (struct brokers){ARENA_ARRAY(a, int32_t, strlen(list) + 1), 0};
    for (char *word = strtok_r(copy, ",", &save); word != NULL; word = strtok_r(NULL, ",", &save)) {
        int64_t id;
        if (!java_integer(word, INT32_MIN, INT32_MAX, &id))
            return fail_set(fail, "For input string: \"%s\"", word);
        out->v[out->n++] = (int32_t)id;
    }
    sort_once(out);
    return true;
}

static struct str *parse_topics(struct arena *a, const char *list, int32_t *count)
{
    char *copy = arena_cstr(a, str_of(list)), *save = NULL;
    struct str *topics = ARENA_ARRAY(a, struct str, strlen(list) + 1);
    *count = 0;
    for (char *word = strtok_r(copy, ",", &save); word != NULL; word = strtok_r(NULL, ",", &save))
        topics[(*count)++] = str_of(word);
    return topics;
}

static struct str list_ids(struct arena *a, const struct brokers *b)
{
    struct str text = STR_LIT("");
    for (int32_t i = 0; i < b->n; i++)
        text = arena_printf(a, "%.*s%s%" PRId32, STR_ARGS(text), i > 0 ? "," : "", b->v[i]);
    return text;
}

static bool has_broker(const struct brokers *b, int32_t id)
{
    return b->n > 0 && bsearch(&id, b->v, (size_t)b->n, sizeof(*b->v), log_dirs_tool_by_id) != NULL;
}

/* Those that are asked for, which must be there; all if none are named. */
static bool log_dirs_tool_choose_brokers(struct asker *asker, struct arena *a, struct brokers *asked, struct fail *fail)
{
    struct metadata_response m;
    if (!ask_metadata(asker, NULL, 0, &m, a, fail))
        return false;
    struct brokers all = {ARENA_ARRAY(a, int32_t, MAX(m.brokers.len, 1)), 0}, unknown = {NULL, 0};
    for (int32_t i = 0; i < m.brokers.len; i++)
        all.v[all.n++] = m.brokers.items[i].node_id;
    sort_once(&all);
    unknown.v = ARENA_ARRAY(a, int32_t, MAX(asked->n, 1));
    for (int32_t i = 0; i < asked->n; i++)
        if (!has_broker(&all, asked->v[i]))
            unknown.v[unknown.n++] = asked->v[i];
    if (unknown.n > 0)
        return fail_set(
            fail, "ERROR: The given brokers do not exist from --broker-list: %.*s. Current existent brokers: %.*s",
            STR_ARGS(list_ids(a, &unknown)), STR_ARGS(list_ids(a, &all)));
    if (asked->n == 0)
        *asked = all;
    return true;
}

/* ---- Printing: the fields in the order in which Kafka's tool has them ---- */

struct printing {
    struct arena *arena;
    const struct str *topics; /* none: all */
    int32_t topic_count;
};

static bool log_dirs_tool_is_shown(const struct printing *p, struct str topic)
{
    for (int32_t i = 0; i < p->topic_count; i++)
        if (str_eq(p->topics[i], topic))
            return true;
    return p->topic_count == 0;
}

static json_t *partition_json(struct str topic, const struct describe_log_dirs_partition *in, struct arena *a)
{
    struct str name = arena_printf(a, "%.*s-%" PRId32, STR_ARGS(topic), in->partition_index);
    return json_pack("{s:s%, s:I, s:I, s:b}", "partition", name.p, (size_t)name.len, "size",
                     (json_int_t)in->partition_size, "offsetLag", (json_int_t)in->offset_lag, "isFuture",
                     (int)in->is_future_key);
}

static json_t *dir_json(const struct printing *p, const struct describe_log_dirs_result *in)
{
    json_t *partitions = json_array();
    for (int32_t t = 0; t < in->topics.len; t++) {
        const struct describe_log_dirs_topic *topic = &in->topics.items[t];
        for (int32_t i = 0; log_dirs_tool_is_shown(p, topic->name) && i < topic->partitions.len; i++)
            json_array_append_new(partitions, partition_json(topic->name, &topic->partitions.items[i], p->arena));
    }
    json_t *error = json_null();
    if (in->error_code != ERR_NONE) {
        struct str name = ask_exception_name(p->arena, in->error_code);
        error = json_stringn(name.p, (size_t)name.len);
    }
    return json_pack("{s:o, s:o, s:s%}", "partitions", partitions, "error", error, "logDir", in->log_dir.p,
                     (size_t)in->log_dir.len);
}

static json_t *broker_json(const struct printing *p, int32_t id, const struct describe_log_dirs_response *in)
{
    json_t *dirs = json_array();
    for (int32_t i = 0; i < in->results.len; i++)
        json_array_append_new(dirs, dir_json(p, &in->results.items[i]));
    return json_pack("{s:i, s:o}", "broker", (int)id, "logDirs", dirs);
}

static void print_all(const struct printing *p, const struct brokers *brokers,
                      const struct describe_log_dirs_response *answers)
{
    json_t *list = json_array();
    for (int32_t i = 0; i < brokers->n; i++)
        json_array_append_new(list, broker_json(p, brokers->v[i], &answers[i]));
    json_t *all = json_pack("{s:o, s:i}", "brokers", list, "version", 1);
    char *text = json_dumps(all, JSON_COMPACT);
    ensure(text != NULL);
    puts(text);
    free(text);
    json_decref(all);
}

/* ---- Asking ---- */

static bool ask_brokers(struct asker *asker, const struct brokers *brokers, struct describe_log_dirs_response *answers,
                        struct arena *a, struct fail *fail)
{
    struct describe_log_dirs_request request;
    struct question *questions = ARENA_ARRAY(a, struct question, MAX(brokers->n, 1));
    describe_log_dirs_request_init(&request);
    request.topics.len = -1;
    for (int32_t i = 0; i < brokers->n; i++)
        questions[i] = (struct question){.broker = brokers->v[i], .request = &request, .response = &answers[i]};
    ask_all(asker, API_DESCRIBE_LOG_DIRS, questions, brokers->n, a);
    for (int32_t i = 0; i < brokers->n; i++) {
        if (!questions[i].ok)
            return fail_set(fail, "%s", questions[i].fail.text);
        if (answers[i].error_code != ERR_NONE)
            return fail_set(fail, "%.*s", STR_ARGS(ask_exception_text(a, answers[i].error_code, STR_NULL)));
    }
    return true;
}

static bool log_dirs_tool_run(const struct options *o, struct asker *asker, struct arena *a, struct fail *fail)
{
    struct brokers brokers;
    struct printing p = {.arena = a};
    p.topics = parse_topics(a, options_get(o, "topic-list"), &p.topic_count);
    if (!log_dirs_tool_parse_brokers(a, options_get(o, "broker-list"), &brokers, fail) ||
        !log_dirs_tool_choose_brokers(asker, a, &brokers, fail))
        return false;
    struct describe_log_dirs_response *answers = ARENA_ARRAY(a, struct describe_log_dirs_response, MAX(brokers.n, 1));
    puts("Querying brokers for log directories information");
    if (!ask_brokers(asker, &brokers, answers, a, fail))
        return false;
    printf("Received log directory information from brokers %.*s\n", STR_ARGS(list_ids(a, &brokers)));
    print_all(&p, &brokers, answers);
    return true;
}

int tool_log_dirs(int argc, char **argv)
{
    struct options o;
    struct fail fail;
    int code =
        OPTIONS_PARSE(&o, specs, argc, argv, "This tool helps to query log directory usage on the specified brokers.");
    if (code < 0 && (!options_need(&o, "bootstrap-server") || !options_need(&o, "describe")))
        code = 1;
    if (code < 0) {
        struct asker *asker = asker_new(options_get(&o, "bootstrap-server"), options_get(&o, "command-config"), &fail);
        code = asker != NULL && log_dirs_tool_run(&o, asker, &o.arena, &fail) ? 0 : 1;
        if (code != 0)
            fprintf(stderr, "%s\n", fail.text);
        asker_free(asker);
    }
    options_free(&o);
    return code;
}
