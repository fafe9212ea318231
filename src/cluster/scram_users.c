#include "cluster/scram_users.h"

#include "base/hash.h"
#include "base/lock.h"
#include "base/logger.h"

struct scram_entry {
    struct str user;
    char *credentials[SCRAM_MECHANISMS]; /* as ZooKeeper has them; NULL: none */
    UT_hash_handle hh;
};

struct scram_users {
    struct lock lock;
    struct scram_entry *table;
};

struct scram_users *scram_users_new(void)
{
    struct scram_users *u = xcalloc(1, sizeof(*u));
    lock_init(&u->lock, RANK_SCRAM_USERS);
    return u;
}

static void scram_entry_free(struct scram_entry *e)
{
    for (int m = 0; m < SCRAM_MECHANISMS; m++)
        free(e->credentials[m]);
    str_free(e->user);
    free(e);
}

void scram_users_free(struct scram_users *u)
{
    struct scram_entry *e, *tmp;
    if (u == NULL)
        return;
    HASH_ITER (hh, u->table, e, tmp) {
        HASH_DEL(u->table, e);
        scram_entry_free(e);
    }
    lock_deinit(&u->lock);
    free(u);
}

/* NULL: there is nothing of this kind in it. */
static struct scram_entry *make_scram_entry(struct str user, const struct config_znode *pairs)
{
    struct scram_entry *e = xcalloc(1, sizeof(*e));
    bool any = false;
    for (int32_t i = 0; i < pairs->count; i++) {
        enum scram_mechanism m = scram_mechanism_of(pairs->entries[i].key);
        if (m == SCRAM_UNKNOWN)
            continue;
        free(e->credentials[m]);
        e->credentials[m] = xstrdup(pairs->entries[i].value);
        any = true;
    }
    e->user = str_dup(user);
    if (any)
        return e;
    scram_entry_free(e);
    return NULL;
}

static struct scram_entry *find_scram_entry(struct scram_users *u, struct str user)
{
    struct scram_entry *e;
    ensure(lock_is_held(&u->lock));
    HASH_FIND(hh, u->table, user.p, (size_t)user.len, e);
    return e;
}

void scram_users_take(struct scram_users *u, const char *entity, const struct config_znode *pairs)
{
    static const char prefix[] = "users/";
    const char *name = entity + sizeof(prefix) - 1;
    struct arena a = {0};
    if (strncmp(entity, prefix, sizeof(prefix) - 1) != 0 || strchr(name, '/') != NULL)
        return;
    struct str user = entity_name_decode(&a, str_of(name));
    struct scram_entry *e = strcmp(name, CONFIG_OF_ALL_BROKERS) != 0 ? make_scram_entry(user, pairs) : NULL;
    lock_take(&u->lock);
    struct scram_entry *old = find_scram_entry(u, user);
    if (old != NULL) {
        HASH_DEL(u->table, old);
        scram_entry_free(old);
    }
    if (e != NULL)
        HASH_ADD_KEYPTR(hh, u->table, e->user.p, (size_t)e->user.len, e);
    lock_release(&u->lock);
    arena_deinit(&a);
}

bool scram_users_find(struct scram_users *u, enum scram_mechanism mechanism, struct str user, struct arena *a,
                      struct scram_credential *out)
{
    lock_take(&u->lock);
    const struct scram_entry *e = find_scram_entry(u, user);
    const char *found = e != NULL ? e->credentials[mechanism] : NULL;
    struct str text = found != NULL ? arena_str(a, str_of(found)) : STR_NULL;
    lock_release(&u->lock);
    if (text.p == NULL)
        return false;
    if (scram_credential_parse(mechanism, text, a, out))
        return true;
    log_warn("User %.*s: the %s credentials in ZooKeeper cannot be read, so that nobody logs in by them",
             STR_ARGS(user), scram_mechanism_name((int8_t)mechanism));
    return false;
}
