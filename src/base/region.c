#include "base/region.h"

#include <unistd.h>

static atomic_int open_files;

struct file_ref *file_ref_new(int fd)
{
    ensure(fd >= 0);
    atomic_fetch_add_explicit(&open_files, 1, memory_order_relaxed);
    struct file_ref *f = xmalloc(sizeof(*f));
    f->fd = fd;
    atomic_init(&f->refs, 1);
    return f;
}

void file_ref_get(struct file_ref *f)
{
    int before = atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
    ensure(before > 0);
}

void file_ref_put(struct file_ref *f)
{
    if (f == NULL)
        return;
    int before = atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel);
    ensure(before > 0);
    if (before == 1) {
        close(f->fd);
        free(f);
        atomic_fetch_sub_explicit(&open_files, 1, memory_order_relaxed);
    }
}

int file_refs_open(void)
{
    return atomic_load_explicit(&open_files, memory_order_relaxed);
}

ssize_t region_read(const struct file_region *region, void *out)
{
    ensure(region->len >= 0 && region->pos >= 0);
    return pread(region->file->fd, out, (size_t)region->len, region->pos);
}
