/* What the files of replica/ share. */
#ifndef BARNABAS_REPLICA_INTERNAL_H
#define BARNABAS_REPLICA_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/hash.h"
#include "base/lock.h"
#include "base/topic_index.h"
#include "base/topic_key.h"
#include "replica/replica.h"
#include "replica/throttle.h"

/* What a leader knows of one of its followers, by its fetches. */
struct follower {
    int32_t id;
    int64_t end_offset;   /* log end offset; -1: has not fetched in this epoch */
    int64_t start_offset; /* log start offset; -1: unknown */
    /*
     * Up to when it had all that the leader had: the time of a fetch at the leader's end, or of the fetch before,
     * when it now asks for the end that the leader had then (KIP-16).
     */
    int64_t caught_up_ms;
    int64_t fetched_ms, leader_end_then; /* of its last fetch that named this partition */
    struct pulse *pulse;  /* of the session that asks for this partition; NULL: none. With a reference. */
    int64_t broker_epoch; /* of its last session, while it has none; -1: unknown */
};

/* A change of the ISR that the controller was asked for, or is to be asked for. */
enum isr_change { ISR_SETTLED, ISR_GROWING, ISR_SHRINKING };

struct partition {
    struct topic_key key;
    struct topic_link of_topic; /* in the manager's table, under its lock */
    atomic_int refs;
    struct replica_manager *manager;
    struct plog *_Atomic log;
    atomic_bool leader_throttled, follower_throttled;
    struct lock lock; /* guards all below */
    bool leads, stopped;
    struct uuid ordered_id; /* of the topic, as the last order had it; zeros: it had none */
    bool offline;           /* its log directory has failed: no longer in the table, but in somebody's hands */
    int32_t leader, leader_epoch, partition_epoch, controller_epoch;
    int64_t epoch_start;           /* where the leader's epoch begins in the log */
    int32_t flushes;               /* under way, of what flush.messages wants synced before it is committed */
    int64_t unsynced_to;           /* up to there it could not be done for now, and is not committed; 0: it could */
    int32_t led_since;             /* the first epoch of those that this broker has led without a break */
    struct int_list isr, replicas; /* heap; the ISR as the controller has confirmed it */
    struct int_list wanted_isr;    /* heap; while a change is under way */
    enum isr_change isr_change;
    struct follower *followers; /* of a leader; heap */
    int32_t follower_count;
    struct waiter *waiters;
    struct plog *future;   /* what its log is copied to; NULL: it is not moved. With a reference. */
    bool future_aligned;   /* the move's own: the two are known to be one, but for cuts */
    bool future_is_new;    /* nothing in it was copied before the move was taken up last */
    struct plog **retired; /* logs that others have taken the place of; heap, with a reference each */
    int32_t retired_count;
    int64_t leader_high_watermark; /* as it was told last in this epoch; -1: it was not */
    struct int_list adding;        /* heap; replicas that are being added */
    atomic_bool reassigning;       /* some are, or are being removed */
    struct topic_counts *counts;   /* of its topic, with a reference; since it is in the table. NULL: nobody counts */
    struct lazy_meter expired;     /* appends that were not on all in sync in time */
    bool counted;                  /* as one that leads */
    int64_t bean_ids;              /* PARTITION_BEAN_IDS of them */
    UT_hash_handle hh;
};

enum { PARTITION_BEAN_IDS = 15 };

struct offline_replica { /* one that is in a log directory that is offline, or may be; until a restart */
    struct topic_key key;
    UT_hash_handle hh;
};

struct replica_manager {
    struct replica_options options;
    struct shared_lock table_lock; /* guards the two tables */
    struct partition *table;
    struct topic_index by_topic; /* the same */
    struct offline_replica *offline;
    atomic_int controller_epoch;
    atomic_bool obeying; /* an order of the controller is being carried out */
    struct throttle leader_throttle, follower_throttle, move_throttle;
    struct broker_counts counts;
    struct meter isr_shrinks, isr_expands, isr_failures;
    struct bean_source source;
    int64_t bean_ids;
    struct lock move_orders;      /* one order to move a log is taken at a time; before a partition's lock */
    atomic_bool growth_wanted;    /* some follower is to join an ISR, and could not yet */
    _Atomic int64_t growth_round; /* sessions look for such followers when it changes */
};

/* orders.c: all that are there, on the heap, with a reference each. */
struct partition **replica_all_partitions(struct replica_manager *rm, size_t *count);

/* partition.c: how far a follower is behind what its leader called committed last; -1: it has not yet. With the lock
 * held. */
int64_t partition_lag(const struct partition *p);

/* ---- replica_metrics.c ---- */

void replica_metrics_init(struct replica_manager *rm);
void replica_metrics_close(struct replica_manager *rm); /* nobody visits its partitions any more */
void replica_metrics_deinit(struct replica_manager *rm);
/* Whether it leads may have changed. With the partition's lock held. */
void partition_count_leadership(struct partition *p);

/* ---- dir_move.c ---- */

/* A future log that was found, for a partition that has orders again. */
void dir_move_resume(struct partition *p);
/* The move is called off, if it is to that directory; NULL: to any. */
void dir_move_drop(struct partition *p, const char *only_in, bool delete_it);

/* wake.c, with the partition's lock held: tells who waits that something has changed. */
void partition_wake_all(struct partition *p);

/*
 * partition.c, with the lock held: this broker leads in the reader's epoch, and all that the reader's log has before
 * its offset is in this one as well.
 */
bool partition_shares_log(struct partition *p, const struct partition_read *read);

/* ---- followers.c, all with the partition's lock held ---- */

/* When an order, or an answer about the ISR, has been taken: what holds by design, and not because of what was said. */
void followers_check(const struct partition *p);
/* This broker leads in a new epoch; `was_leader`: as it did in the epoch before, so that what is known stays true. */
void followers_begin(struct partition *p, bool was_leader, int64_t now);
void followers_end(struct partition *p); /* it no longer leads */
void followers_free(struct partition *p);
/* These are the replicas from now on; of what somebody has written by hand, each once. Before the ISR. */
void followers_take_replicas(struct partition *p, struct int_list replicas);
/* This is the ISR from now on, and no change of it under way; as far as it is possible. */
void followers_take_isr(struct partition *p, struct int_list isr);
/* The log has grown from `old_end` on: who had all of it had so until its last fetch. */
void followers_note_growth(struct partition *p, int64_t old_end);
/* Moves the high watermark as far as it may. Returns whether it moved. */
bool followers_move_high_watermark(struct partition *p, int64_t now);
/* The ISR that counts for the watermark: every member, now or soon. */
bool followers_in_maximal_isr(const struct partition *p, int32_t id);
int32_t followers_maximal_isr_size(const struct partition *p);
/* The least log start offset of this broker and the followers that are alive; -1: one's is not known. */
int64_t followers_low_watermark(const struct partition *p);
/* How many are to be in sync for a record to be committed. */
int32_t followers_min_isr(const struct partition *p);

#endif
