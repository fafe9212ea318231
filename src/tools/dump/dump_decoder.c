/* kafka-dump-log: the content of records, as text or as what the internal topics hold. */
#include <inttypes.h>
#include <jansson.h>

#include "base/base64.h"
#include "protocol/msg/consumer_protocol_assignment.h"
#include "protocol/msg/consumer_protocol_subscription.h"
#include "protocol/msg/group_metadata_key.h"
#include "protocol/msg/group_metadata_value.h"
#include "protocol/msg/offset_commit_key.h"
#include "protocol/msg/offset_commit_value.h"
#include "protocol/msg/transaction_log_key.h"
#include "protocol/msg/transaction_log_value.h"
#include "tools/dump/dump_log.h"
#include "tools/kit/log_messages.h"

static struct str dump_decoder_copy_text(struct arena *a, struct strbuf *text)
{
    struct str s = arena_str(a, (struct str){text->p != NULL ? text->p : "", (int32_t)text->len});
    strbuf_deinit(text);
    return s;
}

/* ---- __consumer_offsets ---- */

enum { NEWEST_CONSUMER = 3 };

/* Puts what the field's bytes mean in their place, if they mean what they should. */
static void open_field(json_t *member, const char *name, const struct message_type *type, void *room)
{
    struct arena a = {0};
    struct bytes data;
    int16_t version;
    const char *text = json_string_value(json_object_get(member, name));
    message_init(type, room);
    if (text != NULL && base64_decode(str_of(text), &a, &data) &&
        log_message_read(type, NEWEST_CONSUMER, data, &a, &version, room)) {
        struct str json = log_message_json(type, version, room, &a);
        json_object_set_new(member, name, json_loadb(json.p, (size_t)json.len, 0, NULL));
    }
    arena_deinit(&a);
}

/* Consumers' own messages are told, those of other kinds of members are shown as bytes. */
static struct str open_group(struct str value, struct arena *a)
{
    json_t *json = json_loadb(value.p, (size_t)value.len, 0, NULL), *member;
    const char *type = json_string_value(json_object_get(json, "protocolType"));
    struct consumer_protocol_subscription subscription;
    struct consumer_protocol_assignment assignment;
    size_t i;
    if (type != NULL && strcmp(type, "consumer") == 0)
        json_array_foreach(json_object_get(json, "members"), i, member)
        {
            open_field(member, "subscription", &consumer_protocol_subscription_type, &subscription);
            open_field(member, "assignment", &consumer_protocol_assignment_type, &assignment);
        }
    char *text = json_dumps(json, JSON_COMPACT);
    if (text != NULL)
        value = arena_str(a, str_of(text));
    free(text);
    json_decref(json);
    return value;
}

static bool decode_key(int16_t version, struct bytes data, struct arena *a, struct str *out)
{
    struct offset_commit_key offset;
    struct group_metadata_key group;
    offset_commit_key_init(&offset);
    group_metadata_key_init(&group);
    if (version <= NEWEST_OFFSET_KEY) {
        if (!log_message_read(&offset_commit_key_type, NEWEST_OFFSET_KEY, data, a, &version, &offset))
            return false;
        *out = log_message_json(&offset_commit_key_type, version, &offset, a);
    } else {
        if (!log_message_read(&group_metadata_key_type, NEWEST_GROUP_KEY, data, a, &version, &group))
            return false;
        *out = log_message_json(&group_metadata_key_type, version, &group, a);
    }
    *out = arena_printf(a, "{\"type\":\"%d\",\"data\":%.*s}", version, STR_ARGS(*out));
    return true;
}

static bool decode_value(int16_t key, struct bytes data, struct arena *a, struct str *out)
{
    struct offset_commit_value offset;
    struct group_metadata_value group;
    int16_t version;
    offset_commit_value_init(&offset);
    group_metadata_value_init(&group);
    if (key <= NEWEST_OFFSET_KEY) {
        if (!log_message_read(&offset_commit_value_type, NEWEST_OFFSET_VALUE, data, a, &version, &offset))
            return false;
        *out = log_message_json(&offset_commit_value_type, version, &offset, a);
    } else {
        if (!log_message_read(&group_metadata_value_type, NEWEST_GROUP_VALUE, data, a, &version, &group))
            return false;
        *out = open_group(log_message_json(&group_metadata_value_type, version, &group, a), a);
    }
    *out = arena_printf(a, "{\"version\":\"%d\",\"data\":%.*s}", version, STR_ARGS(*out));
    return true;
}

static bool decode_offsets(const struct record *r, struct arena *a, struct dump_texts *out, struct fail *fail)
{
    int16_t version = r->key.len >= 2 ? (int16_t)be16_get(r->key.p) : -1;
    if (r->key.p == NULL)
        return fail_set(fail,
                        "Failed to decode message at offset %" PRId64
                        " using offset topic decoder (message had a missing key)",
                        r->offset);
    *out = (struct dump_texts){.value = STR_NULL};
    if (r->key.len >= 2 && (version < 0 || version > NEWEST_GROUP_KEY)) {
        out->key = arena_printf(a, "Unknown record type %d at offset %" PRId64 ", skipping.", version, r->offset);
    } else if (!decode_key(version, r->key, a, &out->key) ||
               (r->value.p != NULL && !decode_value(version, r->value, a, &out->value))) {
        out->key = arena_printf(a, "Error at offset %" PRId64 ", skipping. The record cannot be read.", r->offset);
        out->value = STR_NULL;
    } else if (r->value.p == NULL) {
        out->value = STR_LIT("<DELETE>");
    }
    return true;
}

/* ---- __transaction_state ---- */

static struct str transaction_text(const struct transaction_log_value *v, struct arena *a)
{
    struct strbuf text = {0};
    const char *comma = "";
    strbuf_printf(&text, "producerId:%" PRId64 ",producerEpoch:%d,state=%s,partitions=[", v->producer_id,
                  v->producer_epoch, transaction_state_name(v->transaction_status));
    for (int32_t i = 0; v->transaction_status != 0 && i < v->transaction_partitions.len; i++)
        for (int32_t k = 0; k < v->transaction_partitions.items[i].partition_ids.len; k++) {
            strbuf_printf(&text, "%s%.*s-%" PRId32, comma, STR_ARGS(v->transaction_partitions.items[i].topic),
                          v->transaction_partitions.items[i].partition_ids.items[k]);
            comma = ",";
        }
    strbuf_printf(&text, "],txnLastUpdateTimestamp=%" PRId64 ",txnTimeoutMs=%" PRId32,
                  v->transaction_last_update_timestamp_ms, v->transaction_timeout_ms);
    return dump_decoder_copy_text(a, &text);
}

static bool decode_transaction(const struct record *r, struct arena *a, struct dump_texts *out, struct fail *fail)
{
    struct transaction_log_key key;
    struct transaction_log_value value;
    int16_t version = r->key.len >= 2 ? (int16_t)be16_get(r->key.p) : -1;
    transaction_log_key_init(&key);
    transaction_log_value_init(&value);
    *out = (struct dump_texts){.value = STR_NULL};
    if (r->key.len >= 2 && version != 0) {
        out->key = arena_printf(a, "unknown::version=%d", version);
        return true;
    }
    if (!log_message_read(&transaction_log_key_type, NEWEST_TRANSACTION_KEY, r->key, a, &version, &key))
        return fail_set(fail, "The key at offset %" PRId64 " is not that of a transaction", r->offset);
    out->key = arena_printf(a, "transaction_metadata::transactionalId=%.*s", STR_ARGS(key.transactional_id));
    out->value = STR_LIT("<DELETE>");
    if (r->value.p == NULL)
        return true;
    if (!log_message_read(&transaction_log_value_type, NEWEST_TRANSACTION_VALUE, r->value, a, &version, &value) ||
        transaction_state_name(value.transaction_status) == NULL)
        return fail_set(fail, "The value at offset %" PRId64 " is not that of a transaction", r->offset);
    out->value = transaction_text(&value, a);
    return true;
}

/* ---- Texts and numbers ---- */

static bool decode_plain(const struct decoder_name *decoder, struct bytes data, struct arena *a, struct str *out,
                         struct fail *fail)
{
    *out = (struct str){(const char *)data.p, data.len};
    if (decoder->size == 0 || data.p == NULL)
        return true;
    if (data.len < decoder->size)
        return fail_set(fail, "%s needs %" PRId32 " bytes, and there are only %" PRId32, decoder->class_name,
                        decoder->size, data.len);
    int64_t number = decoder->size == 4 ? (int32_t)be32_get(data.p) : (int64_t)be64_get(data.p);
    *out = arena_printf(a, "%" PRId64, number);
    return true;
}

bool dump_decode(const struct dump *d, const struct record *r, struct arena *a, struct dump_texts *out,
                 struct fail *fail)
{
    switch (d->content) {
    case CONTENT_OFFSETS:
        return decode_offsets(r, a, out, fail);
    case CONTENT_TRANSACTIONS:
        return decode_transaction(r, a, out, fail);
    default:
        return decode_plain(&d->key, r->key, a, &out->key, fail) &&
               decode_plain(&d->value, r->value, a, &out->value, fail);
    }
}
