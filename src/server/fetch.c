/*
 * Fetch: regions of segment files out (KIP-227 sessions, KIP-320 epochs, KIP-516 topic ids).
 *
 *   aside     what is denied, or of no topic that is known, is told with whatever else there is to tell: a consumer
 *             that asks for it as well would otherwise be answered at once, and ask again, all the time.
 *   look      reads what each partition has, as file regions. Enough, an error, or the time over: answer.
 *   warm up   some of it lies on the disk only: a worker reads it, then look again, once.
 *   wait      too little: a waiter on each partition, or on the session's ready list; the first change, the deadline
 *             or the loss of the connection leads back to look. To lose nothing, waiters are made first and the
 *             partitions looked at afterwards, so the first look after going to wait is never skipped.
 *   convert   an old format is asked for: a worker rewrites what was read. Nothing is left of it: wait.
 *   answer    regions go to the connection as references; nothing else is copied.
 *
 * In a session only partitions on its ready list are looked at. What is not done with goes back on it: with an error,
 * or with more to read. Those that gave data go last, so that all get their turn within fetch.max.bytes.
 */
#include "server/fetch_internal.h"

#include "base/clock.h"
#include "server/authorize.h"
#include "server/request_log.h"
#include "server/request_metrics.h"
#include "server/waiting_metrics.h"

static void fetch_try_again(struct fetch *f);

/* ---- Answering ---- */

/* All that is answered: what was set aside comes last. */
static int32_t fetch_total(const struct fetch *f)
{
    return f->count + f->aside_count;
}

static struct fetched *fetch_nth(const struct fetch *f, int32_t i)
{
    return i < f->count ? &f->items[i] : &f->aside[i - f->count];
}

enum { STORAGE_ERROR_SINCE = 6 };

/* Clients of before do not know what a disk's failure is, and would not look for another leader. */
static int16_t fetch_error_code(const struct fetch *f, enum kafka_error error)
{
    bool unknown = error == ERR_KAFKA_STORAGE_ERROR && f->r->version < STORAGE_ERROR_SINCE;
    return (int16_t)(unknown ? ERR_NOT_LEADER_OR_FOLLOWER : error);
}

/* Whoever asks for a follower's records, or by an old epoch, is told where to go instead. */
static void fetch_tell_leader(struct fetch *f, const struct fetched *x, struct fetch_partition_data *out)
{
    bool elsewhere = x->error == ERR_NOT_LEADER_OR_FOLLOWER || x->error == ERR_FENCED_LEADER_EPOCH;
    if (!elsewhere || f->r->version < LEADERS_SINCE)
        return;
    struct current_leader leader = leaders_tell(&f->leaders, x->item.topic, x->item.partition, x->partition);
    out->current_leader.leader_id = leader.id;
    out->current_leader.leader_epoch = leader.epoch;
}

static void fetch_fill_nodes(const struct fetch *f, struct fetch_response *out)
{
    ARRAY_MAKE(f->r->arena, out->node_endpoints, f->leaders.count);
    for (int32_t i = 0; i < f->leaders.count; i++) {
        const struct leader_node *node = &f->leaders.nodes[i];
        out->node_endpoints.items[i] = (struct fetch_node_endpoint){node->id, node->host, node->port, node->rack};
    }
}

static void fetch_fill_partition(struct fetch *f, struct fetched *x, struct fetch_partition_data *out)
{
    bool told = x->error == ERR_NONE;
    fetch_partition_data_init(out);
    out->partition_index = x->item.partition;
    out->error_code = fetch_error_code(f, x->error);
    out->high_watermark = told ? x->data.high_watermark : -1;
    out->last_stable_offset = told ? x->data.last_stable_offset : -1;
    out->log_start_offset = told ? x->data.log_start_offset : -1;
    if (fetch_isolates(f))
        out->records.mem = (struct bytes){(const uint8_t *)"", 0};
    if (x->converted.p != NULL)
        out->records.mem = (struct bytes){(const uint8_t *)x->converted.p, (int32_t)x->converted.len};
    out->preferred_read_replica = x->preferred_replica;
    out->diverging_epoch.epoch = x->data.diverging_epoch;
    out->diverging_epoch.end_offset = x->data.diverging_end;
    if (x->data.slice.region.len > 0)
        out->records = (struct records){.region = &x->data.slice.region, .region_len = x->data.slice.region.len};
    fetch_tell_leader(f, x, out);
}

/* Which of the transactions among the records a read_committed consumer must leave out. */
static void fill_aborted(struct fetch *f, struct fetched *x, struct fetch_partition_data *out)
{
    struct aborted_txn *aborted;
    bool wanted = f->request.isolation_level == READ_COMMITTED && x->error == ERR_NONE;
    if (!wanted && x->partition != NULL && fetch_isolates(f))
        out->aborted_transactions.len = -1; /* null: nothing is said of them */
    if (!wanted || fetched_bytes(x) == 0)
        return;
    int32_t n;
    enum kafka_error error =
        plog_aborted(partition_log(x->partition), x->item.fetch_offset, x->data.slice.bound, f->r->arena, &aborted, &n);
    if (error != ERR_NONE) { /* the consumer would take what it gets for committed */
        fetched_drop(x);
        x->error = error;
        fetch_fill_partition(f, x, out);
        return;
    }
    ARRAY_MAKE(f->r->arena, out->aborted_transactions, n);
    for (int32_t i = 0; i < n; i++) {
        fetch_aborted_transaction_init(&out->aborted_transactions.items[i]);
        out->aborted_transactions.items[i].producer_id = aborted[i].producer_id;
        out->aborted_transactions.items[i].first_offset = aborted[i].first_offset;
    }
}

static bool has_news(const struct fetch *f, const struct fetched *x)
{
    return x->data.diverging_epoch >= 0 || x->preferred_replica >= 0 ||
           fetch_session_has_news(f->session, &x->item, x->error, fetched_bytes(x), x->data.high_watermark,
                                  x->data.log_start_offset);
}

static bool fetch_same_topic(const struct fetch_item *a, const struct fetch_item *b)
{
    return str_eq(a->topic, b->topic) && uuid_eq(a->topic_id, b->topic_id);
}

/* Neighbours of one topic share an entry. Each entry's partitions are a part of one array of all. */
static void fetch_fill_topics(struct fetch *f, struct fetch_response *out)
{
    struct fetch_partition_data *next = ARENA_ARRAY(f->r->arena, struct fetch_partition_data, MAX(fetch_total(f), 1));
    ARRAY_MAKE(f->r->arena, out->responses, fetch_total(f));
    out->responses.len = 0;
    const struct fetch_item *last = NULL;
    struct fetch_fetchable_topic_response *topic = NULL;
    for (int32_t i = 0; i < fetch_total(f); i++) {
        struct fetched *x = fetch_nth(f, i);
        x->news = !request_is_spent(f->r) && has_news(f, x);
        if (!x->news) {
            fetched_drop(x);
            continue;
        }
        if (last == NULL || !fetch_same_topic(last, &x->item)) {
            topic = &out->responses.items[out->responses.len++];
            fetch_fetchable_topic_response_init(topic);
            topic->topic = x->item.topic;
            topic->topic_id = x->item.topic_id;
            topic->partitions.items = next;
            topic->partitions.len = 0;
        }
        last = &x->item;
        struct fetch_partition_data *data = next++;
        topic->partitions.len++;
        fetch_fill_partition(f, x, data);
        if (fetch_replica(f) >= 0 && x->partition != NULL)
            partition_note_sent(x->partition, fetched_bytes(x), clock_mono_ms());
        fill_aborted(f, x, data);
    }
}

/* No more is waited for. */
static void unwait(struct fetch *f)
{
    f->r->x->abandoned = NULL;
    for (int32_t i = 0; i < f->count; i++)
        partition_unwait(&f->items[i].waiter);
    if (f->session != NULL)
        fetch_session_awake(f->session);
    if (f->parked) {
        sleeper_cancel(&f->sleeper);
        waiting_count(f->r->s->waiting, WAITING_FETCH, -1, -f->places);
    }
    timer_stop(&f->timer);
    f->parked = false;
}

/*
 * Whether the session must look at it again at the next fetch, whatever happens until then. Where an epoch begins after
 * a follower's fetch could not be noted for want of it, and before the partition is read, the follower is told of no
 * error, and has nothing to say of the partition until somebody writes to it.
 */
static bool has_more(const struct fetch *f, const struct fetched *x)
{
    struct partition_read read = fetch_reads(f, x, 0, false);
    return x->error != ERR_NONE || x->data.diverging_epoch >= 0 || x->partition == NULL ||
           !fetch_session_is_noted(x->item.of) ||
           partition_readable_end(x->partition, read.isolation, read.replica_id) > x->item.fetch_offset;
}

/* Those with data go last next time, so that all get their turn. */
static void mark_what_has_more(struct fetch *f)
{
    for (int32_t served = 0; f->session != NULL && served <= 1; served++)
        for (int32_t i = 0; i < fetch_total(f); i++) {
            const struct fetched *x = fetch_nth(f, i);
            if ((fetched_bytes(x) > 0) == (served == 1) && has_more(f, x))
                fetch_session_mark_ready(x->item.of);
        }
}

/* ---- Quotas of consumers ---- */

/* As much of the frame as Kafka counts: with the length, without the header. */
static double counted_bytes(const struct fetch *f, const struct writer *w)
{
    return (double)writer_total(w) - (api_response_header_version(API_FETCH, f->r->version) > 0 ? 5 : 4);
}

/*
 * Whether the answer has to be kept back, because the consumer has got too much already: then what was read counts as
 * not sent. But where the answer alone is more than may ever be sent it goes out once its turn has come, and the
 * consumer pauses for it afterwards: else it would wait for it for ever.
 */
static bool fetch_is_withheld(struct fetch *f, const struct writer *w)
{
    struct request *r = f->r;
    struct quota_verdict bytes = {0};
    int64_t now = clock_mono_ms();
    bool limited = request_has_limit(r, QUOTA_FETCH);
    if (fetch_replica(f) >= 0) {
        replica_serves_follower(r->s->replicas, now);
        request_exempt(r);
        request_pause(r, bytes);
        return false;
    }
    if (limited)
        bytes = quotas_charge(r->s->quotas, QUOTA_FETCH, request_quota_client(r), counted_bytes(f, w), now);
    struct quota_verdict v = request_judge(r, bytes);
    bool withheld = v.wait_ms > 0 && !v.always;
    if (withheld && limited)
        quotas_refund(r->s->quotas, QUOTA_FETCH, request_quota_client(r), counted_bytes(f, w), now);
    return withheld;
}

/* Of a session that is new nobody has heard then: the consumer begins another. */
static void withhold(struct fetch *f, struct fetch_response *response, struct writer *w)
{
    writer_deinit(w);
    if (response->session_id != 0 && f->request.session_epoch == 0) {
        fetch_session_forget(f->r->s->fetch_sessions, f->session);
        response->session_id = 0;
    }
    response->responses.len = 0;
    for (int32_t i = 0; i < fetch_total(f); i++) {
        if (fetch_nth(f, i)->news)
            fetch_session_mark_ready(fetch_nth(f, i)->item.of);
        fetched_drop(fetch_nth(f, i));
    }
    answer_begin(f->r, w);
    fetch_response_write(w, f->r->version, response);
}

/* What goes out now. */
static void note_told(struct fetch *f)
{
    for (int32_t i = 0; i < fetch_total(f); i++) {
        struct fetched *x = fetch_nth(f, i);
        if (x->news && x->partition != NULL && fetch_replica(f) >= 0)
            partition_count_sent(x->partition, fetch_replica(f), fetched_bytes(x));
        else if (x->news && x->partition != NULL)
            partition_mark(x->partition, TOPIC_BYTES_OUT, fetched_bytes(x));
        if (x->news)
            fetch_session_told(&x->item, x->error, x->data.high_watermark, x->data.log_start_offset);
    }
}

static int32_t most_bytes(const struct fetch *f)
{
    const struct request *r = f->r;
    int32_t most = r->s->config->fetch_max_bytes;
    if (r->version >= PARTIAL_BATCHES_BEFORE)
        most = MIN(most, f->request.max_bytes);
    if (fetch_replica(f) < 0 && request_has_limit(r, QUOTA_FETCH))
        most = (int32_t)MIN((double)most, quotas_most_at_once(r->s->quotas, QUOTA_FETCH, request_quota_client(r)));
    return most;
}

static void fetch_finish(struct fetch *f)
{
    struct fetch_response response;
    struct writer w;
    struct arena turn = f->turn; /* the writer's regions are in it */
    unwait(f);
    fetch_response_init(&response);
    response.session_id = fetch_session_id(f->session);
    if (!fetch_isolates(f))
        response.error_code = ERR_UNKNOWN_SERVER_ERROR;
    mark_what_has_more(f);
    f->leaders = (struct leaders_told){.r = f->r};
    fetch_fill_topics(f, &response);
    fetch_fill_nodes(f, &response);
    answer_begin(f->r, &w);
    fetch_response_write(&w, f->r->version, &response);
    if (fetch_is_withheld(f, &w))
        withhold(f, &response, &w);
    else
        note_told(f);
    for (int32_t i = 0; i < f->count; i++) {
        partition_unref(f->items[i].partition);
        strbuf_deinit(&f->items[i].converted);
    }
    fetch_session_done(f->r->s->fetch_sessions, f->session);
    request_log_answer(f->r, &response, NULL);
    answer_send(f->r, &w); /* takes the regions, and with the exchange goes everything else here */
    arena_deinit(&turn);
}

static void fail(struct fetch *f, enum kafka_error error)
{
    struct fetch_response response;
    fetch_response_init(&response);
    response.error_code = error;
    ARRAY_MAKE(f->r->arena, response.responses, 0);
    ANSWER(f->r, fetch_response, &response);
}

/* ---- Waiting ---- */

static void fetch_on_wake(struct sleeper *s)
{
    fetch_try_again(CONTAINER_OF(s, struct fetch, sleeper));
}

static void fetch_on_deadline(struct timer *t)
{
    struct fetch *f = CONTAINER_OF(t, struct fetch, timer);
    waiting_expired(f->r->s->waiting, WAITING_FETCH, 1, fetch_replica(f) >= 0);
    fetch_try_again(f);
}

/* What is there to read by the watermarks, without touching the logs. */
static bool enough_to_read(struct fetch *f)
{
    int64_t bytes = 0;
    for (int32_t i = 0; i < f->count; i++) {
        struct fetched *x = &f->items[i];
        if (x->partition == NULL)
            return true;
        struct partition_read read = fetch_reads(f, x, 0, false);
        int64_t end = partition_readable_end(x->partition, read.isolation, read.replica_id);
        if (partition_check_leader(x->partition, read.current_leader_epoch) != ERR_NONE || end < x->item.fetch_offset)
            return true;
        bytes += end - x->item.fetch_offset;
    }
    return bytes >= 1;
}

static void fetch_on_abandoned(struct exchange *x)
{
    struct request *r = x->context;
    fetch_try_again(r->waiting);
}

static void begin_to_wait(struct fetch *f)
{
    f->parked = true;
    f->places = MAX(f->count, 1);
    waiting_count(f->r->s->waiting, WAITING_FETCH, 1, f->places);
    f->sleeper = (struct sleeper){.queue = request_loop_share(f->r)->wakes, .wake = fetch_on_wake};
    request_park(f->r);
    f->r->waiting = f;
    f->r->x->abandoned = fetch_on_abandoned;
    timer_start(&f->timer, f->deadline - clock_mono_ms());
}

/* What is not worth an answer yet goes back to the session, and comes again with what happens meanwhile. */
static void put_back(struct fetch *f)
{
    for (int32_t i = 0; i < f->count; i++) {
        struct fetched *x = &f->items[i];
        if (has_news(f, x) || has_more(f, x))
            fetch_session_mark_ready(x->item.of);
        fetched_drop(x);
        partition_unref(x->partition);
    }
    f->count = 0;
}

/* False when something has happened already: look again. */
static bool go_to_sleep(struct fetch *f)
{
    bool first = !f->parked;
    if (first)
        begin_to_wait(f);
    if (f->session != NULL) {
        put_back(f);
        return fetch_session_sleep(f->session, &f->sleeper);
    }
    for (int32_t i = 0; first && i < f->count; i++)
        if (f->items[i].partition != NULL)
            partition_wait(f->items[i].partition, &f->items[i].waiter, &f->sleeper);
    return !first; /* for what came before the waiters were made */
}

/* ---- Cold logs: a worker looks first, so that the look-up finds everything in memory ---- */

static void fetch_warm_up(struct request *r)
{
    struct fetch *f = r->state;
    for (int32_t i = 0; i < f->count; i++) {
        struct fetched *x = &f->items[i];
        if (x->partition == NULL || !x->data.slice.cold)
            continue;
        struct partition_read read = fetch_reads(f, x, x->item.max_bytes, true);
        struct partition_data data;
        read.may_block = true;
        if (partition_fetch(x->partition, &read, &data) == ERR_NONE)
            file_ref_put(data.slice.region.file);
    }
}

static void warmed_up(struct request *r)
{
    struct fetch *f = r->state;
    for (int32_t i = 0; i < f->count; i++)
        f->items[i].data.slice.cold = false;
    fetch_try_again(f);
}

/* ---- Old formats: a worker converts, as all of it is read from the disk, and unfolded ---- */

static void run_conversion(struct request *r)
{
    fetch_convert(r->state);
}

static void fetch_look(struct fetch *f);

static bool fetch_is_late(const struct fetch *f)
{
    return clock_mono_ms() >= f->deadline || exchange_is_orphan(f->r->x);
}

/* Of markers and of what compaction has emptied nothing is left, and it is as if they were not there. */
static void on_converted(struct request *r)
{
    struct fetch *f = r->state;
    int64_t bytes = 0;
    bool at_once = fetch_is_late(f);
    r->state = NULL;
    for (int32_t i = 0; i < f->count; i++) {
        bytes += fetched_bytes(&f->items[i]);
        at_once |= f->items[i].error != ERR_NONE;
    }
    if (bytes > 0 || at_once) {
        fetch_finish(f);
        return;
    }
    fetch_look(f);
}

static void take_news(struct fetch *f);

/* True when it is answered, or waits for a worker. */
static bool answer_if_enough(struct fetch *f)
{
    struct reading sum = fetch_read_all(f);
    if (sum.cold && f->r->state == NULL) {
        unwait(f);
        f->r->state = f;
        request_disk_work(f->r, fetch_warm_up, warmed_up);
        return true;
    }
    f->r->state = NULL;
    bool at_once = sum.at_once || f->all_aside;
    if (!fetch_is_late(f) && !at_once && sum.bytes < MIN(f->request.min_bytes, MAX(f->most, 1)))
        return false;
    if (fetch_has_to_convert(f)) {
        if (sum.bytes <= f->hollow && !sum.at_once && !fetch_is_late(f))
            return false;
        unwait(f);
        f->r->state = f;
        f->hollow = sum.bytes; /* as far as is known: else it is answered */
        request_work(f->r, run_conversion, on_converted);
    } else {
        fetch_finish(f);
    }
    return true;
}

static void fetch_look(struct fetch *f)
{
    while (!answer_if_enough(f) && !go_to_sleep(f))
        if (f->session != NULL)
            take_news(f);
}

/* Something has happened, or the time is over. */
static void fetch_try_again(struct fetch *f)
{
    if (f->session != NULL && f->parked) {
        fetch_session_awake(f->session);
        take_news(f);
    }
    if (f->parked && !fetch_is_late(f) && !enough_to_read(f) && (f->session == NULL || go_to_sleep(f)))
        return;
    fetch_look(f);
}

/* ---- The request ---- */

static void fetch_find_partition(struct fetch *f, struct fetched *x, bool denied)
{
    if (x->item.topic.p == NULL || denied) {
        x->error = denied ? ERR_TOPIC_AUTHORIZATION_FAILED : ERR_UNKNOWN_TOPIC_ID;
        return;
    }
    x->partition = replica_partition(f->r->s->replicas, x->item.topic, x->item.partition);
    if (x->partition == NULL)
        x->error = partition_missing(f->r->s, x->item.topic, x->item.partition);
    else if (!uuid_agree(x->item.topic_id, partition_topic_id(x->partition))) {
        partition_unref(x->partition);
        x->partition = NULL;
        x->error = ERR_INCONSISTENT_TOPIC_ID;
    }
}

/*
 * When the request has come, and not again when it is looked at later: by then another life of the follower may have
 * asked for less.
 */
static void note_follower(struct fetch *f)
{
    if (f->denied || fetch_replica(f) < 0)
        return;
    int64_t now = clock_mono_ms();
    struct pulse *pulse = fetch_session_pulse(f->session);
    if (pulse != NULL)
        pulse_beat(pulse, fetch_broker_epoch(f), now);
    for (int32_t i = 0; i < f->count; i++) {
        const struct fetched *x = &f->items[i];
        struct partition_read read = fetch_reads(f, x, 0, false);
        bool noted =
            x->partition != NULL && partition_note_fetch(x->partition, &read, x->item.log_start_offset, pulse, now);
        fetch_session_set_noted(x->item.of, noted);
    }
    if (f->session != NULL)
        fetch_session_grow_isrs(f->session, f->r->s->replicas);
}

/* From `i` on, all of that topic. */
static bool fetch_is_denied(const struct fetch *f, const struct fetch_item *items, int32_t i, int32_t count)
{
    int32_t same = i;
    if (fetch_replica(f) >= 0 || !has_authorizer(f->r) || items[i].topic.p == NULL)
        return f->denied;
    while (same < count && str_eq(items[same].topic, items[i].topic))
        same++;
    return !allowed_topic(f->r, ACL_READ, items[i].topic, same - i);
}

static void take_items(struct fetch *f, const struct fetch_item *items, int32_t count)
{
    f->items = ARENA_ARRAY(&f->turn, struct fetched, MAX(count, 1));
    bool denied = false;
    f->count = count;
    for (int32_t i = 0; i < count; i++) {
        struct fetched *x = &f->items[i];
        x->item = items[i];
        x->preferred_replica = -1;
        x->data = (struct partition_data){.high_watermark = -1,
                                          .last_stable_offset = -1,
                                          .log_start_offset = -1,
                                          .diverging_epoch = -1,
                                          .diverging_end = -1};
        if (i == 0 || !str_eq(items[i - 1].topic, items[i].topic))
            denied = fetch_is_denied(f, items, i, count);
        fetch_find_partition(f, x, denied);
        if (x->item.of != NULL)
            fetch_session_watch(x->item.of, x->partition);
    }
}

/* However often they are looked at for it. */
static void count_asked_for(struct fetch *f)
{
    for (int32_t i = 0; i < f->count; i++)
        if (f->items[i].item.of == NULL && f->items[i].partition != NULL)
            partition_mark(f->items[i].partition, TOPIC_TOTAL_FETCH, 1);
    if (f->session != NULL)
        fetch_session_count(f->session);
}

static bool belongs_aside(const struct fetched *x)
{
    return x->error == ERR_TOPIC_AUTHORIZATION_FAILED || x->error == ERR_UNKNOWN_TOPIC_OR_PARTITION ||
           x->error == ERR_UNKNOWN_TOPIC_ID;
}

/* Once, before anything is read: what is lost while the fetch waits is a change, and ends it. */
static void set_aside(struct fetch *f)
{
    struct arena *a = f->r->arena; /* names too, as the items' own memory goes when more is taken from the session */
    struct str topic = STR_NULL, copy = STR_NULL;
    int32_t all = f->count, outside = 0;
    f->count = 0;
    for (int32_t i = 0; i < all; i++) {
        struct fetched *x = &f->items[i];
        if (!belongs_aside(x)) {
            f->items[f->count++] = *x;
            continue;
        }
        if (f->aside == NULL)
            f->aside = ARENA_ARRAY(a, struct fetched, all - i);
        outside += x->item.of == NULL;
        if (!str_eq(x->item.topic, topic)) {
            topic = x->item.topic;
            copy = arena_str(a, topic);
        }
        f->aside[f->aside_count] = *x;
        f->aside[f->aside_count++].item.topic = copy;
    }
    int32_t asked = f->session != NULL ? fetch_session_size(f->session) + outside : all;
    f->all_aside = f->aside_count == asked;
    ensure(f->aside_count <= asked);
}

/* What has become ready in the session, in the place of what was put back. */
static void take_news(struct fetch *f)
{
    struct fetch_item *items;
    ensure(f->count == 0);
    arena_deinit(&f->turn);
    int32_t count = fetch_session_take(&f->turn, f->session, &items);
    take_items(f, items, count);
}

static struct str fetch_topic_key(const struct fetch_topic *t, bool by_id)
{
    return by_id ? (struct str){(const char *)t->topic_id.b, sizeof(t->topic_id.b)} : t->topic;
}

#define FETCH_KEY(t) fetch_topic_key((t), r->version >= FETCH_IDS_SINCE)
#define FETCH_INDEX(p) ((p)->partition)

static void fetch_handle(struct request *r)
{
    struct fetch *f = ARENA_NEW(r->arena, struct fetch);
    struct fetch_item *items;
    int32_t count;
    f->r = r;
    if (!DECODE(r, fetch_request, &f->request))
        return;
    DROP_NAMED_AGAIN(r->arena, f->request.topics, FETCH_KEY, partitions, FETCH_INDEX);
    r->flavor = fetch_replica(f) >= 0 ? REQUEST_OF_FOLLOWER : REQUEST_OF_CONSUMER;
    enum kafka_error error =
        fetch_session_begin(r->s->fetch_sessions, r->version, &f->request, &f->turn, &f->session, &items, &count);
    if (error != ERR_NONE) {
        arena_deinit(&f->turn);
        fail(f, error);
        return;
    }
    f->denied = fetch_replica(f) >= 0 && !allowed_cluster(r, ACL_CLUSTER_ACTION);
    f->most = most_bytes(f);
    take_items(f, items, count);
    count_asked_for(f);
    note_follower(f);
    set_aside(f);
    timer_init(&f->timer, exchange_loop(r->x), fetch_on_deadline);
    f->deadline = clock_mono_ms() + MAX(f->request.max_wait_ms, 0);
    fetch_look(f);
}

const struct api_entry api_fetch = {.key = API_FETCH, .min = 0, .max = 17, .handle = fetch_handle};
