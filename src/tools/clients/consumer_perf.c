/* kafka-consumer-perf-test: how fast records are read. */
#include <inttypes.h>
#include <unistd.h>

#include "base/clock.h"
#include "logging/date_format.h"
#include "tools/kit/java_time.h"
#include "tools/kit/rd_client.h"

static const struct option_spec specs[] = {
    {"bootstrap-server", OPTION_VALUE, "server to connect to",
     "REQUIRED unless --broker-list is specified. The server(s) to connect to.", NULL},
    {"broker-list", OPTION_VALUE, "broker-list",
     "DEPRECATED, use --bootstrap-server instead; ignored if that is given.", NULL},
    {"topic", OPTION_VALUE, "topic", "REQUIRED: The topic to consume from.", NULL},
    {"messages", OPTION_VALUE, "count", "REQUIRED: The number of messages to consume", NULL},
    {"group", OPTION_VALUE, "gid", "The group id to consume on. Default: a new one.", NULL},
    {"fetch-size", OPTION_VALUE, "size", "The amount of data to fetch in a single request, of each partition.",
     "1048576"},
    {"from-latest", OPTION_FLAG, NULL,
     "If the consumer has no offset yet, start with the latest message rather than the earliest.", NULL},
    {"socket-buffer-size", OPTION_VALUE, "size", "The size of the TCP receive buffer.", "2097152"},
    {"threads", OPTION_VALUE, "count", "DEPRECATED AND IGNORED: Number of processing threads.", "10"},
    {"num-fetch-threads", OPTION_VALUE, "count", "DEPRECATED AND IGNORED: Number of fetcher threads.", "1"},
    {"consumer.config", OPTION_VALUE, "config file", "Consumer config properties file.", NULL},
    {"print-metrics", OPTION_FLAG, NULL, "Print out the metrics (librdkafka's statistics, as JSON).", NULL},
    {"show-detailed-stats", OPTION_FLAG, NULL, "Print figures for each interval of --reporting-interval.", NULL},
    {"timeout", OPTION_VALUE, "milliseconds", "The maximum allowed time in milliseconds between returned records.",
     "10000"},
    {"reporting-interval", OPTION_VALUE, "interval_ms", "Interval in milliseconds at which to print progress.", "5000"},
    {"date-format", OPTION_VALUE, "date format", "How to print times, as Java's SimpleDateFormat has it.",
     "yyyy-MM-dd HH:mm:ss:SSS"},
    {"hide-header", OPTION_FLAG, NULL, "Leave out the line with the names of the figures.", NULL},
};

struct perf {
    rd_kafka_t *rk;
    int64_t messages, timeout_ms, interval_ms;
    bool detailed;
    const char *date_format;
    int64_t count, bytes;
    int64_t join_started_ms, join_ms, join_in_interval_ms;
    char *metrics;
};

/* ---- Printing ---- */

static void print_date(const char *format, int64_t wall_ms)
{
    struct strbuf text = {0};
    date_format_put(format, wall_ms, false, &text);
    fputs(text.len > 0 ? text.p : "", stdout);
    strbuf_deinit(&text);
}

static double per_second(double amount, int64_t ms)
{
    return ms <= 0 ? 0.0 : 1000.0 * amount / (double)ms;
}

static double megabytes(int64_t bytes)
{
    return (double)bytes / 1048576.0;
}

static void print_header(bool detailed)
{
    printf(
        "%s, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, fetch.MB.sec, "
        "fetch.nMsg.sec\n",
        detailed ? "time, threadId" : "start.time, end.time");
}

static void print_interval(const struct perf *p, int64_t ms, int64_t bytes, int64_t count)
{
    int64_t fetching = ms - p->join_in_interval_ms;
    print_date(p->date_format, clock_wall_ms());
    printf(", 0, %.4f, %.4f, %" PRId64 ", %.4f, %" PRId64 ", %" PRId64 ", %.4f, %.4f\n", megabytes(p->bytes),
           per_second(megabytes(bytes), ms), p->count, per_second((double)count, ms), p->join_in_interval_ms, fetching,
           per_second(megabytes(bytes), fetching), per_second((double)count, fetching));
    fflush(stdout);
}

static void consumer_perf_print_total(const struct perf *p, int64_t started_wall, int64_t ms)
{
    int64_t fetching = ms - p->join_ms;
    print_date(p->date_format, started_wall);
    printf(", ");
    print_date(p->date_format, started_wall + ms);
    printf(", %.4f, %.4f, %" PRId64 ", %.4f, %" PRId64 ", %" PRId64 ", %.4f, %.4f\n", megabytes(p->bytes),
           per_second(megabytes(p->bytes), ms), p->count, per_second((double)p->count, ms), p->join_ms, fetching,
           per_second(megabytes(p->bytes), fetching), per_second((double)p->count, fetching));
}

/* ---- Consuming ---- */

static void consumer_perf_on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err, rd_kafka_topic_partition_list_t *list,
                                       void *opaque)
{
    struct perf *p = opaque;
    if (err != RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        p->join_started_ms = clock_mono_ms();
        rd_client_assign(rk, list, false);
        return;
    }
    int64_t took = clock_mono_ms() - p->join_started_ms;
    p->join_ms += took;
    p->join_in_interval_ms += took;
    rd_client_assign(rk, list, true);
}

static int consumer_perf_on_stats(rd_kafka_t *rk UNUSED, char *json, size_t len, void *opaque)
{
    struct perf *p = opaque;
    free(p->metrics);
    p->metrics = xstrndup(json, len);
    return 0;
}

/* False if Java's consumer would end by what has come. */
static bool consumer_perf_take(struct perf *p, const rd_kafka_message_t *m, struct fail *fail)
{
    if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        p->count++;
        p->bytes += (int64_t)(m->len + m->key_len);
        return true;
    }
    if (rd_client_ends_by(m))
        return fail_set(fail, "%s", rd_kafka_message_errstr(m));
    fprintf(stderr, "WARN %s\n", rd_kafka_message_errstr(m));
    return true;
}

static bool consumer_perf_take_all(struct perf *p, rd_kafka_message_t **batch, ssize_t n, struct fail *fail)
{
    bool ok = true;
    for (ssize_t i = 0; i < n; i++) {
        ok = ok && consumer_perf_take(p, batch[i], fail);
        rd_kafka_message_destroy(batch[i]);
    }
    return ok;
}

static bool consumer_perf_consume(struct perf *p, rd_kafka_queue_t *queue, struct fail *fail)
{
    enum { MOST_AT_ONCE = 1000, SLICE_MS = 100 };
    rd_kafka_message_t *batch[MOST_AT_ONCE];
    int64_t now = clock_mono_ms(), last_message = now, reported = now, reported_bytes = 0, reported_count = 0;
    while (p->count < p->messages && now - last_message <= p->timeout_ms && !atomic_load(&tool_interrupted)) {
        ssize_t n = rd_kafka_consume_batch_queue(queue, SLICE_MS, batch, MOST_AT_ONCE);
        int64_t before = p->count;
        now = clock_mono_ms();
        if (!consumer_perf_take_all(p, batch, n, fail))
            return false;
        if (p->count > before)
            last_message = now;
        if (now - reported >= p->interval_ms) {
            if (p->detailed)
                print_interval(p, now - reported, p->bytes - reported_bytes, p->count - reported_count);
            p->join_in_interval_ms = 0;
            reported = now;
            reported_bytes = p->bytes;
            reported_count = p->count;
        }
    }
    if (p->count < p->messages)
        printf("WARNING: Exiting before consuming the expected number of messages: timeout (%" PRId64
               " ms) exceeded. You can use the --timeout option to increase the timeout.\n",
               p->timeout_ms);
    return true;
}

static bool measure(struct perf *p, const char *topic, struct fail *fail)
{
    int64_t started = clock_mono_ms(), started_wall = clock_wall_ms();
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, RD_KAFKA_PARTITION_UA);
    p->join_started_ms = started;
    rd_kafka_resp_err_t err = rd_kafka_subscribe(p->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
        return fail_set(fail, "%s", rd_kafka_err2str(err));
    rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(p->rk);
    bool ok = consumer_perf_consume(p, queue, fail);
    rd_kafka_queue_destroy(queue);
    int64_t took = clock_mono_ms() - started;
    rd_kafka_consumer_close(p->rk);
    if (ok && !p->detailed)
        consumer_perf_print_total(p, started_wall, took);
    return ok;
}

/* ---- The tool ---- */

static bool consumer_perf_check_arguments(const struct options *o)
{
    if (options_has(o, "threads") || options_has(o, "num-fetch-threads"))
        puts("WARNING: option [threads] and [num-fetch-threads] have been deprecated and will be ignored by the test");
    if (!options_has(o, "bootstrap-server") && !options_has(o, "broker-list")) {
        options_complain(o, "Missing required option(s) [bootstrap-server]");
        return false;
    }
    return options_need(o, "topic") && options_need(o, "messages");
}

static bool consumer_perf_make_props(const struct options *o, struct rd_props *props, struct fail *fail)
{
    char group[64];
    if (!rd_props_read(props, options_get(o, "consumer.config"), fail) || !rd_props_of_client(props, fail))
        return false;
    snprintf(group, sizeof(group), "perf-consumer-%d", (int)(getpid() % 100000));
    rd_props_set(props, "bootstrap.servers",
                 options_get(o, options_has(o, "bootstrap-server") ? "bootstrap-server" : "broker-list"));
    rd_props_set(props, "group.id", options_has(o, "group") ? options_get(o, "group") : group);
    rd_props_set(props, "receive.buffer.bytes", options_get(o, "socket-buffer-size"));
    rd_props_set(props, "max.partition.fetch.bytes", options_get(o, "fetch-size"));
    rd_props_set(props, "auto.offset.reset", options_has(o, "from-latest") ? "latest" : "earliest");
    rd_props_set(props, "check.crcs", "false");
    rd_props_default(props, "client.id", "perf-consumer-client");
    rd_props_default(props, "queued.min.messages", "1000000");
    rd_props_default(props, "queued.max.messages.kbytes", "262144");
    if (options_has(o, "print-metrics"))
        rd_props_default(props, "statistics.interval.ms", "1000");
    return true;
}

static bool consumer_perf_run(const struct options *o, struct perf *p, struct rd_props *props, struct fail *fail)
{
    if (!consumer_perf_make_props(o, props, fail))
        return false;
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_rebalance_cb(conf, consumer_perf_on_rebalance);
    rd_kafka_conf_set_stats_cb(conf, consumer_perf_on_stats);
    rd_kafka_conf_set_opaque(conf, p);
    p->rk = rd_client_new(RD_KAFKA_CONSUMER, props, conf, fail);
    if (p->rk == NULL)
        return false;
    rd_kafka_poll_set_consumer(p->rk);
    if (!options_has(o, "hide-header"))
        print_header(p->detailed);
    bool ok = measure(p, options_get(o, "topic"), fail);
    if (ok && options_has(o, "print-metrics"))
        puts(p->metrics != NULL ? p->metrics : "{}");
    rd_client_free(p->rk);
    return ok;
}

int tool_consumer_perf(int argc, char **argv)
{
    struct options o;
    struct fail fail;
    struct rd_props props = {0};
    struct perf p = {.messages = 0};
    int code = OPTIONS_PARSE(&o, specs, argc, argv, "This tool is used to verify the consumer performance.");
    tool_catch_signals();
    if (code < 0 && !(consumer_perf_check_arguments(&o) && options_number(&o, "messages", 0, INT64_MAX, &p.messages) &&
                      options_number(&o, "timeout", 0, INT64_MAX, &p.timeout_ms) &&
                      options_number(&o, "reporting-interval", 1, INT64_MAX, &p.interval_ms)))
        code = 1;
    if (code < 0) {
        p.detailed = options_has(&o, "show-detailed-stats");
        p.date_format = options_get(&o, "date-format");
        code = java_date_format_check(p.date_format, &fail) && consumer_perf_run(&o, &p, &props, &fail) ? 0 : 1;
        if (code != 0)
            fprintf(stderr, "%s\n", fail.text);
    }
    free(p.metrics);
    rd_props_deinit(&props);
    options_free(&o);
    return code;
}
