/*
 * kafka-acls: adds, removes and lists ACLs. What is given on the command line multiplies: each principal with each
 * operation and host, for each resource; --producer and --consumer know their operations.
 */
#include "tools/acls/acls.h"

static const struct option_spec specs[] = {
    {"bootstrap-server", OPTION_VALUE, "server to connect to",
     "The brokers to connect to, as host1:port1,host2:port2. Without it --authorizer-properties is needed.", NULL},
    {"command-config", OPTION_OPTIONAL, "command-config",
     "A property file with configs for the admin client; only with --bootstrap-server.", NULL},
    {"authorizer", OPTION_VALUE, "authorizer",
     "DEPRECATED: The authorizer's class, which can be kafka.security.authorizer.AclAuthorizer only.", NULL},
    {"authorizer-properties", OPTION_VALUES, "authorizer-properties",
     "DEPRECATED: What the authorizer is to be configured with, as key=value pairs: zookeeper.connect=localhost:2181. Works without any broker.",
     NULL},
    {"topic", OPTION_VALUES, "topic", "A topic; '*' stands for all topics.", NULL},
    {"cluster", OPTION_FLAG, NULL, "The cluster itself.", NULL},
    {"group", OPTION_VALUES, "group", "A consumer group; '*' stands for all groups.", NULL},
    {"transactional-id", OPTION_VALUES, "transactional-id", "A transactional id; '*' stands for all of them.", NULL},
    {"idempotent", OPTION_FLAG, NULL,
     "With --producer: lets it be idempotent, which whoever may use a transactional id may be anyway.", NULL},
    {"delegation-token", OPTION_VALUES, "delegation-token", "A delegation token; '*' stands for all of them.", NULL},
    {"resource-pattern-type", OPTION_VALUE, "ANY|MATCH|LITERAL|PREFIXED",
     "What the names are: literal or prefixed; to list and remove also any, which is either of these with that name, or match, which is all that applies to the name. Be careful with match and --remove.",
     "LITERAL"},
    {"add", OPTION_FLAG, NULL, "Add ACLs.", NULL},
    {"remove", OPTION_FLAG, NULL, "Remove ACLs.", NULL},
    {"list", OPTION_FLAG, NULL, "List ACLs: of the resources that are named, or all.", NULL},
    {"operation", OPTION_VALUES, "operation",
     "What is allowed or denied: All, Read, Write, Create, Delete, Alter, Describe, ClusterAction, DescribeConfigs, AlterConfigs, IdempotentWrite, CreateTokens or DescribeTokens.",
     "All"},
    {"allow-principal", OPTION_VALUES, "allow-principal",
     "Who is allowed, as type:name; User:'*' stands for all users.", NULL},
    {"deny-principal", OPTION_VALUES, "deny-principal",
     "Who is denied, as type:name. Who is not allowed is denied anyway: it is for exceptions, as what is denied is denied whatever else allows it.",
     NULL},
    {"principal", OPTION_OPTIONALS, "principal", "With --list: ACLs of that principal only.", NULL},
    {"allow-host", OPTION_VALUES, "allow-host", "An address from which it is allowed; without it from all.", NULL},
    {"deny-host", OPTION_VALUES, "deny-host", "An address from which it is denied; without it from all.", NULL},
    {"producer", OPTION_FLAG, NULL,
     "What a producer needs: Write, Describe and Create on topics, Write and Describe on transactional ids.", NULL},
    {"consumer", OPTION_FLAG, NULL, "What a consumer needs: Read and Describe on topics, Read on groups.", NULL},
    {"force", OPTION_FLAG, NULL, "Ask no questions.", NULL},
    {"zk-tls-config-file", OPTION_VALUE, "Authorizer ZooKeeper TLS configuration",
     "DEPRECATED: Property file with zookeeper.ssl.* for TLS to ZooKeeper.", NULL},
    {"user-principal", OPTION_VALUES, "user-principal",
     "A user as a resource, whose delegation tokens others may create or describe.", NULL},
};

static const char purpose[] = "This tool helps to manage acls on kafka.";
static const char deprecated[] =
    "Warning: support for ACL configuration directly through the authorizer is deprecated and will be removed in a "
    "future release. Please use --bootstrap-server instead to set ACLs through the admin client.";

struct wanted { /* of a resource, as a filter has it */
    struct acl_filter filter;
    struct acl_entry *entries;
    int32_t count;
};

struct acl_command {
    const struct options *options;
    struct arena arena;
    struct acl_way way;
    int pattern;
    struct wanted *wanted;
    int32_t wanted_count;
};

/* ---- Arguments ---- */

static bool check_how(const struct options *o)
{
    bool by_requests = options_has(o, "bootstrap-server");
    if (by_requests && options_has(o, "authorizer"))
        return options_complain(o, "Only one of --bootstrap-server or --authorizer must be specified") == 0;
    if (!by_requests && !options_need(o, "authorizer-properties"))
        return false;
    if (!by_requests)
        fprintf(stderr, "%s\n", deprecated);
    if (options_has(o, "command-config") && !by_requests)
        return options_complain(o, "The --command-config option can only be used with --bootstrap-server option") == 0;
    if (options_has(o, "authorizer-properties") && by_requests)
        return options_complain(o, "The --authorizer-properties option can only be used with --authorizer option") == 0;
    return true;
}

static bool check_what(const struct options *o)
{
    static const char *const not_listed[] = {"producer",        "consumer",  "allow-host",
                                             "allow-principal", "deny-host", "deny-principal"};
    static const char *const known_to_roles[] = {"operation", "deny-principal", "deny-host"};
    if (options_has(o, "add") + options_has(o, "remove") + options_has(o, "list") != 1)
        return options_complain(o, "Command must include exactly one action: --list, --add, --remove. ") == 0;
    for (size_t i = 0; i < ARRAY_LEN(not_listed); i++)
        if (!options_not_both(o, "list", not_listed[i]))
            return false;
    for (size_t i = 0; i < ARRAY_LEN(known_to_roles); i++)
        if (!options_not_both(o, "producer", known_to_roles[i]) || !options_not_both(o, "consumer", known_to_roles[i]))
            return false;
    return true;
}

static bool check_roles(const struct options *o)
{
    bool producer = options_has(o, "producer"), topic = options_has(o, "topic");
    if (options_has(o, "principal") && !options_has(o, "list"))
        return options_complain(o, "The --principal option is only available if --list is set") == 0;
    if (producer && !topic)
        return options_complain(o, "With --producer you must specify a --topic") == 0;
    if (options_has(o, "idempotent") && !producer)
        return options_complain(o, "The --idempotent option is only available if --producer is set") == 0;
    bool others = !producer && (options_has(o, "cluster") || options_has(o, "transactional-id"));
    if (options_has(o, "consumer") && (!topic || !options_has(o, "group") || others))
        return options_complain(o, "With --consumer you must specify a --topic and a --group and no --cluster or "
                                   "--transactional-id option should be specified.") == 0;
    return true;
}

static bool read_pattern(struct acl_command *c, struct fail *fail)
{
    struct str text = str_of(options_get(c->options, "resource-pattern-type"));
    enum acl_pattern pattern;
    if (acl_pattern_parse(text, &pattern)) {
        c->pattern = (int)pattern;
        return true;
    }
    if (text.len == 3 && strcasecmp(text.p, "any") == 0)
        c->pattern = ACL_ANY;
    else if (text.len == 5 && strcasecmp(text.p, "match") == 0)
        c->pattern = ACL_MATCH;
    else
        return fail_set(fail, "Cannot parse argument '%s' of option resource-pattern-type", text.p);
    return true;
}

/* ---- What the ACLs are ---- */

static bool check_principals(const struct options *o, const char *option, struct fail *fail)
{
    const struct option_value *v = options_all(o, option);
    struct principal ignored;
    for (int i = 0; v->values != NULL && i < v->count; i++)
        if (v->values[i] != NULL && !principal_parse(str_trim(str_of(v->values[i])), &ignored))
            return fail_set(fail, "expected a string in format principalType:principalName but got %.*s",
                            STR_ARGS(str_trim(str_of(v->values[i]))));
    return true;
}

/* Each principal with each operation and host. Nothing without a principal. */
static void multiply(struct acl_command *c, struct wanted *w, enum acl_permission permission, uint32_t operations)
{
    static const char *anywhere[] = {ACL_WILDCARD};
    bool allow = permission == ACL_ALLOW;
    const struct option_value *who = options_all(c->options, allow ? "allow-principal" : "deny-principal"),
                              *from = options_all(c->options, allow ? "allow-host" : "deny-host");
    const char *const *hosts = from->count > 0 ? from->values : anywhere;
    int host_count = MAX(from->count, 1);
    for (int i = 0; i < who->count; i++)
        for (int o = ACL_ALL; o < ACL_OPERATIONS; o++)
            for (int h = 0; (operations >> o & 1) && h < host_count; h++)
                w->entries[w->count++] = (struct acl_entry){
                    str_trim(str_of(who->values[i])), str_trim(str_of(hosts[h])), (enum acl_operation)o, permission};
}

static int32_t most_entries(const struct acl_command *c)
{
    const struct options *o = c->options;
    int allowed = options_all(o, "allow-principal")->count * MAX(options_all(o, "allow-host")->count, 1);
    int denied = options_all(o, "deny-principal")->count * MAX(options_all(o, "deny-host")->count, 1);
    return (allowed + denied) * ACL_OPERATIONS;
}

/* What is wanted of that resource, too; it may be there already, of the other role. */
static void want(struct acl_command *c, enum acl_type type, struct str name, int pattern, uint32_t operations)
{
    struct wanted *w = NULL;
    for (int32_t i = 0; i < c->wanted_count; i++)
        if (c->wanted[i].filter.type == (int)type && str_eq(c->wanted[i].filter.name, name))
            w = &c->wanted[i];
    if (w == NULL) {
        w = &c->wanted[c->wanted_count++];
        w->filter = (struct acl_filter){(int)type, pattern, name, STR_NULL, STR_NULL, ACL_ANY, ACL_ANY};
    }
    struct wanted more = {.entries = ARENA_ARRAY(&c->arena, struct acl_entry, MAX(most_entries(c), 1))};
    struct acl_entry *all = ARENA_ARRAY(&c->arena, struct acl_entry, MAX(w->count + most_entries(c), 1));
    multiply(c, &more, ACL_ALLOW, operations);
    multiply(c, &more, ACL_DENY, operations);
    for (int32_t i = 0; i < w->count + more.count; i++)
        all[i] = i < w->count ? w->entries[i] : more.entries[i - w->count];
    int32_t known = 0;
    for (int32_t i = 0; i < w->count + more.count; i++) {
        bool there = false;
        for (int32_t k = 0; k < known; k++)
            there |= str_eq(all[k].principal, all[i].principal) && str_eq(all[k].host, all[i].host) &&
                     all[k].operation == all[i].operation && all[k].permission == all[i].permission;
        if (!there)
            all[known++] = all[i];
    }
    w->entries = all;
    w->count = known;
}

static const struct {
    const char *option;
    enum acl_type type;
} named[] = {{"topic", ACL_TOPIC},
             {"group", ACL_GROUP},
             {"transactional-id", ACL_TRANSACTIONAL_ID},
             {"delegation-token", ACL_DELEGATION_TOKEN},
             {"user-principal", ACL_USER}};

/* All resources that are named, of the types that `operations` has something for. */
static void want_named(struct acl_command *c, const uint32_t operations[ACL_TYPES])
{
    const struct options *o = c->options;
    for (size_t i = 0; i < ARRAY_LEN(named); i++) {
        const struct option_value *v = options_all(o, named[i].option);
        for (int k = 0; operations[named[i].type] != 0 && k < v->count; k++)
            want(c, named[i].type, str_trim(str_of(v->values[k])), c->pattern, operations[named[i].type]);
        bool cluster = c->pattern == ACL_LITERAL && (options_has(o, "cluster") || options_has(o, "idempotent"));
        if (named[i].type == ACL_TOPIC && cluster && operations[ACL_CLUSTER] != 0)
            want(c, ACL_CLUSTER, STR_LIT(ACL_CLUSTER_NAME), ACL_LITERAL, operations[ACL_CLUSTER]);
    }
}

static int32_t most_wanted(const struct options *o)
{
    int32_t n = 2; /* the cluster */
    for (size_t i = 0; i < ARRAY_LEN(named); i++)
        n += options_all(o, named[i].option)->count;
    return n;
}

static const char *names_of(struct arena *a, uint32_t operations)
{
    struct str list = STR_LIT("");
    for (int o = ACL_READ; o < ACL_OPERATIONS; o++)
        if (operations >> o & 1)
            list = arena_printf(a, "%.*s%s, ", STR_ARGS(list), acl_operation_name((enum acl_operation)o));
    return arena_printf(a, "%.*sAll", STR_ARGS(list)).p;
}

/* A bit for each that is given; an unknown one has the lowest. */
static uint32_t given_operations(const struct options *o)
{
    const struct option_value *v = options_all(o, "operation");
    enum acl_operation operation;
    uint32_t bits = v->count == 0 ? 1 << ACL_ALL : 0;
    for (int i = 0; i < v->count; i++)
        bits |= acl_operation_parse(str_trim(str_of(v->values[i])), &operation) ? UINT32_C(1) << operation : 1;
    return bits;
}

static bool check_operations(struct acl_command *c, uint32_t operations)
{
    for (int32_t i = 0; i < c->wanted_count; i++) {
        enum acl_type type = (enum acl_type)c->wanted[i].filter.type;
        uint32_t sensible = acl_type_operations(type);
        bool any = options_has(c->options, "allow-principal") || options_has(c->options, "deny-principal");
        if (any && (operations & ~(sensible | 1 << ACL_ALL)) != 0)
            return options_complain(c->options, "ResourceType %s only supports operations %s", acl_type_constant(type),
                                    names_of(&c->arena, sensible)) == 0;
    }
    return true;
}

static const uint32_t of_producers[ACL_TYPES] = {
    [ACL_TOPIC] = 1 << ACL_WRITE | 1 << ACL_DESCRIBE | 1 << ACL_CREATE,
    [ACL_TRANSACTIONAL_ID] = 1 << ACL_WRITE | 1 << ACL_DESCRIBE,
};
static const uint32_t of_consumers[ACL_TYPES] = {
    [ACL_TOPIC] = 1 << ACL_READ | 1 << ACL_DESCRIBE,
    [ACL_GROUP] = 1 << ACL_READ,
};

static bool gather(struct acl_command *c)
{
    const struct options *o = c->options;
    uint32_t operations[ACL_TYPES] = {0}, given = given_operations(o);
    c->wanted = ARENA_ARRAY(&c->arena, struct wanted, most_wanted(o));
    if (options_has(o, "producer"))
        want_named(c, of_producers);
    if (options_has(o, "producer") && options_has(o, "idempotent"))
        want(c, ACL_CLUSTER, STR_LIT(ACL_CLUSTER_NAME), ACL_LITERAL, 1 << ACL_IDEMPOTENT_WRITE);
    if (options_has(o, "consumer"))
        want_named(c, of_consumers);
    if (options_has(o, "producer") || options_has(o, "consumer"))
        return true;
    for (int t = ACL_TOPIC; t < ACL_TYPES; t++)
        operations[t] = given;
    want_named(c, operations);
    if (c->wanted_count == 0 && !options_has(o, "list"))
        return options_complain(o, "You must provide at least one resource: --topic <topic> or --cluster or --group "
                                   "<group> or --delegation-token <Delegation Token ID>") == 0;
    return options_has(o, "list") || check_operations(c, given);
}

/* ---- Printing ---- */

static const char *pattern_name(int pattern)
{
    return pattern == ACL_ANY     ? "ANY"
           : pattern == ACL_MATCH ? "MATCH"
                                  : acl_pattern_constant((enum acl_pattern)pattern);
}

static void print_resource(const char *before, int type, struct str name, int pattern, const char *after)
{
    printf("%s`ResourcePattern(resourceType=%s, name=%.*s, patternType=%s)`%s", before,
           acl_type_constant((enum acl_type)type), STR_ARGS(name), pattern_name(pattern), after);
}

static void print_entry(const struct acl_entry *e, bool first)
{
    printf("%s\t(principal=%.*s, host=%.*s, operation=%s, permissionType=%s)", first ? " " : "\n",
           STR_ARGS(e->principal), STR_ARGS(e->host), acl_operation_constant(e->operation),
           acl_permission_constant(e->permission));
}

/* ---- Actions ---- */

static bool add_acls(struct acl_command *c, struct fail *fail)
{
    for (int32_t i = 0; i < c->wanted_count; i++) {
        const struct wanted *w = &c->wanted[i];
        struct acl_resource r = {(enum acl_type)w->filter.type, (enum acl_pattern)w->filter.pattern, w->filter.name};
        print_resource("Adding ACLs for resource ", w->filter.type, r.name, w->filter.pattern, ": \n");
        for (int32_t k = 0; k < w->count; k++)
            print_entry(&w->entries[k], k == 0);
        puts(" \n");
        if (!c->way.add(c->way.ctx, &r, w->entries, w->count, fail))
            return false;
    }
    return true;
}

static bool acls_confirmed(const struct acl_command *c, const struct wanted *w, bool *yes, struct fail *fail)
{
    char answer[64];
    *yes = true;
    if (options_has(c->options, "force"))
        return true;
    if (w->count == 0) {
        print_resource("Are you sure you want to delete all ACLs for resource filter ", w->filter.type, w->filter.name,
                       w->filter.pattern, "? (y/n)\n");
    } else {
        puts("Are you sure you want to remove ACLs: ");
        for (int32_t k = 0; k < w->count; k++)
            print_entry(&w->entries[k], k == 0);
        print_resource(" \n from resource filter ", w->filter.type, w->filter.name, w->filter.pattern, "? (y/n)\n");
    }
    fflush(stdout);
    if (fgets(answer, sizeof(answer), stdin) == NULL)
        return fail_set(fail, "there is no answer");
    *yes = strcasecmp(answer, "y\n") == 0 || strcasecmp(answer, "y") == 0;
    return true;
}

static bool remove_acls(struct acl_command *c, struct fail *fail)
{
    for (int32_t i = 0; i < c->wanted_count; i++) {
        const struct wanted *w = &c->wanted[i];
        struct acl_filter *filters = ARENA_ARRAY(&c->arena, struct acl_filter, MAX(w->count, 1));
        bool yes;
        filters[0] = w->filter;
        for (int32_t k = 0; k < w->count; k++) {
            filters[k] = w->filter;
            filters[k].principal = w->entries[k].principal;
            filters[k].host = w->entries[k].host;
            filters[k].operation = (int)w->entries[k].operation;
            filters[k].permission = (int)w->entries[k].permission;
        }
        if (!acls_confirmed(c, w, &yes, fail))
            return false;
        if (yes && !c->way.remove(c->way.ctx, filters, MAX(w->count, 1), fail))
            return false;
    }
    return true;
}

static int by_binding(const void *a, const void *b)
{
    const struct acl_binding *x = a, *y = b;
    int order = (int)x->resource.type - (int)y->resource.type;
    order = order != 0 ? order : str_cmp(x->resource.name, y->resource.name);
    order = order != 0 ? order : (int)x->resource.pattern - (int)y->resource.pattern;
    order = order != 0 ? order : str_cmp(x->entry.principal, y->entry.principal);
    order = order != 0 ? order : str_cmp(x->entry.host, y->entry.host);
    order = order != 0 ? order : (int)x->entry.operation - (int)y->entry.operation;
    return order != 0 ? order : (int)x->entry.permission - (int)y->entry.permission;
}

static bool same_resource(const struct acl_binding *a, const struct acl_binding *b)
{
    return a->resource.type == b->resource.type && a->resource.pattern == b->resource.pattern &&
           str_eq(a->resource.name, b->resource.name);
}

/* `principal`: null for all. */
static void print_bindings(const struct acl_binding *all, int32_t count, struct str principal)
{
    const struct acl_binding *last = NULL;
    for (int32_t i = 0; i < count; i++) {
        const struct acl_binding *b = &all[i];
        if ((principal.p != NULL && !str_eq(b->entry.principal, principal)) || (i > 0 && by_binding(b, b - 1) == 0))
            continue;
        bool first = last == NULL || !same_resource(last, b);
        if (first && last != NULL)
            puts(" \n");
        if (first)
            print_resource("Current ACLs for resource ", (int)b->resource.type, b->resource.name,
                           (int)b->resource.pattern, ": \n");
        print_entry(&b->entry, first);
        last = b;
    }
    if (last != NULL)
        puts(" \n");
}

static bool list_one(struct acl_command *c, const struct acl_filter *f, struct acl_binding **all, int32_t *count,
                     struct fail *fail)
{
    struct acl_binding *found;
    int32_t n;
    if (!c->way.list(c->way.ctx, f, &found, &n, &c->arena, fail))
        return false;
    struct acl_binding *both = ARENA_ARRAY(&c->arena, struct acl_binding, MAX(*count + n, 1));
    for (int32_t i = 0; i < *count + n; i++)
        both[i] = i < *count ? (*all)[i] : found[i - *count];
    *all = both;
    *count += n;
    return true;
}

static bool list_acls(struct acl_command *c, struct fail *fail)
{
    static const struct acl_filter any = {ACL_ANY, ACL_ANY, {NULL, 0}, {NULL, 0}, {NULL, 0}, ACL_ANY, ACL_ANY};
    const struct option_value *principals = options_all(c->options, "principal");
    struct acl_binding *all = NULL;
    int32_t count = 0;
    if (c->wanted_count == 0 && !list_one(c, &any, &all, &count, fail))
        return false;
    for (int32_t i = 0; i < c->wanted_count; i++)
        if (!list_one(c, &c->wanted[i].filter, &all, &count, fail))
            return false;
    if (count > 0)
        qsort(all, (size_t)count, sizeof(*all), by_binding);
    bool some = false;
    for (int i = 0; i < principals->count; i++) {
        if (principals->values == NULL || principals->values[i] == NULL)
            continue;
        struct str principal = str_trim(str_of(principals->values[i]));
        printf("ACLs for principal `%.*s`\n", STR_ARGS(principal));
        print_bindings(all, count, principal);
        some = true;
    }
    if (!some)
        print_bindings(all, count, STR_NULL);
    return true;
}

/* ---- The command ---- */

/* Where the lists are: the key of the authorizer alone comes first. */
static const char *zookeeper_of(struct acl_command *c, struct fail *fail)
{
    const struct option_value *v = options_all(c->options, "authorizer-properties");
    const char *connect = NULL, *own = NULL, *class = options_get(c->options, "authorizer");
    for (int i = 0; i < v->count; i++) {
        if (strncmp(v->values[i], "zookeeper.connect=", strlen("zookeeper.connect=")) == 0)
            connect = v->values[i] + strlen("zookeeper.connect=");
        else if (strncmp(v->values[i], "authorizer.zookeeper.url=", strlen("authorizer.zookeeper.url=")) == 0)
            own = v->values[i] + strlen("authorizer.zookeeper.url=");
        else if (strstr(v->values[i], "zookeeper.ssl.client.enable=true") != NULL)
            fail_set(fail, "%s: TLS to ZooKeeper is told by --zk-tls-config-file", v->values[i]);
    }
    if (class != NULL && strcmp(class, "kafka.security.authorizer.AclAuthorizer") != 0)
        fail_set(fail, "%s is not an authorizer that this tool knows", class);
    else if (connect == NULL)
        fail_set(fail, "Missing required configuration \"zookeeper.connect\" which has no default value.");
    return fail->text[0] != '\0' ? NULL : own != NULL ? own : connect;
}

static bool open_way(struct acl_command *c, struct fail *fail)
{
    const struct options *o = c->options;
    if (options_has(o, "bootstrap-server"))
        return acls_by_requests(options_get(o, "bootstrap-server"), options_get(o, "command-config"), &c->way, fail);
    const char *zookeeper = zookeeper_of(c, fail);
    return zookeeper != NULL && acls_by_znodes(zookeeper, options_get(c->options, "zk-tls-config-file"), &c->way, fail);
}

static bool acls_execute(struct acl_command *c, struct fail *fail)
{
    const struct options *o = c->options;
    if (!check_principals(o, "allow-principal", fail) || !check_principals(o, "deny-principal", fail) ||
        !check_principals(o, "principal", fail) || !open_way(c, fail))
        return false;
    bool ok = options_has(o, "add")      ? add_acls(c, fail)
              : options_has(o, "remove") ? remove_acls(c, fail)
                                         : list_acls(c, fail);
    c->way.close(c->way.ctx);
    return ok;
}

/* Adding needs resources of one kind of name, and somebody. */
static bool check_addition(struct acl_command *c)
{
    if (!options_has(c->options, "add"))
        return true;
    if (c->pattern == ACL_ANY || c->pattern == ACL_MATCH)
        return options_complain(c->options, "A '--resource-pattern-type' value of '%s' is not valid when adding acls.",
                                pattern_name(c->pattern)) == 0;
    for (int32_t i = 0; i < c->wanted_count; i++)
        if (c->wanted[i].count == 0)
            return options_complain(c->options, "You must specify one of: --allow-principal, --deny-principal when "
                                                "trying to add ACLs.") == 0;
    return true;
}

int tool_acls(int argc, char **argv)
{
    struct options o;
    struct fail fail = {.text = ""};
    int code = OPTIONS_PARSE(&o, specs, argc, argv, purpose);
    struct acl_command c = {.options = &o};
    if (code < 0) {
        code = check_how(&o) && check_what(&o) && check_roles(&o) && read_pattern(&c, &fail) && gather(&c) &&
                       check_addition(&c) && acls_execute(&c, &fail)
                   ? 0
                   : 1;
        if (fail.text[0] != '\0')
            printf("Error while executing ACL command: %s\n", fail.text);
    }
    arena_deinit(&c.arena);
    options_free(&o);
    return code;
}
