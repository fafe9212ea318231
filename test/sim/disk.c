/*
 * Files in memory, one tree for all: brokers have folders of their own. Names and sizes are durable at once, as with a
 * journaling file system; bytes are when they were synced. A process that is killed loses nothing, one whose power
 * fails may lose what it had not synced, and find zeros or half of it.
 */
#include <errno.h>
#include <stdio.h>
#include <uthash.h>

#include "base/clock.h"
#include "base/region.h"
#include "sim.h"
#include "storage/file_internal.h"

struct inode {
    uint8_t *data;
    size_t size, cap;
    size_t durable; /* up to here it was synced */
    int64_t mtime_ms;
    int refs; /* names and descriptors */
};

struct name {
    char *path;
    struct inode *inode; /* NULL: a folder */
    UT_hash_handle hh;
};

static struct name *names;
static struct inode **open_files;
static size_t open_count, open_cap;

static struct name *find(const char *path)
{
    struct name *n;
    HASH_FIND_STR(names, path, n);
    return n;
}

static void release(struct inode *i)
{
    if (i == NULL || --i->refs > 0)
        return;
    free(i->data);
    free(i);
}

static void add_name(const char *path, struct inode *inode)
{
    struct name *n = xcalloc(1, sizeof(*n));
    n->path = xstrdup(path);
    n->inode = inode;
    HASH_ADD_KEYPTR(hh, names, n->path, strlen(n->path), n);
}

static void remove_name(struct name *n)
{
    HASH_DEL(names, n);
    release(n->inode);
    free(n->path);
    free(n);
}

static struct inode *inode_of(int fd)
{
    ensure(fd >= 0 && (size_t)fd < open_count && open_files[fd] != NULL);
    return open_files[fd];
}

int file_open(const char *path, bool create)
{
    struct name *n = find(path);
    if (n == NULL && !create) {
        errno = ENOENT;
        return -1;
    }
    if (n == NULL) {
        struct inode *i = xcalloc(1, sizeof(*i));
        i->refs = 1;
        i->mtime_ms = clock_wall_ms();
        add_name(path, i);
        n = find(path);
    }
    open_files = xgrow(open_files, open_count + 1, &open_cap, sizeof(struct inode *));
    n->inode->refs++;
    open_files[open_count] = n->inode;
    return (int)open_count++;
}

void file_close(int fd)
{
    if (fd < 0)
        return;
    release(inode_of(fd));
    open_files[fd] = NULL;
}

bool file_write_at(int fd, const void *data, size_t len, int64_t pos, const char *path UNUSED)
{
    struct inode *i = inode_of(fd);
    size_t end = (size_t)pos + len;
    if (end > i->cap) {
        i->cap = MAX(end, i->cap * 2);
        i->data = xrealloc(i->data, i->cap);
    }
    if ((size_t)pos > i->size)
        memset(i->data + i->size, 0, (size_t)pos - i->size);
    if (len > 0)
        memcpy(i->data + pos, data, len);
    i->size = MAX(i->size, end);
    i->mtime_ms = clock_wall_ms();
    return true;
}

ssize_t file_read_at(int fd, void *data, size_t len, int64_t pos, const char *path UNUSED)
{
    const struct inode *i = inode_of(fd);
    if ((size_t)pos >= i->size)
        return 0;
    size_t n = MIN(len, i->size - (size_t)pos);
    memcpy(data, i->data + pos, n);
    return (ssize_t)n;
}

ssize_t file_read_cached(int fd, void *data, size_t len, int64_t pos, const char *path)
{
    return file_read_at(fd, data, len, pos, path);
}

int64_t file_size(int fd)
{
    return (int64_t)inode_of(fd)->size;
}

int64_t file_mtime_ms(int fd)
{
    return inode_of(fd)->mtime_ms;
}

bool file_set_mtime_ms(int fd, int64_t ms, const char *path UNUSED)
{
    inode_of(fd)->mtime_ms = ms;
    return true;
}

void file_reserve(int fd UNUSED, int64_t size UNUSED)
{
}

bool file_truncate(int fd, int64_t size, const char *path)
{
    struct inode *i = inode_of(fd);
    if ((size_t)size > i->size)
        return file_write_at(fd, NULL, 0, size, path);
    i->size = (size_t)size;
    i->durable = MIN(i->durable, i->size);
    return true;
}

bool file_sync(int fd, const char *path UNUSED)
{
    inode_of(fd)->durable = inode_of(fd)->size;
    return true;
}

bool dir_sync(const char *path UNUSED)
{
    return true;
}

static void move_name(struct name *n, const char *to)
{
    struct name *old = find(to);
    if (old != NULL)
        remove_name(old);
    HASH_DEL(names, n);
    free(n->path);
    n->path = xstrdup(to);
    HASH_ADD_KEYPTR(hh, names, n->path, strlen(n->path), n);
}

bool file_rename(const char *from, const char *to)
{
    struct name *n = find(from), *child, *tmp;
    size_t len = strlen(from);
    if (n == NULL)
        return false;
    HASH_ITER (hh, names, child, tmp) {
        if (strncmp(child->path, from, len) != 0 || child->path[len] != '/')
            continue;
        char *path = xasprintf("%s%s", to, child->path + len);
        move_name(child, path);
        free(path);
    }
    move_name(n, to);
    return true;
}

bool file_remove(const char *path)
{
    struct name *n = find(path);
    if (n != NULL)
        remove_name(n);
    return true;
}

bool dir_make(const char *path)
{
    if (find(path) == NULL)
        add_name(path, NULL);
    return true;
}

bool dir_remove_tree(const char *path)
{
    struct name *n, *tmp;
    size_t len = strlen(path);
    HASH_ITER (hh, names, n, tmp)
        if (strncmp(n->path, path, len) == 0 && (n->path[len] == '/' || n->path[len] == '\0'))
            remove_name(n);
    return true;
}

bool file_load(const char *path, struct strbuf *out)
{
    const struct name *n = find(path);
    *out = (struct strbuf){0};
    if (n == NULL)
        return false;
    strbuf_add(out, n->inode->data, n->inode->size);
    return true;
}

bool file_replace(const char *path, const void *data, size_t len)
{
    struct name *n = find(path);
    if (n != NULL)
        remove_name(n);
    int fd = file_open(path, true);
    bool ok = file_write_at(fd, data, len, 0, path) && file_sync(fd, path);
    file_close(fd);
    return ok;
}

bool file_exists(const char *path)
{
    return find(path) != NULL;
}

int file_lock(const char *path)
{
    return file_open(path, true);
}

void *file_map(int fd, size_t size)
{
    void *copy = xmalloc(size);
    return file_read_at(fd, copy, size, 0, NULL) == (ssize_t)size ? copy : NULL;
}

void file_unmap(void *mem, size_t size UNUSED)
{
    free(mem);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

bool dir_list(const char *path, struct names *out)
{
    size_t len = strlen(path), cap = 0;
    *out = (struct names){0};
    for (const struct name *n = names; n != NULL; n = n->hh.next) {
        if (strncmp(n->path, path, len) != 0 || n->path[len] != '/' || strchr(n->path + len + 1, '/') != NULL)
            continue;
        out->v = xgrow(out->v, out->n + 1, &cap, sizeof(char *));
        out->v[out->n++] = xstrdup(n->path + len + 1);
    }
    if (out->n > 0)
        qsort(out->v, out->n, sizeof(char *), by_text);
    return true;
}

void names_free(struct names *list)
{
    for (size_t i = 0; i < list->n; i++)
        free(list->v[i]);
    free(list->v);
    *list = (struct names){0};
}

/* ---- Regions, which are pieces of these files ---- */

struct file_ref *file_ref_new(int fd)
{
    struct file_ref *f = xmalloc(sizeof(*f));
    f->fd = fd;
    atomic_init(&f->refs, 1);
    return f;
}

void file_ref_get(struct file_ref *f)
{
    atomic_fetch_add(&f->refs, 1);
}

void file_ref_put(struct file_ref *f)
{
    if (f == NULL || atomic_fetch_sub(&f->refs, 1) != 1)
        return;
    file_close(f->fd);
    free(f);
}

ssize_t region_read(const struct file_region *region, void *out)
{
    return file_read_at(region->file->fd, out, (size_t)region->len, region->pos, NULL);
}

/* ---- From outside ---- */

static bool is_in(const struct name *n, const struct process *p)
{
    char folder[64];
    snprintf(folder, sizeof(folder), "/%s/", p->name);
    return strncmp(n->path, folder, strlen(folder)) == 0;
}

void disk_lose_power(const struct process *p)
{
    for (const struct name *n = names; n != NULL; n = n->hh.next) {
        struct inode *i = n->inode;
        if (i == NULL || !is_in(n, p) || i->size == i->durable)
            continue;
        size_t kept = i->durable + sim_random((uint32_t)(i->size - i->durable + 1));
        if (sim_chance(3)) /* the size was written, the bytes were not */
            memset(i->data + kept, 0, i->size - kept);
        else
            i->size = kept;
        i->durable = i->size;
    }
}

static bool is_index(const struct name *n)
{
    const char *dot = strrchr(n->path, '.');
    return dot != NULL && (strcmp(dot, ".index") == 0 || strcmp(dot, ".timeindex") == 0);
}

void disk_lose_index(const struct process *p)
{
    struct name *n, *chosen = NULL;
    uint32_t seen = 0;
    for (n = names; n != NULL; n = n->hh.next)
        if (is_in(n, p) && is_index(n) && sim_chance(++seen))
            chosen = n;
    if (chosen != NULL)
        remove_name(chosen);
}

bool disk_has(const struct process *p, const char *name)
{
    char path[256];
    snprintf(path, sizeof(path), "/%s/%s", p->name, name);
    return find(path) != NULL;
}

uint8_t *disk_log(const struct process *p, const char *topic, int partition, size_t *len)
{
    char folder[128];
    struct names list;
    struct strbuf all = {0};
    snprintf(folder, sizeof(folder), "/%s/%s-%d", p->name, topic, partition);
    bool ok = dir_list(folder, &list);
    ensure(ok);
    for (size_t i = 0; i < list.n; i++) {
        char path[256];
        const char *dot = strrchr(list.v[i], '.');
        if (dot == NULL || strcmp(dot, ".log") != 0)
            continue;
        snprintf(path, sizeof(path), "%s/%s", folder, list.v[i]);
        const struct inode *inode = find(path)->inode;
        strbuf_add(&all, inode->data, inode->size);
    }
    names_free(&list);
    *len = all.len;
    return (uint8_t *)all.p;
}
