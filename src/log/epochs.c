#include "log/epochs_internal.h"

#include <inttypes.h>
#include <stdio.h>

#include "log/file.h"
#include "log/lines.h"
#include "log/plog.h"

static bool epochs_line(void *ctx, const char *s)
{
    struct epochs *e = ctx;
    int32_t epoch;
    int64_t start;
    int end = 0;
    if (sscanf(s, "%" SCNd32 " %" SCNd64 "%n", &epoch, &start, &end) != 2 || s[end] != '\0' || epoch < 0 || start < 0 ||
        start > LARGEST_OFFSET)
        return false;
    epochs_assign(e, epoch, start);
    return true;
}

bool epochs_read(const char *path, struct epochs *out, bool *complete)
{
    *out = (struct epochs){0};
    return lines_read(path, epochs_line, out, complete);
}

void epochs_put(struct strbuf *out, const struct epochs *e)
{
    lines_begin(out, e->n);
    for (size_t i = 0; i < e->n; i++)
        strbuf_printf(out, "%" PRId32 " %" PRId64 "\n", e->v[i].epoch, e->v[i].start_offset);
}

bool epochs_write(const char *path, const struct epochs *e)
{
    struct strbuf text = {0};
    epochs_put(&text, e);
    bool ok = file_replace(path, text.p, text.len);
    strbuf_deinit(&text);
    return ok;
}

void epochs_free(struct epochs *e)
{
    free(e->v);
    *e = (struct epochs){0};
}

bool epochs_assign(struct epochs *e, int32_t epoch, int64_t start_offset)
{
    ensure(epoch >= 0 && start_offset >= 0);
    ensure(e->n == 0 || e->v != NULL);
    const struct epoch_entry *last = e->n > 0 ? &e->v[e->n - 1] : NULL;
    if (last != NULL && last->epoch == epoch && start_offset >= last->start_offset)
        return false;
    while (e->n > 0 && (e->v[e->n - 1].epoch >= epoch || e->v[e->n - 1].start_offset >= start_offset))
        e->n--;
    e->v = xgrow(e->v, e->n + 1, &e->cap, sizeof(*e->v));
    e->v[e->n++] = (struct epoch_entry){epoch, start_offset};
    ensure(e->n == 1 || (e->v[e->n - 2].epoch < epoch && e->v[e->n - 2].start_offset < start_offset));
    return true;
}

bool epochs_truncate_from_end(struct epochs *e, int64_t end_offset)
{
    size_t before = e->n;
    while (e->n > 0 && e->v[e->n - 1].start_offset >= end_offset)
        e->n--;
    return e->n != before;
}

bool epochs_drop_above(struct epochs *e, int32_t epoch)
{
    size_t before = e->n;
    while (e->n > 0 && e->v[e->n - 1].epoch > epoch)
        e->n--;
    return e->n != before;
}

/* The epoch that holds `start_offset` stays, and starts there. */
bool epochs_truncate_from_start(struct epochs *e, int64_t start_offset)
{
    size_t drop = 0;
    while (drop < e->n && e->v[drop].start_offset <= start_offset)
        drop++;
    if (drop == 0 || (drop == 1 && e->v[0].start_offset == start_offset))
        return false;
    memmove(e->v, e->v + drop - 1, (e->n - drop + 1) * sizeof(*e->v));
    ensure(drop <= e->n);
    e->n -= drop - 1;
    e->v[0].start_offset = start_offset;
    ensure(e->n > 0 && (e->n == 1 || e->v[1].start_offset > start_offset));
    return true;
}

void epochs_end(const struct epochs *e, int32_t epoch, int64_t log_end, int32_t *found, int64_t *end)
{
    *found = -1;
    *end = -1;
    if (epoch < 0 || e->n == 0 || epoch > e->v[e->n - 1].epoch)
        return;
    size_t above = 0;
    while (above < e->n && e->v[above].epoch <= epoch)
        above++;
    *found = above > 0 ? e->v[above - 1].epoch : epoch;
    *end = above < e->n ? e->v[above].start_offset : log_end;
    ensure(*found <= epoch && *end >= 0);
}

int32_t epochs_at(const struct epochs *e, int64_t offset)
{
    size_t above = e->n;
    while (above > 0 && e->v[above - 1].start_offset > offset)
        above--;
    return above > 0 ? e->v[above - 1].epoch : -1;
}
