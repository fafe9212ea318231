/*
 * What a file of jmx_exporter's says. Of a rule each key has to be known, as without one of them another metric would
 * come of it; what the file says beside its rules, of how Java is reached and started, is passed over.
 */
#include <errno.h>
#include <stdio.h>
#include <yaml.h>

#include "exporter/rules_internal.h"

enum { LARGEST_FILE = 4 << 20, MOST_STEPS = 100000 };

/* ---- The nodes of a document ---- */

struct reading {
    yaml_document_t document;
    struct rules *rules;
    const char *place;
    struct fail *fail;
};

static bool complain(const struct reading *d, const yaml_node_t *at, const char *what)
{
    return fail_set(d->fail, "%s:%zu: %s", d->place, at->start_mark.line + 1, what);
}

static const char *scalar(const struct reading *d, const yaml_node_t *n)
{
    if (n->type != YAML_SCALAR_NODE)
        return NULL;
    const struct str text = {(const char *)n->data.scalar.value, (int32_t)n->data.scalar.length};
    return memchr(text.p, '\0', (size_t)text.len) == NULL ? arena_cstr(&d->rules->memory, text) : NULL;
}

static bool take_scalar(const struct reading *d, const yaml_node_t *n, const char **out)
{
    *out = scalar(d, n);
    return *out != NULL || complain(d, n, "a text is expected here");
}

static bool take_bool(const struct reading *d, const yaml_node_t *n, bool *out)
{
    const char *text = scalar(d, n);
    *out = text != NULL && strcasecmp(text, "true") == 0;
    return *out || (text != NULL && strcasecmp(text, "false") == 0) || complain(d, n, "true or false is expected here");
}

typedef bool (*member_fn)(struct reading *d, const char *key, const yaml_node_t *value, void *ctx);

enum { MOST_MEMBERS = 64 };

/* No key is there twice. */
static bool each_member(struct reading *d, const yaml_node_t *n, member_fn take, void *ctx)
{
    const char *names[MOST_MEMBERS];
    int count = 0;
    if (n->type != YAML_MAPPING_NODE)
        return complain(d, n, "keys with values are expected here");
    for (const yaml_node_pair_t *p = n->data.mapping.pairs.start; p < n->data.mapping.pairs.top; p++) {
        const yaml_node_t *key = yaml_document_get_node(&d->document, p->key);
        const char *name = scalar(d, key);
        if (name == NULL)
            return complain(d, key, "a name is expected here");
        if (count == MOST_MEMBERS)
            return complain(d, key, "there are too many keys");
        for (int i = 0; i < count; i++)
            if (strcmp(names[i], name) == 0)
                return complain(d, key, "this key is there already");
        names[count++] = name;
        if (!take(d, name, yaml_document_get_node(&d->document, p->value), ctx))
            return false;
    }
    return true;
}

static int item_count(const yaml_node_t *n)
{
    return n->type == YAML_SEQUENCE_NODE ? (int)(n->data.sequence.items.top - n->data.sequence.items.start) : -1;
}

static const yaml_node_t *item(struct reading *d, const yaml_node_t *n, int i)
{
    return yaml_document_get_node(&d->document, n->data.sequence.items.start[i]);
}

/* ---- A rule ---- */

/* Matched somewhere, as jmx_exporter has it: the last place where it can begin. */
static bool compile(struct reading *d, const yaml_node_t *n, struct rule *rule)
{
    const char *text;
    int error;
    PCRE2_SIZE at;
    if (!take_scalar(d, n, &text))
        return false;
    const char *whole = arena_printf(&d->rules->memory, "^.*(?:%s).*$", text).p;
    rule->pattern = pcre2_compile((PCRE2_SPTR)whole, PCRE2_ZERO_TERMINATED, PCRE2_DOLLAR_ENDONLY, &error, &at, NULL);
    if (rule->pattern == NULL) {
        PCRE2_UCHAR why[128];
        pcre2_get_error_message(error, why, sizeof(why));
        return complain(d, n, arena_printf(&d->rules->memory, "%s: %s", text, (const char *)why).p);
    }
    (void)pcre2_jit_compile(rule->pattern, PCRE2_JIT_COMPLETE); /* faster where it may */
    rules_note_pattern(d->rules, text);
    return true;
}

static bool take_type(struct reading *d, const yaml_node_t *n, enum sample_type *out)
{
    static const struct {
        const char *name;
        enum sample_type type;
    } types[] = {{"UNTYPED", SAMPLE_UNTYPED},
                 {"UNKNOWN", SAMPLE_UNTYPED},
                 {"GAUGE", SAMPLE_GAUGE},
                 {"COUNTER", SAMPLE_COUNTER},
                 {"SUMMARY", SAMPLE_SUMMARY}};
    const char *text = scalar(d, n);
    for (size_t i = 0; text != NULL && i < ARRAY_LEN(types); i++)
        if (strcasecmp(text, types[i].name) == 0 && (d->rules->summaries || types[i].type != SAMPLE_SUMMARY)) {
            *out = types[i].type;
            return true;
        }
    return complain(d, n, "a type is GAUGE, COUNTER or UNTYPED");
}

static bool take_factor(struct reading *d, const yaml_node_t *n, double *out)
{
    const char *text = scalar(d, n);
    char *end = NULL;
    *out = text != NULL ? strtod(text, &end) : 0;
    return (text != NULL && end != text && *end == '\0') || complain(d, n, "a number is expected here");
}

static bool take_label(struct reading *d, const char *key, const yaml_node_t *value, void *ctx)
{
    struct rule *rule = ctx;
    struct label *l = &rule->labels[rule->label_count++];
    l->name = key;
    return take_scalar(d, value, &l->value);
}

static bool take_labels(struct reading *d, const yaml_node_t *n, struct rule *rule)
{
    if (n->type != YAML_MAPPING_NODE)
        return complain(d, n, "labels are names with values");
    size_t count = (size_t)(n->data.mapping.pairs.top - n->data.mapping.pairs.start);
    rule->labels = ARENA_ARRAY(&d->rules->memory, struct label, count);
    return each_member(d, n, take_label, rule);
}

static bool take_rule_member(struct reading *d, const char *key, const yaml_node_t *value, void *ctx)
{
    struct rule *rule = ctx;
    bool ignored;
    if (strcmp(key, "pattern") == 0)
        return compile(d, value, rule);
    if (strcmp(key, "name") == 0)
        return take_scalar(d, value, &rule->name);
    if (strcmp(key, "value") == 0)
        return take_scalar(d, value, &rule->value);
    if (strcmp(key, "help") == 0)
        return take_scalar(d, value, &rule->help);
    if (strcmp(key, "valueFactor") == 0)
        return take_factor(d, value, &rule->factor);
    if (strcmp(key, "type") == 0)
        return take_type(d, value, &rule->type);
    if (strcmp(key, "labels") == 0)
        return take_labels(d, value, rule);
    if (strcmp(key, "attrNameSnakeCase") == 0)
        return take_bool(d, value, &rule->snake_case);
    if (strcmp(key, "cache") == 0)
        return take_bool(d, value, &ignored);
    return complain(d, value, "a rule has no such key");
}

static bool take_rules(struct reading *d, const yaml_node_t *n)
{
    int count = item_count(n);
    if (count < 0)
        return complain(d, n, "rules are a list");
    d->rules->items = ARENA_ARRAY(&d->rules->memory, struct rule, (size_t)count);
    for (int i = 0; i < count; i++) {
        struct rule *rule = &d->rules->items[d->rules->count++];
        *rule = (struct rule){.factor = 1};
        if (!each_member(d, item(d, n, i), take_rule_member, rule))
            return false;
        if (rule->labels != NULL && rule->name == NULL)
            return complain(d, item(d, n, i), "a rule with labels needs a name");
        d->rules->any_snake_case |= rule->snake_case;
    }
    return true;
}

/* ---- Which beans ---- */

static bool take_beans(struct reading *d, const yaml_node_t *n, struct bean_pattern **out, int *out_count)
{
    int count = item_count(n);
    if (count < 0)
        return complain(d, n, "a list of beans is expected here");
    *out = ARENA_ARRAY(&d->rules->memory, struct bean_pattern, (size_t)count);
    for (*out_count = 0; *out_count < count; ++*out_count) {
        const yaml_node_t *name = item(d, n, *out_count);
        const char *text, *why;
        if (!take_scalar(d, name, &text))
            return false;
        if (!bean_pattern_parse(str_of(text), &(*out)[*out_count], &why))
            return complain(d, name, arena_printf(&d->rules->memory, "%s: %s", text, why).p);
    }
    return true;
}

static bool take_excluded(struct reading *d, const char *bean, const yaml_node_t *value, void *ctx UNUSED)
{
    struct excluded *x = &d->rules->excluded[d->rules->excluded_count++];
    const char *why;
    int count = item_count(value);
    if (!bean_pattern_parse(str_of(bean), &x->bean, &why))
        return complain(d, value, arena_printf(&d->rules->memory, "%s: %s", bean, why).p);
    if (!x->bean.exact)
        return complain(d, value, "one bean is expected here, without * and ?");
    if (count < 0)
        return complain(d, value, "a list of attributes is expected here");
    x->attributes = ARENA_ARRAY(&d->rules->memory, const char *, (size_t)count);
    for (; x->count < count; x->count++)
        if (!take_scalar(d, item(d, value, x->count), &x->attributes[x->count]))
            return false;
    return true;
}

static bool take_all_excluded(struct reading *d, const yaml_node_t *n)
{
    if (n->type != YAML_MAPPING_NODE)
        return complain(d, n, "beans with their attributes are expected here");
    size_t count = (size_t)(n->data.mapping.pairs.top - n->data.mapping.pairs.start);
    d->rules->excluded = ARENA_ARRAY(&d->rules->memory, struct excluded, count);
    return each_member(d, n, take_excluded, NULL);
}

/* Of its server; where nothing stands behind a key it asks for nothing. */
static bool take_server_member(struct reading *d, const char *key, const yaml_node_t *value, void *ctx UNUSED)
{
    bool asks = value->type != YAML_SCALAR_NODE || value->data.scalar.length > 0;
    if (strcmp(key, "authentication") == 0)
        d->rules->protection.login = asks;
    else if (strcmp(key, "ssl") == 0)
        d->rules->protection.tls = asks;
    return true;
}

static bool take_member(struct reading *d, const char *key, const yaml_node_t *value, void *ctx UNUSED)
{
    struct rules *r = d->rules;
    if (strcmp(key, "rules") == 0)
        return take_rules(d, value);
    if (strcmp(key, "lowercaseOutputName") == 0)
        return take_bool(d, value, &r->lower_names);
    if (strcmp(key, "lowercaseOutputLabelNames") == 0)
        return take_bool(d, value, &r->lower_labels);
    if (strcmp(key, "summaries") == 0)
        return take_bool(d, value, &r->summaries);
    if (strcmp(key, "unquoteLabelValues") == 0)
        return take_bool(d, value, &r->unquotes);
    if (strcmp(key, "whitelistObjectNames") == 0 || strcmp(key, "includeObjectNames") == 0)
        return take_beans(d, value, &r->wanted, &r->wanted_count);
    if (strcmp(key, "blacklistObjectNames") == 0 || strcmp(key, "excludeObjectNames") == 0)
        return take_beans(d, value, &r->unwanted, &r->unwanted_count);
    if (strcmp(key, "excludeObjectNameAttributes") == 0)
        return take_all_excluded(d, value);
    if (strcmp(key, "includeObjectNameAttributes") == 0)
        return complain(d, value, "this key is not known here; includeObjectNames and rules can say the same");
    if (strcmp(key, "httpServer") == 0 && value->type == YAML_MAPPING_NODE)
        return each_member(d, value, take_server_member, NULL);
    return true; /* about Java: how it is reached, and when */
}

/* ---- A file ---- */

static bool read_document(struct reading *d, struct str yaml)
{
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        return fail_set(d->fail, "%s: there is no memory to read it", d->place);
    yaml_parser_set_input_string(&parser, (const unsigned char *)yaml.p, (size_t)yaml.len);
    bool loaded = yaml_parser_load(&parser, &d->document) == 1;
    if (!loaded)
        fail_set(d->fail, "%s:%zu: %s", d->place, parser.problem_mark.line + 1,
                 parser.problem ? parser.problem : "no YAML");
    yaml_parser_delete(&parser);
    if (!loaded)
        return false;
    const yaml_node_t *root = yaml_document_get_root_node(&d->document);
    bool empty = root == NULL || (root->type == YAML_SCALAR_NODE && root->data.scalar.length == 0);
    bool ok = empty || each_member(d, root, take_member, NULL);
    yaml_document_delete(&d->document);
    return ok;
}

struct rules *rules_parse(struct str yaml, const char *place, bool totals, struct fail *fail)
{
    struct rules *r = xcalloc(1, sizeof(*r));
    struct reading d = {.rules = r, .place = place, .fail = fail};
    r->totals = totals;
    r->match = pcre2_match_data_create(100, NULL);
    r->context = pcre2_match_context_create(NULL);
    pcre2_set_match_limit(r->context, MOST_STEPS);
    if (!read_document(&d, yaml)) {
        rules_free(r);
        return NULL;
    }
    if (r->items == NULL) { /* everything by the names of beans */
        r->items = ARENA_ARRAY(&r->memory, struct rule, 1);
        r->items[r->count++] = (struct rule){.factor = 1};
    }
    return r;
}

struct rules_protection rules_protection(const struct rules *r)
{
    return r->protection;
}

static pcre2_code *compile_filter(const char *pattern, struct fail *fail)
{
    int error;
    PCRE2_SIZE at;
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_ANCHORED | PCRE2_ENDANCHORED,
                                     &error, &at, NULL);
    PCRE2_UCHAR why[128];
    if (code == NULL) {
        pcre2_get_error_message(error, why, sizeof(why));
        fail_set(fail, "%s: %s", pattern, (const char *)why);
    }
    return code;
}

struct name_filter *name_filter_new(const char *const *patterns, int count, struct fail *fail)
{
    struct strbuf all = {0};
    pcre2_code *code = NULL;
    bool ok = true;
    for (int i = 0; ok && i < count; i++) { /* each by itself: a parenthesis of one is not closed by another */
        code = compile_filter(patterns[i], fail);
        ok = code != NULL;
        pcre2_code_free(code);
        strbuf_printf(&all, "%s(?:%s)", i > 0 ? "|" : "", patterns[i]);
    }
    code = ok ? compile_filter(count > 0 ? all.p : "(?!)", fail) : NULL;
    strbuf_deinit(&all);
    if (code == NULL)
        return NULL;
    struct name_filter *f = xcalloc(1, sizeof(*f));
    f->pattern = code;
    return f;
}

void name_filter_free(struct name_filter *f)
{
    if (f != NULL)
        pcre2_code_free(f->pattern);
    free(f);
}

struct rules *rules_read(const char *path, bool totals, struct fail *fail)
{
    FILE *f = fopen(path, "r");
    if (f == NULL) {
        fail_set(fail, "cannot read %s: %s", path, strerror(errno));
        return NULL;
    }
    char *text = xmalloc(LARGEST_FILE);
    size_t n = fread(text, 1, LARGEST_FILE, f);
    bool whole = feof(f) && !ferror(f);
    fclose(f);
    struct rules *r = NULL;
    if (whole)
        r = rules_parse((struct str){text, (int32_t)n}, path, totals, fail);
    else
        fail_set(fail, "cannot read %s, or it is too large", path);
    free(text);
    return r;
}

void rules_free(struct rules *r)
{
    if (r == NULL)
        return;
    rules_forget_forms(r);
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
