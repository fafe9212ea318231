/* What the endpoints share. */
#ifndef BARNABAS_EXPORTER_INTERNAL_H
#define BARNABAS_EXPORTER_INTERNAL_H

#include "exporter/dialects.h"
#include "exporter/exporter.h"
#include "http/http_server.h"
#include "metrics/bean_ask.h"

/* ---- Endpoints: each answers ---- */

/* Whether the broker is alive, and ready; and what Strimzi's agent says. False: it is none of these paths. */
bool health_answers(struct str path);
void health_answer(struct metrics *m, struct str path, struct http_answer *answer);
/* Whether the broker runs and is part of the cluster, so that others take over from it and send to it. */
bool health_takes_part(struct metrics *m, struct fail *why) NODISCARD;

/* Jolokia's protocol 7.2, read only. `rest` is what is behind /jolokia. */
void jolokia_answer(struct metrics *m, struct str rest, const struct http_request *request, struct http_answer *answer);

#endif
