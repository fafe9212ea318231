/*
 * The delegation tokens that there are (security/token.h), as ZooKeeper has them, and what it takes to log in by one.
 * Any thread, but for changes, which are the watch's (cluster/token_watch.h).
 *
 * What a log-in is compared with costs thousands of hashes. So it is made when somebody comes with the token for the
 * first time, by the thread that asks, and kept.
 */
#ifndef BARNABAS_CLUSTER_TOKENS_H
#define BARNABAS_CLUSTER_TOKENS_H

#include "security/sasl.h"
#include "security/token.h"

struct tokens;
struct tokens *tokens_new(const char *secret);
void tokens_free(struct tokens *t);

/* ---- Changes ---- */

struct token_read {
    struct token token;
    int32_t version; /* of its node */
    bool is_unread;  /* it is there, and could not be read: only its id is known */
};

/* It is so from now on: its sessions end when it says so. */
void tokens_take(struct tokens *t, const struct token_read *read);
/* There are these and no others. One that could not be read stays what it was. */
void tokens_take_all(struct tokens *t, const struct token_read *all, int32_t count);
/* It is no more: its sessions end. */
void tokens_drop(struct tokens *t, struct str id);

/* ---- Questions; answers are in the arena ---- */

struct token *tokens_list(struct tokens *t, struct arena *a, int32_t *count);
/* What the token of that id is known by; there need be none. */
struct bytes tokens_hmac(const struct tokens *t, struct str id, struct arena *a);
/* False: no token has it. The search takes as long whatever it looks like. */
bool tokens_find(struct tokens *t, struct bytes hmac, struct arena *a, struct str *id) NODISCARD;
/* At most `most` of those that are over. */
struct token_read *tokens_over(struct tokens *t, int64_t now_ms, int32_t most, struct arena *a, int32_t *count);
/* False: there is no such token, or it is over, or its owner is none that can log in. */
bool tokens_login(struct tokens *t, enum scram_mechanism mechanism, struct str id, struct arena *a,
                  struct sasl_token_login *out) NODISCARD;

#endif
