#include "metrics/histogram.h"

#include <math.h>
#include <utlist.h>

#include "metrics/metrics_internal.h"

static const int64_t window_us = 150000000;
static const int64_t largest = (INT64_C(1) << (HISTOGRAM_ROWS + 3)) - 1; /* what is more counts as that */

/* Buckets by power of two, made when one of them is needed. */
struct histogram_rows {
    int64_t *rows[HISTOGRAM_ROWS];
};

/* What one thread has recorded, which alone writes it. Zeroes, of which there are many, are only counted. */
struct share {
    _Atomic int64_t zeroes, count, sum, told_sum, least, most; /* the last three in the unit in which they are told */
    _Atomic double squares;
    _Atomic(_Atomic int64_t *) rows[HISTOGRAM_ROWS];
};

/* ---- Buckets ---- */

/*
 * Each row is a power of two in sixteen parts. 1000 lies between 2^9 and 2^10: row 9 - 3, and there in column 15, of
 * 992 to 1023, as each part is 32 wide. Row 0 has the numbers below 16 themselves.
 */
struct bucket {
    int row, column;
};

static struct bucket bucket_of(int64_t value)
{
    if (value < HISTOGRAM_SUB_BUCKETS)
        return (struct bucket){0, (int)value};
    int power = 63 - __builtin_clzll((uint64_t)value);
    return (struct bucket){power - 3, (int)(value >> (power - 4)) & (HISTOGRAM_SUB_BUCKETS - 1)};
}

static int64_t bucket_least(struct bucket b)
{
    return b.row == 0 ? b.column : (int64_t)(HISTOGRAM_SUB_BUCKETS + b.column) << (b.row - 1);
}

static int64_t bucket_most(struct bucket b)
{
    return b.row == 0 ? b.column : bucket_least(b) + (INT64_C(1) << (b.row - 1)) - 1;
}

static void rows_add(struct histogram_rows *r, struct bucket b, int64_t n)
{
    if (r->rows[b.row] == NULL)
        r->rows[b.row] = xcalloc(HISTOGRAM_SUB_BUCKETS, sizeof(int64_t));
    r->rows[b.row][b.column] += n;
}

static int64_t rows_at(const struct histogram_rows *r, struct bucket b)
{
    return r != NULL && r->rows[b.row] != NULL ? r->rows[b.row][b.column] : 0;
}

static void rows_free(struct histogram_rows *r)
{
    for (int i = 0; r != NULL && i < HISTOGRAM_ROWS; i++)
        free(r->rows[i]);
    free(r);
}

/* ---- Recording ---- */

static int64_t told(enum histogram_unit unit, int64_t value)
{
    return unit == HISTOGRAM_WHOLE_MS ? (value + 500) / 1000 : value;
}

static struct share *share_make(_Atomic int64_t *cell)
{
    struct share *s = xcalloc(1, sizeof(*s));
    atomic_init(&s->least, INT64_MAX);
    atomic_store_explicit(cell, (int64_t)(uintptr_t)s, memory_order_release);
    return s;
}

static struct share *share_mine(const struct histogram *h)
{
    _Atomic int64_t *cell = cell_mine(h->cell);
    struct share *s = (struct share *)(uintptr_t)atomic_load_explicit(cell, memory_order_relaxed);
    return s != NULL ? s : share_make(cell);
}

static _Atomic int64_t *share_bucket(struct share *s, struct bucket b)
{
    ensure(b.row >= 0 && b.row < HISTOGRAM_ROWS);
    _Atomic int64_t *row = atomic_load_explicit(&s->rows[b.row], memory_order_relaxed);
    if (row == NULL) {
        row = xcalloc(HISTOGRAM_SUB_BUCKETS, sizeof(*row));
        atomic_store_explicit(&s->rows[b.row], row, memory_order_release);
    }
    return &row[b.column];
}

void histogram_record(const struct histogram *h, int64_t value)
{
    if (h->cell == 0)
        return;
    struct share *s = share_mine(h);
    if (value <= 0) {
        cell_add(&s->zeroes, 1);
        return;
    }
    value = MIN(value, largest);
    int64_t as_told = told(h->unit, value);
    double squares = atomic_load_explicit(&s->squares, memory_order_relaxed);
    cell_add(&s->sum, value);
    cell_add(&s->told_sum, as_told);
    atomic_store_explicit(&s->squares, squares + (double)as_told * (double)as_told, memory_order_relaxed);
    if (as_told < atomic_load_explicit(&s->least, memory_order_relaxed))
        atomic_store_explicit(&s->least, as_told, memory_order_relaxed);
    if (as_told > atomic_load_explicit(&s->most, memory_order_relaxed))
        atomic_store_explicit(&s->most, as_told, memory_order_relaxed);
    cell_add(share_bucket(s, bucket_of(value)), 1);
    /* Last: who sees that there is a value sees what it is, above all the first. */
    int64_t count = atomic_load_explicit(&s->count, memory_order_relaxed);
    atomic_store_explicit(&s->count, count + 1, memory_order_release);
}

/* ---- All threads together ---- */

struct total {
    int64_t count, sum, told_sum, least, most;
    double squares;
};

static void total_add(void *ctx, int64_t value)
{
    struct total *t = ctx;
    struct share *s = (struct share *)(uintptr_t)value;
    int64_t count = atomic_load_explicit(&s->count, memory_order_acquire);
    int64_t zeroes = atomic_load_explicit(&s->zeroes, memory_order_relaxed);
    t->count += count + zeroes;
    t->sum += atomic_load_explicit(&s->sum, memory_order_relaxed);
    t->told_sum += atomic_load_explicit(&s->told_sum, memory_order_relaxed);
    t->squares += atomic_load_explicit(&s->squares, memory_order_relaxed);
    t->least = MIN(t->least, zeroes > 0 ? 0 : atomic_load_explicit(&s->least, memory_order_relaxed));
    t->most = MAX(t->most, atomic_load_explicit(&s->most, memory_order_relaxed));
}

/* Calls `see` with what each thread has of it. */
static void shares_each(const struct histogram *h, void (*see)(void *ctx, int64_t value), void *ctx)
{
    const struct histogram *const own[] = {h, NULL}, *const *from = h->parts[0] != NULL ? h->parts : own;
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        if (from[i] != NULL && from[i]->cell != 0)
            cells_each(from[i]->cell, see, ctx);
}

static struct total histogram_total(const struct histogram *h)
{
    struct total t = {.least = INT64_MAX};
    shares_each(h, total_add, &t);
    return t;
}

static void rows_add_share(void *ctx, int64_t value)
{
    struct share *s = (struct share *)(uintptr_t)value;
    for (int i = 0; i < HISTOGRAM_ROWS; i++) {
        _Atomic int64_t *row = atomic_load_explicit(&s->rows[i], memory_order_acquire);
        for (int k = 0; row != NULL && k < HISTOGRAM_SUB_BUCKETS; k++)
            rows_add(ctx, (struct bucket){i, k}, atomic_load_explicit(&row[k], memory_order_relaxed));
    }
    rows_add(ctx, (struct bucket){0, 0}, atomic_load_explicit(&s->zeroes, memory_order_relaxed));
}

static struct histogram_rows *histogram_rows(const struct histogram *h)
{
    struct histogram_rows *r = xcalloc(1, sizeof(*r));
    shares_each(h, rows_add_share, r);
    return r;
}

/* ---- Windows ---- */

void histogram_tick(struct histogram *h, int64_t now_us)
{
    ensure(lock_is_held(&h->metrics->lock));
    if (now_us < h->due_us)
        return;
    h->due_us = now_us + window_us;
    int64_t count = histogram_total(h).count;
    ensure(count >= h->windowed); /* a thread that ends leaves what it has counted */
    if (count == h->windowed)
        return; /* what came last is still to be seen */
    h->windowed = count;
    rows_free(h->older);
    h->older = h->last;
    h->last = histogram_rows(h);
}

/* What came since the window before the last one began; and how much that is. */
static struct histogram_rows *histogram_window(const struct histogram *h, int64_t *count)
{
    struct histogram_rows *r = histogram_rows(h);
    *count = 0;
    lock_take(&h->metrics->lock);
    for (int i = 0; i < HISTOGRAM_ROWS; i++)
        for (int k = 0; r->rows[i] != NULL && k < HISTOGRAM_SUB_BUCKETS; k++) {
            r->rows[i][k] = MAX(r->rows[i][k] - rows_at(h->older, (struct bucket){i, k}), INT64_C(0));
            *count += r->rows[i][k];
        }
    lock_release(&h->metrics->lock);
    return r;
}

/* ---- Reading ---- */

/* The value at that place of all in order, from 1 on, as recorded. */
static int64_t value_at(const struct histogram_rows *r, int64_t place)
{
    int64_t seen = 0;
    struct bucket last = {0, 0};
    for (int i = 0; i < HISTOGRAM_ROWS && seen < place; i++)
        for (int k = 0; r->rows[i] != NULL && k < HISTOGRAM_SUB_BUCKETS && seen < place; k++) {
            seen += r->rows[i][k];
            last = r->rows[i][k] > 0 ? (struct bucket){i, k} : last;
        }
    return (bucket_least(last) + bucket_most(last)) / 2;
}

/* Nothing is less than the least, whatever bucket it is in. */
static double told_at(const struct histogram *h, const struct histogram_rows *r, int64_t place, const struct total *t)
{
    int64_t value = told(h->unit, value_at(r, place));
    return (double)MAX(MIN(value, t->most), t->least);
}

/* Between the two values that p (n + 1) falls between. */
static double place_between(const struct histogram *h, const struct histogram_rows *r, int64_t n, double p,
                            const struct total *t)
{
    double place = p * (double)(n + 1);
    if (place < 1)
        return told_at(h, r, 1, t);
    if (place >= (double)n)
        return told_at(h, r, n, t);
    double low = told_at(h, r, (int64_t)place, t), high = told_at(h, r, (int64_t)place + 1, t);
    return low + (place - floor(place)) * (high - low);
}

static double deviation(const struct total *t)
{
    double n = (double)t->count, sum = (double)t->told_sum;
    return t->count > 1 ? sqrt(fmax(0, (t->squares - sum * sum / n) / (n - 1))) : 0;
}

static void read_percentiles(const struct histogram *h, const struct total *t, double *out)
{
    static const double parts[] = {0.5, 0.75, 0.95, 0.98, 0.99, 0.999};
    int64_t n;
    struct histogram_rows *r = histogram_window(h, &n);
    for (int i = 0; n > 0 && i < HISTOGRAM_PERCENTILES; i++)
        out[i] = place_between(h, r, n, parts[i], t);
    rows_free(r);
}

static double told_unit(const struct histogram *h)
{
    return h->unit == HISTOGRAM_MS ? 1e-3 : 1;
}

void histogram_read(const struct histogram *h, struct histogram_summary *out)
{
    struct total t = histogram_total(h);
    *out = (struct histogram_summary){.count = t.count};
    if (t.count == 0)
        return;
    double unit = told_unit(h);
    out->min = (double)t.least * unit;
    out->max = (double)t.most * unit;
    out->mean = (double)t.told_sum / (double)t.count * unit;
    out->deviation = deviation(&t) * unit;
    read_percentiles(h, &t, out->percentiles);
    for (int i = 0; i < HISTOGRAM_PERCENTILES; i++)
        out->percentiles[i] *= unit;
}

void histogram_cumulative(const struct histogram *h, const int64_t *bounds, int count, int64_t *out)
{
    struct histogram_rows *r = histogram_rows(h);
    int64_t seen = 0;
    int at = 0;
    for (int i = 0; i < HISTOGRAM_ROWS; i++)
        for (int k = 0; k < HISTOGRAM_SUB_BUCKETS; k++) {
            struct bucket b = {i, k};
            for (; at < count && bounds[at] < bucket_most(b); at++)
                out[at] = seen;
            seen += rows_at(r, b);
        }
    for (; at < count; at++)
        out[at] = seen;
    rows_free(r);
}

int64_t histogram_sum(const struct histogram *h)
{
    return histogram_total(h).sum;
}

double histogram_told_sum(const struct histogram *h)
{
    return (double)histogram_total(h).told_sum * told_unit(h);
}

/* ---- Life ---- */

void histogram_init(struct histogram *h, struct metrics *metrics, enum histogram_unit unit)
{
    struct counter cell;
    counter_init(&cell);
    *h = (struct histogram){.cell = cell.cell, .unit = unit, .metrics = metrics};
    /* Not all in the same second. */
    h->due_us = metrics->now_us() + window_us + (int64_t)(h->cell % 16) * 1000000;
    lock_take(&metrics->lock);
    DL_APPEND(metrics->histograms, h);
    lock_release(&metrics->lock);
}

static void share_free(void *ctx UNUSED, int64_t value)
{
    struct share *s = (struct share *)(uintptr_t)value;
    for (int i = 0; i < HISTOGRAM_ROWS; i++)
        free(atomic_load_explicit(&s->rows[i], memory_order_acquire));
    free(s);
}

void histogram_deinit(struct histogram *h)
{
    if (h->metrics == NULL)
        return;
    lock_take(&h->metrics->lock);
    DL_DELETE(h->metrics->histograms, h);
    lock_release(&h->metrics->lock);
    if (h->cell != 0) /* else there was none left for it */
        cells_each(h->cell, share_free, NULL);
    counter_deinit(&(struct counter){h->cell});
    rows_free(h->last);
    rows_free(h->older);
    *h = (struct histogram){0};
}

void timing_init(struct timing *t, struct metrics *metrics)
{
    histogram_init(&t->times, metrics, HISTOGRAM_MS);
    meter_init(&t->calls, metrics, "calls");
}

void timing_deinit(struct timing *t)
{
    histogram_deinit(&t->times);
    meter_deinit(&t->calls);
}

void timing_record(const struct timing *t, int64_t us)
{
    histogram_record(&t->times, us);
    meter_mark(&t->calls, 1);
}

/* ---- As a bean ---- */

static struct bean_attribute in_double(const char *name, double v)
{
    return (struct bean_attribute){name, "double", bean_double(v)};
}

/* Up to the count, in the order of names. */
static int percentile_attributes(const struct histogram_summary *s, struct bean_attribute *out)
{
    int n = 0;
    out[n++] = in_double("50thPercentile", s->percentiles[P50]);
    out[n++] = in_double("75thPercentile", s->percentiles[P75]);
    out[n++] = in_double("95thPercentile", s->percentiles[P95]);
    out[n++] = in_double("98thPercentile", s->percentiles[P98]);
    out[n++] = in_double("999thPercentile", s->percentiles[P999]);
    out[n++] = in_double("99thPercentile", s->percentiles[P99]);
    out[n++] = (struct bean_attribute){"Count", "long", bean_long(s->count)};
    return n;
}

int histogram_attributes(const struct histogram *h, struct bean_attribute *out)
{
    struct histogram_summary s;
    histogram_read(h, &s);
    int n = percentile_attributes(&s, out);
    out[n++] = in_double("Max", s.max);
    out[n++] = in_double("Mean", s.mean);
    out[n++] = in_double("Min", s.min);
    out[n++] = in_double("StdDev", s.deviation);
    return n;
}

int timing_attributes(const struct timing *t, struct bean_attribute *out)
{
    const struct meter *m = &t->calls;
    struct histogram_summary s;
    histogram_read(&t->times, &s);
    int n = percentile_attributes(&s, out);
    out[n++] = (struct bean_attribute){"EventType", "java.lang.String", bean_string(str_of("calls"))};
    out[n++] = in_double("FifteenMinuteRate", meter_average(m, METER_15_MINUTES));
    out[n++] = in_double("FiveMinuteRate", meter_average(m, METER_5_MINUTES));
    out[n++] =
        (struct bean_attribute){"LatencyUnit", "java.util.concurrent.TimeUnit", bean_string(STR_LIT("MILLISECONDS"))};
    out[n++] = in_double("Max", s.max);
    out[n++] = in_double("Mean", s.mean);
    out[n++] = in_double("MeanRate", meter_mean(m));
    out[n++] = in_double("Min", s.min);
    out[n++] = in_double("OneMinuteRate", meter_average(m, METER_1_MINUTE));
    out[n++] = (struct bean_attribute){"RateUnit", "java.util.concurrent.TimeUnit", bean_string(STR_LIT("SECONDS"))};
    out[n++] = in_double("StdDev", s.deviation);
    return n;
}
