/* The inside of the controller, shared by the files of its folder. Control loop only. */
#ifndef BARNABAS_CONTROLLER_INTERNAL_H
#define BARNABAS_CONTROLLER_INTERNAL_H

#include "base/hash.h"
#include "controller/controller.h"

enum partition_state { PARTITION_NONE, PARTITION_NEW, PARTITION_ONLINE, PARTITION_OFFLINE };

enum replica_state {
    REPLICA_NONE,
    REPLICA_ONLINE,
    REPLICA_OFFLINE,
    REPLICA_DELETION_STARTED,
    REPLICA_DELETED,
    REPLICA_INELIGIBLE, /* cannot be deleted now: its broker is down or has failed */
};

struct ctl_topic;

struct ctl_partition {
    struct ctl_topic *topic;
    int32_t index;
    enum partition_state state;
    struct int_list replicas, adding, removing; /* heap */
    enum replica_state *replica_states;         /* one for each of `replicas` */
    struct int_list failed;                     /* heap: brokers whose log directory of it is offline */
    struct int_list just_failed;                /* heap: those of them that nothing was done about yet */
    bool known;                                 /* leadership was read or written */
    bool stale;                                 /* it is not what is written there: to be read before it is replaced */
    bool untold;                                /* it was read anew, and nobody was told of it yet */
    bool reassigning;                           /* to other replicas; as from now */
    bool in_event;                              /* its reassignment is of the event under way */
    bool in_set;                                /* for partition_set_drop_repeats() */
    struct partition_znode leadership;          /* isr on the heap */
    struct int_list leaving;                    /* heap: brokers that are taken out by the event under way */
    enum kafka_error outcome;                   /* of its last election */
};

/* What a deletion waits for that cannot go on now: nobody is told of it again before. */
enum deletion_wait { WAITS_FOR_NOTHING, WAITS_FOR_BROKER, WAITS_A_MOMENT, WAITS_FOR_ZOOKEEPER };

struct ctl_topic {
    char *name;
    struct uuid id;
    int32_t version;                   /* of its node, as it was read or written last; perhaps ZK_ANY_VERSION */
    struct ctl_partition **partitions; /* in the order of their numbers; each on the heap, so that pointers stay */
    int32_t count;
    size_t room;
    bool deleting;                 /* and among those of the controller that are */
    bool starting;                 /* its deletion, by the step under way */
    enum deletion_wait waits;      /* its deletion */
    bool half_made;                /* by the controller before: nobody is told of it until the rest is there */
    bool listed;                   /* by the step under way */
    bool to_write;                 /* its node, by the step under way */
    bool unwritten;                /* it could not be written when it was tried last */
    bool to_read;                  /* its settings, by the election under way */
    bool unsettled;                /* they could not be read */
    struct ctl_topic *prev, *next; /* of those that are being deleted */
    UT_hash_handle hh, hh_id;
};

/* A name under /brokers/topics that is no topic, as it cannot be one, or its node cannot be read. Each is told of once.
 */
struct ignored {
    char *name;
    bool listed;
    UT_hash_handle hh;
};

/*
 * One that arrives is told of all partitions, in several requests. But for the last they do not say which brokers are
 * there: so it answers clients as one that knows nothing, which they ask again, and not with a part as if it were all.
 */
enum greeting { GREETED, GREETING_BEGINS, GREETING_ENDS };

struct ctl_broker {
    int32_t id;
    struct registration registration; /* in `memory` */
    struct arena memory;
    bool shutting_down, arriving;
    bool gone; /* it is no longer registered, and an event that deals with it is in the queue */
    enum greeting greeting;
    bool named;                  /* as a leader, by the request that is made */
    bool lost_dir;               /* it says so, by the event under way */
    int32_t preferred, deprived; /* partitions that it is the first replica of, and those of them that others lead */
    struct channel *channel;
    struct ctl_broker *next;
    UT_hash_handle hh;
};

/* Operations that are put together to one transaction, and the next when it is full. */
struct ctl_multi {
    struct zk_op *last;
    size_t count;
};

/* A growing list of partitions, passed between steps. */
struct partition_set {
    struct ctl_partition **v;
    size_t n, cap;
};

/* All partitions, topic by topic: for (struct partition_walk w = {0}; walk_on(c, &w);) ... w.partition. None may go. */
struct partition_walk {
    struct ctl_topic *topic;
    struct ctl_partition *partition;
    int32_t next;
    bool over;
};

/*
 * So many partitions are read, written or told of in one step, or only looked at: a step is a turn of the loop, on
 * which there are others.
 */
enum { PIECE = 1000, GLANCE = 20000 };

void partition_set_add(struct partition_set *set, struct ctl_partition *p);
void partition_set_clear(struct partition_set *set);
void partition_set_drop_repeats(struct partition_set *set); /* the first of each stays, in order */

struct event {
    const char *name;
    void (*run)(struct controller *c, struct event *e);
    /* The controller has resigned before or while the event was worked on. NULL: nothing to do. */
    void (*dropped)(struct controller *c, struct event *e);
    struct controller_call *call; /* of a request */
    int32_t number;               /* a broker id, where one is meant */
    char *text;                   /* a topic, where one is meant; freed with the event */
    int64_t posted_us;            /* when it was added to the queue */
    bool gathers;                 /* what brokers are to be told of may wait for the next one of its kind */
    struct event *next;
};

enum election {
    ELECT_OFFLINE,   /* the leader is gone */
    ELECT_UNCLEAN,   /* the same, and somebody wants a leader at the price of records */
    ELECT_PREFERRED, /* back to the first replica */
    ELECT_SHUTDOWN,  /* away from brokers that are about to stop */
    ELECT_REASSIGN,  /* to one of the replicas it is reassigned to, if it is not at one */
    ELECT_REFRESH,   /* the same leader in a new epoch, so that it learns of new replicas */
};

typedef void (*step_fn)(struct controller *c);
typedef void (*visit_fn)(struct controller *c, struct ctl_partition *p);
typedef void (*batch_fn)(struct controller *c, struct zk_batch *b);

struct controller {
    struct controller_options options;
    struct controller_metrics *metrics; /* NULL: nobody counts */
    bool started, active;
    int32_t active_id;     /* who is controller, -1 unknown */
    int32_t epoch;         /* mine, when active */
    int32_t epoch_version; /* of /controller_epoch: the fence */
    bool was_told;         /* this broker, of the cluster, by itself or by another controller */
    int64_t generation;    /* steps of an older one are dropped */
    struct event *queue, **queue_end, *running;
    struct timer next_event;
    struct timer rebalance;
    struct timer office_retry;
    bool office_refused; /* ZooKeeper does not let this broker take it, which was said */

    /* What is known when active. */
    struct ctl_broker *brokers, *brokers_by_id; /* the same */
    struct ctl_topic *topics, *topics_by_id;    /* the same */
    struct ctl_topic *deleting;                 /* those of them that are being deleted */
    struct ignored *ignored;

    /* Of the event that is being worked on. */
    struct partition_set work;    /* partitions on their way online, or whose replicas leave */
    struct partition_set later;   /* those that come after them: large work is done in pieces */
    int rounds;                   /* of writing the piece, as others have written, too */
    struct ctl_topic *piece_ends; /* of the last partition that was taken into a piece; only to be compared */
    struct partition_walk walk;   /* of all, in pieces */
    visit_fn visit;               /* by ctl_walk() and ctl_tell() */
    step_fn walked;               /* behind the last */
    int32_t listed;               /* failover: how many of the listed topics are read */
    enum election election;
    step_fn then;                    /* behind the last piece of work */
    struct zk_batch *loading;        /* failover: brokers and topics, while states are read */
    struct zk_batch *entities, *ids; /* failover: brokers and topics that were read, and ids of topics without one */
    const struct zk_op *entity;      /* of them: what is taken next */
    step_fn topics_written;          /* behind the last try to write the nodes of topics */
    int topic_tries;
    struct int_list gone; /* heap: the brokers that the event is about */
    struct reassigning *reassigning;
    struct deleted_topic *deleted; /* whose nodes are being deleted; in the arena of `markers` */
    struct zk_batch *markers;      /* the orders to delete them, which go when all else has gone */
    int depth;                     /* how often something else was found below their nodes */
    struct timer deletion_retry;
    struct outbox *outbox;
};

/* ---- office.c ---- */

void ctl_resign(struct controller *c, const char *why);
void ctl_resign_for_now(struct controller *c, const char *why); /* and tries again after a pause */
void office_changed(struct controller *c, struct event *e);     /* /controller was made, changed or deleted */

/* ---- events.c: events and steps ---- */

void events_init(struct controller *c);
void events_drop(struct controller *c); /* all, also the running one; who waits for an answer gets it */
void event_post(struct controller *c, const char *name, void (*run)(struct controller *, struct event *));
/* Unless the last event of the queue is the same. */
void event_post_once(struct controller *c, const char *name, void (*run)(struct controller *, struct event *));
struct event *event_new(const char *name, void (*run)(struct controller *, struct event *));
void event_add(struct controller *c, struct event *e);
void event_done(struct controller *c); /* the running one: sends what it has put into the outbox */
/* Sends a batch for the running event; `step` gets it, unless the controller was fenced meanwhile. */
void ctl_submit(struct controller *c, struct zk_batch *b, batch_fn step);
/* `step` gets a batch without meaning, after others had their turn on the loop. */
void ctl_breathe(struct controller *c, batch_fn step);
struct zk_batch *ctl_batch(void);
/* Visits all partitions, as many in a turn of the loop as none notices; then `then`. The outbox may be sent meanwhile.
 */
void ctl_walk(struct controller *c, visit_fn visit, step_fn then);
/* The same of what is put into the outbox: it is sent piece by piece, each of which ends with a topic. */
void ctl_tell(struct controller *c, visit_fn tell, step_fn then);
/* Fences an operation with the controller epoch. */
void ctl_fence(struct controller *c, struct zk_op *op);
/* The same, in a transaction with those before it. They were added to the batch one after the other. */
void ctl_together(struct controller *c, struct ctl_multi *m, struct zk_op *op);
/* A request becomes an event; answered with `inactive` at once when this is not the controller. */
void ctl_post_call(struct controller *c, const char *name, void (*run)(struct controller *, struct event *),
                   struct controller_call *call, enum kafka_error inactive);
void event_done_step(struct controller *c);                     /* a last step */
void call_answer(struct controller *c, enum kafka_error error); /* ends the running event, and answers its caller */

/* ---- context.c ---- */

void context_clear(struct controller *c);
struct ctl_broker *context_broker(const struct controller *c, int32_t id);
bool broker_is_live(const struct controller *c, int32_t id); /* and not shutting down */
bool broker_is_live_or_stopping(const struct controller *c, int32_t id);
/* The broker is live, and its log directory of the partition is not known to be offline. */
bool replica_is_online(const struct controller *c, const struct ctl_partition *p, int32_t broker);
struct ctl_broker *context_add_broker(struct controller *c, const struct registration *r);
void context_remove_broker(struct controller *c, int32_t id);
struct ctl_topic *context_topic(const struct controller *c, struct str name);
struct ctl_topic *context_topic_by_id(const struct controller *c, struct uuid id);
/* NULL when there is none. */
struct ctl_partition *context_partition(const struct controller *c, struct str topic, int32_t index);
struct ctl_topic *context_add_topic(struct controller *c, const char *name, struct uuid id);
void context_remove_topic(struct controller *c, struct ctl_topic *t);
void context_set_deleting(struct controller *c, struct ctl_topic *t); /* perhaps again */
struct ignored *context_ignored(const struct controller *c, struct str name);
void context_ignore(struct controller *c, struct str name);
void context_stop_ignoring(struct controller *c, struct ignored *i);
/* The partition of that number, or NULL. */
struct ctl_partition *topic_partition(const struct ctl_topic *t, int32_t index);
struct ctl_partition *topic_add_partition(struct ctl_topic *t, int32_t index); /* which is not there yet */
int32_t context_partition_count(const struct controller *c);
bool walk_on(const struct controller *c, struct partition_walk *w);
bool walk_is_between_topics(const struct partition_walk *w);
/*
 * Leaves a piece in c->work, each partition once, and puts the rest aside; then sends what there is to be told, and
 * takes the next piece: false if there is none.
 */
void work_begin(struct controller *c);
bool work_next(struct controller *c);
/* Takes into c->work what of the piece is to be tried again: false if there is nothing, or it was tried often enough.
 */
bool work_again(struct controller *c, struct partition_set *again);
/* Whether each is to be written by itself by now: one that cannot be written would keep its neighbours from it. */
bool work_goes_alone(const struct controller *c);
void partition_assign(struct ctl_partition *p, struct int_list replicas, struct int_list adding,
                      struct int_list removing);
void partition_set_leadership(struct ctl_partition *p, const struct partition_znode *l);
enum replica_state *replica_state_of(struct ctl_partition *p, int32_t broker);

/* ---- elections.c ---- */

void partition_change_state(const struct controller *c, struct ctl_partition *p, enum partition_state to);
/*
 * Takes the partitions of c->work online, New ones by creating their state, others by election; then `then`. Each has
 * its `outcome`.
 */
void partitions_online(struct controller *c, enum election election, step_fn then);
void partitions_elect(struct controller *c); /* goes on with it: those of c->work that have a state */
/* For ctl_walk(): those that are New or Offline and not being deleted, into c->work. */
void collect_electable(struct controller *c, struct ctl_partition *p);
/* Tells the live replicas of it, except those that are leaving, who leads. */
void partition_announce(struct controller *c, struct ctl_partition *p, bool is_new);
/* Operations on the partition's state, which belong to the partition. Written with others, or alone (NULL). */
struct zk_op *read_state(struct zk_batch *b, struct ctl_partition *p);
struct zk_batch *states_to_read(const struct controller *c); /* of those of c->work that must be read */
struct zk_op *write_state(struct controller *c, struct zk_batch *b, struct ctl_multi *m, struct ctl_partition *p,
                          const struct partition_znode *next, int32_t version);
/* Whether it is to be tried again from what is read: somebody else has written, here or beside it. */
bool write_is_overtaken(const struct zk_op *set);
/* Whether what is there is not known: it could only be replaced by chance. */
bool state_must_be_read(const struct ctl_partition *p);
/* Takes what read_state() has found, unless it is a newer controller's. */
void partition_take_read(const struct controller *c, struct arena *a, const struct zk_op *read);
/* Decodes what a set of a state has written: false if it was not written, and must be read. */
bool partition_take_written(struct ctl_partition *p, struct arena *a, const struct zk_op *set);

/* ---- creation.c ---- */

/* The first state of those of c->work that are New; then partitions_elect(). */
void states_create(struct controller *c);

/* ---- replicas.c ---- */

/* The broker's replica is to leave: one for replicas_offline(). */
void replica_leaves(struct controller *c, struct ctl_partition *p, int32_t broker);
/* Replicas that leave are stopped and go out of the ISRs; c->work are their partitions. */
void replicas_offline(struct controller *c, step_fn then);

/* What a broker says of its replica: ERR_KAFKA_STORAGE_ERROR, it has none there to use; ERR_NONE, it has. */
void replica_reported(struct controller *c, struct ctl_partition *p, int32_t broker, enum kafka_error error);

/* ---- reassignment.c ---- */

/* Those of c->work whose new replicas are all in sync are brought to an end, others set on their way; then `then`. */
void reassignments_go_on(struct controller *c, step_fn then);
/* Looks at all soon, if it has arrived where it is to be. */
void reassignment_isr_changed(struct controller *c, const struct ctl_partition *p);
/* The same, as an end that could not be written when the topic had changed may be now. */
void reassignment_topic_changed(struct controller *c, const struct ctl_topic *t);
bool is_reassigned_to(const struct ctl_partition *p, int32_t broker);    /* which is among the new ones, or stays */
void collect_reassigning(struct controller *c, struct ctl_partition *p); /* for ctl_walk(): into c->work */
void reassignment_requested(struct controller *c, struct event *e);
void reassigning_free(struct controller *c);
bool topic_is_reassigning(const struct ctl_topic *t);

/* ---- preference.c ---- */

void rebalance_start(struct controller *c); /* looks at the balance of leaders from now on */
void preferred_election_requested(struct controller *c, struct event *e);

/* ---- failover.c, brokers.c, topics.c, deletion.c ---- */

void failover_start(struct controller *c);
void brokers_changed(struct controller *c, struct event *e);
void broker_modified(struct controller *c, struct event *e);
/*
 * Writes the nodes of the topics of these partitions as they are known, with what else is in them; then `then`. Those
 * that could not be are `unwritten` until the next time.
 */
void topics_write(struct controller *c, const struct partition_set *of, step_fn then);
/* Of a topic whose node was read, and understood. */
struct ctl_topic *topic_take(struct controller *c, struct zk_batch *ids, const struct zk_op *read,
                             struct topic_znode *z);
void topics_changed(struct controller *c, struct event *e);
void topic_modified(struct controller *c, struct event *e);
void deletions_changed(struct controller *c, struct event *e);
void deletion_replica_done(struct controller *c, struct event *e);
/* Goes on with every deletion that can; then `then`. */
void deletions_resume(struct controller *c, step_fn then);
/* Those that wait for it are no longer held up, as far as is known. */
void deletions_may_go_on(struct controller *c, enum deletion_wait wait);
/* Of a live broker, which is asked again after a pause. */
void deletion_failed(struct controller *c, struct ctl_topic *t);
/* Takes the list of topics that are to be deleted; of those that are not there, or may not be, it is cleared. */
void deletions_take_list(struct controller *c, const struct zk_op *list);
void deletions_init(struct controller *c);
void deletions_drop(struct controller *c); /* what is under way */
void isr_changed(struct controller *c, struct event *e);
void log_dirs_changed(struct controller *c, struct event *e);
/* Reads the node of a listed name, with a watch, unless no topic can be called so. */
void topic_read(struct controller *c, struct zk_batch *b, struct str name);
/* What a topic's node says: false if it is not there, or makes no sense. */
bool topic_understand(struct controller *c, struct arena *a, const struct zk_op *read, struct topic_znode *z);

/* ---- outbox.c: what brokers are to be told ---- */

struct outbox *outbox_new(void);
void outbox_free(struct outbox *o);
void outbox_clear(struct outbox *o);
/* LeaderAndIsr to those brokers. */
void outbox_order(struct controller *c, struct int_list brokers, struct ctl_partition *p, bool is_new);
/* The same, and UpdateMetadata of the partition to all. */
void outbox_leader_and_isr(struct controller *c, struct int_list brokers, struct ctl_partition *p, bool is_new);
void outbox_metadata(struct controller *c, struct ctl_partition *p); /* to all brokers */
/* To all brokers, that it goes. From now on it is in PARTITION_NONE, and nobody hears of it again. */
void outbox_metadata_deleted(struct controller *c, struct ctl_partition *p);
void outbox_brokers_only(struct controller *c); /* the live brokers, to all */
void outbox_metadata_to(struct controller *c, struct ctl_broker *b, struct ctl_partition *p); /* to one */
/* To those that are being greeted; behind the last partition, that this was all. */
void outbox_greet(struct controller *c, struct ctl_partition *p);
void outbox_end_greetings(struct controller *c);
void outbox_stop_replica(struct controller *c, int32_t broker, struct ctl_partition *p, bool delete_it);
void outbox_flush(struct controller *c);
void outbox_flush_if_full(struct controller *c); /* when there is enough for requests of PIECE partitions */
bool outbox_may_wait(struct controller *c);      /* what is in it: there is little, and not for long */

/* ---- controller_metrics.c ---- */

void controller_metrics_new(struct controller *c);
void controller_metrics_free(struct controller *c);
void controller_count_office(struct controller *c); /* it was taken, or left */
void controller_count_queued(struct controller *c, int change);
void controller_count_begun(struct controller *c, const struct event *e);
void controller_count_done(struct controller *c, const struct event *e);
void controller_count_unclean(struct controller *c); /* a leader was elected that was not in sync */
struct channel_counts;
struct channel_counts *channel_counts_new(struct controller *c, int32_t broker); /* NULL: nobody counts */
void channel_counts_free(struct channel_counts *n);
void channel_count_queued(struct channel_counts *n, int change);
void channel_count_sent(struct channel_counts *n, int64_t queued_us);

/* ---- channel.c: to one broker ---- */

/* A request to brokers, in which only the epoch of the broker differs; counted. */
struct memo {
    int refs;
    int16_t api_key, version;
    size_t epoch_at; /* where that is in the frame */
    struct strbuf frame;
};

/* What a request has for the broker's epoch when it is made, so that its place is found; nothing before it can be that.
 */
#define EPOCH_MARK INT64_C(0x6261726e61626173)

/* Takes the frame. The reference is the caller's. */
struct memo *memo_new(int16_t api_key, int16_t version, struct strbuf *frame);
void memo_unref(struct memo *m);

struct channel *channel_new(struct controller *c, const struct registration *r);
void channel_free(struct channel *ch);
/* Sends it after those before it, again until it is answered. */
void channel_send(struct channel *ch, struct memo *m, int64_t broker_epoch);

#endif
