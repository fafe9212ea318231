#include <zlib.h>

#include "base/crc32c.h"
#include "record/record.h"
#include "record/record_internal.h"

/* Where the fields of a v2 batch lie. */
enum {
    AT_OFFSET = 0,
    AT_LENGTH = 8,
    AT_LEADER_EPOCH = 12,
    AT_CRC = 17,
    AT_ATTRIBUTES = 21,
    AT_LAST_OFFSET_DELTA = 23,
    AT_BASE_TIMESTAMP = 27,
    AT_MAX_TIMESTAMP = 35,
    AT_PRODUCER_ID = 43,
    AT_PRODUCER_EPOCH = 51,
    AT_BASE_SEQUENCE = 53,
    AT_COUNT = 57,
};

/* And those of a v0 or v1 message, behind the same offset and length. */
enum { AT_V0_CRC = 12, AT_V0_ATTRIBUTES = 17, AT_V1_TIMESTAMP = 18 };

_Static_assert(AT_LENGTH + 4 == LOG_OVERHEAD, "the length counts from behind itself");
_Static_assert(AT_LEADER_EPOCH + 4 == BATCH_MAGIC_AT && AT_V0_CRC + 4 == BATCH_MAGIC_AT, "the magic is in one place");
_Static_assert(AT_CRC + 4 == AT_ATTRIBUTES, "the CRC is of what follows it");
_Static_assert(AT_COUNT + 4 == BATCH_HEADER_SIZE, "the records follow their count");
_Static_assert(AT_V1_TIMESTAMP + 8 + 4 + 4 == MESSAGE_V1_OVERHEAD, "lengths of key and value come last");
_Static_assert(MESSAGE_V0_OVERHEAD + 8 == MESSAGE_V1_OVERHEAD, "v1 has a timestamp more");

int32_t batch_last_sequence(const struct batch *b)
{
    if (b->base_sequence == NO_SEQUENCE)
        return NO_SEQUENCE;
    int64_t last = (int64_t)b->base_sequence + (b->last_offset - b->base_offset);
    return (int32_t)(last > INT32_MAX ? last - INT32_MAX - 1 : last);
}

/* False when its offsets cannot be. */
static bool parse_v2(const uint8_t *p, struct batch *out)
{
    out->leader_epoch = (int32_t)be32_get(p + AT_LEADER_EPOCH);
    out->attributes = (int16_t)be16_get(p + AT_ATTRIBUTES);
    out->base_timestamp = (int64_t)be64_get(p + AT_BASE_TIMESTAMP);
    out->max_timestamp = (int64_t)be64_get(p + AT_MAX_TIMESTAMP);
    out->producer_id = (int64_t)be64_get(p + AT_PRODUCER_ID);
    out->producer_epoch = (int16_t)be16_get(p + AT_PRODUCER_EPOCH);
    out->base_sequence = (int32_t)be32_get(p + AT_BASE_SEQUENCE);
    out->count = (int32_t)be32_get(p + AT_COUNT);
    return !__builtin_add_overflow(out->base_offset, (int32_t)be32_get(p + AT_LAST_OFFSET_DELTA), &out->last_offset);
}

static void parse_legacy(const uint8_t *p, struct batch *out)
{
    int64_t timestamp = out->magic == 1 ? (int64_t)be64_get(p + AT_V1_TIMESTAMP) : NO_TIMESTAMP;
    out->attributes = (int8_t)p[AT_V0_ATTRIBUTES] & (ATTR_CODEC_MASK | ATTR_LOG_APPEND_TIME);
    out->last_offset = out->base_offset;
    out->base_timestamp = out->max_timestamp = timestamp;
    out->producer_id = NO_PRODUCER_ID;
    out->producer_epoch = NO_PRODUCER_EPOCH;
    out->base_sequence = NO_SEQUENCE;
    out->leader_epoch = NO_LEADER_EPOCH;
    out->count = 1;
}

static int32_t smallest_size(int8_t magic)
{
    ensure(magic >= 0 && magic <= 2);
    static const int32_t sizes[] = {MESSAGE_V0_OVERHEAD, MESSAGE_V1_OVERHEAD, BATCH_HEADER_SIZE};
    return sizes[magic];
}

enum batch_result batch_peek(struct bytes head, struct batch *out)
{
    if (head.len <= 0)
        return BATCH_END;
    if (head.len < LOG_OVERHEAD)
        return BATCH_INCOMPLETE;
    int32_t length = (int32_t)be32_get(head.p + AT_LENGTH);
    if (length < MESSAGE_V0_OVERHEAD - LOG_OVERHEAD || length > INT32_MAX - LOG_OVERHEAD)
        return BATCH_CORRUPT;
    if (head.len <= BATCH_MAGIC_AT)
        return BATCH_INCOMPLETE;
    int8_t magic = (int8_t)head.p[BATCH_MAGIC_AT];
    if (magic < 0 || magic > 2 || length + LOG_OVERHEAD < smallest_size(magic))
        return BATCH_CORRUPT;
    if (head.len < smallest_size(magic))
        return BATCH_INCOMPLETE;
    *out = (struct batch){.p = head.p, .size = length + LOG_OVERHEAD, .magic = magic};
    out->base_offset = (int64_t)be64_get(head.p + AT_OFFSET);
    if (magic == 2)
        return parse_v2(head.p, out) ? BATCH_OK : BATCH_CORRUPT;
    parse_legacy(head.p, out);
    return BATCH_OK;
}

struct str batch_problem(struct arena *a, struct bytes head)
{
    enum { LEAST = MESSAGE_V0_OVERHEAD - LOG_OVERHEAD };
    ensure(head.len >= LOG_OVERHEAD);
    int32_t length = (int32_t)be32_get(head.p + AT_LENGTH);
    int magic = head.len > BATCH_MAGIC_AT ? (int8_t)head.p[BATCH_MAGIC_AT] : 0;
    if (length < LEAST)
        return arena_printf(a, "Record size %d is less than the minimum record overhead (%d)", length, LEAST);
    if (magic < 0 || magic > 2)
        return arena_printf(a, "Invalid magic found in record: %d", magic);
    return STR_LIT("The record batch has sizes or offsets that cannot be");
}

enum batch_result batch_next(struct bytes *rest, struct batch *out)
{
    enum batch_result result = batch_peek(*rest, out);
    if (result != BATCH_OK)
        return result;
    if (out->size > rest->len)
        return BATCH_INCOMPLETE;
    ensure(out->size >= MESSAGE_V0_OVERHEAD); /* a walk comes to its end */
    rest->p += out->size;
    rest->len -= out->size;
    return BATCH_OK;
}

bool batch_crc_ok(const struct batch *b)
{
    if (b->magic == 2)
        return be32_get(b->p + AT_CRC) == crc32c(b->p + AT_ATTRIBUTES, (size_t)b->size - AT_ATTRIBUTES);
    return be32_get(b->p + AT_V0_CRC) == crc32(0, b->p + BATCH_MAGIC_AT, (uInt)(b->size - BATCH_MAGIC_AT));
}

void batch_set_offset(uint8_t *batch, int64_t base_offset)
{
    be64_put(batch + AT_OFFSET, (uint64_t)base_offset);
}

void batch_set_leader_epoch(uint8_t *batch, int32_t leader_epoch)
{
    ensure((int8_t)batch[BATCH_MAGIC_AT] == 2);
    be32_put(batch + AT_LEADER_EPOCH, (uint32_t)leader_epoch);
}

static void update_crc(uint8_t *batch)
{
    size_t size = (size_t)be32_get(batch + AT_LENGTH) + LOG_OVERHEAD;
    ensure(size >= BATCH_HEADER_SIZE);
    be32_put(batch + AT_CRC, crc32c(batch + AT_ATTRIBUTES, size - AT_ATTRIBUTES));
}

void batch_set_max_timestamp(uint8_t *batch, bool log_append_time, int64_t max_timestamp)
{
    ensure((int8_t)batch[BATCH_MAGIC_AT] == 2);
    uint16_t old = be16_get(batch + AT_ATTRIBUTES);
    uint16_t attributes = (uint16_t)(old & ~ATTR_LOG_APPEND_TIME);
    if (log_append_time)
        attributes |= ATTR_LOG_APPEND_TIME;
    if (attributes == old && (int64_t)be64_get(batch + AT_MAX_TIMESTAMP) == max_timestamp)
        return;
    be16_put(batch + AT_ATTRIBUTES, attributes);
    be64_put(batch + AT_MAX_TIMESTAMP, (uint64_t)max_timestamp);
    update_crc(batch);
}

void batch_write_header(uint8_t *p, const struct batch *b)
{
    ensure(b->magic == 2 && b->size >= BATCH_HEADER_SIZE);
    be64_put(p + AT_OFFSET, (uint64_t)b->base_offset);
    be32_put(p + AT_LENGTH, (uint32_t)(b->size - LOG_OVERHEAD));
    be32_put(p + AT_LEADER_EPOCH, (uint32_t)b->leader_epoch);
    p[BATCH_MAGIC_AT] = 2;
    be16_put(p + AT_ATTRIBUTES, (uint16_t)b->attributes);
    be32_put(p + AT_LAST_OFFSET_DELTA, (uint32_t)(b->last_offset - b->base_offset));
    be64_put(p + AT_BASE_TIMESTAMP, (uint64_t)b->base_timestamp);
    be64_put(p + AT_MAX_TIMESTAMP, (uint64_t)b->max_timestamp);
    be64_put(p + AT_PRODUCER_ID, (uint64_t)b->producer_id);
    be16_put(p + AT_PRODUCER_EPOCH, (uint16_t)b->producer_epoch);
    be32_put(p + AT_BASE_SEQUENCE, (uint32_t)b->base_sequence);
    be32_put(p + AT_COUNT, (uint32_t)b->count);
    update_crc(p);
}
