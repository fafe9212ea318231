/* The records of __transaction_state, in Apache's formats. */
#include <inttypes.h>

#include "base/logger.h"
#include "cluster/internal_topics.h"
#include "protocol/msg/transaction_log_key.h"
#include "protocol/msg/transaction_log_value.h"
#include "transaction/transaction_internal.h"

enum { KEY_VERSION = 0, VALUE_VERSION = 0, NEWEST_VALUE = 1 };

/* ---- Writing ---- */

static void write_key(struct writer *w, const struct txn *t)
{
    struct transaction_log_key key = {.transactional_id = t->id};
    writer_init(w);
    writer_int16(w, KEY_VERSION);
    transaction_log_key_write(w, KEY_VERSION, &key);
}

/* Topic by topic. */
static void fill_partitions(const struct txn *t, const struct txn_change *change, struct arena *a,
                            struct transaction_log_value *v)
{
    int32_t count;
    const struct txn_partition_ref *refs = txn_sorted_partitions(t, change, a, &count);
    struct transaction_log_value_partitions_schema *topic = NULL;
    int32_t *indexes = ARENA_ARRAY(a, int32_t, MAX(count, 1));
    ARRAY_MAKE(a, v->transaction_partitions, count);
    v->transaction_partitions.len = 0;
    for (int32_t i = 0; i < count; i++) {
        if (topic == NULL || !str_eq(topic->topic, refs[i].topic)) {
            topic = &v->transaction_partitions.items[v->transaction_partitions.len++];
            topic->topic = refs[i].topic;
            topic->partition_ids.items = &indexes[i];
            topic->partition_ids.len = 0;
        }
        topic->partition_ids.items[topic->partition_ids.len++] = refs[i].index;
    }
}

void txn_record(struct batch_builder *b, const struct txn *t, const struct txn_change *change, int64_t now)
{
    struct writer key, value;
    struct arena a = {0};
    struct transaction_log_value v = {.producer_id = change->to.producer_id,
                                      .producer_epoch = change->to.epoch,
                                      .transaction_timeout_ms = change->to.timeout_ms,
                                      .transaction_status = (int8_t)change->to.status,
                                      .transaction_last_update_timestamp_ms = change->to.update_ms,
                                      .transaction_start_timestamp_ms = change->to.start_ms};
    v.transaction_partitions.len = -1; /* null */
    if (change->to.status == TXN_COMPLETE_COMMIT || change->to.status == TXN_COMPLETE_ABORT)
        ARRAY_MAKE(&a, v.transaction_partitions, 0);
    else if (change->to.status != TXN_EMPTY)
        fill_partitions(t, change, &a, &v);
    write_key(&key, t);
    writer_init(&value);
    writer_int16(&value, VALUE_VERSION);
    transaction_log_value_write(&value, VALUE_VERSION, &v);
    state_record_add(b, &key, &value, now);
    arena_deinit(&a);
}

void txn_record_gone(struct batch_builder *b, const struct txn *t, int64_t now)
{
    struct writer key;
    write_key(&key, t);
    state_record_add(b, &key, NULL, now);
}

/* ---- Reading ---- */

static bool txn_record_read_value(struct bytes data, struct arena *a, struct transaction_log_value *v)
{
    struct reader r;
    int16_t version;
    return state_record_open(data, a, &r, &version) && version >= 0 && version <= NEWEST_VALUE &&
           transaction_log_value_read(&r, version, v) && v->transaction_status >= TXN_EMPTY &&
           v->transaction_status <= TXN_COMPLETE_ABORT && v->producer_id >= 0 && v->producer_epoch >= 0;
}

static void take_value(struct txn *t, const struct transaction_log_value *v)
{
    struct topic_key id;
    t->now = (struct txn_fields){.status = (enum txn_status)v->transaction_status,
                                 .producer_id = v->producer_id,
                                 .last_producer_id = NO_PRODUCER_ID,
                                 .epoch = v->producer_epoch,
                                 .last_epoch = NO_PRODUCER_EPOCH,
                                 .timeout_ms = v->transaction_timeout_ms,
                                 .start_ms = v->transaction_start_timestamp_ms,
                                 .update_ms = v->transaction_last_update_timestamp_ms};
    txn_clear_partitions(t);
    for (int32_t i = 0; i < v->transaction_partitions.len; i++) {
        const struct transaction_log_value_partitions_schema *topic = &v->transaction_partitions.items[i];
        for (int32_t k = 0; k < topic->partition_ids.len; k++)
            if (topic_key_make(topic->topic, topic->partition_ids.items[k], &id))
                txn_put_partition(t, &id);
    }
}

static void take_record(struct txn_coordinator *tc, struct state_partition *p, const struct record *record,
                        struct arena *a)
{
    struct transaction_log_key key;
    struct transaction_log_value v;
    struct reader r;
    int16_t version;
    if (record->key.p == NULL || !state_record_open(record->key, a, &r, &version) || version != KEY_VERSION ||
        !transaction_log_key_read(&r, version, &key))
        return; /* of a later version of Kafka */
    if (!state_partition_holds(p, key.transactional_id))
        return;
    struct txn *t = txn_find(tc, key.transactional_id);
    if (record->value.p == NULL && t != NULL) {
        txn_forget(t);
    } else if (record->value.p != NULL && !txn_record_read_value(record->value, a, &v)) {
        log_warn("The state of transactional id %.*s in " TRANSACTION_STATE_TOPIC "-%" PRId32 " at %" PRId64
                 " cannot be read",
                 STR_ARGS(key.transactional_id), p->number, record->offset);
    } else if (record->value.p != NULL) {
        take_value(t != NULL ? t : txn_make(tc, p, key.transactional_id), &v);
    }
}

void txn_records_take(void *coordinator, struct state_partition *p, const struct batch *b)
{
    struct arena a;
    struct record record;
    if (batch_is_control(b))
        return;
    arena_init(&a, (size_t)1 << 30);
    struct record_iter *it = record_iter_new(b, &a);
    int64_t next = b->base_offset;
    int more;
    for (; (more = record_iter_next(it, &record)) > 0; next = record.offset + 1)
        take_record(coordinator, p, &record, &a);
    if (more < 0)
        state_partition_note_damage(p, b, next);
    record_iter_free(it);
    arena_deinit(&a);
}
