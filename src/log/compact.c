/*
 * A pass of compaction: what there is to do, the map of keys, and the writing of segments.
 *
 *   map     the dirty part is read, from where the last pass ended up to the active segment or the recovery point, and
 *           each key's newest offset noted, as far as the map's memory goes.
 *   write   all segments up to there are read again, neighbours together as long as they fit into one: a record stays
 *           if no newer one of its key is in the map (compact_filter.c has the rules).
 *   swap    the new segment takes the place of the old ones in memory, with the log locked; then its files go from
 *           .cleaned by .swap to their names, with only `files` locked. At any moment of that loading finds its way.
 *
 * Nothing above the recovery point is compacted: what makes other records old must not be lost itself. A cut, deletion
 * or another policy ends the pass at its next step, without a trace.
 */
#include "log/compact_internal.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/logger.h"
#include "log/file.h"
#include "log/scan_internal.h"

/* ---- What there is to do ---- */

static int64_t oldest_dirty_time(struct plog *log, size_t from)
{
    int64_t oldest = INT64_MAX;
    for (size_t i = from; i + 1 < log->segment_count; i++) {
        struct segment *s = log->segments[i];
        struct batch b;
        if (s->first_timestamp == NO_TIMESTAMP && segment_peek(s, log->path, 0, false, &b) == FIND_OK)
            s->first_timestamp = b.max_timestamp;
        if (s->first_timestamp > 0)
            oldest = MIN(oldest, s->first_timestamp);
    }
    return oldest;
}

static int64_t overdue_ms(struct plog *log, size_t from, int64_t now)
{
    int64_t lag = log->config.max_compaction_lag_ms;
    int64_t oldest = lag < INT64_MAX ? oldest_dirty_time(log, from) : INT64_MAX;
    return oldest < now - lag ? now - lag - oldest : 0;
}

/* Base offset of the first segment with a record that is safe from compaction yet. */
static int64_t end_by_age(struct plog *log, size_t from, int64_t now)
{
    for (size_t i = from; log->config.min_compaction_lag_ms > 0 && i + 1 < log->segment_count; i++)
        if (plog_largest_timestamp(log, log->segments[i]) > now - log->config.min_compaction_lag_ms)
            return log->segments[i]->base_offset;
    return INT64_MAX;
}

static bool is_compactable(const struct plog *log)
{
    ensure(lock_is_held(&log->lock));
    return plog_is_writable(log) && !log->compacting && !log->uncompacted && !log->uncleanable &&
           !plog_is_future(log) && (log->config.cleanup_policy & CLEANUP_POLICY_COMPACT);
}

/* The end of what is clean; the log's start when it has moved past it, or is compacted for the first time. */
static int64_t first_dirty_offset(struct plog *log)
{
    int64_t start = atomic_load(&log->start);
    if (log->clean_end < 0)
        return start;
    if (log->clean_end < start || log->clean_end > (int64_t)atomic_load(&log->end)) {
        log->clean_end = start;
        log->clean_end_unsaved = true;
    }
    return log->clean_end;
}

static void compaction_survey(struct plog *log, int64_t now, struct cleanable *out)
{
    ensure(lock_is_held(&log->lock));
    *out = (struct cleanable){.first_dirty = first_dirty_offset(log)};
    size_t first = plog_segment_index(log, out->first_dirty);
    int64_t end = MIN(plog_last_stable_offset(log), end_by_age(log, first, now));
    end = MIN(end, log->recovery_point); /* what makes others old must not be lost itself */
    size_t last = plog_segment_index(log, MAX(end, out->first_dirty)); /* the active one at most */
    ensure(last < log->segment_count && first <= last);
    out->end = log->segments[last]->base_offset;
    for (size_t i = 0; i < last; i++) {
        const struct segment *s = log->segments[i];
        if (s->base_offset < out->first_dirty)
            out->clean_bytes += s->size;
        if (i >= first)
            out->dirty_bytes += s->size;
    }
    if (out->dirty_bytes > 0)
        out->ratio = (double)out->dirty_bytes / (double)(out->clean_bytes + out->dirty_bytes);
    out->overdue_ms = overdue_ms(log, first, now);
    out->due = out->ratio > log->config.min_cleanable_dirty_ratio || (out->dirty_bytes > 0 && out->overdue_ms > 0);
}

bool plog_is_uncleanable(struct plog *log)
{
    lock_take(&log->lock);
    bool uncleanable = log->uncleanable;
    lock_release(&log->lock);
    return uncleanable;
}

bool plog_cleanable(struct plog *log, int64_t now, struct cleanable *out)
{
    lock_take(&log->lock);
    bool ok = is_compactable(log);
    if (ok)
        compaction_survey(log, now, out);
    lock_release(&log->lock);
    return ok;
}

void plog_pause_compaction(struct plog *log, bool pause)
{
    lock_take(&log->lock);
    log->uncompacted = pause;
    lock_release(&log->lock);
}

/* ---- The pass ---- */

struct source { /* a segment to be read */
    int64_t base, size;
};

struct keyed_offset {
    struct offset_key key;
    int64_t offset;
};

struct compaction {
    struct plog *log;
    struct compact_limits limits;
    int64_t now, cuts;
    struct cleanable range;
    struct source *sources;
    size_t count, at; /* the one that is read, or is next */
    enum compact_result (*step)(struct compaction *c);
    int64_t bytes; /* read and written by this step */
    struct offset_map *map;
    struct keyed_offset *keys; /* of the batch at hand */
    size_t key_count, key_cap;
    struct compact_txns txns;
    struct compact_filter filter;
    int64_t old_horizon; /* segments of old formats written before it lose their tombstones */

    struct file_ref *file; /* of the source that is read; NULL: none */
    int64_t mtime_ms;      /* its own */
    struct scan scan;

    size_t group, group_end; /* the sources that become one segment */
    struct segment *out;     /* that segment; NULL: none yet */
    struct strbuf pending;   /* and what is still to be written to it */
    int64_t out_next;        /* offset */
    int32_t index_interval;
    int64_t bytes_before, bytes_after;
    int64_t bytes_read;
};

static enum compact_result begin_group(struct compaction *c);
static enum compact_result clean_some(struct compaction *c);

/* With the log's lock held: whether the log is still what this pass began with, but for appends. */
static bool compaction_is_valid(const struct compaction *c)
{
    ensure(lock_is_held(&c->log->lock));
    return plog_is_writable(c->log) && !c->log->uncompacted && c->log->cuts == c->cuts &&
           (c->log->config.cleanup_policy & CLEANUP_POLICY_COMPACT);
}

static bool lock_if_valid(struct compaction *c)
{
    lock_take(&c->log->lock);
    if (compaction_is_valid(c))
        return true;
    lock_release(&c->log->lock);
    return false;
}

static enum compact_result aborted(struct compaction *c)
{
    log_info("The compaction of %s-%" PRId32 " is aborted", c->log->topic, c->log->partition);
    return COMPACT_ABORTED;
}

/* Nobody is to blame for what a truncation or deletion has taken away. Without a descriptor it is tried again later. */
static enum compact_result disk_failed(struct compaction *c)
{
    if (file_ran_out() || !lock_if_valid(c))
        return aborted(c);
    c->log->uncleanable = true;
    lock_release(&c->log->lock);
    plog_failed(c->log, "compaction failed");
    return COMPACT_FAILED;
}

static enum compact_result damaged(struct compaction *c, const char *what)
{
    if (!lock_if_valid(c))
        return aborted(c);
    c->log->uncleanable = true;
    log_error("%s cannot be compacted and is left as it is until a restart: %s in segment %020" PRId64 " before "
              "position %" PRId64,
              c->log->path, what, c->sources[c->at].base, c->scan.pos);
    lock_release(&c->log->lock);
    return COMPACT_FAILED;
}

static int64_t next_base(const struct compaction *c, size_t i)
{
    return i + 1 < c->count ? c->sources[i + 1].base : c->range.end;
}

/* ---- Reading ---- */

static void close_source(struct compaction *c)
{
    if (c->file == NULL)
        return;
    scan_deinit(&c->scan);
    file_ref_put(c->file);
    c->file = NULL;
}

/* With the log's lock held, from the batch on that holds `offset`. FIND_OK, FIND_ERROR, or FIND_CORRUPT. */
static enum find_result open_source_locked(struct compaction *c, int64_t offset)
{
    ensure(lock_is_held(&c->log->lock));
    struct plog *log = c->log;
    const struct source *source = &c->sources[c->at];
    struct segment *s = log->segments[plog_segment_index(log, source->base)];
    struct position at = {0};
    ensure(s->base_offset == source->base && s->size == source->size);
    if (!segment_open_file(s, log->path, false))
        return FIND_ERROR;
    enum find_result found = offset > source->base ? segment_find(s, log->path, offset, false, &at) : FIND_OK;
    if (find_failed(found))
        return found;
    file_ref_get(s->file);
    c->file = s->file;
    c->mtime_ms = file_mtime_ms(s->file->fd);
    scan_init(&c->scan, s->file->fd, log->topic, at.pos, s->size, c->limits.chunk);
    return FIND_OK;
}

/* Unless one is open. COMPACT_MORE: go on. */
static enum compact_result open_next(struct compaction *c, enum find_result (*open_locked)(struct compaction *c))
{
    if (c->file != NULL)
        return COMPACT_MORE;
    if (!lock_if_valid(c))
        return aborted(c);
    enum find_result opened = open_locked(c);
    lock_release(&c->log->lock);
    if (opened == FIND_CORRUPT) {
        c->scan.pos = c->sources[c->at].size;
        return damaged(c, "no sound batch");
    }
    return opened == FIND_OK ? COMPACT_MORE : disk_failed(c);
}

static bool learn_aborted(struct compaction *c, int64_t from, int64_t to)
{
    struct txn_entry *entries;
    size_t count;
    bool ok = plog_txn_entries(c->log, from, atomic_load(&c->log->start), to, &entries, &count);
    compact_txns_add(&c->txns, entries, count);
    free(entries);
    return ok;
}

/* ---- The map ---- */

enum mapped { MAPPED, MAP_FULL, MAP_DAMAGED };

/* The batch's keys that count, all before the first is looked up. */
static enum mapped read_keys(struct compaction *c, const struct batch *b)
{
    struct arena a;
    struct record r;
    int rc;
    c->key_count = 0;
    arena_init(&a, (size_t)1 << 30);
    struct record_iter *it = record_iter_new(b, &a);
    while ((rc = record_iter_next(it, &r)) > 0 && r.offset <= b->last_offset) {
        if (r.key.p == NULL || r.offset < c->range.first_dirty)
            continue;
        c->keys = xgrow(c->keys, c->key_count + 1, &c->key_cap, sizeof(*c->keys));
        c->keys[c->key_count++] = (struct keyed_offset){offset_map_key(c->map, r.key), r.offset};
    }
    record_iter_free(it);
    arena_deinit(&a);
    return rc == 0 ? MAPPED : MAP_DAMAGED;
}

static enum mapped map_records(struct compaction *c, const struct batch *b)
{
    enum mapped result = read_keys(c, b);
    for (size_t i = 0; i < c->key_count && result == MAPPED; i++) {
        if (offset_map_put(c->map, c->keys[i].key, c->keys[i].offset))
            c->filter.last_mapped = c->keys[i].offset;
        else
            result = MAP_FULL;
    }
    return result;
}

static enum mapped map_batch(struct compaction *c, const struct batch *b)
{
    if (!batch_crc_ok(b) || b->last_offset >= next_base(c, c->at))
        return MAP_DAMAGED;
    enum mapped result = MAPPED;
    if (batch_is_control(b))
        compact_txns_marker(&c->txns, b);
    else if (!compact_txns_data(&c->txns, b))
        result = map_records(c, b);
    if (result == MAPPED && b->last_offset >= c->range.first_dirty)
        c->filter.last_mapped = b->last_offset;
    return result;
}

/* From here on only segments with something below the map's end matter. */
static enum compact_result end_map(struct compaction *c)
{
    close_source(c);
    compact_txns_deinit(&c->txns);
    while (c->count > 0 && c->sources[c->count - 1].base > c->filter.last_mapped)
        c->count--;
    c->at = 0;
    c->step = begin_group;
    return COMPACT_MORE;
}

static enum compact_result end_mapped_source(struct compaction *c)
{
    if (c->scan.failed)
        return disk_failed(c);
    if (c->scan.pos < c->scan.size)
        return damaged(c, "no sound batch");
    close_source(c);
    c->filter.last_mapped = next_base(c, c->at) - 1;
    if (++c->at == c->count)
        return end_map(c);
    return COMPACT_MORE;
}

static void note_read(struct compaction *c, int32_t bytes)
{
    c->bytes += bytes;
    c->bytes_read += bytes;
}

static enum find_result open_for_mapping(struct compaction *c)
{
    return open_source_locked(c, c->range.first_dirty);
}

static enum compact_result map_some(struct compaction *c)
{
    enum compact_result opened = open_next(c, open_for_mapping);
    if (opened != COMPACT_MORE)
        return opened;
    struct batch b;
    while (c->bytes < (int64_t)c->limits.chunk) {
        if (scan_next(&c->scan, &b) != BATCH_OK)
            return end_mapped_source(c);
        note_read(c, b.size);
        enum mapped result = map_batch(c, &b);
        if (result == MAP_DAMAGED)
            return damaged(c, "a damaged batch");
        if (result == MAP_FULL)
            return end_map(c);
    }
    return COMPACT_MORE;
}

/* ---- Groups ---- */

struct group_size {
    int64_t log, offsets, times;
};

static bool add_to_group(struct plog *log, const struct source *source, struct group_size *sum)
{
    struct segment *s = log->segments[plog_segment_index(log, source->base)];
    if (!segment_load_indexes(s, log->path, false))
        return false;
    sum->log += s->size;
    sum->offsets += (int64_t)s->offsets.count * OFFSET_ENTRY;
    sum->times += (int64_t)s->times.count * TIME_ENTRY;
    return true;
}

/* Segments that fit into one, together with their indexes and offsets. */
static bool compaction_choose_group(struct compaction *c)
{
    const struct topic_config *config = &c->log->config;
    struct group_size sum = {0};
    ensure(c->at < c->count && c->out == NULL);
    c->group = c->at;
    c->group_end = c->at + 1;
    if (!add_to_group(c->log, &c->sources[c->group], &sum))
        return false;
    for (; c->group_end < c->count; c->group_end++) {
        const struct source *s = &c->sources[c->group_end];
        if (!add_to_group(c->log, s, &sum))
            return false;
        bool far = s->size > 0 && next_base(c, c->group_end) - 1 - c->sources[c->group].base > INT32_MAX;
        if (sum.log > config->segment_bytes || sum.offsets > config->segment_index_bytes ||
            sum.times > config->segment_index_bytes || far)
            break;
    }
    return true;
}

static bool create_out(struct compaction *c)
{
    struct plog *log = c->log;
    char path[PATH_ROOM];
    int64_t base = c->sources[c->group].base;
    lock_take(&log->files);
    bool ok = segment_delete_files(base, log->path, ".cleaned");
    int fd = ok ? file_open_to_stay(segment_path(path, log->path, base, ".log.cleaned"), true) : -1;
    lock_release(&log->files);
    if (fd < 0)
        return false;
    c->out = segment_new(base);
    c->out->file = file_ref_new(fd);
    c->out_next = base;
    index_init(&c->out->offsets, OFFSET_ENTRY);
    index_init(&c->out->times, TIME_ENTRY);
    return true;
}

static enum compact_result compaction_finish(struct compaction *c)
{
    struct plog *log = c->log;
    if (!lock_if_valid(c))
        return aborted(c);
    ensure(c->filter.last_mapped < c->range.end && c->range.end <= log->recovery_point);
    log->clean_end = c->filter.last_mapped + 1;
    log->clean_end_unsaved = true;
    plog_check(log);
    lock_release(&log->lock);
    log_info("Compacted %s-%" PRId32 ": offsets %" PRId64 " to %" PRId64 " with %zu keys (%zu%% of the memory for "
             "them); from %" PRId64 " to %" PRId64 " bytes, from %" PRId64 " to %" PRId64 " records",
             log->topic, log->partition, c->range.first_dirty, c->filter.last_mapped, offset_map_count(c->map),
             100 * offset_map_count(c->map) / offset_map_room(c->map), c->bytes_before, c->bytes_after,
             c->filter.records_read, c->filter.records_kept);
    return COMPACT_DONE;
}

static enum compact_result begin_group(struct compaction *c)
{
    if (c->at == c->count)
        return compaction_finish(c);
    if (!lock_if_valid(c))
        return aborted(c);
    bool ok = compaction_choose_group(c);
    free(c->filter.producers);
    c->filter.producer_count = producers_last_batches(&c->log->producers, &c->filter.producers);
    c->filter.delete_retention_ms = c->log->config.delete_retention_ms;
    c->filter.last_offset = (int64_t)atomic_load(&c->log->end) - 1;
    c->index_interval = c->log->config.index_interval_bytes;
    lock_release(&c->log->lock);
    producers_sort_last_batches(c->filter.producers, c->filter.producer_count);
    c->step = clean_some;
    return ok && create_out(c) ? COMPACT_MORE : disk_failed(c);
}

/* ---- Writing ---- */

static bool write_pending(struct compaction *c)
{
    struct bytes bytes = {(const uint8_t *)c->pending.p, (int32_t)c->pending.len};
    if (bytes.len == 0)
        return true;
    if (!segment_append(c->out, c->log->topic, bytes, c->index_interval))
        return false;
    c->bytes += bytes.len;
    c->bytes_after += bytes.len;
    strbuf_clear(&c->pending);
    return true;
}

static bool save_index(struct compaction *c, struct index *x, const char *suffix)
{
    char path[PATH_ROOM];
    return index_save(x, segment_path(path, c->log->path, c->out->base_offset, suffix));
}

static bool save_aborted(struct compaction *c)
{
    char path[PATH_ROOM];
    struct segment *s = c->out;
    s->aborts = c->txns.index;
    c->txns.index = (struct strbuf){0};
    s->no_aborts = s->aborts.len == 0;
    if (s->no_aborts)
        return true;
    segment_path(path, c->log->path, s->base_offset, ".txnindex.cleaned");
    int fd = file_open(path, true);
    bool ok = fd >= 0 && file_write_at(fd, s->aborts.p, s->aborts.len, 0, path);
    file_close(fd);
    return ok;
}

static bool save_indexes(struct compaction *c)
{
    ensure(lock_is_held(&c->log->files));
    struct segment *s = c->out;
    if (s->max_timestamp != NO_TIMESTAMP)
        time_index_add(&s->times, s->max_timestamp, (int32_t)(s->max_timestamp_offset - s->base_offset));
    return save_index(c, &s->offsets, ".index.cleaned") && save_index(c, &s->times, ".timeindex.cleaned") &&
           save_aborted(c);
}

/* What takes the place of what is on the disk must be there as well. `dir` as it was called when they were written. */
static bool sync_out(struct compaction *c, const char *dir)
{
    return file_set_mtime_ms(c->out->file->fd, c->mtime_ms, dir) && file_sync(c->out->file->fd, dir) &&
           segment_sync_indexes(c->out->base_offset, dir, ".cleaned");
}

static enum compact_result swap(struct compaction *c)
{
    struct plog *log = c->log;
    file_clear_error();
    lock_take(&log->files);
    /* Which may be wanting descriptors, and is not to come between the renames. */
    if (!plog_settle_snapshots(log)) {
        lock_release(&log->files);
        return disk_failed(c);
    }
    if (!lock_if_valid(c)) {
        lock_release(&log->files);
        return aborted(c);
    }
    struct segment *s = c->out;
    ensure(c->group < c->group_end && c->group_end <= c->count);
    char *dir = xstrdup(log->path);
    struct retired old = plog_swap_in(log, plog_segment_index(log, s->base_offset), c->group_end - c->group, s);
    c->out = NULL;
    lock_release(&log->lock);
    bool ok = plog_swap_files(log, s->base_offset, &old);
    lock_take(&log->lock);
    if (ok)
        segment_unload(s); /* it has files to be read again from */
    lock_release(&log->lock);
    lock_release(&log->files);
    ok = ok && dir_sync(dir);
    free(dir);
    return ok ? COMPACT_MORE : disk_failed(c);
}

static enum compact_result finish_group(struct compaction *c)
{
    if (!write_pending(c))
        return disk_failed(c);
    lock_take(&c->log->files);
    char *dir = xstrdup(c->log->path);
    bool ok = save_indexes(c);
    lock_release(&c->log->files);
    ok = ok && sync_out(c, dir);
    free(dir);
    c->step = begin_group;
    return ok ? swap(c) : disk_failed(c);
}

static enum compact_result end_cleaned_source(struct compaction *c)
{
    if (c->scan.failed)
        return disk_failed(c);
    if (c->scan.pos < c->scan.size)
        return damaged(c, "no sound batch");
    close_source(c);
    return ++c->at == c->group_end ? finish_group(c) : COMPACT_MORE;
}

static enum find_result open_for_cleaning(struct compaction *c)
{
    const struct source *s = &c->sources[c->at];
    enum find_result opened = open_source_locked(c, s->base);
    if (opened != FIND_OK || !learn_aborted(c, s->base, next_base(c, c->at)))
        return opened != FIND_OK ? opened : FIND_ERROR;
    c->filter.keep_old_tombstones = c->mtime_ms > c->old_horizon;
    c->bytes_before += s->size;
    return FIND_OK;
}

/* What comes must be behind what was, or the index could not find it. */
static bool clean_batch(struct compaction *c, const struct batch *b)
{
    if (!batch_crc_ok(b) || b->last_offset < c->out_next || b->last_offset - c->out->base_offset > INT32_MAX)
        return false;
    c->out_next = b->last_offset + 1;
    return compact_filter_batch(&c->filter, b, &c->pending) && c->out->size + (int64_t)c->pending.len <= INT32_MAX;
}

static enum compact_result clean_some(struct compaction *c)
{
    enum compact_result opened = open_next(c, open_for_cleaning);
    if (opened != COMPACT_MORE)
        return opened;
    struct batch b;
    while (c->bytes < (int64_t)c->limits.chunk) {
        if (scan_next(&c->scan, &b) != BATCH_OK)
            return end_cleaned_source(c);
        note_read(c, b.size);
        if (!clean_batch(c, &b))
            return damaged(c, "a batch that cannot be copied");
    }
    return write_pending(c) ? COMPACT_MORE : disk_failed(c);
}

/* ---- Beginning and end ---- */

/* Tombstones of old formats go when their segment is older than the last clean one by the time that they have. */
static int64_t find_old_horizon(struct plog *log, int64_t first_dirty)
{
    if (first_dirty <= log->segments[0]->base_offset)
        return 0;
    struct segment *s = log->segments[plog_segment_index(log, first_dirty - 1)];
    int64_t written_ms = segment_written_ms(s, log->path);
    return written_ms != INT64_MAX ? written_ms - log->config.delete_retention_ms : INT64_MIN;
}

static void list_sources(struct compaction *c)
{
    struct plog *log = c->log;
    size_t last = plog_segment_index(log, c->range.end);
    c->sources = xcalloc(last + 1, sizeof(*c->sources));
    for (; c->count < last; c->count++) {
        const struct segment *s = log->segments[c->count];
        c->sources[c->count] = (struct source){s->base_offset, s->size};
    }
}

/* There cannot be more keys than offsets. */
static size_t map_size(const struct compaction *c)
{
    double offsets = (double)(c->range.end - c->range.first_dirty) + 2;
    double bytes = MIN(offsets / c->limits.load_factor * OFFSET_MAP_ENTRY, (double)c->limits.map_bytes);
    return (size_t)bytes;
}

/* False when there is nothing to do. */
static bool compaction_prepare(struct compaction *c)
{
    struct plog *log = c->log;
    compaction_survey(log, c->now, &c->range);
    if (c->range.dirty_bytes == 0)
        return false;
    ensure(!log->compacting && c->range.end <= log->recovery_point);
    log->compacting = true;
    c->cuts = log->cuts;
    list_sources(c);
    c->at = plog_segment_index(log, c->range.first_dirty);
    c->old_horizon = find_old_horizon(log, c->range.first_dirty);
    c->map = offset_map_new(map_size(c), c->limits.load_factor);
    c->filter = (struct compact_filter){.map = c->map, .last_mapped = -1, .now = c->now, .txns = &c->txns};
    if (!learn_aborted(c, c->range.first_dirty, c->range.end))
        c->step = disk_failed;
    return true;
}

struct compaction *compaction_new(struct plog *log, const struct compact_limits *limits, int64_t now)
{
    struct compaction *c = xcalloc(1, sizeof(*c));
    *c = (struct compaction){.log = log, .limits = *limits, .now = now, .step = map_some};
    lock_take(&log->lock);
    bool mine = is_compactable(log) && compaction_prepare(c);
    lock_release(&log->lock);
    if (!mine) {
        free(c);
        return NULL;
    }
    plog_ref(log);
    return c;
}

enum compact_result compaction_step(struct compaction *c, int64_t *bytes)
{
    c->bytes = 0;
    file_clear_error();
    enum compact_result result = c->step(c);
    *bytes += c->bytes;
    return result;
}

/* An unfinished segment. In a log that was cut there may be another one with files of these names; not with ".cleaned".
 */
static void drop_out(struct compaction *c)
{
    if (c->out == NULL)
        return;
    segment_delete_files(c->out->base_offset, c->log->path, ".cleaned");
    segment_free(c->out);
}

struct compaction_figures compaction_read(const struct compaction *c)
{
    size_t room = offset_map_room(c->map);
    int64_t all = 2 * c->range.dirty_bytes + c->range.clean_bytes; /* what is dirty is read for the map, too */
    return (struct compaction_figures){c->bytes_before, c->bytes_after,
                                       room > 0 ? (int)(100 * offset_map_count(c->map) / room) : 0,
                                       all > 0 ? (int)MIN(100 * c->bytes_read / all, INT64_C(100)) : 0};
}

void compaction_free(struct compaction *c)
{
    if (c == NULL)
        return;
    close_source(c);
    lock_take(&c->log->files);
    drop_out(c);
    lock_release(&c->log->files);
    lock_take(&c->log->lock);
    ensure(c->log->compacting);
    c->log->compacting = false;
    lock_release(&c->log->lock);
    plog_unref(c->log);
    offset_map_free(c->map);
    free(c->keys);
    compact_txns_deinit(&c->txns);
    compact_filter_deinit(&c->filter);
    strbuf_deinit(&c->pending);
    free(c->sources);
    free(c);
}
