/*
 * Appending, and rolling to the next segment.
 *
 * A leader's batch gets the log's end as its offset and the leader's epoch, both of which lie outside the batch's CRC,
 * and is written in one piece. Before that its producer is looked at: a batch with sequence numbers that were there is
 * answered as the duplicate it is; with 5 as the last one known, a batch that begins at 7 is refused, as 6 is still on
 * its way or lost. A follower's batches have their offsets already, and are taken as they are.
 *
 * A leader's batches that come together are counted one after the other, and then written with one call. They are there
 * when they are written: until then the log ends before them, and the lock is not let go of. What needs the file, or
 * answers for one of them, has them written first: a roll, a marker, a duplicate.
 *
 * When a write fails the home goes offline, and the batches are not acknowledged; the next start cuts them off. What
 * was counted is not taken back, so nothing more is appended in the time until all know of it.
 */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>

#include "base/chance.h"
#include "base/clock.h"
#include "base/logger.h"
#include "base/probe.h"
#include "log/file.h"
#include "log/plog_internal.h"

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
    ensure(lock_is_held(&log->lock));
    return segment_sync(s, log->path) && segment_sync_indexes(s->base_offset, log->path, "") &&
           (s->no_aborts || dir_sync(log->path));
}

bool plog_open_active(struct plog *log)
{
    struct segment *s = plog_active(log);
    if (s->file == NULL)
        file_clear_error();
    if (segment_open_file(s, log->path, false))
        return true;
    log->starved = file_ran_out();
    return false;
}

/* Before a file is there for what comes behind it, from which on it would be believed. May be done again. */
static bool append_seal(struct plog *log, struct segment *s, int64_t end)
{
    ensure(s == plog_active(log));
    if (!plog_open_active(log) || !segment_save_indexes(s, log->path, true))
        return false;
    plog_begin_snapshot(log, end);
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
    struct segment *s = append_seal(log, old, new_base) ? begin_segment(log, new_base) : NULL;
    if (s == NULL)
        return false;
    index_deinit(&old->offsets); /* mapped again if somebody reads it */
    index_deinit(&old->times);
    log->roll_jitter_ms = random_jitter(MIN(log->config.segment_jitter_ms, log->config.segment_ms));
    s->no_snapshot = log->snapshot_end != new_base;
    if (!plog_insert_segment(log, s))
        return false;
    PROBE(roll, log->path, new_base);
    log_debug("Rolled new log segment at offset %" PRId64 " in %s", new_base, log->path);
    const struct plog_host *host = log->home->host;
    if (host != NULL)
        host->flush_later(host->ctx, log, new_base, log->cuts);
    return true;
}

/* ---- Appending ---- */

/* They are in the file: who looks for them finds them from now on. */
static void publish_end(struct plog *log, int64_t end, int64_t size)
{
    ensure(lock_is_held(&log->lock));
    ensure(end > (int64_t)atomic_load(&log->end) && end == log->producers.map_end_offset);
    atomic_store(&log->end, end);
    PROBE(append, log->path, end, size);
}

/* Whether flush.messages has what is there synced before it is answered. */
static bool flush_is_due(const struct plog *log)
{
    ensure(lock_is_held(&log->lock));
    return (int64_t)atomic_load(&log->end) - log->recovery_point >= log->config.flush_messages;
}

/* By what has been tried last. Nothing more is appended, unless it was for want of a descriptor: then nothing was
 * begun. */
static bool append_tore(struct plog *log)
{
    ensure(lock_is_held(&log->lock));
    log->torn |= !log->starved;
    return false;
}

/* Puts sound batches with final offsets at the end of the log. */
static bool append_batches(struct plog *log, struct bytes bytes, const struct batch *last)
{
    struct batch b;
    struct txn_entry aborted;
    int64_t end = atomic_load(&log->end);
    int32_t size = bytes.len;
    ensure(size > 0 && last->last_offset >= end);
    if (!plog_open_active(log))
        return append_tore(log);
    log->touched = true;
    if (!segment_append(plog_active(log), log->path, bytes, log->config.index_interval_bytes))
        return append_tore(log);
    plog_note_growth(log);
    while (batch_next(&bytes, &b) == BATCH_OK) {
        if (b.magic == 2)
            plog_note_epoch(log, b.leader_epoch, b.base_offset);
        if (plog_note_batch(log, &b, &aborted) && !segment_note_abort(plog_active(log), log->path, &aborted))
            return append_tore(log);
        ensure(b.last_offset >= end);
        end = b.last_offset + 1;
    }
    ensure(end == last->last_offset + 1);
    publish_end(log, end, size);
    return true;
}

/* ---- As leader ---- */

/* Batches of the active segment that are counted, and are not written yet. */
struct unwritten {
    struct iovec pieces[LEADER_APPENDS];
    struct leader_append *of[LEADER_APPENDS];
    int count;
    int64_t size, end; /* of all of them; where the log will end */
};

/* Where the next batch goes. */
static int64_t next_offset(const struct plog *log, const struct unwritten *u)
{
    return u->count > 0 ? u->end : (int64_t)atomic_load(&log->end);
}

static bool count_batch(struct plog *log, struct unwritten *u, struct leader_append *a, const struct batch *b)
{
    struct txn_entry aborted;
    ensure(u->count < LEADER_APPENDS && b->base_offset == next_offset(log, u) && !batch_is_control(b));
    if (!plog_open_active(log))
        return append_tore(log);
    log->touched = true;
    segment_count_batch(plog_active(log), b, log->config.index_interval_bytes);
    plog_note_epoch(log, b->leader_epoch, b->base_offset);
    bool is_abort = plog_note_batch(log, b, &aborted);
    ensure(!is_abort);
    u->pieces[u->count] = (struct iovec){(void *)(uintptr_t)b->p, (size_t)b->size};
    u->of[u->count++] = a;
    u->size += b->size;
    u->end = b->last_offset + 1;
    return true;
}

static bool write_counted(struct plog *log, struct unwritten *u)
{
    ensure(lock_is_held(&log->lock));
    if (u->count == 0)
        return true;
    bool ok = segment_write_counted(plog_active(log), log->path, u->pieces, u->count);
    log->torn |= !ok;
    if (ok) {
        plog_note_growth(log);
        publish_end(log, u->end, u->size);
    }
    for (int i = 0; i < u->count && !ok; i++)
        u->of[i]->error = ERR_KAFKA_STORAGE_ERROR;
    u->count = 0;
    u->size = 0;
    return ok;
}

static enum kafka_error append_check_producer(struct plog *log, struct unwritten *u, const struct prepared *p,
                                              const struct batch *b, struct producer_batch *dup, bool *is_dup)
{
    ensure(lock_is_held(&log->lock));
    enum kafka_error error = producers_check(&log->producers, p, b, dup, is_dup);
    bool recalled;
    if (error != ERR_OUT_OF_ORDER_SEQUENCE_NUMBER)
        return error;
    if (!write_counted(log, u))
        return ERR_KAFKA_STORAGE_ERROR;
    file_clear_error();
    if (!plog_recall_batches(log, b->producer_id, &recalled)) {
        log->starved = file_ran_out();
        append_tore(log);
        return ERR_KAFKA_STORAGE_ERROR;
    }
    return recalled ? producers_check(&log->producers, p, b, dup, is_dup) : error;
}

void plog_settle(struct plog *log)
{
    ensure(!lock_is_held(&log->lock)); /* it may wait for the disk */
    if (atomic_load(&log->unsettled))
        log->home->host->settle_cuts(log->home->host->ctx, log->home);
}

/* Also not as long as a cut is not settled: that could not be done, or it is cut this very moment. */
static bool may_append(const struct plog *log)
{
    return plog_is_writable(log) && !atomic_load(&log->unsettled);
}

static void log_refusal(const struct plog *log, const struct batch *b, enum kafka_error error)
{
    log_warn("%s: refused a batch of producer %" PRId64 " with epoch %d and sequences %" PRId32 " to %" PRId32
             ", the last one known is %" PRId32 ": %s",
             log->path, b->producer_id, b->producer_epoch, b->base_sequence, batch_last_sequence(b),
             producers_last_sequence(&log->producers, b->producer_id), error_name(error));
}

/* Its place in the log, which is not in its CRC. */
static void place_batch(struct plog *log, struct batch *b, int64_t offset, int32_t offsets, int32_t leader_epoch)
{
    uint8_t *p = (uint8_t *)(uintptr_t)b->p;
    ensure(offsets > 0 && leader_epoch >= 0 && offset >= (int64_t)atomic_load(&log->end));
    batch_set_offset(p, offset);
    batch_set_leader_epoch(p, leader_epoch);
    b->base_offset = offset;
    b->last_offset = offset + offsets - 1;
    b->leader_epoch = leader_epoch;
}

static enum kafka_error append_check(struct plog *log, struct unwritten *u, const struct prepared *p,
                                     const struct batch *b, struct producer_batch *dup, bool *is_dup)
{
    struct txn_marker marker;
    if (!batch_is_control(b))
        return append_check_producer(log, u, p, b, dup, is_dup);
    return txn_marker_read(b, &marker) ? producers_check_marker(&log->producers, b, marker.coordinator_epoch)
                                       : ERR_NONE;
}

/* Of a batch that has its place. */
static bool append_batch(struct plog *log, struct unwritten *u, struct leader_append *a, const struct batch *b)
{
    bool rolls = should_roll(log, b->size, b->last_offset, b->max_timestamp);
    if ((rolls || batch_is_control(b)) && !write_counted(log, u))
        return false;
    if (rolls && !plog_roll(log, b->base_offset))
        return append_tore(log);
    if (rolls)
        plog_check(log);
    return batch_is_control(b) ? append_batches(log, (struct bytes){b->p, b->size}, b) : count_batch(log, u, a, b);
}

static enum kafka_error append_one(struct plog *log, struct unwritten *u, struct leader_append *a, int32_t leader_epoch)
{
    ensure(lock_is_held(&log->lock));
    struct bytes rest = a->records->bytes;
    struct batch b;
    struct producer_batch dup = {0};
    enum batch_result result = batch_next(&rest, &b);
    ensure(result == BATCH_OK && rest.len == 0 && b.magic == 2);
    if (!may_append(log))
        return ERR_KAFKA_STORAGE_ERROR;
    enum kafka_error error = append_check(log, u, a->records, &b, &dup, &a->result.duplicate);
    if (error != ERR_NONE) {
        log_refusal(log, &b, error);
        return error;
    }
    if (a->result.duplicate) {
        a->result.first_offset = dup.last_offset - dup.offset_delta;
        a->result.last_offset = dup.last_offset;
        return write_counted(log, u) ? ERR_NONE : ERR_KAFKA_STORAGE_ERROR; /* it may be one of these */
    }
    if (b.size > log->config.segment_bytes)
        return ERR_RECORD_LIST_TOO_LARGE;
    place_batch(log, &b, next_offset(log, u), a->records->offsets, leader_epoch);
    a->result.first_offset = b.base_offset;
    a->result.last_offset = b.last_offset;
    return append_batch(log, u, a, &b) ? ERR_NONE : ERR_KAFKA_STORAGE_ERROR;
}

bool plog_append_waits(struct plog *log, const struct prepared *first, int64_t bytes, int64_t offsets)
{
    struct bytes rest = first->bytes;
    struct batch b;
    enum batch_result result = batch_next(&rest, &b);
    ensure(result == BATCH_OK && bytes >= b.size && offsets > 0);
    if (atomic_load(&log->unsettled))
        return true;
    lock_take(&log->lock);
    int64_t end = atomic_load(&log->end) + offsets;
    bool waits = plog_is_writable(log) && (end - log->recovery_point >= log->config.flush_messages ||
                                           should_roll(log, bytes, end - 1, b.max_timestamp));
    lock_release(&log->lock);
    return waits;
}

void plog_append_leader(struct plog *log, struct leader_append *const *appends, int count, int32_t leader_epoch)
{
    struct unwritten u; /* large, and soon filled */
    bool failed, starved = false;
    ensure(count > 0 && count <= LEADER_APPENDS);
    u.count = 0;
    u.size = 0;
    plog_settle(log);
    lock_take(&log->lock);
    for (int i = 0; i < count; i++) {
        appends[i]->result = (struct append_result){.first_offset = -1, .last_offset = -1};
        log->starved = false;
        appends[i]->error = append_one(log, &u, appends[i], leader_epoch);
        starved |= log->starved;
    }
    log->starved = starved;
    failed = !write_counted(log, &u);
    bool due = flush_is_due(log);
    for (int i = 0; i < count; i++) {
        appends[i]->result.log_start_offset = atomic_load(&log->start);
        appends[i]->result.flush_due = due && appends[i]->error == ERR_NONE;
        failed |= appends[i]->error == ERR_KAFKA_STORAGE_ERROR;
    }
    lock_release(&log->lock);
    if (failed)
        plog_failed_to_grow(log, "append failed");
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
    if (p->by_coordinator || batch_next(&rest, &b) != BATCH_OK || b.magic != 2)
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
    bool ok = ((!rolls || plog_roll(log, base)) && append_batches(log, good, &last)) || append_tore(log);
    if (rolls && ok)
        plog_check(log);
    out->bytes = ok ? good.len : 0;
    return ok ? ERR_NONE : ERR_KAFKA_STORAGE_ERROR;
}

enum kafka_error plog_append_follower(struct plog *log, struct bytes bytes, int32_t max_epoch,
                                      struct append_result *out)
{
    *out = (struct append_result){.first_offset = -1, .last_offset = -1};
    plog_settle(log);
    lock_take(&log->lock);
    log->starved = false;
    enum kafka_error error =
        may_append(log) ? append_follower_locked(log, bytes, max_epoch, out) : ERR_KAFKA_STORAGE_ERROR;
    out->log_start_offset = atomic_load(&log->start);
    out->flush_due = error == ERR_NONE && flush_is_due(log);
    lock_release(&log->lock);
    if (error == ERR_KAFKA_STORAGE_ERROR)
        plog_failed_to_grow(log, "append failed");
    if (out->flush_due && out->last_offset >= 0 && !plog_flush_to(log, out->last_offset + 1))
        return ERR_KAFKA_STORAGE_ERROR;
    return error;
}
