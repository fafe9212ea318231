/*
 * The message of an error on its way up: whoever finds it says what happened, and each caller that
 * passes it on may put in front what it was doing. Where nobody wants to know, NULL is passed.
 */
#ifndef BARNABAS_FAIL_H
#define BARNABAS_FAIL_H

#include "base/base.h"

struct fail {
    char text[1024]; /* cut off, but always terminated, when longer */
};

/* Both return false, so that a function can end with `return fail_set(fail, ...)`. */
bool fail_set(struct fail *fail, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Puts "context: " in front of the text that is there. */
bool fail_wrap(struct fail *fail, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Where something is tried again, only the last try counts: returns `ok`, and passes on `why` unless it is. */
bool fail_unless(bool ok, const struct fail *why, struct fail *fail);

#endif
