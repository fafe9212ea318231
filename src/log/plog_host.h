/*
 * Between logs and who keeps them: what a log tells its host, and what only the host may do with a log.
 *
 * A log says that its home has failed, that files may go after a while, that what was rolled is to be synced, and that
 * it was cut below what the host's checkpoints say of it. The host loads, configures, moves, flushes and closes.
 */
#ifndef BARNABAS_LOG_PLOG_HOST_H
#define BARNABAS_LOG_PLOG_HOST_H

#include <stdatomic.h>

#include "log/plog.h"
#include "metrics/histogram.h"

struct plog_home;

struct plog_host {
    /* A home cannot be used any more. Any thread, with locks of logs held. */
    void (*failed)(void *ctx, const char *home, const char *what);
    /* So many bytes of a log that is being loaded were read again, as a crash may have left them. Any thread. */
    void (*recovered)(void *ctx, int64_t bytes);
    /* Of a segment, the files in `dir` that have the suffix ".deleted". Any thread, with locks of logs held. */
    void (*remove_later)(void *ctx, const char *dir, int64_t base, int64_t delay_ms);
    /* Calls plog_save_snapshots(), and plog_flush_some() until it is over, with a reference. With the log's lock held.
     */
    void (*flush_later)(void *ctx, struct plog *log, int64_t up_to, int64_t cuts);
    /* Calls plog_write_back_some() until it is over, with a reference. With the log's lock held. */
    void (*write_back_later)(void *ctx, struct plog *log);
    /*
     * Writes recovery points and starts of all logs of a home that are unsettled, which have gone back. Without a log's
     * lock; blocks. Who cuts has it done soon, and who appends before that does it, for all that were cut meanwhile.
     */
    void (*settle_cuts)(void *ctx, const struct plog_home *home);
    void (*settle_cuts_soon)(void *ctx);
    /* A file could not be opened for want of a descriptor: others that nobody uses are to be closed soon. */
    void (*files_wanted)(void *ctx);
    const atomic_bool *halted;    /* logs that are being loaded need not be: plog_load() may give up. NULL: they must */
    const struct timing *flushes; /* of segments with their indexes are counted here */
    void *ctx;
};

/* A directory with logs. Outlives them. */
struct plog_home {
    const char *path;
    const struct plog_host *host; /* NULL: of a tool or a test, which is told nothing */
    atomic_bool offline;          /* it has failed: nothing in it is read or written any more */
};

/* ---- Life ---- */

struct plog_origin { /* what the checkpoints say of a log that is loaded */
    int64_t recovery_point, start_offset, high_watermark, clean_end; /* -1: not there */
    bool clean;
    const char *name;       /* of the directory, of a future log; NULL: topic-partition */
    atomic_int *to_recover; /* how many segments that a crash may have left are still to be read; NULL: nobody asks */
};

/* Loads or creates the log. NULL when it was halted, when the disk fails, or as file_last_error() says; logged. */
struct plog *plog_load(const struct plog_home *home, const char *topic, int32_t partition,
                       const struct topic_config *config, const struct plog_origin *origin);
/* Writes partition.metadata if the log has no id yet, and keeps nobody from appending or reading for that. Blocks. */
enum kafka_error plog_adopt_topic_id(struct plog *log, struct uuid id);
/* Flush, snapshot, trimmed indexes: ready for a clean-shutdown mark. */
bool plog_close(struct plog *log);
/* Without any of that: nothing is written any more, or read, and its files are let go of. */
void plog_abandon(struct plog *log);
void plog_configure(struct plog *log, const struct topic_config *config);
/* Gives its directory that name, on the disk and here; with NULL its own, topic-partition, which a future log has not.
 */
bool plog_rename(struct plog *log, const char *path) NODISCARD;
/* Nothing is written any more. Returns how far it was compacted, -1: not at all. */
int64_t plog_end_writes(struct plog *log);
/* A future log is the current one from now on, compacted so far (-1: not at all), and has to be settled. */
void plog_succeed(struct plog *log, int64_t clean_end);
/* Ends the log's useful life as a failure of its home. */
void plog_failed(struct plog *log, const char *what);

const struct plog_home *plog_home(const struct plog *log);
const char *plog_path(const struct plog *log); /* for messages, by who alone could rename it */

/* ---- What checkpoints say of it ---- */

int64_t plog_start_to_note(struct plog *log); /* -1: it begins where its first segment does, which says it */
bool plog_clean_end_is_unsaved(struct plog *log);
int64_t plog_take_clean_end(struct plog *log); /* -1: none. It is saved then. */
void plog_unsettle(struct plog *log);          /* before anybody uses it: they have lines of another one of its name */
/* Whether it was cut, and nobody has said plog_settled() with the number of that cut. */
bool plog_is_unsettled(struct plog *log, int64_t *cuts);
void plog_settled(struct plog *log, int64_t cuts);

/* ---- From time to time ---- */

/* What remove_later() was told of, when its time has come. False when something is left, which file_last_error() tells.
 */
bool plog_remove_segment(const char *dir, int64_t base);

/*
 * Writes and syncs snapshots of producers that were begun as segments became full, without keeping anybody from
 * appending or reading. Who does not do it has them written when the log is closed.
 */
void plog_save_snapshots(struct plog *log);

enum plog_flushed { FLUSH_GOES_ON, FLUSH_OVER, FLUSH_FAILED };
/* Syncs some of what is below `up_to`, without keeping anybody from appending or reading. */
enum plog_flushed plog_flush_some(struct plog *log, int64_t up_to, int64_t cuts);
/* The same of all that is there now. False: its home has failed. */
bool plog_flush_beside(struct plog *log) NODISCARD;
/* Has some of what was appended written to the disk, and waits for it; it counts as flushed no sooner. Whether there
 * was any: then there may be more. */
bool plog_write_back_some(struct plog *log);
void plog_flush_if_due(struct plog *log);                    /* flush.ms */
void plog_expire_producers(struct plog *log, int64_t since); /* those that wrote last before then */
void plog_unload_indexes(struct plog *log);                  /* of older segments that nobody looked at lately */
/*
 * Closes the files of segments that nobody has used since this was asked last, and that are on the disk. False: some
 * are not on the disk yet, and stay open until it was flushed.
 */
bool plog_close_unused_files(struct plog *log);

#endif
