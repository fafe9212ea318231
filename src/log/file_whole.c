/* Small files, read and written as a whole. */
#include <errno.h>
#include <stdio.h>

#include "log/file.h"

enum file_result file_load(const char *path, struct strbuf *out)
{
    int fd = file_open(path, false);
    if (fd < 0)
        return errno == ENOENT ? FILE_MISSING : FILE_FAILED;
    int64_t size = file_size(fd);
    ssize_t n = -1;
    if (size >= 0) {
        char *at = strbuf_extend(out, (size_t)size);
        n = file_read_at(fd, at, (size_t)size, 0, path);
        out->len -= (size_t)(size - MAX(n, (ssize_t)0));
    }
    file_close(fd);
    return n >= 0 ? FILE_FOUND : FILE_FAILED;
}

bool file_write_aside(const char *path, const void *data, size_t len)
{
    int fd = file_open(path, true);
    bool ok = fd >= 0 && file_truncate(fd, 0, path) && file_write_at(fd, data, len, 0, path) && file_sync(fd, path);
    file_close(fd);
    return ok;
}

bool file_replace(const char *path, const void *data, size_t len)
{
    char *tmp = xasprintf("%s.tmp", path);
    char *dir = xstrdup(path);
    char *slash = strrchr(dir, '/');
    ensure(slash != NULL);
    *slash = '\0';
    bool ok = file_write_aside(tmp, data, len) && file_rename(tmp, path) && dir_sync(dir);
    free(tmp);
    free(dir);
    return ok;
}
