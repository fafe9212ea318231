/* What a process is like, by the names that Prometheus' client libraries have for it. */
#ifndef BARNABAS_EXPORTER_PROCESS_H
#define BARNABAS_EXPORTER_PROCESS_H

#include "exporter/exposition.h"

/* Also as a Java machine, for dashboards that ask for one. */
void process_gather(struct exposition *e, bool as_java);

#endif
