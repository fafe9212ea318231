/*
 * Writing back early.
 *
 * What is appended lies in the page cache, and the kernel lets a tenth of the memory become so before it writes: then
 * all at once, and whoever needs the journal or a sync waits behind gigabytes: appends of other logs, files that are
 * made, brokers that start. So where a segment has grown by a piece that is given to the disk, by a thread of the log's
 * directory, of which no more than two pieces are on their way at a time. A log that grows by less in the kernel's 30 s
 * is left to the kernel. Where a disk is slower than what comes, the kernel's way is what is left.
 *
 * Nothing is promised by it: what counts as flushed is synced (plog_flush.c).
 */
#include "log/file.h"
#include "log/plog_internal.h"

enum { PIECE = 1 << 20, MOST_AT_ONCE = 4 * PIECE };

void plog_note_growth(struct plog *log)
{
    const struct plog_host *host = log->home->host;
    const struct segment *s = plog_active(log);
    ensure(lock_is_held(&log->lock) && s->written_back <= s->size);
    if (log->awaits_write_back || s->size - s->written_back < PIECE || host == NULL)
        return;
    log->awaits_write_back = true;
    host->write_back_later(host->ctx, log);
}

/* Of the active segment, to be written without the lock: its file cannot go away under the reference. */
struct grown {
    struct file_ref *file; /* NULL: there is nothing */
    int64_t from, to;
    char path[PATH_ROOM];
};

static struct grown take_grown(struct plog *log)
{
    struct grown g = {.file = NULL};
    lock_take(&log->lock);
    struct segment *s = plog_is_writable(log) ? plog_active(log) : NULL;
    if (s != NULL && s->file != NULL && s->size - s->written_back >= PIECE) {
        g.file = s->file;
        g.from = s->written_back;
        g.to = MIN(s->size, g.from + MOST_AT_ONCE);
        s->written_back = g.to;
        file_ref_get(g.file);
        segment_path(g.path, log->path, s->base_offset, ".log");
    }
    log->awaits_write_back = g.file != NULL;
    lock_release(&log->lock);
    return g;
}

static bool write_grown(const struct grown *g)
{
    int64_t at = g->from, before = at;
    bool ok = true;
    for (int64_t len; ok && at < g->to; before = at, at += len) {
        len = MIN((int64_t)PIECE, g->to - at);
        ok = file_begin_writing_back(g->file->fd, at, len, g->path) &&
             (before == at || file_await_written_back(g->file->fd, before, at - before, g->path));
    }
    return ok && file_await_written_back(g->file->fd, before, at - before, g->path);
}

enum plog_flushed plog_write_back_some(struct plog *log)
{
    struct grown g = take_grown(log);
    if (g.file == NULL)
        return FLUSH_OVER;
    bool ok = write_grown(&g);
    file_ref_put(g.file);
    return ok ? FLUSH_GOES_ON : FLUSH_FAILED;
}
