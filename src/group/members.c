/* A group's members and its states. */
#include <stdio.h>
#include <utlist.h>

#include "base/logger.h"
#include "group/group_internal.h"
#include "protocol/msg/consumer_protocol_subscription.h"

static struct bytes bytes_dup(struct bytes b)
{
    uint8_t *copy = xmalloc((size_t)MAX(b.len, 1));
    if (b.len > 0)
        memcpy(copy, b.p, (size_t)b.len);
    return (struct bytes){copy, b.len};
}

static void bytes_free(struct bytes b)
{
    free((uint8_t *)(uintptr_t)b.p);
}

/* ---- States ---- */

const char *group_state_name(enum group_state state)
{
    static const char *const names[] = {"Empty", "PreparingRebalance", "CompletingRebalance", "Stable", "Dead"};
    ensure((size_t)state < ARRAY_LEN(names));
    return names[state];
}

void group_assume_state(struct group *g, enum group_state to)
{
    struct group_metrics *m = &g->coordinator->metrics;
    ensure(to <= GROUP_DEAD);
    group_metrics_change(m, GROUPS_BY_STATE + (enum group_figure)g->state, -1);
    group_metrics_change(m, GROUPS_BY_STATE + (enum group_figure)to, 1);
    g->state = to;
}

void group_set_state(struct group *g, enum group_state to)
{
    static const bool legal[5][5] = {
        [GROUP_EMPTY] = {[GROUP_PREPARING] = true, [GROUP_DEAD] = true},
        [GROUP_PREPARING] = {[GROUP_EMPTY] = true, [GROUP_COMPLETING] = true, [GROUP_DEAD] = true},
        [GROUP_COMPLETING] = {[GROUP_PREPARING] = true, [GROUP_STABLE] = true, [GROUP_DEAD] = true},
        [GROUP_STABLE] = {[GROUP_PREPARING] = true, [GROUP_DEAD] = true},
        [GROUP_DEAD] = {[GROUP_DEAD] = true},
    };
    ensure(legal[g->state][to]);
    if (to == GROUP_STABLE)
        window_record(&g->coordinator->metrics.happenings[GROUPS_REBALANCES], 1);
    ensure(loop_is_mine(g->coordinator->options.loop) && (to != GROUP_EMPTY || g->members == NULL));
    group_assume_state(g, to);
    g->state_since = group_now(g->coordinator);
}

int group_size(const struct group *g)
{
    return (int)HASH_COUNT(g->members);
}

/* ---- What it subscribes to ---- */

bool group_is_of_consumers(const struct group *g)
{
    return str_is(g->protocol_type, "consumer");
}

void subscription_clear(struct group *g)
{
    struct topic_name *t, *next;
    HASH_ITER (hh, g->topics, t, next) {
        HASH_DEL(g->topics, t);
        free(t);
    }
    g->topics_known = false;
}

static struct topic_name *members_find_topic(const struct group *g, struct str topic)
{
    struct topic_name *t = NULL;
    HASH_FIND(hh, g->topics, topic.p, (size_t)topic.len, t);
    return t;
}

static void add_topic(struct group *g, struct str topic)
{
    if (topic.len <= 0 || members_find_topic(g, topic) != NULL)
        return;
    struct topic_name *t = xcalloc(1, sizeof(*t) + (size_t)topic.len);
    memcpy(t->name, topic.p, (size_t)topic.len);
    HASH_ADD(hh, g->topics, name, (size_t)topic.len, t);
}

/* All versions of the metadata begin as version 0 does. False if it is none. */
static bool add_topics_of(struct group *g, const struct member *m)
{
    struct consumer_protocol_subscription s;
    struct arena a;
    struct reader r;
    int16_t version;
    arena_init(&a, 0);
    bool ok = state_record_open(member_metadata(m, g->protocol), &a, &r, &version) && version >= 0 &&
              consumer_protocol_subscription_read(&r, 0, &s);
    for (int32_t i = 0; ok && i < s.topics.len; i++)
        add_topic(g, s.topics.items[i]);
    arena_deinit(&a);
    return ok;
}

void group_note_subscription(struct group *g)
{
    subscription_clear(g);
    if (!group_is_of_consumers(g))
        return;
    g->topics_known = g->members == NULL || g->protocol.p != NULL;
    for (const struct member *m = g->members; m != NULL && g->topics_known; m = m->hh.next)
        g->topics_known = add_topics_of(g, m);
    if (!g->topics_known)
        log_warn(
            "Group %.*s: member metadata of protocol %.*s cannot be read, so the topics of the group are not known",
            STR_ARGS(g->id), STR_ARGS(g->protocol));
}

bool group_may_read(const struct group *g, struct str topic)
{
    return !g->topics_known || (topic.len > 0 && members_find_topic(g, topic) != NULL);
}

/* ---- Members ---- */

struct member *member_find(const struct group *g, struct str id)
{
    struct member *m = NULL;
    if (id.len > 0)
        HASH_FIND(hh, g->members, id.p, (size_t)id.len, m);
    return m;
}

struct member *member_find_static(const struct group *g, struct str instance_id)
{
    struct member *m = NULL;
    if (instance_id.p != NULL)
        HASH_FIND(hh_instance, g->fixed, instance_id.p, (size_t)instance_id.len, m);
    return m;
}

enum kafka_error member_check(const struct group *g, struct str id, struct str instance_id)
{
    const struct member *fixed = member_find_static(g, instance_id);
    if (instance_id.p != NULL && fixed == NULL)
        return ERR_UNKNOWN_MEMBER_ID;
    if (fixed != NULL && !str_eq(id, fixed->id))
        return ERR_FENCED_INSTANCE_ID;
    return member_find(g, id) != NULL ? ERR_NONE : ERR_UNKNOWN_MEMBER_ID;
}

struct member *member_add(struct group *g, struct str id, struct str instance_id, struct str client_id,
                          struct str client_host)
{
    ensure(loop_is_mine(g->coordinator->options.loop));
    struct member *m = xcalloc(1, sizeof(*m));
    m->group = g;
    group_metrics_change(&g->coordinator->metrics, GROUPS_MEMBERS, 1);
    m->id = str_dup(id);
    m->instance_id = str_dup(instance_id);
    m->client_id = str_dup(client_id.p ? client_id : STR_LIT(""));
    m->client_host = str_dup(client_host);
    m->is_new = true;
    patience_init(&m->session, g->coordinator->options.hearing, session_expired);
    HASH_ADD_KEYPTR(hh, g->members, m->id.p, (size_t)m->id.len, m);
    if (m->instance_id.p != NULL && member_find_static(g, m->instance_id) == NULL)
        HASH_ADD_KEYPTR(hh_instance, g->fixed, m->instance_id.p, (size_t)m->instance_id.len, m);
    return m;
}

void member_wait_to_join(struct member *m, struct group_call *call, struct join_group_response *response)
{
    ensure(m->join_call == NULL && m->join_response == NULL);
    m->join_call = call;
    m->join_response = response;
    m->group->joined++;
    ensure(m->group->joined <= group_size(m->group));
}

struct group_call *member_end_join_wait(struct member *m, struct join_group_response **response)
{
    struct group_call *call = m->join_call;
    ensure((call == NULL) == (m->join_response == NULL));
    *response = m->join_response;
    m->group->joined -= call != NULL;
    ensure(m->group->joined >= 0);
    m->join_call = NULL;
    m->join_response = NULL;
    return call;
}

/* ---- Protocols ---- */

static struct protocol_support *support_find(const struct group *g, struct str name)
{
    struct protocol_support *s;
    HASH_FIND(hh, g->supported, name.p, (size_t)name.len, s);
    return s;
}

static struct protocol_support *support_find_or_add(struct group *g, struct str name)
{
    struct protocol_support *s = support_find(g, name);
    if (s != NULL)
        return s;
    s = xcalloc(1, sizeof(*s) + (size_t)MAX(name.len, 1));
    s->len = name.len;
    if (name.len > 0)
        memcpy(s->name, name.p, (size_t)name.len);
    HASH_ADD(hh, g->supported, name, (size_t)name.len, s);
    return s;
}

/* Each pass over a member's protocols has a number of its own: a protocol that it names twice counts once. */
static void support_begin(struct member *m)
{
    struct group *g = m->group;
    g->support_pass++;
    for (int32_t i = 0; i < m->protocol_count; i++) {
        struct protocol_support *s = support_find_or_add(g, m->protocols[i].name);
        s->members += s->pass != g->support_pass;
        ensure(s->members > 0);
        s->pass = g->support_pass;
    }
}

static void support_end(struct member *m)
{
    struct group *g = m->group;
    g->support_pass++;
    for (int32_t i = 0; i < m->protocol_count; i++) {
        struct protocol_support *s = support_find(g, m->protocols[i].name);
        if (s == NULL || s->pass == g->support_pass)
            continue;
        s->pass = g->support_pass;
        ensure(s->members > 0 && g->supported != NULL);
        if (--s->members > 0)
            continue;
        HASH_DEL(g->supported, s);
        free(s);
    }
}

bool everybody_supports(const struct group *g, struct str protocol)
{
    const struct protocol_support *s = support_find(g, protocol);
    return group_size(g) == (s != NULL ? s->members : 0);
}

struct str group_elect_protocol(struct group *g)
{
    struct protocol_support *best = NULL;
    for (struct protocol_support *s = g->supported; s != NULL; s = s->hh.next)
        s->votes = 0;
    for (const struct member *m = g->members; m != NULL; m = m->hh.next) {
        int32_t i = 0;
        while (i < m->protocol_count && !everybody_supports(g, m->protocols[i].name))
            i++;
        struct protocol_support *s = i < m->protocol_count ? support_find(g, m->protocols[i].name) : NULL;
        if (s != NULL && ++s->votes > (best != NULL ? best->votes : 0))
            best = s;
    }
    return best != NULL ? (struct str){best->name, best->len} : STR_NULL;
}

void protocols_free(struct member_protocol *protocols, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        str_free(protocols[i].name);
        bytes_free(protocols[i].metadata);
    }
    free(protocols);
}

void member_swap_protocols(struct member *m, struct member_protocol **protocols, int32_t *count)
{
    struct member_protocol *mine = m->protocols;
    int32_t my_count = m->protocol_count;
    support_end(m);
    m->protocols = *protocols;
    m->protocol_count = *count;
    *protocols = mine;
    *count = my_count;
    support_begin(m);
}

bool member_leads(const struct member *m)
{
    return str_eq(m->group->leader_id, m->id);
}

static void lead(struct group *g, const struct member *m)
{
    str_free(g->leader_id);
    g->leader_id = m != NULL ? str_dup(m->id) : STR_NULL;
}

void member_rename(struct member *m, struct str id)
{
    struct group *g = m->group;
    bool leads = member_leads(m);
    HASH_DEL(g->members, m);
    str_free(m->id);
    m->id = str_dup(id);
    HASH_ADD_KEYPTR(hh, g->members, m->id.p, (size_t)m->id.len, m);
    if (leads)
        lead(g, m);
}

void member_remove(struct member *m)
{
    struct group *g = m->group;
    ensure(loop_is_mine(g->coordinator->options.loop));
    group_metrics_change(&g->coordinator->metrics, GROUPS_MEMBERS, -1);
    answer_join(m, ERR_UNKNOWN_MEMBER_ID);
    answer_sync(m, ERR_UNKNOWN_MEMBER_ID);
    patience_stop(&m->session);
    bool led = member_leads(m);
    support_end(m);
    HASH_DEL(g->members, m);
    if (member_find_static(g, m->instance_id) == m)
        HASH_DELETE(hh_instance, g->fixed, m);
    if (led)
        lead(g, g->members);
    protocols_free(m->protocols, m->protocol_count);
    bytes_free(m->assignment);
    str_free(m->id);
    str_free(m->instance_id);
    str_free(m->client_id);
    str_free(m->client_host);
    free(m);
}

void member_set_protocols(struct member *m, const struct join_group_request *request)
{
    support_end(m);
    protocols_free(m->protocols, m->protocol_count);
    m->protocols = xcalloc((size_t)MAX(request->protocols.len, 1), sizeof(*m->protocols));
    m->protocol_count = 0;
    for (int32_t i = 0; i < request->protocols.len; i++) {
        const struct join_group_request_protocol *p = &request->protocols.items[i];
        m->protocols[m->protocol_count++] = (struct member_protocol){str_dup(p->name), bytes_dup(p->metadata)};
    }
    support_begin(m);
}

bool member_has_protocols(const struct member *m, const struct join_group_request *request)
{
    if (m->protocol_count != request->protocols.len)
        return false;
    for (int32_t i = 0; i < m->protocol_count; i++) {
        const struct join_group_request_protocol *p = &request->protocols.items[i];
        if (!str_eq(p->name, m->protocols[i].name) || p->metadata.len != m->protocols[i].metadata.len ||
            (p->metadata.len > 0 && memcmp(p->metadata.p, m->protocols[i].metadata.p, (size_t)p->metadata.len) != 0))
            return false;
    }
    return true;
}

struct bytes member_metadata(const struct member *m, struct str protocol)
{
    for (int32_t i = 0; protocol.p != NULL && i < m->protocol_count; i++)
        if (str_eq(m->protocols[i].name, protocol))
            return m->protocols[i].metadata;
    return (struct bytes){(const uint8_t *)"", 0};
}

void member_set_assignment(struct member *m, struct bytes assignment)
{
    bytes_free(m->assignment);
    m->assignment = bytes_dup(assignment);
}

struct pending_member *pending_find(const struct group *g, struct str id)
{
    struct pending_member *p = NULL;
    if (id.len > 0)
        HASH_FIND(hh, g->pending, id.p, (size_t)id.len, p);
    return p;
}

static int64_t pending_bytes(const struct pending_member *p)
{
    return (int64_t)p->id.len + p->group->id.len;
}

static bool too_many_are_promised(const struct group_coordinator *gc)
{
    return gc->promised_count > MOST_PROMISED || gc->promised_bytes > MOST_PROMISED_BYTES;
}

/* Ids that nobody comes back with are not kept without end: who has the oldest of too many asks for another one. */
void pending_add(struct group *g, struct str id, int32_t timeout_ms)
{
    struct group_coordinator *gc = g->coordinator;
    ensure(loop_is_mine(gc->options.loop) && pending_find(g, id) == NULL);
    struct pending_member *p = xcalloc(1, sizeof(*p));
    p->group = g;
    p->id = str_dup(id);
    patience_init(&p->patience, gc->options.hearing, pending_expired);
    patience_start(&p->patience, timeout_ms);
    HASH_ADD_KEYPTR(hh, g->pending, p->id.p, (size_t)p->id.len, p);
    DL_APPEND(gc->promised, p);
    gc->promised_count++;
    gc->promised_bytes += pending_bytes(p);
    while (gc->promised != p && too_many_are_promised(gc) && group_is_served(gc->promised->group))
        pending_expired(&gc->promised->patience);
}

void pending_remove(struct pending_member *p)
{
    struct group_coordinator *gc = p->group->coordinator;
    ensure(gc->promised_count > 0 && gc->promised != NULL);
    patience_stop(&p->patience);
    HASH_DEL(p->group->pending, p);
    DL_DELETE(gc->promised, p);
    gc->promised_count--;
    gc->promised_bytes -= pending_bytes(p);
    ensure(gc->promised_bytes >= 0);
    str_free(p->id);
    free(p);
}
