#include "tools/clients/formatter.h"

#include <inttypes.h>
#include <math.h>

/* ---- Settings ---- */

static bool parse_deserializer(const char *name, enum deserializer *out, struct fail *fail)
{
    static const char *const names[] = {
        [AS_BOOLEAN] = "BooleanDeserializer", [AS_SHORT] = "ShortDeserializer", [AS_INTEGER] = "IntegerDeserializer",
        [AS_LONG] = "LongDeserializer",       [AS_FLOAT] = "FloatDeserializer", [AS_DOUBLE] = "DoubleDeserializer"};
    *out = AS_BYTES;
    if (name == NULL || strstr(name, "StringDeserializer") != NULL || strstr(name, "UUIDDeserializer") != NULL ||
        strstr(name, "Byte") != NULL)
        return true;
    for (size_t i = 1; i < ARRAY_LEN(names); i++)
        if (strstr(name, names[i]) != NULL) {
            *out = (enum deserializer)i;
            return true;
        }
    return fail_set(fail, "There is no deserializer %s", name);
}

static bool flag_of(const struct rd_props *p, const char *name, bool fallback)
{
    return rd_props_get(p, name) != NULL ? rd_props_is(p, name, "true") : fallback;
}

static struct str formatter_text_of(const struct rd_props *p, const char *name, const char *fallback)
{
    const char *text = rd_props_get(p, name);
    return str_of(text != NULL ? text : fallback);
}

bool formatter_configure(struct formatter *f, const struct rd_props *p, struct fail *fail)
{
    f->timestamp = flag_of(p, "print.timestamp", false);
    f->key = flag_of(p, "print.key", false);
    f->value = flag_of(p, "print.value", true);
    f->partition = flag_of(p, "print.partition", false);
    f->offset = flag_of(p, "print.offset", false);
    f->headers = flag_of(p, "print.headers", false);
    f->key_separator = formatter_text_of(p, "key.separator", "\t");
    f->line_separator = formatter_text_of(p, "line.separator", "\n");
    f->headers_separator = formatter_text_of(p, "headers.separator", ",");
    f->null_literal = formatter_text_of(p, "null.literal", "null");
    return parse_deserializer(rd_props_get(p, "key.deserializer"), &f->key_as, fail) &&
           parse_deserializer(rd_props_get(p, "value.deserializer"), &f->value_as, fail) &&
           parse_deserializer(rd_props_get(p, "headers.deserializer"), &f->headers_as, fail);
}

/* ---- Values ---- */

void formatter_put(struct str s)
{
    fwrite(s.p, 1, (size_t)s.len, stdout);
}

/*
 * As Java prints numbers with a point: with as few digits as tell them from others, one of them behind the point; very
 * small and large ones as 1.0E10.
 */
static void put_decimal(const char *scientific)
{
    char digits[32];
    int count = 0;
    const char *at = scientific;
    if (*at == '-')
        putchar(*at++);
    for (; *at != 'e'; at++)
        if (*at != '.')
            digits[count++] = *at;
    if (count > 1 && digits[count - 1] == '0')
        count--;
    int exponent = atoi(at + 1);
    bool plain = exponent >= -3 && exponent < 7;
    int before = plain ? exponent + 1 : 1; /* digits before the point */
    if (before <= 0)
        printf("0.%.*s", -before, "000");
    for (int i = 0; i < MAX(count, before + 1); i++)
        printf(i == before && before > 0 ? ".%c" : "%c", i < count ? digits[i] : '0');
    if (!plain)
        printf("E%d", exponent);
}

static bool put_special(double v)
{
    if (isnan(v))
        printf("NaN");
    else if (isinf(v))
        printf(v < 0 ? "-Infinity" : "Infinity");
    else if (v == 0)
        printf(signbit(v) ? "-0.0" : "0.0");
    else
        return false;
    return true;
}

static bool put_float(uint32_t bits)
{
    enum { MOST_DIGITS = 9 };
    char text[32];
    float v;
    memcpy(&v, &bits, sizeof(v));
    if (put_special((double)v))
        return true;
    int digits = 1; /* behind the first; Java finds at least one */
    do
        snprintf(text, sizeof(text), "%.*e", digits++, (double)v);
    while (digits < MOST_DIGITS && strtof(text, NULL) != v);
    put_decimal(text);
    return true;
}

static bool put_double(uint64_t bits)
{
    enum { MOST_DIGITS = 17 };
    char text[32];
    double v;
    memcpy(&v, &bits, sizeof(v));
    if (put_special(v))
        return true;
    int digits = 1; /* behind the first; Java finds at least one */
    do
        snprintf(text, sizeof(text), "%.*e", digits++, v);
    while (digits < MOST_DIGITS && strtod(text, NULL) != v);
    put_decimal(text);
    return true;
}

/* False when the bytes are not what the deserializer wants. */
static bool put_data(const struct formatter *f, const void *p, size_t len, enum deserializer as)
{
    static const size_t sizes[] = {
        [AS_BOOLEAN] = 1, [AS_SHORT] = 2, [AS_INTEGER] = 4, [AS_LONG] = 8, [AS_FLOAT] = 4, [AS_DOUBLE] = 8};
    if (p == NULL) {
        formatter_put(f->null_literal);
        return true;
    }
    if (as != AS_BYTES && len != sizes[as])
        return false;
    switch (as) {
    case AS_BOOLEAN:
        return *(const uint8_t *)p <= 1 && printf(*(const uint8_t *)p == 1 ? "true" : "false") > 0;
    case AS_SHORT:
        return printf("%d", (int16_t)be16_get(p)) > 0;
    case AS_INTEGER:
        return printf("%" PRId32, (int32_t)be32_get(p)) > 0;
    case AS_LONG:
        return printf("%" PRId64, (int64_t)be64_get(p)) > 0;
    case AS_FLOAT:
        return put_float(be32_get(p));
    case AS_DOUBLE:
        return put_double(be64_get(p));
    case AS_BYTES:
        break;
    }
    fwrite(p, 1, len, stdout);
    return true;
}

static void put_timestamp(const rd_kafka_message_t *m)
{
    rd_kafka_timestamp_type_t type;
    int64_t ms = rd_kafka_message_timestamp(m, &type);
    if (type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE)
        printf("NO_TIMESTAMP");
    else
        printf("%s:%" PRId64, type == RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME ? "LogAppendTime" : "CreateTime", ms);
}

static bool put_headers(const struct formatter *f, const rd_kafka_message_t *m)
{
    rd_kafka_headers_t *headers;
    const char *name;
    const void *value;
    size_t len;
    if (rd_kafka_message_headers(m, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR || rd_kafka_header_cnt(headers) == 0) {
        printf("NO_HEADERS");
        return true;
    }
    for (size_t i = 0; rd_kafka_header_get_all(headers, i, &name, &value, &len) == RD_KAFKA_RESP_ERR_NO_ERROR; i++) {
        if (i > 0)
            formatter_put(f->headers_separator);
        printf("%s:", name);
        if (!put_data(f, value, len, f->headers_as))
            return false;
    }
    return true;
}

/* ---- Records ---- */

static void put_separator(const struct formatter *f, bool more)
{
    formatter_put(more ? f->key_separator : f->line_separator);
}

/* What cannot be printed ends its record where it stands, as with Kafka's: not even the line ends. */
static bool print_default(const struct formatter *f, const rd_kafka_message_t *m)
{
    if (f->timestamp) {
        put_timestamp(m);
        put_separator(f, f->partition || f->offset || f->headers || f->key || f->value);
    }
    if (f->partition) {
        printf("Partition:%" PRId32, m->partition);
        put_separator(f, f->offset || f->headers || f->key || f->value);
    }
    if (f->offset) {
        printf("Offset:%" PRId64, m->offset);
        put_separator(f, f->headers || f->key || f->value);
    }
    if (f->headers) {
        if (!put_headers(f, m))
            return false;
        put_separator(f, f->key || f->value);
    }
    if (f->key) {
        if (!put_data(f, m->key, m->key_len, f->key_as))
            return false;
        put_separator(f, f->value);
    }
    if (f->value) {
        if (!put_data(f, m->payload, m->len, f->value_as))
            return false;
        formatter_put(f->line_separator);
    }
    return true;
}

static bool print_nothing(const struct formatter *f UNUSED, const rd_kafka_message_t *m UNUSED)
{
    return true;
}

/* Kafka's logs the record as well, at level INFO. */
static bool print_and_log(const struct formatter *f, const rd_kafka_message_t *m)
{
    fprintf(stderr, "INFO CreateTime:%" PRId64 ", key:%.*s, value:%.*s\n", rd_kafka_message_timestamp(m, NULL),
            m->key ? (int)m->key_len : 4, m->key ? (const char *)m->key : "null", m->payload ? (int)m->len : 4,
            m->payload ? (const char *)m->payload : "null");
    return print_default(f, m);
}

bool formatter_print(const struct formatter *f, const rd_kafka_message_t *m)
{
    return f->print(f, m);
}

/* ---- Classes ---- */

#define NEW "org.apache.kafka.tools.consumer."

static const struct formatter_class {
    const char *name;
    bool (*print)(const struct formatter *f, const rd_kafka_message_t *m);
    const char *instead; /* the name that Kafka wants; NULL: this one */
} classes[] = {
    {NEW "DefaultMessageFormatter", print_default, NULL},
    {NEW "LoggingMessageFormatter", print_and_log, NULL},
    {NEW "NoOpMessageFormatter", print_nothing, NULL},
    {NEW "OffsetsMessageFormatter", format_offsets, NULL},
    {NEW "GroupMetadataMessageFormatter", format_groups, NULL},
    {NEW "TransactionLogMessageFormatter", format_transactions, NULL},
    {"kafka.tools.DefaultMessageFormatter", print_default, NEW "DefaultMessageFormatter"},
    {"kafka.tools.LoggingMessageFormatter", print_and_log, NEW "LoggingMessageFormatter"},
    {"kafka.tools.NoOpMessageFormatter", print_nothing, NEW "NoOpMessageFormatter"},
    {"kafka.coordinator.group.GroupMetadataManager$OffsetsMessageFormatter", format_offsets_as_text,
     NEW "OffsetsMessageFormatter"},
    {"kafka.coordinator.group.GroupMetadataManager$GroupMetadataMessageFormatter", format_groups_as_text,
     NEW "GroupMetadataMessageFormatter"},
    {"kafka.coordinator.transaction.TransactionLog$TransactionLogMessageFormatter", format_transactions_as_text,
     NEW "TransactionLogMessageFormatter"},
};

bool formatter_choose(struct formatter *f, const char *class_name)
{
    for (size_t i = 0; i < ARRAY_LEN(classes); i++) {
        if (strcmp(classes[i].name, class_name) != 0)
            continue;
        *f = (struct formatter){.print = classes[i].print};
        if (classes[i].instead != NULL)
            fprintf(stderr,
                    "WARNING: %s is deprecated and will be removed in the next major release. Please use %s instead\n",
                    class_name, classes[i].instead);
        return true;
    }
    return false;
}
