#include "tools/kit/command_line.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>

#include "tools/kit/command_line_internal.h"
#include "tools/kit/completion.h"
#include "tools/kit/justify.h"

/* The words go to the tool until its command is there, then to the command. */
struct parse {
    struct command_line *c;
    const struct command_spec *at;
    struct option_value *values;      /* of `at` */
    const struct arg_spec *exclusive; /* the ARG_ONE_OF that was given */
    int argc, i;
    char **argv;
    bool options_end; /* -- was there */
    int code;         /* what it has come to; below 0: nothing yet */
};

/* ---- Errors: each ends the parse, and false is returned ---- */

static void add_error(struct strbuf *out, const struct parse *p, const struct strbuf *message)
{
    struct strbuf line = {0};
    command_add_usage(out, p->c->spec, p->at);
    strbuf_printf(&line, "%s: error: %s\n", p->c->spec->tool.name, message->p);
    justify(out, line.p, 0, 0);
    strbuf_deinit(&line);
}

static bool end_with_error(struct parse *p, struct strbuf *message, struct similar *similar)
{
    struct strbuf out = {0};
    add_error(&out, p, message);
    if (similar != NULL)
        similar_add(&out, similar);
    fputs(out.p, stderr);
    strbuf_deinit(&out);
    strbuf_deinit(message);
    p->code = 1;
    return false;
}

/* Of `arg`, or of the whole line. */
static bool command_line_refuse(struct parse *p, const struct arg_spec *arg, const char *fmt, ...) PRINTF_LIKE(3, 4);
static bool command_line_refuse(struct parse *p, const struct arg_spec *arg, const char *fmt, ...)
{
    struct strbuf message = {0};
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (arg != NULL) {
        strbuf_puts(&message, "argument ");
        arg_add_names(&message, arg, "/", false);
        strbuf_puts(&message, text[0] == ':' ? "" : " ");
    }
    strbuf_puts(&message, text);
    return end_with_error(p, &message, NULL);
}

static bool refuse_option(struct parse *p, const char *word)
{
    struct strbuf message = {0};
    struct similar s = {.word = word + strspn(word, "-")};
    s.names = ARENA_ARRAY(&p->c->arena, struct similar_name, p->at->arg_count + 1);
    strbuf_printf(&message, "unrecognized arguments: '%s'", word);
    for (int i = 0; i <= p->at->arg_count; i++)
        similar_consider(&s, arena_printf(&p->c->arena, "--%s", command_arg(p->at, i)->name).p);
    return end_with_error(p, &message, strlen(s.word) >= 2 ? &s : NULL);
}

static bool refuse_words(struct parse *p)
{
    struct strbuf message = {0};
    strbuf_puts(&message, "unrecognized arguments: '");
    for (int i = p->i; i < p->argc; i++)
        strbuf_printf(&message, "%s%s", i > p->i ? " " : "", p->argv[i]);
    strbuf_puts(&message, "'");
    return end_with_error(p, &message, NULL);
}

/* ---- Options ---- */

static bool command_line_is_option(const struct parse *p, const char *word)
{
    bool number = word[0] == '-' && word[1] != '\0' && strspn(word + 1, "0123456789") == strlen(word + 1);
    return word[0] == '-' && word[1] != '\0' && !p->options_end && !number;
}

static int arg_of_letter(const struct command_spec *at, char letter)
{
    for (int i = 0; i <= at->arg_count; i++)
        if (letter != '\0' && command_arg(at, i)->letter == letter)
            return i;
    return -1;
}

static int flag_order(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool refuse_ambiguous(struct parse *p, const char *what, const char *word, const char **names, int count)
{
    struct strbuf message = {0};
    qsort(names, (size_t)count, sizeof(*names), flag_order);
    strbuf_printf(&message, "ambiguous %s: %s could match ", what, word);
    for (int i = 0; i < count; i++)
        strbuf_printf(&message, "%s%s", i > 0 ? ", " : "", names[i]);
    return end_with_error(p, &message, NULL);
}

/* The option that `flag` names, in full or by how it alone begins; -1: none. False: several begin so. */
static bool arg_of_flag(struct parse *p, const char *flag, int *out)
{
    const char **found = ARENA_ARRAY(&p->c->arena, const char *, p->at->arg_count + 1);
    int count = 0;
    *out = flag[1] != '-' && flag[2] == '\0' ? arg_of_letter(p->at, flag[1]) : -1;
    if (flag[1] != '-')
        return true;
    for (int i = 0; i <= p->at->arg_count; i++) {
        const char *name = command_arg(p->at, i)->name;
        if (strcmp(name, flag + 2) == 0) {
            *out = i;
            return true;
        }
        if (strncmp(name, flag + 2, strlen(flag + 2)) != 0)
            continue;
        *out = i;
        found[count++] = arena_printf(&p->c->arena, "--%s", name).p;
    }
    return count <= 1 || refuse_ambiguous(p, "option", flag, found, count);
}

static bool is_integer(const char *text)
{
    int64_t value;
    return java_integer(text, INT32_MIN, INT32_MAX, &value);
}

static bool check_exclusive(struct parse *p, const struct arg_spec *arg)
{
    struct strbuf other = {0};
    if (arg->need != ARG_ONE_OF || p->exclusive == arg)
        return true;
    if (p->exclusive == NULL) {
        p->exclusive = arg;
        return true;
    }
    arg_add_names(&other, p->exclusive, "/", false);
    bool ok = command_line_refuse(p, arg, ": not allowed with argument %s", other.p);
    strbuf_deinit(&other);
    return ok;
}

static void print_completions(const struct parse *p)
{
    for (int i = 0; i <= p->at->arg_count; i++) {
        const struct arg_spec *arg = command_arg(p->at, i);
        completion_print("--", arg->name, arg->kind != ARG_FLAG, arg->help);
    }
    for (int i = 0; p->at == &p->c->spec->tool && i < p->c->spec->command_count; i++)
        completion_print("", p->c->spec->commands[i].name, false, p->c->spec->commands[i].help);
}

static bool give_help(struct parse *p)
{
    struct strbuf out = {0};
    p->code = 0;
    if (completion_wanted) {
        print_completions(p);
        return false;
    }
    command_add_help(&out, p->c->spec, p->at);
    fputs(out.p, stdout);
    strbuf_deinit(&out);
    return false;
}

static void keep_value(struct parse *p, int arg, const char *value)
{
    struct option_value *v = &p->values[arg];
    const char **grown = ARENA_ARRAY(&p->c->arena, const char *, v->count + 1);
    if (v->count > 0)
        memcpy(grown, v->values, sizeof(*grown) * (size_t)v->count);
    grown[v->count++] = value;
    v->values = grown;
}

/* The option has been read; `value` is what came in the same word, or NULL. */
static bool take_option(struct parse *p, int index, const char *value)
{
    const struct arg_spec *arg = command_arg(p->at, index);
    if (!check_exclusive(p, arg))
        return false;
    if (arg->kind == ARG_FLAG && value != NULL)
        return command_line_refuse(p, arg, ": ignore implicit argument '%s'", value);
    if (index == 0)
        return give_help(p);
    if (arg->kind == ARG_FLAG) {
        p->values[index].count++;
        return true;
    }
    if (value == NULL && p->i < p->argc && !command_line_is_option(p, p->argv[p->i]))
        value = p->argv[p->i++];
    if (value == NULL)
        return command_line_refuse(p, arg, ": expected one argument");
    if (arg->kind == ARG_INTEGER && !is_integer(value))
        return command_line_refuse(p, arg, ": could not convert '%s' to Integer (For input string: \"%s\")", value,
                                   value);
    keep_value(p, index, value);
    return true;
}

/* -hb VALUE, -bVALUE: letters, of which the first that has a value takes the rest. */
static bool take_letters(struct parse *p, const char *word)
{
    for (const char *c = word + 1; *c != '\0'; c++) {
        int index = arg_of_letter(p->at, *c);
        if (index < 0)
            return refuse_option(p, word);
        if (command_arg(p->at, index)->kind != ARG_FLAG)
            return take_option(p, index, c[1] != '\0' ? c + 1 : NULL);
        if (!take_option(p, index, NULL))
            return false;
    }
    return true;
}

static bool take_named(struct parse *p)
{
    const char *word = p->argv[p->i++], *equals = strchr(word, '=');
    char *flag =
        arena_cstr(&p->c->arena, (struct str){word, (int32_t)(equals != NULL ? equals - word : (long)strlen(word))});
    int index;
    if (!arg_of_flag(p, flag, &index))
        return false;
    if (index >= 0)
        return take_option(p, index, equals != NULL ? equals + 1 : NULL);
    return word[1] != '-' ? take_letters(p, word) : refuse_option(p, word);
}

/* ---- What must be there ---- */

static bool check_one_of(struct parse *p)
{
    struct strbuf names = {0};
    for (int i = 0; i < p->at->arg_count; i++) {
        if (p->at->args[i].need != ARG_ONE_OF)
            continue;
        arg_add_names(&names, &p->at->args[i], "/", false);
        strbuf_puts(&names, " ");
    }
    bool ok = names.len == 0 || p->exclusive != NULL ||
              command_line_refuse(p, NULL, "one of the arguments %sis required", names.p);
    strbuf_deinit(&names);
    return ok;
}

static bool check_needs(struct parse *p)
{
    for (int i = 0; i < p->at->arg_count; i++)
        if (p->at->args[i].need == ARG_MUST && p->values[i + 1].count == 0)
            return command_line_refuse(p, &p->at->args[i], "is required");
    return check_one_of(p);
}

/* ---- The command ---- */

static bool refuse_command(struct parse *p, const char *word)
{
    const struct command_line_spec *spec = p->c->spec;
    struct strbuf message = {0};
    struct similar s = {.word = word};
    s.names = ARENA_ARRAY(&p->c->arena, struct similar_name, spec->command_count);
    strbuf_printf(&message, "invalid choice: '%s' (choose from ", word);
    for (int i = 0; i < spec->command_count; i++) {
        strbuf_printf(&message, "%s'%s'", i > 0 ? ", " : "", spec->commands[i].name);
        similar_consider(&s, spec->commands[i].name);
    }
    strbuf_puts(&message, ")");
    return end_with_error(p, &message, &s);
}

/* By its name, or by how it alone begins. */
static bool find_command(struct parse *p, const char *word, const struct command_spec **out)
{
    const struct command_line_spec *spec = p->c->spec;
    const char **found = ARENA_ARRAY(&p->c->arena, const char *, spec->command_count);
    int count = 0;
    for (int i = 0; i < spec->command_count; i++) {
        const char *name = spec->commands[i].name;
        if (*word == '\0' || strncmp(name, word, strlen(word)) != 0)
            continue;
        *out = &spec->commands[i];
        if (strcmp(name, word) == 0)
            return true;
        found[count++] = name;
    }
    if (count == 0)
        return refuse_command(p, word);
    return count == 1 || refuse_ambiguous(p, "command", word, found, count);
}

static bool read_words(struct parse *p);

static bool read_command(struct parse *p)
{
    struct command_line *c = p->c;
    const struct command_spec *command = NULL;
    if (!find_command(p, p->argv[p->i], &command))
        return false;
    ensure(command != NULL);
    c->command = command;
    c->command_values = ARENA_ARRAY(&c->arena, struct option_value, command->arg_count + 1);
    struct parse rest = *p;
    rest.at = command;
    rest.values = c->command_values;
    rest.exclusive = NULL;
    rest.i++;
    bool ok = read_words(&rest);
    p->i = rest.i;
    p->code = rest.code;
    return ok;
}

static bool read_words(struct parse *p)
{
    bool for_tool = p->at == &p->c->spec->tool;
    while (p->i < p->argc) {
        const char *word = p->argv[p->i];
        if (!p->options_end && strcmp(word, "--") == 0) {
            p->options_end = true;
            p->i++;
        } else if (command_line_is_option(p, word)) {
            if (!take_named(p))
                return false;
        } else if (!for_tool || p->options_end) {
            return refuse_words(p);
        } else if (!read_command(p)) {
            return false;
        }
    }
    if (for_tool && p->c->command == NULL)
        return command_line_refuse(p, NULL, "too few arguments");
    return check_needs(p);
}

int command_line_parse(struct command_line *c, const struct command_line_spec *spec, int argc, char **argv)
{
    *c = (struct command_line){.spec = spec};
    c->tool_values = ARENA_ARRAY(&c->arena, struct option_value, spec->tool.arg_count + 1);
    struct parse p = {
        .c = c, .at = &spec->tool, .values = c->tool_values, .argc = argc, .i = 1, .argv = argv, .code = -1};
    bool ok = read_words(&p);
    ensure(ok == (p.code < 0));
    return p.code;
}

void command_line_deinit(struct command_line *c)
{
    arena_deinit(&c->arena);
}

/* ---- Values ---- */

const struct option_value *command_line_all(const struct command_line *c, const char *name)
{
    for (int i = 0; i < c->command->arg_count; i++)
        if (strcmp(c->command->args[i].name, name) == 0)
            return &c->command_values[i + 1];
    for (int i = 0; i < c->spec->tool.arg_count; i++)
        if (strcmp(c->spec->tool.args[i].name, name) == 0)
            return &c->tool_values[i + 1];
    static const struct option_value none = {NULL, 0}; /* another command has it */
    return &none;
}

bool command_line_has(const struct command_line *c, const char *name)
{
    return command_line_all(c, name)->count > 0;
}

const char *command_line_get(const struct command_line *c, const char *name)
{
    const struct option_value *v = command_line_all(c, name);
    return v->values != NULL ? v->values[v->count - 1] : NULL;
}
