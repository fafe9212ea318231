/*
 * kafka-configs in parts: what was asked for (configs.c), and how it is carried out: for topics, brokers and their
 * loggers, for users, clients and addresses, and in ZooKeeper without any broker.
 */
#ifndef BARNABAS_TOOLS_CONFIGS_CONFIGS_H
#define BARNABAS_TOOLS_CONFIGS_CONFIGS_H

#include "config/config.h"
#include "tools/kit/ask.h"

/* What --entity-type may be. */
#define ENTITY_TOPICS "topics"
#define ENTITY_CLIENTS "clients"
#define ENTITY_USERS "users"
#define ENTITY_BROKERS "brokers"
#define ENTITY_IPS "ips"
#define ENTITY_LOGGERS "broker-loggers"
#define ENTITY_METRICS "client-metrics"

struct config_command {
    bool alter, all;
    const char **types, **names; /* a name of "" is the default entity */
    int type_count, name_count;
    struct config_pair *add; /* each key once */
    const char **drop;
    int32_t add_count, drop_count;
    struct asker *asker; /* NULL with --zookeeper */
    bool thrown;         /* the failure came from the cluster, not from the arguments */
    struct arena arena;
};

bool configs_of_resources(struct config_command *c, struct fail *fail) NODISCARD;
bool configs_of_clients(struct config_command *c, struct fail *fail) NODISCARD;
/* `tls_file` has zookeeper.ssl.*, NULL if there is none. */
bool configs_by_znodes(struct config_command *c, const char *connect, const char *tls_file,
                       struct fail *fail) NODISCARD;

bool config_entity_is(const struct config_command *c, const char *type);
/* The value that was given for the key, or NULL. */
const char *config_added(const struct config_command *c, const char *key);
/* ask(), whose failure is the cluster's. */
bool config_ask(struct config_command *c, int32_t broker, int16_t key, const void *request, void *response,
                struct fail *fail) NODISCARD;
bool config_ask_into(struct config_command *c, int32_t broker, int16_t key, const void *request, void *response,
                     struct arena *arena, struct fail *fail) NODISCARD;
/* The failure that a broker has answered. Returns false. */
bool config_refused(struct config_command *c, int16_t code, struct str message, struct fail *fail);
/* [iterations=N,]password=... of a SCRAM mechanism. */
bool config_parse_scram(struct config_command *c, const struct config_pair *pair, bool by_requests, int32_t *iterations,
                        struct str *password, struct fail *fail) NODISCARD;

#endif
