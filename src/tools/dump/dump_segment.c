/* kafka-dump-log for segments: batches, and the records in them. */
#include <inttypes.h>
#include <stdio.h>

#include "tools/dump/dump_log.h"

enum { SHORTEST_HEADER = BATCH_MAGIC_AT + 1, SMALLEST_RECORD = MESSAGE_V0_OVERHEAD - LOG_OVERHEAD };

enum batch_result dump_batch_at(const struct content *log, int64_t position, int64_t end, struct batch *out,
                                struct fail *fail)
{
    if (position >= end - SHORTEST_HEADER)
        return BATCH_END;
    int32_t size = (int32_t)be32_get(log->p + position + 8);
    if (size < SMALLEST_RECORD) {
        fail_set(fail, "Found record size %" PRId32 " smaller than minimum record overhead (%d) in file %s.", size,
                 SMALLEST_RECORD, log->path);
        return BATCH_CORRUPT;
    }
    if (position > end - LOG_OVERHEAD - size)
        return BATCH_END;
    struct bytes rest = {log->p + position, LOG_OVERHEAD + size};
    if (batch_next(&rest, out) == BATCH_OK)
        return BATCH_OK;
    fail_set(fail, "What is at position %" PRId64 " of %s is not a record batch", position, log->path);
    return BATCH_CORRUPT;
}

/* ---- Batches ---- */

static const char *bool_text(bool b)
{
    return b ? "true" : "false";
}

static const char *timestamp_type(const struct batch *b)
{
    if (b->magic == 0)
        return "NoTimestampType";
    return (b->attributes & ATTR_LOG_APPEND_TIME) != 0 ? "LogAppendTime" : "CreateTime";
}

static uint32_t stored_crc(const struct batch *b)
{
    return be32_get(b->p + (b->magic >= 2 ? 17 : 12));
}

static void print_v2_head(const struct batch *b)
{
    printf("baseOffset: %" PRId64 " lastOffset: %" PRId64 " count: %" PRId32 " baseSequence: %" PRId32
           " lastSequence: %" PRId32 " producerId: %" PRId64 " producerEpoch: %d partitionLeaderEpoch: %" PRId32
           " isTransactional: %s isControl: %s deleteHorizonMs: ",
           b->base_offset, b->last_offset, b->count, b->base_sequence, batch_last_sequence(b), b->producer_id,
           b->producer_epoch, b->leader_epoch, bool_text(batch_is_transactional(b)), bool_text(batch_is_control(b)));
    if (batch_has_delete_horizon(b))
        printf("OptionalLong[%" PRId64 "]", b->base_timestamp);
    else
        printf("OptionalLong.empty");
}

static void print_batch(const struct batch *b, int64_t position)
{
    if (b->magic >= 2)
        print_v2_head(b);
    else
        printf("offset: %" PRId64, b->last_offset);
    printf(" position: %" PRId64 " %s: %" PRId64 " size: %" PRId32 " magic: %d compresscodec: %s crc: %" PRIu32
           " isvalid: %s\n",
           position, timestamp_type(b), b->max_timestamp, b->size, b->magic, codec_name(batch_codec(b)), stored_crc(b),
           bool_text(batch_crc_ok(b)));
}

/* ---- Records ---- */

static int32_t dump_segment_sequence_of(const struct batch *b, const struct record *r)
{
    if (b->base_sequence == NO_SEQUENCE)
        return NO_SEQUENCE;
    return (int32_t)((b->base_sequence + (r->offset - b->base_offset)) & INT32_MAX);
}

static void print_header_keys(const struct record *r)
{
    struct bytes rest = r->headers;
    struct record_header h;
    printf(" headerKeys: [");
    for (int32_t i = 0; i < r->header_count && record_header_next(&rest, &h); i++)
        printf("%s%.*s", i > 0 ? "," : "", STR_ARGS(h.key));
    putchar(']');
}

static void print_legacy_check(const struct record *r)
{
    struct batch message;
    if (batch_peek(r->message, &message) == BATCH_OK)
        printf(" isValid: %s crc: %" PRIu32 "}", bool_text(batch_crc_ok(&message)), stored_crc(&message));
}

static bool print_control(const struct record *r, struct fail *fail)
{
    static const char *const names[] = {"ABORT", "COMMIT", "LEADER_CHANGE"};
    if (r->key.len < 4)
        return fail_set(fail,
                        "Invalid value size found for end control record key. Must have at least 4 bytes, but found "
                        "only %" PRId32,
                        r->key.len);
    int16_t type = (int16_t)be16_get(r->key.p + 2);
    if ((type == 0 || type == 1) && r->value.len < 6)
        return fail_set(fail, "The end of a transaction at offset %" PRId64 " has no coordinator epoch", r->offset);
    if (type == 0 || type == 1)
        printf(" endTxnMarker: %s coordinatorEpoch: %" PRId32, names[type], (int32_t)be32_get(r->value.p + 2));
    else
        printf(" controlType: %s(%d)", type == 2 ? names[type] : "UNKNOWN", type);
    return true;
}

static bool print_metadata(const struct batch *b, const struct record *r, struct fail *fail)
{
    printf("| offset: %" PRId64 " %s: %" PRId64 " keySize: %" PRId32 " valueSize: %" PRId32, r->offset,
           timestamp_type(b), r->timestamp, r->key.p != NULL ? r->key.len : -1, r->value.p != NULL ? r->value.len : -1);
    if (b->magic >= 2) {
        printf(" sequence: %" PRId32, dump_segment_sequence_of(b, r));
        print_header_keys(r);
    } else {
        print_legacy_check(r);
    }
    return !batch_is_control(b) || print_control(r, fail);
}

static bool print_record(const struct dump *d, const struct batch *b, const struct record *r, struct arena *a,
                         struct fail *fail)
{
    struct dump_texts texts = {STR_NULL, STR_NULL};
    if (!d->skip_metadata && !print_metadata(b, r, fail))
        return false;
    if (d->print_data && !batch_is_control(b) && !dump_decode(d, r, a, &texts, fail))
        return false;
    if (texts.key.p != NULL) {
        printf("%skey: ", d->skip_metadata ? "| " : " ");
        fwrite(texts.key.p, 1, (size_t)texts.key.len, stdout);
    }
    if (texts.value.p != NULL) {
        printf(" payload: ");
        fwrite(texts.value.p, 1, (size_t)texts.value.len, stdout);
    }
    putchar('\n');
    return true;
}

struct walk { /* over the records of a batch */
    struct record_iter *it;
    const struct batch *batch;
    int32_t count;
    struct arena arena;
};

static void walk_begin(struct walk *w, const struct batch *b)
{
    *w = (struct walk){.batch = b};
    w->it = record_iter_new(b, &w->arena);
    record_iter_allow_bad_crc(w->it);
}

static void walk_end(struct walk *w)
{
    record_iter_free(w->it);
    arena_deinit(&w->arena);
}

/* As record_iter_next(); the last record counts only if nothing comes behind it. */
static int walk_next(struct walk *w, struct record *out)
{
    struct record none;
    int rc = record_iter_next(w->it, out);
    if (rc > 0 && w->batch->magic >= 2 && ++w->count == w->batch->count && record_iter_next(w->it, &none) != 0)
        return -1;
    return rc;
}

/* What is compressed is shown as a whole or not at all. */
static bool dump_segment_is_readable(const struct batch *b)
{
    struct walk w;
    struct record r;
    int rc = 0;
    walk_begin(&w, b);
    while (batch_codec(b) != CODEC_NONE && (rc = walk_next(&w, &r)) > 0)
        ;
    walk_end(&w);
    return rc == 0;
}

static bool print_records(struct dump *d, const struct content *c, const struct batch *b, int64_t *last_offset,
                          struct fail *fail)
{
    struct walk w;
    struct record r;
    int rc = dump_segment_is_readable(b) ? 1 : -1;
    bool ok = true;
    walk_begin(&w, b);
    while (ok && rc > 0 && (rc = walk_next(&w, &r)) > 0) {
        if (*last_offset != -1 && r.offset != *last_offset + 1)
            dump_note(d, FOUND_GAP, c, *last_offset, r.offset);
        *last_offset = r.offset;
        ok = print_record(d, b, &r, &w.arena, fail);
    }
    if (ok && rc < 0)
        ok = fail_set(fail, "The records of the batch at offset %" PRId64 " of %s cannot be read", b->base_offset,
                      c->path);
    walk_end(&w);
    return ok;
}

bool dump_segment(struct dump *d, const struct content *c, struct fail *fail)
{
    int64_t end = MIN(c->len, d->max_bytes), position = 0, last_offset = -1;
    struct batch b;
    enum batch_result result;
    printf("Log starting offset: %" PRId64 "\n", c->base_offset);
    while ((result = dump_batch_at(c, position, end, &b, fail)) == BATCH_OK) {
        print_batch(&b, position);
        if (d->deep && !print_records(d, c, &b, &last_offset, fail))
            return false;
        position += b.size;
    }
    if (result == BATCH_CORRUPT)
        return false;
    if (end > position && d->max_bytes == INT32_MAX)
        printf("Found %" PRId64 " invalid bytes at the end of %s\n", end - position, strrchr(c->absolute, '/') + 1);
    return true;
}
