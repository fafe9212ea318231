/*
 * Time-outs of those who are to be heard of: members of groups, and producers.
 *
 * What they have to say comes by the network loops, and may be there already when the time is over, in a socket, or on
 * its way here. After a loop or the whole process was held up (by a slow disk, SIGSTOP, a machine that was suspended)
 * that is so of everybody at once, and timers are due that nobody should pay for. So who runs out of patience hears
 * first what there is to be heard:
 *
 *     its timer is due      it listens, with all that are due until the round before is over
 *     the round             each network loop is asked, and says when it has nothing else to do, behind what it has
 *                           sent here until then
 *     all have said so      who listens still, and was neither started anew nor stopped by what was heard, is over
 *
 * A network loop that is held up itself is waited for, as it may have what is to be heard. All on the coordinators'
 * loop.
 */
#ifndef BARNABAS_COORDINATOR_PATIENCE_H
#define BARNABAS_COORDINATOR_PATIENCE_H

#include "base/loop.h"

struct hearing; /* the network loops, and who listens to them */

struct hearing *hearing_new(struct loop *loop);
/* Once. They are asked from now on, and outlive what they were asked; before, nobody is. */
void hearing_set_ears(struct hearing *h, struct loop *const *loops, int count);
void hearing_free(struct hearing *h); /* when nobody listens any more; NULL allowed */

/* As a timer of base/loop.h. */
struct patience {
    struct timer timer;
    struct hearing *hearing;
    void (*over)(struct patience *self);
    struct patience *prev, *next; /* of those that listen */
    struct patience **in;         /* their list; NULL: it does not */
};

void patience_init(struct patience *p, struct hearing *h, void (*over)(struct patience *self));
void patience_start(struct patience *p, int64_t ms); /* starts over if running */
void patience_stop(struct patience *p);
bool patience_is_running(const struct patience *p);

#endif
