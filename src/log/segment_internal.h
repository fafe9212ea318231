/* One segment: a log file and its indexes. Guarded by the lock of the plog that owns it. */
#ifndef BARNABAS_LOG_SEGMENT_INTERNAL_H
#define BARNABAS_LOG_SEGMENT_INTERNAL_H

#include "base/region.h"
#include "log/index_internal.h"
#include "log/plog.h"
#include "log/txn_index_internal.h"

enum { PATH_ROOM = 4096 };

static inline bool batch_offsets_are_possible(const struct batch *b)
{
    return b->base_offset >= 0 && b->last_offset >= b->base_offset && b->last_offset <= LARGEST_OFFSET;
}

struct segment {
    int64_t base_offset;
    int64_t size;          /* bytes of whole batches in the log file */
    int64_t written_back;  /* so much of that the disk was given, though it may not have it yet */
    struct file_ref *file; /* NULL unless the segment was read or written of late */
    struct index offsets, times;
    bool indexes_filed;    /* they are as in their files, and may be let go of: it is not appended to */
    bool indexes_used;     /* since segment_unload_unused() */
    bool file_used;        /* since segment_close_unused() */
    int64_t max_timestamp; /* of its records; NO_TIMESTAMP until known */
    int64_t max_timestamp_offset;
    int64_t first_timestamp; /* of its first batch; NO_TIMESTAMP until known */
    int64_t created_ms;      /* wall clock */
    int64_t bytes_since_index;
    struct strbuf aborts; /* what its .txnindex has, as long as it is not in its place yet */
    bool no_aborts;       /* looked for its .txnindex: there is none */
    bool aborts_lost;     /* its .txnindex is to be made again from its batches */
    bool no_snapshot;     /* of what was known of producers where it begins: it may not be the first */
};

/* FIND_ERROR: the disk fails; FIND_CORRUPT: it does not, but there is no sound batch where one must be. */
enum find_result { FIND_OK, FIND_END, FIND_COLD, FIND_ERROR, FIND_CORRUPT };

/* Name of one of the files of the segment at `base`; `suffix` as ".log". Returns `buf`. */
char *segment_path(char buf[PATH_ROOM], const char *dir, int64_t base, const char *suffix);
/* The base offset in a file name that ends in `suffix`; -1 if it is none. */
int64_t segment_parse_name(const char *name, const char *suffix);
/* That of any of a log's files, whatever follows the first twenty digits. */
int64_t segment_any_base(const char *name);

struct segment *segment_new(int64_t base_offset);
void segment_free(struct segment *s);
/* Of its batches nothing is known any more, nor in its indexes: they are to be noted anew. */
void segment_forget_batches(struct segment *s);
/* Opens the log file, unless it is open. Whoever uses it asks for it first. */
bool segment_open_file(struct segment *s, const char *dir, bool create) NODISCARD;
void segment_close_file(struct segment *s);   /* for those who hold no reference */
void segment_close_unused(struct segment *s); /* the same, if nobody has asked for it since this was called last */
/*
 * Loads the indexes on first use; a segment that is appended to has them on the heap. Those that are missing or damaged
 * are made again from the batches.
 */
bool segment_load_indexes(struct segment *s, const char *dir, bool for_append) NODISCARD;
/* Lets go of what is in memory and in its files as well. */
void segment_unload(struct segment *s);
/* Of its indexes, if nobody has looked at them since this was asked last. */
void segment_unload_unused(struct segment *s);

int64_t segment_written_ms(const struct segment *s, const char *dir); /* when last; INT64_MAX: unknown */

/* Writes batches at the end, of which `b` is the last, and keeps the indexes. */
bool segment_append(struct segment *s, const char *dir, struct bytes bytes, int32_t index_interval);
/* The same in two steps: a batch is counted, and those that were counted are written before anybody may see them. */
void segment_count_batch(struct segment *s, const struct batch *b, int32_t index_interval);
bool segment_write_counted(struct segment *s, const char *dir, const struct iovec *pieces, int count) NODISCARD;
/* Appends to its .txnindex, which is made with the first. */
bool segment_note_abort(struct segment *s, const char *dir, const struct txn_entry *e) NODISCARD;
/* The whole of it anew, and on the disk. */
bool segment_replace_aborts(struct segment *s, const char *dir, const struct strbuf *entries) NODISCARD;
/*
 * Whether it is `sound`: missing, by right as far as can be told, or with entries that are possible. Notes whether it
 * is missing. False if it cannot be read.
 */
bool segment_check_aborts(struct segment *s, const char *dir, bool *sound) NODISCARD;
/* Notes a batch at `position` that is in the file: what append and recovery share. */
void segment_note_batch(struct segment *s, const struct batch *b, int32_t position, int32_t index_interval);
/* Last index entries, and both indexes into their files. `final`: no more appends. */
bool segment_save_indexes(struct segment *s, const char *dir, bool final) NODISCARD;
/* Likewise with `final`, below the recovery point: should a crash come in between, the old files are still there. */
bool segment_replace_indexes(struct segment *s, const char *dir) NODISCARD;
bool segment_sync(struct segment *s, const char *dir) NODISCARD;
/* The log file of a segment, whoever's it is by now, by the reference if it was open. One that is gone is fine. */
bool segment_sync_file(int64_t base, const char *dir, const struct file_ref *file) NODISCARD;
/*
 * Of a segment that is not appended to. Before the recovery point passes it: from then on its indexes are believed, and
 * a power failure may leave zeros in what was not synced. Files that are gone meanwhile are fine. `extra_suffix` as of
 * segment_delete_files().
 */
bool segment_sync_indexes(int64_t base, const char *dir, const char *extra_suffix) NODISCARD;
/*
 * Of the active segment, with its indexes loaded: reads the batches behind the last index entry for the times that no
 * index has yet, and where the log ends. FIND_END, or what is wrong.
 */
enum find_result segment_survey_tail(struct segment *s, const char *dir, int64_t *end) NODISCARD;
bool segment_delete_files(int64_t base, const char *dir, const char *extra_suffix);
/* Gives the files the suffix ".deleted". */
bool segment_mark_deleted(const struct segment *s, const char *dir, bool with_snapshot);
/*
 * Changes the suffix of the files of a segment that compaction has made. The log is the last of them to get a suffix,
 * and the first to get none: it stands for all.
 */
bool segment_rename(int64_t base, const char *dir, const char *from_suffix, const char *to_suffix) NODISCARD;

struct position {
    int64_t pos;
    int32_t batch_size;
    int64_t last_offset;
};

static inline bool find_failed(enum find_result result)
{
    return result == FIND_ERROR || result == FIND_CORRUPT;
}

/*
 * Where the first batch starts whose last offset is at least `offset`. FIND_END: there is none in
 * this segment. With `cached_only`, FIND_COLD rather than waiting for the disk, with the place that it must bring.
 */
enum find_result segment_find(struct segment *s, const char *dir, int64_t offset, bool cached_only,
                              struct position *out);
struct cut {
    int64_t pos;  /* the size that the log file is to have */
    int64_t end;  /* offset at which it ends then */
    bool damaged; /* what is behind, below the offset that was asked for */
};

/*
 * Where a segment is cut that is to end at `offset`, with its indexes loaded: behind the last batch that lies below,
 * or at a damaged header before that. What lies behind such a one was found by nobody. FIND_OK or FIND_ERROR.
 */
enum find_result segment_find_cut(struct segment *s, const char *dir, int64_t offset, struct cut *out);
/*
 * Drops the batches from there on. Waits for the disk: what is written in their place would otherwise be mixed with
 * them after a power failure, each batch sound by itself.
 */
bool segment_truncate(struct segment *s, const char *dir, struct cut at) NODISCARD;
/* The first place behind `pos` that the index knows; the segment's size if there is none. */
int64_t segment_position_behind(struct segment *s, const char *dir, int64_t pos);
/* Where to begin to look for what is at `delta`, by the index, which must be loaded. */
int64_t segment_look_up(const struct segment *s, int32_t delta);
/* The header of the batch at `pos`. */
enum find_result segment_peek(struct segment *s, const char *dir, int64_t pos, bool cached_only, struct batch *out);

#endif
