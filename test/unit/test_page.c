/* The page and its JSON, made of a status by hand: order, paging, names that want to be markup; and amounts with units.
 */
#include "test.h"

#include <math.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/clock.h"
#include "page/amounts.h"
#include "page/page_internal.h"
#include "page/status_internal.h"

static void amounts_have_units_and_three_digits(void **state)
{
    (void)state;
    static const struct {
        double bytes;
        const char *text;
    } bytes[] = {{-1, "–"},
                 {0, "0 B"},
                 {999, "999 B"},
                 {999.6, "1.00 kB"},
                 {1000, "1.00 kB"},
                 {12345, "12.3 kB"},
                 {999499, "999 kB"},
                 {999500, "1.00 MB"},
                 {1.5e9, "1.50 GB"},
                 {123.4e12, "123 TB"},
                 {1e30, "1000000000000 EB"}};
    for (size_t i = 0; i < ARRAY_LEN(bytes); i++)
        assert_string_equal(amount_bytes(bytes[i].bytes).p, bytes[i].text);
    assert_string_equal(amount_rate(0.5).p, "0.50 B/s");
    assert_string_equal(amount_number(12).p, "12");
    assert_string_equal(amount_number(1.25).p, "1.25");
    assert_string_equal(amount_number(3.2e6).p, "3.20 M");
    assert_string_equal(amount_count(-1).p, "–");
    assert_string_equal(amount_count(0).p, "0");
    assert_string_equal(amount_count(999).p, "999");
    assert_string_equal(amount_count(1000).p, "1,000");
    assert_string_equal(amount_count(INT64_MAX).p, "9,223,372,036,854,775,807");
    assert_string_equal(amount_ms(0.25).p, "0.25 ms");
    assert_string_equal(amount_ms(1500).p, "1.50 s");
    assert_string_equal(amount_share(0.975).p, "98 %");
    assert_string_equal(amount_share(NAN).p, "–");
}

static void times_are_relative(void **state)
{
    (void)state;
    assert_string_equal(amount_time(999).p, "0 s");
    assert_string_equal(amount_time(119999).p, "119 s");
    assert_string_equal(amount_time(120000).p, "2 min");
    assert_string_equal(amount_time(INT64_C(7200000)).p, "2 h");
    assert_string_equal(amount_time(INT64_C(86400000) * 400).p, "400 d");
    assert_string_equal(amount_ago(10000, 9000).p, "just now");
    assert_string_equal(amount_ago(10000, 20000).p, "just now"); /* a clock that was set back */
    assert_string_equal(amount_ago(200000, 10000).p, "3 min ago");
    assert_string_equal(amount_date(0).p, "1970-01-01 00:00:00 UTC");
}

/* With so many topics and groups, of which those that come first have a name that is hostile. */
static struct status *status_of(int32_t topics, int32_t groups)
{
    static const char hostile[] = "<script>'\"&\xff";
    struct status *s = xcalloc(1, sizeof(*s));
    s->state = 3;
    s->cluster_known = true;
    s->cluster_id = status_text(s, STR_LIT("<b>"));
    s->topics = ARENA_ARRAY(&s->memory, struct status_topic, topics + 1);
    s->groups = ARENA_ARRAY(&s->memory, struct status_group, groups + 1);
    for (int32_t i = 0; i < topics; i++)
        s->topics[i] = (struct status_topic){.name = status_text(s, str_of(i == 0 ? hostile : "t")), .partitions = 1};
    for (int32_t i = 0; i < groups; i++)
        s->groups[i] = (struct status_group){.id = status_text(s, str_of(i == 0 ? hostile : "g")), .waits_ms = -1};
    s->topic_list = (struct status_list){MIN(topics, STATUS_ROWS), topics};
    s->group_list = (struct status_list){MIN(groups, STATUS_ROWS), groups};
    s->line_count = 1;
    s->lines[0] = (struct recent_line){.level = LEVEL_ERROR, .logger = "x", .len = 10, .text = "</td><i>\xc3\xff"};
    return s;
}

static int count_of(const char *text, const char *what)
{
    int n = 0;
    for (const char *at = text; (at = strstr(at, what)) != NULL; at += strlen(what))
        n++;
    return n;
}

static void names_cannot_be_markup(void **state)
{
    (void)state;
    struct status *s = status_of(2, 2);
    struct strbuf html = {0}, json = {0};
    page_write(s, &html);
    assert_true(str_is_utf8((struct str){html.p, (int32_t)html.len}));
    assert_int_equal(count_of(html.p, "&lt;script&gt;&#39;&quot;&amp;\xef\xbf\xbd"), 2);
    assert_int_equal(count_of(html.p, "<script>"), 1);
    assert_int_equal(count_of(html.p, "&lt;/td&gt;&lt;i&gt;"), 1);
    assert_int_equal(count_of(html.p, "<b>") - count_of(html.p, "<b>–</b>"), 0);
    status_write_json(s, &json);
    assert_true(str_is_utf8((struct str){json.p, (int32_t)json.len}));
    assert_int_equal(count_of(json.p, "<script>'\\\"&\xef\xbf\xbd"), 2);
    strbuf_deinit(&html);
    strbuf_deinit(&json);
    status_free(s);
}

static void what_is_not_shown_is_counted_and_linked(void **state)
{
    (void)state;
    struct status *s = status_of(STATUS_ROWS + 1234, STATUS_ROWS);
    struct strbuf html = {0};
    page_write(s, &html);
    assert_non_null(strstr(html.p, "1,234 more are not shown: <a href=\"/?topics=all\">all 1,434</a>"));
    assert_null(strstr(html.p, "/?groups=all"));
    assert_int_equal(count_of(html.p, "<tr><th scope=\"row\">t</th>"), STATUS_ROWS - 1);
    strbuf_deinit(&html);
    status_free(s);
}

static void trouble_is_told_worst_first(void **state)
{
    (void)state;
    struct status *s = status_of(1, 0);
    struct status_broker brokers[] = {{.id = 1, .alive = true}, {.id = 2, .replicas = 3}};
    struct status_dir dirs[] = {{.path = STR_LIT("/a"), .offline = true, .size = -1, .to_recover = -1},
                                {.path = STR_LIT("/b"), .free = 4, .size = 100, .to_recover = -1},
                                {.path = STR_LIT("/c"), .free = 10, .size = 100, .to_recover = -1}};
    s->brokers = brokers;
    s->broker_count = 2;
    s->dirs = dirs;
    s->dir_count = 3;
    s->partitions = 10;
    s->offline = 1;
    s->under_min = 2;
    s->under_replicated = 3;
    s->controller = -1;
    s->session = STR_LIT("EXPIRED");
    status_judge(s);
    static const char *const begins[] = {"The cluster has no controller",
                                         "1 of 10 partitions have no leader",
                                         "2 partitions have fewer replicas in sync",
                                         "This broker has no session",
                                         "The log directory /a is offline",
                                         "The disk of /b is full: 4 B of 100 B are free",
                                         "Broker 2 is not there; it has replicas of 3 partitions",
                                         "3 of 10 partitions have a replica that is not in sync",
                                         "The disk of /c is nearly full"};
    assert_int_equal(s->trouble_count, ARRAY_LEN(begins));
    for (size_t i = 0; i < ARRAY_LEN(begins); i++) {
        assert_memory_equal(s->troubles[i].text.p, begins[i], strlen(begins[i]));
        assert_int_equal(s->troubles[i].bad, i < 6);
    }
    status_free(s);
}

static void a_curve_ends_at_the_right(void **state)
{
    (void)state;
    float points[HISTORY_POINTS];
    struct strbuf svg = {0};
    for (int i = 0; i < HISTORY_POINTS; i++)
        points[i] = (float)i;
    html_curve(&svg, points, HISTORY_POINTS, "from <0>");
    assert_non_null(strstr(svg.p, "aria-label=\"from &lt;0&gt;\""));
    assert_non_null(strstr(svg.p, "points=\"120.0,1.0 "));
    assert_int_equal(count_of(svg.p, ","), HISTORY_POINTS / 4);
    strbuf_clear(&svg);
    html_curve(&svg, points, 0, "nothing yet");
    assert_non_null(strstr(svg.p, "points=\"\""));
    strbuf_deinit(&svg);
}

struct counted {
    _Atomic int64_t each, visits;
};

static void yield_counted(void *ctx, struct bean_walk *w)
{
    struct counted *c = ctx;
    const struct bean_attribute count = {"Count", "long", bean_long(c->each)};
    const struct bean_attributes all = {&count, 1};
    struct bean_name name = {"kafka.server", "BrokerTopicMetrics", "BytesInPerSec", {{0}}};
    yield_client(w, 1, &name, &all);
    static const char *const requests[] = {"Produce", "Fetch", "FetchConsumer"};
    for (int i = 0; i < (int)ARRAY_LEN(requests); i++) {
        name = (struct bean_name){"kafka.network",
                                  "RequestMetrics",
                                  "RequestsPerSec",
                                  {{"request", str_of(requests[i])}, {"version", STR_LIT("1")}}};
        yield_client(w, 2 + i, &name, &all);
    }
    c->visits++;
}

static void a_fetch_is_one_request(void **state)
{
    (void)state;
    struct counted c = {0};
    struct bean_source source = {.visit = yield_counted, .ctx = &c};
    struct metrics *m = metrics_new(clock_mono_us);
    float points[HISTORY_POINTS], bytes[HISTORY_POINTS];
    metrics_add_source(m, &source);
    struct history *h = history_new(m);
    while (c.visits <= HISTORY_REQUESTS)
        usleep(1000);
    c.each = 1000; /* each reads it at its first look, or at its second */
    while (history_read(h, HISTORY_REQUESTS, points) == 0)
        usleep(1000);
    assert_int_equal(history_read(h, HISTORY_BYTES_IN, bytes), 1);
    assert_true(bytes[0] > 0);
    assert_true(fabsf(points[0] - 2 * bytes[0]) < 1);
    history_free(h);
    metrics_remove_source(m, &source);
    metrics_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(amounts_have_units_and_three_digits),
        cmocka_unit_test(times_are_relative),
        cmocka_unit_test(names_cannot_be_markup),
        cmocka_unit_test(what_is_not_shown_is_counted_and_linked),
        cmocka_unit_test(trouble_is_told_worst_first),
        cmocka_unit_test(a_curve_ends_at_the_right),
        cmocka_unit_test(a_fetch_is_one_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
