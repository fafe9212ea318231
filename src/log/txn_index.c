#include "log/txn_index_internal.h"

enum { VERSION = 0, PRODUCER_AT = 2, FIRST_AT = 10, LAST_AT = 18, STABLE_AT = 26 };

_Static_assert(STABLE_AT + 8 == TXN_ENTRY, "the last stable offset comes last");

struct txn_entry txn_entry_get(const uint8_t *p)
{
    return (struct txn_entry){.producer_id = (int64_t)be64_get(p + PRODUCER_AT),
                              .first_offset = (int64_t)be64_get(p + FIRST_AT),
                              .last_offset = (int64_t)be64_get(p + LAST_AT),
                              .last_stable_offset = (int64_t)be64_get(p + STABLE_AT)};
}

void txn_entry_put(struct strbuf *out, const struct txn_entry *e)
{
    uint8_t *p = strbuf_extend(out, TXN_ENTRY);
    be16_put(p, VERSION);
    be64_put(p + PRODUCER_AT, (uint64_t)e->producer_id);
    be64_put(p + FIRST_AT, (uint64_t)e->first_offset);
    be64_put(p + LAST_AT, (uint64_t)e->last_offset);
    be64_put(p + STABLE_AT, (uint64_t)e->last_stable_offset);
}

int txn_entry_order(const void *a, const void *b)
{
    const struct txn_entry *x = a, *y = b;
    return (x->first_offset > y->first_offset) - (x->first_offset < y->first_offset);
}
