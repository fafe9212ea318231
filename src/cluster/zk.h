/*
 * The ZooKeeper session, asynchronous, on the control loop. The only folder that includes zookeeper.h;
 * simulated runs link an in-memory ensemble behind this header.
 *
 * Operations are sent in batches: pipelined, at most `zookeeper.max.in.flight.requests` at a time, in order. After
 * a lost connection, what has no answer is sent again as it was, so that an operation's own success can come
 * back as ZK_NODE_EXISTS or ZK_BAD_VERSION; who cares reads again. When the session expires, every operation
 * that is open ends with ZK_SESSION_EXPIRED. A session that comes to nothing, as the connection breaks again and again
 * before anything is answered, is given up as if it had expired.
 */
#ifndef BARNABAS_CLUSTER_ZK_H
#define BARNABAS_CLUSTER_ZK_H

#include "base/arena.h"
#include "base/fail.h"
#include "base/loop.h"
#include "base/strbuf.h"

struct metrics;
struct workers;
struct zk;
struct zk_protection;

enum zk_result {
    ZK_OK,
    ZK_NO_NODE,
    ZK_NODE_EXISTS,
    ZK_BAD_VERSION,
    ZK_NOT_EMPTY,
    ZK_SESSION_EXPIRED,
    ZK_NO_AUTH,
    ZK_INVALID_ACL,
    ZK_TOO_LARGE, /* for a server; it was not sent */
    ZK_UNDONE,    /* as something that was sent with it has failed */
    ZK_FAILED,    /* anything else; logged */
};

enum zk_kind {
    ZK_GET,
    ZK_CHILDREN,
    ZK_EXISTS,
    ZK_CREATE,
    ZK_SET,
    ZK_DELETE,
    ZK_CHECK,
    ZK_PROTECT,
    ZK_GET_ACL,
    ZK_SET_ACL
};

/* A multi is one sync of a server's log, however many operations it has; these stay far from the most that it takes. */
enum { ZK_ANY_VERSION = -1, ZK_MOST_TOGETHER = 128 };

/*
 * What a request may have of data. A server hangs up on those of more than its jute.maxbuffer, 1048575 bytes, and would
 * do so each time that they are sent again.
 */
enum { ZK_LARGEST_DATA = 1000000 };

enum zk_create_mode { ZK_PERSISTENT, ZK_EPHEMERAL, ZK_SEQUENTIAL, ZK_EPHEMERAL_SEQUENTIAL };

enum zk_permission {
    ZK_MAY_READ = 1,
    ZK_MAY_WRITE = 2,
    ZK_MAY_CREATE = 4,
    ZK_MAY_DELETE = 8,
    ZK_MAY_ADMINISTER = 16,
};

struct zk_acl {
    int32_t permissions; /* of enum zk_permission */
    const char *scheme, *id;
};

struct zk_stat {
    int32_t version; /* of the data */
    int64_t czxid, mzxid, ctime_ms;
    int64_t ephemeral_owner;
    int64_t pzxid, mtime_ms;
    int32_t children_version, acl_version, data_length, child_count;
};

struct zk_op {
    enum zk_kind kind;
    enum zk_create_mode mode;
    bool watch; /* get, children, exists: tell the watcher of the next change */
    const char *path;
    struct bytes data; /* create and set */
    int32_t version;   /* set, delete, check, set_acl */
    bool own;          /* protect */
    /*
     * create, set_acl: what the node gets, which lasts as long as the batch; NULL: what it has by default.
     * get_acl: what it has.
     */
    const struct zk_acl *acls;
    int32_t acl_count;
    /*
     * A fence: the operation is sent as a multi with a check of this path's version before it. If the
     * check fails, `fenced` is set. NULL: none.
     */
    const char *fence_path;
    int32_t fence_version;
    /*
     * Sent in one multi with the operation that follows it in the batch, `next`; both have each their result. Where one
     * fails nothing is done, and those beside it are ZK_UNDONE. At most ZK_MOST_TOGETHER.
     */
    bool with_next;
    void *owner; /* the sender's: whom the result belongs to; NULL: nobody */
    struct zk_op *next;

    enum zk_result result;
    bool fenced;
    struct zk_stat stat;  /* get, get_acl, exists, set, create (of one outside of a multi: ctime fields only) */
    struct bytes value;   /* get; p == NULL if the node holds null */
    struct str *children; /* children: names, unsorted */
    int32_t child_count;
    const char *created; /* create: the path, with its sequence number */
};

/*
 * A batch lives until done() was called, and usually is freed by it; its operations, and their strings, are in its
 * arena. What came of an operation is found by its owner, by a pointer that was kept when it was added, or by its
 * path (zk_find()), never by counting: which operations a batch has depends on what the sender knew.
 */
struct zk_batch {
    struct arena arena;
    struct zk_op *first, *last;
    size_t count;
    void (*done)(struct zk_batch *batch);
    void *ctx;   /* the sender's */
    bool gentle; /* may be large, and lets others by: a piece of it waits to be sent, then the next */
    size_t finished;
    /* The requests that are made of it. */
    struct zk_op *rest; /* of which none is yet */
    size_t begun;
};

struct zk_batch *zk_batch_new(void (*done)(struct zk_batch *batch));
void zk_batch_free(struct zk_batch *b);
/* Adds an operation, which stays where it is. Paths and data are copied. */
struct zk_op *zk_get(struct zk_batch *b, const char *path, bool watch);
struct zk_op *zk_children(struct zk_batch *b, const char *path, bool watch);
struct zk_op *zk_exists(struct zk_batch *b, const char *path, bool watch);
struct zk_op *zk_create(struct zk_batch *b, const char *path, struct bytes data, enum zk_create_mode mode);
struct zk_op *zk_set(struct zk_batch *b, const char *path, struct bytes data, int32_t version);
struct zk_op *zk_delete(struct zk_batch *b, const char *path, int32_t version);
struct zk_op *zk_check(struct zk_batch *b, const char *path, int32_t version);
/* Gives a znode the ACL that it would be made with where znodes are the brokers' own, or where they are not. */
struct zk_op *zk_protect(struct zk_batch *b, const char *path, bool own);
struct zk_op *zk_get_acl(struct zk_batch *b, const char *path);
struct zk_op *zk_set_acl(struct zk_batch *b, const char *path, const struct zk_acl *acls, int32_t count,
                         int32_t version);
bool zk_is_done(const struct zk_op *op); /* with all that follow it in its multi */
/* The operation of that kind on that path, which the batch has. */
struct zk_op *zk_find(const struct zk_batch *b, enum zk_kind kind, const char *path);
/* The path of the child that the listing has at `i`; in the batch's arena. */
const char *zk_child_path(struct zk_batch *b, const struct zk_op *list, int32_t i);
/* The operations that have an owner, in order: struct zk_op *op; ZK_OWNED_FOREACH (b, op) ... */
struct zk_op *zk_owned_from(struct zk_op *op); /* `op`, or the first behind it; NULL: none */
#define ZK_OWNED_FOREACH(b, op) for ((op) = zk_owned_from((b)->first); (op) != NULL; (op) = zk_owned_from((op)->next))

/* Whether a name from outside can be one element of a path: ZooKeeper's rule. */
bool zk_name_is_legal(struct str name);

/* Sends the batch, which is not empty, behind those that were sent before. */
void zk_submit(struct zk *zk, struct zk_batch *b);

struct zk_options {
    struct loop *loop;
    /* Where hosts are looked up, hands are shaken and logins made, outlived by the loop; NULL: in place. */
    struct workers *resolvers;
    struct zk_protection *protection; /* of which the session has a reference; NULL: none */
    struct metrics *metrics;          /* NULL: nobody counts */
    bool of_authorizer;               /* for those who count: it is not the broker's own session */
    const char *connect;              /* host:port,host:port/chroot */
    int32_t session_timeout_ms;
    int32_t max_in_flight;
    /* On the loop. A watch that was set has fired: something at `path` was changed, made or deleted. */
    void (*changed)(void *ctx, const char *path);
    /* The session is usable for the first time, and again after each expiry. */
    void (*session_started)(void *ctx);
    /* The session and its ephemeral nodes are gone; a new one is being made. Watches are gone, too. */
    void (*session_expired)(void *ctx);
    /* The connection is lost or back, the session perhaps still alive. */
    void (*connection)(void *ctx, bool connected);
    /* A server does not let this broker in. It will be tried again, and so will the others. NULL: nobody cares. */
    void (*refused)(void *ctx, const struct fail *why);
    void *ctx;
};

struct zk *zk_new(const struct zk_options *options);
/*
 * Closes the session, so that its ephemeral nodes go at once. What is open, and whatever is sent from now on, ends
 * with ZK_SESSION_EXPIRED.
 */
void zk_close(struct zk *zk);
void zk_free(struct zk *zk);
int64_t zk_session_id(const struct zk *zk);
bool zk_is_connected(const struct zk *zk);
/* Why there is no connection, as far as that is known, for people; empty otherwise. */
const char *zk_trouble(const struct zk *zk);

#endif
