/* Waiting for a partition to change, and being told. */
#include <utlist.h>

#include "base/lock.h"
#include "replica/replica_internal.h"

struct wake_queue {
    struct message message;
    struct loop *loop;
    struct lock lock;
    struct sleeper *first, **last;
    bool posted;
};

static void deliver_wakes(struct message *m)
{
    struct wake_queue *q = CONTAINER_OF(m, struct wake_queue, message);
    ensure(loop_is_mine(q->loop));
    lock_take(&q->lock);
    q->posted = false;
    struct sleeper *s;
    /* One by one, as a woken sleeper may cancel others. Those that are queued meanwhile post again. */
    int budget = 0;
    for (s = q->first; s != NULL; s = s->next)
        budget++;
    while (budget-- > 0 && (s = q->first) != NULL) {
        ensure(s->queued);
        q->first = s->next;
        if (q->first == NULL)
            q->last = &q->first;
        s->queued = false;
        lock_release(&q->lock);
        s->wake(s);
        lock_take(&q->lock);
    }
    lock_release(&q->lock);
}

struct wake_queue *wake_queue_new(struct loop *loop)
{
    struct wake_queue *q = xcalloc(1, sizeof(*q));
    q->message.deliver = deliver_wakes;
    q->loop = loop;
    q->last = &q->first;
    lock_init(&q->lock, RANK_WAKE_QUEUE);
    return q;
}

void wake_queue_free(struct wake_queue *q)
{
    if (q == NULL)
        return;
    lock_deinit(&q->lock);
    free(q);
}

void sleeper_wake(struct sleeper *s)
{
    struct wake_queue *q = s->queue;
    ensure(q != NULL && s->wake != NULL);
    lock_take(&q->lock);
    bool post = false;
    if (!s->queued) {
        s->queued = true;
        s->next = NULL;
        *q->last = s;
        q->last = &s->next;
        post = !q->posted;
        q->posted = true;
    }
    lock_release(&q->lock);
    if (post)
        loop_post(q->loop, &q->message);
}

void sleeper_cancel(struct sleeper *s)
{
    struct wake_queue *q = s->queue;
    if (q == NULL)
        return;
    lock_take(&q->lock);
    for (struct sleeper **link = &q->first; s->queued && *link != NULL; link = &(*link)->next) {
        if (*link != s)
            continue;
        *link = s->next;
        if (*link == NULL)
            q->last = link;
        s->queued = false;
        break;
    }
    lock_release(&q->lock);
}

static void register_waiter(struct partition *p, struct waiter *waiter)
{
    ensure(waiter->partition == NULL);
    ensure((waiter->sleeper != NULL) != (waiter->changed != NULL));
    waiter->partition = p;
    partition_ref(p);
    lock_take(&p->lock);
    DL_APPEND(p->waiters, waiter);
    lock_release(&p->lock);
}

void partition_wait(struct partition *p, struct waiter *waiter, struct sleeper *s)
{
    waiter->sleeper = s;
    register_waiter(p, waiter);
}

void partition_watch(struct partition *p, struct waiter *waiter, void (*changed)(struct waiter *self))
{
    waiter->changed = changed;
    register_waiter(p, waiter);
}

void partition_unwait(struct waiter *waiter)
{
    struct partition *p = waiter->partition;
    if (p == NULL)
        return;
    lock_take(&p->lock);
    DL_DELETE(p->waiters, waiter);
    lock_release(&p->lock);
    waiter->partition = NULL;
    partition_unref(p);
}

void partition_wake_all(struct partition *p)
{
    ensure(lock_is_held(&p->lock));
    struct waiter *waiter;
    DL_FOREACH (p->waiters, waiter) {
        if (waiter->changed != NULL)
            waiter->changed(waiter);
        else
            sleeper_wake(waiter->sleeper);
    }
}
