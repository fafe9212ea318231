/*
 * All beans as Prometheus reads them: the text format, version 0.0.4, or OpenMetrics 1.0. Samples of one family stand
 * together, so they are gathered before the first byte goes out: about 100 bytes of memory for each, until the end. A
 * sample that was there already, by name and labels, is left out, as Prometheus would refuse the whole.
 */
#ifndef BARNABAS_EXPOSITION_H
#define BARNABAS_EXPOSITION_H

#include "exporter/rules.h"

/* OpenMetrics has rules for names that only our own follow: a counter's ends in _total. */
enum exposition_format { EXPOSITION_PROMETHEUS, EXPOSITION_OPENMETRICS };
const char *exposition_content_type(enum exposition_format format);

struct exposition;
struct exposition *exposition_new(void);
void exposition_free(struct exposition *e);

/* Only families of these names, if any was named. */
void exposition_name(struct exposition *e, struct str family);
enum { EXPOSITION_MOST_RULES = 2 };
/* Somebody else who is shown all beans on the same way, those of the broker's own domain, too. */
struct exposition_beside {
    bean_visit_fn visit;
    void *ctx;
};
/* Once, by all of these, which outlive it; one thread at a time for each of them. `beside` may be NULL. */
void exposition_gather(struct exposition *e, struct rules *const *rules, int count, struct metrics *m,
                       const struct exposition_beside *beside);
/* One more, beside those that the rules make; of a family that they do not make. */
void exposition_add(struct exposition *e, const char *family, enum sample_type type, const char *help,
                    struct str labels, double value);
/* How many values are at most `bounds[i]`, which ascend; how many there are at all, and what they add up to. */
struct exposition_buckets {
    const double *bounds;
    const int64_t *at_most;
    int count;
    int64_t all;
    double sum;
};
void exposition_add_histogram(struct exposition *e, const char *family, const char *help, struct str labels,
                              const struct exposition_buckets *b);
/* Family by family, in the order of their names. False as soon as `write` is. */
bool exposition_write(struct exposition *e, enum exposition_format format,
                      bool (*write)(void *ctx, const char *p, size_t len), void *ctx);

/* As it is written: the shortest text that is read as the same. */
void exposition_number(double value, struct strbuf *out);

#endif
