/*
 * The benchmarks' load, as cheap as it can be made: requests are built once and sent again and again, answers are
 * looked at no more than they must be. Bytes are those of record batches, compressed if they are. Prints one line of
 * JSON.
 *
 *   load produce  HOST PORT TOPIC PARTITIONS BYTES RECORD_SIZE BATCH_SIZE CODEC ACKS
 *   load steady   the same, and RATE: at most so many bytes per second
 *   load keyed    HOST PORT TOPIC PARTITIONS BYTES KEYS RECORD_SIZE BATCH_SIZE CODEC RATE    one after the other, each
 *                 another batch; at most RATE bytes per second if it is not 0
 *   load crowd    HOST PORT TOPIC PARTITIONS REQUESTS RECORD_SIZE BATCH_SIZE CODEC ACKS CONNECTIONS IN_FLIGHT
 *                 so many producers, each with so many requests on their way
 *   load consume  HOST PORT TOPIC PARTITIONS BYTES FETCH_SIZE
 *   load readers  HOST PORT TOPIC PARTITIONS BYTES FETCH_SIZE CONNECTIONS     so many consumers, each of so many bytes
 *   load latency  HOST PORT TOPIC RATE SECONDS RECORD_SIZE ACKS     produce to acknowledgement, and to a consumer
 *   load idle     HOST PORT COUNT                                  holds connections until its input ends
 *   load comers   HOST PORT RATE SECONDS                           so many connections a second, each closed at once
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/turns.h"
#include "client.h"
#include "protocol/msg/api.h"
#include "protocol/msg/fetch.h"
#include "protocol/msg/produce.h"

enum { PRODUCE_VERSION = 9, FETCH_VERSION = 12, IN_FLIGHT = 5, MOST_PARTITIONS = 64 };

/* ---- Produce ---- */

static void make_produce(struct writer *w, const char *topic, int32_t partition, struct bytes batch, int16_t acks)
{
    struct produce_request request;
    struct produce_topic_produce_data t;
    struct produce_partition_produce_data p;
    produce_request_init(&request);
    produce_topic_produce_data_init(&t);
    produce_partition_produce_data_init(&p);
    request.acks = acks;
    request.timeout_ms = 30000;
    request.topic_data.items = &t;
    request.topic_data.len = 1;
    t.name = str_of(topic);
    t.partition_data.items = &p;
    t.partition_data.len = 1;
    p.index = partition;
    p.records.mem = batch;
    begin_frame(w, API_PRODUCE, PRODUCE_VERSION);
    produce_request_write(w, PRODUCE_VERSION, &request);
    end_frame(w);
}

/* Returns where the batch lies now. */
static int64_t check_produced(int fd, struct strbuf *frame)
{
    struct arena a = {0};
    struct produce_response response;
    take_answer(fd, API_PRODUCE, PRODUCE_VERSION, &response, frame, &a);
    struct produce_partition_produce_response answer = response.responses.items[0].partition_responses.items[0];
    if (answer.error_code != 0)
        die("produce: error %d", answer.error_code);
    arena_deinit(&a);
    return answer.base_offset;
}

static enum codec codec_of(const char *name)
{
    enum codec codec;
    if (!codec_parse(str_of(name), &codec))
        die("no codec %s", name);
    return codec;
}

static void print_produced(int64_t bytes, int64_t records, int64_t requests, int64_t start_us)
{
    printf("{\"bytes\": %" PRId64 ", \"records\": %" PRId64 ", \"requests\": %" PRId64 ", \"seconds\": %.6f}\n", bytes,
           records, requests, (double)(clock_mono_us() - start_us) / 1e6);
}

/* A request for each partition. */
static struct writer *make_frames(const char *topic, int32_t partitions, const struct strbuf *batch, int16_t acks)
{
    struct writer *frames = xcalloc((size_t)partitions, sizeof(*frames));
    for (int32_t p = 0; p < partitions; p++)
        make_produce(&frames[p], topic, p, (struct bytes){(uint8_t *)batch->p, (int32_t)batch->len}, acks);
    return frames;
}

/* Not before it is due, at so many bytes per second from `start` on. */
static void wait_for_turn(int64_t start, int64_t sent, int64_t rate)
{
    int64_t due = rate > 0 ? start + sent * 1000000 / rate : 0, now = clock_mono_us();
    if (now < due)
        usleep((useconds_t)(due - now));
}

/* At most `rate` bytes per second if it is not 0. */
static void produce(char **args, int64_t rate)
{
    int64_t total = atoll(args[4]), sent = 0, records = 0, requests = 0;
    int32_t partitions = atoi(args[3]);
    struct strbuf batch = {0}, frame = {0};
    int fd = dial(args[0], args[1]), open = 0;
    int32_t count = make_batch(&batch, atoll(args[5]), atoll(args[6]), codec_of(args[7]));
    struct writer *frames = make_frames(args[2], partitions, &batch, (int16_t)atoi(args[8]));
    int64_t start = clock_mono_us();
    while (sent < total || open > 0) {
        if (sent < total && open < IN_FLIGHT) {
            const struct writer *w = &frames[requests++ % partitions];
            wait_for_turn(start, sent, rate);
            write_all(fd, w->buf.p, w->buf.len);
            sent += (int64_t)batch.len;
            records += count;
            open++;
        } else {
            check_produced(fd, &frame);
            open--;
        }
    }
    print_produced(sent, records, requests, start);
}

static int run_produce(char **args)
{
    produce(args, 0);
    return 0;
}

static int run_steady(char **args)
{
    produce(args, atoll(args[9]));
    return 0;
}

/* ---- Many producers ---- */

struct crowd {
    struct writer *frames; /* by partition */
    int32_t partitions;
    int64_t left, requests; /* to be sent, and to be answered */
    size_t error_at;        /* in an answer */
};

struct producer {
    int fd;
    uint8_t in[1024]; /* answers, the last of them perhaps in part */
    size_t len;
};

static void send_next(struct crowd *c, const struct producer *p)
{
    if (c->left == 0)
        return;
    const struct writer *w = &c->frames[c->left-- % c->partitions];
    write_all(p->fd, w->buf.p, w->buf.len);
}

/* Takes the answers that are there, and sends as many requests. Only their errors are looked at, as more would be the
 * load's CPU. */
static void take_answers(struct crowd *c, struct producer *p)
{
    size_t at = 0, frame;
    ssize_t n = read_some(p->fd, p->in + p->len, sizeof(p->in) - p->len);
    if (n <= 0)
        die("the broker has closed the connection");
    p->len += (size_t)n;
    for (; p->len - at >= 4 && p->len - at >= (frame = 4 + (size_t)be32_get(p->in + at)); at += frame) {
        if (be16_get(p->in + at + c->error_at) != 0)
            die("produce: error %d", (int16_t)be16_get(p->in + at + c->error_at));
        c->requests--;
        send_next(c, p);
    }
    p->len -= at;
    memmove(p->in, p->in + at, p->len);
}

/* Where the error stands in each answer about one partition of that topic: behind length, header, topic and partition.
 */
static size_t find_error(const char *topic)
{
    enum { LENGTH = 4, HEADER = 5, COUNT = 1, NAME_LENGTH = 1, INDEX = 4 };
    if (strlen(topic) > 100)
        die("too long a name: %s", topic);
    return LENGTH + HEADER + COUNT + NAME_LENGTH + strlen(topic) + COUNT + INDEX;
}

static void keep_going(struct crowd *c, char **args, int count, int in_flight)
{
    struct producer *all = xcalloc((size_t)count, sizeof(*all));
    struct epoll_event ready[64];
    int poll = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < count; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[i]};
        all[i].fd = dial(args[0], args[1]);
        if (epoll_ctl(poll, EPOLL_CTL_ADD, all[i].fd, &event) < 0)
            die("epoll: %m");
    }
    for (int n = 0; n < in_flight; n++)
        for (int i = 0; i < count; i++)
            send_next(c, &all[i]);
    while (c->requests > 0) {
        int n = epoll_wait(poll, ready, ARRAY_LEN(ready), -1);
        for (int i = 0; i < n; i++)
            take_answers(c, ready[i].data.ptr);
    }
}

static int run_crowd(char **args)
{
    int64_t requests = atoll(args[4]);
    struct crowd c = {
        .partitions = atoi(args[3]), .left = requests, .requests = requests, .error_at = find_error(args[2])};
    struct strbuf batch = {0};
    int64_t count = make_batch(&batch, atoll(args[5]), atoll(args[6]), codec_of(args[7]));
    c.frames = make_frames(args[2], c.partitions, &batch, (int16_t)atoi(args[8]));
    int64_t start = clock_mono_us();
    keep_going(&c, args, atoi(args[9]), atoi(args[10]));
    print_produced(requests * (int64_t)batch.len, requests * count, requests, start);
    return 0;
}

/* ---- Produce what can be compacted ---- */

enum { WORDS = 256, WORD_SIZE = 8, KEY_SIZE = 16 };

struct keyed {
    struct arena a;
    uint64_t seed;
    int64_t keys, record_size, batch_size;
    enum codec codec;
    char words[WORDS][WORD_SIZE]; /* values are made of them, so that they can be compressed as what people write can */
};

static uint64_t next_random(struct keyed *k)
{
    k->seed = k->seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return k->seed >> 33;
}

static void fill_words(struct keyed *k)
{
    for (int i = 0; i < WORDS; i++)
        for (int j = 0; j < WORD_SIZE; j++)
            k->words[i][j] = (char)('a' + next_random(k) % 26);
}

static void add_keyed(struct keyed *k, struct batch_builder *b, struct record *r)
{
    char *key = arena_alloc(&k->a, KEY_SIZE + 1), *value = arena_alloc(&k->a, (size_t)k->record_size + WORD_SIZE);
    snprintf(key, KEY_SIZE + 1, "%0*" PRIu64, KEY_SIZE, next_random(k) % (uint64_t)k->keys);
    for (int64_t i = 0; i < k->record_size; i += WORD_SIZE)
        memcpy(value + i, k->words[next_random(k) % WORDS], WORD_SIZE);
    r->key = (struct bytes){(uint8_t *)key, KEY_SIZE};
    r->value = (struct bytes){(uint8_t *)value, (int32_t)k->record_size};
    batch_builder_add(b, r);
    r->offset++;
}

/* The next batch, in `out`. Returns how many records are in it. */
static int64_t make_keyed(struct keyed *k, struct strbuf *out)
{
    struct batch_builder b;
    struct record r = {.timestamp = clock_wall_ms()};
    batch_builder_init(&b, (int16_t)k->codec);
    strbuf_clear(out);
    do
        add_keyed(k, &b, &r);
    while ((int64_t)batch_builder_size(&b) < k->batch_size);
    if (!batch_builder_finish(&b, CODEC_LEVEL_DEFAULT, out))
        die("the batch cannot be compressed");
    batch_builder_deinit(&b);
    arena_deinit(&k->a);
    k->a = (struct arena){0};
    return r.offset;
}

static int run_keyed(char **args)
{
    struct keyed k = {.seed = 1, .keys = atoll(args[5]), .record_size = atoll(args[6]), .batch_size = atoll(args[7])};
    struct strbuf batch = {0}, frame = {0};
    int64_t total = atoll(args[4]), rate = atoll(args[9]), sent = 0, records = 0, requests = 0;
    int32_t partitions = atoi(args[3]);
    int fd = dial(args[0], args[1]);
    k.codec = codec_of(args[8]);
    fill_words(&k);
    int64_t start = clock_mono_us();
    for (; sent < total; requests++) {
        struct writer w;
        wait_for_turn(start, sent, rate);
        records += make_keyed(&k, &batch);
        make_produce(&w, args[2], (int32_t)(requests % partitions),
                     (struct bytes){(uint8_t *)batch.p, (int32_t)batch.len}, 1);
        write_all(fd, w.buf.p, w.buf.len);
        writer_deinit(&w);
        check_produced(fd, &frame);
        sent += (int64_t)batch.len;
    }
    print_produced(sent, records, requests, start);
    return 0;
}

/* ---- Consume ---- */

struct consumer {
    int fd;
    const char *topic;
    int32_t partitions, fetch_size, max_wait_ms;
    int64_t offsets[MOST_PARTITIONS];
    struct strbuf frame;
};

static void send_fetch(struct consumer *c)
{
    struct fetch_request request;
    struct fetch_topic t;
    struct fetch_partition p[MOST_PARTITIONS];
    fetch_request_init(&request);
    fetch_topic_init(&t);
    request.replica_id = -1;
    request.max_wait_ms = c->max_wait_ms;
    request.min_bytes = 1;
    request.max_bytes = c->fetch_size * c->partitions;
    request.session_epoch = -1;
    request.topics.items = &t;
    request.topics.len = 1;
    t.topic = str_of(c->topic);
    t.partitions.items = p;
    t.partitions.len = c->partitions;
    for (int32_t i = 0; i < c->partitions; i++) {
        fetch_partition_init(&p[i]);
        p[i].partition = i;
        p[i].fetch_offset = c->offsets[i];
        p[i].partition_max_bytes = c->fetch_size;
    }
    send_request(c->fd, API_FETCH, FETCH_VERSION, &request);
}

/* Moves on past what came; returns its bytes. `seen` is called with each batch, if there is one. */
static int64_t take_fetched(struct consumer *c, void (*seen)(void *ctx, const struct batch *b), void *ctx)
{
    struct arena a = {0};
    struct fetch_response response;
    int64_t bytes = 0;
    take_answer(c->fd, API_FETCH, FETCH_VERSION, &response, &c->frame, &a);
    if (response.error_code != 0)
        die("fetch: error %d", response.error_code);
    for (int32_t t = 0; t < response.responses.len; t++)
        for (int32_t i = 0; i < response.responses.items[t].partitions.len; i++) {
            const struct fetch_partition_data *p = &response.responses.items[t].partitions.items[i];
            struct bytes rest = p->records.mem;
            struct batch b;
            if (p->error_code != 0)
                die("fetch: error %d", p->error_code);
            bytes += MAX(rest.len, 0);
            while (rest.p != NULL && batch_next(&rest, &b) == BATCH_OK) {
                c->offsets[p->partition_index] = b.last_offset + 1;
                if (seen != NULL)
                    seen(ctx, &b);
            }
        }
    arena_deinit(&a);
    return bytes;
}

/* Reads from the beginning on; returns its bytes. */
static int64_t consume(char **args)
{
    struct consumer c = {.fd = dial(args[0], args[1]),
                         .topic = args[2],
                         .partitions = atoi(args[3]),
                         .fetch_size = atoi(args[5]),
                         .max_wait_ms = 500};
    int64_t total = atoll(args[4]), bytes = 0;
    while (bytes < total) {
        send_fetch(&c);
        int64_t got = take_fetched(&c, NULL, NULL);
        if (got == 0)
            die("the topic ends after %" PRId64 " bytes", bytes);
        bytes += got;
    }
    return bytes;
}

static void print_consumed(int64_t bytes, int64_t start_us)
{
    printf("{\"bytes\": %" PRId64 ", \"seconds\": %.6f}\n", bytes, (double)(clock_mono_us() - start_us) / 1e6);
}

static int run_consume(char **args)
{
    int64_t start = clock_mono_us();
    print_consumed(consume(args), start);
    return 0;
}

/* ---- Many consumers ---- */

enum { MOST_READERS = 1000 };

static void *read_alone(void *arg)
{
    return (void *)(intptr_t)consume(arg);
}

static int run_readers(char **args)
{
    pthread_t readers[MOST_READERS];
    int count = MIN(atoi(args[6]), MOST_READERS);
    int64_t bytes = 0, start = clock_mono_us();
    for (int i = 0; i < count; i++)
        if (pthread_create(&readers[i], NULL, read_alone, args) != 0)
            die("no thread for a reader");
    for (int i = 0; i < count; i++) {
        void *read;
        pthread_join(readers[i], &read);
        bytes += (intptr_t)read;
    }
    print_consumed(bytes, start);
    return 0;
}

/* ---- Latency ---- */

struct latency {
    char **args;
    int64_t count, interval_us;
    int64_t *acked_us, *seen_us; /* by record */
    int64_t seen;
    int64_t first; /* the offset of the first record that counts */
    int64_t begun_us;
};

static void note_batch(void *ctx, const struct batch *b)
{
    struct latency *l = ctx;
    int64_t now = clock_mono_us();
    for (int64_t o = b->base_offset; o <= b->last_offset && l->seen < l->count; o++)
        l->seen_us[l->seen++] = now;
}

static void *watch(void *arg)
{
    struct latency *l = arg;
    struct consumer c = {.fd = dial(l->args[0], l->args[1]),
                         .topic = l->args[2],
                         .partitions = 1,
                         .fetch_size = 1 << 20,
                         .max_wait_ms = 500};
    c.offsets[0] = l->first;
    while (l->seen < l->count) {
        send_fetch(&c);
        take_fetched(&c, note_batch, l);
    }
    return NULL;
}

struct ack_reader {
    struct latency *l;
    int fd;
};

static void *read_acks(void *arg)
{
    struct ack_reader *a = arg;
    struct strbuf frame = {0};
    for (int64_t i = 0; i < a->l->count; i++) {
        check_produced(a->fd, &frame);
        a->l->acked_us[i] = clock_mono_us();
    }
    return NULL;
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void print_latencies(const char *name, int64_t *v, int64_t count, const char *after)
{
    qsort(v, (size_t)count, sizeof(*v), by_value);
    printf("\"%s\": {\"p50\": %" PRId64 ", \"p99\": %" PRId64 ", \"p999\": %" PRId64 ", \"max\": %" PRId64 "}%s", name,
           v[count / 2], v[count * 99 / 100], v[count * 999 / 1000], v[count - 1], after);
}

/* The topic must be of one partition. Each record is a request of its own, sent when it is due; one more goes ahead. */
static int run_latency(char **args)
{
    struct latency l = {.args = args};
    int64_t rate = atoll(args[3]);
    struct strbuf batch = {0}, frame = {0};
    struct writer w;
    pthread_t watcher, acks;
    turns_make_short(); /* what waits for this program is not the broker's */
    l.count = rate * atoll(args[4]);
    l.interval_us = 1000000 / rate;
    l.acked_us = xcalloc((size_t)l.count, sizeof(int64_t));
    l.seen_us = xcalloc((size_t)l.count, sizeof(int64_t));
    make_batch(&batch, atoll(args[5]), 0, CODEC_NONE);
    make_produce(&w, args[2], 0, (struct bytes){(uint8_t *)batch.p, (int32_t)batch.len}, (int16_t)atoi(args[6]));
    struct ack_reader reader = {&l, dial(args[0], args[1])};
    write_all(reader.fd, w.buf.p, w.buf.len);
    l.first = check_produced(reader.fd, &frame) + 1;
    pthread_create(&watcher, NULL, watch, &l);
    pthread_create(&acks, NULL, read_acks, &reader);
    l.begun_us = clock_mono_us();
    for (int64_t i = 0; i < l.count; i++) {
        int64_t due = l.begun_us + i * l.interval_us, now = clock_mono_us();
        if (now < due)
            usleep((useconds_t)(due - now));
        write_all(reader.fd, w.buf.p, w.buf.len);
    }
    pthread_join(acks, NULL);
    pthread_join(watcher, NULL);
    for (int64_t i = 0; i < l.count; i++) { /* counted from when the record was due: a stall delays all that wait */
        l.acked_us[i] -= l.begun_us + i * l.interval_us;
        l.seen_us[i] -= l.begun_us + i * l.interval_us;
    }
    printf("{");
    print_latencies("acked_us", l.acked_us, l.count, ", ");
    print_latencies("seen_us", l.seen_us, l.count, "}\n");
    return 0;
}

/* ---- Idle connections ---- */

static int run_idle(char **args)
{
    int count = atoi(args[2]);
    for (int i = 0; i < count; i++)
        (void)dial(args[0], args[1]);
    printf("{\"connections\": %d}\n", count);
    fflush(stdout);
    while (getchar() != EOF)
        ;
    return 0;
}

/* ---- Those who come and go ---- */

struct comers {
    char **args;
    int64_t count, rate, start_us;
    _Atomic int64_t next;
};

static void *come_and_go(void *arg)
{
    struct comers *c = arg;
    for (int64_t i; (i = atomic_fetch_add(&c->next, 1)) < c->count;) {
        wait_for_turn(c->start_us, i, c->rate);
        hang_up(dial(c->args[0], c->args[1]));
    }
    return NULL;
}

/* In several threads, as one that waits for the broker at each step would be what is measured. */
static int run_comers(char **args)
{
    enum { COMERS = 4 };
    pthread_t threads[COMERS];
    hang_up(dial(args[0], args[1])); /* makes what all threads share */
    struct comers c = {
        .args = args, .rate = atoll(args[2]), .count = atoll(args[2]) * atoll(args[3]), .start_us = clock_mono_us()};
    for (int i = 0; i < COMERS; i++)
        pthread_create(&threads[i], NULL, come_and_go, &c);
    for (int i = 0; i < COMERS; i++)
        pthread_join(threads[i], NULL);
    printf("{\"connections\": %" PRId64 ", \"seconds\": %.6f}\n", c.count,
           (double)(clock_mono_us() - c.start_us) / 1e6);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct mode modes[] = {
        {"produce", 9, run_produce}, {"steady", 10, run_steady},  {"crowd", 11, run_crowd},
        {"keyed", 10, run_keyed},    {"consume", 6, run_consume}, {"readers", 7, run_readers},
        {"latency", 7, run_latency}, {"idle", 3, run_idle},       {"comers", 4, run_comers}};
    return run_mode(modes, ARRAY_LEN(modes), argc, argv, "load.c");
}
