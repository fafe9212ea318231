/*
 * Kafka's names for these attributes come from its selectors, and are the same for who is asked and who asks. A time in
 * nanoseconds is what a loop's microseconds are by the number of its turns, as a selector has one select() a turn.
 */
#include "net/traffic_internal.h"

#include <math.h>

#include "base/clock.h"

/* ---- Sums ---- */

static int64_t traffic_total(const void *of)
{
    return atomic_load_explicit((const _Atomic int64_t *)of, memory_order_relaxed);
}

void traffic_init(struct traffic *t, struct metrics *m)
{
    window_init(&t->sent, m);
    for (int i = 0; i < TRAFFIC_SUMS; i++)
        window_init_of(&t->windows[i], m, traffic_total, &t->sums[i]);
}

void traffic_deinit(struct traffic *t)
{
    window_deinit(&t->sent);
    for (int i = 0; i < TRAFFIC_SUMS; i++)
        window_deinit(&t->windows[i]);
}

struct window_values traffic_values(struct traffic *t, enum traffic_sum which)
{
    struct window_values v;
    window_read(&t->windows[which], &v);
    return v;
}

/* ---- A loop's time ---- */

static int64_t idle_total(const void *of)
{
    const struct loop_time *t = of;
    return loop_idle_us(t->loop) - t->idle_us;
}

static int64_t busy_total(const void *of)
{
    const struct loop_time *t = of;
    return MAX(clock_mono_us() - t->since_us - idle_total(t), INT64_C(0));
}

static int64_t wakes_total(const void *of)
{
    const struct loop_time *t = of;
    return loop_wakes(t->loop) - t->woken;
}

void loop_time_init(struct loop_time *t, struct loop *loop, struct metrics *m)
{
    *t = (struct loop_time){
        .loop = loop, .since_us = clock_mono_us(), .idle_us = loop_idle_us(loop), .woken = loop_wakes(loop)};
    window_init_of(&t->idle, m, idle_total, t);
    window_init_of(&t->busy, m, busy_total, t);
    window_init_of(&t->wakes, m, wakes_total, t);
}

void loop_time_deinit(struct loop_time *t)
{
    window_deinit(&t->idle);
    window_deinit(&t->busy);
    window_deinit(&t->wakes);
}

/* ---- As attributes ---- */

void attributes_add(struct attributes *a, const char *name, double value)
{
    ensure(a->count < BEAN_MOST_ATTRIBUTES);
    a->items[a->count++] = (struct bean_attribute){name, "double", bean_double(value)};
}

/* The names of a rate and a total. */
static void attributes_add_sum(struct attributes *a, struct traffic *t, enum traffic_sum which, const char *rate,
                               const char *total)
{
    struct window_values v = traffic_values(t, which);
    attributes_add(a, rate, v.per_second);
    attributes_add(a, total, (double)v.total);
}

static double per_wake(double per_second, const struct window_values *wakes)
{
    return wakes->per_second > 0 ? per_second / wakes->per_second : NAN;
}

static void attributes_add_sleep(struct attributes *a, const struct window_values *idle,
                                 const struct window_values *busy, const struct window_values *wakes)
{
    attributes_add(a, "io-ratio", busy->per_second / 1e6);
    attributes_add(a, "io-time-ns-avg", per_wake(busy->per_second * 1e3, wakes));
    attributes_add(a, "io-time-ns-total", (double)busy->total * 1e3);
    attributes_add(a, "io-wait-ratio", idle->per_second / 1e6);
    attributes_add(a, "io-wait-time-ns-avg", per_wake(idle->per_second * 1e3, wakes));
    attributes_add(a, "io-wait-time-ns-total", (double)idle->total * 1e3);
    attributes_add(a, "io-waittime-total", (double)idle->total * 1e3);
    attributes_add(a, "iotime-total", (double)busy->total * 1e3);
}

void attributes_add_traffic(struct attributes *a, struct traffic *t, struct loop_time *time, int64_t open, bool accepts)
{
    struct window_values idle, busy, wakes, sent;
    window_read(&time->idle, &idle);
    window_read(&time->busy, &busy);
    window_read(&time->wakes, &wakes);
    window_read(&t->sent, &sent);
    attributes_add_sum(a, t, TRAFFIC_CLOSED, "connection-close-rate", "connection-close-total");
    attributes_add(a, "connection-count", (double)open);
    attributes_add_sum(a, t, TRAFFIC_OPENED, "connection-creation-rate", "connection-creation-total");
    if (accepts)
        attributes_add(a, "expired-connections-killed-count", (double)traffic_values(t, TRAFFIC_EXPIRED).total);
    attributes_add_sum(a, t, TRAFFIC_LOGINS_FAILED, "failed-authentication-rate", "failed-authentication-total");
    attributes_add_sum(a, t, TRAFFIC_LOGINS_FAILED_AGAIN, "failed-reauthentication-rate",
                       "failed-reauthentication-total");
    attributes_add_sum(a, t, TRAFFIC_BYTES_IN, "incoming-byte-rate", "incoming-byte-total");
    attributes_add_sleep(a, &idle, &busy, &wakes);
    attributes_add_sum(a, t, TRAFFIC_CALLS, "network-io-rate", "network-io-total");
    attributes_add_sum(a, t, TRAFFIC_BYTES_OUT, "outgoing-byte-rate", "outgoing-byte-total");
    attributes_add(a, "reauthentication-latency-avg", NAN);
    attributes_add(a, "reauthentication-latency-max", NAN);
    attributes_add(a, "request-rate", sent.rate);
    attributes_add(a, "request-size-avg", sent.mean);
    attributes_add(a, "request-size-max", sent.most);
    attributes_add(a, "request-total", (double)sent.count);
    attributes_add_sum(a, t, TRAFFIC_RECEIVED, "response-rate", "response-total");
    attributes_add(a, "select-rate", wakes.per_second);
    attributes_add(a, "select-total", (double)wakes.total);
    attributes_add(a, "successful-authentication-no-reauth-total",
                   (double)traffic_values(t, TRAFFIC_LOGINS_FOR_GOOD).total);
    attributes_add_sum(a, t, TRAFFIC_LOGINS, "successful-authentication-rate", "successful-authentication-total");
    attributes_add_sum(a, t, TRAFFIC_LOGINS_AGAIN, "successful-reauthentication-rate",
                       "successful-reauthentication-total");
}

bool yield_attributes(struct bean_walk *w, int64_t id, const struct bean_name *name, const struct attributes *a)
{
    return yield_client(w, id, name, &(struct bean_attributes){a->items, a->count});
}
