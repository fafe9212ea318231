/*
 * What a producer has sent becomes what a log appends, by the rules of Kafka's LogValidator:
 *
 *     survey     each batch's header, size and checksum, before any record is looked at
 *     walk       each record: its key, its timestamp, and that offsets are 0, 1, 2...
 *     in place   a v2 batch in the codec that is wanted stays as it is, but for its latest timestamp
 *     rebuild    of all else one v2 batch is made: of old formats, of another codec, of gaps between offsets
 */
#include "base/clock.h"
#include "record/record_internal.h"

/* Faulty records are reported one by one, but nobody needs to hear of a thousand. */
enum { MAX_REPORTED = 100 };
/* What has to be rebuilt is decompressed whole; a batch that unfolds to more than this is refused. */
enum { LARGEST_CONVERSION = 256 << 20 };
/* To write a record anew takes as long as to look at so many. */
enum { COMPRESSION_COST = 16 };

struct preparation {
    const struct record_rules *rules;
    struct arena *arena;
    struct prepared *out;
    int64_t now;
    uint8_t *in;
    int32_t len; /* valid bytes: a batch cut off at the end does not count */
    struct batch first;
    int batches;
    enum codec source, target;
    int64_t max_timestamp;
    struct batch_builder *builder; /* NULL: in place */
    int64_t count, refused;        /* records so far */
    bool offsets_consecutive;
};

static enum kafka_error prepare_refuse(struct preparation *p, enum kafka_error error, struct str why)
{
    p->out->message = why;
    return error;
}

#define REFUSE(p, error, ...) prepare_refuse((p), (error), arena_printf((p)->arena, __VA_ARGS__))
/* The same, of a kind that is counted. */
#define REFUSE_FOR(p, what, error, ...) ((p)->out->flaw = (what), REFUSE((p), (error), __VA_ARGS__))

/* Whether so many bytes may still be looked at. */
static bool may_look_at(struct preparation *p, int64_t bytes)
{
    int64_t *budget = p->rules->budget;
    if (budget == NULL || (*budget -= bytes) >= 0)
        return true;
    p->out->too_long = true;
    return false;
}

/* What the header of a batch must satisfy whatever its origin. */
static enum kafka_error check_sizes(struct preparation *p, const struct batch *b)
{
    if (b->magic == 2 && p->rules->from_client && b->base_offset != 0)
        return REFUSE_FOR(p, FLAW_OFFSET_OR_SEQUENCE, ERR_INVALID_RECORD,
                          "The base offset of a batch to append should be 0, but it is %lld",
                          (long long)b->base_offset);
    if (b->size > p->rules->max_batch_size)
        return REFUSE(p, ERR_MESSAGE_TOO_LARGE,
                      "The record batch size in the append is %d bytes which exceeds the maximum "
                      "configured value of %d.",
                      b->size, p->rules->max_batch_size);
    if (!batch_crc_ok(b))
        return REFUSE_FOR(p, FLAW_CRC, ERR_CORRUPT_MESSAGE, "Record is corrupt (the checksum does not match)");
    return ERR_NONE;
}

static enum kafka_error check_client_batch(struct preparation *p, const struct batch *b)
{
    if (b->magic == 2) {
        int64_t range = b->last_offset - b->base_offset + 1;
        if (range <= 0 || b->count <= 0 || range != b->count)
            return REFUSE_FOR(p, FLAW_OFFSET_OR_SEQUENCE, ERR_INVALID_RECORD,
                              "Inconsistent batch: offset range [%lld, %lld] and %d records", (long long)b->base_offset,
                              (long long)b->last_offset, b->count);
    }
    if (batch_is_control(b))
        return REFUSE(p, ERR_INVALID_RECORD, "Clients are not allowed to write control records");
    if (batch_has_producer(b) && b->base_sequence < 0)
        return REFUSE_FOR(p, FLAW_OFFSET_OR_SEQUENCE, ERR_INVALID_RECORD,
                          "Invalid sequence number %d in record batch with producer id %lld", b->base_sequence,
                          (long long)b->producer_id);
    return ERR_NONE;
}

static enum kafka_error check_batch(struct preparation *p, const struct batch *b)
{
    enum kafka_error error = check_sizes(p, b);
    if (error != ERR_NONE)
        return error;
    if (batch_codec(b) >= CODEC_COUNT)
        return REFUSE(p, ERR_INVALID_RECORD, "Unknown compression type id: %d", (int)batch_codec(b));
    if (b->magic != p->first.magic)
        return REFUSE_FOR(p, FLAW_MAGIC, ERR_INVALID_RECORD, "Batch magic %d is not the first batch's magic %d",
                          b->magic, p->first.magic);
    if (p->rules->from_client)
        return check_client_batch(p, b);
    return ERR_NONE;
}

/* Looks at every header, so that nothing is converted before all of them are found good. */
static enum kafka_error prepare_survey(struct preparation *p, int32_t len)
{
    struct bytes rest = {p->in, len};
    struct batch b;
    enum batch_result result;
    p->source = CODEC_NONE;
    while ((result = batch_next(&rest, &b)) == BATCH_OK) {
        if (p->batches++ == 0)
            p->first = b;
        enum kafka_error error = check_batch(p, &b);
        if (error != ERR_NONE)
            return error;
        if (batch_codec(&b) != CODEC_NONE)
            p->source = batch_codec(&b);
    }
    if (result == BATCH_CORRUPT)
        return REFUSE(p, ERR_CORRUPT_MESSAGE, "Record batch header is corrupt");
    p->len = len - rest.len;
    if (p->batches == 0)
        return REFUSE(p, ERR_INVALID_RECORD, "Record batch has no batches at all");
    if (p->batches > 1 && (p->first.magic == 2 || p->source != CODEC_NONE))
        return REFUSE(p, ERR_INVALID_RECORD, "Compressed outer record has more than one batch");
    return ERR_NONE;
}

/* Whether the record is one of the first that are refused, which are told why. */
static bool is_told(struct preparation *p)
{
    struct prepared *out = p->out;
    if (out->errors == NULL)
        out->errors = ARENA_ARRAY(p->arena, struct record_error, MAX_REPORTED);
    return out->error_count < MAX_REPORTED;
}

/* There may be millions of them: a text is made for who reads it only. */
#define BLAME(p, index, ...)                                                           \
    do {                                                                               \
        if (is_told(p))                                                                \
            (p)->out->errors[(p)->out->error_count++] =                                \
                (struct record_error){(index), arena_printf((p)->arena, __VA_ARGS__)}; \
    } while (0)

static bool timestamp_out_of_range(const struct preparation *p, int64_t timestamp)
{
    int64_t age;
    if (__builtin_sub_overflow(p->now, timestamp, &age))
        return true;
    return age > p->rules->before_max_ms || (age < 0 && -age > p->rules->after_max_ms);
}

static enum kafka_error check_record(struct preparation *p, const struct batch *b, const struct record *r,
                                     int32_t index)
{
    if (p->rules->compacted && r->key.p == NULL) {
        BLAME(p, index, "Compacted topic cannot accept message without key in topic partition %s-%d", p->rules->topic,
              p->rules->partition);
        p->out->flaw = FLAW_NO_KEY;
        p->out->keyless++;
        return ERR_INVALID_RECORD;
    }
    if (b->magic < 2 && r->timestamp < NO_TIMESTAMP) { /* nobody could read it again */
        BLAME(p, index, "Invalid message timestamp %lld", (long long)r->timestamp);
        return ERR_INVALID_TIMESTAMP;
    }
    if (!p->rules->log_append_time && r->timestamp != NO_TIMESTAMP) {
        if (timestamp_out_of_range(p, r->timestamp)) {
            BLAME(p, index,
                  "Timestamp %lld of message with offset %lld is out of range. The "
                  "timestamp should be within [%lld, %lld]",
                  (long long)r->timestamp, (long long)r->offset,
                  (long long)(p->now - MIN(p->rules->before_max_ms, p->now)),
                  (long long)(p->now + MIN(p->rules->after_max_ms, INT64_MAX - p->now)));
            return ERR_INVALID_TIMESTAMP;
        }
    } else if (b->attributes & ATTR_LOG_APPEND_TIME) {
        BLAME(p, index,
              "Invalid timestamp type in message DefaultRecord(offset=%lld, timestamp=%lld, key=%d bytes, "
              "value=%d bytes). Producer should not set timestamp type to LogAppendTime.",
              (long long)r->offset, (long long)r->timestamp, r->key.len, r->value.len);
        return ERR_INVALID_TIMESTAMP;
    }
    return ERR_NONE;
}

static void keep_record(struct preparation *p, const struct record *r)
{
    p->max_timestamp = MAX(p->max_timestamp, r->timestamp);
    if (p->builder == NULL)
        return;
    struct record moved = *r;
    moved.offset = p->count;
    if (p->rules->log_append_time)
        moved.timestamp = p->now;
    batch_builder_add(p->builder, &moved);
}

static struct str tell_of_refused(const struct preparation *p, enum kafka_error error)
{
    enum { SHOWN = 3 };
    struct str text = STR_NULL;
    if (error == ERR_INVALID_TIMESTAMP)
        return STR_LIT("One or more records have been rejected due to invalid timestamp");
    for (int32_t i = 0; i < MIN(p->out->error_count, SHOWN); i++)
        text = arena_printf(p->arena, "%.*s%sRecordError(batchIndex=%d, message='%.*s')", STR_ARGS(text),
                            i > 0 ? ", " : "", p->out->errors[i].index, STR_ARGS(p->out->errors[i].message));
    return arena_printf(p->arena,
                        "One or more records have been rejected due to %lld record errors in total, and only showing "
                        "the first three errors at most: [%.*s]",
                        (long long)p->refused, STR_ARGS(text));
}

static enum kafka_error walk_batch(struct preparation *p, const struct batch *b)
{
    bool skipping = p->builder == NULL && b->magic == 2;
    struct arena scratch;
    /* What is wrapped in an old format unfolds before anybody could say that it is too much. */
    p->out->too_long |= p->rules->budget != NULL && b->magic < 2 && batch_codec(b) != CODEC_NONE;
    if (!may_look_at(p, b->size) || p->out->too_long)
        return ERR_INVALID_RECORD;
    arena_init(&scratch, LARGEST_CONVERSION);
    struct record_iter *it = skipping ? record_iter_new_skipping(b, &scratch) : record_iter_new(b, &scratch);
    enum kafka_error error = ERR_NONE;
    struct record r;
    int rc;
    record_iter_limit(it, p->rules->budget);
    for (int32_t index = 0; (rc = record_iter_next(it, &r)) > 0; index++, p->count++) {
        enum kafka_error e = check_record(p, b, &r, index);
        p->refused += e != ERR_NONE;
        if (error == ERR_NONE || e == ERR_INVALID_TIMESTAMP)
            error = e;
        if (b->magic == 2 && r.offset != wrapping_add(b->base_offset, index))
            p->offsets_consecutive = false;
        if (error == ERR_NONE)
            keep_record(p, &r);
    }
    if (batch_codec(b) != CODEC_NONE)
        p->out->unfolded += BATCH_HEADER_SIZE + record_iter_unfolded(it);
    else if (p->target != CODEC_NONE)
        p->out->unfolded += b->size;
    record_iter_free(it);
    arena_deinit(&scratch);
    if (!may_look_at(p, 0))
        return ERR_INVALID_RECORD;
    if (error != ERR_NONE)
        return prepare_refuse(p, error, tell_of_refused(p, error));
    if (rc < 0) {
        /* A v2 batch passed its CRC, so that its producer made it wrong; old wrappers hold CRCs of their own. */
        return REFUSE(p, b->magic == 2 ? ERR_INVALID_RECORD : ERR_CORRUPT_MESSAGE,
                      "The records inside the batch are malformed");
    }
    return ERR_NONE;
}

static enum kafka_error walk(struct preparation *p)
{
    struct bytes rest = {p->in, p->len};
    struct batch b;
    p->count = 0;
    p->out->unfolded = 0;
    p->max_timestamp = NO_TIMESTAMP;
    p->offsets_consecutive = true;
    while (batch_next(&rest, &b) == BATCH_OK) {
        enum kafka_error error = walk_batch(p, &b);
        if (error != ERR_NONE)
            return error;
    }
    if (p->count > INT32_MAX)
        return REFUSE(p, ERR_INVALID_RECORD, "Too many records");
    return ERR_NONE;
}

static void finish_in_place(struct preparation *p)
{
    bool stamp = p->rules->log_append_time;
    struct prepared *out = p->out;
    ensure(p->first.magic == 2 && p->batches == 1 && p->builder == NULL);
    ensure(p->count == p->first.count); /* as the walk has found each record that the header tells of */
    if (!batch_is_control(&p->first))
        batch_set_max_timestamp(p->in, stamp, stamp ? p->now : p->max_timestamp);
    out->bytes = (struct bytes){p->in, p->len};
    out->offsets = (int32_t)(p->first.last_offset - p->first.base_offset) + 1;
}

static enum kafka_error rebuild(struct preparation *p)
{
    int16_t attributes = (int16_t)(p->first.attributes & ATTR_TRANSACTIONAL & (p->first.magic == 2 ? -1 : 0));
    attributes = (int16_t)(attributes | (int)p->target | (p->rules->log_append_time ? ATTR_LOG_APPEND_TIME : 0));
    struct batch_builder builder;
    struct strbuf built = {0};
    int64_t begun_us = clock_mono_us();
    ensure(p->builder == NULL);
    if (!may_look_at(p, (int64_t)p->len * COMPRESSION_COST))
        return ERR_INVALID_RECORD;
    batch_builder_init(&builder, attributes);
    builder.head.producer_id = p->first.producer_id;
    builder.head.producer_epoch = p->first.producer_epoch;
    builder.head.base_sequence = p->first.base_sequence;
    p->builder = &builder;
    enum kafka_error error = walk(p);
    ensure(error != ERR_NONE || builder.head.count == p->count);
    if (error == ERR_NONE && !batch_builder_finish(&builder, p->rules->level, &built))
        error = REFUSE(p, ERR_UNKNOWN_SERVER_ERROR, "The records could not be compressed");
    if (error == ERR_NONE) {
        p->out->bytes.p = arena_copy(p->arena, built.p, built.len);
        p->out->bytes.len = (int32_t)built.len;
        p->out->offsets = builder.head.count;
        p->out->converted = true;
        p->out->unfolded += (int64_t)batch_builder_size(&builder);
        p->out->rebuild_us = clock_mono_us() - begun_us;
    }
    strbuf_deinit(&built);
    batch_builder_deinit(&builder);
    p->builder = NULL;
    return error;
}

static bool fits_in_place(const struct preparation *p)
{
    if (p->first.magic != 2)
        return false;
    return p->source == p->target || (p->source == CODEC_NONE && batch_is_control(&p->first));
}

enum kafka_error records_prepare(uint8_t *in, int32_t len, const struct record_rules *rules, int64_t now,
                                 struct arena *a, struct prepared *out)
{
    struct preparation p = {.rules = rules, .arena = a, .out = out, .now = now, .in = in};
    *out = (struct prepared){.append_time = rules->log_append_time ? now : NO_TIMESTAMP,
                             .received = len,
                             .by_coordinator = !rules->from_client};
    enum kafka_error error = prepare_survey(&p, len);
    if (error != ERR_NONE)
        return error;
    p.target = rules->keep_codec ? p.source : rules->codec;
    if (!fits_in_place(&p)) {
        error = rebuild(&p);
    } else {
        error = walk(&p);
        if (error == ERR_NONE && p.offsets_consecutive)
            finish_in_place(&p);
        else if (error == ERR_NONE)
            error = rebuild(&p);
    }
    ensure(error != ERR_NONE || (out->bytes.len > 0 && out->offsets > 0));
    if (error == ERR_NONE && out->converted && out->bytes.len > rules->max_batch_size)
        return REFUSE(&p, ERR_MESSAGE_TOO_LARGE,
                      "Message batch size is %d bytes in append to partition which exceeds the maximum "
                      "configured size of %d.",
                      out->bytes.len, rules->max_batch_size);
    return error;
}
