#include "tools/groups/group_admin.h"

#include "base/clock.h"
#include "protocol/error.h"
#include "protocol/msg/consumer_group_describe.h"
#include "protocol/msg/consumer_protocol_assignment.h"
#include "protocol/msg/delete_groups.h"
#include "protocol/msg/describe_groups.h"
#include "protocol/msg/leave_group.h"

static const struct str consumer_protocol = {"consumer", sizeof("consumer") - 1};

bool group_refused(const struct group_admin *g, int16_t error, struct str message, struct fail *fail)
{
    struct str why = ask_exception_text(g->arena, error, message);
    return fail_set(fail, "%.*s", STR_ARGS(why));
}

bool group_ask(const struct group_admin *g, struct str id, group_step *step, void *arg, struct fail *fail)
{
    int16_t error;
    struct coordinator_call call = {COORDINATOR_GROUP, id, g->timeout_ms, step, arg, true};
    return coordinator_ask(g->asker, &call, &error, g->arena, fail) &&
           (error == ERR_NONE || group_refused(g, error, STR_NULL, fail));
}

/* ---- List ---- */

static int group_admin_by_id(const void *a, const void *b)
{
    const struct list_groups_listed_group *x = a, *y = b;
    return str_cmp(x->group_id, y->group_id);
}

static void add_groups(const struct group_admin *g, const struct list_groups_response *response,
                       struct group_listing *out)
{
    struct list_groups_listed_group *all =
        ARENA_ARRAY(g->arena, struct list_groups_listed_group, out->n + response->groups.len + 1);
    if (out->n > 0)
        memcpy(all, out->v, sizeof(*all) * (size_t)out->n);
    out->v = all;
    for (int32_t i = 0; i < response->groups.len; i++) {
        const struct list_groups_listed_group *group = &response->groups.items[i];
        if (group->protocol_type.len == 0 || str_eq(group->protocol_type, consumer_protocol))
            out->v[out->n++] = *group;
    }
}

static void copy_filter(const struct group_admin *g, struct str_list from, struct str **items, int32_t *len)
{
    *items = ARENA_ARRAY(g->arena, struct str, from.n + 1);
    *len = from.n;
    if (from.n > 0)
        memcpy(*items, from.v, sizeof(**items) * (size_t)from.n);
}

bool group_admin_list(const struct group_admin *g, struct str_list states, struct str_list types,
                      struct group_listing *out, struct fail *fail)
{
    struct metadata_response cluster;
    struct list_groups_request request;
    struct list_groups_response response;
    struct coordinator_list_call call = {.key = API_LIST_GROUPS,
                                         .min_version = types.n > 0    ? 5
                                                        : states.n > 0 ? 4
                                                                       : 0,
                                         .request = &request,
                                         .response = &response,
                                         .error = &response.error_code,
                                         .deadline_ms = clock_mono_ms() + g->timeout_ms};
    *out = (struct group_listing){0};
    list_groups_request_init(&request);
    copy_filter(g, states, &request.states_filter.items, &request.states_filter.len);
    copy_filter(g, types, &request.types_filter.items, &request.types_filter.len);
    if (!ask_metadata(g->asker, NULL, 0, &cluster, g->arena, fail))
        return false;
    for (int32_t i = 0; i < cluster.brokers.len; i++) {
        if (!coordinator_list(g->asker, cluster.brokers.items[i].node_id, &call, g->arena, fail))
            return false;
        if (response.error_code != ERR_NONE)
            return group_refused(g, response.error_code, STR_NULL, fail);
        add_groups(g, &response, out);
    }
    if (out->n > 0)
        qsort(out->v, (size_t)out->n, sizeof(*out->v), group_admin_by_id);
    return true;
}

/* ---- Describe ---- */

static struct str empty_if_null(struct str s)
{
    return s.p != NULL ? s : STR_LIT("");
}

/* What the leader of a classic group has given the member: it may be anything. */
static bool read_assignment(struct bytes data, struct partition_offsets *out, struct arena *a)
{
    enum { NEWEST = 3 };
    struct reader r;
    struct consumer_protocol_assignment m;
    if (data.len == 0)
        return true;
    reader_init(&r, data, a);
    int16_t version = reader_int16(&r);
    if (version < 0 || !consumer_protocol_assignment_read(&r, MIN(version, NEWEST), &m))
        return false;
    for (int32_t t = 0; t < m.assigned_partitions.len; t++)
        for (int32_t i = 0; i < m.assigned_partitions.items[t].partitions.len; i++)
            partition_offsets_add(out, m.assigned_partitions.items[t].topic,
                                  m.assigned_partitions.items[t].partitions.items[i], a);
    partition_offsets_sort(out);
    return true;
}

static bool take_classic(const struct describe_groups_described_group *from, struct group_description *out,
                         struct arena *a, struct fail *fail)
{
    if (from->protocol_type.len > 0 && !str_eq(from->protocol_type, consumer_protocol))
        return fail_set(fail, "java.lang.IllegalArgumentException: GroupId %.*s is not a consumer group (%.*s).",
                        STR_ARGS(out->id), STR_ARGS(from->protocol_type));
    out->state = from->group_state;
    out->assignor = from->protocol_data;
    out->member_count = from->members.len;
    out->members = ARENA_ARRAY(a, struct group_member, from->members.len + 1);
    for (int32_t i = 0; i < from->members.len; i++) {
        const struct describe_groups_described_group_member *m = &from->members.items[i];
        struct group_member *member = &out->members[i];
        *member =
            (struct group_member){m->member_id, empty_if_null(m->group_instance_id), m->client_id, m->client_host, {0}};
        if (!read_assignment(m->member_assignment, &member->assigned, a))
            return fail_set(fail, "The assignment of member %.*s cannot be read", STR_ARGS(m->member_id));
    }
    return true;
}

static struct str *keys_of(struct coordinator_item **items, int32_t n, struct arena *a)
{
    struct str *keys = ARENA_ARRAY(a, struct str, n + 1);
    for (int32_t i = 0; i < n; i++)
        keys[i] = items[i]->key;
    return keys;
}

static bool describe_classic(struct asker *asker, int32_t broker, struct coordinator_item **items, int32_t n,
                             struct arena *a, struct fail *fail)
{
    struct describe_groups_request request;
    struct describe_groups_response response;
    describe_groups_request_init(&request);
    request.groups.items = keys_of(items, n, a);
    request.groups.len = n;
    if (!ask(asker, broker, API_DESCRIBE_GROUPS, 0, &request, &response, NULL, a, fail))
        return false;
    for (int32_t i = 0; i < response.groups.len; i++) {
        const struct describe_groups_described_group *from = &response.groups.items[i];
        struct coordinator_item *item = coordinator_item_find(items, n, from->group_id);
        struct fail why;
        if (item == NULL)
            continue;
        item->error = from->error_code;
        item->answered = from->error_code != ERR_NONE || take_classic(from, item->arg, a, &why);
        if (!item->answered)
            item->why = arena_cstr(a, str_of(why.text));
    }
    return true;
}

static void take_consumer(const struct consumer_group_describe_described_group *from, struct group_description *out,
                          struct arena *a)
{
    out->state = from->group_state;
    out->assignor = from->assignor_name;
    out->member_count = from->members.len;
    out->members = ARENA_ARRAY(a, struct group_member, from->members.len + 1);
    for (int32_t i = 0; i < from->members.len; i++) {
        const struct consumer_group_describe_member *m = &from->members.items[i];
        struct group_member *member = &out->members[i];
        *member = (struct group_member){m->member_id, empty_if_null(m->instance_id), m->client_id, m->client_host, {0}};
        for (int32_t t = 0; t < m->assignment.topic_partitions.len; t++) {
            const struct consumer_group_describe_topic_partitions *topic = &m->assignment.topic_partitions.items[t];
            for (int32_t p = 0; p < topic->partitions.len; p++)
                partition_offsets_add(&member->assigned, topic->topic_name, topic->partitions.items[p], a);
        }
        partition_offsets_sort(&member->assigned);
    }
}

/* Those of the new protocol (KIP-848). Moves the others to the front, and says how many they are. */
static int32_t describe_consumers(struct asker *asker, int32_t broker, struct coordinator_item **items, int32_t n,
                                  struct arena *a)
{
    struct consumer_group_describe_request request;
    struct consumer_group_describe_response response;
    int32_t kept = 0;
    if (!ask_speaks(asker, broker, API_CONSUMER_GROUP_DESCRIBE))
        return n;
    consumer_group_describe_request_init(&request);
    request.group_ids.items = keys_of(items, n, a);
    request.group_ids.len = n;
    if (!ask(asker, broker, API_CONSUMER_GROUP_DESCRIBE, 0, &request, &response, NULL, a, NULL))
        return n;
    for (int32_t i = 0; i < response.groups.len; i++) {
        const struct consumer_group_describe_described_group *from = &response.groups.items[i];
        struct coordinator_item *item = coordinator_item_find(items, n, from->group_id);
        if (item == NULL || from->error_code == ERR_GROUP_ID_NOT_FOUND || from->error_code == ERR_UNSUPPORTED_VERSION)
            continue;
        item->error = from->error_code;
        item->answered = true;
        if (item->error == ERR_NONE)
            take_consumer(from, item->arg, a);
    }
    for (int32_t i = 0; i < n; i++)
        if (!items[i]->answered)
            items[kept++] = items[i];
    return kept;
}

static bool group_admin_describe_at(struct asker *asker, int32_t broker, struct coordinator_item **items, int32_t n,
                                    struct arena *a, struct fail *fail)
{
    struct coordinator_item **rest = arena_copy(a, items, sizeof(*items) * (size_t)n);
    for (int32_t i = 0; i < n; i++)
        ((struct group_description *)items[i]->arg)->coordinator = items[i]->at;
    int32_t count = describe_consumers(asker, broker, rest, n, a);
    return count == 0 || describe_classic(asker, broker, rest, count, a, fail);
}

/* Why there is nothing of the group; NULL: there is. */
static const char *failure_of(const struct group_admin *g, const struct coordinator_item *item)
{
    struct fail fail;
    if (item->answered && item->error == ERR_NONE)
        return NULL;
    if (item->why != NULL && !item->answered)
        return item->why;
    if (item->answered)
        group_refused(g, item->error, STR_NULL, &fail);
    else
        fail_set(&fail, "The coordinator says nothing of group %.*s", STR_ARGS(item->key));
    return arena_cstr(g->arena, str_of(fail.text));
}

bool group_admin_describe(const struct group_admin *g, struct str_list ids, struct group_description *out,
                          struct fail *fail)
{
    struct coordinator_call call = {.kind = COORDINATOR_GROUP, .timeout_ms = g->timeout_ms, .repeatable = true};
    struct coordinator_item *items = ARENA_ARRAY(g->arena, struct coordinator_item, ids.n + 1);
    for (int32_t i = 0; i < ids.n; i++) {
        out[i] = (struct group_description){.id = ids.v[i]};
        items[i] = (struct coordinator_item){.key = ids.v[i], .arg = &out[i]};
    }
    coordinator_ask_all(g->asker, &call, group_admin_describe_at, items, ids.n, g->arena);
    for (int32_t i = 0; i < ids.n; i++) {
        const char *why = failure_of(g, &items[i]);
        if (why != NULL)
            return fail_set(fail, "%s", why);
    }
    return true;
}

/* ---- Delete ---- */

static bool group_admin_delete_at(struct asker *asker, int32_t broker, struct coordinator_item **items, int32_t n,
                                  struct arena *a, struct fail *fail)
{
    struct delete_groups_request request;
    struct delete_groups_response response;
    delete_groups_request_init(&request);
    request.groups_names.items = keys_of(items, n, a);
    request.groups_names.len = n;
    if (!ask(asker, broker, API_DELETE_GROUPS, 0, &request, &response, NULL, a, fail))
        return false;
    for (int32_t i = 0; i < response.results.len; i++) {
        struct coordinator_item *item = coordinator_item_find(items, n, response.results.items[i].group_id);
        if (item == NULL)
            continue;
        item->error = response.results.items[i].error_code;
        item->answered = true;
    }
    return true;
}

void group_admin_delete(const struct group_admin *g, struct str_list ids, const char **failures)
{
    struct coordinator_call call = {.kind = COORDINATOR_GROUP, .timeout_ms = g->timeout_ms};
    struct coordinator_item *items = ARENA_ARRAY(g->arena, struct coordinator_item, ids.n + 1);
    for (int32_t i = 0; i < ids.n; i++)
        items[i] = (struct coordinator_item){.key = ids.v[i]};
    coordinator_ask_all(g->asker, &call, group_admin_delete_at, items, ids.n, g->arena);
    for (int32_t i = 0; i < ids.n; i++)
        failures[i] = failure_of(g, &items[i]);
}

static bool leave_at(struct asker *asker, const struct coordinator *at, void *arg, int16_t *error, struct arena *a,
                     struct fail *fail)
{
    enum { FIRST_WITH_SEVERAL = 3 };
    const struct group_description *group = arg;
    struct leave_group_request request;
    struct leave_group_response response;
    leave_group_request_init(&request);
    request.group_id = group->id;
    ARRAY_MAKE(a, request.members, group->member_count);
    for (int32_t i = 0; i < group->member_count; i++) {
        const struct group_member *m = &group->members[i];
        struct leave_group_member_identity *who = &request.members.items[i];
        leave_group_member_identity_init(who);
        who->member_id = m->instance_id.len > 0 ? STR_LIT("") : m->id;
        who->group_instance_id = m->instance_id.len > 0 ? m->instance_id : STR_NULL;
        who->reason = STR_LIT("member was removed by an admin");
    }
    if (!ask(asker, at->id, API_LEAVE_GROUP, FIRST_WITH_SEVERAL, &request, &response, NULL, a, fail))
        return false;
    *error = response.error_code;
    for (int32_t i = 0; *error == ERR_NONE && i < response.members.len; i++)
        *error = response.members.items[i].error_code;
    return true;
}

bool group_remove_members(const struct group_admin *g, const struct group_description *group, struct fail *fail)
{
    struct group_description copy = *group;
    struct coordinator_call call = {COORDINATOR_GROUP, group->id, g->timeout_ms, leave_at, &copy, false};
    int16_t error;
    return coordinator_ask(g->asker, &call, &error, g->arena, fail) &&
           (error == ERR_NONE || group_refused(g, error, STR_NULL, fail));
}
