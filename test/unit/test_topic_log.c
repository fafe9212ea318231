/* How coordinators append: in turn, on their loop or by a worker, and when they are answered. */
#include "replica_test.h"

#include "base/clock.h"
#include "coordinator/topic_log.h"
#include "log/plog_host.h"

enum { LONG_US = 50000, EPOCH = 0, FOLLOWER = 3 };

/* The clock of this program goes on by itself at each look, as far as the test wants: so slow are disks. */
static int64_t time_us = 1000000000, step_us;

int64_t clock_mono_us(void)
{
    return time_us += step_us;
}

int64_t clock_mono_ms(void)
{
    return clock_mono_us() / 1000;
}

int64_t clock_wall_ms(void)
{
    return 1700000000000 + clock_mono_ms();
}

struct fixture {
    struct test_replicas replicas;
    struct loop *loop;
    struct wake_queue *wakes;
    struct workers *workers;
    struct topic_log *topic;
    struct state_log log;
    struct partition *partition;
    int answered;
};

struct asked {
    struct state_append append;
    struct fixture *f;
    int rank; /* among those that were answered; 0: not yet */
    enum kafka_error error;
    struct asked *then; /* to be asked for from within the answer */
};

/* The workers have stopped: who gives them something to do does it himself, at once, which a test can see. */
static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    step_us = 0;
    test_replicas_init(&f->replicas);
    f->partition = test_replicas_lead(&f->replicas, "__consumer_offsets", EPOCH);
    f->loop = loop_new("coordinator");
    f->wakes = wake_queue_new(f->loop);
    f->workers = workers_new("worker", 1);
    workers_stop(f->workers);
    f->topic = topic_log_new(&(struct topic_log_options){"__consumer_offsets", f->loop, f->wakes, f->workers});
    topic_log_set_replicas(f->topic, f->replicas.manager);
    f->log = topic_log_seam(f->topic);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    topic_log_free(f->topic);
    workers_free(f->workers);
    wake_queue_free(f->wakes);
    loop_free(f->loop);
    partition_unref(f->partition);
    test_replicas_deinit(&f->replicas);
    free(f);
    return 0;
}

static void on_done(struct state_append *append, enum kafka_error error);

static void ask_in(struct asked *a, int32_t epoch, bool leader_only)
{
    struct batch_builder b;
    struct strbuf batch = {0};
    struct record r = {.key = {(const uint8_t *)"key", 3}, .value = {(const uint8_t *)"value", 5}};
    batch_builder_init(&b, CODEC_NONE);
    batch_builder_add(&b, &r);
    assert_true(batch_builder_finish(&b, CODEC_LEVEL_DEFAULT, &batch));
    batch_builder_deinit(&b);
    a->append = (struct state_append){.done = on_done, .timeout_ms = 5000, .leader_only = leader_only, .offset = -1};
    a->f->log.append(a->f->log.ctx, 0, epoch, &batch, &a->append);
    assert_int_equal(a->rank, 0); /* never from within */
}

static void ask(struct asked *a)
{
    ask_in(a, EPOCH, true);
}

static void on_done(struct state_append *append, enum kafka_error error)
{
    struct asked *a = CONTAINER_OF(append, struct asked, append);
    a->error = error;
    a->rank = ++a->f->answered;
    if (a->then != NULL)
        ask(a->then);
}

/* All that the loop has to do now. */
static void run_loop(struct fixture *f)
{
    while (loop_drain(f->loop))
        ;
}

static int64_t log_end(const struct fixture *f)
{
    return plog_end_offset(partition_log(f->partition));
}

static void assert_stored(const struct asked *a, int rank, int64_t offset)
{
    assert_int_equal(a->error, ERR_NONE);
    assert_int_equal(a->rank, rank);
    assert_int_equal(a->append.offset, offset);
}

static void appends_are_done_on_the_loop_in_order(void **state)
{
    struct fixture *f = *state;
    struct asked a = {.f = f}, b = {.f = f}, c = {.f = f}, d = {.f = f};
    a.then = &d;
    ask(&a);
    ask(&b);
    ask(&c);
    assert_int_equal(log_end(f), 0);
    run_loop(f);
    assert_stored(&a, 1, 0);
    assert_stored(&b, 2, 1);
    assert_stored(&c, 3, 2);
    assert_stored(&d, 4, 3);
}

static void what_follows_a_slow_append_is_a_workers(void **state)
{
    struct fixture *f = *state;
    struct asked slow = {.f = f}, quick = {.f = f}, next = {.f = f};
    step_us = LONG_US;
    ask(&slow);
    run_loop(f);
    assert_stored(&slow, 1, 0);
    step_us = 0;
    ask(&quick);
    assert_int_equal(log_end(f), 2); /* a worker has done it already, and its answer comes by the loop */
    run_loop(f);
    assert_stored(&quick, 2, 1);
    ask(&next);
    assert_int_equal(log_end(f), 2);
    run_loop(f);
    assert_stored(&next, 3, 2);
}

/* However quick the disk has been. */
static void what_will_wait_for_the_disk_is_a_workers_at_once(void **state)
{
    struct fixture *f = *state;
    struct topic_config config = plog_config(partition_log(f->partition));
    struct asked first = {.f = f}, second = {.f = f}, third = {.f = f};
    ask(&first);
    run_loop(f);
    config.flush_messages = 1;
    plog_configure(partition_log(f->partition), &config);
    ask(&second);
    ask(&third);
    loop_drain(f->loop);
    assert_int_equal(log_end(f), 2);
    assert_int_equal(second.rank, 0); /* a worker has done it, and its answer comes by the loop */
    run_loop(f);
    assert_stored(&first, 1, 0);
    assert_stored(&second, 2, 1);
    assert_stored(&third, 3, 2);
}

static void order_is_kept_when_workers_take_over(void **state)
{
    struct fixture *f = *state;
    struct asked a = {.f = f}, b = {.f = f}, c = {.f = f}, d = {.f = f};
    b.then = &d;
    step_us = LONG_US;
    ask(&a);
    ask(&b);
    ask(&c);
    run_loop(f);
    assert_stored(&a, 1, 0);
    assert_stored(&b, 2, 1);
    assert_stored(&c, 3, 2);
    assert_stored(&d, 4, 3);
}

static void one_that_is_for_all_in_sync_waits_for_them(void **state)
{
    struct fixture *f = *state;
    struct asked a = {.f = f};
    ask_in(&a, EPOCH, false);
    run_loop(f);
    assert_int_equal(log_end(f), 1);
    assert_int_equal(a.rank, 0);
    test_replicas_fetch(f->partition, FOLLOWER, 1, clock_mono_ms());
    run_loop(f);
    assert_stored(&a, 1, 0);
}

static void another_epoch_is_refused(void **state)
{
    struct fixture *f = *state;
    struct asked a = {.f = f};
    ask_in(&a, EPOCH + 1, false);
    run_loop(f);
    assert_int_equal(a.rank, 1);
    assert_int_equal(a.error, ERR_NOT_LEADER_OR_FOLLOWER);
    assert_int_equal(a.append.offset, -1);
    assert_int_equal(log_end(f), 0);
}

/* The controller raises the epoch of all that has a replica on a broker that leaves. */
static void an_earlier_epoch_of_the_same_leader_is_none(void **state)
{
    struct fixture *f = *state;
    struct asked before = {.f = f}, after = {.f = f};
    partition_unref(test_replicas_lead(&f->replicas, "__consumer_offsets", EPOCH + 1));
    ask(&before);
    run_loop(f);
    assert_stored(&before, 1, 0);
    /* In the epoch between, another may have led. */
    partition_unref(test_replicas_lead(&f->replicas, "__consumer_offsets", EPOCH + 3));
    ask(&after);
    run_loop(f);
    assert_int_equal(after.error, ERR_NOT_LEADER_OR_FOLLOWER);
    assert_int_equal(log_end(f), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        CASE(appends_are_done_on_the_loop_in_order),
        CASE(what_follows_a_slow_append_is_a_workers),
        CASE(what_will_wait_for_the_disk_is_a_workers_at_once),
        CASE(order_is_kept_when_workers_take_over),
        CASE(one_that_is_for_all_in_sync_waits_for_them),
        CASE(another_epoch_is_refused),
        CASE(an_earlier_epoch_of_the_same_leader_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
