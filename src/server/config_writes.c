/*
 * How requests change settings in ZooKeeper, which any broker and any tool may do at the same time: read, change, write
 * on condition that nobody has written meanwhile, and if somebody has, all of that again.
 */
#include "server/server_internal.h"

void request_submit(struct request *r, struct zk_batch *b, void *ctx, void (*then)(struct request *r))
{
    ensure(loop_is_mine(r->s->control_loop));
    b->ctx = ctx;
    b->gentle = true; /* a request may name very many: the controller's do not wait behind them all */
    if (b->count > 0) {
        zk_submit(r->s->zk, b);
        return;
    }
    zk_batch_free(b);
    request_return(r, then);
}

void config_write_notified(struct zk_batch *b, struct zk_op *write, void *owner, const char *entity)
{
    ensure(write == b->last && write->owner == NULL); /* the notification is the next operation */
    write->owner = owner;
    write->with_next = true;
    config_notify(b, entity);
}

enum config_written config_write_result(const struct zk_op *write)
{
    switch (write->result) {
    case ZK_OK:
        return write->next->result == ZK_OK ? CONFIG_WRITTEN : CONFIG_UNWRITTEN;
    case ZK_TOO_LARGE:
        return CONFIG_TOO_LARGE;
    case ZK_BAD_VERSION:
    case ZK_NODE_EXISTS:
    case ZK_NO_NODE:
    case ZK_NOT_EMPTY:
        return CONFIG_OVERTAKEN;
    default:
        return CONFIG_UNWRITTEN;
    }
}
