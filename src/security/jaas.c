#include "security/jaas.h"

#include <ctype.h>
#include <strings.h>

#include "base/strbuf.h"

enum token { TOKEN_END, TOKEN_WORD, TOKEN_SIGN /* any other character */ };

/* Java reads both forms with a StreamTokenizer: words, quoted texts, comments, single signs. */
struct jaas_reader {
    const char *at;
    struct arena *arena;
    const char *(*property)(const char *name, struct arena *a);
    bool in_file; /* where a lone slash is no comment */
    int line;
    enum token token;
    char sign;
    bool quoted;
    const char *word;
};

static bool is_word_char(char c)
{
    return isalnum((unsigned char)c) || c < 0 || strchr("_-$.", c) != NULL;
}

static void skip_line(struct jaas_reader *r)
{
    while (*r->at != '\0' && *r->at != '\n')
        r->at++;
}

static void skip_block(struct jaas_reader *r)
{
    for (r->at += 2; *r->at != '\0' && strncmp(r->at, "*/", 2) != 0; r->at++)
        r->line += *r->at == '\n';
    r->at += *r->at != '\0' ? 2 : 0;
}

static void skip_jaas_blanks(struct jaas_reader *r)
{
    for (;;) {
        if (*r->at > 0 && *r->at <= ' ')
            r->line += *r->at++ == '\n';
        else if (strncmp(r->at, "/*", 2) == 0)
            skip_block(r);
        else if (strncmp(r->at, "//", 2) == 0 || (!r->in_file && *r->at == '/'))
            skip_line(r);
        else
            return;
    }
}

static char octal(struct jaas_reader *r)
{
    int value = 0, most = *r->at <= '3' ? 3 : 2;
    for (int i = 0; i < most && *r->at >= '0' && *r->at <= '7'; i++)
        value = value * 8 + *r->at++ - '0';
    return (char)value;
}

static char escaped(struct jaas_reader *r)
{
    static const char names[] = "nrtfba", values[] = "\n\r\t\f\b\a";
    char c = *r->at;
    if (c >= '0' && c <= '7')
        return octal(r);
    const char *found = strchr(names, c);
    r->at++;
    return found != NULL ? values[found - names] : c;
}

/* What ${name} stands for; left as it is if that is nothing. */
static bool add_property(struct jaas_reader *r, struct strbuf *text)
{
    const char *end = strchr(r->at, '}');
    if (r->property == NULL || strncmp(r->at, "${", 2) != 0 || end == NULL)
        return false;
    const char *value =
        r->property(arena_cstr(r->arena, (struct str){r->at + 2, (int32_t)(end - r->at - 2)}), r->arena);
    if (value == NULL)
        return false;
    strbuf_puts(text, value);
    r->at = end + 1;
    return true;
}

static void read_quoted(struct jaas_reader *r)
{
    struct strbuf text = {0};
    char quote = *r->at++, c;
    while (*r->at != '\0' && *r->at != quote && *r->at != '\n') {
        if (add_property(r, &text))
            continue;
        c = *r->at++;
        if (c == '\\' && *r->at != '\0')
            c = escaped(r);
        strbuf_add(&text, &c, 1);
    }
    r->at += *r->at == quote;
    r->word = arena_cstr(r->arena, (struct str){text.p, (int32_t)text.len});
    strbuf_deinit(&text);
}

static enum token next(struct jaas_reader *r)
{
    skip_jaas_blanks(r);
    const char *start = r->at;
    r->quoted = *start == '"' || *start == '\'';
    if (*start == '\0')
        return r->token = TOKEN_END;
    if (r->quoted) {
        read_quoted(r);
        return r->token = TOKEN_WORD;
    }
    while (is_word_char(*r->at) && *r->at != '\0')
        r->at++;
    if (r->at == start) {
        r->sign = *r->at++;
        return r->token = TOKEN_SIGN;
    }
    r->word = arena_cstr(r->arena, (struct str){start, (int32_t)(r->at - start)});
    return r->token = TOKEN_WORD;
}

static bool is_sign(const struct jaas_reader *r, char sign)
{
    return r->token == TOKEN_SIGN && r->sign == sign;
}

/* ---- One module ---- */

static bool is_flag(const char *word)
{
    static const char *const flags[] = {"required", "requisite", "sufficient", "optional"};
    for (size_t i = 0; i < ARRAY_LEN(flags); i++)
        if (strcasecmp(word, flags[i]) == 0)
            return true;
    return false;
}

/* What Java's tokenizer takes for a number is no word to it. */
static bool is_value(const struct jaas_reader *r)
{
    return r->token == TOKEN_WORD && (r->quoted || r->in_file || strchr("0123456789.-", r->word[0]) == NULL);
}

/* Those that the modules have, by name or by what it begins with. */
static bool is_option_name(const char *word)
{
    static const char *const names[] = {"username",    "password",  "useKeyTab",      "storeKey",
                                        "keyTab",      "principal", "useTicketCache", "ticketCache",
                                        "serviceName", "clientId",  "clientSecret",   "scope"};
    static const char *const beginnings[] = {"user_", "unsecured", "ssl.", "sasl."};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(word, names[i]) == 0)
            return true;
    for (size_t i = 0; i < ARRAY_LEN(beginnings); i++)
        if (strncmp(word, beginnings[i], strlen(beginnings[i])) == 0)
            return true;
    return false;
}

/* Any other word is not shown, as Java would: it may be the rest of a password that has a quote or a blank in it. */
static bool jaas_refuse_option(const struct jaas_module *m, const char *key, struct fail *fail)
{
    if (is_option_name(key))
        return fail_set(fail, "Value not specified for key '%s' in JAAS config", key);
    return fail_set(fail, "Value not specified for key number %zu in JAAS config", m->count + 1);
}

static bool add_option(struct jaas_reader *r, struct jaas_module *m, size_t *cap, struct fail *fail)
{
    const char *key = r->word;
    if (next(r) != TOKEN_SIGN || r->sign != '=' || next(r) == TOKEN_END || !is_value(r))
        return jaas_refuse_option(m, key, fail);
    if (m->count == *cap) {
        *cap = MAX(*cap * 2, (size_t)8);
        struct jaas_option *more = ARENA_ARRAY(r->arena, struct jaas_option, *cap);
        if (m->count > 0)
            memcpy(more, m->options, m->count * sizeof(*more));
        m->options = more;
    }
    m->options[m->count++] = (struct jaas_option){key, r->word};
    return true;
}

/* From its name, which was read, to its semicolon. */
static bool read_module(struct jaas_reader *r, struct jaas_module *m, struct fail *fail)
{
    size_t cap = 0;
    *m = (struct jaas_module){.name = r->word};
    if (next(r) != TOKEN_WORD)
        return fail_set(fail, "Login module control flag not specified in JAAS config");
    if (!is_flag(r->word))
        return fail_set(fail, "Invalid login module control flag in JAAS config");
    while (next(r) == TOKEN_WORD)
        if (!add_option(r, m, &cap, fail))
            return false;
    return is_sign(r, ';') || fail_set(fail, "JAAS config entry not terminated by semi-colon");
}

bool jaas_parse(const char *text, struct arena *a, struct jaas_module *out, struct fail *fail)
{
    struct jaas_reader r = {.at = text, .arena = a, .line = 1};
    struct jaas_module other;
    int count = 0;
    while (next(&r) == TOKEN_WORD)
        if (!read_module(&r, count++ == 0 ? out : &other, fail))
            return false;
    if (r.token != TOKEN_END)
        return fail_set(fail, "JAAS config has a '%c' where a login module should be", r.sign);
    return count == 1 || fail_set(fail, "JAAS config property contains %d login modules, should be 1 module", count);
}

/* ---- A file ---- */

static void *grow(struct arena *a, void *items, size_t count, size_t size)
{
    if ((count & (count - 1)) != 0)
        return items; /* it has room up to the next power of two */
    void *more = arena_alloc(a, MAX(count * 2, (size_t)1) * size);
    if (count > 0)
        memcpy(more, items, count * size);
    return more;
}

static bool read_section(struct jaas_reader *r, struct jaas_section *s, struct fail *fail)
{
    struct fail why;
    *s = (struct jaas_section){.name = r->word};
    if (next(r) != TOKEN_SIGN || r->sign != '{')
        return fail_set(fail, "line %d: no { after %s", r->line, s->name);
    while (next(r) == TOKEN_WORD) {
        s->modules = grow(r->arena, s->modules, s->count, sizeof(*s->modules));
        if (!read_module(r, &s->modules[s->count++], &why))
            return fail_set(fail, "line %d: %s", r->line, why.text);
    }
    if (!is_sign(r, '}'))
        return fail_set(fail, "line %d: no } at the end of %s", r->line, s->name);
    if (next(r) != TOKEN_SIGN || r->sign != ';')
        return fail_set(fail, "line %d: no ; after the } of %s", r->line, s->name);
    return true;
}

bool jaas_parse_file(const char *text, const char *(*property)(const char *name, struct arena *a), struct arena *a,
                     struct jaas_file *out, struct fail *fail)
{
    struct jaas_reader r = {.at = text, .arena = a, .property = property, .in_file = true, .line = 1};
    *out = (struct jaas_file){0};
    while (next(&r) == TOKEN_WORD) {
        out->sections = grow(a, out->sections, out->count, sizeof(*out->sections));
        if (!read_section(&r, &out->sections[out->count++], fail))
            return false;
    }
    return r.token == TOKEN_END || fail_set(fail, "line %d: '%c' where a section should be", r.line, r.sign);
}

const struct jaas_section *jaas_section(const struct jaas_file *file, const char *name)
{
    for (size_t i = 0; i < file->count; i++)
        if (strcmp(file->sections[i].name, name) == 0)
            return &file->sections[i];
    return NULL;
}

const char *jaas_option(const struct jaas_module *module, const char *key)
{
    for (size_t i = 0; i < module->count; i++)
        if (strcmp(module->options[i].key, key) == 0)
            return module->options[i].value;
    return NULL;
}
