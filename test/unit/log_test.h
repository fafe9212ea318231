/* What tests of logs share: settings without limits, and batches. */
#ifndef BARNABAS_LOG_TEST_H
#define BARNABAS_LOG_TEST_H

#include "test.h"

#include "../append_alone.h"
#include "log/plog_internal.h"
#include "storage/storage.h"

static inline void set_up_config(struct topic_config *c)
{
    *c = (struct topic_config){.segment_bytes = 1 << 20,
                               .segment_ms = INT64_MAX / 4,
                               .segment_index_bytes = 1 << 20,
                               .index_interval_bytes = 128,
                               .retention_ms = -1,
                               .retention_bytes = -1,
                               .file_delete_delay_ms = 0,
                               .flush_messages = INT64_MAX,
                               .flush_ms = INT64_MAX,
                               .cleanup_policy = CLEANUP_POLICY_DELETE,
                               .max_compaction_lag_ms = INT64_MAX,
                               .max_message_bytes = 1 << 20,
                               .min_insync_replicas = 1};
}

/* A batch of `count` records, each with `size` bytes of value, as a producer would send it. */
static inline struct strbuf make_batch(int count, int size, int64_t timestamp, int64_t producer, int32_t sequence)
{
    struct batch_builder b;
    struct strbuf out = {0};
    char *value = calloc(1, (size_t)size + 1);
    batch_builder_init(&b, CODEC_NONE);
    b.head.producer_id = producer;
    b.head.producer_epoch = producer >= 0 ? 0 : -1;
    b.head.base_sequence = sequence;
    for (int i = 0; i < count; i++) {
        struct record r = {.offset = i, .timestamp = timestamp, .value = {(uint8_t *)value, size}};
        memset(value, 'a' + i % 26, (size_t)size);
        batch_builder_add(&b, &r);
    }
    assert_true(batch_builder_finish(&b, CODEC_LEVEL_DEFAULT, &out));
    batch_builder_deinit(&b);
    free(value);
    return out;
}

/* Something by that name that exists, and cannot be read, whoever tries. */
static inline void make_unreadable(const char *path)
{
    unlink(path);
    assert_int_equal(symlink(path, path), 0);
}

static inline enum kafka_error append_batch(struct plog *log, struct strbuf batch, int count, int32_t epoch,
                                            struct append_result *result)
{
    struct prepared p = {.bytes = {(uint8_t *)batch.p, (int32_t)batch.len}, .offsets = count};
    enum kafka_error error = append_alone(log, &p, epoch, result);
    strbuf_deinit(&batch);
    return error;
}

#endif
