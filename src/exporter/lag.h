/*
 * What a look at the cluster is as metrics: under the names of kafka_exporter and of kminion, which tell of all
 * partitions and groups whichever broker is asked; and what of it is this broker's, so that sums over all brokers are
 * right: the partitions that it leads, and the lag of the groups that it coordinates.
 */
#ifndef BARNABAS_LAG_H
#define BARNABAS_LAG_H

#include "exporter/exposition.h"
#include "monitor/look.h"

void lag_gather_exporter(const struct look *look, const char *listener, struct exposition *x);
void lag_gather_kminion(const struct look *look, const char *listener, struct exposition *x);
/* Of the broker that looked: kafka_topic_partition_*, kafka_consumergroup_*, and barnabas_group_*. */
void lag_gather_own(const struct look *look, struct exposition *x);
void lag_gather_native(const struct look *look, struct exposition *x);

#endif
