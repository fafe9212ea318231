/*
 * What very many clients cost a broker that has them.
 *
 *   swarm hold HOST PORT COUNT RATE PERIOD
 *       opens so many connections, at most RATE a second if it is not 0, each of which asks once for what the broker
 *       can, and from then on, all of them in PERIOD seconds, for Metadata of no topic
 *   swarm group HOST PORT GROUP MEMBERS BYTES SECONDS
 *       a group of so many members with BYTES of metadata each: all join; one leaves and the others join again; they
 *       send heartbeats for so long, each one every three seconds
 *   swarm served HOST PORT TOPIC GROUPS STEP
 *       until each STEPth of the groups that `groups fill` has made has its offset; may begin before the broker does
 *
 * Prints a line of JSON after each phase, and waits for one on its input before the next; ends with its input.
 */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "links.h"
#include "protocol/error.h"
#include "protocol/msg/api.h"
#include "protocol/msg/find_coordinator.h"
#include "protocol/msg/heartbeat.h"
#include "protocol/msg/join_group.h"
#include "protocol/msg/leave_group.h"
#include "protocol/msg/metadata.h"
#include "protocol/msg/offset_fetch.h"
#include "protocol/msg/sync_group.h"

enum {
    FIND_COORDINATOR_VERSION = 3,
    HEARTBEAT_VERSION = 4,
    JOIN_GROUP_VERSION = 7,
    LEAVE_GROUP_VERSION = 4,
    METADATA_VERSION = 7,
    OFFSET_FETCH_VERSION = 6,
    SYNC_GROUP_VERSION = 5,
};
enum { SECOND_US = 1000000, PAUSE_US = 20000, MOST_SECONDS = 600, SESSION_MS = 1800000, REBALANCE_MS = 300000 };
enum { HEARTBEAT_US = 3 * SECOND_US, SOON_US = SECOND_US / 2, TICK_US = 10000, AGAIN_US = 50000 };

static int32_t count_of(const char *arg)
{
    int32_t n = atoi(arg);
    if (n < 1)
        die("%s is no number of clients", arg);
    return n;
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int64_t patience(void)
{
    return clock_mono_us() + MOST_SECONDS * (int64_t)SECOND_US;
}

/* ---- Connections that are held ---- */

static struct {
    char **args;
    struct link *links;
    int64_t *waited_us; /* of those that are welcome */
    int32_t count, welcome, lost;
} held;

static void on_known(struct link *l, struct bytes frame UNUSED)
{
    l->begun_us = 0;
}

static void on_welcome(struct link *l, struct bytes frame UNUSED)
{
    held.waited_us[held.welcome++] = clock_mono_us() - l->begun_us;
    on_known(l, frame);
    l->answered = on_known;
    l->lost = NULL;
}

/* It is opened again after a while, as clients do, and has waited since it came first. */
static void on_turned_away(struct link *l)
{
    int64_t begun_us = l->begun_us;
    link_close(l);
    l->begun_us = begun_us;
    held.lost++;
}

static void open_one(struct link *l)
{
    int64_t begun_us = l->begun_us;
    link_open(l, held.args[0], held.args[1], on_welcome);
    l->lost = on_turned_away;
    if (begun_us > 0)
        l->begun_us = begun_us;
}

static void open_again(void)
{
    for (int32_t i = 0; i < held.count; i++)
        if (held.links[i].fd == 0)
            open_one(&held.links[i]);
}

static bool all_are_welcome(void)
{
    return held.welcome == held.count;
}

static void open_all(int64_t rate)
{
    int64_t begun = clock_mono_us();
    for (int32_t i = 0; i < held.count; i++) {
        if (rate > 0)
            links_run(begun + i * SECOND_US / rate, NULL);
        open_one(&held.links[i]);
    }
    for (int64_t until = patience(); !all_are_welcome() && clock_mono_us() < until; open_again())
        links_run(clock_mono_us() + AGAIN_US, all_are_welcome);
    if (!all_are_welcome())
        die("%" PRId32 " of %" PRId32 " connections were served", held.welcome, held.count);
    qsort(held.waited_us, (size_t)held.count, sizeof(*held.waited_us), by_size);
    printf("{\"seconds\": %.6f, \"turned_away\": %" PRId32 ", \"p99_us\": %" PRId64 ", \"max_us\": %" PRId64 "}\n",
           (double)(clock_mono_us() - begun) / SECOND_US, held.lost, held.waited_us[(int64_t)held.count * 99 / 100],
           held.waited_us[held.count - 1]);
}

static void ask_nothing(struct link *l)
{
    struct metadata_request request;
    metadata_request_init(&request);
    request.topics.items = NULL;
    request.topics.len = 0;
    l->begun_us = clock_mono_us();
    link_ask(l, API_METADATA, METADATA_VERSION, &request);
}

static bool input_has_ended(void)
{
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
    return poll(&p, 1, 0) > 0;
}

static int run_hold(char **args)
{
    int64_t period = atoll(args[4]);
    held.args = args;
    held.count = count_of(args[2]);
    held.links = xcalloc((size_t)held.count, sizeof(*held.links));
    held.waited_us = xcalloc((size_t)held.count, sizeof(*held.waited_us));
    open_all(atoll(args[3]));
    fflush(stdout);
    int64_t begun = clock_mono_us();
    for (int64_t i = 0; !input_has_ended(); i++) {
        struct link *l = &held.links[i % held.count];
        links_run(begun + i * SECOND_US * period / held.count, NULL);
        if (l->begun_us == 0) /* else its last question is not answered yet */
            ask_nothing(l);
    }
    return 0;
}

/* ---- A group ---- */

struct member {
    struct link link;
    char *id;
    int32_t generation;
    bool knows_broker, in_sync;
    int64_t due_us; /* when its next heartbeat is */
};

static struct {
    const char *name;
    struct bytes metadata;
    struct member *members;
    int32_t count;      /* that are to be in it */
    int32_t generation; /* that all are in, as its leader knows; 0: none yet */
    int32_t in_sync;    /* of them */
    bool beating;
    int64_t heartbeats, late_us; /* the latter of the latest of them: how long its answer took */
} group;

static void on_joined(struct link *l, struct bytes frame);
static void on_synced(struct link *l, struct bytes frame);
static void on_beaten(struct link *l, struct bytes frame);

static void join(struct member *m)
{
    struct join_group_request request;
    struct join_group_request_protocol protocol;
    join_group_request_init(&request);
    join_group_request_protocol_init(&protocol);
    protocol.name = STR_LIT("range");
    protocol.metadata = group.metadata;
    request.group_id = str_of(group.name);
    request.session_timeout_ms = SESSION_MS;
    request.rebalance_timeout_ms = REBALANCE_MS;
    request.member_id = str_of(m->id != NULL ? m->id : "");
    request.protocol_type = STR_LIT("consumer");
    request.protocols.items = &protocol;
    request.protocols.len = 1;
    group.in_sync -= m->in_sync;
    m->in_sync = false;
    m->link.answered = on_joined;
    link_ask(&m->link, API_JOIN_GROUP, JOIN_GROUP_VERSION, &request);
}

static void join_sync(struct member *m, const struct join_group_response *joined)
{
    static const uint8_t assignment[] = "\0\0\0\0\0\1\0\1t\0\0\0\1\0\0\0\0\0\0\0\20sixteen more ...";
    struct arena a = {0};
    struct sync_group_request request;
    sync_group_request_init(&request);
    request.group_id = str_of(group.name);
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
    if (joined->members.len == group.count) /* it leads */
        group.generation = m->generation;
    m->link.answered = on_synced;
    link_ask(&m->link, API_SYNC_GROUP, SYNC_GROUP_VERSION, &request);
    arena_deinit(&a);
}

static void on_joined(struct link *l, struct bytes frame)
{
    struct member *m = CONTAINER_OF(l, struct member, link);
    struct join_group_response response;
    struct arena a = {0};
    if (!m->knows_broker) { /* it was the answer to its first question */
        m->knows_broker = true;
        join(m);
        return;
    }
    read_answer(frame, API_JOIN_GROUP, JOIN_GROUP_VERSION, &response, &a);
    if (response.error_code == ERR_MEMBER_ID_REQUIRED)
        m->id = xstrndup(response.member_id.p, (size_t)response.member_id.len);
    m->generation = response.generation_id;
    if (response.error_code == ERR_NONE)
        join_sync(m, &response);
    else if (error_is_retriable(response.error_code) || response.error_code == ERR_MEMBER_ID_REQUIRED ||
             response.error_code == ERR_REBALANCE_IN_PROGRESS)
        join(m);
    else
        die("JoinGroup: %s", error_name(response.error_code));
    arena_deinit(&a);
}

static void on_synced(struct link *l, struct bytes frame)
{
    struct member *m = CONTAINER_OF(l, struct member, link);
    struct sync_group_response response;
    struct arena a = {0};
    read_answer(frame, API_SYNC_GROUP, SYNC_GROUP_VERSION, &response, &a);
    arena_deinit(&a);
    if (response.error_code == ERR_NONE) {
        m->in_sync = true;
        group.in_sync++;
        m->link.answered = on_beaten;
        m->due_us = clock_mono_us() + (group.beating ? HEARTBEAT_US : SOON_US);
    } else if (error_is_retriable(response.error_code) || response.error_code == ERR_REBALANCE_IN_PROGRESS) {
        join(m);
    } else {
        die("SyncGroup: %s", error_name(response.error_code));
    }
}

static void beat(struct member *m, int64_t now)
{
    struct heartbeat_request request;
    heartbeat_request_init(&request);
    request.group_id = str_of(group.name);
    request.generation_id = m->generation;
    request.member_id = str_of(m->id);
    m->link.begun_us = now;
    m->due_us = INT64_MAX; /* until it is answered */
    link_ask(&m->link, API_HEARTBEAT, HEARTBEAT_VERSION, &request);
}

static void on_beaten(struct link *l, struct bytes frame)
{
    struct member *m = CONTAINER_OF(l, struct member, link);
    struct heartbeat_response response;
    struct arena a = {0};
    read_answer(frame, API_HEARTBEAT, HEARTBEAT_VERSION, &response, &a);
    arena_deinit(&a);
    int64_t now = clock_mono_us();
    group.heartbeats++;
    group.late_us = MAX(group.late_us, now - l->begun_us);
    m->due_us = l->begun_us + (group.beating ? HEARTBEAT_US : SOON_US);
    if (response.error_code == ERR_REBALANCE_IN_PROGRESS)
        join(m);
    else if (response.error_code != ERR_NONE)
        die("Heartbeat: %s", error_name(response.error_code));
}

static void beat_all(int64_t now)
{
    for (int32_t i = 0; i < group.count; i++)
        if (group.members[i].in_sync && group.members[i].due_us <= now)
            beat(&group.members[i], now);
}

/* All are in the generation that their leader has seen them all in. */
static bool is_settled(void)
{
    if (group.generation == 0 || group.in_sync != group.count)
        return false;
    for (int32_t i = 0; i < group.count; i++)
        if (group.members[i].generation != group.generation)
            return false;
    return true;
}

/* Serves the group until it is settled, or for so long. */
static void settle_group(int64_t until_us, bool (*done)(void))
{
    int64_t now;
    while ((now = clock_mono_us()) < until_us && (done == NULL || !done())) {
        beat_all(now);
        links_run(MIN(now + TICK_US, until_us), done);
    }
    if (done != NULL && !done())
        die("%" PRId32 " of %" PRId32 " members are in sync", group.in_sync, group.count);
}

static void print_settled(int64_t begun_us)
{
    printf("{\"us\": %" PRId64 "}\n", clock_mono_us() - begun_us);
}

/* One goes, and all others join at once, as if each had just been told by a heartbeat. */
static void lose_one(void)
{
    struct leave_group_request request;
    struct leave_group_member_identity who;
    struct member *gone = &group.members[--group.count];
    leave_group_request_init(&request);
    leave_group_member_identity_init(&who);
    who.member_id = str_of(gone->id);
    request.group_id = str_of(group.name);
    request.members.items = &who;
    request.members.len = 1;
    group.generation = 0;
    group.in_sync -= gone->in_sync;
    gone->in_sync = false;
    link_ask(&gone->link, API_LEAVE_GROUP, LEAVE_GROUP_VERSION, &request);
    for (int32_t i = 0; i < group.count; i++)
        join(&group.members[i]);
}

static void on_left(struct link *l, struct bytes frame UNUSED)
{
    link_close(l);
}

static void beat_for(int64_t seconds)
{
    int64_t now = clock_mono_us();
    group.beating = true;
    group.heartbeats = group.late_us = 0;
    for (int32_t i = 0; i < group.count; i++)
        group.members[i].due_us = now + HEARTBEAT_US * (int64_t)i / group.count;
    settle_group(now + seconds * SECOND_US, NULL);
    printf("{\"heartbeats\": %" PRId64 ", \"max_us\": %" PRId64 "}\n", group.heartbeats, group.late_us);
}

/* Its first bytes are a subscription, into which coordinators look; the rest is its user data. */
static struct bytes make_metadata(int32_t size)
{
    static const uint8_t subscription[] = "\0\0\0\0\0\1\0\1t";
    enum { HEAD = sizeof(subscription) - 1 };
    uint8_t *p = xcalloc(1, (size_t)MAX(size, HEAD + 4));
    memcpy(p, subscription, HEAD);
    be32_put(p + HEAD, (uint32_t)(MAX(size, HEAD + 4) - HEAD - 4));
    return (struct bytes){p, MAX(size, HEAD + 4)};
}

/* A coordinator may not be there yet. */
static void find_coordinator(int fd, const char *key)
{
    struct find_coordinator_request request;
    struct find_coordinator_response response;
    struct strbuf frame = {0};
    struct arena a = {0};
    find_coordinator_request_init(&request);
    request.key = str_of(key);
    for (int64_t until = patience();; usleep(PAUSE_US)) {
        send_request(fd, API_FIND_COORDINATOR, FIND_COORDINATOR_VERSION, &request);
        take_answer(fd, API_FIND_COORDINATOR, FIND_COORDINATOR_VERSION, &response, &frame, &a);
        if (response.error_code == ERR_NONE)
            break;
        if (!error_is_retriable(response.error_code) || clock_mono_us() > until)
            die("FindCoordinator: %s", error_name(response.error_code));
    }
    strbuf_deinit(&frame);
    arena_deinit(&a);
}

static int run_group(char **args)
{
    int fd = dial(args[0], args[1]);
    group.name = args[2];
    group.count = count_of(args[3]);
    group.metadata = make_metadata(atoi(args[4]));
    group.members = xcalloc((size_t)group.count, sizeof(*group.members));
    find_coordinator(fd, group.name);
    int64_t begun = clock_mono_us();
    for (int32_t i = 0; i < group.count; i++)
        link_open(&group.members[i].link, args[0], args[1], on_joined);
    settle_group(patience(), is_settled);
    print_settled(begun);
    if (!go_on())
        return 0;
    group.members[group.count - 1].link.answered = on_left;
    begun = clock_mono_us();
    lose_one();
    settle_group(patience(), is_settled);
    print_settled(begun);
    if (go_on())
        beat_for(atoll(args[5]));
    while (go_on())
        ;
    return 0;
}

/* ---- Groups that are served again ---- */

/* Whether the group's offset is there; it may be read yet. */
static bool has_offset(int fd, const char *name, const char *topic)
{
    int32_t partition = 0;
    struct offset_fetch_request request;
    struct offset_fetch_request_topic t;
    struct offset_fetch_response response;
    struct strbuf frame = {0};
    struct arena a = {0};
    offset_fetch_request_init(&request);
    offset_fetch_request_topic_init(&t);
    request.group_id = str_of(name);
    t.name = str_of(topic);
    t.partition_indexes.items = &partition;
    t.partition_indexes.len = 1;
    request.topics.items = &t;
    request.topics.len = 1;
    send_request(fd, API_OFFSET_FETCH, OFFSET_FETCH_VERSION, &request);
    take_answer(fd, API_OFFSET_FETCH, OFFSET_FETCH_VERSION, &response, &frame, &a);
    int16_t error = response.error_code;
    if (error != ERR_NONE && !error_is_retriable(error))
        die("OffsetFetch: %s", error_name(error));
    if (error == ERR_NONE && response.topics.items[0].partitions.items[0].committed_offset < 0)
        die("%s has lost its offset", name);
    strbuf_deinit(&frame);
    arena_deinit(&a);
    return error == ERR_NONE;
}

static int dial_when_there(const char *host, const char *port)
{
    int64_t until = patience();
    for (int fd;; usleep(PAUSE_US)) {
        if ((fd = try_dial(host, port)) >= 0)
            return fd;
        if (clock_mono_us() > until)
            die("nobody listens");
    }
}

static int run_served(char **args)
{
    int fd = dial_when_there(args[0], args[1]);
    int32_t count = count_of(args[3]), step = count_of(args[4]);
    int64_t until = patience();
    for (int32_t i = 0; i < count; i += step) {
        char *name = xasprintf("group-%" PRId32, i);
        find_coordinator(fd, name);
        while (!has_offset(fd, name, args[2])) {
            if (clock_mono_us() > until)
                die("%s is not served", name);
            usleep(PAUSE_US);
        }
        free(name);
    }
    printf("{\"served_us\": %" PRId64 "}\n", clock_mono_us());
    return 0;
}

int main(int argc, char **argv)
{
    static const struct mode modes[] = {{"hold", 5, run_hold}, {"group", 6, run_group}, {"served", 5, run_served}};
    links_init();
    return run_mode(modes, ARRAY_LEN(modes), argc, argv, "swarm.c");
}
