/*
 * The broker's own log: one line per event, `[date] LEVEL text (place)`, the layout Kafka's
 * administrators grep for. Safe from every thread; a line is written with one call.
 *
 * A place is a source file, as "storage.segment". Which lines are written is decided by loggers that can be set while
 * the broker runs: the place's own, else that of its folder ("storage"), else "root".
 */
#ifndef BARNABAS_LOGGER_H
#define BARNABAS_LOGGER_H

#include <stdatomic.h>

#include "base/base.h"

enum log_level { LEVEL_TRACE, LEVEL_DEBUG, LEVEL_INFO, LEVEL_WARN, LEVEL_ERROR, LEVEL_FATAL };

/*
 * Every file that includes this is a place; it makes itself known before main() begins. A place that is none of a
 * file's has its logger's name instead, which does not end in .c or .h.
 */
struct log_place {
    const char *file;
    atomic_int level; /* that counts here */
    struct log_place *next;
};

void logger_register(struct log_place *place);
static struct log_place log_here = {.file = __BASE_FILE__, .level = LEVEL_INFO};
__attribute__((constructor)) static void log_register_here(void)
{
    logger_register(&log_here);
}

void logger_write(enum log_level level, const char *file, const char *fmt, ...) PRINTF_LIKE(3, 4);
bool logger_parse_level(const char *name, enum log_level *out) NODISCARD; /* in upper case, as Kafka wants it */
const char *logger_level_name(enum log_level level);

#define LOGGER_ROOT "root"
enum { LOGGER_NAME_ROOM = 64 };

/* Calls back for each logger, in the order of their names, with the level that counts for it. */
void logger_each(void (*visit)(void *ctx, const char *name, enum log_level level), void *ctx);
bool logger_exists(const char *name);
/* Lines below this level are dropped. Default: LEVEL_INFO for the root, none for all others. */
void logger_set(const char *name, enum log_level level);
void logger_unset(const char *name); /* not the root */

#define log_at(level_, ...)                                                          \
    do {                                                                             \
        if ((level_) >= atomic_load_explicit(&log_here.level, memory_order_relaxed)) \
            logger_write((level_), __FILE__, __VA_ARGS__);                           \
    } while (0)
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

bool log_limit_allows(struct log_limit *limit, const char *file);

#define log_limited(limit, log, ...)           \
    do {                                       \
        if (log_limit_allows(limit, __FILE__)) \
            log(__VA_ARGS__);                  \
    } while (0)
#define log_info_limited(limit, ...) log_limited(limit, log_info, __VA_ARGS__)
#define log_warn_limited(limit, ...) log_limited(limit, log_warn, __VA_ARGS__)
#define log_error_limited(limit, ...) log_limited(limit, log_error, __VA_ARGS__)

#endif
