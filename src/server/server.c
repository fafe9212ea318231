/*
 * From frame to handler, and from response to frame.
 *
 *     server_serve   before its session is open, a connection's frames are its login's; then the header is read, and
 *                    the API's handler called
 *     the handler    decodes, asks for permission, and answers, or lets the request hop: to another loop, to a worker
 *     answer_send    encodes, into memory with regions of files in between; writes the throttle time into what it has
 *                    encoded, where the API has a place for it; and gives it to the connection
 *
 * What is malformed, or of an API or a version that there is not, closes the connection, as with Kafka: no answer would
 * be understood. So does an answer that no frame can hold. ApiVersions alone is answered in any version (KIP-35).
 *
 * Whose time it is that passes is told by the hops: each leaves by request_leaves(), and arrives by arrive().
 */
#include "server/server_internal.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/logger.h"
#include "protocol/msg/api_versions.h"
#include "protocol/msg/request_header.h"
#include "protocol/msg/response_header.h"
#include "server/request_log.h"
#include "server/request_metrics.h"
#include "server/sasl.h"

/* What the answer to one request may take, in its parts and as the frame that they are encoded into. */
enum { SMALLEST_HEADER = 8, LENGTH_SIZE = 4, MOST_ANSWER_BYTES = 256 << 20 };

/* clang-format off */
#define ENTRIES(X)                                                                                  \
    X(produce) X(fetch) X(list_offsets) X(metadata) X(leader_and_isr) X(stop_replica)               \
    X(update_metadata) X(controlled_shutdown) X(offset_commit) X(offset_fetch) X(find_coordinator)  \
    X(join_group) X(heartbeat) X(leave_group) X(sync_group) X(describe_groups) X(list_groups)       \
    X(api_versions) X(create_topics) X(delete_topics) X(init_producer_id)                           \
    X(offset_for_leader_epoch) X(describe_configs) X(create_partitions) X(delete_groups)            \
    X(describe_cluster) X(allocate_producer_ids) X(alter_partition)                                 \
    X(alter_partition_reassignments) X(list_partition_reassignments) X(elect_leaders)               \
    X(update_features) X(alter_configs) X(incremental_alter_configs) X(delete_records)              \
    X(add_partitions_to_txn) X(add_offsets_to_txn) X(end_txn) X(write_txn_markers)                  \
    X(txn_offset_commit) X(describe_transactions) X(sasl_handshake) X(sasl_authenticate)            \
    X(list_transactions) X(describe_producers) X(describe_log_dirs) X(alter_replica_log_dirs)       \
    X(offset_delete) X(consumer_group_heartbeat) X(consumer_group_describe) X(describe_acls)        \
    X(create_acls) X(delete_acls) X(describe_user_scram_credentials) X(alter_user_scram_credentials) \
    X(describe_client_quotas) X(alter_client_quotas) X(create_delegation_token)                     \
    X(renew_delegation_token) X(expire_delegation_token) X(describe_delegation_token)
/* clang-format on */

#define DECLARE(name) extern const struct api_entry api_##name;
ENTRIES(DECLARE)
#define ROW(name) &api_##name,
const struct api_entry *const api_table[] = {ENTRIES(ROW)};
const size_t api_table_len = ARRAY_LEN(api_table);

static const struct api_entry *by_key[128]; /* filled before any thread asks */

static const struct api_entry *find_entry(int16_t key)
{
    return key >= 0 && (size_t)key < ARRAY_LEN(by_key) ? by_key[key] : NULL;
}

/* ---- Answers ---- */

void answer_begin(struct request *r, struct writer *w)
{
    struct response_header header = {.correlation_id = r->correlation_id};
    writer_init(w);
    writer_int32(w, 0); /* the length, known at the end */
    response_header_write(w, api_response_header_version(r->api->key, r->version), &header);
}

/* Rather than to say something else, or to be the end of all others. */
static bool is_fit(struct request *r, const struct writer *w)
{
    char why[128] = "";
    if (w->unfit != NULL)
        snprintf(why, sizeof(why), "the answer's %s is too long for a string of the protocol", w->unfit);
    else if (request_is_spent(r) || w->buf.len > MOST_ANSWER_BYTES)
        snprintf(why, sizeof(why), "the answer to API key %d takes more than %d bytes", r->api->key, MOST_ANSWER_BYTES);
    if (why[0] != '\0')
        exchange_abort(r->x, why);
    return why[0] == '\0';
}

void answer_take(struct request *r UNUSED, struct writer *w, struct outgoing *out)
{
    ensure(w->unfit == NULL);
    *out = (struct outgoing){0};
    be32_put(w->buf.p, (uint32_t)(writer_total(w) - LENGTH_SIZE));
    out->mem = w->buf;
    w->buf = (struct strbuf){0};
    for (size_t i = 0; i < w->splice_count; i++)
        outgoing_splice(out, w->splices[i].position, *w->splices[i].region);
    writer_deinit(w);
}

/* Where in an answer's body of that length its throttle time is: near its beginning, or at its end; -1: nowhere. */
static int throttle_time_at(const struct message_type *type, int16_t version, size_t len)
{
    int at = 0;
    bool fixed = true, is_last = false;
    for (int16_t i = 0; i < type->field_count; i++) {
        const struct field *f = &type->fields[i];
        if (version < f->versions.min || version > f->versions.max)
            continue;
        is_last = strcmp(f->name, "ThrottleTimeMs") == 0;
        if (is_last && fixed)
            return at;
        fixed = fixed && f->type == FIELD_INT16 && !f->array;
        at += (int)sizeof(int16_t);
    }
    int tags = version >= type->flexible_since; /* a byte that says that there are none */
    return is_last ? (int)len - tags - (int)sizeof(int32_t) : -1;
}

static void throttle_answer(struct request *r, struct writer *w)
{
    static const int sizes[] = {4, 5}; /* of response headers */
    int16_t key = (int16_t)r->api->key, header = api_response_header_version(key, r->version);
    struct quota_verdict v = r->is_judged ? r->verdict : request_judge(r, (struct quota_verdict){0});
    if (v.wait_ms == 0)
        return;
    ensure(header >= 0 && header < (int)ARRAY_LEN(sizes));
    size_t start = LENGTH_SIZE + (size_t)sizes[header];
    int at = throttle_time_at(api_spec(key)->response, r->version, w->buf.len - start);
    ensure(start + (size_t)MAX(at, 0) + sizeof(int32_t) <= w->buf.len || at < 0);
    if (at >= 0)
        be32_put(w->buf.p + start + at, (uint32_t)v.wait_ms);
}

void answer_send(struct request *r, struct writer *w)
{
    struct outgoing out;
    if (!is_fit(r, w)) {
        for (size_t i = 0; i < w->splice_count; i++)
            file_ref_put(w->splices[i].region->file);
        writer_deinit(w);
        return;
    }
    throttle_answer(r, w);
    request_note_errors(r, &w->errors);
    request_log_answer(r, NULL, w);
    answer_take(r, w, &out);
    request_is_answered(r);
    exchange_answer(r->x, &out);
}

bool request_malformed(struct request *r)
{
    struct strbuf why = {0};
    strbuf_puts(&why, "malformed request: ");
    reader_error(&r->body, &why);
    exchange_abort(r->x, why.p);
    strbuf_deinit(&why);
    return true;
}

bool request_decoded(struct request *r)
{
    r->arena->limit = r->arena->used + MOST_ANSWER_BYTES;
    r->arena->spent = false;
    return true;
}

bool request_is_spent(const struct request *r)
{
    return r->arena->spent;
}

/* ---- Hopping ---- */

/* It was on its way, or in a queue, until the loop came to it. */
static void arrive(struct request *r, int64_t now_us)
{
    int64_t since_us = MAX(r->since_us, now_us);
    r->queue_us += since_us - r->since_us;
    r->since_us = since_us;
    r->waits = false;
}

static void land(struct message *m)
{
    struct request *r = CONTAINER_OF(m, struct request, message);
    arrive(r, loop_callback_us());
    r->landed(r);
}

static struct message *leave_for(struct request *r, void (*then)(struct request *r))
{
    request_leaves(r);
    r->landed = then;
    r->message.deliver = land;
    return &r->message;
}

/* Where it goes to, something else may be waited for that is away: ZooKeeper, the controller. */
void request_hop(struct request *r, struct loop *loop, void (*then)(struct request *r))
{
    struct loop *home = exchange_loop(r->x);
    if (loop != home && loop_is_mine(home))
        exchange_park(r->x);
    loop_post(loop, leave_for(r, then));
}

void request_visit(struct request *r, struct loop *loop, void (*then)(struct request *r))
{
    loop_visit(loop, leave_for(r, then));
}

void request_return(struct request *r, void (*then)(struct request *r))
{
    request_hop(r, exchange_loop(r->x), then);
}

static void run_work(struct job *job)
{
    struct request *r = CONTAINER_OF(job, struct request, job);
    arrive(r, clock_mono_us());
    r->work(r);
    request_stops(r);
}

static void work_done(struct message *m)
{
    struct request *r = CONTAINER_OF(m, struct request, job.done);
    ensure(loop_is_mine(exchange_loop(r->x)));
    arrive(r, loop_callback_us());
    r->landed(r);
}

void request_work(struct request *r, void (*work)(struct request *r), void (*then)(struct request *r))
{
    request_work_on(r, r->s->workers, work, then);
}

void request_disk_work(struct request *r, void (*work)(struct request *r), void (*then)(struct request *r))
{
    exchange_park(r->x);
    request_work(r, work, then);
}

void request_work_on(struct request *r, struct workers *workers, void (*work)(struct request *r),
                     void (*then)(struct request *r))
{
    ensure(loop_is_mine(exchange_loop(r->x))); /* which it comes back to */
    request_leaves(r);
    r->landed = then;
    r->work = work;
    r->job = (struct job){.run = run_work, .home = exchange_loop(r->x), .done = {.deliver = work_done}};
    workers_submit(workers, &r->job);
}

const struct loop_share *request_loop_share(const struct request *r)
{
    for (int i = 0; i < net_server_loop_count(r->s->net); i++)
        if (r->s->loop_shares[i].loop == exchange_loop(r->x))
            return &r->s->loop_shares[i];
    unreachable("a request on a loop that is not the network's");
}

struct principal request_principal(const struct request *r)
{
    const struct session *session = connection_session(r->s, r->x->conn);
    ensure(session->principal.name.p != NULL);
    return session->principal;
}

const char *request_listener(const struct request *r)
{
    return connection_listener(r->x->conn)->name;
}

enum kafka_error partition_missing(const struct services *s, struct str topic, int32_t index)
{
    if (replica_is_offline(s->replicas, topic, index))
        return ERR_KAFKA_STORAGE_ERROR;
    return view_partition(view_current(), topic, index) ? ERR_NOT_LEADER_OR_FOLLOWER : ERR_UNKNOWN_TOPIC_OR_PARTITION;
}

/* ---- Requests ---- */

static void server_begin(void *ctx, struct connection *conn)
{
    connection_session(ctx, conn);
}

static void abort_unsupported(struct session *session, struct exchange *x, int16_t key, int16_t version)
{
    char why[96];
    if (session->stage == SESSION_GREETING && find_entry(key) == NULL) {
        if (!sasl_takes_old_token(session, x))
            session_refuse_garbage(session, x);
        return;
    }
    snprintf(why, sizeof(why), "API key %" PRId16 " in version %" PRId16 " is not supported", key, version);
    exchange_abort(x, why);
}

static bool read_header(struct request *r)
{
    struct request_header header;
    if (!request_header_read(&r->body, api_request_header_version(r->api->key, r->version), &header))
        return !request_malformed(r);
    r->client_id = header.client_id;
    r->body_len = (int32_t)reader_left(&r->body);
    return true;
}

static void server_serve(void *ctx, struct exchange *x)
{
    struct session *session = connection_session(ctx, x->conn);
    if (session_expects_token(session)) {
        sasl_take_token(session, x);
        return;
    }
    if (x->frame_len < SMALLEST_HEADER) {
        if (session->stage == SESSION_GREETING)
            session_refuse_garbage(session, x);
        else
            exchange_abort(x, "a request shorter than its header");
        return;
    }
    int16_t key = (int16_t)be16_get(x->frame), version = (int16_t)be16_get(x->frame + 2);
    const struct api_entry *api = find_entry(key);
    struct request *r = ARENA_NEW(&x->arena, struct request);
    *r = (struct request){.s = ctx, .x = x, .arena = &x->arena, .api = api, .version = version};
    r->correlation_id = (int32_t)be32_get(x->frame + 4);
    r->since_us = x->received_us;
    r->queue_us = x->received_us - x->whole_us;
    r->body_len = x->frame_len - SMALLEST_HEADER;
    x->context = r;
    reader_init(&r->body, (struct bytes){x->frame, x->frame_len}, r->arena);
    if (session->logins->sasl &&
        (session->stage != SESSION_OPEN || key == API_SASL_HANDSHAKE || key == API_SASL_AUTHENTICATE))
        r->flavor = REQUEST_OF_LOGIN;
    bool known = api != NULL && version >= api->min && version <= api->max;
    bool asks_versions =
        api != NULL && key == API_API_VERSIONS; /* it answers in a version that everybody knows (KIP-35) */
    if (!known && !asks_versions)
        abort_unsupported(session, x, key, version);
    else if (session_admits(session, r) && (!known || read_header(r)))
        api->handle(r);
}

static bool may_overlap(void *ctx, struct connection *conn, const uint8_t *frame, int32_t len)
{
    if (connection_session(ctx, conn)->stage != SESSION_OPEN)
        return false;
    const struct api_entry *api = len >= 2 ? find_entry((int16_t)be16_get(frame)) : NULL;
    return api != NULL && api->overlaps;
}

static void server_ended(void *ctx, const struct exchange *x)
{
    const struct services *s = ctx;
    request_metrics_count(s->request_metrics, x);
    request_log_end(x, x->account.log);
}

struct net_handler server_handler(struct services *s)
{
    for (size_t i = 0; i < api_table_len; i++) {
        const struct api_entry *e = api_table[i];
        ensure((size_t)e->key < ARRAY_LEN(by_key) && e->min >= 0 && e->min <= e->max);
        /* A version that its schema does not have would be left out by the tests, which go by schemas. */
        ensure(e->max <= api_spec((int16_t)e->key)->max_version);
        ensure(by_key[e->key] == NULL || by_key[e->key] == e); /* one handler for each key */
        by_key[e->key] = e;
    }
    return (struct net_handler){server_begin, server_serve, server_ended, may_overlap, s};
}
