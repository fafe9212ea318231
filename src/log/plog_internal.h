/* The inside of a plog, shared by the files that append, read, load and clean it. */
#ifndef BARNABAS_LOG_PLOG_INTERNAL_H
#define BARNABAS_LOG_PLOG_INTERNAL_H

#include <stdatomic.h>

#include "base/lock.h"
#include "log/epochs_internal.h"
#include "log/plog_host.h"
#include "log/producers_internal.h"
#include "log/segment_internal.h"
#include "log/txn_index_internal.h"

struct plog {
    atomic_int refs;
    char *topic;
    int32_t partition;
    const struct plog_home *home; /* the log directory that it is in */
    char *path; /* in it, topic-partition; changes with both locks held, when the log is moved or deleted */
    atomic_int_fast64_t start, end, high_watermark, first_unstable;

    /*
     * Guards what the files of its segments are called, but for the active one, and that there are such files; and its
     * snapshots'. Taken before `lock`, and kept while the disk renames, or a snapshot is written: whoever appends or
     * reads does not wait for that.
     */
    struct lock files;
    struct uuid topic_id; /* written once, with `files` held, and there for readers without a lock with this flag: */
    atomic_bool has_topic_id;
    struct lock lock; /* guards all below, and writes to the above, but for the topic's id */
    struct topic_config config;
    struct segment **segments; /* ascending; the last one is active. Never empty once loaded. */
    size_t segment_count, segment_cap;
    int64_t recovery_point; /* everything below is on disk for sure */
    bool touched;           /* its files are not as they were when it was loaded */
    bool epochs_unsaved;    /* assigned since the checkpoint was written; what the recovery point passes is in it */
    bool epochs_saving;     /* by a flush, without the lock */
    int64_t epoch_changes;  /* counts what was assigned, and what was written: whether it is still what was looked at */
    int64_t snapshot_end;   /* of the newest producer snapshot, written or begun; -1: none */
    struct producers_copy *snapshots; /* begun and not written yet, by offset; the last one may not be whole */
    size_t snapshot_bytes;            /* that these have, or will have */
    /*
     * It was cut below what the disk has for its recovery point or its start, or has the name of a log of which the
     * disk has them, and nothing may be appended before these are lowered there: the one says what need not be looked
     * at after a crash, the other what is deleted.
     */
    atomic_bool unsettled;
    int64_t cuts;           /* counts truncations: a flush from before one says nothing of what is written after it */
    bool awaits_write_back; /* its host was told that there is something for plog_write_back_some() */
    int64_t last_flush_ms;
    int64_t roll_jitter_ms;
    struct producers producers;
    struct epochs epochs;
    bool torn;          /* an append has failed in its middle: its directory is about to go offline */
    bool starved;       /* a file could not be opened for what was to be written, for want of a descriptor */
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
void plog_note_growth(struct plog *log); /* of the active segment, which may be worth to be written back */
bool plog_set_high_watermark_locked(struct plog *log, int64_t offset);
/* Of a batch: batches have their epochs, so what recovery reads again need not be in the checkpoint. */
void plog_note_epoch(struct plog *log, int32_t epoch, int64_t offset);
bool plog_write_epochs(struct plog *log);
bool plog_save_epochs(struct plog *log); /* if there is anything to save */
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
/*
 * Looks for batches of the producer before what its snapshot knows, and says whether it is worth to check a batch
 * again. False if they cannot be read.
 */
bool plog_recall_batches(struct plog *log, int64_t producer_id, bool *recalled) NODISCARD;
/* Brings the producers from where their state ends up to `offset`, reading the log. */
bool plog_replay_producers(struct plog *log, int64_t offset);
/*
 * Notes a batch in producers. The whole batch is needed for control batches. Returns whether it is the abort of a
 * transaction, which its segment's .txnindex is to have.
 */
bool plog_note_batch(struct plog *log, const struct batch *b, struct txn_entry *aborted);

/* ---- Snapshots of producers ---- */

/*
 * With the lock held: of the state as it is, unless there is one of that offset, or too much has been begun that is not
 * written yet: then `snapshot_end` stays.
 */
void plog_begin_snapshot(struct plog *log, int64_t offset);
/* With both locks held: all that were begun; those that were begun above an offset are dropped. */
bool plog_write_snapshots(struct plog *log) NODISCARD;
void plog_drop_snapshots(struct plog *log, int64_t above);
/* With `files` held alone: the same without keeping anybody from appending, and synced. */
bool plog_settle_snapshots(struct plog *log) NODISCARD;

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

/* As plog_failed(), of what only reads, unless a descriptor was missing for it. */
void plog_failed_to_read(struct plog *log, const char *what);
/* With the lock held: the active segment's file is open, or it is noted that a descriptor was missing. */
bool plog_open_active(struct plog *log) NODISCARD;
/* As plog_failed(), of what may need to open a file first, unless only a descriptor was missing for that: then it may
 * go better soon. */
void plog_failed_to_grow(struct plog *log, const char *what);

#endif
