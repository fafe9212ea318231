/*
 * A mutex that knows its holder, so that functions which need it held can say so: ensure(lock_is_held(&x->lock)); and
 * its rank (lock_ranks.h), so that no two threads wait for each other. Not recursive: taking it twice, out of turn, or
 * releasing what another thread holds, ends the program.
 */
#ifndef BARNABAS_LOCK_H
#define BARNABAS_LOCK_H

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#include "base/base.h"
#include "base/lock_ranks.h"

struct lock {
    pthread_mutex_t mutex;
    _Atomic uintptr_t holder; /* 0: nobody. Its own thread alone finds itself here: that needs no order. */
    _Atomic uint32_t waiting; /* threads that found it held */
    _Atomic uint32_t served;  /* how often one of those got it */
    enum lock_rank rank;
};

#define LOCK_INITIALIZER(rank_)                             \
    {                                                       \
        .mutex = PTHREAD_MUTEX_INITIALIZER, .rank = (rank_) \
    }

/* Many may hold it to read, or one to write. */
struct shared_lock {
    pthread_rwlock_t rwlock;
    enum lock_rank rank;
};

/* ---- Ranks ---- */

extern _Thread_local uint64_t lock_ranks_held; /* by this thread, a bit each */
_Static_assert(LOCK_RANK_COUNT <= 64, "each rank has a bit");

static inline void lock_rank_take(enum lock_rank rank)
{
    ensure(lock_ranks_held >> rank == 0); /* none from here on down */
    lock_ranks_held |= UINT64_C(1) << rank;
}

static inline void lock_rank_release(enum lock_rank rank)
{
    ensure(lock_ranks_held >> rank & 1);
    lock_ranks_held &= ~(UINT64_C(1) << rank);
}

/* ---- One holder ---- */

static inline uintptr_t lock_self(void)
{
    return (uintptr_t)pthread_self();
}

static inline bool lock_is_held(const struct lock *l)
{
    return atomic_load_explicit(&l->holder, memory_order_relaxed) == lock_self();
}

static inline void lock_init(struct lock *l, enum lock_rank rank)
{
    pthread_mutex_init(&l->mutex, NULL);
    atomic_init(&l->holder, 0);
    atomic_init(&l->waiting, 0);
    atomic_init(&l->served, 0);
    l->rank = rank;
}

static inline void lock_deinit(struct lock *l)
{
    ensure(atomic_load_explicit(&l->holder, memory_order_relaxed) == 0);
    pthread_mutex_destroy(&l->mutex);
}

static inline void lock_wait_in_line(struct lock *l)
{
    atomic_fetch_add_explicit(&l->waiting, 1, memory_order_relaxed);
    pthread_mutex_lock(&l->mutex);
    atomic_fetch_sub_explicit(&l->waiting, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&l->served, 1, memory_order_relaxed);
}

static inline void lock_take(struct lock *l)
{
    ensure(!lock_is_held(l));
    if (pthread_mutex_trylock(&l->mutex) != 0)
        lock_wait_in_line(l);
    lock_rank_take(l->rank);
    atomic_store_explicit(&l->holder, lock_self(), memory_order_relaxed);
}

static inline void lock_release(struct lock *l)
{
    ensure(lock_is_held(l));
    atomic_store_explicit(&l->holder, 0, memory_order_relaxed);
    lock_rank_release(l->rank);
    pthread_mutex_unlock(&l->mutex);
}

/*
 * For who holds it long, between two steps: if others wait, one of them has it first. To release and take it again
 * would not do: they sleep, and are too late.
 */
static inline void lock_give_way(struct lock *l)
{
    uint32_t served = atomic_load_explicit(&l->served, memory_order_relaxed);
    if (atomic_load_explicit(&l->waiting, memory_order_relaxed) == 0)
        return;
    lock_release(l);
    while (atomic_load_explicit(&l->waiting, memory_order_relaxed) > 0 &&
           atomic_load_explicit(&l->served, memory_order_relaxed) == served)
        sched_yield();
    lock_take(l);
}

/* Until the condition is signalled, or for no reason at all. Others may hold the lock meanwhile. */
static inline void lock_wait(struct lock *l, pthread_cond_t *condition)
{
    ensure(lock_is_held(l));
    atomic_store_explicit(&l->holder, 0, memory_order_relaxed);
    pthread_cond_wait(condition, &l->mutex);
    atomic_store_explicit(&l->holder, lock_self(), memory_order_relaxed);
}

/* The same, at most for so long. */
static inline void lock_wait_for(struct lock *l, pthread_cond_t *condition, int64_t ms)
{
    struct timespec until;
    ensure(lock_is_held(l));
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(ms / 1000);
    until.tv_nsec += (long)(ms % 1000 * 1000000);
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    atomic_store_explicit(&l->holder, 0, memory_order_relaxed);
    (void)pthread_cond_clockwait(condition, &l->mutex, CLOCK_MONOTONIC, &until);
    atomic_store_explicit(&l->holder, lock_self(), memory_order_relaxed);
}

/* ---- Several readers ---- */

static inline void shared_lock_init(struct shared_lock *l, enum lock_rank rank)
{
    pthread_rwlock_init(&l->rwlock, NULL);
    l->rank = rank;
}

static inline void shared_lock_deinit(struct shared_lock *l)
{
    pthread_rwlock_destroy(&l->rwlock);
}

static inline void shared_lock_read(struct shared_lock *l)
{
    pthread_rwlock_rdlock(&l->rwlock);
    lock_rank_take(l->rank);
}

static inline void shared_lock_write(struct shared_lock *l)
{
    pthread_rwlock_wrlock(&l->rwlock);
    lock_rank_take(l->rank);
}

/* By this thread, to read or to write. */
static inline bool shared_lock_is_held(const struct shared_lock *l)
{
    return lock_ranks_held >> l->rank & 1;
}

static inline void shared_lock_release(struct shared_lock *l)
{
    lock_rank_release(l->rank);
    pthread_rwlock_unlock(&l->rwlock);
}

#endif
