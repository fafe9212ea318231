#include "base/base64.h"

static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char of_urls[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void base64_add_by(struct strbuf *out, struct bytes data, const char *alphabet, bool padded)
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
        strbuf_add(out, four, padded ? sizeof(four) : (size_t)have + 1);
    }
}

static bool base64_decode_by(struct str text, const char *alphabet, struct arena *a, struct bytes *out)
{
    uint8_t *to = arena_alloc(a, ((size_t)text.len + 3) / 4 * 3 + 1);
    int32_t n = 0, have = 0;
    uint32_t bits = 0;
    for (int32_t i = 0; i < text.len; i++) {
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

void base64_add(struct strbuf *out, struct bytes data)
{
    base64_add_by(out, data, plain, true);
}

bool base64_decode(struct str text, struct arena *a, struct bytes *out)
{
    if (text.len % 4 != 0)
        return false;
    for (int padding = 0; padding < 2 && text.len > 0 && text.p[text.len - 1] == '='; padding++)
        text.len--;
    return base64_decode_by(text, plain, a, out);
}

void base64url_add(struct strbuf *out, struct bytes data)
{
    base64_add_by(out, data, of_urls, false);
}

bool base64url_decode(struct str text, struct arena *a, struct bytes *out)
{
    return text.len % 4 != 1 && base64_decode_by(text, of_urls, a, out);
}
