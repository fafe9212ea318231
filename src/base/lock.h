/*
 * A mutex that knows its holder, so that functions which need it held can say so: ensure(lock_is_held(&x->lock)).
 * Not recursive: taking it twice, or releasing what another thread holds, ends the program.
 */
#ifndef BARNABAS_LOCK_H
#define BARNABAS_LOCK_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/base.h"

struct lock {
    pthread_mutex_t mutex;
    _Atomic uintptr_t holder; /* 0: nobody. Its own thread alone finds itself here: that needs no order. */
};

static inline uintptr_t lock_self(void)
{
    return (uintptr_t)pthread_self();
}

static inline bool lock_is_held(const struct lock *l)
{
    return atomic_load_explicit(&l->holder, memory_order_relaxed) == lock_self();
}

static inline void lock_init(struct lock *l)
{
    pthread_mutex_init(&l->mutex, NULL);
    atomic_init(&l->holder, 0);
}

static inline void lock_deinit(struct lock *l)
{
    ensure(atomic_load_explicit(&l->holder, memory_order_relaxed) == 0);
    pthread_mutex_destroy(&l->mutex);
}

static inline void lock_take(struct lock *l)
{
    ensure(!lock_is_held(l));
    pthread_mutex_lock(&l->mutex);
    atomic_store_explicit(&l->holder, lock_self(), memory_order_relaxed);
}

static inline void lock_release(struct lock *l)
{
    ensure(lock_is_held(l));
    atomic_store_explicit(&l->holder, 0, memory_order_relaxed);
    pthread_mutex_unlock(&l->mutex);
}

/* Until the condition is signalled, or for no reason at all. Others may hold the lock meanwhile. */
static inline void lock_wait(struct lock *l, pthread_cond_t *condition)
{
    ensure(lock_is_held(l));
    atomic_store_explicit(&l->holder, 0, memory_order_relaxed);
    pthread_cond_wait(condition, &l->mutex);
    atomic_store_explicit(&l->holder, lock_self(), memory_order_relaxed);
}

#endif
