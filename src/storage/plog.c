/* A log's life outside of reading: appending, rolling, flushing, truncating. */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>

#include "base/chance.h"
#include "base/clock.h"
#include "base/logger.h"
#include "storage/file_internal.h"
#include "storage/plog_internal.h"

void plog_ref(struct plog *log)
{
    int before = atomic_fetch_add(&log->refs, 1);
    ensure(before > 0);
}

static void free_segments(struct plog *log)
{
    for (size_t i = 0; i < log->segment_count; i++)
        segment_free(log->segments[i]);
    free(log->segments);
    log->segments = NULL;
    log->segment_count = log->segment_cap = 0;
}

void plog_unref(struct plog *log)
{
    if (log == NULL || atomic_fetch_sub(&log->refs, 1) != 1)
        return;
    free_segments(log);
    producers_deinit(&log->producers);
    epochs_free(&log->epochs);
    lock_deinit(&log->lock);
    lock_deinit(&log->files);
    free(log->topic);
    free(log->root);
    free(log->path);
    free(log);
}

const char *plog_topic(const struct plog *log)
{
    return log->topic;
}

int32_t plog_partition(const struct plog *log)
{
    return log->partition;
}

const char *plog_dir(const struct plog *log)
{
    return log->root;
}

struct uuid plog_topic_id(const struct plog *log)
{
    return log->topic_id;
}

int64_t plog_start_offset(const struct plog *log)
{
    return atomic_load(&log->start);
}

int64_t plog_end_offset(const struct plog *log)
{
    return atomic_load(&log->end);
}

int64_t plog_high_watermark(const struct plog *log)
{
    return atomic_load(&log->high_watermark);
}

int64_t plog_last_stable_offset(const struct plog *log)
{
    int64_t hw = atomic_load(&log->high_watermark), unstable = atomic_load(&log->first_unstable);
    return MIN(hw, MAX(unstable, (int64_t)atomic_load(&log->start)));
}

bool plog_is_future(const struct plog *log)
{
    return atomic_load(&log->future);
}

struct topic_config plog_config(struct plog *log)
{
    lock_take(&log->lock);
    struct topic_config config = log->config;
    lock_release(&log->lock);
    return config;
}

int64_t plog_size(const struct plog *log)
{
    struct plog *l = (struct plog *)(uintptr_t)log;
    int64_t size = 0;
    lock_take(&l->lock);
    for (size_t i = 0; i < l->segment_count; i++)
        size += l->segments[i]->size;
    lock_release(&l->lock);
    return size;
}

static bool set_high_watermark(struct plog *log, int64_t offset)
{
    ensure(lock_is_held(&log->lock));
    ensure((int64_t)atomic_load(&log->start) <= (int64_t)atomic_load(&log->end));
    offset = MIN(offset, (int64_t)atomic_load(&log->end));
    offset = MAX(offset, (int64_t)atomic_load(&log->start));
    if (producers_commit(&log->producers, offset))
        plog_update_unstable(log);
    return atomic_exchange(&log->high_watermark, offset) != offset;
}

bool plog_set_high_watermark(struct plog *log, int64_t offset)
{
    lock_take(&log->lock);
    bool moved = set_high_watermark(log, offset);
    lock_release(&log->lock);
    return moved;
}

static bool is_home_live(const struct plog *log)
{
    return log->home == NULL || log_dir_is_live(log->home);
}

bool plog_is_offline(const struct plog *log)
{
    return !is_home_live(log);
}

bool plog_is_writable(const struct plog *log)
{
    ensure(lock_is_held(&log->lock));
    return !log->closed && is_home_live(log);
}

bool plog_is_readable(const struct plog *log)
{
    ensure(lock_is_held(&log->lock));
    return log->segment_count > 0 && is_home_live(log);
}

/* Of a log that is no more, and of those in a directory that has failed already, nothing is said. */
void plog_failed(struct plog *log, const char *what)
{
    lock_take(&log->lock);
    bool news = plog_is_writable(log);
    if (news)
        log_error("Log %s failed: %s", log->path, what);
    lock_release(&log->lock);
    if (news && log->manager != NULL)
        manager_dir_failed(log->manager, log->root, what);
}

void plog_failed_to_grow(struct plog *log, const char *what)
{
    static struct log_limit limit;
    lock_take(&log->lock);
    bool starved = log->starved;
    log->starved = false;
    lock_release(&log->lock);
    if (starved)
        log_warn_limited(
            &limit,
            "%s-%" PRId32
            " cannot begin a segment and takes nothing more for now: the process has as many files open as it may (ulimit -n)",
            log->topic, log->partition);
    else
        plog_failed(log, what);
}

static void check_segments(const struct plog *log)
{
    ensure(log->segment_count > 0 && log->segment_count <= log->segment_cap);
    for (size_t i = 0; i < log->segment_count; i++) {
        const struct segment *s = log->segments[i];
        ensure(s->size >= 0 && s->size <= INT32_MAX);
        ensure(i == 0 || log->segments[i - 1]->base_offset < s->base_offset);
    }
    const struct segment *active = log->segments[log->segment_count - 1];
    ensure(active->file != NULL && active->offsets.loaded && active->times.loaded && !active->indexes_filed);
}

static void check_epochs(const struct plog *log)
{
    const struct epochs *e = &log->epochs;
    for (size_t i = 1; i < e->n; i++)
        ensure(e->v[i - 1].epoch < e->v[i].epoch && e->v[i - 1].start_offset < e->v[i].start_offset);
    ensure(e->n == 0 || e->v[0].epoch >= 0);
    ensure(e->n == 0 || e->v[e->n - 1].start_offset <= (int64_t)atomic_load(&log->end));
}

void plog_check(const struct plog *log)
{
    ensure(lock_is_held(&log->lock));
    int64_t start = atomic_load(&log->start), end = atomic_load(&log->end), hw = atomic_load(&log->high_watermark);
    check_segments(log);
    check_epochs(log);
    ensure(start >= 0 && start <= hw && hw <= end);
    ensure(log->segments[0]->base_offset <= start);
    ensure(log->segments[log->segment_count - 1]->base_offset <= end);
    ensure(log->recovery_point >= 0 && log->recovery_point <= end);
    ensure(log->clean_end <= MAX(log->recovery_point, start));
    ensure(log->snapshot_end <= end);
    ensure(log->producers.map_end_offset == end);
}

struct segment *plog_active(const struct plog *log)
{
    ensure(lock_is_held(&log->lock));
    ensure(log->segment_count > 0);
    return log->segments[log->segment_count - 1];
}

size_t plog_segment_index(const struct plog *log, int64_t offset)
{
    ensure(lock_is_held(&log->lock));
    size_t lo = 0, hi = log->segment_count;
    while (hi - lo > 1) {
        size_t mid = (lo + hi) / 2;
        if (log->segments[mid]->base_offset <= offset)
            lo = mid;
        else
            hi = mid;
    }
    ensure(log->segment_count == 0 || lo < log->segment_count);
    return lo;
}

bool plog_insert_segment(struct plog *log, struct segment *s)
{
    ensure(lock_is_held(&log->lock));
    ensure(log->segment_count == 0 || plog_active(log)->base_offset < s->base_offset);
    log->segments = xgrow(log->segments, log->segment_count + 1, &log->segment_cap, sizeof(*log->segments));
    log->segments[log->segment_count++] = s;
    log->touched = true;
    s->no_aborts = true;
    index_init(&s->offsets, OFFSET_ENTRY);
    index_init(&s->times, TIME_ENTRY);
    if (!segment_open_file(s, log->path, true))
        return false;
    if (log->config.preallocate)
        file_reserve(s->file->fd, log->config.segment_bytes);
    return segment_save_indexes(s, log->path, false);
}

bool plog_write_epochs(struct plog *log)
{
    ensure(lock_is_held(&log->lock));
    char path[PATH_ROOM];
    snprintf(path, sizeof(path), "%s/leader-epoch-checkpoint", log->path);
    log->epochs_unsaved = !epochs_write(path, &log->epochs);
    log->epochs_trimmed &= log->epochs_unsaved;
    return !log->epochs_unsaved;
}

bool plog_save_epochs(struct plog *log)
{
    ensure(lock_is_held(&log->lock));
    return !log->epochs_unsaved || plog_write_epochs(log);
}

bool plog_snapshot(struct plog *log, int64_t offset)
{
    ensure(lock_is_held(&log->lock));
    char path[PATH_ROOM];
    if (log->snapshot_end == offset)
        return true;
    ensure(log->producers.map_end_offset <= offset); /* between the two there may be a gap, but no batch */
    log->snapshot_end = offset;
    return producers_save(&log->producers, segment_path(path, log->path, offset, ".snapshot"));
}

void plog_update_unstable(struct plog *log)
{
    ensure(lock_is_held(&log->lock));
    atomic_store(&log->first_unstable, producers_first_unstable(&log->producers));
}

bool plog_note_batch(struct plog *log, const struct batch *b, struct txn_entry *aborted)
{
    ensure(lock_is_held(&log->lock));
    bool is_abort = producers_note(&log->producers, b, aborted);
    if (batch_is_transactional(b) || batch_is_control(b))
        plog_update_unstable(log);
    return is_abort;
}

/* ---- Rolling ---- */

static bool waited_long_enough(struct plog *log, struct segment *s, int64_t incoming_timestamp)
{
    int64_t waited;
    if (incoming_timestamp != NO_TIMESTAMP && s->first_timestamp != NO_TIMESTAMP)
        waited = incoming_timestamp - s->first_timestamp;
    else
        waited = clock_wall_ms() - s->created_ms;
    return s->size > 0 &&
           waited > topic_segment_max_ms(&log->config) - MIN(log->roll_jitter_ms, (int64_t)log->config.segment_ms);
}

static bool index_full(const struct plog *log, const struct segment *s)
{
    size_t room = (size_t)log->config.segment_index_bytes;
    return s->offsets.count >= room / OFFSET_ENTRY || s->times.count + 1 >= room / TIME_ENTRY;
}

static bool should_roll(struct plog *log, int64_t size, int64_t last_offset, int64_t timestamp)
{
    struct segment *s = plog_active(log);
    return s->size > log->config.segment_bytes - size || waited_long_enough(log, s, timestamp) || index_full(log, s) ||
           last_offset - s->base_offset > INT32_MAX;
}

static int64_t random_jitter(int64_t limit)
{
    return limit > 0 ? (int64_t)chance_below((uint64_t)limit) : 0;
}

/* No flush will look at it again. */
static bool sync_sealed(struct plog *log, struct segment *s)
{
    return segment_sync(s, log->path) && segment_sync_indexes(s->base_offset, log->path, "") &&
           (s->no_aborts || dir_sync(log->path));
}

/* Before a file is there for what comes behind it, from which on it would be believed. May be done again. */
static bool seal(struct plog *log, struct segment *s, int64_t end)
{
    ensure(s == plog_active(log) && s->file != NULL);
    if (!segment_save_indexes(s, log->path, true) || !plog_snapshot(log, end))
        return false;
    if (log->config.preallocate && !file_truncate(s->file->fd, s->size, log->path)) /* what it has not needed */
        return false;
    return log->recovery_point != end || sync_sealed(log, s);
}

/* Its file is to stay open: where no descriptor is left, the segment before can still go on. */
static struct segment *begin_segment(struct plog *log, int64_t base)
{
    struct segment *s = segment_new(base);
    file_clear_error();
    if (segment_open_file(s, log->path, true))
        return s;
    log->starved = file_ran_out();
    segment_free(s);
    return NULL;
}

bool plog_roll(struct plog *log, int64_t new_base)
{
    ensure(lock_is_held(&log->lock));
    struct segment *old = plog_active(log);
    if (old->base_offset == new_base) { /* an empty one: start it anew */
        ensure(old->size == 0);
        old->created_ms = clock_wall_ms();
        index_clear(&old->offsets);
        index_clear(&old->times);
        return segment_save_indexes(old, log->path, false);
    }
    ensure(old->base_offset < new_base && new_base >= (int64_t)atomic_load(&log->end));
    struct segment *s = seal(log, old, new_base) ? begin_segment(log, new_base) : NULL;
    if (s == NULL)
        return false;
    index_deinit(&old->offsets); /* mapped again if somebody reads it */
    index_deinit(&old->times);
    log->roll_jitter_ms = random_jitter(MIN(log->config.segment_jitter_ms, log->config.segment_ms));
    if (!plog_insert_segment(log, s))
        return false;
    log_debug("Rolled new log segment at offset %" PRId64 " in %s", new_base, log->path);
    if (log->manager != NULL)
        manager_flush_later(log->manager, log, new_base);
    return true;
}

/* ---- Flushing ---- */

bool plog_flush_locked(struct plog *log, int64_t up_to)
{
    ensure(lock_is_held(&log->lock));
    ensure(up_to <= (int64_t)atomic_load(&log->end));
    if (up_to <= log->recovery_point)
        return true;
    bool new_names = false;
    for (size_t i = plog_segment_index(log, log->recovery_point); i < log->segment_count; i++) {
        struct segment *s = log->segments[i];
        if (s->base_offset >= up_to)
            break;
        new_names |= s->base_offset >= log->recovery_point || !s->no_aborts;
        if (!segment_sync(s, log->path) ||
            (s != plog_active(log) && !segment_sync_indexes(s->base_offset, log->path, "")))
            return false;
    }
    if ((new_names && !dir_sync(log->path)) || !plog_save_epochs(log))
        return false;
    log->recovery_point = up_to;
    log->last_flush_ms = clock_mono_ms();
    return true;
}

enum kafka_error plog_flush(struct plog *log)
{
    lock_take(&log->lock);
    bool ok = !plog_is_writable(log) || plog_flush_locked(log, atomic_load(&log->end));
    lock_release(&log->lock);
    if (!ok)
        plog_failed(log, "flush failed");
    return ok ? ERR_NONE : ERR_KAFKA_STORAGE_ERROR;
}

/* ---- Appending ---- */

/* Batches have their epochs: what recovery reads again need not be in the checkpoint. */
static void note_epoch(struct plog *log, int32_t epoch, int64_t offset)
{
    ensure(lock_is_held(&log->lock));
    ensure(offset >= 0);
    if (epoch >= 0 && epochs_assign(&log->epochs, epoch, offset))
        log->epochs_unsaved = true;
}

/* Puts sound batches with final offsets at the end of the log. */
static bool append_batches(struct plog *log, struct bytes bytes, const struct batch *last)
{
    struct batch b;
    struct txn_entry aborted;
    int64_t end = atomic_load(&log->end);
    ensure(bytes.len > 0 && last->last_offset >= end);
    log->touched = true;
    if (!segment_append(plog_active(log), log->path, bytes, log->config.index_interval_bytes))
        return false;
    while (batch_next(&bytes, &b) == BATCH_OK) {
        if (b.magic == 2)
            note_epoch(log, b.leader_epoch, b.base_offset);
        if (plog_note_batch(log, &b, &aborted) && !segment_note_abort(plog_active(log), log->path, &aborted))
            return false;
        ensure(b.last_offset >= end);
        end = b.last_offset + 1;
    }
    ensure(end == last->last_offset + 1 && end == log->producers.map_end_offset);
    atomic_store(&log->end, end);
    int64_t unflushed = last->last_offset + 1 - log->recovery_point;
    return unflushed < log->config.flush_messages || plog_flush_locked(log, last->last_offset + 1);
}

static enum kafka_error check_producer(struct plog *log, const struct prepared *p, const struct batch *b,
                                       struct producer_batch *dup, bool *is_dup)
{
    struct txn_marker marker;
    if (batch_is_control(b))
        return txn_marker_read(b, &marker) ? producers_check_marker(&log->producers, b, marker.coordinator_epoch)
                                           : ERR_NONE;
    enum kafka_error error = producers_check(&log->producers, p, b, dup, is_dup);
    if (error == ERR_OUT_OF_ORDER_SEQUENCE_NUMBER && plog_recall_batches(log, b->producer_id))
        error = producers_check(&log->producers, p, b, dup, is_dup);
    return error;
}

static void settle(struct plog *log)
{
    if (atomic_load(&log->unsettled))
        manager_settle_cuts(log->manager);
}

/* Also not as long as a cut is not settled: that could not be done, or it is cut this very moment. */
static bool may_append(const struct plog *log)
{
    return plog_is_writable(log) && !atomic_load(&log->unsettled);
}

static enum kafka_error append_leader_locked(struct plog *log, const struct prepared *p, int32_t leader_epoch,
                                             struct append_result *out)
{
    ensure(lock_is_held(&log->lock));
    struct bytes rest = p->bytes;
    struct batch b;
    struct producer_batch dup = {0};
    enum batch_result result = batch_next(&rest, &b);
    ensure(result == BATCH_OK && rest.len == 0 && b.magic == 2);
    ensure(p->offsets > 0 && leader_epoch >= 0);
    if (!may_append(log))
        return ERR_KAFKA_STORAGE_ERROR;
    enum kafka_error error = check_producer(log, p, &b, &dup, &out->duplicate);
    if (error != ERR_NONE) {
        log_warn("%s: refused a batch of producer %" PRId64 " with epoch %d and sequences %" PRId32 " to %" PRId32
                 ", the last one known is %" PRId32 ": %s",
                 log->path, b.producer_id, b.producer_epoch, b.base_sequence, batch_last_sequence(&b),
                 producers_last_sequence(&log->producers, b.producer_id), error_name(error));
        return error;
    }
    if (out->duplicate) {
        out->first_offset = dup.last_offset - dup.offset_delta;
        out->last_offset = dup.last_offset;
        return ERR_NONE;
    }
    if (b.size > log->config.segment_bytes)
        return ERR_RECORD_LIST_TOO_LARGE;
    out->first_offset = atomic_load(&log->end);
    out->last_offset = out->first_offset + p->offsets - 1;
    batch_set_offset((uint8_t *)(uintptr_t)b.p, out->first_offset);
    batch_set_leader_epoch((uint8_t *)(uintptr_t)b.p, leader_epoch);
    b.last_offset = out->last_offset;
    ensure(out->last_offset >= out->first_offset);
    bool rolls = should_roll(log, b.size, out->last_offset, b.max_timestamp);
    bool ok = (!rolls || plog_roll(log, out->first_offset)) && append_batches(log, p->bytes, &b);
    if (rolls && ok)
        plog_check(log);
    return ok ? ERR_NONE : ERR_KAFKA_STORAGE_ERROR;
}

enum kafka_error plog_append_leader(struct plog *log, const struct prepared *p, int32_t leader_epoch,
                                    struct append_result *out)
{
    *out = (struct append_result){.first_offset = -1, .last_offset = -1};
    settle(log);
    lock_take(&log->lock);
    enum kafka_error error = append_leader_locked(log, p, leader_epoch, out);
    out->log_start_offset = atomic_load(&log->start);
    lock_release(&log->lock);
    if (error == ERR_KAFKA_STORAGE_ERROR)
        plog_failed_to_grow(log, "append failed");
    return error;
}

int64_t plog_begin_verification(struct plog *log, int64_t producer_id, int16_t producer_epoch, int32_t sequence)
{
    lock_take(&log->lock);
    int64_t guard =
        producers_begin_verification(&log->producers, producer_id, producer_epoch, sequence, clock_wall_ms());
    lock_release(&log->lock);
    return guard;
}

int32_t plog_producers(struct plog *log, struct arena *a, struct producer_state **out)
{
    lock_take(&log->lock);
    int32_t count = producers_describe(&log->producers, a, out);
    lock_release(&log->lock);
    return count;
}

void plog_note_refused(struct plog *log, const struct prepared *p)
{
    struct bytes rest = p->bytes;
    struct batch b;
    if (batch_next(&rest, &b) != BATCH_OK || b.magic != 2)
        return;
    lock_take(&log->lock);
    producers_note_refused(&log->producers, &b, clock_wall_ms());
    lock_release(&log->lock);
}

/*
 * How much of `bytes` may be appended: whole, sound batches of known epochs in ascending order, as far as they fit into
 * one segment. The first may begin before the log's end, as a leader sends the whole of the batch that is asked for.
 */
static enum kafka_error survey_follower(const struct plog *log, struct bytes bytes, int32_t max_epoch,
                                        struct bytes *good, struct batch *last)
{
    struct bytes rest = bytes;
    struct batch b;
    int64_t expected = atomic_load(&log->end), base = -1;
    enum batch_result result;
    *good = (struct bytes){bytes.p, 0};
    while ((result = batch_next(&rest, &b)) == BATCH_OK) {
        if (b.magic == 2 && b.leader_epoch > max_epoch)
            return ERR_NONE;
        if (!batch_crc_ok(&b) || !batch_offsets_are_possible(&b))
            return ERR_CORRUPT_MESSAGE;
        if (b.last_offset < expected || (base >= 0 && b.base_offset < expected))
            return ERR_OFFSET_OUT_OF_RANGE;
        if (base < 0)
            base = MAX(b.base_offset, expected);
        if (b.last_offset - base > INT32_MAX)
            return ERR_NONE;
        expected = b.last_offset + 1;
        good->len += b.size;
        *last = b;
    }
    return result == BATCH_CORRUPT ? ERR_CORRUPT_MESSAGE : ERR_NONE;
}

static enum kafka_error append_follower_locked(struct plog *log, struct bytes bytes, int32_t max_epoch,
                                               struct append_result *out)
{
    ensure(lock_is_held(&log->lock));
    struct batch last = {0};
    struct bytes good, first = bytes;
    enum kafka_error error = survey_follower(log, bytes, max_epoch, &good, &last);
    if (error != ERR_NONE || good.len == 0)
        return error;
    struct batch b;
    enum batch_result result = batch_next(&first, &b);
    ensure(result == BATCH_OK && good.len <= bytes.len);
    /* A leader's compaction may have left a gap: the segment begins where the one before ends all the same. */
    int64_t base = atomic_load(&log->end);
    if (last.last_offset - base > INT32_MAX)
        base = MAX(base, b.base_offset);
    ensure(last.last_offset >= base && last.last_offset - base <= INT32_MAX);
    out->first_offset = b.base_offset;
    out->last_offset = last.last_offset;
    bool rolls = should_roll(log, good.len, last.last_offset, last.max_timestamp);
    bool ok = (!rolls || plog_roll(log, base)) && append_batches(log, good, &last);
    if (rolls && ok)
        plog_check(log);
    return ok ? ERR_NONE : ERR_KAFKA_STORAGE_ERROR;
}

enum kafka_error plog_append_follower(struct plog *log, struct bytes bytes, int32_t max_epoch,
                                      struct append_result *out)
{
    *out = (struct append_result){.first_offset = -1, .last_offset = -1};
    settle(log);
    lock_take(&log->lock);
    enum kafka_error error =
        may_append(log) ? append_follower_locked(log, bytes, max_epoch, out) : ERR_KAFKA_STORAGE_ERROR;
    out->log_start_offset = atomic_load(&log->start);
    lock_release(&log->lock);
    if (error == ERR_KAFKA_STORAGE_ERROR)
        plog_failed_to_grow(log, "append failed");
    return error;
}

/* ---- Leader epochs ---- */

void plog_assign_epoch(struct plog *log, int32_t epoch, int64_t start_offset)
{
    lock_take(&log->lock);
    if (plog_is_writable(log))
        note_epoch(log, epoch, start_offset);
    lock_release(&log->lock);
}

int32_t plog_latest_epoch(struct plog *log)
{
    lock_take(&log->lock);
    int32_t epoch = log->epochs.n > 0 ? log->epochs.v[log->epochs.n - 1].epoch : NO_LEADER_EPOCH;
    lock_release(&log->lock);
    return epoch;
}

int32_t plog_epoch_of(struct plog *log, int64_t offset)
{
    lock_take(&log->lock);
    int32_t epoch = epochs_at(&log->epochs, offset);
    lock_release(&log->lock);
    return epoch;
}

void plog_epoch_end(struct plog *log, int32_t epoch, int32_t *found_epoch, int64_t *end_offset)
{
    lock_take(&log->lock);
    epochs_end(&log->epochs, epoch, atomic_load(&log->end), found_epoch, end_offset);
    lock_release(&log->lock);
}

/* ---- Cutting ---- */

static bool drop_last_segment(struct plog *log)
{
    struct segment *s = plog_active(log);
    bool ok = segment_delete_files(s->base_offset, log->path, "");
    segment_free(s);
    log->segment_count--;
    return ok;
}

/*
 * Removes the snapshots above, for good: one that came back would be taken for what was written since. Finds the newest
 * of the others, -1 if there is none.
 */
static bool drop_snapshots(struct plog *log, int64_t above, int64_t *newest)
{
    struct names names;
    char path[PATH_ROOM];
    bool any = false;
    log->snapshot_end = *newest = -1;
    if (!dir_list_files(log->path, &names))
        return false;
    for (size_t i = 0; i < names.n; i++) {
        int64_t at = segment_parse_name(names.v[i], ".snapshot");
        if (at > above)
            any |= file_remove(segment_path(path, log->path, at, ".snapshot"));
        else
            *newest = MAX(*newest, at);
    }
    names_free(&names);
    return !any || dir_sync(log->path);
}

/* Snapshots above the new end describe what is gone; the state comes back from the last one below. */
static bool rewind_producers(struct plog *log, int64_t offset)
{
    char path[PATH_ROOM];
    int64_t newest;
    enum file_result found = FILE_MISSING;
    if (!drop_snapshots(log, offset, &newest))
        return false;
    if (newest >= 0)
        found = producers_load(&log->producers, segment_path(path, log->path, newest, ".snapshot"), newest,
                               atomic_load(&log->start));
    if (found == FILE_MISSING)
        producers_clear(&log->producers, log->segments[0]->base_offset);
    ensure(log->producers.map_end_offset <= MAX(offset, log->segments[0]->base_offset));
    return found != FILE_FAILED && plog_replay_producers(log, offset);
}

/* Also where no record goes: an epoch may begin at the end, and never have been its leader's. */
static bool truncate_epochs(struct plog *log, int64_t offset)
{
    return !epochs_truncate_from_end(&log->epochs, offset) || plog_write_epochs(log);
}

/* What comes to stand where something was compacted has not been. */
static void lower_clean_end(struct plog *log)
{
    int64_t base = plog_active(log)->base_offset;
    log->clean_end_unsaved |= log->clean_end > base;
    log->clean_end = MIN(log->clean_end, base);
}

/* The last ones go first, and on the disk before anything takes their place. */
static bool drop_segments(struct plog *log, size_t first)
{
    bool any = log->segment_count > first;
    while (log->segment_count > first)
        if (!drop_last_segment(log))
            return false;
    return !any || dir_sync(log->path);
}

static void note_cut(struct plog *log, int64_t offset)
{
    ensure(lock_is_held(&log->lock));
    log->cuts++;
    log->cut_to = MIN(log->cut_to, offset);
}

int64_t plog_take_cut(struct plog *log)
{
    lock_take(&log->lock);
    int64_t cut = log->cut_to;
    log->cut_to = INT64_MAX;
    lock_release(&log->lock);
    return cut;
}

static bool truncate_locked(struct plog *log, int64_t offset)
{
    ensure(lock_is_held(&log->lock));
    log->touched = true;
    if (offset >= (int64_t)atomic_load(&log->end))
        return truncate_epochs(log, offset);
    if (offset < log->segments[0]->base_offset)
        return plog_truncate_fully_locked(log, offset);
    size_t last = plog_segment_index(log, offset);
    if (!drop_segments(log, last + 1) || !segment_load_indexes(plog_active(log), log->path, true) ||
        !segment_truncate(plog_active(log), log->path, offset))
        return false;
    ensure(plog_active(log)->base_offset <= offset);
    atomic_store(&log->end, offset);
    if (offset < (int64_t)atomic_load(&log->start)) /* a leader was elected that had less than was deleted here */
        atomic_store(&log->start, offset);
    log->recovery_point = MIN(log->recovery_point, offset);
    note_cut(log, offset);
    lower_clean_end(log);
    set_high_watermark(log, atomic_load(&log->high_watermark));
    if (!truncate_epochs(log, offset))
        return false;
    bool ok = rewind_producers(log, offset);
    producers_commit(&log->producers, atomic_load(&log->high_watermark));
    plog_update_unstable(log);
    if (ok)
        plog_check(log);
    return ok;
}

bool plog_truncate_fully_locked(struct plog *log, int64_t new_start)
{
    ensure(lock_is_held(&log->lock));
    int64_t none;
    if (!drop_segments(log, 0) || !drop_snapshots(log, -1, &none) || !plog_insert_segment(log, segment_new(new_start)))
        return false;
    producers_clear(&log->producers, new_start);
    plog_update_unstable(log);
    atomic_store(&log->start, new_start);
    atomic_store(&log->end, new_start);
    atomic_store(&log->high_watermark, new_start);
    log->recovery_point = new_start;
    note_cut(log, new_start);
    lower_clean_end(log);
    log->epochs.n = 0;
    plog_check(log);
    return plog_write_epochs(log);
}

static enum kafka_error cut(struct plog *log, bool (*how)(struct plog *log, int64_t offset), int64_t offset)
{
    if (offset < 0 || offset > LARGEST_OFFSET)
        return ERR_OFFSET_OUT_OF_RANGE;
    lock_take(&log->files);
    lock_take(&log->lock);
    int64_t before = MAX(log->recovery_point, (int64_t)atomic_load(&log->start));
    bool ok = plog_is_writable(log) && how(log, offset);
    bool lowered = ok && offset < before && log->manager != NULL;
    if (lowered)
        atomic_store(&log->unsettled, true);
    lock_release(&log->lock);
    lock_release(&log->files);
    if (lowered)
        manager_settle_cuts_soon(log->manager);
    if (!ok)
        plog_failed(log, "truncation failed");
    return ok ? ERR_NONE : ERR_KAFKA_STORAGE_ERROR;
}

enum kafka_error plog_truncate(struct plog *log, int64_t offset)
{
    return cut(log, truncate_locked, offset);
}

enum kafka_error plog_truncate_fully(struct plog *log, int64_t new_start)
{
    return cut(log, plog_truncate_fully_locked, new_start);
}

bool plog_close(struct plog *log)
{
    lock_take(&log->lock);
    bool ok = true;
    if (plog_is_writable(log)) {
        struct segment *s = plog_active(log);
        ok = plog_flush_locked(log, atomic_load(&log->end)) &&
             (log->epochs_trimmed ? plog_write_epochs(log) : plog_save_epochs(log)) &&
             segment_save_indexes(s, log->path, true) &&
             /* Also where nothing is new: what a crash has kept from being cut for good will not be looked at again. */
             (!log->touched || (segment_sync(s, log->path) && segment_sync_indexes(s->base_offset, log->path, ""))) &&
             plog_snapshot(log, atomic_load(&log->end));
        log->closed = true;
    }
    lock_release(&log->lock);
    return ok;
}

void plog_abandon(struct plog *log)
{
    lock_take(&log->files);
    lock_take(&log->lock);
    log->closed = true;
    free_segments(log);
    lock_release(&log->lock);
    lock_release(&log->files);
}
