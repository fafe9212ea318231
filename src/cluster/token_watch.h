/*
 * The delegation tokens that ZooKeeper has: read as a whole before requests are served and after each session that was
 * lost, then one by one as notifications tell of changes; and written. On the session's loop.
 *
 * A node that cannot be understood is no token: nobody logs in by it, until it is written anew.
 */
#ifndef BARNABAS_CLUSTER_TOKEN_WATCH_H
#define BARNABAS_CLUSTER_TOKEN_WATCH_H

#include "base/loop.h"
#include "cluster/tokens.h"
#include "cluster/zk.h"
#include "protocol/error.h"

struct token_watch_options {
    struct loop *loop;
    struct zk *zk;
    struct tokens *tokens; /* what is known of them */
    int64_t check_interval_ms;
    /* Whether it is this broker that takes away those that are over. */
    bool (*cleans)(void *ctx);
    /* All are known. Once; `fail` is NULL, or says why they could not be read. */
    void (*loaded)(void *ctx, const struct fail *fail);
    void *ctx;
};

struct token_watch;

struct token_watch *token_watch_new(const struct token_watch_options *options);
void token_watch_free(struct token_watch *w);                      /* after the session was closed */
void token_watch_start(struct token_watch *w);                     /* with each new session */
bool token_watch_changed(struct token_watch *w, const char *path); /* a watch has fired; whether it is its own */
/* Takes away those that are over, if that is this broker's work; so it does every `check_interval_ms`. */
void token_watch_clean(struct token_watch *w);

/* ---- Changes. Each answers once by its callback, when it is written, known here, and told to all brokers. ---- */

struct token_call {
    enum kafka_error error;
    void (*done)(struct token_call *call);
    void *ctx;
};

/* A new one. */
struct token_creation {
    struct token_call call;
    struct token token;
};
void token_watch_create(struct token_watch *w, struct token_creation *c);

/*
 * Another end of the token with that HMAC, as `who` wants it. It is judged by what ZooKeeper has, so that of changes at
 * the same time none is lost; the caller tells what the period means.
 */
struct token_ending {
    struct token_call call;
    struct bytes hmac;
    struct principal who;
    int64_t period_ms; /* from now on */
    bool at_once;      /* instead: it is over, and taken away */
    int64_t end_ms;    /* the answer */
    int tries;         /* the watch's */
};
void token_watch_end(struct token_watch *w, struct token_ending *e);

#endif
