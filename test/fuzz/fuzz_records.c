/*
 * Whatever a producer sends as records: checked and rebuilt by all kinds of rules, and what is accepted is read as
 * the log reads it, converted for old consumers, and accepted once more. The first byte chooses the rules.
 */
#include "base/base.h"
#include "record/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { NOW = 1700000000, MEMORY = 8 << 20 };

static struct record_rules rules_of(uint8_t choice)
{
    return (struct record_rules){.keep_codec = (choice & 7) > 4,
                                 .codec = (enum codec)((choice & 7) % CODEC_COUNT),
                                 .level = CODEC_LEVEL_DEFAULT,
                                 .log_append_time = (choice & 8) != 0,
                                 .compacted = (choice & 16) != 0,
                                 .topic = "t",
                                 .before_max_ms = INT64_MAX,
                                 .after_max_ms = (choice & 32) != 0 ? 3600000 : INT64_MAX,
                                 .max_batch_size = 1 << 20,
                                 .from_client = (choice & 64) == 0};
}

static void read_batch(const struct batch *b)
{
    struct arena a;
    struct record r;
    arena_init(&a, MEMORY);
    struct record_iter *it = record_iter_new(b, &a);
    while (it != NULL && record_iter_next(it, &r) > 0) {
        struct bytes headers = r.headers;
        struct record_header h;
        for (int32_t i = 0; i < r.header_count && record_header_next(&headers, &h); i++)
            ;
    }
    record_iter_free(it);
    arena_deinit(&a);
}

static void read_all(struct bytes bytes)
{
    struct bytes rest = bytes;
    struct batch b;
    while (rest.len > 0 && batch_next(&rest, &b) == BATCH_OK) {
        (void)batch_crc_ok(&b);
        read_batch(&b);
    }
    for (int8_t magic = 0; magic < 2; magic++) {
        struct strbuf out = {0};
        (void)records_down_convert(bytes, magic, 0, &out);
        strbuf_deinit(&out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a, again;
    struct prepared p, second;
    if (size < 2 || size > 1 << 20)
        return 0;
    struct record_rules rules = rules_of(data[0]);
    arena_init(&a, MEMORY);
    arena_init(&again, 2 * MEMORY);
    uint8_t *copy = arena_copy(&a, data + 1, size - 1);
    read_all((struct bytes){data + 1, (int32_t)size - 1});
    if (records_prepare(copy, (int32_t)size - 1, &rules, NOW, &a, &p) == ERR_NONE) {
        ensure(p.offsets > 0 && p.bytes.len > 0);
        read_all(p.bytes);
        if (rules.log_append_time)
            p.bytes.len = 0; /* no producer may claim a time of appending */
        uint8_t *accepted = arena_copy(&again, p.bytes.p, (size_t)p.bytes.len);
        if (p.bytes.len > 0) {
            ensure(records_prepare(accepted, p.bytes.len, &rules, NOW, &again, &second) == ERR_NONE);
            ensure(second.offsets == p.offsets);
        }
    }
    arena_deinit(&a);
    arena_deinit(&again);
    return 0;
}
