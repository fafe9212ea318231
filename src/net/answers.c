/*
 * Answers of one connection, in the order of the requests. Those that lie in memory go out several with one sendmsg,
 * file regions with sendfile; a region that is not in the page cache is read by a worker first. What the socket does
 * not take now goes on when it takes more.
 *
 * A peer that takes nothing for connections.max.idle.ms is closed by connection.c, and one for whom much lies in memory
 * is closed here while all of them together take too much. An answer to a connection that is gone is dropped: whoever
 * served its request need not know.
 */
#include "base/clock.h"
#include "base/logger.h"
#include "net/connection_internal.h"

enum { MOST_TOGETHER = 16, MOST_UNSENT_BYTES = 1 << 30, LARGE_UNSENT_BYTES = 64 << 10 };

/* ---- An exchange ends ---- */

static void exchange_free(struct exchange *x)
{
    struct connection *c = x->conn;
    const struct net_handler *handler = &c->owner->server->handler;
    ensure(x->answered && x->parked);
    ensure(x->frame == NULL);
    int unsent = atomic_fetch_sub(&c->owner->unsent_answers, 1);
    ensure(unsent > 0);
    if (x->account.of != NULL && handler->ended != NULL)
        handler->ended(handler->ctx, x);
    outgoing_deinit(&x->out);
    int live = atomic_fetch_sub(&c->owner->server->live_exchanges, 1);
    ensure(live > 0);
    free(x);
    connection_unref(c);
}

void exchange_drop(struct exchange *x)
{
    struct connection *c = x->conn;
    ensure(c->closed && x->answered && c->open > 0);
    struct exchange **link = &c->first;
    while (*link != x)
        link = &(*link)->next;
    *link = x->next;
    if (x->next == NULL)
        c->last = link;
    c->open--;
    if (x->sending_us == 0)
        x->sending_us = x->account.answered_us;
    x->sent_us = MAX(x->sending_us, x->conn->owner->newest_us);
    exchange_free(x);
}

/* The request is done with, though its answer may have to wait for a peer that reads slowly. */
static void exchange_request_free(struct exchange *x)
{
    struct net_server *s = x->conn->owner->server;
    exchange_park(x);
    int64_t before = atomic_fetch_sub(&s->live_bytes, x->frame_len);
    ensure(before >= x->frame_len);
    free(x->frame);
    x->frame = NULL;
    x->frame_len = 0;
    x->context = NULL;
    arena_deinit(&x->arena);
}

/* Up to now its answer was being sent. */
static void take_first(struct connection *c, int64_t now_us)
{
    struct exchange *x = c->first;
    ensure(x != NULL && x->answered && c->open > 0);
    c->first = x->next;
    if (c->first == NULL)
        c->last = &c->first;
    c->open--;
    c->progress = (struct send_progress){0};
    x->sent_us = now_us;
    if (!x->silent)
        window_record(&c->traffic->sent, (int64_t)outgoing_size(&x->out));
    exchange_free(x);
}

/* ---- Regions that are not in memory ---- */

struct warm_up {
    struct job job;
    struct connection *conn;
    struct file_region region;
};

static void warm_up_run(struct job *job)
{
    struct warm_up *w = CONTAINER_OF(job, struct warm_up, job);
    region_warm_up(&w->region);
}

static void warm_up_done(struct message *m)
{
    struct warm_up *w = CONTAINER_OF(m, struct warm_up, job.done);
    struct connection *c = w->conn;
    ensure(c->warming == w && loop_is_mine(c->owner->loop));
    c->warming = NULL;
    file_ref_put(w->region.file);
    if (!c->closed) {
        /* Sent now whatever the cache says, or memory pressure could turn this into a loop. */
        c->progress.warm_to = c->progress.region_at + w->region.len;
        connection_progress(c);
    }
    free(w);
    connection_unref(c);
}

static void warm_up_start(struct connection *c)
{
    ensure(c->warming == NULL && c->progress.splice < c->first->out.splice_count);
    const struct file_region *r = &c->first->out.splices[c->progress.splice].region;
    ensure(c->progress.region_at >= 0 && c->progress.region_at < r->len);
    struct warm_up *w = xcalloc(1, sizeof(*w));
    w->conn = c;
    w->region =
        (struct file_region){r->file, r->pos + c->progress.region_at, MIN(r->len - c->progress.region_at, 1 << 20)};
    w->job = (struct job){.run = warm_up_run, .home = c->owner->loop, .done = {.deliver = warm_up_done}};
    file_ref_get(r->file);
    c->warming = w;
    c->refs++;
    workers_submit(c->owner->server->workers, &w->job);
}

/* ---- Sending ---- */

static bool is_plain(const struct exchange *x)
{
    return x->answered && x->out.splice_count == 0;
}

/* From the last time on that is known, as nothing but sending has happened since. */
static void begin_to_send(struct exchange *x)
{
    if (x->sending_us == 0)
        x->sending_us = MAX(loop_callback_us(), x->conn->owner->newest_us);
}

/* What happens next happens later than that. */
static int64_t note_sent(struct connection *c)
{
    return c->owner->newest_us = clock_mono_us();
}

/* Answers that lie in memory whole go out with one call. */
static enum send_result send_together(struct connection *c)
{
    struct iovec io[MOST_TOGETHER];
    size_t count = 0, room = 0;
    for (struct exchange *x = c->first; x != NULL && is_plain(x) && count < MOST_TOGETHER; x = x->next) {
        size_t from = count == 0 ? c->progress.mem_at : 0;
        io[count] = (struct iovec){x->out.mem.p + from, x->silent ? 0 : x->out.mem.len - from};
        room += io[count++].iov_len;
        begin_to_send(x);
    }
    ssize_t sent = room > 0 ? transport_write(&c->transport, io, (int)count, false) : 0;
    if (sent < 0)
        return send_trouble();
    int64_t now_us = note_sent(c);
    for (size_t i = 0; i < count; i++) {
        if ((size_t)sent < io[i].iov_len) {
            c->progress.mem_at += (size_t)sent;
            return SEND_BLOCKED;
        }
        sent -= (ssize_t)io[i].iov_len;
        take_first(c, now_us);
    }
    ensure(sent == 0);
    return SEND_DONE;
}

static enum send_result send_first(struct connection *c)
{
    begin_to_send(c->first);
    enum send_result result = outgoing_send(&c->transport, &c->first->out, &c->progress);
    int64_t now_us = note_sent(c);
    if (result == SEND_DONE)
        take_first(c, now_us);
    return result;
}

/* The peer has taken something: it is not idle, however slowly it reads. */
static bool has_moved(const struct connection *c, const struct exchange *first, const struct send_progress *before)
{
    return c->first != first || c->progress.mem_at != before->mem_at || c->progress.splice != before->splice ||
           c->progress.region_at != before->region_at;
}

bool connection_send_answers(struct connection *c)
{
    while (c->first != NULL && c->first->answered && c->warming == NULL) {
        const struct exchange *first = c->first;
        struct send_progress before = c->progress;
        enum send_result result = is_plain(c->first) ? send_together(c) : send_first(c);
        if (result == SEND_FAILED) {
            connection_close(c);
            return false;
        }
        if (has_moved(c, first, &before))
            connection_touch(c, c->owner->newest_us);
        if (result == SEND_COLD)
            warm_up_start(c);
        if (result != SEND_DONE)
            return true;
    }
    return true;
}

static size_t unsent_memory(const struct connection *c)
{
    size_t n = 0;
    for (const struct exchange *x = c->first; x != NULL && x->answered; x = x->next)
        n += x->out.mem.len;
    return n;
}

bool connection_account_unsent(struct connection *c)
{
    struct net_server *s = c->owner->server;
    size_t now = unsent_memory(c);
    int64_t all = atomic_fetch_add(&s->unsent_bytes, (int64_t)now - (int64_t)c->unsent) + (int64_t)(now - c->unsent);
    ensure(all >= 0 && !c->closed);
    bool more = now > c->unsent;
    c->unsent = now;
    if (!more || all <= MOST_UNSENT_BYTES || now < LARGE_UNSENT_BYTES)
        return true;
    connection_close_for(c, "too much memory is taken by answers that nobody reads");
    return false;
}

/* ---- For whom serves ---- */

void exchange_answer(struct exchange *x, struct outgoing *out)
{
    struct connection *c = x->conn;
    ensure(loop_current() == c->owner->loop && !x->answered && x->abandoned == NULL);
    x->answered = true;
    atomic_fetch_add(&c->owner->unsent_answers, 1);
    c->owner->newest_us = MAX(c->owner->newest_us, x->account.answered_us);
    x->out = *out;
    *out = (struct outgoing){0};
    exchange_request_free(x);
    if (c->closed)
        exchange_drop(x);
    else if (!c->reading && c->gathers == 0)
        connection_progress(c);
}

struct connection *connection_gather(const struct exchange *x)
{
    struct connection *c = x->conn;
    ensure(loop_is_mine(c->owner->loop) && !x->answered);
    c->gathers++;
    c->refs++;
    return c;
}

void connection_gathered(struct connection *c)
{
    ensure(loop_is_mine(c->owner->loop) && c->gathers > 0);
    if (--c->gathers == 0 && !c->closed && !c->reading)
        connection_progress(c);
    connection_unref(c);
}

void exchange_answer_last(struct exchange *x, struct outgoing *out)
{
    ensure(loop_is_mine(x->conn->owner->loop));
    x->conn->ending = true;
    exchange_answer(x, out);
}

void exchange_finish(struct exchange *x)
{
    ensure(loop_is_mine(x->conn->owner->loop));
    struct outgoing nothing = {0};
    x->silent = true;
    exchange_answer(x, &nothing);
}

void exchange_abort(struct exchange *x, const char *why)
{
    ensure(loop_is_mine(x->conn->owner->loop));
    x->abandoned = NULL;
    connection_close_for(x->conn, why);
    exchange_finish(x);
}

void exchange_park(struct exchange *x)
{
    ensure(loop_is_mine(x->conn->owner->loop));
    if (x->parked)
        return;
    x->parked = true;
    int before = atomic_fetch_sub(&x->conn->owner->server->open_exchanges, 1);
    ensure(before > 0);
}

void exchange_hold(struct exchange *x)
{
    ensure(loop_is_mine(x->conn->owner->loop));
    ensure(!x->conn->held);
    x->conn->held = true;
}

void exchange_release(struct exchange *x)
{
    struct connection *c = x->conn;
    ensure(loop_current() == c->owner->loop && c->held);
    c->held = false;
    if (!c->closed && !c->reading)
        connection_progress(c);
}

bool exchange_is_orphan(const struct exchange *x)
{
    return x->conn->closed;
}

struct loop *exchange_loop(const struct exchange *x)
{
    return x->conn->owner->loop;
}
