/*
 * Preloaded into a broker, makes the disk below a folder fail: as long as the file named by DISK_FAULTS exists, with a
 * line `KIND ROOM FOLDER` in it. EIO fails whatever reads or writes, EROFS and ENOSPC what writes; ROOM is how many
 * bytes the next write may still write before, as a disk is full in the middle of a write. HANG holds up everybody, for
 * as long as it is there, HANG_SYNC those who sync.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum access { READS, WRITES, SYNCS };

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* Whether something is wrong below there: what the file says, and how many bytes may be written before. */
static int is_told(const char *path, char kind[16], unsigned long *rest)
{
    const char *control = getenv("DISK_FAULTS");
    char line[PATH_MAX + 64], folder[PATH_MAX];
    int before = errno, fd = control != NULL && path != NULL ? REAL(open)(control, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t n = fd >= 0 ? REAL(read)(fd, line, sizeof(line) - 1) : 0;
    if (fd >= 0)
        close(fd);
    errno = before;
    line[n > 0 ? n : 0] = '\0';
    return sscanf(line, "%15s %lu %4095s", kind, rest, folder) == 3 && strncmp(path, folder, strlen(folder)) == 0;
}

/* The errno with which the call has to fail, or 0. */
static int fault(const char *path, enum access access, size_t *room)
{
    char kind[16];
    unsigned long rest;
    do {
        if (!is_told(path, kind, &rest))
            return 0;
    } while ((strcmp(kind, "HANG") == 0 || (strcmp(kind, "HANG_SYNC") == 0 && access == SYNCS)) && usleep(10000) == 0);
    if (strcmp(kind, "HANG_SYNC") == 0)
        return 0;
    if (room != NULL)
        *room = rest;
    if (strcmp(kind, "EIO") == 0)
        return EIO;
    if (access == READS)
        return 0;
    return strcmp(kind, "EROFS") == 0 ? EROFS : ENOSPC;
}

static int fd_fault(int fd, enum access access, size_t *room)
{
    char link[64], path[PATH_MAX];
    if (getenv("DISK_FAULTS") == NULL)
        return 0;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof(path) - 1);
    if (n <= 0)
        return 0;
    path[n] = '\0';
    return fault(path, access, room);
}

#define FAIL_IF(why)         \
    do {                     \
        int failure = (why); \
        if (failure != 0) {  \
            errno = failure; \
            return -1;       \
        }                    \
    } while (0)

static enum access opens_for(int flags)
{
    return flags & (O_CREAT | O_WRONLY | O_RDWR) ? WRITES : READS;
}

/* Opening for both fails only when something is made: a file on a full disk can be opened. */
static int open_fault(const char *path, int flags)
{
    int e = fault(path, opens_for(flags), NULL);
    return e == ENOSPC && (!(flags & O_CREAT) || access(path, F_OK) == 0) ? 0 : e;
}

#define OPEN(name)                             \
    int name(const char *path, int flags, ...) \
    {                                          \
        va_list args;                          \
        va_start(args, flags);                 \
        mode_t mode = va_arg(args, mode_t);    \
        va_end(args);                          \
        FAIL_IF(open_fault(path, flags));      \
        return REAL(name)(path, flags, mode);  \
    }
OPEN(open)
OPEN(open64)

int openat(int at, const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = va_arg(args, mode_t);
    va_end(args);
    FAIL_IF(open_fault(path, flags));
    return REAL(openat)(at, path, flags, mode);
}

ssize_t write(int fd, const void *data, size_t len)
{
    FAIL_IF(fd_fault(fd, WRITES, NULL));
    return REAL(write)(fd, data, len);
}

ssize_t writev(int fd, const struct iovec *v, int n)
{
    FAIL_IF(fd_fault(fd, WRITES, NULL));
    return REAL(writev)(fd, v, n);
}

/* The room is used up by the first write that is larger. */
static ssize_t part_of(int fd, const void *data, size_t len, off_t pos, size_t room)
{
    static __thread off_t filled;
    if (room == 0 || filled == pos || len <= room) {
        errno = ENOSPC;
        return -1;
    }
    filled = pos + (off_t)room;
    return REAL(pwrite)(fd, data, room, pos);
}

#define PWRITE(name, offset_type)                                       \
    ssize_t name(int fd, const void *data, size_t len, offset_type pos) \
    {                                                                   \
        size_t room = 0;                                                \
        int e = fd_fault(fd, WRITES, &room);                            \
        if (e == ENOSPC)                                                \
            return part_of(fd, data, len, pos, room);                   \
        FAIL_IF(e);                                                     \
        return REAL(name)(fd, data, len, pos);                          \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

/* A disk that is full takes something of the first piece. */
#define PWRITEV(name, offset_type)                                               \
    ssize_t name(int fd, const struct iovec *pieces, int count, offset_type pos) \
    {                                                                            \
        size_t room = 0;                                                         \
        int e = fd_fault(fd, WRITES, &room);                                     \
        if (e == ENOSPC)                                                         \
            return part_of(fd, pieces->iov_base, pieces->iov_len, pos, room);    \
        FAIL_IF(e);                                                              \
        return REAL(name)(fd, pieces, count, pos);                               \
    }
PWRITEV(pwritev, off_t)
PWRITEV(pwritev64, off64_t)

ssize_t read(int fd, void *data, size_t len)
{
    FAIL_IF(fd_fault(fd, READS, NULL));
    return REAL(read)(fd, data, len);
}

ssize_t pread(int fd, void *data, size_t len, off_t pos)
{
    FAIL_IF(fd_fault(fd, READS, NULL));
    return REAL(pread)(fd, data, len, pos);
}

ssize_t pread64(int fd, void *data, size_t len, off64_t pos)
{
    FAIL_IF(fd_fault(fd, READS, NULL));
    return REAL(pread64)(fd, data, len, pos);
}

/* Who does not wait is told that it is not in memory: the kernel has not tried yet, and cannot know better. */
#define PREADV2(name, offset_type)                                                        \
    ssize_t name(int fd, const struct iovec *pieces, int count, offset_type pos, int how) \
    {                                                                                     \
        int e = fd_fault(fd, READS, NULL);                                                \
        FAIL_IF(e != 0 && (how & RWF_NOWAIT) != 0 ? EAGAIN : e);                          \
        return REAL(name)(fd, pieces, count, pos, how);                                   \
    }
PREADV2(preadv2, off_t)
PREADV2(preadv64v2, off64_t)

int fsync(int fd)
{
    FAIL_IF(fd_fault(fd, SYNCS, NULL));
    return REAL(fsync)(fd);
}

int fdatasync(int fd)
{
    FAIL_IF(fd_fault(fd, SYNCS, NULL));
    return REAL(fdatasync)(fd);
}

int rename(const char *from, const char *to)
{
    FAIL_IF(fault(from, WRITES, NULL));
    return REAL(rename)(from, to);
}

int mkdir(const char *path, mode_t mode)
{
    FAIL_IF(fault(path, WRITES, NULL));
    return REAL(mkdir)(path, mode);
}

DIR *opendir(const char *path)
{
    int e = fault(path, READS, NULL);
    errno = e != 0 ? e : errno;
    return e != 0 ? NULL : REAL(opendir)(path);
}
