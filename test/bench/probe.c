/*
 * When are a broker's partitions writable again, after it has gone? Asks another broker for their leaders; when all
 * have one, produces a record with acks=all to each, again and again, until all have acknowledged. (Not sooner: an
 * answer may wait for as long as the one that is gone is in the ISR, and the leaders would not be looked at meanwhile.)
 * And when is it in sync, after it has come back?
 *
 *   probe HOST PORT TOPIC GONE      HOST and PORT of a broker that stays; GONE is the id of the one that goes, or -1
 *   probe HOST PORT TOPIC sync PARTITIONS N
 *                                   ends when Metadata has so many partitions, all with a leader and N in sync; prints
 *                                   when that was
 *
 * Prints a line of JSON when it is ready for the broker to go: how many partitions that one leads (with -1: how many
 * there are). At the end another: when Metadata had a new leader for all of them, and when the last was written, in us
 * of the monotonic clock.
 */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "client.h"
#include "protocol/error.h"
#include "protocol/msg/api.h"
#include "protocol/msg/metadata.h"
#include "protocol/msg/produce.h"

enum {
    PRODUCE_VERSION = 9,
    PAUSE_US = 10000, /* between two rounds: a twentieth of what is worth measuring, and little load on the brokers */
    MOST_SECONDS = 300,
    MOST_BROKERS = 8
};

struct peer {
    int32_t id;
    int fd;
};

struct partition {
    int32_t leader; /* -1: none that is alive */
    bool watched, written;
};

struct probe {
    int fd; /* where Metadata is asked for */
    const char *topic;
    int32_t gone;
    struct peer peers[MOST_BROKERS];
    int32_t peers_len;
    struct partition *partitions;
    int32_t partitions_len, watched, written;
    struct strbuf batch, frame;
};

/* ---- Metadata ---- */

static void dial_peers(struct probe *p, const struct metadata_response *m)
{
    for (int32_t i = 0; i < m->brokers.len; i++) {
        const struct metadata_response_broker *b = &m->brokers.items[i];
        if (b->node_id == p->gone)
            continue;
        if (p->peers_len == MOST_BROKERS)
            die("too many brokers");
        char *host = xasprintf("%.*s", STR_ARGS(b->host)), *port = xasprintf("%" PRId32, b->port);
        p->peers[p->peers_len++] = (struct peer){b->node_id, dial(host, port)};
        free(host);
        free(port);
    }
}

/* What is there before the broker goes. */
static void look_around(struct probe *p)
{
    struct arena a = {0};
    struct metadata_response m;
    ask_metadata(p->fd, p->topic, &m, &p->frame, &a);
    const struct metadata_response_topic *t = &m.topics.items[0];
    if (t->error_code != 0)
        die("metadata of %s: error %d", p->topic, t->error_code);
    dial_peers(p, &m);
    p->partitions_len = t->partitions.len;
    p->partitions = xcalloc((size_t)MAX(p->partitions_len, 1), sizeof(*p->partitions));
    for (int32_t i = 0; i < t->partitions.len; i++) {
        const struct metadata_response_partition *from = &t->partitions.items[i];
        if (from->partition_index >= p->partitions_len)
            die("not all partitions are known yet");
        p->partitions[from->partition_index].watched = p->gone < 0 || from->leader_id == p->gone;
        p->watched += p->gone < 0 || from->leader_id == p->gone;
    }
    arena_deinit(&a);
}

/* Whether every partition has a leader that is alive. */
static bool find_leaders(struct probe *p)
{
    struct arena a = {0};
    struct metadata_response m;
    ask_metadata(p->fd, p->topic, &m, &p->frame, &a);
    const struct metadata_response_topic *t = &m.topics.items[0];
    int32_t led = 0;
    for (int32_t i = 0; i < t->partitions.len; i++) {
        const struct metadata_response_partition *from = &t->partitions.items[i];
        struct partition *to = &p->partitions[from->partition_index];
        to->leader = from->leader_id == p->gone ? -1 : from->leader_id;
        led += to->watched && to->leader >= 0;
    }
    arena_deinit(&a);
    return led == p->watched;
}

/* ---- Produce ---- */

/* A record to each partition of that leader that has none yet. Returns whether there was any. */
static bool send_records(struct probe *p, const struct peer *to)
{
    struct arena a = {0};
    struct produce_request request;
    struct produce_topic_produce_data t;
    produce_request_init(&request);
    produce_topic_produce_data_init(&t);
    request.acks = -1;
    request.timeout_ms = 30000;
    request.topic_data.items = &t;
    request.topic_data.len = 1;
    t.name = str_of(p->topic);
    ARRAY_MAKE(&a, t.partition_data, p->partitions_len);
    t.partition_data.len = 0;
    for (int32_t i = 0; i < p->partitions_len; i++) {
        if (!p->partitions[i].watched || p->partitions[i].written || p->partitions[i].leader != to->id)
            continue;
        struct produce_partition_produce_data *d = &t.partition_data.items[t.partition_data.len++];
        produce_partition_produce_data_init(d);
        d->index = i;
        d->records.mem = (struct bytes){(uint8_t *)p->batch.p, (int32_t)p->batch.len};
    }
    if (t.partition_data.len > 0)
        send_request(to->fd, API_PRODUCE, PRODUCE_VERSION, &request);
    arena_deinit(&a);
    return t.partition_data.len > 0;
}

static void take_answers(struct probe *p, const struct peer *from)
{
    struct arena a = {0};
    struct produce_response response;
    take_answer(from->fd, API_PRODUCE, PRODUCE_VERSION, &response, &p->frame, &a);
    if (response.responses.len != 1)
        die("produce: no answer for the topic");
    const struct produce_topic_produce_response *t = &response.responses.items[0];
    for (int32_t i = 0; i < t->partition_responses.len; i++) {
        const struct produce_partition_produce_response *answer = &t->partition_responses.items[i];
        if (answer->error_code != 0 && !error_is_retriable(answer->error_code))
            die("produce to partition %d: %s", answer->index, error_name(answer->error_code));
        if (answer->error_code == 0) {
            p->partitions[answer->index].written = true;
            p->written++;
        }
    }
    arena_deinit(&a);
}

/* All leaders are written to at the same time, each in one request. */
static void produce_round(struct probe *p)
{
    bool sent[MOST_BROKERS];
    for (int32_t i = 0; i < p->peers_len; i++)
        sent[i] = send_records(p, &p->peers[i]);
    for (int32_t i = 0; i < p->peers_len; i++)
        if (sent[i])
            take_answers(p, &p->peers[i]);
}

static bool are_in_sync(struct probe *p, int32_t partitions, int32_t count)
{
    struct arena a = {0};
    struct metadata_response m;
    ask_metadata(p->fd, p->topic, &m, &p->frame, &a);
    const struct metadata_response_topic *t = &m.topics.items[0];
    bool all = t->error_code == 0 && t->partitions.len == partitions;
    for (int32_t i = 0; all && i < t->partitions.len; i++)
        all = t->partitions.items[i].leader_id >= 0 && t->partitions.items[i].isr_nodes.len == count;
    arena_deinit(&a);
    return all;
}

static void give_up_after(int64_t begun_us, const struct probe *p)
{
    if (clock_mono_us() - begun_us > MOST_SECONDS * INT64_C(1000000))
        die("%d of %d partitions are written, or not all are in sync, after %d s", p->written, p->watched,
            MOST_SECONDS);
}

/* So that not most of what is measured is the asking: of thousands of partitions an answer is a megabyte. */
static void rest_after(int64_t asked_us)
{
    enum { SHARE = 3 };
    usleep((useconds_t)MAX((clock_mono_us() - asked_us) * SHARE, (int64_t)PAUSE_US));
}

static void wait_until_in_sync(struct probe *p, int32_t partitions, int32_t count)
{
    int64_t begun_us = clock_mono_us(), asked_us = begun_us;
    for (; !are_in_sync(p, partitions, count); asked_us = clock_mono_us()) {
        give_up_after(begun_us, p);
        rest_after(asked_us);
    }
    printf("{\"sync_us\": %" PRId64 "}\n", clock_mono_us());
}

static void wait_until_written(struct probe *p)
{
    int64_t begun_us = clock_mono_us();
    make_batch(&p->batch, 100, 0, CODEC_NONE);
    look_around(p);
    printf("{\"watched\": %" PRId32 "}\n", p->watched);
    fflush(stdout);
    for (int64_t asked_us = clock_mono_us(); !find_leaders(p); asked_us = clock_mono_us()) {
        give_up_after(begun_us, p);
        rest_after(asked_us);
    }
    int64_t led_us = clock_mono_us();
    for (produce_round(p); p->written < p->watched; produce_round(p)) {
        give_up_after(begun_us, p);
        usleep(PAUSE_US);
        find_leaders(p);
    }
    printf("{\"led_us\": %" PRId64 ", \"written_us\": %" PRId64 "}\n", led_us, clock_mono_us());
}

int main(int argc, char **argv)
{
    bool sync = argc == 7 && strcmp(argv[4], "sync") == 0;
    if (argc != 5 && !sync)
        die("usage: see the top of probe.c");
    struct probe p = {.fd = dial(argv[1], argv[2]), .topic = argv[3], .gone = sync ? -1 : atoi(argv[4])};
    if (sync)
        wait_until_in_sync(&p, atoi(argv[5]), atoi(argv[6]));
    else
        wait_until_written(&p);
    return 0;
}
