/* Znodes that more than one tool reads or writes. Results are in the arena. */
#ifndef BARNABAS_TOOLS_KIT_ZK_NODES_H
#define BARNABAS_TOOLS_KIT_ZK_NODES_H

#include "cluster/znodes.h"
#include "tools/kit/zk_session.h"

/* Whether what was read is there; false, with a message, if that may or can not be known. */
bool zk_nodes_read(const struct zk_op *read, bool *there, struct fail *fail) NODISCARD;
/* The node's children; none if there is no such node. */
bool zk_nodes_children(struct zk_session *s, struct arena *a, const char *path, struct str **out, int32_t *count,
                       struct fail *fail) NODISCARD;
/* The live brokers. */
bool zk_nodes_brokers(struct zk_session *s, struct arena *a, struct registration **out, int32_t *count,
                      struct fail *fail) NODISCARD;
/* The configuration that a topic ("topics") or a broker ("brokers") has of its own; empty if it is not `there`. */
bool zk_nodes_read_config(struct zk_session *s, struct arena *a, const char *type, const char *name,
                          struct config_znode *out, bool *there, struct fail *fail) NODISCARD;
/* Stores it, and tells the brokers that it has changed. */
bool zk_nodes_write_config(struct zk_session *s, const char *type, const char *name, const struct config_znode *config,
                           bool there, struct fail *fail) NODISCARD;

#endif
