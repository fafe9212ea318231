/* Compaction: the map of keys, and what a pass leaves of a log. */
#include "test.h"

#include <dirent.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "../append_alone.h"
#include "log/compact_internal.h"
#include "log/file.h"
#include "storage/cleaner_internal.h"
#include "storage/storage.h"

/* ---- The map ---- */

static struct bytes key_of(int i, char buf[16])
{
    int n = snprintf(buf, 16, "key %d", i);
    return (struct bytes){(uint8_t *)buf, n};
}

static bool put(struct offset_map *map, struct bytes key, int64_t offset)
{
    return offset_map_put(map, offset_map_key(map, key), offset);
}

static int64_t get(const struct offset_map *map, struct bytes key)
{
    return offset_map_get(map, offset_map_key(map, key));
}

static void the_map_knows_the_last_offset_of_a_key(void **state UNUSED)
{
    struct offset_map *map = offset_map_new(1000 * OFFSET_MAP_ENTRY, 0.9);
    char buf[16];
    for (int i = 0; i < 800; i++)
        assert_true(put(map, key_of(i, buf), i));
    for (int i = 0; i < 800; i += 2)
        assert_true(put(map, key_of(i, buf), 5000 + i));
    assert_int_equal(offset_map_count(map), 800);
    for (int i = 0; i < 800; i++)
        assert_int_equal(get(map, key_of(i, buf)), i % 2 == 0 ? 5000 + i : i);
    assert_int_equal(get(map, key_of(800, buf)), -1);
    assert_int_equal(get(map, (struct bytes){(const uint8_t *)"", 0}), -1);
    offset_map_free(map);
}

static void the_map_is_full_at_its_load_factor(void **state UNUSED)
{
    struct offset_map *map = offset_map_new(100 * OFFSET_MAP_ENTRY + 5, 0.75);
    char buf[16];
    int i = 0;
    while (put(map, key_of(i, buf), i))
        i++;
    assert_int_equal(i, 75);
    assert_int_equal(offset_map_room(map), 75);
    assert_false(put(map, key_of(0, buf), 100));
    assert_int_equal(get(map, key_of(0, buf)), 0);
    offset_map_free(map);
    map = offset_map_new(100 * OFFSET_MAP_ENTRY, 1.0); /* a key that is not there is still found missing */
    for (i = 0; put(map, key_of(i, buf), i); i++)
        ;
    assert_int_equal(get(map, key_of(1000, buf)), -1);
    offset_map_free(map);
}

/* ---- A log ---- */

enum { NOW = 1700000000, RETENTION = 60000, SEGMENT = 600 };

struct fixture {
    struct plog_home home;
    char dir[64];
    struct topic_config config;
    struct plog *log;
    struct compact_limits limits;
    int64_t now;
};

static const struct plog_origin fresh = {
    .recovery_point = -1, .start_offset = -1, .high_watermark = -1, .clean_end = -1, .clean = true};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    temp_dir_make(f->dir);
    f->home.path = f->dir;
    f->config = (struct topic_config){.segment_bytes = SEGMENT,
                                      .segment_ms = INT64_MAX / 4,
                                      .segment_index_bytes = 1 << 20,
                                      .index_interval_bytes = 128,
                                      .retention_ms = -1,
                                      .retention_bytes = -1,
                                      .flush_messages = INT64_MAX,
                                      .flush_ms = INT64_MAX,
                                      .cleanup_policy = CLEANUP_POLICY_COMPACT,
                                      .max_compaction_lag_ms = INT64_MAX,
                                      .delete_retention_ms = RETENTION,
                                      .max_message_bytes = 1 << 20};
    f->log = plog_load(&f->home, "t", 0, &f->config, &fresh);
    assert_non_null(f->log);
    f->limits = (struct compact_limits){.map_bytes = 1 << 20, .load_factor = 0.9, .chunk = 300};
    f->now = NOW;
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    plog_unref(f->log);
    temp_dir_remove(f->dir);
    free(f);
    return 0;
}

/* Batches of one record or more; `text` is "key=value key key=" and so on: "a=" is an empty value, "a" a tombstone. */
struct producing {
    int64_t producer;
    int32_t sequence;
    int16_t epoch, attributes;
    int32_t leader_epoch;
    bool uncommitted;
};

static const struct producing plain = {.producer = -1, .sequence = -1, .epoch = -1};

static const struct producing uncommitted = {.producer = -1, .sequence = -1, .epoch = -1, .uncommitted = true};

static struct bytes slice(const char *from, const char *to)
{
    return (struct bytes){(const uint8_t *)from, (int32_t)(to - from)};
}

static int64_t produce_as(struct fixture *f, struct producing how, const char *text)
{
    struct batch_builder b;
    struct strbuf out = {0};
    struct append_result result;
    int32_t count = 0;
    batch_builder_init(&b, how.attributes);
    b.head.producer_id = how.producer;
    b.head.producer_epoch = how.epoch;
    b.head.base_sequence = how.sequence;
    for (const char *p = text; *p != '\0'; count++) {
        const char *end = p + strcspn(p, " "), *eq = memchr(p, '=', (size_t)(end - p));
        struct record r = {.offset = count, .timestamp = NOW + count, .key = slice(p, eq ? eq : end)};
        if (r.key.len == 0)
            r.key.p = NULL;
        if (eq != NULL)
            r.value = slice(eq + 1, end);
        batch_builder_add(&b, &r);
        p = *end ? end + 1 : end;
    }
    assert_true(batch_builder_finish(&b, CODEC_LEVEL_DEFAULT, &out));
    struct prepared p = {.bytes = {(uint8_t *)out.p, (int32_t)out.len}, .offsets = count};
    assert_int_equal(append_alone(f->log, &p, how.leader_epoch, &result), ERR_NONE);
    if (!how.uncommitted)
        plog_set_high_watermark(f->log, INT64_MAX);
    batch_builder_deinit(&b);
    strbuf_deinit(&out);
    return result.first_offset;
}

static int64_t produce(struct fixture *f, const char *text)
{
    return produce_as(f, plain, text);
}

static void roll(struct fixture *f)
{
    lock_take(&f->log->lock);
    if (plog_active(f->log)->size > 0)
        assert_true(plog_roll(f->log, plog_end_offset(f->log)));
    lock_release(&f->log->lock);
    assert_int_equal(plog_flush(f->log), ERR_NONE); /* nothing is compacted before */
}

static enum compact_result run_pass(struct fixture *f)
{
    struct compaction *c = compaction_new(f->log, &f->limits, f->now);
    enum compact_result result = COMPACT_MORE;
    int64_t bytes = 0;
    assert_non_null(c);
    while (result == COMPACT_MORE)
        result = compaction_step(c, &bytes);
    compaction_free(c);
    return result;
}

static void compact(struct fixture *f)
{
    assert_int_equal(run_pass(f), COMPACT_DONE);
}

static void add_text(struct strbuf *out, const struct record *r)
{
    strbuf_printf(out, "%s%" PRId64 ":%.*s", out->len > 0 ? " " : "", r->offset, r->key.len, (const char *)r->key.p);
    if (r->value.p != NULL)
        strbuf_printf(out, "=%.*s", r->value.len, (const char *)r->value.p);
}

/* What a reader from the start gets, as "0:key=value 3:key"; batches to `visit`. */
static void each_batch(struct plog *log, void (*visit)(void *ctx, const struct batch *b), void *ctx)
{
    int64_t next = plog_start_offset(log);
    while (next < plog_end_offset(log)) {
        struct strbuf data = {0};
        struct batch b = {0};
        assert_int_equal(plog_read_bytes(log, next, 1 << 20, INT64_MAX, &data), ERR_NONE);
        struct bytes rest = {(uint8_t *)data.p, (int32_t)data.len};
        if (data.len == 0)
            break;
        while (batch_next(&rest, &b) == BATCH_OK) {
            assert_true(batch_crc_ok(&b));
            assert_true(b.last_offset >= next);
            visit(ctx, &b);
            next = b.last_offset + 1;
        }
        strbuf_deinit(&data);
    }
}

static void add_records(void *ctx, const struct batch *b)
{
    struct arena a = {0};
    struct record r;
    struct record_iter *it = record_iter_new(b, &a);
    if (!batch_is_control(b))
        while (record_iter_next(it, &r) > 0)
            add_text(ctx, &r);
    record_iter_free(it);
    arena_deinit(&a);
}

static void check_log(struct plog *log, const char *expected)
{
    struct strbuf text = {0};
    strbuf_puts(&text, "");
    each_batch(log, add_records, &text);
    assert_string_equal(text.p, expected);
    strbuf_deinit(&text);
}

static void reload(struct fixture *f, bool clean)
{
    struct plog_origin o = {.recovery_point = f->log->recovery_point,
                            .start_offset = -1,
                            .high_watermark = INT64_MAX,
                            .clean_end = f->log->clean_end,
                            .clean = clean};
    if (clean)
        assert_true(plog_close(f->log));
    plog_unref(f->log);
    f->log = plog_load(&f->home, "t", 0, &f->config, &o);
    assert_non_null(f->log);
}

static void the_newest_of_each_key_stays(void **state)
{
    struct fixture *f = *state;
    produce(f, "a=1 b=1 c=1");
    produce(f, "a=2 d=1");
    roll(f);
    produce(f, "b=2 a=3");
    produce(f, "e=1");
    roll(f);
    produce(f, "c=9 c=10"); /* the active segment is left alone */
    compact(f);
    check_log(f->log, "2:c=1 4:d=1 5:b=2 6:a=3 7:e=1 8:c=9 9:c=10");
    assert_int_equal(f->log->clean_end, 8);
    assert_int_equal(plog_end_offset(f->log), 10);
    reload(f, true);
    check_log(f->log, "2:c=1 4:d=1 5:b=2 6:a=3 7:e=1 8:c=9 9:c=10");
    roll(f);
    compact(f);
    check_log(f->log, "4:d=1 5:b=2 6:a=3 7:e=1 9:c=10");
    reload(f, false);
    check_log(f->log, "4:d=1 5:b=2 6:a=3 7:e=1 9:c=10");
    assert_int_equal(plog_end_offset(f->log), 10);
}

static void small_segments_become_one(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 8; i++) {
        produce(f, i % 2 ? "a=1 b=1" : "a=1 c=1");
        roll(f);
    }
    assert_int_equal(f->log->segment_count, 9);
    compact(f);
    check_log(f->log, "13:c=1 14:a=1 15:b=1");
    assert_int_equal(f->log->segment_count, 3); /* seven fit into one */
    produce(f, "a=2");
    roll(f);
    compact(f);
    assert_int_equal(f->log->segment_count, 2);
    check_log(f->log, "13:c=1 15:b=1 16:a=2");
}

static void records_without_a_key_go(void **state)
{
    struct fixture *f = *state;
    produce(f, "=x a=1 =y");
    roll(f);
    compact(f);
    check_log(f->log, "1:a=1");
}

static void tombstones_stay_until_their_horizon(void **state)
{
    struct fixture *f = *state;
    produce(f, "a=1 b=1");
    produce(f, "a c=1");
    roll(f);
    compact(f);
    check_log(f->log, "1:b=1 2:a 3:c=1");
    produce(f, "x=1 d=1");
    roll(f);
    f->now += RETENTION - 1;
    compact(f);
    check_log(f->log, "1:b=1 2:a 3:c=1 4:x=1 5:d=1");
    produce(f, "x=2");
    roll(f);
    f->now += 1;
    compact(f);
    check_log(f->log, "1:b=1 3:c=1 5:d=1 6:x=2");
}

static void note_end(void *ctx, const struct batch *b)
{
    *(int64_t *)ctx = b->last_offset + 1;
}

static void who_copies_the_log_comes_to_its_end(void **state)
{
    struct fixture *f = *state;
    int64_t end = 0;
    produce(f, "a=1 b=1");
    produce(f, "a");
    roll(f);
    compact(f);
    check_log(f->log, "1:b=1 2:a");
    f->now += RETENTION;
    f->log->clean_end = 0;
    compact(f);
    check_log(f->log, "1:b=1");
    each_batch(f->log, note_end, &end);
    assert_int_equal(end, plog_end_offset(f->log));
}

struct seen {
    struct batch b[16];
    int count;
};

static void note(void *ctx, const struct batch *b)
{
    struct seen *s = ctx;
    assert_true(s->count < 16);
    s->b[s->count++] = *b;
}

static void batches_keep_what_they_are_known_by(void **state)
{
    struct fixture *f = *state;
    struct seen s = {0};
    produce_as(f, (struct producing){7, 10, 2, 0, 3, false}, "a=1 b=1 c=1");
    produce_as(f, (struct producing){7, 13, 2, 0, 5, false}, "a=2 b=2 d");
    roll(f);
    compact(f);
    check_log(f->log, "2:c=1 3:a=2 4:b=2 5:d");
    each_batch(f->log, note, &s);
    assert_int_equal(s.count, 2);
    assert_int_equal(s.b[0].base_offset, 0);
    assert_int_equal(s.b[0].last_offset, 2);
    assert_int_equal(s.b[0].leader_epoch, 3);
    assert_int_equal(s.b[0].base_sequence, 10);
    assert_int_equal(s.b[0].producer_epoch, 2);
    assert_int_equal(s.b[0].base_timestamp, NOW + 2);
    assert_true(batch_has_delete_horizon(&s.b[1]));
    assert_int_equal(s.b[1].base_timestamp, NOW + RETENTION);
    assert_int_equal(s.b[1].max_timestamp, NOW + 2);
    assert_int_equal(plog_latest_epoch(f->log), 5);
    assert_int_equal(plog_epoch_of(f->log, 1), 3);
}

static void the_last_batch_of_a_producer_stays(void **state)
{
    struct fixture *f = *state;
    struct seen s = {0};
    struct append_result result;
    produce_as(f, (struct producing){.producer = 7, .sequence = 0}, "a=1");
    produce_as(f, (struct producing){.producer = 7, .sequence = 1}, "a=2 b=1");
    produce(f, "a=3 b=2");
    roll(f);
    compact(f);
    check_log(f->log, "3:a=3 4:b=2");
    each_batch(f->log, note, &s);
    assert_int_equal(s.count, 2);
    assert_int_equal(s.b[0].count, 0);
    assert_int_equal(s.b[0].size, BATCH_HEADER_SIZE);
    assert_int_equal(s.b[0].base_offset, 1);
    assert_int_equal(s.b[0].last_offset, 2);
    reload(f, false);
    assert_int_equal(producers_last_sequence(&f->log->producers, 7), 2);
    assert_int_equal(produce_as(f, (struct producing){.producer = 7, .sequence = 1}, "a=2 b=1"), 1); /* a repetition */
    struct strbuf out = {0};
    struct batch_builder b;
    batch_builder_init(&b, 0);
    b.head.producer_id = 7;
    b.head.producer_epoch = 0;
    b.head.base_sequence = 9;
    batch_builder_add(&b, &(struct record){.key = slice("a", "a"), .timestamp = NOW});
    assert_true(batch_builder_finish(&b, CODEC_LEVEL_DEFAULT, &out));
    struct prepared p = {.bytes = {(uint8_t *)out.p, (int32_t)out.len}, .offsets = 1};
    assert_int_equal(append_alone(f->log, &p, 0, &result), ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    batch_builder_deinit(&b);
    strbuf_deinit(&out);
    produce_as(f, (struct producing){.producer = 7, .sequence = 3}, "z=1");
    roll(f);
    compact(f); /* it has a later one now */
    s.count = 0;
    each_batch(f->log, note, &s);
    assert_int_equal(s.count, 2);
    check_log(f->log, "3:a=3 4:b=2 5:z=1");
}

static void the_last_batch_of_each_of_several_producers_stays(void **state)
{
    struct fixture *f = *state;
    struct seen s = {0};
    for (int64_t id = 5; id > 0; id--) /* in no order of ids */
        produce_as(f, (struct producing){.producer = id, .sequence = 0}, "a=1");
    produce(f, "a=2");
    roll(f);
    compact(f);
    check_log(f->log, "5:a=2");
    each_batch(f->log, note, &s);
    assert_int_equal(s.count, 5 + 1);
}

static void a_full_map_takes_several_passes(void **state)
{
    struct fixture *f = *state;
    f->limits.map_bytes = 5 * OFFSET_MAP_ENTRY;
    f->limits.load_factor = 0.8; /* four keys */
    produce(f, "a=1 b=1 c=1 d=1");
    produce(f, "a=2 e=1 f=1");
    roll(f);
    produce(f, "g=1 e=2 a=3 h=1");
    roll(f);
    compact(f);
    assert_int_equal(f->log->clean_end, 4); /* not even "a" again, as a full map takes nothing */
    check_log(f->log, "0:a=1 1:b=1 2:c=1 3:d=1 4:a=2 5:e=1 6:f=1 7:g=1 8:e=2 9:a=3 10:h=1");
    compact(f);
    assert_int_equal(f->log->clean_end, 8);
    check_log(f->log, "1:b=1 2:c=1 3:d=1 4:a=2 5:e=1 6:f=1 7:g=1 8:e=2 9:a=3 10:h=1");
    compact(f);
    check_log(f->log, "1:b=1 2:c=1 3:d=1 6:f=1 7:g=1 8:e=2 9:a=3 10:h=1");
    assert_int_equal(f->log->clean_end, 11);
    struct cleanable todo;
    assert_true(plog_cleanable(f->log, NOW, &todo));
    assert_int_equal(todo.dirty_bytes, 0);
    assert_null(compaction_new(f->log, &f->limits, NOW));
}

static void nothing_above_the_high_watermark_counts(void **state)
{
    struct fixture *f = *state;
    struct cleanable todo;
    produce(f, "a=1 b=1");
    roll(f);
    produce(f, "a=2 b=2");
    roll(f);
    plog_set_high_watermark(f->log, 3);
    assert_true(plog_cleanable(f->log, NOW, &todo));
    assert_int_equal(todo.end, 2);
    compact(f);
    check_log(f->log, "0:a=1 1:b=1 2:a=2 3:b=2");
    plog_set_high_watermark(f->log, 4);
    compact(f);
    check_log(f->log, "2:a=2 3:b=2");
}

static void the_lags_are_kept(void **state)
{
    struct fixture *f = *state;
    struct cleanable todo;
    produce(f, "a=1 b=1");
    roll(f);
    f->log->config.min_cleanable_dirty_ratio = 1;
    f->log->config.min_compaction_lag_ms = 1000;
    assert_true(plog_cleanable(f->log, NOW + 1000, &todo));
    assert_int_equal(todo.dirty_bytes, 0);
    assert_true(plog_cleanable(f->log, NOW + 1001, &todo));
    assert_true(todo.dirty_bytes > 0);
    assert_false(todo.due);
    f->log->config.max_compaction_lag_ms = 5000;
    assert_true(plog_cleanable(f->log, NOW + 5001, &todo));
    assert_false(todo.due);
    assert_int_equal(todo.overdue_ms, 0);
    assert_true(plog_cleanable(f->log, NOW + 5002, &todo));
    assert_true(todo.due);
    assert_int_equal(todo.overdue_ms, 1);
}

static void a_truncation_ends_the_pass(void **state)
{
    struct fixture *f = *state;
    int64_t bytes = 0;
    enum compact_result result = COMPACT_MORE;
    for (int i = 0; i < 10; i++) {
        produce(f, "a=1 b=1 c=1 d=1 e=1 f=1");
        roll(f);
    }
    for (int steps = 1; plog_end_offset(f->log) > 36; steps++) {
        struct compaction *c = compaction_new(f->log, &f->limits, NOW);
        for (int i = 0; i < steps && result == COMPACT_MORE; i++)
            result = compaction_step(c, &bytes);
        assert_int_equal(result, COMPACT_MORE);
        assert_int_equal(plog_truncate(f->log, plog_end_offset(f->log) - 6), ERR_NONE);
        plog_set_high_watermark(f->log, INT64_MAX);
        assert_int_equal(compaction_step(c, &bytes), COMPACT_ABORTED);
        compaction_free(c);
    }
    DIR *dir = opendir(f->log->path);
    for (struct dirent *e; (e = readdir(dir)) != NULL;)
        assert_null(strstr(e->d_name, ".cleaned"));
    closedir(dir);
    produce(f, "z=1");
    roll(f);
    compact(f);
}

static void truncation_below_the_clean_end_lowers_it(void **state)
{
    struct fixture *f = *state;
    produce(f, "a=1 b=1");
    roll(f);
    produce(f, "a=2");
    produce(f, "b=2");
    roll(f);
    compact(f);
    assert_int_equal(f->log->clean_end, 4);
    assert_int_equal(plog_truncate(f->log, 3), ERR_NONE);
    assert_true(f->log->clean_end <= 2);
    produce(f, "a=3");
    roll(f);
    compact(f);
    check_log(f->log, "3:a=3");
}

static void a_deleted_log_is_left_alone(void **state)
{
    struct fixture *f = *state;
    int64_t bytes = 0;
    produce(f, "a=1 b=1");
    roll(f);
    struct compaction *c = compaction_new(f->log, &f->limits, NOW);
    assert_null(compaction_new(f->log, &f->limits, NOW)); /* one at a time */
    assert_int_equal(compaction_step(c, &bytes), COMPACT_MORE);
    assert_true(plog_close(f->log));
    assert_int_equal(compaction_step(c, &bytes), COMPACT_ABORTED);
    compaction_free(c);
    check_log(f->log, "0:a=1 1:b=1");
}

static void a_damaged_log_is_left_alone(void **state)
{
    struct fixture *f = *state;
    char path[256];
    produce(f, "a=1 b=1 c=1");
    produce(f, "a=2");
    roll(f);
    snprintf(path, sizeof(path), "%s/t-0/%020d.log", f->dir, 0);
    FILE *file = fopen(path, "r+");
    fseek(file, 70, SEEK_SET);
    fputc(99, file);
    fclose(file);
    assert_int_equal(run_pass(f), COMPACT_FAILED);
    assert_null(compaction_new(f->log, &f->limits, NOW));
    assert_true(f->log->uncleanable);
    struct cleanable todo;
    assert_false(plog_cleanable(f->log, NOW, &todo));
}

static void dir_failed(void *ctx, const char *dir UNUSED, const char *why UNUSED)
{
    ++*(int *)ctx;
}

/* Where a pass begins in the middle of a segment, the place is looked for among its headers. */
static void a_header_that_is_damaged_before_a_pass_is_no_failure_of_the_disk(void **state)
{
    struct fixture *f = *state;
    char path[256];
    int failures = 0;
    struct plog_host host = {.failed = dir_failed, .ctx = &failures};
    f->log->config.index_interval_bytes = 1 << 20;
    produce(f, "a=1");
    produce(f, "a=2");
    produce(f, "a=3");
    roll(f);
    f->log->clean_end = 2;
    f->home.host = &host;
    snprintf(path, sizeof(path), "%s/t-0/%020d.log", f->dir, 0);
    FILE *file = fopen(path, "r+");
    fseek(file, 8, SEEK_SET);
    fputc(99, file);
    fclose(file);
    assert_int_equal(run_pass(f), COMPACT_FAILED);
    assert_true(f->log->uncleanable);
    assert_int_equal(failures, 0);
    f->home.host = NULL;
}

/* Readers keep what they have. */
static void old_files_stay_readable(void **state)
{
    struct fixture *f = *state;
    struct plog_slice s;
    produce(f, "a=1 b=1 c=1");
    produce(f, "a=2 b=2 c=2");
    roll(f);
    assert_int_equal(plog_read(f->log, 0, 1 << 20, true, INT64_MAX, true, &s), ERR_NONE);
    compact(f);
    uint8_t *data = malloc((size_t)s.region.len);
    assert_int_equal(region_read(&s.region, data), s.region.len);
    struct bytes rest = {data, s.region.len};
    struct batch b;
    assert_int_equal(batch_next(&rest, &b), BATCH_OK);
    assert_int_equal(b.count, 3);
    free(data);
    file_ref_put(s.region.file);
}

/* ---- Transactions ---- */

enum { TXN = ATTR_TRANSACTIONAL, MARKER = ATTR_TRANSACTIONAL | ATTR_CONTROL };

static int64_t end_txn(struct fixture *f, int64_t producer, bool commit)
{
    const uint8_t key[] = {0, 0, 0, commit}, value[] = {0, 0, 0, 0, 0, 9};
    struct batch_builder b;
    struct strbuf out = {0};
    struct append_result result;
    batch_builder_init(&b, MARKER);
    b.head.producer_id = producer;
    b.head.producer_epoch = 0;
    batch_builder_add(&b, &(struct record){.timestamp = NOW, .key = {key, 4}, .value = {value, 6}});
    assert_true(batch_builder_finish(&b, CODEC_LEVEL_DEFAULT, &out));
    struct prepared p = {.bytes = {(uint8_t *)out.p, (int32_t)out.len}, .offsets = 1};
    assert_int_equal(append_alone(f->log, &p, 0, &result), ERR_NONE);
    plog_set_high_watermark(f->log, INT64_MAX);
    batch_builder_deinit(&b);
    strbuf_deinit(&out);
    return result.first_offset;
}

static int64_t txn(struct fixture *f, int64_t producer, int32_t sequence, const char *text)
{
    return produce_as(f, (struct producing){.producer = producer, .sequence = sequence, .attributes = TXN}, text);
}

/* The transaction index of the segment at `base`. */
static void note_aborted(struct fixture *f, int64_t base, struct txn_entry e)
{
    struct strbuf entry = {0};
    char path[PATH_ROOM];
    txn_entry_put(&entry, &e);
    assert_true(file_replace(segment_path(path, f->log->path, base, ".txnindex"), entry.p, entry.len));
    strbuf_deinit(&entry);
}

static int32_t count_aborted(struct fixture *f)
{
    struct arena a = {0};
    struct aborted_txn *found;
    int32_t count;
    assert_int_equal(plog_aborted(f->log, 0, INT64_MAX, &a, &found, &count), ERR_NONE);
    arena_deinit(&a);
    return count;
}

/* The attributes of the control batches, -1 behind the last. */
static void check_markers(struct fixture *f, int first, int second)
{
    struct seen s = {0};
    int expected[] = {first, second, -1}, count = 0;
    each_batch(f->log, note, &s);
    for (int i = 0; i < s.count; i++)
        if (batch_is_control(&s.b[i]))
            assert_int_equal(s.b[i].attributes, expected[count++]);
    assert_int_equal(expected[count], -1);
}

/* New segments to compact, without a producer's state to keep. */
static void go_on(struct fixture *f, const char *text, int64_t later)
{
    producers_clear(&f->log->producers, plog_end_offset(f->log));
    produce(f, text);
    roll(f);
    f->now += later;
    compact(f);
}

static void a_commit_stays_while_its_data_does(void **state)
{
    struct fixture *f = *state;
    txn(f, 7, 0, "a=1 b=1");
    end_txn(f, 7, true);
    roll(f);
    go_on(f, "a=2", 0);
    check_log(f->log, "1:b=1 3:a=2");
    check_markers(f, MARKER, -1);
    go_on(f, "b=2", 0); /* its data is met for the last time */
    check_log(f->log, "3:a=2 4:b=2");
    check_markers(f, MARKER, -1);
    go_on(f, "c=1", 0);
    check_markers(f, MARKER | ATTR_DELETE_HORIZON, -1);
    go_on(f, "d=1", RETENTION - 1);
    check_markers(f, MARKER | ATTR_DELETE_HORIZON, -1);
    go_on(f, "e=1", 1);
    check_markers(f, -1, -1);
    check_log(f->log, "3:a=2 4:b=2 5:c=1 6:d=1 7:e=1");
}

static void aborted_data_goes_at_once(void **state)
{
    struct fixture *f = *state;
    produce(f, "a=0");
    int64_t first = txn(f, 7, 0, "a=1 b=1");
    txn(f, 8, 0, "c=1");
    roll(f);
    txn(f, 7, 2, "d=1");
    int64_t last = end_txn(f, 7, false);
    note_aborted(f, 4, (struct txn_entry){7, first, last, 1});
    end_txn(f, 8, true);
    txn(f, 7, 3, "e=1");
    end_txn(f, 7, true);
    roll(f);
    assert_int_equal(count_aborted(f), 1);
    go_on(f, "f=1", 0);
    check_log(f->log, "0:a=0 3:c=1 7:e=1 9:f=1");
    assert_int_equal(count_aborted(f), 1);
    go_on(f, "f=2", 0);
    check_log(f->log, "0:a=0 3:c=1 7:e=1 10:f=2");
    assert_int_equal(count_aborted(f), 0);
    struct seen s = {0};
    each_batch(f->log, note, &s);
    assert_int_equal(s.b[2].base_offset, last);
    assert_int_equal(s.b[2].attributes, MARKER | ATTR_DELETE_HORIZON);
    assert_int_equal(s.b[2].base_timestamp, NOW + RETENTION);
    go_on(f, "f=3", RETENTION);
    check_markers(f, MARKER, MARKER);
    reload(f, false);
    check_log(f->log, "0:a=0 3:c=1 7:e=1 11:f=3");
}

/* It is read while its files get their names, which does not hold up anybody: here they do not get that far. */
static void what_is_swapped_in_needs_no_files(void **state)
{
    struct fixture *f = *state;
    struct timestamp_offset at;
    char path[PATH_ROOM];
    produce(f, "a=0");
    int64_t first = txn(f, 7, 0, "a=1 b=1");
    roll(f);
    int64_t last = end_txn(f, 7, false);
    note_aborted(f, 3, (struct txn_entry){7, first, last, 1});
    for (int i = 0; i < 3; i++)
        produce(f, "c=1 d=1");
    roll(f);
    segment_path(path, f->log->path, 0, ".log.swap");
    assert_int_equal(mkdir(path, 0755), 0);
    assert_int_equal(run_pass(f), COMPACT_FAILED);
    assert_int_equal(f->log->segment_count, 2);
    check_log(f->log, "0:a=0 8:c=1 9:d=1");
    assert_int_equal(count_aborted(f), 1);
    assert_int_equal(plog_offset_for_time(f->log, NOW + 1, &at), ERR_NONE);
    assert_int_equal(at.offset, 9);
}

/* Its epoch fences what came before it. The marker goes in time, but for its batch. */
static void a_producer_with_markers_only_is_known_by_its_last(void **state)
{
    struct fixture *f = *state;
    struct seen s = {0};
    txn(f, 7, 0, "a=1");
    end_txn(f, 7, true);
    roll(f);
    for (int i = 0; i < 3; i++) {
        lock_take(&f->log->lock);
        producers_clear(&f->log->producers, 1);
        assert_true(plog_replay_producers(f->log, plog_end_offset(f->log)));
        lock_release(&f->log->lock);
        produce(f, "a=2");
        roll(f);
        compact(f);
        f->now += RETENTION;
    }
    each_batch(f->log, note, &s);
    assert_int_equal(s.b[0].base_offset, 1);
    assert_int_equal(s.b[0].count, 0);
    check_markers(f, MARKER, -1);
}

static void old_formats_are_compacted(void **state)
{
    struct fixture *f = *state;
    const char *values[] = {"1", "2", "3"};
    for (int magic = 0; magic <= 1; magic++) {
        struct strbuf batch = {0}, old = {0};
        struct append_result result;
        struct batch_builder b;
        batch_builder_init(&b, magic ? CODEC_GZIP : CODEC_NONE);
        for (int i = 0; i < 3; i++) {
            const char *key = i == 1 ? "b" : "a";
            struct record r = {.offset = i, .timestamp = NOW, .key = slice(key, key + 1)};
            if (i < 2)
                r.value = slice(values[i], values[i] + 1);
            batch_builder_add(&b, &r);
        }
        assert_true(batch_builder_finish(&b, CODEC_LEVEL_DEFAULT, &batch));
        batch_set_offset((uint8_t *)batch.p, plog_end_offset(f->log));
        struct bytes in = {(uint8_t *)batch.p, (int32_t)batch.len};
        assert_int_equal(records_down_convert(in, (int8_t)magic, 0, &old), ERR_NONE);
        in = (struct bytes){(uint8_t *)old.p, (int32_t)old.len};
        assert_int_equal(plog_append_follower(f->log, in, 0, &result), ERR_NONE);
        plog_set_high_watermark(f->log, INT64_MAX);
        batch_builder_deinit(&b);
        strbuf_deinit(&batch);
        strbuf_deinit(&old);
        roll(f);
    }
    compact(f);
    check_log(f->log, "4:b=2 5:a");
    reload(f, false);
    check_log(f->log, "4:b=2 5:a");
    f->log->config.delete_retention_ms = -1000000000; /* of the time of files, which is not this test's */
    produce(f, "c=1");
    roll(f);
    compact(f);
    check_log(f->log, "4:b=2 6:c=1");
}

/* ---- The cleaner ---- */

struct house {
    struct fixture *f;
    const char *dirs[1];
    struct broker_config config;
    struct log_manager *manager;
};

static void house_topic(void *ctx, const char *topic, struct topic_config *config)
{
    const struct house *h = ctx;
    *config = h->f->config;
    if (strcmp(topic, "kept") == 0)
        config->cleanup_policy = CLEANUP_POLICY_DELETE;
}

static void house_open(struct house *h, struct fixture *f)
{
    struct fail fail;
    *h = (struct house){.f = f, .dirs = {f->dir}};
    h->config = (struct broker_config){.log_dirs = {.items = h->dirs, .count = 1},
                                       .num_recovery_threads_per_data_dir = 1,
                                       .log_cleaner_enable = true,
                                       .log_cleaner_threads = 1,
                                       .log_cleaner_backoff_ms = 15000,
                                       .log_cleaner_io_max_bytes_per_second = 1e300,
                                       .log_cleaner_dedupe_buffer_size = 2 << 20,
                                       .log_cleaner_io_buffer_size = 512 << 10,
                                       .log_cleaner_io_buffer_load_factor = 0.9};
    struct log_manager_options options = {.config = &h->config, .topic_overrides = house_topic, .ctx = h};
    h->manager = log_manager_new(&options, &fail);
    assert_non_null(h->manager);
    assert_true(log_manager_load(h->manager, &fail));
}

static void house_close(struct house *h)
{
    log_manager_close(h->manager, NULL, NULL);
    log_manager_free(h->manager);
}

/* Another log for the fixture's functions; the fixture's own is left behind. */
static struct plog *open_log(struct house *h, const char *topic)
{
    struct topic_config config;
    struct plog *log;
    house_topic(h, topic, &config);
    assert_int_equal(log_manager_open(h->manager, topic, 0, (struct uuid){0}, true, &config, &log), ERR_NONE);
    plog_unref(h->f->log);
    return h->f->log = log;
}

static void check_checkpoint(struct fixture *f, const char *expected)
{
    char path[128];
    struct strbuf text = {0};
    snprintf(path, sizeof(path), "%s/cleaner-offset-checkpoint", f->dir);
    assert_int_equal(file_load(path, &text), FILE_FOUND);
    strbuf_puts(&text, "");
    assert_string_equal(text.p, expected);
    strbuf_deinit(&text);
}

static void the_cleaner_compacts_what_is_dirty_enough(void **state)
{
    struct fixture *f = *state;
    struct house h;
    assert_true(plog_close(f->log));
    f->config.min_cleanable_dirty_ratio = 0.5;
    house_open(&h, f);
    open_log(&h, "kept");
    produce(f, "a=1 a=2");
    roll(f);
    open_log(&h, "dirty");
    produce(f, "a=1 a=2");
    produce(f, "b=1 b=2");
    roll(f);
    log_manager_run_cleaner(h.manager);
    check_log(f->log, "1:a=2 3:b=2");
    check_checkpoint(f, "0\n1\ndirty 0 4\n");
    produce(f, "a=3");
    roll(f);
    log_manager_run_cleaner(h.manager); /* too little */
    check_log(f->log, "1:a=2 3:b=2 4:a=3");
    produce(f, "c=1 c=2 c=3 c=4 c=5 c=6 c=7");
    roll(f);
    log_manager_run_cleaner(h.manager);
    check_log(f->log, "3:b=2 4:a=3 11:c=7");
    check_log(open_log(&h, "kept"), "0:a=1 1:a=2");
    house_close(&h);
    house_open(&h, f);
    assert_int_equal(open_log(&h, "dirty")->clean_end, 12);
    assert_int_equal(log_manager_delete(h.manager, f->log), ERR_NONE);
    house_close(&h);
    check_checkpoint(f, "0\n0\n");
}

/* Or what comes to stand there instead would count as compacted after a crash, and never be looked at. */
static void how_far_it_was_cleaned_goes_with_the_records(void **state)
{
    struct fixture *f = *state;
    struct house h;
    assert_true(plog_close(f->log));
    house_open(&h, f);
    open_log(&h, "x");
    produce(f, "a=1 a=2 b=1 b=2");
    roll(f);
    log_manager_run_cleaner(h.manager);
    check_checkpoint(f, "0\n1\nx 0 4\n");
    assert_int_equal(log_manager_delete(h.manager, f->log), ERR_NONE);
    open_log(&h, "x"); /* another topic of that name */
    check_checkpoint(f, "0\n0\n");
    produce(f, "a=1 a=2");
    roll(f);
    produce(f, "b=1 b=2");
    roll(f);
    log_manager_run_cleaner(h.manager);
    check_checkpoint(f, "0\n1\nx 0 4\n");
    assert_int_equal(plog_truncate(f->log, 3), ERR_NONE);
    produce(f, "b=3"); /* not before it is written */
    check_checkpoint(f, "0\n1\nx 0 0\n");
    house_close(&h);
}

static void retention_waits_for_compaction(void **state)
{
    struct fixture *f = *state;
    int64_t bytes = 0;
    f->log->config.cleanup_policy |= CLEANUP_POLICY_DELETE;
    f->log->config.retention_ms = 1000;
    produce(f, "a=1 b=1");
    roll(f);
    struct compaction *c = compaction_new(f->log, &f->limits, NOW);
    assert_int_equal(compaction_step(c, &bytes), COMPACT_MORE);
    assert_int_equal(plog_apply_retention(f->log, NOW + 100000), 0);
    compaction_free(c);
    assert_int_equal(plog_apply_retention(f->log, NOW + 100000), 1);
}

/* ---- Beside others ---- */

struct reader {
    struct plog *log;
    atomic_bool stop;
    int64_t rounds;
};

/* Whoever reads sees offsets that grow, and of each key a value that never goes back. */
static void read_all(struct reader *r)
{
    int newest = -1;
    int64_t next = 0, end = plog_high_watermark(r->log);
    while (next < end) {
        struct strbuf data = {0};
        struct batch b;
        assert_int_equal(plog_read_bytes(r->log, next, 2000, end, &data), ERR_NONE);
        struct bytes rest = {(uint8_t *)data.p, (int32_t)data.len};
        while (batch_next(&rest, &b) == BATCH_OK) {
            struct strbuf text = {0};
            assert_true(batch_crc_ok(&b) && b.last_offset >= next);
            next = b.last_offset + 1;
            strbuf_puts(&text, "");
            add_records(&text, &b);
            const char *value = strchr(text.p, '=');
            assert_true(value == NULL || atoi(value + 1) >= newest);
            newest = value != NULL ? atoi(value + 1) : newest;
            strbuf_deinit(&text);
        }
        if (data.len == 0)
            next = end;
        strbuf_deinit(&data);
    }
}

static void *read_on(void *arg)
{
    struct reader *r = arg;
    for (; !atomic_load(&r->stop); r->rounds++)
        read_all(r);
    return NULL;
}

static void appends_and_reads_go_on_meanwhile(void **state)
{
    enum { KEYS = 7, APPENDS = 2000 };
    struct fixture *f = *state;
    struct house h;
    struct fail fail;
    struct loop_thread control;
    struct reader reader = {0};
    struct loop *loop = loop_new("control");
    struct workers *workers = workers_new("worker", 2);
    pthread_t thread;
    assert_true(plog_close(f->log));
    house_open(&h, f);
    house_close(&h);
    h.config.log_cleaner_backoff_ms = 1;
    h.config.log_cleaner_threads = 2;
    h.config.log_flush_scheduler_interval_ms = INT32_MAX;
    h.config.log_retention_check_interval_ms = h.config.log_flush_offset_checkpoint_interval_ms = 1000000;
    h.config.log_flush_start_offset_checkpoint_interval_ms = 1000000;
    h.config.replica_high_watermark_checkpoint_interval_ms = 1000000;
    h.config.producer_id_expiration_check_interval_ms = 1000000;
    struct log_manager_options options = {
        .config = &h.config, .topic_overrides = house_topic, .ctx = &h, .loop = loop, .workers = workers};
    h.manager = log_manager_new(&options, &fail);
    assert_true(log_manager_load(h.manager, &fail));
    reader.log = open_log(&h, "busy");
    log_manager_start(h.manager);
    loop_thread_start(&control, loop);
    assert_int_equal(pthread_create(&thread, NULL, read_on, &reader), 0);
    for (int i = 0; i < APPENDS; i++) {
        char text[32];
        snprintf(text, sizeof(text), "%c=%d", 'a' + i % KEYS, i);
        produce(f, text);
        if (i % 100 != 99)
            continue;
        int64_t end = plog_end_offset(f->log);
        produce_as(f, uncommitted, text);
        assert_int_equal(plog_truncate(f->log, end), ERR_NONE);
    }
    atomic_store(&reader.stop, true);
    pthread_join(thread, NULL);
    roll(f);
    for (int i = 0; i < 500 && plog_size(f->log) > 2 * SEGMENT; i++)
        usleep(10000);
    assert_true(plog_size(f->log) <= 2 * SEGMENT);
    loop_thread_join(&control);
    log_manager_stop(h.manager);
    workers_stop(workers);
    loop_drain(loop);
    house_close(&h);
    workers_free(workers);
    loop_free(loop);
}

/* ---- Crashes ---- */

static void copy_tree(const char *from, const char *to)
{
    char command[512];
    snprintf(command, sizeof(command), "rm -rf '%s' && cp -a '%s' '%s'", to, from, to);
    assert_int_equal(system(command), 0);
}

static void load_copy(struct fixture *f, const char *dir, const char *expected)
{
    struct plog_origin o = {.recovery_point = -1, .high_watermark = INT64_MAX, .clean_end = -1, .clean = false};
    const struct plog_home home = {.path = dir};
    struct plog *log = plog_load(&home, "t", 0, &f->config, &o);
    struct names names;
    assert_non_null(log);
    check_log(log, expected);
    assert_int_equal(plog_end_offset(log), plog_end_offset(f->log));
    assert_true(dir_list(log->path, &names));
    for (size_t i = 0; i < names.n; i++) {
        const char *dot = strrchr(names.v[i], '.');
        assert_false(dot != NULL && (strcmp(dot, ".swap") == 0 || strcmp(dot, ".cleaned") == 0));
    }
    names_free(&names);
    plog_unref(log);
}

static const char before_crash[] = "0:a=1 1:b=1 2:a=2 3:c=1 4:a=3 5:d=1", after_crash[] = "1:b=1 3:c=1 4:a=3 5:d=1";

static const char *const files[] = {".log", ".index", ".timeindex", ".txnindex"};

/* The names of files on the way of a swap, as the steps of plog_swap_in() have them. */
struct crash {
    struct fixture *f;
    char dir[80], path[96]; /* a copy; its log */
    bool done;              /* the new segment counts from here on */
};

static void check_crash(struct crash *c)
{
    char dir[96];
    snprintf(dir, sizeof(dir), "%.70s-again", c->dir);
    copy_tree(c->dir, dir);
    load_copy(c->f, dir, c->done ? after_crash : before_crash);
    temp_dir_remove(dir);
}

static void step(struct crash *c, int64_t base, const char *suffix, const char *from, const char *to)
{
    char a[256], b[256];
    snprintf(a, sizeof(a), "%s/%020" PRId64 "%s%s", c->path, base, suffix, from);
    snprintf(b, sizeof(b), "%s/%020" PRId64 "%s%s", c->path, base, suffix, to);
    if (access(a, F_OK) == 0)
        assert_int_equal(rename(a, b), 0);
    c->done |= strcmp(to, ".swap") == 0 && strcmp(suffix, ".log") == 0;
    check_crash(c);
}

/* A copy of the log in which a pass has written all and swapped nothing. */
static void stage(struct crash *c, const char *compacted)
{
    char command[512];
    snprintf(command, sizeof(command),
             "cd '%s/t-0' && for s in log index timeindex; do cp %020d.$s %s/%020d.$s.cleaned; done", compacted, 0,
             c->path, 0);
    assert_int_equal(system(command), 0);
    check_crash(c);
}

static void every_crash_is_survived(void **state)
{
    struct fixture *f = *state;
    struct crash c = {.f = f};
    produce(f, "a=1 b=1");
    roll(f);
    produce(f, "a=2 c=1");
    roll(f);
    produce(f, "a=3 d=1");
    roll(f);
    assert_int_equal(plog_flush(f->log), ERR_NONE);
    snprintf(c.dir, sizeof(c.dir), "%s-copy", f->dir);
    snprintf(c.path, sizeof(c.path), "%s/t-0", c.dir);
    copy_tree(f->dir, c.dir);
    compact(f);
    assert_int_equal(f->log->segment_count, 2);
    stage(&c, f->dir);
    for (size_t i = ARRAY_LEN(files); i-- > 0;)
        step(&c, 0, files[i], ".cleaned", ".swap");
    for (int64_t base = 0; base < 6; base += 2)
        for (size_t i = 0; i < ARRAY_LEN(files); i++)
            step(&c, base, files[i], "", ".deleted");
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        step(&c, 0, files[i], ".swap", "");
    temp_dir_remove(c.dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_map_knows_the_last_offset_of_a_key),
        cmocka_unit_test(the_map_is_full_at_its_load_factor),
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        CASE(the_newest_of_each_key_stays),
        CASE(small_segments_become_one),
        CASE(records_without_a_key_go),
        CASE(tombstones_stay_until_their_horizon),
        CASE(who_copies_the_log_comes_to_its_end),
        CASE(batches_keep_what_they_are_known_by),
        CASE(the_last_batch_of_a_producer_stays),
        CASE(the_last_batch_of_each_of_several_producers_stays),
        CASE(a_full_map_takes_several_passes),
        CASE(nothing_above_the_high_watermark_counts),
        CASE(the_lags_are_kept),
        CASE(a_truncation_ends_the_pass),
        CASE(truncation_below_the_clean_end_lowers_it),
        CASE(a_deleted_log_is_left_alone),
        CASE(a_damaged_log_is_left_alone),
        CASE(a_header_that_is_damaged_before_a_pass_is_no_failure_of_the_disk),
        CASE(old_files_stay_readable),
        CASE(a_commit_stays_while_its_data_does),
        CASE(aborted_data_goes_at_once),
        CASE(what_is_swapped_in_needs_no_files),
        CASE(a_producer_with_markers_only_is_known_by_its_last),
        CASE(old_formats_are_compacted),
        CASE(the_cleaner_compacts_what_is_dirty_enough),
        CASE(how_far_it_was_cleaned_goes_with_the_records),
        CASE(retention_waits_for_compaction),
        CASE(appends_and_reads_go_on_meanwhile),
        CASE(every_crash_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
