/* Batches of operations, as they are put together, and the names in their paths. */
#include "cluster/zk.h"

enum { FIRST_PRINTABLE = 0x20, DELETE = 0x7f };

struct zk_batch *zk_batch_new(void (*done)(struct zk_batch *batch))
{
    struct zk_batch *b = xcalloc(1, sizeof(*b));
    b->done = done;
    return b;
}

void zk_batch_free(struct zk_batch *b)
{
    if (b == NULL)
        return;
    arena_deinit(&b->arena);
    free(b);
}

static struct zk_op *add_op(struct zk_batch *b, enum zk_kind kind, const char *path)
{
    ensure(b->finished == 0 && (b->last == NULL) == (b->count == 0));
    struct zk_op *op = ARENA_NEW(&b->arena, struct zk_op);
    *op = (struct zk_op){.kind = kind, .version = ZK_ANY_VERSION};
    op->path = arena_cstr(&b->arena, str_of(path));
    if (b->last != NULL)
        b->last->next = op;
    else
        b->first = op;
    b->last = op;
    b->count++;
    return op;
}

static struct zk_op *add_read(struct zk_batch *b, enum zk_kind kind, const char *path, bool watch)
{
    struct zk_op *op = add_op(b, kind, path);
    op->watch = watch;
    return op;
}

struct zk_op *zk_get(struct zk_batch *b, const char *path, bool watch)
{
    return add_read(b, ZK_GET, path, watch);
}

struct zk_op *zk_children(struct zk_batch *b, const char *path, bool watch)
{
    return add_read(b, ZK_CHILDREN, path, watch);
}

struct zk_op *zk_exists(struct zk_batch *b, const char *path, bool watch)
{
    return add_read(b, ZK_EXISTS, path, watch);
}

static struct bytes copy_data(struct zk_batch *b, struct bytes data)
{
    if (data.p == NULL)
        return data;
    return (struct bytes){arena_copy(&b->arena, data.p, (size_t)data.len), data.len};
}

struct zk_op *zk_create(struct zk_batch *b, const char *path, struct bytes data, enum zk_create_mode mode)
{
    struct zk_op *op = add_op(b, ZK_CREATE, path);
    op->mode = mode;
    op->data = copy_data(b, data);
    return op;
}

struct zk_op *zk_set(struct zk_batch *b, const char *path, struct bytes data, int32_t version)
{
    struct zk_op *op = add_op(b, ZK_SET, path);
    op->data = copy_data(b, data);
    op->version = version;
    return op;
}

struct zk_op *zk_delete(struct zk_batch *b, const char *path, int32_t version)
{
    struct zk_op *op = add_op(b, ZK_DELETE, path);
    op->version = version;
    return op;
}

struct zk_op *zk_check(struct zk_batch *b, const char *path, int32_t version)
{
    struct zk_op *op = add_op(b, ZK_CHECK, path);
    op->version = version;
    return op;
}

struct zk_op *zk_protect(struct zk_batch *b, const char *path, bool own)
{
    struct zk_op *op = add_op(b, ZK_PROTECT, path);
    op->version = ZK_ANY_VERSION;
    op->own = own;
    return op;
}

struct zk_op *zk_get_acl(struct zk_batch *b, const char *path)
{
    return add_op(b, ZK_GET_ACL, path);
}

struct zk_op *zk_set_acl(struct zk_batch *b, const char *path, const struct zk_acl *acls, int32_t count,
                         int32_t version)
{
    struct zk_op *op = add_op(b, ZK_SET_ACL, path);
    op->acls = acls;
    op->acl_count = count;
    op->version = version;
    return op;
}

struct zk_op *zk_find(const struct zk_batch *b, enum zk_kind kind, const char *path)
{
    struct zk_op *op = b->first;
    while (op != NULL && (op->kind != kind || strcmp(op->path, path) != 0))
        op = op->next;
    ensure(op != NULL);
    return op;
}

bool zk_is_done(const struct zk_op *op)
{
    while (op->with_next && op->result == ZK_OK)
        op = op->next;
    return op->result == ZK_OK;
}

struct zk_op *zk_owned_from(struct zk_op *op)
{
    while (op != NULL && op->owner == NULL)
        op = op->next;
    return op;
}

const char *zk_child_path(struct zk_batch *b, const struct zk_op *list, int32_t i)
{
    return arena_printf(&b->arena, "%s/%.*s", list->path, STR_ARGS(list->children[i])).p;
}

/* U+0080 to U+009F, U+E000 to U+F8FF and U+FFF0 to U+FFFF, as UTF-8 has them. */
static bool is_forbidden(const uint8_t *p, int32_t left)
{
    if (left >= 2 && p[0] == 0xc2)
        return p[1] <= 0x9f;
    if (left >= 3 && p[0] == 0xef)
        return p[1] <= 0xa3 || (p[1] == 0xbf && p[2] >= 0xb0);
    return p[0] == 0xee;
}

bool zk_name_is_legal(struct str name)
{
    const uint8_t *p = (const uint8_t *)name.p;
    for (int32_t i = 0; i < name.len; i++)
        if (p[i] < FIRST_PRINTABLE || p[i] == DELETE || p[i] == '/' || is_forbidden(p + i, name.len - i))
            return false;
    return name.len > 0 && str_is_utf8(name) && !str_is(name, ".") && !str_is(name, "..");
}
