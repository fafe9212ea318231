/* The group coordinator, with a log in memory. */
#include "memory_log.h"

#include <string.h>

#include "group/group_internal.h"
#include "protocol/msg/consumer_protocol_subscription.h"
#include "protocol/msg/delete_groups.h"
#include "protocol/msg/describe_groups.h"
#include "protocol/msg/group_metadata_key.h"
#include "protocol/msg/group_metadata_value.h"
#include "protocol/msg/heartbeat.h"
#include "protocol/msg/leave_group.h"
#include "protocol/msg/list_groups.h"
#include "protocol/msg/offset_commit_key.h"
#include "protocol/msg/offset_commit_value.h"
#include "protocol/msg/offset_delete.h"
#include "protocol/msg/offset_fetch.h"

enum {
    HOME = 0,
    SESSION_MS = 30000,
    REBALANCE_MS = 60000,
    NEWEST = 99,
    HOUR_MS = 3600000,
    RETENTION_MS = 24 * HOUR_MS
};

/* A request with room for whatever answer it gets. */
struct ask {
    struct group_call call;
    struct arena arena;
    bool answered;
    struct ask *next;
    union {
        struct join_group_response join;
        struct sync_group_response sync;
        struct heartbeat_response heartbeat;
        struct leave_group_response leave;
        struct offset_commit_response commit;
        struct offset_fetch_response fetch;
        struct describe_groups_response describe;
        struct list_groups_response list;
        struct delete_groups_response remove;
        struct offset_delete_response forget;
    } out;
};

struct fixture {
    struct loop *loop;
    struct broker_config config;
    struct hearing *hearing;
    struct group_coordinator *gc;
    struct memory_log log;
    int offsets_gone, groups_gone; /* counted as they are written */
    int16_t last_attributes;
    struct ask *asks;
    struct timer check;
    bool (*until)(const struct fixture *f, const void *what);
    const void *what;
};

static int64_t wall; /* what the coordinator's clock shows */

static int64_t wall_ms(void)
{
    return wall;
}

/* ---- The log ---- */

static void count_tombstones(struct memory_log *log, const struct batch *b)
{
    struct fixture *f = CONTAINER_OF(log, struct fixture, log);
    struct arena a;
    struct record r;
    arena_init(&a, 0);
    struct record_iter *it = record_iter_new(b, &a);
    while (record_iter_next(it, &r) > 0) {
        int version = be16_get(r.key.p);
        f->offsets_gone += r.value.p == NULL && version == 1;
        f->groups_gone += r.value.p == NULL && version == 2;
    }
    record_iter_free(it);
    arena_deinit(&a);
    f->last_attributes = b->attributes;
}

static int settle(struct fixture *f)
{
    return memory_log_settle(&f->log);
}

/* Leadership goes and comes again: everything is read from the log. */
static void move(struct fixture *f)
{
    static int32_t epoch = 5;
    state_topic_resigned(group_topic(f->gc), HOME);
    epoch++;
    state_topic_elected(group_topic(f->gc), HOME, epoch, epoch);
}

/* ---- The fixture ---- */

static void check_until(struct timer *t)
{
    struct fixture *f = CONTAINER_OF(t, struct fixture, check);
    settle(f);
    if (f->until(f, f->what))
        loop_stop(f->loop);
    else
        timer_start(t, 1);
}

/* Lets the timers run, and the log answer, until it is so. */
static void run_until(struct fixture *f, bool (*until)(const struct fixture *f, const void *what), const void *what)
{
    f->until = until;
    f->what = what;
    timer_init(&f->check, f->loop, check_until);
    timer_start(&f->check, 0);
    loop_run(f->loop);
    timer_stop(&f->check);
}

static bool is_answered(const struct fixture *f UNUSED, const void *what)
{
    return ((const struct ask *)what)->answered;
}

static void wait_for(struct fixture *f, const struct ask *a)
{
    run_until(f, is_answered, a);
}

static int set_up_with(void **state, const char *one, const char *two)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct fail fail = {0};
    const char *overrides[] = {"broker.id=1",
                               "zookeeper.connect=localhost:2181",
                               "log.dirs=/nowhere",
                               "offsets.topic.num.partitions=1",
                               "group.min.session.timeout.ms=1",
                               "group.initial.rebalance.delay.ms=5",
                               "offsets.retention.minutes=1440",
                               one,
                               two};
    struct config_options options = {.overrides = overrides, .override_count = ARRAY_LEN(overrides)};
    assert_true(config_load(&f->config, &options, &fail));
    wall = 1000000000;
    f->log.wrote = count_tombstones;
    f->loop = loop_new("coordinator");
    f->hearing = hearing_new(f->loop);
    f->gc = group_coordinator_new(&(struct group_options){.loop = f->loop,
                                                          .hearing = f->hearing,
                                                          .config = &f->config,
                                                          .log = memory_log_seam(&f->log),
                                                          .wall_ms = wall_ms});
    state_topic_elected(group_topic(f->gc), HOME, 5, 5);
    *state = f;
    return 0;
}

static int set_up(void **state)
{
    return set_up_with(state, "group.max.size=3", "offset.metadata.max.bytes=8");
}

static int set_up_relaxed(void **state)
{
    return set_up_with(state, "offsets.commit.required.acks=1", "offsets.topic.compression.codec=1");
}

static int set_up_delayed(void **state)
{
    return set_up_with(state, "group.initial.rebalance.delay.ms=50", "group.max.size=10");
}

static int set_up_hasty(void **state)
{
    return set_up_with(state, "group.initial.rebalance.delay.ms=0", "group.max.size=10");
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    state_topic_resign_all(group_topic(f->gc));
    memory_log_deinit(&f->log);
    group_coordinator_free(f->gc);
    hearing_free(f->hearing);
    while (f->asks != NULL) {
        struct ask *a = f->asks;
        f->asks = a->next;
        arena_deinit(&a->arena);
        free(a);
    }
    loop_free(f->loop);
    config_deinit(&f->config);
    free(f);
    return 0;
}

/* ---- Asking ---- */

static void on_answer(struct group_call *call)
{
    struct ask *a = CONTAINER_OF(call, struct ask, call);
    assert_false(a->answered);
    a->answered = true;
}

static struct ask *ask(struct fixture *f, int16_t version)
{
    struct ask *a = calloc(1, sizeof(*a));
    a->next = f->asks;
    f->asks = a;
    a->call.done = on_answer;
    a->call.arena = &a->arena;
    /* The zero byte is in the ids of all members that are not static. */
    a->call.client = (struct group_client){STR_LIT("cli\0ent"), STR_LIT("/127.0.0.1"), version};
    return a;
}

/* Who asks: what differs from request to request. */
struct who {
    const char *group, *id, *instance;
    const char *type, *protocols[2], *topic; /* of JoinGroup; NULL: "consumer", "range", "t" */
    int32_t generation, session_ms, rebalance_ms;
    int16_t version;
};

static struct bytes subscription(struct arena *a, const char *topic)
{
    struct consumer_protocol_subscription s;
    struct writer w;
    consumer_protocol_subscription_init(&s);
    ARRAY_MAKE(a, s.topics, 1);
    s.topics.items[0] = str_of(topic);
    writer_init(&w);
    writer_int16(&w, 1);
    consumer_protocol_subscription_write(&w, 1, &s);
    struct bytes b = {arena_copy(a, w.buf.p, w.buf.len), (int32_t)w.buf.len};
    writer_deinit(&w);
    return b;
}

/* As a client sends it: a ~ stands for a zero byte. */
static struct str sent(struct ask *a, const char *s)
{
    struct str copy = arena_str(&a->arena, str_of(s));
    for (int32_t i = 0; i < copy.len; i++)
        if (copy.p[i] == '~')
            ((char *)(uintptr_t)copy.p)[i] = '\0';
    return copy;
}

static struct ask *join(struct fixture *f, struct who who)
{
    struct ask *a = ask(f, who.version ? who.version : 9);
    struct join_group_request *in = ARENA_NEW(&a->arena, struct join_group_request);
    join_group_request_init(in);
    in->group_id = sent(a, who.group ? who.group : "g");
    in->member_id = sent(a, who.id ? who.id : "");
    in->group_instance_id = sent(a, who.instance);
    in->protocol_type = str_of(who.type ? who.type : "consumer");
    in->session_timeout_ms = who.session_ms ? who.session_ms : SESSION_MS;
    in->rebalance_timeout_ms = who.rebalance_ms ? who.rebalance_ms : REBALANCE_MS;
    ARRAY_MAKE(&a->arena, in->protocols, 2);
    in->protocols.len = who.protocols[1] != NULL ? 2 : 1;
    for (int32_t i = 0; i < in->protocols.len; i++)
        in->protocols.items[i] =
            (struct join_group_request_protocol){sent(a, who.protocols[i] ? who.protocols[i] : "range"),
                                                 subscription(&a->arena, who.topic ? who.topic : "t")};
    join_group_response_init(&a->out.join);
    group_join(f->gc, in, &a->out.join, &a->call);
    return a;
}

static struct ask *sync_assigning(struct fixture *f, struct who who, const char *const *members, int32_t count)
{
    struct ask *a = ask(f, who.version ? who.version : 5);
    struct sync_group_request *in = ARENA_NEW(&a->arena, struct sync_group_request);
    sync_group_request_init(in);
    in->group_id = sent(a, who.group ? who.group : "g");
    in->member_id = sent(a, who.id ? who.id : "");
    in->group_instance_id = sent(a, who.instance);
    in->generation_id = who.generation;
    in->protocol_type = str_of(who.type ? who.type : "consumer");
    in->protocol_name = sent(a, who.protocols[0] ? who.protocols[0] : "range");
    ARRAY_MAKE(&a->arena, in->assignments, count);
    for (int32_t i = 0; i < count; i++)
        in->assignments.items[i] = (struct sync_group_request_assignment){
            sent(a, members[i]), {(const uint8_t *)members[i], (int32_t)strlen(members[i])}};
    sync_group_response_init(&a->out.sync);
    group_sync(f->gc, in, &a->out.sync, &a->call);
    return a;
}

static struct ask *sync_group(struct fixture *f, struct who who)
{
    return sync_assigning(f, who, NULL, 0);
}

static int heartbeat(struct fixture *f, struct who who)
{
    struct ask *a = ask(f, 4);
    struct heartbeat_request in;
    heartbeat_request_init(&in);
    in.group_id = sent(a, who.group ? who.group : "g");
    in.member_id = sent(a, who.id ? who.id : "");
    in.group_instance_id = sent(a, who.instance);
    in.generation_id = who.generation;
    heartbeat_response_init(&a->out.heartbeat);
    group_heartbeat(f->gc, &in, &a->out.heartbeat, &a->call);
    assert_true(a->answered);
    return a->out.heartbeat.error_code;
}

static struct ask *leave(struct fixture *f, const struct who *members, int32_t count)
{
    struct ask *a = ask(f, 5);
    struct leave_group_request in;
    leave_group_request_init(&in);
    in.group_id = STR_LIT("g");
    ARRAY_MAKE(&a->arena, in.members, count);
    for (int32_t i = 0; i < count; i++) {
        leave_group_member_identity_init(&in.members.items[i]);
        in.members.items[i].member_id = sent(a, members[i].id ? members[i].id : "");
        in.members.items[i].group_instance_id = sent(a, members[i].instance);
    }
    leave_group_response_init(&a->out.leave);
    group_leave(f->gc, &in, &a->out.leave, &a->call);
    assert_true(a->answered);
    return a;
}

struct what { /* is committed */
    struct who who;
    const char *topic;
    int32_t partition;
    int64_t offset, retention_ms, time_ms;
    const char *metadata;
    int64_t producer; /* in its transaction, if not 0 */
};

static struct ask *send_commit(struct fixture *f, struct what what)
{
    struct ask *a = ask(f, what.who.version ? what.who.version : 9);
    struct offset_commit_request *in = ARENA_NEW(&a->arena, struct offset_commit_request);
    struct group_transaction txn = {.producer_id = what.producer};
    offset_commit_request_init(in);
    in->group_id = sent(a, what.who.group ? what.who.group : "g");
    in->member_id = sent(a, what.who.id ? what.who.id : "");
    in->group_instance_id = sent(a, what.who.instance);
    in->generation_id_or_member_epoch = what.who.id || what.who.generation ? what.who.generation : -1;
    in->retention_time_ms = what.retention_ms ? what.retention_ms : -1;
    ARRAY_MAKE(&a->arena, in->topics, 1);
    in->topics.items[0].name = sent(a, what.topic ? what.topic : "t");
    ARRAY_MAKE(&a->arena, in->topics.items[0].partitions, 1);
    struct offset_commit_request_partition *p = &in->topics.items[0].partitions.items[0];
    offset_commit_request_partition_init(p);
    p->partition_index = what.partition;
    p->committed_offset = what.offset;
    p->committed_metadata = str_of(what.metadata);
    p->commit_timestamp = what.time_ms ? what.time_ms : -1;
    offset_commit_response_init(&a->out.commit);
    ARRAY_MAKE(&a->arena, a->out.commit.topics, 1);
    ARRAY_MAKE(&a->arena, a->out.commit.topics.items[0].partitions, 1);
    if (what.producer != 0)
        group_commit_in_transaction(f->gc, &txn, in, &a->out.commit, &a->call);
    else
        group_commit(f->gc, in, &a->out.commit, &a->call);
    return a;
}

static int commit_result(const struct ask *a)
{
    assert_true(a->answered);
    return a->out.commit.topics.items[0].partitions.items[0].error_code;
}

static int commit(struct fixture *f, struct what what)
{
    struct ask *a = send_commit(f, what);
    settle(f);
    return commit_result(a);
}

static int64_t write_marker(struct fixture *f, int64_t producer, bool committed)
{
    struct txn_marker marker = {.producer_id = producer, .commit = committed, .coordinator_epoch = 1};
    struct strbuf batch = {0};
    txn_marker_write(&marker, wall, &batch);
    memory_log_write(&f->log, &batch);
    strbuf_deinit(&batch);
    return f->log.end - 1;
}

static void end_transaction(struct fixture *f, int64_t producer, bool committed)
{
    group_transaction_ended(f->gc, HOME, producer, committed, write_marker(f, producer, committed));
}

enum { NOTHING = -1, UNSTABLE = -2, FAILED = -3 };

/* The offset of one partition, or one of these. */
static int64_t fetch_of(struct fixture *f, const char *group, const char *topic, int32_t partition, bool stable)
{
    struct ask *a = ask(f, 9);
    struct offset_fetch_request in;
    offset_fetch_request_init(&in);
    in.require_stable = stable;
    ARRAY_MAKE(&a->arena, in.groups, 1);
    offset_fetch_request_group_init(&in.groups.items[0]);
    in.groups.items[0].group_id = sent(a, group);
    ARRAY_MAKE(&a->arena, in.groups.items[0].topics, 1);
    in.groups.items[0].topics.items[0].name = sent(a, topic);
    ARRAY_MAKE(&a->arena, in.groups.items[0].topics.items[0].partition_indexes, 1);
    in.groups.items[0].topics.items[0].partition_indexes.items[0] = partition;
    offset_fetch_response_init(&a->out.fetch);
    group_fetch_offsets(f->gc, &in, &a->out.fetch, &a->call);
    assert_true(a->answered);
    if (a->out.fetch.groups.items[0].error_code != ERR_NONE)
        return FAILED;
    assert_int_equal(a->out.fetch.groups.items[0].topics.items[0].partitions.items[0].partition_index, partition);
    int error = a->out.fetch.groups.items[0].topics.items[0].partitions.items[0].error_code;
    int64_t offset = a->out.fetch.groups.items[0].topics.items[0].partitions.items[0].committed_offset;
    return error == ERR_UNSTABLE_OFFSET_COMMIT ? UNSTABLE : offset;
}

static int64_t fetch(struct fixture *f, const char *topic, int32_t partition)
{
    return fetch_of(f, "g", topic, partition, false);
}

static struct ask *describe(struct fixture *f, const char *group)
{
    struct ask *a = ask(f, 5);
    struct describe_groups_request in;
    describe_groups_request_init(&in);
    ARRAY_MAKE(&a->arena, in.groups, 1);
    in.groups.items[0] = sent(a, group);
    describe_groups_response_init(&a->out.describe);
    group_describe(f->gc, &in, &a->out.describe, &a->call);
    assert_true(a->answered);
    return a;
}

static void expect_state(struct fixture *f, const char *group, const char *group_state)
{
    const struct describe_groups_described_group *d = &describe(f, group)->out.describe.groups.items[0];
    assert_int_equal(d->error_code, ERR_NONE);
    assert_true(str_is(d->group_state, group_state));
}

static struct ask *list(struct fixture *f, const char *group_state, const char *type)
{
    struct ask *a = ask(f, 5);
    struct list_groups_request in;
    list_groups_request_init(&in);
    ARRAY_MAKE(&a->arena, in.states_filter, group_state != NULL);
    ARRAY_MAKE(&a->arena, in.types_filter, type != NULL);
    in.states_filter.items[0] = str_of(group_state);
    in.types_filter.items[0] = str_of(type);
    list_groups_response_init(&a->out.list);
    group_list(f->gc, &in, &a->out.list, &a->call);
    return a;
}

/* How many groups are in that state and of that type; NULL: in any. */
static int list_groups(struct fixture *f, const char *group_state, const char *type)
{
    const struct list_groups_response *out = &list(f, group_state, type)->out.list;
    return out->error_code == ERR_NONE ? out->groups.len : -out->error_code;
}

static int count_listed(struct fixture *f)
{
    return list(f, NULL, NULL)->out.list.groups.len;
}

static struct ask *delete_groups(struct fixture *f, const char *one, const char *two)
{
    struct ask *a = ask(f, 2);
    struct delete_groups_request *in = ARENA_NEW(&a->arena, struct delete_groups_request);
    ARRAY_MAKE(&a->arena, in->groups_names, two != NULL ? 2 : 1);
    in->groups_names.items[0] = str_of(one);
    if (two != NULL)
        in->groups_names.items[1] = str_of(two);
    delete_groups_response_init(&a->out.remove);
    group_delete(f->gc, in, &a->out.remove, &a->call);
    settle(f);
    assert_true(a->answered);
    return a;
}

static struct ask *delete_offset(struct fixture *f, const char *group, const char *topic)
{
    struct ask *a = ask(f, 0);
    struct offset_delete_request *in = ARENA_NEW(&a->arena, struct offset_delete_request);
    in->group_id = str_of(group);
    ARRAY_MAKE(&a->arena, in->topics, 1);
    in->topics.items[0].name = str_of(topic);
    ARRAY_MAKE(&a->arena, in->topics.items[0].partitions, 1);
    offset_delete_response_init(&a->out.forget);
    ARRAY_MAKE(&a->arena, a->out.forget.topics, 1);
    ARRAY_MAKE(&a->arena, a->out.forget.topics.items[0].partitions, 1);
    group_delete_offsets(f->gc, in, &a->out.forget, &a->call);
    settle(f);
    assert_true(a->answered);
    return a;
}

/* As sent() takes it back. */
static const char *id_of(struct ask *a)
{
    char *id = arena_cstr(&a->arena, a->out.join.member_id);
    for (int32_t i = 0; i < a->out.join.member_id.len; i++)
        if (id[i] == '\0')
            id[i] = '~';
    return id;
}

/* The id that a new dynamic member is told to come again with. */
static const char *promise(struct fixture *f, struct who who)
{
    struct ask *a = join(f, who);
    assert_true(a->answered);
    assert_int_equal(a->out.join.error_code, ERR_MEMBER_ID_REQUIRED);
    return id_of(a);
}

/* Joins, as dynamic members must: twice. */
static struct ask *join_with_id(struct fixture *f, struct who who)
{
    if (who.id == NULL && who.instance == NULL)
        who.id = promise(f, who);
    return join(f, who);
}

static struct who member_of(struct ask *joined)
{
    return (struct who){.id = id_of(joined), .generation = joined->out.join.generation_id};
}

/* A member that is the whole of a stable group. */
static struct who alone(struct fixture *f, struct who who)
{
    struct ask *a = join_with_id(f, who);
    wait_for(f, a);
    assert_int_equal(a->out.join.error_code, ERR_NONE);
    struct who m = member_of(a);
    m.group = who.group;
    m.instance = who.instance;
    m.protocols[0] = who.protocols[0];
    m.type = who.type;
    struct ask *s = sync_assigning(f, m, &m.id, 1);
    settle(f);
    assert_true(s->answered);
    assert_int_equal(s->out.sync.error_code, ERR_NONE);
    return m;
}

/* The same of two members, of which the first leads. */
static void two_of_them(struct fixture *f, struct who first, struct who second, struct who *a, struct who *b)
{
    *a = alone(f, first);
    struct ask *two = join_with_id(f, second);
    assert_int_equal(heartbeat(f, *a), ERR_REBALANCE_IN_PROGRESS);
    first.id = a->id;
    struct ask *one = join(f, first);
    wait_for(f, two);
    assert_true(one->answered);
    *a = member_of(one);
    *b = member_of(two);
    a->instance = first.instance;
    b->instance = second.instance;
    const char *ids[] = {a->id, b->id};
    struct ask *asked = sync_group(f, *b);
    assert_false(asked->answered);
    sync_assigning(f, *a, ids, 2);
    settle(f);
    assert_true(asked->answered);
    assert_true(bytes_eq(asked->out.sync.assignment, (struct bytes){(const uint8_t *)b->id, (int32_t)strlen(b->id)}));
}

static bool is_without_members(const struct fixture *f, const void *what)
{
    const struct group *g = group_find(f->gc, str_of(what));
    return g == NULL || g->members == NULL;
}

/* In all partitions. */
static void begin_expiry(struct fixture *f)
{
    do
        offsets_expire(&f->gc->expiry);
    while (f->gc->expiry_at > 0);
}

static void expire(struct fixture *f)
{
    begin_expiry(f);
    settle(f);
}

/* ---- Members ---- */

static void members_share_a_generation(void **state)
{
    struct fixture *f = *state;
    struct who a, b;
    two_of_them(f, (struct who){0}, (struct who){0}, &a, &b);
    assert_int_equal(a.generation, 2);
    assert_int_equal(heartbeat(f, a), ERR_NONE);
    assert_int_equal(heartbeat(f, b), ERR_NONE);
    expect_state(f, "g", "Stable");
    const struct describe_groups_described_group *d = &describe(f, "g")->out.describe.groups.items[0];
    assert_int_equal(d->members.len, 2);
    assert_true(str_is(d->protocol_data, "range"));
    assert_true(d->members.items[0].member_metadata.len > 0 && d->members.items[0].member_assignment.len > 0);
}

static void only_the_leader_is_told_of_the_others(void **state)
{
    struct fixture *f = *state;
    struct ask *a = join(f, (struct who){.version = 3}), *b = join(f, (struct who){.version = 3});
    wait_for(f, b);
    assert_int_equal(a->out.join.members.len, 2);
    assert_int_equal(b->out.join.members.len, 0);
    assert_true(str_eq(b->out.join.leader, a->out.join.member_id));
}

static void strangers_and_the_past_are_refused(void **state)
{
    struct fixture *f = *state;
    struct who m = alone(f, (struct who){0}), old = m, stranger = {.id = "x", .generation = m.generation};
    old.generation--;
    assert_int_equal(heartbeat(f, stranger), ERR_UNKNOWN_MEMBER_ID);
    assert_int_equal(heartbeat(f, old), ERR_ILLEGAL_GENERATION);
    assert_int_equal(heartbeat(f, (struct who){.group = "other", .id = "x"}), ERR_UNKNOWN_MEMBER_ID);
    assert_int_equal(sync_group(f, stranger)->out.sync.error_code, ERR_UNKNOWN_MEMBER_ID);
    assert_int_equal(sync_group(f, old)->out.sync.error_code, ERR_ILLEGAL_GENERATION);
    assert_int_equal(join(f, stranger)->out.join.error_code, ERR_UNKNOWN_MEMBER_ID);
    assert_int_equal(join(f, (struct who){.group = "other", .id = "x"})->out.join.error_code, ERR_UNKNOWN_MEMBER_ID);
    assert_int_equal(join(f, (struct who){.session_ms = 1800001})->out.join.error_code, ERR_INVALID_SESSION_TIMEOUT);
    struct who empty = {.group = ""};
    assert_int_equal(join(f, empty)->out.join.error_code, ERR_INVALID_GROUP_ID);
    assert_int_equal(heartbeat(f, empty), ERR_INVALID_GROUP_ID);
    expect_state(f, "g", "Stable");
}

static void protocols_must_have_one_in_common(void **state)
{
    struct fixture *f = *state;
    struct who m = alone(f, (struct who){.protocols = {"range", "sticky"}});
    struct who other = {.protocols = {"roundrobin"}}, connect = {.type = "connect"};
    assert_int_equal(join(f, other)->out.join.error_code, ERR_INCONSISTENT_GROUP_PROTOCOL);
    assert_int_equal(join(f, connect)->out.join.error_code, ERR_INCONSISTENT_GROUP_PROTOCOL);
    assert_int_equal(join(f, (struct who){.type = ""})->out.join.error_code, ERR_INCONSISTENT_GROUP_PROTOCOL);
    struct who wrong = m;
    wrong.protocols[0] = "sticky";
    assert_int_equal(sync_group(f, wrong)->out.sync.error_code, ERR_INCONSISTENT_GROUP_PROTOCOL);
    wrong.protocols[0] = NULL;
    wrong.type = "connect";
    assert_int_equal(sync_group(f, wrong)->out.sync.error_code, ERR_INCONSISTENT_GROUP_PROTOCOL);
    struct ask *second = join_with_id(f, (struct who){.protocols = {"sticky"}});
    m.protocols[0] = "range";
    m.protocols[1] = "sticky";
    join(f, m);
    wait_for(f, second);
    assert_true(str_is(second->out.join.protocol_name, "sticky"));
}

static void version_5_names_its_protocol(void **state)
{
    struct fixture *f = *state;
    struct who m = alone(f, (struct who){0});
    struct sync_group_request in;
    struct ask *a = ask(f, 5);
    sync_group_request_init(&in);
    in.group_id = STR_LIT("g");
    in.member_id = str_of(m.id);
    in.generation_id = m.generation;
    group_sync(f->gc, &in, &a->out.sync, &a->call);
    assert_int_equal(a->out.sync.error_code, ERR_INCONSISTENT_GROUP_PROTOCOL);
    a = ask(f, 4);
    group_sync(f->gc, &in, &a->out.sync, &a->call);
    assert_int_equal(a->out.sync.error_code, ERR_NONE);
}

static void an_empty_group_may_become_of_another_type(void **state)
{
    struct fixture *f = *state;
    struct who m = alone(f, (struct who){0});
    leave(f, &m, 1);
    expect_state(f, "g", "Empty");
    struct ask *a = join_with_id(f, (struct who){.type = "connect"}),
               *b = join_with_id(f, (struct who){.type = "connect"});
    wait_for(f, a);
    assert_int_equal(a->out.join.error_code, ERR_NONE);
    assert_int_equal(b->out.join.error_code, ERR_NONE);
    assert_true(str_is(a->out.join.protocol_type, "connect"));
}

static void the_most_votes_choose_the_protocol(void **state)
{
    struct fixture *f = *state;
    struct ask *a = join(f, (struct who){.version = 3, .protocols = {"range", "sticky"}});
    join(f, (struct who){.version = 3, .protocols = {"sticky", "range"}});
    join(f, (struct who){.version = 3, .protocols = {"sticky", "range"}});
    wait_for(f, a);
    assert_true(str_is(a->out.join.protocol_name, "sticky"));
}

static void a_full_group_takes_nobody(void **state)
{
    struct fixture *f = *state; /* group.max.size=3 */
    struct ask *a[3];
    for (int i = 0; i < 3; i++)
        a[i] = join(f, (struct who){.version = 3});
    assert_int_equal(join(f, (struct who){.version = 3})->out.join.error_code, ERR_GROUP_MAX_SIZE_REACHED);
    wait_for(f, a[2]);
    struct ask *late = join(f, (struct who){0});
    assert_int_equal(late->out.join.error_code, ERR_GROUP_MAX_SIZE_REACHED);
    assert_int_equal(late->out.join.member_id.len, 0);
    assert_int_equal(heartbeat(f, member_of(a[0])), ERR_NONE);
}

static void who_was_promised_an_id_is_turned_away_when_it_is_full(void **state)
{
    struct fixture *f = *state;
    struct who m = alone(f, (struct who){0});
    const char *promised = promise(f, (struct who){0});
    struct ask *two[2] = {join(f, (struct who){.version = 3}), join(f, (struct who){.version = 3})};
    struct ask *one = join(f, m);
    assert_false(one->answered); /* for the promised one */
    assert_int_equal(join(f, (struct who){.id = promised})->out.join.error_code, ERR_GROUP_MAX_SIZE_REACHED);
    assert_true(one->answered && two[0]->answered && two[1]->answered);
}

static void a_promised_id_is_waited_for_as_long_as_a_session(void **state)
{
    struct fixture *f = *state;
    struct who m = alone(f, (struct who){0});
    promise(f, (struct who){.session_ms = 20});
    struct ask *second = join(f, (struct who){.version = 3}), *first = join(f, m);
    assert_false(second->answered || first->answered);
    wait_for(f, second);
    assert_int_equal(second->out.join.error_code, ERR_NONE);
}

static void a_promised_id_is_no_static_members(void **state)
{
    struct fixture *f = *state;
    const char *promised = promise(f, (struct who){0});
    struct ask *a = join(f, (struct who){.id = promised, .instance = "i"});
    assert_int_equal(a->out.join.error_code, ERR_UNKNOWN_SERVER_ERROR);
}

static void a_leader_that_joins_again_begins_a_rebalance(void **state)
{
    struct fixture *f = *state;
    struct who a, b;
    two_of_them(f, (struct who){0}, (struct who){0}, &a, &b);
    struct ask *follower = join(f, b);
    assert_true(follower->answered); /* nothing has changed */
    assert_int_equal(follower->out.join.generation_id, a.generation);
    struct ask *leader = join(f, a);
    assert_false(leader->answered);
    assert_int_equal(heartbeat(f, b), ERR_REBALANCE_IN_PROGRESS);
    follower = join(f, b);
    assert_true(leader->answered && follower->answered);
    assert_int_equal(leader->out.join.generation_id, a.generation + 1);
}

static void new_metadata_begins_a_rebalance(void **state)
{
    struct fixture *f = *state;
    struct who a, b;
    two_of_them(f, (struct who){0}, (struct who){0}, &a, &b);
    b.topic = "u";
    assert_false(join(f, b)->answered);
    assert_int_equal(heartbeat(f, a), ERR_REBALANCE_IN_PROGRESS);
    assert_int_equal(sync_group(f, a)->out.sync.error_code, ERR_REBALANCE_IN_PROGRESS);
}

static void a_member_that_is_silent_is_removed(void **state)
{
    struct fixture *f = *state;
    alone(f, (struct who){.session_ms = 300});
    run_until(f, is_without_members, "g");
    expect_state(f, "g", "Empty");
}

/* Two network loops, to one of which a request has come. */
struct network {
    struct fixture *f;
    struct loop *loops[2];
    struct message read, arrived;
    struct who who;
    void (*serve)(struct network *n);
    struct ask *asked;
    bool heard;
};

static void network_serve(struct message *m)
{
    struct network *n = CONTAINER_OF(m, struct network, arrived);
    n->serve(n);
    n->heard = true;
}

static void network_read(struct message *m)
{
    struct network *n = CONTAINER_OF(m, struct network, read);
    loop_post(n->f->loop, &n->arrived);
}

static void network_set_up(struct network *n, struct fixture *f, struct who who, void (*serve)(struct network *n))
{
    *n = (struct network){.f = f, .loops = {loop_new("one"), loop_new("two")}, .who = who, .serve = serve};
    n->read.deliver = network_read;
    n->arrived.deliver = network_serve;
    hearing_set_ears(f->hearing, n->loops, ARRAY_LEN(n->loops));
}

static bool network_is_asked(const struct fixture *f UNUSED, const void *what)
{
    const struct network *n = what;
    struct loop_look one, two;
    loop_look(n->loops[0], &one);
    loop_look(n->loops[1], &two);
    return one.mailbox > 0 && two.mailbox > 0;
}

static bool network_is_heard(const struct fixture *f UNUSED, const void *what)
{
    return ((const struct network *)what)->heard;
}

/* It answers, after what it has read. */
static void network_go_on(struct network *n)
{
    loop_drain(n->loops[1]);
    loop_drain(n->loops[0]);
}

static void network_tear_down(struct network *n)
{
    network_go_on(n);
    loop_drain(n->f->loop);
    loop_free(n->loops[0]);
    loop_free(n->loops[1]);
}

static void serve_heartbeat(struct network *n)
{
    assert_int_equal(heartbeat(n->f, n->who), ERR_NONE);
}

/* As after the broker was stopped for longer than its session. */
static void a_heartbeat_that_has_come_is_heard_before_the_session_is_over(void **state)
{
    struct fixture *f = *state;
    struct network n;
    network_set_up(&n, f, alone(f, (struct who){.session_ms = 20}), serve_heartbeat);
    run_until(f, network_is_asked, &n);
    assert_false(is_without_members(f, "g"));
    loop_post(n.loops[0], &n.read);
    network_go_on(&n);
    run_until(f, network_is_heard, &n);
    assert_false(is_without_members(f, "g"));
    run_until(f, network_is_asked, &n); /* and now it is silent */
    assert_false(is_without_members(f, "g"));
    network_go_on(&n);
    run_until(f, is_without_members, "g");
    network_tear_down(&n);
}

static void serve_join(struct network *n)
{
    n->asked = join(n->f, n->who);
}

static void who_has_rejoined_by_the_network_is_not_left_out(void **state)
{
    struct fixture *f = *state;
    struct network n;
    struct who m = alone(f, (struct who){.rebalance_ms = 50});
    m.rebalance_ms = 50;
    network_set_up(&n, f, m, serve_join);
    struct ask *second = join(f, (struct who){.version = 3, .rebalance_ms = 50});
    run_until(f, network_is_asked, &n);
    loop_post(n.loops[0], &n.read);
    network_go_on(&n);
    run_until(f, network_is_heard, &n);
    assert_true(second->answered && n.asked->answered);
    assert_int_equal(n.asked->out.join.error_code, ERR_NONE);
    assert_int_equal(group_size(group_find(f->gc, STR_LIT("g"))), 2);
    network_tear_down(&n);
}

/* Of those that listen, one is over, and takes another with it. */
static void who_leaves_while_it_is_listened_for_is_gone(void **state)
{
    struct fixture *f = *state;
    struct network n;
    struct who a, b;
    two_of_them(f, (struct who){.session_ms = 20}, (struct who){.session_ms = 20}, &a, &b);
    network_set_up(&n, f, a, serve_heartbeat);
    run_until(f, network_is_asked, &n);
    leave(f, (struct who[]){a, b}, 2);
    assert_true(is_without_members(f, "g"));
    network_tear_down(&n);
}

/* Of which there may be any number: whatever they became nothing by, they are counted. */
static void groups_that_are_nothing_but_a_name_are_counted(void **state)
{
    struct fixture *f = *state;
    const char *id = promise(f, (struct who){0});
    leave(f, &(struct who){.id = id}, 1);
    assert_int_equal(f->gc->void_count, 1);
    send_commit(f, (struct what){.who = {.group = "refused"}, .offset = 1});
    f->log.error = ERR_NOT_ENOUGH_REPLICAS;
    settle(f);
    f->log.error = ERR_NONE;
    assert_int_equal(f->gc->void_count, 2);
    commit(f, (struct what){.who = {.group = "aborted"}, .offset = 1, .producer = 7});
    assert_int_equal(f->gc->void_count, 2);
    end_transaction(f, 7, false);
    assert_int_equal(f->gc->void_count, 3);
}

enum { LONG_ID = 30000 };

static const char *long_id(struct fixture *f, int number)
{
    char *id = ARENA_ARRAY(&ask(f, 0)->arena, char, LONG_ID + 1);
    memset(id, 'g', LONG_ID);
    snprintf(id, LONG_ID, "%d", number);
    id[strlen(id)] = '-';
    id[LONG_ID] = '\0';
    return id;
}

/* What is left of requests that nobody comes back to takes no more than so many bytes, either. */
static void long_names_are_not_kept_without_end(void **state)
{
    struct fixture *f = *state;
    struct arena *a = &ask(f, 0)->arena;
    const char *first = promise(f, (struct who){.group = "first"});
    for (int i = 0; i < MOST_PROMISED_BYTES / LONG_ID; i++)
        promise(f, (struct who){.group = long_id(f, i)});
    assert_true(f->gc->promised_bytes <= MOST_PROMISED_BYTES);
    assert_true(f->gc->promised_count < MOST_PROMISED_BYTES / LONG_ID);
    assert_int_equal(join(f, (struct who){.group = "first", .id = first})->out.join.error_code, ERR_UNKNOWN_MEMBER_ID);
    for (int i = 0; i < 2 * MOST_VOID_BYTES / LONG_ID; i++) /* of no protocol type */
        join(f, (struct who){.group = arena_printf(a, "v%s", long_id(f, i)).p, .type = "", .id = NULL});
    assert_true(f->gc->void_bytes <= MOST_VOID_BYTES && f->gc->void_bytes > MOST_VOID_BYTES / 2);
    while (f->gc->groups != NULL)
        group_forget(f->gc->groups);
    assert_int_equal(f->gc->promised_bytes, 0);
    assert_int_equal(f->gc->void_bytes, 0);
}

/* The next one of that name knows nothing of it. */
static void a_commit_that_is_answered_after_its_group_is_gone_harms_nothing(void **state)
{
    struct fixture *f = *state;
    struct ask *before = send_commit(f, (struct what){.offset = 1});
    memory_log_write_held(&f->log);
    struct held_append *held = f->log.held;
    f->log.held = NULL;
    delete_groups(f, "g", NULL);
    struct ask *behind = send_commit(f, (struct what){.offset = 2});
    struct held_append *last = f->log.held;
    f->log.held = held;
    settle(f);
    assert_int_equal(commit_result(before), ERR_NONE);
    assert_int_equal(fetch(f, "t", 0), NOTHING);
    f->log.held = last;
    f->log.error = ERR_NOT_ENOUGH_REPLICAS;
    settle(f);
    assert_int_equal(commit_result(behind), ERR_COORDINATOR_NOT_AVAILABLE);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(fetch(f, "t", 0), NOTHING);
        move(f);
    }
}

static void errors_of_a_commit_are_those_that_clients_know(void **state UNUSED)
{
    static const enum kafka_error table[][2] = {
        {ERR_NETWORK_EXCEPTION, ERR_COORDINATOR_LOAD_IN_PROGRESS},
        {ERR_UNKNOWN_TOPIC_OR_PARTITION, ERR_COORDINATOR_NOT_AVAILABLE},
        {ERR_NOT_ENOUGH_REPLICAS, ERR_COORDINATOR_NOT_AVAILABLE},
        {ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND, ERR_COORDINATOR_NOT_AVAILABLE},
        {ERR_NOT_LEADER_OR_FOLLOWER, ERR_NOT_COORDINATOR},
        {ERR_KAFKA_STORAGE_ERROR, ERR_NOT_COORDINATOR},
        {ERR_MESSAGE_TOO_LARGE, ERR_INVALID_COMMIT_OFFSET_SIZE},
        {ERR_RECORD_LIST_TOO_LARGE, ERR_INVALID_COMMIT_OFFSET_SIZE},
        {ERR_REQUEST_TIMED_OUT, ERR_REQUEST_TIMED_OUT},
        {ERR_INVALID_TXN_STATE, ERR_INVALID_TXN_STATE},
        {ERR_INVALID_PRODUCER_ID_MAPPING, ERR_INVALID_PRODUCER_ID_MAPPING},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        assert_int_equal(group_commit_error(table[i][0]), table[i][1]);
}

static void who_does_not_rejoin_is_left_out(void **state)
{
    struct fixture *f = *state;
    struct who m = alone(f, (struct who){.rebalance_ms = 300});
    struct ask *second = join(f, (struct who){.version = 3, .rebalance_ms = 300});
    wait_for(f, second);
    assert_int_equal(second->out.join.error_code, ERR_NONE);
    assert_true(str_eq(second->out.join.leader, second->out.join.member_id));
    assert_int_equal(heartbeat(f, m), ERR_UNKNOWN_MEMBER_ID);
}

static bool is_preparing(const struct fixture *f, const void *what)
{
    return group_find(f->gc, str_of(what))->state == GROUP_PREPARING;
}

static void who_does_not_ask_for_its_assignment_is_removed(void **state)
{
    struct fixture *f = *state;
    struct ask *a = join(f, (struct who){.version = 3, .rebalance_ms = 300});
    struct ask *b = join(f, (struct who){.version = 3, .rebalance_ms = 300});
    wait_for(f, b);
    struct who leader = member_of(a), other = member_of(b);
    struct ask *s = sync_group(f, leader);
    settle(f);
    assert_true(s->answered);
    expect_state(f, "g", "Stable"); /* and yet: */
    run_until(f, is_preparing, "g");
    assert_int_equal(heartbeat(f, leader), ERR_REBALANCE_IN_PROGRESS);
    assert_int_equal(heartbeat(f, other), ERR_UNKNOWN_MEMBER_ID);
}

/* The time has begun with another process, which had all of it. */
static void who_takes_a_place_is_not_removed_as_the_one_before_did_not_ask(void **state)
{
    struct fixture *f = *state;
    struct ask *a = join(f, (struct who){.version = 3, .rebalance_ms = 300});
    struct ask *b = join(f, (struct who){.instance = "two", .rebalance_ms = 300});
    wait_for(f, b);
    struct who leader = member_of(a);
    sync_group(f, leader);
    settle(f);
    expect_state(f, "g", "Stable");
    struct ask *again = join(f, (struct who){.instance = "two", .rebalance_ms = 300});
    settle(f);
    assert_true(again->answered);
    struct who now = member_of(again);
    now.instance = "two";
    run_until(f, is_preparing, "g");
    assert_int_equal(heartbeat(f, leader), ERR_REBALANCE_IN_PROGRESS);
    assert_int_equal(heartbeat(f, now), ERR_REBALANCE_IN_PROGRESS);
}

static void the_first_generation_waits_for_more_members(void **state)
{
    struct fixture *f = *state; /* group.initial.rebalance.delay.ms=50 */
    struct ask *a = join(f, (struct who){.version = 3}), *b = join(f, (struct who){.version = 3});
    assert_false(a->answered || b->answered);
    wait_for(f, a);
    assert_true(b->answered);
    assert_int_equal(a->out.join.members.len, 2);
}

/* Who was promised an id may never come back: the first generation has others to wait for, or nobody. */
static void the_first_generation_waits_for_no_promises(void **state)
{
    struct fixture *f = *state; /* group.initial.rebalance.delay.ms=0 */
    const char *promised = promise(f, (struct who){0});
    struct ask *a = join(f, (struct who){.version = 3}), *b;
    assert_true(pending_find(group_find(f->gc, STR_LIT("g")), sent(a, promised)) != NULL);
    wait_for(f, a);
    assert_int_equal(a->out.join.error_code, ERR_NONE);
    b = join(f, (struct who){.id = promised});
    assert_false(b->answered); /* in the next one, which waits for who was there */
}

/* A session that ended while its member waited was passed over, so it begins with the answer, whatever that says. */
static void an_assignment_that_fails_begins_the_session_over(void **state)
{
    struct fixture *f = *state;
    struct ask *a = join(f, (struct who){.version = 3}), *b = join(f, (struct who){.version = 3});
    wait_for(f, a);
    struct member *m = member_find(group_find(f->gc, STR_LIT("g")), b->out.join.member_id);
    struct ask *s = sync_group(f, member_of(b));
    patience_stop(&m->session);
    f->log.error = ERR_NOT_ENOUGH_REPLICAS;
    sync_group(f, member_of(a));
    settle(f);
    assert_int_equal(s->out.sync.error_code, ERR_COORDINATOR_NOT_AVAILABLE);
    assert_true(patience_is_running(&m->session));
}

static void an_assignment_that_is_not_stored_is_no_assignment(void **state)
{
    struct fixture *f = *state;
    struct ask *a = join_with_id(f, (struct who){0});
    wait_for(f, a);
    f->log.error = ERR_NOT_ENOUGH_REPLICAS;
    struct ask *s = sync_group(f, member_of(a));
    settle(f);
    assert_int_equal(s->out.sync.error_code, ERR_COORDINATOR_NOT_AVAILABLE);
    expect_state(f, "g", "PreparingRebalance");
    f->log.error = ERR_NONE;
    struct ask *again = join(f, (struct who){.id = id_of(a)});
    assert_true(again->answered);
    f->log.error = ERR_REQUEST_TIMED_OUT;
    s = sync_group(f, member_of(again));
    settle(f);
    assert_int_equal(s->out.sync.error_code, ERR_REBALANCE_IN_PROGRESS);
}

/* ---- Leaving ---- */

static void several_leave_at_once(void **state)
{
    struct fixture *f = *state;
    struct who a, b;
    two_of_them(f, (struct who){0}, (struct who){.instance = "i"}, &a, &b);
    const char *promised = promise(f, (struct who){0});
    const struct who all[] = {{.id = "x"}, {.id = a.id}, {.instance = "i"}, {.id = promised}, {.instance = "none"}};
    struct ask *l = leave(f, all, 5);
    static const int expected[] = {ERR_UNKNOWN_MEMBER_ID, ERR_NONE, ERR_NONE, ERR_NONE, ERR_UNKNOWN_MEMBER_ID};
    assert_int_equal(l->out.leave.error_code, ERR_NONE);
    for (int i = 0; i < 5; i++)
        assert_int_equal(l->out.leave.members.items[i].error_code, expected[i]);
    expect_state(f, "g", "Empty");
}

static void who_cannot_leave_disturbs_nobody(void **state)
{
    struct fixture *f = *state;
    struct who m = alone(f, (struct who){.instance = "i"}), wrong = {.id = "x", .instance = "i"},
               stranger = {.id = "x"};
    assert_int_equal(leave(f, &wrong, 1)->out.leave.members.items[0].error_code, ERR_FENCED_INSTANCE_ID);
    assert_int_equal(leave(f, &stranger, 1)->out.leave.members.items[0].error_code, ERR_UNKNOWN_MEMBER_ID);
    assert_int_equal(heartbeat(f, m), ERR_NONE);
}

/* ---- Static members ---- */

static void a_static_member_comes_back_without_a_rebalance(void **state)
{
    struct fixture *f = *state;
    struct who a, b;
    two_of_them(f, (struct who){.instance = "one"}, (struct who){.instance = "two"}, &a, &b);
    struct ask *again = join(f, (struct who){.instance = "two"});
    assert_false(again->answered); /* it is written first */
    settle(f);
    assert_true(again->answered);
    struct who now = member_of(again);
    now.instance = "two";
    assert_int_equal(now.generation, b.generation);
    assert_string_not_equal(now.id, b.id);
    assert_false(again->out.join.skip_assignment);
    assert_int_equal(heartbeat(f, b), ERR_FENCED_INSTANCE_ID);
    assert_int_equal(sync_group(f, b)->out.sync.error_code, ERR_FENCED_INSTANCE_ID);
    assert_int_equal(join(f, b)->out.join.error_code, ERR_FENCED_INSTANCE_ID);
    assert_int_equal(commit(f, (struct what){b, .offset = 1}), ERR_FENCED_INSTANCE_ID);
    struct ask *s = sync_group(f, now);
    assert_true(bytes_eq(s->out.sync.assignment, (struct bytes){(const uint8_t *)b.id, (int32_t)strlen(b.id)}));
    assert_int_equal(heartbeat(f, now), ERR_NONE);
    assert_int_equal(heartbeat(f, a), ERR_NONE);
}

static void a_static_leader_that_comes_back_does_not_assign(void **state)
{
    struct fixture *f = *state;
    struct who m = alone(f, (struct who){.instance = "one"});
    struct ask *old = join(f, (struct who){.instance = "one", .version = 8});
    settle(f);
    assert_int_equal(old->out.join.members.len, 0); /* it does not learn that it leads */
    assert_true(str_is(old->out.join.leader, m.id));
    struct ask *again = join(f, (struct who){.instance = "one"});
    settle(f);
    assert_true(again->out.join.skip_assignment);
    assert_int_equal(again->out.join.members.len, 1);
    assert_true(str_eq(again->out.join.leader, again->out.join.member_id));
    assert_int_equal(again->out.join.generation_id, m.generation);
}

static void a_static_member_that_changes_the_protocol_begins_a_rebalance(void **state)
{
    struct fixture *f = *state;
    struct who m = alone(f, (struct who){.instance = "one", .protocols = {"range", "sticky"}});
    struct ask *a = join(f, (struct who){.instance = "one", .protocols = {"sticky", "range"}});
    assert_true(a->answered);
    assert_int_equal(a->out.join.generation_id, m.generation + 1);
    assert_true(str_is(a->out.join.protocol_name, "sticky"));
}

static void a_static_member_that_is_not_stored_does_not_replace(void **state)
{
    struct fixture *f = *state;
    struct who m = alone(f, (struct who){.instance = "one"});
    f->log.error = ERR_NOT_LEADER_OR_FOLLOWER;
    struct ask *a = join(f, (struct who){.instance = "one"});
    settle(f);
    assert_int_equal(a->out.join.error_code, ERR_NOT_COORDINATOR);
    assert_int_equal(heartbeat(f, m), ERR_NONE);
}

static void a_rebalance_takes_over_who_is_being_replaced(void **state)
{
    struct fixture *f = *state;
    struct who m = alone(f, (struct who){.instance = "one"});
    struct ask *again = join(f, (struct who){.instance = "one"}), *more = join(f, (struct who){.version = 3});
    assert_true(again->answered && more->answered);
    assert_int_equal(again->out.join.generation_id, m.generation + 1);
    settle(f);
    assert_int_equal(heartbeat(f, member_of(again)), ERR_NONE);
}

static void a_static_member_in_the_middle_of_a_rebalance(void **state)
{
    struct fixture *f = *state;
    struct ask *a = join(f, (struct who){.instance = "one"}), *b = join(f, (struct who){.instance = "two"});
    wait_for(f, b);
    struct ask *s = sync_group(f, (struct who){.id = id_of(b), .instance = "two", .generation = 1});
    struct ask *again = join(f, (struct who){.instance = "two"});
    assert_int_equal(s->out.sync.error_code, ERR_FENCED_INSTANCE_ID);
    assert_false(again->answered);
    join(f, (struct who){.id = id_of(a), .instance = "one"});
    assert_int_equal(again->out.join.generation_id, 2);
}

/* ---- Moving between brokers ---- */

static void members_and_offsets_are_loaded(void **state)
{
    struct fixture *f = *state;
    struct who a, b;
    two_of_them(f, (struct who){.instance = "one"}, (struct who){0}, &a, &b);
    assert_int_equal(commit(f, (struct what){a, .partition = 3, .offset = 42, .metadata = "x"}), ERR_NONE);
    move(f);
    assert_int_equal(heartbeat(f, a), ERR_NONE);
    assert_int_equal(heartbeat(f, b), ERR_NONE);
    assert_int_equal(fetch(f, "t", 3), 42);
    assert_int_equal(heartbeat(f, (struct who){.id = "x", .instance = "one", .generation = 2}), ERR_FENCED_INSTANCE_ID);
    struct ask *s = sync_group(f, b);
    assert_true(bytes_eq(s->out.sync.assignment, (struct bytes){(const uint8_t *)b.id, (int32_t)strlen(b.id)}));
    struct ask *again = join(f, (struct who){.instance = "one"});
    settle(f);
    assert_true(again->out.join.skip_assignment); /* it still leads */
}

static void a_group_that_goes_tells_who_waits(void **state)
{
    struct fixture *f = *state;
    struct who m = alone(f, (struct who){0});
    struct ask *j = join(f, m), *other = join(f, (struct who){.version = 3});
    wait_for(f, other);
    struct ask *s = sync_group(f, member_of(other));
    assert_true(j->answered);
    assert_false(s->answered);
    struct ask *later = join(f, (struct who){.version = 3});
    assert_int_equal(s->out.sync.error_code, ERR_REBALANCE_IN_PROGRESS);
    state_topic_resigned(group_topic(f->gc), HOME);
    assert_int_equal(later->out.join.error_code, ERR_NOT_COORDINATOR);
    assert_int_equal(heartbeat(f, m), ERR_NOT_COORDINATOR);
    assert_int_equal(fetch(f, "t", 0), FAILED);
}

/* The controller raises the epoch of what goes on being led here whenever a replica's broker leaves. */
static void a_rebalance_outlives_an_epoch(void **state)
{
    struct fixture *f = *state;
    struct who a = alone(f, (struct who){0});
    struct ask *two = join(f, (struct who){.version = 3});
    struct ask *s = send_commit(f, (struct what){.topic = "t", .offset = 1, .producer = 7});
    state_topic_elected(group_topic(f->gc), HOME, 6, 5);
    settle(f);
    assert_int_equal(commit_result(s), ERR_NONE);
    expect_state(f, "g", "PreparingRebalance");
    struct ask *one = join(f, a);
    assert_true(one->answered && two->answered);
    assert_int_equal(one->out.join.generation_id, a.generation + 1);
    sync_group(f, member_of(one));
    settle(f);
    assert_int_equal(f->log.epoch, 6);
    state_topic_elected(group_topic(f->gc), HOME, 8, 8); /* another may have led in between */
    expect_state(f, "g", "Stable");
    assert_int_equal(heartbeat(f, member_of(one)), ERR_NONE);
}

static void an_epoch_does_not_begin_loading_over(void **state)
{
    struct fixture *f = *state;
    struct who m = alone(f, (struct who){0});
    f->log.hold_reads = true;
    move(f);
    state_topic_elected(group_topic(f->gc), HOME, 100, 0);
    f->log.hold_reads = false;
    memory_log_answer_read(&f->log, ERR_NONE);
    expect_state(f, "g", "Stable");
    assert_int_equal(heartbeat(f, m), ERR_NONE);
}

static void while_loading(void **state)
{
    struct fixture *f = *state;
    struct who m = alone(f, (struct who){0});
    f->log.hold_reads = true;
    move(f);
    assert_int_equal(heartbeat(f, m), ERR_NONE); /* its group is coming */
    assert_int_equal(sync_group(f, m)->out.sync.error_code, ERR_REBALANCE_IN_PROGRESS);
    assert_int_equal(join(f, m)->out.join.error_code, ERR_COORDINATOR_LOAD_IN_PROGRESS);
    assert_int_equal(commit(f, (struct what){m, .offset = 1}), ERR_COORDINATOR_LOAD_IN_PROGRESS);
    assert_int_equal(list_groups(f, NULL, NULL), -ERR_COORDINATOR_LOAD_IN_PROGRESS);
    assert_int_equal(delete_offset(f, "g", "t")->out.forget.error_code, ERR_COORDINATOR_LOAD_IN_PROGRESS);
    f->log.hold_reads = false;
    memory_log_answer_read(&f->log, ERR_NONE);
    assert_int_equal(heartbeat(f, m), ERR_NONE);
    assert_int_equal(list_groups(f, NULL, NULL), 1);
}

static bool is_reading(const struct fixture *f, const void *what UNUSED)
{
    return f->log.read_done != NULL;
}

static void what_cannot_be_read_is_not_served(void **state)
{
    struct fixture *f = *state;
    struct who m = alone(f, (struct who){0});
    f->log.hold_reads = true;
    move(f);
    memory_log_answer_read(&f->log, ERR_NONE);
    assert_int_equal(count_listed(f), 0); /* not before all of it is read */
    int64_t term = group_find(f->gc, STR_LIT("g"))->home->term;
    memory_log_answer_read(&f->log, ERR_KAFKA_STORAGE_ERROR);
    assert_int_equal(join(f, m)->out.join.error_code, ERR_COORDINATOR_LOAD_IN_PROGRESS);
    run_until(f, is_reading, NULL); /* it is tried again, from there on */
    f->log.hold_reads = false;
    memory_log_answer_read(&f->log, ERR_NONE);
    assert_int_equal(heartbeat(f, m), ERR_NONE);
    assert_int_equal(group_find(f->gc, STR_LIT("g"))->home->term, term);
    f->log.hold_reads = true;
    move(f);
    memory_log_answer_read(&f->log, ERR_NOT_LEADER_OR_FOLLOWER);
    assert_int_equal(heartbeat(f, m), ERR_NOT_COORDINATOR);
    assert_null(f->gc->groups);
}

static void a_commit_that_is_answered_after_a_move_harms_nothing(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(commit(f, (struct what){.offset = 1, .producer = 7}), ERR_NONE);
    struct ask *a = send_commit(f, (struct what){.offset = 2, .producer = 7});
    move(f);
    f->log.error = ERR_NOT_LEADER_OR_FOLLOWER;
    settle(f);
    assert_int_equal(commit_result(a), ERR_NOT_COORDINATOR);
    end_transaction(f, 7, true);
    assert_int_equal(fetch(f, "t", 0), 1);
}

static void a_group_too_large_is_rebalanced_when_it_is_loaded(void **state)
{
    struct fixture *f = *state;
    struct who a, b;
    two_of_them(f, (struct who){0}, (struct who){0}, &a, &b);
    f->config.group_max_size = 1;
    move(f);
    assert_int_equal(heartbeat(f, a), ERR_REBALANCE_IN_PROGRESS);
    struct ask *one = join(f, a);
    assert_int_equal(join(f, b)->out.join.error_code, ERR_GROUP_MAX_SIZE_REACHED);
    assert_true(one->answered);
    assert_int_equal(one->out.join.error_code, ERR_NONE);
}

static void what_is_deleted_stays_deleted(void **state)
{
    struct fixture *f = *state;
    struct who m = alone(f, (struct who){0});
    assert_int_equal(commit(f, (struct what){m, .offset = 1}), ERR_NONE);
    assert_int_equal(commit(f, (struct what){.who = {.group = "simple"}, .offset = 1}), ERR_NONE);
    leave(f, &m, 1);
    settle(f);
    struct ask *d = delete_groups(f, "g", "simple");
    assert_int_equal(d->out.remove.results.items[0].error_code, ERR_NONE);
    assert_int_equal(d->out.remove.results.items[1].error_code, ERR_NONE);
    move(f);
    assert_int_equal(list_groups(f, NULL, NULL), 0);
    expect_state(f, "g", "Dead");
    assert_int_equal(commit(f, (struct what){.offset = 5}), ERR_NONE); /* now by somebody without a group */
    move(f);
    assert_int_equal(fetch(f, "t", 0), 5);
    assert_int_equal(group_find(f->gc, str_of("g"))->generation, 0);
}

/* A record as some version of Kafka wrote it; frees key and value. */
static void write_record(struct fixture *f, struct writer *key, struct writer *value)
{
    struct batch_builder b;
    struct strbuf batch = {0};
    batch_builder_init(&b, 0);
    state_record_add(&b, key, value, wall);
    assert_true(batch_builder_finish(&b, CODEC_LEVEL_DEFAULT, &batch));
    batch_builder_deinit(&b);
    memory_log_write(&f->log, &batch);
    strbuf_deinit(&batch);
}

static void begin_versioned(struct writer *w, int16_t version)
{
    writer_init(w);
    writer_int16(w, version);
}

static void write_offset(struct fixture *f, const char *topic, int16_t key_version, int16_t version)
{
    struct offset_commit_key k = {.group = STR_LIT("old"), .topic = str_of(topic), .partition = 3};
    struct offset_commit_value v;
    struct writer key, value;
    offset_commit_value_init(&v);
    v.offset = 100 + version;
    v.metadata = STR_LIT("m");
    v.commit_timestamp = wall;
    v.expire_timestamp = wall + HOUR_MS;
    begin_versioned(&key, key_version);
    offset_commit_key_write(&key, key_version, &k);
    begin_versioned(&value, version);
    offset_commit_value_write(&value, version, &v);
    write_record(f, &key, &value);
}

static void offsets_of_all_versions_are_loaded(void **state)
{
    struct fixture *f = *state;
    static const char *const topics[] = {"v0", "v1", "v2", "v3", "v4"};
    for (int16_t version = 0; version <= 4; version++)
        write_offset(f, topics[version], version == 0 ? 0 : 1, version);
    write_offset(f, "newer", 9, 0); /* not ours to understand */
    move(f);
    for (int version = 0; version <= 4; version++)
        assert_int_equal(fetch_of(f, "old", topics[version], 3, false), 100 + version);
    wall += HOUR_MS;
    expire(f);
    assert_int_equal(fetch_of(f, "old", "v1", 3, false), NOTHING); /* which alone says when it expires */
    assert_int_equal(fetch_of(f, "old", "v2", 3, false), 102);
}

static void write_group(struct fixture *f, int16_t version)
{
    struct group_metadata_key k = {.group = STR_LIT("old")};
    struct group_metadata_value v;
    struct group_metadata_value_member_metadata member;
    struct writer key, value;
    group_metadata_value_init(&v);
    group_metadata_value_member_metadata_init(&member);
    member.member_id = STR_LIT("m");
    member.group_instance_id = version >= 3 ? STR_LIT("i") : STR_NULL;
    member.client_id = STR_LIT("c");
    member.client_host = STR_LIT("/h");
    member.session_timeout = SESSION_MS;
    member.rebalance_timeout = version >= 1 ? REBALANCE_MS : -1;
    member.subscription = member.assignment = (struct bytes){(const uint8_t *)"x", 1};
    v.protocol_type = STR_LIT("consumer");
    v.generation = 7;
    v.protocol = STR_LIT("range");
    v.leader = STR_LIT("m");
    v.current_state_timestamp = version >= 2 ? wall : -1;
    v.members.items = &member;
    v.members.len = 1;
    begin_versioned(&key, 2);
    group_metadata_key_write(&key, 2, &k);
    begin_versioned(&value, version);
    group_metadata_value_write(&value, version, &v);
    write_record(f, &key, &value);
}

static void groups_of_all_versions_are_loaded(void **state)
{
    struct fixture *f = *state;
    for (int16_t version = 0; version <= 4; version++) {
        write_group(f, version);
        move(f);
        const char *instance = version >= 3 ? "i" : NULL;
        assert_int_equal(heartbeat(f, (struct who){"old", "m", instance, .generation = 7}), ERR_NONE);
        const struct group *g = group_find(f->gc, str_of("old"));
        assert_int_equal(g->members->rebalance_timeout_ms, version >= 1 ? REBALANCE_MS : SESSION_MS);
        assert_int_equal(g->state_since, version >= 2 ? wall : -1);
        assert_int_equal(describe(f, "old")->out.describe.groups.items[0].members.items[0].member_assignment.len, 1);
    }
}

/* ---- Commits ---- */

/* It is said, and what comes after it counts. */
static void damage_is_not_passed_over_in_silence(void **state)
{
    struct fixture *f = *state;
    commit(f, (struct what){.topic = "before", .offset = 1});
    memory_log_damage(&f->log);
    commit(f, (struct what){.topic = "after", .offset = 2});
    memory_log_errors = 0;
    logger_set_sink(memory_log_count_errors);
    move(f);
    assert_int_equal(memory_log_errors, 1);
    assert_int_equal(fetch(f, "before", 0), 1); /* the record that there is */
    assert_int_equal(fetch(f, "after", 0), 2);
    strbuf_add(&f->log.data, "not enough", 10); /* for a batch */
    f->log.end++;
    move(f);
    logger_set_sink(NULL);
    assert_int_equal(memory_log_errors, 3);
    assert_int_equal(fetch(f, "after", 0), 2);
}

static void who_may_commit(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(commit(f, (struct what){.who = {.generation = 3}}), ERR_ILLEGAL_GENERATION); /* no such group */
    assert_int_equal(commit(f, (struct what){.offset = 1}), ERR_NONE);
    struct ask *a = join_with_id(f, (struct who){0});
    wait_for(f, a);
    struct who m = member_of(a), old = {.id = m.id, .generation = 7}, stranger = {.id = "x", .generation = 1};
    assert_int_equal(commit(f, (struct what){m, .offset = 2}), ERR_REBALANCE_IN_PROGRESS);
    sync_group(f, m);
    settle(f);
    assert_int_equal(commit(f, (struct what){m, .offset = 2}), ERR_NONE);
    assert_int_equal(commit(f, (struct what){old, .offset = 3}), ERR_ILLEGAL_GENERATION);
    assert_int_equal(commit(f, (struct what){stranger, .offset = 3}), ERR_UNKNOWN_MEMBER_ID);
    assert_int_equal(commit(f, (struct what){.offset = 3}),
                     ERR_UNKNOWN_MEMBER_ID); /* nobody, in a group with members */
    assert_int_equal(fetch(f, "t", 0), 2);
    assert_int_equal(commit(f, (struct what){.offset = 4, .producer = 7}), ERR_NONE); /* an old producer says nothing */
    assert_int_equal(commit(f, (struct what){stranger, .offset = 4, .producer = 7}), ERR_UNKNOWN_MEMBER_ID);
    assert_int_equal(commit(f, (struct what){old, .offset = 4, .producer = 7}), ERR_ILLEGAL_GENERATION);
    assert_int_equal(commit(f, (struct what){.who = {.group = ""}, .offset = 1}), ERR_NONE);
    assert_int_equal(commit(f, (struct what){.who = {.group = ""}, .offset = 1, .producer = 7}), ERR_INVALID_GROUP_ID);
}

static void texts_are_as_long_as_in_java(void **state)
{
    struct fixture *f = *state; /* offset.metadata.max.bytes=8 */
    assert_int_equal(commit(f, (struct what){.offset = 1, .metadata = "12345678"}), ERR_NONE);
    assert_int_equal(commit(f, (struct what){.offset = 2, .metadata = "123456789"}), ERR_OFFSET_METADATA_TOO_LARGE);
    assert_int_equal(commit(f, (struct what){.offset = 3,
                                             .metadata = "\xc3\xa4\xe2\x82\xac"
                                                         "abcdef"}),
                     ERR_NONE);
    assert_int_equal(commit(f, (struct what){.offset = 4,
                                             .metadata = "\xf0\x9f\x98\x80"
                                                         "abcdefg"}),
                     ERR_OFFSET_METADATA_TOO_LARGE);
    assert_int_equal(fetch(f, "t", 0), 3);
}

static void an_offset_on_its_way_is_not_stable(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(commit(f, (struct what){.offset = 1}), ERR_NONE);
    struct ask *a = send_commit(f, (struct what){.offset = 2});
    assert_int_equal(fetch_of(f, "g", "t", 0, true), UNSTABLE);
    assert_int_equal(fetch(f, "t", 0), 1);
    settle(f);
    assert_int_equal(commit_result(a), ERR_NONE);
    assert_int_equal(fetch_of(f, "g", "t", 0, true), 2);
    a = send_commit(f, (struct what){.offset = 3});
    f->log.error = ERR_REQUEST_TIMED_OUT;
    settle(f);
    assert_int_equal(commit_result(a), ERR_REQUEST_TIMED_OUT);
    assert_int_equal(fetch_of(f, "g", "t", 0, true), 2);
    f->log.error = ERR_NONE;
    send_commit(f, (struct what){.offset = 9, .producer = 7});
    settle(f);
    assert_int_equal(fetch_of(f, "g", "t", 0, true), UNSTABLE);
    end_transaction(f, 7, false);
    assert_int_equal(fetch_of(f, "g", "t", 0, true), 2);
}

/* Whoever says that he is the same producer: what is refused takes nothing away. */
static void a_refused_offset_leaves_the_one_before(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(commit(f, (struct what){.offset = 1, .producer = 7}), ERR_NONE);
    struct ask *fenced = send_commit(f, (struct what){.offset = 2, .producer = 7});
    f->log.error = ERR_INVALID_PRODUCER_EPOCH;
    settle(f);
    assert_int_equal(commit_result(fenced), ERR_INVALID_PRODUCER_EPOCH);
    assert_int_equal(fetch_of(f, "g", "t", 0, true), UNSTABLE);
    f->log.error = ERR_NONE;
    end_transaction(f, 7, true);
    assert_int_equal(fetch_of(f, "g", "t", 0, true), 1);
    /* A first one that is refused leaves nothing. */
    f->log.error = ERR_INVALID_PRODUCER_EPOCH;
    commit(f, (struct what){.offset = 2, .producer = 7});
    f->log.error = ERR_NONE;
    assert_int_equal(fetch_of(f, "g", "t", 0, true), 1);
    assert_null(f->gc->txn_producers);
}

/* Several at once, of which the first fails, and one that its transaction has ended before. */
static void each_offset_of_a_transaction_has_its_own_fate(void **state)
{
    struct fixture *f = *state;
    struct ask *first = send_commit(f, (struct what){.offset = 1, .producer = 7});
    struct held_append *held = f->log.held;
    f->log.held = NULL;
    struct ask *second = send_commit(f, (struct what){.offset = 2, .producer = 7});
    settle(f);
    assert_int_equal(commit_result(second), ERR_NONE);
    f->log.held = held;
    f->log.error = ERR_INVALID_PRODUCER_EPOCH;
    settle(f);
    assert_int_equal(commit_result(first), ERR_INVALID_PRODUCER_EPOCH);
    f->log.error = ERR_NONE;
    end_transaction(f, 7, true);
    assert_int_equal(fetch_of(f, "g", "t", 0, true), 2);
    send_commit(f, (struct what){.offset = 3, .producer = 7});
    memory_log_write_held(&f->log);
    held = f->log.held;
    f->log.held = NULL;
    end_transaction(f, 7, false);
    send_commit(f, (struct what){.offset = 4, .producer = 7}); /* of the next transaction */
    settle(f);
    f->log.held = held;
    settle(f);
    assert_int_equal(fetch_of(f, "g", "t", 0, true), UNSTABLE);
    end_transaction(f, 7, true);
    assert_int_equal(fetch_of(f, "g", "t", 0, true), 4);
    assert_null(f->gc->txn_producers);
}

/* It has waited for replicas, and its coordinator had it written once more meanwhile. */
static void what_is_said_late_of_a_marker_ends_no_other_transaction(void **state)
{
    struct fixture *f = *state;
    commit(f, (struct what){.offset = 1, .producer = 7});
    int64_t at = write_marker(f, 7, true);
    group_transaction_ended(f->gc, HOME, 7, true, at);
    assert_int_equal(fetch_of(f, "g", "t", 0, true), 1);
    commit(f, (struct what){.offset = 2, .producer = 7});
    send_commit(f, (struct what){.topic = "u", .offset = 3, .producer = 7});
    group_transaction_ended(f->gc, HOME, 7, true, at);
    settle(f);
    assert_int_equal(fetch_of(f, "g", "t", 0, false), 1);
    assert_int_equal(fetch_of(f, "g", "t", 0, true), UNSTABLE);
    assert_int_equal(fetch_of(f, "g", "u", 0, true), UNSTABLE);
    end_transaction(f, 7, true);
    assert_int_equal(fetch_of(f, "g", "t", 0, true), 2);
    assert_int_equal(fetch_of(f, "g", "u", 0, true), 3);
}

/* It began when the marker had come already, but was not written yet. */
static void what_is_in_front_of_a_marker_is_ended_by_it(void **state)
{
    struct fixture *f = *state;
    commit(f, (struct what){.offset = 1});
    send_commit(f, (struct what){.offset = 2, .producer = 7});
    send_commit(f, (struct what){.topic = "u", .offset = 2, .producer = 7});
    memory_log_write_held(&f->log);
    int64_t at = write_marker(f, 7, false);
    group_transaction_ended(f->gc, HOME, 7, false, at);
    assert_int_equal(fetch_of(f, "g", "t", 0, true), UNSTABLE);
    settle(f);
    assert_int_equal(fetch_of(f, "g", "t", 0, true), 1);
    assert_int_equal(fetch_of(f, "g", "u", 0, true), NOTHING);
    assert_null(f->gc->txn_producers);
    commit(f, (struct what){.topic = "v", .offset = 3, .producer = 7});
    end_transaction(f, 7, true);
    for (int i = 0; i < 2; i++) { /* and the same when it is read from the log */
        assert_int_equal(fetch_of(f, "g", "t", 0, true), 1);
        assert_int_equal(fetch_of(f, "g", "u", 0, true), NOTHING);
        assert_int_equal(fetch_of(f, "g", "v", 0, true), 3);
        move(f);
    }
}

/* Two end before anybody knows where the commits of the first are. */
static void a_commit_is_judged_by_the_marker_behind_it(void **state)
{
    struct fixture *f = *state;
    send_commit(f, (struct what){.offset = 2, .producer = 7});
    memory_log_write_held(&f->log);
    int64_t aborted = write_marker(f, 7, false);
    send_commit(f, (struct what){.topic = "u", .offset = 3, .producer = 7});
    memory_log_write_held(&f->log);
    int64_t committed = write_marker(f, 7, true);
    group_transaction_ended(f->gc, HOME, 7, true, committed);
    group_transaction_ended(f->gc, HOME, 7, false, aborted);
    settle(f);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(fetch_of(f, "g", "t", 0, true), NOTHING);
        assert_int_equal(fetch_of(f, "g", "u", 0, true), 3);
        move(f);
    }
}

/* Which a leader that was slow has written when the next transaction was open: it ends that one, in the log as here. */
static void a_marker_that_is_there_twice_ends_what_is_in_front_of_it(void **state)
{
    struct fixture *f = *state;
    commit(f, (struct what){.offset = 1, .producer = 7});
    end_transaction(f, 7, true);
    commit(f, (struct what){.offset = 2, .producer = 7});
    end_transaction(f, 7, true);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(fetch_of(f, "g", "t", 0, true), 2);
        move(f);
    }
}

/* More than are kept: the oldest commit is judged by the first that is. */
static void many_transactions_may_end_while_a_commit_is_under_way(void **state)
{
    struct fixture *f = *state;
    send_commit(f, (struct what){.offset = 2, .producer = 7});
    memory_log_write_held(&f->log);
    for (int i = 0; i < 3 * TXN_VERDICTS; i++)
        end_transaction(f, 7, true);
    settle(f);
    assert_int_equal(fetch_of(f, "g", "t", 0, true), 2);
    assert_null(f->gc->txn_producers);
}

static void one_replica_may_do(void **state)
{
    struct fixture *f = *state; /* offsets.commit.required.acks=1, offsets.topic.compression.codec=1 */
    assert_int_equal(commit(f, (struct what){.offset = 1}), ERR_NONE);
    assert_int_equal(f->log.leader_only, 1);
    assert_int_equal(f->last_attributes & ATTR_CODEC_MASK, CODEC_GZIP);
    move(f);
    assert_int_equal(fetch(f, "t", 0), 1);
}

static void all_offsets_are_told_by_topic(void **state)
{
    struct fixture *f = *state;
    commit(f, (struct what){.topic = "b", .partition = 1, .offset = 11});
    commit(f, (struct what){.topic = "a", .partition = 0, .offset = 1});
    commit(f, (struct what){.topic = "b", .partition = 0, .offset = 10});
    struct ask *a = ask(f, 7);
    struct offset_fetch_request in;
    offset_fetch_request_init(&in);
    in.group_id = STR_LIT("g");
    in.topics.len = -1;
    offset_fetch_response_init(&a->out.fetch);
    group_fetch_offsets(f->gc, &in, &a->out.fetch, &a->call);
    const struct offset_fetch_response *out = &a->out.fetch;
    assert_int_equal(out->topics.len, 2);
    assert_true(str_is(out->topics.items[0].name, "a") && str_is(out->topics.items[1].name, "b"));
    assert_int_equal(out->topics.items[1].partitions.len, 2);
    assert_int_equal(out->topics.items[1].partitions.items[0].committed_offset, 10);
    assert_int_equal(out->topics.items[1].partitions.items[1].committed_offset, 11);
}

/* ---- Zero bytes ---- */

static void a_zero_byte_does_not_end_a_name(void **state)
{
    struct fixture *f = *state;
    static const char *const groups[] = {"g", "g~", "g~1", "~", "~g"};
    for (int i = 0; i < 5; i++)
        assert_int_equal(commit(f, (struct what){.who.group = groups[i], .offset = i}), ERR_NONE);
    for (int round = 0; round < 2; round++, move(f), settle(f))
        for (int i = 0; i < 5; i++)
            assert_int_equal(fetch_of(f, groups[i], "t", 0, false), i);
    assert_int_equal(fetch_of(f, "g~2", "t", 0, false), NOTHING);
}

static void a_zero_byte_makes_no_topic_another(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(commit(f, (struct what){.topic = "t~1", .offset = 5}), ERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(commit(f, (struct what){.topic = "t", .offset = 1}), ERR_NONE);
    assert_int_equal(fetch(f, "t~1", 0), NOTHING);
    assert_int_equal(fetch(f, "t", 0), 1);
}

static void members_may_hold_zero_bytes(void **state)
{
    struct fixture *f = *state;
    struct who names = {.group = "g~1", .instance = "i~1", .type = "kind~", .protocols = {"p~1"}};
    struct who m = alone(f, names);
    assert_int_equal(heartbeat(f, m), ERR_NONE);
    move(f);
    settle(f);
    assert_int_equal(heartbeat(f, m), ERR_NONE);
    m.instance = "i~2";
    assert_int_equal(heartbeat(f, m), ERR_UNKNOWN_MEMBER_ID);
    expect_state(f, "g", "Dead");
    struct who other = {.group = "g~1", .type = "kind~", .protocols = {"p~2"}};
    struct ask *a = join(f, other);
    assert_int_equal(a->out.join.error_code, ERR_INCONSISTENT_GROUP_PROTOCOL);
}

static void a_member_id_holds_a_part_of_a_long_client_id(void **state)
{
    struct fixture *f = *state;
    static char name[30000];
    for (size_t i = 0; i < sizeof(name); i++)
        name[i] = i % 2 == 0 ? (char)0xc3 : (char)0xa4; /* ä */
    struct ask *b = ask(f, 9);
    b->call.client.client_id = (struct str){name, sizeof(name)};
    struct join_group_request in;
    struct join_group_request_protocol range = {STR_LIT("range"), subscription(&b->arena, "t")};
    join_group_request_init(&in);
    in.group_id = STR_LIT("h");
    in.session_timeout_ms = SESSION_MS;
    in.rebalance_timeout_ms = REBALANCE_MS;
    in.protocol_type = STR_LIT("consumer");
    in.protocols.items = &range;
    in.protocols.len = 1;
    join_group_response_init(&b->out.join);
    group_join(f->gc, &in, &b->out.join, &b->call);
    assert_int_equal(b->out.join.error_code, ERR_MEMBER_ID_REQUIRED);
    assert_in_range(b->out.join.member_id.len, 200, 300);
    assert_true(str_is_utf8(b->out.join.member_id));
}

/* ---- Partitions ---- */

static bool is_there(struct fixture *f, const char *group)
{
    return group_find(f->gc, str_of(group)) != NULL;
}

/* Of three partitions, "a" belongs to 1, "b" to 2, "c" to 0. */
static void make_three(struct fixture *f)
{
    state_topic_set_count(group_topic(f->gc), 3);
    for (int32_t i = 1; i < 3; i++)
        state_topic_elected(group_topic(f->gc), i, 5, 5);
    group_make(f->gc, STR_LIT("a"));
    group_make(f->gc, STR_LIT("b"));
    group_make(f->gc, STR_LIT("c"));
}

static void groups_go_with_their_partition(void **state)
{
    struct fixture *f = *state;
    make_three(f);
    state_topic_resigned(group_topic(f->gc), 1);
    assert_true(!is_there(f, "a") && is_there(f, "b") && is_there(f, "c"));
    state_topic_set_count(group_topic(f->gc), 2);
    state_topic_resigned(group_topic(f->gc), 0);
    assert_true(is_there(f, "b") && !is_there(f, "c"));
}

/* That partitions are added to the topic is of no interest to who is there. */
static void groups_stay_where_they_are(void **state)
{
    struct fixture *f = *state;
    state_topic_set_count(group_topic(f->gc), 1);
    alone(f, (struct who){.session_ms = 20});
    assert_int_equal(commit(f, (struct what){.who = {.group = "h"}, .offset = 1}), ERR_NONE);
    state_topic_set_count(group_topic(f->gc), 7);
    state_topic_elected(group_topic(f->gc), 6, 5, 5);
    assert_int_equal(fetch_of(f, "h", "t", 0, false), 1);
    run_until(f, is_without_members, "g");
    expect_state(f, "g", "Empty");
}

/* The last ones may not have had a leader yet, and are not known to anybody. */
static void fewer_partitions_than_planned_may_be_a_part(void **state)
{
    struct fixture *f = *state;
    const struct state_options options = {.topic = "t", .loop = state_topic_loop(group_topic(f->gc))};
    struct state_topic *t = state_topic_new(&options, 50);
    struct str key = STR_LIT("some group");
    assert_int_equal(state_topic_number_of(t, key, 49), state_partition_of(key, 49));
    state_topic_set_count(t, 49);
    assert_int_equal(state_topic_find(t, key)->number, state_partition_of(key, 49));
    state_topic_set_count(t, 50);
    assert_int_equal(state_topic_find(t, key)->number, state_partition_of(key, 50));
    state_topic_set_count(t, 60);
    assert_int_equal(state_topic_find(t, key)->number, state_partition_of(key, 50));
    assert_int_equal(state_topic_number_of(t, key, 49), state_partition_of(key, 50));
    state_topic_free(t);
}

/* Of three partitions, of which the log shows all the same. */
static void keys_of_other_partitions_are_not_loaded(void **state)
{
    struct fixture *f = *state;
    for (const char *id = "abc"; *id != '\0'; id++)
        assert_int_equal(commit(f, (struct what){.who = {.group = (char[]){*id, '\0'}}, .offset = *id}), ERR_NONE);
    state_topic_set_count(group_topic(f->gc), 3); /* 0 is read again */
    assert_true(!is_there(f, "a") && !is_there(f, "b") && is_there(f, "c"));
    state_topic_elected(group_topic(f->gc), 1, 5, 5);
    assert_int_equal(fetch_of(f, "a", "t", 0, false), 'a');
    assert_int_equal(fetch_of(f, "b", "t", 0, false), FAILED);
    assert_int_equal(fetch_of(f, "c", "t", 0, false), 'c');
}

static void expiry_looks_at_a_partition_at_a_time(void **state)
{
    struct fixture *f = *state;
    make_three(f);
    offsets_expire(&f->gc->expiry);
    assert_true(is_there(f, "a") && is_there(f, "b") && !is_there(f, "c"));
    assert_true(timer_is_running(&f->gc->expiry));
    offsets_expire(&f->gc->expiry);
    assert_true(!is_there(f, "a") && is_there(f, "b"));
    group_make(f->gc, STR_LIT("c")); /* for the next time */
    expire(f);
    assert_true(!is_there(f, "b") && is_there(f, "c"));
}

/* ---- What goes ---- */

static void offsets_without_a_group_expire_by_their_commit(void **state)
{
    struct fixture *f = *state;
    commit(f, (struct what){.topic = "old", .offset = 1});
    wall += HOUR_MS;
    commit(f, (struct what){.topic = "new", .offset = 1});
    commit(f, (struct what){.who = {.version = 1}, .topic = "past", .offset = 1, .time_ms = wall - RETENTION_MS});
    wall += RETENTION_MS - HOUR_MS - 1;
    expire(f);
    assert_int_equal(fetch(f, "past", 0), NOTHING);
    assert_int_equal(fetch(f, "old", 0), 1);
    wall++;
    expire(f);
    assert_int_equal(fetch(f, "old", 0), NOTHING);
    assert_int_equal(fetch(f, "new", 0), 1);
    wall += HOUR_MS;
    expire(f);
    assert_null(f->gc->groups);
    assert_int_equal(f->offsets_gone, 3);
    assert_int_equal(f->groups_gone, 0); /* it has never had a record */
    move(f);
    assert_null(f->gc->groups);
}

static void a_commit_may_say_how_long_it_is_kept(void **state)
{
    struct fixture *f = *state;
    commit(f, (struct what){.who = {.version = 4}, .topic = "short", .offset = 1, .retention_ms = 1000});
    commit(f, (struct what){
                  .who = {.version = 2}, .topic = "long", .offset = 1, .retention_ms = 3 * (int64_t)RETENTION_MS});
    commit(f, (struct what){.who = {.version = 5}, .topic = "usual", .offset = 1, .retention_ms = 1000});
    commit(f, (struct what){.who = {.version = 2}, .topic = "for ever", .offset = 1, .retention_ms = INT64_MAX});
    wall += 1000;
    move(f);
    expire(f);
    assert_int_equal(fetch(f, "short", 0), NOTHING);
    assert_int_equal(fetch(f, "usual", 0), 1);
    wall += 2 * (int64_t)RETENTION_MS;
    expire(f);
    assert_int_equal(fetch(f, "usual", 0), NOTHING);
    assert_int_equal(fetch(f, "long", 0), 1);
    assert_int_equal(fetch(f, "for ever", 0), 1);
}

static void a_groups_offsets_expire_when_it_has_been_empty_for_long(void **state)
{
    struct fixture *f = *state;
    struct who m = alone(f, (struct who){0});
    commit(f, (struct what){m, .offset = 1});
    wall += 2 * (int64_t)RETENTION_MS;
    expire(f);
    assert_int_equal(fetch(f, "t", 0), 1); /* it is read */
    leave(f, &m, 1);
    settle(f);
    wall += RETENTION_MS - 1;
    move(f);
    expire(f);
    assert_int_equal(fetch(f, "t", 0), 1);
    wall++;
    expire(f);
    assert_null(f->gc->groups);
    assert_int_equal(f->offsets_gone, 1);
    assert_int_equal(f->groups_gone, 1);
    move(f);
    assert_null(f->gc->groups);
}

static void offsets_of_topics_that_are_not_read_any_more_expire(void **state)
{
    struct fixture *f = *state;
    struct who m = alone(f, (struct who){.topic = "t"});
    commit(f, (struct what){m, .topic = "t", .offset = 1});
    commit(f, (struct what){m, .topic = "u", .offset = 1});
    wall += RETENTION_MS;
    move(f);
    expire(f);
    assert_int_equal(fetch(f, "t", 0), 1);
    assert_int_equal(fetch(f, "u", 0), NOTHING);
}

static void nothing_expires_that_may_be_read(void **state)
{
    struct fixture *f = *state;
    struct who m = alone(f, (struct who){.type = "connect"});
    commit(f, (struct what){m, .topic = "u", .offset = 1});
    wall += 2 * (int64_t)RETENTION_MS;
    expire(f);
    assert_int_equal(fetch(f, "u", 0), 1);
}

static void what_is_being_committed_does_not_expire(void **state)
{
    struct fixture *f = *state;
    commit(f, (struct what){.offset = 1});
    wall += RETENTION_MS;
    struct ask *a = send_commit(f, (struct what){.offset = 2});
    begin_expiry(f);
    assert_int_equal(fetch(f, "t", 0), 1);
    settle(f);
    assert_int_equal(commit_result(a), ERR_NONE);
    expire(f);
    assert_int_equal(fetch(f, "t", 0), 2);
}

static void deleted_partitions_take_their_offsets_with_them(void **state)
{
    struct fixture *f = *state;
    commit(f, (struct what){.topic = "t", .offset = 1});
    commit(f, (struct what){.topic = "u", .offset = 1});
    commit(f, (struct what){.who = {.group = "other"}, .topic = "t", .offset = 1});
    struct ask *late = send_commit(f, (struct what){.topic = "t", .offset = 2});
    commit(f, (struct what){.topic = "t", .offset = 3, .producer = 7});
    assert_true(late->answered);
    late = send_commit(f, (struct what){.topic = "t", .offset = 4});
    const struct group_partition gone[] = {{STR_LIT("t"), 0}, {STR_LIT("t"), 1}};
    group_partitions_deleted(f->gc, gone, 2);
    settle(f);
    assert_int_equal(commit_result(late), ERR_NONE);
    end_transaction(f, 7, true);
    assert_int_equal(fetch(f, "t", 0), NOTHING);
    assert_int_equal(fetch(f, "u", 0), 1);
    expect_state(f, "other", "Dead");
    assert_int_equal(f->offsets_gone, 2);
}

static void who_has_members_is_not_deleted(void **state)
{
    struct fixture *f = *state;
    struct who m = alone(f, (struct who){0});
    struct ask *d = delete_groups(f, "g", "none");
    assert_int_equal(d->out.remove.results.items[0].error_code, ERR_NON_EMPTY_GROUP);
    assert_int_equal(d->out.remove.results.items[1].error_code, ERR_GROUP_ID_NOT_FOUND);
    leave(f, &m, 1);
    settle(f);
    promise(f, (struct who){0});
    d = delete_groups(f, "g", "g");
    assert_int_equal(d->out.remove.results.len, 1);
    assert_int_equal(d->out.remove.results.items[0].error_code, ERR_NONE);
    expect_state(f, "g", "Dead");
    assert_int_equal(f->groups_gone, 1);
}

static void offsets_are_deleted_by_order(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(delete_offset(f, "g", "t")->out.forget.error_code, ERR_GROUP_ID_NOT_FOUND);
    struct who m = alone(f, (struct who){.topic = "t"});
    commit(f, (struct what){m, .topic = "t", .offset = 1});
    commit(f, (struct what){m, .topic = "u", .offset = 1});
    struct ask *d = delete_offset(f, "g", "t");
    assert_int_equal(d->out.forget.error_code, ERR_NONE);
    assert_int_equal(d->out.forget.topics.items[0].partitions.items[0].error_code, ERR_GROUP_SUBSCRIBED_TO_TOPIC);
    d = delete_offset(f, "g", "u");
    assert_int_equal(d->out.forget.topics.items[0].partitions.items[0].error_code, ERR_NONE);
    assert_int_equal(fetch(f, "t", 0), 1);
    assert_int_equal(fetch(f, "u", 0), NOTHING);
    leave(f, &m, 1);
    settle(f);
    delete_offset(f, "g", "t");
    expect_state(f, "g", "Dead"); /* nothing was left of it */
    struct who c = alone(f, (struct who){.group = "connect", .type = "connect"});
    assert_int_equal(commit(f, (struct what){c, .offset = 1}), ERR_NONE);
    d = delete_offset(f, "connect", "t");
    assert_int_equal(d->out.forget.error_code, ERR_NON_EMPTY_GROUP);
    assert_int_equal(d->out.forget.topics.len, 0);
    assert_int_equal(delete_offset(f, "", "t")->out.forget.error_code, ERR_INVALID_GROUP_ID);
}

/* Of all producers; others' partitions stay. */
static void what_transactions_committed_is_deleted_by_order_too(void **state)
{
    struct fixture *f = *state;
    for (int64_t producer = 7; producer < 10; producer++) {
        commit(f, (struct what){.topic = "t", .offset = producer, .producer = producer});
        commit(f, (struct what){.topic = "u", .offset = producer, .producer = producer});
    }
    send_commit(f, (struct what){.topic = "u", .offset = 10, .producer = 7});
    delete_offset(f, "g", "u");
    settle(f);
    assert_int_equal(fetch_of(f, "g", "u", 0, true), NOTHING);
    assert_int_equal(fetch_of(f, "g", "t", 0, true), UNSTABLE);
    for (int64_t producer = 7; producer < 10; producer++)
        end_transaction(f, producer, producer == 8);
    assert_int_equal(fetch_of(f, "g", "u", 0, true), NOTHING);
    assert_int_equal(fetch_of(f, "g", "t", 0, true), 8);
    assert_null(f->gc->txn_producers);
}

static void groups_are_listed_by_state_and_type(void **state)
{
    struct fixture *f = *state;
    struct who m = alone(f, (struct who){0});
    commit(f, (struct what){.who = {.group = "simple"}, .offset = 1});
    (void)m;
    assert_int_equal(list_groups(f, NULL, NULL), 2);
    assert_int_equal(list_groups(f, "stable", NULL), 1);
    assert_int_equal(list_groups(f, "Empty", "CLASSIC"), 1);
    assert_int_equal(list_groups(f, "Dead", NULL), 0);
    assert_int_equal(list_groups(f, NULL, "consumer"), 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(members_share_a_generation),
        CASE(only_the_leader_is_told_of_the_others),
        CASE(strangers_and_the_past_are_refused),
        CASE(protocols_must_have_one_in_common),
        CASE(version_5_names_its_protocol),
        CASE(an_empty_group_may_become_of_another_type),
        CASE(the_most_votes_choose_the_protocol),
        CASE(a_full_group_takes_nobody),
        CASE(who_was_promised_an_id_is_turned_away_when_it_is_full),
        CASE(a_promised_id_is_waited_for_as_long_as_a_session),
        CASE(a_promised_id_is_no_static_members),
        CASE(a_leader_that_joins_again_begins_a_rebalance),
        CASE(new_metadata_begins_a_rebalance),
        CASE(a_member_that_is_silent_is_removed),
        CASE(a_heartbeat_that_has_come_is_heard_before_the_session_is_over),
        CASE(who_has_rejoined_by_the_network_is_not_left_out),
        CASE(who_leaves_while_it_is_listened_for_is_gone),
        CASE(groups_that_are_nothing_but_a_name_are_counted),
        CASE(long_names_are_not_kept_without_end),
        CASE(a_commit_that_is_answered_after_its_group_is_gone_harms_nothing),
        CASE(who_takes_a_place_is_not_removed_as_the_one_before_did_not_ask),
        CASE(errors_of_a_commit_are_those_that_clients_know),
        CASE(who_does_not_rejoin_is_left_out),
        CASE(who_does_not_ask_for_its_assignment_is_removed),
        cmocka_unit_test_setup_teardown(the_first_generation_waits_for_more_members, set_up_delayed, tear_down),
        cmocka_unit_test_setup_teardown(the_first_generation_waits_for_no_promises, set_up_hasty, tear_down),
        CASE(an_assignment_that_fails_begins_the_session_over),
        CASE(an_assignment_that_is_not_stored_is_no_assignment),
        CASE(several_leave_at_once),
        CASE(who_cannot_leave_disturbs_nobody),
        CASE(a_static_member_comes_back_without_a_rebalance),
        CASE(a_static_leader_that_comes_back_does_not_assign),
        CASE(a_static_member_that_changes_the_protocol_begins_a_rebalance),
        CASE(a_static_member_that_is_not_stored_does_not_replace),
        CASE(a_rebalance_takes_over_who_is_being_replaced),
        CASE(a_static_member_in_the_middle_of_a_rebalance),
        CASE(members_and_offsets_are_loaded),
        CASE(a_group_that_goes_tells_who_waits),
        CASE(a_rebalance_outlives_an_epoch),
        CASE(an_epoch_does_not_begin_loading_over),
        CASE(while_loading),
        CASE(what_cannot_be_read_is_not_served),
        CASE(a_commit_that_is_answered_after_a_move_harms_nothing),
        CASE(a_group_too_large_is_rebalanced_when_it_is_loaded),
        CASE(what_is_deleted_stays_deleted),
        CASE(offsets_of_all_versions_are_loaded),
        CASE(groups_of_all_versions_are_loaded),
        CASE(damage_is_not_passed_over_in_silence),
        CASE(who_may_commit),
        CASE(texts_are_as_long_as_in_java),
        CASE(an_offset_on_its_way_is_not_stable),
        CASE(a_refused_offset_leaves_the_one_before),
        CASE(each_offset_of_a_transaction_has_its_own_fate),
        cmocka_unit_test_setup_teardown(one_replica_may_do, set_up_relaxed, tear_down),
        CASE(what_is_said_late_of_a_marker_ends_no_other_transaction),
        CASE(what_is_in_front_of_a_marker_is_ended_by_it),
        CASE(a_commit_is_judged_by_the_marker_behind_it),
        CASE(a_marker_that_is_there_twice_ends_what_is_in_front_of_it),
        CASE(many_transactions_may_end_while_a_commit_is_under_way),
        CASE(all_offsets_are_told_by_topic),
        CASE(a_zero_byte_does_not_end_a_name),
        CASE(a_zero_byte_makes_no_topic_another),
        CASE(members_may_hold_zero_bytes),
        CASE(a_member_id_holds_a_part_of_a_long_client_id),
        CASE(groups_go_with_their_partition),
        CASE(groups_stay_where_they_are),
        CASE(keys_of_other_partitions_are_not_loaded),
        CASE(fewer_partitions_than_planned_may_be_a_part),
        CASE(expiry_looks_at_a_partition_at_a_time),
        CASE(offsets_without_a_group_expire_by_their_commit),
        CASE(a_commit_may_say_how_long_it_is_kept),
        CASE(a_groups_offsets_expire_when_it_has_been_empty_for_long),
        CASE(offsets_of_topics_that_are_not_read_any_more_expire),
        CASE(nothing_expires_that_may_be_read),
        CASE(what_is_being_committed_does_not_expire),
        CASE(deleted_partitions_take_their_offsets_with_them),
        CASE(who_has_members_is_not_deleted),
        CASE(offsets_are_deleted_by_order),
        CASE(what_transactions_committed_is_deleted_by_order_too),
        CASE(groups_are_listed_by_state_and_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
