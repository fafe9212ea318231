#include "storage/checkpoint_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/logger.h"
#include "base/topic_key.h"
#include "storage/file_internal.h"
#include "storage/segment_internal.h"

enum { VERSION = 0 };

static bool parse_number(const char *s, int64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoll(s, &end, 10);
    return end != s && *end == '\0' && errno == 0;
}

/*
 * Both kinds of file: version, number of lines, lines. A line that cannot be understood costs nothing but itself. False
 * if the file cannot be read; `complete`: nothing is missing of it. An empty one is what Apache's cleaner leaves.
 */
static bool read_lines(const char *path, bool (*line)(void *ctx, const char *s), void *ctx, bool *complete)
{
    static const char ends[] = "\r\n";
    struct strbuf text = {0};
    char *save = NULL;
    int64_t version = -1, count = -1, good = 0, bad = 0;
    enum file_result result = file_load(path, &text);
    *complete = result != FILE_FAILED;
    strbuf_add(&text, "", 1);
    char *s = text.len > 1 ? strtok_r(text.p, ends, &save) : NULL;
    if (s != NULL && parse_number(s, &version) && version == VERSION && (s = strtok_r(NULL, ends, &save)) != NULL)
        for (*complete = parse_number(s, &count); (s = strtok_r(NULL, ends, &save)) != NULL;)
            line(ctx, s) ? good++ : bad++;
    if (text.len > 1 && (bad > 0 || good != count)) {
        *complete = false;
        log_error("Malformed checkpoint file %s: %" PRId64 " of %" PRId64 " lines can be used", path, good, count);
    }
    strbuf_deinit(&text);
    return result != FILE_FAILED;
}

static bool offsets_line(void *ctx, const char *s)
{
    char topic[LONGEST_TOPIC_NAME + 1];
    int32_t partition;
    int64_t offset;
    int end = 0;
    if (sscanf(s, "%249s %" SCNd32 " %" SCNd64 "%n", topic, &partition, &offset, &end) != 3 || s[end] != '\0' ||
        partition < 0 || offset > LARGEST_OFFSET)
        return false;
    offsets_file_add(ctx, topic, partition, offset);
    return true;
}

static int compare(const char *topic, int32_t partition, const struct offsets_entry *e)
{
    int order = strcmp(topic, e->topic);
    return order != 0 ? order : (partition > e->partition) - (partition < e->partition);
}

static int by_partition(const void *a, const void *b)
{
    const struct offsets_entry *x = a;
    return compare(x->topic, x->partition, b);
}

bool offsets_file_read(const char *path, struct offsets_file *out)
{
    bool complete;
    *out = (struct offsets_file){0};
    bool ok = read_lines(path, offsets_line, out, &complete);
    if (out->n > 0)
        qsort(out->v, out->n, sizeof(*out->v), by_partition);
    return ok;
}

bool offsets_file_write(const char *path, const struct offsets_file *f)
{
    struct strbuf text = {0};
    strbuf_printf(&text, "%d\n%zu\n", VERSION, f->n);
    for (size_t i = 0; i < f->n; i++)
        strbuf_printf(&text, "%s %" PRId32 " %" PRId64 "\n", f->v[i].topic, f->v[i].partition, f->v[i].offset);
    bool ok = file_replace(path, text.p, text.len);
    strbuf_deinit(&text);
    return ok;
}

void offsets_file_add(struct offsets_file *f, const char *topic, int32_t partition, int64_t offset)
{
    if (strpbrk(topic, " \t\r\n\v\f") != NULL || strlen(topic) > LONGEST_TOPIC_NAME)
        return;
    f->v = xgrow(f->v, f->n + 1, &f->cap, sizeof(*f->v));
    f->v[f->n++] = (struct offsets_entry){xstrdup(topic), partition, offset};
}

int64_t offsets_file_find(const struct offsets_file *f, const char *topic, int32_t partition)
{
    size_t lo = 0, hi = f->n;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        int order = compare(topic, partition, &f->v[mid]);
        if (order == 0)
            return f->v[mid].offset;
        if (order < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return -1;
}

void offsets_file_free(struct offsets_file *f)
{
    for (size_t i = 0; i < f->n; i++)
        free(f->v[i].topic);
    free(f->v);
    *f = (struct offsets_file){0};
}

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
    return read_lines(path, epochs_line, out, complete);
}

bool epochs_write(const char *path, const struct epochs *e)
{
    struct strbuf text = {0};
    strbuf_printf(&text, "%d\n%zu\n", VERSION, e->n);
    for (size_t i = 0; i < e->n; i++)
        strbuf_printf(&text, "%" PRId32 " %" PRId64 "\n", e->v[i].epoch, e->v[i].start_offset);
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
}

int32_t epochs_at(const struct epochs *e, int64_t offset)
{
    size_t above = e->n;
    while (above > 0 && e->v[above - 1].start_offset > offset)
        above--;
    return above > 0 ? e->v[above - 1].epoch : -1;
}
