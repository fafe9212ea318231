/*
 * Requests in versions that Apache Kafka 4.0 does not know any more (KIP-896), by the software that sends them:
 * kafka.network:type=RequestMetrics,name=DeprecatedRequestsPerSec. Whose clients have none is ready for what comes
 * after 3.9.
 */
#ifndef BARNABAS_DEPRECATED_REQUESTS_H
#define BARNABAS_DEPRECATED_REQUESTS_H

#include "metrics/bean.h"

struct deprecated_requests;
struct deprecated_requests *deprecated_requests_new(struct metrics *m);
void deprecated_requests_free(struct deprecated_requests *d); /* NULL allowed */

bool is_deprecated_request(int16_t api_key, int16_t version);
/* Any thread. What a client says of itself is its own text. */
void deprecated_requests_count(struct deprecated_requests *d, const char *request, int16_t version,
                               struct str software_name, struct str software_version);

#endif
