/*
 * The table of partitions, and what the controller's orders make of one.
 *
 * An order is applied under the partition's lock if its leader epoch is not older than the one known (LeaderAndIsr) or
 * than the one that ended it (StopReplica). Becoming leader begins an epoch in the log at its end, and forgets what
 * was known of followers; becoming follower lets go of all who wait. Then role_changed() tells whoever follows roles,
 * who asks partition_role() for the truth at that moment.
 *
 * What opens or creates a log blocks, so orders are carried out by the order worker, one after the other. A partition
 * whose log directory has failed is replaced in the table by an entry that answers KAFKA_STORAGE_ERROR.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/logger.h"
#include "replica/replica_internal.h"

enum { ANY_EPOCH = -1 };

/* ---- The table ---- */

struct replica_manager *replica_manager_new(const struct replica_options *options)
{
    struct replica_manager *rm = xcalloc(1, sizeof(*rm));
    rm->options = *options;
    shared_lock_init(&rm->table_lock, RANK_REPLICA_TABLE);
    const struct broker_config *c = options->config;
    throttle_init(&rm->leader_throttle, c->replication_quota_window_num, c->replication_quota_window_size_seconds);
    throttle_init(&rm->follower_throttle, c->replication_quota_window_num, c->replication_quota_window_size_seconds);
    throttle_init(&rm->move_throttle, c->alter_log_dirs_replication_quota_window_num,
                  c->alter_log_dirs_replication_quota_window_size_seconds);
    lock_init(&rm->move_orders, RANK_MOVE_ORDERS);
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
    ensure(p->waiters == NULL);
    plog_unref(p->log);
    plog_unref(p->future);
    for (int32_t i = 0; i < p->retired_count; i++)
        plog_unref(p->retired[i]);
    free(p->retired);
    lock_deinit(&p->lock);
    free(p->isr.v);
    free(p->replicas.v);
    free(p->wanted_isr.v);
    followers_free(p);
    free(p);
}

void replica_shrink_isrs(struct replica_manager *rm, int64_t now)
{
    struct partition *p, *tmp;
    shared_lock_read(&rm->table_lock);
    HASH_ITER (hh, rm->table, p, tmp)
        partition_shrink_isr(p, now);
    shared_lock_release(&rm->table_lock);
}

void replica_grow_isrs(struct replica_manager *rm)
{
    if (atomic_exchange(&rm->growth_wanted, false))
        atomic_fetch_add(&rm->growth_round, 1);
}

int64_t replica_growth_round(struct replica_manager *rm)
{
    return atomic_load(&rm->growth_round);
}

static void forget_offline(struct replica_manager *rm)
{
    struct offline_replica *o, *tmp;
    HASH_ITER (hh, rm->offline, o, tmp) {
        HASH_DEL(rm->offline, o);
        free(o);
    }
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
    forget_offline(rm);
    throttle_deinit(&rm->leader_throttle);
    throttle_deinit(&rm->follower_throttle);
    throttle_deinit(&rm->move_throttle);
    lock_deinit(&rm->move_orders);
    shared_lock_deinit(&rm->table_lock);
    free(rm);
}

struct partition *replica_partition(struct replica_manager *rm, struct str topic, int32_t index)
{
    struct topic_key key;
    struct partition *p = NULL;
    if (!topic_key_make(topic, index, &key))
        return NULL;
    shared_lock_read(&rm->table_lock);
    HASH_FIND(hh, rm->table, &key, sizeof(key), p);
    if (p != NULL)
        partition_ref(p);
    shared_lock_release(&rm->table_lock);
    return p;
}

bool replica_is_offline(struct replica_manager *rm, struct str topic, int32_t index)
{
    struct topic_key key;
    struct offline_replica *o = NULL;
    if (!topic_key_make(topic, index, &key))
        return false;
    shared_lock_read(&rm->table_lock);
    HASH_FIND(hh, rm->offline, &key, sizeof(key), o);
    shared_lock_release(&rm->table_lock);
    return o != NULL;
}

/* ---- Throttles ---- */

static void look_at_throttles(struct partition *p)
{
    const struct replica_options *o = &p->manager->options;
    atomic_store(&p->leader_throttled, o->throttled(o->ctx, p->key.topic, p->key.index, true));
    atomic_store(&p->follower_throttled, o->throttled(o->ctx, p->key.topic, p->key.index, false));
}

void replica_topic_configured(struct replica_manager *rm, const char *topic)
{
    struct partition *p, *tmp;
    shared_lock_read(&rm->table_lock);
    HASH_ITER (hh, rm->table, p, tmp)
        if (strcmp(p->key.topic, topic) == 0)
            look_at_throttles(p);
    shared_lock_release(&rm->table_lock);
}

void replica_set_throttles(struct replica_manager *rm, int64_t leader_rate, int64_t follower_rate, int64_t move_rate)
{
    throttle_set_limit(&rm->move_throttle, move_rate);
    throttle_set_limit(&rm->leader_throttle, leader_rate);
    throttle_set_limit(&rm->follower_throttle, follower_rate);
}

bool partition_holds_back(struct partition *p, int32_t replica, int64_t now)
{
    if (!atomic_load(&p->leader_throttled))
        return false;
    lock_take(&p->lock);
    bool in_sync = int_list_has(p->isr, replica);
    lock_release(&p->lock);
    return !in_sync && throttle_is_spent(&p->manager->leader_throttle, now);
}

void partition_note_sent(struct partition *p, int64_t bytes, int64_t now)
{
    if (atomic_load(&p->leader_throttled))
        throttle_note(&p->manager->leader_throttle, bytes, now);
}

bool partition_rests(struct partition *p, bool in_sync, int64_t now)
{
    return !in_sync && atomic_load(&p->follower_throttled) && throttle_is_spent(&p->manager->follower_throttle, now);
}

void partition_note_received(struct partition *p, int64_t bytes, int64_t now)
{
    if (atomic_load(&p->follower_throttled))
        throttle_note(&p->manager->follower_throttle, bytes, now);
}

/* ---- Finding and opening ---- */

/* NULL: a log directory has failed meanwhile, and what was in it was noted. Takes the log. */
static struct partition *partition_add_partition(struct replica_manager *rm, const struct topic_key *key,
                                                 struct plog *log)
{
    struct partition *p = xcalloc(1, sizeof(*p)), *there;
    struct offline_replica *lost;
    p->key = *key;
    p->manager = rm;
    p->log = log;
    p->leader = p->leader_epoch = p->partition_epoch = -1;
    atomic_init(&p->refs, 2); /* the table's and the caller's */
    lock_init(&p->lock, RANK_PARTITION);
    shared_lock_write(&rm->table_lock);
    HASH_FIND(hh, rm->table, key, sizeof(*key), there);
    HASH_FIND(hh, rm->offline, key, sizeof(*key), lost);
    ensure(there == NULL); /* orders are obeyed one at a time, and nobody else adds any */
    if (lost == NULL)
        HASH_ADD(hh, rm->table, key, sizeof(p->key), p);
    shared_lock_release(&rm->table_lock);
    if (lost != NULL) {
        partition_unref(p);
        partition_unref(p);
        return NULL;
    }
    look_at_throttles(p); /* once it can be found: a change that comes now is not missed */
    return p;
}

/* With the tables locked. */
static void note_offline(struct replica_manager *rm, const struct topic_key *key)
{
    struct offline_replica *o;
    HASH_FIND(hh, rm->offline, key, sizeof(*key), o);
    if (o != NULL)
        return;
    o = xcalloc(1, sizeof(*o));
    o->key = *key;
    HASH_ADD(hh, rm->offline, key, sizeof(o->key), o);
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

/* ---- Leadership ---- */

struct partition_role partition_role(struct partition *p)
{
    lock_take(&p->lock);
    struct partition_role role = {p->leads, p->stopped ? -1 : p->leader, p->leader_epoch};
    lock_release(&p->lock);
    return role;
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

static void partition_take_order(struct partition *p, const struct leader_order *o)
{
    /* Where an epoch is missing, another may have led in it, and the followers may have cut their logs. */
    ensure(lock_is_held(&p->lock));
    bool led = p->leads && o->leader_epoch == p->leader_epoch + 1;
    p->leader = o->leader;
    p->leader_epoch = o->leader_epoch;
    p->partition_epoch = o->partition_epoch;
    p->controller_epoch = o->controller_epoch;
    p->leads = o->leader == p->manager->options.broker_id;
    p->stopped = false;
    followers_take_replicas(p, o->replicas);
    followers_take_isr(p, o->isr);
    if (p->leads) {
        int64_t now = clock_mono_ms();
        p->epoch_start = plog_end_offset(p->log);
        plog_assign_epoch(p->log, o->leader_epoch, p->epoch_start);
        followers_begin(p, led, now);
        followers_move_high_watermark(p, now);
    } else {
        followers_end(p);
    }
    followers_check(p);
    partition_wake_all(p);
}

static void cannot_open(struct replica_manager *rm, const struct topic_key *key)
{
    shared_lock_write(&rm->table_lock);
    note_offline(rm, key);
    shared_lock_release(&rm->table_lock);
}

static enum kafka_error find_or_open(struct replica_manager *rm, const struct leader_order *o, struct partition **out)
{
    struct topic_key key;
    struct topic_config config;
    struct plog *log;
    *out = replica_partition(rm, o->topic, o->index);
    if (*out != NULL)
        return ERR_NONE;
    if (!topic_key_make(o->topic, o->index, &key))
        return ERR_INVALID_TOPIC_EXCEPTION;
    if (replica_is_offline(rm, o->topic, o->index))
        return ERR_KAFKA_STORAGE_ERROR;
    rm->options.topic_config(rm->options.ctx, key.topic, &config);
    enum kafka_error error =
        log_manager_open(rm->options.logs, key.topic, o->index, o->topic_id, o->is_new, &config, &log);
    if (error == ERR_NONE)
        error = (*out = partition_add_partition(rm, &key, log)) != NULL ? ERR_NONE : ERR_KAFKA_STORAGE_ERROR;
    else if (error == ERR_KAFKA_STORAGE_ERROR && log_manager_has_offline_dir(rm->options.logs))
        cannot_open(rm, &key); /* else something was in the way, and the next order may find it gone */
    return error;
}

static void stop_partition(struct partition *p)
{
    lock_take(&p->lock);
    p->leads = false;
    p->stopped = true;
    p->leader = -1;
    followers_end(p);
    partition_wake_all(p);
    lock_release(&p->lock);
    p->manager->options.role_changed(p->manager->options.ctx, p);
}

/* Out of the table, by whoever comes first: an order, or the failure of a log directory. */
static bool take_out(struct partition *p, bool is_offline)
{
    struct replica_manager *rm = p->manager;
    struct partition *there;
    shared_lock_write(&rm->table_lock);
    HASH_FIND(hh, rm->table, &p->key, sizeof(p->key), there);
    if (there == p) {
        HASH_DEL(rm->table, p);
        if (is_offline)
            note_offline(rm, &p->key);
    }
    shared_lock_release(&rm->table_lock);
    if (there == p)
        partition_unref(p); /* the table's; the caller has one, too */
    return there == p;
}

static void take_offline(struct partition *p)
{
    if (!take_out(p, true))
        return;
    dir_move_drop(p, NULL, false); /* it goes on when both directories are back */
    lock_take(&p->lock);
    p->offline = true;
    lock_release(&p->lock);
    stop_partition(p);
}

static struct partition **all_partitions(struct replica_manager *rm, size_t *count)
{
    struct partition *p, *tmp;
    shared_lock_read(&rm->table_lock);
    struct partition **list = xcalloc(HASH_COUNT(rm->table) + 1, sizeof(struct partition *));
    *count = 0;
    HASH_ITER (hh, rm->table, p, tmp) {
        partition_ref(p);
        list[(*count)++] = p;
    }
    shared_lock_release(&rm->table_lock);
    return list;
}

void replica_dir_failed(struct replica_manager *rm, const char *dir)
{
    size_t count, gone = 0;
    struct partition **list = all_partitions(rm, &count);
    for (size_t i = 0; i < count; i++) {
        struct partition *p = list[i];
        dir_move_drop(p, dir, false);
        if (strcmp(plog_dir(p->log), dir) == 0) {
            take_offline(p);
            gone++;
        }
        partition_unref(p);
    }
    free(list);
    log_warn("%zu partitions are offline, as their log directory %s is", gone, dir);
}

/* Between the two nobody else obeys an order. */
static void begin_order(struct replica_manager *rm)
{
    bool other = atomic_exchange(&rm->obeying, true);
    ensure(!other);
}

static void end_order(struct replica_manager *rm)
{
    atomic_store(&rm->obeying, false);
}

static enum kafka_error apply_leader(struct replica_manager *rm, const struct leader_order *o)
{
    struct partition *p;
    enum kafka_error error = find_or_open(rm, o, &p);
    if (error != ERR_NONE)
        return error;
    if (plog_is_offline(p->log)) { /* who takes the directory's partitions out may have passed before this one came */
        take_offline(p);
        partition_unref(p);
        return ERR_KAFKA_STORAGE_ERROR;
    }
    lock_take(&p->lock);
    error = check_order(p, o);
    if (error == ERR_NONE)
        partition_take_order(p, o);
    else if (o->leader_epoch == p->leader_epoch && error == ERR_STALE_CONTROLLER_EPOCH &&
             uuid_is_zero(plog_topic_id(p->log)) && !uuid_is_zero(o->topic_id))
        error = ERR_NONE; /* it only brings the topic's id, which opening has taken */
    lock_release(&p->lock);
    if (error == ERR_NONE) {
        dir_move_resume(p);
        rm->options.role_changed(rm->options.ctx, p);
    }
    partition_unref(p);
    return error;
}

enum kafka_error replica_apply_leader(struct replica_manager *rm, const struct leader_order *o)
{
    if (!int_list_has(o->replicas, rm->options.broker_id))
        return ERR_UNKNOWN_TOPIC_OR_PARTITION;
    begin_order(rm);
    enum kafka_error error = apply_leader(rm, o);
    end_order(rm);
    return error;
}

/* NULL: nothing to do. Takes the reference. */
static enum kafka_error delete_log(struct replica_manager *rm, struct plog *log)
{
    enum kafka_error error = log != NULL ? log_manager_delete(rm->options.logs, log) : ERR_NONE;
    plog_unref(log);
    return error;
}

/* A log without a partition: left by an earlier life of this broker. */
static enum kafka_error delete_orphan(struct replica_manager *rm, struct str topic, int32_t index)
{
    struct topic_key key;
    if (!topic_key_make(topic, index, &key))
        return ERR_NONE;
    enum kafka_error error = delete_log(rm, log_manager_get_future(rm->options.logs, key.topic, index));
    return error == ERR_NONE ? delete_log(rm, log_manager_get(rm->options.logs, key.topic, index)) : error;
}

static enum kafka_error stop_replica(struct replica_manager *rm, struct str topic, int32_t index, int32_t leader_epoch,
                                     bool delete_it)
{
    if (replica_is_offline(rm, topic, index))
        return ERR_KAFKA_STORAGE_ERROR;
    struct partition *p = replica_partition(rm, topic, index);
    if (p == NULL)
        return delete_it ? delete_orphan(rm, topic, index) : ERR_NONE;
    lock_take(&p->lock);
    bool fenced = leader_epoch >= 0 && leader_epoch < p->leader_epoch;
    lock_release(&p->lock);
    enum kafka_error error = fenced ? ERR_FENCED_LEADER_EPOCH : ERR_NONE;
    if (!fenced)
        stop_partition(p);
    if (!fenced && delete_it && take_out(p, false)) {
        dir_move_drop(p, NULL, true);
        error = log_manager_delete(rm->options.logs, p->log);
    } else if (!fenced && delete_it) {
        error = ERR_KAFKA_STORAGE_ERROR; /* its directory has failed just now */
    }
    partition_unref(p);
    return error;
}

enum kafka_error replica_stop(struct replica_manager *rm, struct str topic, int32_t index, int32_t leader_epoch,
                              bool delete_it)
{
    begin_order(rm);
    enum kafka_error error = stop_replica(rm, topic, index, leader_epoch, delete_it);
    end_order(rm);
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

/* With the lock held, of one that does not lead. */
static enum kafka_error why_not_leading(const struct partition *p)
{
    return p->offline ? ERR_KAFKA_STORAGE_ERROR : ERR_NOT_LEADER_OR_FOLLOWER;
}

enum kafka_error partition_append(struct partition *p, const struct prepared *records, int16_t acks,
                                  struct append_result *out)
{
    return partition_append_in(p, ANY_EPOCH, records, acks, out);
}

enum kafka_error partition_append_in(struct partition *p, int32_t leader_epoch, const struct prepared *records,
                                     int16_t acks, struct append_result *out)
{
    enum kafka_error error = ERR_NONE;
    *out = (struct append_result){.first_offset = -1, .last_offset = -1, .log_start_offset = -1};
    lock_take(&p->lock);
    int64_t old_end = plog_end_offset(p->log);
    if (!p->leads)
        error = why_not_leading(p);
    else if (leader_epoch != ANY_EPOCH && leader_epoch != p->leader_epoch)
        error = ERR_NOT_LEADER_OR_FOLLOWER;
    else if (acks == -1 && p->isr.n < followers_min_isr(p))
        error = ERR_NOT_ENOUGH_REPLICAS;
    else
        error = plog_append_leader(p->log, records, p->leader_epoch, out);
    if (error == ERR_NOT_LEADER_OR_FOLLOWER || error == ERR_NOT_ENOUGH_REPLICAS)
        plog_note_refused(p->log, records);
    if (error == ERR_NONE) {
        ensure(out->duplicate || (out->first_offset == old_end && plog_end_offset(p->log) == out->last_offset + 1));
        if (!out->duplicate)
            followers_note_growth(p, old_end);
        bool moved = followers_move_high_watermark(p, clock_mono_ms());
        if (moved || !out->duplicate)
            partition_wake_all(p);
    }
    lock_release(&p->lock);
    return error;
}

enum kafka_error partition_check_committed(struct partition *p, int32_t leader_epoch, int64_t offset)
{
    enum kafka_error error = ERR_REQUEST_TIMED_OUT;
    lock_take(&p->lock);
    if (!p->leads || p->leader_epoch != leader_epoch)
        error = why_not_leading(p);
    else if (plog_high_watermark(p->log) > offset)
        error = followers_maximal_isr_size(p) >= followers_min_isr(p) ? ERR_NONE : ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND;
    lock_release(&p->lock);
    return error;
}

/* ---- Deleting from the beginning ---- */

static enum kafka_error delete_records(struct partition *p, int64_t *offset)
{
    struct topic_config config = plog_config(p->log);
    ensure(lock_is_held(&p->lock));
    if (!p->leads)
        return why_not_leading(p);
    if ((config.cleanup_policy & CLEANUP_POLICY_DELETE) == 0)
        return ERR_POLICY_VIOLATION;
    if (*offset == -1)
        *offset = plog_high_watermark(p->log);
    if (*offset < 0)
        return ERR_OFFSET_OUT_OF_RANGE;
    return *offset > plog_start_offset(p->log) ? plog_advance_start(p->log, *offset) : ERR_NONE;
}

enum kafka_error partition_delete_records(struct partition *p, int64_t *offset)
{
    lock_take(&p->lock);
    enum kafka_error error = delete_records(p, offset);
    if (error == ERR_NONE)
        partition_wake_all(p);
    lock_release(&p->lock);
    return error;
}

enum kafka_error partition_low_watermark(struct partition *p, int64_t *out)
{
    lock_take(&p->lock);
    enum kafka_error error = p->leads ? ERR_NONE : why_not_leading(p);
    *out = p->leads ? followers_low_watermark(p) : -1;
    lock_release(&p->lock);
    return error;
}

/* ---- As a follower ---- */

/* With the lock held: whether orders of that epoch's leader still count. */
static enum kafka_error check_follows(const struct partition *p, int32_t leader_epoch)
{
    if (p->offline)
        return ERR_KAFKA_STORAGE_ERROR;
    return p->leads || p->stopped || p->leader_epoch != leader_epoch ? ERR_FENCED_LEADER_EPOCH : ERR_NONE;
}

enum kafka_error partition_begin_following(struct partition *p, int32_t leader_epoch, int64_t *offset)
{
    lock_take(&p->lock);
    enum kafka_error error = check_follows(p, leader_epoch);
    if (error == ERR_NONE && plog_latest_epoch(p->log) < 0)
        error = plog_truncate(p->log, plog_high_watermark(p->log));
    *offset = plog_end_offset(p->log);
    ensure(error != ERR_NONE || *offset >= plog_start_offset(p->log));
    lock_release(&p->lock);
    return error;
}

enum kafka_error partition_append_follower(struct partition *p, int32_t leader_epoch, struct bytes batches,
                                           struct append_result *out)
{
    lock_take(&p->lock);
    enum kafka_error error = check_follows(p, leader_epoch);
    int64_t old_end = plog_end_offset(p->log);
    if (error == ERR_NONE)
        error = plog_append_follower(p->log, batches, leader_epoch, out);
    if (error == ERR_NONE)
        ensure(plog_end_offset(p->log) == MAX(old_end, out->last_offset + 1));
    lock_release(&p->lock);
    return error;
}

bool partition_follow_marks(struct partition *p, int32_t leader_epoch, int64_t high_watermark, int64_t start_offset)
{
    bool cut = false;
    lock_take(&p->lock);
    if (check_follows(p, leader_epoch) == ERR_NONE) {
        if (plog_set_high_watermark(p->log, MIN(high_watermark, plog_end_offset(p->log))))
            partition_wake_all(p);
        cut = start_offset > plog_start_offset(p->log) && plog_advance_start(p->log, start_offset) == ERR_NONE;
    }
    lock_release(&p->lock);
    return cut;
}

enum kafka_error partition_truncate(struct partition *p, int32_t leader_epoch, int64_t offset)
{
    lock_take(&p->lock);
    enum kafka_error error = check_follows(p, leader_epoch);
    int64_t old_end = plog_end_offset(p->log);
    if (error == ERR_NONE)
        error = plog_truncate(p->log, offset);
    if (error == ERR_NONE)
        ensure(plog_end_offset(p->log) == MIN(old_end, offset));
    lock_release(&p->lock);
    return error;
}

enum kafka_error partition_restart_log(struct partition *p, int32_t leader_epoch, int64_t start_offset)
{
    lock_take(&p->lock);
    enum kafka_error error = check_follows(p, leader_epoch);
    if (error == ERR_NONE)
        error = plog_truncate_fully(p->log, start_offset);
    if (error == ERR_NONE)
        ensure(plog_start_offset(p->log) == start_offset && plog_end_offset(p->log) == start_offset);
    lock_release(&p->lock);
    return error;
}

/* ---- Reading ---- */

static enum kafka_error check_leader_locked(const struct partition *p, int32_t current_leader_epoch)
{
    ensure(lock_is_held(&p->lock));
    if (p->offline)
        return ERR_KAFKA_STORAGE_ERROR;
    if (current_leader_epoch != ANY_EPOCH && current_leader_epoch < p->leader_epoch)
        return ERR_FENCED_LEADER_EPOCH;
    if (current_leader_epoch > p->leader_epoch)
        return ERR_UNKNOWN_LEADER_EPOCH;
    return p->leads ? ERR_NONE : ERR_NOT_LEADER_OR_FOLLOWER;
}

enum kafka_error partition_check_leader(struct partition *p, int32_t current_leader_epoch)
{
    lock_take(&p->lock);
    enum kafka_error error = check_leader_locked(p, current_leader_epoch);
    lock_release(&p->lock);
    return error;
}

int32_t partition_leader_epoch(struct partition *p)
{
    lock_take(&p->lock);
    int32_t epoch = p->leader_epoch;
    lock_release(&p->lock);
    return epoch;
}

int64_t partition_readable_end(struct partition *p, enum isolation isolation, int32_t replica_id)
{
    if (replica_id >= 0)
        return plog_end_offset(p->log);
    return isolation == READ_COMMITTED ? plog_last_stable_offset(p->log) : plog_high_watermark(p->log);
}

/* The reader's last epoch has ended here before its offset, or is not known here: it must cut its log back first. */
static enum kafka_error find_divergence(struct partition *p, const struct partition_read *read,
                                        struct partition_data *out)
{
    int32_t epoch;
    int64_t end;
    plog_epoch_end(p->log, read->last_fetched_epoch, &epoch, &end);
    if (epoch < 0 || end < 0)
        return ERR_OFFSET_OUT_OF_RANGE;
    if (epoch < read->last_fetched_epoch || end < read->offset) {
        out->diverging_epoch = epoch;
        out->diverging_end = end;
    }
    return ERR_NONE;
}

bool partition_shares_log(struct partition *p, const struct partition_read *read)
{
    ensure(lock_is_held(&p->lock));
    struct partition_data data = {.diverging_epoch = -1};
    return check_leader_locked(p, read->current_leader_epoch) == ERR_NONE &&
           read->offset >= plog_start_offset(p->log) && read->offset <= plog_end_offset(p->log) &&
           (read->last_fetched_epoch < 0 || (find_divergence(p, read, &data) == ERR_NONE && data.diverging_epoch < 0));
}

static enum kafka_error partition_check_reader(struct partition *p, const struct partition_read *read)
{
    lock_take(&p->lock);
    enum kafka_error error = check_leader_locked(p, read->current_leader_epoch);
    if (error == ERR_NOT_LEADER_OR_FOLLOWER && read->from_follower && !p->stopped && p->leader >= 0)
        error = ERR_NONE;
    bool as_replica = read->replica_id >= 0;
    if (error == ERR_NONE && as_replica &&
        (read->replica_id == p->manager->options.broker_id || !int_list_has(p->replicas, read->replica_id)))
        error = ERR_NOT_LEADER_OR_FOLLOWER; /* it reads above the watermark: only who is meant to have all may do so */
    lock_release(&p->lock);
    return error;
}

enum kafka_error partition_fetch(struct partition *p, const struct partition_read *read, struct partition_data *out)
{
    *out = (struct partition_data){.high_watermark = -1,
                                   .last_stable_offset = -1,
                                   .log_start_offset = -1,
                                   .diverging_epoch = -1,
                                   .diverging_end = -1};
    enum kafka_error error = partition_check_reader(p, read);
    if (error != ERR_NONE)
        return error;
    out->high_watermark = plog_high_watermark(p->log);
    out->last_stable_offset = plog_last_stable_offset(p->log);
    out->log_start_offset = plog_start_offset(p->log);
    if (read->last_fetched_epoch >= 0) {
        error = find_divergence(p, read, out);
        if (error != ERR_NONE || out->diverging_epoch >= 0)
            return error;
    }
    int64_t upper = partition_readable_end(p, read->isolation, read->replica_id);
    return plog_read(p->log, read->offset, read->max_bytes, read->at_least_one, upper, read->may_block, &out->slice);
}
