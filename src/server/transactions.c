/*
 * The APIs of the transaction coordinator: carried to its loop, and the answer back. Permissions are asked for before
 * and after, on the connection's loop, where the ACLs and the view are that the request is judged by.
 */
#include "cluster/internal_topics.h"
#include "protocol/msg/add_offsets_to_txn.h"
#include "protocol/msg/add_partitions_to_txn.h"
#include "protocol/msg/describe_transactions.h"
#include "protocol/msg/end_txn.h"
#include "protocol/msg/init_producer_id.h"
#include "protocol/msg/list_transactions.h"
#include "server/authorize.h"
#include "server/request_metrics.h"

/* From these versions on a fenced producer is told so; older ones know another name for it (KIP-588). */
enum { INIT_KNOWS_FENCED = 4, TXN_KNOWS_FENCED = 2 };

static struct txn_coordinator *transactions_api_coordinator_of(const struct request *r)
{
    const struct view_topic *topic = view_topic(view_current(), STR_LIT(TRANSACTION_STATE_TOPIC));
    if (topic != NULL)
        state_topic_set_count(txn_topic(r->s->transactions), view_topic_width(topic));
    return r->s->transactions;
}

static void transactions_api_carry(struct request *r, void (*serve)(struct request *r))
{
    request_park(r);
    request_visit(r, r->s->coordinator_loop, serve);
}

static enum kafka_error as_known(enum kafka_error error, const struct request *r, int16_t knows_fenced)
{
    return error == ERR_PRODUCER_FENCED && r->version < knows_fenced ? ERR_INVALID_PRODUCER_EPOCH : error;
}

/* ---- One question, one error: InitProducerId, AddOffsetsToTxn, EndTxn ---- */

struct txn_question {
    struct txn_call call;
    struct request *r;
    struct txn_producer who;
    int32_t timeout_ms;                  /* of InitProducerId */
    struct txn_partition_ref offsets_of; /* of AddOffsetsToTxn: where the group lives */
    bool commit;                         /* of EndTxn */
    enum kafka_error error;
    void (*answer)(struct request *r);
};

static void on_answered(struct txn_call *call, enum kafka_error error)
{
    struct txn_question *q = CONTAINER_OF(call, struct txn_question, call);
    q->error = error;
    request_return(q->r, q->answer);
}

static struct txn_question *question_new(struct request *r, struct str id, int64_t producer_id, int16_t epoch,
                                         void (*answer)(struct request *r))
{
    struct txn_question *q = ARENA_NEW(r->arena, struct txn_question);
    *q =
        (struct txn_question){.call = {.done = on_answered}, .r = r, .who = {id, producer_id, epoch}, .answer = answer};
    r->state = q;
    return q;
}

static void answer_init(struct request *r)
{
    const struct txn_question *q = r->state;
    struct init_producer_id_response response;
    init_producer_id_response_init(&response);
    response.error_code = as_known(q->error, r, INIT_KNOWS_FENCED);
    response.producer_id = q->error == ERR_NONE ? q->call.producer_id : NO_PRODUCER_ID;
    response.producer_epoch = q->error == ERR_NONE ? q->call.producer_epoch : NO_PRODUCER_EPOCH;
    ANSWER(r, init_producer_id_response, &response);
}

static void serve_init(struct request *r)
{
    struct txn_question *q = r->state;
    txn_init_producer(transactions_api_coordinator_of(r), &q->who, q->timeout_ms, &q->call);
}

void init_transactional_producer(struct request *r, const struct init_producer_id_request *in)
{
    struct txn_question *q = question_new(r, in->transactional_id, in->producer_id, in->producer_epoch, answer_init);
    q->timeout_ms = in->transaction_timeout_ms;
    transactions_api_carry(r, serve_init);
}

static void answer_add_offsets(struct request *r)
{
    const struct txn_question *q = r->state;
    struct add_offsets_to_txn_response response;
    add_offsets_to_txn_response_init(&response);
    response.error_code = as_known(q->error, r, TXN_KNOWS_FENCED);
    ANSWER(r, add_offsets_to_txn_response, &response);
}

static void serve_add_offsets(struct request *r)
{
    struct txn_question *q = r->state;
    txn_add_partitions(transactions_api_coordinator_of(r), &q->who, &q->offsets_of, 1, &q->call);
}

static void handle_add_offsets(struct request *r)
{
    struct add_offsets_to_txn_request in;
    if (!DECODE(r, add_offsets_to_txn_request, &in))
        return;
    struct str topic = STR_LIT(GROUP_METADATA_TOPIC);
    const struct view_topic *known = view_topic(view_current(), topic);
    struct txn_question *q =
        question_new(r, in.transactional_id, in.producer_id, in.producer_epoch, answer_add_offsets);
    if (!allowed(r, ACL_WRITE, ACL_TRANSACTIONAL_ID, in.transactional_id))
        q->error = ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
    else if (!allowed(r, ACL_READ, ACL_GROUP, in.group_id))
        q->error = ERR_GROUP_AUTHORIZATION_FAILED;
    if (q->error != ERR_NONE) {
        answer_add_offsets(r);
        return;
    }
    int32_t index = known != NULL
                        ? state_topic_number_of(group_topic(r->s->groups), in.group_id, view_topic_width(known))
                        : state_partition_of(in.group_id, r->s->config->offsets_topic_num_partitions);
    q->offsets_of = (struct txn_partition_ref){topic, index};
    transactions_api_carry(r, serve_add_offsets);
}

const struct api_entry api_add_offsets_to_txn = {
    .key = API_ADD_OFFSETS_TO_TXN, .min = 0, .max = 4, .handle = handle_add_offsets};

static void answer_end(struct request *r)
{
    const struct txn_question *q = r->state;
    struct end_txn_response response;
    end_txn_response_init(&response);
    response.error_code = as_known(q->error, r, TXN_KNOWS_FENCED);
    ANSWER(r, end_txn_response, &response);
}

static void serve_end(struct request *r)
{
    struct txn_question *q = r->state;
    txn_end(transactions_api_coordinator_of(r), &q->who, q->commit, &q->call);
}

static void handle_end(struct request *r)
{
    struct end_txn_request in;
    if (!DECODE(r, end_txn_request, &in))
        return;
    struct txn_question *q = question_new(r, in.transactional_id, in.producer_id, in.producer_epoch, answer_end);
    q->commit = in.committed;
    if (allowed(r, ACL_WRITE, ACL_TRANSACTIONAL_ID, in.transactional_id)) {
        transactions_api_carry(r, serve_end);
        return;
    }
    q->error = ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
    answer_end(r);
}

const struct api_entry api_end_txn = {.key = API_END_TXN, .min = 0, .max = 4, .handle = handle_end};

/* ---- AddPartitionsToTxn: from version 4 several transactions, and questions of other brokers (KIP-890) ---- */

enum { SEVERAL_SINCE = 4 };

struct adding { /* to one transaction */
    struct txn_call call;
    struct adding_all *all;
    struct txn_producer who;
    bool verify_only;
    bool refused;            /* its partitions have their errors already */
    enum kafka_error denied; /* all of it */
    struct add_partitions_to_txn_topic *topics;
    int32_t topic_count;
    struct txn_partition_ref *refs;
    struct add_partitions_to_txn_partition_result **out; /* of each partition */
    int32_t count;
};

struct adding_all {
    struct request *r;
    struct add_partitions_to_txn_request request;
    struct add_partitions_to_txn_response response;
    struct adding *items;
    int32_t count, left;
    bool of_broker; /* who asks for clients of its own: a version that these do not speak */
};

static void answer_add(struct request *r)
{
    struct adding_all *all = r->state;
    ANSWER(r, add_partitions_to_txn_response, &all->response);
}

static void on_added(struct txn_call *call, enum kafka_error error)
{
    struct adding *x = CONTAINER_OF(call, struct adding, call);
    struct adding_all *all = x->all;
    for (int32_t i = 0; !x->refused && !x->verify_only && i < x->count; i++)
        x->out[i]->partition_error_code = as_known(error, all->r, TXN_KNOWS_FENCED);
    ensure(all->left > 0);
    if (--all->left == 0)
        request_return(all->r, answer_add);
}

static void transactions_api_verify(struct txn_coordinator *tc, struct adding *x)
{
    for (int32_t i = 0; i < x->count; i++)
        x->out[i]->partition_error_code = txn_verify(tc, &x->who, &x->refs[i]);
    on_added(&x->call, ERR_NONE);
}

static void serve_add(struct request *r)
{
    struct adding_all *all = r->state;
    struct txn_coordinator *tc = transactions_api_coordinator_of(r);
    ensure(all->left == 0);
    all->left = all->count + 1; /* one more than can be answered from within */
    for (int32_t i = 0; i < all->count; i++) {
        struct adding *x = &all->items[i];
        if (x->refused)
            on_added(&x->call, ERR_NONE);
        else if (x->verify_only)
            transactions_api_verify(tc, x);
        else
            txn_add_partitions(tc, &x->who, x->refs, x->count, &x->call);
    }
    if (--all->left == 0)
        request_return(r, answer_add);
}

/* Offsets get into a transaction by AddOffsetsToTxn: internal topics are not for a client to write to. */
static enum kafka_error check_partition(const struct adding *x, const struct txn_partition_ref *ref, bool denied)
{
    if (x->denied != ERR_NONE)
        return x->denied;
    if (denied || (!x->all->of_broker && topic_is_internal(ref->topic)))
        return ERR_TOPIC_AUTHORIZATION_FAILED;
    return view_partition(view_current(), ref->topic, ref->index) != NULL ? ERR_NONE : ERR_UNKNOWN_TOPIC_OR_PARTITION;
}

/* One partition that cannot be part of it refuses all of the transaction. */
static void refuse_impossible(struct adding *x)
{
    int32_t i = 0;
    for (int32_t t = 0; t < x->topic_count; t++) {
        int32_t n = MAX(x->topics[t].partitions.len, 0);
        bool denied =
            !x->all->of_broker && x->denied == ERR_NONE && !allowed_topic(x->all->r, ACL_WRITE, x->topics[t].name, n);
        for (int32_t end = i + n; i < end; i++) {
            x->out[i]->partition_error_code = (int16_t)check_partition(x, &x->refs[i], denied);
            x->refused |= x->out[i]->partition_error_code != ERR_NONE;
        }
    }
    ensure(i == x->count);
    for (i = 0; x->refused && i < x->count; i++)
        if (x->out[i]->partition_error_code == ERR_NONE)
            x->out[i]->partition_error_code = ERR_OPERATION_NOT_ATTEMPTED;
}

/* Returns the answer's place for each topic. */
static struct add_partitions_to_txn_topic_result *prepare_adding(struct adding *x, struct arena *a)
{
    struct add_partitions_to_txn_topic_result *results =
        ARENA_ARRAY(a, struct add_partitions_to_txn_topic_result, MAX(x->topic_count, 1));
    int32_t total = 0;
    for (int32_t t = 0; t < x->topic_count; t++)
        total += MAX(x->topics[t].partitions.len, 0);
    x->call.done = on_added;
    x->refs = ARENA_ARRAY(a, struct txn_partition_ref, MAX(total, 1));
    x->out = ARENA_ARRAY(a, struct add_partitions_to_txn_partition_result *, MAX(total, 1));
    for (int32_t t = 0; t < x->topic_count; t++) {
        struct add_partitions_to_txn_topic_result *o = &results[t];
        o->name = x->topics[t].name;
        ARRAY_MAKE(a, o->results_by_partition, MAX(x->topics[t].partitions.len, 0));
        for (int32_t i = 0; i < x->topics[t].partitions.len; i++) {
            int32_t index = x->topics[t].partitions.items[i];
            o->results_by_partition.items[i].partition_index = index;
            x->refs[x->count] = (struct txn_partition_ref){o->name, index};
            x->out[x->count++] = &o->results_by_partition.items[i];
        }
    }
    ensure(x->count == total);
    refuse_impossible(x);
    return results;
}

/* The one transaction of old versions. */
static void prepare_single(struct adding_all *all)
{
    struct arena *a = all->r->arena;
    const struct add_partitions_to_txn_request *in = &all->request;
    all->count = 1;
    all->items = ARENA_NEW(a, struct adding);
    *all->items = (struct adding){
        .all = all,
        .who = {in->v3_and_below_transactional_id, in->v3_and_below_producer_id, in->v3_and_below_producer_epoch},
        .topics = in->v3_and_below_topics.items,
        .topic_count = MAX(in->v3_and_below_topics.len, 0)};
    if (!allowed(all->r, ACL_WRITE, ACL_TRANSACTIONAL_ID, in->v3_and_below_transactional_id))
        all->items->denied = ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
    all->response.results_by_topic_v3_and_below.items = prepare_adding(all->items, a);
    all->response.results_by_topic_v3_and_below.len = all->items->topic_count;
}

static void prepare_several(struct adding_all *all)
{
    struct arena *a = all->r->arena;
    all->count = MAX(all->request.transactions.len, 0);
    all->items = ARENA_ARRAY(a, struct adding, MAX(all->count, 1));
    ARRAY_MAKE(a, all->response.results_by_transaction, all->count);
    all->r->flavor = REQUEST_OF_VERIFIER; /* unless one is not only to be verified */
    for (int32_t i = 0; i < all->count; i++) {
        const struct add_partitions_to_txn_transaction *in = &all->request.transactions.items[i];
        struct add_partitions_to_txn_result *o = &all->response.results_by_transaction.items[i];
        all->items[i] = (struct adding){.all = all,
                                        .who = {in->transactional_id, in->producer_id, in->producer_epoch},
                                        .verify_only = in->verify_only,
                                        .topics = in->topics.items,
                                        .topic_count = MAX(in->topics.len, 0)};
        if (!in->verify_only)
            all->r->flavor = REQUEST_PLAIN;
        o->transactional_id = in->transactional_id;
        o->topic_results.items = prepare_adding(&all->items[i], a);
        o->topic_results.len = all->items[i].topic_count;
    }
}

static void handle_add(struct request *r)
{
    struct adding_all *all = ARENA_NEW(r->arena, struct adding_all);
    all->r = r;
    r->state = all;
    if (!DECODE(r, add_partitions_to_txn_request, &all->request))
        return;
    add_partitions_to_txn_response_init(&all->response);
    all->of_broker = r->version >= SEVERAL_SINCE;
    if (all->of_broker && !allowed_cluster(r, ACL_CLUSTER_ACTION)) {
        all->response.error_code = ERR_CLUSTER_AUTHORIZATION_FAILED;
        ARRAY_MAKE(r->arena, all->response.results_by_transaction, 0);
        answer_add(r);
        return;
    }
    if (all->of_broker)
        prepare_several(all);
    else
        prepare_single(all);
    transactions_api_carry(r, serve_add);
}

const struct api_entry api_add_partitions_to_txn = {
    .key = API_ADD_PARTITIONS_TO_TXN, .min = 0, .max = 5, .handle = handle_add};

/* ---- DescribeTransactions and ListTransactions ---- */

/* What may not be seen is answered as denied, its topics left out. */
static void deny_descriptions(struct request *r, struct describe_transactions_response *out)
{
    for (int32_t i = 0; i < out->transaction_states.len; i++) {
        struct describe_transactions_transaction_state *o = &out->transaction_states.items[i];
        int32_t kept = 0;
        if (!allowed(r, ACL_DESCRIBE, ACL_TRANSACTIONAL_ID, o->transactional_id)) {
            struct str id = o->transactional_id;
            describe_transactions_transaction_state_init(o);
            o->transactional_id = id;
            o->error_code = ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
            ARRAY_MAKE(r->arena, o->topics, 0);
            continue;
        }
        for (int32_t t = 0; t < o->topics.len; t++)
            if (allowed(r, ACL_DESCRIBE, ACL_TOPIC, o->topics.items[t].topic))
                o->topics.items[kept++] = o->topics.items[t];
        o->topics.len = kept;
    }
}

static void leave_out_transactions(struct request *r, struct list_transactions_response *out)
{
    int32_t kept = 0;
    for (int32_t i = 0; i < out->transaction_states.len; i++)
        if (allowed(r, ACL_DESCRIBE, ACL_TRANSACTIONAL_ID, out->transaction_states.items[i].transactional_id))
            out->transaction_states.items[kept++] = out->transaction_states.items[i];
    out->transaction_states.len = kept;
}

/* The three functions of an API that is answered at once, if need be without what may not be seen. */
#define LOOK_API(api, KEY, version, serve_fn, hide_fn)                           \
    struct api##_look {                                                          \
        struct api##_request in;                                                 \
        struct api##_response out;                                               \
    };                                                                           \
    static void answer_##api(struct request *r)                                  \
    {                                                                            \
        struct api##_look *l = r->state;                                         \
        if (has_authorizer(r))                                                   \
            hide_fn(r, &l->out);                                                 \
        ANSWER(r, api##_response, &l->out);                                      \
    }                                                                            \
    static void serve_##api(struct request *r)                                   \
    {                                                                            \
        struct api##_look *l = r->state;                                         \
        serve_fn(transactions_api_coordinator_of(r), &l->in, &l->out, r->arena); \
        request_return(r, answer_##api);                                         \
    }                                                                            \
    static void handle_##api(struct request *r)                                  \
    {                                                                            \
        struct api##_look *l = ARENA_NEW(r->arena, struct api##_look);           \
        r->state = l;                                                            \
        if (!DECODE(r, api##_request, &l->in))                                   \
            return;                                                              \
        api##_response_init(&l->out);                                            \
        transactions_api_carry(r, serve_##api);                                  \
    }                                                                            \
    const struct api_entry api_##api = {.key = KEY, .min = 0, .max = version, .handle = handle_##api}

LOOK_API(describe_transactions, API_DESCRIBE_TRANSACTIONS, 0, txn_describe, deny_descriptions);
LOOK_API(list_transactions, API_LIST_TRANSACTIONS, 1, txn_list, leave_out_transactions);
