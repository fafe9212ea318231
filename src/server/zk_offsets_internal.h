/* Version 0 of OffsetCommit and OffsetFetch, which ZooKeeper keeps. Called and answered on the control loop. */
#ifndef BARNABAS_ZK_OFFSETS_INTERNAL_H
#define BARNABAS_ZK_OFFSETS_INTERNAL_H

#include "protocol/msg/offset_commit.h"
#include "protocol/msg/offset_fetch.h"
#include "server/server_internal.h"

struct zk_commit {
    struct request *request;
    const struct offset_commit_request *in;
    struct offset_commit_response *out; /* partitions that have an error already are left alone */
    void (*done)(struct request *r);
};

struct zk_fetch {
    struct request *request;
    const struct offset_fetch_request *in;
    struct offset_fetch_response *out; /* laid out; the same */
    void (*done)(struct request *r);
};

void zk_offsets_commit(struct zk_commit *c);
void zk_offsets_fetch(struct zk_fetch *f);

#endif
