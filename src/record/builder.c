/*
 * A v2 batch, record by record (KIP-98). A record is
 *
 *     length, attributes, timestamp delta, offset delta, key length, key, value length, value, headers
 *
 * where all numbers but the attributes' byte are variable-length, small ones of either sign in one byte; a null key or
 * value has the length -1. Deltas count from the batch's base, so that a log can give a batch its offsets by writing
 * one number.
 */
#include "record/record_internal.h"

void batch_builder_init(struct batch_builder *b, int16_t attributes)
{
    *b = (struct batch_builder){.last_delta = -1};
    b->head = (struct batch){.magic = 2,
                             .attributes = attributes,
                             .max_timestamp = NO_TIMESTAMP,
                             .producer_id = NO_PRODUCER_ID,
                             .producer_epoch = NO_PRODUCER_EPOCH,
                             .base_sequence = NO_SEQUENCE,
                             .leader_epoch = NO_LEADER_EPOCH};
}

void batch_builder_deinit(struct batch_builder *b)
{
    strbuf_deinit(&b->records);
}

static size_t varint_size(int64_t v)
{
    return uvarlong_size(zigzag(v));
}

static size_t field_size(struct bytes f)
{
    ensure(f.len >= 0);
    return varint_size(f.p ? f.len : -1) + (size_t)f.len;
}

static uint8_t *put_varint(uint8_t *p, int64_t v)
{
    return p + uvarlong_put(p, zigzag(v));
}

static uint8_t *put_field(uint8_t *p, struct bytes f)
{
    p = put_varint(p, f.p ? f.len : -1);
    if (f.len > 0)
        memcpy(p, f.p, (size_t)f.len);
    return p + f.len;
}

void batch_builder_add(struct batch_builder *b, const struct record *r)
{
    ensure(r->offset > b->last_delta && r->offset <= INT32_MAX);
    if (b->head.count == 0 && !batch_has_delete_horizon(&b->head))
        b->head.base_timestamp = r->timestamp;
    int64_t delta = wrapping_sub(r->timestamp, b->head.base_timestamp);
    size_t body = 1 + varint_size(delta) + varint_size(r->offset) + field_size(r->key) + field_size(r->value) +
                  varint_size(r->header_count) + (size_t)r->headers.len;
    uint8_t *start = strbuf_extend(&b->records, varint_size((int64_t)body) + body), *p = start;
    p = put_varint(p, (int64_t)body);
    *p++ = 0;
    p = put_varint(p, delta);
    p = put_varint(p, r->offset);
    p = put_field(p, r->key);
    p = put_field(p, r->value);
    p = put_varint(p, r->header_count);
    if (r->headers.len > 0)
        memcpy(p, r->headers.p, (size_t)r->headers.len);
    p += r->headers.len;
    ensure((char *)p == b->records.p + b->records.len);
    b->last_delta = (int32_t)r->offset;
    b->head.max_timestamp = MAX(b->head.max_timestamp, r->timestamp);
    b->head.count++;
}

size_t batch_builder_size(const struct batch_builder *b)
{
    return BATCH_HEADER_SIZE + b->records.len;
}

bool batch_builder_finish(struct batch_builder *b, int level, struct strbuf *out)
{
    size_t start = out->len;
    struct bytes payload = {(const uint8_t *)b->records.p, (int32_t)b->records.len};
    if (b->records.len > INT32_MAX)
        return false;
    strbuf_extend(out, BATCH_HEADER_SIZE);
    if (!codec_compress(batch_codec(&b->head), level, 2, payload, out))
        return false;
    ensure(b->head.count == 0 || b->last_delta >= 0);
    b->head.last_offset = MAX(b->head.last_offset, b->head.base_offset + MAX(b->last_delta, 0));
    b->head.size = (int32_t)(out->len - start);
    batch_write_header((uint8_t *)out->p + start, &b->head);
    return true;
}
