/*
 * Partitions that the view does not have: deleted, or only not told of yet? A controller that is new in its office
 * may begin with a part of the cluster. ZooKeeper knows, and is asked by the control loop; an answer is good for a
 * second.
 */
#ifndef BARNABAS_CLUSTER_MISSING_PARTITIONS_H
#define BARNABAS_CLUSTER_MISSING_PARTITIONS_H

#include "cluster/zk.h"

struct missing_partitions;

/* `home`: the loop that asks; `control`: that of ZooKeeper's session. */
struct missing_partitions *missing_partitions_new(struct loop *home, struct loop *control);
void missing_partitions_set_zk(struct missing_partitions *m, struct zk *zk); /* before anything is asked */
void missing_partitions_free(struct missing_partitions *m);                  /* when ZooKeeper answers no more */
/*
 * On `home`. Whether a partition that the view does not have was deleted; false also while that is being asked, so who
 * needs to know calls again.
 */
bool missing_partition_is_gone(struct missing_partitions *m, struct str topic, int32_t index);

#endif
