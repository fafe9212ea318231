/* Which records of a batch compaction keeps, and what is written of it: Kafka's rules, to the record. */
#include "storage/compact_internal.h"

/* Of decompressed records; a batch that has more cannot be compacted. */
static const size_t largest_batch = (size_t)1 << 30;

static const struct producer_last *find_producer(const struct compact_filter *f, int64_t id)
{
    size_t lo = 0, hi = f->producer_count;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (f->producers[mid].id == id)
            return &f->producers[mid];
        if (f->producers[mid].id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

/*
 * Without its last batch a producer would be unknown after a restart, and its next one refused. Of one that has only
 * markers left, the marker has the epoch below which it is fenced.
 */
static bool is_last_of_producer(const struct compact_filter *f, const struct batch *b)
{
    const struct producer_last *last = b->producer_id == NO_PRODUCER_ID ? NULL : find_producer(f, b->producer_id);
    if (last == NULL)
        return false;
    if (last->last_offset >= 0)
        return b->last_offset == last->last_offset;
    return batch_is_control(b) && b->producer_epoch == last->epoch;
}

static bool keeps_tombstones(const struct compact_filter *f, const struct batch *b)
{
    if (b->magic < 2)
        return f->keep_old_tombstones;
    return !batch_has_delete_horizon(b) || f->now < b->base_timestamp;
}

static bool keeps_record(const struct compact_filter *f, const struct batch *b, const struct record *r)
{
    if (batch_is_control(b) || r->offset > f->last_mapped)
        return true;
    if (r->key.p == NULL || r->offset < offset_map_get(f->map, r->key))
        return false;
    return r->value.p != NULL || keeps_tombstones(f, b);
}

struct selection {
    bool all;        /* nothing goes */
    bool tombstones; /* among what stays */
};

/* Notes the records that stay in `kept`; their keys and values may lie in the arena. */
static bool select_records(struct compact_filter *f, const struct batch *b, bool none, struct arena *a,
                           struct selection *out)
{
    struct record_iter *it = record_iter_new(b, a);
    struct record r;
    int64_t before = b->magic == 2 ? b->base_offset - 1 : -1;
    int rc;
    *out = (struct selection){.all = true};
    f->kept_count = 0;
    while ((rc = record_iter_next(it, &r)) > 0 && r.offset > before && r.offset <= b->last_offset) {
        before = r.offset;
        f->records_read++;
        if (none || !keeps_record(f, b, &r)) {
            out->all = false;
            continue;
        }
        out->tombstones |= r.value.p == NULL;
        f->kept = xgrow(f->kept, f->kept_count + 1, &f->kept_cap, sizeof(r));
        f->kept[f->kept_count++] = r;
    }
    record_iter_free(it);
    f->records_kept += (int64_t)f->kept_count;
    return rc == 0;
}

static bool write_kept(struct compact_filter *f, const struct batch *b, const struct selection *s, bool marker_may_go,
                       struct strbuf *out)
{
    bool has_horizon = batch_has_delete_horizon(b);
    bool sets_horizon = b->magic == 2 && !has_horizon && (s->tombstones || marker_may_go);
    if (s->all && !sets_horizon) {
        strbuf_add(out, b->p, (size_t)b->size);
        return true;
    }
    int64_t horizon = has_horizon ? b->base_timestamp : NO_TIMESTAMP;
    if (sets_horizon && __builtin_add_overflow(f->now, f->delete_retention_ms, &horizon))
        horizon = INT64_MAX;
    return batch_rewrite(b, f->kept, (int32_t)f->kept_count, horizon, out);
}

bool compact_filter_batch(struct compact_filter *f, const struct batch *b, struct strbuf *out)
{
    struct arena a;
    struct selection s;
    bool control = batch_is_control(b);
    bool may_go = control ? compact_txns_marker(f->txns, b) : compact_txns_data(f->txns, b);
    /* A marker has the time that a tombstone has: whoever reads the transaction now shall come to its end. */
    bool goes = may_go && (!control || (batch_has_delete_horizon(b) && b->base_timestamp <= f->now));
    bool is_last = is_last_of_producer(f, b);
    if (goes && !is_last) {
        f->records_read += b->count;
        return true;
    }
    arena_init(&a, largest_batch);
    bool ok = select_records(f, b, goes, &a, &s);
    if (ok && f->kept_count > 0)
        ok = write_kept(f, b, &s, may_go && control, out);
    else if (ok && is_last)
        batch_write_empty(b, out);
    arena_deinit(&a);
    return ok;
}

void compact_filter_deinit(struct compact_filter *f)
{
    free(f->producers);
    free(f->kept);
    *f = (struct compact_filter){0};
}
