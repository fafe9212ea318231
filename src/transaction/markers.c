/*
 * Markers on their way to the leaders of a transaction's partitions. There is one request under way to each broker,
 * with all that has gathered for it; what fails for now, or has no leader, is tried again a little later, at whoever
 * leads then. What belongs to a partition of __transaction_state that was lost is dropped: its next owner begins anew.
 */
#include <inttypes.h>
#include <utlist.h>

#include "base/logger.h"
#include "cluster/internal_topics.h"
#include "protocol/msg/api.h"
#include "protocol/msg/write_txn_markers.h"
#include "transaction/transaction_internal.h"

enum { RETRY_MS = 100 };

/* A transaction's marker for some partitions of one leader. */
struct marker_order {
    struct txn_coordinator *coordinator;
    struct state_partition *home;
    int64_t term;  /* of the home */
    struct str id; /* heap */
    struct txn_marker marker;
    int32_t broker; /* TXN_NO_LEADER: none was known */
    struct topic_key *partitions;
    size_t count, cap;
    struct marker_order *prev, *next;
};

struct marker_peer {
    struct txn_coordinator *coordinator;
    int32_t broker;
    struct marker_order *queue, *sent; /* `sent` NULL: nothing is under way */
    struct broker_call call;
    struct write_txn_markers_request request;
    struct write_txn_markers_response response;
    struct arena arena; /* of both */
    UT_hash_handle hh;
};

/* All markers are there, and that is being written. */
struct completion {
    struct txn_store store;
    struct completion *prev, *next;
};

static void markers_send_queue(struct marker_peer *p);

static void markers_try_later(struct txn_coordinator *tc)
{
    if (!timer_is_running(&tc->retry))
        timer_start(&tc->retry, RETRY_MS);
}

/* ---- The end of a transaction ---- */

/* Whatever keeps the log from taking it, a disk without room or descriptors: as long as nobody else does it, we do. */
static void on_completed(struct txn_store *s, enum kafka_error error)
{
    struct completion *c = CONTAINER_OF(s, struct completion, store);
    struct txn_coordinator *tc = s->coordinator;
    if (error != ERR_NONE && txn_store_target(s) != NULL) {
        DL_APPEND(tc->stalled, c);
        atomic_fetch_add(&tc->metrics.stalled, 1);
        markers_try_later(tc);
        return;
    }
    if (error != ERR_NONE)
        log_info("The end of the transaction of %.*s is left to who leads " TRANSACTION_STATE_TOPIC "-%" PRId32
                 " next: %s",
                 STR_ARGS(s->id), s->home->number, error_name((int16_t)error));
    txn_store_deinit(s);
    free(c);
}

static void markers_complete(struct txn *t)
{
    ensure(t->finishing && t->pending && t->partitions == NULL);
    struct completion *c = xcalloc(1, sizeof(*c));
    t->finishing = false;
    txn_store_init(&c->store, t, &t->completion, on_completed);
    c->store.persistent = true;
    txn_store_begin(&c->store);
}

static void retry_completions(struct txn_coordinator *tc)
{
    struct completion *list = tc->stalled, *c, *next;
    tc->stalled = NULL;
    atomic_store(&tc->metrics.stalled, 0);
    DL_FOREACH_SAFE (list, c, next) {
        if (txn_store_target(&c->store) != NULL) {
            txn_store_begin(&c->store);
        } else {
            txn_store_deinit(&c->store);
            free(c);
        }
    }
}

/* ---- Orders ---- */

static void order_free(struct marker_order *o)
{
    str_free(o->id);
    free(o->partitions);
    free(o);
}

static void free_orders(struct marker_order *list)
{
    struct marker_order *o, *next;
    DL_FOREACH_SAFE (list, o, next)
        order_free(o);
}

/* The transaction, while it still waits for its markers; NULL: the order is void. */
static struct txn *order_target(const struct marker_order *o)
{
    bool same = o->home->term == o->term && o->home->ownership == OWNED;
    struct txn *t = same ? txn_find(o->coordinator, o->id) : NULL;
    return t != NULL && t->finishing && t->now.producer_id == o->marker.producer_id &&
                   t->now.epoch == o->marker.producer_epoch
               ? t
               : NULL;
}

static struct marker_order *order_new(struct txn *t, int32_t broker)
{
    struct marker_order *o = xcalloc(1, sizeof(*o));
    *o = (struct marker_order){.coordinator = t->coordinator,
                               .home = t->home,
                               .term = t->home->term,
                               .id = str_dup(t->id),
                               .marker = {.producer_id = t->now.producer_id,
                                          .producer_epoch = t->now.epoch,
                                          .commit = t->now.status == TXN_PREPARE_COMMIT,
                                          .coordinator_epoch = t->home->leader_epoch},
                               .broker = broker};
    return o;
}

static void order_add(struct marker_order *o, const struct topic_key *id)
{
    o->partitions = xgrow(o->partitions, o->count + 1, &o->cap, sizeof(*o->partitions));
    o->partitions[o->count++] = *id;
}

/* For the broker that leads the partition now, in a list of orders that are being made. */
static void order_for(struct txn *t, const struct topic_key *id, struct marker_order **list)
{
    const struct txn_options *options = &t->coordinator->options;
    int32_t leader = options->leader_of(options->ctx, str_of(id->topic), id->index);
    struct marker_order *o;
    if (leader == TXN_NO_PARTITION) { /* it was deleted */
        log_info("Partition %s-%" PRId32 " is no more, and needs no marker of %.*s", id->topic, id->index,
                 STR_ARGS(t->id));
        txn_drop_partition(t, id);
        return;
    }
    DL_FOREACH (*list, o)
        if (o->broker == leader)
            break;
    if (o == NULL) {
        o = order_new(t, leader);
        DL_APPEND(*list, o);
    }
    order_add(o, id);
}

static struct marker_peer *find_or_add_peer(struct txn_coordinator *tc, int32_t broker)
{
    struct marker_peer *p;
    HASH_FIND_INT(tc->peers, &broker, p);
    if (p != NULL)
        return p;
    p = xcalloc(1, sizeof(*p));
    p->coordinator = tc;
    p->broker = broker;
    HASH_ADD_INT(tc->peers, broker, p);
    return p;
}

static void place(struct txn_coordinator *tc, struct marker_order *list)
{
    struct marker_order *o, *next;
    DL_FOREACH_SAFE (list, o, next) {
        if (o->broker == TXN_NO_LEADER) {
            DL_APPEND(tc->homeless, o);
            atomic_fetch_add(&tc->metrics.homeless, 1);
            markers_try_later(tc);
            continue;
        }
        struct marker_peer *p = find_or_add_peer(tc, o->broker);
        DL_APPEND(p->queue, o);
        markers_send_queue(p);
    }
}

void markers_send(struct txn *t)
{
    ensure(loop_is_mine(t->coordinator->options.loop));
    ensure(t->pending && !t->finishing);
    struct txn_coordinator *tc = t->coordinator;
    struct marker_order *list = NULL;
    struct txn_partition *p, *next;
    t->finishing = true;
    HASH_ITER (hh, t->partitions, p, next)
        order_for(t, &p->id, &list);
    if (t->partitions == NULL)
        markers_complete(t);
    place(tc, list);
}

/* Looks for the leaders anew. */
static void retry_order(const struct marker_order *old)
{
    struct txn *t = order_target(old);
    struct marker_order *list = NULL;
    if (t == NULL)
        return;
    for (size_t i = 0; i < old->count; i++)
        order_for(t, &old->partitions[i], &list);
    if (t->partitions == NULL)
        markers_complete(t);
    place(old->coordinator, list);
}

static void markers_on_retry(struct timer *timer)
{
    struct txn_coordinator *tc = CONTAINER_OF(timer, struct txn_coordinator, retry);
    struct marker_order *list = tc->homeless, *o, *next;
    tc->homeless = NULL;
    atomic_store(&tc->metrics.homeless, 0);
    retry_completions(tc);
    DL_FOREACH_SAFE (list, o, next) {
        retry_order(o);
        order_free(o);
    }
}

/* ---- Requests ---- */

/* How many of the sorted partitions from `i` on are of the same topic. */
static size_t markers_same_topic(const struct marker_order *o, size_t i)
{
    size_t same = 1;
    while (i + same < o->count && strcmp(o->partitions[i + same].topic, o->partitions[i].topic) == 0)
        same++;
    return same;
}

static void markers_fill_topics(const struct marker_order *o, struct arena *a,
                                struct write_txn_markers_writable_txn_marker *m)
{
    ARRAY_MAKE(a, m->topics, (int32_t)o->count);
    m->topics.len = 0;
    for (size_t i = 0; i < o->count;) {
        struct write_txn_markers_writable_txn_marker_topic *topic = &m->topics.items[m->topics.len++];
        size_t same = markers_same_topic(o, i);
        topic->name = str_of(o->partitions[i].topic);
        ARRAY_MAKE(a, topic->partition_indexes, (int32_t)same);
        for (size_t k = 0; k < same; k++)
            topic->partition_indexes.items[k] = o->partitions[i++].index;
    }
}

static int markers_by_id(const void *a, const void *b)
{
    const struct topic_key *x = a, *y = b;
    int topics = strcmp(x->topic, y->topic);
    return topics != 0 ? topics : (x->index > y->index) - (x->index < y->index);
}

static void markers_fill_request(struct marker_peer *p)
{
    struct marker_order *o;
    int32_t n = 0;
    write_txn_markers_request_init(&p->request);
    DL_COUNT(p->sent, o, n);
    ensure(n > 0);
    ARRAY_MAKE(&p->arena, p->request.markers, n);
    n = 0;
    DL_FOREACH (p->sent, o) {
        struct write_txn_markers_writable_txn_marker *m = &p->request.markers.items[n++];
        qsort(o->partitions, o->count, sizeof(*o->partitions), markers_by_id);
        m->producer_id = o->marker.producer_id;
        m->producer_epoch = o->marker.producer_epoch;
        m->transaction_result = o->marker.commit;
        m->coordinator_epoch = o->marker.coordinator_epoch;
        markers_fill_topics(o, &p->arena, m);
    }
}

/* What a response says of a partition. */
struct marker_result {
    int64_t producer_id;
    struct str topic;
    int32_t index;
    enum kafka_error error;
};

struct marker_results { /* sorted, so that each is found at once */
    struct marker_result *v;
    size_t n;
};

static int markers_by_result(const void *a, const void *b)
{
    const struct marker_result *x = a, *y = b;
    int order = (x->producer_id > y->producer_id) - (x->producer_id < y->producer_id);
    return order != 0 ? order : partition_order(x->topic, x->index, y->topic, y->index);
}

static void markers_add_results(const struct write_txn_markers_writable_txn_marker_result *m,
                                struct marker_results *out)
{
    for (int32_t t = 0; t < m->topics.len; t++) {
        const struct write_txn_markers_writable_txn_marker_topic_result *topic = &m->topics.items[t];
        for (int32_t k = 0; k < topic->partitions.len; k++)
            out->v[out->n++] =
                (struct marker_result){m->producer_id, topic->name, topic->partitions.items[k].partition_index,
                                       (enum kafka_error)topic->partitions.items[k].error_code};
    }
}

static struct marker_results markers_sort_results(const struct write_txn_markers_response *r, struct arena *a)
{
    struct marker_results out = {0};
    size_t n = 0;
    for (int32_t m = 0; m < r->markers.len; m++)
        for (int32_t t = 0; t < r->markers.items[m].topics.len; t++)
            n += (size_t)MAX(r->markers.items[m].topics.items[t].partitions.len, 0);
    out.v = ARENA_ARRAY(a, struct marker_result, MAX(n, (size_t)1));
    for (int32_t m = 0; m < r->markers.len; m++)
        markers_add_results(&r->markers.items[m], &out);
    ensure(out.n == n);
    qsort(out.v, out.n, sizeof(*out.v), markers_by_result);
    return out;
}

/* What the response says of it; a leader that says nothing is asked again. */
static enum kafka_error markers_find_result(const struct marker_results *r, const struct marker_order *o,
                                            const struct topic_key *id)
{
    const struct marker_result wanted = {o->marker.producer_id, str_of(id->topic), id->index, ERR_NONE};
    const struct marker_result *found = bsearch(&wanted, r->v, r->n, sizeof(*r->v), markers_by_result);
    return found != NULL ? found->error : ERR_NETWORK_EXCEPTION;
}

/*
 * Another producer or another coordinator has taken over: this is not ours to end any more. It never will be, as the
 * partition keeps it from completing; but others get their markers, which may be all that ends it there.
 */
static bool is_fenced(enum kafka_error error)
{
    return error == ERR_INVALID_PRODUCER_EPOCH || error == ERR_TRANSACTION_COORDINATOR_FENCED;
}

/* It is there, or has no place there: nothing transactional is in a partition of an old message format. */
static bool is_settled(enum kafka_error error)
{
    return error == ERR_NONE || error == ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT || error == ERR_UNSUPPORTED_VERSION;
}

static void take_results(const struct marker_results *results, struct marker_order *o)
{
    struct txn *t = order_target(o);
    size_t left = 0;
    for (size_t i = 0; t != NULL && i < o->count; i++) {
        struct topic_key id = o->partitions[i];
        enum kafka_error error = markers_find_result(results, o, &id);
        if (is_fenced(error)) {
            log_info("The marker of %.*s for %s-%" PRId32 " is refused for good: %s", STR_ARGS(o->id), id.topic,
                     id.index, error_name((int16_t)error));
        } else if (is_settled(error)) {
            txn_drop_partition(t, &id);
        } else {
            log_debug("The marker of %.*s for %s-%" PRId32 " is sent again: %s", STR_ARGS(o->id), id.topic, id.index,
                      error_name((int16_t)error));
            o->partitions[left++] = id;
        }
    }
    ensure(left <= o->count);
    o->count = left;
    if (t != NULL && t->partitions == NULL)
        markers_complete(t);
}

static void markers_on_answer(struct broker_call *call, enum kafka_error error)
{
    struct marker_peer *p = CONTAINER_OF(call, struct marker_peer, call);
    struct txn_coordinator *tc = p->coordinator;
    struct marker_order *sent = p->sent, *o, *next;
    ensure(loop_is_mine(tc->options.loop) && sent != NULL);
    p->sent = NULL;
    struct marker_results results = {0};
    if (error == ERR_NONE)
        results = markers_sort_results(&p->response, &p->arena);
    DL_FOREACH_SAFE (sent, o, next) {
        if (error == ERR_NONE)
            take_results(&results, o);
        if (o->count > 0 && order_target(o) != NULL) {
            DL_APPEND(tc->homeless, o);
            atomic_fetch_add(&tc->metrics.homeless, 1);
            markers_try_later(tc);
        } else {
            order_free(o);
        }
    }
    markers_send_queue(p);
}

static void drop_void_orders(struct marker_peer *p)
{
    struct marker_order *o, *next;
    DL_FOREACH_SAFE (p->queue, o, next) {
        if (order_target(o) != NULL)
            continue;
        DL_DELETE(p->queue, o);
        order_free(o);
    }
}

static void markers_send_queue(struct marker_peer *p)
{
    const struct txn_options *options = &p->coordinator->options;
    if (p->sent != NULL)
        return;
    drop_void_orders(p);
    if (p->queue == NULL)
        return;
    p->sent = p->queue;
    p->queue = NULL;
    arena_deinit(&p->arena);
    arena_init(&p->arena, 0);
    markers_fill_request(p);
    p->call = (struct broker_call){.key = API_WRITE_TXN_MARKERS,
                                   .request = &p->request,
                                   .response = &p->response,
                                   .arena = &p->arena,
                                   .done = markers_on_answer};
    options->send(options->ctx, p->broker, &p->call);
}

/* ---- Life ---- */

void markers_init(struct txn_coordinator *tc)
{
    timer_init(&tc->retry, tc->options.loop, markers_on_retry);
}

void markers_deinit(struct txn_coordinator *tc)
{
    struct marker_peer *p, *next_peer;
    struct completion *c, *next;
    timer_stop(&tc->retry);
    DL_FOREACH_SAFE (tc->stalled, c, next) {
        txn_store_deinit(&c->store);
        free(c);
    }
    free_orders(tc->homeless);
    HASH_ITER (hh, tc->peers, p, next_peer) {
        HASH_DEL(tc->peers, p);
        free_orders(p->queue);
        free_orders(p->sent);
        arena_deinit(&p->arena);
        free(p);
    }
}
