/*
 * What a leader knows of its followers, and what follows from it: the high watermark, and who is in sync.
 *
 * The high watermark, by an example: the leader (1) ends at 120, follower 2 has fetched up to 110, follower 3 up to
 * 90. With an ISR of {1, 2, 3} it is 90. When 3 has not caught up for replica.lag.time.max.ms, the leader proposes {1,
 * 2}; until the controller has agreed, 3 still counts. Then it rises to 110. When 3 is there again, {1, 2, 3} is
 * proposed, and counts from that moment, as the controller may have agreed before the leader hears of it. While the
 * ISR is smaller than min.insync.replicas, it stands still.
 *
 * What a follower asks for where is known by partition; when it asked at all, by its fetch session, as a partition
 * with nothing new is not named for hours and its follower is in sync all the same. Only a fetch brings it into the
 * ISR: what it had before may have gone with its disk.
 */
#include <inttypes.h>

#include "base/clock.h"
#include "base/logger.h"
#include "base/probe.h"
#include "replica/replica_internal.h"

static struct follower *followers_find(const struct partition *p, int32_t id)
{
    for (int32_t i = 0; i < p->follower_count; i++)
        if (p->followers[i].id == id)
            return &p->followers[i];
    return NULL;
}

static int64_t lag_ms(const struct partition *p)
{
    return p->manager->options.config->replica_lag_time_max_ms;
}

static bool is_caught_up(const struct partition *p, const struct follower *f, int64_t now)
{
    return f->end_offset == plog_end_offset(p->log) || (f->caught_up_ms > 0 && now - f->caught_up_ms <= lag_ms(p));
}

/* ---- Sessions ---- */

struct pulse {
    atomic_int refs;
    _Atomic int64_t ms, broker_epoch;
};

struct pulse *pulse_new(void)
{
    struct pulse *pulse = xcalloc(1, sizeof(*pulse));
    atomic_init(&pulse->refs, 1);
    atomic_init(&pulse->broker_epoch, -1);
    return pulse;
}

void pulse_unref(struct pulse *pulse)
{
    if (pulse == NULL)
        return;
    int before = atomic_fetch_sub(&pulse->refs, 1);
    ensure(before > 0);
    if (before == 1)
        free(pulse);
}

void pulse_beat(struct pulse *pulse, int64_t broker_epoch, int64_t now)
{
    atomic_store(&pulse->broker_epoch, broker_epoch);
    atomic_store(&pulse->ms, now);
}

static int64_t follower_broker_epoch(const struct follower *f)
{
    return f->pulse != NULL ? (int64_t)atomic_load(&f->pulse->broker_epoch) : f->broker_epoch;
}

static void set_pulse(struct follower *f, struct pulse *pulse)
{
    if (f->pulse == pulse)
        return;
    f->broker_epoch = follower_broker_epoch(f);
    if (pulse != NULL)
        atomic_fetch_add(&pulse->refs, 1);
    pulse_unref(f->pulse);
    f->pulse = pulse;
}

static int64_t last_pulse(const struct follower *f)
{
    return f->pulse != NULL ? (int64_t)atomic_load(&f->pulse->ms) : 0;
}

/* What was asked for last is no word of what it has now. */
void partition_pulse_gone(struct partition *p, const struct pulse *pulse)
{
    lock_take(&p->lock);
    for (int32_t i = 0; i < p->follower_count; i++) {
        struct follower *f = &p->followers[i];
        if (f->pulse != pulse)
            continue;
        if (f->end_offset == plog_end_offset(p->log))
            f->caught_up_ms = MAX(f->caught_up_ms, last_pulse(f));
        set_pulse(f, NULL);
    }
    lock_release(&p->lock);
}

void followers_note_growth(struct partition *p, int64_t old_end)
{
    ensure(lock_is_held(&p->lock));
    for (int32_t i = 0; i < p->follower_count; i++) {
        struct follower *f = &p->followers[i];
        if (f->end_offset == old_end)
            f->caught_up_ms = MAX(f->caught_up_ms, last_pulse(f));
    }
}

/* ---- What always holds ---- */

static void check_isr(const struct partition *p)
{
    int32_t self = p->manager->options.broker_id;
    ensure(int_list_within(p->isr, p->replicas));
    ensure(!p->leads || (p->leader == self && int_list_has(p->isr, self)));
    ensure((p->isr_change == ISR_SETTLED) == (p->wanted_isr.n == 0));
    ensure(p->isr_change == ISR_SETTLED || p->leads);
    ensure(int_list_within(p->wanted_isr, p->replicas));
    ensure(p->isr_change != ISR_GROWING || int_list_within(p->isr, p->wanted_isr));
    ensure(p->isr_change != ISR_SHRINKING || int_list_within(p->wanted_isr, p->isr));
}

void followers_check(const struct partition *p)
{
    ensure(lock_is_held(&p->lock));
    check_isr(p);
    ensure(p->leads ? p->follower_count == p->replicas.n - 1 : p->follower_count == 0);
    for (int32_t i = 0; i < p->follower_count; i++) {
        const struct follower *f = &p->followers[i];
        ensure(f->id != p->leader && int_list_has(p->replicas, f->id));
        ensure(f->end_offset <= plog_end_offset(p->log)); /* a leader cuts nothing */
    }
}

/* ---- An epoch ---- */

static struct follower begin_follower(const struct partition *p, const struct follower *old, int32_t id, int64_t now)
{
    ensure(id != p->manager->options.broker_id && int_list_has(p->replicas, id));
    struct follower f = {.id = id, .end_offset = -1, .start_offset = -1, .broker_epoch = -1};
    if (old != NULL)
        f = *old;
    f.pulse = NULL;
    if (old != NULL)
        set_pulse(&f, old->pulse);
    f.leader_end_then = old != NULL ? plog_end_offset(p->log) : -1;
    f.fetched_ms = old != NULL ? now : 0;
    f.caught_up_ms = int_list_has(p->isr, id) ? now : 0;
    return f;
}

void followers_begin(struct partition *p, bool was_leader, int64_t now)
{
    ensure(lock_is_held(&p->lock));
    struct follower *list = xcalloc((size_t)p->replicas.n + 1, sizeof(*list));
    int32_t count = 0, self = p->manager->options.broker_id;
    ensure(p->leads);
    for (int32_t i = 0; i < p->replicas.n; i++)
        if (p->replicas.v[i] != self)
            list[count++] =
                begin_follower(p, was_leader ? followers_find(p, p->replicas.v[i]) : NULL, p->replicas.v[i], now);
    followers_free(p);
    p->followers = list;
    p->follower_count = count;
}

static void settle_isr(struct partition *p)
{
    ensure(lock_is_held(&p->lock));
    free(p->wanted_isr.v);
    p->wanted_isr = (struct int_list){0};
    p->isr_change = ISR_SETTLED;
}

/* Each once. */
static struct int_list distinct(struct int_list list)
{
    struct int_list out = {0};
    for (int32_t i = 0; i < list.n; i++)
        if (!int_list_has(out, list.v[i]))
            int_list_append(&out, list.v[i]);
    return out;
}

void followers_take_replicas(struct partition *p, struct int_list replicas)
{
    ensure(lock_is_held(&p->lock));
    free(p->replicas.v);
    p->replicas = distinct(replicas);
}

/* Those of the replicas, and this broker if it leads: it has what is committed, whatever is said. */
static struct int_list possible_isr(const struct partition *p, struct int_list isr)
{
    ensure(lock_is_held(&p->lock));
    int32_t self = p->manager->options.broker_id;
    struct int_list out = distinct(isr);
    for (int32_t i = out.n; i-- > 0;)
        if (!int_list_has(p->replicas, out.v[i]))
            int_list_remove(&out, out.v[i]);
    if (p->leads && !int_list_has(out, self))
        int_list_append(&out, self);
    return out;
}

void followers_take_isr(struct partition *p, struct int_list isr)
{
    ensure(lock_is_held(&p->lock));
    settle_isr(p);
    free(p->isr.v);
    p->isr = possible_isr(p, isr);
    PROBE(isr__change, partition_topic(p), partition_index(p), p->isr.n);
    if (!int_list_within(isr, p->isr) || !int_list_within(p->isr, isr))
        log_warn("[Partition %s-%" PRId32 " broker=%" PRId32
                 "] The ISR that was written is not possible, as it is not of its replicas, or without its "
                 "leader; what is possible of it counts",
                 p->key.topic, p->key.index, p->manager->options.broker_id);
}

void followers_free(struct partition *p)
{
    for (int32_t i = 0; i < p->follower_count; i++)
        pulse_unref(p->followers[i].pulse);
    free(p->followers);
    p->followers = NULL;
    p->follower_count = 0;
}

void followers_end(struct partition *p)
{
    ensure(lock_is_held(&p->lock));
    followers_free(p);
    settle_isr(p);
}

/* ---- The high watermark ---- */

/* While it grows, the new member counts already; while it shrinks, the old one still does. */
bool followers_in_maximal_isr(const struct partition *p, int32_t id)
{
    ensure(lock_is_held(&p->lock));
    return int_list_has(p->isr_change == ISR_GROWING ? p->wanted_isr : p->isr, id);
}

int32_t followers_maximal_isr_size(const struct partition *p)
{
    ensure(lock_is_held(&p->lock));
    return p->isr_change == ISR_GROWING ? p->wanted_isr.n : p->isr.n;
}

int32_t followers_min_isr(const struct partition *p)
{
    ensure(lock_is_held(&p->lock));
    struct topic_config config = plog_config(p->log);
    return MIN(config.min_insync_replicas, p->replicas.n);
}

/* Of what flush.messages wants synced: it is, or somebody is at it, or it could not be done and is not done since. */
static bool waits_for_sync(struct partition *p)
{
    ensure(lock_is_held(&p->lock));
    if (p->unsynced_to > 0 && plog_recovery_point(p->log) >= MIN(p->unsynced_to, plog_end_offset(p->log)))
        p->unsynced_to = 0;
    return p->flushes > 0 || p->unsynced_to > 0;
}

/*
 * The least of what all in sync have; one that is about to join them is waited for as well, or it could never
 * catch up with a watermark that runs ahead of it. Of its own log a leader has what is synced, as long as somebody
 * waits for that.
 */
bool followers_move_high_watermark(struct partition *p, int64_t now)
{
    ensure(lock_is_held(&p->lock));
    int64_t least = waits_for_sync(p) ? plog_recovery_point(p->log) : plog_end_offset(p->log);
    int64_t before = plog_high_watermark(p->log);
    if (!p->leads || p->isr.n < followers_min_isr(p))
        return false;
    for (int32_t i = 0; i < p->follower_count; i++) {
        const struct follower *f = &p->followers[i];
        if (f->end_offset < least &&
            (followers_in_maximal_isr(p, f->id) ||
             (is_caught_up(p, f, now) && p->manager->options.may_join_isr(p->manager->options.ctx, f->id))))
            least = f->end_offset;
    }
    bool moved = least > before && plog_set_high_watermark(p->log, least);
    ensure(plog_high_watermark(p->log) == MAX(before, least)); /* never back, and never behind the end */
    return moved;
}

/* Where nothing is heard of the followers that would move it: one that was waited for is so no longer. */
static void commit_what_may_be(struct partition *p, int64_t now)
{
    ensure(lock_is_held(&p->lock));
    if (followers_move_high_watermark(p, now))
        partition_wake_all(p);
}

int64_t followers_low_watermark(const struct partition *p)
{
    ensure(lock_is_held(&p->lock));
    int64_t low = plog_start_offset(p->log);
    for (int32_t i = 0; i < p->follower_count; i++)
        if (p->manager->options.may_join_isr(p->manager->options.ctx, p->followers[i].id))
            low = MIN(low, p->followers[i].start_offset);
    return low;
}

/* ---- The ISR ---- */

/* With the lock held; the manager asks the controller on another thread. */
static void want_isr(struct partition *p, struct int_list isr, enum isr_change change)
{
    ensure(lock_is_held(&p->lock));
    ensure(p->leads && p->isr_change == ISR_SETTLED && change != ISR_SETTLED);
    p->wanted_isr = isr;
    p->isr_change = change;
    followers_check(p);
    p->manager->options.isr_wanted(p->manager->options.ctx, p);
}

/*
 * A follower joins when it has all that is committed, and all that the leader had when its epoch began. One that may
 * not now is looked at again when its session is used next: where nothing is written, its fetches do not name the
 * partition. Only a fetch can tell that it still has what it had, as it may be back without its disk.
 */
static void maybe_grow(struct partition *p, const struct follower *f)
{
    ensure(lock_is_held(&p->lock));
    struct replica_manager *rm = p->manager;
    if (int_list_has(p->isr, f->id) || f->end_offset < plog_high_watermark(p->log) || f->end_offset < p->epoch_start)
        return;
    if (p->isr_change != ISR_SETTLED || !rm->options.may_join_isr(rm->options.ctx, f->id)) {
        atomic_store(&rm->growth_wanted, true);
        return;
    }
    log_info("[Partition %s-%" PRId32 " broker=%" PRId32 "] Broker %" PRId32 " has caught up at offset %" PRId64
             ", to be in sync",
             p->key.topic, p->key.index, p->manager->options.broker_id, f->id, f->end_offset);
    struct int_list isr = int_list_dup(p->isr);
    int_list_append(&isr, f->id);
    want_isr(p, isr, ISR_GROWING);
}

void partition_grow_isr(struct partition *p, const struct pulse *pulse)
{
    lock_take(&p->lock);
    for (int32_t i = 0; p->leads && i < p->follower_count; i++)
        if (p->followers[i].pulse == pulse)
            maybe_grow(p, &p->followers[i]);
    commit_what_may_be(p, clock_mono_ms());
    lock_release(&p->lock);
}

static void note_fetch(struct partition *p, struct follower *f, const struct partition_read *read, int64_t start_offset,
                       struct pulse *pulse, int64_t now)
{
    ensure(lock_is_held(&p->lock));
    int64_t offset = read->offset;
    set_pulse(f, pulse);
    f->broker_epoch = read->broker_epoch; /* which counts without a session: the one before may be of another life */
    int64_t end = plog_end_offset(p->log);
    ensure(p->leads && offset >= 0 && offset <= end);
    if (offset >= end)
        f->caught_up_ms = MAX(f->caught_up_ms, now);
    else if (offset >= f->leader_end_then)
        f->caught_up_ms = MAX(f->caught_up_ms, f->fetched_ms);
    bool moved = f->end_offset != offset, cut = f->start_offset != start_offset;
    f->end_offset = offset;
    f->start_offset = start_offset;
    f->leader_end_then = end;
    f->fetched_ms = now;
    maybe_grow(p, f);
    if ((moved && followers_move_high_watermark(p, now)) || cut)
        partition_wake_all(p);
}

bool partition_note_fetch(struct partition *p, const struct partition_read *read, int64_t start_offset,
                          struct pulse *pulse, int64_t now)
{
    lock_take(&p->lock);
    struct follower *f = p->leads ? followers_find(p, read->replica_id) : NULL;
    bool counts = f != NULL && partition_shares_log(p, read);
    if (counts)
        note_fetch(p, f, read, start_offset, pulse, now);
    lock_release(&p->lock);
    return counts;
}

void partition_shrink_isr(struct partition *p, int64_t now)
{
    lock_take(&p->lock);
    struct int_list isr = int_list_dup(p->isr);
    if (p->leads && p->isr_change == ISR_SETTLED) {
        for (int32_t i = 0; i < p->follower_count; i++) {
            const struct follower *f = &p->followers[i];
            if (!int_list_has(isr, f->id) || is_caught_up(p, f, now))
                continue;
            log_info("[Partition %s-%" PRId32 " broker=%" PRId32 "] Broker %" PRId32 " at offset %" PRId64
                     " has fallen behind %" PRId64 ", no longer in sync",
                     p->key.topic, p->key.index, p->manager->options.broker_id, f->id, f->end_offset,
                     plog_end_offset(p->log));
            int_list_remove(&isr, f->id);
        }
        if (isr.n < p->isr.n) {
            want_isr(p, isr, ISR_SHRINKING);
            isr.v = NULL;
        }
    }
    free(isr.v);
    commit_what_may_be(p, now);
    lock_release(&p->lock);
}

/* ---- What the controller is asked, and what it answers ---- */

static int64_t *epochs_of_brokers(const struct partition *p, struct arena *a, struct int_list brokers)
{
    ensure(lock_is_held(&p->lock));
    int64_t *epochs = ARENA_ARRAY(a, int64_t, MAX(brokers.n, 1));
    for (int32_t i = 0; i < brokers.n; i++) {
        const struct follower *f = followers_find(p, brokers.v[i]);
        ensure(f != NULL || brokers.v[i] == p->leader);
        epochs[i] = f != NULL ? follower_broker_epoch(f) : -1;
    }
    return epochs;
}

bool partition_isr_proposal(struct partition *p, struct arena *a, struct isr_proposal *out)
{
    lock_take(&p->lock);
    bool wanted = p->leads && p->isr_change != ISR_SETTLED;
    if (wanted)
        *out = (struct isr_proposal){.leader_epoch = p->leader_epoch,
                                     .partition_epoch = p->partition_epoch,
                                     .isr = int_list_copy(a, p->wanted_isr),
                                     .broker_epochs = epochs_of_brokers(p, a, p->wanted_isr)};
    lock_release(&p->lock);
    return wanted;
}

void partition_isr_decided(struct partition *p, int32_t leader_epoch, int32_t partition_epoch, struct int_list isr)
{
    lock_take(&p->lock);
    if (p->leads && p->leader_epoch == leader_epoch && partition_epoch >= p->partition_epoch) {
        p->partition_epoch = partition_epoch;
        if (isr.n < p->isr.n)
            meter_mark(&p->manager->isr_shrinks, 1);
        else if (isr.n > p->isr.n)
            meter_mark(&p->manager->isr_expands, 1);
        followers_take_isr(p, isr);
        followers_check(p);
        followers_move_high_watermark(p, clock_mono_ms());
        if (isr.n < p->replicas.n)
            atomic_fetch_add(&p->manager->growth_round, 1);
        partition_wake_all(p); /* who waits for enough in sync */
    }
    lock_release(&p->lock);
}

void partition_count_isr_failure(struct partition *p)
{
    meter_mark(&p->manager->isr_failures, 1);
}

void partition_isr_refused(struct partition *p, int32_t leader_epoch)
{
    lock_take(&p->lock);
    if (p->leads && p->leader_epoch == leader_epoch) {
        settle_isr(p);
        followers_check(p);
        commit_what_may_be(p, clock_mono_ms());
    }
    lock_release(&p->lock);
    atomic_store(&p->manager->growth_wanted, true);
}

/* ---- Consumers that read from a follower ---- */

static bool is_further(const struct follower *a, const struct follower *b)
{
    if (a->end_offset != b->end_offset)
        return a->end_offset > b->end_offset;
    if (a->caught_up_ms != b->caught_up_ms)
        return a->caught_up_ms > b->caught_up_ms;
    return a->id > b->id;
}

int32_t partition_preferred_replica(struct partition *p, int64_t offset, bool (*fits)(void *ctx, int32_t broker),
                                    void *ctx)
{
    const struct follower *best = NULL;
    lock_take(&p->lock);
    for (int32_t i = 0; p->leads && i < p->follower_count; i++) {
        const struct follower *f = &p->followers[i];
        if (int_list_has(p->isr, f->id) && f->end_offset >= offset && f->start_offset <= offset && fits(ctx, f->id) &&
            (best == NULL || is_further(f, best)))
            best = f;
    }
    int32_t id = best != NULL ? best->id : -1;
    lock_release(&p->lock);
    return id;
}
