/* Transactions that have been open for long: of each coordinator those that it says are, and since when. */
#include "monitor/round_internal.h"
#include "protocol/msg/describe_transactions.h"
#include "protocol/msg/list_transactions.h"

enum { FILTER_BY_DURATION = 1, DETAILS_OF_EACH = 100 };

static void take_open(struct round *r, struct ask *a)
{
    const struct list_transactions_response *response = a->response;
    struct arena *memory = &r->look->memory;
    if (response->error_code != ERR_NONE)
        r->look->unanswered++;
    r->transactions = xgrow(r->transactions, r->transaction_count + (size_t)MAX(response->transaction_states.len, 0),
                            &r->transaction_cap, sizeof(*r->transactions));
    for (int32_t i = 0; i < response->transaction_states.len; i++) {
        const struct list_transactions_transaction_state *t = &response->transaction_states.items[i];
        r->transactions[r->transaction_count++] =
            (struct look_transaction){arena_str(memory, t->transactional_id), arena_str(memory, t->transaction_state),
                                      a->broker, LOOK_UNKNOWN, LOOK_UNKNOWN};
    }
}

void round_ask_transactions(struct round *r)
{
    static const char *const open[] = {"Ongoing", "PrepareCommit", "PrepareAbort"};
    for (int32_t i = 0; r->look->scope == LOOK_ALL && i < r->look->broker_count; i++) {
        struct ask *a = round_ask_new(r, r->look->brokers[i].broker->id, API_LIST_TRANSACTIONS, take_open);
        struct list_transactions_request *request = a->request;
        a->call.least = FILTER_BY_DURATION;
        a->optional = true;
        ARRAY_MAKE(&a->memory, request->state_filters, ARRAY_LEN(open));
        for (size_t s = 0; s < ARRAY_LEN(open); s++)
            request->state_filters.items[s] = str_of(open[s]);
        ARRAY_MAKE(&a->memory, request->producer_id_filters, 0);
        request->duration_filter = LATE_TRANSACTION_MS;
        round_ask(r, a);
    }
}

/* ---- Since when ---- */

static struct look_transaction *transaction_of(struct look *look, int32_t coordinator, struct str id)
{
    for (int32_t i = 0; i < look->transaction_count; i++)
        if (look->transactions[i].coordinator == coordinator && str_eq(look->transactions[i].id, id))
            return &look->transactions[i];
    return NULL;
}

static void take_details(struct round *r, struct ask *a)
{
    const struct describe_transactions_response *response = a->response;
    for (int32_t i = 0; i < response->transaction_states.len; i++) {
        const struct describe_transactions_transaction_state *from = &response->transaction_states.items[i];
        struct look_transaction *t = transaction_of(r->look, a->broker, from->transactional_id);
        if (t == NULL || from->error_code != ERR_NONE)
            continue;
        t->started_ms = from->transaction_start_time_ms >= 0 ? from->transaction_start_time_ms : LOOK_UNKNOWN;
        t->partitions = 0;
        for (int32_t k = 0; k < from->topics.len; k++)
            t->partitions += MAX(from->topics.items[k].partitions.len, 0);
    }
}

static void ask_since_when(struct round *r, const struct look_transaction *some, int32_t count)
{
    struct ask *a = round_ask_new(r, some[0].coordinator, API_DESCRIBE_TRANSACTIONS, take_details);
    struct describe_transactions_request *request = a->request;
    ARRAY_MAKE(&a->memory, request->transactional_ids, count);
    for (int32_t i = 0; i < count; i++)
        request->transactional_ids.items[i] = some[i].id;
    round_ask(r, a);
}

/* They lie there coordinator by coordinator, as each has answered. Of more than anybody reads, only that they are
 * there. */
void round_ask_transaction_details(struct round *r)
{
    struct look *look = r->look;
    look->transaction_count = (int32_t)r->transaction_count;
    look->transactions = ARENA_ARRAY(&look->memory, struct look_transaction, r->transaction_count + 1);
    if (r->transaction_count > 0)
        memcpy(look->transactions, r->transactions, sizeof(*r->transactions) * r->transaction_count);
    for (int32_t from = 0, to; from < look->transaction_count; from = to) {
        for (to = from + 1; to < look->transaction_count; to++)
            if (look->transactions[to].coordinator != look->transactions[from].coordinator)
                break;
        ask_since_when(r, look->transactions + from, MIN(to - from, DETAILS_OF_EACH));
    }
}
