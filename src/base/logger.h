/*
 * The broker's own log: one line per event, `[date] LEVEL text (place)`, the layout Kafka's
 * administrators grep for. Safe from every thread; a line is written with one call.
 */
#ifndef BARNABAS_LOGGER_H
#define BARNABAS_LOGGER_H

#include <stdatomic.h>

#include "base/base.h"

enum log_level { LEVEL_TRACE, LEVEL_DEBUG, LEVEL_INFO, LEVEL_WARN, LEVEL_ERROR, LEVEL_FATAL };

void logger_write(enum log_level level, const char *file, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Lines below this level are dropped. Default LEVEL_INFO. */
void logger_set_level(enum log_level level);
bool logger_enabled(enum log_level level);
bool logger_parse_level(const char *name, enum log_level *out) NODISCARD;

#define log_at(level, ...)                              \
    do {                                                \
        if (logger_enabled(level))                      \
            logger_write(level, __FILE__, __VA_ARGS__); \
    } while (0)
#define log_debug(...) log_at(LEVEL_DEBUG, __VA_ARGS__)
#define log_info(...) log_at(LEVEL_INFO, __VA_ARGS__)
#define log_warn(...) log_at(LEVEL_WARN, __VA_ARGS__)
#define log_error(...) log_at(LEVEL_ERROR, __VA_ARGS__)
#define log_fatal(...) log_at(LEVEL_FATAL, __VA_ARGS__)

/*
 * For lines that a peer can provoke at will: at most ten a second from one place, then a count of
 * what was left out.
 */
struct log_limit {
    _Atomic int64_t second;
    atomic_int written, skipped;
};

bool log_limit_allows(struct log_limit *limit, const char *file);

#define log_warn_limited(limit, ...)           \
    do {                                       \
        if (log_limit_allows(limit, __FILE__)) \
            log_warn(__VA_ARGS__);             \
    } while (0)

#endif
