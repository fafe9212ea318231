/*
 * What is counted of records: kafka.server:type=BrokerTopicMetrics, of the whole broker and of each topic that it has a
 * partition of. A topic's meter is there from its first event on. What only a leader does is told as long as one of its
 * partitions here is led here, and goes on from where it was when that is so again; all goes with the last partition.
 */
#ifndef BARNABAS_TOPIC_COUNTS_H
#define BARNABAS_TOPIC_COUNTS_H

#include "base/hash.h"
#include "base/lock.h"
#include "base/topic_key.h"
#include "metrics/bean.h"
#include "metrics/meter.h"

/* X(name here, name, what is counted). First what is told by leaders only; followers, too, have readers. */
#define TOPIC_METERS(X)                                                         \
    X(TOPIC_BYTES_IN, "BytesInPerSec", "bytes")                                 \
    X(TOPIC_BYTES_REJECTED, "BytesRejectedPerSec", "bytes")                     \
    X(TOPIC_MESSAGES_IN, "MessagesInPerSec", "messages")                        \
    X(TOPIC_FAILED_PRODUCE, "FailedProduceRequestsPerSec", "requests")          \
    X(TOPIC_TOTAL_PRODUCE, "TotalProduceRequestsPerSec", "requests")            \
    X(TOPIC_PRODUCE_CONVERSIONS, "ProduceMessageConversionsPerSec", "requests") \
    X(TOPIC_BYTES_OUT, "BytesOutPerSec", "bytes")                               \
    X(TOPIC_FAILED_FETCH, "FailedFetchRequestsPerSec", "requests")              \
    X(TOPIC_TOTAL_FETCH, "TotalFetchRequestsPerSec", "requests")                \
    X(TOPIC_FETCH_CONVERSIONS, "FetchMessageConversionsPerSec", "requests")
/* Of the broker alone. */
#define BROKER_METERS(X)                                                   \
    X(BROKER_REPLICATION_IN, "ReplicationBytesInPerSec", "bytes")          \
    X(BROKER_REPLICATION_OUT, "ReplicationBytesOutPerSec", "bytes")        \
    X(BROKER_REASSIGNMENT_IN, "ReassignmentBytesInPerSec", "bytes")        \
    X(BROKER_REASSIGNMENT_OUT, "ReassignmentBytesOutPerSec", "bytes")      \
    X(BROKER_NO_KEY, "NoKeyCompactedTopicRecordsPerSec", "requests")       \
    X(BROKER_INVALID_MAGIC, "InvalidMagicNumberRecordsPerSec", "requests") \
    X(BROKER_INVALID_CRC, "InvalidMessageCrcRecordsPerSec", "requests")    \
    X(BROKER_INVALID_OFFSET, "InvalidOffsetOrSequenceRecordsPerSec", "requests")

#define METER_ID(id, name, event) id,
enum topic_meter {
    TOPIC_METERS(METER_ID) TOPIC_METER_COUNT,
    LEADERS_METERS = TOPIC_BYTES_OUT,
    BEFORE_BROKERS = TOPIC_METER_COUNT - 1,
    BROKER_METERS(METER_ID) BROKER_METER_COUNT
};
#undef METER_ID

struct topic_counts;

struct broker_counts {
    struct metrics *metrics; /* NULL: nobody counts */
    struct meter all[BROKER_METER_COUNT];
    int64_t ids;
    struct lock lock; /* guards the table, and how many partitions of each topic are here */
    struct topic_counts *table;
};

void broker_counts_init(struct broker_counts *b, struct metrics *m);
void broker_counts_deinit(struct broker_counts *b);
void broker_counts_visit(struct broker_counts *b, struct bean_walk *w);

/* A partition of the topic is here from now on; with a reference. NULL: nobody counts. */
struct topic_counts *topic_counts_enter(struct broker_counts *b, const char *topic);
/* It is not any more. The reference stays: who has the partition in hand may still count. NULL allowed. */
void topic_counts_leave(struct broker_counts *b, struct topic_counts *t);
/* So many more of its partitions are led here, or fewer. NULL allowed. */
void topic_counts_lead(struct topic_counts *t, int more);
void topic_counts_unref(struct topic_counts *t); /* NULL allowed */
/* Of the topic and of the broker. `t` may be NULL. */
void topic_counts_mark(struct broker_counts *b, struct topic_counts *t, enum topic_meter which, int64_t n);

#endif
