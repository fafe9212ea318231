/* kafka-e2e-latency: how long a record takes from a producer to a consumer, one at a time. */
#include <errno.h>
#include <inttypes.h>

#include "base/clock.h"
#include "config/config.h"
#include "protocol/error.h"
#include "protocol/msg/create_topics.h"
#include "tools/kit/ask.h"
#include "tools/kit/rd_client.h"

static const char usage[] = "USAGE: java org.apache.kafka.tools.EndToEndLatency broker_list topic num_messages "
                            "producer_acks message_size_bytes [optional] properties_file";
static const char help[] =
    "  broker_list         the brokers to connect to, with commas in between\n"
    "  topic               made with one partition, which has one replica, if it is not there\n"
    "  num_messages        how many records are sent, each when the one before it has come back\n"
    "  producer_acks       1 or all\n"
    "  message_size_bytes  how long each is\n"
    "  properties_file     configs for producer, consumer and admin client";

enum { POLL_TIMEOUT_MS = 60000, SLICE_MS = 100, PROGRESS_EVERY = 1000 };

struct e2e {
    const char *brokers, *topic, *acks, *file;
    int32_t count, size;
    rd_kafka_t *producer, *consumer;
    rd_kafka_topic_partition_list_t *positions; /* of the consumer */
    bool delivered;
    rd_kafka_resp_err_t delivery;
    int64_t *latencies_ms, total_us;
};

/* ---- The topic ---- */

static bool e2e_create_topic(struct asker *asker, const char *topic, struct arena *a, struct fail *fail)
{
    struct create_topics_request request;
    struct create_topics_response response;
    printf("Topic \"%s\" does not exist. Will create topic with 1 partition(s) and replication factor = 1\n", topic);
    create_topics_request_init(&request);
    request.timeout_ms = ask_timeout_ms(asker);
    ARRAY_MAKE(a, request.topics, 1);
    create_topics_creatable_topic_init(&request.topics.items[0]);
    request.topics.items[0].name = str_of(topic);
    request.topics.items[0].num_partitions = 1;
    request.topics.items[0].replication_factor = 1;
    bool ok = ask(asker, ASK_CONTROLLER, API_CREATE_TOPICS, 0, &request, &response, NULL, a, fail);
    if (ok && response.topics.len == 1 && response.topics.items[0].error_code != ERR_NONE) {
        struct str why =
            ask_exception_text(a, response.topics.items[0].error_code, response.topics.items[0].error_message);
        ok = fail_set(fail, "%.*s", STR_ARGS(why));
    }
    if (!ok)
        printf("Creation of topic %s failed\n", topic);
    return ok;
}

/* How many partitions the topic has, which is made if it is not there. */
static bool e2e_find_topic(const struct e2e *e, int32_t *partitions, struct fail *fail)
{
    struct arena a = {0};
    struct metadata_response m;
    struct str topic = str_of(e->topic);
    struct asker *asker = asker_new(e->brokers, e->file, fail);
    bool ok = asker != NULL && ask_metadata(asker, &topic, 1, &m, &a, fail);
    if (ok && m.topics.len == 1) {
        int16_t error = m.topics.items[0].error_code;
        *partitions = m.topics.items[0].partitions.len;
        if (error == ERR_UNKNOWN_TOPIC_OR_PARTITION || error == ERR_INVALID_TOPIC_EXCEPTION) {
            *partitions = 1;
            ok = e2e_create_topic(asker, e->topic, &a, fail);
        } else if (error != ERR_NONE) {
            ok = fail_set(fail, "%s", error_message(error));
        }
    }
    asker_free(asker);
    arena_deinit(&a);
    return ok;
}

/* ---- Clients ---- */

static void e2e_on_delivery(rd_kafka_t *rk UNUSED, const rd_kafka_message_t *m, void *opaque)
{
    struct e2e *e = opaque;
    e->delivered = true;
    e->delivery = m->err;
}

static rd_kafka_t *e2e_client(struct e2e *e, rd_kafka_type_t type, const char *const *settings, struct fail *fail)
{
    struct rd_props props = {0};
    rd_kafka_t *rk = NULL;
    if (rd_props_read(&props, e->file, fail) && rd_props_of_client(&props, fail)) {
        rd_kafka_conf_t *conf = rd_kafka_conf_new();
        rd_props_set(&props, "bootstrap.servers", e->brokers);
        for (; *settings != NULL; settings += 2)
            rd_props_set(&props, settings[0], settings[1]);
        if (type == RD_KAFKA_PRODUCER)
            rd_kafka_conf_set_dr_msg_cb(conf, e2e_on_delivery);
        rd_kafka_conf_set_opaque(conf, e);
        rk = rd_client_new(type, &props, conf, fail);
    }
    rd_props_deinit(&props);
    return rk;
}

static bool e2e_make_clients(struct e2e *e, struct fail *fail)
{
    char group[64];
    snprintf(group, sizeof(group), "test-group-%" PRId64, clock_wall_ms());
    const char *const consumer[] = {"group.id",
                                    group,
                                    "enable.auto.commit",
                                    "false",
                                    "auto.offset.reset",
                                    "latest",
                                    "fetch.max.wait.ms",
                                    "0",
                                    "enable.partition.eof",
                                    "true",
                                    NULL};
    const char *const producer[] = {"linger.ms", "0", "acks", e->acks, NULL};
    e->consumer = e2e_client(e, RD_KAFKA_CONSUMER, consumer, fail);
    e->producer = e->consumer != NULL ? e2e_client(e, RD_KAFKA_PRODUCER, producer, fail) : NULL;
    return e->producer != NULL;
}

/* Until the consumer is at the end of all partitions: before, the first record would wait for it to begin. */
static bool e2e_await_ends(struct e2e *e, int32_t partitions, struct fail *fail)
{
    int64_t deadline = clock_mono_ms() + POLL_TIMEOUT_MS;
    while (partitions > 0 && clock_mono_ms() < deadline && !atomic_load(&tool_interrupted)) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(e->consumer, SLICE_MS);
        partitions -= m != NULL && m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
        if (m != NULL)
            rd_kafka_message_destroy(m);
    }
    return partitions == 0 || fail_set(fail, "Topic %s cannot be consumed", e->topic);
}

/* All partitions, from their ends on. */
static bool e2e_assign(struct e2e *e, int32_t partitions, struct fail *fail)
{
    rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR_NO_ERROR;
    e->positions = rd_kafka_topic_partition_list_new(partitions);
    for (int32_t p = 0; p < partitions && err == RD_KAFKA_RESP_ERR_NO_ERROR; p++) {
        int64_t start, end = 0;
        err = rd_kafka_query_watermark_offsets(e->consumer, e->topic, p, &start, &end, POLL_TIMEOUT_MS);
        rd_kafka_topic_partition_list_add(e->positions, e->topic, p)->offset = end;
    }
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
        err = rd_kafka_assign(e->consumer, e->positions);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
        return fail_set(fail, "%s", rd_kafka_err2str(err));
    return e2e_await_ends(e, partitions, fail);
}

/* Who leads the topic: asked for with the first record, librdkafka would find it a second later. */
static bool e2e_find_leaders(struct e2e *e, struct fail *fail)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(e->producer, e->topic, NULL);
    if (topic == NULL)
        return fail_set(fail, "%s", rd_kafka_err2str(rd_kafka_last_error()));
    rd_kafka_resp_err_t err = rd_kafka_metadata(e->producer, 0, topic, &metadata, POLL_TIMEOUT_MS);
    rd_kafka_topic_destroy(topic);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
        return fail_set(fail, "%s", rd_kafka_err2str(err));
    rd_kafka_metadata_destroy(metadata);
    return true;
}

static void e2e_close(struct e2e *e)
{
    if (e->positions != NULL)
        rd_kafka_topic_partition_list_destroy(e->positions);
    if (e->producer != NULL)
        rd_kafka_destroy(e->producer);
    if (e->consumer != NULL) {
        rd_kafka_consumer_close(e->consumer);
        rd_client_free(e->consumer);
    }
    free(e->latencies_ms);
}

/* ---- Records ---- */

static bool e2e_send(struct e2e *e, char *record, struct fail *fail)
{
    e->delivered = false;
    rd_kafka_resp_err_t err =
        rd_kafka_producev(e->producer, RD_KAFKA_V_TOPIC(e->topic), RD_KAFKA_V_VALUE(record, (size_t)e->size),
                          RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
    while (err == RD_KAFKA_RESP_ERR_NO_ERROR && !e->delivered)
        rd_kafka_poll(e->producer, SLICE_MS);
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
        err = e->delivery;
    return err == RD_KAFKA_RESP_ERR_NO_ERROR || fail_set(fail, "%s", rd_kafka_err2str(err));
}

/* The next record within the time; NULL: none. */
static rd_kafka_message_t *e2e_receive(struct e2e *e, int timeout_ms)
{
    int64_t deadline = clock_mono_ms() + timeout_ms;
    do {
        int64_t left = MAX(deadline - clock_mono_ms(), 0);
        rd_kafka_message_t *m = rd_kafka_consumer_poll(e->consumer, (int)MIN(left, SLICE_MS));
        if (m != NULL && m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            rd_kafka_topic_partition_t *p = rd_kafka_topic_partition_list_find(e->positions, e->topic, m->partition);
            if (p != NULL)
                p->offset = m->offset + 1;
            return m;
        }
        if (m != NULL)
            rd_kafka_message_destroy(m);
    } while (clock_mono_ms() < deadline && !atomic_load(&tool_interrupted));
    return NULL;
}

/* It must be what was sent, and the only one. */
static bool e2e_check(struct e2e *e, const char *record, const rd_kafka_message_t *m, struct fail *fail)
{
    int count = 1;
    if (m == NULL)
        return fail_set(fail, "poll() timed out before finding a result (timeout:[%d])", POLL_TIMEOUT_MS);
    if (m->len != (size_t)e->size || memcmp(m->payload, record, m->len) != 0)
        return fail_set(fail, "The message read [%.*s] did not match the message sent [%.*s]", (int)MIN(m->len, 400U),
                        (const char *)m->payload, MIN(e->size, 400), record);
    for (rd_kafka_message_t *other; (other = e2e_receive(e, 0)) != NULL; count++)
        rd_kafka_message_destroy(other);
    return count == 1 || fail_set(fail, "Only one result was expected during this test. We found [%d]", count);
}

static void e2e_print_progress(int32_t i, int64_t us)
{
    struct strbuf ms = {0};
    config_format_double((double)us / 1000.0, &ms);
    printf("%" PRId32 "\t%s\n", i, ms.p);
    fflush(stdout);
    strbuf_deinit(&ms);
}

static bool e2e_measure(struct e2e *e, struct fail *fail)
{
    char *record = xmalloc((size_t)e->size + 1);
    bool ok = true;
    for (int32_t i = 0; ok && i < e->count; i++) {
        memset(record, 'A' + (int)(random() % 26), (size_t)e->size);
        int64_t began = clock_mono_us();
        ok = e2e_send(e, record, fail);
        rd_kafka_message_t *m = ok ? e2e_receive(e, POLL_TIMEOUT_MS) : NULL;
        int64_t us = clock_mono_us() - began;
        ok = ok && e2e_check(e, record, m, fail);
        if (m != NULL)
            rd_kafka_message_destroy(m);
        if (ok && i % PROGRESS_EVERY == 0)
            e2e_print_progress(i, us);
        e->total_us += us;
        e->latencies_ms[i] = us / 1000;
    }
    free(record);
    return ok;
}

/* ---- Results ---- */

static int e2e_by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static bool e2e_print_results(struct e2e *e, struct fail *fail)
{
    static const double shares[] = {0.5, 0.99, 0.999};
    int64_t at[ARRAY_LEN(shares)];
    if (e->count == 0) {
        puts("Avg latency: NaN ms");
        return fail_set(fail, "Index 0 out of bounds for length 0");
    }
    printf("Avg latency: %.4f ms\n", (double)e->total_us / e->count / 1000.0);
    qsort(e->latencies_ms, (size_t)e->count, sizeof(*e->latencies_ms), e2e_by_value);
    for (size_t i = 0; i < ARRAY_LEN(shares); i++)
        at[i] = e->latencies_ms[(int32_t)(e->count * shares[i])];
    printf("Percentiles: 50th = %" PRId64 ", 99th = %" PRId64 ", 99.9th = %" PRId64 "\n", at[0], at[1], at[2]);
    return true;
}

/* ---- The tool ---- */

static bool e2e_number(const char *text, int32_t *out, struct fail *fail)
{
    int64_t value;
    if (!java_integer(text, INT32_MIN, INT32_MAX, &value))
        return fail_set(fail, "For input string: \"%s\"", text);
    *out = (int32_t)value;
    return true;
}

static bool e2e_read_arguments(struct e2e *e, int argc, char **argv, struct fail *fail)
{
    if (argc != 6 && argc != 7)
        return fail_set(fail, "%s", usage);
    e->brokers = argv[1];
    e->topic = argv[2];
    e->acks = argv[4];
    e->file = argc == 7 && argv[6][strspn(argv[6], " \t")] != '\0' ? argv[6] : NULL;
    if (!e2e_number(argv[3], &e->count, fail) || !e2e_number(argv[5], &e->size, fail))
        return false;
    if (strcmp(e->acks, "1") != 0 && strcmp(e->acks, "all") != 0)
        return fail_set(fail, "Latency testing requires synchronous acknowledgement. Please use 1 or all");
    if (e->count < 0 || e->size < 0)
        return fail_set(fail, "%" PRId32, e->count < 0 ? e->count : e->size);
    return true;
}

static bool e2e_run(struct e2e *e, struct fail *fail)
{
    int32_t partitions = 0;
    e->latencies_ms = xcalloc((size_t)e->count + 1, sizeof(*e->latencies_ms));
    if (!e2e_make_clients(e, fail) || !e2e_find_topic(e, &partitions, fail) || !e2e_assign(e, partitions, fail) ||
        !e2e_find_leaders(e, fail))
        return false;
    bool ok = e2e_measure(e, fail) && e2e_print_results(e, fail);
    rd_kafka_commit(e->consumer, e->positions, 0);
    return ok;
}

int tool_e2e_latency(int argc, char **argv)
{
    struct e2e e = {.count = 0};
    struct fail fail;
    if (argc > 1 && strcmp(argv[1], "--help") == 0) {
        printf("%s\n%s\n", usage, help);
        return 0;
    }
    bool ok = e2e_read_arguments(&e, argc, argv, &fail) && e2e_run(&e, &fail);
    if (!ok)
        fprintf(stderr, "%s\n", fail.text);
    e2e_close(&e);
    return ok ? 0 : 1;
}
