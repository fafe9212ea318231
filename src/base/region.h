/*
 * A piece of an open file, to be sent without reading it. The file stays open, and its bytes stay what
 * they were, for as long as somebody counts a reference to it.
 */
#ifndef BARNABAS_REGION_H
#define BARNABAS_REGION_H

#include <stdatomic.h>

#include "base/base.h"

struct file_ref {
    int fd;
    atomic_int refs;
};

struct file_region {
    struct file_ref *file;
    int64_t pos;
    int32_t len;
};

struct file_ref *file_ref_new(int fd); /* one reference, owns fd */
void file_ref_get(struct file_ref *f);
void file_ref_put(struct file_ref *f); /* NULL allowed; the last one closes */
int file_refs_open(void);              /* how many files are held so */

/* Copies the bytes to `out`; how many, or -1. May block. */
ssize_t region_read(const struct file_region *region, void *out);

#endif
