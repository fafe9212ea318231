/* kafka-dump-log for the files beside a segment: its indexes, checked against it, and snapshots of producers. */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "tools/dump/dump_log.h"

enum { OFFSET_ENTRY = 8, TIME_ENTRY = 12, TXN_ENTRY = 34, TXN_VERSION = 0 };

/* The file of the same segment with another suffix. In the dump's arena. */
static const char *sibling(struct dump *d, const struct content *c, const char *suffix)
{
    const char *name = strrchr(c->path, '/');
    const char *dot = strchr(name != NULL ? name : c->path, '.');
    return arena_printf(&d->arena, "%.*s%s", (int)(dot - c->path), c->path, suffix).p;
}

static bool check_size(const struct content *c, const char *what, int32_t entry_size, struct fail *fail)
{
    if (c->len % entry_size == 0) {
        printf("%s passed sanity check.\n", c->path);
        return true;
    }
    return fail_set(
        fail, "%s file %s is corrupt, found %" PRId64 " bytes which is neither positive nor a multiple of %" PRId32,
        what, c->absolute, c->len, entry_size);
}

/* ---- Offsets ---- */

static int64_t index_offset(const struct content *c, int64_t i)
{
    return c->base_offset + (int32_t)be32_get(c->p + i * OFFSET_ENTRY);
}

static int32_t index_position(const struct content *c, int64_t i)
{
    return (int32_t)be32_get(c->p + i * OFFSET_ENTRY + 4);
}

static bool check_offset_index(const struct content *c, struct fail *fail)
{
    int64_t last = index_offset(c, c->len / OFFSET_ENTRY - 1);
    if (last < c->base_offset)
        return fail_set(fail,
                        "Corrupt index found, index file %s has non-zero size but the last offset is %" PRId64
                        " which is less than the base offset %" PRId64,
                        c->absolute, last, c->base_offset);
    return check_size(c, "Index", OFFSET_ENTRY, fail);
}

/* The batch that an entry leads to, if it ends within the size that a message may have. */
static bool find_indexed(const struct dump *d, const struct content *log, int32_t position, struct batch *out,
                         struct fail *fail)
{
    if (position < 0 || position > log->len)
        return fail_set(fail, "Slice from position %" PRId32 " exceeds end position of %s", position, log->path);
    int64_t end = MIN(log->len, position + d->max_message_size);
    enum batch_result result = dump_batch_at(log, position, end, out, fail);
    if (result == BATCH_END)
        fail_set(fail, "There is no whole batch of at most %" PRId64 " bytes at position %" PRId32 " of %s",
                 d->max_message_size, position, log->path);
    return result == BATCH_OK;
}

static bool dump_offset_entries(struct dump *d, const struct content *c, const struct content *log, struct fail *fail)
{
    for (int64_t i = 0; i < c->len / OFFSET_ENTRY; i++) {
        struct batch b = {0};
        int64_t offset = index_offset(c, i);
        if (offset == c->base_offset && i > 0)
            return true; /* zeroes that a crash left behind */
        if (!find_indexed(d, log, index_position(c, i), &b, fail))
            return false;
        if (b.last_offset != offset)
            dump_note(d, FOUND_INDEX_MISMATCH, c, offset, b.last_offset);
        if (!d->verify_only)
            printf("offset: %" PRId64 " position: %" PRId32 "\n", offset, index_position(c, i));
    }
    return true;
}

bool dump_offset_index(struct dump *d, const struct content *c, struct fail *fail)
{
    struct content log;
    bool ok = content_open(d, &log, sibling(d, c, ".log"), fail);
    if (ok && c->len < OFFSET_ENTRY)
        printf("%s is empty.\n", c->path);
    else if (ok && d->sanity_only)
        ok = check_offset_index(c, fail);
    else if (ok)
        ok = dump_offset_entries(d, c, &log, fail);
    content_close(&log);
    return ok;
}

/* ---- Times ---- */

static int64_t time_at(const struct content *c, int64_t i)
{
    return (int64_t)be64_get(c->p + i * TIME_ENTRY);
}

static int64_t time_offset(const struct content *c, int64_t i)
{
    return c->base_offset + (int32_t)be32_get(c->p + i * TIME_ENTRY + 8);
}

static bool check_time_index(const struct content *c, struct fail *fail)
{
    int64_t last = c->len / TIME_ENTRY - 1;
    if (last >= 0 && time_at(c, last) < time_at(c, 0))
        return fail_set(fail,
                        "Corrupt time index found, time index file (%s) has non-zero size but the last timestamp is "
                        "%" PRId64 " which is less than the first timestamp %" PRId64,
                        c->absolute, time_at(c, last), time_at(c, 0));
    if (last >= 0 && time_offset(c, last) < c->base_offset)
        return fail_set(fail,
                        "Corrupt time index found, time index file (%s) has non-zero size but the last offset is "
                        "%" PRId64 " which is less than the first offset %" PRId64,
                        c->absolute, time_offset(c, last), c->base_offset);
    return check_size(c, "Time index", TIME_ENTRY, fail);
}

/* Where the offset index says that the offset must come. */
static int64_t dump_index_look_up(const struct content *index, int64_t offset)
{
    int64_t low = 0, high = index->len / OFFSET_ENTRY;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (index_offset(index, middle) <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 ? index_position(index, low - 1) : 0;
}

static enum batch_result find_batch(const struct content *log, int64_t position, int64_t offset, struct batch *out,
                                    struct fail *fail)
{
    enum batch_result result;
    while ((result = dump_batch_at(log, position, log->len, out, fail)) == BATCH_OK && out->last_offset < offset)
        position += out->size;
    return result;
}

static bool latest_record(const struct batch *b, int64_t *out, struct fail *fail)
{
    struct arena arena = {0};
    struct record r;
    struct record_iter *it = record_iter_new(b, &arena);
    int more;
    *out = NO_TIMESTAMP;
    record_iter_allow_bad_crc(it);
    while ((more = record_iter_next(it, &r)) > 0)
        *out = MAX(*out, r.timestamp);
    record_iter_free(it);
    arena_deinit(&arena);
    return more == 0 || fail_set(fail, "The records of the batch at offset %" PRId64 " cannot be read", b->base_offset);
}

struct time_files {
    const struct content *times, *log, *index;
};

static bool check_time_entry(struct dump *d, const struct time_files *f, int64_t i, int64_t previous, struct fail *fail)
{
    int64_t timestamp = time_at(f->times, i), offset = time_offset(f->times, i),
            position = dump_index_look_up(f->index, offset), latest;
    struct batch b;
    if (position < 0 || position > f->log->len)
        return fail_set(fail, "Slice from position %" PRId64 " exceeds end position of %s", position, f->log->path);
    enum batch_result result = find_batch(f->log, position, offset, &b, fail);
    if (result == BATCH_CORRUPT)
        return false;
    if (result == BATCH_END || b.last_offset != offset) {
        dump_note(d, FOUND_NO_OFFSET, f->times, offset, result == BATCH_END ? -1 : b.last_offset);
        return true;
    }
    if (!latest_record(&b, &latest, fail))
        return false;
    if (latest != timestamp)
        dump_note(d, FOUND_TIME_MISMATCH, f->times, timestamp, latest);
    if (previous >= timestamp)
        dump_note(d, FOUND_TIME_DISORDER, f->times, timestamp, previous);
    return true;
}

static bool dump_time_entries(struct dump *d, const struct time_files *f, struct fail *fail)
{
    const struct content *c = f->times;
    int64_t previous = NO_TIMESTAMP;
    for (int64_t i = 0; i < c->len / TIME_ENTRY; i++) {
        if (time_offset(c, i) == c->base_offset && i > 0)
            return true;
        if (!check_time_entry(d, f, i, previous, fail))
            return false;
        if (!d->verify_only)
            printf("timestamp: %" PRId64 " offset: %" PRId64 "\n", time_at(c, i), time_offset(c, i));
        previous = time_at(c, i);
    }
    return true;
}

bool dump_time_index(struct dump *d, const struct content *c, struct fail *fail)
{
    struct content log, index = {0};
    const char *index_path = sibling(d, c, ".index");
    bool ok = content_open(d, &log, sibling(d, c, ".log"), fail);
    if (ok && access(index_path, F_OK) == 0) /* without one everything is looked for from the start */
        ok = content_open(d, &index, index_path, fail);
    if (ok)
        ok = d->sanity_only ? check_time_index(c, fail)
                            : dump_time_entries(d, &(struct time_files){c, &log, &index}, fail);
    content_close(&index);
    content_close(&log);
    return ok;
}

/* ---- Aborted transactions ---- */

bool dump_txn_index(const struct content *c, struct fail *fail)
{
    for (int64_t at = 0; at + TXN_ENTRY <= c->len; at += TXN_ENTRY) {
        const uint8_t *e = c->p + at;
        int16_t version = (int16_t)be16_get(e);
        if (version > TXN_VERSION)
            return fail_set(fail,
                            "Unexpected aborted transaction version %d in transaction index %s, current version is %d",
                            version, c->absolute, TXN_VERSION);
        printf("version: %d producerId: %" PRId64 " firstOffset: %" PRId64 " lastOffset: %" PRId64
               " lastStableOffset: %" PRId64 "\n",
               version, (int64_t)be64_get(e + 2), (int64_t)be64_get(e + 10), (int64_t)be64_get(e + 18),
               (int64_t)be64_get(e + 26));
    }
    return true;
}

/* ---- Producer snapshots: version, CRC and count, then the entries ---- */

enum { SNAPSHOT_VERSION = 1, SNAPSHOT_HEAD = 10, SNAPSHOT_ENTRY = 46, SNAPSHOT_CRC_FROM = 6 };

static bool check_snapshot(const struct content *c, int32_t *count)
{
    *count = c->len >= SNAPSHOT_HEAD ? (int32_t)be32_get(c->p + SNAPSHOT_CRC_FROM) : -1;
    if (*count < 0 || c->len < SNAPSHOT_HEAD + (int64_t)*count * SNAPSHOT_ENTRY) {
        fprintf(stderr, "Snapshot failed schema validation: %s is too short\n", c->path);
        return false;
    }
    if ((int16_t)be16_get(c->p) != SNAPSHOT_VERSION) {
        fprintf(stderr, "Snapshot contained an unknown file version %d\n", (int16_t)be16_get(c->p));
        return false;
    }
    uint32_t stored = be32_get(c->p + 2),
             computed = crc32c(c->p + SNAPSHOT_CRC_FROM, (size_t)(c->len - SNAPSHOT_CRC_FROM));
    if (stored != computed)
        fprintf(stderr,
                "Snapshot is corrupt (CRC is no longer valid). Stored crc: %" PRIu32 ". Computed crc: %" PRIu32 "\n",
                stored, computed);
    return stored == computed;
}

static void print_producer(const uint8_t *e)
{
    int32_t last_sequence = (int32_t)be32_get(e + 10), delta = (int32_t)be32_get(e + 22);
    int64_t last_offset = (int64_t)be64_get(e + 14), timestamp = (int64_t)be64_get(e + 26),
            open = (int64_t)be64_get(e + 38);
    printf("producerId: %" PRId64 " producerEpoch: %d coordinatorEpoch: %" PRId32 " currentTxnFirstOffset: ",
           (int64_t)be64_get(e), (int16_t)be16_get(e + 8), (int32_t)be32_get(e + 34));
    if (open >= 0)
        printf("OptionalLong[%" PRId64 "]", open);
    else
        printf("OptionalLong.empty");
    printf(" lastTimestamp: %" PRId64 " ", timestamp);
    if (last_offset >= 0) {
        int64_t first = (int64_t)last_sequence - delta;
        printf("firstSequence: %" PRId64 " lastSequence: %" PRId32 " lastOffset: %" PRId64 " offsetDelta: %" PRId32
               " timestamp: %" PRId64,
               first < 0 ? first + INT32_MAX + 1 : first, last_sequence, last_offset, delta, timestamp);
    }
    putchar('\n');
}

void dump_snapshot(const struct content *c)
{
    int32_t count;
    if (!check_snapshot(c, &count))
        return;
    for (int32_t i = 0; i < count; i++)
        print_producer(c->p + SNAPSHOT_HEAD + (int64_t)i * SNAPSHOT_ENTRY);
}
