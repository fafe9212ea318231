/*
 * Reading all: the folders are made if they are missing, listed, then each node is read and the set of them published.
 * The folders of notifications are listed first, with a watch, so that no change falls in between.
 *
 * A change: the list is read, changed, and written together with the notification, on condition that nobody has written
 * it meanwhile; if somebody has, all of that again a little later. As both are written or none, an answer that was lost
 * with the connection does no harm: the list is found to be as it should be, and others have been told.
 */
#include "cluster/acl_watch.h"

#include <utlist.h>

#include "base/chance.h"
#include "base/logger.h"
#include "cluster/acl_znodes.h"
#include "cluster/notices.h"

enum { MOST_TRIES = 11, RETRY_MS = 100, RETRY_SPREAD_MS = 50 };

struct acl_folder { /* of notifications */
    struct acl_watch *watch;
    enum acl_pattern pattern;
    struct notices *notices;
};

struct acl_watch {
    struct acl_watch_options options;
    struct acl_folder folders[ACL_PATTERNS];
    struct acl_set *set; /* what is published */
    bool loaded;
    struct acl_update *updates; /* utlist; the first is being made */
    struct timer retry;
};

#define FOREACH_PATTERN(p) for (enum acl_pattern p = ACL_LITERAL; p < ACL_PATTERNS; p++)
#define FOREACH_TYPE(t) for (enum acl_type t = ACL_TOPIC; t < ACL_TYPES; t++)

static void publish_set(struct acl_watch *w, struct acl_set *next)
{
    acl_set_unref(w->set);
    w->set = next;
    acl_set_ref(next);
    acl_board_publish(w->options.board, next);
}

static void publish_changes(struct acl_watch *w, const struct acl_change *changes, int32_t count)
{
    publish_set(w, acl_set_with(w->set, changes, count));
}

/* ---- Lists as they are read ---- */

/* What counts while ZooKeeper's word is not understood, with a reference. */
static struct acl_list *unread_list(const struct acl_watch *w, const struct acl_resource *r, const char *path,
                                    const char *why)
{
    struct acl_list *known = acl_set_find(w->set, r);
    log_error("The ACLs at %s cannot be read (%s): %s until they are changed", path, why,
              known != NULL ? "those that were known before count" : "everybody is denied everything there");
    if (known == NULL)
        return acl_list_new_unreadable(r);
    acl_list_ref(known);
    return known;
}

/* False, with the reason: it is there, but not understood. */
static bool list_read(struct arena *a, const struct zk_op *op, struct acl_list **out, struct fail *fail)
{
    struct acl_entry *entries = NULL;
    int32_t count = 0;
    *out = NULL;
    if (op->result == ZK_NO_NODE)
        return true;
    if (op->result != ZK_OK)
        return fail_set(fail, "ZooKeeper does not give them");
    if (!acl_decode(a, op->value, &entries, &count, fail))
        return false;
    *out = acl_list_new(op->owner, entries, count);
    return true;
}

/* Reads of lists, with the resource as their owner. Whether the session has lasted until then. */
static bool lists_are_answered(const struct zk_batch *b)
{
    for (const struct zk_op *op = b->first; op != NULL; op = op->next)
        if (op->result == ZK_SESSION_EXPIRED)
            return false;
    return true;
}

static void acl_watch_read(struct zk_batch *b, const struct acl_resource *r)
{
    struct acl_resource *mine = arena_copy(&b->arena, r, sizeof(*r));
    mine->name = arena_str(&b->arena, r->name);
    zk_get(b, acl_resource_path(&b->arena, mine), false)->owner = mine;
}

/* The changes that a batch of reads brings, in its arena. */
static struct acl_change *changes_read(struct acl_watch *w, struct zk_batch *b, struct fail *first)
{
    struct acl_change *changes = ARENA_ARRAY(&b->arena, struct acl_change, b->count), *c = changes;
    struct fail fail;
    for (const struct zk_op *op = b->first; op != NULL; op = op->next, c++) {
        c->resource = *(const struct acl_resource *)op->owner;
        if (list_read(&b->arena, op, &c->list, &fail))
            continue;
        if (first->text[0] == '\0')
            fail_set(first, "The ACLs at %s cannot be read: %s", op->path, fail.text);
        c->list = unread_list(w, &c->resource, op->path, fail.text);
    }
    ensure(c == changes + b->count);
    return changes;
}

/* ---- Reading all ---- */

static void acl_watch_ready(struct acl_watch *w, const struct fail *fail)
{
    if (!w->loaded) {
        w->loaded = fail == NULL;
        w->options.loaded(w->options.ctx, fail);
    }
    FOREACH_PATTERN (p)
        notices_done(w->folders[p].notices);
}

static void take_all(struct acl_watch *w, const struct acl_change *changes, int32_t count)
{
    struct acl_set *empty = acl_set_new();
    publish_set(w, acl_set_with(empty, changes, count));
    acl_set_unref(empty);
    log_info("Read the ACLs of %d resources", acl_set_count(w->set));
}

static void on_all_read(struct zk_batch *b)
{
    struct acl_watch *w = b->ctx;
    struct fail first = {0};
    if (lists_are_answered(b)) {
        struct acl_change *changes = changes_read(w, b, &first);
        take_all(w, changes, (int32_t)b->count);
        acl_watch_ready(w, first.text[0] != '\0' ? &first : NULL);
    }
    zk_batch_free(b);
}

static void read_all_of(struct zk_batch *reads, const struct zk_op *list, enum acl_pattern p, enum acl_type t)
{
    for (int32_t i = 0; i < list->child_count; i++)
        acl_watch_read(reads, &(struct acl_resource){t, p, list->children[i]});
}

/* What could not even be listed: on the first time there is nothing to go on with. */
static bool folders_are_listed(struct zk_batch *b, struct fail *fail)
{
    for (const struct zk_op *op = b->first; op != NULL; op = op->next)
        if (op->result != ZK_OK && !(op->kind == ZK_CREATE && op->result == ZK_NODE_EXISTS))
            return fail_set(fail, "ZooKeeper does not let this broker use %s, where ACLs are", op->path);
    return true;
}

static void on_folders(struct zk_batch *b)
{
    struct acl_watch *w = b->ctx;
    struct fail fail;
    if (!lists_are_answered(b)) {
        zk_batch_free(b);
        return;
    }
    if (!folders_are_listed(b, &fail)) {
        log_warn("%s", fail.text);
        acl_watch_ready(w, &fail);
        zk_batch_free(b);
        return;
    }
    struct zk_batch *reads = zk_batch_new(on_all_read);
    reads->ctx = w;
    FOREACH_PATTERN (p) {
        notices_begin(w->folders[p].notices, b);
        FOREACH_TYPE (t)
            read_all_of(reads, zk_find(b, ZK_CHILDREN, acl_type_path(&b->arena, p, t)), p, t);
    }
    zk_batch_free(b);
    if (reads->count > 0)
        zk_submit(w->options.zk, reads);
    else
        on_all_read(reads);
}

static void make_folder(struct zk_batch *b, const char *path)
{
    zk_create(b, path, (struct bytes){NULL, 0}, ZK_PERSISTENT);
}

void acl_watch_start(struct acl_watch *w)
{
    struct zk_batch *b = zk_batch_new(on_folders);
    b->ctx = w;
    make_folder(b, "/kafka-acl-extended");
    FOREACH_PATTERN (p) {
        make_folder(b, acl_root(p));
        make_folder(b, acl_notices_folder(p));
        FOREACH_TYPE (t)
            make_folder(b, acl_type_path(&b->arena, p, t));
    }
    FOREACH_PATTERN (p)
        notices_list(w->folders[p].notices, b);
    FOREACH_PATTERN (p)
        FOREACH_TYPE (t)
            zk_children(b, acl_type_path(&b->arena, p, t), false);
    zk_submit(w->options.zk, b);
}

/* ---- Following ---- */

static void on_changed_read(struct zk_batch *b)
{
    struct acl_folder *f = b->ctx;
    struct fail first = {0};
    if (lists_are_answered(b))
        publish_changes(f->watch, changes_read(f->watch, b, &first), (int32_t)b->count);
    zk_batch_free(b);
    notices_done(f->notices);
}

static void acl_watch_on_notices(void *ctx, struct zk_batch *b)
{
    struct acl_folder *f = ctx;
    struct zk_batch *reads = zk_batch_new(on_changed_read);
    reads->ctx = f;
    for (const struct zk_op *op = b->first; op != NULL; op = op->next) {
        struct acl_resource r;
        if (op->result != ZK_OK)
            continue;
        if (acl_notice_decode(&b->arena, f->pattern, op->value, &r) && zk_name_is_legal(r.name))
            acl_watch_read(reads, &r);
        else
            log_warn("The notification at %s, of changed ACLs, is not understood: it is passed over", op->path);
    }
    zk_batch_free(b);
    if (reads->count > 0) {
        zk_submit(f->watch->options.zk, reads);
        return;
    }
    zk_batch_free(reads);
    notices_done(f->notices);
}

void acl_watch_changed(struct acl_watch *w, const char *path)
{
    FOREACH_PATTERN (p)
        if (strcmp(path, acl_notices_folder(p)) == 0)
            notices_changed(w->folders[p].notices);
}

/* ---- Changing ---- */

static void update_begin(struct acl_watch *w);

static void update_over(struct acl_watch *w, const char *error)
{
    struct acl_update *u = w->updates;
    DL_DELETE(w->updates, u);
    if (w->updates != NULL)
        update_begin(w);
    u->done(u, error);
}

static void update_again(struct acl_watch *w)
{
    if (++w->updates->tries >= MOST_TRIES)
        update_over(w, "others change this resource's ACLs all the time");
    else
        timer_start(&w->retry, RETRY_MS + (int64_t)chance_below(RETRY_SPREAD_MS));
}

static void on_retry(struct timer *t)
{
    update_begin(CONTAINER_OF(t, struct acl_watch, retry));
}

static void update_publish(struct acl_watch *w, const struct acl_entry *entries, int32_t count)
{
    const struct acl_resource *r = &w->updates->resource;
    publish_changes(w, &(struct acl_change){*r, count > 0 ? acl_list_new(r, entries, count) : NULL}, 1);
}

struct acl_writing {
    struct acl_watch *watch;
    const struct acl_entry *entries;
    int32_t count;
};

static void on_updated(struct zk_batch *b)
{
    const struct acl_writing *writing = b->ctx;
    struct acl_watch *w = writing->watch;
    enum zk_result result = b->first->result;
    if (result == ZK_OK)
        update_publish(w, writing->entries, writing->count);
    zk_batch_free(b);
    if (result == ZK_OK)
        update_over(w, NULL);
    else if (result == ZK_BAD_VERSION || result == ZK_NODE_EXISTS || result == ZK_NO_NODE)
        update_again(w);
    else
        update_over(w,
                    result == ZK_TOO_LARGE ? "they would be too large for ZooKeeper" : "ZooKeeper does not take them");
}

/* The node's new content, or its end, and the notification: both or none. */
static void update_write(struct acl_watch *w, const struct zk_op *read, const struct acl_entry *entries, int32_t count)
{
    const struct acl_resource *r = &w->updates->resource;
    struct zk_batch *b = zk_batch_new(on_updated);
    struct acl_writing *writing = ARENA_NEW(&b->arena, struct acl_writing);
    struct acl_entry *kept = arena_copy(&b->arena, entries, sizeof(*entries) * (size_t)MAX(count, 1));
    for (int32_t i = 0; i < count; i++) {
        kept[i].principal = arena_str(&b->arena, entries[i].principal);
        kept[i].host = arena_str(&b->arena, entries[i].host);
    }
    *writing = (struct acl_writing){w, kept, count};
    b->ctx = writing;
    struct bytes data = acl_encode(&b->arena, kept, count);
    struct zk_op *op = count == 0                   ? zk_delete(b, read->path, read->stat.version)
                       : read->result == ZK_NO_NODE ? zk_create(b, read->path, data, ZK_PERSISTENT)
                                                    : zk_set(b, read->path, data, read->stat.version);
    op->with_next = true;
    const char *notice = arena_printf(&b->arena, "%s/" ACL_NOTICE_PREFIX, acl_notices_folder(r->pattern)).p;
    zk_create(b, notice, acl_notice_encode(&b->arena, r), ZK_SEQUENTIAL);
    zk_submit(w->options.zk, b);
}

static void on_read_to_update(struct zk_batch *b)
{
    struct acl_watch *w = b->ctx;
    struct acl_update *u = w->updates;
    struct acl_entry *now = NULL, *then = NULL;
    int32_t count = 0, then_count = 0;
    struct fail fail;
    const struct zk_op *read = b->first;
    bool readable = read->result == ZK_NO_NODE ||
                    (read->result == ZK_OK && acl_decode(&b->arena, read->value, &now, &count, &fail));
    if (!readable) {
        update_over(w, read->result == ZK_OK ? "those that there are cannot be read" : "ZooKeeper does not answer");
    } else if (u->change(u, &b->arena, now, count, &then, &then_count)) {
        update_write(w, read, then, then_count);
    } else {
        update_publish(w, now, count);
        update_over(w, NULL);
    }
    zk_batch_free(b);
}

static void update_begin(struct acl_watch *w)
{
    struct zk_batch *b = zk_batch_new(on_read_to_update);
    b->ctx = w;
    acl_watch_read(b, &w->updates->resource);
    zk_submit(w->options.zk, b);
}

void acl_watch_update(struct acl_watch *w, struct acl_update *u)
{
    bool first = w->updates == NULL;
    u->tries = 0;
    DL_APPEND(w->updates, u);
    if (first)
        update_begin(w);
}

/* ---- The whole ---- */

struct acl_watch *acl_watch_new(const struct acl_watch_options *options)
{
    struct acl_watch *w = xcalloc(1, sizeof(*w));
    w->options = *options;
    w->set = acl_set_new();
    timer_init(&w->retry, options->loop, on_retry);
    FOREACH_PATTERN (p) {
        w->folders[p] = (struct acl_folder){.watch = w, .pattern = p};
        w->folders[p].notices = notices_new(&(struct notices_options){.zk = options->zk,
                                                                      .folder = acl_notices_folder(p),
                                                                      .prefix = ACL_NOTICE_PREFIX,
                                                                      .arrived = acl_watch_on_notices,
                                                                      .ctx = &w->folders[p]});
    }
    return w;
}

void acl_watch_free(struct acl_watch *w)
{
    if (w == NULL)
        return;
    timer_stop(&w->retry);
    FOREACH_PATTERN (p)
        notices_free(w->folders[p].notices);
    acl_set_unref(w->set);
    free(w);
}
