/*
 * ListOffsets (KIP-79, KIP-207, KIP-734) and OffsetForLeaderEpoch (KIP-101, KIP-320).
 *
 *     -1              the end, as far as who asks may read: last stable offset, high watermark, or all for a replica
 *     -2, -4          where the log begins; -4 is what of it is on this broker, which is all, as nothing is tiered
 *     -3              of the record with the latest time
 *     -5              of the last record that is tiered: there is none
 *     0 and above     of the first record of that time or later
 *
 * To find a record by its time, segments are read: a worker does that. All else is known.
 */
#include "protocol/msg/list_offsets.h"

#include "protocol/msg/offset_for_leader_epoch.h"
#include "server/authorize.h"

enum { CONSUMER = -1 }; /* in the place of a replica */
enum { NOT_AVAILABLE_SINCE = 5 };
enum { LATEST = -1, EARLIEST = -2, MAX_TIMESTAMP = -3, EARLIEST_LOCAL = -4, LATEST_TIERED = -5 };

struct offsets_state {
    struct list_offsets_request request;
    struct list_offsets_response response;
};

static int64_t latest_for(const struct request *r, const struct list_offsets_request *request, struct partition *p)
{
    enum isolation isolation = r->version >= 2 && request->isolation_level == 1 ? READ_COMMITTED : READ_UNCOMMITTED;
    return partition_readable_end(p, isolation, request->replica_id);
}

/*
 * A leader that has just been elected does not know yet how far its predecessor's watermark was: until its own has
 * passed where its epoch begins, a consumer would see the end go back (KIP-207).
 */
static enum kafka_error why_not_yet(const struct request *r, const struct list_offsets_request *request,
                                    struct partition *p)
{
    if (request->replica_id != CONSUMER || partition_knows_watermark(p))
        return ERR_NONE;
    return r->version >= NOT_AVAILABLE_SINCE ? ERR_OFFSET_NOT_AVAILABLE : ERR_LEADER_NOT_AVAILABLE;
}

static void list_offsets_tell(struct partition *p, struct list_offsets_partition_response *out, int64_t offset,
                              int64_t timestamp)
{
    out->offset = offset;
    out->timestamp = timestamp;
    out->leader_epoch =
        offset >= 0 ? plog_epoch_of(partition_log(p), MAX(offset - (timestamp == NO_TIMESTAMP), (int64_t)0)) : -1;
}

static enum kafka_error list_offsets_latest(const struct request *r, const struct list_offsets_request *request,
                                            struct partition *p, struct list_offsets_partition_response *out)
{
    enum kafka_error error = why_not_yet(r, request, p);
    if (error == ERR_NONE)
        list_offsets_tell(p, out, latest_for(r, request, p), NO_TIMESTAMP);
    if (error == ERR_NONE && request->replica_id == CONSUMER)
        out->leader_epoch = partition_leader_epoch(p); /* of what comes there next */
    return error;
}

static enum kafka_error by_time(const struct request *r, const struct list_offsets_request *request,
                                struct partition *p, int64_t timestamp, struct list_offsets_partition_response *out)
{
    struct timestamp_offset found;
    enum kafka_error error = timestamp == MAX_TIMESTAMP ? plog_offset_of_max_time(partition_log(p), &found)
                                                        : plog_offset_for_time(partition_log(p), timestamp, &found);
    if (error != ERR_NONE)
        return error;
    if (found.offset < 0 || found.offset >= latest_for(r, request, p))
        return why_not_yet(r, request, p);
    out->offset = found.offset;
    out->timestamp = found.timestamp;
    out->leader_epoch = found.leader_epoch;
    return ERR_NONE;
}

static enum kafka_error list_offsets_find_offset(const struct request *r, const struct list_offsets_request *request,
                                                 struct partition *p, const struct list_offsets_partition *in,
                                                 struct list_offsets_partition_response *out)
{
    switch (in->timestamp) {
    case LATEST:
        return list_offsets_latest(r, request, p, out);
    case EARLIEST:
    case EARLIEST_LOCAL:
        out->offset = plog_start_offset(partition_log(p));
        out->leader_epoch = plog_epoch_of(partition_log(p), out->offset);
        return ERR_NONE;
    case LATEST_TIERED:
        return ERR_NONE; /* nothing is tiered */
    default:
        return by_time(r, request, p, in->timestamp, out);
    }
}

/* The first version that may ask for that. */
static int16_t asked_since(int64_t timestamp)
{
    switch (timestamp) {
    case LATEST:
    case EARLIEST:
        return 0;
    case MAX_TIMESTAMP:
        return 7;
    case EARLIEST_LOCAL:
        return 8;
    case LATEST_TIERED:
        return 9;
    default:
        return timestamp < 0 ? INT16_MAX : 0;
    }
}

/* What cannot be asked, wherever the partition is. */
static enum kafka_error check_asked(const struct request *r, const struct list_offsets_request *request,
                                    const struct list_offsets_partition *in)
{
    bool isolated = request->isolation_level == READ_UNCOMMITTED || request->isolation_level == READ_COMMITTED;
    if (r->version < asked_since(in->timestamp))
        return ERR_UNSUPPORTED_VERSION;
    return r->version >= 2 && request->replica_id == CONSUMER && !isolated ? ERR_UNKNOWN_SERVER_ERROR : ERR_NONE;
}

/* Version 0 gives a list of offsets, newest first, and knows segments only. */
static void old_style(struct request *r, struct partition *p, const struct list_offsets_partition *in,
                      struct list_offsets_partition_response *out)
{
    int64_t *found, high_watermark = plog_high_watermark(partition_log(p));
    int32_t n = plog_segment_offsets(partition_log(p), in->timestamp, in->max_num_offsets, r->arena, &found);
    out->old_style_offsets.items = found;
    out->old_style_offsets.len = n;
    for (int32_t i = 0; i < n; i++) /* nothing above what may be read */
        found[i] = MIN(found[i], high_watermark);
    out->offset = -1;
}

static void list_offsets_list_one(struct request *r, struct str topic, const struct list_offsets_partition *in,
                                  struct list_offsets_partition_response *out)
{
    struct offsets_state *st = r->state;
    enum kafka_error asked = check_asked(r, &st->request, in);
    if (out->error_code == ERR_INVALID_REQUEST || out->error_code == ERR_TOPIC_AUTHORIZATION_FAILED)
        return; /* it is named twice, or denied */
    if (asked != ERR_NONE) {
        out->error_code = asked;
        return;
    }
    struct partition *p = replica_partition(r->s->replicas, topic, in->partition_index);
    if (p == NULL)
        return; /* the error is there already */
    out->error_code = partition_check_leader(p, in->current_leader_epoch);
    if (out->error_code == ERR_NONE && r->version == 0 && in->max_num_offsets < 0)
        out->error_code = ERR_UNKNOWN_SERVER_ERROR;
    else if (out->error_code == ERR_NONE && r->version == 0)
        old_style(r, p, in, out);
    else if (out->error_code == ERR_NONE)
        out->error_code = list_offsets_find_offset(r, &st->request, p, in, out);
    partition_unref(p);
}

static void list_offsets_list_all(struct request *r)
{
    struct offsets_state *st = r->state;
    for (int32_t t = 0; t < st->request.topics.len; t++)
        for (int32_t i = 0; i < st->request.topics.items[t].partitions.len && !request_is_spent(r); i++)
            list_offsets_list_one(r, st->request.topics.items[t].name, &st->request.topics.items[t].partitions.items[i],
                                  &st->response.topics.items[t].partitions.items[i]);
}

static void list_offsets_answer(struct request *r)
{
    struct offsets_state *st = r->state;
    ANSWER(r, list_offsets_response, &st->response);
}

/* One answer is all that there can be for a partition, and it is not known which. */
static void list_offsets_refuse_repeated(struct request *r, struct offsets_state *st)
{
    struct named_partition *names;
    int32_t count, n = 0;
    if (r->version == 0)
        return; /* which answers each */
    LIST_NAMED(r->arena, st->request.topics, TOPIC_NAME, partitions, PARTITION_INDEX, names, count);
    const bool *twice = named_twice(r->arena, names, count);
    for (int32_t t = 0; t < st->response.topics.len; t++)
        for (int32_t i = 0; i < st->response.topics.items[t].partitions.len; i++)
            if (twice[n++])
                st->response.topics.items[t].partitions.items[i].error_code = ERR_INVALID_REQUEST;
}

static void list_offsets_refuse_denied(struct request *r, struct offsets_state *st)
{
    for (int32_t t = 0; t < st->response.topics.len; t++) {
        struct list_offsets_topic_response *out = &st->response.topics.items[t];
        bool denied = !allowed_topic(r, ACL_DESCRIBE, out->name, out->partitions.len);
        for (int32_t i = 0; denied && i < out->partitions.len; i++)
            out->partitions.items[i].error_code = ERR_TOPIC_AUTHORIZATION_FAILED;
    }
}

/* Makes room for the answers. Returns whether any of them needs the log's content. */
static bool list_offsets_prepare(struct request *r, struct offsets_state *st)
{
    bool reads = false;
    list_offsets_response_init(&st->response);
    ARRAY_MAKE(r->arena, st->response.topics, MAX(st->request.topics.len, 0));
    for (int32_t t = 0; t < st->request.topics.len; t++) {
        const struct list_offsets_topic *in = &st->request.topics.items[t];
        struct list_offsets_topic_response *out = &st->response.topics.items[t];
        list_offsets_topic_response_init(out);
        out->name = in->name;
        ARRAY_MAKE(r->arena, out->partitions, MAX(in->partitions.len, 0));
        for (int32_t i = 0; i < in->partitions.len; i++) {
            struct list_offsets_partition_response *o = &out->partitions.items[i];
            list_offsets_partition_response_init(o);
            o->partition_index = in->partitions.items[i].partition_index;
            o->error_code = partition_missing(r->s, in->name, o->partition_index);
            int64_t timestamp = in->partitions.items[i].timestamp;
            reads |= timestamp >= 0 || timestamp == MAX_TIMESTAMP;
        }
    }
    list_offsets_refuse_repeated(r, st);
    list_offsets_refuse_denied(r, st);
    return reads;
}

static void handle_list_offsets(struct request *r)
{
    struct offsets_state *st = ARENA_NEW(r->arena, struct offsets_state);
    if (!DECODE(r, list_offsets_request, &st->request))
        return;
    r->state = st;
    if (list_offsets_prepare(r, st)) {
        request_disk_work(r, list_offsets_list_all, list_offsets_answer);
        return;
    }
    list_offsets_list_all(r);
    list_offsets_answer(r);
}

const struct api_entry api_list_offsets = {.key = API_LIST_OFFSETS, .min = 0, .max = 9, .handle = handle_list_offsets};

/* ---- OffsetForLeaderEpoch ---- */

static void end_of_epoch(struct request *r, struct str topic, bool denied,
                         const struct offset_for_leader_epoch_offset_for_leader_partition *in,
                         struct offset_for_leader_epoch_epoch_end_offset *out)
{
    offset_for_leader_epoch_epoch_end_offset_init(out);
    out->partition = in->partition;
    if (denied) {
        out->error_code = ERR_TOPIC_AUTHORIZATION_FAILED;
        return;
    }
    struct partition *p = replica_partition(r->s->replicas, topic, in->partition);
    out->error_code = (int16_t)(p == NULL ? partition_missing(r->s, topic, in->partition)
                                          : partition_check_leader(p, in->current_leader_epoch));
    if (out->error_code == ERR_NONE)
        plog_epoch_end(partition_log(p), in->leader_epoch, &out->leader_epoch, &out->end_offset);
    partition_unref(p);
}

static void handle_leader_epoch(struct request *r)
{
    struct offset_for_leader_epoch_request request;
    struct offset_for_leader_epoch_response response;
    if (!DECODE(r, offset_for_leader_epoch_request, &request))
        return;
    offset_for_leader_epoch_response_init(&response);
    bool broker = allowed_cluster_quietly(r, ACL_CLUSTER_ACTION);
    ARRAY_MAKE(r->arena, response.topics, MAX(request.topics.len, 0));
    for (int32_t t = 0; t < request.topics.len; t++) {
        const struct offset_for_leader_epoch_offset_for_leader_topic *in = &request.topics.items[t];
        struct offset_for_leader_epoch_offset_for_leader_topic_result *out = &response.topics.items[t];
        offset_for_leader_epoch_offset_for_leader_topic_result_init(out);
        out->topic = in->topic;
        ARRAY_MAKE(r->arena, out->partitions, MAX(in->partitions.len, 0));
        bool denied = !broker && !allowed_topic(r, ACL_DESCRIBE, in->topic, in->partitions.len);
        for (int32_t i = 0; i < in->partitions.len; i++)
            end_of_epoch(r, in->topic, denied, &in->partitions.items[i], &out->partitions.items[i]);
    }
    ANSWER(r, offset_for_leader_epoch_response, &response);
}

const struct api_entry api_offset_for_leader_epoch = {
    .key = API_OFFSET_FOR_LEADER_EPOCH, .min = 0, .max = 4, .handle = handle_leader_epoch};
