#include "exporter/dialects.h"

#include <stdatomic.h>

#include "base/lock.h"
#include "exporter/lag.h"
#include "exporter/native.h"
#include "exporter/process.h"

struct dialect_text {
    const char *name, *yaml;
};

#include "exporter/dialect_texts.inc"

/* What it tells of a look at the cluster. */
enum dialect_look { LOOKS_NOT, LOOKS_AT_OWN_GROUPS, LOOKS_AS_EXPORTER, LOOKS_AS_KMINION };

struct dialect {
    struct rules *parts[EXPOSITION_MOST_RULES]; /* what several make is there once */
    int count;
    enum dialect_look look;
    bool native;                               /* names of our own are among it */
    struct lock lock;                          /* guards the rules, which learn */
    _Atomic(struct name_filter *) next_filter; /* for the rules, when somebody gathers; nobody waits for those who do */
};

const char *const *dialect_list(void)
{
    static const char *const names[] = {"metrics", "native", "strimzi",  "kafka",   "confluent", "reporter",
                                        "bitnami", "raw",    "exporter", "kminion", NULL};
    return names;
}

static void dialect_add(struct dialect *d, const char *name)
{
    struct fail fail;
    const char *yaml = "";
    for (size_t i = 0; i < ARRAY_LEN(dialect_texts); i++)
        if (strcmp(dialect_texts[i].name, name) == 0)
            yaml = dialect_texts[i].yaml;
    struct rules *r = rules_parse(str_of(yaml), name, false, &fail);
    ensure(r != NULL && d->count < EXPOSITION_MOST_RULES);
    d->parts[d->count++] = r;
}

static struct dialect *dialect_empty(void)
{
    struct dialect *d = xcalloc(1, sizeof(*d));
    lock_init(&d->lock, RANK_DIALECT);
    return d;
}

struct dialect *dialect_new(const char *name)
{
    const char *const *known = dialect_list();
    while (*known != NULL && strcasecmp(*known, name) != 0)
        known++;
    if (*known == NULL)
        return NULL;
    struct dialect *d = dialect_empty();
    if (known == dialect_list()) {
        dialect_add(d, "strimzi");
        dialect_add(d, "kafka");
        d->look = LOOKS_AT_OWN_GROUPS;
        d->native = true;
    } else if (strcmp(*known, "native") == 0) {
        d->look = LOOKS_AT_OWN_GROUPS;
        d->native = true;
    } else if (strcmp(*known, "exporter") == 0) {
        d->look = LOOKS_AS_EXPORTER;
    } else if (strcmp(*known, "kminion") == 0) {
        d->look = LOOKS_AS_KMINION;
    } else {
        dialect_add(d, *known);
    }
    return d;
}

struct dialect *dialect_of_file(const char *path, bool totals, struct fail *fail)
{
    struct rules *r = rules_read(path, totals, fail);
    if (r == NULL)
        return NULL;
    struct dialect *d = dialect_empty();
    d->parts[d->count++] = r;
    return d;
}

struct rules_protection dialect_protection(const struct dialect *d)
{
    return d->count > 0 ? rules_protection(d->parts[0]) : (struct rules_protection){0};
}

bool dialect_looks_at_values(const struct dialect *d)
{
    bool any = false;
    for (int i = 0; i < d->count; i++)
        any |= rules_look_at_values(d->parts[i]);
    return any;
}

void dialect_filter(struct dialect *d, struct name_filter *f)
{
    ensure(d->count == 1);
    name_filter_free(atomic_exchange(&d->next_filter, f));
}

void dialect_free(struct dialect *d)
{
    if (d == NULL)
        return;
    for (int i = 0; i < d->count; i++)
        rules_free(d->parts[i]);
    name_filter_free(atomic_load(&d->next_filter));
    lock_deinit(&d->lock);
    free(d);
}

bool dialect_looks(const struct dialect *d, enum look_scope *scope)
{
    *scope = d->look == LOOKS_AT_OWN_GROUPS ? LOOK_OWN : LOOK_ALL;
    return d->look != LOOKS_NOT;
}

bool dialect_is_own(const struct dialect *d)
{
    return d->native && d->count == 0;
}

bool dialect_needs_look(const struct dialect *d)
{
    return d->look == LOOKS_AS_EXPORTER || d->look == LOOKS_AS_KMINION;
}

static void gather_look(const struct dialect *d, const struct dialect_matter *of, struct exposition *e)
{
    switch (d->look) {
    case LOOKS_AT_OWN_GROUPS:
        if (!dialect_is_own(d))
            lag_gather_own(of->look, e);
        lag_gather_native(of->look, e);
        return;
    case LOOKS_AS_EXPORTER:
        lag_gather_exporter(of->look, of->listener, e);
        return;
    case LOOKS_AS_KMINION:
        lag_gather_kminion(of->look, of->listener, e);
        return;
    case LOOKS_NOT:
        return;
    }
}

void dialect_gather(struct dialect *d, const struct dialect_matter *of, struct exposition *e)
{
    if (d->count > 0) {
        lock_take(&d->lock);
        struct name_filter *f = atomic_exchange(&d->next_filter, NULL);
        if (f != NULL)
            rules_filter(d->parts[0], f);
        if (d->native)
            native_gather_with(of->metrics, of->partitions, d->parts, d->count, e);
        else
            exposition_gather(e, d->parts, d->count, of->metrics, NULL);
        lock_release(&d->lock);
    } else if (d->native) {
        native_gather(of->metrics, of->partitions, e);
    }
    if (of->look != NULL)
        gather_look(d, of, e);
    process_gather(e, !dialect_is_own(d));
}
