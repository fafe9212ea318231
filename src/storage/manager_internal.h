/* The inside of the log manager, shared by its files. */
#ifndef BARNABAS_MANAGER_INTERNAL_H
#define BARNABAS_MANAGER_INTERNAL_H

#include <utlist.h>

#include "base/hash.h"
#include "base/lock.h"
#include "base/topic_index.h"
#include "log/plog_host.h"
#include "metrics/histogram.h"
#include "storage/cleaner_internal.h"
#include "storage/log_dir_internal.h"

enum { FUTURE_SUFFIX = 1 + 32 + 7 }; /* ".", 32 hex digits, "-future" */

struct log_key {
    int32_t partition;
    int32_t future; /* bool; without padding */
    char topic[252];
};

/* What counts of it: the rest of the room for a name is neither hashed nor compared. */
static inline size_t log_key_size(const struct log_key *key)
{
    return offsetof(struct log_key, topic) + strlen(key->topic);
}

struct log_entry {
    struct log_key key;
    struct plog *log;
    struct topic_link of_topic;
    UT_hash_handle hh;
};

struct preference { /* where a log is to be created */
    struct log_key key;
    struct log_dir *dir;
    UT_hash_handle hh;
};

/* A file or directory that goes when its time has come. */
struct removal {
    char *dir;
    struct plog *log; /* a reference to the one in it, if it is a whole log that was deleted while it was in use */
    int64_t base;     /* of a segment's ".deleted" files; -1: the whole directory */
    int64_t due;      /* monotonic */
    struct removal *next;
};

/* A timer whose work is done by a worker, one run at a time. */
struct chore {
    struct timer timer;
    struct job job;
    struct log_manager *manager;
    int64_t period_ms;
    void (*work)(struct log_manager *m);
};

enum {
    CHORE_RETENTION,
    CHORE_RECOVERY_POINTS,
    CHORE_STARTS,
    CHORE_HW,
    CHORE_FLUSH,
    CHORE_PRODUCERS,
    CHORE_REMOVAL,
    CHORE_INDEXES,
    CHORE_FILES,
    CHORES
};

/* What a worker does soon, once for all who have asked for it before it begins. */
struct errand {
    struct job job;
    struct log_manager *manager;
    void (*work)(struct log_manager *m);
    atomic_bool awaited; /* it was submitted, and has not begun */
};

/* Whose settings are others than its logs know. */
struct settings_news {
    struct changed_topic *topics;
    bool of_all;
};

struct log_manager {
    struct log_manager_options options;
    struct plog_host host; /* what its logs tell it */
    const struct broker_config *config;
    struct log_dir *dirs;
    int dir_count;
    struct lock lock; /* guards the tables; taken before that of a log */
    struct log_entry *logs;
    struct topic_index by_topic; /* the same */
    struct preference *preferences;
    struct lock removal_lock; /* taken with any other lock held */
    struct removal *removals;
    struct chore chores[CHORES];
    struct cleaner *cleaner; /* NULL: log.cleaner.enable is off */
    bool started;
    atomic_bool halted;     /* log_manager_halt_load() */
    atomic_bool incomplete; /* logs are being loaded, or not all could be: checkpoints would lose the others' lines */
    _Atomic int64_t recovered_bytes;
    int most_files;                      /* of logs that may stay open when nobody uses them */
    atomic_bool clean_end_gone;          /* of a log that was deleted */
    atomic_int producer_expiration_ms;   /* producer.id.expiration.ms, as it is now */
    atomic_int_fast64_t delete_delay_ms; /* log.segment.delete.delay.ms, the same */
    struct errand settling;              /* manager_settle_cuts_soon() */
    struct errand closing;               /* manager_close_files_soon() */
    struct {
        struct job job;
        bool busy;
        struct settings_news told, next; /* by the job, while it is busy; and after that */
    } settings;                          /* of the loop's thread */
    struct timing flushes;               /* of segments */
    struct bean_source source;
    int64_t bean_ids, dir_ids, pass_ids;
    bool counted;
};

/* ---- manager.c ---- */

void manager_dir_failed(struct log_manager *m, const char *path, const char *what);
struct log_dir *manager_dir(struct log_manager *m, const char *path);

struct log_key manager_key_of(const char *topic, int32_t partition, bool future);
/* With the manager's lock held: */
struct log_entry *manager_find(struct log_manager *m, const char *topic, int32_t partition, bool future);
void manager_add(struct log_manager *m, struct plog *log);
/* All logs, each with a reference, so that the table need not stay locked while they are worked on. On the heap. */
struct plog **manager_logs(struct log_manager *m, size_t *count);

/* ---- manager_open.c ---- */

/* Where the log was to be created; NULL: anywhere. It is forgotten. With the manager's lock held. */
struct log_dir *manager_take_preference(struct log_manager *m, const char *topic, int32_t partition);
/* A log is about to be made there, and counts already for those who look for the directory with the fewest. The same.
 */
void manager_reserve(struct log_manager *m, struct log_dir *d);
/*
 * Makes a log in that directory, where a place is reserved, under that name (NULL: its own), and adds it to the table,
 * which has none of it; nobody else makes it meanwhile. With a reference; NULL, with the directory offline unless
 * something is in the way.
 */
struct plog *manager_make(struct log_manager *m, struct log_dir *d, const char *topic, int32_t partition,
                          const struct topic_config *config, const char *name) NODISCARD;
/* Gives the log its topic's id. The reference is given back where that fails. */
enum kafka_error manager_give_id(struct plog **log, struct uuid topic_id) NODISCARD;

/* ---- storage_metrics.c ---- */

void storage_metrics_init(struct log_manager *m);
void storage_metrics_deinit(struct log_manager *m);

/* ---- manager_load.c ---- */

struct topic_config manager_settings_of(const struct log_manager *m, const char *topic);
void manager_count_recovered(void *ctx, int64_t bytes); /* as struct plog_host has it; `ctx` is the manager */

/* ---- manager_checkpoints.c ---- */

void manager_save_recovery_points(struct log_manager *m);
void manager_save_starts(struct log_manager *m);
/* Writes the cleaner's checkpoints if one has changed. */
void manager_save_clean_ends(struct log_manager *m);
/* As struct plog_host has them; `ctx` is the manager. */
void manager_settle_cuts(void *ctx, const struct plog_home *home);
void manager_settle_cuts_soon(void *ctx);
void manager_save_high_watermarks(struct log_manager *m);

/* ---- manager_settings.c ---- */

void manager_forget_settings(struct log_manager *m); /* at the end: nobody is told any more */

/* ---- manager_chores.c ---- */

/* As struct plog_host has them; `ctx` is the manager. */
void manager_remove_later(void *ctx, const char *dir, int64_t base, int64_t delay_ms);
void manager_flush_later(void *ctx, struct plog *log, int64_t up_to, int64_t cuts);
void manager_write_back_later(void *ctx, struct plog *log);

/* A whole log's directory; `log` is in it, and let go of then. NULL: it was not loaded. */
void manager_remove_dir_later(struct log_manager *m, const char *path, struct plog *log);
void manager_unload_indexes(struct log_manager *m);
void manager_close_files_soon(void *ctx); /* as struct plog_host has it */
void manager_run_soon(struct log_manager *m, struct errand *e, void (*work)(struct log_manager *m)); /* any thread */
void manager_run_removals(struct log_manager *m); /* of what is due */
void manager_forget_removals(struct log_manager *m);

#endif
