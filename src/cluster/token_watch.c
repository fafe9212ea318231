/*
 * Reading all: the folders are made if they are missing, listed, then each node is read. The folder of notifications is
 * listed first, with a watch, so that no change falls in between.
 *
 * A change: the node is read, judged, and written together with the notification, on condition that nobody has written
 * it meanwhile; if somebody has, all of that again. The own notification has this broker read the node once more, as
 * any other does: so what is known here is right even where an older answer has come late.
 */
#include "cluster/token_watch.h"

#include "base/clock.h"
#include "base/logger.h"
#include "cluster/notices.h"
#include "cluster/token_znodes.h"

/* Others want something of the session in between, so that not all are taken away at once. */
enum { MOST_TRIES = 11, CLEANED_AT_ONCE = 100 };

struct token_watch {
    struct token_watch_options options;
    struct notices *notices;
    struct timer check;
    bool loaded, cleaning;
};

/* ---- Nodes as they are read ---- */

static struct zk_op *read_token(struct zk_batch *b, struct str id)
{
    struct str *owner = ARENA_NEW(&b->arena, struct str);
    struct zk_op *op = zk_get(b, token_path(&b->arena, id), false);
    *owner = arena_str(&b->arena, id);
    op->owner = owner;
    return op;
}

/* False: there is no such token, or none that is understood. */
static bool token_of_op(struct arena *a, const struct zk_op *op, struct token_read *out)
{
    struct fail fail;
    if (op->result != ZK_OK)
        return false;
    out->version = op->stat.version;
    if (token_decode(a, *(const struct str *)op->owner, op->value, &out->token, &fail))
        return true;
    log_error("The delegation token at %s cannot be read, so that nobody logs in by it: %s", op->path, fail.text);
    return false;
}

/* Which is not to say that there is none: sessions by it do not end. */
static bool is_unread(const struct zk_op *op, struct token_read *out)
{
    static struct log_limit limit;
    if (op->result == ZK_OK || op->result == ZK_NO_NODE)
        return false;
    log_error_limited(&limit, "The delegation token at %s cannot be read now%s", op->path,
                      op->result == ZK_NO_AUTH ? ": ZooKeeper does not let this broker" : "");
    *out = (struct token_read){.token.id = *(const struct str *)op->owner, .is_unread = true};
    return true;
}

static bool session_has_lasted(const struct zk_batch *b)
{
    for (const struct zk_op *op = b->first; op != NULL; op = op->next)
        if (op->result == ZK_SESSION_EXPIRED)
            return false;
    return true;
}

/* ---- Reading all ---- */

static void token_watch_ready(struct token_watch *w, const struct fail *fail)
{
    if (!w->loaded) {
        w->loaded = fail == NULL;
        w->options.loaded(w->options.ctx, fail);
    }
    notices_done(w->notices);
}

static void on_all_tokens(struct zk_batch *b)
{
    struct token_watch *w = b->ctx;
    if (session_has_lasted(b)) {
        struct token_read *all = ARENA_ARRAY(&b->arena, struct token_read, MAX(b->count, (size_t)1));
        int32_t count = 0;
        for (const struct zk_op *op = b->first; op != NULL; op = op->next)
            count += is_unread(op, &all[count]) || token_of_op(&b->arena, op, &all[count]);
        tokens_take_all(w->options.tokens, all, count);
        log_info("Read %d delegation tokens", count);
        token_watch_ready(w, NULL);
    }
    zk_batch_free(b);
}

static bool token_folders_are_listed(const struct zk_batch *b, struct fail *fail)
{
    for (const struct zk_op *op = b->first; op != NULL; op = op->next)
        if (op->result != ZK_OK && !(op->kind == ZK_CREATE && op->result == ZK_NODE_EXISTS))
            return fail_set(fail, "ZooKeeper does not let this broker use %s, where delegation tokens are", op->path);
    return true;
}

static void on_token_folders(struct zk_batch *b)
{
    struct token_watch *w = b->ctx;
    struct fail fail;
    if (!session_has_lasted(b)) {
        zk_batch_free(b);
        return;
    }
    if (!token_folders_are_listed(b, &fail)) {
        log_warn("%s", fail.text);
        token_watch_ready(w, &fail);
        zk_batch_free(b);
        return;
    }
    struct zk_batch *reads = zk_batch_new(on_all_tokens);
    const struct zk_op *list = zk_find(b, ZK_CHILDREN, ZNODE_TOKENS);
    reads->ctx = w;
    notices_begin(w->notices, b);
    for (int32_t i = 0; i < list->child_count; i++)
        read_token(reads, list->children[i]);
    zk_batch_free(b);
    if (reads->count > 0)
        zk_submit(w->options.zk, reads);
    else
        on_all_tokens(reads);
}

void token_watch_start(struct token_watch *w)
{
    struct zk_batch *b = zk_batch_new(on_token_folders);
    struct bytes nothing = {NULL, 0};
    b->ctx = w;
    zk_create(b, ZNODE_TOKEN_ROOT, nothing, ZK_PERSISTENT);
    zk_create(b, ZNODE_TOKEN_CHANGES, nothing, ZK_PERSISTENT);
    zk_create(b, ZNODE_TOKENS, nothing, ZK_PERSISTENT);
    notices_list(w->notices, b);
    zk_children(b, ZNODE_TOKENS, false);
    zk_submit(w->options.zk, b);
}

/* ---- Following ---- */

static void on_changed_tokens(struct zk_batch *b)
{
    struct token_watch *w = b->ctx;
    struct token_read read;
    for (const struct zk_op *op = b->first; op != NULL; op = op->next) {
        if (token_of_op(&b->arena, op, &read))
            tokens_take(w->options.tokens, &read);
        else if (op->result == ZK_OK || op->result == ZK_NO_NODE)
            tokens_drop(w->options.tokens, *(const struct str *)op->owner);
    }
    zk_batch_free(b);
    notices_done(w->notices);
}

static void token_watch_on_notices(void *ctx, struct zk_batch *b)
{
    struct token_watch *w = ctx;
    struct zk_batch *reads = zk_batch_new(on_changed_tokens);
    reads->ctx = w;
    for (const struct zk_op *op = b->first; op != NULL; op = op->next) {
        struct str id = {(const char *)op->value.p, op->value.len};
        if (op->result != ZK_OK)
            continue;
        if (id.len > 0 && zk_name_is_legal(id))
            read_token(reads, id);
        else
            log_warn("The notification at %s, of a changed delegation token, is not understood: it is passed over",
                     op->path);
    }
    zk_batch_free(b);
    if (reads->count > 0) {
        zk_submit(w->options.zk, reads);
        return;
    }
    zk_batch_free(reads);
    notices_done(w->notices);
}

bool token_watch_changed(struct token_watch *w, const char *path)
{
    bool is_own = strcmp(path, ZNODE_TOKEN_CHANGES) == 0;
    if (is_own)
        notices_changed(w->notices);
    return is_own;
}

/* ---- Writing ---- */

/* What is done to a token's node, and the notification of it: both or neither. */
static void notify_with(struct zk_batch *b, struct zk_op *write, struct str id)
{
    write->with_next = true;
    zk_create(b, ZNODE_TOKEN_CHANGES "/" TOKEN_CHANGE_PREFIX, (struct bytes){(const uint8_t *)id.p, id.len},
              ZK_SEQUENTIAL);
}

static void token_call_over(struct token_call *call, enum kafka_error error)
{
    call->error = error;
    call->done(call);
}

struct token_writing {
    struct token_watch *watch;
    struct token_call *call;
    struct token_read written;
};

static struct zk_batch *writing_begin(struct token_watch *w, struct token_call *call, void (*done)(struct zk_batch *b),
                                      struct token_writing **out)
{
    struct zk_batch *b = zk_batch_new(done);
    struct token_writing *writing = *out = ARENA_NEW(&b->arena, struct token_writing);
    *writing = (struct token_writing){.watch = w, .call = call};
    b->ctx = writing;
    return b;
}

static enum kafka_error unwritten(const struct token *t, enum zk_result result)
{
    log_warn("The delegation token %.*s is not changed: %s", STR_ARGS(t->id),
             result == ZK_TOO_LARGE ? "it would be too large for ZooKeeper" : "ZooKeeper does not take it");
    return ERR_UNKNOWN_SERVER_ERROR;
}

/* Its id is nobody else's: if it is there already, that is the answer to an earlier attempt that was lost. */
static void on_created(struct zk_batch *b)
{
    const struct token_writing *writing = b->ctx;
    struct token_call *call = writing->call;
    const struct token *t = &writing->written.token;
    enum zk_result result = b->first->result;
    bool ok = result == ZK_OK || result == ZK_NODE_EXISTS;
    if (ok)
        tokens_take(writing->watch->options.tokens, &writing->written);
    if (ok)
        log_info("Created the delegation token %.*s for %.*s:%.*s", STR_ARGS(t->id), STR_ARGS(t->owner.type),
                 STR_ARGS(t->owner.name));
    enum kafka_error error = ok ? ERR_NONE : unwritten(t, result);
    zk_batch_free(b);
    token_call_over(call, error);
}

void token_watch_create(struct token_watch *w, struct token_creation *c)
{
    struct token_writing *writing;
    struct zk_batch *b = writing_begin(w, &c->call, on_created, &writing);
    writing->written.token = c->token;
    notify_with(b, zk_create(b, token_path(&b->arena, c->token.id), token_encode(&b->arena, &c->token), ZK_PERSISTENT),
                c->token.id);
    zk_submit(w->options.zk, b);
}

/* ---- Another end ---- */

static void end_again(struct token_watch *w, struct token_ending *e)
{
    if (++e->tries < MOST_TRIES) {
        token_watch_end(w, e);
        return;
    }
    log_warn("A delegation token is not changed: others change it all the time");
    token_call_over(&e->call, ERR_UNKNOWN_SERVER_ERROR);
}

static void on_end_written(struct zk_batch *b)
{
    const struct token_writing *writing = b->ctx;
    struct token_watch *w = writing->watch;
    struct token_ending *e = CONTAINER_OF(writing->call, struct token_ending, call);
    struct str id = writing->written.token.id;
    enum zk_result result = b->first->result;
    enum kafka_error error = ERR_NONE;
    bool ok = result == ZK_OK || (result == ZK_NO_NODE && e->at_once);
    bool overtaken = !ok && (result == ZK_BAD_VERSION || result == ZK_NO_NODE);
    if (ok && e->at_once)
        tokens_drop(w->options.tokens, id);
    else if (ok)
        tokens_take(w->options.tokens, &writing->written);
    else if (!overtaken)
        error = unwritten(&writing->written.token, result);
    if (ok)
        log_info("The delegation token %.*s %s", STR_ARGS(id), e->at_once ? "is revoked" : "has another end");
    zk_batch_free(b);
    if (overtaken)
        end_again(w, e);
    else
        token_call_over(&e->call, error);
}

static void write_end(struct token_watch *w, struct token_ending *e, const struct token_read *read, int64_t now)
{
    struct token_writing *writing;
    struct zk_batch *b = writing_begin(w, &e->call, on_end_written, &writing);
    const char *path = token_path(&b->arena, read->token.id);
    writing->written = (struct token_read){.token = token_copy(&b->arena, &read->token), .version = read->version + 1};
    struct token *t = &writing->written.token;
    e->end_ms = e->at_once ? now : token_end_after(now, e->period_ms, t->max_ms);
    t->expires_ms = e->end_ms;
    struct zk_op *op =
        e->at_once ? zk_delete(b, path, read->version) : zk_set(b, path, token_encode(&b->arena, t), read->version);
    notify_with(b, op, t->id);
    zk_submit(w->options.zk, b);
}

/* Who may not change it does not learn more of it than that. One that is over can still be taken away. */
static enum kafka_error judge_end(const struct token_ending *e, const struct token *t, int64_t now)
{
    if (!token_obeys(t, e->who))
        return ERR_DELEGATION_TOKEN_OWNER_MISMATCH;
    return token_is_over(t, now) && !e->at_once ? ERR_DELEGATION_TOKEN_EXPIRED : ERR_NONE;
}

static void on_read_to_end(struct zk_batch *b)
{
    const struct token_writing *writing = b->ctx;
    struct token_watch *w = writing->watch;
    struct token_ending *e = CONTAINER_OF(writing->call, struct token_ending, call);
    struct token_read read;
    int64_t now = clock_wall_ms();
    enum kafka_error error = ERR_UNKNOWN_SERVER_ERROR;
    if (b->first->result == ZK_NO_NODE) {
        tokens_drop(w->options.tokens, *(const struct str *)b->first->owner);
        error = ERR_DELEGATION_TOKEN_NOT_FOUND;
    } else if (token_of_op(&b->arena, b->first, &read)) {
        error = judge_end(e, &read.token, now);
    }
    if (error == ERR_NONE)
        write_end(w, e, &read, now);
    zk_batch_free(b);
    if (error != ERR_NONE)
        token_call_over(&e->call, error);
}

void token_watch_end(struct token_watch *w, struct token_ending *e)
{
    struct token_writing *writing;
    struct zk_batch *b = writing_begin(w, &e->call, on_read_to_end, &writing);
    struct str id;
    if (!tokens_find(w->options.tokens, e->hmac, &b->arena, &id)) {
        zk_batch_free(b);
        token_call_over(&e->call, ERR_DELEGATION_TOKEN_NOT_FOUND);
        return;
    }
    read_token(b, id);
    zk_submit(w->options.zk, b);
}

/* ---- Taking away what is over ---- */

static void clean_on(struct token_watch *w);

/* One that somebody has renewed meanwhile stays, and is read again as its notification comes. */
static void token_watch_on_cleaned(struct zk_batch *b)
{
    struct token_watch *w = b->ctx;
    const struct zk_op *op;
    int32_t gone = 0;
    ZK_OWNED_FOREACH (b, op) {
        if (op->result != ZK_OK && op->result != ZK_NO_NODE)
            continue;
        struct str id = *(const struct str *)op->owner;
        log_info("The delegation token %.*s is over and gone", STR_ARGS(id));
        tokens_drop(w->options.tokens, id);
        gone++;
    }
    zk_batch_free(b);
    ensure(w->cleaning);
    w->cleaning = false;
    if (gone == CLEANED_AT_ONCE)
        clean_on(w);
}

static void clean_on(struct token_watch *w)
{
    struct zk_batch *b = zk_batch_new(token_watch_on_cleaned);
    int32_t count;
    ensure(w->loaded && !w->cleaning);
    b->ctx = w;
    struct token_read *over = tokens_over(w->options.tokens, clock_wall_ms(), CLEANED_AT_ONCE, &b->arena, &count);
    for (int32_t i = 0; i < count; i++) {
        struct zk_op *op = zk_delete(b, token_path(&b->arena, over[i].token.id), over[i].version);
        op->owner = &over[i].token.id;
        notify_with(b, op, over[i].token.id);
    }
    w->cleaning = count > 0;
    if (count > 0)
        zk_submit(w->options.zk, b);
    else
        zk_batch_free(b);
}

void token_watch_clean(struct token_watch *w)
{
    if (!w->cleaning && w->loaded && w->options.cleans(w->options.ctx))
        clean_on(w);
}

static void on_check(struct timer *t)
{
    struct token_watch *w = CONTAINER_OF(t, struct token_watch, check);
    token_watch_clean(w);
    timer_start(&w->check, w->options.check_interval_ms);
}

/* ---- The whole ---- */

struct token_watch *token_watch_new(const struct token_watch_options *options)
{
    struct token_watch *w = xcalloc(1, sizeof(*w));
    w->options = *options;
    w->notices = notices_new(&(struct notices_options){.zk = options->zk,
                                                       .folder = ZNODE_TOKEN_CHANGES,
                                                       .prefix = TOKEN_CHANGE_PREFIX,
                                                       .arrived = token_watch_on_notices,
                                                       .ctx = w});
    timer_init(&w->check, options->loop, on_check);
    timer_start(&w->check, w->options.check_interval_ms);
    return w;
}

void token_watch_free(struct token_watch *w)
{
    if (w == NULL)
        return;
    timer_stop(&w->check);
    notices_free(w->notices);
    free(w);
}
