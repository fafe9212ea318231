#include "log/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/logger.h"
#include "base/probe.h"

static __thread int last_error;

int file_last_error(void)
{
    return last_error;
}

void file_clear_error(void)
{
    last_error = 0;
}

bool file_ran_out(void)
{
    return last_error == EMFILE || last_error == ENFILE;
}

int file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 0;
    return (int)MIN(limit.rlim_cur, (rlim_t)INT_MAX);
}

bool file_failed(const char *what, const char *path)
{
    static struct log_limit starved;
    last_error = errno;
    if (file_ran_out())
        log_error_limited(&starved, "Cannot %s %s: %s", what, path, strerror(last_error));
    else
        log_error("Cannot %s %s: %s", what, path, strerror(last_error));
    return false;
}

/* ---- Opening ---- */

/*
 * Descriptors that are kept back for what is open for a moment only. So checkpoints, indexes and snapshots are written,
 * and logs flushed, though the process has as many files open as it may.
 */
enum { SPARES = 16 };

static struct lock spares_lock = LOCK_INITIALIZER(RANK_SPARE_FILES);
static pthread_once_t spares_once = PTHREAD_ONCE_INIT;
static int spares[SPARES];
static atomic_int spare_count;

static void keep_spares_back(void)
{
    int fd;
    if (atomic_load(&spare_count) == SPARES)
        return;
    lock_take(&spares_lock);
    while (spare_count < SPARES && (fd = eventfd(0, EFD_CLOEXEC)) >= 0) /* for which no file needs to be there */
        spares[spare_count++] = fd;
    ensure(spare_count <= SPARES);
    lock_release(&spares_lock);
}

/* Whether there is one, where it is the want of them that has failed. */
static bool let_spare_go(void)
{
    if (errno != EMFILE && errno != ENFILE)
        return false;
    lock_take(&spares_lock);
    ensure(spare_count >= 0 && spare_count <= SPARES);
    bool any = spare_count > 0;
    if (any)
        close(spares[--spare_count]);
    lock_release(&spares_lock);
    return any;
}

static int open_for_the_moment(const char *path, int flags)
{
    int fd;
    pthread_once(&spares_once, keep_spares_back);
    do
        fd = open(path, flags | O_CLOEXEC, 0644);
    while (fd < 0 && let_spare_go());
    return fd;
}

static int opened(int fd, const char *path, bool create)
{
    if (fd < 0 && errno == ENOENT && !create)
        last_error = ENOENT;
    else if (fd < 0)
        file_failed("open", path);
    return fd;
}

int file_open(const char *path, bool create)
{
    return opened(open_for_the_moment(path, O_RDWR | (create ? O_CREAT : 0)), path, create);
}

/*
 * Not as long as one of the spares is missing: whoever opened something for a moment only has it, or will need it,
 * while those who open many files to stay would take all that they give back.
 */
int file_open_to_stay(const char *path, bool create)
{
    pthread_once(&spares_once, keep_spares_back);
    keep_spares_back();
    if (atomic_load(&spare_count) < SPARES) {
        errno = EMFILE;
        return opened(-1, path, create);
    }
    return opened(open(path, O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0), 0644), path, create);
}

void file_close(int fd)
{
    if (fd < 0)
        return;
    close(fd);
    keep_spares_back();
}

/* ---- Reading and writing ---- */

bool file_put_at(int fd, const void *data, size_t len, int64_t pos)
{
    ensure(fd >= 0);
    const char *p = data;
    while (len > 0) {
        ssize_t n = pwrite(fd, p, len, pos);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        p += n;
        pos += n;
        len -= (size_t)n;
    }
    return true;
}

/* What one call has not written is written piece by piece. */
bool file_put_all_at(int fd, const struct iovec *pieces, int count, int64_t pos)
{
    ensure(fd >= 0 && count > 0);
    ssize_t n = pwritev(fd, pieces, count, pos);
    size_t written = n > 0 ? (size_t)n : 0;
    for (int i = 0; i < count; i++) {
        size_t done = MIN(written, pieces[i].iov_len), left = pieces[i].iov_len - done;
        if (left > 0 && !file_put_at(fd, (char *)pieces[i].iov_base + done, left, pos + (int64_t)done))
            return false;
        pos += (int64_t)pieces[i].iov_len;
        written -= done;
    }
    return true;
}

bool file_write_at(int fd, const void *data, size_t len, int64_t pos, const char *path)
{
    return file_put_at(fd, data, len, pos) || file_failed("write", path);
}

ssize_t file_read_at(int fd, void *data, size_t len, int64_t pos, const char *path)
{
    size_t have = 0;
    ensure(fd >= 0);
    while (have < len) {
        ssize_t n = pread(fd, (char *)data + have, len - have, pos + (int64_t)have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            file_failed("read", path);
            return -1;
        }
        if (n == 0)
            break;
        have += (size_t)n;
    }
    return (ssize_t)have;
}

ssize_t file_read_cached(int fd, void *data, size_t len, int64_t pos, const char *path)
{
    struct iovec io = {data, len};
    ssize_t n = preadv2(fd, &io, 1, pos, RWF_NOWAIT);
    if (n == (ssize_t)len)
        return n;
    if (n < 0 && errno == EAGAIN)
        return -2;
    if (n < 0 && errno != EOPNOTSUPP && errno != EINTR) {
        file_failed("read", path);
        return -1;
    }
    if (n >= 0 && pos + n < file_size(fd))
        return -2; /* the rest is on disk only */
    return n >= 0 ? n : file_read_at(fd, data, len, pos, path);
}

int64_t file_size(int fd)
{
    struct stat st;
    if (fstat(fd, &st) == 0)
        return st.st_size;
    file_failed("find the size of", "a file");
    return -1;
}

int64_t file_mtime_ms(int fd)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return -1;
    return (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
}

bool file_look_at(const char *path, int64_t *size, int64_t *mtime_ms)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return file_failed("look at", path);
    *size = st.st_size;
    *mtime_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
    return true;
}

bool file_set_mtime_ms(int fd, int64_t ms, const char *path)
{
    struct timespec mtime = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, mtime};
    return futimens(fd, times) == 0 || file_failed("set the time of", path);
}

void file_reserve(int fd, int64_t size)
{
    int rc UNUSED = fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, size);
}

bool file_truncate(int fd, int64_t size, const char *path)
{
    ensure(fd >= 0);
    return ftruncate(fd, size) == 0 || file_failed("truncate", path);
}

bool file_sync(int fd, const char *path)
{
    ensure(fd >= 0);
    PROBE(fsync__start, path);
    bool ok = fsync(fd) == 0;
    PROBE(fsync__done, path);
    return ok || file_failed("sync", path);
}

/*
 * By a descriptor of its own: waiting takes an error of the disk off the descriptor that is waited with, and who syncs
 * the file with another one is told of it all the same.
 */
void file_write_back(const char *path, int64_t pos, int64_t len, int64_t piece)
{
    int fd = file_open(path, false);
    int64_t end = pos + len;
    bool ok = fd >= 0;
    ensure(pos >= 0 && len > 0 && piece > 0);
    for (int64_t at = pos, n, before = 0; ok && at < end; at += n, before = n) {
        n = MIN(piece, end - at);
        ok = sync_file_range(fd, at, n, SYNC_FILE_RANGE_WRITE) == 0 &&
             (before == 0 || sync_file_range(fd, at - before, before, SYNC_FILE_RANGE_WAIT_BEFORE) == 0);
    }
    if (ok)
        sync_file_range(fd, pos, len, SYNC_FILE_RANGE_WAIT_BEFORE);
    file_close(fd);
}

bool dir_sync(const char *path)
{
    int fd = open_for_the_moment(path, O_RDONLY | O_DIRECTORY);
    if (fd < 0)
        return file_failed("open", path);
    bool ok = file_sync(fd, path);
    file_close(fd);
    return ok;
}

bool file_rename(const char *from, const char *to)
{
    return rename(from, to) == 0 || file_failed("rename", from);
}

bool file_rename_if_any(const char *from, const char *to)
{
    return rename(from, to) == 0 || errno == ENOENT || file_failed("rename", from);
}

bool file_remove(const char *path)
{
    return unlink(path) == 0 || errno == ENOENT || file_failed("remove", path);
}

static bool make_one(const char *path)
{
    struct stat st;
    if (mkdir(path, 0755) == 0)
        return true;
    if (errno != EEXIST || stat(path, &st) != 0)
        return false;
    errno = ENOTDIR;
    return S_ISDIR(st.st_mode);
}

bool dir_make(const char *path)
{
    if (make_one(path))
        return true;
    char *copy = xstrdup(path);
    bool ok = true;
    for (char *slash = strchr(copy + 1, '/'); ok && slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        ok = make_one(copy);
        *slash = '/';
    }
    ok = ok && make_one(copy);
    int why = errno;
    free(copy);
    errno = why;
    return ok || file_failed("make directory", path);
}

bool dir_remove_tree(const char *path)
{
    struct names names;
    if (unlink(path) == 0 || errno == ENOENT)
        return true;
    if (errno != EISDIR)
        return file_failed("remove", path);
    if (!dir_list(path, &names))
        return false;
    bool ok = true;
    for (size_t i = 0; i < names.n && ok; i++) {
        char *child = xasprintf("%s/%s", path, names.v[i]);
        ok = dir_remove_tree(child);
        free(child);
    }
    names_free(&names);
    return ok && (rmdir(path) == 0 || errno == ENOENT || file_failed("remove directory", path));
}

bool dir_space(const char *path, int64_t *total, int64_t *usable)
{
    struct statvfs st;
    if (statvfs(path, &st) != 0)
        return file_failed("look at", path);
    *total = (int64_t)MIN((uint64_t)st.f_blocks * st.f_frsize, (uint64_t)INT64_MAX);
    *usable = (int64_t)MIN((uint64_t)st.f_bavail * st.f_frsize, (uint64_t)INT64_MAX);
    return true;
}

static int file_by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

enum file_result file_look(const char *path)
{
    if (access(path, F_OK) == 0)
        return FILE_FOUND;
    if (errno == ENOENT)
        return FILE_MISSING;
    file_failed("look for", path);
    return FILE_FAILED;
}

int file_lock(const char *path)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0 || fcntl(fd, F_SETLK, &whole) == 0)
        return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

/* ---- Mapped files: what cannot be read comes as a signal ---- */

static atomic_int maps;
static __thread sigjmp_buf *escape; /* of the thread that looks at one */

static void on_bus_error(int signal_number)
{
    if (escape != NULL)
        siglongjmp(*escape, 1);
    signal(signal_number, SIG_DFL); /* not ours: as if there were no handler */
    raise(signal_number);
}

static void catch_bus_errors(void)
{
    struct sigaction action = {.sa_handler = on_bus_error, .sa_flags = SA_NODEFER};
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, NULL);
}

bool file_map_look(void (*look)(void *ctx), void *ctx)
{
    sigjmp_buf here;
    if (sigsetjmp(here, 0) != 0) {
        escape = NULL;
        log_error("Cannot read a mapped file: the disk has failed, or the file was cut");
        return false;
    }
    ensure(escape == NULL); /* what is mapped is looked at in one place at a time */
    escape = &here;
    look(ctx);
    escape = NULL;
    return true;
}

void *file_map(int fd, size_t size)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, catch_bus_errors);
    ensure(fd >= 0 && size > 0);
    void *mem = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    if (mem == MAP_FAILED)
        return NULL;
    atomic_fetch_add_explicit(&maps, 1, memory_order_relaxed);
    return mem;
}

void file_unmap(void *mem, size_t size)
{
    ensure(mem != NULL && size > 0);
    munmap(mem, size);
    atomic_fetch_sub_explicit(&maps, 1, memory_order_relaxed);
}

int file_maps(void)
{
    return atomic_load_explicit(&maps, memory_order_relaxed);
}

/* S_IFREG, S_IFDIR ..., behind links; 0: it leads nowhere. What cannot be found out, who opens it will. */
static mode_t type_of(DIR *dir, const struct dirent *e)
{
    struct stat st;
    if (e->d_type == DT_REG || e->d_type == DT_DIR)
        return (mode_t)DTTOIF(e->d_type);
    if (fstatat(dirfd(dir), e->d_name, &st, 0) == 0)
        return st.st_mode & S_IFMT;
    return errno == ENOENT ? 0 : S_IFREG;
}

/* Of a type; 0: of any. */
static bool file_list(const char *path, mode_t type, struct names *out)
{
    *out = (struct names){0};
    int fd = open_for_the_moment(path, O_RDONLY | O_DIRECTORY);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL)
        return file_failed("list", path);
    size_t cap = 0;
    errno = 0;
    for (struct dirent *e; (e = readdir(dir)) != NULL; errno = 0) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 || (type != 0 && type_of(dir, e) != type))
            continue;
        out->v = xgrow(out->v, out->n + 1, &cap, sizeof(*out->v));
        out->v[out->n++] = xstrdup(e->d_name);
    }
    bool ok = errno == 0 || file_failed("list", path);
    closedir(dir);
    keep_spares_back();
    if (!ok)
        names_free(out);
    if (out->n > 0)
        qsort(out->v, out->n, sizeof(*out->v), file_by_name);
    return ok;
}

bool dir_list(const char *path, struct names *out)
{
    return file_list(path, 0, out);
}

bool dir_list_files(const char *path, struct names *out)
{
    return file_list(path, S_IFREG, out);
}

bool dir_list_folders(const char *path, struct names *out)
{
    return file_list(path, S_IFDIR, out);
}

void names_free(struct names *names)
{
    for (size_t i = 0; i < names->n; i++)
        free(names->v[i]);
    free(names->v);
    *names = (struct names){0};
}
