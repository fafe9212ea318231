/* What the benchmarks' clients share: one blocking connection, frames, batches to send. Whatever goes wrong ends the
 * program. */
#ifndef BENCH_CLIENT_H
#define BENCH_CLIENT_H

#include "protocol/wire.h"
#include "record/record.h"

_Noreturn void die(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* Encrypted if BENCH_TLS names a file of certificates that the broker's is signed by; one thread at a time then. */
int try_dial(const char *host, const char *port); /* -1: nobody listens */
int dial(const char *host, const char *port);
void hang_up(int fd);
void write_all(int fd, const void *data, size_t len);
ssize_t read_some(int fd, void *data, size_t len);

/* A request from its length to the end of its header; the caller writes the body and calls end_frame(). */
void begin_frame(struct writer *w, int16_t key, int16_t version);
void end_frame(struct writer *w);

/*
 * A request of any API and the answer to it, as the structs of that API's messages. The answer points into `frame`,
 * which has no length any more; its arrays lie in `a`.
 */
void send_request(int fd, int16_t key, int16_t version, const void *request);
void read_answer(struct bytes frame, int16_t key, int16_t version, void *response, struct arena *a);
void take_answer(int fd, int16_t key, int16_t version, void *response, struct strbuf *frame, struct arena *a);

/* What is known of a topic, as of now. */
struct metadata_response;
void ask_metadata(int fd, const char *topic, struct metadata_response *out, struct strbuf *frame, struct arena *a);

/* One batch of records of that size, as many as fill `batch_size` and at least one. Returns how many. */
int32_t make_batch(struct strbuf *out, int64_t record_size, int64_t batch_size, enum codec codec);

/* ---- The command line ---- */

struct mode {
    const char *name;
    int args;
    int (*run)(char **args);
};
/* Runs what the first word names with the rest; ends with a hint at the source that has the usage. */
int run_mode(const struct mode *modes, size_t len, int argc, char **argv, const char *source);

#endif
