/* The node in ZooKeeper of the delegation token "i": what is understood of it is so again after it was written. */
#include "base/base.h"

#include "cluster/token_znodes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool same_token(const struct token *a, const struct token *b)
{
    bool same = str_eq(a->id, b->id) && principal_eq(a->owner, b->owner) && principal_eq(a->requester, b->requester) &&
                a->renewer_count == b->renewer_count && a->issued_ms == b->issued_ms && a->max_ms == b->max_ms &&
                a->expires_ms == b->expires_ms;
    for (int32_t i = 0; same && i < a->renewer_count; i++)
        same = principal_eq(a->renewers[i], b->renewers[i]);
    return same;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = {0};
    struct token token, again;
    struct fail fail = {.text = ""};
    if (token_decode(&a, STR_LIT("i"), (struct bytes){data, (int32_t)size}, &token, &fail)) {
        bool ok = token_decode(&a, STR_LIT("i"), token_encode(&a, &token), &again, &fail);
        ensure(ok && same_token(&token, &again));
    } else {
        ensure(fail.text[0] != '\0');
    }
    arena_deinit(&a);
    return 0;
}
