/*
 * What is counted of connections: kafka.network:type=SocketServer, Processor, RequestChannel and Acceptor, and
 * kafka.server:type=socket-server-metrics of each listener on each loop. A loop serves all listeners, so what is said
 * of its sleep is the same for all of them.
 */
#include <math.h>
#include <stdio.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/rate.h"
#include "metrics/meter.h"
#include "net/connection_internal.h"

enum { LONGEST_SOFTWARE = 100 };

/* Of so many different ones each is counted for itself. Names of software come from clients; ciphers are ours. */
enum count_kind { BY_SOFTWARE, BY_CIPHER, COUNT_KINDS };
static const int most_counts[COUNT_KINDS] = {500, 100};

enum { FIXED_IDS = 16, LISTENER_IDS = 4, OWN_LOOP_IDS = 3, OWN_LISTENER_IDS = 3 };

/* Of software its name and version, or of a cipher its name and that of the protocol. */
struct connection_count {
    int64_t id;
    enum count_kind kind;
    int loop, listener;
    struct str name, more;
    int count;
    struct connection_count *prev, *next;
};

/* What is counted of a listener before a loop has the connection. */
struct arrivals {
    struct rate accepted;            /* under the lock */
    struct window delays, ip_delays; /* in milliseconds, by the rates of all and of an address */
    struct meter blocked;
};

struct net_metrics {
    struct net_server *server;
    struct metrics *metrics;
    struct bean_source source;
    int64_t ids, listener_ids, loop_ids, own_ids;
    struct arrivals *arrivals;
    struct rate_window window; /* of what is accepted: the quotas' */
    struct lock lock;          /* guards what follows */
    struct rate accepted;      /* of all listeners */
    struct connection_count *counts[COUNT_KINDS];
    int count_lens[COUNT_KINDS];
};

/* ---- Client software, and what connections are encrypted with ---- */

/* NULL: there are too many. */
static struct connection_count *count_find(struct net_metrics *n, enum count_kind kind, int loop, int listener,
                                           struct str name, struct str more)
{
    struct connection_count *s;
    ensure(lock_is_held(&n->lock));
    DL_FOREACH (n->counts[kind], s)
        if (s->loop == loop && s->listener == listener && str_eq(s->name, name) && str_eq(s->more, more))
            return s;
    /* "unknown" of any other version is somebody's name, too: there is no end to those. */
    bool is_unknown = kind == BY_SOFTWARE && str_is(name, "unknown") && str_is(more, "unknown");
    if (n->count_lens[kind] >= most_counts[kind] && !is_unknown)
        return kind == BY_SOFTWARE ? count_find(n, kind, loop, listener, STR_LIT("unknown"), STR_LIT("unknown")) : NULL;
    s = xcalloc(1, sizeof(*s));
    *s = (struct connection_count){.id = metrics_ids(n->metrics, 1),
                                   .kind = kind,
                                   .loop = loop,
                                   .listener = listener,
                                   .name = str_dup(name),
                                   .more = str_dup(more)};
    DL_APPEND(n->counts[kind], s);
    n->count_lens[kind]++;
    return s;
}

static struct connection_count *count_enter(struct net_loop *l, enum count_kind kind, int listener, struct str name,
                                            struct str more)
{
    struct net_metrics *n = l->server->metrics;
    if (n == NULL)
        return NULL;
    lock_take(&n->lock);
    struct connection_count *s = count_find(n, kind, (int)(l - l->server->loops), listener, name, more);
    if (s != NULL)
        s->count++;
    lock_release(&n->lock);
    return s;
}

struct connection_count *software_unknown(struct net_loop *l, int listener)
{
    return count_enter(l, BY_SOFTWARE, listener, STR_LIT("unknown"), STR_LIT("unknown"));
}

static void connection_count_free(struct net_metrics *n, struct connection_count *s)
{
    ensure(lock_is_held(&n->lock) && s->count == 0 && n->count_lens[s->kind] > 0);
    DL_DELETE(n->counts[s->kind], s);
    n->count_lens[s->kind]--;
    str_free(s->name);
    str_free(s->more);
    free(s);
}

void connection_software(const struct connection *c, struct str *name, struct str *version)
{
    *name = c->software != NULL ? c->software->name : STR_LIT("unknown");
    *version = c->software != NULL ? c->software->more : STR_LIT("unknown");
}

void connection_count_leave(struct net_loop *l, struct connection_count *count)
{
    struct net_metrics *n = l->server->metrics;
    if (count == NULL)
        return;
    lock_take(&n->lock);
    ensure(count->count > 0);
    if (--count->count == 0)
        connection_count_free(n, count);
    lock_release(&n->lock);
}

void connection_note_software(struct connection *c, struct str name, struct str version)
{
    struct connection_count *old = c->software;
    ensure(loop_is_mine(c->owner->loop));
    if (c->closed || old == NULL)
        return;
    c->software = count_enter(c->owner, BY_SOFTWARE, old->listener, str_head(name, LONGEST_SOFTWARE),
                              str_head(version, LONGEST_SOFTWARE));
    connection_count_leave(c->owner, old);
}

void connection_note_cipher(struct connection *c)
{
    struct str cipher, protocol;
    ensure(loop_is_mine(c->owner->loop) && c->cipher == NULL && !c->closed);
    transport_cipher(&c->transport, &cipher, &protocol);
    if (c->software != NULL)
        c->cipher = count_enter(c->owner, BY_CIPHER, c->software->listener, cipher, protocol);
}

/* ---- Sums ---- */

void connection_note_login(struct connection *c, enum login_news news)
{
    _Static_assert(TRAFFIC_LOGINS + NOTE_LOGIN_EXPIRED == (int)TRAFFIC_EXPIRED,
                   "sums of logins are in the news' order");
    ensure(loop_is_mine(c->owner->loop) && news <= NOTE_LOGIN_EXPIRED);
    traffic_add(c->traffic, TRAFFIC_LOGINS + (enum traffic_sum)news, 1);
    if (news == NOTE_LOGIN_OK_FOR_GOOD)
        traffic_add(c->traffic, TRAFFIC_LOGINS, 1);
}

void net_metrics_accepted(struct net_server *s, int listener)
{
    struct net_metrics *n = s->metrics;
    int64_t now = clock_mono_ms();
    ensure(listener >= 0 && listener < s->acceptor_count);
    if (n == NULL)
        return;
    lock_take(&n->lock);
    rate_record(&n->accepted, &n->window, 1, now);
    rate_record(&n->arrivals[listener].accepted, &n->window, 1, now);
    lock_release(&n->lock);
}

void net_metrics_delayed(struct net_server *s, int listener, int64_t ms)
{
    if (s->metrics != NULL)
        window_record(&s->metrics->arrivals[listener].delays, ms);
}

void net_metrics_delayed_address(struct net_server *s, int listener, int64_t ms)
{
    if (s->metrics != NULL)
        window_record(&s->metrics->arrivals[listener].ip_delays, ms);
}

void net_metrics_blocked(struct net_server *s, int listener, int64_t ms)
{
    if (s->metrics != NULL)
        meter_mark(&s->metrics->arrivals[listener].blocked, ms * 1000000);
}

/* ---- Beans of a listener on a loop ---- */

static void yield_traffic(struct net_metrics *n, struct bean_walk *w, int loop, int listener)
{
    struct net_server *s = n->server;
    struct net_loop *l = &s->loops[loop];
    struct attributes a = {.count = 0};
    char number[12];
    snprintf(number, sizeof(number), "%d", loop);
    struct traffic *t = &l->traffic[listener];
    int64_t open = traffic_values(t, TRAFFIC_OPENED).total - traffic_values(t, TRAFFIC_CLOSED).total;
    attributes_add_traffic(&a, t, &l->time, open, true);
    struct bean_name name = {
        "kafka.server",
        "socket-server-metrics",
        NULL,
        {{"listener", str_of(s->config->listeners.items[listener].name)}, {"networkProcessor", str_of(number)}}};
    yield_attributes(w, n->loop_ids + 2 * s->loop_count + loop * s->acceptor_count + listener, &name, &a);
}

/* ---- Beans of listeners ---- */

static double accepted_per_second(struct net_metrics *n, struct rate *of)
{
    lock_take(&n->lock);
    double rate = rate_measure(of, &n->window, clock_mono_ms()).per_second;
    lock_release(&n->lock);
    return rate;
}

static void yield_arrivals(struct net_metrics *n, struct bean_walk *w, int listener)
{
    struct arrivals *of = &n->arrivals[listener];
    struct window_values delays, ip_delays;
    struct attributes a = {.count = 0};
    struct str listener_name = str_of(n->server->config->listeners.items[listener].name);
    int64_t ids = n->listener_ids + (int64_t)listener * LISTENER_IDS;
    struct bean_name name = {"kafka.server", "socket-server-metrics", NULL, {{"listener", listener_name}}};
    struct bean_name blocked = {"kafka.network", "Acceptor", "AcceptorBlockedPercent", {{"listener", listener_name}}};
    window_read(&of->delays, &delays);
    window_read(&of->ip_delays, &ip_delays);
    attributes_add(&a, "connection-accept-rate", accepted_per_second(n, &of->accepted));
    attributes_add(&a, "connection-accept-throttle-time", delays.mean);
    attributes_add(&a, "ip-connection-accept-throttle-time", ip_delays.mean);
    yield_attributes(w, ids, &name, &a);
    yield_meter(w, ids + 1, &blocked, &of->blocked);
}

static void yield_all_arrivals(struct net_metrics *n, struct bean_walk *w)
{
    struct attributes a = {.count = 0};
    attributes_add(&a, "MemoryPoolAvgDepletedPercent", 0);
    attributes_add(&a, "MemoryPoolDepletedTimeTotal", 0);
    attributes_add(&a, "broker-connection-accept-rate", accepted_per_second(n, &n->accepted));
    yield_attributes(w, n->ids, &(struct bean_name){"kafka.server", "socket-server-metrics", NULL, {{0}}}, &a);
}

static void yield_addresses(struct net_metrics *n, struct bean_walk *w)
{
    size_t count;
    struct address_rate *list = acceptors_address_rates(n->server, n->metrics, &count);
    for (size_t i = 0; i < count && !walk_is_over(w); i++) {
        struct attributes a = {.count = 0};
        attributes_add(&a, "connection-accept-rate", list[i].per_second);
        yield_attributes(
            w, list[i].bean_id,
            &(struct bean_name){"kafka.server", "socket-server-metrics", NULL, {{"ip", str_of(list[i].address)}}}, &a);
    }
    free(list);
}

/* ---- Beans of client software and ciphers ---- */

static struct connection_count *counts_copy(struct net_metrics *n, enum count_kind kind, int *count)
{
    struct connection_count *s;
    *count = 0;
    lock_take(&n->lock);
    struct connection_count *copy = xcalloc((size_t)MAX(n->count_lens[kind], 1), sizeof(*copy));
    DL_FOREACH (n->counts[kind], s) {
        copy[*count] = *s;
        copy[*count].name = str_dup(s->name);
        copy[(*count)++].more = str_dup(s->more);
    }
    lock_release(&n->lock);
    return copy;
}

static void yield_counts(struct net_metrics *n, struct bean_walk *w, enum count_kind kind)
{
    static const char *const keys[COUNT_KINDS][2] = {{"clientSoftwareName", "clientSoftwareVersion"},
                                                     {"cipher", "protocol"}};
    int count;
    struct connection_count *copy = counts_copy(n, kind, &count);
    for (int i = 0; i < count; i++) {
        struct connection_count *s = &copy[i];
        struct bean_attribute a = {"connections", "double", bean_long(s->count)};
        char number[12];
        snprintf(number, sizeof(number), "%d", s->loop);
        struct bean_name name = {"kafka.server",
                                 "socket-server-metrics",
                                 NULL,
                                 {{keys[kind][0], s->name},
                                  {keys[kind][1], s->more},
                                  {"listener", str_of(n->server->config->listeners.items[s->listener].name)},
                                  {"networkProcessor", str_of(number)}}};
        yield_client(w, s->id, &name, &(struct bean_attributes){&a, 1});
        str_free(s->name);
        str_free(s->more);
    }
    free(copy);
}

/* ---- Beans of the whole ---- */

static double idle_share(struct net_loop *l)
{
    struct window_values idle;
    window_read(&l->time.idle, &idle);
    return fmin(1, idle.per_second / 1e6);
}

static void yield_loops(struct net_metrics *n, struct bean_walk *w)
{
    for (int i = 0; i < n->server->loop_count; i++) {
        struct net_loop *l = &n->server->loops[i];
        char number[12];
        snprintf(number, sizeof(number), "%d", i);
        struct bean_name idle = {"kafka.network", "Processor", "IdlePercent", {{"networkProcessor", str_of(number)}}};
        struct bean_name queue = {
            "kafka.network", "RequestChannel", "ResponseQueueSize", {{"processor", str_of(number)}}};
        yield_gauge(w, n->loop_ids + 2 * i, &idle, bean_double(idle_share(l)));
        yield_gauge(w, n->loop_ids + 2 * i + 1, &queue, bean_long(atomic_load(&l->unsent_answers)));
    }
}

/* What Kafka tells of loops only as shares, or once for each listener. */
static void yield_turns(struct net_metrics *n, struct bean_walk *w)
{
    for (int i = 0; i < n->server->loop_count; i++) {
        struct net_loop *l = &n->server->loops[i];
        struct window_values idle, busy, wakes;
        char number[12];
        window_read(&l->time.idle, &idle);
        window_read(&l->time.busy, &busy);
        window_read(&l->time.wakes, &wakes);
        const struct {
            const char *name;
            int64_t value;
        } gauges[OWN_LOOP_IDS] = {{"Busy", busy.total}, {"Idle", idle.total}, {"Turns", wakes.total}};
        snprintf(number, sizeof(number), "%d", i);
        for (int k = 0; k < OWN_LOOP_IDS; k++)
            yield_gauge(
                w, n->own_ids + (int64_t)i * OWN_LOOP_IDS + k,
                &(struct bean_name){BEAN_OWN_DOMAIN, "Loop", gauges[k].name, {{"networkProcessor", str_of(number)}}},
                bean_long(gauges[k].value));
    }
}

static int64_t sum_of_loops(const struct net_server *s, int listener, enum traffic_sum which)
{
    int64_t sum = 0;
    for (int i = 0; i < s->loop_count; i++)
        sum += traffic_values(&s->loops[i].traffic[listener], which).total;
    return sum;
}

static void yield_encryption(struct net_metrics *n, struct bean_walk *w, int listener)
{
    struct net_server *s = n->server;
    int64_t ids = n->own_ids + (int64_t)s->loop_count * OWN_LOOP_IDS + (int64_t)listener * OWN_LISTENER_IDS;
    struct str name = str_of(s->config->listeners.items[listener].name);
    int64_t end = acceptor_certificate_end(s, listener);
    if (end != 0)
        yield_gauge(w, ids, &(struct bean_name){BEAN_OWN_DOMAIN, "Certificate", "NotAfter", {{"listener", name}}},
                    bean_long(end));
    yield_gauge(w, ids + 1, &(struct bean_name){BEAN_OWN_DOMAIN, "Encryption", "ByBroker", {{"listener", name}}},
                bean_long(sum_of_loops(s, listener, TRAFFIC_TLS_BY_BROKER)));
    yield_gauge(w, ids + 2, &(struct bean_name){BEAN_OWN_DOMAIN, "Encryption", "ByKernel", {{"listener", name}}},
                bean_long(sum_of_loops(s, listener, TRAFFIC_TLS_BY_KERNEL)));
}

static void yield_encryptions(struct net_metrics *n, struct bean_walk *w)
{
    const struct net_server *s = n->server;
    for (int k = 0; k < s->acceptor_count; k++)
        if (security_protocol_has_tls(s->config->listeners.items[k].protocol))
            yield_encryption(n, w, k);
}

static void yield_server(struct net_metrics *n, struct bean_walk *w)
{
    struct net_server *s = n->server;
    double idle = 0, expired = 0;
    int64_t unsent = 0, most = s->config->queued_max_request_bytes, used = atomic_load(&s->live_bytes);
    for (int i = 0; i < s->loop_count; i++) {
        idle += idle_share(&s->loops[i]) / s->loop_count;
        unsent += atomic_load(&s->loops[i].unsent_answers);
        for (int k = 0; k < s->acceptor_count; k++)
            expired += (double)traffic_values(&s->loops[i].traffic[k], TRAFFIC_EXPIRED).total;
    }
    const struct {
        const char *type, *name;
        struct bean_value value;
    } gauges[] = {
        {"RequestChannel", "RequestQueueSize", bean_long(atomic_load(&s->open_exchanges))},
        {"RequestChannel", "ResponseQueueSize", bean_long(unsent)},
        {"SocketServer", "NetworkProcessorAvgIdlePercent", bean_double(idle)},
        {"SocketServer", "ControlPlaneNetworkProcessorAvgIdlePercent", bean_double(NAN)},
        {"SocketServer", "ExpiredConnectionsKilledCount", bean_double(expired)},
        {"SocketServer", "ControlPlaneExpiredConnectionsKilledCount", bean_double(0)},
        {"SocketServer", "MemoryPoolAvailable", bean_long(most > 0 ? MAX(most - used, INT64_C(0)) : INT64_MAX)},
        {"SocketServer", "MemoryPoolUsed", bean_long(most > 0 ? used : 0)},
    };
    _Static_assert(1 + ARRAY_LEN(gauges) <= FIXED_IDS, "each bean has an id of its own");
    for (size_t i = 0; i < ARRAY_LEN(gauges); i++)
        yield_gauge(w, n->ids + 1 + (int64_t)i,
                    &(struct bean_name){"kafka.network", gauges[i].type, gauges[i].name, {{0}}}, gauges[i].value);
}

static void net_metrics_visit(void *ctx, struct bean_walk *w)
{
    struct net_metrics *n = ctx;
    if (walk_wants(w, "kafka.network", NULL)) {
        yield_server(n, w);
        yield_loops(n, w);
    }
    if (walk_wants(w, BEAN_OWN_DOMAIN, NULL)) {
        yield_turns(n, w);
        yield_encryptions(n, w);
    }
    for (int k = 0; k < n->server->acceptor_count; k++)
        yield_arrivals(n, w, k);
    if (!walk_wants(w, "kafka.server", "socket-server-metrics"))
        return;
    yield_all_arrivals(n, w);
    yield_addresses(n, w);
    for (int i = 0; i < n->server->loop_count; i++)
        for (int k = 0; k < n->server->acceptor_count; k++)
            yield_traffic(n, w, i, k);
    for (int i = 0; i < COUNT_KINDS; i++)
        yield_counts(n, w, (enum count_kind)i);
}

/* ---- Life ---- */

static void net_loop_count(struct net_loop *l, struct metrics *m)
{
    ensure(loop_is_mine(l->loop)); /* it does not run yet: what it counts in is made now */
    loop_time_init(&l->time, l->loop, m);
    for (int k = 0; k < l->server->acceptor_count; k++)
        traffic_init(&l->traffic[k], m);
}

void net_server_count(struct net_server *s, struct metrics *m)
{
    struct net_metrics *n = xcalloc(1, sizeof(*n));
    ensure(s->metrics == NULL);
    n->server = s;
    n->metrics = m;
    n->ids = metrics_ids(m, FIXED_IDS);
    n->listener_ids = metrics_ids(m, s->acceptor_count * LISTENER_IDS);
    n->loop_ids = metrics_ids(m, s->loop_count * (2 + s->acceptor_count));
    n->own_ids = metrics_ids(m, s->loop_count * OWN_LOOP_IDS + s->acceptor_count * OWN_LISTENER_IDS);
    n->arrivals = xcalloc((size_t)s->acceptor_count, sizeof(*n->arrivals));
    lock_init(&n->lock, RANK_CLIENT_SOFTWARE);
    n->window = (struct rate_window){s->config->quota_window_num, s->config->quota_window_size_seconds * INT64_C(1000)};
    for (int i = 0; i < s->loop_count; i++)
        net_loop_count(&s->loops[i], m);
    for (int k = 0; k < s->acceptor_count; k++) {
        window_init(&n->arrivals[k].delays, m);
        window_init(&n->arrivals[k].ip_delays, m);
        meter_init(&n->arrivals[k].blocked, m, "blocked time");
        n->arrivals[k].blocked.per_nanosecond = true;
    }
    s->metrics = n;
    n->source = (struct bean_source){.visit = net_metrics_visit, .ctx = n};
    metrics_add_source(m, &n->source);
}

static void net_loop_uncount(struct net_loop *l)
{
    loop_time_deinit(&l->time);
    for (int k = 0; k < l->server->acceptor_count; k++)
        traffic_deinit(&l->traffic[k]);
}

void net_metrics_free(struct net_server *s)
{
    struct net_metrics *n = s->metrics;
    if (n == NULL)
        return;
    metrics_remove_source(n->metrics, &n->source);
    ensure(n->counts[BY_SOFTWARE] == NULL && n->counts[BY_CIPHER] == NULL);
    for (int i = 0; i < s->loop_count; i++)
        net_loop_uncount(&s->loops[i]);
    for (int k = 0; k < s->acceptor_count; k++) {
        rate_deinit(&n->arrivals[k].accepted);
        window_deinit(&n->arrivals[k].delays);
        window_deinit(&n->arrivals[k].ip_delays);
        meter_deinit(&n->arrivals[k].blocked);
    }
    rate_deinit(&n->accepted);
    lock_deinit(&n->lock);
    free(n->arrivals);
    free(n);
    s->metrics = NULL;
}
