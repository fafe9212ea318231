/* Produce (KIP-98, KIP-467): records in, offsets out. */
#include "protocol/msg/produce.h"

#include "base/clock.h"
#include "base/logger.h"
#include "controller/admin.h"
#include "server/server_internal.h"

enum { ACKS_ALL = -1, MAGIC_V2_SINCE = 3, ZSTD_SINCE = 7 };

/* One partition of the request: what was appended, and where its answer goes. */
struct produced {
    struct partition *partition; /* with a reference, until it is settled */
    struct produce_partition_produce_response *out;
    struct bed bed;
    int64_t last_offset;
    int32_t leader_epoch;
};

struct produce {
    struct request *r;
    struct produce_request request;
    struct produce_response response;
    struct produced *items;
    int32_t count;
    int32_t unsettled;
    bool failed;
    struct sleeper sleeper;
    struct timer deadline;
};

/* ---- Checking and appending ---- */

static struct record_rules rules_of(const struct topic_config *c)
{
    struct record_rules rules = {
        .keep_codec = c->compression_type == COMPRESSION_TYPE_PRODUCER,
        .codec = c->compression_type == COMPRESSION_TYPE_PRODUCER ? CODEC_NONE : (enum codec)c->compression_type,
        .level = CODEC_LEVEL_DEFAULT,
        .log_append_time = c->message_timestamp_type == TIMESTAMP_TYPE_LOG_APPEND_TIME,
        .compacted = (c->cleanup_policy & CLEANUP_POLICY_COMPACT) != 0,
        .before_max_ms = topic_timestamp_before_max_ms(c),
        .after_max_ms = topic_timestamp_after_max_ms(c),
        .max_batch_size = c->max_message_bytes,
        .from_client = true,
    };
    if (rules.codec == CODEC_GZIP)
        rules.level = c->compression_gzip_level;
    else if (rules.codec == CODEC_LZ4)
        rules.level = c->compression_lz4_level;
    else if (rules.codec == CODEC_ZSTD)
        rules.level = c->compression_zstd_level;
    return rules;
}

/* What a version of the request may carry. Null: fine. */
static struct str version_problem(const struct request *r, struct bytes records, enum kafka_error *error)
{
    struct batch first, second;
    struct bytes rest = records;
    *error = ERR_INVALID_RECORD;
    if (r->version < MAGIC_V2_SINCE) {
        if (batch_next(&rest, &first) == BATCH_OK && first.magic == 2)
            return STR_LIT("Produce requests of this version are not allowed to contain record batches of magic 2");
        return STR_NULL;
    }
    if (records.p == NULL || batch_next(&rest, &first) != BATCH_OK)
        return STR_LIT("Produce requests of this version must have at least one record batch per partition");
    if (first.magic != 2)
        return STR_LIT(
            "Produce requests of this version are only allowed to contain record batches with magic version 2");
    if (batch_next(&rest, &second) == BATCH_OK)
        return STR_LIT(
            "Produce requests of this version are only allowed to contain exactly one record batch per partition");
    if (r->version < ZSTD_SINCE && batch_codec(&first) == CODEC_ZSTD) {
        *error = ERR_UNSUPPORTED_COMPRESSION_TYPE;
        return STR_LIT("Produce requests of this version are not allowed to use ZStandard compression");
    }
    return STR_NULL;
}

static void report_record_errors(struct request *r, const struct prepared *p,
                                 struct produce_partition_produce_response *out)
{
    out->error_message = p->message;
    ARRAY_MAKE(r->arena, out->record_errors, p->error_count);
    for (int32_t i = 0; i < p->error_count; i++) {
        struct produce_batch_index_and_error_message *e = &out->record_errors.items[i];
        produce_batch_index_and_error_message_init(e);
        e->batch_index = p->errors[i].index;
        e->batch_index_error_message = p->errors[i].message;
    }
}

static enum kafka_error append(struct produce *pr, struct produced *item, struct bytes records)
{
    struct request *r = pr->r;
    struct topic_config config = plog_config(partition_log(item->partition));
    struct record_rules rules = rules_of(&config);
    struct prepared p;
    struct append_result result;
    enum kafka_error error =
        records_prepare((uint8_t *)(uintptr_t)records.p, records.len, &rules, clock_wall_ms(), r->arena, &p);
    if (error != ERR_NONE) {
        report_record_errors(r, &p, item->out);
        return error;
    }
    item->leader_epoch = partition_leader_epoch(item->partition);
    error = partition_append(item->partition, &p, pr->request.acks, &result);
    item->out->log_start_offset = result.log_start_offset;
    if (error != ERR_NONE)
        return error;
    item->last_offset = result.last_offset;
    item->out->base_offset = result.first_offset;
    item->out->log_append_time_ms = result.duplicate ? NO_TIMESTAMP : p.append_time;
    return ERR_NONE;
}

static enum kafka_error produce_to(struct produce *pr, struct produced *item, struct str topic,
                                   const struct produce_partition_produce_data *in)
{
    struct request *r = pr->r;
    enum kafka_error error;
    struct bytes records = in->records.mem;
    struct str problem = version_problem(r, records, &error);
    if (problem.p != NULL) {
        item->out->error_message = problem;
        return error;
    }
    if (topic_is_internal(topic) && !str_is(r->client_id, "__admin_client")) {
        item->out->error_message = STR_LIT("Cannot append to an internal topic");
        return ERR_INVALID_TOPIC_EXCEPTION;
    }
    item->partition = replica_partition(r->s->replicas, topic, in->index);
    if (item->partition == NULL)
        return partition_missing(r->s, topic, in->index);
    if (records.len == 0)
        return ERR_NONE;
    return append(pr, item, records);
}

/* ---- Answering ---- */

static void settle(struct produce *pr, struct produced *item, enum kafka_error error)
{
    item->out->error_code = error;
    if (error != ERR_NONE) {
        item->out->base_offset = -1;
        pr->failed = true;
    }
    partition_get_up(&item->bed);
    partition_unref(item->partition);
    item->partition = NULL;
    pr->unsettled--;
}

static void finish(struct produce *pr)
{
    struct request *r = pr->r;
    ensure(pr->unsettled == 0);
    r->x->abandoned = NULL;
    timer_stop(&pr->deadline);
    sleeper_cancel(&pr->sleeper);
    if (pr->request.acks != 0)
        ANSWER(r, produce_response, &pr->response);
    else if (pr->failed)
        exchange_abort(r->x, "a produce request with acks=0 has failed, which its sender can learn in no other way");
    else
        exchange_finish(r->x);
}

/* ---- Waiting for acks=all ---- */

static void check_all(struct produce *pr)
{
    for (int32_t i = 0; i < pr->count; i++) {
        struct produced *item = &pr->items[i];
        if (item->partition == NULL)
            continue;
        enum kafka_error error = partition_check_committed(item->partition, item->leader_epoch, item->last_offset);
        if (error != ERR_REQUEST_TIMED_OUT)
            settle(pr, item, error);
    }
}

static void on_wake(struct sleeper *s)
{
    struct produce *pr = CONTAINER_OF(s, struct produce, sleeper);
    check_all(pr);
    if (pr->unsettled == 0)
        finish(pr);
}

static void on_deadline(struct timer *t)
{
    struct produce *pr = CONTAINER_OF(t, struct produce, deadline);
    check_all(pr);
    for (int32_t i = 0; i < pr->count; i++)
        if (pr->items[i].partition != NULL)
            settle(pr, &pr->items[i], ERR_REQUEST_TIMED_OUT);
    finish(pr);
}

static void on_abandoned(struct exchange *x)
{
    struct request *r = x->context;
    struct produce *pr = r->waiting;
    on_deadline(&pr->deadline);
}

static void wait_for_replicas(struct produce *pr)
{
    pr->sleeper = (struct sleeper){.queue = request_wake_queue(pr->r), .wake = on_wake};
    for (int32_t i = 0; i < pr->count; i++)
        if (pr->items[i].partition != NULL)
            partition_lie_down(pr->items[i].partition, &pr->items[i].bed, &pr->sleeper);
    check_all(pr);
    if (pr->unsettled == 0) {
        finish(pr);
        return;
    }
    exchange_park(pr->r->x);
    pr->r->waiting = pr;
    pr->r->x->abandoned = on_abandoned;
    timer_start(&pr->deadline, pr->request.timeout_ms);
}

/* ---- The request ---- */

static int32_t count_partitions(const struct produce_request *request)
{
    int32_t n = 0;
    for (int32_t t = 0; t < request->topic_data.len; t++)
        n += MAX(request->topic_data.items[t].partition_data.len, 0);
    return n;
}

static void append_all(struct produce *pr)
{
    bool bad_acks = pr->request.acks < -1 || pr->request.acks > 1;
    ARRAY_MAKE(pr->r->arena, pr->response.responses, MAX(pr->request.topic_data.len, 0));
    for (int32_t t = 0; t < pr->request.topic_data.len; t++) {
        const struct produce_topic_produce_data *in = &pr->request.topic_data.items[t];
        struct produce_topic_produce_response *out = &pr->response.responses.items[t];
        produce_topic_produce_response_init(out);
        out->name = in->name;
        ARRAY_MAKE(pr->r->arena, out->partition_responses, MAX(in->partition_data.len, 0));
        for (int32_t i = 0; i < in->partition_data.len; i++) {
            struct produced *item = &pr->items[pr->count++];
            item->out = &out->partition_responses.items[i];
            produce_partition_produce_response_init(item->out);
            item->out->index = in->partition_data.items[i].index;
            item->out->base_offset = -1;
            item->last_offset = -1;
            pr->unsettled++;
            enum kafka_error error =
                bad_acks ? ERR_INVALID_REQUIRED_ACKS : produce_to(pr, item, in->name, &in->partition_data.items[i]);
            if (error != ERR_NONE || pr->request.acks != ACKS_ALL || item->last_offset < 0)
                settle(pr, item, error);
        }
    }
}

static void handle(struct request *r)
{
    struct produce *pr = ARENA_NEW(r->arena, struct produce);
    pr->r = r;
    if (!DECODE(r, produce_request, &pr->request))
        return;
    produce_response_init(&pr->response);
    timer_init(&pr->deadline, exchange_loop(r->x), on_deadline);
    pr->items = ARENA_ARRAY(r->arena, struct produced, MAX(count_partitions(&pr->request), 1));
    append_all(pr);
    if (pr->unsettled > 0)
        wait_for_replicas(pr);
    else
        finish(pr);
}

const struct api_entry api_produce = {.key = API_PRODUCE, .min = 0, .max = 11, .overlaps = true, .handle = handle};
