/* The log of a coordinator under test: one partition, in memory; appends wait until the test lets them be answered. */
#ifndef BARNABAS_MEMORY_LOG_H
#define BARNABAS_MEMORY_LOG_H

#include "test.h"

#include "base/logger.h"
#include "coordinator/state_topic.h"

enum { COUNT_AT = 57 }; /* in a batch: of its records */

struct held_append {
    struct state_append *append;
    struct strbuf batch;
    bool written;
    struct held_append *next;
};

struct memory_log {
    struct strbuf data;
    int64_t end;
    int32_t epoch;            /* in which was appended last */
    struct held_append *held; /* until memory_log_settle() */
    enum kafka_error error;   /* of the appends to come */
    int leader_only;          /* how many of them wanted no more */
    bool hold_reads;          /* each until memory_log_answer_read() */
    void (*read_done)(void *arg, enum kafka_error error, struct bytes batches);
    void *read_arg;
    void (*wrote)(struct memory_log *log, const struct batch *b); /* may be NULL */
};

static inline void memory_log_hold(void *ctx, int32_t partition, int32_t leader_epoch, struct strbuf *batch,
                                   struct state_append *append)
{
    struct memory_log *log = ctx;
    struct held_append *h = calloc(1, sizeof(*h)), **last = &log->held;
    assert_int_equal(partition, 0);
    log->epoch = leader_epoch;
    log->leader_only += append->leader_only;
    *h = (struct held_append){.append = append, .batch = *batch};
    *batch = (struct strbuf){0};
    while (*last != NULL)
        last = &(*last)->next;
    *last = h;
}

static inline void memory_log_write(struct memory_log *log, struct strbuf *batch)
{
    struct bytes rest = {(uint8_t *)batch->p, (int32_t)batch->len};
    struct batch b;
    batch_set_offset((uint8_t *)batch->p, log->end);
    assert_int_equal(batch_next(&rest, &b), BATCH_OK);
    if (log->wrote != NULL)
        log->wrote(log, &b);
    strbuf_add(&log->data, batch->p, batch->len);
    log->end = b.last_offset + 1;
}

/* Those that wait are in the log, of which nobody is told before memory_log_settle(). */
static inline void memory_log_write_held(struct memory_log *log)
{
    for (struct held_append *h = log->held; h != NULL; h = h->next) {
        if (h->written)
            continue;
        h->append->offset = log->end;
        memory_log_write(log, &h->batch);
        h->written = true;
    }
}

/* Answers the appends that wait, not those that follow from that. */
static inline int memory_log_settle(struct memory_log *log)
{
    struct held_append *list = log->held;
    int n = 0;
    log->held = NULL;
    while (list != NULL) {
        struct held_append *h = list;
        list = h->next;
        if (!h->written)
            h->append->offset = log->end;
        if (log->error == ERR_NONE && !h->written)
            memory_log_write(log, &h->batch);
        strbuf_deinit(&h->batch);
        h->append->done(h->append, log->error);
        free(h);
        n++;
    }
    return n;
}

static inline struct bytes memory_log_from(const struct memory_log *log, int64_t offset)
{
    bool any = offset < log->end;
    return any ? (struct bytes){(uint8_t *)log->data.p, (int32_t)log->data.len} : (struct bytes){NULL, 0};
}

static inline void memory_log_read(void *ctx, int32_t partition UNUSED, int64_t offset, int32_t max_bytes UNUSED,
                                   void (*done)(void *arg, enum kafka_error error, struct bytes batches), void *arg)
{
    struct memory_log *log = ctx;
    if (!log->hold_reads) {
        done(arg, ERR_NONE, memory_log_from(log, offset));
        return;
    }
    log->read_done = done;
    log->read_arg = arg;
}

static inline void memory_log_answer_read(struct memory_log *log, enum kafka_error error)
{
    void (*done)(void *arg, enum kafka_error error, struct bytes batches) = log->read_done;
    log->read_done = NULL;
    done(log->read_arg, error, error == ERR_NONE ? memory_log_from(log, 0) : (struct bytes){NULL, 0});
}

static inline struct state_log memory_log_seam(struct memory_log *log)
{
    return (struct state_log){memory_log_hold, memory_log_read, log};
}

/* What was written last says that it has one record more than there is. */
static inline void memory_log_damage(struct memory_log *log)
{
    struct bytes rest = {(uint8_t *)log->data.p, (int32_t)log->data.len};
    struct batch b;
    while (batch_next(&rest, &b) == BATCH_OK && rest.len > 0)
        ;
    be32_put((uint8_t *)log->data.p + (b.p - (uint8_t *)log->data.p) + COUNT_AT, (uint32_t)b.count + 1);
}

static int memory_log_errors; /* that were logged */

static inline void memory_log_count_errors(const struct log_line *line)
{
    memory_log_errors += line->level >= LEVEL_ERROR;
    logger_write_stderr(line);
}

/* When nobody appends any more: what still waits fails. */
static inline void memory_log_deinit(struct memory_log *log)
{
    log->error = ERR_NOT_LEADER_OR_FOLLOWER;
    memory_log_settle(log);
    strbuf_deinit(&log->data);
}

#endif
