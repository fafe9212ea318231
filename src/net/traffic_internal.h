/*
 * What is counted of connections, as Kafka counts for a selector: of those of one listener on one loop, or of those
 * that this broker has made of one kind. Both are told in the same attributes, named as on the asking side: a request
 * is what goes out as a whole, a response what comes in, whoever asks.
 */
#ifndef BARNABAS_TRAFFIC_INTERNAL_H
#define BARNABAS_TRAFFIC_INTERNAL_H

#include "base/loop.h"
#include "metrics/bean.h"
#include "metrics/window.h"

enum traffic_sum {
    TRAFFIC_OPENED,
    TRAFFIC_CLOSED,
    TRAFFIC_BYTES_IN,
    TRAFFIC_BYTES_OUT,
    TRAFFIC_RECEIVED, /* frames that came: requests, or answers on the asking side */
    TRAFFIC_CALLS,    /* of the kernel, to read or to write */
    TRAFFIC_LOGINS,   /* as enum login_news */
    TRAFFIC_LOGINS_FOR_GOOD,
    TRAFFIC_LOGINS_FAILED,
    TRAFFIC_LOGINS_AGAIN,
    TRAFFIC_LOGINS_FAILED_AGAIN,
    TRAFFIC_EXPIRED,
    TRAFFIC_TLS_BY_BROKER, /* connections, by who encrypts what is sent on them */
    TRAFFIC_TLS_BY_KERNEL,
    TRAFFIC_SUMS,
};

/* Written by one thread, that of the loop. All zeroes may be added to. */
struct traffic {
    _Atomic int64_t sums[TRAFFIC_SUMS];
    struct window windows[TRAFFIC_SUMS]; /* of the sums */
    struct window sent;                  /* the sizes of frames that went: answers, or requests on the asking side */
};

void traffic_init(struct traffic *t, struct metrics *m);
void traffic_deinit(struct traffic *t);

static inline void traffic_add(struct traffic *t, enum traffic_sum which, int64_t n)
{
    cell_add(&t->sums[which], n);
}

struct window_values traffic_values(struct traffic *t, enum traffic_sum which);

/* How a loop spends its time, from when it is looked at on. */
struct loop_time {
    struct loop *loop;
    int64_t since_us, idle_us, woken; /* what had been then */
    struct window idle, busy, wakes;  /* microseconds, and turns */
};

/* The loop outlives it. */
void loop_time_init(struct loop_time *t, struct loop *loop, struct metrics *m);
void loop_time_deinit(struct loop_time *t);

/* Attributes of one bean, in the order in which they are added. */
struct attributes {
    struct bean_attribute items[BEAN_MOST_ATTRIBUTES];
    int count;
};

void attributes_add(struct attributes *a, const char *name, double value);
/* All of a selector's, in the order of their names; `open` connections are there. Those of connections whose login was
 * over are only told where connections are accepted. */
void attributes_add_traffic(struct attributes *a, struct traffic *t, struct loop_time *time, int64_t open,
                            bool accepts);
bool yield_attributes(struct bean_walk *w, int64_t id, const struct bean_name *name, const struct attributes *a);

#endif
