#include "base/base.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

static void (*_Atomic last_words)(void);

void last_words_set(void (*say)(void))
{
    atomic_store(&last_words, say);
}

static _Noreturn void die(void)
{
    void (*say)(void) = atomic_exchange(&last_words, NULL);
    fflush(stderr);
    if (say != NULL)
        say();
    abort();
}

void ensure_failed(const char *what, const char *file, int line, const char *func)
{
    fprintf(stderr, "FATAL broken invariant in %s() at %s:%d: %s\n", func, file, line, what);
    die();
}

static void *or_die(void *p, size_t size)
{
    if (p == NULL && size > 0) {
        fprintf(stderr, "FATAL out of memory: %zu bytes refused\n", size);
        die();
    }
    return p;
}

void *xmalloc(size_t size)
{
    return or_die(malloc(size), size);
}

void *xcalloc(size_t count, size_t size)
{
    return or_die(calloc(count, size), count * size);
}

void *xrealloc(void *old, size_t size)
{
    return or_die(realloc(old, size), size);
}

void *xgrow(void *old, size_t need, size_t *cap, size_t elem_size)
{
    ensure(*cap == 0 || old != NULL);
    if (need <= *cap)
        return old;
    size_t want = MAX(need, *cap * 2);
    want = MAX(want, (size_t)8);
    ensure(want <= SIZE_MAX / elem_size);
    void *grown = xrealloc(old, want * elem_size);
    *cap = want;
    return grown;
}

char *xstrdup(const char *s)
{
    return xstrndup(s, strlen(s));
}

char *xstrndup(const char *s, size_t len)
{
    char *copy = xmalloc(len + 1);
    memcpy(copy, s, len);
    copy[len] = '\0';
    return copy;
}

char *xasprintf(const char *fmt, ...)
{
    va_list args;
    char *text = NULL;
    va_start(args, fmt);
    int n = vasprintf(&text, fmt, args);
    va_end(args);
    return or_die(n < 0 ? NULL : text, 1);
}
