/* Chance, time and workers, all by the seed. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/chance.h"
#include "base/clock.h"
#include "crash.h"

static uint64_t random_state, seed_of_run;
static int64_t now_ms;

void crash_seed(uint64_t seed)
{
    seed_of_run = seed;
    random_state = seed * 0x9E3779B97F4A7C15U + 0xD1B54A32D192ED03U;
    now_ms = 1700000000000;
}

static uint64_t next_random(void)
{
    uint64_t z = (random_state += 0x9E3779B97F4A7C15U); /* splitmix64 */
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31);
}

uint32_t crash_random(uint32_t below)
{
    return (uint32_t)(next_random() % MAX(below, 1U));
}

bool crash_chance(uint32_t one_in)
{
    return crash_random(one_in) == 0;
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

void crash_wait(int64_t ms)
{
    now_ms += ms;
}

int64_t clock_wall_ms(void)
{
    return now_ms;
}

int64_t clock_mono_ms(void)
{
    return now_ms;
}

int64_t clock_mono_us(void)
{
    return now_ms * 1000;
}

/* ---- Workers: jobs wait until somebody says so ---- */

struct workers {
    struct job *first, **last;
};

struct workers *workers_new(const char *name UNUSED, int threads UNUSED)
{
    struct workers *w = xcalloc(1, sizeof(*w));
    w->last = &w->first;
    return w;
}

static void run_first(struct workers *w)
{
    struct job *job = w->first;
    w->first = job->next;
    if (w->first == NULL)
        w->last = &w->first;
    job->run(job);
}

void workers_stop(struct workers *w)
{
    while (w->first != NULL)
        run_first(w);
}

void workers_free(struct workers *w)
{
    if (w == NULL)
        return;
    workers_stop(w);
    free(w);
}

void workers_submit(struct workers *w, struct job *job)
{
    job->next = NULL;
    *w->last = job;
    w->last = &job->next;
}

void crash_run_jobs(struct workers *w)
{
    while (w->first != NULL && !crash_chance(3))
        run_first(w);
}

void violation(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fputs("VIOLATION: ", stdout);
    vprintf(fmt, args);
    printf("\nFAIL seed %" PRIu64 ": crash --seed %" PRIu64 " --trace shows it again\n", seed_of_run, seed_of_run);
    va_end(args);
    fflush(stdout);
    _exit(3);
}
