/*
 * What a group has committed, and changing that, by its coordinator. All of a group's offsets can be asked for from
 * version 2 of OffsetFetch on; from version 8 on the answer has a place for each of several groups, of which there is
 * one here.
 */
#include <inttypes.h>

#include "protocol/error.h"
#include "protocol/msg/offset_commit.h"
#include "protocol/msg/offset_delete.h"
#include "protocol/msg/offset_fetch.h"
#include "tools/groups/group_admin.h"

struct offsets_call {
    struct str group;
    struct partition_offsets *list;
};

/* ---- Committed offsets ---- */

static void add_committed(struct partition_offsets *out, struct str topic, int32_t partition, int64_t offset,
                          int16_t error, struct arena *a)
{
    if (error == ERR_NONE)
        partition_offsets_add(out, topic, partition, a)->offset = offset;
}

/* Until version 7. */
static int16_t take_topics(const struct offset_fetch_response *r, struct partition_offsets *out, struct arena *a)
{
    for (int32_t t = 0; t < r->topics.len; t++)
        for (int32_t i = 0; i < r->topics.items[t].partitions.len; i++) {
            const struct offset_fetch_response_partition *p = &r->topics.items[t].partitions.items[i];
            add_committed(out, r->topics.items[t].name, p->partition_index, p->committed_offset, p->error_code, a);
        }
    return r->error_code;
}

static int16_t take_group(const struct offset_fetch_response_group *r, struct partition_offsets *out, struct arena *a)
{
    for (int32_t t = 0; t < r->topics.len; t++)
        for (int32_t i = 0; i < r->topics.items[t].partitions.len; i++) {
            const struct offset_fetch_response_partitions *p = &r->topics.items[t].partitions.items[i];
            add_committed(out, r->topics.items[t].name, p->partition_index, p->committed_offset, p->error_code, a);
        }
    return r->error_code;
}

static bool fetch_at(struct asker *asker, const struct coordinator *at, void *arg, int16_t *error, struct arena *a,
                     struct fail *fail)
{
    enum { FIRST_WITH_ALL_TOPICS = 2, FIRST_WITH_GROUPS = 8 };
    struct offsets_call *call = arg;
    struct offset_fetch_request request;
    struct offset_fetch_response response;
    int16_t version;
    offset_fetch_request_init(&request);
    request.group_id = call->group;
    request.topics.len = -1;
    ARRAY_MAKE(a, request.groups, 1);
    offset_fetch_request_group_init(&request.groups.items[0]);
    request.groups.items[0].group_id = call->group;
    request.groups.items[0].topics.len = -1;
    if (!ask(asker, at->id, API_OFFSET_FETCH, FIRST_WITH_ALL_TOPICS, &request, &response, &version, a, fail))
        return false;
    *call->list = (struct partition_offsets){0};
    if (version < FIRST_WITH_GROUPS)
        *error = take_topics(&response, call->list, a);
    else if (response.groups.len == 1)
        *error = take_group(&response.groups.items[0], call->list, a);
    else
        return fail_set(fail, "The coordinator says nothing of group %.*s", STR_ARGS(call->group));
    return true;
}

bool group_offsets(const struct group_admin *g, struct str id, struct partition_offsets *out, struct fail *fail)
{
    struct offsets_call call = {id, out};
    if (!group_ask(g, id, fetch_at, &call, fail))
        return false;
    partition_offsets_sort(out);
    return true;
}

/* ---- Commit ---- */

static void group_offsets_fill_commit(const struct offsets_call *call, struct offset_commit_request *request,
                                      struct arena *a)
{
    offset_commit_request_init(request);
    request->group_id = call->group;
    ARRAY_MAKE(a, request->topics, call->list->n);
    for (int32_t i = 0; i < call->list->n; i++) {
        const struct partition_offset *p = &call->list->v[i];
        struct offset_commit_request_topic *t = &request->topics.items[i];
        offset_commit_request_topic_init(t);
        t->name = p->topic;
        ARRAY_MAKE(a, t->partitions, 1);
        offset_commit_request_partition_init(&t->partitions.items[0]);
        t->partitions.items[0].partition_index = p->partition;
        t->partitions.items[0].committed_offset = p->offset;
        t->partitions.items[0].committed_metadata = STR_LIT("");
    }
}

static bool commit_at(struct asker *asker, const struct coordinator *at, void *arg, int16_t *error, struct arena *a,
                      struct fail *fail)
{
    const struct offsets_call *call = arg;
    struct offset_commit_request request;
    struct offset_commit_response response;
    group_offsets_fill_commit(call, &request, a);
    if (!ask(asker, at->id, API_OFFSET_COMMIT, 0, &request, &response, NULL, a, fail))
        return false;
    for (int32_t t = 0; t < response.topics.len; t++)
        for (int32_t i = 0; i < response.topics.items[t].partitions.len; i++) {
            const struct offset_commit_response_partition *answer = &response.topics.items[t].partitions.items[i];
            struct partition_offset *p =
                partition_offsets_find(call->list, response.topics.items[t].name, answer->partition_index);
            if (p != NULL)
                p->error = answer->error_code;
            if (coordinator_is_away(answer->error_code))
                *error = answer->error_code;
        }
    return true;
}

static bool commit_refused(const struct group_admin *g, const struct partition_offsets *list, struct fail *fail)
{
    struct strbuf names = {0};
    int16_t error = ERR_NONE;
    for (int32_t i = 0; i < list->n; i++) {
        const struct partition_offset *p = &list->v[i];
        if (p->error == ERR_NONE)
            continue;
        strbuf_printf(&names, "%s%.*s-%" PRId32, error != ERR_NONE ? ", " : "", STR_ARGS(p->topic), p->partition);
        error = error != ERR_NONE ? error : p->error;
    }
    struct str text =
        arena_printf(g->arena, "Failed altering consumer group offsets for the following partitions: [%s]",
                     names.p != NULL ? names.p : "");
    strbuf_deinit(&names);
    return error == ERR_NONE || group_refused(g, error, text, fail);
}

bool group_admin_commit(const struct group_admin *g, struct str id, const struct partition_offsets *offsets,
                        struct fail *fail)
{
    if (offsets->n == 0)
        return true;
    struct partition_offsets copy = {arena_copy(g->arena, offsets->v, sizeof(*offsets->v) * (size_t)offsets->n),
                                     offsets->n, (size_t)offsets->n};
    struct offsets_call call = {id, &copy};
    return group_ask(g, id, commit_at, &call, fail) && commit_refused(g, &copy, fail);
}

/* ---- Delete ---- */

static void fill_delete(const struct offsets_call *call, struct offset_delete_request *request, struct arena *a)
{
    offset_delete_request_init(request);
    request->group_id = call->group;
    ARRAY_MAKE(a, request->topics, call->list->n);
    request->topics.len = 0;
    for (int32_t i = 0; i < call->list->n; i++) { /* a topic that comes twice would be refused */
        const struct partition_offset *p = &call->list->v[i];
        struct offset_delete_request_topic *t = &request->topics.items[MAX(request->topics.len - 1, 0)];
        if (i == 0 || !str_eq(t->name, p->topic)) {
            t = &request->topics.items[request->topics.len++];
            offset_delete_request_topic_init(t);
            t->name = p->topic;
            ARRAY_MAKE(a, t->partitions, call->list->n - i);
            t->partitions.len = 0;
        }
        t->partitions.items[t->partitions.len++].partition_index = p->partition;
    }
}

static bool group_offsets_delete_at(struct asker *asker, const struct coordinator *at, void *arg, int16_t *error,
                                    struct arena *a, struct fail *fail)
{
    const struct offsets_call *call = arg;
    struct offset_delete_request request;
    struct offset_delete_response response;
    fill_delete(call, &request, a);
    if (!ask(asker, at->id, API_OFFSET_DELETE, 0, &request, &response, NULL, a, fail))
        return false;
    *error = response.error_code;
    for (int32_t t = 0; t < response.topics.len; t++)
        for (int32_t i = 0; i < response.topics.items[t].partitions.len; i++) {
            const struct offset_delete_response_partition *answer = &response.topics.items[t].partitions.items[i];
            struct partition_offset *p =
                partition_offsets_find(call->list, response.topics.items[t].name, answer->partition_index);
            if (p != NULL)
                p->error = answer->error_code;
        }
    return true;
}

bool group_admin_delete_offsets(const struct group_admin *g, struct str id, struct partition_offsets *offsets,
                                int16_t *error, struct fail *fail)
{
    struct offsets_call arg = {id, offsets};
    struct coordinator_call call = {COORDINATOR_GROUP, id, g->timeout_ms, group_offsets_delete_at, &arg, false};
    return coordinator_ask(g->asker, &call, error, g->arena, fail);
}

/* ---- Topics ---- */

bool topic_partitions(const struct group_admin *g, struct str topic, struct partition_offsets *out, int16_t *error,
                      struct fail *fail)
{
    struct metadata_response m;
    if (!ask_metadata(g->asker, &topic, 1, &m, g->arena, fail))
        return false;
    *error = m.topics.len == 1 ? m.topics.items[0].error_code : ERR_UNKNOWN_TOPIC_OR_PARTITION;
    for (int32_t i = 0; *error == ERR_NONE && i < m.topics.items[0].partitions.len; i++)
        partition_offsets_add(out, topic, m.topics.items[0].partitions.items[i].partition_index, g->arena);
    return true;
}

/* The first that has no offset, and why; NULL: all have. */
static const struct partition_offset *first_unknown(const struct partition_offsets *list)
{
    for (int32_t i = 0; i < list->n; i++)
        if (list->v[i].why.p != NULL)
            return &list->v[i];
    return NULL;
}

bool topic_offsets(const struct group_admin *g, struct partition_offsets *list, int64_t time, struct fail *fail)
{
    if (!partition_offsets_learn(g->asker, list, time, g->timeout_ms, g->arena, fail))
        return false;
    const struct partition_offset *p = first_unknown(list);
    if (p == NULL)
        return true;
    if (p->final)
        return group_refused(g, p->error, p->why, fail);
    return fail_set(fail,
                    "org.apache.kafka.common.errors.TimeoutException: There is no offset of %.*s-%" PRId32 ": %.*s",
                    STR_ARGS(p->topic), p->partition, STR_ARGS(p->why));
}

bool topic_offsets_since(const struct group_admin *g, struct partition_offsets *list, int64_t time,
                         void (*tell)(const struct partition_offset *p), struct fail *fail)
{
    enum { END = -1 };
    struct partition_offsets without = {0};
    if (!topic_offsets(g, list, time, fail))
        return false;
    for (int32_t i = 0; i < list->n; i++) {
        if (list->v[i].offset >= 0)
            continue;
        tell(&list->v[i]);
        partition_offsets_add(&without, list->v[i].topic, list->v[i].partition, g->arena);
    }
    if (!topic_offsets(g, &without, END, fail))
        return false;
    for (int32_t i = 0; i < without.n; i++)
        partition_offsets_find(list, without.v[i].topic, without.v[i].partition)->offset = without.v[i].offset;
    return true;
}
