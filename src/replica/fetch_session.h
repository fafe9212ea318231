/*
 * Incremental fetch sessions (KIP-227): the broker remembers what a reader asks for, so that requests and responses
 * hold only what has changed.
 *
 * A session has a waiter on each of its partitions. A change of a partition puts it on the session's ready list, and
 * only what is on that list is looked at for the next answer: partitions that the reader has named, those whose log or
 * leader has changed, and those of which there is more to tell. What lies idle costs nothing.
 *
 * A session is used by one request at a time. Any thread, but the views are of the caller's loop.
 */
#ifndef BARNABAS_REPLICA_FETCH_SESSION_H
#define BARNABAS_REPLICA_FETCH_SESSION_H

#include "replica/replica.h"

enum { FETCH_IDS_SINCE = 13 }; /* the version of Fetch that names topics by their ids */

struct fetch_request;
struct fetch_session;
struct fetch_sessions;
struct session_partition;

struct fetch_sessions *fetch_sessions_new(int slots, struct metrics *m); /* which may be NULL: nobody counts */
void fetch_sessions_free(struct fetch_sessions *f);

struct fetch_item {               /* one partition of a fetch, from the request or the session */
    struct session_partition *of; /* NULL: there is no session, or it cannot have one of that name */
    struct str topic;             /* null if only the id is known, and nobody knows its name */
    struct uuid topic_id;
    int32_t partition, current_leader_epoch, last_fetched_epoch, max_bytes;
    int64_t fetch_offset;
    int64_t log_start_offset; /* of a follower's log; -1: a consumer */
};

/*
 * What a request of that version is about: its own partitions, or of a session those that are ready. `*session` is the
 * one in use, or NULL; give it back with fetch_session_done(). The items are in the arena.
 */
enum kafka_error fetch_session_begin(struct fetch_sessions *f, int16_t version, const struct fetch_request *request,
                                     struct arena *a, struct fetch_session **session, struct fetch_item **items,
                                     int32_t *count);
void fetch_session_done(struct fetch_sessions *f, struct fetch_session *session);
/* Its reader was not told of it: it goes when it is given back. */
void fetch_session_forget(struct fetch_sessions *f, struct fetch_session *session);

/* What has become ready meanwhile. Of what is taken, what is not done with must be marked again. */
int32_t fetch_session_take(struct arena *a, struct fetch_session *s, struct fetch_item **items);
void fetch_session_mark_ready(struct session_partition *p); /* NULL: it is none of a session's */
/* Before it is looked at: whatever happens to the partition makes it ready. NULL: there is no such partition here. */
void fetch_session_watch(struct session_partition *p, struct partition *partition);
/*
 * A request of it is a fetch of each of its partitions, idle or not: they are told of at once where they are few. Of
 * many, about once a second.
 */
void fetch_session_count(struct fetch_session *s);
/* Wakes `sleeper` when something becomes ready; false when something has since the list was taken. */
bool fetch_session_sleep(struct fetch_session *s, struct sleeper *sleeper);
void fetch_session_awake(struct fetch_session *s); /* before sleeper_cancel() */

/* Whether the response must speak of the item; then what it says. */
bool fetch_session_has_news(const struct fetch_session *s, const struct fetch_item *item, enum kafka_error error,
                            int32_t record_bytes, int64_t high_watermark, int64_t log_start_offset);
void fetch_session_told(const struct fetch_item *item, enum kafka_error error, int64_t high_watermark,
                        int64_t log_start_offset);
/*
 * Whether the last fetch that named the partition counts for its follower (partition_note_fetch()). It names none again
 * before there is news, so that one which does not count must be looked at with the next fetch. NULL: not of a session,
 * and named by every fetch.
 */
void fetch_session_set_noted(struct session_partition *p, bool noted);
bool fetch_session_is_noted(const struct session_partition *p);
/* A follower's: it may join ISRs in which it could not be before. */
void fetch_session_grow_isrs(struct fetch_session *s, struct replica_manager *rm);
struct pulse *fetch_session_pulse(const struct fetch_session *session); /* NULL of NULL */
int32_t fetch_session_id(const struct fetch_session *session);          /* 0 of NULL */
int32_t fetch_session_size(const struct fetch_session *session);        /* its partitions; who uses it may ask */

#endif
