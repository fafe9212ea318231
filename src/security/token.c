#include "security/token.h"

#include <openssl/hmac.h>
#include <stdatomic.h>

static struct principal token_copy_principal(struct arena *a, struct principal p)
{
    return (struct principal){arena_str(a, p.type), arena_str(a, p.name), false};
}

struct token token_copy(struct arena *a, const struct token *t)
{
    struct token copy = *t;
    copy.id = arena_str(a, t->id);
    copy.owner = token_copy_principal(a, t->owner);
    copy.requester = token_copy_principal(a, t->requester);
    copy.renewers = ARENA_ARRAY(a, struct principal, MAX(t->renewer_count, 1));
    for (int32_t i = 0; i < t->renewer_count; i++)
        copy.renewers[i] = token_copy_principal(a, t->renewers[i]);
    return copy;
}

void token_hmac(const char *secret, struct str id, uint8_t out[TOKEN_HMAC_SIZE])
{
    unsigned int size = TOKEN_HMAC_SIZE;
    const void *done =
        HMAC(EVP_sha512(), secret, (int)strlen(secret), (const uint8_t *)id.p, (size_t)id.len, out, &size);
    ensure(done != NULL && size == TOKEN_HMAC_SIZE);
}

/* ---- Rules ---- */

int64_t token_end(const struct token *t)
{
    return MIN(t->expires_ms, t->max_ms);
}

bool token_is_over(const struct token *t, int64_t now_ms)
{
    return token_end(t) < now_ms;
}

bool token_obeys(const struct token *t, struct principal who)
{
    bool found = principal_eq(t->owner, who);
    for (int32_t i = 0; !found && i < t->renewer_count; i++)
        found = principal_eq(t->renewers[i], who);
    return found;
}

bool token_concerns(const struct token *t, struct principal who)
{
    return principal_eq(t->requester, who) || token_obeys(t, who);
}

int64_t token_end_after(int64_t now_ms, int64_t period_ms, int64_t max_ms)
{
    return MIN(saturating_add(now_ms, period_ms), max_ms);
}

/* ---- Lives ---- */

struct token_life {
    atomic_int refs;
    _Atomic int64_t end_ms;
};

struct token_life *token_life_new(int64_t end_ms)
{
    struct token_life *l = xcalloc(1, sizeof(*l));
    atomic_init(&l->refs, 1);
    atomic_init(&l->end_ms, end_ms);
    return l;
}

void token_life_ref(struct token_life *l)
{
    atomic_fetch_add_explicit(&l->refs, 1, memory_order_relaxed);
}

void token_life_unref(struct token_life *l)
{
    if (l == NULL)
        return;
    int before = atomic_fetch_sub(&l->refs, 1);
    ensure(before > 0);
    if (before == 1)
        free(l);
}

void token_life_set(struct token_life *l, int64_t end_ms)
{
    atomic_store(&l->end_ms, end_ms);
}

void token_life_end(struct token_life *l)
{
    token_life_set(l, INT64_MIN);
}

bool token_life_is_over(const struct token_life *l, int64_t now_ms)
{
    return atomic_load(&l->end_ms) < now_ms;
}
