/* The inside of a round, shared by the questions of its phases. */
#ifndef BARNABAS_ROUND_INTERNAL_H
#define BARNABAS_ROUND_INTERNAL_H

#include "monitor/round.h"
#include "protocol/codec.h"
#include "protocol/msg/api.h"

struct ask;
/* Takes what is in the answer; it goes when this returns. */
typedef void (*round_take_fn)(struct round *r, struct ask *a);

struct place;
/* A question that is under way. */
struct ask {
    struct broker_call call;
    struct round *round;
    int32_t broker;
    round_take_fn take;
    void *request, *response; /* of its API, in `memory` */
    struct arena memory;
    const struct place *about; /* what is asked about, in the round's list */
    size_t about_count;
    bool optional; /* a broker that does not know the question is not missed */
    struct ask *prev, *next;
};

struct round {
    const struct monitor_options *options;
    struct broker_links *links;
    struct look *look;                       /* NULL: done */
    const struct look *before[LOOK_ALL + 1]; /* see round_begin() */
    void (*done)(void *ctx, struct look *look);
    void *ctx;
    struct look_group *groups; /* as they are found; then the look has them */
    size_t group_count, group_cap;
    struct look_transaction *transactions; /* likewise */
    size_t transaction_count, transaction_cap;
    struct place *places; /* partitions that are asked about */
    size_t place_count, place_cap;
    struct ask *asks; /* under way */
    size_t phase;
    bool asking; /* questions are being made: answers that come from within do not end the phase */
};

struct ask *round_ask_new(struct round *r, int32_t broker, int16_t key, round_take_fn take);
void round_ask(struct round *r, struct ask *a);
/* Milliseconds from the look before to this one; 0 if that is not there, or too long ago to say how fast things are. */
int64_t round_since_before(const struct round *r);

/* ---- Phases ---- */

void round_ask_topics(struct round *r);        /* what their settings are */
void round_ask_brokers(struct round *r);       /* what they are */
void round_ask_groups(struct round *r);        /* which there are; and what directories hold */
void round_ask_group_details(struct round *r); /* states, members, offsets */
void round_ask_transactions(struct round *r);  /* which are open for long */
void round_ask_transaction_details(struct round *r);
void round_ask_offsets(struct round *r);          /* of partitions */
void round_ask_timestamps(struct round *r);       /* of records that wait */
void round_ask_timestamps_alone(struct round *r); /* of those in batches that are too large for that */

/* At the end: how far what is reassigned was copied, and how fast, by the look before. */
void round_measure_moves(struct round *r);
void round_measure_lag(struct round *r); /* likewise: how much it is, and whether it grows */

#endif
