/* Message formatters for the records of internal topics. */
#include <inttypes.h>

#include "protocol/msg/group_metadata_key.h"
#include "protocol/msg/group_metadata_value.h"
#include "protocol/msg/offset_commit_key.h"
#include "protocol/msg/offset_commit_value.h"
#include "protocol/msg/transaction_log_key.h"
#include "protocol/msg/transaction_log_value.h"
#include "tools/clients/formatter.h"
#include "tools/kit/log_messages.h"

static struct bytes topic_formatter_key_of(const rd_kafka_message_t *m)
{
    return (struct bytes){m->key, (int32_t)m->key_len};
}

static struct bytes topic_formatter_value_of(const rd_kafka_message_t *m)
{
    return (struct bytes){m->payload, (int32_t)m->len};
}

/* -1: there is none. */
static int16_t version_of(struct bytes data)
{
    return data.p != NULL && data.len >= 2 ? (int16_t)be16_get(data.p) : -1;
}

/* ---- As JSON: no end of line behind a record, as with Kafka 3.9's ---- */

struct message {
    const struct message_type *type;
    int16_t newest; /* version */
    void *room;
};

/* {"version":..,"data":..}, null for nothing, and "unknown" for the data of a version that is not known. */
static bool to_json(const struct message *m, struct bytes data, struct arena *a, struct str *out)
{
    int16_t version = version_of(data);
    struct str text = STR_LIT("\"unknown\"");
    *out = STR_LIT("null");
    if (data.p == NULL)
        return true;
    if (data.len < 2)
        return false;
    if (version >= 0 && version <= m->newest) {
        message_init(m->type, m->room);
        if (!log_message_read(m->type, m->newest, data, a, &version, m->room))
            return false;
        text = log_message_json(m->type, version, m->room, a);
    }
    *out = arena_printf(a, "{\"version\":%d,\"data\":%.*s}", version, STR_ARGS(text));
    return true;
}

static bool put_json(const struct message *key, const struct message *value, const rd_kafka_message_t *m)
{
    struct arena a = {0};
    struct str key_text, value_text;
    bool ok = to_json(key, topic_formatter_key_of(m), &a, &key_text) &&
              to_json(value, topic_formatter_value_of(m), &a, &value_text);
    if (ok)
        printf("{\"key\":%.*s,\"value\":%.*s}", STR_ARGS(key_text), STR_ARGS(value_text));
    arena_deinit(&a);
    return ok;
}

static bool is_offset_key(struct bytes key)
{
    return version_of(key) >= 0 && version_of(key) <= NEWEST_OFFSET_KEY;
}

static bool is_group_key(struct bytes key)
{
    return version_of(key) > NEWEST_OFFSET_KEY && version_of(key) <= NEWEST_GROUP_KEY;
}

bool format_offsets(const struct formatter *f UNUSED, const rd_kafka_message_t *m)
{
    struct offset_commit_key key;
    struct offset_commit_value value;
    struct message of_key = {&offset_commit_key_type, NEWEST_OFFSET_KEY, &key},
                   of_value = {&offset_commit_value_type, NEWEST_OFFSET_VALUE, &value};
    return is_group_key(topic_formatter_key_of(m)) || put_json(&of_key, &of_value, m);
}

bool format_groups(const struct formatter *f UNUSED, const rd_kafka_message_t *m)
{
    struct group_metadata_key key;
    struct group_metadata_value value;
    struct message of_key = {&group_metadata_key_type, NEWEST_GROUP_KEY, &key},
                   of_value = {&group_metadata_value_type, NEWEST_GROUP_VALUE, &value};
    return is_offset_key(topic_formatter_key_of(m)) || put_json(&of_key, &of_value, m);
}

bool format_transactions(const struct formatter *f UNUSED, const rd_kafka_message_t *m)
{
    struct transaction_log_key key;
    struct transaction_log_value value;
    struct message of_key = {&transaction_log_key_type, NEWEST_TRANSACTION_KEY, &key},
                   of_value = {&transaction_log_value_type, NEWEST_TRANSACTION_VALUE, &value};
    return put_json(&of_key, &of_value, m);
}

/* ---- As text: as Scala prints what the coordinators make of it ---- */

static bool read_into(const struct message *m, struct bytes data, struct arena *a)
{
    int16_t version;
    message_init(m->type, m->room);
    return log_message_read(m->type, m->newest, data, a, &version, m->room);
}

static bool put_offset(const rd_kafka_message_t *m, struct arena *a)
{
    struct offset_commit_key key;
    struct offset_commit_value value;
    if (!read_into(&(struct message){&offset_commit_key_type, NEWEST_OFFSET_KEY, &key}, topic_formatter_key_of(m), a))
        return false;
    if (m->payload != NULL && !read_into(&(struct message){&offset_commit_value_type, NEWEST_OFFSET_VALUE, &value},
                                         topic_formatter_value_of(m), a))
        return false;
    printf("[");
    formatter_put(key.group);
    printf(",%.*s,%" PRId32 "]::", STR_ARGS(key.topic), key.partition);
    if (m->payload == NULL) {
        printf("NULL\n");
        return true;
    }
    printf("OffsetAndMetadata(offset=%" PRId64 ", leaderEpoch=", value.offset);
    printf(value.leader_epoch < 0 ? "Optional.empty" : "Optional[%" PRId32 "]", value.leader_epoch);
    printf(", metadata=");
    formatter_put(value.metadata);
    printf(", commitTimestamp=%" PRId64 ", expireTimestamp=", value.commit_timestamp);
    printf(value.expire_timestamp < 0 ? "None)\n" : "Some(%" PRId64 "))\n", value.expire_timestamp);
    return true;
}

static void put_member(const struct group_metadata_value *group, const struct group_metadata_value_member_metadata *m,
                       int16_t version)
{
    bool named = m->group_instance_id.p != NULL;
    printf("%.*s -> MemberMetadata(memberId=%.*s, groupInstanceId=%s%.*s%s, clientId=%.*s, clientHost=%.*s",
           STR_ARGS(m->member_id), STR_ARGS(m->member_id), named ? "Some(" : "None", STR_ARGS(m->group_instance_id),
           named ? ")" : "", STR_ARGS(m->client_id), STR_ARGS(m->client_host));
    printf(", sessionTimeoutMs=%" PRId32 ", rebalanceTimeoutMs=%" PRId32 ", supportedProtocols=List(%.*s))",
           m->session_timeout, version == 0 ? m->session_timeout : m->rebalance_timeout,
           STR_ARGS(group->protocol.p != NULL ? group->protocol : STR_LIT("null")));
}

static void put_group_value(struct str id, const struct group_metadata_value *v, int16_t version)
{
    bool typed = v->protocol_type.len > 0;
    printf("GroupMetadata(groupId=%.*s, generation=%" PRId32
           ", protocolType=%s%.*s%s, currentState=%s, members=HashMap(",
           STR_ARGS(id), v->generation, typed ? "Some(" : "None", STR_ARGS(v->protocol_type), typed ? ")" : "",
           v->members.len == 0 ? "Empty" : "Stable");
    for (int32_t i = 0; i < v->members.len; i++) {
        printf("%s", i > 0 ? ", " : "");
        put_member(v, &v->members.items[i], version);
    }
    printf("))\n");
}

static bool put_group(const rd_kafka_message_t *m, struct arena *a)
{
    struct group_metadata_key key;
    struct group_metadata_value value;
    if (!read_into(&(struct message){&group_metadata_key_type, NEWEST_GROUP_KEY, &key}, topic_formatter_key_of(m), a))
        return false;
    if (m->payload != NULL && !read_into(&(struct message){&group_metadata_value_type, NEWEST_GROUP_VALUE, &value},
                                         topic_formatter_value_of(m), a))
        return false;
    formatter_put(key.group);
    printf("::");
    if (m->payload == NULL)
        printf("NULL\n");
    else
        put_group_value(key.group, &value, version_of(topic_formatter_value_of(m)));
    return true;
}

static void put_transaction_value(struct str id, const struct transaction_log_value *v)
{
    const char *comma = "";
    printf("TransactionMetadata(transactionalId=%.*s, producerId=%" PRId64 ", producerEpoch=%d, txnTimeoutMs=%" PRId32
           ", state=%s, pendingState=None, topicPartitions=HashSet(",
           STR_ARGS(id), v->producer_id, v->producer_epoch, v->transaction_timeout_ms,
           transaction_state_name(v->transaction_status));
    for (int32_t i = 0; v->transaction_status != 0 && i < v->transaction_partitions.len; i++)
        for (int32_t k = 0; k < v->transaction_partitions.items[i].partition_ids.len; k++) {
            printf("%s%.*s-%" PRId32, comma, STR_ARGS(v->transaction_partitions.items[i].topic),
                   v->transaction_partitions.items[i].partition_ids.items[k]);
            comma = ", ";
        }
    printf("), txnStartTimestamp=%" PRId64 ", txnLastUpdateTimestamp=%" PRId64 ")\n", v->transaction_start_timestamp_ms,
           v->transaction_last_update_timestamp_ms);
}

static bool put_transaction(const rd_kafka_message_t *m, struct arena *a)
{
    struct transaction_log_key key;
    struct transaction_log_value value;
    if (version_of(topic_formatter_key_of(m)) > NEWEST_TRANSACTION_KEY) {
        printf("unknown::version=%d\n", version_of(topic_formatter_key_of(m)));
        return true;
    }
    if (!read_into(&(struct message){&transaction_log_key_type, NEWEST_TRANSACTION_KEY, &key},
                   topic_formatter_key_of(m), a))
        return false;
    if (m->payload != NULL &&
        (!read_into(&(struct message){&transaction_log_value_type, NEWEST_TRANSACTION_VALUE, &value},
                    topic_formatter_value_of(m), a) ||
         transaction_state_name(value.transaction_status) == NULL))
        return false;
    formatter_put(key.transactional_id);
    printf("::");
    if (m->payload == NULL)
        printf("NULL\n");
    else
        put_transaction_value(key.transactional_id, &value);
    return true;
}

static bool put_text(const rd_kafka_message_t *m, bool (*put)(const rd_kafka_message_t *m, struct arena *a))
{
    struct arena a = {0};
    bool ok = put(m, &a);
    arena_deinit(&a);
    return ok;
}

/* Records of other kinds, and those without a key, are left out. */
bool format_offsets_as_text(const struct formatter *f UNUSED, const rd_kafka_message_t *m)
{
    return !is_offset_key(topic_formatter_key_of(m)) || put_text(m, put_offset);
}

bool format_groups_as_text(const struct formatter *f UNUSED, const rd_kafka_message_t *m)
{
    return !is_group_key(topic_formatter_key_of(m)) || put_text(m, put_group);
}

bool format_transactions_as_text(const struct formatter *f UNUSED, const rd_kafka_message_t *m)
{
    return m->key == NULL || put_text(m, put_transaction);
}
