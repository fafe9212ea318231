/*
 * The real ZooKeeper session: zookeeper_st's handle, driven by our loop; its way to the servers is zk_bridge's.
 *
 * When all goes well the loop watches the library's socket and gives it a turn whenever there is something to read or
 * to send, or its time has come. A connection that breaks is the library's to make again, with the session's watches;
 * after each server was tried in vain there is a pause. An expired session ends all that is open, and a new one is
 * begun with a new handle. A session that comes to nothing is ended by us: when a request has broken the connection
 * time after time, or the servers hang up again and again before they answer.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>

#include "base/logger.h"
#include "base/probe.h"
#include "cluster/zk_internal.h"
#include "cluster/zk_protection.h"

enum { RETRY_MS = 1000, PAUSE_MS = 100, NEVER = -1, ENDPOINT_ROOM = 32 };
/* So many connections in a row break that nothing came of, before the session is given up. */
enum { MOST_BARREN = 20 };

static void pump(struct zk *zk);

const char *zk_without_chroot(const struct zk *zk, const char *path)
{
    size_t n = strlen(zk->chroot);
    return strncmp(path, zk->chroot, n) == 0 ? (path[n] ? path + n : "/") : path;
}

void zk_give_up(struct zk *zk, const char *why)
{
    if (!zk->expired)
        fail_set(&zk->given_up, "%s", why);
    zk->expired = true;
}

static void on_chroot(int rc, const char *path UNUSED, const void *ctx)
{
    struct zk *zk = (struct zk *)(uintptr_t)ctx;
    if (rc == ZOK || rc == ZNODEEXISTS)
        return;
    if (rc != ZCONNECTIONLOSS && rc != ZCLOSING && rc != ZSESSIONEXPIRED)
        log_error("Cannot create the ZooKeeper root %s: %s", zk->chroot, zerror(rc));
}

/* Every part of the chroot; the requests behind it are answered after it. */
static void make_chroot(struct zk *zk)
{
    ensure(!zk->chroot_made && zk->handle != NULL);
    char *path = xstrdup(zk->chroot);
    for (char *slash = path; slash != NULL && *slash;) {
        slash = strchr(slash + 1, '/');
        if (slash != NULL)
            *slash = '\0';
        zoo_acreate(zk->handle, path, NULL, -1, zk_acl_of(zk, path), 0, on_chroot, zk);
        if (slash != NULL)
            *slash = '/';
    }
    free(path);
    zk->chroot_made = true;
}

static void on_connected(struct zk *zk)
{
    int64_t id = zoo_client_id(zk->handle)->client_id;
    ensure(!zk->closing);
    bool fresh = id != zk->session_id;
    zk->connected = true;
    zk_metrics_tell(&zk->metrics, ZK_NEWS_CONNECTED);
    if (zk->options.protection != NULL && zk->options.protection->who != NULL)
        zk_metrics_tell(&zk->metrics, ZK_NEWS_SASL);
    zk->failures = 0;
    zk->answers_before = zk_bridge_answers(zk->bridge);
    zk->session_id = id;
    if (!zk->chroot_made)
        make_chroot(zk);
    log_info("Connected to ZooKeeper, session 0x%" PRIx64, id);
    if (zk->options.connection != NULL)
        zk->options.connection(zk->options.ctx, true);
    if (fresh)
        zk->options.session_started(zk->options.ctx);
}

static void on_event(zhandle_t *h UNUSED, int type, int state, const char *path, void *ctx)
{
    struct zk *zk = ctx;
    PROBE(zk__event, type, state, path);
    if (zk->closing)
        return;
    ensure(loop_is_mine(zk->options.loop)); /* the library has no threads of its own here */
    if (type != ZOO_SESSION_EVENT) {
        if (type != ZOO_NOTWATCHING_EVENT)
            zk->options.changed(zk->options.ctx, zk_without_chroot(zk, path));
        return;
    }
    if (state == ZOO_CONNECTED_STATE) {
        on_connected(zk);
    } else if (state == ZOO_EXPIRED_SESSION_STATE) {
        zk->expired = true;
    } else if (zk->connected) {
        zk->connected = false;
        zk_metrics_tell(&zk->metrics, ZK_NEWS_DISCONNECTED);
        log_warn("The connection to ZooKeeper is lost");
        zk->barren = zk_bridge_answers(zk->bridge) > zk->answers_before ? 0 : zk->barren + 1;
        if (zk->barren >= MOST_BARREN)
            zk_give_up(zk, "the servers have hung up again and again before they answered anything");
        if (zk->options.connection != NULL)
            zk->options.connection(zk->options.ctx, false);
    }
}

/* What the client library says. */
LOG_PLACE(client_lines, "org.apache.zookeeper.ClientCnxn")

static void zk_log_line(const char *line)
{
    const char *text = strchr(line, '@'); /* after date, process and level comes "function@line: text" */
    log_to(&client_lines, LEVEL_DEBUG, "%s", text ? text : line);
}

static void open_handle(struct zk *zk)
{
    struct fail fail;
    int port;
    char endpoint[ENDPOINT_ROOM];
    ensure(zk->handle == NULL && !zk->connected);
    if (!zk_bridge_open(zk->bridge, &port, &fail)) {
        log_error("Cannot connect to ZooKeeper: %s", fail.text);
        return;
    }
    snprintf(endpoint, sizeof(endpoint), "127.0.0.1:%d", port);
    zk->handle = zookeeper_init2(endpoint, on_event, zk->options.session_timeout_ms, NULL, zk, 0, zk_log_line);
    if (zk->handle == NULL)
        log_error("Cannot use ZooKeeper's client library: %s", strerror(errno));
    else
        zoo_set_servers_resolution_delay(zk->handle, NEVER);
}

static void close_handle(struct zk *zk)
{
    ensure(!zk->pumping && !zk->closing);
    zk->closing = true;
    watch_set(&zk->watch, WATCH_NONE);
    zk->fd = -1;
    if (zk->handle != NULL) {
        zk_bridge_say_end(zk->bridge);
        zookeeper_close(zk->handle); /* ends what is in flight with ZCLOSING */
    }
    zk_bridge_finish(zk->bridge, zk->handle != NULL && zk->connected);
    zk->handle = NULL;
    zk->connected = false;
    zk->closing = false;
}

static void start_over(struct zk *zk)
{
    ensure(zk->expired && !zk->closed);
    if (zk->given_up.text[0] != '\0')
        log_error("ZooKeeper session 0x%" PRIx64 " is given up: %s", zk->session_id, zk->given_up.text);
    else
        log_warn("ZooKeeper session 0x%" PRIx64 " has expired", zk->session_id);
    zk_metrics_tell(&zk->metrics, ZK_NEWS_EXPIRED);
    zk->given_up.text[0] = '\0';
    zk->expired = false;
    zk->barren = 0;
    close_handle(zk);
    zk_fail_all(zk);
    if (zk->closed)
        return; /* by somebody who was told */
    zk->options.session_expired(zk->options.ctx);
    if (!zk->closed)
        open_handle(zk);
}

/* After each server was tried there is a pause; the library would try for ever, as fast as it can. */
static bool must_pause(struct zk *zk)
{
    if (zk->connected || zk->failures < zk_bridge_server_count(zk->bridge))
        return false;
    zk->failures = 0;
    watch_set(&zk->watch, WATCH_NONE);
    zk->fd = -1;
    timer_start(&zk->timer, *zk_trouble(zk) ? RETRY_MS : PAUSE_MS); /* who is not let in does not knock all the time */
    return true;
}

static void on_socket(struct watch *w, int events)
{
    struct zk *zk = CONTAINER_OF(w, struct zk, watch);
    ensure(zk->handle != NULL && !zk->pumping);
    int zoo_events = (events & WATCH_READ ? ZOOKEEPER_READ : 0) | (events & WATCH_WRITE ? ZOOKEEPER_WRITE : 0);
    zk->pumping = true;
    int rc = zookeeper_process(zk->handle, zoo_events);
    zk->pumping = false;
    if (rc != ZOK && rc != ZNOTHING && !zk->connected && !zk->expired)
        zk->failures++;
    pump(zk);
}

static void watch_socket(struct zk *zk, int fd, int interest)
{
    ensure(!zk->pumping && zk->handle != NULL);
    /* While the library goes from host to host, a new socket may have the number of the last one. */
    if (fd != zk->fd || fd < 0 || !zk->connected) {
        watch_set(&zk->watch, WATCH_NONE);
        zk->fd = fd;
        zk_bridge_expect(zk->bridge, fd);
        if (fd >= 0)
            watch_init(&zk->watch, zk->options.loop, fd, on_socket);
    }
    if (fd >= 0)
        watch_set(&zk->watch,
                  (interest & ZOOKEEPER_READ ? WATCH_READ : 0) | (interest & ZOOKEEPER_WRITE ? WATCH_WRITE : 0));
}

/* Sends what waits, then asks the library what it waits for. */
static void pump(struct zk *zk)
{
    ensure(loop_is_mine(zk->options.loop) && !zk->pumping);
    if (zk->closed)
        return;
    if (zk->expired)
        start_over(zk);
    if (zk->closed)
        return;
    if (zk->handle == NULL) {
        open_handle(zk);
        if (zk->handle == NULL) {
            timer_start(&zk->timer, RETRY_MS);
            return;
        }
    }
    if (must_pause(zk))
        return;
    zk->pumping = true;
    zk_send_waiting(zk);
    int fd = -1, interest = 0;
    struct timeval tv = {RETRY_MS / 1000, 0};
    int rc = zookeeper_interest(zk->handle, &fd, &interest, &tv);
    zk->pumping = false;
    int64_t wait = (int64_t)tv.tv_sec * 1000 + (tv.tv_usec + 999) / 1000;
    if (rc != ZOK) {
        /* The socket has changed or is gone: give the library a turn soon, it reports through the watcher. */
        watch_set(&zk->watch, WATCH_NONE);
        zk->fd = -1;
        wait = MIN(wait, (int64_t)100);
        zookeeper_process(zk->handle, 0);
    } else {
        watch_socket(zk, fd, interest);
    }
    timer_start(&zk->timer, MAX(wait, (int64_t)1));
}

static void finish_closing(struct zk *zk)
{
    close_handle(zk);
    zk_fail_all(zk);
}

static void zk_on_timer(struct timer *t)
{
    struct zk *zk = CONTAINER_OF(t, struct zk, timer);
    if (zk->closed) {
        finish_closing(zk);
        return;
    }
    if (zk->handle != NULL) {
        zk->pumping = true;
        zookeeper_process(zk->handle, 0);
        zk->pumping = false;
    }
    pump(zk);
}

static void zk_on_refused(void *ctx, const struct fail *why)
{
    struct zk *zk = ctx;
    zk_metrics_tell(&zk->metrics, ZK_NEWS_AUTH_FAILED);
    if (zk->options.refused != NULL)
        zk->options.refused(zk->options.ctx, why);
}

struct zk *zk_new(const struct zk_options *options)
{
    struct zk *zk = xcalloc(1, sizeof(*zk));
    const char *slash = strchr(options->connect, '/');
    size_t hosts = slash ? (size_t)(slash - options->connect) : strlen(options->connect);
    zk->options = *options;
    zk->fd = -1;
    char *servers = xstrndup(options->connect, hosts);
    zk_metrics_init(&zk->metrics, options->metrics, options->of_authorizer);
    struct zk_options of_bridge = *options;
    of_bridge.refused = zk_on_refused;
    of_bridge.ctx = zk;
    zk->bridge = zk_bridge_new(&of_bridge, servers);
    free(servers);
    zk->chroot = xstrdup(slash && slash[1] ? slash : "");
    zk->chroot_made = zk->chroot[0] == '\0';
    zoo_set_debug_level(ZOO_LOG_LEVEL_WARN);
    timer_init(&zk->timer, options->loop, zk_on_timer);
    timer_start(&zk->timer, 0);
    return zk;
}

void zk_close(struct zk *zk)
{
    ensure(loop_is_mine(zk->options.loop));
    if (zk->closed)
        return;
    zk->closed = true;
    if (zk->pumping)
        timer_start(&zk->timer, 0); /* not from within the library */
    else
        finish_closing(zk);
}

void zk_free(struct zk *zk)
{
    if (zk == NULL)
        return;
    zk->closed = true;
    finish_closing(zk);
    timer_stop(&zk->timer);
    zk_bridge_free(zk->bridge);
    zk_metrics_deinit(&zk->metrics);
    free(zk->chroot);
    free(zk);
}

int64_t zk_session_id(const struct zk *zk)
{
    return zk->session_id;
}

bool zk_is_connected(const struct zk *zk)
{
    return zk->connected;
}

const char *zk_trouble(const struct zk *zk)
{
    return zk_bridge_trouble(zk->bridge);
}
