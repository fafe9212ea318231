/*
 * How a line looks: log4j's ConversionPattern. %d{date} %p %m %c{n} %C %t %L %F %l %M %n %r %x %X{key} %%, each with
 * widths as %-20.30c. What has no meaning here is empty, as %X, or "?", as %M.
 */
#ifndef BARNABAS_LAYOUT_H
#define BARNABAS_LAYOUT_H

#include "base/fail.h"
#include "base/logger.h"
#include "base/strbuf.h"

#define LAYOUT_DEFAULT "[%d] %p %m (%c)%n"
#define LAYOUT_SIMPLE "%p - %m%n"

struct layout;

/* Never NULL. What of the pattern is not understood stands in lines as it is; the first of it is told of in `why`. */
struct layout *layout_new(const char *pattern, struct fail *why);
void layout_free(struct layout *l); /* NULL allowed */
void layout_put(const struct layout *l, const struct log_line *line, struct strbuf *out);

#endif
