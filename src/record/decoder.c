#include <lz4frame.h>
#include <pthread.h>
#include <snappy-c.h>
#include <xxhash.h>
#include <zlib.h>
#include <zstd.h>

#include "base/bytes.h"
#include "record/codec_internal.h"

/*
 * Contexts of lz4 and zstd cost more to make than most batches cost to read, so that each thread keeps one
 * decoder of each kind for its next batch.
 */
enum { LZ4_HEADER_MAX = 19, SNAPPY_BLOCK_MAX = 64 << 20 };

struct decoder {
    enum codec codec;
    struct bytes in; /* what is left */
    z_stream zlib;
    LZ4F_dctx *lz4;
    ZSTD_DCtx *zstd;
    bool at_frame_end;     /* between the members or frames of a concatenated stream */
    struct bytes lz4_head; /* v0: the header with a checksum that liblz4 accepts */
    uint8_t lz4_patched[LZ4_HEADER_MAX];
    bool snappy_framed;
    uint8_t *block;             /* snappy: a decompressed block, */
    size_t block_len, block_at; /* and how much of it was read */
};

static const uint8_t snappy_magic[8] = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0};
enum { SNAPPY_HEADER_SIZE = 16 };

struct spares {
    LZ4F_dctx *lz4;
    ZSTD_DCtx *zstd;
};

static pthread_once_t spares_once = PTHREAD_ONCE_INIT;
static pthread_key_t spares_key;

static void spares_free(void *arg)
{
    struct spares *s = arg;
    LZ4F_freeDecompressionContext(s->lz4);
    ZSTD_freeDCtx(s->zstd);
    free(s);
}

static void spares_make_key(void)
{
    int rc = pthread_key_create(&spares_key, spares_free);
    ensure(rc == 0);
}

static struct spares *spares(void)
{
    pthread_once(&spares_once, spares_make_key);
    struct spares *s = pthread_getspecific(spares_key);
    if (s == NULL) {
        s = xcalloc(1, sizeof(*s));
        pthread_setspecific(spares_key, s);
    }
    return s;
}

/*
 * v0 writers took the header checksum over the magic number too. Size of the descriptor: flags, block
 * size, and 8 bytes more if the content size is given.
 */
static bool lz4_patch_v0_header(struct decoder *d)
{
    if (d->in.len < 7)
        return false;
    size_t descriptor = (d->in.p[4] & 0x08) ? 10 : 2;
    size_t head = 4 + descriptor + 1;
    ensure(head <= sizeof(d->lz4_patched));
    if ((size_t)d->in.len < head)
        return false;
    memcpy(d->lz4_patched, d->in.p, head);
    d->lz4_patched[head - 1] = (uint8_t)(XXH32(d->in.p + 4, descriptor, 0) >> 8);
    d->lz4_head = (struct bytes){d->lz4_patched, (int32_t)head};
    d->in.p += head;
    d->in.len -= (int32_t)head;
    return true;
}

static bool lz4_open(struct decoder *d, int8_t magic)
{
    d->lz4 = spares()->lz4;
    spares()->lz4 = NULL;
    if (d->lz4 == NULL && LZ4F_isError(LZ4F_createDecompressionContext(&d->lz4, LZ4F_VERSION)))
        return false;
    LZ4F_resetDecompressionContext(d->lz4);
    return magic > 0 || lz4_patch_v0_header(d);
}

static bool zstd_open(struct decoder *d)
{
    d->zstd = spares()->zstd;
    spares()->zstd = NULL;
    if (d->zstd == NULL)
        d->zstd = ZSTD_createDCtx();
    return d->zstd != NULL && !ZSTD_isError(ZSTD_DCtx_reset(d->zstd, ZSTD_reset_session_only));
}

static bool gzip_open(struct decoder *d)
{
    d->zlib.next_in = (Bytef *)(uintptr_t)d->in.p;
    d->zlib.avail_in = (uInt)d->in.len;
    return inflateInit2(&d->zlib, 16 + MAX_WBITS) == Z_OK;
}

static bool snappy_open(struct decoder *d)
{
    d->snappy_framed = d->in.len >= SNAPPY_HEADER_SIZE && memcmp(d->in.p, snappy_magic, sizeof(snappy_magic)) == 0;
    if (d->snappy_framed) {
        d->in.p += SNAPPY_HEADER_SIZE;
        d->in.len -= SNAPPY_HEADER_SIZE;
    }
    return true;
}

static bool decoder_open(struct decoder *d, int8_t magic)
{
    switch (d->codec) {
    case CODEC_GZIP:
        return gzip_open(d);
    case CODEC_SNAPPY:
        return snappy_open(d);
    case CODEC_LZ4:
        return lz4_open(d, magic);
    case CODEC_ZSTD:
        return zstd_open(d);
    default:
        return d->codec == CODEC_NONE;
    }
}

struct decoder *decoder_new(enum codec c, int8_t magic, struct bytes in)
{
    struct decoder *d = xcalloc(1, sizeof(*d));
    d->codec = c;
    d->in = in;
    d->at_frame_end = true;
    if (decoder_open(d, magic))
        return d;
    decoder_free(d);
    return NULL;
}

void decoder_free(struct decoder *d)
{
    if (d == NULL)
        return;
    if (d->codec == CODEC_GZIP)
        inflateEnd(&d->zlib); /* harmless when inflateInit2() had failed */
    if (d->lz4 != NULL && spares()->lz4 == NULL)
        spares()->lz4 = d->lz4;
    else
        LZ4F_freeDecompressionContext(d->lz4);
    if (d->zstd != NULL && spares()->zstd == NULL)
        spares()->zstd = d->zstd;
    else
        ZSTD_freeDCtx(d->zstd);
    free(d->block);
    free(d);
}

static ssize_t gzip_read(struct decoder *d, uint8_t *out, size_t size)
{
    z_stream *z = &d->zlib;
    z->next_out = out;
    z->avail_out = (uInt)size;
    while (z->avail_out == size) {
        if (z->avail_in == 0)
            return d->at_frame_end ? 0 : -1;
        d->at_frame_end = false;
        int rc = inflate(z, Z_NO_FLUSH);
        if (rc == Z_STREAM_END) {
            d->at_frame_end = true;
            if (inflateReset(z) != Z_OK)
                return -1;
        } else if (rc != Z_OK) {
            return -1;
        }
    }
    return (ssize_t)(size - z->avail_out);
}

static ssize_t lz4_read(struct decoder *d, uint8_t *out, size_t size)
{
    for (;;) {
        struct bytes *src = d->lz4_head.len > 0 ? &d->lz4_head : &d->in;
        size_t used = (size_t)src->len, made = size;
        if (used == 0 && d->at_frame_end)
            return 0;
        size_t more = LZ4F_decompress(d->lz4, out, &made, src->p, &used, NULL);
        if (LZ4F_isError(more))
            return -1;
        src->p += used;
        src->len -= (int32_t)used;
        d->at_frame_end = more == 0;
        if (made > 0)
            return (ssize_t)made;
        if (used == 0)
            return -1; /* cut off inside a frame */
    }
}

static ssize_t zstd_read(struct decoder *d, uint8_t *out, size_t size)
{
    for (;;) {
        if (d->in.len == 0 && d->at_frame_end)
            return 0;
        ZSTD_inBuffer src = {d->in.p, (size_t)d->in.len, 0};
        ZSTD_outBuffer dst = {out, size, 0};
        size_t more = ZSTD_decompressStream(d->zstd, &dst, &src);
        if (ZSTD_isError(more))
            return -1;
        d->in.p += src.pos;
        d->in.len -= (int32_t)src.pos;
        d->at_frame_end = more == 0;
        if (dst.pos > 0)
            return (ssize_t)dst.pos;
        if (src.pos == 0)
            return -1;
    }
}

static bool snappy_take_block(struct decoder *d, struct bytes *block)
{
    int32_t len = d->in.len;
    if (d->snappy_framed) {
        if (d->in.len < 4)
            return false;
        len = (int32_t)be32_get(d->in.p);
        d->in.p += 4;
        d->in.len -= 4;
        if (len < 0 || len > d->in.len)
            return false;
    }
    *block = (struct bytes){d->in.p, len};
    d->in.p += len;
    d->in.len -= len;
    return true;
}

static bool snappy_fill(struct decoder *d)
{
    struct bytes src;
    size_t len;
    if (!snappy_take_block(d, &src) ||
        snappy_uncompressed_length((const char *)src.p, (size_t)src.len, &len) != SNAPPY_OK)
        return false;
    /* A snappy element of 3 bytes yields 64 at most: a longer claim is a lie told to eat memory. */
    if (len > SNAPPY_BLOCK_MAX || len > (size_t)src.len * 32 + 64)
        return false;
    d->block = xrealloc(d->block, MAX(len, (size_t)1));
    d->block_at = 0;
    d->block_len = len;
    return snappy_uncompress((const char *)src.p, (size_t)src.len, (char *)d->block, &d->block_len) == SNAPPY_OK;
}

static ssize_t snappy_read(struct decoder *d, uint8_t *out, size_t size)
{
    while (d->block_at == d->block_len) {
        if (d->in.len == 0)
            return 0;
        if (!snappy_fill(d))
            return -1;
    }
    ensure(d->block_at < d->block_len);
    size_t n = MIN(size, d->block_len - d->block_at);
    memcpy(out, d->block + d->block_at, n);
    d->block_at += n;
    return (ssize_t)n;
}

static ssize_t plain_read(struct decoder *d, uint8_t *out, size_t size)
{
    size_t n = MIN(size, (size_t)d->in.len);
    if (n > 0)
        memcpy(out, d->in.p, n);
    d->in.p += n;
    d->in.len -= (int32_t)n;
    return (ssize_t)n;
}

ssize_t decoder_read(struct decoder *d, uint8_t *out, size_t size)
{
    ensure(size > 0);
    switch (d->codec) {
    case CODEC_GZIP:
        return gzip_read(d, out, size);
    case CODEC_SNAPPY:
        return snappy_read(d, out, size);
    case CODEC_LZ4:
        return lz4_read(d, out, size);
    case CODEC_ZSTD:
        return zstd_read(d, out, size);
    default:
        return plain_read(d, out, size);
    }
}
