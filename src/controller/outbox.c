/*
 * What brokers are to be told after an event, gathered so that each gets one request of a kind, in Kafka's
 * order: LeaderAndIsr, UpdateMetadata, StopReplica. What is too much for one comes in several, of PIECE partitions
 * each; those of a topic are in one UpdateMetadata, as whoever hears of a topic takes what it hears for all of it.
 * UpdateMetadata that is for all brokers is made once, and differs for each by its epoch only.
 */
#include <utlist.h>

#include "base/clock.h"
#include "cluster/view.h"
#include "controller/controller_internal.h"
#include "protocol/frame.h"
#include "protocol/msg/api.h"
#include "protocol/msg/leader_and_isr.h"
#include "protocol/msg/stop_replica.h"
#include "protocol/msg/update_metadata.h"

enum note_kind { NOTE_LEADER_AND_ISR, NOTE_STOP, NOTE_METADATA };

enum { EVERY_BROKER = -1 };

/* One partition for one broker. Flags stick within a batch. */
struct note {
    struct note_key {
        struct ctl_partition *partition;
        int32_t broker; /* metadata: perhaps EVERY_BROKER */
        int32_t kind;
    } key;
    bool is_new, delete_it;
    UT_hash_handle hh;
};

/* A partition that everybody is to forget. Copied, as it may be gone when this is sent. */
struct farewell {
    struct str topic;
    struct uuid topic_id;
    int32_t index;
    struct int_list replicas;
    struct farewell *next;
};

struct outbox {
    struct arena arena; /* of the notes */
    struct note *notes;
    struct note **sorted; /* while it is sent: those that still count, by broker, kind and topic */
    size_t sorted_count;
    struct farewell *farewells;
    bool brokers_changed;
    int64_t waits_since_us; /* 0: it does not */
};

struct outbox *outbox_new(void)
{
    return xcalloc(1, sizeof(struct outbox));
}

void outbox_clear(struct outbox *o)
{
    HASH_CLEAR(hh, o->notes);
    arena_deinit(&o->arena);
    *o = (struct outbox){0};
}

void outbox_free(struct outbox *o)
{
    outbox_clear(o);
    free(o);
}

/* ---- Versions: nothing is negotiated with a peer, inter.broker.protocol.version decides ---- */

struct version_step {
    enum ibp since;
    int16_t version;
};

static int16_t version_at(const struct controller *c, const struct version_step *steps)
{
    while (c->options.config->inter_broker_protocol_version < steps->since)
        steps++;
    return steps->version;
}

/* From IBP 2.8 on, which is the oldest that the configuration admits. */
static const struct version_step leader_and_isr_versions[] = {
    {IBP_3_4_IV0, 7}, {IBP_3_2_IV0, 6}, {IBP_2_8_IV1, 5}, {0, 4}};
static const struct version_step update_metadata_versions[] = {{IBP_3_4_IV0, 8}, {IBP_2_8_IV1, 7}, {0, 6}};
static const struct version_step stop_replica_versions[] = {{IBP_3_4_IV0, 4}, {0, 3}};

/* ---- Gathering ---- */

static struct note *note_for(struct outbox *o, enum note_kind kind, int32_t broker, struct ctl_partition *p)
{
    struct note_key key;
    struct note *n;
    memset(&key, 0, sizeof(key)); /* its padding, too, is hashed */
    key.partition = p;
    key.broker = broker;
    key.kind = (int32_t)kind;
    HASH_FIND(hh, o->notes, &key, sizeof(key), n);
    if (n != NULL)
        return n;
    n = ARENA_NEW(&o->arena, struct note);
    n->key = key;
    HASH_ADD(hh, o->notes, key, sizeof(n->key), n);
    return n;
}

void outbox_order(struct controller *c, struct int_list brokers, struct ctl_partition *p, bool is_new)
{
    ensure(p->known);
    for (int32_t i = 0; i < brokers.n; i++)
        if (broker_is_live_or_stopping(c, brokers.v[i]))
            note_for(c->outbox, NOTE_LEADER_AND_ISR, brokers.v[i], p)->is_new |= is_new;
}

void outbox_leader_and_isr(struct controller *c, struct int_list brokers, struct ctl_partition *p, bool is_new)
{
    outbox_order(c, brokers, p, is_new);
    outbox_metadata(c, p);
}

void outbox_metadata(struct controller *c, struct ctl_partition *p)
{
    note_for(c->outbox, NOTE_METADATA, EVERY_BROKER, p);
}

void outbox_metadata_deleted(struct controller *c, struct ctl_partition *p)
{
    struct outbox *o = c->outbox;
    struct farewell *f = ARENA_NEW(&o->arena, struct farewell);
    *f = (struct farewell){arena_str(&o->arena, str_of(p->topic->name)), p->topic->id, p->index,
                           int_list_copy(&o->arena, p->replicas), o->farewells};
    o->farewells = f;
    p->state = PARTITION_NONE;
}

void outbox_brokers_only(struct controller *c)
{
    c->outbox->brokers_changed = true;
}

void outbox_metadata_to(struct controller *c, struct ctl_broker *b, struct ctl_partition *p)
{
    note_for(c->outbox, NOTE_METADATA, b->id, p);
}

void outbox_greet(struct controller *c, struct ctl_partition *p)
{
    for (struct ctl_broker *b = c->brokers; b != NULL; b = b->next)
        if (b->greeting == GREETING_BEGINS)
            outbox_metadata_to(c, b, p);
}

void outbox_end_greetings(struct controller *c)
{
    for (struct ctl_broker *b = c->brokers; b != NULL; b = b->next)
        if (b->greeting == GREETING_BEGINS)
            b->greeting = GREETING_ENDS;
}

void outbox_stop_replica(struct controller *c, int32_t broker, struct ctl_partition *p, bool delete_it)
{
    if (broker_is_live_or_stopping(c, broker))
        note_for(c->outbox, NOTE_STOP, broker, p)->delete_it |= delete_it;
}

/* ---- Building ---- */

struct building {
    struct controller *c;
    struct arena arena; /* of the request under way */
};

static struct memo *make_memo(struct building *b, int16_t key, const struct version_step *versions, const void *request)
{
    struct strbuf frame;
    int16_t version = version_at(b->c, versions);
    request_frame(&frame, key, version, arena_printf(&b->arena, "%d", b->c->options.broker_id), request);
    arena_deinit(&b->arena);
    return memo_new(key, version, &frame);
}

/* One that is for this broker alone. */
static void send_to(struct building *b, const struct ctl_broker *to, int16_t key, const struct version_step *versions,
                    const void *request)
{
    struct memo *m = make_memo(b, key, versions, request);
    channel_send(to->channel, m, to->registration.epoch);
    memo_unref(m);
}

#define SHARE_LIST(array, list)   \
    do {                          \
        (array).items = (list).v; \
        (array).len = (list).n;   \
    } while (0)

static void fill_order(struct leader_and_isr_partition_state *o, const struct ctl_partition *p, bool is_new)
{
    leader_and_isr_partition_state_init(o);
    ensure(p->known);
    o->topic_name = str_of(p->topic->name);
    o->partition_index = p->index;
    o->controller_epoch = p->leadership.controller_epoch;
    o->leader = p->leadership.leader;
    o->leader_epoch = p->leadership.leader_epoch;
    SHARE_LIST(o->isr, p->leadership.isr);
    o->partition_epoch = p->leadership.version;
    SHARE_LIST(o->replicas, p->replicas);
    SHARE_LIST(o->adding_replicas, p->adding);
    SHARE_LIST(o->removing_replicas, p->removing);
    o->is_new = is_new;
    o->leader_recovery_state = (int8_t)p->leadership.recovery_state;
}

/* News of a partition that goes would bring it back: its farewell is the last word, and may be in the same request. */
static bool is_overtaken(const struct note *n)
{
    return n->key.kind == NOTE_METADATA && n->key.partition->state == PARTITION_NONE;
}

static int by_destination(const struct note_key *x, const struct note_key *y)
{
    int order = (x->broker > y->broker) - (x->broker < y->broker);
    return order != 0 ? order : (x->kind > y->kind) - (x->kind < y->kind);
}

static int by_destination_and_topic(const void *a, const void *b)
{
    const struct note *const *x = a, *const *y = b;
    const struct ctl_partition *p = (*x)->key.partition, *q = (*y)->key.partition;
    int order = by_destination(&(*x)->key, &(*y)->key);
    if (order == 0 && p->topic != q->topic)
        order = strcmp(p->topic->name, q->topic->name);
    return order != 0 ? order : (p->index > q->index) - (p->index < q->index);
}

static void sort_notes(struct outbox *o)
{
    o->sorted = ARENA_ARRAY(&o->arena, struct note *, MAX(HASH_COUNT(o->notes), 1U));
    o->sorted_count = 0;
    for (struct note *note = o->notes; note != NULL; note = note->hh.next)
        if (!is_overtaken(note))
            o->sorted[o->sorted_count++] = note;
    qsort(o->sorted, o->sorted_count, sizeof(*o->sorted), by_destination_and_topic);
}

struct notes { /* of one broker and kind, or a piece of them */
    struct note **v;
    size_t n;
};

static struct notes notes_of(const struct outbox *o, int32_t broker, enum note_kind kind)
{
    struct note_key key = {.broker = broker, .kind = (int32_t)kind};
    size_t low = 0, high = o->sorted_count, n = 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (by_destination(&o->sorted[middle]->key, &key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    ensure(low <= o->sorted_count);
    while (low + n < o->sorted_count && by_destination(&o->sorted[low + n]->key, &key) == 0)
        n++;
    return (struct notes){o->sorted + low, n};
}

/* So many as one request takes, which are no longer in `all` then. */
static struct notes notes_take(struct notes *all, size_t most)
{
    struct notes piece = {all->v, MIN(all->n, most)};
    all->v += piece.n;
    all->n -= piece.n;
    return piece;
}

/* How many from `i` on are of the same topic. */
static size_t outbox_same_topic(struct notes notes, size_t i)
{
    size_t same = 1;
    while (i + same < notes.n && notes.v[i + same]->key.partition->topic == notes.v[i]->key.partition->topic)
        same++;
    return same;
}

/* So many, and what follows of the topic of the last. */
static size_t notes_until_topic_ends(struct notes notes, size_t least)
{
    if (least == 0 || least >= notes.n)
        return least;
    return least - 1 + outbox_same_topic(notes, least - 1);
}

static void name_leaders(const struct controller *c, struct notes notes, bool named)
{
    for (size_t i = 0; i < notes.n; i++) {
        struct ctl_broker *leader = context_broker(c, notes.v[i]->key.partition->leadership.leader);
        if (leader != NULL)
            leader->named = named;
    }
}

/* Leaders that the orders name, with the address at which brokers reach them. */
static void fill_leaders(struct building *b, struct leader_and_isr_request *request, struct notes notes)
{
    const char *listener = b->c->options.config->inter_broker_listener_name;
    const struct ctl_broker *l;
    name_leaders(b->c, notes, true);
    ARRAY_MAKE(&b->arena, request->live_leaders, (int32_t)HASH_COUNT(b->c->brokers_by_id));
    request->live_leaders.len = 0;
    LL_FOREACH (b->c->brokers, l) {
        const struct endpoint *e = l->named ? registration_endpoint(&l->registration, listener) : NULL;
        if (e == NULL)
            continue;
        struct leader_and_isr_live_leader *o = &request->live_leaders.items[request->live_leaders.len++];
        leader_and_isr_live_leader_init(o);
        o->broker_id = l->id;
        o->host_name = str_of(e->host);
        o->port = e->port;
    }
    name_leaders(b->c, notes, false);
    ensure(request->live_leaders.len <= (int32_t)HASH_COUNT(b->c->brokers_by_id));
}

static void send_orders(struct building *b, const struct ctl_broker *to, struct notes notes)
{
    struct leader_and_isr_request request;
    leader_and_isr_request_init(&request);
    request.controller_id = b->c->options.broker_id;
    request.controller_epoch = b->c->epoch;
    request.broker_epoch = EPOCH_MARK;
    ARRAY_MAKE(&b->arena, request.topic_states, (int32_t)notes.n);
    request.topic_states.len = 0;
    for (size_t i = 0; i < notes.n;) {
        struct leader_and_isr_topic_state *t = &request.topic_states.items[request.topic_states.len++];
        const struct ctl_topic *topic = notes.v[i]->key.partition->topic;
        size_t same = outbox_same_topic(notes, i);
        leader_and_isr_topic_state_init(t);
        t->topic_name = str_of(topic->name);
        t->topic_id = topic->id;
        ARRAY_MAKE(&b->arena, t->partition_states, (int32_t)same);
        for (size_t k = 0; k < same; k++, i++)
            fill_order(&t->partition_states.items[k], notes.v[i]->key.partition, notes.v[i]->is_new);
    }
    ensure(notes.n > 0 && (size_t)request.topic_states.len <= notes.n);
    fill_leaders(b, &request, notes);
    send_to(b, to, API_LEADER_AND_ISR, leader_and_isr_versions, &request);
}

static void fill_stop(struct stop_replica_partition_state *o, const struct note *n)
{
    const struct ctl_partition *p = n->key.partition;
    stop_replica_partition_state_init(o);
    o->partition_index = p->index;
    o->leader_epoch = p->topic->deleting || !p->known ? -2 : p->leadership.leader_epoch;
    o->delete_partition = n->delete_it;
}

static void send_stops(struct building *b, const struct ctl_broker *to, struct notes notes)
{
    struct stop_replica_request request;
    stop_replica_request_init(&request);
    request.controller_id = b->c->options.broker_id;
    request.controller_epoch = b->c->epoch;
    request.broker_epoch = EPOCH_MARK;
    ARRAY_MAKE(&b->arena, request.topic_states, (int32_t)notes.n);
    request.topic_states.len = 0;
    for (size_t i = 0; i < notes.n;) {
        struct stop_replica_topic_state *t = &request.topic_states.items[request.topic_states.len++];
        size_t same = outbox_same_topic(notes, i);
        stop_replica_topic_state_init(t);
        t->topic_name = str_of(notes.v[i]->key.partition->topic->name);
        ARRAY_MAKE(&b->arena, t->partition_states, (int32_t)same);
        for (size_t k = 0; k < same; k++, i++)
            fill_stop(&t->partition_states.items[k], notes.v[i]);
    }
    send_to(b, to, API_STOP_REPLICA, stop_replica_versions, &request);
}

/* ---- UpdateMetadata ---- */

static void outbox_fill_brokers(struct building *b, struct update_metadata_request *request)
{
    const struct ctl_broker *l;
    int count = 0;
    ARRAY_MAKE(&b->arena, request->live_brokers, (int32_t)HASH_COUNT(b->c->brokers_by_id));
    LL_FOREACH (b->c->brokers, l) {
        struct update_metadata_broker *o = &request->live_brokers.items[count++];
        const struct registration *r = &l->registration;
        update_metadata_broker_init(o);
        o->id = r->id;
        o->rack = r->rack ? str_of(r->rack) : STR_NULL;
        ARRAY_MAKE(&b->arena, o->endpoints, r->endpoint_count);
        for (int32_t i = 0; i < r->endpoint_count; i++) {
            enum security_protocol protocol = SECURITY_PROTOCOL_PLAINTEXT;
            security_protocol_parse(r->endpoints[i].protocol, &protocol); /* of one that we do not know: plain */
            update_metadata_endpoint_init(&o->endpoints.items[i]);
            o->endpoints.items[i].host = str_of(r->endpoints[i].host);
            o->endpoints.items[i].port = r->endpoints[i].port;
            o->endpoints.items[i].listener = str_of(r->endpoints[i].listener);
            o->endpoints.items[i].security_protocol = (int16_t)protocol;
        }
    }
}

static void fill_farewell(struct building *b, struct update_metadata_partition_state *o, const struct farewell *f)
{
    update_metadata_partition_state_init(o);
    o->partition_index = f->index;
    o->controller_epoch = b->c->epoch;
    o->leader = LEADER_DELETED;
    o->leader_epoch = LEADER_DELETED;
    SHARE_LIST(o->replicas, f->replicas);
}

/* So many of them, which are no longer in `all` then. Those of a topic were taken one after the other. */
static void fill_farewells(struct building *b, struct update_metadata_request *request, const struct farewell **all,
                           int32_t count)
{
    for (int32_t left = count; left > 0;) {
        struct update_metadata_topic_state *t = &request->topic_states.items[request->topic_states.len++];
        const struct farewell *f = *all, *end = f;
        int32_t same = 0;
        for (; same < left && uuid_eq(end->topic_id, f->topic_id) && str_eq(end->topic, f->topic); end = end->next)
            same++;
        update_metadata_topic_state_init(t);
        t->topic_name = f->topic;
        t->topic_id = f->topic_id;
        ARRAY_MAKE(&b->arena, t->partition_states, same);
        for (int32_t i = 0; f != end; f = f->next)
            fill_farewell(b, &t->partition_states.items[i++], f);
        left -= same;
        *all = end;
    }
}

static void fill_state(struct building *b, struct update_metadata_partition_state *o, const struct ctl_partition *p)
{
    ensure(p->state != PARTITION_NONE);
    update_metadata_partition_state_init(o);
    o->partition_index = p->index;
    o->controller_epoch = p->leadership.controller_epoch;
    o->leader = p->leadership.leader;
    o->leader_epoch = p->leadership.leader_epoch;
    SHARE_LIST(o->isr, p->leadership.isr);
    o->zk_version = p->leadership.version;
    SHARE_LIST(o->replicas, p->replicas);
    ARRAY_MAKE(&b->arena, o->offline_replicas, p->replicas.n);
    o->offline_replicas.len = 0;
    for (int32_t i = 0; i < p->replicas.n; i++)
        if (!replica_is_online(b->c, p, p->replicas.v[i]))
            o->offline_replicas.items[o->offline_replicas.len++] = p->replicas.v[i];
}

static void fill_states(struct building *b, struct update_metadata_request *request, struct notes notes)
{
    for (size_t i = 0; i < notes.n;) {
        struct update_metadata_topic_state *t = &request->topic_states.items[request->topic_states.len++];
        const struct ctl_topic *topic = notes.v[i]->key.partition->topic;
        size_t same = outbox_same_topic(notes, i);
        update_metadata_topic_state_init(t);
        t->topic_name = str_of(topic->name);
        t->topic_id = topic->id;
        ARRAY_MAKE(&b->arena, t->partition_states, (int32_t)same);
        for (size_t k = 0; k < same; k++, i++)
            fill_state(b, &t->partition_states.items[k], notes.v[i]->key.partition);
    }
}

static bool says_who_is_there(const struct ctl_broker *to, struct notes left)
{
    return to == NULL || to->greeting == GREETED || (to->greeting == GREETING_ENDS && left.n == 0);
}

/* How many farewells come with the next request: those of a topic together. */
static int32_t count_leaving(const struct farewell *f)
{
    int32_t n = 0;
    for (const struct farewell *before = NULL; f != NULL; before = f, f = f->next, n++)
        if (n >= PIECE && !(uuid_eq(before->topic_id, f->topic_id) && str_eq(before->topic, f->topic)))
            break;
    return n;
}

/* A piece of them, which are no longer in `farewells` and `notes` then. A topic is not cut. `to` NULL: for all. */
static struct memo *make_metadata(struct building *b, const struct farewell **farewells, struct notes *notes,
                                  const struct ctl_broker *to)
{
    struct update_metadata_request request;
    int32_t leaving = count_leaving(*farewells);
    struct notes piece = notes_take(notes, notes_until_topic_ends(*notes, (size_t)MAX(PIECE - leaving, 0)));
    update_metadata_request_init(&request);
    ARRAY_MAKE(&b->arena, request.topic_states, leaving + (int32_t)piece.n);
    request.topic_states.len = 0;
    fill_farewells(b, &request, farewells, leaving);
    fill_states(b, &request, piece);
    request.controller_id = b->c->options.broker_id;
    request.controller_epoch = b->c->epoch;
    request.broker_epoch = EPOCH_MARK;
    if (says_who_is_there(to, *notes))
        outbox_fill_brokers(b, &request);
    return make_memo(b, API_UPDATE_METADATA, update_metadata_versions, &request);
}

/* ---- Sending ---- */

static void send_all_orders(struct building *b, const struct ctl_broker *to)
{
    struct notes all = notes_of(b->c->outbox, to->id, NOTE_LEADER_AND_ISR);
    while (all.n > 0)
        send_orders(b, to, notes_take(&all, PIECE));
}

static void send_all_stops(struct building *b, const struct ctl_broker *to)
{
    struct notes all = notes_of(b->c->outbox, to->id, NOTE_STOP);
    while (all.n > 0)
        send_stops(b, to, notes_take(&all, PIECE));
}

/* What is for this one alone. */
static void send_own_metadata(struct building *b, struct ctl_broker *to)
{
    struct notes all = notes_of(b->c->outbox, to->id, NOTE_METADATA);
    const struct farewell *none = NULL;
    while (all.n > 0 || to->greeting == GREETING_ENDS) {
        struct memo *m = make_metadata(b, &none, &all, to);
        channel_send(to->channel, m, to->registration.epoch);
        memo_unref(m);
        if (all.n == 0 && to->greeting == GREETING_ENDS)
            to->greeting = GREETED;
    }
}

/* What is for all; in the outbox's arena. */
struct common {
    struct memo **v;
    size_t n;
};

static struct common make_common(struct building *b)
{
    struct outbox *o = b->c->outbox;
    struct notes notes = notes_of(o, EVERY_BROKER, NOTE_METADATA);
    const struct farewell *farewells = o->farewells, *f;
    size_t count = notes.n;
    bool any = o->brokers_changed; /* that there is nothing else to be told of does not matter then */
    LL_FOREACH (farewells, f)
        count++;
    struct common out = {ARENA_ARRAY(&o->arena, struct memo *, count / PIECE + 1), 0};
    for (; any || farewells != NULL || notes.n > 0; any = false)
        out.v[out.n++] = make_metadata(b, &farewells, &notes, NULL);
    ensure(out.n <= count / PIECE + 1);
    return out;
}

bool outbox_may_wait(struct controller *c)
{
    enum { MOST_US = 20000 };
    struct outbox *o = c->outbox;
    int64_t now = clock_mono_us();
    if (o->waits_since_us == 0)
        o->waits_since_us = now;
    return HASH_COUNT(o->notes) < PIECE && now - o->waits_since_us < MOST_US;
}

void outbox_flush_if_full(struct controller *c)
{
    if (HASH_COUNT(c->outbox->notes) >= PIECE)
        outbox_flush(c);
}

static bool somebody_is_greeted(const struct controller *c)
{
    const struct ctl_broker *b = c->brokers;
    while (b != NULL && b->greeting != GREETING_ENDS)
        b = b->next;
    return b != NULL;
}

void outbox_flush(struct controller *c)
{
    struct outbox *o = c->outbox;
    struct ctl_broker *l;
    ensure(loop_is_mine(c->options.loop) && c->active);
    if (o->notes == NULL && o->farewells == NULL && !o->brokers_changed && !somebody_is_greeted(c))
        return;
    struct building b = {.c = c};
    sort_notes(o);
    struct common common = make_common(&b);
    LL_FOREACH (c->brokers, l) {
        send_all_orders(&b, l);
        for (size_t i = 0; i < common.n && l->greeting == GREETED; i++)
            channel_send(l->channel, common.v[i], l->registration.epoch);
        send_own_metadata(&b, l);
        send_all_stops(&b, l);
    }
    for (size_t i = 0; i < common.n; i++)
        memo_unref(common.v[i]);
    outbox_clear(o);
}
