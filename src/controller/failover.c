/*
 * Taking office: everything that counts is read from ZooKeeper, with watches, and made true again.
 *
 *   read    lists, brokers and topics, states of partitions; old notifications are dropped, missing topic ids written.
 *   tell    all brokers get UpdateMetadata of what was read, as a broker follows only leaders that it has heard of;
 *           then the replicas of what has a leader get LeaderAndIsr. Some may have started while nobody was in office.
 *   mend    new and leaderless partitions are elected, which tells of them, and who is not there leaves the ISRs. The
 *           replicas of what nobody could be elected for are told that.
 *   go on   reassignments and deletions go on where they stood. Then the office is taken, and the queue's events come.
 *
 * States are read and told of in pieces of PIECE partitions, a turn of the loop each.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/logger.h"
#include "controller/controller_internal.h"

static void fail_failover(struct controller *c, const char *why)
{
    log_error("Cannot take office as controller: %s", why);
    struct zk_batch *b = ctl_batch();
    ctl_fence(c, zk_delete(b, ZNODE_CONTROLLER, ZK_ANY_VERSION));
    b->done = zk_batch_free;
    zk_submit(c->options.zk, b);
    ctl_resign_for_now(c, why);
}

/*
 * Whether there is a node that cannot be read: that is given up, then. A broker is not gone because its node cannot be
 * read, nor a topic or a state.
 */
static bool fails_for_unread(struct controller *c, const struct zk_batch *b)
{
    const struct zk_op *op = b->first;
    while (op != NULL && (op->kind != ZK_GET || op->result == ZK_OK || op->result == ZK_NO_NODE))
        op = op->next;
    if (op == NULL)
        return false;
    char why[ZNODE_PATH_ROOM + 32];
    snprintf(why, sizeof(why), "%s cannot be read", op->path);
    fail_failover(c, why);
    return true;
}

/* ---- The last steps ---- */

static void in_office(struct controller *c)
{
    ensure(c->active && c->loading == NULL);
    uint32_t topics = HASH_COUNT(c->topics);
    log_info("Controller of epoch %" PRId32 " is ready: %u topics", c->epoch, topics);
    c->was_told = true;
    rebalance_start(c);
    event_done(c);
}

static void failover_resume_reassignments(struct controller *c)
{
    reassignments_go_on(c, in_office); /* and deletions */
}

static void leaderless_are_told(struct controller *c)
{
    ctl_walk(c, collect_reassigning, failover_resume_reassignments);
}

static bool is_to_be_told(const struct ctl_partition *p)
{
    return p->known && !p->topic->deleting && !p->topic->half_made;
}

/* What this term has written was told of then. */
static void tell_leaderless(struct controller *c, struct ctl_partition *p)
{
    if (!is_to_be_told(p) || p->state != PARTITION_OFFLINE)
        return;
    if (p->untold)
        partition_announce(c, p, false);
    else if (p->leadership.controller_epoch != c->epoch)
        outbox_order(c, p->replicas, p, false);
}

static void after_dead(struct controller *c)
{
    ctl_tell(c, tell_leaderless, leaderless_are_told);
}

static void take_dead_out(struct controller *c)
{
    replicas_offline(c, after_dead);
}

/* Who is not there leaves the ISRs: the controller before may have gone with it. */
static void dead_leave(struct controller *c, struct ctl_partition *p)
{
    if (p->topic->deleting)
        return;
    for (int32_t k = 0; p->known && k < p->leadership.isr.n; k++)
        if (context_broker(c, p->leadership.isr.v[k]) == NULL)
            replica_leaves(c, p, p->leadership.isr.v[k]);
}

static void after_elections(struct controller *c)
{
    outbox_flush(c);
    ctl_walk(c, dead_leave, take_dead_out);
}

static void elect_leaderless(struct controller *c)
{
    partitions_online(c, ELECT_OFFLINE, after_elections);
}

static void orders_are_told(struct controller *c)
{
    outbox_flush(c);
    ctl_walk(c, collect_electable, elect_leaderless);
}

static void tell_order(struct controller *c, struct ctl_partition *p)
{
    if (is_to_be_told(p) && p->state == PARTITION_ONLINE)
        outbox_order(c, p->replicas, p, false);
}

static void metadata_is_told(struct controller *c)
{
    outbox_end_greetings(c);
    ctl_tell(c, tell_order, orders_are_told);
}

static void tell_metadata(struct controller *c, struct ctl_partition *p)
{
    if (!is_to_be_told(p))
        return;
    outbox_metadata(c, p);
    outbox_greet(c, p);
}

/* Replicas on live brokers are online, partitions with a live leader too. */
static void settle_state(struct controller *c, struct ctl_partition *p)
{
    for (int32_t r = 0; r < p->replicas.n; r++)
        p->replica_states[r] = broker_is_live(c, p->replicas.v[r]) ? REPLICA_ONLINE
                               : p->topic->deleting                ? REPLICA_INELIGIBLE
                                                                   : REPLICA_OFFLINE;
    p->reassigning = p->adding.n > 0 || p->removing.n > 0;
    p->topic->half_made |= !p->known;
    if (!p->known)
        p->state = PARTITION_NEW;
    else
        p->state = broker_is_live(c, p->leadership.leader) ? PARTITION_ONLINE : PARTITION_OFFLINE;
}

/* ---- Partition states ---- */

static void failover_tell_all(struct controller *c)
{
    outbox_brokers_only(c);
    ctl_tell(c, tell_metadata, metadata_is_told);
}

static void failover_take_state(struct ctl_partition *p, struct arena *a, const struct zk_op *read)
{
    struct partition_znode l;
    if (read->result != ZK_OK || !partition_decode(a, p->topic->name, p->index, read->value, &l))
        return;
    l.version = read->stat.version;
    partition_set_leadership(p, &l);
}

static void on_states(struct controller *c, struct zk_batch *b);

/* Those of the next partitions; false if there are none. */
static bool failover_read_states(struct controller *c)
{
    struct zk_batch *b = ctl_batch();
    while (b->count < PIECE && walk_on(c, &c->walk))
        read_state(b, c->walk.partition);
    if (b->count == 0) {
        zk_batch_free(b);
        return false;
    }
    ctl_submit(c, b, on_states);
    return true;
}

/* ZooKeeper looks for the next ones meanwhile. */
static void on_states(struct controller *c, struct zk_batch *b)
{
    const struct zk_op *read;
    if (fails_for_unread(c, b)) {
        zk_batch_free(b);
        return;
    }
    bool more = failover_read_states(c);
    ZK_OWNED_FOREACH (b, read)
        failover_take_state(read->owner, &b->arena, read);
    zk_batch_free(b);
    if (!more)
        ctl_walk(c, settle_state, failover_tell_all);
}

/* ---- Brokers and topics ---- */

/* Returns how many partitions it has. */
static int32_t failover_take_topic(struct controller *c, struct zk_batch *ids, const struct zk_op *read)
{
    struct topic_znode z;
    if (!topic_understand(c, &ids->arena, read, &z))
        return 0;
    struct ctl_topic *t = topic_take(c, ids, read, &z);
    for (int32_t i = 0; i < z.partition_count; i++)
        partition_assign(topic_add_partition(t, z.numbers[i]), z.replicas[i], z.adding[i], z.removing[i]);
    return z.partition_count;
}

static void failover_take_broker(struct controller *c, struct zk_batch *b, int32_t id, const struct zk_op *read)
{
    struct registration r;
    if (read->result != ZK_OK || !registration_decode(&b->arena, id, read->value, &r))
        return;
    r.epoch = read->stat.czxid;
    struct ctl_broker *taken = context_add_broker(c, &r);
    if (id == c->options.broker_id && !c->was_told) /* it has just started; of others that is not known */
        taken->greeting = GREETING_BEGINS;
}

static void on_ids_written(struct controller *c, struct zk_batch *b);

/* The next of those that were read, until they have so many partitions as one step takes. */
static void take_entities(struct controller *c, struct zk_batch *b)
{
    int32_t partitions = 0;
    zk_batch_free(b);
    for (; c->entity != NULL && partitions < PIECE; c->entity = c->entity->next) {
        const struct zk_op *op = c->entity;
        const char *name = strrchr(op->path, '/') + 1;
        if (op->kind != ZK_GET)
            continue;
        if (strncmp(op->path, ZNODE_TOPICS "/", strlen(ZNODE_TOPICS) + 1) == 0)
            partitions += failover_take_topic(c, c->ids, op);
        else
            failover_take_broker(c, c->entities, (int32_t)strtol(name, NULL, 10), op);
    }
    if (c->entity != NULL) {
        ctl_breathe(c, take_entities);
        return;
    }
    struct zk_batch *ids = c->ids;
    zk_batch_free(c->entities);
    c->entities = c->ids = NULL;
    ctl_submit(c, ids, on_ids_written);
}

static void on_entities(struct controller *c, struct zk_batch *b)
{
    ensure(c->entities == NULL && c->ids == NULL);
    if (fails_for_unread(c, b)) {
        zk_batch_free(b);
        return;
    }
    c->entities = b;
    c->entity = b->first;
    c->ids = ctl_batch();
    take_entities(c, NULL);
}

static void failover_on_all_topics(struct controller *c)
{
    deletions_take_list(c, zk_find(c->loading, ZK_CHILDREN, ZNODE_DELETE_TOPICS));
    zk_batch_free(c->loading);
    c->loading = NULL;
    c->walk = (struct partition_walk){0};
    if (!failover_read_states(c))
        ctl_walk(c, settle_state, failover_tell_all);
}

static void read_topics(struct controller *c)
{
    const struct zk_op *topics = zk_find(c->loading, ZK_CHILDREN, ZNODE_TOPICS);
    struct zk_batch *b = ctl_batch();
    ensure(c->listed >= 0 && c->listed <= topics->child_count);
    while (b->count < PIECE && c->listed < topics->child_count)
        topic_read(c, b, topics->children[c->listed++]);
    if (b->count > 0) {
        ctl_submit(c, b, on_entities);
        return;
    }
    zk_batch_free(b);
    failover_on_all_topics(c);
}

static void on_ids_written(struct controller *c, struct zk_batch *b)
{
    zk_batch_free(b);
    read_topics(c);
}

static void read_broker(struct zk_batch *b, struct str name)
{
    char path[ZNODE_PATH_ROOM];
    int32_t id;
    if (broker_id_parse(name, &id))
        zk_get(b, broker_path(path, id), true);
    else
        log_warn("%s/%.*s is no broker of ours: it has no number", ZNODE_BROKER_IDS, STR_ARGS(name));
}

/* Notifications that are pending are covered by reading everything. */
static void drop_notifications(struct controller *c, struct zk_batch *b, const struct zk_op *list)
{
    for (int32_t i = 0; list->result == ZK_OK && i < list->child_count; i++)
        ctl_fence(c, zk_delete(b, zk_child_path(b, list, i), ZK_ANY_VERSION));
}

/* Brokers of before Kafka 2.7 have left it disabled: then Apache's do not look at it again. */
static void enable_features(struct controller *c, struct zk_batch *b, const struct zk_op *read)
{
    if (read->result == ZK_NO_NODE)
        zk_create(b, ZNODE_FEATURE, feature_encode(&b->arena), ZK_PERSISTENT);
    else if (read->result == ZK_OK && feature_is_disabled(read->value))
        ctl_fence(c, zk_set(b, ZNODE_FEATURE, feature_encode(&b->arena), read->stat.version));
}

static void on_lists(struct controller *c, struct zk_batch *lists)
{
    const struct zk_op *brokers = zk_find(lists, ZK_CHILDREN, ZNODE_BROKER_IDS);
    const struct zk_op *topics = zk_find(lists, ZK_CHILDREN, ZNODE_TOPICS);
    if (brokers->result != ZK_OK || topics->result != ZK_OK) {
        zk_batch_free(lists);
        fail_failover(c, ZNODE_BROKER_IDS " or " ZNODE_TOPICS " cannot be read");
        return;
    }
    struct zk_batch *b = ctl_batch();
    c->loading = lists;
    enable_features(c, b, zk_find(lists, ZK_GET, ZNODE_FEATURE));
    drop_notifications(c, b, zk_find(lists, ZK_CHILDREN, ZNODE_ISR_CHANGES));
    drop_notifications(c, b, zk_find(lists, ZK_CHILDREN, ZNODE_LOG_DIR_EVENTS));
    for (int32_t i = 0; i < brokers->child_count; i++)
        read_broker(b, brokers->children[i]);
    c->listed = 0;
    if (zk_find(lists, ZK_EXISTS, ZNODE_PREFERRED_ELECTION)->result == ZK_OK)
        event_post(c, "ReplicaLeaderElection", preferred_election_requested);
    if (zk_find(lists, ZK_EXISTS, ZNODE_REASSIGN)->result == ZK_OK)
        event_post(c, "ZkPartitionReassignment", reassignment_requested);
    ctl_submit(c, b, on_entities);
}

void failover_start(struct controller *c)
{
    struct zk_batch *b = ctl_batch();
    ensure(c->active && c->loading == NULL && c->running != NULL);
    context_clear(c);
    zk_get(b, ZNODE_FEATURE, false);
    zk_children(b, ZNODE_BROKER_IDS, true);
    zk_children(b, ZNODE_DELETE_TOPICS,
                true); /* before the topics: none that is made meanwhile seems not to be there */
    zk_children(b, ZNODE_TOPICS, true);
    zk_children(b, ZNODE_ISR_CHANGES, true);
    zk_children(b, ZNODE_LOG_DIR_EVENTS, true);
    zk_exists(b, ZNODE_REASSIGN, true);
    zk_exists(b, ZNODE_PREFERRED_ELECTION, true);
    ctl_submit(c, b, on_lists);
}
