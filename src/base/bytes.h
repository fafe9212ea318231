/*
 * Slices and byte order. A slice points into memory that somebody else owns (a request's buffer,
 * an arena, a literal); it is never freed through the slice and ends with its owner.
 * A NULL pointer is Kafka's null; an empty slice has a non-NULL pointer and length 0.
 */
#ifndef BARNABAS_BYTES_H
#define BARNABAS_BYTES_H

#include "base/base.h"

struct str { /* text, UTF-8 unless said otherwise, not NUL-terminated */
    const char *p;
    int32_t len;
};

struct bytes {
    const uint8_t *p;
    int32_t len;
};

/* For printf: printf("%.*s", STR_ARGS(s)). */
#define STR_ARGS(s) (int)(s).len, ((s).p ? (s).p : "")
#define STR_NULL ((struct str){NULL, 0})
#define STR_LIT(lit) ((struct str){(lit), (int32_t)sizeof(lit) - 1})

static inline struct str str_of(const char *s)
{
    return (struct str){s, s ? (int32_t)strlen(s) : 0};
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.len == b.len && (a.p == NULL) == (b.p == NULL) &&
           (a.len == 0 || a.p == b.p || memcmp(a.p, b.p, (size_t)a.len) == 0);
}

static inline bool str_is(struct str a, const char *s)
{
    return str_eq(a, str_of(s));
}

/* Whether two C strings are the same; in place, as for names of a few letters the call of strcmp() is most of it. */
static inline bool text_eq(const char *a, const char *b)
{
    for (; *a == *b; a++, b++)
        if (*a == '\0')
            return true;
    return false;
}

/* A copy on the heap, which str_free() takes back; null stays null. */
struct str str_dup(struct str s);
void str_free(struct str s);
/* Its length in Java, where limits of texts are counted in UTF-16. */
int32_t str_utf16_length(struct str s);
/* Whether a zero byte is in it: as a C string it would be another. */
static inline bool str_has_zero(struct str s)
{
    return s.len > 0 && memchr(s.p, '\0', (size_t)s.len) != NULL;
}

/* The number that it is, in decimal digits, perhaps with a sign, and nothing else. */
bool str_to_int32(struct str s, int32_t *out) NODISCARD;
/* Without the white space around it. */
struct str str_trim(struct str s);
/* At most so many bytes of its beginning, whole characters if it is UTF-8. */
struct str str_head(struct str s, int32_t most);
/* Whether it is nothing but whole characters in their shortest form, without surrogates. */
bool str_is_utf8(struct str s);
/* Order by bytes, as Kafka sorts topic names; null sorts first. */
int str_cmp(struct str a, struct str b);

static inline bool bytes_eq(struct bytes a, struct bytes b)
{
    return a.len == b.len && (a.p == NULL) == (b.p == NULL) && (a.len == 0 || memcmp(a.p, b.p, (size_t)a.len) == 0);
}

static inline uint16_t be16_get(const void *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof(v));
    return __builtin_bswap16(v);
}

static inline uint32_t be32_get(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return __builtin_bswap32(v);
}

static inline uint64_t be64_get(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return __builtin_bswap64(v);
}

static inline void be16_put(void *p, uint16_t v)
{
    v = __builtin_bswap16(v);
    memcpy(p, &v, sizeof(v));
}

static inline void be32_put(void *p, uint32_t v)
{
    v = __builtin_bswap32(v);
    memcpy(p, &v, sizeof(v));
}

static inline void be64_put(void *p, uint64_t v)
{
    v = __builtin_bswap64(v);
    memcpy(p, &v, sizeof(v));
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "byte order helpers assume little endian");

/*
 * Variable-length integers of the wire (unsigned LEB128; signed ones zigzag first).
 * The readers take at most `len` bytes at `p` and return the bytes used, or 0 when the number is
 * cut off or longer than its type allows. The writers need 5 or 10 bytes and return those used.
 */
size_t uvarint_get(const uint8_t *p, size_t len, uint32_t *out);
size_t uvarlong_get(const uint8_t *p, size_t len, uint64_t *out);
size_t uvarint_put(uint8_t *p, uint32_t v);
size_t uvarlong_put(uint8_t *p, uint64_t v);
/* Bytes of the shortest form: one for each seven bits. */
static inline size_t uvarlong_size(uint64_t v)
{
    return (size_t)(70 - __builtin_clzll(v | 1)) / 7;
}

static inline uint64_t zigzag(int64_t v)
{
    return ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
}

static inline int64_t unzigzag(uint64_t v)
{
    return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

#endif
