/*
 * Lines on their way to the thread that writes them. Who logs never waits for a disk: when there are too many, lines
 * are dropped, those of less than WARN first, and counted. Any thread puts, one takes.
 */
#ifndef BARNABAS_LOG_QUEUE_H
#define BARNABAS_LOG_QUEUE_H

#include "base/logger.h"
#include "base/strbuf.h"

struct log_queue;

struct log_queue *log_queue_new(size_t most_bytes);
void log_queue_free(struct log_queue *q);
bool log_queue_put(struct log_queue *q, const struct log_line *line); /* false: it was dropped */
/* Wakes the one that takes; what it is wanted for is said elsewhere. */
void log_queue_stir(struct log_queue *q);

struct log_batch {
    struct strbuf lines;
    int64_t dropped; /* before these */
};

/* Waits for lines, or to be stirred. The batch is reused; all zeroes is an empty one. */
void log_queue_take(struct log_queue *q, struct log_batch *out);
/* The line at `*at`, which moves to the next one; false: there are no more. What it points to is the batch's. */
bool log_batch_next(const struct log_batch *b, size_t *at, struct log_line *out);
/* Whether all that was put has been taken, and another take has begun: then it is written. Any thread, without a lock.
 */
bool log_queue_is_done(const struct log_queue *q);

#endif
