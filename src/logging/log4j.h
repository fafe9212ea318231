/*
 * Reads log4j.properties (log4j 1.2): appenders, and what loggers let through and where to. ${NAME} stands for a
 * property of Java's, or a key of the file itself. What is not understood, or cannot be done here, is told of by line
 * and key, and all else counts.
 */
#ifndef BARNABAS_LOG4J_H
#define BARNABAS_LOG4J_H

#include "config/properties.h"
#include "logging/appender.h"

struct log4j_appender {
    const char *name;
    int line; /* of its class */
    struct appender_options options;
};

struct log4j_setup {
    struct log4j_appender appenders[LOGGER_OUTLETS];
    int appender_count;
    struct logger_setting *loggers; /* outlets are bits by the place of appenders above */
    int logger_count;
};

struct log4j_context {
    const char *(*property)(void *ctx, const char *name); /* of Java's; NULL: it has none of that name */
    void (*warn)(void *ctx, int line, const char *key, const char *why);
    void *ctx;
};

/* What it gives lies in the arena. */
void log4j_understand(const struct properties *p, const struct log4j_context *context, struct arena *a,
                      struct log4j_setup *out);

#endif
