/*
 * DescribeAcls, CreateAcls and DeleteAcls (KIP-140, KIP-290): any broker answers from what it knows, and writes to
 * ZooKeeper itself.
 *
 * What is created or deleted is gathered by resource, as a resource's list is changed as a whole; each has an update
 * (cluster/acl_watch.h) on the control loop. The answer waits for all of them, so that what it says counts here.
 */
#include "base/logger.h"
#include "cluster/acl_znodes.h"
#include "protocol/msg/create_acls.h"
#include "protocol/msg/delete_acls.h"
#include "protocol/msg/describe_acls.h"
#include "server/authorize.h"

/* ---- What a request says in numbers ---- */

static bool is_type(int8_t t)
{
    return t >= ACL_TOPIC && t < ACL_TYPES;
}

static bool is_pattern(int8_t p)
{
    return p == ACL_LITERAL || p == ACL_PREFIXED;
}

static bool is_operation(int8_t o)
{
    return o >= ACL_ALL && o < ACL_OPERATIONS;
}

static bool is_permission(int8_t p)
{
    return p == ACL_DENY || p == ACL_ALLOW;
}

/* Of what no ACL has nothing is found. */
static struct acl_filter filter_of(int8_t type, struct str name, int8_t pattern, struct str principal, struct str host,
                                   int8_t operation, int8_t permission)
{
    return (struct acl_filter){type, pattern, name, principal, host, operation, permission};
}

/* ---- DescribeAcls ---- */

struct acl_listing {
    struct request *r;
    struct acl_filter filter;
    struct describe_acls_response response;
};

static void describe_list(void *ctx, struct acl_list *l)
{
    struct acl_listing *d = ctx;
    struct arena *a = d->r->arena;
    const struct acl_resource *resource = acl_list_resource(l);
    int32_t count;
    if (request_is_spent(d->r) || !acl_filter_takes_resource(&d->filter, resource))
        return;
    struct acl_entry *entries = acl_list_entries(l, a, &count);
    struct describe_acls_resource *out = &d->response.resources.items[d->response.resources.len];
    describe_acls_resource_init(out);
    out->resource_type = (int8_t)resource->type;
    out->resource_name = resource->name;
    out->pattern_type = (int8_t)resource->pattern;
    ARRAY_MAKE(a, out->acls, count);
    out->acls.len = 0;
    for (int32_t i = 0; i < count; i++) {
        if (!acl_filter_takes_entry(&d->filter, &entries[i]))
            continue;
        struct describe_acls_acl_description *o = &out->acls.items[out->acls.len++];
        describe_acls_acl_description_init(o);
        o->principal = entries[i].principal;
        o->host = entries[i].host;
        o->operation = (int8_t)entries[i].operation;
        o->permission_type = (int8_t)entries[i].permission;
    }
    if (out->acls.len > 0)
        d->response.resources.len++;
}

static void handle_describe_acls(struct request *r)
{
    struct describe_acls_request in;
    struct acl_listing *d = ARENA_NEW(r->arena, struct acl_listing);
    if (!DECODE(r, describe_acls_request, &in))
        return;
    d->r = r;
    d->filter = filter_of(in.resource_type_filter, in.resource_name_filter, in.pattern_type_filter, in.principal_filter,
                          in.host_filter, in.operation, in.permission_type);
    describe_acls_response_init(&d->response);
    ARRAY_MAKE(r->arena, d->response.resources, 0);
    if (!allowed_cluster(r, ACL_DESCRIBE)) {
        d->response.error_code = ERR_CLUSTER_AUTHORIZATION_FAILED;
        d->response.error_message = str_of(error_message(ERR_CLUSTER_AUTHORIZATION_FAILED));
    } else if (!has_authorizer(r)) {
        d->response.error_code = ERR_SECURITY_DISABLED;
        d->response.error_message = STR_LIT("No Authorizer is configured on the broker");
    } else {
        const struct acl_set *acls = acl_board_current(r->s->acls);
        ARRAY_MAKE(r->arena, d->response.resources, acl_set_count(acls));
        d->response.resources.len = 0;
        acl_set_each(acls, describe_list, d);
    }
    ANSWER(r, describe_acls_response, &d->response); /* whose texts are the set's */
}

const struct api_entry api_describe_acls = {
    .key = API_DESCRIBE_ACLS, .min = 0, .max = 3, .handle = handle_describe_acls};

/* ---- Changes ---- */

struct acl_change_request {
    struct request *r;
    struct acl_resource_change *changes;
    int32_t count, left;
    void (*answer)(struct request *r);
    struct create_acls_request create;
    struct create_acls_response created;
    struct delete_acls_request remove;
    struct delete_acls_response removed;
    struct acl_filter *filters; /* of a deletion */
};

struct acl_resource_change {
    struct acl_update update;
    struct acl_change_request *all;
    struct acl_entry *added; /* of a creation */
    int32_t *places;         /* of each in the request */
    int32_t added_count;
    struct acl_entry *gone; /* of a deletion: what was removed, in the request's arena */
    int32_t *gone_by;       /* each by which filter, the first that takes it */
    int32_t gone_count;
    const char *error;
};

static void change_over(struct acl_update *u, const char *error)
{
    struct acl_resource_change *c = u->ctx;
    c->error = error;
    if (error != NULL)
        log_warn("The ACLs of %s:%s:%.*s are not changed: %s", acl_type_constant(u->resource.type),
                 acl_pattern_constant(u->resource.pattern), STR_ARGS(u->resource.name), error);
    ensure(c->all->left > 0);
    if (--c->all->left == 0)
        request_return(c->all->r, c->all->answer);
}

static void begin_changes(struct request *r)
{
    struct acl_change_request *all = r->state;
    struct acl_resource_change *changes = all->changes;
    int32_t count = all->left = all->count;
    for (int32_t i = 0; i < count; i++) /* with the last one the request may be gone */
        acl_watch_update(r->s->acl_watch, &changes[i].update);
}

static void change_or_answer(struct acl_change_request *all)
{
    if (all->count == 0) {
        all->answer(all->r);
        return;
    }
    request_park(all->r);
    request_hop(all->r, all->r->s->control_loop, begin_changes);
}

static int acl_by_resource(const struct acl_resource *x, const struct acl_resource *y)
{
    if (x->type != y->type)
        return x->type < y->type ? -1 : 1;
    if (x->pattern != y->pattern)
        return x->pattern < y->pattern ? -1 : 1;
    return str_cmp(x->name, y->name);
}

/* ---- CreateAcls ---- */

struct acl_item {
    struct acl_resource resource;
    struct acl_entry entry;
    int32_t place;  /* in the request */
    bool is_broken; /* its principal is none, which lets all fail that is added to the resource */
};

static bool add_entries_to(struct acl_update *u, struct arena *a, const struct acl_entry *now, int32_t count,
                           struct acl_entry **then, int32_t *then_count)
{
    const struct acl_resource_change *c = u->ctx;
    return acl_entries_add(a, now, count, c->added, c->added_count, then, then_count);
}

static void answer_create_acls(struct request *r)
{
    struct acl_change_request *all = r->state;
    for (int32_t i = 0; i < all->count; i++) {
        const struct acl_resource_change *c = &all->changes[i];
        for (int32_t k = 0; c->error != NULL && k < c->added_count; k++) {
            struct create_acls_acl_creation_result *o = &all->created.results.items[c->places[k]];
            o->error_code = ERR_UNKNOWN_SERVER_ERROR;
            o->error_message = str_of(c->error);
        }
    }
    ANSWER(r, create_acls_response, &all->created);
}

/* What is wrong with it, or NULL. */
static const char *creation_problem(const struct create_acls_acl_creation *in, enum kafka_error *error)
{
    *error = ERR_INVALID_REQUEST;
    if (in->resource_type == ACL_CLUSTER && !str_is(in->resource_name, ACL_CLUSTER_NAME))
        return "The only valid name for the CLUSTER resource is " ACL_CLUSTER_NAME;
    if (in->resource_name.len == 0)
        return "Invalid empty resource name";
    if (!is_type(in->resource_type) || !is_pattern(in->resource_pattern_type) || !is_operation(in->operation) ||
        !is_permission(in->permission_type) || memchr(in->resource_name.p, '/', (size_t)in->resource_name.len) != NULL)
        return "Failed to create ACL";
    *error = ERR_UNKNOWN_SERVER_ERROR;
    if (!zk_name_is_legal(in->resource_name) || !str_is_utf8(in->principal) || !str_is_utf8(in->host))
        return "ZooKeeper cannot hold such a name";
    return NULL;
}

static int acl_by_item(const void *a, const void *b)
{
    return acl_by_resource(&((const struct acl_item *)a)->resource, &((const struct acl_item *)b)->resource);
}

static void fail_items(struct acl_change_request *all, const struct acl_item *items, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        all->created.results.items[items[i].place].error_code = ERR_UNKNOWN_SERVER_ERROR;
        all->created.results.items[items[i].place].error_message = STR_NULL;
    }
}

/* Of one resource. */
static void acls_api_add_creation(struct acl_change_request *all, const struct acl_item *items, int32_t count)
{
    struct arena *a = all->r->arena;
    struct acl_resource_change *c = &all->changes[all->count++];
    *c = (struct acl_resource_change){.all = all, .added_count = count};
    c->added = ARENA_ARRAY(a, struct acl_entry, count);
    c->places = ARENA_ARRAY(a, int32_t, count);
    for (int32_t i = 0; i < count; i++) {
        c->added[i] = items[i].entry;
        c->places[i] = items[i].place;
    }
    c->update =
        (struct acl_update){.resource = items[0].resource, .change = add_entries_to, .done = change_over, .ctx = c};
}

static void group_items(struct acl_change_request *all, struct acl_item *items, int32_t count)
{
    all->changes = ARENA_ARRAY(all->r->arena, struct acl_resource_change, MAX(count, 1));
    if (count > 0)
        qsort(items, (size_t)count, sizeof(*items), acl_by_item);
    for (int32_t i = 0, same; i < count; i = same) {
        bool broken = items[i].is_broken;
        for (same = i + 1; same < count && acl_by_item(&items[i], &items[same]) == 0; same++)
            broken |= items[same].is_broken;
        if (broken)
            fail_items(all, &items[i], same - i);
        else
            acls_api_add_creation(all, &items[i], same - i);
    }
}

/* Puts aside what cannot be; the others are the items. */
static struct acl_item *take_creations(struct acl_change_request *all, int32_t *count)
{
    int32_t n = all->created.results.len;
    struct acl_item *items = ARENA_ARRAY(all->r->arena, struct acl_item, MAX(n, 1));
    *count = 0;
    for (int32_t i = 0; i < n; i++) {
        const struct create_acls_acl_creation *in = &all->create.creations.items[i];
        struct create_acls_acl_creation_result *o = &all->created.results.items[i];
        enum kafka_error error;
        struct principal principal;
        const char *problem = creation_problem(in, &error);
        if (problem != NULL) {
            o->error_code = (int16_t)error;
            o->error_message = str_of(problem);
            continue;
        }
        items[(*count)++] = (struct acl_item){
            {(enum acl_type)in->resource_type, (enum acl_pattern)in->resource_pattern_type, in->resource_name},
            {in->principal, in->host, (enum acl_operation)in->operation, (enum acl_permission)in->permission_type},
            i,
            !principal_parse(in->principal, &principal)};
    }
    return items;
}

static void refuse_creations(struct acl_change_request *all, enum kafka_error error, struct str message)
{
    for (int32_t i = 0; i < all->created.results.len; i++) {
        all->created.results.items[i].error_code = (int16_t)error;
        all->created.results.items[i].error_message = message;
    }
    answer_create_acls(all->r);
}

/* A value that only filters have: Kafka's broker does not get to know what the others are. */
static bool has_open_values(const struct create_acls_request *in)
{
    for (int32_t i = 0; i < in->creations.len; i++) {
        const struct create_acls_acl_creation *c = &in->creations.items[i];
        if (c->resource_type == ACL_ANY || c->resource_pattern_type == ACL_ANY ||
            c->resource_pattern_type == ACL_MATCH || c->operation == ACL_ANY || c->permission_type == ACL_ANY)
            return true;
    }
    return false;
}

static void handle_create_acls(struct request *r)
{
    struct acl_change_request *all = ARENA_NEW(r->arena, struct acl_change_request);
    int32_t count;
    if (!DECODE(r, create_acls_request, &all->create))
        return;
    r->state = all;
    all->r = r;
    all->answer = answer_create_acls;
    create_acls_response_init(&all->created);
    ARRAY_MAKE(r->arena, all->created.results, MAX(all->create.creations.len, 0));
    for (int32_t i = 0; i < all->created.results.len; i++) {
        create_acls_acl_creation_result_init(&all->created.results.items[i]);
        all->created.results.items[i].error_message = STR_LIT("");
    }
    if (!allowed_cluster(r, ACL_ALTER)) {
        refuse_creations(all, ERR_CLUSTER_AUTHORIZATION_FAILED,
                         str_of(error_message(ERR_CLUSTER_AUTHORIZATION_FAILED)));
    } else if (!has_authorizer(r)) {
        refuse_creations(all, ERR_SECURITY_DISABLED, STR_LIT("No Authorizer is configured."));
    } else if (has_open_values(&all->create)) {
        refuse_creations(all, ERR_UNKNOWN_SERVER_ERROR, STR_NULL);
    } else {
        struct acl_item *items = take_creations(all, &count);
        group_items(all, items, count);
        change_or_answer(all);
    }
}

const struct api_entry api_create_acls = {.key = API_CREATE_ACLS, .min = 0, .max = 3, .handle = handle_create_acls};

/* ---- DeleteAcls ---- */

/*
 * Beside what an earlier try has found: ZooKeeper's answer to that may have been lost with the connection, and then the
 * next one finds what is left.
 */
static void note_gone(struct acl_resource_change *c, const struct acl_parting *p)
{
    const struct acl_change_request *all = c->all;
    acl_entries_add(all->r->arena, c->gone, c->gone_count, p->gone, p->gone_count, &c->gone, &c->gone_count);
    c->gone_by = ARENA_ARRAY(all->r->arena, int32_t, MAX(c->gone_count, 1));
    for (int32_t i = 0; i < c->gone_count; i++)
        c->gone_by[i] = acl_filters_find(all->filters, all->remove.filters.len, &c->update.resource, &c->gone[i]);
}

static bool remove_entries(struct acl_update *u, struct arena *a, const struct acl_entry *now, int32_t count,
                           struct acl_entry **then, int32_t *then_count)
{
    struct acl_resource_change *c = u->ctx;
    struct arena *mine = c->all->r->arena;
    struct acl_parting p = acl_entries_part(a, &u->resource, now, count, c->all->filters, c->all->remove.filters.len);
    *then = p.left;
    *then_count = p.left_count;
    for (int32_t i = 0; i < p.gone_count; i++) {
        p.gone[i].principal = arena_str(mine, p.gone[i].principal);
        p.gone[i].host = arena_str(mine, p.gone[i].host);
    }
    note_gone(c, &p);
    return p.gone_count > 0;
}

static void fill_gone(const struct acl_resource_change *c, int32_t i, struct delete_acls_matching_acl *o)
{
    delete_acls_matching_acl_init(o);
    o->error_code = c->error != NULL ? ERR_UNKNOWN_SERVER_ERROR : ERR_NONE;
    o->error_message = c->error != NULL ? str_of(c->error) : STR_LIT("");
    o->resource_type = (int8_t)c->update.resource.type;
    o->resource_name = c->update.resource.name;
    o->pattern_type = (int8_t)c->update.resource.pattern;
    o->principal = c->gone[i].principal;
    o->host = c->gone[i].host;
    o->operation = (int8_t)c->gone[i].operation;
    o->permission_type = (int8_t)c->gone[i].permission;
}

/* A list that could not even be read has nothing to be named by: its filters tell. */
static void tell_unread(struct acl_change_request *all, const struct acl_resource_change *c)
{
    for (int32_t i = 0; i < all->remove.filters.len; i++) {
        if (!acl_filter_takes_resource(&all->filters[i], &c->update.resource))
            continue;
        all->removed.filter_results.items[i].error_code = ERR_UNKNOWN_SERVER_ERROR;
        all->removed.filter_results.items[i].error_message = str_of(c->error);
    }
}

static void answer_delete_acls(struct request *r)
{
    struct acl_change_request *all = r->state;
    int32_t *counts = ARENA_ARRAY(r->arena, int32_t, MAX(all->removed.filter_results.len, 1));
    for (int32_t i = 0; i < all->count; i++)
        for (int32_t k = 0; k < all->changes[i].gone_count; k++)
            counts[all->changes[i].gone_by[k]]++;
    for (int32_t i = 0; i < all->removed.filter_results.len; i++) {
        ARRAY_MAKE(r->arena, all->removed.filter_results.items[i].matching_acls, counts[i]);
        all->removed.filter_results.items[i].matching_acls.len = 0;
    }
    for (int32_t i = 0; i < all->count; i++) {
        const struct acl_resource_change *c = &all->changes[i];
        if (c->error != NULL && c->gone_count == 0)
            tell_unread(all, c);
        for (int32_t k = 0; k < c->gone_count; k++) {
            struct delete_acls_filter_result *o = &all->removed.filter_results.items[c->gone_by[k]];
            fill_gone(c, k, &o->matching_acls.items[o->matching_acls.len++]);
        }
    }
    ANSWER(r, delete_acls_response, &all->removed);
}

static void add_deletion(struct acl_change_request *all, const struct acl_resource *r)
{
    struct acl_resource_change *c = &all->changes[all->count++];
    *c = (struct acl_resource_change){.all = all};
    c->update = (struct acl_update){.resource = *r, .change = remove_entries, .done = change_over, .ctx = c};
    c->update.resource.name = arena_str(all->r->arena, r->name);
}

/* Of those that are known here, what some filter takes something of. */
static void delete_from_list(void *ctx, struct acl_list *l)
{
    struct acl_change_request *all = ctx;
    struct arena a = {0};
    int32_t count;
    struct acl_entry *entries = acl_list_entries(l, &a, &count);
    bool any = false;
    for (int32_t i = 0; i < count && !any; i++)
        any = acl_filters_find(all->filters, all->remove.filters.len, acl_list_resource(l), &entries[i]) >= 0;
    if (any)
        add_deletion(all, acl_list_resource(l));
    arena_deinit(&a);
}

static int acl_by_change(const void *a, const void *b)
{
    return acl_by_resource(&((const struct acl_resource_change *)a)->update.resource,
                           &((const struct acl_resource_change *)b)->update.resource);
}

/* What a filter names itself is looked at in ZooKeeper, also if this broker has not heard of it yet. */
static void find_lists(struct acl_change_request *all)
{
    const struct acl_set *acls = acl_board_current(all->r->s->acls);
    int32_t filters = MAX(all->remove.filters.len, 0), n = 0;
    all->changes = ARENA_ARRAY(all->r->arena, struct acl_resource_change, acl_set_count(acls) + 2 * filters + 1);
    acl_set_each(acls, delete_from_list, all);
    for (int32_t i = 0; i < filters; i++) {
        const struct acl_filter *f = &all->filters[i];
        if (!is_type((int8_t)f->type) || f->name.p == NULL || !zk_name_is_legal(f->name))
            continue;
        for (enum acl_pattern p = ACL_LITERAL; p < ACL_PATTERNS; p++)
            if (f->pattern == (int)p || f->pattern == ACL_ANY)
                add_deletion(all, &(struct acl_resource){(enum acl_type)f->type, p, f->name});
    }
    if (all->count > 0)
        qsort(all->changes, (size_t)all->count, sizeof(*all->changes), acl_by_change);
    for (int32_t i = 0; i < all->count; i++)
        if (n == 0 || acl_by_change(&all->changes[n - 1], &all->changes[i]) != 0)
            all->changes[n++] = all->changes[i];
    all->count = n;
    for (int32_t i = 0; i < n; i++) /* they have moved */
        all->changes[i].update.ctx = &all->changes[i];
}

static void refuse_deletions(struct acl_change_request *all, enum kafka_error error, struct str message)
{
    for (int32_t i = 0; i < all->removed.filter_results.len; i++) {
        all->removed.filter_results.items[i].error_code = (int16_t)error;
        all->removed.filter_results.items[i].error_message = message;
    }
    answer_delete_acls(all->r);
}

static void handle_delete_acls(struct request *r)
{
    struct acl_change_request *all = ARENA_NEW(r->arena, struct acl_change_request);
    if (!DECODE(r, delete_acls_request, &all->remove))
        return;
    int32_t n = MAX(all->remove.filters.len, 0);
    r->state = all;
    all->r = r;
    all->answer = answer_delete_acls;
    all->filters = ARENA_ARRAY(r->arena, struct acl_filter, MAX(n, 1));
    delete_acls_response_init(&all->removed);
    ARRAY_MAKE(r->arena, all->removed.filter_results, n);
    for (int32_t i = 0; i < n; i++) {
        const struct delete_acls_filter *in = &all->remove.filters.items[i];
        delete_acls_filter_result_init(&all->removed.filter_results.items[i]);
        all->removed.filter_results.items[i].error_message = STR_LIT("");
        all->filters[i] = filter_of(in->resource_type_filter, in->resource_name_filter, in->pattern_type_filter,
                                    in->principal_filter, in->host_filter, in->operation, in->permission_type);
    }
    if (!allowed_cluster(r, ACL_ALTER)) {
        refuse_deletions(all, ERR_CLUSTER_AUTHORIZATION_FAILED,
                         str_of(error_message(ERR_CLUSTER_AUTHORIZATION_FAILED)));
    } else if (!has_authorizer(r)) {
        refuse_deletions(all, ERR_SECURITY_DISABLED, STR_LIT("No Authorizer is configured."));
    } else {
        find_lists(all);
        change_or_answer(all);
    }
}

const struct api_entry api_delete_acls = {.key = API_DELETE_ACLS, .min = 0, .max = 3, .handle = handle_delete_acls};
