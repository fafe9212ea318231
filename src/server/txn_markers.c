/*
 * WriteTxnMarkers: a transaction coordinator, or an administrator who ends a hanging transaction, has markers written
 * here. Each goes the way of a producer's batch (produce.c): it is appended with what else the loop was sent
 * (gathering.h), and waited for until all in sync have it (commit_wait.c).
 *
 * What a marker means to the groups whose offsets lie in a partition they are told as soon as it is there, whatever the
 * request's other markers wait for, and also when nobody is there any more to be answered; the answer comes after that.
 * Of one that was answered as late the groups hear by the next one: it is sent until it is there in time.
 */
#include "base/clock.h"
#include "cluster/internal_topics.h"
#include "protocol/msg/write_txn_markers.h"
#include "server/authorize.h"
#include "server/gathering.h"

struct written { /* one marker in one partition */
    struct str topic;
    int32_t index;
    const struct write_txn_markers_writable_txn_marker *marker;
    struct write_txn_markers_writable_txn_marker_partition_result *out;
    int64_t offset;       /* where it is, when groups are told */
    struct written *next; /* of those that groups are to be told of */
};

struct writing {
    struct commit_wait wait; /* its items beside these */
    struct write_txn_markers_request request;
    struct write_txn_markers_response response;
    struct written *items;
    int32_t open; /* markers that are to be appended, and one as long as not all were looked at */
    /* One message to the groups is under way, with all that had gathered. */
    struct message news;
    struct written *untold, *telling;
    bool news_under_way, all_settled;
};

/* A marker on its way into a log. In the arena, as its batch: only those that come so far take so much. */
struct marking {
    struct writing *of;
    int32_t item;
    struct prepared prepared;
    struct gathered gathered;
};

static bool is_offsets(const struct written *x)
{
    return str_is(x->topic, GROUP_METADATA_TOPIC);
}

/* ---- Answering ---- */

static void txn_markers_answer(struct request *r)
{
    struct writing *w = r->state;
    ANSWER(r, write_txn_markers_response, &w->response);
}

static void send_news(struct message *m);

/* Back on the connection's loop. */
static void news_told(struct message *m)
{
    struct writing *w = CONTAINER_OF(m, struct writing, news);
    w->telling = NULL;
    if (w->untold != NULL) {
        send_news(m);
        return;
    }
    w->news_under_way = false;
    if (w->all_settled)
        txn_markers_answer(w->wait.r);
}

static void tell_groups(struct message *m)
{
    struct writing *w = CONTAINER_OF(m, struct writing, news);
    struct request *r = w->wait.r;
    for (const struct written *x = w->telling; x != NULL; x = x->next)
        group_transaction_ended(r->s->groups, x->index, x->marker->producer_id, x->marker->transaction_result,
                                x->offset);
    m->deliver = news_told;
    loop_post(exchange_loop(r->x), m);
}

static void send_news(struct message *m)
{
    struct writing *w = CONTAINER_OF(m, struct writing, news);
    ensure(w->telling == NULL && w->untold != NULL);
    w->telling = w->untold;
    w->untold = NULL;
    m->deliver = tell_groups;
    loop_post(w->wait.r->s->coordinator_loop, m);
}

/* By way of its own loop: what settles in the same turn goes along. */
static void note_news(struct writing *w, struct written *x)
{
    x->next = w->untold;
    w->untold = x;
    if (w->news_under_way)
        return;
    w->news_under_way = true;
    w->news.deliver = send_news;
    loop_post(exchange_loop(w->wait.r->x), &w->news);
}

static void txn_markers_on_settled(struct commit_wait *wait, int32_t i, enum kafka_error error)
{
    struct writing *w = CONTAINER_OF(wait, struct writing, wait);
    struct written *x = &w->items[i];
    x->out->error_code = error;
    if (error != ERR_NONE || !is_offsets(x))
        return;
    x->offset = wait->items[i].last_offset;
    note_news(w, x);
}

static void txn_markers_on_written(struct commit_wait *wait)
{
    struct writing *w = CONTAINER_OF(wait, struct writing, wait);
    ensure(!w->all_settled);
    w->all_settled = true;
    if (w->news_under_way)
        request_park(wait->r);
    else
        txn_markers_answer(wait->r);
}

/* ---- Appending ---- */

static void txn_markers_close_one(struct writing *w)
{
    struct request *r = w->wait.r;
    ensure(w->open > 0);
    if (--w->open > 0)
        return;
    if (w->wait.unsettled > 0)
        commit_wait(&w->wait, r->s->config->request_timeout_ms);
    else
        txn_markers_on_written(&w->wait);
}

static void txn_markers_on_appended(struct gathered *g)
{
    struct marking *m = CONTAINER_OF(g, struct marking, gathered);
    struct writing *w = m->of;
    struct commit_item *item = &w->wait.items[m->item];
    const struct partition_append *append = &g->append;
    request_has_taken(w->wait.r, g->took_us);
    item->leader_epoch = append->leader_epoch;
    item->last_offset = append->log.result.last_offset;
    if (append->log.error != ERR_NONE)
        commit_settle(&w->wait, m->item, append->log.error);
    txn_markers_close_one(w);
}

static enum kafka_error txn_markers_prepare(const struct written *x, struct partition *p, struct arena *a,
                                            struct prepared *out)
{
    struct txn_marker marker = {x->marker->producer_id, x->marker->producer_epoch, x->marker->transaction_result,
                                x->marker->coordinator_epoch};
    struct record_rules rules = {.keep_codec = true,
                                 .before_max_ms = INT64_MAX,
                                 .after_max_ms = INT64_MAX,
                                 .max_batch_size = plog_config(partition_log(p)).max_message_bytes};
    struct strbuf batch = {0};
    txn_marker_write(&marker, clock_wall_ms(), &batch);
    uint8_t *bytes = arena_copy(a, batch.p, batch.len);
    int32_t len = (int32_t)batch.len;
    strbuf_deinit(&batch);
    return records_prepare(bytes, len, &rules, clock_wall_ms(), a, out);
}

static enum kafka_error txn_markers_append(struct writing *w, int32_t i)
{
    struct request *r = w->wait.r;
    struct partition *p = w->wait.items[i].partition;
    struct marking *m = ARENA_NEW(r->arena, struct marking);
    enum kafka_error error = txn_markers_prepare(&w->items[i], p, r->arena, &m->prepared);
    if (error != ERR_NONE)
        return error;
    m->of = w;
    m->item = i;
    m->gathered = (struct gathered){
        .append = {.log.records = &m->prepared, .acks = -1}, .partition = p, .done = txn_markers_on_appended};
    w->open++;
    gathering_add(request_loop_share(r)->gathering, &m->gathered, r);
    return ERR_NONE;
}

static void write_one(struct writing *w, int32_t i)
{
    struct request *r = w->wait.r;
    const struct written *x = &w->items[i];
    struct commit_item *item = &w->wait.items[i];
    enum kafka_error error = ERR_UNKNOWN_SERVER_ERROR; /* what no producer can be called */
    if (x->marker->producer_id >= 0 && x->marker->producer_epoch >= 0 && !request_is_spent(r)) {
        item->partition = replica_partition(r->s->replicas, x->topic, x->index);
        error = item->partition == NULL ? ERR_UNKNOWN_TOPIC_OR_PARTITION : txn_markers_append(w, i);
    }
    if (error != ERR_NONE)
        commit_settle(&w->wait, i, error);
}

/* ---- The request ---- */

static int32_t txn_markers_count_partitions(const struct write_txn_markers_request *request)
{
    int32_t n = 0;
    for (int32_t m = 0; m < request->markers.len; m++)
        for (int32_t t = 0; t < request->markers.items[m].topics.len; t++)
            n += MAX(request->markers.items[m].topics.items[t].partition_indexes.len, 0);
    return n;
}

static int txn_markers_by_place(const void *a, const void *b)
{
    const struct written *x = *(const struct written *const *)a, *y = *(const struct written *const *)b;
    int64_t one = x->marker->producer_id, other = y->marker->producer_id;
    int order = (one > other) - (one < other);
    return order != 0 ? order : partition_order(x->topic, x->index, y->topic, y->index);
}

/* All items of the request, those of a producer together, and of these those of a topic. */
static struct written **txn_markers_sort(struct writing *w)
{
    struct written **v = ARENA_ARRAY(w->wait.r->arena, struct written *, MAX(w->wait.count, 1));
    int32_t n = 0;
    for (int32_t m = 0; m < w->request.markers.len; m++) {
        const struct write_txn_markers_writable_txn_marker *marker = &w->request.markers.items[m];
        for (int32_t t = 0; t < marker->topics.len; t++) {
            const struct write_txn_markers_writable_txn_marker_topic *topic = &marker->topics.items[t];
            for (int32_t i = 0; i < topic->partition_indexes.len; i++) {
                w->items[n] = (struct written){
                    .topic = topic->name, .index = topic->partition_indexes.items[i], .marker = marker};
                v[n] = &w->items[n];
                w->wait.for_others |= is_offsets(v[n]);
                n++;
            }
        }
    }
    ensure(n == w->wait.count);
    qsort(v, (size_t)n, sizeof(*v), txn_markers_by_place);
    return v;
}

/* How many items, from the first on, are of its producer, and if `topic` of its topic, too. */
static int32_t txn_markers_run(struct written *const *v, int32_t count, bool topic)
{
    int32_t n = 1;
    while (n < count && v[n]->marker->producer_id == v[0]->marker->producer_id &&
           (!topic || str_eq(v[n]->topic, v[0]->topic)))
        n++;
    return n;
}

/* A partition that is named twice has one result, as Apache's: that of the marker that settles last. */
static void lay_out_topic(struct writing *w, struct written *const *v, int32_t count,
                          struct write_txn_markers_writable_txn_marker_topic_result *out)
{
    int32_t n = 0;
    out->name = v[0]->topic;
    ARRAY_MAKE(w->wait.r->arena, out->partitions, count);
    for (int32_t i = 0; i < count; i++) {
        if (i == 0 || v[i]->index != v[i - 1]->index)
            out->partitions.items[n++].partition_index = v[i]->index;
        v[i]->out = &out->partitions.items[n - 1];
    }
    out->partitions.len = n;
}

static void lay_out_producer(struct writing *w, struct written *const *v, int32_t count,
                             struct write_txn_markers_writable_txn_marker_result *out)
{
    int32_t n = 0, run;
    out->producer_id = v[0]->marker->producer_id;
    ARRAY_MAKE(w->wait.r->arena, out->topics, count);
    for (int32_t i = 0; i < count; i += run) {
        run = txn_markers_run(&v[i], count - i, true);
        lay_out_topic(w, &v[i], run, &out->topics.items[n++]);
    }
    out->topics.len = n;
}

/*
 * One result a producer, as Apache's: a coordinator of theirs reads them into a map, in which the last of several would
 * be the only one. It has two markers of a producer in a request when one of them is sent again.
 */
static void txn_markers_lay_out(struct writing *w)
{
    struct written **v = txn_markers_sort(w);
    int32_t n = 0, run;
    ARRAY_MAKE(w->wait.r->arena, w->response.markers, MAX(w->request.markers.len, 0));
    for (int32_t i = 0; i < w->wait.count; i += run) {
        run = txn_markers_run(&v[i], w->wait.count - i, false);
        lay_out_producer(w, &v[i], run, &w->response.markers.items[n++]);
    }
    w->response.markers.len = n;
}

/* As it was asked, in order: nothing is made for it that somebody could want much of who may do nothing. */
static void txn_markers_refuse(struct request *r, struct writing *w)
{
    ARRAY_MAKE(r->arena, w->response.markers, MAX(w->request.markers.len, 0));
    for (int32_t m = 0; m < w->request.markers.len; m++) {
        const struct write_txn_markers_writable_txn_marker *in = &w->request.markers.items[m];
        struct write_txn_markers_writable_txn_marker_result *out = &w->response.markers.items[m];
        out->producer_id = in->producer_id;
        ARRAY_MAKE(r->arena, out->topics, MAX(in->topics.len, 0));
        for (int32_t t = 0; t < in->topics.len; t++) {
            struct write_txn_markers_writable_txn_marker_topic_result *topic = &out->topics.items[t];
            topic->name = in->topics.items[t].name;
            ARRAY_MAKE(r->arena, topic->partitions, MAX(in->topics.items[t].partition_indexes.len, 0));
            for (int32_t i = 0; i < topic->partitions.len; i++) {
                topic->partitions.items[i].partition_index = in->topics.items[t].partition_indexes.items[i];
                topic->partitions.items[i].error_code = ERR_CLUSTER_AUTHORIZATION_FAILED;
            }
        }
    }
    txn_markers_answer(r);
}

static void txn_markers_handle(struct request *r)
{
    struct writing *w = ARENA_NEW(r->arena, struct writing);
    r->state = w;
    if (!DECODE(r, write_txn_markers_request, &w->request))
        return;
    write_txn_markers_response_init(&w->response);
    if (!allowed_cluster_quietly(r, ACL_ALTER) && !allowed_as_broker(r)) {
        txn_markers_refuse(r, w);
        return;
    }
    commit_wait_init(&w->wait, r, txn_markers_count_partitions(&w->request));
    w->wait.settled = txn_markers_on_settled;
    w->wait.over = txn_markers_on_written;
    w->items = ARENA_ARRAY(r->arena, struct written, MAX(w->wait.count, 1));
    txn_markers_lay_out(w);
    w->open = 1;
    for (int32_t i = 0; i < w->wait.count; i++)
        write_one(w, i);
    if (w->open > 1)
        request_park(r); /* it has its place in the gathering, of which there are not many */
    txn_markers_close_one(w);
}

const struct api_entry api_write_txn_markers = {
    .key = API_WRITE_TXN_MARKERS, .min = 0, .max = 1, .handle = txn_markers_handle};
