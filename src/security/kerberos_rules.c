#include "security/kerberos_rules.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <ctype.h>
#include <pcre2.h>

#include "base/strbuf.h"
#include "config/config.h"

enum { MOST_KERBEROS_STEPS = 200000, MOST_COMPONENTS = 2, LONGEST_RESULT = 4096 };

struct kerberos_rule {
    bool is_default;
    int components;
    const char *format;
    pcre2_code *match, *from; /* NULL: it has none */
    const char *to;           /* as PCRE2 has it */
    bool everywhere;
    char letters; /* L, U, or 0 */
};

struct kerberos_rules {
    struct arena memory;
    const char *default_realm;
    struct kerberos_rule *items;
    int count;
    pcre2_match_context *limits;
};

/* ---- Parsing ---- */

/* What is before the next `end`, which is passed over; NULL: there is none. */
static const char *cut_until(const char **at, char end, struct arena *a)
{
    const char *stop = strchr(*at, end);
    if (stop == NULL)
        return NULL;
    const char *part = arena_cstr(a, (struct str){*at, (int32_t)(stop - *at)});
    *at = stop + 1;
    return part;
}

static pcre2_code *compile_kerberos(const char *text, bool whole, struct fail *fail)
{
    int error;
    PCRE2_SIZE at;
    PCRE2_UCHAR why[256];
    uint32_t options = PCRE2_UTF | (whole ? PCRE2_ANCHORED | PCRE2_ENDANCHORED : 0);
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, options, &error, &at, NULL);
    if (code == NULL) {
        pcre2_get_error_message(error, why, sizeof(why));
        fail_set(fail, "%s, at character %zu of a pattern", (const char *)why, (size_t)at);
    }
    return code;
}

/* Java's backslash takes what follows as it is; PCRE2 knows $$ alone. */
static const char *convert_replacement(const char *to, struct arena *a)
{
    struct strbuf out = {0};
    for (; *to != '\0'; to++) {
        bool plain = *to == '\\' && to[1] != '\0';
        to += plain;
        if (plain && *to == '$')
            strbuf_puts(&out, "$");
        strbuf_add(&out, to, 1);
    }
    const char *copy = arena_cstr(a, (struct str){out.p != NULL ? out.p : "", (int32_t)out.len});
    strbuf_deinit(&out);
    return copy;
}

/* s/from/to/g, and what follows it. */
static bool parse_change(struct kerberos_rule *rule, const char **at, struct arena *a, struct fail *fail)
{
    const char *from, *to;
    if (strncmp(*at, "s/", 2) != 0)
        return true;
    *at += 2;
    if ((from = cut_until(at, '/', a)) == NULL || (to = cut_until(at, '/', a)) == NULL)
        return fail_set(fail, "s/ without two more /");
    rule->everywhere = **at == 'g';
    *at += rule->everywhere;
    rule->to = convert_replacement(to, a);
    rule->from = compile_kerberos(from, false, fail);
    return rule->from != NULL;
}

static bool parse_kerberos_rule(struct kerberos_rule *rule, const char **at, struct arena *a, struct fail *fail)
{
    char *end;
    const char *match = NULL;
    rule->components = (int)strtol(*at, &end, 10);
    if (end == *at || *end != ':')
        return fail_set(fail, "[ without a number and a colon");
    *at = end + 1;
    rule->format = cut_until(at, ']', a);
    if (rule->format == NULL)
        return fail_set(fail, "[ without ]");
    if (**at == '(') {
        ++*at;
        if ((match = cut_until(at, ')', a)) == NULL)
            return fail_set(fail, "( without )");
        rule->match = compile_kerberos(match, true, fail);
        if (rule->match == NULL)
            return false;
    }
    if (!parse_change(rule, at, a, fail))
        return false;
    *at += **at == '/';
    rule->letters = **at == 'L' || **at == 'U' ? **at : '\0';
    *at += rule->letters != '\0';
    return true;
}

static bool add_kerberos_rule(struct kerberos_rules *rules, const char *text, struct fail *fail)
{
    static const char by_default[] = "DEFAULT", prefix[] = "RULE:[";
    struct kerberos_rule *rule = &rules->items[rules->count++];
    const char *at = text;
    rule->is_default = strncmp(at, by_default, sizeof(by_default) - 1) == 0;
    if (rule->is_default) {
        at += sizeof(by_default) - 1;
    } else if (strncmp(at, prefix, sizeof(prefix) - 1) == 0) {
        at += sizeof(prefix) - 1;
        if (!parse_kerberos_rule(rule, &at, &rules->memory, fail))
            return fail_wrap(fail, "Invalid rule: %s", text);
    } else {
        return fail_set(fail, "Invalid rule: %s", text);
    }
    return *at == '\0' || fail_set(fail, "Invalid rule: `%s`, unmatched substring: `%s`", text, at);
}

struct kerberos_rules *kerberos_rules_parse(const char *text, const char *default_realm, struct fail *fail)
{
    struct kerberos_rules *rules = xcalloc(1, sizeof(*rules));
    rules->default_realm = arena_cstr(&rules->memory, str_of(default_realm));
    struct config_list texts = text_split(text, true, &rules->memory);
    rules->items = xcalloc((size_t)texts.count + 1, sizeof(*rules->items));
    rules->limits = pcre2_match_context_create(NULL);
    ensure(rules->limits != NULL);
    pcre2_set_match_limit(rules->limits, MOST_KERBEROS_STEPS);
    for (int i = 0; i < texts.count; i++) {
        if (!add_kerberos_rule(rules, texts.items[i], fail)) {
            kerberos_rules_free(rules);
            return NULL;
        }
    }
    return rules;
}

void kerberos_rules_free(struct kerberos_rules *rules)
{
    if (rules == NULL)
        return;
    for (int i = 0; i < rules->count; i++) {
        pcre2_code_free(rules->items[i].match);
        pcre2_code_free(rules->items[i].from);
    }
    pcre2_match_context_free(rules->limits);
    arena_deinit(&rules->memory);
    free(rules->items);
    free(rules);
}

/* ---- Applying ---- */

/* [0] is the realm, then come the components. */
struct kerberos_name {
    struct str parts[MOST_COMPONENTS + 1];
    int components;
};

static bool split_principal(const char *principal, struct kerberos_name *out)
{
    const char *at = strchr(principal, '@'), *slash = strchr(principal, '/');
    *out = (struct kerberos_name){.components = 1};
    if (at == NULL || strchr(at + 1, '@') != NULL || strchr(at + 1, '/') != NULL)
        return false;
    out->parts[0] = str_of(at + 1);
    const char *end = slash != NULL ? slash : at;
    out->parts[1] = (struct str){principal, (int32_t)(end - principal)};
    if (slash != NULL) {
        out->parts[2] = (struct str){slash + 1, (int32_t)(at - slash - 1)};
        out->components = 2;
        return memchr(slash + 1, '/', (size_t)(at - slash - 1)) == NULL;
    }
    return true;
}

static bool fill_format(const char *format, const struct kerberos_name *name, struct strbuf *out)
{
    for (; *format != '\0'; format++) {
        if (*format != '$' || !isdigit((unsigned char)format[1])) {
            strbuf_add(out, format, 1);
            continue;
        }
        char *end;
        long n = strtol(format + 1, &end, 10);
        if (n > name->components)
            return false;
        strbuf_str(out, name->parts[n]);
        format = end - 1;
    }
    return true;
}

static bool matches(const struct kerberos_rules *rules, const pcre2_code *code, struct str text)
{
    pcre2_match_data *data = pcre2_match_data_create_from_pattern(code, NULL);
    int rc = data == NULL ? -1 : pcre2_match(code, (PCRE2_SPTR)text.p, (size_t)text.len, 0, 0, data, rules->limits);
    pcre2_match_data_free(data);
    return rc >= 0;
}

static bool substitute(const struct kerberos_rules *rules, const struct kerberos_rule *rule, struct arena *a,
                       struct str *text)
{
    PCRE2_SIZE len = LONGEST_RESULT;
    uint32_t options = PCRE2_SUBSTITUTE_UNSET_EMPTY | (rule->everywhere ? PCRE2_SUBSTITUTE_GLOBAL : 0);
    char *out = arena_alloc(a, LONGEST_RESULT);
    int rc = pcre2_substitute(rule->from, (PCRE2_SPTR)text->p, (size_t)text->len, 0, options, NULL, rules->limits,
                              (PCRE2_SPTR)rule->to, PCRE2_ZERO_TERMINATED, (PCRE2_UCHAR *)out, &len);
    *text = (struct str){out, (int32_t)len};
    return rc >= 0;
}

/* Null: the rule does not fit. */
static struct str kerberos_rule_apply(const struct kerberos_rules *rules, const struct kerberos_rule *rule,
                                      const struct kerberos_name *name, struct arena *a)
{
    struct strbuf base = {0};
    if (rule->is_default)
        return str_is(name->parts[0], rules->default_realm) ? name->parts[1] : STR_NULL;
    if (rule->components != name->components || !fill_format(rule->format, name, &base)) {
        strbuf_deinit(&base);
        return STR_NULL;
    }
    struct str text = arena_str(a, (struct str){base.p != NULL ? base.p : "", (int32_t)base.len});
    strbuf_deinit(&base);
    if ((rule->match != NULL && !matches(rules, rule->match, text)) ||
        (rule->from != NULL && !substitute(rules, rule, a, &text)))
        return STR_NULL;
    char *copy = arena_cstr(a, text);
    for (char *p = copy; rule->letters != '\0' && *p != '\0'; p++)
        *p = (char)(rule->letters == 'L' ? tolower((unsigned char)*p) : toupper((unsigned char)*p));
    return str_of(copy);
}

bool kerberos_rules_apply(const struct kerberos_rules *rules, const char *principal, struct arena *a, struct str *out,
                          struct fail *fail)
{
    struct kerberos_name name;
    if (!str_is_utf8(str_of(principal)) || !split_principal(principal, &name))
        return fail_set(fail, "%s is no principal of one or two components", principal);
    for (int i = 0; i < rules->count; i++) {
        struct str text = kerberos_rule_apply(rules, &rules->items[i], &name, a);
        if (text.p == NULL)
            continue;
        *out = text;
        return (text.len > 0 && memchr(text.p, '/', (size_t)text.len) == NULL &&
                memchr(text.p, '@', (size_t)text.len) == NULL) ||
               fail_set(fail, "what the rules make of %s is no name: %.*s", principal, STR_ARGS(text));
    }
    return fail_set(fail, "no rule of sasl.kerberos.principal.to.local.rules fits %s", principal);
}
