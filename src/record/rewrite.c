/* Batches with some of their records, for compaction. */
#include "record/record_internal.h"

static bool is_tombstone_batch(int64_t delete_horizon)
{
    return delete_horizon != NO_TIMESTAMP;
}

/* The same header but for what follows from the records. The last offset stays: the last sequence hangs on it. */
static void copy_head(struct batch_builder *builder, const struct batch *b, int64_t delete_horizon)
{
    struct batch *head = &builder->head;
    int16_t attributes = (int16_t)(b->attributes & ~ATTR_DELETE_HORIZON);
    if (is_tombstone_batch(delete_horizon))
        attributes |= ATTR_DELETE_HORIZON;
    batch_builder_init(builder, attributes);
    head->base_offset = b->base_offset;
    head->last_offset = b->last_offset;
    head->base_timestamp = delete_horizon;
    head->producer_id = b->producer_id;
    head->producer_epoch = b->producer_epoch;
    head->base_sequence = b->base_sequence;
    head->leader_epoch = b->leader_epoch;
}

static bool rewrite_v2(const struct batch *b, const struct record *kept, int32_t count, int64_t delete_horizon,
                       struct strbuf *out)
{
    struct batch_builder builder;
    copy_head(&builder, b, delete_horizon);
    for (int32_t i = 0; i < count; i++) {
        struct record r = kept[i];
        r.offset -= b->base_offset;
        batch_builder_add(&builder, &r);
    }
    bool ok = batch_builder_finish(&builder, CODEC_LEVEL_DEFAULT, out);
    batch_builder_deinit(&builder);
    return ok;
}

/* A wrapper of v0 or v1: it takes the offset of its last message, and v1 counts those inside from the first. */
static bool rewrite_wrapper(const struct batch *b, const struct record *kept, int32_t count, struct strbuf *out)
{
    struct strbuf set = {0}, packed = {0};
    uint8_t timestamp_type = b->magic == 1 ? (uint8_t)(b->attributes & ATTR_LOG_APPEND_TIME) : 0;
    struct record wrapper = {.offset = kept[count - 1].offset, .timestamp = NO_TIMESTAMP};
    for (int32_t i = 0; i < count; i++) {
        struct record r = kept[i];
        wrapper.timestamp = MAX(wrapper.timestamp, r.timestamp);
        r.offset -= b->magic == 1 ? kept[0].offset : 0;
        message_put(&set, b->magic, timestamp_type, &r);
    }
    struct bytes plain = {(const uint8_t *)set.p, (int32_t)set.len};
    bool ok = set.len <= INT32_MAX && codec_compress(batch_codec(b), CODEC_LEVEL_DEFAULT, b->magic, plain, &packed) &&
              packed.len <= INT32_MAX - MESSAGE_V1_OVERHEAD;
    if (ok) {
        wrapper.value = (struct bytes){(const uint8_t *)packed.p, (int32_t)packed.len};
        message_put(out, b->magic, (uint8_t)(batch_codec(b) | timestamp_type), &wrapper);
    }
    strbuf_deinit(&set);
    strbuf_deinit(&packed);
    return ok;
}

bool batch_rewrite(const struct batch *b, const struct record *kept, int32_t count, int64_t delete_horizon,
                   struct strbuf *out)
{
    ensure(count > 0 && (b->magic == 2 || !is_tombstone_batch(delete_horizon)));
    if (b->magic == 2)
        return rewrite_v2(b, kept, count, delete_horizon, out);
    if (batch_codec(b) != CODEC_NONE)
        return rewrite_wrapper(b, kept, count, out);
    strbuf_add(out, b->p, (size_t)b->size); /* a message is its only record */
    return true;
}

void batch_write_empty(const struct batch *b, struct strbuf *out)
{
    ensure(b->magic == 2);
    struct batch head = *b;
    head.attributes &= ATTR_LOG_APPEND_TIME | ATTR_TRANSACTIONAL | ATTR_CONTROL;
    head.base_timestamp = NO_TIMESTAMP;
    head.count = 0;
    head.size = BATCH_HEADER_SIZE;
    batch_write_header(strbuf_extend(out, BATCH_HEADER_SIZE), &head);
}
