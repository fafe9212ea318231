/*
 * What a network loop was sent in one turn for the same partition is appended together when the turn ends, with one
 * write (partition_append_all()), and what is answered then leaves together. The order is that in which it came. Not so
 * long, if it is much: what lies in a cache is written from there.
 *
 * An append that will wait for the disk, as a segment is full, or flush.messages has it synced, is for a thread of the
 * log's directory. What comes for that partition meanwhile goes behind it, and together. A sync keeps nobody from the
 * partition; as long as a segment is begun, who comes for that partition waits.
 *
 * One for each network loop, and used on it.
 */
#ifndef BARNABAS_SERVER_GATHERING_H
#define BARNABAS_SERVER_GATHERING_H

#include "replica/replica.h"

struct connection;
struct gathering;
struct request;

struct gathering *gathering_new(struct loop *loop, struct log_manager *logs);
void gathering_free(struct gathering *g); /* an empty one. NULL allowed */

/* One append. Its records and acks are set, and who asks for it has a reference to its partition. */
struct gathered {
    struct partition_append append;
    struct partition *partition;
    void (*done)(struct gathered *self);
    int64_t took_us; /* its share of the time of those that were appended with it on this loop */
    /* gathering.c's: */
    struct request *r;
    struct gathered *next;
    struct connection *conn; /* nothing is sent to it before this is done */
    struct errand *errand;   /* that it goes along with; NULL: it was appended */
    int32_t turn;
};

/* `done` is called on this loop, perhaps from within; until then the request's arena may be used on this loop only. */
void gathering_add(struct gathering *g, struct gathered *a, struct request *r);
/* What has come until now is appended before this returns, or is on its way. */
void gathering_finish(struct gathering *g);

#endif
