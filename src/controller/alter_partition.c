/*
 * AlterPartition (KIP-497, KIP-704, KIP-841): a leader asks for another ISR. What is asked is judged by what is known
 * here, written to ZooKeeper, and told to all brokers.
 */
#include <inttypes.h>

#include "base/logger.h"
#include "controller/controller_internal.h"
#include "protocol/msg/alter_partition.h"

enum { RECOVERY_SINCE = 1, IDS_SINCE = 2, INELIGIBLE_SINCE = 2, WITH_EPOCHS_SINCE = 3 };

static struct alter_partition_call *call_of(struct controller *c)
{
    return CONTAINER_OF(c->running->call, struct alter_partition_call, call);
}

enum { ANY_EPOCH = -1 }; /* of a broker: its leader does not know it */

/* The ISR that is asked for, and the epochs in which its brokers were heard of last. */
static struct int_list asked_isr(struct arena *a, int16_t version, const struct alter_partition_partition_data *in,
                                 int64_t **epochs)
{
    int32_t n = version < WITH_EPOCHS_SINCE ? in->new_isr.len : in->new_isr_with_epochs.len;
    struct int_list isr = {ARENA_ARRAY(a, int32_t, MAX(n, 1)), 0};
    *epochs = ARENA_ARRAY(a, int64_t, MAX(n, 1));
    for (; isr.n < n; isr.n++) {
        const struct alter_partition_broker_state *b = &in->new_isr_with_epochs.items[isr.n];
        isr.v[isr.n] = version < WITH_EPOCHS_SINCE ? in->new_isr.items[isr.n] : b->broker_id;
        (*epochs)[isr.n] = version < WITH_EPOCHS_SINCE ? ANY_EPOCH : b->broker_epoch;
    }
    return isr;
}

/* What a broker had before it registered anew is no word of what it has now (KIP-903). */
static bool may_be_in_isr(const struct controller *c, const struct ctl_partition *p, int32_t id, int64_t epoch)
{
    return replica_is_online(c, p, id) && (epoch == ANY_EPOCH || epoch == context_broker(c, id)->registration.epoch);
}

/* Copied, as the answer is encoded on another thread. */
static void isr_tell_state(struct controller *c, const struct ctl_partition *p,
                           struct alter_partition_response_partition_data *out)
{
    struct int_list isr = int_list_copy(call_of(c)->arena, p->leadership.isr);
    out->leader_id = p->leadership.leader;
    out->leader_epoch = p->leadership.leader_epoch;
    out->isr.items = isr.v;
    out->isr.len = isr.n;
    out->leader_recovery_state = (int8_t)p->leadership.recovery_state;
    out->partition_epoch = p->leadership.version;
}

/*
 * A broker is to be in the ISR that cannot be now. Leaders before 3.1 know no answer but success after which they ask
 * again: with an error they go on waiting until there is another leader epoch. So they are told how it is, and stays.
 */
static enum kafka_error decline(int16_t version, bool *settled)
{
    if (version >= RECOVERY_SINCE)
        return version < INELIGIBLE_SINCE ? ERR_OPERATION_NOT_ATTEMPTED : ERR_INELIGIBLE_REPLICA;
    *settled = true;
    return ERR_NONE;
}

/* Why not; ERR_NONE with `*settled` when it is so already. */
static enum kafka_error judge(struct controller *c, const struct ctl_partition *p, int16_t version,
                              const struct alter_partition_partition_data *in, struct int_list isr,
                              const int64_t *epochs, bool *settled)
{
    const struct partition_znode *now = &p->leadership;
    *settled = false;
    if (in->leader_epoch > now->leader_epoch || in->partition_epoch > now->version)
        return ERR_NOT_CONTROLLER; /* it has heard of a newer controller than this one is */
    if (in->leader_epoch < now->leader_epoch)
        return ERR_FENCED_LEADER_EPOCH;
    if (isr.n == now->isr.n && int_list_within(isr, now->isr) && in->leader_recovery_state == now->recovery_state) {
        *settled = true;
        return ERR_NONE;
    }
    if (in->partition_epoch < now->version)
        return ERR_INVALID_UPDATE_VERSION;
    if (in->leader_recovery_state == 1 && isr.n > 1)
        return ERR_INVALID_REQUEST;
    if (in->leader_recovery_state == 1 && now->recovery_state == 0)
        return ERR_INVALID_REQUEST;
    if (isr.n == 0)
        return ERR_INVALID_REQUEST;
    for (int32_t i = 0; i < isr.n; i++)
        if (!may_be_in_isr(c, p, isr.v[i], epochs[i]))
            return decline(version, settled);
    return ERR_NONE;
}

/* Whom an operation belongs to; in the call's arena. */
struct writing {
    struct ctl_partition *partition;
    struct int_list isr; /* that is asked for */
    struct alter_partition_response_partition_data *answer;
};

static void take_isr(struct controller *c, const struct ctl_partition *p,
                     struct alter_partition_response_partition_data *answer)
{
    isr_tell_state(c, p, answer);
    reassignment_isr_changed(c, p);
    log_info("Partition %s-%" PRId32 ": the ISR is now of %" PRId32 " replicas, partition epoch %" PRId32,
             p->topic->name, p->index, p->leadership.isr.n, p->leadership.version);
}

/* What is there is another's, or our own write, whose answer was lost and which was sent again. */
static void on_conflicts_read(struct controller *c, struct zk_batch *b)
{
    const struct zk_op *read;
    ZK_OWNED_FOREACH (b, read) {
        const struct writing *w = read->owner;
        struct ctl_partition *p = w->partition;
        struct partition_znode now;
        if (read->result != ZK_OK || !partition_decode(&b->arena, p->topic->name, p->index, read->value, &now))
            continue;
        now.version = read->stat.version;
        bool mine = now.controller_epoch == c->epoch && now.leader_epoch == p->leadership.leader_epoch &&
                    int_list_eq(now.isr, w->isr);
        partition_set_leadership(p, &now);
        if (mine) {
            w->answer->error_code = ERR_NONE;
            take_isr(c, p, w->answer);
        }
    }
    zk_batch_free(b);
    call_answer(c, ERR_NONE);
}

static void isr_on_written(struct controller *c, struct zk_batch *b)
{
    struct zk_batch *reads = ctl_batch();
    const struct zk_op *set;
    ZK_OWNED_FOREACH (b, set) {
        struct writing *w = set->owner;
        struct ctl_partition *p = w->partition;
        if (partition_take_written(p, &b->arena, set)) {
            take_isr(c, p, w->answer);
        } else {
            w->answer->error_code = ERR_INVALID_UPDATE_VERSION;
            read_state(reads, p)->owner = w;
        }
        outbox_metadata(c, p);
    }
    zk_batch_free(b);
    ctl_submit(c, reads, on_conflicts_read);
}

static void isr_add_write(struct controller *c, struct zk_batch *b, struct ctl_partition *p,
                          const struct alter_partition_partition_data *in, struct int_list isr,
                          struct alter_partition_response_partition_data *out)
{
    struct partition_znode next = p->leadership;
    struct writing *w = ARENA_NEW(call_of(c)->arena, struct writing);
    *w = (struct writing){p, isr, out};
    next.controller_epoch = c->epoch;
    next.isr = isr;
    next.recovery_state = in->leader_recovery_state;
    write_state(c, b, NULL, p, &next, p->leadership.version)->owner = w;
}

static struct ctl_topic *isr_find_topic(struct controller *c, int16_t version,
                                        const struct alter_partition_topic_data *in)
{
    return version < IDS_SINCE ? context_topic(c, in->topic_name) : context_topic_by_id(c, in->topic_id);
}

static void alter_topic(struct controller *c, struct zk_batch *b, const struct alter_partition_topic_data *in,
                        struct alter_partition_response_topic_data *out)
{
    struct alter_partition_call *call = call_of(c);
    struct ctl_topic *t = isr_find_topic(c, call->version, in);
    alter_partition_response_topic_data_init(out);
    out->topic_name = in->topic_name;
    out->topic_id = in->topic_id;
    ARRAY_MAKE(call->arena, out->partitions, MAX(in->partitions.len, 0));
    for (int32_t i = 0; i < in->partitions.len; i++) {
        const struct alter_partition_partition_data *q = &in->partitions.items[i];
        struct alter_partition_response_partition_data *o = &out->partitions.items[i];
        alter_partition_response_partition_data_init(o);
        o->partition_index = q->partition_index;
        struct ctl_partition *p = t != NULL ? topic_partition(t, q->partition_index) : NULL;
        if (p == NULL || !p->known) {
            o->error_code =
                t == NULL && call->version >= IDS_SINCE ? ERR_UNKNOWN_TOPIC_ID : ERR_UNKNOWN_TOPIC_OR_PARTITION;
            continue;
        }
        int64_t *epochs;
        struct int_list isr = asked_isr(call->arena, call->version, q, &epochs);
        bool settled;
        o->error_code = (int16_t)judge(c, p, call->version, q, isr, epochs, &settled);
        if (settled)
            isr_tell_state(c, p, o);
        else if (o->error_code == ERR_NONE)
            isr_add_write(c, b, p, q, isr, o);
        else
            outbox_metadata(c, p);
    }
}

static void alter_partitions(struct controller *c, struct event *e UNUSED)
{
    struct alter_partition_call *call = call_of(c);
    const struct alter_partition_request *q = call->request;
    const struct ctl_broker *broker = context_broker(c, q->broker_id);
    if (broker == NULL || broker->registration.epoch != q->broker_epoch) {
        call_answer(c, ERR_STALE_BROKER_EPOCH);
        return;
    }
    struct zk_batch *b = ctl_batch();
    ARRAY_MAKE(call->arena, call->response->topics, MAX(q->topics.len, 0));
    for (int32_t t = 0; t < q->topics.len; t++)
        alter_topic(c, b, &q->topics.items[t], &call->response->topics.items[t]);
    if (b->count > 0) {
        ctl_submit(c, b, isr_on_written);
        return;
    }
    zk_batch_free(b);
    call_answer(c, ERR_NONE);
}

void controller_alter_partitions(struct controller *c, struct alter_partition_call *call)
{
    ctl_post_call(c, "AlterPartition", alter_partitions, &call->call, ERR_NOT_CONTROLLER);
}
