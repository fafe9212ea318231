/* kafka-console-producer: sends the lines of standard input as records. */
#include <inttypes.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "tools/kit/rd_client.h"

static const struct option_spec specs[] = {
    {"topic", OPTION_VALUE, "topic", "REQUIRED: The topic to produce messages to.", NULL},
    {"bootstrap-server", OPTION_VALUE, "server to connect to",
     "REQUIRED unless --broker-list is specified. The server(s) to connect to, as HOST1:PORT1,HOST2:PORT2.", NULL},
    {"broker-list", OPTION_VALUE, "broker-list",
     "DEPRECATED, use --bootstrap-server instead; ignored if that is given.", NULL},
    {"sync", OPTION_FLAG, NULL, "Send one message at a time, and wait for its answer.", NULL},
    {"compression-codec", OPTION_OPTIONAL, "compression-codec",
     "'none', 'gzip', 'snappy', 'lz4' or 'zstd'. Without a value: 'gzip'.", NULL},
    {"batch-size", OPTION_VALUE, "size",
     "Size of a batch in bytes; --max-partition-memory-bytes counts more. Sets `batch.size`.", "16384"},
    {"message-send-max-retries", OPTION_VALUE, "number",
     "How often to send a message again before giving up. Sets `retries`.", "3"},
    {"retry-backoff-ms", OPTION_VALUE, "ms", "How long to wait before sending again. Sets `retry.backoff.ms`.", "100"},
    {"timeout", OPTION_VALUE, "timeout_ms", "How long a message waits for others to make a batch. Sets `linger.ms`.",
     "1000"},
    {"request-required-acks", OPTION_VALUE, "request required acks", "The `acks` of the producer's requests.", "-1"},
    {"request-timeout-ms", OPTION_VALUE, "request timeout ms",
     "How long a broker may take to acknowledge. Sets `request.timeout.ms`.", "1500"},
    {"metadata-expiry-ms", OPTION_VALUE, "metadata expiration interval",
     "After how long to ask anew who leads what. Sets `metadata.max.age.ms`.", "300000"},
    {"max-block-ms", OPTION_VALUE, "max block on send",
     "How long a send may wait for room in the queue. Sets `max.block.ms`.", "60000"},
    {"max-memory-bytes", OPTION_VALUE, "total memory in bytes",
     "Memory for messages that wait to be sent. Sets `buffer.memory`.", "33554432"},
    {"max-partition-memory-bytes", OPTION_VALUE, "memory in bytes per partition",
     "Size of a partition's batch. Sets `batch.size`.", "16384"},
    {"line-reader", OPTION_VALUE, "reader_class", "Only the default, which reads each line as a message, is there.",
     "org.apache.kafka.tools.LineMessageReader"},
    {"socket-buffer-size", OPTION_VALUE, "size", "Size of the TCP send buffer. Sets `send.buffer.bytes`.", "102400"},
    {"property", OPTION_VALUES, "prop",
     "key=value for the reader of lines:\n parse.key=false\n parse.headers=false\n ignore.error=false\n key.separator=\\t\n headers.delimiter=\\t\n headers.separator=,\n headers.key.separator=:\n null.marker= (when set, a field equal to it is null)\nWith parse.headers and parse.key: \"h1:v1,h2:v2...\\tkey\\tvalue\".",
     NULL},
    {"reader-config", OPTION_VALUE, "config file", "Properties file for the reader of lines; --property counts more.",
     NULL},
    {"producer-property", OPTION_VALUES, "producer_prop", "key=value for the producer.", NULL},
    {"producer.config", OPTION_VALUE, "config file", "Producer properties file; --producer-property counts more.",
     NULL},
};

/* ---- Reading lines ---- */

struct line_reader {
    bool parse_key, parse_headers, ignore_error;
    const char *key_separator, *headers_delimiter, *headers_separator, *headers_key_separator, *null_marker;
    int64_t line_number;
};

static const char *text_or(const struct rd_props *p, const char *name, const char *fallback)
{
    const char *text = rd_props_get(p, name);
    return text != NULL ? text : fallback;
}

static bool reader_configure(struct line_reader *r, const struct rd_props *p, struct fail *fail)
{
    *r = (struct line_reader){.parse_key = rd_props_is(p, "parse.key", "true"),
                              .parse_headers = rd_props_is(p, "parse.headers", "true"),
                              .ignore_error = rd_props_is(p, "ignore.error", "true"),
                              .key_separator = text_or(p, "key.separator", "\t"),
                              .headers_delimiter = text_or(p, "headers.delimiter", "\t"),
                              .headers_separator = text_or(p, "headers.separator", ","),
                              .headers_key_separator = text_or(p, "headers.key.separator", ":"),
                              .null_marker = rd_props_get(p, "null.marker")};
    const struct {
        const char *a, *b, *names;
    } pairs[] = {{r->headers_delimiter, r->headers_separator, "headers.delimiter and headers.separator"},
                 {r->headers_delimiter, r->headers_key_separator, "headers.delimiter and headers.key.separator"},
                 {r->headers_separator, r->headers_key_separator, "headers.separator and headers.key.separator"},
                 {r->null_marker, r->key_separator, "null.marker and key.separator"},
                 {r->null_marker, r->headers_separator, "null.marker and headers.separator"},
                 {r->null_marker, r->headers_delimiter, "null.marker and headers.delimiter"},
                 {r->null_marker, r->headers_key_separator, "null.marker and headers.key.separator"}};
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
        if (pairs[i].a != NULL && strcmp(pairs[i].a, pairs[i].b) == 0)
            return fail_set(fail, "%s may not be equal", pairs[i].names);
    return true;
}

struct line_record {
    struct str key, value;
    rd_kafka_headers_t *headers; /* NULL: none */
};

static struct str or_null(const struct line_reader *r, struct str s)
{
    return r->null_marker != NULL && str_is(s, r->null_marker) ? STR_NULL : s;
}

/* Takes what comes before the separator off `rest`. Without one: the whole if errors are ignored, else an error. */
static bool split(const struct line_reader *r, struct str *rest, const char *separator, const char *what,
                  struct str *out, struct fail *fail)
{
    const char *at = memmem(rest->p, (size_t)rest->len, separator, strlen(separator));
    *out = STR_NULL;
    if (at == NULL)
        return r->ignore_error || fail_set(fail, "No %s found on line number %lld: '%.*s'", what,
                                           (long long)r->line_number, STR_ARGS(*rest));
    *out = (struct str){rest->p, (int32_t)(at - rest->p)};
    int32_t skip = out->len + (int32_t)strlen(separator);
    *rest = (struct str){rest->p + skip, rest->len - skip};
    return true;
}

/* What comes before the separator; an empty one stands behind each character. False: there is no more. */
static bool next_pair(const char *separator, struct str *rest, struct str *pair)
{
    size_t step = strlen(separator);
    if (rest->p == NULL)
        return false;
    int32_t len = MIN(rest->len, 1);
    while (step == 0 && len < rest->len && ((uint8_t)rest->p[len] & 0xc0) == 0x80) /* the rest of a character */
        len++;
    const char *end = step > 0 ? memmem(rest->p, (size_t)rest->len, separator, step) : NULL;
    if (step > 0)
        len = end != NULL ? (int32_t)(end - rest->p) : rest->len;
    *pair = (struct str){rest->p, len};
    int32_t taken = len + (int32_t)step;
    *rest = taken < rest->len || end != NULL ? (struct str){rest->p + taken, rest->len - taken} : STR_NULL;
    return true;
}

static bool parse_header(const struct line_reader *r, struct str pair, struct line_record *out, struct fail *fail)
{
    size_t key_separator = strlen(r->headers_key_separator);
    const char *colon = memmem(pair.p, (size_t)pair.len, r->headers_key_separator, key_separator);
    if (colon == NULL && !r->ignore_error)
        return fail_set(fail, "No header key separator found in pair '%.*s' on line number %lld", STR_ARGS(pair),
                        (long long)r->line_number);
    struct str key = {pair.p, colon != NULL ? (int32_t)(colon - pair.p) : pair.len};
    struct str value =
        colon != NULL ? (struct str){colon + key_separator, pair.len - key.len - (int32_t)key_separator} : STR_NULL;
    if (colon != NULL && or_null(r, key).p == NULL)
        return fail_set(fail, "Header keys should not be equal to the null marker '%s' as they can't be null",
                        r->null_marker);
    value = or_null(r, value);
    rd_kafka_header_add(out->headers, key.p, key.len, value.p, value.len);
    return true;
}

/* As Java's split() finds them: those at the end that are empty are none, unless nothing was split. */
static bool parse_headers(const struct line_reader *r, struct str text, struct line_record *out, struct fail *fail)
{
    struct str pair;
    int32_t empty = 0; /* of which it is not known yet whether they are at the end */
    out->headers = rd_kafka_headers_new(8);
    if (text.len == 0)
        return parse_header(r, text, out, fail);
    while (next_pair(r->headers_separator, &text, &pair)) {
        if (pair.len == 0) {
            empty++;
            continue;
        }
        for (; empty > 0; empty--)
            if (!parse_header(r, STR_LIT(""), out, fail))
                return false;
        if (!parse_header(r, pair, out, fail))
            return false;
    }
    return true;
}

static bool parse_line(struct line_reader *r, struct str line, struct line_record *out, struct fail *fail)
{
    struct str headers = STR_NULL;
    *out = (struct line_record){.key = STR_NULL};
    r->line_number++;
    if (r->parse_headers && !split(r, &line, r->headers_delimiter, "headers delimiter", &headers, fail))
        return false;
    if (r->parse_key && !split(r, &line, r->key_separator, "key separator", &out->key, fail))
        return false;
    out->key = or_null(r, out->key);
    out->value = or_null(r, line);
    headers = or_null(r, headers);
    return headers.p == NULL || parse_headers(r, headers, out, fail);
}

/* ---- Sending ---- */

struct producer {
    rd_kafka_t *rk;
    const char *topic;
    bool sync, failed;
    int64_t max_block_ms;
};

static void console_producer_print_size(struct str s)
{
    if (s.p != NULL)
        fprintf(stderr, "%" PRId32 " bytes", s.len);
    else
        fputs("null", stderr);
}

static const char *failure_reason(rd_kafka_resp_err_t err)
{
    return err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE
               ? "The message is larger than max.request.size, or than the broker takes"
               : rd_kafka_err2str(err);
}

/* As Kafka's ErrorLoggingCallback tells of it: the others are sent all the same. */
static void tell_of_failure(const struct producer *p, struct str key, struct str value, rd_kafka_resp_err_t err)
{
    fprintf(stderr, "ERROR Error when sending message to topic %s with key: ", p->topic);
    console_producer_print_size(key);
    fputs(", value: ", stderr);
    console_producer_print_size(value);
    fprintf(stderr, " with error: %s\n", failure_reason(err));
}

static void console_producer_on_delivery(rd_kafka_t *rk UNUSED, const rd_kafka_message_t *m, void *opaque)
{
    struct producer *p = opaque;
    if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    p->failed = true;
    tell_of_failure(p, (struct str){m->key, (int32_t)m->key_len}, (struct str){m->payload, (int32_t)m->len}, m->err);
}

/* Until there is room in the queue, at most max.block.ms, or nobody wants that any more. */
static rd_kafka_resp_err_t enqueue(struct producer *p, const struct line_record *r)
{
    rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR__QUEUE_FULL;
    enum { SLICE_MS = 100 };
    for (int64_t waited = 0; err == RD_KAFKA_RESP_ERR__QUEUE_FULL && waited <= p->max_block_ms; waited += SLICE_MS) {
        if (waited > 0 && atomic_load(&tool_interrupted))
            break;
        rd_kafka_headers_t *headers = r->headers != NULL ? rd_kafka_headers_copy(r->headers) : NULL;
        err = rd_kafka_producev(p->rk, RD_KAFKA_V_TOPIC(p->topic), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                                RD_KAFKA_V_KEY((char *)(uintptr_t)r->key.p, (size_t)r->key.len),
                                RD_KAFKA_V_VALUE((void *)(uintptr_t)r->value.p, (size_t)r->value.len),
                                RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
        if (err != RD_KAFKA_RESP_ERR_NO_ERROR && headers != NULL)
            rd_kafka_headers_destroy(headers);
        rd_kafka_poll(p->rk, err == RD_KAFKA_RESP_ERR__QUEUE_FULL ? SLICE_MS : 0);
    }
    return err;
}

static bool send_record(struct producer *p, const struct line_record *r, struct fail *fail)
{
    rd_kafka_resp_err_t err = enqueue(p, r);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR && p->sync)
        return fail_set(fail, "%s", failure_reason(err));
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
        tell_of_failure(p, r->key, r->value, err);
    return !p->sync ||
           (rd_client_flush(p->rk, fail) && (!p->failed || fail_set(fail, "The message was not acknowledged")));
}

struct line_input {
    struct strbuf line;
    bool after_return; /* of which a line feed would be the other half */
};

/* A line ends with a line feed, a carriage return, or both, as for Java's readLine(). False: there is no more. */
static bool read_line(struct line_input *in)
{
    int c = getc_unlocked(stdin);
    if (in->after_return && c == '\n')
        c = getc_unlocked(stdin);
    in->after_return = false;
    strbuf_clear(&in->line);
    if (c == EOF)
        return false;
    for (; c != EOF && c != '\n' && c != '\r'; c = getc_unlocked(stdin))
        strbuf_add(&in->line, &(char){(char)c}, 1);
    in->after_return = c == '\r';
    return true;
}

static bool send_lines(struct producer *p, struct line_reader *reader, struct fail *fail)
{
    struct line_input in = {.after_return = false};
    bool ok = true, prompt = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    while (ok && !atomic_load(&tool_interrupted)) {
        struct line_record r = {.headers = NULL};
        if (prompt) {
            putchar('>');
            fflush(stdout);
        }
        if (!read_line(&in) || atomic_load(&tool_interrupted)) /* which may have come in the middle of a line */
            break;
        struct str line = {in.line.len > 0 ? in.line.p : "", (int32_t)in.line.len};
        ok = parse_line(reader, line, &r, fail) && send_record(p, &r, fail);
        if (r.headers != NULL)
            rd_kafka_headers_destroy(r.headers);
    }
    strbuf_deinit(&in.line);
    return rd_client_flush(p->rk, ok ? fail : NULL) && ok;
}

/* ---- The tool ---- */

static const char *const options_as_props[][2] = {
    {"timeout", "linger.ms"},
    {"request-required-acks", "acks"},
    {"request-timeout-ms", "request.timeout.ms"},
    {"message-send-max-retries", "retries"},
    {"retry-backoff-ms", "retry.backoff.ms"},
    {"socket-buffer-size", "send.buffer.bytes"},
    {"max-memory-bytes", "buffer.memory"},
    {"batch-size", "batch.size"},
    {"max-partition-memory-bytes", "batch.size"},
    {"metadata-expiry-ms", "metadata.max.age.ms"},
    {"max-block-ms", "max.block.ms"},
};

static bool console_producer_make_props(const struct options *o, struct rd_props *p, struct fail *fail)
{
    const char *codec = options_get(o, "compression-codec");
    if (!rd_props_read(p, options_get(o, "producer.config"), fail))
        return false;
    rd_props_add(p, options_all(o, "producer-property"));
    if (!rd_props_of_client(p, fail))
        return false;
    rd_props_set(p, "bootstrap.servers",
                 options_get(o, options_has(o, "bootstrap-server") ? "bootstrap-server" : "broker-list"));
    if (options_has(o, "compression-codec"))
        rd_props_set(p, "compression.type", codec == NULL || *codec == '\0' ? "gzip" : codec);
    rd_props_default(p, "client.id", "console-producer");
    for (size_t i = 0; i < ARRAY_LEN(options_as_props); i++) {
        const char *option = options_as_props[i][0], *name = options_as_props[i][1];
        if (options_has(o, option))
            rd_props_set(p, name, options_get(o, option));
        else
            rd_props_default(p, name, options_get(o, option));
    }
    return true;
}

static bool console_producer_check_arguments(const struct options *o)
{
    const char *reader = options_get(o, "line-reader");
    if (!options_need(o, "topic"))
        return false;
    if (!options_has(o, "bootstrap-server") && !options_has(o, "broker-list")) {
        fprintf(stderr, "Missing required option(s) [bootstrap-server]\n");
        return false;
    }
    if (reader != NULL && strstr(reader, "LineMessageReader") != NULL)
        return true;
    options_complain(o, "There is no line reader %s", reader != NULL ? reader : "");
    return false;
}

static bool console_producer_run(const struct options *o, struct rd_props *props, struct rd_props *reader_props,
                                 struct fail *fail)
{
    struct producer p = {.topic = options_get(o, "topic"), .sync = options_has(o, "sync")};
    struct line_reader reader;
    if (!console_producer_make_props(o, props, fail) ||
        !rd_props_read(reader_props, options_get(o, "reader-config"), fail))
        return false;
    rd_props_add(reader_props, options_all(o, "property"));
    if (!rd_props_replace(reader_props, fail) ||
        !rd_props_number(props, "max.block.ms", "LONG", 0, &p.max_block_ms, fail))
        return false;
    if (!reader_configure(&reader, reader_props, fail))
        return false;
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_dr_msg_cb(conf, console_producer_on_delivery);
    rd_kafka_conf_set_opaque(conf, &p);
    p.rk = rd_client_new(RD_KAFKA_PRODUCER, props, conf, fail);
    if (p.rk == NULL)
        return false;
    bool ok = send_lines(&p, &reader, fail);
    rd_kafka_destroy(p.rk);
    return ok;
}

int tool_console_producer(int argc, char **argv)
{
    struct options o;
    struct fail fail;
    struct rd_props props = {0}, reader_props = {0};
    int code = OPTIONS_PARSE(&o, specs, argc, argv,
                             "This tool helps to read data from standard input and publish it to Kafka.");
    tool_catch_signals();
    if (code < 0)
        code = console_producer_check_arguments(&o) ? -1 : 1;
    if (code < 0) {
        code = console_producer_run(&o, &props, &reader_props, &fail) ? 0 : 1;
        if (code != 0)
            fprintf(stderr, "%s\n", fail.text);
    }
    rd_props_deinit(&props);
    rd_props_deinit(&reader_props);
    options_free(&o);
    return code;
}
