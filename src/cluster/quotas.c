/*
 * One table for each type, with a lock of its own. Limits are a tree: users with their clients, those of all other
 * users, and those of clients whoever their user is. What was used lies in buckets, the longest unused first, which are
 * kept for an hour, as Kafka keeps its sensors, so that a client is told of that pauses now and then.
 *
 * Where a type has any limit, whoever has none is told of as well. Their buckets are fewer and have a list of their
 * own: names that somebody makes up push nobody out whom a limit bounds.
 */
#include "cluster/quotas.h"

#include <math.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/lock.h"
#include "base/logger.h"
#include "metrics/window.h"

/*
 * Clients choose their ids: so many buckets are kept at most, in whose names so much of each part counts. Who is
 * dropped early begins anew.
 */
enum { MOST_BUCKETS = 100000, MOST_UNLIMITED = 10000, BUCKET_NAME_PART = 256, LENGTH_ROOM = 4, KEPT_MS = 3600 * 1000 };

/* Over which pauses, and changes, are averaged to be looked at: metrics.num.samples, metrics.sample.window.ms. */
static const struct rate_window metrics_window = {2, 30000};

struct limit { /* negative: none */
    struct str name;
    double value;
    UT_hash_handle hh;
};

/* Of one user, of all others, or whoever the user is. */
struct limit_scope {
    struct str user;
    double own;           /* of all clients together; negative: none */
    double other_clients; /* of each client that is not among these; the same */
    struct limit *clients;
    UT_hash_handle hh;
};

enum bucket_list { LIMITED, UNLIMITED, BUCKET_LISTS };

struct bucket {
    struct rate rate;                /* of mutations only to be looked at */
    struct token_bucket tokens;      /* of mutations, instead */
    struct rate pauses, pause_count; /* in milliseconds, and how many */
    int64_t used_ms;
    int64_t bean_id; /* 0: none yet */
    enum bucket_list list;
    uint32_t user_len; /* of the key's text; the rest is the client's id */
    struct bucket *prev, *next;
    UT_hash_handle hh;
    uint32_t key_len;
    char key[];
};

/* Whom a limit is for: a user, one of its clients, or a client whoever its user is. */
enum limit_kind { OF_USER, OF_USER_CLIENT, OF_CLIENT, LIMIT_KINDS };

struct quota_table {
    struct lock lock; /* guards what follows, but for the counts */
    struct rate_window window;
    struct limit_scope *users, others, anybody;
    int32_t limits_by_kind[LIMIT_KINDS];
    struct bucket *buckets;
    struct {
        struct bucket *first; /* the longest unused */
        int32_t count;
    } lists[BUCKET_LISTS];
    atomic_int limits;  /* that are set */
    atomic_int pausing; /* connections */
};

struct quotas {
    struct quota_table tables[QUOTA_TYPES];
    struct metrics *metrics; /* NULL: nobody counts */
    struct bean_source source;
    int64_t bean_ids;
    struct window exempt; /* microseconds */
};

const char *quota_key(enum quota_type type)
{
    static const char *const keys[QUOTA_TYPES] = {"producer_byte_rate", "consumer_byte_rate", "request_percentage",
                                                  "controller_mutation_rate"};
    ensure(type < QUOTA_TYPES);
    return keys[type];
}

/* ---- Limits ---- */

static void limit_scope_init(struct limit_scope *s, struct str user)
{
    *s = (struct limit_scope){.user = user, .own = -1, .other_clients = -1};
}

static void limit_scope_clear(struct limit_scope *s)
{
    struct limit *l, *tmp;
    HASH_ITER (hh, s->clients, l, tmp) {
        HASH_DEL(s->clients, l);
        str_free(l->name);
        free(l);
    }
    str_free(s->user);
}

static struct limit_scope *scope_of(const struct quota_table *t, struct str user)
{
    struct limit_scope *s;
    HASH_FIND(hh, t->users, user.p, (size_t)user.len, s);
    return s;
}

static double limit_of_client(const struct limit_scope *s, struct str id)
{
    struct limit *l;
    HASH_FIND(hh, s->clients, id.p, (size_t)id.len, l);
    return l != NULL ? l->value : s->other_clients;
}

static struct limit_scope *scope_for(struct quota_table *t, struct str user)
{
    struct limit_scope *s = scope_of(t, user);
    if (s != NULL)
        return s;
    s = xcalloc(1, sizeof(*s));
    limit_scope_init(s, str_dup(user));
    HASH_ADD_KEYPTR(hh, t->users, s->user.p, (size_t)s->user.len, s);
    return s;
}

static void limit_set_client(struct limit_scope *s, struct str id, double value)
{
    struct limit *l;
    HASH_FIND(hh, s->clients, id.p, (size_t)id.len, l);
    if (l == NULL) {
        l = xcalloc(1, sizeof(*l));
        l->name = str_dup(id);
        HASH_ADD_KEYPTR(hh, s->clients, l->name.p, (size_t)l->name.len, l);
    }
    l->value = value;
    if (value >= 0)
        return;
    HASH_DEL(s->clients, l);
    str_free(l->name);
    free(l);
}

static int32_t scope_count(const struct limit_scope *s)
{
    return (int32_t)HASH_COUNT(s->clients) + (s->own >= 0) + (s->other_clients >= 0);
}

static void scope_drop_if_empty(struct quota_table *t, struct limit_scope *s)
{
    if (s == &t->others || s == &t->anybody || scope_count(s) > 0)
        return;
    HASH_DEL(t->users, s);
    limit_scope_clear(s);
    free(s);
}

/* A part of an entity. */
struct entity_name {
    enum { UNNAMED, NAMED, ALL_OTHERS } kind;
    struct str name;
};

struct entity_names {
    struct entity_name user, client;
};

static void quota_table_set(struct quota_table *t, struct entity_names e, double value)
{
    lock_take(&t->lock);
    struct limit_scope *s = e.user.kind == NAMED        ? scope_for(t, e.user.name)
                            : e.user.kind == ALL_OTHERS ? &t->others
                                                        : &t->anybody;
    int32_t before = scope_count(s);
    if (e.client.kind == NAMED)
        limit_set_client(s, e.client.name, value);
    else if (e.client.kind == ALL_OTHERS)
        s->other_clients = value;
    else
        s->own = value;
    enum limit_kind kind = e.user.kind == UNNAMED ? OF_CLIENT : e.client.kind == UNNAMED ? OF_USER : OF_USER_CLIENT;
    t->limits_by_kind[kind] += scope_count(s) - before;
    int32_t all = atomic_fetch_add(&t->limits, scope_count(s) - before) + scope_count(s) - before;
    ensure(t->limits_by_kind[kind] >= 0 && all >= t->limits_by_kind[kind]);
    scope_drop_if_empty(t, s);
    lock_release(&t->lock);
}

/* ---- Entities ---- */

static bool quota_entity_part(const char **rest, const char *prefix, struct arena *a, struct entity_name *out)
{
    size_t len = strlen(prefix);
    if (strncmp(*rest, prefix, len) != 0)
        return false;
    const char *start = *rest + len;
    size_t n = strcspn(start, "/");
    *rest = start + n;
    struct str coded = {start, (int32_t)n};
    bool others = str_is(coded, CONFIG_OF_ALL_BROKERS);
    *out = (struct entity_name){others ? ALL_OTHERS : NAMED, entity_name_decode(a, coded)};
    return n > 0;
}

static bool entity_parse(const char *path, struct arena *a, struct entity_names *out)
{
    *out = (struct entity_names){0};
    if (quota_entity_part(&path, "clients/", a, &out->client))
        return *path == '\0';
    return quota_entity_part(&path, "users/", a, &out->user) &&
           (*path == '\0' || (quota_entity_part(&path, "/clients/", a, &out->client) && *path == '\0'));
}

static double limit_parse(const char *entity, const char *key, const char *text)
{
    char *end;
    double value = strtod(text, &end);
    if (end != text && *end == '\0' && value >= 0 && isfinite(value))
        return value;
    log_warn("%s of %s in ZooKeeper is \"%s\", which is no limit: it is ignored", key, entity, text);
    return -1;
}

void quotas_take(struct quotas *q, const char *entity, const struct config_znode *pairs)
{
    struct arena a = {0};
    struct entity_names names;
    bool known = entity_parse(entity, &a, &names);
    for (int t = 0; known && t < QUOTA_TYPES; t++) {
        const char *key = quota_key((enum quota_type)t);
        const struct config_pair *pair = config_find(pairs, key);
        quota_table_set(&q->tables[t], names, pair != NULL ? limit_parse(entity, key, pair->value) : -1);
    }
    arena_deinit(&a);
}

/* ---- Buckets ---- */

/* What counts for a client, and the names in whose bucket. */
struct found_limit {
    double value; /* negative: none */
    struct str user, id;
};

static struct found_limit find_limit(const struct quota_table *t, struct quota_client who)
{
    const struct limit_scope *scopes[] = {scope_of(t, who.user), &t->others, &t->anybody};
    for (size_t i = 0; i < ARRAY_LEN(scopes); i++) {
        const struct limit_scope *s = scopes[i];
        double of_client = s != NULL && who.id.len > 0 ? limit_of_client(s, who.id) : -1;
        if (of_client >= 0)
            return (struct found_limit){of_client, s == &t->anybody ? STR_NULL : who.user, who.id};
        if (s != NULL && s->own >= 0)
            return (struct found_limit){s->own, who.user, STR_NULL};
    }
    return (struct found_limit){-1, STR_NULL, STR_NULL};
}

/* In whose name those are counted whom no limit bounds: of one kind alone its names, else those of clients. */
static struct found_limit without_limit(const struct quota_table *t, struct quota_client who)
{
    bool by_client = t->limits_by_kind[OF_CLIENT] > 0, by_user = t->limits_by_kind[OF_USER] > 0;
    bool by_both = t->limits_by_kind[OF_USER_CLIENT] > 0;
    struct found_limit l = {INFINITY, STR_NULL, STR_NULL};
    if (!by_client && by_user != by_both)
        l.user = who.user;
    if (by_client || !by_user || by_both)
        l.id = who.id;
    return l;
}

static void bucket_leave_list(struct quota_table *t, struct bucket *b)
{
    DL_DELETE(t->lists[b->list].first, b);
    t->lists[b->list].count--;
    ensure((t->lists[b->list].first == NULL) == (t->lists[b->list].count == 0));
}

static void bucket_free(struct quota_table *t, struct bucket *b)
{
    ensure(t->buckets != NULL);
    HASH_DEL(t->buckets, b);
    bucket_leave_list(t, b);
    rate_deinit(&b->rate);
    rate_deinit(&b->pauses);
    rate_deinit(&b->pause_count);
    free(b);
}

static void drop_old_buckets(struct quota_table *t, int64_t now_ms)
{
    static const int32_t most[BUCKET_LISTS] = {[LIMITED] = MOST_BUCKETS, [UNLIMITED] = MOST_UNLIMITED};
    ensure(lock_is_held(&t->lock));
    for (int i = 0; i < BUCKET_LISTS; i++)
        while (t->lists[i].first != NULL &&
               (now_ms - t->lists[i].first->used_ms > KEPT_MS || t->lists[i].count > most[i]))
            bucket_free(t, t->lists[i].first);
}

static void bucket_use(struct quota_table *t, struct bucket *b, bool limited, int64_t now_ms)
{
    b->list = limited ? LIMITED : UNLIMITED;
    b->used_ms = now_ms;
    DL_APPEND(t->lists[b->list].first, b);
    t->lists[b->list].count++;
}

static uint32_t bucket_key(char key[LENGTH_ROOM + 2 * BUCKET_NAME_PART], const struct found_limit *l)
{
    struct str user = str_head(l->user, BUCKET_NAME_PART), id = str_head(l->id, BUCKET_NAME_PART);
    be32_put(key, (uint32_t)user.len);
    if (user.len > 0)
        memcpy(key + LENGTH_ROOM, user.p, (size_t)user.len);
    if (id.len > 0)
        memcpy(key + LENGTH_ROOM + user.len, id.p, (size_t)id.len);
    return LENGTH_ROOM + (uint32_t)(user.len + id.len);
}

static struct bucket *bucket_for(struct quota_table *t, const struct found_limit *l, int64_t now_ms)
{
    char key[LENGTH_ROOM + 2 * BUCKET_NAME_PART];
    uint32_t len = bucket_key(key, l);
    struct bucket *b;
    ensure(lock_is_held(&t->lock));
    HASH_FIND(hh, t->buckets, key, len, b);
    if (b != NULL && b->used_ms == now_ms && (b->list == LIMITED) == isfinite(l->value))
        return b; /* it is among the last already */
    if (b == NULL) {
        b = xcalloc(1, sizeof(*b) + len);
        b->key_len = len;
        b->user_len = be32_get(key);
        memcpy(b->key, key, len);
        HASH_ADD_KEYPTR(hh, t->buckets, b->key, len, b);
    } else {
        bucket_leave_list(t, b);
    }
    bucket_use(t, b, isfinite(l->value), now_ms);
    drop_old_buckets(t, now_ms);
    return b;
}

/* ---- Use ---- */

bool quotas_limit(const struct quotas *q, enum quota_type type)
{
    return atomic_load_explicit(&q->tables[type].limits, memory_order_relaxed) > 0;
}

static double most_in_window(const struct quota_table *t, double limit)
{
    return limit * (double)(t->window.samples - 1) * (double)t->window.sample_ms / 1000;
}

static struct quota_verdict bucket_charge(struct quota_table *t, struct bucket *b, double limit, double amount,
                                          int64_t now_ms)
{
    rate_record(&b->rate, &t->window, amount, now_ms);
    if (rate_is_within(&b->rate, &t->window, limit))
        return (struct quota_verdict){0};
    struct rate_measure m = rate_measure(&b->rate, &t->window, now_ms), before = m;
    before.per_second -= amount / ((double)m.over_ms / 1000);
    struct quota_verdict v = {.wait_ms = rate_excess_ms(m, limit)};
    v.always = v.wait_ms > 0 && amount > most_in_window(t, limit) && before.per_second <= limit;
    return v;
}

/* That of a client who uses something, with its limit; NULL: it has no name to be counted under. */
static struct bucket *quotas_bucket(struct quota_table *t, struct quota_client who, int64_t now_ms, double *limit)
{
    struct found_limit l = find_limit(t, who);
    if (l.value < 0)
        l = without_limit(t, who);
    *limit = l.value;
    return l.user.len > 0 || l.id.len > 0 ? bucket_for(t, &l, now_ms) : NULL;
}

struct quota_verdict quotas_charge(struct quotas *q, enum quota_type type, struct quota_client who, double amount,
                                   int64_t now_ms)
{
    struct quota_table *t = &q->tables[type];
    struct quota_verdict v = {0};
    double limit;
    ensure(type != QUOTA_MUTATION);
    lock_take(&t->lock);
    struct bucket *b = quotas_bucket(t, who, now_ms, &limit);
    if (b != NULL)
        v = bucket_charge(t, b, limit, amount, now_ms);
    lock_release(&t->lock);
    v.type = type;
    return v;
}

atomic_int *quotas_count_pause(struct quotas *q, struct quota_verdict verdict, struct quota_client who, int64_t now_ms)
{
    struct quota_table *t = &q->tables[verdict.type];
    double limit;
    ensure(verdict.type < QUOTA_TYPES && verdict.wait_ms > 0);
    lock_take(&t->lock);
    struct bucket *b = quotas_bucket(t, who, now_ms, &limit);
    if (b != NULL) {
        rate_record(&b->pauses, &metrics_window, verdict.wait_ms, now_ms);
        rate_record(&b->pause_count, &metrics_window, 1, now_ms);
    }
    lock_release(&t->lock);
    return &t->pausing;
}

void quotas_refund(struct quotas *q, enum quota_type type, struct quota_client who, double amount, int64_t now_ms)
{
    struct quota_table *t = &q->tables[type];
    double limit;
    ensure(type != QUOTA_MUTATION);
    lock_take(&t->lock);
    struct bucket *b = quotas_bucket(t, who, now_ms, &limit);
    if (b != NULL)
        rate_record(&b->rate, &t->window, -amount, now_ms);
    lock_release(&t->lock);
}

double quotas_most_at_once(struct quotas *q, enum quota_type type, struct quota_client who)
{
    struct quota_table *t = &q->tables[type];
    lock_take(&t->lock);
    struct found_limit l = find_limit(t, who);
    lock_release(&t->lock);
    return l.value >= 0 ? most_in_window(t, l.value) : INFINITY;
}

static bool bucket_mutate(struct quota_table *t, struct bucket *b, double limit, int32_t partitions, bool strict,
                          int64_t now_ms, int32_t *wait_ms)
{
    double tokens = token_bucket_fill(&b->tokens, &t->window, limit, now_ms);
    bool refused = strict && tokens < 0;
    if (!refused) {
        token_bucket_take(&b->tokens, partitions);
        rate_record(&b->rate, &metrics_window, partitions, now_ms);
    }
    if (refused || !strict)
        *wait_ms = token_bucket_debt_ms(&b->tokens, limit);
    return !refused;
}

bool quotas_mutate(struct quotas *q, struct quota_client who, int32_t partitions, bool strict, int64_t now_ms,
                   int32_t *wait_ms)
{
    struct quota_table *t = &q->tables[QUOTA_MUTATION];
    bool ok = true;
    *wait_ms = 0;
    lock_take(&t->lock);
    struct found_limit l = find_limit(t, who);
    if (l.value >= 0)
        ok = bucket_mutate(t, bucket_for(t, &l, now_ms), l.value, partitions, strict, now_ms, wait_ms);
    lock_release(&t->lock);
    return ok;
}

/* ---- As beans ---- */

void quotas_count_exempt(struct quotas *q, int64_t us)
{
    window_record(&q->exempt, us);
}

/* Copied, so that nobody waits for who visits. */
struct used {
    int64_t id;
    double rate, tokens, pause_ms; /* the latter NAN: it did not pause of late */
    uint32_t user_len, id_len;
    char text[2 * BUCKET_NAME_PART];
};

static double mean_pause(struct bucket *b, int64_t now_ms)
{
    double sum = rate_measure(&b->pauses, &metrics_window, now_ms).per_second;
    double count = rate_measure(&b->pause_count, &metrics_window, now_ms).per_second;
    return count > 0 ? sum / count : NAN;
}

static struct used *quotas_copy_used(struct quotas *q, enum quota_type type, size_t *count)
{
    struct quota_table *t = &q->tables[type];
    const struct rate_window *window = type == QUOTA_MUTATION ? &metrics_window : &t->window;
    int64_t now_ms = clock_mono_ms();
    struct bucket *b, *next;
    *count = 0;
    lock_take(&t->lock);
    drop_old_buckets(t, now_ms);
    struct used *list = xcalloc(HASH_COUNT(t->buckets) + 1, sizeof(*list));
    HASH_ITER (hh, t->buckets, b, next) {
        struct used *u = &list[(*count)++];
        if (b->bean_id == 0)
            b->bean_id = metrics_ids(q->metrics, 1);
        *u = (struct used){b->bean_id,
                           rate_measure(&b->rate, window, now_ms).per_second,
                           b->tokens.tokens,
                           mean_pause(b, now_ms),
                           b->user_len,
                           b->key_len - LENGTH_ROOM - b->user_len,
                           ""};
        ensure(u->user_len + u->id_len <= sizeof(u->text));
        memcpy(u->text, b->key + LENGTH_ROOM, b->key_len - LENGTH_ROOM);
    }
    lock_release(&t->lock);
    return list;
}

/* Names are as znodes have them, where what is not plain is written with %. */
static void yield_used(struct bean_walk *w, enum quota_type type, const char *name, const struct used *u)
{
    static const char *const rates[] = {"byte-rate", "byte-rate", "request-time", "mutation-rate"};
    struct arena a = {0};
    struct str user = {u->text, (int32_t)u->user_len}, id = {u->text + u->user_len, (int32_t)u->id_len};
    struct bean_attribute values[] = {{rates[type], "double", bean_double(u->rate)},
                                      {"throttle-time", "double", bean_double(u->pause_ms)},
                                      {"tokens", "double", bean_double(u->tokens)}};
    struct bean_name bean = {"kafka.server", name, NULL, {{0}}};
    int tags = 0;
    if (user.len > 0)
        bean.tags[tags++] = (struct bean_tag){"user", str_of(entity_name_encode(&a, user))};
    if (id.len > 0)
        bean.tags[tags++] = (struct bean_tag){"client-id", str_of(entity_name_encode(&a, id))};
    yield_client(w, u->id, &bean, &(struct bean_attributes){values, type == QUOTA_MUTATION ? 3 : 2});
    arena_deinit(&a);
}

/* What is told of a type as a whole. */
static void yield_whole(struct quotas *q, struct bean_walk *w, enum quota_type type, const char *name)
{
    static const double percent_of_us = 1e-4; /* a second in a second is 100 */
    struct bean_name bean = {"kafka.server", name, NULL, {{0}}};
    struct bean_attribute values[2];
    struct window_values exempt;
    int n = 0;
    window_read(&q->exempt, &exempt);
    if (type == QUOTA_REQUEST)
        values[n++] =
            (struct bean_attribute){"exempt-request-time", "double", bean_double(exempt.per_second * percent_of_us)};
    values[n++] = (struct bean_attribute){"queue-size", "double", bean_double(atomic_load(&q->tables[type].pausing))};
    yield_client(w, q->bean_ids + type, &bean, &(struct bean_attributes){values, n});
}

static void quotas_visit(void *ctx, struct bean_walk *w)
{
    static const char *const names[] = {"Produce", "Fetch", "Request", "ControllerMutation"};
    struct quotas *q = ctx;
    for (int t = 0; t < QUOTA_TYPES; t++) {
        size_t count;
        if (!walk_wants(w, "kafka.server", names[t]))
            continue;
        yield_whole(q, w, (enum quota_type)t, names[t]);
        struct used *list = quotas_copy_used(q, (enum quota_type)t, &count);
        for (size_t i = 0; i < count && !walk_is_over(w); i++)
            yield_used(w, (enum quota_type)t, names[t], &list[i]);
        free(list);
    }
}

void quotas_count(struct quotas *q, struct metrics *m)
{
    q->metrics = m;
    q->bean_ids = metrics_ids(m, QUOTA_TYPES);
    window_init(&q->exempt, m);
    q->source = (struct bean_source){.visit = quotas_visit, .ctx = q};
    metrics_add_source(m, &q->source);
}

/* ---- Life ---- */

static void quota_table_init(struct quota_table *t, struct rate_window window)
{
    ensure(window.samples >= 1 && window.sample_ms >= 1);
    lock_init(&t->lock, RANK_QUOTAS);
    t->window = window;
    limit_scope_init(&t->others, STR_NULL);
    limit_scope_init(&t->anybody, STR_NULL);
}

static void quota_table_deinit(struct quota_table *t)
{
    struct limit_scope *s, *tmp;
    HASH_ITER (hh, t->users, s, tmp) {
        HASH_DEL(t->users, s);
        limit_scope_clear(s);
        free(s);
    }
    limit_scope_clear(&t->others);
    limit_scope_clear(&t->anybody);
    for (int i = 0; i < BUCKET_LISTS; i++)
        while (t->lists[i].first != NULL)
            bucket_free(t, t->lists[i].first);
    ensure(t->buckets == NULL); /* each was in one list */
    lock_deinit(&t->lock);
}

struct quotas *quotas_new(struct rate_window others, struct rate_window mutations)
{
    struct quotas *q = xcalloc(1, sizeof(*q));
    for (int t = 0; t < QUOTA_TYPES; t++)
        quota_table_init(&q->tables[t], t == QUOTA_MUTATION ? mutations : others);
    return q;
}

void quotas_free(struct quotas *q)
{
    if (q == NULL)
        return;
    if (q->metrics != NULL)
        metrics_remove_source(q->metrics, &q->source);
    window_deinit(&q->exempt);
    for (int t = 0; t < QUOTA_TYPES; t++)
        quota_table_deinit(&q->tables[t]);
    free(q);
}
