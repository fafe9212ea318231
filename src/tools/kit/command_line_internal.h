/* What is printed about command lines; see command_line.h. */
#ifndef BARNABAS_TOOLS_KIT_COMMAND_LINE_INTERNAL_H
#define BARNABAS_TOOLS_KIT_COMMAND_LINE_INTERNAL_H

#include "tools/kit/command_line.h"

/* Option `i` of `at`, of which 0 is --help. */
const struct arg_spec *command_arg(const struct command_spec *at, int i);
/* "--id/-i", with a separator of the caller's; `with_value`: "--id ID, -i ID". */
void arg_add_names(struct strbuf *out, const struct arg_spec *arg, const char *separator, bool with_value);
/* "usage: ..." of the tool, or of one of its commands. */
void command_add_usage(struct strbuf *out, const struct command_line_spec *spec, const struct command_spec *at);
void command_add_help(struct strbuf *out, const struct command_line_spec *spec, const struct command_spec *at);

/* Names that are much like `word`, which is none. */
struct similar {
    const char *word;
    struct similar_name {
        const char *name;
        int distance;
    } * names; /* room for all */
    int count;
};
void similar_consider(struct similar *s, const char *name);
void similar_add(struct strbuf *out, struct similar *s);

#endif
