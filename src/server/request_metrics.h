/*
 * What is counted of requests: kafka.network:type=RequestMetrics. Of each API, how many in which version, how large,
 * with which errors, and for how long they were in each phase:
 *
 *     whole ─queue─► begun ─local, remote, queue─► answered ─response queue─► sending ─response send─► sent
 *
 * Queue is waiting in a mailbox or for a worker, local is work on any thread, remote is waiting for what others do. The
 * phases add up to the total. Fetches of consumers and of followers are told apart, and together. All of it counts when
 * the answer is sent, or will not be.
 */
#ifndef BARNABAS_REQUEST_METRICS_H
#define BARNABAS_REQUEST_METRICS_H

#include "metrics/bean.h"
#include "protocol/wire.h"
#include "server/server_internal.h"

/* Beans of all requests, with zeroes: who looks for what is not there yet would see nothing. */
struct request_metrics *request_metrics_new(struct metrics *m);
void request_metrics_free(struct request_metrics *rm); /* NULL allowed */

/* Under which names requests are counted that are not told apart by their API; those of logins are not counted. */
enum request_flavor { REQUEST_PLAIN, REQUEST_OF_CONSUMER, REQUEST_OF_FOLLOWER, REQUEST_OF_VERIFIER, REQUEST_OF_LOGIN };

/* What was done until now was for several. */
void request_time_passes(void);
/* The request goes to another thread, or to wait; from now on it is not worked on. */
void request_stops(struct request *r);
/* It is answered now: what is known goes into the exchange's account. On its loop. */
void request_is_answered(struct request *r);
/* Error codes of its answer. Any thread. */
void request_note_errors(const struct request *r, const struct error_counts *errors);
/* The exchange has ended: its account is closed. */
void request_metrics_count(struct request_metrics *rm, const struct exchange *x);

#endif
