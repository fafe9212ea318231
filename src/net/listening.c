#include "net/listening.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <unistd.h>

#include "base/base.h"

static int bind_one(const struct addrinfo *ai, int backlog, int recv_buffer)
{
    int on = 1, off = 0;
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (ai->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if (recv_buffer >= 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &recv_buffer, sizeof(recv_buffer));
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, backlog) == 0)
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

/* So that another address may do. One that is in use is not lacking: who asks there would get somebody else. */
static bool is_lacking(int error)
{
    return error == EAFNOSUPPORT || error == EADDRNOTAVAIL;
}

int listen_at(const char *host, int port, int backlog, int receive_buffer, const char **why)
{
    char service[8];
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *list = NULL,
                    *ai;
    bool any = *host == '\0';
    snprintf(service, sizeof(service), "%d", port);
    int rc = getaddrinfo(any ? NULL : host, service, &hints, &list);
    if (rc != 0) {
        *why = gai_strerror(rc);
        return -1;
    }
    int fd = -1, preferred = any ? AF_INET6 : AF_INET;
    errno = EADDRNOTAVAIL;
    for (int pass = 0; pass < 2; pass++)
        for (ai = list; ai != NULL && fd < 0 && is_lacking(errno); ai = ai->ai_next)
            if ((pass == 0) == (ai->ai_family == preferred))
                fd = bind_one(ai, backlog, receive_buffer);
    *why = strerror(errno);
    freeaddrinfo(list);
    return fd;
}

int listening_port(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } addr = {.v6 = {.sin6_family = AF_UNSPEC}};
    socklen_t len = sizeof(addr);
    int rc = getsockname(fd, &addr.any, &len);
    ensure(rc == 0);
    return ntohs(addr.any.sa_family == AF_INET6 ? addr.v6.sin6_port : addr.v4.sin_port);
}
