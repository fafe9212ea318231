#include "base/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_add(struct strbuf *out, struct bytes data)
{
    for (int32_t i = 0; i < data.len; i += 3) {
        int32_t have = MIN(data.len - i, 3);
        uint32_t bits = (uint32_t)data.p[i] << 16;
        if (have > 1)
            bits |= (uint32_t)data.p[i + 1] << 8;
        if (have > 2)
            bits |= data.p[i + 2];
        char four[4] = {alphabet[bits >> 18], alphabet[bits >> 12 & 63], '=', '='};
        if (have > 1)
            four[2] = alphabet[bits >> 6 & 63];
        if (have > 2)
            four[3] = alphabet[bits & 63];
        strbuf_add(out, four, sizeof(four));
    }
}

bool base64_decode(struct str text, struct arena *a, struct bytes *out)
{
    uint8_t *to = arena_alloc(a, (size_t)text.len / 4 * 3 + 1);
    int32_t len = text.len, n = 0, have = 0;
    uint32_t bits = 0;
    if (text.len % 4 != 0)
        return false;
    for (int padding = 0; padding < 2 && len > 0 && text.p[len - 1] == '='; padding++)
        len--;
    for (int32_t i = 0; i < len; i++) {
        const char *at = text.p[i] != '\0' ? strchr(alphabet, text.p[i]) : NULL;
        if (at == NULL)
            return false;
        bits = bits << 6 | (uint32_t)(at - alphabet);
        have += 6;
        if (have >= 8) {
            have -= 8;
            to[n++] = (uint8_t)(bits >> have);
        }
    }
    *out = (struct bytes){to, n};
    return true;
}
