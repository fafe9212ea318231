/*
 * Which loggers there are, and what they let through. Lines are written in logger_line.c.
 *
 * Each file that logs has a place, whose level is worked out when a setting changes, so that a line which is not
 * written costs one comparison. The first of these that has a level counts, here for src/log/segment.c:
 *
 *     log.segment, log                                           the file and the folder, for who knows this program
 *     org.apache.kafka.storage.internals.log.LogSegment          what Apache's class would be called
 *     org.apache.kafka.storage.internals.log, ..., org           and those above it
 *     root
 */
#include "base/logger.h"

#include <stdio.h>

#include "base/lock.h"
#include "base/logger_names.h"

static const char *const level_names[] = {"TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL", "OFF"};

/* ---- Names ---- */

struct logger_row {
    const char *place, *logger, *component;
};

#define ROW(place, logger, component) {place, logger, component},
static const struct logger_row rows[] = {LOGGER_NAMES(ROW)};
#undef ROW

static const struct logger_row *row_of(const char *place)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (strcmp(rows[i].place, place) == 0)
            return &rows[i];
    return NULL;
}

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

/* The folder's name of "folder.file"; false when there is no folder. */
static bool folder_of(const char *name, char out[LOGGER_NAME_ROOM])
{
    snprintf(out, LOGGER_NAME_ROOM, "%s", name);
    char *dot = strchr(out, '.');
    if (dot != NULL)
        *dot = '\0';
    return dot != NULL;
}

static bool is_of_file(const struct log_place *p)
{
    return strchr(p->file, '/') != NULL || strcmp(p->own, p->file) != 0;
}

/* -1: that of the logger above. */
static int default_level(const char *name)
{
    return strcmp(name, LOGGER_ROOT) == 0 ? LEVEL_INFO : strcmp(name, LOGGER_REQUESTS) == 0 ? LEVEL_WARN : -1;
}

/* Makes "kafka.log" of "kafka.log.LogManager"; false: only the root is above. */
static bool cut_last_part(char *name)
{
    char *dot = strrchr(name, '.');
    if (dot != NULL)
        *dot = '\0';
    return dot != NULL;
}

/* ---- Loggers ---- */

struct logger {
    char name[LOGGER_NAME_ROOM];
    int own, level;   /* what it was set to, or -1; what counts */
    bool by_request;  /* it was set or unset while the broker ran */
    bool detached;    /* from the outlets of those above */
    uint32_t outlets; /* of its own */
};

static struct lock lock = LOCK_INITIALIZER(RANK_LOGGERS); /* guards all below */
static struct log_place *places;
static struct logger *loggers; /* by name; made of the places when it is first asked for */
static size_t logger_count, logger_cap;

void logger_register(struct log_place *place)
{
    char folder[LOGGER_NAME_ROOM];
    logger_place_of(place->file, place->own);
    bool has_folder = is_of_file(place) && folder_of(place->own, folder);
    const struct logger_row *row = row_of(place->own);
    if (row == NULL && has_folder)
        row = row_of(folder);
    snprintf(place->name, sizeof(place->name), "%s", row != NULL ? row->logger : place->own);
    place->component = row != NULL ? row->component : NULL;
    atomic_store(&place->level, MAX(default_level(place->name), LEVEL_INFO));
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

/* Whoever adds sorts. */
static void logger_add(const char *name)
{
    for (size_t i = 0; i < logger_count; i++)
        if (strcmp(loggers[i].name, name) == 0)
            return;
    loggers = xgrow(loggers, logger_count + 1, &logger_cap, sizeof(*loggers));
    struct logger *l = &loggers[logger_count++];
    *l = (struct logger){.own = default_level(name), .level = LEVEL_INFO};
    snprintf(l->name, sizeof(l->name), "%s", name);
}

static void logger_sort(void)
{
    qsort(loggers, logger_count, sizeof(*loggers), logger_by_name);
}

static void make_loggers(void)
{
    char name[LOGGER_NAME_ROOM];
    if (loggers != NULL)
        return;
    logger_add(LOGGER_ROOT);
    for (const struct log_place *p = places; p != NULL; p = p->next) {
        logger_add(p->own);
        if (is_of_file(p) && folder_of(p->own, name))
            logger_add(name);
        snprintf(name, sizeof(name), "%s", p->name);
        do
            logger_add(name);
        while (cut_last_part(name));
    }
    logger_sort();
}

/* ---- What counts ---- */

/* What loggers, asked one after the other, have said so far. */
struct verdict {
    int level; /* -1: nothing yet */
    bool detached;
    uint32_t outlets;
};

static void verdict_ask(struct verdict *v, const char *name)
{
    const struct logger *l = logger_find(name);
    if (l == NULL)
        return;
    if (v->level < 0)
        v->level = l->own;
    if (!v->detached)
        v->outlets |= l->outlets;
    v->detached |= l->detached;
}

/* The logger of that name and those above it. */
static void verdict_ask_upwards(struct verdict *v, const char *from)
{
    char name[LOGGER_NAME_ROOM];
    snprintf(name, sizeof(name), "%s", from);
    do
        verdict_ask(v, name);
    while (cut_last_part(name));
    verdict_ask(v, LOGGER_ROOT);
}

static void resolve_place(struct log_place *p)
{
    char folder[LOGGER_NAME_ROOM];
    struct verdict v = {.level = -1};
    if (strcmp(p->own, p->name) != 0)
        verdict_ask(&v, p->own);
    if (is_of_file(p) && folder_of(p->own, folder))
        verdict_ask(&v, folder);
    verdict_ask_upwards(&v, p->name);
    ensure(v.level >= 0); /* the root always has a level, and is asked last */
    atomic_store(&p->level, v.level);
    atomic_store(&p->outlets, v.outlets);
}

/* A file's or folder's own logger is below that of Apache's which its lines belong to. */
static int level_of_logger(const struct logger *l)
{
    char folder[LOGGER_NAME_ROOM];
    struct verdict v = {.level = l->own};
    const struct logger_row *row = row_of(l->name);
    if (folder_of(l->name, folder) && row_of(folder) != NULL) {
        verdict_ask(&v, folder);
        row = row != NULL ? row : row_of(folder);
    }
    verdict_ask_upwards(&v, row != NULL ? row->logger : l->name);
    ensure(v.level >= 0);
    return v.level;
}

static void logger_resolve(void)
{
    for (size_t i = 0; i < logger_count; i++)
        loggers[i].level = level_of_logger(&loggers[i]);
    for (struct log_place *p = places; p != NULL; p = p->next)
        resolve_place(p);
}

static void change(const char *name, int level)
{
    lock_take(&lock);
    make_loggers();
    struct logger *l = logger_find(name);
    ensure(l != NULL);
    l->own = level;
    l->by_request = true;
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

void logger_configure(const struct logger_setting *settings, size_t count)
{
    lock_take(&lock);
    make_loggers();
    for (size_t i = 0; i < count; i++)
        logger_add(settings[i].name);
    logger_sort();
    for (size_t i = 0; i < logger_count; i++) {
        struct logger *l = &loggers[i];
        l->detached = false;
        l->outlets = 0;
        if (!l->by_request)
            l->own = default_level(l->name);
    }
    for (size_t i = 0; i < count; i++) {
        struct logger *l = logger_find(settings[i].name);
        l->detached = settings[i].detached;
        l->outlets = settings[i].outlets;
        if (!l->by_request && settings[i].level >= 0)
            l->own = settings[i].level;
    }
    logger_resolve();
    lock_release(&lock);
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
    for (size_t i = 0; i < LEVEL_OFF; i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}

const char *logger_level_name(enum log_level level)
{
    ensure((size_t)level < ARRAY_LEN(level_names));
    return level_names[level];
}
