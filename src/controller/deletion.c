/*
 * Deleting a topic: brokers forget its partitions, stop their replicas, delete them; when all have, the topic's nodes
 * go. A broker that is down, or whose disk has failed, holds it up until it is back.
 *
 *   start   UpdateMetadata to all: nobody leads its partitions any more. StopReplica to each replica that is there,
 *           first to stop it, then to delete it. One that is not there is INELIGIBLE, and waits for its broker or
 *           directory.
 *   done    each answer makes a replica DELETED, or INELIGIBLE.
 *   end     all are DELETED: the topic's nodes go, its settings, and when all have gone the order to delete it.
 *
 * A topic whose replicas cannot all be deleted now waits: for a broker that arrives, or a moment where a live one has
 * answered with an error. Meanwhile the deletions of others do not look at it.
 *
 * A topic that is being reassigned waits for the end of that. A controller that takes office in the middle begins
 * again from what ZooKeeper has.
 */
#include <inttypes.h>
#include <utlist.h>

#include "base/logger.h"
#include "controller/controller_internal.h"

static bool all_replicas_are(struct ctl_topic *t, enum replica_state state)
{
    for (int32_t i = 0; i < t->count; i++)
        for (int32_t r = 0; r < t->partitions[i]->replicas.n; r++)
            if (t->partitions[i]->replica_states[r] != state)
                return false;
    return true;
}

static bool any_replica_is(struct ctl_topic *t, enum replica_state state)
{
    for (int32_t i = 0; i < t->count; i++)
        for (int32_t r = 0; r < t->partitions[i]->replicas.n; r++)
            if (t->partitions[i]->replica_states[r] == state)
                return true;
    return false;
}

static void mark_dead_replicas(struct controller *c, struct ctl_topic *t)
{
    for (int32_t i = 0; i < t->count; i++) {
        struct ctl_partition *p = t->partitions[i];
        for (int32_t r = 0; r < p->replicas.n; r++) {
            bool live = replica_is_online(c, p, p->replicas.v[r]);
            if (!live && p->replica_states[r] != REPLICA_DELETED)
                p->replica_states[r] = REPLICA_INELIGIBLE;
            else if (live && p->replica_states[r] == REPLICA_INELIGIBLE)
                p->replica_states[r] = REPLICA_OFFLINE;
        }
    }
}

/* Nobody leads them any more, and nobody is to be told that somebody does. */
static void take_partitions_away(struct controller *c, struct ctl_topic *t)
{
    for (int32_t i = 0; i < t->count; i++)
        outbox_metadata_deleted(c, t->partitions[i]);
}

static bool can_be_deleted(enum replica_state state)
{
    return state != REPLICA_DELETED && state != REPLICA_INELIGIBLE;
}

static void stop_replicas(struct controller *c, struct ctl_topic *t, bool delete_them)
{
    for (int32_t i = 0; i < t->count; i++) {
        struct ctl_partition *p = t->partitions[i];
        for (int32_t r = 0; r < p->replicas.n; r++) {
            if (!can_be_deleted(p->replica_states[r]))
                continue;
            outbox_stop_replica(c, p->replicas.v[r], p, delete_them);
            p->replica_states[r] = delete_them ? REPLICA_DELETION_STARTED : REPLICA_OFFLINE;
        }
    }
}

static void start_deletion(struct controller *c, struct ctl_topic *t)
{
    ensure(t->deleting && !t->starting);
    mark_dead_replicas(c, t);
    take_partitions_away(c, t);
    if (any_replica_is(t, REPLICA_INELIGIBLE)) {
        log_info("Deletion of topic %s waits for brokers that are down, or whose log directories are", t->name);
        t->waits = WAITS_FOR_BROKER;
    } else {
        log_info("Deleting topic %s", t->name);
    }
    stop_replicas(c, t, false);
    t->starting = true;
}

/* What is stopped goes in one request for all topics, and so does what is deleted then. */
static void start_deletions(struct controller *c)
{
    struct ctl_topic *t;
    bool any = false;
    DL_FOREACH (c->deleting, t) {
        if (t->waits != WAITS_FOR_NOTHING || any_replica_is(t, REPLICA_DELETION_STARTED) ||
            all_replicas_are(t, REPLICA_DELETED) || topic_is_reassigning(t))
            continue;
        start_deletion(c, t);
        any = true;
    }
    if (any)
        outbox_flush(c);
    DL_FOREACH (c->deleting, t) {
        if (t->starting)
            stop_replicas(c, t, true);
        t->starting = false;
    }
}

/* ---- The nodes ---- */

struct deleted_topic {
    struct ctl_topic *topic;
    bool remains; /* something of it */
    struct deleted_topic *next;
};

static void delete_all_nodes(struct controller *c);

static void on_markers_deleted(struct controller *c, struct zk_batch *b)
{
    zk_batch_free(b);
    delete_all_nodes(c);
}

/*
 * What remains is deleted by the next controller, which finds the order. Until then its topic is known as one that is
 * being deleted: it would be taken for a new one, and come back.
 */
static void delete_markers(struct controller *c)
{
    struct zk_batch *b = c->markers;
    char path[ZNODE_PATH_ROOM];
    for (const struct deleted_topic *d = c->deleted; d != NULL; d = d->next) {
        const char *name = d->topic->name;
        if (d->remains) {
            log_error("Cannot delete all znodes of topic %s", name);
            continue;
        }
        log_info("Topic %s is deleted", name);
        ctl_fence(c, zk_delete(b, delete_topic_path(path, name), ZK_ANY_VERSION));
        context_remove_topic(c, d->topic);
    }
    c->markers = NULL;
    c->deleted = NULL;
    ctl_submit(c, b, on_markers_deleted);
}

static void delete_alone(struct controller *c, struct zk_batch *b, const char *path, struct deleted_topic *d)
{
    struct zk_op *op = zk_delete(b, path, ZK_ANY_VERSION);
    op->owner = d;
    ctl_fence(c, op);
}

static void on_nodes_deleted(struct controller *c, struct zk_batch *b);

/* It goes before the node that it is below, which is tried again. */
static void on_found_below(struct controller *c, struct zk_batch *lists)
{
    struct zk_batch *b = ctl_batch();
    const struct zk_op *list;
    ZK_OWNED_FOREACH (lists, list) {
        for (int32_t i = 0; list->result == ZK_OK && i < list->child_count; i++)
            delete_alone(c, b, zk_child_path(b, list, i), list->owner);
        delete_alone(c, b, list->path, list->owner);
    }
    zk_batch_free(lists);
    ctl_submit(c, b, on_nodes_deleted);
}

/* Below the nodes there may be what this controller knows nothing of, such as partitions that somebody took away. */
static void on_nodes_deleted(struct controller *c, struct zk_batch *b)
{
    enum { MOST_DEPTH = 8 };
    struct zk_batch *below = ctl_batch();
    const struct zk_op *op;
    bool deeper = c->depth++ < MOST_DEPTH;
    ZK_OWNED_FOREACH (b, op) {
        struct deleted_topic *d = op->owner;
        if (op->result == ZK_NOT_EMPTY && deeper)
            zk_children(below, op->path, false)->owner = d;
        else
            d->remains |= op->result != ZK_OK && op->result != ZK_NO_NODE;
    }
    zk_batch_free(b);
    if (below->count > 0) {
        ctl_submit(c, below, on_found_below);
        return;
    }
    zk_batch_free(below);
    delete_markers(c);
}

/* What was not deleted together, as something of it had gone before, goes one by one. */
static void on_nodes_deleted_together(struct controller *c, struct zk_batch *b)
{
    struct zk_batch *rest = ctl_batch();
    bool done = false, begins = true;
    for (struct zk_op *op = b->first; op != NULL; begins = !op->with_next, op = op->next) {
        if (begins)
            done = zk_is_done(op);
        if (!done)
            delete_alone(c, rest, op->path, op->owner);
    }
    zk_batch_free(b);
    c->depth = 0;
    ctl_submit(c, rest, on_nodes_deleted);
}

static void delete_node(struct controller *c, struct zk_batch *b, struct ctl_multi *m, const char *path,
                        struct deleted_topic *d)
{
    struct zk_op *op = zk_delete(b, path, ZK_ANY_VERSION);
    op->owner = d;
    ctl_together(c, m, op);
}

static void delete_nodes(struct controller *c, struct zk_batch *b, struct ctl_multi *m, struct ctl_topic *t)
{
    char path[ZNODE_PATH_ROOM];
    struct deleted_topic *d = ARENA_NEW(&c->markers->arena, struct deleted_topic);
    ensure(t->deleting);
    *d = (struct deleted_topic){t, false, c->deleted};
    t->waits = WAITS_FOR_ZOOKEEPER;
    c->deleted = d;
    for (int32_t i = 0; i < t->count; i++) {
        int32_t index = t->partitions[i]->index;
        delete_node(c, b, m, state_path(path, t->name, index), d);
        delete_node(c, b, m, partition_path(path, t->name, index), d);
    }
    delete_node(c, b, m, partitions_path(path, t->name), d);
    delete_node(c, b, m, topic_path(path, t->name), d);
    delete_node(c, b, m, config_path(path, "topics", t->name), d);
}

/* Topics whose replicas are deleted, as many as one step takes. */
static struct zk_batch *end_deletions(struct controller *c)
{
    struct zk_batch *b = ctl_batch();
    struct ctl_multi m = {0};
    struct ctl_topic *t;
    ensure(c->markers == NULL && c->deleted == NULL);
    c->markers = ctl_batch();
    DL_FOREACH (c->deleting, t) {
        if (b->count >= PIECE)
            break;
        if (t->waits != WAITS_FOR_NOTHING || !all_replicas_are(t, REPLICA_DELETED))
            continue;
        if (b->count == 0)
            outbox_flush(c); /* what it holds of their partitions */
        ensure(!t->starting && !topic_is_reassigning(t));
        delete_nodes(c, b, &m, t);
    }
    return b;
}

static void delete_all_nodes(struct controller *c)
{
    struct zk_batch *b = end_deletions(c);
    if (b->count > 0) {
        ctl_submit(c, b, on_nodes_deleted_together);
        return;
    }
    step_fn then = c->then;
    zk_batch_free(b);
    deletions_drop(c);
    c->then = NULL;
    then(c);
}

void deletions_resume(struct controller *c, step_fn then)
{
    ensure(c->then == NULL && then != NULL);
    c->then = then;
    start_deletions(c);
    delete_all_nodes(c);
}

void deletions_drop(struct controller *c)
{
    zk_batch_free(c->markers);
    c->markers = NULL;
    c->deleted = NULL;
}

/* ---- Waiting ---- */

void deletions_may_go_on(struct controller *c, enum deletion_wait wait)
{
    struct ctl_topic *t;
    DL_FOREACH (c->deleting, t)
        if (t->waits == wait)
            t->waits = WAITS_FOR_NOTHING;
}

static void deletions_retried(struct controller *c, struct event *e UNUSED)
{
    deletions_may_go_on(c, WAITS_A_MOMENT);
    deletions_resume(c, event_done_step);
}

static void on_deletion_retry(struct timer *t)
{
    event_post(CONTAINER_OF(t, struct controller, deletion_retry), "TopicDeletionRetry", deletions_retried);
}

void deletion_failed(struct controller *c, struct ctl_topic *t)
{
    enum { RETRY_MS = 1000 };
    t->waits = WAITS_A_MOMENT;
    if (!timer_is_running(&c->deletion_retry))
        timer_start(&c->deletion_retry, RETRY_MS);
}

void deletions_init(struct controller *c)
{
    timer_init(&c->deletion_retry, c->options.loop, on_deletion_retry);
}

/* ---- Events ---- */

void deletions_take_list(struct controller *c, const struct zk_op *list)
{
    struct zk_batch *refuse = ctl_batch();
    bool enabled = c->options.config->delete_topic_enable;
    for (int32_t i = 0; list->result == ZK_OK && i < list->child_count; i++) {
        struct ctl_topic *t = context_topic(c, list->children[i]);
        if (t != NULL && enabled)
            context_set_deleting(c, t);
        else
            ctl_fence(c, zk_delete(refuse, zk_child_path(refuse, list, i), ZK_ANY_VERSION));
    }
    if (refuse->count > 0) {
        refuse->done = zk_batch_free;
        zk_submit(c->options.zk, refuse);
    } else {
        zk_batch_free(refuse);
    }
}

static void on_deletion_list(struct controller *c, struct zk_batch *b)
{
    deletions_take_list(c, b->first);
    zk_batch_free(b);
    deletions_resume(c, event_done_step);
}

void deletions_changed(struct controller *c, struct event *e UNUSED)
{
    struct zk_batch *b = ctl_batch();
    zk_children(b, ZNODE_DELETE_TOPICS, true);
    ctl_submit(c, b, on_deletion_list);
}

void deletion_replica_done(struct controller *c, struct event *e UNUSED)
{
    deletions_resume(c, event_done_step);
}
