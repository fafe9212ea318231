/*
 * What every file may rely on: assertions for our own invariants, memory that is there or the
 * process ends, and the few macros that C lacks.
 *
 * ensure() states what only a defect of barnabas can break; it stays on in release builds.
 * It never guards bytes that came from a network, a disk or a user: those get an error.
 */
#ifndef BARNABAS_BASE_H
#define BARNABAS_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define NODISCARD __attribute__((warn_unused_result))
#define UNUSED __attribute__((unused))

#define ensure(cond)                                            \
    do {                                                        \
        if (__builtin_expect(!(cond), 0))                       \
            ensure_failed(#cond, __FILE__, __LINE__, __func__); \
    } while (0)
#define unreachable(why) ensure_failed(why, __FILE__, __LINE__, __func__)

/* Sums of numbers that a peer chose: they wrap, and what comes of it is judged like any other value. */
static inline int64_t wrapping_add(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a + (uint64_t)b);
}

static inline int64_t wrapping_sub(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a - (uint64_t)b);
}

/* Times that a peer has said, or a file: beyond the largest there is the largest. */
static inline int64_t saturating_add(int64_t a, int64_t b)
{
    int64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? (b > 0 ? INT64_MAX : INT64_MIN) : sum;
}

static inline int64_t saturating_sub(int64_t a, int64_t b)
{
    int64_t difference;
    return __builtin_sub_overflow(a, b, &difference) ? (b < 0 ? INT64_MAX : INT64_MIN) : difference;
}

_Noreturn void ensure_failed(const char *what, const char *file, int line, const char *func);
/* What is done before the process aborts, on whatever thread, with whatever locks; NULL: nothing. */
void last_words_set(void (*say)(void));

/* Allocation that cannot fail: without memory the process says so and aborts. Free with free(). */
void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *old, size_t size);
/* Grows an array of `count` elements to hold `need`; *cap is in elements and at least doubles. */
void *xgrow(void *old, size_t need, size_t *cap, size_t elem_size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t len);
char *xasprintf(const char *fmt, ...) PRINTF_LIKE(1, 2);

#endif
