/*
 * Access control lists in ZooKeeper: a node for each resource that has some, and notifications of changed ones.
 *
 *     /kafka-acl/Topic/t                      literal names; {"version":1,"acls":[...]}
 *     /kafka-acl-extended/prefixed/Topic/t    prefixes
 *     /kafka-acl-changes/acl_changes_N        TOPIC:t
 *     /kafka-acl-extended-changes/...         {"version":1,"resourceType":"TOPIC","name":"t","patternType":"PREFIXED"}
 *
 * A node without data has no entries. What cannot be understood, or only in part, is never taken for that: the decoder
 * says no. It leaves saying so in the log to the caller, who knows what follows from it.
 */
#ifndef BARNABAS_CLUSTER_ACL_ZNODES_H
#define BARNABAS_CLUSTER_ACL_ZNODES_H

#include "security/acl.h"

#define ACL_NOTICE_PREFIX "acl_changes_"

/* The folder of all types, that of the resources of a type, a resource's node, the folder of notifications. */
const char *acl_root(enum acl_pattern p);
const char *acl_type_path(struct arena *a, enum acl_pattern p, enum acl_type t);
const char *acl_resource_path(struct arena *a, const struct acl_resource *r);
const char *acl_notices_folder(enum acl_pattern p);

/* The texts are UTF-8. */
struct bytes acl_encode(struct arena *a, const struct acl_entry *entries, int32_t count);
bool acl_decode(struct arena *a, struct bytes data, struct acl_entry **entries, int32_t *count,
                struct fail *fail) NODISCARD;
struct bytes acl_notice_encode(struct arena *a, const struct acl_resource *r);
bool acl_notice_decode(struct arena *a, enum acl_pattern folder, struct bytes data, struct acl_resource *out) NODISCARD;

#endif
