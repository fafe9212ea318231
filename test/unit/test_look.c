/* What a look at the cluster keeps: of groups that have to do with many topics. */
#include "test.h"

#include <stdio.h>

#include "base/clock.h"
#include "monitor/look.h"

/* Anybody may make up a group's names: as many as fit into a request. */
static void a_group_may_name_many_topics(void **state)
{
    (void)state;
    enum { MANY = 150000 };
    struct view v = {0};
    struct look l = {.view = &v};
    struct look_group g = {0};
    int64_t begin = clock_mono_ms();
    for (int again = 1; again <= 2; again++) {
        for (int i = 0; i < MANY; i++) {
            char name[16];
            snprintf(name, sizeof(name), "t%d", i);
            struct look_group_topic *t = look_group_topic(&l, &g, str_of(name));
            assert_true(str_eq(t->name, str_of(name)));
            assert_int_equal(++t->members, again);
        }
        assert_int_equal(g.topic_count, MANY);
    }
    assert_true(str_is(g.topics[0].name, "t0") && str_is(g.topics[MANY - 1].name, "t149999"));
    assert_true(clock_mono_ms() - begin < 10000); /* one by one it takes minutes */
    arena_deinit(&l.memory);
}

static void a_topic_may_have_no_name(void **state)
{
    (void)state;
    struct view v = {0};
    struct look l = {.view = &v};
    struct look_group g = {0};
    struct look_group_topic *t = look_group_topic(&l, &g, STR_LIT(""));
    assert_null(t->topic);
    assert_ptr_equal(look_group_topic(&l, &g, STR_LIT("")), t);
    arena_deinit(&l.memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_group_may_name_many_topics),
        cmocka_unit_test(a_topic_may_have_no_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
