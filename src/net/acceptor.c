/*
 * Listening sockets, and the limits on how many connections they let in. Who comes has to pass, in this order:
 *
 *     max.connections                        or nobody is accepted for a moment: they wait in the kernel's queue; but
 *                                            another broker is let in, and who did nothing for the longest time goes
 *     handshakes that are under way          the same, for a shorter one
 *     max.connection.creation.rate           the same, for as long as the rate is above that
 *     descriptors that are kept back         accepted, and closed
 *     connection_creation_rate (KIP-612)     accepted, left without a word for a while, then closed
 *     max.connections.per.ip                 accepted, and closed
 *
 * What is let in goes to the network loops in turn. All of this is on loop 0, but for the counts, which connections
 * give back on their own loops, and the limits, which the owner sets on its own.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/lock.h"
#include "base/logger.h"
#include "net/listening.h"
#include "net/net_internal.h"

enum { ACCEPTS_AT_ONCE = 64, PAUSE_MS = 100, LEAST_RESERVE = 128, MOST_HANDSHAKES = 64, HANDSHAKE_PAUSE_MS = 5 };
/* Addresses whose pace is known, and sockets that wait to be closed. */
enum { MOST_PACES = 100000, PACE_KEPT_MS = 3600 * 1000, MOST_LATE = 1000 };

struct acceptor {
    struct net_server *server;
    const struct listener *listener;
    struct watch watch;
    struct timer pause;      /* out of descriptors, or max.connections reached */
    int64_t delay_ms;        /* that it lasts as too many came just now; 0: that is not why */
    struct tls_context *tls; /* for new connections; guarded by the limits' lock */
    atomic_bool encrypts;    /* whether there is one */
    int fd, port;
    int next_loop;
    bool on;
    atomic_int count, limit; /* connections of this listener (max.connections) */
    struct creation_rate rate;
    bool spared; /* by the limits of the whole broker: it is the listener between brokers, and there are others */
};

struct ip_key {
    uint8_t b[16]; /* IPv4 as mapped IPv6 */
};

struct ip_entry {
    struct ip_key ip;
    int count;
    UT_hash_handle hh;
};

struct ip_limit { /* max.connections.per.ip.overrides, its names resolved */
    struct ip_key ip;
    int limit;
    UT_hash_handle hh;
};

struct ip_limits {
    struct ip_limit *table;
    int others; /* max.connections.per.ip */
};

struct ip_pace { /* how fast an address has come of late */
    struct ip_key ip;
    int64_t bean_id; /* 0: none yet */
    struct rate rate;
    int64_t used_ms;
    UT_hash_handle hh; /* the table is in the order of use */
};

struct late_close { /* a socket of which nothing is read, and which is closed when its time has come; loop 0's */
    struct timer timer;
    struct acceptor *acceptor;
    int fd;
    struct late_close *prev, *next;
};

struct ip_counts {
    struct lock lock; /* guards the next three, and the paces */
    struct ip_entry *table;
    struct ip_limits limits, rates; /* of the latter: connection_creation_rate; negative: none */
    atomic_bool has_rates;
    struct rate_window window;
    struct ip_pace *paces; /* kept as long as Kafka has a sensor for them */
    struct late_close *late;
    int late_count;
};

struct hand_over { /* a fresh socket on its way to its loop */
    struct message message;
    struct net_loop *to;
    const struct listener *listener;
    struct sockaddr_storage addr;
    int64_t serial;
    int fd;
    struct ssl_st *tls;
};

static struct log_limit refusals;

static struct ip_key ip_key(const struct sockaddr_storage *addr)
{
    struct ip_key key = {{0}};
    if (addr->ss_family == AF_INET6) {
        memcpy(key.b, &((const struct sockaddr_in6 *)addr)->sin6_addr, 16);
    } else {
        key.b[10] = key.b[11] = 0xff;
        memcpy(key.b + 12, &((const struct sockaddr_in *)addr)->sin_addr, 4);
    }
    return key;
}

/* Of an address that is named twice the last limit counts. */
static void ip_limits_add_all(struct ip_limits *limits, const struct addresses *found, int limit)
{
    for (size_t k = 0; k < found->count; k++) {
        struct ip_key ip = ip_key(&found->items[k]);
        struct ip_limit *l;
        HASH_FIND(hh, limits->table, &ip, sizeof(ip), l);
        if (l == NULL) {
            l = xcalloc(1, sizeof(*l));
            l->ip = ip;
            HASH_ADD(hh, limits->table, ip, sizeof(l->ip), l);
        }
        l->limit = limit;
    }
}

static void ip_limits_free(struct ip_limits *limits)
{
    struct ip_limit *l, *next;
    HASH_ITER (hh, limits->table, l, next) {
        HASH_DEL(limits->table, l);
        free(l);
    }
}

static void ip_limits_add(struct ip_limits *limits, struct host_names *names, const char *host, enum host_name_use use,
                          int limit)
{
    struct addresses numeric = {0};
    if (addresses_find(&numeric, host, 0, true))
        ip_limits_add_all(limits, &numeric, limit);
    else
        ip_limits_add_all(limits, host_names_find(names, host, use, limit), limit);
    addresses_clear(&numeric);
}

static struct ip_limits ip_limits_read(const struct broker_config *config, struct host_names *names)
{
    const struct host_limits *overrides = &config->max_connections_per_ip_overrides;
    struct ip_limits limits = {.others = config->max_connections_per_ip};
    for (int i = 0; i < overrides->count; i++)
        ip_limits_add(&limits, names, overrides->items[i].host, HOST_OVERRIDES, overrides->items[i].limit);
    return limits;
}

/* The same of connection_creation_rate. */
static struct ip_limits ip_rates_read(const struct ip_rates *rates, struct host_names *names)
{
    struct ip_limits found = {.others = -1};
    for (const struct ip_rate *r = rates != NULL ? rates->table : NULL; r != NULL; r = r->hh.next) {
        if (r->host[0] == '\0')
            found.others = r->per_second;
        else
            ip_limits_add(&found, names, r->host, HOST_RATES, r->per_second);
    }
    return found;
}

static int ip_limit(const struct ip_limits *limits, const struct ip_key *ip)
{
    struct ip_limit *l;
    HASH_FIND(hh, limits->table, ip, sizeof(*ip), l);
    return l != NULL ? l->limit : limits->others;
}

static int listener_limit(const struct broker_config *config, const struct listener *l, const char *key)
{
    return (int)strtol(config_listener_raw(config, l->name, NULL, key), NULL, 10);
}

void net_server_configure(struct net_server *s, const struct broker_config *config, const struct ip_rates *rates)
{
    host_names_begin(s->host_names);
    struct ip_limits limits = ip_limits_read(config, s->host_names), found = ip_rates_read(rates, s->host_names);
    host_names_end(s->host_names);
    lock_take(&s->ips->lock);
    struct ip_limits old_limits = s->ips->limits, old_rates = s->ips->rates;
    s->ips->limits = limits;
    s->ips->rates = found;
    lock_release(&s->ips->lock);
    ip_limits_free(&old_limits);
    ip_limits_free(&old_rates);
    atomic_store(&s->ips->has_rates, found.table != NULL || found.others >= 0);
    atomic_store(&s->max_connections, config->max_connections);
    atomic_store(&s->rate.per_second, config->max_connection_creation_rate);
    for (int i = 0; i < s->acceptor_count; i++) {
        struct acceptor *a = &s->acceptors[i];
        atomic_store(&a->limit, listener_limit(config, a->listener, "max.connections"));
        atomic_store(&a->rate.per_second, listener_limit(config, a->listener, "max.connection.creation.rate"));
    }
    room_make_soon(s->room); /* a lower limit is one for those that are there, too */
}

void net_server_find_hosts_by(struct net_server *s, struct loop *loop, struct workers *resolvers,
                              void (*found)(void *ctx), void *ctx)
{
    host_names_ask_by(s->host_names, loop, resolvers, found, ctx);
}

/* ---- Rates ---- */

/* How long until the next one may come. */
static int64_t rate_delay(const struct creation_rate *r, int64_t now)
{
    int limit = atomic_load(&r->per_second);
    if (limit == INT32_MAX)
        return 0;
    return limit == 0 ? PAUSE_MS : MAX(r->rests_until_ms - now, INT64_C(0));
}

/* One that was too many is in; who comes next waits until all together were slow enough, but no longer than a sample.
 */
static void rate_take(struct creation_rate *r, const struct rate_window *window, int64_t now)
{
    rate_record(&r->rate, window, 1, now);
    int32_t delay = rate_excess_ms(rate_measure(&r->rate, window, now), atomic_load(&r->per_second));
    r->rests_until_ms = now + MIN((int64_t)delay, window->sample_ms);
}

/* ---- How fast an address comes (KIP-612) ---- */

static void ip_pace_free(struct ip_counts *ips, struct ip_pace *p)
{
    HASH_DEL(ips->paces, p);
    rate_deinit(&p->rate);
    free(p);
}

static void drop_old_paces(struct ip_counts *ips, int64_t now)
{
    ensure(lock_is_held(&ips->lock));
    while (ips->paces != NULL && (now - ips->paces->used_ms > PACE_KEPT_MS || HASH_COUNT(ips->paces) > MOST_PACES))
        ip_pace_free(ips, ips->paces);
}

/* Last of the table. */
static struct ip_pace *ip_pace_for(struct ip_counts *ips, const struct ip_key *ip, int64_t now)
{
    struct ip_pace *p;
    ensure(lock_is_held(&ips->lock));
    HASH_FIND(hh, ips->paces, ip, sizeof(*ip), p);
    if (p != NULL)
        HASH_DEL(ips->paces, p);
    else
        p = xcalloc(1, sizeof(*p));
    p->ip = *ip;
    p->used_ms = now;
    HASH_ADD(hh, ips->paces, ip, sizeof(p->ip), p);
    drop_old_paces(ips, now);
    return p;
}

static int32_t ip_pace_count(struct ip_counts *ips, const struct ip_key *ip, int limit)
{
    int64_t now = clock_mono_ms();
    struct ip_pace *p = ip_pace_for(ips, ip, now);
    rate_record(&p->rate, &ips->window, 1, now);
    int32_t delay = rate_excess_ms(rate_measure(&p->rate, &ips->window, now), limit);
    if (delay > 0)
        rate_record(&p->rate, &ips->window, -1, now);
    return (int32_t)MIN((int64_t)delay, ips->window.sample_ms);
}

/* Counts a connection of this address; if that is one too many, it is not, and has to wait for so long. */
static int32_t ip_pace_delay(struct ip_counts *ips, const struct sockaddr_storage *addr)
{
    if (!atomic_load_explicit(&ips->has_rates, memory_order_relaxed))
        return 0;
    struct ip_key ip = ip_key(addr);
    lock_take(&ips->lock);
    int limit = ip_limit(&ips->rates, &ip);
    int32_t delay = limit >= 0 ? ip_pace_count(ips, &ip, limit) : 0;
    lock_release(&ips->lock);
    return delay;
}

struct address_rate *acceptors_address_rates(struct net_server *s, struct metrics *m, size_t *count)
{
    struct ip_counts *ips = s->ips;
    struct ip_pace *p, *next;
    int64_t now = clock_mono_ms();
    *count = 0;
    lock_take(&ips->lock);
    drop_old_paces(ips, now);
    struct address_rate *list = xcalloc(HASH_COUNT(ips->paces) + (size_t)1, sizeof(*list));
    HASH_ITER (hh, ips->paces, p, next) {
        struct address_rate *r = &list[(*count)++];
        struct sockaddr_in6 address = {.sin6_family = AF_INET6};
        struct sockaddr_storage any = {0};
        memcpy(&address.sin6_addr, p->ip.b, sizeof(p->ip.b));
        memcpy(&any, &address, sizeof(address));
        address_text(&any, r->address);
        if (p->bean_id == 0)
            p->bean_id = metrics_ids(m, 1);
        r->bean_id = p->bean_id;
        r->per_second = rate_measure(&p->rate, &ips->window, now).per_second;
    }
    lock_release(&ips->lock);
    return list;
}

static void late_close(struct late_close *l)
{
    struct ip_counts *ips = l->acceptor->server->ips;
    ensure(loop_is_mine(l->acceptor->server->loops[0].loop) && ips->late_count > 0);
    timer_stop(&l->timer);
    close(l->fd);
    DL_DELETE(ips->late, l);
    ips->late_count--;
    free(l);
}

static void on_late(struct timer *t)
{
    late_close(CONTAINER_OF(t, struct late_close, timer));
}

/* Whoever comes too fast gets no answer for a while, or would come again at once; but as many as there are places for.
 */
static void close_late(struct acceptor *a, int fd, const struct sockaddr_storage *addr, int32_t delay)
{
    struct ip_counts *ips = a->server->ips;
    char from[ADDRESS_ROOM];
    ensure(delay > 0);
    address_text(addr, from);
    log_info_limited(&refusals, "Rejected connection from %s: it comes too often (connection_creation_rate)", from);
    if (ips->late_count >= MOST_LATE) {
        close(fd);
        return;
    }
    struct late_close *l = xcalloc(1, sizeof(*l));
    l->acceptor = a;
    l->fd = fd;
    timer_init(&l->timer, a->server->loops[0].loop, on_late);
    timer_start(&l->timer, delay);
    DL_APPEND(ips->late, l);
    ips->late_count++;
}

/* ---- How many there are ---- */

/* Counts a connection of this address in, unless that would be one too many. */
static bool ip_enter(struct net_server *s, const struct sockaddr_storage *addr, int *limit)
{
    struct ip_key key = ip_key(addr);
    struct ip_entry *e;
    lock_take(&s->ips->lock);
    HASH_FIND(hh, s->ips->table, &key, sizeof(key), e);
    if (e == NULL) {
        e = xcalloc(1, sizeof(*e));
        e->ip = key;
        HASH_ADD(hh, s->ips->table, ip, sizeof(e->ip), e);
    }
    *limit = ip_limit(&s->ips->limits, &key);
    bool ok = e->count < *limit;
    if (ok)
        e->count++;
    if (e->count == 0) {
        HASH_DEL(s->ips->table, e);
        free(e);
    }
    lock_release(&s->ips->lock);
    return ok;
}

static void ip_leave(struct net_server *s, const struct sockaddr_storage *addr)
{
    struct ip_key key = ip_key(addr);
    struct ip_entry *e;
    lock_take(&s->ips->lock);
    HASH_FIND(hh, s->ips->table, &key, sizeof(key), e);
    ensure(e != NULL && e->count > 0);
    if (--e->count == 0) {
        HASH_DEL(s->ips->table, e);
        free(e);
    }
    lock_release(&s->ips->lock);
}

void acceptors_release(struct net_server *s, const struct listener *listener, const struct sockaddr_storage *addr)
{
    int before = 0;
    ip_leave(s, addr);
    for (int i = 0; i < s->acceptor_count; i++)
        if (s->acceptors[i].listener == listener)
            before = atomic_fetch_sub(&s->acceptors[i].count, 1);
    ensure(before > 0);
    int all = atomic_fetch_sub(&s->connection_count, 1);
    ensure(all > 0);
}

static void acceptor_deliver(struct message *m)
{
    struct hand_over *h = CONTAINER_OF(m, struct hand_over, message);
    ensure(loop_is_mine(h->to->loop));
    connection_open(h->to, h->listener, h->fd, h->tls, &h->addr, h->serial);
    free(h);
}

static void hand_over(struct acceptor *a, int fd, struct ssl_st *tls, const struct sockaddr_storage *addr)
{
    struct hand_over *h = xcalloc(1, sizeof(*h));
    h->message.deliver = acceptor_deliver;
    h->to = &a->server->loops[a->next_loop++ % a->server->loop_count];
    h->listener = a->listener;
    h->addr = *addr;
    h->serial = atomic_fetch_add(&a->server->accepted, 1);
    h->fd = fd;
    h->tls = tls;
    loop_post(h->to->loop, &h->message);
}

static void acceptor_rest(struct acceptor *a, int64_t ms)
{
    a->delay_ms = 0;
    watch_set(&a->watch, WATCH_NONE);
    timer_start(&a->pause, ms);
}

static bool somebody_waits(const struct acceptor *a)
{
    struct pollfd p = {.fd = a->fd, .events = POLLIN};
    return poll(&p, 1, 0) > 0;
}

static void acceptor_on_rested(struct timer *t)
{
    struct acceptor *a = CONTAINER_OF(t, struct acceptor, pause);
    if (a->delay_ms > 0 && somebody_waits(a))
        net_metrics_delayed(a->server, (int)(a - a->server->acceptors), a->delay_ms);
    if (a->on)
        watch_set(&a->watch, WATCH_READ);
}

/* False: there is no memory for it. */
static bool begin_tls(struct acceptor *a, struct ssl_st **tls)
{
    lock_take(&a->server->ips->lock);
    struct tls_context *context = a->tls != NULL ? tls_context_ref(a->tls) : NULL;
    lock_release(&a->server->ips->lock);
    *tls = context != NULL ? tls_open(context, NULL) : NULL;
    tls_context_unref(context);
    return context == NULL || *tls != NULL;
}

/* ---- Letting in ---- */

static void admit(struct acceptor *a, int fd, const struct sockaddr_storage *addr)
{
    struct ssl_st *tls;
    int limit;
    if (!ip_enter(a->server, addr, &limit)) {
        char from[ADDRESS_ROOM];
        address_text(addr, from);
        log_warn_limited(&refusals,
                         "Rejected connection from %s, address already has the configured maximum of %d connections "
                         "(max.connections.per.ip)",
                         from, limit);
        close(fd);
        return;
    }
    if (!begin_tls(a, &tls)) {
        ip_leave(a->server, addr);
        close(fd);
        return;
    }
    net_metrics_accepted(a->server, (int)(a - a->server->acceptors));
    atomic_fetch_add(&a->server->connection_count, 1);
    atomic_fetch_add(&a->count, 1);
    hand_over(a, fd, tls, addr);
    if (a->spared)
        room_make(a->server->room);
}

static bool is_full(struct acceptor *a)
{
    int most = atomic_load(&a->server->max_connections), own = atomic_load(&a->limit);
    bool has_place = a->spared || atomic_load(&a->server->connection_count) < most;
    if (has_place && atomic_load(&a->count) < own)
        return false;
    log_warn_limited(&refusals, "max.connections=%d reached: new ones have to wait", MIN(most, own));
    return true;
}

/* So that who comes waits in the kernel's queue, rather than in ours, where all wait for all. */
static bool is_busy(struct acceptor *a)
{
    if (!atomic_load(&a->encrypts) || atomic_load(&a->server->handshakes) < MOST_HANDSHAKES)
        return false;
    acceptor_rest(a, HANDSHAKE_PAUSE_MS);
    return true;
}

/* Whether the next one has to wait, because so many came just now. */
static bool is_too_fast(struct acceptor *a)
{
    int64_t now = clock_mono_ms(), delay = rate_delay(&a->rate, now);
    if (!a->spared)
        delay = MAX(delay, rate_delay(&a->server->rate, now));
    if (delay > 0)
        acceptor_rest(a, delay);
    a->delay_ms = delay;
    return delay > 0;
}

static void acceptor_note_creation(struct acceptor *a)
{
    const struct rate_window *window = &a->server->ips->window;
    int64_t now = clock_mono_ms();
    rate_take(&a->rate, window, now);
    if (!a->spared)
        rate_take(&a->server->rate, window, now);
}

/*
 * The kernel gives the lowest number that is free: as many descriptors are in use at least. The last ones are left to
 * segments and to what goes to ZooKeeper and to other brokers, without which nobody is served.
 */
static bool takes_reserve(const struct acceptor *a, int fd)
{
    int most = a->server->most_descriptors;
    if (fd < most)
        return false;
    log_warn_limited(&refusals,
                     "Refused a connection: %d file descriptors are in use, and the rest that the limit allows (ulimit "
                     "-n) is kept for data and for other brokers",
                     most);
    return true;
}

static void acceptor_on_incoming(struct watch *w, int events UNUSED)
{
    struct acceptor *a = CONTAINER_OF(w, struct acceptor, watch);
    for (int i = 0; i < ACCEPTS_AT_ONCE; i++) {
        struct sockaddr_storage addr = {0};
        socklen_t len = sizeof(addr);
        if (is_full(a)) {
            net_metrics_blocked(a->server, (int)(a - a->server->acceptors), PAUSE_MS);
            acceptor_rest(a, PAUSE_MS);
            return;
        }
        if (is_busy(a) || is_too_fast(a))
            return;
        int fd = accept4(a->fd, (struct sockaddr *)&addr, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0 && takes_reserve(a, fd)) {
            close(fd);
            acceptor_rest(a, PAUSE_MS);
            return;
        }
        int32_t late = fd >= 0 ? ip_pace_delay(a->server->ips, &addr) : 0;
        if (late > 0) {
            net_metrics_delayed_address(a->server, (int)(a - a->server->acceptors), late);
            close_late(a, fd, &addr, late);
        } else if (fd >= 0) {
            acceptor_note_creation(a);
            admit(a, fd, &addr);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            log_warn_limited(&refusals, "Cannot accept a connection: %s", strerror(errno));
            acceptor_rest(a, PAUSE_MS);
            return;
        } else if (errno != ECONNABORTED && errno != EINTR) {
            return;
        }
    }
}

/* ---- Binding ---- */

/* Kafka's default of 50 makes clients wait a second for their next try as soon as many come at once. */
static int backlog_of(const struct broker_config *config)
{
    return config_raw(config, "socket.listen.backlog.size") != NULL ? config->socket_listen_backlog_size : SOMAXCONN;
}

/* A tenth of them is kept, of few more: the broker itself has some dozens before the first client comes. */
static int descriptors_for_connections(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > INT_MAX)
        return INT_MAX;
    int all = (int)limit.rlim_cur;
    return all - MIN(MAX(all / 10, LEAST_RESERVE), all / 2);
}

bool acceptors_bind(struct net_server *s, struct fail *fail)
{
    s->most_descriptors = descriptors_for_connections();
    s->ips = xcalloc(1, sizeof(*s->ips));
    s->room = room_new(s);
    s->host_names = host_names_new();
    lock_init(&s->ips->lock, RANK_CONNECTION_LIMITS);
    s->acceptors = xcalloc((size_t)s->config->listeners.count, sizeof(*s->acceptors));
    for (int i = 0; i < s->config->listeners.count; i++) {
        const struct listener *l = &s->config->listeners.items[i];
        struct acceptor *a = &s->acceptors[i];
        const char *why;
        a->server = s;
        a->listener = l;
        a->spared = s->config->listeners.count > 1 && strcmp(l->name, s->config->inter_broker_listener_name) == 0;
        if (a->spared)
            room_spare(s->room, l);
        a->fd = listen_at(l->host != NULL ? l->host : "", l->port, backlog_of(s->config),
                          s->config->socket_receive_buffer_bytes, &why);
        if (a->fd < 0)
            return fail_set(fail, "Socket server failed to bind to %s:%d: %s.", l->host ? l->host : "", l->port, why);
        s->acceptor_count++;
        a->port = listening_port(a->fd);
        watch_init(&a->watch, s->loops[0].loop, a->fd, acceptor_on_incoming);
        timer_init(&a->pause, s->loops[0].loop, acceptor_on_rested);
        log_info("Awaiting socket connections on %s:%d (listener %s)", l->host && l->host[0] ? l->host : "0.0.0.0",
                 a->port, l->name);
    }
    s->ips->window =
        (struct rate_window){s->config->quota_window_num, s->config->quota_window_size_seconds * INT64_C(1000)};
    net_server_configure(s, s->config, NULL);
    return true;
}

void acceptors_watch(struct net_server *s, bool on)
{
    ensure(loop_is_mine(s->loops[0].loop));
    for (int i = 0; i < s->acceptor_count; i++) {
        s->acceptors[i].on = on;
        watch_set(&s->acceptors[i].watch, on ? WATCH_READ : WATCH_NONE);
        if (!on)
            timer_stop(&s->acceptors[i].pause);
    }
    while (!on && s->ips->late != NULL)
        late_close(s->ips->late);
}

void net_server_set_shakers(struct net_server *s, struct workers *shakers)
{
    s->shakers = shakers;
}

void net_server_set_tls(struct net_server *s, int i, struct tls_context *context)
{
    struct acceptor *a = &s->acceptors[i];
    ensure(i < s->acceptor_count && s->shakers != NULL);
    if (context != NULL)
        tls_context_ref(context);
    lock_take(&s->ips->lock);
    struct tls_context *old = a->tls;
    a->tls = context;
    atomic_store(&a->encrypts, context != NULL);
    lock_release(&s->ips->lock);
    tls_context_unref(old);
}

int64_t acceptor_certificate_end(struct net_server *s, int listener)
{
    ensure(listener >= 0 && listener < s->acceptor_count);
    lock_take(&s->ips->lock);
    const struct tls_context *context = s->acceptors[listener].tls;
    int64_t end = context != NULL ? tls_context_end(context) : 0;
    lock_release(&s->ips->lock);
    return end;
}

int net_server_port(const struct net_server *s, int i)
{
    ensure(i < s->acceptor_count);
    return s->acceptors[i].port;
}

void acceptors_free(struct net_server *s)
{
    for (int i = 0; i < s->acceptor_count; i++) {
        ensure(atomic_load(&s->acceptors[i].count) == 0);
        close(s->acceptors[i].fd);
        tls_context_unref(s->acceptors[i].tls);
        rate_deinit(&s->acceptors[i].rate.rate);
    }
    free(s->acceptors);
    rate_deinit(&s->rate.rate);
    room_free(s->room);
    host_names_free(s->host_names);
    if (s->ips != NULL) {
        ensure(s->ips->table == NULL);
        lock_deinit(&s->ips->lock);
        ip_limits_free(&s->ips->limits);
        ip_limits_free(&s->ips->rates);
        while (s->ips->paces != NULL)
            ip_pace_free(s->ips, s->ips->paces);
        ensure(s->ips->late == NULL);
        free(s->ips);
    }
}
