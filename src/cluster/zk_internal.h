/* What zk.c and zk_requests.c share: the session, and what is sent in it. On the session's loop. */
#ifndef BARNABAS_CLUSTER_ZK_INTERNAL_H
#define BARNABAS_CLUSTER_ZK_INTERNAL_H

#include <zookeeper/zookeeper.h>

#include "cluster/zk.h"
#include "cluster/zk_bridge_internal.h"
#include "cluster/zk_metrics.h"

/* What goes out as one: an operation, or several in a multi. */
struct request {
    struct zk_batch *batch;
    struct zk_op *first; /* of the batch's operations; the others follow it */
    size_t count;
    bool sent;
    int sends;
    int64_t sent_us; /* for the first time */
    struct zk *zk;
    zoo_op_t *multi;
    zoo_op_result_t *results;
    struct Stat *stats;
    char (*created)[1024];
    int multi_count;
    struct request *prev, *next;
};

struct zk {
    struct zk_options options;
    zhandle_t *handle;
    struct zk_bridge *bridge;
    struct zk_metrics metrics;
    char *chroot;
    struct watch watch;
    struct timer timer;
    int fd;
    struct request *requests; /* utlist, in order; those in flight have `sent` */
    int in_flight;
    int64_t session_id;
    int failures;           /* since the last pause */
    int barren;             /* connections in a row that have ended without an answer */
    int64_t answers_before; /* this connection */
    struct fail given_up;   /* why the session ends, if not by the servers' word */
    bool connected, chroot_made, expired, pumping, closing, closed;
};

/* ---- zk.c ---- */

/* The session ends as if it had expired, when the library has returned. `why` is for the log. */
void zk_give_up(struct zk *zk, const char *why);
/* A path as the rest of the broker knows it. */
const char *zk_without_chroot(const struct zk *zk, const char *path);

/* ---- zk_requests.c ---- */

/* Who may do what with a znode that is made at that path. */
const struct ACL_vector *zk_acl_of(const struct zk *zk, const char *path);
/* Sends what waits, as far as the limit of those in flight and the library allow. */
void zk_send_waiting(struct zk *zk);
/* The session is gone: all that is open ends with ZK_SESSION_EXPIRED. */
void zk_fail_all(struct zk *zk);

#endif
