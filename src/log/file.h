/*
 * Every call that storage makes to the file system. Simulated runs link another implementation, that
 * forgets what was not synced. Functions that return bool log path and cause when they fail.
 */
#ifndef BARNABAS_LOG_FILE_H
#define BARNABAS_LOG_FILE_H

#include <sys/uio.h>

#include "base/strbuf.h"

/* What cannot be read may be there: only FILE_MISSING says that it is not, and is not logged. */
enum file_result { FILE_FOUND, FILE_MISSING, FILE_FAILED };

/* The errno of what failed last on this thread, a missing file included; 0: nothing since it was cleared. */
int file_last_error(void);
void file_clear_error(void);
int file_limit(void);    /* how many descriptors the process may have */
bool file_ran_out(void); /* it was for want of a descriptor, which is no failure of the disk */

/*
 * An open file descriptor or -1. Without `create`, a missing file is -1 with errno ENOENT, not logged. For the moment:
 * some descriptors are kept back for that.
 */
int file_open(const char *path, bool create);
int file_open_to_stay(const char *path, bool create); /* with what there is of descriptors besides these */
bool file_write_at(int fd, const void *data, size_t len, int64_t pos, const char *path) NODISCARD;
/* The same for who has no path at hand, as it would take longer to make than to write: who fails has errno. */
bool file_put_at(int fd, const void *data, size_t len, int64_t pos) NODISCARD;
/* Pieces one behind the other, with one call. */
bool file_put_all_at(int fd, const struct iovec *pieces, int count, int64_t pos) NODISCARD;
bool file_failed(const char *what, const char *path); /* logs errno, and keeps it for file_last_error(). False. */
/* Bytes read: fewer than `len` only at the end of the file; -1 on error. */
ssize_t file_read_at(int fd, void *data, size_t len, int64_t pos, const char *path);
/* As above, but -2 when the bytes are not in the page cache. */
ssize_t file_read_cached(int fd, void *data, size_t len, int64_t pos, const char *path);
void file_close(int fd); /* -1 allowed */
int64_t file_size(int fd);
int64_t file_mtime_ms(int fd);
bool file_look_at(const char *path, int64_t *size, int64_t *mtime_ms) NODISCARD; /* both, without opening it */
bool file_set_mtime_ms(int fd, int64_t ms, const char *path) NODISCARD;
/* Takes so much of the disk for the file at once. Its length stays; a file system that cannot do it is left alone. */
void file_reserve(int fd, int64_t size);
bool file_truncate(int fd, int64_t size, const char *path) NODISCARD;
bool file_sync(int fd, const char *path) NODISCARD;
/*
 * Has a part of the file written to the disk, a piece after the other with two on their way at most, and waits until it
 * was. Whether it was, nobody is told: file_sync() alone says that, of which this takes nothing away.
 */
void file_write_back(const char *path, int64_t pos, int64_t len, int64_t piece);
bool dir_sync(const char *path) NODISCARD;
bool file_rename(const char *from, const char *to) NODISCARD;
bool file_rename_if_any(const char *from, const char *to) NODISCARD; /* a missing file is fine */
bool file_remove(const char *path);                                  /* a missing file is fine */
bool dir_make(const char *path);                                     /* with its parents; an existing one is fine */
bool dir_remove_tree(const char *path); /* or whatever has that name; links are not followed */
/* Bytes of the file system that it is on: all, and those that may still be written. */
bool dir_space(const char *path, int64_t *total, int64_t *usable) NODISCARD;
/* The whole of a small file. */
enum file_result file_load(const char *path, struct strbuf *out) NODISCARD;
/* Replaces a file so that a crash leaves the old or the new one: temporary, sync, rename, sync of the directory. */
bool file_replace(const char *path, const void *data, size_t len) NODISCARD;
/* The same by steps: on the disk under that name, which is not the one that counts yet. */
bool file_write_aside(const char *path, const void *data, size_t len) NODISCARD;

enum file_result file_look(const char *path) NODISCARD; /* whether there is anything by that name */
/*
 * Locks a file, which is made if it is missing, against other processes: a descriptor that holds the lock, or -1 with
 * errno. POSIX locks, as Java takes them: a running Apache broker is noticed too.
 */
int file_lock(const char *path);
/* The first `size` bytes to read; NULL when that cannot be. The descriptor may be closed. */
void *file_map(int fd, size_t size);
void file_unmap(void *mem, size_t size);
int file_maps(void); /* how many there are: a process may only have so many (vm.max_map_count) */
/* Runs `look`, which reads what is mapped. False, logged, when the disk fails under it: it has ended in its middle. */
bool file_map_look(void (*look)(void *ctx), void *ctx) NODISCARD;

/* Names in a directory, sorted, without "." and "..". Free with names_free(). */
struct names {
    char **v;
    size_t n;
};
static inline bool name_ends_with(const char *name, const char *suffix)
{
    size_t n = strlen(name), m = strlen(suffix);
    return n >= m && strcmp(name + n - m, suffix) == 0;
}

bool dir_list(const char *path, struct names *out) NODISCARD;
bool dir_list_files(const char *path, struct names *out) NODISCARD; /* also by links; no folders, pipes ... */
bool dir_list_folders(const char *path, struct names *out) NODISCARD;
void names_free(struct names *names);

#endif
