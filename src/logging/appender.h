/*
 * Where lines go: log4j's ConsoleAppender, FileAppender, DailyRollingFileAppender and RollingFileAppender. One thread
 * at a time has an appender. What time it is is what the lines say.
 *
 * A daily one gives its file the name with the date of what is in it when the first line of another period comes; by
 * hours, as 2026-11-28-06, an hour that clocks have twice is one period. One that rolls by size keeps FILE.1 to FILE.n.
 * Nothing is written over by a roll: where the name is taken, .1 and so on is put behind it.
 */
#ifndef BARNABAS_APPENDER_H
#define BARNABAS_APPENDER_H

#include "base/fail.h"
#include "logging/layout.h"

enum appender_kind { APPENDER_NONE, APPENDER_CONSOLE, APPENDER_FILE, APPENDER_DAILY, APPENDER_SIZED };

struct appender_options {
    enum appender_kind kind;
    const char *file;         /* its folder is made if need be */
    const char *date_pattern; /* as '.'yyyy-MM-dd */
    const char *pattern;      /* of lines */
    int64_t max_size;
    int32_t max_backups;
    enum log_level threshold;
    int console;   /* the descriptor */
    bool truncate; /* a file that is there is begun anew; not when it is opened again */
};

struct appender;

struct appender *appender_new(const struct appender_options *options); /* the texts are copied */
void appender_free(struct appender *a);                                /* NULL allowed; writes what is left */
/* Opens the file, or opens it again: it may have been moved away. */
bool appender_open(struct appender *a, int64_t now_ms, struct fail *fail) NODISCARD;
/* False: the file is not open, or the line is below the threshold. */
bool appender_put(struct appender *a, const struct log_line *line);
void appender_flush(struct appender *a); /* what was put is written */
/* What has gone wrong since it was asked last: once for each time that it begins. */
bool appender_trouble(struct appender *a, struct fail *out);
bool appender_wants(const struct appender *a, enum log_level level);
/* Whether the descriptor is what systemd has said is journald's: lines begin with a priority there. */
bool is_journal(int fd);

#endif
