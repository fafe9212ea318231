#include "coordinator/topic_log.h"

#include <utlist.h>

#include "base/clock.h"
#include "base/hash.h"
#include "replica/replica.h"

struct topic_log {
    struct topic_log_options options;
    struct replica_manager *replicas;
    struct append_lane *lanes;
};

/* ---- Appending ---- */

enum { SLOW_US = 100 }; /* ten times what an append takes that goes to the page cache only */

struct topic_append {
    struct append_lane *lane;
    struct topic_append *prev, *next; /* in the lane */
    struct state_append *append;
    struct strbuf batch;
    struct partition *p;
    int32_t leader_epoch;
    struct append_result result;
    enum kafka_error error;
    bool asleep;
    struct sleeper sleeper;
    struct waiter waiter;
    struct timer deadline;
};

/* The appends to one partition, which reach it in the order they were asked for: what is last there, is true. */
struct append_lane {
    struct topic_log *log;
    int32_t partition;
    struct topic_append *waiting, *running; /* those whose turn it is, all at once */
    bool slow;                              /* the last that ran waited for the disk */
    struct job job;
    UT_hash_handle hh;
};

static enum kafka_error append_now(struct topic_append *a, struct arena *arena)
{
    struct record_rules rules = {.keep_codec = true,
                                 .compacted = true,
                                 .topic = partition_topic(a->p),
                                 .partition = partition_index(a->p),
                                 .before_max_ms = INT64_MAX,
                                 .after_max_ms = INT64_MAX,
                                 .max_batch_size = plog_config(partition_log(a->p)).max_message_bytes};
    struct prepared prepared;
    enum kafka_error error =
        records_prepare((uint8_t *)a->batch.p, (int32_t)a->batch.len, &rules, clock_wall_ms(), arena, &prepared);
    if (error != ERR_NONE)
        return error;
    prepared.guard = a->append->guard;
    return partition_append_in(a->p, a->leader_epoch, &prepared, a->append->leader_only ? 1 : -1, &a->result);
}

static void run_append(struct topic_append *a)
{
    const struct append_lane *lane = a->lane;
    struct arena arena;
    arena_init(&arena, 0);
    a->p = replica_partition(lane->log->replicas, str_of(lane->log->options.topic), lane->partition);
    a->error = a->p == NULL ? ERR_NOT_LEADER_OR_FOLLOWER : append_now(a, &arena);
    arena_deinit(&arena);
}

static void run_lane(struct job *job)
{
    struct append_lane *lane = CONTAINER_OF(job, struct append_lane, job);
    struct topic_append *a;
    int64_t begun = clock_mono_us(), count = 0;
    DL_FOREACH (lane->running, a) {
        run_append(a);
        count++;
    }
    lane->slow = clock_mono_us() - begun > count * SLOW_US;
}

static void topic_log_finish(struct topic_append *a, enum kafka_error error)
{
    partition_unwait(&a->waiter);
    if (a->asleep)
        sleeper_cancel(&a->sleeper);
    timer_stop(&a->deadline);
    partition_unref(a->p);
    strbuf_deinit(&a->batch);
    struct state_append *append = a->append;
    append->offset = a->error == ERR_NONE ? a->result.first_offset : -1;
    free(a);
    append->done(append, error);
}

static void topic_log_on_wake(struct sleeper *s)
{
    struct topic_append *a = CONTAINER_OF(s, struct topic_append, sleeper);
    enum kafka_error error = partition_check_committed(a->p, a->leader_epoch, a->result.last_offset);
    if (error != ERR_REQUEST_TIMED_OUT)
        topic_log_finish(a, error);
}

static void topic_log_on_deadline(struct timer *t)
{
    topic_log_finish(CONTAINER_OF(t, struct topic_append, deadline), ERR_REQUEST_TIMED_OUT);
}

static void appended(struct topic_append *a)
{
    enum kafka_error error = a->error;
    if (error == ERR_NONE && !a->append->leader_only)
        error = partition_check_committed(a->p, a->leader_epoch, a->result.last_offset);
    if (error != ERR_REQUEST_TIMED_OUT || a->error != ERR_NONE) {
        topic_log_finish(a, error);
        return;
    }
    a->asleep = true;
    a->sleeper = (struct sleeper){.queue = a->lane->log->options.wakes, .wake = topic_log_on_wake};
    partition_wait(a->p, &a->waiter, &a->sleeper);
    timer_start(&a->deadline, a->append->timeout_ms);
    topic_log_on_wake(&a->sleeper);
}

static void lane_start(struct append_lane *lane);

static void lane_done(struct message *m)
{
    struct append_lane *lane = CONTAINER_OF(m, struct append_lane, job.done);
    struct topic_append *list = lane->running, *a, *next;
    ensure(list != NULL && loop_is_mine(lane->log->options.loop));
    lane->running = NULL;
    if (lane->waiting != NULL)
        lane_start(lane);
    DL_FOREACH_SAFE (list, a, next)
        appended(a);
}

/* As what it appends begins a segment, or is synced. */
static bool lane_waits(const struct append_lane *lane)
{
    const struct topic_append *a;
    const struct prepared first = {
        .bytes = {(const uint8_t *)lane->running->batch.p, (int32_t)lane->running->batch.len}};
    struct partition *p = replica_partition(lane->log->replicas, str_of(lane->log->options.topic), lane->partition);
    int64_t bytes = 0, offsets = 0;
    DL_FOREACH (lane->running, a) {
        struct bytes rest = {(const uint8_t *)a->batch.p, (int32_t)a->batch.len};
        struct batch b;
        enum batch_result result = batch_next(&rest, &b);
        ensure(result == BATCH_OK); /* it is our own */
        bytes += b.size;
        offsets += b.last_offset - b.base_offset + 1;
    }
    bool waits = p != NULL && plog_append_waits(partition_log(p), &first, bytes, offsets);
    partition_unref(p);
    return waits;
}

static void lane_give_away(struct append_lane *lane)
{
    lane->job.done.deliver = lane_done;
    workers_submit(lane->log->options.workers, &lane->job);
}

static void run_here(struct message *m)
{
    struct append_lane *lane = CONTAINER_OF(m, struct append_lane, job.done);
    if (lane_waits(lane)) {
        lane_give_away(lane);
        return;
    }
    run_lane(&lane->job);
    lane_done(m);
}

/* Here, too, by a message: nobody is answered before what it has asked for returns to it. */
static void lane_start(struct append_lane *lane)
{
    const struct topic_log_options *o = &lane->log->options;
    ensure(lane->running == NULL && lane->waiting != NULL);
    lane->running = lane->waiting;
    lane->waiting = NULL;
    lane->job = (struct job){.run = run_lane, .home = o->loop};
    if (lane->slow) {
        lane_give_away(lane);
        return;
    }
    lane->job.done.deliver = run_here;
    loop_post(o->loop, &lane->job.done);
}

static struct append_lane *topic_log_lane_of(struct topic_log *log, int32_t partition)
{
    struct append_lane *lane;
    HASH_FIND_INT(log->lanes, &partition, lane);
    if (lane != NULL)
        return lane;
    lane = xcalloc(1, sizeof(*lane));
    lane->log = log;
    lane->partition = partition;
    HASH_ADD_INT(log->lanes, partition, lane);
    return lane;
}

static void append_to(void *ctx, int32_t partition, int32_t leader_epoch, struct strbuf *batch,
                      struct state_append *append)
{
    struct topic_log *log = ctx;
    ensure(loop_is_mine(log->options.loop) && leader_epoch >= 0);
    struct append_lane *lane = topic_log_lane_of(log, partition);
    struct topic_append *a = xcalloc(1, sizeof(*a));
    a->lane = lane;
    a->append = append;
    a->leader_epoch = leader_epoch;
    a->batch = *batch;
    *batch = (struct strbuf){0};
    timer_init(&a->deadline, log->options.loop, topic_log_on_deadline);
    DL_APPEND(lane->waiting, a);
    if (lane->running == NULL)
        lane_start(lane);
}

/* ---- Reading ---- */

struct topic_read {
    struct job job;
    const struct topic_log *log;
    int32_t partition, max_bytes;
    int64_t offset;
    struct strbuf data;
    enum kafka_error error;
    void (*done)(void *arg, enum kafka_error error, struct bytes batches);
    void *arg;
};

static void run_read(struct job *job)
{
    struct topic_read *r = CONTAINER_OF(job, struct topic_read, job);
    struct partition *p = replica_partition(r->log->replicas, str_of(r->log->options.topic), r->partition);
    if (p == NULL || partition_check_leader(p, -1) != ERR_NONE) {
        r->error = ERR_NOT_LEADER_OR_FOLLOWER;
    } else {
        struct plog *log = partition_log(p);
        int64_t from = MAX(r->offset, plog_start_offset(log)), end = plog_end_offset(log);
        if (from < end)
            r->error = plog_read_bytes(log, from, r->max_bytes, end, &r->data);
    }
    partition_unref(p);
}

static void was_read(struct message *m)
{
    struct topic_read *r = CONTAINER_OF(m, struct topic_read, job.done);
    ensure(loop_is_mine(r->log->options.loop));
    r->done(r->arg, r->error, (struct bytes){(const uint8_t *)r->data.p, (int32_t)r->data.len});
    strbuf_deinit(&r->data);
    free(r);
}

static void read_from(void *ctx, int32_t partition, int64_t offset, int32_t max_bytes,
                      void (*done)(void *arg, enum kafka_error error, struct bytes batches), void *arg)
{
    const struct topic_log *log = ctx;
    struct topic_read *r = xcalloc(1, sizeof(*r));
    *r = (struct topic_read){
        .log = log, .partition = partition, .offset = offset, .max_bytes = max_bytes, .done = done, .arg = arg};
    r->job = (struct job){.run = run_read, .home = log->options.loop, .done = {.deliver = was_read}};
    workers_submit(log->options.workers, &r->job);
}

/* ---- Life ---- */

struct topic_log *topic_log_new(const struct topic_log_options *options)
{
    struct topic_log *log = xcalloc(1, sizeof(*log));
    log->options = *options;
    return log;
}

void topic_log_set_replicas(struct topic_log *log, struct replica_manager *replicas)
{
    log->replicas = replicas;
}

struct state_log topic_log_seam(struct topic_log *log)
{
    return (struct state_log){append_to, read_from, log};
}

void topic_log_free(struct topic_log *log)
{
    struct append_lane *lane, *next;
    if (log == NULL)
        return;
    HASH_ITER (hh, log->lanes, lane, next) {
        HASH_DEL(log->lanes, lane);
        free(lane);
    }
    free(log);
}
