/* The inside of the group coordinator, shared by the files of its folder. Coordinator loop only. */
#ifndef BARNABAS_GROUP_INTERNAL_H
#define BARNABAS_GROUP_INTERNAL_H

#include "base/hash.h"
#include "base/topic_key.h"
#include "coordinator/patience.h"
#include "group/group.h"
#include "group/group_metrics.h"
#include "protocol/msg/join_group.h"
#include "protocol/msg/offset_commit.h"
#include "protocol/msg/sync_group.h"
#include "record/record.h"

enum group_state { GROUP_EMPTY, GROUP_PREPARING, GROUP_COMPLETING, GROUP_STABLE, GROUP_DEAD };

struct member_protocol {
    struct str name;       /* heap, as all texts of a group that follow: what clients send may hold any byte */
    struct bytes metadata; /* heap */
};

struct member {
    struct group *group;
    struct str id, instance_id; /* instance_id null: dynamic */
    struct str client_id, client_host;
    int32_t rebalance_timeout_ms, session_timeout_ms;
    struct member_protocol *protocols;
    int32_t protocol_count;
    struct bytes assignment; /* heap */
    bool is_new;             /* has not got its first answer yet */
    bool sync_expected;      /* was told a generation, has not asked for its assignment */
    bool sync_inherited;     /* it was the process before that was told */
    /* Requests that wait for the rebalance; NULL: none. */
    struct group_call *join_call, *sync_call;
    struct join_group_response *join_response;
    struct sync_group_response *sync_response;
    struct patience session;
    UT_hash_handle hh, hh_instance;
};

/* An id that was given out, and has not come back with it yet (KIP-394). */
struct pending_member {
    struct group *group;
    struct str id;
    struct patience patience;
    struct pending_member *prev, *next; /* of all that the coordinator has promised, in their order */
    UT_hash_handle hh;
};

/* A protocol that members know. */
struct protocol_support {
    int members; /* how many do */
    int votes;   /* while one is elected */
    int64_t pass;
    UT_hash_handle hh;
    int32_t len;
    char name[];
};

struct offset_value {
    int64_t offset, commit_ms, expire_ms; /* expire_ms -1: by offsets.retention.minutes */
    int64_t at;                           /* where it is in the log; -1: not there yet */
    int32_t leader_epoch;
    struct str metadata; /* of what is in a table: on the heap */
};

/* A partition of which an offset is on its way to the log, outside of any transaction. */
struct pending_commit {
    struct topic_key id;
    const void *last; /* the latest commit of it */
    UT_hash_handle hh;
};

struct offset_entry {
    struct topic_key id;
    struct offset_value value;
    UT_hash_handle hh;
};

struct txn_offset_key {
    int64_t producer_id;
    struct topic_key id;
};

/* An offset that was committed within a transaction that is open, or is about to be. */
struct txn_offset {
    struct group *group;
    struct txn_producer *producer;
    struct txn_offset_key key;
    struct offset_value value;      /* the last that is in the log, of the open transaction; its `at` is -1: none is */
    int pending;                    /* commits of it on their way to the log */
    int64_t first_commit;           /* the number of the one that it came with */
    struct txn_offset *prev, *next; /* of the producer */
    struct txn_open *open;
    struct txn_offset *open_prev, *open_next; /* of the same partition */
    UT_hash_handle hh;                        /* of the group */
};

/* What open transactions have committed for a partition. */
struct txn_open {
    struct topic_key id;
    struct txn_offset *offsets;
    UT_hash_handle hh;
};

struct txn_producer_key {
    int64_t id, home; /* number of the partition: its transactions end in each by a marker of its own */
};

/* A transaction that has ended while commits were under way: which of them were in it shows when their place is known.
 */
struct txn_verdict {
    int64_t at; /* of the marker */
    bool committed;
};

enum { TXN_VERDICTS = 8 };

/* Who has committed offsets, to groups of one partition, in a transaction that is open. */
struct txn_producer {
    struct txn_producer_key key;
    struct txn_offset *offsets;
    int pending;                               /* commits of all of them on their way to the log */
    struct txn_verdict verdicts[TXN_VERDICTS]; /* while any is, in the order of the log */
    int verdict_count;
    UT_hash_handle hh;
};

enum { COMMITS_OF_MEMBERS = 1, COMMITS_IN_TRANSACTIONS = 2 };

struct topic_name {
    UT_hash_handle hh;
    char name[];
};

struct group {
    struct group_coordinator *coordinator;
    struct str id;
    int64_t number;                      /* of all that were made: another one of this id has another */
    struct state_partition *home;        /* that holds it */
    struct group *home_prev, *home_next; /* others of that one */
    enum group_state state;
    bool is_stored;      /* it was loaded from a record of its own */
    int64_t state_since; /* -1: its record does not say */
    int32_t generation;
    struct str protocol_type, protocol, leader_id; /* null: none */
    struct member *members;                        /* in the order of joining */
    struct member *fixed;                          /* the static ones of them, by instance id */
    int joined;                                    /* those of them whose JoinGroup waits */
    struct protocol_support *supported;
    int64_t support_pass;
    struct pending_member *pending;
    struct patience rebalance; /* end of joining, or of waiting for SyncGroup */
    bool initial_delay;        /* `rebalance` runs for group.initial.rebalance.delay.ms */
    bool member_came;          /* since that delay began */
    int64_t delay_left;
    bool topics_known; /* whether `topics` are what the members of its last generation subscribe to */
    struct topic_name *topics;
    struct offset_entry *offsets;
    struct pending_commit *pending_commits;
    int commits_seen; /* COMMITS_..., in this generation */
    struct txn_offset *txn_offsets;
    struct txn_open *txn_open;           /* of the same, by partition */
    struct group *void_prev, *void_next; /* of those that were nothing but a name */
    bool noted_void;
    UT_hash_handle hh;
};

/*
 * Of what requests leave behind that nobody may come back to; a client's texts may be 32 KB each. With group ids of 100
 * bytes the numbers are reached first.
 */
enum { MOST_PROMISED = 50000, MOST_PROMISED_BYTES = 32 << 20, MOST_VOID = 10000, MOST_VOID_BYTES = 16 << 20 };

struct group_coordinator {
    struct group_options options;
    struct state_topic *topic; /* __consumer_offsets */
    struct group *groups;
    int64_t groups_made;
    struct txn_producer *txn_producers; /* that have committed offsets in open transactions */
    int64_t commits_begun;              /* which gives each its number */
    struct pending_member *promised;    /* of all groups, the oldest first */
    int promised_count;
    int64_t promised_bytes; /* of their ids, and of their groups' */
    struct group *voids;    /* the oldest first; some may have come to something since */
    int void_count;
    int64_t void_bytes; /* of their ids */
    struct timer expiry;
    int32_t expiry_at; /* the partition whose groups are looked at next; 0: none has been yet */
    int expired;       /* offsets, in those before it */
    struct group_metrics metrics;
};

/* ---- coordinator.c ---- */

/* Whether this broker serves the group now; ERR_NONE, or the answer. */
enum kafka_error group_check(struct group_coordinator *gc, struct str id, bool may_be_empty);
bool group_is_served(const struct group *g); /* the same of one that there is */
struct group *group_find(struct group_coordinator *gc, struct str id);
struct group *group_make(struct group_coordinator *gc, struct str id);
void group_forget(struct group *g); /* frees it; its members must be gone or without calls */
/*
 * It may be nothing but a name, made for a request that was refused. Kafka keeps such groups until the next clean-up,
 * which shows in its answers; so do we, but not without end. NULL allowed.
 */
void group_note_void(struct group *g);
int64_t group_now(const struct group_coordinator *gc);
/* Those of a partition, linked by `home_next`. */
struct group *groups_of(const struct state_partition *p);
/* Sends the batch to the group's partition. `done` on the coordinator loop. */
void group_append(struct group *g, struct batch_builder *b, struct state_append *append);

/* ---- members.c ---- */

struct member *member_find(const struct group *g, struct str id);
struct member *member_find_static(const struct group *g, struct str instance_id);
struct member *member_add(struct group *g, struct str id, struct str instance_id, struct str client_id,
                          struct str client_host);
void member_remove(struct member *m); /* answers what waits with ERR_UNKNOWN_MEMBER_ID */
bool member_leads(const struct member *m);
void member_rename(struct member *m, struct str id); /* it goes on leading, if it does */
void member_swap_protocols(struct member *m, struct member_protocol **protocols, int32_t *count);
void protocols_free(struct member_protocol *protocols, int32_t count);
void member_set_protocols(struct member *m, const struct join_group_request *request);
bool everybody_supports(const struct group *g, struct str protocol);
/* The protocol that most members vote for: each for the first of its own that everybody supports. Null: there is none.
 */
struct str group_elect_protocol(struct group *g);
bool member_has_protocols(const struct member *m, const struct join_group_request *request);
struct bytes member_metadata(const struct member *m, struct str protocol);
/* Its JoinGroup waits, and does so no longer: the call that is to be answered, NULL if none was there. */
void member_wait_to_join(struct member *m, struct group_call *call, struct join_group_response *response);
struct group_call *member_end_join_wait(struct member *m, struct join_group_response **response);
void member_set_assignment(struct member *m, struct bytes assignment);
/* ERR_NONE if the member is one, and the instance id is its own. */
enum kafka_error member_check(const struct group *g, struct str id, struct str instance_id);
struct pending_member *pending_find(const struct group *g, struct str id);
void pending_add(struct group *g, struct str id, int32_t timeout_ms);
void pending_remove(struct pending_member *p);
int group_size(const struct group *g);
void group_set_state(struct group *g, enum group_state to);
void group_assume_state(struct group *g, enum group_state to); /* as it was read, from whatever it was in */
const char *group_state_name(enum group_state state);
/* Its members are consumers, so that their metadata says what they subscribe to. */
bool group_is_of_consumers(const struct group *g);
void group_note_subscription(struct group *g); /* when a generation begins or is loaded */
void subscription_clear(struct group *g);
bool group_may_read(const struct group *g, struct str topic); /* it does, or does not say what it reads */

/* ---- rebalance.c ---- */

void member_keep_alive(struct member *m); /* starts its session time-out over */
void group_prepare_rebalance(struct group *g, const char *why);
void group_maybe_complete_join(struct group *g);
/* After a member has left, in whatever state. */
void group_lost_member(struct group *g, const char *why);
void answer_join(struct member *m, enum kafka_error error);
void fill_generation(const struct member *m, struct arena *a, struct join_group_response *out);
void refuse_join(struct group_call *call, struct join_group_response *out, enum kafka_error error,
                 struct str member_id);
void answer_sync(struct member *m, enum kafka_error error);
void group_fail_syncs(struct group *g, enum kafka_error error);
void session_expired(struct patience *p);
void pending_expired(struct patience *p);
void rebalance_timed_out(struct patience *p);
bool group_would_keep_protocol(struct group *g); /* if its members chose again */
/* Appends its record; and what an error of that means to members. */
void group_store(struct group *g, struct state_append *append);
enum kafka_error group_store_error(enum kafka_error error);

/* ---- records.c ---- */

void record_group(struct batch_builder *b, const struct group *g, int64_t now); /* its metadata and members */
void record_group_gone(struct batch_builder *b, const struct group *g, int64_t now);
void record_offset(struct batch_builder *b, const struct group *g, const struct topic_key *id,
                   const struct offset_value *v, int64_t now);
void record_offset_gone(struct batch_builder *b, const struct group *g, const struct topic_key *id, int64_t now);
/* Takes a batch that was read into the tables. */
void records_take(void *coordinator, struct state_partition *p, const struct batch *b);

/* ---- offsets.c ---- */

/* Unless there is one from further on in the log. */
void offset_put(struct group *g, const struct topic_key *id, const struct offset_value *v);
void offset_value_assign(struct offset_value *to, const struct offset_value *from); /* with metadata of its own */
void offset_value_free(struct offset_value *v);
void offset_drop(struct group *g, struct offset_entry *e);
struct offset_entry *offset_find(const struct group *g, const struct topic_key *id);
bool group_has_offsets(const struct group *g); /* committed, or about to be */

void pending_commit_put(struct group *g, const struct topic_key *id, const void *commit);
struct pending_commit *pending_commit_find(const struct group *g, const struct topic_key *id);
void pending_commit_over(struct group *g, const struct topic_key *id, const void *commit); /* unless a later one is */
void pending_commit_drop(struct group *g, const struct topic_key *id);
void pending_commits_drop_all(struct group *g);

/* ---- cleanup.c ---- */

void offsets_expire(struct timer *t);

/* ---- txn_offsets.c ---- */

/* It is in the log, and replaces what that transaction has committed for the same partition before. */
void txn_offset_put(struct group *g, int64_t producer_id, const struct topic_key *id, const struct offset_value *v);
/* It is on its way there, with the commit of that number. */
void txn_offset_begin(struct group *g, int64_t producer_id, const struct topic_key *id, int64_t commit);
/*
 * That commit is over, with `v` in the log, or with NULL: then what the transaction has committed before counts still.
 * If a transaction has ended meanwhile, that one's marker decides whether `v` was in it.
 */
void txn_offset_end(struct group *g, int64_t producer_id, const struct topic_key *id, int64_t commit,
                    const struct offset_value *v);
struct txn_offset *txn_offset_find(const struct group *g, int64_t producer_id, const struct topic_key *id);
void txn_offset_drop(struct txn_offset *o);
void txn_offsets_drop_all(struct group *g);
void txn_offsets_drop_partition(struct group *g, const struct topic_key *id);
/* Whether some open transaction has committed an offset for it. */
bool txn_offset_is_open(const struct group *g, const struct topic_key *id);

#endif
