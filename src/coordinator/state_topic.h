/*
 * What the coordinators have in common. The state of a coordinator lies in an internal topic, by key: which partition
 * a key belongs to follows from its text, and the broker that leads a partition coordinates its keys. It reads the
 * partition when it becomes the leader, has the state in memory from then on, and appends what changes.
 *
 * All on the loop of the coordinators.
 */
#ifndef BARNABAS_COORDINATOR_STATE_TOPIC_H
#define BARNABAS_COORDINATOR_STATE_TOPIC_H

#include "base/loop.h"
#include "base/strbuf.h"
#include "protocol/error.h"
#include "record/record.h"

/* An append under way; embedded by who asks for it. */
struct state_append {
    /* Committed as `leader_only` asks, or why not. On the loop, never from within state_append(). */
    void (*done)(struct state_append *append, enum kafka_error error);
    int64_t timeout_ms;
    bool leader_only; /* by the leader alone; else by all replicas in sync */
    int64_t guard;    /* as plog_begin_verification() gave it; 0: nothing was to be verified */
    int64_t offset;   /* that the batch got; valid in done() unless it was not appended */
};

/* How the topic's partitions are reached; a test has its own. */
struct state_log {
    /* Appends one v2 batch (base offset 0), unless another broker has led since that epoch. Takes what `batch` holds.
     */
    void (*append)(void *ctx, int32_t partition, int32_t leader_epoch, struct strbuf *batch,
                   struct state_append *append);
    /*
     * Reads batches from `offset` on, some or all, and answers on the loop. `batches` is empty at the end of what there
     * is. ERR_NOT_LEADER_OR_FOLLOWER stops the loading; after any other error it is tried again.
     */
    void (*read)(void *ctx, int32_t partition, int64_t offset, int32_t max_bytes,
                 void (*done)(void *arg, enum kafka_error error, struct bytes batches), void *arg);
    void *ctx;
};

enum ownership { NOT_OWNED, LOADING, OWNED };

struct state_partition {
    struct state_topic *topic;
    int32_t number;
    enum ownership ownership;
    int32_t leader_epoch;  /* in which it is, or was last, owned; a term may see several */
    int64_t term;          /* counts ownerships: what began in one may not end in another */
    int64_t next_offset;   /* while loading */
    int64_t load_began_us; /* monotonic, when it was owned last */
    struct timer retry;    /* while loading: of what could not be read */
    void *keys;            /* a list that its coordinator keeps of what belongs here; NULL is empty */
};

struct state_options {
    const char *topic; /* its name */
    struct loop *loop;
    struct state_log log;
    int32_t load_buffer_size;
    bool loads_one_count; /* nothing is loaded as long as the topic is seen to have another number of partitions */
    /* Takes batches that were read into the state. */
    void (*take)(void *ctx, struct state_partition *p, const struct batch *batch);
    void (*loaded)(void *ctx, struct state_partition *p);   /* all of them; it is owned now */
    void (*unloaded)(void *ctx, struct state_partition *p); /* the state of its keys is to be dropped */
    void *ctx;
};

/* `partition_count`: that it will have if it is still to be made. */
struct state_topic *state_topic_new(const struct state_options *options, int32_t partition_count);
void state_topic_free(struct state_topic *t); /* tells nobody */
/* Any thread: */
const char *state_topic_name(const struct state_topic *t);
struct loop *state_topic_loop(const struct state_topic *t);

/* As below, of one that is seen to have so many partitions. */
int32_t state_topic_number_of(struct state_topic *t, struct str key, int32_t seen);

/*
 * How many partitions the topic is seen to have. It depends on that where a key belongs, so the first count that is
 * known stays until the broker ends, as in Apache's: partitions that are added later hold no keys. Fewer than it would
 * be made with count until more are seen.
 *
 * Brokers that were started before somebody has added partitions, and after that, do not agree: each says that another
 * one coordinates a key. It is logged as an error, and, again as in Apache's, of transactions nothing more is loaded,
 * so that what is given away by a broker that knows one number is not taken over by one that knows another. Those that
 * are loaded are served, and groups as if nothing had happened.
 */
void state_topic_set_count(struct state_topic *t, int32_t seen);
/*
 * Leadership of a partition came or went. `led_since` is the first epoch of those that this broker has led without a
 * break: what was loaded in one of them is still what the log says.
 */
void state_topic_elected(struct state_topic *t, int32_t partition, int32_t leader_epoch, int32_t led_since);
void state_topic_resigned(struct state_topic *t, int32_t partition);
void state_topic_resign_all(struct state_topic *t); /* the broker stops */
bool state_topic_is_loading(const struct state_topic *t);

/*
 * For who looks at one at a time, and begins with 0: the one at `at`, which goes on. NULL, and back to 0, behind the
 * last.
 */
struct state_partition *state_topic_next(struct state_topic *t, int32_t *at);
struct state_partition *state_topic_find(struct state_topic *t, struct str key);
/* The batch has records, from the one at that offset on, that cannot be read: what comes after it is read all the same.
 */
void state_partition_note_damage(const struct state_partition *p, const struct batch *b, int64_t offset);
/* Whether the key that was read from it belongs there; else that is logged. */
bool state_partition_holds(const struct state_partition *p, struct str key);
/* Whether its keys are served here: ERR_COORDINATOR_LOAD_IN_PROGRESS, ERR_NOT_COORDINATOR. */
enum kafka_error state_partition_check(const struct state_partition *p);
/* Appends what was built, and frees the builder. */
void state_append(struct state_partition *p, struct batch_builder *b, struct state_append *append);
/* What the error of an append means to those who ask a coordinator; those that are not listed stay. */
enum kafka_error state_append_error(enum kafka_error error);
/* Adds a record; frees key and value, which may be NULL for a tombstone. */
struct writer;
void state_record_add(struct batch_builder *b, struct writer *key, struct writer *value, int64_t now);
/* A key or value, which begins with its version. False if it is not even that long. */
struct reader;
bool state_record_open(struct bytes data, struct arena *a, struct reader *r, int16_t *version) NODISCARD;

/* The partition of a topic of so many that holds the key; any thread. */
int32_t state_partition_of(struct str key, int32_t partition_count);

#endif
