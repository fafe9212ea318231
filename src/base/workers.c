#include "base/workers.h"

#include <pthread.h>
#include <signal.h>

struct workers {
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct job *first, **last;
    bool stopping;
    int count;
    pthread_t threads[];
};

static struct job *next_job(struct workers *w)
{
    pthread_mutex_lock(&w->lock);
    while (w->first == NULL && !w->stopping)
        pthread_cond_wait(&w->more, &w->lock);
    struct job *job = w->first;
    if (job != NULL) {
        w->first = job->next;
        if (w->first == NULL)
            w->last = &w->first;
    }
    pthread_mutex_unlock(&w->lock);
    return job;
}

static void run(struct job *job)
{
    struct loop *home = job->home;
    job->run(job);
    if (home != NULL)
        loop_post(home, &job->done);
}

static void *worker_main(void *arg)
{
    struct workers *w = arg;
    pthread_setname_np(pthread_self(), "worker");
    for (struct job *job; (job = next_job(w)) != NULL;)
        run(job);
    return NULL;
}

struct workers *workers_new(int threads)
{
    struct workers *w = xcalloc(1, sizeof(*w) + (size_t)threads * sizeof(pthread_t));
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->more, NULL);
    w->last = &w->first;
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    for (; w->count < threads; w->count++) {
        int rc = pthread_create(&w->threads[w->count], NULL, worker_main, w);
        ensure(rc == 0);
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return w;
}

void workers_stop(struct workers *w)
{
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_broadcast(&w->more);
    pthread_mutex_unlock(&w->lock);
    for (int i = 0; i < w->count; i++)
        pthread_join(w->threads[i], NULL);
    w->count = 0;
}

void workers_free(struct workers *w)
{
    if (w == NULL)
        return;
    workers_stop(w);
    pthread_cond_destroy(&w->more);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

void workers_submit(struct workers *w, struct job *job)
{
    ensure(job->home == NULL || job->done.deliver != NULL);
    if (w->count == 0) {
        run(job);
        return;
    }
    pthread_mutex_lock(&w->lock);
    job->next = NULL;
    *w->last = job;
    w->last = &job->next;
    pthread_cond_signal(&w->more);
    pthread_mutex_unlock(&w->lock);
}
