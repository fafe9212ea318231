/* Lines of comma-separated values, as Kafka's tools write them with Jackson, and read them. */
#ifndef BARNABAS_TOOLS_KIT_CSV_H
#define BARNABAS_TOOLS_KIT_CSV_H

#include "base/arena.h"
#include "base/strbuf.h"

/* Puts it into quotes where Jackson does: for a character below '-' in it, or when it is longer than 24. */
void csv_put(struct strbuf *line, struct str value);

/* A file's lines, without the empty ones at its end, which Java's split() leaves out: an export ends with one. */
bool csv_read(const char *path, struct arena *a, struct str *out);
/* Takes the first line off; false: there is none any more. */
bool csv_take_line(struct str *lines, struct str *line);

/* A value that is a number in [min, max]. */
bool csv_number(struct arena *a, struct str value, int64_t min, int64_t max, int64_t *out) NODISCARD;
/* Splits a line into at most `most` values, in the arena; returns how many there are, more than `most` if too many. */
int csv_split(struct str line, struct str *values, int most, struct arena *a);

#endif
