/* What the files of the fetcher share: fetcher.c, followed.c and fetched.c. All is its loop's. */
#ifndef BARNABAS_REPLICA_FETCHER_INTERNAL_H
#define BARNABAS_REPLICA_FETCHER_INTERNAL_H

#include <utlist.h>

#include "base/hash.h"
#include "base/topic_key.h"
#include "net/net.h"
#include "protocol/msg/fetch.h"
#include "protocol/msg/list_offsets.h"
#include "replica/fetch_session.h"
#include "replica/fetcher.h"
#include "replica/fetcher_metrics.h"

struct id_key {
    struct uuid topic_id;
    int32_t index;
};

/* One partition that is followed. */
struct followed {
    struct partition *partition; /* with a reference */
    struct id_key id_key;        /* with zeros: the leader knows it by its name alone */
    struct topic_key name_key;
    struct fetcher *fetcher;
    int32_t leader_epoch;
    int64_t offset; /* to fetch next */
    int64_t sent_offset, sent_start;
    bool begun;                   /* its log was made ready to follow, or it is not to be fetched yet */
    bool in_sync;                 /* it had all that is committed, with the last answer */
    int32_t pause_ms;             /* the last rest's; 0: none since it was fetched */
    int64_t rest_until;           /* monotonic: not fetched before, after an error; 0: may be fetched */
    int64_t refused_at;           /* the offset that the leader has and refused, as was said; -1: none */
    bool in_session;              /* the leader's session has it */
    bool changed;                 /* the leader must be told of it: it is in the list of changes */
    bool lost;                    /* its offset is not the leader's: to be asked where the leader's log is */
    bool unsynced;                /* flush.messages asks for a sync before the leader is told what there is */
    bool failed;                  /* what was last to be done to its log could not be, nor has its offset moved since */
    struct followed *prev, *next; /* of the changes */
    UT_hash_handle hh, hh_id, hh_name;
};

/* A name for the partition in a request: what the leader is to forget may be gone here. */
struct forgotten {
    struct str topic;
    struct uuid topic_id;
    int32_t index;
};

enum asking { ASK_NOTHING, ASK_FETCH, ASK_LATEST, ASK_EARLIEST };

/* The way to one leader. */
struct fetcher {
    struct fetchers *all;
    int32_t leader;
    struct client *client;
    struct fetcher_counts *counts;
    struct client_counts *traffic; /* of the client */
    struct client_call call;
    enum asking asking;
    int16_t version;
    int32_t session_id, session_epoch; /* epoch 0: to begin anew */
    bool by_ids;                       /* the session's partitions have their topics' ids, else names */
    int32_t partition_count, lost_count;
    int32_t without_id; /* partitions whose topic has none */
    struct followed *changes;
    struct arena forgotten_memory;
    struct forgotten *forgotten;
    size_t forgotten_count, forgotten_cap;
    int64_t looked;       /* monotonic: when all its partitions were looked at last */
    int64_t said_how_far; /* monotonic; or when nothing was behind */
    struct timer retry, begin;
    int64_t retry_at;    /* monotonic, of the timer */
    int64_t quick_until; /* monotonic: partitions have just come, and more may */
    struct arena arena;  /* of the request under way and its answer */
    struct fetch_response fetched;
    UT_hash_handle hh;
};

struct fetchers {
    struct fetchers_options options;
    struct client_options clients;
    struct fetcher_metrics *metrics; /* NULL: nobody counts */
    struct fetcher *by_leader;
    struct followed *by_partition, *by_id, *by_name; /* the same ones */
    bool closed;
};

/* ---- fetcher.c ---- */

/* It looks for work again then, or sooner. */
void fetcher_retry_by(struct fetcher *f, int64_t when);
/* All that the leader's session knew must be told again, to a new one: that request ends the old one, if it is still
 * there, which would take another's place in the leader's cache. */
void fetcher_begin_anew(struct fetcher *f);

/* ---- followed.c ---- */

/* It follows `f`'s leader from now on; it was not followed. */
struct followed *followed_add(struct fetcher *f, struct partition *p, const struct partition_role *role);
/* The leader knows its topic by that id now; by zeros: by its name. */
void followed_take_id(struct followed *x, struct uuid topic_id);
void followed_leave(struct fetchers *all, struct partition *p); /* if it was followed */
struct followed *followed_find(struct fetchers *all, struct partition *p);
/* What `f` follows under that name or id; NULL: nothing. */
struct followed *followed_by_name(struct fetcher *f, struct str topic, int32_t index);
struct followed *followed_by_id(struct fetcher *f, struct uuid topic_id, int32_t index);
/* The leader must be told of it with the next fetch; no longer. */
void followed_mark_changed(struct followed *x);
void followed_unmark(struct followed *x);
void followed_move_to(struct followed *x, int64_t offset); /* fetches from there on */
void followed_forget(struct followed *x);                  /* the leader's session is to forget it */
void followed_set_lost(struct followed *x, bool lost);
void followed_rest(struct followed *x); /* not to be fetched for a while */
/* Likewise, and counted until it goes on: its log was not what the leader says. */
void followed_rest_after(struct followed *x, enum kafka_error error);
/* Short at first: a leader that has not heard of its office will in a moment. */
void followed_rest_briefly(struct followed *x);

/* ---- fetched.c ---- */

/* Takes what a Fetch has brought: `f->fetched`. False: an error that is for all of it. */
bool fetched_take(struct fetcher *f);
/* Takes the ends of the leader's logs that ListOffsets has brought, or their beginnings: lost partitions go on there.
 */
void fetched_take_offsets(struct fetcher *f, const struct list_offsets_response *in, bool latest);

#endif
