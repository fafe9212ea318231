#include "net/host_names.h"

#include <utlist.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/logger.h"

/*
 * Other brokers and ZooKeeper's servers are looked up on the same threads: a name service that hangs is to leave them
 * some. A name without an address is asked for again with later changes of settings.
 */
enum { MOST_AT_ONCE = 2, RETRY_MS = 60 * 1000 };

struct host_name {
    struct host_names *all;
    char *host;
    int limits[HOST_NAME_USES]; /* with which it was named last; -1: it was not */
    struct addresses known;
    int64_t asked_ms; /* when it was looked up last; -1: never */
    struct lookup *lookup;
    bool waits; /* to be looked up */
    int64_t round;
    struct host_name *prev, *next; /* of those that wait */
    UT_hash_handle hh;
};

struct host_names {
    struct loop *loop; /* NULL: look-ups are made in place */
    struct workers *resolvers;
    void (*found)(void *ctx);
    void *ctx;
    struct host_name *table, *waiting;
    int asking;
    int64_t round;
};

struct host_names *host_names_new(void)
{
    return xcalloc(1, sizeof(struct host_names));
}

static void host_name_free(struct host_name *h)
{
    struct host_names *n = h->all;
    if (h->waits)
        DL_DELETE(n->waiting, h);
    n->asking -= h->lookup != NULL;
    lookup_abandon(h->lookup);
    HASH_DEL(n->table, h);
    addresses_clear(&h->known);
    free(h->host);
    free(h);
}

void host_names_free(struct host_names *n)
{
    while (n != NULL && n->table != NULL)
        host_name_free(n->table);
    free(n);
}

void host_names_ask_by(struct host_names *n, struct loop *loop, struct workers *resolvers, void (*found)(void *ctx),
                       void *ctx)
{
    ensure(loop_is_mine(loop));
    n->loop = loop;
    n->resolvers = resolvers;
    n->found = found;
    n->ctx = ctx;
}

/* ---- Asking ---- */

/* Whether anything was found, which it takes. */
static bool host_name_take(struct host_name *h, struct addresses *found)
{
    bool any = found->count > 0;
    h->asked_ms = clock_mono_ms();
    if (any) {
        addresses_clear(&h->known);
        h->known = *found;
        *found = (struct addresses){0};
    } else if (h->known.count > 0) {
        log_warn("%s has no address now: its limit on connections counts for those that it had", h->host);
    } else {
        log_warn("%s has no address: its limit on connections has no effect", h->host);
    }
    return any;
}

static void host_names_ask_next(struct host_names *n);

static void host_name_on_found(void *ctx, struct addresses *found)
{
    struct host_name *h = ctx;
    struct host_names *n = h->all;
    ensure(n->asking > 0);
    h->lookup = NULL;
    n->asking--;
    bool any = host_name_take(h, found);
    host_names_ask_next(n);
    if (any)
        n->found(n->ctx);
}

static void host_names_ask_next(struct host_names *n)
{
    while (n->asking < MOST_AT_ONCE && n->waiting != NULL) {
        struct host_name *h = n->waiting;
        DL_DELETE(n->waiting, h);
        h->waits = false;
        n->asking++;
        h->lookup = lookup_start(n->loop, n->resolvers, h->host, 0, host_name_on_found, h);
    }
}

static void host_name_ask(struct host_name *h)
{
    struct host_names *n = h->all;
    struct addresses found = {0};
    if (n->loop == NULL) {
        addresses_find(&found, h->host, 0, false);
        host_name_take(h, &found);
        return;
    }
    if (h->waits || h->lookup != NULL)
        return;
    h->waits = true;
    DL_APPEND(n->waiting, h);
    host_names_ask_next(n);
}

/* ---- Reading ---- */

void host_names_begin(struct host_names *n)
{
    ensure(n->loop == NULL || loop_is_mine(n->loop));
    n->round++;
}

static struct host_name *host_name_for(struct host_names *n, const char *host)
{
    struct host_name *h;
    HASH_FIND_STR(n->table, host, h);
    if (h != NULL)
        return h;
    h = xcalloc(1, sizeof(*h));
    h->all = n;
    h->host = xstrdup(host);
    h->asked_ms = -1;
    for (int i = 0; i < HOST_NAME_USES; i++)
        h->limits[i] = -1;
    HASH_ADD_KEYPTR(hh, n->table, h->host, strlen(h->host), h);
    return h;
}

const struct addresses *host_names_find(struct host_names *n, const char *host, enum host_name_use use, int limit)
{
    struct host_name *h = host_name_for(n, host);
    bool other = h->limits[use] != limit;
    bool missing = h->known.count == 0 && (h->asked_ms < 0 || clock_mono_ms() - h->asked_ms >= RETRY_MS);
    ensure(use < HOST_NAME_USES && limit >= 0);
    h->round = n->round;
    h->limits[use] = limit;
    if (other || missing)
        host_name_ask(h);
    return &h->known;
}

void host_names_end(struct host_names *n)
{
    struct host_name *h, *tmp;
    HASH_ITER (hh, n->table, h, tmp)
        if (h->round != n->round)
            host_name_free(h);
    if (n->loop != NULL) /* some may have made room */
        host_names_ask_next(n);
}
