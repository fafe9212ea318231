#include "tools/kit/zk_nodes.h"

#include "cluster/config_watch.h"

bool zk_nodes_read(const struct zk_op *read, bool *there, struct fail *fail)
{
    const char *why = read->result == ZK_NO_AUTH           ? ": its ACL forbids it"
                      : read->result == ZK_SESSION_EXPIRED ? ": the session has expired"
                                                           : "";
    *there = read->result == ZK_OK;
    return *there || read->result == ZK_NO_NODE || fail_set(fail, "Cannot read %s in ZooKeeper%s", read->path, why);
}

bool zk_nodes_children(struct zk_session *s, struct arena *a, const char *path, struct str **out, int32_t *count,
                       struct fail *fail)
{
    bool there;
    struct zk_batch *b = zk_session_batch(s);
    zk_children(b, path, false);
    zk_session_run(s, b);
    bool ok = zk_nodes_read(b->first, &there, fail);
    *count = there ? b->first->child_count : 0;
    *out = ARENA_ARRAY(a, struct str, MAX(*count, 1));
    for (int32_t i = 0; i < *count; i++)
        (*out)[i] = arena_str(a, b->first->children[i]);
    zk_batch_free(b);
    return ok;
}

bool zk_nodes_brokers(struct zk_session *s, struct arena *a, struct registration **out, int32_t *count,
                      struct fail *fail)
{
    struct str *ids;
    int32_t n, kept = 0;
    char path[ZNODE_PATH_ROOM];
    if (!zk_nodes_children(s, a, ZNODE_BROKER_IDS, &ids, &n, fail))
        return false;
    *out = ARENA_ARRAY(a, struct registration, MAX(n, 1));
    struct zk_batch *b = zk_session_batch(s);
    for (int32_t i = 0; i < n; i++)
        zk_get(b, broker_path(path, atoi(arena_cstr(a, ids[i]))), false)->owner = &ids[i];
    if (n > 0)
        zk_session_run(s, b);
    bool ok = true;
    const struct zk_op *read;
    ZK_OWNED_FOREACH (b, read) {
        bool there;
        ok = ok && zk_nodes_read(read, &there, fail);
        if (ok && there)
            kept += registration_decode(a, atoi(arena_cstr(a, *(struct str *)read->owner)), read->value, &(*out)[kept]);
    }
    zk_batch_free(b);
    *count = kept;
    return ok;
}

bool zk_nodes_read_config(struct zk_session *s, struct arena *a, const char *type, const char *name,
                          struct config_znode *out, bool *there, struct fail *fail)
{
    char path[ZNODE_PATH_ROOM];
    struct zk_batch *b = zk_session_batch(s);
    *out = (struct config_znode){0};
    zk_get(b, config_path(path, type, name), false);
    zk_session_run(s, b);
    bool ok = zk_nodes_read(b->first, there, fail);
    if (ok && *there && !config_decode(a, path, b->first->value, out))
        ok = fail_set(fail, "The znode %s cannot be read", path);
    zk_batch_free(b);
    return ok;
}

/* The folders on the way, which no broker has made before the first one starts. */
static void make_way(struct zk_session *s, const char *path)
{
    struct zk_batch *b = zk_session_batch(s);
    for (const char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        const char *folder = arena_cstr(&b->arena, (struct str){path, (int32_t)(slash - path)});
        zk_create(b, folder, (struct bytes){NULL, 0}, ZK_PERSISTENT);
    }
    zk_create(b, ZNODE_CONFIG_CHANGES, (struct bytes){NULL, 0}, ZK_PERSISTENT);
    zk_session_run(s, b);
    zk_batch_free(b);
}

/* Kafka's brokers do the same: a user without settings is forgotten, unless there are some of clients below it. */
static bool forget_user(struct zk_session *s, const char *path)
{
    struct zk_batch *b = zk_session_batch(s);
    zk_delete(b, path, ZK_ANY_VERSION);
    zk_session_run(s, b);
    bool gone = b->first->result == ZK_OK;
    zk_batch_free(b);
    return gone;
}

bool zk_nodes_write_config(struct zk_session *s, const char *type, const char *name, const struct config_znode *config,
                           bool there, struct fail *fail)
{
    char path[ZNODE_PATH_ROOM];
    config_path(path, type, name);
    if (!there)
        make_way(s, path);
    bool forgotten = there && config->count == 0 && strcmp(type, "users") == 0 && forget_user(s, path);
    struct zk_batch *b = zk_session_batch(s);
    struct bytes data = config_encode(&b->arena, config);
    if (!there)
        zk_create(b, path, data, ZK_PERSISTENT);
    else if (!forgotten)
        zk_set(b, path, data, ZK_ANY_VERSION);
    struct str entity = arena_printf(&b->arena, "%s/%s", type, name);
    config_notify(b, entity.p);
    zk_session_run(s, b);
    bool ok = b->first->result == ZK_OK && b->last->result == ZK_OK;
    zk_batch_free(b);
    return ok || fail_set(fail, "ZooKeeper refused to store the configuration of %s/%s", type, name);
}
