/*
 * kafka.request.logger: with DEBUG a line for each request when its answer is sent, in the form of Apache's, with both
 * as JSON and with how long it was in each phase. Requests in versions that are deprecated are of INFO, so that they
 * can be had alone. Secrets are hidden. Nothing is made as long as the logger is off.
 */
#ifndef BARNABAS_REQUEST_LOG_H
#define BARNABAS_REQUEST_LOG_H

#include "server/server_internal.h"

bool request_log_is_on(const struct request *r);
/* The answer, as a message, or as it was encoded (with its length and header) if `message` is NULL. */
void request_log_answer(struct request *r, const void *message, const struct writer *w);
/* What is to be logged of an answered request, on the heap; NULL: nothing. The request is as it came still. */
char *request_log_take(struct request *r);
/* When the exchange has ended; frees what was taken. */
void request_log_end(const struct exchange *x, char *taken);

#endif
