/*
 * Delegation tokens in ZooKeeper: a node for each, and notifications of changed ones.
 *
 *     /delegation_token/tokens/ID {"version":3,"owner":"User%3Aalice","tokenRequester":"User%3Abob",
 *                                                        "renewers":["User%3Acarol"],"issueTimestamp":1,
 *                                                        "maxTimestamp":3,"expiryTimestamp":2,"tokenId":"ID"}
 *     /delegation_token/token_changes/token_change_N    ID
 *
 * Before version 3 owners have made their tokens themselves.
 */
#ifndef BARNABAS_CLUSTER_TOKEN_ZNODES_H
#define BARNABAS_CLUSTER_TOKEN_ZNODES_H

#include "base/fail.h"
#include "security/token.h"

#define ZNODE_TOKEN_ROOT "/delegation_token"
#define ZNODE_TOKENS "/delegation_token/tokens"
#define ZNODE_TOKEN_CHANGES "/delegation_token/token_changes"
#define TOKEN_CHANGE_PREFIX "token_change_"

const char *token_path(struct arena *a, struct str id);
struct bytes token_encode(struct arena *a, const struct token *t);
/* The token of that id, in the arena. False, with the reason: the node holds none, or another's. */
bool token_decode(struct arena *a, struct str id, struct bytes data, struct token *out, struct fail *fail) NODISCARD;

#endif
