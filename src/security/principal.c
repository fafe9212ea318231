/*
 * Rules are parsed once: each has its pattern compiled, and its replacement cut into pieces, which are texts and groups
 * of the pattern. Then a subject is matched with each until one is the whole of it, and the pieces put together for
 * each match.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "security/principal.h"

#include <locale.h>
#include <pcre2.h>
#include <stdio.h>
#include <wctype.h>

#include "base/strbuf.h"

/*
 * Subjects come from whoever has a certificate, and a pattern may have to try all ways to divide one. With names of
 * some hundred characters common patterns need some ten thousand steps, once or twice. These many, that often, take
 * under a second.
 */
enum { MOST_STEPS = 200000, MOST_MATCHES = 100, MOST_HEAP_KIB = 4096 };

enum rule_case { CASE_KEPT, CASE_LOWER, CASE_UPPER };

struct rule_piece {
    struct str text; /* null: the group */
    uint32_t group;
};

struct principal_rule {
    pcre2_code *pattern; /* NULL: the subject is the name */
    uint32_t groups;     /* that the pattern has */
    struct rule_piece *pieces;
    int piece_count;
    enum rule_case letters;
};

struct principal_rules {
    struct principal_rule *items;
    int count;
    pcre2_match_context *limits;
    locale_t locale; /* that knows letters beyond ASCII, or 0 */
    struct arena memory;
};

/* ---- Principals ---- */

const struct principal principal_anonymous = {{"User", 4}, {"ANONYMOUS", 9}, false};

bool principal_eq(struct principal a, struct principal b)
{
    return str_cmp(a.type, b.type) == 0 && str_cmp(a.name, b.name) == 0;
}

bool principal_parse(struct str text, struct principal *out)
{
    const char *colon = text.len > 0 ? memchr(text.p, ':', (size_t)text.len) : NULL;
    if (colon == NULL)
        return false;
    out->type = (struct str){text.p, (int32_t)(colon - text.p)};
    out->name = (struct str){colon + 1, text.len - out->type.len - 1};
    out->by_token = false;
    return true;
}

struct str principal_text(struct principal principal, struct arena *a)
{
    int32_t type = principal.type.len, len = type + 1 + principal.name.len;
    char *text = arena_alloc(a, (size_t)len + 1);
    memcpy(text, principal.type.p, (size_t)type);
    text[type] = ':';
    memcpy(text + type + 1, principal.name.p, (size_t)principal.name.len);
    return (struct str){text, len};
}

/* ---- Replacements ---- */

/*
 * Kafka takes $n for a text where the pattern has no such group, by putting a backslash before it; with $34 and three
 * groups it is group 3 and a text. It goes by the places before anything was put in, so that of two such texts the
 * second gets its backslash one character too early. And it does nothing of this when there are no groups.
 */
static struct str mark_texts(struct str r, uint32_t groups, struct arena *a)
{
    struct strbuf out = {0};
    strbuf_str(&out, r);
    for (int32_t i = 0; groups > 0 && i + 1 < r.len; i++) {
        uint64_t n = 0;
        int32_t end = i + 1;
        if (r.p[i] != '$')
            continue;
        for (; end < r.len && r.p[end] >= '0' && r.p[end] <= '9'; end++)
            n = MIN(n * 10 + (uint64_t)(r.p[end] - '0'), UINT32_MAX);
        if (end == i + 1 || r.p[i + 1] == '0')
            continue;
        while (n > groups && n >= 10)
            n /= 10;
        if (n > groups) {
            strbuf_puts(&out, " ");
            memmove(out.p + i + 1, out.p + i, out.len - 1 - (size_t)i);
            out.p[i] = '\\';
        }
    }
    struct str copy = arena_str(a, (struct str){out.len > 0 ? out.p : "", (int32_t)out.len});
    strbuf_deinit(&out);
    return copy;
}

static void add_piece(struct principal_rule *rule, struct str text, uint32_t group)
{
    rule->pieces[rule->piece_count++] = (struct rule_piece){text, group};
}

/* $n: as many digits as there is a group for. Returns where to go on, or 0. */
static int32_t rule_number(struct principal_rule *rule, struct str r, int32_t at, struct fail *fail)
{
    uint32_t n = (uint32_t)(r.p[at++] - '0');
    if (n > rule->groups)
        return fail_set(fail, "there is no group %u in the pattern", (unsigned)n);
    while (at < r.len && r.p[at] >= '0' && r.p[at] <= '9' && n * 10 + (uint32_t)(r.p[at] - '0') <= rule->groups)
        n = n * 10 + (uint32_t)(r.p[at++] - '0');
    add_piece(rule, STR_NULL, n);
    return at;
}

/* ${name} */
static int32_t rule_name(struct principal_rule *rule, struct str r, int32_t at, struct arena *a, struct fail *fail)
{
    const char *end = memchr(r.p + at, '}', (size_t)(r.len - at));
    if (end == NULL)
        return fail_set(fail, "${ without }");
    const char *name = arena_cstr(a, (struct str){r.p + at + 1, (int32_t)(end - r.p - at - 1)});
    int n = pcre2_substring_number_from_name(rule->pattern, (PCRE2_SPTR)name);
    if (n <= 0)
        return fail_set(fail, "there is no group %s in the pattern", name);
    add_piece(rule, STR_NULL, (uint32_t)n);
    return (int32_t)(end - r.p) + 1;
}

static bool parse_replacement(struct principal_rule *rule, struct str r, struct arena *a, struct fail *fail)
{
    r = mark_texts(r, rule->groups, a);
    rule->pieces = ARENA_ARRAY(a, struct rule_piece, r.len + 1);
    for (int32_t at = 0; at < r.len;) {
        char c = r.p[at];
        if (c != '\\' && c != '$') {
            int32_t n = 1;
            while (at + n < r.len && r.p[at + n] != '\\' && r.p[at + n] != '$')
                n++;
            add_piece(rule, (struct str){r.p + at, n}, 0);
            at += n;
            continue;
        }
        if (++at == r.len)
            return fail_set(fail, "%c at the end of the replacement", c);
        if (c == '\\')
            add_piece(rule, (struct str){r.p + at++, 1}, 0);
        else if (r.p[at] >= '0' && r.p[at] <= '9')
            at = rule_number(rule, r, at, fail);
        else if (r.p[at] == '{')
            at = rule_name(rule, r, at, a, fail);
        else
            return fail_set(fail, "$ in the replacement is not followed by the number of a group");
        if (at == 0)
            return false;
    }
    return true;
}

/* ---- Rules ---- */

/* What a rule is cut into. Null: it has no such part. */
struct rule_text {
    struct str whole, pattern, replacement, rest;
    bool is_default;
    enum rule_case letters;
};

static bool is_blank_of_java(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static const char *skip_blanks(const char *at)
{
    while (is_blank_of_java(*at))
        at++;
    return at;
}

static struct str without_blanks(const char *from, const char *end)
{
    while (end > from && is_blank_of_java(end[-1]))
        end--;
    return (struct str){from, (int32_t)(end - from)};
}

/* The first / without a backslash before it; NULL: there is none. */
static const char *find_slash(const char *at)
{
    for (; *at != '/'; at++) {
        if (*at == '\\')
            at++;
        if (*at == '\0')
            return NULL;
    }
    return at;
}

/* The rule that begins here. A pattern may have commas in it, anything else ends at one. Returns where it ends. */
static const char *cut_rule(const char *at, struct rule_text *out)
{
    static const char prefix[] = "RULE:", other[] = "DEFAULT";
    const char *begin = at, *first = NULL, *second = NULL;
    *out = (struct rule_text){.letters = CASE_KEPT};
    if (strncmp(at, prefix, sizeof(prefix) - 1) == 0) {
        at += sizeof(prefix) - 1;
        first = find_slash(at);
        second = first ? find_slash(first + 1) : NULL;
    }
    if (second != NULL) {
        out->pattern = (struct str){at, (int32_t)(first - at)};
        out->replacement = (struct str){first + 1, (int32_t)(second - first - 1)};
        at = second + 1;
        out->letters = *at == 'L' ? CASE_LOWER : *at == 'U' ? CASE_UPPER : CASE_KEPT;
        at += out->letters != CASE_KEPT;
    } else {
        at = begin;
        out->is_default = strncmp(at, other, sizeof(other) - 1) == 0;
        at += out->is_default ? sizeof(other) - 1 : 0;
    }
    const char *end = at + strcspn(at, ",");
    out->rest = without_blanks(at, end);
    out->whole = without_blanks(begin, end);
    return end;
}

static pcre2_code *compile_pattern(const char *text, struct fail *fail)
{
    int error;
    PCRE2_SIZE at;
    PCRE2_UCHAR why[256];
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    ensure(context != NULL);
    pcre2_set_newline(context, PCRE2_NEWLINE_ANY); /* as for Java, where . is none of them */
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, PCRE2_UTF, &error, &at, context);
    pcre2_compile_context_free(context);
    if (code != NULL)
        return code;
    pcre2_get_error_message(error, why, sizeof(why));
    fail_set(fail, "%s, at character %zu of the pattern", (const char *)why, (size_t)at);
    return NULL;
}

static bool add_rule(struct principal_rules *rules, const struct rule_text *text, struct fail *fail)
{
    struct principal_rule rule = {.letters = text->letters};
    if (text->rest.len > 0)
        return fail_set(fail, "Invalid rule: `%.*s`, unmatched substring: `%.*s`", STR_ARGS(text->whole),
                        STR_ARGS(text->rest));
    if (!text->is_default && text->pattern.p == NULL)
        return true; /* an empty one */
    bool ok = true;
    if (!text->is_default) {
        rule.pattern = compile_pattern(arena_cstr(&rules->memory, text->pattern), fail);
        if (rule.pattern != NULL)
            pcre2_pattern_info(rule.pattern, PCRE2_INFO_CAPTURECOUNT, &rule.groups);
        ok = rule.pattern != NULL && parse_replacement(&rule, text->replacement, &rules->memory, fail);
    }
    rules->items = xrealloc(rules->items, sizeof(*rules->items) * (size_t)(rules->count + 1));
    rules->items[rules->count++] = rule;
    return ok || fail_wrap(fail, "Invalid rule: `%.*s`", STR_ARGS(text->whole));
}

struct principal_rules *principal_rules_parse(const char *text, struct fail *fail)
{
    struct principal_rules *rules = xcalloc(1, sizeof(*rules));
    struct rule_text rule;
    rules->limits = pcre2_match_context_create(NULL);
    ensure(rules->limits != NULL);
    pcre2_set_match_limit(rules->limits, MOST_STEPS);
    pcre2_set_heap_limit(rules->limits, MOST_HEAP_KIB);
    rules->locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    for (const char *at = text; *(at = skip_blanks(at)) != '\0'; at += *at == ',') {
        at = cut_rule(at, &rule);
        if (!add_rule(rules, &rule, fail)) {
            principal_rules_free(rules);
            return NULL;
        }
    }
    return rules;
}

void principal_rules_free(struct principal_rules *rules)
{
    if (rules == NULL)
        return;
    for (int i = 0; i < rules->count; i++)
        pcre2_code_free(rules->items[i].pattern);
    free(rules->items);
    pcre2_match_context_free(rules->limits);
    if (rules->locale != (locale_t)0)
        freelocale(rules->locale);
    arena_deinit(&rules->memory);
    free(rules);
}

/* ---- Letters ---- */

static void add_utf8(struct strbuf *out, uint32_t c)
{
    char bytes[4] = {(char)c};
    int n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (int i = n - 1; n > 1 && i > 0; i--, c >>= 6)
        bytes[i] = (char)(0x80 | (c & 0x3f));
    if (n > 1)
        bytes[0] = (char)((0xf00 >> n) | c);
    strbuf_add(out, bytes, (size_t)n);
}

/* Character for character, but for the one that is common and becomes two; `text` is UTF-8. */
static void change_letters(const struct principal_rules *rules, enum rule_case letters, struct str text,
                           struct strbuf *out)
{
    for (int32_t i = 0; i < text.len;) {
        uint8_t lead = (uint8_t)text.p[i++];
        uint32_t c = lead < 0x80 ? lead : lead < 0xe0 ? lead & 0x1f : lead < 0xf0 ? lead & 0xf : lead & 7;
        for (; i < text.len && ((uint8_t)text.p[i] & 0xc0) == 0x80; i++)
            c = c << 6 | ((uint8_t)text.p[i] & 0x3f);
        if (c == 0xdf && letters == CASE_UPPER) {
            strbuf_puts(out, "SS");
            continue;
        }
        if (c >= 0x80 && rules->locale != (locale_t)0)
            c = letters == CASE_UPPER ? towupper_l(c, rules->locale) : towlower_l(c, rules->locale);
        else if (letters == CASE_UPPER ? c >= 'a' && c <= 'z' : c >= 'A' && c <= 'Z')
            c ^= 0x20;
        add_utf8(out, c);
    }
}

/* ---- Applying ---- */

struct rule_match {
    const struct principal_rules *rules;
    const struct principal_rule *rule;
    struct str subject;
    pcre2_match_data *data;
};

/* 1: it matches, 0: not, -1: it cannot be told. */
static int match_at(const struct rule_match *m, size_t at, uint32_t options)
{
    int result = pcre2_match(m->rule->pattern, (PCRE2_SPTR)m->subject.p, (PCRE2_SIZE)m->subject.len, at, options,
                             m->data, m->rules->limits);
    return result > 0 ? 1 : result == PCRE2_ERROR_NOMATCH ? 0 : -1;
}

static void add_pieces(const struct rule_match *m, struct strbuf *out)
{
    const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(m->data);
    for (int i = 0; i < m->rule->piece_count; i++) {
        const struct rule_piece *piece = &m->rule->pieces[i];
        PCRE2_SIZE from = ends[2 * piece->group], to = ends[2 * piece->group + 1];
        if (piece->text.p != NULL)
            strbuf_str(out, piece->text);
        else if (from != PCRE2_UNSET && to > from)
            strbuf_add(out, m->subject.p + from, to - from);
    }
}

/* Bytes of the character at `at`. */
static size_t character_size(struct str s, size_t at)
{
    size_t n = 1;
    while (at + n < (size_t)s.len && ((uint8_t)s.p[at + n] & 0xc0) == 0x80)
        n++;
    return n;
}

/* Each match is replaced, also the empty one that may follow upon one that ends at the end. */
static int replace_all(const struct rule_match *m, struct strbuf *out)
{
    const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(m->data);
    size_t size = (size_t)m->subject.len, done = 0, at = 0;
    for (int count = 0; at <= size; count++) {
        int result = count < MOST_MATCHES ? match_at(m, at, PCRE2_NO_UTF_CHECK) : -1;
        if (result < 0)
            return result;
        if (result == 0)
            break;
        size_t from = ends[0], to = MAX(ends[1], ends[0]); /* a pattern may set its beginning behind its end */
        strbuf_add(out, m->subject.p + done, from > done ? from - done : 0);
        add_pieces(m, out);
        done = to;
        at = to > from && to > at ? to : to + (to < size ? character_size(m->subject, to) : 1);
    }
    strbuf_add(out, m->subject.p + done, size - done);
    return 1;
}

static int rule_apply(const struct rule_match *m, struct strbuf *out)
{
    struct strbuf text = {0};
    if (m->rule->pattern == NULL) {
        strbuf_str(out, m->subject);
        return 1;
    }
    int result = match_at(m, 0, PCRE2_ANCHORED | PCRE2_ENDANCHORED);
    if (result == 1)
        result = replace_all(m, &text);
    if (result == 1 && m->rule->letters != CASE_KEPT)
        change_letters(m->rules, m->rule->letters, (struct str){text.p, (int32_t)text.len}, out);
    else if (result == 1)
        strbuf_add(out, text.p, text.len);
    strbuf_deinit(&text);
    return result;
}

bool principal_rules_apply(const struct principal_rules *rules, const char *subject, struct arena *a, struct str *out,
                           struct fail *fail)
{
    struct strbuf name = {0};
    int result = 0;
    for (int i = 0; i < rules->count && result == 0; i++) {
        const struct principal_rule *rule = &rules->items[i];
        struct rule_match m = {rules, rule, str_of(subject), pcre2_match_data_create(rule->groups + 1, NULL)};
        ensure(m.data != NULL);
        result = rule_apply(&m, &name);
        pcre2_match_data_free(m.data);
    }
    if (result == 1)
        *out = arena_str(a, (struct str){name.len > 0 ? name.p : "", (int32_t)name.len});
    strbuf_deinit(&name);
    return result == 1 || fail_set(fail,
                                   result == 0 ? "no rule of ssl.principal.mapping.rules is for %s"
                                               : "a rule of ssl.principal.mapping.rules takes too many steps for %s",
                                   subject);
}
