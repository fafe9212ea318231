/*
 * JoinGroup: who may join, and as whom. A new member is told its id first (KIP-394); a static one takes the place of
 * the process that had its instance id before (KIP-345).
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/logger.h"
#include "base/uuid.h"
#include "group/group_internal.h"

enum { MEMBER_ID_REQUIRED_SINCE = 4, SKIP_ASSIGNMENT_SINCE = 9, LONGEST_MEMBER_PREFIX = 255 };

struct joining {
    struct group *g;
    const struct join_group_request *request;
    struct join_group_response *out;
    struct group_call *call;
};

static void join_refuse(const struct joining *j, enum kafka_error error)
{
    refuse_join(j->call, j->out, error, j->request->member_id);
}

/* What the member says of itself, and its request, which waits for the next generation. */
static void take_request(const struct joining *j, struct member *m)
{
    ensure(m->group == j->g);
    answer_join(m, ERR_REBALANCE_IN_PROGRESS); /* an earlier request of the same member is given up */
    m->rebalance_timeout_ms =
        j->call->client.version >= 1 ? j->request->rebalance_timeout_ms : j->request->session_timeout_ms;
    m->session_timeout_ms = j->request->session_timeout_ms;
    member_set_protocols(m, j->request);
    member_wait_to_join(m, j->call, j->out);
    member_keep_alive(m);
}

static void wait_for_rebalance(const struct joining *j, struct member *m, const char *why)
{
    char text[256];
    struct str reason = j->request->reason.p != NULL ? j->request->reason : STR_LIT("not provided");
    snprintf(text, sizeof(text), "%s %.*s; client reason: %.*s", why, STR_ARGS(m->id), STR_ARGS(reason));
    take_request(j, m);
    group_prepare_rebalance(j->g, text);
}

static void add_and_rebalance(const struct joining *j, struct str id)
{
    struct group *g = j->g;
    if (g->members == NULL) {
        str_free(g->protocol_type);
        g->protocol_type = str_dup(j->request->protocol_type);
    }
    struct member *m =
        member_add(g, id, j->request->group_instance_id, j->call->client.client_id, j->call->client.client_host);
    if (g->leader_id.p == NULL)
        g->leader_id = str_dup(m->id);
    g->member_came |= g->state == GROUP_PREPARING && g->generation == 0;
    wait_for_rebalance(j, m, "adding member");
}

/* Ids are kept for each that asks for one: of what a client is called, they take as much as tells it from others. */
static struct str new_member_id(const struct joining *j)
{
    struct str name = j->request->group_instance_id.p ? j->request->group_instance_id : j->call->client.client_id;
    struct str prefix = str_head(name, LONGEST_MEMBER_PREFIX);
    struct uuid u = uuid_random();
    const uint8_t *b = u.b;
    return arena_printf(j->call->arena, "%.*s-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
                        STR_ARGS(prefix), b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11],
                        b[12], b[13], b[14], b[15]);
}

static void require_id(const struct joining *j, struct str id)
{
    pending_add(j->g, id, j->request->session_timeout_ms);
    refuse_join(j->call, j->out, ERR_MEMBER_ID_REQUIRED, id);
}

/* ---- Static members that come back (KIP-345) ---- */

/* The change of a static member's process in a stable group, while the group's record is written. */
struct replacement {
    struct state_append append;
    struct group_coordinator *coordinator;
    struct str group, id; /* of the member now */
    struct str old_id, old_leader;
    int32_t generation;
    struct member_protocol *old_protocols;
    int32_t old_protocol_count, old_rebalance_timeout_ms, old_session_timeout_ms;
    bool old_sync_inherited;
};

static void answer_replaced(struct member *m, const struct replacement *x)
{
    struct join_group_response *out;
    struct group_call *call = member_end_join_wait(m, &out);
    ensure(call != NULL && m->group->state == GROUP_STABLE);
    bool leads = member_leads(m);
    out->member_id = arena_str(call->arena, m->id);
    fill_generation(m, call->arena, out);
    out->skip_assignment = leads && call->client.version >= SKIP_ASSIGNMENT_SINCE;
    if (leads && !out->skip_assignment) { /* it must not assign anew, so it is not told that it leads (KIP-814) */
        out->members.len = 0;
        out->leader = arena_str(call->arena, x->old_leader);
    }
    member_keep_alive(m);
    call->done(call);
}

static void undo_replacement(struct member *m, struct replacement *x, enum kafka_error error)
{
    struct join_group_response *out;
    struct group_call *call = member_end_join_wait(m, &out);
    ensure(call != NULL);
    member_rename(m, x->old_id);
    member_swap_protocols(m, &x->old_protocols, &x->old_protocol_count);
    m->rebalance_timeout_ms = x->old_rebalance_timeout_ms;
    m->session_timeout_ms = x->old_session_timeout_ms;
    m->sync_inherited = x->old_sync_inherited;
    member_keep_alive(m);
    refuse_join(call, out, error, STR_LIT(""));
}

static void replacement_free(struct replacement *x)
{
    protocols_free(x->old_protocols, x->old_protocol_count);
    str_free(x->group);
    str_free(x->id);
    str_free(x->old_id);
    str_free(x->old_leader);
    free(x);
}

static void on_replacement_stored(struct state_append *append, enum kafka_error error)
{
    struct replacement *x = CONTAINER_OF(append, struct replacement, append);
    struct group *g = group_find(x->coordinator, x->group);
    struct member *m = g != NULL ? member_find(g, x->id) : NULL;
    /* Else a rebalance has begun, which it waits for, or it is answered already. */
    bool waits = m != NULL && m->join_call != NULL && g->state == GROUP_STABLE && g->generation == x->generation;
    if (error != ERR_NONE)
        log_warn("Static member %.*s of group %.*s could not be stored: %s", STR_ARGS(x->id), STR_ARGS(x->group),
                 error_name(error));
    if (waits && error == ERR_NONE)
        answer_replaced(m, x);
    else if (waits)
        undo_replacement(m, x, group_store_error(error));
    replacement_free(x);
}

static struct replacement *replacement_new(struct member *m, struct str id)
{
    const struct group *g = m->group;
    struct replacement *x = xcalloc(1, sizeof(*x));
    *x = (struct replacement){.append = {.done = on_replacement_stored},
                              .coordinator = g->coordinator,
                              .group = str_dup(g->id),
                              .id = str_dup(id),
                              .old_id = str_dup(m->id),
                              .old_leader = str_dup(g->leader_id),
                              .generation = g->generation,
                              .old_rebalance_timeout_ms = m->rebalance_timeout_ms,
                              .old_session_timeout_ms = m->session_timeout_ms,
                              .old_sync_inherited = m->sync_inherited};
    member_swap_protocols(m, &x->old_protocols, &x->old_protocol_count);
    return x;
}

/* Same instance, new process: it takes the place of the old one, which is fenced. */
static void replace_static(const struct joining *j, struct member *m, struct str id)
{
    struct group *g = j->g;
    log_info("Static member %.*s of group %.*s in state %s takes the place of %.*s", STR_ARGS(id), STR_ARGS(g->id),
             group_state_name(g->state), STR_ARGS(m->id));
    answer_join(m, ERR_FENCED_INSTANCE_ID);
    answer_sync(m, ERR_FENCED_INSTANCE_ID);
    ensure(m->join_call == NULL && m->sync_call == NULL);
    struct replacement *x = replacement_new(m, id);
    member_rename(m, id);
    m->sync_inherited = true;
    if (g->state == GROUP_STABLE) {
        take_request(j, m);
        if (group_would_keep_protocol(g)) {
            group_store(g, &x->append);
            return;
        }
        group_prepare_rebalance(g, "a static member's protocols change the choice");
    } else {
        wait_for_rebalance(j, m, "replacing static member");
    }
    replacement_free(x);
}

/* ---- JoinGroup ---- */

static void join_as_new(const struct joining *j)
{
    struct str id = new_member_id(j);
    struct member *old = member_find_static(j->g, j->request->group_instance_id);
    if (old != NULL)
        replace_static(j, old, id);
    else if (j->call->client.version >= MEMBER_ID_REQUIRED_SINCE && j->request->group_instance_id.p == NULL)
        require_id(j, id);
    else
        add_and_rebalance(j, id);
}

static void answer_current(const struct joining *j, struct member *m)
{
    j->out->member_id = arena_str(j->call->arena, m->id);
    fill_generation(m, j->call->arena, j->out);
    member_keep_alive(m);
    j->call->done(j->call);
}

static void rejoin(const struct joining *j, struct member *m)
{
    struct group *g = j->g;
    bool leader = member_leads(m);
    bool same = member_has_protocols(m, j->request);
    if (g->state == GROUP_EMPTY || g->state == GROUP_DEAD)
        join_refuse(j, ERR_UNKNOWN_MEMBER_ID);
    else if ((g->state == GROUP_COMPLETING && same) || (g->state == GROUP_STABLE && same && !leader))
        answer_current(j, m);
    else
        wait_for_rebalance(j, m, leader ? "rejoining leader" : "rejoining member");
}

/* It comes with the id that it was given. */
static void join_as_promised(const struct joining *j, struct pending_member *p)
{
    struct str id = arena_str(j->call->arena, p->id);
    if (j->request->group_instance_id.p != NULL) { /* static members are not asked to come again */
        join_refuse(j, ERR_UNKNOWN_SERVER_ERROR);
        return;
    }
    pending_remove(p);
    add_and_rebalance(j, id);
}

static void join_as_known(const struct joining *j)
{
    struct str id = j->request->member_id;
    struct pending_member *p = pending_find(j->g, id);
    if (p != NULL) {
        join_as_promised(j, p);
        return;
    }
    enum kafka_error error = member_check(j->g, id, j->request->group_instance_id);
    if (error != ERR_NONE)
        join_refuse(j, error);
    else
        rejoin(j, member_find(j->g, id));
}

static bool supports(const struct group *g, const struct join_group_request *request)
{
    if (request->protocol_type.len == 0 || request->protocols.len <= 0)
        return false;
    if (g->state == GROUP_EMPTY)
        return true;
    if (!str_eq(request->protocol_type, g->protocol_type))
        return false;
    for (int32_t i = 0; i < request->protocols.len; i++)
        if (everybody_supports(g, request->protocols.items[i].name))
            return true;
    return false;
}

static bool has_room(const struct group *g, const struct join_group_request *request)
{
    int limit = g->coordinator->options.config->group_max_size;
    const struct member *m = member_find(g, request->member_id);
    if (g->state == GROUP_EMPTY)
        return true;
    if (g->state == GROUP_PREPARING) /* who rejoins last is left out, if the limit has become smaller */
        return (m != NULL && m->join_call != NULL) || g->joined < limit;
    return m != NULL || group_size(g) < limit;
}

static void turn_away(const struct joining *j)
{
    struct group *g = j->g;
    struct member *m = member_find(g, j->request->member_id);
    struct pending_member *p = pending_find(g, j->request->member_id);
    if (m != NULL)
        member_remove(m);
    if (p != NULL)
        pending_remove(p);
    refuse_join(j->call, j->out, ERR_GROUP_MAX_SIZE_REACHED, STR_LIT(""));
    group_maybe_complete_join(g);
}

void group_join(struct group_coordinator *gc, const struct join_group_request *request,
                struct join_group_response *response, struct group_call *call)
{
    struct joining j = {NULL, request, response, call};
    const struct broker_config *c = gc->options.config;
    enum kafka_error error = group_check(gc, request->group_id, false);
    if (error == ERR_NONE && (request->session_timeout_ms < c->group_min_session_timeout_ms ||
                              request->session_timeout_ms > c->group_max_session_timeout_ms))
        error = ERR_INVALID_SESSION_TIMEOUT;
    if (error != ERR_NONE) {
        join_refuse(&j, error);
        return;
    }
    bool unknown = request->member_id.len == 0;
    j.g = group_find(gc, request->group_id);
    if (j.g == NULL && !unknown) {
        join_refuse(&j, ERR_UNKNOWN_MEMBER_ID);
        return;
    }
    if (j.g == NULL)
        j.g = group_make(gc, request->group_id);
    if (!has_room(j.g, request))
        turn_away(&j);
    else if (!supports(j.g, request))
        join_refuse(&j, ERR_INCONSISTENT_GROUP_PROTOCOL);
    else if (unknown)
        join_as_new(&j);
    else
        join_as_known(&j);
    group_note_void(j.g); /* the request may be gone with its answer */
}
