/* kafka-producer-perf-test: how fast records are taken, and how long each takes. */
#include <inttypes.h>
#include <time.h>

#include "base/clock.h"
#include "base/strbuf.h"
#include "tools/kit/rd_client.h"

static const struct option_spec specs[] = {
    {"topic", OPTION_VALUES, "TOPIC", "produce messages to this topic", NULL},
    {"num-records", OPTION_VALUES, "NUM-RECORDS", "number of messages to produce", NULL},
    {"record-size", OPTION_VALUES, "RECORD-SIZE",
     "message size in bytes. Exactly one of --record-size, --payload-file or --payload-monotonic must be given.", NULL},
    {"payload-file", OPTION_VALUES, "PAYLOAD-FILE",
     "file to read the message payloads from: each message is one of them, at random.", NULL},
    {"payload-monotonic", OPTION_FLAG, NULL, "each message is a number, each one larger than the last.", NULL},
    {"payload-delimiter", OPTION_VALUES, "PAYLOAD-DELIMITER", "what separates payloads in the file", "\\n"},
    {"throughput", OPTION_VALUES, "THROUGHPUT",
     "limit the throughput to about so many messages a second; -1: no limit.", NULL},
    {"producer-props", OPTION_WORDS, "PROP-NAME=PROP-VALUE",
     "producer configuration such as bootstrap.servers; counts more than --producer.config.", NULL},
    {"producer.config", OPTION_VALUES, "CONFIG-FILE", "producer config properties file.", NULL},
    {"print-metrics", OPTION_FLAG, NULL, "print out metrics (librdkafka's statistics, as JSON) at the end of the test.",
     NULL},
    {"transactional-id", OPTION_VALUES, "TRANSACTIONAL-ID",
     "the transactional id to use if transaction-duration-ms is > 0.", "performance-producer-default-transactional-id"},
    {"transaction-duration-ms", OPTION_VALUES, "TRANSACTION-DURATION",
     "commit a transaction after this time; 0: no transactions.", "0"},
};

/* ---- Statistics ---- */

enum { REPORT_MS = 5000, MOST_SAMPLES = 500000 };

struct window {
    int64_t since, count, bytes, latency_ms, max_ms;
};

struct stats {
    struct window total, window;
    int32_t *samples; /* of each `every`th record */
    int64_t sample_count, every;
};

static void stats_init(struct stats *s, int64_t records)
{
    *s = (struct stats){.every = MAX(records / MIN(MAX(records, 1), MOST_SAMPLES), 1)};
    s->total.since = s->window.since = clock_mono_ms();
    s->samples = xcalloc((size_t)(records / s->every) + 1, sizeof(*s->samples));
}

static void producer_perf_add(struct window *w, int64_t bytes, int64_t latency)
{
    w->count++;
    w->bytes += bytes;
    w->latency_ms += latency;
    w->max_ms = MAX(w->max_ms, latency);
}

static void print_window(struct stats *s, int64_t now)
{
    const struct window *w = &s->window;
    double seconds = (double)(now - w->since) / 1000.0, count = (double)w->count;
    printf("%" PRId64 " records sent, %.1f records/sec (%.2f MB/sec), %.1f ms avg latency, %.1f ms max latency.\n",
           w->count, count / seconds, (double)w->bytes / seconds / 1048576.0, (double)w->latency_ms / count,
           (double)w->max_ms);
    fflush(stdout);
    s->window = (struct window){.since = now};
}

static void stats_record(struct stats *s, int64_t bytes, int64_t latency)
{
    int64_t now = clock_mono_ms();
    if (s->total.count % s->every == 0)
        s->samples[s->sample_count++] = (int32_t)latency;
    producer_perf_add(&s->total, bytes, latency);
    producer_perf_add(&s->window, bytes, latency);
    if (now - s->window.since >= REPORT_MS)
        print_window(s, now);
}

static int by_value(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static int32_t percentile(const struct stats *s, double p)
{
    return s->sample_count > 0 ? s->samples[(int64_t)(p * (double)s->sample_count)] : 0;
}

static void producer_perf_print_total(struct stats *s)
{
    const struct window *w = &s->total;
    double seconds = (double)MAX(clock_mono_ms() - w->since, 1) / 1000.0, count = (double)w->count;
    qsort(s->samples, (size_t)s->sample_count, sizeof(*s->samples), by_value);
    printf("%" PRId64 " records sent, %f records/sec (%.2f MB/sec), %.2f ms avg latency, %.2f ms max latency, %" PRId32
           " ms 50th, %" PRId32 " ms 95th, %" PRId32 " ms 99th, %" PRId32 " ms 99.9th.\n",
           w->count, count / seconds, (double)w->bytes / seconds / 1048576.0,
           w->count > 0 ? (double)w->latency_ms / count : 0.0, (double)w->max_ms, percentile(s, 0.5),
           percentile(s, 0.95), percentile(s, 0.99), percentile(s, 0.999));
}

/* ---- Payloads ---- */

struct payloads {
    uint8_t *random; /* a record of --record-size */
    int64_t size;
    struct strbuf file; /* the whole file, cut into pieces */
    struct str *pieces;
    size_t count, cap;
    uint64_t seed;
    char number[24];
};

static uint64_t next_random(uint64_t *seed)
{
    uint64_t z = (*seed += 0x9e3779b97f4a7c15); /* splitmix64 */
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

/* Whole, with any bytes; false: there is nothing. */
static bool producer_perf_slurp(const char *path, struct strbuf *out)
{
    char piece[65536];
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return false;
    for (size_t n; (n = fread(piece, 1, sizeof(piece), f)) > 0;)
        strbuf_add(out, piece, n);
    bool ok = !ferror(f) && out->len > 0;
    fclose(f);
    return ok;
}

/* Empty pieces at the end are none, as for Java. */
static void producer_perf_cut(struct payloads *p, const char *delimiter)
{
    size_t step = strlen(delimiter);
    const char *at = p->file.p, *stop = p->file.p + p->file.len;
    while (at < stop) {
        const char *end = step > 0 ? memmem(at, (size_t)(stop - at), delimiter, step) : NULL;
        bool last = end == NULL;
        end = last ? stop : end;
        p->pieces = xgrow(p->pieces, p->count + 1, &p->cap, sizeof(*p->pieces));
        p->pieces[p->count++] = (struct str){at, (int32_t)(end - at)};
        at = last ? stop : end + step;
    }
    while (p->count > 0 && p->pieces[p->count - 1].len == 0)
        p->count--;
}

static bool producer_perf_read_file(struct payloads *p, const char *path, const char *delimiter, struct fail *fail)
{
    printf("Reading payloads from: %s\n", path);
    if (!producer_perf_slurp(path, &p->file))
        return fail_set(fail, "File does not exist or empty file provided.");
    producer_perf_cut(p, delimiter);
    printf("Number of messages read: %zu\n", p->count);
    return p->count > 0 || fail_set(fail, "no payload File Path or record Size or payload-monotonic option provided");
}

static struct str next_payload(struct payloads *p, int64_t n)
{
    if (p->count > 0)
        return p->pieces[next_random(&p->seed) % p->count];
    if (p->random == NULL) {
        int len = snprintf(p->number, sizeof(p->number), "%" PRId64, n);
        return (struct str){p->number, len};
    }
    for (int64_t i = 0; i < p->size; i += 8) { /* eight letters of each random number */
        uint64_t r = next_random(&p->seed);
        for (int64_t k = i; k < MIN(i + 8, p->size); k++, r >>= 8)
            p->random[k] = (uint8_t)('A' + (r & 0xff) % 26);
    }
    return (struct str){(const char *)p->random, (int32_t)p->size};
}

/* ---- Producing ---- */

struct perf {
    rd_kafka_t *rk;
    const char *topic;
    struct payloads payloads;
    struct stats stats;
    int64_t records, transaction_ms;
    double throughput;
    char *metrics; /* the last that librdkafka gave */
};

static void producer_perf_on_delivery(rd_kafka_t *rk UNUSED, const rd_kafka_message_t *m, void *opaque)
{
    struct perf *p = opaque;
    if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR)
        stats_record(&p->stats, (int64_t)m->len, clock_mono_ms() - (int64_t)(intptr_t)m->_private);
    else
        fprintf(stderr, "%s\n", rd_kafka_err2str(m->err));
}

static int producer_perf_on_stats(rd_kafka_t *rk UNUSED, char *json, size_t len, void *opaque)
{
    struct perf *p = opaque;
    free(p->metrics);
    p->metrics = xstrndup(json, len);
    return 0;
}

static bool succeeded(rd_kafka_error_t *error, struct fail *fail)
{
    if (error == NULL)
        return true;
    fail_set(fail, "%s", rd_kafka_error_string(error));
    rd_kafka_error_destroy(error);
    return false;
}

static bool produce_one(struct perf *p, rd_kafka_topic_t *topic, int64_t n, struct fail *fail)
{
    enum { SLICE_MS = 100 };
    struct str payload = next_payload(&p->payloads, n);
    void *sent_ms = (void *)(intptr_t)clock_mono_ms();
    while (rd_kafka_produce(topic, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, (void *)(uintptr_t)payload.p,
                            (size_t)payload.len, NULL, 0, sent_ms) != 0) {
        rd_kafka_resp_err_t err = rd_kafka_last_error();
        if (err != RD_KAFKA_RESP_ERR__QUEUE_FULL &&
            p->transaction_ms > 0) /* it cannot be committed without the record */
            return fail_set(fail, "%s", rd_kafka_err2str(err));
        if (err != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
            fprintf(stderr, "%s\n", rd_kafka_err2str(err));
            break;
        }
        if (atomic_load(&tool_interrupted))
            return true;
        rd_kafka_poll(p->rk, SLICE_MS);
    }
    rd_kafka_poll(p->rk, 0);
    return true;
}

static bool produce_all(struct perf *p, struct fail *fail)
{
    bool ok = p->transaction_ms == 0 || rd_client_transact(p->rk, rd_kafka_init_transactions, fail), open = false;
    int64_t began = 0;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(p->rk, p->topic, NULL);
    stats_init(&p->stats, p->records);
    for (int64_t n = 0; ok && n < p->records && !atomic_load(&tool_interrupted); n++) {
        if (p->transaction_ms > 0 && !open) {
            ok = open = succeeded(rd_kafka_begin_transaction(p->rk), fail);
            began = clock_mono_ms();
        }
        ok = ok && produce_one(p, topic, n, fail);
        if (ok && open && clock_mono_ms() - began >= p->transaction_ms) {
            ok = rd_client_transact(p->rk, rd_kafka_commit_transaction, fail);
            open = false;
        }
        rd_client_pace(p->rk, p->stats.total.since, n + 1, p->throughput);
    }
    if (ok && open)
        ok = rd_client_transact(p->rk, rd_kafka_commit_transaction, fail);
    ok = rd_client_flush(p->rk, ok ? fail : NULL) && ok;
    rd_kafka_topic_destroy(topic);
    return ok;
}

/* ---- The tool ---- */

static bool producer_perf_check_arguments(const struct options *o)
{
    static const char *const needed[] = {"topic", "num-records", "throughput"};
    int payloads = options_has(o, "record-size") + options_has(o, "payload-file") + options_has(o, "payload-monotonic");
    for (size_t i = 0; i < ARRAY_LEN(needed); i++)
        if (!options_has(o, needed[i])) {
            options_complain(o, "argument --%s is required", needed[i]);
            return false;
        }
    if (payloads != 1) {
        options_complain(
            o, "one of the arguments --record-size --payload-file --payload-monotonic is required, and only one");
        return false;
    }
    if (options_has(o, "producer-props") || options_has(o, "producer.config"))
        return true;
    options_complain(o, "Either --producer-props or --producer.config must be specified.");
    return false;
}

static bool configure(const struct options *o, struct perf *p, struct rd_props *props, struct fail *fail)
{
    const char *delimiter = options_get(o, "payload-delimiter");
    char *end;
    if (!rd_props_read(props, options_get(o, "producer.config"), fail))
        return false;
    rd_props_add(props, options_all(o, "producer-props"));
    if (!rd_props_of_client(props, fail))
        return false;
    rd_props_default(props, "client.id", "perf-producer-client");
    rd_props_default(props, "linger.ms", "0");
    rd_props_default(props, "batch.size", "16384");
    rd_props_default(props, "queue.buffering.max.messages", "1000000");
    rd_props_default(props, "buffer.memory", "33554432");
    if (p->transaction_ms > 0)
        rd_props_set(props, "transactional.id", options_get(o, "transactional-id"));
    if (options_has(o, "print-metrics"))
        rd_props_default(props, "statistics.interval.ms", "1000");
    p->topic = options_get(o, "topic");
    p->throughput = strtod(options_get(o, "throughput"), &end);
    if (end == options_get(o, "throughput") || *end != '\0')
        return fail_set(fail, "Cannot parse argument '%s' of option throughput", options_get(o, "throughput"));
    if (options_has(o, "record-size"))
        p->payloads.random = xcalloc(1, (size_t)p->payloads.size + 8);
    if (options_has(o, "payload-file"))
        return producer_perf_read_file(&p->payloads, options_get(o, "payload-file"),
                                       strcmp(delimiter, "\\n") == 0 ? "\n" : delimiter, fail);
    return true;
}

static bool producer_perf_run(const struct options *o, struct perf *p, struct rd_props *props, struct fail *fail)
{
    if (!configure(o, p, props, fail))
        return false;
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_dr_msg_cb(conf, producer_perf_on_delivery);
    rd_kafka_conf_set_stats_cb(conf, producer_perf_on_stats);
    rd_kafka_conf_set_opaque(conf, p);
    p->rk = rd_client_new(RD_KAFKA_PRODUCER, props, conf, fail);
    if (p->rk == NULL)
        return false;
    bool ok = produce_all(p, fail);
    if (ok)
        producer_perf_print_total(&p->stats);
    if (ok && options_has(o, "print-metrics"))
        puts(p->metrics != NULL ? p->metrics : "{}");
    rd_kafka_destroy(p->rk);
    return ok;
}

int tool_producer_perf(int argc, char **argv)
{
    struct options o;
    struct fail fail;
    struct rd_props props = {0};
    struct perf p = {.records = 0};
    int code = OPTIONS_PARSE_BY(OPTIONS_ARGPARSE, &o, specs, argc, argv,
                                "This tool is used to verify the producer performance.");
    tool_catch_signals();
    if (code < 0 &&
        !(producer_perf_check_arguments(&o) && options_number(&o, "num-records", 0, INT64_MAX, &p.records) &&
          options_number(&o, "record-size", 0, INT32_MAX / 2, &p.payloads.size) &&
          options_number(&o, "transaction-duration-ms", 0, INT32_MAX, &p.transaction_ms)))
        code = 1;
    if (code < 0) {
        code = producer_perf_run(&o, &p, &props, &fail) ? 0 : 1;
        if (code != 0)
            fprintf(stderr, "%s\n", fail.text);
    }
    free(p.payloads.random);
    strbuf_deinit(&p.payloads.file);
    free(p.payloads.pieces);
    free(p.stats.samples);
    free(p.metrics);
    rd_props_deinit(&props);
    options_free(&o);
    return code;
}
