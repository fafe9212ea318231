/* kafka-get-offsets: the first, last or timed offset of partitions. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>

#include "tools/kit/partition_offsets.h"
#include "tools/kit/tool.h"

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

enum { PARTITION_NAME_SIZE = 288 }; /* a topic's longest name, and a number */

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
    errno = 0;
    long v = strtol(text, &stop, 10);
    *end = stop;
    if (!isdigit((unsigned char)*text) || errno != 0 || v < 0 || v > INT32_MAX)
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
    struct java_words words = {arena_cstr(a, str_of(text)), ',', false};
    f->only.v = ARENA_ARRAY(a, int32_t, strlen(text) + 1);
    for (char *word; (word = java_words_next(&words)) != NULL;) {
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
    if (rules != NULL && *rules != '\0')
        return parse_topic_partitions(a, rules, f, fail);
    f->rules = ARENA_NEW(a, struct rule);
    f->rules[0] = (struct rule){NULL, 0, INT32_MAX};
    f->count = 1;
    if (topic != NULL && (f->rules[0].topic = pattern_new(topic, fail)) == NULL)
        return false;
    return partitions == NULL || *partitions == '\0' || parse_partitions(a, partitions, f, fail);
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
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (strcmp(text, words[i]) == 0) {
            *out = -1 - (int64_t)i;
            return true;
        }
    if (java_integer(text, INT64_MIN, INT64_MAX, out))
        return true;
    return fail_set(
        fail,
        "Malformed time argument %s. Please use -1 or latest / -2 or earliest / -3 or max-timestamp / -4 or "
        "earliest-local / -5 or latest-tiered, or a specified long format timestamp",
        text);
}

/* ---- Asking ---- */

/* By their names: t-10 before t-2. */
static int get_offsets_by_name(const void *a, const void *b)
{
    const struct partition_offset *x = a, *y = b;
    char left[PARTITION_NAME_SIZE], right[PARTITION_NAME_SIZE];
    snprintf(left, sizeof(left), "%.*s-%" PRId32, STR_ARGS(x->topic), x->partition);
    snprintf(right, sizeof(right), "%.*s-%" PRId32, STR_ARGS(y->topic), y->partition);
    return strcmp(left, right);
}

static void get_offsets_choose(const struct metadata_response *m, const struct filter *f, bool no_internal,
                               struct arena *a, struct partition_offsets *out)
{
    for (int32_t i = 0; i < m->topics.len; i++) {
        const struct metadata_response_topic *t = &m->topics.items[i];
        for (int32_t p = 0; p < t->partitions.len; p++) {
            const struct metadata_response_partition *part = &t->partitions.items[p];
            if ((!no_internal || !t->is_internal) && filter_lets(f, t->name, part->partition_index))
                partition_offsets_add(out, t->name, part->partition_index, a);
        }
    }
    partition_offsets_sort(out);
}

static void print_offset(const struct partition_offset *p)
{
    if (p->why.p != NULL)
        fprintf(stderr, "Skip getting offsets for topic-partition %.*s-%" PRId32 " due to error: %.*s\n",
                STR_ARGS(p->topic), p->partition, STR_ARGS(p->why));
    else if (p->offset >= 0)
        printf("%.*s:%" PRId32 ":%" PRId64 "\n", STR_ARGS(p->topic), p->partition, p->offset);
}

static bool get_offsets_run(const struct options *o, struct arena *a, struct filter *filter, struct fail *fail)
{
    struct metadata_response m;
    struct partition_offsets all = {0};
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
        get_offsets_choose(&m, filter, options_has(o, "exclude-internal-topics"), a, &all);
        ok = all.n > 0 || fail_set(fail, "Could not match any topic-partitions with the specified filters");
    }
    ok = ok && partition_offsets_learn(asker, &all, time, ask_patience_ms(asker), a, fail);
    if (ok)
        qsort(all.v, (size_t)all.n, sizeof(*all.v), get_offsets_by_name);
    for (int32_t i = 0; ok && i < all.n; i++)
        print_offset(&all.v[i]);
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
        code = get_offsets_run(&o, &o.arena, &filter, &fail) ? 0 : 1;
        if (code != 0)
            fprintf(stderr, "Error occurred: %s\n", fail.text);
        filter_deinit(&filter);
    }
    options_free(&o);
    return code;
}
