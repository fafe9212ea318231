/* The controller, with a ZooKeeper in memory and brokers that write down what they are told. */
#include "controller_test.h"

#include "cluster/config_watch.h"
#include "cluster/view.h"
#include "controller/admin.h"
#include "controller/placement.h"

static int orders_of(const struct fixture *f, int32_t broker, const char *topic, int32_t partition)
{
    int count = 0;
    for (const struct told *t = f->told; t != NULL; t = t->next)
        for (int32_t i = 0; t->broker == broker && t->key == API_LEADER_AND_ISR && i < t->orders.topic_states.len;
             i++) {
            const struct leader_and_isr_topic_state *told = &t->orders.topic_states.items[i];
            for (int32_t k = 0; str_is(told->topic_name, topic) && k < told->partition_states.len; k++)
                count += told->partition_states.items[k].partition_index == partition;
        }
    return count;
}

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
    struct elect_item items[] = {{.topic = str_of("t")}, {.topic = str_of("t")}};
    struct electing e = {.call = {.call.done = on_elect_answer, .items = items, .count = 2}};
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

/* ---- Lists that clients send ---- */

enum { LONG_LIST = 2000000 }; /* to compare each with each would take half an hour */

/* All are different but for the last two. */
static struct int_list long_list(struct arena *a)
{
    struct int_list list = {ARENA_ARRAY(a, int32_t, LONG_LIST), LONG_LIST};
    for (int32_t i = 0; i < LONG_LIST; i++)
        list.v[i] = i;
    list.v[LONG_LIST - 1] = list.v[LONG_LIST - 2];
    return list;
}

struct reassigning_call {
    struct reassign_call call;
    bool answered;
};

static void on_reassign_answer(struct controller_call *call, enum kafka_error error)
{
    assert_int_equal(error, ERR_NONE);
    CONTAINER_OF(CONTAINER_OF(call, struct reassign_call, call), struct reassigning_call, call)->answered = true;
}

static void ask_to_reassign(struct fixture *f, struct reassign_item *items, int32_t count, struct arena *a)
{
    struct reassigning_call call = {
        .call = {.call.done = on_reassign_answer, .items = items, .count = count, .arena = a}};
    controller_reassign(f->c, &call.call);
    settle(f);
    assert_true(call.answered);
}

static void test_a_very_long_target_is_refused_at_once(void **state)
{
    struct fixture *f = *state;
    struct arena a = {0};
    struct reassign_item item = {.topic = str_of("t"), .target = long_list(&a)};
    take_office(f, 2);
    make_topic(f, "t", 1, 1, 2);
    ask_to_reassign(f, &item, 1, &a);
    assert_int_equal(item.error, ERR_INVALID_REPLICA_ASSIGNMENT);
    assert_true(item.message.len < 100);
    arena_deinit(&a);
}

static void test_a_target_names_a_broker_twice(void **state)
{
    struct fixture *f = *state;
    struct arena a = {0};
    int32_t ids[] = {1, 2, 1};
    struct reassign_item item = {.topic = str_of("t"), .target = {ids, 3}};
    take_office(f, 2);
    make_topic(f, "t", 1, 1, 2);
    ask_to_reassign(f, &item, 1, &a);
    assert_int_equal(item.error, ERR_INVALID_REPLICA_ASSIGNMENT);
    assert_string_equal(arena_cstr(&a, item.message),
                        "Duplicate replica ids in partition reassignment replica list: ArrayBuffer(1, 2, 1)");
    arena_deinit(&a);
}

/* Partition 0 of topic t goes from brokers 1, 2 and 3 to 4 and 5, and is led by 4, which is in sync with 1 and 2. */
static void put_half_moved(struct fixture *f)
{
    struct arena a = {0};
    char path[ZNODE_PATH_ROOM];
    int32_t isr[] = {4, 1, 2};
    struct partition_znode p = {.leader = 4, .isr = {isr, 3}};
    put_text(f, ZNODE_TOPICS "/t",
             "{\"version\":3,\"topic_id\":\"AAAAAAAAAAAAAAAAAAAAAQ\",\"partitions\":{\"0\":[4,5,1,2,3]},"
             "\"adding_replicas\":{\"0\":[4,5]},\"removing_replicas\":{\"0\":[1,2,3]}}");
    znode_put(f, state_path(path, "t", 0), partition_encode(&a, &p));
    arena_deinit(&a);
}

/* Brokers 3 and 5 are dead, which is why it is cancelled. */
static void test_a_cancelled_reassignment_leaves_a_leader(void **state)
{
    struct fixture *f = *state;
    struct arena a = {0};
    struct reassign_item item = {.topic = str_of("t"), .cancel = true};
    put_half_moved(f);
    register_broker(f, 4);
    take_office(f, 2);
    const struct ctl_partition *p = context_partition(f->c, str_of("t"), 0);
    assert_int_equal(p->leadership.leader, 4);
    ask_to_reassign(f, &item, 1, &a);
    assert_int_equal(item.error, ERR_NONE);
    assert_int_equal(p->leadership.leader, 1);
    assert_false(p->reassigning);
    assert_int_equal(p->replicas.n, 3);
    arena_deinit(&a);
}

static enum zk_result refuse_topic(struct fixture *f UNUSED, const struct zk_op *op)
{
    return op->kind == ZK_SET && strcmp(op->path, ZNODE_TOPICS "/t") == 0 ? ZK_NO_AUTH : ZK_OK;
}

/* Nothing is begun that the next controller would not know of. */
static void test_a_reassignment_that_cannot_be_written_is_refused(void **state)
{
    struct fixture *f = *state;
    struct arena a = {0};
    int32_t ids[] = {2, 3};
    struct reassign_item items[] = {{.topic = str_of("t"), .target = {ids, 2}},
                                    {.topic = str_of("u"), .target = {ids, 2}}};
    take_office(f, 3);
    make_topic(f, "t", 1, 1, 2);
    make_topic(f, "u", 1, 1, 2);
    told_clear(f);
    f->before = refuse_topic;
    ask_to_reassign(f, items, 2, &a);
    assert_int_equal(items[0].error, ERR_UNKNOWN_SERVER_ERROR);
    assert_int_equal(items[1].error, ERR_NONE);
    const struct ctl_partition *t = context_partition(f->c, str_of("t"), 0);
    const struct ctl_partition *u = context_partition(f->c, str_of("u"), 0);
    assert_false(t->reassigning);
    assert_int_equal(t->replicas.n, 2);
    assert_true(u->reassigning);
    assert_int_equal(orders_of(f, 3, "t", 0), 0);
    assert_int_equal(orders_of(f, 3, "u", 0), 1);
    arena_deinit(&a);
}

static bool node_says(const struct fixture *f, const char *path, const char *what)
{
    struct arena a = {0};
    const struct strbuf *data = &znode(f, path)->data;
    bool says = strstr(arena_cstr(&a, (struct str){data->p, (int32_t)data->len}), what) != NULL;
    arena_deinit(&a);
    return says;
}

static void test_a_new_controller_enables_features(void **state)
{
    struct fixture *f = *state;
    put_text(f, ZNODE_FEATURE, "{\"version\":1,\"status\":0,\"features\":{}}");
    take_office(f, 1);
    assert_true(node_says(f, ZNODE_FEATURE, "\"status\":1"));
}

/* The old replicas stay in the topic's node, and that they are gone is written when it can be. */
static void test_the_end_of_a_reassignment_is_written_later(void **state)
{
    struct fixture *f = *state;
    put_moving_topic(f, "t", 1, 1, 2);
    f->before = refuse_topic;
    take_office(f, 2);
    const struct ctl_partition *p = context_partition(f->c, str_of("t"), 0);
    assert_true(p->reassigning);
    f->before = NULL;
    controller_changed(f->c, ZNODE_TOPICS "/t");
    settle(f);
    assert_false(p->reassigning);
    assert_int_equal(p->replicas.n, 1);
}

static void expect_list(const struct fixture *f, const char *text)
{
    const struct znode *n = znode(f, ZNODE_REASSIGN);
    assert_non_null(n);
    assert_int_equal(n->data.len, strlen(text));
    assert_memory_equal(n->data.p, text, strlen(text));
}

/* Another reassignment ends before anybody has looked at the list: what is in it is still to be done. */
static void test_what_was_not_begun_stays_listed(void **state)
{
    static const char list[] = "{\"version\":1,\"partitions\":[{\"topic\":\"t\",\"partition\":0,\"replicas\":[2,3]}]}";
    struct fixture *f = *state;
    struct arena a = {0};
    int32_t ids[] = {2, 1};
    struct reassign_item item = {.topic = str_of("u"), .target = {ids, 2}};
    take_office(f, 3);
    make_topic(f, "t", 1, 1, 2);
    make_topic(f, "u", 1, 1, 2);
    put_text(f, ZNODE_REASSIGN, list);
    ask_to_reassign(f, &item, 1, &a);
    expect_list(f, list);
    controller_changed(f->c, ZNODE_REASSIGN);
    settle(f);
    assert_true(context_partition(f->c, str_of("t"), 0)->reassigning);
    expect_list(f, list);
    arena_deinit(&a);
}

/* ---- What clients ask any broker for ---- */

static bool admin_done;

static void on_admin_done(struct topics_request *r UNUSED)
{
    admin_done = true;
}

static void ask_admin(struct fixture *f, void (*start)(struct topics_request *), struct topic_request *t,
                      bool validate_only, struct arena *a)
{
    struct view *view = view_new();
    struct topics_request r = {.arena = a,
                               .zk = (struct zk *)f,
                               .config = &f->config,
                               .view = view,
                               .topics = t,
                               .count = 1,
                               .validate_only = validate_only,
                               .done = on_admin_done};
    admin_done = false;
    start(&r);
    settle(f);
    assert_true(admin_done);
    view_unref(view);
}

static void test_a_very_long_assignment_is_refused_at_once(void **state)
{
    struct fixture *f = *state;
    struct arena a = {0};
    struct int_list list = long_list(&a);
    struct topic_request t = {.name = str_of("t"), .manual = &list, .manual_count = 1};
    take_office(f, 1);
    ask_admin(f, topics_create, &t, true, &a);
    assert_int_equal(t.error, ERR_INVALID_PARTITIONS);
    list.n = 300000; /* as long as a topic's node can be */
    t = (struct topic_request){.name = str_of("t"), .manual = &list, .manual_count = 1};
    list.v[list.n - 1] = 7;
    ask_admin(f, topics_create, &t, true, &a);
    assert_int_equal(t.error, ERR_INVALID_REPLICA_ASSIGNMENT);
    arena_deinit(&a);
}

/* As many as one request may ask for; each broker in a rack of its own. */
static void test_very_many_replicas_are_placed_in_racks(void **state UNUSED)
{
    enum { BROKERS = 500, PLACED = 2000 };
    struct arena a = {0};
    struct registration *brokers = ARENA_ARRAY(&a, struct registration, BROKERS);
    struct int_list *out = ARENA_ARRAY(&a, struct int_list, PLACED);
    struct str message;
    for (int32_t i = 0; i < BROKERS; i++)
        brokers[i] = (struct registration){.id = i, .rack = arena_printf(&a, "rack-%d", i).p};
    assert_int_equal(replicas_place(&a, brokers, BROKERS, PLACED, BROKERS, -1, 0, out, &message), ERR_NONE);
    for (int32_t p = 0; p < PLACED; p++) {
        assert_int_equal(out[p].n, BROKERS);
        assert_false(int_list_has_repeats(out[p]));
    }
    arena_deinit(&a);
}

/* As long as a topic's node can be, of brokers that are not there: whoever may make topics can write it. */
static void test_a_partition_has_very_many_replicas(void **state)
{
    enum { MANY_REPLICAS = 150000 };
    struct fixture *f = *state;
    struct arena a = {0};
    struct int_list list = long_list(&a);
    struct topic_znode z = {.id = uuid_random(), .replicas = &list, .partition_count = 1};
    list.n = MANY_REPLICAS;
    znode_put(f, ZNODE_TOPICS "/t", topic_encode(&a, &z));
    take_office(f, 2);
    const struct ctl_partition *p = context_partition(f->c, str_of("t"), 0);
    assert_int_equal(p->replicas.n, MANY_REPLICAS);
    assert_int_equal(p->leadership.leader, 1);
    arena_deinit(&a);
}

static const char being_reassigned[] = "{\"version\":3,\"topic_id\":\"AAAAAAAAAAAAAAAAAAAAAQ\","
                                       "\"partitions\":{\"0\":[2,1]},\"adding_replicas\":{\"0\":[2]},"
                                       "\"removing_replicas\":{\"0\":[1]}}";
static const char at_rest[] = "{\"version\":3,\"topic_id\":\"AAAAAAAAAAAAAAAAAAAAAQ\","
                              "\"partitions\":{\"0\":[1]},\"adding_replicas\":{},\"removing_replicas\":{}}";

static void ask_for_two_partitions(struct fixture *f, enum kafka_error expected, bool unchanged)
{
    struct arena a = {0};
    int32_t ids[] = {2};
    struct int_list list = {ids, 1};
    struct topic_request t = {.name = str_of("t"), .partitions = 2, .manual = &list, .manual_count = 1};
    struct view *view = view_new();
    struct registration one = {.id = 2};
    view->brokers->v = &one;
    view->brokers->n = 1;
    struct topics_request r = {.arena = &a,
                               .zk = (struct zk *)f,
                               .config = &f->config,
                               .view = view,
                               .topics = &t,
                               .count = 1,
                               .done = on_admin_done};
    partitions_create(&r);
    settle(f);
    assert_int_equal(t.error, expected);
    if (expected == ERR_REASSIGNMENT_IN_PROGRESS)
        assert_string_equal(arena_cstr(&a, t.message), "A partition reassignment is in progress for the topic 't'.");
    const struct znode *n = znode(f, ZNODE_TOPICS "/t");
    assert_int_equal(unchanged,
                     n->data.len == strlen(being_reassigned) && memcmp(n->data.p, being_reassigned, n->data.len) == 0);
    view_unref(view);
    arena_deinit(&a);
}

static void test_what_is_reassigned_does_not_grow(void **state)
{
    struct fixture *f = *state;
    fixture_make_controller(f);
    put_text(f, ZNODE_TOPICS "/t", being_reassigned);
    ask_for_two_partitions(f, ERR_REASSIGNMENT_IN_PROGRESS, true);
    put_text(f, ZNODE_TOPICS "/t", at_rest);
    ask_for_two_partitions(f, ERR_NONE, false);
}

/* The same of a topic that nobody reassigns, with something that happens before each operation. */
static void ask_while(struct fixture *f, enum zk_result (*before)(struct fixture *f, const struct zk_op *op),
                      enum kafka_error expected, bool unchanged)
{
    fixture_make_controller(f);
    put_text(f, ZNODE_TOPICS "/t", at_rest);
    f->before = before;
    ask_for_two_partitions(f, expected, unchanged);
}

static enum zk_result begin_reassignment(struct fixture *f, const struct zk_op *op)
{
    if (op->kind == ZK_SET && strcmp(op->path, ZNODE_TOPICS "/t") == 0)
        put_text(f, ZNODE_TOPICS "/t", being_reassigned);
    return ZK_OK;
}

static void test_a_reassignment_begins_while_the_topic_is_to_grow(void **state)
{
    struct fixture *f = *state;
    ask_while(f, begin_reassignment, ERR_REASSIGNMENT_IN_PROGRESS, true);
}

/* It was written, and the answer to that was lost. */
static enum zk_result write_before(struct fixture *f, const struct zk_op *op)
{
    if (op->kind == ZK_SET)
        znode_put(f, op->path, op->data);
    return ZK_OK;
}

static void test_a_topic_has_grown_and_the_answer_was_lost(void **state)
{
    struct fixture *f = *state;
    ask_while(f, write_before, ERR_NONE, false);
}

/* Its partition 0, to brokers 2 and 3. */
static enum kafka_error ask_to_move_t(struct fixture *f)
{
    struct arena a = {0};
    int32_t ids[] = {2, 3};
    struct reassign_item item = {.topic = str_of("t"), .target = {ids, 2}};
    ask_to_reassign(f, &item, 1, &a);
    arena_deinit(&a);
    return item.error;
}

/* It has grown, and the controller has not heard of that yet. */
static void test_a_reassignment_takes_no_new_partition_away(void **state)
{
    struct fixture *f = *state;
    put_text(f, ZNODE_TOPICS "/t", at_rest);
    take_office(f, 3);
    put_text(f, ZNODE_TOPICS "/t",
             "{\"version\":3,\"topic_id\":\"AAAAAAAAAAAAAAAAAAAAAQ\",\"partitions\":{\"0\":[1],\"1\":[1,2]}}");
    assert_int_equal(ask_to_move_t(f), ERR_NONE);
    assert_true(node_says(f, ZNODE_TOPICS "/t", "\"1\":[1,2]"));
    assert_true(node_says(f, ZNODE_TOPICS "/t", "\"0\":[2,3,1]"));
    controller_changed(f->c, ZNODE_TOPICS "/t");
    settle(f);
    assert_non_null(context_partition(f->c, str_of("t"), 1));
}

static enum zk_result write_topic_before(struct fixture *f, const struct zk_op *op)
{
    return strncmp(op->path, ZNODE_TOPICS "/t", strlen(ZNODE_TOPICS "/t") + 1) == 0 ? write_before(f, op) : ZK_OK;
}

static void test_a_reassignment_was_written_and_the_answer_lost(void **state)
{
    struct fixture *f = *state;
    put_text(f, ZNODE_TOPICS "/t", at_rest);
    take_office(f, 3);
    f->before = write_topic_before;
    assert_int_equal(ask_to_move_t(f), ERR_NONE);
    assert_true(context_partition(f->c, str_of("t"), 0)->reassigning);
}

/* ---- Topics are told of whole ---- */

struct expected_topic {
    const char *name;
    int32_t partitions;
};

/* Whoever hears of a topic hears of all of it: the number of its partitions says where a key belongs. */
static void expect_whole_topics(const struct fixture *f, const struct expected_topic *topics, size_t count)
{
    int seen = 0;
    for (const struct told *t = f->told; t != NULL; t = t->next)
        for (int32_t i = 0; t->key == API_UPDATE_METADATA && i < t->metadata.topic_states.len; i++)
            for (size_t k = 0; k < count; k++)
                if (str_is(t->metadata.topic_states.items[i].topic_name, topics[k].name)) {
                    assert_int_equal(t->metadata.topic_states.items[i].partition_states.len, topics[k].partitions);
                    seen++;
                }
    assert_true(seen >= (int)count);
}

static void test_new_topics_are_told_of_whole(void **state)
{
    static const struct expected_topic topics[] = {{"a", 990}, {"b", 50}, {"c", 2500}, {"d", 3}};
    struct fixture *f = *state;
    take_office(f, 2);
    for (size_t i = 0; i < ARRAY_LEN(topics); i++)
        put_topic(f, topics[i].name, topics[i].partitions, 1, 2);
    controller_changed(f->c, ZNODE_TOPICS);
    settle(f);
    expect_whole_topics(f, topics, ARRAY_LEN(topics));
}

static void test_a_topic_that_is_half_made_is_told_of_whole(void **state)
{
    static const struct expected_topic topics[] = {{"t", 50}};
    struct fixture *f = *state;
    put_topic(f, "t", 50, 1, 2);
    for (int32_t i = 0; i < 20; i++)
        put_state(f, "t", i, 2, 1);
    take_office(f, 2);
    expect_whole_topics(f, topics, 1);
    bool ordered = false;
    for (const struct told *t = f->told; t != NULL; t = t->next)
        ordered |= t->key == API_LEADER_AND_ISR && t->broker == 2 &&
                   t->orders.topic_states.items[0].partition_states.len == 50;
    assert_true(ordered);
}

static void put_topics_of_seven(struct fixture *f, int count)
{
    char name[16];
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof(name), "t%d", i);
        put_topic(f, name, 7, 1, 2);
        for (int k = 0; k < 7; k++)
            put_state(f, name, k, 1, 2);
    }
}

static void expect_sevens(const struct fixture *f)
{
    for (const struct told *t = f->told; t != NULL; t = t->next)
        for (int32_t i = 0; t->key == API_UPDATE_METADATA && i < t->metadata.topic_states.len; i++)
            assert_int_equal(t->metadata.topic_states.items[i].partition_states.len, 7);
}

/* Until it has been told of everything, it does not know who is there, so that nobody takes a part for the whole. */
static void expect_greeting(const struct fixture *f, int32_t broker, int32_t partitions)
{
    bool knows = false;
    for (const struct told *t = f->told; t != NULL; t = t->next) {
        if (t->broker != broker)
            continue;
        if (t->key == API_UPDATE_METADATA)
            for (int32_t i = 0; !knows && i < t->metadata.topic_states.len; i++)
                partitions -= t->metadata.topic_states.items[i].partition_states.len;
        knows |= t->key == API_UPDATE_METADATA && t->metadata.live_brokers.len > 0;
        assert_int_equal(knows, partitions == 0);
        assert_true(knows || t->key == API_UPDATE_METADATA);
    }
    assert_true(knows);
}

static void test_a_new_controller_tells_of_whole_topics(void **state)
{
    struct fixture *f = *state;
    put_topics_of_seven(f, 300);
    take_office(f, 2);
    assert_true(told_count(f, 2, API_UPDATE_METADATA) > 2);
    expect_sevens(f);
    expect_greeting(f, MYSELF, 300 * 7); /* which has just started */
}

/* What the dead one has led is not told as if it still led; out of the others' ISRs it goes later. */
static void test_a_new_controller_orders_what_it_elects_once(void **state)
{
    struct fixture *f = *state;
    put_topic(f, "calm", 6, 1, 2);
    put_topic(f, "hurt", 6, 2, 3);
    for (int32_t i = 0; i < 6; i++) {
        put_state(f, "calm", i, 1, 2);
        put_state(f, "hurt", i, i < 3 ? 2 : 3, i < 3 ? 3 : 2);
    }
    take_office(f, 2);
    for (int32_t i = 0; i < 6; i++) {
        assert_int_equal(orders_of(f, 1, "calm", i), 1);
        assert_int_equal(orders_of(f, 2, "calm", i), 1);
        assert_int_equal(orders_of(f, 2, "hurt", i), i < 3 ? 2 : 1);
    }
}

static void test_who_arrives_knows_nothing_before_it_knows_all(void **state)
{
    struct fixture *f = *state;
    put_topics_of_seven(f, 300);
    take_office(f, 2);
    told_clear(f);
    register_broker(f, 3);
    controller_changed(f->c, ZNODE_BROKER_IDS);
    settle(f);
    assert_true(told_count(f, 3, API_UPDATE_METADATA) > 2);
    expect_greeting(f, 3, 300 * 7);
    expect_sevens(f);
    for (const struct told *t = f->told; t != NULL; t = t->next)
        if (t->broker != 3 && t->key == API_UPDATE_METADATA)
            assert_int_equal(t->metadata.live_brokers.len, 3);
}

static void test_who_arrives_where_there_is_no_topic_learns_who_is_there(void **state)
{
    struct fixture *f = *state;
    take_office(f, 2);
    told_clear(f);
    register_broker(f, 3);
    controller_changed(f->c, ZNODE_BROKER_IDS);
    settle(f);
    assert_int_equal(told_count(f, 3, API_UPDATE_METADATA), 1);
    expect_greeting(f, 3, 0);
}

/* ---- Reassignment ---- */

static int deleted_replicas, deleted_too_soon;

static bool znode_says(const struct fixture *f, const char *path, const char *what)
{
    const struct znode *n = znode(f, path);
    return n != NULL && memmem(n->data.p, n->data.len, what, strlen(what)) != NULL;
}

/* Its records are not counted on any more, and the topic's node still says what is to be done. */
static void note_deletions(struct fixture *f, const struct told *t)
{
    char path[ZNODE_PATH_ROOM];
    for (int32_t i = 0; t->key == API_STOP_REPLICA && i < t->stops.topic_states.len; i++) {
        const struct stop_replica_topic_state *topic = &t->stops.topic_states.items[i];
        for (int32_t k = 0; k < topic->partition_states.len; k++) {
            const struct stop_replica_partition_state *p = &topic->partition_states.items[k];
            if (!p->delete_partition)
                continue;
            deleted_too_soon += !znode_says(f, state_path(path, "t", p->partition_index), "\"isr\":[2]");
            deleted_too_soon += !znode_says(f, ZNODE_TOPICS "/t", "\"0\":[2,1]");
            deleted_replicas++;
        }
    }
}

static void test_logs_are_deleted_when_all_isrs_are_without_them(void **state)
{
    enum { MANY = 4500 };
    struct fixture *f = *state;
    put_moving_topic(f, "t", MANY, 1, 2);
    f->on_told = note_deletions;
    deleted_replicas = deleted_too_soon = 0;
    take_office(f, 2);
    assert_int_equal(deleted_too_soon, 0);
    assert_int_equal(deleted_replicas, MANY);
    assert_true(znode_says(f, ZNODE_TOPICS "/t", "\"0\":[2]"));
}

static enum zk_result keep_state_of_first(struct fixture *f UNUSED, const struct zk_op *op)
{
    return op->kind == ZK_SET && strstr(op->path, "/partitions/0/state") != NULL &&
                   memmem(op->data.p, (size_t)op->data.len, "\"isr\":[2]", 9) != NULL
               ? ZK_FAILED
               : ZK_OK;
}

static void test_a_log_is_kept_that_is_still_in_the_isr(void **state)
{
    struct fixture *f = *state;
    put_moving_topic(f, "t", 1, 1, 2);
    f->before = keep_state_of_first;
    f->on_told = note_deletions;
    deleted_replicas = deleted_too_soon = 0;
    take_office(f, 2);
    assert_int_equal(deleted_replicas, 0);
    assert_true(znode_says(f, ZNODE_TOPICS "/t", "\"0\":[2,1]"));
    assert_true(context_partition(f->c, str_of("t"), 0)->reassigning);
}

/* ---- Deletion ---- */

static int set_up_without_deletion(void **state)
{
    return set_up_with(state, "delete.topic.enable=false");
}

static void test_a_marker_without_a_topic_goes_with_the_next_controller(void **state)
{
    struct fixture *f = *state;
    put_text(f, ZNODE_DELETE_TOPICS "/gone", "");
    take_office(f, 2);
    assert_false(is_there(f, ZNODE_DELETE_TOPICS "/gone"));
    make_topic(f, "gone", 1, 1, 2); /* another of that name */
    assert_false(context_topic(f->c, str_of("gone"))->deleting);
}

static void test_markers_go_where_nothing_may_be_deleted(void **state)
{
    struct fixture *f = *state;
    put_topic(f, "t", 1, 1, 2);
    put_state(f, "t", 0, 1, 2);
    put_text(f, ZNODE_DELETE_TOPICS "/t", "");
    take_office(f, 2);
    assert_false(is_there(f, ZNODE_DELETE_TOPICS "/t"));
    assert_true(is_there(f, ZNODE_TOPICS "/t"));
}

static void test_a_topic_goes_with_all_it_has(void **state)
{
    struct fixture *f = *state;
    take_office(f, 2);
    make_topic(f, "t", 70, 1, 2);
    make_topic(f, "u", 3, 1, 2);
    put_text(f, ZNODE_CONFIG_TOPICS "/t", "{}");
    znode_remove(f, ZNODE_TOPICS "/t/partitions/3/state"); /* by somebody else */
    delete_topic(f, "t");
    delete_topic(f, "u");
    settle(f);
    for (const struct znode *n = f->tree; n != NULL; n = n->hh.next) {
        assert_null(strstr(n->path, "/t"
                                    "/"));
        assert_null(strstr(n->path, ZNODE_DELETE_TOPICS "/"));
    }
    assert_false(is_there(f, ZNODE_TOPICS "/t"));
    assert_false(is_there(f, ZNODE_CONFIG_TOPICS "/t"));
}

static int markers_gone_before;

/* What is deleted in the first transaction fails, as the server is ill; and it is seen whether the marker goes. */
static enum zk_result refuse_first_partition(struct fixture *f, const struct zk_op *op)
{
    if (op->kind == ZK_DELETE && strcmp(op->path, ZNODE_TOPICS "/t/partitions/0/state") == 0)
        return ZK_FAILED;
    if (op->kind == ZK_DELETE && strcmp(op->path, ZNODE_DELETE_TOPICS "/t") == 0)
        markers_gone_before += is_there(f, ZNODE_TOPICS "/t");
    return ZK_OK;
}

/* Somebody has made the topic smaller by hand, and the states of what is gone are still there. */
static void test_what_nobody_knows_of_goes_with_its_topic(void **state)
{
    struct fixture *f = *state;
    take_office(f, 2);
    make_topic(f, "t", 1, 1, 2);
    put_text(f, ZNODE_TOPICS "/t/partitions/9", "");
    put_state(f, "t", 9, 1, 2);
    delete_topic(f, "t");
    settle(f);
    assert_false(is_there(f, ZNODE_TOPICS "/t/partitions/9"));
    assert_false(is_there(f, ZNODE_TOPICS "/t"));
    assert_false(is_there(f, ZNODE_DELETE_TOPICS "/t"));
}

static void test_the_marker_goes_last(void **state)
{
    struct fixture *f = *state;
    take_office(f, 2);
    make_topic(f, "t", ZK_MOST_TOGETHER, 1, 2); /* so that its nodes need several transactions */
    f->before = refuse_first_partition;
    markers_gone_before = 0;
    delete_topic(f, "t");
    settle(f);
    assert_int_equal(markers_gone_before, 0);
    assert_true(is_there(f, ZNODE_DELETE_TOPICS "/t"));
    assert_true(is_there(f, ZNODE_TOPICS "/t"));
}

static int told_farewells(const struct fixture *f, int32_t broker, const char *name)
{
    int n = 0;
    for (const struct told *t = f->told; t != NULL; t = t->next)
        for (int32_t i = 0; t->broker == broker && t->key == API_UPDATE_METADATA && i < t->metadata.topic_states.len;
             i++)
            if (str_is(t->metadata.topic_states.items[i].topic_name, name))
                n += t->metadata.topic_states.items[i].partition_states.items[0].leader == -2;
    return n;
}

static void test_a_deletion_that_waits_is_told_of_once(void **state)
{
    struct fixture *f = *state;
    take_office(f, 3);
    make_topic(f, "waits", 1, 1, 3);
    make_topic(f, "t", 1, 1, 2);
    make_topic(f, "u", 1, 1, 2);
    znode_remove(f, ZNODE_BROKER_IDS "/3");
    controller_changed(f->c, ZNODE_BROKER_IDS);
    settle(f);
    told_clear(f);
    delete_topic(f, "waits");
    settle(f);
    delete_topic(f, "t");
    settle(f);
    delete_topic(f, "u");
    settle(f);
    assert_int_equal(told_farewells(f, 2, "waits"), 1);
    assert_false(is_there(f, ZNODE_TOPICS "/t"));
    assert_false(is_there(f, ZNODE_TOPICS "/u"));
    assert_true(is_there(f, ZNODE_TOPICS "/waits"));
    register_broker(f, 3);
    controller_changed(f->c, ZNODE_BROKER_IDS);
    settle(f);
    assert_false(is_there(f, ZNODE_TOPICS "/waits"));
}

/* Its node may have been removed by mistake, and what is committed of it, and its records, are still there. */
static void test_a_topic_whose_node_was_removed_is_forgotten_without_a_word(void **state)
{
    struct fixture *f = *state;
    take_office(f, 2);
    make_topic(f, "t", 3, 1, 2);
    make_topic(f, "u", 3, 1, 2);
    told_clear(f);
    znode_remove(f, ZNODE_TOPICS "/t");
    controller_changed(f->c, ZNODE_TOPICS);
    settle(f);
    assert_null(context_topic(f->c, str_of("t")));
    assert_non_null(context_topic(f->c, str_of("u")));
    assert_null(f->told);
}

static int deletions_asked(const struct fixture *f, int32_t broker)
{
    int n = 0;
    for (const struct told *t = f->told; t != NULL; t = t->next)
        if (t->broker == broker && t->key == API_STOP_REPLICA)
            n += t->stops.topic_states.items[0].partition_states.items[0].delete_partition;
    return n;
}

static bool topic_has_gone(struct fixture *f)
{
    return !is_there(f, ZNODE_TOPICS "/t");
}

static void test_a_replica_that_cannot_be_deleted_is_tried_after_a_pause(void **state)
{
    struct fixture *f = *state;
    take_office(f, 2);
    make_topic(f, "t", 1, 1, 2);
    f->stop_error = ERR_UNKNOWN_SERVER_ERROR;
    f->stop_error_of = 2;
    f->batches = 0;
    delete_topic(f, "t");
    run_until(f, too_many_batches);
    assert_true(f->batches < 1000);
    assert_int_equal(deletions_asked(f, 2), 1);
    f->stop_error_of = -1;
    run_until(f, topic_has_gone);
    assert_int_equal(deletions_asked(f, 2), 2);
    assert_int_equal(deletions_asked(f, 1), 1);
}

/* ---- Brokers ---- */

/* Nobody is elected who has gone at the same time. */
static void test_brokers_that_go_together_are_one_failure(void **state)
{
    struct fixture *f = *state;
    struct arena a = {0};
    char path[ZNODE_PATH_ROOM];
    int32_t ids[] = {2, 3, 1};
    struct int_list all = {ids, 3};
    struct topic_znode z = {.id = uuid_random(), .partition_count = 1, .replicas = &all};
    struct partition_znode p = {.leader = 2, .isr = all};
    znode_put(f, topic_path(path, "t"), topic_encode(&a, &z));
    znode_put(f, state_path(path, "t", 0), partition_encode(&a, &p));
    take_office(f, 3);
    znode_remove(f, ZNODE_BROKER_IDS "/2");
    znode_remove(f, ZNODE_BROKER_IDS "/3");
    controller_changed(f->c, ZNODE_BROKER_IDS);
    settle(f);
    const struct ctl_partition *q = context_partition(f->c, str_of("t"), 0);
    assert_int_equal(q->leadership.leader, 1);
    assert_int_equal(q->leadership.leader_epoch, 1);
    assert_int_equal(q->leadership.isr.n, 1);
    arena_deinit(&a);
}

static void test_who_has_bounced_fails_once(void **state)
{
    struct fixture *f = *state;
    take_office(f, 2);
    make_topic(f, "t", 1, 2, 2);
    const struct ctl_partition *p = context_partition(f->c, str_of("t"), 0);
    register_broker(f, 2);
    controller_changed(f->c, ZNODE_BROKER_IDS);
    controller_changed(f->c, ZNODE_BROKER_IDS "/2");
    settle(f);
    assert_int_equal(p->leadership.leader, 2);
    assert_int_equal(p->leadership.leader_epoch, 2); /* once without a leader, once with one again */
}

/* ---- The office ---- */

static enum zk_result no_office(struct fixture *f UNUSED, const struct zk_op *op)
{
    return op->kind == ZK_CREATE && strcmp(op->path, ZNODE_CONTROLLER) == 0 ? ZK_NO_AUTH : ZK_OK;
}

static enum zk_result no_epoch(struct fixture *f UNUSED, const struct zk_op *op)
{
    return op->kind == ZK_CREATE && strcmp(op->path, ZNODE_CONTROLLER_EPOCH) == 0 ? ZK_NO_AUTH : ZK_OK;
}

static bool is_in_office(struct fixture *f)
{
    return controller_is_active(f->c);
}

static const char *hidden;

static enum zk_result hide(struct fixture *f UNUSED, const struct zk_op *op)
{
    return op->kind == ZK_GET && strcmp(op->path, hidden) == 0 ? ZK_NO_AUTH : ZK_OK;
}

/* Who cannot be seen has not gone: nobody takes office, rather than that others lead in its place. */
static void test_what_cannot_be_read_keeps_from_office(void **state)
{
    static const char *const paths[] = {ZNODE_BROKER_IDS "/2", ZNODE_TOPICS "/t", ZNODE_TOPICS "/t/partitions/0/state"};
    struct fixture *f = *state;
    put_topic(f, "t", 1, 2, 1);
    put_state(f, "t", 0, 2, 1);
    register_broker(f, 1);
    register_broker(f, 2);
    f->before = hide;
    fixture_make_controller(f);
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        hidden = paths[i];
        f->batches = 0;
        controller_start(f->c);
        run_until(f, too_many_batches);
        assert_true(f->batches < 20);
        assert_false(controller_is_active(f->c));
        assert_int_equal(znode(f, paths[2])->version, 0);
        controller_stop(f->c, "a test");
    }
    f->before = NULL;
    controller_start(f->c);
    settle(f);
    assert_int_equal(context_partition(f->c, str_of("t"), 0)->leadership.leader, 2);
}

static void test_who_may_not_take_office_tries_after_a_pause(void **state)
{
    struct fixture *f = *state;
    enum zk_result (*const refusals[])(struct fixture * f, const struct zk_op *op) = {no_epoch, no_office};
    fixture_make_controller(f);
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        f->before = refusals[i];
        f->batches = 0;
        controller_start(f->c);
        run_until(f, too_many_batches);
        assert_true(f->batches < 10);
        assert_false(controller_is_active(f->c));
        controller_stop(f->c, "a test");
    }
    controller_start(f->c);
    run_until(f, too_many_batches);
    f->before = NULL;
    run_until(f, is_in_office);
}

/* ---- Epochs that have no next ---- */

static void test_a_last_epoch_of_controllers_is_nobodys(void **state)
{
    struct fixture *f = *state;
    static const char *const last[] = {"2147483647", "9223372036854775807", "-2147483649"};
    fixture_make_controller(f);
    for (size_t i = 0; i < ARRAY_LEN(last); i++) {
        put_text(f, ZNODE_CONTROLLER_EPOCH, last[i]);
        f->batches = 0;
        controller_start(f->c);
        run_until(f, too_many_batches);
        assert_false(controller_is_active(f->c));
        controller_stop(f->c, "a test");
    }
}

/* It stays as it is, for somebody to look at. */
static void test_a_partition_in_its_last_epoch_has_no_leader(void **state)
{
    struct fixture *f = *state;
    const char *last = "{\"controller_epoch\":0,\"leader\":3,\"version\":1,\"leader_epoch\":2147483647,\"isr\":[1]}";
    char path[ZNODE_PATH_ROOM];
    put_topic(f, "t", 2, 1, 2);
    put_text(f, state_path(path, "t", 0), last);
    take_office(f, 2);
    const struct znode *n = znode(f, path);
    assert_int_equal(n->version, 0);
    assert_memory_equal(n->data.p, last, strlen(last));
    assert_int_equal(context_partition(f->c, str_of("t"), 1)->leadership.leader, 1);
}

/* ---- Settings that are followed ---- */

struct followed {
    int changed;
    char last[16];
    char unread[128]; /* why not all could be read at start */
};

static void note_topic_changed(void *ctx, const char *topic)
{
    struct followed *followed = ctx;
    followed->changed++;
    snprintf(followed->last, sizeof(followed->last), "%s", topic);
}

static void ignore_settings(void *ctx UNUSED, bool different UNUSED)
{
}

static void note_loaded(void *ctx, const struct fail *why)
{
    struct followed *followed = ctx;
    snprintf(followed->unread, sizeof(followed->unread), "%.120s", why != NULL ? why->text : "");
}

static void answer_all(struct fixture *f)
{
    while (f->queued > 0) {
        struct zk_batch *b = f->queue[0];
        memmove(f->queue, f->queue + 1, --f->queued * sizeof(*f->queue));
        zk_fake_answer(f, b);
    }
}

static void read_all_settings(struct fixture *f, struct config_watch *w)
{
    config_watch_start(w, MYSELF);
    answer_all(f);
}

static struct config_watch *watch_settings(struct fixture *f, struct topic_configs *topics, struct followed *followed)
{
    return config_watch_new(&(struct config_watch_options){.zk = (struct zk *)f,
                                                           .configs = topics,
                                                           .settings = f->settings,
                                                           .changed = note_topic_changed,
                                                           .settings_changed = ignore_settings,
                                                           .loaded = note_loaded,
                                                           .ctx = followed});
}

static int32_t keys_of(struct topic_configs *t, const char *topic)
{
    struct arena a = {0};
    int32_t count = topic_configs_own(t, &a, str_of(topic)).count;
    arena_deinit(&a);
    return count;
}

static enum zk_result no_listing(struct fixture *f UNUSED, const struct zk_op *op)
{
    return op->kind == ZK_CHILDREN && strcmp(op->path, ZNODE_CONFIG_TOPICS) == 0 ? ZK_NO_AUTH : ZK_OK;
}

static void test_settings_go_with_their_topics(void **state)
{
    struct fixture *f = *state;
    struct followed followed = {0};
    struct topic_configs *topics = topic_configs_new(f->settings);
    struct config_watch *w = watch_settings(f, topics, &followed);
    const char *one = "{\"version\":1,\"config\":{\"retention.ms\":\"5\"}}";
    znode_put(f, ZNODE_CONFIG_TOPICS "/gone", text_bytes(one));
    znode_put(f, ZNODE_CONFIG_TOPICS "/kept", text_bytes(one));
    znode_put(f, ZNODE_CONFIG_TOPICS "/odd", text_bytes(one));
    read_all_settings(f, w);
    assert_int_equal(keys_of(topics, "gone"), 1);
    znode_remove(f, ZNODE_CONFIG_TOPICS "/gone");
    znode_put(f, ZNODE_CONFIG_TOPICS "/odd", text_bytes("not to be read"));
    f->before = no_listing; /* nothing is known of what there is */
    read_all_settings(f, w);
    assert_int_equal(keys_of(topics, "gone") + keys_of(topics, "kept"), 2);
    f->before = NULL;
    followed.changed = 0;
    read_all_settings(f, w);
    assert_int_equal(keys_of(topics, "gone"), 0);
    assert_int_equal(keys_of(topics, "kept"), 1);
    assert_int_equal(keys_of(topics, "odd"), 1);
    assert_int_equal(followed.changed, 2);
    assert_string_equal(followed.last, "gone");
    config_watch_free(w);
    topic_configs_free(topics);
}

static enum zk_result nothing_is_shown_of_kept(struct fixture *f UNUSED, const struct zk_op *op)
{
    return strcmp(op->path, ZNODE_CONFIG_TOPICS "/kept") == 0 ? ZK_NO_AUTH : ZK_OK;
}

/* At start that is told of; later what is known stays. */
static void test_settings_that_cannot_be_read_are_not_taken_for_none(void **state)
{
    struct fixture *f = *state;
    struct followed followed = {0};
    struct topic_configs *topics = topic_configs_new(f->settings);
    struct config_watch *w = watch_settings(f, topics, &followed);
    znode_put(f, ZNODE_CONFIG_TOPICS "/kept", text_bytes("{\"version\":1,\"config\":{\"retention.ms\":\"5\"}}"));
    f->before = nothing_is_shown_of_kept;
    read_all_settings(f, w);
    assert_string_equal(followed.unread, "Cannot read settings, /config/topics/kept, in ZooKeeper: its ACL forbids it "
                                         "to this broker");
    config_watch_free(w);
    f->before = no_listing;
    w = watch_settings(f, topics, &followed);
    read_all_settings(f, w);
    assert_non_null(strstr(followed.unread, "/config/topics, "));
    config_watch_free(w);
    f->before = NULL;
    w = watch_settings(f, topics, &followed);
    read_all_settings(f, w);
    assert_string_equal(followed.unread, "");
    assert_int_equal(keys_of(topics, "kept"), 1);
    f->before = nothing_is_shown_of_kept;
    read_all_settings(f, w);
    assert_int_equal(keys_of(topics, "kept"), 1);
    config_watch_free(w);
    topic_configs_free(topics);
}

static void note_refreshed(struct message *m UNUSED)
{
    loop_stop(fixture->loop);
}

static void refresh(struct fixture *f, struct config_watch *w)
{
    struct message ready = {.deliver = note_refreshed};
    struct str topic = STR_LIT("t");
    config_watch_refresh(w, &topic, 1, f->loop, &ready);
    answer_all(f);
    loop_run(f->loop);
}

/* Whoever asks what a topic's settings are has them read. */
static void test_settings_that_are_looked_at_have_not_changed(void **state)
{
    struct fixture *f = *state;
    struct followed followed = {0};
    struct topic_configs *topics = topic_configs_new(f->settings);
    struct config_watch *w = watch_settings(f, topics, &followed);
    read_all_settings(f, w);
    refresh(f, w);
    assert_int_equal(followed.changed, 0);
    znode_put(f, ZNODE_CONFIG_TOPICS "/t", text_bytes("{\"version\":1,\"config\":{\"retention.ms\":\"5\"}}"));
    refresh(f, w);
    refresh(f, w);
    assert_int_equal(followed.changed, 1);
    znode_put(f, ZNODE_CONFIG_TOPICS "/t", text_bytes("{\"version\":1,\"config\":{\"retention.ms\":\"6\"}}"));
    refresh(f, w);
    znode_remove(f, ZNODE_CONFIG_TOPICS "/t");
    refresh(f, w);
    refresh(f, w);
    assert_int_equal(followed.changed, 3);
    config_watch_free(w);
    topic_configs_free(topics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_partition_that_is_named_twice_is_elected_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_list_of_partitions_names_one_twice, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_state_that_never_rests_is_given_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_very_long_target_is_refused_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_target_names_a_broker_twice, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_very_long_assignment_is_refused_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_very_many_replicas_are_placed_in_racks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_partition_has_very_many_replicas, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_reassigned_does_not_grow, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_reassignment_begins_while_the_topic_is_to_grow, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_topic_has_grown_and_the_answer_was_lost, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_new_topics_are_told_of_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_topic_that_is_half_made_is_told_of_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_new_controller_tells_of_whole_topics, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_new_controller_orders_what_it_elects_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_cancelled_reassignment_leaves_a_leader, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_reassignment_that_cannot_be_written_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_end_of_a_reassignment_is_written_later, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_was_not_begun_stays_listed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_who_arrives_knows_nothing_before_it_knows_all, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_who_arrives_where_there_is_no_topic_learns_who_is_there, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_logs_are_deleted_when_all_isrs_are_without_them, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_log_is_kept_that_is_still_in_the_isr, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_marker_without_a_topic_goes_with_the_next_controller, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_markers_go_where_nothing_may_be_deleted, set_up_without_deletion,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_topic_goes_with_all_it_has, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_nobody_knows_of_goes_with_its_topic, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_marker_goes_last, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_reassignment_takes_no_new_partition_away, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_reassignment_was_written_and_the_answer_lost, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_new_controller_enables_features, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_deletion_that_waits_is_told_of_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_topic_whose_node_was_removed_is_forgotten_without_a_word, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_replica_that_cannot_be_deleted_is_tried_after_a_pause, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_who_has_bounced_fails_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_brokers_that_go_together_are_one_failure, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_settings_go_with_their_topics, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_settings_that_are_looked_at_have_not_changed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_settings_that_cannot_be_read_are_not_taken_for_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_cannot_be_read_keeps_from_office, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_who_may_not_take_office_tries_after_a_pause, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_last_epoch_of_controllers_is_nobodys, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_partition_in_its_last_epoch_has_no_leader, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
