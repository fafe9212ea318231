#include "base/logger.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/lock.h"

#define LINES_PER_SECOND 10
#define LONGEST_LINE 4096

static const char *const level_names[] = {"TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"};

/*
 * "src/storage/segment.c", whatever the build directory, is "storage.segment"; a file from elsewhere has no folder.
 * What is not a file's name is the place itself.
 */
static void logger_place_of(const char *file, char out[LOGGER_NAME_ROOM])
{
    const char *src = strstr(file, "src/");
    for (const char *next; src != NULL && (next = strstr(src + 1, "src/")) != NULL;)
        src = next;
    const char *slash = strrchr(file, '/');
    snprintf(out, LOGGER_NAME_ROOM, "%s", src != NULL ? src + 4 : slash != NULL ? slash + 1 : file);
    char *dot = strrchr(out, '.');
    if (dot != NULL && (strcmp(dot, ".c") == 0 || strcmp(dot, ".h") == 0))
        *dot = '\0';
    for (char *c = out; *c; c++)
        if (*c == '/')
            *c = '.';
}

/* ---- Levels ---- */

struct logger {
    char name[LOGGER_NAME_ROOM];
    int own, level; /* what it was set to, or -1; what counts */
};

static struct lock lock = LOCK_INITIALIZER(RANK_LOGGERS); /* guards all below */
static struct log_place *places;
static struct logger *loggers; /* by name; made of the places when it is first asked for */
static size_t logger_count, logger_cap;

void logger_register(struct log_place *place)
{
    place->next = places;
    places = place;
}

static int logger_by_name(const void *a, const void *b)
{
    return strcmp(((const struct logger *)a)->name, ((const struct logger *)b)->name);
}

static struct logger *logger_find(const char *name)
{
    struct logger wanted;
    snprintf(wanted.name, sizeof(wanted.name), "%s", name);
    return bsearch(&wanted, loggers, logger_count, sizeof(wanted), logger_by_name);
}

static void logger_add(const char *name)
{
    for (size_t i = 0; i < logger_count; i++)
        if (strcmp(loggers[i].name, name) == 0)
            return;
    loggers = xgrow(loggers, logger_count + 1, &logger_cap, sizeof(*loggers));
    struct logger *l = &loggers[logger_count++];
    l->own = strcmp(name, LOGGER_ROOT) == 0 ? LEVEL_INFO : -1;
    l->level = LEVEL_INFO;
    snprintf(l->name, sizeof(l->name), "%s", name);
}

/* The folder's name of "folder.file"; false when there is no folder. */
static bool folder_of(const char *name, char out[LOGGER_NAME_ROOM])
{
    snprintf(out, LOGGER_NAME_ROOM, "%s", name);
    char *dot = strchr(out, '.');
    if (dot != NULL)
        *dot = '\0';
    return dot != NULL;
}

static void make_loggers(void)
{
    char name[LOGGER_NAME_ROOM], folder[LOGGER_NAME_ROOM];
    if (loggers != NULL)
        return;
    logger_add(LOGGER_ROOT);
    for (const struct log_place *p = places; p != NULL; p = p->next) {
        logger_place_of(p->file, name);
        logger_add(name);
        if (strchr(p->file, '/') != NULL && folder_of(name, folder)) /* it is a file's */
            logger_add(folder);
    }
    qsort(loggers, logger_count, sizeof(*loggers), logger_by_name);
}

static void logger_resolve(void)
{
    char folder[LOGGER_NAME_ROOM], name[LOGGER_NAME_ROOM];
    int root = logger_find(LOGGER_ROOT)->own;
    for (size_t i = 0; i < logger_count; i++) {
        struct logger *l = &loggers[i], *above = folder_of(l->name, folder) ? logger_find(folder) : NULL;
        l->level = l->own >= 0 ? l->own : above != NULL && above->own >= 0 ? above->own : root;
    }
    for (struct log_place *p = places; p != NULL; p = p->next) {
        logger_place_of(p->file, name);
        atomic_store(&p->level, logger_find(name)->level);
    }
}

static void change(const char *name, int level)
{
    lock_take(&lock);
    make_loggers();
    struct logger *l = logger_find(name);
    ensure(l != NULL);
    l->own = level;
    logger_resolve();
    lock_release(&lock);
}

void logger_set(const char *name, enum log_level level)
{
    change(name, (int)level);
}

void logger_unset(const char *name)
{
    ensure(strcmp(name, LOGGER_ROOT) != 0);
    change(name, -1);
}

bool logger_exists(const char *name)
{
    lock_take(&lock);
    make_loggers();
    bool found = logger_find(name) != NULL;
    lock_release(&lock);
    return found;
}

void logger_each(void (*visit)(void *ctx, const char *name, enum log_level level), void *ctx)
{
    lock_take(&lock);
    make_loggers();
    for (size_t i = 0; i < logger_count; i++)
        visit(ctx, loggers[i].name, (enum log_level)loggers[i].level);
    lock_release(&lock);
}

bool logger_parse_level(const char *name, enum log_level *out)
{
    for (size_t i = 0; i < ARRAY_LEN(level_names); i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}

const char *logger_level_name(enum log_level level)
{
    return level_names[level];
}

/* ---- Lines ---- */

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

/* What clients have named may hold anything: it must not look like a line of its own, or steer a terminal. */
static void hide_controls(char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
            text[i] = '?';
}

void logger_write(enum log_level level, const char *file, const char *fmt, ...)
{
    char line[LONGEST_LINE], place[LOGGER_NAME_ROOM];
    size_t room = sizeof(line) - 80; /* for the place and the newline */
    size_t n = put_prefix(line, room, level);
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(line + n, room - n, fmt, args);
    va_end(args);
    size_t written = MIN((size_t)MAX(len, 0), room - n - 1);
    hide_controls(line + n, written);
    n += written;
    logger_place_of(file, place);
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
    if (atomic_fetch_add(&limit->written, 1) < (limit->per_second > 0 ? limit->per_second : LINES_PER_SECOND))
        return true;
    atomic_fetch_add(&limit->skipped, 1);
    return false;
}
