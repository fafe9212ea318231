/* Where each leader epoch of a log begins, as in its leader-epoch-checkpoint (KIP-101). */
#ifndef BARNABAS_LOG_EPOCHS_INTERNAL_H
#define BARNABAS_LOG_EPOCHS_INTERNAL_H

#include "base/strbuf.h"

struct epoch_entry {
    int32_t epoch;
    int64_t start_offset;
};

struct epochs {
    struct epoch_entry *v; /* both fields ascending */
    size_t n, cap;
    bool learned; /* at loading: what the file does not say */
};

/* False when the file cannot be read. Unless `complete`, they are not to be relied on: where one is missing, the one
 * before seems to go on. */
bool epochs_read(const char *path, struct epochs *out, bool *complete) NODISCARD;
void epochs_put(struct strbuf *out, const struct epochs *e); /* as the file has them */
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
