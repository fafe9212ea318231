/*
 * Asks the controller for changes of ISRs (KIP-497): all that are wanted go in one AlterPartition request, and while it
 * is under way, the next gather. On the control loop.
 */
#include "replica/isr_changes.h"

#include <inttypes.h>
#include <utlist.h>

#include "base/lock.h"
#include "base/logger.h"
#include "protocol/msg/alter_partition.h"
#include "protocol/msg/api.h"

enum { RETRY_MS = 50 };
enum { LAST_WITH_NAMES = 1 }; /* versions that came later have topics' ids instead */

struct asked {        /* one partition of the request under way */
    struct str topic; /* its name, which the partition has */
    struct uuid topic_id;
    int32_t index;
    struct partition *partition; /* with a reference */
    struct isr_proposal proposal;
    bool answered;
};

struct isr_changes {
    struct isr_changes_options options;
    struct lock lock;          /* guards `wanted` and `posted` */
    struct partition **wanted; /* with a reference each */
    size_t wanted_count, wanted_cap;
    bool posted;
    struct message message;
    struct timer retry;
    /* The request under way. */
    bool waiting, closed;
    struct link_call call;
    struct arena arena;
    struct asked *asked;
    int32_t asked_count;
    struct alter_partition_request request;
    struct alter_partition_response response;
};

static void send_wanted(struct isr_changes *c);

static void isr_changes_on_wanted(struct message *m)
{
    struct isr_changes *c = CONTAINER_OF(m, struct isr_changes, message);
    ensure(loop_is_mine(c->options.loop));
    lock_take(&c->lock);
    c->posted = false;
    lock_release(&c->lock);
    send_wanted(c);
}

static void isr_changes_on_retry(struct timer *t)
{
    send_wanted(CONTAINER_OF(t, struct isr_changes, retry));
}

void isr_changes_want(struct isr_changes *c, struct partition *p)
{
    partition_ref(p);
    lock_take(&c->lock);
    c->wanted = xgrow(c->wanted, c->wanted_count + 1, &c->wanted_cap, sizeof(struct partition *));
    c->wanted[c->wanted_count++] = p;
    bool post = !c->posted;
    c->posted = true;
    lock_release(&c->lock);
    if (post)
        loop_post(c->options.loop, &c->message);
}

/* ---- The request ---- */

static int isr_changes_by_topic(const void *a, const void *b)
{
    const struct asked *x = a, *y = b;
    return partition_order(x->topic, x->index, y->topic, y->index);
}

static int isr_changes_by_id(const void *a, const void *b)
{
    const struct asked *x = a, *y = b;
    int order = memcmp(&x->topic_id, &y->topic_id, sizeof(struct uuid));
    return order != 0 ? order : (x->index > y->index) - (x->index < y->index);
}

/* Takes what is wanted, as it is now: leadership may have gone since. */
static void take_wanted(struct isr_changes *c)
{
    ensure(!c->waiting && c->asked_count == 0);
    lock_take(&c->lock);
    struct partition **list = c->wanted;
    size_t n = c->wanted_count;
    c->wanted = NULL;
    c->wanted_count = c->wanted_cap = 0;
    lock_release(&c->lock);
    c->asked = ARENA_ARRAY(&c->arena, struct asked, MAX(n, (size_t)1));
    c->asked_count = 0;
    for (size_t i = 0; i < n; i++) {
        struct asked *x = &c->asked[c->asked_count];
        *x = (struct asked){.topic = str_of(partition_topic(list[i])),
                            .topic_id = partition_topic_id(list[i]),
                            .index = partition_index(list[i]),
                            .partition = list[i]};
        if (partition_isr_proposal(list[i], &c->arena, &x->proposal))
            c->asked_count++;
        else
            partition_unref(list[i]);
    }
    free(list);
    qsort(c->asked, (size_t)c->asked_count, sizeof(*c->asked), isr_changes_by_topic);
}

static void isr_changes_fill_partition(struct isr_changes *c, const struct asked *x,
                                       struct alter_partition_partition_data *out)
{
    alter_partition_partition_data_init(out);
    out->partition_index = x->index;
    out->leader_epoch = x->proposal.leader_epoch;
    out->partition_epoch = x->proposal.partition_epoch;
    out->new_isr.items = x->proposal.isr.v;
    out->new_isr.len = x->proposal.isr.n;
    ensure(out->new_isr.len > 0); /* a leader is in its own ISR */
    ARRAY_MAKE(&c->arena, out->new_isr_with_epochs, x->proposal.isr.n);
    for (int32_t i = 0; i < x->proposal.isr.n; i++) {
        alter_partition_broker_state_init(&out->new_isr_with_epochs.items[i]);
        out->new_isr_with_epochs.items[i].broker_id = x->proposal.isr.v[i];
        out->new_isr_with_epochs.items[i].broker_epoch = x->proposal.broker_epochs[i];
    }
}

static void isr_changes_make_request(struct isr_changes *c)
{
    struct alter_partition_request *q = &c->request;
    alter_partition_request_init(q);
    q->broker_id = c->options.broker_id;
    q->broker_epoch = c->options.broker_epoch(c->options.ctx);
    ARRAY_MAKE(&c->arena, q->topics, c->asked_count);
    q->topics.len = 0;
    for (int32_t i = 0; i < c->asked_count;) {
        struct alter_partition_topic_data *t = &q->topics.items[q->topics.len++];
        int32_t same = i + 1;
        while (same < c->asked_count && str_eq(c->asked[same].topic, c->asked[i].topic))
            same++;
        alter_partition_topic_data_init(t);
        t->topic_name = c->asked[i].topic;
        t->topic_id = c->asked[i].topic_id;
        ARRAY_MAKE(&c->arena, t->partitions, same - i);
        for (int32_t k = 0; i < same; i++, k++)
            isr_changes_fill_partition(c, &c->asked[i], &t->partitions.items[k]);
    }
}

/* Else all are named, as with Kafka: orders bring no ids before 2.8-IV1, and an id of zeros nobody knows. */
static bool isr_changes_all_have_ids(const struct isr_changes *c)
{
    for (int32_t i = 0; i < c->asked_count; i++)
        if (uuid_is_zero(c->asked[i].topic_id))
            return false;
    return true;
}

/* ---- The answer ---- */

static bool has_ids(const struct isr_changes *c)
{
    return c->call.version > LAST_WITH_NAMES;
}

/* What was asked for is in the order in which the answer is looked up. */
static struct asked *isr_changes_find_asked(struct isr_changes *c, const struct alter_partition_response_topic_data *t,
                                            int32_t index)
{
    struct asked key = {.topic = t->topic_name, .topic_id = t->topic_id, .index = index};
    return bsearch(&key, c->asked, (size_t)c->asked_count, sizeof(key),
                   has_ids(c) ? isr_changes_by_id : isr_changes_by_topic);
}

static bool is_final(enum kafka_error error)
{
    switch (error) {
    case ERR_UNKNOWN_TOPIC_OR_PARTITION:
    case ERR_UNKNOWN_TOPIC_ID:
    case ERR_FENCED_LEADER_EPOCH:
    case ERR_INVALID_UPDATE_VERSION:
    case ERR_INVALID_REQUEST:
    case ERR_NEW_LEADER_ELECTED:
        return true; /* the controller knows more: it will tell us by LeaderAndIsr */
    default:
        return false;
    }
}

static void isr_changes_take_partition(struct isr_changes *c, struct asked *x,
                                       const struct alter_partition_response_partition_data *in)
{
    struct partition *p = x->partition;
    x->answered = true;
    if (in->error_code == ERR_NONE) {
        partition_isr_decided(p, in->leader_epoch, in->partition_epoch, (struct int_list){in->isr.items, in->isr.len});
    } else if (in->error_code == ERR_OPERATION_NOT_ATTEMPTED || in->error_code == ERR_INELIGIBLE_REPLICA) {
        partition_isr_refused(p, x->proposal.leader_epoch);
    } else if (!is_final((enum kafka_error)in->error_code)) {
        isr_changes_want(c, p);
    }
    if (in->error_code != ERR_NONE)
        partition_count_isr_failure(p);
    if (in->error_code != ERR_NONE)
        log_info("%s-%" PRId32 ": the controller has not changed the ISR: %s", partition_topic(p), partition_index(p),
                 error_name(in->error_code));
}

static void isr_changes_take_answer(struct isr_changes *c)
{
    if (has_ids(c))
        qsort(c->asked, (size_t)c->asked_count, sizeof(*c->asked), isr_changes_by_id);
    for (int32_t t = 0; t < c->response.topics.len; t++) {
        const struct alter_partition_response_topic_data *topic = &c->response.topics.items[t];
        for (int32_t i = 0; i < topic->partitions.len; i++) {
            struct asked *x = isr_changes_find_asked(c, topic, topic->partitions.items[i].partition_index);
            if (x != NULL)
                isr_changes_take_partition(c, x, &topic->partitions.items[i]);
        }
    }
}

static void isr_changes_finish_request(struct isr_changes *c)
{
    for (int32_t i = 0; i < c->asked_count; i++)
        partition_unref(c->asked[i].partition);
    c->asked_count = 0;
    c->waiting = false;
    arena_deinit(&c->arena);
}

/* Or they would be waited for, and never asked for again. Whether there are none. */
static bool want_unanswered(struct isr_changes *c)
{
    bool all = true;
    for (int32_t i = 0; i < c->asked_count; i++) {
        if (c->asked[i].answered)
            continue;
        all = false;
        if (!c->closed)
            isr_changes_want(c, c->asked[i].partition);
    }
    return all;
}

static void isr_changes_on_answer(struct link_call *call, enum kafka_error error)
{
    struct isr_changes *c = CONTAINER_OF(call, struct isr_changes, call);
    ensure(c->waiting && loop_is_mine(c->options.loop));
    if (error == ERR_NONE)
        error = (enum kafka_error)c->response.error_code;
    if (error == ERR_NONE)
        isr_changes_take_answer(c);
    bool all = want_unanswered(c);
    if (error != ERR_NONE)
        log_info("The controller has not answered for %" PRId32 " ISRs: %s", c->asked_count,
                 error_name((int16_t)error));
    isr_changes_finish_request(c);
    if (!c->closed)
        timer_start(&c->retry, error == ERR_NONE && all ? 0 : RETRY_MS);
}

static void send_wanted(struct isr_changes *c)
{
    ensure(loop_is_mine(c->options.loop));
    if (c->waiting || c->closed || timer_is_running(&c->retry))
        return;
    take_wanted(c);
    if (c->asked_count == 0) {
        arena_deinit(&c->arena);
        return;
    }
    isr_changes_make_request(c);
    c->waiting = true;
    c->call = (struct link_call){.key = API_ALTER_PARTITION,
                                 .most = isr_changes_all_have_ids(c) ? 0 : LAST_WITH_NAMES,
                                 .request = &c->request,
                                 .response = &c->response,
                                 .arena = &c->arena,
                                 .done = isr_changes_on_answer};
    controller_link_send(c->options.link, &c->call);
}

/* ---- Life ---- */

struct isr_changes *isr_changes_new(const struct isr_changes_options *options)
{
    struct isr_changes *c = xcalloc(1, sizeof(*c));
    c->options = *options;
    c->message.deliver = isr_changes_on_wanted;
    lock_init(&c->lock, RANK_ISR_CHANGES);
    timer_init(&c->retry, options->loop, isr_changes_on_retry);
    return c;
}

void isr_changes_close(struct isr_changes *c)
{
    ensure(loop_is_mine(c->options.loop));
    c->closed = true;
    timer_stop(&c->retry);
}

void isr_changes_free(struct isr_changes *c)
{
    if (c == NULL)
        return;
    ensure(!c->waiting);
    for (size_t i = 0; i < c->wanted_count; i++)
        partition_unref(c->wanted[i]);
    free(c->wanted);
    lock_deinit(&c->lock);
    free(c);
}
