/*
 * As Kafka has them: a version, how many lines follow, and a line for each log. They are replaced as a whole.
 *
 *     0
 *     2
 *     orders 0 1500
 *     orders 1 1387
 */
#include "storage/checkpoint_internal.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/topic_key.h"
#include "log/file.h"
#include "log/lines.h"
#include "log/plog.h"

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

static int checkpoint_compare(const char *topic, int32_t partition, const struct offsets_entry *e)
{
    int order = strcmp(topic, e->topic);
    return order != 0 ? order : (partition > e->partition) - (partition < e->partition);
}

static int checkpoint_by_partition(const void *a, const void *b)
{
    const struct offsets_entry *x = a;
    return checkpoint_compare(x->topic, x->partition, b);
}

bool offsets_file_read(const char *path, struct offsets_file *out)
{
    bool complete;
    *out = (struct offsets_file){0};
    bool ok = lines_read(path, offsets_line, out, &complete);
    if (out->n > 0)
        qsort(out->v, out->n, sizeof(*out->v), checkpoint_by_partition);
    return ok;
}

bool offsets_file_write(const char *path, const struct offsets_file *f)
{
    struct strbuf text = {0};
    lines_begin(&text, f->n);
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
        int order = checkpoint_compare(topic, partition, &f->v[mid]);
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
