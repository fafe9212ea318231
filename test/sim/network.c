/*
 * Connections between processes. Frames go whole and in order; they take some time, and while the way is cut they wait,
 * as TCP would send them again. What was sent may still arrive after its sender has closed the connection or has died,
 * however long that takes, as its kernel goes on; or it may not. The others learn of the end behind it, if they can be
 * reached.
 */
#include <stdio.h>
#include <utlist.h>

#include "base/clock.h"
#include "net/net.h"
#include "protocol/wire.h"
#include "sim.h"

enum { TO_SERVER, TO_CLIENT, CORRELATION_AT = 8, RETRANSMIT_US = 30000, MOST_KEYS = 128 };

static bool cuts[MAX_PROCESSES][MAX_PROCESSES];
static struct network_count counts[MOST_KEYS];

struct network_count network_count(int16_t key)
{
    ensure(key >= 0 && key < MOST_KEYS);
    return counts[key];
}

void network_cut(struct process *from, struct process *to, bool cut)
{
    cuts[from->number][to->number] = cut;
}

bool network_is_cut(const struct process *from, const struct process *to)
{
    return cuts[from->number][to->number];
}

int64_t network_latency_us(void)
{
    return 50 + sim_random(sim_chance(30) ? 20000 : 300);
}

/* ---- One connection, seen from outside ---- */

struct frame {
    uint8_t *p;
    size_t len;
    struct frame *prev, *next;
};

struct way { /* one direction */
    struct frame *queue;
    bool scheduled;
};

struct link {
    struct process *client_process, *server_process;
    struct client *client;         /* NULL: it has let go */
    struct connection *connection; /* NULL: not accepted yet, or let go */
    struct way ways[2];
    bool accepted, broken;
    bool ending[2]; /* the sender has gone: when all is delivered, the other side is told */
    struct link *prev, *next;
};

static struct link *links;

static void server_take(struct connection *c, uint8_t *frame, size_t len);
static void client_take(struct client *c, uint8_t *frame, size_t len);
static void server_gone(struct link *l);
static void client_gone(struct link *l);

struct delivery {
    struct link *link;
    int direction;
};

static void push_on(struct link *l, int direction, int64_t us);
static void drop_frames(struct link *l, int direction);

static void end_if_empty(struct link *l, int direction)
{
    if (!l->ending[direction] || l->ways[direction].queue != NULL)
        return;
    l->broken = true;
    if (direction == TO_SERVER)
        server_gone(l);
    else
        client_gone(l);
}

/* Nobody sends in that direction any more, nor takes what comes in the other. */
static void link_end(struct link *l, int direction)
{
    if (l->broken)
        return;
    l->ending[direction] = true;
    drop_frames(l, !direction);
    if (!l->accepted || sim_chance(2))
        drop_frames(l, direction);
    end_if_empty(l, direction);
}

static struct process *sender(const struct link *l, int direction)
{
    return direction == TO_SERVER ? l->client_process : l->server_process;
}

static struct process *receiver(const struct link *l, int direction)
{
    return sender(l, !direction);
}

static void deliver(void *arg)
{
    struct delivery d = *(struct delivery *)arg;
    struct link *l = d.link;
    struct way *w = &l->ways[d.direction];
    free(arg);
    w->scheduled = false;
    if (l->broken || w->queue == NULL)
        return;
    if (network_is_cut(sender(l, d.direction), receiver(l, d.direction))) {
        push_on(l, d.direction, RETRANSMIT_US);
        return;
    }
    struct frame *f = w->queue;
    DL_DELETE(w->queue, f);
    push_on(l, d.direction, 1 + sim_random(40));
    end_if_empty(l, d.direction);
    if (d.direction == TO_SERVER && l->connection != NULL)
        server_take(l->connection, f->p, f->len);
    else if (d.direction == TO_CLIENT && l->client != NULL)
        client_take(l->client, f->p, f->len);
    else
        free(f->p);
    free(f);
}

static void push_on(struct link *l, int direction, int64_t us)
{
    struct way *w = &l->ways[direction];
    if (w->scheduled || w->queue == NULL || l->broken || !l->accepted)
        return;
    struct delivery *d = xmalloc(sizeof(*d));
    *d = (struct delivery){l, direction};
    w->scheduled = true;
    sim_after(receiver(l, direction), us, deliver, d);
}

static void link_send(struct link *l, int direction, uint8_t *p, size_t len)
{
    struct frame *f = xcalloc(1, sizeof(*f));
    *f = (struct frame){.p = p, .len = len};
    DL_APPEND(l->ways[direction].queue, f);
    push_on(l, direction, network_latency_us());
}

static void drop_frames(struct link *l, int direction)
{
    struct frame *f, *tmp;
    DL_FOREACH_SAFE (l->ways[direction].queue, f, tmp) {
        free(f->p);
        free(f);
    }
    l->ways[direction].queue = NULL;
}

/* ---- Asking ---- */

struct client {
    struct process *process;
    struct loop *loop;
    char *host;
    int port;
    struct link *link;
    struct client_call *first, **last;
    int32_t next_id;
    struct timer deadline;
    bool in_use, doomed;
};

static void arm_deadline(struct client *c)
{
    if (c->first == NULL)
        timer_stop(&c->deadline);
    else
        timer_start(&c->deadline, MAX(c->first->deadline - clock_mono_ms(), (int64_t)0));
}

static void hang_up(struct client *c)
{
    struct link *l = c->link;
    c->link = NULL;
    if (l == NULL)
        return;
    l->client = NULL;
    link_end(l, TO_SERVER);
}

static void release(struct client *c)
{
    timer_stop(&c->deadline);
    free(c->host);
    free(c);
}

static void fail_calls(struct client *c)
{
    bool outer = c->in_use;
    struct client_call *calls = c->first;
    c->in_use = true;
    c->first = NULL;
    c->last = &c->first;
    while (calls != NULL) {
        struct client_call *call = calls;
        calls = call->next;
        call->done(call, (struct bytes){NULL, 0});
    }
    c->in_use = outer;
    if (!outer && c->doomed)
        release(c);
}

void client_disconnect(struct client *c)
{
    hang_up(c);
    timer_stop(&c->deadline);
    fail_calls(c);
}

static void on_deadline(struct timer *t)
{
    struct client *c = CONTAINER_OF(t, struct client, deadline);
    if (c->first != NULL && c->first->deadline > clock_mono_ms())
        arm_deadline(c);
    else
        client_disconnect(c);
}

struct client_options client_options_of(const struct broker_config *config UNUSED, struct loop *loop,
                                        struct client_route *route UNUSED)
{
    return (struct client_options){.loop = loop};
}

struct client *client_new(const struct client_options *options, const char *host, int port)
{
    struct loop *loop = options->loop;
    struct client *c = xcalloc(1, sizeof(*c));
    c->process = loop_process(loop);
    c->loop = loop;
    c->host = xstrdup(host);
    c->port = port;
    c->last = &c->first;
    timer_init(&c->deadline, loop, on_deadline);
    return c;
}

bool client_goes_to(const struct client *c, const char *host, int port)
{
    return c->port == port && strcmp(c->host, host) == 0;
}

void client_free(struct client *c)
{
    if (c == NULL)
        return;
    c->doomed = true;
    hang_up(c);
    timer_stop(&c->deadline);
    if (!c->in_use)
        fail_calls(c);
}

static void try_to_connect(void *arg);

void client_send(struct client *c, struct strbuf *frame, struct client_call *call)
{
    ensure(frame->len >= CORRELATION_AT + 4 && call->done != NULL && !c->doomed);
    call->correlation_id = c->next_id++;
    call->deadline = clock_mono_ms() + call->timeout_ms;
    call->next = NULL;
    be32_put(frame->p + CORRELATION_AT, (uint32_t)call->correlation_id);
    *c->last = call;
    c->last = &call->next;
    if (c->link == NULL) {
        c->link = xcalloc(1, sizeof(*c->link));
        c->link->client = c;
        c->link->client_process = c->process;
        DL_APPEND(links, c->link);
        sim_after(c->process, network_latency_us(), try_to_connect, c->link);
    }
    uint8_t *copy = xmalloc(frame->len - 4);
    memcpy(copy, frame->p + 4, frame->len - 4);
    struct network_count *n = &counts[be16_get(copy)];
    n->requests++;
    n->bytes += (int64_t)frame->len;
    link_send(c->link, TO_SERVER, copy, frame->len - 4);
    strbuf_deinit(frame);
    if (c->first == call)
        arm_deadline(c);
}

static void client_take(struct client *c, uint8_t *frame, size_t len)
{
    struct client_call *call = c->first;
    ensure(call != NULL && call->correlation_id == (int32_t)be32_get(frame));
    c->first = call->next;
    if (c->first == NULL)
        c->last = &c->first;
    arm_deadline(c);
    struct loop *outer = sim_enter(c->loop);
    c->in_use = true;
    call->done(call, (struct bytes){frame, (int32_t)len});
    c->in_use = false;
    if (c->doomed)
        release(c);
    sim_enter(outer);
    free(frame);
}

/* ---- Serving ---- */

struct connection {
    struct net_server *server;
    struct loop *loop;
    int64_t serial;
    struct link *link; /* NULL: the peer has gone */
    struct frame *pending;
    struct exchange *first, **last; /* in the order of the requests */
    int open, held;
    bool stopped; /* by exchange_hold() */
    bool pumping;
    void *context;
    void (*free_context)(void *);
    struct connection *prev, *next;
};

struct net_server {
    struct process *process;
    const struct broker_config *config;
    struct net_handler handler;
    struct loop **loops;
    struct loop_thread *threads;
    int loop_count, next_loop, live;
    bool accepting, closed;
    struct message start;
    struct connection *connections;
};

static struct net_server *servers[MAX_PROCESSES]; /* by process */

void net_server_configure(struct net_server *s UNUSED, const struct broker_config *config UNUSED,
                          const struct ip_rates *rates UNUSED)
{
}

void net_server_find_hosts_by(struct net_server *s UNUSED, struct loop *loop UNUSED, struct workers *resolvers UNUSED,
                              void (*found)(void *ctx) UNUSED, void *ctx UNUSED)
{
}

struct net_server *net_server_new(const struct broker_config *config, struct workers *workers UNUSED,
                                  const struct net_handler *handler, struct fail *fail UNUSED)
{
    struct net_server *s = xcalloc(1, sizeof(*s));
    s->process = sim_process;
    s->config = config;
    s->handler = *handler;
    s->loop_count = config->num_network_threads;
    s->loops = xcalloc((size_t)s->loop_count, sizeof(struct loop *));
    s->threads = xcalloc((size_t)s->loop_count, sizeof(*s->threads));
    for (int i = 0; i < s->loop_count; i++)
        s->loops[i] = loop_new("network");
    servers[s->process->number] = s;
    return s;
}

int net_server_loop_count(const struct net_server *s)
{
    return s->loop_count;
}

struct loop *net_server_loop(const struct net_server *s, int i)
{
    return s->loops[i];
}

int net_server_port(const struct net_server *s, int i)
{
    return s->config->listeners.items[i].port;
}

void net_server_run_loops(struct net_server *s)
{
    for (int i = 0; i < s->loop_count; i++)
        loop_thread_start(&s->threads[i], s->loops[i]);
}

static void start_accepting(struct message *m)
{
    struct net_server *s = CONTAINER_OF(m, struct net_server, start);
    s->accepting = !s->closed;
}

/* By a message, as outside: behind what the loop was told before. */
void net_server_start(struct net_server *s)
{
    s->start.deliver = start_accepting;
    loop_post(s->loops[0], &s->start);
}

static void end_exchange(struct exchange *x)
{
    const struct net_handler *handler = &x->conn->server->handler;
    x->conn->server->live--;
    x->sending_us = x->sent_us = clock_mono_us();
    if (x->account.of != NULL && handler->ended != NULL)
        handler->ended(handler->ctx, x);
    outgoing_deinit(&x->out);
    arena_deinit(&x->arena);
    free(x->frame);
    free(x);
}

static void free_if_done(struct connection *c)
{
    struct frame *f, *tmp;
    if (c->link != NULL || c->first != NULL || c->pumping || c->held > 0)
        return;
    DL_FOREACH_SAFE (c->pending, f, tmp) {
        free(f->p);
        free(f);
    }
    if (c->context != NULL)
        c->free_context(c->context);
    DL_DELETE(c->server->connections, c);
    free(c);
}

static void connection_close(struct connection *c)
{
    if (c->link == NULL)
        return;
    c->link->connection = NULL;
    c->link = NULL;
    c->pumping = true; /* holds it while the waiting ones are told */
    struct loop *outer = sim_enter(c->loop);
    for (struct exchange *x = c->first; x != NULL;) {
        void (*abandoned)(struct exchange *) = x->abandoned;
        x->abandoned = NULL;
        if (x->answered || abandoned == NULL) {
            x = x->next;
            continue;
        }
        abandoned(x);
        x = c->first; /* the list may have changed */
    }
    sim_enter(outer);
    c->pumping = false;
    free_if_done(c);
}

static void tell_server(void *arg)
{
    struct link *l = arg;
    if (l->connection == NULL)
        return;
    if (network_is_cut(l->client_process, l->server_process))
        sim_after(l->server_process, RETRANSMIT_US * 10, tell_server, l);
    else
        connection_close(l->connection);
}

static void server_gone(struct link *l)
{
    if (l->connection != NULL)
        sim_after(l->server_process, network_latency_us(), tell_server, l);
}

static void tell_client(void *arg)
{
    struct link *l = arg;
    if (l->client == NULL)
        return;
    if (l->server_process != NULL && network_is_cut(l->server_process, l->client_process)) {
        sim_after(l->client_process, RETRANSMIT_US, tell_client, l);
        return;
    }
    struct client *c = l->client;
    struct loop *outer = sim_enter(c->loop);
    client_disconnect(c);
    sim_enter(outer);
}

static void client_gone(struct link *l)
{
    if (l->client != NULL)
        sim_after(l->client_process, network_latency_us(), tell_client, l);
}

static struct net_server *find_server(const char *host)
{
    for (int i = 0; i < MAX_PROCESSES; i++)
        if (servers[i] != NULL && strcmp(servers[i]->process->name, host) == 0)
            return servers[i];
    return NULL;
}

static void try_to_connect(void *arg)
{
    struct link *l = arg;
    if (l->client == NULL || l->broken)
        return;
    struct net_server *s = find_server(l->client->host);
    l->server_process = s != NULL ? s->process : NULL;
    if (s != NULL && (network_is_cut(l->client_process, s->process) || network_is_cut(s->process, l->client_process))) {
        sim_after(l->client_process, RETRANSMIT_US, try_to_connect, l);
        return;
    }
    if (s == NULL || !s->accepting) {
        link_end(l, TO_CLIENT);
        return;
    }
    struct connection *c = xcalloc(1, sizeof(*c));
    c->server = s;
    c->serial = s->next_loop;
    c->loop = s->loops[s->next_loop++ % s->loop_count];
    c->link = l;
    c->last = &c->first;
    DL_APPEND(s->connections, c);
    l->connection = c;
    l->accepted = true;
    push_on(l, TO_SERVER, network_latency_us());
}

static void pump(struct connection *c)
{
    struct net_server *s = c->server;
    if (c->pumping || c->held > 0)
        return;
    c->pumping = true;
    struct loop *outer = sim_enter(c->loop);
    while (c->pending != NULL && c->link != NULL && !c->stopped &&
           (c->open == 0 || s->handler.may_overlap(s->handler.ctx, c, c->pending->p, (int32_t)c->pending->len))) {
        struct frame *f = c->pending;
        DL_DELETE(c->pending, f);
        struct exchange *x = xcalloc(1, sizeof(*x));
        x->conn = c;
        x->frame = f->p;
        x->frame_len = (int32_t)f->len;
        x->received_us = x->whole_us = clock_mono_us();
        free(f);
        *c->last = x;
        c->last = &x->next;
        c->open++;
        s->live++;
        s->handler.serve(s->handler.ctx, x);
    }
    sim_enter(outer);
    c->pumping = false;
    free_if_done(c);
}

static void server_take(struct connection *c, uint8_t *frame, size_t len)
{
    struct frame *f = xcalloc(1, sizeof(*f));
    *f = (struct frame){.p = frame, .len = len};
    DL_APPEND(c->pending, f);
    pump(c);
}

static void pump_later(struct message *m);

struct pump_message {
    struct message message;
    struct connection *connection;
};

static void send_answers(struct connection *c)
{
    while (c->first != NULL && c->first->answered) {
        struct exchange *x = c->first;
        c->first = x->next;
        if (c->first == NULL)
            c->last = &c->first;
        if (!x->silent && c->link != NULL) {
            size_t len = outgoing_size(&x->out), at = 0, have = 0;
            uint8_t *bytes = xmalloc(len);
            for (size_t i = 0; i <= x->out.splice_count; i++) {
                size_t until = i < x->out.splice_count ? x->out.splices[i].at : x->out.mem.len;
                memcpy(bytes + have, x->out.mem.p + at, until - at);
                have += until - at;
                at = until;
                if (i < x->out.splice_count) {
                    ssize_t n = region_read(&x->out.splices[i].region, bytes + have);
                    ensure(n == x->out.splices[i].region.len);
                    have += (size_t)n;
                }
            }
            ensure(have == len);
            memmove(bytes, bytes + 4, len - 4);
            link_send(c->link, TO_CLIENT, bytes, len - 4);
        }
        end_exchange(x);
    }
}

static void pump_soon(struct connection *c)
{
    struct pump_message *m = xcalloc(1, sizeof(*m));
    *m = (struct pump_message){{.deliver = pump_later}, c};
    c->held++;
    loop_post(c->loop, &m->message);
}

static void answered(struct exchange *x)
{
    struct connection *c = x->conn;
    ensure(!x->answered && loop_current() == c->loop);
    x->answered = true;
    c->open--;
    send_answers(c);
    if (c->pending != NULL) {
        pump_soon(c);
        return;
    }
    free_if_done(c);
}

static void pump_later(struct message *m)
{
    struct connection *c = CONTAINER_OF(m, struct pump_message, message)->connection;
    free(m);
    c->held--;
    pump(c);
}

void exchange_answer(struct exchange *x, struct outgoing *out)
{
    x->out = *out;
    *out = (struct outgoing){0};
    answered(x);
}

void exchange_finish(struct exchange *x)
{
    x->silent = true;
    answered(x);
}

void exchange_abort(struct exchange *x, const char *why)
{
    fprintf(stderr, "%s closes a connection: %s\n", x->conn->server->process->name, why);
    abort();
}

void exchange_park(struct exchange *x)
{
    x->parked = true;
}

void exchange_hold(struct exchange *x)
{
    ensure(!x->conn->stopped);
    x->conn->stopped = true;
}

void exchange_release(struct exchange *x)
{
    ensure(x->conn->stopped);
    x->conn->stopped = false;
    pump_soon(x->conn);
}

struct connection *connection_gather(const struct exchange *x)
{
    return x->conn;
}

void connection_gathered(struct connection *c UNUSED)
{
}

void exchange_mute(struct exchange *x UNUSED, int32_t ms UNUSED, atomic_int *count UNUSED)
{
    unreachable("a limit, where nobody has set any");
}

bool exchange_is_orphan(const struct exchange *x)
{
    return x->conn->link == NULL;
}

struct loop *exchange_loop(const struct exchange *x)
{
    return x->conn->loop;
}

const struct listener *connection_listener(const struct connection *c)
{
    return &c->server->config->listeners.items[0];
}

const char *connection_peer(const struct connection *c)
{
    return c->link != NULL ? c->link->client_process->name : "gone";
}

void connection_id(const struct connection *c, char *out, size_t size)
{
    snprintf(out, size, "%s", connection_peer(c));
}

int64_t connection_serial(const struct connection *c)
{
    return c->serial;
}

const char *connection_peer_host(const struct connection *c)
{
    return connection_peer(c);
}

/* ---- What nobody asks for here: encryption, logins ---- */

struct ssl_st *connection_tls(const struct connection *c UNUSED)
{
    return NULL;
}

void connection_limit_frames(struct connection *c UNUSED, int32_t most UNUSED)
{
}

void exchange_answer_last(struct exchange *x, struct outgoing *out)
{
    exchange_answer(x, out);
}

void net_server_count(struct net_server *s UNUSED, struct metrics *m UNUSED)
{
}

void connection_note_login(struct connection *c UNUSED, enum login_news news UNUSED)
{
}

void connection_software(const struct connection *c UNUSED, struct str *name, struct str *version)
{
    *name = *version = STR_LIT("unknown");
}

void connection_note_software(struct connection *c UNUSED, struct str name UNUSED, struct str version UNUSED)
{
}

void net_server_set_shakers(struct net_server *s UNUSED, struct workers *shakers UNUSED)
{
}

void net_server_set_tls(struct net_server *s UNUSED, int i UNUSED, struct tls_context *context UNUSED)
{
}

void client_route_init(struct client_route *r, struct workers *resolvers UNUSED, struct workers *shakers UNUSED)
{
    *r = (struct client_route){0};
}

void client_route_deinit(struct client_route *r UNUSED)
{
}

struct client_metrics *client_metrics_new(struct metrics *m UNUSED)
{
    return NULL;
}

void client_metrics_free(struct client_metrics *m UNUSED)
{
}

struct client_counts *client_counts_new(const struct client_route *route UNUSED, struct loop *loop UNUSED,
                                        const struct client_kind *kind UNUSED)
{
    return NULL;
}

void client_counts_free(struct client_counts *c UNUSED)
{
}

void client_route_set_tls(struct client_route *r UNUSED, struct tls_context *context UNUSED)
{
}

void **connection_context(struct connection *c, void (*free_fn)(void *))
{
    c->free_context = free_fn;
    return &c->context;
}

void net_server_close_connections(struct net_server *s)
{
    struct connection *c, *tmp;
    s->accepting = false;
    s->closed = true;
    DL_FOREACH_SAFE (s->connections, c, tmp) {
        struct link *l = c->link;
        connection_close(c);
        if (l != NULL)
            link_end(l, TO_CLIENT);
    }
}

bool net_server_is_quiet(const struct net_server *s)
{
    return s->live == 0;
}

void net_server_stop(struct net_server *s)
{
    for (int i = 0; i < s->loop_count; i++)
        loop_thread_join(&s->threads[i]);
}

void net_server_free(struct net_server *s)
{
    if (s == NULL)
        return;
    net_server_stop(s);
    for (int i = 0; i < s->loop_count; i++)
        loop_free(s->loops[i]);
    if (servers[s->process->number] == s)
        servers[s->process->number] = NULL;
    free(s->loops);
    free(s->threads);
    free(s);
}

/* ---- The death of a process ---- */

void network_forget(struct process *p)
{
    struct link *l;
    servers[p->number] = NULL;
    DL_FOREACH (links, l) {
        if (l->broken)
            continue;
        if (l->server_process == p) {
            l->connection = NULL;
            link_end(l, TO_CLIENT);
        } else if (l->client_process == p) {
            l->client = NULL;
            link_end(l, TO_SERVER);
        }
    }
}

/* ---- What is sent ---- */

void outgoing_deinit(struct outgoing *o)
{
    for (size_t i = 0; i < o->splice_count; i++)
        file_ref_put(o->splices[i].region.file);
    free(o->splices);
    strbuf_deinit(&o->mem);
    *o = (struct outgoing){0};
}

void outgoing_splice(struct outgoing *o, size_t at, struct file_region region)
{
    o->splices = xgrow(o->splices, o->splice_count + 1, &o->splice_cap, sizeof(*o->splices));
    o->splices[o->splice_count++] = (struct splice){at, region};
}

size_t outgoing_size(const struct outgoing *o)
{
    size_t size = o->mem.len;
    for (size_t i = 0; i < o->splice_count; i++)
        size += (size_t)o->splices[i].region.len;
    return size;
}
