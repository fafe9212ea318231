/* Words of zookeeper-shell that mean more than they say: paths, and lists of who may do what, as ZooKeeper 3.8 has
 * them. */
#ifndef BARNABAS_TOOLS_CLUSTER_SHELL_WORDS_H
#define BARNABAS_TOOLS_CLUSTER_SHELL_WORDS_H

#include "cluster/zk.h"

/* Whether it can be a path, for which the library has no words. If not, it is said why on standard error. */
bool shell_check_path(const char *path) NODISCARD;
/*
 * scheme:id:permissions, with commas in between; of permissions there are c, d, r, w and a. The list is in the arena.
 * False: it is none, as is said. ZooKeeper's shell passes over what it cannot read, and leaves a node more open, or
 * less, than was asked for.
 */
bool shell_read_acls(const char *text, struct arena *a, const struct zk_acl **out, int32_t *count) NODISCARD;
void shell_print_acl(const struct zk_acl *acl);

#endif
