/* What must be in a log: every batch that was ever made for it is known, and which of them it holds. */
#include <inttypes.h>
#include <stdio.h>

#include "append_alone.h"
#include "crash.h"
#include "log/plog_internal.h"
#include "storage/storage.h"

enum { KEYS = 12, PRODUCERS = 3, MOST_RECORDS = 6, MARKER_COMMIT = 1 };

static const int64_t first_time = 1600000000000;

struct made { /* a batch */
    int64_t base, last, producer;
    int32_t sequence, leader_epoch;
    int32_t first_record; /* those that follow are the others' */
    int16_t epoch;
    enum model_kind kind;
    bool is_marker, aborts;
};

struct record_made {
    int32_t batch, key;
    bool tombstone;
};

struct writer { /* a producer */
    int64_t id;
    int32_t next_sequence;
    int16_t epoch;
    int64_t open_since; /* first offset of its transaction; -1: none */
};

/* A list of batches, by their places in `made`. */
struct list {
    int32_t *v;
    size_t n, cap;
};

struct model {
    bool compacted;
    bool vague; /* it was cut where nothing is known of its batches, perhaps in the middle of one */
    bool gaps;  /* what a power failure took may have been taken for a cleaner's work */
    struct made *made;
    size_t made_count, made_cap;
    struct record_made *records;
    size_t record_count, record_cap;
    struct list held;
    int64_t cut;   /* where it was cut last: of what lies before, a cleaner may have left nothing at the end */
    int64_t sure;  /* what is held below is on the disk */
    int64_t start; /* the farthest that the log's start has been; it may go back when its checkpoint is lost */
    struct writer plain, idempotent[PRODUCERS], transactional[PRODUCERS];
    int64_t next_id;
};

static void list_add(struct list *l, int32_t x)
{
    l->v = xgrow(l->v, l->n + 1, &l->cap, sizeof(*l->v));
    l->v[l->n++] = x;
}

static struct writer new_writer(struct model *m)
{
    return (struct writer){.id = m->next_id++, .open_since = -1};
}

struct model *model_new(bool compacted)
{
    struct model *m = xcalloc(1, sizeof(*m));
    m->compacted = compacted;
    m->plain = (struct writer){.id = NO_PRODUCER_ID, .epoch = NO_PRODUCER_EPOCH, .next_sequence = NO_SEQUENCE};
    m->next_id = 1000;
    for (int i = 0; i < PRODUCERS; i++) {
        m->idempotent[i] = new_writer(m);
        m->transactional[i] = new_writer(m);
    }
    return m;
}

void model_free(struct model *m)
{
    free(m->made);
    free(m->records);
    free(m->held.v);
    free(m);
}

/* ---- Making batches ---- */

static struct writer *choose_writer(struct model *m, enum model_kind kind)
{
    if (kind == PLAIN)
        return &m->plain;
    return (kind == IDEMPOTENT ? m->idempotent : m->transactional) + crash_random(PRODUCERS);
}

/* Times go up and down a little; each names its record. */
static int64_t time_of(size_t record)
{
    return first_time + (int64_t)(record ^ 5);
}

static size_t record_at(int64_t time)
{
    return (size_t)(time - first_time) ^ 5;
}

static struct record make_record(struct model *m, int32_t i, char key[16], char value[64])
{
    struct record_made *r;
    m->records = xgrow(m->records, m->record_count + 1, &m->record_cap, sizeof(*m->records));
    r = &m->records[m->record_count];
    *r = (struct record_made){(int32_t)m->made_count, (int32_t)crash_random(KEYS), crash_chance(8)};
    int key_len = snprintf(key, 16, "key %" PRId32, r->key);
    int value_len = snprintf(value, 64, "value %zu %.*s", m->record_count, (int)crash_random(40),
                             "........................................");
    struct record out = {.offset = i, .timestamp = time_of(m->record_count), .key = {(uint8_t *)key, key_len}};
    if (!r->tombstone)
        out.value = (struct bytes){(uint8_t *)value, value_len};
    m->record_count++;
    return out;
}

static void note_made(struct model *m, const struct made *made)
{
    m->made = xgrow(m->made, m->made_count + 1, &m->made_cap, sizeof(*m->made));
    m->made[m->made_count++] = *made;
}

static struct strbuf finish(struct batch_builder *b, int64_t offset, int32_t leader_epoch)
{
    struct strbuf out = {0};
    if (!batch_builder_finish(b, CODEC_LEVEL_DEFAULT, &out))
        violation("a batch cannot be made");
    batch_builder_deinit(b);
    batch_set_offset((uint8_t *)out.p, offset);
    batch_set_leader_epoch((uint8_t *)out.p, leader_epoch);
    return out;
}

static void begin(struct batch_builder *b, int16_t attributes, const struct made *made)
{
    batch_builder_init(b, attributes);
    b->head.producer_id = made->producer;
    b->head.producer_epoch = made->epoch;
    b->head.base_sequence = made->sequence;
}

static struct strbuf make_batch(struct model *m, const struct writer *w, enum model_kind kind, int32_t epoch,
                                int64_t offset, int32_t count)
{
    static const int16_t codecs[] = {CODEC_NONE, CODEC_NONE, CODEC_LZ4, CODEC_ZSTD};
    char key[16], value[64];
    struct batch_builder b;
    struct made made = {
        offset, offset + count - 1, w->id, w->next_sequence, epoch, (int32_t)m->record_count, w->epoch, kind, false,
        false};
    begin(&b, (int16_t)(codecs[crash_random(4)] | (kind == TRANSACTIONAL ? ATTR_TRANSACTIONAL : 0)), &made);
    for (int32_t i = 0; i < count; i++) {
        struct record r = make_record(m, i, key, value);
        batch_builder_add(&b, &r);
    }
    note_made(m, &made);
    return finish(&b, offset, epoch);
}

struct strbuf model_make_batch(struct model *m, enum model_kind kind, int32_t epoch, int64_t offset, int32_t *count)
{
    struct writer *w = choose_writer(m, kind);
    *count = 1 + (int32_t)crash_random(MOST_RECORDS);
    if (kind != PLAIN && crash_chance(20)) { /* it was fenced, or had an error */
        w->next_sequence = 0;
        w->epoch++;
    }
    return make_batch(m, w, kind, epoch, offset, *count);
}

struct strbuf model_make_marker(struct model *m, int32_t epoch, int64_t offset)
{
    struct batch_builder b;
    const struct writer *w = choose_writer(m, TRANSACTIONAL);
    /* Version; type; and of the value: version, coordinator epoch. */
    uint8_t key[4] = {0, 0, 0, MARKER_COMMIT}, value[6] = {0};
    struct record r = {.timestamp = time_of(m->record_count), .key = {key, 4}, .value = {value, 6}};
    if (w->open_since < 0)
        return (struct strbuf){0};
    if (!m->compacted) /* no transaction index is written yet, by which the cleaner would know aborted ones */
        key[3] = (uint8_t)crash_random(2);
    struct made made = {offset,   offset,
                        w->id,    NO_SEQUENCE,
                        epoch,    (int32_t)m->record_count,
                        w->epoch, TRANSACTIONAL,
                        true,     key[3] != MARKER_COMMIT};
    begin(&b, ATTR_CONTROL | ATTR_TRANSACTIONAL, &made);
    m->records = xgrow(m->records, m->record_count + 1, &m->record_cap, sizeof(*m->records));
    m->records[m->record_count++] = (struct record_made){(int32_t)m->made_count, -1, false};
    batch_builder_add(&b, &r);
    note_made(m, &made);
    return finish(&b, offset, epoch);
}

/* ---- What is held ---- */

static int32_t record_count_of(const struct model *m, int32_t batch)
{
    size_t end = (size_t)batch + 1 < m->made_count ? (size_t)m->made[batch + 1].first_record : m->record_count;
    return (int32_t)(end - (size_t)m->made[batch].first_record);
}

/* What a batch in the log says of its producer. */
static void learn(struct model *m, const struct made *b)
{
    for (int i = 0; i < PRODUCERS; i++) {
        struct writer *w = b->kind == IDEMPOTENT ? &m->idempotent[i] : &m->transactional[i];
        if (b->kind == PLAIN || w->id != b->producer)
            continue;
        w->epoch = b->epoch;
        if (!b->is_marker)
            w->next_sequence = b->sequence + (int32_t)(b->last - b->base + 1);
        if (b->is_marker)
            w->open_since = -1;
        else if (b->kind == TRANSACTIONAL && w->open_since < 0)
            w->open_since = b->base;
    }
}

/* One of which the log may or may not know something goes on under another name. */
static void forget_writer(struct model *m, struct writer *w)
{
    bool known = false;
    for (size_t i = 0; i < m->held.n; i++) {
        const struct made *b = &m->made[m->held.v[i]];
        known |= b->producer == w->id && !b->is_marker && b->base >= m->start;
    }
    *w = known ? (struct writer){.id = w->id, .open_since = -1} : new_writer(m);
}

static void learn_again(struct model *m)
{
    for (int i = 0; i < PRODUCERS; i++) {
        forget_writer(m, &m->idempotent[i]);
        forget_writer(m, &m->transactional[i]);
    }
    for (size_t i = 0; i < m->held.n; i++)
        learn(m, &m->made[m->held.v[i]]);
}

int32_t model_last_made(struct model *m)
{
    learn(m, &m->made[m->made_count - 1]);
    return (int32_t)m->made_count - 1;
}

void model_appended(struct model *m, int32_t made, bool certainly)
{
    if (certainly)
        list_add(&m->held, made);
    else
        learn_again(m);
}

int64_t model_boundary(const struct model *m, int64_t offset)
{
    for (size_t i = 0; i < m->held.n; i++) {
        const struct made *b = &m->made[m->held.v[i]];
        if (b->base <= offset && offset <= b->last)
            return b->base;
    }
    return offset;
}

void model_cut(struct model *m, int64_t end)
{
    while (m->held.n > 0 && m->made[m->held.v[m->held.n - 1]].last >= end)
        m->held.n--;
    m->sure = MIN(m->sure, end);
    m->cut = end;
    learn_again(m);
}

void model_cut_below_start(struct model *m)
{
    model_cut(m, 0);
    m->vague = true;
}

void model_has_no_point(struct model *m)
{
    m->gaps = m->compacted;
}

void model_synced(struct model *m, int64_t offset)
{
    m->sure = offset;
}

void model_started(struct model *m, int64_t offset)
{
    m->start = MAX(m->start, offset);
}

void model_start_lowered(struct model *m, int64_t offset)
{
    m->start = MIN(m->start, offset);
}

/* ---- What is found ---- */

struct found {
    struct list batches;
    struct list records;
    struct strbuf bytes;
};

static void found_deinit(struct found *f)
{
    free(f->batches.v);
    free(f->records.v);
    strbuf_deinit(&f->bytes);
}

/* An empty batch has no record that would name it. */
static int32_t find_made(const struct model *m, const struct batch *b)
{
    for (size_t i = m->made_count; i-- > 0;)
        if (m->made[i].base == b->base_offset && m->made[i].last == b->last_offset &&
            m->made[i].producer == b->producer_id && m->made[i].leader_epoch == b->leader_epoch)
            return (int32_t)i;
    violation("batch %" PRId64 " to %" PRId64 " was never written", b->base_offset, b->last_offset);
}

static bool is_as_made(const struct model *m, const struct record *r, size_t id)
{
    const struct record_made *made = &m->records[id];
    char key[16], value[64];
    int key_len = snprintf(key, sizeof(key), "key %" PRId32, made->key);
    int value_len = snprintf(value, sizeof(value), "value %zu ", id);
    if (m->made[made->batch].is_marker)
        return r->key.len == 4;
    return r->key.len == key_len && memcmp(r->key.p, key, (size_t)key_len) == 0 &&
           (made->tombstone ? r->value.p == NULL
                            : r->value.len >= value_len && memcmp(r->value.p, value, (size_t)value_len) == 0);
}

static void take_records(const struct model *m, const struct batch *b, struct found *f)
{
    struct arena a;
    struct record r;
    int rc;
    int32_t batch = -1, count = 0;
    arena_init(&a, 1 << 20);
    struct record_iter *it = record_iter_new(b, &a);
    for (; (rc = record_iter_next(it, &r)) > 0; count++) {
        size_t id = record_at(r.timestamp);
        if (id >= m->record_count || !is_as_made(m, &r, id))
            violation("the record at offset %" PRId64 " is not one that was written", r.offset);
        batch = m->records[id].batch;
        if (r.offset != m->made[batch].base + (int64_t)id - m->made[batch].first_record)
            violation("a record has moved to offset %" PRId64, r.offset);
        list_add(&f->records, (int32_t)id);
    }
    record_iter_free(it);
    arena_deinit(&a);
    if (rc < 0)
        violation("the batch at offset %" PRId64 " cannot be read", b->base_offset);
    if (batch < 0)
        batch = find_made(m, b);
    const struct made *made = &m->made[batch];
    if (made->base != b->base_offset || made->last != b->last_offset || made->leader_epoch != b->leader_epoch ||
        made->sequence != b->base_sequence || made->producer != b->producer_id || made->epoch != b->producer_epoch)
        violation("the batch at offset %" PRId64 " has another header", b->base_offset);
    if (!m->compacted && count != record_count_of(m, batch))
        violation("the batch at offset %" PRId64 " has lost records", b->base_offset);
    list_add(&f->batches, batch);
}

static void read_log(const struct model *m, struct plog *log, struct found *f)
{
    struct bytes rest;
    struct batch b;
    int64_t start = plog_start_offset(log), end = plog_end_offset(log), next = start;
    for (int64_t from = start; from < end; from = next) {
        strbuf_clear(&f->bytes);
        if (plog_read_bytes(log, from, INT32_MAX, end, &f->bytes) != ERR_NONE)
            violation("offset %" PRId64 " cannot be read", from);
        rest = (struct bytes){(uint8_t *)f->bytes.p, (int32_t)f->bytes.len};
        while (batch_next(&rest, &b) == BATCH_OK) {
            if (!batch_crc_ok(&b))
                violation("the batch at offset %" PRId64 " is damaged", b.base_offset);
            if (m->compacted ? b.last_offset < next : next != start ? b.base_offset != next : b.base_offset > next)
                violation("offset %" PRId64 " is followed by %" PRId64, next, b.base_offset);
            if (!m->gaps && b.base_offset > MAX(next, m->sure) && next != start)
                violation("offset %" PRId64 " is followed by %" PRId64 ", where nothing was compacted", next,
                          b.base_offset);
            next = b.last_offset + 1;
            take_records(m, &b, f);
        }
        if (next == from)
            break;
    }
    if (m->compacted ? next > end : next != end)
        violation("the log ends at %" PRId64 ", its records at %" PRId64, end, next);
}

static bool list_has(const struct list *l, int32_t x)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->v[i] == x)
            return true;
    return false;
}

/* What was synced is there. */
static void check_all_held(const struct model *m, const struct found *f, int64_t start)
{
    for (size_t i = 0; i < m->held.n; i++) {
        const struct made *b = &m->made[m->held.v[i]];
        if (b->last >= start && b->last < m->sure && !list_has(&f->batches, m->held.v[i]))
            violation("lost: offsets %" PRId64 " to %" PRId64 ", of %" PRId64 " that are sure", b->base, b->last,
                      m->sure);
    }
}

static int64_t offset_of(const struct model *m, int32_t record)
{
    const struct made *b = &m->made[m->records[record].batch];
    return b->base + record - b->first_record;
}

/* Of each key, what was the newest when it was synced, or something newer. */
static void check_newest_held(const struct model *m, const struct found *f, int64_t start)
{
    int64_t newest[KEYS], there[KEYS];
    for (int k = 0; k < KEYS; k++)
        newest[k] = there[k] = -1;
    for (size_t i = 0; i < m->held.n; i++) {
        const struct made *b = &m->made[m->held.v[i]];
        for (int32_t r = b->first_record; b->last < m->sure && r < b->first_record + record_count_of(m, m->held.v[i]);
             r++)
            if (m->records[r].key >= 0 && offset_of(m, r) >= start)
                newest[m->records[r].key] = offset_of(m, r);
    }
    for (size_t i = 0; i < f->records.n; i++)
        if (m->records[f->records.v[i]].key >= 0)
            there[m->records[f->records.v[i]].key] = offset_of(m, f->records.v[i]);
    for (int k = 0; k < KEYS; k++)
        if (there[k] < newest[k])
            violation("key %d is lost: it was written at offset %" PRId64 ", of %" PRId64
                      " that are sure, and last seen at %" PRId64,
                      k, newest[k], m->sure, there[k]);
}

static void check_epochs(const struct model *m, const struct found *f, struct plog *log)
{
    for (size_t i = 0; i < f->batches.n; i++) {
        const struct made *b = &m->made[f->batches.v[i]];
        int64_t offset = MAX(b->base, m->start);
        int32_t epoch = plog_epoch_of(log, offset);
        if (offset <= b->last && epoch != b->leader_epoch)
            violation("offset %" PRId64 " is of epoch %" PRId32 ", and said to be of %" PRId32, offset, b->leader_epoch,
                      epoch);
    }
}

/* Every offset finds its batch, every time its record. */
static void check_lookups(const struct model *m, const struct found *f, struct plog *log)
{
    for (int i = 0; i < 4 && f->records.n > 0; i++) {
        size_t at = crash_random((uint32_t)f->records.n);
        int64_t time = time_of((size_t)f->records.v[at]), start = plog_start_offset(log);
        struct timestamp_offset result;
        size_t first = 0;
        while (first < f->records.n &&
               (time_of((size_t)f->records.v[first]) < time || offset_of(m, f->records.v[first]) < start))
            first++;
        if (plog_offset_for_time(log, time, &result) != ERR_NONE ||
            result.offset != (first < f->records.n ? offset_of(m, f->records.v[first]) : -1))
            violation("time %" PRId64 " is found at offset %" PRId64 ", not at %" PRId64, time, result.offset,
                      first < f->records.n ? offset_of(m, f->records.v[first]) : -1);
    }
}

struct txn {
    int64_t producer, first, last; /* its data's first offset, its marker's; -1: it is open */
    bool aborted;
};

static struct txn *find_open(struct txn *txns, size_t count, int64_t producer)
{
    for (size_t i = count; i-- > 0;)
        if (txns[i].producer == producer)
            return txns[i].last < 0 ? &txns[i] : NULL;
    return NULL;
}

/* All that are held, by their beginnings; on the heap. */
static size_t list_txns(const struct model *m, struct txn **out)
{
    size_t count = 0, cap = 0;
    *out = NULL;
    for (size_t i = 0; i < m->held.n; i++) {
        const struct made *b = &m->made[m->held.v[i]];
        struct txn *open = b->kind == TRANSACTIONAL ? find_open(*out, count, b->producer) : NULL;
        if (b->kind == TRANSACTIONAL && !b->is_marker && open == NULL) {
            *out = xgrow(*out, count + 1, &cap, sizeof(**out));
            (*out)[count++] = (struct txn){b->producer, b->base, -1, false};
        } else if (b->is_marker && open != NULL) {
            open->last = b->base;
            open->aborted = b->aborts;
        }
    }
    return count;
}

/* It may have begun before what is held of the log. */
static bool is_known_aborted(const struct model *m, const struct aborted_txn *aborted, int32_t count,
                             const struct txn *t)
{
    for (int32_t i = 0; i < count; i++)
        if (aborted[i].producer_id == t->producer &&
            (aborted[i].first_offset == t->first || aborted[i].first_offset < m->start))
            return true;
    return false;
}

static void check_transactions(const struct model *m, struct plog *log)
{
    struct arena a;
    struct aborted_txn *aborted;
    struct txn *txns;
    int64_t open = INT64_MAX, unstable = INT64_MAX, hw = plog_high_watermark(log);
    int64_t known = atomic_load(&log->first_unstable);
    if (m->compacted)
        return;
    arena_init(&a, 1 << 20);
    int32_t count, expected = 0;
    if (plog_aborted(log, plog_start_offset(log), plog_end_offset(log), &a, &aborted, &count) != ERR_NONE)
        violation("aborted transactions cannot be read");
    size_t txn_count = list_txns(m, &txns);
    for (size_t i = 0; i < txn_count; i++) {
        const struct txn *t = &txns[i];
        if (t->last < 0)
            open = MIN(open, t->first);
        if (t->last < 0 || t->last >= hw)
            unstable = MIN(unstable, t->first);
        if (t->aborted && t->first >= m->start && !is_known_aborted(m, aborted, count, t))
            violation("the transaction from %" PRId64 " to %" PRId64 " is not known to be aborted", t->first, t->last);
        expected += t->aborted;
    }
    if (count > expected && m->start == 0)
        violation("%" PRId32 " transactions are said to be aborted, not %" PRId32, count, expected);
    /* Those that ended before the last snapshot count as settled, wherever the high watermark is. */
    if (unstable >= m->start && known >= m->start && (known > open || known < unstable))
        violation("the first unstable offset is said to be %" PRId64 ", not %" PRId64 " to %" PRId64, known, unstable,
                  open);
    free(txns);
    arena_deinit(&a);
}

/*
 * The last batch of data, in the producer's epoch. Compaction may have dropped it because of a later one that was lost.
 */
static bool find_last(const struct model *m, const struct found *f, const struct writer *w, struct made *out)
{
    bool found = false;
    for (size_t i = 0; i < m->held.n; i++) {
        const struct made *b = &m->made[m->held.v[i]];
        if (b->producer != w->id || b->epoch != w->epoch || b->is_marker)
            continue;
        *out = *b;
        found = !m->compacted || list_has(&f->batches, m->held.v[i]);
    }
    return found;
}

/* A producer that has had no answer sends its last batch again. */
static void check_duplicates(struct model *m, const struct found *f, struct plog *log, const struct writer *writers)
{
    for (int i = 0; i < PRODUCERS; i++) {
        struct made last = {0};
        struct writer again = writers[i];
        struct append_result result;
        if (!find_last(m, f, &again, &last) || last.base < m->start || crash_chance(2))
            continue;
        int32_t count = (int32_t)(last.last - last.base + 1);
        again.next_sequence = last.sequence;
        struct strbuf bytes = make_batch(m, &again, last.kind, last.leader_epoch, plog_end_offset(log), count);
        struct prepared p = {.bytes = {(uint8_t *)bytes.p, (int32_t)bytes.len}, .offsets = count};
        enum kafka_error error = append_alone(log, &p, last.leader_epoch, &result);
        if (error != ERR_NONE || !result.duplicate || result.last_offset != last.last)
            violation("a repetition of offsets %" PRId64 " to %" PRId64 " of producer %" PRId64
                      " gets %s, offset %" PRId64,
                      last.base, last.last, last.producer, error_name((int16_t)error), result.last_offset);
        strbuf_deinit(&bytes);
    }
}

/* Of those that compaction knows by what was lost since, nothing may be left. */
static void renew_writers(struct model *m)
{
    for (int i = 0; i < PRODUCERS; i++) {
        m->idempotent[i] = new_writer(m);
        m->transactional[i] = new_writer(m);
    }
}

/* What is sure stays as it was; what lies behind is what was found. */
static void hold_found(struct model *m, const struct found *f, int64_t end)
{
    struct list held = {0};
    for (size_t i = 0; m->compacted && i < m->held.n; i++)
        if (m->made[m->held.v[i]].last < MIN(m->sure, end))
            list_add(&held, m->held.v[i]);
    for (size_t i = 0; i < f->batches.n; i++)
        if (!m->compacted || m->made[f->batches.v[i]].last >= m->sure)
            list_add(&held, f->batches.v[i]);
    free(m->held.v);
    m->held = held;
    m->sure = MIN(m->sure, end);
    m->vague = false;
    learn_again(m);
}

/*
 * Where the log must go on at least. One that was cut to within a gap, or a batch, ends before that when it is loaded
 * again.
 */
static int64_t least_end(const struct model *m)
{
    bool by_batches = m->gaps || m->vague;
    int64_t least = by_batches ? 0 : m->sure;
    for (size_t i = 0; by_batches && i < m->held.n; i++)
        if (m->made[m->held.v[i]].base >= m->cut && m->made[m->held.v[i]].last < m->sure)
            least = m->made[m->held.v[i]].last + 1;
    return least;
}

void model_check(struct model *m, struct plog *log, bool restarted)
{
    struct found f = {0};
    int64_t start = plog_start_offset(log), end = plog_end_offset(log);
    if (end < least_end(m))
        violation("the log ends at %" PRId64 ", of %" PRId64 " that are sure", end, m->sure);
    if (start > m->start)
        violation("the log starts at %" PRId64 ", and did so at %" PRId64 " at most", start, m->start);
    read_log(m, log, &f);
    if (m->compacted)
        check_newest_held(m, &f, start);
    else
        check_all_held(m, &f, start);
    check_epochs(m, &f, log);
    check_lookups(m, &f, log);
    if (restarted)
        hold_found(m, &f, end);
    check_transactions(m, log);
    if (restarted) {
        check_duplicates(m, &f, log, m->idempotent);
        check_duplicates(m, &f, log, m->transactional);
    }
    if (restarted && m->compacted)
        renew_writers(m);
    found_deinit(&f);
}
