/* The topics' own settings: read at start, then as /config/changes says. */
#include <inttypes.h>
#include <pthread.h>
#include <uthash.h>

#include "base/logger.h"
#include "cluster/member.h"

struct topic_entry {
    char *topic;
    struct arena memory;
    struct config_znode own;
    UT_hash_handle hh;
};

struct topic_configs {
    const struct broker_config *defaults;
    pthread_mutex_t lock;
    struct topic_entry *table;
};

struct topic_configs *topic_configs_new(const struct broker_config *defaults)
{
    struct topic_configs *t = xcalloc(1, sizeof(*t));
    t->defaults = defaults;
    pthread_mutex_init(&t->lock, NULL);
    return t;
}

static void entry_free(struct topic_entry *e)
{
    arena_deinit(&e->memory);
    free(e->topic);
    free(e);
}

void topic_configs_free(struct topic_configs *t)
{
    struct topic_entry *e, *tmp;
    if (t == NULL)
        return;
    HASH_ITER (hh, t->table, e, tmp) {
        HASH_DEL(t->table, e);
        entry_free(e);
    }
    pthread_mutex_destroy(&t->lock);
    free(t);
}

static struct config_znode copy_own(struct arena *a, const struct config_znode *from)
{
    struct config_znode to = {ARENA_ARRAY(a, struct config_pair, MAX(from->count, 1)), from->count};
    for (int32_t i = 0; i < from->count; i++)
        to.entries[i] = (struct config_pair){arena_cstr(a, str_of(from->entries[i].key)),
                                             arena_cstr(a, str_of(from->entries[i].value))};
    return to;
}

/* Replaces what is known of the topic; no keys: forgets it. */
static void set_own(struct topic_configs *t, const char *topic, const struct config_znode *own)
{
    struct topic_entry *e;
    pthread_mutex_lock(&t->lock);
    HASH_FIND_STR(t->table, topic, e);
    if (e != NULL) {
        HASH_DEL(t->table, e);
        entry_free(e);
    }
    if (own->count > 0) {
        e = xcalloc(1, sizeof(*e));
        e->topic = xstrdup(topic);
        e->own = copy_own(&e->memory, own);
        HASH_ADD_KEYPTR(hh, t->table, e->topic, strlen(e->topic), e);
    }
    pthread_mutex_unlock(&t->lock);
}

struct config_znode topic_configs_own(struct topic_configs *t, struct arena *a, struct str topic)
{
    struct config_znode own = {0};
    struct topic_entry *e;
    pthread_mutex_lock(&t->lock);
    HASH_FIND(hh, t->table, topic.p, (size_t)topic.len, e);
    if (e != NULL)
        own = copy_own(a, &e->own);
    pthread_mutex_unlock(&t->lock);
    return own;
}

void topic_configs_get(struct topic_configs *t, const char *topic, struct topic_config *out)
{
    struct arena a = {0};
    struct fail fail;
    struct config_znode own = topic_configs_own(t, &a, str_of(topic));
    if (!topic_config_load(t->defaults, own.entries, (size_t)own.count, out, &fail))
        log_warn("Topic %s: %s", topic, fail.text);
    arena_deinit(&a);
}

/* ---- Following ZooKeeper ---- */

struct config_watch {
    struct config_watch_options options;
    int64_t last_change; /* sequence number of the newest notification that was worked on */
    bool busy, again, loaded;
};

static void take_config(struct config_watch *w, struct zk_batch *b, const struct zk_op *op)
{
    const char *topic = strrchr(op->path, '/') + 1;
    struct config_znode own = {0};
    if (op->result != ZK_OK && op->result != ZK_NO_NODE)
        return;
    if (op->result == ZK_OK && !config_decode(&b->arena, op->path, op->value, &own))
        return;
    set_own(w->options.configs, topic, &own);
    if (w->loaded)
        w->options.changed(w->options.ctx, topic);
}

static int64_t sequence_of(struct str name)
{
    static const char prefix[] = "config_change_";
    size_t n = sizeof(prefix) - 1;
    if ((size_t)name.len <= n || memcmp(name.p, prefix, n) != 0)
        return -1;
    return strtoll(name.p + n, NULL, 10);
}

static void scan(struct config_watch *w);

static void idle(struct config_watch *w)
{
    w->busy = false;
    if (!w->loaded) {
        w->loaded = true;
        w->options.loaded(w->options.ctx);
    }
    if (w->again) {
        w->again = false;
        scan(w);
    }
}

static void on_configs(struct zk_batch *b)
{
    struct config_watch *w = b->ctx;
    for (size_t i = 0; i < b->count; i++)
        take_config(w, b, &b->ops[i]);
    zk_batch_free(b);
    idle(w);
}

static void submit_or_idle(struct config_watch *w, struct zk_batch *b)
{
    b->ctx = w;
    if (b->count > 0) {
        zk_submit(w->options.zk, b);
        return;
    }
    zk_batch_free(b);
    idle(w);
}

static void on_notifications(struct zk_batch *b)
{
    struct config_watch *w = b->ctx;
    struct zk_batch *reads = zk_batch_new(on_configs);
    char path[ZNODE_PATH_ROOM];
    for (size_t i = 0; i < b->count; i++) {
        const char *entity;
        if (b->ops[i].result != ZK_OK || !config_change_decode(&b->arena, b->ops[i].value, &entity))
            continue;
        if (strncmp(entity, "topics/", 7) == 0 && strlen(entity) < 260)
            zk_get(reads, config_path(path, "topics", entity + 7), false);
    }
    zk_batch_free(b);
    submit_or_idle(w, reads);
}

static void on_changes(struct zk_batch *b)
{
    struct config_watch *w = b->ctx;
    struct zk_op *list = &b->ops[0];
    struct zk_batch *reads = zk_batch_new(on_notifications);
    int64_t newest = w->last_change;
    for (int32_t i = 0; list->result == ZK_OK && i < list->child_count; i++) {
        int64_t sequence = sequence_of(list->children[i]);
        if (sequence <= w->last_change)
            continue;
        newest = MAX(newest, sequence);
        zk_get(reads, arena_printf(&reads->arena, ZNODE_CONFIG_CHANGES "/%.*s", STR_ARGS(list->children[i])).p, false);
    }
    w->last_change = newest;
    zk_batch_free(b);
    submit_or_idle(w, reads);
}

static void scan(struct config_watch *w)
{
    if (w->busy) {
        w->again = true;
        return;
    }
    w->busy = true;
    struct zk_batch *b = zk_batch_new(on_changes);
    b->ctx = w;
    zk_children(b, ZNODE_CONFIG_CHANGES, true);
    zk_submit(w->options.zk, b);
}

static void on_all_topics(struct zk_batch *b)
{
    struct config_watch *w = b->ctx;
    struct zk_op *list = &b->ops[0], *changes = &b->ops[1];
    struct zk_batch *reads = zk_batch_new(on_configs);
    char path[ZNODE_PATH_ROOM];
    for (int32_t i = 0; changes->result == ZK_OK && i < changes->child_count; i++)
        w->last_change = MAX(w->last_change, sequence_of(changes->children[i]));
    for (int32_t i = 0; list->result == ZK_OK && i < list->child_count; i++)
        if (list->children[i].len <= 249)
            zk_get(reads, config_path(path, "topics", arena_cstr(&reads->arena, list->children[i])), false);
    zk_batch_free(b);
    submit_or_idle(w, reads);
}

struct refresh {
    struct config_watch *watch;
    struct loop *home;
    struct message *ready;
};

static void on_refreshed(struct zk_batch *b)
{
    struct refresh *r = b->ctx;
    for (size_t i = 0; i < b->count; i++)
        take_config(r->watch, b, &b->ops[i]);
    loop_post(r->home, r->ready);
    zk_batch_free(b);
    free(r);
}

void config_watch_refresh(struct config_watch *w, const struct str *topics, int32_t count, struct loop *home,
                          struct message *ready)
{
    struct zk_batch *b = zk_batch_new(on_refreshed);
    char path[ZNODE_PATH_ROOM];
    struct refresh *r = xcalloc(1, sizeof(*r));
    *r = (struct refresh){w, home, ready};
    b->ctx = r;
    for (int32_t i = 0; i < count; i++)
        if (topics[i].len <= 249)
            zk_get(b, config_path(path, "topics", arena_cstr(&b->arena, topics[i])), false);
    if (b->count > 0) {
        zk_submit(w->options.zk, b);
        return;
    }
    loop_post(home, ready);
    zk_batch_free(b);
    free(r);
}

struct config_watch *config_watch_new(const struct config_watch_options *options)
{
    struct config_watch *w = xcalloc(1, sizeof(*w));
    w->options = *options;
    w->last_change = -1;
    return w;
}

/* The notifications that are there are covered by reading everything; the watch is set with the list of them. */
void config_watch_start(struct config_watch *w)
{
    struct zk_batch *b = zk_batch_new(on_all_topics);
    b->ctx = w;
    w->busy = true;
    zk_children(b, ZNODE_CONFIG_TOPICS, false);
    zk_children(b, ZNODE_CONFIG_CHANGES, true);
    zk_submit(w->options.zk, b);
}

void config_watch_changed(struct config_watch *w)
{
    scan(w);
}

void config_watch_free(struct config_watch *w)
{
    free(w);
}
