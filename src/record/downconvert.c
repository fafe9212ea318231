/*
 * For consumers older than Kafka 0.11: messages in v1, or v0, of batches in v2. What these cannot say is left out:
 * headers, producers, and the markers of transactions. A compressed batch becomes one wrapper; one of zstd is refused,
 * as old clients do not know that. What lies before such a one is given: the next fetch is told.
 */
#include <zlib.h>

#include "record/record_internal.h"

/* Data that a consumer of an old format gets is decompressed whole; more than this is refused. */
enum { LARGEST_CONVERSION = 256 << 20 };

struct conversion {
    int8_t magic;
    int64_t start_offset;
    struct strbuf *out;
    int64_t last; /* offset in `out`; -1: there is none */
};

static uint8_t *put_sized(uint8_t *p, struct bytes f)
{
    be32_put(p, (uint32_t)(f.p ? f.len : -1));
    if (f.len > 0)
        memcpy(p + 4, f.p, (size_t)f.len);
    return p + 4 + f.len;
}

void message_put(struct strbuf *out, int8_t magic, uint8_t attributes, const struct record *r)
{
    size_t overhead = magic == 0 ? MESSAGE_V0_OVERHEAD : MESSAGE_V1_OVERHEAD;
    ensure(magic == 0 || magic == 1);
    size_t size = overhead + (size_t)r->key.len + (size_t)r->value.len;
    uint8_t *start = strbuf_extend(out, size), *p = start + BATCH_MAGIC_AT;
    be64_put(start, (uint64_t)r->offset);
    be32_put(start + 8, (uint32_t)(size - LOG_OVERHEAD));
    *p++ = (uint8_t)magic;
    *p++ = attributes;
    if (magic == 1) {
        be64_put(p, (uint64_t)r->timestamp);
        p += 8;
    }
    p = put_sized(p, r->key);
    p = put_sized(p, r->value);
    ensure(p == start + size);
    be32_put(start + LOG_OVERHEAD, (uint32_t)crc32(0, start + BATCH_MAGIC_AT, (uInt)(size - BATCH_MAGIC_AT)));
}

static uint8_t timestamp_bit(const struct conversion *c, const struct batch *b)
{
    return c->magic == 1 ? (uint8_t)(b->attributes & ATTR_LOG_APPEND_TIME) : 0;
}

/* The records of `b` as plain messages; returns how many, or -1. v1 offsets count from `origin`. */
static int put_records(const struct conversion *c, const struct batch *b, int64_t origin, int64_t start,
                       struct strbuf *out, struct record *last)
{
    struct arena scratch;
    arena_init(&scratch, LARGEST_CONVERSION);
    struct record_iter *it = record_iter_new(b, &scratch);
    struct record r;
    int rc, count = 0;
    while ((rc = record_iter_next(it, &r)) > 0) {
        if (r.offset < start)
            continue;
        *last = (struct record){.offset = r.offset, .timestamp = MAX(r.timestamp, last->timestamp)};
        r.offset = wrapping_sub(r.offset, origin);
        message_put(out, c->magic, timestamp_bit(c, b), &r);
        count++;
    }
    record_iter_free(it);
    arena_deinit(&scratch);
    return rc < 0 ? -1 : count;
}

static enum kafka_error convert_plain(struct conversion *c, const struct batch *b)
{
    struct record last = {.offset = c->last, .timestamp = NO_TIMESTAMP};
    size_t before = c->out->len;
    if (put_records(c, b, 0, c->start_offset, c->out, &last) < 0) {
        c->out->len = before; /* of a batch that is damaged there is nothing that counts */
        return ERR_CORRUPT_MESSAGE;
    }
    c->last = last.offset;
    return ERR_NONE;
}

/* A wrapper takes the last offset; its v1 messages are numbered from the batch's base offset. */
static enum kafka_error convert_compressed(struct conversion *c, const struct batch *b)
{
    struct strbuf set = {0}, packed = {0};
    struct record wrapper = {.timestamp = NO_TIMESTAMP};
    int64_t origin = c->magic == 1 ? b->base_offset : 0;
    enum kafka_error error = ERR_CORRUPT_MESSAGE;
    int count = put_records(c, b, origin, INT64_MIN, &set, &wrapper);
    struct bytes plain = {(const uint8_t *)set.p, (int32_t)set.len};
    if (count > 0 && codec_compress(batch_codec(b), CODEC_LEVEL_DEFAULT, c->magic, plain, &packed)) {
        wrapper.value = (struct bytes){(const uint8_t *)packed.p, (int32_t)packed.len};
        message_put(c->out, c->magic, (uint8_t)(batch_codec(b) | timestamp_bit(c, b)), &wrapper);
        c->last = wrapper.offset;
    }
    if (count >= 0)
        error = ERR_NONE;
    strbuf_deinit(&set);
    strbuf_deinit(&packed);
    return error;
}

static enum kafka_error convert_batch(struct conversion *c, const struct batch *b)
{
    if (b->magic <= c->magic) {
        strbuf_add(c->out, b->p, (size_t)b->size);
        c->last = b->last_offset;
        return ERR_NONE;
    }
    if (batch_is_control(b))
        return ERR_NONE;
    if (batch_codec(b) == CODEC_ZSTD)
        return ERR_UNSUPPORTED_COMPRESSION_TYPE;
    return batch_codec(b) == CODEC_NONE ? convert_plain(c, b) : convert_compressed(c, b);
}

enum kafka_error records_down_convert(struct bytes in, int8_t magic, int64_t start_offset, struct strbuf *out)
{
    struct conversion c = {magic, start_offset, out, -1};
    struct batch b;
    enum batch_result result = BATCH_OK;
    enum kafka_error error = ERR_NONE;
    ensure(magic == 0 || magic == 1);
    while (error == ERR_NONE && (result = batch_next(&in, &b)) == BATCH_OK)
        error = convert_batch(&c, &b);
    if (error == ERR_NONE && result == BATCH_CORRUPT)
        error = ERR_CORRUPT_MESSAGE;
    return c.last >= 0 && c.last >= start_offset ? ERR_NONE : error; /* or who asks would stand still without a word */
}
