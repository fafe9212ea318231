#include "logging/appender.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "logging/date_format.h"

enum { MS_PER_MINUTE = 60000, FLUSH_BYTES = 64 << 10, MOST_TAKEN_NAMES = 1000 };

struct appender {
    struct appender_options options;
    char *file, *date_pattern;
    struct layout *layout;
    int fd;               /* -1: not open */
    struct strbuf buffer; /* to be written */
    int lines;            /* in it */
    int64_t size;         /* of the file, without what is in the buffer */
    char *period;         /* daily: of what is in the file */
    int64_t minute;       /* the newest that was looked at */
    bool journal;         /* it is journald's */
    int64_t lost;         /* lines, since one could be written */
    int64_t newest_ms;    /* of a line */
    struct fail trouble;  /* not told of yet */
};

bool is_journal(int fd)
{
    const char *said = getenv("JOURNAL_STREAM");
    struct stat st;
    char found[64];
    if (said == NULL || fstat(fd, &st) != 0)
        return false;
    snprintf(found, sizeof(found), "%" PRIuMAX ":%" PRIuMAX, (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    return strcmp(said, found) == 0;
}

struct appender *appender_new(const struct appender_options *options)
{
    struct appender *a = xcalloc(1, sizeof(*a));
    a->options = *options;
    a->file = options->file != NULL ? xstrdup(options->file) : NULL;
    a->date_pattern = options->date_pattern != NULL ? xstrdup(options->date_pattern) : NULL;
    a->layout = layout_new(options->pattern, NULL);
    a->fd = options->kind == APPENDER_CONSOLE ? options->console : -1;
    a->journal = options->kind == APPENDER_CONSOLE && is_journal(options->console);
    return a;
}

static void appender_close(struct appender *a)
{
    if (a->fd >= 0 && a->options.kind != APPENDER_CONSOLE)
        close(a->fd);
    a->fd = -1;
}

void appender_free(struct appender *a)
{
    if (a == NULL)
        return;
    appender_flush(a);
    appender_close(a);
    layout_free(a->layout);
    strbuf_deinit(&a->buffer);
    free(a->file);
    free(a->date_pattern);
    free(a->period);
    free(a);
}

bool appender_wants(const struct appender *a, enum log_level level)
{
    return level >= a->options.threshold && a->options.kind != APPENDER_NONE;
}

/* ---- Files ---- */

static void make_folders(const char *file)
{
    char *path = xstrdup(file);
    for (char *p = path + 1; *p != '\0'; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        mkdir(path, 0755); /* what is wrong shows when the file is opened */
        *p = '/';
    }
    free(path);
}

static char *period_at(const struct appender *a, int64_t ms)
{
    struct strbuf out = {0};
    date_format_put(a->date_pattern, ms, false, &out);
    return strbuf_take(&out);
}

static bool open_file(struct appender *a, bool truncate, struct fail *fail)
{
    int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (truncate ? O_TRUNC : 0);
    struct stat st;
    a->fd = open(a->file, flags, 0644);
    if (a->fd < 0 && errno == ENOENT) {
        make_folders(a->file);
        a->fd = open(a->file, flags, 0644);
    }
    if (a->fd < 0 || fstat(a->fd, &st) != 0)
        return fail_set(fail, "%s cannot be opened: %s", a->file, strerror(errno));
    a->size = st.st_size;
    return true;
}

bool appender_open(struct appender *a, int64_t now_ms, struct fail *fail)
{
    struct stat st;
    if (a->options.kind == APPENDER_CONSOLE || a->options.kind == APPENDER_NONE)
        return true;
    appender_flush(a);
    appender_close(a);
    bool was_there = stat(a->file, &st) == 0 && st.st_size > 0 && !a->options.truncate;
    if (!open_file(a, a->options.truncate, fail))
        return false;
    a->options.truncate = false;
    free(a->period);
    a->period = NULL;
    if (a->options.kind == APPENDER_DAILY)
        a->period = period_at(a, was_there ? st.st_mtim.tv_sec * INT64_C(1000) : now_ms);
    a->minute = 0; /* what is in the file may be of an earlier period */
    return true;
}

/* ---- Rolling ---- */

static void rename_aside(struct appender *a, const char *to)
{
    char *free_name = xstrdup(to);
    for (int i = 1; access(free_name, F_OK) == 0 && i <= MOST_TAKEN_NAMES; i++) {
        free(free_name);
        free_name = xasprintf("%s.%d", to, i);
    }
    if (rename(a->file, free_name) != 0) /* then it goes on in the same file */
        fail_set(&a->trouble, "%s cannot be renamed to %s: %s", a->file, free_name, strerror(errno));
    free(free_name);
}

static void roll_daily(struct appender *a, char *period)
{
    char *to = xasprintf("%s%s", a->file, a->period);
    appender_flush(a);
    appender_close(a);
    rename_aside(a, to);
    free(to);
    free(a->period);
    a->period = period;
    open_file(a, false, &a->trouble);
}

/* Forward only: lines of several threads are not quite in order, and clocks are set back. */
static void look_at_time(struct appender *a, int64_t ms)
{
    int64_t minute = ms / MS_PER_MINUTE;
    if (minute <= a->minute)
        return;
    a->minute = minute;
    char *period = period_at(a, ms);
    if (strcmp(period, a->period) != 0)
        roll_daily(a, period);
    else
        free(period);
}

static void roll_backups(const struct appender *a)
{
    int32_t free_number = 1;
    char *from = xstrdup(a->file);
    for (;; free_number++) {
        char *name = xasprintf("%s.%" PRId32, a->file, free_number);
        bool taken = access(name, F_OK) == 0;
        free(name);
        if (!taken || free_number >= a->options.max_backups)
            break;
    }
    for (int32_t i = free_number; i > 0; i--) {
        char *to = xasprintf("%s.%" PRId32, a->file, i);
        free(from);
        from = i > 1 ? xasprintf("%s.%" PRId32, a->file, i - 1) : xstrdup(a->file);
        rename(from, to);
        free(to);
    }
    free(from);
}

static void roll_sized(struct appender *a)
{
    appender_flush(a);
    appender_close(a);
    if (a->options.max_backups > 0)
        roll_backups(a);
    open_file(a, a->options.max_backups <= 0, &a->trouble);
}

/* ---- Lines ---- */

bool appender_put(struct appender *a, const struct log_line *line)
{
    if (!appender_wants(a, line->level))
        return false;
    if (a->options.kind == APPENDER_DAILY && a->period != NULL)
        look_at_time(a, line->ms);
    if (a->fd < 0)
        return false;
    a->newest_ms = line->ms;
    if (a->journal)
        strbuf_puts(&a->buffer, logger_priority(line->level));
    layout_put(a->layout, line, &a->buffer);
    a->lines++;
    if (a->options.kind == APPENDER_SIZED && a->size + (int64_t)a->buffer.len >= a->options.max_size)
        roll_sized(a);
    else if (a->buffer.len >= FLUSH_BYTES)
        appender_flush(a);
    return true;
}

static bool write_all(int fd, const char *p, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        p += n;
        len -= (size_t)n;
    }
    return true;
}

/* That some were not, in the layout of all others. */
static bool write_losses(const struct appender *a)
{
    char text[64];
    struct strbuf out = {0};
    int n = snprintf(text, sizeof(text), "%" PRId64 " lines before this one could not be written", a->lost);
    layout_put(a->layout,
               &(struct log_line){.level = LEVEL_WARN,
                                  .ms = a->newest_ms,
                                  .logger = "logging.appender",
                                  .file = __FILE__,
                                  .line = __LINE__,
                                  .thread = "log",
                                  .text = {text, n}},
               &out);
    bool ok = write_all(a->fd, out.p, out.len);
    strbuf_deinit(&out);
    return ok;
}

void appender_flush(struct appender *a)
{
    if (a->buffer.len == 0 || a->fd < 0)
        return;
    bool ok = (a->lost == 0 || write_losses(a)) && write_all(a->fd, a->buffer.p, a->buffer.len);
    if (!ok && a->lost == 0)
        fail_set(&a->trouble, "%s cannot be written: %s", a->file != NULL ? a->file : "the console", strerror(errno));
    a->lost = ok ? 0 : a->lost + a->lines;
    a->size += ok ? (int64_t)a->buffer.len : 0;
    a->lines = 0;
    strbuf_clear(&a->buffer);
}

bool appender_trouble(struct appender *a, struct fail *out)
{
    *out = a->trouble;
    a->trouble.text[0] = '\0';
    return out->text[0] != '\0';
}
