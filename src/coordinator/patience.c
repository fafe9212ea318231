#include "coordinator/patience.h"

#include <utlist.h>

/* A network loop, and the one message that goes to it and comes back. */
struct ear {
    struct message message;
    struct hearing *hearing;
    struct loop *loop;
};

struct hearing {
    struct loop *loop;
    struct ear *ears;
    int count;
    int awaited;                     /* ears that have not said yet that there is nothing more */
    struct patience *due, *in_round; /* those for the next round, and those of the one that goes on */
};

static void hearing_begin(struct hearing *h);

/* ---- A round ---- */

static void hearing_end(struct hearing *h)
{
    struct patience *p;
    while ((p = h->in_round) != NULL) { /* one by one, as who is over may stop others */
        patience_stop(p);
        p->over(p);
    }
    if (h->due != NULL)
        hearing_begin(h);
}

static void ear_has_said(struct message *m)
{
    struct ear *e = CONTAINER_OF(m, struct ear, message);
    struct hearing *h = e->hearing;
    ensure(loop_is_mine(h->loop) && h->awaited > 0);
    if (--h->awaited == 0)
        hearing_end(h);
}

static void ear_is_idle(struct message *m)
{
    struct ear *e = CONTAINER_OF(m, struct ear, message);
    m->deliver = ear_has_said;
    loop_post(e->hearing->loop, m);
}

static void ear_is_asked(struct message *m)
{
    struct ear *e = CONTAINER_OF(m, struct ear, message);
    m->deliver = ear_is_idle;
    loop_when_idle(e->loop, m);
}

static void hearing_begin(struct hearing *h)
{
    ensure(h->awaited == 0 && h->in_round == NULL && h->due != NULL);
    struct patience *p;
    h->in_round = h->due;
    h->due = NULL;
    DL_FOREACH (h->in_round, p)
        p->in = &h->in_round;
    h->awaited = h->count;
    for (int i = 0; i < h->count; i++) {
        h->ears[i].message.deliver = ear_is_asked;
        loop_post(h->ears[i].loop, &h->ears[i].message);
    }
    if (h->count == 0)
        hearing_end(h);
}

/* ---- Who listens ---- */

static void patience_on_due(struct timer *t)
{
    struct patience *p = CONTAINER_OF(t, struct patience, timer);
    struct hearing *h = p->hearing;
    ensure(loop_is_mine(h->loop) && p->in == NULL);
    p->in = &h->due;
    DL_APPEND(h->due, p);
    if (h->awaited == 0)
        hearing_begin(h);
}

void patience_init(struct patience *p, struct hearing *h, void (*over)(struct patience *self))
{
    ensure(over != NULL);
    *p = (struct patience){.hearing = h, .over = over};
    timer_init(&p->timer, h->loop, patience_on_due);
}

static void patience_leave(struct patience *p)
{
    if (p->in != NULL)
        DL_DELETE(*p->in, p);
    p->in = NULL;
}

void patience_start(struct patience *p, int64_t ms)
{
    patience_leave(p);
    timer_start(&p->timer, ms);
}

void patience_stop(struct patience *p)
{
    patience_leave(p);
    timer_stop(&p->timer);
}

bool patience_is_running(const struct patience *p)
{
    return p->in != NULL || timer_is_running(&p->timer);
}

/* ---- Life ---- */

struct hearing *hearing_new(struct loop *loop)
{
    struct hearing *h = xcalloc(1, sizeof(*h));
    h->loop = loop;
    return h;
}

void hearing_set_ears(struct hearing *h, struct loop *const *loops, int count)
{
    ensure(loop_is_mine(h->loop) && h->ears == NULL && h->awaited == 0);
    h->ears = xcalloc((size_t)MAX(count, 1), sizeof(*h->ears));
    h->count = count;
    for (int i = 0; i < count; i++)
        h->ears[i] = (struct ear){.hearing = h, .loop = loops[i]};
}

void hearing_free(struct hearing *h)
{
    if (h == NULL)
        return;
    ensure(h->awaited == 0 && h->due == NULL && h->in_round == NULL);
    free(h->ears);
    free(h);
}
