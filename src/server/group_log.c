/* How the group coordinator reaches __consumer_offsets: appends and reads, on workers. */
#include "base/clock.h"
#include "server/server.h"

enum { READ_AT_ONCE = 5 << 20 };

static const char offsets_topic[] = "__consumer_offsets";

/* ---- Appending ---- */

struct offsets_append {
    struct job job;
    struct services *s;
    struct group_append *append;
    struct strbuf batch;
    int32_t partition;
    struct partition *p;
    int32_t leader_epoch;
    int64_t last_offset;
    enum kafka_error error;
    bool asleep;
    struct sleeper sleeper;
    struct bed bed;
    struct timer deadline;
};

static enum kafka_error append_now(struct offsets_append *a, struct arena *arena)
{
    struct record_rules rules = {.keep_codec = true,
                                 .compacted = true,
                                 .before_max_ms = INT64_MAX,
                                 .after_max_ms = INT64_MAX,
                                 .max_batch_size = plog_config(partition_log(a->p)).max_message_bytes};
    struct prepared prepared;
    struct append_result result;
    enum kafka_error error =
        records_prepare((uint8_t *)a->batch.p, (int32_t)a->batch.len, &rules, clock_wall_ms(), arena, &prepared);
    if (error != ERR_NONE)
        return error;
    a->leader_epoch = partition_leader_epoch(a->p);
    error = partition_append(a->p, &prepared, -1, &result);
    a->last_offset = result.last_offset;
    return error;
}

static void run_append(struct job *job)
{
    struct offsets_append *a = CONTAINER_OF(job, struct offsets_append, job);
    struct arena arena;
    arena_init(&arena, 0);
    a->p = replica_partition(a->s->replicas, str_of(offsets_topic), a->partition);
    a->error = a->p == NULL ? ERR_NOT_LEADER_OR_FOLLOWER : append_now(a, &arena);
    arena_deinit(&arena);
}

static void finish(struct offsets_append *a, enum kafka_error error)
{
    partition_get_up(&a->bed);
    if (a->asleep)
        sleeper_cancel(&a->sleeper);
    timer_stop(&a->deadline);
    partition_unref(a->p);
    strbuf_deinit(&a->batch);
    struct group_append *append = a->append;
    free(a);
    append->done(append, error);
}

static void on_wake(struct sleeper *s)
{
    struct offsets_append *a = CONTAINER_OF(s, struct offsets_append, sleeper);
    enum kafka_error error = partition_check_committed(a->p, a->leader_epoch, a->last_offset);
    if (error != ERR_REQUEST_TIMED_OUT)
        finish(a, error);
}

static void on_deadline(struct timer *t)
{
    finish(CONTAINER_OF(t, struct offsets_append, deadline), ERR_REQUEST_TIMED_OUT);
}

static void appended(struct message *m)
{
    struct offsets_append *a = CONTAINER_OF(m, struct offsets_append, job.done);
    enum kafka_error error = a->error;
    if (error == ERR_NONE)
        error = partition_check_committed(a->p, a->leader_epoch, a->last_offset);
    if (error != ERR_REQUEST_TIMED_OUT || a->error != ERR_NONE) {
        finish(a, error);
        return;
    }
    a->asleep = true;
    a->sleeper = (struct sleeper){.queue = a->s->coordinator_wakes, .wake = on_wake};
    partition_lie_down(a->p, &a->bed, &a->sleeper);
    timer_start(&a->deadline, a->s->config->offsets_commit_timeout_ms);
    on_wake(&a->sleeper);
}

void group_log_append(void *ctx, int32_t partition, struct strbuf *batch, struct group_append *append)
{
    struct services *s = ctx;
    struct offsets_append *a = xcalloc(1, sizeof(*a));
    a->s = s;
    a->append = append;
    a->partition = partition;
    a->batch = *batch;
    *batch = (struct strbuf){0};
    timer_init(&a->deadline, s->coordinator_loop, on_deadline);
    a->job = (struct job){.run = run_append, .home = s->coordinator_loop, .done = {.deliver = appended}};
    workers_submit(s->workers, &a->job);
}

/* ---- Reading ---- */

struct offsets_read {
    struct job job;
    struct services *s;
    int32_t partition;
    int64_t offset;
    struct strbuf data;
    enum kafka_error error;
    void (*done)(void *arg, enum kafka_error error, struct bytes batches);
    void *arg;
};

static void run_read(struct job *job)
{
    struct offsets_read *r = CONTAINER_OF(job, struct offsets_read, job);
    struct partition *p = replica_partition(r->s->replicas, str_of(offsets_topic), r->partition);
    if (p == NULL || partition_check_leader(p, -1) != ERR_NONE) {
        r->error = ERR_NOT_LEADER_OR_FOLLOWER;
    } else {
        struct plog *log = partition_log(p);
        int64_t from = MAX(r->offset, plog_start_offset(log)), end = plog_end_offset(log);
        if (from < end)
            r->error = plog_read_bytes(log, from, READ_AT_ONCE, end, &r->data);
    }
    partition_unref(p);
}

static void was_read(struct message *m)
{
    struct offsets_read *r = CONTAINER_OF(m, struct offsets_read, job.done);
    r->done(r->arg, r->error, (struct bytes){(const uint8_t *)r->data.p, (int32_t)r->data.len});
    strbuf_deinit(&r->data);
    free(r);
}

void group_log_read(void *ctx, int32_t partition, int64_t offset,
                    void (*done)(void *arg, enum kafka_error error, struct bytes batches), void *arg)
{
    struct services *s = ctx;
    struct offsets_read *r = xcalloc(1, sizeof(*r));
    *r = (struct offsets_read){.s = s, .partition = partition, .offset = offset, .done = done, .arg = arg};
    r->job = (struct job){.run = run_read, .home = s->coordinator_loop, .done = {.deliver = was_read}};
    workers_submit(s->workers, &r->job);
}
