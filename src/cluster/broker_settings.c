/*
 * Whoever wants to know how it is now holds a configuration for a moment, which is counted: one that has been replaced
 * goes when the last of them has let go of it.
 *
 * Passwords are encrypted in ZooKeeper with password.encoder.secret, as there everybody may read them. One that cannot
 * be decrypted is left out with a line in the log; all else counts.
 */
#include "cluster/broker_settings.h"

#include <stdatomic.h>

#include "base/lock.h"
#include "base/logger.h"
#include "security/password_encoder.h"

struct held {
    atomic_int refs;
    struct broker_config config;
};

struct broker_settings {
    const struct broker_config *base;
    struct lock lock; /* guards all below */
    struct held *current;
    bool ignores;  /* `current` is without the latest of `scopes`, which make no valid configuration */
    struct scope { /* changed by who takes what ZooKeeper has, who alone may look at it without the lock */
        struct config_znode sealed, pairs;
        struct arena memory;
    } scopes[2];
};

static void settings_warn(void *ctx UNUSED, const char *line)
{
    log_warn("%s", line);
}

static struct held *derive(const struct broker_settings *s, struct fail *fail)
{
    const struct config_znode *all = &s->scopes[SETTINGS_OF_ALL].pairs, *own = &s->scopes[SETTINGS_OF_THIS].pairs;
    struct held *h = xcalloc(1, sizeof(*h));
    atomic_init(&h->refs, 1);
    if (config_derive(&h->config, s->base, all->entries, (size_t)all->count, own->entries, (size_t)own->count,
                      settings_warn, NULL, fail))
        return h;
    free(h);
    return NULL;
}

static void put(struct held *h)
{
    if (h == NULL)
        return;
    int before = atomic_fetch_sub(&h->refs, 1);
    ensure(before > 0);
    if (before > 1)
        return;
    config_deinit(&h->config);
    free(h);
}

struct broker_settings *broker_settings_new(const struct broker_config *base)
{
    struct broker_settings *s = xcalloc(1, sizeof(*s));
    struct fail fail;
    s->base = base;
    lock_init(&s->lock, RANK_BROKER_SETTINGS);
    s->current = derive(s, &fail);
    ensure(s->current != NULL); /* the same as `base`, which is valid */
    return s;
}

void broker_settings_free(struct broker_settings *s)
{
    if (s == NULL)
        return;
    put(s->current);
    for (size_t i = 0; i < ARRAY_LEN(s->scopes); i++)
        arena_deinit(&s->scopes[i].memory);
    lock_deinit(&s->lock);
    free(s);
}

/* ---- Passwords ---- */

static struct password_encoder encoder_of(const struct broker_settings *s, const char *secret)
{
    const struct broker_config *c = s->base;
    return (struct password_encoder){.secret = secret,
                                     .key_factory = c->password_encoder_keyfactory_algorithm,
                                     .cipher = c->password_encoder_cipher_algorithm,
                                     .key_length = c->password_encoder_key_length,
                                     .iterations = c->password_encoder_iterations};
}

static bool open_password(const struct broker_settings *s, struct config_pair *pair, struct arena *a, struct fail *fail)
{
    struct password_encoder e = encoder_of(s, s->base->password_encoder_secret);
    if (e.secret == NULL)
        return fail_set(fail, "Password encoder secret not configured");
    return password_decode(&e, pair->value, a, &pair->value, fail);
}

/*
 * Each password takes thousands of hashes to open: where its text is one that is known, what was found before is taken.
 * False: it cannot be opened.
 */
static bool open_pair(const struct broker_settings *s, const struct scope *known, struct config_pair *pair,
                      struct arena *a)
{
    struct fail why;
    if (!config_is_password(pair->key))
        return true;
    const struct config_pair *sealed = config_find(&known->sealed, pair->key);
    if (sealed != NULL && strcmp(sealed->value, pair->value) == 0) {
        const struct config_pair *open = config_find(&known->pairs, pair->key);
        pair->value = open != NULL ? arena_cstr(a, str_of(open->value)) : NULL;
        return open != NULL; /* which was told of then */
    }
    if (open_password(s, pair, a, &why))
        return true;
    log_error("Dynamic password config %s could not be decoded, ignoring: %s", pair->key, why.text);
    return false;
}

static struct config_znode open_pairs(const struct broker_settings *s, const struct scope *known,
                                      const struct config_znode *sealed, struct arena *a)
{
    struct config_znode all = config_copy(a, sealed), open = {all.entries, 0};
    for (int32_t i = 0; i < all.count; i++) {
        struct config_pair pair = all.entries[i];
        if (open_pair(s, known, &pair, a))
            open.entries[open.count++] = pair;
    }
    return open;
}

struct config_znode broker_settings_open(const struct broker_settings *s, const struct config_znode *sealed,
                                         struct arena *a)
{
    static const struct scope nothing;
    return open_pairs(s, &nothing, sealed, a);
}

bool broker_settings_seal(const struct broker_settings *s, const struct config_znode *open, struct arena *a,
                          struct config_znode *sealed, struct fail *fail)
{
    struct password_encoder e = encoder_of(s, s->base->password_encoder_secret);
    bool ok = true;
    *sealed = config_copy(a, open);
    for (int32_t i = 0; ok && i < sealed->count; i++) {
        struct config_pair *pair = &sealed->entries[i];
        if (!config_is_password(pair->key))
            continue;
        ok = (e.secret != NULL || fail_set(fail, "Password encoder secret not configured")) &&
             password_encode(&e, pair->value, a, &pair->value, fail);
    }
    return ok;
}

bool broker_settings_reseal(const struct broker_settings *s, const struct config_znode *old, struct arena *a,
                            struct config_znode *sealed)
{
    struct password_encoder e = encoder_of(s, s->base->password_encoder_secret),
                            before = encoder_of(s, s->base->password_encoder_old_secret);
    bool any = false;
    *sealed = config_copy(a, old);
    for (int32_t i = 0; e.secret != NULL && before.secret != NULL && i < sealed->count; i++) {
        struct config_pair *pair = &sealed->entries[i];
        const char *password;
        any |= config_is_password(pair->key) && password_decode(&before, pair->value, a, &password, NULL) &&
               password_encode(&e, password, a, &pair->value, NULL);
    }
    return any;
}

/* ---- Changes ---- */

/*
 * With the lock held. What ZooKeeper has is kept even if it makes no valid configuration: what is set for all brokers
 * may be valid only with what is set for this one, which is read after it. So both are tried again with each change.
 */
static bool settings_put(struct broker_settings *s, enum settings_scope scope, const struct scope *next)
{
    struct fail fail;
    ensure(lock_is_held(&s->lock));
    bool different = !config_is_same(&s->scopes[scope].pairs, &next->pairs);
    arena_deinit(&s->scopes[scope].memory);
    s->scopes[scope] = *next;
    if (!different)
        return false;
    struct held *h = derive(s, &fail);
    if (h == NULL) {
        log_error("What was set at run time for %s is ignored: %s",
                  scope == SETTINGS_OF_ALL ? "all brokers" : "this broker", fail.text);
        s->ignores = true;
        return false;
    }
    if (s->ignores)
        log_info("What was set at run time for this broker and for all brokers counts now");
    s->ignores = false;
    put(s->current);
    s->current = h;
    return true;
}

bool broker_settings_take(struct broker_settings *s, enum settings_scope scope, const struct config_znode *pairs)
{
    const struct scope *known = &s->scopes[scope];
    struct scope next = {0};
    if (config_is_same(&known->sealed, pairs))
        return false;
    next.sealed = config_copy(&next.memory, pairs);
    next.pairs = open_pairs(s, known, pairs, &next.memory);
    lock_take(&s->lock);
    bool changed = settings_put(s, scope, &next);
    lock_release(&s->lock);
    return changed;
}

struct config_znode broker_settings_own(struct broker_settings *s, enum settings_scope scope, struct arena *a)
{
    lock_take(&s->lock);
    struct config_znode pairs = config_copy(a, &s->scopes[scope].pairs);
    lock_release(&s->lock);
    return pairs;
}

const struct broker_config *broker_settings_hold(struct broker_settings *s)
{
    lock_take(&s->lock);
    struct held *h = s->current;
    atomic_fetch_add(&h->refs, 1);
    lock_release(&s->lock);
    return &h->config;
}

void broker_settings_release(const struct broker_config *config)
{
    put(CONTAINER_OF((struct broker_config *)(uintptr_t)config, struct held, config));
}
