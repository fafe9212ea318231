/*
 * The benchmarks' clients of the coordinators: as cheap as they can be made, one connection and one thread each. Each
 * prints one line of JSON.
 *
 *   groups transactions HOST PORT TOPIC PARTITIONS PRODUCERS SECONDS    each a record to each partition, and a commit
 *   groups commits      HOST PORT TOPIC PARTITIONS GROUPS SECONDS       each commits offsets of all partitions
 *   groups rebalance    HOST PORT GROUP MEMBERS LEAVING                 all join, then so many leave, one by one
 *   groups fill         HOST PORT TOPIC PARTITIONS GROUPS               of one member each, with committed offsets
 *   groups producers    HOST PORT TOPIC PARTITIONS IDS                  a batch of each producer id to one partition
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "client.h"
#include "protocol/msg/add_partitions_to_txn.h"
#include "protocol/msg/api.h"
#include "protocol/msg/end_txn.h"
#include "protocol/msg/find_coordinator.h"
#include "protocol/msg/heartbeat.h"
#include "protocol/msg/init_producer_id.h"
#include "protocol/msg/join_group.h"
#include "protocol/msg/leave_group.h"
#include "protocol/msg/offset_commit.h"
#include "protocol/msg/produce.h"
#include "protocol/msg/sync_group.h"

enum {
    ADD_PARTITIONS_VERSION = 3,
    END_TXN_VERSION = 3,
    FIND_COORDINATOR_VERSION = 3,
    HEARTBEAT_VERSION = 4,
    INIT_PRODUCER_ID_VERSION = 4,
    JOIN_GROUP_VERSION = 7,
    LEAVE_GROUP_VERSION = 4,
    OFFSET_COMMIT_VERSION = 8,
    PRODUCE_VERSION = 9,
    SYNC_GROUP_VERSION = 5,
};
enum { GROUP_KEY, TRANSACTION_KEY };
/* Between two attempts at what can be tried again: soon at first, then as seldom as the Java client, which does not
 * load a broker that is busy with the end of a transaction. */
enum { PAUSE_US = 1000, LONGEST_PAUSE_US = 20000, MOST_PAUSES = 3000 };
enum { RECORD_SIZE = 100, MOST_PARTITIONS = 64, SESSION_MS = 1800000, REBALANCE_MS = 60000 };

/* One client and its connection; the answer that was last read lies in it. */
struct peer {
    int fd;
    struct strbuf frame;
    struct arena arena;
};

static void ask(struct peer *p, int16_t key, int16_t version, const void *request, void *response)
{
    arena_deinit(&p->arena);
    p->arena = (struct arena){0};
    send_request(p->fd, key, version, request);
    take_answer(p->fd, key, version, response, &p->frame, &p->arena);
}

/* Whether it is to be tried again, after a pause; ends the program on any error that is no reason to. */
static bool is_for_later(int16_t error, int *pauses, const char *what)
{
    if (error == ERR_NONE)
        return false;
    if (!error_is_retriable(error) || *pauses > MOST_PAUSES)
        die("%s: %s", what, error_name(error));
    usleep((useconds_t)MIN(PAUSE_US << MIN(*pauses, 5), LONGEST_PAUSE_US));
    ++*pauses;
    return true;
}

/* Until there is one; it is the only broker. */
static void find_coordinator(struct peer *p, const char *key, int8_t type)
{
    struct find_coordinator_request request;
    struct find_coordinator_response response;
    int pauses = 0;
    find_coordinator_request_init(&request);
    request.key = str_of(key);
    request.key_type = type;
    do
        ask(p, API_FIND_COORDINATOR, FIND_COORDINATOR_VERSION, &request, &response);
    while (is_for_later(response.error_code, &pauses, "FindCoordinator"));
}

static void print_done(const char *what, int64_t done, int64_t begun_us)
{
    printf("{\"%s\": %" PRId64 ", \"seconds\": %.6f}\n", what, done, (double)(clock_mono_us() - begun_us) / 1e6);
}

/* ---- Records of producers that have an id ---- */

struct producer {
    int64_t id;
    int16_t epoch;
};

static void make_record(struct strbuf *out, int16_t attributes, struct producer p, int32_t sequence)
{
    static const uint8_t value[RECORD_SIZE];
    struct batch_builder b;
    struct record r = {.timestamp = clock_wall_ms(), .value = {value, RECORD_SIZE}};
    batch_builder_init(&b, attributes);
    b.head.producer_id = p.id;
    b.head.producer_epoch = p.epoch;
    b.head.base_sequence = sequence;
    batch_builder_add(&b, &r);
    strbuf_clear(out);
    if (!batch_builder_finish(&b, CODEC_LEVEL_DEFAULT, out))
        die("no batch");
    batch_builder_deinit(&b);
}

/* To the partitions from 0 on, a batch each. */
static void produce_to_all(struct peer *p, struct str transactional_id, const char *topic, const struct strbuf *batches,
                           int32_t partitions)
{
    struct produce_partition_produce_data data[MOST_PARTITIONS];
    struct produce_topic_produce_data t;
    struct produce_request request;
    struct produce_response response;
    produce_request_init(&request);
    produce_topic_produce_data_init(&t);
    request.transactional_id = transactional_id;
    request.acks = -1;
    request.timeout_ms = 30000;
    request.topic_data.items = &t;
    request.topic_data.len = 1;
    t.name = str_of(topic);
    t.partition_data.items = data;
    t.partition_data.len = partitions;
    for (int32_t i = 0; i < partitions; i++) {
        produce_partition_produce_data_init(&data[i]);
        data[i].index = i;
        data[i].records.mem = (struct bytes){(uint8_t *)batches[i].p, (int32_t)batches[i].len};
    }
    ask(p, API_PRODUCE, PRODUCE_VERSION, &request, &response);
    for (int32_t i = 0; i < partitions; i++)
        if (response.responses.items[0].partition_responses.items[i].error_code != 0)
            die("produce: %s", error_name(response.responses.items[0].partition_responses.items[i].error_code));
}

/* The ids are invented: a broker takes the first batch of any that it does not know. */
static int run_producers(char **args)
{
    struct peer p = {.fd = dial(args[0], args[1])};
    struct strbuf batches[MOST_PARTITIONS] = {0};
    int32_t partitions = atoi(args[3]);
    int64_t ids = atoll(args[4]), begun = clock_mono_us();
    for (int64_t id = 0; id < ids; id += partitions) {
        for (int32_t i = 0; i < partitions; i++)
            make_record(&batches[i], CODEC_NONE, (struct producer){id + i, 0}, 0);
        produce_to_all(&p, (struct str){0}, args[2], batches, partitions);
    }
    print_done("producers", ids, begun);
    return 0;
}

/* ---- Many at once ---- */

/* A client that does the same again and again until its time is over. */
struct worker {
    char **args;
    int32_t n;
    int64_t until_us, done;
};

static int run_workers(char **args, void *(*work)(void *), const char *what)
{
    int count = atoi(args[4]);
    struct worker *workers = xcalloc((size_t)count, sizeof(*workers));
    pthread_t *threads = xcalloc((size_t)count, sizeof(*threads));
    int64_t begun = clock_mono_us(), done = 0;
    if (atoi(args[3]) > MOST_PARTITIONS)
        die("at most %d partitions", MOST_PARTITIONS);
    for (int i = 0; i < count; i++) {
        workers[i] = (struct worker){.args = args, .n = i, .until_us = begun + atoll(args[5]) * 1000000};
        pthread_create(&threads[i], NULL, work, &workers[i]);
    }
    for (int i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
        done += workers[i].done;
    }
    print_done(what, done, begun);
    return 0;
}

/* ---- Transactions ---- */

struct txn {
    struct peer peer;
    struct str id;
    const char *topic;
    int32_t partitions;
    struct producer producer;
    int32_t sequence; /* the same in all partitions */
    struct strbuf batches[MOST_PARTITIONS];
};

static void init_producer(struct txn *t)
{
    struct init_producer_id_request request;
    struct init_producer_id_response response;
    int pauses = 0;
    init_producer_id_request_init(&request);
    request.transactional_id = t->id;
    request.transaction_timeout_ms = 60000;
    do
        ask(&t->peer, API_INIT_PRODUCER_ID, INIT_PRODUCER_ID_VERSION, &request, &response);
    while (is_for_later(response.error_code, &pauses, "InitProducerId"));
    t->producer = (struct producer){response.producer_id, response.producer_epoch};
}

static void add_partitions(struct txn *t)
{
    int32_t indexes[MOST_PARTITIONS];
    struct add_partitions_to_txn_request request;
    struct add_partitions_to_txn_response response;
    struct add_partitions_to_txn_topic topic;
    int pauses = 0;
    add_partitions_to_txn_request_init(&request);
    add_partitions_to_txn_topic_init(&topic);
    for (int32_t i = 0; i < t->partitions; i++)
        indexes[i] = i;
    topic.name = str_of(t->topic);
    topic.partitions.items = indexes;
    topic.partitions.len = t->partitions;
    request.v3_and_below_transactional_id = t->id;
    request.v3_and_below_producer_id = t->producer.id;
    request.v3_and_below_producer_epoch = t->producer.epoch;
    request.v3_and_below_topics.items = &topic;
    request.v3_and_below_topics.len = 1;
    do
        ask(&t->peer, API_ADD_PARTITIONS_TO_TXN, ADD_PARTITIONS_VERSION, &request, &response);
    while (
        is_for_later(response.results_by_topic_v3_and_below.items[0].results_by_partition.items[0].partition_error_code,
                     &pauses, "AddPartitionsToTxn"));
}

static void commit(struct txn *t)
{
    struct end_txn_request request;
    struct end_txn_response response;
    int pauses = 0;
    end_txn_request_init(&request);
    request.transactional_id = t->id;
    request.producer_id = t->producer.id;
    request.producer_epoch = t->producer.epoch;
    request.committed = true;
    do
        ask(&t->peer, API_END_TXN, END_TXN_VERSION, &request, &response);
    while (is_for_later(response.error_code, &pauses, "EndTxn"));
}

static void *make_transactions(void *arg)
{
    struct worker *w = arg;
    char *id = xasprintf("bench-%" PRId32, w->n);
    struct txn t = {.peer = {.fd = dial(w->args[0], w->args[1])},
                    .id = str_of(id),
                    .topic = w->args[2],
                    .partitions = atoi(w->args[3])};
    find_coordinator(&t.peer, id, TRANSACTION_KEY);
    init_producer(&t);
    for (; clock_mono_us() < w->until_us; w->done++, t.sequence++) {
        add_partitions(&t);
        for (int32_t i = 0; i < t.partitions; i++)
            make_record(&t.batches[i], ATTR_TRANSACTIONAL, t.producer, t.sequence);
        produce_to_all(&t.peer, t.id, t.topic, t.batches, t.partitions);
        commit(&t);
    }
    return NULL;
}

static int run_transactions(char **args)
{
    return run_workers(args, make_transactions, "transactions");
}

/* ---- Groups ---- */

struct group {
    char *name;
    _Atomic int64_t newest; /* generation that its leader knows of, and how many are in it */
    int32_t expected;       /* how many there are to be */
};

static int64_t generation_of(int32_t number, int32_t size)
{
    return ((int64_t)number << 32) + size;
}

struct member {
    struct peer peer;
    struct group *group;
    char *id;
    int32_t generation;
};

/* A subscription and an assignment as consumers have them: Apache's coordinator looks into the first. */
static const uint8_t subscription[] = "\0\0\0\0\0\1\0\1t\0\0\0\20sixteen more ...";
static const uint8_t assignment[] = "\0\0\0\0\0\1\0\1t\0\0\0\1\0\0\0\0\0\0\0\20sixteen more ...";

/* The leader gives everybody the same. */
static int16_t sync_group(struct member *m, const struct join_group_response *joined)
{
    struct arena a = {0};
    struct sync_group_request request;
    struct sync_group_response response;
    sync_group_request_init(&request);
    request.group_id = str_of(m->group->name);
    request.generation_id = m->generation;
    request.member_id = str_of(m->id);
    request.protocol_type = STR_LIT("consumer");
    request.protocol_name = STR_LIT("range");
    ARRAY_MAKE(&a, request.assignments, joined->members.len);
    for (int32_t i = 0; i < joined->members.len; i++) {
        sync_group_request_assignment_init(&request.assignments.items[i]);
        request.assignments.items[i].member_id = joined->members.items[i].member_id;
        request.assignments.items[i].assignment = (struct bytes){assignment, sizeof(assignment) - 1};
    }
    if (joined->members.len > 0)
        m->group->newest = generation_of(m->generation, joined->members.len);
    send_request(m->peer.fd, API_SYNC_GROUP, SYNC_GROUP_VERSION, &request);
    arena_deinit(&a);
    take_answer(m->peer.fd, API_SYNC_GROUP, SYNC_GROUP_VERSION, &response, &m->peer.frame, &m->peer.arena);
    return response.error_code;
}

static int16_t join_group(struct member *m, struct join_group_response *response)
{
    struct join_group_request request;
    struct join_group_request_protocol protocol;
    join_group_request_init(&request);
    join_group_request_protocol_init(&protocol);
    protocol.name = STR_LIT("range");
    protocol.metadata = (struct bytes){subscription, sizeof(subscription) - 1};
    request.group_id = str_of(m->group->name);
    request.session_timeout_ms = SESSION_MS;
    request.rebalance_timeout_ms = REBALANCE_MS;
    request.member_id = str_of(m->id);
    request.protocol_type = STR_LIT("consumer");
    request.protocols.items = &protocol;
    request.protocols.len = 1;
    ask(&m->peer, API_JOIN_GROUP, JOIN_GROUP_VERSION, &request, response);
    return response->error_code;
}

/* Returns whether it is now a member, in sync, of the newest generation. */
static bool join_and_sync(struct member *m)
{
    struct join_group_response response;
    int pauses = 0;
    int16_t error;
    while ((error = join_group(m, &response)) == ERR_MEMBER_ID_REQUIRED) {
        free(m->id);
        m->id = xstrndup(response.member_id.p, (size_t)response.member_id.len);
    }
    if (error == ERR_REBALANCE_IN_PROGRESS || is_for_later(error, &pauses, "JoinGroup"))
        return false;
    m->generation = response.generation_id;
    error = sync_group(m, &response);
    return error != ERR_REBALANCE_IN_PROGRESS && !is_for_later(error, &pauses, "SyncGroup");
}

static bool is_complete(const struct member *m)
{
    return m->group->newest == generation_of(m->generation, m->group->expected);
}

/* Whether its generation is still the newest. */
static bool heartbeat(struct member *m)
{
    struct heartbeat_request request;
    struct heartbeat_response response;
    heartbeat_request_init(&request);
    request.group_id = str_of(m->group->name);
    request.generation_id = m->generation;
    request.member_id = str_of(m->id);
    ask(&m->peer, API_HEARTBEAT, HEARTBEAT_VERSION, &request, &response);
    if (response.error_code != ERR_NONE && response.error_code != ERR_REBALANCE_IN_PROGRESS)
        die("Heartbeat: %s", error_name(response.error_code));
    return response.error_code == ERR_NONE;
}

/* Until a generation stands that has all in it. A heartbeat is what tells a member of a rebalance. */
static void *settle(void *arg)
{
    struct member *m = arg;
    bool joined = m->generation > 0;
    while (!joined || !is_complete(m)) {
        if (!joined || !heartbeat(m))
            joined = join_and_sync(m);
        else
            usleep(PAUSE_US);
    }
    return NULL;
}

static int64_t settle_all(struct member *members, int32_t count)
{
    pthread_t *threads = xcalloc((size_t)count, sizeof(*threads));
    int64_t begun = clock_mono_us();
    for (int32_t i = 0; i < count; i++)
        pthread_create(&threads[i], NULL, settle, &members[i]);
    for (int32_t i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    free(threads);
    return clock_mono_us() - begun;
}

static void leave(struct member *m)
{
    struct leave_group_request request;
    struct leave_group_response response;
    struct leave_group_member_identity identity;
    leave_group_request_init(&request);
    leave_group_member_identity_init(&identity);
    identity.member_id = str_of(m->id);
    request.group_id = str_of(m->group->name);
    request.members.items = &identity;
    request.members.len = 1;
    m->group->expected--;
    ask(&m->peer, API_LEAVE_GROUP, LEAVE_GROUP_VERSION, &request, &response);
    if (response.error_code != 0)
        die("LeaveGroup: %s", error_name(response.error_code));
}

/* The last of so many members leaves; from then to when the others have settled. */
static int64_t leave_and_settle(struct member *members, int32_t count)
{
    int64_t begun = clock_mono_us();
    leave(&members[count - 1]);
    settle_all(members, count - 1);
    return clock_mono_us() - begun;
}

static int run_rebalance(char **args)
{
    int32_t count = atoi(args[3]), leaving = atoi(args[4]);
    struct group group = {.name = args[2], .expected = count};
    struct member *members = xcalloc((size_t)count, sizeof(*members));
    int64_t left_us = 0;
    for (int32_t i = 0; i < count; i++)
        members[i] = (struct member){.peer = {.fd = dial(args[0], args[1])}, .group = &group, .id = xstrdup("")};
    find_coordinator(&members[0].peer, group.name, GROUP_KEY);
    int64_t joined_us = settle_all(members, count);
    for (int32_t i = 0; i < leaving; i++)
        left_us += leave_and_settle(members, count - i);
    for (int32_t i = 0; i < count - leaving; i++)
        leave(&members[i]);
    printf("{\"joined_us\": %" PRId64 ", \"left_us\": %" PRId64 "}\n", joined_us, left_us / MAX(leaving, 1));
    return 0;
}

/* ---- Committed offsets ---- */

/* As a member, or, without an id, as somebody who assigns partitions himself. */
static void commit_offsets(struct member *m, const char *topic, int32_t partitions, int64_t offset)
{
    struct offset_commit_request_partition p[MOST_PARTITIONS];
    struct offset_commit_request_topic t;
    struct offset_commit_request request;
    struct offset_commit_response response;
    int pauses = 0;
    offset_commit_request_init(&request);
    offset_commit_request_topic_init(&t);
    request.group_id = str_of(m->group->name);
    request.member_id = str_of(m->id);
    request.generation_id_or_member_epoch = m->generation;
    request.topics.items = &t;
    request.topics.len = 1;
    t.name = str_of(topic);
    t.partitions.items = p;
    t.partitions.len = partitions;
    for (int32_t i = 0; i < partitions; i++) {
        offset_commit_request_partition_init(&p[i]);
        p[i].partition_index = i;
        p[i].committed_offset = offset;
        p[i].committed_metadata = STR_LIT("");
    }
    do
        ask(&m->peer, API_OFFSET_COMMIT, OFFSET_COMMIT_VERSION, &request, &response);
    while (is_for_later(response.topics.items[0].partitions.items[0].error_code, &pauses, "OffsetCommit"));
}

static void *make_commits(void *arg)
{
    struct worker *w = arg;
    struct group group = {.name = xasprintf("commits-%" PRId32, w->n)};
    struct member m = {
        .peer = {.fd = dial(w->args[0], w->args[1])}, .group = &group, .id = xstrdup(""), .generation = -1};
    find_coordinator(&m.peer, group.name, GROUP_KEY);
    for (; clock_mono_us() < w->until_us; w->done++)
        commit_offsets(&m, w->args[2], atoi(w->args[3]), w->done);
    return NULL;
}

static int run_commits(char **args)
{
    return run_workers(args, make_commits, "commits");
}

static int run_fill(char **args)
{
    int fd = dial(args[0], args[1]);
    int64_t count = atoll(args[4]), begun = clock_mono_us();
    for (int64_t i = 0; i < count; i++) {
        struct group group = {.name = xasprintf("group-%" PRId64, i), .expected = 1};
        struct member m = {.peer = {.fd = fd}, .group = &group, .id = xstrdup("")};
        find_coordinator(&m.peer, group.name, GROUP_KEY);
        settle(&m);
        commit_offsets(&m, args[2], atoi(args[3]), i);
        arena_deinit(&m.peer.arena);
        strbuf_deinit(&m.peer.frame);
        free(m.id);
        free(group.name);
    }
    print_done("groups", count, begun);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct mode modes[] = {{"transactions", 6, run_transactions},
                                        {"commits", 6, run_commits},
                                        {"rebalance", 5, run_rebalance},
                                        {"fill", 5, run_fill},
                                        {"producers", 5, run_producers}};
    return run_mode(modes, ARRAY_LEN(modes), argc, argv, "groups.c");
}
