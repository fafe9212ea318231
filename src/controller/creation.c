/*
 * New partitions get their first state: the first live replica leads, all live ones are in sync.
 *
 * Each needs a node and one below it, and the first of a topic one above all. Those of some partitions are made in one
 * transaction: for a server that costs little more than one node does. Something may be in its way, as what a
 * controller has left that died in between, or our own write, whose answer was lost. Then nothing of it was done, and
 * its nodes are made one by one, those passed over that are there.
 */
#include <inttypes.h>

#include "base/logger.h"
#include "controller/controller_internal.h"

static bool first_leadership(struct controller *c, struct ctl_partition *p, struct arena *a,
                             struct partition_znode *out)
{
    struct int_list live = {ARENA_ARRAY(a, int32_t, MAX(p->replicas.n, 1)), 0};
    for (int32_t i = 0; i < p->replicas.n; i++)
        if (broker_is_live(c, p->replicas.v[i]))
            live.v[live.n++] = p->replicas.v[i];
    if (live.n == 0) {
        log_warn("Partition %s-%" PRId32 " cannot come online: none of its replicas is alive", p->topic->name,
                 p->index);
        return false;
    }
    *out = (struct partition_znode){.leader = live.v[0], .controller_epoch = c->epoch, .isr = live};
    return true;
}

static struct zk_op *create_empty(struct zk_batch *b, const char *path)
{
    return zk_create(b, path, (struct bytes){NULL, 0}, ZK_PERSISTENT);
}

static struct zk_op *create_state(struct zk_batch *b, struct ctl_partition *p, const struct partition_znode *l)
{
    char path[ZNODE_PATH_ROOM];
    struct zk_op *state =
        zk_create(b, state_path(path, p->topic->name, p->index), partition_encode(&b->arena, l), ZK_PERSISTENT);
    state->owner = p;
    return state;
}

static void take_online(struct controller *c, struct zk_batch *b, const struct zk_op *state)
{
    struct ctl_partition *p = state->owner;
    if (partition_take_written(p, &b->arena, state)) {
        partition_change_state(c, p, PARTITION_ONLINE);
        partition_announce(c, p, true);
    } else if (state->result == ZK_NODE_EXISTS) { /* perhaps our own, when its answer was lost */
        partition_change_state(c, p, PARTITION_OFFLINE);
    } else {
        log_error("Cannot create %s", state->path);
    }
}

/* ---- One by one ---- */

static void on_states_created(struct controller *c, struct zk_batch *b)
{
    const struct zk_op *state;
    ZK_OWNED_FOREACH (b, state)
        take_online(c, b, state);
    zk_batch_free(b);
    partitions_elect(c);
}

static void create_alone(struct controller *c, struct zk_batch *b, struct ctl_partition *p)
{
    char path[ZNODE_PATH_ROOM];
    struct partition_znode l;
    if (!first_leadership(c, p, &b->arena, &l))
        return;
    ctl_fence(c, create_empty(b, partitions_path(path, p->topic->name)));
    ctl_fence(c, create_empty(b, partition_path(path, p->topic->name, p->index)));
    ctl_fence(c, create_state(b, p, &l));
}

/* ---- Together ---- */

static bool is_first_of_topic(const struct ctl_partition *p)
{
    const struct ctl_topic *t = p->topic;
    for (int32_t i = 0; i < t->count; i++)
        if (t->partitions[i]->known)
            return false;
    return true;
}

static void create_together(struct controller *c, struct zk_batch *b, struct ctl_multi *m, struct ctl_partition *p,
                            bool begins_topic)
{
    char path[ZNODE_PATH_ROOM];
    struct partition_znode l;
    if (!first_leadership(c, p, &b->arena, &l))
        return;
    if (begins_topic)
        ctl_together(c, m, create_empty(b, partitions_path(path, p->topic->name)));
    ctl_together(c, m, create_empty(b, partition_path(path, p->topic->name, p->index)));
    ctl_together(c, m, create_state(b, p, &l));
}

/* From `op` on, what was sent with it is taken for done, or is to be done again one by one. What follows that. */
static struct zk_op *take_together(struct controller *c, struct zk_batch *b, struct zk_op *op, struct zk_batch *again)
{
    bool done = zk_is_done(op);
    for (bool more = true; more; op = op->next) {
        more = op->with_next;
        if (op->owner != NULL && done)
            take_online(c, b, op);
        else if (op->owner != NULL)
            create_alone(c, again, op->owner);
    }
    return op;
}

static void on_created_together(struct controller *c, struct zk_batch *b)
{
    struct zk_batch *again = ctl_batch();
    for (struct zk_op *op = b->first; op != NULL;)
        op = take_together(c, b, op, again);
    zk_batch_free(b);
    if (again->count > 0) {
        ctl_submit(c, again, on_states_created);
        return;
    }
    zk_batch_free(again);
    partitions_elect(c);
}

/* Of the partitions of a topic that a controller before has made, with those that are made now. */
static void tell_first_half(struct controller *c, struct ctl_topic *t)
{
    for (int32_t i = 0; t->half_made && i < t->count; i++)
        if (t->partitions[i]->known)
            outbox_leader_and_isr(c, t->partitions[i]->replicas, t->partitions[i], false);
    t->half_made = false;
}

void states_create(struct controller *c)
{
    struct zk_batch *b = ctl_batch();
    struct ctl_multi m = {0};
    const struct ctl_topic *topic = NULL;
    for (size_t i = 0; i < c->work.n; i++) {
        struct ctl_partition *p = c->work.v[i];
        if (p->state != PARTITION_NEW)
            continue;
        ensure(p->topic != NULL);
        tell_first_half(c, p->topic);
        create_together(c, b, &m, p, p->topic != topic && is_first_of_topic(p));
        topic = p->topic;
    }
    ctl_submit(c, b, on_created_together);
}
