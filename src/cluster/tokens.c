#include "cluster/tokens.h"

#include <openssl/crypto.h>

#include "base/base64.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/lock.h"

struct token_keys { /* of a log-in; none as long as there is no salt */
    struct bytes salt, stored_key, server_key;
};

struct token_entry {
    struct arena memory; /* of the token */
    struct token token;
    int32_t version;
    uint8_t hmac[TOKEN_HMAC_SIZE];
    struct arena secrets;
    struct token_keys keys[SCRAM_MECHANISMS];
    struct token_life *life;
    bool is_listed; /* while all are taken */
    UT_hash_handle hh;
};

struct tokens {
    struct lock lock;
    char *secret;
    struct token_entry *table; /* by id */
};

struct tokens *tokens_new(const char *secret)
{
    struct tokens *t = xcalloc(1, sizeof(*t));
    lock_init(&t->lock, RANK_DELEGATION_TOKENS);
    t->secret = xstrdup(secret);
    return t;
}

static void remove_token(struct tokens *t, struct token_entry *e)
{
    HASH_DEL(t->table, e);
    token_life_end(e->life);
    token_life_unref(e->life);
    arena_wipe(&e->secrets);
    arena_deinit(&e->memory);
    OPENSSL_cleanse(e->hmac, sizeof(e->hmac));
    free(e);
}

void tokens_free(struct tokens *t)
{
    struct token_entry *e, *tmp;
    if (t == NULL)
        return;
    HASH_ITER (hh, t->table, e, tmp)
        remove_token(t, e);
    lock_deinit(&t->lock);
    OPENSSL_cleanse(t->secret, strlen(t->secret));
    free(t->secret);
    free(t);
}

static struct token_entry *token_entry_find(struct tokens *t, struct str id)
{
    struct token_entry *e;
    ensure(lock_is_held(&t->lock));
    HASH_FIND(hh, t->table, id.p, (size_t)id.len, e);
    return e;
}

/* ---- Changes ---- */

static struct token_entry *make_entry(struct tokens *t, const struct token *token)
{
    struct token_entry *e = xcalloc(1, sizeof(*e));
    token_hmac(t->secret, token->id, e->hmac);
    e->life = token_life_new(token_end(token));
    return e;
}

/* Its secrets and its sessions stay what they are: they hang on the id. */
static void token_entry_take(struct tokens *t, const struct token_read *read)
{
    struct token_entry *e = token_entry_find(t, read->token.id);
    struct arena memory = {0};
    struct token copy = token_copy(&memory, &read->token);
    if (e == NULL)
        e = make_entry(t, &copy);
    else
        HASH_DEL(t->table, e);
    arena_deinit(&e->memory);
    e->memory = memory;
    e->token = copy;
    e->version = read->version;
    e->is_listed = true;
    token_life_set(e->life, token_end(&copy));
    HASH_ADD_KEYPTR(hh, t->table, e->token.id.p, (size_t)e->token.id.len, e);
}

void tokens_take(struct tokens *t, const struct token_read *read)
{
    lock_take(&t->lock);
    token_entry_take(t, read);
    lock_release(&t->lock);
}

void tokens_take_all(struct tokens *t, const struct token_read *all, int32_t count)
{
    struct token_entry *e, *tmp;
    lock_take(&t->lock);
    HASH_ITER (hh, t->table, e, tmp)
        e->is_listed = false;
    for (int32_t i = 0; i < count; i++) {
        if (!all[i].is_unread)
            token_entry_take(t, &all[i]);
        else if ((e = token_entry_find(t, all[i].token.id)) != NULL)
            e->is_listed = true;
    }
    HASH_ITER (hh, t->table, e, tmp)
        if (!e->is_listed)
            remove_token(t, e);
    lock_release(&t->lock);
}

void tokens_drop(struct tokens *t, struct str id)
{
    lock_take(&t->lock);
    struct token_entry *e = token_entry_find(t, id);
    if (e != NULL)
        remove_token(t, e);
    lock_release(&t->lock);
}

/* ---- Questions ---- */

struct token *tokens_list(struct tokens *t, struct arena *a, int32_t *count)
{
    struct token_entry *e, *tmp;
    lock_take(&t->lock);
    struct token *all = ARENA_ARRAY(a, struct token, MAX(HASH_COUNT(t->table), 1U));
    *count = 0;
    HASH_ITER (hh, t->table, e, tmp)
        all[(*count)++] = token_copy(a, &e->token);
    lock_release(&t->lock);
    return all;
}

struct bytes tokens_hmac(const struct tokens *t, struct str id, struct arena *a)
{
    uint8_t *hmac = arena_alloc(a, TOKEN_HMAC_SIZE);
    token_hmac(t->secret, id, hmac);
    return (struct bytes){hmac, TOKEN_HMAC_SIZE};
}

bool tokens_find(struct tokens *t, struct bytes hmac, struct arena *a, struct str *id)
{
    struct token_entry *e, *tmp;
    *id = STR_NULL;
    if (hmac.len != TOKEN_HMAC_SIZE)
        return false;
    lock_take(&t->lock);
    HASH_ITER (hh, t->table, e, tmp)
        if (CRYPTO_memcmp(e->hmac, hmac.p, TOKEN_HMAC_SIZE) == 0)
            *id = arena_str(a, e->token.id);
    lock_release(&t->lock);
    return id->p != NULL;
}

struct token_read *tokens_over(struct tokens *t, int64_t now_ms, int32_t most, struct arena *a, int32_t *count)
{
    struct token_entry *e, *tmp;
    ensure(most > 0);
    struct token_read *over = ARENA_ARRAY(a, struct token_read, most);
    *count = 0;
    lock_take(&t->lock);
    HASH_ITER (hh, t->table, e, tmp)
        if (*count < most && token_is_over(&e->token, now_ms))
            over[(*count)++] = (struct token_read){.token = token_copy(a, &e->token), .version = e->version};
    lock_release(&t->lock);
    return over;
}

/* ---- Logging in ---- */

static struct token_keys copy_keys(struct arena *a, const struct token_keys *k)
{
    return (struct token_keys){{arena_copy(a, k->salt.p, (size_t)k->salt.len), k->salt.len},
                               {arena_copy(a, k->stored_key.p, (size_t)k->stored_key.len), k->stored_key.len},
                               {arena_copy(a, k->server_key.p, (size_t)k->server_key.len), k->server_key.len}};
}

static struct token_keys make_keys(enum scram_mechanism m, const uint8_t *hmac, struct arena *a)
{
    struct arena secrets = {0};
    struct strbuf password = {0};
    base64_add(&password, (struct bytes){hmac, TOKEN_HMAC_SIZE});
    struct str text = {password.p, (int32_t)password.len};
    struct scram_credential c = scram_credential_make(m, text, SCRAM_MIN_ITERATIONS, &secrets);
    struct token_keys keys = copy_keys(a, &(struct token_keys){c.salt, c.stored_key, c.server_key});
    arena_wipe(&secrets);
    OPENSSL_cleanse(password.p, password.len);
    strbuf_deinit(&password);
    return keys;
}

/* For those who come next. Another thread may have made some meanwhile, or the token may be no more. */
static void keep_keys(struct tokens *t, enum scram_mechanism m, struct str id, const struct token_keys *keys)
{
    lock_take(&t->lock);
    struct token_entry *e = token_entry_find(t, id);
    if (e != NULL && e->keys[m].salt.p == NULL)
        e->keys[m] = copy_keys(&e->secrets, keys);
    lock_release(&t->lock);
}

bool tokens_login(struct tokens *t, enum scram_mechanism m, struct str id, struct arena *a,
                  struct sasl_token_login *out)
{
    struct token_keys keys = {0};
    uint8_t hmac[TOKEN_HMAC_SIZE];
    int64_t now = clock_wall_ms();
    lock_take(&t->lock);
    const struct token_entry *e = token_entry_find(t, id);
    /* A name of another type is no user's, whoever may have been allowed to make a token for it. */
    bool is_good = e != NULL && !token_is_over(&e->token, now) && str_eq(e->token.owner.type, principal_anonymous.type);
    if (is_good) {
        *out = (struct sasl_token_login){
            .owner = arena_str(a, e->token.owner.name), .expires_ms = token_end(&e->token), .life = e->life};
        token_life_ref(e->life);
        memcpy(hmac, e->hmac, sizeof(hmac));
        if (e->keys[m].salt.p != NULL)
            keys = copy_keys(a, &e->keys[m]);
    }
    lock_release(&t->lock);
    if (!is_good)
        return false;
    if (keys.salt.p == NULL) {
        keys = make_keys(m, hmac, a);
        keep_keys(t, m, id, &keys);
    }
    OPENSSL_cleanse(hmac, sizeof(hmac));
    out->credential = (struct scram_credential){keys.salt, keys.stored_key, keys.server_key, SCRAM_MIN_ITERATIONS};
    return true;
}
