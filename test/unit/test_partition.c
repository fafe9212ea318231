/* A partition as its leader sees it: who is in sync, and what is committed. */
#include "replica_test.h"

#include <errno.h>
#include <sys/syscall.h>

#include "base/clock.h"
#include "log/plog_host.h"
#include "metrics/bean.h"

enum { LAG_MS = 30000 };

struct fixture {
    struct test_replicas replicas;
    struct partition *partition;
    struct waiter waiter;
    int ready;
};

static void note_stirred(struct waiter *waiter)
{
    CONTAINER_OF(waiter, struct fixture, waiter)->ready++;
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    test_replicas_init(&f->replicas);
    f->partition = test_replicas_lead(&f->replicas, "t", 0);
    partition_watch(f->partition, &f->waiter, note_stirred);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    partition_unwait(&f->waiter);
    partition_unref(f->partition);
    test_replicas_deinit(&f->replicas);
    free(f);
    return 0;
}

static enum kafka_error try_to_append(struct fixture *f, int64_t *offset)
{
    struct batch_builder b;
    struct strbuf out = {0};
    struct append_result result;
    struct record r = {.value = {(const uint8_t *)"value", 5}};
    batch_builder_init(&b, CODEC_NONE);
    b.head.producer_id = b.head.producer_epoch = -1;
    batch_builder_add(&b, &r);
    assert_true(batch_builder_finish(&b, CODEC_LEVEL_DEFAULT, &out));
    struct prepared p = {.bytes = {(uint8_t *)out.p, (int32_t)out.len}, .offsets = 1};
    enum kafka_error error = partition_append_in(f->partition, partition_leader_epoch(f->partition), &p, -1, &result);
    batch_builder_deinit(&b);
    strbuf_deinit(&out);
    *offset = result.last_offset;
    return error;
}

static int64_t append(struct fixture *f)
{
    int64_t offset;
    assert_int_equal(try_to_append(f, &offset), ERR_NONE);
    return offset;
}

static int64_t high_watermark(struct fixture *f)
{
    return plog_high_watermark(partition_log(f->partition));
}

static void a_follower_joins_when_it_has_caught_up(void **state)
{
    struct fixture *f = *state;
    int64_t now = clock_mono_ms();
    int32_t all[] = {1, 3, 2};
    struct isr_proposal proposal;
    struct arena a = {0};
    append(f);
    test_replicas_fetch(f->partition, 3, 1, now);
    assert_int_equal(high_watermark(f), 1);
    test_replicas_fetch(f->partition, 2, 0, now);
    assert_int_equal(f->replicas.isr_wanted, 0);
    test_replicas_fetch(f->partition, 2, 1, now);
    assert_int_equal(f->replicas.isr_wanted, 1);
    arena_init(&a, 1 << 20);
    assert_true(partition_isr_proposal(f->partition, &a, &proposal));
    assert_int_equal(proposal.isr.n, 3);
    arena_deinit(&a);
    append(f);
    test_replicas_fetch(f->partition, 3, 2, now);
    assert_int_equal(high_watermark(f), 1);
    partition_isr_decided(f->partition, 0, 1, (struct int_list){all, 3});
    test_replicas_fetch(f->partition, 2, 2, now);
    assert_int_equal(high_watermark(f), 2);
}

/* The controller gives the leader a new epoch whenever somebody leaves the ISR, with records under way. */
static void what_was_appended_is_committed_in_a_later_epoch_too(void **state)
{
    struct fixture *f = *state;
    struct partition *p = f->partition;
    int64_t offset = append(f);
    partition_unref(test_replicas_lead(&f->replicas, "t", 1));
    assert_int_equal(partition_check_committed(p, 0, offset), ERR_REQUEST_TIMED_OUT);
    test_replicas_fetch(p, 3, 1, clock_mono_ms());
    assert_int_equal(partition_check_committed(p, 0, offset), ERR_NONE);
    assert_int_equal(partition_check_committed(p, 2, offset), ERR_NOT_LEADER_OR_FOLLOWER);
    /* In the epoch between, another may have led, and have had other records. */
    partition_unref(test_replicas_lead(&f->replicas, "t", 3));
    assert_int_equal(partition_check_committed(p, 1, offset), ERR_NOT_LEADER_OR_FOLLOWER);
    assert_int_equal(partition_check_committed(p, 3, offset), ERR_NONE);
}

/* Its epoch has ended before that offset, too: but what is left of the log says nothing of it. */
static void what_was_deleted_is_out_of_range_whatever_epoch_it_was_of(void **state)
{
    struct fixture *f = *state;
    struct partition_data data;
    struct partition_read read = {.max_bytes = 1000,
                                  .replica_id = 3,
                                  .broker_epoch = -1,
                                  .current_leader_epoch = -1,
                                  .last_fetched_epoch = 1,
                                  .may_block = true};
    for (int i = 0; i < 5; i++) {
        if (i == 3)
            partition_unref(test_replicas_lead(&f->replicas, "t", 2));
        append(f);
    }
    test_replicas_fetch(f->partition, 3, 5, clock_mono_ms());
    read.offset = 4;
    assert_int_equal(partition_fetch(f->partition, &read, &data), ERR_NONE);
    assert_int_equal(data.diverging_epoch, 0);
    assert_int_equal(data.diverging_end, 3);
    assert_int_equal(plog_advance_start(partition_log(f->partition), 2), ERR_NONE);
    assert_int_equal(partition_fetch(f->partition, &read, &data), ERR_NONE);
    assert_int_equal(data.diverging_epoch, 0);
    read.offset = 1;
    assert_int_equal(partition_fetch(f->partition, &read, &data), ERR_OFFSET_OUT_OF_RANGE);
}

static struct fixture *syncing; /* whose follower fetches while its log is synced */
static bool starved;            /* nothing can be synced for want of a descriptor */

int fsync(int fd)
{
    if (starved) {
        errno = EMFILE;
        return -1;
    }
    struct fixture *f = syncing;
    syncing = NULL;
    if (f != NULL) {
        test_replicas_fetch(f->partition, 3, plog_end_offset(partition_log(f->partition)), clock_mono_ms());
        partition_shrink_isr(f->partition, clock_mono_ms());
        assert_int_equal(high_watermark(f), 1);
    }
    return (int)syscall(SYS_fsync, fd);
}

static void flush_each(struct fixture *f, int64_t messages)
{
    struct topic_config config = plog_config(partition_log(f->partition));
    config.flush_messages = messages;
    plog_configure(partition_log(f->partition), &config);
}

/* With flush.messages: a consumer may not have what the power can still take. */
static void what_is_being_synced_is_not_committed(void **state)
{
    struct fixture *f = *state;
    flush_each(f, 2);
    append(f);
    test_replicas_fetch(f->partition, 3, 1, clock_mono_ms());
    assert_int_equal(high_watermark(f), 1);
    syncing = f;
    append(f);
    assert_null(syncing);
    assert_int_equal(high_watermark(f), 2);
}

/* Its producer is told of an error, and asks again; whatever else happens meanwhile. */
static void what_could_not_be_synced_is_not_committed(void **state)
{
    struct fixture *f = *state;
    int64_t offset;
    flush_each(f, 1);
    append(f);
    test_replicas_fetch(f->partition, 3, 1, clock_mono_ms());
    assert_int_equal(high_watermark(f), 1);
    starved = true;
    assert_int_equal(try_to_append(f, &offset), ERR_KAFKA_STORAGE_ERROR);
    test_replicas_fetch(f->partition, 3, 2, clock_mono_ms());
    partition_shrink_isr(f->partition, clock_mono_ms());
    assert_int_equal(high_watermark(f), 1);
    starved = false;
    flush_each(f, INT64_MAX); /* nobody asks for it any more */
    assert_int_equal(try_to_append(f, &offset), ERR_NONE);
    assert_int_equal(high_watermark(f), 2);
    test_replicas_fetch(f->partition, 3, 3, clock_mono_ms());
    assert_int_equal(high_watermark(f), 3);
}

static void a_new_leader_does_not_know_the_watermark_at_once(void **state)
{
    struct fixture *f = *state;
    assert_true(partition_knows_watermark(f->partition));
    append(f);
    assert_true(partition_knows_watermark(f->partition)); /* it has led from there on */
    partition_unref(test_replicas_lead(&f->replicas, "t", 1));
    assert_false(partition_knows_watermark(f->partition));
    test_replicas_fetch(f->partition, 3, 1, clock_mono_ms());
    assert_true(partition_knows_watermark(f->partition));
}

/* Nothing else may come that would move it: the others have told all that they have. */
static void a_refused_follower_is_not_waited_for(void **state)
{
    struct fixture *f = *state;
    int64_t long_ago = clock_mono_ms() - 2 * LAG_MS;
    test_replicas_fetch(f->partition, 2, 0, long_ago);
    assert_int_equal(f->replicas.isr_wanted, 1);
    int64_t offset = append(f);
    test_replicas_fetch(f->partition, 3, 1, clock_mono_ms());
    assert_int_equal(high_watermark(f), 0);
    assert_int_equal(partition_check_committed(f->partition, 0, offset), ERR_REQUEST_TIMED_OUT);
    f->ready = 0;
    partition_isr_refused(f->partition, 0);
    assert_int_equal(high_watermark(f), 1);
    assert_int_equal(f->ready, 1);
    assert_int_equal(partition_check_committed(f->partition, 0, offset), ERR_NONE);
}

static void who_could_join_is_waited_for_as_long_as_it_may_lag(void **state)
{
    struct fixture *f = *state;
    int64_t now = clock_mono_ms();
    test_replicas_fetch(f->partition, 2, 0, now);
    append(f);
    test_replicas_fetch(f->partition, 3, 1, now);
    partition_isr_refused(f->partition, 0);
    assert_int_equal(high_watermark(f), 0);
    f->ready = 0;
    partition_shrink_isr(f->partition, now + LAG_MS);
    assert_int_equal(high_watermark(f), 0);
    partition_shrink_isr(f->partition, now + LAG_MS + 1000);
    assert_int_equal(high_watermark(f), 1);
    assert_int_equal(f->ready, 1);
}

static void one_that_lags_is_to_leave(void **state)
{
    struct fixture *f = *state;
    int64_t now = clock_mono_ms();
    int32_t all[] = {1, 2, 3}, left[] = {1, 2};
    test_replicas_fetch(f->partition, 2, 0, now); /* wants to join, and does */
    partition_isr_decided(f->partition, 0, 1, (struct int_list){all, 3});
    append(f);
    test_replicas_fetch(f->partition, 2, 1, now + LAG_MS + 1000);
    f->replicas.isr_wanted = 0;
    partition_shrink_isr(f->partition, now + LAG_MS + 1000);
    assert_int_equal(f->replicas.isr_wanted, 1);
    assert_int_equal(high_watermark(f), 0);
    partition_isr_decided(f->partition, 0, 2, (struct int_list){left, 2});
    partition_shrink_isr(f->partition, now + LAG_MS + 1000);
    assert_int_equal(f->replicas.isr_wanted, 1);
    assert_int_equal(high_watermark(f), 1);
}

/* So that the controller can tell a broker that was restarted since from the one that had all. */
static void who_is_to_join_is_named_with_the_epoch_of_its_session(void **state)
{
    struct fixture *f = *state;
    struct pulse *pulse = pulse_new();
    struct partition_read read = {.replica_id = 2, .broker_epoch = 77, .last_fetched_epoch = -1};
    struct isr_proposal proposal;
    struct arena a;
    arena_init(&a, 1 << 20);
    pulse_beat(pulse, 77, clock_mono_ms());
    partition_note_fetch(f->partition, &read, 0, pulse, clock_mono_ms());
    assert_true(partition_isr_proposal(f->partition, &a, &proposal));
    assert_int_equal(proposal.isr.n, 3);
    assert_int_equal(proposal.isr.v[2], 2);
    assert_int_equal(proposal.broker_epochs[0], -1); /* this broker itself */
    assert_int_equal(proposal.broker_epochs[1], -1); /* has not fetched */
    assert_int_equal(proposal.broker_epochs[2], 77);
    partition_pulse_gone(f->partition, pulse);
    pulse_unref(pulse);
    assert_true(partition_isr_proposal(f->partition, &a, &proposal));
    assert_int_equal(proposal.broker_epochs[2], 77);
    read.broker_epoch = 78; /* it is back, and there is no room for a session */
    partition_note_fetch(f->partition, &read, 0, NULL, clock_mono_ms());
    assert_true(partition_isr_proposal(f->partition, &a, &proposal));
    assert_int_equal(proposal.broker_epochs[2], 78);
    arena_deinit(&a);
}

/* As somebody may write them into ZooKeeper. */
static void odd_lists_of_replicas_are_made_possible(void **state)
{
    struct fixture *f = *state;
    int32_t replicas[] = {1, 2, 2, 3}, isr[] = {9, 3, 3}, all[] = {3, 1, 2}, decided[] = {2, 3};
    struct leader_order order = {.topic = STR_LIT("t"),
                                 .controller_epoch = 1,
                                 .leader = SELF,
                                 .leader_epoch = 1,
                                 .isr = {isr, 3},
                                 .replicas = {replicas, 4}};
    struct partition_read read = {.offset = 1, .replica_id = 2, .current_leader_epoch = 1, .last_fetched_epoch = -1};
    struct isr_proposal proposal;
    struct arena a;
    arena_init(&a, 1 << 20);
    assert_int_equal(replica_apply_leader(f->replicas.manager, &order), ERR_NONE);
    append(f);
    partition_note_fetch(f->partition, &read, 0, NULL, clock_mono_ms());
    read.replica_id = 3;
    partition_note_fetch(f->partition, &read, 0, NULL, clock_mono_ms());
    assert_int_equal(high_watermark(f), 1);
    assert_true(partition_isr_proposal(f->partition, &a, &proposal));
    assert_true(int_list_eq(proposal.isr, (struct int_list){all, 3}));
    partition_isr_decided(f->partition, 1, 1, (struct int_list){decided, 2}); /* without its leader */
    append(f);
    read.offset = 2;
    partition_note_fetch(f->partition, &read, 0, NULL, clock_mono_ms());
    read.replica_id = 2;
    partition_note_fetch(f->partition, &read, 0, NULL, clock_mono_ms());
    assert_int_equal(high_watermark(f), 2);
    arena_deinit(&a);
}

static void a_partition_with_a_negative_number_is_none(void **state)
{
    struct fixture *f = *state;
    int32_t self = SELF;
    struct leader_order order = {.topic = STR_LIT("t"),
                                 .index = -1,
                                 .controller_epoch = 1,
                                 .leader = SELF,
                                 .leader_epoch = 1,
                                 .isr = {&self, 1},
                                 .replicas = {&self, 1},
                                 .is_new = true};
    assert_int_equal(replica_apply_leader(f->replicas.manager, &order), ERR_UNKNOWN_TOPIC_OR_PARTITION);
}

/* Of another leader, in the epoch that there is or a later one. */
static enum kafka_error order_with_id(struct fixture *f, int32_t leader_epoch, struct uuid id)
{
    int32_t replicas[] = {1, 2, 3}, isr[] = {1, 3};
    struct leader_order order = {.topic = STR_LIT("t"),
                                 .topic_id = id,
                                 .controller_epoch = 1,
                                 .leader = 3,
                                 .leader_epoch = leader_epoch,
                                 .isr = {isr, 2},
                                 .replicas = {replicas, 3}};
    return replica_apply_leader(f->replicas.manager, &order);
}

/* It comes with the first controller that knows of ids, which repeats what there is; and goes with one that does not.
 */
static void a_topics_id_is_taken_when_it_comes(void **state)
{
    struct fixture *f = *state;
    const struct uuid id = {{1, 2, 3}}, other = {{4}}, none = {{0}};
    assert_int_equal(order_with_id(f, 1, none), ERR_NONE);
    assert_true(uuid_is_zero(partition_topic_id(f->partition)));
    assert_int_equal(order_with_id(f, 0, id), ERR_STALE_CONTROLLER_EPOCH);
    assert_true(uuid_is_zero(partition_topic_id(f->partition)));
    assert_int_equal(order_with_id(f, 1, id), ERR_NONE);
    assert_true(uuid_eq(partition_topic_id(f->partition), id));
    assert_true(uuid_eq(partition_role(f->partition).topic_id, id));
    assert_int_equal(order_with_id(f, 1, id), ERR_STALE_CONTROLLER_EPOCH);
    assert_int_equal(order_with_id(f, 1, other), ERR_INCONSISTENT_TOPIC_ID);
    assert_int_equal(order_with_id(f, 2, other), ERR_INCONSISTENT_TOPIC_ID);
    assert_int_equal(order_with_id(f, 1, none), ERR_NONE);
    assert_true(uuid_eq(partition_topic_id(f->partition), id));
    assert_true(uuid_is_zero(partition_role(f->partition).topic_id));
    assert_int_equal(order_with_id(f, 2, id), ERR_NONE);
    assert_true(uuid_eq(partition_role(f->partition).topic_id, id));
}

static void the_ids_of_an_order_are_written_ahead(void **state)
{
    struct fixture *f = *state;
    const struct uuid id = {{1, 2, 3}};
    int32_t replicas[] = {1, 2, 3};
    struct leader_order orders[4];
    for (int32_t i = 0; i < 4; i++) {
        orders[i] = (struct leader_order){.topic = STR_LIT("t"),
                                          .index = i,
                                          .leader = 3,
                                          .leader_epoch = 1,
                                          .isr = {replicas, 3},
                                          .replicas = {replicas, 3},
                                          .is_new = true};
        assert_int_equal(replica_apply_leader(f->replicas.manager, &orders[i]), ERR_NONE);
        orders[i].topic_id = id;
    }
    orders[3].leader_epoch = 0;
    replica_make_logs(f->replicas.manager, orders, 4);
    for (int32_t i = 0; i < 4; i++) {
        struct partition *p = replica_partition(f->replicas.manager, STR_LIT("t"), i);
        assert_true(uuid_eq(partition_topic_id(p), i < 3 ? id : UUID_ZERO));
        partition_unref(p);
    }
}

/* ---- What is counted of its topic ---- */

static bool note_meter(void *ctx, const struct bean *b)
{
    struct bean_attribute a[BEAN_MOST_ATTRIBUTES];
    struct strbuf *out = ctx;
    bean_read(b, a);
    if (bean_key_text(b, "topic").p != NULL)
        strbuf_printf(out, "%.*s %.0f ", STR_ARGS(bean_key_text(b, "name")), bean_value_number(&a[0].value));
    return true;
}

static void assert_told(struct metrics *m, const char *expected)
{
    static const struct bean_pattern counts = {.domain = STR_LIT("kafka.server"),
                                               .keys = {{STR_LIT("type"), STR_LIT("BrokerTopicMetrics")}},
                                               .key_count = 1,
                                               .more_keys = true};
    struct strbuf told = {0};
    strbuf_puts(&told, "");
    metrics_visit(m, &counts, note_meter, &told);
    assert_string_equal(told.p, expected);
    strbuf_deinit(&told);
}

static void order_leader(struct test_replicas *r, int32_t index, int32_t epoch, int32_t leader)
{
    int32_t replicas[] = {1, 2, 3};
    struct leader_order order = {.topic = STR_LIT("t"),
                                 .index = index,
                                 .leader = leader,
                                 .leader_epoch = epoch,
                                 .isr = {replicas, 3},
                                 .replicas = {replicas, 3},
                                 .is_new = true};
    assert_int_equal(replica_apply_leader(r->manager, &order), ERR_NONE);
}

static void what_is_counted_of_a_topic_outlasts_its_leader(void **state UNUSED)
{
    enum { OTHER = 2 };
    struct metrics *m = metrics_new(clock_mono_us);
    struct test_replicas r;
    test_replicas_init_counted(&r, m);
    order_leader(&r, 0, 0, OTHER);
    struct partition *p = replica_partition(r.manager, STR_LIT("t"), 0);
    partition_mark(p, TOPIC_BYTES_OUT, 5); /* to a consumer that is nearer to this follower */
    assert_told(m, "BytesOutPerSec 5 ");
    for (int32_t epoch = 1; epoch < 100; epoch += 2) {
        order_leader(&r, 0, epoch, SELF);
        partition_mark(p, TOPIC_MESSAGES_IN, 1);
        order_leader(&r, 0, epoch + 1, OTHER);
        assert_told(m, "BytesOutPerSec 5 ");
    }
    order_leader(&r, 1, 0, SELF);
    assert_told(m, "MessagesInPerSec 50 BytesOutPerSec 5 "); /* of the topic */
    assert_int_equal(replica_stop(r.manager, STR_LIT("t"), 1, -1, true), ERR_NONE);
    assert_told(m, "BytesOutPerSec 5 ");
    assert_int_equal(replica_stop(r.manager, STR_LIT("t"), 0, -1, true), ERR_NONE);
    partition_mark(p, TOPIC_BYTES_OUT, 5);
    assert_told(m, "");
    partition_unref(p);
    order_leader(&r, 0, 200, SELF);
    assert_told(m, "");
    test_replicas_deinit(&r);
    metrics_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        CASE(a_follower_joins_when_it_has_caught_up),
        CASE(what_was_appended_is_committed_in_a_later_epoch_too),
        CASE(what_was_deleted_is_out_of_range_whatever_epoch_it_was_of),
        CASE(what_is_being_synced_is_not_committed),
        CASE(what_could_not_be_synced_is_not_committed),
        CASE(a_new_leader_does_not_know_the_watermark_at_once),
        CASE(a_refused_follower_is_not_waited_for),
        CASE(who_could_join_is_waited_for_as_long_as_it_may_lag),
        CASE(one_that_lags_is_to_leave),
        CASE(odd_lists_of_replicas_are_made_possible),
        CASE(a_partition_with_a_negative_number_is_none),
        CASE(a_topics_id_is_taken_when_it_comes),
        CASE(the_ids_of_an_order_are_written_ahead),
        CASE(who_is_to_join_is_named_with_the_epoch_of_its_session),
        cmocka_unit_test(what_is_counted_of_a_topic_outlasts_its_leader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
