/*
 * Compression as clients of all ages read it: snappy in the frames of snappy-java, lz4 in frames of independent blocks
 * of 64 KiB, and for v0 with the checksum of the header over bytes that do not belong to it, as its first writers had
 * it. Reading is decoder.c's.
 */
#include <lz4frame.h>
#include <snappy-c.h>
#include <xxhash.h>
#include <zlib.h>
#include <zstd.h>

#include "record/record.h"

enum { SNAPPY_BLOCK = 32 * 1024, GZIP_DEFAULT_LEVEL = -1, LZ4_DEFAULT_LEVEL = 9, ZSTD_DEFAULT_LEVEL = 3 };

static const char *const names[CODEC_COUNT] = {"none", "gzip", "snappy", "lz4", "zstd"};

const char *codec_name(enum codec c)
{
    ensure(c < CODEC_COUNT);
    return names[c];
}

bool codec_parse(struct str name, enum codec *out)
{
    for (int c = 0; c < CODEC_COUNT; c++) {
        if (str_is(name, names[c])) {
            *out = (enum codec)c;
            return true;
        }
    }
    return false;
}

static int level_or(int level, int fallback)
{
    return level == CODEC_LEVEL_DEFAULT ? fallback : level;
}

/* Makes room for `bound` bytes, lets the caller fill some of it, and keeps what was filled. */
static uint8_t *room_for(struct strbuf *out, size_t bound)
{
    return strbuf_extend(out, bound);
}

static void compression_keep(struct strbuf *out, size_t bound, size_t filled)
{
    ensure(filled <= bound && out->len >= bound);
    out->len -= bound - filled;
}

static bool gzip(int level, struct bytes in, struct strbuf *out)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)in.p, .avail_in = (uInt)in.len};
    if (deflateInit2(&z, level_or(level, GZIP_DEFAULT_LEVEL), Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) !=
        Z_OK)
        return false;
    size_t bound = deflateBound(&z, (uLong)in.len) + 32;
    z.next_out = room_for(out, bound);
    z.avail_out = (uInt)bound;
    int rc = deflate(&z, Z_FINISH);
    compression_keep(out, bound, bound - z.avail_out);
    deflateEnd(&z);
    return rc == Z_STREAM_END;
}

/* The framing of snappy-java, which every Kafka client reads: a header, then sized blocks. */
static bool snappy(struct bytes in, struct strbuf *out)
{
    static const uint8_t header[16] = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1};
    strbuf_add(out, header, sizeof(header));
    for (int32_t at = 0; at < in.len;) {
        size_t len = (size_t)MIN(in.len - at, (int32_t)SNAPPY_BLOCK);
        size_t filled = snappy_max_compressed_length(len), bound = filled + 4;
        uint8_t *p = room_for(out, bound);
        if (snappy_compress((const char *)in.p + at, len, (char *)p + 4, &filled) != SNAPPY_OK)
            return false;
        be32_put(p, (uint32_t)filled);
        compression_keep(out, bound, filled + 4);
        at += (int32_t)len;
    }
    return true;
}

/* Java's levels 1 to 17 with 9 as default; Kafka's own default is liblz4's fast mode. */
static bool lz4(int level, int8_t magic, struct bytes in, struct strbuf *out)
{
    LZ4F_preferences_t prefs = {.frameInfo = {.blockSizeID = LZ4F_max64KB, .blockMode = LZ4F_blockIndependent},
                                .compressionLevel =
                                    level == CODEC_LEVEL_DEFAULT || level == LZ4_DEFAULT_LEVEL ? 0 : level};
    size_t bound = LZ4F_compressFrameBound((size_t)in.len, &prefs);
    uint8_t *p = room_for(out, bound);
    size_t filled = LZ4F_compressFrame(p, bound, in.p, (size_t)in.len, &prefs);
    if (LZ4F_isError(filled))
        return false;
    if (magic == 0) /* frame magic and descriptor: 4 + 2 bytes */
        p[6] = (uint8_t)(XXH32(p, 6, 0) >> 8);
    compression_keep(out, bound, filled);
    return true;
}

static bool zstd(int level, struct bytes in, struct strbuf *out)
{
    size_t bound = ZSTD_compressBound((size_t)in.len);
    uint8_t *p = room_for(out, bound);
    size_t filled = ZSTD_compress(p, bound, in.p, (size_t)in.len, level_or(level, ZSTD_DEFAULT_LEVEL));
    if (ZSTD_isError(filled))
        return false;
    compression_keep(out, bound, filled);
    return true;
}

bool codec_compress(enum codec c, int level, int8_t magic, struct bytes in, struct strbuf *out)
{
    switch (c) {
    case CODEC_GZIP:
        return gzip(level, in, out);
    case CODEC_SNAPPY:
        return snappy(in, out);
    case CODEC_LZ4:
        return lz4(level, magic, in, out);
    case CODEC_ZSTD:
        return zstd(level, in, out);
    default:
        strbuf_add(out, in.p, (size_t)in.len);
        return c == CODEC_NONE;
    }
}
