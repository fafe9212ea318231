/* Znodes that more than one tool reads or writes. Results are in the arena. */
#ifndef BARNABAS_TOOLS_KIT_ZK_NODES_H
#define BARNABAS_TOOLS_KIT_ZK_NODES_H

#include "cluster/znodes.h"
#include "tools/kit/zk_session.h"

/* The node's children; none if there is no such node. */
void zk_nodes_children(struct zk_session *s, struct arena *a, const char *path, struct str **out, int32_t *count);
/* The live brokers. */
void zk_nodes_brokers(struct zk_session *s, struct arena *a, struct registration **out, int32_t *count);
/* The configuration that a topic ("topics") or a broker ("brokers") has of its own; empty if it is not `there`. */
bool zk_nodes_read_config(struct zk_session *s, struct arena *a, const char *type, const char *name,
                          struct config_znode *out, bool *there, struct fail *fail) NODISCARD;
/* Stores it, and tells the brokers that it has changed. */
bool zk_nodes_write_config(struct zk_session *s, const char *type, const char *name, const struct config_znode *config,
                           bool there, struct fail *fail) NODISCARD;

#endif
