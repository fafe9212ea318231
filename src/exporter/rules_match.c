/*
 * From an attribute of a bean to a sample, by rules of jmx_exporter's: the first whose pattern matches
 *
 *     kafka.server<type=BrokerTopicMetrics, name=BytesInPerSec, topic=orders><>Count: 42
 *
 * names it. With many partitions there are hundreds of thousands of them each time somebody looks, too many for regular
 * expressions. So what came of one is kept as a form, and used for all beans of its shape: the same domain and keys,
 * the same values where a pattern looks at them, and values of the same kind of characters elsewhere.
 *
 *     kafka.server, type=BrokerTopicMetrics, name=BytesInPerSec, topic: a word; Count
 *     ─► kafka_server_brokertopicmetrics_bytesin_total, topic="(value of the third key)"
 *
 * Where values go is found out by trying values that nobody has, two of each kind. If what comes of the two differs in
 * anything else, the form varies, and its beans are matched each time.
 */
#include <ctype.h>
#include <stdio.h>

#include "base/hash.h"
#include "exporter/labels.h"
#include "exporter/rules_internal.h"

enum { MOST_FORMS = 1 << 16, MOST_LABELS = 16, MOST_PIECES = 2 * MOST_LABELS + 2 };

struct family_entry {
    struct family family;
    UT_hash_handle hh;
};

/* A part of the labels: a text, or the value of a key. */
struct piece {
    struct str text;
    int key; /* -1: the text */
};

/* What attributes of beans of one shape become. */
struct form {
    char *shape;
    bool exported;
    bool varies; /* with the values, so that each is matched by itself */
    const struct family *family;
    const char *part; /* of a summary; see struct sample */
    double factor, constant;
    bool is_constant;
    struct piece pieces[MOST_PIECES];
    int piece_count;
    UT_hash_handle hh;
};

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

struct outcome {
    const struct rule *rule;
    struct strbuf name;
    const char *part;    /* of a summary, which is no more at the name's end */
    struct strbuf help;  /* NULL: the rule's is what it says */
    struct strbuf texts; /* of labels, not escaped */
    struct {
        size_t name, name_len, value_len; /* where the name is, behind which the value lies */
    } labels[MOST_LABELS];
    int label_count;
    bool is_constant;
    double constant;
};

static void outcome_deinit(struct outcome *o)
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

static void get_label(const struct outcome *o, int i, struct str *name, struct str *value)
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

/* False: nothing comes of it. */
static bool work_out(struct rules *r, const struct bean *b, const struct bean_attribute *a, struct outcome *o)
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

/* The name gets its end. */
static const struct family *find_family(struct rules *r, struct outcome *o)
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

/* ---- Shapes ---- */

enum shape { SHAPE_DIGITS, SHAPE_WORD, SHAPE_PLAIN, SHAPE_ODD };

static enum shape shape_of(struct str value)
{
    /* One more than the shape that a character makes a value be, at least; 0: an odd one. */
    static const uint8_t least[256] = {['0' ... '9'] = SHAPE_DIGITS + 1, ['A' ... 'Z'] = SHAPE_WORD + 1,
                                       ['a' ... 'z'] = SHAPE_WORD + 1,   ['_'] = SHAPE_WORD + 1,
                                       ['-'] = SHAPE_PLAIN + 1,          ['.'] = SHAPE_PLAIN + 1};
    int shape = value.len > 0 ? SHAPE_DIGITS : SHAPE_ODD;
    for (int32_t i = 0; i < value.len; i++) {
        int of = least[(unsigned char)value.p[i]];
        if (of == 0)
            return SHAPE_ODD;
        shape = MAX(shape, of - 1);
    }
    return (enum shape)shape;
}

/* `shape` is that of its value. */
static bool is_looked_at(const struct rules *r, const struct bean_key *k, enum shape shape)
{
    if (r->looks_at_all || strcmp(k->key, "type") == 0 || strcmp(k->key, "name") == 0)
        return true;
    for (int i = 0; i < r->looked_at.count; i++)
        if (strcmp(r->looked_at.items[i], k->key) == 0)
            return true;
    for (int i = 0; i < r->telling.count; i++)
        if (memmem(k->value.p, (size_t)k->value.len, r->telling.items[i], strlen(r->telling.items[i])) != NULL)
            return true;
    return shape == SHAPE_ODD;
}

static void write_shape(const struct rules *r, struct strbuf *out, const struct bean *b)
{
    strbuf_clear(out);
    strbuf_puts(out, b->domain);
    for (int i = 0; i < b->key_count; i++) {
        const struct bean_key *k = &b->keys[i];
        strbuf_add(out, "\n", 1);
        enum shape shape = shape_of(k->value);
        strbuf_puts(out, k->key);
        if (is_looked_at(r, k, shape)) {
            strbuf_add(out, "=", 1);
            strbuf_str(out, k->value);
        } else {
            strbuf_add(out, &"012"[shape], 1);
        }
    }
    strbuf_add(out, "\n", 1);
}

/* ---- Finding a form: by values that nobody has, two of each, so that what comes of them shows where they went ---- */

enum { MARK_SIZE = 24 };

struct marks {
    char texts[BEAN_MOST_KEYS][MARK_SIZE]; /* "": the value itself */
};

static void mark_bean(const struct rules *r, const struct bean *b, bool second, struct marks *marks, struct bean *out)
{
    static const struct {
        const char *before, *after;
    } firsts[SHAPE_ODD] = {{"70", "00713"}, {"zq", "xvw_k"}, {"zq-", ".xvw"}},
      seconds[SHAPE_ODD] = {{"83", "11967"}, {"K_j", "Wypb"}, {"Kj.", "-Wyp"}};
    *out = *b;
    for (int i = 0; i < b->key_count; i++) {
        const struct bean_key *k = &b->keys[i];
        marks->texts[i][0] = '\0';
        enum shape shape = shape_of(k->value);
        if (is_looked_at(r, k, shape))
            continue;
        ensure(shape < SHAPE_ODD);
        snprintf(marks->texts[i], MARK_SIZE, "%s%02d%s", second ? seconds[shape].before : firsts[shape].before, i,
                 second ? seconds[shape].after : firsts[shape].after);
        out->keys[i].value = str_of(marks->texts[i]);
    }
}

/* Which key's mark stands there; -1: none. */
static int mark_at(const struct marks *marks, int count, struct str text, int32_t at)
{
    for (int i = 0; i < count; i++) {
        size_t len = strlen(marks->texts[i]);
        if (len > 0 && (size_t)(text.len - at) >= len && memcmp(text.p + at, marks->texts[i], len) == 0)
            return i;
    }
    return -1;
}

static bool has_mark(const struct marks *marks, int count, struct str text)
{
    for (int32_t at = 0; at < text.len; at++)
        for (int i = 0; i < count; i++) {
            size_t len = strlen(marks->texts[i]);
            if (len > 0 && (size_t)(text.len - at) >= len && strncasecmp(text.p + at, marks->texts[i], len) == 0)
                return true;
        }
    return false;
}

struct piecing {
    struct piece *pieces;
    int count;
    struct strbuf text;
};

static void end_text(struct piecing *p)
{
    ensure(p->count < MOST_PIECES);
    if (p->text.len == 0)
        return;
    p->pieces[p->count++] = (struct piece){str_dup((struct str){p->text.p, (int32_t)p->text.len}), -1};
    strbuf_clear(&p->text);
}

static bool cut_value(struct piecing *p, const struct marks *marks, int keys, struct str value)
{
    for (int32_t i = 0; i < value.len; i++) {
        int key = mark_at(marks, keys, value, i);
        if (key < 0) {
            label_escape(&p->text, (struct str){value.p + i, 1});
            continue;
        }
        if (p->count + 3 > MOST_PIECES)
            return false;
        end_text(p);
        p->pieces[p->count++] = (struct piece){.key = key};
        i += (int32_t)strlen(marks->texts[key]) - 1;
    }
    return true;
}

/* False: the labels are not made of whole values. */
static bool make_pieces(const struct outcome *o, const struct marks *marks, int keys, struct form *out)
{
    struct piecing p = {.pieces = out->pieces};
    bool ok = !has_mark(marks, keys, (struct str){o->name.p, (int32_t)o->name.len});
    for (int i = 0; ok && i < o->label_count; i++) {
        struct str name, value;
        get_label(o, i, &name, &value);
        ok = !has_mark(marks, keys, name);
        strbuf_printf(&p.text, "%s%.*s=\"", i > 0 ? "," : "", STR_ARGS(name));
        ok = ok && cut_value(&p, marks, keys, value);
        strbuf_puts(&p.text, "\"");
    }
    ok = ok && p.count < MOST_PIECES;
    if (ok)
        end_text(&p);
    out->piece_count = p.count;
    strbuf_deinit(&p.text);
    return ok;
}

static void drop_pieces(struct form *f)
{
    for (int i = 0; i < f->piece_count; i++)
        if (f->pieces[i].key < 0)
            str_free(f->pieces[i].text);
    f->piece_count = 0;
}

static bool same_pieces(const struct form *a, const struct form *b)
{
    if (a->piece_count != b->piece_count)
        return false;
    for (int i = 0; i < a->piece_count; i++)
        if (a->pieces[i].key != b->pieces[i].key ||
            (a->pieces[i].key < 0 && !str_eq(a->pieces[i].text, b->pieces[i].text)))
            return false;
    return true;
}

static bool try_marks(struct rules *r, const struct bean *b, const struct bean_attribute *a, bool second,
                      struct form *out, struct outcome *o)
{
    struct marks marks;
    struct bean marked;
    struct bean_attribute other = *a;
    other.value = second ? bean_double(27.5) : bean_long(1);
    mark_bean(r, b, second, &marks, &marked);
    out->exported = work_out(r, &marked, &other, o);
    return !out->exported || make_pieces(o, &marks, b->key_count, out);
}

/* What a help says of values is of the first bean that came, as with jmx_exporter: not of marks. */
static const struct family *find_family_for(struct rules *r, const struct bean *b, const struct bean_attribute *a,
                                            struct outcome *o)
{
    struct strbuf of_marks = o->help;
    struct outcome real;
    if (of_marks.p != NULL) {
        (void)work_out(r, b, a, &real);
        o->help = real.help;
        real.help = of_marks;
        outcome_deinit(&real);
    }
    return find_family(r, o);
}

static void find_form(struct rules *r, const struct bean *b, const struct bean_attribute *a, struct form *out)
{
    struct form other = {0};
    struct outcome first, second;
    bool whole = try_marks(r, b, a, false, out, &first);
    whole = try_marks(r, b, a, true, &other, &second) && whole;
    out->varies = !whole || out->exported != other.exported || first.rule != second.rule || !same_pieces(out, &other) ||
                  first.is_constant != second.is_constant || (first.is_constant && first.constant != second.constant) ||
                  (out->exported && strcmp(first.name.p, second.name.p) != 0);
    if (out->exported && !out->varies) {
        out->family = find_family_for(r, b, a, &first);
        out->part = first.part;
        out->factor = first.rule->factor;
        out->is_constant = first.is_constant;
        out->constant = first.constant;
    }
    if (out->varies)
        drop_pieces(out);
    drop_pieces(&other);
    outcome_deinit(&first);
    outcome_deinit(&second);
}

static void forget_forms(struct rules *r)
{
    struct form *f, *next;
    HASH_ITER (hh, r->forms, f, next) {
        HASH_DEL(r->forms, f);
        drop_pieces(f);
        free(f->shape);
        free(f);
    }
}

static const struct form *form_for(struct rules *r, const struct bean *b, const struct bean_attribute *a)
{
    struct form *f;
    r->key.len = r->shape_len;
    strbuf_puts(&r->key, a->name);
    unsigned hash = (unsigned)hash_bytes(r->key.p, r->key.len);
    HASH_FIND_BYHASHVALUE(hh, r->forms, r->key.p, r->key.len, hash, f);
    if (f != NULL)
        return f;
    if (HASH_COUNT(r->forms) >= MOST_FORMS)
        forget_forms(r);
    f = xcalloc(1, sizeof(*f));
    f->shape = xstrndup(r->key.p, r->key.len);
    size_t len = r->key.len;
    find_form(r, b, a, f);
    HASH_ADD_KEYPTR_BYHASHVALUE(hh, r->forms, f->shape, len, hash, f);
    return f;
}

/* ---- Applying ---- */

static bool apply_in_full(struct rules *r, const struct bean *b, const struct bean_attribute *a, struct strbuf *labels,
                          struct sample *out)
{
    struct outcome o;
    bool ok = work_out(r, b, a, &o) && (o.is_constant || a->value.kind != VALUE_TEXT);
    if (ok) {
        for (int i = 0; i < o.label_count; i++) {
            struct str name, value;
            get_label(&o, i, &name, &value);
            strbuf_printf(labels, "%s%.*s=\"", i > 0 ? "," : "", STR_ARGS(name));
            label_escape(labels, value);
            strbuf_puts(labels, "\"");
        }
        out->family = find_family(r, &o);
        out->part = o.part;
        out->value = (o.is_constant ? o.constant : bean_value_number(&a->value)) * o.rule->factor;
    }
    outcome_deinit(&o);
    return ok;
}

static bool apply_form(const struct form *f, const struct bean *b, const struct bean_attribute *a,
                       struct strbuf *labels, struct sample *out)
{
    if (!f->exported)
        return false;
    ensure(!f->varies && f->family != NULL);
    for (int i = 0; i < f->piece_count; i++)
        strbuf_str(labels, f->pieces[i].key < 0 ? f->pieces[i].text : b->keys[f->pieces[i].key].value);
    out->family = f->family;
    out->part = f->part;
    out->value = (f->is_constant ? f->constant : bean_value_number(&a->value)) * f->factor;
    return true;
}

static bool is_left_out(const struct excluded *of, const char *attribute)
{
    for (int i = 0; i < of->count; i++)
        if (strcmp(of->attributes[i], attribute) == 0)
            return true;
    return false;
}

bool rules_apply(struct rules *r, const struct bean *b, const struct bean_attribute *a, struct strbuf *labels,
                 struct sample *out)
{
    strbuf_clear(labels);
    if (r->left_out != NULL && is_left_out(r->left_out, a->name))
        return false;
    const struct form *f = a->value.kind != VALUE_TEXT ? form_for(r, b, a) : NULL;
    bool ok = f == NULL || f->varies ? apply_in_full(r, b, a, labels, out) : apply_form(f, b, a, labels, out);
    out->labels = (struct str){labels->p != NULL ? labels->p : "", (int32_t)labels->len};
    return ok;
}

static bool matches_one(const struct bean_pattern *patterns, int count, const struct bean *b)
{
    for (int i = 0; i < count; i++)
        if (bean_pattern_matches(&patterns[i], b))
            return true;
    return false;
}

bool rules_take(struct rules *r, const struct bean *b)
{
    if ((r->wanted_count > 0 && !matches_one(r->wanted, r->wanted_count, b)) ||
        matches_one(r->unwanted, r->unwanted_count, b))
        return false;
    r->left_out = NULL;
    for (int i = 0; i < r->excluded_count; i++)
        if (bean_pattern_matches(&r->excluded[i].bean, b))
            r->left_out = &r->excluded[i];
    write_shape(r, &r->key, b);
    r->shape_len = r->key.len;
    return true;
}

bool rules_look_at_values(const struct rules *r)
{
    return r->looks_at_all || r->looked_at.count > 0;
}

void rules_filter(struct rules *r, struct name_filter *f)
{
    forget_forms(r);
    name_filter_free(r->filter);
    r->filter = f;
}

bool rules_want_sums(const struct rules *r)
{
    return r->summaries;
}

int64_t rules_family_count(const struct rules *r)
{
    return (int64_t)HASH_COUNT(r->families);
}

void rules_free(struct rules *r)
{
    if (r == NULL)
        return;
    forget_forms(r);
    HASH_CLEAR(hh, r->families);
    for (int i = 0; i < r->count; i++)
        pcre2_code_free(r->items[i].pattern);
    name_filter_free(r->filter);
    pcre2_match_data_free(r->match);
    pcre2_match_context_free(r->context);
    strbuf_deinit(&r->text);
    strbuf_deinit(&r->key);
    strbuf_deinit(&r->snake_name);
    strbuf_deinit(&r->snake_text);
    arena_deinit(&r->memory);
    free(r);
}
