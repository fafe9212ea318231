/*
 * Dialects: the names that dashboards and alerts know metrics by, each by rules of jmx_exporter's. Those of
 * conf/dialects are in the program; what they name are facts of the installations that they come from. Raw is what
 * comes of no rules at all, which Cruise Control reads. Two others tell of the whole cluster, without beans: exporter
 * and kminion, as the programs of these names do. Native is our own, and part of the usual one.
 */
#ifndef BARNABAS_DIALECTS_H
#define BARNABAS_DIALECTS_H

#include "exporter/exposition.h"
#include "monitor/look.h"

struct dialect;
/* NULL: there is none of that name; see dialect_list(). */
struct dialect *dialect_new(const char *name);
/* The operator's own file. Counters' names end in _total if `totals`. */
struct dialect *dialect_of_file(const char *path, bool totals, struct fail *fail);
/* What the operator's file asks of the server. */
struct rules_protection dialect_protection(const struct dialect *d);
/* Only these names, for who gathers from now on; of a dialect with one file of rules. Takes the filter. Any thread. */
void dialect_filter(struct dialect *d, struct name_filter *f);
void dialect_free(struct dialect *d);
const char *const *dialect_list(void); /* NULL-terminated; the first is the usual one */
/* Whether some pattern looks at values of keys other than type and name, which is slow where there are many. */
bool dialect_looks_at_values(const struct dialect *d);

/* Whether it tells of what a look at the cluster shows, and of how much. */
bool dialect_looks(const struct dialect *d, enum look_scope *scope);
/* Of beans alone, something is told without a look. */
bool dialect_needs_look(const struct dialect *d);

/* Whether all names are our own. */
bool dialect_is_own(const struct dialect *d);

struct dialect_matter {
    struct metrics *metrics;
    const struct look *look; /* NULL: there is none */
    const char *listener;    /* by which brokers are known */
    bool partitions;         /* each is told of under our own names, too */
};
/* All that there is, and what the process is like. Any thread; two at once wait for each other. */
void dialect_gather(struct dialect *d, const struct dialect_matter *of, struct exposition *e);

#endif
