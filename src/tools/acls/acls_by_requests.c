/* kafka-acls by CreateAcls, DescribeAcls and DeleteAcls. */
#include "protocol/error.h"
#include "protocol/msg/create_acls.h"
#include "protocol/msg/delete_acls.h"
#include "protocol/msg/describe_acls.h"
#include "tools/acls/acls.h"
#include "tools/kit/ask.h"

struct acls_asker {
    struct asker *asker;
};

/* In the words of Java's client, whose exception lies in another one. */
static bool acls_refused(struct arena *a, int16_t code, struct str message, struct fail *fail)
{
    return fail_set(fail, "%.*s", STR_ARGS(ask_exception_text(a, code, message)));
}

/* Version 0 knows literal names only. */
static int16_t oldest_for(int pattern)
{
    return pattern == ACL_LITERAL ? 0 : 1;
}

static bool add_by_request(void *ctx, const struct acl_resource *r, const struct acl_entry *entries, int32_t count,
                           struct fail *fail)
{
    struct acls_asker *x = ctx;
    struct arena a = {0};
    struct create_acls_request request;
    struct create_acls_response response;
    create_acls_request_init(&request);
    ARRAY_MAKE(&a, request.creations, count);
    for (int32_t i = 0; i < count; i++) {
        struct create_acls_acl_creation *c = &request.creations.items[i];
        create_acls_acl_creation_init(c);
        *c = (struct create_acls_acl_creation){.resource_type = (int8_t)r->type,
                                               .resource_name = r->name,
                                               .resource_pattern_type = (int8_t)r->pattern,
                                               .principal = entries[i].principal,
                                               .host = entries[i].host,
                                               .operation = (int8_t)entries[i].operation,
                                               .permission_type = (int8_t)entries[i].permission};
    }
    bool ok = ask(x->asker, ASK_ANY, API_CREATE_ACLS, oldest_for((int)r->pattern), &request, &response, NULL, &a, fail);
    for (int32_t i = 0; ok && i < response.results.len; i++)
        if (response.results.items[i].error_code != ERR_NONE)
            ok = acls_refused(&a, response.results.items[i].error_code, response.results.items[i].error_message, fail);
    arena_deinit(&a);
    return ok;
}

static bool check_deleted(struct arena *a, const struct delete_acls_filter_result *r, struct fail *fail)
{
    if (r->error_code != ERR_NONE)
        return acls_refused(a, r->error_code, r->error_message, fail);
    for (int32_t i = 0; i < r->matching_acls.len; i++)
        if (r->matching_acls.items[i].error_code != ERR_NONE)
            return acls_refused(a, r->matching_acls.items[i].error_code, r->matching_acls.items[i].error_message, fail);
    return true;
}

static bool remove_by_request(void *ctx, const struct acl_filter *filters, int32_t count, struct fail *fail)
{
    struct acls_asker *x = ctx;
    struct arena a = {0};
    struct delete_acls_request request;
    struct delete_acls_response response;
    delete_acls_request_init(&request);
    ARRAY_MAKE(&a, request.filters, count);
    for (int32_t i = 0; i < count; i++) {
        const struct acl_filter *f = &filters[i];
        delete_acls_filter_init(&request.filters.items[i]);
        request.filters.items[i] = (struct delete_acls_filter){.resource_type_filter = (int8_t)f->type,
                                                               .resource_name_filter = f->name,
                                                               .pattern_type_filter = (int8_t)f->pattern,
                                                               .principal_filter = f->principal,
                                                               .host_filter = f->host,
                                                               .operation = (int8_t)f->operation,
                                                               .permission_type = (int8_t)f->permission};
    }
    int16_t oldest = count > 0 ? oldest_for(filters[0].pattern) : 0;
    bool ok = ask(x->asker, ASK_ANY, API_DELETE_ACLS, oldest, &request, &response, NULL, &a, fail);
    for (int32_t i = 0; ok && i < response.filter_results.len; i++)
        ok = check_deleted(&a, &response.filter_results.items[i], fail);
    arena_deinit(&a);
    return ok;
}

static void take_bindings(const struct describe_acls_response *response, struct acl_binding *out, int32_t *count)
{
    for (int32_t i = 0; i < response->resources.len; i++) {
        const struct describe_acls_resource *r = &response->resources.items[i];
        for (int32_t k = 0; k < r->acls.len; k++) {
            const struct describe_acls_acl_description *d = &r->acls.items[k];
            out[(*count)++] = (struct acl_binding){
                {(enum acl_type)r->resource_type, (enum acl_pattern)r->pattern_type, r->resource_name},
                {d->principal, d->host, (enum acl_operation)d->operation, (enum acl_permission)d->permission_type}};
        }
    }
}

/* What a broker knows and this tool does not is left out. */
static bool is_known(const struct acl_binding *b)
{
    return b->resource.type >= ACL_TOPIC && b->resource.type < ACL_TYPES &&
           (b->resource.pattern == ACL_LITERAL || b->resource.pattern == ACL_PREFIXED) &&
           b->entry.operation >= ACL_ALL && b->entry.operation < ACL_OPERATIONS &&
           (b->entry.permission == ACL_DENY || b->entry.permission == ACL_ALLOW);
}

static bool list_by_request(void *ctx, const struct acl_filter *f, struct acl_binding **out, int32_t *count,
                            struct arena *arena, struct fail *fail)
{
    struct acls_asker *x = ctx;
    struct describe_acls_response response;
    struct describe_acls_request request = {.resource_type_filter = (int8_t)f->type,
                                            .resource_name_filter = f->name,
                                            .pattern_type_filter = (int8_t)f->pattern,
                                            .principal_filter = f->principal,
                                            .host_filter = f->host,
                                            .operation = (int8_t)f->operation,
                                            .permission_type = (int8_t)f->permission};
    int32_t n = 0, known = 0;
    if (!ask(x->asker, ASK_ANY, API_DESCRIBE_ACLS, oldest_for(f->pattern), &request, &response, NULL, arena, fail))
        return false;
    if (response.error_code != ERR_NONE)
        return acls_refused(arena, response.error_code, response.error_message, fail);
    for (int32_t i = 0; i < response.resources.len; i++)
        n += response.resources.items[i].acls.len;
    *out = ARENA_ARRAY(arena, struct acl_binding, MAX(n, 1));
    n = 0;
    take_bindings(&response, *out, &n);
    for (int32_t i = 0; i < n; i++)
        if (is_known(&(*out)[i]))
            (*out)[known++] = (*out)[i];
    *count = known;
    return true;
}

static void close_asker(void *ctx)
{
    struct acls_asker *x = ctx;
    asker_free(x->asker);
    free(x);
}

bool acls_by_requests(const char *bootstrap, const char *command_config, struct acl_way *out, struct fail *fail)
{
    struct asker *asker = asker_new(bootstrap, command_config, fail);
    if (asker == NULL)
        return false;
    struct acls_asker *x = xcalloc(1, sizeof(*x));
    x->asker = asker;
    *out = (struct acl_way){add_by_request, remove_by_request, list_by_request, close_asker, x};
    return true;
}
