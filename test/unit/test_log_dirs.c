/* Several log directories: which one a log goes to, what happens when one fails, and moving logs between them. */
#include "log_test.h"

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/topic_key.h"
#include "cluster/view.h"
#include "log/file.h"
#include "log/plog_internal.h"
#include "replica/fetcher.h"
#include "replica/mover.h"
#include "replica/replica.h"
#include "storage/manager_internal.h"

enum { DIRS = 3, BROKER = 1, OTHER = 2 };

struct fixture {
    struct workers *workers; /* NULL: none */
    char root[64];
    char paths[DIRS][80];
    const char *dirs[DIRS];
    struct broker_config config;
    struct log_manager *logs;
    struct replica_manager *replicas;
    int failures;
    char failed[80];
};

static void topic_overrides(void *ctx UNUSED, const char *topic UNUSED, struct topic_config *config)
{
    set_up_config(config);
}

static void dir_failed(void *ctx, const char *dir, const char *why UNUSED)
{
    struct fixture *f = ctx;
    f->failures++;
    snprintf(f->failed, sizeof(f->failed), "%s", dir);
}

static bool try_open(struct fixture *f, struct fail *fail)
{
    struct log_manager_options options = {.config = &f->config,
                                          .workers = f->workers,
                                          .topic_overrides = topic_overrides,
                                          .dir_failed = dir_failed,
                                          .ctx = f};
    f->logs = log_manager_new(&options, fail);
    return f->logs != NULL && log_manager_load(f->logs, fail);
}

static void open_all(struct fixture *f)
{
    struct fail fail;
    assert_true(try_open(f, &fail));
}

static void close_all(struct fixture *f, bool cleanly)
{
    if (f->logs != NULL && cleanly)
        log_manager_close(f->logs, NULL, NULL);
    log_manager_free(f->logs);
    f->logs = NULL;
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    temp_dir_make(f->root);
    for (int i = 0; i < DIRS; i++) {
        strcat(strcat(f->paths[i], f->root), i == 0 ? "/a" : i == 1 ? "/b" : "/c");
        f->dirs[i] = f->paths[i];
    }
    f->config = (struct broker_config){.log_dirs = {.items = f->dirs, .count = DIRS},
                                       .num_recovery_threads_per_data_dir = 1,
                                       .log_segment_delete_delay_ms = 60000,
                                       .replication_quota_window_num = 11,
                                       .replication_quota_window_size_seconds = 1,
                                       .alter_log_dirs_replication_quota_window_num = 11,
                                       .alter_log_dirs_replication_quota_window_size_seconds = 1};
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    replica_manager_free(f->replicas);
    close_all(f, false);
    workers_free(f->workers);
    temp_dir_remove(f->root);
    free(f);
    return 0;
}

static enum kafka_error open_log(struct fixture *f, const char *topic, bool is_new, struct plog **out)
{
    struct topic_config config;
    set_up_config(&config);
    return log_manager_open(f->logs, topic, 0, (struct uuid){0}, is_new, &config, out);
}

static struct plog *make_log(struct fixture *f, const char *topic)
{
    struct plog *log;
    assert_int_equal(open_log(f, topic, true, &log), ERR_NONE);
    return log;
}

/* In which directory: 0, 1, ... */
static int place_of(struct fixture *f, const struct plog *log)
{
    for (int i = 0; i < DIRS; i++)
        if (strcmp(plog_dir(log), f->paths[i]) == 0)
            return i;
    return -1;
}

static enum kafka_error append(struct plog *log, int count, int32_t epoch)
{
    struct append_result r;
    return append_batch(log, make_batch(count, 100, 1000, -1, -1), count, epoch, &r);
}

static void write_file(const char *dir, const char *name, const char *text)
{
    char path[160];
    mkdir(dir, 0755);
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    fputs(text, out);
    fclose(out);
}

static bool exists(const char *dir, const char *name)
{
    char path[160];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return access(path, F_OK) == 0;
}

static void assert_same(struct strbuf a, struct strbuf b)
{
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.p, b.p, a.len);
    strbuf_deinit(&a);
    strbuf_deinit(&b);
}

/* ---- Which directory ---- */

static void a_log_goes_where_there_are_fewest(void **state)
{
    struct fixture *f = *state;
    int counts[DIRS] = {0};
    open_all(f);
    for (int i = 0; i < 2 * DIRS; i++) {
        char topic[8];
        snprintf(topic, sizeof(topic), "t%d", i);
        struct plog *log = make_log(f, topic);
        counts[place_of(f, log)]++;
        if (i == DIRS - 1) /* the next one goes where one is missing */
            assert_int_equal(log_manager_delete(f->logs, log), ERR_NONE);
        plog_unref(log);
    }
    assert_int_equal(counts[0], 2);
    assert_int_equal(counts[1], 2);
    assert_int_equal(counts[2], 2);
}

/* Of a large topic, say: by several threads, one of them named twice, one already there. */
static void many_are_made_at_once(void **state)
{
    enum { MANY = 40 * DIRS };
    struct fixture *f = *state;
    struct topic_config config;
    struct log_wish wishes[MANY + 1];
    struct plog *log;
    int counts[DIRS] = {0};
    set_up_config(&config);
    for (int i = 0; i < MANY; i++)
        wishes[i] = (struct log_wish){"t", i, {.b = {1}}, true, &config, false};
    wishes[MANY] = wishes[MANY / 2];
    open_all(f);
    assert_int_equal(log_manager_open(f->logs, "t", 0, wishes[0].topic_id, true, &config, &log), ERR_NONE);
    plog_unref(log);
    log_manager_open_ahead(f->logs, wishes, MANY + 1);
    for (int i = 0; i < MANY; i++) {
        assert_non_null(log = log_manager_get(f->logs, "t", i));
        assert_true(uuid_eq(plog_topic_id(log), wishes[i].topic_id));
        counts[place_of(f, log)]++;
        plog_unref(log);
    }
    for (int i = 0; i < DIRS; i++)
        assert_int_equal(counts[i], MANY / DIRS);
    assert_int_equal(f->failures, 0);
}

static void a_log_goes_where_it_is_wanted(void **state)
{
    struct fixture *f = *state;
    open_all(f);
    log_manager_prefer_dir(f->logs, "t", 0, f->paths[1]);
    log_manager_prefer_dir(f->logs, "t", 0, f->paths[2]);
    struct plog *log = make_log(f, "t");
    assert_int_equal(place_of(f, log), 2);
    plog_unref(log);
}

/* ---- Directories that cannot be used ---- */

static void one_that_cannot_be_used_at_start_is_offline(void **state)
{
    struct fixture *f = *state;
    struct plog *log;
    write_file(f->root, "a", "not a directory");
    open_all(f);
    assert_int_equal(log_manager_check_dir(f->logs, f->paths[0]), ERR_KAFKA_STORAGE_ERROR);
    assert_int_equal(log_manager_check_dir(f->logs, f->paths[1]), ERR_NONE);
    assert_int_equal(log_manager_check_dir(f->logs, "/nowhere"), ERR_LOG_DIR_NOT_FOUND);
    assert_int_equal(open_log(f, "perhaps-there", false, &log), ERR_KAFKA_STORAGE_ERROR);
    log = make_log(f, "new");
    assert_int_not_equal(place_of(f, log), 0);
    plog_unref(log);
}

static void without_any_that_can_be_used_there_is_no_start(void **state)
{
    struct fixture *f = *state;
    struct fail fail = {.text = ""};
    write_file(f->root, "a", "");
    write_file(f->root, "b", "");
    write_file(f->root, "c", "");
    assert_false(try_open(f, &fail));
    assert_non_null(strstr(fail.text, "have failed"));
    assert_non_null(strstr(fail.text, f->paths[2]));
}

static void a_directory_is_listed_once(void **state)
{
    struct fixture *f = *state;
    struct fail fail = {.text = ""};
    strcpy(f->paths[2] + strlen(f->root), "//a/");
    assert_false(try_open(f, &fail));
    assert_non_null(strstr(fail.text, "Duplicate"));
}

/* A start would find each log in two, and the advice to take one away would take both. */
static void a_directory_is_listed_once_by_whatever_path(void **state)
{
    struct fixture *f = *state;
    struct fail fail = {.text = ""};
    assert_int_equal(mkdir(f->paths[0], 0755), 0);
    assert_int_equal(symlink(f->paths[0], f->paths[2]), 0);
    assert_false(try_open(f, &fail));
    assert_non_null(strstr(fail.text, "Duplicate log directory found"));
}

/* A file may not grow beyond so many bytes: what a full disk does to a write in its middle. */
static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static int64_t file_bytes(const struct plog *log)
{
    char path[160];
    struct stat st;
    snprintf(path, sizeof(path), "%s/%s-0/00000000000000000000.log", plog_dir(log), plog_topic(log));
    assert_int_equal(stat(path, &st), 0);
    return st.st_size;
}

static void one_that_is_full_goes_offline_alone(void **state)
{
    struct fixture *f = *state;
    struct plog *full, *beside, *elsewhere;
    struct strbuf out = {0};
    open_all(f);
    full = make_log(f, "full");
    elsewhere = make_log(f, "elsewhere");
    log_manager_prefer_dir(f->logs, "beside", 0, plog_dir(full));
    beside = make_log(f, "beside");
    assert_int_equal(append(full, 10, 0), ERR_NONE);
    assert_int_equal(append(beside, 10, 0), ERR_NONE);
    signal(SIGXFSZ, SIG_IGN);
    limit_files((rlim_t)plog_size(full) + 500);
    assert_int_equal(append(full, 10, 0), ERR_KAFKA_STORAGE_ERROR);
    limit_files(RLIM_INFINITY);
    assert_int_equal(file_bytes(full), plog_size(full)); /* nothing is left of the batch */
    assert_int_equal(f->failures, 1);
    assert_string_equal(f->failed, plog_dir(full));
    assert_int_equal(append(full, 10, 0), ERR_KAFKA_STORAGE_ERROR);
    assert_int_equal(append(beside, 10, 0), ERR_KAFKA_STORAGE_ERROR);
    assert_int_equal(plog_read_bytes(beside, 0, 1000, 10, &out), ERR_KAFKA_STORAGE_ERROR);
    assert_int_equal(append(elsewhere, 10, 0), ERR_NONE);
    assert_int_equal(f->failures, 1);

    log_manager_abandon_dir(f->logs, f->failed);
    assert_null(log_manager_get(f->logs, "full", 0));
    assert_int_equal(plog_end_offset(full), 10);
    assert_int_equal(append(full, 10, 0), ERR_KAFKA_STORAGE_ERROR);
    plog_unref(full);
    plog_unref(beside);
    plog_unref(elsewhere);
    strbuf_deinit(&out);
}

/* What was acknowledged is there, and nothing of what was not. */
static void after_it_was_full_the_log_is_whole(void **state)
{
    struct fixture *f = *state;
    open_all(f);
    struct plog *log = make_log(f, "t");
    int place = place_of(f, log);
    assert_int_equal(append(log, 10, 0), ERR_NONE);
    int64_t size = plog_size(log);
    signal(SIGXFSZ, SIG_IGN);
    limit_files((rlim_t)size + 500);
    assert_int_equal(append(log, 10, 0), ERR_KAFKA_STORAGE_ERROR);
    limit_files(RLIM_INFINITY);
    plog_unref(log);
    close_all(f, true);
    assert_false(exists(f->paths[place], ".kafka_cleanshutdown"));
    assert_true(exists(f->paths[(place + 1) % DIRS], ".kafka_cleanshutdown"));
    open_all(f);
    log = log_manager_get(f->logs, "t", 0);
    assert_non_null(log);
    assert_int_equal(plog_end_offset(log), 10);
    assert_int_equal(plog_size(log), size);
    assert_int_equal(append(log, 10, 0), ERR_NONE);
    plog_unref(log);
}

/* A batch that was damaged is its readers' misfortune, not its directory's. */
static void a_damaged_batch_is_no_failure_of_the_disk(void **state)
{
    struct fixture *f = *state;
    struct strbuf out = {0};
    char path[160];
    open_all(f);
    struct plog *log = make_log(f, "t");
    assert_int_equal(append(log, 10, 0), ERR_NONE);
    int64_t first = plog_size(log);
    assert_int_equal(append(log, 10, 0), ERR_NONE);
    snprintf(path, sizeof(path), "%s/t-0/00000000000000000000.log", plog_dir(log));
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "\x7f", 1, first + 8), 1); /* its length */
    close(fd);
    assert_int_equal(plog_read_bytes(log, 10, 1000, 20, &out), ERR_CORRUPT_MESSAGE);
    assert_int_equal(plog_read_bytes(log, 0, (int32_t)first, 20, &out), ERR_NONE);
    assert_int_equal(append(log, 10, 0), ERR_NONE);
    assert_int_equal(f->failures, 0);
    strbuf_deinit(&out);
    plog_unref(log);
}

/* An index that is mapped and cannot be read any more: the log is read from the segment's beginning. */
static void an_index_that_fails_ends_nobody(void **state)
{
    struct fixture *f = *state;
    struct topic_config config;
    struct strbuf out = {0};
    struct plog *log;
    char path[160];
    open_all(f);
    set_up_config(&config);
    config.segment_bytes = 20000;
    assert_int_equal(log_manager_open(f->logs, "t", 0, (struct uuid){0}, true, &config, &log), ERR_NONE);
    for (int i = 0; i < 30; i++)
        assert_int_equal(append(log, 10, 0), ERR_NONE);
    assert_int_equal(plog_read_bytes(log, 50, 1000, 300, &out), ERR_NONE);
    snprintf(path, sizeof(path), "%s/t-0/00000000000000000000.index", plog_dir(log));
    assert_int_equal(truncate(path, 0), 0);
    struct strbuf again = {0};
    assert_int_equal(plog_read_bytes(log, 50, 1000, 300, &again), ERR_NONE);
    assert_same(out, again);
    plog_unref(log);
}

/* The log "t", whose reference is given back, as it is when the broker was killed and started again. */
static struct plog *after_crash(struct fixture *f, struct plog *log)
{
    plog_unref(log);
    close_all(f, false);
    open_all(f);
    log = log_manager_get(f->logs, "t", 0);
    assert_non_null(log);
    return log;
}

/* What the checkpoints say from before is no longer so, and must not count after a crash. */
static void a_crash_after_a_cut_below_the_start_loses_nothing(void **state)
{
    struct fixture *f = *state;
    open_all(f);
    struct plog *log = make_log(f, "t");
    assert_int_equal(append(log, 100, 0), ERR_NONE);
    plog_set_high_watermark(log, 100);
    assert_int_equal(plog_advance_start(log, 100), ERR_NONE);
    log_manager_write_checkpoints(f->logs);
    assert_int_equal(plog_truncate(log, 0), ERR_NONE);
    assert_int_equal(append(log, 10, 1), ERR_NONE);
    log = after_crash(f, log);
    assert_int_equal(plog_start_offset(log), 0);
    assert_int_equal(plog_end_offset(log), 10);
    plog_unref(log);
}

/* Nor does what they say of a log that is deleted, of the one that has its name next. */
static void after_a_crash_a_log_has_nothing_of_its_namesake(void **state)
{
    struct fixture *f = *state;
    struct plog *log;
    open_all(f);
    for (int i = 0; i < 2; i++) {
        log_manager_prefer_dir(f->logs, "t", 0, f->paths[1]);
        log = make_log(f, "t");
        assert_int_equal(append(log, 50, 0), ERR_NONE);
        assert_int_equal(append(log, 50, 0), ERR_NONE);
        if (i == 1)
            break;
        plog_set_high_watermark(log, 100);
        assert_int_equal(plog_advance_start(log, 90), ERR_NONE);
        assert_int_equal(plog_flush(log), ERR_NONE);
        log_manager_write_checkpoints(f->logs);
        assert_int_equal(log_manager_delete(f->logs, log), ERR_NONE);
        plog_unref(log);
    }
    log = after_crash(f, log);
    assert_int_equal(plog_start_offset(log), 0);
    assert_int_equal(plog_end_offset(log), 100);
    assert_int_equal(plog_recovery_point(log), 0);
    plog_unref(log);
}

static ino_t inode_of(const char *dir, const char *name)
{
    char path[160];
    struct stat st;
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    assert_int_equal(stat(path, &st), 0);
    return st.st_ino;
}

/* A failover cuts many logs at once, and each checkpoint has a line for every log: it is written for all of them. */
static void cuts_reach_the_checkpoint_together_before_the_first_append(void **state)
{
    struct fixture *f = *state;
    struct plog *logs[4];
    char topic[] = "t0";
    open_all(f);
    for (int i = 0; i < 4; i++, topic[1]++) {
        log_manager_prefer_dir(f->logs, topic, 0, f->paths[1]);
        logs[i] = make_log(f, topic);
        assert_int_equal(append(logs[i], 50, 0), ERR_NONE);
        assert_int_equal(append(logs[i], 50, 0), ERR_NONE);
        assert_int_equal(plog_flush(logs[i]), ERR_NONE);
    }
    log_manager_write_checkpoints(f->logs);
    ino_t before = inode_of(f->paths[1], CHECKPOINT_RECOVERY);
    for (int i = 0; i < 4; i++)
        assert_int_equal(plog_truncate(logs[i], 50), ERR_NONE);
    assert_int_equal(inode_of(f->paths[1], CHECKPOINT_RECOVERY), before);
    assert_int_equal(append(logs[0], 10, 1), ERR_NONE);
    ino_t after = inode_of(f->paths[1], CHECKPOINT_RECOVERY);
    assert_int_not_equal(after, before);
    for (int i = 0; i < 4; i++)
        assert_int_equal(append(logs[i], 10, 1), ERR_NONE);
    assert_int_equal(inode_of(f->paths[1], CHECKPOINT_RECOVERY), after);
    for (int i = 0; i < 4; i++)
        plog_unref(logs[i]);
}

/* ---- What is not ours, and what is in the way ---- */

static int stuck; /* errno of whoever removes a folder; 0: it can be removed */

/* In the place of libc's. */
int rmdir(const char *path)
{
    if (stuck == 0)
        return (int)syscall(SYS_rmdir, path);
    errno = stuck;
    return -1;
}

static void make_folder(const char *dir, const char *name)
{
    char path[200];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    assert_int_equal(mkdir(path, 0755), 0);
}

static char *log_folder(const struct plog *log, char path[160])
{
    snprintf(path, 160, "%s/%s-0", plog_dir(log), plog_topic(log));
    return path;
}

/* As a migration that was called off leaves it. */
static void the_log_of_a_kraft_quorum_is_no_topics(void **state)
{
    static const char *const files[] = {"00000000000000000000.log", "00000000000000000000.index", "quorum-state",
                                        "00000000000000000007-0000000001.checkpoint"};
    struct fixture *f = *state;
    char path[160];
    mkdir(f->paths[0], 0755);
    make_folder(f->paths[0], "__cluster_metadata-0");
    snprintf(path, sizeof(path), "%s/__cluster_metadata-0", f->paths[0]);
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        write_file(path, files[i], "x");
    open_all(f);
    assert_null(log_manager_get(f->logs, CLUSTER_METADATA_TOPIC, 0));
    close_all(f, true);
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        struct stat st;
        snprintf(path, sizeof(path), "%s/__cluster_metadata-0/%s", f->paths[0], files[i]);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_size, 1);
    }
}

/* Logs of a program are where its data is, things that were put there by hand, and lost+found. */
static void what_is_not_ours_is_left_alone(void **state)
{
    static const char *const files[] = {"u-0", "server.log.2024-11-28-10", "notes.to-delete",
                                        "u-1.0123456789abcdef0123456789abcdef-delete"};
    static const char *const folders[] = {"lost+found", "foo",       "foo-",       "foo-x",
                                          "-0",         ".snapshot", "x.y-delete", "things.to-delete"};
    struct fixture *f = *state;
    mkdir(f->paths[1], 0755);
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        write_file(f->paths[1], files[i], "");
    for (size_t i = 0; i < ARRAY_LEN(folders); i++)
        make_folder(f->paths[1], folders[i]);
    f->config.log_segment_delete_delay_ms = 0;
    open_all(f);
    manager_run_removals(f->logs);
    assert_int_equal(f->failures, 0);
    assert_int_equal(log_manager_check_dir(f->logs, f->paths[1]), ERR_NONE);
    assert_null(log_manager_get(f->logs, "server.log.2024-11-28", 10));
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        assert_true(exists(f->paths[1], files[i]));
    for (size_t i = 0; i < ARRAY_LEN(folders); i++)
        assert_true(exists(f->paths[1], folders[i]));
}

static void what_is_not_ours_in_a_log_is_left_alone(void **state)
{
    static const char *const folders[] = {"00000000000000009999.log", "00000000000000000000.log.swap", "sub",
                                          "00000000000000000005.snapshot", "00000000000000000005.log.deleted"};
    struct fixture *f = *state;
    char path[160];
    open_all(f);
    struct plog *log = make_log(f, "t");
    assert_int_equal(append(log, 10, 0), ERR_NONE);
    log_folder(log, path);
    plog_unref(log);
    close_all(f, true);
    for (size_t i = 0; i < ARRAY_LEN(folders); i++)
        make_folder(path, folders[i]);
    for (int clean = 0; clean < 2; clean++) {
        open_all(f);
        assert_int_equal(f->failures, 0);
        log = log_manager_get(f->logs, "t", 0);
        assert_int_equal(plog_end_offset(log), 10 + 5 * clean);
        assert_int_equal(append(log, 5, 0), ERR_NONE);
        plog_unref(log);
        close_all(f, clean == 0);
    }
}

/* What was left from a deletion is found again at the next start. */
static void a_log_is_removed_whatever_is_in_it(void **state)
{
    struct fixture *f = *state;
    char path[160];
    f->config.log_segment_delete_delay_ms = 0;
    open_all(f);
    struct plog *log = make_log(f, "t");
    log_folder(log, path);
    make_folder(path, "sub");
    make_folder(path, "sub/deep");
    write_file(path, "sub/deep/file", "");
    assert_int_equal(symlink("/nowhere", strcat(path, "/dangling")), 0);
    assert_int_equal(log_manager_delete(f->logs, log), ERR_NONE);
    plog_unref(log);
    stuck = EBUSY; /* as an NFS server's hidden file makes it */
    manager_run_removals(f->logs);
    assert_int_equal(f->failures, 0);
    stuck = 0;
    close_all(f, true);
    open_all(f);
    manager_run_removals(f->logs);
    for (int i = 0; i < DIRS; i++) {
        struct names names;
        assert_true(dir_list(f->paths[i], &names));
        for (size_t k = 0; k < names.n; k++)
            assert_null(strstr(names.v[k], "-delete"));
        names_free(&names);
    }
    assert_int_equal(f->failures, 0);
}

static void a_disk_that_fails_while_removing_has_failed(void **state)
{
    struct fixture *f = *state;
    f->config.log_segment_delete_delay_ms = 0;
    open_all(f);
    struct plog *log = make_log(f, "t");
    assert_int_equal(log_manager_delete(f->logs, log), ERR_NONE);
    plog_unref(log);
    stuck = EIO;
    manager_run_removals(f->logs);
    stuck = 0;
    assert_int_equal(f->failures, 1);
}

static void a_file_in_the_place_of_a_log_is_in_its_way_only(void **state)
{
    struct fixture *f = *state;
    struct plog *log;
    open_all(f);
    for (int i = 0; i < DIRS; i++)
        write_file(f->paths[i], "t-0", "");
    assert_int_equal(open_log(f, "t", true, &log), ERR_KAFKA_STORAGE_ERROR);
    assert_int_equal(f->failures, 0);
    log = make_log(f, "u");
    plog_unref(log);
}

static void a_folder_is_no_mark_of_a_clean_shutdown(void **state)
{
    struct fixture *f = *state;
    open_all(f);
    struct plog *log = make_log(f, "t");
    char dir[80];
    snprintf(dir, sizeof(dir), "%s", plog_dir(log));
    assert_int_equal(append(log, 10, 0), ERR_NONE);
    plog_unref(log);
    close_all(f, false);
    make_folder(dir, ".kafka_cleanshutdown");
    make_folder(dir, ".kafka_cleanshutdown/sub");
    open_all(f);
    assert_int_equal(f->failures, 0);
    assert_false(exists(dir, ".kafka_cleanshutdown"));
    close_all(f, true);
    assert_true(exists(dir, ".kafka_cleanshutdown"));
}

/* However many segments were rolled meanwhile, as they are small, or the disk is slow. */
static void the_recovery_point_goes_on_after_any_number_of_segments(void **state)
{
    struct fixture *f = *state;
    open_all(f);
    struct plog *log = make_log(f, "t");
    log->config.segment_bytes = 2000;
    for (int i = 0; i < 30; i++) /* nobody syncs them */
        assert_int_equal(append(log, 10, 0), ERR_NONE);
    plog_unref(log);
    close_all(f, false);
    f->workers = workers_new("worker", 1);
    open_all(f);
    log = log_manager_get(f->logs, "t", 0);
    assert_true(log->segment_count > 20);
    assert_int_equal(log->recovery_point, 0);
    log->config.segment_bytes = 2000;
    assert_int_equal(append(log, 10, 0), ERR_NONE);
    assert_int_equal(append(log, 10, 0), ERR_NONE);
    workers_stop(f->workers);
    assert_int_equal(log->recovery_point, log->segments[log->segment_count - 1]->base_offset);
    plog_unref(log);
}

/* ---- Writing back ---- */

static struct written_back {
    int64_t begun, awaited; /* how far of the file, in order */
    int64_t most_open;      /* bytes that were begun and not waited for, at any time */
    int fd, error;
    bool disordered;
} disk_work;

/* In the place of libc's. */
int sync_file_range(int fd, off_t pos, off_t len, unsigned how)
{
    struct written_back *w = &disk_work;
    w->fd = fd;
    if (how == SYNC_FILE_RANGE_WRITE) {
        w->disordered |= pos != w->begun;
        w->begun += len;
    } else {
        w->awaited = MAX(w->awaited, pos + len);
    }
    w->most_open = MAX(w->most_open, w->begun - w->awaited);
    errno = w->error;
    return w->error == 0 ? 0 : -1;
}

/* A log of a directory that has its writer. */
static struct plog *make_written_log(struct fixture *f)
{
    struct topic_config config;
    open_all(f);
    for (int i = 0; i < DIRS; i++)
        f->logs->dirs[i].writer = workers_new("writer", 1);
    struct plog *log = make_log(f, "t");
    disk_work = (struct written_back){0};
    set_up_config(&config);
    config.segment_bytes = 64 << 20;
    plog_configure(log, &config);
    return log;
}

static void stop_writers(struct fixture *f)
{
    for (int i = 0; i < DIRS; i++) {
        workers_free(f->logs->dirs[i].writer); /* it does all before */
        f->logs->dirs[i].writer = NULL;
    }
}

static void what_is_appended_is_given_to_the_disk_piece_by_piece(void **state)
{
    struct fixture *f = *state;
    struct plog *log = make_written_log(f);
    for (int i = 0; i < 100; i++)
        assert_int_equal(append(log, 1000, 0), ERR_NONE);
    stop_writers(f);
    assert_true(plog_size(log) > 10 << 20);
    assert_true(disk_work.begun > plog_size(log) - (1 << 20));
    assert_int_equal(disk_work.awaited, disk_work.begun);
    assert_false(disk_work.disordered);
    assert_true(disk_work.most_open <= 2 << 20);
    /* By another descriptor than the log's own, or the next sync would hear of no error. */
    assert_int_not_equal(disk_work.fd, log->segments[log->segment_count - 1]->file->fd);
    plog_unref(log);
}

static void what_cannot_be_written_back_is_left_to_who_syncs(void **state)
{
    struct fixture *f = *state;
    struct plog *log = make_written_log(f);
    disk_work.error = EIO;
    for (int i = 0; i < 20; i++)
        assert_int_equal(append(log, 1000, 0), ERR_NONE);
    stop_writers(f);
    assert_true(disk_work.begun > 0);
    assert_int_equal(f->failures, 0);
    plog_unref(log);
}

/* ---- Without descriptors ---- */

static int filling[4096];
static size_t filling_count;

static void limit_descriptors(rlim_t count)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = MIN(count, limit.rlim_max);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* But for so many. */
static void use_up_descriptors(rlim_t left)
{
    int fd, top = 0;
    while ((fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0) {
        filling[filling_count++] = fd;
        top = MAX(top, fd);
        limit_descriptors((rlim_t)top + 1); /* what is below is filled as well */
    }
    limit_descriptors((rlim_t)top + 1 + left);
}

static void give_descriptors_back(void)
{
    while (filling_count > 0)
        close(filling[--filling_count]);
    limit_descriptors(RLIM_INFINITY);
}

/* Nothing is done then that could not be done again. */
static void without_descriptors_a_closed_log_waits_and_no_disk_has_failed(void **state)
{
    struct fixture *f = *state;
    struct strbuf out = {0};
    struct timestamp_offset found;
    open_all(f);
    struct plog *log = make_log(f, "t");
    assert_int_equal(append(log, 10, 0), ERR_NONE);
    assert_int_equal(plog_flush(log), ERR_NONE);
    for (int i = 0; i < 2; i++)
        assert_true(plog_close_unused_files(log));
    use_up_descriptors(0);
    assert_int_equal(append(log, 10, 0), ERR_KAFKA_STORAGE_ERROR);
    assert_int_equal(plog_read_bytes(log, 0, 1000, 10, &out), ERR_KAFKA_STORAGE_ERROR);
    assert_int_equal(plog_offset_for_time(log, 1000, &found), ERR_KAFKA_STORAGE_ERROR);
    assert_int_equal(plog_truncate(log, 0), ERR_KAFKA_STORAGE_ERROR);
    assert_int_equal(plog_flush(log), ERR_NONE);
    give_descriptors_back();
    assert_int_equal(f->failures, 0);
    assert_int_equal(append(log, 10, 0), ERR_NONE);
    assert_int_equal(plog_end_offset(log), 20);
    assert_int_equal(plog_read_bytes(log, 0, 100000, 20, &out), ERR_NONE);
    strbuf_deinit(&out);
    plog_unref(log);
}

static void without_descriptors_a_log_does_not_grow_and_no_disk_has_failed(void **state)
{
    struct fixture *f = *state;
    struct strbuf out = {0};
    struct plog *other;
    open_all(f);
    struct plog *log = make_log(f, "t");
    log->config.segment_bytes = 3000;
    for (int i = 0; i < 3; i++)
        assert_int_equal(append(log, 10, 0), ERR_NONE);
    use_up_descriptors(0);
    for (int i = 0; i < 2; i++)
        while (append(log, 10, 0) == ERR_NONE)
            ;
    int64_t end = plog_end_offset(log);
    assert_int_equal(open_log(f, "u", true, &other), ERR_KAFKA_STORAGE_ERROR);
    assert_int_equal(plog_flush(log), ERR_NONE);
    log_manager_write_checkpoints(f->logs);
    assert_int_equal(plog_read_bytes(log, 0, 1000, 30, &out), ERR_NONE);
    assert_int_equal(plog_truncate(log, end - 10), ERR_NONE);
    assert_int_equal(f->failures, 0);
    give_descriptors_back();
    for (int i = 0; i < 10; i++)
        assert_int_equal(append(log, 10, 0), ERR_NONE);
    assert_int_equal(plog_end_offset(log), end + 90);
    assert_int_equal(open_log(f, "u", true, &other), ERR_NONE);
    strbuf_deinit(&out);
    plog_unref(other);
    plog_unref(log);
}

static void a_start_takes_no_descriptor_for_each_log(void **state)
{
    struct fixture *f = *state;
    struct fail fail;
    open_all(f);
    for (char topic[] = "a"; topic[0] <= 'z'; topic[0]++) {
        struct plog *log = make_log(f, topic);
        assert_int_equal(append(log, 10, 0), ERR_NONE);
        plog_unref(log);
    }
    close_all(f, true);
    for (int i = 0; i < 2; i++) { /* after a clean stop, then after a crash */
        use_up_descriptors(16);   /* for locks, for the log that is looked at in each directory, and some to spare */
        assert_true(try_open(f, &fail));
        give_descriptors_back();
        struct plog *log = log_manager_get(f->logs, "m", 0);
        assert_int_equal(plog_end_offset(log), 10);
        plog_unref(log);
        close_all(f, false);
    }
    assert_int_equal(f->failures, 0);
}

static void a_start_without_enough_descriptors_says_so(void **state)
{
    struct fixture *f = *state;
    struct fail fail = {.text = ""};
    open_all(f);
    struct plog *log = make_log(f, "t");
    assert_int_equal(append(log, 10, 0), ERR_NONE);
    plog_unref(log);
    close_all(f, false);
    use_up_descriptors(DIRS); /* for their locks */
    assert_false(try_open(f, &fail));
    give_descriptors_back();
    assert_non_null(strstr(fail.text, "ulimit -n"));
    assert_int_equal(f->failures, 0);
    close_all(f, false);
    open_all(f);
}

/* ---- Indexes ---- */

/* Somebody has cleaned up. */
static void indexes_that_are_gone_are_made_again(void **state)
{
    static const char *const names[] = {"00000000000000000000.index", "00000000000000000000.timeindex"};
    struct fixture *f = *state;
    struct timestamp_offset found;
    char folder[160], path[200];
    open_all(f);
    struct plog *log = make_log(f, "t");
    log->config.segment_bytes = 20000;
    for (int i = 0; i < 30; i++)
        assert_int_equal(append(log, 10, 0), ERR_NONE);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct strbuf out = {0};
        snprintf(path, sizeof(path), "%s/%s", log_folder(log, folder), names[i]);
        assert_int_equal(i == 0 ? unlink(path) : truncate(path, 7), 0);
        assert_int_equal(plog_read_bytes(log, 50, 1000, 300, &out), ERR_NONE);
        assert_int_equal(plog_offset_for_time(log, 1000, &found), ERR_NONE);
        assert_int_equal(found.offset, 0);
        assert_true(exists(folder, names[i]));
        strbuf_deinit(&out);
        manager_unload_indexes(f->logs);
        manager_unload_indexes(f->logs);
    }
    assert_int_equal(f->failures, 0);
    plog_unref(log);
}

static bool maps_are_used_up;

/* In the place of libc's. */
void *mmap(void *at, size_t len, int protection, int flags, int fd, off_t offset)
{
    if (maps_are_used_up && fd >= 0) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return (void *)syscall(SYS_mmap, at, len, protection, flags, fd, offset);
}

static void without_maps_indexes_are_read(void **state)
{
    struct fixture *f = *state;
    struct strbuf out = {0};
    open_all(f);
    struct plog *log = make_log(f, "t");
    log->config.segment_bytes = 20000;
    for (int i = 0; i < 30; i++)
        assert_int_equal(append(log, 10, 0), ERR_NONE);
    maps_are_used_up = true;
    assert_int_equal(plog_read_bytes(log, 50, 1000, 300, &out), ERR_NONE);
    maps_are_used_up = false;
    assert_int_equal(f->failures, 0);
    assert_true(log->segments[0]->offsets.loaded);
    strbuf_deinit(&out);
    plog_unref(log);
}

static void indexes_that_nobody_asks_are_let_go_of(void **state)
{
    struct fixture *f = *state;
    struct strbuf out = {0};
    open_all(f);
    struct plog *log = make_log(f, "t");
    log->config.segment_bytes = 20000;
    for (int i = 0; i < 30; i++)
        assert_int_equal(append(log, 10, 0), ERR_NONE);
    const struct segment *first = log->segments[0], *active = log->segments[log->segment_count - 1];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(plog_read_bytes(log, 50, 1000, 300, &out), ERR_NONE);
        manager_unload_indexes(f->logs);
        assert_true(first->offsets.loaded && first->times.loaded);
        manager_unload_indexes(f->logs);
        assert_false(first->offsets.loaded || first->times.loaded);
    }
    manager_unload_indexes(f->logs);
    assert_true(active->offsets.loaded && active->times.loaded);
    strbuf_deinit(&out);
    plog_unref(log);
}

/* ---- meta.properties ---- */

static const char mine[] = "broker.id=1\nversion=0\ncluster.id=here\nother.key=kept\n";

static bool check_identity(struct fixture *f, struct meta_properties *found, struct fail *fail)
{
    struct meta_properties expected = {.broker_id = -1, .cluster_id = "here"};
    open_all(f);
    return log_manager_identity(f->logs, &expected, found, fail) && log_manager_identify(f->logs, found, fail);
}

static void identity_is_written_where_it_is_missing(void **state)
{
    struct fixture *f = *state;
    struct fail fail;
    struct meta_properties found;
    struct strbuf text = {0};
    char path[160];
    write_file(f->paths[0], "meta.properties", mine);
    assert_true(check_identity(f, &found, &fail));
    assert_int_equal(found.broker_id, 1);
    snprintf(path, sizeof(path), "%s/meta.properties", f->paths[0]);
    assert_int_equal(file_load(path, &text), FILE_FOUND);
    strbuf_add(&text, "", 1);
    assert_string_equal(text.p, mine);
    strbuf_deinit(&text);
    for (int i = 0; i < DIRS; i++) {
        snprintf(path, sizeof(path), "%s/meta.properties", f->paths[i]);
        assert_int_equal(meta_properties_read(path, &found), META_READ);
        assert_int_equal(found.broker_id, 1);
        assert_string_equal(found.cluster_id, "here");
    }
}

static void an_identity_that_is_not_understood_takes_its_directory_offline(void **state)
{
    struct fixture *f = *state;
    struct fail fail;
    struct meta_properties found;
    write_file(f->paths[0], "meta.properties", mine);
    write_file(f->paths[1], "meta.properties", "broker.id=one\n");
    assert_true(check_identity(f, &found, &fail));
    assert_int_equal(log_manager_check_dir(f->logs, f->paths[0]), ERR_NONE);
    assert_int_equal(log_manager_check_dir(f->logs, f->paths[1]), ERR_KAFKA_STORAGE_ERROR);
    assert_int_equal(log_manager_check_dir(f->logs, f->paths[2]), ERR_NONE);
}

/* Taken for empty, they would bring deleted records back, and another identity would be written. */
static void files_that_cannot_be_read_take_their_directory_offline(void **state)
{
    static const char *const names[] = {CHECKPOINT_RECOVERY, CHECKPOINT_START, CHECKPOINT_HW, CHECKPOINT_CLEANER,
                                        "meta.properties"};
    struct fixture *f = *state;
    write_file(f->paths[0], "meta.properties", mine);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct fail fail;
        struct meta_properties found;
        char path[160];
        snprintf(path, sizeof(path), "%s/%s", f->paths[1], names[i]);
        mkdir(f->paths[1], 0755);
        make_unreadable(path);
        assert_true(check_identity(f, &found, &fail));
        assert_int_equal(log_manager_check_dir(f->logs, f->paths[0]), ERR_NONE);
        assert_int_equal(log_manager_check_dir(f->logs, f->paths[1]), ERR_KAFKA_STORAGE_ERROR);
        assert_int_equal(unlink(path), 0);
        close_all(f, false);
    }
}

static void directories_of_others_are_refused(void **state)
{
    static const struct {
        const char *text, *why;
    } bad[] = {{"broker.id=2\ncluster.id=here\n", "Stored node id 2 doesn't match"},
               {"broker.id=1\ncluster.id=there\n", "Invalid cluster.id"},
               {"node.id=1\nversion=1\ncluster.id=here\n", "unexpected version"}};
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct fail fail = {.text = ""};
        struct meta_properties found;
        write_file(f->paths[0], "meta.properties", mine);
        write_file(f->paths[1], "meta.properties", bad[i].text);
        assert_false(check_identity(f, &found, &fail));
        assert_non_null(strstr(fail.text, bad[i].why));
        close_all(f, false);
    }
}

/* ---- Future logs ---- */

static struct plog *make_future(struct fixture *f, struct plog *log, int place)
{
    struct plog *future;
    assert_int_equal(log_manager_create_future(f->logs, log, f->paths[place], &future), ERR_NONE);
    assert_true(plog_is_future(future));
    return future;
}

static void a_future_log_takes_the_place_of_the_current_one(void **state)
{
    struct fixture *f = *state;
    open_all(f);
    struct plog *log = make_log(f, "t"), *second;
    struct plog *future = make_future(f, log, 1);
    assert_int_equal(place_of(f, log), 0);
    assert_int_equal(log_manager_create_future(f->logs, log, f->paths[2], &second), ERR_KAFKA_STORAGE_ERROR);
    assert_int_equal(append(log, 10, 0), ERR_NONE);
    assert_int_equal(append(future, 10, 0), ERR_NONE);
    assert_int_equal(log_manager_promote(f->logs, log, future, true), ERR_NONE);
    log_manager_retire(f->logs, log, future);
    assert_false(exists(f->paths[0], "t-0"));
    assert_true(exists(f->paths[1], "t-0"));
    assert_false(plog_is_future(future));
    struct plog *now = log_manager_get(f->logs, "t", 0);
    assert_ptr_equal(now, future);
    assert_null(log_manager_get_future(f->logs, "t", 0));
    assert_int_equal(append(log, 10, 0), ERR_KAFKA_STORAGE_ERROR); /* no blame on its directory */
    assert_int_equal(append(now, 10, 0), ERR_NONE);
    assert_int_equal(f->failures, 0);
    plog_unref(now);
    plog_unref(future);
    plog_unref(log);
    close_all(f, true);
    open_all(f);
    now = log_manager_get(f->logs, "t", 0);
    assert_non_null(now);
    assert_int_equal(plog_end_offset(now), 20);
    plog_unref(now);
}

static void a_future_log_is_found_again(void **state)
{
    struct fixture *f = *state;
    open_all(f);
    struct plog *log = make_log(f, "t"), *future = make_future(f, log, 2);
    assert_int_equal(append(future, 10, 0), ERR_NONE);
    plog_unref(future);
    plog_unref(log);
    close_all(f, true);
    open_all(f);
    log = log_manager_get(f->logs, "t", 0);
    future = log_manager_get_future(f->logs, "t", 0);
    assert_int_equal(place_of(f, log), 0);
    assert_int_equal(place_of(f, future), 2);
    assert_int_equal(plog_end_offset(log), 0);
    assert_int_equal(plog_end_offset(future), 10);
    assert_int_equal(log_manager_delete(f->logs, future), ERR_NONE);
    assert_null(log_manager_get_future(f->logs, "t", 0));
    plog_unref(future);
    plog_unref(log);
}

static void none_is_made_while_a_directory_is_offline(void **state)
{
    struct fixture *f = *state;
    struct plog *future;
    write_file(f->root, "c", "not a directory");
    open_all(f);
    struct plog *log = make_log(f, "t");
    assert_int_equal(log_manager_create_future(f->logs, log, f->paths[1], &future), ERR_KAFKA_STORAGE_ERROR);
    plog_unref(log);
}

static void names_too_long_cannot_be_moved(void **state UNUSED)
{
    char topic[250];
    memset(topic, 't', sizeof(topic));
    topic[213] = '\0'; /* with "-0.", 32 digits and "-future" 255 */
    assert_true(log_manager_can_move(topic, 0));
    assert_false(log_manager_can_move(topic, 10));
}

static void one_log_in_two_directories_is_refused(void **state)
{
    struct fixture *f = *state;
    struct fail fail = {.text = ""};
    char path[160];
    open_all(f);
    struct plog *log = make_log(f, "t");
    plog_unref(log);
    close_all(f, true);
    snprintf(path, sizeof(path), "%s/t-0", f->paths[1]);
    mkdir(path, 0755);
    assert_false(try_open(f, &fail));
    assert_non_null(strstr(fail.text, "in two directories"));
}

/* ---- Moving a partition's log ---- */

static bool alive(void *ctx UNUSED, int32_t broker UNUSED)
{
    return true;
}

static bool unthrottled(void *ctx UNUSED, const char *topic UNUSED, int32_t partition UNUSED, bool as_leader UNUSED)
{
    return false;
}

static void ignore(void *ctx UNUSED, struct partition *p UNUSED)
{
}

static void open_replicas(struct fixture *f)
{
    open_all(f);
    f->replicas = replica_manager_new(&(struct replica_options){.config = &f->config,
                                                                .logs = f->logs,
                                                                .broker_id = BROKER,
                                                                .topic_config = topic_overrides,
                                                                .role_changed = ignore,
                                                                .may_join_isr = alive,
                                                                .throttled = unthrottled,
                                                                .isr_wanted = ignore,
                                                                .move_wanted = ignore,
                                                                .ctx = f});
    replica_set_throttles(f->replicas, INT64_MAX, INT64_MAX, INT64_MAX);
}

static enum kafka_error order_with_id(struct fixture *f, int32_t leader, int32_t epoch, struct uuid id)
{
    static int32_t both[] = {BROKER, OTHER};
    struct leader_order o = {.topic = STR_LIT("t"),
                             .topic_id = id,
                             .leader = leader,
                             .leader_epoch = epoch,
                             .isr = {both, 2},
                             .replicas = {both, 2},
                             .is_new = epoch == 0};
    return replica_apply_leader(f->replicas, &o);
}

static enum kafka_error order(struct fixture *f, int32_t leader, int32_t epoch)
{
    return order_with_id(f, leader, epoch, UUID_ZERO);
}

static struct partition *the_partition(struct fixture *f)
{
    struct partition *p = replica_partition(f->replicas, STR_LIT("t"), 0);
    assert_non_null(p);
    return p;
}

/* Batches from a leader of that epoch, from the partition's end on. */
static void follow(struct partition *p, int batches, int count, int32_t epoch)
{
    struct append_result r;
    for (int i = 0; i < batches; i++) {
        struct strbuf batch = make_batch(count, 100, 1000, -1, -1);
        batch_set_offset((uint8_t *)batch.p, plog_end_offset(partition_log(p)));
        batch_set_leader_epoch((uint8_t *)batch.p, epoch);
        struct bytes bytes = {(uint8_t *)batch.p, (int32_t)batch.len};
        assert_int_equal(partition_append_follower(p, epoch, bytes, &r), ERR_NONE);
        strbuf_deinit(&batch);
    }
}

static struct strbuf contents(struct plog *log)
{
    struct strbuf all = {0};
    int64_t next = plog_start_offset(log);
    while (next < plog_end_offset(log)) {
        size_t before = all.len;
        struct batch b = {0};
        assert_int_equal(plog_read_bytes(log, next, 1 << 20, INT64_MAX, &all), ERR_NONE);
        struct bytes rest = {(const uint8_t *)all.p + before, (int32_t)(all.len - before)};
        while (batch_next(&rest, &b) == BATCH_OK)
            next = b.last_offset + 1;
        all.len -= (size_t)rest.len;
    }
    return all;
}

static void finish_move(struct fixture *f, struct partition *p, int place)
{
    enum move_result result;
    struct strbuf before = contents(partition_log(p));
    while ((result = partition_move_some(p)) == MOVE_GOES_ON)
        ;
    assert_int_equal(result, MOVE_OVER);
    assert_int_equal(place_of(f, partition_log(p)), place);
    assert_same(before, contents(partition_log(p)));
}

static void a_move_follows_what_is_appended(void **state)
{
    struct fixture *f = *state;
    struct append_result r;
    open_replicas(f);
    assert_int_equal(order(f, BROKER, 0), ERR_NONE);
    struct partition *p = the_partition(f);
    struct strbuf batch = make_batch(10, 100000, 1000, -1, -1);
    struct prepared records = {.bytes = {(uint8_t *)batch.p, (int32_t)batch.len}, .offsets = 10};
    for (int i = 0; i < 5; i++)
        assert_int_equal(partition_append_in(p, partition_leader_epoch(p), &records, 1, &r), ERR_NONE);
    struct plog *old = partition_log(p);
    assert_int_equal(replica_alter_dir(f->replicas, STR_LIT("t"), 0, true, f->paths[1]), ERR_NONE);
    assert_int_equal(partition_move_some(p), MOVE_GOES_ON);
    assert_int_equal(partition_append_in(p, partition_leader_epoch(p), &records, 1, &r), ERR_NONE);
    finish_move(f, p, 1);
    assert_int_equal(partition_append_in(p, partition_leader_epoch(p), &records, 1, &r), ERR_NONE);
    assert_int_equal(plog_end_offset(partition_log(p)), 70);
    assert_int_equal(plog_end_offset(old), 60); /* who has it in hand can still read it */
    struct strbuf left = contents(old);
    assert_int_equal(plog_size(old), left.len);
    strbuf_deinit(&left);
    strbuf_deinit(&batch);
    partition_unref(p);
}

static void a_move_follows_what_is_cut(void **state)
{
    struct fixture *f = *state;
    open_replicas(f);
    assert_int_equal(order(f, OTHER, 0), ERR_NONE);
    struct partition *p = the_partition(f);
    follow(p, 30, 1000, 0); /* more than a chunk */
    assert_int_equal(replica_alter_dir(f->replicas, STR_LIT("t"), 0, true, f->paths[2]), ERR_NONE);
    assert_int_equal(partition_move_some(p), MOVE_GOES_ON);
    assert_int_equal(order(f, OTHER, 1), ERR_NONE);
    assert_int_equal(partition_truncate(p, 1, 2000), ERR_NONE);
    follow(p, 30, 500, 1);
    assert_int_equal(partition_move_some(p), MOVE_GOES_ON);
    assert_int_equal(partition_restart_log(p, 1, 5000), ERR_NONE);
    follow(p, 30, 300, 1);
    finish_move(f, p, 2);
    assert_int_equal(plog_start_offset(partition_log(p)), 5000);
    partition_unref(p);
}

static void a_move_follows_a_topics_id_that_comes_meanwhile(void **state)
{
    struct fixture *f = *state;
    const struct uuid id = {{1, 2, 3}};
    open_replicas(f);
    assert_int_equal(order(f, OTHER, 0), ERR_NONE);
    struct partition *p = the_partition(f);
    follow(p, 30, 1000, 0); /* more than a chunk */
    assert_int_equal(replica_alter_dir(f->replicas, STR_LIT("t"), 0, true, f->paths[2]), ERR_NONE);
    assert_int_equal(partition_move_some(p), MOVE_GOES_ON);
    assert_int_equal(order_with_id(f, OTHER, 0, id), ERR_NONE);
    finish_move(f, p, 2);
    assert_true(uuid_eq(partition_topic_id(p), id));
    partition_unref(p);
}

/* The future log has what the current one was cut back from while nobody looked. */
static void after_a_restart_a_move_goes_by_epochs(void **state)
{
    struct fixture *f = *state;
    open_replicas(f);
    assert_int_equal(order(f, OTHER, 0), ERR_NONE);
    struct partition *p = the_partition(f);
    follow(p, 30, 1000, 0);
    assert_int_equal(replica_alter_dir(f->replicas, STR_LIT("t"), 0, true, f->paths[2]), ERR_NONE);
    assert_int_equal(partition_move_some(p), MOVE_GOES_ON);
    assert_int_equal(order(f, OTHER, 3), ERR_NONE);
    assert_int_equal(partition_truncate(p, 3, 1000), ERR_NONE);
    follow(p, 30, 500, 3);
    partition_unref(p);
    replica_manager_free(f->replicas);
    f->replicas = NULL;
    close_all(f, true);
    open_replicas(f);
    assert_int_equal(order(f, OTHER, 4), ERR_NONE);
    p = the_partition(f);
    finish_move(f, p, 2);
    assert_int_equal(plog_latest_epoch(partition_log(p)), 3);
    partition_unref(p);
}

/* Since then the current one may have been compacted: what was copied before is looked at again. */
static void only_a_move_without_a_break_is_as_clean(void **state)
{
    struct fixture *f = *state;
    open_replicas(f);
    assert_int_equal(order(f, OTHER, 0), ERR_NONE);
    struct partition *p = the_partition(f);
    follow(p, 30, 1000, 0);
    partition_log(p)->clean_end = 500;
    int home = place_of(f, partition_log(p));
    assert_int_equal(replica_alter_dir(f->replicas, STR_LIT("t"), 0, true, f->paths[(home + 1) % DIRS]), ERR_NONE);
    finish_move(f, p, (home + 1) % DIRS);
    assert_int_equal(partition_log(p)->clean_end, 500);
    assert_int_equal(replica_alter_dir(f->replicas, STR_LIT("t"), 0, true, f->paths[(home + 2) % DIRS]), ERR_NONE);
    assert_int_equal(partition_move_some(p), MOVE_GOES_ON);
    partition_unref(p);
    replica_manager_free(f->replicas);
    f->replicas = NULL;
    close_all(f, true);
    open_replicas(f);
    assert_int_equal(order(f, OTHER, 1), ERR_NONE);
    p = the_partition(f);
    assert_int_equal(partition_log(p)->clean_end, 500);
    finish_move(f, p, (home + 2) % DIRS);
    assert_int_equal(partition_log(p)->clean_end, -1);
    partition_unref(p);
}

static void a_move_is_called_off(void **state)
{
    struct fixture *f = *state;
    open_replicas(f);
    assert_int_equal(order(f, OTHER, 0), ERR_NONE);
    struct partition *p = the_partition(f);
    follow(p, 30, 1000, 0);
    int home = place_of(f, partition_log(p));
    assert_int_equal(replica_alter_dir(f->replicas, STR_LIT("t"), 0, true, f->paths[(home + 1) % DIRS]), ERR_NONE);
    assert_int_equal(partition_move_some(p), MOVE_GOES_ON);
    assert_int_equal(replica_alter_dir(f->replicas, STR_LIT("t"), 0, true, f->paths[home]), ERR_NONE);
    assert_int_equal(partition_move_some(p), MOVE_OVER);
    assert_int_equal(place_of(f, partition_log(p)), home);
    assert_null(log_manager_get_future(f->logs, "t", 0));
    partition_unref(p);
}

/* The length of the first batch, and back again. */
static void toggle_damage(struct plog *log)
{
    char path[160], byte;
    snprintf(path, sizeof(path), "%s/00000000000000000000.log", log->path);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(pread(fd, &byte, 1, 8), 1);
    byte ^= 0x7f;
    assert_int_equal(pwrite(fd, &byte, 1, 8), 1);
    close(fd);
}

/* One that is ordered once: nobody orders it again because a descriptor was missing for a moment. */
static void a_move_with_something_in_its_way_rests(void **state)
{
    struct fixture *f = *state;
    open_replicas(f);
    assert_int_equal(order(f, OTHER, 0), ERR_NONE);
    struct partition *p = the_partition(f);
    follow(p, 30, 1000, 0); /* more than a chunk */
    struct plog *current = partition_log(p);
    assert_int_equal(replica_alter_dir(f->replicas, STR_LIT("t"), 0, true, f->paths[1]), ERR_NONE);
    toggle_damage(current);
    assert_int_equal(partition_move_some(p), MOVE_RESTS);
    toggle_damage(current);
    assert_int_equal(partition_move_some(p), MOVE_GOES_ON);
    assert_true(current->uncompacted);
    struct plog *future = log_manager_get_future(f->logs, "t", 0);
    assert_int_equal(partition_truncate(p, 0, 2000), ERR_NONE);
    follow(p, 30, 500, 0);
    assert_int_equal(plog_flush(future), ERR_NONE);
    for (int i = 0; i < 2; i++)
        plog_close_unused_files(future);
    use_up_descriptors(0);
    assert_int_equal(partition_move_some(p), MOVE_RESTS); /* it was cut, and the other is to be cut as well */
    give_descriptors_back();
    finish_move(f, p, 1);
    assert_int_equal(f->failures, 0);
    plog_unref(future);
    partition_unref(p);
}

struct repair {
    struct message message;
    struct job job;
    struct timer timer;
    struct fixture *fixture;
    struct partition *partition;
    struct plog *log;
};

static void repair_submit(struct message *m)
{
    struct repair *r = CONTAINER_OF(m, struct repair, message);
    workers_submit(r->fixture->workers, &r->job);
}

static void repair_run(struct job *job)
{
    toggle_damage(CONTAINER_OF(job, struct repair, job)->log);
}

static void stop_when_moved(struct timer *t)
{
    struct repair *r = CONTAINER_OF(t, struct repair, timer);
    if (place_of(r->fixture, partition_log(r->partition)) == 1)
        loop_stop(t->loop);
    else
        timer_start(t, 1);
}

static void the_mover_comes_back_to_what_rests(void **state)
{
    struct fixture *f = *state;
    struct loop *loop = loop_new("control");
    f->workers = workers_new("worker", 1); /* one after the other */
    open_replicas(f);
    assert_int_equal(order(f, OTHER, 0), ERR_NONE);
    struct partition *p = the_partition(f);
    follow(p, 3, 10, 0);
    assert_int_equal(replica_alter_dir(f->replicas, STR_LIT("t"), 0, true, f->paths[1]), ERR_NONE);
    struct mover *mover = mover_new(loop, f->workers, 1);
    struct repair repair = {.message = {.deliver = repair_submit},
                            .job = {.run = repair_run},
                            .fixture = f,
                            .partition = p,
                            .log = partition_log(p)};
    toggle_damage(repair.log);
    mover_add(mover, p);
    loop_post(loop, &repair.message); /* after the first step has failed */
    timer_init(&repair.timer, loop, stop_when_moved);
    timer_start(&repair.timer, 1);
    loop_run(loop);
    mover_close(mover);
    partition_unref(p);
    workers_stop(f->workers);
    loop_drain(loop);
    mover_free(mover);
    replica_manager_free(f->replicas);
    f->replicas = NULL;
    close_all(f, true);
    loop_free(loop);
}

/* Data of old formats has no epochs, by which a leader could say how much of it is its own. */
static void without_epochs_a_follower_begins_with_what_is_committed(void **state)
{
    struct fixture *f = *state;
    struct append_result r;
    int64_t offset;
    open_replicas(f);
    assert_int_equal(order(f, OTHER, 0), ERR_NONE);
    struct partition *p = the_partition(f);
    struct strbuf batch = make_batch(100, 10, 1000, -1, -1);
    struct bytes bytes = {(uint8_t *)batch.p, (int32_t)batch.len};
    for (int i = 0; i < 5; i++) {
        batch_set_offset((uint8_t *)batch.p, i * 100);
        assert_int_equal(partition_append_follower(p, 0, bytes, &r), ERR_NONE);
    }
    partition_follow_marks(p, 0, 250, 0);
    assert_int_equal(order(f, OTHER, 1), ERR_NONE);
    assert_int_equal(partition_begin_following(p, 0, &offset), ERR_FENCED_LEADER_EPOCH);
    assert_int_equal(partition_begin_following(p, 1, &offset), ERR_NONE);
    assert_int_equal(offset, 200); /* the batch that holds the watermark goes whole, and comes again whole */
    assert_int_equal(plog_end_offset(partition_log(p)), 200);
    batch_set_offset((uint8_t *)batch.p, 200);
    batch_set_leader_epoch((uint8_t *)batch.p, 1);
    assert_int_equal(partition_append_follower(p, 1, bytes, &r), ERR_NONE);
    assert_int_equal(plog_end_offset(partition_log(p)), 300);
    assert_int_equal(partition_begin_following(p, 1, &offset), ERR_NONE);
    assert_int_equal(offset, 300); /* the epoch tells */
    strbuf_deinit(&batch);
    partition_unref(p);
}

struct starving {
    struct message message;
    struct timer timer;
    struct plog *log;
};

static void end_starving(struct message *m UNUSED)
{
    give_descriptors_back();
}

/* All is one batch, which goes whole. */
static void stop_when_cut(struct timer *t)
{
    if (plog_end_offset(CONTAINER_OF(t, struct starving, timer)->log) == 0)
        loop_stop(t->loop);
    else
        timer_start(t, 1);
}

/* Its leader could not tell that it has what it should not: without an epoch, it takes whatever offset it is asked for.
 */
static void without_descriptors_a_follower_without_epochs_begins_later(void **state)
{
    struct fixture *f = *state;
    struct append_result r;
    struct loop *loop = loop_new("replication");
    struct view_board *board = view_board_new(&loop, 1);
    f->config.replica_fetch_backoff_ms = 1;
    open_replicas(f);
    assert_int_equal(order(f, OTHER, 0), ERR_NONE);
    struct partition *p = the_partition(f);
    struct plog *log = partition_log(p);
    struct strbuf batch = make_batch(500, 10, 1000, -1, -1);
    assert_int_equal(partition_append_follower(p, 0, (struct bytes){(uint8_t *)batch.p, (int32_t)batch.len}, &r),
                     ERR_NONE);
    partition_follow_marks(p, 0, 250, 0);
    assert_int_equal(plog_flush(log), ERR_NONE);
    for (int i = 0; i < 2; i++)
        assert_true(plog_close_unused_files(log));
    struct fetchers *all =
        fetchers_new(&(struct fetchers_options){.loop = loop, .config = &f->config, .broker_id = BROKER});
    struct starving starving = {.message = {.deliver = end_starving}, .log = log};
    fetchers_look(all, p);
    loop_post(loop, &starving.message);
    timer_init(&starving.timer, loop, stop_when_cut);
    timer_start(&starving.timer, 1);
    use_up_descriptors(0);
    loop_run(loop);
    assert_int_equal(plog_end_offset(log), 0);
    assert_int_equal(f->failures, 0);
    fetchers_close(all);
    strbuf_deinit(&batch);
    partition_unref(p);
    loop_free(loop);
    fetchers_free(all);
    view_board_free(board);
}

static void a_partition_is_offline_with_its_directory(void **state)
{
    struct fixture *f = *state;
    struct append_result r;
    open_replicas(f);
    assert_int_equal(order(f, BROKER, 0), ERR_NONE);
    struct partition *p = the_partition(f);
    const char *dir = plog_dir(partition_log(p));
    struct strbuf batch = make_batch(10, 100, 1000, -1, -1);
    struct prepared records = {.bytes = {(uint8_t *)batch.p, (int32_t)batch.len}, .offsets = 10};
    assert_int_equal(partition_append_in(p, partition_leader_epoch(p), &records, -1, &r), ERR_NONE);
    manager_dir_failed(f->logs, dir, "a test");
    assert_int_equal(order(f, BROKER, 1), ERR_KAFKA_STORAGE_ERROR); /* noticed before anybody was told */
    replica_dir_failed(f->replicas, dir);
    log_manager_abandon_dir(f->logs, dir);
    assert_null(replica_partition(f->replicas, STR_LIT("t"), 0));
    assert_true(replica_is_offline(f->replicas, STR_LIT("t"), 0));
    assert_int_equal(partition_append_in(p, partition_leader_epoch(p), &records, 1, &r), ERR_KAFKA_STORAGE_ERROR);
    assert_int_equal(partition_check_committed(p, 0, 9), ERR_KAFKA_STORAGE_ERROR);
    assert_int_equal(partition_check_leader(p, -1), ERR_KAFKA_STORAGE_ERROR);
    assert_int_equal(order(f, OTHER, 2), ERR_KAFKA_STORAGE_ERROR);
    assert_int_equal(replica_stop(f->replicas, STR_LIT("t"), 0, -2, true), ERR_KAFKA_STORAGE_ERROR);
    strbuf_deinit(&batch);
    partition_unref(p);
}

static void a_start_tells_how_far_it_is(void **state)
{
    struct fixture *f = *state;
    struct load_progress at;
    open_all(f);
    for (int i = 0; i < 3; i++) {
        struct plog *log = make_log(f, (const char *const[]){"one", "two", "three"}[i]);
        assert_int_equal(append(log, 10, 0), ERR_NONE);
        plog_unref(log);
    }
    close_all(f, false); /* a crash */
    open_all(f);
    log_manager_progress(f->logs, &at);
    assert_int_equal(at.logs, 3);
    assert_int_equal(at.loaded, 3);
    assert_true(at.recovered_bytes > 3000);
    close_all(f, true);
    open_all(f);
    log_manager_progress(f->logs, &at);
    assert_int_equal(at.loaded, 3);
    assert_int_equal(at.recovered_bytes, 0);
}

static int to_recover[64], recovered;

static void note_to_recover(void *ctx, int64_t bytes)
{
    struct log_manager *m = ctx;
    assert_true(recovered < (int)ARRAY_LEN(to_recover) && m->dirs[0].lane_count == 1);
    to_recover[recovered++] = atomic_load(&m->dirs[0].lanes[0].segments);
    manager_count_recovered(ctx, bytes);
}

/* Also of one log alone, of which there may be much. */
static void a_start_tells_how_many_segments_are_left(void **state)
{
    struct fixture *f = *state;
    struct fail fail;
    f->config.log_dirs.count = 1;
    open_all(f);
    struct plog *log = make_log(f, "t");
    log->config.segment_bytes = 2000;
    for (int i = 0; i < 30; i++)
        assert_int_equal(append(log, 10, 0), ERR_NONE);
    int segments = (int)log->segment_count;
    plog_unref(log);
    close_all(f, false);
    struct log_manager_options options = {.config = &f->config,
                                          .workers = f->workers,
                                          .topic_overrides = topic_overrides,
                                          .dir_failed = dir_failed,
                                          .ctx = f};
    f->logs = log_manager_new(&options, &fail);
    assert_non_null(f->logs);
    f->logs->host.recovered = note_to_recover;
    recovered = 0;
    assert_true(log_manager_load(f->logs, &fail));
    assert_true(segments > 5);
    assert_int_equal(recovered, segments);
    for (int i = 0; i < segments; i++)
        assert_int_equal(to_recover[i], segments - i);
    assert_int_equal(atomic_load(&f->logs->dirs[0].lanes[0].segments), 0);
}

/* ---- Who stops a start ---- */

static char *text_of(const char *dir, const char *name)
{
    char path[160];
    struct strbuf text = {0};
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    assert_int_equal(file_load(path, &text), FILE_FOUND);
    strbuf_add(&text, "", 1);
    return text.p;
}

/* Three logs in one directory, with lines in its checkpoints; closed cleanly, or left by a crash. */
static void leave_three(struct fixture *f, bool cleanly)
{
    f->config.log_dirs.count = 1;
    open_all(f);
    for (int i = 0; i < 3; i++) {
        struct plog *log = make_log(f, (const char *const[]){"one", "two", "three"}[i]);
        assert_int_equal(append(log, 10, 0), ERR_NONE);
        plog_set_high_watermark(log, 10);
        assert_int_equal(plog_advance_start(log, 5), ERR_NONE);
        plog_unref(log);
    }
    log_manager_write_checkpoints(f->logs);
    close_all(f, cleanly);
}

static void halt_now(void *ctx, int64_t bytes)
{
    manager_count_recovered(ctx, bytes);
    log_manager_halt_load(ctx);
}

/* Stopped when something was recovered, or (`at_once`) before it begins. */
static void halt_a_start(struct fixture *f, bool at_once)
{
    struct log_manager_options options = {.config = &f->config,
                                          .workers = f->workers,
                                          .topic_overrides = topic_overrides,
                                          .dir_failed = dir_failed,
                                          .ctx = f};
    struct fail fail;
    f->logs = log_manager_new(&options, &fail);
    assert_non_null(f->logs);
    f->logs->host.recovered = halt_now;
    if (at_once)
        log_manager_halt_load(f->logs);
    assert_false(log_manager_load(f->logs, &fail));
}

static void a_start_that_is_stopped_forgets_nothing(void **state)
{
    static const char *const files[] = {CHECKPOINT_RECOVERY, CHECKPOINT_START, CHECKPOINT_HW};
    struct fixture *f = *state;
    char *before[ARRAY_LEN(files)];
    leave_three(f, false);
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        before[i] = text_of(f->dirs[0], files[i]);
    halt_a_start(f, false);
    assert_int_equal(HASH_COUNT(f->logs->logs), 0); /* what it had just read is not whole either */
    log_manager_settle(f->logs, &f->config);
    manager_settle_cuts(f->logs, &f->logs->dirs[0].home);
    close_all(f, false);
    assert_int_equal(f->failures, 0);
    assert_false(exists(f->dirs[0], ".kafka_cleanshutdown"));
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        char *after = text_of(f->dirs[0], files[i]);
        assert_string_equal(before[i], after);
        free(before[i]);
        free(after);
    }
    open_all(f);
    struct plog *log = log_manager_get(f->logs, "three", 0);
    assert_int_equal(plog_start_offset(log), 5);
    assert_int_equal(plog_end_offset(log), 10);
    plog_unref(log);
}

static void a_start_that_is_stopped_at_once_leaves_the_mark(void **state)
{
    struct fixture *f = *state;
    leave_three(f, true);
    halt_a_start(f, true);
    close_all(f, false);
    assert_true(exists(f->dirs[0], ".kafka_cleanshutdown"));
    open_all(f);
    assert_int_equal(HASH_COUNT(f->logs->logs), 3);
}

static void a_start_is_stopped_between_segments(void **state)
{
    struct fixture *f = *state;
    struct load_progress at;
    f->config.log_dirs.count = 1;
    open_all(f);
    struct plog *log = make_log(f, "t");
    log->config.segment_bytes = 2000;
    for (int i = 0; i < 30; i++)
        assert_int_equal(append(log, 10, 0), ERR_NONE);
    int64_t bytes = plog_size(log);
    plog_unref(log);
    close_all(f, false);
    halt_a_start(f, false);
    log_manager_progress(f->logs, &at);
    assert_in_range(at.recovered_bytes, 1, 2500);
    assert_true(bytes > 20000);
    close_all(f, false);
    open_all(f);
    log = log_manager_get(f->logs, "t", 0);
    assert_int_equal(plog_end_offset(log), 300);
    plog_unref(log);
}

/* ---- Settings that change ---- */

enum { SMALL = 12345, SMALLER = 1234 };

static atomic_int set_now; /* segment.bytes of all topics */

static void changing_overrides(void *ctx UNUSED, const char *topic UNUSED, struct topic_config *config)
{
    set_up_config(config);
    config->segment_bytes = atomic_load(&set_now);
}

struct awaited {
    struct timer timer;
    struct plog *log;
};

static void stop_when_set(struct timer *t)
{
    struct awaited *a = CONTAINER_OF(t, struct awaited, timer);
    if (plog_config(a->log).segment_bytes == SMALLER)
        loop_stop(t->loop);
    else
        timer_start(t, 1);
}

struct hanging {
    struct job job;
    struct plog *log;
    sem_t hangs, ends;
};

static void hang(struct job *job)
{
    struct hanging *h = CONTAINER_OF(job, struct hanging, job);
    lock_take(&h->log->lock);
    sem_post(&h->hangs);
    sem_wait(&h->ends);
    lock_release(&h->log->lock);
}

/* Whoever appends has the log's lock for as long as the disk hangs. */
static void settings_do_not_wait_for_a_disk(void **state)
{
    struct fixture *f = *state;
    struct fail fail;
    struct loop *loop = loop_new("control");
    f->workers = workers_new("worker", 2);
    atomic_store(&set_now, 1 << 20);
    struct log_manager_options options = {
        .config = &f->config, .workers = f->workers, .loop = loop, .topic_overrides = changing_overrides, .ctx = f};
    f->logs = log_manager_new(&options, &fail);
    assert_true(f->logs != NULL && log_manager_load(f->logs, &fail));
    struct plog *log = make_log(f, "t"), *other = make_log(f, "other");
    struct hanging append = {.job = {.run = hang}, .log = log};
    sem_init(&append.hangs, 0, 0);
    sem_init(&append.ends, 0, 0);
    workers_submit(f->workers, &append.job);
    sem_wait(&append.hangs);
    atomic_store(&set_now, SMALL);
    log_manager_configure(f->logs, "t");
    log_manager_configure_all(f->logs);
    plog_unref(log_manager_get(f->logs, "t", 0)); /* the table is free */
    atomic_store(&set_now, SMALLER);
    log_manager_configure(f->logs, "t");
    log_manager_configure(f->logs, "t");
    sem_post(&append.ends);
    struct awaited awaited = {.log = log};
    timer_init(&awaited.timer, loop, stop_when_set);
    timer_start(&awaited.timer, 0);
    loop_run(loop);
    while (f->logs->settings.busy)
        loop_drain(loop);
    assert_int_equal(plog_config(other).segment_bytes, SMALLER);
    plog_unref(log);
    plog_unref(other);
    close_all(f, true);
    loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        CASE(a_log_goes_where_there_are_fewest),
        CASE(many_are_made_at_once),
        CASE(a_log_goes_where_it_is_wanted),
        CASE(one_that_cannot_be_used_at_start_is_offline),
        CASE(without_any_that_can_be_used_there_is_no_start),
        CASE(a_directory_is_listed_once),
        CASE(a_directory_is_listed_once_by_whatever_path),
        CASE(one_that_is_full_goes_offline_alone),
        CASE(after_it_was_full_the_log_is_whole),
        CASE(a_damaged_batch_is_no_failure_of_the_disk),
        CASE(an_index_that_fails_ends_nobody),
        CASE(a_crash_after_a_cut_below_the_start_loses_nothing),
        CASE(after_a_crash_a_log_has_nothing_of_its_namesake),
        CASE(what_is_appended_is_given_to_the_disk_piece_by_piece),
        CASE(what_cannot_be_written_back_is_left_to_who_syncs),
        CASE(cuts_reach_the_checkpoint_together_before_the_first_append),
        CASE(the_log_of_a_kraft_quorum_is_no_topics),
        CASE(what_is_not_ours_is_left_alone),
        CASE(what_is_not_ours_in_a_log_is_left_alone),
        CASE(a_log_is_removed_whatever_is_in_it),
        CASE(a_disk_that_fails_while_removing_has_failed),
        CASE(a_file_in_the_place_of_a_log_is_in_its_way_only),
        CASE(a_folder_is_no_mark_of_a_clean_shutdown),
        CASE(the_recovery_point_goes_on_after_any_number_of_segments),
        CASE(without_descriptors_a_closed_log_waits_and_no_disk_has_failed),
        CASE(without_descriptors_a_log_does_not_grow_and_no_disk_has_failed),
        CASE(a_start_takes_no_descriptor_for_each_log),
        CASE(a_start_without_enough_descriptors_says_so),
        CASE(indexes_that_are_gone_are_made_again),
        CASE(without_maps_indexes_are_read),
        CASE(indexes_that_nobody_asks_are_let_go_of),
        CASE(identity_is_written_where_it_is_missing),
        CASE(an_identity_that_is_not_understood_takes_its_directory_offline),
        CASE(files_that_cannot_be_read_take_their_directory_offline),
        CASE(directories_of_others_are_refused),
        CASE(a_future_log_takes_the_place_of_the_current_one),
        CASE(a_future_log_is_found_again),
        CASE(none_is_made_while_a_directory_is_offline),
        CASE(names_too_long_cannot_be_moved),
        CASE(one_log_in_two_directories_is_refused),
        CASE(a_move_follows_what_is_appended),
        CASE(a_move_follows_what_is_cut),
        CASE(a_move_follows_a_topics_id_that_comes_meanwhile),
        CASE(after_a_restart_a_move_goes_by_epochs),
        CASE(only_a_move_without_a_break_is_as_clean),
        CASE(a_move_is_called_off),
        CASE(a_move_with_something_in_its_way_rests),
        CASE(the_mover_comes_back_to_what_rests),
        CASE(without_epochs_a_follower_begins_with_what_is_committed),
        CASE(without_descriptors_a_follower_without_epochs_begins_later),
        CASE(a_partition_is_offline_with_its_directory),
        CASE(a_start_tells_how_far_it_is),
        CASE(a_start_tells_how_many_segments_are_left),
        CASE(a_start_that_is_stopped_forgets_nothing),
        CASE(a_start_that_is_stopped_at_once_leaves_the_mark),
        CASE(a_start_is_stopped_between_segments),
        CASE(settings_do_not_wait_for_a_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
