/*
 * What brokers are to be told after an event, gathered so that each gets one request of a kind, in Kafka's
 * order: LeaderAndIsr, UpdateMetadata, StopReplica.
 */
#include <utlist.h>

#include "cluster/view.h"
#include "controller/controller_internal.h"
#include "protocol/msg/api.h"
#include "protocol/msg/leader_and_isr.h"
#include "protocol/msg/request_header.h"
#include "protocol/msg/stop_replica.h"
#include "protocol/msg/update_metadata.h"

/* The newest versions, as no version is negotiated with a peer (inter.broker.protocol.version 3.9). */
enum { LEADER_AND_ISR_VERSION = 7, UPDATE_METADATA_VERSION = 8, STOP_REPLICA_VERSION = 4 };

enum note_kind { NOTE_LEADER_AND_ISR, NOTE_STOP };

/* One partition for one broker. Flags stick within a batch. */
struct note {
    enum note_kind kind;
    int32_t broker;
    struct ctl_partition *partition;
    bool is_new, delete_it;
};

/* A partition for everybody, or for one broker. Copied, as a deleted one may be gone when this is sent. */
struct metadata_note {
    int32_t broker; /* -1: all */
    struct ctl_partition *partition;
    bool deleted;
    char *topic; /* of a deleted one */
    struct uuid topic_id;
    int32_t index;
    struct int_list replicas; /* heap */
};

struct outbox {
    struct note *notes;
    size_t note_count, note_cap;
    struct metadata_note *metadata;
    size_t metadata_count, metadata_cap;
    bool brokers_changed;
};

struct outbox *outbox_new(void)
{
    return xcalloc(1, sizeof(struct outbox));
}

void outbox_clear(struct outbox *o)
{
    for (size_t i = 0; i < o->metadata_count; i++) {
        free(o->metadata[i].topic);
        free(o->metadata[i].replicas.v);
    }
    o->note_count = o->metadata_count = 0;
    o->brokers_changed = false;
}

void outbox_free(struct outbox *o)
{
    outbox_clear(o);
    free(o->notes);
    free(o->metadata);
    free(o);
}

/* ---- Gathering ---- */

static struct note *note_for(struct outbox *o, enum note_kind kind, int32_t broker, struct ctl_partition *p)
{
    for (size_t i = o->note_count; i-- > 0;)
        if (o->notes[i].kind == kind && o->notes[i].broker == broker && o->notes[i].partition == p)
            return &o->notes[i];
    o->notes = xgrow(o->notes, o->note_count + 1, &o->note_cap, sizeof(*o->notes));
    struct note *n = &o->notes[o->note_count++];
    *n = (struct note){.kind = kind, .broker = broker, .partition = p};
    return n;
}

static void add_metadata(struct outbox *o, int32_t broker, struct ctl_partition *p)
{
    for (size_t i = o->metadata_count; i-- > 0;)
        if (o->metadata[i].partition == p && !o->metadata[i].deleted && o->metadata[i].broker == broker)
            return;
    o->metadata = xgrow(o->metadata, o->metadata_count + 1, &o->metadata_cap, sizeof(*o->metadata));
    o->metadata[o->metadata_count++] = (struct metadata_note){.broker = broker, .partition = p};
}

void outbox_leader_and_isr(struct controller *c, struct int_list brokers, struct ctl_partition *p, bool is_new)
{
    ensure(p->known);
    for (int32_t i = 0; i < brokers.n; i++)
        if (broker_is_live_or_stopping(c, brokers.v[i]))
            note_for(c->outbox, NOTE_LEADER_AND_ISR, brokers.v[i], p)->is_new |= is_new;
    add_metadata(c->outbox, -1, p);
}

void outbox_metadata(struct controller *c, struct ctl_partition *p)
{
    add_metadata(c->outbox, -1, p);
}

void outbox_metadata_deleted(struct controller *c, struct ctl_partition *p)
{
    struct outbox *o = c->outbox;
    o->metadata = xgrow(o->metadata, o->metadata_count + 1, &o->metadata_cap, sizeof(*o->metadata));
    o->metadata[o->metadata_count++] = (struct metadata_note){.broker = -1,
                                                              .deleted = true,
                                                              .topic = xstrdup(p->topic->name),
                                                              .topic_id = p->topic->id,
                                                              .index = p->index,
                                                              .replicas = int_list_dup(p->replicas)};
}

void outbox_brokers_only(struct controller *c)
{
    c->outbox->brokers_changed = true;
}

void outbox_all_to(struct controller *c, struct ctl_broker *b)
{
    for (struct ctl_topic *t = c->topics; t != NULL; t = t->hh.next)
        for (int32_t i = 0; i < t->count; i++)
            if (t->partitions[i]->known && !t->deleting)
                add_metadata(c->outbox, b->id, t->partitions[i]);
}

void outbox_stop_replica(struct controller *c, int32_t broker, struct ctl_partition *p, bool delete_it)
{
    if (broker_is_live_or_stopping(c, broker))
        note_for(c->outbox, NOTE_STOP, broker, p)->delete_it |= delete_it;
}

/* ---- Building ---- */

struct building {
    struct controller *c;
    struct ctl_broker *broker;
    struct arena arena;
};

static void frame_begin(struct building *b, struct writer *w, int16_t key, int16_t version)
{
    struct request_header header;
    request_header_init(&header);
    header.request_api_key = key;
    header.request_api_version = version;
    header.client_id = arena_printf(&b->arena, "%d", b->c->options.broker_id);
    writer_init(w);
    writer_int32(w, 0);
    request_header_write(w, api_request_header_version(key, version), &header);
}

static void frame_send(struct building *b, struct writer *w, int16_t key, int16_t version)
{
    be32_put(w->buf.p, (uint32_t)(w->buf.len - 4));
    channel_send(b->broker->channel, key, version, &w->buf);
    writer_deinit(w);
}

#define SHARE_LIST(array, list)   \
    do {                          \
        (array).items = (list).v; \
        (array).len = (list).n;   \
    } while (0)

static void fill_order(struct leader_and_isr_partition_state *o, const struct ctl_partition *p, bool is_new)
{
    leader_and_isr_partition_state_init(o);
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

static int by_topic(const void *a, const void *b)
{
    const struct note *const *x = a, *const *y = b;
    int order = strcmp((*x)->partition->topic->name, (*y)->partition->topic->name);
    return order != 0 ? order : (*x)->partition->index - (*y)->partition->index;
}

/* The broker's notes of a kind, by topic. */
static size_t notes_of(struct building *b, enum note_kind kind, struct note ***out)
{
    struct outbox *o = b->c->outbox;
    size_t n = 0;
    *out = ARENA_ARRAY(&b->arena, struct note *, MAX(o->note_count, (size_t)1));
    for (size_t i = 0; i < o->note_count; i++)
        if (o->notes[i].kind == kind && o->notes[i].broker == b->broker->id)
            (*out)[n++] = &o->notes[i];
    qsort(*out, n, sizeof(**out), by_topic);
    return n;
}

/* Leaders that the orders name, with the address at which brokers reach them. */
static void fill_leaders(struct building *b, struct leader_and_isr_request *request, struct note **notes, size_t n)
{
    const char *listener = b->c->options.config->inter_broker_listener_name;
    const struct ctl_broker *l;
    ARRAY_MAKE(&b->arena, request->live_leaders, 64);
    request->live_leaders.len = 0;
    LL_FOREACH (b->c->brokers, l) {
        bool named = false;
        for (size_t i = 0; i < n && !named; i++)
            named = notes[i]->partition->leadership.leader == l->id;
        const struct endpoint *e = registration_endpoint(&l->registration, listener);
        if (!named || e == NULL || request->live_leaders.len == 64)
            continue;
        struct leader_and_isr_live_leader *o = &request->live_leaders.items[request->live_leaders.len++];
        leader_and_isr_live_leader_init(o);
        o->broker_id = l->id;
        o->host_name = str_of(e->host);
        o->port = e->port;
    }
}

static void send_orders(struct building *b)
{
    struct note **notes;
    struct writer w;
    struct leader_and_isr_request request;
    size_t n = notes_of(b, NOTE_LEADER_AND_ISR, &notes);
    if (n == 0)
        return;
    leader_and_isr_request_init(&request);
    request.controller_id = b->c->options.broker_id;
    request.controller_epoch = b->c->epoch;
    request.broker_epoch = b->broker->registration.epoch;
    ARRAY_MAKE(&b->arena, request.topic_states, (int32_t)n);
    request.topic_states.len = 0;
    for (size_t i = 0; i < n;) {
        struct leader_and_isr_topic_state *t = &request.topic_states.items[request.topic_states.len++];
        const struct ctl_topic *topic = notes[i]->partition->topic;
        size_t same = i;
        while (same < n && notes[same]->partition->topic == topic)
            same++;
        leader_and_isr_topic_state_init(t);
        t->topic_name = str_of(topic->name);
        t->topic_id = topic->id;
        ARRAY_MAKE(&b->arena, t->partition_states, (int32_t)(same - i));
        for (size_t k = 0; i < same; i++, k++)
            fill_order(&t->partition_states.items[k], notes[i]->partition, notes[i]->is_new);
    }
    fill_leaders(b, &request, notes, n);
    frame_begin(b, &w, API_LEADER_AND_ISR, LEADER_AND_ISR_VERSION);
    leader_and_isr_request_write(&w, LEADER_AND_ISR_VERSION, &request);
    frame_send(b, &w, API_LEADER_AND_ISR, LEADER_AND_ISR_VERSION);
}

static void send_stops(struct building *b)
{
    struct note **notes;
    struct writer w;
    struct stop_replica_request request;
    size_t n = notes_of(b, NOTE_STOP, &notes);
    if (n == 0)
        return;
    stop_replica_request_init(&request);
    request.controller_id = b->c->options.broker_id;
    request.controller_epoch = b->c->epoch;
    request.broker_epoch = b->broker->registration.epoch;
    ARRAY_MAKE(&b->arena, request.topic_states, (int32_t)n);
    for (size_t i = 0; i < n; i++) {
        const struct ctl_partition *p = notes[i]->partition;
        struct stop_replica_topic_state *t = &request.topic_states.items[i];
        stop_replica_topic_state_init(t);
        t->topic_name = str_of(p->topic->name);
        ARRAY_MAKE(&b->arena, t->partition_states, 1);
        stop_replica_partition_state_init(&t->partition_states.items[0]);
        t->partition_states.items[0].partition_index = p->index;
        t->partition_states.items[0].leader_epoch = p->topic->deleting || !p->known ? -2 : p->leadership.leader_epoch;
        t->partition_states.items[0].delete_partition = notes[i]->delete_it;
    }
    frame_begin(b, &w, API_STOP_REPLICA, STOP_REPLICA_VERSION);
    stop_replica_request_write(&w, STOP_REPLICA_VERSION, &request);
    frame_send(b, &w, API_STOP_REPLICA, STOP_REPLICA_VERSION);
}

/* ---- UpdateMetadata ---- */

static int16_t protocol_id(const char *name)
{
    static const char *const names[] = {"PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(names[i], name) == 0)
            return (int16_t)i;
    return 0;
}

static void fill_brokers(struct building *b, struct update_metadata_request *request)
{
    const struct ctl_broker *l;
    int count = 0;
    LL_COUNT(b->c->brokers, l, count);
    ARRAY_MAKE(&b->arena, request->live_brokers, count);
    count = 0;
    LL_FOREACH (b->c->brokers, l) {
        struct update_metadata_broker *o = &request->live_brokers.items[count++];
        const struct registration *r = &l->registration;
        update_metadata_broker_init(o);
        o->id = r->id;
        o->rack = r->rack ? str_of(r->rack) : STR_NULL;
        ARRAY_MAKE(&b->arena, o->endpoints, r->endpoint_count);
        for (int32_t i = 0; i < r->endpoint_count; i++) {
            update_metadata_endpoint_init(&o->endpoints.items[i]);
            o->endpoints.items[i].host = str_of(r->endpoints[i].host);
            o->endpoints.items[i].port = r->endpoints[i].port;
            o->endpoints.items[i].listener = str_of(r->endpoints[i].listener);
            o->endpoints.items[i].security_protocol = protocol_id(r->endpoints[i].protocol);
        }
    }
}

static void fill_state(struct building *b, struct update_metadata_partition_state *o, const struct metadata_note *n)
{
    update_metadata_partition_state_init(o);
    if (n->deleted) {
        o->partition_index = n->index;
        o->controller_epoch = b->c->epoch;
        o->leader = -2;
        o->leader_epoch = -2;
        SHARE_LIST(o->replicas, n->replicas);
        return;
    }
    const struct ctl_partition *p = n->partition;
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
        if (!broker_is_live_or_stopping(b->c, p->replicas.v[i]))
            o->offline_replicas.items[o->offline_replicas.len++] = p->replicas.v[i];
}

static void send_metadata(struct building *b)
{
    struct outbox *o = b->c->outbox;
    struct update_metadata_request request;
    struct writer w;
    size_t n = 0;
    update_metadata_request_init(&request);
    ARRAY_MAKE(&b->arena, request.topic_states, (int32_t)o->metadata_count);
    for (size_t i = 0; i < o->metadata_count; i++) {
        const struct metadata_note *note = &o->metadata[i];
        if (note->broker >= 0 && note->broker != b->broker->id)
            continue;
        struct update_metadata_topic_state *t = &request.topic_states.items[n++];
        update_metadata_topic_state_init(t);
        t->topic_name = str_of(note->deleted ? note->topic : note->partition->topic->name);
        t->topic_id = note->deleted ? note->topic_id : note->partition->topic->id;
        ARRAY_MAKE(&b->arena, t->partition_states, 1);
        fill_state(b, &t->partition_states.items[0], note);
    }
    if (n == 0 && !o->brokers_changed)
        return;
    request.topic_states.len = (int32_t)n;
    request.controller_id = b->c->options.broker_id;
    request.controller_epoch = b->c->epoch;
    request.broker_epoch = b->broker->registration.epoch;
    fill_brokers(b, &request);
    frame_begin(b, &w, API_UPDATE_METADATA, UPDATE_METADATA_VERSION);
    update_metadata_request_write(&w, UPDATE_METADATA_VERSION, &request);
    frame_send(b, &w, API_UPDATE_METADATA, UPDATE_METADATA_VERSION);
}

void outbox_flush(struct controller *c)
{
    struct outbox *o = c->outbox;
    struct ctl_broker *l;
    if (o->note_count == 0 && o->metadata_count == 0 && !o->brokers_changed)
        return;
    LL_FOREACH (c->brokers, l) {
        struct building b = {.c = c, .broker = l};
        send_orders(&b);
        send_metadata(&b);
        send_stops(&b);
        arena_deinit(&b.arena);
    }
    outbox_clear(o);
}
