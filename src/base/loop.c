/*
 * A loop's turn: libev's poll returns, timers and descriptors have their callbacks, the mailbox is emptied, and the
 * thread falls asleep in the next poll.
 *
 * A visit saves waking the thread up, where two loops have to do with each other all the time:
 *
 *     visitor's thread                                  loop's thread
 *     posts a message, and finds the loop ASLEEP        sleeps in the kernel
 *     makes it ATTENDED, and delivers the message       may wake up for a descriptor: then it waits
 *     finds nothing more, makes it ASLEEP again         sleeps on; or it is AWAKE, if it has waited
 *
 * A timer or a watch that the visitor has started is none that the sleeping thread knows to wait for: it is woken up
 * after the visit, to begin another poll.
 */
#include "base/loop.h"

#include <ev.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/logger.h"
#include "base/symbol.h"
#include "base/turns.h"

/*
 * Where a loop's thread is. While it sleeps in the kernel a visitor may take the loop over; should the thread wake up
 * meanwhile, it waits for the visitor to leave, and no other visitor comes before it. A thread that a visitor
 * has called counts as awake before it is.
 */
enum presence { AWAKE, ASLEEP, ATTENDED };

static const int64_t longest_ms = INT64_C(1) << 40; /* some 30 years, and still far from an overflow */

enum { SLOW_TURN_US = 1000000 };

/* What a loop does between two sleeps, or a visitor in its place; who has the loop has this. */
struct turn {
    int64_t began_us, last_us, longest_us;
    void (*longest)(void); /* the callback that took the longest */
};

enum { RESTLESS_TURNS = 64 }; /* that may pass before what waits for an idle loop is delivered all the same */

enum { VISIT_ROUNDS = 8 }; /* what comes later is the loop's own thread's: a visitor has a loop of its own to serve */

struct loop {
    struct ev_loop *ev;
    struct ev_async wake;
    struct ev_prepare before_sleep;
    struct ev_idle at_rest;
    char name[LOOP_NAME_ROOM];
    struct loop *prev_loop, *next_loop; /* of all that there are */
    struct lock lock;                   /* guards the mailbox and the presence */
    pthread_cond_t left;                /* by a visitor */
    struct message *first, **last;
    enum presence presence;
    bool waiting; /* the thread, for the visitor */
    bool stir;    /* a visitor has started what the thread does not know to wait for */
    bool stopping;
    atomic_bool running;
    struct turn turn;
    struct turn_end *first_end, **last_end;
    struct message *first_idle, **last_idle; /* what is to be delivered when it has nothing else to do */
    int turns_left;                          /* or after so many turns */
    _Atomic int64_t idle_us, asleep_us;      /* slept in all before now; and since when it sleeps, 0: it does not */
    _Atomic int64_t wakes;
    _Atomic int64_t awake_since_us, last_turn_us; /* 0: it sleeps */
    void *local;
};

static _Thread_local struct loop *current;

static struct lock all_lock = LOCK_INITIALIZER(RANK_LOOPS);
static struct loop *all_loops; /* guarded by it */

_Static_assert(sizeof(struct ev_io) <= sizeof(struct loop_opaque), "watcher storage too small");
_Static_assert(sizeof(struct ev_timer) <= sizeof(struct loop_opaque), "watcher storage too small");

static void turn_begin(struct loop *loop)
{
    loop->turn.began_us = loop->turn.last_us = clock_mono_us();
    loop->turn.longest_us = 0;
    atomic_store_explicit(&loop->awake_since_us, loop->turn.began_us, memory_order_relaxed);
}

static void turn_note(struct loop *loop, void (*callback)(void))
{
    struct turn *t = &loop->turn;
    int64_t now = clock_mono_us();
    if (now - t->last_us > t->longest_us) {
        t->longest_us = now - t->last_us;
        t->longest = callback;
    }
    t->last_us = now;
}

/* Nothing that a loop does may hold up all that it owns: who does is told of. */
static void turn_end(struct loop *loop)
{
    const struct turn *t = &loop->turn;
    char name[SYMBOL_ROOM];
    atomic_store_explicit(&loop->awake_since_us, 0, memory_order_relaxed);
    atomic_store_explicit(&loop->last_turn_us, t->last_us - t->began_us, memory_order_relaxed);
    if (t->last_us - t->began_us < SLOW_TURN_US)
        return;
    log_warn("A turn of the loop %s took %" PRId64 " ms, of which %" PRId64 " were in %s", loop->name,
             (t->last_us - t->began_us) / 1000, t->longest_us / 1000, symbol_name(t->longest, name));
}

#define TURN_NOTE(loop, callback) turn_note(loop, (void (*)(void))(callback))

static struct message *mailbox_take(struct loop *loop)
{
    lock_take(&loop->lock);
    struct message *first = loop->first;
    loop->first = NULL;
    loop->last = &loop->first;
    lock_release(&loop->lock);
    return first;
}

static void end_turn(struct loop *loop)
{
    struct turn_end *e;
    ensure(current == loop);
    while ((e = loop->first_end) != NULL) {
        loop->first_end = e->next;
        if (e->next == NULL)
            loop->last_end = &loop->first_end;
        e->asked = false;
        void (*run)(struct turn_end *) = e->run;
        run(e);
        TURN_NOTE(loop, run);
    }
}

void loop_at_turns_end(struct loop *loop, struct turn_end *e)
{
    ensure(current == loop && e->run != NULL);
    if (e->asked)
        return;
    e->asked = true;
    e->loop = loop;
    e->next = NULL;
    *loop->last_end = e;
    loop->last_end = &e->next;
}

void turn_end_cancel(struct turn_end *e)
{
    if (!e->asked)
        return;
    struct loop *loop = e->loop;
    ensure(loop_is_mine(loop));
    struct turn_end **link = &loop->first_end;
    while (*link != e)
        link = &(*link)->next;
    *link = e->next;
    if (e->next == NULL)
        loop->last_end = link;
    e->asked = false;
}

/* Those that are asked for meanwhile are for the next time. */
static bool deliver_list(struct loop *loop, struct message *m)
{
    bool any = m != NULL;
    while (m != NULL) {
        struct message *next = m->next;
        void (*deliver)(struct message *) = m->deliver;
        deliver(m);
        TURN_NOTE(loop, deliver);
        m = next;
    }
    return any;
}

static bool deliver_idle(struct loop *loop)
{
    struct message *first = loop->first_idle;
    loop->first_idle = NULL;
    loop->last_idle = &loop->first_idle;
    ev_idle_stop(loop->ev, &loop->at_rest);
    return deliver_list(loop, first);
}

static void at_rest(struct ev_loop *ev, struct ev_idle *w UNUSED, int events UNUSED)
{
    deliver_idle(ev_userdata(ev));
}

static void before_sleep(struct ev_loop *ev, struct ev_prepare *w UNUSED, int events UNUSED)
{
    struct loop *loop = ev_userdata(ev);
    if (loop->first_idle != NULL && --loop->turns_left <= 0)
        deliver_idle(loop);
    end_turn(loop);
}

static bool deliver_all(struct loop *loop)
{
    struct loop *outer = current;
    current = loop;
    bool any = deliver_list(loop, mailbox_take(loop));
    if (outer != loop) /* a turn of its own */
        end_turn(loop);
    current = outer;
    return any;
}

static void fall_asleep(struct ev_loop *ev)
{
    struct loop *loop = ev_userdata(ev);
    turn_end(loop);
    lock_take(&loop->lock);
    ensure(loop->presence == AWAKE && current == loop);
    loop->presence = ASLEEP;
    /* Before a visitor may come, who has the turn then. */
    atomic_store_explicit(&loop->asleep_us, loop->turn.last_us, memory_order_relaxed);
    lock_release(&loop->lock);
}

/* Who reads may see the one before the other: then the sleep that is over counts twice or not at all, until the next.
 */
static void loop_count_sleep(struct loop *loop)
{
    int64_t idle_us = atomic_load_explicit(&loop->idle_us, memory_order_relaxed);
    int64_t asleep_us = atomic_load_explicit(&loop->asleep_us, memory_order_relaxed);
    ensure(asleep_us > 0); /* who wakes up has fallen asleep */
    atomic_store_explicit(&loop->asleep_us, 0, memory_order_relaxed);
    atomic_store_explicit(&loop->idle_us, idle_us + loop->turn.began_us - asleep_us, memory_order_relaxed);
    atomic_store_explicit(&loop->wakes, loop_wakes(loop) + 1, memory_order_relaxed);
}

static void wake_up(struct ev_loop *ev)
{
    struct loop *loop = ev_userdata(ev);
    lock_take(&loop->lock);
    ensure(current == loop && !loop->waiting);
    loop->waiting = true;
    while (loop->presence == ATTENDED)
        lock_wait(&loop->lock, &loop->left);
    loop->waiting = false;
    loop->presence = AWAKE;
    lock_release(&loop->lock);
    turn_begin(loop);
    loop_count_sleep(loop);
}

static void mailbox_drain(struct ev_loop *ev, struct ev_async *w, int events UNUSED)
{
    struct loop *loop = CONTAINER_OF(w, struct loop, wake);
    deliver_all(loop);
    lock_take(&loop->lock);
    bool stopping = loop->stopping;
    lock_release(&loop->lock);
    if (stopping)
        ev_break(ev, EVBREAK_ALL);
}

struct loop *loop_new(const char *name)
{
    struct loop *loop = xcalloc(1, sizeof(*loop));
    loop->ev = ev_loop_new(EVFLAG_AUTO);
    ensure(loop->ev != NULL);
    snprintf(loop->name, sizeof(loop->name), "%s", name);
    lock_init(&loop->lock, RANK_LOOP);
    pthread_cond_init(&loop->left, NULL);
    loop->last = &loop->first;
    loop->last_end = &loop->first_end;
    loop->last_idle = &loop->first_idle;
    ev_set_userdata(loop->ev, loop);
    ev_set_loop_release_cb(loop->ev, fall_asleep, wake_up);
    ev_async_init(&loop->wake, mailbox_drain);
    ev_set_priority(&loop->wake, EV_MAXPRI);
    ev_async_start(loop->ev, &loop->wake);
    ev_prepare_init(&loop->before_sleep, before_sleep);
    ev_prepare_start(loop->ev, &loop->before_sleep);
    ev_idle_init(&loop->at_rest, at_rest);
    ev_set_priority(&loop->at_rest, EV_MINPRI);
    lock_take(&all_lock);
    DL_APPEND2(all_loops, loop, prev_loop, next_loop);
    lock_release(&all_lock);
    return loop;
}

bool loop_drain(struct loop *loop)
{
    ensure(loop_is_mine(loop));
    struct loop *outer = current;
    bool any = deliver_all(loop);
    current = loop;
    any |= deliver_idle(loop);
    if (outer != loop)
        end_turn(loop);
    current = outer;
    return any;
}

void loop_free(struct loop *loop)
{
    if (loop == NULL)
        return;
    ensure(current != loop);
    loop_drain(loop);
    lock_take(&all_lock);
    DL_DELETE2(all_loops, loop, prev_loop, next_loop);
    lock_release(&all_lock);
    ev_loop_destroy(loop->ev);
    pthread_cond_destroy(&loop->left);
    lock_deinit(&loop->lock);
    free(loop);
}

const char *loop_name(const struct loop *loop)
{
    return loop->name;
}

void loop_look(const struct loop *loop, struct loop_look *out)
{
    struct lock *lock = (struct lock *)(uintptr_t)&loop->lock; /* all else is left as it is */
    int64_t since_us = atomic_load_explicit(&loop->awake_since_us, memory_order_relaxed);
    *out = (struct loop_look){
        .awake_us = since_us > 0 ? MAX(clock_mono_us() - since_us, INT64_C(1)) : 0,
        .last_turn_us = atomic_load_explicit(&loop->last_turn_us, memory_order_relaxed),
    };
    lock_take(lock);
    for (const struct message *m = loop->first; m != NULL; m = m->next)
        out->mailbox++;
    lock_release(lock);
}

bool loop_find_stuck(int64_t for_us, char name[LOOP_NAME_ROOM])
{
    int64_t now = clock_mono_us();
    struct loop *loop;
    lock_take(&all_lock);
    DL_FOREACH2 (all_loops, loop, next_loop) {
        int64_t since_us = atomic_load_explicit(&loop->awake_since_us, memory_order_relaxed);
        if (since_us > 0 && now - since_us >= for_us)
            break;
    }
    if (loop != NULL)
        memcpy(name, loop->name, LOOP_NAME_ROOM);
    lock_release(&all_lock);
    return loop != NULL;
}

int loops_asleep(struct loop_sleep *out, int room)
{
    struct loop *loop;
    int n = 0;
    lock_take(&all_lock);
    DL_FOREACH2 (all_loops, loop, next_loop) {
        if (n == room)
            break;
        memcpy(out[n].name, loop->name, LOOP_NAME_ROOM);
        out[n++].idle_us = loop_idle_us(loop);
    }
    lock_release(&all_lock);
    return n;
}

void loop_set_local(struct loop *loop, void *local)
{
    loop->local = local;
}

void *loop_local(const struct loop *loop)
{
    return loop->local;
}

struct loop *loop_current(void)
{
    return current;
}

int64_t loop_turn_us(void)
{
    return current != NULL ? current->turn.began_us : clock_mono_us();
}

int64_t loop_callback_us(void)
{
    return current != NULL ? current->turn.last_us : clock_mono_us();
}

int64_t loop_idle_us(const struct loop *loop)
{
    int64_t asleep_us = atomic_load_explicit(&loop->asleep_us, memory_order_relaxed);
    int64_t idle_us = atomic_load_explicit(&loop->idle_us, memory_order_relaxed);
    return asleep_us != 0 ? idle_us + MAX(clock_mono_us() - asleep_us, INT64_C(0)) : idle_us;
}

int64_t loop_wakes(const struct loop *loop)
{
    return atomic_load_explicit(&loop->wakes, memory_order_relaxed);
}

bool loop_is_mine(const struct loop *loop)
{
    return current == loop || !atomic_load_explicit(&loop->running, memory_order_relaxed);
}

void loop_run(struct loop *loop)
{
    ensure(current == NULL && !atomic_exchange(&loop->running, true));
    current = loop;
    turns_make_short();
    turn_begin(loop);
    ev_run(loop->ev, 0);
    end_turn(loop);
    ensure(current == loop && loop->presence == AWAKE); /* no visit outlasts the turn that it was made in */
    turn_end(loop);
    current = NULL;
    atomic_store(&loop->running, false);
    lock_take(&loop->lock);
    loop->stopping = false; /* it may be run again */
    lock_release(&loop->lock);
}

void loop_stop(struct loop *loop)
{
    lock_take(&loop->lock);
    loop->stopping = true;
    lock_release(&loop->lock);
    ev_async_send(loop->ev, &loop->wake);
}

/* Whether the caller, who would visit, has the loop now; otherwise the message will be seen by who has it. */
static bool add_message(struct loop *loop, struct message *m, bool would_visit)
{
    ensure(m->deliver != NULL);
    m->next = NULL;
    lock_take(&loop->lock);
    bool was_empty = loop->first == NULL;
    ensure(!was_empty || loop->last == &loop->first);
    *loop->last = m;
    loop->last = &m->next;
    bool visits = would_visit && loop->presence == ASLEEP;
    bool wake = was_empty && !visits && loop->presence != ATTENDED;
    if (visits)
        loop->presence = ATTENDED;
    lock_release(&loop->lock);
    if (wake)
        ev_async_send(loop->ev, &loop->wake);
    return visits;
}

void loop_post(struct loop *loop, struct message *m)
{
    add_message(loop, m, false);
}

/* Whether the visitor has gone: nothing more is to be delivered, or that is the thread's by now. */
static bool loop_leave(struct loop *loop, int rounds)
{
    lock_take(&loop->lock);
    ensure(current != loop);
    ensure(loop->presence == ATTENDED); /* nobody else has it before the visitor has left */
    bool more = loop->first != NULL;
    bool stays = more && rounds < VISIT_ROUNDS && !loop->waiting;
    bool wake = !stays && (more || (loop->stir && !loop->waiting));
    if (!stays) {
        loop->stir = false;
        loop->presence = more || loop->waiting ? AWAKE : ASLEEP;
        pthread_cond_signal(&loop->left);
    }
    lock_release(&loop->lock);
    if (wake)
        ev_async_send(loop->ev, &loop->wake);
    return !stays;
}

void loop_visit(struct loop *loop, struct message *m)
{
    if (!add_message(loop, m, true))
        return;
    int rounds = 0;
    do {
        turn_begin(loop);
        deliver_all(loop);
        turn_end(loop);
    } while (!loop_leave(loop, ++rounds));
}

/* A sleeping thread waits for the descriptors, and for as long, as it knew of when it fell asleep. */
static void note_change(struct loop *loop)
{
    loop->stir |= loop->presence == ATTENDED;
}

void loop_when_idle(struct loop *loop, struct message *m)
{
    ensure(loop_is_mine(loop) && m->deliver != NULL);
    m->next = NULL;
    *loop->last_idle = m;
    loop->last_idle = &m->next;
    loop->turns_left = RESTLESS_TURNS;
    note_change(loop);
    ev_idle_start(loop->ev, &loop->at_rest);
}

static struct ev_timer *timer_ev(struct timer *t)
{
    return (struct ev_timer *)(void *)&t->ev;
}

static void arm(struct timer *t, int64_t us)
{
    note_change(t->loop);
    t->armed_us = t->due_us;
    struct ev_timer *w = timer_ev(t);
    ev_timer_stop(t->loop->ev, w);
    ev_now_update(t->loop->ev);
    ev_timer_set(w, (double)us / 1e6, 0.);
    ev_timer_start(t->loop->ev, w);
}

static void loop_on_timer(struct ev_loop *ev UNUSED, struct ev_timer *w, int events UNUSED)
{
    struct timer *t = (struct timer *)(void *)w;
    struct loop *loop = t->loop;
    void (*fire)(struct timer *) = t->fire;
    int64_t left = t->due_us - clock_mono_us();
    ensure(current == loop); /* visitors deliver messages: timers and descriptors are its own thread's */
    if (left > 0) {
        arm(t, left);
        return;
    }
    fire(t);
    TURN_NOTE(loop, fire);
}

void timer_init(struct timer *t, struct loop *loop, void (*fire)(struct timer *self))
{
    ensure(loop != NULL && fire != NULL);
    *t = (struct timer){.loop = loop, .fire = fire};
    ev_init(timer_ev(t), loop_on_timer);
}

void timer_start(struct timer *t, int64_t ms)
{
    ensure(loop_is_mine(t->loop));
    int64_t us = MIN(MAX(ms, (int64_t)0), longest_ms) * 1000;
    t->due_us = clock_mono_us() + us;
    if (!timer_is_running(t) || t->armed_us > t->due_us)
        arm(t, us); /* or it will find out when it gets there: most are put off for ever */
}

void timer_stop(struct timer *t)
{
    if (t->loop == NULL)
        return;
    ensure(loop_is_mine(t->loop));
    ev_timer_stop(t->loop->ev, timer_ev(t));
}

bool timer_is_running(const struct timer *t)
{
    return ev_is_active((struct ev_timer *)(uintptr_t)&t->ev);
}

static struct ev_io *watch_ev(struct watch *w)
{
    return (struct ev_io *)(void *)&w->ev;
}

static void on_io(struct ev_loop *ev UNUSED, struct ev_io *io, int events)
{
    struct watch *w = (struct watch *)(void *)io;
    struct loop *loop = w->loop;
    void (*ready)(struct watch *, int) = w->ready;
    ensure(current == loop && w->events != WATCH_NONE);
    ready(w, (events & EV_READ ? WATCH_READ : 0) | (events & EV_WRITE ? WATCH_WRITE : 0));
    TURN_NOTE(loop, ready);
}

void watch_init(struct watch *w, struct loop *loop, int fd, void (*ready)(struct watch *self, int events))
{
    ensure(loop != NULL && fd >= 0 && ready != NULL);
    *w = (struct watch){.loop = loop, .ready = ready};
    ev_io_init(watch_ev(w), on_io, fd, EV_NONE);
}

void watch_set(struct watch *w, int events)
{
    if (events == w->events)
        return; /* also one that was never initialised */
    ensure(w->loop != NULL && (events & ~(WATCH_READ | WATCH_WRITE)) == 0);
    ensure(loop_is_mine(w->loop));
    note_change(w->loop);
    struct ev_io *io = watch_ev(w);
    ev_io_stop(w->loop->ev, io);
    w->events = events;
    ev_io_modify(io, (events & WATCH_READ ? EV_READ : 0) | (events & WATCH_WRITE ? EV_WRITE : 0));
    if (events != WATCH_NONE)
        ev_io_start(w->loop->ev, io);
}

/* Named here: a thread that was there before has a name, which for the first one is that of the process. */
static void *thread_main(void *arg)
{
    struct loop *loop = arg;
    pthread_setname_np(pthread_self(), loop->name);
    loop_run(loop);
    return NULL;
}

void loop_thread_start(struct loop_thread *t, struct loop *loop)
{
    sigset_t all, old;
    ensure(!atomic_load(&loop->running));
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old); /* signals belong to the main thread */
    t->loop = loop;
    int rc = pthread_create(&t->thread, NULL, thread_main, loop);
    ensure(rc == 0);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void loop_thread_join(struct loop_thread *t)
{
    if (t->loop == NULL)
        return;
    ensure(current != t->loop); /* it would wait for itself */
    loop_stop(t->loop);
    pthread_join(t->thread, NULL);
    t->loop = NULL;
}
