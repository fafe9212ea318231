#include "transaction/verifier.h"

#include <utlist.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/logger.h"
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

static enum kafka_error verifier_result_of(const struct add_partitions_to_txn_result *r,
                                           const struct txn_partition_ref *ref)
{
    for (int32_t t = 0; t < r->topic_results.len; t++) {
        const struct add_partitions_to_txn_topic_result *topic = &r->topic_results.items[t];
        for (int32_t i = 0; str_eq(topic->name, ref->topic) && i < topic->results_by_partition.len; i++)
            if (topic->results_by_partition.items[i].partition_index == ref->index)
                return (enum kafka_error)topic->results_by_partition.items[i].partition_error_code;
    }
    return ERR_NETWORK_EXCEPTION;
}

static const struct add_partitions_to_txn_result *verifier_find_result(const struct add_partitions_to_txn_response *r,
                                                                       struct str id)
{
    for (int32_t i = 0; i < r->results_by_transaction.len; i++)
        if (str_eq(r->results_by_transaction.items[i].transactional_id, id))
            return &r->results_by_transaction.items[i];
    return NULL;
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

static void take_result(struct verifier_peer *p, struct verification *q)
{
    const struct add_partitions_to_txn_result *r = verifier_find_result(&p->response, q->who.transactional_id);
    for (int32_t i = 0; i < q->count; i++)
        q->errors[i] = r == NULL ? ERR_NETWORK_EXCEPTION : for_producer(q, verifier_result_of(r, &q->partitions[i]));
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
    DL_FOREACH_SAFE (list, q, next) {
        if (unable || error != ERR_NONE)
            verifier_finish(q, error);
        else
            take_result(p, q);
    }
    verifier_send_queue(p);
}

/* ---- Questions ---- */

static struct add_partitions_to_txn_transaction *verifier_find_asked(struct verifier_peer *p, struct str id)
{
    for (int32_t i = 0; i < p->request.transactions.len; i++)
        if (str_eq(p->request.transactions.items[i].transactional_id, id))
            return &p->request.transactions.items[i];
    return NULL;
}

static void verifier_add_partitions(struct add_partitions_to_txn_transaction *t, const struct verification *q,
                                    struct arena *a)
{
    struct add_partitions_to_txn_topic *old = t->topics.items;
    int32_t count = t->topics.len;
    ARRAY_MAKE(a, t->topics, count + q->count);
    if (count > 0)
        memcpy(t->topics.items, old, sizeof(*old) * (size_t)count);
    for (int32_t i = 0; i < q->count; i++) {
        struct add_partitions_to_txn_topic *topic = &t->topics.items[count + i];
        topic->name = q->partitions[i].topic;
        ARRAY_MAKE(a, topic->partitions, 1);
        topic->partitions.items[0] = q->partitions[i].index;
    }
}

/* Several questions of one producer become one; a transactional id must not be there twice. False: another time. */
static bool add_question(struct verifier_peer *p, const struct verification *q)
{
    struct add_partitions_to_txn_transaction *t = verifier_find_asked(p, q->who.transactional_id);
    if (t != NULL && (t->producer_id != q->who.id || t->producer_epoch != q->who.epoch))
        return false;
    if (t == NULL) {
        t = &p->request.transactions.items[p->request.transactions.len++];
        *t = (struct add_partitions_to_txn_transaction){.transactional_id = q->who.transactional_id,
                                                        .producer_id = q->who.id,
                                                        .producer_epoch = q->who.epoch,
                                                        .verify_only = true};
    }
    verifier_add_partitions(t, q, &p->arena);
    return true;
}

static void verifier_fill_request(struct verifier_peer *p)
{
    struct verification *q, *next;
    int32_t count = 0;
    DL_COUNT(p->queue, q, count);
    add_partitions_to_txn_request_init(&p->request);
    ARRAY_MAKE(&p->arena, p->request.transactions, count);
    p->request.transactions.len = 0;
    DL_FOREACH_SAFE (p->queue, q, next) {
        if (!add_question(p, q))
            continue;
        DL_DELETE(p->queue, q);
        DL_APPEND(p->sent, q);
    }
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
