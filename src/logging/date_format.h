/*
 * Dates by the patterns of Java's SimpleDateFormat, in English: letters are fields, what is between apostrophes is
 * text, two of them are one. These are understood: y M d D E F H k K h m s S a w z Z X. log4j has names for three
 * patterns, ISO8601, ABSOLUTE and DATE.
 */
#ifndef BARNABAS_DATE_FORMAT_H
#define BARNABAS_DATE_FORMAT_H

#include "base/strbuf.h"

/* The pattern that a name of log4j's stands for, or `pattern` itself. */
const char *date_format_named(const char *pattern);
/* The first letter that is not understood, or '\0'. */
char date_format_trouble(const char *pattern);
/* By local time, or UTC. */
void date_format_put(const char *pattern, int64_t ms, bool utc, struct strbuf *out);

#endif
