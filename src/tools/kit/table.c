#include "tools/kit/table.h"

struct table_row {
    struct table_row *next;
    struct str *cells;
};

void table_init(struct table *t, const char *const *head, int columns, struct arena *a)
{
    *t = (struct table){.head = head, .columns = columns, .arena = a};
    t->last = &t->first;
}

void table_add(struct table *t, const struct str *cells)
{
    struct table_row *row = ARENA_NEW(t->arena, struct table_row);
    row->cells = arena_copy(t->arena, cells, sizeof(*cells) * (size_t)t->columns);
    *t->last = row;
    t->last = &row->next;
}

static void table_widen(int *widths, int column, int width)
{
    widths[column] = MAX(widths[column], width);
}

void table_print(const struct table *t, FILE *to)
{
    int *widths = ARENA_ARRAY(t->arena, int, t->columns);
    for (int i = 0; i < t->columns; i++)
        table_widen(widths, i, (int)strlen(t->head[i]));
    for (const struct table_row *row = t->first; row != NULL; row = row->next)
        for (int i = 0; i < t->columns; i++)
            table_widen(widths, i, row->cells[i].len);
    for (int i = 0; i < t->columns; i++)
        fprintf(to, "%-*s\t", widths[i], t->head[i]);
    fputc('\n', to);
    for (const struct table_row *row = t->first; row != NULL; row = row->next) {
        for (int i = 0; i < t->columns; i++)
            fprintf(to, "%.*s%*s\t", STR_ARGS(row->cells[i]), widths[i] - row->cells[i].len, "");
        fputc('\n', to);
    }
}
