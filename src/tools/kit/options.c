#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "tools/kit/completion.h"
#include "tools/kit/tool.h"

enum { HELP_COLUMN = 40, HELP_WIDTH = 72 };

/* ---- Help ---- */

/* Breaks the text into lines of HELP_WIDTH; the first line begins where the cursor is. */
static void print_wrapped(FILE *to, const char *text)
{
    while (*text != '\0') {
        size_t len = strcspn(text, "\n");
        if (len > HELP_WIDTH) {
            len = HELP_WIDTH;
            while (len > 0 && text[len] != ' ')
                len--;
            if (len == 0)
                len = strcspn(text, " \n");
        }
        fprintf(to, "%.*s\n", (int)len, text);
        text += len;
        if (*text == ' ' || *text == '\n')
            text++;
        if (*text != '\0')
            fprintf(to, "%*s ", HELP_COLUMN, "");
    }
}

static bool is_optional(enum option_kind kind)
{
    return kind == OPTION_OPTIONAL || kind == OPTION_OPTIONALS;
}

static void print_option(FILE *to, const struct option_spec *s)
{
    char left[128];
    const char *argument = s->argument != NULL ? s->argument : "value";
    if (s->kind == OPTION_FLAG)
        snprintf(left, sizeof(left), "--%s", s->name);
    else if (is_optional(s->kind))
        snprintf(left, sizeof(left), "--%s [%s]", s->name, argument);
    else
        snprintf(left, sizeof(left), "--%s <%s>%s", s->name, argument, s->kind == OPTION_WORDS ? " ..." : "");
    fprintf(to, "%-*s ", HELP_COLUMN, left);
    if (strlen(left) > HELP_COLUMN)
        fprintf(to, "\n%*s ", HELP_COLUMN, "");
    char text[2048];
    if (s->fallback != NULL)
        snprintf(text, sizeof(text), "%s (default: %s)", s->help, s->fallback);
    else
        snprintf(text, sizeof(text), "%s", s->help);
    print_wrapped(to, text);
}

static void print_usage(const struct options *o, FILE *to)
{
    static const struct option_spec always[] = {
        {"help", OPTION_FLAG, NULL, "Print usage information.", NULL},
        {"version", OPTION_FLAG, NULL, "Display Kafka version.", NULL},
    };
    for (int i = 0; completion_wanted && i < o->spec_count; i++)
        completion_print("--", o->specs[i].name, o->specs[i].kind != OPTION_FLAG, o->specs[i].help);
    for (size_t i = 0; completion_wanted && i < ARRAY_LEN(always); i++)
        completion_print("--", always[i].name, false, always[i].help);
    if (completion_wanted)
        return;
    fprintf(to, "%-*s %s\n%-*s %s\n", HELP_COLUMN, "Option", "Description", HELP_COLUMN, "------", "-----------");
    for (int i = 0; i < o->spec_count; i++)
        print_option(to, &o->specs[i]);
    print_option(to, &always[0]);
    print_option(to, &always[1]);
}

int options_complain(const struct options *o, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    print_usage(o, stderr);
    return 1;
}

/* ---- Parsing ---- */

static int find_spec(const struct options *o, const char *name, size_t len)
{
    for (int i = 0; i < o->spec_count; i++)
        if (strlen(o->specs[i].name) == len && memcmp(o->specs[i].name, name, len) == 0)
            return i;
    return -1;
}

static void add_value(struct options *o, int spec, const char *value)
{
    struct option_value *v = &o->values[spec];
    v->count++;
    o->given[o->given_count++] = spec;
    if (value == NULL && v->values == NULL)
        return;
    const char **grown = ARENA_ARRAY(&o->arena, const char *, v->count);
    if (v->values != NULL)
        memcpy(grown, v->values, sizeof(*grown) * (size_t)(v->count - 1));
    grown[v->count - 1] = value;
    v->values = grown;
}

/* Behind the dashes of what can only be an option; NULL: it is a word. */
static const char *option_name(const struct options *o, const char *word)
{
    if (strncmp(word, "--", 2) == 0)
        return word[2] != '\0' ? word + 2 : NULL;
    return o->rules == OPTIONS_JOPT && *word == '-' && word[1] != '\0' ? word + 1 : NULL;
}

/* With one dash only if it is known: the value of an option may well be a negative number. */
static bool is_option(const struct options *o, const char *word)
{
    const char *name = option_name(o, word);
    return name != NULL && (word[1] == '-' || find_spec(o, name, strcspn(name, "=")) >= 0);
}

/* Takes the option at argv[i]; returns how many arguments it took, 0 after a complaint. */
static int options_take(struct options *o, int argc, char **argv, int i)
{
    const char *name = option_name(o, argv[i]), *equals = strchr(name, '=');
    size_t len = equals ? (size_t)(equals - name) : strlen(name);
    int spec = find_spec(o, name, len), taken = 1;
    if (spec < 0) {
        options_complain(o, "%.*s is not a recognized option", (int)len, name);
        return 0;
    }
    enum option_kind kind = o->specs[spec].kind;
    bool value_follows = i + 1 < argc && !is_option(o, argv[i + 1]);
    if (equals != NULL && kind != OPTION_FLAG) {
        add_value(o, spec, equals + 1);
    } else if (kind == OPTION_FLAG || (is_optional(kind) && !value_follows)) {
        add_value(o, spec, NULL);
    } else if (kind == OPTION_WORDS) {
        for (; i + taken < argc && !is_option(o, argv[i + taken]); taken++)
            add_value(o, spec, argv[i + taken]);
    } else if (i + 1 < argc) {
        add_value(o, spec, argv[i + 1]);
        taken = 2;
    } else {
        options_complain(o, "Option %s requires an argument", o->specs[spec].name);
        return 0;
    }
    return taken;
}

/* As Apache's tools refuse it: of two values one would be dropped, which may be the one that mattered. */
static bool check_repetition(const struct options *o)
{
    for (int i = 0; i < o->spec_count; i++) {
        bool once = o->specs[i].kind == OPTION_VALUE || o->specs[i].kind == OPTION_OPTIONAL;
        if (once && o->values[i].count > 1) {
            fprintf(stderr, "Found multiple arguments for option %s, but you asked for only one\n", o->specs[i].name);
            return false;
        }
    }
    return true;
}

/* Kafka's say nothing; but a word that counts for nothing may be a value that has lost its option. */
static void pass_over(int argc, char **argv, int i)
{
    bool all = strcmp(argv[i], "--") == 0;
    for (int k = i + all; k < (all ? argc : i + 1); k++)
        fprintf(stderr, "WARN '%s' belongs to no option, and is ignored\n", argv[k]);
}

int options_parse(struct options *o, enum options_rules rules, const struct option_spec *specs, int spec_count,
                  int argc, char **argv, const char *purpose)
{
    *o = (struct options){.specs = specs, .spec_count = spec_count, .purpose = purpose, .rules = rules};
    o->values = ARENA_ARRAY(&o->arena, struct option_value, spec_count);
    o->given = ARENA_ARRAY(&o->arena, int, argc + 1);
    if (argc < 2)
        return options_complain(o, "%s", purpose);
    for (int i = 1, taken; i < argc; i += taken) {
        const char *name = option_name(o, argv[i]);
        if (name != NULL && strcmp(name, "help") == 0) {
            if (!completion_wanted)
                puts(purpose);
            print_usage(o, stdout);
            return 0;
        }
        if (name != NULL && strcmp(name, "version") == 0) {
            puts("3.9.1 (barnabas " BARNABAS_VERSION ")");
            return 0;
        }
        bool word = name == NULL;
        if (word && rules != OPTIONS_JOPT)
            return options_complain(o, "Unexpected argument: %s", argv[i]);
        if (word)
            pass_over(argc, argv, i);
        taken = !word ? options_take(o, argc, argv, i) : strcmp(argv[i], "--") == 0 ? argc - i : 1;
        if (taken == 0)
            return 1;
    }
    return check_repetition(o) ? -1 : 1;
}

void options_free(struct options *o)
{
    arena_deinit(&o->arena);
}

/* ---- Values ---- */

static int known_spec(const struct options *o, const char *name)
{
    int spec = find_spec(o, name, strlen(name));
    ensure(spec >= 0);
    return spec;
}

const struct option_value *options_all(const struct options *o, const char *name)
{
    return &o->values[known_spec(o, name)];
}

bool options_has(const struct options *o, const char *name)
{
    return options_all(o, name)->count > 0;
}

const char *options_get(const struct options *o, const char *name)
{
    const struct option_value *v = options_all(o, name);
    if (v->values != NULL)
        return v->values[v->count - 1];
    return v->count > 0 ? NULL : o->specs[known_spec(o, name)].fallback;
}

bool options_need(const struct options *o, const char *name)
{
    if (options_has(o, name))
        return true;
    options_complain(o, "Missing required argument \"[%s]\"", name);
    return false;
}

bool options_not_both(const struct options *o, const char *name, const char *other)
{
    if (!options_has(o, name) || !options_has(o, other))
        return true;
    options_complain(o, "Option \"[%s]\" can't be used with option \"[%s]\"", name, other);
    return false;
}

bool options_number(const struct options *o, const char *name, int64_t min, int64_t max, int64_t *out)
{
    const char *text = options_get(o, name);
    if (text == NULL || java_integer(text, min, max, out))
        return true;
    options_complain(o, "Cannot parse argument '%s' of option %s", text, name);
    return false;
}
