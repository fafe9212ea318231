#include "logging/log4j.h"

#include <stdarg.h>
#include <stdio.h>
#include <strings.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "logging/date_format.h"

enum { MOST_SUBSTITUTES = 64, MOST_TEXT = 64 << 10, DEFAULT_SIZE = 10 << 20 };

struct parse {
    const struct properties *properties;
    const struct log4j_context *context;
    struct arena *arena;
    struct log4j_setup *out;
    int most_loggers;
    enum log_level threshold; /* of all */
};

static void log4j_complain(const struct parse *p, const struct property *at, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void log4j_complain(const struct parse *p, const struct property *at, const char *fmt, ...)
{
    char why[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(why, sizeof(why), fmt, args);
    va_end(args);
    p->context->warn(p->context->ctx, at->line, at->key, why);
}

/* ---- Values ---- */

/* What ${name} stands for: nothing, if there is none. */
static const char *value_of(const struct parse *p, const char *name)
{
    const char *java = p->context->property(p->context->ctx, name);
    const char *value = java != NULL ? java : properties_get(p->properties, name);
    return value != NULL ? value : "";
}

static void log4j_substitute(const struct parse *p, const char *text, int *most, struct strbuf *out)
{
    while (*text != '\0' && out->len < MOST_TEXT) {
        const char *start = strstr(text, "${"), *end = start != NULL ? strchr(start, '}') : NULL;
        if (end == NULL || --*most < 0) { /* it may name itself */
            strbuf_puts(out, text);
            return;
        }
        strbuf_add(out, text, (size_t)(start - text));
        char *name = xstrndup(start + 2, (size_t)(end - start - 2));
        log4j_substitute(p, value_of(p, name), most, out);
        free(name);
        text = end + 1;
    }
}

/* Without the blanks around it. */
static const char *log4j_value(const struct parse *p, const char *text)
{
    struct strbuf out = {0};
    int most = MOST_SUBSTITUTES;
    strbuf_puts(&out, "");
    log4j_substitute(p, text, &most, &out);
    const char *value = arena_cstr(p->arena, str_trim((struct str){out.p, (int32_t)out.len}));
    strbuf_deinit(&out);
    return value;
}

/* -1: the level of the logger above. */
static bool parse_level(const char *text, int *out)
{
    static const char *const names[] = {"TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL", "OFF"};
    size_t len = strcspn(text, "#"); /* a class of its own may follow */
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (len == strlen(names[i]) && strncasecmp(text, names[i], len) == 0) {
            *out = (int)i;
            return true;
        }
    }
    if (len == 3 && strncasecmp(text, "ALL", 3) == 0)
        *out = LEVEL_TRACE;
    else if (len == 0 || strncasecmp(text, "INHERITED", MAX(len, (size_t)9)) == 0 || strcasecmp(text, "NULL") == 0)
        *out = -1;
    else
        return false;
    return true;
}

static bool parse_size(const char *text, int64_t *out)
{
    char *end;
    long long n = strtoll(text, &end, 10);
    int shift = strcasecmp(end, "KB") == 0 ? 10 : strcasecmp(end, "MB") == 0 ? 20 : strcasecmp(end, "GB") == 0 ? 30 : 0;
    if (end == text || n <= 0 || n > INT64_MAX >> 30 || (shift == 0 && *end != '\0'))
        return false;
    *out = (int64_t)n << shift;
    return true;
}

static bool parse_truth(const char *text)
{
    return strcasecmp(text, "true") == 0;
}

/* What follows `prefix` in the key, or NULL. */
static const char *after(const char *key, const char *prefix)
{
    size_t len = strlen(prefix);
    return strncmp(key, prefix, len) == 0 ? key + len : NULL;
}

/* ---- Appenders ---- */

static enum appender_kind appender_kind_of(const char *class)
{
    static const struct {
        const char *class;
        enum appender_kind kind;
    } kinds[] = {
        {"org.apache.log4j.ConsoleAppender", APPENDER_CONSOLE},
        {"org.apache.log4j.FileAppender", APPENDER_FILE},
        {"org.apache.log4j.DailyRollingFileAppender", APPENDER_DAILY},
        {"org.apache.log4j.RollingFileAppender", APPENDER_SIZED},
    };
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (strcmp(kinds[i].class, class) == 0)
            return kinds[i].kind;
    return APPENDER_NONE;
}

static void take_layout(const struct parse *p, const struct property *at, const char *class, struct appender_options *o)
{
    if (strcmp(class, "org.apache.log4j.SimpleLayout") == 0)
        o->pattern = LAYOUT_SIMPLE;
    else if (strcmp(class, "org.apache.log4j.PatternLayout") != 0 &&
             strcmp(class, "org.apache.log4j.EnhancedPatternLayout") != 0)
        log4j_complain(p, at, "the layout %s is not there: lines look like %s", class, LAYOUT_DEFAULT);
}

static void take_pattern(const struct parse *p, const struct property *at, const char *value,
                         struct appender_options *o)
{
    struct fail why;
    layout_free(layout_new(value, &why));
    if (why.text[0] != '\0')
        log4j_complain(p, at, "%s", why.text);
    o->pattern = value;
}

static void take_date_pattern(const struct parse *p, const struct property *at, const char *value,
                              struct appender_options *o)
{
    char trouble = date_format_trouble(value);
    if (trouble != '\0')
        log4j_complain(p, at, "the letter %c of %s is not understood: the file is rolled by days", trouble, value);
    else
        o->date_pattern = value;
}

static void take_console(const struct parse *p, const struct property *at, const char *value,
                         struct appender_options *o)
{
    if (strcasecmp(value, "System.err") == 0)
        o->console = STDERR_FILENO;
    else if (strcasecmp(value, "System.out") != 0)
        log4j_complain(p, at, "%s is neither System.out nor System.err: it is System.out", value);
}

static void take_threshold(const struct parse *p, const struct property *at, const char *value,
                           struct appender_options *o)
{
    int level;
    if (!parse_level(value, &level) || level < 0)
        log4j_complain(p, at, "%s is no level", value);
    else
        o->threshold = (enum log_level)level;
}

static void take_size(const struct parse *p, const struct property *at, const char *value, struct appender_options *o)
{
    if (!parse_size(value, &o->max_size))
        log4j_complain(p, at, "%s is no size, such as 10MB", value);
}

static void take_backups(const struct parse *p, const struct property *at, const char *value,
                         struct appender_options *o)
{
    if (!str_to_int32(str_of(value), &o->max_backups))
        log4j_complain(p, at, "%s is no number", value);
}

static void take_file(const struct parse *p UNUSED, const struct property *at UNUSED, const char *value,
                      struct appender_options *o)
{
    o->file = value;
}

static void take_append(const struct parse *p UNUSED, const struct property *at UNUSED, const char *value,
                        struct appender_options *o)
{
    o->truncate = !parse_truth(value);
}

/* It means nothing here: lines are written at once, as UTF-8. */
static void take_nothing(const struct parse *p UNUSED, const struct property *at UNUSED, const char *value UNUSED,
                         struct appender_options *o UNUSED)
{
}

struct appender_key {
    const char *name;
    void (*take)(const struct parse *p, const struct property *at, const char *value, struct appender_options *o);
};

static const struct appender_key appender_keys[] = {
    {"layout", take_layout},
    {"layout.ConversionPattern", take_pattern},
    {"File", take_file},
    {"Append", take_append},
    {"DatePattern", take_date_pattern},
    {"MaxFileSize", take_size},
    {"MaximumFileSize", take_size},
    {"MaxBackupIndex", take_backups},
    {"Target", take_console},
    {"Threshold", take_threshold},
    {"ImmediateFlush", take_nothing},
    {"Encoding", take_nothing},
    {"Follow", take_nothing},
    {"BufferedIO", take_nothing},
    {"BufferSize", take_nothing},
};

static void take_appender_key(const struct parse *p, const struct property *at, const char *name,
                              struct appender_options *o)
{
    for (size_t i = 0; i < ARRAY_LEN(appender_keys); i++) {
        if (strcasecmp(appender_keys[i].name, name) == 0) {
            appender_keys[i].take(p, at, log4j_value(p, at->value), o);
            return;
        }
    }
    log4j_complain(p, at, "this broker knows no such setting of an appender");
}

/* Whether a later line says the same key again: that one counts. */
static bool is_said_again(const struct properties *all, int i)
{
    for (int k = i + 1; k < all->count; k++)
        if (strcmp(all->items[k].key, all->items[i].key) == 0)
            return true;
    return false;
}

static void fill_appender(const struct parse *p, const char *name, struct log4j_appender *out)
{
    const char *prefix = arena_printf(p->arena, "log4j.appender.%s.", name).p;
    out->options = (struct appender_options){.kind = out->options.kind,
                                             .date_pattern = "'.'yyyy-MM-dd",
                                             .pattern = LAYOUT_DEFAULT,
                                             .max_size = DEFAULT_SIZE,
                                             .max_backups = 1,
                                             .threshold = LEVEL_TRACE,
                                             .console = STDOUT_FILENO};
    for (int i = 0; i < p->properties->count; i++) {
        const struct property *at = &p->properties->items[i];
        const char *key = after(at->key, prefix);
        if (key != NULL && !is_said_again(p->properties, i))
            take_appender_key(p, at, key, &out->options);
    }
    out->options.threshold = MAX(out->options.threshold, p->threshold);
}

static const struct property *property_find(const struct properties *all, const char *key)
{
    for (int i = all->count - 1; i >= 0; i--)
        if (strcmp(all->items[i].key, key) == 0)
            return &all->items[i];
    return NULL;
}

/* The bit of the appender of that name, which is made when it is first named; 0: there is none that works. */
static uint32_t appender_bit(const struct parse *p, const struct property *from, struct str name)
{
    struct log4j_setup *s = p->out;
    const char *text = arena_cstr(p->arena, name);
    for (int i = 0; i < s->appender_count; i++)
        if (strcmp(s->appenders[i].name, text) == 0)
            return s->appenders[i].options.kind != APPENDER_NONE ? UINT32_C(1) << i : 0;
    const struct property *class = property_find(p->properties, arena_printf(p->arena, "log4j.appender.%s", text).p);
    if (class == NULL || s->appender_count == LOGGER_OUTLETS) {
        log4j_complain(p, from, class == NULL ? "there is no appender %s" : "%s is one appender too many", text);
        return 0;
    }
    struct log4j_appender *a = &s->appenders[s->appender_count++];
    *a = (struct log4j_appender){.name = text, .line = class->line};
    a->options.kind = appender_kind_of(log4j_value(p, class->value));
    if (a->options.kind == APPENDER_NONE) {
        if (strcmp(log4j_value(p, class->value), "org.apache.log4j.varia.NullAppender") != 0)
            log4j_complain(p, class, "there is no %s in this broker: what goes to it alone is not written",
                           log4j_value(p, class->value));
        return 0;
    }
    fill_appender(p, text, a);
    if (a->options.kind != APPENDER_CONSOLE && (a->options.file == NULL || a->options.file[0] == '\0')) {
        log4j_complain(p, class, "it has no File: nothing is written");
        a->options.kind = APPENDER_NONE;
        return 0;
    }
    return UINT32_C(1) << (s->appender_count - 1);
}

/* ---- Loggers ---- */

static struct logger_setting *logger_named(struct parse *p, const struct property *at, const char *name)
{
    struct log4j_setup *s = p->out;
    for (int i = 0; i < s->logger_count; i++)
        if (strcmp(s->loggers[i].name, name) == 0)
            return &s->loggers[i];
    if (strlen(name) >= LOGGER_NAME_ROOM || name[0] == '\0') {
        log4j_complain(p, at, "no logger has such a name");
        return NULL;
    }
    ensure(s->logger_count < p->most_loggers);
    struct logger_setting *l = &s->loggers[s->logger_count++];
    *l = (struct logger_setting){.name = name, .level = -1};
    return l;
}

/* LEVEL, appender, appender... */
static void take_logger(struct parse *p, const struct property *at, const char *name)
{
    struct logger_setting *l = logger_named(p, at, name);
    if (l == NULL)
        return;
    struct str rest = str_of(log4j_value(p, at->value));
    for (bool first = true; rest.len > 0 || first; first = false) {
        const char *comma = memchr(rest.p, ',', (size_t)rest.len);
        int32_t len = comma != NULL ? (int32_t)(comma - rest.p) : rest.len;
        struct str word = str_trim((struct str){rest.p, len});
        if (first && !parse_level(arena_cstr(p->arena, word), &l->level))
            log4j_complain(p, at, "%.*s is no level", STR_ARGS(word));
        else if (!first && word.len > 0)
            l->outlets |= appender_bit(p, at, word);
        rest = comma != NULL ? (struct str){rest.p + len + 1, rest.len - len - 1} : (struct str){rest.p + len, 0};
    }
}

static void take_additivity(struct parse *p, const struct property *at, const char *name)
{
    struct logger_setting *l = logger_named(p, at, name);
    if (l != NULL)
        l->detached = strcasecmp(log4j_value(p, at->value), "false") == 0;
}

static void take_key(struct parse *p, const struct property *at)
{
    static const char *const silent[] = {"log4j.debug", "log4j.configDebug", "log4j.reset", "log4j.threshold"};
    const char *rest = after(at->key, "log4j."), *name;
    if (rest == NULL)
        return; /* it is there to be named elsewhere */
    for (size_t i = 0; i < ARRAY_LEN(silent); i++)
        if (strcmp(at->key, silent[i]) == 0)
            return;
    if (strcmp(rest, "rootLogger") == 0 || strcmp(rest, "rootCategory") == 0)
        take_logger(p, at, LOGGER_ROOT);
    else if ((name = after(rest, "logger.")) != NULL || (name = after(rest, "category.")) != NULL)
        take_logger(p, at, name);
    else if ((name = after(rest, "additivity.")) != NULL)
        take_additivity(p, at, name);
    else if (after(rest, "appender.") == NULL)
        log4j_complain(p, at, "this broker knows no such setting");
}

static void find_threshold(struct parse *p)
{
    const struct property *at = property_find(p->properties, "log4j.threshold");
    int level;
    if (at == NULL)
        return;
    if (parse_level(log4j_value(p, at->value), &level) && level >= 0)
        p->threshold = (enum log_level)level;
    else
        log4j_complain(p, at, "it is no level");
}

void log4j_understand(const struct properties *properties, const struct log4j_context *context, struct arena *a,
                      struct log4j_setup *out)
{
    struct parse p = {.properties = properties, .context = context, .arena = a, .out = out};
    *out = (struct log4j_setup){0};
    p.most_loggers = properties->count + 1;
    out->loggers = arena_alloc(a, (size_t)p.most_loggers * sizeof(*out->loggers));
    find_threshold(&p);
    for (int i = 0; i < properties->count; i++)
        if (!is_said_again(properties, i))
            take_key(&p, &properties->items[i]);
}
