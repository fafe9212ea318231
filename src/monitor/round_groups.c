/* Which groups there are, who is in them, and what they have committed; and on the way, how large directories are. */
#include <math.h>
#include <stdlib.h>

#include "base/logger.h"
#include "monitor/round_internal.h"
#include "protocol/msg/consumer_protocol_assignment.h"
#include "protocol/msg/describe_groups.h"
#include "protocol/msg/describe_log_dirs.h"
#include "protocol/msg/list_groups.h"
#include "protocol/msg/offset_fetch.h"

enum { GROUPS_AT_ONCE = 200, FETCH_OF_MANY_GROUPS = 8 };

/* ---- Directories ---- */

static void round_add_bytes(int64_t *sum, int64_t bytes)
{
    *sum = *sum == LOOK_UNKNOWN ? bytes : *sum + bytes;
}

static void take_replica_size(struct look_topic *t, const struct describe_log_dirs_partition *from)
{
    struct look_partition *p = look_partition(t, from->partition_index);
    round_add_bytes(&t->bytes, from->partition_size);
    if (p == NULL || from->is_future_key)
        return;
    p->smallest = p->smallest == LOOK_UNKNOWN ? from->partition_size : MIN(p->smallest, from->partition_size);
    p->largest = MAX(p->largest, from->partition_size);
}

static void take_dirs(struct round *r, struct ask *a)
{
    const struct describe_log_dirs_response *response = a->response;
    struct look_broker *broker = look_broker(r->look, a->broker);
    for (int32_t d = 0; broker != NULL && d < response->results.len; d++) {
        const struct describe_log_dirs_result *dir = &response->results.items[d];
        for (int32_t t = 0; dir->error_code == ERR_NONE && t < dir->topics.len; t++) {
            const struct describe_log_dirs_topic *topic = &dir->topics.items[t];
            struct look_topic *known = look_topic(r->look, topic->name);
            for (int32_t p = 0; p < topic->partitions.len; p++) {
                round_add_bytes(&broker->bytes, topic->partitions.items[p].partition_size);
                if (known != NULL)
                    take_replica_size(known, &topic->partitions.items[p]);
            }
        }
    }
}

/* ---- Which there are ---- */

static void take_list(struct round *r, struct ask *a)
{
    const struct list_groups_response *response = a->response;
    struct arena *memory = &r->look->memory;
    if (response->error_code != ERR_NONE)
        r->look->unanswered++;
    r->groups =
        xgrow(r->groups, r->group_count + (size_t)MAX(response->groups.len, 0), &r->group_cap, sizeof(*r->groups));
    for (int32_t i = 0; i < response->groups.len; i++) {
        const struct list_groups_listed_group *g = &response->groups.items[i];
        r->groups[r->group_count++] = (struct look_group){.coordinator = a->broker,
                                                          .id = arena_str(memory, g->group_id),
                                                          .protocol_type = arena_str(memory, g->protocol_type),
                                                          .lag = LOOK_UNKNOWN};
    }
}

void round_ask_groups(struct round *r)
{
    for (int32_t i = 0; i < r->look->broker_count; i++) {
        int32_t id = r->look->brokers[i].broker->id;
        if (r->look->scope == LOOK_ALL || id == r->options->broker_id)
            round_ask(r, round_ask_new(r, id, API_LIST_GROUPS, take_list));
        if (r->look->scope != LOOK_ALL)
            continue;
        struct ask *a = round_ask_new(r, id, API_DESCRIBE_LOG_DIRS, take_dirs);
        ((struct describe_log_dirs_request *)a->request)->topics.len = -1;
        round_ask(r, a);
    }
}

/* ---- Members ---- */

/* What the group's leader has given a member: it may be anything, and then says nothing. */
static void round_take_assignment(struct round *r, struct look_group *g, struct bytes data, struct arena *memory)
{
    enum { NEWEST = 3 };
    struct reader reader;
    struct consumer_protocol_assignment m = {0};
    reader_init(&reader, data, memory);
    int16_t version = data.len > 0 ? reader_int16(&reader) : -1;
    if (!str_is(g->protocol_type, "consumer") || version < 0 ||
        !consumer_protocol_assignment_read(&reader, MIN(version, NEWEST), &m))
        m.assigned_partitions.len = 0;
    for (int32_t i = 0; i < m.assigned_partitions.len; i++) {
        const struct consumer_protocol_assignment_topic_partition *some = &m.assigned_partitions.items[i];
        struct look_group_topic *t = look_group_topic(r->look, g, some->topic);
        t->members++;
        t->assigned += some->partitions.len;
    }
    g->idle_members += m.assigned_partitions.len <= 0;
}

/* A group may have gone since it was listed. */
static bool is_answer(int16_t error)
{
    return error == ERR_NONE || error == ERR_GROUP_ID_NOT_FOUND;
}

static void take_descriptions(struct round *r, struct ask *a)
{
    const struct describe_groups_response *response = a->response;
    struct arena *memory = &r->look->memory;
    bool all = true;
    for (int32_t i = 0; i < response->groups.len; i++) {
        const struct describe_groups_described_group *from = &response->groups.items[i];
        all &= is_answer(from->error_code);
        struct look_group *g = look_group(r->look, a->broker, from->group_id);
        if (g == NULL || g->described || from->error_code != ERR_NONE)
            continue;
        g->described = true;
        g->state = arena_str(memory, from->group_state);
        g->protocol = arena_str(memory, from->protocol_data);
        g->members = MAX(from->members.len, 0);
        for (int32_t m = 0; m < from->members.len; m++)
            round_take_assignment(r, g, from->members.items[m].member_assignment, &a->memory);
    }
    r->look->unanswered += !all;
}

/* ---- Offsets ---- */

static int by_partition(const void *a, const void *b)
{
    const struct look_commit *x = a, *y = b;
    return (x->partition > y->partition) - (x->partition < y->partition);
}

/* False: of some partition the answer has an error. */
static bool take_commits_of_topic(struct round *r, struct look_group *g,
                                  const struct offset_fetch_response_topics *topic)
{
    struct look_group_topic *to = look_group_topic(r->look, g, topic->name);
    bool all = true;
    if (to->commits != NULL)
        return true;
    to->commits = ARENA_ARRAY(&r->look->memory, struct look_commit, MAX(topic->partitions.len, 0) + 1);
    for (int32_t i = 0; i < topic->partitions.len; i++) {
        const struct offset_fetch_response_partitions *p = &topic->partitions.items[i];
        all &= p->error_code == ERR_NONE;
        if (p->error_code == ERR_NONE && p->committed_offset >= 0)
            to->commits[to->commit_count++] = (struct look_commit){.partition = p->partition_index,
                                                                   .offset = p->committed_offset,
                                                                   .first = p->committed_offset,
                                                                   .timestamp = LOOK_UNKNOWN};
    }
    qsort(to->commits, (size_t)to->commit_count, sizeof(*to->commits), by_partition);
    return all;
}

static void take_commits(struct round *r, struct ask *a)
{
    const struct offset_fetch_response *response = a->response;
    bool all = true;
    for (int32_t i = 0; i < response->groups.len; i++) {
        const struct offset_fetch_response_group *from = &response->groups.items[i];
        struct look_group *g = look_group(r->look, a->broker, from->group_id);
        all &= is_answer(from->error_code);
        for (int32_t t = 0; g != NULL && from->error_code == ERR_NONE && t < from->topics.len; t++)
            all &= take_commits_of_topic(r, g, &from->topics.items[t]);
    }
    r->look->unanswered += !all;
}

static void ask_about(struct round *r, struct look_group *groups, int32_t count)
{
    struct ask *a = round_ask_new(r, groups[0].coordinator, API_DESCRIBE_GROUPS, take_descriptions);
    struct describe_groups_request *describe = a->request;
    ARRAY_MAKE(&a->memory, describe->groups, count);
    for (int32_t i = 0; i < count; i++)
        describe->groups.items[i] = groups[i].id;
    round_ask(r, a);
    a = round_ask_new(r, groups[0].coordinator, API_OFFSET_FETCH, take_commits);
    struct offset_fetch_request *fetch = a->request;
    a->call.least = FETCH_OF_MANY_GROUPS;
    ARRAY_MAKE(&a->memory, fetch->groups, count);
    for (int32_t i = 0; i < count; i++) {
        offset_fetch_request_group_init(&fetch->groups.items[i]);
        fetch->groups.items[i].group_id = groups[i].id;
        fetch->groups.items[i].topics.len = -1; /* all */
    }
    round_ask(r, a);
}

void round_ask_group_details(struct round *r)
{
    struct look *look = r->look;
    look->groups = ARENA_ARRAY(&look->memory, struct look_group, r->group_count + 1);
    look->group_count = (int32_t)r->group_count;
    if (r->group_count > 0)
        memcpy(look->groups, r->groups, sizeof(*r->groups) * r->group_count);
    qsort(look->groups, r->group_count, sizeof(*look->groups), look_group_order);
    for (int32_t from = 0, to; from < look->group_count; from = to) {
        for (to = from + 1; to < look->group_count && to - from < GROUPS_AT_ONCE; to++)
            if (look->groups[to].coordinator != look->groups[from].coordinator)
                break;
        ask_about(r, look->groups + from, to - from);
    }
}

/* ---- Lag ---- */

static int64_t group_lag(const struct look_group *g)
{
    int64_t lag = LOOK_UNKNOWN;
    for (int32_t t = 0; t < g->topic_count; t++)
        for (int32_t c = 0; c < g->topics[t].commit_count; c++) {
            int64_t end = look_end(&g->topics[t], &g->topics[t].commits[c]);
            if (end != LOOK_UNKNOWN)
                lag = MAX(lag, 0) + MAX(end - g->topics[t].commits[c].offset, 0);
        }
    return lag;
}

void round_measure_lag(struct round *r)
{
    int64_t passed = round_since_before(r);
    for (int32_t i = 0; i < r->look->group_count; i++) {
        struct look_group *g = &r->look->groups[i];
        const struct look_group *old = passed > 0 ? look_group(r->before[LOOK_ALL], g->coordinator, g->id) : NULL;
        g->lag = group_lag(g);
        bool known = g->lag != LOOK_UNKNOWN && old != NULL && old->lag != LOOK_UNKNOWN;
        g->lag_change = known ? (double)(g->lag - old->lag) * 1000 / (double)passed : NAN;
    }
}
