/* What members ask of a generation: SyncGroup, Heartbeat, LeaveGroup. */
#include <inttypes.h>

#include "base/logger.h"
#include "group/group_internal.h"
#include "protocol/msg/heartbeat.h"
#include "protocol/msg/leave_group.h"

enum { PROTOCOL_NAMED_SINCE = 5, SEVERAL_LEAVE_SINCE = 3 };

/* ---- SyncGroup ---- */

struct assignment_store {
    struct state_append append;
    struct group_coordinator *coordinator;
    struct str id;
    int64_t group; /* its number: another group of that name begins with the same generations */
    int32_t generation;
};

static void become_stable(struct group *g)
{
    group_set_state(g, GROUP_STABLE); /* its timer runs on, for those that have not asked yet */
    ensure(g->members != NULL);
    for (struct member *m = g->members; m != NULL; m = m->hh.next) {
        if (m->sync_call == NULL)
            continue;
        answer_sync(m, ERR_NONE);
        member_keep_alive(m);
    }
}

static void on_assignment_stored(struct state_append *append, enum kafka_error error)
{
    struct assignment_store *s = CONTAINER_OF(append, struct assignment_store, append);
    struct group *g = group_find(s->coordinator, s->id);
    error = group_store_error(error);
    /* The world may have moved on while the record was written. */
    if (g != NULL && g->number == s->group && g->state == GROUP_COMPLETING && g->generation == s->generation) {
        if (error == ERR_NONE) {
            become_stable(g);
        } else {
            group_fail_syncs(g, error);
            group_prepare_rebalance(g, "the assignment could not be stored");
        }
    }
    str_free(s->id);
    free(s);
}

static void take_assignment(struct group *g, const struct sync_group_request *request)
{
    ensure(g->state == GROUP_COMPLETING && g->members != NULL);
    for (struct member *m = g->members; m != NULL; m = m->hh.next)
        member_set_assignment(m, (struct bytes){NULL, 0});
    for (int32_t i = 0; i < request->assignments.len; i++) {
        struct member *m = member_find(g, request->assignments.items[i].member_id);
        if (m != NULL)
            member_set_assignment(m, request->assignments.items[i].assignment);
    }
    struct assignment_store *s = xcalloc(1, sizeof(*s));
    *s = (struct assignment_store){
        {.done = on_assignment_stored}, g->coordinator, str_dup(g->id), g->number, g->generation};
    group_store(g, &s->append);
}

static enum kafka_error check_sync(const struct group *g, const struct sync_group_request *request)
{
    enum kafka_error error = member_check(g, request->member_id, request->group_instance_id);
    if (error != ERR_NONE)
        return error;
    if (request->generation_id != g->generation)
        return ERR_ILLEGAL_GENERATION;
    if ((request->protocol_type.p != NULL && !str_eq(request->protocol_type, g->protocol_type)) ||
        (request->protocol_name.p != NULL && !str_eq(request->protocol_name, g->protocol)))
        return ERR_INCONSISTENT_GROUP_PROTOCOL;
    if (g->state == GROUP_EMPTY)
        return ERR_UNKNOWN_MEMBER_ID;
    return g->state == GROUP_PREPARING ? ERR_REBALANCE_IN_PROGRESS : ERR_NONE;
}

bool group_sync_is_complete(const struct sync_group_request *request, int16_t version)
{
    return version < PROTOCOL_NAMED_SINCE || (request->protocol_type.p != NULL && request->protocol_name.p != NULL);
}

void group_sync(struct group_coordinator *gc, const struct sync_group_request *request,
                struct sync_group_response *response, struct group_call *call)
{
    enum kafka_error error = group_sync_is_complete(request, call->client.version)
                                 ? group_check(gc, request->group_id, false)
                                 : ERR_INCONSISTENT_GROUP_PROTOCOL;
    struct group *g = error == ERR_NONE ? group_find(gc, request->group_id) : NULL;
    if (error == ERR_COORDINATOR_LOAD_IN_PROGRESS)
        error = ERR_REBALANCE_IN_PROGRESS; /* the member rejoins, and finds the group loaded */
    if (error == ERR_NONE)
        error = g == NULL ? ERR_UNKNOWN_MEMBER_ID : check_sync(g, request);
    if (error != ERR_NONE) {
        response->error_code = error;
        call->done(call);
        return;
    }
    struct member *m = member_find(g, request->member_id);
    answer_sync(m, ERR_REBALANCE_IN_PROGRESS);
    m->sync_call = call;
    m->sync_response = response;
    m->sync_expected = false;
    if (g->state == GROUP_STABLE) {
        answer_sync(m, ERR_NONE);
        member_keep_alive(m);
    } else if (member_leads(m)) {
        take_assignment(g, request);
    }
}

/* ---- Heartbeat ---- */

void group_heartbeat(struct group_coordinator *gc, const struct heartbeat_request *request,
                     struct heartbeat_response *response, struct group_call *call)
{
    enum kafka_error error = group_check(gc, request->group_id, false);
    struct group *g = error == ERR_NONE ? group_find(gc, request->group_id) : NULL;
    if (error == ERR_NONE)
        error = g == NULL ? ERR_UNKNOWN_MEMBER_ID : member_check(g, request->member_id, request->group_instance_id);
    else if (error == ERR_COORDINATOR_LOAD_IN_PROGRESS)
        error = ERR_NONE; /* the group is coming: no reason to rejoin */
    if (g != NULL && error == ERR_NONE) {
        if (g->state == GROUP_EMPTY)
            error = ERR_UNKNOWN_MEMBER_ID;
        else if (request->generation_id != g->generation)
            error = ERR_ILLEGAL_GENERATION;
        else
            member_keep_alive(member_find(g, request->member_id));
        if (error == ERR_NONE && g->state == GROUP_PREPARING)
            error = ERR_REBALANCE_IN_PROGRESS;
    }
    response->error_code = error;
    call->done(call);
}

/* ---- LeaveGroup ---- */

static enum kafka_error sync_leave(struct group *g, const struct leave_group_member_identity *in)
{
    struct str id = in->member_id, reason = in->reason.p != NULL ? in->reason : STR_LIT("not provided");
    struct pending_member *p = pending_find(g, id);
    if (p != NULL) {
        pending_remove(p);
        group_maybe_complete_join(g);
        return ERR_NONE;
    }
    struct member *m = member_find_static(g, in->group_instance_id);
    if (m == NULL || id.len > 0) { /* an administrator names the instance only (KIP-345) */
        enum kafka_error error = member_check(g, id, in->group_instance_id);
        if (error != ERR_NONE)
            return error;
        m = member_find(g, id);
    }
    log_info("Member %.*s has left group %.*s; client reason: %.*s", STR_ARGS(m->id), STR_ARGS(g->id),
             STR_ARGS(reason));
    member_remove(m);
    group_lost_member(g, "a member has left");
    return ERR_NONE;
}

static void leave_all(struct group *g, const struct leave_group_request *request, struct leave_group_response *response,
                      struct arena *a)
{
    ARRAY_MAKE(a, response->members, MAX(request->members.len, 0));
    for (int32_t i = 0; i < request->members.len; i++) {
        const struct leave_group_member_identity *in = &request->members.items[i];
        struct leave_group_member_response *o = &response->members.items[i];
        leave_group_member_response_init(o);
        o->member_id = in->member_id;
        o->group_instance_id = in->group_instance_id;
        o->error_code = (int16_t)(g == NULL ? ERR_UNKNOWN_MEMBER_ID : sync_leave(g, in));
    }
}

void group_leave(struct group_coordinator *gc, const struct leave_group_request *request,
                 struct leave_group_response *response, struct group_call *call)
{
    enum kafka_error error = group_check(gc, request->group_id, false);
    struct group *g = error == ERR_NONE ? group_find(gc, request->group_id) : NULL;
    if (error == ERR_NONE && call->client.version < SEVERAL_LEAVE_SINCE) {
        struct leave_group_member_identity one;
        leave_group_member_identity_init(&one);
        one.member_id = request->member_id;
        error = g == NULL ? ERR_UNKNOWN_MEMBER_ID : sync_leave(g, &one);
    } else if (error == ERR_NONE) {
        leave_all(g, request, response, call->arena);
    }
    group_note_void(g);
    response->error_code = error;
    call->done(call);
}
