/*
 * One partition's log, in Kafka 3.9's files to the byte: segments, offset and time indexes, leader epochs, producer
 * snapshots.
 *
 * A `plog` (partition log) may be used from every thread: it has its own lock, held for an append or a look-up, never
 * for a disk's seek on purpose. The offsets that readers need are atomics. What a read returns is a region of a file
 * with a counted reference: it stays readable after the segment was deleted or the log was closed.
 *
 * Errors of the disk are logged where they happen, with path and cause, and come back as ERR_KAFKA_STORAGE_ERROR; the
 * log's home is then offline. What can be read but is damaged is ERR_CORRUPT_MESSAGE, and no failure of the home.
 */
#ifndef BARNABAS_LOG_PLOG_H
#define BARNABAS_LOG_PLOG_H

#include "base/region.h"
#include "base/strbuf.h"
#include "base/uuid.h"
#include "config/config.h"
#include "record/record.h"

struct plog;

/* What lies above, in a file's name or in a batch, is damage: sums of offsets do not overflow. */
#define LARGEST_OFFSET (INT64_MAX / 2)

void plog_ref(struct plog *log);
void plog_unref(struct plog *log);

const char *plog_topic(const struct plog *log);
int32_t plog_partition(const struct plog *log);
const char *plog_dir(const struct plog *log); /* the log directory (of log.dirs) that holds it */
struct uuid plog_topic_id(const struct plog *log);
bool plog_is_offline(const struct plog *log); /* that directory has failed */
bool plog_is_future(const struct plog *log);

int64_t plog_start_offset(const struct plog *log);
int64_t plog_end_offset(const struct plog *log); /* of the next record to come */
int64_t plog_high_watermark(const struct plog *log);
/* First offset that a read_committed consumer may not see yet: of an open transaction, else the high watermark. */
int64_t plog_last_stable_offset(const struct plog *log);
/* Kept within [start, end]. Returns whether it moved. */
bool plog_set_high_watermark(struct plog *log, int64_t offset);
int64_t plog_size(const struct plog *log); /* bytes in all segments */
int64_t plog_segment_count(struct plog *log);
struct plog_producer_counts {
    int64_t count;          /* that are remembered */
    int64_t oldest_open_ms; /* when the one that wrote longest ago of those inside a transaction wrote last; INT64_MAX:
                               there is none */
};
struct plog_producer_counts plog_count_producers(struct plog *log);
struct topic_config plog_config(struct plog *log);

struct append_result {
    int64_t first_offset;
    int64_t last_offset;
    int64_t log_start_offset;
    int32_t bytes;  /* a follower's: of the batches that were appended */
    bool duplicate; /* the batch was already there; first_offset is its own */
    bool flush_due; /* flush.messages asks for plog_flush_to() before it is answered */
};

/* What an append would have to wait for first after a cut or a move; to be done before anything is locked. Blocks. */
void plog_settle(struct plog *log);
/* One of those that are appended together. */
struct leader_append {
    const struct prepared *records;
    enum kafka_error error;
    struct append_result result;
};
enum { LEADER_APPENDS = 64 }; /* at once */
/*
 * Appends what records_prepare() made, in this order, as leader of `leader_epoch`, with one write, unless a segment
 * ends between them. Gives out offsets and checks the producer's sequence, of a marker the coordinator's epoch. The
 * errors of each: ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, ERR_INVALID_PRODUCER_EPOCH, ERR_INVALID_TXN_STATE (not of a
 * transaction that includes the partition), ERR_TRANSACTION_COORDINATOR_FENCED, ERR_RECORD_LIST_TOO_LARGE (larger than
 * a segment), storage errors. Does not flush: result.flush_due says who is to be waited for.
 */
void plog_append_leader(struct plog *log, struct leader_append *const *appends, int count, int32_t leader_epoch);
/*
 * Whether an append of these and others, of so many bytes and offsets in all, is going to wait for the disk, as far as
 * can be told before.
 */
bool plog_append_waits(struct plog *log, const struct prepared *first, int64_t bytes, int64_t offsets);
int64_t plog_recovery_point(struct plog *log); /* everything below is on disk for sure */
/* Waits until all below is on the disk, without keeping anybody from appending or reading. False: it is not. */
bool plog_flush_to(struct plog *log, int64_t offset) NODISCARD;
/*
 * Before a producer's transactional batch is appended that may be the first of its transaction here: the coordinator is
 * to be asked whether the partition is part of it (KIP-890). Returns the guard that the batch needs, GUARD_OPEN when
 * there is nothing to ask. A guard is void once anything of the producer was appended, as a marker, so that a late
 * answer lets nothing pass.
 */
int64_t plog_begin_verification(struct plog *log, int64_t producer_id, int16_t producer_epoch, int32_t sequence);
struct producer_state { /* -1 where nothing is known */
    int64_t id, last_timestamp, txn_first_offset;
    int32_t last_sequence, coordinator_epoch;
    int16_t epoch;
};
/* The producers that have written to the log and are remembered, in the arena. Returns their count. */
int32_t plog_producers(struct plog *log, struct arena *a, struct producer_state **out);
/*
 * This broker has refused to append them, and their producer may try again: until it does, an unknown producer's later
 * batches are refused as well, so that none is taken for its first.
 * What a coordinator wrote is no batch of theirs, and not remembered.
 */
void plog_note_refused(struct plog *log, const struct prepared *p);
/*
 * Appends batches with their offsets as a leader sent them. `bytes` may end inside a batch, which is
 * left out, and is not changed. Batches of an epoch above `max_epoch`, and what follows them, are skipped. With
 * ERR_KAFKA_STORAGE_ERROR and flush_due they are there, but not synced yet.
 */
enum kafka_error plog_append_follower(struct plog *log, struct bytes bytes, int32_t max_epoch,
                                      struct append_result *out);

struct aborted_txn {
    int64_t producer_id, first_offset;
};

struct plog_slice {
    struct file_region region; /* holds a reference: file_ref_put(region.file); len 0: file is NULL */
    bool first_incomplete;     /* max_bytes ended inside the first batch */
    int64_t bound;             /* no record in it has this offset or a higher one */
    bool cold;                 /* nothing was read, as the disk would have to be asked */
};

/*
 * Bytes from the batch that holds `offset` on, at most `max_bytes` (but one whole batch if
 * `at_least_one`), and nothing at or above `upper`. ERR_OFFSET_OUT_OF_RANGE outside [start, end].
 * Batch headers are looked at to find the place; unless `may_block`, only those in the page cache.
 */
enum kafka_error plog_read(struct plog *log, int64_t offset, int32_t max_bytes, bool at_least_one, int64_t upper,
                           bool may_block, struct plog_slice *out);
/*
 * Aborted transactions with records in [from, to), as read_committed consumers must leave them out; in the
 * arena, by first offset. ERR_OFFSET_OUT_OF_RANGE: the log begins behind `from` by now, and nothing is known any more
 * of what was read there.
 */
enum kafka_error plog_aborted(struct plog *log, int64_t from, int64_t to, struct arena *a, struct aborted_txn **out,
                              int32_t *count);
/* Like plog_read(), but into memory: for the coordinators' loading, conversion and tools. */
enum kafka_error plog_read_bytes(struct plog *log, int64_t offset, int32_t max_bytes, int64_t upper,
                                 struct strbuf *out);

struct timestamp_offset {
    int64_t timestamp, offset;
    int32_t leader_epoch;
};

/* The first record whose timestamp is at least `timestamp`; offset -1 if there is none. */
enum kafka_error plog_offset_for_time(struct plog *log, int64_t timestamp, struct timestamp_offset *out);
/* The record with the largest timestamp (KIP-734). */
enum kafka_error plog_offset_of_max_time(struct plog *log, struct timestamp_offset *out);

/*
 * What the oldest clients ask for: where segments begin that were last written at or before `timestamp` (-1: all, and
 * the end; -2: the first), newest first, at most `most` of them. Returns how many, in the arena.
 */
int32_t plog_segment_offsets(struct plog *log, int64_t timestamp, int32_t most, struct arena *a, int64_t **out);

/* Leader epochs (KIP-101, KIP-279). */
void plog_assign_epoch(struct plog *log, int32_t epoch, int64_t start_offset);
int32_t plog_latest_epoch(struct plog *log); /* NO_LEADER_EPOCH if none */
int32_t plog_epoch_of(struct plog *log, int64_t offset);
/* The last epoch not above `epoch` and where it ends; (-1, -1) if unknown. */
void plog_epoch_end(struct plog *log, int32_t epoch, int32_t *found_epoch, int64_t *end_offset);

/*
 * Cuts the log back to `offset`, below its start, too, or leaves it empty and starting there. ERR_OFFSET_OUT_OF_RANGE:
 * no log can be there; storage errors. It may end lower: behind the last batch below.
 */
enum kafka_error plog_truncate(struct plog *log, int64_t offset);
enum kafka_error plog_truncate_fully(struct plog *log, int64_t new_start);
/* DeleteRecords: no reader below `offset` any more; files go with retention. */
enum kafka_error plog_advance_start(struct plog *log, int64_t offset);
enum kafka_error plog_flush(struct plog *log); /* keeps everybody from it meanwhile */
/* The lowest offset that it was cut to since this was called last; INT64_MAX if it was not. */
int64_t plog_take_cut(struct plog *log);
void plog_return_cut(struct plog *log, int64_t cut); /* what was taken could not be followed yet */
/* Until it is called with false; a pass that is under way is given up. */
void plog_pause_compaction(struct plog *log, bool pause);
bool plog_is_uncleanable(struct plog *log); /* it cannot be compacted, which is tried again after a restart */
/* Deletes segments that retention lets go; returns how many. */
int plog_apply_retention(struct plog *log, int64_t now);

#endif
