/*
 * Snapshots of producers: the file, and copying what it is to have.
 *
 * There may be a million producers, 46 MB in a file, and appends are not to wait for that. So a copy is begun, which
 * only notes where it is to begin, and filled in steps. An example: a copy is begun at offset 100, and producer 9
 * writes 100 to 104 before the copy has come to it: it is copied as it was, then noted with its new batch, and passed
 * over when the copy comes to it. Producer 12 is new with offset 105: it has the copy's `lap` from the beginning, and
 * is none of the copy's. So the file has what was known at 100 to the letter, and may be cut back to, and replayed
 * from.
 */
#include "base/crc32c.h"
#include "base/logger.h"
#include "log/producers_internal.h"

enum { COPIED_AT_ONCE = 1000 }; /* for as long as these take, an append may have to wait */

/* The file: header, then one entry for each producer. */
enum { SNAPSHOT_VERSION = 1, SNAPSHOT_HEADER = 10, SNAPSHOT_CRC_AT = 2, SNAPSHOT_CRC_FROM = 6, SNAPSHOT_ENTRY = 46 };

_Static_assert(SNAPSHOT_CRC_AT + 4 == SNAPSHOT_CRC_FROM && SNAPSHOT_CRC_FROM + 4 == SNAPSHOT_HEADER, "CRC, then count");
_Static_assert(SNAPSHOT_ENTRY == 8 + 2 + 4 + 8 + 4 + 8 + 4 + 8, "put_entry() fills it");

/* ---- Copying ---- */

struct producers_copy *producers_copy_begin(struct producers *p, int64_t offset)
{
    producers_copy_finish(p);
    struct producers_copy *copy = xcalloc(1, sizeof(*copy));
    *copy = (struct producers_copy){.offset = offset,
                                    .len = SNAPSHOT_HEADER,
                                    .room = SNAPSHOT_HEADER + (size_t)HASH_COUNT(p->by_id) * SNAPSHOT_ENTRY};
    copy->data = xmalloc(copy->room);
    p->copy = copy;
    p->to_copy = p->by_id;
    p->lap = !p->lap;
    return copy;
}

static void put_entry(uint8_t *e, const struct producer *x)
{
    struct producer_batch none = {NO_SEQUENCE, 0, -1, x->last_timestamp};
    const struct producer_batch *last = x->batch_count > 0 ? &x->batches[x->batch_count - 1] : &none;
    be64_put(e, (uint64_t)x->id);
    be16_put(e + 8, (uint16_t)x->epoch);
    be32_put(e + 10, (uint32_t)last->last_sequence);
    be64_put(e + 14, (uint64_t)last->last_offset);
    be32_put(e + 22, (uint32_t)last->offset_delta);
    be64_put(e + 26, (uint64_t)x->last_timestamp);
    be32_put(e + 34, (uint32_t)x->coordinator_epoch);
    be64_put(e + 38, (uint64_t)x->txn_first_offset);
}

void producers_copy_one(struct producers *p, struct producer *x)
{
    if (p->copy == NULL || x->lap == p->lap)
        return;
    x->lap = p->lap;
    if (x->refused_only)
        return;
    ensure(p->copy->len + SNAPSHOT_ENTRY <= p->copy->room);
    put_entry(p->copy->data + p->copy->len, x);
    p->copy->len += SNAPSHOT_ENTRY;
}

bool producers_copy_step(struct producers *p)
{
    for (int i = 0; i < COPIED_AT_ONCE && p->to_copy != NULL; i++) {
        producers_copy_one(p, p->to_copy);
        p->to_copy = p->to_copy->hh.next;
    }
    if (p->to_copy == NULL)
        p->copy = NULL;
    return p->copy != NULL;
}

void producers_copy_finish(struct producers *p)
{
    while (producers_copy_step(p))
        ;
    ensure(p->copy == NULL && p->to_copy == NULL);
}

void producers_copy_free(struct producers_copy *copy)
{
    free(copy->data);
    free(copy);
}

/* ---- The file ---- */

bool producers_copy_write(struct producers_copy *copy, const char *path, bool sync)
{
    uint8_t *data = copy->data;
    be16_put(data, SNAPSHOT_VERSION);
    be32_put(data + SNAPSHOT_CRC_FROM, (uint32_t)((copy->len - SNAPSHOT_HEADER) / SNAPSHOT_ENTRY));
    be32_put(data + SNAPSHOT_CRC_AT, crc32c(data + SNAPSHOT_CRC_FROM, copy->len - SNAPSHOT_CRC_FROM));
    int fd = file_open(path, true);
    bool ok = fd >= 0 && file_write_at(fd, data, copy->len, 0, path) && file_truncate(fd, (int64_t)copy->len, path) &&
              (!sync || file_sync(fd, path));
    file_close(fd);
    return ok;
}

static void take_entry(struct producers *p, const uint8_t *e)
{
    struct producer_state state = {.id = (int64_t)be64_get(e),
                                   .epoch = (int16_t)be16_get(e + 8),
                                   .last_timestamp = (int64_t)be64_get(e + 26),
                                   .coordinator_epoch = (int32_t)be32_get(e + 34),
                                   .txn_first_offset = (int64_t)be64_get(e + 38)};
    struct producer_batch last = {(int32_t)be32_get(e + 10), (int32_t)be32_get(e + 22), (int64_t)be64_get(e + 14),
                                  state.last_timestamp};
    producers_restore(p, &state, &last);
}

static bool snapshot_is_sound(const struct strbuf *text)
{
    const uint8_t *p = (const uint8_t *)text->p;
    if (text->len < SNAPSHOT_HEADER || be16_get(p) != SNAPSHOT_VERSION)
        return false;
    uint64_t count = be32_get(p + SNAPSHOT_CRC_FROM);
    return text->len == SNAPSHOT_HEADER + count * SNAPSHOT_ENTRY &&
           be32_get(p + SNAPSHOT_CRC_AT) == crc32c(p + SNAPSHOT_CRC_FROM, text->len - SNAPSHOT_CRC_FROM);
}

enum file_result producers_load(struct producers *p, const char *path, int64_t offset)
{
    struct strbuf text = {0};
    producers_clear(p, offset);
    enum file_result found = file_load(path, &text);
    bool ok = found == FILE_FOUND && snapshot_is_sound(&text);
    if (!ok && text.len > 0)
        log_warn("Producer snapshot %s is damaged and not used", path);
    for (size_t at = SNAPSHOT_HEADER; ok && at < text.len; at += SNAPSHOT_ENTRY)
        take_entry(p, (const uint8_t *)text.p + at);
    producers_restored(p);
    strbuf_deinit(&text);
    return found == FILE_FOUND && !ok ? FILE_MISSING : found;
}
