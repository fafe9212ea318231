/* The pace of throttled replication. */
#include "test.h"

#include "replica/throttle.h"

enum { SAMPLES = 5, START = 1000000 };

static int set_up(void **state)
{
    static struct throttle t;
    throttle_init(&t, SAMPLES, 1);
    *state = &t;
    return 0;
}

static int tear_down(void **state)
{
    throttle_deinit(*state);
    return 0;
}

static void nothing_is_spent_without_a_limit(void **state)
{
    struct throttle *t = *state;
    throttle_note(t, INT64_MAX / 2, START);
    assert_false(throttle_is_spent(t, START));
}

static void a_burst_is_paid_for_over_time(void **state)
{
    struct throttle *t = *state;
    throttle_set_limit(t, 100);
    throttle_note(t, 350, START);
    assert_true(throttle_is_spent(t, START));
    assert_true(throttle_is_spent(t, START + 3000));
    assert_false(throttle_is_spent(t, START + 3600));
}

static void an_old_sample_is_forgotten(void **state)
{
    struct throttle *t = *state;
    throttle_set_limit(t, 100);
    throttle_note(t, 1000000, START);
    assert_true(throttle_is_spent(t, START + 1000 * SAMPLES - 1));
    assert_false(throttle_is_spent(t, START + 1000 * SAMPLES));
}

static void a_steady_rate_below_the_limit_is_never_spent(void **state)
{
    struct throttle *t = *state;
    throttle_set_limit(t, 1000);
    for (int64_t now = START; now < START + 60000; now += 100) {
        throttle_note(t, 90, now);
        assert_false(throttle_is_spent(t, now));
    }
    throttle_set_limit(t, 800);
    assert_true(throttle_is_spent(t, START + 60000));
}

static void it_is_told_of_for_an_hour_after_it_mattered(void **state)
{
    enum { HOUR = 3600 * 1000 };
    struct throttle *t = *state;
    double rate;
    assert_false(throttle_read(t, START, &rate)); /* nobody has asked yet */
    assert_false(throttle_is_spent(t, START));
    assert_true(throttle_read(t, START, &rate));
    assert_float_equal(rate, 0, 0);
    throttle_note(t, 500, START + 1000);
    assert_true(throttle_read(t, START + 1000, &rate));
    assert_float_equal(rate, 500, 0); /* over one sample at least */
    assert_true(throttle_read(t, START + 3000, &rate));
    assert_float_equal(rate, 250, 0);
    assert_true(throttle_read(t, START + 1000 + HOUR - 1, &rate));
    assert_float_equal(rate, 0, 0);
    assert_false(throttle_is_spent(t, START + HOUR)); /* to ask makes it no younger */
    assert_false(throttle_read(t, START + 1000 + HOUR, &rate));
    throttle_touch(t, START + 1000 + HOUR);
    assert_true(throttle_read(t, START + 1000 + HOUR, &rate));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        CASE(nothing_is_spent_without_a_limit),
        CASE(a_burst_is_paid_for_over_time),
        CASE(an_old_sample_is_forgotten),
        CASE(a_steady_rate_below_the_limit_is_never_spent),
        CASE(it_is_told_of_for_an_hour_after_it_mattered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
