/* DeleteRecords (KIP-107): a leader's log begins later, and the answer waits until the followers' logs do, too. */
#include "protocol/msg/delete_records.h"

#include "cluster/internal_topics.h"
#include "server/authorize.h"
#include "server/waiting_metrics.h"

struct deleted {
    struct partition *partition; /* with a reference, until it is settled */
    struct delete_records_partition_result *out;
    struct waiter waiter;
    int64_t offset; /* where the log is to begin */
};

struct deletion {
    struct request *r;
    struct delete_records_request request;
    struct delete_records_response response;
    struct deleted *items;
    int32_t count, unsettled;
    int32_t places; /* on which it waits; 0: it does not */
    struct sleeper sleeper;
    struct timer deadline;
};

static void delete_records_settle(struct deletion *d, struct deleted *x, enum kafka_error error, int64_t low_watermark)
{
    ensure(d->unsettled > 0);
    x->out->error_code = (int16_t)error;
    x->out->low_watermark = error == ERR_NONE ? low_watermark : -1;
    partition_unwait(&x->waiter);
    partition_unref(x->partition);
    x->partition = NULL;
    d->unsettled--;
}

static void delete_records_finish(struct deletion *d)
{
    struct request *r = d->r;
    ensure(d->unsettled == 0);
    r->x->abandoned = NULL;
    timer_stop(&d->deadline);
    sleeper_cancel(&d->sleeper);
    if (d->places > 0)
        waiting_count(r->s->waiting, WAITING_DELETE_RECORDS, -1, -d->places);
    ANSWER(r, delete_records_response, &d->response);
}

/* ---- Waiting for the followers ---- */

static void delete_records_check_all(struct deletion *d)
{
    for (int32_t i = 0; i < d->count; i++) {
        struct deleted *x = &d->items[i];
        int64_t low;
        if (x->partition == NULL)
            continue;
        enum kafka_error error = partition_low_watermark(x->partition, &low);
        if (error != ERR_NONE || low >= x->offset)
            delete_records_settle(d, x, error, low);
    }
}

static void delete_records_on_wake(struct sleeper *s)
{
    struct deletion *d = CONTAINER_OF(s, struct deletion, sleeper);
    delete_records_check_all(d);
    if (d->unsettled == 0)
        delete_records_finish(d);
}

/* `expired`: the time is over; else nobody wants to know any more. */
static void delete_records_give_up(struct deletion *d, bool expired)
{
    delete_records_check_all(d);
    if (expired)
        waiting_expired(d->r->s->waiting, WAITING_DELETE_RECORDS, d->unsettled, false);
    for (int32_t i = 0; i < d->count; i++)
        if (d->items[i].partition != NULL)
            delete_records_settle(d, &d->items[i], ERR_REQUEST_TIMED_OUT, -1);
    delete_records_finish(d);
}

static void delete_records_on_deadline(struct timer *t)
{
    delete_records_give_up(CONTAINER_OF(t, struct deletion, deadline), true);
}

static void delete_records_on_abandoned(struct exchange *x)
{
    struct request *r = x->context;
    delete_records_give_up(r->waiting, false);
}

static void wait_for_followers(struct request *r)
{
    struct deletion *d = r->state;
    d->sleeper = (struct sleeper){.queue = request_loop_share(r)->wakes, .wake = delete_records_on_wake};
    for (int32_t i = 0; i < d->count; i++)
        if (d->items[i].partition != NULL)
            partition_wait(d->items[i].partition, &d->items[i].waiter, &d->sleeper);
    delete_records_check_all(d);
    if (d->unsettled == 0) {
        delete_records_finish(d);
        return;
    }
    request_park(r);
    d->places = d->unsettled;
    waiting_count(r->s->waiting, WAITING_DELETE_RECORDS, 1, d->places);
    r->waiting = d;
    r->x->abandoned = delete_records_on_abandoned;
    if (exchange_is_orphan(r->x)) /* while it was elsewhere, so that nobody tells of it any more */
        delete_records_on_abandoned(r->x);
    else
        timer_start(&d->deadline, MAX(d->request.timeout_ms, 0));
}

/* ---- The request ---- */

/* On the connection's loop, which has a view of the cluster. */
static void delete_records_find_partition(struct deletion *d, struct deleted *x, struct str topic, int32_t index,
                                          bool denied)
{
    enum kafka_error error = ERR_NONE;
    if (denied)
        error = ERR_TOPIC_AUTHORIZATION_FAILED;
    else if (topic_is_internal(topic) && view_partition(view_current(), topic, index) != NULL)
        error = ERR_INVALID_TOPIC_EXCEPTION;
    else if ((x->partition = replica_partition(d->r->s->replicas, topic, index)) == NULL)
        error = partition_missing(d->r->s, topic, index);
    if (error != ERR_NONE)
        delete_records_settle(d, x, error, -1);
}

/* On a worker: segments are deleted. */
static void delete_all(struct request *r)
{
    struct deletion *d = r->state;
    for (int32_t i = 0; i < d->count; i++) {
        struct deleted *x = &d->items[i];
        enum kafka_error error = x->partition != NULL ? partition_delete_records(x->partition, &x->offset) : ERR_NONE;
        if (error != ERR_NONE)
            delete_records_settle(d, x, error, -1);
    }
}

static void delete_records_handle(struct request *r)
{
    struct deletion *d = ARENA_NEW(r->arena, struct deletion);
    d->r = r;
    r->state = d;
    if (!DECODE(r, delete_records_request, &d->request))
        return;
    delete_records_response_init(&d->response);
    DROP_NAMED_AGAIN(r->arena, d->request.topics, TOPIC_NAME, partitions, PARTITION_INDEX);
    timer_init(&d->deadline, exchange_loop(r->x), delete_records_on_deadline);
    for (int32_t t = 0; t < d->request.topics.len; t++)
        d->count += d->request.topics.items[t].partitions.len;
    d->unsettled = d->count;
    d->items = ARENA_ARRAY(r->arena, struct deleted, MAX(d->count, 1));
    ARRAY_MAKE(r->arena, d->response.topics, MAX(d->request.topics.len, 0));
    for (int32_t t = 0, i = 0; t < d->request.topics.len; t++) {
        const struct delete_records_topic *in = &d->request.topics.items[t];
        struct delete_records_topic_result *out = &d->response.topics.items[t];
        delete_records_topic_result_init(out);
        out->name = in->name;
        ARRAY_MAKE(r->arena, out->partitions, in->partitions.len);
        bool denied = !allowed_topic(r, ACL_DELETE, in->name, in->partitions.len);
        for (int32_t k = 0; k < in->partitions.len; k++) {
            struct deleted *x = &d->items[i++];
            x->out = &out->partitions.items[k];
            x->offset = in->partitions.items[k].offset;
            delete_records_partition_result_init(x->out);
            x->out->partition_index = in->partitions.items[k].partition_index;
            delete_records_find_partition(d, x, in->name, x->out->partition_index, denied);
        }
    }
    request_disk_work(r, delete_all, wait_for_followers);
}

const struct api_entry api_delete_records = {
    .key = API_DELETE_RECORDS, .min = 0, .max = 2, .handle = delete_records_handle};
