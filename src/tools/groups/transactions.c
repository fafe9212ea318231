/* kafka-transactions: shows transactions and their producers, finds those that hang, and aborts them (KIP-664). */
#include <inttypes.h>
#include <unistd.h>

#include "base/clock.h"
#include "protocol/error.h"
#include "protocol/msg/describe_transactions.h"
#include "protocol/msg/list_transactions.h"
#include "protocol/msg/write_txn_markers.h"
#include "tools/groups/partition_producers.h"
#include "tools/kit/coordinators.h"
#include "tools/kit/table.h"
#include "tools/kit/tool.h"

static const struct option_spec specs[] = {
    {"bootstrap-server", OPTION_VALUES, "host:port", "REQUIRED: The broker(s) to connect to, with commas in between.",
     NULL},
    {"command-config", OPTION_VALUES, "FILE", "Property file with configs for the admin client.", NULL},
    {"topic", OPTION_VALUES, "TOPIC",
     "REQUIRED for describe-producers and abort; for find-hanging the topic that is searched.", NULL},
    {"partition", OPTION_VALUES, "PARTITION",
     "REQUIRED for describe-producers and abort; for find-hanging the only partition that is searched.", NULL},
    {"broker-id", OPTION_VALUES, "BROKER-ID",
     "For describe-producers and find-hanging: the broker whose replicas are looked at, and not the leaders'.", NULL},
    {"duration-filter", OPTION_VALUES, "DURATION-FILTER",
     "For list: only transactions that have been running for longer than so many milliseconds; below 0: all.", NULL},
    {"transactional-id", OPTION_VALUES, "TRANSACTIONAL-ID", "REQUIRED for describe.", NULL},
    {"start-offset", OPTION_VALUES, "START-OFFSET",
     "For abort: where the transaction begins; enough for brokers from 3.0 on.", NULL},
    {"producer-id", OPTION_VALUES, "PRODUCER-ID", "For abort, instead of --start-offset: the producer's id.", NULL},
    {"producer-epoch", OPTION_VALUES, "PRODUCER-EPOCH", "With --producer-id: its epoch.", NULL},
    {"coordinator-epoch", OPTION_VALUES, "COORDINATOR-EPOCH",
     "With --producer-id: the epoch of the coordinator that ended its last transaction.", NULL},
    {"max-transaction-timeout", OPTION_VALUES, "MAX-TRANSACTION-TIMEOUT",
     "For find-hanging: only transactions without a record for so many minutes.", "15"},
};

static const char purpose[] =
    "This tool shows what transactions producers have open in the cluster, finds those that nobody will end any more, "
    "and aborts them.\nCommands: list, describe, describe-producers, abort, find-hanging.";

enum { DEFAULT_MAX_TIMEOUT_MIN = 15, MS_PER_MINUTE = 60000, RETRY_US = 100000 };

struct work {
    struct options o;
    struct asker *asker;
    struct arena arena;
};

static struct str transactions_tool_number(struct work *w, int64_t v)
{
    return arena_printf(&w->arena, "%" PRId64, v);
}

static struct str number_or_none(struct work *w, int64_t v)
{
    return v >= 0 ? transactions_tool_number(w, v) : STR_LIT("None");
}

static bool transactions_tool_refused(struct work *w, int16_t error, struct fail *fail, struct str what)
{
    struct str why = ask_exception_text(&w->arena, error, STR_NULL);
    return fail_set(fail, "%.*s: %.*s", STR_ARGS(what), STR_ARGS(why));
}

/* A number that may be left out: then `out` stays. */
static bool read_number(struct work *w, const char *name, int64_t min, int64_t max, int64_t *out)
{
    return options_number(&w->o, name, min, max, out);
}

/* ---- list ---- */

/* Asks one broker for the transactions that it coordinates. */
static bool list_of(struct work *w, int32_t broker, struct list_transactions_request *request,
                    struct list_transactions_response *response, struct fail *fail)
{
    struct coordinator_list_call call = {.key = API_LIST_TRANSACTIONS,
                                         .min_version = request->duration_filter >= 0 ? 1 : 0,
                                         .request = request,
                                         .response = response,
                                         .error = &response->error_code,
                                         .deadline_ms = clock_mono_ms() + ask_patience_ms(w->asker)};
    if (!coordinator_list(w->asker, broker, &call, &w->arena, fail))
        return false;
    return response->error_code == ERR_NONE ||
           transactions_tool_refused(w, response->error_code, fail, STR_LIT("Failed to list transactions"));
}

static bool transactions_tool_run_list(struct work *w, struct fail *fail)
{
    static const char *const head[] = {"TransactionalId", "Coordinator", "ProducerId", "TransactionState"};
    struct metadata_response cluster;
    struct list_transactions_request request;
    struct list_transactions_response response;
    struct table table;
    list_transactions_request_init(&request);
    ARRAY_MAKE(&w->arena, request.state_filters, 0);
    ARRAY_MAKE(&w->arena, request.producer_id_filters, 0);
    if (!read_number(w, "duration-filter", INT64_MIN, INT64_MAX, &request.duration_filter) ||
        !ask_metadata(w->asker, NULL, 0, &cluster, &w->arena, fail))
        return false;
    table_init(&table, head, ARRAY_LEN(head), &w->arena);
    for (int32_t i = 0; i < cluster.brokers.len; i++) {
        int32_t broker = cluster.brokers.items[i].node_id;
        if (!list_of(w, broker, &request, &response, fail))
            return false;
        for (int32_t k = 0; k < response.transaction_states.len; k++) {
            const struct list_transactions_transaction_state *t = &response.transaction_states.items[k];
            struct str row[] = {t->transactional_id, transactions_tool_number(w, broker),
                                transactions_tool_number(w, t->producer_id), t->transaction_state};
            table_add(&table, row);
        }
    }
    table_print(&table, stdout);
    return true;
}

/* ---- describe ---- */

struct describe_call {
    struct str id;
    int32_t broker;
    struct describe_transactions_transaction_state *out;
};

static bool transactions_describe_at(struct asker *asker, const struct coordinator *at, void *arg, int16_t *error,
                                     struct arena *a, struct fail *fail)
{
    struct describe_call *call = arg;
    struct describe_transactions_request request;
    struct describe_transactions_response response;
    describe_transactions_request_init(&request);
    ARRAY_MAKE(a, request.transactional_ids, 1);
    request.transactional_ids.items[0] = call->id;
    if (!ask(asker, at->id, API_DESCRIBE_TRANSACTIONS, 0, &request, &response, NULL, a, fail))
        return false;
    if (response.transaction_states.len != 1)
        return fail_set(fail, "Broker %" PRId32 " says nothing of %.*s", at->id, STR_ARGS(call->id));
    call->broker = at->id;
    *call->out = response.transaction_states.items[0];
    *error = call->out->error_code;
    return true;
}

/* `out` holds the error, if there is one. */
static bool describe_id(struct work *w, struct str id, int32_t *broker,
                        struct describe_transactions_transaction_state *out, struct fail *fail)
{
    struct describe_call describe = {id, -1, out};
    struct coordinator_call call = {COORDINATOR_TRANSACTION,  id,        ask_patience_ms(w->asker),
                                    transactions_describe_at, &describe, true};
    int16_t error;
    describe_transactions_transaction_state_init(out);
    if (!coordinator_ask(w->asker, &call, &error, &w->arena, fail))
        return false;
    *broker = describe.broker;
    out->error_code = error;
    return true;
}

static struct str partition_names(struct work *w, const struct describe_transactions_transaction_state *t)
{
    struct strbuf b = {0};
    for (int32_t i = 0; i < t->topics.len; i++)
        for (int32_t k = 0; k < t->topics.items[i].partitions.len; k++)
            strbuf_printf(&b, "%s%.*s-%" PRId32, b.len > 0 ? "," : "", STR_ARGS(t->topics.items[i].topic),
                          t->topics.items[i].partitions.items[k]);
    struct str text = arena_printf(&w->arena, "%s", b.len > 0 ? b.p : "");
    strbuf_deinit(&b);
    return text;
}

static bool run_describe(struct work *w, struct fail *fail)
{
    static const char *const head[] = {"CoordinatorId",
                                       "TransactionalId",
                                       "ProducerId",
                                       "ProducerEpoch",
                                       "TransactionState",
                                       "TransactionTimeoutMs",
                                       "CurrentTransactionStartTimeMs",
                                       "TransactionDurationMs",
                                       "TopicPartitions"};
    struct describe_transactions_transaction_state t;
    struct table table;
    int32_t broker;
    if (!options_need(&w->o, "transactional-id"))
        return false;
    struct str id = str_of(options_get(&w->o, "transactional-id"));
    if (!describe_id(w, id, &broker, &t, fail))
        return false;
    if (t.error_code != ERR_NONE)
        return transactions_tool_refused(
            w, t.error_code, fail,
            arena_printf(&w->arena, "Failed to describe transaction state of transactional-id `%.*s`", STR_ARGS(id)));
    int64_t start = t.transaction_start_time_ms;
    struct str row[] = {transactions_tool_number(w, broker),
                        id,
                        transactions_tool_number(w, t.producer_id),
                        transactions_tool_number(w, t.producer_epoch),
                        t.transaction_state,
                        transactions_tool_number(w, t.transaction_timeout_ms),
                        number_or_none(w, start),
                        number_or_none(w, start >= 0 ? clock_wall_ms() - start : -1),
                        partition_names(w, &t)};
    table_init(&table, head, ARRAY_LEN(head), &w->arena);
    table_add(&table, row);
    table_print(&table, stdout);
    return true;
}

/* ---- Partitions and their producers ---- */

struct places {
    struct producers_place *v;
    int32_t n;
};

struct open_txn {
    struct producers_place at;
    struct describe_producers_producer_state p;
};

/* Partitions of the named topics, or of all (`count` -1); `replica` -1: on whatever broker. */
static bool find_places(struct work *w, const struct str *topics, int32_t count, int64_t partition, int64_t replica,
                        struct places *out, struct fail *fail)
{
    struct metadata_response m;
    int32_t room = 0;
    if (!ask_metadata(w->asker, topics, count, &m, &w->arena, fail))
        return false;
    for (int32_t t = 0; t < m.topics.len; t++)
        room += m.topics.items[t].partitions.len;
    *out = (struct places){ARENA_ARRAY(&w->arena, struct producers_place, room + 1), 0};
    for (int32_t t = 0; t < m.topics.len; t++) {
        const struct metadata_response_topic *topic = &m.topics.items[t];
        if (topic->error_code != ERR_NONE)
            return transactions_tool_refused(w, topic->error_code, fail, STR_LIT("Failed to describe topics"));
        for (int32_t i = 0; i < topic->partitions.len; i++) {
            const struct metadata_response_partition *p = &topic->partitions.items[i];
            bool there = replica < 0;
            for (int32_t k = 0; !there && k < p->replica_nodes.len; k++)
                there = p->replica_nodes.items[k] == replica;
            if (there && (partition < 0 || partition == p->partition_index))
                out->v[out->n++] = (struct producers_place){topic->name, p->partition_index, p->leader_id, false};
        }
    }
    return true;
}

/* The one partition that the options name. */
static bool named_place(struct work *w, struct producers_place *out, struct fail *fail)
{
    struct places places;
    int64_t partition = -1;
    if (!options_need(&w->o, "topic") || !options_need(&w->o, "partition") ||
        !read_number(w, "partition", 0, INT32_MAX, &partition))
        return false;
    struct str topic = str_of(options_get(&w->o, "topic"));
    if (!find_places(w, &topic, 1, partition, -1, &places, fail))
        return false;
    if (places.n != 1)
        return fail_set(fail, "There is no partition %.*s-%" PRId64, STR_ARGS(topic), partition);
    *out = places.v[0];
    return true;
}

struct producer_states {
    struct arena *arena;
    struct describe_producers_producer_state *v;
    int32_t n;
};

static void keep_producers(void *arg, const struct producers_place *at UNUSED,
                           const struct describe_producers_partition_response *p)
{
    struct producer_states *states = arg;
    states->n = p->active_producers.len;
    states->v = ARENA_ARRAY(states->arena, struct describe_producers_producer_state, states->n + 1);
    for (int32_t i = 0; i < states->n; i++)
        states->v[i] = p->active_producers.items[i]; /* there are but numbers in them */
}

/* `broker` -1: by its leader. */
static bool producers_of(struct work *w, struct producers_place at, int64_t broker, struct producer_states *out,
                         struct fail *fail)
{
    const struct producers_query q = {w->asker, (int32_t)broker, keep_producers, out};
    *out = (struct producer_states){.arena = &w->arena};
    return partition_producers_learn(&q, &at, 1, fail);
}

static bool run_describe_producers(struct work *w, struct fail *fail)
{
    static const char *const head[] = {"ProducerId",   "ProducerEpoch", "LatestCoordinatorEpoch",
                                       "LastSequence", "LastTimestamp", "CurrentTransactionStartOffset"};
    struct producer_states states;
    struct producers_place at = {0};
    struct table table;
    int64_t broker = -1;
    if (!read_number(w, "broker-id", 0, INT32_MAX, &broker) || !named_place(w, &at, fail) ||
        !producers_of(w, at, broker, &states, fail))
        return false;
    table_init(&table, head, ARRAY_LEN(head), &w->arena);
    for (int32_t i = 0; i < states.n; i++) {
        const struct describe_producers_producer_state *p = &states.v[i];
        struct str row[] = {
            transactions_tool_number(w, p->producer_id),       transactions_tool_number(w, p->producer_epoch),
            transactions_tool_number(w, p->coordinator_epoch), transactions_tool_number(w, p->last_sequence),
            transactions_tool_number(w, p->last_timestamp),    number_or_none(w, p->current_txn_start_offset)};
        table_add(&table, row);
    }
    table_print(&table, stdout);
    return true;
}

/* ---- abort ---- */

static bool transactions_tool_find_open(struct work *w, const struct producers_place *at, int64_t start,
                                        struct describe_producers_producer_state *out, struct fail *fail)
{
    struct producer_states states;
    if (!producers_of(w, *at, -1, &states, fail))
        return false;
    for (int32_t i = 0; i < states.n; i++) {
        *out = states.v[i];
        if (out->current_txn_start_offset == start)
            return true;
    }
    return fail_set(fail,
                    "Could not find any open transactions starting at offset %" PRId64 " on partition %.*s-%" PRId32,
                    start, STR_ARGS(at->topic), at->partition);
}

/* What is to be aborted, as it was told. */
static bool read_producer(struct work *w, struct describe_producers_producer_state *out, struct fail *fail)
{
    int64_t epoch = 0, coordinator = 0;
    if (!read_number(w, "producer-id", 0, INT64_MAX, &out->producer_id))
        return false;
    if (!options_has(&w->o, "producer-epoch") || !options_has(&w->o, "coordinator-epoch"))
        return fail_set(fail, "Missing required argument %s",
                        options_has(&w->o, "producer-epoch") ? "--coordinator-epoch" : "--producer-epoch");
    if (!read_number(w, "producer-epoch", 0, INT16_MAX, &epoch) ||
        !read_number(w, "coordinator-epoch", INT32_MIN, INT32_MAX, &coordinator))
        return false;
    out->producer_epoch = (int32_t)epoch;
    out->coordinator_epoch = (int32_t)coordinator;
    return true;
}

static void make_marker(struct work *w, const struct producers_place *at,
                        const struct describe_producers_producer_state *p, struct write_txn_markers_request *request)
{
    write_txn_markers_request_init(request);
    ARRAY_MAKE(&w->arena, request->markers, 1);
    struct write_txn_markers_writable_txn_marker *m = request->markers.items;
    m->producer_id = p->producer_id;
    m->producer_epoch = (int16_t)p->producer_epoch;
    m->coordinator_epoch = MAX(p->coordinator_epoch, 0); /* -1: no coordinator has ended anything of it yet */
    ARRAY_MAKE(&w->arena, m->topics, 1);
    m->topics.items[0].name = at->topic;
    ARRAY_MAKE(&w->arena, m->topics.items[0].partition_indexes, 1);
    m->topics.items[0].partition_indexes.items[0] = at->partition;
}

static bool leader_is_away(int16_t error)
{
    return error == ERR_NOT_LEADER_OR_FOLLOWER || error == ERR_REPLICA_NOT_AVAILABLE ||
           error == ERR_BROKER_NOT_AVAILABLE || error == ERR_UNKNOWN_TOPIC_OR_PARTITION;
}

/* Once; `again`: it may become possible. */
static bool try_abort(struct work *w, const struct producers_place *at, const struct write_txn_markers_request *request,
                      bool *again, struct fail *fail)
{
    struct write_txn_markers_response response;
    *again = at->leader < 0;
    if (*again)
        return fail_set(fail, "Partition %.*s-%" PRId32 " has no leader", STR_ARGS(at->topic), at->partition);
    if (!ask(w->asker, at->leader, API_WRITE_TXN_MARKERS, 0, request, &response, NULL, &w->arena, fail)) {
        *again = ask_outcome(w->asker) == ASK_UNSENT;
        return false;
    }
    if (response.markers.len != 1 || response.markers.items[0].topics.len != 1 ||
        response.markers.items[0].topics.items[0].partitions.len != 1)
        return fail_set(fail, "Broker %" PRId32 " does not say whether it has aborted the transaction", at->leader);
    int16_t error = response.markers.items[0].topics.items[0].partitions.items[0].error_code;
    *again = leader_is_away(error);
    return error == ERR_NONE || transactions_tool_refused(w, error, fail, STR_LIT("Failed to abort transaction"));
}

static bool write_abort(struct work *w, struct producers_place *at, const struct describe_producers_producer_state *p,
                        struct fail *fail)
{
    int64_t deadline = clock_mono_ms() + ask_patience_ms(w->asker);
    struct write_txn_markers_request request;
    make_marker(w, at, p, &request);
    for (;;) {
        struct places places;
        struct fail why;
        bool again, ok = try_abort(w, at, &request, &again, &why);
        if (ok || !again || clock_mono_ms() >= deadline)
            return fail_unless(ok, &why, fail);
        usleep(RETRY_US);
        if (find_places(w, &at->topic, 1, at->partition, -1, &places, NULL) && places.n == 1)
            at->leader = places.v[0].leader;
    }
}

static bool run_abort(struct work *w, struct fail *fail)
{
    struct producers_place at = {0};
    struct describe_producers_producer_state p;
    int64_t start = -1;
    bool by_offset = options_has(&w->o, "start-offset");
    describe_producers_producer_state_init(&p);
    if (!by_offset && !options_has(&w->o, "producer-id"))
        return fail_set(fail, "The transaction to abort must be identified either with --start-offset (for brokers on "
                              "3.0 or above) or with --producer-id, --producer-epoch, and --coordinator-epoch");
    if (!read_number(w, "start-offset", 0, INT64_MAX, &start) || !named_place(w, &at, fail))
        return false;
    return (by_offset ? transactions_tool_find_open(w, &at, start, &p, fail) : read_producer(w, &p, fail)) &&
           write_abort(w, &at, &p, fail);
}

/* ---- find-hanging ---- */

struct search {
    struct work *w;
    int64_t broker, limit_ms;
    struct open_txn *found;
    size_t count, cap;
};

static void note_open(void *arg, const struct producers_place *at,
                      const struct describe_producers_partition_response *p)
{
    struct search *s = arg;
    int64_t now = clock_wall_ms();
    for (int32_t k = 0; k < p->active_producers.len; k++) {
        const struct describe_producers_producer_state *x = &p->active_producers.items[k];
        if (x->current_txn_start_offset < 0 || now - x->last_timestamp <= s->limit_ms)
            continue;
        s->found = xgrow(s->found, s->count + 1, &s->cap, sizeof(*s->found));
        s->found[s->count++] = (struct open_txn){*at, *x};
    }
}

/* Open transactions of the partitions. */
static bool find_candidates(struct search *s, struct places *places, struct fail *fail)
{
    const struct producers_query q = {s->w->asker, (int32_t)s->broker, note_open, s};
    return places->n == 0 || partition_producers_learn(&q, places->v, places->n, fail);
}

/* The transactional id that has that producer id now; null if none has. */
static bool find_id(struct work *w, int64_t producer_id, struct str *out, struct fail *fail)
{
    struct metadata_response cluster;
    struct list_transactions_request request;
    struct list_transactions_response response;
    *out = STR_NULL;
    list_transactions_request_init(&request);
    ARRAY_MAKE(&w->arena, request.state_filters, 0);
    ARRAY_MAKE(&w->arena, request.producer_id_filters, 1);
    request.producer_id_filters.items[0] = producer_id;
    if (!ask_metadata(w->asker, NULL, 0, &cluster, &w->arena, fail))
        return false;
    for (int32_t i = 0; out->p == NULL && i < cluster.brokers.len; i++) {
        if (!list_of(w, cluster.brokers.items[i].node_id, &request, &response, fail))
            return false;
        if (response.transaction_states.len > 0)
            *out = response.transaction_states.items[0].transactional_id;
    }
    return true;
}

static bool includes(const struct describe_transactions_transaction_state *t, const struct producers_place *at)
{
    for (int32_t i = 0; i < t->topics.len; i++)
        for (int32_t k = 0; str_eq(t->topics.items[i].topic, at->topic) && k < t->topics.items[i].partitions.len; k++)
            if (t->topics.items[i].partitions.items[k] == at->partition)
                return true;
    return false;
}

/* It hangs unless a coordinator knows of it, and will end it some time. */
static bool hangs(struct work *w, const struct open_txn *x, bool *out, struct fail *fail)
{
    struct describe_transactions_transaction_state t;
    struct str id;
    int32_t broker;
    *out = true;
    if (!find_id(w, x->p.producer_id, &id, fail))
        return false;
    if (id.p == NULL)
        return true;
    if (!describe_id(w, id, &broker, &t, fail))
        return false;
    if (t.error_code != ERR_NONE && t.error_code != ERR_TRANSACTIONAL_ID_NOT_FOUND)
        return transactions_tool_refused(w, t.error_code, fail, STR_LIT("Failed to describe transactions"));
    *out = t.error_code != ERR_NONE || !includes(&t, &x->at);
    return true;
}

static bool print_hanging(struct search *s, struct fail *fail)
{
    static const char *const head[] = {"Topic",         "Partition",        "ProducerId",
                                       "ProducerEpoch", "CoordinatorEpoch", "StartOffset",
                                       "LastTimestamp", "Duration(min)"};
    struct work *w = s->w;
    struct table table;
    table_init(&table, head, ARRAY_LEN(head), &w->arena);
    for (size_t i = 0; i < s->count; i++) {
        const struct open_txn *x = &s->found[i];
        bool hanging;
        if (!hangs(w, x, &hanging, fail))
            return false;
        struct str row[] = {x->at.topic,
                            transactions_tool_number(w, x->at.partition),
                            transactions_tool_number(w, x->p.producer_id),
                            transactions_tool_number(w, x->p.producer_epoch),
                            transactions_tool_number(w, x->p.coordinator_epoch),
                            transactions_tool_number(w, x->p.current_txn_start_offset),
                            transactions_tool_number(w, x->p.last_timestamp),
                            transactions_tool_number(w, (clock_wall_ms() - x->p.last_timestamp) / MS_PER_MINUTE)};
        if (hanging)
            table_add(&table, row);
    }
    table_print(&table, stdout);
    return true;
}

static bool run_find_hanging(struct work *w, struct fail *fail)
{
    struct search s = {.w = w, .broker = -1};
    struct places places;
    int64_t partition = -1, minutes = DEFAULT_MAX_TIMEOUT_MIN;
    bool topic_given = options_has(&w->o, "topic");
    struct str topic = str_of(options_get(&w->o, "topic"));
    if (!topic_given && !options_has(&w->o, "broker-id"))
        return fail_set(fail, "The `find-hanging` command requires either --topic or --broker-id to limit the scope of "
                              "the search");
    if (options_has(&w->o, "partition") && !topic_given)
        return fail_set(fail, "The --partition argument requires --topic to be provided");
    if (!read_number(w, "broker-id", 0, INT32_MAX, &s.broker) ||
        !read_number(w, "partition", 0, INT32_MAX, &partition) ||
        !read_number(w, "max-transaction-timeout", 0, INT32_MAX, &minutes))
        return false;
    s.limit_ms = minutes * MS_PER_MINUTE;
    bool ok = find_places(w, &topic, topic_given ? 1 : -1, partition, s.broker, &places, fail) &&
              find_candidates(&s, &places, fail) && print_hanging(&s, fail);
    free(s.found);
    return ok;
}

/* ---- Commands ---- */

enum { MOST_OPTIONS = 6 };

static const struct command {
    const char *name;
    bool (*run)(struct work *w, struct fail *fail);
    const char *options[MOST_OPTIONS + 1]; /* of its own */
} commands[] = {
    {"list", transactions_tool_run_list, {"duration-filter"}},
    {"describe", run_describe, {"transactional-id"}},
    {"describe-producers", run_describe_producers, {"topic", "partition", "broker-id"}},
    {"abort", run_abort, {"topic", "partition", "start-offset", "producer-id", "producer-epoch", "coordinator-epoch"}},
    {"find-hanging", run_find_hanging, {"topic", "partition", "broker-id", "max-transaction-timeout"}},
};

static bool takes(const struct command *c, const char *option)
{
    for (const char *const *own = c->options; *own != NULL; own++)
        if (strcmp(*own, option) == 0)
            return true;
    return strcmp(option, "bootstrap-server") == 0 || strcmp(option, "command-config") == 0;
}

static bool transactions_tool_check_options(const struct options *o, const struct command *c)
{
    for (size_t i = 0; i < ARRAY_LEN(specs); i++) {
        if (options_has(o, specs[i].name) && !takes(c, specs[i].name)) {
            options_complain(o, "unrecognized arguments: '--%s'", specs[i].name);
            return false;
        }
    }
    return true;
}

/* The command is a word among the options: it is taken out. NULL: there is none. */
static const char *take_command(int *argc, char **argv)
{
    for (int i = 1; i < *argc; i++) {
        if (argv[i][0] == '-') {
            bool has_value = strncmp(argv[i], "--", 2) == 0 && strchr(argv[i], '=') == NULL &&
                             strcmp(argv[i], "--help") != 0 && strcmp(argv[i], "--version") != 0;
            i += has_value;
            continue;
        }
        const char *word = argv[i];
        memmove(argv + i, argv + i + 1, sizeof(*argv) * (size_t)(*argc - i));
        --*argc;
        return word;
    }
    return NULL;
}

static bool transactions_tool_run(struct work *w, const struct command *c, struct fail *fail)
{
    if (c == NULL)
        return fail_set(fail, "A command is required: list, describe, describe-producers, abort or find-hanging");
    if (!options_need(&w->o, "bootstrap-server") || !transactions_tool_check_options(&w->o, c))
        return false;
    w->asker = asker_new(options_get(&w->o, "bootstrap-server"), options_get(&w->o, "command-config"), fail);
    bool ok = w->asker != NULL && c->run(w, fail);
    asker_free(w->asker);
    return ok;
}

int tool_transactions(int argc, char **argv)
{
    struct work w = {0};
    struct fail fail = {.text = ""};
    const char *word = take_command(&argc, argv);
    const struct command *c = NULL;
    for (size_t i = 0; word != NULL && i < ARRAY_LEN(commands); i++)
        if (strcmp(commands[i].name, word) == 0)
            c = &commands[i];
    int code = OPTIONS_PARSE_BY(OPTIONS_ARGPARSE, &w.o, specs, argc, argv, purpose);
    if (code < 0) {
        code = transactions_tool_run(&w, c, &fail) ? 0 : 1;
        if (fail.text[0] != '\0')
            fprintf(stderr, "%s\n", fail.text);
    }
    arena_deinit(&w.arena);
    options_free(&w.o);
    return code;
}
