/* The transaction coordinator, with a log in memory and leaders that answer as the test says. */
#include "memory_log.h"

#include "protocol/msg/add_partitions_to_txn.h"
#include "protocol/msg/api.h"
#include "protocol/msg/list_transactions.h"
#include "protocol/msg/write_txn_markers.h"
#include "transaction/transaction_internal.h"
#include "transaction/verifier.h"

enum { TIMEOUT_MS = 60000, LEADER = 7, HOME = 0 };

struct fixture {
    struct loop *loop;
    struct broker_config config;
    struct txn_coordinator *tc;
    struct hearing *hearing;
    struct memory_log log;
    int64_t next_id;
    bool no_ids;
    int32_t leader;
    bool second_is_homeless;
    struct broker_call *sent; /* until answer_markers() */
    int32_t sent_to;
    struct timer check;
    bool (*until)(struct fixture *f);
};

static int64_t wall; /* what the coordinator's clock shows */

static int64_t wall_ms(void)
{
    return wall;
}

static int settle(struct fixture *f)
{
    return memory_log_settle(&f->log);
}

/* ---- The others ---- */

static bool draw_id(void *ctx, int64_t *id)
{
    struct fixture *f = ctx;
    *id = f->next_id;
    f->next_id += !f->no_ids;
    return !f->no_ids;
}

static int32_t leader_of(void *ctx, struct str topic UNUSED, int32_t index)
{
    const struct fixture *f = ctx;
    return f->second_is_homeless && index == 1 ? TXN_NO_LEADER : f->leader;
}

static void note_sent(void *ctx, int32_t broker, struct broker_call *call)
{
    struct fixture *f = ctx;
    assert_null(f->sent);
    f->sent = call;
    f->sent_to = broker;
}

static const struct write_txn_markers_request *markers(const struct fixture *f)
{
    assert_non_null(f->sent);
    assert_int_equal(f->sent->key, API_WRITE_TXN_MARKERS);
    return f->sent->request;
}

/* The leader's answer, with one error for all. */
static void answer_markers(struct fixture *f, enum kafka_error error)
{
    const struct write_txn_markers_request *in = markers(f);
    struct write_txn_markers_response *out = f->sent->response;
    struct arena *a = f->sent->arena;
    struct broker_call *call = f->sent;
    ARRAY_MAKE(a, out->markers, in->markers.len);
    for (int32_t m = 0; m < in->markers.len; m++) {
        out->markers.items[m].producer_id = in->markers.items[m].producer_id;
        ARRAY_MAKE(a, out->markers.items[m].topics, in->markers.items[m].topics.len);
        for (int32_t t = 0; t < in->markers.items[m].topics.len; t++) {
            const struct write_txn_markers_writable_txn_marker_topic *topic = &in->markers.items[m].topics.items[t];
            struct write_txn_markers_writable_txn_marker_topic_result *o = &out->markers.items[m].topics.items[t];
            o->name = topic->name;
            ARRAY_MAKE(a, o->partitions, topic->partition_indexes.len);
            for (int32_t i = 0; i < topic->partition_indexes.len; i++) {
                o->partitions.items[i].partition_index = topic->partition_indexes.items[i];
                o->partitions.items[i].error_code = error;
            }
        }
    }
    f->sent = NULL;
    call->done(call, ERR_NONE);
}

/* ---- The fixture ---- */

static void check_until(struct timer *t)
{
    struct fixture *f = CONTAINER_OF(t, struct fixture, check);
    if (f->until(f))
        loop_stop(f->loop);
    else
        timer_start(t, 1);
}

/* Lets the timers run until it is so. */
static void run_until(struct fixture *f, bool (*until)(struct fixture *f))
{
    f->until = until;
    timer_init(&f->check, f->loop, check_until);
    timer_start(&f->check, 0);
    loop_run(f->loop);
    timer_stop(&f->check);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct fail fail = {0};
    const char *overrides[] = {"broker.id=1",
                               "zookeeper.connect=localhost:2181",
                               "log.dirs=/nowhere",
                               "transaction.state.log.num.partitions=1",
                               "transaction.abort.timed.out.transaction.cleanup.interval.ms=1",
                               "transaction.remove.expired.transaction.cleanup.interval.ms=1"};
    struct config_options options = {.overrides = overrides, .override_count = ARRAY_LEN(overrides)};
    assert_true(config_load(&f->config, &options, &fail));
    wall = 1000000;
    f->loop = loop_new("coordinator");
    f->leader = LEADER;
    f->next_id = 100;
    f->hearing = hearing_new(f->loop);
    f->tc = txn_coordinator_new(&(struct txn_options){.loop = f->loop,
                                                      .hearing = f->hearing,
                                                      .config = &f->config,
                                                      .log = memory_log_seam(&f->log),
                                                      .wall_ms = wall_ms,
                                                      .draw_producer_id = draw_id,
                                                      .leader_of = leader_of,
                                                      .send = note_sent,
                                                      .ctx = f});
    state_topic_elected(txn_topic(f->tc), HOME, 5, 5);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    state_topic_resign_all(txn_topic(f->tc));
    memory_log_deinit(&f->log);
    txn_coordinator_free(f->tc);
    hearing_free(f->hearing);
    loop_free(f->loop);
    config_deinit(&f->config);
    free(f);
    return 0;
}

/* ---- Asking ---- */

enum { UNANSWERED = -100 };

struct question {
    struct txn_call call;
    int error;
};

static void on_answer(struct txn_call *call, enum kafka_error error)
{
    CONTAINER_OF(call, struct question, call)->error = error;
}

static struct question *ask(struct question *q)
{
    *q = (struct question){{.done = on_answer}, UNANSWERED};
    return q;
}

static struct txn_producer producer(int64_t id, int16_t epoch)
{
    return (struct txn_producer){str_of("x"), id, epoch};
}

static int init_as(struct fixture *f, int64_t id, int16_t epoch, struct question *q)
{
    struct txn_producer who = producer(id, epoch);
    txn_init_producer(f->tc, &who, TIMEOUT_MS, &ask(q)->call);
    settle(f);
    return q->error;
}

static void expect_producer(const struct question *q, int64_t id, int16_t epoch)
{
    assert_int_equal(q->error, ERR_NONE);
    assert_int_equal(q->call.producer_id, id);
    assert_int_equal(q->call.producer_epoch, epoch);
}

static int init(struct fixture *f)
{
    struct question q;
    return init_as(f, -1, -1, &q);
}

static const struct txn_partition_ref two[] = {{{"t", 1}, 0}, {{"t", 1}, 1}};

static int add(struct fixture *f, int64_t id, int16_t epoch, int32_t count)
{
    struct question q;
    struct txn_producer who = producer(id, epoch);
    txn_add_partitions(f->tc, &who, two, count, &ask(&q)->call);
    settle(f);
    return q.error;
}

static int end(struct fixture *f, int64_t id, int16_t epoch, bool commit)
{
    struct question q;
    struct txn_producer who = producer(id, epoch);
    txn_end(f->tc, &who, commit, &ask(&q)->call);
    settle(f);
    return q.error;
}

/* A producer 100 with epoch 0 whose transaction has two partitions. */
static void begin(struct fixture *f)
{
    assert_int_equal(init(f), ERR_NONE);
    assert_int_equal(add(f, 100, 0, 2), ERR_NONE);
}

static enum txn_status status(const struct fixture *f)
{
    const struct txn *t = txn_find(f->tc, str_of("x"));
    assert_non_null(t);
    return t->now.status;
}

/* ---- InitProducerId ---- */

static void each_producer_gets_the_next_epoch(void **state)
{
    struct fixture *f = *state;
    struct question q;
    init_as(f, -1, -1, &q);
    expect_producer(&q, 100, 0);
    init_as(f, -1, -1, &q);
    expect_producer(&q, 100, 1);
}

static void what_cannot_be_is_refused(void **state)
{
    struct fixture *f = *state;
    struct question q;
    struct txn_producer empty = {str_of(""), -1, -1}, x = producer(-1, -1);
    txn_init_producer(f->tc, &empty, TIMEOUT_MS, &ask(&q)->call);
    assert_int_equal(q.error, ERR_INVALID_REQUEST);
    txn_init_producer(f->tc, &x, 0, &ask(&q)->call);
    assert_int_equal(q.error, ERR_INVALID_TRANSACTION_TIMEOUT);
    txn_init_producer(f->tc, &x, f->config.transaction_max_timeout_ms + 1, &ask(&q)->call);
    assert_int_equal(q.error, ERR_INVALID_TRANSACTION_TIMEOUT);
    f->no_ids = true;
    assert_int_equal(init(f), ERR_COORDINATOR_LOAD_IN_PROGRESS);
    state_topic_resigned(txn_topic(f->tc), HOME);
    assert_int_equal(init(f), ERR_NOT_COORDINATOR);
}

static void a_producer_goes_on_with_its_own_epoch_only(void **state)
{
    struct fixture *f = *state;
    struct question q;
    init(f);
    init_as(f, 100, 0, &q);
    expect_producer(&q, 100, 1);
    init_as(f, 100, 0, &q); /* the answer was lost */
    expect_producer(&q, 100, 1);
    init(f); /* another producer: epoch 2 */
    assert_int_equal(init_as(f, 100, 1, &q), ERR_PRODUCER_FENCED);
    assert_int_equal(init_as(f, 99, 2, &q), ERR_PRODUCER_FENCED);
}

static void one_change_at_a_time(void **state)
{
    struct fixture *f = *state;
    struct question first, second;
    struct txn_producer who = producer(-1, -1);
    txn_init_producer(f->tc, &who, TIMEOUT_MS, &ask(&first)->call);
    txn_init_producer(f->tc, &who, TIMEOUT_MS, &ask(&second)->call);
    assert_int_equal(second.error, ERR_CONCURRENT_TRANSACTIONS);
    assert_int_equal(settle(f), 1);
    expect_producer(&first, 100, 0);
}

static void a_new_producer_has_the_open_transaction_aborted(void **state)
{
    struct fixture *f = *state;
    struct question q;
    begin(f);
    assert_int_equal(init(f), ERR_CONCURRENT_TRANSACTIONS);
    assert_int_equal(status(f), TXN_PREPARE_ABORT);
    assert_int_equal(markers(f)->markers.items[0].producer_epoch, 1);
    assert_false(markers(f)->markers.items[0].transaction_result);
    assert_int_equal(add(f, 100, 0, 1), ERR_PRODUCER_FENCED);
    answer_markers(f, ERR_NONE);
    assert_int_equal(init(f), ERR_CONCURRENT_TRANSACTIONS); /* its end is being written */
    settle(f);
    init_as(f, -1, -1, &q);
    expect_producer(&q, 100, 2);
}

static void a_fence_that_is_not_written_raises_the_epoch_once(void **state)
{
    struct fixture *f = *state;
    begin(f);
    f->log.error = ERR_NOT_ENOUGH_REPLICAS;
    assert_int_equal(init(f), ERR_COORDINATOR_NOT_AVAILABLE);
    assert_int_equal(init(f), ERR_COORDINATOR_NOT_AVAILABLE);
    assert_int_equal(status(f), TXN_ONGOING);
    f->log.error = ERR_NONE;
    assert_int_equal(init(f), ERR_CONCURRENT_TRANSACTIONS);
    assert_int_equal(markers(f)->markers.items[0].producer_epoch, 1);
}

/* ---- Loading ---- */

/* Writes what a transaction was as another coordinator would have, and reads it in the next epoch. */
static void load(struct fixture *f, enum txn_status status, int16_t epoch)
{
    struct txn t = {.id = STR_LIT("x")};
    struct batch_builder b;
    struct strbuf batch = {0};
    struct txn_change change = {.to = {.status = status,
                                       .producer_id = 50,
                                       .epoch = epoch,
                                       .timeout_ms = TIMEOUT_MS,
                                       .start_ms = wall,
                                       .update_ms = wall},
                                .added = two,
                                .added_count = status == TXN_EMPTY ? 0 : 2};
    batch_builder_init(&b, 0);
    txn_record(&b, &t, &change, wall);
    assert_true(batch_builder_finish(&b, CODEC_LEVEL_DEFAULT, &batch));
    batch_builder_deinit(&b);
    memory_log_write(&f->log, &batch);
    strbuf_deinit(&batch);
    state_topic_elected(txn_topic(f->tc), HOME, 6, 6);
}

static void the_last_epoch_leads_to_a_new_producer_id(void **state)
{
    struct fixture *f = *state;
    struct question q;
    load(f, TXN_EMPTY, INT16_MAX - 1);
    init_as(f, 50, INT16_MAX - 1, &q);
    expect_producer(&q, 100, 0);
    init_as(f, 50, INT16_MAX - 1, &q); /* the answer was lost */
    expect_producer(&q, 100, 0);
    assert_int_equal(init_as(f, 50, 3, &q), ERR_PRODUCER_FENCED);
}

static void the_last_but_one_epoch_can_be_asked_for_twice(void **state)
{
    struct fixture *f = *state;
    struct question q;
    load(f, TXN_EMPTY, INT16_MAX - 2);
    init_as(f, 50, INT16_MAX - 2, &q);
    expect_producer(&q, 50, INT16_MAX - 1);
    init_as(f, 50, INT16_MAX - 2, &q);
    expect_producer(&q, 50, INT16_MAX - 1);
}

static void an_epoch_that_was_never_given_stops_nobody_else(void **state)
{
    struct fixture *f = *state;
    load(f, TXN_ONGOING, INT16_MAX);
    assert_int_equal(init(f), ERR_UNKNOWN_SERVER_ERROR);
}

static void what_was_decided_is_completed_by_the_next(void **state)
{
    static const enum txn_status prepared[] = {TXN_PREPARE_COMMIT, TXN_PREPARE_ABORT};
    static const enum txn_status complete[] = {TXN_COMPLETE_COMMIT, TXN_COMPLETE_ABORT};
    struct fixture *f = *state;
    for (int i = 0; i < 2; i++) {
        state_topic_resigned(txn_topic(f->tc), HOME);
        load(f, prepared[i], 4);
        const struct write_txn_markers_writable_txn_marker *m = &markers(f)->markers.items[0];
        assert_int_equal(m->producer_id, 50);
        assert_int_equal(m->producer_epoch, 4);
        assert_int_equal(m->coordinator_epoch, 6);
        assert_int_equal(m->transaction_result, i == 0);
        assert_int_equal(m->topics.items[0].partition_indexes.len, 2);
        answer_markers(f, ERR_NONE);
        settle(f);
        assert_int_equal(status(f), complete[i]);
        assert_null(txn_find(f->tc, str_of("x"))->partitions);
    }
}

static void damage_is_not_passed_over_in_silence(void **state)
{
    struct fixture *f = *state;
    begin(f);
    memory_log_damage(&f->log);
    memory_log_errors = 0;
    logger_set_sink(memory_log_count_errors);
    state_topic_elected(txn_topic(f->tc), HOME, 6, 6);
    logger_set_sink(NULL);
    assert_int_equal(memory_log_errors, 1);
    assert_int_equal(status(f), TXN_ONGOING);
}

static void what_was_not_decided_goes_on(void **state)
{
    struct fixture *f = *state;
    begin(f);
    state_topic_resigned(txn_topic(f->tc), HOME);
    assert_int_equal(add(f, 100, 0, 1), ERR_NOT_COORDINATOR);
    state_topic_elected(txn_topic(f->tc), HOME, 6, 6);
    assert_int_equal(status(f), TXN_ONGOING);
    assert_int_equal(end(f, 100, 0, true), ERR_NONE);
    assert_int_equal(markers(f)->markers.items[0].topics.items[0].partition_indexes.len, 2);
}

static void an_answer_from_before_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct question q;
    struct txn_producer who = producer(100, 0);
    begin(f);
    txn_end(f->tc, &who, true, &ask(&q)->call);
    state_topic_resigned(txn_topic(f->tc), HOME);
    state_topic_elected(txn_topic(f->tc), HOME, 6, 6); /* what is on its way is not there yet */
    settle(f);
    assert_int_equal(q.error, ERR_NOT_COORDINATOR);
    assert_int_equal(status(f), TXN_ONGOING);
    assert_null(f->sent);
}

/* The controller raises the epoch of what goes on being led here whenever a replica's broker leaves. */
static void who_goes_on_leading_forgets_nothing(void **state)
{
    struct fixture *f = *state;
    struct question q;
    struct txn_producer who = producer(100, 0);
    begin(f);
    txn_end(f->tc, &who, true, &ask(&q)->call);
    state_topic_elected(txn_topic(f->tc), HOME, 6, 5);
    settle(f);
    assert_int_equal(q.error, ERR_NONE);
    assert_int_equal(markers(f)->markers.items[0].coordinator_epoch, 6);
    state_topic_elected(txn_topic(f->tc), HOME, 7, 5);
    answer_markers(f, ERR_NONE);
    settle(f);
    assert_int_equal(status(f), TXN_COMPLETE_COMMIT);
    init_as(f, 100, 0, &q);
    expect_producer(&q, 100, 1);
    state_topic_elected(txn_topic(f->tc), HOME, 8, 5);
    init_as(f, 100, 0, &q); /* the answer was lost: no record says what the epoch before was */
    expect_producer(&q, 100, 1);
}

static void an_id_stays_in_its_partition(void **state)
{
    struct fixture *f = *state;
    begin(f);
    state_topic_set_count(txn_topic(f->tc), 7); /* the first that is known: "x" belongs to 1 */
    assert_null(txn_find(f->tc, str_of("x")));
    state_topic_elected(txn_topic(f->tc), 1, 5, 5);
    assert_int_equal(status(f), TXN_ONGOING);
    state_topic_set_count(txn_topic(f->tc), 8);
    state_topic_resigned(txn_topic(f->tc), HOME);
    assert_int_equal(status(f), TXN_ONGOING);
    assert_int_equal(state_topic_number_of(txn_topic(f->tc), str_of("x"), 8), 1);
}

/* Somebody has added partitions: what is known here is served, but nothing is taken over by the old number. */
static void nothing_is_loaded_while_the_topic_has_another_number_of_partitions(void **state)
{
    struct fixture *f = *state;
    state_topic_set_count(txn_topic(f->tc), 1);
    begin(f);
    state_topic_set_count(txn_topic(f->tc), 2);
    assert_int_equal(status(f), TXN_ONGOING);
    assert_int_equal(add(f, 100, 0, 2), ERR_NONE);
    state_topic_resigned(txn_topic(f->tc), HOME);
    state_topic_elected(txn_topic(f->tc), HOME, 6, 6);
    assert_int_equal(add(f, 100, 0, 2), ERR_COORDINATOR_LOAD_IN_PROGRESS);
    state_topic_set_count(txn_topic(f->tc), 1); /* the topic was made anew */
    state_topic_elected(txn_topic(f->tc), HOME, 7, 7);
    assert_int_equal(add(f, 100, 0, 2), ERR_NONE);
    state_topic_elected(txn_topic(f->tc), 1, 7, 7); /* it is told of before the view shows it */
    state_topic_elected(txn_topic(f->tc), HOME, 8, 8);
    assert_int_equal(add(f, 100, 0, 2), ERR_COORDINATOR_LOAD_IN_PROGRESS);
}

/* ---- Partitions ---- */

static void only_the_producer_adds_partitions(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(add(f, 100, 0, 1), ERR_INVALID_PRODUCER_ID_MAPPING);
    init(f);
    assert_int_equal(add(f, 101, 0, 1), ERR_INVALID_PRODUCER_ID_MAPPING);
    assert_int_equal(add(f, 100, 1, 1), ERR_PRODUCER_FENCED);
    assert_int_equal(add(f, 100, 0, 1), ERR_NONE);
    int64_t before = f->log.end;
    assert_int_equal(add(f, 100, 0, 1), ERR_NONE); /* it has it already */
    assert_int_equal(f->log.end, before);
    assert_int_equal(add(f, 100, 0, 2), ERR_NONE);
    assert_int_equal(f->log.end, before + 1);
}

static void partitions_are_verified(void **state)
{
    struct fixture *f = *state;
    struct txn_producer mine = producer(100, 0), old = producer(100, -1), other = producer(7, 0);
    assert_int_equal(txn_verify(f->tc, &mine, &two[0]), ERR_INVALID_PRODUCER_ID_MAPPING);
    init(f);
    add(f, 100, 0, 1);
    assert_int_equal(txn_verify(f->tc, &mine, &two[0]), ERR_NONE);
    assert_int_equal(txn_verify(f->tc, &mine, &two[1]), ERR_TRANSACTION_ABORTABLE);
    assert_int_equal(txn_verify(f->tc, &old, &two[0]), ERR_PRODUCER_FENCED);
    assert_int_equal(txn_verify(f->tc, &other, &two[0]), ERR_INVALID_PRODUCER_ID_MAPPING);
    end(f, 100, 0, true);
    assert_int_equal(txn_verify(f->tc, &mine, &two[0]), ERR_CONCURRENT_TRANSACTIONS);
}

/* ---- EndTxn ---- */

static void a_transaction_ends_once(void **state)
{
    struct fixture *f = *state;
    init(f);
    assert_int_equal(end(f, 100, 0, true), ERR_INVALID_TXN_STATE);
    add(f, 100, 0, 2);
    assert_int_equal(end(f, 100, 1, true), ERR_PRODUCER_FENCED);
    assert_int_equal(end(f, 100, 0, true), ERR_NONE); /* decided: who asked need not wait for the markers */
    assert_int_equal(end(f, 100, 0, true), ERR_CONCURRENT_TRANSACTIONS);
    assert_int_equal(add(f, 100, 0, 1), ERR_CONCURRENT_TRANSACTIONS);
    answer_markers(f, ERR_NONE);
    settle(f);
    assert_int_equal(status(f), TXN_COMPLETE_COMMIT);
    assert_int_equal(end(f, 100, 0, true), ERR_NONE);
    assert_int_equal(end(f, 100, 0, false), ERR_INVALID_TXN_STATE);
    assert_int_equal(add(f, 100, 0, 1), ERR_NONE);
    assert_int_equal(status(f), TXN_ONGOING);
}

static void what_is_not_written_is_not_decided(void **state)
{
    struct fixture *f = *state;
    begin(f);
    f->log.error = ERR_REQUEST_TIMED_OUT;
    assert_int_equal(end(f, 100, 0, true), ERR_COORDINATOR_NOT_AVAILABLE);
    assert_int_equal(status(f), TXN_ONGOING);
    assert_null(f->sent);
    f->log.error = ERR_NONE;
    assert_int_equal(end(f, 100, 0, false), ERR_NONE);
    assert_int_equal(status(f), TXN_PREPARE_ABORT);
}

/* ---- Markers ---- */

static bool is_sent(struct fixture *f)
{
    return f->sent != NULL;
}

static void a_leader_that_has_moved_is_followed(void **state)
{
    struct fixture *f = *state;
    begin(f);
    end(f, 100, 0, true);
    assert_int_equal(f->sent_to, LEADER);
    f->leader = LEADER + 1;
    answer_markers(f, ERR_NOT_LEADER_OR_FOLLOWER);
    run_until(f, is_sent);
    assert_int_equal(f->sent_to, LEADER + 1);
    answer_markers(f, ERR_NONE);
    settle(f);
    assert_int_equal(status(f), TXN_COMPLETE_COMMIT);
}

static void a_leader_that_cannot_be_reached_is_tried_again(void **state)
{
    struct fixture *f = *state;
    begin(f);
    end(f, 100, 0, true);
    struct broker_call *call = f->sent;
    f->sent = NULL;
    call->done(call, ERR_NETWORK_EXCEPTION);
    run_until(f, is_sent);
    assert_int_equal(markers(f)->markers.items[0].topics.items[0].partition_indexes.len, 2);
}

static void a_leader_is_waited_for(void **state)
{
    struct fixture *f = *state;
    begin(f);
    f->leader = TXN_NO_LEADER;
    end(f, 100, 0, true);
    assert_null(f->sent);
    f->leader = LEADER;
    run_until(f, is_sent);
}

static void a_deleted_partition_needs_no_marker(void **state)
{
    struct fixture *f = *state;
    begin(f);
    f->leader = TXN_NO_PARTITION;
    end(f, 100, 0, true);
    settle(f);
    assert_int_equal(status(f), TXN_COMPLETE_COMMIT);
}

static void a_fenced_coordinator_stops(void **state)
{
    struct fixture *f = *state;
    begin(f);
    end(f, 100, 0, true);
    answer_markers(f, ERR_TRANSACTION_COORDINATOR_FENCED);
    assert_int_equal(settle(f), 0);
    assert_false(timer_is_running(&f->tc->retry));
    assert_int_equal(status(f), TXN_PREPARE_COMMIT);
}

/* For a partition of another leader, whom no one has fenced: the other partitions get theirs, or stay open. */
static void one_that_is_fenced_keeps_no_other_marker_back(void **state)
{
    struct fixture *f = *state;
    begin(f);
    f->second_is_homeless = true;
    end(f, 100, 0, true);
    settle(f);
    answer_markers(f, ERR_INVALID_PRODUCER_EPOCH);
    f->second_is_homeless = false;
    run_until(f, is_sent);
    answer_markers(f, ERR_NOT_LEADER_OR_FOLLOWER); /* which is tried again */
    run_until(f, is_sent);
    assert_int_equal(markers(f)->markers.len, 1);
    answer_markers(f, ERR_NONE);
    assert_int_equal(settle(f), 0);
    assert_false(timer_is_running(&f->tc->retry));
    assert_int_equal(status(f), TXN_PREPARE_COMMIT);
}

static void the_markers_of_several_leave_together(void **state)
{
    struct fixture *f = *state;
    struct question q;
    struct txn_producer y = {str_of("y"), 101, 0}, z = {str_of("z"), 102, 0};
    begin(f);
    txn_init_producer(f->tc, &y, TIMEOUT_MS, &ask(&q)->call);
    txn_init_producer(f->tc, &z, TIMEOUT_MS, &ask(&q)->call);
    settle(f);
    txn_add_partitions(f->tc, &y, two, 1, &ask(&q)->call);
    txn_add_partitions(f->tc, &z, two, 1, &ask(&q)->call);
    settle(f);
    end(f, 100, 0, true);
    txn_end(f->tc, &y, true, &ask(&q)->call);
    txn_end(f->tc, &z, false, &ask(&q)->call);
    settle(f);
    assert_int_equal(markers(f)->markers.len, 1);
    answer_markers(f, ERR_NONE);
    assert_int_equal(markers(f)->markers.len, 2);
    answer_markers(f, ERR_NONE);
    assert_int_equal(settle(f), 3);
    assert_int_equal(txn_find(f->tc, y.transactional_id)->now.status, TXN_COMPLETE_COMMIT);
    assert_int_equal(txn_find(f->tc, z.transactional_id)->now.status, TXN_COMPLETE_ABORT);
}

static bool is_held(struct fixture *f)
{
    return f->log.held != NULL;
}

static void is_written_until_it_is(struct fixture *f, enum kafka_error error)
{
    begin(f);
    end(f, 100, 0, true);
    answer_markers(f, ERR_NONE);
    f->log.error = error;
    settle(f);
    assert_int_equal(add(f, 100, 0, 1), ERR_CONCURRENT_TRANSACTIONS);
    f->log.error = ERR_NONE;
    run_until(f, is_held);
    settle(f);
    assert_int_equal(status(f), TXN_COMPLETE_COMMIT);
}

static void the_end_is_written_until_it_is(void **state)
{
    is_written_until_it_is(*state, ERR_NOT_ENOUGH_REPLICAS);
}

/* A descriptor that is missing costs no leadership, so that nobody else would come to it. */
static void the_end_is_written_though_the_disk_did_not_take_it(void **state)
{
    is_written_until_it_is(*state, ERR_KAFKA_STORAGE_ERROR);
}

/* ---- Time ---- */

static void a_transaction_that_takes_too_long_is_aborted(void **state)
{
    struct fixture *f = *state;
    begin(f);
    wall += TIMEOUT_MS + 1;
    run_until(f, is_held);
    settle(f);
    assert_int_equal(status(f), TXN_PREPARE_ABORT);
    assert_int_equal(markers(f)->markers.items[0].producer_epoch, 1);
    assert_int_equal(end(f, 100, 0, true), ERR_PRODUCER_FENCED);
}

static void an_id_that_nobody_uses_is_forgotten(void **state)
{
    struct fixture *f = *state;
    init(f);
    wall += f->config.transactional_id_expiration_ms;
    run_until(f, is_held);
    assert_int_equal(add(f, 100, 0, 1), ERR_CONCURRENT_TRANSACTIONS);
    settle(f);
    assert_null(txn_find(f->tc, str_of("x")));
    state_topic_elected(txn_topic(f->tc), HOME, 6, 6);
    assert_null(txn_find(f->tc, str_of("x")));
}

static void an_id_in_use_is_not_forgotten(void **state)
{
    struct fixture *f = *state;
    init(f);
    wall += f->config.transactional_id_expiration_ms;
    run_until(f, is_held);
    f->log.error = ERR_NOT_ENOUGH_REPLICAS;
    settle(f);
    assert_int_equal(status(f), TXN_EMPTY);
    f->log.error = ERR_NONE;
    assert_int_equal(add(f, 100, 0, 1), ERR_NONE); /* it may go on */
}

/* ---- Records ---- */

static void versions_of_records_are_read(void **state)
{
    struct fixture *f = *state;
    load(f, TXN_ONGOING, 3);
    const struct txn *t = txn_find(f->tc, str_of("x"));
    struct topic_key id;
    assert_int_equal(t->now.producer_id, 50);
    assert_int_equal(t->now.epoch, 3);
    assert_int_equal(t->now.timeout_ms, TIMEOUT_MS);
    assert_int_equal(t->now.start_ms, wall);
    assert_true(topic_key_make(str_of("t"), 1, &id) && txn_has_partition(t, &id));
}

/* ---- Many partitions ---- */

enum { MANY_TOPICS = 20000 };

static const struct txn_partition_ref *many_partitions(struct arena *a)
{
    struct txn_partition_ref *refs = ARENA_ARRAY(a, struct txn_partition_ref, MANY_TOPICS);
    for (int32_t i = 0; i < MANY_TOPICS; i++)
        refs[i] = (struct txn_partition_ref){arena_printf(a, "topic-with-a-long-name-%d", i), i % 3};
    return refs;
}

/* Each costs what it costs alone. */
static void many_partitions_get_their_markers(void **state)
{
    struct fixture *f = *state;
    struct arena a = {0};
    struct question q;
    struct txn_producer who = producer(100, 0);
    assert_int_equal(init(f), ERR_NONE);
    txn_add_partitions(f->tc, &who, many_partitions(&a), MANY_TOPICS, &ask(&q)->call);
    settle(f);
    assert_int_equal(q.error, ERR_NONE);
    assert_int_equal(end(f, 100, 0, true), ERR_NONE);
    assert_int_equal(markers(f)->markers.items[0].topics.len, MANY_TOPICS);
    assert_true(f->sent->arena->used < (size_t)MANY_TOPICS * 500);
    answer_markers(f, ERR_NONE);
    settle(f);
    assert_int_equal(status(f), TXN_COMPLETE_COMMIT);
    arena_deinit(&a);
}

static void leaders_answer_each_partition_for_itself(void **state)
{
    struct fixture *f = *state;
    begin(f);
    end(f, 100, 0, true);
    struct write_txn_markers_response *out = f->sent->response;
    struct broker_call *call = f->sent;
    ARRAY_MAKE(call->arena, out->markers, 1);
    out->markers.items[0].producer_id = 100;
    ARRAY_MAKE(call->arena, out->markers.items[0].topics, 2); /* the topic twice, and not in order */
    for (int32_t i = 0; i < 2; i++) {
        struct write_txn_markers_writable_txn_marker_topic_result *topic = &out->markers.items[0].topics.items[i];
        topic->name = two[1 - i].topic;
        ARRAY_MAKE(call->arena, topic->partitions, 1);
        topic->partitions.items[0].partition_index = two[1 - i].index;
        topic->partitions.items[0].error_code = i == 0 ? ERR_NOT_LEADER_OR_FOLLOWER : ERR_NONE;
    }
    f->sent = NULL;
    call->done(call, ERR_NONE);
    const struct txn *t = txn_find(f->tc, str_of("x"));
    struct topic_key first, second;
    assert_true(topic_key_make(two[0].topic, two[0].index, &first) &&
                topic_key_make(two[1].topic, two[1].index, &second));
    assert_false(txn_has_partition(t, &first));
    assert_true(txn_has_partition(t, &second));
}

/* ---- The asking side of verification ---- */

struct asker {
    struct verifier *verifier;
    struct broker_call *sent;
    int32_t coordinator;
    int done;
};

struct asked {
    struct verification v;
    struct asker *asker;
    enum kafka_error errors[2];
};

static int32_t coordinator_of(void *ctx, struct str id UNUSED)
{
    return ((struct asker *)ctx)->coordinator;
}

static void note_question(void *ctx, int32_t broker, struct broker_call *call)
{
    struct asker *a = ctx;
    assert_int_equal(broker, a->coordinator);
    assert_null(a->sent);
    a->sent = call;
}

static void on_verified(struct verification *v)
{
    CONTAINER_OF(v, struct asked, v)->asker->done++;
}

static void verify(struct asker *a, struct asked *x, int16_t epoch, int32_t count, bool knows_abortable)
{
    *x = (struct asked){.asker = a};
    x->v = (struct verification){.who = producer(100, epoch),
                                 .partitions = two,
                                 .errors = x->errors,
                                 .count = count,
                                 .knows_abortable = knows_abortable,
                                 .done = on_verified};
    verifier_ask(a->verifier, &x->v);
}

static void verify_one(struct asker *a, struct asked *x, int16_t epoch, const struct txn_partition_ref *partition)
{
    *x = (struct asked){.asker = a};
    x->v = (struct verification){.who = producer(100, epoch),
                                 .partitions = partition,
                                 .errors = x->errors,
                                 .count = 1,
                                 .knows_abortable = true,
                                 .done = on_verified};
    verifier_ask(a->verifier, &x->v);
}

static void answer_question(struct asker *a, enum kafka_error first, enum kafka_error second)
{
    struct broker_call *call = a->sent;
    struct add_partitions_to_txn_response *r = call->response;
    add_partitions_to_txn_response_init(r);
    ARRAY_MAKE(call->arena, r->results_by_transaction, 1);
    r->results_by_transaction.items[0].transactional_id = str_of("x");
    ARRAY_MAKE(call->arena, r->results_by_transaction.items[0].topic_results, 1);
    struct add_partitions_to_txn_topic_result *topic = &r->results_by_transaction.items[0].topic_results.items[0];
    topic->name = str_of("t");
    ARRAY_MAKE(call->arena, topic->results_by_partition, 2);
    topic->results_by_partition.items[0].partition_error_code = first;
    topic->results_by_partition.items[1].partition_index = 1;
    topic->results_by_partition.items[1].partition_error_code = second;
    a->sent = NULL;
    call->done(call, ERR_NONE);
}

static void give_verifier(struct asker *a)
{
    a->verifier =
        verifier_new(&(struct verifier_options){.coordinator_of = coordinator_of, .send = note_question, .ctx = a});
}

static void questions_gather_while_one_is_under_way(void **state UNUSED)
{
    struct asker a = {.coordinator = 3};
    struct asked x[4];
    give_verifier(&a);
    verify(&a, &x[0], 0, 1, true);
    verify(&a, &x[1], 0, 1, true);
    verify(&a, &x[2], 0, 2, false);
    verify(&a, &x[3], 1, 1, true); /* of a later producer: an id is in a request once */
    answer_question(&a, ERR_NONE, ERR_NONE);
    assert_int_equal(a.done, 1);
    const struct add_partitions_to_txn_request *request = a.sent->request;
    assert_int_equal(request->transactions.len, 1);
    assert_true(request->transactions.items[0].verify_only);
    answer_question(&a, ERR_PRODUCER_FENCED, ERR_TRANSACTION_ABORTABLE);
    assert_int_equal(a.done, 3);
    assert_int_equal(x[1].errors[0], ERR_INVALID_PRODUCER_EPOCH);
    assert_int_equal(x[2].errors[1], ERR_INVALID_TXN_STATE);
    answer_question(&a, ERR_TRANSACTION_ABORTABLE, ERR_NONE);
    assert_int_equal(x[3].errors[0], ERR_TRANSACTION_ABORTABLE);
    verifier_free(a.verifier);
}

/* Of a transaction's partitions none is looked at when one is not known: that is not what the others asked. */
static void what_another_question_spoilt_is_asked_again(void **state UNUSED)
{
    struct asker a = {.coordinator = 3};
    struct asked x[4];
    give_verifier(&a);
    verify(&a, &x[0], 0, 1, true);
    verify(&a, &x[1], 0, 1, true);
    verify_one(&a, &x[2], 0, &two[1]);
    answer_question(&a, ERR_NONE, ERR_NONE);
    answer_question(&a, ERR_UNKNOWN_TOPIC_OR_PARTITION, ERR_OPERATION_NOT_ATTEMPTED);
    assert_int_equal(a.done, 2);
    assert_int_equal(x[1].errors[0], ERR_UNKNOWN_TOPIC_OR_PARTITION);
    verify(&a, &x[3], 0, 1, true); /* which is not asked together with it */
    const struct add_partitions_to_txn_request *request = a.sent->request;
    assert_int_equal(request->transactions.len, 1);
    assert_int_equal(request->transactions.items[0].topics.len, 1);
    answer_question(&a, ERR_NONE, ERR_OPERATION_NOT_ATTEMPTED); /* whatever it means now: once */
    assert_int_equal(a.done, 3);
    assert_int_equal(x[2].errors[0], ERR_OPERATION_NOT_ATTEMPTED);
    answer_question(&a, ERR_NONE, ERR_NONE);
    assert_int_equal(a.done, 4);
    verify(&a, &x[0], 0, 2, true); /* its own partition keeps the other from being looked at */
    answer_question(&a, ERR_UNKNOWN_TOPIC_OR_PARTITION, ERR_OPERATION_NOT_ATTEMPTED);
    assert_int_equal(a.done, 5);
    assert_int_equal(x[0].errors[1], ERR_OPERATION_NOT_ATTEMPTED);
    assert_null(a.sent);
    verifier_free(a.verifier);
}

enum { MANY_QUESTIONS = 20000 };

/* All of other producers, while one is under way. */
static void many_questions_are_answered_each(void **state UNUSED)
{
    struct asker a = {.coordinator = 3};
    struct arena memory = {0};
    struct asked first, *x = ARENA_ARRAY(&memory, struct asked, MANY_QUESTIONS);
    give_verifier(&a);
    verify(&a, &first, 0, 1, true);
    for (int i = 0; i < MANY_QUESTIONS; i++) {
        x[i] = (struct asked){.asker = &a};
        x[i].v = (struct verification){.who = {arena_printf(&memory, "an-id-of-some-length-%d", i / 2), i / 2, 0},
                                       .partitions = &two[i % 2],
                                       .errors = x[i].errors,
                                       .count = 1,
                                       .knows_abortable = true,
                                       .done = on_verified};
        verifier_ask(a.verifier, &x[i].v);
    }
    answer_question(&a, ERR_NONE, ERR_NONE);
    const struct add_partitions_to_txn_request *request = a.sent->request;
    struct add_partitions_to_txn_response *r = a.sent->response;
    struct broker_call *call = a.sent;
    assert_int_equal(request->transactions.len, MANY_QUESTIONS / 2);
    add_partitions_to_txn_response_init(r);
    ARRAY_MAKE(call->arena, r->results_by_transaction, request->transactions.len);
    for (int32_t i = 0; i < request->transactions.len; i++) {
        const struct add_partitions_to_txn_transaction *asked = &request->transactions.items[i];
        struct add_partitions_to_txn_result *result = &r->results_by_transaction.items[i];
        assert_int_equal(asked->topics.len, 2);
        result->transactional_id = asked->transactional_id;
        ARRAY_MAKE(call->arena, result->topic_results, 2);
        for (int32_t k = 0; k < 2; k++) {
            result->topic_results.items[k].name = asked->topics.items[k].name;
            ARRAY_MAKE(call->arena, result->topic_results.items[k].results_by_partition, 1);
            result->topic_results.items[k].results_by_partition.items[0].partition_index =
                asked->topics.items[k].partitions.items[0];
            result->topic_results.items[k].results_by_partition.items[0].partition_error_code =
                k == 1 && i % 3 == 0 ? ERR_TRANSACTION_ABORTABLE : ERR_NONE;
        }
    }
    a.sent = NULL;
    call->done(call, ERR_NONE);
    assert_int_equal(a.done, 1 + MANY_QUESTIONS);
    for (int i = 0; i < MANY_QUESTIONS; i++)
        assert_int_equal(x[i].errors[0], i % 2 == 1 && i / 2 % 3 == 0 ? ERR_TRANSACTION_ABORTABLE : ERR_NONE);
    verifier_free(a.verifier);
    arena_deinit(&memory);
}

static void nobody_to_ask_is_an_error_but_an_old_coordinator_is_not(void **state UNUSED)
{
    struct asker a = {.coordinator = TXN_NO_LEADER};
    struct asked x;
    give_verifier(&a);
    verify(&a, &x, 0, 1, true);
    assert_int_equal(x.errors[0], ERR_COORDINATOR_NOT_AVAILABLE);
    a.coordinator = 3;
    static const enum kafka_error given[] = {ERR_NETWORK_EXCEPTION, ERR_UNSUPPORTED_VERSION};
    static const enum kafka_error expected[] = {ERR_NETWORK_EXCEPTION, ERR_NONE};
    for (int i = 0; i < 2; i++) {
        verify(&a, &x, 0, 1, true);
        struct broker_call *call = a.sent;
        a.sent = NULL;
        call->done(call, given[i]);
        assert_int_equal(x.errors[0], expected[i]);
    }
    assert_int_equal(a.done, 3);
    verifier_free(a.verifier);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(each_producer_gets_the_next_epoch),
        CASE(what_cannot_be_is_refused),
        CASE(a_producer_goes_on_with_its_own_epoch_only),
        CASE(one_change_at_a_time),
        CASE(a_new_producer_has_the_open_transaction_aborted),
        CASE(a_fence_that_is_not_written_raises_the_epoch_once),
        CASE(the_last_epoch_leads_to_a_new_producer_id),
        CASE(the_last_but_one_epoch_can_be_asked_for_twice),
        CASE(an_epoch_that_was_never_given_stops_nobody_else),
        CASE(what_was_decided_is_completed_by_the_next),
        CASE(damage_is_not_passed_over_in_silence),
        CASE(what_was_not_decided_goes_on),
        CASE(an_answer_from_before_changes_nothing),
        CASE(who_goes_on_leading_forgets_nothing),
        CASE(an_id_stays_in_its_partition),
        CASE(nothing_is_loaded_while_the_topic_has_another_number_of_partitions),
        CASE(only_the_producer_adds_partitions),
        CASE(partitions_are_verified),
        CASE(a_transaction_ends_once),
        CASE(what_is_not_written_is_not_decided),
        CASE(a_leader_that_has_moved_is_followed),
        CASE(a_leader_that_cannot_be_reached_is_tried_again),
        CASE(a_leader_is_waited_for),
        CASE(a_deleted_partition_needs_no_marker),
        CASE(a_fenced_coordinator_stops),
        CASE(one_that_is_fenced_keeps_no_other_marker_back),
        CASE(the_markers_of_several_leave_together),
        CASE(the_end_is_written_until_it_is),
        CASE(the_end_is_written_though_the_disk_did_not_take_it),
        CASE(a_transaction_that_takes_too_long_is_aborted),
        CASE(an_id_that_nobody_uses_is_forgotten),
        CASE(an_id_in_use_is_not_forgotten),
        CASE(versions_of_records_are_read),
        CASE(many_partitions_get_their_markers),
        CASE(leaders_answer_each_partition_for_itself),
        cmocka_unit_test(questions_gather_while_one_is_under_way),
        cmocka_unit_test(what_another_question_spoilt_is_asked_again),
        cmocka_unit_test(many_questions_are_answered_each),
        cmocka_unit_test(nobody_to_ask_is_an_error_but_an_old_coordinator_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
