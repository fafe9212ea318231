/* Whom kafka-cluster and kafka-features ask: --bootstrap-server, or --bootstrap-controller, which only KRaft has. */
#ifndef BARNABAS_TOOLS_CLUSTER_CLUSTER_ENDPOINT_H
#define BARNABAS_TOOLS_CLUSTER_CLUSTER_ENDPOINT_H

#include "tools/kit/ask.h"
#include "tools/kit/command_line.h"

/* NULL: nobody is there, or it is no controller. `config` is the name of the option that has the client's properties.
 */
struct asker *cluster_endpoint(const struct command_line *c, const char *config, struct fail *fail);

#endif
