/* Tables as several of Kafka's tools print them: columns as wide as what is in them, with a tab behind each. */
#ifndef BARNABAS_TOOLS_KIT_TABLE_H
#define BARNABAS_TOOLS_KIT_TABLE_H

#include <stdio.h>

#include "base/arena.h"

struct table {
    const char *const *head;
    int columns;
    struct arena *arena;
    struct table_row *first, **last;
};

/* Rows lie in the arena; what their cells point to stays where it is. */
void table_init(struct table *t, const char *const *head, int columns, struct arena *a);
void table_add(struct table *t, const struct str *cells);
void table_print(const struct table *t, FILE *to);

#endif
