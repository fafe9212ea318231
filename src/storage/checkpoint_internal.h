/* Offset checkpoints: files of a log directory with an offset for each of its logs. */
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

#endif
