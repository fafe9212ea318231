/*
 * Moving the log of a partition to another directory of this broker (KIP-113). A future log is filled from the current
 * one, step by step, while that is appended to, cut and read; when it has all, it takes its place, with the partition
 * locked. What the current log is cut back to is noted in it and followed before anything is copied behind it; after a
 * restart, leader epochs say how far the two are one.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/logger.h"
#include "replica/replica_internal.h"

enum { CHUNK = 1 << 20 };

/* ---- Which is to be where ---- */

/* Takes the future log from the partition, which is locked; the caller gets the reference, or NULL. */
static struct plog *detach(struct partition *p)
{
    ensure(lock_is_held(&p->lock));
    struct plog *future = p->future;
    p->future = NULL;
    if (future != NULL)
        plog_pause_compaction(p->log, false);
    return future;
}

/* Also one that has failed, which goes on where it was. */
static void want_move(struct partition *p)
{
    const struct replica_options *o = &p->manager->options;
    o->move_wanted(o->ctx, p);
}

/* Gives it the future log, with the reference. */
static void attach(struct partition *p, struct plog *future)
{
    lock_take(&p->lock);
    ensure(p->future == NULL && future != p->log && plog_partition(future) == p->key.index);
    ensure(lock_is_held(&p->manager->move_orders));
    p->future = future;
    p->future_aligned = false;
    p->future_is_new = plog_end_offset(future) == plog_start_offset(future);
    plog_pause_compaction(p->log, true);
    plog_take_cut(p->log); /* alignment is about what was cut before */
    lock_release(&p->lock);
    log_info("Moving the log of %s-%" PRId32 " from %s to %s", p->key.topic, p->key.index, plog_dir(p->log),
             plog_dir(future));
    want_move(p);
}

void dir_move_drop(struct partition *p, const char *only_in, bool delete_it)
{
    lock_take(&p->lock);
    bool other = p->future == NULL || (only_in != NULL && strcmp(plog_dir(p->future), only_in) != 0);
    struct plog *future = other ? NULL : detach(p);
    lock_release(&p->lock);
    if (future == NULL)
        return;
    log_info("The log of %s-%" PRId32 " is not moved to %s any more", p->key.topic, p->key.index, plog_dir(future));
    if (delete_it && log_manager_delete(p->manager->options.logs, future) != ERR_NONE)
        log_warn("What was copied of %s-%" PRId32 " stays in %s", p->key.topic, p->key.index, plog_dir(future));
    plog_unref(future);
}

static bool moves_to(struct partition *p, const char *dir, bool *elsewhere)
{
    lock_take(&p->lock);
    bool there = p->future != NULL && strcmp(plog_dir(p->future), dir) == 0;
    *elsewhere = p->future != NULL && !there;
    lock_release(&p->lock);
    return there;
}

/* One that is moved nowhere, as it was found in the directory of its log, would be in the way of another. */
static void delete_leftover(struct partition *p)
{
    struct log_manager *logs = p->manager->options.logs;
    struct plog *future = log_manager_get_future(logs, p->key.topic, p->key.index);
    if (future != NULL && log_manager_delete(logs, future) != ERR_NONE)
        log_warn("A future log of %s-%" PRId32 " stays in %s", p->key.topic, p->key.index, plog_dir(future));
    plog_unref(future);
}

/* With the orders locked. */
static enum kafka_error alter_dir(struct partition *p, const char *dir)
{
    struct plog *future;
    bool elsewhere, there = moves_to(p, dir, &elsewhere);
    if (elsewhere)
        dir_move_drop(p, NULL, true);
    if (there)
        want_move(p);
    if (there || strcmp(plog_dir(p->log), dir) == 0)
        return ERR_NONE;
    delete_leftover(p);
    enum kafka_error error = log_manager_create_future(p->manager->options.logs, p->log, dir, &future);
    if (error == ERR_NONE)
        attach(p, future);
    return error;
}

enum kafka_error replica_alter_dir(struct replica_manager *rm, struct str topic, int32_t index, bool exists,
                                   const char *dir)
{
    struct topic_key key;
    if (!topic_key_make(topic, index, &key) || !log_manager_can_move(key.topic, index))
        return ERR_INVALID_TOPIC_EXCEPTION;
    enum kafka_error error = log_manager_check_dir(rm->options.logs, dir);
    if (error == ERR_NONE && replica_is_offline(rm, topic, index))
        error = ERR_KAFKA_STORAGE_ERROR;
    if (error != ERR_NONE)
        return error;
    struct partition *p = replica_partition(rm, topic, index);
    if (p == NULL && !exists)
        return ERR_UNKNOWN_TOPIC_OR_PARTITION;
    if (p == NULL) {
        log_manager_prefer_dir(rm->options.logs, key.topic, index, dir);
        return ERR_REPLICA_NOT_AVAILABLE;
    }
    lock_take(&rm->move_orders);
    error = alter_dir(p, dir);
    lock_release(&rm->move_orders);
    partition_unref(p);
    return error;
}

void dir_move_resume(struct partition *p)
{
    struct replica_manager *rm = p->manager;
    struct plog *future = log_manager_get_future(rm->options.logs, p->key.topic, p->key.index);
    if (future == NULL)
        return;
    lock_take(&rm->move_orders);
    lock_take(&p->lock);
    bool moves = p->future != NULL, known = moves || p->offline;
    bool beside = !known && strcmp(plog_dir(future), plog_dir(p->log)) == 0;
    /* Its directory was away when that one was deleted, perhaps. */
    bool another = !known && !uuid_agree(plog_topic_id(p->log), plog_topic_id(future));
    lock_release(&p->lock);
    if (beside)
        log_warn("%s-%" PRId32 " has a future log in %s, where it is itself: that is left alone", p->key.topic,
                 p->key.index, plog_dir(future));
    else if (another)
        log_warn("%s-%" PRId32 " has a future log in %s that is of an older topic of that name: it is deleted",
                 p->key.topic, p->key.index, plog_dir(future));
    if (!known && !beside && !another && plog_is_future(future))
        attach(p, future);
    else
        plog_unref(future);
    if (another && !beside)
        delete_leftover(p);
    if (moves)
        want_move(p);
    lock_release(&rm->move_orders);
}

/* ---- Copying ---- */

static bool has_topic_id_of(const struct plog *current, const struct plog *future)
{
    return uuid_is_zero(plog_topic_id(current)) || !uuid_is_zero(plog_topic_id(future));
}

/* The current log may have got it since the future one was made. */
static bool inherit_topic_id(const struct plog *current, struct plog *future)
{
    return has_topic_id_of(current, future) || log_manager_give_id(future, plog_topic_id(current)) == ERR_NONE;
}

/* Cuts the future log to where the two are one, as far as leader epochs tell. */
static bool align(struct plog *current, struct plog *future)
{
    for (;;) {
        int32_t epoch = plog_latest_epoch(future), found, own;
        int64_t end, own_end, at = plog_end_offset(future);
        if (epoch < 0) /* without epochs, what was committed is sure */
            return plog_truncate(future, MIN(plog_high_watermark(future), plog_end_offset(current))) == ERR_NONE;
        plog_epoch_end(current, epoch, &found, &end);
        if (found == epoch && end >= at)
            return true;
        if (found < 0)
            return plog_truncate_fully(future, plog_start_offset(current)) == ERR_NONE;
        plog_epoch_end(future, found, &own, &own_end);
        if (plog_truncate(future, own < 0 ? end : MIN(end, own_end)) != ERR_NONE)
            return false;
        if (plog_end_offset(future) == at && plog_latest_epoch(future) == epoch)
            return plog_truncate_fully(future, plog_start_offset(current)) == ERR_NONE;
    }
}

/* What the current log has lost at its end or its beginning, the future one loses, too. */
static bool follow_cuts(struct plog *current, struct plog *future)
{
    int64_t cut = plog_take_cut(current), start = plog_start_offset(current);
    if (cut < plog_end_offset(future) && plog_truncate(future, cut) != ERR_NONE) {
        plog_return_cut(current, cut);
        return false;
    }
    return start <= plog_end_offset(future) || plog_truncate_fully(future, start) == ERR_NONE;
}

static void follow_marks(struct plog *current, struct plog *future)
{
    int64_t start = plog_start_offset(current);
    plog_set_high_watermark(future, plog_high_watermark(current));
    if (start > plog_start_offset(future) && start <= plog_high_watermark(future) &&
        plog_advance_start(future, start) != ERR_NONE)
        log_warn("The start of a future log in %s cannot be moved", plog_dir(future));
}

/* One chunk. What is cut from the current log meanwhile is noted there, and followed before the next one. */
static bool copy_chunk(struct plog *current, struct plog *future, int64_t *bytes)
{
    struct strbuf chunk = {0};
    struct append_result appended;
    enum kafka_error error = plog_read_bytes(current, plog_end_offset(future), CHUNK, plog_end_offset(current), &chunk);
    if (error == ERR_NONE && chunk.len > 0)
        error = plog_append_follower(future, (struct bytes){(const uint8_t *)chunk.p, (int32_t)chunk.len}, INT32_MAX,
                                     &appended);
    *bytes += (int64_t)chunk.len;
    strbuf_deinit(&chunk);
    if (error == ERR_OFFSET_OUT_OF_RANGE) /* it was just cut */
        return true;
    if (error != ERR_NONE)
        log_error("%s-%" PRId32 " cannot be copied to %s: %s", plog_topic(current), plog_partition(current),
                  plog_dir(future), error_name((int16_t)error));
    return error == ERR_NONE;
}

static bool copy_some(struct plog *current, struct plog *future, int64_t *bytes)
{
    bool ok = follow_cuts(current, future);
    if (ok && plog_end_offset(future) < plog_end_offset(current))
        ok = copy_chunk(current, future, bytes);
    if (ok)
        follow_marks(current, future);
    return ok;
}

/* ---- Taking its place ---- */

/* With the partition locked: nothing is appended, and the rest is little. */
static bool dir_move_complete(struct partition *p, struct plog *current, struct plog *future, int64_t *bytes)
{
    ensure(lock_is_held(&p->lock) && p->log == current && p->future == future);
    return copy_some(current, future, bytes) && plog_end_offset(future) == plog_end_offset(current) &&
           plog_take_cut(current) == INT64_MAX && has_topic_id_of(current, future) && !p->offline;
}

/* Readers may still have the old log in hand: it stays with the partition, but is let go of with its files. */
static void put_in_place(struct partition *p, struct plog *current, struct plog *future)
{
    ensure(lock_is_held(&p->lock) && !plog_is_future(future));
    ensure(plog_end_offset(future) == plog_end_offset(current));
    p->retired = xrealloc(p->retired, sizeof(struct plog *) * (size_t)(p->retired_count + 1));
    p->retired[p->retired_count++] = current;
    if (p->leads && plog_latest_epoch(future) < p->leader_epoch)
        plog_assign_epoch(future, p->leader_epoch, p->epoch_start); /* nothing was appended in it yet */
    p->log = future;
    p->future = NULL;
}

static enum move_result take_its_place(struct partition *p, struct plog *current, struct plog *future, int64_t *bytes)
{
    struct log_manager *logs = p->manager->options.logs;
    enum move_result result = MOVE_GOES_ON;
    if (plog_flush(future) != ERR_NONE) /* what was on the disk there is to be here, too */
        return MOVE_FAILED;
    lock_take(&p->lock);
    if (p->future == future && dir_move_complete(p, current, future, bytes)) {
        result = log_manager_promote(logs, current, future, p->future_is_new) == ERR_NONE ? MOVE_OVER : MOVE_FAILED;
        if (result == MOVE_OVER)
            put_in_place(p, current, future);
    }
    lock_release(&p->lock);
    if (result != MOVE_OVER)
        return result;
    log_info("The log of %s-%" PRId32 " is in %s now", p->key.topic, p->key.index, plog_dir(future));
    log_manager_retire(logs, current, future);
    return MOVE_OVER;
}

/* Once for each future log that the partition gets. */
static bool align_once(struct partition *p, struct plog *current, struct plog *future)
{
    lock_take(&p->lock);
    bool aligned = p->future != future || p->future_aligned;
    lock_release(&p->lock);
    if (!aligned && !align(current, future))
        return false;
    lock_take(&p->lock);
    p->future_aligned |= p->future == future;
    lock_release(&p->lock);
    return true;
}

static enum move_result move_some(struct partition *p, struct plog *current, struct plog *future, int64_t *bytes)
{
    ensure(current != future);
    if (!inherit_topic_id(current, future) || !align_once(p, current, future) || !copy_some(current, future, bytes))
        return MOVE_FAILED;
    bool caught_up = plog_end_offset(future) >= plog_end_offset(current);
    return caught_up ? take_its_place(p, current, future, bytes) : MOVE_GOES_ON;
}

enum move_result partition_move_some(struct partition *p)
{
    int64_t bytes = 0;
    ensure(!lock_is_held(&p->lock)); /* it copies for a while */
    lock_take(&p->lock);
    struct plog *current = p->log, *future = p->offline ? NULL : p->future;
    if (future != NULL)
        plog_ref(future);
    lock_release(&p->lock);
    if (future == NULL)
        return MOVE_OVER;
    enum move_result result = move_some(p, current, future, &bytes);
    if (result == MOVE_FAILED && !plog_is_offline(current) && !plog_is_offline(future))
        result = MOVE_RESTS;
    throttle_note(&p->manager->move_throttle, bytes, clock_mono_ms());
    plog_unref(future);
    return result;
}

bool partition_move_progress(struct partition *p, int64_t *done, int64_t *end)
{
    lock_take(&p->lock);
    bool moves = p->future != NULL;
    if (moves) {
        *done = plog_end_offset(p->future);
        *end = plog_end_offset(p->log);
    }
    lock_release(&p->lock);
    return moves;
}

bool partition_moves_rest(const struct partition *p)
{
    return throttle_is_spent(&p->manager->move_throttle, clock_mono_ms());
}
