/*
 * The last lines of the log that tell of trouble, WARN and above: for who looks at the broker over HTTP, and has no
 * shell on its machine. Any thread.
 */
#ifndef BARNABAS_RECENT_LINES_H
#define BARNABAS_RECENT_LINES_H

#include "base/logger.h"

enum { RECENT_LINES = 50, RECENT_LINE_ROOM = 400 };

struct recent_line {
    enum log_level level;
    int64_t ms;         /* since 1970 */
    const char *logger; /* for ever */
    int32_t len;        /* of the text, which is cut off where there is no more room */
    char text[RECENT_LINE_ROOM];
};

void recent_lines_keep(const struct log_line *line); /* below WARN: it is not kept */
/* Copies them, the newest first; returns how many there are. */
int recent_lines_read(struct recent_line out[RECENT_LINES]);

#endif
