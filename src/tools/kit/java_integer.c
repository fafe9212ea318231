#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#include "tools/kit/tool.h"

bool java_integer(const char *text, int64_t min, int64_t max, int64_t *out)
{
    const char *digits = text + (*text == '-' || *text == '+');
    char *end;
    errno = 0;
    int64_t value = strtoll(text, &end, 10);
    if (!isdigit((unsigned char)*digits) || *end != '\0' || errno != 0 || value < min || value > max)
        return false;
    *out = value;
    return true;
}
