/*
 * The primitive types of Kafka's wire protocol: a bounded reader that remembers its first failure, and a
 * writer that grows.
 *
 * The reader trusts nothing: every length is checked against the bytes left. After a failure it yields zeroes
 * and empty values, so that a decoder reads straight through and asks once, at the end.
 */
#ifndef BARNABAS_WIRE_H
#define BARNABAS_WIRE_H

#include "base/arena.h"
#include "base/region.h"
#include "base/strbuf.h"
#include "base/uuid.h"

/* Record batches: in memory, or a region of a file, which then goes out without being read. */
struct records {
    struct bytes mem; /* p == NULL: null, if there is no region either */
    const struct file_region *region;
    int32_t region_len;
};

/* ---- Reading ---- */

struct reader {
    const uint8_t *start, *at, *end;
    struct arena *arena; /* for arrays */
    const char *problem; /* the first failure; NULL: none so far */
    size_t problem_at;
    const char *field; /* what was being read then */
};

void reader_init(struct reader *r, struct bytes data, struct arena *a);
void reader_fail(struct reader *r, const char *problem);
/* Says what went wrong, and where. */
void reader_error(const struct reader *r, struct strbuf *out);

static inline bool reader_ok(const struct reader *r)
{
    return r->problem == NULL;
}

static inline size_t reader_left(const struct reader *r)
{
    return (size_t)(r->end - r->at);
}

const uint8_t *reader_take(struct reader *r, size_t n); /* NULL on failure */
int8_t reader_int8(struct reader *r);
int16_t reader_int16(struct reader *r);
int32_t reader_int32(struct reader *r);
int64_t reader_int64(struct reader *r);
uint32_t reader_uvarint(struct reader *r);

/* ---- Writing ---- */

/* How often each error code was written. */
enum { MOST_DIFFERENT_ERRORS = 8 };
struct error_counts {
    int32_t none; /* how often it was 0 */
    int32_t different;
    struct {
        int32_t times;
        int16_t code;
    } others[MOST_DIFFERENT_ERRORS]; /* what does not fit is not counted */
};
void error_counts_add(struct error_counts *e, int16_t code);

static inline void error_counts_note(struct error_counts *e, int16_t code)
{
    if (code == 0)
        e->none++;
    else
        error_counts_add(e, code);
}

struct writer_splice { /* a region that belongs in front of the memory byte at `position` */
    size_t position;
    const struct file_region *region;
};

struct writer {
    struct strbuf buf;
    struct writer_splice *splices;
    size_t splice_count, splice_cap, spliced_bytes;
    struct error_counts errors;
    const char *unfit; /* the first field whose value was too long for the protocol, and was left empty; NULL: none */
};

void writer_init(struct writer *w);
void writer_deinit(struct writer *w);
void writer_fail(struct writer *w, const char *field);
size_t writer_total(const struct writer *w); /* memory and regions */

void writer_int8(struct writer *w, int8_t v);
void writer_int16(struct writer *w, int16_t v);
void writer_int32(struct writer *w, int32_t v);
void writer_int64(struct writer *w, int64_t v);
void writer_uvarint(struct writer *w, uint32_t v);
void writer_bytes(struct writer *w, const void *data, size_t len);
void writer_region(struct writer *w, const struct file_region *region);

#endif
