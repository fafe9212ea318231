/*
 * Partitions of this broker, as leader or follower: what may be appended and read, by whom, up to where, and
 * who waits for more.
 *
 * A partition is shared by all loops and the workers. Its lock guards its state; offsets are atomics of its
 * log. Functions here may be called from any thread unless they say otherwise.
 */
#ifndef BARNABAS_REPLICA_H
#define BARNABAS_REPLICA_H

#include "cluster/view.h"
#include "protocol/error.h"
#include "replica/topic_counts.h"
#include "storage/storage.h"

struct partition;
struct replica_manager;

struct replica_options {
    const struct broker_config *config;
    struct log_manager *logs;
    struct metrics *metrics; /* NULL: nobody counts */
    int32_t broker_id;
    /* The settings of a topic: config->defaults and what ZooKeeper has. Any thread. */
    void (*topic_config)(void *ctx, const char *topic, struct topic_config *out);
    /*
     * Who leads the partition has changed. On the applying thread; two changes may be told in the wrong order, so who
     * hears of one asks partition_role().
     */
    void (*role_changed)(void *ctx, struct partition *p);
    /* Whether a broker may be counted on: it is alive, and not on its way out. Any thread; the partition is locked. */
    bool (*may_join_isr)(void *ctx, int32_t broker);
    /* Whether this broker's copying of it is throttled, as leader or as follower (KIP-73). Any thread. */
    bool (*throttled)(void *ctx, const char *topic, int32_t partition, bool as_leader);
    /* The partition wants the controller to change its ISR: partition_isr_proposal(). The same. */
    void (*isr_wanted)(void *ctx, struct partition *p);
    /* Its log is to be moved to another directory: partition_move_some(). Any thread. */
    void (*move_wanted)(void *ctx, struct partition *p);
    void *ctx;
};

struct replica_manager *replica_manager_new(const struct replica_options *options);
void replica_manager_free(struct replica_manager *rm);

/* With a reference, or NULL when this broker has no replica of it that can be used. */
struct partition *replica_partition(struct replica_manager *rm, struct str topic, int32_t index) NODISCARD;
/* Whether it has one in a log directory that is offline: requests get ERR_KAFKA_STORAGE_ERROR. */
bool replica_is_offline(struct replica_manager *rm, struct str topic, int32_t index);
/* The log directory has failed. On a worker: its partitions are locked, perhaps for as long as a disk takes. */
void replica_dir_failed(struct replica_manager *rm, const char *dir);
void partition_ref(struct partition *p);
void partition_unref(struct partition *p);

/* Something has happened to its topic, for those who count. */
void partition_mark(struct partition *p, enum topic_meter which, int64_t n);
/* Somebody wanted to append to it, be it a client, a coordinator or a marker, and this came of it. Who appends by the
 * functions below is counted there. */
void partition_count_append(struct partition *p, enum kafka_error error);
/* Records of a producer were not on all replicas in sync in the time that it has given them. */
void partition_count_expired(struct partition *p);
/* Of records that are sent to a follower. */
void partition_count_sent(struct partition *p, int32_t replica, int64_t bytes);
const char *partition_topic(const struct partition *p);
int32_t partition_index(const struct partition *p);
struct uuid partition_topic_id(struct partition *p);
/* Lives as long as the partition; when it has been moved to another directory, it is another one. */
struct plog *partition_log(struct partition *p);

struct partition_role {
    bool leads;
    int32_t leader, leader_epoch; /* -1: nobody; then nobody is followed */
    int32_t led_since;            /* the first epoch of those that this broker has led without a break, if it leads */
    struct uuid topic_id;         /* by which the leader knows it; zeros: its orders have none, whatever the log says */
};
struct partition_role partition_role(struct partition *p);

/* ---- Moving logs between directories (KIP-113) ---- */

/*
 * The partition's log is to be in that directory, of those that the manager has; from now on it is moved, or is no
 * longer moved elsewhere. On a worker. ERR_LOG_DIR_NOT_FOUND; ERR_REPLICA_NOT_AVAILABLE: there is none, and when there
 * is, it will be made there; ERR_UNKNOWN_TOPIC_OR_PARTITION: nor does the partition `exist` on any broker;
 * ERR_KAFKA_STORAGE_ERROR: something is offline; ERR_INVALID_TOPIC_EXCEPTION: a name that no topic can have.
 */
enum kafka_error replica_alter_dir(struct replica_manager *rm, struct str topic, int32_t index, bool exists,
                                   const char *dir);

enum move_result { MOVE_GOES_ON, MOVE_RESTS, MOVE_OVER, MOVE_FAILED };
/*
 * A step of the move, on a worker; one at a time. It is over when it is done, or called off, and has failed when one of
 * the directories has, which ends it. It rests where anything else is in its way: another step may do better.
 */
enum move_result partition_move_some(struct partition *p);
/* The offsets to which it has come, and to which it is to come. False: it is over. */
bool partition_move_progress(struct partition *p, int64_t *done, int64_t *end);
bool partition_moves_rest(const struct partition *p); /* as what may be copied in a second is used up */

/* ---- Orders of the controller. On a worker: they open and delete logs. One at a time, which is ensured. ---- */

struct leader_order {
    struct str topic;
    struct uuid topic_id;
    int32_t index;
    int32_t controller_epoch, leader, leader_epoch, partition_epoch;
    struct int_list isr, replicas, adding, removing;
    bool is_new;
};

/*
 * Of orders that came together: makes the logs that they are going to need, many at a time. Each order still has to be
 * applied, and has its errors then.
 */
void replica_make_logs(struct replica_manager *rm, const struct leader_order *orders, int32_t n);
/* The answer for the partition: ERR_STALE_CONTROLLER_EPOCH for an old leader epoch, storage errors, ... */
enum kafka_error replica_apply_leader(struct replica_manager *rm, const struct leader_order *order);
/* `leader_epoch` -1 and -2 are not compared. */
enum kafka_error replica_stop(struct replica_manager *rm, struct str topic, int32_t index, int32_t leader_epoch,
                              bool delete_it);
/*
 * Requests of a controller older than one that was seen are refused as a whole. Remembers a newer one.
 * ERR_STALE_CONTROLLER_EPOCH or ERR_NONE.
 */
enum kafka_error replica_check_controller(struct replica_manager *rm, int32_t controller_epoch);

/* ---- Appending ---- */

/*
 * Several to one partition as its leader, in their order: with one look at the watermark, and one wake-up of who waits
 * for records. The errors of each: ERR_NOT_LEADER_OR_FOLLOWER, ERR_NOT_ENOUGH_REPLICAS (acks == -1 and too few in
 * sync), and those of plog_append_leader().
 */
struct partition_append {
    struct leader_append log; /* its records; its error and result, which are this append's */
    int16_t acks;
    int32_t leader_epoch; /* in which it was appended, or refused */
};
void partition_append_all(struct partition *p, struct partition_append *const *appends, int count);
/* One, if this broker has led since that epoch without a break; otherwise ERR_NOT_LEADER_OR_FOLLOWER. */
enum kafka_error partition_append_in(struct partition *p, int32_t leader_epoch, const struct prepared *records,
                                     int16_t acks, struct append_result *out);
/* Whether everything up to and with `offset` is committed: ERR_NONE, or ERR_REQUEST_TIMED_OUT for "not yet", or why it
 * fails. */
enum kafka_error partition_check_committed(struct partition *p, int32_t leader_epoch, int64_t offset);
/* Whether its watermark has passed where the epoch of this leader begins: before, it may be below its predecessor's. */
bool partition_knows_watermark(struct partition *p);

/* ---- Deleting from the beginning (KIP-107) ---- */

/*
 * As leader, on a worker: the log begins at `*offset` from now on; -1 is the high watermark, and `*offset` then says
 * which. ERR_NOT_LEADER_OR_FOLLOWER, ERR_POLICY_VIOLATION (the topic does not delete), ERR_OFFSET_OUT_OF_RANGE, storage
 * errors.
 */
enum kafka_error partition_delete_records(struct partition *p, int64_t *offset);
/* As leader: where the log begins on all replicas whose brokers are alive. ERR_NOT_LEADER_OR_FOLLOWER. */
enum kafka_error partition_low_watermark(struct partition *p, int64_t *out);

/* ---- Followers, as their leader sees them ---- */

/*
 * When a fetch session was used last, and in which epoch of the follower's broker (-1: it did not say). Where a
 * follower has all, its fetches do not name the partition (KIP-227): it has had all until then nevertheless, as long as
 * its session has the partition. Counted; any thread.
 */
struct pulse;
struct pulse *pulse_new(void);
void pulse_unref(struct pulse *pulse); /* NULL allowed */
void pulse_beat(struct pulse *pulse, int64_t broker_epoch, int64_t now);
/* The session does not ask for the partition any more. */
void partition_pulse_gone(struct partition *p, const struct pulse *pulse);
/* Whoever has not caught up for replica.lag.time.max.ms is to leave the ISR. */
void partition_shrink_isr(struct partition *p, int64_t now);
void replica_shrink_isrs(struct replica_manager *rm, int64_t now); /* of all */
/*
 * Whoever has caught up joins, where it could not when that was noticed: when the round is another than before, each
 * session that is used next looks at the partitions that it asks for. replica_grow_isrs() begins a round, if there is
 * anything to look for.
 */
void replica_grow_isrs(struct replica_manager *rm);
int64_t replica_growth_round(struct replica_manager *rm);
void partition_grow_isr(struct partition *p, const struct pulse *pulse);

/* ---- Throttled replication (KIP-73) ---- */

/* Bytes a second, of all throttled replicas together, and of moves between directories; INT64_MAX: no limit. */
void replica_set_throttles(struct replica_manager *rm, int64_t leader_rate, int64_t follower_rate, int64_t move_rate);
/* Other replicas of the topic may be throttled now. */
void replica_topic_configured(struct replica_manager *rm, const char *topic);
void replica_serves_follower(struct replica_manager *rm, int64_t now); /* who could be throttled */
/* Whether that follower, as it is not in sync, gets nothing now. */
bool partition_holds_back(struct partition *p, int32_t replica, int64_t now);
void partition_note_sent(struct partition *p, int64_t bytes, int64_t now); /* to a follower */
/* The same of what this broker fetches as a follower; `in_sync`: it had all when it last asked. */
bool partition_rests(struct partition *p, bool in_sync, int64_t now);
void partition_note_received(struct partition *p, int64_t bytes, int64_t now);

struct isr_proposal {
    int32_t leader_epoch, partition_epoch;
    struct int_list isr;
    const int64_t *broker_epochs; /* of each in `isr`, as its fetches said it (KIP-903); -1: not known */
};

/* What is wanted now; false: nothing any more. */
bool partition_isr_proposal(struct partition *p, struct arena *a, struct isr_proposal *out);
/* The controller has written this ISR. */
void partition_isr_decided(struct partition *p, int32_t leader_epoch, int32_t partition_epoch, struct int_list isr);
/* It was not written, for those who count. */
void partition_count_isr_failure(struct partition *p);
/* It will not: the ISR is what it was. */
void partition_isr_refused(struct partition *p, int32_t leader_epoch);

/* ---- As a follower. ERR_FENCED_LEADER_EPOCH when it no longer follows in that epoch; storage errors. ---- */

/*
 * From which offset on it is fetched: the end of the log. Of a log without epochs only what was committed is sure to be
 * the leader's, too: what is behind is cut. Blocks then.
 */
enum kafka_error partition_begin_following(struct partition *p, int32_t leader_epoch, int64_t *offset);
enum kafka_error partition_append_follower(struct partition *p, int32_t leader_epoch, struct bytes batches,
                                           struct append_result *out);
/* The leader's high watermark and start of log. */
void partition_follow_marks(struct partition *p, int32_t leader_epoch, int64_t high_watermark, int64_t start_offset);
enum kafka_error partition_truncate(struct partition *p, int32_t leader_epoch, int64_t offset);
enum kafka_error partition_restart_log(struct partition *p, int32_t leader_epoch, int64_t start_offset); /* empty */

/* ---- Reading ---- */

enum isolation { READ_UNCOMMITTED = 0, READ_COMMITTED = 1 };

struct partition_read {
    int64_t offset;
    int32_t max_bytes;
    bool at_least_one;
    enum isolation isolation;
    int32_t replica_id;           /* below 0: a consumer, who gets what is committed */
    bool from_follower;           /* a consumer may read from this broker although it does not lead (KIP-392) */
    int32_t current_leader_epoch; /* -1: not checked */
    int64_t broker_epoch;         /* in which a follower has registered; -1: it does not say */
    int32_t last_fetched_epoch;   /* of the record before `offset` in the reader's log; -1: not checked (KIP-595) */
    bool may_block;
};

/* How many offsets its follower here has not yet of those that its leader has called committed; 0 of a leader. */
int64_t partition_behind(struct partition *p);

/*
 * A follower has asked for what begins at `offset`: it has all before that, if its log is one with this up to there.
 * May move the high watermark, and the ISR. `pulse` is its session's; NULL: it has none. False: it does not count, as
 * this broker does not lead in its epoch, or as their logs differ; then its next fetch must be noted, too.
 */
bool partition_note_fetch(struct partition *p, const struct partition_read *read, int64_t start_offset,
                          struct pulse *pulse, int64_t now);

struct partition_data {
    struct plog_slice slice;
    int64_t high_watermark, last_stable_offset, log_start_offset;
    /* Where the reader's log parts from this one: the last epoch that both may have, and its end here. -1: it does not.
     */
    int32_t diverging_epoch;
    int64_t diverging_end;
};

/*
 * ERR_NOT_LEADER_OR_FOLLOWER, ERR_FENCED_LEADER_EPOCH, ERR_UNKNOWN_LEADER_EPOCH, ERR_OFFSET_OUT_OF_RANGE, storage
 * errors. The offsets of `out` are filled in every case but the first three.
 */
enum kafka_error partition_fetch(struct partition *p, const struct partition_read *read, struct partition_data *out);
/*
 * The replica that a consumer at that offset is sent to (KIP-392): one in sync that `fits` admits, the most advanced of
 * them; -1 to stay with this broker, which leads.
 */
int32_t partition_preferred_replica(struct partition *p, int64_t offset, bool (*fits)(void *ctx, int32_t broker),
                                    void *ctx);
/* Checks leadership and epoch (-1: not checked) for requests that only ask. */
enum kafka_error partition_check_leader(struct partition *p, int32_t current_leader_epoch);
int32_t partition_leader_epoch(struct partition *p);
/* Bytes are there to read from `offset` on, for that reader; for the long poll, an estimate is enough. */
int64_t partition_readable_end(struct partition *p, enum isolation isolation, int32_t replica_id);

/* ---- Waiting ---- */

/* One for each loop that waits: wake-ups reach it with one message, however many wait. */
struct wake_queue;
struct wake_queue *wake_queue_new(struct loop *loop);
void wake_queue_free(struct wake_queue *q);

/* A request that waits, on any number of partitions. Belongs to its loop. */
struct sleeper {
    struct wake_queue *queue;
    /* On the loop, some time after something has changed. May be called for nothing. */
    void (*wake)(struct sleeper *s);
    bool queued;
    struct sleeper *next;
};

void sleeper_wake(struct sleeper *s); /* any thread */

/* Its place on one partition. */
struct waiter {
    struct sleeper *sleeper;
    /* Instead of a sleeper: called at each change, on the thread that makes it, with the partition locked. */
    void (*changed)(struct waiter *self);
    struct partition *partition; /* with a reference; NULL: not in use */
    struct waiter *prev, *next;
};

/*
 * Wakes `s` when the log of `p` grows, its high watermark moves, or its leader changes. To lose nothing: wait
 * first, then look.
 */
void partition_wait(struct partition *p, struct waiter *waiter, struct sleeper *s);
void partition_watch(struct partition *p, struct waiter *waiter, void (*changed)(struct waiter *self));
void partition_unwait(struct waiter *waiter); /* nothing if not in use */
/* Before a sleeper is freed, after all its waiters are left. */
void sleeper_cancel(struct sleeper *s);

#endif
