/* Changes of ISRs, for which a leader asks the controller (AlterPartition, KIP-497). */
#ifndef BARNABAS_REPLICA_ISR_CHANGES_H
#define BARNABAS_REPLICA_ISR_CHANGES_H

#include "cluster/controller_link.h"
#include "replica/replica.h"

struct isr_changes;

struct isr_changes_options {
    struct loop *loop; /* the link's, too */
    struct controller_link *link;
    int32_t broker_id;
    int64_t (*broker_epoch)(void *ctx);
    void *ctx;
};

struct isr_changes *isr_changes_new(const struct isr_changes_options *options);
/* No more requests. To be freed when the link is gone, which ends the one under way. */
void isr_changes_close(struct isr_changes *c);
void isr_changes_free(struct isr_changes *c);
/* The partition wants another ISR. Any thread, its lock may be held. */
void isr_changes_want(struct isr_changes *c, struct partition *p);

#endif
