/* Names and filters, and what a broker's settings say of permissions. */
#include "security/acl.h"

#include <ctype.h>

struct acl_name {
    const char *name, *constant;
};

static const struct acl_name types[ACL_TYPES] = {
    [ACL_TOPIC] = {"Topic", "TOPIC"},
    [ACL_GROUP] = {"Group", "GROUP"},
    [ACL_CLUSTER] = {"Cluster", "CLUSTER"},
    [ACL_TRANSACTIONAL_ID] = {"TransactionalId", "TRANSACTIONAL_ID"},
    [ACL_DELEGATION_TOKEN] = {"DelegationToken", "DELEGATION_TOKEN"},
    [ACL_USER] = {"User", "USER"},
};
static const struct acl_name patterns[ACL_PATTERNS] = {
    [ACL_LITERAL] = {"Literal", "LITERAL"},
    [ACL_PREFIXED] = {"Prefixed", "PREFIXED"},
};
static const struct acl_name operations[ACL_OPERATIONS] = {
    [ACL_ALL] = {"All", "ALL"},
    [ACL_READ] = {"Read", "READ"},
    [ACL_WRITE] = {"Write", "WRITE"},
    [ACL_CREATE] = {"Create", "CREATE"},
    [ACL_DELETE] = {"Delete", "DELETE"},
    [ACL_ALTER] = {"Alter", "ALTER"},
    [ACL_DESCRIBE] = {"Describe", "DESCRIBE"},
    [ACL_CLUSTER_ACTION] = {"ClusterAction", "CLUSTER_ACTION"},
    [ACL_DESCRIBE_CONFIGS] = {"DescribeConfigs", "DESCRIBE_CONFIGS"},
    [ACL_ALTER_CONFIGS] = {"AlterConfigs", "ALTER_CONFIGS"},
    [ACL_IDEMPOTENT_WRITE] = {"IdempotentWrite", "IDEMPOTENT_WRITE"},
    [ACL_CREATE_TOKENS] = {"CreateTokens", "CREATE_TOKENS"},
    [ACL_DESCRIBE_TOKENS] = {"DescribeTokens", "DESCRIBE_TOKENS"},
};
static const struct acl_name permissions[ACL_PERMISSIONS] = {
    [ACL_DENY] = {"Deny", "DENY"},
    [ACL_ALLOW] = {"Allow", "ALLOW"},
};

/* ---- Names ---- */

const char *acl_type_name(enum acl_type t)
{
    return types[t].name;
}

const char *acl_operation_name(enum acl_operation o)
{
    return operations[o].name;
}

const char *acl_permission_name(enum acl_permission p)
{
    return permissions[p].name;
}

const char *acl_type_constant(enum acl_type t)
{
    return types[t].constant;
}

const char *acl_pattern_constant(enum acl_pattern p)
{
    return patterns[p].constant;
}

const char *acl_operation_constant(enum acl_operation o)
{
    return operations[o].constant;
}

const char *acl_permission_constant(enum acl_permission p)
{
    return permissions[p].constant;
}

static bool name_is(struct str text, const char *name)
{
    for (int32_t i = 0; i < text.len; i++, name++)
        if (*name == '\0' || toupper((unsigned char)text.p[i]) != toupper((unsigned char)*name))
            return false;
    return *name == '\0';
}

static bool name_parse(const struct acl_name *names, int count, struct str text, bool constant, int *out)
{
    for (int i = 0; i < count; i++)
        if (names[i].name != NULL && name_is(text, constant ? names[i].constant : names[i].name)) {
            *out = i;
            return true;
        }
    return false;
}

bool acl_type_parse(struct str name, enum acl_type *out)
{
    int i;
    bool known = name_parse(types, ACL_TYPES, name, true, &i);
    if (known)
        *out = (enum acl_type)i;
    return known;
}

bool acl_pattern_parse(struct str name, enum acl_pattern *out)
{
    int i;
    bool known = name_parse(patterns, ACL_PATTERNS, name, true, &i);
    if (known)
        *out = (enum acl_pattern)i;
    return known;
}

bool acl_operation_parse(struct str name, enum acl_operation *out)
{
    int i;
    bool known = name_parse(operations, ACL_OPERATIONS, name, false, &i);
    if (known)
        *out = (enum acl_operation)i;
    return known;
}

bool acl_permission_parse(struct str name, enum acl_permission *out)
{
    int i;
    bool known = name_parse(permissions, ACL_PERMISSIONS, name, false, &i);
    if (known)
        *out = (enum acl_permission)i;
    return known;
}

uint32_t acl_type_operations(enum acl_type t)
{
    switch (t) {
    case ACL_TOPIC:
        return 1 << ACL_READ | 1 << ACL_WRITE | 1 << ACL_CREATE | 1 << ACL_DESCRIBE | 1 << ACL_DELETE | 1 << ACL_ALTER |
               1 << ACL_DESCRIBE_CONFIGS | 1 << ACL_ALTER_CONFIGS;
    case ACL_GROUP:
        return 1 << ACL_READ | 1 << ACL_DESCRIBE | 1 << ACL_DELETE;
    case ACL_CLUSTER:
        return 1 << ACL_CREATE | 1 << ACL_CLUSTER_ACTION | 1 << ACL_DESCRIBE_CONFIGS | 1 << ACL_ALTER_CONFIGS |
               1 << ACL_IDEMPOTENT_WRITE | 1 << ACL_ALTER | 1 << ACL_DESCRIBE;
    case ACL_TRANSACTIONAL_ID:
        return 1 << ACL_DESCRIBE | 1 << ACL_WRITE;
    case ACL_DELEGATION_TOKEN:
        return 1 << ACL_DESCRIBE;
    case ACL_USER:
        return 1 << ACL_CREATE_TOKENS | 1 << ACL_DESCRIBE_TOKENS;
    case ACL_TYPES:
        break;
    }
    unreachable("a type of resource that there is not");
}

/* ---- Filters ---- */

static bool name_begins_with(struct str name, struct str prefix)
{
    return name.len >= prefix.len && memcmp(name.p, prefix.p, (size_t)prefix.len) == 0;
}

bool acl_filter_takes_resource(const struct acl_filter *f, const struct acl_resource *r)
{
    if (f->type != ACL_ANY && f->type != (int)r->type)
        return false;
    if (f->pattern != ACL_ANY && f->pattern != ACL_MATCH && f->pattern != (int)r->pattern)
        return false;
    if (f->name.p == NULL)
        return true;
    if (f->pattern != ACL_MATCH)
        return str_eq(f->name, r->name);
    if (r->pattern == ACL_PREFIXED)
        return name_begins_with(f->name, r->name);
    return str_eq(f->name, r->name) || str_is(r->name, ACL_WILDCARD);
}

bool acl_filter_takes_entry(const struct acl_filter *f, const struct acl_entry *e)
{
    return (f->principal.p == NULL || str_eq(f->principal, e->principal)) &&
           (f->host.p == NULL || str_eq(f->host, e->host)) &&
           (f->operation == ACL_ANY || f->operation == (int)e->operation) &&
           (f->permission == ACL_ANY || f->permission == (int)e->permission);
}

/* ---- Settings ---- */

/* Names have commas and other signs in them; a semicolon at the end is nothing, but one before nothing is a mistake. */
bool acl_policy_parse(struct arena *a, const char *super_users, struct acl_policy *out, struct fail *fail)
{
    struct str rest = arena_str(a, str_of(super_users));
    int32_t most = 1;
    for (int32_t i = 0; i < rest.len; i++)
        most += rest.p[i] == ';';
    out->super_users = ARENA_ARRAY(a, struct principal, most);
    out->super_user_count = 0;
    while (rest.len > 0 && rest.p[rest.len - 1] == ';')
        rest.len--;
    while (rest.len > 0) {
        const char *end = memchr(rest.p, ';', (size_t)rest.len);
        int32_t len = end != NULL ? (int32_t)(end - rest.p) : rest.len, used = len + (end != NULL);
        struct str one = str_trim((struct str){rest.p, len});
        if (!principal_parse(one, &out->super_users[out->super_user_count++]))
            return fail_set(fail, "\"%.*s\" is not of the form type:name, such as User:alice", STR_ARGS(one));
        rest = (struct str){rest.p + used, rest.len - used};
    }
    return true;
}

bool acl_is_super_user(const struct acl_policy *p, const struct acl_asker *who)
{
    for (int32_t i = 0; i < p->super_user_count; i++)
        if (str_eq(p->super_users[i].name, who->principal.name) && str_eq(p->super_users[i].type, who->principal.type))
            return true;
    return false;
}
