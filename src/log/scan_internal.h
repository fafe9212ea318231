/* Reading batches of a log file one after the other, in large pieces. */
#ifndef BARNABAS_LOG_SCAN_INTERNAL_H
#define BARNABAS_LOG_SCAN_INTERNAL_H

#include "record/record.h"

struct scan {
    int fd;
    const char *path;  /* for messages */
    int64_t pos, size; /* next batch; end of the file */
    uint8_t *buf;
    size_t buf_size;
    int64_t buf_pos; /* what of the file is in the buffer */
    size_t buf_len;
    bool failed; /* the file cannot be read: that no batch came says nothing of what is there */
};

/* Reads `chunk` bytes at a time, or more where a batch is larger. */
void scan_init(struct scan *scan, int fd, const char *path, int64_t pos, int64_t size, size_t chunk);
void scan_deinit(struct scan *scan);
/*
 * The batch at `pos`, which moves behind it; `out` is good until the next call. Anything but BATCH_OK with `pos` below
 * `size` is damage, unless it has `failed`.
 */
enum batch_result scan_next(struct scan *scan, struct batch *out);
/*
 * The same for those who need few of the batches whole: of `out` there is the header alone, and of large batches no
 * more is read than a chunk.
 */
enum batch_result scan_next_head(struct scan *scan, struct batch *out);
/* Then all of it, of the batch that came last. False if the file cannot be read. */
bool scan_whole(struct scan *scan, struct batch *b) NODISCARD;

#endif
