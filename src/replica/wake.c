/* Waiting for a partition to change, and being told. */
#include <pthread.h>
#include <utlist.h>

#include "replica/replica_internal.h"

struct wake_queue {
    struct message message;
    struct loop *loop;
    pthread_mutex_t lock;
    struct sleeper *first, **last;
    bool posted;
};

static void deliver_wakes(struct message *m)
{
    struct wake_queue *q = CONTAINER_OF(m, struct wake_queue, message);
    pthread_mutex_lock(&q->lock);
    q->posted = false;
    struct sleeper *s;
    /* One by one, as a woken sleeper may cancel others. Those that are queued meanwhile post again. */
    int budget = 0;
    for (s = q->first; s != NULL; s = s->next)
        budget++;
    while (budget-- > 0 && (s = q->first) != NULL) {
        q->first = s->next;
        if (q->first == NULL)
            q->last = &q->first;
        s->queued = false;
        pthread_mutex_unlock(&q->lock);
        s->wake(s);
        pthread_mutex_lock(&q->lock);
    }
    pthread_mutex_unlock(&q->lock);
}

struct wake_queue *wake_queue_new(struct loop *loop)
{
    struct wake_queue *q = xcalloc(1, sizeof(*q));
    q->message.deliver = deliver_wakes;
    q->loop = loop;
    q->last = &q->first;
    pthread_mutex_init(&q->lock, NULL);
    return q;
}

void wake_queue_free(struct wake_queue *q)
{
    if (q == NULL)
        return;
    pthread_mutex_destroy(&q->lock);
    free(q);
}

void sleeper_wake(struct sleeper *s)
{
    struct wake_queue *q = s->queue;
    pthread_mutex_lock(&q->lock);
    bool post = false;
    if (!s->queued) {
        s->queued = true;
        s->next = NULL;
        *q->last = s;
        q->last = &s->next;
        post = !q->posted;
        q->posted = true;
    }
    pthread_mutex_unlock(&q->lock);
    if (post)
        loop_post(q->loop, &q->message);
}

void sleeper_cancel(struct sleeper *s)
{
    struct wake_queue *q = s->queue;
    if (q == NULL)
        return;
    pthread_mutex_lock(&q->lock);
    for (struct sleeper **link = &q->first; s->queued && *link != NULL; link = &(*link)->next) {
        if (*link != s)
            continue;
        *link = s->next;
        if (*link == NULL)
            q->last = link;
        s->queued = false;
        break;
    }
    pthread_mutex_unlock(&q->lock);
}

static void hang_on(struct partition *p, struct bed *bed)
{
    ensure(bed->partition == NULL);
    bed->partition = p;
    partition_ref(p);
    pthread_mutex_lock(&p->lock);
    DL_APPEND(p->beds, bed);
    pthread_mutex_unlock(&p->lock);
}

void partition_lie_down(struct partition *p, struct bed *bed, struct sleeper *s)
{
    bed->sleeper = s;
    hang_on(p, bed);
}

void partition_watch(struct partition *p, struct bed *bed, void (*stirred)(struct bed *self))
{
    bed->stirred = stirred;
    hang_on(p, bed);
}

void partition_get_up(struct bed *bed)
{
    struct partition *p = bed->partition;
    if (p == NULL)
        return;
    pthread_mutex_lock(&p->lock);
    DL_DELETE(p->beds, bed);
    pthread_mutex_unlock(&p->lock);
    bed->partition = NULL;
    partition_unref(p);
}

void partition_wake_all(struct partition *p)
{
    struct bed *bed;
    DL_FOREACH (p->beds, bed) {
        if (bed->stirred != NULL)
            bed->stirred(bed);
        else
            sleeper_wake(bed->sleeper);
    }
}
