/*
 * What a large cluster sends: sim --size PARTITIONS --brokers BROKERS. Nothing goes wrong by chance here. Most
 * partitions are led and followed by all brokers but the last one; that one, the victim, has replicas of a topic whose
 * size is always the same. So what it costs that this topic is made, that the victim is killed and that it comes back
 * must not depend on how many partitions there are beside it, but for what the victim itself has to be told of all of
 * them; and a new controller reads all and tells all of it once.
 *
 * Each size runs in a process of its own: a quarter of it, and all of it. The tables say what was sent.
 */
#include <inttypes.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/logger.h"
#include "broker/broker.h"
#include "cluster/view.h"
#include "cluster/znodes.h"
#include "protocol/msg/api.h"
#include "sim.h"

enum {
    SECOND = 1000000,
    FACTOR = 3,
    OF_A_TOPIC = 1000, /* of those that are only there */
    OF_THE_VICTIM = 300,
    MOST_BROKERS = MAX_PROCESSES - 2,
    PATIENCE_US = 600 * SECOND,
    QUIET_US = 3 * SECOND,
    LOOK_US = SECOND / 10,
};

#define VICTIMS_TOPIC "small"

struct size_broker {
    struct process process;
    char name[16];
    struct broker_config config;
};

struct size_topic {
    char name[32];
    int32_t partitions;
};

static struct size_broker brokers[MOST_BROKERS];
static struct size_topic *topics;
static int broker_count, topic_count;

/* ---- Brokers ---- */

static void configure(struct size_broker *b, int number)
{
    char id[32], listeners[64], dirs[32];
    snprintf(b->name, sizeof(b->name), "b%d", number);
    snprintf(id, sizeof(id), "broker.id=%d", number);
    snprintf(listeners, sizeof(listeners), "listeners=PLAINTEXT://%s:9092", b->name);
    snprintf(dirs, sizeof(dirs), "log.dirs=/%s", b->name);
    b->process = (struct process){.name = b->name, .number = number - 1};
    const char *overrides[] = {
        id,
        listeners,
        dirs,
        "zookeeper.connect=zookeeper:2181",
        "zookeeper.session.timeout.ms=30000", /* what a loop does takes no time here, and what waits for it much */
        "zookeeper.connection.timeout.ms=600000",
        "num.network.threads=1",
        "replica.lag.time.max.ms=600000",
        "replica.fetch.wait.max.ms=10000",
        "auto.leader.rebalance.enable=false",
        "replica.high.watermark.checkpoint.interval.ms=3600000",
        "log.flush.offset.checkpoint.interval.ms=3600000",
        "log.flush.start.offset.checkpoint.interval.ms=3600000",
        "log.retention.check.interval.ms=36000000",
        "log.cleaner.enable=false",
    };
    struct config_options options = {NULL, overrides, ARRAY_LEN(overrides), NULL, NULL};
    struct fail fail;
    if (config_load(&b->config, &options, &fail))
        return;
    fprintf(stderr, "%s\n", fail.text);
    exit(2);
}

static void run_broker(void *arg)
{
    struct size_broker *b = arg;
    broker_run(&b->config);
}

static void start_broker(struct size_broker *b)
{
    process_start(&b->process, run_broker, b);
}

static bool is_registered(const struct size_broker *b)
{
    char path[ZNODE_PATH_ROOM];
    return ensemble_get(broker_path(path, b->process.number + 1)) != NULL;
}

/* ---- Waiting ---- */

static void give_up_at(int64_t end, const char *what)
{
    if (sim_now_us() <= end)
        return;
    fprintf(stderr, "%s does not come to be\n", what);
    exit(1);
}

static bool state_is(const char *topic, int32_t partition, int32_t in_sync, int32_t without)
{
    struct arena a = {0};
    char path[ZNODE_PATH_ROOM];
    struct partition_znode state;
    const char *text = ensemble_get(state_path(path, topic, partition));
    bool is =
        text != NULL &&
        partition_decode(&a, topic, partition, (struct bytes){(const uint8_t *)text, (int32_t)strlen(text)}, &state) &&
        state.leader >= 0 && state.leader != without && state.isr.n >= in_sync && !int_list_has(state.isr, without);
    arena_deinit(&a);
    return is;
}

/* All partitions of the topic have so many in sync, and nobody counts on that broker. */
static void wait_for_topic(const struct size_topic *t, int32_t in_sync, int32_t without)
{
    int64_t end = sim_now_us() + PATIENCE_US;
    for (int32_t p = 0; p < t->partitions;) {
        if (state_is(t->name, p, in_sync, without)) {
            p++;
            continue;
        }
        give_up_at(end, t->name);
        sim_run_until(sim_now_us() + LOOK_US);
    }
}

static void wait_for_registration(const struct size_broker *b, bool registered)
{
    int64_t end = sim_now_us() + PATIENCE_US;
    while (is_registered(b) != registered) {
        give_up_at(end, b->name);
        sim_run_until(sim_now_us() + LOOK_US);
    }
}

/* ---- Topics ---- */

/* Each partition begins at the next broker of `among`. */
static void make_topic(const char *name, int32_t partitions, int among, bool of_victim)
{
    struct arena a = {0};
    struct int_list *replicas = ARENA_ARRAY(&a, struct int_list, partitions);
    static int next;
    for (int32_t p = 0; p < partitions; p++, next++) {
        replicas[p] = (struct int_list){ARENA_ARRAY(&a, int32_t, FACTOR), FACTOR};
        for (int i = 0; i < FACTOR; i++)
            replicas[p].v[i] = 1 + (next + i) % among;
        if (of_victim)
            replicas[p].v[p % FACTOR] = broker_count;
    }
    struct topic_znode z = {.id = uuid_random(), .replicas = replicas, .partition_count = partitions};
    struct bytes data = topic_encode(&a, &z);
    char *path = arena_cstr(&a, arena_printf(&a, ZNODE_TOPICS "/%s", name));
    ensemble_put(path, arena_cstr(&a, (struct str){(const char *)data.p, data.len}));
    arena_deinit(&a);
}

/* ---- What it costs ---- */

static const int16_t keys[] = {API_UPDATE_METADATA, API_LEADER_AND_ISR, API_STOP_REPLICA, API_ALTER_PARTITION};
static const char *const key_names[] = {"UpdateMetadata", "LeaderAndIsr", "StopReplica", "AlterPartition"};

enum { KEYS = 4, EVENTS = 4 };

struct cost {
    struct network_count sent[KEYS];
    struct ensemble_counts asked;
    int64_t took_us;
};

static struct cost cost_now(void)
{
    struct cost c = {.asked = ensemble_count(), .took_us = sim_now_us()};
    for (int k = 0; k < KEYS; k++)
        c.sent[k] = network_count(keys[k]);
    return c;
}

static struct cost cost_since(const struct cost *then)
{
    struct cost c;
    c = cost_now();
    for (int k = 0; k < KEYS; k++) {
        c.sent[k].requests -= then->sent[k].requests;
        c.sent[k].bytes -= then->sent[k].bytes;
    }
    c.asked.requests -= then->asked.requests;
    c.asked.reads -= then->asked.reads;
    c.asked.writes -= then->asked.writes;
    c.asked.bytes -= then->asked.bytes;
    c.took_us -= then->took_us;
    return c;
}

static int64_t bytes_sent(const struct cost *c)
{
    int64_t sum = 0;
    for (int k = 0; k < KEYS; k++)
        sum += c->sent[k].bytes;
    return sum;
}

static int64_t requests_sent(const struct cost *c)
{
    int64_t sum = 0;
    for (int k = 0; k < KEYS; k++)
        sum += c->sent[k].requests;
    return sum;
}

static void print_cost(const char *event, const struct cost *c)
{
    printf("  %s, %.1f s:\n", event, (double)(c->took_us - QUIET_US) / SECOND);
    for (int k = 0; k < KEYS; k++)
        printf("    %-15s %8" PRId64 " requests %12" PRId64 " bytes\n", key_names[k], c->sent[k].requests,
               c->sent[k].bytes);
    printf("    %-15s %8" PRId64 " requests %12" PRId64 " bytes; %" PRId64 " reads, %" PRId64 " writes\n", "ZooKeeper",
           c->asked.requests, c->asked.bytes, c->asked.reads, c->asked.writes);
    fflush(stdout);
}

/* ---- The events ---- */

/* Until nobody has anything to say any more: brokers carry out orders long after ZooKeeper says how it is to be. */
static void wait_until_quiet(void)
{
    int64_t end = sim_now_us() + PATIENCE_US;
    for (struct cost last = {0}, now = cost_now();
         requests_sent(&now) != requests_sent(&last) || now.asked.writes != last.asked.writes;) {
        give_up_at(end, "quiet");
        last = now;
        sim_run_until(sim_now_us() + QUIET_US);
        now = cost_now();
    }
}

static struct cost creation(void)
{
    static const struct size_topic small = {VICTIMS_TOPIC, OF_THE_VICTIM};
    struct cost before = cost_now();
    make_topic(small.name, small.partitions, broker_count - 1, true);
    wait_for_topic(&small, FACTOR, 0);
    wait_until_quiet();
    return cost_since(&before);
}

static struct cost loss(struct size_broker *b)
{
    static const struct size_topic small = {VICTIMS_TOPIC, OF_THE_VICTIM};
    process_kill(&b->process);
    wait_for_registration(b, true); /* until its session ends, it costs nothing */
    struct cost before = cost_now();
    wait_for_registration(b, false);
    wait_for_topic(&small, FACTOR - 1, b->process.number + 1);
    wait_until_quiet();
    return cost_since(&before);
}

static struct cost coming_back(struct size_broker *b)
{
    static const struct size_topic small = {VICTIMS_TOPIC, OF_THE_VICTIM};
    struct cost before = cost_now();
    start_broker(b);
    wait_for_registration(b, true);
    wait_for_topic(&small, FACTOR, 0);
    wait_until_quiet();
    return cost_since(&before);
}

/* The first broker, as all others came after it. */
static struct cost controller_loss(void)
{
    struct cost before = cost_now();
    process_kill(&brokers[0].process);
    wait_for_registration(&brokers[0], false);
    for (int i = 0; i < topic_count; i++)
        wait_for_topic(&topics[i], FACTOR - 1, 1);
    wait_until_quiet();
    return cost_since(&before);
}

static void begin_cluster(int partitions)
{
    ensemble_init();
    for (int i = 0; i < broker_count; i++) {
        configure(&brokers[i], i + 1);
        start_broker(&brokers[i]);
        if (i == 0 || i == broker_count - 1)
            wait_for_registration(&brokers[i], true);
    }
    for (int i = 0; i < broker_count; i++)
        wait_for_registration(&brokers[i], true);
    topic_count = (partitions + OF_A_TOPIC - 1) / OF_A_TOPIC;
    topics = xcalloc((size_t)topic_count, sizeof(*topics));
    for (int i = 0; i < topic_count; i++) {
        topics[i].partitions = MIN(partitions - i * OF_A_TOPIC, OF_A_TOPIC);
        snprintf(topics[i].name, sizeof(topics[i].name), "large-%d", i);
        make_topic(topics[i].name, topics[i].partitions, broker_count - 1, false);
        wait_for_topic(&topics[i], FACTOR, 0);
    }
    wait_until_quiet();
}

static const char *const event_names[EVENTS] = {"a topic is made", "a broker is killed", "it is back",
                                                "the controller is killed"};

static void measure(int partitions, struct cost costs[EVENTS])
{
    struct size_broker *victim = &brokers[broker_count - 1];
    sim_seed(1);
    begin_cluster(partitions);
    printf("%d brokers, %d partitions x %d; the topic and the victim have %d\n", broker_count, partitions, FACTOR,
           OF_THE_VICTIM);
    for (int i = 0; i < EVENTS; i++) {
        costs[i] = i == 0 ? creation() : i == 1 ? loss(victim) : i == 2 ? coming_back(victim) : controller_loss();
        print_cost(event_names[i], &costs[i]);
    }
}

/* ---- Two sizes ---- */

static void measure_apart(int partitions, struct cost costs[EVENTS])
{
    int ways[2], status;
    bool piped = pipe(ways) == 0;
    ensure(piped);
    pid_t pid = fork();
    ensure(pid >= 0);
    if (pid == 0) {
        measure(partitions, costs);
        ssize_t n = write(ways[1], costs, EVENTS * sizeof(*costs));
        _exit(n == (ssize_t)(EVENTS * sizeof(*costs)) ? 0 : 1);
    }
    close(ways[1]);
    ssize_t n = read(ways[0], costs, EVENTS * sizeof(*costs));
    close(ways[0]);
    waitpid(pid, &status, 0);
    if (n != (ssize_t)(EVENTS * sizeof(*costs)) || status != 0)
        exit(1);
}

/* How requests gather to larger ones is chance; that they are no more than half as many again is not. */
static bool is_as_before(const char *event, const char *what, int64_t small, int64_t large)
{
    if (large <= small + small / 2)
        return true;
    printf("GROWS: %s, %s: %" PRId64 " and %" PRId64 "\n", event, what, small, large);
    return false;
}

enum { QUARTER = 4 };

/* In proportion, with what is the same for each size. */
static bool is_in_proportion(const char *event, const char *what, int64_t small, int64_t large)
{
    if (large <= QUARTER * small + small / 2)
        return true;
    printf("GROWS FASTER: %s, %s: %" PRId64 " and %" PRId64 "\n", event, what, small, large);
    return false;
}

static bool compare(const struct cost *small, const struct cost *large)
{
    bool ok = true;
    for (int i = 0; i < EVENTS; i++) {
        bool (*check)(const char *, const char *, int64_t, int64_t) = i < 3 ? is_as_before : is_in_proportion;
        const char *event = event_names[i];
        bool is_back = i == 2; /* it is told of everything */
        ok &=
            (is_back ? is_in_proportion : check)(event, "requests", requests_sent(&small[i]), requests_sent(&large[i]));
        ok &= (is_back ? is_in_proportion : check)(event, "bytes", bytes_sent(&small[i]), bytes_sent(&large[i]));
        for (int k = 1; k < KEYS; k++)
            ok &= check(event, key_names[k], small[i].sent[k].bytes, large[i].sent[k].bytes);
        ok &= check(event, "writes to ZooKeeper", small[i].asked.writes, large[i].asked.writes);
        ok &= (is_back ? is_in_proportion : check)(event, "reads of ZooKeeper", small[i].asked.reads,
                                                   large[i].asked.reads);
    }
    return ok;
}

int size_run(int partitions, int count)
{
    struct cost small[EVENTS] = {0}, large[EVENTS] = {0};
    if (count < FACTOR + 2 || count > MOST_BROKERS || partitions < QUARTER * count) {
        fprintf(stderr, "at least %d brokers, at most %d, and some partitions for each\n", FACTOR + 2, MOST_BROKERS);
        return 2;
    }
    broker_count = count;
    measure_apart(partitions / QUARTER, small);
    measure_apart(partitions, large);
    bool ok = compare(small, large);
    printf(ok ? "what it costs grows with what changes\n" : "it costs more than what changes\n");
    return ok ? 0 : 1;
}
