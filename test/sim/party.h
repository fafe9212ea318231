/* Who asks in the clients' process: what producers and readers share. */
#ifndef BARNABAS_SIM_PARTY_H
#define BARNABAS_SIM_PARTY_H

#include "base/arena.h"
#include "client.h"
#include "net/net.h"

enum { PRODUCE_VERSION = 7, FETCH_VERSION = 10, WAIT_MS = 4000 };

struct party { /* a producer or a reader of one partition */
    int partition;
    bool produces, waiting;
    struct client *client;
    int leader; /* that `client` goes to; -1: none */
    int leader_epoch;
    struct client_call call;
    struct timer timer;
    struct arena arena;
    int64_t offset; /* to read next */
    int64_t number; /* of the next record */
    uint32_t crc;   /* of the batch under way */
};

/* A connection to who leads in truth; false while nobody does. */
bool party_find_leader(struct party *p);
/* Sends the request; `p->call` has been set, and is done when the answer is there. */
void party_post(struct party *p, int16_t key, int16_t version, const void *request);
/* A batch of a few records, in the party's arena; `p->crc` is its checksum. */
struct bytes party_make_batch(struct party *p, int64_t producer_id, int16_t epoch, int32_t sequence);
bool clients_are_stopping(void);

/* idempotent.c: a producer that has several batches under way, and sends again what may be lost. */
void idempotent_start(struct loop *loop, int partition);
/* Of each producer and epoch no batch is twice in a log, and their sequences only grow. */
void sequences_check(int partition, struct bytes log, const char *who);

#endif
