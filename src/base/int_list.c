#include "base/int_list.h"

#include <inttypes.h>

#include "base/strbuf.h"

bool int_list_has(struct int_list list, int32_t x)
{
    for (int32_t i = 0; i < list.n; i++)
        if (list.v[i] == x)
            return true;
    return false;
}

bool int_list_eq(struct int_list a, struct int_list b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.v, b.v, (size_t)a.n * sizeof(*a.v)) == 0);
}

bool int_list_within(struct int_list part, struct int_list whole)
{
    for (int32_t i = 0; i < part.n; i++)
        if (!int_list_has(whole, part.v[i]))
            return false;
    return true;
}

struct int_list int_list_copy(struct arena *a, struct int_list list)
{
    return (struct int_list){arena_copy(a, list.v, (size_t)list.n * sizeof(*list.v)), list.n};
}

struct int_list int_list_dup(struct int_list list)
{
    struct int_list copy = {xmalloc((size_t)MAX(list.n, 1) * sizeof(*list.v)), list.n};
    if (list.n > 0)
        memcpy(copy.v, list.v, (size_t)list.n * sizeof(*list.v));
    return copy;
}

void int_list_append(struct int_list *list, int32_t x)
{
    ensure(list->n >= 0 && list->n < INT32_MAX);
    list->v = xrealloc(list->v, sizeof(int32_t) * (size_t)(list->n + 1));
    list->v[list->n++] = x;
}

void int_list_remove(struct int_list *list, int32_t x)
{
    int32_t kept = 0;
    for (int32_t i = 0; i < list->n; i++)
        if (list->v[i] != x)
            list->v[kept++] = list->v[i];
    list->n = kept;
}

static int int_list_order(const void *a, const void *b)
{
    const int32_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

bool int_list_has_repeats(struct int_list list)
{
    struct int_list sorted = int_list_dup(list);
    bool found = false;
    if (list.n > 1)
        qsort(sorted.v, (size_t)sorted.n, sizeof(*sorted.v), int_list_order);
    for (int32_t i = 1; i < sorted.n && !found; i++)
        found = sorted.v[i] == sorted.v[i - 1];
    free(sorted.v);
    return found;
}

/* Where it is in the sorted list, or would be. */
static int32_t int_list_place(struct int_list sorted, int32_t x)
{
    int32_t low = 0, high = sorted.n;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (sorted.v[middle] < x)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void int_list_make_unique(struct int_list *list)
{
    struct int_list sorted = int_list_dup(*list);
    bool *seen = xcalloc((size_t)MAX(list->n, 1), sizeof(*seen)); /* by the first place in `sorted` */
    int32_t kept = 0;
    if (list->n > 1)
        qsort(sorted.v, (size_t)sorted.n, sizeof(*sorted.v), int_list_order);
    for (int32_t i = 0; i < list->n; i++) {
        int32_t x = list->v[i], at = int_list_place(sorted, x);
        ensure(at < sorted.n && sorted.v[at] == x);
        if (!seen[at])
            list->v[kept++] = x;
        seen[at] = true;
    }
    list->n = kept;
    free(seen);
    free(sorted.v);
}

struct str int_list_text(struct arena *a, struct int_list list)
{
    enum { READABLE = 1000 };
    struct strbuf b = {0};
    for (int32_t i = 0; i < MIN(list.n, READABLE); i++)
        strbuf_printf(&b, "%s%" PRId32, i > 0 ? ", " : "", list.v[i]);
    if (list.n > READABLE)
        strbuf_puts(&b, ", ...");
    struct str text = arena_str(a, (struct str){b.p, (int32_t)b.len});
    strbuf_deinit(&b);
    return text;
}
