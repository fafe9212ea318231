/*
 * Record batches: what clients send, what the log holds, what consumers get.
 *
 * A "batch" here is what the log appends and indexes as one: a v2 record batch (KIP-98), or one message
 * of the old formats v0 and v1 (KIP-32), which may be a wrapper whose value is a compressed message set.
 * All integers on disk and wire are big-endian; the layouts stand beside the offsets below.
 *
 * Nothing here keeps state or takes locks. Slices that come out point into the bytes that went in,
 * or into the arena that was given.
 */
#ifndef BARNABAS_RECORD_H
#define BARNABAS_RECORD_H

#include "base/arena.h"
#include "base/strbuf.h"
#include "protocol/error.h"

enum {
    LOG_OVERHEAD = 12,      /* offset and length, the same in every format */
    BATCH_HEADER_SIZE = 61, /* v2, up to the first record */
    BATCH_MAGIC_AT = 16,
    MESSAGE_V0_OVERHEAD = 26, /* offset, length, crc, magic, attributes, key and value lengths */
    MESSAGE_V1_OVERHEAD = 34,
};

enum codec { CODEC_NONE, CODEC_GZIP, CODEC_SNAPPY, CODEC_LZ4, CODEC_ZSTD, CODEC_COUNT };

#define CODEC_LEVEL_DEFAULT INT32_MIN

#define NO_TIMESTAMP (-1)
#define NO_PRODUCER_ID (-1)
#define NO_PRODUCER_EPOCH (-1)
#define NO_SEQUENCE (-1)
#define NO_LEADER_EPOCH (-1)

enum { /* attributes of a v2 batch; the lowest four hold for v1 messages too */
       ATTR_CODEC_MASK = 0x07,
       ATTR_LOG_APPEND_TIME = 0x08,
       ATTR_TRANSACTIONAL = 0x10,
       ATTR_CONTROL = 0x20,
       ATTR_DELETE_HORIZON = 0x40,
};

/* One batch of any format, its header taken apart. */
struct batch {
    const uint8_t *p; /* the whole batch */
    int32_t size;
    int8_t magic;
    int16_t attributes;
    int64_t base_offset; /* of a v0/v1 wrapper: the last offset, as its header has no other */
    int64_t last_offset;
    int64_t base_timestamp; /* v2; the delete horizon if ATTR_DELETE_HORIZON */
    int64_t max_timestamp;  /* NO_TIMESTAMP in v0 */
    int64_t producer_id;    /* the producer fields are the NO_ values in v0 and v1 */
    int32_t base_sequence;
    int32_t leader_epoch;
    int32_t count; /* records; v0/v1: 1 */
    int16_t producer_epoch;
};

static inline enum codec batch_codec(const struct batch *b)
{
    return (enum codec)(b->attributes & ATTR_CODEC_MASK);
}

static inline bool batch_is_control(const struct batch *b)
{
    return (b->attributes & ATTR_CONTROL) != 0;
}

static inline bool batch_is_transactional(const struct batch *b)
{
    return (b->attributes & ATTR_TRANSACTIONAL) != 0;
}

/* Any id below zero is that of none. */
static inline bool batch_has_producer(const struct batch *b)
{
    return b->producer_id > NO_PRODUCER_ID;
}

/* From base_timestamp on compaction may drop its tombstones, or a control batch. */
static inline bool batch_has_delete_horizon(const struct batch *b)
{
    return b->magic == 2 && (b->attributes & ATTR_DELETE_HORIZON) != 0;
}

/* Sequence number of the last record; sequences wrap at INT32_MAX to 0 (KIP-98). */
int32_t batch_last_sequence(const struct batch *b);

enum batch_result {
    BATCH_OK,
    BATCH_END,        /* nothing left */
    BATCH_INCOMPLETE, /* the bytes end inside the batch */
    BATCH_CORRUPT,    /* sizes or magic that cannot be */
};

/*
 * Takes the first batch off `rest`. Looks at the header only: use batch_crc_ok() for the rest.
 * For a header alone (at least 61 bytes, or all there is) use batch_peek(), which does not need the body.
 */
enum batch_result batch_next(struct bytes *rest, struct batch *out);
enum batch_result batch_peek(struct bytes head, struct batch *out);
/* Of a head that is BATCH_CORRUPT: why, for people. */
struct str batch_problem(struct arena *a, struct bytes head);
bool batch_crc_ok(const struct batch *b);

/* Patches in place, outside the CRC. v0/v1 have no leader epoch; base offsets there are absolute. */
void batch_set_offset(uint8_t *batch, int64_t base_offset);
void batch_set_leader_epoch(uint8_t *batch, int32_t leader_epoch);

/* One record, of any format. Null key and value have p == NULL. */
struct record {
    int64_t offset, timestamp;
    struct bytes key, value;
    struct bytes headers; /* v2: the encoded headers after their count */
    int32_t header_count;
    struct bytes message; /* v0 and v1: the whole of it, as batch_peek() reads it; it has a CRC of its own */
};

struct record_header {
    struct str key;
    struct bytes value;
};

/*
 * Walks the records of a batch, decompressing as it goes. A key or value that lies in compressed data is
 * copied to the arena, so its size is bounded by what the arena allows. Works for wrappers of v0/v1 too,
 * with their offsets made absolute.
 */
struct record_iter;
struct record_iter *record_iter_new(const struct batch *b, struct arena *a);
void record_iter_free(struct record_iter *it);
/* Messages of v0 and v1 whose CRC is wrong are taken for what they look like, not for the end: for those who look at
 * damage. */
void record_iter_allow_bad_crc(struct record_iter *it);
/* 1: a record; 0: the end; -1: the content is corrupt or larger than the arena's limit. */
int record_iter_next(struct record_iter *it, struct record *out);
/* What is decompressed is taken off; when nothing is left, the content counts as corrupt. */
void record_iter_limit(struct record_iter *it, int64_t *budget);
int64_t record_iter_unfolded(const struct record_iter *it); /* bytes until now; 0 where nothing is compressed */
/* Takes the next header off `headers` of a record. */
bool record_header_next(struct bytes *headers, struct record_header *out) NODISCARD;

/*
 * Builds one v2 batch. Add records in order of their offset deltas, then finish; the batch goes to the end
 * of `out` as one piece with base offset 0 and leader epoch -1, to be patched by whoever appends it.
 */
struct batch_builder {
    struct strbuf records;
    /*
     * To be set before the first record: attributes, producer fields; a base offset, an epoch or a later last offset
     * than that of the last record; with a delete horizon the base timestamp, which is the first record's otherwise.
     */
    struct batch head;
    int32_t last_delta;
};

void batch_builder_init(struct batch_builder *b, int16_t attributes);
void batch_builder_deinit(struct batch_builder *b);
/* `r->offset` is the delta to the base offset. */
void batch_builder_add(struct batch_builder *b, const struct record *r);
bool batch_builder_finish(struct batch_builder *b, int level, struct strbuf *out) NODISCARD;
/* Size of `b` if it were finished uncompressed now. */
size_t batch_builder_size(const struct batch_builder *b);

/* ---- Transactions: the markers that end them ---- */

struct txn_marker {
    int64_t producer_id;
    int16_t producer_epoch;
    bool commit;               /* else abort */
    int32_t coordinator_epoch; /* -1: none */
};

/* A control batch with that marker at the end of `out`, with base offset 0. */
void txn_marker_write(const struct txn_marker *m, int64_t now, struct strbuf *out);
/* What is in a control batch. False when it is no marker of a transaction. */
bool txn_marker_read(const struct batch *b, struct txn_marker *out) NODISCARD;

/* ---- Validation ---- */

/* What a topic demands of the records that a leader appends. */
struct record_rules {
    bool keep_codec;  /* compression.type=producer */
    enum codec codec; /* otherwise */
    int level;        /* of compression; CODEC_LEVEL_DEFAULT for the codec's own default */
    bool log_append_time;
    bool compacted;    /* keys are mandatory */
    const char *topic; /* and the partition, which whoever sends records without keys is told */
    int32_t partition;
    int64_t before_max_ms, after_max_ms; /* message.timestamp.*.max.ms */
    int32_t max_batch_size;              /* max.message.bytes */
    bool from_client;                    /* else a coordinator's or controller's own append: control batches are fine */
    int64_t *
        budget; /* NULL, or bytes that may be looked at, unfolded, of all that is prepared by it. They are taken off. */
};

struct record_error {
    int32_t index; /* in the batch */
    struct str message;
};

#define GUARD_NONE 0    /* nobody has asked */
#define GUARD_OPEN (-1) /* it was known, as the transaction was open here */

/* What was wrong with the first record that was, for those who count. */
enum record_flaw { FLAW_NONE, FLAW_OTHER, FLAW_NO_KEY, FLAW_MAGIC, FLAW_CRC, FLAW_OFFSET_OR_SEQUENCE };

/* Records that are ready to be appended: v2 batches whose base offsets count from 0. */
struct prepared {
    struct bytes bytes;  /* the input, patched in place, or rebuilt in the arena */
    int32_t offsets;     /* how many offsets they take */
    int64_t append_time; /* LogAppendTime, or NO_TIMESTAMP */
    int32_t received;    /* bytes of the input */
    enum record_flaw flaw;
    int32_t keyless;    /* records without a key where there has to be one */
    bool converted;     /* rebuilt from an old format or another codec */
    int64_t rebuild_us; /* what that took */
    int64_t unfolded;   /* bytes of it without compression, and of what it was rebuilt to; 0 if neither is compressed */
    bool by_coordinator; /* of this broker, who does not count: sequence numbers mean nothing */
    int64_t guard;       /* that its transaction includes the partition: GUARD_..., or the guard of a verification */
    bool too_long;       /* the error is none of the records': the budget is spent, and nothing was done */
    struct str message;  /* of the error, or null */
    struct record_error *errors;
    int32_t error_count;
};

/*
 * A leader's check of what a producer sent (Kafka's LogValidator): CRC, sizes, timestamps, keys, offsets inside
 * the batch; then conversion to v2 and to the topic's codec, where it needs any. `in` may be patched.
 * Returns the error for the partition, with `out->message` and the faulty records.
 */
enum kafka_error records_prepare(uint8_t *in, int32_t len, const struct record_rules *rules, int64_t now,
                                 struct arena *a, struct prepared *out);

/*
 * Rewrites batches for a consumer that knows no format above `magic` (0 or 1), as 3.9 does: headers are
 * lost, control batches left out, batches of a format it knows passed on as they are. Records below
 * `start_offset` are left out. A batch that is cut off at the end is dropped. What cannot be converted, or is damaged,
 * is an error where nothing that is asked for lies before it, and else the end.
 */
enum kafka_error records_down_convert(struct bytes in, int8_t magic, int64_t start_offset, struct strbuf *out);

/*
 * What compaction writes of a batch of which it keeps some records, in the order of the batch and with its offsets: a
 * batch of the same format and codec that takes the same offsets and sequences. `delete_horizon`: NO_TIMESTAMP for
 * none. False when it got too large.
 */
bool batch_rewrite(const struct batch *b, const struct record *kept, int32_t count, int64_t delete_horizon,
                   struct strbuf *out) NODISCARD;
/* The header alone, of a v2 batch: what is known of a producer hangs on its last one. */
void batch_write_empty(const struct batch *b, struct strbuf *out);

/* Codecs. Levels out of range were refused with the configuration. */
const char *codec_name(enum codec c);
bool codec_parse(struct str name, enum codec *out) NODISCARD;
/* `magic` chooses LZ4's framing: v0 has a header checksum that only Kafka computed so (KAFKA-3160). */
bool codec_compress(enum codec c, int level, int8_t magic, struct bytes in, struct strbuf *out) NODISCARD;

#endif
