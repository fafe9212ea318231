#include "replica/fetch_session.h"

#include <limits.h>
#include <utlist.h>

#include "base/chance.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/lock.h"
#include "base/topic_key.h"
#include "cluster/view.h"
#include "protocol/msg/fetch.h"

enum { NO_SESSION = 0, EPOCH_FULL = 0, EPOCH_FINAL = -1, SAFE_FROM_EVICTION_MS = 120000 };
/* With more partitions than that they are told of fetches only so often. */
enum { FEW_PARTITIONS = 16, COUNTED_EACH_MS = 1000 };
enum { SESSIONS_SINCE = 7, STATE_SINCE = 15 }; /* versions of Fetch */

struct session_key {
    struct uuid topic_id;
    struct topic_key name; /* only its index when the session speaks in ids */
};

static size_t session_key_size(const struct session_key *key)
{
    return offsetof(struct session_key, name) + topic_key_size(&key->name);
}

struct session_partition {
    struct session_key key;
    int32_t current_leader_epoch, last_fetched_epoch, max_bytes;
    int64_t fetch_offset, log_start_offset;
    int64_t told_high_watermark, told_log_start;
    bool told_error, unnoted;
    struct fetch_session *session;
    struct waiter waiter;
    bool ready; /* it is on the session's list */
    struct session_partition *prev, *next;
    UT_hash_handle hh;
};

struct fetch_session {
    int32_t id, epoch; /* the epoch that the next request must carry */
    bool by_id, in_use, doomed, incremental;
    bool of_follower;
    int32_t size; /* its partitions after the last request */
    int64_t created, last_used;
    struct session_partition *partitions;
    struct pulse *pulse;
    int64_t growth_round;
    int32_t fetches;  /* that its partitions were not told of yet */
    int64_t counted;  /* when they were last */
    struct lock lock; /* guards the following; taken with a partition locked, never the other way */
    struct session_partition *ready;
    struct sleeper *sleeper; /* the request that waits */
    bool news;               /* others have put something on the list since it was taken */
    UT_hash_handle hh;
};

struct fetch_sessions {
    struct lock lock;
    struct fetch_session *table;
    int slots;
    /*
     * Consumers that ask for no more than so many partitions find no room until then, unless a session goes or becomes
     * smaller: thousands may ask again with each fetch, and are not to look at all sessions each time.
     */
    int32_t refused_size;
    int64_t refused_until;
    struct metrics *metrics;
    struct bean_source source;
    int64_t bean_ids;
    struct meter evictions;
};

static void fetch_sessions_visit(void *ctx, struct bean_walk *w);

struct fetch_sessions *fetch_sessions_new(int slots, struct metrics *m)
{
    struct fetch_sessions *f = xcalloc(1, sizeof(*f));
    lock_init(&f->lock, RANK_FETCH_SESSIONS);
    f->slots = slots;
    if ((f->metrics = m) == NULL)
        return f;
    f->bean_ids = metrics_ids(m, 3);
    meter_init(&f->evictions, m, "evictions");
    f->source = (struct bean_source){.visit = fetch_sessions_visit, .ctx = f};
    metrics_add_source(m, &f->source);
    return f;
}

static void unmark_ready(struct session_partition *p)
{
    lock_take(&p->session->lock);
    if (p->ready)
        DL_DELETE(p->session->ready, p);
    p->ready = false;
    lock_release(&p->session->lock);
}

static void count_fetches_of(struct session_partition *p)
{
    if (p->session->fetches > 0 && p->waiter.partition != NULL)
        partition_mark(p->waiter.partition, TOPIC_TOTAL_FETCH, p->session->fetches);
}

/* Before another partition is one of its own, too. */
static void count_fetches(struct fetch_session *s)
{
    struct session_partition *p, *tmp;
    if (s->fetches == 0)
        return;
    HASH_ITER (hh, s->partitions, p, tmp)
        count_fetches_of(p);
    s->fetches = 0;
}

void fetch_session_count(struct fetch_session *s)
{
    int64_t now = clock_mono_ms();
    ensure(s->in_use);
    s->fetches++;
    if (HASH_COUNT(s->partitions) > FEW_PARTITIONS && now - s->counted < COUNTED_EACH_MS)
        return;
    s->counted = now;
    count_fetches(s);
}

static void remove_partition(struct session_partition *p)
{
    count_fetches_of(p);
    if (p->waiter.partition != NULL)
        partition_pulse_gone(p->waiter.partition, p->session->pulse);
    partition_unwait(&p->waiter); /* nothing makes it ready any more */
    unmark_ready(p);
    HASH_DEL(p->session->partitions, p);
    free(p);
}

static void session_free(struct fetch_session *s)
{
    struct session_partition *p, *tmp;
    HASH_ITER (hh, s->partitions, p, tmp)
        remove_partition(p);
    pulse_unref(s->pulse);
    lock_deinit(&s->lock);
    free(s);
}

void fetch_sessions_free(struct fetch_sessions *f)
{
    struct fetch_session *s, *tmp;
    if (f == NULL)
        return;
    if (f->metrics != NULL)
        metrics_remove_source(f->metrics, &f->source);
    meter_deinit(&f->evictions);
    HASH_ITER (hh, f->table, s, tmp) {
        HASH_DEL(f->table, s);
        session_free(s);
    }
    lock_deinit(&f->lock);
    free(f);
}

static void fetch_sessions_visit(void *ctx, struct bean_walk *w)
{
    struct fetch_sessions *f = ctx;
    struct bean_name name = {"kafka.server", "FetchSessionCache", "NumIncrementalFetchSessions", {{0}}};
    int64_t partitions = 0;
    lock_take(&f->lock);
    int64_t sessions = HASH_COUNT(f->table);
    for (struct fetch_session *s = f->table; s != NULL; s = s->hh.next)
        partitions += s->size;
    lock_release(&f->lock);
    yield_gauge(w, f->bean_ids, &name, bean_long(sessions));
    name.name = "NumIncrementalFetchPartitionsCached";
    yield_gauge(w, f->bean_ids + 1, &name, bean_long(partitions));
    name.name = "IncrementalFetchSessionEvictionsPerSec";
    yield_meter(w, f->bean_ids + 2, &name, &f->evictions);
}

/* Out of the table now; freed when the request that uses it is done. */
static void remove_session(struct fetch_sessions *f, struct fetch_session *s)
{
    ensure(lock_is_held(&f->lock) && !s->doomed);
    HASH_DEL(f->table, s);
    f->refused_until = 0;
    s->doomed = true;
    if (!s->in_use)
        session_free(s);
}

static void remove_by_id(struct fetch_sessions *f, int32_t id)
{
    struct fetch_session *s;
    lock_take(&f->lock);
    HASH_FIND_INT(f->table, &id, s);
    if (s != NULL)
        remove_session(f, s);
    lock_release(&f->lock);
}

static bool is_worth_less(const struct fetch_session *a, const struct fetch_session *b)
{
    return a->of_follower != b->of_follower ? b->of_follower : a->size < b->size;
}

/* That a newcomer may take the place of it, if it is worth less. A follower does not wait for consumers to settle. */
static bool may_be_evicted(const struct fetch_session *s, const struct fetch_session *for_whom, int64_t now)
{
    if (for_whom->of_follower && !s->of_follower)
        return true;
    return s->of_follower == for_whom->of_follower && now - s->created > SAFE_FROM_EVICTION_MS;
}

/* As Kafka does it (KIP-227): first who has not been heard of for long, then the least that is worth less. */
static struct fetch_session *find_victim(const struct fetch_sessions *f, const struct fetch_session *for_whom,
                                         int64_t now)
{
    struct fetch_session *oldest = NULL, *least = NULL;
    for (struct fetch_session *s = f->table; s != NULL; s = s->hh.next) {
        if (!s->in_use && (oldest == NULL || s->last_used < oldest->last_used))
            oldest = s;
        if (may_be_evicted(s, for_whom, now) && (least == NULL || is_worth_less(s, least)))
            least = s;
    }
    if (oldest != NULL && now - oldest->last_used > SAFE_FROM_EVICTION_MS)
        return oldest;
    return least != NULL && is_worth_less(least, for_whom) ? least : NULL;
}

static bool refusal_stands(const struct fetch_sessions *f, const struct fetch_session *for_whom, int64_t now)
{
    return !for_whom->of_follower && for_whom->size <= f->refused_size && now < f->refused_until;
}

/* No session is worth less than that consumer's, and none has not been heard of for long. */
static void note_refusal(struct fetch_sessions *f, const struct fetch_session *consumer, int64_t now)
{
    f->refused_size = INT32_MAX;
    f->refused_until = INT64_MAX;
    for (const struct fetch_session *s = f->table; s != NULL; s = s->hh.next) {
        f->refused_until = MIN(f->refused_until, s->last_used + SAFE_FROM_EVICTION_MS + 1);
        if (may_be_evicted(s, consumer, now))
            f->refused_size = MIN(f->refused_size, s->size);
        else if (!s->of_follower)
            f->refused_until = MIN(f->refused_until, s->created + SAFE_FROM_EVICTION_MS + 1);
    }
}

static bool session_make_room(struct fetch_sessions *f, const struct fetch_session *for_whom, int64_t now)
{
    ensure(lock_is_held(&f->lock));
    if ((int)HASH_COUNT(f->table) < f->slots)
        return true;
    if (refusal_stands(f, for_whom, now))
        return false;
    struct fetch_session *victim = find_victim(f, for_whom, now);
    if (victim != NULL) {
        remove_session(f, victim);
        meter_mark(&f->evictions, 1);
    } else if (!for_whom->of_follower) {
        note_refusal(f, for_whom, now);
    }
    return victim != NULL;
}

static int32_t unused_id(struct fetch_sessions *f)
{
    ensure(lock_is_held(&f->lock));
    for (;;) {
        struct fetch_session *s;
        uint32_t id;
        chance_fill(&id, sizeof(id));
        int32_t candidate = (int32_t)(id & INT32_MAX);
        HASH_FIND_INT(f->table, &candidate, s);
        if (candidate != NO_SESSION && s == NULL)
            return candidate;
    }
}

/* ---- Partitions of a session ---- */

static void mark_ready_locked(struct session_partition *p)
{
    ensure(lock_is_held(&p->session->lock));
    if (!p->ready)
        DL_APPEND(p->session->ready, p);
    p->ready = true;
}

void fetch_session_mark_ready(struct session_partition *p)
{
    if (p == NULL)
        return;
    lock_take(&p->session->lock);
    mark_ready_locked(p);
    lock_release(&p->session->lock);
}

static void on_partition_changed(struct waiter *waiter)
{
    struct session_partition *p = CONTAINER_OF(waiter, struct session_partition, waiter);
    struct fetch_session *s = p->session;
    lock_take(&s->lock);
    mark_ready_locked(p);
    s->news = true;
    if (s->sleeper != NULL)
        sleeper_wake(s->sleeper);
    lock_release(&s->lock);
}

void fetch_session_watch(struct session_partition *p, struct partition *partition)
{
    if (p->waiter.partition == partition)
        return;
    count_fetches(p->session);
    partition_unwait(&p->waiter);
    if (partition != NULL)
        partition_watch(partition, &p->waiter, on_partition_changed);
}

bool fetch_session_sleep(struct fetch_session *s, struct sleeper *sleeper)
{
    lock_take(&s->lock);
    bool asleep = !s->news;
    s->sleeper = asleep ? sleeper : NULL;
    lock_release(&s->lock);
    return asleep;
}

void fetch_session_awake(struct fetch_session *s)
{
    lock_take(&s->lock);
    s->sleeper = NULL;
    lock_release(&s->lock);
}

/* False if no topic can be called that. */
static bool session_key_of(bool by_id, struct str topic, struct uuid id, int32_t partition, struct session_key *out)
{
    *out = (struct session_key){0};
    if (!by_id)
        return topic_key_make(topic, partition, &out->name);
    out->topic_id = id;
    out->name.index = partition;
    return true;
}

/* False: it cannot be one of a session's, and is answered with an error whenever it is asked for. */
static bool set_partition(struct fetch_session *s, const struct fetch_item *item)
{
    struct session_key key;
    struct session_partition *p;
    if (!session_key_of(s->by_id, item->topic, item->topic_id, item->partition, &key))
        return false;
    HASH_FIND(hh, s->partitions, &key, session_key_size(&key), p);
    if (p == NULL) {
        count_fetches(s);
        p = xcalloc(1, sizeof(*p));
        p->key = key;
        p->session = s;
        p->told_high_watermark = p->told_log_start = -1;
        HASH_ADD(hh, s->partitions, key, session_key_size(&p->key), p);
    }
    p->current_leader_epoch = item->current_leader_epoch;
    p->last_fetched_epoch = item->last_fetched_epoch;
    p->max_bytes = item->max_bytes;
    p->fetch_offset = item->fetch_offset;
    p->log_start_offset = item->log_start_offset;
    fetch_session_mark_ready(p);
    return true;
}

static void session_forget(struct fetch_session *s, const struct fetch_request *request)
{
    for (int32_t t = 0; t < request->forgotten_topics_data.len; t++) {
        const struct fetch_forgotten_topic *topic = &request->forgotten_topics_data.items[t];
        for (int32_t i = 0; i < topic->partitions.len; i++) {
            struct session_key key;
            struct session_partition *p = NULL;
            if (session_key_of(s->by_id, topic->topic, topic->topic_id, topic->partitions.items[i], &key))
                HASH_FIND(hh, s->partitions, &key, session_key_size(&key), p);
            if (p != NULL)
                remove_partition(p);
        }
    }
}

static struct str session_name_of(struct arena *a, struct uuid id)
{
    const struct view_topic *t = view_topic_by_id(view_current(), id);
    return t != NULL ? arena_str(a, str_of(t->name)) : STR_NULL;
}

static struct fetch_item item_of(struct arena *a, struct session_partition *p)
{
    struct fetch_item item = {.of = p,
                              .topic_id = p->key.topic_id,
                              .partition = p->key.name.index,
                              .current_leader_epoch = p->current_leader_epoch,
                              .last_fetched_epoch = p->last_fetched_epoch,
                              .max_bytes = p->max_bytes,
                              .fetch_offset = p->fetch_offset,
                              .log_start_offset = p->log_start_offset};
    item.topic = p->session->by_id ? session_name_of(a, p->key.topic_id) : arena_str(a, str_of(p->key.name.topic));
    return item;
}

/* And behind them `others`, which no session has. */
static int32_t session_take(struct arena *a, struct fetch_session *s, const struct fetch_item *others,
                            int32_t other_count, struct fetch_item **out)
{
    struct session_partition *p, *list;
    int32_t n = 0;
    ensure(s->in_use);
    lock_take(&s->lock);
    list = s->ready;
    s->ready = NULL;
    s->news = false;
    DL_COUNT(list, p, n);
    struct session_partition **taken = ARENA_ARRAY(a, struct session_partition *, MAX(n, 1));
    n = 0;
    DL_FOREACH (list, p) {
        p->ready = false;
        taken[n++] = p;
    }
    lock_release(&s->lock);
    *out = ARENA_ARRAY(a, struct fetch_item, MAX(n + other_count, 1));
    for (int32_t i = 0; i < n; i++)
        (*out)[i] = item_of(a, taken[i]);
    for (int32_t i = 0; i < other_count; i++)
        (*out)[n + i] = others[i];
    return n + other_count;
}

int32_t fetch_session_take(struct arena *a, struct fetch_session *s, struct fetch_item **out)
{
    return session_take(a, s, NULL, 0, out);
}

static int32_t items_of_request(struct arena *a, const struct fetch_request *request, bool by_id,
                                struct fetch_item **out)
{
    int32_t n = 0;
    for (int32_t t = 0; t < request->topics.len; t++)
        n += MAX(request->topics.items[t].partitions.len, 0);
    *out = ARENA_ARRAY(a, struct fetch_item, n + 1);
    n = 0;
    for (int32_t t = 0; t < request->topics.len; t++) {
        const struct fetch_topic *topic = &request->topics.items[t];
        struct str name = by_id ? session_name_of(a, topic->topic_id) : topic->topic;
        for (int32_t i = 0; i < topic->partitions.len; i++) {
            const struct fetch_partition *p = &topic->partitions.items[i];
            (*out)[n++] = (struct fetch_item){NULL,
                                              name,
                                              topic->topic_id,
                                              p->partition,
                                              p->current_leader_epoch,
                                              p->last_fetched_epoch,
                                              p->partition_max_bytes,
                                              p->fetch_offset,
                                              p->log_start_offset};
        }
    }
    return n;
}

/* ---- Beginning and ending ---- */

/* NULL: there is no room for one, and the fetch goes without. */
static struct fetch_session *new_session(struct fetch_sessions *f, bool by_id, bool of_follower, int32_t size)
{
    int64_t now = clock_mono_ms();
    struct fetch_session wanted = {.epoch = 1,
                                   .by_id = by_id,
                                   .of_follower = of_follower,
                                   .size = size,
                                   .in_use = true,
                                   .created = now,
                                   .last_used = now};
    struct fetch_session *s = NULL;
    lock_take(&f->lock);
    if (session_make_room(f, &wanted, now)) {
        s = xcalloc(1, sizeof(*s));
        *s = wanted;
        s->id = unused_id(f);
        s->pulse = pulse_new();
        lock_init(&s->lock, RANK_FETCH_SESSION);
        HASH_ADD_INT(f->table, id, s);
    }
    lock_release(&f->lock);
    return s;
}

/* Those that a session cannot have are moved to the front; their number. */
static int32_t set_partitions(struct fetch_session *s, struct fetch_item *items, int32_t n)
{
    int32_t others = 0;
    for (int32_t i = 0; i < n; i++)
        if (!set_partition(s, &items[i]))
            items[others++] = items[i];
    return others;
}

static enum kafka_error take_session(struct fetch_sessions *f, const struct fetch_request *request, bool by_id,
                                     struct fetch_session **out)
{
    enum kafka_error error = ERR_NONE;
    struct fetch_session *s;
    lock_take(&f->lock);
    HASH_FIND_INT(f->table, &request->session_id, s);
    if (s == NULL)
        error = ERR_FETCH_SESSION_ID_NOT_FOUND;
    else if (s->in_use || s->epoch != request->session_epoch)
        error = ERR_INVALID_FETCH_SESSION_EPOCH;
    else if (s->by_id != by_id && request->topics.len + request->forgotten_topics_data.len > 0)
        error = ERR_FETCH_SESSION_TOPIC_ID_ERROR;
    if (error == ERR_NONE) {
        s->in_use = true;
        s->incremental = true;
        s->last_used = clock_mono_ms();
        s->epoch = s->epoch == INT32_MAX ? 1 : s->epoch + 1;
        *out = s;
    }
    lock_release(&f->lock);
    return error;
}

static enum kafka_error begin_incremental(struct fetch_sessions *f, const struct fetch_request *request, bool by_id,
                                          struct arena *a, struct fetch_session **session, struct fetch_item **items,
                                          int32_t *count)
{
    enum kafka_error error = take_session(f, request, by_id, session);
    if (error != ERR_NONE)
        return error;
    int32_t changed = items_of_request(a, request, by_id, items);
    int32_t others = set_partitions(*session, *items, changed);
    session_forget(*session, request);
    *count = session_take(a, *session, *items, others, items);
    if ((*session)->partitions == NULL) { /* nothing is left to be asked for: it ends, and the answer says so */
        remove_by_id(f, request->session_id);
        fetch_session_done(f, *session);
        *session = NULL;
    }
    return ERR_NONE;
}

static bool is_of_follower(int16_t version, const struct fetch_request *request)
{
    return (version >= STATE_SINCE ? request->replica_state.replica_id : request->replica_id) >= 0;
}

enum kafka_error fetch_session_begin(struct fetch_sessions *f, int16_t version, const struct fetch_request *request,
                                     struct arena *a, struct fetch_session **session, struct fetch_item **items,
                                     int32_t *count)
{
    bool by_id = version >= FETCH_IDS_SINCE,
         full = request->session_epoch == EPOCH_FULL || request->session_epoch == EPOCH_FINAL;
    *session = NULL;
    if (version >= SESSIONS_SINCE && !full)
        return begin_incremental(f, request, by_id, a, session, items, count);
    *count = items_of_request(a, request, by_id, items);
    if (version < SESSIONS_SINCE)
        return ERR_NONE;
    if (request->session_id != NO_SESSION)
        remove_by_id(f, request->session_id);
    if (request->session_epoch == EPOCH_FULL)
        *session = new_session(f, by_id, is_of_follower(version, request), *count);
    if (*session != NULL)
        *count = session_take(a, *session, *items, set_partitions(*session, *items, *count), items);
    return ERR_NONE;
}

bool fetch_session_has_news(const struct fetch_session *s, const struct fetch_item *item, enum kafka_error error,
                            int32_t record_bytes, int64_t high_watermark, int64_t log_start_offset)
{
    const struct session_partition *p = item->of;
    return s == NULL || p == NULL || !s->incremental || record_bytes > 0 || error != ERR_NONE || p->told_error ||
           p->told_high_watermark != high_watermark || p->told_log_start != log_start_offset;
}

void fetch_session_told(const struct fetch_item *item, enum kafka_error error, int64_t high_watermark,
                        int64_t log_start_offset)
{
    struct session_partition *p = item->of;
    if (p == NULL)
        return;
    p->told_high_watermark = high_watermark;
    p->told_log_start = log_start_offset;
    p->told_error = error != ERR_NONE;
}

void fetch_session_set_noted(struct session_partition *p, bool noted)
{
    if (p != NULL)
        p->unnoted = !noted;
}

bool fetch_session_is_noted(const struct session_partition *p)
{
    return p == NULL || !p->unnoted;
}

void fetch_session_grow_isrs(struct fetch_session *s, struct replica_manager *rm)
{
    struct session_partition *p, *tmp;
    int64_t round = replica_growth_round(rm);
    if (s->growth_round == round)
        return;
    s->growth_round = round;
    HASH_ITER (hh, s->partitions, p, tmp)
        if (p->waiter.partition != NULL)
            partition_grow_isr(p->waiter.partition, s->pulse);
}

struct pulse *fetch_session_pulse(const struct fetch_session *session)
{
    return session != NULL ? session->pulse : NULL;
}

int32_t fetch_session_id(const struct fetch_session *session)
{
    return session != NULL ? session->id : NO_SESSION;
}

int32_t fetch_session_size(const struct fetch_session *session)
{
    ensure(session->in_use);
    return (int32_t)HASH_COUNT(session->partitions);
}

void fetch_session_forget(struct fetch_sessions *f, struct fetch_session *s)
{
    ensure(s->in_use);
    remove_by_id(f, s->id);
}

void fetch_session_done(struct fetch_sessions *f, struct fetch_session *s)
{
    if (s == NULL)
        return;
    lock_take(&f->lock);
    ensure(s->in_use);
    s->in_use = false;
    if ((int32_t)HASH_COUNT(s->partitions) < s->size)
        f->refused_until = 0;
    s->size = (int32_t)HASH_COUNT(s->partitions);
    s->last_used = clock_mono_ms();
    bool doomed = s->doomed;
    lock_release(&f->lock);
    if (doomed)
        session_free(s);
}
