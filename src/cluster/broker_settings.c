#include "cluster/broker_settings.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/logger.h"

struct held {
    atomic_int refs;
    struct broker_config config;
};

struct broker_settings {
    const struct broker_config *base;
    pthread_mutex_t lock; /* guards all below */
    struct held *current;
    struct scope {
        struct config_znode pairs;
        struct arena memory;
    } scopes[2];
};

static void warn(void *ctx UNUSED, const char *line)
{
    log_warn("%s", line);
}

static struct held *derive(const struct broker_settings *s, struct fail *fail)
{
    const struct config_znode *all = &s->scopes[SETTINGS_OF_ALL].pairs, *own = &s->scopes[SETTINGS_OF_THIS].pairs;
    struct held *h = xcalloc(1, sizeof(*h));
    atomic_init(&h->refs, 1);
    if (config_derive(&h->config, s->base, all->entries, (size_t)all->count, own->entries, (size_t)own->count, warn,
                      NULL, fail))
        return h;
    free(h);
    return NULL;
}

static void put(struct held *h)
{
    if (h == NULL || atomic_fetch_sub(&h->refs, 1) != 1)
        return;
    config_deinit(&h->config);
    free(h);
}

struct broker_settings *broker_settings_new(const struct broker_config *base)
{
    struct broker_settings *s = xcalloc(1, sizeof(*s));
    struct fail fail;
    s->base = base;
    pthread_mutex_init(&s->lock, NULL);
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
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static bool same(const struct config_znode *a, const struct config_znode *b)
{
    if (a->count != b->count)
        return false;
    for (int32_t i = 0; i < a->count; i++)
        if (strcmp(a->entries[i].key, b->entries[i].key) != 0 || strcmp(a->entries[i].value, b->entries[i].value) != 0)
            return false;
    return true;
}

/* With the lock held. */
static bool take(struct broker_settings *s, enum settings_scope scope, const struct config_znode *pairs)
{
    struct scope old = s->scopes[scope], next = {0};
    struct fail fail;
    if (same(&old.pairs, pairs))
        return false;
    next.pairs = config_copy(&next.memory, pairs);
    s->scopes[scope] = next;
    struct held *h = derive(s, &fail);
    if (h == NULL) {
        log_error("What was set at run time for %s is ignored: %s",
                  scope == SETTINGS_OF_ALL ? "all brokers" : "this broker", fail.text);
        s->scopes[scope] = old;
        arena_deinit(&next.memory);
        return false;
    }
    arena_deinit(&old.memory);
    put(s->current);
    s->current = h;
    return true;
}

bool broker_settings_take(struct broker_settings *s, enum settings_scope scope, const struct config_znode *pairs)
{
    pthread_mutex_lock(&s->lock);
    bool changed = take(s, scope, pairs);
    pthread_mutex_unlock(&s->lock);
    return changed;
}

struct config_znode broker_settings_own(struct broker_settings *s, enum settings_scope scope, struct arena *a)
{
    pthread_mutex_lock(&s->lock);
    struct config_znode pairs = config_copy(a, &s->scopes[scope].pairs);
    pthread_mutex_unlock(&s->lock);
    return pairs;
}

const struct broker_config *broker_settings_hold(struct broker_settings *s)
{
    pthread_mutex_lock(&s->lock);
    struct held *h = s->current;
    atomic_fetch_add(&h->refs, 1);
    pthread_mutex_unlock(&s->lock);
    return &h->config;
}

void broker_settings_release(const struct broker_config *config)
{
    put(CONTAINER_OF((struct broker_config *)(uintptr_t)config, struct held, config));
}
