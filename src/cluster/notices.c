/*
 * Notifications of changes: read as they come, and taken away when they are old.
 *
 *     changed ─► list, with a watch ─► read what is newer than `last` ─► the owner works on it, and says notices_done()
 *        ▲                                                                       │
 *        └── something has come meanwhile ◄──────────────────────────────────────┤
 *                     nothing has: the ages of the oldest are looked at ◄────────┘   again, if all of them are to go
 */
#include "cluster/notices.h"

#include "base/clock.h"

struct notices {
    struct notices_options options;
    int64_t last; /* sequence number of the newest one that was worked on */
    bool busy, again;
    struct arena old_memory;
    struct str *old; /* those that were worked on, by age: the oldest are looked at, if they are to go */
    int32_t old_count;
};

/* Kafka's time. */
enum { KEEP_MS = 15 * 60 * 1000, AGES_AT_ONCE = 50 };

static int64_t sequence_of(const struct notices *n, struct str name)
{
    size_t len = strlen(n->options.prefix);
    if ((size_t)name.len <= len || memcmp(name.p, n->options.prefix, len) != 0)
        return -1;
    return strtoll(name.p + len, NULL, 10);
}

/* ---- Old ones go ---- */

static void notices_forget_old(struct notices *n)
{
    arena_deinit(&n->old_memory);
    n->old = NULL;
    n->old_count = 0;
}

static void on_purged(struct zk_batch *b)
{
    struct notices *n = b->ctx;
    zk_batch_free(b);
    notices_done(n);
}

static void on_ages(struct zk_batch *b)
{
    struct notices *n = b->ctx;
    struct zk_batch *deletions = zk_batch_new(on_purged);
    int64_t now = clock_wall_ms();
    deletions->ctx = n;
    for (const struct zk_op *op = b->first; op != NULL; op = op->next)
        if (op->result == ZK_OK && now - op->stat.ctime_ms > KEEP_MS)
            zk_delete(deletions, op->path, ZK_ANY_VERSION);
    bool all = deletions->count == b->count; /* so that there may be more */
    zk_batch_free(b);
    if (!all)
        notices_forget_old(n);
    if (deletions->count > 0) {
        zk_submit(n->options.zk, deletions);
        return;
    }
    zk_batch_free(deletions);
    notices_done(n);
}

/* False if there is none to be looked at. */
static bool look_at_ages(struct notices *n)
{
    int32_t count = MIN(n->old_count, AGES_AT_ONCE);
    if (count == 0)
        return false;
    struct zk_batch *b = zk_batch_new(on_ages);
    b->ctx = n;
    for (int32_t i = 0; i < count; i++)
        zk_exists(b, arena_printf(&b->arena, "%s/%.*s", n->options.folder, STR_ARGS(n->old[i])).p, false);
    n->old += count;
    n->old_count -= count;
    zk_submit(n->options.zk, b);
    return true;
}

struct numbered {
    int64_t sequence;
    struct str name;
};

static int by_sequence(const void *a, const void *b)
{
    int64_t x = ((const struct numbered *)a)->sequence, y = ((const struct numbered *)b)->sequence;
    return (x > y) - (x < y);
}

/* The listing's notices in their order, in the arena. */
static struct numbered *in_order(const struct notices *n, struct arena *a, const struct zk_op *list, int32_t *count)
{
    struct numbered *all = ARENA_ARRAY(a, struct numbered, MAX(list->child_count, 1));
    *count = 0;
    for (int32_t i = 0; list->result == ZK_OK && i < list->child_count; i++)
        if (sequence_of(n, list->children[i]) >= 0)
            all[(*count)++] = (struct numbered){sequence_of(n, list->children[i]), list->children[i]};
    qsort(all, (size_t)*count, sizeof(*all), by_sequence);
    return all;
}

static void note_old(struct notices *n, const struct numbered *all, int32_t count)
{
    notices_forget_old(n);
    n->old = ARENA_ARRAY(&n->old_memory, struct str, MAX(count, 1));
    n->old_count = count;
    for (int32_t i = 0; i < count; i++)
        n->old[i] = arena_str(&n->old_memory, all[i].name);
}

/* ---- New ones ---- */

static void notices_on_read(struct zk_batch *b)
{
    struct notices *n = b->ctx;
    n->options.arrived(n->options.ctx, b);
}

static void notices_on_listed(struct zk_batch *b)
{
    struct notices *n = b->ctx;
    struct zk_batch *reads = zk_batch_new(notices_on_read);
    int32_t count;
    struct numbered *all = in_order(n, &b->arena, b->first, &count);
    reads->ctx = n;
    for (int32_t i = 0; i < count; i++)
        if (all[i].sequence > n->last)
            zk_get(reads, arena_printf(&b->arena, "%s/%.*s", n->options.folder, STR_ARGS(all[i].name)).p, false);
    if (count > 0)
        n->last = MAX(n->last, all[count - 1].sequence);
    note_old(n, all, count);
    zk_batch_free(b);
    if (reads->count > 0) {
        zk_submit(n->options.zk, reads);
        return;
    }
    zk_batch_free(reads);
    notices_done(n);
}

static void notices_scan(struct notices *n)
{
    struct zk_batch *b = zk_batch_new(notices_on_listed);
    n->busy = true;
    b->ctx = n;
    zk_children(b, n->options.folder, true);
    zk_submit(n->options.zk, b);
}

void notices_changed(struct notices *n)
{
    if (n->busy)
        n->again = true;
    else
        notices_scan(n);
}

void notices_done(struct notices *n)
{
    n->busy = false;
    if (n->again) {
        n->again = false;
        notices_scan(n);
    } else {
        n->busy = look_at_ages(n);
    }
}

/* ---- The whole ---- */

struct notices *notices_new(const struct notices_options *options)
{
    struct notices *n = xcalloc(1, sizeof(*n));
    n->options = *options;
    n->last = -1;
    return n;
}

void notices_free(struct notices *n)
{
    if (n != NULL)
        notices_forget_old(n);
    free(n);
}

void notices_list(struct notices *n, struct zk_batch *b)
{
    n->busy = true;
    zk_children(b, n->options.folder, true);
}

void notices_begin(struct notices *n, struct zk_batch *b)
{
    int32_t count;
    struct numbered *all = in_order(n, &b->arena, zk_find(b, ZK_CHILDREN, n->options.folder), &count);
    if (count > 0)
        n->last = MAX(n->last, all[count - 1].sequence);
    note_old(n, all, count);
}
