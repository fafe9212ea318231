/*
 * Logs that are written, cut, cleaned and closed at random on a disk that fails at random, against a model of what must
 * be in them afterwards. world.c has chance, time and workers, model.c what must hold, main.c what is done.
 */
#ifndef BARNABAS_CRASH_H
#define BARNABAS_CRASH_H

#include "base/workers.h"
#include "record/record.h"
#include "storage/storage.h"

/* ---- world.c ---- */

void crash_seed(uint64_t seed);
uint32_t crash_random(uint32_t below);
bool crash_chance(uint32_t one_in);
void crash_wait(int64_t ms);
void crash_run_jobs(struct workers *w); /* some of those that were submitted */

/* What must not be has been seen: ends the process. */
_Noreturn void violation(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* ---- model.c: one log ---- */

struct model *model_new(bool compacted);
void model_free(struct model *m);

enum model_kind { PLAIN, IDEMPOTENT, TRANSACTIONAL };

/* A batch that fits the log as it is; `epoch` is the leader's. Its bytes are the caller's. */
struct strbuf model_make_batch(struct model *m, enum model_kind kind, int32_t epoch, int64_t offset, int32_t *count);
/* The marker of a transaction that is open, or nothing. */
struct strbuf model_make_marker(struct model *m, int32_t epoch, int64_t offset);
/* The one that was made last, which is taken to be appended before what is made next. */
int32_t model_last_made(struct model *m);
/* It is in the log now, or, if the disk has failed in the middle, may be. */
void model_appended(struct model *m, int32_t made, bool certainly);
/* The beginning of the batch that holds the offset. */
int64_t model_boundary(const struct model *m, int64_t offset);
void model_cut(struct model *m, int64_t end);
void model_cut_below_start(struct model *m); /* nothing is promised of it then */
void model_has_no_point(struct model *m);    /* it is to be loaded without a recovery point */
/* All below is on the disk, as the log says. */
void model_synced(struct model *m, int64_t offset);
/* The log has begun there. */
void model_started(struct model *m, int64_t offset);
void model_start_lowered(struct model *m, int64_t offset); /* by a cut to there, if it was above */

/* Compares the whole log with the model, after it was loaded: `restarted`. The model goes on with what is there. */
void model_check(struct model *m, struct plog *log, bool restarted);

#endif
