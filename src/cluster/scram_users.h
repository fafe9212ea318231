/*
 * Who may log in by SCRAM, as ZooKeeper has it (KIP-84): credentials under the names of users, followed by each broker.
 * Any thread, but for changes.
 */
#ifndef BARNABAS_SCRAM_USERS_H
#define BARNABAS_SCRAM_USERS_H

#include "cluster/znodes.h"
#include "security/sasl.h"

struct scram_users;
struct scram_users *scram_users_new(void);
void scram_users_free(struct scram_users *u);
/* What the entity has now; anything but users/NAME is passed over. */
void scram_users_take(struct scram_users *u, const char *entity, const struct config_znode *pairs);
bool scram_users_find(struct scram_users *u, enum scram_mechanism mechanism, struct str user, struct arena *a,
                      struct scram_credential *out) NODISCARD;

#endif
