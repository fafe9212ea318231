#include "tools/kit/zk_session.h"

#include "base/logger.h"

enum { CONNECT_TIMEOUT_MS = 30000, SESSION_TIMEOUT_MS = 30000, MAX_IN_FLIGHT = 100 };

struct zk_session {
    struct loop *loop;
    struct zk *zk;
    struct timer deadline;
    bool started;
};

static void zk_session_on_started(void *ctx)
{
    struct zk_session *s = ctx;
    s->started = true;
    loop_stop(s->loop);
}

static void on_expired(void *ctx UNUSED)
{
}
static void on_connection(void *ctx UNUSED, bool connected UNUSED)
{
}
static void zk_session_on_changed(void *ctx UNUSED, const char *path UNUSED)
{
}

static void zk_session_on_deadline(struct timer *t)
{
    loop_stop(t->loop);
}

struct zk_session *zk_session_open(const char *connect, struct fail *fail)
{
    struct zk_session *s = xcalloc(1, sizeof(*s));
    s->loop = loop_new("zookeeper");
    s->zk = zk_new(&(struct zk_options){.loop = s->loop,
                                        .connect = connect,
                                        .session_timeout_ms = SESSION_TIMEOUT_MS,
                                        .max_in_flight = MAX_IN_FLIGHT,
                                        .changed = zk_session_on_changed,
                                        .session_started = zk_session_on_started,
                                        .session_expired = on_expired,
                                        .connection = on_connection,
                                        .ctx = s});
    timer_init(&s->deadline, s->loop, zk_session_on_deadline);
    timer_start(&s->deadline, CONNECT_TIMEOUT_MS);
    loop_run(s->loop);
    timer_stop(&s->deadline);
    if (s->started)
        return s;
    fail_set(fail, "Timed out waiting for connection to ZooKeeper at %s", connect);
    zk_session_close(s);
    return NULL;
}

void zk_session_end(struct zk_session *s)
{
    if (s->zk == NULL)
        return;
    zk_close(s->zk);
    zk_free(s->zk);
    s->zk = NULL;
}

void zk_session_close(struct zk_session *s)
{
    if (s == NULL)
        return;
    zk_session_end(s);
    loop_free(s->loop);
    free(s);
}

struct zk *zk_session_zk(struct zk_session *s)
{
    return s->zk;
}

struct loop *zk_session_loop(struct zk_session *s)
{
    return s->loop;
}

static void on_done(struct zk_batch *b)
{
    zk_session_wake(b->ctx);
}

struct zk_batch *zk_session_batch(struct zk_session *s)
{
    struct zk_batch *b = zk_batch_new(on_done);
    b->ctx = s;
    return b;
}

void zk_session_run(struct zk_session *s, struct zk_batch *b)
{
    zk_submit(s->zk, b);
    zk_session_wait(s);
}

void zk_session_wait(struct zk_session *s)
{
    loop_run(s->loop);
}

void zk_session_wake(struct zk_session *s)
{
    loop_stop(s->loop);
}
