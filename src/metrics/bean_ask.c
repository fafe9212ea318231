#include "metrics/bean_ask.h"

bool bean_attribute_number(const struct bean *b, const char *attribute, double *out)
{
    struct bean_attribute all[BEAN_MOST_ATTRIBUTES];
    int count = bean_read(b, all);
    for (int i = 0; i < count; i++) {
        const struct bean_value *v = &all[i].value;
        if (strcmp(all[i].name, attribute) != 0 || (v->kind != VALUE_LONG && v->kind != VALUE_DOUBLE))
            continue;
        *out = bean_value_number(v);
        return true;
    }
    return false;
}

void beans_visit(struct metrics *m, const char *pattern, bean_visit_fn visit, void *ctx)
{
    struct bean_pattern parsed;
    const char *why;
    bool ok = bean_pattern_parse(str_of(pattern), &parsed, &why);
    ensure(ok);
    metrics_visit(m, &parsed, visit, ctx);
}

struct summing {
    const char *attribute;
    double sum;
    int count;
};

static bool sum_bean(void *ctx, const struct bean *b)
{
    struct summing *s = ctx;
    double value;
    if (bean_attribute_number(b, s->attribute, &value)) {
        s->sum += value;
        s->count++;
    }
    return true;
}

int bean_sum(struct metrics *m, const char *pattern, const char *attribute, double *out)
{
    struct summing s = {.attribute = attribute};
    beans_visit(m, pattern, sum_bean, &s);
    *out = s.sum;
    return s.count;
}

bool bean_number(struct metrics *m, const char *name, double *out)
{
    return bean_sum(m, name, "Value", out) == 1;
}

struct texting {
    char *room;
    size_t size;
    bool found;
};

static bool copy_text(void *ctx, const struct bean *b)
{
    struct texting *t = ctx;
    struct bean_attribute attributes[BEAN_MOST_ATTRIBUTES];
    int count = bean_read(b, attributes);
    for (int i = 0; i < count; i++)
        if (strcmp(attributes[i].name, "Value") == 0 && attributes[i].value.kind == VALUE_TEXT) {
            struct str s = attributes[i].value.text;
            size_t n = MIN((size_t)s.len, t->size - 1);
            memcpy(t->room, s.p, n);
            t->room[n] = '\0';
            t->found = true;
        }
    return true;
}

bool bean_says(struct metrics *m, const char *name, char *room, size_t size)
{
    struct texting t = {room, size, false};
    beans_visit(m, name, copy_text, &t);
    return t.found;
}
