/*
 * The cluster as it was seen in one look. Immutable once it is there, and counted: any thread may read it.
 */
#ifndef BARNABAS_LOOK_H
#define BARNABAS_LOOK_H

#include "cluster/view.h"

enum look_scope {
    LOOK_OWN, /* groups of this broker and ends of partitions that they have read from; partitions that it leads */
    LOOK_ALL, /* all partitions, groups and directories */
};

enum { LATE_TRANSACTION_MS = 60000 };
enum { LOOK_UNKNOWN = -1 }; /* an offset, a time or a size that nobody has told */

struct look_partition {
    int64_t begin, end;        /* log start offset, high watermark */
    int64_t smallest, largest; /* bytes of replicas: of one that is being filled, and of one that is whole */
};

struct look_topic {
    const struct view_topic *topic;
    struct look_partition *partitions; /* as in `topic` */
    int64_t bytes;                     /* of all replicas */
    const char *cleanup_policy;        /* NULL: not known */
    int32_t min_isr;                   /* min.insync.replicas; LOOK_UNKNOWN */
    int64_t asked_ms;                  /* when it was asked for, of a topic that has no replica here */
};

/* A partition whose replicas are being changed. */
struct look_move {
    struct str topic;
    int32_t partition;
    int64_t copied, whole; /* bytes of the replica that has least, and of the one that has most; LOOK_UNKNOWN */
    double rate;           /* bytes that were copied in a second, lately; LOOK_UNKNOWN */
};

struct look_broker {
    const struct registration *broker;
    int64_t bytes;        /* in all its directories */
    const char *protocol; /* its inter.broker.protocol.version; NULL: not known */
    bool is_barnabas;     /* when the protocol is known: else it is Apache's */
};

/* A transaction that has been open for longer than LATE_TRANSACTION_MS. */
struct look_transaction {
    struct str id, state;
    int32_t coordinator;
    int64_t started_ms; /* LOOK_UNKNOWN */
    int32_t partitions; /* that it has written to; LOOK_UNKNOWN */
};

struct look_commit {
    int32_t partition;
    int64_t offset;
    int64_t first;     /* no record is between `offset` and there, as far as is known, but markers of transactions */
    int64_t timestamp; /* of the record that is there, and waits; LOOK_UNKNOWN */
    int64_t asked_ms;  /* when it was asked for; 0: never */
};

struct look_group_topic {
    struct str name;
    const struct look_topic *topic; /* NULL: it is gone */
    struct look_commit *commits;    /* ascending */
    int32_t commit_count;
    int32_t members, assigned; /* members that have some of it, and how many partitions */
};

struct look_group {
    int32_t coordinator;
    struct str id, state, protocol_type, protocol;
    int32_t members, idle_members; /* those that nothing is assigned to */
    struct look_group_topic *topics;
    int32_t topic_count, topic_room; /* a power of two, or 0 */
    int32_t *places;                 /* twice as many, by hash of the name: where the topic is, from 1; 0: nothing */
    bool described;                  /* the state and the members are known */
    int64_t lag;                     /* records that wait; LOOK_UNKNOWN */
    double lag_change;               /* of it in a second, since the look before; NAN: it was not known then */
};

struct look {
    atomic_int refs;
    struct arena memory;
    enum look_scope scope;
    int32_t broker_id; /* that looked */
    const char *cluster_id;
    int64_t taken_ms; /* wall clock */
    struct view *view;
    struct look_topic *topics; /* as in `view`; ascending by name */
    struct look_broker *brokers;
    int32_t broker_count;
    struct look_group *groups; /* by coordinator, and there by name */
    int32_t group_count;
    struct look_move *moves;
    int32_t move_count; /* -1: the controller has not said */
    struct look_transaction *transactions;
    int32_t transaction_count;
    struct leader_change leader_changes[LEADER_CHANGES_KEPT]; /* the newest first */
    int leader_change_count;
    int32_t unanswered; /* questions, or not in all that they were about; something may be missing */
};

void look_ref(struct look *l);
void look_unref(struct look *l);                                   /* NULL is fine */
struct look_broker *look_broker(const struct look *l, int32_t id); /* NULL: it is not there */
struct look_topic *look_topic(const struct look *l, struct str name);
/* NULL: there is none of that number. */
struct look_partition *look_partition(const struct look_topic *t, int32_t partition);
/* Where the partition of a commit ends; LOOK_UNKNOWN. */
int64_t look_end(const struct look_group_topic *t, const struct look_commit *c);
/* Whether a record waits, as far as is known. */
bool look_waits(const struct look_group_topic *t, const struct look_commit *c);
/* For how long by `now_ms`; 0: none waits; LOOK_UNKNOWN. */
int64_t look_waits_ms(const struct look_group_topic *t, const struct look_commit *c, int64_t now_ms);
/* While the look is taken: what has come of the partition from `first` on. */
void look_take_first(struct look_commit *c, struct bytes records);
/* Likewise: what was known of commits that have not moved since, or not for too long. */
void look_remember_firsts(struct look *l, const struct look *before, int64_t now_ms);
/* Of that coordinator; NULL: there is none of that name. */
struct look_group *look_group(const struct look *l, int32_t coordinator, struct str id);
int look_group_order(const void *a, const void *b); /* as they are kept, for qsort() */
/* NULL: the group has nothing to do with that topic. */
const struct look_group_topic *look_find_group_topic(const struct look_group *g, struct str name);
/* While the look is taken: what the group has to do with that topic, which is added if it is not there yet. */
struct look_group_topic *look_group_topic(struct look *l, struct look_group *g, struct str name);

#endif
