#include "base/bytes.h"

#include <ctype.h>

int str_cmp(struct str a, struct str b)
{
    int32_t common = MIN(a.len, b.len);
    int order = common > 0 ? memcmp(a.p, b.p, (size_t)common) : 0;
    if (order != 0)
        return order;
    if (a.len != b.len)
        return a.len < b.len ? -1 : 1;
    return (a.p != NULL) - (b.p != NULL);
}

struct str str_dup(struct str s)
{
    return s.p == NULL ? STR_NULL : (struct str){xstrndup(s.p, (size_t)s.len), s.len};
}

void str_free(struct str s)
{
    free((char *)(uintptr_t)s.p);
}

int32_t str_utf16_length(struct str s)
{
    int32_t n = 0;
    for (int32_t i = 0; i < s.len; i++) {
        uint8_t c = (uint8_t)s.p[i];
        n += (c & 0xc0) != 0x80; /* the first byte of a character */
        n += c >= 0xf0;          /* which is a surrogate pair */
    }
    return n;
}

bool str_to_int32(struct str s, int32_t *out)
{
    bool has_sign = s.len > 0 && (s.p[0] == '-' || s.p[0] == '+');
    int64_t value = 0;
    int32_t at = has_sign ? 1 : 0;
    if (at >= s.len)
        return false;
    for (; at < s.len; at++) {
        if (s.p[at] < '0' || s.p[at] > '9')
            return false;
        value = value * 10 + (s.p[at] - '0');
        if (value > (int64_t)INT32_MAX + 1)
            return false;
    }
    value = has_sign && s.p[0] == '-' ? -value : value;
    *out = (int32_t)value;
    return value <= INT32_MAX;
}

struct str str_trim(struct str s)
{
    for (; s.len > 0 && isspace((unsigned char)s.p[0]); s.p++)
        s.len--;
    while (s.len > 0 && isspace((unsigned char)s.p[s.len - 1]))
        s.len--;
    return s;
}

struct str str_head(struct str s, int32_t most)
{
    ensure(most >= 0);
    int32_t len = MIN(s.len, most);
    while (len > 0 && len < s.len && ((uint8_t)s.p[len] & 0xc0) == 0x80)
        len--;
    return (struct str){s.p, len};
}

/* The length of the character that begins there; 0: none does. */
static int32_t utf8_character(const char *text, int32_t len)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000}; /* of so many bytes */
    uint8_t first = (uint8_t)text[0];
    int32_t n = first < 0x80 ? 1 : first < 0xc0 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf8 ? 4 : 0;
    uint32_t c = n > 1 ? first & (0x7fu >> n) : first;
    if (n > len)
        return 0;
    for (int32_t i = 1; i < n; i++) {
        if (((uint8_t)text[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | ((uint8_t)text[i] & 0x3f);
    }
    bool surrogate = c >= 0xd800 && c < 0xe000;
    return c >= least[n] && c < 0x110000 && !surrogate ? n : 0;
}

bool str_is_utf8(struct str s)
{
    for (int32_t i = 0, n; i < s.len; i += n)
        if ((n = utf8_character(s.p + i, s.len - i)) == 0)
            return false;
    return true;
}

size_t uvarlong_get(const uint8_t *p, size_t len, uint64_t *out)
{
    uint64_t v = 0;
    for (size_t i = 0; i < len && i < 10; i++) {
        v |= (uint64_t)(p[i] & 0x7f) << (7 * i);
        if ((p[i] & 0x80) == 0) {
            if (i == 9 && p[i] > 1)
                return 0;
            *out = v;
            return i + 1;
        }
    }
    return 0;
}

size_t uvarint_get(const uint8_t *p, size_t len, uint32_t *out)
{
    uint64_t v = 0;
    size_t n = uvarlong_get(p, MIN(len, 5), &v);
    if (n == 0 || v > UINT32_MAX)
        return 0;
    *out = (uint32_t)v;
    return n;
}

size_t uvarlong_put(uint8_t *p, uint64_t v)
{
    size_t n = 0;
    while (v >= 0x80) {
        p[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    p[n++] = (uint8_t)v;
    return n;
}

size_t uvarint_put(uint8_t *p, uint32_t v)
{
    return uvarlong_put(p, v);
}
