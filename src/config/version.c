#include "config/version.h"

#include <stdio.h>

#include "base/base.h"

#define IBP_NAME(id, text) text,
static const char *const names[] = {IBP_VERSIONS(IBP_NAME)};
#undef IBP_NAME

const char *ibp_name(enum ibp version)
{
    ensure((size_t)version < ARRAY_LEN(names));
    return names[version];
}

/* Length of the part that counts: "0.10.2" of "0.10.2.1", "3.5" of "3.5.2", all of "3.5-IV1". */
static size_t significant(const char *text)
{
    int dots = strncmp(text, "0.", 2) == 0 ? 3 : 2;
    const char *at = text;
    for (; *at; at++)
        if (*at == '.' && --dots == 0)
            break;
    return (size_t)(at - text);
}

bool ibp_parse(const char *text, enum ibp *out)
{
    size_t len = significant(text);
    for (int v = IBP_COUNT - 1; v >= 0; v--) {
        const char *name = names[v];
        bool whole = strlen(name) == len;
        bool release = v <= IBP_LATEST && name[strcspn(name, "-")] == '-' && strcspn(name, "-") == len;
        if ((whole || release) && strncmp(name, text, len) == 0) {
            *out = (enum ibp)v;
            return true;
        }
    }
    return false;
}
