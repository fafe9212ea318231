#include "base/fail.h"

#include <stdarg.h>
#include <stdio.h>

bool fail_set(struct fail *fail, const char *fmt, ...)
{
    if (fail == NULL)
        return false;
    char text[sizeof(fail->text)]; /* as the old text may be among the arguments */
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    memcpy(fail->text, text, strlen(text) + 1);
    return false;
}

bool fail_wrap(struct fail *fail, const char *fmt, ...)
{
    if (fail == NULL)
        return false;
    char context[sizeof(fail->text)];
    va_list args;
    va_start(args, fmt);
    vsnprintf(context, sizeof(context), fmt, args);
    va_end(args);
    return fail_set(fail, "%s: %s", context, fail->text);
}

bool fail_unless(bool ok, const struct fail *why, struct fail *fail)
{
    return ok || fail_set(fail, "%s", why->text);
}
