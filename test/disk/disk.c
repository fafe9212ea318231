#include "disk.h"

#include <errno.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/region.h"

enum { SECTOR = 512 };

struct image {
    uint8_t *data;
    size_t size, cap;
};

/* A change of a file's bytes that was not synced. */
struct change {
    bool is_truncation; /* to `pos` */
    size_t pos, len;
    struct change *prev, *next;
    uint8_t data[];
};

struct inode {
    struct image seen, durable;
    struct change *changes; /* what makes `seen` of `durable` */
    int64_t mtime_ms;
    int refs; /* names, descriptors, and changes of names that may be undone */
};

struct name {
    char *path;
    struct inode *inode;         /* NULL: a folder */
    struct name *folder, *below; /* that it is in, and what is in it */
    struct name *prev, *next;    /* in the same folder */
    UT_hash_handle hh;
};

/* A change of names that was not synced. */
struct move {
    char *from, *to;       /* NULL: it was made, or removed */
    struct inode *removed; /* what was called `from` before it was removed, or `to` before it was replaced */
    bool had_removed;
    struct move *prev, *next;
};

static struct name *names;
static struct name *loose; /* those whose folder is none */
static struct move *moves;
static struct inode **open_files;
static size_t open_count, open_cap;
static int changes_left = -1; /* -1: any number */
static int last_error;

void disk_stop_after(int changes)
{
    changes_left = changes;
}

bool disk_has_stopped(void)
{
    return changes_left == 0;
}

void disk_go_on(void)
{
    changes_left = -1;
}

static bool may_change(void)
{
    errno = EIO;
    if (changes_left == 0) {
        last_error = EIO;
        return false;
    }
    changes_left -= changes_left > 0;
    return true;
}

/* ---- Bytes ---- */

static void image_write(struct image *m, size_t pos, const void *data, size_t len)
{
    size_t end = pos + len;
    if (end > m->cap) {
        m->cap = MAX(end, m->cap * 2);
        m->data = xrealloc(m->data, m->cap);
    }
    if (pos > m->size)
        memset(m->data + m->size, 0, pos - m->size);
    if (len > 0)
        memcpy(m->data + pos, data, len);
    m->size = MAX(m->size, end);
}

static void image_truncate(struct image *m, size_t size)
{
    if (size > m->size)
        image_write(m, size, NULL, 0);
    m->size = size;
}

static void apply(struct image *m, const struct change *c)
{
    if (c->is_truncation)
        image_truncate(m, c->pos);
    else
        image_write(m, c->pos, c->data, c->len);
}

static void note_change(struct inode *i, bool is_truncation, size_t pos, const void *data, size_t len)
{
    struct change *c = xmalloc(sizeof(*c) + len);
    *c = (struct change){.is_truncation = is_truncation, .pos = pos, .len = len};
    if (len > 0)
        memcpy(c->data, data, len);
    DL_APPEND(i->changes, c);
    apply(&i->seen, c);
    i->mtime_ms = clock_wall_ms();
}

static void drop_change(struct inode *i, struct change *c)
{
    DL_DELETE(i->changes, c);
    free(c);
}

static void make_durable(struct inode *i)
{
    while (i->changes != NULL) {
        apply(&i->durable, i->changes);
        drop_change(i, i->changes);
    }
}

static void release(struct inode *i)
{
    if (i == NULL || --i->refs > 0)
        return;
    while (i->changes != NULL)
        drop_change(i, i->changes);
    free(i->seen.data);
    free(i->durable.data);
    free(i);
}

/* ---- Names ---- */

static struct name *find(const char *path)
{
    struct name *n;
    HASH_FIND_STR(names, path, n);
    return n;
}

static bool is_below(const char *path, const char *folder)
{
    size_t len = strlen(folder);
    return strncmp(path, folder, len) == 0 && path[len] == '/';
}

static bool is_directly_below(const char *path, const char *folder)
{
    return is_below(path, folder) && strchr(path + strlen(folder) + 1, '/') == NULL;
}

static struct name *folder_of(const char *path)
{
    char *folder = xstrndup(path, (size_t)(strrchr(path, '/') - path));
    struct name *n = find(folder);
    free(folder);
    return n;
}

static void put_into_folder(struct name *n)
{
    n->folder = folder_of(n->path);
    DL_APPEND(*(n->folder != NULL ? &n->folder->below : &loose), n);
}

static void take_out_of_folder(struct name *n)
{
    DL_DELETE(*(n->folder != NULL ? &n->folder->below : &loose), n);
}

static void add_name(const char *path, struct inode *inode)
{
    struct name *n = xcalloc(1, sizeof(*n)), *other, *tmp;
    n->path = xstrdup(path);
    n->inode = inode;
    if (inode != NULL)
        inode->refs++;
    HASH_ADD_KEYPTR(hh, names, n->path, strlen(n->path), n);
    put_into_folder(n);
    DL_FOREACH_SAFE (loose, other, tmp) {
        if (!is_directly_below(other->path, path))
            continue;
        take_out_of_folder(other);
        put_into_folder(other);
    }
}

static void remove_name(struct name *n)
{
    struct name *other, *tmp;
    HASH_DEL(names, n);
    take_out_of_folder(n);
    DL_FOREACH_SAFE (n->below, other, tmp) {
        take_out_of_folder(other);
        put_into_folder(other);
    }
    release(n->inode);
    free(n->path);
    free(n);
}

/* With all that is below. */
static void rename_tree(struct name *n, char *to)
{
    struct name *other;
    DL_FOREACH (n->below, other)
        rename_tree(other, xasprintf("%s%s", to, other->path + strlen(n->path)));
    HASH_DEL(names, n);
    free(n->path);
    n->path = to;
    HASH_ADD_KEYPTR(hh, names, n->path, strlen(n->path), n);
}

static void rename_all(const char *from, const char *to)
{
    struct name *n = find(from);
    take_out_of_folder(n);
    rename_tree(n, xstrdup(to));
    put_into_folder(n);
}

static void note_move(const char *from, const char *to, const struct name *removed)
{
    struct move *m = xcalloc(1, sizeof(*m));
    m->from = from != NULL ? xstrdup(from) : NULL;
    m->to = to != NULL ? xstrdup(to) : NULL;
    m->had_removed = removed != NULL;
    if (removed != NULL && removed->inode != NULL) {
        m->removed = removed->inode;
        m->removed->refs++;
    }
    DL_APPEND(moves, m);
}

static void drop_move(struct move *m)
{
    DL_DELETE(moves, m);
    release(m->removed);
    free(m->from);
    free(m->to);
    free(m);
}

static void undo_move(const struct move *m)
{
    if (m->from == NULL)
        remove_name(find(m->to));
    else if (m->to != NULL)
        rename_all(m->to, m->from);
    if (m->had_removed)
        add_name(m->to != NULL ? m->to : m->from, m->removed);
}

static void make_name(const char *path, struct inode *inode)
{
    add_name(path, inode);
    note_move(NULL, path, NULL);
}

static void unlink_name(struct name *n)
{
    note_move(n->path, NULL, n);
    remove_name(n);
}

static const char *path_of(const struct move *m)
{
    return m->from != NULL ? m->from : m->to;
}

/* "/name" of "/name/and/more". */
static char *top_folder(const char *path)
{
    return xstrndup(path, 1 + strcspn(path + 1, "/"));
}

/* ---- Files ---- */

static struct inode *inode_of(int fd)
{
    ensure(fd >= 0 && (size_t)fd < open_count && open_files[fd] != NULL);
    return open_files[fd];
}

int file_open(const char *path, bool create)
{
    struct name *n = find(path);
    if (n == NULL && (!create || !may_change())) {
        errno = last_error = create ? EIO : ENOENT;
        return -1;
    }
    if (n == NULL) {
        struct inode *i = xcalloc(1, sizeof(*i));
        i->mtime_ms = clock_wall_ms();
        make_name(path, i);
        n = find(path);
    }
    open_files = xgrow(open_files, open_count + 1, &open_cap, sizeof(struct inode *));
    n->inode->refs++;
    open_files[open_count] = n->inode;
    return (int)open_count++;
}

int file_open_to_stay(const char *path, bool create)
{
    return file_open(path, create);
}

void file_close(int fd)
{
    if (fd < 0)
        return;
    release(inode_of(fd));
    open_files[fd] = NULL;
    while (open_count > 0 && open_files[open_count - 1] == NULL)
        open_count--;
}

bool file_put_at(int fd, const void *data, size_t len, int64_t pos)
{
    if (!may_change())
        return false;
    note_change(inode_of(fd), false, (size_t)pos, data, len);
    return true;
}

/* It may stop between two of them. */
bool file_put_all_at(int fd, const struct iovec *pieces, int count, int64_t pos)
{
    for (int i = 0; i < count; i++) {
        if (!file_put_at(fd, pieces[i].iov_base, pieces[i].iov_len, pos))
            return false;
        pos += (int64_t)pieces[i].iov_len;
    }
    return true;
}

bool file_write_at(int fd, const void *data, size_t len, int64_t pos, const char *path UNUSED)
{
    return file_put_at(fd, data, len, pos);
}

bool file_failed(const char *what UNUSED, const char *path UNUSED)
{
    return false;
}

ssize_t file_read_at(int fd, void *data, size_t len, int64_t pos, const char *path UNUSED)
{
    const struct image *m = &inode_of(fd)->seen;
    if ((size_t)pos >= m->size)
        return 0;
    size_t n = MIN(len, m->size - (size_t)pos);
    memcpy(data, m->data + pos, n);
    return (ssize_t)n;
}

ssize_t file_read_cached(int fd, void *data, size_t len, int64_t pos, const char *path)
{
    return file_read_at(fd, data, len, pos, path);
}

int64_t file_size(int fd)
{
    return (int64_t)inode_of(fd)->seen.size;
}

int64_t file_mtime_ms(int fd)
{
    return inode_of(fd)->mtime_ms;
}

bool file_look_at(const char *path, int64_t *size, int64_t *mtime_ms)
{
    const struct name *n = find(path);
    if (n == NULL || n->inode == NULL)
        return false;
    *size = (int64_t)n->inode->seen.size;
    *mtime_ms = n->inode->mtime_ms;
    return true;
}

bool file_set_mtime_ms(int fd, int64_t ms, const char *path UNUSED)
{
    if (!may_change())
        return false;
    inode_of(fd)->mtime_ms = ms;
    return true;
}

void file_reserve(int fd UNUSED, int64_t size UNUSED)
{
}

void file_write_back(const char *path UNUSED, int64_t pos UNUSED, int64_t len UNUSED, int64_t piece UNUSED)
{
}

bool file_truncate(int fd, int64_t size, const char *path UNUSED)
{
    if (!may_change())
        return false;
    note_change(inode_of(fd), true, (size_t)size, NULL, 0);
    return true;
}

bool file_sync(int fd, const char *path UNUSED)
{
    if (!may_change())
        return false;
    make_durable(inode_of(fd));
    return true;
}

bool dir_sync(const char *path)
{
    struct move *m, *tmp;
    if (!may_change())
        return false;
    char *folder = top_folder(path);
    DL_FOREACH_SAFE (moves, m, tmp)
        if (is_below(path_of(m), folder))
            drop_move(m);
    free(folder);
    return true;
}

bool file_rename(const char *from, const char *to)
{
    if (find(from) == NULL || !may_change())
        return false;
    struct name *old = find(to);
    note_move(from, to, old);
    if (old != NULL)
        remove_name(old);
    rename_all(from, to);
    return true;
}

bool file_rename_if_any(const char *from, const char *to)
{
    return find(from) == NULL || file_rename(from, to);
}

bool file_remove(const char *path)
{
    struct name *n = find(path);
    if (n == NULL)
        return true;
    if (!may_change())
        return false;
    unlink_name(n);
    return true;
}

bool dir_make(const char *path)
{
    if (find(path) != NULL)
        return true;
    if (!may_change())
        return false;
    make_name(path, NULL);
    return true;
}

static bool unlink_below(struct name *folder)
{
    struct name *n, *tmp;
    DL_FOREACH_SAFE (folder->below, n, tmp) {
        if (!unlink_below(n) || !may_change())
            return false;
        unlink_name(n);
    }
    return true;
}

bool dir_remove_tree(const char *path)
{
    struct name *n = find(path);
    return n == NULL || (unlink_below(n) && file_remove(path));
}

bool dir_space(const char *path UNUSED, int64_t *total, int64_t *usable)
{
    *total = *usable = INT64_MAX;
    return true;
}

bool file_map_look(void (*look)(void *ctx), void *ctx)
{
    look(ctx);
    return true;
}

int file_last_error(void)
{
    return last_error;
}

void file_clear_error(void)
{
    last_error = 0;
}

int file_limit(void)
{
    return 0;
}

bool file_ran_out(void)
{
    return false;
}

enum file_result file_look(const char *path)
{
    return find(path) != NULL ? FILE_FOUND : FILE_MISSING;
}

int file_lock(const char *path)
{
    return file_open(path, true);
}

int file_maps(void)
{
    return 0;
}

void *file_map(int fd, size_t size)
{
    void *copy = xmalloc(size);
    if (file_read_at(fd, copy, size, 0, NULL) == (ssize_t)size)
        return copy;
    free(copy);
    return NULL;
}

void file_unmap(void *mem, size_t size UNUSED)
{
    free(mem);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool list(const char *path, bool files, bool folders, struct names *out)
{
    size_t cap = 0;
    const struct name *folder = find(path), *n;
    *out = (struct names){0};
    if (folder == NULL)
        return true;
    DL_FOREACH (folder->below, n) {
        if (!(n->inode != NULL ? files : folders))
            continue;
        out->v = xgrow(out->v, out->n + 1, &cap, sizeof(char *));
        out->v[out->n++] = xstrdup(n->path + strlen(path) + 1);
    }
    if (out->n > 0)
        qsort(out->v, out->n, sizeof(char *), by_text);
    return true;
}

bool dir_list(const char *path, struct names *out)
{
    return list(path, true, true, out);
}

bool dir_list_files(const char *path, struct names *out)
{
    return list(path, true, false, out);
}

bool dir_list_folders(const char *path, struct names *out)
{
    return list(path, false, true, out);
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

/* Always more than may stay open: what nobody uses is closed, and opened again. */
int file_refs_open(void)
{
    return 1;
}

ssize_t region_read(const struct file_region *region, void *out)
{
    return file_read_at(region->file->fd, out, (size_t)region->len, region->pos, NULL);
}

/* ---- When the power fails ---- */

/* In an order of their own, and only the sectors that were lucky. */
static void keep_some_sectors(struct inode *i, disk_dice dice)
{
    const struct change *c;
    DL_FOREACH (i->changes, c) {
        if (c->is_truncation) {
            apply(&i->durable, c);
            continue;
        }
        for (size_t at = c->pos, next; at < c->pos + c->len; at = next) {
            next = MIN((at / SECTOR + 1) * SECTOR, c->pos + c->len);
            if (dice(2) == 0)
                image_write(&i->durable, at, c->data + (at - c->pos), next - at);
        }
    }
}

/* The first of them, and a piece of the next. */
static void keep_first(struct inode *i, disk_dice dice)
{
    int count;
    const struct change *c;
    DL_COUNT(i->changes, c, count);
    uint32_t whole = dice((uint32_t)count + 1);
    DL_FOREACH (i->changes, c) {
        if (whole-- == 0) {
            if (!c->is_truncation && c->len > 0)
                image_write(&i->durable, c->pos, c->data, dice((uint32_t)c->len));
            break;
        }
        apply(&i->durable, c);
    }
}

static void lose_bytes(struct inode *i, disk_dice dice)
{
    if (i->changes == NULL)
        return;
    uint32_t how = dice(5);
    if (how == 0)
        make_durable(i);
    else if (how == 1)
        keep_some_sectors(i, dice);
    else if (how < 4)
        keep_first(i, dice);
    if (dice(3) == 0 && i->durable.size < i->seen.size) /* the size was written, the bytes were not */
        image_truncate(&i->durable, i->seen.size);
    while (i->changes != NULL)
        drop_change(i, i->changes);
    i->seen.size = 0;
    image_write(&i->seen, 0, i->durable.data, i->durable.size);
}

static void lose_names(const char *folder, disk_dice dice)
{
    struct move *m, *last, *tmp;
    uint32_t count = 0;
    DL_FOREACH (moves, m)
        count += is_below(path_of(m), folder);
    uint32_t kept = dice(2) == 0 ? count : dice(count + 1);
    for (last = moves != NULL ? moves->prev : NULL; count > kept; last = tmp) {
        tmp = last->prev; /* of the first: the last, which is not reached */
        if (!is_below(path_of(last), folder))
            continue;
        undo_move(last);
        drop_move(last);
        count--;
    }
    DL_FOREACH_SAFE (moves, m, tmp)
        if (is_below(path_of(m), folder))
            drop_move(m);
}

static int by_path(const struct name *a, const struct name *b)
{
    return strcmp(a->path, b->path);
}

void disk_lose_power(const char *folder, disk_dice dice)
{
    lose_names(folder, dice);
    HASH_SORT(names, by_path); /* undone moves have changed their order */
    for (const struct name *n = names; n != NULL; n = n->hh.next)
        if (n->inode != NULL && is_below(n->path, folder))
            lose_bytes(n->inode, dice);
}

void disk_remove_all(void)
{
    struct name *n, *tmp;
    while (moves != NULL)
        drop_move(moves);
    HASH_ITER (hh, names, n, tmp)
        remove_name(n);
    disk_go_on();
}
