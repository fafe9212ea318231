/*
 * Text in lines of even width, as argparse4j sets what it prints: spaces grow, from the middle of a line outwards,
 * until it is full; the last line stays as it is. Words are taken apart behind hyphens and between punctuation and
 * letters, where Java's line breaker does.
 */
#ifndef BARNABAS_TOOLS_KIT_JUSTIFY_H
#define BARNABAS_TOOLS_KIT_JUSTIFY_H

#include "base/strbuf.h"

enum { JUSTIFIED_WIDTH = 75 };

/* The first line goes on behind `offset` columns that are there already; the others are indented by `indent`. */
void justify(struct strbuf *out, const char *text, int offset, int indent);

#endif
