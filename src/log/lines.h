/* Kafka's small text files, offset checkpoints and leader epochs: a version, the number of lines, lines. */
#ifndef BARNABAS_LOG_LINES_H
#define BARNABAS_LOG_LINES_H

#include "base/strbuf.h"

/*
 * Calls `line` with each; one that it cannot understand costs nothing but itself. A missing file is an empty one, and
 * so is one of another version. False if the file cannot be read; `complete`: nothing is missing of it. An empty one is
 * what Apache's cleaner leaves.
 */
bool lines_read(const char *path, bool (*line)(void *ctx, const char *s), void *ctx, bool *complete) NODISCARD;
void lines_begin(struct strbuf *text, size_t count); /* `count` lines are to follow */

#endif
