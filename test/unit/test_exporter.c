/* How beans become samples: what rules mean, and that what is kept of a shape holds for all of that shape. */
#include "exporter/dialects.h"

#include "base/arena.h"
#include "base/clock.h"
#include "exporter/rules_internal.h"
#include "metrics/histogram.h"
#include "test.h"

/* ---- Beans by hand ---- */

static struct bean bean_of(const char *text, struct arena *a)
{
    char *copy = arena_cstr(a, str_of(text)), *at = strchr(copy, ':');
    struct bean b = {.domain = copy};
    *at++ = '\0';
    while (*at != '\0') {
        char *equals = strchr(at, '='), *end = equals + 1;
        bool quoted = false;
        for (; *end != '\0' && (quoted || *end != ','); end++)
            if (*end == '"')
                quoted = !quoted;
        *equals = '\0';
        b.keys[b.key_count++] = (struct bean_key){at, {equals + 1, (int32_t)(end - equals - 1)}};
        at = *end == ',' ? end + 1 : end;
    }
    return b;
}

static struct rules *rules_of(const char *yaml)
{
    struct fail fail;
    struct rules *r = rules_parse(str_of(yaml), "test", false, &fail);
    if (r == NULL)
        print_error("%s\n", fail.text);
    assert_non_null(r);
    return r;
}

static const char *const type_names[] = {"untyped", "gauge", "counter", "summary", "histogram"};

/* What comes of an attribute: name{labels} value type, or "" for nothing. */
static const char *apply(struct rules *r, const char *bean, const char *attribute, struct bean_value value,
                         struct arena *a)
{
    struct bean b = bean_of(bean, a);
    struct bean_attribute read = {attribute, "double", value};
    struct strbuf labels = {0}, number = {0};
    struct sample s;
    const char *text = "";
    if (rules_take(r, &b) && rules_apply(r, &b, &read, &labels, &s)) {
        exposition_number(s.value, &number);
        text = arena_printf(a, "%s%s{%.*s} %s %s", s.family->name, s.part, STR_ARGS(s.labels), number.p,
                            type_names[s.family->type])
                   .p;
    }
    strbuf_deinit(&labels);
    strbuf_deinit(&number);
    return text;
}

/* ---- What rules mean ---- */

#define BYTES_IN "kafka.server:type=BrokerTopicMetrics,name=BytesInPerSec"

static const struct meaning {
    const char *yaml, *bean, *attribute, *comes;
} meanings[] = {
    {"", BYTES_IN ",topic=a.b", "Count",
     "kafka_server_BrokerTopicMetrics_Count{name=\"BytesInPerSec\",topic=\"a.b\"} 27 untyped"},
    {"rules: []", BYTES_IN, "Count", ""},
    {"lowercaseOutputName: true\nlowercaseOutputLabelNames: true\nrules:\n- pattern: '.*'",
     "kafka.log:type=Log,logDirectory=\"/x\"", "Size", "kafka_log_log_size{logdirectory=\"\\\"/x\\\"\"} 27 untyped"},
    {"rules:\n- pattern: kafka.(\\w+)<type=(.+), name=(.+)PerSec, topic=(.+)><>Count\n  name: kafka_$1_$2_$3_total\n  type: COUNTER\n"
     "  labels:\n    topic: $4\n    x$5: y\n    empty: ''",
     BYTES_IN ",topic=t-1", "Count", "kafka_server_BrokerTopicMetrics_BytesIn_total{topic=\"t-1\",x=\"y\"} 27 counter"},
    {"rules:\n- pattern: a<type=b><>c\n  name: d", BYTES_IN, "Count", ""},
    {"rules:\n- pattern: name=(.)(.+)><>\n  name: '$2--$1'\n  valueFactor: 0.5\n  type: gauge", BYTES_IN, "Count",
     "ytesInPerSec_B{} 13.5 gauge"},
    {"rules:\n- pattern: '<>Count: (\\d)(\\d)'\n  name: n\n  labels: {first: '$1'}\n  value: $2", BYTES_IN, "Count",
     "n{first=\"2\"} 7 untyped"},
    {"rules:\n- pattern: Count\n  name: n\n  value: word", BYTES_IN, "Count", ""},
    {"whitelistObjectNames: ['kafka.log:*']", BYTES_IN, "Count", ""},
    {"blacklistObjectNames: ['kafka.server:type=BrokerTopicMetrics,*']", BYTES_IN, "Count", ""},
    {"rules:\n- pattern: topic=(a|b)><\n  name: few\n- pattern: topic=(.+)><\n  name: all\n  labels: {topic: $1}",
     BYTES_IN ",topic=a", "Count", "few{} 27 untyped"},
    {"rules:\n- pattern: ^kafka.server<(.+)><>Count\n  name: 9 lives$10\n  labels: {\"$1\": x}", BYTES_IN, "Count",
     "9_livestype_BrokerTopicMetrics_name_BytesInPerSec0{type_BrokerTopicMetrics_name_BytesInPerSec=\"x\"} 27 untyped"},
    {"summaries: true\nrules:\n- pattern: name=(\\w+)><>(Sum)\n  name: of_$1_$2\n  type: SUMMARY\nlowercaseOutputName: true",
     BYTES_IN, "Sum", "of_bytesinpersec_sum{} 27 summary"},
    {"summaries: true\nrules:\n- pattern: Count\n  name: a_count\n  type: COUNTER", BYTES_IN, "Count",
     "a_count{} 27 counter"},
    {"rules:\n- pattern: name=(\\w+)PerSec><>(one_minute)_rate\n  name: $1_$2\n  attrNameSnakeCase: true", BYTES_IN,
     "OneMinuteRate", "BytesIn_one_minute{} 27 untyped"},
    {"rules:\n- pattern: 99th\n  attrNameSnakeCase: true", BYTES_IN, "99thPercentile",
     "kafka_server_BrokerTopicMetrics_99th_percentile{name=\"BytesInPerSec\"} 27 untyped"},
    {"rules:\n- pattern: one_minute\n  name: no\n- pattern: OneMinute\n  name: yes", BYTES_IN, "OneMinuteRate",
     "yes{} 27 untyped"},
    {"excludeObjectNameAttributes:\n  'kafka.server:name=BytesInPerSec,type=BrokerTopicMetrics': [Count, MeanRate]",
     BYTES_IN, "Count", ""},
    {"excludeObjectNameAttributes:\n  'kafka.server:name=BytesInPerSec,type=BrokerTopicMetrics': [Count, MeanRate]",
     BYTES_IN, "OneMinuteRate", "kafka_server_BrokerTopicMetrics_OneMinuteRate{name=\"BytesInPerSec\"} 27 untyped"},
    {"excludeObjectNameAttributes:\n  'kafka.server:name=BytesInPerSec,type=BrokerTopicMetrics': [Count, MeanRate]",
     BYTES_IN ",topic=t", "Count",
     "kafka_server_BrokerTopicMetrics_Count{name=\"BytesInPerSec\",topic=\"t\"} 27 untyped"},
    {"unquoteLabelValues: true", "kafka.log:type=Log,logDirectory=\"/x,\\\"\\*\\n\"", "Size",
     "kafka_log_Log_Size{logDirectory=\"/x,\\\"*\\n\"} 27 untyped"},
};

static void test_meanings(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(meanings); i++) {
        struct arena a = {0};
        struct rules *r = rules_of(meanings[i].yaml);
        for (int again = 0; again < 2; again++)
            assert_string_equal(apply(r, meanings[i].bean, meanings[i].attribute, bean_long(27), &a),
                                meanings[i].comes);
        rules_free(r);
        arena_deinit(&a);
    }
}

/* Of the first bean that comes, by the names that it has. */
static void test_a_help_names_what_was_matched(void **state UNUSED)
{
    struct arena a = {0};
    struct rules *r =
        rules_of("rules:\n- pattern: 'name=(.+), topic=(.+)><>(.+):'\n  name: n_$3\n  help: $1 of $2, \\$5\n"
                 "  labels: {topic: $2}\n- pattern: other\n  name: m\n  help: as it stands");
    struct bean b = bean_of(BYTES_IN ",topic=t", &a), other = bean_of("other:type=x", &a);
    struct bean_attribute count = {"Count", "long", bean_long(1)};
    struct strbuf labels = {0};
    struct sample s;
    for (int i = 0; i < 2; i++) {
        assert_true(rules_take(r, &b) && rules_apply(r, &b, &count, &labels, &s));
        assert_string_equal(s.family->help, "BytesInPerSec of t, $5");
        b = bean_of(BYTES_IN ",topic=u", &a);
    }
    assert_true(rules_take(r, &other) && rules_apply(r, &other, &count, &labels, &s));
    assert_string_equal(s.family->help, "as it stands");
    strbuf_deinit(&labels);
    rules_free(r);
    arena_deinit(&a);
}

static void test_texts_need_a_value(void **state UNUSED)
{
    struct arena a = {0};
    struct rules *r = rules_of(
        "rules:\n- pattern: 'state: (\\w+)'\n  name: state\n  value: 1\n  labels: {is: $1}\n- pattern: (.+)\n  name: other");
    assert_string_equal(apply(r, "x:type=y", "state", bean_string(str_of("up")), &a), "state{is=\"up\"} 1 untyped");
    assert_string_equal(apply(r, "x:type=y", "state", bean_string(str_of("down")), &a), "state{is=\"down\"} 1 untyped");
    assert_string_equal(apply(r, "x:type=y", "name", bean_string(str_of("z")), &a), "");
    rules_free(r);
    arena_deinit(&a);
}

/* Which is worked out anew each time somebody looks. */
static void test_a_name_that_varies_takes_no_memory_again(void **state UNUSED)
{
    struct arena a = {0};
    struct fail fail;
    struct rules *r = rules_parse(STR_LIT("rules:\n- pattern: 'x<type=(.+)><>(.+):'\n  name: $1_$2\n  type: COUNTER"),
                                  "test", true, &fail);
    assert_non_null(r);
    assert_string_equal(apply(r, "x:type=odd%", "n", bean_long(1), &a), "odd_n_total{} 1 counter");
    assert_string_equal(apply(r, "x:type=up", "n_total", bean_long(1), &a), "up_n_total{} 1 counter");
    size_t used = r->memory.used;
    for (int i = 0; i < 10; i++) {
        assert_string_equal(apply(r, "x:type=odd%", "n", bean_long(1), &a), "odd_n_total{} 1 counter");
        rules_filter(r, NULL); /* and forms that are found again */
    }
    assert_int_equal(r->memory.used, used);
    rules_free(r);
    arena_deinit(&a);
}

static const char *const malformed[][2] = {
    {"rules: 5", "test:1: rules are a list"},
    {"rules:\n- pattern: (", "test:2: (: missing closing parenthesis"},
    {"rules:\n- {name: x, colour: red}", "test:2: a rule has no such key"},
    {"rules:\n- {pattern: x, labels: {a: b}}", "test:2: a rule with labels needs a name"},
    {"rules:\n- {pattern: x, type: SUMMARY}", "test:2: a type is GAUGE, COUNTER or UNTYPED"},
    {"rules:\n- {pattern: x, valueFactor: many}", "test:2: a number is expected here"},
    {"whitelistObjectNames: ['no bean']", "test:1: no bean: "},
    {"lowercaseOutputName: perhaps", "test:1: true or false is expected here"},
    {"- a\n- b", "test:1: keys with values are expected here"},
    {"rules: []\nrules:\n- {pattern: a}", "test:2: this key is there already"},
    {"rules:\n- {pattern: a, pattern: b}", "test:2: this key is there already"},
    {"excludeObjectNameAttributes: {'a:type=b,*': [c]}", "test:1: one bean is expected here"},
    {"excludeObjectNameAttributes: {'a:type=b': c}", "test:1: a list of attributes is expected here"},
    {"includeObjectNameAttributes: {'a:type=b': [c]}", "test:1: this key is not known here"},
    {"rules: [\n", "test:"},
    {"rules: \x01", "test:"},
};

static void test_malformed_files_are_refused(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(malformed); i++) {
        struct fail fail;
        assert_null(rules_parse(str_of(malformed[i][0]), "test", false, &fail));
        assert_memory_equal(fail.text, malformed[i][1], strlen(malformed[i][1]));
    }
}

static void test_only_what_is_allowed(void **state UNUSED)
{
    static const char *const both[] = {"kafka_a_.*", "b_count|c"}, *const wrong[] = {"a", "(("};
    static const struct {
        const char *bean, *attribute;
        bool allowed;
    } names[] = {{"kafka_a:type=x", "y", true},
                 {"xkafka_a:type=x", "y", false},
                 {"b:type=count", "total", true},
                 {"b:type=count", "info", true},
                 {"b:type=count", "sum", false}};
    struct arena a = {0};
    struct rules *r = rules_of("");
    struct fail fail;
    rules_filter(r, name_filter_new(both, 2, &fail));
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_int_equal(*apply(r, names[i].bean, names[i].attribute, bean_long(1), &a) != '\0', names[i].allowed);
    rules_filter(r, name_filter_new(NULL, 0, &fail));
    assert_string_equal(apply(r, names[0].bean, names[0].attribute, bean_long(1), &a), "");
    assert_null(name_filter_new(wrong, 2, &fail));
    assert_string_equal(fail.text, "((: missing closing parenthesis");
    rules_free(r);
    arena_deinit(&a);
}

/* ---- What the dialects tell of all beans, by a table ---- */

/* NAME TYPE KEY,KEY */
struct told {
    const char *items[2000];
    int count;
    struct arena memory;
};

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void told_sort(struct told *t)
{
    int kept = 0;
    qsort(t->items, (size_t)t->count, sizeof(*t->items), compare_texts);
    for (int i = 0; i < t->count; i++)
        if (kept == 0 || strcmp(t->items[kept - 1], t->items[i]) != 0)
            t->items[kept++] = t->items[i];
    t->count = kept;
}

static void told_expected(struct told *t, const char *dialect)
{
    FILE *f = fopen(TEST_DIALECTS, "r");
    char line[8192];
    assert_non_null(f);
    while (fgets(line, sizeof(line), f) != NULL) {
        char *at = strtok(line, "\n"), *save = NULL;
        if (strcmp(strsep(&at, "\t"), dialect) != 0)
            continue;
        const char *type = strsep(&at, "\t"), *keys = strsep(&at, "\t"), *start = strsep(&at, "\t");
        for (char *name = strtok_r(at, " ", &save); name != NULL; name = strtok_r(NULL, " ", &save))
            t->items[t->count++] = arena_printf(&t->memory, "%s%s %s %s", start, name, type, keys).p;
    }
    fclose(f);
    told_sort(t);
}

/* Sorted, out of k="v",k="v" in which nothing is escaped. */
static const char *keys_of(struct str labels, struct arena *a)
{
    const char *keys[BEAN_MOST_KEYS + 1], *out = "";
    int count = 0;
    char *copy = arena_cstr(a, labels), *save = NULL;
    for (char *key = strtok_r(copy, "\"", &save); key != NULL; key = strtok_r(NULL, "\"", &save)) {
        strtok_r(NULL, "\"", &save); /* the value */
        key += *key == ',';
        *strchr(key, '=') = '\0';
        keys[count++] = key;
    }
    qsort(keys, (size_t)count, sizeof(*keys), compare_texts);
    for (int i = 0; i < count; i++)
        out = arena_printf(a, "%s%s%s", out, i > 0 ? "," : "", keys[i]).p;
    return out;
}

static bool is_text(const char *bean, const char *attribute, const char *type)
{
    return strncmp(type, "java.lang.String", 16) == 0 || strstr(type, "TimeUnit") != NULL ||
           strcmp(attribute, "version") == 0 || strcmp(attribute, "commit-id") == 0 ||
           strstr(bean, "name=ClusterId") != NULL || strstr(bean, "name=SessionState") != NULL;
}

struct found {
    const struct family *family; /* whose type may yet change */
    const char *part, *keys;
};

/* Of a line of beans.tsv: the beans that this broker has, each with a 1 for all that differs. */
static int find_told(struct rules *r, char *line, struct arena *a, struct found *out)
{
    char *at = strtok(line, "\n"), *name = strsep(&at, "\t"), *kind = strsep(&at, "\t"), *list = strsep(&at, "\t");
    char *save = NULL;
    struct strbuf labels = {0};
    int n = 0;
    if (line[0] == '#' || *at != '\0')
        return 0;
    for (char *star = name; (star = strchr(star, '*')) != NULL;)
        *star = '1';
    if (rules_want_sums(r) && (strcmp(kind, "Timer") == 0 || strcmp(kind, "Histogram") == 0))
        list = arena_cstr(a, arena_printf(a, "%s Sum:double", list));
    struct bean b = bean_of(name, a);
    bool wanted = rules_take(r, &b);
    for (char *pair = strtok_r(list, " ", &save); wanted && pair != NULL; pair = strtok_r(NULL, " ", &save)) {
        char *colon = strchr(pair, ':');
        *colon = '\0';
        bool text = is_text(name, pair, colon + 1);
        struct bean_attribute read = {pair, colon + 1, text ? bean_string(str_of("text")) : bean_long(1)};
        struct sample s;
        if (rules_apply(r, &b, &read, &labels, &s))
            out[n++] = (struct found){s.family, s.part, keys_of(s.labels, a)};
    }
    strbuf_deinit(&labels);
    return n;
}

static void told_found(struct told *t, const char *dialect)
{
    static struct found found[ARRAY_LEN(t->items)];
    struct fail fail;
    char line[8192];
    FILE *f = fopen(TEST_BEANS, "r");
    struct rules *r = rules_read(arena_printf(&t->memory, "%s/%s.yml", TEST_DIALECT_FILES, dialect).p, false, &fail);
    int n = 0;
    assert_non_null(f);
    assert_non_null(r);
    while (fgets(line, sizeof(line), f) != NULL)
        n += find_told(r, line, &t->memory, found + n);
    for (int i = 0; i < n; i++)
        t->items[t->count++] = arena_printf(&t->memory, "%s%s %s %s", found[i].family->name, found[i].part,
                                            type_names[found[i].family->type], found[i].keys)
                                   .p;
    rules_free(r);
    fclose(f);
    told_sort(t);
}

static void test_dialects_tell_what_the_table_has(void **state UNUSED)
{
    static const char *const dialects[] = {"bitnami", "confluent", "kafka", "reporter", "strimzi"};
    for (size_t i = 0; i < ARRAY_LEN(dialects); i++) {
        struct told *expected = xcalloc(1, sizeof(*expected)), *found = xcalloc(1, sizeof(*found));
        told_expected(expected, dialects[i]);
        told_found(found, dialects[i]);
        for (int k = 0; k < MIN(expected->count, found->count); k++)
            assert_string_equal(found->items[k], expected->items[k]);
        assert_int_equal(found->count, expected->count);
        arena_deinit(&expected->memory);
        arena_deinit(&found->memory);
        free(expected);
        free(found);
    }
}

/* ---- What was found out about one bean holds for those of its shape ---- */

static const char *const patterns[] = {
    "kafka.(\\w+)<type=(.+), name=(.+), (.+)=(.+), (.+)=(.+)><>Value",
    "kafka.(\\w+)<type=(.+), name=(.+), (.+)=(.+)><>Value",
    "kafka.(\\w+)<type=(.+), name=(.+), topic=t, partition=(\\d+)><>Value",
    "kafka.(\\w+)<type=(.+), name=(.+), topic=([^,]+), partition=(.*)><>Value",
    "kafka.(\\w+)<type=(\\w+), name=(\\w+), topic=(\\w+)",
    "topic=(.+)-(.+), partition=1",
    "(.+)=1><>",
    "kafka.(\\w+)<(.+), topic=(.+)><>(Value|Count)",
    "kafka.server<.*_x.*>",
    "<>Value: 2(\\d)",
    "<>(.+): (.+)",
    "kafka.log<type=(.)(.+), name=(.+), topic=(.)(.*), partition=(.)><>",
};
static const char *const names[] = {"a_$1_$2", "n_$3", "$4", "fixed", "b_$5"};
static const char *const values[] = {"t", "u", "t_x", "a-b", "a.b", "12", "1", "\"q,x=1\"", "\"with \\\"quotes\\\"\""};
static const char *const partitions[] = {"1", "0", "17"};

static size_t below(unsigned *seed, size_t limit)
{
    return (size_t)rand_r(seed) % limit;
}

static void add_random_rules(struct strbuf *yaml, unsigned *seed)
{
    strbuf_puts(yaml, "rules:\n");
    for (size_t i = 1 + below(seed, 4); i > 0; i--) {
        strbuf_printf(yaml, "- pattern: '%s'\n  name: '%s'\n", patterns[below(seed, ARRAY_LEN(patterns))],
                      names[below(seed, ARRAY_LEN(names))]);
        if (below(seed, 2) == 0)
            strbuf_puts(yaml, "  labels: {'$4': '$5', '$6': 'x$7y', all: '$1$2$3'}\n");
    }
}

static void test_shapes(void **state UNUSED)
{
    unsigned seed = 7;
    for (int round = 0; round < 300; round++) {
        struct arena a = {0};
        struct strbuf yaml = {0};
        add_random_rules(&yaml, &seed);
        struct rules *quick = rules_of(yaml.p);
        strbuf_puts(&yaml, "- pattern: 'never<a(.)b=c>'\n  name: never\n"); /* looks at everything */
        struct rules *slow = rules_of(yaml.p);
        for (int i = 0; i < 40; i++) {
            const char *topic = values[below(&seed, ARRAY_LEN(values))],
                       *bean = below(&seed, 3) == 0
                                   ? arena_printf(&a, "kafka.server:type=T,name=N,topic=%s", topic).p
                                   : arena_printf(&a, "kafka.log:type=Log,name=Size,topic=%s,partition=%s", topic,
                                                  partitions[below(&seed, ARRAY_LEN(partitions))])
                                         .p;
            struct bean_value v = bean_long(20 + (int64_t)below(&seed, 20));
            const char *attribute = below(&seed, 4) == 0 ? "Count" : "Value";
            assert_string_equal(apply(quick, bean, attribute, v, &a), apply(slow, bean, attribute, v, &a));
        }
        rules_free(quick);
        rules_free(slow);
        strbuf_deinit(&yaml);
        arena_deinit(&a);
    }
}

/* Or each partition would be matched by itself: 20,000 of them took a second. */
static void test_the_dialects_look_at_shapes_alone(void **state UNUSED)
{
    for (const char *const *name = dialect_list(); *name != NULL; name++) {
        struct dialect *d = dialect_new(*name);
        assert_false(dialect_looks_at_values(d));
        dialect_free(d);
    }
}

/* ---- The text ---- */

static bool to_text(void *ctx, const char *p, size_t len)
{
    strbuf_add(ctx, p, len);
    return true;
}

static void test_families_stand_together(void **state UNUSED)
{
    struct exposition *e = exposition_new();
    struct strbuf text = {0};
    exposition_add(e, "b", SAMPLE_GAUGE, "line\nwith \\", str_of("x=\"1\""), 0.1);
    exposition_add(e, "a", SAMPLE_COUNTER, "first", str_of(""), 1e20);
    exposition_add(e, "b", SAMPLE_GAUGE, "line\nwith \\", str_of("x=\"2\""), -3);
    exposition_add(e, "b", SAMPLE_GAUGE, "line\nwith \\", str_of("x=\"1\""), 7); /* it is there */
    assert_true(exposition_write(e, EXPOSITION_PROMETHEUS, to_text, &text));
    assert_string_equal(text.p, "# HELP a first\n# TYPE a counter\na 1e+20\n"
                                "# HELP b line\\nwith \\\\\n# TYPE b gauge\nb{x=\"1\"} 0.1\nb{x=\"2\"} -3\n");
    exposition_free(e);
    strbuf_clear(&text);
    e = exposition_new();
    exposition_name(e, str_of("a"));
    exposition_add(e, "ab", SAMPLE_GAUGE, NULL, str_of(""), 1);
    exposition_add(e, "a", SAMPLE_GAUGE, "a", str_of(""), 1);
    assert_true(exposition_write(e, EXPOSITION_PROMETHEUS, to_text, &text));
    assert_string_equal(text.p, "# HELP a a\n# TYPE a gauge\na 1\n");
    exposition_free(e);
    strbuf_deinit(&text);
}

static void test_openmetrics(void **state UNUSED)
{
    const double bounds[] = {0.5, 1};
    const int64_t at_most[] = {1, 3};
    struct exposition *e = exposition_new();
    struct strbuf text = {0};
    exposition_add(e, "c_total", SAMPLE_COUNTER, "A counter.", str_of("x=\"1\""), 2);
    exposition_add(e, "u", SAMPLE_UNTYPED, "Of any kind.", str_of(""), 2);
    exposition_add_histogram(e, "h", "A histogram.", str_of("x=\"1\""),
                             &(struct exposition_buckets){bounds, at_most, 2, 4, 7.25});
    assert_true(exposition_write(e, EXPOSITION_OPENMETRICS, to_text, &text));
    assert_string_equal(text.p, "# HELP c A counter.\n# TYPE c counter\nc_total{x=\"1\"} 2\n"
                                "# HELP h A histogram.\n# TYPE h histogram\n"
                                "h_bucket{x=\"1\",le=\"0.5\"} 1\nh_bucket{x=\"1\",le=\"1.0\"} 3\n"
                                "h_bucket{x=\"1\",le=\"+Inf\"} 4\nh_sum{x=\"1\"} 7.25\nh_count{x=\"1\"} 4\n"
                                "# HELP u Of any kind.\n# TYPE u unknown\nu 2\n# EOF\n");
    exposition_free(e);
    strbuf_deinit(&text);
}

static void visit_timer(void *ctx, struct bean_walk *w)
{
    yield_timing(w, 1, &(struct bean_name){.domain = "d", .type = "t", .name = "n"}, ctx);
}

/* Samples of one stand together, whatever they end in; the sum is that of all values. */
static void test_summaries(void **state UNUSED)
{
    struct metrics *m = metrics_new(clock_mono_us);
    struct timing t;
    struct bean_source source = {.visit = visit_timer, .ctx = &t};
    struct rules *r = rules_of("summaries: true\nrules:\n- {pattern: <>99thPercentile, name: x, type: SUMMARY}\n"
                               "- {pattern: <>Count, name: x_count, type: SUMMARY}\n"
                               "- {pattern: <>Sum, name: x_sum, type: SUMMARY}\n"
                               "- {pattern: <>Max, name: x_max, type: GAUGE}");
    struct exposition *e = exposition_new();
    struct strbuf text = {0};
    timing_init(&t, m);
    for (int i = 0; i < 3; i++)
        timing_record(&t, 1500);
    metrics_add_source(m, &source);
    exposition_gather(e, &r, 1, m, NULL);
    assert_true(exposition_write(e, EXPOSITION_PROMETHEUS, to_text, &text));
    assert_string_equal(text.p,
                        "# HELP x An attribute of a bean of Kafka's.\n# TYPE x summary\nx 1.5\nx_count 3\nx_sum 4.5\n"
                        "# HELP x_max An attribute of a bean of Kafka's.\n# TYPE x_max gauge\nx_max 1.5\n");
    metrics_remove_source(m, &source);
    timing_deinit(&t);
    exposition_free(e);
    rules_free(r);
    metrics_free(m);
    strbuf_deinit(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_meanings),
        cmocka_unit_test(test_a_help_names_what_was_matched),
        cmocka_unit_test(test_texts_need_a_value),
        cmocka_unit_test(test_a_name_that_varies_takes_no_memory_again),
        cmocka_unit_test(test_malformed_files_are_refused),
        cmocka_unit_test(test_only_what_is_allowed),
        cmocka_unit_test(test_dialects_tell_what_the_table_has),
        cmocka_unit_test(test_summaries),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_the_dialects_look_at_shapes_alone),
        cmocka_unit_test(test_families_stand_together),
        cmocka_unit_test(test_openmetrics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
