/*
 * Who may do what, for the handlers: ACLs (security/acl.h) asked for a request's principal and host. Without an
 * authorizer all of this is true at the cost of a branch.
 *
 * On the connection's loop. Handlers ask once for a resource, not for each partition, and answer a denial in the form
 * of their API: a topic that is denied looks the same whether it exists or not.
 *
 * Each answer is a line of the logger "kafka.authorizer.logger", as administrators know it from Kafka: a permission at
 * DEBUG, a denial at INFO, or at TRACE where it denies nothing that was asked for: another permission does as well, or
 * a list leaves out what one may not see.
 */
#ifndef BARNABAS_SERVER_AUTHORIZE_H
#define BARNABAS_SERVER_AUTHORIZE_H

#include "server/server_internal.h"

enum authorize_purpose { AUTHORIZE_REQUESTED, AUTHORIZE_FILTER };

/* `references`: how often the request names the resource, for the log. */
bool authorize(const struct request *r, enum acl_operation o, enum acl_type t, struct str name, int32_t references,
               enum authorize_purpose purpose);
bool authorize_somewhere(const struct request *r, enum acl_operation o, enum acl_type t);

static inline bool has_authorizer(const struct request *r)
{
    return r->s->acls != NULL;
}

static inline bool allowed(const struct request *r, enum acl_operation o, enum acl_type t, struct str name)
{
    return !has_authorizer(r) || authorize(r, o, t, name, 1, AUTHORIZE_REQUESTED);
}

/* The same for what the answer leaves out if it is denied. */
static inline bool allowed_to_see(const struct request *r, enum acl_operation o, enum acl_type t, struct str name)
{
    return !has_authorizer(r) || authorize(r, o, t, name, 1, AUTHORIZE_FILTER);
}

static inline bool allowed_topic(const struct request *r, enum acl_operation o, struct str topic, int32_t partitions)
{
    return !has_authorizer(r) || authorize(r, o, ACL_TOPIC, topic, partitions, AUTHORIZE_REQUESTED);
}

static inline bool allowed_cluster(const struct request *r, enum acl_operation o)
{
    return allowed(r, o, ACL_CLUSTER, STR_LIT(ACL_CLUSTER_NAME));
}

/* For what only brokers ask each other, of which no quota counts anything as long as they may. */
static inline bool allowed_as_broker(struct request *r)
{
    r->denied_as_broker = !allowed_cluster(r, ACL_CLUSTER_ACTION);
    return !r->denied_as_broker;
}

/* Where another permission does as well. */
static inline bool allowed_cluster_quietly(const struct request *r, enum acl_operation o)
{
    return allowed_to_see(r, o, ACL_CLUSTER, STR_LIT(ACL_CLUSTER_NAME));
}

/* On some resource of the type, of which the audit knows no name. */
static inline bool allowed_somewhere(const struct request *r, enum acl_operation o, enum acl_type t)
{
    return !has_authorizer(r) || authorize_somewhere(r, o, t);
}

/* Of the operations that the type of resource knows those that are allowed, a bit each (KIP-430). */
int32_t authorized_operations(const struct request *r, enum acl_type t, struct str name);

#endif
