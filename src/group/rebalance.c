/*
 * Rebalances: members join, the last one to come or the time-out ends the joining, each is told the new
 * generation, the leader sends the assignment, each gets its own (KIP-62, 134).
 */
#include <inttypes.h>

#include "base/logger.h"
#include "group/group_internal.h"

enum { FIRST_ANSWER_MS = 300000 };

/* ---- Answers ---- */

static void fill_members(const struct member *leader, struct arena *a, struct join_group_response *out)
{
    const struct group *g = leader->group;
    ARRAY_MAKE(a, out->members, group_size(g));
    int32_t i = 0;
    for (struct member *m = g->members; m != NULL; m = m->hh.next) {
        struct join_group_response_member *o = &out->members.items[i++];
        struct bytes metadata = member_metadata(m, g->protocol);
        join_group_response_member_init(o);
        o->member_id = arena_str(a, m->id);
        o->group_instance_id = arena_str(a, m->instance_id);
        o->metadata = (struct bytes){arena_copy(a, metadata.p, (size_t)metadata.len), metadata.len};
    }
}

void fill_generation(const struct member *m, struct arena *a, struct join_group_response *out)
{
    const struct group *g = m->group;
    out->generation_id = g->generation;
    out->protocol_type = arena_str(a, g->protocol_type);
    out->protocol_name = arena_str(a, g->protocol);
    out->leader = g->leader_id.p ? arena_str(a, g->leader_id) : STR_LIT("");
    if (member_leads(m))
        fill_members(m, a, out);
}

void refuse_join(struct group_call *call, struct join_group_response *out, enum kafka_error error, struct str member_id)
{
    out->error_code = error;
    out->member_id = member_id.p ? arena_str(call->arena, member_id) : STR_LIT("");
    out->protocol_name = call->client.version >= 7 ? STR_NULL : STR_LIT("");
    call->done(call);
}

void answer_join(struct member *m, enum kafka_error error)
{
    struct join_group_response *out;
    struct group_call *call = member_end_join_wait(m, &out);
    if (call == NULL)
        return;
    if (error != ERR_NONE) {
        refuse_join(call, out, error, m->id);
        return;
    }
    out->member_id = arena_str(call->arena, m->id);
    fill_generation(m, call->arena, out);
    call->done(call);
}

void answer_sync(struct member *m, enum kafka_error error)
{
    ensure((m->sync_call == NULL) == (m->sync_response == NULL));
    struct group_call *call = m->sync_call;
    struct sync_group_response *out = m->sync_response;
    if (call == NULL)
        return;
    m->sync_call = NULL;
    m->sync_response = NULL;
    out->error_code = error;
    if (error == ERR_NONE) {
        out->protocol_type = arena_str(call->arena, m->group->protocol_type);
        out->protocol_name = arena_str(call->arena, m->group->protocol);
        out->assignment =
            (struct bytes){arena_copy(call->arena, m->assignment.p, (size_t)m->assignment.len), m->assignment.len};
    }
    call->done(call);
}

void group_fail_syncs(struct group *g, enum kafka_error error)
{
    for (struct member *m = g->members; m != NULL; m = m->hh.next) {
        bool waits = m->sync_call != NULL;
        member_set_assignment(m, (struct bytes){NULL, 0});
        answer_sync(m, error);
        if (waits) /* its session may have all but ended meanwhile */
            member_keep_alive(m);
    }
}

/* ---- Sessions ---- */

void member_keep_alive(struct member *m)
{
    patience_start(&m->session, m->is_new ? FIRST_ANSWER_MS : m->session_timeout_ms);
}

void session_expired(struct patience *p)
{
    struct member *m = CONTAINER_OF(p, struct member, session);
    struct group *g = m->group;
    ensure(loop_is_mine(g->coordinator->options.loop));
    if (!group_is_served(g))
        return;
    if (!m->is_new && (m->join_call != NULL || m->sync_call != NULL)) {
        member_keep_alive(m); /* it waits for us */
        return;
    }
    log_info("Member %.*s in group %.*s has failed, removing it from the group", STR_ARGS(m->id), STR_ARGS(g->id));
    member_remove(m);
    group_lost_member(g, "a member's session has expired");
}

void pending_expired(struct patience *p)
{
    struct pending_member *m = CONTAINER_OF(p, struct pending_member, patience);
    struct group *g = m->group;
    if (!group_is_served(g))
        return;
    pending_remove(m);
    if (g->state == GROUP_PREPARING)
        group_maybe_complete_join(g);
    else
        group_note_void(g);
}

void group_lost_member(struct group *g, const char *why)
{
    ensure(loop_is_mine(g->coordinator->options.loop));
    if (g->state == GROUP_STABLE || g->state == GROUP_COMPLETING)
        group_prepare_rebalance(g, why);
    else if (g->state == GROUP_PREPARING)
        group_maybe_complete_join(g);
}

/* ---- The group's record ---- */

void group_store(struct group *g, struct state_append *append)
{
    ensure(loop_is_mine(g->coordinator->options.loop));
    struct batch_builder b;
    batch_builder_init(&b, 0);
    record_group(&b, g, group_now(g->coordinator));
    group_append(g, &b, append);
}

enum kafka_error group_store_error(enum kafka_error error)
{
    switch (error) {
    case ERR_REQUEST_TIMED_OUT:
        return ERR_REBALANCE_IN_PROGRESS;
    case ERR_MESSAGE_TOO_LARGE:
    case ERR_RECORD_LIST_TOO_LARGE:
        return ERR_UNKNOWN_SERVER_ERROR;
    default:
        return state_append_error(error);
    }
}

/* ---- Ending the joining ---- */

bool group_would_keep_protocol(struct group *g)
{
    struct str next = group_elect_protocol(g);
    return next.p != NULL && str_eq(next, g->protocol);
}

struct empty_store {
    struct state_append append;
    struct str id;
};

static void on_empty_stored(struct state_append *append, enum kafka_error error)
{
    struct empty_store *s = CONTAINER_OF(append, struct empty_store, append);
    if (error != ERR_NONE)
        log_warn("The empty generation of group %.*s could not be stored: %s", STR_ARGS(s->id), error_name(error));
    str_free(s->id);
    free(s);
}

static void store_empty(struct group *g)
{
    struct empty_store *s = xcalloc(1, sizeof(*s));
    *s = (struct empty_store){{.done = on_empty_stored}, str_dup(g->id)};
    group_store(g, &s->append);
}

static void remove_absent(struct group *g)
{
    struct member *m, *tmp;
    HASH_ITER (hh, g->members, m, tmp) {
        if (m->join_call != NULL || m->instance_id.p != NULL)
            continue;
        log_info("Member %.*s of group %.*s has not rejoined in time, removing it", STR_ARGS(m->id), STR_ARGS(g->id));
        member_remove(m);
    }
}

/* A leader that has rejoined stays; else the first that has becomes it. False: nobody has. */
static bool settle_leader(struct group *g)
{
    struct member *leader = member_find(g, g->leader_id);
    if (leader != NULL && leader->join_call != NULL)
        return true;
    for (struct member *m = g->members; m != NULL; m = m->hh.next) {
        if (m->join_call == NULL)
            continue;
        str_free(g->leader_id);
        g->leader_id = str_dup(m->id);
        return true;
    }
    return false;
}

static int32_t longest_rebalance_timeout(const struct group *g)
{
    int32_t ms = 0;
    for (const struct member *m = g->members; m != NULL; m = m->hh.next)
        ms = MAX(ms, m->rebalance_timeout_ms);
    return ms;
}

static void next_generation(struct group *g, struct str protocol)
{
    g->generation = g->generation == INT32_MAX ? 1 : g->generation + 1;
    protocol = str_dup(protocol);
    str_free(g->protocol);
    g->protocol = protocol;
    g->commits_seen = 0;
    group_note_subscription(g);
}

static void start_generation(struct group *g)
{
    struct member *m, *tmp;
    next_generation(g, group_elect_protocol(g));
    group_set_state(g, GROUP_COMPLETING);
    log_info("Stabilized group %.*s generation %" PRId32 " with %d members", STR_ARGS(g->id), g->generation,
             group_size(g));
    HASH_ITER (hh, g->members, m, tmp) {
        m->is_new = false;
        m->sync_expected = true;
        m->sync_inherited = false;
        answer_join(m, ERR_NONE);
        member_keep_alive(m);
    }
    patience_start(&g->rebalance, longest_rebalance_timeout(g));
}

static void become_empty(struct group *g)
{
    next_generation(g, STR_NULL);
    str_free(g->leader_id);
    g->leader_id = STR_NULL;
    patience_stop(&g->rebalance);
    group_set_state(g, GROUP_EMPTY);
    log_info("Group %.*s with generation %" PRId32 " is now empty", STR_ARGS(g->id), g->generation);
    store_empty(g);
}

static void complete_join(struct group *g)
{
    ensure(g->state == GROUP_PREPARING);
    g->initial_delay = false;
    remove_absent(g);
    if (group_size(g) == 0)
        become_empty(g);
    else if (settle_leader(g))
        start_generation(g);
    else
        patience_start(&g->rebalance, longest_rebalance_timeout(g)); /* only static members, all away: wait on */
}

void group_maybe_complete_join(struct group *g)
{
    ensure(loop_is_mine(g->coordinator->options.loop));
    if (g->state == GROUP_PREPARING && !g->initial_delay && g->pending == NULL && g->joined == group_size(g))
        complete_join(g);
}

/*
 * Also in a stable group: who does not ask for its assignment does not work. A static member's process that has come
 * since was not told when the time began, and stays, to rejoin; as with Apache's, where it has another id than the one
 * that is waited for.
 */
static void expire_syncs(struct group *g)
{
    struct member *m, *tmp;
    bool lost = false;
    HASH_ITER (hh, g->members, m, tmp) {
        if (!m->sync_expected)
            continue;
        lost = true;
        if (m->sync_inherited)
            continue;
        log_info("Member %.*s of group %.*s has not asked for its assignment in time, removing it", STR_ARGS(m->id),
                 STR_ARGS(g->id));
        member_remove(m);
    }
    if (lost)
        group_lost_member(g, "members have not synchronised in time");
}

void rebalance_timed_out(struct patience *p)
{
    struct group *g = CONTAINER_OF(p, struct group, rebalance);
    if (!group_is_served(g))
        return;
    if (g->state == GROUP_COMPLETING || g->state == GROUP_STABLE) {
        expire_syncs(g);
    } else if (g->state == GROUP_PREPARING && g->initial_delay && g->member_came && g->delay_left > 0) {
        int64_t delay = MIN(g->delay_left, (int64_t)g->coordinator->options.config->group_initial_rebalance_delay_ms);
        g->member_came = false;
        g->delay_left -= delay;
        patience_start(&g->rebalance, delay);
    } else if (g->state == GROUP_PREPARING) {
        complete_join(g);
    }
}

void group_prepare_rebalance(struct group *g, const char *why)
{
    ensure(loop_is_mine(g->coordinator->options.loop));
    if (g->state == GROUP_PREPARING) {
        group_maybe_complete_join(g);
        return;
    }
    if (g->state == GROUP_COMPLETING)
        group_fail_syncs(g, ERR_REBALANCE_IN_PROGRESS);
    bool first = g->state == GROUP_EMPTY;
    for (struct member *m = g->members; m != NULL; m = m->hh.next)
        m->sync_expected = false;
    int64_t delay = g->coordinator->options.config->group_initial_rebalance_delay_ms;
    log_info("Preparing to rebalance group %.*s in state %s with old generation %" PRId32 " (%s)", STR_ARGS(g->id),
             group_state_name(g->state), g->generation, why);
    group_set_state(g, GROUP_PREPARING);
    g->initial_delay = first; /* of no time, too: then it ends at once, whoever was promised an id meanwhile */
    g->member_came = false;
    if (g->initial_delay) {
        g->delay_left = MAX(longest_rebalance_timeout(g) - delay, (int64_t)0);
        patience_start(&g->rebalance, delay);
    } else {
        patience_start(&g->rebalance, longest_rebalance_timeout(g));
        group_maybe_complete_join(g);
    }
}
