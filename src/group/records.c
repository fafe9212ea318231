/* The records of __consumer_offsets, in Apache's formats: written, and read when a partition is loaded. */
#include <inttypes.h>

#include "base/logger.h"
#include "cluster/internal_topics.h"
#include "group/group_internal.h"
#include "protocol/msg/group_metadata_key.h"
#include "protocol/msg/group_metadata_value.h"
#include "protocol/msg/offset_commit_key.h"
#include "protocol/msg/offset_commit_value.h"

enum {
    OFFSET_KEY = 1,
    GROUP_KEY = 2,
    OFFSET_VALUE = 3,
    OFFSET_VALUE_WITH_EXPIRY = 1,
    GROUP_VALUE = 3,
    NEWEST_VALUE = 4
};

/* ---- Writing ---- */

static void write_group_key(struct writer *w, const struct group *g)
{
    struct group_metadata_key key = {.group = g->id};
    writer_init(w);
    writer_int16(w, GROUP_KEY);
    group_metadata_key_write(w, GROUP_KEY, &key);
}

static void write_offset_key(struct writer *w, const struct group *g, const struct topic_key *id)
{
    struct offset_commit_key key = {.group = g->id, .topic = str_of(id->topic), .partition = id->index};
    writer_init(w);
    writer_int16(w, OFFSET_KEY);
    offset_commit_key_write(w, OFFSET_KEY, &key);
}

static void group_record_fill_member(const struct member *m, struct group_metadata_value_member_metadata *o)
{
    group_metadata_value_member_metadata_init(o);
    o->member_id = m->id;
    o->group_instance_id = m->instance_id;
    o->client_id = m->client_id;
    o->client_host = m->client_host;
    o->rebalance_timeout = m->rebalance_timeout_ms;
    o->session_timeout = m->session_timeout_ms;
    o->subscription = member_metadata(m, m->group->protocol);
    o->assignment = m->assignment.p ? m->assignment : (struct bytes){(const uint8_t *)"", 0};
}

void record_group(struct batch_builder *b, const struct group *g, int64_t now)
{
    struct arena a = {0};
    struct writer key, value;
    struct group_metadata_value v;
    int32_t i = 0;
    group_metadata_value_init(&v);
    v.protocol_type = g->protocol_type.p ? g->protocol_type : STR_LIT("");
    v.generation = g->generation;
    v.protocol = g->protocol;
    v.leader = g->leader_id;
    v.current_state_timestamp = g->state_since;
    ARRAY_MAKE(&a, v.members, group_size(g));
    for (const struct member *m = g->members; m != NULL; m = m->hh.next)
        group_record_fill_member(m, &v.members.items[i++]);
    write_group_key(&key, g);
    writer_init(&value);
    writer_int16(&value, GROUP_VALUE);
    group_metadata_value_write(&value, GROUP_VALUE, &v);
    state_record_add(b, &key, &value, now);
    arena_deinit(&a);
}

void record_group_gone(struct batch_builder *b, const struct group *g, int64_t now)
{
    struct writer key;
    write_group_key(&key, g);
    state_record_add(b, &key, NULL, now);
}

void record_offset(struct batch_builder *b, const struct group *g, const struct topic_key *id,
                   const struct offset_value *from, int64_t now)
{
    struct writer key, value;
    int16_t version = from->expire_ms >= 0 ? OFFSET_VALUE_WITH_EXPIRY : OFFSET_VALUE;
    struct offset_commit_value v = {.offset = from->offset,
                                    .leader_epoch = from->leader_epoch,
                                    .metadata = from->metadata.p ? from->metadata : STR_LIT(""),
                                    .commit_timestamp = from->commit_ms,
                                    .expire_timestamp = from->expire_ms};
    write_offset_key(&key, g, id);
    writer_init(&value);
    writer_int16(&value, version);
    offset_commit_value_write(&value, version, &v);
    state_record_add(b, &key, &value, now);
}

void record_offset_gone(struct batch_builder *b, const struct group *g, const struct topic_key *id, int64_t now)
{
    struct writer key;
    write_offset_key(&key, g, id);
    state_record_add(b, &key, NULL, now);
}

/* ---- Reading ---- */

struct loading {
    struct group_coordinator *coordinator;
    struct state_partition *partition;
    const struct batch *batch;
    struct arena *arena;
};

static struct group *find_or_make(const struct loading *l, struct str id)
{
    struct group *g = group_find(l->coordinator, id);
    return g != NULL ? g : group_make(l->coordinator, id);
}

static void warn_unreadable(const struct loading *l, const struct group *g, const struct record *record,
                            const char *what)
{
    log_warn("%s of group %.*s in " GROUP_METADATA_TOPIC "-%" PRId32 " at %" PRId64 " cannot be read", what,
             STR_ARGS(g->id), l->partition->number, record->offset);
}

static void forget_offset(struct group *g, const struct loading *l, const struct topic_key *id)
{
    struct offset_entry *e = offset_find(g, id);
    struct txn_offset *o;
    if (!batch_is_transactional(l->batch) && e != NULL)
        offset_drop(g, e);
    else if (batch_is_transactional(l->batch) && (o = txn_offset_find(g, l->batch->producer_id, id)) != NULL)
        txn_offset_drop(o);
}

static void load_offset(const struct loading *l, const struct record *record, const struct offset_commit_key *key)
{
    struct offset_commit_value in;
    struct topic_key id;
    struct reader r;
    int16_t version;
    if (!topic_key_make(key->topic, key->partition, &id))
        return;
    struct group *g = find_or_make(l, key->group);
    if (record->value.p == NULL) {
        forget_offset(g, l, &id);
        return;
    }
    if (!state_record_open(record->value, l->arena, &r, &version) || version > NEWEST_VALUE ||
        !offset_commit_value_read(&r, version, &in)) {
        warn_unreadable(l, g, record, "An offset");
        return;
    }
    struct offset_value v = {.offset = in.offset,
                             .leader_epoch = in.leader_epoch,
                             .metadata = in.metadata,
                             .commit_ms = in.commit_timestamp,
                             .expire_ms = version == OFFSET_VALUE_WITH_EXPIRY ? in.expire_timestamp : -1,
                             .at = record->offset};
    if (batch_is_transactional(l->batch))
        txn_offset_put(g, l->batch->producer_id, &id, &v);
    else
        offset_put(g, &id, &v);
}

static void load_member(struct group *g, const struct group_metadata_value_member_metadata *in)
{
    struct member *m = member_add(g, in->member_id, in->group_instance_id, in->client_id, in->client_host);
    struct join_group_request_protocol protocol = {g->protocol.p ? g->protocol : STR_LIT(""), in->subscription};
    struct join_group_request request = {.protocols = {&protocol, 1}};
    m->session_timeout_ms = in->session_timeout;
    m->rebalance_timeout_ms = in->rebalance_timeout >= 0 ? in->rebalance_timeout : in->session_timeout;
    m->is_new = false;
    member_set_protocols(m, &request);
    member_set_assignment(m, in->assignment);
}

/* Its offsets stay: they have records of their own. */
static void forget_membership(struct group *g)
{
    struct member *m, *next;
    HASH_ITER (hh, g->members, m, next)
        member_remove(m);
    str_free(g->protocol_type);
    str_free(g->protocol);
    str_free(g->leader_id);
    g->protocol_type = g->protocol = g->leader_id = STR_NULL;
    g->generation = 0;
    group_assume_state(g, GROUP_EMPTY);
    g->state_since = group_now(g->coordinator);
    g->is_stored = false;
    subscription_clear(g);
}

static void load_group(const struct loading *l, const struct record *record, struct str id)
{
    struct group_metadata_value v;
    struct reader r;
    int16_t version;
    struct group *g = find_or_make(l, id);
    forget_membership(g);
    if (record->value.p == NULL)
        return;
    if (!state_record_open(record->value, l->arena, &r, &version) || version > NEWEST_VALUE ||
        !group_metadata_value_read(&r, version, &v)) {
        warn_unreadable(l, g, record, "The state");
        return;
    }
    g->is_stored = true;
    g->generation = v.generation;
    g->protocol_type = str_dup(v.protocol_type.len > 0 ? v.protocol_type : STR_NULL);
    g->protocol = str_dup(v.protocol);
    g->leader_id = str_dup(v.leader);
    for (int32_t i = 0; i < v.members.len; i++)
        load_member(g, &v.members.items[i]);
    group_assume_state(g, group_size(g) > 0 ? GROUP_STABLE : GROUP_EMPTY);
    g->state_since = v.current_state_timestamp;
}

static void load_record(const struct loading *l, const struct record *record)
{
    struct reader r;
    int16_t version;
    if (record->key.p == NULL || !state_record_open(record->key, l->arena, &r, &version))
        return;
    if (version <= OFFSET_KEY) {
        struct offset_commit_key key;
        if (offset_commit_key_read(&r, version, &key) && state_partition_holds(l->partition, key.group))
            load_offset(l, record, &key);
    } else if (version == GROUP_KEY) {
        struct group_metadata_key key;
        if (group_metadata_key_read(&r, version, &key) && state_partition_holds(l->partition, key.group))
            load_group(l, record, key.group);
    } else { /* of the new group protocol, left over from a try to upgrade */
        log_warn("A key of version %" PRId16 " in " GROUP_METADATA_TOPIC "-%" PRId32 " at %" PRId64
                 " is not understood",
                 version, l->partition->number, record->offset);
    }
}

void records_take(void *coordinator, struct state_partition *p, const struct batch *b)
{
    struct arena a;
    struct record record;
    struct txn_marker marker;
    struct loading l = {coordinator, p, b, &a};
    if (batch_is_control(b)) {
        if (b->last_offset >= p->next_offset && txn_marker_read(b, &marker))
            group_transaction_ended(coordinator, p->number, marker.producer_id, marker.commit, b->base_offset);
        return;
    }
    arena_init(&a, (size_t)1 << 30);
    struct record_iter *it = record_iter_new(b, &a);
    int64_t next = b->base_offset;
    int more;
    for (; (more = record_iter_next(it, &record)) > 0; next = record.offset + 1)
        if (record.offset >= p->next_offset)
            load_record(&l, &record);
    if (more < 0)
        state_partition_note_damage(p, b, next);
    record_iter_free(it);
    arena_deinit(&a);
}
