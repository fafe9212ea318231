/* How kafka-console-consumer prints records: Kafka's message formatters, by the names of their classes. */
#ifndef BARNABAS_TOOLS_CLIENTS_FORMATTER_H
#define BARNABAS_TOOLS_CLIENTS_FORMATTER_H

#include "tools/kit/rd_client.h"

enum deserializer { AS_BYTES, AS_BOOLEAN, AS_SHORT, AS_INTEGER, AS_LONG, AS_FLOAT, AS_DOUBLE };

struct formatter {
    bool (*print)(const struct formatter *f, const rd_kafka_message_t *m);
    bool timestamp, key, value, partition, offset, headers;
    struct str key_separator, line_separator, headers_separator, null_literal;
    enum deserializer key_as, value_as, headers_as;
};

/* Warns of names that Kafka has given up. False: there is no such class. */
bool formatter_choose(struct formatter *f, const char *class_name) NODISCARD;
bool formatter_configure(struct formatter *f, const struct rd_props *p, struct fail *fail) NODISCARD;
/* To standard output. False when the record is not what the formatter wants. */
bool formatter_print(const struct formatter *f, const rd_kafka_message_t *m);

/* The text as it is, to standard output: it may hold any bytes. */
void formatter_put(struct str s);

/* Those for records of __consumer_offsets and __transaction_state: as JSON, and as Kafka before 3.9 printed them. */
bool format_offsets(const struct formatter *f, const rd_kafka_message_t *m);
bool format_groups(const struct formatter *f, const rd_kafka_message_t *m);
bool format_transactions(const struct formatter *f, const rd_kafka_message_t *m);
bool format_offsets_as_text(const struct formatter *f, const rd_kafka_message_t *m);
bool format_groups_as_text(const struct formatter *f, const rd_kafka_message_t *m);
bool format_transactions_as_text(const struct formatter *f, const rd_kafka_message_t *m);

#endif
