/* Which records of a batch compaction keeps, and what is written of it: Kafka's rules, to the record. */
#include "log/compact_internal.h"

/* Of decompressed records; a batch that has more cannot be compacted. */
static const size_t largest_batch = (size_t)1 << 30;

static const struct producer_last *filter_find_producer(const struct compact_filter *f, int64_t id)
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
    const struct producer_last *last = batch_has_producer(b) ? filter_find_producer(f, b->producer_id) : NULL;
    if (last == NULL)
        return false;
    if (last->last_offset >= 0)
        return b->last_offset == last->last_offset;
    return batch_is_control(b) && b->producer_epoch == last->epoch;
}

/* Whether an empty batch stays in its place. Without the last one of all, nobody who copies the log comes to its end.
 */
static bool leaves_trace(const struct compact_filter *f, const struct batch *b)
{
    return (b->magic == 2 && b->last_offset == f->last_offset) || is_last_of_producer(f, b);
}

static bool keeps_tombstones(const struct compact_filter *f, const struct batch *b)
{
    if (b->magic < 2)
        return f->keep_old_tombstones;
    return !batch_has_delete_horizon(b) || f->now < b->base_timestamp;
}

static bool keeps_record(const struct compact_filter *f, const struct batch *b, size_t i)
{
    const struct record *r = &f->records[i];
    if (batch_is_control(b) || r->offset > f->last_mapped)
        return true;
    if (r->key.p == NULL || r->offset < offset_map_get(f->map, f->keys[i]))
        return false;
    return r->value.p != NULL || keeps_tombstones(f, b);
}

/* All records of the batch, with all keys before the first is looked up. What they point to may lie in the arena. */
static bool read_records(struct compact_filter *f, const struct batch *b, struct arena *a)
{
    struct record_iter *it = record_iter_new(b, a);
    struct record r;
    int64_t before = b->magic == 2 ? b->base_offset - 1 : -1;
    int rc;
    size_t n = 0;
    while ((rc = record_iter_next(it, &r)) > 0 && r.offset > before && r.offset <= b->last_offset) {
        before = r.offset;
        f->records = xgrow(f->records, n + 1, &f->record_cap, sizeof(*f->records));
        f->keys = xgrow(f->keys, n + 1, &f->key_cap, sizeof(*f->keys));
        f->keys[n] = r.key.p == NULL ? (struct offset_key){0} : offset_map_key(f->map, r.key);
        f->records[n++] = r;
    }
    record_iter_free(it);
    ensure(n <= f->record_cap && n <= f->key_cap);
    f->record_count = n;
    f->records_read += (int64_t)n;
    return rc == 0;
}

struct selection {
    bool all;        /* nothing goes */
    bool tombstones; /* among what stays */
};

static struct selection select_records(struct compact_filter *f, const struct batch *b)
{
    struct selection out = {.all = true};
    size_t kept = 0;
    for (size_t i = 0; i < f->record_count; i++) {
        if (!keeps_record(f, b, i)) {
            out.all = false;
            continue;
        }
        out.tombstones |= f->records[i].value.p == NULL;
        f->records[kept++] = f->records[i];
    }
    f->record_count = kept;
    f->records_kept += (int64_t)kept;
    ensure(f->records_kept <= f->records_read);
    return out;
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
    return batch_rewrite(b, f->records, (int32_t)f->record_count, horizon, out);
}

/* What stays of a batch whose records do not all go. */
static bool filter_records(struct compact_filter *f, const struct batch *b, bool marker_may_go, struct strbuf *out)
{
    struct arena a;
    arena_init(&a, largest_batch);
    bool ok = read_records(f, b, &a);
    if (ok) {
        struct selection s = select_records(f, b);
        if (f->record_count > 0)
            ok = write_kept(f, b, &s, marker_may_go, out);
        else if (leaves_trace(f, b))
            batch_write_empty(b, out);
    }
    arena_deinit(&a);
    return ok;
}

bool compact_filter_batch(struct compact_filter *f, const struct batch *b, struct strbuf *out)
{
    bool control = batch_is_control(b);
    bool may_go = control ? compact_txns_marker(f->txns, b) : compact_txns_data(f->txns, b);
    /* A marker has the time that a tombstone has: whoever reads the transaction now shall come to its end. */
    bool goes = may_go && (!control || (batch_has_delete_horizon(b) && b->base_timestamp <= f->now));
    if (!goes)
        return filter_records(f, b, may_go && control, out);
    f->records_read += b->count;
    if (leaves_trace(f, b))
        batch_write_empty(b, out);
    return true;
}

void compact_filter_deinit(struct compact_filter *f)
{
    free(f->producers);
    free(f->records);
    free(f->keys);
    *f = (struct compact_filter){0};
}
