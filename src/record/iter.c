/*
 * Records one after the other, out of a batch of any format.
 *
 *     v2       lie behind the header, compressed all together: read through a window, so that a batch that unfolds to
 *              gigabytes takes no memory
 *     v0, v1   a plain message is a record; the value of a wrapper is a set of messages, which is unfolded as a whole,
 *              as in v1 the last of them has the wrapper's offset:
 *
 *                  a wrapper at 107 whose messages say 0, 1, 2: they are 105, 106, 107
 *
 * Bytes may be whatever somebody sent. What cannot be taken is taken as zero and makes the source bad, which stays so:
 * the record is refused then, and all after it.
 */
#include "record/codec_internal.h"
#include "record/record_internal.h"

enum { WINDOW = 16 * 1024 };

/* Bytes to parse: a piece of memory, refilled from a decoder if there is one. */
struct source {
    const uint8_t *at, *end;
    struct decoder *decoder;
    uint8_t *window;
    int64_t *budget; /* NULL: none */
    int64_t unfolded;
    bool bad;
};

struct record_iter {
    struct batch batch;
    struct arena *arena;
    struct source source;
    bool skipping, bad_crc_is_fine;
    int32_t left;              /* v2: records to come */
    int64_t offset_correction; /* v1 wrappers: from relative to absolute */
    bool log_append_time;
};

static bool refill(struct source *s)
{
    if (s->bad || s->decoder == NULL)
        return false;
    ssize_t n = decoder_read(s->decoder, s->window, WINDOW);
    ensure(n <= WINDOW);
    if (n <= 0) {
        s->bad |= n < 0;
        return false;
    }
    s->at = s->window;
    s->end = s->window + n;
    s->unfolded += n;
    if (s->budget != NULL && (*s->budget -= n) < 0)
        s->bad = true;
    return !s->bad;
}

static uint8_t take_byte(struct source *s)
{
    if (s->at == s->end && !refill(s)) {
        s->bad = true;
        return 0;
    }
    return *s->at++;
}

static int64_t take_long_varlong(struct source *s)
{
    uint64_t v = 0;
    for (int shift = 0; shift < 70; shift += 7) {
        uint8_t b = take_byte(s);
        v |= (uint64_t)(b & 0x7f) << shift;
        if ((b & 0x80) == 0)
            return unzigzag(v);
    }
    s->bad = true;
    return 0;
}

/* Most are of one or two bytes, in their shortest form. Returns their size; 0: it is another one, and still to be
 * taken. */
static inline int32_t take_short(struct source *s, int64_t *v)
{
    if (s->end - s->at < 2)
        return 0;
    uint8_t a = s->at[0], b = s->at[1];
    int32_t size = a < 0x80 ? 1 : b != 0 && b < 0x80 ? 2 : 0;
    *v = unzigzag(size == 1 ? a : (uint64_t)(a & 0x7f) | (uint64_t)b << 7);
    s->at += size;
    return size;
}

static inline int64_t take_varlong(struct source *s)
{
    int64_t v;
    return take_short(s, &v) > 0 ? v : take_long_varlong(s);
}

static inline int32_t to_varint(struct source *s, int64_t v)
{
    if (v < INT32_MIN || v > INT32_MAX)
        s->bad = true;
    return s->bad ? 0 : (int32_t)v;
}

static inline int32_t take_varint(struct source *s)
{
    return to_varint(s, take_varlong(s));
}

static void skip_far(struct source *s, size_t len)
{
    while (len > 0 && !s->bad) {
        if (s->at == s->end && !refill(s)) {
            s->bad = true;
            return;
        }
        size_t n = MIN(len, (size_t)(s->end - s->at));
        s->at += n;
        len -= n;
    }
}

static inline void skip(struct source *s, size_t len)
{
    if (len <= (size_t)(s->end - s->at))
        s->at += len;
    else
        skip_far(s, len);
}

/* `len` bytes in one piece: in place if nothing is compressed, else copied to the arena. */
static const uint8_t *iter_take(struct source *s, struct arena *a, size_t len)
{
    const uint8_t *in_place = s->at;
    if (s->decoder == NULL) {
        skip(s, len);
        return s->bad ? NULL : in_place;
    }
    uint8_t *copy = arena_try_alloc(a, len, 1);
    s->bad |= copy == NULL;
    for (size_t have = 0; have < len && !s->bad;) {
        if (s->at == s->end && !refill(s)) {
            s->bad = true;
            break;
        }
        size_t n = MIN(len - have, (size_t)(s->end - s->at));
        memcpy(copy + have, s->at, n);
        s->at += n;
        have += n;
    }
    return s->bad ? NULL : copy;
}

/* A sized field: null if its length is -1. `left` is what the record's own length still allows. */
static struct bytes take_field(struct source *s, int32_t *left, int32_t len)
{
    struct bytes field = {len < 0 ? NULL : s->at, MAX(len, 0)};
    if (len < -1 || len > *left)
        s->bad = true;
    if (s->bad)
        return (struct bytes){NULL, 0};
    *left -= field.len;
    skip(s, (size_t)field.len);
    return field;
}

static inline int64_t counted_varlong(struct source *s, int32_t *left)
{
    int64_t v;
    int32_t size = take_short(s, &v);
    if (size == 0) {
        v = take_long_varlong(s);
        size = (int32_t)uvarlong_size(zigzag(v));
    }
    *left -= size;
    return v;
}

static inline int32_t counted_varint(struct source *s, int32_t *left)
{
    return to_varint(s, counted_varlong(s, left));
}

static void take_headers(struct source *s, int32_t *left, struct record *out)
{
    out->header_count = counted_varint(s, left);
    out->headers = (struct bytes){s->at, MAX(*left, 0)};
    s->bad |= out->header_count < 0;
    for (int32_t i = 0; i < out->header_count && !s->bad; i++) {
        int32_t key_len = counted_varint(s, left);
        s->bad |= key_len < 0;
        take_field(s, left, key_len);
        take_field(s, left, counted_varint(s, left));
    }
}

/* The body of a v2 record, `left` bytes long. */
static void parse_body(struct record_iter *it, struct source *s, int32_t left, struct record *out)
{
    take_byte(s); /* attributes: none are defined */
    left--;
    int64_t timestamp_delta = counted_varlong(s, &left);
    int32_t offset_delta = counted_varint(s, &left);
    *out = (struct record){.offset = wrapping_add(it->batch.base_offset, offset_delta)};
    out->timestamp =
        it->log_append_time ? it->batch.max_timestamp : wrapping_add(it->batch.base_timestamp, timestamp_delta);
    out->key = take_field(s, &left, counted_varint(s, &left));
    out->value = take_field(s, &left, counted_varint(s, &left));
    take_headers(s, &left, out);
    s->bad |= left != 0;
}

static int next_v2(struct record_iter *it, struct record *out)
{
    struct source *s = &it->source;
    if (it->left == 0)
        return s->at == s->end && !refill(s) && !s->bad ? 0 : -1;
    it->left--;
    int32_t len = take_varint(s);
    if (s->bad || len < 0)
        return -1;
    if (it->skipping) {
        parse_body(it, s, len, out);
        return s->bad ? -1 : 1;
    }
    const uint8_t *body = iter_take(s, it->arena, (size_t)len);
    if (body == NULL)
        return -1;
    struct source inner = {.at = body, .end = body + len};
    parse_body(it, &inner, len, out);
    return inner.bad ? -1 : 1;
}

/* Key and value of a v0 or v1 message; false if its lengths do not add up. */
static bool message_fields(const struct batch *m, struct record *out)
{
    const uint8_t *p = m->p + (m->magic == 0 ? 18 : 26), *end = m->p + m->size;
    struct bytes *fields[] = {&out->key, &out->value};
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        if (end - p < 4)
            return false;
        int32_t len = (int32_t)be32_get(p);
        p += 4;
        if (len < -1 || len > end - p)
            return false;
        *fields[i] = (struct bytes){len < 0 ? NULL : p, MAX(len, 0)};
        p += MAX(len, 0);
    }
    return p == end;
}

static int next_message(struct record_iter *it, struct record *out)
{
    struct bytes rest = {it->source.at, (int32_t)(it->source.end - it->source.at)};
    struct batch m;
    enum batch_result result = batch_next(&rest, &m);
    if (result == BATCH_END)
        return 0;
    if (result != BATCH_OK || m.magic != it->batch.magic || batch_codec(&m) != CODEC_NONE)
        return -1;
    if (!it->bad_crc_is_fine && !batch_crc_ok(&m))
        return -1;
    it->source.at = rest.p;
    *out = (struct record){.offset = wrapping_add(m.base_offset, it->offset_correction), .message = {m.p, m.size}};
    out->timestamp = it->log_append_time ? it->batch.max_timestamp : m.max_timestamp;
    return message_fields(&m, out) ? 1 : -1;
}

/* The whole message set inside a wrapper, in one piece: its last offset is needed for the first. */
static bool unwrap(struct record_iter *it, struct bytes wrapped)
{
    struct strbuf set = {0};
    struct decoder *d = decoder_new(batch_codec(&it->batch), it->batch.magic, wrapped);
    ssize_t n = d == NULL ? -1 : 1;
    uint8_t window[WINDOW];
    size_t most = it->arena->limit ? it->arena->limit - MIN(it->arena->limit, it->arena->used) : INT32_MAX;
    while (n > 0 && (n = decoder_read(d, window, sizeof(window))) > 0) {
        strbuf_add(&set, window, (size_t)n);
        if (set.len > most)
            n = -1;
    }
    decoder_free(d);
    if (n == 0) {
        it->source.at = arena_copy(it->arena, set.p, set.len);
        it->source.end = it->source.at + set.len;
        it->source.unfolded = (int64_t)set.len;
    }
    strbuf_deinit(&set);
    return n == 0;
}

static bool find_offset_correction(struct record_iter *it)
{
    struct bytes rest = {it->source.at, (int32_t)(it->source.end - it->source.at)};
    struct batch m = {0};
    enum batch_result result = BATCH_END;
    bool any = false;
    while ((result = batch_next(&rest, &m)) == BATCH_OK)
        any = true;
    if (it->batch.magic == 1)
        it->offset_correction = wrapping_sub(it->batch.base_offset, m.base_offset);
    return any && result == BATCH_END;
}

static bool open_legacy(struct record_iter *it)
{
    const struct batch *b = &it->batch;
    if (batch_codec(b) == CODEC_NONE) {
        it->source.at = b->p;
        it->source.end = b->p + b->size;
        return true;
    }
    struct record wrapper;
    return message_fields(b, &wrapper) && wrapper.value.p != NULL && unwrap(it, wrapper.value) &&
           find_offset_correction(it);
}

static bool open_v2(struct record_iter *it)
{
    const struct batch *b = &it->batch;
    struct bytes payload = {b->p + BATCH_HEADER_SIZE, b->size - BATCH_HEADER_SIZE};
    it->left = b->count;
    if (b->count < 0)
        return false;
    if (batch_codec(b) == CODEC_NONE) {
        it->source.at = payload.p;
        it->source.end = payload.p + payload.len;
        return true;
    }
    it->source.window = xmalloc(WINDOW);
    it->source.at = it->source.end = it->source.window;
    it->source.decoder = decoder_new(batch_codec(b), 2, payload);
    return it->source.decoder != NULL;
}

struct record_iter *record_iter_new(const struct batch *b, struct arena *a)
{
    struct record_iter *it = xcalloc(1, sizeof(*it));
    it->batch = *b;
    it->arena = a;
    it->log_append_time = (b->attributes & ATTR_LOG_APPEND_TIME) != 0;
    it->source.bad = !(b->magic == 2 ? open_v2(it) : open_legacy(it));
    return it;
}

struct record_iter *record_iter_new_skipping(const struct batch *b, struct arena *a)
{
    struct record_iter *it = record_iter_new(b, a);
    it->skipping = true;
    return it;
}

void record_iter_allow_bad_crc(struct record_iter *it)
{
    it->bad_crc_is_fine = true;
}

int64_t record_iter_unfolded(const struct record_iter *it)
{
    return it->source.unfolded;
}

void record_iter_limit(struct record_iter *it, int64_t *budget)
{
    it->source.budget = budget;
}

void record_iter_free(struct record_iter *it)
{
    decoder_free(it->source.decoder);
    free(it->source.window);
    free(it);
}

int record_iter_next(struct record_iter *it, struct record *out)
{
    if (it->source.bad)
        return -1;
    int rc = it->batch.magic == 2 ? next_v2(it, out) : next_message(it, out);
    ensure(it->source.at <= it->source.end);
    it->source.bad |= rc < 0;
    return rc;
}

bool record_header_next(struct bytes *headers, struct record_header *out)
{
    struct source s = {.at = headers->p, .end = headers->p + headers->len};
    int32_t left = headers->len;
    struct bytes key = take_field(&s, &left, counted_varint(&s, &left));
    struct bytes value = take_field(&s, &left, counted_varint(&s, &left));
    if (s.bad || key.p == NULL)
        return false;
    *out = (struct record_header){{(const char *)key.p, key.len}, value};
    *headers = (struct bytes){s.at, (int32_t)(s.end - s.at)};
    return true;
}
