/* The control records that end a transaction (KIP-98). */
#include "record/record.h"

enum { MARKER_VERSION = 0, KEY_SIZE = 4, VALUE_SIZE = 6, TYPE_ABORT = 0, TYPE_COMMIT = 1 };

void txn_marker_write(const struct txn_marker *m, int64_t now, struct strbuf *out)
{
    uint8_t key[KEY_SIZE], value[VALUE_SIZE];
    struct batch_builder b;
    be16_put(key, MARKER_VERSION);
    be16_put(key + 2, m->commit ? TYPE_COMMIT : TYPE_ABORT);
    be16_put(value, MARKER_VERSION);
    be32_put(value + 2, (uint32_t)m->coordinator_epoch);
    batch_builder_init(&b, ATTR_TRANSACTIONAL | ATTR_CONTROL);
    b.head.producer_id = m->producer_id;
    b.head.producer_epoch = m->producer_epoch;
    batch_builder_add(&b, &(struct record){.timestamp = now, .key = {key, KEY_SIZE}, .value = {value, VALUE_SIZE}});
    bool ok = batch_builder_finish(&b, CODEC_LEVEL_DEFAULT, out);
    ensure(ok);
    batch_builder_deinit(&b);
}

bool txn_marker_read(const struct batch *b, struct txn_marker *out)
{
    struct arena a;
    struct record r;
    bool found = false;
    arena_init(&a, 0);
    struct record_iter *it = record_iter_new(b, &a);
    if (record_iter_next(it, &r) > 0 && r.key.len >= KEY_SIZE) {
        int type = be16_get(r.key.p + 2);
        found = type == TYPE_ABORT || type == TYPE_COMMIT;
        *out = (struct txn_marker){b->producer_id, b->producer_epoch, type == TYPE_COMMIT,
                                   r.value.len >= VALUE_SIZE ? (int32_t)be32_get(r.value.p + 2) : -1};
    }
    record_iter_free(it);
    arena_deinit(&a);
    return found;
}
