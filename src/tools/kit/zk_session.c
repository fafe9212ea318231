#include "tools/kit/zk_session.h"

#include "base/logger.h"
#include "cluster/zk_protection.h"

enum { CONNECT_TIMEOUT_MS = 30000, SESSION_TIMEOUT_MS = 30000, MAX_IN_FLIGHT = 100 };

struct zk_session {
    struct loop *loop;
    struct zk *zk;
    struct zk_protection *protection;
    struct fail refusal; /* empty: none */
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

static void zk_session_on_refused(void *ctx, const struct fail *why)
{
    struct zk_session *s = ctx;
    if (s->started)
        return;
    s->refusal = *why;
    loop_stop(s->loop);
}

static void zk_session_on_deadline(struct timer *t)
{
    loop_stop(t->loop);
}

static void explain_no_session(struct zk_session *s, const char *connect, struct fail *fail)
{
    const char *why = zk_trouble(s->zk);
    if (s->refusal.text[0] != '\0')
        *fail = s->refusal;
    else
        fail_set(fail, "Timed out waiting for connection to ZooKeeper at %s%s%s", connect, *why ? ": " : "", why);
}

struct zk_session *zk_session_open(const char *connect, const char *tls_file, struct fail *fail)
{
    return zk_session_open_within(connect, tls_file, SESSION_TIMEOUT_MS, CONNECT_TIMEOUT_MS, fail);
}

struct zk_session *zk_session_open_within(const char *connect, const char *tls_file, int32_t session_ms,
                                          int32_t connection_ms, struct fail *fail)
{
    struct zk_protection *protection = zk_protection_of_tool(tls_file, fail);
    if (protection == NULL)
        return NULL;
    struct zk_session *s = xcalloc(1, sizeof(*s));
    s->protection = protection;
    s->loop = loop_new("zookeeper");
    s->zk = zk_new(&(struct zk_options){.loop = s->loop,
                                        .connect = connect,
                                        .session_timeout_ms = session_ms,
                                        .max_in_flight = MAX_IN_FLIGHT,
                                        .changed = zk_session_on_changed,
                                        .session_started = zk_session_on_started,
                                        .session_expired = on_expired,
                                        .connection = on_connection,
                                        .protection = protection,
                                        .refused = zk_session_on_refused,
                                        .ctx = s});
    timer_init(&s->deadline, s->loop, zk_session_on_deadline);
    timer_start(&s->deadline, connection_ms);
    loop_run(s->loop);
    timer_stop(&s->deadline);
    if (s->started)
        return s;
    explain_no_session(s, connect, fail);
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
    zk_protection_unref(s->protection);
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
