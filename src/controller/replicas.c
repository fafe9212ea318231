/* Replicas leave: their brokers have gone or are about to, or the partition is reassigned to others. */
#include "controller/controller_internal.h"

static void shrink_next(struct controller *c);
static void take_piece_offline(struct controller *c);

void replica_leaves(struct controller *c, struct ctl_partition *p, int32_t broker)
{
    enum replica_state *state = replica_state_of(p, broker);
    ensure(c->running != NULL); /* c->work is its */
    if (int_list_has(p->leaving, broker))
        return;
    if (state != NULL && *state == REPLICA_ONLINE)
        *state = REPLICA_OFFLINE;
    outbox_stop_replica(c, broker, p, false);
    if (p->leaving.n == 0)
        partition_set_add(&c->work, p);
    int_list_append(&p->leaving, broker);
}

static void has_left(struct controller *c, struct ctl_partition *p)
{
    ensure(p->leaving.n > 0);
    if (p->known && !p->topic->deleting)
        partition_announce(c, p, false);
    free(p->leaving.v);
    p->leaving = (struct int_list){0};
}

static void replicas_finish(struct controller *c)
{
    step_fn then = c->then;
    if (work_next(c)) {
        take_piece_offline(c);
        return;
    }
    c->then = NULL;
    ensure(then != NULL);
    then(c);
}

/* The state without those who leave; somebody stays in the ISR, as only its members may lead again. */
static bool without_leaving(struct controller *c, const struct ctl_partition *p, const struct partition_znode *now,
                            struct arena *a, struct partition_znode *out)
{
    struct int_list isr = {ARENA_ARRAY(a, int32_t, MAX(now->isr.n, 1)), 0};
    for (int32_t i = 0; i < now->isr.n; i++)
        if (!int_list_has(p->leaving, now->isr.v[i]))
            isr.v[isr.n++] = now->isr.v[i];
    if (isr.n == now->isr.n)
        return false;
    if (isr.n == 0)
        isr.v[isr.n++] = int_list_has(now->isr, now->leader) ? now->leader : now->isr.v[0];
    ensure(isr.n > 0);
    *out = *now;
    out->leader = int_list_has(p->leaving, now->leader) ? -1 : now->leader;
    out->leader_epoch = now->leader_epoch + 1;
    out->controller_epoch = c->epoch;
    out->isr = isr;
    return true;
}

/* Whoever wrote it: a leader that is gone does not lead. */
static void settle_online(const struct controller *c, struct ctl_partition *p)
{
    if (p->leadership.leader < 0 && p->state == PARTITION_ONLINE)
        partition_change_state(c, p, PARTITION_OFFLINE);
}

static void on_shrunk(struct controller *c, struct zk_batch *b)
{
    struct partition_set again = {0};
    const struct zk_op *set;
    ZK_OWNED_FOREACH (b, set) {
        struct ctl_partition *p = set->owner;
        bool written = partition_take_written(p, &b->arena, set);
        if (!written && write_is_overtaken(set)) {
            partition_set_add(&again, p);
            continue;
        }
        if (written)
            settle_online(c, p);
        has_left(c, p);
    }
    zk_batch_free(b);
    if (work_again(c, &again)) {
        shrink_next(c);
        return;
    }
    for (size_t i = 0; i < c->work.n; i++)
        has_left(c, c->work.v[i]);
    replicas_finish(c);
}

/* True if there is something to be written, which is added to `b`. */
static bool shrink_one(struct controller *c, struct zk_batch *b, struct ctl_multi *m, struct ctl_partition *p)
{
    struct partition_znode next;
    if (state_must_be_read(p))
        return false; /* it could not be */
    if (!without_leaving(c, p, &p->leadership, &b->arena, &next))
        return false; /* perhaps by our own write, whose answer was lost: has_left() tells of it */
    write_state(c, b, work_goes_alone(c) ? NULL : m, p, &next, p->leadership.version);
    return true;
}

static void shrink_all(struct controller *c)
{
    struct zk_batch *b = ctl_batch();
    struct ctl_multi m = {0};
    for (size_t i = 0; i < c->work.n; i++)
        if (!shrink_one(c, b, &m, c->work.v[i]))
            has_left(c, c->work.v[i]);
    ctl_submit(c, b, on_shrunk);
}

static void replicas_on_states_read(struct controller *c, struct zk_batch *b)
{
    const struct zk_op *read;
    ZK_OWNED_FOREACH (b, read) {
        partition_take_read(c, &b->arena, read);
        settle_online(c, read->owner);
    }
    zk_batch_free(b);
    shrink_all(c);
}

static void shrink_next(struct controller *c)
{
    struct zk_batch *b = states_to_read(c);
    if (b->count > 0) {
        ctl_submit(c, b, replicas_on_states_read);
        return;
    }
    zk_batch_free(b);
    shrink_all(c);
}

static bool is_in_sync(const struct ctl_partition *p)
{
    for (int32_t i = 0; p->known && i < p->leaving.n; i++)
        if (int_list_has(p->leadership.isr, p->leaving.v[i]))
            return true;
    return !p->known;
}

/* Out of whose ISR they are already, as a new leader's was made without them, has nothing to be written. */
static void skip_those_without(struct controller *c)
{
    struct partition_set rest = {0};
    for (size_t i = 0; i < c->work.n; i++) {
        if (is_in_sync(c->work.v[i]))
            partition_set_add(&rest, c->work.v[i]);
        else
            has_left(c, c->work.v[i]);
    }
    partition_set_clear(&c->work);
    c->work = rest;
}

static void take_piece_offline(struct controller *c)
{
    skip_those_without(c);
    if (c->work.n > 0)
        shrink_next(c);
    else
        replicas_finish(c);
}

void replicas_offline(struct controller *c, step_fn then)
{
    ensure(c->then == NULL);
    ensure(c->running != NULL && then != NULL);
    c->then = then;
    work_begin(c);
    take_piece_offline(c);
}

/* ---- Log directories that fail ---- */

static void failed_leave(struct controller *c, struct ctl_partition *p)
{
    if (p->topic->deleting)
        return;
    for (int32_t k = 0; k < p->just_failed.n; k++)
        replica_leaves(c, p, p->just_failed.v[k]);
    p->just_failed.n = 0;
}

static void take_failed_out(struct controller *c)
{
    replicas_offline(c, event_done_step);
}

static void after_election(struct controller *c)
{
    ctl_walk(c, failed_leave, take_failed_out);
}

static void elect_for_failed(struct controller *c)
{
    partitions_online(c, ELECT_OFFLINE, after_election);
}

static void lead_no_more(struct controller *c, struct ctl_partition *p)
{
    if (p->known && p->state == PARTITION_ONLINE && int_list_has(p->just_failed, p->leadership.leader))
        partition_change_state(c, p, PARTITION_OFFLINE);
    collect_electable(c, p);
}

/* Others lead what they have led, before they leave the ISRs. */
static void replicas_failed(struct controller *c, struct event *e UNUSED)
{
    ctl_walk(c, lead_no_more, elect_for_failed);
}

static void elect_those_back(struct controller *c)
{
    partitions_online(c, ELECT_OFFLINE, event_done_step);
}

static void replicas_back(struct controller *c, struct event *e UNUSED)
{
    ctl_walk(c, collect_electable, elect_those_back);
}

void replica_reported(struct controller *c, struct ctl_partition *p, int32_t broker, enum kafka_error error)
{
    bool failed = int_list_has(p->failed, broker);
    if (error == ERR_KAFKA_STORAGE_ERROR && !failed) {
        int_list_append(&p->failed, broker);
        int_list_append(&p->just_failed, broker);
        event_post_once(c, "LeaderAndIsrResponseReceived", replicas_failed);
    } else if (error == ERR_NONE && failed) {
        int_list_remove(&p->failed, broker);
        int_list_remove(&p->just_failed, broker);
        event_post_once(c, "LeaderAndIsrResponseReceived", replicas_back);
    }
}
