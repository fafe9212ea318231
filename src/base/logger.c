#include "base/logger.h"

#include <stdarg.h>
#include <stdio.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define LINES_PER_SECOND 10
#define LONGEST_LINE 4096

static const char *const level_names[] = {"TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"};
static _Atomic enum log_level threshold = LEVEL_INFO;

void logger_set_level(enum log_level level)
{
    atomic_store(&threshold, level);
}

bool logger_enabled(enum log_level level)
{
    return level >= atomic_load_explicit(&threshold, memory_order_relaxed);
}

bool logger_parse_level(const char *name, enum log_level *out)
{
    for (size_t i = 0; i < ARRAY_LEN(level_names); i++) {
        if (strcasecmp(name, level_names[i]) == 0) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}

/* "src/storage/segment.c", whatever the build directory, is "storage.segment". */
static void place_of(const char *file, char out[64])
{
    const char *src = strstr(file, "src/");
    for (const char *next; src != NULL && (next = strstr(src + 1, "src/")) != NULL;)
        src = next;
    snprintf(out, 64, "%s", src ? src + 4 : file);
    char *dot = strrchr(out, '.');
    if (dot != NULL)
        *dot = '\0';
    for (char *c = out; *c; c++)
        if (*c == '/')
            *c = '.';
}

static size_t put_prefix(char *line, size_t size, enum log_level level)
{
    int64_t now = clock_wall_ms();
    time_t seconds = (time_t)(now / 1000);
    struct tm tm;
    localtime_r(&seconds, &tm);
    size_t n = strftime(line, size, "[%Y-%m-%d %H:%M:%S", &tm);
    n += (size_t)snprintf(line + n, size - n, ",%03d] %s ", (int)(now % 1000), level_names[level]);
    return n;
}

void logger_write(enum log_level level, const char *file, const char *fmt, ...)
{
    char line[LONGEST_LINE], place[64];
    size_t room = sizeof(line) - 80; /* for the place and the newline */
    size_t n = put_prefix(line, room, level);
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(line + n, room - n, fmt, args);
    va_end(args);
    n += MIN((size_t)MAX(len, 0), room - n - 1);
    place_of(file, place);
    n += (size_t)snprintf(line + n, sizeof(line) - n, " (%s)\n", place);
    ssize_t unused UNUSED = write(STDERR_FILENO, line, n);
}

bool log_limit_allows(struct log_limit *limit, const char *file)
{
    int64_t now = clock_mono_ms() / 1000;
    int64_t second = atomic_load(&limit->second);
    if (now != second && atomic_compare_exchange_strong(&limit->second, &second, now)) {
        atomic_store(&limit->written, 0);
        int skipped = atomic_exchange(&limit->skipped, 0);
        if (skipped > 0)
            logger_write(LEVEL_WARN, file, "%d more such lines were left out", skipped);
    }
    if (atomic_fetch_add(&limit->written, 1) < LINES_PER_SECOND)
        return true;
    atomic_fetch_add(&limit->skipped, 1);
    return false;
}
