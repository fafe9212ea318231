#include "exporter/exposition.h"

#include <math.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/hash.h"

/* A line of its family's text. */
struct line {
    uint64_t hash; /* of what stands before its value */
    uint8_t type;
    bool was_there;
};

struct gathered {
    const char *name, *help;
    size_t name_len;
    enum sample_type type; /* of its first sample; another's does not agree with it */
    bool wanted;
    struct strbuf text;
    struct line *lines;
    size_t line_count, line_cap;
    UT_hash_handle hh;
};

struct wanted {
    const char *name;
    UT_hash_handle hh;
};

/* What is being gathered by, and where its families are by their numbers. */
struct part {
    struct rules *rules;
    struct gathered **slots;
    size_t cap;
};

struct exposition {
    struct part parts[EXPOSITION_MOST_RULES];
    int part_count;
    const struct exposition_beside *beside; /* NULL: nobody */
    struct arena memory;
    struct gathered *families; /* uthash, by name */
    struct wanted *wanted;     /* uthash; empty: all */
    struct strbuf labels;
};

struct exposition *exposition_new(void)
{
    return xcalloc(1, sizeof(struct exposition));
}

void exposition_free(struct exposition *e)
{
    struct gathered *g, *next;
    if (e == NULL)
        return;
    HASH_ITER (hh, e->families, g, next) {
        HASH_DEL(e->families, g);
        strbuf_deinit(&g->text);
        free(g->lines);
    }
    HASH_CLEAR(hh, e->wanted);
    for (int i = 0; i < e->part_count; i++)
        free(e->parts[i].slots);
    strbuf_deinit(&e->labels);
    arena_deinit(&e->memory);
    free(e);
}

void exposition_name(struct exposition *e, struct str family)
{
    struct wanted *w = ARENA_NEW(&e->memory, struct wanted), *there;
    w->name = arena_cstr(&e->memory, family);
    HASH_FIND_STR(e->wanted, w->name, there);
    if (there == NULL)
        HASH_ADD_KEYPTR(hh, e->wanted, w->name, strlen(w->name), w);
}

/* ---- Gathering ---- */

/* Most are, and printf() takes its time. */
static void add_whole(struct strbuf *out, int64_t value)
{
    char text[24], *p = text + sizeof(text);
    uint64_t rest = value < 0 ? -(uint64_t)value : (uint64_t)value;
    do
        *--p = (char)('0' + rest % 10);
    while ((rest /= 10) > 0);
    if (value < 0)
        *--p = '-';
    strbuf_add(out, p, (size_t)(text + sizeof(text) - p));
}

void exposition_number(double value, struct strbuf *out)
{
    char text[40];
    if (isnan(value)) {
        strbuf_puts(out, "NaN");
        return;
    }
    if (isinf(value)) {
        strbuf_puts(out, value > 0 ? "+Inf" : "-Inf");
        return;
    }
    if (fabs(value) < 1e15 && value == (double)(int64_t)value) {
        add_whole(out, (int64_t)value);
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    strbuf_puts(out, text);
}

static bool wants_family(const struct exposition *e, const char *family)
{
    struct wanted *w;
    if (e->wanted == NULL)
        return true;
    HASH_FIND_STR(e->wanted, family, w);
    return w != NULL;
}

static struct gathered *gathered_of(struct exposition *e, const char *family, enum sample_type type, const char *help)
{
    struct gathered *g;
    HASH_FIND_STR(e->families, family, g);
    if (g != NULL)
        return g;
    g = ARENA_NEW(&e->memory, struct gathered);
    g->name = family;
    g->name_len = strlen(family);
    g->help = help;
    g->type = type;
    g->wanted = wants_family(e, family);
    HASH_ADD_KEYPTR(hh, e->families, g->name, g->name_len, g);
    return g;
}

/* Of samples there are hundreds of thousands where there are many partitions: room is made once for each. */
static void write_sample(struct gathered *g, const char *part, size_t part_len, struct str labels)
{
    char *p = strbuf_extend(&g->text, g->name_len + part_len + (labels.len > 0 ? (size_t)labels.len + 2 : 0) + 1);
    memcpy(p, g->name, g->name_len);
    memcpy(p += g->name_len, part, part_len);
    p += part_len;
    if (labels.len > 0) {
        *p++ = '{';
        memcpy(p, labels.p, (size_t)labels.len);
        p += labels.len;
        *p++ = '}';
    }
    *p++ = ' ';
    ensure(p == g->text.p + g->text.len);
}

/* `part` is what stands behind the family's name. */
static void add_sample(struct gathered *g, enum sample_type type, const char *part, struct str labels, double value)
{
    size_t part_len = strlen(part);
    if (!g->wanted)
        return;
    g->lines = xgrow(g->lines, g->line_count + 1, &g->line_cap, sizeof(*g->lines));
    g->lines[g->line_count++] =
        (struct line){.hash = hash_pair(hash_bytes(labels.p, (size_t)labels.len), part_len), .type = (uint8_t)type};
    write_sample(g, part, part_len, labels);
    exposition_number(value, &g->text);
    strbuf_add(&g->text, "\n", 1);
}

void exposition_add(struct exposition *e, const char *family, enum sample_type type, const char *help,
                    struct str labels, double value)
{
    add_sample(gathered_of(e, family, type, help), type, "", labels, value);
}

/* A bound is written as OpenMetrics has it in either format, so that its series is the same in both. */
static void label_bound(struct strbuf *labels, double bound)
{
    strbuf_puts(labels, labels->len > 0 ? ",le=\"" : "le=\"");
    exposition_number(bound, labels);
    strbuf_puts(labels, bound == floor(bound) && !isinf(bound) ? ".0\"" : "\"");
}

void exposition_add_histogram(struct exposition *e, const char *family, const char *help, struct str labels,
                              const struct exposition_buckets *b)
{
    struct gathered *g = gathered_of(e, family, SAMPLE_HISTOGRAM, help);
    struct strbuf with_bound = {0};
    for (int i = 0; g->wanted && i <= b->count; i++) {
        strbuf_clear(&with_bound);
        strbuf_str(&with_bound, labels);
        label_bound(&with_bound, i < b->count ? b->bounds[i] : INFINITY);
        add_sample(g, SAMPLE_HISTOGRAM, "_bucket", (struct str){with_bound.p, (int32_t)with_bound.len},
                   (double)(i < b->count ? b->at_most[i] : b->all));
    }
    strbuf_deinit(&with_bound);
    add_sample(g, SAMPLE_HISTOGRAM, "_sum", labels, b->sum);
    add_sample(g, SAMPLE_HISTOGRAM, "_count", labels, (double)b->all);
}

static struct gathered *gathered_by_number(struct exposition *e, struct part *part, const struct family *f)
{
    size_t n = (size_t)f->number, old = part->cap;
    part->slots = xgrow(part->slots, n + 1, &part->cap, sizeof(*part->slots));
    if (part->cap > old)
        memset(part->slots + old, 0, (part->cap - old) * sizeof(*part->slots));
    if (part->slots[n] == NULL)
        part->slots[n] = gathered_of(e, f->name, f->type, f->help);
    return part->slots[n];
}

static void gather_by_rules(struct exposition *e, const struct bean *b)
{
    struct bean_attribute attributes[BEAN_MOST_ATTRIBUTES + 1]; /* and a sum */
    struct sample s;
    int count = -1;
    for (int k = 0; k < e->part_count; k++) {
        struct part *part = &e->parts[k];
        if (!rules_take(part->rules, b))
            continue;
        if (count < 0)
            count = bean_read(b, attributes);
        bool sum = rules_want_sums(part->rules) && bean_read_sum(b, &attributes[count]);
        for (int i = 0; i < count + sum; i++)
            if (rules_apply(part->rules, b, &attributes[i], &e->labels, &s))
                add_sample(gathered_by_number(e, part, s.family), s.family->type, s.part, s.labels, s.value);
    }
}

static bool gather_bean(void *ctx, const struct bean *b)
{
    struct exposition *e = ctx;
    if (!bean_is_own(b))
        gather_by_rules(e, b);
    return e->beside == NULL || e->beside->visit(e->beside->ctx, b);
}

void exposition_gather(struct exposition *e, struct rules *const *rules, int count, struct metrics *m,
                       const struct exposition_beside *beside)
{
    ensure(count <= EXPOSITION_MOST_RULES && e->part_count == 0);
    for (e->part_count = 0; e->part_count < count; e->part_count++)
        e->parts[e->part_count].rules = rules[e->part_count];
    e->beside = beside;
    if (beside != NULL)
        metrics_visit_whole(m, gather_bean, e);
    else
        metrics_visit(m, NULL, gather_bean, e);
    e->beside = NULL;
}

/* ---- What was there already ---- */

/*
 * Family by family when all are there, so that what is looked up lies close together: as they come, one sample after
 * the other is another family's.
 */
struct seen {
    uint64_t *table; /* open addressing; 0 is free */
    size_t cap;
};

/* Nothing is in it then. */
static void seen_begin(struct seen *s, size_t lines)
{
    size_t cap = 1024;
    while (cap < 2 * lines)
        cap *= 2;
    if (cap > s->cap) {
        free(s->table);
        *s = (struct seen){xcalloc(cap, sizeof(*s->table)), cap};
    } else {
        memset(s->table, 0, s->cap * sizeof(*s->table));
    }
}

/* Whether it was not. */
static bool seen_add(struct seen *s, uint64_t hash)
{
    hash = hash != 0 ? hash : 1;
    for (size_t i = hash & (s->cap - 1);; i = (i + 1) & (s->cap - 1)) {
        if (s->table[i] == hash)
            return false;
        if (s->table[i] == 0) {
            s->table[i] = hash;
            return true;
        }
    }
}

static void drop_lines_that_were_there(struct gathered *g)
{
    const char *from = g->text.p, *end = g->text.p + g->text.len;
    char *to = g->text.p;
    size_t kept = 0;
    for (size_t i = 0; i < g->line_count; i++) {
        const char *next = memchr(from, '\n', (size_t)(end - from));
        ensure(next != NULL);
        size_t len = (size_t)(++next - from);
        if (!g->lines[i].was_there) {
            memmove(to, from, len);
            to += len;
            g->lines[kept++] = g->lines[i];
        }
        from = next;
    }
    ensure(from == end);
    g->text.len = (size_t)(to - g->text.p);
    g->line_count = kept;
}

/* Of samples that do not agree on a type, a family has none. */
static void settle_family(struct gathered *g, struct seen *s)
{
    bool any_was_there = false;
    seen_begin(s, g->line_count);
    for (size_t i = 0; i < g->line_count; i++) {
        struct line *l = &g->lines[i];
        l->was_there = !seen_add(s, l->hash);
        any_was_there |= l->was_there;
        if (!l->was_there && l->type != g->type)
            g->type = SAMPLE_UNTYPED;
    }
    if (any_was_there)
        drop_lines_that_were_there(g);
}

/* ---- Writing ---- */

static int by_name(const struct gathered *a, const struct gathered *b)
{
    return strcmp(a->name, b->name);
}

const char *exposition_content_type(enum exposition_format format)
{
    return format == EXPOSITION_OPENMETRICS ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                                            : "text/plain; version=0.0.4; charset=utf-8";
}

/* In OpenMetrics a counter's family has the name without the end that its samples have. */
static int name_length(const struct gathered *g, enum exposition_format format)
{
    static const char end[] = "_total";
    const size_t n = sizeof(end) - 1, len = strlen(g->name);
    bool ends = len > n && strcmp(g->name + len - n, end) == 0;
    return (int)(format == EXPOSITION_OPENMETRICS && g->type == SAMPLE_COUNTER && ends ? len - n : len);
}

static void write_head(const struct gathered *g, enum exposition_format format, struct strbuf *out)
{
    static const char *const types[] = {"untyped", "gauge", "counter", "summary", "histogram"};
    const int len = name_length(g, format);
    const char *type = format == EXPOSITION_OPENMETRICS && g->type == SAMPLE_UNTYPED ? "unknown" : types[g->type];
    strbuf_clear(out);
    strbuf_printf(out, "# HELP %.*s ", len, g->name);
    for (const char *p = g->help != NULL ? g->help : "An attribute of a bean of Kafka's."; *p != '\0'; p++) {
        if (*p == '\n')
            strbuf_puts(out, "\\n");
        else if (*p == '\\')
            strbuf_puts(out, "\\\\");
        else
            strbuf_add(out, p, 1);
    }
    strbuf_printf(out, "\n# TYPE %.*s %s\n", len, g->name, type);
}

bool exposition_write(struct exposition *e, enum exposition_format format,
                      bool (*write)(void *ctx, const char *p, size_t len), void *ctx)
{
    struct strbuf head = {0};
    struct seen seen = {0};
    bool ok = true;
    HASH_SORT(e->families, by_name);
    for (struct gathered *g = e->families; ok && g != NULL; g = g->hh.next) {
        if (g->text.len == 0)
            continue;
        settle_family(g, &seen);
        write_head(g, format, &head);
        ok = write(ctx, head.p, head.len) && write(ctx, g->text.p, g->text.len);
    }
    strbuf_deinit(&head);
    free(seen.table);
    return ok && (format != EXPOSITION_OPENMETRICS || write(ctx, "# EOF\n", 6));
}
