#include "logging/log_queue.h"

#include <stdio.h>

#include "base/lock.h"

struct log_queue {
    struct lock lock; /* guards all but `open` */
    pthread_cond_t news;
    size_t most;
    struct strbuf lines;
    int64_t dropped;
    bool stirred;
    atomic_bool open; /* something is not written yet */
};

/*
 * A line as it lies in a buffer, its text behind it, and then as many bytes as it takes for the next one to be aligned.
 * What else a line refers to, the logger's and the file's names, lives as long as the program; the thread may not.
 */
struct queued {
    struct log_line line;
    char thread[16];
};

enum { ALIGNMENT = _Alignof(struct queued) };

static size_t queued_size(int32_t text_len)
{
    return (sizeof(struct queued) + (size_t)text_len + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

struct log_queue *log_queue_new(size_t most_bytes)
{
    struct log_queue *q = xcalloc(1, sizeof(*q));
    lock_init(&q->lock, RANK_LOG_QUEUE);
    pthread_cond_init(&q->news, NULL);
    q->most = most_bytes;
    return q;
}

void log_queue_free(struct log_queue *q)
{
    strbuf_deinit(&q->lines);
    pthread_cond_destroy(&q->news);
    lock_deinit(&q->lock);
    free(q);
}

bool log_queue_put(struct log_queue *q, const struct log_line *line)
{
    size_t size = queued_size(line->text.len);
    lock_take(&q->lock);
    size_t room = line->level >= LEVEL_WARN ? q->most : q->most / 4 * 3;
    bool ok = q->lines.len + size <= room;
    if (ok) {
        ensure(q->lines.len % ALIGNMENT == 0 && line->text.len >= 0);
        char *at = strbuf_extend(&q->lines, size);
        struct queued head = {.line = *line};
        snprintf(head.thread, sizeof(head.thread), "%s", line->thread);
        memcpy(at, &head, sizeof(head));
        memcpy(at + sizeof(head), line->text.p, (size_t)line->text.len);
        atomic_store(&q->open, true);
    } else {
        q->dropped++;
    }
    lock_release(&q->lock);
    pthread_cond_signal(&q->news);
    return ok;
}

void log_queue_stir(struct log_queue *q)
{
    lock_take(&q->lock);
    q->stirred = true;
    lock_release(&q->lock);
    pthread_cond_signal(&q->news);
}

void log_queue_take(struct log_queue *q, struct log_batch *out)
{
    strbuf_clear(&out->lines);
    lock_take(&q->lock);
    if (q->lines.len == 0)
        atomic_store(&q->open, false);
    while (q->lines.len == 0 && q->dropped == 0 && !q->stirred)
        lock_wait(&q->lock, &q->news);
    struct strbuf empty = out->lines;
    out->lines = q->lines;
    out->dropped = q->dropped;
    q->lines = empty;
    q->dropped = 0;
    q->stirred = false;
    lock_release(&q->lock);
}

bool log_batch_next(const struct log_batch *b, size_t *at, struct log_line *out)
{
    if (*at >= b->lines.len)
        return false;
    struct queued *q = (struct queued *)(void *)(b->lines.p + *at);
    *out = q->line;
    out->thread = q->thread;
    out->text.p = b->lines.p + *at + sizeof(*q);
    *at += queued_size(out->text.len);
    ensure(*at <= b->lines.len);
    return true;
}

bool log_queue_is_done(const struct log_queue *q)
{
    return !atomic_load(&q->open);
}
