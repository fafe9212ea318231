/* kafka-get-offsets: the first, last or timed offset of partitions. */
#include <inttypes.h>

#include "protocol/error.h"
#include "protocol/msg/list_offsets.h"
#include "tools/ask.h"
#include "tools/tool.h"

static const struct option_spec specs[] = {
    {"bootstrap-server", OPTION_VALUE, "HOST1:PORT1,...", "REQUIRED. The server(s) to connect to.", NULL},
    {"broker-list", OPTION_VALUE, "HOST1:PORT1,...",
     "DEPRECATED, use --bootstrap-server instead; ignored if that is given.", NULL},
    {"topic-partitions", OPTION_VALUE, "topic1:1,topic2:0-3,topic3,topic4:5-,topic5:-3",
     "Comma separated list of topic patterns, each with a partition or a range of partitions, whose upper end is not part of it.",
     NULL},
    {"topic", OPTION_VALUE, "topic",
     "The topic to get the offsets for; a regular expression. Default: all. Not with --topic-partitions.", NULL},
    {"partitions", OPTION_VALUE, "partition ids",
     "Comma separated list of partition ids. Default: all. Not with --topic-partitions.", NULL},
    {"time", OPTION_VALUE, "timestamp",
     "Milliseconds since the epoch, or -1 or latest / -2 or earliest / -3 or max-timestamp / -4 or earliest-local / -5 or latest-tiered.",
     "latest"},
    {"command-config", OPTION_VALUE, "config file", "Property file with configs for the admin client.", NULL},
    {"exclude-internal-topics", OPTION_FLAG, NULL, "Leave out internal topics.", NULL},
};

/* ---- Which partitions ---- */

struct rule {              /* partitions [from, to) of the topics that match */
    struct pattern *topic; /* NULL: any */
    int32_t from, to;
};

struct filter {
    struct rule *rules; /* any of them */
    int count;
    struct int_set {
        int32_t *v;
        int32_t n;
    } only; /* n == 0: all partitions */
};

static bool parse_int(const char *text, int32_t *out, const char **end)
{
    char *stop;
    long v = strtol(text, &stop, 10);
    *end = stop;
    if (stop == text || v < 0 || v > INT32_MAX)
        return false;
    *out = (int32_t)v;
    return true;
}

/* After the colon: N, N-M, N-, -M, or nothing. */
static bool parse_range(const char *text, struct rule *r)
{
    const char *at = text;
    r->from = 0;
    r->to = INT32_MAX;
    if (*at == '\0')
        return true;
    if (*at != '-') {
        if (!parse_int(at, &r->from, &at))
            return false;
        r->to = r->from + 1;
    }
    if (*at == '-') {
        r->to = INT32_MAX;
        if (*++at != '\0' && !parse_int(at, &r->to, &at))
            return false;
    }
    return *at == '\0';
}

static bool parse_rule(char *text, struct rule *r, struct fail *fail)
{
    char *colon = strrchr(text, ':');
    if (colon != NULL)
        *colon = '\0';
    r->topic = NULL;
    if (*text != '\0' && (r->topic = pattern_new(text, fail)) == NULL)
        return false;
    return parse_range(colon != NULL ? colon + 1 : "", r) ||
           fail_set(fail, "Invalid rule specification: %s", colon + 1);
}

static bool parse_topic_partitions(struct arena *a, const char *text, struct filter *f, struct fail *fail)
{
    char *copy = arena_cstr(a, str_of(text)), *save = NULL;
    f->rules = ARENA_ARRAY(a, struct rule, strlen(text) + 1);
    for (char *word = strtok_r(copy, ",", &save); word != NULL; word = strtok_r(NULL, ",", &save))
        if (!parse_rule(word, &f->rules[f->count++], fail))
            return false;
    return true;
}

static bool parse_partitions(struct arena *a, const char *text, struct filter *f, struct fail *fail)
{
    char *copy = arena_cstr(a, str_of(text)), *save = NULL;
    f->only.v = ARENA_ARRAY(a, int32_t, strlen(text) + 1);
    for (char *word = strtok_r(copy, ",", &save); word != NULL; word = strtok_r(NULL, ",", &save)) {
        const char *end;
        if (!parse_int(word, &f->only.v[f->only.n++], &end) || *end != '\0')
            return fail_set(
                fail, "--partitions expects a comma separated list of numeric partition ids, but received: %s", text);
    }
    return true;
}

static bool filter_read(const struct options *o, struct arena *a, struct filter *f, struct fail *fail)
{
    const char *rules = options_get(o, "topic-partitions"), *topic = options_get(o, "topic"),
               *partitions = options_get(o, "partitions");
    if (rules != NULL)
        return parse_topic_partitions(a, rules, f, fail);
    f->rules = ARENA_NEW(a, struct rule);
    f->rules[0] = (struct rule){NULL, 0, INT32_MAX};
    f->count = 1;
    if (topic != NULL && (f->rules[0].topic = pattern_new(topic, fail)) == NULL)
        return false;
    return partitions == NULL || parse_partitions(a, partitions, f, fail);
}

static void filter_deinit(struct filter *f)
{
    for (int i = 0; i < f->count; i++)
        pattern_free(f->rules[i].topic);
}

static bool filter_lets(const struct filter *f, struct str topic, int32_t partition)
{
    bool listed = f->only.n == 0;
    for (int32_t i = 0; i < f->only.n; i++)
        listed |= f->only.v[i] == partition;
    for (int i = 0; listed && i < f->count; i++) {
        const struct rule *r = &f->rules[i];
        if (partition >= r->from && partition < r->to && (r->topic == NULL || pattern_matches(r->topic, topic)))
            return true;
    }
    return false;
}

static bool parse_time(const char *text, int64_t *out, struct fail *fail)
{
    static const char *const words[] = {"latest", "earliest", "max-timestamp", "earliest-local", "latest-tiered"};
    char *end;
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (strcmp(text, words[i]) == 0) {
            *out = -1 - (int64_t)i;
            return true;
        }
    *out = strtoll(text, &end, 10);
    if (*text != '\0' && *end == '\0')
        return true;
    return fail_set(
        fail,
        "Malformed time argument %s. Please use -1 or latest / -2 or earliest / -3 or max-timestamp / -4 or "
        "earliest-local / -5 or latest-tiered, or a specified long format timestamp",
        text);
}

/* ---- Asking ---- */

struct answer {
    struct str topic;
    int32_t partition, leader;
    int64_t offset;
    char key[288]; /* topic-partition: what the output is sorted by */
};

struct answers {
    struct answer *v;
    int32_t n;
};

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct answer *)a)->key, ((const struct answer *)b)->key);
}

static void choose(const struct metadata_response *m, const struct filter *f, bool no_internal, struct arena *a,
                   struct answers *out)
{
    int32_t most = 0;
    for (int32_t i = 0; i < m->topics.len; i++)
        most += m->topics.items[i].partitions.len;
    out->v = ARENA_ARRAY(a, struct answer, MAX(most, 1));
    for (int32_t i = 0; i < m->topics.len; i++) {
        const struct metadata_response_topic *t = &m->topics.items[i];
        for (int32_t p = 0; p < t->partitions.len; p++) {
            const struct metadata_response_partition *part = &t->partitions.items[p];
            if ((no_internal && t->is_internal) || !filter_lets(f, t->name, part->partition_index))
                continue;
            struct answer *at = &out->v[out->n++];
            *at = (struct answer){
                .topic = t->name, .partition = part->partition_index, .leader = part->leader_id, .offset = -1};
            snprintf(at->key, sizeof(at->key), "%.*s-%" PRId32, STR_ARGS(t->name), part->partition_index);
        }
    }
    qsort(out->v, (size_t)out->n, sizeof(*out->v), by_key);
}

/* One request a leader, with one topic entry a partition: brokers take topics that come more than once. */
static void make_request(const struct answers *all, int32_t leader, int64_t time, struct arena *a,
                         struct list_offsets_request *request)
{
    list_offsets_request_init(request);
    request->replica_id = -1;
    ARRAY_MAKE(a, request->topics, all->n);
    request->topics.len = 0;
    for (int32_t i = 0; i < all->n; i++) {
        if (all->v[i].leader != leader)
            continue;
        struct list_offsets_topic *t = &request->topics.items[request->topics.len++];
        list_offsets_topic_init(t);
        t->name = all->v[i].topic;
        ARRAY_MAKE(a, t->partitions, 1);
        list_offsets_partition_init(&t->partitions.items[0]);
        t->partitions.items[0].partition_index = all->v[i].partition;
        t->partitions.items[0].timestamp = time;
        t->partitions.items[0].max_num_offsets = 1;
    }
}

static void skip(const struct answer *at, const char *why)
{
    fprintf(stderr, "Skip getting offsets for topic-partition %s due to error: %s\n", at->key, why);
}

static void take_answers(struct answers *all, const struct list_offsets_response *r)
{
    for (int32_t i = 0; i < r->topics.len; i++)
        for (int32_t p = 0; p < r->topics.items[i].partitions.len; p++) {
            const struct list_offsets_partition_response *part = &r->topics.items[i].partitions.items[p];
            for (int32_t k = 0; k < all->n; k++) {
                struct answer *at = &all->v[k];
                if (at->partition != part->partition_index || !str_eq(at->topic, r->topics.items[i].name))
                    continue;
                if (part->error_code != ERR_NONE)
                    skip(at, error_message(part->error_code));
                else
                    at->offset = part->old_style_offsets.len > 0 ? part->old_style_offsets.items[0] : part->offset;
            }
        }
}

static int16_t oldest_version(int64_t time)
{
    return time == -5 ? 9 : time == -4 ? 8 : time == -3 ? 7 : 0;
}

static void ask_offsets(struct asker *asker, const struct metadata_response *m, struct answers *all, int64_t time,
                        struct arena *a)
{
    for (int32_t i = 0; i < m->brokers.len; i++) {
        struct list_offsets_request request;
        struct list_offsets_response response;
        struct fail why;
        int32_t broker = m->brokers.items[i].node_id;
        make_request(all, broker, time, a, &request);
        if (request.topics.len == 0)
            continue;
        if (ask(asker, broker, API_LIST_OFFSETS, oldest_version(time), &request, &response, NULL, a, &why)) {
            take_answers(all, &response);
            continue;
        }
        for (int32_t k = 0; k < all->n; k++)
            if (all->v[k].leader == broker)
                skip(&all->v[k], why.text);
    }
    for (int32_t k = 0; k < all->n; k++)
        if (all->v[k].leader < 0)
            skip(&all->v[k], error_message(ERR_LEADER_NOT_AVAILABLE));
}

static bool run(const struct options *o, struct arena *a, struct filter *filter, struct fail *fail)
{
    struct metadata_response m;
    struct answers all = {0};
    int64_t time;
    const char *bootstrap =
        options_has(o, "bootstrap-server") ? options_get(o, "bootstrap-server") : options_get(o, "broker-list");
    if (options_has(o, "topic-partitions") && (options_has(o, "topic") || options_has(o, "partitions")))
        return fail_set(fail, "--topic-partitions cannot be used with --topic or --partitions");
    if (!parse_time(options_get(o, "time"), &time, fail) || !filter_read(o, a, filter, fail))
        return false;
    struct asker *asker = asker_new(bootstrap, options_get(o, "command-config"), fail);
    bool ok = asker != NULL && ask_metadata(asker, NULL, -1, &m, a, fail);
    if (ok) {
        choose(&m, filter, options_has(o, "exclude-internal-topics"), a, &all);
        ok = all.n > 0 || fail_set(fail, "Could not match any topic-partitions with the specified filters");
    }
    if (ok)
        ask_offsets(asker, &m, &all, time, a);
    for (int32_t i = 0; i < all.n; i++)
        if (all.v[i].offset >= 0)
            printf("%.*s:%" PRId32 ":%" PRId64 "\n", STR_ARGS(all.v[i].topic), all.v[i].partition, all.v[i].offset);
    asker_free(asker);
    return ok;
}

int tool_get_offsets(int argc, char **argv)
{
    struct options o;
    struct fail fail;
    struct filter filter = {0};
    int code = OPTIONS_PARSE(&o, specs, argc, argv, "An interactive shell for getting topic-partition offsets.");
    if (code < 0 && !options_has(&o, "broker-list") && !options_need(&o, "bootstrap-server"))
        code = 1;
    if (code < 0) {
        code = run(&o, &o.arena, &filter, &fail) ? 0 : 1;
        if (code != 0)
            fprintf(stderr, "Error occurred: %s\n", fail.text);
        filter_deinit(&filter);
    }
    options_free(&o);
    return code;
}
