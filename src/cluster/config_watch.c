/*
 * What is set at run time, for topics, this broker, users, clients and addresses: read at start, then as
 * /config/changes says.
 *
 * With each session everything is read, after the folder of notifications was listed with a watch: what changes in
 * between is notified, and read again. Of users, clients, addresses and topics whose settings have gone while there was
 * no session nobody tells; each reading of everything is a round, and whom the last round has not met is forgotten,
 * unless some answer was missing. Of topics that are deleted nobody tells either: their settings go as the view loses
 * them (server/update_metadata.c).
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/hash.h"
#include "base/lock.h"
#include "base/logger.h"
#include "cluster/config_watch.h"
#include "cluster/notices.h"

/* Of one of its keys, and of one broker: each of its partitions asks. */
struct throttled_list {
    const char *key; /* NULL: there is none */
    int32_t broker;
    struct throttled_replicas replicas;
};

struct topic_entry {
    char *topic;
    struct arena memory;
    struct config_znode own;
    struct throttled_list throttled[2]; /* as leader and as follower, when somebody has asked */
    int64_t round;                      /* in which it was read last */
    UT_hash_handle hh;
};

struct topic_configs {
    struct broker_settings *settings;
    struct lock lock;
    struct topic_entry *table;
    int64_t round;
};

struct topic_configs *topic_configs_new(struct broker_settings *settings)
{
    struct topic_configs *t = xcalloc(1, sizeof(*t));
    t->settings = settings;
    lock_init(&t->lock, RANK_TOPIC_CONFIGS);
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
    lock_deinit(&t->lock);
    free(t);
}

/* No keys: forgets it. */
bool topic_configs_take(struct topic_configs *t, const char *topic, const struct config_znode *own)
{
    static const struct config_znode nothing;
    struct topic_entry *e;
    lock_take(&t->lock);
    HASH_FIND_STR(t->table, topic, e);
    bool different = !config_is_same(e != NULL ? &e->own : &nothing, own);
    if (e != NULL && different) {
        HASH_DEL(t->table, e);
        entry_free(e);
        e = NULL;
    }
    if (e == NULL && own->count > 0) {
        e = xcalloc(1, sizeof(*e));
        e->topic = xstrdup(topic);
        e->own = config_copy(&e->memory, own);
        HASH_ADD_KEYPTR(hh, t->table, e->topic, strlen(e->topic), e);
    }
    if (e != NULL)
        e->round = t->round;
    lock_release(&t->lock);
    return different;
}

struct config_znode topic_configs_own(struct topic_configs *t, struct arena *a, struct str topic)
{
    struct config_znode own = {0};
    struct topic_entry *e;
    lock_take(&t->lock);
    HASH_FIND(hh, t->table, topic.p, (size_t)topic.len, e);
    if (e != NULL)
        own = config_copy(a, &e->own);
    lock_release(&t->lock);
    return own;
}

void topic_configs_get(struct topic_configs *t, const char *topic, struct topic_config *out)
{
    struct arena a = {0};
    struct fail fail;
    struct config_znode own = topic_configs_own(t, &a, str_of(topic));
    const struct broker_config *defaults = broker_settings_hold(t->settings);
    if (!topic_config_load(defaults, own.entries, (size_t)own.count, out, &fail))
        log_warn("Topic %s: %s", topic, fail.text);
    broker_settings_release(defaults);
    arena_deinit(&a);
}

static const struct throttled_replicas *topic_throttled(struct topic_entry *e, const struct config_pair *pair,
                                                        int32_t broker)
{
    struct throttled_list *list = e->throttled;
    if (list->key != NULL && list->key != pair->key)
        list++;
    if (list->key != pair->key || list->broker != broker)
        *list = (struct throttled_list){pair->key, broker, throttled_replicas_of(pair->value, broker, &e->memory)};
    return &list->replicas;
}

bool topic_configs_throttle(struct topic_configs *t, const char *topic, const char *key, int32_t partition,
                            int32_t broker)
{
    bool found = false;
    struct topic_entry *e;
    lock_take(&t->lock);
    HASH_FIND_STR(t->table, topic, e);
    const struct config_pair *pair = e != NULL ? config_find(&e->own, key) : NULL;
    if (pair != NULL)
        found = throttled_replicas_include(topic_throttled(e, pair, broker), partition);
    lock_release(&t->lock);
    return found;
}

/* ---- Rounds, in each of which everything is read ---- */

static void topic_configs_keep(struct topic_configs *t, const char *topic)
{
    struct topic_entry *e;
    lock_take(&t->lock);
    HASH_FIND_STR(t->table, topic, e);
    if (e != NULL)
        e->round = t->round;
    lock_release(&t->lock);
}

static void topic_configs_begin_round(struct topic_configs *t)
{
    lock_take(&t->lock);
    t->round++;
    lock_release(&t->lock);
}

/* Whom this round has not met is not there any more. Their names are on the heap, as is their list. */
static char **topic_configs_take_unmet(struct topic_configs *t, size_t *count)
{
    struct topic_entry *e, *tmp;
    lock_take(&t->lock);
    char **names = xcalloc(HASH_COUNT(t->table) + 1, sizeof(*names));
    *count = 0;
    HASH_ITER (hh, t->table, e, tmp) {
        if (e->round == t->round)
            continue;
        names[(*count)++] = xstrdup(e->topic);
        HASH_DEL(t->table, e);
        entry_free(e);
    }
    lock_release(&t->lock);
    return names;
}

/* ---- Following ZooKeeper ---- */

/* A user, a client or an address that has settings. */
struct told_entity {
    char *path;    /* below /config */
    int64_t round; /* in which it was read last */
    UT_hash_handle hh;
};

struct config_watch {
    struct config_watch_options options;
    struct told_entity *entities;
    int64_t round; /* how often everything was read */
    bool reading_all, incomplete;
    int32_t broker_id;
    struct notices *notices;
    bool loaded;
    bool refused; /* at start, `why` */
    struct fail why;
};

static struct log_limit unread;

/* ---- Users, clients and addresses that have gone while nobody told of it ---- */

static bool begins(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

static void told_entity_free(struct config_watch *w, struct told_entity *e)
{
    HASH_DEL(w->entities, e);
    free(e->path);
    free(e);
}

static void take_entity(struct config_watch *w, const char *path, const struct config_znode *pairs)
{
    struct told_entity *e;
    HASH_FIND_STR(w->entities, path, e);
    if (e == NULL && pairs->count > 0) {
        e = xcalloc(1, sizeof(*e));
        e->path = xstrdup(path);
        HASH_ADD_KEYPTR(hh, w->entities, e->path, strlen(e->path), e);
    } else if (e != NULL && pairs->count == 0) {
        told_entity_free(w, e);
        e = NULL;
    }
    if (e != NULL)
        e->round = w->round;
    w->options.entity_changed(w->options.ctx, path, pairs);
}

/* It is there, though it cannot be read: what it was stays. */
static void keep_entity(struct config_watch *w, const char *path)
{
    struct told_entity *e;
    if (begins(path, "topics/"))
        topic_configs_keep(w->options.configs, path + strlen("topics/"));
    HASH_FIND_STR(w->entities, path, e);
    if (e != NULL)
        e->round = w->round;
}

/* After everything was read anew: while there was no session, nobody was told of what has gone. */
static void forget_entities(struct config_watch *w)
{
    static const struct config_znode nothing;
    struct told_entity *e, *tmp;
    HASH_ITER (hh, w->entities, e, tmp) {
        if (e->round == w->round)
            continue;
        w->options.entity_changed(w->options.ctx, e->path, &nothing);
        told_entity_free(w, e);
    }
}

/* ---- What is read ---- */

/* Before 3.0 it counts for Apache's brokers, which take what is there for what it says. */
static void config_watch_warn_of_format(struct config_watch *w, const char *topic, const struct config_znode *own)
{
    struct topic_config config;
    if (config_find(own, "message.format.version") == NULL)
        return;
    topic_configs_get(w->options.configs, topic, &config);
    if (ibp_magic(config.message_format_version) < 2)
        log_warn("Topic %s has message.format.version=%s, and is written in the format of 0.11 and later all the same: "
                 "where brokers of Apache Kafka lead it, consumers from before 0.11 cannot read that, and this broker "
                 "cannot replicate it from them. Delete the setting, or set 0.11.0 or later",
                 topic, ibp_name(config.message_format_version));
}

/*
 * `told`: that they have changed, which counts although they are known: who else reads them tells nobody. Otherwise
 * they were only looked at.
 */
static void config_watch_take_topic(struct config_watch *w, const char *topic, const struct config_znode *own,
                                    bool told)
{
    if (!topic_configs_take(w->options.configs, topic, own) && !told)
        return;
    config_watch_warn_of_format(w, topic, own);
    if (w->loaded)
        w->options.changed(w->options.ctx, topic);
}

/* As forget_entities(). */
static void forget_topics(struct config_watch *w)
{
    size_t count;
    char **topics = topic_configs_take_unmet(w->options.configs, &count);
    for (size_t i = 0; i < count; i++) {
        if (w->loaded)
            w->options.changed(w->options.ctx, topics[i]);
        free(topics[i]);
    }
    free(topics);
}

static void config_watch_take_broker(struct config_watch *w, const char *broker, const struct config_znode *pairs)
{
    bool for_all = strcmp(broker, CONFIG_OF_ALL_BROKERS) == 0;
    bool different = broker_settings_take(w->options.settings, for_all ? SETTINGS_OF_ALL : SETTINGS_OF_THIS, pairs);
    if (different || w->loaded) /* a file that they name may have been rewritten */
        w->options.settings_changed(w->options.ctx, different);
}

static void on_resealed(struct zk_batch *b)
{
    for (const struct zk_op *op = b->first; op != NULL; op = op->next)
        if (op->result != ZK_OK)
            log_warn("The passwords of this broker could not be stored with the new password.encoder.secret");
    zk_batch_free(b);
}

/* Once at start, as long as password.encoder.old.secret says what the old one was. */
static void reseal(struct config_watch *w, const struct zk_op *op, const char *broker, struct config_znode *pairs,
                   struct arena *a)
{
    struct config_znode sealed;
    if (w->loaded || strcmp(broker, CONFIG_OF_ALL_BROKERS) == 0 ||
        !broker_settings_reseal(w->options.settings, pairs, a, &sealed))
        return;
    struct zk_batch *b = zk_batch_new(on_resealed);
    struct str entity = arena_printf(&b->arena, "brokers/%s", broker);
    zk_set(b, op->path, config_encode(&b->arena, &sealed), op->stat.version)->with_next = true;
    config_notify(b, entity.p);
    zk_submit(w->options.zk, b);
    *pairs = sealed;
}

static void take_config(struct config_watch *w, struct zk_batch *b, const struct zk_op *op, bool told)
{
    const char *name = strrchr(op->path, '/') + 1;
    struct config_znode pairs = {0};
    bool broker = begins(op->path, ZNODE_CONFIG_BROKERS "/"), topic = begins(op->path, ZNODE_CONFIG_TOPICS "/");
    bool bare = !broker && !topic && op->value.len == 0; /* it is there for its clients */
    if (op->result != ZK_OK && op->result != ZK_NO_NODE)
        return;
    if (op->result == ZK_OK && !bare && !config_decode(&b->arena, op->path, op->value, &pairs)) {
        keep_entity(w, op->path + strlen(ZNODE_CONFIG "/"));
        return;
    }
    if (broker) {
        reseal(w, op, name, &pairs, &b->arena);
        config_watch_take_broker(w, name, &pairs);
    } else if (topic) {
        config_watch_take_topic(w, name, &pairs, told);
    } else {
        take_entity(w, op->path + strlen(ZNODE_CONFIG "/"), &pairs);
    }
}

/* ---- Users, clients, addresses ---- */

/* Names are written so that they can be part of a path: what is not is none of ours. */
static bool is_name(struct str name)
{
    for (int32_t i = 0; i < name.len; i++)
        if (!isalnum((unsigned char)name.p[i]) && memchr("._-%<>:", name.p[i], 7) == NULL)
            return false;
    return name.len > 0 && !str_is(name, ".") && !str_is(name, "..");
}

static struct str part_of(const char **rest)
{
    const char *start = *rest, *slash = strchr(start, '/');
    *rest = slash != NULL ? slash + 1 : NULL;
    return slash != NULL ? (struct str){start, (int32_t)(slash - start)} : str_of(start);
}

/* users/NAME, users/NAME/clients/NAME, clients/NAME, ips/NAME. */
static bool is_entity(const char *entity)
{
    const char *rest = entity;
    struct str kind = part_of(&rest);
    bool user = str_is(kind, "users");
    if ((!user && !str_is(kind, "clients") && !str_is(kind, "ips")) || rest == NULL || !is_name(part_of(&rest)))
        return false;
    return rest == NULL ||
           (user && str_is(part_of(&rest), "clients") && rest != NULL && is_name(part_of(&rest)) && rest == NULL);
}

/* Whatever a listing has is read next, and of users their clients are listed. */
static void read_listed(struct zk_batch *reads, const struct zk_op *list)
{
    bool users = strcmp(list->path, ZNODE_CONFIG_USERS) == 0;
    for (int32_t i = 0; list->result == ZK_OK && i < list->child_count; i++) {
        if (!is_name(list->children[i]))
            continue;
        const char *path = zk_child_path(reads, list, i);
        zk_get(reads, path, false);
        if (users)
            zk_children(reads, arena_printf(&reads->arena, "%s/clients", path).p, false);
    }
}

/* ---- What has changed ---- */

/*
 * What cannot be read is not taken for nothing: whoever begins without a quota, a limit or a retention that is set may
 * do what cannot be undone. The end of a session is told of elsewhere, and all is read in the next one.
 */
static void look_for_refusals(struct config_watch *w, const struct zk_batch *b)
{
    for (const struct zk_op *op = b->first; op != NULL; op = op->next) {
        const char *why = op->result == ZK_NO_AUTH ? ": its ACL forbids it to this broker" : "";
        if (op->result == ZK_OK || op->result == ZK_NO_NODE || op->result == ZK_SESSION_EXPIRED)
            continue;
        if (w->loaded)
            log_error_limited(&unread, "Cannot read settings, %s, in ZooKeeper%s. They stay as they were", op->path,
                              why);
        else if (!w->refused)
            fail_set(&w->why, "Cannot read settings, %s, in ZooKeeper%s", op->path, why);
        w->refused = !w->loaded;
    }
}

static void config_watch_done(struct config_watch *w)
{
    if (w->reading_all && !w->incomplete) {
        forget_entities(w);
        forget_topics(w);
    }
    w->reading_all = false;
    if (!w->loaded) {
        w->loaded = true;
        w->options.loaded(w->options.ctx, w->refused ? &w->why : NULL);
    }
    notices_done(w->notices);
}

static void submit_or_done(struct config_watch *w, struct zk_batch *b);

static void on_configs(struct zk_batch *b)
{
    struct config_watch *w = b->ctx;
    struct zk_batch *more = zk_batch_new(on_configs);
    look_for_refusals(w, b);
    for (const struct zk_op *op = b->first; op != NULL; op = op->next) {
        w->incomplete |= op->result != ZK_OK && op->result != ZK_NO_NODE;
        if (op->kind == ZK_CHILDREN)
            read_listed(more, op);
        else
            take_config(w, b, op, true);
    }
    zk_batch_free(b);
    submit_or_done(w, more);
}

static void submit_or_done(struct config_watch *w, struct zk_batch *b)
{
    b->ctx = w;
    if (b->count > 0) {
        zk_submit(w->options.zk, b);
        return;
    }
    zk_batch_free(b);
    config_watch_done(w);
}

static const char *own_entity(const struct config_watch *w, char buf[32])
{
    snprintf(buf, 32, "brokers/%" PRId32, w->broker_id);
    return buf;
}

static void config_watch_on_notices(void *ctx, struct zk_batch *b)
{
    struct config_watch *w = ctx;
    struct zk_batch *reads = zk_batch_new(on_configs);
    char path[ZNODE_PATH_ROOM], own[32];
    look_for_refusals(w, b);
    for (const struct zk_op *op = b->first; op != NULL; op = op->next) {
        const char *entity;
        if (op->result != ZK_OK || !config_change_decode(&b->arena, op->value, &entity))
            continue;
        if (strncmp(entity, "topics/", 7) == 0 && topic_name_is_legal(str_of(entity + 7)))
            zk_get(reads, config_path(path, "topics", entity + 7), false);
        else if (strcmp(entity, "brokers/" CONFIG_OF_ALL_BROKERS) == 0 || strcmp(entity, own_entity(w, own)) == 0)
            zk_get(reads, config_path(path, "brokers", entity + 8), false);
        else if (is_entity(entity))
            zk_get(reads, arena_printf(&reads->arena, ZNODE_CONFIG "/%s", entity).p, false);
    }
    zk_batch_free(b);
    submit_or_done(w, reads);
}

static void config_watch_on_all_topics(struct zk_batch *b)
{
    struct config_watch *w = b->ctx;
    const struct zk_op *list = zk_find(b, ZK_CHILDREN, ZNODE_CONFIG_TOPICS);
    struct zk_batch *reads = zk_batch_new(on_configs);
    char path[ZNODE_PATH_ROOM], own[32];
    look_for_refusals(w, b);
    w->round++;
    topic_configs_begin_round(w->options.configs);
    w->reading_all = true;
    w->incomplete = list->result != ZK_OK;
    zk_get(reads, config_path(path, "brokers", CONFIG_OF_ALL_BROKERS), false);
    zk_get(reads, config_path(path, "brokers", own_entity(w, own) + strlen("brokers/")), false);
    zk_children(reads, ZNODE_CONFIG_USERS, false);
    zk_children(reads, ZNODE_CONFIG_CLIENTS, false);
    zk_children(reads, ZNODE_CONFIG_IPS, false);
    notices_begin(w->notices, b);
    for (int32_t i = 0; list->result == ZK_OK && i < list->child_count; i++)
        if (topic_name_is_legal(list->children[i]))
            zk_get(reads, config_path(path, "topics", arena_cstr(&reads->arena, list->children[i])), false);
    zk_batch_free(b);
    submit_or_done(w, reads);
}

struct refresh {
    struct config_watch *watch;
    struct loop *home;
    struct message *ready;
};

static void on_refreshed(struct zk_batch *b)
{
    struct refresh *r = b->ctx;
    look_for_refusals(r->watch, b);
    for (const struct zk_op *op = b->first; op != NULL; op = op->next)
        take_config(r->watch, b, op, false);
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
        if (topic_name_is_legal(topics[i]))
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
    w->notices = notices_new(&(struct notices_options){.zk = options->zk,
                                                       .folder = ZNODE_CONFIG_CHANGES,
                                                       .prefix = "config_change_",
                                                       .arrived = config_watch_on_notices,
                                                       .ctx = w});
    return w;
}

/* The notifications that are there are covered by reading everything; the watch is set with the list of them. */
void config_watch_start(struct config_watch *w, int32_t broker_id)
{
    w->broker_id = broker_id;
    struct zk_batch *b = zk_batch_new(config_watch_on_all_topics);
    b->ctx = w;
    zk_children(b, ZNODE_CONFIG_TOPICS, false);
    notices_list(w->notices, b);
    zk_submit(w->options.zk, b);
}

void config_watch_changed(struct config_watch *w)
{
    notices_changed(w->notices);
}

void config_watch_written(struct config_watch *w, const char *entity, const struct config_znode *pairs)
{
    if (begins(entity, "topics/"))
        config_watch_take_topic(w, entity + strlen("topics/"), pairs, true);
    else if (begins(entity, "brokers/"))
        config_watch_take_broker(w, entity + strlen("brokers/"), pairs);
    else
        take_entity(w, entity, pairs);
}

bool config_read(struct arena *a, const struct zk_op *read, struct config_znode *out)
{
    *out = (struct config_znode){0};
    return read->result == ZK_NO_NODE || (read->result == ZK_OK && config_decode(a, read->path, read->value, out));
}

void config_notify(struct zk_batch *b, const char *entity)
{
    zk_create(b, ZNODE_CONFIG_CHANGES "/config_change_", config_change_encode(&b->arena, entity), ZK_SEQUENTIAL);
}

void config_watch_free(struct config_watch *w)
{
    if (w == NULL)
        return;
    while (w->entities != NULL)
        told_entity_free(w, w->entities);
    notices_free(w->notices);
    free(w);
}
