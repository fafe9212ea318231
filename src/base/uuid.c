#include "base/uuid.h"

#include "base/chance.h"

const struct uuid UUID_ZERO;

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

struct uuid uuid_random(void)
{
    struct uuid id;
    char text[UUID_TEXT_LEN + 1];
    do {
        chance_fill(&id, sizeof(id));
        id.b[6] = (uint8_t)((id.b[6] & 0x0f) | 0x40);
        id.b[8] = (uint8_t)((id.b[8] & 0x3f) | 0x80);
        uuid_format(id, text);
    } while (text[0] == '-');
    return id;
}

void uuid_format(struct uuid id, char out[UUID_TEXT_LEN + 1])
{
    uint32_t bits = 0;
    int have = 0, n = 0;
    for (size_t i = 0; i < sizeof(id.b); i++) {
        bits = bits << 8 | id.b[i];
        for (have += 8; have >= 6; have -= 6)
            out[n++] = alphabet[bits >> (have - 6) & 63];
    }
    out[n++] = alphabet[bits << (6 - have) & 63];
    out[n] = '\0';
    ensure(n == UUID_TEXT_LEN);
}

bool uuid_parse(struct str text, struct uuid *out)
{
    if (text.len != UUID_TEXT_LEN)
        return false;
    uint32_t bits = 0;
    int have = 0;
    size_t n = 0;
    for (int i = 0; i < text.len; i++) {
        const char *digit = text.p[i] ? strchr(alphabet, text.p[i]) : NULL;
        if (digit == NULL)
            return false;
        bits = bits << 6 | (uint32_t)(digit - alphabet);
        have += 6;
        if (have >= 8) {
            have -= 8;
            out->b[n++] = (uint8_t)(bits >> have);
        }
    }
    return n == sizeof(out->b);
}
