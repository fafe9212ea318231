/*
 * A partition's name as the key of a hash table, which topic_key_size() bytes of it are. What is behind the topic's
 * name is zero, so that the whole struct is a key as well, in tables that are asked seldom.
 */
#ifndef BARNABAS_TOPIC_KEY_H
#define BARNABAS_TOPIC_KEY_H

#include "base/bytes.h"

enum { LONGEST_TOPIC_NAME = 249 };
#define CLUSTER_METADATA_TOPIC "__cluster_metadata" /* the log of a KRaft quorum, and no topic */

/* So that how many there would be is a number, too. Znodes written by hand have partitions with any number below. */
enum { LARGEST_PARTITION = INT32_MAX - 1 };

static inline bool partition_number_is_possible(int32_t number)
{
    return number >= 0 && number <= LARGEST_PARTITION;
}

/* As qsort() has it: by topic, and then by number. */
static inline int partition_order(struct str topic, int32_t number, struct str other_topic, int32_t other_number)
{
    int order = str_cmp(topic, other_topic);
    return order != 0 ? order : (number > other_number) - (number < other_number);
}

struct topic_key {
    int32_t index;
    char topic[252];
};

/*
 * False if no topic can have that name, which may be whatever a peer has sent: it is empty, too long, or holds a zero
 * byte, so that as a C string it would be another topic's.
 */
bool topic_key_make(struct str topic, int32_t index, struct topic_key *out) NODISCARD;

/* Of the hundreds of bytes those that differ: to hash the rest would take longer than all else in a look-up. */
static inline size_t topic_key_size(const struct topic_key *key)
{
    return offsetof(struct topic_key, topic) + strlen(key->topic);
}

/* The same as bytes, which point into the key: for sets of partitions (base/str_set.h). */
static inline struct str topic_key_bytes(const struct topic_key *key)
{
    return (struct str){(const char *)key, (int32_t)topic_key_size(key)};
}

#endif
