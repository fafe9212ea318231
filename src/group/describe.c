/* What administrators ask: describe and list. */
#include <strings.h>

#include "group/group_internal.h"
#include "protocol/msg/describe_groups.h"
#include "protocol/msg/list_groups.h"

static void groups_describe_fill_member(struct arena *a, const struct member *m,
                                        struct describe_groups_described_group_member *o)
{
    const struct group *g = m->group;
    bool stable = g->state == GROUP_STABLE;
    struct bytes metadata = member_metadata(m, stable ? g->protocol : STR_NULL);
    struct bytes assignment = stable && m->assignment.p ? m->assignment : (struct bytes){(const uint8_t *)"", 0};
    describe_groups_described_group_member_init(o);
    o->member_id = arena_str(a, m->id);
    o->group_instance_id = arena_str(a, m->instance_id);
    o->client_id = arena_str(a, m->client_id);
    o->client_host = arena_str(a, m->client_host);
    o->member_metadata = (struct bytes){arena_copy(a, metadata.p, (size_t)metadata.len), metadata.len};
    o->member_assignment = (struct bytes){arena_copy(a, assignment.p, (size_t)assignment.len), assignment.len};
}

static void describe_group(struct arena *a, const struct group *g, struct describe_groups_described_group *o)
{
    int32_t i = 0;
    o->group_state = str_of(group_state_name(g->state));
    o->protocol_type = g->protocol_type.p ? arena_str(a, g->protocol_type) : STR_LIT("");
    o->protocol_data = g->protocol.p && g->state == GROUP_STABLE ? arena_str(a, g->protocol) : STR_LIT("");
    ARRAY_MAKE(a, o->members, group_size(g));
    for (const struct member *m = g->members; m != NULL; m = m->hh.next)
        groups_describe_fill_member(a, m, &o->members.items[i++]);
}

void group_describe(struct group_coordinator *gc, const struct describe_groups_request *request,
                    struct describe_groups_response *response, struct group_call *call)
{
    ARRAY_MAKE(call->arena, response->groups, MAX(request->groups.len, 0));
    for (int32_t i = 0; i < request->groups.len && !call->arena->spent; i++) {
        struct describe_groups_described_group *o = &response->groups.items[i];
        describe_groups_described_group_init(o);
        o->group_id = request->groups.items[i];
        o->error_code = group_check(gc, o->group_id, true);
        const struct group *g = o->error_code == ERR_NONE ? group_find(gc, o->group_id) : NULL;
        if (g != NULL)
            describe_group(call->arena, g, o);
        else if (o->error_code == ERR_NONE)
            o->group_state = str_of(group_state_name(GROUP_DEAD));
    }
    call->done(call);
}

static bool is_named(const struct str *items, int32_t len, const char *name)
{
    for (int32_t i = 0; i < len; i++)
        if ((size_t)items[i].len == strlen(name) && strncasecmp(items[i].p, name, (size_t)items[i].len) == 0)
            return true;
    return len <= 0; /* no filter */
}

/* A bit for each state that is asked for, so that the request is not read again for each group. */
static int groups_describe_wanted_states(const struct list_groups_request *request)
{
    int bits = 0;
    for (int s = GROUP_EMPTY; s <= GROUP_DEAD; s++)
        if (is_named(request->states_filter.items, request->states_filter.len, group_state_name((enum group_state)s)))
            bits |= 1 << s;
    return is_named(request->types_filter.items, request->types_filter.len, "classic") ? bits : 0;
}

void group_list(struct group_coordinator *gc, const struct list_groups_request *request,
                struct list_groups_response *response, struct group_call *call)
{
    ARRAY_MAKE(call->arena, response->groups, (int32_t)HASH_COUNT(gc->groups));
    response->groups.len = 0;
    if (state_topic_is_loading(gc->topic))
        response->error_code = ERR_COORDINATOR_LOAD_IN_PROGRESS;
    int wanted = groups_describe_wanted_states(request);
    for (const struct group *g = gc->groups; g != NULL; g = g->hh.next) {
        bool loading = group_check(gc, g->id, true) != ERR_NONE;
        if (loading || (wanted & 1 << g->state) == 0)
            continue;
        struct list_groups_listed_group *o = &response->groups.items[response->groups.len++];
        list_groups_listed_group_init(o);
        o->group_id = arena_str(call->arena, g->id);
        o->protocol_type = g->protocol_type.p ? arena_str(call->arena, g->protocol_type) : STR_LIT("");
        o->group_state = str_of(group_state_name(g->state));
        o->group_type = STR_LIT("classic");
    }
    call->done(call);
}
