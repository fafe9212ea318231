/*
 * What becomes of an attribute is found out once for all that are like it. With many partitions there are hundreds of
 * thousands of them each time somebody looks, too many for regular expressions. So what came of one is kept as a form,
 * and used for all beans of its shape: the same domain and keys, the same values where a pattern looks at them, and
 * values of the same kind of characters elsewhere.
 *
 *     kafka.server, type=BrokerTopicMetrics, name=BytesInPerSec, topic: a word; Count
 *     ─► kafka_server_brokertopicmetrics_bytesin_total, topic="(value of the third key)"
 *
 * Where values go is found out by trying values that nobody has, two of each kind. If what comes of the two differs in
 * anything else, the form varies, and its beans are matched each time.
 *
 * Beans come in the same order each time, and those of one partition as those of the one before: which shape comes
 * after another is remembered, and looked at first.
 */
#include <stdio.h>

#include "exporter/labels.h"
#include "exporter/rules_internal.h"

/* Of kin, and of what is made of them. */
enum { MOST_FORMS = 1 << 16 };
enum { MOST_PIECES = 2 * MOST_LABELS + 2 };

/* A part of the labels: a text, or the value of a key. */
struct piece {
    struct str text;
    int key; /* -1: the text */
};

/* What an attribute of beans of one shape becomes. */
struct form {
    char *attribute;
    bool exported;
    bool varies; /* with the values, so that each is matched by itself */
    const struct family *family;
    const char *part; /* of a summary; see struct sample */
    double factor, constant;
    bool is_constant;
    struct piece *pieces;
    int piece_count;
};

enum shape { SHAPE_DIGITS, SHAPE_WORD, SHAPE_PLAIN, SHAPE_ODD };

/* Beans of one shape. */
struct kin {
    struct str text; /* by which they are found: all of what follows */
    char *domain;
    struct {
        char *key;
        bool looked_at; /* then `value` is what it is */
        struct str value;
        enum shape shape;
    } keys[BEAN_MOST_KEYS];
    int key_count;
    struct form **forms; /* in the order in which attributes came first */
    size_t form_count, form_cap, next_form;
    struct kin *next; /* that came after it last; NULL: none yet */
    UT_hash_handle hh;
};

/* ---- Shapes ---- */

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

static bool has_telling_word(const struct rules *r, struct str value)
{
    for (int i = 0; i < r->telling.count; i++)
        if (memmem(value.p, (size_t)value.len, r->telling.items[i], strlen(r->telling.items[i])) != NULL)
            return true;
    return false;
}

/* `shape` is that of its value. */
static bool is_looked_at(const struct rules *r, const struct bean_key *k, enum shape shape)
{
    if (r->looks_at_all || text_eq(k->key, "type") || text_eq(k->key, "name"))
        return true;
    for (int i = 0; i < r->looked_at.count; i++)
        if (text_eq(r->looked_at.items[i], k->key))
            return true;
    return shape == SHAPE_ODD || has_telling_word(r, k->value);
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

static void mark_bean(const struct kin *kin, const struct bean *b, bool second, struct marks *marks, struct bean *out)
{
    static const struct {
        const char *before, *after;
    } firsts[SHAPE_ODD] = {{"70", "00713"}, {"zq", "xvw_k"}, {"zq-", ".xvw"}},
      seconds[SHAPE_ODD] = {{"83", "11967"}, {"K_j", "Wypb"}, {"Kj.", "-Wyp"}};
    *out = *b;
    for (int i = 0; i < b->key_count; i++) {
        enum shape shape = kin->keys[i].shape;
        marks->texts[i][0] = '\0';
        if (kin->keys[i].looked_at)
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
    struct piecing p = {.pieces = xcalloc(MOST_PIECES, sizeof(*p.pieces))};
    bool ok = !has_mark(marks, keys, (struct str){o->name.p, (int32_t)o->name.len});
    for (int i = 0; ok && i < o->label_count; i++) {
        struct str name, value;
        outcome_label(o, i, &name, &value);
        ok = !has_mark(marks, keys, name);
        strbuf_printf(&p.text, "%s%.*s=\"", i > 0 ? "," : "", STR_ARGS(name));
        ok = ok && cut_value(&p, marks, keys, value);
        strbuf_puts(&p.text, "\"");
    }
    ok = ok && p.count < MOST_PIECES;
    if (ok)
        end_text(&p);
    out->pieces = xrealloc(p.pieces, (size_t)MAX(p.count, 1) * sizeof(*p.pieces));
    out->piece_count = p.count;
    strbuf_deinit(&p.text);
    return ok;
}

static void drop_pieces(struct form *f)
{
    for (int i = 0; i < f->piece_count; i++)
        if (f->pieces[i].key < 0)
            str_free(f->pieces[i].text);
    free(f->pieces);
    f->pieces = NULL;
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
    mark_bean(r->come, b, second, &marks, &marked);
    out->exported = rules_work_out(r, &marked, &other, o);
    return !out->exported || make_pieces(o, &marks, b->key_count, out);
}

/* What a help says of values is of the first bean that came, as with jmx_exporter: not of marks. */
static const struct family *find_family_for(struct rules *r, const struct bean *b, const struct bean_attribute *a,
                                            struct outcome *o)
{
    struct strbuf of_marks = o->help;
    struct outcome real;
    if (of_marks.p != NULL) {
        (void)rules_work_out(r, b, a, &real);
        o->help = real.help;
        real.help = of_marks;
        outcome_deinit(&real);
    }
    return rules_find_family(r, o);
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

/* ---- Kin ---- */

static void kin_free(struct kin *k)
{
    for (size_t i = 0; i < k->form_count; i++) {
        drop_pieces(k->forms[i]);
        free(k->forms[i]->attribute);
        free(k->forms[i]);
    }
    for (int i = 0; i < k->key_count; i++) {
        free(k->keys[i].key);
        str_free(k->keys[i].value);
    }
    free(k->forms);
    free(k->domain);
    str_free(k->text);
    free(k);
}

void rules_forget_forms(struct rules *r)
{
    struct kin *k, *next;
    r->come = NULL;
    r->form_count = 0;
    HASH_ITER (hh, r->kin, k, next) {
        HASH_DEL(r->kin, k);
        kin_free(k);
    }
}

static struct kin *kin_new(const struct rules *r, const struct bean *b, struct str text)
{
    struct kin *k = xcalloc(1, sizeof(*k));
    k->text = str_dup(text);
    k->domain = xstrdup(b->domain);
    k->key_count = b->key_count;
    for (int i = 0; i < b->key_count; i++) {
        const struct bean_key *of = &b->keys[i];
        k->keys[i].key = xstrdup(of->key);
        k->keys[i].shape = shape_of(of->value);
        k->keys[i].looked_at = is_looked_at(r, of, k->keys[i].shape);
        if (k->keys[i].looked_at)
            k->keys[i].value = str_dup(of->value);
    }
    return k;
}

static struct kin *find_kin(struct rules *r, const struct bean *b)
{
    struct kin *k;
    write_shape(r, &r->key, b);
    const struct str text = {r->key.p, (int32_t)r->key.len};
    HASH_FIND(hh, r->kin, text.p, (size_t)text.len, k);
    if (k != NULL)
        return k;
    if (HASH_COUNT(r->kin) + r->form_count >= MOST_FORMS)
        rules_forget_forms(r);
    k = kin_new(r, b, text);
    HASH_ADD_KEYPTR(hh, r->kin, k->text.p, (size_t)k->text.len, k);
    return k;
}

/* What is written out to find it, looked at in place. */
static bool is_kin(const struct rules *r, const struct kin *k, const struct bean *b)
{
    if (k->key_count != b->key_count || !text_eq(k->domain, b->domain))
        return false;
    for (int i = 0; i < b->key_count; i++) {
        const struct bean_key *of = &b->keys[i];
        if (!text_eq(k->keys[i].key, of->key))
            return false;
        if (k->keys[i].looked_at ? !str_eq(k->keys[i].value, of->value)
                                 : shape_of(of->value) != k->keys[i].shape || has_telling_word(r, of->value))
            return false;
    }
    return true;
}

static struct kin *kin_of(struct rules *r, const struct bean *b)
{
    struct kin *before = r->come, *k = before != NULL ? before->next : NULL;
    if (k == NULL || !is_kin(r, k, b)) {
        k = find_kin(r, b);
        if (r->come != NULL) /* not forgotten */
            r->come->next = k;
    }
    k->next_form = 0;
    return k;
}

/* Attributes come in the same order each time. */
static const struct form *form_for(struct rules *r, const struct bean *b, const struct bean_attribute *a)
{
    struct kin *k = r->come;
    ensure(k != NULL);
    for (size_t i = 0; i < k->form_count; i++) {
        size_t at = (k->next_form + i) % k->form_count;
        if (text_eq(k->forms[at]->attribute, a->name)) {
            k->next_form = at + 1;
            return k->forms[at];
        }
    }
    struct form *f = xcalloc(1, sizeof(*f));
    f->attribute = xstrdup(a->name);
    find_form(r, b, a, f);
    k->forms = xgrow(k->forms, k->form_count + 1, &k->form_cap, sizeof(*k->forms));
    k->forms[k->form_count++] = f;
    k->next_form = k->form_count;
    r->form_count++;
    return f;
}

/* ---- Applying ---- */

static bool apply_in_full(struct rules *r, const struct bean *b, const struct bean_attribute *a, struct strbuf *labels,
                          struct sample *out)
{
    struct outcome o;
    bool ok = rules_work_out(r, b, a, &o) && (o.is_constant || a->value.kind != VALUE_TEXT);
    if (ok) {
        for (int i = 0; i < o.label_count; i++) {
            struct str name, value;
            outcome_label(&o, i, &name, &value);
            strbuf_printf(labels, "%s%.*s=\"", i > 0 ? "," : "", STR_ARGS(name));
            label_escape(labels, value);
            strbuf_puts(labels, "\"");
        }
        out->family = rules_find_family(r, &o);
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
    r->come = kin_of(r, b);
    return true;
}

bool rules_look_at_values(const struct rules *r)
{
    return r->looks_at_all || r->looked_at.count > 0;
}

void rules_filter(struct rules *r, struct name_filter *f)
{
    rules_forget_forms(r);
    name_filter_free(r->filter);
    r->filter = f;
}

bool rules_want_sums(const struct rules *r)
{
    return r->summaries;
}
