/*
 * A set of texts, for what a request names twice: looking through those before for each would take the square of what
 * it names. Entries lie in an arena, texts stay where they are.
 */
#ifndef BARNABAS_STR_SET_H
#define BARNABAS_STR_SET_H

#include "base/arena.h"

struct str_entry;

struct str_set { /* zeroed: empty */
    struct str_entry *table;
};

bool str_set_add(struct str_set *s, struct arena *a, struct str text);      /* false: it is in it already */
bool str_set_add_copy(struct str_set *s, struct arena *a, struct str text); /* of a text that does not stay */
bool str_set_has(const struct str_set *s, struct str text);
/* Of those that are there more than once. */
struct str_set str_set_of_repeated(struct arena *a, const struct str *texts, int32_t count);
void str_set_deinit(struct str_set *s); /* before the arena is freed */

#endif
