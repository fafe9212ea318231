#include "transaction/verifier.h"

#include <utlist.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/logger.h"
#include "base/topic_key.h"
#include "metrics/histogram.h"
#include "protocol/msg/add_partitions_to_txn.h"
#include "protocol/msg/api.h"

enum { VERIFIES_SINCE = 4 }; /* version of AddPartitionsToTxn */

struct verifier_peer {
    struct verifier *verifier;
    int32_t broker;
    struct verification *queue, *sent; /* `sent` NULL: nothing is under way */
    struct broker_call call;
    struct add_partitions_to_txn_request request;
    struct add_partitions_to_txn_response response;
    struct arena arena; /* of both */
    UT_hash_handle hh;
};

struct verifier {
    struct verifier_options options;
    struct verifier_peer *peers;
    struct histogram times; /* from a question to its answer */
    struct meter failures;
    struct bean_source source;
    int64_t bean_ids;
};

static void verifier_send_queue(struct verifier_peer *p);

static void verifier_finish(struct verification *q, enum kafka_error error)
{
    for (int32_t i = 0; error != ERR_NONE && i < q->count; i++)
        q->errors[i] = error;
    q->done(q);
}

/* ---- Answers ---- */

/* What a response says of a partition in a transaction. */
struct verified {
    struct str id, topic;
    int32_t index;
    enum kafka_error error;
};

struct verified_list { /* sorted, so that each is found at once */
    struct verified *v;
    size_t n;
};

static int verifier_by_result(const void *a, const void *b)
{
    const struct verified *x = a, *y = b;
    int order = str_cmp(x->id, y->id);
    return order != 0 ? order : partition_order(x->topic, x->index, y->topic, y->index);
}

static void verifier_add_results(const struct add_partitions_to_txn_result *r, struct verified_list *out)
{
    for (int32_t t = 0; t < r->topic_results.len; t++) {
        const struct add_partitions_to_txn_topic_result *topic = &r->topic_results.items[t];
        for (int32_t i = 0; i < topic->results_by_partition.len; i++)
            out->v[out->n++] = (struct verified){
                r->transactional_id, topic->name, topic->results_by_partition.items[i].partition_index,
                (enum kafka_error)topic->results_by_partition.items[i].partition_error_code};
    }
}

static struct verified_list verifier_sort_results(const struct add_partitions_to_txn_response *r, struct arena *a)
{
    struct verified_list out = {0};
    size_t n = 0;
    for (int32_t i = 0; i < r->results_by_transaction.len; i++)
        for (int32_t t = 0; t < r->results_by_transaction.items[i].topic_results.len; t++)
            n += (size_t)MAX(r->results_by_transaction.items[i].topic_results.items[t].results_by_partition.len, 0);
    out.v = ARENA_ARRAY(a, struct verified, MAX(n, (size_t)1));
    for (int32_t i = 0; i < r->results_by_transaction.len; i++)
        verifier_add_results(&r->results_by_transaction.items[i], &out);
    ensure(out.n == n);
    qsort(out.v, out.n, sizeof(*out.v), verifier_by_result);
    return out;
}

static enum kafka_error verifier_find_result(const struct verified_list *results, struct str id,
                                             const struct txn_partition_ref *ref)
{
    const struct verified wanted = {id, ref->topic, ref->index, ERR_NONE};
    const struct verified *found = bsearch(&wanted, results->v, results->n, sizeof(wanted), verifier_by_result);
    return found != NULL ? found->error : ERR_NETWORK_EXCEPTION;
}

/* In the words that a producer expects from whom it writes to. */
static enum kafka_error for_producer(const struct verification *q, enum kafka_error error)
{
    if (error == ERR_PRODUCER_FENCED)
        return ERR_INVALID_PRODUCER_EPOCH;
    return error == ERR_TRANSACTION_ABORTABLE && !q->knows_abortable ? ERR_INVALID_TXN_STATE : error;
}

static void verifier_count(struct verifier *v, const struct verification *q)
{
    histogram_record(&v->times, clock_mono_us() - q->asked_us);
    for (int32_t i = 0; i < q->count; i++)
        meter_mark(&v->failures, q->errors[i] != ERR_NONE);
}

/* Nothing is said of it, as of a transaction's partitions none is looked at when one is not known: not one of its own.
 */
static bool is_spoilt(const struct verification *q)
{
    int32_t untried = 0, good = 0;
    for (int32_t i = 0; i < q->count; i++) {
        untried += q->errors[i] == ERR_OPERATION_NOT_ATTEMPTED;
        good += q->errors[i] == ERR_NONE;
    }
    return !q->alone && untried > 0 && untried + good == q->count;
}

static void take_result(struct verifier_peer *p, const struct verified_list *results, struct verification *q)
{
    for (int32_t i = 0; i < q->count; i++)
        q->errors[i] = for_producer(q, verifier_find_result(results, q->who.transactional_id, &q->partitions[i]));
    if (is_spoilt(q)) {
        q->alone = true;
        DL_APPEND(p->queue, q);
        return;
    }
    verifier_count(p->verifier, q);
    q->done(q);
}

static enum kafka_error whole_error(const struct verifier_peer *p, enum kafka_error error)
{
    if (error == ERR_NONE)
        error = (enum kafka_error)p->response.error_code;
    return error == ERR_CLUSTER_AUTHORIZATION_FAILED ? ERR_INVALID_TXN_STATE : error;
}

static void verifier_on_answer(struct broker_call *call, enum kafka_error error)
{
    struct verifier_peer *p = CONTAINER_OF(call, struct verifier_peer, call);
    struct verification *list = p->sent, *q, *next;
    ensure(list != NULL);
    p->sent = NULL;
    if (error != ERR_NONE)
        log_warn("Broker %d did not verify transactions: %s", p->broker, error_name((int16_t)error));
    bool unable = error == ERR_UNSUPPORTED_VERSION; /* an older broker: it is done without, as before */
    error = unable ? ERR_NONE : whole_error(p, error);
    struct verified_list results = {0};
    if (!unable && error == ERR_NONE)
        results = verifier_sort_results(&p->response, &p->arena);
    DL_FOREACH_SAFE (list, q, next) {
        if (unable || error != ERR_NONE)
            verifier_finish(q, error);
        else
            take_result(p, &results, q);
    }
    verifier_send_queue(p);
}

/* ---- Questions ---- */

/* A transaction of the request that is made; in its arena, by id. */
struct asked_txn {
    struct add_partitions_to_txn_transaction *txn;
    int32_t room; /* for topics */
    bool alone;
    UT_hash_handle hh;
};

static void verifier_add_partitions(struct asked_txn *asked, const struct verification *q, struct arena *a)
{
    struct add_partitions_to_txn_transaction *t = asked->txn;
    struct add_partitions_to_txn_topic *old = t->topics.items;
    int32_t count = t->topics.len;
    if (count + q->count > asked->room) {
        asked->room = MAX(count + q->count, 2 * asked->room);
        ARRAY_MAKE(a, t->topics, asked->room);
        if (count > 0)
            memcpy(t->topics.items, old, sizeof(*old) * (size_t)count);
    }
    t->topics.len = count + q->count;
    for (int32_t i = 0; i < q->count; i++) {
        struct add_partitions_to_txn_topic *topic = &t->topics.items[count + i];
        topic->name = q->partitions[i].topic;
        ARRAY_MAKE(a, topic->partitions, 1);
        topic->partitions.items[0] = q->partitions[i].index;
    }
}

static struct asked_txn *verifier_ask_of(struct verifier_peer *p, struct asked_txn **all, const struct verification *q)
{
    struct asked_txn *asked = ARENA_NEW(&p->arena, struct asked_txn);
    asked->txn = &p->request.transactions.items[p->request.transactions.len++];
    *asked->txn = (struct add_partitions_to_txn_transaction){.transactional_id = q->who.transactional_id,
                                                             .producer_id = q->who.id,
                                                             .producer_epoch = q->who.epoch,
                                                             .verify_only = true};
    struct str id = asked->txn->transactional_id;
    HASH_ADD_KEYPTR(hh, *all, id.p, (size_t)id.len, asked);
    return asked;
}

/* Several questions of one producer become one; a transactional id must not be there twice. False: another time. */
static bool add_question(struct verifier_peer *p, struct asked_txn **all, const struct verification *q)
{
    struct asked_txn *asked;
    HASH_FIND(hh, *all, q->who.transactional_id.p, (size_t)q->who.transactional_id.len, asked);
    if (asked != NULL && (asked->alone || q->alone || asked->txn->producer_id != q->who.id ||
                          asked->txn->producer_epoch != q->who.epoch))
        return false;
    if (asked == NULL)
        asked = verifier_ask_of(p, all, q);
    asked->alone |= q->alone;
    verifier_add_partitions(asked, q, &p->arena);
    return true;
}

static void verifier_fill_request(struct verifier_peer *p)
{
    struct verification *q, *next;
    struct asked_txn *all = NULL;
    int32_t count = 0;
    DL_COUNT(p->queue, q, count);
    add_partitions_to_txn_request_init(&p->request);
    ARRAY_MAKE(&p->arena, p->request.transactions, count);
    p->request.transactions.len = 0;
    DL_FOREACH_SAFE (p->queue, q, next) {
        if (!add_question(p, &all, q))
            continue;
        DL_DELETE(p->queue, q);
        DL_APPEND(p->sent, q);
    }
    HASH_CLEAR(hh, all);
}

static void verifier_send_queue(struct verifier_peer *p)
{
    const struct verifier_options *o = &p->verifier->options;
    if (p->sent != NULL || p->queue == NULL)
        return;
    arena_deinit(&p->arena);
    arena_init(&p->arena, 0);
    verifier_fill_request(p);
    p->call = (struct broker_call){.key = API_ADD_PARTITIONS_TO_TXN,
                                   .least = VERIFIES_SINCE,
                                   .request = &p->request,
                                   .response = &p->response,
                                   .arena = &p->arena,
                                   .done = verifier_on_answer};
    o->send(o->ctx, p->broker, &p->call);
}

void verifier_ask(struct verifier *v, struct verification *question)
{
    int32_t broker = v->options.coordinator_of(v->options.ctx, question->who.transactional_id);
    struct verifier_peer *p;
    if (broker == TXN_NO_LEADER) {
        verifier_finish(question, ERR_COORDINATOR_NOT_AVAILABLE);
        return;
    }
    HASH_FIND_INT(v->peers, &broker, p);
    if (p == NULL) {
        p = xcalloc(1, sizeof(*p));
        p->verifier = v;
        p->broker = broker;
        HASH_ADD_INT(v->peers, broker, p);
    }
    question->asked_us = clock_mono_us();
    DL_APPEND(p->queue, question);
    verifier_send_queue(p);
}

/* ---- Life ---- */

static void verifier_visit(void *ctx, struct bean_walk *w)
{
    struct verifier *v = ctx;
    struct bean_name name = {"kafka.server", "AddPartitionsToTxnManager", "VerificationTimeMs", {{0}}};
    yield_histogram(w, v->bean_ids, &name, &v->times);
    name.name = "VerificationFailureRate";
    yield_meter(w, v->bean_ids + 1, &name, &v->failures);
}

struct verifier *verifier_new(const struct verifier_options *options)
{
    struct verifier *v = xcalloc(1, sizeof(*v));
    v->options = *options;
    if (options->metrics == NULL)
        return v;
    v->bean_ids = metrics_ids(options->metrics, 2);
    histogram_init(&v->times, options->metrics, HISTOGRAM_WHOLE_MS);
    meter_init(&v->failures, options->metrics, "failures");
    v->source = (struct bean_source){.visit = verifier_visit, .ctx = v};
    metrics_add_source(options->metrics, &v->source);
    return v;
}

void verifier_free(struct verifier *v)
{
    struct verifier_peer *p, *next;
    if (v == NULL)
        return;
    if (v->options.metrics != NULL)
        metrics_remove_source(v->options.metrics, &v->source);
    histogram_deinit(&v->times);
    meter_deinit(&v->failures);
    HASH_ITER (hh, v->peers, p, next) {
        HASH_DEL(v->peers, p);
        arena_deinit(&p->arena);
        free(p);
    }
    free(v);
}
