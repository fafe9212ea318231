/*
 * From an attribute of a bean to a sample, by rules of jmx_exporter's: the first whose pattern matches
 *
 *     kafka.server<type=BrokerTopicMetrics, name=BytesInPerSec, topic=orders><>Count: 42
 *
 * names it. This is one attribute by itself; rules_forms.c has what keeps most from coming here.
 */
#include <ctype.h>
#include <stdio.h>

#include "exporter/rules_internal.h"

/* ---- A match, and what a rule makes of it ---- */

struct matched {
    const struct rule *rule;
    struct str subject;
    const PCRE2_SIZE *groups;
    uint32_t group_count;
};

static bool find_rule(struct rules *r, struct matched *out)
{
    for (int i = 0; i < r->count; i++) {
        const struct rule *rule = &r->items[i];
        const struct strbuf *text = rule->snake_case ? &r->snake_text : &r->text;
        const struct str subject = {text->p, (int32_t)text->len};
        *out = (struct matched){.rule = rule, .subject = subject};
        if (rule->pattern == NULL)
            return true;
        int rc = pcre2_match(rule->pattern, (PCRE2_SPTR)subject.p, (PCRE2_SIZE)subject.len, 0, 0, r->match, r->context);
        if (rc <= 0)
            continue;
        out->groups = pcre2_get_ovector_pointer(r->match);
        out->group_count = (uint32_t)rc;
        return true;
    }
    return false;
}

static void add_group(const struct matched *m, uint32_t n, struct strbuf *out)
{
    if (n < m->group_count && m->groups[2 * n] != PCRE2_UNSET)
        strbuf_add(out, m->subject.p + m->groups[2 * n], m->groups[2 * n + 1] - m->groups[2 * n]);
}

/* $n is a group, of as many digits as there are groups for; what is behind a backslash stands for itself. */
static void expand(const struct matched *m, const char *text, struct strbuf *out)
{
    for (const char *p = text; *p != '\0'; p++) {
        if (*p == '\\' && p[1] != '\0') {
            strbuf_add(out, ++p, 1);
        } else if (*p == '$' && isdigit((unsigned char)p[1])) {
            uint32_t n = (uint32_t)(*++p - '0');
            while (isdigit((unsigned char)p[1]) && 10 * n + (uint32_t)(p[1] - '0') < m->group_count)
                n = 10 * n + (uint32_t)(*++p - '0');
            add_group(m, n, out);
        } else {
            strbuf_add(out, p, 1);
        }
    }
}

static void expand_help(const struct matched *m, struct strbuf *out)
{
    if (m->rule->help == NULL || strpbrk(m->rule->help, "$\\") == NULL)
        return; /* as it stands */
    strbuf_puts(out, "");
    expand(m, m->rule->help, out);
}

/* OneMinuteRate is one_minute_rate. */
static void write_snake_case(struct strbuf *out, const char *name)
{
    bool before = true;
    strbuf_clear(out);
    for (const char *p = name; *p != '\0'; p++) {
        bool upper = isupper((unsigned char)*p);
        if (upper && !before)
            strbuf_puts(out, "_");
        strbuf_add(out, &(char){(char)tolower((unsigned char)*p)}, 1);
        before = upper || *p == '_';
    }
}

/* As Prometheus allows names to be: runs of other characters become one _. */
static void make_safe(struct strbuf *name, size_t from, bool lower)
{
    size_t to = from;
    if (name->len == from)
        return;
    ensure(name->p != NULL);
    for (size_t i = from; i < name->len; i++) {
        unsigned char c = (unsigned char)name->p[i];
        if (!(c < 0x80 && isalnum(c)) && c != ':')
            c = '_';
        if (c != '_' || to == from || name->p[to - 1] != '_')
            name->p[to++] = (char)(lower ? tolower(c) : c);
    }
    name->len = to;
    name->p[to] = '\0';
}

/* ---- What comes of one attribute, in full ---- */

void outcome_deinit(struct outcome *o)
{
    strbuf_deinit(&o->name);
    strbuf_deinit(&o->help);
    strbuf_deinit(&o->texts);
}

static void add_label(const struct rules *r, struct outcome *o, struct str name, struct str value)
{
    size_t start = o->texts.len;
    if (name.len == 0 || value.len == 0 || o->label_count == MOST_LABELS)
        return;
    strbuf_str(&o->texts, name);
    make_safe(&o->texts, start, r->lower_labels);
    o->labels[o->label_count].name = start;
    o->labels[o->label_count].name_len = o->texts.len - start;
    struct strbuf plain = {0};
    if (r->unquotes) {
        bean_unquote(value, &plain);
        value = (struct str){plain.p, (int32_t)plain.len};
    }
    start = o->texts.len;
    strbuf_utf8(&o->texts, value);
    o->labels[o->label_count++].value_len = o->texts.len - start;
    strbuf_deinit(&plain);
}

void outcome_label(const struct outcome *o, int i, struct str *name, struct str *value)
{
    ensure(o->texts.p != NULL && i < o->label_count);
    *name = (struct str){o->texts.p + o->labels[i].name, (int32_t)o->labels[i].name_len};
    *value = (struct str){name->p + name->len, (int32_t)o->labels[i].value_len};
}

/* Of a bean's own names: domain_type_attribute, and what else it has as labels. */
static void name_by_bean(const struct rules *r, const struct bean *b, const char *attribute, struct outcome *o)
{
    strbuf_puts(&o->name, b->domain);
    strbuf_puts(&o->name, "_");
    strbuf_str(&o->name, b->keys[0].value);
    strbuf_puts(&o->name, "_");
    strbuf_puts(&o->name, attribute);
    for (int i = 1; i < b->key_count; i++)
        add_label(r, o, str_of(b->keys[i].key), b->keys[i].value);
}

static void name_by_rule(const struct rules *r, const struct matched *m, struct outcome *o)
{
    struct strbuf name = {0}, value = {0};
    expand(m, m->rule->name, &o->name);
    for (int i = 0; i < m->rule->label_count; i++) {
        strbuf_clear(&name);
        strbuf_clear(&value);
        expand(m, m->rule->labels[i].name, &name);
        expand(m, m->rule->labels[i].value, &value);
        add_label(r, o, (struct str){name.p, (int32_t)name.len}, (struct str){value.p, (int32_t)value.len});
    }
    strbuf_deinit(&name);
    strbuf_deinit(&value);
}

static bool take_constant(const struct matched *m, struct outcome *o)
{
    struct strbuf text = {0};
    char *end = NULL;
    if (m->rule->value == NULL || *m->rule->value == '\0')
        return true;
    expand(m, m->rule->value, &text);
    o->is_constant = true;
    o->constant = text.len > 0 ? strtod(text.p, &end) : 0;
    bool ok = text.len > 0 && end != text.p && *end == '\0';
    strbuf_deinit(&text);
    return ok;
}

static void add_value_text(struct strbuf *out, const struct bean_attribute *a)
{
    switch (a->value.kind) {
    case VALUE_LONG:
        strbuf_printf(out, "%lld", (long long)a->value.number);
        return;
    case VALUE_DOUBLE:
        strbuf_printf(out, "%.17g", a->value.real);
        return;
    case VALUE_BOOL:
        strbuf_puts(out, a->value.truth ? "true" : "false");
        return;
    case VALUE_TEXT:
        strbuf_str(out, a->value.text);
    }
}

/* What patterns are matched with: domain<key=value, key=value><>attribute: value */
static void write_subject(struct strbuf *out, const struct bean *b, const struct bean_attribute *a,
                          const char *attribute)
{
    strbuf_clear(out);
    strbuf_printf(out, "%s<", b->domain);
    for (int i = 0; i < b->key_count; i++) {
        strbuf_printf(out, "%s%s=", i > 0 ? ", " : "", b->keys[i].key);
        strbuf_str(out, b->keys[i].value);
    }
    strbuf_printf(out, "><>%s: ", attribute);
    add_value_text(out, a);
}

static void write_subjects(struct rules *r, const struct bean *b, const struct bean_attribute *a)
{
    write_subject(&r->text, b, a, a->name);
    if (!r->any_snake_case)
        return;
    write_snake_case(&r->snake_name, a->name);
    write_subject(&r->snake_text, b, a, r->snake_name.p);
}

static size_t length_without(struct strbuf name, const char *end)
{
    size_t tail = strlen(end);
    bool has_end = name.len > tail && strcmp(name.p + name.len - tail, end) == 0;
    return has_end ? name.len - tail : name.len;
}

/* Of a summary, _count and _sum are no part of the family's name. */
static void cut_part(struct outcome *o)
{
    static const char *const parts[] = {"_count", "_sum"};
    o->part = "";
    for (size_t i = 0; o->rule->type == SAMPLE_SUMMARY && i < ARRAY_LEN(parts); i++) {
        size_t len = length_without(o->name, parts[i]);
        if (len == o->name.len)
            continue;
        o->part = parts[i];
        o->name.len = len;
        o->name.p[len] = '\0';
        return;
    }
}

static bool is_allowed(const struct rules *r, const struct outcome *o)
{
    if (r->filter == NULL)
        return true;
    size_t len = MIN(length_without(o->name, "_total"), length_without(o->name, "_info"));
    return pcre2_match(r->filter->pattern, (PCRE2_SPTR)o->name.p, len, 0, 0, r->match, r->context) >= 0;
}

bool rules_work_out(struct rules *r, const struct bean *b, const struct bean_attribute *a, struct outcome *o)
{
    struct matched m;
    *o = (struct outcome){0};
    write_subjects(r, b, a);
    if (!find_rule(r, &m))
        return false;
    o->rule = m.rule;
    expand_help(&m, &o->help);
    if (m.rule->name == NULL)
        name_by_bean(r, b, m.rule->snake_case ? r->snake_name.p : a->name, o);
    else
        name_by_rule(r, &m, o);
    make_safe(&o->name, 0, r->lower_names);
    cut_part(o);
    return o->name.len > 0 && take_constant(&m, o) && is_allowed(r, o);
}

const struct family *rules_find_family(struct rules *r, struct outcome *o)
{
    struct family_entry *e;
    const char *end = "_total";
    if (o->rule->type == SAMPLE_COUNTER && r->totals && length_without(o->name, end) == o->name.len)
        strbuf_puts(&o->name, end);
    HASH_FIND(hh, r->families, o->name.p, o->name.len, e);
    if (e != NULL && e->family.type != o->rule->type)
        e->family.type = SAMPLE_UNTYPED; /* two rules make it, and do not agree */
    if (e != NULL)
        return &e->family;
    e = ARENA_NEW(&r->memory, struct family_entry);
    e->family = (struct family){.name = arena_cstr(&r->memory, (struct str){o->name.p, (int32_t)o->name.len}),
                                .help = o->help.p != NULL ? arena_cstr(&r->memory, str_of(o->help.p)) : o->rule->help,
                                .type = o->rule->type,
                                .number = (int64_t)HASH_COUNT(r->families)};
    HASH_ADD_KEYPTR(hh, r->families, e->family.name, o->name.len, e);
    return &e->family;
}

int64_t rules_family_count(const struct rules *r)
{
    return (int64_t)HASH_COUNT(r->families);
}
