/*
 * Access control lists by the rules of Kafka's AclAuthorizer (KIP-11, KIP-290, KIP-679). What is here neither reads nor
 * logs: cluster/acl_watch.h keeps a set of them like ZooKeeper's, server/authorize.h asks it.
 *
 * A list belongs to a resource, which is a type, a name and a pattern: LITERAL is that name alone, or every name if it
 * is "*"; PREFIXED every name that begins with it. An entry allows or denies an operation to a principal from a host.
 * What counts for a name are the entries of all resources that it matches:
 *
 *     a super user                    may do everything
 *     there is no such resource       as allow.everyone.if.no.acl.found says
 *     an entry denies it              denied, whatever else allows it
 *     an entry allows it              allowed; READ, WRITE, DELETE, ALTER allow DESCRIBE too, ALTER_CONFIGS allows
 *                                     DESCRIBE_CONFIGS
 *     else                            denied
 *
 * The principal "User:*" and the host "*" in an entry are anybody, the operation ALL is each of them.
 *
 * A set is immutable and counted. A change makes the next one, which shares the lists that it leaves as they are.
 * Looking in it allocates nothing, and takes the time of a hash for the name and a probe for each length that a prefix
 * has; a list that names thousands is searched by halves.
 */
#ifndef BARNABAS_ACL_H
#define BARNABAS_ACL_H

#include <stdatomic.h>

#include "base/arena.h"
#include "base/fail.h"
#include "security/principal.h"

/* The numbers are those of the protocol. */
enum acl_type {
    ACL_TOPIC = 2,
    ACL_GROUP,
    ACL_CLUSTER,
    ACL_TRANSACTIONAL_ID,
    ACL_DELEGATION_TOKEN,
    ACL_USER,
    ACL_TYPES
};
enum acl_pattern { ACL_LITERAL = 3, ACL_PREFIXED = 4, ACL_PATTERNS };
enum acl_operation {
    ACL_ALL = 2,
    ACL_READ,
    ACL_WRITE,
    ACL_CREATE,
    ACL_DELETE,
    ACL_ALTER,
    ACL_DESCRIBE,
    ACL_CLUSTER_ACTION,
    ACL_DESCRIBE_CONFIGS,
    ACL_ALTER_CONFIGS,
    ACL_IDEMPOTENT_WRITE,
    ACL_CREATE_TOKENS,
    ACL_DESCRIBE_TOKENS,
    ACL_OPERATIONS
};
enum acl_permission { ACL_DENY = 2, ACL_ALLOW = 3, ACL_PERMISSIONS };
/* Where a filter leaves it open, and for a pattern: all that applies to the name. */
enum { ACL_ANY = 1, ACL_MATCH = 2 };

#define ACL_CLUSTER_NAME "kafka-cluster" /* the only resource of its type */
#define ACL_WILDCARD "*"

struct acl_resource {
    enum acl_type type;
    enum acl_pattern pattern;
    struct str name;
};

struct acl_entry {
    struct str principal; /* "type:name" */
    struct str host;
    enum acl_operation operation;
    enum acl_permission permission;
};

/* ---- Names ---- */

/* As in znodes: "TransactionalId", "DescribeConfigs", "Allow". Never NULL: the value is one of the enum's. */
const char *acl_type_name(enum acl_type t);
const char *acl_operation_name(enum acl_operation o);
const char *acl_permission_name(enum acl_permission p);
/* As in notifications and tools: "TRANSACTIONAL_ID", "PREFIXED". */
const char *acl_type_constant(enum acl_type t);
const char *acl_pattern_constant(enum acl_pattern p);
const char *acl_operation_constant(enum acl_operation o);
const char *acl_permission_constant(enum acl_permission p);
/* In upper or lower case: a type and a pattern by their constants, the others as in znodes. False: it is none. */
bool acl_type_parse(struct str name, enum acl_type *out) NODISCARD;
bool acl_pattern_parse(struct str name, enum acl_pattern *out) NODISCARD;
bool acl_operation_parse(struct str name, enum acl_operation *out) NODISCARD;
bool acl_permission_parse(struct str name, enum acl_permission *out) NODISCARD;
/* The operations that make sense for a type, a bit each: what authorized operations tell of (KIP-430). */
uint32_t acl_type_operations(enum acl_type t);

/* ---- Filters ---- */

struct acl_filter {
    int type;                   /* ACL_ANY: every one */
    int pattern;                /* ACL_ANY, ACL_MATCH: as above */
    struct str name;            /* null: every one */
    struct str principal, host; /* null: every one */
    int operation, permission;  /* ACL_ANY: every one */
};

bool acl_filter_takes_resource(const struct acl_filter *f, const struct acl_resource *r);
bool acl_filter_takes_entry(const struct acl_filter *f, const struct acl_entry *e);

/* The first that takes the entry, or -1. */
int32_t acl_filters_find(const struct acl_filter *filters, int32_t count, const struct acl_resource *r,
                         const struct acl_entry *e);

/* ---- What a list is to become; texts stay where they are ---- */

/* The entries and those that are added, each once, in the arena. Whether any of these is new. */
bool acl_entries_add(struct arena *a, const struct acl_entry *now, int32_t count, const struct acl_entry *more,
                     int32_t more_count, struct acl_entry **then, int32_t *then_count);

struct acl_parting {
    struct acl_entry *left, *gone;
    int32_t *gone_by; /* the first filter that takes it */
    int32_t left_count, gone_count;
};
/* The entries, each once, by whether some filter takes them. */
struct acl_parting acl_entries_part(struct arena *a, const struct acl_resource *r, const struct acl_entry *now,
                                    int32_t count, const struct acl_filter *filters, int32_t filter_count);

/* ---- The list of one resource ---- */

/* Immutable and counted. Of an unreadable one it is not known what it says: it denies everything to everybody. */
struct acl_list;

struct acl_list *acl_list_new(const struct acl_resource *r, const struct acl_entry *entries, int32_t count);
struct acl_list *acl_list_new_unreadable(const struct acl_resource *r);
void acl_list_ref(struct acl_list *l);
void acl_list_unref(struct acl_list *l); /* NULL is none */
const struct acl_resource *acl_list_resource(const struct acl_list *l);
/* Its entries, each once, in the arena; their texts stay the list's. */
struct acl_entry *acl_list_entries(const struct acl_list *l, struct arena *a, int32_t *count);

/* ---- The set of them ---- */

struct acl_set;

struct acl_set *acl_set_new(void); /* empty */
void acl_set_ref(struct acl_set *s);
void acl_set_unref(struct acl_set *s); /* NULL is none */
int32_t acl_set_count(const struct acl_set *s);
struct acl_list *acl_set_find(const struct acl_set *s, const struct acl_resource *r); /* NULL: none */
/* Calls back for each list, in no order. */
void acl_set_each(const struct acl_set *s, void (*visit)(void *ctx, struct acl_list *l), void *ctx);

struct acl_change {
    struct acl_resource resource;
    struct acl_list *list; /* its own reference, which goes over to the set; NULL or without entries: it has none */
};
/* The set with the changes, of which the last one counts that a resource is in. */
struct acl_set *acl_set_with(const struct acl_set *s, const struct acl_change *changes, int32_t count);

/* ---- Asking ---- */

struct acl_policy { /* of a broker's settings */
    bool allow_everyone_if_no_acl_found;
    struct principal *super_users; /* in the arena that they were parsed into */
    int32_t super_user_count;
};

/* Of super.users: principals between semicolons. */
bool acl_policy_parse(struct arena *a, const char *super_users, struct acl_policy *out, struct fail *fail) NODISCARD;

struct acl_asker {
    struct principal principal;
    struct str host; /* its address, as Java writes it */
    uint64_t hash;
};

struct acl_asker acl_asker(struct principal principal, struct str host);
bool acl_is_super_user(const struct acl_policy *p, const struct acl_asker *who);
/* The operations, a bit each (1 << ACL_READ ...), that are allowed on the resource of that name. */
uint32_t acl_allowed(const struct acl_set *s, const struct acl_policy *p, const struct acl_asker *who,
                     enum acl_type type, struct str name);
/* Whether it is allowed on some resource of the type, which need not exist. Here no operation allows another. */
bool acl_allowed_somewhere(const struct acl_set *s, const struct acl_policy *p, const struct acl_asker *who,
                           enum acl_type type, enum acl_operation operation);

#endif
