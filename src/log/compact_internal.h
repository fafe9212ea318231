/* The inside of a compaction pass. */
#ifndef BARNABAS_LOG_COMPACT_INTERNAL_H
#define BARNABAS_LOG_COMPACT_INTERNAL_H

#include "log/compaction.h"
#include "log/offset_map_internal.h"
#include "log/plog_internal.h"

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
    int64_t last_offset; /* that the log has */
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
