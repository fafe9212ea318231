/* Brokers come, go, and change their endpoints. */
#include <inttypes.h>
#include <utlist.h>

#include "base/logger.h"
#include "controller/controller_internal.h"

static void done(struct controller *c)
{
    event_done(c);
}

/* ---- Gone ---- */

static void elect_after_loss(struct controller *c)
{
    collect_electable(c);
    partitions_online(c, ELECT_OFFLINE, done);
}

static void broker_failed(struct controller *c, struct event *e)
{
    int32_t id = e->number;
    struct ctl_broker *b = context_broker(c, id);
    if (b == NULL) {
        event_done(c);
        return;
    }
    log_info("Broker %" PRId32 " has gone", id);
    context_remove_broker(c, id);
    outbox_brokers_only(c);
    for (struct ctl_topic *t = c->topics; t != NULL; t = t->hh.next) {
        for (int32_t i = 0; i < t->count; i++) {
            struct ctl_partition *p = t->partitions[i];
            if (p->known && p->leadership.leader == id && p->state == PARTITION_ONLINE)
                p->state = PARTITION_OFFLINE;
            enum replica_state *r = replica_state_of(p, id);
            if (r != NULL && *r == REPLICA_DELETION_STARTED)
                *r = REPLICA_INELIGIBLE;
        }
    }
    replicas_offline(c, id, elect_after_loss);
}

/* ---- Come ---- */

static void resume_after_arrival(struct controller *c)
{
    deletions_resume(c, done);
}

static void broker_arrived(struct controller *c, const struct registration *r)
{
    log_info("Broker %" PRId32 " has come, epoch %" PRId64, r->id, r->epoch);
    struct ctl_broker *b = context_add_broker(c, r);
    outbox_brokers_only(c);
    outbox_all_to(c, b);
    for (struct ctl_topic *t = c->topics; t != NULL; t = t->hh.next) {
        for (int32_t i = 0; i < t->count; i++) {
            struct ctl_partition *p = t->partitions[i];
            enum replica_state *state = replica_state_of(p, r->id);
            if (state == NULL || t->deleting)
                continue;
            *state = REPLICA_ONLINE;
            struct int_list one = {&(int32_t){r->id}, 1};
            if (p->known)
                outbox_leader_and_isr(c, one, p, false);
        }
    }
}

static void on_arrivals(struct controller *c, struct zk_batch *b)
{
    for (size_t i = 0; i < b->count; i++) {
        struct registration r;
        if (b->ops[i].kind != ZK_GET || b->ops[i].result != ZK_OK)
            continue;
        int32_t id = (int32_t)strtol(strrchr(b->ops[i].path, '/') + 1, NULL, 10);
        if (!registration_decode(&b->arena, id, b->ops[i].value, &r))
            continue;
        r.epoch = b->ops[i].stat.czxid;
        const struct ctl_broker *old = context_broker(c, id);
        if (old == NULL)
            broker_arrived(c, &r);
    }
    zk_batch_free(b);
    collect_electable(c);
    partitions_online(c, ELECT_OFFLINE, resume_after_arrival);
}

static bool is_listed(const struct zk_op *list, int32_t id)
{
    for (int32_t i = 0; i < list->child_count; i++)
        if (strtol(list->children[i].p, NULL, 10) == id)
            return true;
    return false;
}

static void post_failure(struct controller *c, int32_t id)
{
    struct event *e = event_new("BrokerFailure", broker_failed);
    e->number = id;
    event_add(c, e);
}

/* The list comes with every broker's node, so that one that went and came back is noticed. */
static void on_brokers(struct controller *c, struct zk_batch *b)
{
    struct zk_op *list = &b->ops[0];
    struct zk_batch *reads = ctl_batch();
    char path[ZNODE_PATH_ROOM];
    struct ctl_broker *known;
    LL_FOREACH (c->brokers, known)
        if (list->result == ZK_OK && !is_listed(list, known->id))
            post_failure(c, known->id);
    for (int32_t i = 0; list->result == ZK_OK && i < list->child_count; i++) {
        int32_t id = (int32_t)strtol(list->children[i].p, NULL, 10);
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
    struct zk_op *read = &b->ops[0];
    struct ctl_broker *old = context_broker(c, c->running->number);
    if (read->result == ZK_OK && registration_decode(&b->arena, c->running->number, read->value, &r)) {
        r.epoch = read->stat.czxid;
        if (old != NULL && old->registration.epoch < r.epoch) { /* bounced: as if it went and came */
            post_failure(c, r.id);
            event_post(c, "BrokerChange", brokers_changed);
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
