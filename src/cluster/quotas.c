/*
 * One table for each type, with a lock of its own. Limits are a tree: users with their clients, those of all other
 * users, and those of clients whoever their user is. What was used lies in buckets, the longest unused first, which are
 * dropped when they are as good as new.
 */
#include "cluster/quotas.h"

#include <math.h>
#include <uthash.h>
#include <utlist.h>

#include "base/lock.h"
#include "base/logger.h"

/*
 * Clients choose their ids: so many buckets are kept at most, in whose names so much of each part counts. Who is
 * dropped early begins anew.
 */
enum { MOST_BUCKETS = 100000, BUCKET_NAME_PART = 256, LENGTH_ROOM = 4, TOKENS_KEPT_MS = 3600 * 1000 };

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

struct bucket {
    struct rate rate;
    struct token_bucket tokens; /* instead, of mutations */
    int64_t used_ms;
    struct bucket *prev, *next;
    UT_hash_handle hh;
    uint32_t key_len;
    char key[];
};

struct quota_table {
    struct lock lock; /* guards what follows, but for the count */
    struct rate_window window;
    int64_t keep_ms;
    struct limit_scope *users, others, anybody;
    struct bucket *buckets, *by_use;
    atomic_int limits; /* that are set */
};

struct quotas {
    struct quota_table tables[QUOTA_TYPES];
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
    atomic_fetch_add(&t->limits, scope_count(s) - before);
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
        double value = -1;
        for (int32_t i = 0; i < pairs->count; i++)
            if (strcmp(pairs->entries[i].key, key) == 0)
                value = limit_parse(entity, key, pairs->entries[i].value);
        quota_table_set(&q->tables[t], names, value);
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

static void bucket_free(struct quota_table *t, struct bucket *b)
{
    HASH_DEL(t->buckets, b);
    DL_DELETE(t->by_use, b);
    rate_deinit(&b->rate);
    free(b);
}

static void drop_old_buckets(struct quota_table *t, int64_t now_ms)
{
    while (t->by_use != NULL && (now_ms - t->by_use->used_ms > t->keep_ms || HASH_COUNT(t->buckets) > MOST_BUCKETS))
        bucket_free(t, t->by_use);
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
    if (b == NULL) {
        b = xcalloc(1, sizeof(*b) + len);
        b->key_len = len;
        memcpy(b->key, key, len);
        HASH_ADD_KEYPTR(hh, t->buckets, b->key, len, b);
        DL_APPEND(t->by_use, b);
    } else if (b->next != NULL) {
        DL_DELETE(t->by_use, b);
        DL_APPEND(t->by_use, b);
    }
    b->used_ms = now_ms;
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
    struct rate_measure m = rate_measure(&b->rate, &t->window, now_ms), before = m;
    before.per_second -= amount / ((double)m.over_ms / 1000);
    struct quota_verdict v = {.wait_ms = rate_excess_ms(m, limit)};
    v.always = v.wait_ms > 0 && amount > most_in_window(t, limit) && before.per_second <= limit;
    return v;
}

struct quota_verdict quotas_charge(struct quotas *q, enum quota_type type, struct quota_client who, double amount,
                                   int64_t now_ms)
{
    struct quota_table *t = &q->tables[type];
    struct quota_verdict v = {0};
    ensure(type != QUOTA_MUTATION);
    lock_take(&t->lock);
    struct found_limit l = find_limit(t, who);
    if (l.value >= 0)
        v = bucket_charge(t, bucket_for(t, &l, now_ms), l.value, amount, now_ms);
    lock_release(&t->lock);
    return v;
}

void quotas_refund(struct quotas *q, enum quota_type type, struct quota_client who, double amount, int64_t now_ms)
{
    struct quota_table *t = &q->tables[type];
    ensure(type != QUOTA_MUTATION);
    lock_take(&t->lock);
    struct found_limit l = find_limit(t, who);
    if (l.value >= 0)
        rate_record(&bucket_for(t, &l, now_ms)->rate, &t->window, -amount, now_ms);
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
    if (!refused)
        token_bucket_take(&b->tokens, partitions);
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

/* ---- Life ---- */

static void quota_table_init(struct quota_table *t, enum quota_type type, struct rate_window window)
{
    ensure(window.samples >= 1 && window.sample_ms >= 1);
    lock_init(&t->lock, RANK_QUOTAS);
    t->window = window;
    t->keep_ms = type == QUOTA_MUTATION ? TOKENS_KEPT_MS : rate_window_ms(&window);
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
    while (t->by_use != NULL)
        bucket_free(t, t->by_use);
    lock_deinit(&t->lock);
}

struct quotas *quotas_new(struct rate_window others, struct rate_window mutations)
{
    struct quotas *q = xcalloc(1, sizeof(*q));
    for (int t = 0; t < QUOTA_TYPES; t++)
        quota_table_init(&q->tables[t], (enum quota_type)t, t == QUOTA_MUTATION ? mutations : others);
    return q;
}

void quotas_free(struct quotas *q)
{
    if (q == NULL)
        return;
    for (int t = 0; t < QUOTA_TYPES; t++)
        quota_table_deinit(&q->tables[t]);
    free(q);
}
