/*
 * Produce: records in, offsets out (KIP-98, KIP-467).
 *
 * Each partition's records are looked at outside of any lock (records_prepare: CRC, sizes, timestamps, keys;
 * conversion if it must be; by a worker where that may take long), appended together with what else its loop was sent
 * (gathering.h), and answered, or waited for with acks=all (commit_wait.c). A transactional batch that may be the first
 * of its transaction here is verified with the coordinator before it is appended (KIP-890); until that is known nothing
 * else of the same connection is begun, so that no batch overtakes another.
 */
#include "protocol/msg/produce.h"

#include "base/clock.h"
#include "base/logger.h"
#include "cluster/internal_topics.h"
#include "server/authorize.h"
#include "server/gathering.h"
#include "server/request_metrics.h"

enum { ACKS_ALL = -1, MAGIC_V2_SINCE = 3, ZSTD_SINCE = 7, LEADERS_SINCE = 10, KNOWS_ABORTABLE_SINCE = 11 };
/* What a loop looks at of a request's records, in bytes when they are unfolded: a few milliseconds. A megabyte may
 * unfold to gigabytes. */
enum { LOOKED_AT = 4 << 20 };

/* One partition of the request: what is appended, and where its answer goes. */
struct produced {
    struct str topic;
    const struct produce_partition_produce_data *in;
    struct produce_partition_produce_response *out;
    int64_t guard;
    bool held; /* until its transaction is verified */
    bool denied;
    bool is_prepared; /* `prepared` is what its records became, or `flaw` says why not */
    struct prepared prepared;
    enum kafka_error flaw;
    struct produce *of;
    struct gathered gathered;
};

struct produce {
    struct commit_wait wait; /* its items beside these */
    struct produce_request request;
    struct produce_response response;
    struct produced *items;
    bool failed;
    enum kafka_error problem; /* of all that it asks for */
    int32_t next;             /* item that is not looked at yet */
    int32_t open;             /* items that are to be appended, and one as long as not all are looked at */
    int64_t budget;           /* of what the loop may look at before others have their turn */
    bool holds;               /* its connection */
    /* Of held ones: */
    bool any_held;
    struct verification verification;
    struct txn_partition_ref *unverified;
    enum kafka_error *verdicts;
};

/* ---- Checking and appending ---- */

static struct record_rules rules_of(const struct topic_config *c)
{
    struct record_rules rules = {
        .keep_codec = c->compression_type == COMPRESSION_TYPE_PRODUCER,
        .codec = c->compression_type == COMPRESSION_TYPE_PRODUCER ? CODEC_NONE : (enum codec)c->compression_type,
        .level = CODEC_LEVEL_DEFAULT,
        .log_append_time = c->message_timestamp_type == TIMESTAMP_TYPE_LOG_APPEND_TIME,
        .compacted = (c->cleanup_policy & CLEANUP_POLICY_COMPACT) != 0,
        .before_max_ms = topic_timestamp_before_max_ms(c),
        .after_max_ms = topic_timestamp_after_max_ms(c),
        .max_batch_size = c->max_message_bytes,
        .from_client = true,
    };
    if (rules.codec == CODEC_GZIP)
        rules.level = c->compression_gzip_level;
    else if (rules.codec == CODEC_LZ4)
        rules.level = c->compression_lz4_level;
    else if (rules.codec == CODEC_ZSTD)
        rules.level = c->compression_zstd_level;
    return rules;
}

/* What a version of the request may carry. Null: fine. */
static struct str version_problem(const struct request *r, struct bytes records, enum kafka_error *error)
{
    struct batch first, second;
    struct bytes rest = records;
    enum batch_result result = records.p != NULL ? batch_next(&rest, &first) : BATCH_END;
    *error = result == BATCH_CORRUPT ? ERR_CORRUPT_MESSAGE : ERR_INVALID_RECORD;
    if (r->version < MAGIC_V2_SINCE)
        return STR_NULL;
    if (result == BATCH_CORRUPT)
        return batch_problem(r->arena, records);
    if (result != BATCH_OK)
        return STR_LIT("Produce requests of this version must have at least one record batch per partition");
    if (first.magic != 2)
        return STR_LIT(
            "Produce requests of this version are only allowed to contain record batches with magic version 2");
    if (batch_next(&rest, &second) == BATCH_OK)
        return STR_LIT(
            "Produce requests of this version are only allowed to contain exactly one record batch per partition");
    if (r->version < ZSTD_SINCE && batch_codec(&first) == CODEC_ZSTD) {
        *error = ERR_UNSUPPORTED_COMPRESSION_TYPE;
        return STR_LIT("Produce requests of this version are not allowed to use ZStandard compression");
    }
    return STR_NULL;
}

static void report_record_errors(struct request *r, const struct prepared *p,
                                 struct produce_partition_produce_response *out)
{
    out->error_message = p->message;
    ARRAY_MAKE(r->arena, out->record_errors, p->error_count);
    for (int32_t i = 0; i < p->error_count; i++) {
        struct produce_batch_index_and_error_message *e = &out->record_errors.items[i];
        produce_batch_index_and_error_message_init(e);
        e->batch_index = p->errors[i].index;
        e->batch_index_error_message = p->errors[i].message;
    }
}

/* That of the batch itself, when it is there already. */
static int64_t max_timestamp_of(struct bytes batches)
{
    struct batch b;
    return batch_next(&batches, &b) == BATCH_OK ? b.max_timestamp : NO_TIMESTAMP;
}

/* To a batch that cannot even be read, or is too large, nothing more is said. */
static bool tells_start(enum kafka_error error)
{
    return error != ERR_CORRUPT_MESSAGE && error != ERR_MESSAGE_TOO_LARGE;
}

static void count_produced(struct partition *p, const struct prepared *records, enum kafka_error error)
{
    static const enum topic_meter flaws[] = {[FLAW_NO_KEY] = BROKER_NO_KEY,
                                             [FLAW_MAGIC] = BROKER_INVALID_MAGIC,
                                             [FLAW_CRC] = BROKER_INVALID_CRC,
                                             [FLAW_OFFSET_OR_SEQUENCE] = BROKER_INVALID_OFFSET};
    if (error == ERR_NONE && records->converted)
        partition_mark(p, TOPIC_PRODUCE_CONVERSIONS, records->offsets);
    if (error == ERR_MESSAGE_TOO_LARGE)
        partition_mark(p, TOPIC_BYTES_REJECTED, records->received);
    if (records->flaw > FLAW_OTHER)
        partition_mark(p, flaws[records->flaw], records->flaw == FLAW_NO_KEY ? records->keyless : 1);
}

/* Once. Any thread that has the request. False: it is not done, as it takes longer than `budget` has left. */
static bool prepare_records(struct produce *pr, struct produced *x, struct partition *p, int64_t *budget)
{
    struct bytes records = x->in->records.mem;
    if (x->is_prepared)
        return true;
    struct topic_config config = plog_config(partition_log(p));
    struct record_rules rules = rules_of(&config);
    rules.budget = budget;
    rules.topic = partition_topic(p);
    rules.partition = partition_index(p);
    x->flaw = records_prepare((uint8_t *)(uintptr_t)records.p, records.len, &rules, clock_wall_ms(), pr->wait.r->arena,
                              &x->prepared);
    x->is_prepared = !x->prepared.too_long;
    return x->is_prepared;
}

static void wait_or_finish(struct produce *pr);

/* Of its items, or of looking at them: what was opened by `open`. */
static void produce_close_one(struct produce *pr)
{
    ensure(pr->open > 0);
    if (--pr->open == 0)
        wait_or_finish(pr);
}

static void refuse_records(struct produce *pr, struct produced *x, const struct commit_item *item)
{
    report_record_errors(pr->wait.r, &x->prepared, x->out);
    if (tells_start(x->flaw))
        x->out->log_start_offset = plog_start_offset(partition_log(item->partition));
    count_produced(item->partition, &x->prepared, x->flaw);
    partition_count_append(item->partition, x->flaw);
}

static enum kafka_error note_append(struct produced *x, struct commit_item *item)
{
    struct produce *pr = x->of;
    const struct partition_append *a = &x->gathered.append;
    count_produced(item->partition, &x->prepared, a->log.error);
    item->leader_epoch = a->leader_epoch;
    x->out->log_start_offset = a->log.result.log_start_offset;
    if (a->log.error != ERR_NONE)
        return a->log.error;
    pr->wait.r->rebuild_us += x->prepared.rebuild_us;
    pr->wait.r->unfolded += x->prepared.unfolded;
    item->last_offset = a->log.result.last_offset;
    x->out->base_offset = a->log.result.first_offset;
    x->out->log_append_time_ms =
        a->log.result.duplicate ? max_timestamp_of(x->prepared.bytes) : x->prepared.append_time;
    return ERR_NONE;
}

static void on_appended(struct gathered *a)
{
    struct produced *x = CONTAINER_OF(a, struct produced, gathered);
    struct produce *pr = x->of;
    int32_t i = (int32_t)(x - pr->items);
    struct commit_item *item = &pr->wait.items[i];
    enum kafka_error error = note_append(x, item);
    request_has_taken(pr->wait.r, a->took_us);
    if (error != ERR_NONE || pr->request.acks != ACKS_ALL || item->last_offset < 0)
        commit_settle(&pr->wait, i, error);
    produce_close_one(pr);
}

static void append_or_settle(struct produce *pr, int32_t i)
{
    struct produced *x = &pr->items[i];
    struct commit_item *item = &pr->wait.items[i];
    struct request *r = pr->wait.r;
    ensure(x->is_prepared);
    if (x->flaw != ERR_NONE) {
        refuse_records(pr, x, item);
        commit_settle(&pr->wait, i, x->flaw);
        return;
    }
    x->prepared.guard = x->guard;
    x->of = pr;
    x->gathered = (struct gathered){.append = {.log.records = &x->prepared, .acks = pr->request.acks},
                                    .partition = item->partition,
                                    .done = on_appended};
    pr->open++;
    gathering_add(request_loop_share(r)->gathering, &x->gathered, r);
}

static enum kafka_error produce_find_partition(struct produce *pr, struct produced *x, struct commit_item *item)
{
    struct request *r = pr->wait.r;
    enum kafka_error error, missing = ERR_NONE;
    if (x->denied)
        return ERR_TOPIC_AUTHORIZATION_FAILED;
    item->partition = replica_partition(r->s->replicas, x->topic, x->in->index);
    if (item->partition == NULL)
        missing = partition_missing(r->s, x->topic, x->in->index);
    struct str problem = version_problem(r, x->in->records.mem, &error);
    if (missing == ERR_UNKNOWN_TOPIC_OR_PARTITION && error != ERR_CORRUPT_MESSAGE)
        return missing;
    if (problem.p != NULL) {
        x->out->error_message = problem;
        return error;
    }
    if (pr->request.acks < -1 || pr->request.acks > 1)
        return ERR_INVALID_REQUIRED_ACKS;
    if (topic_is_internal(x->topic) && !str_is(r->client_id, "__admin_client")) {
        x->out->error_message = STR_LIT("Cannot append to an internal topic");
        if (item->partition != NULL)
            partition_mark(item->partition, TOPIC_TOTAL_PRODUCE, 1);
        return ERR_INVALID_TOPIC_EXCEPTION;
    }
    return missing;
}

/* ---- Verification of transactions (KIP-890) ---- */

/* The transactional batch of a partition, if there is one. */
static bool transactional_batch(const struct produced *x, struct batch *b)
{
    struct bytes rest = x->in->records.mem;
    return rest.len > 0 && batch_next(&rest, b) == BATCH_OK && b->magic == 2 && batch_is_transactional(b);
}

/* Whether the coordinator has to be asked before this can be appended. */
static bool is_unverified(struct produce *pr, struct produced *x, const struct commit_item *item)
{
    struct batch b;
    if (!atomic_load(&pr->wait.r->s->verify_transactions) || !transactional_batch(x, &b) || !batch_has_producer(&b))
        return false;
    x->guard = GUARD_OPEN;
    if (partition_check_leader(item->partition, -1) != ERR_NONE)
        return false;
    x->guard =
        plog_begin_verification(partition_log(item->partition), b.producer_id, b.producer_epoch, b.base_sequence);
    if (x->guard == GUARD_OPEN)
        return false;
    pr->verification.who = (struct txn_producer){pr->request.transactional_id, b.producer_id, b.producer_epoch};
    return true;
}

static bool is_temporary(enum kafka_error error)
{
    return error == ERR_CONCURRENT_TRANSACTIONS || error == ERR_NETWORK_EXCEPTION ||
           error == ERR_COORDINATOR_LOAD_IN_PROGRESS || error == ERR_COORDINATOR_NOT_AVAILABLE ||
           error == ERR_NOT_COORDINATOR;
}

/* Errors of coordinators that a producer does not expect here become one that it tries again after. */
static enum kafka_error verdict_for_client(struct produce *pr, struct produced *x, enum kafka_error verdict)
{
    if (verdict == ERR_INVALID_TXN_STATE)
        x->out->error_message = STR_LIT("Partition was not added to the transaction");
    if (!is_temporary(verdict))
        return verdict;
    x->out->error_message = arena_printf(
        pr->wait.r->arena, "Unable to verify the partition has been added to the transaction. Underlying error: %s",
        error_name((int16_t)verdict));
    return ERR_NOT_ENOUGH_REPLICAS;
}

static void verified(struct request *r)
{
    struct produce *pr = r->state;
    int32_t k = 0;
    for (int32_t i = 0; i < pr->wait.count; i++) {
        struct produced *x = &pr->items[i];
        if (!x->held)
            continue;
        enum kafka_error verdict = verdict_for_client(pr, x, pr->verdicts[k++]);
        if (verdict == ERR_NONE)
            append_or_settle(pr, i);
        else
            commit_settle(&pr->wait, i, verdict);
    }
    gathering_finish(request_loop_share(r)->gathering); /* or the next one would have to be verified, too */
    exchange_release(r->x);
    produce_close_one(pr);
}

static void on_verified(struct verification *v)
{
    struct produce *pr = CONTAINER_OF(v, struct produce, verification);
    request_return(pr->wait.r, verified);
}

static void ask_coordinator(struct request *r)
{
    struct produce *pr = r->state;
    verifier_ask(r->s->verifier, &pr->verification);
}

/* With the connection held: where the next batches of the producer need not wait themselves they would get ahead. */
static void verify_held(struct produce *pr)
{
    struct request *r = pr->wait.r;
    int32_t count = 0;
    pr->unverified = ARENA_ARRAY(r->arena, struct txn_partition_ref, pr->wait.count);
    pr->verdicts = ARENA_ARRAY(r->arena, enum kafka_error, pr->wait.count);
    for (int32_t i = 0; i < pr->wait.count; i++)
        if (pr->items[i].held)
            pr->unverified[count++] = (struct txn_partition_ref){pr->items[i].topic, pr->items[i].in->index};
    pr->verification.partitions = pr->unverified;
    pr->verification.errors = pr->verdicts;
    pr->verification.count = count;
    pr->verification.knows_abortable = r->version >= KNOWS_ABORTABLE_SINCE;
    pr->verification.done = on_verified;
    request_park(r);
    request_visit(r, r->s->coordinator_loop, ask_coordinator);
}

/* A request is of one producer's transaction, and says whose. */
static enum kafka_error transaction_problem(const struct produce *pr)
{
    struct batch first = {.producer_id = NO_PRODUCER_ID}, b;
    bool found = false;
    for (int32_t i = 0; i < pr->wait.count; i++) {
        if (!transactional_batch(&pr->items[i], &b))
            continue;
        bool is_first = !found;
        found = true;
        if (pr->request.transactional_id.p == NULL ||
            (is_first && !allowed(pr->wait.r, ACL_WRITE, ACL_TRANSACTIONAL_ID, pr->request.transactional_id)))
            return ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
        if (!batch_has_producer(&first))
            first = b;
        else if (batch_has_producer(&b) &&
                 (b.producer_id != first.producer_id || b.producer_epoch != first.producer_epoch))
            return ERR_INVALID_PRODUCER_ID_MAPPING;
    }
    return ERR_NONE;
}

/* ---- Answering ---- */

static void produce_on_settled(struct commit_wait *w, int32_t i, enum kafka_error error)
{
    struct produce *pr = CONTAINER_OF(w, struct produce, wait);
    struct produced *x = &pr->items[i];
    x->out->error_code = error;
    if (error == ERR_NONE)
        return;
    x->out->base_offset = -1;
    pr->failed = true;
}

static struct quota_verdict charge_bytes(const struct request *r)
{
    if (!request_has_limit(r, QUOTA_PRODUCE))
        return (struct quota_verdict){0};
    return quotas_charge(r->s->quotas, QUOTA_PRODUCE, request_quota_client(r), r->x->frame_len, clock_mono_ms());
}

/* Where anything has failed, all that would have been answered is counted; else nothing is. */
static void produce_finish_silently(struct produce *pr)
{
    struct error_counts errors = {0};
    for (int32_t i = 0; i < pr->wait.count && pr->failed; i++)
        error_counts_note(&errors, pr->items[i].out->error_code);
    request_note_errors(pr->wait.r, &errors);
    request_is_answered(pr->wait.r);
    exchange_finish(pr->wait.r->x);
}

static void produce_tell_leader(struct leaders_told *told, struct produced *x)
{
    struct partition *p = replica_partition(told->r->s->replicas, x->topic, x->in->index);
    struct current_leader leader = leaders_tell(told, x->topic, x->in->index, p);
    partition_unref(p);
    x->out->current_leader.leader_id = leader.id;
    x->out->current_leader.leader_epoch = leader.epoch;
}

/* Producers that have asked the wrong broker are told which is the right one. */
static void produce_fill_nodes(struct produce *pr)
{
    struct leaders_told told = {.r = pr->wait.r};
    for (int32_t i = 0; i < pr->wait.count; i++)
        if (pr->items[i].out->error_code == ERR_NOT_LEADER_OR_FOLLOWER)
            produce_tell_leader(&told, &pr->items[i]);
    ARRAY_MAKE(told.r->arena, pr->response.node_endpoints, told.count);
    for (int32_t i = 0; i < told.count; i++) {
        const struct leader_node *node = &told.nodes[i];
        pr->response.node_endpoints.items[i] =
            (struct produce_node_endpoint){node->id, node->host, node->port, node->rack};
    }
}

static void produce_answer(struct commit_wait *w)
{
    struct produce *pr = CONTAINER_OF(w, struct produce, wait);
    struct quota_verdict bytes = charge_bytes(w->r);
    if (pr->request.acks != 0)
        pr->response.throttle_time_ms = request_judge(w->r, bytes).wait_ms;
    else {
        request_exempt(w->r);
        request_pause(w->r, bytes);
    }
    if (pr->failed && pr->request.acks != 0 && w->r->version >= LEADERS_SINCE)
        produce_fill_nodes(pr);
    if (pr->request.acks != 0)
        ANSWER(w->r, produce_response, &pr->response);
    else if (pr->failed)
        exchange_abort(w->r->x, "a produce request with acks=0 has failed, which its sender can learn in no other way");
    else
        produce_finish_silently(pr);
}

static void wait_or_finish(struct produce *pr)
{
    if (pr->wait.unsettled > 0)
        commit_wait(&pr->wait, pr->request.timeout_ms);
    else
        produce_answer(&pr->wait);
}

/* ---- The request ---- */

static int32_t produce_count_partitions(const struct produce_request *request)
{
    int32_t n = 0;
    for (int32_t t = 0; t < request->topic_data.len; t++)
        n += MAX(request->topic_data.items[t].partition_data.len, 0);
    return n;
}

#define PRODUCE_INDEX(p) ((p)->index)

/* Of several entries for a partition the last one counts, and it alone is answered: so that no record is there twice.
 */
static const bool *find_repeated(const struct produce *pr)
{
    struct arena *a = pr->wait.r->arena;
    struct named_partition *named;
    int32_t count;
    LIST_NAMED(a, pr->request.topic_data, TOPIC_NAME, partition_data, PRODUCE_INDEX, named, count);
    return named_again(a, named, count);
}

static void produce_lay_out(struct produce *pr, int32_t named)
{
    struct arena *a = pr->wait.r->arena;
    const bool *again = named > 1 ? find_repeated(pr) : NULL;
    int32_t n = 0, at = 0;
    ARRAY_MAKE(a, pr->response.responses, MAX(pr->request.topic_data.len, 0));
    for (int32_t t = 0; t < pr->request.topic_data.len; t++) {
        const struct produce_topic_produce_data *in = &pr->request.topic_data.items[t];
        struct produce_topic_produce_response *out = &pr->response.responses.items[t];
        produce_topic_produce_response_init(out);
        out->name = in->name;
        ARRAY_MAKE(a, out->partition_responses, MAX(in->partition_data.len, 0));
        out->partition_responses.len = 0;
        for (int32_t i = 0; i < in->partition_data.len; i++) {
            if (again != NULL && again[at++])
                continue;
            struct produced *x = &pr->items[n++];
            *x =
                (struct produced){in->name, &in->partition_data.items[i],
                                  &out->partition_responses.items[out->partition_responses.len++], .guard = GUARD_NONE};
            produce_partition_produce_response_init(x->out);
            x->out->index = x->in->index;
            x->out->base_offset = -1;
        }
    }
    ensure(n <= named && (again == NULL || at == named));
    commit_wait_init(&pr->wait, pr->wait.r, n);
    pr->wait.settled = produce_on_settled;
    pr->wait.over = produce_answer;
    for (int32_t i = 0; i < n; i++)
        pr->wait.items[i].last_offset = -1;
}

/* Neighbours of one topic are asked about once. */
static void deny_topics(struct produce *pr)
{
    for (int32_t i = 0, same; i < pr->wait.count; i = same) {
        struct str topic = pr->items[i].topic;
        for (same = i + 1; same < pr->wait.count && str_eq(pr->items[same].topic, topic);)
            same++;
        bool denied = !allowed_topic(pr->wait.r, ACL_WRITE, topic, same - i);
        for (int32_t k = i; k < same; k++)
            pr->items[k].denied = denied;
    }
}

/* Appends what can be now, from `next` on. False: the next one takes long. */
static bool append_next(struct produce *pr)
{
    for (; pr->next < pr->wait.count; pr->next++) {
        struct produced *x = &pr->items[pr->next];
        struct commit_item *item = &pr->wait.items[pr->next];
        enum kafka_error error = pr->problem;
        if (error == ERR_NONE && item->partition == NULL)
            error = produce_find_partition(pr, x, item);
        if (error != ERR_NONE || x->in->records.mem.len == 0) {
            commit_settle(&pr->wait, pr->next, error);
            continue;
        }
        if (!prepare_records(pr, x, item->partition, &pr->budget))
            return false;
        x->held = is_unverified(pr, x, item);
        pr->any_held |= x->held;
        if (!x->held)
            append_or_settle(pr, pr->next);
    }
    return true;
}

static void go_on(struct produce *pr);

/* By a worker. */
static void prepare_next(struct request *r)
{
    struct produce *pr = r->state;
    bool done = prepare_records(pr, &pr->items[pr->next], pr->wait.items[pr->next].partition, NULL);
    ensure(done);
}

static void next_prepared(struct request *r)
{
    struct produce *pr = r->state;
    pr->budget = LOOKED_AT;
    go_on(pr);
}

/* With the connection held as long as anything is not appended: what comes behind it is not to get ahead. */
static void go_on(struct produce *pr)
{
    struct request *r = pr->wait.r;
    bool all = append_next(pr), waits = !all || pr->any_held;
    if (waits && !pr->holds)
        exchange_hold(r->x);
    if (!waits && pr->holds)
        exchange_release(r->x);
    pr->holds = waits;
    if (waits) { /* the loop will not have its memory meanwhile */
        request_leaves(r);
        gathering_finish(request_loop_share(r)->gathering);
    }
    if (!all)
        request_work(r, prepare_next, next_prepared);
    else if (pr->any_held)
        verify_held(pr);
    else {
        if (pr->open > 1)
            request_park(r); /* it has its place in the gathering, of which there are not many */
        produce_close_one(pr);
    }
}

static void produce_handle(struct request *r)
{
    struct produce *pr = ARENA_NEW(r->arena, struct produce);
    r->state = pr;
    if (!DECODE(r, produce_request, &pr->request))
        return;
    produce_response_init(&pr->response);
    int32_t named = produce_count_partitions(&pr->request);
    pr->items = ARENA_ARRAY(r->arena, struct produced, MAX(named, 1));
    pr->wait.r = r;
    produce_lay_out(pr, named);
    pr->problem = transaction_problem(pr);
    if (pr->problem == ERR_NONE && has_authorizer(r))
        deny_topics(pr);
    pr->budget = LOOKED_AT;
    pr->open = 1;
    go_on(pr);
}

const struct api_entry api_produce = {
    .key = API_PRODUCE, .min = 0, .max = 11, .overlaps = true, .handle = produce_handle};
