/*
 * kafka-acls without a broker: what a broker's authorizer does, done here; brokers are told by notifications. What
 * fails is said, and is no reason to end with an error: so does Kafka's tool, in this way only.
 */
#include <stdio.h>

#include "cluster/acl_watch.h"
#include "tools/acls/acls.h"
#include "tools/kit/zk_session.h"

struct acls_session {
    struct zk_session *session;
    struct acl_board *board;
    struct acl_watch *watch;
    struct fail fail;
    bool failed;
};

struct acls_writing {
    struct acl_update update;
    struct acls_session *x;
    const struct acl_entry *entries; /* that are added */
    const struct acl_filter *filters;
    int32_t count;
    const char *doing; /* for who reads of its failure */
};

static void acls_written(struct acl_update *u, const char *error)
{
    struct acls_writing *w = u->ctx;
    if (error != NULL)
        printf("Error while %s ACLs: %s\n", w->doing, error);
    zk_session_wake(w->x->session);
}

static bool acls_add_entries(struct acl_update *u, struct arena *a, const struct acl_entry *now, int32_t count,
                             struct acl_entry **then, int32_t *then_count)
{
    const struct acls_writing *w = u->ctx;
    return acl_entries_add(a, now, count, w->entries, w->count, then, then_count);
}

static bool add_in_zookeeper(void *ctx, const struct acl_resource *r, const struct acl_entry *entries, int32_t count,
                             struct fail *fail UNUSED)
{
    struct acls_session *x = ctx;
    struct acls_writing w = {.x = x, .entries = entries, .count = count, .doing = "adding"};
    if (!zk_name_is_legal(r->name)) {
        puts("Error while adding ACLs: Failed to create ACL");
        return true;
    }
    w.update = (struct acl_update){.resource = *r, .change = acls_add_entries, .done = acls_written, .ctx = &w};
    acl_watch_update(x->watch, &w.update);
    zk_session_wait(x->session);
    return true;
}

static bool take_entries(struct acl_update *u, struct arena *a, const struct acl_entry *now, int32_t count,
                         struct acl_entry **then, int32_t *then_count)
{
    const struct acls_writing *w = u->ctx;
    struct acl_parting p = acl_entries_part(a, &u->resource, now, count, w->filters, w->count);
    *then = p.left;
    *then_count = p.left_count;
    return p.gone_count > 0;
}

struct acls_found {
    struct arena *arena;
    const struct acl_filter *filters;
    int32_t filter_count;
    struct acl_binding *bindings; /* heap */
    size_t count, cap;
};

static void find_in_list(void *ctx, struct acl_list *l)
{
    struct acls_found *f = ctx;
    struct acl_resource r = *acl_list_resource(l);
    int32_t count;
    struct acl_entry *entries = acl_list_entries(l, f->arena, &count);
    r.name = arena_str(f->arena, r.name);
    for (int32_t i = 0; i < count; i++) {
        if (acl_filters_find(f->filters, f->filter_count, &r, &entries[i]) < 0)
            continue;
        f->bindings = xgrow(f->bindings, f->count + 1, &f->cap, sizeof(*f->bindings));
        entries[i].principal = arena_str(f->arena, entries[i].principal);
        entries[i].host = arena_str(f->arena, entries[i].host);
        f->bindings[f->count++] = (struct acl_binding){r, entries[i]};
    }
}

static struct acls_found find_by(struct acls_session *x, const struct acl_filter *filters, int32_t count,
                                 struct arena *arena)
{
    struct acls_found f = {.arena = arena, .filters = filters, .filter_count = count};
    acl_set_each(acl_board_current(x->board), find_in_list, &f);
    return f;
}

static bool same_as_before(const struct acls_found *f, size_t i)
{
    const struct acl_resource *a = &f->bindings[i].resource;
    return i > 0 && a->name.p == f->bindings[i - 1].resource.name.p;
}

static bool remove_in_zookeeper(void *ctx, const struct acl_filter *filters, int32_t count, struct fail *fail UNUSED)
{
    struct acls_session *x = ctx;
    struct arena a = {0};
    struct acls_found f = find_by(x, filters, count, &a);
    struct acls_writing w = {.x = x, .filters = filters, .count = count, .doing = "removing"};
    for (size_t i = 0; i < f.count; i++) {
        if (same_as_before(&f, i))
            continue;
        w.update = (struct acl_update){
            .resource = f.bindings[i].resource, .change = take_entries, .done = acls_written, .ctx = &w};
        acl_watch_update(x->watch, &w.update);
        zk_session_wait(x->session);
    }
    free(f.bindings);
    arena_deinit(&a);
    return true;
}

static bool list_in_zookeeper(void *ctx, const struct acl_filter *filter, struct acl_binding **out, int32_t *count,
                              struct arena *arena, struct fail *fail UNUSED)
{
    struct acls_found f = find_by(ctx, filter, 1, arena);
    *out = f.count > 0 ? arena_copy(arena, f.bindings, sizeof(**out) * f.count) : NULL;
    *count = (int32_t)f.count;
    free(f.bindings);
    return true;
}

static void close_session(void *ctx)
{
    struct acls_session *x = ctx;
    zk_session_end(x->session);
    acl_watch_free(x->watch);
    acl_board_free(x->board);
    zk_session_close(x->session);
    free(x);
}

static void acls_loaded(void *ctx, const struct fail *fail)
{
    struct acls_session *x = ctx;
    x->failed = fail != NULL;
    if (fail != NULL)
        x->fail = *fail;
    zk_session_wake(x->session);
}

bool acls_by_znodes(const char *connect, const char *tls_file, struct acl_way *out, struct fail *fail)
{
    struct zk_session *session = zk_session_open(connect, tls_file, fail);
    if (session == NULL)
        return false;
    struct acls_session *x = xcalloc(1, sizeof(*x));
    x->session = session;
    x->board = acl_board_new();
    x->watch = acl_watch_new(&(struct acl_watch_options){.loop = zk_session_loop(session),
                                                         .zk = zk_session_zk(session),
                                                         .board = x->board,
                                                         .loaded = acls_loaded,
                                                         .ctx = x});
    acl_watch_start(x->watch);
    zk_session_wait(session);
    *out = (struct acl_way){add_in_zookeeper, remove_in_zookeeper, list_in_zookeeper, close_session, x};
    if (!x->failed)
        return true;
    *fail = x->fail;
    close_session(x);
    return false;
}
