/* Where a broker has its producer ids from: a controller and a ZooKeeper that answer as the test says. */
#include "test.h"

#include "cluster/producer_id_blocks.h"
#include "protocol/msg/allocate_producer_ids.h"
#include "transaction/producer_ids.h"

struct fixture {
    struct loop *loop;
    struct producer_ids *ids;
    struct producer_id_call call;
    int64_t id;
};

static struct link_call *asked; /* of the controller */
static struct zk_batch *sent;   /* to ZooKeeper */

void controller_link_send(struct controller_link *l UNUSED, struct link_call *call)
{
    assert_null(asked);
    asked = call;
}

void zk_submit(struct zk *zk UNUSED, struct zk_batch *b)
{
    assert_null(sent);
    sent = b;
}

static int64_t own_epoch(void *ctx UNUSED)
{
    return 1;
}

static int set_up_with(void **state, bool by_controller)
{
    struct fixture *f = calloc(1, sizeof(*f));
    f->loop = loop_new("control");
    f->ids = producer_ids_new(&(struct producer_ids_options){
        .control = f->loop, .by_controller = by_controller, .broker_id = 3, .broker_epoch = own_epoch});
    asked = NULL;
    sent = NULL;
    *state = f;
    return 0;
}

static int set_up(void **state)
{
    return set_up_with(state, true);
}

static int set_up_old(void **state)
{
    return set_up_with(state, false);
}

/* Who has taken the last id has also asked for more. */
static int tear_down(void **state)
{
    struct fixture *f = *state;
    loop_drain(f->loop);
    if (sent != NULL)
        zk_batch_free(sent);
    producer_ids_free(f->ids);
    loop_free(f->loop);
    free(f);
    return 0;
}

static void on_id(struct producer_id_call *call, int64_t id)
{
    CONTAINER_OF(call, struct fixture, call)->id = id;
}

enum { NONE = -1, UNANSWERED = -2 };

static void ask(struct fixture *f)
{
    f->id = UNANSWERED;
    f->call = (struct producer_id_call){.done = on_id};
    producer_ids_wait(f->ids, &f->call);
}

static void answer_asked(enum kafka_error error)
{
    struct link_call *call = asked;
    asked = NULL;
    call->done(call, error);
}

static void answer_sent(enum zk_result result, const char *value, int32_t version)
{
    struct zk_batch *b = sent;
    assert_non_null(b);
    sent = NULL;
    b->first->result = result;
    b->first->value = value != NULL ? (struct bytes){(const uint8_t *)value, (int32_t)strlen(value)} : b->first->value;
    b->first->stat.version = version;
    b->done(b);
}

static void the_controller_gives_them(void **state)
{
    struct fixture *f = *state;
    ask(f);
    assert_null(sent);
    struct allocate_producer_ids_response *response = asked->response;
    *response = (struct allocate_producer_ids_response){.producer_id_start = 5000, .producer_id_len = 1000};
    answer_asked(ERR_NONE);
    assert_int_equal(f->id, 5000);
}

#define BLOCK(first, last) "{\"version\":1,\"broker\":2,\"block_start\":\"" first "\",\"block_end\":\"" last "\"}"

static void a_controller_before_3_0_has_none_to_give(void **state)
{
    struct fixture *f = *state;
    struct producer_id_block block;
    int64_t id;
    ask(f);
    answer_asked(ERR_UNSUPPORTED_VERSION);
    assert_int_equal(sent->first->kind, ZK_GET);
    answer_sent(ZK_OK, BLOCK("0", "999"), 4);
    assert_int_equal(sent->first->kind, ZK_SET);
    assert_int_equal(sent->first->version, 4);
    answer_sent(ZK_BAD_VERSION, NULL, 0); /* another broker was quicker */
    assert_int_equal(f->id, UNANSWERED);
    answer_sent(ZK_OK, BLOCK("1000", "1999"), 5);
    assert_true(producer_ids_decode(sent->first->data, &block));
    assert_true(block.first == 2000 && block.last == 2999 && block.broker_id == 3);
    answer_sent(ZK_OK, NULL, 6);
    assert_int_equal(f->id, 2000);
    for (int64_t want = 2001; want < 3000; want++) {
        assert_true(producer_ids_draw(f->ids, &id));
        assert_int_equal(id, want);
    }
    assert_false(producer_ids_draw(f->ids, &id));
}

static void an_old_cluster_takes_them_by_itself(void **state)
{
    struct fixture *f = *state;
    ask(f);
    assert_null(asked);
    answer_sent(ZK_NO_NODE, NULL, 0);
    assert_int_equal(sent->first->kind, ZK_CREATE);
    answer_sent(ZK_OK, NULL, 0);
    assert_int_equal(f->id, 0);
}

static void what_is_no_block_gives_none(void **state)
{
    static const char *const bad[] = {"", "{}", BLOCK("1", "9223372036854775807"), BLOCK("-9", "-2"), BLOCK("a", "b")};
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ask(f);
        answer_sent(ZK_OK, bad[i], 1);
        assert_int_equal(f->id, NONE);
        assert_null(sent);
    }
    ask(f);
    answer_sent(ZK_SESSION_EXPIRED, NULL, 0);
    assert_int_equal(f->id, NONE);
    ask(f);
    answer_sent(ZK_NO_NODE, NULL, 0);
    answer_sent(ZK_SESSION_EXPIRED, NULL, 0);
    assert_int_equal(f->id, NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_controller_gives_them, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_controller_before_3_0_has_none_to_give, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_old_cluster_takes_them_by_itself, set_up_old, tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_block_gives_none, set_up_old, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
