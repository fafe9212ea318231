/* A partition's log on a real file system: append, read, roll, recover, retain, truncate. */
#include "log_test.h"
#include "storage/checkpoint_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/clock.h"

struct fixture {
    struct plog_home home;
    char dir[64];
    struct topic_config config;
    struct plog *log;
};

static const struct plog_origin fresh = {.recovery_point = -1, .start_offset = -1, .high_watermark = -1, .clean = true};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    temp_dir_make(f->dir);
    f->home.path = f->dir;
    set_up_config(&f->config);
    f->log = plog_load(&f->home, "t", 0, &f->config, &fresh);
    assert_non_null(f->log);
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

static enum kafka_error append_as(struct plog *log, int count, int size, int64_t timestamp, int64_t producer,
                                  int32_t sequence, struct append_result *result)
{
    return append_batch(log, make_batch(count, size, timestamp, producer, sequence), count, 0, result);
}

static void refuse(struct plog *log, int64_t producer, int32_t sequence)
{
    struct strbuf batch = make_batch(5, 100, 1000, producer, sequence);
    struct prepared p = {.bytes = {(uint8_t *)batch.p, (int32_t)batch.len}, .offsets = 5};
    plog_note_refused(log, &p);
    strbuf_deinit(&batch);
}

static void append(struct plog *log, int count)
{
    struct append_result r;
    assert_int_equal(append_as(log, count, 100, 1000, -1, -1, &r), ERR_NONE);
}

static struct plog *reload(struct fixture *f, bool clean, int64_t recovery_point)
{
    struct plog_origin o = {.recovery_point = recovery_point, .start_offset = -1, .high_watermark = -1, .clean = clean};
    plog_unref(f->log);
    f->log = plog_load(&f->home, "t", 0, &f->config, &o);
    assert_non_null(f->log);
    return f->log;
}

static char *file_in(struct fixture *f, const char *name, char buf[256])
{
    snprintf(buf, 256, "%s/t-0/%s", f->dir, name);
    return buf;
}

static void write_text(const char *path, const char *text)
{
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    fputs(text, out);
    fclose(out);
}

/* Reads everything from `offset` on, batch by batch, and checks that the offsets are without a gap. */
static void check_readable(struct plog *log, int64_t offset)
{
    int64_t next = offset, end = plog_end_offset(log);
    while (next < end) {
        struct strbuf data = {0};
        assert_int_equal(plog_read_bytes(log, next, 1 << 20, INT64_MAX, &data), ERR_NONE);
        struct bytes rest = {(uint8_t *)data.p, (int32_t)data.len};
        struct batch b;
        bool any = false;
        while (batch_next(&rest, &b) == BATCH_OK) {
            assert_true(batch_crc_ok(&b));
            assert_true(b.base_offset <= next && b.last_offset >= next);
            next = b.last_offset + 1;
            any = true;
        }
        assert_true(any);
        strbuf_deinit(&data);
    }
}

static void appends_get_consecutive_offsets(void **state)
{
    struct fixture *f = *state;
    struct append_result r;
    append(f->log, 3);
    assert_int_equal(append_as(f->log, 2, 10, 5, -1, -1, &r), ERR_NONE);
    assert_int_equal(r.first_offset, 3);
    assert_int_equal(r.last_offset, 4);
    assert_int_equal(plog_end_offset(f->log), 5);
    check_readable(f->log, 0);
    check_readable(f->log, 4);
}

static void reading_outside_is_refused(void **state)
{
    struct fixture *f = *state;
    struct plog_slice s;
    append(f->log, 3);
    assert_int_equal(plog_read(f->log, 4, 100, true, INT64_MAX, true, &s), ERR_OFFSET_OUT_OF_RANGE);
    assert_int_equal(plog_read(f->log, -1, 100, true, INT64_MAX, true, &s), ERR_OFFSET_OUT_OF_RANGE);
    assert_int_equal(plog_read(f->log, 3, 100, true, INT64_MAX, true, &s), ERR_NONE);
    assert_int_equal(s.region.len, 0);
}

static void one_batch_is_given_whatever_the_limit(void **state)
{
    struct fixture *f = *state;
    struct plog_slice s;
    append(f->log, 5);
    append(f->log, 5);
    assert_int_equal(plog_read(f->log, 0, 10, true, INT64_MAX, true, &s), ERR_NONE);
    assert_true(s.region.len > 500 && s.region.len < 800);
    file_ref_put(s.region.file);
    assert_int_equal(plog_read(f->log, 0, 10, false, INT64_MAX, true, &s), ERR_NONE);
    assert_true(s.first_incomplete);
    assert_int_equal(s.region.len, 10);
    file_ref_put(s.region.file);
}

static void readers_stop_below_the_upper_limit(void **state)
{
    struct fixture *f = *state;
    struct plog_slice s;
    for (int i = 0; i < 10; i++)
        append(f->log, 5);
    assert_int_equal(plog_read(f->log, 12, 1 << 20, true, 30, true, &s), ERR_NONE);
    struct batch b;
    uint8_t *data = malloc((size_t)s.region.len);
    assert_int_equal(pread(s.region.file->fd, data, (size_t)s.region.len, s.region.pos), s.region.len);
    struct bytes rest = {data, s.region.len};
    int64_t first = -1, last = -1;
    while (batch_next(&rest, &b) == BATCH_OK) {
        if (first < 0)
            first = b.base_offset;
        last = b.last_offset;
    }
    assert_int_equal(first, 10);
    assert_int_equal(last, 29);
    free(data);
    file_ref_put(s.region.file);
}

static void segments_roll_by_size(void **state)
{
    struct fixture *f = *state;
    char path[256];
    f->log->config.segment_bytes = 2000;
    for (int i = 0; i < 20; i++)
        append(f->log, 5);
    assert_true(f->log->segment_count > 4);
    check_readable(f->log, 0);
    plog_save_snapshots(f->log);
    assert_int_equal(access(file_in(f, "00000000000000000015.snapshot", path), F_OK), 0);
    struct plog *log = reload(f, false, 0);
    assert_int_equal(plog_end_offset(log), 100);
    check_readable(log, 37);
}

static void duplicates_are_answered_with_their_offset(void **state)
{
    struct fixture *f = *state;
    struct append_result r;
    assert_int_equal(append_as(f->log, 3, 10, 1, 7, 0, &r), ERR_NONE);
    assert_int_equal(append_as(f->log, 2, 10, 1, 7, 3, &r), ERR_NONE);
    assert_int_equal(append_as(f->log, 3, 10, 1, 7, 0, &r), ERR_NONE);
    assert_true(r.duplicate);
    assert_int_equal(r.first_offset, 0);
    assert_int_equal(append_as(f->log, 1, 10, 1, 7, 9, &r), ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert_int_equal(plog_end_offset(f->log), 5);
    struct plog *log = reload(f, false, 0); /* the state comes back from the log */
    assert_int_equal(append_as(log, 2, 10, 1, 7, 3, &r), ERR_NONE);
    assert_true(r.duplicate);
    assert_int_equal(r.first_offset, 3);
}

static void a_torn_tail_is_cut(void **state)
{
    struct fixture *f = *state;
    char path[256];
    struct stat st;
    append(f->log, 5);
    append(f->log, 5);
    file_in(f, "00000000000000000000.log", path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(truncate(path, st.st_size - 7), 0);
    struct plog *log = reload(f, false, 0);
    assert_int_equal(plog_end_offset(log), 5);
    append(log, 1);
    check_readable(log, 0);
}

static void a_flipped_bit_ends_the_log(void **state)
{
    struct fixture *f = *state;
    char path[256], byte;
    struct stat st;
    append(f->log, 5);
    file_in(f, "00000000000000000000.log", path);
    assert_int_equal(stat(path, &st), 0);
    append(f->log, 5);
    append(f->log, 5);
    int fd = open(path, O_RDWR);
    assert_int_equal(pread(fd, &byte, 1, st.st_size + 100), 1);
    byte ^= 4;
    assert_int_equal(pwrite(fd, &byte, 1, st.st_size + 100), 1);
    close(fd);
    assert_int_equal(plog_end_offset(reload(f, false, 0)), 5);
}

static void damaged_indexes_are_rebuilt(void **state)
{
    struct fixture *f = *state;
    char path[256];
    f->log->config.segment_bytes = 2000;
    for (int i = 0; i < 20; i++)
        append(f->log, 5);
    int64_t end = plog_end_offset(f->log);
    assert_true(plog_close(f->log));
    assert_int_equal(unlink(file_in(f, "00000000000000000000.index", path)), 0);
    assert_int_equal(truncate(file_in(f, "00000000000000000015.timeindex", path), 5), 0);
    struct plog *log = reload(f, true, end);
    assert_int_equal(plog_end_offset(log), end);
    check_readable(log, 0);
    check_readable(log, 17);
}

/* What an old segment has of epochs is known, and must not take the place of what came after it. */
static void rebuilding_an_index_keeps_the_epochs(void **state)
{
    struct fixture *f = *state;
    struct append_result r;
    char path[256];
    f->log->config.segment_bytes = 2000;
    for (int i = 0; i < 20; i++)
        append(f->log, 5);
    assert_int_equal(append_batch(f->log, make_batch(5, 100, 1000, -1, -1), 5, 4, &r), ERR_NONE);
    int64_t end = plog_end_offset(f->log);
    assert_true(plog_close(f->log));
    assert_int_equal(unlink(file_in(f, "00000000000000000000.index", path)), 0);
    struct plog *log = reload(f, true, end);
    assert_int_equal(plog_latest_epoch(log), 4);
    assert_int_equal(plog_epoch_of(log, 99), 0);
    assert_int_equal(plog_epoch_of(log, 100), 4);
}

static void a_clean_stop_needs_no_recovery(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 50; i++)
        append(f->log, 5);
    assert_true(plog_close(f->log));
    struct plog *log = reload(f, true, -1);
    assert_int_equal(plog_end_offset(log), 250);
    append(log, 2);
    check_readable(log, 0);
}

/* Thousands of partitions may have nothing in them: nobody waits for the disk at their end. */
static void a_log_without_records_is_closed_as_it_was_made(void **state)
{
    struct fixture *f = *state;
    struct stat before, after;
    char path[256];
    assert_int_equal(stat(file_in(f, "00000000000000000000.timeindex", path), &before), 0);
    plog_assign_epoch(f->log, 3, 0);
    assert_true(plog_close(f->log));
    assert_int_equal(stat(path, &after), 0);
    assert_true(before.st_mtim.tv_sec == after.st_mtim.tv_sec && before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);
    assert_int_equal(access(file_in(f, "00000000000000000000.snapshot", path), F_OK), -1);
    assert_int_equal(access(file_in(f, "leader-epoch-checkpoint", path), F_OK), -1);
    assert_int_equal(plog_latest_epoch(reload(f, true, -1)), NO_LEADER_EPOCH); /* as if it had been saved */
}

/* A copy of a directory that was made while a broker ran, or a disk that kept less than it said. */
static void a_half_segment_beside_a_clean_mark_is_cut_at_once(void **state)
{
    static const int64_t lost[] = {5, 3000, 9000, 11000}; /* at last with all that the index points to */
    struct fixture *f = *state;
    struct append_result r;
    for (int i = 0; i < 20; i++)
        assert_int_equal(append_batch(f->log, make_batch(5, 100, 1000 + i, -1, -1), 5, 0, &r), ERR_NONE);
    for (size_t i = 0; i < ARRAY_LEN(lost); i++) {
        char path[256];
        int64_t size = plog_size(f->log), end = plog_end_offset(f->log);
        assert_true(plog_close(f->log));
        assert_int_equal(truncate(file_in(f, "00000000000000000000.log", path), size - lost[i]), 0);
        reload(f, true, end);
        assert_int_equal(plog_end_offset(f->log) % 5, 0);
        assert_true(plog_end_offset(f->log) < end);
        assert_true(f->log->recovery_point <= plog_end_offset(f->log));
        assert_true(f->log->segments[0]->max_timestamp_offset < plog_end_offset(f->log));
        check_readable(f->log, 0);
        while (plog_end_offset(f->log) < 100)
            append(f->log, 5);
        check_readable(f->log, 0);
    }
}

/* All that can be read from the beginning on. */
static int count_batches(struct plog *log)
{
    int count = 0;
    for (int64_t next = plog_start_offset(log), end = plog_end_offset(log); next < end;) {
        struct strbuf data = {0};
        struct batch b;
        assert_int_equal(plog_read_bytes(log, next, 1 << 20, INT64_MAX, &data), ERR_NONE);
        struct bytes rest = {(uint8_t *)data.p, (int32_t)data.len};
        assert_int_not_equal(rest.len, 0);
        for (; batch_next(&rest, &b) == BATCH_OK; count++) {
            assert_true(batch_crc_ok(&b) && b.last_offset >= next);
            next = b.last_offset + 1;
        }
        strbuf_deinit(&data);
    }
    return count;
}

enum { NO_BATCH = -1 };

/* Five batches in a segment each, of which the second goes; one may have a record less than offsets. */
static void make_gap(struct fixture *f, int compacted)
{
    char path[256];
    struct append_result r;
    f->log->config.segment_bytes = 700;
    for (int i = 0; i < 5; i++) {
        struct strbuf bytes = {0};
        struct batch_builder b;
        char value[500] = {0};
        struct record record = {.value = {(uint8_t *)value, sizeof(value)}};
        batch_builder_init(&b, CODEC_NONE);
        b.head.last_offset = i == compacted ? 1 : 0;
        batch_builder_add(&b, &record);
        assert_true(batch_builder_finish(&b, CODEC_LEVEL_DEFAULT, &bytes));
        batch_builder_deinit(&b);
        batch_set_offset((uint8_t *)bytes.p, plog_end_offset(f->log));
        struct bytes in = {(uint8_t *)bytes.p, (int32_t)bytes.len};
        assert_int_equal(plog_append_follower(f->log, in, 0, &r), ERR_NONE);
        strbuf_deinit(&bytes);
    }
    assert_int_equal(f->log->segment_count, 5);
    static const char *const suffixes[] = {".log", ".index", ".timeindex", ".snapshot"};
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        char name[64];
        snprintf(name, sizeof(name), "%020" PRId64 "%s", f->log->segments[1]->base_offset, suffixes[i]);
        unlink(file_in(f, name, path));
    }
}

/* Without the cleaner's checkpoint, and without the recovery point's: then all that is there is read again. */
static void what_lies_behind_a_gap_of_a_compacted_topic_stays(void **state)
{
    struct fixture *f = *state;
    make_gap(f, NO_BATCH);
    f->config.cleanup_policy = CLEANUP_POLICY_COMPACT;
    reload(f, false, -1);
    assert_int_equal(f->log->segment_count, 4);
    assert_int_equal(plog_end_offset(f->log), 5);
    assert_int_equal(count_batches(f->log), 4);
}

/* Its topic is compacted no longer, but what was left out of its batches tells that it was. */
static void what_lies_behind_a_gap_of_a_log_that_was_compacted_stays(void **state)
{
    struct fixture *f = *state;
    make_gap(f, 0);
    reload(f, false, -1);
    assert_int_equal(f->log->segment_count, 4);
    assert_int_equal(plog_end_offset(f->log), 6);
    assert_int_equal(count_batches(f->log), 4);
}

/* The next start has a recovery point, and nothing that tells of compaction. */
static void what_lies_behind_a_gap_that_was_once_taken_for_lawful_stays(void **state)
{
    struct fixture *f = *state;
    make_gap(f, NO_BATCH);
    f->config.cleanup_policy = CLEANUP_POLICY_COMPACT;
    for (int i = 0; i < 3; i++)
        reload(f, false, i == 0 ? -1 : f->log->recovery_point);
    assert_int_equal(f->log->segment_count, 4);
    assert_int_equal(count_batches(f->log), 4);
}

/* No cleaner works there, so the power has taken what is missing; it was acknowledged, and the leader has it. */
static void what_lies_behind_a_gap_above_the_recovery_point_of_a_compacted_topic_goes(void **state)
{
    struct fixture *f = *state;
    make_gap(f, NO_BATCH);
    f->config.cleanup_policy = CLEANUP_POLICY_COMPACT;
    reload(f, false, 0);
    assert_int_equal(f->log->segment_count, 1);
    assert_int_equal(plog_end_offset(f->log), 1);
    check_readable(f->log, 0);
}

/* Apache's cleaner goes up to the active segment, and notes how far it came only when it is there. */
static void what_lies_behind_a_gap_that_an_apache_cleaner_may_have_left_stays(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    char name[64], path[256];
    make_gap(f, NO_BATCH);
    snprintf(name, sizeof(name), "%020d.index", 4);
    assert_int_equal(truncate(file_in(f, name, path), f->config.segment_index_bytes), 0); /* as its active one has */
    f->config.cleanup_policy = CLEANUP_POLICY_COMPACT;
    for (int i = 0; i < 2; i++) { /* the first may end before it has saved what it found */
        reload(f, false, 0);
        assert_int_equal(f->log->segment_count, 4);
        assert_int_equal(count_batches(f->log), 4);
        assert_int_equal(f->log->recovery_point, 5);
    }
    f->log->config.segment_bytes = 700;
    append(f->log, 5);
    assert_int_equal(f->log->segment_count, 5);
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size < 100); /* what is written from here on is not Apache's */
    assert_int_equal(count_batches(f->log), 5);
}

/* As in a copy that a follower of Kafka's made of a compacted log. */
static void what_lies_behind_a_gap_beside_compacted_batches_stays(void **state)
{
    struct fixture *f = *state;
    make_gap(f, 0);
    reload(f, false, 0);
    assert_int_equal(f->log->segment_count, 4);
    assert_int_equal(count_batches(f->log), 4);
}

/* What a cleaner has left empty tells nothing; but it comes to nothing before it was in all that lies before. */
static void what_lies_behind_a_gap_before_compacted_batches_stays(void **state)
{
    struct fixture *f = *state;
    char path[256];
    make_gap(f, 4);
    assert_int_equal(truncate(file_in(f, "00000000000000000000.log", path), 0), 0);
    reload(f, false, -1);
    assert_int_equal(f->log->segment_count, 4);
    assert_int_equal(plog_end_offset(f->log), 6);
}

static void what_lies_behind_a_gap_of_a_log_that_never_was_compacted_goes(void **state)
{
    struct fixture *f = *state;
    make_gap(f, NO_BATCH);
    reload(f, false, -1);
    assert_int_equal(f->log->segment_count, 1);
    assert_int_equal(plog_end_offset(f->log), 1);
    check_readable(f->log, 0);
}

static void times_are_found(void **state)
{
    struct fixture *f = *state;
    struct append_result r;
    struct timestamp_offset t;
    f->log->config.segment_bytes = 1500;
    for (int i = 0; i < 40; i++)
        assert_int_equal(append_as(f->log, 2, 100, 1000 + i * 10, -1, -1, &r), ERR_NONE);
    plog_offset_for_time(f->log, 1100, &t);
    assert_int_equal(t.offset, 20);
    assert_int_equal(t.timestamp, 1100);
    plog_offset_for_time(f->log, 1095, &t);
    assert_int_equal(t.offset, 20);
    plog_offset_for_time(f->log, 5000, &t);
    assert_int_equal(t.offset, -1);
    plog_offset_of_max_time(f->log, &t);
    assert_int_equal(t.offset, 78);
    assert_int_equal(t.timestamp, 1390);
}

/* Messages of the oldest format have none: no entry tells of them. */
/* Or a consumer that goes by time would begin behind records that it asked for. */
static void a_search_by_time_does_not_pass_over_what_it_cannot_read(void **state)
{
    struct fixture *f = *state;
    struct timestamp_offset found;
    struct append_result r;
    char path[256];
    int64_t at = 0;
    for (int i = 0; i < 5; i++) {
        if (i == 2)
            at = plog_size(f->log);
        assert_int_equal(append_as(f->log, 5, 100, 1000 + i, -1, -1, &r), ERR_NONE);
    }
    int fd = open(file_in(f, "00000000000000000000.log", path), O_RDWR | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "\xff\xff\xff\xff\x0f", 5, at + 61), 5); /* the length of the first record */
    close(fd);
    assert_int_equal(plog_offset_for_time(f->log, 1001, &found), ERR_NONE);
    assert_int_equal(found.offset, 5);
    assert_int_equal(plog_offset_for_time(f->log, 1002, &found), ERR_CORRUPT_MESSAGE);
    assert_int_equal(plog_offset_for_time(f->log, 1003, &found), ERR_NONE);
    assert_int_equal(found.offset, 15);
}

static void records_without_times_are_not_in_the_time_index(void **state)
{
    struct fixture *f = *state;
    struct append_result r;
    struct timestamp_offset t;
    struct stat st;
    char path[256];
    f->log->config.segment_bytes = 4000;
    for (int i = 0; i < 80; i++)
        assert_int_equal(append_as(f->log, 1, 100, i < 10 || i >= 40 ? -1 : 1000 + i, -1, -1, &r), ERR_NONE);
    plog_offset_for_time(f->log, 1015, &t);
    assert_int_equal(t.offset, 15);
    plog_offset_of_max_time(f->log, &t);
    assert_int_equal(t.offset, 39);
    int64_t end = plog_end_offset(f->log);
    assert_true(plog_close(f->log));
    assert_int_equal(stat(file_in(f, "00000000000000000000.timeindex", path), &st), 0);
    assert_int_not_equal(st.st_size, 0);
    assert_true(index_is_sound(path, TIME_ENTRY));
    struct plog *log = reload(f, true, end);
    plog_offset_for_time(log, 1039, &t);
    assert_int_equal(t.offset, 39);
}

/* A follower is told of its leader's start, and then looks at its size: what goes for the one reason is not there for
 * the other. */
static void what_goes_as_it_is_below_the_start_makes_room(void **state)
{
    struct fixture *f = *state;
    f->log->config.segment_bytes = 1500;
    for (int i = 0; i < 40; i++)
        append(f->log, 2);
    plog_set_high_watermark(f->log, 80);
    int64_t before = plog_size(f->log);
    f->log->config.retention_bytes = before / 2;
    assert_int_equal(plog_advance_start(f->log, 50), ERR_NONE);
    assert_true(plog_apply_retention(f->log, 2000) > 0);
    assert_true(plog_start_offset(f->log) <= 50 && plog_size(f->log) >= before / 4);
    check_readable(f->log, 50);
}

static void retention_by_size_and_time(void **state)
{
    struct fixture *f = *state;
    struct append_result r;
    f->log->config.segment_bytes = 1500;
    for (int i = 0; i < 40; i++)
        assert_int_equal(append_as(f->log, 2, 100, 1000 + i * 10, -1, -1, &r), ERR_NONE);
    plog_set_high_watermark(f->log, 80);
    f->log->config.retention_bytes = 4000;
    assert_true(plog_apply_retention(f->log, 2000) > 0);
    assert_true(plog_size(f->log) >= 4000 && plog_size(f->log) < 6000);
    int64_t start = plog_start_offset(f->log);
    assert_true(start > 0);
    check_readable(f->log, start);
    f->log->config.retention_bytes = -1;
    f->log->config.retention_ms = 100;
    assert_true(plog_apply_retention(f->log, 100000) > 0);
    assert_int_equal(plog_start_offset(f->log), 80);
    append(f->log, 1);
    check_readable(f->log, 80);
}

static void nothing_above_the_high_watermark_is_deleted(void **state)
{
    struct fixture *f = *state;
    f->log->config.segment_bytes = 1500;
    for (int i = 0; i < 20; i++)
        append(f->log, 5);
    f->log->config.retention_ms = 1;
    plog_set_high_watermark(f->log, 10);
    plog_apply_retention(f->log, clock_wall_ms());
    assert_true(plog_start_offset(f->log) <= 10);
}

static void truncation_goes_back(void **state)
{
    struct fixture *f = *state;
    struct append_result r;
    f->log->config.segment_bytes = 1500;
    for (int i = 0; i < 20; i++)
        assert_int_equal(append_as(f->log, 5, 100, 1000, 3, i * 5, &r), ERR_NONE);
    assert_int_equal(plog_truncate(f->log, 40), ERR_NONE);
    assert_int_equal(plog_end_offset(f->log), 40);
    check_readable(f->log, 0);
    assert_int_equal(append_as(f->log, 5, 100, 1000, 3, 40, &r), ERR_NONE); /* the sequence went back, too */
    assert_false(r.duplicate);
    assert_int_equal(plog_truncate_fully(f->log, 1000), ERR_NONE);
    assert_int_equal(plog_start_offset(f->log), 1000);
    append(f->log, 3);
    check_readable(f->log, 1000);
}

/* DeleteRecords has moved the start, and then a leader is elected whose log ends before that. */
static void truncation_below_the_start_takes_the_start_along(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 20; i++)
        append(f->log, 5);
    plog_set_high_watermark(f->log, 100);
    assert_int_equal(plog_advance_start(f->log, 90), ERR_NONE);
    assert_int_equal(plog_truncate(f->log, 50), ERR_NONE);
    assert_int_equal(plog_start_offset(f->log), 50);
    assert_int_equal(plog_end_offset(f->log), 50);
    assert_int_equal(plog_high_watermark(f->log), 50);
    append(f->log, 5);
    plog_set_high_watermark(f->log, 55);
    assert_int_equal(plog_high_watermark(f->log), 55);
    check_readable(f->log, 50);
}

static struct segment *segment_at(struct plog *log, int64_t offset)
{
    lock_take(&log->lock);
    struct segment *s = log->segments[plog_segment_index(log, offset)];
    lock_release(&log->lock);
    return s;
}

/* Of the batch that holds it, as its length cannot be. */
static void damage_header(struct fixture *f, int64_t offset)
{
    char name[64], path[256];
    struct position at;
    struct segment *s = segment_at(f->log, offset);
    assert_int_equal(segment_find(s, f->log->path, offset, false, &at), FIND_OK);
    snprintf(name, sizeof(name), "%020" PRId64 ".log", s->base_offset);
    int fd = open(file_in(f, name, path), O_RDWR | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "\x7f", 1, at.pos + 8), 1);
    close(fd);
}

static void fill_segments(struct fixture *f, int32_t segment_bytes)
{
    struct append_result r;
    f->log->config.segment_bytes = segment_bytes;
    for (int i = 0; i < 20; i++)
        assert_int_equal(append_as(f->log, 5, 100, 1000 + i, 3, i * 5, &r), ERR_NONE);
}

/* The one who cuts fetches it again from there: no disk has failed, and nothing is gone that could be read. */
static void a_log_that_is_damaged_where_it_is_cut_ends_before_the_damage(void **state)
{
    struct fixture *f = *state;
    fill_segments(f, 6000);
    damage_header(f, 35);
    assert_int_equal(plog_truncate(f->log, 45), ERR_NONE);
    assert_int_equal(plog_end_offset(f->log), 45); /* found by the index behind the damage */
    assert_int_equal(plog_truncate(f->log, 40), ERR_NONE);
    assert_int_equal(plog_end_offset(f->log), 35);
    append(f->log, 5);
    check_readable(f->log, 0);
    assert_int_equal(plog_end_offset(reload(f, false, 0)), 40);
    check_readable(f->log, 0);
}

/* With an entry for every few batches, the place is looked for behind the last one before it. */
static void the_damage_may_lie_between_an_entry_of_the_index_and_the_cut(void **state)
{
    struct fixture *f = *state;
    f->log->config.index_interval_bytes = 1500;
    fill_segments(f, 6000);
    int64_t end = f->log->segments[1]->base_offset;
    damage_header(f, end - 10);
    assert_int_equal(plog_truncate(f->log, end - 5), ERR_NONE);
    assert_int_equal(plog_end_offset(f->log), end - 10);
    append(f->log, 5);
    check_readable(f->log, 0);
}

static void of_a_log_that_is_damaged_from_its_start_on_nothing_is_left(void **state)
{
    struct fixture *f = *state;
    fill_segments(f, 1 << 20);
    plog_set_high_watermark(f->log, 50);
    assert_int_equal(plog_advance_start(f->log, 21), ERR_NONE);
    damage_header(f, 20);
    assert_int_equal(plog_truncate(f->log, 25), ERR_NONE);
    assert_int_equal(plog_start_offset(f->log), 21);
    assert_int_equal(plog_end_offset(f->log), 21);
    append(f->log, 5);
    check_readable(f->log, 21);
}

/* What producers did is read again from where that is known on, which may be damaged as well. */
static void damage_before_a_cut_keeps_nobody_from_cutting(void **state)
{
    struct fixture *f = *state;
    fill_segments(f, 1 << 20);
    lock_take(&f->log->lock);
    plog_begin_snapshot(f->log, 100);
    lock_release(&f->log->lock);
    plog_save_snapshots(f->log);
    for (int i = 0; i < 10; i++)
        append(f->log, 5);
    damage_header(f, 95);
    assert_int_equal(plog_truncate(f->log, 125), ERR_NONE);
    assert_int_equal(plog_end_offset(f->log), 125);
    append(f->log, 5);
    check_readable(f->log, 105);
}

/* Otherwise what was refused could no longer be written, in order, behind what was not. */
static void what_follows_a_refused_first_batch_is_refused(void **state)
{
    struct fixture *f = *state;
    struct append_result r;
    refuse(f->log, 3, 0);
    refuse(f->log, 3, 5);
    assert_int_equal(append_as(f->log, 5, 100, 1000, 3, 5, &r), ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert_int_equal(append_as(f->log, 5, 100, 1000, 3, 0, &r), ERR_NONE);
    assert_int_equal(append_as(f->log, 5, 100, 1000, 3, 5, &r), ERR_NONE);
    assert_int_equal(append_as(f->log, 5, 100, 1000, 4, 70, &r), ERR_NONE); /* unknown: any sequence is its first */
    refuse(f->log, 4, 80);
    assert_int_equal(append_as(f->log, 5, 100, 1000, 4, 75, &r), ERR_NONE); /* known: its sequence tells */
}

static struct strbuf marker_of(int64_t producer)
{
    struct strbuf out = {0};
    txn_marker_write(&(struct txn_marker){.producer_id = producer, .coordinator_epoch = 1}, 1000, &out);
    return out;
}

static void refuse_marker(struct plog *log, int64_t producer)
{
    struct strbuf batch = marker_of(producer);
    struct prepared p = {.bytes = {(uint8_t *)batch.p, (int32_t)batch.len}, .offsets = 1, .by_coordinator = true};
    plog_note_refused(log, &p);
    strbuf_deinit(&batch);
}

static void end_transaction_of(struct plog *log, int64_t producer)
{
    struct strbuf batch = marker_of(producer);
    struct prepared p = {.bytes = {(uint8_t *)batch.p, (int32_t)batch.len}, .offsets = 1, .by_coordinator = true};
    struct append_result r;
    assert_int_equal(append_alone(log, &p, 0, &r), ERR_NONE);
    strbuf_deinit(&batch);
}

/* Coordinators count no sequences: what of theirs is refused says nothing of the producer's. */
static void what_a_coordinator_was_refused_is_nothing_the_producer_must_send(void **state)
{
    struct fixture *f = *state;
    struct append_result r;
    refuse_marker(f->log, 3);
    assert_int_equal(append_as(f->log, 5, 100, 1000, 3, 0, &r), ERR_NONE);
    refuse_marker(f->log, 4);
    end_transaction_of(f->log, 4);
    assert_int_equal(append_as(f->log, 5, 100, 1000, 4, 0, &r), ERR_NONE);
    refuse(f->log, 5, 70);
    end_transaction_of(f->log, 5); /* behind which sequences begin anew */
    assert_int_equal(append_as(f->log, 5, 100, 1000, 5, 70, &r), ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert_int_equal(append_as(f->log, 5, 100, 1000, 5, 0, &r), ERR_NONE);
}

/* A snapshot has the last batch of a producer, which may have had five under way when the broker was stopped. */
static void batches_before_the_snapshots_are_duplicates_too(void **state)
{
    struct fixture *f = *state;
    struct append_result r;
    for (int i = 0; i < 8; i++) {
        assert_int_equal(append_as(f->log, 5, 100, 1000, 3, i * 5, &r), ERR_NONE);
        append(f->log, 2);
    }
    assert_true(plog_close(f->log));
    reload(f, true, 56);
    for (int i = 3; i < 8; i++) {
        assert_int_equal(append_as(f->log, 5, 100, 1000, 3, i * 5, &r), ERR_NONE);
        assert_true(r.duplicate);
        assert_int_equal(r.first_offset, i * 7);
    }
    assert_int_equal(append_as(f->log, 5, 100, 1000, 3, 10, &r), ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert_int_equal(append_as(f->log, 5, 100, 1000, 3, 40, &r), ERR_NONE);
    assert_false(r.duplicate);
}

static void what_was_refused_is_not_saved(void **state)
{
    struct fixture *f = *state;
    struct append_result r;
    assert_int_equal(append_as(f->log, 5, 100, 1000, 3, 0, &r), ERR_NONE);
    refuse(f->log, 4, 10);
    assert_true(plog_close(f->log));
    reload(f, true, 5);
    assert_int_equal(append_as(f->log, 5, 100, 1000, 4, 20, &r), ERR_NONE);
    assert_int_equal(append_as(f->log, 5, 100, 1000, 3, 10, &r), ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
}

/* ---- What cannot be read is not what is not there ---- */

static const char *unreadable; /* end of the names of files of which nothing can be read; NULL: none */
static struct plog *unlocked;  /* is not locked while anything is read or renamed; NULL: nobody looks */
static int reads, renames;
static struct {
    bool on;
    off_t from, to;
    int misses;
} cold;

/* In the place of libc's. */
ssize_t pread(int fd, void *data, size_t len, off_t pos)
{
    char link[64], path[256] = "";
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    reads++;
    if (unlocked != NULL)
        assert_false(lock_is_held(&unlocked->lock));
    if (unreadable != NULL && readlink(link, path, sizeof(path) - 1) > 0) {
        size_t n = strlen(path), m = strlen(unreadable);
        if (n >= m && strcmp(path + n - m, unreadable) == 0) {
            errno = EIO;
            return -1;
        }
    }
    ssize_t n = syscall(SYS_pread64, fd, data, len, pos);
    if (cold.on && n > 0 && pos <= cold.to)
        cold.from = MIN(cold.from, pos), cold.to = MAX(cold.to, pos + n);
    else if (cold.on && n > 0)
        cold.from = pos, cold.to = pos + n;
    return n;
}

/* Nothing is in the page cache but what pread() has brought last. */
ssize_t preadv2(int fd, const struct iovec *io, int count, off_t pos, int flags)
{
    assert_int_equal(count, 1);
    if (cold.on && (flags & RWF_NOWAIT) != 0 && (pos < cold.from || pos + (off_t)io->iov_len > cold.to)) {
        assert_true(++cold.misses < 1000);
        errno = EAGAIN;
        return -1;
    }
    return syscall(SYS_pread64, fd, io->iov_base, io->iov_len, pos);
}

static int log_syncs; /* of files with records */
static const struct plog *synced;
static bool synced_with_lock;

int fsync(int fd)
{
    char link[64], path[256] = "";
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    if (readlink(link, path, sizeof(path) - 1) > 0 && strstr(path, ".log") != NULL) {
        log_syncs++;
        synced_with_lock |= synced != NULL && lock_is_held(&synced->lock);
    }
    return (int)syscall(SYS_fsync, fd);
}

/* By the index a look-up begins a batch before the one that it finds, which may be far away. */
static void a_cold_look_up_brings_what_it_waits_for(void **state)
{
    struct fixture *f = *state;
    struct append_result r;
    struct plog_slice s;
    for (int i = 0; i < 4; i++)
        assert_int_equal(append_as(f->log, 10, 15000, 1000, -1, -1, &r), ERR_NONE);
    cold.on = true;
    for (int64_t offset = 0; offset < 40; offset += 5) {
        cold.from = cold.to = cold.misses = 0;
        assert_int_equal(plog_read(f->log, offset, 1 << 20, true, 40, true, &s), ERR_NONE);
        assert_true(s.region.len > 0);
        file_ref_put(s.region.file);
    }
    cold.on = false;
}

static void what_is_read_is_known_to_end_somewhere(void **state)
{
    struct fixture *f = *state;
    struct plog_slice s;
    for (int i = 0; i < 100; i++)
        append(f->log, 10);
    for (int64_t offset = 0; offset < 1000; offset += 7) {
        assert_int_equal(plog_read(f->log, offset, 4000, true, 995, false, &s), ERR_NONE);
        if (s.region.len > 0) {
            int64_t last = offset - offset % 10 + 10 * (s.region.len / 1100 + 1);
            assert_true(s.bound > offset && s.bound <= MIN(last + 20, INT64_C(995)));
        }
        file_ref_put(s.region.file);
    }
}

/* A broker may have more logs than descriptors. */
static void a_log_is_open_while_it_is_used(void **state)
{
    struct fixture *f = *state;
    int before = file_refs_open();
    append(f->log, 5);
    assert_int_equal(file_refs_open(), before + 1);
    for (int i = 0; i < 3; i++)
        assert_false(plog_close_unused_files(f->log)); /* it is not on the disk */
    assert_int_equal(file_refs_open(), before + 1);
    assert_int_equal(plog_flush(f->log), ERR_NONE);
    for (int i = 0; i < 3; i++)
        assert_true(plog_close_unused_files(f->log));
    assert_int_equal(file_refs_open(), before);
    check_readable(f->log, 0);
    append(f->log, 5);
    assert_true(plog_close(f->log));
    reload(f, true, -1);
    assert_int_equal(file_refs_open(), before);
    check_readable(f->log, 0);
}

static void what_a_crash_has_left_is_synced_though_nobody_uses_it(void **state)
{
    struct fixture *f = *state;
    append(f->log, 5);
    reload(f, false, 0);
    log_syncs = 0;
    assert_int_equal(plog_flush(f->log), ERR_NONE);
    assert_int_equal(log_syncs, 1);
}

/* By flush.ms, while others append and read. */
static void nobody_waits_for_a_sync_that_is_due(void **state)
{
    struct fixture *f = *state;
    append(f->log, 5);
    f->log->config.flush_ms = 0;
    synced = f->log;
    log_syncs = 0;
    synced_with_lock = false;
    plog_flush_if_due(f->log);
    synced = NULL;
    assert_int_equal(log_syncs, 1);
    assert_int_equal(plog_recovery_point(f->log), 5);
    assert_false(synced_with_lock);
}

static void assert_cannot_be_loaded(struct fixture *f, const struct plog_origin *origin)
{
    assert_null(plog_load(&f->home, "t", 0, &f->config, origin));
}

/* Recovery would otherwise cut the log there, as behind a crash. */
static void a_disk_that_fails_while_recovering_takes_no_records(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 10; i++)
        append(f->log, 5);
    unreadable = ".log";
    assert_cannot_be_loaded(f, &fresh);
    assert_cannot_be_loaded(f, &(struct plog_origin){.recovery_point = 0, .start_offset = -1, .high_watermark = -1});
    unreadable = NULL;
    reload(f, false, 0);
    assert_int_equal(plog_end_offset(f->log), 50);
    check_readable(f->log, 0);
}

/* Its producer would take it for an error of its own, and give up. */
static void a_batch_that_may_be_a_duplicate_is_not_out_of_order_on_a_disk_that_fails(void **state)
{
    struct fixture *f = *state;
    struct append_result r;
    for (int i = 0; i < 3; i++)
        assert_int_equal(append_as(f->log, 5, 100, 1000, 3, i * 5, &r), ERR_NONE);
    assert_true(plog_close(f->log));
    reload(f, true, 15);
    unreadable = ".log";
    assert_int_equal(append_as(f->log, 5, 100, 1000, 3, 5, &r), ERR_KAFKA_STORAGE_ERROR);
    unreadable = NULL;
}

static void what_lies_beside_the_log_is_there_though_it_cannot_be_read(void **state)
{
    static const char *const names[] = {"leader-epoch-checkpoint", "partition.metadata",
                                        "00000000000000000000.txnindex", "00000000000000000020.snapshot"};
    struct fixture *f = *state;
    char path[256];
    for (int i = 0; i < 4; i++)
        append(f->log, 5);
    assert_int_equal(plog_flush(f->log), ERR_NONE);
    assert_true(plog_close(f->log));
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        make_unreadable(file_in(f, names[i], path));
        assert_cannot_be_loaded(f, &fresh);
        assert_int_equal(unlink(path), 0); /* still there */
    }
    reload(f, true, 20);
}

/* However much there is to read, producers do not wait for it. */
static void a_search_by_time_reads_without_the_lock(void **state)
{
    struct fixture *f = *state;
    struct append_result r;
    struct timestamp_offset t;
    f->log->config.segment_bytes = 3000;
    for (int i = 0; i < 20; i++)
        assert_int_equal(append_as(f->log, 5, 100, 1000 + i, -1, -1, &r), ERR_NONE);
    reads = 0;
    unlocked = f->log;
    assert_int_equal(plog_offset_for_time(f->log, 1005, &t), ERR_NONE);
    assert_int_equal(t.offset, 25);
    assert_int_equal(plog_offset_of_max_time(f->log, &t), ERR_NONE);
    unlocked = NULL;
    assert_int_equal(t.offset, 95);
    assert_true(reads > 0);
}

static void a_search_by_time_that_cannot_read_has_not_found_out(void **state)
{
    struct fixture *f = *state;
    struct timestamp_offset t;
    for (int i = 0; i < 4; i++)
        append(f->log, 5);
    unreadable = ".log";
    assert_int_equal(plog_offset_for_time(f->log, 1000, &t), ERR_KAFKA_STORAGE_ERROR);
    assert_int_equal(plog_offset_of_max_time(f->log, &t), ERR_KAFKA_STORAGE_ERROR);
    unreadable = NULL;
    assert_int_equal(plog_offset_for_time(f->log, 1000, &t), ERR_NONE);
    assert_int_equal(t.offset, 0);
}

/* Its consumers would take for committed what is not. */
static void aborted_transactions_that_cannot_be_read_are_not_none(void **state)
{
    struct fixture *f = *state;
    struct aborted_txn *aborted;
    struct arena a;
    char path[256];
    int32_t count;
    arena_init(&a, 1 << 20);
    append(f->log, 5);
    f->log->segments[0]->no_aborts = false;
    make_unreadable(file_in(f, "00000000000000000000.txnindex", path));
    assert_int_equal(plog_aborted(f->log, 0, 5, &a, &aborted, &count), ERR_KAFKA_STORAGE_ERROR);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(plog_aborted(f->log, 0, 5, &a, &aborted, &count), ERR_NONE);
    assert_int_equal(count, 0);
    plog_set_high_watermark(f->log, 5);
    assert_int_equal(plog_advance_start(f->log, 3), ERR_NONE); /* of what is gone, nobody knows what was aborted */
    assert_int_equal(plog_aborted(f->log, 0, 5, &a, &aborted, &count), ERR_OFFSET_OUT_OF_RANGE);
    arena_deinit(&a);
}

/* In the place of libc's. */
int rename(const char *from, const char *to)
{
    if (unlocked != NULL)
        assert_false(lock_is_held(&unlocked->lock));
    renames++;
    return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

static void who_appends_does_not_wait_for_a_topics_id_to_be_written(void **state)
{
    struct fixture *f = *state;
    renames = 0;
    unlocked = f->log;
    assert_int_equal(plog_adopt_topic_id(f->log, (struct uuid){{7}}), ERR_NONE);
    assert_int_equal(renames, 1);
    assert_int_equal(plog_adopt_topic_id(f->log, (struct uuid){{7}}), ERR_NONE);
    assert_int_equal(plog_adopt_topic_id(f->log, (struct uuid){{8}}), ERR_INCONSISTENT_TOPIC_ID);
    unlocked = NULL;
    assert_int_equal(renames, 1);
}

static void a_log_that_does_not_tell_its_topics_id_has_none(void **state)
{
    static const char *const texts[] = {"", "version: 0\ntopic_id: ", "version: 0\ntopic_id: ?!\n", "junk"};
    struct fixture *f = *state;
    struct uuid id = {{7}};
    char path[256];
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        write_text(file_in(f, "partition.metadata", path), texts[i]);
        reload(f, true, 0);
        assert_true(uuid_is_zero(plog_topic_id(f->log)));
        assert_int_equal(plog_adopt_topic_id(f->log, id), ERR_NONE);
        reload(f, true, 0);
        assert_true(uuid_eq(plog_topic_id(f->log), id));
    }
}

/* ---- What no log can have ---- */

static void put_offset(struct strbuf *bytes, int64_t base)
{
    struct strbuf batch = make_batch(5, 10, 1000, -1, -1);
    batch_set_offset((uint8_t *)batch.p, base);
    strbuf_add(bytes, batch.p, batch.len);
    strbuf_deinit(&batch);
}

static enum kafka_error follow(struct plog *log, int64_t first, int64_t second)
{
    struct append_result r;
    struct strbuf bytes = {0};
    put_offset(&bytes, first);
    put_offset(&bytes, second);
    enum kafka_error error =
        plog_append_follower(log, (struct bytes){(uint8_t *)bytes.p, (int32_t)bytes.len}, INT32_MAX, &r);
    strbuf_deinit(&bytes);
    return error;
}

static void a_follower_takes_no_impossible_offsets(void **state)
{
    struct fixture *f = *state;
    append(f->log, 10);
    assert_int_equal(follow(f->log, -10, 10), ERR_CORRUPT_MESSAGE);
    assert_int_equal(follow(f->log, INT64_MAX - 4, 10), ERR_CORRUPT_MESSAGE);
    assert_int_equal(follow(f->log, 10, INT64_MAX - 4), ERR_CORRUPT_MESSAGE);
    assert_int_equal(follow(f->log, 10, 5), ERR_OFFSET_OUT_OF_RANGE);
    assert_int_equal(follow(f->log, 10, 12), ERR_OFFSET_OUT_OF_RANGE);
    assert_int_equal(plog_end_offset(f->log), 10);
    assert_int_equal(follow(f->log, 8, 13 + (int64_t)INT32_MAX), ERR_NONE); /* the second is too far for the segment */
    assert_int_equal(plog_end_offset(f->log), 13);
    assert_int_equal(follow(f->log, 13 + (int64_t)INT32_MAX, 20 + (int64_t)INT32_MAX), ERR_NONE);
    assert_int_equal(plog_end_offset(f->log), 25 + (int64_t)INT32_MAX);
    assert_int_equal(f->log->segment_count, 2);
}

static void a_log_is_not_cut_to_where_none_can_be(void **state)
{
    struct fixture *f = *state;
    append(f->log, 10);
    assert_int_equal(plog_truncate(f->log, -1), ERR_OFFSET_OUT_OF_RANGE);
    assert_int_equal(plog_truncate_fully(f->log, -1), ERR_OFFSET_OUT_OF_RANGE);
    assert_int_equal(plog_truncate_fully(f->log, INT64_MAX), ERR_OFFSET_OUT_OF_RANGE);
    assert_int_equal(plog_end_offset(f->log), 10);
}

static void impossible_names_and_marks_are_left_alone(void **state)
{
    struct fixture *f = *state;
    struct offsets_file file;
    char path[256];
    append(f->log, 10);
    assert_true(plog_close(f->log));
    write_text(file_in(f, "09223372036854775807.log", path), "");
    write_text(file_in(f, "09223372036854775807.snapshot", path), "");
    reload(f, true, 10);
    assert_int_equal(plog_end_offset(f->log), 10);
    write_text(path, "0\n2\nt 0 9223372036854775807\nt -1 0\n");
    assert_true(offsets_file_read(path, &file));
    assert_int_equal(file.n, 0);
}

/* Its header says anything, and nobody has checked it, as all was closed cleanly. */
static void an_impossible_end_of_a_log_is_cut(void **state)
{
    static const int64_t bases[] = {-1, 0, INT64_MAX - 3, (int64_t)1 << 40};
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(bases); i++) {
        char path[256];
        uint8_t base[8];
        append(f->log, 5);
        int64_t end = plog_end_offset(f->log), at = plog_size(f->log);
        append(f->log, 5);
        assert_true(plog_close(f->log));
        int fd = open(file_in(f, "00000000000000000000.log", path), O_RDWR | O_CLOEXEC);
        be64_put(base, (uint64_t)bases[i]);
        assert_int_equal(pwrite(fd, base, 8, at), 8);
        close(fd);
        reload(f, true, end + 5);
        assert_int_equal(plog_end_offset(f->log), end);
        check_readable(f->log, 0);
    }
}

static void a_damaged_index_costs_time_only(void **state)
{
    static const char *const junk[] = {"\0\0\0\x18\xff\xff\xff\xff", "\0\0\0\x18\0\0\xff\xff", "\0\0\0\x18\0\0\0\x11",
                                       "\0\0\0\1\0\0\x0b\0"};
    struct fixture *f = *state;
    struct strbuf before = {0};
    f->log->config.segment_bytes = 6000;
    for (int i = 0; i < 20; i++)
        append(f->log, 5);
    assert_int_equal(plog_read_bytes(f->log, 26, 100, INT64_MAX, &before), ERR_NONE);
    for (size_t i = 0; i < ARRAY_LEN(junk); i++) {
        struct strbuf after = {0};
        char path[256];
        assert_true(plog_close(f->log));
        int fd = open(file_in(f, "00000000000000000000.index", path), O_RDWR | O_CLOEXEC);
        for (int k = 1; k < 5; k++)
            assert_int_equal(pwrite(fd, junk[i], 8, (off_t)k * OFFSET_ENTRY), 8);
        close(fd);
        reload(f, true, 100);
        assert_int_equal(plog_read_bytes(f->log, 26, 100, INT64_MAX, &after), ERR_NONE);
        assert_int_equal(after.len, before.len);
        assert_memory_equal(after.p, before.p, before.len);
        strbuf_deinit(&after);
    }
    strbuf_deinit(&before);
}

/* ---- Checkpoints ---- */

static void a_bad_line_costs_only_itself(void **state)
{
    struct fixture *f = *state;
    struct offsets_file file;
    char path[256];
    write_text(file_in(f, "offsets", path), "0\r\n4\r\na 0 5\r\nb c 1 6\r\nd 0 x\r\ne 1 7\r\n");
    assert_true(offsets_file_read(path, &file));
    assert_int_equal(offsets_file_find(&file, "a", 0), 5);
    assert_int_equal(offsets_file_find(&file, "e", 1), 7);
    assert_int_equal(file.n, 2);
    offsets_file_free(&file);
    write_text(path, "1\n1\na 0 5\n"); /* of another version */
    assert_true(offsets_file_read(path, &file));
    assert_int_equal(file.n, 0);
    make_unreadable(path);
    assert_false(offsets_file_read(path, &file));
}

/* Not even Apache's broker could read what comes of a name with a space. */
static void no_line_is_written_that_cannot_be_read(void **state)
{
    struct fixture *f = *state;
    struct offsets_file file = {0};
    struct strbuf text = {0};
    char path[256];
    offsets_file_add(&file, "a", 0, 5);
    offsets_file_add(&file, "b c", 0, 6);
    offsets_file_add(&file, "d", 1, 7);
    assert_true(offsets_file_write(file_in(f, "offsets", path), &file));
    offsets_file_free(&file);
    assert_int_equal(file_load(path, &text), FILE_FOUND);
    strbuf_add(&text, "", 1);
    assert_string_equal(text.p, "0\n2\na 0 5\nd 1 7\n");
    strbuf_deinit(&text);
}

/* A wrong history would let a follower keep what its leader does not have. */
static void damaged_epochs_are_learned_again(void **state)
{
    static const char *const damaged[] = {"0\n2\n0 0\n", "0\n3\n0 0\n1 x\n7 10\n", "\n\n\n", "1\n1\n0 0\n"};
    struct fixture *f = *state;
    struct append_result r;
    char path[256];
    for (int32_t epoch = 0; epoch < 3; epoch++)
        assert_int_equal(append_batch(f->log, make_batch(5, 100, 1000, -1, -1), 5, 3 * epoch, &r), ERR_NONE);
    assert_true(plog_close(f->log));
    for (size_t i = 0; i < ARRAY_LEN(damaged); i++) {
        write_text(file_in(f, "leader-epoch-checkpoint", path), damaged[i]);
        reload(f, true, 15);
        assert_int_equal(plog_epoch_of(f->log, 4), 0);
        assert_int_equal(plog_epoch_of(f->log, 5), 3);
        assert_int_equal(plog_epoch_of(f->log, 10), 6);
        assert_int_equal(plog_latest_epoch(f->log), 6);
    }
    write_text(path, "0\r\n3\r\n0 0\r\n3 5\r\n6 10\r\n");
    reload(f, true, 15);
    assert_int_equal(plog_latest_epoch(f->log), 6);
}

static void epochs_end_where_the_next_begins(void **state)
{
    struct fixture *f = *state;
    int32_t epoch;
    int64_t end;
    append(f->log, 10);
    plog_assign_epoch(f->log, 4, 10);
    plog_epoch_end(f->log, 0, &epoch, &end);
    assert_int_equal(epoch, 0);
    assert_int_equal(end, 10);
    plog_epoch_end(f->log, 3, &epoch, &end);
    assert_int_equal(epoch, 0);
    assert_int_equal(end, 10);
    plog_epoch_end(f->log, 9, &epoch, &end);
    assert_int_equal(epoch, -1);
}

/* An epoch that a power failure has taken, with its records, from the log's end is not to be in the way of others. */
static void epochs_behind_the_end_are_gone_from_the_disk_too(void **state)
{
    struct fixture *f = *state;
    struct append_result r;
    int32_t epoch;
    int64_t end;
    char path[256];
    append(f->log, 10);
    assert_true(plog_close(f->log));
    write_text(file_in(f, "leader-epoch-checkpoint", path), "0\n2\n0 0\n7 20\n");
    reload(f, false, 10);
    assert_int_equal(append_batch(f->log, make_batch(5, 100, 1000, -1, -1), 5, 6, &r), ERR_NONE);
    assert_int_equal(append_batch(f->log, make_batch(5, 100, 1000, -1, -1), 5, 8, &r), ERR_NONE);
    reload(f, false, 10);
    plog_epoch_end(f->log, 0, &epoch, &end);
    assert_int_equal(end, 10);
    plog_epoch_end(f->log, 6, &epoch, &end);
    assert_int_equal(epoch, 6);
    assert_int_equal(end, 15);
}

/* A leader that wrote nothing in its epoch follows again: its epoch must go, or it parts from its leader for ever. */
static void an_epoch_without_records_is_cut(void **state)
{
    struct fixture *f = *state;
    append(f->log, 10);
    plog_assign_epoch(f->log, 4, 10);
    assert_int_equal(plog_truncate(f->log, 10), ERR_NONE);
    assert_int_equal(plog_latest_epoch(f->log), 0);
    assert_int_equal(plog_end_offset(f->log), 10);
}

/* ---- Several at once ---- */

enum { TOGETHER = 6 };

struct together {
    struct strbuf batches[TOGETHER];
    struct prepared prepared[TOGETHER];
    struct leader_append appends[TOGETHER], *all[TOGETHER];
    int count;
};

static void add_together(struct together *t, int count, int64_t producer, int32_t sequence)
{
    int i = t->count++;
    t->batches[i] = make_batch(count, 100, 1000, producer, sequence);
    t->prepared[i] =
        (struct prepared){.bytes = {(uint8_t *)t->batches[i].p, (int32_t)t->batches[i].len}, .offsets = count};
    t->appends[i].records = &t->prepared[i];
    t->all[i] = &t->appends[i];
}

static void append_together(struct together *t, struct plog *log)
{
    plog_append_leader(log, t->all, t->count, 3);
    for (int i = 0; i < t->count; i++)
        strbuf_deinit(&t->batches[i]);
}

static void check_together(const struct together *t, int i, enum kafka_error error, int64_t first, int64_t last)
{
    assert_int_equal(t->appends[i].error, error);
    if (error == ERR_NONE) {
        assert_int_equal(t->appends[i].result.first_offset, first);
        assert_int_equal(t->appends[i].result.last_offset, last);
    }
}

static void several_at_once_have_errors_of_their_own(void **state)
{
    struct fixture *f = *state;
    struct together t = {0};
    append(f->log, 2);
    add_together(&t, 3, 7, 0);
    add_together(&t, 2, -1, -1);
    add_together(&t, 3, 7, 0); /* the first one again */
    add_together(&t, 1, 7, 9); /* some are missing before it */
    add_together(&t, 1, 7, 3);
    append_together(&t, f->log);
    check_together(&t, 0, ERR_NONE, 2, 4);
    check_together(&t, 1, ERR_NONE, 5, 6);
    check_together(&t, 2, ERR_NONE, 2, 4);
    check_together(&t, 3, ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, -1, -1);
    check_together(&t, 4, ERR_NONE, 7, 7);
    assert_true(t.appends[2].result.duplicate && !t.appends[0].result.duplicate);
    assert_int_equal(plog_end_offset(f->log), 8);
    assert_int_equal(plog_latest_epoch(f->log), 3);
    check_readable(f->log, 0);
    reload(f, false, -1);
    assert_int_equal(plog_end_offset(f->log), 8);
    check_readable(f->log, 0);
}

static void several_at_once_may_need_several_segments(void **state)
{
    struct fixture *f = *state;
    struct together t = {0};
    f->config.segment_bytes = 1000; /* one of these, and not two */
    reload(f, true, 0);
    for (int i = 0; i < TOGETHER; i++)
        add_together(&t, 5, 7, 5 * i);
    append_together(&t, f->log);
    for (int i = 0; i < TOGETHER; i++)
        check_together(&t, i, ERR_NONE, 5 * i, 5 * i + 4);
    assert_int_equal(plog_segment_count(f->log), TOGETHER);
    check_readable(f->log, 0);
    reload(f, false, -1);
    assert_int_equal(plog_end_offset(f->log), 5 * TOGETHER);
    check_readable(f->log, 0);
}

static void nothing_follows_what_could_not_be_written(void **state)
{
    struct fixture *f = *state;
    struct together t = {0};
    struct append_result r;
    char path[256];
    append(f->log, 2);
    int for_reading = open(file_in(f, "00000000000000000000.log", path), O_RDONLY);
    assert_true(for_reading >= 0 && dup2(for_reading, f->log->segments[0]->file->fd) >= 0);
    close(for_reading);
    add_together(&t, 3, 7, 0);
    add_together(&t, 2, -1, -1);
    append_together(&t, f->log);
    check_together(&t, 0, ERR_KAFKA_STORAGE_ERROR, -1, -1);
    check_together(&t, 1, ERR_KAFKA_STORAGE_ERROR, -1, -1);
    assert_int_equal(plog_end_offset(f->log), 2);
    assert_int_equal(append_as(f->log, 3, 100, 1000, 7, 0, &r), ERR_KAFKA_STORAGE_ERROR);
    assert_int_equal(plog_end_offset(f->log), 2);
    reload(f, false, -1);
    assert_int_equal(append_as(f->log, 3, 100, 1000, 7, 0, &r), ERR_NONE);
    assert_int_equal(r.first_offset, 2);
}

/* ---- Transactions ---- */

static enum kafka_error append_txn(struct plog *log, int16_t epoch, int32_t sequence, int64_t guard, bool transactional)
{
    struct batch_builder b;
    struct strbuf out = {0};
    struct append_result r;
    batch_builder_init(&b, transactional ? ATTR_TRANSACTIONAL : 0);
    b.head.producer_id = 7;
    b.head.producer_epoch = epoch;
    b.head.base_sequence = sequence;
    batch_builder_add(&b, &(struct record){.timestamp = 1000, .value = {(const uint8_t *)"v", 1}});
    assert_true(batch_builder_finish(&b, CODEC_LEVEL_DEFAULT, &out));
    batch_builder_deinit(&b);
    struct prepared p = {.bytes = {(uint8_t *)out.p, (int32_t)out.len}, .offsets = 1, .guard = guard};
    enum kafka_error error = append_alone(log, &p, 0, &r);
    strbuf_deinit(&out);
    return error;
}

static enum kafka_error append_marker(struct plog *log, int16_t epoch, int32_t coordinator_epoch)
{
    struct strbuf out = {0};
    txn_marker_write(&(struct txn_marker){7, epoch, true, coordinator_epoch}, 1000, &out);
    struct append_result r;
    struct prepared p = {.bytes = {(uint8_t *)out.p, (int32_t)out.len}, .offsets = 1, .by_coordinator = true};
    enum kafka_error error = append_alone(log, &p, 0, &r);
    strbuf_deinit(&out);
    return error;
}

static void markers_of_old_epochs_are_refused(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(append_txn(f->log, 2, 0, GUARD_NONE, true), ERR_NONE);
    assert_int_equal(append_marker(f->log, 1, 5), ERR_INVALID_PRODUCER_EPOCH);
    assert_int_equal(append_marker(f->log, 2, 5), ERR_NONE);
    assert_int_equal(append_marker(f->log, 2, 4), ERR_TRANSACTION_COORDINATOR_FENCED);
    assert_int_equal(append_marker(f->log, 3, 5), ERR_NONE);
    assert_int_equal(append_txn(f->log, 2, 1, GUARD_NONE, true), ERR_INVALID_PRODUCER_EPOCH);
}

static void data_of_an_open_transaction_is_transactional(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(append_txn(f->log, 0, 0, GUARD_NONE, true), ERR_NONE);
    assert_int_equal(append_txn(f->log, 0, 1, GUARD_NONE, false), ERR_INVALID_TXN_STATE);
    assert_int_equal(append_marker(f->log, 0, 0), ERR_NONE);
    assert_int_equal(append_txn(f->log, 0, 1, GUARD_NONE, false), ERR_NONE);
}

static void a_transaction_begins_with_a_guard(void **state)
{
    struct fixture *f = *state;
    int64_t guard = plog_begin_verification(f->log, 7, 0, 0);
    assert_int_equal(plog_begin_verification(f->log, 7, 0, 1), guard);
    assert_int_equal(append_txn(f->log, 0, 0, GUARD_OPEN, true), ERR_INVALID_TXN_STATE);
    assert_int_equal(append_txn(f->log, 0, 0, guard + 1, true), ERR_INVALID_TXN_STATE);
    assert_int_equal(append_txn(f->log, 0, 0, guard, true), ERR_NONE);
    assert_int_equal(plog_begin_verification(f->log, 7, 0, 1), GUARD_OPEN);
    assert_int_equal(append_txn(f->log, 0, 1, GUARD_OPEN, true), ERR_NONE);
}

static void a_marker_voids_the_guard(void **state)
{
    struct fixture *f = *state;
    int64_t guard = plog_begin_verification(f->log, 7, 0, 0);
    assert_int_equal(append_marker(f->log, 0, 0), ERR_NONE);
    assert_int_equal(append_txn(f->log, 0, 0, guard, true), ERR_INVALID_TXN_STATE);
    assert_int_not_equal(plog_begin_verification(f->log, 7, 0, 0), guard);
}

static void what_follows_the_unverified_does_not_get_ahead(void **state)
{
    struct fixture *f = *state;
    int64_t guard = plog_begin_verification(f->log, 7, 0, 3);
    assert_int_equal(append_txn(f->log, 0, 4, guard, true), ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    plog_begin_verification(f->log, 7, 0, 2);
    assert_int_equal(append_txn(f->log, 0, 3, guard, true), ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert_int_equal(append_txn(f->log, 0, 2, guard, true), ERR_NONE);
    assert_int_equal(append_txn(f->log, 0, 3, GUARD_OPEN, true), ERR_NONE);
}

static void producers_are_described(void **state)
{
    struct fixture *f = *state;
    struct arena a = {0};
    struct producer_state *p;
    append(f->log, 2);
    assert_int_equal(append_txn(f->log, 3, 9, GUARD_NONE, true), ERR_NONE);
    assert_int_equal(plog_producers(f->log, &a, &p), 1);
    assert_int_equal(p->id, 7);
    assert_int_equal(p->epoch, 3);
    assert_int_equal(p->last_sequence, 9);
    assert_int_equal(p->txn_first_offset, 2);
    assert_int_equal(p->coordinator_epoch, -1);
    assert_int_equal(append_marker(f->log, 3, 6), ERR_NONE);
    assert_int_equal(plog_producers(f->log, &a, &p), 1);
    assert_int_equal(p->txn_first_offset, -1);
    assert_int_equal(p->coordinator_epoch, 6);
    arena_deinit(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        CASE(appends_get_consecutive_offsets),
        CASE(reading_outside_is_refused),
        CASE(one_batch_is_given_whatever_the_limit),
        CASE(readers_stop_below_the_upper_limit),
        CASE(segments_roll_by_size),
        CASE(duplicates_are_answered_with_their_offset),
        CASE(a_torn_tail_is_cut),
        CASE(a_flipped_bit_ends_the_log),
        CASE(damaged_indexes_are_rebuilt),
        CASE(rebuilding_an_index_keeps_the_epochs),
        CASE(a_clean_stop_needs_no_recovery),
        CASE(a_log_without_records_is_closed_as_it_was_made),
        CASE(a_half_segment_beside_a_clean_mark_is_cut_at_once),
        CASE(what_lies_behind_a_gap_of_a_compacted_topic_stays),
        CASE(what_lies_behind_a_gap_of_a_log_that_was_compacted_stays),
        CASE(what_lies_behind_a_gap_that_was_once_taken_for_lawful_stays),
        CASE(what_lies_behind_a_gap_above_the_recovery_point_of_a_compacted_topic_goes),
        CASE(what_lies_behind_a_gap_that_an_apache_cleaner_may_have_left_stays),
        CASE(what_lies_behind_a_gap_beside_compacted_batches_stays),
        CASE(what_lies_behind_a_gap_before_compacted_batches_stays),
        CASE(what_lies_behind_a_gap_of_a_log_that_never_was_compacted_goes),
        CASE(times_are_found),
        CASE(a_search_by_time_does_not_pass_over_what_it_cannot_read),
        CASE(records_without_times_are_not_in_the_time_index),
        CASE(retention_by_size_and_time),
        CASE(what_goes_as_it_is_below_the_start_makes_room),
        CASE(nothing_above_the_high_watermark_is_deleted),
        CASE(several_at_once_have_errors_of_their_own),
        CASE(several_at_once_may_need_several_segments),
        CASE(nothing_follows_what_could_not_be_written),
        CASE(truncation_goes_back),
        CASE(a_log_that_is_damaged_where_it_is_cut_ends_before_the_damage),
        CASE(the_damage_may_lie_between_an_entry_of_the_index_and_the_cut),
        CASE(of_a_log_that_is_damaged_from_its_start_on_nothing_is_left),
        CASE(damage_before_a_cut_keeps_nobody_from_cutting),
        CASE(truncation_below_the_start_takes_the_start_along),
        CASE(what_follows_a_refused_first_batch_is_refused),
        CASE(batches_before_the_snapshots_are_duplicates_too),
        CASE(what_a_coordinator_was_refused_is_nothing_the_producer_must_send),
        CASE(what_was_refused_is_not_saved),
        CASE(a_log_is_open_while_it_is_used),
        CASE(what_a_crash_has_left_is_synced_though_nobody_uses_it),
        CASE(nobody_waits_for_a_sync_that_is_due),
        CASE(a_disk_that_fails_while_recovering_takes_no_records),
        CASE(a_batch_that_may_be_a_duplicate_is_not_out_of_order_on_a_disk_that_fails),
        CASE(what_lies_beside_the_log_is_there_though_it_cannot_be_read),
        CASE(a_search_by_time_reads_without_the_lock),
        CASE(a_search_by_time_that_cannot_read_has_not_found_out),
        CASE(aborted_transactions_that_cannot_be_read_are_not_none),
        CASE(a_cold_look_up_brings_what_it_waits_for),
        CASE(what_is_read_is_known_to_end_somewhere),
        CASE(who_appends_does_not_wait_for_a_topics_id_to_be_written),
        CASE(a_log_that_does_not_tell_its_topics_id_has_none),
        CASE(a_follower_takes_no_impossible_offsets),
        CASE(a_log_is_not_cut_to_where_none_can_be),
        CASE(impossible_names_and_marks_are_left_alone),
        CASE(an_impossible_end_of_a_log_is_cut),
        CASE(a_damaged_index_costs_time_only),
        CASE(a_bad_line_costs_only_itself),
        CASE(no_line_is_written_that_cannot_be_read),
        CASE(damaged_epochs_are_learned_again),
        CASE(epochs_end_where_the_next_begins),
        CASE(epochs_behind_the_end_are_gone_from_the_disk_too),
        CASE(an_epoch_without_records_is_cut),
        CASE(markers_of_old_epochs_are_refused),
        CASE(data_of_an_open_transaction_is_transactional),
        CASE(a_transaction_begins_with_a_guard),
        CASE(a_marker_voids_the_guard),
        CASE(what_follows_the_unverified_does_not_get_ahead),
        CASE(producers_are_described),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
