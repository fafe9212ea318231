#include <ctype.h>

#include "tools/kit/command_line_internal.h"
#include "tools/kit/justify.h"

enum { HELP_TEXT_COLUMN = 25, WIDEST_HELP_TITLE = 21 };

static const struct arg_spec help_arg = {"help", 'h', ARG_FLAG, ARG_MAY, "show this help message and exit"};

const struct arg_spec *command_arg(const struct command_spec *at, int i)
{
    return i == 0 ? &help_arg : &at->args[i - 1];
}

/* ---- Names ---- */

/* "--dry-run" has a value DRY_RUN. */
static void add_value_name(struct strbuf *out, const struct arg_spec *arg)
{
    if (arg->kind == ARG_FLAG)
        return;
    strbuf_puts(out, " ");
    for (const char *c = arg->name; *c != '\0'; c++)
        strbuf_printf(out, "%c", *c == '-' ? '_' : toupper((unsigned char)*c));
}

static void add_word(struct strbuf *out, const struct arg_spec *arg, bool with_value)
{
    strbuf_printf(out, "--%s", arg->name);
    if (with_value)
        add_value_name(out, arg);
}

static void add_letter(struct strbuf *out, const struct arg_spec *arg, bool with_value)
{
    strbuf_printf(out, "-%c", arg->letter);
    if (with_value)
        add_value_name(out, arg);
}

void arg_add_names(struct strbuf *out, const struct arg_spec *arg, const char *separator, bool with_value)
{
    if (arg == &help_arg) {
        strbuf_printf(out, "-h%s--help", separator);
        return;
    }
    add_word(out, arg, with_value);
    if (arg->letter != '\0') {
        strbuf_puts(out, separator);
        add_letter(out, arg, with_value);
    }
}

/* ---- Usage ---- */

struct usage {
    struct strbuf *out, word;
    int indent, at;
};

static void usage_end_word(struct usage *u)
{
    int len = (int)u->word.len;
    if (u->at + 1 + len > JUSTIFIED_WIDTH) {
        strbuf_printf(u->out, "\n%*s", u->indent, "");
        u->at = u->indent + len;
    } else {
        strbuf_puts(u->out, " ");
        u->at += 1 + len;
    }
    strbuf_add(u->out, u->word.p, u->word.len);
    strbuf_clear(&u->word);
}

static void usage_add_needed(struct usage *u, const struct command_spec *at)
{
    int count = 0, seen = 0;
    for (int i = 0; i < at->arg_count; i++) {
        count += at->args[i].need == ARG_ONE_OF;
        if (at->args[i].need != ARG_MUST)
            continue;
        add_word(&u->word, &at->args[i], true);
        usage_end_word(u);
    }
    for (int i = 0; i < at->arg_count; i++) {
        if (at->args[i].need != ARG_ONE_OF)
            continue;
        strbuf_puts(&u->word, seen++ == 0 ? "(" : "");
        add_word(&u->word, &at->args[i], true);
        strbuf_puts(&u->word, seen == count ? ")" : " |");
        usage_end_word(u);
    }
}

static void usage_add_others(struct usage *u, const struct command_spec *at)
{
    strbuf_puts(&u->word, "[-h]");
    usage_end_word(u);
    for (int i = 0; i < at->arg_count; i++) {
        if (at->args[i].need != ARG_MAY)
            continue;
        strbuf_puts(&u->word, "[");
        add_word(&u->word, &at->args[i], true);
        strbuf_puts(&u->word, "]");
        usage_end_word(u);
    }
}

static void add_command_names(struct strbuf *out, const struct command_line_spec *spec)
{
    for (int i = 0; i < spec->command_count; i++)
        strbuf_printf(out, "%s%s", i == 0 ? "{" : ",", spec->commands[i].name);
    strbuf_puts(out, "}");
}

void command_add_usage(struct strbuf *out, const struct command_line_spec *spec, const struct command_spec *at)
{
    struct usage u = {.out = out};
    u.indent = (int)strlen("usage: ") + (int)strlen(spec->tool.name) + 1;
    u.at = u.indent - 1;
    strbuf_printf(out, "usage: %s", spec->tool.name);
    if (at != &spec->tool) {
        usage_add_needed(&u, &spec->tool);
        strbuf_puts(&u.word, at->name);
        usage_end_word(&u);
    }
    usage_add_others(&u, at);
    usage_add_needed(&u, at);
    if (at == &spec->tool) {
        add_command_names(&u.word, spec);
        strbuf_puts(&u.word, " ...");
        usage_end_word(&u);
    }
    strbuf_puts(out, "\n");
    strbuf_deinit(&u.word);
}

/* ---- Help ---- */

static void add_described(struct strbuf *out, const struct strbuf *title, const char *text)
{
    strbuf_printf(out, "  %s", title->p);
    if (title->len > WIDEST_HELP_TITLE)
        strbuf_printf(out, "\n%*s", HELP_TEXT_COLUMN, "");
    else
        strbuf_printf(out, "%*s", HELP_TEXT_COLUMN - 2 - (int)title->len, "");
    justify(out, text, HELP_TEXT_COLUMN, HELP_TEXT_COLUMN);
    strbuf_puts(out, "\n");
}

static void add_commands(struct strbuf *out, const struct command_line_spec *spec)
{
    struct strbuf title = {0};
    strbuf_printf(out, "\n%s\n\npositional arguments:\n  ", spec->tool.help);
    add_command_names(out, spec);
    strbuf_puts(out, "\n");
    for (int i = 0; i < spec->command_count; i++) {
        strbuf_printf(&title, "  %s", spec->commands[i].name);
        add_described(out, &title, spec->commands[i].help);
        strbuf_clear(&title);
    }
    strbuf_deinit(&title);
}

void command_add_help(struct strbuf *out, const struct command_line_spec *spec, const struct command_spec *at)
{
    struct strbuf title = {0};
    command_add_usage(out, spec, at);
    if (at == &spec->tool)
        add_commands(out, spec);
    strbuf_puts(out, "\noptional arguments:\n");
    for (int i = 0; i <= at->arg_count; i++) {
        arg_add_names(&title, command_arg(at, i), ", ", true);
        add_described(out, &title, command_arg(at, i)->help);
        strbuf_clear(&title);
    }
    strbuf_deinit(&title);
}

/* ---- What may have been meant ---- */

enum { LONGEST_NAME = 63, CHANGE_COST = 2, INSERT_COST = 1, DELETE_COST = 4, TOO_FAR = 7 };

static int least_of(int a, int b, int c)
{
    return MIN(a, MIN(b, c));
}

/* What it costs to make `to` of `from`, letter by letter; two that changed places cost nothing. */
static int distance(const char *from, const char *to)
{
    int rows[3][LONGEST_NAME + 1], *before = rows[0], *last = rows[1], *row = rows[2];
    int width = (int)strlen(to), height = (int)strlen(from);
    ensure(width <= LONGEST_NAME);
    for (int x = 0; x <= width; x++)
        last[x] = x;
    for (int y = 1; y <= height; y++) {
        row[0] = y;
        for (int x = 1; x <= width; x++) {
            row[x] = last[x - 1] + (from[y - 1] == to[x - 1] ? 0 : CHANGE_COST);
            if (x > 1 && y > 1 && from[y - 1] != to[x - 1] && from[y - 2] == to[x - 1] && from[y - 1] == to[x - 2])
                row[x] = MIN(row[x], before[x - 2]);
            row[x] = least_of(row[x], last[x] + DELETE_COST, row[x - 1] + INSERT_COST);
        }
        int *oldest = before;
        before = last;
        last = row;
        row = oldest;
    }
    return last[width];
}

void similar_consider(struct similar *s, const char *name)
{
    const char *body = name + strspn(name, "-");
    bool begins = strncmp(body, s->word, strlen(s->word)) == 0;
    s->names[s->count++] = (struct similar_name){name, begins ? 0 : distance(s->word, body)};
}

static int by_distance(const void *a, const void *b)
{
    const struct similar_name *x = a, *y = b;
    return x->distance != y->distance ? x->distance - y->distance : strcmp(x->name, y->name);
}

void similar_add(struct strbuf *out, struct similar *s)
{
    if (s->count > 0)
        qsort(s->names, (size_t)s->count, sizeof(*s->names), by_distance);
    if (s->count == 0 || s->names[0].distance >= TOO_FAR)
        return;
    strbuf_puts(out, "\nDid you mean:\n");
    for (int i = 0; i < s->count && s->names[i].distance == s->names[0].distance; i++)
        strbuf_printf(out, "\t%s\n", s->names[i].name);
}
