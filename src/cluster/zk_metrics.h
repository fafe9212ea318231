/*
 * What is counted of a session with ZooKeeper: what became of its connections, and how long requests took. A broker's
 * own session is kafka.server:type=SessionExpireListener, an authorizer's kafka.security:type=AclAuthorizer.
 */
#ifndef BARNABAS_CLUSTER_ZK_METRICS_H
#define BARNABAS_CLUSTER_ZK_METRICS_H

#include "metrics/histogram.h"

/* X(name here, name, what is counted) */
#define ZK_NEWS(X)                                                               \
    X(ZK_NEWS_AUTH_FAILED, "ZooKeeperAuthFailuresPerSec", "authfailures")        \
    X(ZK_NEWS_DISCONNECTED, "ZooKeeperDisconnectsPerSec", "disconnects")         \
    X(ZK_NEWS_EXPIRED, "ZooKeeperExpiresPerSec", "expires")                      \
    X(ZK_NEWS_READ_ONLY, "ZooKeeperReadOnlyConnectsPerSec", "readonlyconnects")  \
    X(ZK_NEWS_SASL, "ZooKeeperSaslAuthenticationsPerSec", "saslauthentications") \
    X(ZK_NEWS_CONNECTED, "ZooKeeperSyncConnectsPerSec", "syncconnects")

#define ZK_NEWS_ID(id, name, event) id,
enum zk_news { ZK_NEWS(ZK_NEWS_ID) ZK_NEWS_COUNT };
#undef ZK_NEWS_ID

/* All zeroes may be told, and nobody hears of it. */
struct zk_metrics {
    struct metrics *metrics;
    struct bean_source source;
    int64_t ids;
    bool of_authorizer;
    struct meter news[ZK_NEWS_COUNT];
    struct histogram latency; /* of the broker's session alone */
    atomic_bool connected;
    _Atomic int64_t session_us; /* since when there is a session; 0: there is none */
};

void zk_metrics_init(struct zk_metrics *z, struct metrics *m, bool of_authorizer);
void zk_metrics_deinit(struct zk_metrics *z);
void zk_metrics_tell(struct zk_metrics *z, enum zk_news what);

#endif
