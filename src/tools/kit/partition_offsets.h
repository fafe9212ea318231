/* Partitions with an offset each: where their logs begin or end, or how far a group has read. */
#ifndef BARNABAS_TOOLS_KIT_PARTITION_OFFSETS_H
#define BARNABAS_TOOLS_KIT_PARTITION_OFFSETS_H

#include "tools/kit/ask.h"

struct partition_offset {
    struct str topic;
    int32_t partition, leader;
    int32_t place;  /* among those that were added, from 0 on */
    int64_t offset; /* -1: there is none */
    int16_t error;  /* why not, with `why` in words; null: it is known */
    struct str why;
    bool final; /* asking again would not change that */
};

struct partition_offsets {
    struct partition_offset *v; /* in an arena */
    int32_t n;
    size_t cap;
};

/* The list takes what the strings point to as it is. Returns the new one: leader and offset -1. */
struct partition_offset *partition_offsets_add(struct partition_offsets *list, struct str topic, int32_t partition,
                                               struct arena *a);
/* Adds the same partitions to another list, without what is known of them. */
void partition_offsets_add_all(const struct partition_offsets *from, struct partition_offsets *to, struct arena *a);
/* By topic and partition; of several of one partition the one that was added last stays. */
void partition_offsets_sort(struct partition_offsets *list);
/* In a sorted list; NULL if it is not there. */
struct partition_offset *partition_offsets_find(const struct partition_offsets *list, struct str topic,
                                                int32_t partition);

/*
 * Finds the leaders of the sorted list's partitions, and asks them for the offsets at `time`: -1 is the end, -2 the
 * start, others as in ListOffsets. Where leaders are away or change, that is done again for up to `timeout_ms`. A
 * partition without an answer then has a `why`. False: nobody can be asked.
 */
bool partition_offsets_learn(struct asker *asker, struct partition_offsets *list, int64_t time, int64_t timeout_ms,
                             struct arena *a, struct fail *fail) NODISCARD;

#endif
