/* The controller, with a ZooKeeper in memory and brokers that write down what they are told. */
#include "controller_test.h"

/* ---- Elections ---- */

struct electing {
    struct elect_call call;
    bool answered;
    enum kafka_error error;
};

static void on_elect_answer(struct controller_call *call, enum kafka_error error)
{
    struct electing *e = CONTAINER_OF(CONTAINER_OF(call, struct elect_call, call), struct electing, call);
    e->answered = true;
    e->error = error;
}

static bool too_many_batches(struct fixture *f)
{
    return f->batches > 1000 || f->quiet >= QUIET_TURNS;
}

static void test_a_partition_that_is_named_twice_is_elected_once(void **state)
{
    struct fixture *f = *state;
    struct arena a = {0};
    struct elect_item items[] = {{.topic = str_of("t")}, {.topic = str_of("t")}};
    struct electing e = {.call = {.call.done = on_elect_answer, .items = items, .count = 2, .arena = &a}};
    put_topic(f, "t", 1, 1, 2);
    put_state(f, "t", 0, 2, 1);
    take_office(f, 2);
    const struct ctl_partition *p = context_partition(f->c, str_of("t"), 0);
    controller_elect(f->c, &e.call);
    run_until(f, too_many_batches);
    assert_true(e.answered);
    assert_int_equal(items[0].error, ERR_NONE);
    assert_int_equal(items[1].error, ERR_NONE);
    assert_int_equal(p->leadership.leader, 1);
    assert_int_equal(p->leadership.leader_epoch, 1);
    arena_deinit(&a);
}

static void test_a_list_of_partitions_names_one_twice(void **state)
{
    struct fixture *f = *state;
    put_topic(f, "t", 1, 1, 2);
    put_state(f, "t", 0, 2, 1);
    take_office(f, 2);
    const struct ctl_partition *p = context_partition(f->c, str_of("t"), 0);
    put_text(f, ZNODE_PREFERRED_ELECTION,
             "{\"version\":1,\"partitions\":[{\"topic\":\"t\",\"partition\":0},{\"topic\":\"t\",\"partition\":0}]}");
    controller_changed(f->c, ZNODE_PREFERRED_ELECTION);
    run_until(f, too_many_batches);
    assert_false(is_there(f, ZNODE_PREFERRED_ELECTION));
    assert_int_equal(p->leadership.leader, 1);
}

/* Somebody writes the state again and again, between our reading and our writing it. */
static enum zk_result rewrite_state(struct fixture *f, const struct zk_op *op)
{
    struct znode *n = znode(f, op->path);
    if (op->kind == ZK_SET && n != NULL && strstr(op->path, "/state") != NULL)
        n->version++;
    return ZK_OK;
}

static void test_a_state_that_never_rests_is_given_up(void **state)
{
    struct fixture *f = *state;
    take_office(f, 2);
    make_topic(f, "t", 1, 1, 2);
    make_topic(f, "u", 1, 2, 1);
    f->before = rewrite_state;
    znode_remove(f, ZNODE_BROKER_IDS "/2");
    controller_changed(f->c, ZNODE_BROKER_IDS);
    f->batches = 0;
    run_until(f, too_many_batches);
    assert_null(f->c->running);
    assert_true(f->batches < 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_partition_that_is_named_twice_is_elected_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_list_of_partitions_names_one_twice, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_state_that_never_rests_is_given_up, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
