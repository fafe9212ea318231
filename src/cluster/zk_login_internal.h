/*
 * Telling a server of ZooKeeper who comes, by SASL: one conversation at a time, on one connection after the other. The
 * bridge carries tokens in frames. A step with Kerberos may ask a KDC and a name service, and be held up by either, so
 * that it is made on a worker. There is never more than one step on its way: who begins anew while the last one hangs
 * waits for it, and does not take another thread each time. On the loop.
 */
#ifndef BARNABAS_CLUSTER_ZK_LOGIN_INTERNAL_H
#define BARNABAS_CLUSTER_ZK_LOGIN_INTERNAL_H

#include <sys/socket.h>

#include "base/fail.h"
#include "base/workers.h"
#include "cluster/zk_protection.h"

struct zk_login_turn {
    enum { ZK_LOGIN_SAYS, ZK_LOGIN_DONE, ZK_LOGIN_REFUSED } state;
    struct str token; /* for the server, perhaps empty; valid during the turn */
    struct fail why;  /* of ZK_LOGIN_REFUSED */
};

struct zk_login;
/*
 * `turn` is called from the loop, which outlives the workers, never from within. `workers` NULL: steps are made in
 * place, by who may wait.
 */
struct zk_login *zk_login_new(struct zk_protection *protection, struct loop *loop, struct workers *workers,
                              void (*turn)(void *ctx, const struct zk_login_turn *turn), void *ctx);
void zk_login_free(struct zk_login *l); /* NULL is fine */
/* On a connection that is new, to the host by that name, which has that address. */
void zk_login_begin(struct zk_login *l, const char *host, const struct sockaddr_storage *address);
/* What the server said to the last token, of which it may be that it is nothing: p == NULL. */
void zk_login_answer(struct zk_login *l, struct bytes token);
void zk_login_stop(struct zk_login *l); /* the connection is gone: no turn will be given. NULL is fine. */

#endif
