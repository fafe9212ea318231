/*
 * The broker's own log: one line per event, `[date] LEVEL text (logger)`, the layout Kafka's administrators grep for.
 * Safe from every thread.
 *
 * Lines go to standard error, with one call each, until logger_set_sink() has them taken elsewhere (logging/).
 *
 * Which lines are written is decided by loggers that can be set while the broker runs. A place, which is a source file,
 * has a logger of its own as "storage.segment", one of its folder, "storage", and that of Apache's class that does the
 * same (base/logger_names.h) with those above it as log4j has them: "kafka.log.LogManager", "kafka.log", "kafka",
 * "root". The first of these that was given a level is who says.
 */
#ifndef BARNABAS_LOGGER_H
#define BARNABAS_LOGGER_H

#include <stdatomic.h>

#include "base/bytes.h"

/* A logger of LEVEL_OFF writes nothing; no line has it. */
enum log_level { LEVEL_TRACE, LEVEL_DEBUG, LEVEL_INFO, LEVEL_WARN, LEVEL_ERROR, LEVEL_FATAL, LEVEL_OFF };

#define LOGGER_ROOT "root"
#define LOGGER_REQUESTS "kafka.request.logger" /* a line for each request: LEVEL_WARN, unless it is told otherwise */
enum { LOGGER_NAME_ROOM = 96, LOGGER_OUTLETS = 32 };

/*
 * Every file that includes this is a place; it makes itself known before main() begins. A place that is none of a
 * file's has its logger's name instead, which does not end in .c or .h.
 */
struct log_place {
    const char *file;
    atomic_int level;                                   /* that counts here */
    _Atomic uint32_t outlets;                           /* of the sink, a bit each */
    const char *component;                              /* NULL: none */
    char own[LOGGER_NAME_ROOM], name[LOGGER_NAME_ROOM]; /* as "storage.segment", and Apache's */
    struct log_place *next;
};

void logger_register(struct log_place *place);
static struct log_place log_here = {.file = __BASE_FILE__, .level = LEVEL_INFO};
__attribute__((constructor)) static void log_register_here(void)
{
    logger_register(&log_here);
}

/* A place besides the file's own: log_to(&NAME, level, ...). */
#define LOG_PLACE(name_, logger_)                                             \
    static struct log_place name_ = {.file = (logger_), .level = LEVEL_INFO}; \
    __attribute__((constructor)) static void name_##_register(void)           \
    {                                                                         \
        logger_register(&name_);                                              \
    }

void logger_write(enum log_level level, const struct log_place *place, int line, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
/* The same for a text of any length. */
void logger_write_text(enum log_level level, const struct log_place *place, int line, struct str text);
bool logger_parse_level(const char *name, enum log_level *out) NODISCARD; /* in upper case, as Kafka wants it */
const char *logger_level_name(enum log_level level);

/* Who this is, in components. */
void logger_set_broker(int32_t id);
/* Standard error is journald's, which wants a priority and knows the time. */
void logger_to_journal(void);
/* For a line that is journald's: as "<3>". */
const char *logger_priority(enum log_level level);

/* ---- Levels ---- */

/* Calls back for each logger, in the order of their names, with the level that counts for it. */
void logger_each(void (*visit)(void *ctx, const char *name, enum log_level level), void *ctx);
bool logger_exists(const char *name);
/* Lines below this level are dropped. Default: LEVEL_INFO for the root, none for all others. */
void logger_set(const char *name, enum log_level level);
void logger_unset(const char *name); /* not the root */

/* ---- Elsewhere than to standard error ---- */

struct log_line {
    enum log_level level;
    int64_t ms;                /* since 1970 */
    const char *logger, *file; /* for ever */
    int line;
    uint32_t outlets;
    const char *thread;
    struct str text; /* with the component, without control characters */
};

/* What a logger is given by a file, besides its name. */
struct logger_setting {
    const char *name;
    int level;        /* -1: that of the logger above */
    bool detached;    /* what is written here does not go to the outlets of loggers above */
    uint32_t outlets; /* of its own */
};

/*
 * All loggers follow these settings and no earlier ones, but for levels that were set by logger_set() and
 * logger_unset(). Loggers that there were none of come to be. The root is among them.
 */
void logger_configure(const struct logger_setting *settings, size_t count);
/* Takes lines from now on, on any thread, whatever locks that holds; NULL: standard error does. */
void logger_set_sink(void (*sink)(const struct log_line *line));
/* Writes the line to standard error. */
void logger_write_stderr(const struct log_line *line);

/* ---- Writing ---- */

#define log_is_on(place, level_) ((int)(level_) >= atomic_load_explicit(&(place)->level, memory_order_relaxed))
#define log_to(place, level_, ...)                                  \
    do {                                                            \
        if (log_is_on((place), (level_)))                           \
            logger_write((level_), (place), __LINE__, __VA_ARGS__); \
    } while (0)
#define log_at(level_, ...) log_to(&log_here, (level_), __VA_ARGS__)
#define log_debug(...) log_at(LEVEL_DEBUG, __VA_ARGS__)
#define log_info(...) log_at(LEVEL_INFO, __VA_ARGS__)
#define log_warn(...) log_at(LEVEL_WARN, __VA_ARGS__)
#define log_error(...) log_at(LEVEL_ERROR, __VA_ARGS__)
#define log_fatal(...) log_at(LEVEL_FATAL, __VA_ARGS__)

/*
 * For lines that a peer can provoke at will: at most so many a second from one place, then a count of
 * what was left out.
 */
struct log_limit {
    int per_second; /* 0: ten */
    _Atomic int64_t second;
    atomic_int written, skipped;
};

bool log_limit_allows(struct log_limit *limit, const struct log_place *place);

#define log_limited(limit, log, ...)            \
    do {                                        \
        if (log_limit_allows(limit, &log_here)) \
            log(__VA_ARGS__);                   \
    } while (0)
#define log_info_limited(limit, ...) log_limited(limit, log_info, __VA_ARGS__)
#define log_warn_limited(limit, ...) log_limited(limit, log_warn, __VA_ARGS__)
#define log_error_limited(limit, ...) log_limited(limit, log_error, __VA_ARGS__)

#endif
