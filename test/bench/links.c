#include "links.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "protocol/msg/api.h"
#include "protocol/msg/api_versions.h"

enum { EVENTS_AT_ONCE = 512, LENGTH = 4, READ_AT_ONCE = 1 << 16, LOCAL_ADDRESSES = 8 };

static int events_fd;

void links_init(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    signal(SIGPIPE, SIG_IGN);
    events_fd = epoll_create1(EPOLL_CLOEXEC);
}

static void link_watch(struct link *l, int how, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = l};
    if (epoll_ctl(events_fd, how, l->fd, &e) != 0)
        die("epoll_ctl: %m");
}

/* ---- Connecting ---- */

/* 127.0.0.2 and what follows. The port is chosen when it is connected, so that each address has all ports. */
static void bind_somewhere(int fd)
{
    static uint32_t next;
    int on = 1;
    struct sockaddr_in local = {.sin_family = AF_INET,
                                .sin_addr = {htonl(INADDR_LOOPBACK + 1 + next++ % LOCAL_ADDRESSES)}};
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)(void *)&local, sizeof(local)) != 0)
        die("bind: %m");
}

void link_open(struct link *l, const char *host, const char *port, void (*answered)(struct link *l, struct bytes frame))
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    int on = 1;
    if (inet_pton(AF_INET, host, &to.sin_addr) != 1)
        die("%s is no address", host);
    *l = (struct link){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0),
                       .begun_us = clock_mono_us(),
                       .answered = answered};
    if (l->fd < 0)
        die("socket: %m");
    setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    bind_somewhere(l->fd);
    if (connect(l->fd, (struct sockaddr *)(void *)&to, sizeof(to)) != 0 && errno != EINPROGRESS)
        die("connect: %m");
    link_watch(l, EPOLL_CTL_ADD, EPOLLOUT);
}

void link_close(struct link *l)
{
    close(l->fd);
    strbuf_deinit(&l->in);
    *l = (struct link){0};
}

static void lose_link(struct link *l, const char *what, int error)
{
    if (l->lost == NULL)
        die("%s: %s", what, error != 0 ? strerror(error) : "the broker has closed the connection");
    l->lost(l);
}

/* Who has connected asks what the broker can, as clients do. */
static void on_connected(struct link *l)
{
    enum { VERSION = 2 };
    struct api_versions_request request;
    int error = 0;
    socklen_t len = sizeof(error);
    if (getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error != 0) {
        lose_link(l, "connect", error);
        return;
    }
    l->connected = true;
    link_watch(l, EPOLL_CTL_MOD, EPOLLIN);
    api_versions_request_init(&request);
    link_ask(l, API_API_VERSIONS, VERSION, &request);
}

/* ---- Requests and answers ---- */

/* What the socket does not take at once it will, as the broker reads whatever it is sent. That it was closed is seen
 * when it is read. */
static void link_write(struct link *l, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(l->fd, data, len);
        struct pollfd p = {.fd = l->fd, .events = POLLOUT};
        if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
            return;
        if (n < 0 && errno != EAGAIN)
            die("write: %m");
        if (n < 0) {
            poll(&p, 1, -1);
            continue;
        }
        data += n;
        len -= (size_t)n;
    }
}

void link_ask(struct link *l, int16_t key, int16_t version, const void *request)
{
    struct writer w;
    begin_frame(&w, key, version);
    message_write(api_spec(key)->request, &w, version, request);
    end_frame(&w);
    link_write(l, w.buf.p, w.buf.len);
    writer_deinit(&w);
}

static size_t frame_size(const struct strbuf *in)
{
    return in->len < LENGTH ? LENGTH : LENGTH + be32_get(in->p);
}

/* No more than the frame: there is nothing behind it, as nothing was asked for. */
static void on_readable(struct link *l)
{
    size_t wanted;
    while ((wanted = frame_size(&l->in)) > l->in.len) {
        size_t room = MIN(wanted - l->in.len, (size_t)READ_AT_ONCE), before = l->in.len;
        ssize_t n = read(l->fd, strbuf_extend(&l->in, room), room);
        l->in.len = before + (size_t)MAX(n, (ssize_t)0);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            lose_link(l, "read", n < 0 ? errno : 0);
            return;
        }
    }
    struct strbuf in = l->in;
    l->in = (struct strbuf){0}; /* who is idle needs no memory */
    l->answered(l, (struct bytes){(const uint8_t *)in.p + LENGTH, (int32_t)(in.len - LENGTH)});
    strbuf_deinit(&in);
}

static void links_serve(int timeout_ms)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    int n = epoll_wait(events_fd, events, EVENTS_AT_ONCE, timeout_ms);
    for (int i = 0; i < n; i++) {
        struct link *l = events[i].data.ptr;
        if (!l->connected)
            on_connected(l);
        else
            on_readable(l);
    }
}

/* What is there is served even when it is late, or who opens many would never come to it. */
void links_run(int64_t until_us, bool (*done)(void))
{
    while (done == NULL || !done()) {
        int64_t left = MAX(until_us - clock_mono_us(), INT64_C(0));
        links_serve((int)MIN((left + 999) / 1000, INT64_C(1000)));
        if (left == 0)
            return;
    }
}

/* ---- Phases ---- */

bool go_on(void)
{
    fflush(stdout);
    for (int c; (c = getchar()) != EOF;)
        if (c == '\n')
            return true;
    return false;
}
