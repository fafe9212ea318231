/*
 * Compaction of one log (Kafka's log cleaner): of each key the newest record stays. A pass reads the part of the log
 * that was written since the last one and notes the newest offset of each key in a map of fixed size; then it writes
 * all segments up to there again without what the map says is old, many small ones into one.
 *
 * A pass goes in steps of bounded size, so that whoever runs it can do something else in between: it holds no lock, and
 * appends and reads go on. The log's lock is taken to look and to swap. What would pull the ground from under a pass
 * (truncation, deletion, another policy) is noticed at the next step, and the pass ends without a trace.
 */
#ifndef BARNABAS_LOG_COMPACTION_H
#define BARNABAS_LOG_COMPACTION_H

#include "log/plog.h"

/* What there is to do in a log. */
struct cleanable {
    int64_t first_dirty, end; /* the range whose keys count; `end` is where a segment begins */
    int64_t clean_bytes, dirty_bytes;
    double ratio;       /* of what is dirty to all up to `end` */
    int64_t overdue_ms; /* since max.compaction.lag.ms has passed for something of it */
    bool due; /* it is above min.cleanable.dirty.ratio, or max.compaction.lag.ms has passed for something of it */
};

/* False when the log is not to be compacted, or by somebody else at the moment. */
bool plog_cleanable(struct plog *log, int64_t now, struct cleanable *out);

struct compact_limits {
    size_t map_bytes;   /* of memory for keys, at most */
    double load_factor; /* of that memory */
    size_t chunk;       /* bytes that are read at a time */
};

enum compact_result {
    COMPACT_MORE,    /* there are more steps to do */
    COMPACT_DONE,    /* the log is clean up to the end of the map */
    COMPACT_ABORTED, /* the log was cut, closed, or is not to be compacted any more */
    COMPACT_FAILED,  /* and is not to be tried again: it is uncleanable, or its disk has failed */
};

struct compaction;

/* NULL when there is nothing to do, or somebody does it already. Holds a reference to the log. */
struct compaction *compaction_new(struct plog *log, const struct compact_limits *limits, int64_t now);
/* Does about a chunk's work; adds what it has read and written to `*bytes`. Not to be called again after its end. */
enum compact_result compaction_step(struct compaction *c, int64_t *bytes) NODISCARD;
struct compaction_figures {
    int64_t bytes_before, bytes_after; /* of what was written again, until now */
    int map_percent;                   /* how full the map of keys is */
    int done_percent;                  /* of what there is to read, if all keys fit into the map */
};
struct compaction_figures compaction_read(const struct compaction *c);
/* Before its end, too: then nothing is left of what was not put in place. */
void compaction_free(struct compaction *c);

#endif
