/*
 * Moves logs between the directories of this broker: so many at once as num.replica.alter.log.dirs.threads says, each a
 * step at a time by a worker, all in turn. On the control loop.
 */
#ifndef BARNABAS_REPLICA_MOVER_H
#define BARNABAS_REPLICA_MOVER_H

#include "base/workers.h"
#include "replica/replica.h"

struct mover;

struct mover *mover_new(struct loop *loop, struct workers *workers, int32_t most_at_once);
/* Its log is to be moved: partition_move_some() until that says it is over. Any thread. */
void mover_add(struct mover *m, struct partition *p);
void mover_close(struct mover *m); /* no more steps */
void mover_free(struct mover *m);  /* after the workers have ended and the loop's mailbox is empty */

#endif
