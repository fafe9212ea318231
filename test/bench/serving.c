/*
 * When does a broker that has just been started serve a topic? Asks, from before it listens, until Metadata has a
 * leader for each partition and ListOffsets an end for all of them.
 *
 *   serving HOST PORT TOPIC PARTITIONS
 *
 * Prints a line of JSON then: when that was, in us of the monotonic clock, and the sum of the end offsets.
 */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "client.h"
#include "protocol/msg/api.h"
#include "protocol/msg/list_offsets.h"
#include "protocol/msg/metadata.h"

enum { LIST_OFFSETS_VERSION = 6, LATEST = -1, MOST_SECONDS = 600 };
enum { PAUSE_US = 5000 }; /* between two questions: short beside any start with data, and little load */

struct asker {
    int fd;
    const char *topic;
    int32_t partitions;
    int64_t until_us;
    struct strbuf frame;
};

static void pause_or_give_up(const struct asker *k, const char *what)
{
    if (clock_mono_us() > k->until_us)
        die("%s is not there after %d s", what, MOST_SECONDS);
    usleep(PAUSE_US);
}

static bool has_leaders(struct asker *k)
{
    struct arena a = {0};
    struct metadata_response m;
    int32_t led = 0;
    ask_metadata(k->fd, k->topic, &m, &k->frame, &a);
    for (int32_t i = 0; i < m.topics.items[0].partitions.len; i++)
        led += m.topics.items[0].partitions.items[i].error_code == 0;
    arena_deinit(&a);
    return led == k->partitions;
}

static void ask_ends(struct asker *k, struct arena *a)
{
    struct list_offsets_request request;
    struct list_offsets_topic t;
    list_offsets_request_init(&request);
    list_offsets_topic_init(&t);
    request.replica_id = -1;
    request.topics.items = &t;
    request.topics.len = 1;
    t.name = str_of(k->topic);
    ARRAY_MAKE(a, t.partitions, k->partitions);
    for (int32_t i = 0; i < k->partitions; i++) {
        list_offsets_partition_init(&t.partitions.items[i]);
        t.partitions.items[i].partition_index = i;
        t.partitions.items[i].timestamp = LATEST;
    }
    send_request(k->fd, API_LIST_OFFSETS, LIST_OFFSETS_VERSION, &request);
}

/* The sum of all ends; -1 if one cannot be had yet. */
static int64_t sum_of_ends(struct asker *k)
{
    struct arena a = {0};
    struct list_offsets_response response;
    int64_t sum = 0;
    ask_ends(k, &a);
    take_answer(k->fd, API_LIST_OFFSETS, LIST_OFFSETS_VERSION, &response, &k->frame, &a);
    if (response.topics.len != 1 || response.topics.items[0].partitions.len != k->partitions)
        die("ends of other partitions than those that were asked for");
    for (int32_t i = 0; i < k->partitions && sum >= 0; i++) {
        const struct list_offsets_partition_response *p = &response.topics.items[0].partitions.items[i];
        sum = p->error_code == 0 ? sum + p->offset : -1;
    }
    arena_deinit(&a);
    return sum;
}

int main(int argc, char **argv)
{
    if (argc != 5)
        die("usage: see the top of serving.c");
    struct asker k = {.topic = argv[3], .partitions = atoi(argv[4])};
    int64_t sum;
    k.until_us = clock_mono_us() + MOST_SECONDS * INT64_C(1000000);
    while ((k.fd = try_dial(argv[1], argv[2])) < 0)
        pause_or_give_up(&k, "a listener");
    while (!has_leaders(&k))
        pause_or_give_up(&k, "a leader for each partition");
    while ((sum = sum_of_ends(&k)) < 0)
        pause_or_give_up(&k, "an end of each partition");
    printf("{\"end_offsets\": %" PRId64 ", \"served_us\": %" PRId64 "}\n", sum, clock_mono_us());
    return 0;
}
