/*
 * Writing back early.
 *
 * What is appended lies in the page cache, and the kernel lets a tenth of the memory become so before it writes: then
 * all at once, and whoever needs the journal or a sync waits behind gigabytes: appends of other logs, files that are
 * made, brokers that start. So where a segment has grown by a piece that is given to the disk, by a thread of the log's
 * directory, of which no more than two pieces are on their way at a time. A log that grows by less in the kernel's 30 s
 * is left to the kernel. Where a disk is slower than what comes, the kernel's way is what is left.
 *
 * Nothing is promised by it, and nothing is known from it: what counts as flushed is synced (plog_flush.c), and who
 * syncs hears of what the disk could not write.
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

bool plog_write_back_some(struct plog *log)
{
    char path[PATH_ROOM];
    int64_t from = 0, to = 0;
    lock_take(&log->lock);
    struct segment *s = plog_is_writable(log) ? plog_active(log) : NULL;
    if (s != NULL && s->size - s->written_back >= PIECE) {
        from = s->written_back;
        to = s->written_back = MIN(s->size, from + MOST_AT_ONCE);
        segment_path(path, log->path, s->base_offset, ".log"); /* should it be another one soon, that does no harm */
    }
    log->awaits_write_back = to > from;
    lock_release(&log->lock);
    if (to == from)
        return false;
    file_write_back(path, from, to - from, PIECE);
    return true;
}
