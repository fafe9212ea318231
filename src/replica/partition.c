/*
 * One partition: what its leader appends and gives to read, and what a follower of it takes over.
 *
 * When all goes well a leader appends with the lock held, moves the high watermark as far as its followers allow, and
 * wakes who waits. A reader is judged by its epochs under the lock, and reads without it: what it may see is bounded
 * by offsets that only grow while the epoch lasts.
 *
 * Who leads no longer, or follows in another epoch, is refused with the error that Kafka has for it, and nothing has
 * happened to the log. The same is done to one whose log directory has failed: it answers KAFKA_STORAGE_ERROR, for as
 * long as somebody has it in hand. A record that too few replicas would hold is not appended.
 */
#include "base/clock.h"
#include "replica/replica_internal.h"

enum { ANY_EPOCH = -1 };

/* ---- Life and names ---- */

void partition_ref(struct partition *p)
{
    int before = atomic_fetch_add(&p->refs, 1);
    ensure(before > 0);
}

void partition_unref(struct partition *p)
{
    if (p == NULL)
        return;
    int before = atomic_fetch_sub(&p->refs, 1);
    ensure(before > 0);
    if (before > 1)
        return;
    ensure(p->waiters == NULL);
    plog_unref(p->log);
    plog_unref(p->future);
    for (int32_t i = 0; i < p->retired_count; i++)
        plog_unref(p->retired[i]);
    free(p->retired);
    topic_counts_unref(p->counts);
    lazy_meter_deinit(&p->expired);
    free(p->adding.v);
    lock_deinit(&p->lock);
    free(p->isr.v);
    free(p->replicas.v);
    free(p->wanted_isr.v);
    followers_free(p);
    free(p);
}

const char *partition_topic(const struct partition *p)
{
    return p->key.topic;
}

int32_t partition_index(const struct partition *p)
{
    return p->key.index;
}

struct plog *partition_log(struct partition *p)
{
    return p->log;
}

struct uuid partition_topic_id(struct partition *p)
{
    return plog_topic_id(p->log);
}

struct partition_role partition_role(struct partition *p)
{
    lock_take(&p->lock);
    struct partition_role role = {p->leads, p->stopped ? -1 : p->leader, p->leader_epoch, p->led_since, p->ordered_id};
    lock_release(&p->lock);
    return role;
}

/* ---- Throttles ---- */

void replica_serves_follower(struct replica_manager *rm, int64_t now)
{
    throttle_touch(&rm->leader_throttle, now);
}

bool partition_holds_back(struct partition *p, int32_t replica, int64_t now)
{
    if (!atomic_load(&p->leader_throttled))
        return false;
    lock_take(&p->lock);
    bool in_sync = int_list_has(p->isr, replica);
    lock_release(&p->lock);
    return !in_sync && throttle_is_spent(&p->manager->leader_throttle, now);
}

void partition_note_sent(struct partition *p, int64_t bytes, int64_t now)
{
    if (atomic_load(&p->leader_throttled))
        throttle_note(&p->manager->leader_throttle, bytes, now);
}

bool partition_rests(struct partition *p, bool in_sync, int64_t now)
{
    return !in_sync && atomic_load(&p->follower_throttled) && throttle_is_spent(&p->manager->follower_throttle, now);
}

void partition_note_received(struct partition *p, int64_t bytes, int64_t now)
{
    if (atomic_load(&p->follower_throttled))
        throttle_note(&p->manager->follower_throttle, bytes, now);
}

/* ---- Appending ---- */

/* With the lock held, of one that does not lead. */
static enum kafka_error why_not_leading(const struct partition *p)
{
    ensure(lock_is_held(&p->lock));
    return p->offline ? ERR_KAFKA_STORAGE_ERROR : ERR_NOT_LEADER_OR_FOLLOWER;
}

/* In that epoch and in all that came after it: who has led all the time has cut nothing. */
static bool has_led_since(const struct partition *p, int32_t leader_epoch)
{
    ensure(lock_is_held(&p->lock));
    return p->leads && leader_epoch >= p->led_since && leader_epoch <= p->leader_epoch;
}

/* What must be so before a leader's log is asked. */
static enum kafka_error why_no_append(const struct partition *p, int32_t leader_epoch, int16_t acks)
{
    ensure(lock_is_held(&p->lock));
    if (!p->leads)
        return why_not_leading(p);
    if (leader_epoch != ANY_EPOCH && !has_led_since(p, leader_epoch))
        return ERR_NOT_LEADER_OR_FOLLOWER;
    return acks == -1 && p->isr.n < followers_min_isr(p) ? ERR_NOT_ENOUGH_REPLICAS : ERR_NONE;
}

/* Of appends that the log was given. Whether any was taken, and whether there is anything new. */
static bool note_appended(struct partition *p, struct leader_append *const *appends, int count, bool *grown)
{
    bool any = false;
    ensure(lock_is_held(&p->lock));
    *grown = false;
    for (int i = 0; i < count; i++) {
        if (appends[i]->error != ERR_NONE)
            continue;
        any = true;
        *grown |= !appends[i]->result.duplicate;
        partition_mark(p, TOPIC_BYTES_IN, appends[i]->records->received);
        partition_mark(p, TOPIC_MESSAGES_IN, appends[i]->records->offsets);
    }
    return any;
}

static void commit_growth(struct partition *p, bool grown)
{
    ensure(lock_is_held(&p->lock));
    if (followers_move_high_watermark(p, clock_mono_ms()) || grown)
        partition_wake_all(p);
}

/* No more than the log takes at once. NULL, or the log that is to be flushed before anything of it is committed. */
static struct plog *append_some(struct partition *p, struct leader_append *const *appends, int count)
{
    ensure(lock_is_held(&p->lock));
    int64_t old_end = plog_end_offset(p->log);
    bool grown, flush_due = false;
    plog_append_leader(p->log, appends, count, p->leader_epoch);
    if (!note_appended(p, appends, count, &grown))
        return NULL;
    ensure(!grown || plog_end_offset(p->log) > old_end);
    if (grown)
        followers_note_growth(p, old_end);
    for (int i = 0; i < count; i++) {
        /* What is owed is not committed before, nor what lies behind it, whatever is asked for by now. */
        appends[i]->result.flush_due |= p->unsynced_to > 0 && appends[i]->error == ERR_NONE;
        flush_due |= appends[i]->result.flush_due;
    }
    if (!flush_due) {
        commit_growth(p, grown);
        return NULL;
    }
    p->flushes++;
    plog_ref(p->log);
    return p->log;
}

/* Takes the log, with the reference; or another one, if it was moved meanwhile, with all that was appended. */
static bool flush_log(struct partition *p, struct plog *log, int64_t end)
{
    for (;;) {
        bool flushed = plog_flush_to(log, end);
        lock_take(&p->lock);
        struct plog *other = flushed || p->log == log ? NULL : p->log;
        if (other != NULL)
            plog_ref(other);
        lock_release(&p->lock);
        plog_unref(log);
        if (other == NULL)
            return flushed;
        log = other;
    }
}

/* Without the partition's lock: others go on meanwhile. */
static void flush_appended(struct partition *p, struct plog *log, struct leader_append *const *appends, int count,
                           int32_t leader_epoch)
{
    int64_t end = 0;
    for (int i = 0; i < count; i++)
        if (appends[i]->result.flush_due)
            end = MAX(end, appends[i]->result.last_offset + 1);
    bool flushed = flush_log(p, log, end);
    lock_take(&p->lock);
    enum kafka_error why = has_led_since(p, leader_epoch) ? ERR_KAFKA_STORAGE_ERROR : why_not_leading(p);
    for (int i = 0; i < count; i++)
        if (appends[i]->result.flush_due && !flushed)
            appends[i]->error = why;
    if (!flushed)
        p->unsynced_to = MAX(p->unsynced_to, end);
    ensure(p->flushes > 0);
    p->flushes--;
    commit_growth(p, true);
    lock_release(&p->lock);
}

/* Errors that clients run into as things go, and what is said of by meters of its own. */
static bool append_error_is_usual(enum kafka_error error)
{
    switch (error) {
    case ERR_NONE:
    case ERR_NOT_LEADER_OR_FOLLOWER:
    case ERR_UNKNOWN_TOPIC_OR_PARTITION:
    case ERR_MESSAGE_TOO_LARGE:
    case ERR_RECORD_LIST_TOO_LARGE:
    case ERR_CORRUPT_MESSAGE:
    case ERR_KAFKA_STORAGE_ERROR:
    case ERR_UNKNOWN_TOPIC_ID:
        return true;
    default:
        return false;
    }
}

void partition_count_append(struct partition *p, enum kafka_error error)
{
    partition_mark(p, TOPIC_TOTAL_PRODUCE, 1);
    if (!append_error_is_usual(error))
        partition_mark(p, TOPIC_FAILED_PRODUCE, 1);
}

static void append_in(struct partition *p, int32_t leader_epoch, struct partition_append *const *appends, int count)
{
    struct leader_append *to_log[LEADER_APPENDS];
    int n = 0;
    ensure(count > 0 && count <= LEADER_APPENDS);
    plog_settle(partition_log(p));
    lock_take(&p->lock);
    for (int i = 0; i < count; i++) {
        struct partition_append *a = appends[i];
        a->leader_epoch = p->leader_epoch;
        a->log.result = (struct append_result){.first_offset = -1, .last_offset = -1, .log_start_offset = -1};
        a->log.error = why_no_append(p, leader_epoch, a->acks);
        if (a->log.error == ERR_NONE)
            to_log[n++] = &a->log;
        else if (a->log.error != ERR_KAFKA_STORAGE_ERROR)
            plog_note_refused(p->log, a->log.records);
    }
    struct plog *to_flush = n > 0 ? append_some(p, to_log, n) : NULL;
    int32_t epoch = p->leader_epoch;
    lock_release(&p->lock);
    if (to_flush != NULL)
        flush_appended(p, to_flush, to_log, n, epoch);
    for (int i = 0; i < count; i++)
        partition_count_append(p, appends[i]->log.error);
}

void partition_append_all(struct partition *p, struct partition_append *const *appends, int count)
{
    append_in(p, ANY_EPOCH, appends, count);
}

enum kafka_error partition_append_in(struct partition *p, int32_t leader_epoch, const struct prepared *records,
                                     int16_t acks, struct append_result *out)
{
    struct partition_append one = {.log.records = records, .acks = acks}, *all[] = {&one};
    append_in(p, leader_epoch, all, ARRAY_LEN(all));
    *out = one.log.result;
    return one.log.error;
}

enum kafka_error partition_check_committed(struct partition *p, int32_t leader_epoch, int64_t offset)
{
    enum kafka_error error = ERR_REQUEST_TIMED_OUT;
    lock_take(&p->lock);
    if (!has_led_since(p, leader_epoch))
        error = why_not_leading(p);
    else if (plog_high_watermark(p->log) > offset)
        error = followers_maximal_isr_size(p) >= followers_min_isr(p) ? ERR_NONE : ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND;
    lock_release(&p->lock);
    return error;
}

bool partition_knows_watermark(struct partition *p)
{
    lock_take(&p->lock);
    bool known = !p->leads || plog_high_watermark(p->log) >= p->epoch_start;
    lock_release(&p->lock);
    return known;
}

/* ---- Deleting from the beginning ---- */

static enum kafka_error delete_records(struct partition *p, int64_t *offset)
{
    struct topic_config config = plog_config(p->log);
    ensure(lock_is_held(&p->lock));
    if (!p->leads)
        return why_not_leading(p);
    if ((config.cleanup_policy & CLEANUP_POLICY_DELETE) == 0)
        return ERR_POLICY_VIOLATION;
    if (*offset == -1)
        *offset = plog_high_watermark(p->log);
    if (*offset < 0)
        return ERR_OFFSET_OUT_OF_RANGE;
    return *offset > plog_start_offset(p->log) ? plog_advance_start(p->log, *offset) : ERR_NONE;
}

enum kafka_error partition_delete_records(struct partition *p, int64_t *offset)
{
    lock_take(&p->lock);
    enum kafka_error error = delete_records(p, offset);
    if (error == ERR_NONE)
        partition_wake_all(p);
    lock_release(&p->lock);
    return error;
}

enum kafka_error partition_low_watermark(struct partition *p, int64_t *out)
{
    lock_take(&p->lock);
    enum kafka_error error = p->leads ? ERR_NONE : why_not_leading(p);
    *out = p->leads ? followers_low_watermark(p) : -1;
    lock_release(&p->lock);
    return error;
}

/* ---- As a follower ---- */

/* With the lock held: whether orders of that epoch's leader still count. */
static enum kafka_error check_follows(const struct partition *p, int32_t leader_epoch)
{
    ensure(lock_is_held(&p->lock));
    if (p->offline)
        return ERR_KAFKA_STORAGE_ERROR;
    return p->leads || p->stopped || p->leader_epoch != leader_epoch ? ERR_FENCED_LEADER_EPOCH : ERR_NONE;
}

enum kafka_error partition_begin_following(struct partition *p, int32_t leader_epoch, int64_t *offset)
{
    lock_take(&p->lock);
    enum kafka_error error = check_follows(p, leader_epoch);
    if (error == ERR_NONE && plog_latest_epoch(p->log) < 0)
        error = plog_truncate(p->log, plog_high_watermark(p->log));
    *offset = plog_end_offset(p->log);
    ensure(error != ERR_NONE || *offset >= plog_start_offset(p->log));
    lock_release(&p->lock);
    return error;
}

enum kafka_error partition_append_follower(struct partition *p, int32_t leader_epoch, struct bytes batches,
                                           struct append_result *out)
{
    lock_take(&p->lock);
    enum kafka_error error = check_follows(p, leader_epoch);
    int64_t old_end = plog_end_offset(p->log);
    if (error == ERR_NONE)
        error = plog_append_follower(p->log, batches, leader_epoch, out);
    if (error == ERR_NONE) {
        ensure(plog_end_offset(p->log) == MAX(old_end, out->last_offset + 1));
        partition_mark(p, BROKER_REPLICATION_IN, batches.len);
        if (int_list_has(p->adding, p->manager->options.broker_id))
            partition_mark(p, BROKER_REASSIGNMENT_IN, batches.len);
    }
    lock_release(&p->lock);
    return error;
}

int64_t partition_lag(const struct partition *p)
{
    ensure(lock_is_held(&p->lock));
    return p->leader_high_watermark < 0 ? -1 : MAX(p->leader_high_watermark - plog_end_offset(p->log), INT64_C(0));
}

int64_t partition_behind(struct partition *p)
{
    lock_take(&p->lock);
    int64_t lag = p->leads || p->stopped ? 0 : partition_lag(p);
    lock_release(&p->lock);
    return MAX(lag, (int64_t)0);
}

void partition_follow_marks(struct partition *p, int32_t leader_epoch, int64_t high_watermark, int64_t start_offset)
{
    lock_take(&p->lock);
    if (check_follows(p, leader_epoch) == ERR_NONE) {
        p->leader_high_watermark = high_watermark;
        if (plog_set_high_watermark(p->log, MIN(high_watermark, plog_end_offset(p->log))))
            partition_wake_all(p);
        if (start_offset > plog_start_offset(p->log))
            plog_advance_start(p->log, start_offset);
    }
    lock_release(&p->lock);
}

enum kafka_error partition_truncate(struct partition *p, int32_t leader_epoch, int64_t offset)
{
    lock_take(&p->lock);
    enum kafka_error error = check_follows(p, leader_epoch);
    int64_t old_end = plog_end_offset(p->log);
    if (error == ERR_NONE)
        error = plog_truncate(p->log, offset);
    if (error == ERR_NONE)
        ensure(plog_end_offset(p->log) <= MIN(old_end, offset));
    lock_release(&p->lock);
    return error;
}

enum kafka_error partition_restart_log(struct partition *p, int32_t leader_epoch, int64_t start_offset)
{
    lock_take(&p->lock);
    enum kafka_error error = check_follows(p, leader_epoch);
    if (error == ERR_NONE)
        error = plog_truncate_fully(p->log, start_offset);
    if (error == ERR_NONE)
        ensure(plog_start_offset(p->log) == start_offset && plog_end_offset(p->log) == start_offset);
    lock_release(&p->lock);
    return error;
}

/* ---- Reading ---- */

static enum kafka_error check_leader_locked(const struct partition *p, int32_t current_leader_epoch)
{
    ensure(lock_is_held(&p->lock));
    if (p->offline)
        return ERR_KAFKA_STORAGE_ERROR;
    if (current_leader_epoch != ANY_EPOCH && current_leader_epoch < p->leader_epoch)
        return ERR_FENCED_LEADER_EPOCH;
    if (current_leader_epoch > p->leader_epoch)
        return ERR_UNKNOWN_LEADER_EPOCH;
    return p->leads ? ERR_NONE : ERR_NOT_LEADER_OR_FOLLOWER;
}

enum kafka_error partition_check_leader(struct partition *p, int32_t current_leader_epoch)
{
    lock_take(&p->lock);
    enum kafka_error error = check_leader_locked(p, current_leader_epoch);
    lock_release(&p->lock);
    return error;
}

int32_t partition_leader_epoch(struct partition *p)
{
    lock_take(&p->lock);
    int32_t epoch = p->leader_epoch;
    lock_release(&p->lock);
    return epoch;
}

int64_t partition_readable_end(struct partition *p, enum isolation isolation, int32_t replica_id)
{
    if (replica_id >= 0)
        return plog_end_offset(p->log);
    return isolation == READ_COMMITTED ? plog_last_stable_offset(p->log) : plog_high_watermark(p->log);
}

/*
 * The reader's last epoch has ended here before its offset, or is not known here: it must cut its log back first. Not
 * one that asks for what was deleted here: a follower would cut its log for that, and needs to begin it anew.
 */
static enum kafka_error find_divergence(struct partition *p, const struct partition_read *read,
                                        struct partition_data *out)
{
    int32_t epoch;
    int64_t end;
    plog_epoch_end(p->log, read->last_fetched_epoch, &epoch, &end);
    if (epoch < 0 || end < 0 || read->offset < plog_start_offset(p->log))
        return ERR_OFFSET_OUT_OF_RANGE;
    if (epoch < read->last_fetched_epoch || end < read->offset) {
        out->diverging_epoch = epoch;
        out->diverging_end = end;
    }
    return ERR_NONE;
}

bool partition_shares_log(struct partition *p, const struct partition_read *read)
{
    ensure(lock_is_held(&p->lock));
    struct partition_data data = {.diverging_epoch = -1};
    return check_leader_locked(p, read->current_leader_epoch) == ERR_NONE &&
           read->offset >= plog_start_offset(p->log) && read->offset <= plog_end_offset(p->log) &&
           (read->last_fetched_epoch < 0 || (find_divergence(p, read, &data) == ERR_NONE && data.diverging_epoch < 0));
}

static enum kafka_error partition_check_reader(struct partition *p, const struct partition_read *read)
{
    lock_take(&p->lock);
    enum kafka_error error = check_leader_locked(p, read->current_leader_epoch);
    if (error == ERR_NOT_LEADER_OR_FOLLOWER && read->from_follower && !p->stopped && p->leader >= 0)
        error = ERR_NONE;
    bool as_replica = read->replica_id >= 0;
    if (error == ERR_NONE && as_replica &&
        (read->replica_id == p->manager->options.broker_id || !int_list_has(p->replicas, read->replica_id)))
        error = ERR_NOT_LEADER_OR_FOLLOWER; /* it reads above the watermark: only who is meant to have all may do so */
    lock_release(&p->lock);
    return error;
}

enum kafka_error partition_fetch(struct partition *p, const struct partition_read *read, struct partition_data *out)
{
    *out = (struct partition_data){.high_watermark = -1,
                                   .last_stable_offset = -1,
                                   .log_start_offset = -1,
                                   .diverging_epoch = -1,
                                   .diverging_end = -1};
    enum kafka_error error = partition_check_reader(p, read);
    if (error != ERR_NONE)
        return error;
    out->high_watermark = plog_high_watermark(p->log);
    out->last_stable_offset = plog_last_stable_offset(p->log);
    out->log_start_offset = plog_start_offset(p->log);
    if (read->last_fetched_epoch >= 0) {
        error = find_divergence(p, read, out);
        if (error != ERR_NONE || out->diverging_epoch >= 0)
            return error;
    }
    int64_t upper = partition_readable_end(p, read->isolation, read->replica_id);
    return plog_read(p->log, read->offset, read->max_bytes, read->at_least_one, upper, read->may_block, &out->slice);
}
