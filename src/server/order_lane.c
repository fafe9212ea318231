/*
 * Orders of the controller, LeaderAndIsr and StopReplica, are obeyed one after the other, in the order in which they
 * came, whatever connections they came by: a controller that has given up waiting sends its order again on a new
 * connection while the first one is still at work, and a new controller may speak while the last one's order is. An
 * order holds the lane from its first look at the epochs until it is answered. What it does to logs runs on a thread
 * of its own, so that reads of cold disks, which take the workers, do not hold up elections.
 */
#include "base/lock.h"
#include "server/server_internal.h"

struct order_lane {
    struct lock lock; /* guards all */
    struct order *first, **last;
    bool busy; /* the first of the queue waits for somebody who has left the queue */
};

struct order_lane *order_lane_new(void)
{
    struct order_lane *lane = xcalloc(1, sizeof(*lane));
    lock_init(&lane->lock, RANK_ORDER_LANE);
    lane->last = &lane->first;
    return lane;
}

void order_lane_free(struct order_lane *lane)
{
    if (lane == NULL)
        return;
    ensure(lane->first == NULL);
    lock_deinit(&lane->lock);
    free(lane);
}

void order_enter(struct order *o, struct request *r, void (*begin)(struct request *r))
{
    struct order_lane *lane = r->s->order_lane;
    *o = (struct order){r, begin, NULL};
    request_park(r);
    lock_take(&lane->lock);
    ensure(lane->busy || lane->first == NULL); /* nobody waits for a lane that is free */
    bool free_now = !lane->busy;
    lane->busy = true;
    if (!free_now) {
        *lane->last = o;
        lane->last = &o->next;
    }
    lock_release(&lane->lock);
    if (free_now)
        begin(r);
}

void order_leave(struct order_lane *lane)
{
    lock_take(&lane->lock);
    struct order *next = lane->first;
    ensure(lane->busy);
    if (next == NULL) {
        lane->busy = false;
    } else {
        lane->first = next->next;
        if (lane->first == NULL)
            lane->last = &lane->first;
    }
    lock_release(&lane->lock);
    if (next != NULL)
        request_return(next->request, next->begin);
}

enum kafka_error controller_check(const struct request *r, int64_t broker_epoch, int32_t controller_epoch)
{
    if (broker_epoch >= 0 && broker_epoch < r->s->broker_epoch)
        return ERR_STALE_BROKER_EPOCH;
    return replica_check_controller(r->s->replicas, controller_epoch);
}
