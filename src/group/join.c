/*
 * Rebalances: members join, the last one to come or the time-out ends the joining, each is told the new
 * generation, the leader sends the assignment, each gets its own (KIP-62, 134, 345, 394).
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/logger.h"
#include "base/uuid.h"
#include "group/group_internal.h"
#include "protocol/msg/heartbeat.h"
#include "protocol/msg/leave_group.h"

enum { FIRST_ANSWER_MS = 300000, MEMBER_ID_REQUIRED_SINCE = 4, SKIP_ASSIGNMENT_SINCE = 9 };

/* ---- Answers ---- */

static void fill_members(struct member *leader, struct arena *a, struct join_group_response *out)
{
    struct group *g = leader->group;
    ARRAY_MAKE(a, out->members, group_size(g));
    int32_t i = 0;
    for (struct member *m = g->members; m != NULL; m = m->hh.next) {
        struct join_group_response_member *o = &out->members.items[i++];
        struct bytes metadata = member_metadata(m, g->protocol);
        join_group_response_member_init(o);
        o->member_id = arena_str(a, str_of(m->id));
        o->group_instance_id = arena_str(a, str_of(m->instance_id));
        o->metadata = (struct bytes){arena_copy(a, metadata.p, (size_t)metadata.len), metadata.len};
    }
}

static void fill_generation(struct member *m, struct arena *a, struct join_group_response *out)
{
    struct group *g = m->group;
    out->generation_id = g->generation;
    out->protocol_type = arena_str(a, str_of(g->protocol_type));
    out->protocol_name = arena_str(a, str_of(g->protocol));
    out->leader = g->leader_id ? arena_str(a, str_of(g->leader_id)) : STR_LIT("");
    if (g->leader_id != NULL && strcmp(g->leader_id, m->id) == 0)
        fill_members(m, a, out);
}

static void refuse_join(struct group_call *call, struct join_group_response *out, enum kafka_error error,
                        struct str member_id)
{
    out->error_code = error;
    out->member_id = member_id.p ? arena_str(call->arena, member_id) : STR_LIT("");
    out->protocol_name = call->client.version >= 7 ? STR_NULL : STR_LIT("");
    call->done(call);
}

void answer_join(struct member *m, enum kafka_error error)
{
    struct group_call *call = m->join_call;
    struct join_group_response *out = m->join_response;
    if (call == NULL)
        return;
    m->join_call = NULL;
    m->join_response = NULL;
    if (error != ERR_NONE) {
        refuse_join(call, out, error, str_of(m->id));
        return;
    }
    out->member_id = arena_str(call->arena, str_of(m->id));
    fill_generation(m, call->arena, out);
    call->done(call);
}

void answer_sync(struct member *m, enum kafka_error error)
{
    struct group_call *call = m->sync_call;
    struct sync_group_response *out = m->sync_response;
    if (call == NULL)
        return;
    m->sync_call = NULL;
    m->sync_response = NULL;
    out->error_code = error;
    if (error == ERR_NONE) {
        out->protocol_type = arena_str(call->arena, str_of(m->group->protocol_type));
        out->protocol_name = arena_str(call->arena, str_of(m->group->protocol));
        out->assignment =
            (struct bytes){arena_copy(call->arena, m->assignment.p, (size_t)m->assignment.len), m->assignment.len};
    }
    call->done(call);
}

void group_fail_syncs(struct group *g, enum kafka_error error)
{
    for (struct member *m = g->members; m != NULL; m = m->hh.next) {
        member_set_assignment(m, (struct bytes){NULL, 0});
        answer_sync(m, error);
    }
}

/* ---- Sessions ---- */

void member_keep_alive(struct member *m)
{
    timer_start(&m->session, m->is_new ? FIRST_ANSWER_MS : m->session_timeout_ms);
}

void session_expired(struct timer *t)
{
    struct member *m = CONTAINER_OF(t, struct member, session);
    struct group *g = m->group;
    if (!m->is_new && (m->join_call != NULL || m->sync_call != NULL)) {
        member_keep_alive(m); /* it waits for us */
        return;
    }
    log_info("Member %s in group %s has failed, removing it from the group", m->id, g->id);
    member_remove(m);
    group_lost_member(g, "a member's session has expired");
}

void pending_expired(struct timer *t)
{
    struct pending_member *p = CONTAINER_OF(t, struct pending_member, timer);
    struct group *g = p->group;
    pending_remove(p);
    if (g->state == GROUP_PREPARING)
        group_maybe_complete_join(g);
}

void group_lost_member(struct group *g, const char *why)
{
    if (g->state == GROUP_STABLE || g->state == GROUP_COMPLETING)
        group_prepare_rebalance(g, why);
    else if (g->state == GROUP_PREPARING)
        group_maybe_complete_join(g);
}

/* ---- Ending the joining ---- */

static bool everybody_supports(const struct group *g, const char *protocol)
{
    for (const struct member *m = g->members; m != NULL; m = m->hh.next) {
        bool has = false;
        for (int32_t i = 0; i < m->protocol_count; i++)
            has |= strcmp(m->protocols[i].name, protocol) == 0;
        if (!has)
            return false;
    }
    return true;
}

/* The member's vote: the first of its protocols that everybody supports. */
static const char *vote(const struct group *g, const struct member *m)
{
    for (int32_t i = 0; i < m->protocol_count; i++)
        if (everybody_supports(g, m->protocols[i].name))
            return m->protocols[i].name;
    return NULL;
}

static const char *elect_protocol(const struct group *g)
{
    const char *best = NULL;
    int most = 0;
    for (const struct member *m = g->members; m != NULL; m = m->hh.next) {
        const char *candidate = vote(g, m);
        int votes = 0;
        for (const struct member *n = g->members; candidate != NULL && n != NULL; n = n->hh.next)
            votes += strcmp(vote(g, n), candidate) == 0;
        if (votes > most) {
            most = votes;
            best = candidate;
        }
    }
    return best;
}

struct empty_store {
    struct state_append append;
    char *id;
};

static void on_empty_stored(struct state_append *append, enum kafka_error error)
{
    struct empty_store *s = CONTAINER_OF(append, struct empty_store, append);
    if (error != ERR_NONE)
        log_warn("The empty generation of group %s could not be stored: %s", s->id, error_name(error));
    free(s->id);
    free(s);
}

static void store_empty(struct group *g)
{
    struct empty_store *s = xcalloc(1, sizeof(*s));
    struct batch_builder b;
    s->append.done = on_empty_stored;
    s->id = xstrdup(g->id);
    batch_builder_init(&b, 0);
    record_group(&b, g, group_now(g->coordinator));
    group_append(g, &b, &s->append);
}

static void remove_absent(struct group *g)
{
    struct member *m, *tmp;
    HASH_ITER (hh, g->members, m, tmp) {
        if (m->join_call != NULL || m->instance_id != NULL)
            continue;
        log_info("Member %s of group %s has not rejoined in time, removing it", m->id, g->id);
        member_remove(m);
    }
}

/* A leader that has rejoined stays; else the first that has becomes it. False: nobody has. */
static bool settle_leader(struct group *g)
{
    struct member *leader = g->leader_id ? member_find(g, str_of(g->leader_id)) : NULL;
    if (leader != NULL && leader->join_call != NULL)
        return true;
    for (struct member *m = g->members; m != NULL; m = m->hh.next) {
        if (m->join_call == NULL)
            continue;
        free(g->leader_id);
        g->leader_id = xstrdup(m->id);
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

static void next_generation(struct group *g, const char *protocol)
{
    g->generation = g->generation == INT32_MAX ? 1 : g->generation + 1;
    free(g->protocol);
    g->protocol = protocol ? xstrdup(protocol) : NULL;
    g->commits_seen = 0;
    group_note_subscription(g);
}

static void start_generation(struct group *g)
{
    struct member *m, *tmp;
    next_generation(g, elect_protocol(g));
    group_set_state(g, GROUP_COMPLETING);
    log_info("Stabilized group %s generation %" PRId32 " with %d members", g->id, g->generation, group_size(g));
    HASH_ITER (hh, g->members, m, tmp) {
        m->is_new = false;
        m->sync_expected = true;
        answer_join(m, ERR_NONE);
        member_keep_alive(m);
    }
    timer_start(&g->rebalance, longest_rebalance_timeout(g));
}

static void become_empty(struct group *g)
{
    next_generation(g, NULL);
    free(g->leader_id);
    g->leader_id = NULL;
    timer_stop(&g->rebalance);
    group_set_state(g, GROUP_EMPTY);
    log_info("Group %s with generation %" PRId32 " is now empty", g->id, g->generation);
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
        timer_start(&g->rebalance, longest_rebalance_timeout(g)); /* only static members, all away: wait on */
}

void group_maybe_complete_join(struct group *g)
{
    if (g->state == GROUP_PREPARING && !g->initial_delay && g->pending == NULL &&
        group_joined_count(g) == group_size(g))
        complete_join(g);
}

static void expire_syncs(struct group *g)
{
    struct member *m, *tmp;
    bool lost = false;
    HASH_ITER (hh, g->members, m, tmp) {
        if (!m->sync_expected)
            continue;
        log_info("Member %s of group %s has not asked for its assignment in time, removing it", m->id, g->id);
        member_remove(m);
        lost = true;
    }
    if (lost)
        group_lost_member(g, "members have not synchronised in time");
}

void rebalance_timed_out(struct timer *t)
{
    struct group *g = CONTAINER_OF(t, struct group, rebalance);
    if (g->state == GROUP_COMPLETING) {
        expire_syncs(g);
    } else if (g->state == GROUP_PREPARING && g->initial_delay && g->member_came && g->delay_left > 0) {
        int64_t delay = MIN(g->delay_left, (int64_t)g->coordinator->options.config->group_initial_rebalance_delay_ms);
        g->member_came = false;
        g->delay_left -= delay;
        timer_start(&g->rebalance, delay);
    } else if (g->state == GROUP_PREPARING) {
        complete_join(g);
    }
}

void group_prepare_rebalance(struct group *g, const char *why)
{
    if (g->state == GROUP_PREPARING) {
        group_maybe_complete_join(g);
        return;
    }
    if (g->state == GROUP_COMPLETING)
        group_fail_syncs(g, ERR_REBALANCE_IN_PROGRESS);
    bool first = g->state == GROUP_EMPTY;
    int64_t delay = g->coordinator->options.config->group_initial_rebalance_delay_ms;
    log_info("Preparing to rebalance group %s in state %s with old generation %" PRId32 " (%s)", g->id,
             group_state_name(g->state), g->generation, why);
    group_set_state(g, GROUP_PREPARING);
    g->initial_delay = first && delay > 0;
    g->member_came = false;
    if (g->initial_delay) {
        g->delay_left = MAX(longest_rebalance_timeout(g) - delay, (int64_t)0);
        timer_start(&g->rebalance, delay);
    } else {
        timer_start(&g->rebalance, longest_rebalance_timeout(g));
        group_maybe_complete_join(g);
    }
}

/* ---- JoinGroup ---- */

struct joining {
    struct group *g;
    const struct join_group_request *request;
    struct join_group_response *out;
    struct group_call *call;
};

static void refuse(struct joining *j, enum kafka_error error)
{
    refuse_join(j->call, j->out, error, j->request->member_id);
}

static void wait_for_rebalance(struct joining *j, struct member *m, const char *why)
{
    answer_join(m, ERR_REBALANCE_IN_PROGRESS); /* an earlier request of the same member is given up */
    m->rebalance_timeout_ms =
        j->call->client.version >= 1 ? j->request->rebalance_timeout_ms : j->request->session_timeout_ms;
    m->session_timeout_ms = j->request->session_timeout_ms;
    member_set_protocols(m, j->request);
    m->join_call = j->call;
    m->join_response = j->out;
    member_keep_alive(m);
    group_prepare_rebalance(j->g, why);
}

static void add_and_rebalance(struct joining *j, struct str id)
{
    struct group *g = j->g;
    struct member *m =
        member_add(g, id, j->request->group_instance_id, j->call->client.client_id, j->call->client.client_host);
    if (g->protocol_type == NULL)
        g->protocol_type = str_dup(j->request->protocol_type);
    if (g->leader_id == NULL)
        g->leader_id = xstrdup(m->id);
    g->member_came = true;
    wait_for_rebalance(j, m, "adding a new member");
}

static struct str new_member_id(struct joining *j)
{
    char id[UUID_TEXT_LEN + 1], hex[37];
    struct uuid u = uuid_random();
    const uint8_t *b = u.b;
    uuid_format(u, id);
    snprintf(hex, sizeof(hex), "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2],
             b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
    struct str prefix = j->request->group_instance_id.p ? j->request->group_instance_id : j->call->client.client_id;
    return arena_printf(j->call->arena, "%.*s-%s", STR_ARGS(prefix), hex);
}

static void require_id(struct joining *j, struct str id)
{
    struct pending_member *p = xcalloc(1, sizeof(*p));
    p->group = j->g;
    p->id = str_dup(id);
    timer_init(&p->timer, j->g->coordinator->options.loop, pending_expired);
    timer_start(&p->timer, j->request->session_timeout_ms);
    HASH_ADD_KEYPTR(hh, j->g->pending, p->id, strlen(p->id), p);
    refuse_join(j->call, j->out, ERR_MEMBER_ID_REQUIRED, id);
}

/* Same instance, new process: it takes the place of the old one, which is fenced. */
static void replace_static(struct joining *j, struct member *old, struct str id)
{
    struct group *g = j->g;
    bool was_leader = g->leader_id != NULL && strcmp(g->leader_id, old->id) == 0;
    bool same = g->state == GROUP_STABLE && member_has_protocols(old, j->request);
    struct bytes assignment = old->assignment;
    old->assignment = (struct bytes){NULL, 0};
    struct member *m =
        member_add(g, id, j->request->group_instance_id, j->call->client.client_id, j->call->client.client_host);
    if (old->join_call != NULL)
        answer_join(old, ERR_FENCED_INSTANCE_ID);
    answer_sync(old, ERR_FENCED_INSTANCE_ID);
    member_remove(old);
    m->assignment = assignment;
    if (was_leader) {
        free(g->leader_id);
        g->leader_id = xstrdup(m->id);
    }
    if (!same) {
        m->is_new = false;
        wait_for_rebalance(j, m, "a static member with new metadata");
        return;
    }
    m->rebalance_timeout_ms =
        j->call->client.version >= 1 ? j->request->rebalance_timeout_ms : j->request->session_timeout_ms;
    m->session_timeout_ms = j->request->session_timeout_ms;
    member_set_protocols(m, j->request);
    m->is_new = false;
    member_keep_alive(m);
    store_empty(g); /* the group's record names the new member */
    j->out->member_id = arena_str(j->call->arena, id);
    j->out->skip_assignment = was_leader && j->call->client.version >= SKIP_ASSIGNMENT_SINCE;
    fill_generation(m, j->call->arena, j->out);
    if (was_leader && j->call->client.version < SKIP_ASSIGNMENT_SINCE) {
        j->out->members.len = 0; /* a follower's answer, so that it does not assign anew */
        j->out->leader = STR_LIT("");
    }
    j->call->done(j->call);
}

static void join_as_new(struct joining *j)
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

static void answer_current(struct joining *j, struct member *m)
{
    j->out->member_id = arena_str(j->call->arena, str_of(m->id));
    fill_generation(m, j->call->arena, j->out);
    member_keep_alive(m);
    j->call->done(j->call);
}

static void rejoin(struct joining *j, struct member *m)
{
    struct group *g = j->g;
    bool leader = g->leader_id != NULL && strcmp(g->leader_id, m->id) == 0;
    bool same = member_has_protocols(m, j->request);
    if (g->state == GROUP_EMPTY || g->state == GROUP_DEAD)
        refuse(j, ERR_UNKNOWN_MEMBER_ID);
    else if ((g->state == GROUP_COMPLETING && same) || (g->state == GROUP_STABLE && same && !leader))
        answer_current(j, m);
    else
        wait_for_rebalance(j, m, leader ? "the leader has rejoined" : "a member has rejoined");
}

static void join_as_known(struct joining *j)
{
    struct str id = j->request->member_id;
    struct pending_member *p;
    HASH_FIND(hh, j->g->pending, id.p, (size_t)id.len, p);
    if (p != NULL) {
        struct str own = arena_str(j->call->arena, id);
        pending_remove(p);
        add_and_rebalance(j, own);
        return;
    }
    enum kafka_error error = member_check(j->g, id, j->request->group_instance_id);
    if (error != ERR_NONE)
        refuse(j, error);
    else
        rejoin(j, member_find(j->g, id));
}

static bool supports(const struct group *g, const struct join_group_request *request)
{
    if (request->protocol_type.len == 0 || request->protocols.len <= 0)
        return false;
    if (group_size(g) == 0)
        return true;
    if (g->protocol_type == NULL || !str_is(request->protocol_type, g->protocol_type))
        return false;
    for (int32_t i = 0; i < request->protocols.len; i++) {
        char *name = str_dup(request->protocols.items[i].name);
        bool all = everybody_supports(g, name);
        free(name);
        if (all)
            return true;
    }
    return false;
}

static bool has_room(const struct group *g, const struct join_group_request *request)
{
    int limit = g->coordinator->options.config->group_max_size;
    const struct member *m = member_find(g, request->member_id);
    if (g->state == GROUP_EMPTY || member_find_static(g, request->group_instance_id) != NULL)
        return true;
    if (g->state == GROUP_PREPARING)
        return (m != NULL && m->join_call != NULL) || group_joined_count(g) < limit;
    return m != NULL || group_size(g) < limit;
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
        refuse(&j, error);
        return;
    }
    bool unknown = request->member_id.len == 0;
    j.g = group_find(gc, request->group_id);
    if (j.g == NULL && !unknown) {
        refuse(&j, ERR_UNKNOWN_MEMBER_ID);
        return;
    }
    if (j.g == NULL)
        j.g = group_make(gc, request->group_id);
    if (!has_room(j.g, request))
        refuse(&j, ERR_GROUP_MAX_SIZE_REACHED);
    else if (!supports(j.g, request))
        refuse(&j, ERR_INCONSISTENT_GROUP_PROTOCOL);
    else if (unknown)
        join_as_new(&j);
    else
        join_as_known(&j);
}

/* ---- SyncGroup ---- */

struct assignment_store {
    struct state_append append;
    struct group_coordinator *coordinator;
    char *id;
    int32_t generation;
};

static enum kafka_error store_error(enum kafka_error error)
{
    enum kafka_error known = state_append_error(error);
    if (error == ERR_NONE)
        return ERR_NONE;
    if (error == ERR_REQUEST_TIMED_OUT)
        return ERR_REBALANCE_IN_PROGRESS;
    return known != error ? known : ERR_UNKNOWN_SERVER_ERROR;
}

static void become_stable(struct group *g)
{
    group_set_state(g, GROUP_STABLE);
    timer_stop(&g->rebalance);
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
    struct group *g = group_find(s->coordinator, str_of(s->id));
    error = store_error(error);
    /* The world may have moved on while the record was written. */
    if (g != NULL && g->state == GROUP_COMPLETING && g->generation == s->generation) {
        if (error == ERR_NONE) {
            become_stable(g);
        } else {
            group_fail_syncs(g, error);
            group_prepare_rebalance(g, "the assignment could not be stored");
        }
    }
    free(s->id);
    free(s);
}

static void take_assignment(struct group *g, const struct sync_group_request *request)
{
    for (struct member *m = g->members; m != NULL; m = m->hh.next)
        member_set_assignment(m, (struct bytes){NULL, 0});
    for (int32_t i = 0; i < request->assignments.len; i++) {
        struct member *m = member_find(g, request->assignments.items[i].member_id);
        if (m != NULL)
            member_set_assignment(m, request->assignments.items[i].assignment);
    }
    struct assignment_store *s = xcalloc(1, sizeof(*s));
    struct batch_builder b;
    *s = (struct assignment_store){{.done = on_assignment_stored}, g->coordinator, xstrdup(g->id), g->generation};
    batch_builder_init(&b, 0);
    record_group(&b, g, group_now(g->coordinator));
    group_append(g, &b, &s->append);
}

static enum kafka_error check_sync(const struct group *g, const struct sync_group_request *request)
{
    enum kafka_error error = member_check(g, request->member_id, request->group_instance_id);
    if (error != ERR_NONE)
        return error;
    if (request->generation_id != g->generation)
        return ERR_ILLEGAL_GENERATION;
    if (request->protocol_type.p != NULL &&
        (g->protocol_type == NULL || !str_is(request->protocol_type, g->protocol_type)))
        return ERR_INCONSISTENT_GROUP_PROTOCOL;
    if (request->protocol_name.p != NULL && (g->protocol == NULL || !str_is(request->protocol_name, g->protocol)))
        return ERR_INCONSISTENT_GROUP_PROTOCOL;
    if (g->state == GROUP_EMPTY)
        return ERR_UNKNOWN_MEMBER_ID;
    return g->state == GROUP_PREPARING ? ERR_REBALANCE_IN_PROGRESS : ERR_NONE;
}

void group_sync(struct group_coordinator *gc, const struct sync_group_request *request,
                struct sync_group_response *response, struct group_call *call)
{
    enum kafka_error error = group_check(gc, request->group_id, false);
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
    } else if (strcmp(g->leader_id, m->id) == 0) {
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

static enum kafka_error leave(struct group *g, struct str id, struct str instance_id)
{
    struct pending_member *p = NULL;
    if (id.len > 0)
        HASH_FIND(hh, g->pending, id.p, (size_t)id.len, p);
    if (p != NULL) {
        pending_remove(p);
        group_maybe_complete_join(g);
        return ERR_NONE;
    }
    struct member *m = member_find_static(g, instance_id);
    if (m == NULL || id.len > 0) { /* an administrator names the instance only (KIP-345) */
        enum kafka_error error = member_check(g, id, instance_id);
        if (error != ERR_NONE)
            return error;
        m = member_find(g, id);
    }
    log_info("Member %s has left group %s", m->id, g->id);
    member_remove(m);
    return ERR_NONE;
}

void group_leave(struct group_coordinator *gc, const struct leave_group_request *request,
                 struct leave_group_response *response, struct group_call *call)
{
    enum kafka_error error = group_check(gc, request->group_id, false);
    struct group *g = error == ERR_NONE ? group_find(gc, request->group_id) : NULL;
    if (error == ERR_NONE && call->client.version < 3) {
        error = g == NULL ? ERR_UNKNOWN_MEMBER_ID : leave(g, request->member_id, STR_NULL);
    } else if (error == ERR_NONE) {
        ARRAY_MAKE(call->arena, response->members, MAX(request->members.len, 0));
        for (int32_t i = 0; i < request->members.len; i++) {
            const struct leave_group_member_identity *in = &request->members.items[i];
            struct leave_group_member_response *o = &response->members.items[i];
            leave_group_member_response_init(o);
            o->member_id = in->member_id;
            o->group_instance_id = in->group_instance_id;
            o->error_code = g == NULL ? ERR_UNKNOWN_MEMBER_ID : leave(g, in->member_id, in->group_instance_id);
        }
    }
    response->error_code = error;
    call->done(call);
    if (g != NULL)
        group_lost_member(g, "members have left");
}
