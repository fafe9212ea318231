#include "storage/log_dir_internal.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/logger.h"
#include "log/file.h"

static const char clean_mark[] = ".kafka_cleanshutdown";
static const char clean_mark_text[] = "{\"version\":0,\"brokerEpoch\":-1}";

/* ---- Opening ---- */

/* Absolute, with single slashes and none at its end: what clients are told, and what they say. */
static char *absolute_path(const char *path)
{
    char *cwd = *path == '/' ? NULL : getcwd(NULL, 0);
    char *joined = xasprintf("%s/%s", cwd != NULL ? cwd : "", path);
    size_t n = 0;
    for (const char *c = joined; *c != '\0'; c++)
        if (*c != '/' || n == 0 || joined[n - 1] != '/')
            joined[n++] = *c;
    if (n > 1 && joined[n - 1] == '/')
        n--;
    joined[n] = '\0';
    free(cwd);
    return joined;
}

static bool log_dir_is_readable(const char *path)
{
    struct names names;
    bool ok = dir_list(path, &names);
    names_free(&names);
    return ok;
}

static bool lock(struct log_dir *d, struct fail *fail)
{
    char *path = xasprintf("%s/.lock", d->path);
    d->lock_fd = file_lock(path);
    int why = errno;
    free(path);
    if (d->lock_fd >= 0)
        return true;
    if (why == EAGAIN)
        return fail_set(fail,
                        "Failed to acquire lock on file .lock in %s: %s. A Kafka instance in another process or "
                        "thread is using this directory.",
                        d->path, strerror(why));
    log_error("Cannot lock %s/.lock: %s", d->path, strerror(why));
    log_dir_take_offline(d, "it cannot be locked");
    return true;
}

bool log_dir_open(struct log_dir *d, const char *path, struct fail *fail)
{
    *d = (struct log_dir){.path = absolute_path(path), .lock_fd = -1};
    lock_init(&d->checkpoint_lock, RANK_CHECKPOINTS);
    d->home.path = d->path;
    atomic_init(&d->home.offline, false);
    if (dir_make(d->path) && log_dir_is_readable(d->path))
        return lock(d, fail);
    log_dir_take_offline(d, "it cannot be made or read");
    return true;
}

/* The lock of one's own process is no hindrance: its file is looked at. */
bool log_dir_is_same(const struct log_dir *a, const struct log_dir *b)
{
    struct stat x, y;
    return a->lock_fd >= 0 && b->lock_fd >= 0 && fstat(a->lock_fd, &x) == 0 && fstat(b->lock_fd, &y) == 0 &&
           x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

void log_dir_deinit(struct log_dir *d)
{
    lock_deinit(&d->checkpoint_lock);
    if (d->lock_fd >= 0 && log_dir_is_live(d)) {
        char *lock_path = xasprintf("%s/.lock", d->path);
        file_remove(lock_path);
        free(lock_path);
    }
    log_dir_release(d);
    offsets_file_free(&d->recovery);
    offsets_file_free(&d->start);
    offsets_file_free(&d->hw);
    offsets_file_free(&d->cleaner);
    free(d->lanes);
    free(d->path);
}

/* ---- Failing ---- */

bool log_dir_is_live(const struct log_dir *d)
{
    return !atomic_load(&d->home.offline);
}

bool log_dir_take_offline(struct log_dir *d, const char *why)
{
    if (atomic_exchange(&d->home.offline, true))
        return false;
    log_error("Log directory %s is offline from now on: %s", d->path, why);
    return true;
}

void log_dir_release(struct log_dir *d)
{
    file_close(d->lock_fd);
    d->lock_fd = -1;
}

/* ---- Loading and closing ---- */

static bool take_clean_mark(struct log_dir *d)
{
    char *mark = xasprintf("%s/%s", d->path, clean_mark);
    struct strbuf text = {0};
    enum file_result found = file_load(mark, &text); /* no folder, say */
    d->was_clean = found == FILE_FOUND;
    strbuf_deinit(&text);
    if (d->was_clean)
        log_info("Skipping recovery of logs in %s, as it was closed cleanly", d->path);
    else
        log_info("Recovering logs in %s, as no clean shutdown mark was found", d->path);
    /* For good: if a power failure brought it back, what was written meanwhile would not be looked at. */
    bool ok = found == FILE_MISSING || (dir_remove_tree(mark) && dir_sync(d->path));
    free(mark);
    return ok;
}

static bool read_checkpoints(struct log_dir *d)
{
    static const char *const names[] = {CHECKPOINT_RECOVERY, CHECKPOINT_START, CHECKPOINT_HW, CHECKPOINT_CLEANER};
    struct offsets_file *files[] = {&d->recovery, &d->start, &d->hw, &d->cleaner};
    bool ok = true;
    for (size_t i = 0; i < ARRAY_LEN(names) && ok; i++) {
        char *path = xasprintf("%s/%s", d->path, names[i]);
        ok = offsets_file_read(path, files[i]);
        free(path);
    }
    return ok;
}

bool log_dir_begin_load(struct log_dir *d)
{
    atomic_store(&d->stale_lines, true);
    return read_checkpoints(d) && take_clean_mark(d);
}

bool log_dir_mark_clean(const struct log_dir *d)
{
    char *mark = xasprintf("%s/%s", d->path, clean_mark);
    bool ok = file_replace(mark, clean_mark_text, sizeof(clean_mark_text) - 1);
    free(mark);
    return ok;
}
