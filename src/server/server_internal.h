/* What the handlers share: a request on its way through the threads, and the way back. */
#ifndef BARNABAS_SERVER_INTERNAL_H
#define BARNABAS_SERVER_INTERNAL_H

#include "protocol/msg/api.h"
#include "protocol/wire.h"
#include "server/server.h"

/* Of a text that a client has sent, so much is said again in an error's message, which is to fit into a string. */
enum { MOST_SAID = 1000 };

struct request {
    struct services *s;
    struct exchange *x;
    struct arena *arena; /* the exchange's */
    const struct api_entry *api;
    int16_t version;
    int32_t correlation_id;
    struct str client_id;
    struct reader body;
    void *state;   /* the handler's, in the arena */
    void *waiting; /* the same, while it waits and can be woken by the loss of the connection */
    /* Hopping between loops. */
    struct message message;
    void (*landed)(struct request *r);
    struct job job;
    void (*work)(struct request *r);
    struct auto_creation *creation; /* of topics that the request needs */
    /* Quotas. */
    int64_t used_us; /* of its loop's time, before it went to wait or to another thread; 0: it has not yet */
    bool is_judged;
    /* What it has done until `since_us`, from when on it runs or waits (request_metrics.h). */
    int64_t since_us, queue_us, local_us, remote_us;
    int64_t rebuild_us, unfolded; /* of records that were converted: how long that took; and bytes of memory for it */
    int32_t body_len;
    char *logged_answer;          /* as it is to be logged, in the arena; NULL: not known, or not to be logged */
    uint8_t flavor;               /* enum request_flavor */
    bool waits;                   /* for what others do, until it is called again */
    bool denied_as_broker;        /* so that it counts as a client's */
    struct quota_verdict verdict; /* how long its sender pauses */
};

struct api_entry {
    enum api_key key;
    int16_t min, max;                  /* versions that work, which are those that are advertised */
    bool overlaps;                     /* may be started while earlier ones of its kind are open */
    void (*handle)(struct request *r); /* on the connection's loop; answers once */
};

/* The row of each API; server.c collects them. */
extern const struct api_entry *const api_table[];
extern const size_t api_table_len;

/* ---- Answering, on the connection's loop ---- */

/* A writer that holds the frame's length and the response header already. */
void answer_begin(struct request *r, struct writer *w);
void answer_send(struct request *r, struct writer *w);

/* Encodes `response`, of the message type `name`, and sends it. */
#define ANSWER(r, name, response)                               \
    do {                                                        \
        struct writer answer_writer;                            \
        answer_begin((r), &answer_writer);                      \
        name##_write(&answer_writer, (r)->version, (response)); \
        answer_send((r), &answer_writer);                       \
    } while (0)

/* The frame alone, to be sent later. Only for answers that are small by nature. */
void answer_take(struct request *r, struct writer *w, struct outgoing *out);
#define ANSWER_INTO(r, name, response, out)                     \
    do {                                                        \
        struct writer answer_writer;                            \
        answer_begin((r), &answer_writer);                      \
        name##_write(&answer_writer, (r)->version, (response)); \
        answer_take((r), &answer_writer, (out));                \
    } while (0)

/* Decodes into `out`; on failure the connection is closed, and the handler returns. */
#define DECODE(r, name, out) (name##_read(&(r)->body, (r)->version, (out)) ? request_decoded(r) : !request_malformed(r))
bool request_malformed(struct request *r); /* true */
bool request_decoded(struct request *r);   /* true; from now on memory is taken for the answer */
/*
 * The answer takes more memory than any may: it will not be sent, so whatever makes it longer by what the request
 * repeats can stop. Any thread that works on the request.
 */
bool request_is_spent(const struct request *r);

/* ---- Quotas (throttle.c), on the connection's loop ---- */

/*
 * Counts the time that the request has taken, and makes its connection pause for that or for what `other` says, which
 * is the answer's throttle time. Once, before the answer is encoded. answer_send() does so for whoever has not, and
 * writes the time into the answer where it knows its place: of all APIs but Produce and ApiVersions.
 */
struct quota_verdict request_judge(struct request *r, struct quota_verdict other);
/* Instead of the judgement: Produce with acks=0 only counts bytes, and followers nothing. */
void request_pause(struct request *r, struct quota_verdict v);
/* Its time is nobody's, and told of as that (exempt-request-time). */
void request_exempt(struct request *r);
struct quota_client request_quota_client(const struct request *r);
/* In the arena, for other loops: the connection may come to be somebody else's meanwhile (KIP-368). */
struct quota_client request_quota_client_copy(const struct request *r);
/* Waits for something that may take long (exchange_park()), which is not counted as its own time. */
void request_park(struct request *r);
/* The same without a place to give up; for who leaves the loop, or goes on later in its turn. */
void request_leaves(struct request *r);
/* It has taken more of its loop's time since, together with others. */
void request_has_taken(struct request *r, int64_t us);

static inline bool request_has_limit(const struct request *r, enum quota_type type)
{
    return quotas_limit(r->s->quotas, type);
}

/* ---- Hopping ---- */

/*
 * Goes on with `then` on that loop. The exchange must not be touched there, but its arena may. Who leaves its loop so
 * has no place of queued.max.requests any more (exchange_park()): others are read from and served meanwhile.
 */
void request_hop(struct request *r, struct loop *loop, void (*then)(struct request *r));
/* The same as a visit (base/loop.h), for short work. What the caller does afterwards may come after `then`. */
void request_visit(struct request *r, struct loop *loop, void (*then)(struct request *r));
void request_return(struct request *r, void (*then)(struct request *r)); /* to the connection's loop */
/* Runs `work` on a worker, then `then` on the connection's loop. */
void request_work(struct request *r, void (*work)(struct request *r), void (*then)(struct request *r));
/* The same for what may have to wait for a disk: it gives up its place, as with request_hop(). */
void request_disk_work(struct request *r, void (*work)(struct request *r), void (*then)(struct request *r));
/* The same as request_work() on a worker of others than the usual ones. */
void request_work_on(struct request *r, struct workers *workers, void (*work)(struct request *r),
                     void (*then)(struct request *r));

/* Waiting on the connection's loop until its view shows what the request has changed. */
struct view_wait {
    bool (*visible)(struct request *r); /* all of it is to be seen */
    void (*over)(struct request *r);    /* it is, or the time is over, or nobody waits any more: to be answered */
    struct request *r;
    struct view_watcher watcher;
    struct timer patience;
};
void view_wait(struct request *r, struct view_wait *w, int32_t timeout_ms);

/* Of the loop that its connection is on. */
const struct loop_share *request_loop_share(const struct request *r);
/* Who has sent it, for as long as its connection is. */
struct principal request_principal(const struct request *r);
/* Name of the listener that the request came in by. */
const char *request_listener(const struct request *r);

/* Why a partition cannot be served here: its disk has failed, it is led elsewhere, or not known at all. */
enum kafka_error partition_missing(const struct services *s, struct str topic, int32_t index);

/* ---- Where a partition is led, for who has asked in the wrong place (current_leader.c) ---- */

struct current_leader {
    int32_t id, epoch; /* -1: there is none, or nobody knows */
};
struct leader_node {
    int32_t id, port;
    struct str host, rack;
};
/* One answer's, filled and encoded in one callback of the loop: the view must be the same. All but `r` begins as 0. */
struct leaders_told {
    const struct request *r;
    struct leader_node *nodes; /* that can be reached by the request's listener, each once */
    int32_t count;
    bool *named; /* of the view's brokers, by their places */
};
/* `p`: NULL if there is none here. */
struct current_leader leaders_tell(struct leaders_told *t, struct str topic, int32_t index, struct partition *p);

/* ---- Orders of the controller (order_lane.c) ---- */

struct order { /* one that waits for its turn */
    struct request *request;
    void (*begin)(struct request *r);
    struct order *next;
};

/* Calls `begin` on the connection's loop when all orders that came before have left; perhaps from within. */
void order_enter(struct order *o, struct request *r, void (*begin)(struct request *r));
void order_leave(struct order_lane *lane); /* the next may begin. Any thread. */
/* Whether the sender is the controller, and means this broker: not the one that it was before it registered again. */
enum kafka_error controller_check(const struct request *r, int64_t broker_epoch, int32_t controller_epoch);

/* ---- Settings that a request changes in ZooKeeper (config_writes.c), on the control loop ---- */

/* Has the batch done, with `ctx` for its callback; if nothing is in it, goes on with `then` on the connection's loop.
 */
void request_submit(struct request *r, struct zk_batch *b, void *ctx, void (*then)(struct request *r));

/* A write of an entity's settings, on condition that they are as they were read, and the notification of it: both or
 * neither. */
void config_write_notified(struct zk_batch *b, struct zk_op *write, void *owner, const char *entity);

enum config_written {
    CONFIG_WRITTEN,
    CONFIG_OVERTAKEN, /* somebody else has changed them meanwhile: they are to be read again */
    CONFIG_TOO_LARGE,
    CONFIG_UNWRITTEN, /* ZooKeeper cannot be asked now */
};
enum config_written config_write_result(const struct zk_op *write);

/* ---- Partitions that a request names more than once (named_again.c) ---- */

struct named_partition {
    struct str topic;
    int32_t index;
};
/* For each in their order: whether it is named again further on. In the arena. */
bool *named_again(struct arena *a, const struct named_partition *named, int32_t count);
/* The same of whether it is named anywhere else. */
bool *named_twice(struct arena *a, const struct named_partition *named, int32_t count);

/*
 * Lists a request's partitions, by topics, in its order: in the arena, as `named`, with their count. `NAME` and `INDEX`
 * say it of an entry's address.
 */
#define LIST_NAMED(a, topics, NAME, parts, INDEX, named, count)                                                      \
    do {                                                                                                             \
        int32_t listed_ = 0;                                                                                         \
        (count) = 0;                                                                                                 \
        for (int32_t t_ = 0; t_ < (topics).len; t_++)                                                                \
            (count) += MAX((topics).items[t_].parts.len, 0);                                                         \
        (named) = ARENA_ARRAY((a), struct named_partition, MAX((count), 1));                                         \
        for (int32_t t_ = 0; t_ < (topics).len; t_++)                                                                \
            for (int32_t i_ = 0; i_ < (topics).items[t_].parts.len; i_++)                                            \
                (named)[listed_++] =                                                                                 \
                    (struct named_partition){NAME(&(topics).items[t_]), INDEX(&(topics).items[t_].parts.items[i_])}; \
    } while (0)

/*
 * Keeps those that are not named again further on: as in Kafka, where a map of them is made, a partition counts once,
 * with what was said of it last.
 */
#define DROP_NAMED_AGAIN(a, topics, NAME, parts, INDEX)                                           \
    do {                                                                                          \
        int32_t total_, at_ = 0;                                                                  \
        struct named_partition *named_;                                                           \
        LIST_NAMED(a, topics, NAME, parts, INDEX, named_, total_);                                \
        const bool *again_ = named_again((a), named_, total_);                                    \
        for (int32_t t_ = 0; t_ < (topics).len; t_++) {                                           \
            int32_t kept_ = 0, len_ = (topics).items[t_].parts.len;                               \
            for (int32_t i_ = 0; i_ < len_; i_++)                                                 \
                if (!again_[at_++])                                                               \
                    (topics).items[t_].parts.items[kept_++] = (topics).items[t_].parts.items[i_]; \
            (topics).items[t_].parts.len = MIN(kept_, len_);                                      \
        }                                                                                         \
    } while (0)
#define TOPIC_NAME(t) ((t)->name)
#define PARTITION_INDEX(p) ((p)->partition_index)

/* ---- Waiting for the replicas in sync (commit_wait.c), on the connection's loop ---- */

struct commit_item {             /* one append */
    struct partition *partition; /* with a reference; NULL: settled */
    struct waiter waiter;
    int64_t last_offset;
    int32_t leader_epoch;
    bool settled; /* once */
};

struct commit_wait {
    struct request *r;
    struct commit_item *items;
    int32_t count, unsettled;
    int32_t places;  /* on which it waits; 0: it does not */
    bool for_others; /* they have to hear of it, too: it waits on when who has asked is gone */
    void (*settled)(struct commit_wait *w, int32_t i, enum kafka_error error); /* an item is committed, or not */
    void (*over)(struct commit_wait *w);                                       /* all are: to be answered */
    struct sleeper sleeper;
    int64_t ends_ms; /* monotonic */
    struct timer deadline;
};

void commit_wait_init(struct commit_wait *w, struct request *r, int32_t count);
void commit_settle(struct commit_wait *w, int32_t i, enum kafka_error error);
/* Until all are settled. over() perhaps from within. */
void commit_wait(struct commit_wait *w, int64_t timeout_ms);

/* ---- Transactions (transactions.c) ---- */

struct init_producer_id_request;
void init_transactional_producer(struct request *r, const struct init_producer_id_request *in);

/* ---- Internal topics (topic_creation.c) ---- */

/* On the control loop: makes the topic as this broker would; calls `then` on the connection's loop. */
struct topic_creation {
    struct str name;
    enum kafka_error error;
};
/* Creates those topics with the defaults, the internal ones with their own settings; then goes on on the connection's
 * loop. */
void create_topics_then(struct request *r, struct topic_creation *topics, int32_t count,
                        void (*then)(struct request *r));

#endif
