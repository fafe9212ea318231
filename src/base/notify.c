#include "base/notify.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/logger.h"

enum { NOTICE_ROOM = 1024, PATIENCE_MS = 100 };

/* Set before there are other threads. */
static struct {
    bool is_heard;
    int fd;
    struct sockaddr_un to;
    socklen_t to_len;
    int64_t watchdog_us;
} manager;

/* A path, or with @ in front a name of the kernel's own. */
static bool take_address(const char *name)
{
    size_t len = strlen(name);
    if ((name[0] != '/' && name[0] != '@') || len < 2 || len >= sizeof(manager.to.sun_path))
        return false;
    manager.to = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(manager.to.sun_path, name, len);
    if (name[0] == '@')
        manager.to.sun_path[0] = '\0';
    manager.to_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    return true;
}

static int notify_open(void)
{
    struct timeval patience = {.tv_usec = PATIENCE_MS * 1000};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    return fd;
}

static bool notify_number(const char *text, int64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoll(text, &end, 10);
    return end != text && *end == '\0' && errno == 0;
}

/* 0: it is no time, or that of another process. */
static int64_t read_watchdog(const char *us, const char *pid)
{
    int64_t n, of;
    if (us == NULL || !notify_number(us, &n) || n < 0)
        return 0;
    return pid == NULL || (notify_number(pid, &of) && of == getpid()) ? n : 0;
}

void notify_start(void)
{
    const char *name = getenv("NOTIFY_SOCKET");
    notify_stop();
    if (name != NULL && take_address(name)) {
        manager.fd = notify_open();
        manager.is_heard = manager.fd >= 0;
    } else if (name != NULL) {
        log_warn("NOTIFY_SOCKET=%s is no address of a socket: nobody is told that the broker is ready", name);
    }
    if (manager.is_heard)
        manager.watchdog_us = read_watchdog(getenv("WATCHDOG_USEC"), getenv("WATCHDOG_PID"));
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

void notify_stop(void)
{
    if (manager.is_heard)
        close(manager.fd);
    manager.is_heard = false;
    manager.watchdog_us = 0;
}

bool notify_is_heard(void)
{
    return manager.is_heard;
}

int64_t notify_watchdog_us(void)
{
    return manager.watchdog_us;
}

void notify_say(const char *fmt, ...)
{
    char text[NOTICE_ROOM];
    va_list args;
    if (!manager.is_heard)
        return;
    va_start(args, fmt);
    int len = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    size_t n = MIN((size_t)MAX(len, 0), sizeof(text) - 1);
    if (sendto(manager.fd, text, n, MSG_NOSIGNAL, (const struct sockaddr *)&manager.to, manager.to_len) < 0)
        log_debug("The service manager cannot be told %s: %m", text);
}
