/*
 * Producer ids, from blocks that the controller hands out (KIP-730), or that are taken from ZooKeeper where the
 * controller does not, which is one before 3.0. The next block is asked for before one is at its end, so that hardly
 * anybody waits.
 */
#ifndef BARNABAS_TRANSACTION_PRODUCER_IDS_H
#define BARNABAS_TRANSACTION_PRODUCER_IDS_H

#include "cluster/controller_link.h"

struct producer_ids;

struct producer_ids_options {
    struct loop *control; /* that of `link` */
    struct controller_link *link;
    struct zk *zk;      /* of the same loop */
    bool by_controller; /* as inter.broker.protocol.version says */
    int32_t broker_id, timeout_ms;
    int64_t (*broker_epoch)(void *ctx);
    void *ctx;
};

struct producer_ids *producer_ids_new(const struct producer_ids_options *options);
void producer_ids_free(struct producer_ids *p);
/* Any thread. False when there is none at the moment; then the controller is asked for more. */
bool producer_ids_draw(struct producer_ids *p, int64_t *id);

struct producer_id_call { /* embedded by who asks */
    /* On the control loop, perhaps from within producer_ids_wait(). `id` is -1 if the controller gave none. */
    void (*done)(struct producer_id_call *call, int64_t id);
    struct producer_id_call *next;
};
/* On the control loop: an id now, or when there is one, or the controller's refusal. */
void producer_ids_wait(struct producer_ids *p, struct producer_id_call *call);

#endif
