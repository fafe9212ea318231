/* What those ask who want a few beans, by names and patterns of their own. On threads that may take their time. */
#ifndef BARNABAS_BEAN_ASK_H
#define BARNABAS_BEAN_ASK_H

#include "metrics/bean.h"

/* All that match: a pattern that cannot be read is a mistake of the caller's. */
void beans_visit(struct metrics *m, const char *pattern, bean_visit_fn visit, void *ctx);
/* Adds up an attribute, such as "Value", of all that match and have it as a number. How many these are. */
int bean_sum(struct metrics *m, const char *pattern, const char *attribute, double *out);

/* The number of a gauge. False: there is no such bean, or it is no number. */
bool bean_number(struct metrics *m, const char *name, double *out);
/* The text of a gauge, cut off where there is no more room. False: there is no such bean, or it is no text. */
bool bean_says(struct metrics *m, const char *name, char *room, size_t size);

/* The number that is an attribute of a bean, or false. */
bool bean_attribute_number(const struct bean *b, const char *attribute, double *out);

#endif
