/* Lists of ids: replicas, ISRs, brokers. */
#ifndef BARNABAS_INT_LIST_H
#define BARNABAS_INT_LIST_H

#include "base/arena.h"

struct int_list {
    int32_t *v;
    int32_t n;
};

bool int_list_has(struct int_list list, int32_t x);
bool int_list_eq(struct int_list a, struct int_list b);
bool int_list_within(struct int_list part, struct int_list whole); /* in whatever order */
struct int_list int_list_copy(struct arena *a, struct int_list list);
/* On the heap: free(list.v). */
struct int_list int_list_dup(struct int_list list);
void int_list_append(struct int_list *list, int32_t x);
void int_list_remove(struct int_list *list, int32_t x);
bool int_list_has_repeats(struct int_list list);  /* also of a long one that somebody else has made */
void int_list_make_unique(struct int_list *list); /* the first of each stays */
/* "1, 2, 3", as people are told of them: of very many only the first. */
struct str int_list_text(struct arena *a, struct int_list list);

/* An array of a decoded message, of which a null one is empty. */
#define INT_LIST(array) ((struct int_list){(array).items, MAX((array).len, 0)})

#endif
