/* A fetch under way, shared by what reads (fetch_read.c), and what waits and answers (fetch.c). On its connection's
 * loop. */
#ifndef BARNABAS_SERVER_FETCH_INTERNAL_H
#define BARNABAS_SERVER_FETCH_INTERNAL_H

#include "protocol/msg/fetch.h"
#include "replica/fetch_session.h"
#include "server/server_internal.h"

/* Replica ids that are none. The second may read from any replica, in any version. */
enum { CONSUMER = -1, DEBUGGING_CONSUMER = -2 };

enum {
    MAGIC_V1_SINCE = 2,
    MAGIC_V2_SINCE = 4,
    ZSTD_SINCE = 10,
    STATE_SINCE = 15,
    LEADERS_SINCE = 16,
    SESSIONS_SINCE = 7,
    FOLLOWERS_SINCE = 11,
    EPOCHS_SINCE = 12,
    PARTIAL_BATCHES_BEFORE = 3
};

struct fetched {
    struct fetch_item item;
    struct partition *partition; /* with a reference; NULL if there is an error already */
    enum kafka_error error;
    struct partition_data data;
    struct strbuf converted;   /* instead of the region, for old consumers; p == NULL: not */
    int32_t preferred_replica; /* that the consumer is sent to; -1: none */
    bool news;                 /* the answer speaks of it */
    struct waiter waiter;
};

struct fetch {
    struct request *r;
    struct fetch_request request;
    struct fetch_session *session;
    struct arena turn; /* of the items: a fetch that waits may be woken up without end */
    struct fetched *items;
    int32_t count;
    struct fetched *aside; /* what is answered with an error, and neither read nor waited for */
    int32_t aside_count;
    bool all_aside;   /* nothing else is asked for */
    int64_t deadline; /* monotonic ms */
    int32_t most;     /* bytes of records; of a consumer no more than its quota lets by at once */
    int64_t hollow;   /* so many bytes were read, and converted to nothing */
    bool parked;      /* it has begun to wait */
    int32_t places;   /* on so many partitions */
    bool denied;      /* to who calls itself a follower: these may fetch whatever there is, or nothing */
    struct leaders_told leaders;
    struct sleeper sleeper;
    struct timer timer;
};

/* ---- Reading ---- */

int32_t fetch_replica(const struct fetch *f); /* whose it is; below 0: a consumer's */
int64_t fetch_broker_epoch(const struct fetch *f);
bool fetch_isolates(const struct fetch *f); /* the isolation level is one that there is */
struct partition_read fetch_reads(const struct fetch *f, const struct fetched *x, int32_t room, bool at_least_one);

/* What all partitions gave. */
struct reading {
    int64_t bytes;
    bool at_once, cold;
};

/* Looks into all of them, without waiting for the disk. Whatever was read before is dropped. */
struct reading fetch_read_all(struct fetch *f);
int32_t fetched_bytes(const struct fetched *x); /* of records */
/* What was read for a consumer of an old format is rewritten before it is answered. Blocks. */
bool fetch_has_to_convert(const struct fetch *f);
void fetch_convert(struct fetch *f);
void fetched_drop(struct fetched *x); /* its records; what else was read stays */

#endif
