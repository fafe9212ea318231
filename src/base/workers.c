#include "base/workers.h"

#include <signal.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/turns.h"

enum { NICENESS = 5 };

struct workers {
    const char *name;
    atomic_bool gives_way;
    struct lock lock;
    pthread_cond_t more;
    struct job *first, **last;
    bool stopping;
    bool stopped;
    int idle;                      /* threads that wait for work now */
    int64_t idle_us, idle_then_us; /* how long they have until then */
    int wanted, running;           /* threads that there should be, and that take jobs */
    pthread_t *threads;            /* all that were ever started: those that have ended are joined with the others */
    int count;
    size_t cap;
};

static bool is_surplus(struct workers *w)
{
    ensure(lock_is_held(&w->lock));
    ensure(w->running > 0); /* the caller is one of them */
    if (w->running <= w->wanted || w->stopping)
        return false;
    w->running--;
    return true;
}

static void note_idle(struct workers *w, int change)
{
    int64_t now_us = clock_mono_us();
    ensure(lock_is_held(&w->lock));
    w->idle_us += w->idle * (now_us - w->idle_then_us);
    w->idle_then_us = now_us;
    w->idle += change;
    ensure(w->idle >= 0 && w->idle <= w->running); /* a thread that is one too many is in neither */
}

/* Waits until there is a job, or an end. Whether the thread is one too many. */
static bool wait_for_job(struct workers *w)
{
    bool surplus = is_surplus(w);
    if (surplus || w->first != NULL || w->stopping)
        return surplus;
    note_idle(w, 1);
    while (!(surplus = is_surplus(w)) && w->first == NULL && !w->stopping)
        lock_wait(&w->lock, &w->more);
    note_idle(w, -1);
    return surplus;
}

/* NULL: the thread ends. */
static struct job *next_job(struct workers *w)
{
    lock_take(&w->lock);
    bool surplus = wait_for_job(w);
    struct job *job = surplus ? NULL : w->first;
    if (job != NULL) {
        w->first = job->next;
        if (w->first == NULL)
            w->last = &w->first;
    }
    lock_release(&w->lock);
    return job;
}

static void workers_run(struct job *job)
{
    struct loop *home = job->home;
    job->run(job);
    if (home != NULL)
        loop_post(home, &job->done);
}

static void be_nice(bool *is_nice)
{
    if (!*is_nice)
        setpriority(PRIO_PROCESS, 0, NICENESS); /* of this thread, on Linux */
    *is_nice = true;
}

static void *worker_main(void *arg)
{
    struct workers *w = arg;
    pthread_setname_np(pthread_self(), w->name);
    turns_make_usual();
    bool is_nice = false;
    for (struct job *job; (job = next_job(w)) != NULL;) {
        if (atomic_load(&w->gives_way))
            be_nice(&is_nice);
        workers_run(job);
    }
    return NULL;
}

static void add_threads(struct workers *w)
{
    sigset_t all, old;
    ensure(lock_is_held(&w->lock));
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    for (; w->running < w->wanted; w->running++) {
        w->threads = xgrow(w->threads, (size_t)w->count + 1, &w->cap, sizeof(*w->threads));
        int rc = pthread_create(&w->threads[w->count++], NULL, worker_main, w);
        ensure(rc == 0);
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void workers_give_way(struct workers *w)
{
    atomic_store(&w->gives_way, true);
}

void workers_resize(struct workers *w, int threads)
{
    ensure(threads > 0);
    lock_take(&w->lock);
    w->wanted = threads;
    add_threads(w);
    pthread_cond_broadcast(&w->more);
    lock_release(&w->lock);
}

struct workers *workers_new(const char *name, int threads)
{
    struct workers *w = xcalloc(1, sizeof(*w));
    w->name = name;
    lock_init(&w->lock, RANK_WORKERS);
    pthread_cond_init(&w->more, NULL);
    w->last = &w->first;
    workers_resize(w, threads);
    return w;
}

void workers_stop(struct workers *w)
{
    lock_take(&w->lock);
    w->stopping = true;
    pthread_cond_broadcast(&w->more);
    lock_release(&w->lock);
    for (int i = 0; i < w->count; i++)
        pthread_join(w->threads[i], NULL);
    w->count = 0;
    lock_take(&w->lock);
    w->stopped = true;
    struct job *left = w->first; /* that came when the last thread had gone */
    w->first = NULL;
    w->last = &w->first;
    lock_release(&w->lock);
    for (struct job *next; left != NULL; left = next) {
        next = left->next; /* running it may free it */
        workers_run(left);
    }
}

void workers_free(struct workers *w)
{
    if (w == NULL)
        return;
    workers_stop(w);
    pthread_cond_destroy(&w->more);
    lock_deinit(&w->lock);
    free(w->threads);
    free(w);
}

int64_t workers_idle_us(struct workers *w)
{
    lock_take(&w->lock);
    note_idle(w, 0);
    int64_t idle_us = w->idle_us;
    lock_release(&w->lock);
    return idle_us;
}

int workers_count(struct workers *w)
{
    lock_take(&w->lock);
    int n = w->running;
    lock_release(&w->lock);
    return n;
}

void workers_submit(struct workers *w, struct job *job)
{
    ensure(job->run != NULL);
    ensure(job->home == NULL || job->done.deliver != NULL);
    lock_take(&w->lock);
    if (w->stopped) {
        lock_release(&w->lock);
        workers_run(job);
        return;
    }
    job->next = NULL;
    *w->last = job;
    w->last = &job->next;
    pthread_cond_signal(&w->more);
    lock_release(&w->lock);
}
