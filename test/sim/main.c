/*
 * Runs clusters, breaks them, and says what must never have been.
 *
 *     sim [--seeds N] [--from S] [--jobs J] [--first]   many, each in a process of its own; until one fails
 *     sim --seed S [--trace]                            one again, exactly
 *     sim --size PARTITIONS [--brokers B]               what is sent in a large cluster
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/logger.h"
#include "broker/broker.h"
#include "client.h"
#include "cluster/view.h"
#include "cluster/znodes.h"
#include "replica/replica.h"

enum {
    MOST_BROKERS = 5,
    FACTOR = 3,
    SECOND = 1000000,
    CHECK_US = 100000,
    BUSY_US = 20 * SECOND,
    PATIENCE_US = 60 * SECOND,
    DARK_US = 4 * SECOND, /* longer than its session: the others must see that it has gone */
    REAL_SECONDS = 60,    /* for one of many; one that needs more goes round in circles */
};

struct sim_broker {
    struct process process;
    char name[16];
    struct broker_config config;
    int64_t verified[MAX_PARTITIONS]; /* up to here its log was compared, below its high watermark */
    int64_t verified_life;
    int64_t stopping_life; /* the one that was asked to end */
    int64_t dark_until_us; /* it has no power */
};

static struct sim_broker brokers[MOST_BROKERS];
static int broker_count, partition_count;
static const struct sim_broker *unpowered; /* what it had not written is gone */
static bool trace;

/* ---- Brokers ---- */

struct replica_manager *__real_replica_manager_new(const struct replica_options *options);
struct replica_manager *__wrap_replica_manager_new(const struct replica_options *options);
struct replica_manager *__wrap_replica_manager_new(const struct replica_options *options)
{
    struct replica_manager *rm = __real_replica_manager_new(options);
    sim_process->replicas = rm;
    return rm;
}

struct view_board *__real_view_board_new(struct loop *const *loops, int count);
struct view_board *__wrap_view_board_new(struct loop *const *loops, int count);
struct view_board *__wrap_view_board_new(struct loop *const *loops, int count)
{
    struct view_board *board = __real_view_board_new(loops, count);
    sim_process->board = board;
    return board;
}

static void configure(struct sim_broker *b, int number)
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
        "zookeeper.session.timeout.ms=3000",
        "zookeeper.connection.timeout.ms=600000",
        "num.network.threads=2",
        "num.replica.fetchers=2",
        "min.insync.replicas=2",
        "replica.lag.time.max.ms=2000",
        "replica.fetch.backoff.ms=200",
        "replica.socket.timeout.ms=2000",
        "controller.socket.timeout.ms=2000",
        "controlled.shutdown.retry.backoff.ms=300",
        "controlled.shutdown.max.retries=2",
        "request.timeout.ms=2000",
        "leader.imbalance.check.interval.seconds=3",
        "log.segment.bytes=20000",
        "log.index.interval.bytes=500",
        "replica.high.watermark.checkpoint.interval.ms=500",
        "log.flush.offset.checkpoint.interval.ms=1000",
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
    struct sim_broker *b = arg;
    broker_run(&b->config);
}

static void start_broker(struct sim_broker *b)
{
    if (!b->process.alive && sim_now_us() >= b->dark_until_us)
        process_start(&b->process, run_broker, b);
}

static struct sim_broker *any_broker(void)
{
    return &brokers[sim_random((uint32_t)broker_count)];
}

/* The broker that a node names: the controller, or a partition's leader. */
static struct sim_broker *named(const char *path, const char *key)
{
    const char *text = ensemble_get(path), *at = text != NULL ? strstr(text, key) : NULL;
    long id = at != NULL ? strtol(at + strlen(key), NULL, 10) : 0;
    return id >= 1 && id <= broker_count ? &brokers[id - 1] : any_broker();
}

/* More often than by chance one that matters. */
static struct sim_broker *draw_broker(void)
{
    char path[ZNODE_PATH_ROOM];
    switch (sim_random(4)) {
    case 0:
        return named(ZNODE_CONTROLLER, "\"brokerid\":");
    case 1:
        return named(state_path(path, SIM_TOPIC, (int)sim_random((uint32_t)partition_count)), "\"leader\":");
    default:
        return any_broker();
    }
}

/* ---- The topic ---- */

static struct int_list draw_replicas(struct arena *a)
{
    struct int_list list = {ARENA_ARRAY(a, int32_t, FACTOR), 0};
    while (list.n < FACTOR) {
        int32_t id = 1 + (int32_t)sim_random((uint32_t)broker_count);
        if (!int_list_has(list, id))
            list.v[list.n++] = id;
    }
    return list;
}

static void create_topic(void)
{
    struct arena a = {0};
    struct int_list replicas[MAX_PARTITIONS], none[MAX_PARTITIONS] = {{NULL, 0}};
    for (int i = 0; i < partition_count; i++)
        replicas[i] = draw_replicas(&a);
    struct topic_znode z = {.id = uuid_random(),
                            .replicas = replicas,
                            .adding = none,
                            .removing = none,
                            .partition_count = partition_count};
    struct bytes data = topic_encode(&a, &z);
    ensemble_put("/brokers/topics/" SIM_TOPIC, arena_cstr(&a, (struct str){(const char *)data.p, data.len}));
    arena_deinit(&a);
}

static void reassign(void)
{
    struct arena a = {0};
    if (ensemble_get(ZNODE_REASSIGN) != NULL)
        return;
    struct topic_partition_entry e = {SIM_TOPIC, (int32_t)sim_random((uint32_t)partition_count), draw_replicas(&a)};
    struct partition_list_znode list = {&e, 1};
    struct bytes data = partition_list_encode(&a, &list, true);
    ensemble_put(ZNODE_REASSIGN, arena_cstr(&a, (struct str){(const char *)data.p, data.len}));
    arena_deinit(&a);
}

static bool partition_is_whole(int partition)
{
    struct arena a = {0};
    char path[ZNODE_PATH_ROOM];
    struct partition_znode state;
    const char *text = ensemble_get(state_path(path, SIM_TOPIC, partition));
    bool whole = text != NULL &&
                 partition_decode(&a, SIM_TOPIC, partition,
                                  (struct bytes){(const uint8_t *)text, (int32_t)strlen(text)}, &state) &&
                 state.leader >= 0 && state.isr.n == FACTOR;
    arena_deinit(&a);
    return whole;
}

static bool all_is_whole(void)
{
    for (int i = 0; i < partition_count; i++)
        if (!partition_is_whole(i))
            return false;
    return ensemble_get(ZNODE_REASSIGN) == NULL;
}

/* ---- What must hold at every moment ---- */

static void check_committed(struct sim_broker *b, struct partition *p, int number)
{
    struct plog *log = partition_log(p);
    int64_t high_watermark = plog_high_watermark(log);
    int64_t *from = &b->verified[number];
    while (*from < high_watermark) {
        struct strbuf out = {0};
        struct batch batch;
        if (plog_read_bytes(log, *from, 1 << 20, high_watermark, &out) != ERR_NONE || out.len == 0) {
            strbuf_deinit(&out);
            violation("%s cannot read offset %" PRId64 " of partition %d, below its high watermark %" PRId64, b->name,
                      *from, number, high_watermark);
        }
        struct bytes rest = {(const uint8_t *)out.p, (int32_t)out.len};
        while (batch_next(&rest, &batch) == BATCH_OK) {
            fact_state(number, batch.base_offset, be32_get(batch.p + 17), b->name);
            *from = batch.last_offset + 1;
        }
        strbuf_deinit(&out);
    }
}

static void check_broker(struct sim_broker *b, int32_t leads[MAX_PARTITIONS][MOST_BROKERS])
{
    if (b->verified_life != b->process.life)
        memset(b->verified, 0, sizeof(b->verified));
    b->verified_life = b->process.life;
    for (int i = 0; i < partition_count; i++) {
        struct partition *p = replica_partition(b->process.replicas, STR_LIT(SIM_TOPIC), i);
        leads[i][b->process.number] = -1;
        if (p == NULL) {
            b->verified[i] = 0;
            continue;
        }
        struct partition_role role = partition_role(p);
        if (role.leads)
            leads[i][b->process.number] = role.leader_epoch;
        b->verified[i] = MIN(b->verified[i], plog_high_watermark(partition_log(p)));
        check_committed(b, p, i);
        partition_unref(p);
    }
}

static bool disk_has_offset(const struct sim_broker *b, int partition, int64_t offset)
{
    size_t len;
    uint8_t *log = sim_log(&b->process, SIM_TOPIC, partition, &len);
    struct bytes rest = {log, (int32_t)len};
    struct batch batch = {.last_offset = -1};
    while (batch.last_offset < offset && batch_next(&rest, &batch) == BATCH_OK)
        ;
    free(log);
    return batch.last_offset >= offset;
}

static bool has_offset(const struct sim_broker *b, int partition, int64_t offset)
{
    struct partition *p =
        b->process.replicas != NULL ? replica_partition(b->process.replicas, STR_LIT(SIM_TOPIC), partition) : NULL;
    if (p == NULL)
        return disk_has_offset(b, partition, offset);
    bool has = plog_end_offset(partition_log(p)) > offset;
    partition_unref(p);
    return has;
}

int replicas_with(int partition, int64_t offset)
{
    int n = 0;
    for (int i = 0; i < broker_count; i++)
        n += has_offset(&brokers[i], partition, offset);
    return n;
}

/* One that has lost power is about to leave. */
void check_in_sync(int partition)
{
    struct arena a = {0};
    char path[ZNODE_PATH_ROOM];
    struct partition_znode state;
    const char *text = ensemble_get(state_path(path, SIM_TOPIC, partition));
    struct bytes data = {(const uint8_t *)text, text != NULL ? (int32_t)strlen(text) : 0};
    bool known = text != NULL && partition_decode(&a, SIM_TOPIC, partition, data, &state);
    for (int32_t i = 0; known && i < state.isr.n; i++) {
        const struct sim_broker *b = &brokers[state.isr.v[i] - 1];
        if (b != unpowered && fact_last(partition) >= 0 && !has_offset(b, partition, fact_last(partition)))
            violation("%s is in sync and has not offset %" PRId64 " of partition %d", b->name, fact_last(partition),
                      partition);
    }
    arena_deinit(&a);
}

static void check(void *arg UNUSED)
{
    int32_t leads[MAX_PARTITIONS][MOST_BROKERS];
    memset(leads, -1, sizeof(leads));
    for (int i = 0; i < broker_count; i++)
        if (brokers[i].process.alive && brokers[i].process.replicas != NULL)
            check_broker(&brokers[i], leads);
    for (int p = 0; p < partition_count; p++)
        for (int a = 0; a < broker_count; a++)
            for (int b = a + 1; b < broker_count; b++)
                if (leads[p][a] >= 0 && leads[p][a] == leads[p][b])
                    violation("%s and %s both lead partition %d in epoch %" PRId32, brokers[a].name, brokers[b].name, p,
                              leads[p][a]);
    for (int p = 0; p < partition_count; p++)
        check_in_sync(p);
    sim_after(NULL, CHECK_US, check, NULL);
}

/* ---- What goes wrong ---- */

static void restart_later(void *arg)
{
    start_broker(arg);
}

static void resume_later(void *arg)
{
    struct sim_broker *b = arg;
    process_resume(&b->process);
}

struct cut {
    struct process *a, *b;
    bool both;
};

static void join_later(void *arg)
{
    struct cut *c = arg;
    network_cut(c->a, c->b, false);
    if (c->both)
        network_cut(c->b, c->a, false);
    free(c);
}

static int64_t a_while(void)
{
    return (int64_t)(sim_chance(2) ? 100 + sim_random(1500) : 500 + sim_random(6000)) * 1000;
}

static void say(const char *what, const struct sim_broker *b)
{
    if (trace)
        fprintf(stderr, "== %" PRId64 " ms: %s %s\n", sim_now_us() / 1000, what, b != NULL ? b->name : "");
}

static void crash(struct sim_broker *b, bool power)
{
    say(power ? "power of" : "kill", b);
    process_kill(&b->process);
    if (power) {
        sim_lose_power(&b->process);
        b->dark_until_us = sim_now_us() + DARK_US;
    }
    sim_after(NULL, power ? DARK_US + a_while() : a_while(), restart_later, b);
}

/* What it has closed well is all on the disk: then its power may fail as well. */
static void restart_stopped(void *arg)
{
    struct sim_broker *b = arg;
    if (b->process.alive && b->process.life == b->stopping_life) {
        sim_after(NULL, a_while(), restart_stopped, b);
        return;
    }
    if (!b->process.alive && sim_has_file(&b->process, ".kafka_cleanshutdown") && sim_chance(3)) {
        say("power of what has stopped,", b);
        sim_lose_power(&b->process);
    }
    if (!b->process.alive && sim_chance(4)) {
        say("an index is lost of", b);
        sim_lose_index(&b->process);
    }
    start_broker(b);
}

static void stop_broker(struct sim_broker *b)
{
    say("stop", b);
    b->stopping_life = b->process.life;
    process_terminate(&b->process);
    sim_after(NULL, a_while(), restart_stopped, b);
}

static void turn_clock(struct sim_broker *b)
{
    int64_t most = sim_chance(2) ? 10000 : 12 * 3600000;
    int64_t ms = (int64_t)sim_random((uint32_t)(2 * most)) - most;
    b->process.clock_offset += ms;
    if (trace)
        fprintf(stderr, "== %" PRId64 " ms: clock of %s goes by %+" PRId64 " ms\n", sim_now_us() / 1000, b->name, ms);
}

static void cut_off(struct process *a, struct process *b)
{
    struct cut *c = xcalloc(1, sizeof(*c));
    *c = (struct cut){a, b, sim_chance(2)};
    if (sim_chance(2))
        *c = (struct cut){b, a, c->both};
    network_cut(c->a, c->b, true);
    if (c->both)
        network_cut(c->b, c->a, true);
    sim_after(NULL, a_while(), join_later, c);
}

static void pause_broker(struct sim_broker *b)
{
    say("pause", b);
    process_pause(&b->process);
    sim_after(NULL, a_while(), resume_later, b);
}

static void expire(const struct sim_broker *b)
{
    char path[ZNODE_PATH_ROOM];
    say("expire", b);
    ensemble_expire(broker_path(path, b->process.number + 1));
}

/* From all others, though clients still reach it; perhaps long enough for another to lead. */
static void isolate(struct sim_broker *b)
{
    say("isolate", b);
    if (sim_chance(2))
        cut_off(&b->process, &sim_zookeeper);
    for (int i = 0; i < broker_count; i++)
        if (&brokers[i] != b)
            cut_off(&b->process, &brokers[i].process);
}

/* As operators do to have another: the session of the one that was lives on. */
static void drop_controller(void)
{
    say("/controller deleted", NULL);
    ensemble_delete(ZNODE_CONTROLLER);
}

static void break_processes(struct sim_broker *b, struct sim_broker *other)
{
    switch (sim_random(8)) {
    case 0:
    case 1:
        crash(b, false);
        break;
    case 2:
        crash(b, false);
        crash(other, false);
        break;
    case 3:
    case 4:
        stop_broker(b);
        break;
    case 5:
        turn_clock(b);
        break;
    default:
        pause_broker(b);
    }
}

static void break_connections(struct sim_broker *b, struct sim_broker *other)
{
    switch (sim_random(5)) {
    case 0:
        isolate(b);
        break;
    case 1:
    case 2:
        say("cut from ZooKeeper", b);
        cut_off(&b->process, &sim_zookeeper);
        break;
    default:
        say("cut from another", b);
        if (b != other)
            cut_off(&b->process, &other->process);
    }
}

static void break_cluster(struct sim_broker *b)
{
    switch (sim_random(4)) {
    case 0:
        expire(b);
        break;
    case 1:
        say("ZooKeeper's connections", NULL);
        ensemble_restart();
        break;
    case 2:
        drop_controller();
        break;
    default:
        say("reassignment", NULL);
        reassign();
    }
}

static void break_something(void)
{
    struct sim_broker *b = draw_broker(), *other = draw_broker();
    switch (sim_random(4)) {
    case 0:
        break_connections(b, other);
        break;
    case 1:
        break_cluster(b);
        break;
    default:
        break_processes(b, other);
    }
}

static void heal(void)
{
    for (int i = 0; i < broker_count; i++) {
        for (int k = 0; k < broker_count; k++)
            network_cut(&brokers[i].process, &brokers[k].process, false);
        network_cut(&brokers[i].process, &sim_zookeeper, false);
        network_cut(&sim_zookeeper, &brokers[i].process, false);
        process_resume(&brokers[i].process);
        start_broker(&brokers[i]);
    }
}

/* All are there, as those that everybody knows. */
static bool all_is_well(void)
{
    char path[ZNODE_PATH_ROOM];
    for (int i = 0; i < broker_count; i++)
        if (!ensemble_owns(&brokers[i].process, broker_path(path, i + 1)))
            return false;
    return all_is_whole();
}

static bool hosts_something(const struct sim_broker *b)
{
    for (int i = 0; i < partition_count; i++) {
        struct partition *p = replica_partition(b->process.replicas, STR_LIT(SIM_TOPIC), i);
        partition_unref(p);
        if (p != NULL)
            return true;
    }
    return false;
}

/*
 * A machine that loses what it had not written: alone, until the others have noticed and it has caught up again.
 * Replicas that are thought to be in sync and have lost what they had are what acknowledgements do not survive, here as
 * with Kafka.
 */
static void fail_power(void)
{
    struct sim_broker *b = any_broker();
    int64_t end = sim_now_us() + PATIENCE_US;
    int quiet = 0;
    while (quiet < 8 && sim_now_us() < end) {
        heal();
        sim_run_until(sim_now_us() + SECOND / 4);
        quiet = all_is_well() ? quiet + 1 : 0;
    }
    if (quiet < 8 || !hosts_something(b))
        return;
    unpowered = b;
    crash(b, true);
    end = sim_now_us() + PATIENCE_US;
    while (sim_now_us() < end && all_is_whole())
        sim_run_until(sim_now_us() + SECOND / 100);
    while (sim_now_us() < end && !all_is_well())
        sim_run_until(sim_now_us() + SECOND / 4);
    unpowered = NULL;
}

/* ---- One run ---- */

static void wait_until_whole(void)
{
    int64_t end = sim_now_us() + PATIENCE_US;
    while (!all_is_whole()) {
        if (sim_now_us() > end)
            violation("the partitions do not come back by themselves");
        sim_run_until(sim_now_us() + SECOND / 4);
        heal(); /* somebody may have been on the way down */
    }
}

static void check_logs(void)
{
    struct arena a = {0};
    for (int p = 0; p < partition_count; p++) {
        struct topic_znode z;
        const char *text = ensemble_get("/brokers/topics/" SIM_TOPIC);
        bool ok = topic_decode(&a, SIM_TOPIC, (struct bytes){(const uint8_t *)text, (int32_t)strlen(text)}, &z);
        ensure(ok);
        for (int32_t i = 0; i < z.replicas[p].n; i++) {
            const struct sim_broker *b = &brokers[z.replicas[p].v[i] - 1];
            size_t len;
            uint8_t *log = sim_log(&b->process, SIM_TOPIC, p, &len);
            facts_check_log(p, (struct bytes){log, (int32_t)len}, b->name);
            free(log);
        }
    }
    arena_deinit(&a);
}

static bool knows_partition(const struct view *v, struct arena *a, int partition)
{
    char path[ZNODE_PATH_ROOM];
    struct partition_znode state;
    const struct view_partition *p = view_partition(v, STR_LIT(SIM_TOPIC), partition);
    const char *text = ensemble_get(state_path(path, SIM_TOPIC, partition));
    bool ok =
        partition_decode(a, SIM_TOPIC, partition, (struct bytes){(const uint8_t *)text, (int32_t)strlen(text)}, &state);
    ensure(ok);
    bool knows =
        p != NULL && p->leader == state.leader && p->leader_epoch == state.leader_epoch && p->isr.n == state.isr.n;
    if (!knows && trace)
        fprintf(stderr, "== partition %d: known are epoch %" PRId32 ", %" PRId32 " in sync, in truth %s\n", partition,
                p != NULL ? p->leader_epoch : -1, p != NULL ? p->isr.n : -1,
                ensemble_get(state_path(path, SIM_TOPIC, partition)));
    return knows;
}

static bool knows_cluster(const struct sim_broker *b)
{
    struct arena a = {0};
    struct view *v = b->process.board != NULL ? view_board_latest(b->process.board) : view_new();
    char path[ZNODE_PATH_ROOM];
    bool knows = true;
    for (int i = 0; i < broker_count; i++) {
        bool there = ensemble_get(broker_path(path, i + 1)) != NULL, known = view_broker(v, i + 1) != NULL;
        knows &= there == known;
        if (there != known && trace)
            fprintf(stderr, "== %s does not know that %s is %s\n", b->name, brokers[i].name, there ? "there" : "gone");
    }
    for (int i = 0; i < partition_count; i++)
        knows &= knows_partition(v, &a, i);
    view_unref(v);
    arena_deinit(&a);
    return knows;
}

/* When all is quiet, everybody knows the truth, or is just about to. */
static void check_views(void)
{
    for (int i = 0; i < broker_count; i++) {
        int64_t end = sim_now_us() + 10 * SECOND;
        while (!knows_cluster(&brokers[i])) {
            if (sim_now_us() > end)
                violation("%s does not know in the end who is there and who leads", brokers[i].name);
            sim_run_until(sim_now_us() + SECOND / 20);
            start_broker(&brokers[i]);
        }
    }
}

static void run(uint64_t seed)
{
    sim_seed(seed);
    broker_count = 3 + (int)sim_random(MOST_BROKERS - 2);
    int written = 1 + (int)sim_random(MAX_PARTITIONS - 1);
    partition_count = written + (int)sim_random(2); /* to the last one, perhaps, nobody writes */
    ensemble_init();
    for (int i = 0; i < broker_count; i++) {
        configure(&brokers[i], i + 1);
        start_broker(&brokers[i]);
    }
    sim_run_until(3 * SECOND);
    create_topic();
    check(NULL);
    wait_until_whole();
    clients_start(written);
    int64_t end = sim_now_us() + BUSY_US;
    while (sim_now_us() < end) {
        sim_run_until(sim_now_us() + (sim_chance(4) ? sim_random(30000) : (50 + (int64_t)sim_random(2500)) * 1000));
        if (sim_chance(12))
            fail_power();
        else
            break_something();
    }
    heal();
    wait_until_whole();
    sim_run_until(sim_now_us() + 2 * SECOND);
    clients_stop();
    sim_run_until(sim_now_us() + 6 * SECOND);
    wait_until_whole();
    check_logs();
    check_views();
    printf("seed %" PRIu64 ": %d brokers, %d partitions, %" PRId64 " acknowledged, %" PRId64 " facts, %" PRId64 " ms\n",
           seed, broker_count, partition_count, clients_acknowledged(), facts_count(), sim_now_us() / 1000);
    fflush(stdout);
    if (clients_acknowledged() == 0)
        violation("nothing was acknowledged");
}

/* ---- Many runs ---- */

enum { MOST_JOBS = 64 };

struct many {
    pid_t pids[MOST_JOBS];
    uint64_t seeds[MOST_JOBS]; /* what each runs */
    uint64_t started, running, failed;
};

static void reap(struct many *m)
{
    int status, slot = 0;
    pid_t pid = wait(&status);
    while (slot < MOST_JOBS - 1 && m->pids[slot] != pid)
        slot++;
    m->pids[slot] = 0;
    m->running--;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return;
    m->failed++;
    fprintf(stderr, "FAIL seed %" PRIu64 " (%s %d): sim --seed %" PRIu64 " shows it again\n", m->seeds[slot],
            WIFEXITED(status) ? "exit" : "signal", WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status),
            m->seeds[slot]);
}

static void begin_run(struct many *m, uint64_t seed)
{
    int slot = 0;
    while (m->pids[slot] != 0)
        slot++;
    m->seeds[slot] = seed;
    m->started++;
    m->running++;
    m->pids[slot] = fork();
    ensure(m->pids[slot] >= 0);
    if (m->pids[slot] > 0)
        return;
    if (freopen("/dev/null", "w", stdout) == NULL)
        _exit(2);
    alarm(REAL_SECONDS);
    run(seed);
    _exit(0);
}

/* Seeds begin in their order, so that the least that fails is among those that were begun when the first one did. */
static int run_many(uint64_t from, uint64_t count, int jobs, bool until_first)
{
    struct many m = {0};
    jobs = MIN(MAX(jobs, 1), MOST_JOBS);
    while (m.running > 0 || (m.started < count && !(until_first && m.failed > 0))) {
        if (m.started < count && m.running < (uint64_t)jobs && !(until_first && m.failed > 0))
            begin_run(&m, from + m.started);
        else
            reap(&m);
    }
    printf("%" PRIu64 " seeds, %" PRIu64 " failed\n", m.started, m.failed);
    return m.failed == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"seeds", required_argument, NULL, 'n'},
                                            {"from", required_argument, NULL, 'f'},
                                            {"jobs", required_argument, NULL, 'j'},
                                            {"seed", required_argument, NULL, 's'},
                                            {"trace", no_argument, NULL, 't'},
                                            {"first", no_argument, NULL, '1'},
                                            {"size", required_argument, NULL, 'z'},
                                            {"brokers", required_argument, NULL, 'b'},
                                            {NULL, 0, NULL, 0}};
    uint64_t from = 1, count = 100, seed = 0;
    int jobs = 2, size = 0, of_size = 20, opt;
    bool one = false, until_first = false;
    while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (opt) {
        case 'n':
            count = strtoull(optarg, NULL, 10);
            break;
        case 'f':
            from = strtoull(optarg, NULL, 10);
            break;
        case 'j':
            jobs = atoi(optarg);
            break;
        case 's':
            seed = strtoull(optarg, NULL, 10);
            one = true;
            break;
        case 't':
            trace = true;
            break;
        case '1':
            until_first = true;
            break;
        case 'z':
            size = atoi(optarg);
            break;
        case 'b':
            of_size = atoi(optarg);
            break;
        default:
            return 2;
        }
    }
    logger_set(LOGGER_ROOT, trace ? LEVEL_INFO : LEVEL_FATAL);
    if (size > 0)
        return size_run(size, of_size);
    if (!one)
        return run_many(from, count, jobs, until_first);
    run(seed);
    return 0;
}
