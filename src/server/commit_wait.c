/*
 * Requests that are answered when what they have appended is on all replicas in sync, or the time is over.
 *
 * Each append is an item. It settles by its own: committed, refused as this broker leads no more, or out of time; when
 * none is left the request is answered, once. Items are looked at once more after they have been hung up to wait, as
 * the followers may have fetched between the append and that, and nobody would wake them.
 *
 * When who has asked is gone, nobody wants to know any more, and the wait is over. Unless it is for others, as groups
 * that hear here of the end of a transaction: then it goes on until the deadline, as in Apache's broker all do.
 */
#include "base/clock.h"
#include "server/server_internal.h"
#include "server/waiting_metrics.h"

enum { UNASKED_LOOK_MS = 200 };

static void commit_wait_on_deadline(struct timer *t);

void commit_wait_init(struct commit_wait *w, struct request *r, int32_t count)
{
    w->r = r;
    w->count = w->unsettled = count;
    w->items = ARENA_ARRAY(r->arena, struct commit_item, MAX(count, 1));
    timer_init(&w->deadline, exchange_loop(r->x), commit_wait_on_deadline);
}

void commit_settle(struct commit_wait *w, int32_t i, enum kafka_error error)
{
    struct commit_item *item = &w->items[i];
    ensure(i >= 0 && i < w->count && loop_is_mine(exchange_loop(w->r->x)));
    ensure(!item->settled && w->unsettled > 0);
    item->settled = true;
    partition_unwait(&item->waiter);
    partition_unref(item->partition);
    item->partition = NULL; /* nothing of this exchange hangs there any more */
    w->unsettled--;
    w->settled(w, i, error);
}

static void commit_wait_finish(struct commit_wait *w)
{
    ensure(w->unsettled == 0);
    w->r->x->abandoned = NULL;
    timer_stop(&w->deadline);
    sleeper_cancel(&w->sleeper);
    if (w->places > 0)
        waiting_count(w->r->s->waiting, WAITING_PRODUCE, -1, -w->places);
    w->over(w);
}

static void commit_wait_check_all(struct commit_wait *w)
{
    for (int32_t i = 0; i < w->count; i++) {
        struct commit_item *item = &w->items[i];
        if (item->partition == NULL)
            continue;
        enum kafka_error error = partition_check_committed(item->partition, item->leader_epoch, item->last_offset);
        if (error != ERR_REQUEST_TIMED_OUT)
            commit_settle(w, i, error);
    }
}

static void commit_wait_on_wake(struct sleeper *s)
{
    struct commit_wait *w = CONTAINER_OF(s, struct commit_wait, sleeper);
    commit_wait_check_all(w);
    if (w->unsettled == 0)
        commit_wait_finish(w);
}

/* `expired`: the time is over; else nobody wants to know any more. */
static void commit_wait_give_up(struct commit_wait *w, bool expired)
{
    commit_wait_check_all(w);
    if (expired)
        waiting_expired(w->r->s->waiting, WAITING_PRODUCE, w->unsettled, false);
    for (int32_t i = 0; i < w->count; i++)
        if (w->items[i].partition != NULL) {
            if (expired)
                partition_count_expired(w->items[i].partition);
            commit_settle(w, i, ERR_REQUEST_TIMED_OUT);
        }
    commit_wait_finish(w);
}

/* A broker that stops lets go of all connections, but not of what has none: that looks for itself. */
static void commit_wait_go_on(struct commit_wait *w)
{
    const struct request *r = w->r;
    int64_t left_ms = w->ends_ms - clock_mono_ms();
    bool unasked = exchange_is_orphan(r->x), stopping = atomic_load(&r->s->state) == BROKER_SHUTTING_DOWN;
    if (left_ms <= 0 || (unasked && (!w->for_others || stopping)))
        commit_wait_give_up(w, left_ms <= 0);
    else
        timer_start(&w->deadline, unasked ? MIN(left_ms, (int64_t)UNASKED_LOOK_MS) : left_ms);
}

static void commit_wait_on_deadline(struct timer *t)
{
    commit_wait_go_on(CONTAINER_OF(t, struct commit_wait, deadline));
}

static void commit_wait_on_abandoned(struct exchange *x)
{
    struct request *r = x->context;
    commit_wait_go_on(r->waiting);
}

void commit_wait(struct commit_wait *w, int64_t timeout_ms)
{
    struct request *r = w->r;
    ensure(w->unsettled > 0 && w->places == 0 && w->settled != NULL && w->over != NULL);
    w->sleeper = (struct sleeper){.queue = request_loop_share(r)->wakes, .wake = commit_wait_on_wake};
    for (int32_t i = 0; i < w->count; i++)
        if (w->items[i].partition != NULL)
            partition_wait(w->items[i].partition, &w->items[i].waiter, &w->sleeper);
    commit_wait_check_all(w);
    if (w->unsettled == 0) {
        commit_wait_finish(w);
        return;
    }
    request_park(r);
    w->places = w->unsettled;
    waiting_count(r->s->waiting, WAITING_PRODUCE, 1, w->places);
    r->waiting = w;
    r->x->abandoned = commit_wait_on_abandoned;
    w->ends_ms = saturating_add(clock_mono_ms(), timeout_ms);
    commit_wait_go_on(w); /* who has asked may have gone while it was elsewhere */
}
