/* What is counted: the arithmetic of each kind against a plain model, counts of many threads, names. */
#include "metrics/bean.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>

#include "metrics/histogram.h"
#include "metrics/meter.h"
#include "metrics/window.h"
#include "test.h"

enum { SECOND = 1000000 };

static int64_t clock_us;

static int64_t test_now(void)
{
    return clock_us;
}

static struct metrics *begin(void)
{
    clock_us = 7 * SECOND + 123456;
    return metrics_new(test_now);
}

/* Seconds pass, each with a tick. */
static void pass(struct metrics *m, int seconds)
{
    for (int i = 0; i < seconds; i++) {
        clock_us += SECOND;
        metrics_tick(m);
    }
}

/* ---- Meters ---- */

static void assert_about(double expected, double found)
{
    if (fabs(expected - found) > 1e-9 * fmax(1, fabs(expected)))
        fail_msg("expected %.17g, found %.17g", expected, found);
}

/* A megabyte a second for a minute, then nothing: each average against its formula. */
static void test_meter_averages(void **state UNUSED)
{
    static const double minutes[] = {1, 5, 15};
    struct metrics *m = begin();
    struct meter meter;
    meter_init(&meter, m, "bytes");
    double expected[3] = {0};
    for (int second = 1; second <= 120; second++) {
        if (second <= 60)
            meter_mark(&meter, 1000000);
        pass(m, 1);
        for (int i = 0; i < 3; i++) {
            double now = second <= 60 ? 1e6 : 0;
            if (second % 5 == 0)
                expected[i] =
                    second == 5 ? now : expected[i] + (1 - exp(-5.0 / (60 * minutes[i]))) * (now - expected[i]);
            assert_about(expected[i], meter_average(&meter, (enum meter_average)i));
        }
    }
    assert_int_equal(meter_count(&meter), 60000000);
    assert_about(60e6 / 120, meter_mean(&meter));
    assert_true(meter_average(&meter, METER_1_MINUTE) > 0);
    meter_deinit(&meter);
    metrics_free(m);
}

static void test_meter_is_silent_for_five_seconds(void **state UNUSED)
{
    struct metrics *m = begin();
    struct meter meter;
    meter_init(&meter, m, "requests");
    meter_mark(&meter, 10);
    pass(m, 4);
    assert_about(0, meter_average(&meter, METER_1_MINUTE));
    pass(m, 1);
    assert_about(2, meter_average(&meter, METER_1_MINUTE));
    meter_deinit(&meter);
    metrics_free(m);
}

/* Ticks that were missed are made up for: what came meanwhile came in the first of them. */
static void test_meter_catches_up(void **state UNUSED)
{
    struct metrics *m = begin();
    struct meter meter;
    meter_init(&meter, m, "requests");
    meter_mark(&meter, 100);
    clock_us += 10 * SECOND;
    metrics_tick(m);
    assert_about(20 * exp(-5.0 / 60), meter_average(&meter, METER_1_MINUTE));
    meter_deinit(&meter);
    metrics_free(m);
}

static void test_meter_of_nanoseconds(void **state UNUSED)
{
    struct metrics *m = begin();
    struct meter meter;
    meter_init(&meter, m, "percent");
    meter.per_nanosecond = true;
    for (int i = 0; i < 5; i++) {
        meter_mark(&meter, 500000000);
        pass(m, 1);
    }
    assert_about(0.5, meter_average(&meter, METER_1_MINUTE));
    assert_about(0.5, meter_mean(&meter));
    meter_deinit(&meter);
    metrics_free(m);
}

/* ---- Histograms ---- */

static int compare_longs(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static double model_percentile(const int64_t *sorted, int n, double p)
{
    double place = p * (n + 1);
    if (place < 1)
        return (double)sorted[0];
    if (place >= n)
        return (double)sorted[n - 1];
    int at = (int)place;
    return (double)sorted[at - 1] + (place - at) * (double)(sorted[at] - sorted[at - 1]);
}

/* A sixteenth, or half of one where that is rounded. */
static void assert_near(double expected, double found)
{
    if (fabs(expected - found) > expected / 16 + 1)
        fail_msg("expected about %g, found %g", expected, found);
}

static int64_t random_value(unsigned *seed)
{
    int bits = rand_r(seed) % 34;
    return (((int64_t)rand_r(seed) << 20) ^ rand_r(seed)) & ((INT64_C(1) << bits) - 1);
}

static void check_against_model(unsigned seed, int n)
{
    static const double parts[] = {0.5, 0.75, 0.95, 0.98, 0.99, 0.999};
    struct metrics *m = begin();
    struct histogram h;
    struct histogram_summary s;
    int64_t *values = xcalloc((size_t)n, sizeof(*values));
    double sum = 0, squares = 0;
    histogram_init(&h, m, HISTOGRAM_PLAIN);
    for (int i = 0; i < n; i++) {
        histogram_record(&h, values[i] = random_value(&seed));
        sum += (double)values[i];
    }
    for (int i = 0; i < n; i++)
        squares += ((double)values[i] - sum / n) * ((double)values[i] - sum / n);
    qsort(values, (size_t)n, sizeof(*values), compare_longs);
    histogram_read(&h, &s);
    assert_int_equal(s.count, n);
    assert_about((double)values[0], s.min);
    assert_about((double)values[n - 1], s.max);
    assert_about(sum / n, s.mean);
    assert_true(fabs(s.deviation - (n > 1 ? sqrt(squares / (n - 1)) : 0)) <= 1e-6 * (s.deviation + s.mean));
    for (int i = 0; i < HISTOGRAM_PERCENTILES; i++)
        assert_near(model_percentile(values, n, parts[i]), s.percentiles[i]);
    free(values);
    histogram_deinit(&h);
    metrics_free(m);
}

static void test_histogram_against_model(void **state UNUSED)
{
    for (unsigned seed = 1; seed <= 3000; seed++)
        check_against_model(seed, 1 + (int)(seed * 7 % 200));
}

/* Small values are known exactly, and percentiles lie between two of them as Kafka's do. */
static void test_histogram_interpolates(void **state UNUSED)
{
    struct metrics *m = begin();
    struct histogram h;
    struct histogram_summary s;
    histogram_init(&h, m, HISTOGRAM_PLAIN);
    histogram_read(&h, &s);
    assert_int_equal(s.count, 0);
    assert_true(s.min == 0 && s.max == 0 && s.percentiles[P99] == 0);
    for (int i = 1; i <= 4; i++)
        histogram_record(&h, i);
    histogram_read(&h, &s);
    assert_about(2.5, s.percentiles[P50]);
    assert_about(3.75, s.percentiles[P75]);
    assert_about(4, s.percentiles[P95]);
    histogram_deinit(&h);
    metrics_free(m);
}

/* Whole milliseconds of microseconds, and a timing's with their fractions. */
static void test_histogram_units(void **state UNUSED)
{
    struct metrics *m = begin();
    struct histogram whole;
    struct timing t;
    struct histogram_summary s;
    histogram_init(&whole, m, HISTOGRAM_WHOLE_MS);
    timing_init(&t, m);
    histogram_record(&whole, 1499);
    histogram_record(&whole, 1500);
    histogram_read(&whole, &s);
    assert_about(1, s.min);
    assert_about(2, s.max);
    assert_about(1.5, s.mean);
    assert_int_equal(histogram_sum(&whole), 2999);
    timing_record(&t, 34500);
    histogram_read(&t.times, &s);
    assert_about(34.5, s.min);
    assert_about(34.5, s.percentiles[P999]);
    assert_about(34.5, s.mean);
    assert_int_equal(meter_count(&t.calls), 1);
    histogram_deinit(&whole);
    timing_deinit(&t);
    metrics_free(m);
}

static double median(const struct histogram *h)
{
    struct histogram_summary s;
    histogram_read(h, &s);
    return s.percentiles[P50];
}

/* Percentiles forget after some minutes, but only when something new came; the rest is of all time. */
static void test_histogram_windows(void **state UNUSED)
{
    struct metrics *m = begin();
    struct histogram h;
    struct histogram_summary s;
    histogram_init(&h, m, HISTOGRAM_PLAIN);
    for (int i = 0; i < 100; i++)
        histogram_record(&h, 3);
    pass(m, 3600);
    assert_about(3, median(&h));
    for (int i = 0; i < 400; i++) {
        histogram_record(&h, 12);
        pass(m, 1);
    }
    assert_about(12, median(&h));
    histogram_read(&h, &s);
    assert_about(12, s.percentiles[P999]);
    assert_about(3, s.min);
    assert_about((100 * 3 + 400 * 12) / 500.0, s.mean);
    for (int i = 0; i < 200; i++)
        histogram_record(&h, 5);
    assert_true(median(&h) <= 12);
    histogram_deinit(&h);
    metrics_free(m);
}

/* A histogram of what is recorded in two others. */
static void test_histogram_of_parts(void **state UNUSED)
{
    struct metrics *m = begin();
    struct histogram a, b, both;
    struct histogram_summary s;
    histogram_init(&a, m, HISTOGRAM_PLAIN);
    histogram_init(&b, m, HISTOGRAM_PLAIN);
    histogram_init(&both, m, HISTOGRAM_PLAIN);
    both.parts[0] = &a;
    both.parts[1] = &b;
    histogram_record(&a, 1);
    histogram_record(&b, 0);
    histogram_record(&b, 5);
    histogram_read(&both, &s);
    assert_int_equal(s.count, 3);
    assert_about(2, s.mean);
    assert_about(1, s.percentiles[P50]);
    histogram_read(&b, &s);
    assert_int_equal(s.count, 2);
    assert_about(0, s.min);
    histogram_deinit(&both);
    histogram_deinit(&a);
    histogram_deinit(&b);
    metrics_free(m);
}

static void test_histogram_cumulative(void **state UNUSED)
{
    static const int64_t bounds[] = {0, 5, 15, 1 << 20};
    struct metrics *m = begin();
    struct histogram h;
    int64_t found[4];
    histogram_init(&h, m, HISTOGRAM_PLAIN);
    histogram_record(&h, 0);
    histogram_record(&h, 5);
    histogram_record(&h, 6);
    histogram_record(&h, 15);
    histogram_record(&h, 1000);
    histogram_record(&h, INT64_MAX);
    histogram_cumulative(&h, bounds, 4, found);
    assert_int_equal(found[0], 1);
    assert_int_equal(found[1], 2);
    assert_int_equal(found[2], 4);
    assert_int_equal(found[3], 5);
    histogram_deinit(&h);
    metrics_free(m);
}

/* ---- Windows ---- */

static void test_window(void **state UNUSED)
{
    struct metrics *m = begin();
    struct window w;
    struct window_values v;
    window_init(&w, m);
    window_read(&w, &v);
    assert_true(isnan(v.mean) && isnan(v.most) && v.rate == 0 && v.count == 0);
    window_record(&w, 100);
    window_record(&w, 200);
    pass(m, 1);
    window_read(&w, &v);
    assert_about(300.0 / 31, v.per_second); /* a second, and the samples that there are not yet */
    assert_about(2.0 / 31, v.rate);
    assert_about(150, v.mean);
    assert_about(200, v.most);
    pass(m, 30);
    window_record(&w, 60);
    pass(m, 1);
    window_read(&w, &v);
    assert_about(360.0 / 32, v.per_second);
    assert_about(200, v.most);
    pass(m, 61);
    window_read(&w, &v);
    assert_int_equal(v.total, 360);
    assert_int_equal(v.count, 3);
    assert_true(isnan(v.mean) && v.rate == 0);
    window_deinit(&w);
    metrics_free(m);
}

/* ---- Threads ---- */

enum { THREADS = 8, TIMES = 20000 };

struct crowd {
    struct meter meter;
    struct histogram histogram;
};

static void *count(void *arg)
{
    const struct crowd *c = arg;
    for (int i = 0; i < TIMES; i++) {
        meter_mark(&c->meter, 2);
        histogram_record(&c->histogram, i % 1000);
    }
    return NULL;
}

/* While others read and tick; nothing is lost when threads end, and their successors go on where they were. */
static void test_threads(void **state UNUSED)
{
    struct metrics *m = begin();
    struct crowd c;
    struct histogram_summary s;
    meter_init(&c.meter, m, "events");
    histogram_init(&c.histogram, m, HISTOGRAM_PLAIN);
    for (int round = 1; round <= 3; round++) {
        pthread_t threads[THREADS];
        for (int i = 0; i < THREADS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, count, &c), 0);
        for (int i = 0; i < 200; i++) {
            metrics_tick(m);
            histogram_read(&c.histogram, &s);
            assert_true(s.percentiles[P999] <= 1000);
        }
        for (int i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
        histogram_read(&c.histogram, &s);
        assert_int_equal(meter_count(&c.meter), INT64_C(2) * round * THREADS * TIMES);
        assert_int_equal(s.count, (int64_t)round * THREADS * TIMES);
    }
    meter_deinit(&c.meter);
    histogram_deinit(&c.histogram);
    metrics_free(m);
}

struct first {
    struct histogram *_Atomic histogram; /* to be recorded in */
    atomic_bool ends;
};

static void *record_first(void *arg)
{
    struct first *f = arg;
    while (!atomic_load(&f->ends)) {
        struct histogram *h = atomic_load(&f->histogram);
        if (h == NULL)
            continue;
        histogram_record(h, 1000);
        atomic_store(&f->histogram, NULL);
    }
    return NULL;
}

/* Who looks while it is recorded sees nothing, or all of it: not that there is a value, and no least or most. */
static void test_the_first_value_is_seen_whole(void **state UNUSED)
{
    struct metrics *m = begin();
    struct first f = {0};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, record_first, &f), 0);
    for (int i = 0; i < 20000; i++) {
        struct histogram h;
        struct histogram_summary s;
        histogram_init(&h, m, HISTOGRAM_PLAIN);
        atomic_store(&f.histogram, &h);
        do {
            histogram_read(&h, &s);
            if (s.count == 0)
                continue;
            assert_about(1000, s.min);
            assert_about(1000, s.max);
            assert_about(1000, s.mean);
            assert_about(1000, s.percentiles[P50]);
        } while (atomic_load(&f.histogram) != NULL);
        histogram_deinit(&h);
    }
    atomic_store(&f.ends, true);
    pthread_join(thread, NULL);
    metrics_free(m);
}

/* A number that was given back is nobody's when it is given out again. */
static void test_counters_come_back_empty(void **state UNUSED)
{
    struct counter a, b, none = {0};
    counter_init(&a);
    counter_add(&a, 5);
    uint32_t cell = a.cell;
    counter_deinit(&a);
    counter_init(&b);
    assert_int_equal(b.cell, cell);
    assert_int_equal(counter_read(&b), 0);
    counter_deinit(&b);
    counter_add(&none, 3);
    assert_int_equal(counter_read(&none), 0);
}

/* When no number is left what is new is not counted; all else is, and goes on. */
static void test_counters_run_out(void **state UNUSED)
{
    enum { ALL = CELLS_A_PIECE * CELL_PIECES };
    struct metrics *m = begin();
    struct counter *taken = xcalloc(ALL, sizeof(*taken)), again;
    struct meter meter;
    struct timing timing;
    struct window window;
    struct histogram_summary s;
    struct window_values v;
    for (int i = 0; i < ALL; i++)
        counter_init(&taken[i]);
    assert_int_equal(taken[ALL - 1].cell, 0);
    meter_init(&meter, m, "goods");
    timing_init(&timing, m);
    window_init(&window, m);
    for (int i = 0; i < 1000; i++) {
        meter_mark(&meter, 7);
        timing_record(&timing, 100 * i);
        window_record(&window, i);
        counter_add(&taken[ALL - 1], 12345); /* in the same place */
    }
    pass(m, 400);
    histogram_read(&timing.times, &s);
    window_read(&window, &v);
    assert_int_equal(meter_count(&meter) + s.count + v.count, 0);
    counter_add(&taken[0], 3);
    assert_int_equal(counter_read(&taken[0]), 3);
    meter_deinit(&meter);
    timing_deinit(&timing);
    window_deinit(&window);
    pass(m, 1);
    for (int i = 0; i < ALL; i++)
        counter_deinit(&taken[i]);
    counter_init(&again);
    assert_int_not_equal(again.cell, 0);
    counter_deinit(&again);
    free(taken);
    metrics_free(m);
}

/* What was never made may be counted in: parts run without a registry. */
static void test_nothing_to_count_in(void **state UNUSED)
{
    struct meter meter = {0};
    struct timing timing = {0};
    struct window window = {0};
    struct histogram_summary s;
    struct window_values v;
    meter_mark(&meter, 1);
    timing_record(&timing, 1);
    window_record(&window, 1);
    histogram_read(&timing.times, &s);
    window_read(&window, &v);
    assert_int_equal(meter_count(&meter) + s.count + v.count, 0);
    meter_deinit(&meter);
    timing_deinit(&timing);
    window_deinit(&window);
}

/* ---- Names ---- */

/* And back again. */
static void assert_quoted(const char *expected, struct str value)
{
    struct strbuf quoted = {0}, plain = {0};
    bean_quote(value, &quoted);
    assert_string_equal(quoted.p == NULL ? "" : quoted.p, expected);
    bean_unquote((struct str){quoted.p, (int32_t)quoted.len}, &plain);
    assert_int_equal(plain.len, value.len);
    assert_memory_equal(plain.p != NULL ? plain.p : "", value.p, plain.len);
    strbuf_deinit(&quoted);
    strbuf_deinit(&plain);
}

static void test_quotes(void **state UNUSED)
{
    assert_quoted("consumer-1", STR_LIT("consumer-1"));
    assert_quoted("a%20b c.d_e", STR_LIT("a%20b c.d_e"));
    assert_quoted("\"/data\"", STR_LIT("/data"));
    assert_quoted("\"a,b=c:d\"", STR_LIT("a,b=c:d"));
    assert_quoted("\"\\\"\\\\\\*\\?\\n\"", STR_LIT("\"\\*?\n"));
    assert_quoted("\"\xc3\xa4\"", STR_LIT("\xc3\xa4"));
    assert_quoted("\"a\0b\"", ((struct str){"a\0b", 3}));
    assert_quoted("", STR_LIT(""));
}

struct shop {
    struct bean_source source;
    struct meter meter;
    struct timing timing;
    int64_t ids;
    int asked;
};

static void shop_visit(void *ctx, struct bean_walk *w)
{
    struct shop *s = ctx;
    static const struct bean_attribute texts[] = {{"version", "double", {.kind = VALUE_TEXT, .text = {"1", 1}}}};
    if (!walk_wants(w, "kafka.server", "Shop"))
        return;
    s->asked++;
    yield_gauge(w, s->ids, &(struct bean_name){"kafka.server", "Shop", "Open", {{0}}}, bean_long(1));
    yield_meter(
        w, s->ids + 1,
        &(struct bean_name){"kafka.server", "Shop", "SoldPerSec", {{"topic", STR_LIT("a,b")}, {"n", STR_LIT("1")}}},
        &s->meter);
    yield_timing(w, s->ids + 2, &(struct bean_name){"kafka.server", "Shop", "SaleTimeMs", {{0}}}, &s->timing);
    yield_client(w, s->ids + 3, &(struct bean_name){"kafka.server", "Shop", NULL, {{"client-id", STR_LIT("x*")}}},
                 &(struct bean_attributes){texts, 1});
}

static struct shop *shop_open(struct metrics *m)
{
    struct shop *s = xcalloc(1, sizeof(*s));
    meter_init(&s->meter, m, "goods");
    timing_init(&s->timing, m);
    s->ids = metrics_ids(m, 4);
    s->source = (struct bean_source){.visit = shop_visit, .ctx = s};
    metrics_add_source(m, &s->source);
    return s;
}

static void shop_close(struct shop *s, struct metrics *m)
{
    metrics_remove_source(m, &s->source);
    meter_deinit(&s->meter);
    timing_deinit(&s->timing);
    free(s);
    metrics_free(m);
}

static bool tell(void *ctx, const struct bean *b)
{
    struct bean_attribute a[BEAN_MOST_ATTRIBUTES];
    struct strbuf *out = ctx;
    int n = bean_read(b, a);
    strbuf_printf(out, "%s ", bean_kind_name(b->kind));
    bean_text(b, false, out);
    for (int i = 0; i < n; i++) {
        strbuf_printf(out, " %s", a[i].name);
        if (i > 0)
            assert_true(strcmp(a[i - 1].name, a[i].name) < 0);
    }
    strbuf_puts(out, "\n");
    return true;
}

static bool tell_one(void *ctx, const struct bean *b)
{
    tell(ctx, b);
    return false;
}

static void assert_visit(struct metrics *m, const char *pattern, bean_visit_fn visit, const char *expected)
{
    struct strbuf b = {0};
    struct bean_pattern p;
    const char *why = NULL;
    if (pattern != NULL && !bean_pattern_parse(str_of(pattern), &p, &why))
        fail_msg("%s: %s", pattern, why);
    metrics_visit(m, pattern == NULL ? NULL : &p, visit, &b);
    assert_string_equal(b.p == NULL ? "" : b.p, expected);
    strbuf_deinit(&b);
}

#define GAUGE "Gauge kafka.server:type=Shop,name=Open Value\n"
#define METER                                                                                           \
    "Meter kafka.server:type=Shop,name=SoldPerSec,topic=\"a,b\",n=1 Count EventType FifteenMinuteRate " \
    "FiveMinuteRate MeanRate OneMinuteRate RateUnit\n"
#define TIMER                                                                                                   \
    "Timer kafka.server:type=Shop,name=SaleTimeMs 50thPercentile 75thPercentile 95thPercentile 98thPercentile " \
    "999thPercentile 99thPercentile Count EventType FifteenMinuteRate FiveMinuteRate LatencyUnit Max Mean "     \
    "MeanRate Min OneMinuteRate RateUnit StdDev\n"
#define CLIENT "KafkaMbean kafka.server:type=Shop,client-id=\"x\\*\" version\n"

static void test_visits(void **state UNUSED)
{
    struct metrics *m = begin();
    struct shop *s = shop_open(m);
    assert_visit(m, NULL, tell, GAUGE METER TIMER CLIENT);
    assert_visit(m, NULL, tell_one, GAUGE);
    assert_visit(m, "kafka.server:name=Open,type=Shop", tell, GAUGE);
    assert_visit(m, "kafka.server:type=Shop,name=S*", tell, TIMER);
    assert_visit(m, "kafka.server:type=Shop,name=S*,*", tell, METER TIMER);
    assert_visit(m, "kafka.*:*", tell, GAUGE METER TIMER CLIENT);
    assert_visit(m, "*:type=Sh?p,client-id=\"x\\*\"", tell, CLIENT);
    assert_visit(m, "*:type=Shop,client-id=\"?*\"", tell, CLIENT);
    assert_visit(m, "*:type=Shop,client-id=\"\\*\"", tell, "");
    assert_visit(m, "*:topic=\"a,b\",type=Shop,*", tell, METER);
    int asked = s->asked;
    assert_visit(m, "kafka.log:type=Shop,name=Open", tell, "");
    assert_visit(m, "kafka.server:type=Stop,name=Open", tell, "");
    assert_int_equal(s->asked, asked);
    shop_close(s, m);
}

static bool goes_on(void *ctx)
{
    return *(bool *)ctx;
}

/* What is met counts, not what is told. */
static void test_visits_have_a_budget(void **state UNUSED)
{
    struct metrics *m = begin();
    struct shop *s = shop_open(m);
    struct strbuf told = {0};
    bool wanted = true;
    struct bean_budget budget = {.left = 6, .goes_on = goes_on, .ctx = &wanted};
    struct bean_pattern timers, none;
    const char *why = NULL;
    assert_true(bean_pattern_parse(STR_LIT("*:type=Shop,name=SaleTimeMs"), &timers, &why));
    assert_true(bean_pattern_parse(STR_LIT("*:type=Shop,name=Nothing"), &none, &why));
    metrics_visit_within(m, &none, &budget, tell, &told);
    assert_int_equal(budget.left, 2);
    assert_false(budget.over);
    metrics_visit_within(m, &timers, &budget, tell, &told);
    assert_true(budget.over); /* the timer is the third */
    int asked = s->asked;
    metrics_visit_within(m, &timers, &budget, tell, &told);
    assert_int_equal(s->asked, asked);
    assert_null(told.p);
    budget = (struct bean_budget){.left = 1 << 20, .goes_on = goes_on, .ctx = &wanted};
    metrics_visit_within(m, &timers, &budget, tell, &told);
    assert_string_equal(told.p, TIMER);
    wanted = false;
    for (int i = 0; i < 1000 && !budget.over; i++)
        metrics_visit_within(m, &none, &budget, tell, &told);
    assert_true(budget.over);
    strbuf_deinit(&told);
    shop_close(s, m);
}

/* ---- Beans of our own ---- */

static void own_visit(void *ctx UNUSED, struct bean_walk *w)
{
    yield_gauge(w, 100, &(struct bean_name){BEAN_OWN_DOMAIN, "Loop", "Turns", {{0}}}, bean_long(1));
}

static bool wants_loops_and_none_else(void *ctx UNUSED, const char *domain, const char *type)
{
    return strcmp(domain, BEAN_OWN_DOMAIN) == 0 && (type == NULL || strcmp(type, "Loop") == 0);
}

static void test_own_beans(void **state UNUSED)
{
    struct metrics *m = begin();
    struct shop *s = shop_open(m);
    struct bean_source own = {.visit = own_visit};
    struct strbuf b = {0};
    metrics_add_source(m, &own);
    assert_visit(m, NULL, tell, GAUGE METER TIMER CLIENT);
    assert_visit(m, "*:*", tell, GAUGE METER TIMER CLIENT);
    assert_visit(m, "barnabas:*", tell, "Gauge barnabas:type=Loop,name=Turns Value\n");
    int64_t brokers = metrics_bean_counts(m).brokers;
    int asked = s->asked;
    metrics_visit_wanted(m, wants_loops_and_none_else, tell, &b);
    assert_string_equal(b.p, "Gauge barnabas:type=Loop,name=Turns Value\n");
    assert_int_equal(s->asked, asked);
    assert_int_equal(metrics_bean_counts(m).brokers, brokers);
    strbuf_deinit(&b);
    metrics_remove_source(m, &own);
    shop_close(s, m);
}

static void test_bad_patterns(void **state UNUSED)
{
    static const char *const bad[] = {
        "",        "a",           "a:",    "a:b",     "a:=c",
        "a:b=",    "a:b=c,",      "a:*,*", "a:b=\"c", "a:b=\"c\"d",
        "a:b=c,,", "a:b=\"c\\\"", "a:,",   "a:b=,c",  "a:a=1,b=1,c=1,d=1,e=1,f=1,g=1,h=1,i=1"};
    struct bean_pattern p;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        const char *why = NULL;
        if (bean_pattern_parse(str_of(bad[i]), &p, &why))
            fail_msg("%s is a pattern", bad[i]);
        assert_non_null(why);
    }
}

static void test_pattern_values(void **state UNUSED)
{
    struct bean_pattern p;
    const char *why;
    char room[16];
    assert_true(bean_pattern_parse(STR_LIT("a:topic=t,dir=\"/a\\*\\n\",x=*"), &p, &why));
    assert_false(p.exact);
    assert_true(str_is(bean_pattern_value(&p, "topic", room, sizeof(room)), "t"));
    assert_true(str_is(bean_pattern_value(&p, "dir", room, sizeof(room)), "/a*\n"));
    assert_null(bean_pattern_value(&p, "x", room, sizeof(room)).p);
    assert_null(bean_pattern_value(&p, "y", room, sizeof(room)).p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_meter_averages),
        cmocka_unit_test(test_meter_is_silent_for_five_seconds),
        cmocka_unit_test(test_meter_catches_up),
        cmocka_unit_test(test_meter_of_nanoseconds),
        cmocka_unit_test(test_histogram_against_model),
        cmocka_unit_test(test_histogram_interpolates),
        cmocka_unit_test(test_histogram_units),
        cmocka_unit_test(test_histogram_windows),
        cmocka_unit_test(test_histogram_of_parts),
        cmocka_unit_test(test_histogram_cumulative),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_the_first_value_is_seen_whole),
        cmocka_unit_test(test_counters_come_back_empty),
        cmocka_unit_test(test_counters_run_out),
        cmocka_unit_test(test_nothing_to_count_in),
        cmocka_unit_test(test_quotes),
        cmocka_unit_test(test_visits),
        cmocka_unit_test(test_visits_have_a_budget),
        cmocka_unit_test(test_own_beans),
        cmocka_unit_test(test_bad_patterns),
        cmocka_unit_test(test_pattern_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
