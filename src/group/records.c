/* The records of __consumer_offsets, in Apache's formats: written, and read when a partition is loaded. */
#include <inttypes.h>
#include <utlist.h>

#include "base/logger.h"
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
enum { CONTROL_ABORT = 0, CONTROL_COMMIT = 1 };

/* ---- Writing ---- */

static void add(struct batch_builder *b, struct writer *key, struct writer *value, int64_t now)
{
    struct record r = {
        .offset = b->head.count, .timestamp = now, .key = {(uint8_t *)key->buf.p, (int32_t)key->buf.len}};
    if (value != NULL)
        r.value = (struct bytes){(uint8_t *)value->buf.p, (int32_t)value->buf.len};
    batch_builder_add(b, &r);
    writer_deinit(key);
    if (value != NULL)
        writer_deinit(value);
}

static void write_group_key(struct writer *w, const struct group *g)
{
    struct group_metadata_key key = {.group = str_of(g->id)};
    writer_init(w);
    writer_int16(w, GROUP_KEY);
    group_metadata_key_write(w, GROUP_KEY, &key);
}

static void write_offset_key(struct writer *w, const struct group *g, const struct offset_id *id)
{
    struct offset_commit_key key = {.group = str_of(g->id), .topic = str_of(id->topic), .partition = id->partition};
    writer_init(w);
    writer_int16(w, OFFSET_KEY);
    offset_commit_key_write(w, OFFSET_KEY, &key);
}

static void fill_member(const struct member *m, struct group_metadata_value_member_metadata *o)
{
    group_metadata_value_member_metadata_init(o);
    o->member_id = str_of(m->id);
    o->group_instance_id = str_of(m->instance_id);
    o->client_id = str_of(m->client_id);
    o->client_host = str_of(m->client_host);
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
    v.protocol_type = g->protocol_type ? str_of(g->protocol_type) : STR_LIT("");
    v.generation = g->generation;
    v.protocol = str_of(g->protocol);
    v.leader = str_of(g->leader_id);
    v.current_state_timestamp = g->state_since;
    ARRAY_MAKE(&a, v.members, group_size(g));
    for (const struct member *m = g->members; m != NULL; m = m->hh.next)
        fill_member(m, &v.members.items[i++]);
    write_group_key(&key, g);
    writer_init(&value);
    writer_int16(&value, GROUP_VALUE);
    group_metadata_value_write(&value, GROUP_VALUE, &v);
    add(b, &key, &value, now);
    arena_deinit(&a);
}

void record_group_gone(struct batch_builder *b, const struct group *g, int64_t now)
{
    struct writer key;
    write_group_key(&key, g);
    add(b, &key, NULL, now);
}

void record_offset(struct batch_builder *b, const struct group *g, const struct offset_entry *e, int64_t now)
{
    struct writer key, value;
    int16_t version = e->expire_ms >= 0 ? OFFSET_VALUE_WITH_EXPIRY : OFFSET_VALUE;
    struct offset_commit_value v = {.offset = e->offset,
                                    .leader_epoch = e->leader_epoch,
                                    .metadata = str_of(e->metadata),
                                    .commit_timestamp = e->commit_ms,
                                    .expire_timestamp = e->expire_ms};
    write_offset_key(&key, g, &e->id);
    writer_init(&value);
    writer_int16(&value, version);
    offset_commit_value_write(&value, version, &v);
    add(b, &key, &value, now);
}

void record_offset_gone(struct batch_builder *b, const struct group *g, const struct offset_id *id, int64_t now)
{
    struct writer key;
    write_offset_key(&key, g, id);
    add(b, &key, NULL, now);
}

struct failed_append {
    struct message message;
    struct group_append *append;
};

static void deliver_failure(struct message *m)
{
    struct failed_append *f = CONTAINER_OF(m, struct failed_append, message);
    f->append->done(f->append, ERR_MESSAGE_TOO_LARGE);
    free(f);
}

void group_append(struct group *g, struct batch_builder *b, struct group_append *append)
{
    const struct group_options *o = &g->coordinator->options;
    int32_t partition = group_partition_of(str_of(g->id), g->coordinator->partition_count);
    struct strbuf batch = {0};
    bool ok = batch_builder_finish(b, CODEC_LEVEL_DEFAULT, &batch);
    batch_builder_deinit(b);
    if (ok) {
        o->append(o->ctx, partition, &batch, append);
        return;
    }
    strbuf_deinit(&batch);
    struct failed_append *f = xcalloc(1, sizeof(*f));
    *f = (struct failed_append){{.deliver = deliver_failure}, append};
    loop_post(o->loop, &f->message);
}

/* ---- Reading ---- */

/* An offset that a transaction has written and not yet committed. */
struct pending_offsets {
    int64_t producer_id;
    char *group, *metadata;
    struct offset_id id;
    int64_t offset, commit_ms;
    int32_t leader_epoch;
    struct pending_offsets *prev, *next;
};

static void pending_free(struct offsets_partition *p, struct pending_offsets *o)
{
    DL_DELETE(p->pending, o);
    free(o->group);
    free(o->metadata);
    free(o);
}

void pending_offsets_free(struct offsets_partition *p)
{
    while (p->pending != NULL)
        pending_free(p, p->pending);
}

static struct group *find_or_make(struct offsets_partition *p, struct str id)
{
    struct group *g = group_find(p->coordinator, id);
    return g != NULL ? g : group_make(p->coordinator, id);
}

/* A version-prefixed key or value. False if it cannot be read. */
static bool open_value(struct bytes data, struct arena *a, struct reader *r, int16_t *version)
{
    reader_init(r, data, a);
    *version = reader_int16(r);
    return reader_ok(r);
}

static void load_offset(struct offsets_partition *p, const struct batch *b, const struct record *record,
                        const struct offset_commit_key *key, struct arena *a)
{
    struct offset_commit_value v;
    struct offset_id id;
    struct reader r;
    int16_t version;
    if (!offset_id_make(key->topic, key->partition, &id))
        return;
    struct group *g = find_or_make(p, key->group);
    if (record->value.p == NULL) {
        struct offset_entry *e;
        HASH_FIND(hh, g->offsets, &id, sizeof(id), e);
        if (e != NULL)
            offset_drop(g, e);
        return;
    }
    if (!open_value(record->value, a, &r, &version) || version > NEWEST_VALUE ||
        !offset_commit_value_read(&r, version, &v)) {
        log_warn("An offset of group %s in __consumer_offsets-%" PRId32 " at %" PRId64 " cannot be read", g->id,
                 p->number, record->offset);
        return;
    }
    if (!batch_is_transactional(b)) {
        offset_put(g, &id, v.offset, v.leader_epoch, v.metadata, v.commit_timestamp,
                   version == 1 ? v.expire_timestamp : -1);
        return;
    }
    struct pending_offsets *o = xcalloc(1, sizeof(*o));
    *o = (struct pending_offsets){b->producer_id,
                                  str_dup(key->group),
                                  str_dup(v.metadata),
                                  id,
                                  v.offset,
                                  v.commit_timestamp,
                                  v.leader_epoch,
                                  NULL,
                                  NULL};
    DL_APPEND(p->pending, o);
}

static void load_member(struct group *g, const struct group_metadata_value_member_metadata *in)
{
    struct member *m = member_add(g, in->member_id, in->group_instance_id, in->client_id, in->client_host);
    struct join_group_request_protocol protocol = {str_of(g->protocol ? g->protocol : ""), in->subscription};
    struct join_group_request request = {.protocols = {&protocol, 1}};
    m->session_timeout_ms = in->session_timeout;
    m->rebalance_timeout_ms = in->rebalance_timeout >= 0 ? in->rebalance_timeout : in->session_timeout;
    m->is_new = false;
    member_set_protocols(m, &request);
    member_set_assignment(m, in->assignment);
}

static void load_group(struct offsets_partition *p, const struct record *record, struct str id, struct arena *a)
{
    struct group_metadata_value v;
    struct reader r;
    int16_t version;
    struct group *g = find_or_make(p, id);
    struct member *m, *next;
    HASH_ITER (hh, g->members, m, next)
        member_remove(m);
    free(g->protocol_type);
    free(g->protocol);
    free(g->leader_id);
    g->protocol_type = g->protocol = g->leader_id = NULL;
    g->state = GROUP_EMPTY;
    if (record->value.p == NULL) {
        if (g->offsets == NULL)
            group_forget(g);
        return;
    }
    if (!open_value(record->value, a, &r, &version) || version > NEWEST_VALUE ||
        !group_metadata_value_read(&r, version, &v)) {
        log_warn("The state of group %s in __consumer_offsets-%" PRId32 " at %" PRId64 " cannot be read", g->id,
                 p->number, record->offset);
        return;
    }
    g->generation = v.generation;
    g->protocol_type = v.protocol_type.len > 0 ? str_dup(v.protocol_type) : NULL;
    g->protocol = str_dup(v.protocol);
    g->leader_id = str_dup(v.leader);
    for (int32_t i = 0; i < v.members.len; i++)
        load_member(g, &v.members.items[i]);
    g->state = group_size(g) > 0 ? GROUP_STABLE : GROUP_EMPTY;
    g->state_since = v.current_state_timestamp >= 0 ? v.current_state_timestamp : group_now(p->coordinator);
}

static void load_record(struct offsets_partition *p, const struct batch *b, const struct record *record,
                        struct arena *a)
{
    struct reader r;
    int16_t version;
    if (record->key.p == NULL || !open_value(record->key, a, &r, &version))
        return;
    if (version <= OFFSET_KEY) {
        struct offset_commit_key key;
        if (offset_commit_key_read(&r, version, &key))
            load_offset(p, b, record, &key, a);
    } else if (version == GROUP_KEY) {
        struct group_metadata_key key;
        if (group_metadata_key_read(&r, version, &key))
            load_group(p, record, key.group, a);
    }
    /* Newer keys are of the other group protocol, which is not spoken here. */
}

static void end_transaction(struct offsets_partition *p, const struct batch *b, const struct record *marker)
{
    bool commit = marker->key.len >= 4 && be16_get(marker->key.p + 2) == CONTROL_COMMIT;
    struct pending_offsets *o, *next;
    DL_FOREACH_SAFE (p->pending, o, next) {
        if (o->producer_id != b->producer_id)
            continue;
        if (commit)
            offset_put(find_or_make(p, str_of(o->group)), &o->id, o->offset, o->leader_epoch, str_of(o->metadata),
                       o->commit_ms, -1);
        pending_free(p, o);
    }
}

int64_t records_load(struct offsets_partition *p, struct bytes batches)
{
    struct batch b;
    int64_t next = p->next_offset;
    while (batch_next(&batches, &b) == BATCH_OK) {
        struct arena a;
        struct record record;
        arena_init(&a, (size_t)1 << 30);
        struct record_iter *it = record_iter_new(&b, &a);
        while (record_iter_next(it, &record) > 0) {
            if (record.offset < p->next_offset)
                continue;
            if (batch_is_control(&b))
                end_transaction(p, &b, &record);
            else
                load_record(p, &b, &record, &a);
        }
        record_iter_free(it);
        arena_deinit(&a);
        next = MAX(next, b.last_offset + 1);
    }
    return next;
}
