#include "exporter/native.h"

#include <ctype.h>
#include <stdio.h>

#include "exporter/labels.h"
#include "exporter/native_internal.h"
#include "metrics/histogram.h"

/* Upper ends of histograms' buckets, each about two and a half times the one before. */
static const int64_t bounds_us[] = {500,    1000,   2500,   5000,    10000,   25000,   50000,
                                    100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000};

enum { MOST_ROWS_OF_A_TYPE = 40, KINDS_KEPT = 4 };

/* Which rows are of beans of one domain and type. */
struct kind_rows {
    const char *domain;
    char type[64];
    const struct native_row *rows[MOST_ROWS_OF_A_TYPE];
    int count;
};

/* What goes on in one gathering. */
struct native {
    bool partitions;
    struct exposition *x;
    struct strbuf labels, plain;
    /* Beans of a kind come one after the other, and those of partitions of a few kinds in turns. */
    struct kind_rows kinds[KINDS_KEPT];
    int oldest;
    double bounds[ARRAY_LEN(bounds_us)];
};

/* ---- Labels ---- */

/* networkProcessor and client-id are loop and client_id. */
static void label_name(const char *key, char *out, size_t size)
{
    static const char *const others[][2] = {{"networkProcessor", "loop"},
                                            {"processor", "loop"},
                                            {"delayedOperation", "operation"},
                                            {"logDirectory", "directory"},
                                            {"dir", "directory"},
                                            {"fetcherType", "fetcher"},
                                            {"clientSoftwareName", "software"},
                                            {"clientSoftwareVersion", "version"}};
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (strcmp(key, others[i][0]) == 0)
            key = others[i][1];
    for (; *key != '\0' && n + 2 < size; key++) {
        if (isupper((unsigned char)*key))
            out[n++] = '_';
        out[n++] = *key == '-' ? '_' : (char)tolower((unsigned char)*key);
    }
    out[n] = '\0';
}

static void label_keys(struct native *n, const struct native_row *row, const struct bean *b)
{
    strbuf_clear(&n->labels);
    if (row->label != NULL)
        strbuf_puts(&n->labels, row->label);
    for (int i = 1; i < b->key_count; i++) {
        char name[40];
        if (strcmp(b->keys[i].key, "name") == 0)
            continue;
        label_name(b->keys[i].key, name, sizeof(name));
        strbuf_clear(&n->plain);
        bean_unquote(b->keys[i].value, &n->plain);
        label_add(&n->labels, name, (struct str){n->plain.p, (int32_t)n->plain.len});
    }
}

/* ---- Samples ---- */

static double in_number(const struct bean_value *v)
{
    return v->kind == VALUE_TEXT ? str_is(v->text, "CONNECTED") : bean_value_number(v);
}

static void tell_value(struct native *n, const struct native_row *row, const struct bean *b, double value)
{
    bool grows = row->kind == NATIVE_COUNT || row->kind == NATIVE_SUM;
    label_keys(n, row, b);
    exposition_add(n->x, row->family, grows ? SAMPLE_COUNTER : SAMPLE_GAUGE, row->help,
                   (struct str){n->labels.p, (int32_t)n->labels.len}, row->factor != 0 ? value * row->factor : value);
}

/*
 * Of requests that have never come there is the total alone, so that a rate begins with 0, and nobody has to read a
 * thousand zeroes.
 */
static void tell_times(struct native *n, const struct native_row *row, const struct bean *b)
{
    const struct histogram *h = bean_histogram(b);
    int64_t at_most[ARRAY_LEN(bounds_us) + 1], bounds[ARRAY_LEN(bounds_us) + 1];
    const int count = ARRAY_LEN(bounds_us);
    if (h == NULL)
        return;
    memcpy(bounds, bounds_us, sizeof(bounds_us));
    bounds[count] = INT64_MAX;
    histogram_cumulative(h, bounds, count + 1, at_most);
    if (at_most[count] == 0 && row->label != NULL && strcmp(row->label, "phase=\"total\"") != 0)
        return;
    label_keys(n, row, b);
    exposition_add_histogram(n->x, row->family, row->help, (struct str){n->labels.p, (int32_t)n->labels.len},
                             &(struct exposition_buckets){.bounds = n->bounds,
                                                          .at_most = at_most,
                                                          .count = count,
                                                          .all = at_most[count],
                                                          .sum = (double)histogram_sum(h) / 1e6});
}

static void tell_attribute(struct native *n, const struct native_row *row, const struct bean *b, const char *attribute)
{
    struct bean_attribute attributes[BEAN_MOST_ATTRIBUTES];
    int count = bean_read(b, attributes);
    for (int i = 0; i < count; i++)
        if (strcmp(attributes[i].name, attribute) == 0)
            tell_value(n, row, b, in_number(&attributes[i].value));
}

static void tell_row(struct native *n, const struct native_row *row, const struct bean *b)
{
    switch (row->kind) {
    case NATIVE_TIMES:
        tell_times(n, row, b);
        return;
    case NATIVE_SUM:
        tell_value(n, row, b, (double)histogram_sum(bean_histogram(b)));
        return;
    case NATIVE_INFO:
        tell_value(n, row, b, 1);
        return;
    case NATIVE_GAUGE:
    case NATIVE_COUNT:
    case NATIVE_STATE:
        tell_attribute(n, row, b, b->kind == BEAN_CLIENT ? row->name : b->kind == BEAN_METER ? "Count" : "Value");
        return;
    }
    unreachable("a kind of family that there is not");
}

/* ---- Beans ---- */

static bool is_of(const struct native_row *row, const struct bean *b)
{
    switch (row->of) {
    case OF_TOPIC:
        return bean_key_text(b, "topic").p != NULL;
    case OF_BROKER:
        return bean_key_text(b, "topic").p == NULL;
    case OF_CLIENT:
        return b->key_count > 1;
    case OF_SOFTWARE:
        return bean_key_text(b, "clientSoftwareName").p != NULL;
    case OF_CIPHER:
        return bean_key_text(b, "cipher").p != NULL;
    case OF_ALL:
    case OF_PARTITION:
        return true;
    }
    unreachable("what a family is not of");
}

static bool wants_row(const struct native *n, const struct native_row *row, const char *domain)
{
    return (row->of != OF_PARTITION || n->partitions) && strcmp(row->domain, domain) == 0;
}

static bool native_wants(void *ctx, const char *domain, const char *type)
{
    for (size_t i = 0; i < native_row_count; i++)
        if (wants_row(ctx, &native_rows[i], domain) && (type == NULL || strcmp(native_rows[i].type, type) == 0))
            return true;
    return false;
}

/* Fetches are told of by who fetches; what is told of all of them as well would count them twice. */
static bool is_counted_elsewhere(const struct native_row *row, const struct bean *b)
{
    return strcmp(row->type, "RequestMetrics") == 0 && strcmp(row->name, "ErrorsPerSec") != 0 &&
           str_is(bean_key_text(b, "request"), "Fetch");
}

static const struct kind_rows *find_rows(struct native *n, const char *domain, struct str type)
{
    for (int i = 0; i < KINDS_KEPT; i++)
        if (n->kinds[i].domain != NULL && text_eq(n->kinds[i].domain, domain) && str_is(type, n->kinds[i].type))
            return &n->kinds[i];
    struct kind_rows *k = &n->kinds[n->oldest];
    n->oldest = (n->oldest + 1) % KINDS_KEPT;
    k->domain = domain;
    snprintf(k->type, sizeof(k->type), "%.*s", STR_ARGS(type));
    k->count = 0;
    for (size_t i = 0; i < native_row_count; i++)
        if (wants_row(n, &native_rows[i], domain) && str_is(type, native_rows[i].type)) {
            ensure(k->count < MOST_ROWS_OF_A_TYPE);
            k->rows[k->count++] = &native_rows[i];
        }
    return k;
}

static bool native_visit(void *ctx, const struct bean *b)
{
    struct native *n = ctx;
    const struct kind_rows *of = find_rows(n, b->domain, b->keys[0].value);
    if (of->count == 0)
        return true;
    struct str name = bean_key_text(b, "name");
    for (int i = 0; i < of->count; i++) {
        const struct native_row *row = of->rows[i];
        if ((name.p == NULL || str_is(name, row->name)) && is_of(row, b) && !is_counted_elsewhere(row, b))
            tell_row(n, row, b);
    }
    return true;
}

static struct native native_begin(bool partitions, struct exposition *x)
{
    struct native n = {.partitions = partitions, .x = x};
    for (size_t i = 0; i < ARRAY_LEN(bounds_us); i++)
        n.bounds[i] = (double)bounds_us[i] / 1e6;
    return n;
}

static void native_end(struct native *n)
{
    exposition_add(n->x, "barnabas_build_info", SAMPLE_GAUGE, "Which version this is.",
                   STR_LIT("version=\"" BARNABAS_VERSION "\""), 1);
    strbuf_deinit(&n->labels);
    strbuf_deinit(&n->plain);
}

void native_gather(struct metrics *m, bool partitions, struct exposition *x)
{
    struct native n = native_begin(partitions, x);
    metrics_visit_wanted(m, native_wants, native_visit, &n);
    native_end(&n);
}

void native_gather_with(struct metrics *m, bool partitions, struct rules *const *rules, int count, struct exposition *x)
{
    struct native n = native_begin(partitions, x);
    exposition_gather(x, rules, count, m, &(struct exposition_beside){native_visit, &n});
    native_end(&n);
}
