/*
 * Compaction of one log (Kafka's log cleaner): of each key the newest record stays. A pass reads the part of the log
 * that was written since the last one and notes the newest offset of each key in a map of fixed size; then it writes
 * all segments up to there again without what the map says is old, many small ones into one.
 *
 * A pass goes in steps of bounded size, so that whoever runs it can do something else in between: it holds no lock, and
 * appends and reads go on. The log's lock is taken to look and to swap. What would pull the ground from under a pass
 * (truncation, deletion, another policy) is noticed at the next step, and the pass ends without a trace.
 */
#ifndef BARNABAS_COMPACT_INTERNAL_H
#define BARNABAS_COMPACT_INTERNAL_H

#include "storage/offset_map_internal.h"
#include "storage/plog_internal.h"

/* ---- compact.c ---- */

/* What there is to do in a log. */
struct cleanable {
    int64_t first_dirty, end; /* the range whose keys count; `end` is where a segment begins */
    int64_t clean_bytes, dirty_bytes;
    double ratio; /* of what is dirty to all up to `end` */
    bool due;     /* it is above min.cleanable.dirty.ratio, or max.compaction.lag.ms has passed for something of it */
};

/* False when the log is not to be compacted, or by somebody else at the moment. */
bool plog_cleanable(struct plog *log, int64_t now, struct cleanable *out);

struct compact_limits {
    size_t map_bytes;   /* of memory for keys, at most */
    double load_factor; /* of that memory */
    size_t chunk;       /* bytes that are read at a time */
};

enum compact_result {
    COMPACT_MORE,    /* there are more steps to do */
    COMPACT_DONE,    /* the log is clean up to the end of the map */
    COMPACT_ABORTED, /* the log was cut, closed, or is not to be compacted any more */
    COMPACT_FAILED,  /* and is not to be tried again: it is uncleanable, or its disk has failed */
};

struct compaction;

/* NULL when there is nothing to do, or somebody does it already. Holds a reference to the log. */
struct compaction *compaction_new(struct plog *log, const struct compact_limits *limits, int64_t now);
/* Does about a chunk's work; adds what it has read and written to `*bytes`. Not to be called again after its end. */
enum compact_result compaction_step(struct compaction *c, int64_t *bytes) NODISCARD;
/* Before its end, too: then nothing is left of what was not put in place. */
void compaction_free(struct compaction *c);

/* ---- compact_txns.c ---- */

/* Transactions as they are met on the way through the log. */
struct compact_txns {
    struct txn_entry *aborted; /* by first offset; those before `next` have been met */
    size_t count, cap, next;
    struct open_txn *open; /* uthash; data was met, or is to come, and no marker yet */
    struct strbuf index;   /* entries of aborted ones that still have data in the log */
};

void compact_txns_deinit(struct compact_txns *t);
/* Those that may begin in what comes. Repetitions do no harm. */
void compact_txns_add(struct compact_txns *t, const struct txn_entry *entries, size_t count);
/* Whether the batch of data is one of an aborted transaction. */
bool compact_txns_data(struct compact_txns *t, const struct batch *b);
/* Whether nothing of the marker's transaction was met, so that it may go in time. */
bool compact_txns_marker(struct compact_txns *t, const struct batch *b);

/* ---- compact_filter.c ---- */

/* What decides which records stay. */
struct compact_filter {
    const struct offset_map *map;
    int64_t last_mapped; /* the map knows all keys up to here */
    int64_t now, delete_retention_ms;
    bool keep_old_tombstones; /* of formats that have no delete horizon */
    struct compact_txns *txns;
    struct producer_last *producers; /* by id */
    size_t producer_count;
    int64_t records_read, records_kept;
    struct record *records;  /* of the batch at hand; in the end those that stay */
    struct offset_key *keys; /* of those that have one */
    size_t record_count, record_cap, key_cap;
};

/* Appends what stays of the batch to `out`. False when it is damaged. */
bool compact_filter_batch(struct compact_filter *f, const struct batch *b, struct strbuf *out) NODISCARD;
void compact_filter_deinit(struct compact_filter *f);

#endif
