/* The small text files: offset checkpoints (one per log directory) and leader epochs (one per log). */
#ifndef BARNABAS_CHECKPOINT_INTERNAL_H
#define BARNABAS_CHECKPOINT_INTERNAL_H

#include "base/strbuf.h"

/* Offsets by topic and partition, as in `recovery-point-offset-checkpoint` and its kin. */
struct offsets_entry {
    char *topic;
    int32_t partition;
    int64_t offset;
};

struct offsets_file {
    struct offsets_entry *v;
    size_t n, cap;
};

/*
 * A missing file is an empty one, and so is one that is no checkpoint; of one that is damaged there are the lines that
 * are not. False when it cannot be read.
 */
bool offsets_file_read(const char *path, struct offsets_file *out) NODISCARD;
bool offsets_file_write(const char *path, const struct offsets_file *f) NODISCARD;
/* Not with a name that could not be read back. */
void offsets_file_add(struct offsets_file *f, const char *topic, int32_t partition, int64_t offset);
/* -1 when not there. The file must be sorted, as reading leaves it. */
int64_t offsets_file_find(const struct offsets_file *f, const char *topic, int32_t partition);
void offsets_file_free(struct offsets_file *f);

struct epoch_entry {
    int32_t epoch;
    int64_t start_offset;
};

struct epochs {
    struct epoch_entry *v; /* both fields ascending */
    size_t n, cap;
    bool learned; /* an entry that the file does not have; what it has too much, loading drops again */
};

/* Likewise; unless `complete`, they are not to be relied on: where one is missing, the one before seems to go on. */
bool epochs_read(const char *path, struct epochs *out, bool *complete) NODISCARD;
bool epochs_write(const char *path, const struct epochs *e) NODISCARD;
void epochs_free(struct epochs *e);
/* True if it changed. Entries that the new one contradicts are dropped. */
bool epochs_assign(struct epochs *e, int32_t epoch, int64_t start_offset);
bool epochs_drop_above(struct epochs *e, int32_t epoch);
bool epochs_truncate_from_end(struct epochs *e, int64_t end_offset);
bool epochs_truncate_from_start(struct epochs *e, int64_t start_offset);
/* See plog_epoch_end(). */
void epochs_end(const struct epochs *e, int32_t epoch, int64_t log_end, int32_t *found, int64_t *end);
int32_t epochs_at(const struct epochs *e, int64_t offset);

#endif
