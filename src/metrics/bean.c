#include "metrics/bean.h"

#include <math.h>
#include <utlist.h>

#include "metrics/metrics_internal.h"

/* ---- Names ---- */

/* A table, as each name of each partition passes here whenever somebody looks. */
static bool needs_no_quotes(unsigned char c)
{
    static const bool plain[256] = {
        ['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true, ['_'] = true, ['-'] = true,
        ['%'] = true,         ['.'] = true,         [' '] = true,         ['\t'] = true};
    return plain[c];
}

void bean_quote(struct str value, struct strbuf *out)
{
    bool plain = true;
    for (int32_t i = 0; i < value.len; i++)
        plain &= needs_no_quotes((unsigned char)value.p[i]);
    if (plain) {
        strbuf_str(out, value);
        return;
    }
    strbuf_add(out, "\"", 1);
    for (int32_t i = 0; i < value.len; i++) {
        if (strchr("\"\\*?\n", value.p[i]) != NULL && value.p[i] != '\0')
            strbuf_add(out, "\\", 1);
        strbuf_add(out, value.p[i] == '\n' ? "n" : &value.p[i], 1);
    }
    strbuf_add(out, "\"", 1);
}

void bean_unquote(struct str value, struct strbuf *out)
{
    bool quoted = value.len > 1 && value.p[0] == '"' && value.p[value.len - 1] == '"';
    for (int32_t i = quoted; i < value.len - quoted; i++) {
        char c = value.p[i];
        if (quoted && c == '\\' && i + 1 < value.len - 1)
            c = value.p[++i] == 'n' ? '\n' : value.p[i];
        strbuf_add(out, &c, 1);
    }
}

static void text_key(const struct bean_key *k, bool first, struct strbuf *out)
{
    if (!first)
        strbuf_add(out, ",", 1);
    strbuf_puts(out, k->key);
    strbuf_add(out, "=", 1);
    strbuf_str(out, k->value);
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(((const struct bean_key *)a)->key, ((const struct bean_key *)b)->key);
}

void bean_text(const struct bean *b, bool sorted, struct strbuf *out)
{
    struct bean_key keys[BEAN_MOST_KEYS];
    memcpy(keys, b->keys, sizeof(keys));
    if (sorted)
        qsort(keys, (size_t)b->key_count, sizeof(keys[0]), compare_keys);
    strbuf_puts(out, b->domain);
    strbuf_add(out, ":", 1);
    for (int i = 0; i < b->key_count; i++)
        text_key(&keys[i], i == 0, out);
}

const char *bean_kind_name(enum bean_kind kind)
{
    static const char *const names[] = {"Gauge", "Meter", "Histogram", "Timer", "KafkaMbean", "AppInfo"};
    return names[kind];
}

/* ---- Patterns ---- */

static bool is_wild(struct str s)
{
    return s.len > 0 && (memchr(s.p, '*', (size_t)s.len) != NULL || memchr(s.p, '?', (size_t)s.len) != NULL);
}

static bool is_quoted(struct str s)
{
    return s.len >= 2 && s.p[0] == '"';
}

/* In quotes, what is behind a backslash stands for itself. */
static bool is_wild_value(struct str s)
{
    if (!is_quoted(s))
        return is_wild(s);
    for (int32_t i = 0; i < s.len; i++) {
        if (s.p[i] == '\\')
            i++;
        else if (s.p[i] == '*' || s.p[i] == '?')
            return true;
    }
    return false;
}

/* How many characters the value that begins there has; -1: its quotes do not end. */
static int32_t value_length(const char *p, int32_t left)
{
    int32_t n = 0;
    if (left == 0 || p[0] != '"') {
        while (n < left && p[n] != ',')
            n++;
        return n;
    }
    for (n = 1; n < left && p[n] != '"'; n++)
        n += p[n] == '\\';
    return n < left ? n + 1 : -1;
}

static const char *parse_key(struct bean_pattern *out, const char **at, const char *end)
{
    const char *equals = memchr(*at, '=', (size_t)(end - *at));
    if (equals == NULL || equals == *at)
        return "a key without a value";
    if (out->key_count == BEAN_MOST_KEYS)
        return "too many keys";
    int32_t n = value_length(equals + 1, (int32_t)(end - equals - 1));
    if (n < 0)
        return "quotes that do not end";
    struct str value = {equals + 1, n};
    if (n == 0 || (value.p + n < end && value.p[n] != ','))
        return "a value that is none";
    out->keys[out->key_count].key = (struct str){*at, (int32_t)(equals - *at)};
    out->keys[out->key_count++].value = value;
    out->exact &= !is_wild_value(value);
    *at = value.p + n;
    return NULL;
}

static const char *parse_keys(struct bean_pattern *out, const char *at, const char *end)
{
    const char *why = at == end ? "no keys" : NULL;
    while (why == NULL && at < end) {
        if (*at == '*' && (at + 1 == end || at[1] == ',')) {
            why = out->more_keys ? "two *" : NULL;
            out->more_keys = true;
            at++;
        } else {
            why = parse_key(out, &at, end);
        }
        if (why == NULL && at < end && ++at == end)
            why = "a comma at the end";
    }
    return why;
}

bool bean_pattern_parse(struct str text, struct bean_pattern *out, const char **why)
{
    const char *colon = text.len > 0 ? memchr(text.p, ':', (size_t)text.len) : NULL;
    *out = (struct bean_pattern){.exact = true};
    if (colon == NULL) {
        *why = "no domain";
        return false;
    }
    out->domain = (struct str){text.p, (int32_t)(colon - text.p)};
    *why = parse_keys(out, colon + 1, text.p + text.len);
    out->exact &= !is_wild(out->domain) && !out->more_keys;
    return *why == NULL;
}

static bool stands_for_itself(const char *p, const char *end, bool quoted)
{
    return quoted && *p == '\\' && p + 1 < end;
}

/* Without recursion: behind the last * that was met, as much is skipped as it takes. */
static bool glob_matches(struct str pattern, struct str text, bool quoted)
{
    const char *p = pattern.p, *p_end = p + pattern.len, *t = text.p, *t_end = t + text.len;
    const char *star = NULL, *resume = NULL;
    while (t < t_end) {
        if (p < p_end && *p == '*') {
            star = p++;
            resume = t;
        } else if (p < p_end && stands_for_itself(p, p_end, quoted) && t + 1 < t_end && p[0] == t[0] && p[1] == t[1]) {
            p += 2;
            t += 2;
        } else if (p < p_end && !stands_for_itself(p, p_end, quoted) && (*p == '?' || *p == *t)) {
            p++;
            t++;
        } else if (star != NULL) {
            p = star + 1;
            t = ++resume;
        } else {
            return false;
        }
    }
    while (p < p_end && *p == '*')
        p++;
    return p == p_end;
}

static const struct bean_key *bean_find_key(const struct bean *b, struct str key)
{
    for (int i = 0; i < b->key_count; i++)
        if (str_is(key, b->keys[i].key))
            return &b->keys[i];
    return NULL;
}

static bool keys_match(const struct bean_pattern *p, const struct bean *b)
{
    if (p->key_count != b->key_count && !(p->more_keys && p->key_count < b->key_count))
        return false;
    for (int i = 0; i < p->key_count; i++) {
        const struct bean_key *k = bean_find_key(b, p->keys[i].key);
        if (k == NULL || !glob_matches(p->keys[i].value, k->value, is_quoted(p->keys[i].value)))
            return false;
    }
    return true;
}

bool bean_pattern_matches(const struct bean_pattern *p, const struct bean *b)
{
    return glob_matches(p->domain, str_of(b->domain), false) && keys_match(p, b);
}

static struct str unquote(struct str s, char *room, size_t size)
{
    size_t n = 0;
    for (int32_t i = 1; i < s.len - 1 && n < size; i++) {
        bool escape = s.p[i] == '\\' && i + 1 < s.len - 1;
        if (escape)
            i++;
        room[n++] = escape && s.p[i] == 'n' ? '\n' : s.p[i];
    }
    return (struct str){room, (int32_t)n};
}

struct str bean_pattern_value(const struct bean_pattern *p, const char *key, char *room, size_t size)
{
    for (int i = 0; i < p->key_count; i++) {
        struct str value = p->keys[i].value;
        if (str_is(p->keys[i].key, key) && !is_wild_value(value))
            return is_quoted(value) ? unquote(value, room, size) : value;
    }
    return STR_NULL;
}

struct str bean_key_text(const struct bean *b, const char *key)
{
    for (int i = 0; i < b->key_count; i++)
        if (strcmp(b->keys[i].key, key) == 0)
            return b->keys[i].value;
    return STR_NULL;
}

struct str bean_key_value(const struct bean *b, const char *key, char *room, size_t size)
{
    struct str text = bean_key_text(b, key);
    return is_quoted(text) ? unquote(text, room, size) : text;
}

double bean_value_number(const struct bean_value *v)
{
    switch (v->kind) {
    case VALUE_LONG:
        return (double)v->number;
    case VALUE_DOUBLE:
        return v->real;
    case VALUE_BOOL:
        return v->truth;
    case VALUE_TEXT:
        break;
    }
    return NAN;
}

bool bean_is_own(const struct bean *b)
{
    return text_eq(b->domain, BEAN_OWN_DOMAIN);
}

/* ---- Visits ---- */

struct bean_walk {
    const struct bean_pattern *only; /* NULL: see `wants` */
    bean_wants_fn wants;             /* NULL: all */
    bool own;                        /* those of our own domain, too */
    struct bean_budget *budget;      /* NULL: it has no end */
    bean_visit_fn visit;
    void *ctx;
    bool over;
    struct bean_counts counts;
    struct strbuf texts; /* of one bean's keys */
};

bool walk_wants(const struct bean_walk *w, const char *domain, const char *type)
{
    if (w->wants != NULL)
        return w->wants(w->ctx, domain, type);
    if (w->own)
        return true;
    if (text_eq(domain, BEAN_OWN_DOMAIN) && (w->only == NULL || !str_is(w->only->domain, BEAN_OWN_DOMAIN)))
        return false;
    if (w->only == NULL)
        return true;
    if (!glob_matches(w->only->domain, str_of(domain), false))
        return false;
    for (int i = 0; type != NULL && i < w->only->key_count; i++)
        if (str_is(w->only->keys[i].key, "type"))
            return glob_matches(w->only->keys[i].value, str_of(type), false);
    return true;
}

const struct bean_pattern *walk_pattern(const struct bean_walk *w)
{
    return w->only;
}

bool walk_is_over(const struct bean_walk *w)
{
    return w->over;
}

static void bean_add_key(struct bean *b, struct bean_walk *w, const char *key, struct str value)
{
    size_t at = w->texts.len;
    bean_quote(value, &w->texts);
    ensure(b->key_count < BEAN_MOST_KEYS);
    /* Where it lies is known when all are there. */
    b->keys[b->key_count++] = (struct bean_key){key, {NULL, (int32_t)(w->texts.len - at)}};
}

static void bean_name_keys(struct bean *b, struct bean_walk *w, const struct bean_name *name)
{
    strbuf_clear(&w->texts);
    bean_add_key(b, w, "type", str_of(name->type));
    if (name->name != NULL)
        bean_add_key(b, w, "name", str_of(name->name));
    for (size_t i = 0; i < ARRAY_LEN(name->tags) && name->tags[i].key != NULL; i++)
        bean_add_key(b, w, name->tags[i].key, name->tags[i].value);
    const char *at = w->texts.p;
    for (int i = 0; i < b->key_count; at += b->keys[i++].value.len)
        b->keys[i].value.p = at;
    ensure(at == w->texts.p + w->texts.len);
}

static void walk_spend(struct bean_walk *w)
{
    enum { ASK_EACH = 1024 };
    struct bean_budget *b = w->budget;
    if (b == NULL || w->over)
        return;
    b->over |= --b->left < 0 || (b->left % ASK_EACH == 0 && !b->goes_on(b->ctx));
    w->over = b->over;
}

/* Those that everybody sees. */
static void walk_count(struct bean_walk *w, const struct bean *b)
{
    if (bean_is_own(b) || b->kind == BEAN_APP_INFO)
        return;
    if (b->kind == BEAN_CLIENT)
        w->counts.of_clients += ((const struct bean_attributes *)b->of)->count;
    else
        w->counts.brokers++;
}

static bool yield_bean(struct bean_walk *w, const struct bean *b)
{
    walk_count(w, b);
    if (w->only == NULL || bean_pattern_matches(w->only, b))
        w->over = !w->visit(w->ctx, b) || (w->only != NULL && w->only->exact);
    return !w->over;
}

static bool yield(struct bean_walk *w, int64_t id, enum bean_kind kind, const struct bean_name *name, const void *of)
{
    walk_spend(w);
    if (w->over || !walk_wants(w, name->domain, name->type))
        return !w->over;
    struct bean b = {.id = id, .kind = kind, .domain = name->domain, .of = of};
    bean_name_keys(&b, w, name);
    return yield_bean(w, &b);
}

bool yield_gauge(struct bean_walk *w, int64_t id, const struct bean_name *name, struct bean_value value)
{
    return yield(w, id, BEAN_GAUGE, name, &value);
}

bool yield_gauges(struct bean_walk *w, int64_t id, const struct bean_name *name, const struct named_number *gauges,
                  int count)
{
    struct bean b = {.kind = BEAN_GAUGE, .domain = name->domain};
    struct bean_name first = *name;
    enum { NAME_KEY = 1 }; /* behind the type */
    ensure(count > 0 && name->name == NULL);
    if (w->over || !walk_wants(w, name->domain, name->type))
        return !w->over;
    first.name = gauges[0].name;
    bean_name_keys(&b, w, &first);
    for (int i = 0; i < count; i++) {
        struct bean_value value = bean_long(gauges[i].value);
        walk_spend(w);
        if (w->over)
            break;
        b.id = id + i;
        b.keys[NAME_KEY].value = str_of(gauges[i].name);
        b.of = &value;
        yield_bean(w, &b);
    }
    return !w->over;
}

bool yield_meter(struct bean_walk *w, int64_t id, const struct bean_name *name, const struct meter *m)
{
    return yield(w, id, BEAN_METER, name, m);
}

bool yield_histogram(struct bean_walk *w, int64_t id, const struct bean_name *name, const struct histogram *h)
{
    return yield(w, id, BEAN_HISTOGRAM, name, h);
}

bool yield_timing(struct bean_walk *w, int64_t id, const struct bean_name *name, const struct timing *t)
{
    return yield(w, id, BEAN_TIMER, name, t);
}

bool yield_client(struct bean_walk *w, int64_t id, const struct bean_name *name, const struct bean_attributes *a)
{
    ensure(a->count <= BEAN_MOST_ATTRIBUTES);
    return yield(w, id, BEAN_CLIENT, name, a);
}

bool yield_app_info(struct bean_walk *w, int64_t id, const struct bean_name *name, const struct bean_attributes *a)
{
    ensure(a->count <= BEAN_MOST_ATTRIBUTES);
    return yield(w, id, BEAN_APP_INFO, name, a);
}

int bean_read(const struct bean *b, struct bean_attribute out[BEAN_MOST_ATTRIBUTES])
{
    const struct bean_attributes *a = b->of;
    switch (b->kind) {
    case BEAN_GAUGE:
        out[0] = (struct bean_attribute){"Value", "java.lang.Object", *(const struct bean_value *)b->of};
        return 1;
    case BEAN_METER:
        return meter_attributes(b->of, out);
    case BEAN_HISTOGRAM:
        return histogram_attributes(b->of, out);
    case BEAN_TIMER:
        return timing_attributes(b->of, out);
    case BEAN_CLIENT:
    case BEAN_APP_INFO:
        memcpy(out, a->items, (size_t)a->count * sizeof(*out));
        return a->count;
    }
    unreachable("a kind of bean that there is not");
}

const struct histogram *bean_histogram(const struct bean *b)
{
    if (b->kind == BEAN_TIMER)
        return &((const struct timing *)b->of)->times;
    return b->kind == BEAN_HISTOGRAM ? b->of : NULL;
}

bool bean_read_sum(const struct bean *b, struct bean_attribute *out)
{
    const struct histogram *h = bean_histogram(b);
    if (h == NULL)
        return false;
    *out = (struct bean_attribute){"Sum", "double", bean_double(histogram_told_sum(h))};
    return true;
}

static struct bean_source **visit_begin(struct metrics *m, size_t *count)
{
    size_t n = 0;
    lock_take(&m->lock);
    struct bean_source **sources = xcalloc(MAX(m->source_count, (size_t)1), sizeof(struct bean_source *)), *s;
    DL_FOREACH (m->sources, s)
        sources[n++] = s;
    m->visits++;
    lock_release(&m->lock);
    *count = n;
    return sources;
}

static void visit_end(struct metrics *m, const struct bean_walk *w)
{
    lock_take(&m->lock);
    if (w->only == NULL && w->wants == NULL && !w->over)
        m->counts = w->counts;
    ensure(m->visits > 0);
    if (--m->visits == 0)
        pthread_cond_broadcast(&m->visited);
    lock_release(&m->lock);
}

static void visit_sources(struct metrics *m, struct bean_walk *w)
{
    size_t count;
    struct bean_source **sources = visit_begin(m, &count);
    for (size_t i = 0; i < count && !w->over; i++)
        sources[i]->visit(sources[i]->ctx, w);
    visit_end(m, w);
    free(sources);
    strbuf_deinit(&w->texts);
}

void metrics_visit(struct metrics *m, const struct bean_pattern *only, bean_visit_fn visit, void *ctx)
{
    visit_sources(m, &(struct bean_walk){.only = only, .visit = visit, .ctx = ctx});
}

void metrics_visit_whole(struct metrics *m, bean_visit_fn visit, void *ctx)
{
    visit_sources(m, &(struct bean_walk){.own = true, .visit = visit, .ctx = ctx});
}

void metrics_visit_within(struct metrics *m, const struct bean_pattern *only, struct bean_budget *budget,
                          bean_visit_fn visit, void *ctx)
{
    if (!budget->over)
        visit_sources(m, &(struct bean_walk){.only = only, .budget = budget, .visit = visit, .ctx = ctx});
}

void metrics_visit_wanted(struct metrics *m, bean_wants_fn wants, bean_visit_fn visit, void *ctx)
{
    visit_sources(m, &(struct bean_walk){.wants = wants, .visit = visit, .ctx = ctx});
}

struct bean_counts metrics_bean_counts(struct metrics *m)
{
    lock_take(&m->lock);
    struct bean_counts counts = m->counts;
    lock_release(&m->lock);
    return counts;
}

/* ---- The registry ---- */

struct metrics *metrics_new(int64_t (*now_us)(void))
{
    struct metrics *m = xcalloc(1, sizeof(*m));
    m->now_us = now_us;
    atomic_init(&m->next_id, 1);
    lock_init(&m->lock, RANK_METRICS);
    pthread_cond_init(&m->visited, NULL);
    return m;
}

void metrics_free(struct metrics *m)
{
    if (m == NULL)
        return;
    ensure(m->sources == NULL && m->meters == NULL && m->histograms == NULL && m->windows == NULL && m->visits == 0);
    pthread_cond_destroy(&m->visited);
    lock_deinit(&m->lock);
    free(m);
}

int64_t metrics_ids(struct metrics *m, int count)
{
    ensure(count >= 0);
    return atomic_fetch_add_explicit(&m->next_id, count, memory_order_relaxed);
}

void metrics_add_source(struct metrics *m, struct bean_source *s)
{
    ensure(s->visit != NULL && s->next == NULL); /* it is in no registry yet */
    lock_take(&m->lock);
    DL_APPEND(m->sources, s);
    m->source_count++;

    lock_release(&m->lock);
}

void metrics_remove_source(struct metrics *m, struct bean_source *s)
{
    lock_take(&m->lock);
    DL_DELETE(m->sources, s);
    m->source_count--;
    ensure((m->sources == NULL) == (m->source_count == 0));
    while (m->visits > 0)
        lock_wait(&m->lock, &m->visited);
    lock_release(&m->lock);
}

void metrics_tick(struct metrics *m)
{
    int64_t now_us = m->now_us();
    struct meter *meter;
    struct histogram *histogram;
    struct window *window;
    lock_take(&m->lock);
    DL_FOREACH (m->meters, meter)
        meter_tick(meter, now_us);
    DL_FOREACH (m->histograms, histogram)
        histogram_tick(histogram, now_us);
    DL_FOREACH (m->windows, window)
        window_tick(window, now_us);
    lock_release(&m->lock);
}
