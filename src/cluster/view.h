/*
 * What this broker knows of the cluster: brokers, topics, who leads what. The controller tells it by
 * UpdateMetadata requests.
 *
 * A view is immutable and counted. Whoever learns something makes the next view, which shares every
 * topic that did not change, and publishes it to all loops; each loop swaps its own pointer, so that readers
 * take no lock. A view got from view_current() is good until the loop's callback returns; keep it longer
 * with view_ref().
 */
#ifndef BARNABAS_CLUSTER_VIEW_H
#define BARNABAS_CLUSTER_VIEW_H

#include <stdatomic.h>

#include "base/loop.h"
#include "cluster/leader_changes.h"
#include "cluster/znodes.h"

enum { LEADER_NONE = -1, LEADER_DELETED = -2 };

struct view_partition {
    int32_t index;
    int32_t leader, leader_epoch, controller_epoch, partition_epoch;
    struct int_list isr, replicas, offline;
};

struct view_topic {
    atomic_int refs;
    const char *name;
    struct uuid id;                    /* zero if the controller gave none */
    struct view_partition *partitions; /* those that are known, in the order of their numbers: there may be gaps */
    int32_t partition_count;
    struct arena memory;
};

struct view_brokers {
    atomic_int refs;
    struct registration *v; /* by id, ascending */
    int32_t n;
    struct arena memory;
};

struct view {
    atomic_int refs;
    int32_t controller_id; /* -1: unknown */
    int32_t controller_epoch;
    int64_t source; /* of the last change */
    struct view_brokers *brokers;
    struct view_topic **by_name; /* ascending */
    struct view_topic **by_id;   /* ascending by bytes; only those that have one */
    int32_t topic_count, id_count;
};

struct view *view_new(void); /* knows nothing */
void view_ref(struct view *v);
void view_unref(struct view *v);

const struct view_topic *view_topic(const struct view *v, struct str name);
/* One whose name is the same but for '.' and '_', which metrics take for the same. */
const struct view_topic *view_topic_alike(const struct view *v, struct str name);
const struct view_topic *view_topic_by_id(const struct view *v, struct uuid id);
const struct view_partition *view_partition(const struct view *v, struct str topic, int32_t partition);
const struct view_partition *view_topic_partition(const struct view_topic *t, int32_t partition);
/* One more than the highest number: how many partitions an internal topic has, also while some are not known yet. */
int32_t view_topic_width(const struct view_topic *t);
const struct registration *view_broker(const struct view *v, int32_t id);
/* The broker's endpoint of that listener name, or NULL. */
const struct endpoint *registration_endpoint(const struct registration *r, const char *listener);

/* ---- Making the next view ---- */

struct partition_change {
    struct str topic;
    struct uuid topic_id;
    int32_t partition;           /* not below 0 */
    struct view_partition state; /* leader LEADER_DELETED: the partition goes; a topic without any goes */
};

struct view_change {
    int32_t controller_id, controller_epoch;
    /*
     * The connection that it came by. Once a controller has changed to a newer one, what the old one still has to
     * deliver is late: the list of brokers tells its age by nothing else.
     */
    int64_t source;
    const struct registration *brokers; /* replaces all; NULL keeps them */
    int32_t broker_count;
    const struct partition_change *partitions; /* sorted or not */
    int32_t partition_count;
};

/* A reference to a new view, or to the old one when the change is late. Copies what it keeps of `change`. */
struct view *view_apply(struct view *old, const struct view_change *change);

/* ---- Publishing ---- */

struct view_board;

/* `loops` get every view that is published. */
struct view_board *view_board_new(struct loop *const *loops, int count);
void view_board_close(struct view_board *b); /* nobody is told any more that a view was seen */
void view_board_free(struct view_board *b);  /* after all its loops */
/*
 * Applies and publishes. `seen` is posted to `home` once every loop uses the new view. Any thread; changes take
 * effect in the order of the calls.
 */
void view_board_apply(struct view_board *b, const struct view_change *change, struct loop *home, struct message *seen);
/* The newest view, with a reference: for threads that are not among the loops. */
struct view *view_board_latest(struct view_board *b);
/* As leader_changes_read(). Any thread. */
int view_board_leader_changes(struct view_board *b, struct leader_change out[LEADER_CHANGES_KEPT]);

/* Called on its loop after each new view, until it is removed: for requests that wait for one. */
struct view_watcher {
    void (*changed)(struct view_watcher *self);
    struct view_watcher *prev, *next;
};
void view_watch(struct view_watcher *w);
void view_unwatch(struct view_watcher *w);

/* The calling loop's view. Never NULL on a loop of the board once its first message was delivered. */
const struct view *view_current(void);

#endif
