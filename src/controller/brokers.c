/* Brokers come, go, and change their endpoints. */
#include <inttypes.h>
#include <utlist.h>

#include "base/logger.h"
#include "controller/controller_internal.h"

/* ---- Gone ---- */

static void failed_brokers_leave(struct controller *c, struct ctl_partition *p)
{
    for (int32_t i = 0; i < c->gone.n && !p->topic->deleting; i++)
        if (int_list_has(p->replicas, c->gone.v[i]))
            replica_leaves(c, p, c->gone.v[i]);
}

static void take_replicas_out(struct controller *c)
{
    replicas_offline(c, event_done_step);
}

static void after_failure(struct controller *c)
{
    outbox_flush(c); /* those that were elected begin while the others' states are written */
    ctl_walk(c, failed_brokers_leave, take_replicas_out);
}

static void forget_broker(const struct controller *c, struct ctl_partition *p, int32_t id)
{
    enum replica_state *r = replica_state_of(p, id);
    if (p->known && p->leadership.leader == id && p->state == PARTITION_ONLINE)
        partition_change_state(c, p, PARTITION_OFFLINE);
    if (r != NULL && *r == REPLICA_DELETION_STARTED)
        *r = REPLICA_INELIGIBLE;
    int_list_remove(&p->failed, id);
    int_list_remove(&p->just_failed, id);
}

static void forget_brokers(struct controller *c, struct ctl_partition *p)
{
    for (int32_t i = 0; i < c->gone.n; i++)
        forget_broker(c, p, c->gone.v[i]);
    collect_electable(c, p);
}

static void elect_after_failure(struct controller *c)
{
    partitions_online(c, ELECT_OFFLINE, after_failure);
}

/*
 * Others lead what they have led, before they leave the ISRs. All at once, so that nobody is elected who has gone, too;
 * some may be back already, and are not known to be.
 */
static void brokers_failed(struct controller *c, struct event *e UNUSED)
{
    free(c->gone.v);
    c->gone = (struct int_list){0};
    for (const struct ctl_broker *b = c->brokers; b != NULL; b = b->next)
        if (b->gone)
            int_list_append(&c->gone, b->id);
    for (int32_t i = 0; i < c->gone.n; i++) {
        log_info("Broker %" PRId32 " is no longer registered", c->gone.v[i]);
        context_remove_broker(c, c->gone.v[i]);
    }
    if (c->gone.n == 0) {
        event_done(c);
        return;
    }
    outbox_brokers_only(c);
    ctl_walk(c, forget_brokers, elect_after_failure);
}

/* It went and came back before anybody looked. */
static void post_bounced(struct controller *c, struct ctl_broker *b)
{
    b->gone = true;
    event_post(c, "BrokerFailure", brokers_failed);
    event_post(c, "BrokerChange", brokers_changed);
}

static bool is_listed(const struct zk_op *list, int32_t id)
{
    int32_t listed;
    for (int32_t i = 0; i < list->child_count; i++)
        if (broker_id_parse(list->children[i], &listed) && listed == id)
            return true;
    return false;
}

static void look_for_gone(struct controller *c, const struct zk_op *list)
{
    bool any = false;
    for (struct ctl_broker *b = c->brokers; b != NULL && list->result == ZK_OK; b = b->next) {
        b->gone |= !is_listed(list, b->id);
        any |= b->gone;
    }
    if (any)
        event_post_once(c, "BrokerFailure", brokers_failed);
}

/* ---- Come ---- */

static void resume_deletions(struct controller *c)
{
    deletions_resume(c, event_done_step);
}

static void collect_awaited(struct controller *c, struct ctl_partition *p)
{
    bool awaited = false;
    for (const struct ctl_broker *b = c->brokers; b != NULL && p->reassigning && !awaited; b = b->next)
        awaited = b->arriving && is_reassigned_to(p, b->id);
    if (awaited)
        partition_set_add(&c->work, p);
}

static void all_have_arrived(struct controller *c)
{
    for (struct ctl_broker *b = c->brokers; b != NULL; b = b->next)
        b->arriving = false;
    deletions_may_go_on(c, WAITS_FOR_BROKER);
    reassignments_go_on(c, resume_deletions);
}

static void brokers_resume_reassignments(struct controller *c)
{
    ctl_walk(c, collect_awaited, all_have_arrived);
}

static void elect_among_arrived(struct controller *c)
{
    partitions_online(c, ELECT_OFFLINE, brokers_resume_reassignments);
}

static void broker_arrived(struct controller *c, const struct registration *r)
{
    log_info("Broker %" PRId32 " has registered, epoch %" PRId64, r->id, r->epoch);
    struct ctl_broker *b = context_add_broker(c, r);
    b->arriving = true;
    b->greeting = GREETING_BEGINS;
    outbox_brokers_only(c);
}

static void order_one(struct controller *c, struct ctl_broker *b, struct ctl_partition *p)
{
    enum replica_state *state = replica_state_of(p, b->id);
    if (state == NULL || p->topic->deleting)
        return;
    *state = REPLICA_ONLINE;
    if (p->known)
        outbox_leader_and_isr(c, (struct int_list){&b->id, 1}, p, false);
}

static void order_arrived(struct controller *c, struct ctl_partition *p)
{
    for (struct ctl_broker *b = c->brokers; b != NULL; b = b->next)
        if (b->arriving)
            order_one(c, b, p);
}

static void greet_arrived(struct controller *c, struct ctl_partition *p)
{
    if (p->known && !p->topic->deleting)
        outbox_greet(c, p);
}

static void all_are_ordered(struct controller *c)
{
    ctl_walk(c, collect_electable, elect_among_arrived);
}

/* Before the orders, as a broker follows only leaders that it has heard of. */
static void all_are_greeted(struct controller *c)
{
    outbox_end_greetings(c);
    ctl_tell(c, order_arrived, all_are_ordered);
}

static void on_arrivals(struct controller *c, struct zk_batch *b)
{
    bool any = false;
    for (const struct zk_op *read = b->first; read != NULL; read = read->next) {
        struct registration r;
        if (read->kind != ZK_GET || read->result != ZK_OK)
            continue;
        int32_t id = (int32_t)strtol(strrchr(read->path, '/') + 1, NULL, 10);
        if (!registration_decode(&b->arena, id, read->value, &r))
            continue;
        r.epoch = read->stat.czxid;
        struct ctl_broker *old = context_broker(c, id);
        any |= old == NULL;
        if (old == NULL)
            broker_arrived(c, &r);
        else if (old->registration.epoch < r.epoch)
            post_bounced(c, old);
    }
    zk_batch_free(b);
    if (!any) { /* somebody has gone */
        event_done(c);
        return;
    }
    ctl_tell(c, greet_arrived, all_are_greeted);
}

/* The list comes with every broker's node, so that one that went and came back is noticed. */
static void on_brokers(struct controller *c, struct zk_batch *b)
{
    struct zk_op *list = b->first;
    struct zk_batch *reads = ctl_batch();
    char path[ZNODE_PATH_ROOM];
    look_for_gone(c, list);
    for (int32_t i = 0; list->result == ZK_OK && i < list->child_count; i++) {
        int32_t id;
        if (broker_id_parse(list->children[i], &id))
            zk_get(reads, broker_path(path, id), true);
    }
    zk_batch_free(b);
    ctl_submit(c, reads, on_arrivals);
}

void brokers_changed(struct controller *c, struct event *e UNUSED)
{
    struct zk_batch *b = ctl_batch();
    zk_children(b, ZNODE_BROKER_IDS, true);
    ctl_submit(c, b, on_brokers);
}

/* ---- Changed ---- */

static void on_modified(struct controller *c, struct zk_batch *b)
{
    struct registration r;
    struct zk_op *read = b->first;
    struct ctl_broker *old = context_broker(c, c->running->number);
    if (read->result == ZK_OK && registration_decode(&b->arena, c->running->number, read->value, &r)) {
        r.epoch = read->stat.czxid;
        if (old != NULL && old->registration.epoch < r.epoch) {
            post_bounced(c, old);
        } else if (old != NULL) {
            context_add_broker(c, &r);
            outbox_brokers_only(c);
        }
    }
    zk_batch_free(b);
    event_done(c);
}

void broker_modified(struct controller *c, struct event *e)
{
    char path[ZNODE_PATH_ROOM];
    struct zk_batch *b = ctl_batch();
    zk_get(b, broker_path(path, e->number), true);
    ctl_submit(c, b, on_modified);
}
