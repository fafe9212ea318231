/*
 * How a broker enters its cluster: the lasting znodes, the cluster's id, the broker's own id, and its ephemeral
 * registration, whose czxid is the broker epoch. Control loop only.
 */
#ifndef BARNABAS_CLUSTER_REGISTRATION_H
#define BARNABAS_CLUSTER_REGISTRATION_H

#include "base/fail.h"
#include "cluster/zk.h"
#include "cluster/znodes.h"

/* What is under way; embed it. Each call answers once; `failed` says why not. */
struct registration_call {
    void (*done)(struct registration_call *call, bool ok);
    struct fail fail;
    struct zk *zk;
    struct loop *loop;
    /*
     * How long registration_make() waits for the node of a session that is not ours: that of this broker's
     * earlier life goes when its time is over, that of another broker stays.
     */
    int64_t patience_ms;
    struct timer retry;
    bool waiting;
    bool refused; /* ZooKeeper does not let it, which was said */
    bool expired; /* why it failed: the session ended meanwhile */
    /* Results and parameters of the calls below. */
    char cluster_id[64];
    int32_t broker_id;
    int64_t epoch;
    struct registration self; /* what to register; stays valid until done() */
};

/* Makes the persistent paths that are missing; reads the cluster id, or draws one. -> cluster_id */
void registration_prepare(struct registration_call *call);
/* The next of the generated ids, above reserved.broker.max.id. -> broker_id */
void registration_generate_id(struct registration_call *call, int32_t reserved_max);
/*
 * -> epoch. Fails when another living session holds the id, or another id the same endpoint; and when ZooKeeper
 * refuses, if there was no epoch before, from an earlier session: then it goes on to try.
 */
void registration_make(struct registration_call *call);

/*
 * Tells the controller that some log directory of this broker has failed; it then asks for which partitions. When the
 * session ends before it is told, it asks when the broker registers again.
 */
void registration_report_log_dir(struct zk *zk, int32_t broker_id);

#endif
