#include "client.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "party.h"
#include "protocol/error.h"
#include "protocol/frame.h"
#include "protocol/msg/api.h"
#include "protocol/msg/fetch.h"
#include "protocol/msg/produce.h"
#include "record/record.h"

/* ---- Facts ---- */

struct fact {
    struct fact_key {
        int64_t offset;
        int64_t partition;
    } key;
    uint32_t crc;
    char who[32];
    UT_hash_handle hh;
};

static struct fact *facts;
static int64_t last_facts[MAX_PARTITIONS]; /* the offset behind */
static int64_t acknowledged;

static struct fact *find_fact(int partition, int64_t offset)
{
    struct fact_key key = {offset, partition};
    struct fact *f;
    HASH_FIND(hh, facts, &key, sizeof(key), f);
    return f;
}

void violation(const char *fmt, ...)
{
    va_list args;
    fprintf(stderr, "VIOLATION at %" PRId64 " us: ", sim_now_us());
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    _exit(3);
}

void fact_state(int partition, int64_t offset, uint32_t crc, const char *who)
{
    struct fact *f = find_fact(partition, offset);
    if (f != NULL && f->crc != crc)
        violation("%s has another batch at offset %" PRId64 " of partition %d than %s", who, offset, partition, f->who);
    if (f != NULL)
        return;
    f = xcalloc(1, sizeof(*f));
    f->key = (struct fact_key){offset, partition};
    f->crc = crc;
    last_facts[partition] = MAX(last_facts[partition], offset + 1);
    snprintf(f->who, sizeof(f->who), "%s", who);
    HASH_ADD(hh, facts, key, sizeof(f->key), f);
}

void fact_acknowledged(int partition, int64_t offset, uint32_t crc)
{
    int copies = replicas_with(partition, offset);
    fact_state(partition, offset, crc, "the producer");
    if (copies < MIN_IN_SYNC)
        violation("the batch at offset %" PRId64 " of partition %d is acknowledged and has %d copies", offset,
                  partition, copies);
    check_in_sync(partition);
    acknowledged++;
}

void facts_check_log(int partition, struct bytes log, const char *who)
{
    struct batch b;
    int64_t found = 0, expected = 0;
    sequences_check(partition, log, who);
    while (batch_next(&log, &b) == BATCH_OK) {
        struct fact *f = find_fact(partition, b.base_offset);
        if (f != NULL && f->crc != be32_get(b.p + 17))
            violation("%s ends with another batch at offset %" PRId64 " of partition %d than %s", who, b.base_offset,
                      partition, f->who);
        found += f != NULL;
    }
    for (struct fact *f = facts; f != NULL; f = f->hh.next)
        expected += f->key.partition == partition;
    if (found != expected)
        violation("%s has %" PRId64 " of the %" PRId64 " batches of partition %d that were promised", who, found,
                  expected, partition);
}

int64_t fact_last(int partition)
{
    return last_facts[partition] - 1;
}

int64_t facts_count(void)
{
    return (int64_t)HASH_COUNT(facts);
}

/* ---- The clients ---- */

static struct process process = {.name = "client", .number = MAX_PROCESSES - 2};
static struct loop *loop;
static struct party parties[2 * MAX_PARTITIONS];
static int party_count;
static bool stopped;

static void go_on(struct timer *t);

static int number_in(const char *text, const char *key)
{
    const char *at = text != NULL ? strstr(text, key) : NULL;
    return at != NULL ? (int)strtol(at + strlen(key), NULL, 10) : -1;
}

static void rest(struct party *p, int64_t ms)
{
    timer_start(&p->timer, ms);
}

bool party_find_leader(struct party *p)
{
    char host[16], path[128];
    snprintf(path, sizeof(path), "/brokers/topics/" SIM_TOPIC "/partitions/%d/state", p->partition);
    const char *state = ensemble_get(path);
    int leader = number_in(state, "\"leader\":");
    p->leader_epoch = number_in(state, "\"leader_epoch\":");
    if (leader < 0)
        return false;
    if (p->client != NULL && p->leader == leader)
        return true;
    client_free(p->client);
    snprintf(host, sizeof(host), "b%d", leader);
    p->client = client_new(&(struct client_options){.loop = loop}, host, 9092);
    p->leader = leader;
    return true;
}

void party_post(struct party *p, int16_t key, int16_t version, const void *request)
{
    struct strbuf frame;
    request_frame(&frame, key, version, STR_LIT("sim"), request);
    p->waiting = true;
    client_send(p->client, &frame, &p->call);
}

/* ---- Producing ---- */

struct bytes party_make_batch(struct party *p, int64_t producer_id, int16_t epoch, int32_t sequence)
{
    struct batch_builder b;
    struct strbuf out = {0};
    int32_t count = 1 + (int32_t)sim_random(3);
    batch_builder_init(&b, 0);
    b.head.producer_id = producer_id;
    b.head.producer_epoch = epoch;
    b.head.base_sequence = sequence;
    for (int32_t i = 0; i < count; i++) {
        char value[256];
        int len =
            snprintf(value, sizeof(value), "%d.%" PRId64 ".%*s", p->partition, p->number++, (int)sim_random(150), "");
        struct record r = {.offset = i, .timestamp = clock_wall_ms(), .value = {(const uint8_t *)value, len}};
        batch_builder_add(&b, &r);
    }
    bool ok = batch_builder_finish(&b, 0, &out);
    ensure(ok);
    batch_builder_deinit(&b);
    struct bytes bytes = {arena_copy(&p->arena, out.p, out.len), (int32_t)out.len}, rest_of = bytes;
    struct batch made;
    ok = batch_next(&rest_of, &made) == BATCH_OK;
    ensure(ok);
    p->crc = be32_get(made.p + 17);
    strbuf_deinit(&out);
    return bytes;
}

static void on_produced(struct client_call *call, struct bytes frame)
{
    struct party *p = CONTAINER_OF(call, struct party, call);
    struct produce_response response;
    p->waiting = false;
    if (frame.p != NULL) {
        bool ok = response_frame_read(frame, API_PRODUCE, PRODUCE_VERSION, &response, &p->arena);
        ensure(ok);
        const struct produce_partition_produce_response *part =
            &response.responses.items[0].partition_responses.items[0];
        if (part->error_code == ERR_NONE) {
            fact_acknowledged(p->partition, part->base_offset, p->crc);
        }
    }
    arena_deinit(&p->arena);
    rest(p, 5 + sim_random(60));
}

static void produce(struct party *p)
{
    struct produce_request q;
    produce_request_init(&q);
    q.acks = -1;
    q.timeout_ms = WAIT_MS;
    ARRAY_MAKE(&p->arena, q.topic_data, 1);
    produce_topic_produce_data_init(&q.topic_data.items[0]);
    q.topic_data.items[0].name = STR_LIT(SIM_TOPIC);
    ARRAY_MAKE(&p->arena, q.topic_data.items[0].partition_data, 1);
    struct produce_partition_produce_data *data = &q.topic_data.items[0].partition_data.items[0];
    produce_partition_produce_data_init(data);
    data->index = p->partition;
    data->records.mem = party_make_batch(p, NO_PRODUCER_ID, NO_PRODUCER_EPOCH, -1);
    p->call = (struct client_call){.done = on_produced, .timeout_ms = WAIT_MS};
    party_post(p, API_PRODUCE, PRODUCE_VERSION, &q);
}

/* ---- Reading ---- */

static void take_records(struct party *p, struct bytes records)
{
    struct batch b;
    while (batch_next(&records, &b) == BATCH_OK) {
        fact_state(p->partition, b.base_offset, be32_get(b.p + 17), "the reader");
        p->offset = b.last_offset + 1;
    }
}

static void on_fetched(struct client_call *call, struct bytes frame)
{
    struct party *p = CONTAINER_OF(call, struct party, call);
    struct fetch_response response;
    p->waiting = false;
    if (frame.p != NULL) {
        bool ok = response_frame_read(frame, API_FETCH, FETCH_VERSION, &response, &p->arena);
        ensure(ok);
        if (response.responses.len > 0) {
            const struct fetch_partition_data *part = &response.responses.items[0].partitions.items[0];
            if (part->error_code == ERR_OFFSET_OUT_OF_RANGE)
                violation("the reader at offset %" PRId64 " of partition %d is out of range: the log is %" PRId64
                          " to %" PRId64,
                          p->offset, p->partition, part->log_start_offset, part->high_watermark);
            if (part->error_code == ERR_NONE)
                take_records(p, part->records.mem);
        }
    }
    arena_deinit(&p->arena);
    rest(p, 20 + sim_random(200));
}

static void fetch(struct party *p)
{
    struct fetch_request q;
    fetch_request_init(&q);
    q.replica_id = -1;
    q.max_wait_ms = 200;
    q.min_bytes = 1;
    q.session_epoch = -1;
    ARRAY_MAKE(&p->arena, q.topics, 1);
    fetch_topic_init(&q.topics.items[0]);
    q.topics.items[0].topic = STR_LIT(SIM_TOPIC);
    ARRAY_MAKE(&p->arena, q.topics.items[0].partitions, 1);
    fetch_partition_init(&q.topics.items[0].partitions.items[0]);
    q.topics.items[0].partitions.items[0].partition = p->partition;
    q.topics.items[0].partitions.items[0].fetch_offset = p->offset;
    q.topics.items[0].partitions.items[0].current_leader_epoch =
        p->leader_epoch; /* one that was deposed must not answer */
    q.topics.items[0].partitions.items[0].partition_max_bytes = 1 << 20;
    p->call = (struct client_call){.done = on_fetched, .timeout_ms = WAIT_MS};
    party_post(p, API_FETCH, FETCH_VERSION, &q);
}

static void go_on(struct timer *t)
{
    struct party *p = CONTAINER_OF(t, struct party, timer);
    if (p->waiting || (stopped && p->produces))
        return;
    if (!party_find_leader(p))
        rest(p, 100);
    else if (p->produces)
        produce(p);
    else
        fetch(p);
}

static void start_party(int partition, bool produces)
{
    struct party *p = &parties[party_count++];
    *p = (struct party){.partition = partition, .produces = produces, .leader = -1};
    timer_init(&p->timer, loop, go_on);
    timer_start(&p->timer, 0);
}

void clients_start(int partitions)
{
    process_start(&process, NULL, NULL);
    loop = process_loop(&process);
    for (int i = 0; i < partitions; i++) {
        uint32_t kinds = 1 + sim_random(3);
        start_party(i, false);
        if ((kinds & 1) != 0)
            start_party(i, true);
        if ((kinds & 2) != 0)
            idempotent_start(loop, i);
    }
}

bool clients_are_stopping(void)
{
    return stopped;
}

void clients_stop(void)
{
    stopped = true;
}

int64_t clients_acknowledged(void)
{
    return acknowledged;
}
