/*
 * The log directories, and all logs of this broker in them, in Kafka 3.9's files: checkpoints, meta.properties, marks.
 * What runs beside the logs is here, too: recovery at the start, retention, flushes, compaction, deletion, moves.
 *
 * Errors of the disk are logged where they happen, with path and cause, and come back as ERR_KAFKA_STORAGE_ERROR; the
 * log directory is then offline, and reported to its owner as failed.
 */
#ifndef BARNABAS_STORAGE_H
#define BARNABAS_STORAGE_H

#include "base/fail.h"
#include "base/uuid.h"
#include "base/workers.h"
#include "config/config.h"
#include "log/plog.h"
#include "metrics/bean.h"

struct log_manager;

/* ---- The manager: all logs of this broker ---- */

/* Whose data it is, as each log directory has it in its meta.properties. */
struct meta_properties {
    int32_t broker_id; /* -1: not known */
    char cluster_id[64];
};

struct log_manager_options {
    const struct broker_config *config;
    struct metrics *metrics; /* NULL: nobody counts */
    struct workers *workers; /* for recovery at start, deletions, flushes */
    struct loop *loop;       /* of the timers for retention and checkpoints; NULL: none (tools, tests) */
    /* Overrides of a topic, for logs that are found at start. Adds to `config`. */
    void (*topic_overrides)(void *ctx, const char *topic, struct topic_config *config);
    /*
     * A directory is offline from now on, and what is in it answers ERR_KAFKA_STORAGE_ERROR. Told once, on any thread,
     * with locks of logs and partitions held. NULL: ignored.
     */
    void (*dir_failed)(void *ctx, const char *dir, const char *why);
    void *ctx;
};

/*
 * Locks the directories, makes missing ones. Those that cannot be used are offline. Errors: none is left, or one is
 * locked by another process.
 */
struct log_manager *log_manager_new(const struct log_manager_options *options, struct fail *fail);
/*
 * Whose the directories are. Errors: not those of the cluster and broker `expected`, not all of the same, or of a
 * broker of KRaft. A file that cannot be read takes its directory offline.
 */
bool log_manager_identity(struct log_manager *m, const struct meta_properties *expected, struct meta_properties *out,
                          struct fail *fail) NODISCARD;
/* Writes it where it is not said yet. */
bool log_manager_identify(struct log_manager *m, const struct meta_properties *meta, struct fail *fail) NODISCARD;
/*
 * Loads every log, recovering those that a crash left behind. Blocks; logs its progress. Where the disk fails, the
 * directory is offline. Errors: none is left, or one log is in two directories.
 */
bool log_manager_load(struct log_manager *m, struct fail *fail) NODISCARD;
/*
 * Any thread: the broker ends, and log_manager_load() is to fail soon. What is not loaded yet is left for the next
 * start, and the files of the directories stay as they tell of it: nobody writes checkpoints or marks after that.
 */
void log_manager_halt_load(struct log_manager *m);
/* How far that is: of how many logs it knows, how many it has, and what was read of them after a crash. Any thread. */
struct load_progress {
    int logs, loaded;
    int64_t recovered_bytes;
};
void log_manager_progress(const struct log_manager *m, struct load_progress *out);
/* Settings that were read meanwhile, before loading; kept until the end. */
void log_manager_settle(struct log_manager *m, const struct broker_config *config);
/* Starts the timers of retention and checkpoints, and the cleaner. On the loop's thread, or before it runs. */
void log_manager_start(struct log_manager *m);
void log_manager_stop(struct log_manager *m); /* the timers and the cleaner, on the loop's thread */
/*
 * Threads of the log's directory for appends that are going to wait for the disk, so that none waits for another disk.
 * Between log_manager_start() and log_manager_end_appends(), which waits for them.
 */
struct workers *log_manager_appenders(struct log_manager *m, const struct plog *log);
void log_manager_end_appends(struct log_manager *m);
/* Settings that have changed: of the cleaner, and when producers expire. On the loop's thread. */
void log_manager_take_settings(struct log_manager *m, const struct broker_config *now);
/* How many logs are closed, on the thread that has closed one; several may tell at once. NULL tells nobody. */
typedef void (*logs_closed_fn)(void *ctx, int closed, int logs);
/* Flushes all logs, writes checkpoints, snapshots and the clean-shutdown mark, gives back the locks. */
void log_manager_close(struct log_manager *m, logs_closed_fn tell, void *ctx);
void log_manager_free(struct log_manager *m);

const char *log_manager_dir(const struct log_manager *m, int i); /* NULL past the last */
/* False, with the message, when none is left. */
bool log_manager_need_live_dir(const struct log_manager *m, struct fail *fail) NODISCARD;
/* The file system's bytes. ERR_KAFKA_STORAGE_ERROR: it is offline; ERR_UNKNOWN_SERVER_ERROR: they cannot be found out.
 */
enum kafka_error log_manager_space(struct log_manager *m, const char *dir, int64_t *total, int64_t *usable);
/* Lets go of all files in a directory that is offline, so that its disk can be unmounted. Waits for who uses them. */
void log_manager_abandon_dir(struct log_manager *m, const char *dir);

/* NULL when there is none. The log lives until log_manager_delete() and the last plog_unref(). */
struct plog *log_manager_get(struct log_manager *m, const char *topic, int32_t partition) NODISCARD;
/*
 * Opens or creates, in the directory with the fewest logs. `topic_id` is written to partition.metadata when the log has
 * none yet; a log that carries another id gives ERR_INCONSISTENT_TOPIC_ID. One that is not new is not created while a
 * directory is offline, as it may be there: ERR_KAFKA_STORAGE_ERROR. Blocks (a worker's work when it creates). Nobody
 * else opens the same log meanwhile.
 */
enum kafka_error log_manager_open(struct log_manager *m, const char *topic, int32_t partition, struct uuid topic_id,
                                  bool is_new, const struct topic_config *config, struct plog **out) NODISCARD;
/* The same of the id alone, for a log that is open. Blocks. Zeros: nothing is done. */
enum kafka_error log_manager_give_id(struct plog *log, struct uuid topic_id) NODISCARD;
/* One that log_manager_open() will be asked for, or log_manager_give_id(). */
struct log_wish {
    const char *topic;
    int32_t partition;
    struct uuid topic_id;
    bool is_new;
    const struct topic_config *config;
    bool is_there; /* then only its id may be missing */
};
/*
 * Does that already, with many at a time, so that it is not one disk's latency after the other. Blocks. What goes wrong
 * with one, who asks will find, too.
 */
void log_manager_open_ahead(struct log_manager *m, const struct log_wish *wishes, size_t n);
bool log_manager_has_offline_dir(const struct log_manager *m); /* so that a log may be there that cannot be seen */
/* Renames the directory at once; the files go after file.delete.delay.ms, and are let go of then. The caller's
 * reference stays. */
enum kafka_error log_manager_delete(struct log_manager *m, struct plog *log);
/* What was deleted until now does not come back with a power failure. Blocks. */
void log_manager_sync_deletions(struct log_manager *m);
/*
 * What topic_overrides() gives may be different now, for the topic, or for every topic: its logs will know soon,
 * without the caller waiting for them. On the loop's thread; where there is no loop, or no worker, at once.
 */
void log_manager_configure(struct log_manager *m, const char *topic);
void log_manager_configure_all(struct log_manager *m);
void log_manager_each(struct log_manager *m, void (*visit)(void *ctx, struct plog *log), void *ctx);

/*
 * ---- Moving a log to another directory (KIP-113) ----
 *
 * A future log is filled beside the current one, and then takes its place. It is a log as any other, but not compacted,
 * and while it is there, neither is the current one.
 */

/* ERR_LOG_DIR_NOT_FOUND, ERR_KAFKA_STORAGE_ERROR: it is offline. */
enum kafka_error log_manager_check_dir(struct log_manager *m, const char *dir);
/* Where the log will be created, if it is. The directory is one of the manager's. */
void log_manager_prefer_dir(struct log_manager *m, const char *topic, int32_t partition, const char *dir);
/* Whether its name is not too long. */
bool log_manager_can_move(const char *topic, int32_t partition);
/* As log_manager_get(). */
struct plog *log_manager_get_future(struct log_manager *m, const char *topic, int32_t partition) NODISCARD;
/* Creates it, in another directory than the current one's; no directory may be offline. ERR_KAFKA_STORAGE_ERROR. */
enum kafka_error log_manager_create_future(struct log_manager *m, struct plog *current, const char *dir,
                                           struct plog **out) NODISCARD;
/*
 * The future log is the current one from now on, which is appended to no more. Nobody appends meanwhile; the next who
 * does waits until its name is on the disk. `compacted_alike`: it has nothing that was copied before the current one
 * was compacted last, and is compacted from where that was. Then, when there is time for it, the old one's directory is
 * to be deleted by log_manager_retire().
 */
enum kafka_error log_manager_promote(struct log_manager *m, struct plog *current, struct plog *future,
                                     bool compacted_alike) NODISCARD;
void log_manager_retire(struct log_manager *m, struct plog *old, struct plog *successor);

/* One round of the timers' work, on the calling thread: what the timers do, for tests and tools. */
void log_manager_run_retention(struct log_manager *m);
void log_manager_run_cleaner(struct log_manager *m);
void log_manager_write_checkpoints(struct log_manager *m);
/* Of those that nobody uses, if half of the descriptors that the process may have are open for logs. */
void log_manager_close_files(struct log_manager *m);

#endif
