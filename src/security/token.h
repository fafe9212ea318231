/*
 * Delegation tokens (KIP-48, KIP-373): who holds one acts for its owner, without knowing the owner's secrets.
 *
 *     id      a random UUID, 22 characters; no secret
 *     hmac    HMAC-SHA512 of the id under delegation.token.secret.key, which all brokers have; the secret of the token.
 *             Its base64 is the password of the id in SCRAM with the extension tokenauth=true
 *
 * A token has an end, which its owner and its renewers may put off until the token's last day, or bring nearer. Nothing
 * here reads or logs: cluster/token_watch.h keeps a table of tokens like ZooKeeper's, server/delegation_tokens.c
 * changes them.
 */
#ifndef BARNABAS_TOKEN_H
#define BARNABAS_TOKEN_H

#include "base/arena.h"
#include "security/principal.h"

enum { TOKEN_HMAC_SIZE = 64 };

/* As ZooKeeper has it; times in ms since 1970. Texts are in an arena, or in the memory that they were found in. */
struct token {
    struct str id;
    struct principal owner;
    struct principal requester; /* who has made it for the owner */
    struct principal *renewers;
    int32_t renewer_count;
    int64_t issued_ms, max_ms; /* made, and over at the latest */
    int64_t expires_ms;        /* over, unless it is renewed */
};

/* All of it in the arena. */
struct token token_copy(struct arena *a, const struct token *t);
void token_hmac(const char *secret, struct str id, uint8_t out[TOKEN_HMAC_SIZE]);

/* The last ms at which it is good. */
int64_t token_end(const struct token *t);
bool token_is_over(const struct token *t, int64_t now_ms);
/* Who may see the token as its own: owner, requester and renewers. */
bool token_concerns(const struct token *t, struct principal who);
/* Who may give it another end: owner and renewers. */
bool token_obeys(const struct token *t, struct principal who);
/* The end that a period from now comes to: not after the last day, whatever the period is. */
int64_t token_end_after(int64_t now_ms, int64_t period_ms, int64_t max_ms);

/*
 * Until when a token is good, as everybody sees it who has a reference: the table of tokens, which sets it, and the
 * sessions that were opened by it, which end with it. Any thread.
 */
struct token_life;
struct token_life *token_life_new(int64_t end_ms);
void token_life_ref(struct token_life *l);
void token_life_unref(struct token_life *l); /* NULL is none */
void token_life_set(struct token_life *l, int64_t end_ms);
void token_life_end(struct token_life *l); /* it is revoked */
bool token_life_is_over(const struct token_life *l, int64_t now_ms);

#endif
