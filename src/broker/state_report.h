/*
 * SIGUSR1: what the broker is at, as lines of the log, for who looks at one that is in trouble. A thread of its own
 * waits for the signal, as any loop may be what is stuck; what could be stuck with it comes last.
 *
 * SIGUSR1 has to be blocked on all threads: on that which starts this it is from then on.
 */
#ifndef BARNABAS_STATE_REPORT_H
#define BARNABAS_STATE_REPORT_H

#include "base/loop.h"
#include "metrics/bean.h"

struct state_report;
struct state_report *state_report_start(struct metrics *m);
/* Tells of this loop, too, which stays until the end. Any thread. */
void state_report_add(struct state_report *r, const struct loop *loop);
/* What else is to be done when somebody asks, on the report's thread. */
void state_report_ask(struct state_report *r, void (*asked)(void *ctx), void *ctx);
void state_report_stop(struct state_report *r); /* and frees it; NULL allowed */

#endif
