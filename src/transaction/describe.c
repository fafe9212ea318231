/* What administrators ask of transactions (KIP-664). */
#include <inttypes.h>

#include "base/clock.h"
#include "base/logger.h"
#include "protocol/msg/describe_transactions.h"
#include "protocol/msg/list_transactions.h"
#include "transaction/transaction_internal.h"

static void txn_describe_fill_topics(const struct txn *t, struct arena *a,
                                     struct describe_transactions_transaction_state *o)
{
    int32_t count;
    const struct txn_partition_ref *refs = txn_sorted_partitions(t, NULL, a, &count);
    struct describe_transactions_topic_data *topic = NULL;
    int32_t *indexes = ARENA_ARRAY(a, int32_t, MAX(count, 1));
    ARRAY_MAKE(a, o->topics, count);
    o->topics.len = 0;
    for (int32_t i = 0; i < count; i++) {
        if (topic == NULL || !str_eq(topic->topic, refs[i].topic)) {
            topic = &o->topics.items[o->topics.len++];
            topic->topic = arena_str(a, refs[i].topic);
            topic->partitions.items = &indexes[i];
            topic->partitions.len = 0;
        }
        topic->partitions.items[topic->partitions.len++] = refs[i].index;
    }
}

static enum kafka_error txn_describe_one(struct txn_coordinator *tc, struct str id, struct arena *a,
                                         struct describe_transactions_transaction_state *o)
{
    if (id.len <= 0)
        return ERR_INVALID_REQUEST;
    enum kafka_error error = state_partition_check(state_topic_find(tc->topic, id));
    const struct txn *t = error == ERR_NONE ? txn_find(tc, id) : NULL;
    if (t == NULL)
        return error != ERR_NONE ? error : ERR_TRANSACTIONAL_ID_NOT_FOUND;
    txn_describe_fill_topics(t, a, o);
    o->transaction_state = str_of(txn_status_name(t->now.status));
    o->transaction_timeout_ms = t->now.timeout_ms;
    o->transaction_start_time_ms = t->now.start_ms;
    o->producer_id = t->now.producer_id;
    o->producer_epoch = t->now.epoch;
    return ERR_NONE;
}

void txn_describe(struct txn_coordinator *tc, const struct describe_transactions_request *request,
                  struct describe_transactions_response *response, struct arena *a)
{
    ARRAY_MAKE(a, response->transaction_states, MAX(request->transactional_ids.len, 0));
    for (int32_t i = 0; i < request->transactional_ids.len && !a->spent; i++) {
        struct describe_transactions_transaction_state *o = &response->transaction_states.items[i];
        describe_transactions_transaction_state_init(o);
        o->transactional_id = request->transactional_ids.items[i];
        o->error_code = txn_describe_one(tc, o->transactional_id, a, o);
    }
}

static int status_of(struct str name)
{
    for (int s = TXN_EMPTY; s < TXN_STATUS_COUNT; s++)
        if (str_is(name, txn_status_name((enum txn_status)s)))
            return s;
    return -1;
}

/* A bit for each state that is asked for; 0: all. */
static int txn_describe_wanted_states(const struct list_transactions_request *request,
                                      struct list_transactions_response *response, struct arena *a)
{
    int bits = 0;
    ARRAY_MAKE(a, response->unknown_state_filters, MAX(request->state_filters.len, 0));
    response->unknown_state_filters.len = 0;
    for (int32_t i = 0; i < request->state_filters.len; i++) {
        int status = status_of(request->state_filters.items[i]);
        if (status >= 0)
            bits |= 1 << status;
        else
            response->unknown_state_filters.items[response->unknown_state_filters.len++] =
                request->state_filters.items[i];
    }
    return bits;
}

static int txn_describe_by_number(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The request's ids are sorted. */
static bool txn_describe_is_wanted(const struct txn *t, const struct list_transactions_request *request, int states)
{
    size_t count = (size_t)MAX(request->producer_id_filters.len, 0);
    bool wanted = count == 0 || bsearch(&t->now.producer_id, request->producer_id_filters.items, count, sizeof(int64_t),
                                        txn_describe_by_number) != NULL;
    if (request->state_filters.len > 0 && (states & 1 << t->now.status) == 0)
        return false;
    bool young = request->duration_filter >= 0 && txn_now(t->coordinator) - t->now.start_ms <= request->duration_filter;
    return wanted && !young;
}

void txn_list(struct txn_coordinator *tc, const struct list_transactions_request *request,
              struct list_transactions_response *response, struct arena *a)
{
    int states = txn_describe_wanted_states(request, response, a);
    if (state_topic_is_loading(tc->topic)) {
        response->error_code = ERR_COORDINATOR_LOAD_IN_PROGRESS;
        return;
    }
    if (request->producer_id_filters.len > 0)
        qsort(request->producer_id_filters.items, (size_t)request->producer_id_filters.len, sizeof(int64_t),
              txn_describe_by_number);
    ARRAY_MAKE(a, response->transaction_states, (int32_t)HASH_COUNT(tc->txns));
    response->transaction_states.len = 0;
    for (const struct txn *t = tc->txns; t != NULL; t = t->hh.next) {
        if (!txn_describe_is_wanted(t, request, states))
            continue;
        struct list_transactions_transaction_state *o =
            &response->transaction_states.items[response->transaction_states.len++];
        o->transactional_id = arena_str(a, t->id);
        o->producer_id = t->now.producer_id;
        o->transaction_state = str_of(txn_status_name(t->now.status));
    }
}

void txn_tell_state(struct txn_coordinator *tc)
{
    int counts[TXN_STATUS_COUNT] = {0};
    int64_t oldest_ms = INT64_MAX;
    struct strbuf text = {0};
    for (const struct txn *t = tc->txns; t != NULL; t = t->hh.next) {
        counts[t->now.status]++;
        if (t->now.status == TXN_ONGOING)
            oldest_ms = MIN(oldest_ms, t->now.start_ms);
    }
    strbuf_printf(&text, "State: %u transactional ids", HASH_COUNT(tc->txns));
    for (int i = 0; i < TXN_STATUS_COUNT; i++)
        if (counts[i] > 0)
            strbuf_printf(&text, ", %d %s", counts[i], txn_status_name((enum txn_status)i));
    if (oldest_ms != INT64_MAX)
        strbuf_printf(&text, "; the oldest open transaction began %" PRId64 " ms ago", clock_wall_ms() - oldest_ms);
    log_info("%s", text.p);
    strbuf_deinit(&text);
}
