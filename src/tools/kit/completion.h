/*
 * What shells complete, for contrib/completion.*: a line for each option or command, of three fields with tabs in
 * between. The name, what its value is (nothing: it has none; "any"; "file"; "topic"; or the words to choose from), and
 * the first line of its help.
 */
#ifndef BARNABAS_TOOLS_KIT_COMPLETION_H
#define BARNABAS_TOOLS_KIT_COMPLETION_H

#include "base/base.h"

/* Set by --complete: in place of help there come these lines. */
extern bool completion_wanted;
void completion_print(const char *dashes, const char *name, bool has_value, const char *help);

#endif
