/*
 * How large, or how long: the distribution of values. Least, most, mean and deviation are of all values that ever were;
 * percentiles are of the last 150 to 300 seconds with any, so that without new values they stand still, as Kafka's do.
 *
 * Each thread counts in buckets of its own, 16 for each power of two, so that a value is known to one part in sixteen;
 * small ones exactly. To record is to add to a bucket and to a handful of sums. A window is the difference between the
 * buckets of now and those of its beginning, which are kept.
 *
 * Times are recorded in microseconds and told in milliseconds: rounded to whole ones, as Kafka's histograms have them,
 * or, in a timing, with their fractions.
 */
#ifndef BARNABAS_HISTOGRAM_H
#define BARNABAS_HISTOGRAM_H

#include "metrics/meter.h"

enum histogram_unit {
    HISTOGRAM_PLAIN,    /* values are told as they are */
    HISTOGRAM_WHOLE_MS, /* microseconds, told in whole milliseconds */
    HISTOGRAM_MS,       /* microseconds, told in milliseconds */
};

enum { HISTOGRAM_SUB_BUCKETS = 16, HISTOGRAM_ROWS = 36 };

struct histogram_rows;

/* All zeroes may be recorded to, and reads as nothing. */
struct histogram {
    uint32_t cell; /* where each thread has its buckets */
    enum histogram_unit unit;
    struct metrics *metrics;
    struct histogram *prev, *next; /* the registry's, as what follows */
    int64_t due_us, windowed;      /* when the next window begins, and how many values there were at the last one */
    struct histogram_rows *last, *older; /* buckets at the beginnings of the last two windows */
    /* What is recorded in those is in this as well; all NULL: it is recorded in itself. */
    const struct histogram *parts[2];
};

void histogram_init(struct histogram *h, struct metrics *metrics, enum histogram_unit unit);
void histogram_deinit(struct histogram *h);                      /* when nobody can record any more */
void histogram_record(const struct histogram *h, int64_t value); /* any thread; negative counts as 0 */

enum histogram_percentile { P50, P75, P95, P98, P99, P999, HISTOGRAM_PERCENTILES };

struct histogram_summary {
    int64_t count;
    double min, max, mean, deviation;
    double percentiles[HISTOGRAM_PERCENTILES];
};
void histogram_read(const struct histogram *h, struct histogram_summary *out);

/* For readers who add up over brokers: how many values ever were at most `bounds[i]`, in what was recorded. */
void histogram_cumulative(const struct histogram *h, const int64_t *bounds, int count, int64_t *out);
int64_t histogram_sum(const struct histogram *h); /* of what was recorded */
/* Of the values as they are told. It never shrinks, as mean times count may where it is rounded. */
double histogram_told_sum(const struct histogram *h);

/* ---- A histogram of times with a meter of how often ---- */

struct timing {
    struct histogram times;
    struct meter calls;
};

void timing_init(struct timing *t, struct metrics *metrics);
void timing_deinit(struct timing *t);
void timing_record(const struct timing *t, int64_t us);

#endif
