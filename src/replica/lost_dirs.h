/*
 * What follows when a log directory has failed: a chain from any thread, where it was noticed, by the control loop to a
 * worker, which takes its partitions out of service and lets go of its files, and back, to tell the controller by a
 * znode. Without any live directory the process ends at once, as nothing can be served or closed, and no promise kept.
 */
#ifndef BARNABAS_REPLICA_LOST_DIRS_H
#define BARNABAS_REPLICA_LOST_DIRS_H

#include "base/workers.h"

struct log_manager;
struct lost_dirs;
struct replica_manager;

struct lost_dirs_options {
    struct loop *control;
    struct workers *workers;
    void (*stopped)(void *ctx); /* on the control loop: what was in one is served no more */
    void *ctx;
};

struct lost_dirs *lost_dirs_new(const struct lost_dirs_options *options);
/* From here on; before that nothing is served, and nobody has to be told. On the control loop. */
void lost_dirs_start(struct lost_dirs *l, struct log_manager *logs, struct replica_manager *replicas);
void lost_dirs_stop(struct lost_dirs *l); /* on the control loop; what is under way ends without a word */
void lost_dirs_free(struct lost_dirs *l); /* when no message and no job of it is left */
/* Any thread, with any lock held. */
void lost_dirs_report(struct lost_dirs *l, const char *dir);

#endif
