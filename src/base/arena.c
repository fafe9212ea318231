#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>

#define FIRST_CHUNK 1024
#define LARGEST_CHUNK (64 * 1024)
#define ALIGNMENT 16

struct arena_chunk {
    struct arena_chunk *next;
    size_t size;
    _Alignas(ALIGNMENT) char data[];
};

void arena_init(struct arena *a, size_t limit)
{
    *a = (struct arena){.limit = limit};
}

void arena_deinit(struct arena *a)
{
    for (struct arena_chunk *c = a->chunks, *next; c != NULL; c = next) {
        next = c->next;
        free(c);
    }
    *a = (struct arena){.limit = a->limit};
}

void arena_wipe(struct arena *a)
{
    for (struct arena_chunk *c = a->chunks; c != NULL; c = c->next)
        explicit_bzero(c->data, c->size);
    arena_deinit(a);
}

static size_t next_chunk_size(const struct arena *a, size_t need)
{
    size_t size = a->chunks ? MIN(a->chunks->size * 2, (size_t)LARGEST_CHUNK) : FIRST_CHUNK;
    return MAX(size, need);
}

/* A large one comes zeroed from the kernel, page by page as it is used: not all of it may ever be. */
static void add_chunk(struct arena *a, size_t need)
{
    size_t size = next_chunk_size(a, need);
    ensure(size >= need);
    struct arena_chunk *c = xcalloc(1, sizeof(*c) + size);
    c->size = size;
    c->next = a->chunks;
    a->chunks = c;
    a->at = c->data;
    a->end = c->data + size;
}

void *arena_alloc(struct arena *a, size_t size)
{
    size = (MAX(size, (size_t)1) + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    if ((size_t)(a->end - a->at) < size)
        add_chunk(a, size);
    void *p = a->at;
    a->at += size;
    ensure(a->at <= a->end);
    a->used += size;
    a->spent |= a->limit != 0 && a->used > a->limit;
    return p;
}

void *arena_try_alloc(struct arena *a, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        return NULL;
    if (a->limit != 0 && (bytes > a->limit || a->used > a->limit - bytes))
        return NULL;
    return arena_alloc(a, bytes);
}

void *arena_copy(struct arena *a, const void *data, size_t len)
{
    void *p = arena_alloc(a, len);
    return len > 0 ? memcpy(p, data, len) : p;
}

struct str arena_str(struct arena *a, struct str s)
{
    if (s.p == NULL)
        return STR_NULL;
    return (struct str){arena_copy(a, s.p, (size_t)s.len), s.len};
}

char *arena_cstr(struct arena *a, struct str s)
{
    ensure(s.len >= 0);
    char *copy = arena_alloc(a, (size_t)s.len + 1);
    if (s.len > 0)
        memcpy(copy, s.p, (size_t)s.len);
    return copy;
}

struct str arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    ensure(n >= 0);
    char *text = arena_alloc(a, (size_t)n + 1);
    vsnprintf(text, (size_t)n + 1, fmt, again);
    va_end(again);
    return (struct str){text, n};
}
