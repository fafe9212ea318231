/* The inside of a plog, shared by the files that append, read, load and clean it. */
#ifndef BARNABAS_PLOG_INTERNAL_H
#define BARNABAS_PLOG_INTERNAL_H

#include <stdatomic.h>

#include "base/lock.h"
#include "storage/checkpoint_internal.h"
#include "storage/log_dir_internal.h"
#include "storage/producers_internal.h"
#include "storage/segment_internal.h"
#include "storage/storage.h"
#include "storage/txn_index_internal.h"

struct plog {
    atomic_int refs;
    struct log_manager *manager; /* NULL in tools and tests */
    char *topic;
    int32_t partition;
    char *root;                 /* the log directory */
    const struct log_dir *home; /* the same; NULL in tools and tests */
    char *path;                 /* root/topic-partition; changes with both locks held, when the log is deleted */
    atomic_int_fast64_t start, end, high_watermark, first_unstable;

    /*
     * Guards what the files of its segments are called, but for the active one, and that there are such files. Taken
     * before `lock`, and kept while the disk renames: whoever appends or reads does not wait for that.
     */
    struct lock files;
    struct lock lock; /* guards all below, and writes to the above */
    struct uuid topic_id;
    struct topic_config config;
    struct segment **segments; /* ascending; the last one is active. Never empty once loaded. */
    size_t segment_count, segment_cap;
    int64_t recovery_point; /* everything below is on disk for sure */
    bool touched;           /* its files are not as they were when it was loaded */
    bool epochs_unsaved;    /* assigned since the checkpoint was written; what the recovery point passes is in it */
    bool epochs_trimmed;    /* it still has epochs that lie below the start: loading leaves them out */
    int64_t snapshot_end;   /* of the newest producer snapshot; -1: none */
    /*
     * It was cut below what the disk has for its recovery point or its start, and nothing may be appended before these
     * are lowered there: the one says what need not be looked at after a crash, the other what is deleted.
     */
    atomic_bool unsettled;
    int64_t cuts; /* counts truncations: a flush from before one says nothing of what is written after it */
    int64_t last_flush_ms;
    int64_t roll_jitter_ms;
    struct producers producers;
    struct epochs epochs;
    bool starved;       /* the last append could not begin a segment, for want of a descriptor */
    bool closed;        /* deleted or shut down: no more writes */
    atomic_bool future; /* being filled to take the place of another one */
    int64_t cut_to;     /* the lowest offset it was cut to since plog_take_cut(); INT64_MAX: none */
    /* Of compaction: */
    int64_t clean_end;      /* what is below has been compacted, or is below the start; -1: nothing */
    bool clean_end_unsaved; /* moved since the checkpoint was written */
    bool compacting;        /* by somebody: its older segments are only replaced by that pass, or cut */
    bool uncompacted;       /* not now, as it is copied */
    bool uncleanable;       /* cannot be compacted; tried again after a restart */
};

struct plog_origin { /* what the checkpoints say of a log that is loaded */
    int64_t recovery_point, start_offset, high_watermark, clean_end; /* -1: not there */
    bool clean;
    const char *name; /* of the directory, of a future log; NULL: topic-partition */
};

/* Loads or creates the log in `root`. NULL when the disk fails, or as file_last_error() says; logged. */
struct plog *plog_load(struct log_manager *m, const char *root, const char *topic, int32_t partition,
                       const struct topic_config *config, const struct plog_origin *origin);
/* Writes partition.metadata if the log has no id yet; false on mismatch or failure. */
enum kafka_error plog_adopt_topic_id(struct plog *log, struct uuid id);
/* Flush, snapshot, trimmed indexes: ready for a clean-shutdown mark. */
bool plog_close(struct plog *log);
/* Without any of that: nothing is written any more, or read, and its files are let go of. */
void plog_abandon(struct plog *log);

/*
 * With the lock held, when the log has been loaded, rolled, cut, retained, compacted or flushed: what holds of any log,
 * by design and not by what is on its disk.
 */
void plog_check(const struct plog *log);
/* With the lock held: */
bool plog_is_writable(const struct plog *log);
bool plog_is_readable(const struct plog *log); /* also when it was deleted, as long as its files are there */
struct segment *plog_active(const struct plog *log);
/* Index of the segment that holds `offset`: the last whose base is not above; 0 if all are. */
size_t plog_segment_index(const struct plog *log, int64_t offset);
bool plog_roll(struct plog *log, int64_t new_base);
bool plog_insert_segment(struct plog *log, struct segment *s);
bool plog_flush_locked(struct plog *log, int64_t up_to);
bool plog_write_epochs(struct plog *log);
bool plog_save_epochs(struct plog *log); /* if there is anything to save */
bool plog_snapshot(struct plog *log, int64_t offset);
void plog_update_unstable(struct plog *log);
/* Largest timestamp of the segment's records; when they have none, when it was written last. INT64_MAX: unknown. */
int64_t plog_largest_timestamp(struct plog *log, struct segment *s);
/*
 * Entries of aborted transactions with records in [from, to), from the one that holds offset `segment` on, by first
 * offset, on the heap. False if they cannot be read.
 */
bool plog_txn_entries(struct plog *log, int64_t segment, int64_t from, int64_t to, struct txn_entry **out,
                      size_t *count) NODISCARD;
bool plog_truncate_fully_locked(struct plog *log, int64_t new_start);
/* Looks for batches of the producer before what its snapshot knows. Whether it is worth to check a batch again. */
bool plog_recall_batches(struct plog *log, int64_t producer_id);
/* Brings the producers from where their state ends up to `offset`, reading the log. */
bool plog_replay_producers(struct plog *log, int64_t offset);
/*
 * Notes a batch in producers. The whole batch is needed for control batches. Returns whether it is the abort of a
 * transaction, which its segment's .txnindex is to have.
 */
bool plog_note_batch(struct plog *log, const struct batch *b, struct txn_entry *aborted);

/* Segments that are the log's no longer, but for their files: these go without its lock. */
struct retired {
    struct segment **segments;
    size_t count;
    int64_t delay_ms; /* until the files are removed */
};

/* With both locks held: takes `count` segments from `first` on out of the log. */
struct retired plog_retire(struct plog *log, size_t first, size_t count);
/*
 * Likewise, and puts a finished segment in their place, which is the log's from then on: it can do without its files,
 * which have the suffix ".cleaned" yet.
 */
struct retired plog_swap_in(struct plog *log, size_t first, size_t count, struct segment *cleaned);
/* With `files` held alone: renames what has retired, and has it removed later. */
bool plog_let_go(struct plog *log, struct retired *old) NODISCARD;
/* The same, and gives the files of what was swapped in at `base` their names. */
bool plog_swap_files(struct plog *log, int64_t base, struct retired *old) NODISCARD;

/* A batch that ends the log's useful life as a failure of its directory. */
void plog_failed(struct plog *log, const char *what);
/* The same of what may need a new segment, unless only a descriptor was missing for it: then it may go better soon. */
void plog_failed_to_grow(struct plog *log, const char *what);

/* The manager's side (manager.c). */
void manager_remove_later(struct log_manager *m, const char *dir, int64_t base, int64_t delay_ms);
void manager_flush_later(struct log_manager *m, struct plog *log, int64_t up_to);
/* Without a log's lock. */
void manager_save_recovery_points(struct log_manager *m);
/*
 * Of all logs that are unsettled: their recovery points and starts, which have gone back. Without a log's lock; blocks.
 * Who cuts has a worker do it soon, and who appends before that does it, for all that were cut meanwhile.
 */
void manager_settle_cuts(struct log_manager *m);
void manager_settle_cuts_soon(struct log_manager *m);
/* Writes the cleaner's checkpoints if one has changed. */
void manager_save_clean_ends(struct log_manager *m);
void manager_dir_failed(struct log_manager *m, const char *root, const char *what);
struct log_dir *manager_dir(struct log_manager *m, const char *root);

#endif
