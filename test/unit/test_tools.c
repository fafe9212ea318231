/* What the tools read and write that needs no broker: times, values with commas in between, lists of partitions. */
#include "test.h"

#include "tools/kit/csv.h"
#include "tools/kit/java_time.h"
#include "tools/kit/partition_offsets.h"
#include "tools/kit/tool.h"

/* ---- Times ---- */

static void points_in_time(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {{"1970-01-01T00:00:00.000", 0},
                {"1970-01-01T00:00:00.000Z", 0},
                {"1970-01-01T00:00:01.5", 1005}, /* the last part is milliseconds, not a fraction */
                {"2024-02-29T12:34:56.789", 1709210096789},
                {"2024-02-29T12:34:56.789+01:30", 1709204696789},
                {"2024-02-29T12:34:56.789-08", 1709238896789},
                {"1969-12-31T23:59:59.999", -1}};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        int64_t ms;
        assert_true(java_datetime(good[i].text, &ms, NULL));
        assert_int_equal(ms, good[i].ms);
    }
}

static void what_is_no_point_in_time(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "2024-01-01",
                                      "2024-01-01T",
                                      "2024-01-01T00:00:00",
                                      "2023-02-29T00:00:00.000",
                                      "1900-02-29T00:00:00.000",
                                      "2024-13-01T00:00:00.000",
                                      "2024-01-01T24:00:00.000",
                                      "2024-01-01T00:00:00.1000",
                                      "2024-01-01T00:00:00.000+1:00",
                                      "2024-01-01T00:00:00.000+24:00",
                                      "99999999999999999999-01-01T00:00:00.000"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int64_t ms;
        struct fail fail;
        assert_false(java_datetime(bad[i], &ms, &fail));
        assert_non_null(strstr(fail.text, "java.text.ParseException: "));
    }
}

static void durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {{"P1D", 86400000},    {"PT0S", 0},          {"pt1h2m3s", 3723000},
                {"P1DT1H", 90000000}, {"PT-6H", -21600000}, {"-PT-6H", 21600000},
                {"PT1.5S", 1500},     {"PT-0.5S", -500},    {"+P-1DT2H", -79200000}};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        int64_t ms;
        assert_true(java_duration(good[i].text, &ms, NULL));
        assert_int_equal(ms, good[i].ms);
    }
    static const char *const bad[] = {"",    "P",   "P1",     "1D",   "PT",     "P1DT",
                                      "PT1", "P1H", "PT1S1H", "P1D ", "PT1..S", "P99999999999999999D"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int64_t ms;
        assert_false(java_duration(bad[i], &ms, NULL));
    }
}

/* ---- CSV ---- */

static void quotes_go_where_jackson_puts_them(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {{"plain-Name_1", "plain-Name_1"},
                                           {"a b", "\"a b\""},
                                           {"a,b", "\"a,b\""},
                                           {"a\"b", "\"a\"\"b\""},
                                           {"123456789012345678901234", "123456789012345678901234"},
                                           {"1234567890123456789012345", "\"1234567890123456789012345\""}};
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        struct strbuf line = {0};
        csv_put(&line, str_of(pairs[i][0]));
        assert_string_equal(line.p, pairs[i][1]);
        strbuf_deinit(&line);
    }
}

static void assert_values(const char *line, int count, const char *const *expected)
{
    struct arena a = {0};
    struct str values[3];
    assert_int_equal(csv_split(str_of(line), values, 3, &a), count);
    for (int i = 0; i < MIN(count, 3); i++)
        assert_true(str_is(values[i], expected[i]));
    arena_deinit(&a);
}

static void lines_are_split(void **state)
{
    (void)state;
    assert_values("a,b,c", 3, (const char *const[]){"a", "b", "c"});
    assert_values(" a , \"b, \"\"c\"\"\" ,d\r", 3, (const char *const[]){"a", "b, \"c\"", "d"});
    assert_values("", 1, (const char *const[]){""});
    assert_values("a,", 2, (const char *const[]){"a", ""});
    assert_values("\"open", 1, (const char *const[]){"open"});
    assert_values("a,b,c,d", 4, (const char *const[]){"a", "b", "c"});
}

static void assert_lines(const char *text, const char *const *expected)
{
    struct arena a = {0};
    char dir[64], path[80];
    struct str lines, line;
    snprintf(path, sizeof(path), "%s/plan", temp_dir_make(dir));
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    assert_true(csv_read(path, &a, &lines));
    for (; *expected != NULL; expected++) {
        assert_true(csv_take_line(&lines, &line));
        assert_true(str_is(line, *expected));
    }
    assert_false(csv_take_line(&lines, &line));
    assert_false(csv_read(dir, &a, &lines));
    temp_dir_remove(dir);
    arena_deinit(&a);
}

static void empty_lines_at_the_end_are_none(void **state)
{
    (void)state;
    assert_lines("a,1\nb,2", (const char *const[]){"a,1", "b,2", NULL});
    assert_lines("a,1\n\nb,2\n\n\n", (const char *const[]){"a,1", "", "b,2", NULL});
    assert_lines("\n", (const char *const[]){NULL});
    assert_lines("", (const char *const[]){NULL});
}

/* ---- Lists of partitions ---- */

static void partitions_are_sorted_and_found(void **state)
{
    (void)state;
    struct arena a = {0};
    struct partition_offsets list = {0};
    for (int32_t i = 0; i < 100; i++)
        partition_offsets_add(&list, str_of(i % 2 == 0 ? "even" : "odd"), (i * 37) % 50, &a)->offset = i;
    partition_offsets_sort(&list);
    assert_int_equal(list.n, 50); /* 37 is odd: each topic has 25 partitions, each twice */
    for (int32_t i = 1; i < list.n; i++)
        assert_true(str_cmp(list.v[i - 1].topic, list.v[i].topic) < 0 || list.v[i - 1].partition < list.v[i].partition);
    assert_int_equal(partition_offsets_find(&list, STR_LIT("odd"), 37)->partition, 37);
    assert_null(partition_offsets_find(&list, STR_LIT("odd"), 36));
    assert_null(partition_offsets_find(&(struct partition_offsets){0}, STR_LIT("odd"), 1));
    arena_deinit(&a);
}

/* ---- Options ---- */

static const struct option_spec specs[] = {{"list", OPTION_FLAG, NULL, "", NULL},
                                           {"time", OPTION_VALUE, NULL, "", NULL},
                                           {"state", OPTION_OPTIONAL, NULL, "", NULL},
                                           {"config", OPTION_VALUES, NULL, "", NULL}};

static int parse(struct options *o, enum options_rules rules, const char *const *words)
{
    static char tool[] = "tool";
    char *argv[16] = {tool};
    int argc = 1;
    for (; words[argc - 1] != NULL; argc++)
        argv[argc] = (char *)(uintptr_t)words[argc - 1];
    return OPTIONS_PARSE_BY(rules, o, specs, argc, argv, "");
}

static void options_as_jopt_reads_them(void **state)
{
    (void)state;
    struct options o;
    const char *const good[] = {"-list",   "word",  "-time", "-1",         "--config=a", "-config=b",
                                "--state", "-list", "--",    "--nonsense", NULL};
    assert_int_equal(parse(&o, OPTIONS_JOPT, good), -1);
    assert_int_equal(options_all(&o, "list")->count, 2);
    assert_string_equal(options_get(&o, "time"), "-1");
    assert_int_equal(options_all(&o, "config")->count, 2);
    assert_string_equal(options_get(&o, "config"), "b");
    assert_true(options_has(&o, "state"));
    assert_null(options_get(&o, "state"));
    options_free(&o);
    const char *const bad[][3] = {{"-nonsense", NULL}, {"--nonsense", NULL}, {"-list", "-time", NULL}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(parse(&o, OPTIONS_JOPT, bad[i]), 1);
        options_free(&o);
    }
}

static void options_as_argparse4j_reads_them(void **state)
{
    (void)state;
    struct options o;
    const char *const bad[][3] = {{"-list", NULL}, {"--list", "word", NULL}, {"--list", "--", NULL}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(parse(&o, OPTIONS_ARGPARSE, bad[i]), 1);
        options_free(&o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(points_in_time),
        cmocka_unit_test(what_is_no_point_in_time),
        cmocka_unit_test(durations),
        cmocka_unit_test(quotes_go_where_jackson_puts_them),
        cmocka_unit_test(lines_are_split),
        cmocka_unit_test(empty_lines_at_the_end_are_none),
        cmocka_unit_test(partitions_are_sorted_and_found),
        cmocka_unit_test(options_as_jopt_reads_them),
        cmocka_unit_test(options_as_argparse4j_reads_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
