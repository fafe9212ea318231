/*
 * Who leads a partition of an internal topic coordinates its keys: news of roles, from whatever thread a partition was
 * told of its role on, to the coordinators' loop. There the partition is asked what it is by then, so that the last
 * word counts whatever the order of the messages.
 */
#ifndef BARNABAS_COORDINATOR_ELECTION_H
#define BARNABAS_COORDINATOR_ELECTION_H

#include "coordinator/state_topic.h"

struct partition;

/* Any thread. The partition's role has changed; one of other topics is none of `topic`'s business. */
void election_tell(struct state_topic *topic, struct partition *p);

#endif
