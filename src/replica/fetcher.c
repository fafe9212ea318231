/*
 * One loop's share of following. When all goes well there is one connection to each leader and one Fetch under way on
 * it, in a session: what comes is appended, the watermark taken over, and the next Fetch says how far this follower
 * is.
 *
 * A partition is in the leader's session and named there when something changes, or rests, out of the session, after
 * an error or held back by a throttle. One whose offset the leader does not have is lost: ListOffsets asks where the
 * leader's log ends or begins, and it goes on from there.
 *
 * Truncation, by an example: this follower has offsets 0 to 119, the last ones of epoch 4. It asks for 120, after
 * epoch 4. The leader, of epoch 6, knows that epoch 4 ended at 100, and answers just that. The log is cut to 100, and
 * the next Fetch asks for 100, after the epoch of 99. A log without any epochs is cut to its high watermark first.
 *
 * A connection that is lost, or a session that the leader has forgotten, is begun anew with all its partitions named.
 * Orders reach this loop as messages that say only: look. Whom to follow is asked of the partition at that moment.
 */
#include "replica/fetcher.h"

#include <inttypes.h>
#include <stdio.h>
#include <uthash.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/logger.h"
#include "base/topic_key.h"
#include "cluster/view.h"
#include "net/net.h"
#include "protocol/frame.h"
#include "protocol/msg/api.h"
#include "protocol/msg/fetch.h"
#include "protocol/msg/list_offsets.h"

enum { FIRST_PAUSE_MS = 20, GATHER_MS = 2, QUICK_FOR_MS = 1000, QUICK_WAIT_MS = 20 };
enum { IDS_SINCE = 13, STATE_SINCE = 15, LATEST = -1, EARLIEST = -2 };

struct id_key {
    struct uuid topic_id;
    int32_t index;
};

/* One partition that is followed. */
struct followed {
    struct partition *partition; /* with a reference */
    struct id_key id_key;
    struct topic_key name_key;
    struct fetcher *fetcher;
    int32_t leader_epoch;
    int64_t offset; /* to fetch next */
    int64_t sent_offset;
    bool in_sync;                 /* it had all that is committed, with the last answer */
    int32_t pause_ms;             /* the last rest's; 0: none since it was fetched */
    int64_t rest_until;           /* monotonic: not fetched before, after an error; 0: may be fetched */
    bool in_session;              /* the leader's session has it */
    bool changed;                 /* the leader must be told of it: it is in the list of changes */
    bool lost;                    /* its offset is not the leader's: to be asked where the leader's log is */
    struct followed *prev, *next; /* of the changes */
    UT_hash_handle hh, hh_id, hh_name;
};

/* A name for the partition in a request: what the leader is to forget may be gone here. */
struct forgotten {
    struct str topic;
    struct uuid topic_id;
    int32_t index;
};

enum asking { ASK_NOTHING, ASK_FETCH, ASK_LATEST, ASK_EARLIEST };

/* The way to one leader. */
struct fetcher {
    struct fetchers *all;
    int32_t leader;
    struct client *client;
    struct client_call call;
    enum asking asking;
    int16_t version;
    int32_t session_id, session_epoch; /* epoch 0: to begin anew */
    int32_t partition_count, lost_count;
    struct followed *changes;
    struct arena forgotten_memory;
    struct forgotten *forgotten;
    size_t forgotten_count, forgotten_cap;
    struct timer retry, begin;
    int64_t retry_at;    /* monotonic, of the timer */
    int64_t quick_until; /* monotonic: partitions have just come, and more may */
    struct arena arena;  /* of the request under way and its answer */
    struct fetch_response fetched;
    UT_hash_handle hh;
};

struct fetchers {
    struct fetchers_options options;
    struct client_options clients;
    struct fetcher *by_leader;
    struct followed *by_partition, *by_id, *by_name; /* the same ones */
    bool closed;
};

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

/* ---- What is followed ---- */

static void make_id_key(struct uuid topic_id, int32_t index, struct id_key *out)
{
    memset(out, 0, sizeof(*out)); /* its padding, too, is hashed */
    out->topic_id = topic_id;
    out->index = index;
}

static void mark_changed(struct followed *x)
{
    if (x->changed)
        return;
    x->changed = true;
    DL_APPEND(x->fetcher->changes, x);
}

static void unmark(struct followed *x)
{
    if (x->changed)
        DL_DELETE(x->fetcher->changes, x);
    x->changed = false;
}

/* The leader's session is to forget it. */
static void fetcher_forget(struct followed *x)
{
    struct fetcher *f = x->fetcher;
    if (!x->in_session)
        return;
    x->in_session = false;
    f->forgotten = xgrow(f->forgotten, f->forgotten_count + 1, &f->forgotten_cap, sizeof(*f->forgotten));
    f->forgotten[f->forgotten_count++] =
        (struct forgotten){arena_str(&f->forgotten_memory, str_of(partition_topic(x->partition))),
                           partition_topic_id(x->partition), partition_index(x->partition)};
}

static void set_lost(struct followed *x, bool lost)
{
    struct fetcher *f = x->fetcher;
    f->lost_count += (int)lost - (int)x->lost;
    x->lost = lost;
    ensure(f->lost_count >= 0 && f->lost_count <= f->partition_count);
}

static struct followed *fetcher_find(struct fetchers *all, struct partition *p)
{
    struct followed *x;
    HASH_FIND_PTR(all->by_partition, &p, x);
    return x;
}

static void leave_now(struct fetchers *all, struct partition *p)
{
    struct followed *x = fetcher_find(all, p);
    if (x == NULL)
        return;
    fetcher_forget(x);
    unmark(x);
    set_lost(x, false);
    ensure(x->fetcher->partition_count > 0 && !x->changed && !x->in_session);
    x->fetcher->partition_count--;
    HASH_DEL(all->by_partition, x);
    HASH_DELETE(hh_id, all->by_id, x);
    HASH_DELETE(hh_name, all->by_name, x);
    partition_unref(x->partition);
    free(x);
}

static void retry_by(struct fetcher *f, int64_t when)
{
    if (timer_is_running(&f->retry) && f->retry_at <= when)
        return;
    f->retry_at = when;
    timer_start(&f->retry, MAX(when - clock_mono_ms(), (int64_t)0));
}

/* Not to be fetched for a while. */
static void rest_for(struct followed *x, int32_t pause_ms)
{
    fetcher_forget(x);
    ensure(pause_ms >= 0 && !x->in_session);
    x->pause_ms = MIN(pause_ms, x->fetcher->all->options.config->replica_fetch_backoff_ms);
    x->rest_until = clock_mono_ms() + x->pause_ms;
    mark_changed(x);
    retry_by(x->fetcher, x->rest_until);
}

static void fetcher_rest(struct followed *x)
{
    rest_for(x, x->fetcher->all->options.config->replica_fetch_backoff_ms);
}

/* Short at first: a leader that has not heard of its office will in a moment. */
static void rest_briefly(struct followed *x)
{
    rest_for(x, x->pause_ms > 0 ? 2 * x->pause_ms : FIRST_PAUSE_MS);
}

/* ---- The leader ---- */

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

/* All that the leader's session knew must be told again. */
static void begin_anew(struct fetcher *f)
{
    struct followed *x, *tmp;
    f->session_id = f->session_epoch = 0;
    f->forgotten_count = 0;
    arena_deinit(&f->forgotten_memory);
    HASH_ITER (hh, f->all->by_partition, x, tmp) {
        if (x->fetcher != f)
            continue;
        x->in_session = false;
        mark_changed(x);
    }
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
    struct client *old = f->client;
    f->client = NULL;
    client_free(old);
    f->client = client_new(&f->all->clients, e->host, e->port);
    begin_anew(f);
    return true;
}

static void pause(struct fetcher *f)
{
    retry_by(f, clock_mono_ms() + f->all->options.config->replica_fetch_backoff_ms);
}

/* ---- Requests ---- */

static void fetcher_on_answer(struct client_call *call, struct bytes frame);

static void fetcher_post(struct fetcher *f, enum asking asking, int16_t key, int16_t version, const void *request)
{
    struct strbuf frame;
    char client_id[64];
    snprintf(client_id, sizeof(client_id), "broker-%" PRId32 "-fetcher-0", f->all->options.broker_id);
    request_frame(&frame, key, version, str_of(client_id), request);
    ensure(f->asking == ASK_NOTHING && asking != ASK_NOTHING && f->client != NULL);
    f->asking = asking;
    f->version = version;
    f->call = (struct client_call){.done = fetcher_on_answer,
                                   .timeout_ms = f->all->options.config->replica_socket_timeout_ms};
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
    int order = str_cmp(x->topic, y->topic);
    return order != 0 ? order : x->index - y->index;
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
        if (x->rest_until > now || x->lost)
            continue;
        x->rest_until = 0;
        unmark(x);
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
        t->topic_id = partition_topic_id(list[i]->partition);
        ARRAY_MAKE(&f->arena, t->partitions, same - i);
        for (int32_t k = 0; i < same; i++, k++)
            fetcher_fill_partition(f, list[i], &t->partitions.items[k]);
    }
}

/* What was taken up again since must stay: a leader forgets last. */
static bool is_back(struct fetcher *f, const struct forgotten *g)
{
    struct followed *x = NULL;
    struct topic_key key;
    if (topic_key_make(g->topic, g->index, &key))
        HASH_FIND(hh_name, f->all->by_name, &key, sizeof(key), x);
    return x != NULL && x->fetcher == f && x->in_session && uuid_eq(partition_topic_id(x->partition), g->topic_id);
}

/* After fill_topics(). */
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

static void send_fetch(struct fetcher *f)
{
    struct fetch_request q;
    struct followed **changes;
    const struct broker_config *c = f->all->options.config;
    int16_t version = fetch_version(c->inter_broker_protocol_version);
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
    fetcher_post(f, which == LATEST ? ASK_LATEST : ASK_EARLIEST, API_LIST_OFFSETS,
                 list_offsets_version(f->all->options.config->inter_broker_protocol_version), &q);
}

static void rest_what_is_throttled(struct fetcher *f)
{
    struct followed *x;
    int64_t now = clock_mono_ms();
    DL_FOREACH (f->changes, x)
        if (x->rest_until <= now && partition_rests(x->partition, x->in_sync, now))
            fetcher_rest(x);
}

/* Whether a fetch would bring anything: a session with partitions, or some to tell of. */
static bool has_work(const struct fetcher *f)
{
    const struct followed *x;
    int64_t now = clock_mono_ms();
    int32_t resting = 0;
    DL_FOREACH (f->changes, x)
        resting += x->rest_until > now;
    return f->partition_count > resting || f->forgotten_count > 0;
}

static void send_next(struct fetcher *f)
{
    ensure(loop_is_mine(f->all->options.loop));
    if (f->asking != ASK_NOTHING)
        return;
    if (f->partition_count == 0) {
        if (f->client != NULL)
            client_disconnect(f->client);
        begin_anew(f);
        return;
    }
    rest_what_is_throttled(f);
    if (!find_leader(f) || !has_work(f)) {
        pause(f);
        return;
    }
    if (f->lost_count > 0)
        send_list_offsets(f, LATEST);
    else
        send_fetch(f);
}

/* ---- What a fetch brings ---- */

static struct followed *find_answered(struct fetcher *f, const struct fetch_fetchable_topic_response *t, int32_t index)
{
    struct followed *x = NULL;
    if (f->version >= IDS_SINCE) {
        struct id_key key;
        make_id_key(t->topic_id, index, &key);
        HASH_FIND(hh_id, f->all->by_id, &key, sizeof(key), x);
    } else {
        struct topic_key key;
        if (topic_key_make(t->topic, index, &key))
            HASH_FIND(hh_name, f->all->by_name, &key, sizeof(key), x);
    }
    return x != NULL && x->fetcher == f ? x : NULL;
}

static void fetcher_move_to(struct followed *x, int64_t offset)
{
    ensure(offset >= 0);
    x->offset = offset;
    mark_changed(x);
}

/*
 * The leader's log and ours part at or before the end of that epoch there: ours is cut where the epoch ends in both,
 * and the next fetch tells whether that was enough.
 */
static void cut_back(struct followed *x, int32_t epoch, int64_t leader_end)
{
    struct plog *log = partition_log(x->partition);
    int64_t local_end, to = MIN(leader_end, plog_end_offset(log));
    int32_t local_epoch;
    plog_epoch_end(log, epoch, &local_epoch, &local_end);
    if (local_epoch >= 0)
        to = local_epoch == epoch ? MIN(to, local_end) : MIN(local_end, plog_end_offset(log));
    log_info("%s-%" PRId32 ": truncating to offset %" PRId64 ", where the leader's log differs",
             partition_topic(x->partition), partition_index(x->partition), to);
    if (partition_truncate(x->partition, x->leader_epoch, to) == ERR_NONE)
        fetcher_move_to(x, to);
    else
        fetcher_rest(x);
}

static void take_records(struct followed *x, const struct fetch_partition_data *in)
{
    struct append_result appended;
    struct plog *log = partition_log(x->partition);
    int64_t now = clock_mono_ms();
    if (in->records.mem.len > 0) {
        enum kafka_error error = partition_append_follower(x->partition, x->leader_epoch, in->records.mem, &appended);
        if (error != ERR_NONE) {
            log_warn("%s-%" PRId32 ": cannot append what the leader sent: %s", partition_topic(x->partition),
                     partition_index(x->partition), error_name((int16_t)error));
            x->offset = plog_end_offset(log); /* it was not, or the leader's batch would be what comes next */
            fetcher_rest(x);
            return;
        }
        partition_note_received(x->partition, in->records.mem.len, now);
        if (plog_end_offset(log) != x->offset)
            fetcher_move_to(x, plog_end_offset(log));
    }
    x->in_sync = plog_end_offset(log) >= in->high_watermark;
    x->pause_ms = 0;
    if (partition_rests(x->partition, x->in_sync, now))
        fetcher_rest(x);
    if (partition_follow_marks(x->partition, x->leader_epoch, in->high_watermark, in->log_start_offset))
        fetcher_move_to(x, plog_end_offset(log)); /* the leader is told where our log starts now */
}

static void take_error(struct followed *x, enum kafka_error error)
{
    switch (error) {
    case ERR_OFFSET_OUT_OF_RANGE:
        set_lost(x, true);
        fetcher_forget(x);
        mark_changed(x);
        return;
    case ERR_FENCED_LEADER_EPOCH: /* a newer leader is on its way to us */
    case ERR_UNKNOWN_LEADER_EPOCH:
    case ERR_NOT_LEADER_OR_FOLLOWER:
    case ERR_UNKNOWN_TOPIC_OR_PARTITION:
    case ERR_UNKNOWN_TOPIC_ID:
    case ERR_INCONSISTENT_TOPIC_ID:
        rest_briefly(x);
        return;
    default:
        log_warn("%s-%" PRId32 ": the leader, broker %" PRId32 ", answers %s", partition_topic(x->partition),
                 partition_index(x->partition), x->fetcher->leader, error_name((int16_t)error));
    }
    fetcher_rest(x);
}

static void fetcher_take_partition(struct fetcher *f, const struct fetch_fetchable_topic_response *t,
                                   const struct fetch_partition_data *in)
{
    struct followed *x = find_answered(f, t, in->partition_index);
    if (x == NULL || x->changed || x->lost || x->offset != x->sent_offset)
        return; /* another life of the partition was meant */
    if (in->error_code != ERR_NONE)
        take_error(x, (enum kafka_error)in->error_code);
    else if (in->diverging_epoch.epoch >= 0)
        cut_back(x, in->diverging_epoch.epoch, in->diverging_epoch.end_offset);
    else
        take_records(x, in);
}

static bool take_fetch(struct fetcher *f)
{
    const struct fetch_response *in = &f->fetched;
    if (in->error_code != ERR_NONE) {
        if (in->error_code != ERR_FETCH_SESSION_ID_NOT_FOUND && in->error_code != ERR_INVALID_FETCH_SESSION_EPOCH)
            log_warn("Broker %" PRId32 " answers a fetch with %s", f->leader, error_name(in->error_code));
        begin_anew(f);
        return in->error_code == ERR_FETCH_SESSION_ID_NOT_FOUND || in->error_code == ERR_INVALID_FETCH_SESSION_EPOCH;
    }
    for (int32_t t = 0; t < in->responses.len; t++)
        for (int32_t i = 0; i < in->responses.items[t].partitions.len; i++)
            fetcher_take_partition(f, &in->responses.items[t], &in->responses.items[t].partitions.items[i]);
    f->session_id = in->session_id;
    if (in->session_id == 0)
        begin_anew(f); /* the leader has no room for a session: all is told each time */
    else
        f->session_epoch = f->session_epoch == INT32_MAX ? 1 : f->session_epoch + 1;
    return true;
}

/* ---- Lost partitions ---- */

static void settle_lost(struct followed *x, int64_t leader_start)
{
    struct plog *log = partition_log(x->partition);
    enum kafka_error error = ERR_NONE;
    int64_t end = plog_end_offset(log);
    if (leader_start > end) {
        log_warn("%s-%" PRId32 ": the leader's log begins at %" PRId64 ", behind the end of ours at %" PRId64
                 ": starting it anew there",
                 partition_topic(x->partition), partition_index(x->partition), leader_start, end);
        error = partition_restart_log(x->partition, x->leader_epoch, leader_start);
    }
    set_lost(x, false);
    if (error == ERR_NONE)
        fetcher_move_to(x, MAX(leader_start, plog_end_offset(log)));
    else
        fetcher_rest(x);
}

/* A leader whose log is shorter than ours was elected out of sync: what it does not have goes. */
static void settle_ahead(struct followed *x, int64_t leader_end)
{
    log_warn("%s-%" PRId32 ": the leader's log ends at %" PRId64 ", before ours: truncating to there",
             partition_topic(x->partition), partition_index(x->partition), leader_end);
    set_lost(x, false);
    if (partition_truncate(x->partition, x->leader_epoch, leader_end) == ERR_NONE)
        fetcher_move_to(x, leader_end);
    else
        fetcher_rest(x);
}

static void take_offset(struct fetcher *f, struct str topic, const struct list_offsets_partition_response *in,
                        bool latest)
{
    struct topic_key key;
    struct followed *x = NULL;
    if (topic_key_make(topic, in->partition_index, &key))
        HASH_FIND(hh_name, f->all->by_name, &key, sizeof(key), x);
    if (x == NULL || x->fetcher != f || !x->lost)
        return;
    if (in->error_code != ERR_NONE || in->offset < 0) {
        set_lost(x, false); /* the next fetch will find out again */
        fetcher_rest(x);
    } else if (!latest) {
        settle_lost(x, in->offset);
    } else if (in->offset < plog_end_offset(partition_log(x->partition))) {
        settle_ahead(x, in->offset);
    }
}

static void fetcher_take_offsets(struct fetcher *f, const struct list_offsets_response *in, bool latest)
{
    for (int32_t t = 0; t < in->topics.len; t++)
        for (int32_t i = 0; i < in->topics.items[t].partitions.len; i++)
            take_offset(f, in->topics.items[t].name, &in->topics.items[t].partitions.items[i], latest);
}

/* ---- Answers ---- */

static bool fetcher_take_answer(struct fetcher *f, enum asking asked, struct bytes frame)
{
    struct list_offsets_response offsets;
    if (asked == ASK_FETCH)
        return response_frame_read(frame, API_FETCH, f->version, &f->fetched, &f->arena) && take_fetch(f);
    if (!response_frame_read(frame, API_LIST_OFFSETS, f->version, &offsets, &f->arena))
        return false;
    fetcher_take_offsets(f, &offsets, asked == ASK_LATEST);
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
        begin_anew(f);
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

static void follow_now(struct fetchers *all, struct partition *p, int32_t leader, int32_t leader_epoch)
{
    ensure(fetcher_find(all, p) == NULL && leader >= 0 && leader_epoch >= 0);
    struct followed *x = xcalloc(1, sizeof(*x));
    x->partition = p;
    partition_ref(p);
    x->fetcher = fetcher_for(all, leader);
    x->leader_epoch = leader_epoch;
    /* Where that fails, its directory goes offline, or another order is on its way. */
    enum kafka_error error = partition_begin_following(p, leader_epoch, &x->offset);
    if (error != ERR_NONE)
        log_warn("%s-%" PRId32 ": cannot be made ready to follow broker %" PRId32 ": %s", partition_topic(p),
                 partition_index(p), leader, error_name((int16_t)error));
    make_id_key(partition_topic_id(p), partition_index(p), &x->id_key);
    bool named = topic_key_make(str_of(partition_topic(p)), partition_index(p), &x->name_key);
    ensure(named);
    HASH_ADD_PTR(all->by_partition, partition, x);
    HASH_ADD(hh_id, all->by_id, id_key, sizeof(x->id_key), x);
    HASH_ADD(hh_name, all->by_name, name_key, sizeof(x->name_key), x);
    x->fetcher->partition_count++;
    log_info("%s-%" PRId32 ": following broker %" PRId32 " from offset %" PRId64 " on, leader epoch %" PRId32,
             partition_topic(p), partition_index(p), leader, x->offset, leader_epoch);
    mark_changed(x);
    begin_soon(x->fetcher);
}

static void fetcher_look(struct message *m)
{
    struct order *o = CONTAINER_OF(m, struct order, message);
    ensure(loop_is_mine(o->all->options.loop));
    struct partition_role role = partition_role(o->partition);
    bool follows = !role.leads && role.leader >= 0;
    const struct followed *x = fetcher_find(o->all, o->partition);
    if (x == NULL || !follows || x->leader_epoch != role.leader_epoch) {
        leave_now(o->all, o->partition);
        if (follows && !o->all->closed)
            follow_now(o->all, o->partition, role.leader, role.leader_epoch);
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
    all->clients = client_options_of(options->config, options->loop, options->resolvers);
    all->clients.receive_buffer_bytes = receive_buffer(options->config);
    return all;
}

static void fetcher_free(struct fetcher *f)
{
    struct client *client = f->client;
    timer_stop(&f->retry);
    timer_stop(&f->begin);
    f->client = NULL;
    client_free(client);
    arena_deinit(&f->arena);
    arena_deinit(&f->forgotten_memory);
    free(f->forgotten);
    free(f);
}

void fetchers_close(struct fetchers *all)
{
    struct followed *x, *next_x;
    struct fetcher *f, *next_f;
    all->closed = true;
    HASH_ITER (hh, all->by_partition, x, next_x)
        leave_now(all, x->partition);
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
