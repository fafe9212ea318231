#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/logger.h"
#include "base/recent_lines.h"

#define LINES_PER_SECOND 10
#define LONGEST_LINE 4096

static atomic_int broker_id = -1;
static atomic_bool to_journal;
static void (*_Atomic line_sink)(const struct log_line *line);

void logger_set_broker(int32_t id)
{
    atomic_store(&broker_id, id);
}

void logger_to_journal(void)
{
    atomic_store(&to_journal, true);
}

void logger_set_sink(void (*sink)(const struct log_line *line))
{
    atomic_store(&line_sink, sink);
}

/* Of syslog(3). */
const char *logger_priority(enum log_level level)
{
    static const char *const priorities[] = {"<7>", "<7>", "<6>", "<4>", "<3>", "<2>", "<2>"};
    return priorities[level];
}

/* ---- Texts ---- */

/* What clients have named may hold anything: it must not look like a line of its own, or steer a terminal. */
static void hide_controls(char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
            text[i] = '?';
}

/* Which part of the broker speaks, as Apache's classes say it; nothing as long as it is not known who this is. */
static size_t put_component(char *out, size_t size, const char *component)
{
    const char *mark = component != NULL ? strchr(component, '#') : NULL;
    int id = atomic_load_explicit(&broker_id, memory_order_relaxed);
    if (component == NULL || (mark != NULL && id < 0))
        return 0;
    if (mark == NULL)
        return (size_t)snprintf(out, size, "%s", component);
    return (size_t)snprintf(out, size, "%.*s%d%s", (int)(mark - component), component, id, mark + 1);
}

static const char *thread_name(void)
{
    static _Thread_local char name[16];
    if (name[0] == '\0')
        pthread_getname_np(pthread_self(), name, sizeof(name));
    return name;
}

/* ---- Lines ---- */

static size_t put_prefix(char *out, size_t size, const struct log_line *l)
{
    if (atomic_load_explicit(&to_journal, memory_order_relaxed))
        return (size_t)snprintf(out, size, "%s", logger_priority(l->level));
    time_t seconds = (time_t)(l->ms / 1000);
    struct tm tm;
    localtime_r(&seconds, &tm);
    size_t n = strftime(out, size, "[%Y-%m-%d %H:%M:%S", &tm);
    n += (size_t)snprintf(out + n, size - n, ",%03d] %s ", (int)(l->ms % 1000), logger_level_name(l->level));
    return n;
}

void logger_write_stderr(const struct log_line *l)
{
    char start[64];
    size_t n = put_prefix(start, sizeof(start), l);
    char *line = xasprintf("%.*s%.*s (%s)\n", (int)n, start, STR_ARGS(l->text), l->logger);
    ssize_t unused UNUSED = write(STDERR_FILENO, line, strlen(line));
    free(line);
}

static void logger_send(enum log_level level, const struct log_place *place, int line, struct str text)
{
    struct log_line l = {.level = level,
                         .ms = clock_wall_ms(),
                         .logger = place->name,
                         .file = place->file,
                         .line = line,
                         .outlets = atomic_load_explicit(&place->outlets, memory_order_relaxed),
                         .thread = thread_name(),
                         .text = text};
    recent_lines_keep(&l);
    void (*sink)(const struct log_line *) = atomic_load_explicit(&line_sink, memory_order_acquire);
    if (sink != NULL)
        sink(&l);
    else
        logger_write_stderr(&l);
}

void logger_write(enum log_level level, const struct log_place *place, int line, const char *fmt, ...)
{
    char text[LONGEST_LINE];
    size_t n = fmt[0] != '[' ? put_component(text, sizeof(text), place->component) : 0;
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(text + n, sizeof(text) - n, fmt, args);
    va_end(args);
    n += MIN((size_t)MAX(len, 0), sizeof(text) - n - 1);
    hide_controls(text, n);
    logger_send(level, place, line, (struct str){text, (int32_t)n});
}

void logger_write_text(enum log_level level, const struct log_place *place, int line, struct str text)
{
    char *copy = xstrndup(text.p, (size_t)text.len);
    hide_controls(copy, (size_t)text.len);
    logger_send(level, place, line, (struct str){copy, text.len});
    free(copy);
}

bool log_limit_allows(struct log_limit *limit, const struct log_place *place)
{
    int64_t now = clock_mono_ms() / 1000;
    int64_t second = atomic_load(&limit->second);
    if (now != second && atomic_compare_exchange_strong(&limit->second, &second, now)) {
        atomic_store(&limit->written, 0);
        int skipped = atomic_exchange(&limit->skipped, 0);
        if (skipped > 0)
            logger_write(LEVEL_WARN, place, __LINE__, "%d more such lines were left out", skipped);
    }
    if (atomic_fetch_add(&limit->written, 1) < (limit->per_second > 0 ? limit->per_second : LINES_PER_SECOND))
        return true;
    atomic_fetch_add(&limit->skipped, 1);
    return false;
}
