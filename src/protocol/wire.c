#include "protocol/wire.h"

void reader_init(struct reader *r, struct bytes data, struct arena *a)
{
    ensure(data.len >= 0);
    *r = (struct reader){.start = data.p, .at = data.p, .end = data.p + data.len, .arena = a};
}

void reader_fail(struct reader *r, const char *problem)
{
    if (r->problem != NULL)
        return;
    r->problem = problem;
    r->problem_at = (size_t)(r->at - r->start);
    r->at = r->end;
}

void reader_error(const struct reader *r, struct strbuf *out)
{
    strbuf_printf(out, "%s at byte %zu", r->problem ? r->problem : "no error", r->problem_at);
    if (r->field != NULL)
        strbuf_printf(out, ", in %s", r->field);
}

const uint8_t *reader_take(struct reader *r, size_t n)
{
    if (reader_left(r) < n) {
        reader_fail(r, "the bytes end");
        return NULL;
    }
    const uint8_t *p = r->at;
    r->at += n;
    return p;
}

int8_t reader_int8(struct reader *r)
{
    const uint8_t *p = reader_take(r, 1);
    return p ? (int8_t)*p : 0;
}

int16_t reader_int16(struct reader *r)
{
    const uint8_t *p = reader_take(r, 2);
    return p ? (int16_t)be16_get(p) : 0;
}

int32_t reader_int32(struct reader *r)
{
    const uint8_t *p = reader_take(r, 4);
    return p ? (int32_t)be32_get(p) : 0;
}

int64_t reader_int64(struct reader *r)
{
    const uint8_t *p = reader_take(r, 8);
    return p ? (int64_t)be64_get(p) : 0;
}

uint32_t reader_uvarint(struct reader *r)
{
    uint32_t v = 0;
    size_t n = uvarint_get(r->at, reader_left(r), &v);
    if (n == 0) {
        reader_fail(r, "a variable-length number is cut off or too long");
        return 0;
    }
    r->at += n;
    return v;
}

void error_counts_add(struct error_counts *e, int16_t code)
{
    int32_t i = 0;
    while (i < e->different && e->others[i].code != code)
        i++;
    if (i == MOST_DIFFERENT_ERRORS)
        return;
    e->others[i].code = code;
    e->others[i].times++;
    e->different = MAX(e->different, i + 1);
}

void writer_init(struct writer *w)
{
    *w = (struct writer){0};
}

void writer_deinit(struct writer *w)
{
    strbuf_deinit(&w->buf);
    free(w->splices);
    *w = (struct writer){0};
}

void writer_fail(struct writer *w, const char *field)
{
    if (w->unfit == NULL)
        w->unfit = field;
}

size_t writer_total(const struct writer *w)
{
    return w->buf.len + w->spliced_bytes;
}

void writer_bytes(struct writer *w, const void *data, size_t len)
{
    strbuf_add(&w->buf, data, len);
}

void writer_int8(struct writer *w, int8_t v)
{
    writer_bytes(w, &v, 1);
}

void writer_int16(struct writer *w, int16_t v)
{
    be16_put(strbuf_extend(&w->buf, 2), (uint16_t)v);
}

void writer_int32(struct writer *w, int32_t v)
{
    be32_put(strbuf_extend(&w->buf, 4), (uint32_t)v);
}

void writer_int64(struct writer *w, int64_t v)
{
    be64_put(strbuf_extend(&w->buf, 8), (uint64_t)v);
}

void writer_uvarint(struct writer *w, uint32_t v)
{
    uint8_t bytes[5];
    writer_bytes(w, bytes, uvarint_put(bytes, v));
}

void writer_region(struct writer *w, const struct file_region *region)
{
    w->splices = xgrow(w->splices, w->splice_count + 1, &w->splice_cap, sizeof(*w->splices));
    w->splices[w->splice_count++] = (struct writer_splice){w->buf.len, region};
    w->spliced_bytes += (size_t)region->len;
}
