/*
 * AlterPartition (KIP-497, KIP-704, KIP-841): a leader asks for another ISR. What is asked is judged by what is known
 * here, written to ZooKeeper, and told to all brokers.
 *
 * A broker that is back brings a request with all that its leaders have of it, which may be ten thousands of
 * partitions. They are taken in pieces, a turn of the loop each, and several are written in one transaction. Where that
 * fails, as one of them was written by somebody else meanwhile, nothing of it was done: the others are written again
 * without it, and if that fails, too, each alone, so that they do not suffer from it. What is there instead of our own
 * is read, and decides.
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
    struct partition_znode next; /* what is to be there; its version is that of what it replaces */
    int tries;                   /* of which the last is in a transaction of its own */
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
static void take_conflict(struct controller *c, struct zk_batch *b, const struct zk_op *read)
{
    const struct writing *w = read->owner;
    struct ctl_partition *p = w->partition;
    struct partition_znode now;
    if (read->result != ZK_OK || !partition_decode(&b->arena, p->topic->name, p->index, read->value, &now))
        return;
    now.version = read->stat.version;
    bool mine = now.controller_epoch == c->epoch && now.leader_epoch == p->leadership.leader_epoch &&
                int_list_eq(now.isr, w->next.isr);
    partition_set_leadership(p, &now);
    if (mine) {
        w->answer->error_code = ERR_NONE;
        take_isr(c, p, w->answer);
    }
}

enum { MOST_TRIES = 3 };

static void isr_write(struct controller *c, struct zk_batch *b, struct ctl_multi *m, struct writing *w)
{
    w->tries++;
    ensure(w->tries <= MOST_TRIES);
    write_state(c, b, w->tries < MOST_TRIES ? m : NULL, w->partition, &w->next, w->next.version)->owner = w;
}

/* Where one beside it was in the way. Its operation is nobody's any more. */
static void write_again(struct controller *c, struct zk_batch *b, struct zk_batch *next)
{
    struct ctl_multi m = {0};
    struct zk_op *op;
    ZK_OWNED_FOREACH (b, op) {
        struct writing *w = op->owner;
        if (op->result != ZK_UNDONE || w->tries == MOST_TRIES)
            continue;
        isr_write(c, next, &m, w);
        op->owner = NULL;
    }
}

/* `next` gets what is to be done about it then. */
static void take_write(struct controller *c, struct zk_batch *b, const struct zk_op *set, struct zk_batch *next)
{
    struct writing *w = set->owner;
    struct ctl_partition *p = w->partition;
    if (partition_take_written(p, &b->arena, set)) {
        take_isr(c, p, w->answer);
    } else {
        /* Who is told that waits for an order, which only what others have written brings; else it asks again. */
        w->answer->error_code = write_is_overtaken(set) ? ERR_INVALID_UPDATE_VERSION : ERR_UNKNOWN_SERVER_ERROR;
        read_state(next, p)->owner = w;
    }
    outbox_metadata(c, p);
}

static void alter_next(struct controller *c);

static void isr_on_answers(struct controller *c, struct zk_batch *b)
{
    struct zk_batch *next = ctl_batch();
    const struct zk_op *op;
    write_again(c, b, next);
    ZK_OWNED_FOREACH (b, op) {
        if (op->kind == ZK_GET)
            take_conflict(c, b, op);
        else
            take_write(c, b, op, next);
    }
    zk_batch_free(b);
    if (next->count > 0) {
        ctl_submit(c, next, isr_on_answers);
        return;
    }
    zk_batch_free(next);
    outbox_flush_if_full(c);
    alter_next(c);
}

/* ---- The request's partitions, in pieces ---- */

static void isr_add_write(struct controller *c, struct zk_batch *b, struct ctl_multi *m, struct ctl_partition *p,
                          const struct alter_partition_partition_data *in, struct int_list isr,
                          struct alter_partition_response_partition_data *out)
{
    struct writing *w = ARENA_NEW(call_of(c)->arena, struct writing);
    *w = (struct writing){.partition = p, .next = p->leadership, .answer = out};
    w->next.controller_epoch = c->epoch;
    w->next.isr = isr;
    w->next.recovery_state = in->leader_recovery_state;
    isr_write(c, b, m, w);
}

static struct ctl_topic *isr_find_topic(struct controller *c, int16_t version,
                                        const struct alter_partition_topic_data *in)
{
    return version < IDS_SINCE ? context_topic(c, in->topic_name) : context_topic_by_id(c, in->topic_id);
}

/* NULL with an error in the answer: it is not known. */
static struct ctl_partition *isr_find_partition(const struct alter_partition_call *call, const struct ctl_topic *t,
                                                struct alter_partition_response_partition_data *out)
{
    struct ctl_partition *p = t != NULL ? topic_partition(t, out->partition_index) : NULL;
    if (p != NULL && p->known)
        return p;
    out->error_code = t == NULL && call->version >= IDS_SINCE ? ERR_UNKNOWN_TOPIC_ID : ERR_UNKNOWN_TOPIC_OR_PARTITION;
    return NULL;
}

static void alter_one(struct controller *c, struct zk_batch *b, struct ctl_multi *m, const struct ctl_topic *t,
                      const struct alter_partition_partition_data *in,
                      struct alter_partition_response_partition_data *out)
{
    struct alter_partition_call *call = call_of(c);
    int64_t *epochs;
    bool settled;
    alter_partition_response_partition_data_init(out);
    out->partition_index = in->partition_index;
    struct ctl_partition *p = isr_find_partition(call, t, out);
    if (p == NULL)
        return;
    struct int_list isr = asked_isr(call->arena, call->version, in, &epochs);
    out->error_code = (int16_t)judge(c, p, call->version, in, isr, epochs, &settled);
    if (settled)
        isr_tell_state(c, p, out);
    else if (out->error_code == ERR_NONE)
        isr_add_write(c, b, m, p, in, isr, out);
    else
        outbox_metadata(c, p);
}

static void begin_topic(struct alter_partition_call *call, const struct alter_partition_topic_data *in,
                        struct alter_partition_response_topic_data *out)
{
    alter_partition_response_topic_data_init(out);
    out->topic_name = in->topic_name;
    out->topic_id = in->topic_id;
    ARRAY_MAKE(call->arena, out->partitions, MAX(in->partitions.len, 0));
}

/* Of the topic under way, so many at most. Returns how many; below that, the next topic's turn has come. */
static int32_t alter_some(struct controller *c, struct zk_batch *b, struct ctl_multi *m, int32_t most)
{
    struct alter_partition_call *call = call_of(c);
    const struct alter_partition_topic_data *in = &call->request->topics.items[call->next_topic];
    struct alter_partition_response_topic_data *out = &call->response->topics.items[call->next_topic];
    const struct ctl_topic *t = isr_find_topic(c, call->version, in);
    int32_t n = MIN(MAX(in->partitions.len, 0) - call->next_partition, most);
    ensure(n >= 0);
    if (call->next_partition == 0)
        begin_topic(call, in, out);
    for (int32_t i = 0; i < n; i++, call->next_partition++)
        alter_one(c, b, m, t, &in->partitions.items[call->next_partition],
                  &out->partitions.items[call->next_partition]);
    return n;
}

/* Judges the next partitions, and writes what becomes of it. */
static void alter_next(struct controller *c)
{
    struct alter_partition_call *call = call_of(c);
    struct ctl_multi m = {0};
    struct zk_batch *b = ctl_batch();
    for (int32_t left = PIECE; left > 0 && call->next_topic < call->request->topics.len;) {
        int32_t n = alter_some(c, b, &m, left);
        left -= MAX(n, 1); /* an empty topic is work, too */
        if (call->next_partition < call->request->topics.items[call->next_topic].partitions.len)
            continue;
        call->next_topic++;
        call->next_partition = 0;
    }
    if (b->count > 0 || call->next_topic < call->request->topics.len) {
        ctl_submit(c, b, isr_on_answers);
        return;
    }
    zk_batch_free(b);
    call_answer(c, ERR_NONE);
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
    c->running->gathers = true; /* from a broker that is back, many leaders hear at the same time */
    call->next_topic = call->next_partition = 0;
    ARRAY_MAKE(call->arena, call->response->topics, MAX(q->topics.len, 0));
    alter_next(c);
}

void controller_alter_partitions(struct controller *c, struct alter_partition_call *call)
{
    ctl_post_call(c, "AlterPartition", alter_partitions, &call->call, ERR_NOT_CONTROLLER);
}
