/* What a fetch reads: regions of segment files, or, for consumers of old formats, their bytes rewritten. */
#include "base/clock.h"
#include "server/fetch_internal.h"

#define RACK_AWARE_SELECTOR "org.apache.kafka.common.replica.RackAwareReplicaSelector"

void fetched_drop(struct fetched *x)
{
    file_ref_put(x->data.slice.region.file);
    x->data.slice.region = (struct file_region){0};
    strbuf_deinit(&x->converted);
}

static int8_t newest_magic(const struct request *r)
{
    return r->version >= MAGIC_V2_SINCE ? 2 : r->version >= MAGIC_V1_SINCE ? 1 : 0;
}

int32_t fetch_replica(const struct fetch *f)
{
    return f->r->version >= STATE_SINCE ? f->request.replica_state.replica_id : f->request.replica_id;
}

int64_t fetch_broker_epoch(const struct fetch *f)
{
    return f->r->version >= STATE_SINCE ? f->request.replica_state.replica_epoch : -1;
}

/* Whether who asks can read what the topic holds, by its settings: its data is not looked at. */
static enum kafka_error fetch_check_reader(struct fetch *f, struct fetched *x)
{
    if (f->r->version >= ZSTD_SINCE)
        return ERR_NONE;
    struct topic_config config = plog_config(partition_log(x->partition));
    if (config.compression_type == COMPRESSION_TYPE_ZSTD)
        return ERR_UNSUPPORTED_COMPRESSION_TYPE;
    bool newer = ibp_magic(config.message_format_version) > newest_magic(f->r);
    return newer && fetch_replica(f) < 0 && !config.message_downconversion_enable ? ERR_UNSUPPORTED_VERSION : ERR_NONE;
}

struct partition_read fetch_reads(const struct fetch *f, const struct fetched *x, int32_t room, bool at_least_one)
{
    return (struct partition_read){.offset = x->item.fetch_offset,
                                   .max_bytes = MIN(x->item.max_bytes, room),
                                   .at_least_one = at_least_one,
                                   .isolation = f->request.isolation_level == 1 ? READ_COMMITTED : READ_UNCOMMITTED,
                                   .replica_id = fetch_replica(f),
                                   .from_follower = fetch_replica(f) == DEBUGGING_CONSUMER ||
                                                    (fetch_replica(f) == CONSUMER && f->r->version >= FOLLOWERS_SINCE),
                                   .broker_epoch = fetch_broker_epoch(f),
                                   .current_leader_epoch = MAX(x->item.current_leader_epoch, -1),
                                   .last_fetched_epoch =
                                       f->r->version >= EPOCHS_SINCE ? x->item.last_fetched_epoch : -1};
}

/* ---- Consumers that are nearer to another replica (KIP-392) ---- */

static bool is_in_rack(void *ctx, int32_t broker)
{
    const struct fetch *f = ctx;
    const struct registration *b = view_broker(view_current(), broker);
    return b != NULL && b->rack != NULL && str_is(f->request.rack_id, b->rack) &&
           registration_endpoint(b, request_listener(f->r)) != NULL;
}

static int32_t preferred_replica(struct fetch *f, const struct fetched *x)
{
    const char *selector = f->r->s->config->replica_selector_class;
    if (selector == NULL || strcmp(selector, RACK_AWARE_SELECTOR) != 0 || fetch_replica(f) != CONSUMER ||
        f->request.rack_id.len <= 0 || is_in_rack(f, f->r->s->broker_id))
        return -1;
    return partition_preferred_replica(x->partition, x->item.fetch_offset, is_in_rack, f);
}

bool fetch_isolates(const struct fetch *f)
{
    return f->request.isolation_level == READ_UNCOMMITTED || f->request.isolation_level == READ_COMMITTED;
}

/* Kafka answers what makes no sense with an error of its own, and reads nothing. */
static bool makes_sense(const struct fetch *f, const struct fetched *x)
{
    return fetch_isolates(f) && x->item.max_bytes >= 0 &&
           (f->r->version < PARTIAL_BATCHES_BEFORE || f->request.max_bytes >= 0);
}

static bool fetch_error_is_usual(enum kafka_error error)
{
    switch (error) {
    case ERR_NONE:
    case ERR_UNKNOWN_TOPIC_OR_PARTITION:
    case ERR_UNKNOWN_TOPIC_ID:
    case ERR_NOT_LEADER_OR_FOLLOWER:
    case ERR_FENCED_LEADER_EPOCH:
    case ERR_UNKNOWN_LEADER_EPOCH:
    case ERR_REPLICA_NOT_AVAILABLE:
    case ERR_KAFKA_STORAGE_ERROR:
    case ERR_OFFSET_OUT_OF_RANGE:
    case ERR_INCONSISTENT_TOPIC_ID:
        return true;
    default:
        return false;
    }
}

static void fetch_read_one(struct fetch *f, struct fetched *x, int32_t room, bool at_least_one)
{
    fetched_drop(x);
    if (x->partition == NULL)
        return;
    bool sane = makes_sense(f, x);
    x->error = sane ? fetch_check_reader(f, x) : ERR_UNKNOWN_SERVER_ERROR;
    if (!sane && fetch_isolates(f))
        partition_mark(x->partition, TOPIC_FAILED_FETCH, 1);
    if (x->error != ERR_NONE)
        return;
    bool held_back = fetch_replica(f) >= 0 && partition_holds_back(x->partition, fetch_replica(f), clock_mono_ms());
    struct partition_read read = fetch_reads(f, x, held_back ? 0 : MAX(room, 0), at_least_one && !held_back);
    x->error = partition_fetch(x->partition, &read, &x->data);
    if (x->error == ERR_NONE)
        x->preferred_replica = preferred_replica(f, x);
    if (!fetch_error_is_usual(x->error))
        partition_mark(x->partition, TOPIC_FAILED_FETCH, 1);
    bool partial = x->data.slice.first_incomplete && f->r->version >= PARTIAL_BATCHES_BEFORE;
    if (x->error != ERR_NONE || partial || x->preferred_replica >= 0)
        fetched_drop(x);
}

int32_t fetched_bytes(const struct fetched *x)
{
    return x->converted.p != NULL ? (int32_t)x->converted.len : x->data.slice.region.len;
}

struct reading fetch_read_all(struct fetch *f)
{
    struct reading sum = {0};
    for (int32_t i = 0; i < f->count; i++) {
        struct fetched *x = &f->items[i];
        bool at_least_one = f->r->version >= PARTIAL_BATCHES_BEFORE && sum.bytes == 0;
        fetch_read_one(f, x, (int32_t)MAX(f->most - sum.bytes, 0), at_least_one);
        sum.bytes += fetched_bytes(x);
        sum.at_once |= x->error != ERR_NONE || x->data.diverging_epoch >= 0 || x->preferred_replica >= 0;
        sum.cold |= x->data.slice.cold;
    }
    return sum;
}

/* ---- Consumers of old formats ---- */

static int64_t count_messages(const struct strbuf *batches)
{
    struct bytes rest = {(const uint8_t *)batches->p, (int32_t)batches->len};
    struct batch b;
    int64_t n = 0;
    while (batch_next(&rest, &b) == BATCH_OK)
        n += b.count;
    return n;
}

/* The bytes of a region, rewritten for a consumer of an old format; what it knows already is left alone. */
static enum kafka_error convert(struct fetch *f, struct fetched *x)
{
    struct file_region region = x->data.slice.region;
    struct strbuf out = {0};
    enum kafka_error error = ERR_KAFKA_STORAGE_ERROR;
    uint8_t *raw = xmalloc((size_t)region.len);
    int64_t begun_us = clock_mono_us();
    ssize_t n = region_read(&region, raw);
    if (n >= 0)
        error = records_down_convert((struct bytes){raw, (int32_t)n}, newest_magic(f->r), x->item.fetch_offset, &out);
    free(raw);
    fetched_drop(x);
    if (error == ERR_NONE && out.len > 0)
        partition_mark(x->partition, TOPIC_FETCH_CONVERSIONS, count_messages(&out));
    f->r->rebuild_us += clock_mono_us() - begun_us;
    f->r->unfolded += MAX(n, 0) + (int64_t)out.len;
    if (error == ERR_NONE)
        x->converted = out;
    else
        strbuf_deinit(&out);
    return error;
}

static bool is_converted(const struct fetch *f, const struct fetched *x)
{
    return newest_magic(f->r) < 2 && x->data.slice.region.len > 0;
}

bool fetch_has_to_convert(const struct fetch *f)
{
    bool any = false;
    for (int32_t i = 0; i < f->count && !any; i++)
        any = is_converted(f, &f->items[i]);
    return any;
}

void fetch_convert(struct fetch *f)
{
    for (int32_t i = 0; i < f->count; i++)
        if (is_converted(f, &f->items[i]))
            f->items[i].error = convert(f, &f->items[i]);
}
