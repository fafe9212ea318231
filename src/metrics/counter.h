/*
 * Counters that many threads add to and few read. Each thread has cells of its own, in memory that no other writes, so
 * that to add is to load and to store: no lock, no line of the cache that goes from one processor to another. Who reads
 * adds up the cells of all threads.
 *
 * What a thread that ends has counted stays; its cells go to the next thread that begins.
 *
 * All zeroes is a counter that may be added to and reads as nothing: for parts that run without a registry, in tests.
 */
#ifndef BARNABAS_COUNTER_H
#define BARNABAS_COUNTER_H

#include <stdatomic.h>

#include "base/base.h"

struct counter {
    uint32_t cell; /* 0: nobody's */
};

/* When there are too many already it is nobody's, as one that is all zeroes. */
void counter_init(struct counter *c);
/* When nobody can add to it any more. */
void counter_deinit(struct counter *c);
int64_t counter_read(const struct counter *c);

/* ---- How it is done ---- */

enum { CELLS_A_PIECE = 512, CELL_PIECES = 2048 };

struct cell_piece {
    _Atomic int64_t cells[CELLS_A_PIECE];
};

/* Of one thread at a time. */
struct cells {
    _Atomic(struct cell_piece *) pieces[CELL_PIECES]; /* made when the thread first needs them */
    struct cells *next;
    atomic_bool taken;
};

extern _Thread_local struct cells *cells_mine;
_Atomic int64_t *cell_make(uint32_t cell);

/* The calling thread's. */
static inline _Atomic int64_t *cell_mine(uint32_t cell)
{
    struct cells *mine = cells_mine;
    if (__builtin_expect(mine != NULL, 1)) {
        struct cell_piece *piece = atomic_load_explicit(&mine->pieces[cell / CELLS_A_PIECE], memory_order_relaxed);
        if (__builtin_expect(piece != NULL, 1))
            return &piece->cells[cell % CELLS_A_PIECE];
    }
    return cell_make(cell);
}

static inline void cell_add(_Atomic int64_t *cell, int64_t n)
{
    atomic_store_explicit(cell, atomic_load_explicit(cell, memory_order_relaxed) + n, memory_order_relaxed);
}

static inline void counter_add(const struct counter *c, int64_t n)
{
    cell_add(cell_mine(c->cell), n);
}

/* Calls `see` with what each thread has in that cell, where it is not 0. What it points to was written before. */
void cells_each(uint32_t cell, void (*see)(void *ctx, int64_t value), void *ctx);

#endif
