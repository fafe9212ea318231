/* Entries of `.txnindex`: the aborted transactions of a segment, in the order of their markers. */
#ifndef BARNABAS_LOG_TXN_INDEX_INTERNAL_H
#define BARNABAS_LOG_TXN_INDEX_INTERNAL_H

#include "base/strbuf.h"

/* i16 version, then i64 producer id, first, last and last stable offset. */
enum { TXN_ENTRY = 34 };

struct txn_entry {
    int64_t producer_id;
    int64_t first_offset, last_offset;
    int64_t last_stable_offset; /* when the marker was written */
};

struct txn_entry txn_entry_get(const uint8_t *p);
void txn_entry_put(struct strbuf *out, const struct txn_entry *e);
int txn_entry_order(const void *a, const void *b); /* by first offset, for qsort() */

#endif
