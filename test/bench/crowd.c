/*
 * What many partitions and topics cost a broker that has them.
 *
 *   crowd topics HOST PORT FIRST COUNT             creates topics of one partition, from that number on
 *   crowd metadata HOST PORT ROUNDS                asks for Metadata of all topics
 *   crowd fetch HOST PORT TOPIC PARTITIONS ROUNDS  fetches from all partitions of a topic without a session
 *
 * Prints a line of JSON: the time of all requests in us, and the median of their rounds.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "client.h"
#include "protocol/error.h"
#include "protocol/msg/api.h"
#include "protocol/msg/create_topics.h"
#include "protocol/msg/fetch.h"
#include "protocol/msg/metadata.h"

enum {
    CREATE_VERSION = 5,
    METADATA_VERSION = 9,
    FETCH_VERSION = 11,
    MOST_ROUNDS = 1000,
    AT_ONCE = 500, /* topics in one request */
    TIMEOUT_MS = 600000,
    PARTITION_BYTES = 1 << 20,
    FETCH_BYTES = 50 << 20
};

struct rounds {
    int64_t us[MOST_ROUNDS], begun_us;
    int n;
};

static void round_begin(struct rounds *r)
{
    r->begun_us = clock_mono_us();
}

static void round_end(struct rounds *r)
{
    if (r->n == MOST_ROUNDS)
        die("too many rounds");
    r->us[r->n++] = clock_mono_us() - r->begun_us;
}

static int by_time(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static int report(struct rounds *r)
{
    int64_t sum = 0;
    for (int i = 0; i < r->n; i++)
        sum += r->us[i];
    qsort(r->us, (size_t)r->n, sizeof(r->us[0]), by_time);
    printf("{\"sum_us\": %" PRId64 ", \"median_us\": %" PRId64 "}\n", sum, r->us[r->n / 2]);
    return 0;
}

static int rounds_of(const char *arg)
{
    int n = atoi(arg);
    if (n < 1 || n > MOST_ROUNDS)
        die("%s rounds", arg);
    return n;
}

/* ---- Topics ---- */

static void create(int fd, int first, int count, struct strbuf *frame)
{
    struct arena a = {0};
    struct create_topics_request request;
    struct create_topics_response response;
    create_topics_request_init(&request);
    request.timeout_ms = TIMEOUT_MS;
    ARRAY_MAKE(&a, request.topics, count);
    for (int i = 0; i < count; i++) {
        struct create_topics_creatable_topic *t = &request.topics.items[i];
        create_topics_creatable_topic_init(t);
        t->name = arena_printf(&a, "crowd-%06d", first + i);
        t->num_partitions = t->replication_factor = 1;
    }
    send_request(fd, API_CREATE_TOPICS, CREATE_VERSION, &request);
    take_answer(fd, API_CREATE_TOPICS, CREATE_VERSION, &response, frame, &a);
    for (int32_t i = 0; i < response.topics.len; i++)
        if (response.topics.items[i].error_code != 0)
            die("create: %s", error_name(response.topics.items[i].error_code));
    arena_deinit(&a);
}

static int run_topics(char **args)
{
    struct rounds r = {0};
    struct strbuf frame = {0};
    int fd = dial(args[0], args[1]), first = atoi(args[2]), count = atoi(args[3]);
    for (int done = 0; done < count; done += AT_ONCE) {
        round_begin(&r);
        create(fd, first + done, MIN(AT_ONCE, count - done), &frame);
        round_end(&r);
    }
    strbuf_deinit(&frame);
    return report(&r);
}

static int run_metadata(char **args)
{
    static struct rounds r;
    struct strbuf frame = {0};
    int fd = dial(args[0], args[1]);
    for (int left = rounds_of(args[2]); left > 0; left--) {
        struct arena a = {0};
        struct metadata_request request;
        struct metadata_response response;
        metadata_request_init(&request);
        request.topics.len = -1;
        round_begin(&r);
        send_request(fd, API_METADATA, METADATA_VERSION, &request);
        take_answer(fd, API_METADATA, METADATA_VERSION, &response, &frame, &a);
        round_end(&r);
        arena_deinit(&a);
    }
    strbuf_deinit(&frame);
    return report(&r);
}

/* ---- Fetch ---- */

static void fill_fetch(struct fetch_request *request, struct fetch_topic *t, const char *topic, int32_t partitions,
                       struct arena *a)
{
    fetch_request_init(request);
    fetch_topic_init(t);
    request->replica_id = -1;
    request->max_bytes = FETCH_BYTES;
    request->session_epoch = -1;
    request->topics.items = t;
    request->topics.len = 1;
    t->topic = str_of(topic);
    ARRAY_MAKE(a, t->partitions, partitions);
    for (int32_t i = 0; i < partitions; i++) {
        struct fetch_partition *p = &t->partitions.items[i];
        fetch_partition_init(p);
        p->partition = i;
        p->partition_max_bytes = PARTITION_BYTES;
    }
}

static int run_fetch(char **args)
{
    static struct rounds r;
    struct strbuf frame = {0};
    int fd = dial(args[0], args[1]);
    int32_t partitions = atoi(args[3]);
    for (int left = rounds_of(args[4]); left > 0; left--) {
        struct arena a = {0};
        struct fetch_request request;
        struct fetch_topic t;
        struct fetch_response response;
        fill_fetch(&request, &t, args[2], partitions, &a);
        round_begin(&r);
        send_request(fd, API_FETCH, FETCH_VERSION, &request);
        take_answer(fd, API_FETCH, FETCH_VERSION, &response, &frame, &a);
        round_end(&r);
        if (response.error_code != 0 || response.responses.len != 1 ||
            response.responses.items[0].partitions.len != partitions)
            die("fetch: error %d", response.error_code);
        arena_deinit(&a);
    }
    strbuf_deinit(&frame);
    return report(&r);
}

int main(int argc, char **argv)
{
    static const struct mode modes[] = {
        {"topics", 4, run_topics}, {"metadata", 3, run_metadata}, {"fetch", 5, run_fetch}};
    return run_mode(modes, ARRAY_LEN(modes), argc, argv, "crowd.c");
}
