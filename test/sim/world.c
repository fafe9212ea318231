/* Virtual time, and everything that is a thread outside: loops, timers, workers, the main of each broker. */
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <ucontext.h>
#include <utlist.h>

#include "base/chance.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/workers.h"
#include "sim.h"

enum { STACK_SIZE = 1 << 20 };

struct process *sim_process;

static int64_t now_us;
static uint64_t random_state;

/* ---- Chance ---- */

void sim_seed(uint64_t seed)
{
    random_state = seed * 0x9E3779B97F4A7C15U + 0xD1B54A32D192ED03U;
    now_us = 0;
}

static uint64_t next_random(void)
{
    uint64_t z = (random_state += 0x9E3779B97F4A7C15U); /* splitmix64 */
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31);
}

uint32_t sim_random(uint32_t below)
{
    return (uint32_t)(next_random() % MAX(below, 1U));
}

bool sim_chance(uint32_t one_in)
{
    return sim_random(one_in) == 0;
}

void chance_fill(void *out, size_t len)
{
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)out)[i] = (uint8_t)next_random();
}

uint64_t chance_below(uint64_t limit)
{
    return limit > 0 ? next_random() % limit : 0;
}

/* ---- Time ---- */

struct event {
    int64_t at_us, order;
    struct process *process; /* NULL: the world's */
    int64_t life;
    void (*run)(void *arg);
    void *arg;
};

static struct event *heap;
static size_t heap_count, heap_cap;
static int64_t next_order;

static bool is_before(const struct event *a, const struct event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void heap_push(struct event e)
{
    heap = xgrow(heap, heap_count + 1, &heap_cap, sizeof(*heap));
    size_t i = heap_count++;
    for (; i > 0 && is_before(&e, &heap[(i - 1) / 2]); i = (i - 1) / 2)
        heap[i] = heap[(i - 1) / 2];
    heap[i] = e;
}

static struct event heap_pop(void)
{
    struct event first = heap[0], last = heap[--heap_count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child + 1 < heap_count && is_before(&heap[child + 1], &heap[child]))
            child++;
        if (child >= heap_count || !is_before(&heap[child], &last))
            break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = last;
    return first;
}

int64_t sim_now_us(void)
{
    return now_us;
}

int64_t clock_mono_us(void)
{
    return now_us + 1000000;
}

int64_t clock_mono_ms(void)
{
    return clock_mono_us() / 1000;
}

int64_t clock_wall_ms(void)
{
    return 1700000000000 + now_us / 1000 + (sim_process != NULL ? sim_process->clock_offset : 0);
}

void sim_after(struct process *p, int64_t us, void (*run)(void *arg), void *arg)
{
    heap_push((struct event){now_us + MAX(us, (int64_t)0), next_order++, p, p != NULL ? p->life : 0, run, arg});
}

static void resume_mains(void);

/* A paused process finds everything that came meanwhile when it goes on. */
void sim_run_until(int64_t us)
{
    while (heap_count > 0 && heap[0].at_us <= us) {
        struct event e = heap_pop();
        now_us = MAX(now_us, e.at_us);
        if (e.process != NULL && (!e.process->alive || e.life != e.process->life))
            continue;
        if (e.process != NULL && e.process->paused) {
            e.at_us = now_us + 10000;
            heap_push(e);
            continue;
        }
        sim_process = e.process;
        e.run(e.arg);
        sim_process = NULL;
        resume_mains();
    }
    now_us = MAX(now_us, us);
}

/* ---- Processes ---- */

struct coroutine {
    ucontext_t here, caller;
    void *stack;
    struct process *process;
    void (*run)(void *arg);
    void *arg;
    struct loop *in; /* it is in loop_run() of this one */
    bool ended;
};

static struct process *processes[MAX_PROCESSES];
static int process_count;
static struct coroutine *running;
static struct loop *current;

static void forget_jobs(struct process *p);

static void free_coroutine(struct coroutine *c)
{
    free(c->stack);
    free(c);
}

static void enter(struct coroutine *c)
{
    struct coroutine *outer = running;
    running = c;
    sim_process = c->process;
    swapcontext(&c->caller, &c->here);
    running = outer;
    sim_process = NULL;
    current = NULL;
    if (!c->ended)
        return;
    c->process->alive = false;
    c->process->main = NULL;
    c->process->replicas = c->process->board = NULL;
    free_coroutine(c);
}

static void main_of_coroutine(void)
{
    struct coroutine *c = running;
    c->run(c->arg);
    c->ended = true;
    swapcontext(&c->here, &c->caller);
}

void process_start(struct process *p, void (*run)(void *arg), void *arg)
{
    ensure(!p->alive && p->main == NULL);
    bool known = false;
    for (int i = 0; i < process_count; i++)
        known |= processes[i] == p;
    if (!known)
        processes[process_count++] = p;
    p->alive = true;
    p->paused = false;
    p->life++;
    if (run == NULL)
        return;
    struct coroutine *c = xcalloc(1, sizeof(*c));
    c->process = p;
    c->run = run;
    c->arg = arg;
    c->stack = xmalloc(STACK_SIZE);
    getcontext(&c->here);
    c->here.uc_stack.ss_sp = c->stack;
    c->here.uc_stack.ss_size = STACK_SIZE;
    makecontext(&c->here, main_of_coroutine, 0);
    p->main = c;
    enter(c);
}

/* What it had in memory is left where it is: nobody has it any more. */
void process_kill(struct process *p)
{
    if (!p->alive)
        return;
    p->alive = false;
    p->paused = false;
    p->life++;
    p->replicas = p->board = NULL;
    p->signals = NULL;
    network_forget(p);
    ensemble_forget(p);
    forget_jobs(p);
    if (p->main != NULL)
        free_coroutine(p->main);
    p->main = NULL;
}

void process_pause(struct process *p)
{
    p->paused = p->alive;
}

void process_resume(struct process *p)
{
    p->paused = false;
}

/* ---- Loops ---- */

struct loop {
    struct process *process;
    struct message *first, **last;
    struct turn_end *ends;
    bool ending;                      /* an event will run them */
    bool served, scheduled, stopping; /* served: it has a thread, or its process' main runs it */
    void *local;
    char name[24];
    int64_t life;       /* of its process */
    struct loop *older; /* of all that there were */
};

static struct loop *loops;

static void deliver_one(void *arg);

static void schedule(struct loop *loop)
{
    if (loop->scheduled || !loop->served || loop->first == NULL)
        return;
    loop->scheduled = true;
    sim_after(loop->process, 1 + sim_random(sim_chance(50) ? 3000 : 60), deliver_one, loop);
}

static void serve(struct loop *loop)
{
    loop->served = true;
    schedule(loop);
}

static struct message *take(struct loop *loop)
{
    struct message *m = loop->first;
    if (m == NULL)
        return NULL;
    loop->first = m->next;
    if (loop->first == NULL)
        loop->last = &loop->first;
    return m;
}

struct loop *sim_enter(struct loop *loop)
{
    struct loop *outer = current;
    current = loop;
    return outer;
}

static void deliver(struct loop *loop, struct message *m)
{
    struct loop *outer = sim_enter(loop);
    m->deliver(m);
    current = outer;
}

static void deliver_one(void *arg)
{
    struct loop *loop = arg;
    loop->scheduled = false;
    if (!loop->served)
        return;
    struct message *m = take(loop);
    if (m != NULL)
        deliver(loop, m);
    schedule(loop);
}

static void end_turn(void *arg)
{
    struct loop *loop = arg;
    struct loop *outer = sim_enter(loop);
    struct turn_end *e;
    loop->ending = false;
    while ((e = loop->ends) != NULL) {
        loop->ends = e->next;
        e->asked = false;
        e->run(e);
    }
    current = outer;
}

/* Soon, and perhaps after what else the loop is told: as if that had come in the same turn. */
void loop_at_turns_end(struct loop *loop, struct turn_end *e)
{
    ensure(current == loop && e->run != NULL);
    if (e->asked)
        return;
    struct turn_end **last = &loop->ends;
    while (*last != NULL)
        last = &(*last)->next;
    *last = e;
    e->next = NULL;
    e->asked = true;
    e->loop = loop;
    if (!loop->ending)
        sim_after(loop->process, 1 + sim_random(sim_chance(50) ? 200 : 5), end_turn, loop);
    loop->ending = true;
}

void turn_end_cancel(struct turn_end *e)
{
    struct turn_end **link = e->asked ? &e->loop->ends : NULL;
    while (link != NULL && *link != e)
        link = &(*link)->next;
    if (link != NULL)
        *link = e->next;
    e->asked = false;
}

struct loop *loop_new(const char *name)
{
    struct loop *loop = xcalloc(1, sizeof(*loop));
    snprintf(loop->name, sizeof(loop->name), "%s", name);
    loop->process = sim_process;
    loop->life = sim_process != NULL ? sim_process->life : 0;
    loop->last = &loop->first;
    loop->older = loops;
    loops = loop;
    return loop;
}

struct loop *process_loop(struct process *p)
{
    struct process *outer = sim_process;
    sim_process = p;
    struct loop *loop = loop_new(p->name);
    sim_process = outer;
    serve(loop);
    return loop;
}

bool loop_drain(struct loop *loop)
{
    struct message *m;
    bool any = false;
    while ((m = take(loop)) != NULL) {
        deliver(loop, m);
        any = true;
    }
    if (loop->ends != NULL)
        end_turn(loop);
    return any;
}

void loop_free(struct loop *loop)
{
    if (loop == NULL)
        return;
    loop_drain(loop);
    loop->served = false; /* kept: an event may still name it */
}

struct process *loop_process(const struct loop *loop)
{
    return loop->process;
}

const char *loop_name(const struct loop *loop)
{
    return loop->name;
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
    return clock_mono_us();
}

int64_t loop_callback_us(void)
{
    return clock_mono_us();
}

int64_t loop_idle_us(const struct loop *loop UNUSED)
{
    return 0;
}

void loop_look(const struct loop *loop UNUSED, struct loop_look *out)
{
    *out = (struct loop_look){0};
}

int loops_asleep(struct loop_sleep *out UNUSED, int room UNUSED)
{
    return 0;
}

bool loop_find_stuck(int64_t for_us UNUSED, char name[LOOP_NAME_ROOM] UNUSED)
{
    return false;
}

int64_t loop_wakes(const struct loop *loop UNUSED)
{
    return 0;
}

bool loop_is_mine(const struct loop *loop)
{
    return !loop->served || current == loop || (current == NULL && !sim_is_in_job());
}

/* Only mains call this: the world goes on without them until the loop is stopped. */
void loop_run(struct loop *loop)
{
    struct coroutine *c = running;
    ensure(c != NULL);
    c->in = loop;
    serve(loop);
    while (!loop->stopping)
        swapcontext(&c->here, &c->caller);
    c->in = NULL;
    loop->stopping = false;
    loop->served = false;
}

static void resume_mains(void)
{
    for (int i = 0; i < process_count; i++) {
        struct process *p = processes[i];
        if (p->alive && !p->paused && p->main != NULL && p->main->in != NULL && p->main->in->stopping)
            enter(p->main);
    }
}

void loop_stop(struct loop *loop)
{
    loop->stopping = true;
}

void loop_post(struct loop *loop, struct message *m)
{
    ensure(m->deliver != NULL);
    m->next = NULL;
    *loop->last = m;
    loop->last = &m->next;
    schedule(loop);
}

/* Here all threads take turns: one that is asleep is not told from one that is not. */
void loop_visit(struct loop *loop, struct message *m)
{
    loop_post(loop, m);
}

/* What has come for a loop is in its mailbox. */
void loop_when_idle(struct loop *loop, struct message *m)
{
    ensure(current == loop);
    loop_post(loop, m);
}

void loop_thread_start(struct loop_thread *t, struct loop *loop)
{
    t->loop = loop;
    serve(loop);
}

void loop_thread_join(struct loop_thread *t)
{
    if (t->loop == NULL)
        return;
    loop_drain(t->loop);
    t->loop->served = false;
    t->loop = NULL;
}

/* ---- Timers: the memory of one may be gone when its time has come, so that they are found by number ---- */

struct running_timer {
    int64_t id;
    struct timer *timer;
    UT_hash_handle hh;
};

static struct running_timer *timers;
static int64_t next_timer = 1;

static int64_t *id_of(const struct timer *t)
{
    return (int64_t *)(uintptr_t)t->ev.data;
}

static void fire(void *arg)
{
    int64_t id = (int64_t)(intptr_t)arg;
    struct running_timer *r;
    HASH_FIND(hh, timers, &id, sizeof(id), r);
    if (r == NULL)
        return;
    struct timer *t = r->timer;
    HASH_DEL(timers, r);
    free(r);
    *id_of(t) = 0;
    struct loop *outer = current;
    current = t->loop;
    t->fire(t);
    current = outer;
}

void timer_init(struct timer *t, struct loop *loop, void (*fire_fn)(struct timer *self))
{
    *t = (struct timer){.loop = loop, .fire = fire_fn};
}

void timer_stop(struct timer *t)
{
    struct running_timer *r;
    if (t->loop == NULL || *id_of(t) == 0)
        return;
    HASH_FIND(hh, timers, id_of(t), sizeof(int64_t), r);
    if (r != NULL) {
        HASH_DEL(timers, r);
        free(r);
    }
    *id_of(t) = 0;
}

void timer_start(struct timer *t, int64_t ms)
{
    ensure(!sim_is_in_job() && (current == NULL || current == t->loop));
    timer_stop(t);
    struct running_timer *r = xcalloc(1, sizeof(*r));
    r->id = *id_of(t) = next_timer++;
    r->timer = t;
    HASH_ADD(hh, timers, id, sizeof(r->id), r);
    sim_after(t->loop->process, MAX(ms, (int64_t)0) * 1000 + sim_random(200), fire, (void *)(intptr_t)r->id);
}

bool timer_is_running(const struct timer *t)
{
    return *id_of(t) != 0;
}

/* Nothing here has file descriptors but the one that brings a main its signals. */
void watch_init(struct watch *w, struct loop *loop, int fd UNUSED, void (*ready)(struct watch *self, int events))
{
    *w = (struct watch){.loop = loop, .ready = ready};
}

void watch_set(struct watch *w, int events)
{
    struct process *p = w->loop->process;
    w->events = events;
    if (events != WATCH_NONE)
        p->signals = w;
    else if (p->signals == w)
        p->signals = NULL;
}

/* Blocked, as in the mains, which have masks of their own, it waits in the descriptor that `ready` reads. */
static void deliver_signal(void *arg)
{
    struct process *p = arg;
    struct watch *w = p->signals;
    sigset_t set;
    if (w == NULL)
        return;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGTERM);
    struct loop *outer = sim_enter(w->loop);
    w->ready(w, WATCH_READ);
    sim_enter(outer);
}

void process_terminate(struct process *p)
{
    sim_after(p, 0, deliver_signal, p);
}

/*
 * ---- Workers ----
 *
 * A job has a stack of its own. Before it takes a lock, while it holds none, it may be put off, so that other jobs and
 * the loops come in between as they would between threads; the seed decides where. Likewise, before a loop takes a
 * lock, a job or another loop of its process may have a turn.
 */

enum { TASK_STACK_SIZE = 256 << 10, PUT_OFF_ONE_IN = 6, LET_ONE_IN = 12, MOST_OTHERS = 16 };

struct task {
    ucontext_t here, caller;
    void *stack;
    struct workers *workers;
    struct job *job;
    int locks;    /* that it holds */
    int64_t wake; /* the number of the event that lets it go on; 0: none */
    bool ended;
    struct task *prev, *next; /* of all */
};

struct workers {
    struct process *process;
    struct job *first, **last;
    int threads, running;
    bool stopping, stopped;
    int64_t life;          /* of its process */
    struct workers *older; /* of all that there were */
};

static struct workers *all_workers;
static struct task *tasks;  /* of all processes, that have begun and not ended */
static struct task *task;   /* the one whose code runs */
static struct task *unused; /* their stacks are used again */
static int64_t next_wake = 1;

bool sim_is_in_job(void)
{
    return task != NULL;
}

static void finish_job(struct job *job)
{
    struct loop *home = job->home;
    job->run(job);
    if (home != NULL)
        loop_post(home, &job->done);
}

static void main_of_task(void)
{
    finish_job(task->job);
    task->ended = true;
    swapcontext(&task->here, &task->caller);
}

static struct task *take_unused(void)
{
    struct task *t = unused;
    if (t != NULL) {
        DL_DELETE(unused, t);
        return t;
    }
    t = xcalloc(1, sizeof(*t));
    t->stack = xmalloc(TASK_STACK_SIZE);
    return t;
}

static void prepare_context(struct task *t)
{
    getcontext(&t->here);
    t->here.uc_stack.ss_sp = t->stack;
    t->here.uc_stack.ss_size = TASK_STACK_SIZE;
    makecontext(&t->here, main_of_task, 0);
}

static struct task *task_new(struct workers *w, struct job *job)
{
    struct task *t = take_unused();
    prepare_context(t);
    t->workers = w;
    t->job = job;
    t->locks = 0;
    t->wake = 0;
    t->ended = false;
    DL_APPEND(tasks, t);
    return t;
}

static void task_free(struct task *t)
{
    DL_DELETE(tasks, t);
    DL_APPEND(unused, t);
}

static void work(void *arg);
static void start_work(struct workers *w)
{
    sim_after(w->process, 1 + sim_random(sim_chance(20) ? 20000 : 300), work, w);
}

/* Until it ends, or is put off. */
static void go_on(struct task *t)
{
    struct workers *w = t->workers;
    struct loop *outer = current;
    struct task *outer_task = task;
    struct process *process = sim_process;
    sim_process = w->process;
    current = NULL;
    t->wake = 0;
    task = t;
    swapcontext(&t->caller, &t->here);
    task = outer_task;
    current = outer;
    sim_process = process;
    if (!t->ended)
        return;
    ensure(t->locks == 0);
    task_free(t);
    w->running--;
    if (w->first != NULL && !w->stopping)
        start_work(w);
}

static void begin_first(struct workers *w)
{
    struct job *job = w->first;
    if (job == NULL || w->running >= w->threads)
        return;
    w->first = job->next;
    if (w->first == NULL)
        w->last = &w->first;
    w->running++;
    go_on(task_new(w, job));
}

static void work(void *arg)
{
    begin_first(arg);
}

static void wake_up(void *arg)
{
    struct task *t;
    DL_FOREACH (tasks, t)
        if (t->wake == (int64_t)(intptr_t)arg)
            break;
    if (t != NULL) /* else its workers have been stopped meanwhile */
        go_on(t);
}

static void maybe_put_off(void)
{
    if (task == NULL || task->locks > 0 || task->workers->stopping || !sim_chance(PUT_OFF_ONE_IN))
        return;
    struct task *t = task;
    t->wake = next_wake++;
    sim_after(t->workers->process, 1 + sim_random(sim_chance(20) ? 20000 : 300), wake_up, (void *)(intptr_t)t->wake);
    swapcontext(&t->here, &t->caller);
}

/* Who may have a turn in the middle of a loop's: one of the three. */
struct other {
    struct task *task;
    struct workers *workers;
    struct loop *loop;
};

static int find_others(struct other others[MOST_OTHERS])
{
    int n = 0;
    struct task *t;
    int64_t life = sim_process->life;
    DL_FOREACH (tasks, t)
        if (n < MOST_OTHERS && t->workers->process == sim_process && t->wake != 0 && !t->workers->stopping)
            others[n++] = (struct other){.task = t};
    for (struct workers *w = all_workers; w != NULL; w = w->older)
        if (n < MOST_OTHERS && w->process == sim_process && w->life == life && !w->stopping && w->first != NULL &&
            w->running < w->threads)
            others[n++] = (struct other){.workers = w};
    for (struct loop *loop = loops; loop != NULL; loop = loop->older)
        if (n < MOST_OTHERS && loop->process == sim_process && loop->life == life && loop != current && loop->served &&
            loop->first != NULL)
            others[n++] = (struct other){.loop = loop};
    return n;
}

static void let_others(void)
{
    struct other others[MOST_OTHERS];
    int n = find_others(others);
    if (n == 0)
        return;
    const struct other *o = &others[sim_random((uint32_t)n)];
    if (o->task != NULL)
        go_on(o->task);
    else if (o->workers != NULL)
        begin_first(o->workers);
    else
        deliver(o->loop, take(o->loop));
}

static int held_outside; /* locks that no task holds */

static void maybe_let_others(void)
{
    static bool letting;
    if (task != NULL || current == NULL || running != NULL || held_outside > 0 || letting || !sim_chance(LET_ONE_IN))
        return;
    letting = true;
    let_others();
    letting = false;
}

/* Linked in the place of the real ones, which never wait here. */
#define WRAP(type, name, by)        \
    int __real_##name(type *lock);  \
    int __wrap_##name(type *lock);  \
    int __wrap_##name(type *lock)   \
    {                               \
        if ((by) > 0) {             \
            maybe_put_off();        \
            maybe_let_others();     \
        }                           \
        if (task != NULL)           \
            task->locks += (by);    \
        else                        \
            held_outside += (by);   \
        return __real_##name(lock); \
    }
WRAP(pthread_mutex_t, pthread_mutex_lock, 1)
WRAP(pthread_mutex_t, pthread_mutex_trylock, 1)
WRAP(pthread_mutex_t, pthread_mutex_unlock, -1)
WRAP(pthread_rwlock_t, pthread_rwlock_rdlock, 1)
WRAP(pthread_rwlock_t, pthread_rwlock_wrlock, 1)
WRAP(pthread_rwlock_t, pthread_rwlock_unlock, -1)

/* Jobs that have died with their process: what they had is left where it is. */
static void forget_jobs(struct process *p)
{
    struct task *t, *next;
    DL_FOREACH_SAFE (tasks, t, next)
        if (t->workers->process == p)
            task_free(t);
}

struct workers *workers_new(const char *name UNUSED, int threads)
{
    struct workers *w = xcalloc(1, sizeof(*w));
    w->process = sim_process;
    w->life = sim_process != NULL ? sim_process->life : 0;
    w->threads = threads;
    w->last = &w->first;
    w->older = all_workers;
    all_workers = w;
    return w;
}

void workers_give_way(struct workers *w UNUSED)
{
}

void workers_resize(struct workers *w, int threads)
{
    w->threads = threads;
}

static struct task *any_task_of(const struct workers *w)
{
    struct task *t;
    DL_FOREACH (tasks, t)
        if (t->workers == w)
            return t;
    return NULL;
}

void workers_stop(struct workers *w)
{
    struct task *t;
    w->stopping = true;
    while ((t = any_task_of(w)) != NULL)
        go_on(t);
    while (w->first != NULL)
        begin_first(w);
    w->stopped = true;
}

int64_t workers_idle_us(struct workers *w UNUSED)
{
    return 0;
}

int workers_count(struct workers *w)
{
    return w->threads;
}

void workers_free(struct workers *w)
{
    if (w != NULL)
        workers_stop(w); /* its memory is kept: an event may still name it */
}

void workers_submit(struct workers *w, struct job *job)
{
    if (w->stopped) {
        struct loop *outer = current;
        current = NULL;
        finish_job(job);
        current = outer;
        return;
    }
    job->next = NULL;
    *w->last = job;
    w->last = &job->next;
    start_work(w);
}
