/*
 * One loop's share of following. When all goes well there is one connection to each leader and one Fetch under way on
 * it, in a session: what comes is appended, the watermark taken over, and the next Fetch says how far this follower
 * is.
 *
 * Which partitions are told to the leader, and which rest, is in followed.c; what comes of an answer, and how a log
 * that is not the leader's is cut back, in fetched.c.
 *
 * A connection that is lost, or a session that the leader has forgotten, is begun anew with all its partitions named.
 * Orders reach this loop as messages that say only: look. Whom to follow is asked of the partition at that moment.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/logger.h"
#include "cluster/view.h"
#include "protocol/frame.h"
#include "protocol/msg/api.h"
#include "replica/fetcher_internal.h"

enum { STATE_SINCE = 15, LATEST = -1, EARLIEST = -2 };
enum { GATHER_MS = 2, QUICK_FOR_MS = 1000, QUICK_WAIT_MS = 20, LOOK_MS = 5000, SAY_HOW_FAR_MS = 10000 };
static void send_next(struct fetcher *f);

/* ---- Versions: without negotiation, by inter.broker.protocol.version ---- */

static int16_t fetch_version(enum ibp ibp)
{
    static const struct {
        enum ibp since;
        int16_t version;
    } steps[] = {{IBP_3_9_IV0, 17}, {IBP_3_7_IV4, 16}, {IBP_3_5_IV1, 15}, {IBP_3_5_IV0, 14}, {IBP_3_1_IV0, 13}};
    for (size_t i = 0; i < ARRAY_LEN(steps); i++)
        if (ibp >= steps[i].since)
            return steps[i].version;
    return 12;
}

static int16_t list_offsets_version(enum ibp ibp)
{
    return ibp >= IBP_3_9_IV0 ? 9 : ibp >= IBP_3_5_IV0 ? 8 : ibp >= IBP_3_0_IV1 ? 7 : 6;
}

/* ---- The leader ---- */

void fetcher_retry_by(struct fetcher *f, int64_t when)
{
    if (timer_is_running(&f->retry) && f->retry_at <= when)
        return;
    f->retry_at = when;
    timer_start(&f->retry, MAX(when - clock_mono_ms(), (int64_t)0));
}

static void fetcher_on_retry(struct timer *t)
{
    send_next(CONTAINER_OF(t, struct fetcher, retry));
}

static void on_begin(struct timer *t)
{
    send_next(CONTAINER_OF(t, struct fetcher, begin));
}

static struct fetcher *fetcher_for(struct fetchers *all, int32_t leader)
{
    struct fetcher *f;
    HASH_FIND_INT(all->by_leader, &leader, f);
    if (f != NULL)
        return f;
    f = xcalloc(1, sizeof(*f));
    f->all = all;
    f->leader = leader;
    timer_init(&f->retry, all->options.loop, fetcher_on_retry);
    timer_init(&f->begin, all->options.loop, on_begin);
    HASH_ADD_INT(all->by_leader, leader, f);
    return f;
}

void fetcher_begin_anew(struct fetcher *f)
{
    struct followed *x, *tmp;
    ensure(loop_is_mine(f->all->options.loop) && f->asking == ASK_NOTHING);
    f->session_epoch = 0;
    f->forgotten_count = 0;
    arena_deinit(&f->forgotten_memory);
    HASH_ITER (hh, f->all->by_partition, x, tmp) {
        if (x->fetcher != f)
            continue;
        x->in_session = false;
        followed_mark_changed(x);
    }
}

/* With what is counted of it, as of a fetcher that Kafka has shut down. */
static void let_go_of_leader(struct fetcher *f)
{
    struct client *old = f->client;
    f->client = NULL;
    client_free(old);
    client_counts_free(f->traffic);
    fetcher_counts_free(f->counts);
    f->traffic = NULL;
    f->counts = NULL;
}

/* False while the leader's address is not known. */
static bool find_leader(struct fetcher *f)
{
    const struct registration *b = view_broker(view_current(), f->leader);
    const struct endpoint *e =
        b != NULL ? registration_endpoint(b, f->all->options.config->inter_broker_listener_name) : NULL;
    if (e == NULL)
        return false;
    if (f->client != NULL && client_goes_to(f->client, e->host, e->port))
        return true;
    let_go_of_leader(f);
    struct client_options clients = f->all->clients;
    const struct client_kind kind = {"replica-fetcher-metrics",
                                     {{"broker-id", f->leader}, {"fetcher-id", f->all->options.lane}}};
    clients.counts = f->traffic = client_counts_new(clients.route, clients.loop, &kind);
    f->client = client_new(&clients, e->host, e->port);
    f->counts = fetcher_counts_new(f->all->metrics, f->all->options.lane, f->leader, e->host, e->port);
    fetcher_begin_anew(f);
    return true;
}

static void pause(struct fetcher *f)
{
    fetcher_retry_by(f, clock_mono_ms() + f->all->options.config->replica_fetch_backoff_ms);
}

/* ---- Requests ---- */

static void fetcher_on_answer(struct client_call *call, struct bytes frame);

static void fetcher_post(struct fetcher *f, enum asking asking, int16_t key, int16_t version, const void *request)
{
    struct strbuf frame;
    char client_id[64];
    snprintf(client_id, sizeof(client_id), "broker-%" PRId32 "-fetcher-%d", f->all->options.broker_id,
             f->all->options.lane);
    request_frame(&frame, key, version, str_of(client_id), request);
    ensure(f->asking == ASK_NOTHING && asking != ASK_NOTHING && f->client != NULL);
    f->asking = asking;
    f->version = version;
    f->call = (struct client_call){.done = fetcher_on_answer,
                                   .timeout_ms = f->all->options.config->replica_socket_timeout_ms};
    if (asking == ASK_FETCH)
        fetcher_count_request(f->counts);
    client_send(f->client, &frame, &f->call);
}

static int fetcher_by_topic(const void *a, const void *b)
{
    const struct followed *const *x = a, *const *y = b;
    int order = strcmp(partition_topic((*x)->partition), partition_topic((*y)->partition));
    return order != 0 ? order : partition_index((*x)->partition) - partition_index((*y)->partition);
}

static int by_forgotten_topic(const void *a, const void *b)
{
    const struct forgotten *x = a, *y = b;
    return partition_order(x->topic, x->index, y->topic, y->index);
}

/* The changes that may be sent now, by topic; those that rest stay in the list. */
static int32_t take_changes(struct fetcher *f, struct followed ***out)
{
    struct followed *x, *tmp;
    int64_t now = clock_mono_ms();
    int32_t count = 0, room = 0;
    DL_FOREACH (f->changes, x)
        room++;
    *out = ARENA_ARRAY(&f->arena, struct followed *, MAX(room, 1));
    DL_FOREACH_SAFE (f->changes, x, tmp) {
        if (x->rest_until > now || x->lost || !x->begun)
            continue;
        x->rest_until = 0;
        followed_unmark(x);
        (*out)[count++] = x;
    }
    ensure(count <= room && count <= f->partition_count);
    qsort(*out, (size_t)count, sizeof(**out), fetcher_by_topic);
    return count;
}

static void fetcher_fill_partition(struct fetcher *f, struct followed *x, struct fetch_partition *out)
{
    struct plog *log = partition_log(x->partition);
    ensure(x->fetcher == f && !x->changed && !x->lost && x->offset >= 0);
    fetch_partition_init(out);
    out->partition = partition_index(x->partition);
    out->current_leader_epoch = x->leader_epoch;
    out->fetch_offset = x->offset;
    out->last_fetched_epoch = plog_latest_epoch(log);
    out->log_start_offset = plog_start_offset(log);
    out->partition_max_bytes = f->all->options.config->replica_fetch_max_bytes;
    x->sent_offset = x->offset;
    x->sent_start = out->log_start_offset;
    x->in_session = true;
}

static void fetcher_fill_topics(struct fetcher *f, struct followed **list, int32_t count, struct fetch_request *q)
{
    ARRAY_MAKE(&f->arena, q->topics, count);
    q->topics.len = 0;
    for (int32_t i = 0; i < count;) {
        struct fetch_topic *t = &q->topics.items[q->topics.len++];
        int32_t same = i + 1;
        while (same < count && strcmp(partition_topic(list[same]->partition), partition_topic(list[i]->partition)) == 0)
            same++;
        fetch_topic_init(t);
        t->topic = str_of(partition_topic(list[i]->partition));
        t->topic_id = list[i]->id_key.topic_id;
        ARRAY_MAKE(&f->arena, t->partitions, same - i);
        for (int32_t k = 0; i < same; i++, k++)
            fetcher_fill_partition(f, list[i], &t->partitions.items[k]);
    }
}

/* What was taken up again since must stay: a leader forgets last. */
static bool is_back(struct fetcher *f, const struct forgotten *g)
{
    struct followed *x = followed_by_name(f, g->topic, g->index);
    return x != NULL && x->in_session && (!f->by_ids || uuid_eq(x->id_key.topic_id, g->topic_id));
}

/* After fetcher_fill_topics(). */
static void fill_forgotten(struct fetcher *f, struct fetch_request *q)
{
    int32_t count = 0;
    for (size_t i = 0; i < f->forgotten_count; i++)
        if (!is_back(f, &f->forgotten[i]))
            f->forgotten[count++] = f->forgotten[i];
    if (count > 0)
        qsort(f->forgotten, (size_t)count, sizeof(*f->forgotten), by_forgotten_topic);
    ARRAY_MAKE(&f->arena, q->forgotten_topics_data, count);
    q->forgotten_topics_data.len = 0;
    for (int32_t i = 0; i < count;) {
        struct fetch_forgotten_topic *t = &q->forgotten_topics_data.items[q->forgotten_topics_data.len++];
        int32_t same = i + 1;
        while (same < count && str_eq(f->forgotten[same].topic, f->forgotten[i].topic))
            same++;
        fetch_forgotten_topic_init(t);
        t->topic = arena_str(&f->arena, f->forgotten[i].topic);
        t->topic_id = f->forgotten[i].topic_id;
        ARRAY_MAKE(&f->arena, t->partitions, same - i);
        for (int32_t k = 0; i < same; i++, k++)
            t->partitions.items[k] = f->forgotten[i].index;
    }
    f->forgotten_count = 0;
    arena_deinit(&f->forgotten_memory);
}

/*
 * Where the leader knows one of the topics by its name only, it is asked by names for all of them, as Kafka does: older
 * controllers give no ids. A session has one or the other.
 */
static int16_t choose_fetch_version(struct fetcher *f)
{
    int16_t version = fetch_version(f->all->options.config->inter_broker_protocol_version);
    bool by_ids = version >= FETCH_IDS_SINCE && f->without_id == 0;
    if (by_ids != f->by_ids)
        fetcher_begin_anew(f);
    f->by_ids = by_ids;
    return by_ids ? version : MIN(version, (int16_t)(FETCH_IDS_SINCE - 1));
}

/* Of replicas that are new, or were away, as long as they take. */
static void say_how_far(struct fetcher *f, int32_t behind, int64_t missing, int64_t now)
{
    if (behind > 0 && now - f->said_how_far < SAY_HOW_FAR_MS)
        return;
    f->said_how_far = now;
    if (behind > 0)
        log_info("%" PRId32 " of %" PRId32 " partitions are behind broker %" PRId32 ", by %" PRId64 " offsets in all",
                 behind, f->partition_count, f->leader, missing);
}

/*
 * Retention moves the start of this log alone, which its leader must hear of: it sends consumers here, and may be asked
 * what no replica has any more. Between two fetches, as an answer is not taken of what changes meanwhile.
 */
static void look_at_all(struct fetcher *f)
{
    struct followed *x, *tmp;
    int64_t now = clock_mono_ms(), missing = 0;
    int32_t behind = 0;
    ensure(f->asking == ASK_NOTHING);
    if (now - f->looked < LOOK_MS)
        return;
    f->looked = now;
    HASH_ITER (hh, f->all->by_partition, x, tmp) {
        if (x->fetcher != f)
            continue;
        if (x->in_session && plog_start_offset(partition_log(x->partition)) != x->sent_start)
            followed_mark_changed(x);
        int64_t more = x->in_sync ? 0 : partition_behind(x->partition);
        behind += more > 0;
        missing += more;
    }
    say_how_far(f, behind, missing, now);
}

static void send_fetch(struct fetcher *f)
{
    struct fetch_request q;
    struct followed **changes;
    const struct broker_config *c = f->all->options.config;
    int16_t version = choose_fetch_version(f);
    look_at_all(f);
    int32_t count = take_changes(f, &changes);
    fetch_request_init(&q);
    q.replica_id = version < STATE_SINCE ? f->all->options.broker_id : -1;
    q.replica_state.replica_id = f->all->options.broker_id;
    q.replica_state.replica_epoch = f->all->options.broker_epoch(f->all->options.ctx);
    q.max_wait_ms = clock_mono_ms() < f->quick_until ? MIN(QUICK_WAIT_MS, c->replica_fetch_wait_max_ms)
                                                     : c->replica_fetch_wait_max_ms;
    q.min_bytes = c->replica_fetch_min_bytes;
    q.max_bytes = c->replica_fetch_response_max_bytes;
    q.session_id = f->session_id;
    q.session_epoch = f->session_epoch;
    fetcher_fill_topics(f, changes, count, &q);
    fill_forgotten(f, &q);
    fetcher_post(f, ASK_FETCH, API_FETCH, version, &q);
}

/* Where the leader's logs of the lost partitions end, or begin. */
static void send_list_offsets(struct fetcher *f, int64_t which)
{
    struct list_offsets_request q;
    struct followed *x, *tmp;
    list_offsets_request_init(&q);
    q.replica_id = f->all->options.broker_id;
    ARRAY_MAKE(&f->arena, q.topics, f->lost_count);
    q.topics.len = 0;
    HASH_ITER (hh, f->all->by_partition, x, tmp) {
        if (x->fetcher != f || !x->lost)
            continue;
        struct list_offsets_topic *t = &q.topics.items[q.topics.len++];
        list_offsets_topic_init(t);
        t->name = str_of(partition_topic(x->partition));
        ARRAY_MAKE(&f->arena, t->partitions, 1);
        list_offsets_partition_init(&t->partitions.items[0]);
        t->partitions.items[0].partition_index = partition_index(x->partition);
        t->partitions.items[0].current_leader_epoch = x->leader_epoch;
        t->partitions.items[0].timestamp = which;
    }
    ensure(q.topics.len == f->lost_count);
    fetcher_post(f, which == LATEST ? ASK_LATEST : ASK_EARLIEST, API_LIST_OFFSETS,
                 list_offsets_version(f->all->options.config->inter_broker_protocol_version), &q);
}

/* The leader would take what is at the log's end for synced. */
static bool is_synced(struct followed *x)
{
    struct plog *log = partition_log(x->partition);
    x->unsynced = x->unsynced && !plog_flush_to(log, plog_end_offset(log));
    return !x->unsynced;
}

/*
 * A log without epochs is cut before the first fetch, as its leader could not say where the two part. That may be for
 * want of a descriptor only, and is tried again; else its directory goes offline, or another order is on its way.
 */
static bool is_begun(struct followed *x)
{
    static struct log_limit limit;
    if (x->begun)
        return true;
    enum kafka_error error = partition_begin_following(x->partition, x->leader_epoch, &x->offset);
    x->begun = error == ERR_NONE;
    if (x->begun)
        log_info("%s-%" PRId32 ": following broker %" PRId32 " from offset %" PRId64 " on, leader epoch %" PRId32,
                 partition_topic(x->partition), partition_index(x->partition), x->fetcher->leader, x->offset,
                 x->leader_epoch);
    else
        log_warn_limited(&limit, "%s-%" PRId32 ": cannot be made ready to follow broker %" PRId32 ": %s",
                         partition_topic(x->partition), partition_index(x->partition), x->fetcher->leader,
                         error_name((int16_t)error));
    return x->begun;
}

static void rest_what_must(struct fetcher *f)
{
    struct followed *x;
    int64_t now = clock_mono_ms();
    DL_FOREACH (f->changes, x)
        if (x->rest_until <= now && (!is_begun(x) || partition_rests(x->partition, x->in_sync, now) || !is_synced(x)))
            followed_rest(x);
}

/* Whether a fetch would bring anything: a session with partitions, or some to tell of. */
static bool has_work(const struct fetcher *f)
{
    const struct followed *x;
    int64_t now = clock_mono_ms();
    int32_t resting = 0;
    DL_FOREACH (f->changes, x)
        resting += x->rest_until > now || !x->begun;
    ensure(resting <= f->partition_count);
    return f->partition_count > resting || f->forgotten_count > 0;
}

static void send_next(struct fetcher *f)
{
    ensure(loop_is_mine(f->all->options.loop));
    if (f->asking != ASK_NOTHING)
        return;
    if (f->partition_count == 0) {
        let_go_of_leader(f);
        fetcher_begin_anew(f);
        return;
    }
    rest_what_must(f);
    if (!find_leader(f) || !has_work(f)) {
        pause(f);
        return;
    }
    if (f->lost_count > 0)
        send_list_offsets(f, LATEST);
    else
        send_fetch(f);
}

/* ---- Answers ---- */

static bool fetcher_take_answer(struct fetcher *f, enum asking asked, struct bytes frame)
{
    struct list_offsets_response offsets;
    if (asked == ASK_FETCH)
        return response_frame_read(frame, API_FETCH, f->version, &f->fetched, &f->arena) && fetched_take(f);
    if (!response_frame_read(frame, API_LIST_OFFSETS, f->version, &offsets, &f->arena))
        return false;
    fetched_take_offsets(f, &offsets, asked == ASK_LATEST);
    return true;
}

static void fetcher_on_answer(struct client_call *call, struct bytes frame)
{
    struct fetcher *f = CONTAINER_OF(call, struct fetcher, call);
    enum asking asked = f->asking;
    ensure(asked != ASK_NOTHING && loop_is_mine(f->all->options.loop));
    f->asking = ASK_NOTHING;
    if (f->client == NULL)
        return; /* the leader has another address now, or this is the end */
    bool ok = frame.p != NULL && fetcher_take_answer(f, asked, frame);
    arena_deinit(&f->arena);
    if (!ok) {
        fetcher_begin_anew(f);
        pause(f);
    } else if (asked == ASK_LATEST && f->lost_count > 0) {
        send_list_offsets(f, EARLIEST);
    } else {
        send_next(f);
    }
}

/* ---- Roles that change, on any thread ---- */

struct order {
    struct message message;
    struct fetchers *all;
    struct partition *partition; /* with a reference */
};

/*
 * Orders come for many partitions one after the other. The first fetch is for more than one of them, and as long as
 * others may come, none waits at the leader for long, as they would wait behind it.
 */
static void begin_soon(struct fetcher *f)
{
    f->quick_until = clock_mono_ms() + QUICK_FOR_MS;
    if (!timer_is_running(&f->begin))
        timer_start(&f->begin, GATHER_MS);
}

static void follow_now(struct fetchers *all, struct partition *p, const struct partition_role *role)
{
    struct followed *x = followed_add(fetcher_for(all, role->leader), p, role);
    if (!is_begun(x))
        followed_rest(x);
    begin_soon(x->fetcher);
}

static void fetcher_look(struct message *m)
{
    struct order *o = CONTAINER_OF(m, struct order, message);
    ensure(loop_is_mine(o->all->options.loop));
    struct partition_role role = partition_role(o->partition);
    bool follows = !role.leads && role.leader >= 0;
    struct followed *x = followed_find(o->all, o->partition);
    if (x == NULL || !follows || x->leader_epoch != role.leader_epoch) {
        followed_leave(o->all, o->partition);
        if (follows && !o->all->closed)
            follow_now(o->all, o->partition, &role);
    } else {
        followed_take_id(x, role.topic_id);
    }
    partition_unref(o->partition);
    free(o);
}

void fetchers_look(struct fetchers *all, struct partition *p)
{
    struct order *o = xcalloc(1, sizeof(*o));
    partition_ref(p);
    *o = (struct order){.message = {.deliver = fetcher_look}, .all = all, .partition = p};
    loop_post(all->options.loop, &o->message);
}

/* ---- Life ---- */

/* Kafka's default of 64 KiB would keep the kernel from making it as large as the way to the leader is long. */
static int32_t receive_buffer(const struct broker_config *config)
{
    bool given = config_raw(config, "replica.socket.receive.buffer.bytes") != NULL;
    return given ? config->replica_socket_receive_buffer_bytes : 0;
}

struct fetchers *fetchers_new(const struct fetchers_options *options)
{
    struct fetchers *all = xcalloc(1, sizeof(*all));
    all->options = *options;
    all->clients = client_options_of(options->config, options->loop, options->route);
    all->clients.receive_buffer_bytes = receive_buffer(options->config);
    return all;
}

void fetchers_count(struct fetchers *all, struct fetcher_metrics *m)
{
    all->metrics = m;
}

static void fetcher_free(struct fetcher *f)
{
    ensure(f->partition_count == 0 && f->lost_count == 0 && f->changes == NULL);
    timer_stop(&f->retry);
    timer_stop(&f->begin);
    let_go_of_leader(f);
    arena_deinit(&f->arena);
    arena_deinit(&f->forgotten_memory);
    free(f->forgotten);
    free(f);
}

void fetchers_close(struct fetchers *all)
{
    struct followed *x, *next_x;
    struct fetcher *f, *next_f;
    ensure(loop_is_mine(all->options.loop));
    all->closed = true;
    HASH_ITER (hh, all->by_partition, x, next_x)
        followed_leave(all, x->partition);
    HASH_ITER (hh, all->by_leader, f, next_f) {
        HASH_DEL(all->by_leader, f);
        fetcher_free(f);
    }
}

void fetchers_free(struct fetchers *all)
{
    if (all == NULL)
        return;
    ensure(all->closed && all->by_partition == NULL);
    free(all);
}
