/*
 * An arena: many small allocations, freed together. Each request has one; so has each response
 * until it is sent. Not thread-safe, but an arena may be handed from one thread to another whole.
 */
#ifndef BARNABAS_ARENA_H
#define BARNABAS_ARENA_H

#include "base/bytes.h"

struct arena_chunk;

struct arena {
    struct arena_chunk *chunks; /* newest first */
    char *at, *end;             /* free part of the newest chunk */
    size_t used;                /* bytes handed out */
    /*
     * arena_try_alloc() refuses past this. arena_alloc() goes on, and leaves a note, for who can give up the work that
     * takes so much. 0 is no limit.
     */
    size_t limit;
    bool spent;
};

/* An arena of all zeroes is valid and empty, and owns nothing. */
void arena_init(struct arena *a, size_t limit);
void arena_deinit(struct arena *a);
void arena_wipe(struct arena *a); /* the same of one with secrets: nothing of them stays behind */

/* Memory is aligned for any type and zeroed. */
void *arena_alloc(struct arena *a, size_t size);
/* As above, but NULL when `count * size` would exceed the limit: for sizes that a peer chose. */
void *arena_try_alloc(struct arena *a, size_t count, size_t size) NODISCARD;
void *arena_copy(struct arena *a, const void *data, size_t len);
struct str arena_str(struct arena *a, struct str s); /* null stays null */
char *arena_cstr(struct arena *a, struct str s);     /* NUL-terminated copy */
struct str arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);

#define ARENA_NEW(a, type) ((type *)arena_alloc((a), sizeof(type)))
#define ARENA_ARRAY(a, type, n) ((type *)arena_alloc((a), sizeof(type) * (size_t)(n)))

#endif
