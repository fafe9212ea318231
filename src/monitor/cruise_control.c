#include "monitor/cruise_control.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/logger.h"
#include "cluster/broker_link.h"
#include "cluster/view.h"
#include "monitor/cruise_records.h"
#include "net/net.h"
#include "protocol/msg/api.h"
#include "protocol/msg/create_topics.h"
#include "protocol/msg/metadata.h"
#include "protocol/msg/produce.h"
#include "record/record.h"

enum { MOST_TRIES = 6, RETRY_MS = 500, TOPIC_RETRY_MS = 1000, REQUEST_MS = 30000 };

/* A batch on its way to a partition. */
struct parcel {
    struct cruise_control *owner;
    struct broker_call call;
    struct arena memory;
    int32_t partition;
    int tries;
    struct strbuf batch;
    struct produce_request request;
    struct produce_response response;
    struct timer retry;
    struct parcel *prev, *next;
};

struct cruise_control {
    struct cruise_control_options options;
    struct broker_links *links;
    struct timer tick;
    struct parcel *parcels;
    struct batch_builder *builders; /* one for each partition, while records are made */
    int32_t partitions;
    int64_t now_ms;
    int64_t cpu_us, cpu_at_us; /* what had been used when it was asked last */
    bool asking, stopped;
    struct broker_call call; /* about the topic */
    struct arena memory;     /* of that */
};

static struct log_limit missing_topic, failures;

bool cruise_control_is_wanted(const struct broker_config *config)
{
    for (int i = 0; i < config->metric_reporters.count; i++)
        if (strcmp(config->metric_reporters.items[i], CRUISE_CONTROL_REPORTER) == 0)
            return true;
    return false;
}

static const struct view_topic *own_topic(const struct cruise_control *c)
{
    return view_topic(view_current(), str_of(c->options.config->cruise_control_metrics_topic));
}

/* ---- Sending ---- */

static void cruise_parcel_free(struct parcel *p)
{
    DL_DELETE(p->owner->parcels, p);
    timer_stop(&p->retry);
    strbuf_deinit(&p->batch);
    arena_deinit(&p->memory);
    free(p);
}

static void parcel_send(struct parcel *p);

static void parcel_again(struct timer *t)
{
    parcel_send(CONTAINER_OF(t, struct parcel, retry));
}

static void parcel_failed(struct parcel *p, enum kafka_error error)
{
    struct cruise_control *c = p->owner;
    if (!c->stopped && p->tries < MOST_TRIES) {
        timer_start(&p->retry, RETRY_MS);
        return;
    }
    if (!c->stopped)
        log_warn_limited(&failures, "Metrics for Cruise Control cannot be written to %s-%" PRId32 ": %s",
                         c->options.config->cruise_control_metrics_topic, p->partition, error_name(error));
    cruise_parcel_free(p);
}

static void parcel_answered(struct broker_call *call, enum kafka_error error)
{
    struct parcel *p = CONTAINER_OF(call, struct parcel, call);
    const struct produce_response *r = &p->response;
    if (error == ERR_NONE && r->responses.len == 1 && r->responses.items[0].partition_responses.len == 1)
        error = (enum kafka_error)r->responses.items[0].partition_responses.items[0].error_code;
    else if (error == ERR_NONE)
        error = ERR_UNKNOWN_SERVER_ERROR;
    if (error == ERR_NONE)
        cruise_parcel_free(p);
    else
        parcel_failed(p, error);
}

static void parcel_send(struct parcel *p)
{
    struct cruise_control *c = p->owner;
    const struct view_topic *t = own_topic(c);
    const struct view_partition *to = t != NULL ? view_topic_partition(t, p->partition) : NULL;
    p->tries++;
    if (to == NULL || to->leader < 0) {
        parcel_failed(p, ERR_LEADER_NOT_AVAILABLE);
        return;
    }
    arena_deinit(&p->memory);
    p->memory = (struct arena){0};
    produce_request_init(&p->request);
    produce_response_init(&p->response);
    p->request.acks = -1;
    p->request.timeout_ms = REQUEST_MS;
    ARRAY_MAKE(&p->memory, p->request.topic_data, 1);
    struct produce_topic_produce_data *topic = &p->request.topic_data.items[0];
    produce_topic_produce_data_init(topic);
    topic->name = str_of(c->options.config->cruise_control_metrics_topic);
    ARRAY_MAKE(&p->memory, topic->partition_data, 1);
    produce_partition_produce_data_init(&topic->partition_data.items[0]);
    topic->partition_data.items[0].index = p->partition;
    topic->partition_data.items[0].records.mem = (struct bytes){(const uint8_t *)p->batch.p, (int32_t)p->batch.len};
    p->call = (struct broker_call){.key = API_PRODUCE,
                                   .least = 3,
                                   .request = &p->request,
                                   .response = &p->response,
                                   .arena = &p->memory,
                                   .done = parcel_answered};
    broker_links_send(c->links, to->leader, &p->call);
}

static void send_batch(struct cruise_control *c, int32_t partition)
{
    struct batch_builder *b = &c->builders[partition];
    struct parcel *p = xcalloc(1, sizeof(*p));
    p->owner = c;
    p->partition = partition;
    timer_init(&p->retry, c->options.loop, parcel_again);
    DL_APPEND(c->parcels, p);
    bool ok = b->head.count > 0 && batch_builder_finish(b, CODEC_LEVEL_DEFAULT, &p->batch);
    batch_builder_deinit(b);
    batch_builder_init(b, CODEC_GZIP);
    if (ok)
        parcel_send(p);
    else
        cruise_parcel_free(p);
}

/* ---- Records ---- */

/* As Java's producer chooses by the key, so that one sampler reads all of a topic. */
static uint32_t murmur2(struct str key)
{
    const uint32_t m = 0x5bd1e995;
    uint32_t h = 0x9747b28c ^ (uint32_t)key.len;
    int32_t i = 0;
    for (; i + 4 <= key.len; i += 4) {
        uint32_t k;
        memcpy(&k, key.p + i, sizeof(k)); /* little endian */
        k *= m;
        k ^= k >> 24;
        h = h * m ^ k * m;
    }
    if (i < key.len) {
        for (int32_t r = key.len - 1; r >= i; r--)
            h ^= (uint32_t)(uint8_t)key.p[r] << (8 * (r - i));
        h *= m;
    }
    h ^= h >> 13;
    h *= m;
    return h ^ h >> 15;
}

static void cruise_add_record(void *ctx, const struct cruise_record *r)
{
    struct cruise_control *c = ctx;
    int32_t partition = (int32_t)((murmur2(r->key) & INT32_MAX) % (uint32_t)c->partitions);
    struct batch_builder *b = &c->builders[partition];
    size_t size = (size_t)(r->key.len + r->value.len);
    if (b->head.count > 0 &&
        batch_builder_size(b) + size > (size_t)c->options.config->cruise_control_metrics_reporter_batch_size)
        send_batch(c, partition);
    batch_builder_add(b, &(struct record){.offset = b->head.count,
                                          .timestamp = c->now_ms,
                                          .key = {(const uint8_t *)r->key.p, r->key.len},
                                          .value = r->value});
}

/* The part of a machine that the process may use: what the control group allows, if it is asked for. */
static double cpus_of(const struct broker_config *config)
{
    double cpus = (double)MAX(sysconf(_SC_NPROCESSORS_ONLN), 1);
    long long quota, period;
    FILE *f = config->cruise_control_metrics_reporter_kubernetes_mode ? fopen("/sys/fs/cgroup/cpu.max", "re") : NULL;
    if (f == NULL)
        return cpus;
    if (fscanf(f, "%lld %lld", &quota, &period) == 2 && quota > 0 && period > 0)
        cpus = (double)quota / (double)period;
    fclose(f);
    return cpus;
}

static double cpu_load(struct cruise_control *c)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0)
        return -1;
    int64_t now = clock_mono_us();
    int64_t used = (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * INT64_C(1000000) + usage.ru_utime.tv_usec +
                   usage.ru_stime.tv_usec;
    double load = now > c->cpu_at_us
                      ? (double)(used - c->cpu_us) / (double)(now - c->cpu_at_us) / cpus_of(c->options.config)
                      : -1;
    c->cpu_us = used;
    c->cpu_at_us = now;
    return MIN(load, 1);
}

static void report(struct cruise_control *c, int32_t partitions)
{
    c->partitions = partitions;
    c->builders = xcalloc((size_t)partitions, sizeof(*c->builders));
    c->now_ms = clock_wall_ms();
    for (int32_t i = 0; i < partitions; i++)
        batch_builder_init(&c->builders[i], CODEC_GZIP);
    struct cruise_options options = {c->options.broker_id, c->now_ms,
                                     c->options.config->cruise_control_metrics_reporter_metrics_reporting_interval_ms,
                                     cpu_load(c)};
    cruise_records_make(c->options.metrics, &options, cruise_add_record, c);
    for (int32_t i = 0; i < partitions; i++) {
        if (c->builders[i].head.count > 0)
            send_batch(c, i);
        batch_builder_deinit(&c->builders[i]);
    }
    free(c->builders);
    c->builders = NULL;
}

/* ---- The topic ---- */

static void topic_answered(struct broker_call *call, enum kafka_error error)
{
    struct cruise_control *c = CONTAINER_OF(call, struct cruise_control, call);
    if (error == ERR_NONE && call->key == API_CREATE_TOPICS) {
        const struct create_topics_response *r = call->response;
        for (int32_t i = 0; i < r->topics.len; i++)
            if (r->topics.items[i].error_code != ERR_NONE && r->topics.items[i].error_code != ERR_TOPIC_ALREADY_EXISTS)
                log_warn_limited(&missing_topic, "Cannot create topic %s for Cruise Control: %s",
                                 c->options.config->cruise_control_metrics_topic,
                                 error_name((enum kafka_error)r->topics.items[i].error_code));
    }
    c->asking = false;
    arena_deinit(&c->memory);
    c->memory = (struct arena){0};
}

static void *ask_new(struct cruise_control *c, int16_t key)
{
    const struct api_spec *spec = api_spec(key);
    void *request = arena_alloc(&c->memory, spec->request->size);
    message_init(spec->request, request);
    c->asking = true;
    c->call = (struct broker_call){.key = key,
                                   .request = request,
                                   .response = arena_alloc(&c->memory, spec->response->size),
                                   .arena = &c->memory,
                                   .done = topic_answered};
    return request;
}

static void cruise_set_config(struct create_topics_creatable_topic *t, const char *name, struct str value)
{
    struct create_topics_creatable_topic_config *to = &t->configs.items[t->configs.len++];
    create_topics_creatable_topic_config_init(to);
    to->name = str_of(name);
    to->value = value;
}

static void create_topic(struct cruise_control *c)
{
    const struct broker_config *config = c->options.config;
    struct create_topics_request *request = ask_new(c, API_CREATE_TOPICS);
    request->timeout_ms = (int32_t)MIN(config->cruise_control_metrics_topic_auto_create_timeout_ms, INT32_MAX);
    ARRAY_MAKE(&c->memory, request->topics, 1);
    struct create_topics_creatable_topic *t = &request->topics.items[0];
    create_topics_creatable_topic_init(t);
    t->name = str_of(config->cruise_control_metrics_topic);
    t->num_partitions = config->cruise_control_metrics_topic_num_partitions;
    t->replication_factor = config->cruise_control_metrics_topic_replication_factor;
    ARRAY_MAKE(&c->memory, t->configs, 3);
    t->configs.len = 0;
    cruise_set_config(t, "cleanup.policy", STR_LIT("delete"));
    cruise_set_config(t, "retention.ms",
                      arena_printf(&c->memory, "%" PRId64, config->cruise_control_metrics_topic_retention_ms));
    if (config->cruise_control_metrics_topic_min_insync_replicas > 0)
        cruise_set_config(t, "min.insync.replicas",
                          arena_printf(&c->memory, "%d", config->cruise_control_metrics_topic_min_insync_replicas));
    broker_links_send(c->links, view_current()->controller_id, &c->call);
}

/* As a producer asks, for which auto.create.topics.enable may make it. */
static void ask_for_topic(struct cruise_control *c)
{
    struct metadata_request *request = ask_new(c, API_METADATA);
    ARRAY_MAKE(&c->memory, request->topics, 1);
    metadata_request_topic_init(&request->topics.items[0]);
    request->topics.items[0].name = str_of(c->options.config->cruise_control_metrics_topic);
    request->allow_auto_topic_creation = true;
    c->call.least = 4;
    broker_links_send(c->links, c->options.broker_id, &c->call);
}

static void want_topic(struct cruise_control *c)
{
    log_warn_limited(&missing_topic, "There is no topic %s yet for the metrics of Cruise Control",
                     c->options.config->cruise_control_metrics_topic);
    if (c->asking)
        return;
    if (c->options.config->cruise_control_metrics_topic_auto_create)
        create_topic(c);
    else
        ask_for_topic(c);
}

/* ---- Life ---- */

static void cruise_on_tick(struct timer *timer)
{
    struct cruise_control *c = CONTAINER_OF(timer, struct cruise_control, tick);
    int64_t interval = c->options.config->cruise_control_metrics_reporter_metrics_reporting_interval_ms;
    const struct view_topic *t = own_topic(c);
    int32_t partitions = t != NULL ? view_topic_width(t) : 0;
    if (partitions == 0) {
        want_topic(c);
        timer_start(&c->tick, MIN(interval, TOPIC_RETRY_MS));
        return;
    }
    if (c->parcels == NULL)
        report(c, partitions);
    timer_start(&c->tick, interval);
}

struct cruise_control *cruise_control_new(const struct cruise_control_options *options)
{
    struct cruise_control *c = xcalloc(1, sizeof(*c));
    c->options = *options;
    c->links = broker_links_new(options->loop, options->route, options->config,
                                options->config->cruise_control_metrics_reporter_client_id, NULL);
    timer_init(&c->tick, options->loop, cruise_on_tick);
    return c;
}

void cruise_control_begin(struct cruise_control *c)
{
    (void)cpu_load(c);
    timer_start(&c->tick,
                MIN(c->options.config->cruise_control_metrics_reporter_metrics_reporting_interval_ms, TOPIC_RETRY_MS));
}

void cruise_control_stop(struct cruise_control *c)
{
    struct parcel *p, *next;
    if (c == NULL)
        return;
    c->stopped = true;
    timer_stop(&c->tick);
    broker_links_close(c->links);
    DL_FOREACH_SAFE (c->parcels, p, next)
        cruise_parcel_free(p);
}

void cruise_control_free(struct cruise_control *c)
{
    if (c == NULL)
        return;
    broker_links_free(c->links);
    arena_deinit(&c->memory);
    free(c);
}
