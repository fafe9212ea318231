/* Quotas: the figures that a live Apache broker answers with, and thousands of random cases against a plain model. */
#include "test.h"

#include <math.h>

#include "base/clock.h"
#include "base/rate.h"
#include "cluster/quotas.h"
#include "metrics/bean_ask.h"

static const struct rate_window usual = {11, 1000};

/* ---- Rates and tokens ---- */

static void a_flood_waits_as_long_as_with_apache(void **state)
{
    (void)state;
    struct rate r = {0};
    rate_record(&r, &usual, 150113, 1000000);
    struct rate_measure m = rate_measure(&r, &usual, 1000000);
    assert_int_equal(m.over_ms, 10000);
    assert_int_equal(rate_excess_ms(m, 10000), 5011);
    rate_record(&r, &usual, 150113, 1005026);
    m = rate_measure(&r, &usual, 1005026);
    assert_int_equal(m.over_ms, 10026);
    assert_int_equal(rate_excess_ms(m, 10000), 19997);
    rate_deinit(&r);
}

static void a_rate_at_its_limit_does_not_wait(void **state)
{
    (void)state;
    struct rate r = {0};
    rate_record(&r, &usual, 100000, 5);
    assert_int_equal(rate_excess_ms(rate_measure(&r, &usual, 5), 10000), 0);
    rate_record(&r, &usual, 1, 5);
    assert_int_equal(rate_excess_ms(rate_measure(&r, &usual, 5), 10000), 0); /* a tenth of a ms */
    rate_record(&r, &usual, 5, 5);
    assert_int_equal(rate_excess_ms(rate_measure(&r, &usual, 5), 10000), 1);
    rate_deinit(&r);
}

static void a_limit_of_nothing_waits_as_long_as_can_be_said(void **state)
{
    (void)state;
    struct rate r = {0};
    struct token_bucket b = {0};
    rate_record(&r, &usual, 1, 0);
    assert_int_equal(rate_excess_ms(rate_measure(&r, &usual, 0), 0), INT32_MAX);
    assert_int_equal(rate_excess_ms(rate_measure(&r, &usual, 0), 1e-12), INT32_MAX);
    token_bucket_fill(&b, &usual, 0, 0);
    token_bucket_take(&b, 1);
    assert_int_equal(token_bucket_debt_ms(&b, 0), INT32_MAX);
    rate_deinit(&r);
}

/* Of two alike, one is always measured, the other only where it is not surely within its limit. */
static void what_is_surely_within_its_limit_need_not_be_measured(void **state)
{
    (void)state;
    static const struct rate_window windows[] = {{11, 1000}, {2, 100}, {1, 1000}};
    static const double limit = 40;
    int skipped = 0;
    srand(3);
    for (int round = 0; round < 300; round++) {
        const struct rate_window *w = &windows[round % (int)ARRAY_LEN(windows)];
        struct rate always = {0}, seldom = {0};
        int64_t now = 0;
        for (int i = 0; i < 200; i++) {
            double amount = rand() % 100 - 20; /* some of which is taken back */
            now += rand() % 40 == 0 ? rand() % (2 * rate_window_ms(w)) : rand() % w->sample_ms * 2;
            rate_record(&always, w, amount, now);
            rate_record(&seldom, w, amount, now);
            int32_t excess = rate_excess_ms(rate_measure(&always, w, now), limit);
            if (rate_is_within(&seldom, w, limit)) {
                assert_int_equal(excess, 0);
                skipped++;
            } else {
                assert_int_equal(rate_excess_ms(rate_measure(&seldom, w, now), limit), excess);
            }
        }
        rate_deinit(&always);
        rate_deinit(&seldom);
    }
    assert_true(skipped > 1000);
}

static void one_sample_is_a_window_too(void **state)
{
    (void)state;
    struct rate_window w = {1, 1000};
    struct rate r = {0};
    rate_record(&r, &w, 10, 0);
    assert_int_equal(rate_measure(&r, &w, 0).over_ms, 1);
    assert_int_equal(rate_measure(&r, &w, 500).over_ms, 500);
    rate_record(&r, &w, 10, 1000);
    assert_int_equal(rate_measure(&r, &w, 1000).over_ms, 1); /* the first is older than the window */
    rate_deinit(&r);
}

static void tokens_may_be_owed_by_one_request(void **state)
{
    (void)state;
    struct token_bucket b = {0};
    assert_true(token_bucket_fill(&b, &usual, 2, 100) == 22);
    token_bucket_take(&b, 30);
    assert_int_equal(token_bucket_debt_ms(&b, 2), 4000);
    token_bucket_fill(&b, &usual, 2, 616);
    assert_int_equal(token_bucket_debt_ms(&b, 2), 3484);
    assert_true(token_bucket_fill(&b, &usual, 2, 100 + 3600 * 1000) == 22);
}

/* ---- Whose limit ---- */

static struct quotas *quotas;

static int quotas_set_up(void **state)
{
    (void)state;
    quotas = quotas_new(usual, usual);
    return 0;
}

static int quotas_tear_down(void **state)
{
    (void)state;
    quotas_free(quotas);
    return 0;
}

static void take_text(const char *entity, const char *key, const char *value)
{
    struct config_pair pair = {key, value};
    struct config_znode pairs = {&pair, value != NULL ? 1 : 0};
    quotas_take(quotas, entity, &pairs);
}

static struct quota_client client(const char *user, const char *id)
{
    return (struct quota_client){str_of(user), str_of(id)};
}

/* 100 a second are 1000 in the window: what the most at once is, is ten times the limit. */
static int limit_of(const char *user, const char *id)
{
    double most = quotas_most_at_once(quotas, QUOTA_PRODUCE, client(user, id));
    return most > 1e12 ? -1 : (int)(most / 10 + 0.5);
}

static void the_first_that_is_set_counts(void **state)
{
    (void)state;
    static const char *const entities[] = {"clients/<default>",
                                           "clients/c%2F1",
                                           "users/<default>",
                                           "users/<default>/clients/<default>",
                                           "users/<default>/clients/c%2F1",
                                           "users/al%20ice",
                                           "users/al%20ice/clients/<default>",
                                           "users/al%20ice/clients/c%2F1"};
    assert_false(quotas_limit(quotas, QUOTA_PRODUCE));
    assert_int_equal(limit_of("al ice", "c/1"), -1);
    for (int i = 0; i < (int)ARRAY_LEN(entities); i++) {
        char value[16];
        snprintf(value, sizeof(value), "%d", 100 + i);
        take_text(entities[i], "producer_byte_rate", value);
        assert_int_equal(limit_of("al ice", "c/1"), 100 + i);
    }
    assert_true(quotas_limit(quotas, QUOTA_PRODUCE));
    assert_false(quotas_limit(quotas, QUOTA_FETCH));
    assert_int_equal(limit_of("al ice", "other"), 106);
    assert_int_equal(limit_of("bob", "c/1"), 104);
    assert_int_equal(limit_of("bob", "other"), 103);
    assert_int_equal(limit_of("bob", NULL), 102);
    assert_int_equal(limit_of("al ice", ""), 105);
    for (int i = (int)ARRAY_LEN(entities) - 1; i >= 0; i--) {
        assert_int_equal(limit_of("al ice", "c/1"), 100 + i);
        take_text(entities[i], NULL, NULL);
    }
    assert_false(quotas_limit(quotas, QUOTA_PRODUCE));
}

static void what_is_no_limit_is_ignored(void **state)
{
    (void)state;
    static const char *const odd[] = {"", "x", "1x", "-1", "nan", "inf"};
    for (size_t i = 0; i < ARRAY_LEN(odd); i++)
        take_text("users/u", "producer_byte_rate", odd[i]);
    take_text("ips/127.0.0.1", "producer_byte_rate", "5");
    take_text("users/u/x/c", "producer_byte_rate", "5");
    take_text("users/u/clients/c/d", "producer_byte_rate", "5");
    take_text("clients/u/clients/c", "producer_byte_rate", "5");
    take_text("users/", "producer_byte_rate", "5");
    assert_false(quotas_limit(quotas, QUOTA_PRODUCE));
    take_text("users/%3Cdefault%3E", "producer_byte_rate", "5"); /* somebody who is called so */
    assert_int_equal(limit_of("<default>", "c"), 5);
    assert_int_equal(limit_of("u", "c"), -1);
    take_text("users/u", "producer_byte_rate", "7.5e1");
    assert_int_equal(limit_of("u", "c"), 75);
}

static int charge(const char *user, const char *id, double amount, int64_t now)
{
    return quotas_charge(quotas, QUOTA_PRODUCE, client(user, id), amount, now).wait_ms;
}

static void who_shares_a_limit_shares_its_use(void **state)
{
    (void)state;
    take_text("clients/c", "producer_byte_rate", "100");
    assert_int_equal(charge("alice", "c", 1000, 7), 0);
    assert_int_equal(charge("bob", "c", 1000, 7), 10000);
    take_text("users/<default>", "producer_byte_rate", "100");
    assert_int_equal(charge("alice", "c", 1000, 7), 0);
    assert_int_equal(charge("alice", "d", 1000, 7), 10000);
    assert_int_equal(charge("bob", "c", 1000, 7), 0);
    take_text("users/<default>/clients/<default>", "producer_byte_rate", "100");
    assert_int_equal(charge("alice", "c", 1000, 7), 0);
    assert_int_equal(charge("alice", "d", 1000, 7), 0);
    assert_int_equal(charge("alice", "d", 1000, 7), 10000);
}

static void what_is_taken_back_was_never_there(void **state)
{
    (void)state;
    take_text("users/u", "consumer_byte_rate", "100");
    struct quota_verdict v = quotas_charge(quotas, QUOTA_FETCH, client("u", "c"), 900, 3);
    assert_int_equal(v.wait_ms, 0);
    for (int i = 0; i < 5; i++) {
        v = quotas_charge(quotas, QUOTA_FETCH, client("u", "c"), 300, 4);
        assert_int_equal(v.wait_ms, 1999); /* over 10001 ms */
        assert_false(v.always);
        quotas_refund(quotas, QUOTA_FETCH, client("u", "c"), 300, 4);
    }
}

/* Else a consumer would never get a batch that is larger than all that it may have in a window. */
static void what_never_fits_is_said_to_once_it_is_its_turn(void **state)
{
    (void)state;
    take_text("users/u", "consumer_byte_rate", "100");
    struct quota_verdict v = quotas_charge(quotas, QUOTA_FETCH, client("u", "c"), 5000, 0);
    assert_true(v.always);
    assert_int_equal(v.wait_ms, 40000);
    v = quotas_charge(quotas, QUOTA_FETCH, client("u", "c"), 5000, 1);
    assert_false(v.always); /* it has just had one */
    quotas_refund(quotas, QUOTA_FETCH, client("u", "c"), 5000, 1);
    v = quotas_charge(quotas, QUOTA_FETCH, client("u", "c"), 5000, 40000);
    assert_true(v.always);
}

static int64_t now_us;

static int64_t clock_of_test(void)
{
    return now_us;
}

static void what_nobody_is_charged_for_is_told(void **state)
{
    (void)state;
    static const char bean[] = "kafka.server:type=Request";
    struct metrics *m = metrics_new(clock_of_test);
    struct quotas *q = quotas_new(usual, usual);
    double percent;
    quotas_count(q, m);
    assert_int_equal(bean_sum(m, bean, "exempt-request-time", &percent), 1);
    assert_float_equal(percent, 0, 0);
    quotas_count_exempt(q, 400000);
    quotas_count_exempt(q, 200000);
    metrics_tick(m);
    bean_sum(m, bean, "exempt-request-time", &percent);
    assert_float_equal(percent, 2, 1e-9); /* 0.6 s, in a window of 30 s at least */
    now_us = 120 * INT64_C(1000000);
    metrics_tick(m);
    bean_sum(m, bean, "exempt-request-time", &percent);
    assert_float_equal(percent, 0, 0);
    quotas_free(q);
    metrics_free(m);
}

/* NAN: there is no such client, or it has no such value. */
static double told(struct metrics *m, const char *client, const char *attribute)
{
    struct strbuf name = {0};
    double value;
    strbuf_printf(&name, "kafka.server:type=Produce,%s", client);
    bool found = bean_sum(m, name.p, attribute, &value) == 1;
    strbuf_deinit(&name);
    return found ? value : NAN;
}

static void who_has_no_limit_is_told_of_where_others_have_one(void **state)
{
    (void)state;
    struct metrics *m = metrics_new(clock_mono_us);
    int64_t now = clock_mono_ms(), hour = 3600 * 1000;
    quotas = quotas_new(usual, usual);
    quotas_count(quotas, m);
    take_text("clients/c", "producer_byte_rate", "100");
    assert_int_equal(charge("u", "gone", 10, now - hour - 1000), 0);
    assert_int_equal(charge("u", "idle", 10, now - hour / 2), 0);
    assert_int_equal(charge("u", "d", 1e9, now), 0);
    assert_int_equal(charge("u", "", 1e9, now), 0); /* it has no name to be told of by */
    assert_true(isnan(told(m, "client-id=gone", "byte-rate")));
    assert_float_equal(told(m, "client-id=idle", "byte-rate"), 0, 0);
    assert_true(told(m, "client-id=d", "byte-rate") > 1e6);
    take_text("clients/c", "producer_byte_rate", NULL);
    take_text("users/u", "producer_byte_rate", "100");
    assert_int_equal(charge("v", "e", 1e9, now), 0);
    assert_true(told(m, "user=v", "byte-rate") > 1e6);
    take_text("users/u", "producer_byte_rate", NULL);
    take_text("users/u/clients/c", "producer_byte_rate", "100");
    assert_int_equal(charge("v", "e", 1e9, now), 0);
    assert_true(told(m, "user=v,client-id=e", "byte-rate") > 1e6);
    quotas_free(quotas);
    metrics_free(m);
}

static void pauses_are_averaged(void **state)
{
    (void)state;
    struct metrics *m = metrics_new(clock_mono_us);
    int64_t now = clock_mono_ms();
    quotas = quotas_new(usual, usual);
    quotas_count(quotas, m);
    take_text("clients/<default>", "producer_byte_rate", "100");
    assert_int_equal(charge("u", "d", 10, now), 0);
    quotas_count_pause(quotas, (struct quota_verdict){QUOTA_PRODUCE, 300, false}, client("u", "c"), now);
    atomic_int *pausing =
        quotas_count_pause(quotas, (struct quota_verdict){QUOTA_PRODUCE, 500, false}, client("v", "c"), now);
    assert_float_equal(told(m, "client-id=c", "throttle-time"), 400, 1e-6);
    assert_true(isnan(told(m, "client-id=d", "throttle-time")));
    double queue;
    atomic_fetch_add(pausing, 2);
    assert_int_equal(bean_sum(m, "kafka.server:type=Produce", "queue-size", &queue), 1);
    assert_float_equal(queue, 2, 0);
    bean_sum(m, "kafka.server:type=Fetch", "queue-size", &queue);
    assert_float_equal(queue, 0, 0);
    quotas_free(quotas);
    metrics_free(m);
}

static void who_has_no_limit_pushes_nobody_out_who_has(void **state)
{
    (void)state;
    char name[12];
    take_text("clients/c", "producer_byte_rate", "100");
    assert_int_equal(charge("u", "c", 1000, 0), 0);
    for (int i = 0; i < 150000; i++) {
        snprintf(name, sizeof(name), "%d", i);
        assert_int_equal(charge("u", name, 1e6, 0), 0);
    }
    assert_int_equal(charge("u", "c", 1000, 0), 10000);
}

static void who_owes_changes_is_refused_if_it_knows(void **state)
{
    (void)state;
    int32_t wait;
    take_text("users/u", "controller_mutation_rate", "2.0");
    assert_true(quotas_mutate(quotas, client("u", "c"), 30, true, 0, &wait));
    assert_int_equal(wait, 0);
    assert_false(quotas_mutate(quotas, client("u", "c"), 1, true, 516, &wait));
    assert_int_equal(wait, 3484);
    assert_true(quotas_mutate(quotas, client("u", "c"), 1, false, 516, &wait));
    assert_int_equal(wait, 3984);
    assert_true(quotas_mutate(quotas, client("v", "c"), 1000000, true, 516, &wait));
    assert_int_equal(wait, 0);
}

static void what_is_changed_is_told_of(void **state)
{
    (void)state;
    struct metrics *m = metrics_new(clock_mono_us);
    int64_t now = clock_mono_ms();
    int32_t wait;
    double rate;
    quotas = quotas_new(usual, usual);
    quotas_count(quotas, m);
    take_text("users/u", "controller_mutation_rate", "1");
    assert_true(quotas_mutate(quotas, client("u", "c"), 100, true, now, &wait));
    assert_true(quotas_mutate(quotas, client("u", "c"), 20, false, now, &wait));
    assert_false(quotas_mutate(quotas, client("u", "c"), 1000, true, now, &wait));
    assert_int_equal(bean_sum(m, "kafka.server:type=ControllerMutation,user=u", "mutation-rate", &rate), 1);
    assert_float_equal(rate, 4, 0.1); /* in 30 s at least */
    quotas_free(quotas);
    metrics_free(m);
}

/* However many names clients think of, and however long. */
static void many_names_take_bounded_memory(void **state)
{
    (void)state;
    static char name[32001];
    memset(name, 'x', sizeof(name) - 1);
    take_text("clients/<default>", "producer_byte_rate", "100");
    for (int i = 0; i < 300000; i++) {
        snprintf(name, 8, "%06u", (unsigned)i % 1000000);
        name[6] = 'x';
        assert_int_equal(charge("u", name, 1000, 0), 0);
    }
    assert_int_equal(charge("u", name, 1000, 0), 10000);
}

/* ---- Against a plain model ---- */

enum { NAMES = 3, MODEL_EVENTS = 4000, MODEL_STEPS = 20000 };

static uint32_t chance_state;

static int chance(int below)
{
    chance_state = chance_state * 1664525 + 1013904223;
    return (int)((chance_state >> 8) % (uint32_t)below);
}

struct model_sample {
    int bucket; /* user * NAMES + client, with a last one of each for all together */
    int64_t start, last;
    double sum;
};

struct model {
    struct rate_window window;
    double limits[NAMES + 1][NAMES + 1]; /* user, client; index 0 is the default, NAMES is none. -1: no limit */
    struct model_sample samples[MODEL_EVENTS];
    int count;
};

static double model_limit(const struct model *m, int user, int id, int *bucket)
{
    const int levels[8][2] = {{user, id}, {user, 0},  {user, NAMES}, {0, id},
                              {0, 0},     {0, NAMES}, {NAMES, id},   {NAMES, 0}};
    for (int i = 0; i < 8; i++) {
        double limit = m->limits[levels[i][0]][levels[i][1]];
        if (limit < 0)
            continue;
        bool all_users = levels[i][0] == NAMES, all_clients = levels[i][1] == NAMES;
        *bucket = (all_users ? NAMES : user) * (NAMES + 1) + (all_clients ? NAMES : id);
        return limit;
    }
    return -1;
}

/* Where those are counted whom no limit bounds, which may be the bucket of a limit that comes later. */
static int model_unlimited(const struct model *m, int user, int id)
{
    bool of_user = false, of_both = false, of_client = false;
    for (int u = 0; u <= NAMES; u++)
        for (int c = 0; c <= NAMES; c++)
            if (m->limits[u][c] >= 0)
                *(u == NAMES ? &of_client : c == NAMES ? &of_user : &of_both) = true;
    if (of_user && !of_both && !of_client)
        return user * (NAMES + 1) + NAMES;
    if (of_both && !of_user && !of_client)
        return user * (NAMES + 1) + id;
    return NAMES * (NAMES + 1) + id;
}

static void model_record(struct model *m, int bucket, double amount, int64_t now)
{
    struct model_sample *newest = NULL;
    for (int i = 0; i < m->count; i++)
        if (m->samples[i].bucket == bucket)
            newest = &m->samples[i];
    if (newest == NULL || now - newest->start >= m->window.sample_ms) {
        assert_true(m->count < MODEL_EVENTS);
        newest = &m->samples[m->count++];
        *newest = (struct model_sample){bucket, now, now, 0};
    }
    newest->sum += amount;
    newest->last = now;
}

static int32_t model_wait(struct model *m, int bucket, double limit, int64_t now)
{
    int64_t oldest = now;
    double sum = 0;
    int kept = 0;
    for (int i = 0; i < m->count; i++) {
        struct model_sample s = m->samples[i];
        if (now - s.last >= m->window.samples * m->window.sample_ms)
            continue;
        m->samples[kept++] = s;
        if (s.bucket != bucket)
            continue;
        oldest = MIN(oldest, s.start);
        sum += s.sum;
    }
    m->count = kept;
    int64_t window = now - oldest, full = window / m->window.sample_ms;
    if (full < m->window.samples - 1)
        window += (m->window.samples - 1 - full) * m->window.sample_ms;
    window = MAX(window, INT64_C(1));
    double rate = sum / ((double)window / 1000);
    double wait = rate > limit ? (rate - limit) / limit * (double)window : 0;
    return wait < INT32_MAX ? (int32_t)(wait + 0.5) : INT32_MAX;
}

static const char *const model_names[NAMES] = {"<default>", "a", "b c"};

static void model_entity(int user, int id, char out[64])
{
    static const char *const coded[NAMES] = {"<default>", "a", "b%20c"};
    if (user == NAMES)
        snprintf(out, 64, "clients/%s", coded[id]);
    else if (id == NAMES)
        snprintf(out, 64, "users/%s", coded[user]);
    else
        snprintf(out, 64, "users/%s/clients/%s", coded[user], coded[id]);
}

static void model_change(struct model *m)
{
    int user = chance(NAMES + 1), id = chance(NAMES + 1);
    char entity[64], value[16];
    if (user == NAMES && id == NAMES)
        return;
    m->limits[user][id] = chance(3) == 0 ? 1 + chance(1000) : -1;
    snprintf(value, sizeof(value), "%.0f", m->limits[user][id]);
    model_entity(user, id, entity);
    take_text(entity, "producer_byte_rate", m->limits[user][id] >= 0 ? value : NULL);
}

static void model_charge(struct model *m, int64_t now)
{
    int user = 1 + chance(NAMES - 1), id = 1 + chance(NAMES - 1), bucket = -1;
    double amount = chance(4000), limit = model_limit(m, user, id, &bucket);
    struct quota_client who = client(model_names[user], model_names[id]);
    struct quota_verdict v = quotas_charge(quotas, QUOTA_PRODUCE, who, amount, now);
    if (limit < 0) {
        assert_int_equal(v.wait_ms, 0);
        model_record(m, model_unlimited(m, user, id), amount, now);
        return;
    }
    model_record(m, bucket, amount, now);
    assert_int_equal(v.wait_ms, model_wait(m, bucket, limit, now));
    if (v.wait_ms > 0 && chance(2) == 0) {
        quotas_refund(quotas, QUOTA_PRODUCE, who, amount, now);
        model_record(m, bucket, -amount, now);
    }
}

static void random_use_is_judged_as_by_the_model(void **state)
{
    (void)state;
    static struct model m;
    for (int round = 0; round < 8; round++) {
        m = (struct model){.window = {1 + chance(12), 1 + chance(2000)}};
        for (int u = 0; u <= NAMES; u++)
            for (int c = 0; c <= NAMES; c++)
                m.limits[u][c] = -1;
        struct quotas *usual_ones = quotas;
        quotas = quotas_new(m.window, usual);
        int64_t now = 0;
        for (int step = 0; step < MODEL_STEPS; step++) {
            now += chance(20) == 0 ? chance(30000) : chance(300);
            if (chance(50) == 0)
                model_change(&m);
            model_charge(&m, now);
        }
        quotas_free(quotas);
        quotas = usual_ones;
    }
}

#define WITH_QUOTAS(test) cmocka_unit_test_setup_teardown(test, quotas_set_up, quotas_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flood_waits_as_long_as_with_apache),
        cmocka_unit_test(a_rate_at_its_limit_does_not_wait),
        cmocka_unit_test(a_limit_of_nothing_waits_as_long_as_can_be_said),
        cmocka_unit_test(what_is_surely_within_its_limit_need_not_be_measured),
        cmocka_unit_test(one_sample_is_a_window_too),
        cmocka_unit_test(tokens_may_be_owed_by_one_request),
        WITH_QUOTAS(the_first_that_is_set_counts),
        WITH_QUOTAS(what_is_no_limit_is_ignored),
        WITH_QUOTAS(who_shares_a_limit_shares_its_use),
        WITH_QUOTAS(what_is_taken_back_was_never_there),
        WITH_QUOTAS(what_never_fits_is_said_to_once_it_is_its_turn),
        cmocka_unit_test(what_nobody_is_charged_for_is_told),
        cmocka_unit_test(who_has_no_limit_is_told_of_where_others_have_one),
        cmocka_unit_test(pauses_are_averaged),
        cmocka_unit_test(what_is_changed_is_told_of),
        WITH_QUOTAS(who_has_no_limit_pushes_nobody_out_who_has),
        WITH_QUOTAS(who_owes_changes_is_refused_if_it_knows),
        WITH_QUOTAS(many_names_take_bounded_memory),
        WITH_QUOTAS(random_use_is_judged_as_by_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
