/*
 * What the broker counts under names of its own, by Prometheus' rules: base units, counters that end in _total, and
 * distributions as histograms, of which those of several brokers can be added up. A table says which bean, or which of
 * its attributes, a family comes from. Labels are named as the bean's keys are, in small letters.
 *
 * Of single partitions there may be very many: they are told to those who ask for them.
 */
#ifndef BARNABAS_NATIVE_H
#define BARNABAS_NATIVE_H

#include "exporter/exposition.h"

/* Any thread. */
void native_gather(struct metrics *m, bool partitions, struct exposition *x);
/* The same, and what rules make: each bean is made once for all of them, which is most of what the names here cost. */
void native_gather_with(struct metrics *m, bool partitions, struct rules *const *rules, int count,
                        struct exposition *x);

#endif
