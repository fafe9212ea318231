/* Who gets one of the few places for fetch sessions, and whose place it was. */
#include "test.h"

#include "base/clock.h"
#include "protocol/msg/fetch.h"
#include "replica/fetch_session.h"

/* ---- A clock of our own ---- */

static int64_t now_ms = 1000000;

int64_t clock_wall_ms(void)
{
    return now_ms;
}

int64_t clock_mono_ms(void)
{
    return now_ms;
}

int64_t clock_mono_us(void)
{
    return now_ms * 1000;
}

/* ---- Asking ---- */

enum { SLOTS = 2, VERSION = 11, CONSUMER = -1, FOLLOWER = 3, SETTLED_MS = 120001 };

static int set_up(void **state)
{
    *state = fetch_sessions_new(SLOTS, NULL);
    return 0;
}

static int tear_down(void **state)
{
    fetch_sessions_free(*state);
    return 0;
}

static void name_topic(struct arena *a, struct fetch_request *r, int partitions)
{
    ARRAY_MAKE(a, r->topics, 1);
    fetch_topic_init(&r->topics.items[0]);
    r->topics.items[0].topic = STR_LIT("t");
    ARRAY_MAKE(a, r->topics.items[0].partitions, partitions);
    for (int i = 0; i < partitions; i++) {
        fetch_partition_init(&r->topics.items[0].partitions.items[i]);
        r->topics.items[0].partitions.items[i].partition = i;
    }
}

/* The id of the session that it got; 0: none. */
static int32_t begin(struct fetch_sessions *f, int32_t replica, int partitions)
{
    struct arena a = {0};
    struct fetch_request r;
    struct fetch_session *s;
    struct fetch_item *items;
    int32_t count;
    fetch_request_init(&r);
    r.replica_id = replica;
    r.session_epoch = 0;
    name_topic(&a, &r, partitions);
    assert_int_equal(fetch_session_begin(f, VERSION, &r, &a, &s, &items, &count), ERR_NONE);
    assert_int_equal(count, partitions);
    int32_t id = fetch_session_id(s);
    fetch_session_done(f, s);
    arena_deinit(&a);
    return id;
}

static int32_t consume(struct fetch_sessions *f, int partitions)
{
    return begin(f, CONSUMER, partitions);
}

/* The next request of a session, which lets go of partition 0, or of nothing. */
static void go_on(struct fetch_sessions *f, int32_t id, int32_t epoch, bool forgets)
{
    struct arena a = {0};
    int32_t zero = 0;
    struct fetch_request r;
    struct fetch_forgotten_topic t;
    struct fetch_session *s;
    struct fetch_item *items;
    int32_t count;
    fetch_request_init(&r);
    fetch_forgotten_topic_init(&t);
    t.topic = STR_LIT("t");
    t.partitions.items = &zero;
    t.partitions.len = 1;
    r.replica_id = CONSUMER;
    r.session_id = id;
    r.session_epoch = epoch;
    r.forgotten_topics_data.items = &t;
    r.forgotten_topics_data.len = forgets;
    assert_int_equal(fetch_session_begin(f, VERSION, &r, &a, &s, &items, &count), ERR_NONE);
    fetch_session_done(f, s);
    arena_deinit(&a);
}

static void end(struct fetch_sessions *f, int32_t id)
{
    struct arena a = {0};
    struct fetch_request r;
    struct fetch_session *s;
    struct fetch_item *items;
    int32_t count;
    fetch_request_init(&r);
    r.session_id = id;
    r.session_epoch = -1;
    assert_int_equal(fetch_session_begin(f, VERSION, &r, &a, &s, &items, &count), ERR_NONE);
    assert_null(s);
    arena_deinit(&a);
}

/* ---- Tests ---- */

static void assert_refused(struct fetch_sessions *f, int partitions)
{
    for (int i = 0; i < 3; i++) /* the second time nobody looks */
        assert_int_equal(consume(f, partitions), 0);
}

/* Both places are taken by consumers who fetch, and are settled soon. */
static void take_both(struct fetch_sessions *f, int32_t ids[2])
{
    ids[0] = consume(f, 2);
    ids[1] = consume(f, 3);
    assert_true(ids[0] != 0 && ids[1] != 0);
}

static void settle(struct fetch_sessions *f, const int32_t ids[2])
{
    now_ms += SETTLED_MS / 2;
    go_on(f, ids[0], 1, false);
    go_on(f, ids[1], 1, false);
    assert_refused(f, 9);
    now_ms += SETTLED_MS - SETTLED_MS / 2;
}

static void who_is_settled_goes_for_who_is_worth_more(void **state)
{
    int32_t ids[2];
    take_both(*state, ids);
    assert_refused(*state, 9);
    settle(*state, ids);
    assert_refused(*state, 2);
    assert_int_not_equal(consume(*state, 3), 0);
    assert_refused(*state, 3); /* the newcomer is not settled, and the other worth as much */
    go_on(*state, ids[1], 2, false);
}

static void a_place_that_is_given_up_is_free_at_once(void **state)
{
    int32_t ids[2];
    take_both(*state, ids);
    assert_refused(*state, 1);
    end(*state, ids[1]);
    assert_int_not_equal(consume(*state, 1), 0);
    assert_refused(*state, 1);
}

static void who_asks_for_less_is_worth_less(void **state)
{
    int32_t ids[2];
    take_both(*state, ids);
    settle(*state, ids);
    assert_refused(*state, 2);
    go_on(*state, ids[1], 2, true);
    go_on(*state, ids[1], 3, false);
    assert_refused(*state, 2);
    go_on(*state, ids[0], 2, true);
    assert_int_not_equal(consume(*state, 2), 0);
}

static void who_is_not_heard_of_for_long_goes(void **state)
{
    int32_t ids[2];
    take_both(*state, ids);
    now_ms += SETTLED_MS / 2;
    go_on(*state, ids[0], 1, false);
    assert_refused(*state, 1);
    now_ms += SETTLED_MS - SETTLED_MS / 2;
    assert_int_not_equal(consume(*state, 1), 0);
    assert_refused(*state, 1);
    go_on(*state, ids[0], 2, false);
}

static void followers_do_not_wait_for_consumers(void **state)
{
    int32_t ids[2];
    take_both(*state, ids);
    assert_refused(*state, 9);
    assert_int_not_equal(begin(*state, FOLLOWER, 1), 0);
    assert_refused(*state, 1);
    assert_int_not_equal(begin(*state, FOLLOWER, 1), 0);
    assert_int_equal(begin(*state, FOLLOWER, 9), 0);
    assert_refused(*state, 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        CASE(who_is_settled_goes_for_who_is_worth_more), CASE(a_place_that_is_given_up_is_free_at_once),
        CASE(who_asks_for_less_is_worth_less),           CASE(who_is_not_heard_of_for_long_goes),
        CASE(followers_do_not_wait_for_consumers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
