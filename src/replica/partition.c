#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <uthash.h>
#include <utlist.h>

#include "base/logger.h"
#include "replica/replica.h"

struct partition_key {
    int32_t index;
    char topic[252]; /* zero-filled: the whole key is hashed */
};

struct partition {
    struct partition_key key;
    atomic_int refs;
    struct replica_manager *manager;
    struct plog *log;
    pthread_mutex_t lock; /* guards all below */
    bool leads, stopped;
    int32_t leader, leader_epoch, partition_epoch, controller_epoch;
    struct int_list isr, replicas; /* heap */
    struct bed *beds;
    UT_hash_handle hh;
};

struct replica_manager {
    struct replica_options options;
    pthread_rwlock_t table_lock;
    struct partition *table;
    atomic_int controller_epoch;
};

/* ---- The table ---- */

struct replica_manager *replica_manager_new(const struct replica_options *options)
{
    struct replica_manager *rm = xcalloc(1, sizeof(*rm));
    rm->options = *options;
    pthread_rwlock_init(&rm->table_lock, NULL);
    return rm;
}

void partition_ref(struct partition *p)
{
    int before = atomic_fetch_add(&p->refs, 1);
    ensure(before > 0);
}

void partition_unref(struct partition *p)
{
    if (p == NULL || atomic_fetch_sub(&p->refs, 1) != 1)
        return;
    ensure(p->beds == NULL);
    plog_unref(p->log);
    pthread_mutex_destroy(&p->lock);
    free(p->isr.v);
    free(p->replicas.v);
    free(p);
}

void replica_manager_free(struct replica_manager *rm)
{
    struct partition *p, *tmp;
    if (rm == NULL)
        return;
    HASH_ITER (hh, rm->table, p, tmp) {
        HASH_DEL(rm->table, p);
        partition_unref(p);
    }
    pthread_rwlock_destroy(&rm->table_lock);
    free(rm);
}

static bool make_key(struct str topic, int32_t index, struct partition_key *out)
{
    if (topic.len <= 0 || topic.len >= (int32_t)sizeof(out->topic))
        return false;
    *out = (struct partition_key){.index = index};
    memcpy(out->topic, topic.p, (size_t)topic.len);
    return true;
}

struct partition *replica_partition(struct replica_manager *rm, struct str topic, int32_t index)
{
    struct partition_key key;
    struct partition *p = NULL;
    if (!make_key(topic, index, &key))
        return NULL;
    pthread_rwlock_rdlock(&rm->table_lock);
    HASH_FIND(hh, rm->table, &key, sizeof(key), p);
    if (p != NULL)
        partition_ref(p);
    pthread_rwlock_unlock(&rm->table_lock);
    return p;
}

static struct partition *add_partition(struct replica_manager *rm, const struct partition_key *key, struct plog *log)
{
    struct partition *p = xcalloc(1, sizeof(*p));
    p->key = *key;
    p->manager = rm;
    p->log = log;
    p->leader = p->leader_epoch = p->partition_epoch = -1;
    atomic_init(&p->refs, 2); /* the table's and the caller's */
    pthread_mutex_init(&p->lock, NULL);
    pthread_rwlock_wrlock(&rm->table_lock);
    HASH_ADD(hh, rm->table, key, sizeof(p->key), p);
    pthread_rwlock_unlock(&rm->table_lock);
    return p;
}

static void remove_partition(struct replica_manager *rm, struct partition *p)
{
    pthread_rwlock_wrlock(&rm->table_lock);
    HASH_DEL(rm->table, p);
    pthread_rwlock_unlock(&rm->table_lock);
    partition_unref(p);
}

const char *partition_topic(const struct partition *p)
{
    return p->key.topic;
}

int32_t partition_index(const struct partition *p)
{
    return p->key.index;
}

struct plog *partition_log(struct partition *p)
{
    return p->log;
}

struct uuid partition_topic_id(struct partition *p)
{
    return plog_topic_id(p->log);
}

/* ---- Waiting ---- */

struct wake_queue {
    struct message message;
    struct loop *loop;
    pthread_mutex_t lock;
    struct sleeper *first, **last;
    bool posted;
};

static void deliver_wakes(struct message *m)
{
    struct wake_queue *q = CONTAINER_OF(m, struct wake_queue, message);
    pthread_mutex_lock(&q->lock);
    q->posted = false;
    struct sleeper *s;
    /* One by one, as a woken sleeper may cancel others. Those that are queued meanwhile post again. */
    int budget = 0;
    for (s = q->first; s != NULL; s = s->next)
        budget++;
    while (budget-- > 0 && (s = q->first) != NULL) {
        q->first = s->next;
        if (q->first == NULL)
            q->last = &q->first;
        s->queued = false;
        pthread_mutex_unlock(&q->lock);
        s->wake(s);
        pthread_mutex_lock(&q->lock);
    }
    pthread_mutex_unlock(&q->lock);
}

struct wake_queue *wake_queue_new(struct loop *loop)
{
    struct wake_queue *q = xcalloc(1, sizeof(*q));
    q->message.deliver = deliver_wakes;
    q->loop = loop;
    q->last = &q->first;
    pthread_mutex_init(&q->lock, NULL);
    return q;
}

void wake_queue_free(struct wake_queue *q)
{
    if (q == NULL)
        return;
    pthread_mutex_destroy(&q->lock);
    free(q);
}

static void wake(struct sleeper *s)
{
    struct wake_queue *q = s->queue;
    pthread_mutex_lock(&q->lock);
    bool post = false;
    if (!s->queued) {
        s->queued = true;
        s->next = NULL;
        *q->last = s;
        q->last = &s->next;
        post = !q->posted;
        q->posted = true;
    }
    pthread_mutex_unlock(&q->lock);
    if (post)
        loop_post(q->loop, &q->message);
}

void sleeper_cancel(struct sleeper *s)
{
    struct wake_queue *q = s->queue;
    if (q == NULL)
        return;
    pthread_mutex_lock(&q->lock);
    for (struct sleeper **link = &q->first; s->queued && *link != NULL; link = &(*link)->next) {
        if (*link != s)
            continue;
        *link = s->next;
        if (*link == NULL)
            q->last = link;
        s->queued = false;
        break;
    }
    pthread_mutex_unlock(&q->lock);
}

void partition_lie_down(struct partition *p, struct bed *bed, struct sleeper *s)
{
    ensure(bed->partition == NULL);
    bed->sleeper = s;
    bed->partition = p;
    partition_ref(p);
    pthread_mutex_lock(&p->lock);
    DL_APPEND(p->beds, bed);
    pthread_mutex_unlock(&p->lock);
}

void partition_get_up(struct bed *bed)
{
    struct partition *p = bed->partition;
    if (p == NULL)
        return;
    pthread_mutex_lock(&p->lock);
    DL_DELETE(p->beds, bed);
    pthread_mutex_unlock(&p->lock);
    bed->partition = NULL;
    partition_unref(p);
}

static void wake_all(struct partition *p)
{
    struct bed *bed;
    DL_FOREACH (p->beds, bed)
        wake(bed->sleeper);
}

/* ---- Leadership ---- */

static bool move_high_watermark(struct partition *p)
{
    bool alone = p->isr.n == 1 && p->isr.v[0] == p->manager->options.broker_id;
    return p->leads && alone && plog_set_high_watermark(p->log, plog_end_offset(p->log));
}

static enum kafka_error check_order(const struct partition *p, const struct leader_order *o)
{
    struct uuid id = plog_topic_id(p->log);
    if (!uuid_is_zero(o->topic_id) && !uuid_is_zero(id) && !uuid_eq(id, o->topic_id))
        return ERR_INCONSISTENT_TOPIC_ID;
    if (o->leader_epoch <= p->leader_epoch)
        return ERR_STALE_CONTROLLER_EPOCH;
    return ERR_NONE;
}

static void take_order(struct partition *p, const struct leader_order *o)
{
    p->leader = o->leader;
    p->leader_epoch = o->leader_epoch;
    p->partition_epoch = o->partition_epoch;
    p->controller_epoch = o->controller_epoch;
    p->leads = o->leader == p->manager->options.broker_id;
    free(p->isr.v);
    free(p->replicas.v);
    p->isr = int_list_dup(o->isr);
    p->replicas = int_list_dup(o->replicas);
    if (p->leads)
        plog_assign_epoch(p->log, o->leader_epoch, plog_end_offset(p->log));
    move_high_watermark(p);
    wake_all(p);
}

static enum kafka_error find_or_open(struct replica_manager *rm, const struct leader_order *o, struct partition **out)
{
    struct partition_key key;
    struct topic_config config;
    struct plog *log;
    *out = replica_partition(rm, o->topic, o->index);
    if (*out != NULL)
        return ERR_NONE;
    if (!make_key(o->topic, o->index, &key))
        return ERR_INVALID_TOPIC_EXCEPTION;
    rm->options.topic_config(rm->options.ctx, key.topic, &config);
    enum kafka_error error = log_manager_open(rm->options.logs, key.topic, o->index, o->topic_id, &config, &log);
    if (error == ERR_NONE)
        *out = add_partition(rm, &key, log);
    return error;
}

enum kafka_error replica_apply_leader(struct replica_manager *rm, const struct leader_order *o)
{
    struct partition *p;
    if (!int_list_has(o->replicas, rm->options.broker_id))
        return ERR_UNKNOWN_TOPIC_OR_PARTITION;
    enum kafka_error error = find_or_open(rm, o, &p);
    if (error != ERR_NONE)
        return error;
    pthread_mutex_lock(&p->lock);
    bool led = p->leads;
    error = check_order(p, o);
    if (error == ERR_NONE)
        take_order(p, o);
    else if (o->leader_epoch == p->leader_epoch && error == ERR_STALE_CONTROLLER_EPOCH &&
             uuid_is_zero(plog_topic_id(p->log)) && !uuid_is_zero(o->topic_id))
        error = ERR_NONE; /* it only brings the topic's id, which opening has taken */
    bool leads = p->leads;
    pthread_mutex_unlock(&p->lock);
    if (error == ERR_NONE && leads)
        rm->options.became_leader(rm->options.ctx, p, o->leader_epoch);
    else if (error == ERR_NONE && led)
        rm->options.resigned(rm->options.ctx, p->key.topic, p->key.index);
    partition_unref(p);
    return error;
}

static void stop_partition(struct partition *p)
{
    pthread_mutex_lock(&p->lock);
    p->leads = false;
    p->stopped = true;
    p->leader = -1;
    wake_all(p);
    pthread_mutex_unlock(&p->lock);
}

/* A log without a partition: left by an earlier life of this broker. */
static enum kafka_error delete_orphan(struct replica_manager *rm, struct str topic, int32_t index)
{
    struct partition_key key;
    if (!make_key(topic, index, &key))
        return ERR_NONE;
    struct plog *log = log_manager_get(rm->options.logs, key.topic, index);
    if (log == NULL)
        return ERR_NONE;
    enum kafka_error error = log_manager_delete(rm->options.logs, log);
    plog_unref(log);
    return error;
}

enum kafka_error replica_stop(struct replica_manager *rm, struct str topic, int32_t index, int32_t leader_epoch,
                              bool delete_it)
{
    struct partition *p = replica_partition(rm, topic, index);
    if (p == NULL)
        return delete_it ? delete_orphan(rm, topic, index) : ERR_NONE;
    pthread_mutex_lock(&p->lock);
    bool fenced = leader_epoch >= 0 && leader_epoch < p->leader_epoch, led = p->leads;
    pthread_mutex_unlock(&p->lock);
    enum kafka_error error = fenced ? ERR_FENCED_LEADER_EPOCH : ERR_NONE;
    if (!fenced) {
        stop_partition(p);
        if (led)
            rm->options.resigned(rm->options.ctx, p->key.topic, p->key.index);
    }
    if (!fenced && delete_it) {
        remove_partition(rm, p);
        error = log_manager_delete(rm->options.logs, p->log);
    }
    partition_unref(p);
    return error;
}

enum kafka_error replica_check_controller(struct replica_manager *rm, int32_t controller_epoch)
{
    int seen = atomic_load(&rm->controller_epoch);
    do {
        if (controller_epoch < seen)
            return ERR_STALE_CONTROLLER_EPOCH;
    } while (!atomic_compare_exchange_weak(&rm->controller_epoch, &seen, controller_epoch));
    return ERR_NONE;
}

/* ---- Appending ---- */

static bool enough_in_sync(struct partition *p)
{
    struct topic_config config = plog_config(p->log);
    return p->isr.n >= MIN(config.min_insync_replicas, p->replicas.n);
}

enum kafka_error partition_append(struct partition *p, const struct prepared *records, int16_t acks,
                                  struct append_result *out)
{
    enum kafka_error error = ERR_NONE;
    *out = (struct append_result){.first_offset = -1, .last_offset = -1, .log_start_offset = -1};
    pthread_mutex_lock(&p->lock);
    if (!p->leads)
        error = ERR_NOT_LEADER_OR_FOLLOWER;
    else if (acks == -1 && !enough_in_sync(p))
        error = ERR_NOT_ENOUGH_REPLICAS;
    else
        error = plog_append_leader(p->log, records, p->leader_epoch, out);
    if (error == ERR_NONE && !out->duplicate) {
        move_high_watermark(p);
        wake_all(p);
    }
    pthread_mutex_unlock(&p->lock);
    return error;
}

enum kafka_error partition_check_committed(struct partition *p, int32_t leader_epoch, int64_t offset)
{
    enum kafka_error error = ERR_REQUEST_TIMED_OUT;
    pthread_mutex_lock(&p->lock);
    if (!p->leads || p->leader_epoch != leader_epoch)
        error = ERR_NOT_LEADER_OR_FOLLOWER;
    else if (plog_high_watermark(p->log) > offset)
        error = enough_in_sync(p) ? ERR_NONE : ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND;
    pthread_mutex_unlock(&p->lock);
    return error;
}

/* ---- Reading ---- */

static enum kafka_error check_leader_locked(const struct partition *p, int32_t current_leader_epoch)
{
    if (current_leader_epoch >= 0 && current_leader_epoch < p->leader_epoch)
        return ERR_FENCED_LEADER_EPOCH;
    if (current_leader_epoch > p->leader_epoch)
        return ERR_UNKNOWN_LEADER_EPOCH;
    return p->leads ? ERR_NONE : ERR_NOT_LEADER_OR_FOLLOWER;
}

enum kafka_error partition_check_leader(struct partition *p, int32_t current_leader_epoch)
{
    pthread_mutex_lock(&p->lock);
    enum kafka_error error = check_leader_locked(p, current_leader_epoch);
    pthread_mutex_unlock(&p->lock);
    return error;
}

int32_t partition_leader_epoch(struct partition *p)
{
    pthread_mutex_lock(&p->lock);
    int32_t epoch = p->leader_epoch;
    pthread_mutex_unlock(&p->lock);
    return epoch;
}

int64_t partition_readable_end(struct partition *p, enum isolation isolation, int32_t replica_id)
{
    if (replica_id >= 0)
        return plog_end_offset(p->log);
    return isolation == READ_COMMITTED ? plog_last_stable_offset(p->log) : plog_high_watermark(p->log);
}

enum kafka_error partition_fetch(struct partition *p, const struct partition_read *read, struct partition_data *out)
{
    *out = (struct partition_data){.high_watermark = -1, .last_stable_offset = -1, .log_start_offset = -1};
    enum kafka_error error = partition_check_leader(p, read->current_leader_epoch);
    if (error != ERR_NONE)
        return error;
    out->high_watermark = plog_high_watermark(p->log);
    out->last_stable_offset = plog_last_stable_offset(p->log);
    out->log_start_offset = plog_start_offset(p->log);
    int64_t upper = partition_readable_end(p, read->isolation, read->replica_id);
    return plog_read(p->log, read->offset, read->max_bytes, read->at_least_one, upper, read->may_block, &out->slice);
}
