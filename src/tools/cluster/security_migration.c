/*
 * zookeeper-security-migration: makes the znodes of a cluster its brokers' own, or everybody's. The roots are made
 * where they are missing; then each znode below them gets the ACL that a broker would give it, level by level.
 */
#include "cluster/zk_protection.h"
#include "tools/kit/tool.h"
#include "tools/kit/zk_session.h"

static const struct option_spec specs[] = {
    {"zookeeper.acl", OPTION_VALUE, "String", "REQUIRED: Whether znodes are to be 'secure' or 'unsecure'.", NULL},
    {"zookeeper.connect", OPTION_VALUE, "hostname:port,.../path", "The ZooKeeper servers.", "localhost:2181"},
    {"zookeeper.session.timeout", OPTION_VALUE, "ms", "The ZooKeeper session timeout.", "30000"},
    {"zookeeper.connection.timeout", OPTION_VALUE, "ms", "The ZooKeeper connection timeout.", "30000"},
    {"enable.path.check", OPTION_FLAG, NULL, "Change nothing if a root is missing, rather than make it.", NULL},
    {"zk-tls-config-file", OPTION_VALUE, "ZooKeeper TLS configuration",
     "Property file with zookeeper.ssl.* for TLS to ZooKeeper.", NULL},
};

static const char purpose[] = "Change who may change the znodes of a cluster.";

static const char controller[] = "/controller"; /* is made by who is elected */

/* What is below /consumers belongs to consumers. */
static const char *const roots[] = {"/admin",
                                    "/brokers",
                                    "/cluster",
                                    "/config",
                                    controller,
                                    "/controller_epoch",
                                    "/isr_change_notification",
                                    "/latest_producer_id_block",
                                    "/log_dir_event_notification",
                                    "/delegation_token",
                                    "/kafka-acl-extended",
                                    "/migration",
                                    "/feature",
                                    "/kafka-acl",
                                    "/kafka-acl-changes",
                                    "/kafka-acl-extended/prefixed",
                                    "/kafka-acl-extended-changes"};

struct migration {
    struct zk_session *session;
    struct arena arena;
    bool own;
    const char **paths, **found; /* of this level, and of the next */
    size_t count, found_count;
};

static void find_child(struct migration *m, const char *parent, struct str name)
{
    const char *path = arena_printf(&m->arena, "%s/%.*s", parent, STR_ARGS(name)).p;
    m->found = xrealloc(m->found, (m->found_count + 1) * sizeof(*m->found));
    m->found[m->found_count++] = path;
}

static bool protect_level(struct migration *m, struct fail *fail)
{
    struct zk_batch *b = zk_session_batch(m->session);
    bool ok = true;
    for (size_t i = 0; i < m->count; i++) {
        zk_protect(b, m->paths[i], m->own);
        zk_children(b, m->paths[i], false);
    }
    zk_session_run(m->session, b);
    for (struct zk_op *op = b->first; op != NULL; op = op->next) {
        if (op->result != ZK_OK && op->result != ZK_NO_NODE) /* which may have gone meanwhile */
            ok = fail_set(fail, "The ACL of %s cannot be changed%s", op->path,
                          op->result == ZK_NO_AUTH ? ": it belongs to somebody else" : "");
        for (int32_t i = 0; op->kind == ZK_CHILDREN && op->result == ZK_OK && i < op->child_count; i++)
            find_child(m, op->path, op->children[i]);
    }
    zk_batch_free(b);
    return ok;
}

static bool protect_all(struct migration *m, struct fail *fail)
{
    bool ok = true;
    m->count = ARRAY_LEN(roots);
    m->paths = xcalloc(m->count, sizeof(*m->paths));
    memcpy(m->paths, roots, sizeof(roots));
    while (ok && m->count > 0) {
        ok = protect_level(m, fail);
        free(m->paths);
        m->paths = m->found;
        m->count = m->found_count;
        m->found = NULL;
        m->found_count = 0;
    }
    free(m->paths);
    return ok;
}

static bool check_roots(struct migration *m, struct fail *fail)
{
    struct zk_batch *b = zk_session_batch(m->session);
    bool ok = true;
    for (size_t i = 0; i < ARRAY_LEN(roots); i++)
        if (roots[i] != controller)
            zk_exists(b, roots[i], false);
    zk_session_run(m->session, b);
    for (struct zk_op *op = b->first; op != NULL && ok; op = op->next)
        ok = op->result == ZK_OK || fail_set(fail, "%s is missing, and nothing was changed", op->path);
    zk_batch_free(b);
    return ok;
}

/* The root of all of them alone, too: what is below it need not be a broker's. */
static bool make_roots(struct migration *m, struct fail *fail)
{
    struct zk_batch *b = zk_session_batch(m->session);
    bool ok = true;
    zk_protect(b, "/", m->own);
    for (size_t i = 0; i < ARRAY_LEN(roots); i++)
        if (roots[i] != controller)
            zk_create(b, roots[i], (struct bytes){0}, ZK_PERSISTENT);
    zk_session_run(m->session, b);
    for (struct zk_op *op = b->first; op != NULL && ok; op = op->next)
        ok = op->result == ZK_OK || op->result == ZK_NODE_EXISTS || fail_set(fail, "%s cannot be changed", op->path);
    zk_batch_free(b);
    return ok;
}

/* Who has no name for ZooKeeper would give znodes to nobody. */
static bool migration_check_name(const char *tls_file, struct fail *fail)
{
    struct zk_protection *p = zk_protection_of_tool(tls_file, fail);
    bool named = p != NULL && p->own_znodes;
    if (p != NULL && !named)
        fail_set(fail,
                 "No JAAS configuration file with a section Client has been specified and no TLS client certificate "
                 "has been specified. Set -Djava.security.auth.login.config in KAFKA_OPTS, or zookeeper.ssl.* by "
                 "--zk-tls-config-file");
    zk_protection_unref(p);
    return named;
}

static bool migrate(const struct options *o, struct fail *fail)
{
    const char *tls_file = options_get(o, "zk-tls-config-file");
    int64_t session_ms = 0, connection_ms = 0;
    if (!options_number(o, "zookeeper.session.timeout", 1, INT32_MAX, &session_ms) ||
        !options_number(o, "zookeeper.connection.timeout", 1, INT32_MAX, &connection_ms))
        return fail_set(fail, "a time-out is no number");
    if (!migration_check_name(tls_file, fail))
        return false;
    struct migration m = {.own = strcmp(options_get(o, "zookeeper.acl"), "secure") == 0};
    m.session = zk_session_open_within(options_get(o, "zookeeper.connect"), tls_file, (int32_t)session_ms,
                                       (int32_t)connection_ms, fail);
    bool ok = m.session != NULL && (!options_has(o, "enable.path.check") || check_roots(&m, fail)) &&
              make_roots(&m, fail) && protect_all(&m, fail);
    zk_session_close(m.session);
    arena_deinit(&m.arena);
    return ok;
}

static int run_migration(const struct options *o)
{
    struct fail fail = {0};
    const char *acl = options_get(o, "zookeeper.acl");
    if (acl == NULL || (strcmp(acl, "secure") != 0 && strcmp(acl, "unsecure") != 0))
        return options_complain(o, "--zookeeper.acl is secure or unsecure");
    if (migrate(o, &fail))
        return 0;
    fprintf(stderr, "ERROR: %s\n", fail.text);
    return 1;
}

int tool_security_migration(int argc, char **argv)
{
    struct options o;
    int code = OPTIONS_PARSE(&o, specs, argc, argv, purpose);
    if (code < 0)
        code = run_migration(&o);
    options_free(&o);
    return code;
}
