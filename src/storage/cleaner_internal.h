/*
 * The log cleaner: chooses the log that has most to be compacted, has a worker do it, and so on with the next. As many
 * passes run at once as `log.cleaner.threads` says; a pass is cut into pieces, between which the worker is free for
 * others and the rate of reading and writing is kept.
 */
#ifndef BARNABAS_CLEANER_INTERNAL_H
#define BARNABAS_CLEANER_INTERNAL_H

#include "storage/storage.h"

struct cleaner;

struct cleaner *cleaner_new(struct log_manager *m, const struct broker_config *config);
/* On the loop's thread, as the next two. */
void cleaner_start(struct cleaner *c, struct loop *loop, struct workers *workers);
/* Other settings, from the next pass on. */
void cleaner_configure(struct cleaner *c, const struct broker_config *config);
/* Work that is under way ends soon, but is not waited for. */
void cleaner_stop(struct cleaner *c);
/* With nobody at work any more: what is unfinished is undone. NULL allowed. */
void cleaner_free(struct cleaner *c);

/* What is counted of it. */
struct cleaner_figures { /* of the last pass of any thread */
    int64_t recopy_percent, map_percent, pass_seconds;
    int64_t delay_seconds; /* how long a log was overdue at most, when that pass was chosen */
    int64_t dirty_percent; /* of the dirtiest log, when one was looked for last */
    int64_t idle_ms;       /* since then */
};
void cleaner_count(struct cleaner *c, struct metrics *m); /* from now on, until it is freed */
void cleaner_read(struct cleaner *c, struct cleaner_figures *out);
/* What is being compacted now. */
struct cleaner_pass {
    struct plog *log; /* with a reference, which is the caller's */
    int done_percent;
};
enum { CLEANER_MOST_PASSES = 32 };
int cleaner_passes(struct cleaner *c, struct cleaner_pass out[CLEANER_MOST_PASSES]); /* how many. Any thread */
const struct meter *cleaner_throttle(const struct cleaner *c);
/* Compacts what is due, on the calling thread, until nothing is. */
void cleaner_run(struct cleaner *c);

#endif
