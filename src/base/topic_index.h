/*
 * What belongs to partitions, found by their topic: for what is done to all partitions of one topic, where there may be
 * thousands of others. Whoever has an index guards it.
 */
#ifndef BARNABAS_TOPIC_INDEX_H
#define BARNABAS_TOPIC_INDEX_H

#include "base/base.h"

struct topic_entry;

struct topic_index { /* zeroed: empty */
    struct topic_entry *table;
};

/* In what is found; zeroed, it is in no index. */
struct topic_link {
    struct topic_entry *topic;
    struct topic_link *prev, *next;
};

void topic_index_add(struct topic_index *x, const char *topic, struct topic_link *link);
void topic_index_remove(struct topic_index *x, struct topic_link *link); /* which is in it */
/* The first of the topic's; `next` goes on. NULL: there is none. */
struct topic_link *topic_index_first(const struct topic_index *x, const char *topic);

#endif
