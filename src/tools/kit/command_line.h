/*
 * Command lines with a command in them, as kafka-cluster has: options before the command are the tool's, those behind
 * it the command's. Grammar, usage, help and errors are those of argparse4j, by which Kafka's tools of this kind read
 * theirs: names may be cut short while one option alone begins so, one letter does for some, -bVALUE and --name=VALUE
 * are taken.
 */
#ifndef BARNABAS_TOOLS_KIT_COMMAND_LINE_H
#define BARNABAS_TOOLS_KIT_COMMAND_LINE_H

#include "base/strbuf.h"
#include "tools/kit/tool.h"

enum arg_kind {
    ARG_FLAG,
    ARG_VALUE,   /* the last one counts */
    ARG_INTEGER, /* the same, if it is a number of 32 bits */
    ARG_VALUES,  /* all count */
};

enum arg_need {
    ARG_MAY,
    ARG_MUST,
    ARG_ONE_OF, /* exactly one of all such options of the tool, or of the command */
};

struct arg_spec {
    const char *name; /* without the dashes */
    char letter;      /* 0: none */
    enum arg_kind kind;
    enum arg_need need;
    const char *help;
};

struct command_spec {
    const char *name, *help;
    const struct arg_spec *args;
    int arg_count;
};

struct command_line_spec {
    struct command_spec tool;
    const struct command_spec *commands;
    int command_count;
};

struct command_line {
    const struct command_line_spec *spec;
    const struct command_spec *command;
    struct option_value *tool_values, *command_values; /* by option; the first is --help */
    struct arena arena;
};

/* -1: to go on with; else it has been dealt with, and this is the exit code. What is given lies in `argv`. */
int command_line_parse(struct command_line *c, const struct command_line_spec *spec, int argc, char **argv);
void command_line_deinit(struct command_line *c);
/* The command's option of that name, or else the tool's. */
const struct option_value *command_line_all(const struct command_line *c, const char *name);
bool command_line_has(const struct command_line *c, const char *name);
const char *command_line_get(const struct command_line *c, const char *name); /* NULL: not given */

#endif
