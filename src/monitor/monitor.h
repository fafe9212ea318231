/*
 * Looks at the whole cluster for those who watch it: where each partition begins and ends, which groups there are, what
 * they have committed, and since when records wait for them. It asks the brokers as any client would, over the listener
 * between brokers, so that Apache's answer as well; nothing is asked unless somebody wants to know, and what was seen
 * is good for a few seconds, however many ask.
 *
 * It has a loop of its own, which must be one of those that get views: answers may be long.
 */
#ifndef BARNABAS_MONITOR_H
#define BARNABAS_MONITOR_H

#include "base/strbuf.h"
#include "config/config.h"
#include "monitor/look.h"

struct client_route;
struct loop;

struct monitor_options {
    struct loop *loop; /* its thread is the caller's */
    struct client_route *route;
    const struct broker_config *config;
    struct view_board *board;
    int32_t broker_id;
    const char *cluster_id;
    /* The settings of a topic. Any thread, until monitor_close() has returned. */
    void (*topic_config)(void *ctx, const char *topic, struct topic_config *out);
    void *ctx;
};

struct monitor;
struct monitor *monitor_new(const struct monitor_options *options); /* copies them */
void monitor_close(struct monitor *m);                              /* nobody waits any more. Any thread */
void monitor_stop(struct monitor *m); /* nothing is asked any more. When the loop's thread has ended */
void monitor_free(struct monitor *m); /* when nobody looks */

/*
 * What the cluster is like, with a reference, at most a few seconds old if the brokers answer in time. Waits for them,
 * so not on a loop. NULL: nothing is known, or it has closed.
 */
struct look *monitor_look(struct monitor *m, enum look_scope scope);

/*
 * Whether the broker may stop, so that each partition that it has a replica of keeps as many in sync as
 * min.insync.replicas says, and no reassignment waits for it. If not, `why` has a line for each thing that is in the
 * way, up to a bound. Waits as monitor_look() does.
 */
bool monitor_may_stop(struct monitor *m, struct strbuf *why);

#endif
