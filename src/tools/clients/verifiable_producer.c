/* kafka-verifiable-producer: sends increasing numbers, and tells of each whether it was acknowledged. */
#include <inttypes.h>

#include "base/clock.h"
#include "protocol/error.h"
#include "tools/clients/verifiable.h"
#include "tools/kit/ask.h"

static const struct option_spec specs[] = {
    {"topic", OPTION_VALUES, "TOPIC", "REQUIRED: Produce messages to this topic.", NULL},
    {"bootstrap-server", OPTION_VALUES, "HOST1:PORT1,...", "REQUIRED: The server(s) to connect to.", NULL},
    {"broker-list", OPTION_VALUES, "HOST1:PORT1,...", "DEPRECATED, use --bootstrap-server instead.", NULL},
    {"max-messages", OPTION_VALUES, "MAX-MESSAGES", "Produce this many messages; below 0: until a signal.", "-1"},
    {"throughput", OPTION_VALUES, "THROUGHPUT", "About so many messages a second; below 0: as many as go.", "-1"},
    {"acks", OPTION_VALUES, "ACKS", "Acknowledgements that each message needs: 0, 1 or -1.", "-1"},
    {"producer.config", OPTION_VALUES, "CONFIG_FILE", "Producer properties file; it counts more than --acks.", NULL},
    {"message-create-time", OPTION_VALUES, "CREATETIME",
     "Messages are created at that time, in milliseconds since the epoch, and later.", "-1"},
    {"value-prefix", OPTION_VALUES, "VALUE-PREFIX", "A number that comes before each value, with a dot between.", NULL},
    {"repeating-keys", OPTION_VALUES, "REPEATING-KEYS",
     "Messages have keys from 0 up to this number, which is not among them, and then from 0 again.", NULL},
};

static const char purpose[] =
    "This tool produces increasing integers to the specified topic and prints JSON metadata to stdout on each \"send\" "
    "request, making externally visible which messages have been acked and which have not.";

struct verifiable_producer {
    rd_kafka_t *rk;
    const char *topic;
    int64_t max_messages, throughput;
    int64_t create_time; /* of the next message; below 0: now */
    int64_t prefix;      /* below 0: none */
    int64_t keys;        /* below 1: none */
    int64_t began_ms, sent, acked;
};

enum { NO_PREFIX = INT32_MIN };

/* ---- Events ---- */

static struct str exception_of(rd_kafka_resp_err_t err, struct arena *a)
{
    if (err > 0)
        return ask_exception_name(a, (int16_t)err);
    bool late = err == RD_KAFKA_RESP_ERR__MSG_TIMED_OUT || err == RD_KAFKA_RESP_ERR__TIMED_OUT;
    return late ? STR_LIT("org.apache.kafka.common.errors.TimeoutException")
                : STR_LIT("org.apache.kafka.common.KafkaException");
}

static void tell_failure(const struct verifiable_producer *p, json_t *key, json_t *value, rd_kafka_resp_err_t err)
{
    struct arena a = {0};
    json_t *event = verifiable_event_new("producer_send_error");
    struct str name = exception_of(err, &a), class_name = arena_printf(&a, "class %.*s", STR_ARGS(name));
    json_object_set_new(event, "topic", event_text(p->topic, strlen(p->topic)));
    json_object_set_new(event, "key", key);
    json_object_set_new(event, "value", value);
    json_object_set_new(event, "exception", event_text(class_name.p, (size_t)class_name.len));
    json_object_set_new(event, "message", json_string(err > 0 ? error_message((int16_t)err) : rd_kafka_err2str(err)));
    event_print(event);
    arena_deinit(&a);
}

static void tell_success(const rd_kafka_message_t *m, json_t *key, json_t *value)
{
    json_t *event = verifiable_event_new("producer_send_success");
    json_object_set_new(event, "key", key);
    json_object_set_new(event, "value", value);
    json_object_set_new(event, "offset", json_integer(m->offset));
    json_object_set_new(event, "topic", json_string(rd_kafka_topic_name(m->rkt)));
    json_object_set_new(event, "partition", json_integer(m->partition));
    event_print(event);
}

static void verifiable_producer_on_delivery(rd_kafka_t *rk UNUSED, const rd_kafka_message_t *m, void *opaque)
{
    struct verifiable_producer *p = opaque;
    json_t *key = event_text(m->key, m->key_len), *value = event_text(m->payload, m->len);
    if (m->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        tell_failure(p, key, value, m->err);
        return;
    }
    p->acked++;
    tell_success(m, key, value);
}

static void tell_summary(const struct verifiable_producer *p)
{
    int64_t elapsed = clock_mono_ms() - p->began_ms;
    json_t *event = verifiable_event_new("tool_data");
    json_object_set_new(event, "sent", json_integer(p->sent));
    json_object_set_new(event, "acked", json_integer(p->acked));
    json_object_set_new(event, "target_throughput", json_integer(p->throughput));
    json_object_set_new(event, "avg_throughput", json_real(1000.0 * (double)p->acked / (double)MAX(elapsed, 1)));
    event_print(event);
}

/* ---- Sending ---- */

static void send_number(struct verifiable_producer *p, int64_t n)
{
    enum { WAIT_MS = 100 };
    char value[64], digits[32];
    bool prefixed = p->prefix != NO_PREFIX;
    size_t value_len = (size_t)(prefixed ? snprintf(value, sizeof(value), "%" PRId64 ".%" PRId64, p->prefix, n)
                                         : snprintf(value, sizeof(value), "%" PRId64, n));
    size_t key_len = p->keys > 0 ? (size_t)snprintf(digits, sizeof(digits), "%" PRId64, n % p->keys) : 0;
    char *key = p->keys > 0 ? digits : NULL;
    rd_kafka_resp_err_t err;
    do { /* looks afterwards: a refused login gives up what is waiting, once */
        err = rd_kafka_producev(p->rk, RD_KAFKA_V_TOPIC(p->topic), RD_KAFKA_V_KEY(key, key_len),
                                RD_KAFKA_V_VALUE(value, value_len), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                                RD_KAFKA_V_TIMESTAMP(MAX(p->create_time, 0)), RD_KAFKA_V_END);
        rd_kafka_poll(p->rk, err == RD_KAFKA_RESP_ERR__QUEUE_FULL ? WAIT_MS : 0);
    } while (err == RD_KAFKA_RESP_ERR__QUEUE_FULL);
    p->sent++;
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
        tell_failure(p, event_text(key, key_len), event_text(value, value_len), err);
    if (p->create_time >= 0) /* further each time: so does Kafka's */
        p->create_time += clock_mono_ms() - p->began_ms;
}

static void produce(struct verifiable_producer *p)
{
    p->began_ms = clock_mono_ms();
    event_print_plain("startup_complete");
    for (int64_t n = 0; (p->max_messages < 0 || n < p->max_messages) && !atomic_load(&tool_interrupted); n++) {
        send_number(p, n);
        rd_client_pace(p->rk, p->began_ms, n + 1, (double)p->throughput);
    }
    rd_kafka_flush(p->rk, -1);
    event_print_plain("shutdown_complete");
    tell_summary(p);
}

/* ---- The tool ---- */

static bool check_acks(const struct options *o)
{
    const char *acks = options_get(o, "acks");
    if (strcmp(acks, "0") == 0 || strcmp(acks, "1") == 0 || strcmp(acks, "-1") == 0)
        return true;
    options_complain(o, "argument --acks: invalid choice: %s (choose from {0,1,-1})", acks);
    return false;
}

static bool verifiable_producer_read_options(const struct options *o, struct verifiable_producer *p)
{
    p->topic = options_get(o, "topic");
    return verifiable_need(o, "topic") && verifiable_bootstrap(o) != NULL && check_acks(o) &&
           options_number(o, "max-messages", INT32_MIN, INT32_MAX, &p->max_messages) &&
           options_number(o, "throughput", INT32_MIN, INT32_MAX, &p->throughput) &&
           options_number(o, "message-create-time", INT64_MIN, INT64_MAX, &p->create_time) &&
           options_number(o, "value-prefix", INT32_MIN + 1, INT32_MAX, &p->prefix) &&
           options_number(o, "repeating-keys", INT32_MIN, INT32_MAX, &p->keys);
}

static bool verifiable_producer_run(const struct options *o, struct verifiable_producer *p, struct fail *fail)
{
    struct rd_props props = {0};
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_props_set(&props, "bootstrap.servers", verifiable_bootstrap(o));
    rd_props_set(&props, "acks", options_get(o, "acks"));
    rd_props_set(&props, "retries", "0");
    bool ok = rd_props_read(&props, options_get(o, "producer.config"), fail) && rd_props_of_client(&props, fail);
    rd_props_default(&props, "linger.ms", "0");
    rd_kafka_conf_set_dr_msg_cb(conf, verifiable_producer_on_delivery);
    rd_kafka_conf_set_opaque(conf, p);
    if (!ok)
        rd_kafka_conf_destroy(conf);
    p->rk = ok ? rd_client_new(RD_KAFKA_PRODUCER, &props, conf, fail) : NULL;
    if (p->rk != NULL) {
        produce(p);
        rd_kafka_destroy(p->rk);
    }
    rd_props_deinit(&props);
    return p->rk != NULL;
}

int tool_verifiable_producer(int argc, char **argv)
{
    struct options o;
    struct fail fail;
    struct verifiable_producer p = {.max_messages = -1, .throughput = -1, .create_time = -1, .prefix = NO_PREFIX};
    int code = verifiable_parse(&o, specs, ARRAY_LEN(specs), argc, argv, purpose);
    tool_catch_signals();
    if (code < 0)
        code = verifiable_producer_read_options(&o, &p) ? -1 : 1;
    if (code < 0) {
        code = verifiable_producer_run(&o, &p, &fail) ? 0 : 1;
        if (code != 0)
            fprintf(stderr, "%s\n", fail.text);
    }
    options_free(&o);
    return code;
}
