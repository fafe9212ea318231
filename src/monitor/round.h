/* One look: the questions to the brokers, and what becomes of their answers. On the monitor's loop. */
#ifndef BARNABAS_ROUND_H
#define BARNABAS_ROUND_H

#include "cluster/broker_link.h"
#include "monitor/monitor.h"

struct round;
/*
 * Calls `done`, perhaps from within, with the look, which is the receiver's. `before` has the newest of all looks and,
 * at LOOK_ALL, the newest of all there is, or NULL; they stay until then.
 */
struct round *round_begin(const struct monitor_options *options, struct broker_links *links, enum look_scope scope,
                          struct look *const before[LOOK_ALL + 1], void (*done)(void *ctx, struct look *look),
                          void *ctx);
void round_free(struct round *r); /* after done(), or when the links are closed: NULL is fine */

#endif
