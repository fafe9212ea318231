/*
 * One of the directories of log.dirs. It is in use from the broker's start until something in it cannot be read or
 * written; then it is offline, and stays so until the broker is started again. The others are not touched by that.
 */
#ifndef BARNABAS_LOG_DIR_INTERNAL_H
#define BARNABAS_LOG_DIR_INTERNAL_H

#include <stdatomic.h>

#include "base/fail.h"
#include "base/lock.h"
#include "base/workers.h"
#include "log/plog_host.h"
#include "storage/checkpoint_internal.h"
#include "storage/storage.h"

#define CHECKPOINT_RECOVERY "recovery-point-offset-checkpoint"
#define CHECKPOINT_START "log-start-offset-checkpoint"
#define CHECKPOINT_HW "replication-offset-checkpoint"
#define CHECKPOINT_CLEANER "cleaner-offset-checkpoint"

/* What Kafka has a recovery thread for: the log that one thread loads at the moment. */
struct load_lane {
    atomic_bool taken;
    atomic_int segments; /* of it, that are still to be recovered */
};

struct log_dir {
    char *path; /* absolute, and as Java spells it */
    struct plog_home home;
    int lock_fd;                 /* -1: not locked */
    struct lock checkpoint_lock; /* one reads the offsets of its logs and writes them at a time */
    struct workers *writer;      /* the thread that writes back; NULL: not started */
    struct workers *appenders;   /* the threads of log_manager_appenders(); the same */
    int in_table;                /* logs of it in the manager's table, whose lock guards this */
    int in_the_making;           /* and those that will be in it; the same */
    atomic_bool stale_lines;     /* its checkpoints may tell of logs that are not there */
    atomic_bool unsynced;        /* a log was deleted, which a power failure may bring back */
    atomic_bool loading;         /* its logs are */
    atomic_int logs, to_load;    /* how many there were at start, and are not loaded yet */
    struct load_lane *lanes;     /* there from when they are on */
    int lane_count;
    int64_t lane_ids;
    bool was_clean, identified; /* `meta` is what its meta.properties says */
    struct meta_properties meta;
    struct offsets_file recovery, start, hw, cleaner; /* as read at start */
};

/*
 * Makes it if it is missing, and locks it. One that cannot be used is offline, which is no failure of this call; one
 * that another process has locked is.
 */
bool log_dir_open(struct log_dir *d, const char *path, struct fail *fail) NODISCARD;
bool log_dir_is_same(const struct log_dir *a, const struct log_dir *b); /* by whatever paths */
void log_dir_deinit(struct log_dir *d);
bool log_dir_is_live(const struct log_dir *d);
/* Any thread. Whether it was live until now; then it is logged. */
bool log_dir_take_offline(struct log_dir *d, const char *why);
/* Nothing in it is used any more: the lock is let go, so that the disk can be unmounted. */
void log_dir_release(struct log_dir *d);

/* Whether it was closed cleanly, and what its checkpoints say. False when the disk fails. */
bool log_dir_begin_load(struct log_dir *d) NODISCARD;
bool log_dir_mark_clean(const struct log_dir *d); /* after everything in it was closed */

/* ---- meta.properties ---- */

enum meta_result { META_READ, META_MISSING, META_UNREADABLE, META_WRONG_VERSION };
/* What it does not say is -1 or "". */
enum meta_result meta_properties_read(const char *path, struct meta_properties *out);
bool meta_properties_write(const char *path, const struct meta_properties *meta) NODISCARD;

#endif
