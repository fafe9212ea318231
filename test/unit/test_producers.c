/* Many producers of a log: they expire, and snapshots of them are made while the log goes on. */
#include "log_test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/syscall.h>

struct fixture {
    struct plog_home home;
    char dir[64];
    struct topic_config config;
    struct plog *log;
};

static int set_up(void **state)
{
    static const struct plog_origin fresh = {
        .recovery_point = -1, .start_offset = -1, .high_watermark = -1, .clean = true};
    struct fixture *f = calloc(1, sizeof(*f));
    temp_dir_make(f->dir);
    f->home.path = f->dir;
    set_up_config(&f->config);
    f->config.segment_bytes = 2000;
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

static char *file_in(struct fixture *f, const char *name, char buf[256])
{
    snprintf(buf, 256, "%s/t-0/%s", f->dir, name);
    return buf;
}

/* ---- The state ---- */

enum { MANY = 1000000, SOME = 5000 };

static void note_batch(struct producers *p, int64_t id, int64_t offset, int32_t sequence, int16_t attributes)
{
    struct txn_entry aborted;
    struct batch b = {.attributes = attributes,
                      .producer_id = id,
                      .base_sequence = sequence,
                      .base_offset = offset,
                      .last_offset = offset,
                      .max_timestamp = offset};
    producers_note(p, &b, &aborted);
}

static void note_one_batch(struct producers *p, int64_t id, int16_t attributes)
{
    note_batch(p, id, id, 0, attributes);
}

static void note_marker(struct producers *p, int64_t id, int64_t offset)
{
    struct strbuf out = {0};
    struct txn_entry aborted;
    struct batch b;
    txn_marker_write(&(struct txn_marker){id, 0, false, 3}, offset, &out);
    batch_set_offset((uint8_t *)out.p, offset);
    struct bytes bytes = {(uint8_t *)out.p, (int32_t)out.len};
    assert_int_equal(batch_next(&bytes, &b), BATCH_OK);
    assert_true(producers_note(p, &b, &aborted));
    strbuf_deinit(&out);
}

static void save(struct producers *p, const char *path)
{
    struct producers_copy *copy = producers_copy_begin(p, p->map_end_offset);
    producers_copy_finish(p);
    assert_true(producers_copy_write(copy, path, false));
    producers_copy_free(copy);
}

static off_t saved_size(struct producers *p, const char *path)
{
    struct stat st;
    save(p, path);
    assert_int_equal(stat(path, &st), 0);
    return st.st_size;
}

static void expire(struct producers *p, int64_t since)
{
    producers_expire_begin(p, since);
    while (producers_expire_step(p, since))
        ;
}

/* Each writes a batch, at the time that is its id, and is never seen again; but for the first, whose transaction is
 * open. */
static void a_million_producers_come_and_go(void **state)
{
    struct fixture *f = *state;
    struct producers p = {0};
    char path[256];
    file_in(f, "a.snapshot", path);
    note_one_batch(&p, 0, ATTR_TRANSACTIONAL);
    for (int64_t id = 1; id < MANY; id++)
        note_one_batch(&p, id, 0);
    assert_int_equal(producers_count(&p), MANY);
    assert_int_equal(saved_size(&p, path), 10 + 46 * MANY);
    expire(&p, MANY - MANY / 4);
    assert_int_equal(producers_count(&p), MANY / 4 + 1);
    expire(&p, MANY);
    assert_int_equal(producers_count(&p), 1);
    assert_int_equal(producers_load(&p, path, MANY), FILE_FOUND);
    assert_int_equal(producers_count(&p), MANY); /* also of those whose records have been deleted since */
    expire(&p, MANY);
    assert_int_equal(saved_size(&p, path), 10 + 46);
    assert_int_equal(producers_first_unstable(&p), 0);
    producers_deinit(&p);
}

static void expiry_goes_on_whatever_happens_between_its_steps(void **state)
{
    struct fixture *f = *state;
    struct producers p = {0};
    char path[256];
    file_in(f, "a.snapshot", path);
    for (int64_t id = 0; id < 50000; id++)
        note_one_batch(&p, id, 0);
    producers_expire_begin(&p, 40000);
    assert_true(producers_expire_step(&p, 40000));
    note_one_batch(&p, 60000, 0); /* comes meanwhile, and stays */
    while (producers_expire_step(&p, 40000))
        ;
    assert_int_equal(producers_count(&p), 10001);
    save(&p, path);
    producers_expire_begin(&p, 50000);
    assert_true(producers_expire_step(&p, 50000));
    assert_int_equal(producers_load(&p, path, 60001), FILE_FOUND); /* as after a truncation */
    assert_false(producers_expire_step(&p, 50000));
    assert_int_equal(producers_count(&p), 10001);
    producers_deinit(&p);
}

/* ---- Copies ---- */

enum { HEADER = 10, ENTRY = 46 };

static int entry_by_id(const void *a, const void *b)
{
    return memcmp(a, b, 8);
}

static void assert_same(struct producers_copy *a, struct producers_copy *b)
{
    assert_int_equal(a->len, b->len);
    qsort(a->data + HEADER, (a->len - HEADER) / ENTRY, ENTRY, entry_by_id);
    qsort(b->data + HEADER, (b->len - HEADER) / ENTRY, ENTRY, entry_by_id);
    assert_memory_equal(a->data + HEADER, b->data + HEADER, a->len - HEADER);
}

/* In the order of ids, the first of them with open transactions. */
static void note_some(struct producers *p)
{
    for (int64_t id = 0; id < SOME; id++)
        note_one_batch(p, id, id < SOME / 2 && id % 10 == 0 ? ATTR_TRANSACTIONAL : 0);
    producers_note_refused(p, &(struct batch){.producer_id = 2 * SOME, .base_sequence = 9}, 0);
}

/* What a copy has passed, and what it has before it, change in all ways there are; transactions only end once. */
static void change_some(struct producers *p, int64_t *offset, bool ends)
{
    for (int64_t id = 1; id < SOME; id += 100)
        note_batch(p, id, ++*offset, 1, 0);
    for (int64_t id = 3; id < SOME; id += 100)
        note_batch(p, id, ++*offset, 1, ATTR_TRANSACTIONAL);
    for (int64_t id = 0; ends && id < SOME / 2; id += 100)
        note_marker(p, id, ++*offset);
    for (int i = 0; i < 10; i++, ++*offset)
        note_batch(p, 10 * SOME + *offset, *offset, 0, 0);
    note_batch(p, 2 * SOME, ++*offset, 9, 0);
}

static void a_copy_is_what_was_known_when_it_was_begun(void **state UNUSED)
{
    struct producers p = {0};
    int64_t offset = SOME;
    note_some(&p);
    struct producers_copy *before = producers_copy_begin(&p, SOME);
    producers_copy_finish(&p);
    assert_int_equal(before->len, HEADER + ENTRY * SOME); /* without what was refused */
    struct producers_copy *copy = producers_copy_begin(&p, SOME);
    change_some(&p, &offset, true);
    assert_true(producers_copy_step(&p));
    change_some(&p, &offset, false);
    producers_expire_begin(&p, SOME); /* all that have written nothing since */
    assert_true(producers_expire_step(&p, SOME));
    assert_true(producers_copy_step(&p));
    while (producers_expire_step(&p, SOME))
        ;
    producers_copy_finish(&p);
    assert_same(before, copy);
    change_some(&p, &offset, false);
    struct producers_copy *after = producers_copy_begin(&p, offset + 1);
    producers_copy_finish(&p);
    assert_int_not_equal(after->len, copy->len);
    assert_int_equal(after->len, HEADER + ENTRY * producers_count(&p));
    producers_copy_free(before);
    producers_copy_free(copy);
    producers_copy_free(after);
    producers_deinit(&p);
}

static void a_copy_that_is_begun_has_the_one_before_filled(void **state UNUSED)
{
    struct producers p = {0};
    int64_t offset = SOME;
    note_some(&p);
    struct producers_copy *first = producers_copy_begin(&p, SOME);
    assert_true(producers_copy_step(&p));
    change_some(&p, &offset, true);
    struct producers_copy *second = producers_copy_begin(&p, offset + 1);
    assert_int_equal(first->len, HEADER + ENTRY * SOME);
    assert_int_equal(second->len, HEADER);
    producers_copy_finish(&p);
    assert_int_equal(second->len, HEADER + ENTRY * producers_count(&p));
    producers_copy_free(first);
    producers_copy_free(second);
    producers_deinit(&p);
}

static void transactions_are_in_order_whatever_the_snapshots(void **state)
{
    struct fixture *f = *state;
    struct producers p = {0};
    char path[256];
    file_in(f, "a.snapshot", path);
    for (int64_t id = SOME; id-- > 0;)
        note_batch(&p, id, SOME - id, 0, 0);
    for (int64_t id = 0; id < SOME; id++) /* against the order in which they came */
        note_batch(&p, id, SOME + 1 + id, 1, ATTR_TRANSACTIONAL);
    save(&p, path);
    assert_int_equal(producers_load(&p, path, p.map_end_offset), FILE_FOUND);
    for (int64_t id = 0; id < 10; id++) {
        assert_int_equal(producers_first_unstable(&p), SOME + 1 + id);
        note_marker(&p, id, 3 * SOME + id);
        producers_commit(&p, INT64_MAX);
    }
    producers_deinit(&p);
}

/* ---- Of a log ---- */

static const struct plog *unlocked; /* is not locked while a snapshot is written; NULL: nobody looks */
static int snapshot_writes, snapshot_syncs;

static bool is_snapshot(int fd)
{
    char link[64], path[256] = "";
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    return readlink(link, path, sizeof(path) - 1) > 0 && strstr(path, ".snapshot") != NULL;
}

/* In the place of libc's. */
ssize_t pwrite(int fd, const void *data, size_t len, off_t pos)
{
    bool counts = is_snapshot(fd);
    snapshot_writes += counts;
    assert_false(counts && unlocked != NULL && lock_is_held(&unlocked->lock));
    return syscall(SYS_pwrite64, fd, data, len, pos);
}

int fsync(int fd)
{
    snapshot_syncs += is_snapshot(fd);
    return (int)syscall(SYS_fsync, fd);
}

static bool starved; /* no snapshot can be opened for want of a descriptor */

int open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    if (starved && strstr(path, ".snapshot") != NULL) {
        errno = EMFILE;
        return -1;
    }
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

static enum kafka_error append_as(struct fixture *f, int64_t producer, int32_t sequence, bool *duplicate)
{
    struct append_result r;
    enum kafka_error error = append_batch(f->log, make_batch(5, 100, 1000, producer, sequence), 5, 0, &r);
    *duplicate = r.duplicate;
    return error;
}

/* Three batches fill a segment. */
static void fill_segments(struct fixture *f, int count)
{
    bool duplicate;
    for (int i = 0; i < 3 * count; i++)
        assert_int_equal(append_as(f, 3, (int32_t)plog_end_offset(f->log), &duplicate), ERR_NONE);
}

static bool has_snapshot(struct fixture *f, int offset)
{
    char name[64], path[256];
    snprintf(name, sizeof(name), "%020d.snapshot", offset);
    return access(file_in(f, name, path), F_OK) == 0;
}

/* As after a kill. */
static void reload(struct fixture *f)
{
    struct plog_origin o = {.recovery_point = 0, .start_offset = -1, .high_watermark = -1};
    plog_unref(f->log);
    f->log = plog_load(&f->home, "t", 0, &f->config, &o);
    assert_non_null(f->log);
}

static void assert_last_is_known(struct fixture *f)
{
    bool duplicate;
    assert_int_equal(append_as(f, 3, (int32_t)plog_end_offset(f->log) - 5, &duplicate), ERR_NONE);
    assert_true(duplicate);
    assert_int_equal(append_as(f, 3, (int32_t)plog_end_offset(f->log) + 5, &duplicate),
                     ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
}

static void no_append_waits_for_a_snapshot(void **state)
{
    struct fixture *f = *state;
    snapshot_writes = snapshot_syncs = 0;
    fill_segments(f, 3);
    assert_int_equal(f->log->segment_count, 3);
    assert_int_equal(snapshot_writes, 0);
    unlocked = f->log;
    plog_save_snapshots(f->log);
    unlocked = NULL;
    assert_int_equal(snapshot_writes, 2);
    assert_int_equal(snapshot_syncs, 2);
    assert_true(has_snapshot(f, 15) && has_snapshot(f, 30));
    plog_save_snapshots(f->log);
    assert_int_equal(snapshot_writes, 2);
}

static void a_kill_before_a_snapshot_costs_reading_only(void **state)
{
    struct fixture *f = *state;
    fill_segments(f, 2);
    plog_save_snapshots(f->log);
    fill_segments(f, 2);
    reload(f);
    assert_false(has_snapshot(f, 30));
    assert_true(has_snapshot(f, 60));
    assert_last_is_known(f);
}

static void a_log_is_closed_with_all_its_snapshots(void **state)
{
    struct fixture *f = *state;
    fill_segments(f, 3);
    assert_true(plog_close(f->log));
    assert_true(has_snapshot(f, 15) && has_snapshot(f, 30) && has_snapshot(f, 45));
    snapshot_writes = 0;
    plog_save_snapshots(f->log);
    assert_int_equal(snapshot_writes, 0);
}

/* Nothing may say what was where others' records are now. */
static void a_snapshot_of_what_is_cut_is_not_written(void **state)
{
    struct fixture *f = *state;
    fill_segments(f, 4);
    assert_int_equal(plog_truncate(f->log, 35), ERR_NONE);
    assert_true(has_snapshot(f, 15) && has_snapshot(f, 30));
    assert_last_is_known(f);
    fill_segments(f, 1);
    plog_save_snapshots(f->log);
    assert_false(has_snapshot(f, 60));
    assert_int_equal(plog_truncate_fully(f->log, 45), ERR_NONE);
    assert_false(has_snapshot(f, 45));
    reload(f);
    assert_false(has_snapshot(f, 15) || has_snapshot(f, 30));
}

static void old_snapshots_go_when_newer_ones_are_there(void **state)
{
    struct fixture *f = *state;
    fill_segments(f, 4);
    plog_set_high_watermark(f->log, plog_end_offset(f->log));
    f->log->config.retention_bytes = 0;
    snapshot_syncs = 0;
    assert_int_equal(plog_apply_retention(f->log, 1000), 4);
    assert_int_equal(snapshot_syncs, 4);
    assert_false(has_snapshot(f, 15) || has_snapshot(f, 30) || has_snapshot(f, 45));
    assert_true(has_snapshot(f, 60));
    assert_last_is_known(f);
}

/* Nothing goes before they are there, and no disk has failed. */
static void without_descriptors_for_snapshots_all_stays(void **state)
{
    struct fixture *f = *state;
    fill_segments(f, 4);
    plog_set_high_watermark(f->log, plog_end_offset(f->log));
    f->log->config.retention_bytes = 0;
    starved = true;
    assert_int_equal(plog_apply_retention(f->log, 1000), 0);
    starved = false;
    assert_int_equal(plog_start_offset(f->log), 0);
    assert_false(plog_is_offline(f->log));
    assert_true(plog_apply_retention(f->log, 1000) > 0);
    assert_true(has_snapshot(f, 60));
    assert_last_is_known(f);
}

/* Thousands of producers, of which snapshots take longer to write than segments to become full. */
static void a_segment_without_a_snapshot_is_never_the_first(void **state)
{
    struct fixture *f = *state;
    for (int64_t id = 0; id < SOME; id++)
        note_batch(&f->log->producers, 1000 + id, -1, 0, 0);
    fill_segments(f, 4); /* that of the second segment is begun, and not written */
    assert_ptr_equal(f->log->snapshots->next, NULL);
    plog_set_high_watermark(f->log, plog_end_offset(f->log));
    f->log->config.retention_bytes = 1;
    assert_int_equal(plog_apply_retention(f->log, 1000), 1);
    assert_int_equal(plog_start_offset(f->log), 15);
    assert_true(has_snapshot(f, 15));
    assert_int_equal(plog_apply_retention(f->log, 1000), 0);
    fill_segments(f, 1);
    assert_int_equal(plog_apply_retention(f->log, 1000), 3);
    assert_int_equal(plog_start_offset(f->log), 60);
    assert_true(has_snapshot(f, 60));
    assert_last_is_known(f);
    assert_true(plog_close(f->log));
    assert_true(has_snapshot(f, 75));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        CASE(a_million_producers_come_and_go),
        CASE(expiry_goes_on_whatever_happens_between_its_steps),
        CASE(a_copy_is_what_was_known_when_it_was_begun),
        CASE(a_copy_that_is_begun_has_the_one_before_filled),
        CASE(transactions_are_in_order_whatever_the_snapshots),
        CASE(no_append_waits_for_a_snapshot),
        CASE(a_kill_before_a_snapshot_costs_reading_only),
        CASE(a_log_is_closed_with_all_its_snapshots),
        CASE(a_snapshot_of_what_is_cut_is_not_written),
        CASE(old_snapshots_go_when_newer_ones_are_there),
        CASE(without_descriptors_for_snapshots_all_stays),
        CASE(a_segment_without_a_snapshot_is_never_the_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
