/* Files that a log's compaction, deletions and checkpoints leave where they are interrupted. */
#ifndef BARNABAS_LOG_LEFTOVERS_INTERNAL_H
#define BARNABAS_LOG_LEFTOVERS_INTERNAL_H

#include "log/file.h"

/* Removes them, or puts in place what is finished; `out` are the files that are there then. False if the disk fails. */
bool leftovers_settle(const char *dir, struct names *out) NODISCARD;

#endif
