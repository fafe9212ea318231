/* What the files of record/ share. */
#ifndef BARNABAS_RECORD_INTERNAL_H
#define BARNABAS_RECORD_INTERNAL_H

#include "record/record.h"

/* v2 only: sets timestamp type and max timestamp, and the CRC if either changed. */
void batch_set_max_timestamp(uint8_t *batch, bool log_append_time, int64_t max_timestamp);
/* Writes all 61 bytes and the CRC over what already lies behind them. */
void batch_write_header(uint8_t *p, const struct batch *b);

/* Appends one v0 or v1 message. */
void message_put(struct strbuf *out, int8_t magic, uint8_t attributes, const struct record *r);

/*
 * As record_iter_next(), but for v2 batches keys, values and headers are only stepped over: they come back as
 * null or as a pointer that must not be followed. No memory is used, whatever the batch holds.
 */
struct record_iter *record_iter_new_skipping(const struct batch *b, struct arena *a);

#endif
