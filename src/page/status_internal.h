/* What those share who gather a status. */
#ifndef BARNABAS_STATUS_INTERNAL_H
#define BARNABAS_STATUS_INTERNAL_H

#include "page/status.h"

struct str status_text(struct status *s, struct str text); /* a copy as UTF-8, NUL-terminated; null stays null */

/* Brokers, topics and groups, as the look has them. */
void status_gather_cluster(struct status *s, const struct status_matter *from);
/* This broker: by its beans and its process. */
void status_gather_broker(struct status *s, const struct status_matter *from);
/* What is wrong, when all else is gathered. */
void status_judge(struct status *s);

#endif
