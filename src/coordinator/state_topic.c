#include "coordinator/state_topic.h"

#include <inttypes.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/logger.h"
#include "protocol/wire.h"

struct state_topic {
    struct state_options options;
    struct state_partition **partitions; /* each on the heap: reads under way point to them */
    int32_t room;
    int32_t planned;       /* count that it is made with */
    int32_t count;         /* by which keys are found */
    int32_t other;         /* that was seen since; 0: it is still the same */
    _Atomic int32_t known; /* the first count of so many or more that was seen, by any thread; 0: none was */
};

/* ---- Keys ---- */

/* As Java's String.hashCode(), made positive as Kafka does. */
int32_t state_partition_of(struct str key, int32_t partition_count)
{
    uint32_t hash = 0;
    ensure(partition_count > 0);
    for (int32_t i = 0; i < key.len;) {
        uint32_t c = (uint8_t)key.p[i++];
        int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;
        c &= more == 0 ? 0x7f : 0x3fu >> more;
        while (more-- > 0 && i < key.len)
            c = c << 6 | ((uint8_t)key.p[i++] & 0x3f);
        if (c >= 0x10000) { /* a surrogate pair */
            hash = hash * 31 + (0xd800 + ((c - 0x10000) >> 10));
            c = 0xdc00 + ((c - 0x10000) & 0x3ff);
        }
        hash = hash * 31 + c;
    }
    int32_t positive = hash == 0x80000000u ? 0 : abs((int32_t)hash);
    return positive % partition_count;
}

struct state_partition *state_topic_next(struct state_topic *t, int32_t *at)
{
    ensure(loop_is_mine(t->options.loop) && *at >= 0);
    struct state_partition *p = *at < t->room ? t->partitions[*at] : NULL;
    *at = p != NULL ? *at + 1 : 0;
    return p;
}

struct state_partition *state_topic_find(struct state_topic *t, struct str key)
{
    ensure(loop_is_mine(t->options.loop) && t->count > 0 && t->count <= t->room);
    return t->partitions[state_partition_of(key, t->count)];
}

/*
 * The first one who says how many there are is right. But fewer than the topic would be made with may be a part of
 * them: the last ones may not have had a leader yet.
 */
static int32_t learn_count(struct state_topic *t, int32_t seen)
{
    int32_t known = 0;
    ensure(seen > 0);
    if (seen >= t->planned)
        return atomic_compare_exchange_strong(&t->known, &known, seen) ? seen : known;
    known = atomic_load(&t->known);
    return known > 0 ? known : seen;
}

int32_t state_topic_number_of(struct state_topic *t, struct str key, int32_t seen)
{
    return state_partition_of(key, learn_count(t, seen));
}

bool state_partition_holds(const struct state_partition *p, struct str key)
{
    static struct log_limit strays;
    const struct state_topic *t = p->topic;
    int32_t number = state_partition_of(key, t->count);
    if (number != p->number)
        log_warn_limited(&strays,
                         "%s-%" PRId32 " has a key of partition %" PRId32
                         ", which is passed over: the number of the topic's partitions was changed",
                         t->options.topic, p->number, number);
    return number == p->number;
}

enum kafka_error state_partition_check(const struct state_partition *p)
{
    switch (p->ownership) {
    case OWNED:
        return ERR_NONE;
    case LOADING:
        return ERR_COORDINATOR_LOAD_IN_PROGRESS;
    default:
        return ERR_NOT_COORDINATOR;
    }
}

bool state_topic_is_loading(const struct state_topic *t)
{
    for (int32_t i = 0; i < t->room; i++)
        if (t->partitions[i]->ownership == LOADING)
            return true;
    return false;
}

/* ---- Loading ---- */

enum { RETRY_LOADING_MS = 200 };

struct load {
    struct state_partition *partition;
    int64_t term;
};

static void read_more(struct state_partition *p);

void state_partition_note_damage(const struct state_partition *p, const struct batch *b, int64_t offset)
{
    log_error("The batch of %s-%" PRId32 " that ends at offset %" PRId64 " cannot be read from offset %" PRId64
              " on: what it says there is lost",
              p->topic->options.topic, p->number, b->last_offset, offset);
}

/* Returns the offset after them. A read ends where it has to, in the middle of a batch that is not its first. */
static int64_t state_topic_take(struct state_partition *p, struct bytes batches)
{
    const struct state_options *o = &p->topic->options;
    enum batch_result result;
    struct batch b;
    int64_t next = p->next_offset;
    while ((result = batch_next(&batches, &b)) == BATCH_OK) {
        if (b.last_offset >= p->next_offset)
            o->take(o->ctx, p, &b);
        next = MAX(next, b.last_offset + 1);
    }
    if (result != BATCH_END && next == p->next_offset)
        log_error("%s-%" PRId32 " cannot be read from offset %" PRId64 " on: what was read before counts alone",
                  o->topic, p->number, next);
    return next;
}

static void unload(struct state_partition *p)
{
    const struct state_options *o = &p->topic->options;
    ensure(loop_is_mine(o->loop));
    timer_stop(&p->retry);
    p->ownership = NOT_OWNED;
    p->term++;
    o->unloaded(o->ctx, p);
}

/* A descriptor may be wanting, and be there the next time: a group whose load was given up would have no coordinator.
 */
static void load_has_failed(struct state_partition *p, enum kafka_error error)
{
    static struct log_limit failures;
    const struct state_options *o = &p->topic->options;
    if (error == ERR_NOT_LEADER_OR_FOLLOWER) {
        log_info("Loading %s-%" PRId32 " stopped: it is not led here any more", o->topic, p->number);
        unload(p);
        return;
    }
    log_warn_limited(&failures, "Loading %s-%" PRId32 " is held up at offset %" PRId64 ": %s", o->topic, p->number,
                     p->next_offset, error_name((int16_t)error));
    timer_start(&p->retry, RETRY_LOADING_MS);
}

static void load_again(struct timer *t)
{
    read_more(CONTAINER_OF(t, struct state_partition, retry));
}

static void state_topic_on_read(void *arg, enum kafka_error error, struct bytes batches)
{
    struct load *l = arg;
    struct state_partition *p = l->partition;
    const struct state_options *o = &p->topic->options;
    ensure(loop_is_mine(o->loop));
    bool stale = l->term != p->term || p->ownership != LOADING;
    free(l);
    if (stale)
        return;
    if (error != ERR_NONE) {
        load_has_failed(p, error);
        return;
    }
    int64_t next = state_topic_take(p, batches);
    if (next > p->next_offset) {
        p->next_offset = next;
        read_more(p);
        return;
    }
    p->ownership = OWNED;
    o->loaded(o->ctx, p);
}

static void read_more(struct state_partition *p)
{
    const struct state_options *o = &p->topic->options;
    ensure(p->ownership == LOADING);
    struct load *l = xcalloc(1, sizeof(*l));
    *l = (struct load){p, p->term};
    o->log.read(o->log.ctx, p->number, p->next_offset, o->load_buffer_size, state_topic_on_read, l);
}

static void load_partition(struct state_partition *p)
{
    const struct state_topic *t = p->topic;
    unload(p);
    p->ownership = LOADING;
    p->next_offset = 0;
    p->load_began_us = clock_mono_us();
    if (t->options.loads_one_count && t->other != 0)
        log_error("%s-%" PRId32 " is not loaded: the topic has %" PRId32 " partitions instead of %" PRId32,
                  t->options.topic, p->number, t->other, t->count);
    else
        read_more(p);
}

/* Fewer than the topic was made with may be a part of them (learn_count()). */
static void state_topic_see(struct state_topic *t, int32_t seen)
{
    int32_t known = atomic_load(&t->known), other = seen != known ? seen : 0;
    if (known == 0 || seen < t->planned || other == t->other)
        return;
    t->other = other;
    if (other != 0)
        log_error("The number of partitions of %s was changed from %" PRId32 " to %" PRId32
                  ": keys are looked for as before until this broker is started again",
                  t->options.topic, known, other);
}

static void state_topic_make_room(struct state_topic *t, int32_t count)
{
    if (count > t->room)
        t->partitions = xrealloc(t->partitions, (size_t)count * sizeof(t->partitions[0]));
    for (; t->room < count; t->room++) {
        struct state_partition *p = xcalloc(1, sizeof(*p));
        *p = (struct state_partition){.topic = t, .number = t->room, .leader_epoch = -1};
        timer_init(&p->retry, t->options.loop, load_again);
        t->partitions[t->room] = p;
    }
}

void state_topic_elected(struct state_topic *t, int32_t partition, int32_t leader_epoch, int32_t led_since)
{
    ensure(loop_is_mine(t->options.loop) && partition >= 0 && led_since <= leader_epoch);
    if (partition >= MAX(t->other, atomic_load(&t->known)))
        state_topic_see(t, partition + 1);
    state_topic_make_room(t, partition + 1);
    struct state_partition *p = t->partitions[partition];
    if (p->ownership != NOT_OWNED && led_since <= p->leader_epoch) {
        p->leader_epoch = MAX(p->leader_epoch, leader_epoch);
        return;
    }
    p->leader_epoch = leader_epoch;
    load_partition(p);
}

void state_topic_resigned(struct state_topic *t, int32_t partition)
{
    ensure(loop_is_mine(t->options.loop));
    if (partition < t->room)
        unload(t->partitions[partition]);
}

void state_topic_resign_all(struct state_topic *t)
{
    for (int32_t i = 0; i < t->room; i++)
        unload(t->partitions[i]);
}

/* ---- Records ---- */

struct failed_append {
    struct message message;
    struct state_append *append;
};

static void deliver_failure(struct message *m)
{
    struct failed_append *f = CONTAINER_OF(m, struct failed_append, message);
    f->append->done(f->append, ERR_MESSAGE_TOO_LARGE);
    free(f);
}

void state_append(struct state_partition *p, struct batch_builder *b, struct state_append *append)
{
    const struct state_options *o = &p->topic->options;
    struct strbuf batch = {0};
    ensure(loop_is_mine(o->loop) && append->done != NULL);
    ensure(p->ownership == OWNED); /* what is not owned, or not read to its end yet, is another's to write */
    bool ok = batch_builder_finish(b, CODEC_LEVEL_DEFAULT, &batch);
    batch_builder_deinit(b);
    append->offset = -1;
    if (ok) {
        o->log.append(o->log.ctx, p->number, p->leader_epoch, &batch, append);
        return;
    }
    strbuf_deinit(&batch);
    struct failed_append *f = xcalloc(1, sizeof(*f));
    *f = (struct failed_append){{.deliver = deliver_failure}, append};
    loop_post(o->loop, &f->message);
}

enum kafka_error state_append_error(enum kafka_error error)
{
    switch (error) {
    case ERR_UNKNOWN_TOPIC_OR_PARTITION:
    case ERR_NOT_ENOUGH_REPLICAS:
    case ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND:
    case ERR_REQUEST_TIMED_OUT:
        return ERR_COORDINATOR_NOT_AVAILABLE;
    case ERR_NOT_LEADER_OR_FOLLOWER:
    case ERR_KAFKA_STORAGE_ERROR:
        return ERR_NOT_COORDINATOR;
    default:
        return error;
    }
}

void state_record_add(struct batch_builder *b, struct writer *key, struct writer *value, int64_t now)
{
    struct record r = {
        .offset = b->head.count, .timestamp = now, .key = {(uint8_t *)key->buf.p, (int32_t)key->buf.len}};
    if (value != NULL)
        r.value = (struct bytes){(uint8_t *)value->buf.p, (int32_t)value->buf.len};
    batch_builder_add(b, &r);
    writer_deinit(key);
    if (value != NULL)
        writer_deinit(value);
}

bool state_record_open(struct bytes data, struct arena *a, struct reader *r, int16_t *version)
{
    reader_init(r, data, a);
    *version = reader_int16(r);
    return reader_ok(r);
}

/* ---- Life ---- */

void state_topic_set_count(struct state_topic *t, int32_t seen)
{
    ensure(loop_is_mine(t->options.loop));
    int32_t count = learn_count(t, seen);
    state_topic_see(t, seen);
    if (count == t->count)
        return;
    state_topic_make_room(t, count);
    t->count = count;
    for (int32_t i = 0; i < t->room; i++) /* led before it was known, and its keys looked for elsewhere */
        if (t->partitions[i]->ownership != NOT_OWNED)
            load_partition(t->partitions[i]);
}

struct state_topic *state_topic_new(const struct state_options *options, int32_t partition_count)
{
    struct state_topic *t = xcalloc(1, sizeof(*t));
    ensure(partition_count > 0);
    t->options = *options;
    t->count = t->planned = partition_count;
    state_topic_make_room(t, partition_count);
    return t;
}

void state_topic_free(struct state_topic *t)
{
    if (t == NULL)
        return;
    for (int32_t i = 0; i < t->room; i++) {
        timer_stop(&t->partitions[i]->retry);
        free(t->partitions[i]);
    }
    free(t->partitions);
    free(t);
}

const char *state_topic_name(const struct state_topic *t)
{
    return t->options.topic;
}

struct loop *state_topic_loop(const struct state_topic *t)
{
    return t->options.loop;
}
