/* Record batches: every codec and format, in and out, and what must be refused. */
#include "test.h"

#include <zlib.h>

#include "record/record.h"

enum { NOW = 1700000000 };

static struct arena arena;
static struct record_rules rules;

static int set_up(void **state)
{
    (void)state;
    arena_init(&arena, 0);
    rules = (struct record_rules){.keep_codec = true,
                                  .level = CODEC_LEVEL_DEFAULT,
                                  .before_max_ms = INT64_MAX,
                                  .after_max_ms = INT64_MAX,
                                  .max_batch_size = 1 << 20,
                                  .from_client = true};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_deinit(&arena);
    return 0;
}

static struct bytes text(const char *s)
{
    return (struct bytes){(const uint8_t *)s, s ? (int32_t)strlen(s) : 0};
}

/* `count` records: keys "k0".., values "value-0".., timestamps NOW+i, one header each. */
static struct strbuf make_batch(int count, enum codec codec)
{
    static const uint8_t header[] = {2, 'h', 4, 'v', 'v'};
    struct batch_builder b;
    struct strbuf out = {0};
    batch_builder_init(&b, (int16_t)codec);
    for (int i = 0; i < count; i++) {
        struct str key = arena_printf(&arena, "k%d", i), value = arena_printf(&arena, "value-%d", i);
        struct record r = {.offset = i,
                           .timestamp = NOW + i,
                           .key = {(const uint8_t *)key.p, key.len},
                           .value = {(const uint8_t *)value.p, value.len},
                           .headers = {header, sizeof(header)},
                           .header_count = 1};
        batch_builder_add(&b, &r);
    }
    assert_true(batch_builder_finish(&b, CODEC_LEVEL_DEFAULT, &out));
    batch_builder_deinit(&b);
    return out;
}

/* One message of an old format, appended to `out`. */
static void add_message(struct strbuf *out, int magic, int attributes, int64_t offset, int64_t timestamp,
                        struct bytes key, struct bytes value)
{
    size_t size = (size_t)(magic == 0 ? 26 : 34) + (size_t)key.len + (size_t)value.len;
    uint8_t *p = strbuf_extend(out, size), *start = p;
    be64_put(p, (uint64_t)offset);
    be32_put(p + 8, (uint32_t)(size - 12));
    p[16] = (uint8_t)magic;
    p[17] = (uint8_t)attributes;
    p += 18;
    if (magic == 1) {
        be64_put(p, (uint64_t)timestamp);
        p += 8;
    }
    be32_put(p, key.p ? (uint32_t)key.len : UINT32_MAX);
    memcpy(p + 4, key.p ? key.p : (const uint8_t *)"", (size_t)key.len);
    p += 4 + key.len;
    be32_put(p, (uint32_t)value.len);
    memcpy(p + 4, value.p, (size_t)value.len);
    be32_put(start + 12, (uint32_t)crc32(0, start + 16, (uInt)(size - 16)));
}

static enum kafka_error prepare(struct strbuf *in, struct prepared *out)
{
    return records_prepare((uint8_t *)in->p, (int32_t)in->len, &rules, NOW, &arena, out);
}

static struct batch only_batch(struct bytes bytes)
{
    struct batch b;
    assert_int_equal(batch_next(&bytes, &b), BATCH_OK);
    assert_int_equal(bytes.len, 0);
    assert_true(batch_crc_ok(&b));
    return b;
}

static void check_records(const struct batch *b, int count, bool headers)
{
    struct record r;
    struct record_iter *it = record_iter_new(b, &arena);
    for (int i = 0; i < count; i++) {
        char key[32], value[32];
        snprintf(key, sizeof(key), "k%d", i);
        snprintf(value, sizeof(value), "value-%d", i);
        assert_int_equal(record_iter_next(it, &r), 1);
        assert_int_equal(r.offset, b->base_offset + i);
        assert_true(bytes_eq(r.key, text(key)));
        assert_true(bytes_eq(r.value, text(value)));
        assert_int_equal(r.header_count, headers ? 1 : 0);
        if (headers) {
            struct record_header h;
            assert_true(record_header_next(&r.headers, &h));
            assert_true(str_is(h.key, "h"));
            assert_true(bytes_eq(h.value, text("vv")));
        }
    }
    assert_int_equal(record_iter_next(it, &r), 0);
    record_iter_free(it);
}

static void the_checksum_is_castagnoli(void **state)
{
    (void)state;
    struct strbuf batch = make_batch(3, CODEC_NONE);
    struct batch b = only_batch((struct bytes){(uint8_t *)batch.p, (int32_t)batch.len});
    check_records(&b, 3, true);
    batch.p[70] ^= 1;
    assert_false(batch_crc_ok(&b));
    strbuf_deinit(&batch);
}

/* Without compression. */
static int64_t size_of_batch(int count)
{
    struct strbuf batch = make_batch(count, CODEC_NONE);
    int64_t size = (int64_t)batch.len;
    strbuf_deinit(&batch);
    return size;
}

static void every_codec_comes_back(void **state)
{
    (void)state;
    for (int codec = 0; codec < CODEC_COUNT; codec++) {
        struct strbuf batch = make_batch(2000, (enum codec)codec);
        struct prepared p;
        assert_int_equal(prepare(&batch, &p), ERR_NONE);
        assert_false(p.converted);
        assert_int_equal(p.offsets, 2000);
        assert_int_equal(p.unfolded, codec == CODEC_NONE ? 0 : size_of_batch(2000));
        struct batch b = only_batch(p.bytes);
        assert_int_equal(batch_codec(&b), codec);
        assert_int_equal(b.max_timestamp, NOW + 1999);
        check_records(&b, 2000, true);
        strbuf_deinit(&batch);
    }
}

static void a_topic_may_want_another_codec(void **state)
{
    (void)state;
    for (int from = 0; from < CODEC_COUNT; from++) {
        for (int to = 0; to < CODEC_COUNT; to++) {
            struct strbuf batch = make_batch(50, (enum codec)from);
            struct prepared p;
            rules.keep_codec = false;
            rules.codec = (enum codec)to;
            assert_int_equal(prepare(&batch, &p), ERR_NONE);
            assert_int_equal(p.converted, from != to);
            assert_int_equal(p.unfolded, from != to           ? 2 * size_of_batch(50)
                                         : from == CODEC_NONE ? 0
                                                              : size_of_batch(50));
            struct batch b = only_batch(p.bytes);
            assert_int_equal(batch_codec(&b), to);
            check_records(&b, 50, true);
            strbuf_deinit(&batch);
        }
    }
}

static void old_messages_become_a_batch(void **state)
{
    (void)state;
    for (int magic = 0; magic <= 1; magic++) {
        struct strbuf set = {0};
        struct prepared p;
        for (int i = 0; i < 5; i++) {
            struct str key = arena_printf(&arena, "k%d", i), value = arena_printf(&arena, "value-%d", i);
            add_message(&set, magic, 0, i, NOW + i, (struct bytes){(const uint8_t *)key.p, key.len},
                        (struct bytes){(const uint8_t *)value.p, value.len});
        }
        assert_int_equal(prepare(&set, &p), ERR_NONE);
        assert_true(p.converted);
        struct batch b = only_batch(p.bytes);
        assert_int_equal(b.magic, 2);
        assert_int_equal(b.max_timestamp, magic == 1 ? NOW + 4 : NO_TIMESTAMP);
        check_records(&b, 5, false);
        strbuf_deinit(&set);
    }
}

static void old_wrappers_become_a_batch(void **state)
{
    (void)state;
    for (int magic = 0; magic <= 1; magic++) {
        for (int codec = CODEC_GZIP; codec <= CODEC_LZ4; codec++) {
            struct strbuf inner = {0}, packed = {0}, set = {0};
            struct prepared p;
            for (int i = 0; i < 5; i++) {
                struct str key = arena_printf(&arena, "k%d", i), value = arena_printf(&arena, "value-%d", i);
                add_message(&inner, magic, 0, i, NOW + i, (struct bytes){(const uint8_t *)key.p, key.len},
                            (struct bytes){(const uint8_t *)value.p, value.len});
            }
            assert_true(codec_compress((enum codec)codec, CODEC_LEVEL_DEFAULT, (int8_t)magic,
                                       (struct bytes){(uint8_t *)inner.p, (int32_t)inner.len}, &packed));
            add_message(&set, magic, codec, 4, NOW + 4, text(NULL),
                        (struct bytes){(uint8_t *)packed.p, (int32_t)packed.len});
            assert_int_equal(prepare(&set, &p), ERR_NONE);
            struct batch b = only_batch(p.bytes);
            assert_int_equal(batch_codec(&b), codec);
            check_records(&b, 5, false);
            strbuf_deinit(&inner);
            strbuf_deinit(&packed);
            strbuf_deinit(&set);
        }
    }
}

static void batches_become_old_messages(void **state)
{
    (void)state;
    for (int magic = 0; magic <= 1; magic++) {
        for (int codec = CODEC_NONE; codec <= CODEC_LZ4; codec++) {
            struct strbuf batch = make_batch(5, (enum codec)codec), old = {0};
            struct prepared p;
            batch_set_offset((uint8_t *)batch.p, 1000);
            assert_int_equal(
                records_down_convert((struct bytes){(uint8_t *)batch.p, (int32_t)batch.len}, (int8_t)magic, 1000, &old),
                ERR_NONE);
            /* Back again: the same records, without headers, and without timestamps of v0. */
            assert_int_equal(prepare(&old, &p), ERR_NONE);
            struct batch b = only_batch(p.bytes);
            assert_int_equal(b.max_timestamp, magic == 1 ? NOW + 4 : NO_TIMESTAMP);
            check_records(&b, 5, false);
            strbuf_deinit(&batch);
            strbuf_deinit(&old);
        }
    }
}

static void zstd_has_no_old_form(void **state)
{
    (void)state;
    struct strbuf batch = make_batch(5, CODEC_ZSTD), old = {0};
    assert_int_equal(records_down_convert((struct bytes){(uint8_t *)batch.p, (int32_t)batch.len}, 1, 0, &old),
                     ERR_UNSUPPORTED_COMPRESSION_TYPE);
    strbuf_deinit(&batch);
    strbuf_deinit(&old);
}

/* Or it could not even come to what it cannot read: the next fetch, which begins with that, is told. */
static void an_old_consumer_gets_what_lies_before_zstd(void **state)
{
    (void)state;
    for (int codec = CODEC_NONE; codec <= CODEC_LZ4; codec++) {
        struct strbuf set = make_batch(5, (enum codec)codec), packed = make_batch(5, CODEC_ZSTD), old = {0};
        struct prepared p;
        batch_set_offset((uint8_t *)set.p, 1000);
        batch_set_offset((uint8_t *)packed.p, 1005);
        strbuf_add(&set, packed.p, packed.len);
        struct bytes in = {(uint8_t *)set.p, (int32_t)set.len};
        assert_int_equal(records_down_convert(in, 1, 1002, &old), ERR_NONE);
        assert_int_equal(prepare(&old, &p), ERR_NONE);
        struct batch b = only_batch(p.bytes);
        assert_int_equal(b.count, codec == CODEC_NONE ? 3 : 5);
        strbuf_clear(&old);
        assert_int_equal(records_down_convert(in, 1, 1005, &old), ERR_UNSUPPORTED_COMPRESSION_TYPE);
        strbuf_deinit(&set);
        strbuf_deinit(&packed);
        strbuf_deinit(&old);
    }
}

static void the_broker_may_set_the_time(void **state)
{
    (void)state;
    struct strbuf batch = make_batch(3, CODEC_NONE);
    struct prepared p;
    struct record r;
    rules.log_append_time = true;
    assert_int_equal(prepare(&batch, &p), ERR_NONE);
    assert_int_equal(p.append_time, NOW);
    struct batch b = only_batch(p.bytes);
    struct record_iter *it = record_iter_new(&b, &arena);
    while (record_iter_next(it, &r) > 0)
        assert_int_equal(r.timestamp, NOW);
    record_iter_free(it);
    strbuf_deinit(&batch);
}

static void refused(enum kafka_error expected, struct strbuf *batch)
{
    struct prepared p;
    assert_int_equal(prepare(batch, &p), expected);
    strbuf_deinit(batch);
}

static void a_wrong_checksum_is_refused(void **state)
{
    (void)state;
    struct strbuf batch = make_batch(3, CODEC_LZ4);
    batch.p[batch.len - 1] ^= 1;
    refused(ERR_CORRUPT_MESSAGE, &batch);
}

static void a_large_batch_is_refused(void **state)
{
    (void)state;
    struct strbuf batch = make_batch(100, CODEC_NONE);
    rules.max_batch_size = 1000;
    refused(ERR_MESSAGE_TOO_LARGE, &batch);
}

static void two_batches_are_refused(void **state)
{
    (void)state;
    struct strbuf batch = make_batch(3, CODEC_NONE), second = make_batch(3, CODEC_NONE);
    strbuf_add(&batch, second.p, second.len);
    strbuf_deinit(&second);
    refused(ERR_INVALID_RECORD, &batch);
}

static void times_out_of_range_are_refused(void **state)
{
    (void)state;
    struct strbuf batch = make_batch(10, CODEC_NONE);
    struct prepared p;
    rules.after_max_ms = 6;
    assert_int_equal(prepare(&batch, &p), ERR_INVALID_TIMESTAMP);
    assert_int_equal(p.error_count, 3);
    assert_int_equal(p.errors[0].index, 7);
    strbuf_deinit(&batch);
}

static void compacted_topics_need_keys(void **state)
{
    (void)state;
    struct batch_builder b;
    struct strbuf batch = {0};
    struct record r = {.timestamp = NOW, .value = text("x")};
    batch_builder_init(&b, CODEC_NONE);
    batch_builder_add(&b, &r);
    assert_true(batch_builder_finish(&b, CODEC_LEVEL_DEFAULT, &batch));
    batch_builder_deinit(&b);
    rules.compacted = true;
    rules.topic = "t";
    refused(ERR_INVALID_RECORD, &batch);
}

/* Who sends a great many that are refused is told of the first, and has no text made for each. */
static void what_is_refused_takes_no_memory_each(void **state)
{
    (void)state;
    enum { MANY = 200000 };
    struct batch_builder b;
    struct strbuf batch = {0};
    struct arena a = {0};
    struct prepared p;
    batch_builder_init(&b, CODEC_ZSTD);
    for (int i = 0; i < MANY; i++)
        batch_builder_add(&b, &(struct record){.offset = i, .timestamp = NOW});
    assert_true(batch_builder_finish(&b, CODEC_LEVEL_DEFAULT, &batch));
    batch_builder_deinit(&b);
    rules.compacted = true;
    rules.topic = "t";
    assert_int_equal(records_prepare((uint8_t *)batch.p, (int32_t)batch.len, &rules, NOW, &a, &p), ERR_INVALID_RECORD);
    assert_int_equal(p.error_count, 100);
    assert_non_null(strstr(arena_cstr(&a, p.message), "due to 200000 record errors in total"));
    assert_true(a.used < 100000);
    arena_deinit(&a);
    strbuf_deinit(&batch);
}

/* Whatever is cut off or flipped: an answer, never a crash. */
static void mutilated_batches_are_survived(void **state)
{
    (void)state;
    for (int codec = 0; codec < CODEC_COUNT; codec++) {
        struct strbuf good = make_batch(20, (enum codec)codec);
        for (size_t cut = 0; cut < good.len; cut++) {
            struct strbuf batch = {0};
            struct prepared p;
            strbuf_add(&batch, good.p, cut);
            if (cut > 0)
                assert_int_not_equal(prepare(&batch, &p), ERR_NONE);
            strbuf_deinit(&batch);
        }
        for (size_t at = 61; at < good.len; at++) { /* with a checksum that fits, so that the content is looked at */
            struct strbuf batch = {0};
            struct batch b;
            strbuf_add(&batch, good.p, good.len);
            batch.p[at] ^= 0x55;
            struct bytes bytes = {(uint8_t *)batch.p, (int32_t)batch.len};
            assert_int_equal(batch_next(&bytes, &b), BATCH_OK);
            struct record r;
            struct record_iter *it = record_iter_new(&b, &arena);
            while (record_iter_next(it, &r) > 0)
                ;
            record_iter_free(it);
            strbuf_deinit(&batch);
        }
        strbuf_deinit(&good);
    }
}

static void a_bomb_does_not_fill_memory(void **state)
{
    (void)state;
    struct batch_builder b;
    struct strbuf batch = {0};
    char *zeroes = calloc(1, 64 << 20);
    struct record r = {.timestamp = NOW, .value = {(uint8_t *)zeroes, 64 << 20}};
    batch_builder_init(&b, CODEC_ZSTD);
    batch_builder_add(&b, &r);
    assert_true(batch_builder_finish(&b, CODEC_LEVEL_DEFAULT, &batch));
    batch_builder_deinit(&b);
    free(zeroes);
    assert_true(batch.len < 100000);
    struct prepared p;
    assert_int_equal(prepare(&batch, &p), ERR_NONE); /* validated in a window of a few KB */
    assert_true(arena.used < 1 << 20);
    strbuf_deinit(&batch);
}

static void offsets_may_not_run_over(void **state)
{
    (void)state;
    struct strbuf batch = make_batch(3, CODEC_NONE);
    struct batch b;
    struct record r;
    batch_set_offset((uint8_t *)batch.p, INT64_MAX - 1); /* and two more */
    struct bytes rest = {(const uint8_t *)batch.p, (int32_t)batch.len};
    assert_int_equal(batch_next(&rest, &b), BATCH_CORRUPT);
    batch_set_offset((uint8_t *)batch.p, INT64_MIN);
    be32_put(batch.p + 23, (uint32_t)-5); /* the last is before the first */
    rest = (struct bytes){(const uint8_t *)batch.p, (int32_t)batch.len};
    assert_int_equal(batch_next(&rest, &b), BATCH_CORRUPT);
    be32_put(batch.p + 23, 2);
    rest = (struct bytes){(const uint8_t *)batch.p, (int32_t)batch.len};
    assert_int_equal(batch_next(&rest, &b), BATCH_OK);
    struct record_iter *it = record_iter_new(&b, &arena);
    assert_int_equal(record_iter_next(it, &r), 1);
    record_iter_free(it);
    strbuf_deinit(&batch);
}

/* Those records of a batch whose index has its bit set in `mask`, rewritten. */
static struct strbuf keep_some(const struct batch *b, unsigned mask, int64_t delete_horizon)
{
    struct record kept[16];
    struct strbuf out = {0};
    int32_t count = 0;
    struct record_iter *it = record_iter_new(b, &arena);
    for (int i = 0; record_iter_next(it, &kept[count]) > 0; i++)
        count += (int32_t)(mask >> i & 1);
    assert_true(batch_rewrite(b, kept, count, delete_horizon, &out));
    record_iter_free(it);
    return out;
}

/* The second and the fourth of make_batch(), at their offsets, with their times. */
static void check_second_and_fourth(const struct batch *b, int64_t first_offset)
{
    struct record r;
    struct record_iter *it = record_iter_new(b, &arena);
    for (int i = 1; i <= 3; i += 2) {
        assert_int_equal(record_iter_next(it, &r), 1);
        assert_int_equal(r.offset, first_offset + i);
        assert_int_equal(r.timestamp, b->magic == 0 ? NO_TIMESTAMP : NOW + i);
        assert_true(bytes_eq(r.value, text(i == 1 ? "value-1" : "value-3")));
    }
    assert_int_equal(record_iter_next(it, &r), 0);
    record_iter_free(it);
}

static void compaction_keeps_offsets_and_sequences(void **state)
{
    (void)state;
    for (int codec = 0; codec < CODEC_COUNT; codec++) {
        struct strbuf batch = make_batch(5, (enum codec)codec);
        batch_set_offset((uint8_t *)batch.p, 100);
        batch_set_leader_epoch((uint8_t *)batch.p, 7);
        struct batch b = only_batch((struct bytes){(uint8_t *)batch.p, (int32_t)batch.len});
        b.producer_id = 9;
        b.producer_epoch = 2;
        b.base_sequence = 30;
        b.attributes |= ATTR_TRANSACTIONAL;
        struct strbuf less = keep_some(&b, 0x0a, NO_TIMESTAMP);
        struct batch after = only_batch((struct bytes){(uint8_t *)less.p, (int32_t)less.len});
        assert_int_equal(after.attributes, codec | ATTR_TRANSACTIONAL);
        assert_int_equal(after.base_offset, 100);
        assert_int_equal(after.last_offset, 104);
        assert_int_equal(after.leader_epoch, 7);
        assert_int_equal(after.producer_id, 9);
        assert_int_equal(after.producer_epoch, 2);
        assert_int_equal(batch_last_sequence(&after), 34);
        assert_int_equal(after.base_timestamp, NOW + 1);
        assert_int_equal(after.max_timestamp, NOW + 3);
        check_second_and_fourth(&after, 100);
        strbuf_deinit(&batch);
        strbuf_deinit(&less);
    }
}

static void a_delete_horizon_takes_the_place_of_the_first_time(void **state)
{
    (void)state;
    struct strbuf batch = make_batch(5, CODEC_NONE);
    struct batch b = only_batch((struct bytes){(uint8_t *)batch.p, (int32_t)batch.len});
    struct strbuf first = keep_some(&b, 0x1f, NOW + 60000);
    b = only_batch((struct bytes){(uint8_t *)first.p, (int32_t)first.len});
    assert_true(batch_has_delete_horizon(&b));
    assert_int_equal(b.base_timestamp, NOW + 60000);
    assert_int_equal(b.max_timestamp, NOW + 4);
    struct strbuf second = keep_some(&b, 0x0a, b.base_timestamp);
    b = only_batch((struct bytes){(uint8_t *)second.p, (int32_t)second.len});
    assert_int_equal(b.base_timestamp, NOW + 60000);
    check_second_and_fourth(&b, 0);
    strbuf_deinit(&batch);
    strbuf_deinit(&first);
    strbuf_deinit(&second);
}

static void an_empty_batch_has_its_producer(void **state)
{
    (void)state;
    struct strbuf batch = make_batch(5, CODEC_ZSTD), out = {0};
    struct record r;
    batch_set_offset((uint8_t *)batch.p, 100);
    struct batch b = only_batch((struct bytes){(uint8_t *)batch.p, (int32_t)batch.len});
    b.producer_id = 9;
    b.base_sequence = 30;
    b.attributes |= ATTR_DELETE_HORIZON;
    batch_write_empty(&b, &out);
    struct batch after = only_batch((struct bytes){(uint8_t *)out.p, (int32_t)out.len});
    assert_int_equal(after.size, BATCH_HEADER_SIZE);
    assert_int_equal(after.attributes, 0);
    assert_int_equal(after.base_timestamp, NO_TIMESTAMP);
    assert_int_equal(after.max_timestamp, NOW + 4);
    assert_int_equal(after.producer_id, 9);
    assert_int_equal(batch_last_sequence(&after), 34);
    assert_int_equal(after.last_offset, 104);
    struct record_iter *it = record_iter_new(&after, &arena);
    assert_int_equal(record_iter_next(it, &r), 0);
    record_iter_free(it);
    strbuf_deinit(&batch);
    strbuf_deinit(&out);
}

static void old_wrappers_are_compacted(void **state)
{
    (void)state;
    for (int magic = 0; magic <= 1; magic++) {
        for (int codec = CODEC_GZIP; codec <= CODEC_LZ4; codec++) {
            struct strbuf batch = make_batch(5, (enum codec)codec), old = {0};
            batch_set_offset((uint8_t *)batch.p, 1000);
            struct bytes in = {(uint8_t *)batch.p, (int32_t)batch.len};
            assert_int_equal(records_down_convert(in, (int8_t)magic, 1000, &old), ERR_NONE);
            struct batch b = only_batch((struct bytes){(uint8_t *)old.p, (int32_t)old.len});
            struct strbuf less = keep_some(&b, 0x0a, NO_TIMESTAMP);
            struct batch after = only_batch((struct bytes){(uint8_t *)less.p, (int32_t)less.len});
            assert_int_equal(after.magic, magic);
            assert_int_equal(after.last_offset, 1003);
            assert_int_equal(after.max_timestamp, magic == 0 ? NO_TIMESTAMP : NOW + 3);
            check_second_and_fourth(&after, 1000);
            strbuf_deinit(&batch);
            strbuf_deinit(&old);
            strbuf_deinit(&less);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        CASE(the_checksum_is_castagnoli),
        CASE(every_codec_comes_back),
        CASE(a_topic_may_want_another_codec),
        CASE(old_messages_become_a_batch),
        CASE(old_wrappers_become_a_batch),
        CASE(batches_become_old_messages),
        CASE(zstd_has_no_old_form),
        CASE(an_old_consumer_gets_what_lies_before_zstd),
        CASE(the_broker_may_set_the_time),
        CASE(a_wrong_checksum_is_refused),
        CASE(a_large_batch_is_refused),
        CASE(two_batches_are_refused),
        CASE(times_out_of_range_are_refused),
        CASE(compacted_topics_need_keys),
        CASE(what_is_refused_takes_no_memory_each),
        CASE(mutilated_batches_are_survived),
        CASE(a_bomb_does_not_fill_memory),
        CASE(offsets_may_not_run_over),
        CASE(compaction_keeps_offsets_and_sequences),
        CASE(a_delete_horizon_takes_the_place_of_the_first_time),
        CASE(an_empty_batch_has_its_producer),
        CASE(old_wrappers_are_compacted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
