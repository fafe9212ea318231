/*
 * Threads for work that may block, as for a disk, or takes long. A job runs on some worker; then, if it names a home
 * loop, its message is delivered there. Which there are, ARCHITECTURE.md says.
 */
#ifndef BARNABAS_WORKERS_H
#define BARNABAS_WORKERS_H

#include "base/loop.h"

struct job {
    struct message done; /* posted to `home` after run(); set done.deliver when home is set */
    struct loop *home;   /* NULL: run() is the last to touch the job */
    void (*run)(struct job *self);
    struct job *next;
};

struct workers;

struct workers *workers_new(const char *name, int threads); /* the threads' name, at most 15 bytes; kept */
/* Its threads come after those that serve, where a processor is wanted by several: who waits for these waits longer. */
void workers_give_way(struct workers *w);
/* More threads at once; fewer as each of those that are too many has done its job. One caller at a time. */
void workers_resize(struct workers *w, int threads);
void workers_stop(struct workers *w); /* runs what was submitted, then joins; from now on
                                         workers_submit() runs the job itself */
void workers_free(struct workers *w);
/* How long its threads have waited for work until now, added up. Any thread. */
int64_t workers_idle_us(struct workers *w);
int workers_count(struct workers *w); /* threads that take jobs now: a resize may not be through. Any thread. */
void workers_submit(struct workers *w, struct job *job); /* any thread */

#endif
