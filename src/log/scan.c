#include "log/scan_internal.h"

#include "log/file.h"

void scan_init(struct scan *scan, int fd, const char *path, int64_t pos, int64_t size, size_t chunk)
{
    ensure(fd >= 0 && pos >= 0 && pos <= size && chunk > 0);
    *scan = (struct scan){.fd = fd, .path = path, .pos = pos, .size = size, .buf_size = chunk, .buf_pos = pos};
    scan->buf = xmalloc(scan->buf_size);
}

void scan_deinit(struct scan *scan)
{
    free(scan->buf);
    *scan = (struct scan){.fd = -1};
}

/* At least `need` bytes at `pos`, or as many as the file has. */
static struct bytes fill(struct scan *scan, size_t need)
{
    need = (size_t)MIN((int64_t)need, scan->size - scan->pos);
    if (scan->pos < scan->buf_pos || scan->pos + (int64_t)need > scan->buf_pos + (int64_t)scan->buf_len) {
        if (need > scan->buf_size)
            scan->buf = xrealloc(scan->buf, scan->buf_size = need);
        size_t want = (size_t)MIN((int64_t)scan->buf_size, scan->size - scan->pos);
        ssize_t n = file_read_at(scan->fd, scan->buf, want, scan->pos, scan->path);
        scan->failed |= n < 0;
        scan->buf_pos = scan->pos;
        scan->buf_len = (size_t)MAX(n, (ssize_t)0);
    }
    size_t at = (size_t)(scan->pos - scan->buf_pos);
    return (struct bytes){scan->buf + at, (int32_t)(scan->buf_len - MIN(at, scan->buf_len))};
}

static enum batch_result peek(struct scan *scan, struct batch *out)
{
    enum batch_result result = batch_peek(fill(scan, BATCH_HEADER_SIZE), out);
    return result == BATCH_OK && out->size > scan->size - scan->pos ? BATCH_INCOMPLETE : result;
}

enum batch_result scan_next(struct scan *scan, struct batch *out)
{
    enum batch_result result = peek(scan, out);
    if (result != BATCH_OK)
        return result;
    struct bytes whole = fill(scan, (size_t)out->size);
    result = batch_next(&whole, out);
    if (result == BATCH_OK)
        scan->pos += out->size;
    return result;
}

enum batch_result scan_next_head(struct scan *scan, struct batch *out)
{
    enum batch_result result = peek(scan, out);
    if (result == BATCH_OK)
        scan->pos += out->size;
    return result;
}

bool scan_whole(struct scan *scan, struct batch *b)
{
    ensure(b->size <= scan->pos);
    scan->pos -= b->size;
    return scan_next(scan, b) == BATCH_OK;
}
