/*
 * What a partition remembers of its producers (KIP-98): epoch, the last five batches for duplicates, and
 * open transactions. Saved in `.snapshot` files, so that only the end of the log is replayed at start.
 * Belongs to one plog and is guarded by its lock.
 */
#ifndef BARNABAS_LOG_PRODUCERS_INTERNAL_H
#define BARNABAS_LOG_PRODUCERS_INTERNAL_H

#include "base/hash.h"
#include "log/file.h"
#include "log/plog.h"
#include "log/txn_index_internal.h"

enum { PRODUCER_BATCHES = 5 };

struct producer_batch {
    int32_t last_sequence;
    int32_t offset_delta; /* last offset - first offset */
    int64_t last_offset;
    int64_t timestamp;
};

struct txn_span {
    int64_t first, last; /* offsets: of its first batch, and of its marker */
};

struct producer {
    int64_t id;
    int16_t epoch;
    uint8_t batch_count, batch_room; /* room for one, as most that come and go write no more, or for all */
    bool from_snapshot;              /* nobody has looked for the batches before its last one */
    bool refused_only;               /* nothing of it is in the log */
    bool lap;                        /* that of `producers`: it is copied, or came after the copy was begun */
    int32_t due;                     /* while no batch is known: no sequence above this may come */
    int32_t coordinator_epoch;
    struct producer_batch *batches; /* oldest first */
    int64_t txn_first_offset;       /* -1: no open transaction */
    struct producer *open_prev, *open_next;
    int64_t last_timestamp;
    UT_hash_handle hh;
};

struct producers {
    struct producer *by_id;             /* uthash */
    struct producer *to_expire;         /* the next one that is looked at; NULL: all were */
    struct producer *to_copy;           /* the next one that may have to be copied */
    struct producers_copy *copy;        /* that is being filled; NULL: none */
    bool lap;                           /* changes with each copy that is begun */
    struct producer *open;              /* those inside a transaction, by where it begins */
    struct verification *verifications; /* uthash; in memory only */
    int64_t last_guard;
    int64_t map_end_offset; /* of the log up to which this state is true */
    /* Transactions whose marker is not committed yet, by marker: until it is, they count as open. */
    struct txn_span *decided;
    size_t decided_count, decided_cap;
};

void producers_deinit(struct producers *p);
void producers_clear(struct producers *p, int64_t map_end_offset);

/*
 * What a leader asks before it appends `b`: ERR_NONE, with the offsets of the first append in `dup` when
 * the batch is a repetition, or the reason to refuse it.
 */
enum kafka_error producers_check(const struct producers *p, const struct prepared *prepared, const struct batch *b,
                                 struct producer_batch *dup, bool *is_dup);
/* See plog_begin_verification(). */
int64_t producers_begin_verification(struct producers *p, int64_t id, int16_t epoch, int32_t sequence, int64_t now);
/*
 * Notes a batch of a producer that nothing is known of, which was refused although it is fit for the log. Any sequence
 * may be an unknown producer's first, but not one that follows what was refused: the producer has more batches under
 * way, and these must not get ahead of it. Kept in memory only.
 */
void producers_note_refused(struct producers *p, const struct batch *b, int64_t now);
/* The last sequence that is known of that producer, NO_SEQUENCE if none. */
int32_t producers_last_sequence(const struct producers *p, int64_t id);
/*
 * A snapshot has a producer's last batch only (Kafka's format), but any of the last five may come again. Whether others
 * may be in the log before `*first_known`, the first offset that is known of it; asked once for each producer.
 */
bool producers_may_recall(struct producers *p, int64_t id, int64_t *first_known);
/* Batches of that producer from before those that are known, oldest first. The last ones of its epoch are taken. */
void producers_recall(struct producers *p, int64_t id, const struct batch *batches, int count);
/* What a leader asks before it appends a marker: ERR_NONE, or why its coordinator is behind the times. */
enum kafka_error producers_check_marker(const struct producers *p, const struct batch *b, int32_t coordinator_epoch);

/*
 * Notes a batch that is in the log, its offsets final. Returns whether it is an abort of a transaction with data in the
 * log, which `aborted` is then about.
 */
bool producers_note(struct producers *p, const struct batch *b, struct txn_entry *aborted);
/* What is below the high watermark is committed. Returns whether a transaction has been settled by that. */
bool producers_commit(struct producers *p, int64_t high_watermark);
struct producer_last {
    int64_t id;
    int64_t last_offset; /* of its last batch with data; -1: none is known */
    int16_t epoch;
};

/* Those that have something in the log, in any order, on the heap. Returns their count. */
size_t producers_last_batches(const struct producers *p, struct producer_last **out);
void producers_sort_last_batches(struct producer_last *v, size_t count); /* by id; needs no lock */
size_t producers_count(const struct producers *p);
int64_t producers_oldest_open_ms(const struct producers *p); /* see struct plog_producer_counts */
/* See plog_producers(). */
int32_t producers_describe(const struct producers *p, struct arena *a, struct producer_state **out);
/* First offset of the oldest transaction that is open, or whose end is not committed; INT64_MAX if there is none. */
int64_t producers_first_unstable(const struct producers *p);
/*
 * Forgets producers idle since before `since`, except those inside a transaction; and verifications from before. In
 * steps, between which the log may be used, as there may be millions of them: whether there is more to do.
 */
void producers_expire_begin(struct producers *p, int64_t since);
bool producers_expire_step(struct producers *p, int64_t since);

/* ---- Snapshots: producers_snapshot.c ---- */

/*
 * What a snapshot file is to have: the state as it was when the copy was begun, though the log is appended to while it
 * is filled. A producer that changes meanwhile is copied before. It belongs to who began it.
 */
struct producers_copy {
    int64_t offset;              /* of the log up to which it goes */
    struct producers_copy *next; /* for its owner's list */
    uint8_t *data;               /* the file's: header, entries */
    size_t len, room;
};

/* In no time, however many there are, unless the copy before is not whole yet: that is filled first. */
struct producers_copy *producers_copy_begin(struct producers *p, int64_t offset);
/* Copies some, if any copy is not whole yet. Whether there is more to do: the log may be used in between. */
bool producers_copy_step(struct producers *p);
void producers_copy_finish(struct producers *p);
/* One more, before it changes or goes. */
void producers_copy_one(struct producers *p, struct producer *x);
/*
 * A whole copy, by any thread. Unless it is synced it may not reach the disk: that is seen by its checksum, and the one
 * before it is used.
 */
bool producers_copy_write(struct producers_copy *copy, const char *path, bool sync) NODISCARD;
void producers_copy_free(struct producers_copy *copy);
/*
 * Replaces the state; without FILE_FOUND it is cleared. A broken file is as good as FILE_MISSING. Who has expired
 * meanwhile comes back, unlike in Kafka, until the next expiry: its time is that of its records, which may be old ones
 * that are being copied at this moment, and repeated after the restart.
 */
enum file_result producers_load(struct producers *p, const char *path, int64_t offset) NODISCARD;
/* What the file says of a producer; the order of such transactions is restored at the end. */
void producers_restore(struct producers *p, const struct producer_state *state, const struct producer_batch *last);
void producers_restored(struct producers *p);

#endif
