/*
 * An event loop: one thread, its timers, its file descriptors and its mailbox. The only file that
 * knows libev is loop.c; simulated runs link another one with virtual time.
 *
 * Everything but loop_post(), loop_visit() and loop_stop() is called on the loop's own thread, or before that thread
 * runs. Callbacks run on the loop's thread, or on that of a visitor while the loop's sleeps: one at a time.
 */
#ifndef BARNABAS_LOOP_H
#define BARNABAS_LOOP_H

#include "base/base.h"

struct loop;

enum { LOOP_NAME_ROOM = 16 };

struct loop *loop_new(const char *name);
void loop_free(struct loop *loop);
/* Delivers what is in the mailbox, on the calling thread, when the loop's own has ended. Whether there was anything. */
bool loop_drain(struct loop *loop);
const char *loop_name(const struct loop *loop);
/* Makes the calling thread the loop's thread and serves until loop_stop(). */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop); /* any thread */
/* The loop whose thread this is, or which it visits, or NULL. */
struct loop *loop_current(void);
/* Whether the caller may use what belongs to the loop: this is its thread, or it has none now. To be ensured. */
bool loop_is_mine(const struct loop *loop);
/*
 * When the current loop's turn began, which is when it woke up; and when the callback that runs now did. In
 * microseconds of the monotonic clock, which they do not read where a loop runs.
 */
int64_t loop_turn_us(void);
int64_t loop_callback_us(void);
/* For how long its thread has slept until now, and how often it has woken up. Any thread. */
int64_t loop_idle_us(const struct loop *loop);
int64_t loop_wakes(const struct loop *loop);
/* What it is at. Any thread. */
struct loop_look {
    int64_t awake_us,
        last_turn_us; /* for how long it has been in its turn, 0: it sleeps; how long the one before was */
    int mailbox;      /* messages that wait */
};
void loop_look(const struct loop *loop, struct loop_look *out);
/* The name of one, of all in this process, that has been in its turn for so long. False: there is none. Any thread. */
bool loop_find_stuck(int64_t for_us, char name[LOOP_NAME_ROOM]);
/* All in this process, up to so many: for how long each has slept until now. How many these are. Any thread. */
struct loop_sleep {
    char name[LOOP_NAME_ROOM];
    int64_t idle_us;
};
int loops_asleep(struct loop_sleep *out, int room);
/* One pointer that a part above keeps with the loop. Set before the loop runs, or on its thread. */
void loop_set_local(struct loop *loop, void *local);
void *loop_local(const struct loop *loop);

/*
 * A message to a loop: embed it, set `deliver`, post it. It is delivered once, in the order of the posts
 * of each sender, on the receiver's thread, which then owns it. After a loop was held up, messages come before timers:
 * what somebody's patience waits for may be among them.
 */
struct message {
    struct message *next;
    void (*deliver)(struct message *self);
};

void loop_post(struct loop *loop, struct message *m); /* any thread */
/*
 * As loop_post(). But if the loop's thread sleeps, the caller's does its work meanwhile and delivers the message itself
 * before this returns, so that none is woken up. For messages that are worth less than that. Any thread.
 */
void loop_visit(struct loop *loop, struct message *m);

/*
 * Something to be done at the end of a loop's turn, before it sleeps or looks for what is new: embed it, set `run`.
 * Once for each time that it was asked for; those that are asked for meanwhile come in the same turn.
 */
struct turn_end {
    struct turn_end *next;
    void (*run)(struct turn_end *self);
    struct loop *loop; /* that was asked */
    bool asked;
};
void loop_at_turns_end(struct loop *loop, struct turn_end *e); /* again: no effect */
void turn_end_cancel(struct turn_end *e);                      /* of one that was not asked for, too */
/*
 * Delivers the message, which is on no other way, when the loop has nothing else to do: its mailbox is empty, and what
 * had come for its descriptors has been handled. A poll tells of some of them only, so that this may take turns; if
 * they never end, so many that each that was ready has had its own.
 */
void loop_when_idle(struct loop *loop, struct message *m);

/* Storage of libev's watchers, big enough for either kind. */
struct loop_opaque {
    _Alignas(8) char data[72];
};

/* A one-shot timer. Zeroed and initialised, it costs nothing until started, and little to be put off. */
struct timer {
    struct loop_opaque ev;
    int64_t armed_us, due_us; /* when the loop looks at it, and when it fires: not before that */
    struct loop *loop;
    void (*fire)(struct timer *self);
};

void timer_init(struct timer *t, struct loop *loop, void (*fire)(struct timer *self));
void timer_start(struct timer *t, int64_t ms); /* starts over if running */
void timer_stop(struct timer *t);
bool timer_is_running(const struct timer *t);

enum { WATCH_NONE = 0, WATCH_READ = 1, WATCH_WRITE = 2 };

/* Readiness of a file descriptor, level-triggered. The descriptor stays the caller's. */
struct watch {
    struct loop_opaque ev;
    struct loop *loop;
    void (*ready)(struct watch *self, int events);
    int events; /* what is being watched */
};

void watch_init(struct watch *w, struct loop *loop, int fd, void (*ready)(struct watch *self, int events));
void watch_set(struct watch *w, int events); /* WATCH_NONE stops */

/* A thread that runs a loop. */
struct loop_thread {
    struct loop *loop;
    unsigned long thread;
};

void loop_thread_start(struct loop_thread *t, struct loop *loop);
void loop_thread_join(struct loop_thread *t); /* stops the loop first */

#endif
