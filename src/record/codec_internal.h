/* Streaming decompression: memory stays bounded whatever the data claims to hold. */
#ifndef BARNABAS_CODEC_INTERNAL_H
#define BARNABAS_CODEC_INTERNAL_H

#include "record/record.h"

struct decoder;

/* `in` must outlive the decoder. NULL when the codec does not exist. */
struct decoder *decoder_new(enum codec c, int8_t magic, struct bytes in);
void decoder_free(struct decoder *d);
/* Up to `size` bytes; 0 at the end, -1 when the data is corrupt. */
ssize_t decoder_read(struct decoder *d, uint8_t *out, size_t size);

#endif
