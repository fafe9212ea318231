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

#include "base/clock.h"
#include "base/logger.h"
#include "base/topic_key.h"
#include "replica/replica_internal.h"

LOG_PLACE(state_changes, "state.change.logger")

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
    replica_metrics_init(rm);
    return rm;
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

static void add_to_table(struct replica_manager *rm, struct partition *p)
{
    ensure(shared_lock_is_held(&rm->table_lock));
    p->counts = topic_counts_enter(&rm->counts, p->key.topic);
    HASH_ADD(hh, rm->table, key, topic_key_size(&p->key), p);
    topic_index_add(&rm->by_topic, p->key.topic, &p->of_topic);
}

static void remove_from_table(struct replica_manager *rm, struct partition *p)
{
    ensure(shared_lock_is_held(&rm->table_lock));
    HASH_DEL(rm->table, p);
    topic_counts_leave(&rm->counts, p->counts);
    topic_index_remove(&rm->by_topic, &p->of_topic);
}

void replica_manager_free(struct replica_manager *rm)
{
    struct partition *p, *tmp;
    if (rm == NULL)
        return;
    ensure(!atomic_load(&rm->obeying));
    replica_metrics_close(rm);
    shared_lock_write(&rm->table_lock);
    HASH_ITER (hh, rm->table, p, tmp) {
        remove_from_table(rm, p);
        partition_unref(p);
    }
    shared_lock_release(&rm->table_lock);
    replica_metrics_deinit(rm);
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
    HASH_FIND(hh, rm->table, &key, topic_key_size(&key), p);
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
    HASH_FIND(hh, rm->offline, &key, topic_key_size(&key), o);
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
    shared_lock_read(&rm->table_lock);
    for (struct topic_link *l = topic_index_first(&rm->by_topic, topic); l != NULL; l = l->next)
        look_at_throttles(CONTAINER_OF(l, struct partition, of_topic));
    shared_lock_release(&rm->table_lock);
}

void replica_set_throttles(struct replica_manager *rm, int64_t leader_rate, int64_t follower_rate, int64_t move_rate)
{
    throttle_set_limit(&rm->move_throttle, move_rate);
    throttle_set_limit(&rm->leader_throttle, leader_rate);
    throttle_set_limit(&rm->follower_throttle, follower_rate);
}

/* ---- Finding and opening ---- */

/* NULL: a log directory has failed meanwhile, and what was in it was noted. Takes the log. */
static struct partition *orders_add_partition(struct replica_manager *rm, const struct topic_key *key, struct plog *log)
{
    struct partition *p = xcalloc(1, sizeof(*p)), *there;
    struct offline_replica *lost;
    ensure(atomic_load(&rm->obeying));
    p->key = *key;
    p->manager = rm;
    p->log = log;
    p->leader = p->leader_epoch = p->partition_epoch = -1;
    p->bean_ids = rm->options.metrics != NULL ? metrics_ids(rm->options.metrics, PARTITION_BEAN_IDS) : 0;
    atomic_init(&p->refs, 2); /* the table's and the caller's */
    lock_init(&p->lock, RANK_PARTITION);
    shared_lock_write(&rm->table_lock);
    HASH_FIND(hh, rm->table, key, topic_key_size(key), there);
    HASH_FIND(hh, rm->offline, key, topic_key_size(key), lost);
    ensure(there == NULL); /* orders are obeyed one at a time, and nobody else adds any */
    if (lost == NULL)
        add_to_table(rm, p);
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
    ensure(shared_lock_is_held(&rm->table_lock));
    HASH_FIND(hh, rm->offline, key, topic_key_size(key), o);
    if (o != NULL)
        return;
    o = xcalloc(1, sizeof(*o));
    o->key = *key;
    HASH_ADD(hh, rm->offline, key, topic_key_size(&o->key), o);
}

/* ---- Orders ---- */

/* Between the two nobody else obeys an order. */
static void begin_order(struct replica_manager *rm)
{
    bool other = atomic_exchange(&rm->obeying, true);
    ensure(!other);
}

static void end_order(struct replica_manager *rm)
{
    bool obeyed = atomic_exchange(&rm->obeying, false);
    ensure(obeyed);
}

static enum kafka_error check_order(const struct partition *p, const struct leader_order *o)
{
    struct uuid id = plog_topic_id(p->log);
    if (!uuid_agree(id, o->topic_id))
        return ERR_INCONSISTENT_TOPIC_ID;
    if (o->leader_epoch <= p->leader_epoch)
        return ERR_STALE_CONTROLLER_EPOCH;
    return ERR_NONE;
}

static void note_order(const struct partition *p)
{
    struct strbuf isr = {0};
    if (!log_is_on(&state_changes, LEVEL_INFO))
        return;
    strbuf_puts(&isr, "");
    for (int32_t i = 0; i < p->isr.n; i++)
        strbuf_printf(&isr, "%s%" PRId32, i > 0 ? "," : "", p->isr.v[i]);
    log_to(&state_changes, LEVEL_INFO,
           "[Broker id=%" PRId32 "] %s %s-%" PRId32 " starts at leader epoch %" PRId32 " from offset %" PRId64
           " with partition epoch %" PRId32 ", high watermark %" PRId64 ", leader %" PRId32 ", ISR [%s]",
           p->manager->options.broker_id, p->leads ? "Leader" : "Follower", p->key.topic, p->key.index, p->leader_epoch,
           plog_end_offset(p->log), p->partition_epoch, plog_high_watermark(p->log), p->leader, isr.p);
    strbuf_deinit(&isr);
}

static void orders_take(struct partition *p, const struct leader_order *o)
{
    /* Where an epoch is missing, another may have led in it, and the followers may have cut their logs. */
    ensure(lock_is_held(&p->lock));
    bool led = p->leads && o->leader_epoch == (int64_t)p->leader_epoch + 1;
    p->leader = o->leader;
    p->leader_epoch = o->leader_epoch;
    p->partition_epoch = o->partition_epoch;
    p->controller_epoch = o->controller_epoch;
    p->ordered_id = o->topic_id;
    p->leads = o->leader == p->manager->options.broker_id;
    p->stopped = false;
    p->leader_high_watermark = -1;
    free(p->adding.v);
    p->adding = int_list_dup(o->adding);
    atomic_store(&p->reassigning, o->adding.n > 0 || o->removing.n > 0);
    partition_count_leadership(p);
    followers_take_replicas(p, o->replicas);
    followers_take_isr(p, o->isr);
    if (p->leads) {
        int64_t now = clock_mono_ms();
        p->led_since = led ? p->led_since : o->leader_epoch;
        p->epoch_start = plog_end_offset(p->log);
        plog_assign_epoch(p->log, o->leader_epoch, p->epoch_start);
        followers_begin(p, led, now);
        followers_move_high_watermark(p, now);
    } else {
        followers_end(p);
    }
    followers_check(p);
    note_order(p);
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
        error = (*out = orders_add_partition(rm, &key, log)) != NULL ? ERR_NONE : ERR_KAFKA_STORAGE_ERROR;
    else if (error == ERR_KAFKA_STORAGE_ERROR && log_manager_has_offline_dir(rm->options.logs))
        cannot_open(rm, &key); /* else something was in the way, and the next order may find it gone */
    return error;
}

static bool is_our_replica(const struct replica_manager *rm, const struct leader_order *o)
{
    return partition_number_is_possible(o->index) && int_list_has(o->replicas, rm->options.broker_id);
}

static void stop_partition(struct partition *p)
{
    lock_take(&p->lock);
    p->leads = false;
    p->stopped = true;
    p->leader = -1;
    partition_count_leadership(p);
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
    HASH_FIND(hh, rm->table, &p->key, topic_key_size(&p->key), there);
    if (there == p) {
        remove_from_table(rm, p);
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

struct partition **replica_all_partitions(struct replica_manager *rm, size_t *count)
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
    struct partition **list = replica_all_partitions(rm, &count);
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

/* A log that takes the other's place meanwhile gets it, too. */
static enum kafka_error give_topic_id(struct partition *p, struct uuid id)
{
    enum kafka_error error;
    struct plog *log;
    bool moved;
    do {
        lock_take(&p->lock);
        log = p->log;
        lock_release(&p->lock);
        error = log_manager_give_id(log, id);
        lock_take(&p->lock);
        moved = p->log != log;
        lock_release(&p->lock);
    } while (moved);
    return error;
}

/*
 * A log that was made before its topic had an id gets it with the first order that has one, which may be of the leader
 * epoch that there is: a controller that is new in its office repeats what it finds. `news`: the id is another one than
 * the last order had.
 */
static enum kafka_error take_topic_id(struct partition *p, const struct leader_order *o, bool *news)
{
    lock_take(&p->lock);
    int32_t epoch = p->leader_epoch;
    *news = o->leader_epoch == epoch && !p->stopped && !uuid_eq(p->ordered_id, o->topic_id);
    lock_release(&p->lock);
    enum kafka_error error = o->leader_epoch < epoch ? ERR_NONE : give_topic_id(p, o->topic_id);
    if (error != ERR_NONE || !*news)
        return error;
    lock_take(&p->lock);
    p->ordered_id = o->topic_id;
    lock_release(&p->lock);
    return ERR_NONE;
}

static enum kafka_error apply_leader(struct replica_manager *rm, const struct leader_order *o)
{
    struct partition *p;
    ensure(atomic_load(&rm->obeying));
    enum kafka_error error = find_or_open(rm, o, &p);
    if (error != ERR_NONE)
        return error;
    if (plog_is_offline(p->log)) { /* who takes the directory's partitions out may have passed before this one came */
        take_offline(p);
        partition_unref(p);
        return ERR_KAFKA_STORAGE_ERROR;
    }
    bool news;
    error = take_topic_id(p, o, &news);
    lock_take(&p->lock);
    if (error == ERR_NONE)
        error = check_order(p, o);
    if (error == ERR_NONE)
        orders_take(p, o);
    else if (news && error == ERR_STALE_CONTROLLER_EPOCH)
        error = ERR_NONE; /* that was all that it had to say */
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
    if (!is_our_replica(rm, o))
        return ERR_UNKNOWN_TOPIC_OR_PARTITION;
    begin_order(rm);
    enum kafka_error error = apply_leader(rm, o);
    end_order(rm);
    return error;
}

/* ---- The logs of many ---- */

/* Whether it brings the id that the log of a partition has not yet. */
static bool names_log(struct partition *p, const struct leader_order *o)
{
    lock_take(&p->lock);
    bool names =
        o->leader_epoch >= p->leader_epoch && !uuid_is_zero(o->topic_id) && uuid_is_zero(plog_topic_id(p->log));
    lock_release(&p->lock);
    return names;
}

/* Whether it needs a log that no partition has, or names one that some has; then the names are in `a`. */
static bool wishes_log(struct replica_manager *rm, const struct leader_order *o, struct arena *a, struct log_wish *out)
{
    struct topic_key key;
    if (!is_our_replica(rm, o) || !topic_key_make(o->topic, o->index, &key) ||
        replica_is_offline(rm, o->topic, o->index))
        return false;
    struct partition *p = replica_partition(rm, o->topic, o->index);
    bool is_there = p != NULL, wishes = !is_there || names_log(p, o);
    partition_unref(p);
    *out = (struct log_wish){arena_cstr(a, o->topic), o->index, o->topic_id, o->is_new, NULL, is_there};
    return wishes;
}

void replica_make_logs(struct replica_manager *rm, const struct leader_order *orders, int32_t n)
{
    struct arena a = {0};
    struct log_wish *wishes = ARENA_ARRAY(&a, struct log_wish, MAX(n, 1));
    struct topic_config *config = NULL;
    size_t count = 0;
    begin_order(rm);
    for (int32_t i = 0; i < n; i++) {
        if (!wishes_log(rm, &orders[i], &a, &wishes[count]))
            continue;
        if (count == 0 || strcmp(wishes[count - 1].topic, wishes[count].topic) != 0) {
            config = ARENA_NEW(&a, struct topic_config);
            rm->options.topic_config(rm->options.ctx, wishes[count].topic, config);
        }
        wishes[count++].config = config;
    }
    log_manager_open_ahead(rm->options.logs, wishes, count);
    end_order(rm);
    arena_deinit(&a);
}

/* ---- Deleting ---- */

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
    ensure(atomic_load(&rm->obeying));
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
