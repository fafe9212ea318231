#include "metrics/counter.h"

#include <pthread.h>

#include "base/lock.h"
#include "base/logger.h"

enum { MOST_CELLS = CELLS_A_PIECE * CELL_PIECES };

_Thread_local struct cells *cells_mine;

/* Of all threads that ever were: only added to, at the head. */
static _Atomic(struct cells *) all_cells;

static struct lock numbers_lock = LOCK_INITIALIZER(RANK_COUNTERS);
static uint32_t next_cell = 1; /* cell 0 is that of counters that nobody reads */
static uint32_t *spare_cells;  /* that were given back */
static size_t spare_count, spare_cap;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t ending; /* its value is the cells of a thread, which gives them back when it ends */

static void cells_give_back(void *cells)
{
    struct cells *mine = cells;
    ensure(atomic_load_explicit(&mine->taken, memory_order_relaxed));
    cells_mine = NULL;
    atomic_store_explicit(&mine->taken, false, memory_order_release);
}

static void cells_make_key(void)
{
    int rc = pthread_key_create(&ending, cells_give_back);
    ensure(rc == 0);
}

static struct cells *cells_of_ended_thread(void)
{
    for (struct cells *c = atomic_load_explicit(&all_cells, memory_order_acquire); c != NULL; c = c->next)
        if (!atomic_load_explicit(&c->taken, memory_order_relaxed) &&
            !atomic_exchange_explicit(&c->taken, true, memory_order_acquire))
            return c;
    return NULL;
}

static struct cells *cells_new(void)
{
    struct cells *c = xcalloc(1, sizeof(*c));
    atomic_init(&c->taken, true);
    c->next = atomic_load_explicit(&all_cells, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&all_cells, &c->next, c, memory_order_release, memory_order_relaxed))
        continue;
    return c;
}

_Atomic int64_t *cell_make(uint32_t cell)
{
    ensure(cell < MOST_CELLS);
    if (cells_mine == NULL) {
        pthread_once(&once, cells_make_key);
        struct cells *ended = cells_of_ended_thread();
        cells_mine = ended != NULL ? ended : cells_new();
        pthread_setspecific(ending, cells_mine);
    }
    _Atomic(struct cell_piece *) *piece = &cells_mine->pieces[cell / CELLS_A_PIECE];
    if (atomic_load_explicit(piece, memory_order_relaxed) == NULL)
        atomic_store_explicit(piece, xcalloc(1, sizeof(struct cell_piece)), memory_order_release);
    return cell_mine(cell);
}

static _Atomic int64_t *cell_of(struct cells *c, uint32_t cell)
{
    struct cell_piece *piece = atomic_load_explicit(&c->pieces[cell / CELLS_A_PIECE], memory_order_acquire);
    return piece != NULL ? &piece->cells[cell % CELLS_A_PIECE] : NULL;
}

void cells_each(uint32_t cell, void (*see)(void *ctx, int64_t value), void *ctx)
{
    for (struct cells *c = atomic_load_explicit(&all_cells, memory_order_acquire); c != NULL; c = c->next) {
        _Atomic int64_t *at = cell_of(c, cell);
        int64_t value = at != NULL ? atomic_load_explicit(at, memory_order_acquire) : 0;
        if (value != 0)
            see(ctx, value);
    }
}

void counter_init(struct counter *c)
{
    static atomic_bool told;
    lock_take(&numbers_lock);
    c->cell = 0;
    if (spare_count > 0)
        c->cell = spare_cells[--spare_count];
    else if (next_cell < MOST_CELLS)
        c->cell = next_cell++;
    lock_release(&numbers_lock);
    /* A number that is missing is no reason to stop serving. */
    if (c->cell == 0 && !atomic_exchange(&told, true))
        log_warn("more than %d things are counted; what comes now is not, and reads as nothing", MOST_CELLS - 1);
}

void counter_deinit(struct counter *c)
{
    if (c->cell == 0)
        return;
    for (struct cells *all = atomic_load_explicit(&all_cells, memory_order_acquire); all != NULL; all = all->next) {
        _Atomic int64_t *at = cell_of(all, c->cell);
        if (at != NULL)
            atomic_store_explicit(at, 0, memory_order_relaxed);
    }
    lock_take(&numbers_lock);
    spare_cells = xgrow(spare_cells, spare_count + 1, &spare_cap, sizeof(*spare_cells));
    spare_cells[spare_count++] = c->cell;
    ensure(c->cell < next_cell && spare_count < next_cell); /* each is given back once */
    lock_release(&numbers_lock);
    c->cell = 0;
}

static void counter_see(void *ctx, int64_t value)
{
    int64_t *sum = ctx;
    *sum += value;
}

int64_t counter_read(const struct counter *c)
{
    int64_t sum = 0;
    if (c->cell != 0)
        cells_each(c->cell, counter_see, &sum);
    return sum;
}
