/*
 * The last hour of what a broker does, in steps of ten seconds: for the small curves of the page. A thread of its own
 * looks at a dozen beans; nothing that serves clients knows of it.
 */
#ifndef BARNABAS_HISTORY_H
#define BARNABAS_HISTORY_H

#include "base/loop.h"
#include "metrics/bean.h"

enum { HISTORY_STEP_MS = 10000, HISTORY_POINTS = 360, HISTORY_MOST_LOOPS = 64 };

enum history_series {
    HISTORY_BYTES_IN, /* a second, as all that follow but where it is said otherwise */
    HISTORY_BYTES_OUT,
    HISTORY_RECORDS_IN,
    HISTORY_REQUESTS,
    HISTORY_PRODUCE_MEDIAN_MS, /* of the last minutes, as what follows */
    HISTORY_PRODUCE_MS,        /* the 99th percentile */
    HISTORY_FETCH_MEDIAN_MS,
    HISTORY_FETCH_MS,
    HISTORY_NETWORK_IDLE, /* of 1, as what follows */
    HISTORY_HANDLER_IDLE,
    HISTORY_MEMORY, /* bytes that are resident */
    HISTORY_SERIES,
};

struct history;
struct history *history_new(struct metrics *metrics); /* which outlive it */
void history_free(struct history *h);                 /* NULL is fine */
/* Copies the newest points of a series, the oldest first; returns how many there are. Any thread. */
int history_read(struct history *h, enum history_series which, float out[HISTORY_POINTS]);

/* What share of the last step each loop of the process has slept; NAN: it is not known yet. Any thread. */
struct history_loop {
    char name[LOOP_NAME_ROOM];
    double idle;
};
int history_read_loops(struct history *h, struct history_loop out[HISTORY_MOST_LOOPS]);

#endif
