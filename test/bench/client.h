/* What the benchmarks' clients share: one blocking connection, frames, batches to send. Whatever goes wrong ends the
 * program. */
#ifndef BENCH_CLIENT_H
#define BENCH_CLIENT_H

#include "protocol/wire.h"
#include "record/record.h"

_Noreturn void die(const char *fmt, ...) PRINTF_LIKE(1, 2);

int dial(const char *host, const char *port);
void write_all(int fd, const void *data, size_t len);
struct bytes read_frame(int fd, struct strbuf *frame); /* the next frame, in `frame`, which grows */

/* A request from its length to the end of its header; the caller writes the body and calls end_frame(). */
void begin_frame(struct writer *w, int16_t key, int16_t version);
void end_frame(struct writer *w);
void read_header(struct reader *r, int16_t key, int16_t version);

/* One batch of records of that size, as many as fill `batch_size` and at least one. Returns how many. */
int32_t make_batch(struct strbuf *out, int64_t record_size, int64_t batch_size, enum codec codec);

#endif
