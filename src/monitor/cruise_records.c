#include "monitor/cruise_records.h"

#include <stdio.h>

#include "metrics/bean_ask.h"

enum { CLASS_BROKER, CLASS_TOPIC, CLASS_PARTITION };
enum { TYPE_NONE = -1, TYPE_PARTITION_SIZE = 4, TYPE_CPU = 5, TYPE_LOG_FLUSH_RATE = 40 };

/* A number of one bean: of all topics, and of one. */
static const struct {
    const char *type, *name;
    int of_broker, of_topic;
} meters[] = {
    {"BrokerTopicMetrics", "BytesInPerSec", 0, 2},
    {"BrokerTopicMetrics", "BytesOutPerSec", 1, 3},
    {"BrokerTopicMetrics", "ReplicationBytesInPerSec", 6, 11},
    {"BrokerTopicMetrics", "ReplicationBytesOutPerSec", 7, 12},
    {"BrokerTopicMetrics", "TotalProduceRequestsPerSec", 8, 13},
    {"BrokerTopicMetrics", "TotalFetchRequestsPerSec", 9, 14},
    {"BrokerTopicMetrics", "MessagesInPerSec", 10, 15},
    {"KafkaRequestHandlerPool", "RequestHandlerAvgIdlePercent", 19, TYPE_NONE},
};

static const struct {
    const char *name;
    int type;
} queues[] = {{"RequestQueueSize", 20}, {"ResponseQueueSize", 21}};

static const char *const requests[] = {"Produce", "FetchConsumer", "FetchFollower"};

enum { REQUEST_RATES = 16 }; /* of Produce, and the next two of the others */

/* Of a distribution: its largest and its mean, of Produce; the others follow. Then the middle and the 999th. */
static const struct {
    const char *type, *name;
    int max, median; /* mean and 999th come next */
    bool of_requests;
} distributions[] = {
    {"RequestMetrics", "RequestQueueTimeMs", 22, 43, true},
    {"RequestMetrics", "TotalTimeMs", 28, 49, true},
    {"RequestMetrics", "LocalTimeMs", 34, 55, true},
    {"LogFlushStats", "LogFlushRateAndTimeMs", 41, 61, false},
};

struct making {
    const struct cruise_options *options;
    void (*take)(void *ctx, const struct cruise_record *r);
    void *ctx;
    struct strbuf value, topic;
    char broker[16];
};

/* ---- One record ---- */

static void put_int32(struct strbuf *out, int32_t v)
{
    uint8_t bytes[4];
    be32_put(bytes, (uint32_t)v);
    strbuf_add(out, bytes, sizeof(bytes));
}

static void put_int64(struct strbuf *out, uint64_t v)
{
    uint8_t bytes[8];
    be64_put(bytes, v);
    strbuf_add(out, bytes, sizeof(bytes));
}

static void emit(struct making *m, int class, int type, struct str topic, int32_t partition, double value)
{
    const uint8_t head[] = {(uint8_t) class, 0, (uint8_t)type};
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    strbuf_clear(&m->value);
    strbuf_add(&m->value, head, sizeof(head));
    put_int64(&m->value, (uint64_t)m->options->now_ms);
    put_int32(&m->value, m->options->broker);
    if (class != CLASS_BROKER) {
        put_int32(&m->value, topic.len);
        strbuf_str(&m->value, topic);
    }
    if (class == CLASS_PARTITION)
        put_int32(&m->value, partition);
    put_int64(&m->value, bits);
    struct cruise_record r = {class == CLASS_TOPIC ? topic : str_of(m->broker),
                              {(const uint8_t *)m->value.p, (int32_t)m->value.len}};
    m->take(m->ctx, &r);
}

static void emit_of_broker(struct making *m, int type, double value)
{
    emit(m, CLASS_BROKER, type, STR_NULL, 0, value);
}

/* ---- Beans ---- */

static struct str cruise_topic_of(struct making *m, const struct bean *b)
{
    struct str topic = bean_key_text(b, "topic");
    if (topic.p == NULL)
        return topic;
    strbuf_clear(&m->topic);
    strbuf_str(&m->topic, topic);
    for (size_t i = 0; i < m->topic.len; i++)
        if (m->topic.p[i] == '.')
            m->topic.p[i] = '_';
    return (struct str){m->topic.p, (int32_t)m->topic.len};
}

static bool read_rate(const struct making *m, const struct bean *b, double *out)
{
    const int64_t minute = 60000;
    const char *name = m->options->interval_ms <= minute       ? "OneMinuteRate"
                       : m->options->interval_ms <= 5 * minute ? "FiveMinuteRate"
                                                               : "FifteenMinuteRate";
    return bean_attribute_number(b, name, out);
}

static void take_meter(struct making *m, const struct bean *b, struct str type, struct str name)
{
    double value;
    struct str topic = cruise_topic_of(m, b);
    for (size_t i = 0; i < ARRAY_LEN(meters); i++) {
        if (!str_is(type, meters[i].type) || !str_is(name, meters[i].name) || !read_rate(m, b, &value))
            continue;
        if (topic.p == NULL)
            emit_of_broker(m, meters[i].of_broker, value);
        else if (meters[i].of_topic != TYPE_NONE)
            emit(m, CLASS_TOPIC, meters[i].of_topic, topic, 0, value);
    }
}

static void take_distribution(struct making *m, const struct bean *b, int max, int median)
{
    const struct {
        const char *name;
        int type;
    } parts[] = {{"Max", max}, {"Mean", max + 1}, {"50thPercentile", median}, {"999thPercentile", median + 1}};
    double value;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (bean_attribute_number(b, parts[i].name, &value))
            emit_of_broker(m, parts[i].type, value);
}

static void take_of_requests(struct making *m, const struct bean *b, struct str name)
{
    struct str request = bean_key_text(b, "request");
    int which = 0;
    double value;
    while (which < (int)ARRAY_LEN(requests) && !str_is(request, requests[which]))
        which++;
    if (which == (int)ARRAY_LEN(requests))
        return;
    if (str_is(name, "RequestsPerSec") && read_rate(m, b, &value))
        emit_of_broker(m, REQUEST_RATES + which, value);
    for (size_t i = 0; i < ARRAY_LEN(distributions); i++)
        if (distributions[i].of_requests && str_is(name, distributions[i].name))
            take_distribution(m, b, distributions[i].max + 2 * which, distributions[i].median + 2 * which);
}

static bool cruise_take_log(void *ctx, const struct bean *b)
{
    struct making *m = ctx;
    int32_t partition;
    double value;
    if (bean_key_text(b, "is-future").p == NULL && str_to_int32(bean_key_text(b, "partition"), &partition) &&
        bean_attribute_number(b, "Value", &value))
        emit(m, CLASS_PARTITION, TYPE_PARTITION_SIZE, cruise_topic_of(m, b), partition, value);
    return true;
}

static bool take_flush(void *ctx, const struct bean *b)
{
    struct making *m = ctx;
    double value;
    if (bean_attribute_number(b, "FiveMinuteRate", &value)) /* always: it is no meter but a timer */
        emit_of_broker(m, TYPE_LOG_FLUSH_RATE, value);
    for (size_t i = 0; i < ARRAY_LEN(distributions); i++)
        if (!distributions[i].of_requests)
            take_distribution(m, b, distributions[i].max, distributions[i].median);
    return true;
}

static bool take_server(void *ctx, const struct bean *b)
{
    take_meter(ctx, b, bean_key_text(b, "type"), bean_key_text(b, "name"));
    return true;
}

static bool take_network(void *ctx, const struct bean *b)
{
    struct making *m = ctx;
    struct str name = bean_key_text(b, "name");
    double value;
    if (str_is(bean_key_text(b, "type"), "RequestMetrics"))
        take_of_requests(m, b, name);
    else
        for (size_t i = 0; i < ARRAY_LEN(queues); i++)
            if (str_is(name, queues[i].name) && bean_attribute_number(b, "Value", &value))
                emit_of_broker(m, queues[i].type, value);
    return true;
}

void cruise_records_make(struct metrics *m, const struct cruise_options *options,
                         void (*take)(void *ctx, const struct cruise_record *r), void *ctx)
{
    static const struct {
        const char *pattern;
        bean_visit_fn visit;
    } sources[] = {
        {"kafka.server:type=BrokerTopicMetrics,*", take_server},
        {"kafka.server:type=KafkaRequestHandlerPool,*", take_server},
        {"kafka.network:type=RequestMetrics,*", take_network},
        {"kafka.network:type=RequestChannel,*", take_network},
        {"kafka.log:type=LogFlushStats,*", take_flush},
        {"kafka.log:type=Log,name=Size,*", cruise_take_log},
    };
    struct making making = {.options = options, .take = take, .ctx = ctx};
    snprintf(making.broker, sizeof(making.broker), "%d", (int)options->broker);
    for (size_t i = 0; i < ARRAY_LEN(sources); i++)
        beans_visit(m, sources[i].pattern, sources[i].visit, &making);
    if (options->cpu >= 0)
        emit_of_broker(&making, TYPE_CPU, options->cpu);
    strbuf_deinit(&making.value);
    strbuf_deinit(&making.topic);
}
